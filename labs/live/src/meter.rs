//! From counts to what is shown: rates over the latest second, shares of time, the latest half
//! minute. Times are seconds since the run began; no clock is read here.

use std::collections::VecDeque;

/// Counts that only grow, looked at from time to time; says how fast they grow.
#[derive(Clone, Debug)]
pub struct Rates<const N: usize> {
    window: f64,
    seen: VecDeque<(f64, [f64; N])>,
}

impl<const N: usize> Rates<N> {
    /// Rates over the latest `window` seconds. All counts are 0 at time 0.
    pub fn over(window: f64) -> Self {
        Rates { window, seen: VecDeque::from([(0.0, [0.0; N])]) }
    }

    /// The counts at `now`; returns how much they grew a second within the window (or since the
    /// beginning, while that is shorter). Counts of different age are interpolated.
    pub fn at(&mut self, now: f64, counts: [f64; N]) -> [f64; N] {
        self.seen.push_back((now, counts));
        let from = (now - self.window).max(0.0);
        while self.seen.len() > 2 && self.seen[1].0 <= from {
            self.seen.pop_front();
        }
        let ((t0, c0), (t1, c1)) = (self.seen[0], self.seen[1]);
        let share = if t1 > t0 { ((from - t0) / (t1 - t0)).clamp(0.0, 1.0) } else { 0.0 };
        let span = now - from;
        std::array::from_fn(|i| {
            let then = c0[i] + share * (c1[i] - c0[i]);
            if span > 0.0 { (counts[i] - then) / span } else { 0.0 }
        })
    }
}

/// How many are at something, and for how long in all.
#[derive(Clone, Copy, Debug, Default)]
pub struct Busy {
    /// How many are at it now.
    pub now: usize,
    since: f64,
    area: f64,
}

impl Busy {
    /// One more from `now` on.
    pub fn begin(&mut self, now: f64) {
        self.area = self.total(now);
        self.since = now;
        self.now += 1;
    }

    /// One less from `now` on.
    pub fn end(&mut self, now: f64) {
        self.area = self.total(now);
        self.since = now;
        self.now = self.now.saturating_sub(1);
    }

    /// Seconds that all together have been at it, up to `now`.
    pub fn total(&self, now: f64) -> f64 {
        self.area + self.now as f64 * (now - self.since).max(0.0)
    }
}

/// The latest half minute of something, each with its time.
#[derive(Clone, Debug)]
pub struct History<T> {
    span: f64,
    kept: VecDeque<(f64, T)>,
}

impl<T: Copy> History<T> {
    /// The latest `span` seconds.
    pub fn of(span: f64) -> Self {
        History { span, kept: VecDeque::new() }
    }

    /// Adds what is true at `now`, and forgets what is too old but for one, where the line enters.
    pub fn push(&mut self, now: f64, value: T) {
        self.kept.push_back((now, value));
        while self.kept.len() > 1 && self.kept[1].0 < now - self.span {
            self.kept.pop_front();
        }
    }

    /// Changes the latest value.
    pub fn amend(&mut self, value: T) {
        if let Some((_, latest)) = self.kept.back_mut() {
            *latest = value;
        }
    }

    /// Time and value, oldest first.
    pub fn iter(&self) -> impl DoubleEndedIterator<Item = (f64, T)> + '_ {
        self.kept.iter().copied()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_rate_is_that_of_the_window() {
        let mut rates = Rates::<1>::over(1.0);
        assert_eq!(rates.at(0.0, [0.0]), [0.0]);
        // From the beginning, while the window is longer.
        assert!((rates.at(0.5, [50.0])[0] - 100.0).abs() < 1e-9);
        // 50 in the first half second, none later: half of the window is left at 1.25 − 0.25.
        assert!((rates.at(1.25, [50.0])[0] - 25.0).abs() < 1e-9);
        assert!(rates.at(3.0, [50.0])[0].abs() < 1e-9);
    }

    proptest! {
        #[test]
        fn steady_growth_has_its_rate_whenever_one_looks(rate in 0.0..1e4f64, gaps in prop::collection::vec(0.001..0.4f64, 1..60)) {
            let mut rates = Rates::<1>::over(1.0);
            let mut now = 0.0;
            for gap in gaps {
                now += gap;
                let [got] = rates.at(now, [rate * now]);
                prop_assert!((got - rate).abs() <= 1e-6 * rate.max(1.0), "{got} {rate}");
            }
            prop_assert!(rates.seen.len() < 1100);
        }
    }

    #[test]
    fn time_is_added_up_for_each() {
        let mut busy = Busy::default();
        busy.begin(1.0);
        busy.begin(2.0);
        assert_eq!((busy.now, busy.total(3.0)), (2, 3.0));
        busy.end(3.0);
        busy.end(3.0);
        assert_eq!((busy.now, busy.total(9.0)), (0, 3.0));
        busy.end(9.0);
        assert_eq!(busy.now, 0);
    }

    #[test]
    fn what_is_too_old_goes_but_for_one() {
        let mut history = History::of(2.0);
        for t in 0..10 {
            history.push(f64::from(t), t);
        }
        let kept: Vec<_> = history.iter().map(|(_, v)| v).collect();
        assert_eq!(kept, [6, 7, 8, 9]);
    }
}
