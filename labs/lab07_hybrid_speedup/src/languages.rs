//! The same strategies in other languages, each on what its runtime has for several processors.

use lab_kit::{
    accounts::{ensure, equal},
    prelude::*,
    session::Plan,
};

use super::{Job, Params, desk::event_loop, findings::factor, gauges, plan::Work};

/// `python/lab07.py` and so on.
pub(super) const PROGRAMS: Programs = lab_kit::programs!("lab07", "Lab07": python, node, go, java);

/// Longer than anything that runs without `--long`, in a language that computes on one thread at a time.
const LIMIT: Duration = Duration::from_secs(1500);

const EVERY: Languages = Languages::of(&Language::ALL);
const PYTHON: Languages = Languages::of(&[Language::Python]);
const THREADED: Languages = Languages::of(&[Language::Python, Language::Go, Language::Java]);

/// An arm: its name there, its name for the reader, the arm in Rust it stands beside, and the languages that have it.
const ARMS: [(&str, &str, &str, Languages); 6] = [
    ("sequential", "one after another", "sequential", EVERY),
    ("async", "async only", "async", EVERY),
    ("threads", "threads only", "threads", THREADED),
    ("hybrid-threads", "hybrid, pool of threads", "hybrid", PYTHON),
    ("hybrid", "hybrid", "hybrid", EVERY),
    (INTERPRETERS, "hybrid, pool of interpreters", "hybrid", PYTHON),
];

const INTERPRETERS: &str = "hybrid-interpreters";

/// The arms of a language.
fn arms(language: Language) -> impl Iterator<Item = (&'static str, &'static str, &'static str)> {
    let of_it = ARMS.into_iter().filter(move |(.., having)| having.has(language));
    of_it.map(|(arm, name, beside, _)| (arm, name, beside))
}

/// Adds a condition for each arm, where p is `--cost`.
pub(super) fn add<'a>(plan: &mut Plan<'_, 'a>, program: &'a Program, p: &'a Params, job: Job) {
    let here = |arm: &str| arm != INTERPRETERS || program.has_interpreters;
    for (arm, ..) in arms(program.language).filter(|(arm, ..)| here(arm)) {
        let places =
            if matches!(arm, "sequential" | "threads") { p.workers } else { p.concurrency };
        plan.point(&program.language.series(arm), p.ratio(), move |r| {
            event_loop()?.block_on(async {
                let service = r.upstream(job.upstream(places)).await?;
                let work = match p.work {
                    Work::Spin => "compute",
                    Work::Sleep => "sleep",
                };
                let flags = [
                    ("arm", arm.to_string()),
                    ("items", p.items.to_string()),
                    ("cost", p.cost.s().to_string()),
                    ("concurrency", p.concurrency.to_string()),
                    ("workers", p.workers.to_string()),
                    ("work", work.to_string()),
                ];
                r.program(program, Some(&service), &flags, LIMIT).await
            })
        });
    }
}

/// Seconds that all trials of a language's arms take once.
pub(super) fn takes(p: &Params, language: Language) -> f64 {
    let (n, f, one) = (p.items as f64, p.fetch.s(), p.cost.s());
    arms(language).count() as f64 * (needs::START_S + n * (f / 4.0 + one))
}

/// What a trial of an arm is: all items are there, for each was computed, or waited, on so many threads at most.
pub(super) fn premise(p: &Params, arm: &str, t: &Trial) -> Result<(), String> {
    let due = p.items as f64;
    equal("items", t.offered as f64, due)?;
    equal("items with a result", t.ok as f64, due)?;
    let threads = if matches!(arm, "sequential" | "async") { 1.0 } else { p.workers as f64 };
    let room = threads * t.wall_s;
    let least = 0.25 * due * p.cost.s();
    ensure(room >= least, || {
        format!("{due} items computed on {threads} threads in {}", seconds(t.wall_s))
    })
}

/// Seconds an item.
fn each(k: Condition) -> Option<Estimate> {
    k.estimate(|t| (t.ok > 0).then(|| t.wall_s / t.ok as f64))
}

/// What holds on one thread that computes, in whatever language.
pub(super) fn claims(p: &Params, summary: &Summary) -> Vec<Claim> {
    let (f, cost) = (p.fetch.s(), p.cost.s());
    let work = (1.0 - CLOCK) * cost;
    let least_of = |arm: &'static str, least: f64| {
        let all = runtimes::conditions(summary).filter(move |(_, of, _)| *of == arm);
        all.map(move |(language, _, k)| {
            let least = summary.calibrated(|_| least);
            Case::exact(format!("{language}, {arm}"), least, each(k))
        })
    };
    let cases = least_of("sequential", f + work).chain(least_of("async", work));
    let law = "in every language an event loop that computes as well takes as long as the computations, and one after another as long as all of both";
    let law = Law::new(law, "s", Disturbed::Longer(Resource::Processors));
    vec![law.within("5 % of the computation: clocks change").at_least(cases)]
}

/// By what share a computation may take less time than when it was calibrated.
const CLOCK: f64 = 0.05;

/// Rust and other languages beside each other. How they stand to each other is for the reader: it depends on
/// the machine and on the runtimes, so there is no claim about it.
pub(super) fn table(p: &Params, summary: &Summary) -> Option<Table> {
    let rust = |arm: &str| {
        let each = |t: &Trial| Some(t.wall_s / t.gauge(gauges::ITEMS)?);
        summary.at(arm, p.ratio())?.estimate(each)
    };
    let in_it =
        |language: Language, arm: &str| summary.at(&language.series(arm), p.ratio()).and_then(each);
    let times = |over: Option<Estimate>, under: Option<Estimate>| {
        let both = over.zip(under);
        both.map_or("–".into(), |(o, u)| factor(o.value / u.value))
    };
    let of = |language: Language| {
        let rows = ARMS.into_iter();
        rows.filter_map(move |(arm, name, beside, _)| {
            Some((name, beside, language, in_it(language, arm)?))
        })
    };
    let rows: Vec<_> = Language::ALL.into_iter().flat_map(of).collect();
    let gil = summary.at(&Language::Python.series("threads"), p.ratio());
    let gil = gil.and_then(|k| k.gauge(gauges::GIL));
    let of_python = match gil.map(|gil| gil.value > 0.5) {
        Some(true) => {
            " This interpreter of Python lets one thread at a time run, so a pool of threads computes no faster than the event loop; its hybrid has a pool of processes, and each item goes there and back through a pipe."
        }
        Some(false) => " This interpreter of Python runs threads in parallel (free-threaded).",
        None => "",
    };
    Table::of(format!("The same strategies {}", runtimes::BESIDE), rows)
        .column("strategy", |r| r.0.to_string())
        .column("language", |r| r.2.to_string())
        .cells("an item, Rust", seconds, |r| rust(r.1))
        .cells("there", seconds, |r| Some(r.3))
        .column("speed-up, Rust", |r| times(rust("sequential"), rust(r.1)))
        .column("there", |r| times(in_it(r.2, "sequential"), Some(r.3)))
        .note(format!(
            "The computation takes {} in each language: how much is computed in it is not compared. Speed-up: over one after another in the same language.{of_python}",
            p.cost
        ))
        .unless_empty()
}
