//! Numbers as people write them.

use crate::stats::Estimate;

/// A number as people write it: three to four significant digits, no needless zeros.
pub fn number(value: f64) -> String {
    if !value.is_finite() {
        return "–".into();
    }
    let size = value.abs();
    let decimals = match size {
        s if s >= 100.0 || s == 0.0 => 0,
        s if s >= 10.0 => 1,
        s if s >= 1.0 => 2,
        s if s >= 0.01 => 3,
        s if s >= 1e-6 => 6,
        _ => return format!("{value:.1e}"),
    };
    let text = format!("{value:.decimals$}");
    if text.contains('.') {
        return text.trim_end_matches('0').trim_end_matches('.').to_string();
    }
    text
}

/// A count as people write it: "9999", "50,000".
pub fn thousands(count: u64) -> String {
    let digits = count.to_string();
    if digits.len() < 5 {
        return digits;
    }
    let mut text = String::new();
    for (i, digit) in digits.chars().enumerate() {
        if i > 0 && (digits.len() - i).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// Seconds as people write them: "850 µs", "12.3 ms", "1.05 s".
pub fn seconds(value: f64) -> String {
    match value.abs() {
        s if !s.is_finite() => "–".into(),
        0.0 => "0 s".into(),
        s if s < 1e-3 => format!("{:.0} µs", value * 1e6),
        s if s < 0.1 => format!("{} ms", number((value * 1e4).round() / 10.0)),
        s if s < 1.0 => format!("{:.0} ms", value * 1e3),
        s if s < 100.0 => format!("{value:.2} s"),
        _ => format!("{value:.0} s"),
    }
}

/// A share in percent: "57.4 %".
pub fn percent(share: f64) -> String {
    if share.is_finite() { format!("{:.1} %", share * 100.0) } else { "–".into() }
}

/// A table cell for an estimate that may be missing.
pub fn cell(estimate: Option<Estimate>, write: impl Fn(f64) -> String) -> String {
    estimate.map_or("–".into(), |e| write(e.value))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn numbers_read_well() {
        for (v, text) in [
            (1234.56, "1235"),
            (12.34, "12.3"),
            (1.0, "1"),
            (0.0, "0"),
            (0.1234, "0.123"),
            (-2.5, "-2.5"),
            (f64::NAN, "–"),
            (100.0, "100"),
        ] {
            assert_eq!(number(v), text);
        }
        for (v, text) in
            [(0.0105, "10.5 ms"), (0.5254, "525 ms"), (1.05, "1.05 s"), (4e-5, "40 µs")]
        {
            assert_eq!(seconds(v), text);
        }
    }

    proptest! {
        #[test]
        fn writing_numbers_never_panics(v: f64) { let _ = (number(v), seconds(v), percent(v)); }
    }
}
