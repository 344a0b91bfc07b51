//! What a trial of a condition is, whatever theory says of it.

use lab_kit::{
    accounts::{Fate, ensure, in_time, no_longer_than, strained},
    prelude::*,
};

use super::{
    languages,
    plan::{Fall, Params, plan, steady_after},
};

/// Refusals and time-outs are what the lab is about; where none should be, [`premise`] says so.
pub(super) fn may(_: &Params, at: &Condition) -> &'static [Fate] {
    if Language::of_series(at.series()).is_some() {
        return &[Fate::Rejected, Fate::TimedOut, Fate::Failed];
    }
    match at.series() {
        "recovery/unbounded" => &[],
        "sustained/bounded" | "burst/bounded" => &[Fate::Rejected, Fate::TimedOut],
        _ => &[Fate::TimedOut],
    }
}

pub(super) fn premise(p: &Params, at: &Condition, t: &Trial) -> Result<(), String> {
    if let Some((_, load)) = Language::of_series(at.series()) {
        return languages::premise(load, at.x(), t);
    }
    let Some((load, arm)) = at.series().split_once('/') else {
        return Ok(());
    };
    let bounded = arm == "bounded";
    counts(t, load == "recovery", bounded)?;
    match load {
        "recovery" => recovery(p, t),
        "sustained" => {
            let n = at.x();
            let wait = inside(p, n, bounded) / p.slots as f64 * p.service.s();
            everybody_answered(p, at, t, bounded, wait)?;
            sustained(p, t, n, bounded)
        }
        _ => {
            let waves = (inside(p, at.x(), bounded) / p.slots as f64).ceil();
            if arm != "pool" {
                everybody_answered(p, at, t, bounded, waves * p.service.s())?;
            }
            burst(p, t, at.x(), arm)
        }
    }
}

/// So many of `clients` are let in.
fn inside(p: &Params, clients: f64, bounded: bool) -> f64 {
    match bounded {
        true => clients.min((p.slots + p.queue) as f64),
        false => clients,
    }
    .max(p.slots as f64)
}

/// Those who have time to spare give up nowhere, and those who all find a place are refused nowhere.
fn everybody_answered(
    p: &Params,
    at: &Condition,
    t: &Trial,
    bounded: bool,
    takes_s: f64,
) -> Result<(), String> {
    let room = p.timeout.s() - takes_s;
    if room < 0.05 * p.timeout.s() {
        return Ok(());
    }
    in_time(t, room)?;
    let places = (p.slots + p.queue) as f64;
    let refused = bounded && at.x() <= places && t.rejected > 0;
    ensure(!refused || strained(t, room), || {
        let n = t.rejected;
        format!("{n} were refused, where {places} find a place")
    })
}

/// What client and server counted of the same load.
fn counts(t: &Trial, after_a_burst: bool, bounded: bool) -> Result<(), String> {
    let ended = (t.ok + t.rejected) as f64;
    let refused = t.gauge(gauge::REFUSED_TOTAL);
    ensure(refused.is_none_or(|n| n >= t.rejected as f64), || {
        let n = refused.unwrap_or(0.0);
        format!("{} were refused, and {n} in all", t.rejected)
    })?;
    let gauges = |a: Gauge, b: Gauge| Some((t.gauge(a)?, t.gauge(b)?));
    if let Some((server, client)) = gauges(gauge::UPSTREAM_REFUSED, gauge::REFUSED_TOTAL) {
        ensure(server >= client, || {
            format!("{client} were refused, and the upstream refused {server}")
        })?;
        ensure(bounded || server == 0.0, || format!("a queue for everybody refused {server}"))?;
    }
    if let Some((arrived, sent)) = gauges(gauge::UPSTREAM_ARRIVED, gauge::SENT_TOTAL) {
        ensure(arrived >= ended, || format!("{arrived} arrived, and {ended} got an answer"))?;
        ensure(after_a_burst || arrived <= sent * 1.01 + 1.0, || {
            format!("{sent} were sent, and {arrived} arrived")
        })?;
    }
    Ok(())
}

fn sustained(p: &Params, t: &Trial, n: f64, bounded: bool) -> Result<(), String> {
    let plan = plan(p, n as usize, bounded.then_some(p.queue));
    let window = plan.window.as_secs_f64();
    ensure((t.wall_s - window).abs() < 1e-6, || {
        format!("the window is {:.3} s, not {window:.3} s", t.wall_s)
    })?;
    for name in [gauge::IN_FLIGHT_MAX, gauge::IN_FLIGHT_MEAN, gauge::IN_FLIGHT_SAMPLED] {
        let seen = t.gauge(name).unwrap_or(0.0);
        ensure(seen <= n * 1.001, || format!("{name} is {seen:.1} of {n} clients"))?;
    }
    // A second counter beside the client's: arrivals of the window, and attempts that begin in it.
    let arrived = t.gauge(gauge::ARRIVED_PER_S).map(|rate| rate * window);
    let (began, calm) = (t.offered as f64, !strained(t, 0.1 * window));
    let apart = arrived.is_some_and(|n| (n - began).abs() > 0.1 * began.max(n) + 2.0);
    ensure(!(apart && calm), || {
        let arrived = arrived.unwrap_or(0.0);
        format!("{began} attempts began, and {arrived:.0} arrived")
    })?;
    let lasts = inside(p, n, bounded) / p.slots as f64 * p.service.s();
    ensure(began >= n || !calm || lasts > window, || format!("{n} clients made {began} attempts"))?;
    no_longer_than(t, p.timeout.s())
}

fn burst(p: &Params, t: &Trial, n: f64, arm: &str) -> Result<(), String> {
    ensure(t.offered as f64 == n, || format!("{} requests, not {n}", t.offered))?;
    let most = t.gauge(gauge::IN_FLIGHT_MAX).unwrap_or(0.0);
    ensure(most <= n, || format!("{most} of {n} were in flight"))?;
    let spread = t.gauge(gauge::ARRIVAL_SPREAD_S).unwrap_or(0.0);
    let at_once = arm == "pool" || spread < p.timeout.s() || strained(t, p.timeout.s());
    ensure(at_once, || format!("they arrived over {}, not at once", seconds(spread)))?;
    no_longer_than(t, p.timeout.s())
}

/// The burst came, and what is drawn of those that follow is what was counted.
fn recovery(p: &Params, t: &Trial) -> Result<(), String> {
    let fall = Fall::of(p);
    let due = steady_after(&fall).arrivals().len() as u64;
    ensure(t.offered == due, || format!("{} requests after the burst, not {due}", t.offered))?;
    let (arrived, burst) = (t.gauge(gauge::UPSTREAM_ARRIVED), fall.burst as f64);
    let came = arrived.map(|arrived| arrived - t.offered as f64);
    let whole = came.is_none_or(|came| (0.9 * burst..=1.01 * burst + 1.0).contains(&came));
    ensure(whole || strained(t, p.timeout.s()), || {
        format!("{:.0} of a burst of {burst} came", came.unwrap_or(0.0))
    })?;
    let drawn = t.trace("latency_s");
    ensure(drawn.len() as u64 == t.ok, || {
        format!("{} latencies of {} answers", drawn.len(), t.ok)
    })?;
    let mean = drawn.iter().map(|(_, took)| took).sum::<f64>() / drawn.len().max(1) as f64;
    let timed = t.latency.mean_s().unwrap_or(0.0);
    ensure((mean - timed).abs() <= 0.02 * timed + 1e-4, || {
        format!("latencies over time are {mean:.4} s on average, and {timed:.4} s in all")
    })?;
    let span = t.started_s() - 1e-3..=t.started_s() + t.wall_s + 0.02;
    ensure(drawn.iter().all(|(at, _)| span.contains(at)), || {
        "some latencies are from another time".into()
    })
}
