//! What a trial of a condition is, whatever theory says of it.

use lab_kit::{
    accounts::{Fate, ensure, equal, gauge},
    prelude::*,
};

use super::plan::{BIN, LEAD, WINDOW};
use super::{Params, gauges};

/// What a machine that stands still may add to a time, in seconds.
const STALL_S: f64 = 1.0;

/// A failure at random is a 500, an outage's a 503. What the breaker keeps back fails unsent. What runs out of
/// time, where the deadline is near, ends in a timeout or without a permit.
pub(super) fn may(p: &Params, at: &Condition) -> &'static [Fate] {
    let outlasted = p.deadline.s() > p.outage.s() + 2.0 * p.cap.s() + STALL_S;
    match at.series().split_once('/') {
        Some(("random", arm)) => {
            let worst = p.failing_in(arm).into_iter().fold(0.0, f64::max);
            let takes = 2.0 * p.random_takes(arm, worst) + STALL_S;
            match takes < p.patience().as_secs_f64() {
                true => &[Fate::Failed],
                false => &[Fate::Failed, Fate::TimedOut],
            }
        }
        Some(("outage", _)) if !outlasted => &[Fate::Rejected, Fate::Failed, Fate::TimedOut],
        Some(("outage", "deadline")) => &[],
        Some(("outage", "breaker")) => &[Fate::Rejected, Fate::Failed],
        Some(("outage", _)) => &[Fate::Rejected],
        _ => &[],
    }
}

pub(super) fn premise(p: &Params, at: &Condition, t: &Trial) -> Result<(), String> {
    let (calls, attempts) = (gauge(t, gauges::CALLS)?, gauge(t, gauges::ATTEMPTS)?);
    let made = calls - gauge(t, gauges::UNSENT)? + gauge(t, gauges::RETRIES)?;
    equal("attempts", attempts, made)?;
    let Some((part, arm)) = at.series().split_once('/') else {
        return Ok(());
    };
    if part == "permit" {
        return permit(p, t, arm == "kept");
    }
    equal("calls", calls, t.offered as f64)?;
    equal("calls with a body", gauge(t, gauges::CALLS_OK)?, t.ok as f64)?;
    let arrived = gauge(t, gauges::ARRIVED)?;
    equal("arrivals", arrived, gauge(t, gauge::UPSTREAM_ARRIVED)?)?;
    if arm == "none" {
        equal("retries", gauge(t, gauges::RETRIES)?, 0.0)?;
    }
    if arm != "breaker" {
        equal("probes without a breaker", gauge(t, gauges::PROBES)?, 0.0)?;
    }
    match part {
        "random" => {
            equal("calls", calls, p.calls as f64)?;
            // Six deviations of as many throws of the dice.
            let (q, failed) = (at.x(), attempts - t.ok as f64);
            let luck = 6.0 * (q * (1.0 - q) * attempts).max(0.0).sqrt() + 1.0;
            ensure((failed - q * attempts).abs() <= luck, || {
                format!("{failed} of {attempts} attempts failed, each with probability {q}")
            })
        }
        _ => outage(p, t, attempts),
    }
}

/// (b) The calls are those of the schedule, and the arrivals over time are those that were counted.
fn outage(p: &Params, t: &Trial, attempts: f64) -> Result<(), String> {
    let (starts, lasts, bin) = (p.starts(), p.outage.s(), BIN.as_secs_f64());
    let inside = starts.iter().filter(|s| (0.0..lasts).contains(*s)).count() as f64;
    equal("calls", t.offered as f64, starts.len() as f64)?;
    equal("calls in the outage", gauge(t, gauges::CALLS_IN_OUTAGE)?, inside)?;
    let last = starts.last().copied().unwrap_or(0.0) + LEAD.as_secs_f64();
    ensure(t.wall_s > last - 0.02, || {
        format!("{:.2} s, and the last call begins at {last:.2} s", t.wall_s)
    })?;
    let saved = gauge(t, gauges::SAVED_IN_OUTAGE)?;
    let others = t.ok as f64 - saved;
    ensure((0.0..=starts.len() as f64 - inside).contains(&others), || {
        format!("{saved} calls of the outage among {} saved ones", t.ok)
    })?;
    // Between two openings at least one probe fails.
    for when in [
        (gauges::PROBES, gauges::BREAKER_OPENED),
        (gauges::PROBES_IN_OUTAGE, gauges::OPENED_IN_OUTAGE),
    ] {
        let (probes, opened) = (gauge(t, when.0)?, gauge(t, when.1)?);
        ensure(probes + 1.0 >= opened, || {
            format!("the breaker opened {opened} times after {probes} probes")
        })?;
    }
    for when in [
        (gauges::PROBES, gauges::PROBES_IN_OUTAGE),
        (gauges::BREAKER_OPENED, gauges::OPENED_IN_OUTAGE),
    ] {
        let (all, inside) = (gauge(t, when.0)?, gauge(t, when.1)?);
        ensure(inside <= all, || format!("{} is {inside} of {all}", when.1))?;
    }
    let bins = t.trace("arrivals");
    let begin = gauge(t, gauges::DOWN_AT_S)? - LEAD.as_secs_f64();
    let on_time = |(i, (at, _)): (usize, &(f64, f64))| (at - begin - i as f64 * bin).abs() < 1e-4;
    ensure(bins.iter().enumerate().all(on_time), || {
        "the arrivals are not counted since the outage".into()
    })?;
    let sum = |bins: &[(f64, f64)]| bins.iter().map(|(_, n)| n).sum::<f64>();
    equal("arrivals over time", sum(bins), attempts)?;
    // The stretch in which the outage ends is on both sides of its end.
    let place = |s: f64| ((s / bin) as usize).min(bins.len());
    let lead = LEAD.as_secs_f64();
    let (down, up) = (place(lead + 1e-6), place(lead + lasts + 1e-6));
    let up_whole = place(lead + lasts + bin - 1e-6);
    let sent = gauge(t, gauges::SENT_IN_OUTAGE)?;
    let between = (sum(&bins[down..up]), sum(&bins[down..up_whole]));
    ensure((between.0..=between.1).contains(&sent), || {
        format!("{sent} attempts in the outage, and {} over time", between.0)
    })?;
    // A window of any place holds what one of whole stretches does, and lies within one with one more.
    let wide = (WINDOW.as_secs_f64() / bin).round() as usize;
    let most = |bins: &[(f64, f64)], of: usize| {
        let windows = bins.windows(of.min(bins.len()).max(1)).map(sum);
        windows.fold(0.0, f64::max)
    };
    let between = (most(&bins[up_whole..], wide), most(&bins[up..], wide + 1));
    let peak = gauge(t, gauges::COMEBACK_PEAK)?;
    ensure((between.0..=between.1).contains(&peak), || {
        format!("a peak of {peak}, and of {} over time", between.1)
    })
}

/// (c) All items come, every so many attempts one fails, and no more than the permits are in flight.
fn permit(p: &Params, t: &Trial, kept: bool) -> Result<(), String> {
    let (attempts, items) = (gauge(t, gauges::ATTEMPTS)?, p.items as f64);
    equal("items", gauge(t, gauges::CALLS_OK)?, items)?;
    equal("calls", gauge(t, gauges::CALLS)?, if kept { attempts } else { items })?;
    let failed = (attempts / p.fail_every as f64).floor();
    equal("failed attempts", attempts - items, failed)?;
    let each = gauge(t, gauges::ATTEMPT_MEAN_S)?;
    // The service's timers end up to a tick early.
    ensure(each > p.item_service.s() - 2e-3, || {
        format!("an attempt took {each:.4} s, less than the service takes")
    })?;
    let (busy, room) = (attempts * each, p.permits as f64 * t.wall_s);
    ensure(busy <= room * 1.02 + 0.02, || {
        format!("{busy:.2} s of attempts, and {room:.2} s of permits")
    })
}
