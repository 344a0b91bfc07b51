//! Theory beside measurement for lab19.

use lab_kit::{
    host::Host,
    prelude::*,
    theory::{Pipeline, Stage, little},
};
use mock_server::Site;

use super::{
    Params, gauges,
    learnt::{HELD_OUT, MORE},
    model::{LISTED, allowed_by_flags, backlog, held},
    watch::MIDDLE,
};

use Disturbed::{Either, Fewer, Longer};
use Resource::{Processors, Timers};

/// Requests for each connection after which all of their buffers have stopped growing. Lab06 found 33
/// for one that is always in use; a pool does not use all alike.
const GROWN: f64 = 200.0;
/// Requests for each connection after which most of them have.
const GROWING: f64 = 50.0;
/// Products whose words tell how well anybody could classify them.
const ORACLE: u64 = 20_000;
/// How close a rate must be to theory, as a share of it.
const CLOSE: f64 = 0.1;
/// How much later than the host's own time an answer may come: a tick of the timers, and others before it on
/// the event loop.
const LATE_S: f64 = 1.6e-3;

pub(super) fn explain(p: &Params, summary: &Summary) -> Findings {
    let view = View::of(p, summary);
    let figures = [view.progress(), view.sweep(), view.heaps(), view.beats(), view.resumed()];
    let tables = [Some(view.table()), view.stages(), Some(view.ways()), view.learnt()];
    let claims = [view.counts(), view.speed(), view.memory(), view.accuracy(), view.full_queues()];
    Findings {
        headline: view.headline(),
        figures: figures.into_iter().flatten().collect(),
        tables: tables.into_iter().flatten().collect(),
        claims: claims.into_iter().flatten().collect(),
        answers: view.answers(),
    }
}

/// A figure that may be missing, as it is written.
fn told(value: Option<f64>, write: impl Fn(f64) -> String) -> String {
    value.map_or("–".into(), write)
}

fn gauge(k: &Condition, name: Gauge) -> Option<f64> {
    k.gauge(name).map(|e| e.value)
}

fn name(k: &Condition) -> String {
    let x = number(k.x());
    match k.series() {
        "killed" => "killed".into(),
        "crawl" => format!("{x} products"),
        "limit" => format!("limit {x}"),
        _ => format!("{x} pages"),
    }
}

/// Pages a second from beginning to end.
fn rate(k: &Condition) -> Option<f64> {
    Some(gauge(k, gauges::PAGES)? / k.wall_s()?.value)
}

fn peak(k: &Condition) -> Option<Estimate> {
    k.gauge(gauges::HEAP_PEAK_BYTES)
}

/// Pages a second that the host allows, given what the pages of this crawl's shop take.
fn allowed(p: &Params, k: &Condition) -> Option<f64> {
    let pages = gauge(k, gauges::CENSUS_PAGES)?;
    let of_pages = pages / (pages + gauge(k, gauges::CENSUS_BROKEN)?);
    Some(of_pages * p.limit as f64 / (p.fetch.s() * gauge(k, gauges::CENSUS_FACTOR)?))
}

/// Pages a second in the middle of a crawl; of an older record, as its chart has them.
fn middle_rate(trial: &Trial) -> Option<f64> {
    if let Some(rate) = trial.gauge(gauges::MIDDLE_PER_S) {
        return Some(rate);
    }
    let (stored, all) = (trial.trace("stored"), trial.gauge(gauges::PAGES)?);
    let [from, to] = MIDDLE.map(|share| stored.iter().find(|(_, n)| *n >= share * all));
    let ((from, first), (to, last)) = (from?, to?);
    (to > from).then(|| (last - first) / (to - from))
}

/// Whether a crawl that is to be killed was so before it had all pages: else it says nothing of kills.
fn on_its_way(k: &Condition, trial: &Trial) -> Option<()> {
    let pages = trial.gauge(gauges::CENSUS_PAGES)?;
    let early = trial.trace("killed").iter().any(|(_, done)| *done < pages);
    (k.series() != "killed" || early).then_some(())
}

/// Requests that a crawl which was killed made more than once.
fn fetched_again(p: &Params, trial: &Trial) -> Option<f64> {
    let of = |name: Gauge| trial.gauge(name);
    let once =
        of(gauges::CENSUS_PAGES)? + of(gauges::CENSUS_BROKEN)? + of(gauges::UPSTREAM_FAULTED)?;
    // Each process asks for the rules and learns anew.
    let learnt = (of(gauges::KILLS)? + 1.0) * (p.samples + 1) as f64;
    Some(of(gauge::UPSTREAM_ARRIVED)? - once - learnt)
}

/// What was seen in flight, over arrivals at the host a second times what each took by the client's clock.
fn flow(p: &Params, trial: &Trial) -> Option<f64> {
    let of = |name: Gauge| trial.gauge(name);
    // Before the clock it asked for the rules and for what it learns from.
    let arrived = of(gauge::UPSTREAM_ARRIVED)? - (p.samples + 1) as f64;
    let due = little::number_in_system(arrived / trial.wall_s, of(gauges::ATTEMPT_S)?);
    Some(of(gauge::IN_FLIGHT_MEAN)? / due)
}

/// Heap that pages on their way take: towards the end of the time in which pages wait, without what is
/// left when the crawl is over, which are connections, model and tables.
fn in_hand(trial: &Trial) -> Option<f64> {
    let of = |name: Gauge| trial.gauge(name);
    // Of a crawl that is over at once nothing was seen.
    Some(of(gauges::HEAP_WANTED_BYTES)? - of(gauges::HEAP_LEFT_BYTES)?).filter(|bytes| *bytes > 0.0)
}

/// Share of the products whose category was found.
fn right(trial: &Trial) -> Option<f64> {
    Some(trial.gauge(gauges::RIGHT)? / trial.gauge(gauges::CLASSIFIED)?)
}

/// The longest time without a beat, the one after the last included.
fn longest_gap(trial: &Trial) -> Option<f64> {
    let last = trial.trace("beats").last()?.0;
    let open = trial.started_s() + trial.wall_s - last;
    Some(trial.gauge(gauges::LONGEST_GAP_S)?.max(open))
}

/// A trace of a trial, from the start of what was measured.
fn over_time(trial: &Trial, name: &str) -> Vec<(f64, f64)> {
    let start = trial.started_s();
    let points = trial.trace(name).iter();
    points.map(|(at, n)| ((at - start).max(0.0), *n)).collect()
}

/// The host with a limit and one thread that computes, as stages, with what a request and reading a page
/// cost here; and what that was taken from.
fn limited(p: &Params, summary: &Summary, limit: f64) -> (Pipeline, Origin) {
    let request = summary.calibrated(|host| host.request_overhead_ms / 1e3);
    let width = summary.calibrated(|host| host.width(1));
    let largest = summary.series("crawl").pop();
    let reading = largest.and_then(|k| k.gauge(gauges::COMPUTING_S));
    let reading = reading.map_or(f64::NAN.into(), Given::from);
    let host = Stage { service: p.fetch.s() + request.value, width: limit as usize };
    let thread = Stage::on_processors(p.burden.s() + reading.value, 1, width.value);
    let stages = vec![host, thread];
    let of = request.origin().and(width.origin());
    (Pipeline { stages }, of.and(reading.origin()))
}

/// The record, and what is looked at in it.
struct View<'a> {
    p: &'a Params,
    summary: &'a Summary<'a>,
    crawls: Vec<Condition<'a>>,
    limits: Vec<Condition<'a>>,
    unbounded: Vec<Condition<'a>>,
    bounded: Vec<Condition<'a>>,
    killed: Option<Condition<'a>>,
    blocks: Option<Condition<'a>>,
    awaits: Option<Condition<'a>>,
    each: Option<Condition<'a>>,
    shared: Option<Condition<'a>>,
    /// Behind a limit, with one thread that computes.
    throughput: Quantity<'a>,
    host_busy: Quantity<'a>,
    thread_busy: Quantity<'a>,
}

impl<'a> View<'a> {
    fn of(p: &'a Params, summary: &'a Summary<'a>) -> View<'a> {
        let stages = move |k: &Condition| limited(p, summary, k.x());
        let busy = move |gauge, stage: usize| {
            let theory = move |k: &Condition| {
                let shares = stages(k).0.utilisation_over(p.listed);
                shares.get(stage).copied()
            };
            Quantity::gauge("of the time", percent, gauge).theory(theory)
        };
        View {
            p,
            summary,
            crawls: summary.series("crawl"),
            limits: summary.series("limit"),
            unbounded: summary.series("queue/unbounded"),
            bounded: summary.series("queue/bounded"),
            killed: summary.only("killed"),
            blocks: summary.only("put/blocking"),
            awaits: summary.only("put/awaited"),
            each: summary.only("session/each"),
            shared: summary.only("session/shared"),
            throughput: Quantity::of_trials("pages/s", number, |t| Some(t.gauge(gauges::PAGES)? / t.wall_s))
                .theory(move |k| {
                    let (pipeline, of) = stages(k);
                    Some(Given::new(p.listed as f64 / pipeline.makespan(p.listed), of))
                })
                .within(Within::Share(CLOSE), "10 %: a tick of the timers in each answer, and what a computation of fixed length varies by")
                .disturbed(Fewer(Processors)),
            host_busy: busy(gauges::HOST_BUSY, 0),
            thread_busy: busy(gauges::THREADS_BUSY, 1),
        }
    }

    fn last(&self) -> Option<&Condition<'a>> {
        self.crawls.last()
    }

    /// How many times as many products the largest crawl has as the smallest.
    fn times_products(&self) -> Option<f64> {
        Some(self.last()?.x() / self.crawls.first()?.x())
    }

    /// The largest crawl's peak of the heap in those of the smallest.
    fn growth(&self) -> Option<Estimate> {
        Some(peak(self.last()?)?.over(peak(self.crawls.first()?)?))
    }

    /// Pages an hour of the largest crawl, from its beginning to its end.
    fn per_hour(&self) -> Option<Estimate> {
        self.last()?.estimate(|t| Some(t.gauge(gauges::PAGES)? / t.wall_s * 3600.0))
    }

    fn headline(&self) -> String {
        let killed = |name: Gauge| cell(self.killed.and_then(|k| k.gauge(name)), number);
        let busy = self.last().and_then(|k| k.gauge(gauges::HOST_BUSY_WANTED));
        format!(
            "{} million pages an hour: {} of what the host allows while pages wait. {} times the products take {} times the memory. Killed {} times, the crawl has {} of {} pages, each once.",
            cell(self.per_hour(), |e| number(e / 1e6)),
            cell(busy, percent),
            told(self.times_products(), number),
            cell(self.growth(), |ratio| format!("{ratio:.2}")),
            killed(gauges::KILLS),
            killed(gauges::PAGES),
            killed(gauges::CENSUS_PAGES),
        )
    }

    fn answers(&self) -> Vec<Answer> {
        let most = self.last().and_then(|k| allowed(self.p, k));
        let most = most.map_or(f64::NAN, |m| m * 3600.0);
        let wrong = |t: &Trial| {
            let of = |name: Gauge| t.gauge(name);
            let missing = (of(gauges::CENSUS_PAGES)? - of(gauges::PAGES)?).abs();
            Some(missing + of(gauges::LOST)? + of(gauges::STRAYS)?)
        };
        let wrong = self.killed.and_then(|k| k.estimate(wrong));
        vec![
            Answer::at_most("pages", self.per_hour(), most).scaled(1e-6),
            // What it has in hand does not depend on how large the shop is.
            Answer::near("memory", self.growth(), 1.0),
            Answer::near("wrong", wrong, 0.0),
        ]
    }
}

/// The claims.
impl View<'_> {
    /// Every page once, and nothing else.
    fn counts(&self) -> Vec<Claim> {
        let all = || self.crawls.iter().chain(&self.killed);
        // What was counted, beside how many there are; none, where no list is named.
        let case = |k: &Condition, what: &str, counted: Gauge, list: Option<Gauge>| {
            let off = k.every(|t| {
                on_its_way(k, t)?;
                let there_are = list.map_or(Some(0.0), |list| t.gauge(list))?;
                Some(t.gauge(counted)? - there_are)
            });
            Case::exact(format!("{}: {what}", name(k)), 0.0, off)
        };
        let found = all().flat_map(|k| {
            let case = |what, counted, list| case(k, what, counted, Some(list));
            [
                case("pages", gauges::PAGES, gauges::CENSUS_PAGES),
                case("products", gauges::PRODUCTS, gauges::CENSUS_PRODUCTS),
                case("cents of all prices", gauges::CENTS, gauges::CENSUS_CENTS),
                case("dead letters", gauges::DEAD, gauges::CENSUS_BROKEN),
            ]
        });
        let wrong = all().flat_map(|k| {
            [
                case(k, "finished without a page", gauges::LOST, None),
                case(k, "stored under a second address", gauges::STRAYS, None),
            ]
        });
        let again = self.killed.map(|k| {
            let again = k.every(|t| on_its_way(&k, t).and_then(|()| fetched_again(self.p, t)));
            Case::exact(name(&k), (self.p.kills * held(self.p)) as f64, again)
        });
        vec![
            Law::counted("every page within reach is stored exactly once with its price, and what leads nowhere is a dead letter, also when the crawler is killed on its way", "more than the shop has")
                .near(found),
            Law::counted("no page is finished without being stored, and none is stored under a second address", "pages")
                .near(wrong),
            Law::counted("only what the crawler had in hand when it was killed is fetched again", "requests")
                .at_most(again),
        ]
    }

    fn speed(&self) -> Vec<Claim> {
        let p = self.p;
        let polite = self.crawls.iter().map(|k| {
            let most = k.every(|t| t.gauge(gauges::HOST_MOST));
            Case::exact(name(k), p.limit as f64, most)
        });
        let close = CLOSE.max(LATE_S / p.fetch.s());
        let rates = self.crawls.iter().map(|k| {
            let rate = k.every(middle_rate);
            Case::share(name(k), allowed_by_flags(p), rate, close)
        });
        let flow =
            self.crawls.iter().map(|k| Case::new(name(k), 1.0, k.every(|t| flow(p, t)), 0.05));
        let throughput = self.limits.iter().map(|k| self.throughput.case(name(k), k));
        // What the host lets through by the client's clock, beside what its limit and its own time allow.
        let by_host = self.limits.iter().map(|k| {
            let answer_s = |host: &Host| p.fetch.s() + host.request_overhead_ms / 1e3;
            let allowed = self.summary.calibrated(|host| k.x() / answer_s(host));
            let busy_s = |t: &Trial| Some(t.gauge(gauges::HOST_BUSY)? * t.wall_s);
            let measured = k.estimate(|t| Some(t.gauge(gauges::PAGES)? / busy_s(t)?));
            Case::share(format!("{}: the host alone", name(k)), allowed, measured, CLOSE)
        });
        vec![
            Law::counted("the crawler is polite: by its own books the host never has more requests at a time than it allows", "requests at a time")
                .at_most(polite),
            Law::new("the host is the bottleneck: in the middle of a crawl pages are stored at the rate that limit ÷ time of an answer allows", "pages/s", Fewer(Processors))
                .within("10 %, or 1.6 ms of an answer where that is more: a tick of the timers, and the other answers on the event loop")
                .near(rates),
            Law::new("three instruments agree: what is in flight is what the host counts a second times what the client's clock says of each (Little's law)", "of arrivals × time", Either(Processors))
                .within("5 %: it is looked at now and then, from before the first request until after the last")
                .books()
                .near(flow),
            self.throughput
                .law("throughput is what the slowest stage lets through, λ = min(limit ÷ answer, threads ÷ computation), with the fill")
                .near(throughput.chain(by_host)),
        ]
    }

    /// What larger crawls take, beside the smallest of those with so many requests for each connection.
    fn alike(&self, requests: f64, figure: impl Fn(&Trial) -> Option<f64>) -> Vec<Case> {
        let p = self.p;
        let each = 1.0 + LISTED + p.broken + p.busy;
        let enough = |k: &&Condition| k.x() * each / p.limit as f64 >= requests;
        let mut crawls = self.crawls.iter().filter(enough);
        let smallest = crawls.next();
        let smallest = smallest.and_then(|k| Some((k.x(), k.estimate(&figure)?)));
        let case = |k: &Condition| {
            let (x, smallest) = smallest?;
            let name = format!("{} beside {}", name(k), number(x));
            Some(Case::share(name, smallest, k.every(&figure), 0.1).scaled(1e-6))
        };
        crawls.filter_map(case).collect()
    }

    fn memory(&self) -> Vec<Claim> {
        let p = self.p;
        let most = |k: &Condition| k.every(|t| t.gauge(gauges::BACKLOG_MAX));
        let ahead = |k: &Condition| backlog(p, k.x() as usize);
        let unbounded = self.unbounded.iter().map(|k| Case::share(name(k), ahead(k), most(k), 0.1));
        let places = (p.places + 1 + p.limit) as f64;
        let bounded = self.bounded.iter().map(|k| Case::exact(name(k), places, most(k)));
        let slower = p.compute.s() > 1.5 * p.fetch.s() / p.limit as f64;
        vec![
            Law::counted("what the crawler has in hand while pages wait does not depend on how large the shop is", "MB")
                .within("10 %: which pages are on their way at the moments of looking")
                .near(self.alike(GROWING, in_hand)),
            Law::counted("nor does all of its memory, once the connections' buffers have grown: the peaks are alike", "MB")
                .within("10 %: the longer a crawl, the rarer the moments it has seen")
                .near(self.alike(GROWN, |t| t.gauge(gauges::HEAP_PEAK_BYTES))),
            Law::new("without a bound the pages that wait are those the fetches are ahead by: a share of all", "pages", Either(Processors))
                .within("10 %: a tick of the timers in each round of answers")
                .near(unbounded)
                .unless((!slower).then(|| "the computation is not slower than the fetches".into())),
            Law::counted("with a bound they are its places, one that is computed, and one in the hand of each fetch", "pages")
                .at_most(bounded),
        ]
    }

    fn accuracy(&self) -> Vec<Claim> {
        let p = self.p;
        // The crawls' shops are such shops as well, where there are enough products.
        let large = self.crawls.iter().filter(|k| k.x() >= HELD_OUT as f64);
        let crawled = large.map(|k| Case::exact(name(k), 0.95, k.every(right)));
        let case = |samples: usize, least: f64, tolerance: f64| {
            let learnt = self.summary.at("learnt", samples as f64);
            let known = learnt.and_then(|k| k.estimate(right));
            Case::new(format!("{samples} labelled pages"), least, known, tolerance)
        };
        let little = (p.samples < 160)
            .then(|| format!("{} labelled pages are few to learn from", p.samples));
        vec![
            Law::counted("learnt from as many labelled pages as a crawl has, in whatever shop, the classifier knows 95 of a hundred products that it has not seen", "of the products")
                .goal()
                .at_least([case(p.samples, 0.95, 0.0)].into_iter().chain(crawled))
                .unless(little.clone()),
            Law::counted("learnt from four times as many it is as good as anybody could be who knows how the words are drawn", "of the products")
                .within("a point: what the frequencies of the words are still uncertain by")
                .near([case(MORE * p.samples, Site::best_accuracy(1, ORACLE), 0.01)])
                .unless(little),
        ]
    }

    /// How pages get into a full queue, and who has the connections.
    fn full_queues(&self) -> Vec<Claim> {
        let (stall, beat) = (self.p.stall.s(), self.p.beat.s());
        let late = self.summary.calibrated(|host| host.timer_late_ms / 1e3);
        let late_timers = (late.value > beat).then(|| "timers are later here than a beat".into());
        let blocked = self.blocks.and_then(|k| k.every(longest_gap));
        let awaited = self.awaits.and_then(|k| k.estimate(longest_gap));
        let gain = self.each.zip(self.shared).and_then(|(each, shared)| {
            each.paired(&shared, |each, shared| Some(each.wall_s / shared.wall_s))
        });
        vec![
            Law::new("a put that blocks stops the event loop until the reader is back: for the stall, and what had passed of a beat", "s", Longer(Timers))
                .within("a beat: the block may begin anywhere between two")
                .near([Case::new("", stall + beat / 2.0, blocked, beat)]),
            Law::new("a put that is awaited stops nobody: the longest gap is a beat, as late as timers are", "s", Longer(Timers))
                .within("three tenths of a beat: answers that come together are read in between")
                .near([Case::new("", late + beat, awaited, 0.3 * beat)])
                .unless(late_timers),
            Law::new("a client for each request takes at least a quarter longer than one client for all", "times", Either(Processors))
                .goal()
                .at_least([Case::exact("", 1.25, gain)]),
        ]
    }
}

/// The charts.
impl View<'_> {
    fn progress(&self) -> Option<Figure> {
        let (p, k) = (self.p, self.last()?);
        let trial = k.typical(|t| t.wall_s)?;
        let of = |name: Gauge| trial.gauge(name);
        let (pages, allowed) = (of(gauges::CENSUS_PAGES)?, allowed(p, k)?);
        let ideal = vec![(0.0, 0.0), (pages / allowed, pages)];
        let trace = |label, colour, name| Line::trace(label, colour, over_time(trial, name));
        let title = format!(
            "{} of the host's limit in use while pages wait: {} pages a second in all",
            told(of(gauges::HOST_BUSY_WANTED), percent),
            number(of(gauges::PAGES)? / trial.wall_s)
        );
        Some(Figure::new("crawl", title)
            .subtitle(format!(
                "A shop of {} products, {} requests at a time, {} for an answer. Dashed: what the host allows",
                number(k.x()),
                p.limit,
                p.fetch
            ))
            .desc("Pages stored, pages waiting in the frontier and requests in flight over the time of a crawl: stored pages rise along the bound, the frontier rises and empties, the requests stay at the limit.")
            .over(Axis::linear("time", Unit::Seconds), [
                Panel::new("Pages stored", Unit::Number)
                    .note("in SQLite")
                    .layer(trace("stored", Colour::Blue, "stored"))
                    .layer(Line::theory("", Colour::Ink, ideal))
                    .height(1.2),
                Panel::new("Frontier", Unit::Number)
                    .note("pages that wait, on the disk")
                    .layer(trace("waiting", Colour::Orange, "waiting"))
                    .height(0.8),
                Panel::new("Requests in flight", Unit::Number)
                    .layer(trace("in flight", Colour::Green, "in_flight"))
                    .layer(Layer::rule(p.limit as f64, "limit"))
                    .height(0.8),
            ]))
    }

    fn sweep(&self) -> Option<Figure> {
        let (p, limits) = (self.p, &self.limits);
        let measured = |of: &Quantity, label: &str, colour| of.line(label, colour, limits);
        let theory = |of: &Quantity, colour| {
            let points = limits.iter();
            let points = points.filter_map(|k| Some((k.x(), of.predicted(k)?.value)));
            Line::theory("", colour, points.filter(|(_, v)| v.is_finite()).collect())
        };
        let rates = limits.iter();
        let rates = rates.filter_map(|k| Some((k.x(), self.throughput.measured(k)?.value)));
        let (at, most) = rates.max_by(|a, b| a.1.total_cmp(&b.1))?;
        let title = format!(
            "By theory the thread is the bottleneck above a limit of {}: {} pages a second at most, with {}",
            number(p.fetch.s() / p.burden.s()),
            number(most),
            number(at)
        );
        let ticks: Vec<f64> = limits.iter().map(Condition::x).collect();
        Some(Figure::new("limit", title)
            .subtitle(format!(
                "{} pages, {} for an answer, {} of one thread for each page. Dashed: the slowest stage decides",
                p.listed, p.fetch, p.burden
            ))
            .desc("Pages a second over the limit for the host: proportional at first, level where the thread is busy all the time. Below, the shares of time in which host and thread are busy.")
            .over(Axis::log("limit for the host, log scale", Unit::Number).with_ticks(ticks), [
                Panel::new("Pages a second", Unit::Number)
                    .layer(measured(&self.throughput, "measured", Colour::Blue))
                    .layer(theory(&self.throughput, Colour::Ink))
                    .height(1.2),
                Panel::new("Busy", Unit::Share)
                    .note("share of the time")
                    .layer(measured(&self.host_busy, "host", Colour::Green))
                    .layer(theory(&self.host_busy, Colour::Green))
                    .layer(measured(&self.thread_busy, "thread", Colour::Vermilion))
                    .layer(theory(&self.thread_busy, Colour::Vermilion)),
            ]))
    }

    fn heaps(&self) -> Option<Figure> {
        let p = self.p;
        let megabytes = |k: &Condition| Some(peak(k)?.value / 1e6);
        let line = |label, colour, of: &[Condition]| {
            let points = of.iter().filter_map(|k| Some((k.x(), megabytes(k)?)));
            Line::measured(label, colour, points.collect())
        };
        let growth = self.growth()?.value;
        let (few, many) = (self.unbounded.first()?, self.unbounded.last()?);
        let (from, to) = (number(megabytes(few)?), number(megabytes(many)?));
        let title = format!(
            "{} times the products, {growth:.2} times the memory; an unbounded queue of {} pages takes {to} MB, of {} pages {from} MB",
            number(self.times_products()?),
            number(many.x()),
            number(few.x())
        );
        Some(Figure::new("memory", title)
            .subtitle(format!(
                "Peak live heap of the crawler; below, before a computation of {} a page without a bound, and with {} places",
                p.compute, p.places
            ))
            .desc(format!(
                "Two panels of peak heap: over the products of a shop, of whole crawls; over the pages of a list, before a slow computation, with a bounded queue and an unbounded one, which goes from {from} to {to} MB."
            ))
            .over(Axis::log("products of the shop, pages of the list, log scale", Unit::Number), [
                Panel::new("Whole crawls", Unit::Number)
                    .note("MB")
                    .layer(line("crawl", Colour::Blue, &self.crawls)),
                Panel::new("A list of pages before a slow computation", Unit::Number)
                    .note("MB")
                    .layer(line("unbounded", Colour::Vermilion, &self.unbounded))
                    .layer(line("bounded", Colour::Green, &self.bounded)),
            ]))
    }

    fn beats(&self) -> Option<Figure> {
        let (p, blocks, awaits) = (self.p, self.blocks?, self.awaits?);
        let lane = |k: &Condition, title: &str, note: &str| {
            let gap = |t: &Trial| t.gauge(gauges::LONGEST_GAP_S).unwrap_or(f64::NAN);
            let trial = k.typical(gap)?;
            let beats = over_time(trial, "beats").into_iter();
            Some(BeatLane {
                title: title.into(),
                note: note.into(),
                beats: beats.map(|(at, _)| at).collect(),
                longest_gap: gap(trial),
            })
        };
        let (blocked, awaited) = (
            lane(&blocks, "Blocks", "a call that waits for room"),
            lane(&awaits, "Awaited", "whoever finds no room waits"),
        );
        let gap = |lane: &Option<BeatLane>| told(lane.as_ref().map(|l| l.longest_gap), seconds);
        let title = format!(
            "A put that blocks stops the event loop for {}; awaited, no gap above {}",
            gap(&blocked),
            gap(&awaited)
        );
        let lanes: Vec<BeatLane> = blocked.into_iter().chain(awaited).collect();
        let last = |lane: &BeatLane| lane.beats.last().copied().unwrap_or(0.0);
        Some(Figure::new("put", title)
            .subtitle(format!(
                "A queue of {} places whose reader is stuck for {}. A beat every {}",
                p.places, p.stall, p.beat
            ))
            .desc("Heartbeats of the event loop in two lanes: one long gap where the put blocks, none where it is awaited.")
            .body(Body::Beats(Beats {
                until: lanes.iter().map(last).fold(0.0, f64::max),
                threshold: 3.0 * p.beat.s(),
                lanes,
            })))
    }

    fn resumed(&self) -> Option<Figure> {
        let trial = self.killed?.typical(|t| t.wall_s)?;
        let first = trial.trace("done").first()?.0;
        let done = trial.trace("done").iter();
        let done = done.map(|(at, n)| (at - first, *n)).collect();
        let kills = trial.trace("killed");
        let marks = kills.iter().enumerate().map(|(i, (at, _))| {
            let label = if i == 0 { "killed" } else { "" };
            Mark::at(at - first, label, Colour::Vermilion)
        });
        let of = |name: Gauge| number(trial.gauge(name).unwrap_or(f64::NAN));
        let title = format!(
            "Killed {} times: {} of {} pages stored, {} lost",
            kills.len(),
            of(gauges::PAGES),
            of(gauges::CENSUS_PAGES),
            of(gauges::LOST)
        );
        Some(Figure::new("killed", title)
            .subtitle("A process of its own, ended by SIGKILL on its way and started again. It learns the categories anew each time. Level at the end: pages that were asked to come back later")
            .desc("Pages done over time: the line rises, stands still after each kill while the process starts again, and goes on from where it was.")
            .over(Axis::linear("time", Unit::Seconds), [
                Panel::new("Pages done", Unit::Number)
                    .layer(Line::trace("done", Colour::Blue, done))
                    .height(1.4),
            ])
            .marks(marks))
    }
}

/// The tables.
impl View<'_> {
    fn table(&self) -> Table {
        let p = self.p;
        let shop = |k: &Condition| match k.series() {
            "killed" => {
                let kills = cell(k.gauge(gauges::KILLS), number);
                format!("{}, killed {kills} times", p.killed_products)
            }
            _ => number(k.x()),
        };
        // The time of one that is killed is also that of starting it again.
        let whole = |k: &Condition| k.series() != "killed";
        let rate = |k: &Condition| rate(k).filter(|_| whole(k));
        let theory = |k: &Condition| {
            let theory = gauge(k, gauges::CENSUS_PAGES)? / allowed(p, k)?;
            whole(k).then_some(theory)
        };
        Table::of("The crawls", self.crawls.iter().chain(&self.killed))
            .column("products", |k| shop(k))
            .cells("pages", number, |k| k.gauge(gauges::PAGES))
            .cells("there are", number, |k| k.gauge(gauges::CENSUS_PAGES))
            .cells("lost", number, |k| k.gauge(gauges::LOST))
            .cells("time", seconds, |k| k.wall_s())
            .column("theory", |k| told(theory(k), seconds))
            .column("pages/s", |k| told(rate(k), number))
            .column("million/hour", |k| told(rate(k), |rate| number(rate * 3600.0 / 1e6)))
            .cells("host busy", percent, |k| k.gauge(gauges::HOST_BUSY))
            .cells("while pages wait", percent, |k| k.gauge(gauges::HOST_BUSY_WANTED))
            .cells("peak heap", |bytes| format!("{} MB", number(bytes / 1e6)), |k| peak(k))
            .cells("in hand", number, |k| k.gauge(gauges::UNDER_WAY_MAX))
            .note("Theory: the time in which the host could have answered everything, at its limit from the first moment to the last. A crawl begins with one page, and ends with whoever was asked to come back later.")
    }

    /// What each stage could do at the largest crawl.
    fn stages(&self) -> Option<Table> {
        let (p, k) = (self.p, self.last()?);
        let of = |name: Gauge| gauge(k, name);
        // A page may take several attempts.
        let page_s = || {
            let attempts = of(gauges::ATTEMPTS)? / of(gauges::PAGES)?;
            Some(of(gauges::ATTEMPT_S)? * attempts)
        };
        let (computing, writing) = (of(gauges::COMPUTING_S), of(gauges::WRITING_S));
        let stages = [
            ("the host", p.limit, page_s(), gauges::HOST_BUSY),
            ("threads: read, classify", p.workers, computing, gauges::THREADS_BUSY),
            ("SQLite: frontier, pages", 1, writing, gauges::WRITER_BUSY),
        ];
        let could_do = |width: usize, time: Option<f64>| {
            told(time, |time| format!("{} pages/s", number(width as f64 / time)))
        };
        let held = of(gauges::UNDER_WAY_MEAN);
        let bytes = of(gauges::HEAP_MEAN_BYTES).zip(held);
        let bytes = bytes.map(|(bytes, held)| bytes / held);
        Some(Table::of("The stages of the largest crawl", stages)
            .column("stage", |(name, ..)| name.to_string())
            .column("width", |(_, width, ..)| width.to_string())
            .column("time of a page", |(_, _, time, _)| told(*time, seconds))
            .column("could do", |(_, width, time, _)| could_do(*width, *time))
            .cells("busy", percent, |(.., busy)| k.gauge(*busy))
            .note(format!(
                "In hand {} pages on average, {} at most; {} KB of heap for each, connections and model included. Pages of {}.",
                told(held, number),
                cell(k.gauge(gauges::UNDER_WAY_MAX), number),
                told(bytes, |bytes| number(bytes / 1e3)),
                p.page
            )))
    }

    fn ways(&self) -> Table {
        let ways = [
            ("put: blocks", self.blocks),
            ("put: awaited", self.awaits),
            ("a client for each request", self.each),
            ("one client for all", self.shared),
        ];
        let ways = ways.into_iter().filter_map(|(name, k)| Some((name, k?)));
        Table::of("Into a full queue, and over whose connections", ways)
            .column("", |(name, _)| name.to_string())
            .cells("time", seconds, |(_, k)| k.wall_s())
            .column("pages/s", |(_, k)| told(rate(k), number))
            .cells("longest gap", seconds, |(_, k)| k.gauge(gauges::LONGEST_GAP_S))
            .note(format!("The reader of the queue is stuck for {}.", self.p.stall))
    }

    fn learnt(&self) -> Option<Table> {
        Table::of("What the classifier knows", self.summary.series("learnt"))
            .column("labelled pages", |k| number(k.x()))
            // Each trial has a shop of its own.
            .column("shops", |k| k.trials().len().to_string())
            .cells("of products it has not seen", percent, |k| k.estimate(right))
            .note(format!(
                "Each shop has labelled pages and products of its own. Who knows how the words are drawn would know {}.",
                percent(Site::best_accuracy(1, ORACLE))
            ))
            .unless_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_best_classifier_is_good_and_not_perfect() {
        let best = Site::best_accuracy(1, ORACLE);
        assert!((0.955..0.995).contains(&best), "{best}");
    }

    #[test]
    fn the_rate_of_a_crawl_is_that_of_its_middle() {
        let mut trial = Trial::default();
        trial.gauges.insert(gauges::PAGES.to_string(), 100.0);
        // Slow at first and at the end.
        let at = |n: f64| n / 50.0 + n.min(20.0) + (n - 80.0).max(0.0);
        let stored = (0..=100).map(|n| (at(f64::from(n)), f64::from(n)));
        trial.traces.insert("stored".into(), stored.collect());
        assert!((middle_rate(&trial).unwrap() - 50.0).abs() < 1e-9);
        assert_eq!(middle_rate(&Trial::default()), None);
    }
}
