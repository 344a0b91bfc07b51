//! Stages in a row, each with its own workers: how long n items take, and which stage decides.
//!
//! Service times are constant, all items are there at the start, and the queues between stages are
//! long enough never to stop a worker. Random service times, or queues of a place or two, only make
//! it slower.

use super::is_amount;

/// One stage of a [`Pipeline`].
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Stage {
    /// Seconds one worker needs for one item, s.
    pub service: f64,
    /// Workers, w: the items the stage can work on at once. A stage without workers lets nothing
    /// through.
    pub width: usize,
}

impl Stage {
    /// A stage of `width` workers that compute on `processors` effective processors (which may be
    /// fractional): with more workers than processors all of them slow down alike, to a service
    /// time of `service·width/processors`.
    pub fn on_processors(service: f64, width: usize, processors: f64) -> Self {
        Self { service: service * (width as f64 / processors).max(1.0), width }
    }

    /// Items per second with all workers busy, `w/s`. Infinite when an item takes no time; `NaN`
    /// when the service time is negative or `NaN`.
    pub fn rate(&self) -> f64 {
        if !is_amount(self.service) {
            f64::NAN
        } else if self.width == 0 {
            0.0
        } else {
            self.width as f64 / self.service
        }
    }
}

/// Stages in a row.
///
/// Times are `NaN` when a service time is negative or `NaN`, and infinite when there are items and
/// a stage has no workers. A pipeline without stages takes no time.
#[derive(Debug, Clone, PartialEq)]
pub struct Pipeline {
    /// The stages, first to last.
    pub stages: Vec<Stage>,
}

impl Pipeline {
    /// A pipeline of `(service seconds, width)` stages.
    pub fn new(stages: &[(f64, usize)]) -> Self {
        let stages = stages.iter().map(|&(service, width)| Stage { service, width }).collect();
        Self { stages }
    }

    /// Seconds until the first item is through, the sum of the service times.
    pub fn fill(&self) -> f64 {
        self.stages.iter().map(|s| if is_amount(s.service) { s.service } else { f64::NAN }).sum()
    }

    /// The index of the stage with the lowest rate (the first of equals); `None` without stages or
    /// when a service time is negative or `NaN`.
    ///
    /// It is the rate `w/s` that decides, not the service time: the slowest stage may have workers
    /// enough.
    pub fn bottleneck(&self) -> Option<usize> {
        let rates: Vec<_> = self.stages.iter().map(Stage::rate).collect();
        if rates.iter().any(|rate| rate.is_nan()) {
            return None;
        }
        (0..rates.len()).min_by(|&i, &j| rates[i].total_cmp(&rates[j]))
    }

    /// Items per second in the long run, `min(w/s)`. Infinite without stages; `NaN` when a service
    /// time is negative or `NaN`.
    pub fn throughput(&self) -> f64 {
        match self.bottleneck() {
            Some(stage) => self.stages[stage].rate(),
            None if self.stages.is_empty() => f64::INFINITY,
            None => f64::NAN,
        }
    }

    /// The share of each stage's workers that is busy in the long run, `throughput·s/w`: 1 at the
    /// bottleneck. `NaN` for a stage without workers, and throughout when nothing takes time.
    pub fn utilisation(&self) -> Vec<f64> {
        let throughput = self.throughput();
        self.stages.iter().map(|s| throughput * s.service / s.width as f64).collect()
    }

    /// The share of each stage's workers that is busy over a run of `n` items, fill and drain
    /// included: `n·s / (w·makespan)`, what a measurement of a whole run should show.
    pub fn utilisation_over(&self, n: usize) -> Vec<f64> {
        let makespan = self.makespan(n);
        self.stages.iter().map(|s| n as f64 * s.service / (s.width as f64 * makespan)).collect()
    }

    /// Seconds for `n` items with all stages at work at once: exact for constant service times.
    ///
    /// Item i leaves stage j at `D(j, i) = s + max(D(j−1, i), D(j, i−w))`. Unrolled, the makespan
    /// is the costliest way from the first item to the last, `fill + max Σ mⱼ·sⱼ` over whole `mⱼ ≥
    /// 0` with `Σ mⱼ·wⱼ ≤ n − 1`: a knapsack. With widths of 1 it is `fill + (n − 1)·s` of the
    /// slowest stage (the permutation flow shop of S. M. Johnson, 1954); in general it lies between
    /// `fill + ⌊(n − 1)/w⌋·s` of the bottleneck and [`Pipeline::estimate`].
    ///
    /// Beyond a million items the bottleneck is taken to fill the difference, which is still exact
    /// as long as no two widths multiply to more than half a million.
    pub fn makespan(&self, n: usize) -> f64 {
        const EXACT: usize = 1_000_000;
        if let Some(time) = self.trivial(n) {
            return time;
        }
        let Some(bottleneck) = self.bottleneck().map(|stage| self.stages[stage]) else {
            return f64::NAN;
        };
        let skipped = (n - 1).saturating_sub(EXACT).div_ceil(bottleneck.width);
        let rest = (n - 1).saturating_sub(skipped.saturating_mul(bottleneck.width));
        let mut most = vec![0.0f64; rest + 1];
        for items in 1..=rest {
            most[items] = self.stages.iter().fold(0.0, |best, s| {
                if s.width <= items {
                    f64::max(best, most[items - s.width] + s.service)
                } else {
                    best
                }
            });
        }
        let skipped_s = if skipped == 0 { 0.0 } else { skipped as f64 * bottleneck.service };
        self.fill() + most[rest] + skipped_s
    }

    /// The rule of thumb, `fill + (n − 1)/throughput` seconds: never below [`Pipeline::makespan`],
    /// and above it by less than one service time of the bottleneck.
    pub fn estimate(&self, n: usize) -> f64 {
        self.trivial(n).unwrap_or_else(|| match n {
            1 => self.fill(), // not 0/0 when nothing takes time
            _ => self.fill() + (n - 1) as f64 / self.throughput(),
        })
    }

    /// Seconds for `n` items one after another, each through all stages: `n·fill`.
    pub fn sequential(&self, n: usize) -> f64 {
        self.trivial(n).unwrap_or_else(|| n as f64 * self.fill())
    }

    /// Seconds for `n` items when each stage finishes them all before the next one starts:
    /// `Σ ⌈n/w⌉·s`.
    pub fn phased(&self, n: usize) -> f64 {
        self.trivial(n).unwrap_or_else(|| {
            self.stages.iter().map(|s| n.div_ceil(s.width) as f64 * s.service).sum()
        })
    }

    /// Seconds for `n` items in batches of `batch` (0 counts as 1), each batch in phases and done
    /// before the next one starts: `⌊n/b⌋·phased(b) + phased(n mod b)`.
    pub fn batched(&self, n: usize, batch: usize) -> f64 {
        let batch = batch.max(1);
        let whole = match n / batch {
            0 => 0.0, // not 0·∞
            batches => batches as f64 * self.phased(batch),
        };
        whole + self.phased(n % batch)
    }

    /// The cases that need no formula: meaningless times, no items, no stages, no workers.
    fn trivial(&self, n: usize) -> Option<f64> {
        if self.fill().is_nan() {
            Some(f64::NAN)
        } else if n == 0 || self.stages.is_empty() {
            Some(0.0)
        } else if self.stages.iter().any(|s| s.width == 0) {
            Some(f64::INFINITY)
        } else {
            None
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::num::f64::ANY;
    use proptest::prelude::*;

    #[test]
    fn thirty_items() {
        let narrow = Pipeline::new(&[(0.05, 1), (0.1, 1), (0.02, 1)]);
        assert!((narrow.sequential(30) - 5.1).abs() < 1e-12);
        assert!((narrow.makespan(30) - 3.07).abs() < 1e-12);
        assert!((narrow.estimate(30) - 3.07).abs() < 1e-12);
        assert_eq!(narrow.bottleneck(), Some(1));
        assert!((narrow.throughput() - 10.0).abs() < 1e-12);
        let wide = Pipeline::new(&[(0.05, 5), (0.1, 4), (0.02, 2)]);
        assert!((wide.phased(30) - (0.3 + 0.8 + 0.3)).abs() < 1e-12);
        assert!((wide.batched(30, 10) - 3.0 * (0.1 + 0.3 + 0.1)).abs() < 1e-12);
        // The longest service is not the bottleneck when it has workers enough.
        assert_eq!(Pipeline::new(&[(0.1, 10), (0.5, 4), (0.2, 1)]).bottleneck(), Some(2));
        let busy = wide.utilisation();
        assert!((busy[1] - 1.0).abs() < 1e-12 && (busy[0] - 0.4).abs() < 1e-12);
    }

    #[test]
    fn processors_shared() {
        assert_eq!(Stage::on_processors(0.1, 4, 2.0).rate(), 20.0);
        assert_eq!(Stage::on_processors(0.1, 1, 2.0).service, 0.1);
    }

    #[test]
    fn odd_input() {
        let empty = Pipeline::new(&[]);
        assert_eq!((empty.makespan(9), empty.bottleneck(), empty.fill()), (0.0, None, 0.0));
        let blocked = Pipeline::new(&[(0.1, 1), (0.1, 0)]);
        assert_eq!((blocked.makespan(1), blocked.phased(1)), (f64::INFINITY, f64::INFINITY));
        assert_eq!((blocked.makespan(0), blocked.throughput()), (0.0, 0.0));
        for bad in [-1.0, f64::NAN] {
            let p = Pipeline::new(&[(0.1, 1), (bad, 1)]);
            assert!(p.fill().is_nan() && p.makespan(3).is_nan() && p.batched(3, 2).is_nan());
            assert!(p.throughput().is_nan() && p.bottleneck().is_none());
        }
        let instant = Pipeline::new(&[(0.0, 1), (0.0, 3)]);
        assert_eq!((instant.makespan(5), instant.estimate(1), instant.phased(5)), (0.0, 0.0, 0.0));
        let huge = Pipeline::new(&[(1.0, usize::MAX), (f64::INFINITY, 2)]);
        assert_eq!(huge.makespan(usize::MAX), f64::INFINITY);
        assert_eq!(huge.batched(1, usize::MAX), f64::INFINITY);
        let wide = Pipeline::new(&[(1.0, usize::MAX), (3.0, usize::MAX / 2)]);
        assert!((4.0..=10.0).contains(&wide.makespan(usize::MAX)));
    }

    #[test]
    fn millions_of_items_are_quick_and_exact() {
        let p = Pipeline::new(&[(0.3, 7), (0.2, 4), (0.05, 3)]);
        // Whole periods of the bottleneck (4 items in 0.2 s) may be added to any long run.
        let (n, periods) = (900_000, 1_000_000);
        let expected = p.makespan(n) + periods as f64 * 0.2;
        assert!((p.makespan(n + 4 * periods) / expected - 1.0).abs() < 1e-9);
    }

    /// The definition, item by item.
    fn simulate(p: &Pipeline, n: usize) -> f64 {
        let mut ready = vec![0.0f64; n];
        for stage in &p.stages {
            for i in 0..n {
                let free = if i >= stage.width { ready[i - stage.width] } else { 0.0 };
                ready[i] = ready[i].max(free) + stage.service;
            }
        }
        ready.last().copied().unwrap_or(0.0)
    }

    proptest! {
        #[test]
        fn exact_for_constant_service(
            stages in prop::collection::vec((0.001..1f64, 1usize..9), 1..5), n in 1usize..200,
        ) {
            let p = Pipeline::new(&stages);
            let t = p.makespan(n);
            prop_assert!((t - simulate(&p, n)).abs() < 1e-9 * t);
            let slow = p.stages[p.bottleneck().unwrap()];
            prop_assert!(t <= p.estimate(n) * (1.0 + 1e-9));
            prop_assert!(t >= p.fill() + ((n - 1) / slow.width) as f64 * slow.service - 1e-9);
            // Overlap never loses to phases, phases never to one after another.
            prop_assert!(t <= p.phased(n) * (1.0 + 1e-9));
            prop_assert!(p.phased(n) <= p.sequential(n) * (1.0 + 1e-9));
            prop_assert!(p.phased(n) <= p.batched(n, 5) * (1.0 + 1e-9));
            for (long_run, whole) in p.utilisation().iter().zip(p.utilisation_over(n)) {
                prop_assert!(*long_run <= 1.0 + 1e-9 && whole <= 1.0 + 1e-9);
            }
            prop_assert!(t > p.estimate(n) - slow.service - 1e-9);
        }

        #[test]
        fn widening_another_stage_changes_nothing_in_the_long_run(
            stages in prop::collection::vec((0.001..1f64, 1usize..9), 2..5),
            pick in any::<prop::sample::Index>(),
        ) {
            let p = Pipeline::new(&stages);
            let i = pick.index(stages.len());
            let mut wider = p.clone();
            wider.stages[i].width *= 2;
            if Some(i) == p.bottleneck() {
                prop_assert!(wider.throughput() >= p.throughput());
            } else {
                prop_assert_eq!(wider.throughput(), p.throughput());
            }
        }

        #[test]
        fn never_panics(
            stages in prop::collection::vec((ANY, any::<usize>()), 0..4),
            n in 0usize..1000,
        ) {
            let p = Pipeline::new(&stages);
            let _ = (p.estimate(n), p.sequential(n), p.phased(n), p.batched(n, n / 2));
            let _ = (p.makespan(n), p.utilisation_over(n), p.utilisation(), p.bottleneck());
        }
    }
}
