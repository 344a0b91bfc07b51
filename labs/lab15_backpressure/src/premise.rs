//! What a trial of a condition is, whatever theory says of it.

use lab_kit::{
    accounts::{Fate, ensure, gauge},
    prelude::*,
};

use super::{
    Arm, Params, gauges,
    omission::Freeze,
    storm::{Remedy, Storm},
    systems::Crowd,
};

/// So many trials a condition may be side by side: see [`super::plan::parts`].
const PARTS: [usize; 2] = [1, 3];
/// Digits of a histogram, with room.
const DIGITS: f64 = 0.002;

/// What is late is timed out, and so is what a worker drops, unless its client is told; who finds the line
/// full is refused.
pub(super) fn may(at: &Condition) -> &'static [Fate] {
    match at.series() {
        "shed" | "storm/shed" | "storm/deadline" => &[Fate::Rejected, Fate::TimedOut],
        "timers" | "tested/closed" | "tested/open" => &[],
        _ => &[Fate::TimedOut],
    }
}

pub(super) fn premise(p: &Params, at: &Condition, t: &Trial) -> Result<(), String> {
    let arm = Arm::ALL.into_iter().find(|arm| arm.name() == at.series());
    let mut remedies = Remedy::ALL.into_iter();
    match (arm, remedies.find(|r| r.series() == at.series())) {
        (Some(arm), _) => sweep(p, arm, at.x(), t),
        (_, Some(remedy)) => storm(p, remedy, t),
        _ if at.series() == "timers" => timers(t),
        _ => tested(p, at.series() == "tested/open", t),
    }
}

fn equal(what: &str, said: f64, counted: f64) -> Result<(), String> {
    ensure((said - counted).abs() <= 1e-6 * counted.abs().max(1.0), || {
        format!("{what} is {said:.4}, where it is {counted:.4} by another count")
    })
}

/// As many as chance makes of so many on average, six standard deviations either way.
fn of_chance(mean: f64) -> (f64, f64) {
    let off = 6.0 * mean.sqrt() + 6.0;
    (mean - off, mean + off)
}

fn came(n: f64, mean: f64) -> bool {
    let (least, most) = of_chance(mean);
    (least..=most).contains(&n)
}

/// Services under a load, by their clients' books and by their gauges.
fn sweep(p: &Params, arm: Arm, rho: f64, t: &Trial) -> Result<(), String> {
    let (systems, crowd) = (gauge(t, gauges::SYSTEMS)?, Crowd::of(p, arm, rho));
    let planned = PARTS.map(|parts| crowd.part(parts).systems as f64);
    ensure(planned.contains(&systems), || format!("{systems} services were watched"))?;
    equal("the window", t.wall_s, p.window.s())?;
    let (c, time) = (p.workers as f64, systems * p.window.s());
    let (offered, ok) = (t.offered as f64, t.ok as f64);
    let asked = rho * c / p.service.s() * time;
    ensure(came(offered, asked), || format!("{offered} came, where {asked:.0} should"))?;
    if t.offered == 0 {
        return Ok(());
    }
    let service = gauge(t, gauges::SERVICE_MEAN_S)?;
    let chance = 8.0 / offered.sqrt();
    ensure((service / p.service.s() - 1.0).abs() <= chance, || {
        format!("a service took {service:.4} s on average")
    })?;
    for (figure, counted) in [
        (gauges::CAME_PER_S, offered / time),
        (gauges::GOOD_SHARE, ok / offered),
        (gauges::REFUSED_SHARE, t.rejected as f64 / offered),
        (gauges::GOOD_OF_CAPACITY, ok / time * service / c),
        (gauges::ANSWERED, t.attempt_latency.count() as f64),
    ] {
        equal(&figure.to_string(), gauge(t, figure)?, counted)?;
    }
    let exact = gauge(t, gauges::EXACT_GOOD_SHARE)?;
    ensure((0.0..=1.0).contains(&exact), || format!("{} is {exact}", gauges::EXACT_GOOD_SHARE))?;
    let (answered, dropped) =
        (gauge(t, gauges::ANSWERED)?, gauge(t, gauges::DROPPED_SHARE)? * offered);
    ensure(answered + dropped <= ok + t.timed_out as f64 + 0.5, || {
        format!("{answered} were answered and {dropped:.0} dropped of {offered}")
    })?;
    let deepest = gauge(t, gauges::DEPTH_MAX)?;
    ensure(t.rejected == 0 || deepest >= 1.0, || {
        format!("{} were refused, and nobody waited", t.rejected)
    })?;
    if answered > 0.0 { waits(p, arm, answered, t) } else { Ok(()) }
}

/// Who is answered has waited, been served and heard of it late, and no more: by the clients' histogram, and by
/// the gauges.
fn waits(p: &Params, arm: Arm, answered: f64, t: &Trial) -> Result<(), String> {
    let (ok, deadline) = (t.ok as f64, p.deadline.s());
    let took = |rank: f64| t.attempt_latency.quantile_s((rank - 0.5) / answered);
    let in_time = took(ok).is_none_or(|s| ok == 0.0 || s <= deadline * (1.0 + DIGITS));
    let late = took(ok + 1.0).is_none_or(|s| ok == answered || s >= deadline * (1.0 - DIGITS));
    ensure(in_time && late, || {
        format!("{ok} of {answered} were in time by the books, and others by their latencies")
    })?;
    let (wait, inside) = (gauge(t, gauges::WAIT_MEAN_S)?, gauge(t, gauges::QUEUED_MEAN_S)?);
    let mean = t.attempt_latency.mean_s().unwrap_or_default();
    let service = p.service.s() * (1.0 + 8.0 / answered.sqrt());
    let most = wait + service + gauge(t, gauges::LATE_MEAN_S)?;
    let near = (wait * (1.0 - DIGITS)..=most * (1.0 + DIGITS)).contains(&mean);
    ensure(near && inside <= wait + 1e-6, || {
        format!("answers took {mean:.4} s, with a wait of {wait:.4} s, {inside:.4} s of it inside")
    })?;
    // Where nobody is lost, virtual time serves the same requests.
    match arm {
        Arm::Unbounded | Arm::Waits | Arm::Newest => {
            let same = gauges::SAME_WAIT_S;
            equal(&same.to_string(), gauge(t, same)?, wait)
        }
        Arm::Shed | Arm::Deadline | Arm::Expired => Ok(()),
    }
}

/// Sleepers: half of them are later than the median.
fn timers(t: &Trial) -> Result<(), String> {
    let of = |gauge: Gauge| t.gauge(gauge).unwrap_or_default();
    let (mean, p50, p99) =
        (of(gauges::LATE_MEAN_S), of(gauges::LATE_P50_S), of(gauges::LATE_P99_S));
    ensure(p50 <= p99 && mean >= 0.5 * p50, || {
        format!("timers were late by {mean:.4} s on average, {p50:.4} s in the median")
    })
}

/// A service that freezes: all that was due is answered, and somebody met the freeze.
fn tested(p: &Params, open: bool, t: &Trial) -> Result<(), String> {
    let due = PARTS.map(|parts| Freeze::of(p, parts).requests() as u64);
    ensure(due.contains(&t.offered), || {
        format!("{} requests were answered of {}", t.offered, due[0])
    })?;
    equal("the window", t.wall_s, p.window.s())?;
    let Some(longest) = t.latency.max_s() else {
        return Ok(());
    };
    ensure(longest >= 0.5 * p.freeze.s(), || {
        format!("nothing was frozen: no answer took longer than {longest:.3} s")
    })?;
    // Older records have the curves alone.
    let (by_sending, by_due) = (gauges::P95_FROM_SENDING_S, gauges::P95_FROM_DUE_S);
    let (Some(sent), Some(from_due)) = (t.gauge(by_sending), t.gauge(by_due)) else {
        return Ok(());
    };
    let rank = |by: f64| t.latency.quantile_s(0.95 + by / t.ok as f64);
    let (least, most) = (rank(-2.0), rank(2.0));
    let told = least.is_none_or(|s| sent >= s * (1.0 - DIGITS) - 1e-5)
        && most.is_none_or(|s| sent <= s * (1.0 + DIGITS) + 1e-5);
    ensure(told, || format!("{by_sending} is {sent:.4}, and the latencies say otherwise"))?;
    ensure(from_due >= sent && (!open || from_due == sent), || {
        format!("the 95th percentile is {from_due:.4} s from when due, {sent:.4} s from sending")
    })?;
    let curve = t.traces.get("from_due").into_iter().flatten();
    let mut drawn = curve.filter(|(one_in, _)| *one_in == 20.0);
    drawn.try_for_each(|(_, value)| equal(&by_due.to_string(), from_due, *value))
}

/// A surge, by the books of all and by the shares of stretches.
fn storm(p: &Params, remedy: Remedy, t: &Trial) -> Result<(), String> {
    let storms = PARTS.map(|parts| Storm::of(p, parts));
    equal("the storm's length", t.wall_s, storms[0].end)?;
    let (offered, ok) = (t.offered as f64, t.ok as f64);
    let storm = storms.iter().find(|s| came(offered, s.expected(remedy)));
    let storm = storm.ok_or_else(|| {
        let due = storms[0].expected(remedy);
        format!("{offered} came, where {due:.0} should, or as many a trial side by side")
    })?;
    let (mut good, mut lost) = (0.0, 0.0);
    for stretch in storm.stretches() {
        let both = (t.gauge(stretch.good), t.gauge(stretch.attempts));
        let (Some(answered), Some(sent)) = both else {
            continue;
        };
        let given_up = t.gauge(stretch.given_up).unwrap_or(1.0 - answered);
        equal("what was answered or given up", answered + given_up, 1.0)?;
        // Who gives up without a budget has sent as often as may be.
        let most = (1 + p.retries) as f64;
        let least = if remedy == Remedy::Budget { 1.0 } else { answered + given_up * most };
        ensure((least - 1e-6..=most + 1e-6).contains(&sent), || {
            let name = stretch.name;
            format!("{sent:.2} attempts a request {name}, with {given_up:.2} given up")
        })?;
        let (few, _) = of_chance(p.calm * storm.capacity() * (stretch.to - stretch.from));
        good += answered * few.max(0.0);
        lost += given_up * few.max(0.0);
    }
    ensure(ok >= good && offered - ok >= lost, || {
        format!("{ok} of {offered} were answered, fewer or more than in three stretches alone")
    })?;
    let curve = t.traces.get("goodput").into_iter().flatten();
    let drawn = curve.map(|(_, share)| share).sum::<f64>() * storm.bin() * storm.capacity();
    ensure(drawn <= ok + 0.5, || format!("{ok} were answered, and {drawn:.0} over time"))
}
