//! Whether a trial is what its condition says, and whether what it says twice says the same.
//!
//! A claim reads a figure or two of a trial, and its sentence is about all of it: about pages that came, loads
//! that were kept up, a process that was killed. A trial of which that is not so confirms nothing, whatever
//! the figure is.

use crate::{
    gauge::{self, Gauge},
    record::Trial,
    text::seconds,
};

/// What else than success may become of what is offered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fate {
    /// Refused by the upstream.
    Rejected,
    /// The client gave up waiting.
    TimedOut,
    /// Every other failure.
    Failed,
    /// In flight when the run was stopped.
    Aborted,
    /// Planned and never sent.
    NeverSent,
}

impl Fate {
    const ALL: [Fate; 5] =
        [Fate::Rejected, Fate::TimedOut, Fate::Failed, Fate::Aborted, Fate::NeverSent];

    fn of(self, trial: &Trial) -> (u64, &'static str) {
        match self {
            Fate::Rejected => (trial.rejected, "were refused"),
            Fate::TimedOut => (trial.timed_out, "timed out"),
            Fate::Failed => (trial.failed, "failed"),
            Fate::Aborted => (trial.aborted, "were broken off"),
            Fate::NeverSent => (trial.never_sent, "were never sent"),
        }
    }
}

/// For premises ([`Lab::premise`](crate::lab::Lab::premise)): the sentence, unless it holds.
///
/// # Errors
/// The sentence.
pub fn ensure(holds: bool, otherwise: impl FnOnce() -> String) -> Result<(), String> {
    if holds { Ok(()) } else { Err(otherwise()) }
}

/// True when the machine itself may have held up what has `room_s` to spare: it stood still, or its processors
/// had hardly time left.
pub fn strained(t: &Trial, room_s: f64) -> bool {
    let gauge = |name: Gauge| t.gauge(name).unwrap_or(0.0);
    let busy = gauge(gauge::PROCESS_CPU_SHARE) + gauge(gauge::OTHERS_CPU_SHARE);
    busy > 0.75 || gauge(gauge::STALL_MAX_MS) / 1e3 > room_s / 2.0
}

/// Nobody gives up who has `room_s` to spare, but for one in a hundred who may be held up.
///
/// # Errors
/// How many did.
pub fn in_time(t: &Trial, room_s: f64) -> Result<(), String> {
    let few = (t.offered as f64 / 100.0).max(1.0);
    ensure(t.timed_out as f64 <= few || strained(t, room_s), || {
        let (late, spare) = (t.timed_out, seconds(room_s));
        format!("{late} of {} timed out with {spare} to spare", t.offered)
    })
}

/// What is answered in time did not take longer than `timeout_s`, from the load's start on for a burst.
///
/// # Errors
/// How long it took.
pub fn no_longer_than(t: &Trial, timeout_s: f64) -> Result<(), String> {
    let longest = t.latency.max_s().unwrap_or(0.0);
    let sent_after = t.gauge(gauge::ARRIVAL_SPREAD_S).unwrap_or(0.0);
    let most = timeout_s * 1.1 + 0.02 + sent_after;
    ensure(longest <= most || strained(t, 0.04), || {
        let (took, wait) = (seconds(longest), seconds(timeout_s));
        format!("an answer took {took}, where a client waits {wait}")
    })
}

/// A gauge that every trial of a condition has.
///
/// # Errors
/// That it is missing.
pub fn gauge(trial: &Trial, gauge: Gauge) -> Result<f64, String> {
    let missing = || format!("{gauge} is missing");
    trial.gauge(gauge).ok_or_else(missing)
}

/// A count that must be another: "7 chunks came, where 9 should be".
///
/// # Errors
/// The sentence.
pub fn equal(what: &str, is: f64, due: f64) -> Result<(), String> {
    ensure((is - due).abs() < 0.5, || format!("{is} {what}, where {due} should be"))
}

/// A rate is the count through the time, but for the clock.
const EDGES: f64 = 0.1;
/// How far the rates of a window of a closed loop may be from the counts: it weighs what begins or ends outside it
/// by the part that is inside, which is as much as is in flight at its edges. `None` where all is inside.
fn over_the_edges(trial: &Trial) -> Option<f64> {
    trial.gauge(gauge::IN_FLIGHT_SAMPLED)?;
    let in_flight = trial.gauge(gauge::IN_FLIGHT_MAX).unwrap_or(0.0);
    Some(in_flight / trial.wall_s.max(1e-9))
}

/// Digits of a histogram, with room.
const DIGITS: f64 = 0.02;
/// What a reading of the clock may be late by, in seconds, where two readings bound the same time.
const CLOCK_S: f64 = 0.02;

/// What is wrong with the accounts of a trial in whose condition only these fates are expected; `None` when they
/// hold. Every gauge named here is one that [`crate::load`] writes down.
pub(crate) fn contradiction(trial: &Trial, expected: &[Fate]) -> Option<String> {
    for fate in Fate::ALL.iter().filter(|fate| !expected.contains(fate)) {
        let (n, what) = fate.of(trial);
        if n > 0 {
            return Some(format!("{n} of {} {what}, where none should", trial.offered));
        }
    }
    let ended = [trial.ok, trial.rejected, trial.timed_out, trial.failed];
    let ended = ended.into_iter().fold(0, u64::saturating_add);
    let (attempts, wall) = (trial.attempt_latency.count(), trial.wall_s);
    if attempts > 0 && !(trial.ok..=ended).contains(&attempts) {
        return Some(format!("{ended} attempts ended, and {attempts} were timed"));
    }
    for latency in [&trial.latency, &trial.attempt_latency] {
        let longest = latency.quantile_s(1.0).unwrap_or(0.0);
        // Others than the kit's loads may count what arrives in a window, and wait for it beyond.
        let whole = trial.gauge(gauge::ATTEMPTS_PER_S).is_some() && wall > 0.0;
        if whole && longest > wall * (1.0 + EDGES) + CLOCK_S {
            return Some(format!("an answer took {longest:.3} s in a trial of {wall:.3} s"));
        }
    }
    let apart = |a: f64, b: f64, share: f64| (a - b).abs() > share * a.abs().max(b.abs());
    let reach_over = over_the_edges(trial);
    for (name, count) in [(gauge::GOODPUT_PER_S, trial.ok), (gauge::ATTEMPTS_PER_S, ended)] {
        let said = trial.gauge(name).filter(|_| wall > 0.0);
        let counted = count as f64 / wall;
        let far = |said: &f64| {
            (said - counted).abs() > reach_over.unwrap_or(0.0) && apart(*said, counted, EDGES)
        };
        if let Some(said) = said.filter(far) {
            return Some(format!(
                "{name} is {said:.1}, and {count} in {wall:.3} s are {counted:.1}"
            ));
        }
    }
    let timed = trial.attempt_latency.mean_s();
    let mean = trial.gauge(gauge::MEAN_ATTEMPT_S).filter(|mean| *mean > 0.0);
    if let (Some(mean), Some(timed)) = (mean, timed)
        && reach_over.is_none()
        && apart(mean, timed, DIGITS)
        && (mean - timed).abs() > 1e-5
    {
        return Some(format!(
            "mean_attempt_s is {mean:.4}, and the attempts took {timed:.4} s on average"
        ));
    }
    let gauges = |a: Gauge, b: Gauge| Some((trial.gauge(a)?, trial.gauge(b)?));
    if let Some((mean, most)) = gauges(gauge::IN_FLIGHT_MEAN, gauge::IN_FLIGHT_MAX)
        && most > 0.0
        && mean > most * (1.0 + DIGITS)
    {
        return Some(format!("{mean:.1} were in flight on average and {most:.1} at most"));
    }
    let sent = trial.gauge(gauge::SENT_TOTAL).filter(|sent| *sent > 0.0);
    if let Some(sent) = sent.filter(|sent| *sent < ended as f64 * (1.0 - DIGITS)) {
        return Some(format!("{sent:.0} were sent, and {ended} ended"));
    }
    None
}

#[cfg(test)]
mod tests {
    use std::{collections::BTreeMap, time::Duration};

    use super::*;
    use crate::record::Latency;

    /// Ten of twelve requests succeed in a second, 0.1 s each.
    fn sound() -> Trial {
        let mut latency = Latency::new();
        for _ in 0..10 {
            latency.record(Duration::from_millis(100));
        }
        let mut attempts = latency.clone();
        for _ in 0..2 {
            attempts.record(Duration::from_millis(100));
        }
        let gauges = [
            ("goodput_per_s", 10.0),
            ("attempts_per_s", 12.0),
            ("mean_attempt_s", 0.1),
            ("in_flight_mean", 1.2),
            ("in_flight_max", 2.0),
            ("sent_total", 12.0),
        ];
        Trial {
            wall_s: 1.0,
            offered: 12,
            ok: 10,
            timed_out: 2,
            latency,
            attempt_latency: attempts,
            gauges: gauges.map(|(name, value)| (name.to_string(), value)).into(),
            ..Trial::default()
        }
    }

    #[test]
    fn accounts_hold_until_one_of_them_says_something_else() {
        assert_eq!(contradiction(&sound(), &[Fate::TimedOut]), None);
        let unexpected = contradiction(&sound(), &[Fate::Failed]).unwrap();
        assert_eq!(unexpected, "2 of 12 timed out, where none should");
        let bare = Trial { gauges: BTreeMap::new(), ..sound() };
        assert_eq!(contradiction(&bare, &[Fate::TimedOut]), None);
        let alterations: [fn(&mut Trial); 9] = [
            |t| t.wall_s = 2.0,
            |t| t.wall_s = 0.07,
            |t| *t.gauges.get_mut("goodput_per_s").unwrap() *= 2.0,
            |t| *t.gauges.get_mut("attempts_per_s").unwrap() *= 0.5,
            |t| *t.gauges.get_mut("mean_attempt_s").unwrap() *= 1.25,
            |t| *t.gauges.get_mut("in_flight_mean").unwrap() *= 2.0,
            |t| *t.gauges.get_mut("in_flight_max").unwrap() *= 0.5,
            |t| *t.gauges.get_mut("sent_total").unwrap() *= 0.5,
            |t| t.attempt_latency = t.latency.scaled(2.0),
        ];
        for (at, alter) in alterations.iter().enumerate() {
            let mut trial = sound();
            alter(&mut trial);
            let found = contradiction(&trial, &[Fate::TimedOut]);
            assert!(found.is_some(), "alteration {at} went unnoticed");
        }
        let mut trial = sound();
        trial.ok = 4;
        trial.failed = 6;
        assert!(contradiction(&trial, &[Fate::TimedOut, Fate::Failed]).is_some());
    }
}
