//! One trial of counting: threads that begin together, and one thread alone before and after.

use std::{
    sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering::Relaxed},
    thread,
};

use lab_kit::{prelude::*, stats};

use super::{counters::Counter, gauges};

/// Updates between two looks at whether to stop.
const BATCH: u64 = 256;
/// Slices of a window whose rates are compared.
pub(super) const SLICES: u32 = 4;
/// Windows after which a way to count need not reach its number of updates.
pub(super) const LONGEST: u32 = 40;

/// Who counts, and until when.
#[derive(Clone, Copy)]
pub(super) struct Crowd {
    pub(super) threads: usize,
    /// They count until this is over,
    pub(super) window: Duration,
    /// and until they have made so many updates.
    pub(super) least: u64,
}

/// What threads that counted did.
struct Rush {
    updates: u64,
    counted: u64,
    /// Updates a second: the median of several slices, so that a short disturbance does not count.
    per_s: f64,
    /// The same of the best slice.
    best_per_s: f64,
}

/// Threads that begin together and count.
fn rush<C: Counter>(crowd: Crowd) -> Rush {
    /// What a thread knows to have counted, in a cache line of its own.
    #[repr(align(128))]
    struct Made(AtomicU64);

    let Crowd { threads, window, least } = crowd;
    let counter = C::new(threads);
    let made: Vec<Made> = (0..threads).map(|_| Made(AtomicU64::new(0))).collect();
    let all = || -> u64 { made.iter().map(|m| m.0.load(Relaxed)).sum() };
    let (here, stop) = (AtomicUsize::new(0), AtomicBool::new(false));
    let rates = thread::scope(|scope| {
        for (thread, mine) in made.iter().enumerate() {
            let (counter, here, stop) = (&counter, &here, &stop);
            scope.spawn(move || {
                together(here, threads);
                let mut updates = 0;
                while !stop.load(Relaxed) {
                    (0..BATCH).for_each(|_| counter.add(thread));
                    updates += BATCH;
                    mine.0.store(updates, Relaxed);
                }
            });
        }
        // The first slice is for the scheduler, which has to spread the threads.
        thread::sleep(window / SLICES);
        let begun = look(&all);
        let (mut rates, mut last) = (Vec::new(), begun);
        loop {
            thread::sleep(window / SLICES);
            let now = look(&all);
            rates.push((now.1 - last.1) as f64 / (now.0 - last.0).as_secs_f64());
            last = now;
            let enough = now.1 >= least || now.0 - begun.0 > LONGEST * window;
            if rates.len() >= SLICES as usize && enough {
                break;
            }
        }
        stop.store(true, Relaxed);
        rates
    });
    Rush {
        updates: all(),
        counted: counter.total(),
        per_s: stats::median(&rates),
        best_per_s: rates.iter().copied().fold(0.0, f64::max),
    }
}

/// Waits for the others, awake: threads that wake together may all wake on one processor.
pub(super) fn together(here: &AtomicUsize, threads: usize) {
    here.fetch_add(1, Relaxed);
    while here.load(Relaxed) < threads {
        thread::yield_now();
    }
}

/// The time and a count that belong together: this thread may be stopped between the two.
fn look(count: &impl Fn() -> u64) -> (Instant, u64) {
    loop {
        let (now, count) = (Instant::now(), count());
        if now.elapsed() < Duration::from_micros(50) {
            return (now, count);
        }
    }
}

/// A trial of one way to count: one thread alone, all of them, one alone again. A processor's clock
/// changes with load and heat; this way the speed-up is against the same moment. The best slice of
/// the two counts: whatever disturbs one thread makes it slower.
pub(super) fn count<C: Counter>(r: &Recorder, crowd: Crowd) -> Result<()> {
    let alone = Crowd { threads: 1, window: crowd.window / 4, least: 0 };
    let (before, all, after) = (rush::<C>(alone), rush::<C>(crowd), rush::<C>(alone));
    r.gauge(gauges::ALONE_PER_S, before.best_per_s.max(after.best_per_s));
    r.gauge(gauges::ALONE_UPDATES, (before.updates + after.updates) as f64);
    r.gauge(gauges::ALONE_COUNTED, (before.counted + after.counted) as f64);
    r.gauge(gauges::PER_S, all.per_s);
    r.gauge(gauges::BEST_PER_S, all.best_per_s);
    r.gauge(gauges::UPDATES, all.updates as f64);
    r.gauge(gauges::COUNTED, all.counted as f64);
    Ok(())
}
