//! The threads of the arms.

use std::sync::{
    Barrier,
    atomic::{AtomicUsize, Ordering},
};

use lab_kit::{os, prelude::*};

use super::gauges;

/// So many threads that begin together; each returns how many items it did. Notes what the
/// operating system did to them.
pub(super) fn crew(r: &Recorder, threads: usize, work: impl Fn(usize) -> f64 + Sync) {
    let together = Barrier::new(threads);
    let body = |i| {
        together.wait();
        let before = os::context_switches();
        let items = work(i);
        let switches = before.zip(os::context_switches());
        (items, switches.map(|(a, b)| (b.0 - a.0, b.1 - a.1)))
    };
    let done: Vec<_> = std::thread::scope(|scope| {
        let body = &body;
        let threads: Vec<_> = (0..threads).map(|i| scope.spawn(move || body(i))).collect();
        threads.into_iter().map(|t| t.join().expect("a worker panicked")).collect()
    });
    let items: f64 = done.iter().map(|(items, _)| items).sum();
    let switches: Option<Vec<(u64, u64)>> = done.into_iter().map(|(_, s)| s).collect();
    if let Some(switches) = switches {
        let sum = |part: fn(&(u64, u64)) -> u64| switches.iter().map(part).sum::<u64>() as f64;
        r.gauge(gauges::VOLUNTARY_PER_ITEM, sum(|s| s.0) / items);
        r.gauge(gauges::FORCED_PER_ITEM, sum(|s| s.1) / items);
    }
}

/// Who is done goes on, uncounted, until all are: the others are to have its company to the end.
pub(super) fn in_company(unfinished: &AtomicUsize, mut work: impl FnMut()) -> usize {
    unfinished.fetch_sub(1, Ordering::Relaxed);
    let mut more = 0;
    while unfinished.load(Ordering::Relaxed) > 0 {
        work();
        more += 1;
    }
    more
}
