//! What more processors give: the laws of Amdahl and Gustafson, and the makespan of equal jobs.

use super::is_amount;

/// Amdahl's speed-up for a fixed amount of work, `1 / ((1 − p) + p/n)` (G. M. Amdahl, 1967).
///
/// `parallel_fraction` `p` is the share of the one-processor time that can be spread, in `[0, 1]`;
/// `n` is the number of processors, which may be fractional (an effective width) or infinite (the
/// limit `1/(1 − p)`). `NaN` when `p` is outside `[0, 1]` or `n` is not above zero.
pub fn amdahl(parallel_fraction: f64, n: f64) -> f64 {
    if valid(parallel_fraction, n) {
        1.0 / ((1.0 - parallel_fraction) + parallel_fraction / n)
    } else {
        f64::NAN
    }
}

/// Gustafson's scaled speed-up, `(1 − p) + p·n` (J. L. Gustafson, 1988): the work grows with the
/// machine, so that the time stays the same.
///
/// `parallel_fraction` `p` is the share of the time *on the n processors* that is spent in the
/// parallel part, in `[0, 1]`; `n` is the number of processors. `NaN` when `p` is outside `[0, 1]`
/// or `n` is not above zero.
pub fn gustafson(parallel_fraction: f64, n: f64) -> f64 {
    if !valid(parallel_fraction, n) {
        f64::NAN
    } else if parallel_fraction == 0.0 {
        1.0 // also for infinite n, where 0·∞ would be NaN
    } else {
        (1.0 - parallel_fraction) + parallel_fraction * n
    }
}

fn valid(parallel_fraction: f64, n: f64) -> bool {
    (0.0..=1.0).contains(&parallel_fraction) && n > 0.0
}

/// The seconds in which `threads` threads finish `jobs` equal jobs of `cost_s` seconds each, on a
/// machine worth `width` undisturbed processors.
///
/// The jobs run in ⌈jobs/threads⌉ waves. A wave of `a` active threads takes `cost·max(1, a/width)`:
/// a thread never runs faster than one processor, and more threads than processors share them
/// evenly. All waves have `a = threads` but the last, which has what remains. `width` may be
/// fractional: a machine shared with others gives for instance 1.9 of its 2 cores. With a whole
/// `width = threads` this is the list-scheduling makespan ⌈jobs/threads⌉·cost (R. L. Graham, 1966).
///
/// Zero for no jobs; infinite when there are jobs but no threads or no width; `NaN` when `cost_s`
/// or `width` is negative or `NaN`.
pub fn makespan_equal_jobs(jobs: usize, cost_s: f64, threads: usize, width: f64) -> f64 {
    if !is_amount(cost_s) || !is_amount(width) {
        return f64::NAN;
    }
    if jobs == 0 {
        return 0.0;
    }
    if threads == 0 || width == 0.0 {
        return f64::INFINITY;
    }
    let wave = |active: usize| cost_s * (active as f64 / width).max(1.0);
    let full_waves = match jobs / threads {
        0 => 0.0, // not 0·wave, which would be NaN for an infinite cost
        waves => waves as f64 * wave(threads),
    };
    match jobs % threads {
        0 => full_waves,
        rest => full_waves + wave(rest),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn known_values() {
        assert!((amdahl(0.95, f64::INFINITY) - 20.0).abs() < 1e-9);
        assert!((amdahl(0.9, 10.0) - 1.0 / 0.19).abs() < 1e-12);
        assert!((gustafson(0.9, 10.0) - 9.1).abs() < 1e-12);
        // Four 5 s jobs: 20 s on one thread, 10 s on two, and 5 s more for a fifth.
        assert_eq!(makespan_equal_jobs(4, 5.0, 1, 2.0), 20.0);
        assert_eq!(makespan_equal_jobs(4, 5.0, 2, 2.0), 10.0);
        assert_eq!(makespan_equal_jobs(5, 5.0, 2, 2.0), 15.0);
        // Four threads on two processors: one wave at half speed; on 1.9, a little slower.
        assert_eq!(makespan_equal_jobs(4, 5.0, 4, 2.0), 10.0);
        assert!((makespan_equal_jobs(4, 5.0, 2, 1.9) - 20.0 / 1.9).abs() < 1e-12);
        // The last job of five is alone and has a whole processor.
        assert!((makespan_equal_jobs(5, 5.0, 2, 1.9) - (20.0 / 1.9 + 5.0)).abs() < 1e-12);
    }

    #[test]
    fn odd_input() {
        assert!(amdahl(1.1, 2.0).is_nan() && amdahl(0.5, 0.0).is_nan());
        assert!(gustafson(-0.1, 2.0).is_nan() && gustafson(0.5, f64::NAN).is_nan());
        assert_eq!(gustafson(0.0, f64::INFINITY), 1.0);
        assert_eq!(makespan_equal_jobs(0, 1.0, 0, 0.0), 0.0);
        assert_eq!(makespan_equal_jobs(1, 1.0, 0, 1.0), f64::INFINITY);
        assert_eq!(makespan_equal_jobs(1, f64::INFINITY, 2, 1.0), f64::INFINITY);
        assert!(makespan_equal_jobs(1, -1.0, 1, 1.0).is_nan());
        assert!(makespan_equal_jobs(usize::MAX, 1e300, 3, 1e-300).is_infinite());
    }

    proptest! {
        #[test]
        fn speed_ups_are_bounded(p in 0.0..=1.0f64, n in 1.0..1e6f64) {
            let (fixed, scaled) = (amdahl(p, n), gustafson(p, n));
            prop_assert!(fixed >= 1.0 - 1e-12 && fixed <= scaled * (1.0 + 1e-12));
            prop_assert!(scaled <= n * (1.0 + 1e-12));
            prop_assert!(fixed * (1.0 - p) <= 1.0 + 1e-12);
        }

        #[test]
        fn no_schedule_beats_work_over_width(
            jobs in 1usize..1000, threads in 1usize..64, width in 0.1..64f64,
        ) {
            let t = makespan_equal_jobs(jobs, 2.0, threads, width);
            prop_assert!(t >= 2.0 * (jobs as f64 / width).max(1.0) * (1.0 - 1e-12));
            prop_assert!(t >= makespan_equal_jobs(jobs - 1, 2.0, threads, width) - 1e-9);
            if width >= threads as f64 {
                prop_assert_eq!(t, jobs.div_ceil(threads) as f64 * 2.0);
            }
        }
    }
}
