//! The same strategies in Python: asyncio and aiohttp, with a pool of threads and one of processes.

use lab_kit::{prelude::*, session::Plan};

use super::{Job, Params, desk::event_loop, gauges, plan::Work};

const SCRIPT: Script = Script::new("lab07.py", include_str!("../python/lab07.py"));

/// Longer than anything that runs without `--long`, in a language that computes on one thread at a time.
const LIMIT: Duration = Duration::from_secs(1500);

/// An arm in Python: its name there, its name for the reader, and the arm in Rust it stands beside.
const ARMS: [(&str, &str, &str); 5] = [
    ("sequential", "one after another", "sequential"),
    ("async", "async only", "async"),
    ("threads", "threads only", "threads"),
    ("hybrid-threads", "hybrid, pool of threads", "hybrid"),
    (
        "hybrid",
        "hybrid, Python's pool of processes, Rust's of threads",
        "hybrid",
    ),
];

fn series(arm: &str) -> String {
    format!("python/{arm}")
}

/// Adds a condition for each arm, where p is `--cost`.
pub(super) fn add<'a>(plan: &mut Plan<'_, 'a>, python: &'a Python, p: &'a Params, job: Job) {
    for (arm, _, _) in ARMS {
        let places = if matches!(arm, "sequential" | "threads") {
            p.workers
        } else {
            p.concurrency
        };
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
    let mut table = Table::new(
        "The same strategies in Rust and in Python",
        &[
            "strategy",
            "an item, Rust",
            "Python",
            "Python / Rust",
            "speed-up, Rust",
            "Python",
        ],
    );
    let rust = |arm: &str| {
        let each = |t: &Trial| Some(t.wall_s / t.gauge(gauges::ITEMS)?);
        summary.at(arm, p.ratio())?.estimate(each)
    };
    let python = |arm: &str| {
        let each = |t: &Trial| (t.ok > 0).then(|| t.wall_s / t.ok as f64);
        summary.at(&series(arm), p.ratio())?.estimate(each)
    };
    let times = |over: Option<Estimate>, under: Option<Estimate>| {
        over.zip(under).map_or("–".into(), |(o, u)| {
            format!("{}×", number(o.value / u.value))
        })
    };
    for (arm, name, beside) in ARMS {
        let (rust_s, python_s) = (rust(beside), python(arm));
        if python_s.is_none() {
            continue;
        }
        table.row([
            name.into(),
            cell(rust_s, seconds),
            cell(python_s, seconds),
            times(python_s, rust_s),
            times(rust("sequential"), rust_s),
            times(python("sequential"), python_s),
        ]);
    }
    let alone = |t: &Trial| t.gauge(gauges::GIL);
    let one_at_a_time = summary
        .at(&series("threads"), p.ratio())
        .and_then(|k| k.estimate(alone))
        .is_some_and(|gil| gil.value > 0.5);
    table.note = format!(
        "The computation takes {} in either language: how much is computed in it is not compared. {}",
        p.cost,
        if one_at_a_time {
            "This interpreter lets one thread at a time run Python, so a pool of threads computes no faster than the event loop; a pool of processes does, and each item goes there and back through a pipe."
        } else {
            "This interpreter runs threads in parallel (free-threaded)."
        }
    );
    (!table.rows.is_empty()).then_some(table)
}
