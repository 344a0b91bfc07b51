//! What a trial of a condition is, whatever theory says of it.

use lab_kit::{
    accounts::{Fate, ensure, equal, gauge, strained},
    prelude::*,
    theory::cancellation::{even, landed},
};

use super::{
    Params, gauges,
    plan::{Ending, x},
    trials::HTTP_REQUESTS,
};

/// Digits of a histogram, with room.
const DIGITS: f64 = 0.002;
/// Nanoseconds of many times, rounded.
const ROUNDED: f64 = 1e-6;

/// Items are lost, and requests at a server that stops; who gives up has timed out.
pub(super) fn may(p: &Params, at: &Condition) -> &'static [Fate] {
    match at.series() {
        "receive/dropped" | "backlog/dropped" | "real receive/dropped" => &[Fate::Failed],
        "transfer/halfway" | "transfer/whole" | "transfer/spawned" | "lock/kept" => {
            &[Fate::TimedOut]
        }
        "calls/detached"
        | "calls/owned"
        | "http calls/detached"
        | "http calls/owned"
        | "chain/own clocks"
        | "chain/one deadline" => &[Fate::TimedOut],
        "stop/drained" | "real stop/drained" if p.drain >= p.inside => &[],
        series if series.contains("stop/") => &[Fate::Failed],
        _ => &[],
    }
}

pub(super) fn premise(p: &Params, at: &Condition, t: &Trial) -> Result<(), String> {
    let (experiment, way) = at.series().split_once('/').unwrap_or_default();
    let offered = match experiment {
        "stop" | "real stop" => p.requests(),
        "http calls" => HTTP_REQUESTS,
        _ => p.items,
    };
    equal("were offered", t.offered as f64, offered as f64)?;
    match experiment {
        "receive" | "backlog" | "real receive" => received(p, experiment, at.x(), t),
        "pay" => paid(p, way == "new key", t),
        "transfer" => transferred(p, way, t),
        "calls" => called(p, way == "detached", t),
        "http calls" => called_over_http(p, t),
        "chain" => along_the_chain(p, way == "own clocks", t),
        "lock" => locked(p, way, t),
        _ => stopped(p, way, t),
    }
}

/// The sum of work of many is known to a millionth.
fn worked(what: &str, is: f64, due: f64) -> Result<(), String> {
    ensure((is - due).abs() <= ROUNDED * due.abs().max(1e-3), || {
        format!("{what} took {is:.6} s, where {due:.6} s should be")
    })
}

/// What is taken is handed over once or lost, no sooner than a hand-over takes, and there were ticks.
fn received(p: &Params, experiment: &str, period_ms: f64, t: &Trial) -> Result<(), String> {
    let known = p.ticks.iter().any(|period| x(period.duration()) == period_ms);
    ensure(known, || format!("nobody ticks every {period_ms} ms"))?;
    let (lost, ticks) = (gauge(t, gauges::LOST)?, gauge(t, gauges::TICKS)?);
    equal("were lost", lost, t.failed as f64)?;
    equal("times an item was handed over", gauge(t, gauges::HANDED_OVER)?, t.ok as f64)?;
    ensure(ticks >= lost, || format!("{lost} were lost at {ticks} ticks"))?;
    let soonest = t.latency.quantile_s(0.0).unwrap_or(f64::INFINITY);
    ensure(t.ok == 0 || soonest >= p.hand_over.s() * (1.0 - DIGITS) - 1e-6, || {
        format!("an item was handed over after {soonest:.6} s")
    })?;
    // Receivers side by side have fewer ticks each, and as many together.
    if experiment == "real receive" {
        return Ok(());
    }
    let due = t.wall_s / (period_ms / 1e3);
    ensure((ticks - due).abs() <= 2.0, || format!("{ticks} ticks came, where {due:.0} should"))
}

/// Every bill is paid, by as many attempts as the times make of them.
fn paid(p: &Params, anew: bool, t: &Trial) -> Result<(), String> {
    let (attempts, written) = (gauge(t, gauges::ATTEMPTS)?, gauge(t, gauges::WRITTEN)?);
    equal("charges are written", written, t.ok as f64 + gauge(t, gauges::TWICE)?)?;
    ensure(anew || written == t.ok as f64, || format!("{written} are written with a key each"))?;
    match p.charges().excess(p.items) {
        Some((due, _)) => equal("attempts were made", attempts, due as f64),
        None => Ok(()),
    }
}

/// Money is where it was, or where it should be, or missing; and as many gave up as the times make of them.
fn transferred(p: &Params, way: &str, t: &Trial) -> Result<(), String> {
    let (cancelled, credited) = (gauge(t, gauges::CANCELLED)?, gauge(t, gauges::CREDITED)?);
    let missing = gauge(t, gauges::MISSING)?;
    equal("gave up", cancelled, t.timed_out as f64)?;
    let (_, credit) = p.debited();
    let due = landed(p.items, p.given_up.s(), (0.0, credit)) as f64;
    ensure(missing <= cancelled, || format!("{missing} are missing of {cancelled} given up"))?;
    if way == "spawned" {
        // They go on, and the next ones wait for them.
        equal("were credited", credited, t.offered as f64)?;
        return ensure(cancelled >= due, || format!("{cancelled} gave up, where {due} should"));
    }
    equal("were credited", credited, t.ok as f64)?;
    equal("gave up", cancelled, due)
}

/// Calls take as long as they should, all of it or until their caller goes.
fn called(p: &Params, detached: bool, t: &Trial) -> Result<(), String> {
    let (calls, n) = (p.calls(), p.items * p.fan);
    let (all, vain) = calls.work(n);
    let (work, in_vain) = (gauge(t, gauges::WORK_S)?, gauge(t, gauges::VAIN_S)?);
    worked("all calls", work, if detached { all } else { all - vain })?;
    let orphans = if detached { calls.orphans(n) } else { 0 };
    equal("calls were under way", gauge(t, gauges::ORPHANS)?, orphans as f64)?;
    ensure(in_vain <= work, || format!("{in_vain} s of {work} s were in vain"))?;
    let in_time = |request: &usize| {
        let times = (0..p.fan).map(|call| even(request * p.fan + call) * calls.longest);
        times.into_iter().all(|time| time <= calls.patience)
    };
    let answered = (0..p.items).filter(in_time).count();
    equal("requests were answered", t.ok as f64, answered as f64)
}

/// Every call arrived, and was answered or left.
fn called_over_http(p: &Params, t: &Trial) -> Result<(), String> {
    let arrived = gauge(t, gauge::UPSTREAM_ARRIVED)?;
    // A machine that stands still lets callers go before their calls have come.
    let held_up = strained(t, p.patience.s().min(0.04));
    ensure(held_up || arrived == (HTTP_REQUESTS * p.fan) as f64, || {
        format!("{arrived} calls arrived of {HTTP_REQUESTS} requests")
    })?;
    let (served, left) = (gauge(t, gauges::SERVED)?, gauge(t, gauges::LEFT)?);
    equal("calls were answered or left", served + left, arrived)?;
    match p.left_over_http() {
        Some(0) => equal("requests were answered", t.ok as f64, t.offered as f64),
        Some(_) => equal("requests were answered", t.ok as f64, 0.0),
        None => Ok(()),
    }
}

/// Hops work to their ends, or until the client goes.
fn along_the_chain(p: &Params, own_clocks: bool, t: &Trial) -> Result<(), String> {
    let (chain, n) = (p.chain(), p.items as f64);
    let (work, vain) = (gauge(t, gauges::WORK_S)?, gauge(t, gauges::VAIN_S)?);
    ensure(vain <= work, || format!("{vain} s of {work} s were in vain"))?;
    let whole = chain.hops as f64 * chain.work;
    // Where work and patience end at one instant, chance decides.
    let Some(late) = chain.begun_late().filter(|_| (whole - chain.patience).abs() > 1e-9) else {
        return Ok(());
    };
    if chain.work == chain.patience {
        return Ok(());
    }
    let due =
        if own_clocks && chain.work < chain.patience { whole } else { whole.min(chain.patience) };
    worked("all hops", work, n * due)?;
    let late = if own_clocks { late } else { 0 };
    equal("hops began late", gauge(t, gauges::BEGUN_LATE)?, n * late as f64)?;
    let answered = if whole < chain.patience { n } else { 0.0 };
    equal("requests were answered", t.ok as f64, answered)
}

/// The wait beside the first future ended first as often as the times say, whatever came of it.
fn locked(p: &Params, way: &str, t: &Trial) -> Result<(), String> {
    equal("stood still", gauge(t, gauges::STUCK)?, t.timed_out as f64)?;
    // A task in the queue is served before the holder is asked again; a holding time later than without it.
    let due = landed(p.items, 3.0, (0.0, 2.0)) as f64;
    let turned = gauge(t, gauges::TURNED)?;
    ensure((turned - due).abs() < 0.5, || {
        format!("{turned} looked elsewhere, where {due} should ({way})")
    })
}

/// What is lost was inside or found the door shut, and the balancer came to know.
fn stopped(p: &Params, way: &str, t: &Trial) -> Result<(), String> {
    let (broken_off, shut_out) = (gauge(t, gauges::BROKEN_OFF)?, gauge(t, gauges::SHUT_OUT)?);
    equal("were lost", broken_off + shut_out, t.failed as f64)?;
    for (kind, n) in [("broken off", broken_off), ("shut out", shut_out)] {
        let counted = t.failures.get(kind).copied().unwrap_or(0);
        equal(&format!("were {kind}"), n, counted as f64)?;
    }
    let elsewhere = gauge(t, gauges::ELSEWHERE)?;
    ensure(elsewhere >= 1.0 && elsewhere <= t.ok as f64, || {
        format!("{elsewhere} of {} were sent elsewhere", t.ok)
    })?;
    let has_door_open = way == Ending::Drained.name() || way == Ending::CutShort.name();
    ensure(!has_door_open || shut_out == 0.0, || {
        format!("{shut_out} found a door shut that was open as long as anybody came")
    })?;
    let longest = t.latency.max_s().unwrap_or(0.0);
    ensure(longest <= p.inside.s() * (1.0 + DIGITS) + 0.1 || strained(t, 0.1), || {
        format!("a request was inside for {longest:.3} s")
    })
}
