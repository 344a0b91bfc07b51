//! What a trial of a condition is, whatever theory says of it.

use lab_kit::{
    accounts::{ensure, gauge},
    prelude::*,
};

use super::{Arm, Params, gauges};

/// What the process that holds them may have begun before the clock of its parent ran, in seconds.
const CLOCK: f64 = 0.2;

/// Chatters that a condition is to hold, if nothing stops them before.
pub(super) fn asked(p: &Params, at: &Condition) -> f64 {
    match at.series() {
        "stack" => p.threads_by_stack() as f64,
        _ => at.x(),
    }
}

pub(super) fn premise(p: &Params, at: &Condition, t: &Trial) -> Result<(), String> {
    match Arm::LINES.iter().find(|arm| arm.series() == at.series()) {
        Some(arm) => held(p, *arm, asked(p, at), t),
        None if at.series() == "stack" => held(p, Arm::Thread, asked(p, at), t),
        None => nobody(t),
    }
}

/// So many were there, which took its time, and each has its future on the heap.
fn held(p: &Params, arm: Arm, asked: f64, t: &Trial) -> Result<(), String> {
    let (number, future) = (gauge(t, gauges::NUMBER)?, gauge(t, gauges::FUTURE_B)?);
    ensure((0.0..=asked).contains(&number), || {
        format!("{number} are there, where {asked} should be")
    })?;
    if number == 0.0 {
        return Ok(());
    }
    let least = match arm {
        Arm::Thread | Arm::DeepThread => 0.0,
        Arm::Inline => p.buffer.bytes() as f64,
        _ => 1.0,
    };
    ensure(future >= least && (future == 0.0) == (least == 0.0), || {
        format!("a future has {future} bytes")
    })?;
    let heap = gauge(t, gauges::HEAP_B)?;
    ensure(heap >= number * future, || {
        format!("{number} futures of {future} bytes are in a heap of {heap}")
    })?;
    let (start, wake) = (gauge(t, gauges::START_EACH_S)?, gauge(t, gauges::WAKE_S)?);
    ensure(start > 0.0 && wake > 0.0 && t.wall_s > 0.0, || {
        "they were started or woken in no time".into()
    })?;
    ensure(start * number + wake <= t.wall_s + CLOCK, || {
        format!(
            "to start and to wake {number} took longer than the {:.3} s that it took in all",
            t.wall_s
        )
    })?;
    // Those are woken as well who were there before the first reading.
    let each = gauge(t, gauges::WAKE_EACH_S)?;
    ensure(each > 0.0 && each * number <= wake * 1.001, || {
        format!("to wake {number} took {wake:.4} s in all, and each {each:.7} s")
    })
}

/// An allocator takes for a block what it holds, and not another one for it and its alignment.
fn nobody(t: &Trial) -> Result<(), String> {
    // Where the runtime's blocks tell nothing of its header, there is none of these.
    let Some(unit) = t.gauge(gauges::UNIT_B) else {
        return Ok(());
    };
    ensure(unit >= 8.0 && gauge(t, gauges::HEADER_B)? > 0.0, || {
        format!("a task has a unit of {unit} bytes, or no header")
    })?;
    for (name, slot) in &t.gauges {
        let Some(block) = gauges::slot_block(name) else {
            continue;
        };
        ensure((0.9 * block..=2.0 * (block + unit)).contains(slot), || {
            format!("a block of {block} bytes takes {slot:.0}")
        })?;
    }
    Ok(())
}
