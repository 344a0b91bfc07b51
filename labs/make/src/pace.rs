//! Speed, held against two others on the same machine in the same minute.
//!
//! Learner, reference and a wrong way run one after another, in an order drawn anew each round. Of each round the
//! place of the learner between the two counts, in logarithms: 0 is half-way. It passes when that is clearly on the
//! reference's side, is rejected when it is clearly on the wrong side, and is measured on in between. A slow machine
//! is slow for all three.

use lab_kit::stats::{self, students_t};

/// Fewest rounds.
const FIRST: usize = 4;
/// Most rounds.
const MOST: usize = 16;
/// How often chance may decide: once in a thousand.
const CHANCE: f64 = 0.001;
/// The wrong way must be slower by this factor for anything to be told.
const APART: f64 = 1.25;

/// Whose program runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Whose {
    /// The learner's.
    Learner,
    /// The reference solution.
    Right,
    /// The known wrong way.
    Wrong,
}

/// What one round gave: a figure of which less is better, for each.
#[derive(Clone, Copy, Debug)]
pub struct Round {
    /// The learner's.
    pub learner: f64,
    /// The reference's.
    pub right: f64,
    /// The wrong way's.
    pub wrong: f64,
}

/// Which of the two the learner is nearer to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Nearer {
    /// The reference.
    Right,
    /// The wrong way.
    Wrong,
    /// It cannot be told yet.
    Unclear,
    /// The two are too close to each other to tell anything.
    Alike,
}

/// What all rounds say.
#[must_use]
pub fn nearer(rounds: &[Round]) -> Nearer {
    let places: Vec<f64> =
        rounds.iter().map(|r| r.learner.ln() - (r.right.ln() + r.wrong.ln()) / 2.0).collect();
    let apart: Vec<f64> = rounds.iter().map(|r| r.wrong.ln() - r.right.ln()).collect();
    let (Some((low, high)), Some((apart, _))) = (interval(&places), interval(&apart)) else {
        return Nearer::Unclear;
    };
    if apart < APART.ln() {
        Nearer::Alike
    } else if high < 0.0 {
        Nearer::Right
    } else if low > 0.0 {
        Nearer::Wrong
    } else {
        Nearer::Unclear
    }
}

/// Whether another round could help.
#[must_use]
pub fn goes_on(rounds: &[Round]) -> bool {
    let undecided = || matches!(nearer(rounds), Nearer::Unclear | Nearer::Alike);
    rounds.len() < FIRST || (rounds.len() < MOST && undecided())
}

/// Mean and chance; none without a spread to go by.
fn interval(values: &[f64]) -> Option<(f64, f64)> {
    if values.len() < FIRST || values.iter().any(|v| !v.is_finite()) {
        return None;
    }
    let mean = stats::mean(values);
    let n = values.len() as f64;
    let half = students_t(n - 1.0, CHANCE) * stats::deviation(values) / n.sqrt();
    Some((mean - half, mean + half))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn rounds(learner: &[f64], right: f64, wrong: f64) -> Vec<Round> {
        learner.iter().map(|&learner| Round { learner, right, wrong }).collect()
    }

    #[test]
    fn the_nearer_one_is_told() {
        assert_eq!(nearer(&rounds(&[1.0, 1.1, 1.05, 0.9], 1.0, 4.0)), Nearer::Right);
        assert_eq!(nearer(&rounds(&[4.0, 3.9, 4.1, 3.8], 1.0, 4.0)), Nearer::Wrong);
        assert_eq!(nearer(&rounds(&[1.0, 4.0, 1.0, 4.0], 1.0, 4.0)), Nearer::Unclear);
        assert_eq!(nearer(&rounds(&[1.0, 1.0, 1.0, 1.1], 1.0, 1.1)), Nearer::Alike);
        assert_eq!(nearer(&rounds(&[1.0, 1.0, 1.0], 1.0, 4.0)), Nearer::Unclear);
        assert!(!goes_on(&rounds(&[1.0; 4], 1.0, 4.0)));
        assert!(goes_on(&rounds(&[1.0, 4.0, 1.0, 4.0], 1.0, 4.0)));
    }

    proptest! {
        /// A machine that is slower by any factor, for all three, changes nothing.
        #[test]
        fn slowness_is_no_fault(
            noise in prop::collection::vec(0.8f64..1.25, 4..12),
            slow in 0.01f64..100.0,
        ) {
            let plain = rounds(&noise, 1.0, 4.0);
            let slowed: Vec<Round> = plain
                .iter()
                .map(|r| Round { learner: r.learner * slow, right: r.right * slow, wrong: r.wrong * slow })
                .collect();
            prop_assert_eq!(nearer(&plain), nearer(&slowed));
            prop_assert_ne!(nearer(&plain), Nearer::Wrong);
        }
    }
}
