//! One event loop that computes between its waits: how long n items take.
//!
//! The usual guess is the larger of two times, that of the fetches and that of the computing. It
//! is wrong by up to a factor of two, since a loop that computes begins nothing: the requests that
//! follow those which have just been answered are sent when the last of these has been computed,
//! and then nothing is there to compute until they come back. What begins together stays together,
//! and the times *add*.

use std::collections::VecDeque;

use super::is_amount;

/// Seconds until `n` items have been fetched and computed on one event loop.
///
/// At most `fetches` are between the beginning of their fetch, which takes `fetch_s`, and the end
/// of their computing, which takes `work_s` on the loop's only thread. A turn of the loop computes
/// every item that has arrived, one after another, and only then begins as many new fetches.
/// Answers of fetches begun together arrive `apart_s` after one another.
///
/// With `apart_s = 0` all go in lockstep and it is the sum `⌈n/fetches⌉·fetch + n·work`. Otherwise
/// the first to arrive is computed alone and thereby leads the others by its own time, so that the
/// lockstep loosens by one item a turn: between that sum and the bound `max(n·work + fetch,
/// ⌈n/fetches⌉·(fetch + work))`.
///
/// Zero for no items, infinite when none may be fetched, `NaN` when a time is negative or `NaN`.
pub fn compute_on_loop(n: usize, fetches: usize, fetch_s: f64, work_s: f64, apart_s: f64) -> f64 {
    if !is_amount(fetch_s) || !is_amount(work_s) || !is_amount(apart_s) {
        return f64::NAN;
    }
    if n == 0 {
        return 0.0;
    }
    if fetches == 0 {
        return f64::INFINITY;
    }
    let mut arrivals: VecDeque<f64> = VecDeque::new();
    let (mut now, mut last, mut begun) = (0.0_f64, 0.0_f64, 0);
    let mut room = fetches;
    loop {
        for i in 0..room.min(n - begun) {
            // Two answers never arrive at the same instant, unless they are not apart at all.
            last = (now + fetch_s + i as f64 * apart_s).max(last + apart_s);
            arrivals.push_back(last);
            begun += 1;
        }
        let Some(first) = arrivals.front() else {
            return now;
        };
        now = now.max(*first);
        room = arrivals.iter().take_while(|at| **at <= now).count();
        arrivals.drain(..room);
        now += room as f64 * work_s;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn in_lockstep_the_times_add() {
        assert!((compute_on_loop(20, 10, 0.02, 0.002, 0.0) - 0.08).abs() < 1e-12);
        // The first one leads: 20–22 alone, the others to 40; it comes back at 42, they at 60.
        let loosened = compute_on_loop(20, 10, 0.02, 0.002, 1e-9);
        assert!((loosened - 0.078).abs() < 1e-6, "{loosened}");
        // When an item's computing is as long as a fetch, one leader is enough to fill the gaps.
        let busy = compute_on_loop(20, 10, 0.02, 0.02, 1e-9);
        assert!((busy - 0.42).abs() < 1e-6, "{busy}");
    }

    #[test]
    fn odd_input() {
        assert_eq!(compute_on_loop(0, 0, 1.0, 1.0, 0.0), 0.0);
        assert_eq!(compute_on_loop(1, 0, 1.0, 1.0, 0.0), f64::INFINITY);
        assert!(compute_on_loop(1, 1, -1.0, 1.0, 0.0).is_nan());
        assert!(compute_on_loop(3, 2, f64::INFINITY, 1.0, 0.0).is_infinite());
        assert_eq!(compute_on_loop(5, 2, 0.0, 0.0, 0.0), 0.0);
    }

    proptest! {
        #[test]
        fn between_the_larger_time_and_the_sum(
            n in 1usize..200, c in 1usize..30, f in 0.001..1.0f64, p in 0.0..1.0f64, share in 0.0..1.0f64,
        ) {
            let t = compute_on_loop(n, c, f, p, share * 1e-6);
            let waves = n.div_ceil(c) as f64;
            let (low, sum) = (f64::max(n as f64 * p + f, waves * (f + p)), waves * f + n as f64 * p);
            prop_assert!(t >= low * (1.0 - 1e-9), "{t} {low}");
            // The answers' distances come on top.
            prop_assert!(t <= sum + n as f64 * 1e-6 + 1e-9, "{t} {sum}");
            prop_assert!((compute_on_loop(n, c, f, p, 0.0) - sum).abs() < 1e-9 * sum);
        }
    }
}
