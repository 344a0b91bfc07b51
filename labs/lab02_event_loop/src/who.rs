//! Which threads run the tasks of a runtime.

use std::collections::HashSet;
use std::thread::ThreadId;

use lab_kit::prelude::*;
use tokio::runtime::Runtime;
use tokio::task::{JoinSet, spawn_blocking};

use super::gauges;

/// On how many threads do these tasks run?
pub(super) fn threads<F>(
    r: &Recorder,
    runtime: Runtime,
    tasks: usize,
    task: impl Fn() -> F,
) -> Result<()>
where
    F: Future<Output = Option<ThreadId>> + Send + 'static,
{
    let begun = async { (0..tasks).map(|_| task()).collect::<JoinSet<_>>().join_all().await };
    let told: Vec<Option<ThreadId>> = runtime.block_on(begun);
    r.gauge(gauges::THREADS, told.into_iter().flatten().collect::<HashSet<_>>().len() as f64);
    Ok(())
}

/// A task that works a little, so that other workers have time to take some.
pub(super) async fn tell(kernel: Kernel) -> Option<ThreadId> {
    kernel.work(Duration::from_micros(500));
    Some(std::thread::current().id())
}

/// Each call that blocks gets a thread while no other one is free. It blocks for longer than it takes
/// to begin so many.
pub(super) async fn tell_from_blocking(calls: usize) -> Option<ThreadId> {
    let blocked = Duration::from_millis(5) + calls as u32 * Duration::from_micros(200);
    let told = spawn_blocking(move || {
        std::thread::sleep(blocked);
        std::thread::current().id()
    });
    told.await.ok()
}
