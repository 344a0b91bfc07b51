//! The same job in Python, for comparison: one process, the standard library's pool of processes, and
//! Ray, if the reader has them.

use std::{path::PathBuf, process::Command};

use anyhow::{Context, ensure};
use lab_kit::{child::Bounds, prelude::*, session::Plan};

use super::{Params, bench::Bench, count::Digest, gauges, plan::PAIR};

const SCRIPT: &str = include_str!("../python/lab18.py");

/// Longer than it takes to import Ray from a cold disk.
const PROBE_LIMIT: Duration = Duration::from_secs(60);
/// Longer than any arm, which starts Ray and counts a gigabyte a few times.
const LIMIT: Duration = Duration::from_secs(900);
/// Ray has many processes, and a store of objects; a gigabyte of text is there several times.
const BOUNDS: Bounds = Bounds { memory: 16_000_000_000, processes: 1024, ..Bounds::of(LIMIT) };

/// An arm in Python: its name there, its name for the reader, whether it is one with Ray, and the arm
/// in Rust it stands beside.
const ARMS: [(&str, &str, bool, Beside); 5] = [
    ("one", "one process", false, Beside::OneThread),
    ("text", "two processes, sent the text", false, Beside::Text),
    ("path", "two processes, sent the path", false, Beside::Path),
    ("ray-text", "two Ray tasks, sent the text", true, Beside::Text),
    ("ray", "two Ray tasks, sent the path", true, Beside::Path),
];

#[derive(Clone, Copy)]
enum Beside {
    OneThread,
    Text,
    Path,
}

/// An interpreter that can run the script.
#[derive(Clone, Debug, Deserialize)]
pub(super) struct Python {
    executable: PathBuf,
    major: u32,
    minor: u32,
    version: String,
    ray: Option<String>,
}

/// Looks for Python and Ray; a note says what was found, or what is missing and how to get it.
pub(super) fn find(session: &mut Session) -> Option<Python> {
    let answers = runtimes::PYTHONS.iter().filter_map(|name| {
        let answer = runtimes::ask(name, "ray", PROBE_LIMIT)?;
        serde_json::from_str::<Python>(&answer).ok()
    });
    // The first with Ray, or else the first.
    let mut fit: Vec<Python> = answers.filter(|p| (p.major, p.minor) >= (3, 9)).collect();
    fit.sort_by_key(|p| p.ray.is_none());
    let Some(python) = fit.into_iter().next() else {
        session.note("no comparison with Ray: there is no Python 3.9 or later here; install it, then run `python3 -m pip install ray`");
        return None;
    };
    session.note(match &python.ray {
        Some(ray) => format!("compared with Python {} and Ray {ray}", python.version),
        None => format!(
            "compared with Python {}; no comparison with Ray: run `{} -m pip install ray`",
            python.version,
            python.executable.display()
        ),
    });
    Some(python)
}

/// What the script prints.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Printed {
    wall_s: f64,
    start_s: f64,
    words: u64,
    distinct: u64,
    sum: String,
}

impl Printed {
    fn read(text: &str) -> Result<Printed> {
        let printed: Printed = serde_json::from_str(text.trim()).context("no results")?;
        let sensible = |s: f64| s > 0.0 && s < LIMIT.as_secs_f64();
        ensure!(
            sensible(printed.wall_s) && sensible(printed.start_s),
            "wall_s {} and start_s {}: no lengths of time",
            printed.wall_s,
            printed.start_s
        );
        Ok(printed)
    }

    fn digest(&self) -> Result<Digest> {
        Ok(Digest {
            words: self.words,
            distinct: self.distinct,
            sum: self.sum.parse().context("sum is no number")?,
        })
    }
}

/// Adds a condition for each arm that can run here.
pub(super) fn add<'a>(
    plan: &mut Plan<'_, 'a>,
    python: &'a Python,
    p: &'a Params,
    bench: &'a Bench,
) {
    for (arm, _, ray, _) in ARMS {
        if ray && python.ray.is_none() {
            continue;
        }
        plan.point(&format!("python/{arm}"), 0.0, move |r| {
            let folder = r.folder()?;
            let script = folder.path().join("lab18.py");
            std::fs::write(&script, SCRIPT)?;
            let mut command = Command::new(&python.executable);
            command
                .arg(&script)
                .args(["--arm", arm, "--workers", &PAIR.to_string()])
                .args(["--bytes", &p.bytes.b().to_string()])
                .args(["--rounds", &p.rounds.to_string(), "--parent", "--file"])
                .arg(&bench.file)
                .env("PYTHONDONTWRITEBYTECODE", "1")
                .env("RAY_USAGE_STATS_ENABLED", "0");
            let ended = r.command(command, BOUNDS).context("cannot start Python")?;
            let Some(ended) = ended else {
                return Ok(());
            };
            ensure!(ended.is_well(), "lab18.py --arm {arm} {}", ended.why());
            let printed = Printed::read(&ended.out).with_context(|| {
                format!("lab18.py --arm {arm} wrote {:?}{}", ended.out, ended.said())
            })?;
            r.wall(Duration::from_secs_f64(printed.wall_s));
            r.gauge(gauges::START_S, printed.start_s);
            bench.check(r, p.bytes, printed.digest()?)
        });
    }
}

/// Rust and Python beside each other; no claim, since it depends on the interpreter and on Ray.
pub(super) fn table(summary: &Summary) -> Option<Table> {
    let python = |arm: &str| summary.only(&format!("python/{arm}"));
    let rust = |beside: Beside| {
        let condition = match beside {
            Beside::OneThread => summary.series("one thread").pop(),
            Beside::Text => summary.only("text"),
            Beside::Path => summary.at("combined", PAIR as f64),
        };
        condition.and_then(|k| k.wall_s())
    };
    let times = |one: Option<Estimate>, it: Option<Estimate>| {
        one.zip(it).map_or("–".into(), |(one, it)| format!("{}×", number(one.value / it.value)))
    };
    let (one, one_in_python) = (rust(Beside::OneThread), python("one").and_then(|k| k.wall_s()));
    let arms = ARMS.into_iter();
    let arms = arms.filter_map(|(arm, name, _, beside)| Some((name, rust(beside), python(arm)?)));
    Table::of("The same in Python", arms)
        .column("arm", |(name, ..)| name.to_string())
        .cells("a job, Rust", seconds, |(_, rust, _)| *rust)
        .cells("Python", seconds, |(.., k)| k.wall_s())
        .column("speed-up over one, Rust", |(_, rust, _)| times(one, *rust))
        .column("Python", |(.., k)| times(one_in_python, k.wall_s()))
        .cells("start-up, Python", seconds, |(.., k)| k.gauge(gauges::START_S))
        .note("The same text, and the same clock: processes and Ray run already, from the call until the merged counts are there.")
        .unless_empty()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_script_prints_is_checked() {
        let good = r#"{"wall_s": 0.5, "start_s": 1.0, "words": 6, "distinct": 4, "sum": "18446744073709551615"}"#;
        let digest = Printed::read(good).unwrap().digest().unwrap();
        assert_eq!((digest.words, digest.sum), (6, u64::MAX));
        for (from, to) in [("0.5", "-1"), ("1.0", "1e9"), ("\"words\"", "\"word\""), ("}", "")] {
            assert!(Printed::read(&good.replace(from, to)).is_err(), "{to}");
        }
        let odd = Printed::read(&good.replace("18446744073709551615", "many")).unwrap();
        assert!(odd.digest().is_err());
    }
}
