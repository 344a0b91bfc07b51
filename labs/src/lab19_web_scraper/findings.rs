//! Theory beside measurement for lab19.

use lab_kit::{
    prelude::*,
    theory::{Pipeline, Stage, little},
};
use mock_server::Site;

use super::Params;
use crate::crawl::worker::Settings;

/// Pages an hour that the source asks for, and how many times that a crawler of one machine should
/// have on two processors.
const ASKED_PER_HOUR: f64 = 100_000.0;
const TIMES: f64 = 20.0;
/// Requests for each connection after which all of their buffers have stopped growing. Lab06 found 33
/// for one that is always in use; a pool does not use all alike.
const GROWN: f64 = 200.0;
/// Requests for each connection after which most of them have.
const GROWING: f64 = 50.0;
/// Products whose words tell how well anybody could classify them.
const ORACLE: u64 = 20_000;

/// What the time of an answer is multiplied by on average.
fn mean_factor(p: &Params) -> f64 {
    1.0 + p.slow * (p.slow_factor - 1.0)
}

/// Seconds that a crawl of so many products takes when the host allows no more: each product, a page
/// that lists it with others, and links that lead nowhere.
pub(super) fn wall(p: &Params, products: usize) -> f64 {
    let listed = 1.0 / mock_server::site::PER_LISTING as f64;
    let each = mean_factor(p) + listed + p.broken + p.busy;
    // One after another until there is enough to do at the same time: the first page, a category, its
    // further pages, a product.
    let fill = (products as f64).log2().max(1.0) * p.fetch.s();
    products as f64 * each * p.fetch.s() / p.limit as f64 + fill
}

/// Seconds that the experiment takes, roughly: for the bound on how long a run may be.
pub(super) fn takes(p: &Params) -> f64 {
    let waits = |n: usize| (n as f64 * p.busy).min(3.0) * p.retry_after as f64;
    let crawls = p.products.iter().map(|n| wall(p, *n) + waits(*n));
    let killed = wall(p, p.killed_products) + waits(p.killed_products) + p.kills as f64;
    let limits = p
        .limits
        .iter()
        .map(|m| limited(p, *m, 1.0, Overhead::default()).makespan(p.listed));
    let learnt = p.samples as f64 * p.fetch.s() / p.limit as f64;
    let each = (p.products.len() + p.kills + 1) as f64;
    let backlogs = p
        .backlogs
        .iter()
        .map(|n| *n as f64 * (p.fetch.s() / p.limit as f64).max(p.compute.s()));
    let sessions = 6.0 * p.sessions as f64 * (p.session_fetch.s() / p.limit as f64 + 3e-4);
    crawls.sum::<f64>()
        + killed
        + limits.sum::<f64>()
        + learnt * each
        + 2.0 * backlogs.sum::<f64>()
        + sessions
        + 6.0 * (p.stall.s() + 3.0 * p.fetch.s())
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
fn held(p: &Params) -> usize {
    let s = Settings::for_limit(p.limit);
    2 * s.take + s.fetches + s.queue + p.workers + s.stores
}

fn gauge(k: &Condition, name: &'static str) -> Option<f64> {
    k.gauge(name).map(|e| e.value)
}

fn rate(k: &Condition) -> Option<f64> {
    Some(gauge(k, "pages")? / k.wall_s()?.value)
}

/// Pages a second that the host allows, given what its pages took.
fn allowed(p: &Params, k: &Condition) -> Option<f64> {
    let of_pages =
        gauge(k, "census_pages")? / (gauge(k, "census_pages")? + gauge(k, "census_broken")?);
    Some(of_pages * p.limit as f64 / (p.fetch.s() * gauge(k, "census_factor")?))
}

/// Pages a second over each of the middle eight tenths of a crawl's pages.
fn deciles(trial: &Trial) -> Vec<f64> {
    let Some(stored) = trial.traces.get("stored") else {
        return Vec::new();
    };
    let all = trial.gauges.get("pages").copied().unwrap_or(0.0);
    let when = |n: f64| stored.iter().find(|(_, stored)| *stored >= n);
    let at: Vec<(f64, f64)> = (1..=9)
        .filter_map(|i| when(all * f64::from(i) / 10.0).copied())
        .collect();
    let steps = at.windows(2).filter(|w| w[1].0 > w[0].0);
    steps
        .map(|w| (w[1].1 - w[0].1) / (w[1].0 - w[0].0))
        .collect()
}

/// All values of a gauge, over conditions and trials.
fn values(of: &[Condition], figure: impl Fn(&Trial) -> Option<f64>) -> Vec<f64> {
    of.iter()
        .flat_map(|k| k.trials())
        .filter_map(figure)
        .collect()
}

fn largest(values: &[f64]) -> Option<Estimate> {
    values.iter().copied().reduce(f64::max).map(Estimate::exact)
}

pub(super) fn explain(p: &Params, summary: &Summary) -> Findings {
    let crawls = summary.series("crawl");
    let limits = summary.series("limit");
    let killed = summary.only("killed");
    let (blocks, awaits) = (summary.only("put/blocking"), summary.only("put/awaited"));
    let (each, shared) = (summary.only("session/each"), summary.only("session/shared"));
    let unbounded = summary.series("queue/unbounded");
    let bounded = summary.series("queue/bounded");
    let last = crawls.last().copied();

    let mut claims = Vec::new();
    claims.extend(counts(p, &crawls, killed.as_ref()));
    claims.extend(speed(p, &crawls));
    claims.extend(law_of_limits(p, summary, &limits));
    claims.extend(memory(p, &crawls, &unbounded, &bounded));
    claims.extend(accuracy(p, &crawls));
    claims.push(
        Claim::at_least(
            "a put that blocks stops the event loop until the reader is back",
            Basis::Predicted,
            p.stall.s() - p.beat.s(),
            blocks.and_then(|k| k.gauge("longest_gap_s")),
        )
        .unit("s"),
    );
    claims.push(
        Claim::at_most(
            "a put that is awaited stops nobody: no gap longer than three beats",
            Basis::Predicted,
            3.0 * p.beat.s(),
            awaits.and_then(|k| k.gauge("longest_gap_s")),
        )
        .unit("s"),
    );
    let gain = each.zip(shared).and_then(|(each, shared)| {
        each.paired(&shared, |each, shared| Some(each.wall_s / shared.wall_s))
    });
    claims.push(
        Claim::at_least(
            "one client for all is faster than a client for each request",
            Basis::Predicted,
            1.0,
            gain,
        )
        .unit("times"),
    );

    let mut figures = Vec::new();
    figures.extend(last.and_then(|k| progress(p, &k)));
    figures.extend(sweep(p, summary, &limits));
    figures.extend(heaps(p, &crawls, &unbounded, &bounded));
    figures.extend(blocks.zip(awaits).map(|(b, a)| beats(p, &b, &a)));
    figures.extend(killed.as_ref().and_then(resumed));

    let mut tables = vec![table(p, &crawls, killed.as_ref())];
    tables.extend(last.map(|k| stages(p, &k)));
    tables.push(rows(
        p,
        &[
            ("put: blocks", blocks),
            ("put: awaited", awaits),
            ("a client for each request", each),
            ("one client for all", shared),
        ],
    ));

    let per_hour = last.and_then(|k| {
        Estimate::of(&values(&[k], |t| {
            Some(t.gauges.get("pages")? / t.wall_s * 3600.0)
        }))
    });
    let growth = growth(&crawls);
    let wrong = killed.map(|k| {
        Estimate::of(&values(&[k], |t| {
            let of = |name: &str| t.gauges.get(name).copied();
            Some((of("census_pages")? - of("pages")?).abs() + of("lost")? + of("strays")?)
        }))
    });
    let most = last.and_then(|k| allowed(p, &k));
    let answers = vec![
        Answer::at_most("pages", per_hour, most.map_or(f64::NAN, |m| m * 3600.0)).scaled(1e-6),
        // What it has in hand does not depend on how large the shop is.
        Answer::near("memory", growth.map(Estimate::exact), 1.0),
        Answer::near("wrong", wrong.flatten(), 0.0),
    ];
    let of = |k: Option<Condition>, name| cell(k.and_then(|k| k.gauge(name)), number);
    Findings {
        headline: format!(
            "{} million pages an hour: {} of what the host allows while pages wait. {} times the products take {} times the memory. Killed {} times, the crawl has {} of {} pages, each once.",
            cell(per_hour, |e| number(e / 1e6)),
            cell(last.and_then(|k| k.gauge("host_busy_wanted")), percent),
            crawls
                .first()
                .zip(last)
                .map_or("–".into(), |(a, b)| number(b.x() / a.x())),
            growth.map_or("–".into(), |ratio| format!("{ratio:.2}")),
            of(killed, "kills"),
            of(killed, "pages"),
            of(killed, "census_pages"),
        ),
        figures,
        tables,
        claims,
        answers,
    }
}

/// Every page once, and nothing else.
fn counts(p: &Params, crawls: &[Condition], killed: Option<&Condition>) -> Vec<Claim> {
    let all = crawls
        .iter()
        .map(|k| (format!("{} products", number(k.x())), k));
    let all: Vec<(String, &Condition)> = all
        .chain(killed.map(|k| ("killed".to_string(), k)))
        .collect();
    let exact = |name: String,
                 k: &Condition,
                 predicted: Option<&'static str>,
                 measured: &'static str,
                 scale: f64| {
        let off = |t: &Trial| {
            let predicted =
                predicted.map_or(0.0, |name| t.gauges.get(name).copied().unwrap_or(f64::NAN));
            let measured = t.gauges.get(measured).copied().unwrap_or(f64::NAN);
            (measured - predicted, predicted)
        };
        // One trial that is off is one too many.
        let worst = k
            .trials()
            .iter()
            .map(off)
            .max_by(|a, b| a.0.abs().total_cmp(&b.0.abs()))?;
        Some(Case {
            name,
            predicted: (worst.1 * scale).into(),
            measured: Some(Estimate::exact((worst.0 + worst.1) * scale)),
            tolerance: 0.0,
        })
    };
    let mut found = Vec::new();
    for (name, k) in &all {
        for (what, predicted, measured) in [
            ("pages", "census_pages", "pages"),
            ("of them products", "census_products", "products"),
            ("sum of the prices in cents", "census_cents", "cents"),
            ("dead letters", "census_broken", "dead"),
        ] {
            found.extend(exact(
                format!("{name}, {what}"),
                k,
                Some(predicted),
                measured,
                1.0,
            ));
        }
    }
    let mut wrong = Vec::new();
    for (name, k) in &all {
        wrong.extend(exact(
            format!("{name}, finished without a page"),
            k,
            None,
            "lost",
            1.0,
        ));
        wrong.extend(exact(
            format!("{name}, stored under a second address"),
            k,
            None,
            "strays",
            1.0,
        ));
    }
    let mut claims = Vec::new();
    claims.extend(Claim::law(
        "every page within reach is stored exactly once with its price, and what leads nowhere is a dead letter, also when the crawler is killed on its way",
        Basis::Predicted,
        found,
        "",
    ));
    claims.extend(Claim::law(
        "no page is finished without being stored, and none is stored under a second address",
        Basis::Predicted,
        wrong,
        "pages",
    ));
    if let Some(k) = killed {
        let again = values(&[*k], |t| {
            let of = |name: &str| t.gauges.get(name).copied();
            let once = of("census_pages")? + of("census_broken")? + of("upstream_faulted")?;
            // Each process asks for the rules and learns anew.
            let learnt = (of("kills")? + 1.0) * (p.samples + 1) as f64;
            Some(of("upstream_arrived")? - once - learnt)
        });
        claims.push(
            Claim::at_most(
                "only what the crawler had in hand when it was killed is fetched again",
                Basis::Predicted,
                (p.kills * held(p)) as f64,
                largest(&again),
            )
            .unit("requests"),
        );
    }
    claims
}

fn speed(p: &Params, crawls: &[Condition]) -> Vec<Claim> {
    let shares: Vec<f64> = crawls
        .iter()
        .filter_map(|k| Some(rate(k)? / allowed(p, k)?))
        .collect();
    let busy = values(crawls, |t| t.gauges.get("host_busy_wanted").copied());
    let per_hour: Vec<f64> = crawls.last().map_or(vec![], |k| {
        let rates = k.trials().iter().flat_map(deciles);
        rates.map(|rate| rate * 3600.0 / 1e6).collect()
    });
    let flow = crawls.iter().filter_map(|k| {
        let predicted = little::number_in_system(
            gauge(k, "attempts")? / k.wall_s()?.value,
            gauge(k, "attempt_s")?,
        );
        Some(Case {
            name: format!("{} products", number(k.x())),
            predicted: predicted.into(),
            measured: k.gauge("in_flight_mean"),
            tolerance: 0.05 * predicted,
        })
    });
    let mut claims = vec![
        Claim::at_most(
            "no crawl is faster than the host allows: limit ÷ time of an answer",
            Basis::Predicted,
            1.0,
            largest(&shares),
        )
        .unit("of the bound"),
        Claim::at_least(
            "while pages wait, the crawler uses nine tenths of what the host allows, or more",
            Basis::Predicted,
            0.9,
            Estimate::of(&busy),
        )
        .unit("of the limit"),
        Claim::at_least(
            "in the middle of the largest crawl it stores twenty times the pages an hour that the source asks for",
            Basis::Predicted,
            TIMES * ASKED_PER_HOUR / 1e6,
            Estimate::of(&per_hour),
        )
        .unit("million pages/hour")
        .unless((p.limit as f64 / p.fetch.s() / mean_factor(p) * 3600.0 < 1.1 * TIMES * ASKED_PER_HOUR)
            .then(|| "this host does not allow as many".to_string())),
    ];
    claims.extend(Claim::law(
        "requests in flight are requests a second times the time of each (Little's law)",
        Basis::Calibrated,
        flow.collect(),
        "requests",
    ));
    claims
}

/// As measured: of a request before the run, of reading in the largest crawl.
fn overhead(summary: &Summary) -> Overhead {
    let last = summary.series("crawl").last().copied();
    Overhead {
        request: summary.host().request_overhead_ms / 1e3,
        reading: last.and_then(|k| gauge(&k, "computing_s")).unwrap_or(0.0),
    }
}

fn law_of_limits(p: &Params, summary: &Summary, limits: &[Condition]) -> Option<Claim> {
    let (width, more) = (summary.host().width(1), overhead(summary));
    let cases = limits.iter().map(|k| {
        let predicted =
            p.listed as f64 / limited(p, k.x() as usize, width, more).makespan(p.listed);
        Case {
            name: format!("limit {}", number(k.x())),
            predicted: predicted.into(),
            measured: k.estimate(|t| Some(t.gauges.get("pages")? / t.wall_s)),
            tolerance: 0.1 * predicted,
        }
    });
    Claim::law(
        "throughput is what the slowest stage lets through, λ = min(limit ÷ answer, threads ÷ computation), with the fill",
        Basis::Calibrated,
        cases.collect(),
        "pages/s",
    )
}

fn peak(k: &Condition) -> Option<f64> {
    gauge(k, "heap_peak_bytes")
}

/// Heap that pages on their way take: towards the end of the time in which pages wait, without what is
/// left when the crawl is over, which are connections, model and tables.
fn in_hand(k: &Condition) -> Option<f64> {
    Some(gauge(k, "heap_wanted_bytes")? - gauge(k, "heap_left_bytes")?)
}

/// The peak heap of the largest crawl in those of the smallest.
fn growth(crawls: &[Condition]) -> Option<f64> {
    Some(peak(crawls.last()?)? / peak(crawls.first()?)?)
}

fn memory(
    p: &Params,
    crawls: &[Condition],
    unbounded: &[Condition],
    bounded: &[Condition],
) -> Vec<Claim> {
    let spread = |figures: Vec<f64>| {
        let low = figures.iter().copied().reduce(f64::min)?;
        let high = figures.iter().copied().reduce(f64::max)?;
        (figures.len() > 1).then(|| Estimate::exact(high / low))
    };
    let after = |requests: f64| -> Vec<Condition> {
        let enough =
            |k: &&Condition| gauge(k, "attempts").is_some_and(|n| n / p.limit as f64 >= requests);
        crawls.iter().filter(enough).copied().collect()
    };
    let mut claims = vec![
        Claim::at_most(
            "what the crawler has in hand while pages wait does not depend on how large the shop is: all within a tenth",
            Basis::Predicted,
            1.1,
            spread(after(GROWING).iter().filter_map(in_hand).collect()),
        )
        .unit("times"),
    ];
    let peaks: Vec<f64> = after(GROWN).iter().filter_map(peak).collect();
    if peaks.len() > 1 {
        claims.push(
            Claim::at_most(
                "nor does all of its memory, once the connections' buffers have grown: peaks within a tenth",
                Basis::Predicted,
                1.1,
                spread(peaks),
            )
            .unit("times"),
        );
    }
    let cases = unbounded.iter().map(|k| {
        let predicted = backlog(p, k.x() as usize);
        Case {
            name: format!("{} pages", number(k.x())),
            predicted: predicted.into(),
            measured: k.gauge("backlog_max"),
            tolerance: 0.1 * predicted,
        }
    });
    let slower = p.compute.s() > 1.5 * p.fetch.s() / p.limit as f64;
    claims.extend(
        Claim::law(
            "without a bound the pages that wait are those the fetches are ahead by: a share of all",
            Basis::Predicted,
            cases.collect(),
            "pages",
        )
        .map(|claim| claim.unless((!slower).then(|| "the computation is not slower than the fetches".to_string()))),
    );
    claims.push(
        Claim::at_most(
            "with a bound they are its places, one that is computed, and one in the hand of each fetch",
            Basis::Predicted,
            (p.places + 1 + p.limit) as f64,
            largest(&values(bounded, |t| t.gauges.get("backlog_max").copied())),
        )
        .unit("pages"),
    );
    claims
}

fn accuracy(p: &Params, crawls: &[Condition]) -> Vec<Claim> {
    let sum = |name: &str| {
        values(crawls, |t| t.gauges.get(name).copied())
            .iter()
            .sum::<f64>() as u64
    };
    let share = Estimate::share(sum("right"), sum("classified"));
    let best = Site::best_accuracy(1, ORACLE);
    let little =
        (p.samples < 160).then(|| format!("{} labelled pages are few to learn from", p.samples));
    vec![
        Claim::at_least(
            "of the products, none of which it has learnt from, the classifier knows 95 in a hundred",
            Basis::Predicted,
            0.95,
            share,
        )
        .unit("of the products")
        .excused(little.clone()),
        Claim::near(
            "it is as good as anybody could be who knows how the words are drawn, within a point and a half",
            Basis::Predicted,
            best,
            share,
            0.015,
        )
        .unit("of the products")
        .excused(little),
    ]
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
    let (pages, allowed) = (gauge(k, "census_pages")?, allowed(p, k)?);
    let rate = rate(k)?;
    let ideal = vec![(0.0, 0.0), (pages / allowed, pages)];
    Some(Figure {
        id: "crawl".into(),
        title: format!(
            "{} of the host's limit in use while pages wait: {} pages a second in all",
            cell(k.gauge("host_busy_wanted"), percent),
            number(rate)
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

fn sweep(p: &Params, summary: &Summary, limits: &[Condition]) -> Option<Figure> {
    let points = |figure: &dyn Fn(&Condition) -> Option<f64>| -> Vec<(f64, f64)> {
        limits
            .iter()
            .filter_map(|k| Some((k.x(), figure(k)?)))
            .collect()
    };
    let (width, more) = (summary.host().width(1), overhead(summary));
    let theory = |k: &Condition| {
        Some(p.listed as f64 / limited(p, k.x() as usize, width, more).makespan(p.listed))
    };
    let share = |k: &Condition, at: usize| {
        limited(p, k.x() as usize, width, more)
            .utilisation_over(p.listed)
            .get(at)
            .copied()
    };
    let most = limits.iter().filter_map(rate).reduce(f64::max)?;
    let knee = p.fetch.s() / p.burden.s();
    Some(Figure {
        id: "limit".into(),
        title: format!(
            "Above a limit of {} the thread is the bottleneck: {} pages a second at most",
            number(knee),
            number(most)
        ),
        subtitle: format!(
            "{} pages, {} for an answer, {} of one thread for each page. Dashed: the slowest stage decides",
            p.listed, p.fetch, p.burden
        ),
        desc: "Pages a second over the limit for the host: proportional at first, level where the thread is busy all the time. Below, the shares of time in which host and thread are busy.".into(),
        body: Body::Panels(Panels {
            x: Axis::log("limit for the host", Unit::Number).with_ticks(limits.iter().map(Condition::x).collect::<Vec<_>>()),
            panels: vec![
                panel("Pages a second", "", 1.2, Unit::Number, vec![
                    Layer::Line(Line::measured("measured", Colour::Blue, points(&rate))),
                    Layer::Line(Line::theory("", Colour::Ink, points(&theory))),
                ]),
                panel("Busy", "share of the time", 1.0, Unit::Share, vec![
                    Layer::Line(Line::measured("host", Colour::Green, points(&|k| gauge(k, "host_busy")))),
                    Layer::Line(Line::theory("", Colour::Green, points(&|k| share(k, 0)))),
                    Layer::Line(Line::measured("thread", Colour::Vermilion, points(&|k| gauge(k, "threads_busy")))),
                    Layer::Line(Line::theory("", Colour::Vermilion, points(&|k| share(k, 1)))),
                ]),
            ],
            marks: vec![],
        }),
    })
}

fn heaps(
    p: &Params,
    crawls: &[Condition],
    unbounded: &[Condition],
    bounded: &[Condition],
) -> Option<Figure> {
    let points = |of: &[Condition]| -> Vec<(f64, f64)> {
        of.iter()
            .filter_map(|k| Some((k.x(), peak(k)? / 1e6)))
            .collect()
    };
    let ratio = growth(crawls)?;
    let (first, last) = (crawls.first()?, crawls.last()?);
    let (few, many) = (
        unbounded.first().and_then(peak)?,
        unbounded.last().and_then(peak)?,
    );
    Some(Figure {
        id: "memory".into(),
        title: format!(
            "{} times the products, {ratio:.2} times the memory; an unbounded queue grows with the pages",
            number(last.x() / first.x())
        ),
        subtitle: format!(
            "Peak live heap of the crawler; before a computation of {} a page without a bound, and with {} places",
            p.compute, p.places
        ),
        desc: format!(
            "Peak heap over pages, three lines: whole crawls and a bounded queue are level, the unbounded queue rises from {} to {} MB.",
            number(few / 1e6),
            number(many / 1e6)
        ),
        body: Body::Panels(Panels {
            x: Axis::log("products", Unit::Number),
            panels: vec![panel(
                "Peak live heap",
                "MB",
                1.6,
                Unit::Number,
                vec![
                    Layer::Line(Line::measured(
                        "unbounded",
                        Colour::Vermilion,
                        points(unbounded),
                    )),
                    Layer::Line(Line::measured("bounded", Colour::Green, points(bounded))),
                    Layer::Line(Line::measured("crawl", Colour::Blue, points(crawls))),
                ],
            )],
            marks: vec![],
        }),
    })
}

fn beats(p: &Params, blocks: &Condition, awaits: &Condition) -> Figure {
    let lane = |k: &Condition, title: &str, note: &str| {
        let gap = |t: &Trial| t.gauges.get("longest_gap_s").copied().unwrap_or(f64::NAN);
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
    let gap = |k: &Condition| cell(k.gauge("longest_gap_s"), seconds);
    Figure {
        id: "put".into(),
        title: format!(
            "A put that blocks stops the event loop for {}; awaited, no gap above {}",
            gap(blocks),
            gap(awaits)
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
    let of = |name: &str| trial.gauges.get(name).copied().unwrap_or(f64::NAN);
    Some(Figure {
        id: "killed".into(),
        title: format!(
            "Killed {} times: {} of {} pages stored, {} lost",
            kills.len(),
            number(of("pages")),
            number(of("census_pages")),
            number(of("lost"))
        ),
        subtitle: "A process of its own, ended by SIGKILL on its way and started again. It learns the categories anew each time".into(),
        desc: "Pages done over time: the line rises, stands still after each kill while the process starts again, and goes on from where it was.".into(),
        body: Body::Panels(Panels {
            x: Axis::linear("time", Unit::Seconds),
            panels: vec![panel("Pages done", "", 1.4, Unit::Number, vec![trace("done", Colour::Blue, shifted(done))])],
            marks: marks.collect(),
        }),
    })
}

fn table(p: &Params, crawls: &[Condition], killed: Option<&Condition>) -> Table {
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
    for k in crawls {
        let theory = gauge(k, "census_pages")
            .zip(allowed(p, k))
            .map(|(pages, rate)| pages / rate);
        table.row([
            number(k.x()),
            of(k, "pages"),
            of(k, "census_pages"),
            of(k, "lost"),
            cell(k.wall_s(), seconds),
            theory.map_or("–".into(), seconds),
            rate(k).map_or("–".into(), number),
            rate(k).map_or("–".into(), |rate| number(rate * 3600.0 / 1e6)),
            cell(k.gauge("host_busy"), percent),
            cell(k.gauge("host_busy_wanted"), percent),
            peak(k).map_or("–".into(), |bytes| format!("{} MB", number(bytes / 1e6))),
            of(k, "under_way_max"),
        ]);
    }
    if let Some(k) = killed {
        table.row([
            format!("{}, killed {} times", p.killed_products, of(k, "kills")),
            of(k, "pages"),
            of(k, "census_pages"),
            of(k, "lost"),
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
    let per_page = gauge(k, "pages")
        .zip(gauge(k, "attempts"))
        .map(|(pages, attempts)| attempts / pages);
    for (name, width, time, busy) in [
        (
            "the host",
            p.limit,
            gauge(k, "attempt_s").zip(per_page).map(|(s, n)| s * n),
            "host_busy",
        ),
        (
            "threads: read, classify",
            p.workers,
            gauge(k, "computing_s"),
            "threads_busy",
        ),
        (
            "SQLite: frontier, pages",
            1,
            gauge(k, "writing_s"),
            "writer_busy",
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
    let held = gauge(k, "under_way_mean");
    let bytes = gauge(k, "heap_mean_bytes")
        .zip(held)
        .map(|(bytes, held)| bytes / held);
    table.note = format!(
        "In hand {} pages on average, {} at most; {} KB of heap for each, connections and model included. Pages of {}.",
        held.map_or("–".into(), number),
        cell(k.gauge("under_way_max"), number),
        bytes.map_or("–".into(), |bytes| number(bytes / 1e3)),
        p.page
    );
    table
}

fn rows(p: &Params, arms: &[(&str, Option<Condition>)]) -> Table {
    let mut table = Table::new(
        "The source's ways and the others",
        &["", "time", "pages/s", "longest gap"],
    );
    for (name, k) in arms {
        let Some(k) = k else { continue };
        table.row([
            (*name).into(),
            cell(k.wall_s(), seconds),
            rate(k).map_or("–".into(), number),
            cell(k.gauge("longest_gap_s"), seconds),
        ]);
    }
    table.note = format!("The reader of the queue is stuck for {}.", p.stall);
    table
}

#[cfg(test)]
mod tests {
    use clap::{Args, Command, FromArgMatches};
    use lab_kit::lab::Lab as _;

    use super::*;
    use crate::lab19_web_scraper::WebScraper;

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
            (&["--products", "1000000"], "fewer --products"),
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
    fn deciles_are_rates() {
        let mut trial = Trial::default();
        trial.gauges.insert("pages".into(), 100.0);
        let stored = (0..=100).map(|n| (f64::from(n) / 50.0, f64::from(n)));
        trial.traces.insert("stored".into(), stored.collect());
        let rates = deciles(&trial);
        assert_eq!(rates.len(), 8);
        assert!(
            rates.iter().all(|rate| (rate - 50.0).abs() < 1e-9),
            "{rates:?}"
        );
        assert!(deciles(&Trial::default()).is_empty());
    }
}
