//! What a trial of a condition is, whatever theory says of it.

use std::collections::BTreeSet;

use lab_kit::{accounts::ensure, prelude::*};

use super::{Params, languages};

/// Two readings of the clock for one instant.
const CLOCK_S: f64 = 1e-3;

pub(super) fn premise(p: &Params, at: &Condition, t: &Trial) -> Result<(), String> {
    if let Some((_, arm)) = Language::of_series(at.series()) {
        return languages::premise(p, arm, t);
    }
    let (waits, jobs) = (p.durations(), vec![p.cost.duration(); p.jobs]);
    let (due, threads, one_by_one) = match at.series() {
        "waits/sequential" => (waits, 1, true),
        "waits/concurrent" => (waits, 1, false),
        "waits/rayon" => (waits.clone(), waits.len(), false),
        "jobs/sequential" | "jobs/concurrent" => (jobs, 1, true),
        "jobs/rayon" => (jobs, p.threads, false),
        "jobs/slept" => (jobs, p.jobs, false),
        _ => return Ok(()),
    };
    ensure(t.spans.len() == due.len(), || format!("{} spans of {}", t.spans.len(), due.len()))?;
    let lanes: BTreeSet<&str> = t.spans.iter().map(|s| s.lane.as_str()).collect();
    ensure(lanes.len() <= threads, || {
        format!("{} threads, where there are {threads}", lanes.len())
    })?;
    lasts(t)?;
    if one_by_one {
        in_turn(t)?;
    }
    // No wait ends early. What a computation takes depends on the processor's clock, and on how it was when the
    // amount was found.
    let computes = matches!(at.series(), "jobs/sequential" | "jobs/concurrent" | "jobs/rayon");
    let least = if computes { 0.02 } else { 1.0 };
    let mut due: Vec<f64> = due.iter().map(|d| least * d.as_secs_f64()).collect();
    let mut took: Vec<f64> = t.spans.iter().map(|s| s.end_s - s.start_s).collect();
    due.sort_by(f64::total_cmp);
    took.sort_by(f64::total_cmp);
    let early = due.iter().zip(&took).find(|(due, took)| **took < **due - CLOCK_S);
    early.map_or(Ok(()), |(due, took)| {
        let (due, took) = (seconds(*due), seconds(*took));
        Err(format!("one took {took}, where {due} is the least"))
    })
}

/// The spans are the trial: it lasts from the first's start to the last's end, and little longer.
fn lasts(t: &Trial) -> Result<(), String> {
    let starts = t.spans.iter().map(|s| s.start_s);
    let ends = t.spans.iter().map(|s| s.end_s);
    let whole = ends.fold(0.0, f64::max) - starts.fold(f64::INFINITY, f64::min);
    let stood = t.gauge(gauge::STALL_TOTAL_MS).unwrap_or(0.0) / 1e3;
    let more = t.wall_s - whole;
    ensure((-CLOCK_S..=0.1 * t.wall_s + 0.05 + stood).contains(&more), || {
        format!("the spans take {}, and the trial {}", seconds(whole), seconds(t.wall_s))
    })
}

/// Each begins when the one before it has ended.
fn in_turn(t: &Trial) -> Result<(), String> {
    let mut spans: Vec<(f64, f64)> = t.spans.iter().map(|s| (s.start_s, s.end_s)).collect();
    spans.sort_by(|a, b| a.0.total_cmp(&b.0));
    let overlap = spans.windows(2).any(|s| s[1].0 < s[0].1 - CLOCK_S);
    ensure(!overlap, || "two ran at a time on one thread".into())
}
