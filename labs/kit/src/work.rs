//! Work for the processor that the optimiser cannot remove, in amounts of time.

use std::hint::black_box;
use std::time::{Duration, Instant};

/// Rounds between two looks at a clock: about 10 µs.
const CHUNK: u64 = 10_000;

/// A kernel of pure computation: a chain of integer mixing steps, each needing the one before.
///
/// It touches no memory, so that several threads share nothing but the processor.
fn mix(rounds: u64, seed: u64) -> u64 {
    let mut x = seed;
    for i in 0..rounds {
        x = (x ^ (x >> 27)).wrapping_mul(0x3C79_AC49_2BA7_B653).wrapping_add(black_box(i));
    }
    x
}

/// How fast this machine runs the kernel, so that work can be asked for in milliseconds.
///
/// The work is a fixed *amount*, not a wait until a clock says stop: when the processor is shared
/// or busy it takes longer, as real work does.
#[derive(Clone, Copy, Debug)]
pub struct Kernel {
    rounds_per_s: f64,
}

impl Kernel {
    /// Measures the kernel on this thread: the fastest of several short runs, since everything
    /// that disturbs a run makes it slower.
    pub fn calibrate() -> Kernel {
        let rounds = CHUNK * 200;
        let best = (0..7)
            .map(|seed| {
                let start = Instant::now();
                black_box(mix(black_box(rounds), seed));
                start.elapsed().as_secs_f64()
            })
            .fold(f64::INFINITY, f64::min);
        Kernel { rounds_per_s: rounds as f64 / best.max(1e-9) }
    }

    /// Computes for as long as `cost` takes on an undisturbed processor.
    pub fn work(&self, cost: Duration) {
        let rounds = (cost.as_secs_f64() * self.rounds_per_s) as u64;
        black_box(mix(black_box(rounds), 1));
    }

    /// The same amount of work in `slices` of about `slice` each, calling `between` after each.
    /// For loops that have to let others have a turn.
    pub fn slices(
        &self,
        cost: Duration,
        slice: Duration,
    ) -> impl Iterator<Item = Duration> + use<> {
        let count = (cost.as_secs_f64() / slice.as_secs_f64().max(1e-6)).ceil().max(1.0) as u32;
        std::iter::repeat_n(cost / count, count as usize)
    }
}

/// Speed-up that the kernel gets on 1…`threads` threads of this machine: the *effective
/// parallelism*. A machine shared with others, or one with two threads a core, gives less than its
/// number of processors. Each entry is the best of `repeats`, interleaved.
pub fn effective_parallelism(
    kernel: Kernel,
    threads: usize,
    cost: Duration,
    repeats: usize,
) -> Vec<f64> {
    let mut fastest = vec![f64::INFINITY; threads];
    for _ in 0..repeats.max(1) {
        for (extra, best) in fastest.iter_mut().enumerate() {
            let barrier = std::sync::Barrier::new(extra + 2);
            let wall = std::thread::scope(|scope| {
                let handles: Vec<_> = (0..=extra)
                    .map(|_| {
                        scope.spawn(|| {
                            barrier.wait();
                            let start = Instant::now();
                            kernel.work(cost);
                            (start, Instant::now())
                        })
                    })
                    .collect();
                barrier.wait();
                let spans: Vec<_> = handles.into_iter().filter_map(|h| h.join().ok()).collect();
                let start = spans.iter().map(|s| s.0).min();
                let end = spans.iter().map(|s| s.1).max();
                start.zip(end).map_or(f64::INFINITY, |(s, e)| (e - s).as_secs_f64())
            });
            *best = best.min(wall);
        }
    }
    let single = fastest[0];
    fastest.iter().enumerate().map(|(i, wall)| (i + 1) as f64 * single / wall).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slices_add_up_to_the_whole() {
        let kernel = Kernel { rounds_per_s: 1e9 };
        for (cost, slice) in [(100, 2), (7, 2), (1, 5), (0, 1)] {
            let (cost, slice) = (Duration::from_millis(cost), Duration::from_millis(slice));
            let slices: Vec<_> = kernel.slices(cost, slice).collect();
            let sum: Duration = slices.iter().sum();
            assert!(cost.abs_diff(sum) < Duration::from_micros(1), "{cost:?} {slice:?} {sum:?}");
            assert!(slices.iter().all(|s| *s <= slice + Duration::from_nanos(1)));
        }
    }

    #[test]
    fn more_rounds_are_other_results() {
        assert_ne!(mix(10, 1), mix(11, 1));
    }
}
