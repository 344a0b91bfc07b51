//! What to conclude from pairs of times and from counts of instructions. Nothing here measures.

use lab_kit::stats::median_with_interval;
use serde::Serialize;

/// Fewest pairs that decide anything: from so many on the median has a bootstrap interval.
pub const FEWEST: usize = lab_kit::stats::BOOTSTRAP_FROM;

/// What became of the cost of a case.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Verdict {
    /// The whole interval of the ratio lies below the margin.
    Improved,
    /// The interval does not reach the upper margin: the case is not slower by as much.
    Ok,
    /// The interval reaches across the upper margin, or there is none.
    Uncertain,
    /// The whole interval lies above the margin.
    Regressed,
}

impl Verdict {
    /// As it is printed.
    pub fn word(self) -> &'static str {
        match self {
            Verdict::Improved => "improved",
            Verdict::Ok => "ok",
            Verdict::Uncertain => "uncertain",
            Verdict::Regressed => "regressed",
        }
    }

    /// Nothing has to be measured a second time.
    pub fn passes(self) -> bool {
        matches!(self, Verdict::Improved | Verdict::Ok)
    }
}

/// How long the present takes, over how long the base takes.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Ratio {
    /// The median over independent pairs.
    pub median: f64,
    /// Its 95 % bootstrap interval.
    pub ci95: (f64, f64),
}

impl Ratio {
    /// From the logarithms of the ratios of independent pairs: in logarithms twice as slow and twice
    /// as fast are equally far from one. `None` with fewer than [`FEWEST`] finite ones.
    pub fn of(logarithms: &[f64]) -> Option<Ratio> {
        let (median, (low, high)) = median_with_interval(logarithms)?;
        Some(Ratio { median: median.exp(), ci95: (low.exp(), high.exp()) })
    }

    /// The same with the base and the present exchanged.
    pub fn inverted(self) -> Ratio {
        let (low, high) = self.ci95;
        Ratio { median: 1.0 / self.median, ci95: (1.0 / high, 1.0 / low) }
    }
}

/// Judges a ratio. `margin` is the slowdown that is let pass: 0.05 for 5 %.
///
/// A gate must not cry wolf: only an interval that lies beyond the margin as a whole is a regression,
/// and only when a second measurement finds it as well. It must not sleep: an interval that reaches
/// across is no pass but a reason to measure again.
pub fn judge(ratio: Option<Ratio>, margin: f64) -> Verdict {
    let Some(Ratio { ci95, .. }) = ratio else {
        return Verdict::Uncertain;
    };
    let border = 1.0 + margin;
    match ci95 {
        (low, _) if low > border => Verdict::Regressed,
        (_, high) if high < 1.0 / border => Verdict::Improved,
        (_, high) if high <= border => Verdict::Ok,
        _ => Verdict::Uncertain,
    }
}

/// What became of the instructions of a case.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Count {
    /// Within the margin.
    Same,
    /// Fewer than were committed: good, and a reason to commit the new count.
    Fewer,
    /// More than were committed.
    More,
    /// More than were committed, but as many as the base takes here: the machine is another, not the
    /// code.
    Elsewhere,
    /// There is nothing to hold it against.
    New,
}

impl Count {
    /// As it is printed.
    pub fn word(self) -> &'static str {
        match self {
            Count::Same => "same",
            Count::Fewer => "fewer",
            Count::More => "more",
            Count::Elsewhere => "other machine",
            Count::New => "new",
        }
    }
}

/// Judges a count of instructions against the committed one, and where that is exceeded against the
/// count of the base on this very machine. `margin` is a share: 0.01 for 1 %.
pub fn judge_count(
    present: u64,
    committed: Option<u64>,
    base_here: Option<u64>,
    margin: f64,
) -> Count {
    let over = |reference: u64| present as f64 > reference as f64 * (1.0 + margin);
    let under = |reference: u64| (present as f64) < reference as f64 * (1.0 - margin);
    match (committed, base_here) {
        (None, None) => Count::New,
        (Some(committed), Some(base)) if over(committed) && !over(base) => Count::Elsewhere,
        (Some(reference), _) | (None, Some(reference)) if over(reference) => Count::More,
        (Some(reference), _) | (None, Some(reference)) if under(reference) => Count::Fewer,
        _ => Count::Same,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use rand::{RngExt, SeedableRng};
    use rand_distr::StandardNormal;
    use rand_pcg::Pcg64Mcg;

    use super::*;

    const MARGIN: f64 = 0.05;

    fn verdict(logarithms: &[f64]) -> Verdict {
        judge(Ratio::of(logarithms), MARGIN)
    }

    #[test]
    fn too_few_pairs_decide_nothing() {
        assert_eq!(verdict(&[]), Verdict::Uncertain);
        assert_eq!(verdict(&[1.0; FEWEST - 1]), Verdict::Uncertain);
        assert_eq!(verdict(&[1.0; FEWEST]), Verdict::Regressed);
        assert_eq!(verdict(&[f64::NAN; 40]), Verdict::Uncertain);
    }

    #[test]
    fn exact_ratios_are_judged_by_the_margin() {
        for (ratio, expected) in [
            (0.90, Verdict::Improved),
            (0.96, Verdict::Ok),
            (1.04, Verdict::Ok),
            (1.06, Verdict::Regressed),
        ] {
            assert_eq!(verdict(&[f64::ln(ratio); 20]), expected, "{ratio}");
        }
    }

    /// Normal noise with outliers, as when something else has the processor for a while.
    fn noisy(ratio: f64, pairs: usize, deviation: f64, seed: u64) -> Vec<f64> {
        let mut rng = Pcg64Mcg::seed_from_u64(seed);
        (0..pairs)
            .map(|_| {
                let disturbed = rng.random_bool(0.1);
                let noise: f64 = rng.sample(StandardNormal);
                ratio.ln() + noise * deviation * if disturbed { 20.0 } else { 1.0 }
            })
            .collect()
    }

    #[test]
    fn noise_is_no_alarm_and_hides_no_slowdown() {
        for seed in 0..200 {
            let same = verdict(&noisy(1.0, 25, 0.02, seed));
            assert_eq!(same, Verdict::Ok, "seed {seed}");
            let slower = verdict(&noisy(1.1, 25, 0.02, seed));
            assert_eq!(slower, Verdict::Regressed, "seed {seed}");
        }
    }

    proptest! {
        #[test]
        fn slower_is_never_judged_better(
            pairs in prop::collection::vec(-0.5f64..0.5, FEWEST..60), more in 0.0f64..0.5
        ) {
            let slower: Vec<_> = pairs.iter().map(|x| x + more).collect();
            prop_assert!(verdict(&slower) >= verdict(&pairs));
        }

        #[test]
        fn exchanging_the_sides_exchanges_the_verdicts(pairs in prop::collection::vec(-0.5f64..0.5, FEWEST..60)) {
            let ratio = Ratio::of(&pairs);
            let (one, other) = (judge(ratio, MARGIN), judge(ratio.map(Ratio::inverted), MARGIN));
            prop_assert_eq!(one == Verdict::Regressed, other == Verdict::Improved);
            prop_assert_eq!(one == Verdict::Improved, other == Verdict::Regressed);
        }

        #[test]
        fn an_alarm_means_that_the_median_is_beyond_the_margin(pairs in prop::collection::vec(-0.5f64..0.5, FEWEST..60)) {
            if verdict(&pairs) == Verdict::Regressed {
                prop_assert!(Ratio::of(&pairs).unwrap().median > 1.0 + MARGIN);
            }
        }

        #[test]
        fn a_count_is_judged_by_its_margin(committed in 1000u64..1_000_000_000, permille in 0u64..3000) {
            let present = committed / 1000 * permille;
            let share = present as f64 / committed as f64;
            let expected = match share {
                s if s > 1.0101 => Count::More,
                s if s < 0.9899 => Count::Fewer,
                s if (0.9901..1.0099).contains(&s) => Count::Same,
                _ => return Ok(()),
            };
            prop_assert_eq!(judge_count(present, Some(committed), None, 0.01), expected);
            // Where nothing comparable was committed, the base decides.
            prop_assert_eq!(judge_count(present, None, Some(committed), 0.01), expected);
            // What the base takes here as well is not the change's fault.
            let excused = if expected == Count::More { Count::Elsewhere } else { expected };
            prop_assert_eq!(judge_count(present, Some(committed), Some(present), 0.01), excused);
            prop_assert_eq!(judge_count(present, Some(committed), Some(committed), 0.01), expected);
            prop_assert_eq!(judge_count(present, None, None, 0.01), Count::New);
        }
    }
}
