//! One answer of one arm, and who looks on meanwhile.

use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering::Relaxed},
};

use anyhow::ensure;
use lab_kit::{address, prelude::*};
use tokio::runtime::Builder;

use super::{
    Part, Scene, gauges,
    plan::{Params, Source},
    workers::Workers,
};

/// One answer of one arm, on one event loop.
pub(super) fn answer(
    r: &Recorder,
    p: &Params,
    workers: &Workers,
    sources: [Source; 3],
    arm: impl AsyncFnOnce(&Scene) -> Vec<Part>,
) -> Result<()> {
    let runtime = Builder::new_current_thread().enable_all().build()?;
    let (service, client) = runtime.block_on(r.connected(p.services(), sources.len()))?;
    let scene =
        Scene { r: r.clone(), client, url: service.url(), workers: workers.clone(), sources };
    let idle = Arc::strong_count(&workers.pool);
    let (start, parts) = watched(r, &service, || {
        let start = Instant::now();
        (start, runtime.block_on(arm(&scene)))
    });
    let silent = parts.contains(&Err(Outcome::TimedOut));
    ensure!(!silent, no_answer(&service));
    let delivered = parts.iter().filter(|part| part.is_ok()).count();
    r.gauge(gauges::PARTS, delivered as f64);
    let fates = parts.into_iter().map(|part| part.err().unwrap_or(Outcome::Ok));
    let tally = Tally::of(start, fates);
    r.gauge(gauges::BEGUN_S, (start - r.origin()).as_secs_f64());
    // What computes for nobody ends before the next trial begins.
    runtime.block_on(async {
        while Arc::strong_count(&workers.pool) > idle {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    });
    r.tally(tally, &service)
}

/// No request of this lab gives up early: a server that lets one wait that long has stopped answering.
pub(super) fn no_answer(service: &Service) -> String {
    format!(
        "{}: a request got no answer: does it still run, and is it held up by something?",
        address::shown(&service.url())
    )
}

/// Looks, from a thread of its own, how many answers the service has sent: an event loop that computes
/// does not see them come.
fn watched<T>(r: &Recorder, service: &Service, run: impl FnOnce() -> T) -> T {
    const NAP: Duration = Duration::from_millis(1);
    let sent = || service.counters().map(|c| c.served);
    let before = sent();
    let over = AtomicBool::new(false);
    let over = &over;
    std::thread::scope(|scope| {
        scope.spawn(move || {
            let mut seen = before;
            while !over.load(Relaxed) {
                std::thread::sleep(NAP);
                let now = sent();
                if let (Some(all), Some(first)) = (now.filter(|_| now != seen), before) {
                    r.trace("answered", Instant::now(), (all - first) as f64);
                    seen = now;
                }
            }
        });
        // Also when it panics, or nobody would ever stop looking.
        let _end = Ends(over);
        run()
    })
}

/// Says that it is over when it is dropped.
struct Ends<'a>(&'a AtomicBool);

impl Drop for Ends<'_> {
    fn drop(&mut self) {
        self.0.store(true, Relaxed);
    }
}
