//! How long one request takes, as a flag says it: constant, at random, or as recorded.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use rand::SeedableRng;
use rand_distr::{Distribution, Exp1, LogNormal};
use rand_pcg::Pcg64;

/// The longest service time and `Retry-After` allowed.
pub const MAX_TIME: Duration = Duration::from_secs(3600);

/// How long a request holds its slot.
///
/// As text: `100ms` (constant), `exp:100ms`, `lognormal:100ms:0.5` (mean, coefficient of variation),
/// `trace:10ms,20ms,5ms` (one after another, then again from the first). Durations carry units.
#[derive(Debug, Clone, PartialEq)]
pub enum Service {
    /// Always the same: the D of M/D/c.
    Constant(Duration),
    /// Exponential with this mean: the second M of M/M/c.
    Exponential {
        /// The mean, which is also the standard deviation.
        mean: Duration,
    },
    /// Lognormal: most are short, a few are long, as measured services tend to be.
    LogNormal {
        /// The mean of the times themselves, not of their logarithms.
        mean: Duration,
        /// Standard deviation over mean; with it the variance of the logarithm is ln(1 + cv²).
        cv: f64,
    },
    /// Recorded times, cycled.
    Trace(Vec<Duration>),
}

impl Service {
    /// The mean service time.
    #[must_use]
    pub fn mean(&self) -> Duration {
        match self {
            Self::Constant(time) => *time,
            Self::Exponential { mean } | Self::LogNormal { mean, .. } => *mean,
            Self::Trace(times) => {
                let total: u128 = times.iter().map(Duration::as_nanos).sum();
                let mean = total / (times.len().max(1) as u128);
                Duration::from_nanos(u64::try_from(mean).unwrap_or(u64::MAX))
            }
        }
    }

    /// A source of service times; the same seed gives the same times.
    #[must_use]
    pub fn sampler(&self, seed: u64) -> Sampler {
        let shape = match self {
            Self::Constant(time) => Shape::Constant(*time),
            Self::Exponential { mean } => Shape::Exponential(mean.as_secs_f64()),
            Self::LogNormal { mean, cv } => LogNormal::from_mean_cv(mean.as_secs_f64(), *cv)
                .map_or(Shape::Constant(*mean), Shape::LogNormal),
            Self::Trace(times) => Shape::Trace(times.clone(), 0),
        };
        Sampler { shape, rng: Pcg64::seed_from_u64(seed) }
    }

    /// Checks that the times can be served.
    ///
    /// # Errors
    ///
    /// A mean or recorded time above [`MAX_TIME`], a random service without a positive mean, a coefficient of
    /// variation outside 0 to 100, an empty trace.
    pub fn check(&self) -> Result<(), ParseError> {
        let longest = match self {
            Self::Trace(times) => times.iter().max().copied().ok_or_else(|| {
                ParseError::new("a trace needs at least one time, as in trace:10ms,20ms")
            })?,
            other => other.mean(),
        };
        if longest > MAX_TIME {
            return Err(ParseError::new(format!(
                "a service time of {} is too long: allowed is up to {}",
                humantime::format_duration(longest),
                humantime::format_duration(MAX_TIME),
            )));
        }
        match self {
            Self::Exponential { mean } | Self::LogNormal { mean, .. } if mean.is_zero() => {
                Err(ParseError::new("a random service time needs a mean above zero"))
            }
            Self::LogNormal { cv, .. } if !(0.0..=100.0).contains(cv) => Err(ParseError::new(
                format!("a coefficient of variation of {cv} is not allowed: 0 to 100 is"),
            )),
            _ => Ok(()),
        }
    }
}

impl fmt::Display for Service {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Constant(time) => write!(f, "{}", Compact(*time)),
            Self::Exponential { mean } => write!(f, "exp:{}", Compact(*mean)),
            Self::LogNormal { mean, cv } => write!(f, "lognormal:{}:{cv}", Compact(*mean)),
            Self::Trace(times) => {
                f.write_str("trace:")?;
                for (i, time) in times.iter().enumerate() {
                    let comma = if i == 0 { "" } else { "," };
                    write!(f, "{comma}{}", Compact(*time))?;
                }
                Ok(())
            }
        }
    }
}

/// A duration without the blanks of `1s 500ms`, which a flag would have to quote.
pub struct Compact(pub Duration);

impl fmt::Display for Compact {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = humantime::format_duration(self.0).to_string();
        f.write_str(&text.replace(' ', ""))
    }
}

impl FromStr for Service {
    type Err = ParseError;

    fn from_str(text: &str) -> Result<Self, ParseError> {
        let service = match text.split_once(':') {
            None => Self::Constant(duration(text)?),
            Some(("exp", mean)) => Self::Exponential { mean: duration(mean)? },
            Some(("lognormal", rest)) => {
                let (mean, cv) = rest.split_once(':').ok_or_else(|| {
                    ParseError::new(
                        "lognormal needs a mean and a coefficient of variation, as in lognormal:100ms:0.5",
                    )
                })?;
                Self::LogNormal { mean: duration(mean)?, cv: number(cv)? }
            }
            Some(("trace", times)) => {
                Self::Trace(times.split(',').map(duration).collect::<Result<_, _>>()?)
            }
            Some((other, _)) => {
                return Err(ParseError::new(format!(
                    "no service is called `{other}`: allowed are 100ms, exp:100ms, lognormal:100ms:0.5 and trace:10ms,20ms"
                )));
            }
        };
        service.check()?;
        Ok(service)
    }
}

/// A duration with its unit.
///
/// # Errors
/// What is wrong, and how to write one.
pub fn duration(text: &str) -> Result<Duration, ParseError> {
    let text = text.trim();
    humantime::parse_duration(text).map_err(|_| {
        ParseError::new(format!(
            "`{text}` is no duration: write a number and its unit, as in 100ms or 2s"
        ))
    })
}

/// A number.
///
/// # Errors
/// That it is none.
pub fn number<T: FromStr>(text: &str) -> Result<T, ParseError> {
    let text = text.trim();
    text.parse()
        .map_err(|_| ParseError::new(format!("`{text}` is no number of the kind expected here")))
}

/// What is wrong with a text or a value, and what would be right.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ParseError(String);

impl ParseError {
    /// The sentence for the user.
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }
}

impl fmt::Display for ParseError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for ParseError {}

/// Service times, one after another; endless and seeded.
#[derive(Debug, Clone)]
pub struct Sampler {
    shape: Shape,
    rng: Pcg64,
}

#[derive(Debug, Clone)]
enum Shape {
    Constant(Duration),
    Exponential(f64),
    LogNormal(LogNormal<f64>),
    Trace(Vec<Duration>, usize),
}

impl Sampler {
    /// The next service time.
    pub fn next_time(&mut self) -> Duration {
        let seconds = match &mut self.shape {
            Shape::Constant(time) => return *time,
            Shape::Trace(times, at) => {
                let time = times.get(*at).copied().unwrap_or_default();
                *at = (*at + 1) % times.len().max(1);
                return time;
            }
            Shape::Exponential(mean) => {
                let unit: f64 = Exp1.sample(&mut self.rng);
                *mean * unit
            }
            Shape::LogNormal(distribution) => distribution.sample(&mut self.rng),
        };
        Duration::try_from_secs_f64(seconds).unwrap_or(MAX_TIME)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: Duration = Duration::from_millis(1);

    #[test]
    fn text_and_back() {
        for text in
            ["100ms", "0s", "1s500ms", "exp:100ms", "lognormal:100ms:0.5", "trace:10ms,20ms"]
        {
            let service: Service = text.parse().unwrap();
            assert_eq!(service.to_string(), text);
        }
    }

    #[test]
    fn wrong_texts_are_refused_with_what_is_right() {
        for (text, part) in [
            ("", "unit"),
            ("100", "unit"),
            ("-5ms", "unit"),
            ("exp:", "unit"),
            ("exp:0ms", "above zero"),
            ("lognormal:1ms", "lognormal:100ms:0.5"),
            ("lognormal:1ms:x", "number"),
            ("lognormal:1ms:-1", "0 to 100"),
            ("lognormal:1ms:NaN", "0 to 100"),
            ("gamma:1ms", "exp:100ms"),
            ("trace:", "unit"),
            ("2h", "up to 1h"),
        ] {
            let error = text.parse::<Service>().unwrap_err().to_string();
            assert!(error.contains(part), "{text}: {error}");
        }
    }

    #[test]
    fn the_same_seed_gives_the_same_times() {
        let service: Service = "lognormal:100ms:0.5".parse().unwrap();
        let draw = |seed| {
            let mut sampler = service.sampler(seed);
            (0..100).map(|_| sampler.next_time()).collect::<Vec<_>>()
        };
        assert_eq!(draw(1), draw(1));
        assert_ne!(draw(1), draw(2));
    }

    #[test]
    fn a_trace_is_cycled() {
        let mut sampler = Service::Trace(vec![MS, 2 * MS]).sampler(0);
        let times: Vec<_> = (0..3).map(|_| sampler.next_time()).collect();
        assert_eq!(times, [MS, 2 * MS, MS]);
        assert_eq!(Service::Trace(vec![MS, 3 * MS]).mean(), 2 * MS);
    }

    /// Mean and coefficient of variation, each within four standard errors of independent samples.
    #[test]
    fn random_times_have_the_mean_and_spread_asked_for() {
        const N: usize = 200_000;
        for (service, cv) in [("exp:100ms", 1.0), ("lognormal:100ms:0.5", 0.5)] {
            let mut sampler = service.parse::<Service>().unwrap().sampler(7);
            let times: Vec<f64> = (0..N).map(|_| sampler.next_time().as_secs_f64() / 0.1).collect();
            let n = N as f64;
            let mean = times.iter().sum::<f64>() / n;
            let squares: Vec<f64> = times.iter().map(|t| (t - mean).powi(2)).collect();
            let variance = squares.iter().sum::<f64>() / n;
            let error_of_variance =
                (squares.iter().map(|s| (s - variance).powi(2)).sum::<f64>() / n / n).sqrt();
            assert!((mean - 1.0).abs() < 4.0 * cv / n.sqrt(), "{service}: {mean}");
            assert!((variance - cv * cv).abs() < 4.0 * error_of_variance, "{service}: {variance}");
        }
    }
}
