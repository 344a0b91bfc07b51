//! What a trial of a condition is, whatever theory says of it.

use lab_kit::{accounts::ensure, prelude::*, record::Span};

use super::{
    Params, gauges,
    plan::Work,
    tools::{BLOCKED, Stage},
};

/// Times are written down in millionths of a second.
const ROUNDED: f64 = 1e-5;

/// The one stretch of work of each item at each stage, in the order of the items.
fn once_each(t: &Trial, items: usize) -> Result<[Vec<&Span>; 3], String> {
    let mut stages = Stage::NAMES.map(|stage| {
        let mut done: Vec<(usize, &Span)> = Vec::new();
        for span in t.spans.iter().filter(|s| s.name != BLOCKED) {
            if span.lane.split(' ').next() == Some(stage) {
                done.push((span.name.parse().unwrap_or(0), span));
            }
        }
        done.sort_by_key(|(item, _)| *item);
        done
    });
    for (stage, done) in Stage::NAMES.iter().zip(&mut stages) {
        ensure(done.iter().map(|(item, _)| *item).eq(1..=items), || {
            format!("{} of {items} items went once through {stage}", done.len())
        })?;
    }
    Ok(stages.map(|done| done.into_iter().map(|(_, span)| span).collect()))
}

pub(super) fn premise(p: &Params, at: &Condition, t: &Trial) -> Result<(), String> {
    let stages = once_each(t, p.items)?;
    let n = p.items as f64;
    for gauge in [gauges::STORED, gauges::STORED_DIFFERENT] {
        let stored = t.gauge(gauge).unwrap_or(f64::NAN);
        ensure(stored == n, || format!("{stored} of {n} items: {gauge}"))?;
    }
    // A server that somebody else runs does not say.
    let arrived = t.gauge(gauge::UPSTREAM_ARRIVED).unwrap_or(2.0 * n);
    ensure(arrived == 2.0 * n, || format!("{arrived} requests arrived, where two an item should"))?;
    within(t)?;
    workers(p, at, t)?;
    steps(p, at, t, &stages)?;
    in_order(p, at, &stages)?;
    in_progress(t, &stages)?;
    looks(at, t, p.items)
}

/// All of it was within the time that was measured.
fn within(t: &Trial) -> Result<(), String> {
    let (from, to) = (t.started_s() - 1e-3, t.started_s() + t.wall_s + 1e-3);
    let spans = t.spans.iter().flat_map(|s| [s.start_s, s.end_s]);
    let looks = t.traces.values().flatten().map(|(at, _)| *at);
    let outside = spans.chain(looks).find(|at| !(from..=to).contains(at));
    let outside = outside.map(|at| format!("work at {at:.3} s, outside what was measured"));
    outside.map_or(Ok(()), Err)
}

/// There are no more workers than the stages have, and none does two things at a time.
fn workers(p: &Params, at: &Condition, t: &Trial) -> Result<(), String> {
    let mut spans: Vec<&Span> = t.spans.iter().collect();
    spans.sort_by(|a, b| {
        (&a.lane, a.start_s).partial_cmp(&(&b.lane, b.start_s)).unwrap_or(std::cmp::Ordering::Equal)
    });
    for pair in spans.windows(2).filter(|pair| pair[0].lane == pair[1].lane) {
        ensure(pair[0].end_s <= pair[1].start_s + ROUNDED, || {
            format!("{} does two things at {:.3} s", pair[1].lane, pair[1].start_s)
        })?;
    }
    spans.dedup_by(|a, b| a.lane == b.lane);
    let widths = match at.series() {
        "in-turn" | "varying" => [1; 3],
        "batches/one-job" | "stages/awaited" => [p.fetchers, 1, p.storers],
        _ => [p.fetchers, p.transformers, p.storers],
    };
    for (stage, width) in Stage::NAMES.iter().zip(widths) {
        let found = spans.iter().filter(|s| s.lane.split(' ').next() == Some(stage));
        let found = found.count();
        ensure(found <= width, || format!("{found} workers at {stage}, which has {width}"))?;
    }
    Ok(())
}

/// A step takes at least what it is told: a sleep never ends early, a processor may have become quicker than
/// it was, and the service's timers end up to two ticks early.
fn steps(p: &Params, at: &Condition, t: &Trial, stages: &[Vec<&Span>; 3]) -> Result<(), String> {
    let (steady, own) = (at.series() != "varying", t.gauge(gauge::UPSTREAM_ARRIVED).is_some());
    let service = |time: Time| if steady && own { time.s() - 2e-3 } else { 0.0 };
    let transform = match p.work {
        _ if !steady => 0.0,
        Work::Sleep => 0.999 * p.transform.s(),
        Work::Spin => 0.25 * p.transform.s(),
    };
    let least = [service(p.fetch), transform, service(p.store)];
    for ((stage, done), least) in Stage::NAMES.iter().zip(stages).zip(least) {
        let short = done.iter().map(|s| s.end_s - s.start_s);
        let short = short.fold(f64::INFINITY, f64::min);
        ensure(short > 0.0 && short >= least, || {
            format!("{stage} took {short:.4} s, less than {least:.4} s")
        })?;
    }
    Ok(())
}

/// Each item goes from stage to stage; and without stages at once all items of a group, which is an item, all
/// of them or a batch, have been through one stage before the next begins.
fn in_order(p: &Params, at: &Condition, stages: &[Vec<&Span>; 3]) -> Result<(), String> {
    let size = match at.series() {
        "in-turn" => 1,
        "phases" => p.items,
        series if series.starts_with("batches/") => p.batch,
        _ => 0,
    };
    let mut end = f64::NEG_INFINITY;
    let groups = p.items.div_ceil(size.max(1));
    for group in 0..groups {
        let (from, to) = (group * size.max(1), ((group + 1) * size.max(1)).min(p.items));
        // At once, an item has nothing to wait for but itself.
        end = if size == 0 { f64::NEG_INFINITY } else { end };
        for (stage, done) in Stage::NAMES.iter().zip(stages) {
            let spans = || done[from..to].iter();
            let first = spans().map(|s| s.start_s).fold(f64::INFINITY, f64::min);
            ensure(first >= end - ROUNDED, || {
                format!("item {} is at {stage} before what comes before", from + 1)
            })?;
            end = spans().map(|s| s.end_s).fold(f64::NEG_INFINITY, f64::max);
        }
    }
    Ok(())
}

/// The program's own count of items in progress is that of the spans, but for one in the same moment.
fn in_progress(t: &Trial, [fetched, _, stored]: &[Vec<&Span>; 3]) -> Result<(), String> {
    let come = fetched.iter().map(|s| s.start_s);
    let seen = super::findings::most_inside(come, stored.iter().map(|s| s.end_s));
    // Older records have no such count.
    let counted = t.gauge(gauges::IN_PROGRESS_MAX).zip(seen);
    ensure(counted.is_none_or(|(count, seen)| (seen..=seen + 1.0).contains(&count)), || {
        "more or fewer items were in progress than were counted".into()
    })
}

/// A queue is looked at with each send and each receive: one that is left out where a batch is one job.
fn looks(at: &Condition, t: &Trial, items: usize) -> Result<(), String> {
    let due = match at.series() {
        "in-turn" => 0,
        "batches/one-job" => items,
        _ => 2 * items,
    };
    for queue in ["fetched", "transformed"] {
        let looks = t.traces.get(queue).map_or(0, Vec::len);
        ensure(looks == due, || format!("{looks} looks at the {queue}, where {due} are taken"))?;
    }
    Ok(())
}
