//! Estimates with intervals, from independent trials.
//!
//! Samples inside one run are correlated (a queue remembers), so nothing here is ever fed with
//! pooled requests: one number a trial goes in.

use rand::{RngExt, SeedableRng, seq::SliceRandom};
use rand_pcg::Pcg64Mcg;
use serde::Serialize;

/// Resamples per bootstrap interval: enough for two stable digits of the ends.
const RESAMPLES: usize = 2000;

/// From this many trials on the median is bootstrapped. With fewer the percentile bootstrap
/// promises too much: of seven normal trials its 95 % interval holds the median 84 times in 100.
const BOOTSTRAP_FROM: usize = 12;

/// A value with its 95 % interval.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Estimate {
    /// Median (twelve trials and more) or mean (fewer).
    pub value: f64,
    /// The 95 % interval; `None` when one trial is all there is.
    pub ci95: Option<(f64, f64)>,
    /// How many trials it rests on.
    pub trials: usize,
}

impl Estimate {
    /// Estimates the typical value of independent trials, `None` without a finite one.
    ///
    /// From twelve trials on: the median with a percentile bootstrap interval (Efron 1979), seeded,
    /// so that one record always gives one result. From two to eleven: the mean with Student's t
    /// interval (Student 1908), because the bootstrap of so few covers less than it promises.
    pub fn of(samples: &[f64]) -> Option<Estimate> {
        let mut sorted: Vec<f64> = samples.iter().copied().filter(|v| v.is_finite()).collect();
        sorted.sort_by(f64::total_cmp);
        let trials = sorted.len();
        match trials {
            0 => None,
            1 => Some(Estimate {
                value: sorted[0],
                ci95: None,
                trials,
            }),
            2..BOOTSTRAP_FROM => {
                let mean = mean(&sorted);
                let half = t95(trials - 1) * deviation(&sorted) / (trials as f64).sqrt();
                Some(Estimate {
                    value: mean,
                    ci95: Some((mean - half, mean + half)),
                    trials,
                })
            }
            _ => {
                let ci95 = Some(bootstrap(&sorted, |s| {
                    s.sort_by(f64::total_cmp);
                    quantile(s, 0.5)
                }));
                Some(Estimate {
                    value: quantile(&sorted, 0.5),
                    ci95,
                    trials,
                })
            }
        }
    }

    /// A value known exactly: a count, a fact.
    pub fn exact(value: f64) -> Estimate {
        Estimate {
            value,
            ci95: Some((value, value)),
            trials: 1,
        }
    }

    /// A share: so many of so many independent ones, with Wilson's interval (Wilson 1927), which
    /// is right for rare ones, too. `None` of none.
    pub fn share(hits: u64, of: u64) -> Option<Estimate> {
        let (z, n) = (t95(usize::MAX), of as f64);
        let p = hits as f64 / n;
        let middle = (p + z * z / (2.0 * n)) / (1.0 + z * z / n);
        let half = z / (1.0 + z * z / n) * (p * (1.0 - p) / n + z * z / (4.0 * n * n)).sqrt();
        (of > 0).then(|| Estimate {
            value: p,
            ci95: Some(((middle - half).clamp(0.0, p), (middle + half).clamp(p, 1.0))),
            trials: of as usize,
        })
    }

    /// The same estimate in another unit.
    pub fn scaled(self, factor: f64) -> Estimate {
        let ends = |(a, b): (f64, f64)| {
            let (a, b) = (a * factor, b * factor);
            (a.min(b), a.max(b))
        };
        Estimate {
            value: self.value * factor,
            ci95: self.ci95.map(ends),
            trials: self.trials,
        }
    }
}

/// Arithmetic mean; NaN for none.
pub fn mean(samples: &[f64]) -> f64 {
    samples.iter().sum::<f64>() / samples.len() as f64
}

/// Sample standard deviation (n − 1); 0 below two samples.
pub fn deviation(samples: &[f64]) -> f64 {
    if samples.len() < 2 {
        return 0.0;
    }
    let m = mean(samples);
    let squares: f64 = samples.iter().map(|v| (v - m).powi(2)).sum();
    (squares / (samples.len() - 1) as f64).sqrt()
}

/// Quantile `q` of sorted data by linear interpolation (type 7 of Hyndman and Fan 1996); NaN for none.
pub fn quantile(sorted: &[f64], q: f64) -> f64 {
    if sorted.is_empty() {
        return f64::NAN;
    }
    let at = (sorted.len() - 1) as f64 * q.clamp(0.0, 1.0);
    let (below, above) = (at.floor() as usize, at.ceil() as usize);
    sorted[below] + (at - below as f64) * (sorted[above] - sorted[below])
}

/// Median of unsorted data; NaN for none.
pub fn median(samples: &[f64]) -> f64 {
    let mut sorted = samples.to_vec();
    sorted.sort_by(f64::total_cmp);
    quantile(&sorted, 0.5)
}

/// `n` exponentially distributed times of exactly this mean, in random order: a time from each of n
/// equally likely classes (stratified sampling), so that short runs do not differ by their luck.
pub fn exponential(n: usize, mean: f64, seed: u64) -> Vec<f64> {
    let mut times: Vec<f64> = (0..n)
        .map(|i| -(1.0 - (i as f64 + 0.5) / n as f64).ln())
        .collect();
    let scale = mean * n as f64 / times.iter().sum::<f64>();
    times.iter_mut().for_each(|t| *t *= scale);
    times.shuffle(&mut Pcg64Mcg::seed_from_u64(seed));
    times
}

/// 95 % percentile bootstrap interval of a statistic (Efron 1979), with a fixed seed.
pub fn bootstrap(samples: &[f64], statistic: impl Fn(&mut [f64]) -> f64) -> (f64, f64) {
    let mut rng = Pcg64Mcg::seed_from_u64(samples.len() as u64);
    let mut resample = vec![0.0; samples.len()];
    let mut results: Vec<f64> = (0..RESAMPLES)
        .map(|_| {
            for place in &mut resample {
                *place = samples[rng.random_range(0..samples.len())];
            }
            statistic(&mut resample)
        })
        .collect();
    results.sort_by(f64::total_cmp);
    (quantile(&results, 0.025), quantile(&results, 0.975))
}

/// Two-sided 95 % point of Student's t (Student 1908) with this many degrees of freedom.
pub fn t95(freedom: usize) -> f64 {
    const TABLE: [f64; 30] = [
        12.706, 4.303, 3.182, 2.776, 2.571, 2.447, 2.365, 2.306, 2.262, 2.228, 2.201, 2.179, 2.160,
        2.145, 2.131, 2.120, 2.110, 2.101, 2.093, 2.086, 2.080, 2.074, 2.069, 2.064, 2.060, 2.056,
        2.052, 2.048, 2.045, 2.042,
    ];
    match freedom {
        0 => f64::INFINITY,
        n if n <= TABLE.len() => TABLE[n - 1],
        // Cornish-Fisher to second order: exact to three digits from here on.
        n => 1.960 + 2.372 / n as f64,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use rand_distr::StandardNormal;

    #[test]
    fn few_trials_use_students_t() {
        let e = Estimate::of(&[9.0, 10.0, 11.0]).unwrap();
        let (lo, hi) = e.ci95.unwrap();
        assert_eq!(e.value, 10.0);
        assert!(
            (hi - 10.0 - 4.303 / 3f64.sqrt()).abs() < 1e-9
                && (10.0 - lo - (hi - 10.0)).abs() < 1e-9
        );
    }

    #[test]
    fn one_trial_has_no_interval_and_none_no_value() {
        assert_eq!(Estimate::of(&[3.0]).unwrap().ci95, None);
        assert_eq!(Estimate::of(&[]), None);
        assert_eq!(Estimate::of(&[f64::NAN]), None);
    }

    #[test]
    fn shares_have_wilsons_interval() {
        // Wilson's interval for 10 of 100, from tables.
        let (lo, hi) = Estimate::share(10, 100).unwrap().ci95.unwrap();
        assert!((lo - 0.0552).abs() < 1e-4 && (hi - 0.1744).abs() < 1e-4);
        let (lo, hi) = Estimate::share(0, 50).unwrap().ci95.unwrap();
        assert!(lo == 0.0 && (hi - 0.0714).abs() < 1e-3);
        assert_eq!(Estimate::share(50, 50).unwrap().ci95.unwrap().1, 1.0);
        assert_eq!(Estimate::share(0, 0), None);
    }

    #[test]
    fn drawn_times_are_exponential_and_have_their_mean() {
        let times = exponential(1000, 2.0, 7);
        assert!((mean(&times) - 2.0).abs() < 1e-9 && times != exponential(1000, 2.0, 8));
        assert!((deviation(&times) - 2.0).abs() < 0.05);
        assert!((median(&times) - 2.0 * 2f64.ln()).abs() < 0.01);
        assert!(exponential(0, 2.0, 7).is_empty());
    }

    #[test]
    fn t_matches_the_printed_table() {
        for (freedom, printed) in [
            (1, 12.706),
            (10, 2.228),
            (40, 2.021),
            (60, 2.000),
            (120, 1.980),
        ] {
            assert!(
                (t95(freedom) - printed).abs() < 2e-3,
                "{freedom}: {}",
                t95(freedom)
            );
        }
    }

    /// How often in 1000 the interval of so many normal trials holds the true value.
    fn covered(trials: usize) -> usize {
        let mut rng = Pcg64Mcg::seed_from_u64(trials as u64);
        let mut draw = || -> Vec<f64> { (0..trials).map(|_| rng.sample(StandardNormal)).collect() };
        let holds = |s: Vec<f64>| {
            let (lo, hi) = Estimate::of(&s).unwrap().ci95.unwrap();
            lo <= 0.0 && 0.0 <= hi
        };
        (0..1000).filter(|_| holds(draw())).count()
    }

    /// Three standard errors of a count of 1000 at 95 % are 21.
    #[test]
    fn intervals_hold_what_they_promise() {
        for trials in [2, 3, 7] {
            assert!(
                (929..=971).contains(&covered(trials)),
                "{trials}: {}",
                covered(trials)
            );
        }
        // The bootstrap comes close to it.
        assert!((890..=971).contains(&covered(12)), "{}", covered(12));
    }

    proptest! {
        #[test]
        fn the_value_lies_inside_its_interval(s in prop::collection::vec(-1e6f64..1e6, 2..20)) {
            let e = Estimate::of(&s).unwrap();
            let (lo, hi) = e.ci95.unwrap();
            prop_assert!(lo <= e.value + 1e-6 && e.value <= hi + 1e-6);
        }

        #[test]
        fn the_order_of_trials_does_not_matter(mut s in prop::collection::vec(-1e6f64..1e6, 1..12)) {
            let before = Estimate::of(&s);
            s.reverse();
            prop_assert_eq!(before, Estimate::of(&s));
        }
    }
}
