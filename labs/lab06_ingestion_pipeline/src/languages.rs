//! The same text in other languages, in batches and through a window.

use lab_kit::{accounts::equal, prelude::*, session::Sweep};

use super::{Params, embeddings};

/// `python/lab06.py` and so on.
pub(super) const PROGRAMS: Programs = lab_kit::programs!("lab06", "Lab06": python, node, go, java);

/// Longer than anything that `check` lets pass.
const LIMIT: Duration = Duration::from_secs(1200);

/// The arm's name there, for the reader, and whether it has batches.
const ARMS: [(&str, &str, bool); 2] = [("batch", "batches", true), ("window", "window", false)];

/// Chunks that a text of the lab's own has.
fn chunks(p: &Params) -> usize {
    p.size.b().div_ceil(p.chunk.b())
}

/// Adds both ways with `--concurrency` requests in flight, in batches of `--batch`.
pub(super) fn add(
    sweep: &mut Sweep,
    program: &Program,
    p: &Params,
    kind: &str,
    service: ServiceTime,
) {
    for (arm, _, _) in ARMS {
        let (program, service) = (program.clone(), service.clone());
        let dimensions = p.dimensions;
        let flags = [
            ("arm", arm.to_string()),
            ("chunks", chunks(p).to_string()),
            ("chunk", p.chunk.b().to_string()),
            ("batch", p.batch.to_string()),
            ("concurrency", p.concurrency.to_string()),
        ];
        let series = program.language.series(&format!("{arm}/{kind}"));
        sweep.alone(&series, p.concurrency as f64, move |r| {
            let (program, service, mut flags) = (program.clone(), service.clone(), flags.to_vec());
            async move {
                let spec = Spec {
                    seed: r.seed(),
                    body: embeddings::body(dimensions),
                    ..Spec::new(mock_server::MAX_SLOTS, service)
                };
                let service = r.upstream(spec).await?;
                // A number that every language holds in its whole ones.
                flags.push(("seed", (r.seed() >> 33).to_string()));
                r.program(&program, Some(&service), &flags, LIMIT).await
            }
        });
    }
}

/// What a trial is: every chunk of the text was sent once and answered.
pub(super) fn premise(p: &Params, t: &Trial) -> Result<(), String> {
    let due = chunks(p) as f64;
    equal("chunks", t.offered as f64, due)?;
    equal("chunks that are answered", t.ok as f64, due)?;
    t.gauge(gauge::UPSTREAM_ARRIVED).map_or(Ok(()), |n| equal("requests that arrived", n, due))
}

/// A batch takes as long as its slowest request, and whoever waits for that in batches waits in every language: no
/// clock of the client's makes a wave of requests shorter than their service.
pub(super) fn claims(p: &Params, summary: &Summary) -> Vec<Claim> {
    let (chunks, batch) = (chunks(p), p.batch);
    let waves = |n: usize| n.div_ceil(p.concurrency);
    let in_batches = (chunks / batch) * waves(batch) + waves(chunks % batch);
    let cases = runtimes::conditions(summary).filter_map(|(language, arm, k)| {
        let waves = match arm {
            "batch/constant" => in_batches,
            "window/constant" => waves(chunks),
            _ => return None,
        };
        let least = waves as f64 * p.service.s();
        Some(Case::exact(format!("{language}, {arm}"), least, k.wall_s()))
    });
    let law = "in every language the text takes as long as its waves of requests, in batches with a wave that is not full at the end of each";
    let law = Law::new(law, "s", Disturbed::Longer(Resource::Timers));
    vec![law.at_least(cases)]
}

/// Rust and other languages beside each other; `rust` are chunks/s for constant or random service, in batches or
/// without. No claim on how they stand to each other: that depends on the machine and on the runtimes.
pub(super) fn table(
    p: &Params,
    summary: &Summary,
    rust: impl Fn(bool, Option<usize>) -> Option<Estimate>,
) -> Option<Table> {
    let rows = runtimes::conditions(summary).filter_map(|(language, arm, k)| {
        let (arm, kind) = arm.split_once('/')?;
        let (_, way, batches) = ARMS.into_iter().find(|(of, ..)| *of == arm)?;
        let rust = rust(kind == "random", batches.then_some(p.batch));
        let rate = k.estimate(|t| Some(t.ok as f64 / t.wall_s));
        Some((kind, way, language, rust, rate, k))
    });
    Table::of(format!("The same requests {}", runtimes::BESIDE), rows)
        .column("service", |r| r.0.into())
        .column("way", |r| r.1.into())
        .column("language", |r| r.2.to_string())
        .cells("chunks/s, Rust", number, |r| r.3)
        .cells("there", number, |r| r.4)
        .cells("busy there", percent, |r| r.5.gauge(gauge::CLIENT_CPU_SHARE))
        .note(format!(
            "{} requests in flight, batches of {}. Rust reads the text from its file and appends each answer to another as it goes; the others cut theirs out of a short text in memory and keep no answers. Busy: processor time of the process over the time of the whole.",
            p.concurrency, p.batch
        ))
        .unless_empty()
}
