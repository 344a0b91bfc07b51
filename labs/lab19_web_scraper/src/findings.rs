//! Theory beside measurement for lab19.

use lab_kit::{
    host,
    prelude::*,
    theory::{Pipeline, Stage, little},
};
use mock_server::Site;

use super::{
    Params, gauges,
    learnt::{HELD_OUT, MORE},
    watch::MIDDLE,
};
use lab_crawl::worker::Settings;

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
/// Pages that list products, for each product.
const LISTED: f64 = 1.0 / mock_server::site::PER_LISTING as f64;

/// What the time of an answer is multiplied by on average.
fn mean_factor(p: &Params) -> f64 {
    1.0 + p.slow * (p.slow_factor - 1.0)
}

/// Seconds that a crawl of so many products takes when the host allows no more: each product, a page
/// that lists it with others, and links that lead nowhere.
pub(super) fn wall(p: &Params, products: usize) -> f64 {
    let each = mean_factor(p) + LISTED + p.broken + p.busy;
    // One after another until there is enough to do at the same time: the first page, a category, its
    // further pages, a product.
    let fill = (products as f64).log2().max(1.0) * p.fetch.s();
    products as f64 * each * p.fetch.s() / p.limit as f64 + fill
}

/// Processor seconds of a page: to make it and send it, to read it and classify it, to keep what it said.
fn page_s(p: &Params) -> f64 {
    4e-4 + p.page.f() * 2.5e-8
}

/// Seconds that the experiment takes, roughly, with what takes a moment repeated so often: for what a run
/// needs.
pub(super) fn takes(p: &Params, repeats: f64) -> f64 {
    let page = page_s(p);
    // Of so many requests the unluckiest is asked to come back so often in a row. A client has patience,
    // and there are three of them for a page.
    let waits = |n: usize| {
        if p.busy <= 0.0 {
            return 0.0;
        }
        let often = (n as f64 * p.busy).min(1.0) * ((n as f64).ln() / -p.busy.ln()).max(1.0);
        often * (p.retry_after as f64).max(0.05)
    };
    let again = 1.0 / (1.0 - p.busy.min(0.99));
    let learnt = p.samples as f64 * (again * p.fetch.s() / p.limit as f64).max(page);
    // Threads that find nothing to do wake all the same.
    let idle = p.workers.saturating_sub(4 * host::cores()) as f64 * 3e-5;
    let crawl = |n: usize| {
        let page = page + idle;
        let slowest = p.fetch.s() * p.slow_factor;
        again * wall(p, n).max(n as f64 * page) + waits(n) + slowest + learnt + waits(p.samples)
    };
    let crawls: f64 = p.products.iter().map(|n| 0.1 + crawl(*n)).sum();
    let killed = crawl(p.killed_products)
        + p.kills as f64 * (0.2 + learnt + waits(p.samples) + p.limit as f64 * page);
    let listed = p.listed as f64;
    let limits = p.limits.iter().map(|m| {
        let each = (p.fetch.s() / *m as f64).max(p.burden.s() + page);
        0.05 + listed * each + p.fetch.s() + p.burden.s()
    });
    let backlogs = p.backlogs.iter().map(|n| {
        0.05 + *n as f64
            * (p.fetch.s() / p.limit as f64)
                .max(p.compute.s() + 1e-4)
                .max(page / 2.0)
            + p.fetch.s()
    });
    let sent = |each: f64| {
        p.sessions as f64 * (p.session_fetch.s() / p.limit as f64).max(each + page / 4.0)
    };
    let stuck = 2.0 * (0.05 + p.stall.s() + 4.0 * p.fetch.s() + 2.0 * p.limit as f64 * page / 2.0);
    let read = (1.0 + MORE as f64) * p.samples as f64 + 2.0 * HELD_OUT as f64;
    let moments = stuck + sent(1e-4) + sent(5e-5) + read * page / 4.0;
    crawls + killed + limits.sum::<f64>() + 2.0 * backlogs.sum::<f64>() + repeats * moments
}

/// What the apparatus adds to the stages.
#[derive(Clone, Copy, Default)]
struct Overhead {
    /// Seconds of a request beside the answer's own time.
    request: f64,
    /// Seconds a thread takes to read and classify a page.
    reading: f64,
}

/// The host and one thread that computes, as stages.
fn limited(p: &Params, limit: usize, width: f64, more: Overhead) -> Pipeline {
    let host = Stage {
        service: p.fetch.s() + more.request,
        width: limit,
    };
    let thread = Stage::on_processors(p.burden.s() + more.reading, 1, width);
    Pipeline {
        stages: vec![host, thread],
    }
}

/// The most pages between fetches and a computation: all have been fetched after `rounds` times the
/// time of an answer, and since the first came one has left for each computation.
fn backlog(p: &Params, pages: usize) -> f64 {
    let fetched = p.fetch.s() * pages.div_ceil(p.limit) as f64;
    let computed = ((fetched - p.fetch.s()) / p.compute.s()).floor();
    (pages as f64 - computed).max(1.0)
}

/// Tasks that a worker has in hand at most: those it takes, those it has ready, and those in the
/// bridge.
pub(super) fn held(p: &Params) -> usize {
    let s = Settings::for_limit(p.limit);
    2 * s.take + s.fetches + s.queue + p.workers + s.stores
}

fn gauge(k: &Condition, name: Gauge) -> Option<f64> {
    k.gauge(name).map(|e| e.value)
}

fn rate(k: &Condition) -> Option<f64> {
    Some(gauge(k, gauges::PAGES)? / k.wall_s()?.value)
}

/// Pages a second that the host allows, given what the pages of this crawl's shop take.
fn allowed(p: &Params, k: &Condition) -> Option<f64> {
    let of_pages = gauge(k, gauges::CENSUS_PAGES)?
        / (gauge(k, gauges::CENSUS_PAGES)? + gauge(k, gauges::CENSUS_BROKEN)?);
    Some(of_pages * p.limit as f64 / (p.fetch.s() * gauge(k, gauges::CENSUS_FACTOR)?))
}

/// Pages a second that the host allows by the flags alone: of a product, of its part of a listing, of a link
/// that leads nowhere and of being asked to come back.
fn allowed_by_flags(p: &Params) -> f64 {
    let pages = 1.0 + LISTED;
    let answers = mean_factor(p) + LISTED + p.broken + p.busy * pages;
    pages / answers * p.limit as f64 / p.fetch.s()
}

/// Pages a second in the middle of a crawl; of an older record, as its chart has them.
fn middle_rate(trial: &Trial) -> Option<f64> {
    if let Some(rate) = trial.gauge(gauges::MIDDLE_PER_S) {
        return Some(rate);
    }
    let (stored, all) = (trial.traces.get("stored")?, trial.gauge(gauges::PAGES)?);
    let [from, to] = MIDDLE.map(|share| stored.iter().find(|(_, n)| *n >= share * all));
    let ((from, first), (to, last)) = (from?, to?);
    (to > from).then(|| (last - first) / (to - from))
}

/// The record, read for this lab.
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
}

impl<'a> View<'a> {
    fn of(p: &'a Params, summary: &'a Summary<'a>) -> View<'a> {
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
        }
    }

    fn last(&self) -> Option<&Condition<'a>> {
        self.crawls.last()
    }

    /// The largest crawl's peak of the heap in those of the smallest.
    fn growth(&self) -> Option<Estimate> {
        Some(peak(self.last()?)?.over(peak(self.crawls.first()?)?))
    }

    /// Pages an hour of the largest crawl, from its beginning to its end.
    fn per_hour(&self) -> Option<Estimate> {
        self.last()?
            .estimate(|t| Some(t.gauge(gauges::PAGES)? / t.wall_s * 3600.0))
    }

    /// As measured: of a request before the run, of reading a page in the largest crawl.
    fn overhead(&self) -> (Overhead, Origin) {
        let request = self.summary.calibrated(|h| h.request_overhead_ms / 1e3);
        let reading = self.last().and_then(|k| k.gauge(gauges::COMPUTING_S));
        let reading = reading.map_or(f64::NAN.into(), Given::from);
        let overhead = Overhead {
            request: request.value,
            reading: reading.value,
        };
        (overhead, request.origin().and(reading.origin()))
    }

    /// The host with a limit and one thread that computes, and what it was made of.
    fn limited(&self, limit: f64) -> (Pipeline, Origin) {
        let width = self.summary.calibrated(|host| host.width(1));
        let (more, of) = self.overhead();
        let pipeline = limited(self.p, limit as usize, width.value, more);
        (pipeline, of.and(width.origin()))
    }
}

pub(super) fn explain(p: &Params, summary: &Summary) -> Findings {
    let view = &View::of(p, summary);
    let mut claims = Vec::new();
    claims.extend(counts(view));
    claims.extend(speed(view));
    claims.extend(memory(view));
    claims.extend(accuracy(view));
    claims.extend(ways(view));

    let mut figures = Vec::new();
    figures.extend(view.last().and_then(|k| progress(p, k)));
    figures.extend(sweep(view));
    figures.extend(heaps(view));
    figures.extend(view.blocks.zip(view.awaits).map(|(b, a)| beats(p, &b, &a)));
    figures.extend(view.killed.as_ref().and_then(resumed));

    let mut tables = vec![table(view)];
    tables.extend(view.last().map(|k| stages(p, k)));
    tables.push(rows(view));
    tables.extend(learnt_table(view));
    Findings {
        headline: headline(view),
        figures,
        tables,
        claims,
        answers: answers(view),
    }
}

fn headline(view: &View) -> String {
    let (first, last) = (view.crawls.first(), view.last());
    let killed = |name: Gauge| cell(view.killed.and_then(|k| k.gauge(name)), number);
    format!(
        "{} million pages an hour: {} of what the host allows while pages wait. {} times the products take {} times the memory. Killed {} times, the crawl has {} of {} pages, each once.",
        cell(view.per_hour(), |e| number(e / 1e6)),
        cell(
            last.and_then(|k| k.gauge(gauges::HOST_BUSY_WANTED)),
            percent
        ),
        first
            .zip(last)
            .map_or("–".into(), |(a, b)| number(b.x() / a.x())),
        cell(view.growth(), |ratio| format!("{ratio:.2}")),
        killed(gauges::KILLS),
        killed(gauges::PAGES),
        killed(gauges::CENSUS_PAGES),
    )
}

fn answers(view: &View) -> Vec<Answer> {
    let most = view.last().and_then(|k| allowed(view.p, k));
    let wrong = view.killed.and_then(|k| {
        k.estimate(|t| {
            let of = |name: Gauge| t.gauge(name);
            Some(
                (of(gauges::CENSUS_PAGES)? - of(gauges::PAGES)?).abs()
                    + of(gauges::LOST)?
                    + of(gauges::STRAYS)?,
            )
        })
    });
    vec![
        Answer::at_most(
            "pages",
            view.per_hour(),
            most.map_or(f64::NAN, |m| m * 3600.0),
        )
        .scaled(1e-6),
        // What it has in hand does not depend on how large the shop is.
        Answer::near("memory", view.growth(), 1.0),
        Answer::near("wrong", wrong, 0.0),
    ]
}

fn products(k: &Condition) -> String {
    format!("{} products", number(k.x()))
}

/// Every page once, and nothing else.
fn counts(view: &View) -> Vec<Claim> {
    let killed = view.killed.iter().map(|k| ("killed".to_string(), k));
    let crawls = view.crawls.iter().map(|k| (products(k), k));
    let all: Vec<_> = crawls.chain(killed).collect();
    let cases = |figures: &[(&str, Gauge, Option<Gauge>)]| -> Vec<Case> {
        let of = |(name, k): &(String, &Condition)| -> Vec<Case> {
            let figure = |(what, counted, there_are): &(&str, Gauge, Option<Gauge>)| {
                let off = k.every(|t| {
                    on_its_way(k, t)?;
                    let there_are = match there_are {
                        Some(list) => t.gauge(*list)?,
                        None => 0.0,
                    };
                    Some(t.gauge(*counted)? - there_are)
                });
                Case::exact(format!("{name}: {what}"), 0.0, off)
            };
            figures.iter().map(figure).collect()
        };
        all.iter().flat_map(of).collect()
    };
    let found = cases(&[
        ("pages", gauges::PAGES, Some(gauges::CENSUS_PAGES)),
        ("products", gauges::PRODUCTS, Some(gauges::CENSUS_PRODUCTS)),
        (
            "cents of all prices",
            gauges::CENTS,
            Some(gauges::CENSUS_CENTS),
        ),
        ("dead letters", gauges::DEAD, Some(gauges::CENSUS_BROKEN)),
    ]);
    let wrong = cases(&[
        ("finished without a page", gauges::LOST, None),
        ("stored under a second address", gauges::STRAYS, None),
    ]);
    let again = view.killed.map(|k| {
        let again = k.every(|t| on_its_way(&k, t).and_then(|()| fetched_again(view.p, t)));
        let held = (view.p.kills * held(view.p)) as f64;
        Case::exact("killed", held, again)
    });
    vec![
        Law::counted(
            "every page within reach is stored exactly once with its price, and what leads nowhere is a dead letter, also when the crawler is killed on its way",
            "more than the shop has",
        )
        .near(found),
        Law::counted(
            "no page is finished without being stored, and none is stored under a second address",
            "pages",
        )
        .near(wrong),
        Law::counted(
            "only what the crawler had in hand when it was killed is fetched again",
            "requests",
        )
        .at_most(again),
    ]
}

/// Whether a crawl that is to be killed was so before it had all pages: else it says nothing of kills.
fn on_its_way(k: &Condition, trial: &Trial) -> Option<()> {
    let pages = trial.gauge(gauges::CENSUS_PAGES)?;
    let kills = trial.traces.get("killed").map_or(&[][..], |kills| kills);
    let early = kills.iter().any(|(_, done)| *done < pages);
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

fn speed(view: &View) -> Vec<Claim> {
    let p = view.p;
    let crawls = || view.crawls.iter();
    let polite = crawls().map(|k| {
        let most = k.every(|t| t.gauge(gauges::HOST_MOST));
        Case::exact(products(k), p.limit as f64, most)
    });
    let rates = crawls().map(|k| {
        let close = CLOSE.max(LATE_S / p.fetch.s());
        Case::share(
            products(k),
            allowed_by_flags(p),
            k.every(middle_rate),
            close,
        )
    });
    let flow = crawls().map(|k| Case::new(products(k), 1.0, k.every(|t| flow(p, t)), 0.05));
    // What the host lets through by the client's clock, beside what its limit and its own time allow.
    let request = view.overhead().0.request;
    let by_host = view.limits.iter().map(|k| {
        let host = view.summary.calibrated(|_| k.x() / (p.fetch.s() + request));
        let measured = k
            .estimate(|t| Some(t.gauge(gauges::PAGES)? / (t.gauge(gauges::HOST_BUSY)? * t.wall_s)));
        Case::share(
            format!("limit {}: the host alone", number(k.x())),
            host,
            measured,
            CLOSE,
        )
    });
    let throughput = view.limits.iter().map(|k| {
        let (pipeline, of) = view.limited(k.x());
        let predicted = Given::new(p.listed as f64 / pipeline.makespan(p.listed), of);
        let name = format!("limit {}", number(k.x()));
        let measured = k.estimate(|t| Some(t.gauge(gauges::PAGES)? / t.wall_s));
        Case::share(name, predicted, measured, CLOSE)
    });
    let fewer = Disturbed::Fewer(Resource::Processors);
    vec![
        Law::counted(
            "the crawler is polite: by its own books the host never has more requests at a time than it allows",
            "requests at a time",
        )
        .at_most(polite),
        Law::new(
            "the host is the bottleneck: in the middle of a crawl pages are stored at the rate that limit ÷ time of an answer allows",
            "pages/s",
            fewer,
        )
        .within("10 %, or 1.6 ms of an answer where that is more: a tick of the timers, and the other answers on the event loop")
        .near(rates),
        Law::new(
            "three instruments agree: what is in flight is what the host counts a second times what the client's clock says of each (Little's law)",
            "of arrivals × time",
            Disturbed::Either(Resource::Processors),
        )
        .within("5 %: it is looked at now and then, from before the first request until after the last")
        .books()
        .near(flow),
        Law::new(
            "throughput is what the slowest stage lets through, λ = min(limit ÷ answer, threads ÷ computation), with the fill",
            "pages/s",
            fewer,
        )
        .within("10 %: a tick of the timers in each answer, and what a computation of fixed length varies by")
        .near(throughput.chain(by_host)),
    ]
}

/// What was seen in flight, over arrivals at the host a second times what each took by the client's clock.
fn flow(p: &Params, trial: &Trial) -> Option<f64> {
    let of = |name: Gauge| trial.gauge(name);
    // Before the clock it asked for the rules and for what it learns from.
    let arrived = of(gauge::UPSTREAM_ARRIVED)? - (p.samples + 1) as f64;
    Some(
        of(gauge::IN_FLIGHT_MEAN)?
            / little::number_in_system(arrived / trial.wall_s, of(gauges::ATTEMPT_S)?),
    )
}

fn peak(k: &Condition) -> Option<Estimate> {
    k.gauge(gauges::HEAP_PEAK_BYTES)
}

/// Heap that pages on their way take: towards the end of the time in which pages wait, without what is
/// left when the crawl is over, which are connections, model and tables.
fn in_hand(trial: &Trial) -> Option<f64> {
    let of = |name: Gauge| trial.gauge(name);
    // Of a crawl that is over at once nothing was seen.
    Some(of(gauges::HEAP_WANTED_BYTES)? - of(gauges::HEAP_LEFT_BYTES)?).filter(|bytes| *bytes > 0.0)
}

fn memory(view: &View) -> Vec<Claim> {
    let p = view.p;
    // What larger crawls take, beside the smallest of those with so many requests for each connection.
    let alike = |requests: f64, figure: &dyn Fn(&Trial) -> Option<f64>| -> Vec<Case> {
        let each = 1.0 + LISTED + p.broken + p.busy;
        let enough = |k: &&Condition| k.x() * each / p.limit as f64 >= requests;
        let crawls: Vec<&Condition> = view.crawls.iter().filter(enough).collect();
        let Some((first, larger)) = crawls.split_first() else {
            return Vec::new();
        };
        let Some(smallest) = first.estimate(figure) else {
            return Vec::new();
        };
        let case = |k: &&Condition| {
            let name = format!("{} beside {}", products(k), number(first.x()));
            Case::share(name, smallest, k.every(figure), 0.1).scaled(1e-6)
        };
        larger.iter().map(case).collect()
    };
    let backlogs = view.unbounded.iter().map(|k| {
        let most = k.every(|t| t.gauge(gauges::BACKLOG_MAX));
        Case::share(pages(k), backlog(p, k.x() as usize), most, 0.1)
    });
    let bounded = view.bounded.iter().map(|k| {
        let most = k.every(|t| t.gauge(gauges::BACKLOG_MAX));
        Case::exact(pages(k), (p.places + 1 + p.limit) as f64, most)
    });
    let slower = p.compute.s() > 1.5 * p.fetch.s() / p.limit as f64;
    vec![
        Law::counted(
            "what the crawler has in hand while pages wait does not depend on how large the shop is",
            "MB",
        )
        .within("10 %: which pages are on their way at the moments of looking")
        .near(alike(GROWING, &in_hand)),
        Law::counted(
            "nor does all of its memory, once the connections' buffers have grown: the peaks are alike",
            "MB",
        )
        .within("10 %: the longer a crawl, the rarer the moments it has seen")
        .near(alike(GROWN, &|t| t.gauge(gauges::HEAP_PEAK_BYTES))),
        Law::new(
            "without a bound the pages that wait are those the fetches are ahead by: a share of all",
            "pages",
            Disturbed::Either(Resource::Processors),
        )
        .within("10 %: a tick of the timers in each round of answers")
        .near(backlogs)
        .unless((!slower).then(|| "the computation is not slower than the fetches".to_string())),
        Law::counted(
            "with a bound they are its places, one that is computed, and one in the hand of each fetch",
            "pages",
        )
        .at_most(bounded),
    ]
}

fn pages(k: &Condition) -> String {
    format!("{} pages", number(k.x()))
}

/// Products known by what was learnt from so many labelled pages; each trial has a shop of its own.
fn known(k: &Condition) -> Option<Estimate> {
    k.estimate(|t| Some(t.gauge(gauges::RIGHT)? / t.gauge(gauges::CLASSIFIED)?))
}

fn accuracy(view: &View) -> [Claim; 2] {
    let p = view.p;
    // The crawls' shops are such shops as well, where there are enough products.
    let large = view.crawls.iter().filter(|k| k.x() >= HELD_OUT as f64);
    let crawled = large.map(|k| {
        let right = k.every(|t| Some(t.gauge(gauges::RIGHT)? / t.gauge(gauges::CLASSIFIED)?));
        Case::exact(products(k), 0.95, right)
    });
    let case = |samples: usize, least: f64, tolerance: f64| {
        let learnt = view.summary.at("learnt", samples as f64);
        let name = format!("{samples} labelled pages");
        Case::new(name, least, learnt.and_then(|k| known(&k)), tolerance)
    };
    let little =
        (p.samples < 160).then(|| format!("{} labelled pages are few to learn from", p.samples));
    [
        Law::counted(
            "learnt from as many labelled pages as a crawl has, in whatever shop, the classifier knows 95 of a hundred products that it has not seen",
            "of the products",
        )
        .goal()
        .at_least([case(p.samples, 0.95, 0.0)].into_iter().chain(crawled))
        .unless(little.clone()),
        Law::counted(
            "learnt from four times as many it is as good as anybody could be who knows how the words are drawn",
            "of the products",
        )
        .within("a point: what the frequencies of the words are still uncertain by")
        .near([case(MORE * p.samples, Site::best_accuracy(1, ORACLE), 0.01)])
        .unless(little),
    ]
}

/// How pages get into a full queue, and who has the connections.
fn ways(view: &View) -> [Claim; 3] {
    let p = view.p;
    let late = view.summary.calibrated(|host| host.timer_late_ms / 1e3);
    let late_timers = (late.value > p.beat.s()).then(|| "timers are later here than a beat".into());
    let gap = |k: Option<Condition>| k.and_then(|k| k.estimate(longest_gap));
    let blocked = view.blocks.and_then(|k| k.every(longest_gap));
    let gain = view.each.zip(view.shared).and_then(|(each, shared)| {
        each.paired(&shared, |each, shared| Some(each.wall_s / shared.wall_s))
    });
    let longer = Disturbed::Longer(Resource::Timers);
    [
        Law::new(
            "a put that blocks stops the event loop until the reader is back: for the stall, and what had passed of a beat",
            "s",
            longer,
        )
        .within("a beat: the block may begin anywhere between two")
        .near([Case::new(
            "",
            p.stall.s() + p.beat.s() / 2.0,
            blocked,
            p.beat.s(),
        )]),
        Law::new(
            "a put that is awaited stops nobody: the longest gap is a beat, as late as timers are",
            "s",
            longer,
        )
        .within("three tenths of a beat: answers that come together are read in between")
        .near([Case::new(
            "",
            late + p.beat.s(),
            gap(view.awaits),
            0.3 * p.beat.s(),
        )])
        .unless(late_timers),
        Law::new(
            "a client for each request takes at least a quarter longer than one client for all",
            "times",
            Disturbed::Either(Resource::Processors),
        )
        .goal()
        .at_least([Case::exact("", 1.25, gain)]),
    ]
}

/// The longest time without a beat, the one after the last included.
fn longest_gap(trial: &Trial) -> Option<f64> {
    let last = trial.traces.get("beats")?.last()?.0;
    let open = trial.started_s() + trial.wall_s - last;
    Some(trial.gauge(gauges::LONGEST_GAP_S)?.max(open))
}

fn panel(title: &str, note: &str, height: f64, unit: Unit, layers: Vec<Layer>) -> Panel {
    Panel {
        title: title.into(),
        note: note.into(),
        y: Axis::linear("", unit),
        layers,
        height,
    }
}

fn trace(label: &str, colour: Colour, points: Vec<(f64, f64)>) -> Layer {
    Layer::Line(Line::trace(label, colour, points))
}

/// A trace of a trial, from the start of what was measured, scaled.
fn over_time(trial: &Trial, name: &str, scale: f64) -> Vec<(f64, f64)> {
    let start = trial.started_s();
    let points = trial.traces.get(name).into_iter().flatten();
    points
        .map(|(at, value)| ((at - start).max(0.0), value * scale))
        .collect()
}

fn progress(p: &Params, k: &Condition) -> Option<Figure> {
    let trial = k.typical(|t| t.wall_s)?;
    let of = |name: Gauge| trial.gauge(name);
    let (pages, allowed) = (of(gauges::CENSUS_PAGES)?, allowed(p, k)?);
    let ideal = vec![(0.0, 0.0), (pages / allowed, pages)];
    Some(Figure {
        id: "crawl".into(),
        title: format!(
            "{} of the host's limit in use while pages wait: {} pages a second in all",
            of(gauges::HOST_BUSY_WANTED).map_or("–".into(), percent),
            number(of(gauges::PAGES)? / trial.wall_s)
        ),
        subtitle: format!(
            "A shop of {} products, {} requests at a time, {} for an answer. Dashed: what the host allows",
            number(k.x()),
            p.limit,
            p.fetch
        ),
        desc: "Pages stored, pages waiting in the frontier and requests in flight over the time of a crawl: stored pages rise along the bound, the frontier rises and empties, the requests stay at the limit.".into(),
        body: Body::Panels(Panels {
            x: Axis::linear("time", Unit::Seconds),
            panels: vec![
                panel("Pages stored", "in SQLite", 1.2, Unit::Number, vec![
                    trace("stored", Colour::Blue, over_time(trial, "stored", 1.0)),
                    Layer::Line(Line::theory("", Colour::Ink, ideal)),
                ]),
                panel("Frontier", "pages that wait, on the disk", 0.8, Unit::Number, vec![
                    trace("waiting", Colour::Orange, over_time(trial, "waiting", 1.0)),
                ]),
                panel("Requests in flight", "", 0.8, Unit::Number, vec![
                    trace("in flight", Colour::Green, over_time(trial, "in_flight", 1.0)),
                    Layer::Rule { y: p.limit as f64, label: "limit".into() },
                ]),
            ],
            marks: vec![],
        }),
    })
}

fn sweep(view: &View) -> Option<Figure> {
    let (p, limits) = (view.p, &view.limits);
    let points = |figure: &dyn Fn(&Condition) -> Option<f64>| -> Vec<(f64, f64)> {
        limits
            .iter()
            .filter_map(|k| Some((k.x(), figure(k).filter(|v| v.is_finite())?)))
            .collect()
    };
    let theory = |k: &Condition| Some(p.listed as f64 / view.limited(k.x()).0.makespan(p.listed));
    let share = |k: &Condition, at: usize| {
        let shares = view.limited(k.x()).0.utilisation_over(p.listed);
        shares.get(at).copied()
    };
    let rates = limits.iter().filter_map(|k| Some((k.x(), rate(k)?)));
    let (at, most) = rates.max_by(|a, b| a.1.total_cmp(&b.1))?;
    let knee = p.fetch.s() / p.burden.s();
    Some(Figure {
        id: "limit".into(),
        title: format!(
            "By theory the thread is the bottleneck above a limit of {}: {} pages a second at most, with {}",
            number(knee),
            number(most),
            number(at)
        ),
        subtitle: format!(
            "{} pages, {} for an answer, {} of one thread for each page. Dashed: the slowest stage decides",
            p.listed, p.fetch, p.burden
        ),
        desc: "Pages a second over the limit for the host: proportional at first, level where the thread is busy all the time. Below, the shares of time in which host and thread are busy.".into(),
        body: Body::Panels(Panels {
            x: Axis::log("limit for the host, log scale", Unit::Number).with_ticks(limits.iter().map(Condition::x).collect::<Vec<_>>()),
            panels: vec![
                panel("Pages a second", "", 1.2, Unit::Number, vec![
                    Layer::Line(Line::measured("measured", Colour::Blue, points(&rate))),
                    Layer::Line(Line::theory("", Colour::Ink, points(&theory))),
                ]),
                panel("Busy", "share of the time", 1.0, Unit::Share, vec![
                    Layer::Line(Line::measured("host", Colour::Green, points(&|k| gauge(k, gauges::HOST_BUSY)))),
                    Layer::Line(Line::theory("", Colour::Green, points(&|k| share(k, 0)))),
                    Layer::Line(Line::measured("thread", Colour::Vermilion, points(&|k| gauge(k, gauges::THREADS_BUSY)))),
                    Layer::Line(Line::theory("", Colour::Vermilion, points(&|k| share(k, 1)))),
                ]),
            ],
            marks: vec![],
        }),
    })
}

fn heaps(view: &View) -> Option<Figure> {
    let p = view.p;
    let megabytes = |k: &Condition| Some(peak(k)?.value / 1e6);
    let points = |of: &[Condition]| -> Vec<(f64, f64)> {
        of.iter()
            .filter_map(|k| Some((k.x(), megabytes(k)?)))
            .collect()
    };
    let growth = view.growth()?.value;
    let (first, last) = (view.crawls.first()?, view.last()?);
    let (few, many) = (view.unbounded.first()?, view.unbounded.last()?);
    let (from, to) = (number(megabytes(few)?), number(megabytes(many)?));
    Some(Figure {
        id: "memory".into(),
        title: format!(
            "{} times the products, {growth:.2} times the memory; an unbounded queue of {} pages takes {to} MB, of {} pages {from} MB",
            number(last.x() / first.x()),
            number(many.x()),
            number(few.x())
        ),
        subtitle: format!(
            "Peak live heap of the crawler; below, before a computation of {} a page without a bound, and with {} places",
            p.compute, p.places
        ),
        desc: format!(
            "Two panels of peak heap: over the products of a shop, of whole crawls; over the pages of a list, before a slow computation, with a bounded queue and an unbounded one, which goes from {from} to {to} MB."
        ),
        body: Body::Panels(Panels {
            x: Axis::log(
                "products of the shop, pages of the list, log scale",
                Unit::Number,
            ),
            panels: vec![
                panel(
                    "Whole crawls",
                    "MB",
                    1.0,
                    Unit::Number,
                    vec![Layer::Line(Line::measured(
                        "crawl",
                        Colour::Blue,
                        points(&view.crawls),
                    ))],
                ),
                panel(
                    "A list of pages before a slow computation",
                    "MB",
                    1.0,
                    Unit::Number,
                    vec![
                        Layer::Line(Line::measured(
                            "unbounded",
                            Colour::Vermilion,
                            points(&view.unbounded),
                        )),
                        Layer::Line(Line::measured(
                            "bounded",
                            Colour::Green,
                            points(&view.bounded),
                        )),
                    ],
                ),
            ],
            marks: vec![],
        }),
    })
}

fn beats(p: &Params, blocks: &Condition, awaits: &Condition) -> Figure {
    let lane = |k: &Condition, title: &str, note: &str| {
        let gap = |t: &Trial| t.gauge(gauges::LONGEST_GAP_S).unwrap_or(f64::NAN);
        let trial = k.typical(gap)?;
        Some(BeatLane {
            title: title.into(),
            note: note.into(),
            beats: over_time(trial, "beats", 1.0)
                .into_iter()
                .map(|(at, _)| at)
                .collect(),
            longest_gap: gap(trial),
        })
    };
    let lanes: Vec<BeatLane> = [
        lane(blocks, "Blocks", "a call that waits for room"),
        lane(awaits, "Awaited", "whoever finds no room waits"),
    ]
    .into_iter()
    .flatten()
    .collect();
    let last = |lane: &BeatLane| lane.beats.last().copied().unwrap_or(0.0);
    let gap = |title: &str| {
        let drawn = lanes.iter().find(|lane| lane.title == title);
        drawn.map_or("–".into(), |lane| seconds(lane.longest_gap))
    };
    Figure {
        id: "put".into(),
        title: format!(
            "A put that blocks stops the event loop for {}; awaited, no gap above {}",
            gap("Blocks"),
            gap("Awaited")
        ),
        subtitle: format!(
            "A queue of {} places whose reader is stuck for {}. A beat every {}",
            p.places, p.stall, p.beat
        ),
        desc: "Heartbeats of the event loop in two lanes: one long gap where the put blocks, none where it is awaited.".into(),
        body: Body::Beats(Beats {
            until: lanes.iter().map(last).fold(0.0, f64::max),
            threshold: 3.0 * p.beat.s(),
            lanes,
        }),
    }
}

fn resumed(k: &Condition) -> Option<Figure> {
    let trial = k.typical(|t| t.wall_s)?;
    let done = trial.traces.get("done")?;
    let first = done.first()?.0;
    let shifted = |points: &[(f64, f64)]| {
        points
            .iter()
            .map(|(at, n)| (at - first, *n))
            .collect::<Vec<_>>()
    };
    let kills = trial
        .traces
        .get("killed")
        .map(|k| shifted(k))
        .unwrap_or_default();
    let marks = kills.iter().enumerate().map(|(i, (at, _))| Mark {
        x: *at,
        interval: None,
        label: if i == 0 {
            "killed".into()
        } else {
            String::new()
        },
        colour: Colour::Vermilion,
    });
    let of = |name: Gauge| trial.gauge(name).unwrap_or(f64::NAN);
    Some(Figure {
        id: "killed".into(),
        title: format!(
            "Killed {} times: {} of {} pages stored, {} lost",
            kills.len(),
            number(of(gauges::PAGES)),
            number(of(gauges::CENSUS_PAGES)),
            number(of(gauges::LOST))
        ),
        subtitle: "A process of its own, ended by SIGKILL on its way and started again. It learns the categories anew each time. Level at the end: pages that were asked to come back later".into(),
        desc: "Pages done over time: the line rises, stands still after each kill while the process starts again, and goes on from where it was.".into(),
        body: Body::Panels(Panels {
            x: Axis::linear("time", Unit::Seconds),
            panels: vec![panel("Pages done", "", 1.4, Unit::Number, vec![trace("done", Colour::Blue, shifted(done))])],
            marks: marks.collect(),
        }),
    })
}

fn table(view: &View) -> Table {
    let p = view.p;
    let mut table = Table::new(
        "The crawls",
        &[
            "products",
            "pages",
            "there are",
            "lost",
            "time",
            "theory",
            "pages/s",
            "million/hour",
            "host busy",
            "while pages wait",
            "peak heap",
            "in hand",
        ],
    );
    let of = |k: &Condition, name| cell(k.gauge(name), number);
    for k in &view.crawls {
        let theory = gauge(k, gauges::CENSUS_PAGES)
            .zip(allowed(p, k))
            .map(|(pages, rate)| pages / rate);
        table.row([
            number(k.x()),
            of(k, gauges::PAGES),
            of(k, gauges::CENSUS_PAGES),
            of(k, gauges::LOST),
            cell(k.wall_s(), seconds),
            theory.map_or("–".into(), seconds),
            rate(k).map_or("–".into(), number),
            rate(k).map_or("–".into(), |rate| number(rate * 3600.0 / 1e6)),
            cell(k.gauge(gauges::HOST_BUSY), percent),
            cell(k.gauge(gauges::HOST_BUSY_WANTED), percent),
            cell(peak(k), |bytes| format!("{} MB", number(bytes / 1e6))),
            of(k, gauges::UNDER_WAY_MAX),
        ]);
    }
    if let Some(k) = &view.killed {
        table.row([
            format!(
                "{}, killed {} times",
                p.killed_products,
                of(k, gauges::KILLS)
            ),
            of(k, gauges::PAGES),
            of(k, gauges::CENSUS_PAGES),
            of(k, gauges::LOST),
            cell(k.wall_s(), seconds),
            "–".into(),
            "–".into(),
            "–".into(),
            "–".into(),
            "–".into(),
            "–".into(),
            "–".into(),
        ]);
    }
    table.note = "Theory: the time in which the host could have answered everything, at its limit from the first moment to the last. A crawl begins with one page, and ends with whoever was asked to come back later.".into();
    table
}

/// What each stage could do at the largest crawl.
fn stages(p: &Params, k: &Condition) -> Table {
    let mut table = Table::new(
        "The stages of the largest crawl",
        &["stage", "width", "time of a page", "could do", "busy"],
    );
    let per_page = gauge(k, gauges::PAGES)
        .zip(gauge(k, gauges::ATTEMPTS))
        .map(|(pages, attempts)| attempts / pages);
    for (name, width, time, busy) in [
        (
            "the host",
            p.limit,
            gauge(k, gauges::ATTEMPT_S)
                .zip(per_page)
                .map(|(s, n)| s * n),
            gauges::HOST_BUSY,
        ),
        (
            "threads: read, classify",
            p.workers,
            gauge(k, gauges::COMPUTING_S),
            gauges::THREADS_BUSY,
        ),
        (
            "SQLite: frontier, pages",
            1,
            gauge(k, gauges::WRITING_S),
            gauges::WRITER_BUSY,
        ),
    ] {
        table.row([
            name.into(),
            width.to_string(),
            time.map_or("–".into(), seconds),
            time.map_or("–".into(), |time| {
                format!("{} pages/s", number(width as f64 / time))
            }),
            cell(k.gauge(busy), percent),
        ]);
    }
    let held = gauge(k, gauges::UNDER_WAY_MEAN);
    let bytes = gauge(k, gauges::HEAP_MEAN_BYTES)
        .zip(held)
        .map(|(bytes, held)| bytes / held);
    table.note = format!(
        "In hand {} pages on average, {} at most; {} KB of heap for each, connections and model included. Pages of {}.",
        held.map_or("–".into(), number),
        cell(k.gauge(gauges::UNDER_WAY_MAX), number),
        bytes.map_or("–".into(), |bytes| number(bytes / 1e3)),
        p.page
    );
    table
}

fn rows(view: &View) -> Table {
    let mut table = Table::new(
        "Into a full queue, and over whose connections",
        &["", "time", "pages/s", "longest gap"],
    );
    for (name, k) in [
        ("put: blocks", view.blocks),
        ("put: awaited", view.awaits),
        ("a client for each request", view.each),
        ("one client for all", view.shared),
    ] {
        let Some(k) = k else { continue };
        table.row([
            name.into(),
            cell(k.wall_s(), seconds),
            rate(&k).map_or("–".into(), number),
            cell(k.gauge(gauges::LONGEST_GAP_S), seconds),
        ]);
    }
    table.note = format!("The reader of the queue is stuck for {}.", view.p.stall);
    table
}

fn learnt_table(view: &View) -> Option<Table> {
    let mut table = Table::new(
        "What the classifier knows",
        &["labelled pages", "shops", "of products it has not seen"],
    );
    let all = view.summary.series("learnt");
    for k in &all {
        table.row([
            number(k.x()),
            k.trials().len().to_string(),
            cell(known(k), percent),
        ]);
    }
    table.note = format!(
        "Each shop has labelled pages and products of its own. Who knows how the words are drawn would know {}.",
        percent(Site::best_accuracy(1, ORACLE))
    );
    (!all.is_empty()).then_some(table)
}

#[cfg(test)]
mod tests {
    use clap::{Args, Command, FromArgMatches};
    use lab_kit::lab::Lab as _;

    use super::*;
    use crate::WebScraper;

    fn params(flags: &[&str]) -> Params {
        let command = Params::augment_args(Command::new("lab19")).no_binary_name(true);
        Params::from_arg_matches(&command.get_matches_from(flags)).unwrap()
    }

    #[test]
    fn the_backlog_of_a_slow_computation() {
        let p = params(&["--limit", "40", "--fetch", "16ms", "--compute", "1ms"]);
        // After 8 rounds of 16 ms all 300 have come; 112 ms after the first, 112 have left.
        assert_eq!(backlog(&p, 300), 188.0);
        assert_eq!(backlog(&p, 40), 40.0);
    }

    #[test]
    fn the_host_allows_limit_over_answer() {
        let p = params(&[
            "--limit",
            "40",
            "--fetch",
            "16ms",
            "--slow",
            "0.1",
            "--slow-factor",
            "3",
            "--broken",
            "0",
            "--busy",
            "0",
        ]);
        assert!((mean_factor(&p) - 1.2).abs() < 1e-12);
        // 100,000 products and a twentieth of listings at 2,500/s, and 17 answers to begin with.
        assert!((wall(&p, 100_000) - (1.25 * 40.0 + 16.61 * 0.016)).abs() < 0.01);
    }

    #[test]
    fn flags_that_make_no_sense_are_refused_with_what_to_do() {
        for (flags, part) in [
            (&["--limit", "11"][..], "--places"),
            (&["--stall", "20ms"], "--beat"),
            (&["--slow-factor", "0"], "--slow-factor"),
            (&["--retry-after", "100"], "--retry-after"),
            (&["--page", "2MB"], "--page"),
        ] {
            let why = WebScraper::check(&params(flags)).unwrap_err();
            assert!(why.contains(part), "{why}");
        }
        WebScraper::check(&params(&[])).unwrap();
    }

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

    #[test]
    fn what_the_flags_allow_is_what_a_whole_crawl_is_planned_with() {
        let p = params(&["--busy", "0"]);
        let (n, fill) = (1_000_000, 20.0 * p.fetch.s());
        let pages = n as f64 * (1.0 + LISTED);
        let share = allowed_by_flags(&p) * (wall(&p, n) - fill) / pages;
        assert!((share - 1.0).abs() < 1e-3, "{share}");
    }
}
