//! Workers that wait and compute in turn, on a machine with fewer processors than workers: the
//! machine repairman (C. Palm, 1947; the closed network with one delay of P. J. Denning and
//! J. P. Buzen, 1978).

use super::is_amount;

/// The most workers computed.
pub const MAX_WORKERS: usize = 1_000_000;

/// So many workers, each of which waits, computes, waits again. Times in seconds.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Repairman {
    /// Workers, W.
    pub workers: usize,
    /// Mean time of a wait, w; waiting needs no processor.
    pub wait: f64,
    /// Mean time of a computation on a processor of its own, p.
    pub compute: f64,
}

impl Repairman {
    /// Items per second when both times are exponential and independent, exact.
    ///
    /// `width(n)` is what n computing workers get together, in processors. The number n of workers
    /// that compute or want to is a birth-death chain with rates `(W − n)/w` up and `width(n)/p`
    /// down. Computations being exponential, it does not matter in which order or slices the
    /// operating system serves them; for waits it would not matter either way (products of a closed
    /// network: Baskett, Chandy, Muntz, Palacios, 1975).
    ///
    /// Zero without workers; `NaN` when a time is negative or not finite, when both are zero, or
    /// with more than [`MAX_WORKERS`].
    pub fn throughput(&self, width: impl Fn(usize) -> f64) -> f64 {
        let Repairman { workers, wait, compute } = *self;
        let finite = |t: f64| is_amount(t) && t.is_finite();
        if !finite(wait) || !finite(compute) || wait + compute == 0.0 || workers > MAX_WORKERS {
            return f64::NAN;
        }
        if workers == 0 {
            return 0.0;
        }
        if compute == 0.0 {
            return workers as f64 / wait;
        }
        if wait == 0.0 {
            return width(workers) / compute;
        }
        // Weights relative to the largest so far, so that none overflows.
        let (mut weight, mut sum, mut busy) = (1.0f64, 1.0f64, 0.0f64);
        for n in 1..=workers {
            let w = width(n);
            weight *= (workers - n + 1) as f64 * compute / (wait * w);
            sum += weight;
            busy += weight * w;
            if weight > 1e200 {
                (weight, sum, busy) = (1.0, sum / weight, busy / weight);
            }
        }
        busy / sum / compute
    }

    /// What no order of events can exceed, `min(W/(w + p), P/p)`, with `processors` P = what all
    /// workers together get at most (Denning and Buzen, 1978). Constant times whose computations
    /// take turns reach it.
    pub fn bound(&self, processors: f64) -> f64 {
        (self.workers as f64 / (self.wait + self.compute)).min(processors / self.compute)
    }

    /// Workers at which the two bounds meet, `P·(1 + w/p)` (B. Goetz, *Java Concurrency in
    /// Practice*, 2006, for a utilisation of 1).
    pub fn knee(&self, processors: f64) -> f64 {
        processors * (1.0 + self.wait / self.compute)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::erlang::erlang_b;
    use proptest::prelude::*;

    fn on(processors: usize) -> impl Fn(usize) -> f64 {
        move |n| n.min(processors) as f64
    }

    fn workers(workers: usize, wait: f64, compute: f64) -> Repairman {
        Repairman { workers, wait, compute }
    }

    #[test]
    fn one_processor_is_erlangs_loss_formula() {
        // The idle share of one repairman with W machines is Erlang's B with W servers and a load
        // of wait/compute.
        for n in [1, 2, 5, 30, 500] {
            let x = workers(n, 3.0, 1.0).throughput(on(1));
            assert!((x - (1.0 - erlang_b(n, 3.0))).abs() < 1e-9, "{n}: {x}");
        }
    }

    #[test]
    fn by_hand() {
        // Two workers, one processor, both times 1: weights 1, 2, 2; busy 4/5.
        assert!((workers(2, 1.0, 1.0).throughput(on(1)) - 0.8).abs() < 1e-12);
        // As many processors as workers: nobody is in anybody's way.
        assert!((workers(4, 2.0, 1.0).throughput(on(4)) - 4.0 / 3.0).abs() < 1e-12);
        assert_eq!(workers(1, 2.0, 1.0).knee(2.0), 6.0);
    }

    #[test]
    fn odd_input() {
        assert_eq!(workers(0, 1.0, 1.0).throughput(on(1)), 0.0);
        assert_eq!(workers(3, 0.0, 0.5).throughput(on(2)), 4.0);
        assert_eq!(workers(3, 0.5, 0.0).throughput(on(2)), 6.0);
        assert!(workers(3, 0.0, 0.0).throughput(on(2)).is_nan());
        assert!(workers(3, -1.0, 1.0).throughput(on(2)).is_nan());
        assert!((workers(100_000, 1.0, 1.0).throughput(on(2)) - 2.0).abs() < 1e-9);
    }

    proptest! {
        #[test]
        fn below_the_bound_and_growing(n in 1usize..60, w in 0.01..10f64, p in 0.01..10f64, cpus in 1usize..9) {
            let now = workers(n, w, p);
            let x = now.throughput(on(cpus));
            prop_assert!(x <= now.bound(cpus as f64) * (1.0 + 1e-9));
            prop_assert!(x <= workers(n + 1, w, p).throughput(on(cpus)) * (1.0 + 1e-9));
            // The pessimistic bound: everybody computes at the same time, then everybody waits.
            prop_assert!(x >= n as f64 / (w + p * (n as f64 / cpus as f64).max(1.0)) * (1.0 - 1e-9));
        }
    }
}
