//! Requests that are now and then slow, the slowest of several, and a second request sent to those
//! that are late (J. Dean and L. A. Barroso, "The Tail at Scale", 2013).

use super::is_amount;

/// The times that something takes, each with its probability.
#[derive(Debug, Clone, PartialEq)]
pub struct Times(Vec<(f64, f64)>);

impl Times {
    /// Times in seconds with their probabilities, in any order. Probabilities are scaled to add up
    /// to 1; what is negative or `NaN` is left out.
    pub fn new(times: impl IntoIterator<Item = (f64, f64)>) -> Times {
        let valid = |(time, p): &(f64, f64)| is_amount(*time) && *p > 0.0 && p.is_finite();
        let mut times: Vec<(f64, f64)> = times.into_iter().filter(valid).collect();
        times.sort_by(|a, b| a.0.total_cmp(&b.0));
        times.dedup_by(|later, kept| {
            let same = later.0 == kept.0;
            if same {
                kept.1 += later.1;
            }
            same
        });
        let sum: f64 = times.iter().map(|(_, p)| p).sum();
        times.iter_mut().for_each(|(_, p)| *p /= sum);
        Times(times)
    }

    /// Usually `usual` seconds, and `slow` for a share of the requests.
    pub fn with_tail(usual: f64, slow: f64, share: f64) -> Times {
        Times::new([(usual, 1.0 - share), (slow, share)])
    }

    /// The times with their probabilities, ascending.
    pub fn each(&self) -> &[(f64, f64)] {
        &self.0
    }

    /// The share that takes longer than this.
    pub fn later_than(&self, time: f64) -> f64 {
        let later = self.0.iter().filter(|(t, _)| *t > time);
        later.map(|(_, p)| p).sum()
    }

    /// The time within which a share of `q` is done; `NaN` without times.
    pub fn quantile(&self, q: f64) -> f64 {
        let mut sum = 0.0;
        let reached = self.0.iter().find(|(_, p)| {
            sum += p;
            sum >= q - 1e-12
        });
        reached.or(self.0.last()).map_or(f64::NAN, |(t, _)| *t)
    }

    /// The mean; 0 without times.
    pub fn mean(&self) -> f64 {
        self.0.iter().map(|(t, p)| t * p).sum()
    }

    /// Of two that are independent, the time that `f` makes of both.
    fn combine(&self, other: &Times, f: impl Fn(f64, f64) -> f64) -> Times {
        let pairs = self.0.iter().flat_map(|a| other.0.iter().map(move |b| (a, b)));
        Times::new(pairs.map(|(a, b)| (f(a.0, b.0), a.1 * b.1)))
    }

    /// With a second, independent request sent to whatever takes longer than `after`, and the first
    /// answer taken: `min(S₁, after + S₂)`. Sent to a share of [`Times::later_than`]`(after)`.
    pub fn hedged(&self, after: f64) -> Times {
        self.combine(self, |first, second| first.min(after + second))
    }

    /// The slowest of `n` independent ones: who needs all of them waits for this. At most 64.
    pub fn slowest_of(&self, n: usize) -> Times {
        (1..n.min(64)).fold(self.clone(), |all, _| all.combine(self, f64::max))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn one_in_ten() {
        let one = Times::with_tail(0.02, 0.1, 0.1);
        let hedged = one.hedged(0.03);
        assert_eq!(hedged.each().len(), 3);
        assert!((hedged.later_than(0.07) - 0.01).abs() < 1e-12);
        assert!((hedged.quantile(0.95) - 0.05).abs() < 1e-12);
        assert!((one.later_than(0.03) - 0.1).abs() < 1e-12);
        let three = one.slowest_of(3);
        assert!((three.later_than(0.05) - (1.0 - 0.9f64.powi(3))).abs() < 1e-12);
        assert_eq!(three.quantile(0.5), 0.02);
        assert!((one.mean() - 0.028).abs() < 1e-12);
    }

    #[test]
    fn odd_input() {
        let none = Times::new([(f64::NAN, 1.0), (1.0, 0.0), (-1.0, 1.0)]);
        assert!(none.quantile(0.5).is_nan() && none.later_than(0.0) == 0.0);
        assert!(none.hedged(1.0).each().is_empty() && none.slowest_of(3).each().is_empty());
        let never = Times::with_tail(0.02, 0.1, 0.0);
        assert_eq!(never.hedged(0.01), never);
    }

    proptest! {
        #[test]
        fn a_hedge_multiplies_tails_and_never_slows(
            times in prop::collection::vec((0.001..1f64, 0.01..1f64), 1..5),
            after in 0.0..1f64, x in 0.0..2f64,
        ) {
            let one = Times::new(times);
            let hedged = one.hedged(after);
            prop_assert!((hedged.each().iter().map(|(_, p)| p).sum::<f64>() - 1.0).abs() < 1e-9);
            // P(min(S1, h + S2) > x) = P(S1 > x)·P(S2 > x − h).
            let product = one.later_than(x) * if x < after { 1.0 } else { one.later_than(x - after) };
            prop_assert!((hedged.later_than(x) - product).abs() < 1e-9);
            prop_assert!(hedged.mean() <= one.mean() + 1e-9);
        }

        #[test]
        fn the_slowest_of_n_has_the_nth_power(
            times in prop::collection::vec((0.001..1f64, 0.01..1f64), 1..5),
            n in 1usize..6, x in 0.0..1f64,
        ) {
            let one = Times::new(times);
            let power = 1.0 - (1.0 - one.later_than(x)).powi(n as i32);
            prop_assert!((one.slowest_of(n).later_than(x) - power).abs() < 1e-9);
        }
    }
}
