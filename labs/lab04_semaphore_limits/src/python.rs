//! The same limits in asyncio and aiohttp.

use lab_kit::prelude::*;

/// The smallest limit, the first that is enough, and the largest.
pub(super) fn compared(slots: usize, limits: &[usize]) -> Vec<usize> {
    let smallest = limits.iter().min();
    let enough = limits.iter().filter(|m| **m >= slots).min();
    let mut chosen: Vec<usize> =
        [smallest, enough, limits.iter().max()].into_iter().flatten().copied().collect();
    chosen.dedup();
    chosen
}

/// asyncio and aiohttp: `python/lab04.py`, with a semaphore of `m` permits and a pool of so
/// many connections (0: none, and no limit).
pub(super) async fn in_python(
    r: Recorder,
    python: Python,
    spec: Spec,
    timeout: Duration,
    n: usize,
    m: usize,
    pool: usize,
) -> Result<()> {
    const SCRIPT: Script = Script::new("lab04.py", include_str!("../python/lab04.py"));
    let service = r.upstream(spec).await?;
    let flags = [
        ("requests", n.to_string()),
        ("limit", m.to_string()),
        ("pool", pool.to_string()),
        ("timeout", timeout.as_secs_f64().to_string()),
    ];
    // No limit that runs without --long takes as long.
    let limit = Duration::from_secs(700);
    r.python(&python, SCRIPT, &service, &flags, limit).await
}
