//! Values of flags: times with units, levels, levels that make sense.

use std::{fmt, str::FromStr, time::Duration};

use serde::{Deserialize, Serialize};

/// A stretch of time as a flag: `100ms`, `1.5s`, `2m`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Time(Duration);

/// Longest time a flag takes: a lab that runs an hour has been mistyped.
const LONGEST: Duration = Duration::from_secs(3600);

impl Time {
    /// So many milliseconds.
    pub const fn ms(ms: u64) -> Time {
        Time(Duration::from_millis(ms))
    }

    /// As a duration.
    pub fn duration(self) -> Duration {
        self.0
    }

    /// In seconds.
    pub fn s(self) -> f64 {
        self.0.as_secs_f64()
    }
}

impl From<Duration> for Time {
    fn from(duration: Duration) -> Time {
        Time(duration)
    }
}

impl FromStr for Time {
    type Err = String;
    fn from_str(text: &str) -> Result<Time, String> {
        // humantime knows whole numbers only; a fraction is given in the unit it was written in.
        let whole = |t: &str| humantime::parse_duration(t).map_err(|_| ());
        let fraction = |t: &str| {
            let at = t.find(|c: char| c.is_ascii_alphabetic()).ok_or(())?;
            let value: f64 = t[..at].trim().parse().map_err(|_| ())?;
            let unit = whole(&format!("1{}", &t[at..]))?;
            Duration::try_from_secs_f64(unit.as_secs_f64() * value).map_err(|_| ())
        };
        let text = text.trim();
        let time = whole(text)
            .or_else(|()| fraction(text))
            .map_err(|()| "a time needs a number and a unit: 100ms, 1.5s, 2m".to_string())?;
        if time.is_zero() {
            return Err("a time must be longer than zero".into());
        }
        if time > LONGEST {
            return Err("longer than an hour: is the unit right?".into());
        }
        Ok(Time(time))
    }
}

impl fmt::Display for Time {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{}",
            humantime::format_duration(self.0)
                .to_string()
                .replace(' ', "")
        )
    }
}

impl TryFrom<String> for Time {
    type Error = String;
    fn try_from(text: String) -> Result<Time, String> {
        // What Display writes may have several parts ("1s50ms"), which humantime reads.
        humantime::parse_duration(&text)
            .map(Time)
            .map_err(|e| e.to_string())
    }
}

impl From<Time> for String {
    fn from(time: Time) -> String {
        time.to_string()
    }
}

/// Parses a level of concurrency: 1 to 20,000.
///
/// # Errors
/// With the sentence that clap shows.
pub fn level(text: &str) -> Result<usize, String> {
    match text.trim().parse::<usize>() {
        Ok(n) if (1..=20_000).contains(&n) => Ok(n),
        _ => Err("expected a whole number from 1 to 20000".into()),
    }
}

/// Parses a count of at least one and at most a million.
///
/// # Errors
/// With the sentence that clap shows.
pub fn count(text: &str) -> Result<usize, String> {
    match text.trim().parse::<usize>() {
        Ok(n) if (1..=1_000_000).contains(&n) => Ok(n),
        _ => Err("expected a whole number from 1 to 1000000".into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn times_need_units_and_sense() {
        assert_eq!("100ms".parse(), Ok(Time::ms(100)));
        assert_eq!("1.5s".parse(), Ok(Time::ms(1500)));
        assert_eq!("1s 50ms".parse(), Ok(Time::ms(1050)));
        for bad in [
            "", "100", "-1s", "0ms", "2h", "abc", "1e9s", "NaNs", "infs", "🕐s", "1..5s",
        ] {
            assert!(bad.parse::<Time>().is_err(), "{bad}");
        }
    }

    #[test]
    fn levels_have_bounds() {
        assert_eq!(level("2000"), Ok(2000));
        for bad in ["0", "-1", "20001", "ten", "1.5", ""] {
            assert!(level(bad).is_err(), "{bad}");
        }
    }

    proptest! {
        #[test]
        fn written_times_read_back(micros in 1u64..3_600_000_000) {
            let time = Time(Duration::from_micros(micros));
            prop_assert_eq!(Time::try_from(String::from(time)), Ok(time));
            prop_assert_eq!(time.to_string().parse(), Ok(time));
        }

        #[test]
        fn odd_text_never_panics(text: String) { let _ = text.parse::<Time>(); let _ = level(&text); }
    }
}
