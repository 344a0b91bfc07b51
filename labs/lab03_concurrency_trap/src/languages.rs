//! The same load in other languages.

use lab_kit::{
    accounts::{ensure, equal},
    prelude::*,
};

use super::{
    findings::LOST,
    plan::{Params, plan},
};

/// `python/lab03.py` and so on.
pub(super) const PROGRAMS: Programs = lab_kit::programs!("lab03", "Lab03": python, node, go, java);

/// The loads: the end of the series, the arm of the program, and what it is for the reader.
const LOADS: [(&str, &str, &str); 4] = [
    ("burst/default pool", "burst", "burst, pool of 100"),
    ("burst/pool of 100", "burst", "burst, pool of 100"),
    ("burst/no limit", "burst", "burst, no pool"),
    ("sustained", "sustained", "sustained, no pool"),
];

/// The loads of a language, with the connections in the pool (0: no limit). 100 is what aiohttp has by default.
pub(super) fn loads(
    language: Language,
) -> impl Iterator<Item = (&'static str, &'static str, usize)> {
    let pool = if language == Language::Python { LOADS[0] } else { LOADS[1] };
    let all = [(pool, 100), (LOADS[2], 0), (LOADS[3], 0)];
    all.into_iter().map(|((series, arm, _), pool)| (series, arm, pool))
}

/// A level at the capacity, one in the middle beyond it, and the last.
pub(super) fn compared(slots: usize, levels: &[usize]) -> Vec<usize> {
    let mut beyond: Vec<usize> = levels.iter().copied().filter(|n| *n >= slots).collect();
    beyond.sort_unstable();
    beyond.dedup();
    let last = beyond.len().saturating_sub(1);
    let mut chosen: Vec<usize> =
        [0, last.div_ceil(2), last].iter().filter_map(|i| beyond.get(*i).copied()).collect();
    chosen.dedup();
    chosen
}

/// The same plan as for Rust, in seconds, after a longer warm-up: an event loop in Python takes a
/// while to get all clients going, and a compiler that compiles as it goes some of the load.
pub(super) fn flags(p: &Params, n: usize, arm: &str, pool: usize) -> Vec<(&'static str, String)> {
    let plan = plan(p, n, None);
    let seconds = |d: Duration| d.as_secs_f64().to_string();
    vec![
        ("arm", arm.into()),
        ("clients", n.to_string()),
        ("pool", pool.to_string()),
        ("timeout", p.timeout.s().to_string()),
        ("ramp", seconds(plan.ramp)),
        ("ramped", plan.ramped.to_string()),
        ("warm-up", seconds(plan.warm_up + 3 * p.timeout.duration())),
        ("window", seconds(plan.window + p.timeout.duration())),
        ("pause", seconds(plan.pause_after_refusal)),
        ("seed", plan.seed.to_string()),
    ]
}

/// Runs a program against an upstream of its own.
pub(super) async fn run(
    r: Recorder,
    program: Program,
    spec: Spec,
    flags: Vec<(&'static str, String)>,
) -> Result<()> {
    let service = r.upstream(spec).await?;
    // No plan that runs without --long is as long.
    let limit = Duration::from_secs(2000);
    r.program(&program, Some(&service), &flags, limit).await
}

/// Of a burst every client sends one request; what is sustained sends more than there are clients.
pub(super) fn premise(load: &str, clients: f64, t: &Trial) -> Result<(), String> {
    let sent = t.offered as f64;
    if load.starts_with("burst/") {
        return equal("requests", sent, clients);
    }
    ensure(sent >= clients, || format!("{clients} clients sent {sent} requests"))
}

/// Whoever waits longer than its patience gets nothing, whatever it is written in.
pub(super) fn claims(p: &Params, summary: &Summary) -> Vec<Claim> {
    let patience = p.slots as f64 * p.timeout.s() / p.service.s();
    let crowded = runtimes::conditions(summary)
        .filter(|(_, load, k)| *load == "sustained" && k.x() > LOST * patience);
    let cases = crowded.map(|(language, _, k)| {
        let clients = k.x();
        let window = plan(p, clients as usize, None).window.as_secs_f64() + p.timeout.s();
        let attempts = clients / p.timeout.s() * window * k.trials().len() as f64;
        let in_time = k.total(|t| Some(t.ok as f64));
        Case::new(format!("{language}, {}", number(clients)), 0.0, in_time, attempts / 100.0)
    });
    let law = "collapse in every language: beyond N = c·T/s, of the attempts on an unbounded queue none is answered in time";
    vec![
        Law::new(law, "answers in time", Disturbed::Either(Resource::Timers))
            .within("one attempt in a hundred: a gap in the arrivals, when the machine stands still, lets a few in")
            .near(cases),
    ]
}

/// Rust and other languages against the same upstream. How they stand to each other is for the reader: it depends
/// on the machine and on the runtimes, so there is no claim about it.
pub(super) fn table(summary: &Summary) -> Option<Table> {
    let rows = runtimes::conditions(summary).filter_map(|(language, load, k)| {
        let (_, _, name) = LOADS.into_iter().find(|(series, ..)| *series == load)?;
        let kind = load.split('/').next()?;
        let rust = summary.at(&format!("{kind}/unbounded"), k.x())?;
        Some((name, language, rust, k))
    });
    // A sustained load of another length sends another number.
    let arrived = |load: &str, k: &Condition| {
        let arrived = k.gauge(gauge::UPSTREAM_ARRIVED);
        arrived.filter(|_| load.contains("burst"))
    };
    Table::of(format!("The same load {}", runtimes::BESIDE), rows)
        .column("load", |r| r.0.to_string())
        .column("requests", |r| number(r.3.x()))
        .column("language", |r| r.1.to_string())
        .cells("good/s, Rust", number, |r| r.2.gauge(gauge::GOODPUT_PER_S))
        .cells("there", number, |r| r.3.gauge(gauge::GOODPUT_PER_S))
        .cells("attempts/s, Rust", number, |r| r.2.gauge(gauge::ATTEMPTS_PER_S))
        .cells("there", number, |r| r.3.gauge(gauge::ATTEMPTS_PER_S))
        .cells("success, Rust", percent, |r| r.2.success_share())
        .cells("there", percent, |r| r.3.success_share())
        .cells("upstream saw, Rust", number, |r| arrived(r.0, &r.2))
        .cells("there", number, |r| arrived(r.0, &r.3))
        .cells("busy there", percent, |r| r.3.gauge(gauge::CLIENT_CPU_SHARE))
        .note("The pool of 100 is aiohttp's default: it keeps all other requests in the client, where their timeouts run. Rust's client has no pool here. Busy: processor time of the process over the time of the load.")
        .unless_empty()
}
