//! What a trial of a condition is, whatever theory says of it.

use lab_kit::{
    accounts::{ensure, gauge},
    prelude::*,
};

use super::{Params, gauges, languages};

/// Two readings of the clock for one instant, and roundings.
pub(super) const CLOCK_S: f64 = 1e-3;

pub(super) fn premise(p: &Params, at: &Condition, t: &Trial) -> Result<(), String> {
    if let Some((language, arm)) = Language::of_series(at.series()) {
        return languages::premise(p, language, arm, t);
    }
    if at.series().starts_with("threads/") {
        let told = t.gauge(gauges::THREADS).unwrap_or(0.0);
        return ensure((1.0..=p.tasks as f64).contains(&told), || {
            format!("{} tasks ran on {told} threads", p.tasks)
        });
    }
    let tasks = match at.series() {
        "all_workers" => p.workers,
        "one_of_two" => 2,
        _ => 1,
    };
    busy(p, at, t, tasks)?;
    beats(p, t)?;
    if matches!(at.series(), "thread_sleep" | "compute") {
        let (gap, held) = (gauge(t, gauges::LONGEST_GAP_S)?, gauge(t, gauges::BUSY_S)?);
        ensure(gap >= held - CLOCK_S, || {
            let (gap, held) = (seconds(gap), seconds(held));
            format!("the loop was held for {held}, and no gap is longer than {gap}")
        })?;
    }
    polls(p, at, t)
}

/// Each busy task was busy: no sleep ends early, and what a computation takes depends on the processor's clock,
/// and on how it was when the amount was found.
fn busy(p: &Params, at: &Condition, t: &Trial, tasks: usize) -> Result<(), String> {
    ensure(t.spans.len() == tasks, || format!("{} busy tasks of {tasks}", t.spans.len()))?;
    let sleeps = matches!(at.series(), "sleep" | "thread_sleep" | "one_alone" | "all_workers");
    let least = p.busy.s() * if sleeps { 1.0 } else { 0.02 };
    let shortest = t.spans.iter().map(|s| s.end_s - s.start_s).fold(f64::INFINITY, f64::min);
    ensure(shortest >= least - CLOCK_S, || {
        format!("a task was busy for {}, where {} is the least", seconds(shortest), seconds(least))
    })?;
    let last = t.spans.iter().map(|s| s.start_s).fold(0.0, f64::max);
    let first = t.spans.iter().map(|s| s.end_s).fold(f64::INFINITY, f64::min);
    let (said, together) = (gauge(t, gauges::BUSY_S)?, (first - last).max(0.0));
    ensure((said - together).abs() <= CLOCK_S, || {
        format!("busy for {}, and by the spans {}", seconds(said), seconds(together))
    })
}

/// The heart beat as long as it was watched, the longest gap is that between two beats, and a gap is the time
/// from one beat to the next.
fn beats(p: &Params, t: &Trial) -> Result<(), String> {
    let beats = t.trace("beats");
    let (Some((first, _)), Some((last, _))) = (beats.first(), beats.last()) else {
        return Err("the heart did not beat".into());
    };
    let longest = beats.iter().map(|(_, gap)| *gap).fold(0.0, f64::max);
    let said = gauge(t, gauges::LONGEST_GAP_S)?;
    ensure((said - longest).abs() <= CLOCK_S, || {
        format!("the longest gap is {}, and of the beats {}", seconds(said), seconds(longest))
    })?;
    let apart = |b: &[(f64, f64)]| (b[1].0 - b[0].0 - b[1].1).abs() > CLOCK_S;
    ensure(!beats.windows(2).any(apart), || "gaps are not the times between beats".into())?;
    ensure(t.wall_s >= p.watch.s() - CLOCK_S, || {
        format!("it was watched for {}, not {p_watch}", seconds(t.wall_s), p_watch = p.watch)
    })?;
    let stood = t.gauge(gauge::STALL_TOTAL_MS).unwrap_or(0.0) / 1e3;
    let slack = longest + 3.0 * p.beat.s() + 0.02 + stood;
    let begun = t.spans.iter().map(|s| s.start_s).fold(f64::INFINITY, f64::min);
    let ended = t.spans.iter().map(|s| s.end_s).fold(0.0, f64::max);
    ensure(*first <= begun + slack && *last + slack >= ended, || {
        format!(
            "it beat from {} to {}, and somebody was busy from {} to {}",
            seconds(*first),
            seconds(*last),
            seconds(begun),
            seconds(ended)
        )
    })
}

/// Slow polls are polls, each of them slow, and polls are what keeps workers busy; but for block_in_place, which
/// leaves its worker.
fn polls(p: &Params, at: &Condition, t: &Trial) -> Result<(), String> {
    let (polls, slow) = (gauge(t, gauges::POLL_S)?, gauge(t, gauges::SLOW_POLL_S)?);
    let count = gauge(t, gauges::SLOW_POLLS)?;
    ensure(slow <= polls + CLOCK_S, || {
        format!("{} in slow polls of {} in all", seconds(slow), seconds(polls))
    })?;
    ensure(slow >= count * p.slow.s() - CLOCK_S && (count > 0.0 || slow == 0.0), || {
        format!("{count} slow polls take {}", seconds(slow))
    })?;
    let one = matches!(
        at.series(),
        "sleep" | "thread_sleep" | "compute" | "yield" | "spawn_blocking" | "rayon"
    );
    let workers = if one { 1.0 } else { p.workers as f64 };
    let share = gauge(t, gauges::BUSY_SHARE)?;
    ensure((0.0..=1.02).contains(&share), || format!("workers were busy for {}", percent(share)))?;
    let working = share * t.wall_s * workers;
    let inside =
        at.series() == "block_in_place" || polls <= working * 1.02 + 0.01 * t.wall_s + 2e-3;
    ensure(inside, || format!("{} in polls, and {} of work", seconds(polls), seconds(working)))
}
