//! What a trial of a condition is, whatever theory says of it.

use lab_kit::{
    accounts::{Fate, ensure, in_time, no_longer_than},
    prelude::*,
};

use super::{
    gauges, languages,
    plan::{Params, SETTLES},
};

/// Time-outs are what the lab is about; where none should be, [`premise`] says so.
pub(super) fn may(_: &Params, at: &Condition) -> &'static [Fate] {
    match Language::of_series(at.series()) {
        Some(_) => &[Fate::Rejected, Fate::TimedOut, Fate::Failed],
        None => &[Fate::TimedOut],
    }
}

pub(super) fn premise(p: &Params, at: &Condition, t: &Trial) -> Result<(), String> {
    if let Some((_, arm)) = Language::of_series(at.series()) {
        return languages::premise(p, arm, at.x(), t);
    }
    let (n, timeout) = (p.requests, p.timeout.s());
    let (due, sent_at_once) = match at.series() {
        "limit" => (n, at.x().min(n as f64)),
        // It passes c, and doubles until answers are late.
        "adaptive" => (SETTLES * n, at.x().max(2.0 * p.late * p.slots as f64)),
        "none" | "inside" => (n, n as f64),
        _ => return Ok(()),
    };
    ensure(t.offered as usize == due, || format!("{} requests, not {due}", t.offered))?;
    let waves = (sent_at_once / p.slots as f64).ceil().max(1.0);
    let room = timeout - waves * p.service.s();
    if room >= 0.05 * timeout {
        in_time(t, room)?;
    }
    let both = |a: Gauge, b: Gauge| Some((t.gauge(a)?, t.gauge(b)?));
    if let Some((arrived, sent)) = both(gauge::UPSTREAM_ARRIVED, gauge::SENT_TOTAL) {
        let answered = t.ok as f64;
        ensure(arrived >= answered, || format!("{arrived} arrived, and {answered} got an answer"))?;
        ensure(arrived <= sent * 1.01 + 1.0, || {
            format!("{sent} were sent, and {arrived} arrived")
        })?;
    }
    let refused = t.gauge(gauge::UPSTREAM_REFUSED).unwrap_or(0.0);
    ensure(refused == 0.0, || format!("a queue for everybody refused {refused}"))?;
    match at.series() {
        "limit" => limited(t, at.x(), timeout),
        "adaptive" => adaptive(t, at.x()),
        _ => no_longer_than(t, timeout),
    }?;
    answers(t)
}

/// The clock that starts at the permit: no longer than the one from the arrival, nor than a client waits; and
/// so many permits can be held for so long.
fn limited(t: &Trial, permits: f64, timeout_s: f64) -> Result<(), String> {
    let arrival = t.latency.mean_s();
    let (Some(sending), Some(arrival)) = (t.gauge(gauges::OK_FROM_SENDING_S), arrival) else {
        return Ok(());
    };
    ensure(sending <= arrival * 1.02 + 1e-4, || {
        format!("{sending:.4} s from sending, and {arrival:.4} s from arrival")
    })?;
    ensure(sending <= timeout_s * 1.1 + 0.02, || {
        format!("{sending:.3} s from sending, where a client waits {timeout_s} s")
    })?;
    let held = sending * t.ok as f64 / t.wall_s;
    ensure(held <= permits * 1.05 + 0.1, || {
        format!("{held:.1} of {permits} permits were held on average")
    })
}

/// The count of answers over time is that of the books, and so are their latencies: all were due at 0.
fn answers(t: &Trial) -> Result<(), String> {
    let Some(answers) = t.traces.get("answers") else {
        return Ok(());
    };
    let counted = answers.last().map_or(0.0, |(_, n)| *n);
    ensure(counted == t.ok as f64 && answers.len() as u64 == t.ok, || {
        format!("{counted} answers over time of {}", t.ok)
    })?;
    let mean = answers.iter().map(|(at, _)| at).sum::<f64>() / answers.len().max(1) as f64;
    let timed = t.latency.mean_s().unwrap_or(0.0);
    ensure((mean - timed).abs() <= 0.02 * timed + 2e-3, || {
        format!("answers came after {mean:.4} s on average, and took {timed:.4} s")
    })
}

/// A value of the limit for each request, from where it starts, at times within the trial. Once it has fallen it
/// grows by one a round; that two threads write it down in turns changes few of these steps.
fn adaptive(t: &Trial, start: f64) -> Result<(), String> {
    let limits = t.trace("limit");
    ensure(limits.len() as u64 == t.offered, || {
        format!("{} limits of {} requests", limits.len(), t.offered)
    })?;
    let first = limits.first().map_or(start, |(_, limit)| *limit);
    ensure((start / 2.0 - 0.1..=2.0 * start + 0.1).contains(&first), || {
        format!("it started at {first}, not at {start}")
    })?;
    let span = t.started_s() - 1e-3..=t.started_s() + t.wall_s + 0.02;
    ensure(limits.iter().all(|(at, _)| span.contains(at)), || {
        "some limits are from another time".into()
    })?;
    let steps: Vec<f64> = limits.windows(2).map(|l| l[1].1 - l[0].1).collect();
    let settling = steps.iter().skip_while(|step| **step >= 0.0);
    let rises: Vec<f64> = settling.copied().filter(|step| *step > 0.0).collect();
    let jumps = rises.iter().filter(|rise| **rise > 1.01).count();
    ensure(2 * jumps <= rises.len(), || {
        format!("the limit jumps {jumps} times, and rises {} times", rises.len())
    })
}
