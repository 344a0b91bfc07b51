//! What other programs print.

use anyhow::{Context, Result, ensure};
use serde_json::Value;

/// What one turn gave.
#[derive(Clone, Debug, Default, PartialEq)]
pub(in super::super) struct Reading {
    /// Requests a second, successes only.
    pub(in super::super) per_s: f64,
    /// Requests sent in all.
    pub(in super::super) requests: u64,
    /// Those that failed.
    pub(in super::super) failed: u64,
    /// How, where that is known: " (connect 3)".
    pub(in super::super) failures: String,
    pub(in super::super) p50_s: Option<f64>,
    pub(in super::super) p99_s: Option<f64>,
    pub(in super::super) max_s: Option<f64>,
    /// Processor seconds of the sender.
    pub(in super::super) cpu_s: Option<f64>,
    pub(in super::super) schedule_error_p99_s: Option<f64>,
    pub(in super::super) waited: Option<u64>,
}

/// The text of wrk with `--latency`. It counts answers of any status as requests, and names others
/// than 2xx and 3xx in a line of their own.
pub(in super::super) fn wrk(text: &str) -> Result<Reading> {
    let sent = text.lines().find(|l| l.contains(" requests in "));
    let requests = sent.and_then(|l| l.split_whitespace().next()?.parse().ok());
    // "Latency   280.65us  569.74us   8.15ms   97.64%": average, deviation, largest, within.
    let statistics = text
        .lines()
        .map(str::trim)
        .find_map(|l| l.strip_prefix("Latency "))
        .filter(|l| !l.starts_with("Distribution"));
    let max_s = statistics.and_then(|l| time(l.split_whitespace().nth(2)?));
    let mut failed = after(text, "Non-2xx or 3xx responses:").unwrap_or(0.0);
    if let Some(line) = text.lines().find(|l| l.contains("Socket errors:")) {
        // "Socket errors: connect 0, read 3, write 0, timeout 1".
        let numbers = line.split(|c: char| !c.is_ascii_digit());
        failed += numbers.filter_map(|n| n.parse::<f64>().ok()).sum::<f64>();
    }
    Ok(Reading {
        per_s: after(text, "Requests/sec:").context("no \"Requests/sec:\"")?,
        requests: requests.context("no number of requests")?,
        failed: failed as u64,
        p50_s: word_after(text, " 50%").and_then(time),
        p99_s: word_after(text, " 99%").and_then(time),
        max_s,
        ..Reading::default()
    })
}

/// The text of hey.
pub(in super::super) fn hey(text: &str) -> Result<Reading> {
    let codes = text.lines().filter_map(|line| {
        // "  [200]	30522 responses"
        let (code, rest) = line.trim().strip_prefix('[')?.split_once(']')?;
        let n: u64 = rest.trim().strip_suffix("responses")?.trim().parse().ok()?;
        Some((code.parse::<u16>().ok()?, n))
    });
    let (mut requests, mut failed) = (0, 0);
    for (code, n) in codes {
        requests += n;
        failed += if (200..300).contains(&code) { 0 } else { n };
    }
    if let Some((_, errors)) = text.split_once("Error distribution:") {
        // "  [3]	Get ...: connection refused"
        for line in errors.lines() {
            let number = line.trim().strip_prefix('[').and_then(|l| l.split_once(']'));
            let n: u64 = number.and_then(|(n, _)| n.parse().ok()).unwrap_or(0);
            requests += n;
            failed += n;
        }
    }
    ensure!(requests > 0, "no status codes");
    Ok(Reading {
        per_s: after(text, "Requests/sec:").context("no \"Requests/sec:\"")?,
        requests,
        failed,
        p50_s: after(text, "50% in").or_else(|| after(text, "50%% in")),
        p99_s: after(text, "99% in").or_else(|| after(text, "99%% in")),
        max_s: after(text, "Slowest:"),
        ..Reading::default()
    })
}

/// The JSON of oha. Its "success rate" takes a 500 for a success, so codes are counted here. What was
/// in flight at the end is in its errors and is none.
pub(in super::super) fn oha(text: &str) -> Result<Reading> {
    const CUT: &str = "aborted due to deadline";
    let json: Value = serde_json::from_str(text).context("this is not its JSON")?;
    let counts = |key: &str| {
        let map = json.get(key).and_then(Value::as_object);
        let pairs = map.into_iter().flatten();
        pairs.map(|(name, n)| (name.clone(), n.as_u64().unwrap_or(0))).collect::<Vec<_>>()
    };
    let (mut answered, mut failed) = (0, 0);
    for (code, n) in counts("statusCodeDistribution") {
        answered += n;
        failed += if code.starts_with('2') { 0 } else { n };
    }
    let errors = counts("errorDistribution");
    let lost: u64 = errors.iter().filter(|(e, _)| e != CUT).map(|(_, n)| n).sum();
    let cut: u64 = errors.iter().filter(|(e, _)| e == CUT).map(|(_, n)| n).sum();
    let number = |path: &str| json.pointer(path).and_then(Value::as_f64);
    let total = number("/summary/total").filter(|s| *s > 0.0);
    Ok(Reading {
        // Its own rate counts what was cut off.
        per_s: (answered - failed) as f64 / total.context("no /summary/total")?,
        requests: answered + lost + cut,
        failed: failed + lost,
        p50_s: number("/latencyPercentiles/p50"),
        p99_s: number("/latencyPercentiles/p99"),
        max_s: number("/summary/slowest"),
        ..Reading::default()
    })
}

/// The JSON of this package's script.
pub(in super::super) fn aiohttp(text: &str) -> Result<Reading> {
    let json: Value = serde_json::from_str(text).context("this is not its JSON")?;
    let number = |key: &str| json.get(key).and_then(Value::as_f64);
    let need = |key: &str| number(key).with_context(|| format!("no \"{key}\""));
    let (ok, failed) = (need("ok")?, need("failed")?);
    Ok(Reading {
        per_s: ok / need("wall_s")?,
        requests: (ok + failed) as u64,
        failed: failed as u64,
        p50_s: number("p50_s"),
        p99_s: number("p99_s"),
        max_s: number("max_s"),
        cpu_s: number("cpu_s"),
        ..Reading::default()
    })
}

/// The word that follows some text.
fn word_after<'a>(text: &'a str, before: &str) -> Option<&'a str> {
    text.split_once(before)?.1.split_whitespace().next()
}

/// The number that follows some text.
fn after(text: &str, before: &str) -> Option<f64> {
    word_after(text, before)?.parse().ok()
}

/// "175.00us", "3.39ms", "1.02s", "1.00m" in seconds.
fn time(text: &str) -> Option<f64> {
    let at = text.find(|c: char| c.is_ascii_alphabetic())?;
    let factor = match &text[at..] {
        "us" => 1e-6,
        "ms" => 1e-3,
        "s" => 1.0,
        "m" => 60.0,
        "h" => 3600.0,
        _ => return None,
    };
    Some(text[..at].parse::<f64>().ok()? * factor)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn near(a: Option<f64>, b: f64) {
        assert!(a.is_some_and(|a| (a / b - 1.0).abs() < 1e-9), "{a:?} {b}");
    }

    #[test]
    fn wrk_is_read() {
        let text = include_str!("../../../tests/samples/wrk.txt");
        let r = wrk(text).unwrap();
        assert_eq!((r.per_s, r.requests, r.failed), (171857.72, 172060, 0));
        near(r.p50_s, 175e-6);
        near(r.p99_s, 3.39e-3);
        near(r.max_s, 8.15e-3);
        let bad = format!(
            "{text}  Socket errors: connect 0, read 3, write 0, timeout 1\n  Non-2xx or 3xx responses: 12\n"
        );
        assert_eq!(wrk(&bad).unwrap().failed, 16);
        assert!(wrk("unable to connect").is_err());
    }

    #[test]
    fn hey_is_read() {
        let text = include_str!("../../../tests/samples/hey.txt");
        let r = hey(text).unwrap();
        assert_eq!((r.per_s, r.requests, r.failed), (30396.4380, 30522, 0));
        near(r.p50_s, 0.0020);
        near(r.p99_s, 0.0056);
        near(r.max_s, 0.0101);
        let bad = text.replace(
            "  [200]\t30522 responses",
            "  [200]\t10 responses\n  [503]\t5 responses\n\nError distribution:\n  [2]\tGet \"http://x\": refused\n",
        );
        let r = hey(&bad).unwrap();
        assert_eq!((r.requests, r.failed), (17, 7));
        assert!(hey("").is_err());
    }

    #[test]
    fn oha_is_read() {
        let text = include_str!("../../../tests/samples/oha.json");
        let r = oha(text).unwrap();
        assert!(r.requests > 0 && r.failed == 0 && r.per_s > 0.0);
        assert!(r.p50_s.is_some() && r.p50_s <= r.p99_s && r.p99_s <= r.max_s);
        let made = r#"{"summary":{"total":2.0,"slowest":0.5},"latencyPercentiles":{"p50":0.1,"p99":0.4},
            "statusCodeDistribution":{"200":10,"500":4},"errorDistribution":{"aborted due to deadline":3,"connection refused":2}}"#;
        let r = oha(made).unwrap();
        assert_eq!((r.per_s, r.requests, r.failed), (5.0, 19, 6));
        assert_eq!((r.p50_s, r.p99_s, r.max_s), (Some(0.1), Some(0.4), Some(0.5)));
        assert!(oha("{}").is_err() && oha("text").is_err());
    }

    #[test]
    fn the_script_is_read() {
        let r = aiohttp(
            r#"{"ok":20,"failed":1,"wall_s":2.0,"p50_s":0.1,"p99_s":0.2,"max_s":0.3,"cpu_s":1.5}"#,
        )
        .unwrap();
        assert_eq!((r.per_s, r.requests, r.failed), (10.0, 21, 1));
        assert_eq!((r.cpu_s, r.max_s), (Some(1.5), Some(0.3)));
        assert!(aiohttp(r#"{"ok":20}"#).is_err());
    }
}
