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
        sweep.alone(
            &format!("python/{arm}/{kind}"),
            p.concurrency as f64,
            move |r| {
                let (python, service, mut flags) =
                    (python.clone(), service.clone(), flags.to_vec());
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
            },
        );
    }
}

/// Rust and Python beside each other; `rust` are chunks/s for constant or random service, with or
/// without batches. No claim: it depends on the machine and on both languages' libraries.
pub(super) fn table(
    p: &Params,
    summary: &Summary,
    rust: impl Fn(bool, bool) -> Option<Estimate>,
) -> Option<Table> {
    let mut table = Table::new(
        "The same requests from Rust and from Python",
        &[
            "service",
            "way",
            "chunks/s, Rust",
            "Python",
            "Rust / Python",
            "Python busy",
        ],
    );
    for (kind, random) in [("constant", false), ("random", true)] {
        for (arm, name, batches) in ARMS {
            let python = summary.only(&format!("python/{arm}/{kind}"));
            let Some(python) = python else { continue };
            let rate = python.estimate(|t| Some(t.ok as f64 / t.wall_s));
            let rust = rust(random, batches);
            let ratio = rust
                .zip(rate)
                .map(|(rust, python)| rust.value / python.value);
            table.row([
                kind.into(),
                name.into(),
                cell(rust, number),
                cell(rate, number),
                ratio.map_or("–".into(), |r| format!("{r:.2}")),
                cell(python.gauge(gauge::CLIENT_CPU_SHARE), percent),
            ]);
        }
    }
    table.note = format!(
        "{} requests in flight, batches of {}. Rust reads the text from its file and appends each answer to another as it goes; Python makes its text beforehand and keeps no answers. Python busy: processor time of its process over the time of the whole.",
        p.concurrency, p.batch
    );
    (!table.rows.is_empty()).then_some(table)
}
