//! What a program says it did. It is checked like a stranger's books.

use std::{collections::BTreeMap, time::Duration};

use anyhow::{Context, bail, ensure};
use serde::Deserialize;

use crate::record::Trial;

/// What a program did, as it says.
#[derive(Clone, Debug)]
pub(crate) struct Books {
    /// As the books of any trial.
    pub trial: Trial,
    /// Requests that only opened connections.
    pub doors: u64,
}

/// A program's standard output.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Printed {
    wall_s: f64,
    offered: u64,
    ok: u64,
    rejected: u64,
    timed_out: u64,
    failed: u64,
    #[serde(default)]
    never_sent: u64,
    #[serde(default)]
    failures: BTreeMap<String, u64>,
    latencies_s: Vec<f64>,
    #[serde(default)]
    attempt_latencies_s: Vec<f64>,
    #[serde(default)]
    doors: u64,
    #[serde(default)]
    gauges: BTreeMap<String, f64>,
}

/// None runs as long.
const LONGEST_S: f64 = 24.0 * 3600.0;

impl Books {
    /// Reads what a program printed.
    ///
    /// # Errors
    /// When it is not one JSON object of the known fields, when a number makes no sense, or when the
    /// books do not close: then nothing is known about what the program did.
    pub fn read(text: &str) -> anyhow::Result<Books> {
        ensure!(!text.trim().is_empty(), "printed nothing");
        let printed: Printed =
            serde_json::from_str(text.trim()).context("printed what is not its results")?;
        let sensible = |s: f64| (0.0..=LONGEST_S).contains(&s);
        ensure!(
            sensible(printed.wall_s) && printed.wall_s > 0.0,
            "wall_s is {}: no length of time",
            printed.wall_s
        );
        for (name, times) in [
            ("latencies_s", &printed.latencies_s),
            ("attempt_latencies_s", &printed.attempt_latencies_s),
        ] {
            if let Some(odd) = times.iter().find(|t| !sensible(**t)) {
                bail!("{name} holds {odd}: no length of time");
            }
        }
        let mut trial = Trial {
            wall_s: printed.wall_s,
            offered: printed.offered,
            ok: printed.ok,
            rejected: printed.rejected,
            timed_out: printed.timed_out,
            failed: printed.failed,
            never_sent: printed.never_sent,
            failures: printed.failures,
            gauges: printed.gauges,
            ..Trial::default()
        };
        let (times, attempts) = (&printed.latencies_s, &printed.attempt_latencies_s);
        ensure!(
            times.len() as u64 == trial.ok,
            "{} latencies for {} successes",
            times.len(),
            trial.ok
        );
        ensure!(
            attempts.len() as u64 <= trial.offered,
            "{} attempts ended of {} offered",
            attempts.len(),
            trial.offered
        );
        for (histogram, times) in
            [(&mut trial.latency, times), (&mut trial.attempt_latency, attempts)]
        {
            times.iter().for_each(|t| histogram.record(Duration::from_secs_f64(*t)));
        }
        ensure!(
            trial.books_close(),
            "the books do not close: {} offered, but {} ok, {} rejected, {} timed out, {} failed ({:?}), {} never sent",
            trial.offered,
            trial.ok,
            trial.rejected,
            trial.timed_out,
            trial.failed,
            trial.failures,
            trial.never_sent
        );
        let rate = |n: u64| n as f64 / trial.wall_s;
        let (good, all) = (rate(trial.ok), rate(trial.offered));
        trial.gauges.entry("goodput_per_s".into()).or_insert(good);
        trial.gauges.entry("attempts_per_s".into()).or_insert(all);
        Ok(Books { trial, doors: printed.doors })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    /// What a program might print.
    fn output() -> Value {
        json!({
            "wall_s": 0.5, "offered": 7, "ok": 2, "rejected": 1, "timed_out": 1, "failed": 3,
            "failures": {"status 500": 2, "connect": 1}, "latencies_s": [0.05, 0.0502],
            "attempt_latencies_s": [0.05, 0.0502, 0.001, 0.3, 0.05, 0.05, 0.001],
            "doors": 5, "gauges": {"client_cpu_share": 0.25},
        })
    }

    fn refusal(output: &Value) -> String {
        let error = Books::read(&output.to_string()).expect_err("refused");
        format!("{error:#}")
    }

    fn with(name: &str, value: Value) -> Value {
        let mut output = output();
        output[name] = value;
        output
    }

    #[test]
    fn a_programs_output_becomes_a_trial() {
        let Books { trial, doors } = Books::read(&format!("{}\n", output())).unwrap();
        assert!(trial.books_close());
        assert_eq!((trial.offered, trial.ok, trial.failed, doors), (7, 2, 3, 5));
        assert_eq!(trial.attempt_latency.count(), 7);
        let mean = trial.latency.mean_s().unwrap();
        assert!((mean - 0.0501).abs() < 1e-4, "{mean}");
        assert_eq!(trial.gauges["goodput_per_s"], 4.0);
        assert_eq!(trial.gauges["attempts_per_s"], 14.0);
        assert_eq!(trial.gauges["client_cpu_share"], 0.25);
        // What the program computed itself stays.
        let own = with("gauges", json!({"goodput_per_s": 3.5}));
        let own = Books::read(&own.to_string()).unwrap();
        assert_eq!(own.trial.gauges["goodput_per_s"], 3.5);
    }

    #[test]
    fn missing_and_unknown_fields_are_named() {
        for name in ["wall_s", "offered", "ok", "rejected", "timed_out", "failed", "latencies_s"] {
            let mut output = output();
            output.as_object_mut().unwrap().remove(name);
            let why = refusal(&output);
            assert!(why.contains(&format!("`{name}`")), "{why}");
        }
        let why = refusal(&with("abandoned", json!(1)));
        assert!(why.contains("abandoned"), "{why}");
    }

    #[test]
    fn numbers_that_make_no_sense_are_refused() {
        for (name, value) in [
            ("wall_s", json!(0.0)),
            ("wall_s", json!(-1.0)),
            ("wall_s", json!(1e9)),
            ("wall_s", json!("0.5")),
            ("offered", json!(-7)),
            ("ok", json!(2.5)),
            ("failed", Value::Null),
            ("latencies_s", json!([0.05, -0.05])),
            ("latencies_s", json!([0.05, 1e300])),
            ("latencies_s", json!([0.05, null])),
            ("attempt_latencies_s", json!([-1])),
            ("gauges", json!({"share": "a quarter"})),
        ] {
            let why = refusal(&with(name, value.clone()));
            assert!(!why.contains("do not close"), "{name} {value}: {why}");
        }
        for text in ["", " \n", "NaN", "[1]", "{}{}", "hello\n{}", "{\"wall_s\": NaN}"] {
            assert!(Books::read(text).is_err(), "{text:?}");
        }
    }

    #[test]
    fn books_that_do_not_close_are_refused() {
        for (name, value) in [
            ("offered", json!(8)),
            ("rejected", json!(0)),
            ("timed_out", json!(u64::MAX)),
            ("never_sent", json!(1)),
            ("failures", json!({"connect": 1})),
        ] {
            let why = refusal(&with(name, value.clone()));
            assert!(why.contains("the books do not close"), "{name} {value}: {why}");
        }
        assert!(refusal(&with("latencies_s", json!([0.05]))).contains("1 latencies for 2"));
        let ended = with("attempt_latencies_s", json!(vec![0.1; 8]));
        assert!(refusal(&ended).contains("8 attempts ended of 7"));
    }
}
