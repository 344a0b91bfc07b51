//! What a trial of a condition is, whatever theory says of it.

use lab_kit::{
    accounts::{Fate, ensure, equal, gauge},
    prelude::*,
};

use super::{Params, gauges, languages};

/// Rounding of what is written down.
const HAIR: f64 = 1e-5;
/// What timers may end early by.
const EARLY_S: f64 = 2e-3;

/// Only what the upstream always answers with 500 may fail.
pub(super) fn may(p: &Params, at: &Condition) -> &'static [Fate] {
    let faulty = match at.series().split_once('/') {
        Some(("faults" | "answers lost", _)) => true,
        _ => Language::of_series(at.series()).is_some(),
    };
    if faulty && p.expected().failed > 0 { &[Fate::Failed] } else { &[] }
}

pub(super) fn premise(p: &Params, at: &Condition, t: &Trial) -> Result<(), String> {
    if Language::of_series(at.series()).is_some() {
        return languages::premise(p, t);
    }
    let trouble = at.series().split('/').next();
    match trouble.unwrap_or_default() {
        "killed" => {
            books(t, p.items)?;
            arrived(t, p.expected().requests)?;
            killed(p, t)
        }
        "locked" => {
            pipeline(&p.calm(), t, 2 * p.batch)?;
            locked(p, t)
        }
        "answers lost" => {
            pipeline(p, t, p.items)?;
            equal("lost items", gauge(t, gauges::LOST)?, 0.0)?;
            hung(p, t)
        }
        "faults" => {
            pipeline(p, t, p.items)?;
            hung(p, t)?;
            spans(p, t)
        }
        _ => {
            pipeline(&p.calm(), t, p.items)?;
            spans(&p.calm(), t)
        }
    }
}

/// Items with a result, in one place or in both, or none although their status says so.
fn with_result(t: &Trial) -> Result<f64, String> {
    let both = gauge(t, gauges::IN_DATABASE)? + gauge(t, gauges::IN_FALLBACK)?;
    Ok(both - gauge(t, gauges::TWICE)? + gauge(t, gauges::LOST)?)
}

/// Every item has its place.
fn books(t: &Trial, items: usize) -> Result<(), String> {
    let placed = with_result(t)? + gauge(t, gauges::BOOKS_FAILED)?;
    equal("items in database, file and failures", placed, items as f64)
}

/// Every item was asked for; a server that runs elsewhere does not say.
fn arrived(t: &Trial, least: usize) -> Result<(), String> {
    let arrived = t.gauge(gauge::UPSTREAM_ARRIVED).unwrap_or(least as f64);
    ensure(arrived >= least as f64, || format!("{arrived} requests came of {least} at least"))
}

/// What a pipeline believes is what lies on the disk, and its stages had the time and the width for it.
fn pipeline(p: &Params, t: &Trial, items: usize) -> Result<(), String> {
    equal("items", t.offered as f64, items as f64)?;
    books(t, items)?;
    equal("items with a result", with_result(t)?, t.ok as f64)?;
    equal("failures", gauge(t, gauges::BOOKS_FAILED)?, t.failed as f64)?;
    arrived(t, items)?;
    for (stage, width) in stages(p) {
        let (busy, room) = (gauge(t, gauges::BUSY_S.of(stage))?, width * t.wall_s);
        ensure(busy <= 1.02 * room + 0.02, || {
            format!("{stage} took {busy:.2} s in all, and had {room:.2} s")
        })?;
    }
    let (hung, ok) = (p.expected().in_fallback as f64, t.ok as f64);
    let least = hung * (p.store_timeout.s() - EARLY_S) + (ok - hung) * (p.store.s() - EARLY_S);
    let busy = gauge(t, gauges::BUSY_S.of("store"))?;
    ensure(busy > least, || format!("writes took {busy:.2} s in all, and their way {least:.2} s"))
}

fn stages(p: &Params) -> [(&'static str, f64); 3] {
    let widths = [p.batch, p.workers, p.connections].map(|width| width as f64);
    [("fetch", widths[0]), ("process", widths[1]), ("store", widths[2])]
}

/// Whose write hangs waits for the whole timeout.
fn hung(p: &Params, t: &Trial) -> Result<(), String> {
    let (hung, ok) = (p.expected().in_fallback as f64, t.ok.max(1) as f64);
    let waited = t.latency.quantile_s(1.0 - (hung - 0.5) / ok);
    let least = p.store_timeout.s() - EARLY_S;
    ensure(hung == 0.0 || waited.is_some_and(|s| s > 0.99 * least), || {
        format!("fewer than {hung} items waited for an answer that never came")
    })
}

/// What each item did at each stage, within the trial, adds up to what the stages did.
fn spans(p: &Params, t: &Trial) -> Result<(), String> {
    let (from, until) = (t.started_s() - HAIR, t.started_s() + t.wall_s + HAIR);
    let inside =
        |s: &lab_kit::record::Span| from < s.start_s && s.start_s <= s.end_s && s.end_s < until;
    ensure(t.spans.iter().all(inside), || {
        "something was done before the trial or after it".into()
    })?;
    for (stage, _) in stages(p) {
        let of = t.spans.iter().filter(|s| s.lane == stage);
        let mut items: Vec<&str> = of.clone().map(|s| s.name.as_str()).collect();
        items.sort_unstable();
        items.dedup();
        let due = if stage == "fetch" { t.offered } else { t.ok };
        equal(&format!("items at {stage}"), items.len() as f64, due as f64)?;
        equal(&format!("times at {stage}"), of.clone().count() as f64, due as f64)?;
        let (sum, said) =
            (of.map(|s| s.end_s - s.start_s).sum::<f64>(), gauge(t, gauges::BUSY_S.of(stage))?);
        ensure((sum - said).abs() <= HAIR * (1.0 + sum), || {
            format!("{stage} took {said:.3} s, and its items {sum:.3} s")
        })?;
    }
    Ok(())
}

/// What was done at each kill is there afterwards, and in the end all is done.
fn killed(p: &Params, t: &Trial) -> Result<(), String> {
    let trace = |name: &str| t.trace(name);
    let (done, kills) = (trace("done"), trace("killed"));
    equal("kills", gauge(t, gauges::KILLS)?, kills.len() as f64)?;
    let rises = |points: &[(f64, f64)]| {
        let mut pairs = points.windows(2);
        pairs.all(|pair| pair[0].0 <= pair[1].0 && pair[0].1 <= pair[1].1)
    };
    ensure(rises(done) && rises(kills), || "what was done is undone".into())?;
    let items = p.items as f64;
    equal("items done in the end", done.last().map_or(0.0, |(_, n)| *n), items)?;
    let last = done.last().map_or(0.0, |(at, _)| *at);
    let first = done.first().map_or(0.0, |(at, _)| *at);
    ensure(last - first <= t.wall_s + HAIR, || {
        format!("done after {:.3} s of {:.3} s", last - first, t.wall_s)
    })
}

/// Whether it was killed as often as the flags ask for, each time before all was done: a quick pipeline may be
/// done before that.
pub(super) fn killed_on_its_way(p: &Params, t: &Trial) -> bool {
    let kills = t.trace("killed");
    kills.len() == p.kills && kills.iter().all(|(_, done)| *done < p.items as f64)
}

/// The lock was there, and the beats are those of the longest gap.
fn locked(p: &Params, t: &Trial) -> Result<(), String> {
    ensure(t.wall_s > p.lock.s(), || {
        format!("{:.3} s, and the lock is held for {}", t.wall_s, p.lock)
    })?;
    let longest = gauge(t, gauges::LONGEST_GAP_S)?;
    let beats = t.trace("beats");
    let last = beats.last().map_or(0.0, |(_, longest)| *longest);
    let gaps = beats.windows(2).map(|pair| pair[1].0 - pair[0].0);
    let seen = gaps.fold(0.0, f64::max);
    let first = beats.first().map_or(0.0, |(_, gap)| *gap);
    ensure((last - longest).abs() < HAIR && (seen.max(first) - longest).abs() < HAIR, || {
        format!("the longest gap was {longest:.4} s, and of the beats {seen:.4} s")
    })?;
    ensure(longest > p.beat.s() - EARLY_S, || {
        format!("a gap of {longest:.4} s at most, and a beat every {}", p.beat)
    })
}
