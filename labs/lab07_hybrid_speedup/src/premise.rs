//! What a trial of a condition is, whatever theory says of it.

use lab_kit::{
    accounts::{ensure, gauge},
    prelude::*,
};

use super::{
    Params, gauges, languages,
    plan::{ARMS, Work},
};

/// What an arm is to do: items, threads that process them, seconds of processing and what that is; nothing is
/// processed where items are only fetched.
fn planned(p: &Params, series: &str, x: f64) -> Option<(usize, usize, f64, Work)> {
    let (cost, n) = (p.cost.s(), x as usize);
    Some(match series {
        "sequential" | "async" => (p.items(series, x), 1, x * p.fetch.s(), p.work),
        _ if ARMS.contains(&series) => (p.items(series, x), p.workers, x * p.fetch.s(), p.work),
        "threads/width" | "hybrid/width" => (p.items_on(n), n, cost, p.work),
        "process" => (p.items.div_ceil(p.workers) * n, n, cost, p.work),
        "fetch" => (6 * n, 1, 0.0, p.work),
        "slept" => (p.items, n, cost, Work::Sleep),
        _ => return None,
    })
}

/// Every planned item is there, was processed, and all of that went into the time on so many threads.
pub(super) fn premise(p: &Params, at: &Condition, t: &Trial) -> Result<(), String> {
    if let Some((_, arm)) = Language::of_series(at.series()) {
        return languages::premise(p, arm, t);
    }
    let Some((items, threads, cost, work)) = planned(p, at.series(), at.x()) else {
        return Ok(());
    };
    let done = gauge(t, gauges::ITEMS)?;
    ensure(done == items as f64, || format!("{done} items of {items} are done"))?;
    if cost == 0.0 {
        return Ok(());
    }
    let each = gauge(t, gauges::PROCESS_S)?;
    // A sleep never ends early; a processor may have become quicker than it was.
    let least = match work {
        Work::Sleep => 0.999 * cost,
        Work::Spin => 0.25 * cost,
    };
    ensure(each >= least, || format!("an item was processed for {each:.6} s of {cost:.6} s"))?;
    let (spent, room) = (done * each, threads as f64 * t.wall_s);
    ensure(spent <= 1.02 * room + 1e-3, || {
        format!("items were processed for {spent:.3} s, and {threads} threads had {room:.3} s")
    })
}
