//! The same load from asyncio and aiohttp.

use lab_kit::prelude::*;

use super::plan::{Params, plan};

/// The same load from Python: series, arm of the script, connections in the pool (0: no limit).
pub(super) const IN_PYTHON: [(&str, &str, usize); 3] = [
    ("python/burst/default pool", "burst", 100),
    ("python/burst/no limit", "burst", 0),
    ("python/sustained", "sustained", 0),
];

/// A level at the capacity, one in the middle beyond it, and the last.
pub(super) fn compared(slots: usize, levels: &[usize]) -> Vec<usize> {
    let mut beyond: Vec<usize> = levels.iter().copied().filter(|n| *n >= slots).collect();
    beyond.sort_unstable();
    beyond.dedup();
    let last = beyond.len().saturating_sub(1);
    let mut chosen: Vec<usize> =
        [0, last.div_ceil(2), last].iter().filter_map(|i| beyond.get(*i).copied()).collect();
    chosen.dedup();
    chosen
}

/// The same plan as for Rust, in seconds, after a longer warm-up: an event loop in Python takes a
/// while to get all clients going.
pub(super) fn python_flags(
    p: &Params,
    n: usize,
    arm: &str,
    pool: usize,
) -> Vec<(&'static str, String)> {
    let plan = plan(p, n, None);
    let seconds = |d: Duration| d.as_secs_f64().to_string();
    vec![
        ("arm", arm.into()),
        ("clients", n.to_string()),
        ("pool", pool.to_string()),
        ("timeout", p.timeout.s().to_string()),
        ("ramp", seconds(plan.ramp)),
        ("ramped", plan.ramped.to_string()),
        ("warm-up", seconds(plan.warm_up + 3 * p.timeout.duration())),
        ("window", seconds(plan.window + p.timeout.duration())),
        ("pause", seconds(plan.pause_after_refusal)),
        ("seed", plan.seed.to_string()),
    ]
}

/// asyncio and aiohttp: `python/lab03.py`.
pub(super) async fn in_python(
    r: Recorder,
    python: Python,
    spec: Spec,
    flags: Vec<(&'static str, String)>,
) -> Result<()> {
    const SCRIPT: Script = Script::new("lab03.py", include_str!("../python/lab03.py"));
    let service = r.upstream(spec).await?;
    // No plan that runs without --long is as long.
    let limit = Duration::from_secs(2000);
    r.python(&python, SCRIPT, &service, &flags, limit).await
}
