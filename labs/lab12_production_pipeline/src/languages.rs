//! The same pipeline in other languages: computing beside the event loop, and a store that hangs now and then.

use lab_kit::{
    accounts::{equal, gauge},
    prelude::*,
    session::Plan,
};
use tokio::runtime::Runtime;

use super::{Params, gauges, trials};

/// `python/lab12.py` and so on.
pub(super) const PROGRAMS: Programs = lab_kit::programs!("lab12", "Lab12": python, node, go, java);

/// Longer than anything that `check` lets pass.
const LIMIT: Duration = Duration::from_secs(600);

/// Under faults, in batches and through a window: the arm's name there, and for the reader.
const ARMS: [(&str, &str); 2] = [("batches", "in batches"), ("window", "through a window")];

/// Adds a condition for each arm.
pub(super) fn add<'a>(
    plan: &mut Plan<'_, 'a>,
    program: &'a Program,
    p: &'a Params,
    runtime: &'a Runtime,
) {
    for (arm, _) in ARMS {
        plan.point(&program.language.series(arm), 0.0, move |r| {
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
                    // A number that every language holds in its whole ones.
                    ("seed", (r.seed() >> 33).to_string()),
                ];
                r.program(program, Some(&upstream), &flags, LIMIT).await
            })
        });
    }
}

/// What a trial is: every item has its fate, and each that succeeded is in one of the two places.
pub(super) fn premise(p: &Params, t: &Trial) -> Result<(), String> {
    equal("items", t.offered as f64, p.items as f64)?;
    let placed = gauge(t, gauges::IN_DATABASE)? + gauge(t, gauges::IN_FALLBACK)?;
    equal("items in database and file", placed, t.ok as f64)
}

/// Which items fail, and whose write hangs, is drawn by lot and by number: it is the same in every language.
pub(super) fn claims(p: &Params, summary: &Summary) -> Vec<Claim> {
    let expected = p.expected();
    let cases = runtimes::conditions(summary).flat_map(|(language, arm, k)| {
        let case = |what: &str, due: usize, is: Option<Estimate>| {
            Case::exact(format!("{language}, {arm}, {what}"), due as f64, is)
        };
        [
            case("failed", expected.failed, k.every(|t| Some(t.failed as f64))),
            case("in the file", expected.in_fallback, k.every(|t| t.gauge(gauges::IN_FALLBACK))),
        ]
    });
    let law = "in every language as many items fail as the upstream always fails, and as many are in the file as writes hang";
    // A write that a machine at a standstill holds up, before it or in it, is as late as one that hangs.
    let spare = (p.store_timeout.s() - p.store.s()) / 2.0;
    let disturbed = Disturbed::Beyond(Resource::Timers, spare.max(0.0));
    vec![Law::new(law, "items", disturbed).near(cases)]
}

/// Rust and other languages beside each other. How they stand to each other is for the reader: it depends on the
/// machine and on the runtimes, so there is no claim about it.
pub(super) fn table(summary: &Summary) -> Option<Table> {
    let rows = runtimes::conditions(summary).filter_map(|(language, arm, k)| {
        let (_, name) = ARMS.into_iter().find(|(of, _)| *of == arm)?;
        let rust = summary.only(&format!("faults/{arm}"))?;
        Some((name, language, rust, k))
    });
    Table::of(format!("The same faults {}", runtimes::BESIDE), rows)
        .column("way", |r| r.0.into())
        .column("language", |r| r.1.to_string())
        .cells("time, Rust", seconds, |r| r.2.wall_s())
        .cells("there", seconds, |r| r.3.wall_s())
        .cells("database, Rust", number, |r| r.2.gauge(gauges::IN_DATABASE))
        .cells("there", number, |r| r.3.gauge(gauges::IN_DATABASE))
        .cells("fallback, Rust", number, |r| r.2.gauge(gauges::IN_FALLBACK))
        .cells("there", number, |r| r.3.gauge(gauges::IN_FALLBACK))
        .cells("busy there", percent, |r| r.3.gauge(gauge::CLIENT_CPU_SHARE))
        .note("Each computes on as many workers as Rust has threads: Python in a pool of processes. Python's store is SQLite, as Rust's; the others append to a file behind the same delays. None keeps a life cycle or can resume: they write results only. Busy: processor time of the main process over the time of the whole.")
        .unless_empty()
}
