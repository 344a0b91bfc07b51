//! One trial of real work that ends in a shared sum, and one thread alone before and after.

use std::{
    sync::{
        Mutex, OnceLock,
        atomic::{AtomicUsize, Ordering::Relaxed},
    },
    thread,
};

use lab_kit::{host::Host, prelude::*};

use super::{Params, gauges, rush::together};

/// The most that a share of the work inside a lock leaves of a speed-up.
pub(super) fn bound(width: f64, share: f64) -> f64 {
    width.min(1.0 / share)
}

/// Threads for real work.
#[derive(Clone, Copy)]
pub(super) struct Crew {
    threads: usize,
    items: usize,
    /// Items at either end that do not count: until the threads have come into step, and when the
    /// first of them has nothing left to do.
    edge: usize,
}

impl Crew {
    pub(super) fn new(p: &Params, host: &Host, threads: usize, share: f64) -> Crew {
        let speed_up = bound(host.width(threads), share);
        let in_step = threads <= host.cores;
        Crew {
            threads,
            items: p.items(speed_up),
            edge: if in_step { speed_up.ceil() as usize } else { 0 },
        }
    }
}

/// A trial of real work, between two of one thread alone. `item` may compute any part of an item.
pub(super) fn work(
    r: &Recorder,
    p: &Params,
    kernel: Kernel,
    crew: Crew,
    item: impl Fn(&Mutex<u64>, &dyn Fn(f64) -> u64) + Sync,
) -> Result<()> {
    let compute = |part: f64| {
        kernel.work(p.item.duration().mul_f64(part));
        1
    };
    // Seconds an item; threads take them from one pot.
    let run = |crew: Crew| {
        let (sum, left) = (Mutex::new(0), AtomicUsize::new(crew.items));
        let take = || left.fetch_update(Relaxed, Relaxed, |n| n.checked_sub(1));
        let (here, begun) = (AtomicUsize::new(0), OnceLock::new());
        let body = || {
            together(&here, crew.threads);
            begun.get_or_init(Instant::now);
            let mut ends = Vec::new();
            while take().is_ok() {
                item(&sum, &compute);
                ends.push(Instant::now());
            }
            ends
        };
        let mut ends: Vec<Instant> = thread::scope(|scope| {
            let threads: Vec<_> = (0..crew.threads).map(|_| scope.spawn(body)).collect();
            let ends = threads.into_iter().map(|t| t.join().expect("nobody panics"));
            ends.flatten().collect()
        });
        ends.sort_unstable();
        ends.splice(0..0, begun.into_inner());
        let counted = &ends[crew.edge..ends.len() - crew.edge];
        let took = counted[counted.len() - 1] - counted[0];
        took.as_secs_f64() / (counted.len() - 1) as f64
    };
    let alone =
        Crew { threads: 1, items: (p.window.s() / 4.0 / p.item.s()).ceil() as usize, edge: 0 };
    let (before, all, after) = (run(alone), run(crew), run(alone));
    // The quicker of two: what disturbs computation makes it slower.
    let alone = before.min(after);
    r.gauge(gauges::ITEM_S, alone);
    r.gauge(gauges::SPEED_UP, alone / all);
    Ok(())
}
