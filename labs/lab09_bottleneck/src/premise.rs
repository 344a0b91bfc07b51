//! What a trial of a condition is, whatever theory says of it.

use lab_kit::{
    accounts::{ensure, equal},
    prelude::*,
};

use super::{
    Params, gauges,
    plan::{Scenario, Work},
};

/// Rounding of what is written down.
const HAIR: f64 = 1e-6;

pub(super) fn premise(p: &Params, at: &Condition, t: &Trial) -> Result<(), String> {
    if at.series().starts_with("pool/") {
        return pool(p, at, t);
    }
    let mut scenarios = p.scenarios().into_iter();
    match scenarios.find(|s| s.series == at.series() && !s.simulated) {
        Some(scenario) => pipeline(p, &scenario, at.x() as usize, t),
        None => Ok(()),
    }
}

/// As many jobs for each processor, with as many threads as processors or with twice as many.
fn pool(p: &Params, at: &Condition, t: &Trial) -> Result<(), String> {
    let (cost, each) = p.pools();
    let each = each as f64;
    let jobs = t.gauge(gauges::JOBS).unwrap_or_default();
    let due = [each * at.x(), each * at.x() / 2.0];
    ensure(jobs > 0.0 && due.contains(&jobs), || format!("{jobs} jobs for {} threads", at.x()))?;
    // A processor may be faster than it was calibrated, but not by so much.
    let faster = if at.series() == "pool/spin" { 2.0 } else { 1.0 };
    let least = jobs * cost.as_secs_f64() / (faster * at.x());
    ensure(t.wall_s > least - HAIR, || {
        format!("{jobs} jobs in {:.4} s, which take {least:.4} s at least", t.wall_s)
    })
}

/// All items passed all stages, whose workers and queues had the time and the room for it.
fn pipeline(p: &Params, scenario: &Scenario, x: usize, t: &Trial) -> Result<(), String> {
    let n = scenario.items as f64;
    equal("items", t.offered as f64, n)?;
    // A server that runs elsewhere counts nothing.
    let arrived = t.gauge(gauge::UPSTREAM_ARRIVED).unwrap_or(2.0 * n);
    equal("requests", arrived, 2.0 * n)?;
    let makespan = t.gauge(gauges::MAKESPAN_S).unwrap_or_default();
    ensure((makespan - t.wall_s).abs() < HAIR, || {
        format!("{makespan:.4} s from the first item to the last, and {:.4} s in all", t.wall_s)
    })?;
    let Some(stages) = scenario.stages.what_if().into_iter().nth(x) else {
        return Err("no stage has this number".into());
    };
    for step in &stages.0 {
        let (name, width) = (step.name, step.width as f64);
        let busy = t.gauge(gauges::BUSY_S.of(name)).unwrap_or_default();
        // A server that was held up may answer sooner than it should, a thread never wakes early.
        let slept = name == "process" && scenario.work == Work::Sleep;
        let least = if slept { step.mean_s() } else { 0.0 };
        ensure(busy > least - HAIR && busy > 0.0, || {
            format!("{name} took {busy:.4} s for an item")
        })?;
        let (held, room) =
            (busy + t.gauge(gauges::BLOCKED_S.of(name)).unwrap_or(0.0), width * t.wall_s);
        ensure(n * held <= 1.02 * room + 0.02, || {
            format!("{name} took {:.3} s in all, and its workers had {room:.3} s", n * held)
        })?;
        let at_work = t.gauge(gauges::AT_WORK.of(name)).unwrap_or(0.0);
        ensure((0.0..=1.0).contains(&at_work), || {
            format!("{at_work:.2} of the workers of {name} were at work")
        })?;
        // Each item is seen to come and to go.
        let seen = t.traces.get(&format!("{name}_queue"));
        let seen = seen.map_or(&[][..], |seen| seen);
        let places = 0.0..=p.queue as f64;
        if name != "fetch" {
            equal(&format!("looks at the queue before {name}"), seen.len() as f64, 2.0 * n)?;
        }
        let mut lengths = seen.iter().map(|(_, length)| *length);
        let mean = t.gauge(gauges::QUEUE_MEAN.of(name)).unwrap_or(0.0);
        ensure(lengths.all(|l| places.contains(&l)) && places.contains(&mean), || {
            format!("more items waited before {name} than its queue has places")
        })?;
    }
    Ok(())
}
