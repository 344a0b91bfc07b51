//! Estimates with intervals, from independent trials.
//!
//! Samples inside one run are correlated (a queue remembers), so nothing here is ever fed with
//! pooled requests: one number a trial goes in. Trials of different conditions are different
//! quantities: an [`Estimate`] is made by the condition it is about
//! ([`crate::summary::Condition`]), and an average over conditions is one of their estimates
//! ([`Estimate::mean_of`]).

use rand::{RngExt, SeedableRng, seq::SliceRandom};
use rand_pcg::Pcg64Mcg;
use serde::Serialize;

use crate::{disturbance::Disturbance, origin::Origin};

/// From this many samples on the median has a bootstrap interval.
pub const BOOTSTRAP_FROM: usize = 12;

/// Resamples per bootstrap interval: enough for two stable digits of the ends.
const RESAMPLES: usize = 2000;

/// From this many trials on a mean is trimmed: fewer cannot spare any.
const TRIMMED_FROM: usize = 12;

/// Share of the trials that a trimmed mean leaves out at either end.
const TRIMMED: f64 = 0.2;

/// A value with its 95 % interval.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Estimate {
    /// Mean of the trials (from twelve on the trimmed mean), a count, or a share.
    pub value: f64,
    /// The 95 % interval; `None` when one trial is all there is.
    pub ci95: Option<(f64, f64)>,
    /// How many trials it rests on.
    pub trials: usize,
    #[serde(skip)]
    spread: Spread,
    #[serde(skip)]
    origin: Origin,
    #[serde(skip)]
    disturbance: Disturbance,
    /// A second, in the unit of the value if that is a time.
    #[serde(skip)]
    second: f64,
}

/// What is known of how an estimate scatters.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) enum Spread {
    /// It does not: a count, a fact.
    Exact,
    /// Something that must hold in every trial: the least and the greatest of them.
    Every(f64, f64),
    /// A mean with the standard deviation of a trial, the trials it is worth, and the degrees of
    /// freedom of the deviation.
    Mean { deviation: f64, worth: f64, freedom: f64 },
    /// So many of so many independent ones.
    Share(f64, f64),
    /// Worked out from others: its standard error and degrees of freedom.
    Derived { error: f64, freedom: f64 },
    /// A single trial, or a figure without an interval.
    #[default]
    Unknown,
}

impl Spread {
    /// Standard error and degrees of freedom, where there are any.
    fn error(&self) -> Option<(f64, f64)> {
        match *self {
            Spread::Exact => Some((0.0, f64::INFINITY)),
            Spread::Mean { deviation, worth, freedom } => Some((deviation / worth.sqrt(), freedom)),
            Spread::Derived { error, freedom } => Some((error, freedom)),
            Spread::Share(hits, of) => {
                let p = (hits + 1.0) / (of + 2.0);
                Some(((p * (1.0 - p) / of).sqrt(), f64::INFINITY))
            }
            Spread::Every(..) | Spread::Unknown => None,
        }
    }
}

impl Estimate {
    fn with(value: f64, trials: usize, spread: Spread) -> Estimate {
        let estimate = Estimate {
            value,
            ci95: None,
            trials,
            spread,
            origin: Origin::default(),
            disturbance: Disturbance::default(),
            second: 1.0,
        };
        Estimate { ci95: estimate.interval(0.05), ..estimate }
    }

    /// Estimates the typical value of independent trials of one condition, `None` without a finite one.
    ///
    /// The mean with Student's t interval (Student 1908); from twelve trials on the mean trimmed by a
    /// fifth at either end, with the interval from its winsorised deviation (Tukey and McLaughlin 1963),
    /// which one odd trial does not move.
    pub(crate) fn of(samples: &[f64]) -> Option<Estimate> {
        let mut sorted: Vec<f64> = samples.iter().copied().filter(|v| v.is_finite()).collect();
        sorted.sort_by(f64::total_cmp);
        let trials = sorted.len();
        let estimate = match trials {
            0 => return None,
            1 => Estimate::with(sorted[0], 1, Spread::Unknown),
            2..TRIMMED_FROM => {
                let spread = Spread::Mean {
                    deviation: deviation(&sorted),
                    worth: trials as f64,
                    freedom: (trials - 1) as f64,
                };
                Estimate::with(mean(&sorted), trials, spread)
            }
            _ => {
                let cut = (TRIMMED * trials as f64) as usize;
                let kept = &sorted[cut..trials - cut];
                let value = mean(kept);
                let (least, most) = (kept[0], kept[kept.len() - 1]);
                let winsorised: Vec<f64> = sorted.iter().map(|v| v.clamp(least, most)).collect();
                let share = kept.len() as f64 / trials as f64;
                let spread = Spread::Mean {
                    deviation: deviation(&winsorised) / share,
                    worth: trials as f64,
                    freedom: (kept.len() - 1) as f64,
                };
                Estimate::with(value, trials, spread)
            }
        };
        Some(estimate)
    }

    /// What must hold in each of these trials by itself: their mean, with the least and the greatest of
    /// them as its interval. `None` without a finite one.
    pub(crate) fn every(values: &[f64]) -> Option<Estimate> {
        let finite = || values.iter().copied().filter(|v| v.is_finite());
        let trials = finite().count();
        let (least, most) =
            (finite().fold(f64::INFINITY, f64::min), finite().fold(f64::NEG_INFINITY, f64::max));
        let value = finite().sum::<f64>() / trials as f64;
        // A mean of equal values is that value, whatever rounding says.
        let value = value.clamp(least.min(most), most.max(least));
        (trials > 0).then(|| Estimate::with(value, trials, Spread::Every(least, most)))
    }

    /// A value known exactly: a count, a fact.
    pub fn exact(value: f64) -> Estimate {
        Estimate::with(value, 1, Spread::Exact)
    }

    /// A share: so many of so many independent ones, with Wilson's interval (Wilson 1927), which
    /// is right for rare ones, too. `None` of none.
    pub fn share(hits: u64, of: u64) -> Option<Estimate> {
        let (hits, n) = (hits.min(of) as f64, of as f64);
        (of > 0).then(|| Estimate::with(hits / n, of as usize, Spread::Share(hits, n)))
    }

    /// The mean over several conditions, each counting the same: the mean of their estimates, with the
    /// interval that their own ones give it. `None` of none; without an interval where one of them has
    /// none.
    pub fn mean_of(conditions: &[Estimate]) -> Option<Estimate> {
        let n = conditions.len() as f64;
        let sum = conditions.iter().copied().reduce(Estimate::plus)?;
        Some(sum.scaled(1.0 / n))
    }

    /// A value with a standard error and its degrees of freedom: a parameter of a fitted line.
    pub fn with_error(value: f64, error: f64, freedom: usize) -> Estimate {
        let spread = match freedom {
            0 => Spread::Unknown,
            _ => Spread::Derived { error, freedom: freedom as f64 },
        };
        Estimate::with(value, freedom + 1, spread)
    }

    /// The interval that holds the true value in all but a share `alpha` of runs; `None` when one trial
    /// is all there is.
    pub fn interval(&self, alpha: f64) -> Option<(f64, f64)> {
        match self.spread {
            Spread::Every(least, most) => Some((least, most)),
            Spread::Share(hits, n) => {
                let (z, p) = (-normal_quantile(alpha / 2.0), hits / n);
                let middle = (p + z * z / (2.0 * n)) / (1.0 + z * z / n);
                let half =
                    z / (1.0 + z * z / n) * (p * (1.0 - p) / n + z * z / (4.0 * n * n)).sqrt();
                let scale = self.unit_of_share(p);
                Some(((middle - half).clamp(0.0, p) * scale, (middle + half).clamp(p, 1.0) * scale))
            }
            spread => {
                let (error, freedom) = spread.error()?;
                let half = if error == 0.0 { 0.0 } else { students_t(freedom, alpha) * error };
                Some((self.value - half, self.value + half))
            }
        }
    }

    /// What a share of 1 is in the unit of this estimate of a share, which is `p` as a number.
    fn unit_of_share(&self, p: f64) -> f64 {
        let unit = self.value / p;
        // None of many is 0 in any unit.
        if unit.is_finite() { unit } else { self.second }
    }

    /// Standard error, in the unit of the estimate, and degrees of freedom, where there are any.
    fn error(&self) -> Option<(f64, f64)> {
        let (error, freedom) = self.spread.error()?;
        let unit = match self.spread {
            Spread::Share(hits, of) => self.unit_of_share(hits / of).abs(),
            _ => 1.0,
        };
        Some((error * unit, freedom))
    }

    pub(crate) fn spread(&self) -> Spread {
        self.spread
    }

    /// What it was taken from.
    pub fn origin(&self) -> Origin {
        self.origin
    }

    /// The same estimate, taken from this as well.
    pub fn from(self, origin: Origin) -> Estimate {
        Estimate { origin: self.origin.and(origin), ..self }
    }

    /// What disturbed its trials, on average, and a second in its unit.
    pub(crate) fn disturbance(&self) -> (Disturbance, f64) {
        (self.disturbance, self.second)
    }

    pub(crate) fn disturbed(self, disturbance: Disturbance) -> Estimate {
        Estimate { disturbance: self.disturbance.or(disturbance), ..self }
    }

    /// The same estimate in another unit.
    pub fn scaled(self, factor: f64) -> Estimate {
        let ends = |(a, b): (f64, f64)| {
            let (a, b) = (a * factor, b * factor);
            (a.min(b), a.max(b))
        };
        let spread = match self.spread {
            Spread::Every(least, most) => {
                let (least, most) = ends((least, most));
                Spread::Every(least, most)
            }
            Spread::Mean { deviation, worth, freedom } => {
                Spread::Mean { deviation: deviation * factor.abs(), worth, freedom }
            }
            Spread::Derived { error, freedom } => {
                Spread::Derived { error: error * factor.abs(), freedom }
            }
            other => other,
        };
        Estimate {
            value: self.value * factor,
            ci95: self.ci95.map(ends),
            spread,
            second: self.second * factor.abs(),
            ..self
        }
    }

    /// A figure made of two independent estimates, of which a small change of either changes it by these
    /// factors (delta method).
    fn made_of(self, other: Estimate, value: f64, mine: f64, theirs: f64) -> Estimate {
        let spread = match (self.error(), other.error()) {
            (Some((a, _)), Some((b, _))) if a == 0.0 && b == 0.0 => Spread::Exact,
            (Some((a, of_a)), Some((b, of_b))) => {
                let (a, b) = ((a * mine).powi(2), (b * theirs).powi(2));
                // Welch (1947) and Satterthwaite (1946).
                let freedom = (a + b).powi(2) / (a * a / of_a + b * b / of_b);
                Spread::Derived { error: (a + b).sqrt(), freedom }
            }
            _ => Spread::Unknown,
        };
        let made = Estimate::with(value, self.trials.min(other.trials), spread);
        Estimate {
            origin: self.origin.and(other.origin),
            disturbance: self.disturbance.or(other.disturbance),
            second: self.second,
            ..made
        }
    }

    /// The sum of two independent estimates.
    pub fn plus(self, other: Estimate) -> Estimate {
        self.made_of(other, self.value + other.value, 1.0, 1.0)
    }

    /// The difference of two independent estimates.
    pub fn minus(self, other: Estimate) -> Estimate {
        self.made_of(other, self.value - other.value, 1.0, 1.0)
    }

    /// The ratio of two independent estimates.
    pub fn over(self, other: Estimate) -> Estimate {
        let ratio = self.value / other.value;
        self.made_of(other, ratio, 1.0 / other.value, ratio / other.value)
    }

    /// The exponential of an estimate of a logarithm.
    pub fn exp(self) -> Estimate {
        let value = self.value.exp();
        let spread = self.error().map_or(Spread::Unknown, |(error, freedom)| {
            let error = error * value;
            Spread::Derived { error, freedom }
        });
        Estimate { value, ci95: self.ci95.map(|(lo, hi)| (lo.exp(), hi.exp())), spread, ..self }
    }

    /// The same estimate further along its axis: its interval goes with it.
    pub fn shifted(self, by: f64) -> Estimate {
        let ends = |(a, b): (f64, f64)| (a + by, b + by);
        let spread = match self.spread {
            Spread::Every(least, most) => Spread::Every(least + by, most + by),
            Spread::Share(..) => self
                .error()
                .map_or(Spread::Unknown, |(error, freedom)| Spread::Derived { error, freedom }),
            other => other,
        };
        Estimate { value: self.value + by, ci95: self.ci95.map(ends), spread, ..self }
    }
}

/// The mean of independent samples and its 95 % interval, as an [`Estimate`] has them.
pub fn mean_with_interval(samples: &[f64]) -> Option<(f64, (f64, f64))> {
    let estimate = Estimate::of(samples)?;
    Some((estimate.value, estimate.ci95?))
}

/// The typical value of many independent samples and its 95 % interval: the median with a percentile
/// bootstrap interval (Efron 1979), seeded. `None` below [`BOOTSTRAP_FROM`], where it promises too much: of seven
/// normal samples it holds the median 84 times in 100.
pub fn median_with_interval(samples: &[f64]) -> Option<(f64, (f64, f64))> {
    let mut sorted: Vec<f64> = samples.iter().copied().filter(|v| v.is_finite()).collect();
    sorted.sort_by(f64::total_cmp);
    (sorted.len() >= BOOTSTRAP_FROM).then(|| {
        let ends = bootstrap(&sorted, |s| {
            s.sort_by(f64::total_cmp);
            quantile(s, 0.5)
        });
        (quantile(&sorted, 0.5), ends)
    })
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
    let mut times: Vec<f64> = (0..n).map(|i| -(1.0 - (i as f64 + 0.5) / n as f64).ln()).collect();
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
    students_t(freedom as f64, 0.05)
}

/// The value that Student's t exceeds in size with probability `alpha`, with `freedom` degrees of freedom
/// (Hill 1970, algorithm 396 of the CACM: six digits and more). Infinite below one.
pub fn students_t(freedom: f64, alpha: f64) -> f64 {
    let (n, p) = (freedom, alpha.clamp(1e-300, 1.0));
    if n.is_nan() || n < 1.0 {
        return f64::INFINITY;
    }
    if n > 1e7 {
        return -normal_quantile(p / 2.0);
    }
    if n < 1.0 + 1e-9 {
        return 1.0 / (p * std::f64::consts::FRAC_PI_2).tan();
    }
    if (n - 2.0).abs() < 1e-9 {
        return (2.0 / (p * (2.0 - p)) - 2.0).max(0.0).sqrt();
    }
    let a = 1.0 / (n - 0.5);
    let b = 48.0 / (a * a);
    let mut c = ((20700.0 * a / b - 98.0) * a - 16.0) * a + 96.36;
    let d = ((94.5 / (b + c) - 3.0) / b + 1.0) * (a * std::f64::consts::FRAC_PI_2).sqrt() * n;
    let mut y = (d * p).powf(2.0 / n);
    if y > 0.05 + a {
        let x = normal_quantile(p / 2.0);
        y = x * x;
        if n < 5.0 {
            c += 0.3 * (n - 4.5) * (x + 0.6);
        }
        c += (((0.05 * d * x - 5.0) * x - 7.0) * x - 2.0) * x + b;
        y = (((((0.4 * y + 6.3) * y + 36.0) * y + 94.5) / c - y - 3.0) / b + 1.0) * x;
        y = (a * y * y).exp_m1();
    } else {
        y = ((1.0 / (((n + 6.0) / (n * y) - 0.089 * d - 0.822) * (n + 2.0) * 3.0)
            + 0.5 / (n + 4.0))
            * y
            - 1.0)
            * (n + 1.0)
            / (n + 2.0)
            + 1.0 / y;
    }
    (n * y).sqrt()
}

/// Quantile of the standard normal distribution (Acklam 2003: relative
/// error below 1.2e-9).
pub fn normal_quantile(p: f64) -> f64 {
    const A: [f64; 6] = [
        -3.969683028665376e1,
        2.209460984245205e2,
        -2.759285104469687e2,
        1.38357751867269e2,
        -3.066479806614716e1,
        2.506628277459239,
    ];
    const B: [f64; 5] = [
        -5.447609879822406e1,
        1.615858368580409e2,
        -1.556989798598866e2,
        6.680131188771972e1,
        -1.328068155288572e1,
    ];
    const C: [f64; 6] = [
        -7.784894002430293e-3,
        -3.223964580411365e-1,
        -2.400758277161838,
        -2.549732539343734,
        4.374664141464968,
        2.938163982698783,
    ];
    const D: [f64; 4] =
        [7.784695709041462e-3, 3.224671290700398e-1, 2.445134137142996, 3.754408661907416];
    let poly = |c: &[f64], x: f64| c.iter().fold(0.0, |sum, k| sum * x + k);
    let tail = |q: f64| poly(&C, q) / (poly(&D, q) * q + 1.0);
    match p {
        p if p.is_nan() => f64::NAN,
        p if p <= 0.0 => f64::NEG_INFINITY,
        p if p >= 1.0 => f64::INFINITY,
        p if p < 0.02425 => tail((-2.0 * p.ln()).sqrt()),
        p if p > 0.97575 => -tail((-2.0 * (1.0 - p).ln()).sqrt()),
        p => {
            let q = p - 0.5;
            poly(&A, q * q) * q / (poly(&B, q * q) * q * q + 1.0)
        }
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
            (hi - 10.0 - 4.30265 / 3f64.sqrt()).abs() < 1e-4
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

    /// Abramowitz and Stegun 1964, tables 26.1 and 26.10.
    #[test]
    fn quantiles_match_the_printed_tables() {
        for (p, printed) in
            [(0.975, 1.959964), (0.995, 2.575829), (0.9995, 3.290527), (0.3, -0.524401)]
        {
            assert!((normal_quantile(p) - printed).abs() < 1e-6, "{p}");
        }
        for (freedom, alpha, printed) in [
            (1.0, 0.01, 63.657),
            (2.0, 0.01, 9.925),
            (3.0, 0.01, 5.841),
            (4.0, 0.001, 8.610),
            (7.0, 0.001, 5.408),
            (10.0, 0.002, 4.144),
            (30.0, 0.001, 3.646),
            (120.0, 0.01, 2.617),
            (f64::INFINITY, 0.05, 1.960),
            (5.0, 0.5, 0.727),
        ] {
            let t = students_t(freedom, alpha);
            assert!((t / printed - 1.0).abs() < 1e-3, "{freedom}, {alpha}: {t}");
        }
        assert_eq!(students_t(0.0, 0.05), f64::INFINITY);
    }

    #[test]
    fn estimates_of_several_conditions_are_made_of_their_estimates() {
        let (a, b) =
            (Estimate::of(&[9.0, 10.0, 11.0]).unwrap(), Estimate::of(&[19.0, 20.0, 21.0]).unwrap());
        let mean = Estimate::mean_of(&[a, b]).unwrap();
        // Standard error 1/sqrt(3) of either: 1/sqrt(6) of the mean, with 4 degrees of freedom.
        let (lo, hi) = mean.ci95.unwrap();
        assert!((mean.value - 15.0).abs() < 1e-12);
        assert!((hi - lo - 2.0 * 2.776 / 6f64.sqrt()).abs() < 2e-3, "{lo} {hi}");
        assert_eq!(Estimate::mean_of(&[a, Estimate::of(&[1.0]).unwrap()]).unwrap().ci95, None);
        let ratio = b.over(a);
        assert!((ratio.value - 2.0).abs() < 1e-12 && ratio.ci95.unwrap().0 < 1.9);
        assert_eq!(a.minus(Estimate::exact(4.0)).value, 6.0);
        let scaled = Estimate::share(10, 100).unwrap().scaled(100.0).ci95.unwrap();
        assert!((scaled.0 - 5.52).abs() < 0.01 && (scaled.1 - 17.44).abs() < 0.01);
        // A share in percent goes on as one: ten of a hundred, less none of a hundred, is 10 % and 3 % wide.
        let percent = |hits| Estimate::share(hits, 100).unwrap().scaled(100.0);
        for made in [percent(10).minus(percent(0)), percent(10).shifted(5.0)] {
            let (least, most) = made.ci95.unwrap();
            assert!((10.0..16.0).contains(&(most - least)), "{made:?}");
        }
        let none = Estimate::share(0, 50).unwrap().scaled(100.0).ci95.unwrap();
        assert!(none.0 == 0.0 && (none.1 - 7.14).abs() < 0.1);
    }

    #[test]
    fn one_odd_trial_of_twelve_moves_nothing() {
        let mut trials: Vec<f64> = (0..12).map(|i| 10.0 + f64::from(i % 3) / 10.0).collect();
        let before = Estimate::of(&trials).unwrap();
        trials[4] = 1e6;
        let after = Estimate::of(&trials).unwrap();
        assert!((after.value - before.value).abs() < 0.1);
        assert!(after.ci95.unwrap().1 < 10.5);
    }

    #[test]
    fn what_must_hold_in_every_trial_has_their_extremes() {
        let every = Estimate::every(&[3.0, 1.0, f64::NAN, 2.0]).unwrap();
        assert_eq!((every.value, every.ci95, every.trials), (2.0, Some((1.0, 3.0)), 3));
        assert_eq!(Estimate::every(&[]), None);
        assert_eq!(every.scaled(-1.0).interval(0.5), Some((-3.0, -1.0)));
    }

    #[test]
    fn t_matches_the_printed_table() {
        for (freedom, printed) in [(1, 12.706), (10, 2.228), (40, 2.021), (60, 2.000), (120, 1.980)]
        {
            assert!((t95(freedom) - printed).abs() < 2e-3, "{freedom}: {}", t95(freedom));
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
        for trials in [2, 3, 7, 12, 15, 40] {
            assert!((929..=971).contains(&covered(trials)), "{trials}: {}", covered(trials));
        }
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
