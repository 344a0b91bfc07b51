//! The same text in Python: asyncio and aiohttp, in batches and through a window.

use lab_kit::{prelude::*, session::Sweep};

use super::{Params, embeddings};

const SCRIPT: Script = Script::new("lab06.py", include_str!("../python/lab06.py"));

/// Longer than anything that `check` lets pass.
const LIMIT: Duration = Duration::from_secs(1200);

/// The arm's name there, for the reader, and whether it has batches.
const ARMS: [(&str, &str, bool); 2] = [("batch", "batches", true), ("window", "window", false)];

/// Adds both ways with `--concurrency` requests in flight, in batches of `--batch`.
pub(super) fn add(
    sweep: &mut Sweep,
    python: &Python,
    p: &Params,
    kind: &str,
    service: ServiceTime,
) {
    for (arm, _, _) in ARMS {
        let (python, service) = (python.clone(), service.clone());
        let dimensions = p.dimensions;
        let flags = [
            ("arm", arm.to_string()),
            ("chunks", p.size.b().div_ceil(p.chunk.b()).to_string()),
            ("chunk", p.chunk.b().to_string()),
            ("batch", p.batch.to_string()),
            ("concurrency", p.concurrency.to_string()),
        ];
        sweep.alone(&format!("python/{arm}/{kind}"), p.concurrency as f64, move |r| {
            let (python, service, mut flags) = (python.clone(), service.clone(), flags.to_vec());
            async move {
                let spec = Spec {
                    seed: r.seed(),
                    body: embeddings::body(dimensions),
                    ..Spec::new(mock_server::MAX_SLOTS, service)
                };
                let service = r.upstream(spec).await?;
                flags.push(("seed", (r.seed() >> 32).to_string()));
                r.python(&python, SCRIPT, &service, &flags, LIMIT).await
            }
        });
    }
}

/// Rust and Python beside each other; `rust` are chunks/s for constant or random service, in batches or
/// without. No claim: it depends on the machine and on both languages' libraries.
pub(super) fn table(
    p: &Params,
    summary: &Summary,
    rust: impl Fn(bool, Option<usize>) -> Option<Estimate>,
) -> Option<Table> {
    let kinds = ["constant", "random"].into_iter();
    let arms = kinds.flat_map(|kind| ARMS.map(|arm| (kind, arm)));
    let rows = arms.filter_map(|(kind, (arm, way, batches))| {
        let rust = rust(kind == "random", batches.then_some(p.batch));
        let python = summary.only(&format!("python/{arm}/{kind}"))?;
        let rate = python.estimate(|t| Some(t.ok as f64 / t.wall_s));
        Some((kind, way, rust, rate, python))
    });
    let ratio = |rust: Option<Estimate>, python: Option<Estimate>| {
        let both = rust.zip(python);
        both.map_or("–".into(), |(r, p)| format!("{:.2}", r.value / p.value))
    };
    Table::of("The same requests from Rust and from Python", rows)
        .column("service", |r| r.0.into())
        .column("way", |r| r.1.into())
        .cells("chunks/s, Rust", number, |r| r.2)
        .cells("Python", number, |r| r.3)
        .column("Rust / Python", |r| ratio(r.2, r.3))
        .cells("Python busy", percent, |r| r.4.gauge(gauge::CLIENT_CPU_SHARE))
        .note(format!(
            "{} requests in flight, batches of {}. Rust reads the text from its file and appends each answer to another as it goes; Python makes its text beforehand and keeps no answers. Python busy: processor time of its process over the time of the whole.",
            p.concurrency, p.batch
        ))
        .unless_empty()
}
