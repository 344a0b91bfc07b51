//! The same pipeline in Python: asyncio, aiohttp, a pool of processes, and SQLite.

use lab_kit::{prelude::*, session::Plan};
use tokio::runtime::Runtime;

use super::{Params, gauges, trials};

const SCRIPT: Script = Script::new("lab12.py", include_str!("../python/lab12.py"));

/// Longer than anything that `check` lets pass.
const LIMIT: Duration = Duration::from_secs(600);

/// Under faults, in batches and through a window: the arm's name there, and for the reader.
const ARMS: [(&str, &str); 2] = [("batches", "in batches"), ("window", "through a window")];

/// Adds a condition for each arm.
pub(super) fn add<'a>(
    plan: &mut Plan<'_, 'a>,
    python: &'a Python,
    p: &'a Params,
    runtime: &'a Runtime,
) {
    for (arm, _) in ARMS {
        plan.point(&format!("python/{arm}"), 0.0, move |r| {
            runtime.block_on(async {
                let upstream = trials::steady(r, p).await?;
                let s = |time: Time| time.s().to_string();
                let flags = [
                    ("arm", arm.to_string()),
                    ("items", p.items.to_string()),
                    ("batch", p.batch.to_string()),
                    ("fetch-timeout", s(p.fetch_timeout)),
                    ("attempts", p.attempts.to_string()),
                    ("backoff", s(p.backoff)),
                    ("process", s(p.process)),
                    ("workers", p.workers.to_string()),
                    ("process-timeout", s(p.process_timeout)),
                    ("store", s(p.store)),
                    ("store-timeout", s(p.store_timeout)),
                    ("hang-every", p.hang_every.to_string()),
                    ("connections", p.connections.to_string()),
                    ("seed", (r.seed() >> 32).to_string()),
                ];
                r.python(python, SCRIPT, &upstream, &flags, LIMIT).await
            })
        });
    }
}

/// Rust and Python beside each other; no claim, since it depends on the machine and on both
/// languages' libraries.
pub(super) fn table(summary: &Summary) -> Option<Table> {
    let ways = ARMS.into_iter().filter_map(|(arm, name)| {
        let rust = summary.only(&format!("faults/{arm}"))?;
        let python = summary.only(&format!("python/{arm}"))?;
        Some((name, rust, python))
    });
    let times_as_long = |rust: &Condition, python: &Condition| {
        python.paired(rust, |python, rust| Some(python.wall_s / rust.wall_s))
    };
    Table::of("The same faults in Rust and in Python", ways)
        .column("way", |r| r.0.into())
        .cells("time, Rust", seconds, |r| r.1.wall_s())
        .cells("Python", seconds, |r| r.2.wall_s())
        .cells("Python / Rust", |r| format!("{r:.2}"), |r| times_as_long(&r.1, &r.2))
        .cells("database, Rust", number, |r| r.1.gauge(gauges::IN_DATABASE))
        .cells("Python", number, |r| r.2.gauge(gauges::IN_DATABASE))
        .cells("fallback, Rust", number, |r| r.1.gauge(gauges::IN_FALLBACK))
        .cells("Python", number, |r| r.2.gauge(gauges::IN_FALLBACK))
        .cells("Python busy", percent, |r| r.2.gauge(gauge::CLIENT_CPU_SHARE))
        .note("Python computes in a pool of as many processes as Rust has threads. Its pipeline keeps no life cycle and cannot resume: it writes results only. Python busy: processor time of its main process over the time of the whole.")
        .unless_empty()
}
