//! The same strategies in Python: asyncio and aiohttp, with a pool of threads and one of processes.

use lab_kit::{prelude::*, session::Plan};

use super::{Job, Params, desk::event_loop, findings::factor, gauges, plan::Work};

const SCRIPT: Script = Script::new("lab07.py", include_str!("../python/lab07.py"));

/// Longer than anything that runs without `--long`, in a language that computes on one thread at a time.
const LIMIT: Duration = Duration::from_secs(1500);

/// An arm in Python: its name there, its name for the reader, and the arm in Rust it stands beside.
const ARMS: [(&str, &str, &str); 5] = [
    ("sequential", "one after another", "sequential"),
    ("async", "async only", "async"),
    ("threads", "threads only", "threads"),
    ("hybrid-threads", "hybrid, pool of threads", "hybrid"),
    ("hybrid", "hybrid, Python's pool of processes, Rust's of threads", "hybrid"),
];

fn series(arm: &str) -> String {
    format!("python/{arm}")
}

/// Adds a condition for each arm, where p is `--cost`.
pub(super) fn add<'a>(plan: &mut Plan<'_, 'a>, python: &'a Python, p: &'a Params, job: Job) {
    for (arm, _, _) in ARMS {
        let places =
            if matches!(arm, "sequential" | "threads") { p.workers } else { p.concurrency };
        plan.point(&series(arm), p.ratio(), move |r| {
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
                r.python(python, SCRIPT, &service, &flags, LIMIT).await
            })
        });
    }
}

/// Rust and Python beside each other. What it says about either is for the reader: it depends on
/// the machine and on the interpreter, so there is no claim about it.
pub(super) fn table(p: &Params, summary: &Summary) -> Option<Table> {
    let rust = |arm: &str| {
        let each = |t: &Trial| Some(t.wall_s / t.gauge(gauges::ITEMS)?);
        summary.at(arm, p.ratio())?.estimate(each)
    };
    let python = |arm: &str| {
        let each = |t: &Trial| (t.ok > 0).then(|| t.wall_s / t.ok as f64);
        summary.at(&series(arm), p.ratio())?.estimate(each)
    };
    let times = |over: Option<Estimate>, under: Option<Estimate>| {
        let both = over.zip(under);
        both.map_or("–".into(), |(o, u)| factor(o.value / u.value))
    };
    let rows = ARMS.into_iter();
    let rows = rows.filter_map(|(arm, name, beside)| Some((name, rust(beside), python(arm)?)));
    let gil = summary.at(&series("threads"), p.ratio());
    let gil = gil.and_then(|k| k.gauge(gauges::GIL));
    let in_turn = gil.is_some_and(|gil| gil.value > 0.5);
    Table::of("The same strategies in Rust and in Python", rows)
        .column("strategy", |(name, _, _)| name.to_string())
        .cells("an item, Rust", seconds, |(_, rust, _)| *rust)
        .cells("Python", seconds, |(_, _, python)| Some(*python))
        .column("Python / Rust", |r| times(Some(r.2), r.1))
        .column("speed-up, Rust", |r| times(rust("sequential"), r.1))
        .column("Python", |r| times(python("sequential"), Some(r.2)))
        .note(format!(
            "The computation takes {} in either language: how much is computed in it is not compared. {}",
            p.cost,
            match in_turn {
                true => "This interpreter lets one thread at a time run Python, so a pool of threads computes no faster than the event loop; a pool of processes does, and each item goes there and back through a pipe.",
                false => "This interpreter runs threads in parallel (free-threaded).",
            }
        ))
        .unless_empty()
}
