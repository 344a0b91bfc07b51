//! The same limits in other languages.

use lab_kit::{
    accounts::{ensure, equal, in_time},
    prelude::*,
};

use super::{findings::from_sending, plan::Params};

/// `python/lab04.py` and so on.
pub(super) const PROGRAMS: Programs = lab_kit::programs!("lab04", "Lab04": python, node, go, java);

/// Longer than any limit takes that runs without `--long`.
const LIMIT: Duration = Duration::from_secs(700);

/// The smallest limit, the first that is enough, and the largest.
pub(super) fn compared(slots: usize, limits: &[usize]) -> Vec<usize> {
    let smallest = limits.iter().min();
    let enough = limits.iter().filter(|m| **m >= slots).min();
    let mut chosen: Vec<usize> =
        [smallest, enough, limits.iter().max()].into_iter().flatten().copied().collect();
    chosen.dedup();
    chosen
}

/// Without a limit: the arm, and the connections of the pool (0: none, and no limit). 100 is what aiohttp has by
/// default.
pub(super) fn without_limit(language: Language) -> [(&'static str, usize); 2] {
    let pool = if language == Language::Python { "default pool" } else { "pool of 100" };
    [(pool, 100), ("none", 0)]
}

/// A burst of `n` requests, with a semaphore of `m` permits (0: none) and a pool of so many connections.
pub(super) async fn run(
    r: Recorder,
    program: Program,
    spec: Spec,
    timeout: Duration,
    (n, m, pool): (usize, usize, usize),
) -> Result<()> {
    let service = r.upstream(spec).await?;
    let flags = [
        ("requests", n.to_string()),
        ("limit", m.to_string()),
        ("pool", pool.to_string()),
        ("timeout", timeout.as_secs_f64().to_string()),
    ];
    r.program(&program, Some(&service), &flags, LIMIT).await
}

/// How much of the timeout a request behind a semaphore of `m` permits has to spare.
fn spare_s(p: &Params, m: f64) -> f64 {
    let waves = (m / p.slots as f64).ceil().max(1.0);
    p.timeout.s() - waves * p.service.s()
}

/// What a trial is: all requests of the burst were sent, none arrived twice, and behind a semaphore nobody gives up
/// who has time to spare.
pub(super) fn premise(p: &Params, arm: &str, m: f64, t: &Trial) -> Result<(), String> {
    equal("requests", t.offered as f64, p.requests as f64)?;
    let arrived = t.gauge(gauge::UPSTREAM_ARRIVED).unwrap_or(0.0);
    ensure(arrived <= 1.01 * t.offered as f64 + 1.0, || {
        format!("{arrived} requests arrived of {}", t.offered)
    })?;
    let room = spare_s(p, m);
    if arm == "limit" && room >= p.timeout.s() / 2.0 { in_time(t, room) } else { Ok(()) }
}

/// A semaphore lets its requests through in waves, whoever holds it.
pub(super) fn claims(p: &Params, summary: &Summary) -> Vec<Claim> {
    let limits = || {
        let all = runtimes::conditions(summary);
        all.filter(|(_, arm, k)| *arm == "limit" && spare_s(p, k.x()) >= p.timeout.s() / 2.0)
    };
    let name = |language: Language, k: &Condition| format!("{language}, {}", number(k.x()));
    let answered = limits().map(|(language, _, k)| {
        let ok = k.every(|t| Some(t.ok as f64));
        Case::exact(name(language, &k), p.requests as f64, ok)
    });
    let waves = limits().map(|(language, _, k)| {
        let permits = (p.slots as f64).min(k.x());
        let least = (p.requests as f64 / permits).ceil() * p.service.s();
        Case::exact(name(language, &k), least, k.wall_s())
    });
    let everybody = "in every language a semaphore answers everybody whose wave has half of the timeout to spare";
    let in_waves = "in every language the burst takes as long as its waves through the semaphore and the slots";
    vec![
        Law::new(everybody, "answers", Disturbed::Fewer(Resource::Timers)).near(answered),
        Law::new(in_waves, "s", Disturbed::Longer(Resource::Timers)).at_least(waves),
    ]
}

/// Rust and other languages against the same upstream. How they stand to each other is for the reader: it depends
/// on the machine and on the runtimes, so there is no claim about it.
pub(super) fn table(summary: &Summary) -> Option<Table> {
    let rows = runtimes::conditions(summary).filter_map(|(language, arm, k)| {
        let (limit, rust) = match arm {
            "limit" => (number(k.x()), summary.at("limit", k.x())?),
            "none" => ("none".into(), summary.only("none")?),
            _ => ("none; a pool of 100".into(), summary.only("none")?),
        };
        Some((limit, language, rust, k))
    });
    Table::of(format!("The same limits {}", runtimes::BESIDE), rows)
        .column("limit", |r| r.0.clone())
        .column("language", |r| r.1.to_string())
        .cells("good/s, Rust", number, |r| r.2.gauge(gauge::GOODPUT_PER_S))
        .cells("there", number, |r| r.3.gauge(gauge::GOODPUT_PER_S))
        .cells("success, Rust", percent, |r| r.2.success_share())
        .cells("there", percent, |r| r.3.success_share())
        .cells("from sending, Rust", seconds, |r| r.2.estimate(from_sending))
        .cells("there", seconds, |r| r.3.estimate(from_sending))
        .cells("upstream saw, Rust", number, |r| r.2.gauge(gauge::UPSTREAM_ARRIVED))
        .cells("there", number, |r| r.3.gauge(gauge::UPSTREAM_ARRIVED))
        .cells("busy there", percent, |r| r.3.gauge(gauge::CLIENT_CPU_SHARE))
        .note("The pool of 100 is aiohttp's default. It limits what the upstream sees and protects nobody: the clock of the timeout runs while a request waits for a connection; with a semaphore it starts at the permit. Busy: processor time of the process over the time of the burst.")
        .unless_empty()
}
