//! Numbers as text: ticks and durations.

use crate::figure::Unit;

/// Decimals needed to write multiples of `step`, at most `most`.
fn decimals(step: f64, most: usize) -> usize {
    (0..most)
        .find(|d| {
            let scaled = step.abs() * 10f64.powi(*d as i32);
            (scaled - scaled.round()).abs() <= 1e-6 * scaled.max(1e-300)
        })
        .unwrap_or(most)
}

/// Zero has neither sign nor decimals.
fn fixed(v: f64, decimals: usize) -> String {
    let text = format!("{v:.decimals$}");
    if text.chars().all(|c| matches!(c, '-' | '0' | '.')) { "0".to_owned() } else { text }
}

fn scientific(v: f64) -> String {
    let text = format!("{v:.2e}");
    match text.split_once('e') {
        Some((digits, exponent)) if digits.contains('.') => {
            let digits = digits.trim_end_matches('0').trim_end_matches('.');
            format!("{digits}e{exponent}")
        }
        _ => text,
    }
}

/// As many decimals as multiples of `step` need.
fn plain(v: f64, step: f64) -> String {
    let size = v.abs();
    if size == 0.0 || (1e-4..1e5).contains(&size) {
        return fixed(v, decimals(step, 6));
    }
    si(v, step)
}

/// `500`, `1k`, `1.5k`, `2M`; `step` says how fine neighbouring numbers differ.
fn si(v: f64, step: f64) -> String {
    let size = v.abs();
    if size != 0.0 && !(1e-4..1e15).contains(&size) {
        return scientific(v);
    }
    let (divisor, suffix) = match size {
        s if s < 1e3 => return fixed(v, decimals(step, 6)),
        s if s >= 1e12 => (1e12, "T"),
        s if s >= 1e9 => (1e9, "G"),
        s if s >= 1e6 => (1e6, "M"),
        _ => (1e3, "k"),
    };
    // 1024 reads better than 1.024k.
    if divisor == 1e3 && size < 1e5 && decimals(step / divisor, 2) > 1 {
        return fixed(v, decimals(step, 6));
    }
    let short = v / divisor;
    format!("{}{suffix}", fixed(short, decimals(short, 3)))
}

const TIMES: [(f64, &str); 4] = [(1.0, "s"), (1e-3, "ms"), (1e-6, "µs"), (1e-9, "ns")];

fn time_unit(seconds: f64) -> (f64, &'static str) {
    // A little less than the unit still rounds to it.
    let fits = |t: &&(f64, &str)| seconds.abs() >= t.0 * 0.999_5;
    TIMES.iter().find(fits).copied().unwrap_or(TIMES[3])
}

/// One tick by itself: explicit and logarithmic ticks.
fn single(v: f64, unit: Unit) -> String {
    match unit {
        Unit::Number => si(v, v),
        Unit::Factor => format!("{}×", plain(v, v)),
        Unit::Share => format!("{}%", plain(v * 100.0, v * 100.0)),
        Unit::Seconds if v == 0.0 => "0 s".to_owned(),
        Unit::Seconds => {
            let (divisor, name) = time_unit(v);
            format!("{} {name}", plain(v / divisor, v / divisor))
        }
    }
}

/// Ticks of an axis with a constant step: all with the same unit and decimals.
fn stepped(v: f64, step: f64, largest: f64, unit: Unit) -> String {
    match unit {
        Unit::Number => si(v, step),
        Unit::Factor => format!("{}×", plain(v, step)),
        Unit::Share => format!("{}%", plain(v * 100.0, step * 100.0)),
        Unit::Seconds => {
            // 0 … 1200 ms rather than 0 … 1.2 s.
            let (divisor, name) = time_unit(largest / 2.0);
            format!("{} {name}", plain(v / divisor, step / divisor))
        }
    }
}

/// The texts of the ticks.
pub(super) fn ticks(values: &[f64], step: Option<f64>, unit: Unit) -> Vec<String> {
    let largest = values.iter().fold(0.0, |m: f64, v| m.max(v.abs()));
    let write = |v: &f64| match step {
        Some(step) => stepped(*v, step, largest, unit),
        None => single(*v, unit),
    };
    values.iter().map(write).collect()
}

/// Three significant digits: `1.23 s`, `611 ms`, `12.0 ms`.
pub(super) fn duration(seconds: f64) -> String {
    if !seconds.is_finite() {
        return "–".to_owned();
    }
    let (divisor, name) = time_unit(seconds);
    let v = seconds / divisor;
    if v.abs() >= 1e5 {
        return format!("{} {name}", si(v, v));
    }
    let decimals = match v.abs() {
        s if s >= 99.95 || s == 0.0 => 0,
        s if s >= 9.995 => 1,
        _ => 2,
    };
    format!("{} {name}", fixed(v, decimals))
}

/// Three significant digits, and no decimals where a whole number needs none.
fn three_digits(v: f64) -> String {
    let size = v.abs();
    if size >= 1e5 {
        let last = 10f64.powi(size.log10().floor() as i32 - 2);
        let rounded = (v / last).round() * last;
        return si(rounded, rounded);
    }
    if size != 0.0 && size < 1e-3 {
        return si(v, v);
    }
    let decimals = match size {
        _ if v == v.round() => 0,
        s if s >= 99.95 => 0,
        s if s >= 9.995 => 1,
        s if s >= 0.9995 => 2,
        _ => 3,
    };
    fixed(v, decimals)
}

/// One value by itself: three significant digits, shares to a tenth of a percent.
pub(super) fn value(v: f64, unit: Unit) -> String {
    if !v.is_finite() {
        return "–".to_owned();
    }
    match unit {
        Unit::Seconds => duration(v),
        Unit::Number => three_digits(v),
        Unit::Factor => format!("{}×", three_digits(v)),
        Unit::Share => format!("{}%", three_digits((v * 1000.0).round() / 10.0)),
    }
}

/// Whole milliseconds below a second: `240 ms`, `12 ms`, `1.25 s`.
pub(super) fn gap(seconds: f64) -> String {
    if (0.0095..0.9995).contains(&seconds) {
        return format!("{:.0} ms", seconds * 1e3);
    }
    duration(seconds)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn all(values: &[f64], step: Option<f64>, unit: Unit) -> String {
        ticks(values, step, unit).join(" | ")
    }

    #[test]
    fn numbers_use_k_only_where_it_is_shorter() {
        assert_eq!(
            all(&[0.0, 500.0, 1000.0, 1500.0], Some(500.0), Unit::Number),
            "0 | 500 | 1k | 1.5k"
        );
        assert_eq!(all(&[-1000.0, 1250.0], Some(250.0), Unit::Number), "-1000 | 1250");
        assert_eq!(all(&[512.0, 1024.0, 20_000.0], None, Unit::Number), "512 | 1024 | 20k");
        assert_eq!(all(&[0.0, 0.25, 0.5], Some(0.25), Unit::Number), "0 | 0.25 | 0.50");
        assert_eq!(all(&[-1e18, 2e-9], None, Unit::Number), "-1e18 | 2e-9");
    }

    #[test]
    fn units_are_written() {
        assert_eq!(all(&[5e-4, 0.01, 1.0], None, Unit::Seconds), "500 µs | 10 ms | 1 s");
        assert_eq!(all(&[0.0, 0.2, 1.2], Some(0.2), Unit::Seconds), "0 ms | 200 ms | 1200 ms");
        assert_eq!(all(&[0.0, 0.5, 2.0], Some(0.5), Unit::Seconds), "0 s | 0.5 s | 2.0 s");
        assert_eq!(all(&[0.0, 0.5, 1.0], Some(0.5), Unit::Share), "0% | 50% | 100%");
        assert_eq!(all(&[0.5, 2.0], None, Unit::Factor), "0.5× | 2×");
    }

    #[test]
    fn durations_have_three_digits() {
        let written: Vec<_> = [1.2, 0.611, 0.012, 0.9999, 0.0].map(duration).into();
        assert_eq!(written, ["1.20 s", "611 ms", "12.0 ms", "1.00 s", "0 ns"]);
        assert_eq!([0.24, 0.012, 1.25].map(gap), ["240 ms", "12 ms", "1.25 s"]);
    }

    #[test]
    fn single_values_carry_their_unit() {
        let write = |v: f64| {
            [Unit::Number, Unit::Seconds, Unit::Share, Unit::Factor].map(|unit| value(v, unit))
        };
        assert_eq!(write(0.5738), ["0.574", "574 ms", "57.4%", "0.574×"]);
        assert_eq!(write(1.0), ["1", "1.00 s", "100%", "1×"]);
        assert_eq!(write(12.346), ["12.3", "12.3 s", "1235%", "12.3×"]);
        assert_eq!(write(f64::NAN), ["–"; 4]);
        assert_eq!(
            [2_345_678.0, 148_443_000.0, 999_700.0, 100_000.0].map(|v| value(v, Unit::Number)),
            ["2.35M", "148M", "1M", "100k"]
        );
    }
}
