//! Values of flags: times with units, levels, levels that make sense.

use std::{fmt, net::IpAddr, ops::RangeInclusive, str::FromStr, time::Duration};

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
        write!(f, "{}", humantime::format_duration(self.0).to_string().replace(' ', ""))
    }
}

impl TryFrom<String> for Time {
    type Error = String;
    fn try_from(text: String) -> Result<Time, String> {
        // What Display writes may have several parts ("1s50ms"), which humantime reads.
        humantime::parse_duration(&text).map(Time).map_err(|e| e.to_string())
    }
}

impl From<Time> for String {
    fn from(time: Time) -> String {
        time.to_string()
    }
}

/// An amount of bytes as a flag: `512B`, `1KB`, `16MB`, in steps of 1024.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Size(u64);

/// Most bytes a flag takes.
const LARGEST: u64 = 1 << 40;

impl Size {
    /// So many bytes.
    pub const fn bytes(bytes: u64) -> Size {
        Size(bytes)
    }

    /// In bytes.
    pub fn b(self) -> usize {
        self.0 as usize
    }

    /// In bytes, for formulas.
    pub fn f(self) -> f64 {
        self.0 as f64
    }
}

/// Units by their power of 1024.
const UNITS: [&str; 4] = ["B", "KB", "MB", "GB"];

impl FromStr for Size {
    type Err = String;
    fn from_str(text: &str) -> Result<Size, String> {
        let text = text.trim();
        let at = text.find(|c: char| c.is_ascii_alphabetic());
        let (value, unit) = text.split_at(at.unwrap_or(text.len()));
        let unit = unit.to_ascii_uppercase().replace("IB", "B");
        let power = UNITS.iter().position(|u| *u == unit);
        let value: Option<f64> = value.trim().parse().ok();
        let (Some(power), Some(value)) = (power, value) else {
            return Err("a size needs a number and a unit: 512B, 1KB, 16MB".into());
        };
        let bytes = value * 1024f64.powi(power as i32);
        if (1.0..=LARGEST as f64).contains(&bytes) {
            Ok(Size(bytes.round() as u64))
        } else {
            Err("expected a size from 1B to 1024GB".into())
        }
    }
}

impl fmt::Display for Size {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let whole = |power: &usize| self.0 > 0 && self.0.is_multiple_of(1 << (10 * power));
        let power = (0..UNITS.len()).rev().find(whole).unwrap_or(0);
        write!(f, "{}{}", self.0 >> (10 * power), UNITS[power])
    }
}

impl TryFrom<String> for Size {
    type Error = String;
    fn try_from(text: String) -> Result<Size, String> {
        text.parse()
    }
}

impl From<Size> for String {
    fn from(size: Size) -> String {
        size.to_string()
    }
}

/// Parses a whole number within bounds.
///
/// # Errors
/// With the sentence that clap shows.
pub fn whole<N>(text: &str, bounds: RangeInclusive<N>) -> Result<N, String>
where
    N: FromStr + PartialOrd + fmt::Display,
{
    let expected = format!("a whole number from {} to {}", bounds.start(), bounds.end());
    within(text, bounds, &expected)
}

/// Parses a number within bounds; `expected` says which, such as "a share from 0 to 1".
///
/// # Errors
/// With the sentence that clap shows.
pub fn within<N>(text: &str, bounds: RangeInclusive<N>, expected: &str) -> Result<N, String>
where
    N: FromStr + PartialOrd,
{
    let number = text.trim().parse().ok();
    let inside = number.filter(|n| bounds.contains(n));
    inside.ok_or_else(|| format!("expected {expected}"))
}

/// Whether the host of a URL is this machine, which is where load goes unless more is allowed. Names
/// other than `localhost` are not looked up.
pub fn on_this_machine(host: &str) -> bool {
    let address = host.trim_matches(['[', ']']).parse::<IpAddr>();
    host == "localhost" || address.is_ok_and(|address| address.is_loopback())
}

/// Parses a level of concurrency: 1 to 20,000.
///
/// # Errors
/// With the sentence that clap shows.
pub fn level(text: &str) -> Result<usize, String> {
    whole(text, 1..=20_000)
}

/// Parses a count of at least one and at most a million.
///
/// # Errors
/// With the sentence that clap shows.
pub fn count(text: &str) -> Result<usize, String> {
    whole(text, 1..=1_000_000)
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
        for bad in ["", "100", "-1s", "0ms", "2h", "abc", "1e9s", "NaNs", "infs", "🕐s", "1..5s"]
        {
            assert!(bad.parse::<Time>().is_err(), "{bad}");
        }
    }

    #[test]
    fn sizes_need_units_and_sense() {
        for (text, bytes) in
            [("1KB", 1024), ("1.5kb", 1536), ("16 MB", 16 << 20), ("7B", 7), ("1KiB", 1024)]
        {
            assert_eq!(text.parse(), Ok(Size::bytes(bytes)), "{text}");
        }
        for bad in ["", "100", "0B", "-1KB", "1XB", "NaNKB", "infMB", "2000GB", "KB", "1e30MB"] {
            assert!(bad.parse::<Size>().is_err(), "{bad}");
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
        fn written_sizes_read_back(bytes in 1u64..1 << 40) {
            prop_assert_eq!(Size::bytes(bytes).to_string().parse(), Ok(Size::bytes(bytes)));
        }

        #[test]
        fn odd_text_never_panics(text: String) { let _ = text.parse::<Time>(); let _ = level(&text); let _ = text.parse::<Size>(); }
    }
}
