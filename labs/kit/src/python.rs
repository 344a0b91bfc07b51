//! The same experiment in Python, for comparison: asyncio and aiohttp, if the reader has them.
//!
//! A script is a file of a lab's `python` folder, embedded, so that a copied binary needs no other file. It
//! gets the upstream's address and its parameters as flags, times itself, and prints one JSON object
//! that `labs/kit/python/common.py` describes. What is printed is checked like a stranger's books.

use std::{
    collections::BTreeMap,
    io::Write,
    path::PathBuf,
    process::{Command, Stdio},
    sync::{Mutex, PoisonError},
    time::{Duration, Instant},
};

use anyhow::{Context, bail, ensure};
use serde::Deserialize;
use tokio::{io::AsyncReadExt, process::Command as AsyncCommand};

use crate::{record::Trial, stop::Stop};

/// What all scripts import.
const COMMON: &str = include_str!("../python/common.py");

/// Names under which an interpreter is looked for.
pub const NAMES: [&str; 2] = ["python3", "python"];

/// Asks an interpreter who it is, and whether it has a module. Runs on any Python since 2.7.
const PROBE: &str = r#"
import json, platform, sys
try:
    import MODULE
    found = MODULE.__version__
except Exception:
    found = None
print(json.dumps({"executable": sys.executable, "major": sys.version_info[0],
    "minor": sys.version_info[1], "version": platform.python_version(), "MODULE": found}))
"#;

/// Longer than any interpreter needs to start and import aiohttp, even from a cold disk.
const PROBE_LIMIT: Duration = Duration::from_secs(30);

/// How much of what a script wrote to standard error is shown when it fails.
const LAST_WORDS: usize = 2000;

/// An interpreter that can run the scripts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Python {
    /// The interpreter itself, not a launcher in front of it.
    executable: PathBuf,
    /// "3.12.1".
    pub version: String,
    /// Version of aiohttp.
    pub aiohttp: String,
}

/// A script of a lab.
#[derive(Clone, Copy, Debug)]
pub struct Script {
    name: &'static str,
    source: &'static str,
}

impl Script {
    /// The script `python/<name>` of a lab with its source.
    pub const fn new(name: &'static str, source: &'static str) -> Script {
        Script { name, source }
    }
}

/// What an interpreter says of itself.
#[derive(Deserialize)]
struct Answer {
    executable: Option<String>,
    major: u32,
    minor: u32,
    version: String,
    aiohttp: Option<String>,
}

impl Python {
    /// The interpreter itself.
    pub fn executable(&self) -> &std::path::Path {
        &self.executable
    }

    /// Looks for an interpreter, once a process.
    ///
    /// # Errors
    /// What is missing and how to get it, as a sentence.
    pub fn find() -> Result<Python, String> {
        static FOUND: Mutex<Option<Result<Python, String>>> = Mutex::new(None);
        FOUND
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .get_or_insert_with(|| Python::find_among(&NAMES))
            .clone()
    }

    /// The first of these that can run the scripts; else why the first that is there cannot.
    fn find_among(names: &[&str]) -> Result<Python, String> {
        let mut why = None;
        for name in names {
            let Some(answer) = ask(name, "aiohttp", PROBE_LIMIT) else {
                continue;
            };
            match Python::judge(name, &answer) {
                Ok(python) => return Ok(python),
                Err(reason) => why = why.or(Some(reason)),
            }
        }
        Err(why.unwrap_or_else(|| {
            format!(
                "there is no {} here; install Python 3.9 or later from python.org or your system's packages, then run `python3 -m pip install aiohttp`",
                names.join(" and no ")
            )
        }))
    }

    fn judge(name: &str, answer: &str) -> Result<Python, String> {
        let Ok(answer) = serde_json::from_str::<Answer>(answer) else {
            return Err(format!("what is called {name} here is no Python"));
        };
        let version = answer.version;
        if (answer.major, answer.minor) < (3, 9) {
            return Err(format!(
                "{name} is Python {version}, too old: install 3.9 or later, then run `python3 -m pip install aiohttp`"
            ));
        }
        let Some(aiohttp) = answer.aiohttp else {
            return Err(format!(
                "{name} is Python {version}, but without aiohttp: run `{name} -m pip install aiohttp`"
            ));
        };
        let executable = answer.executable.filter(|e| !e.is_empty());
        Ok(Python {
            executable: executable.unwrap_or_else(|| name.into()).into(),
            version,
            aiohttp,
        })
    }

    /// Runs a script to its end and reads its books. `None` when the run was stopped meanwhile.
    ///
    /// # Errors
    /// When it cannot be started, fails, takes longer than `limit`, or prints what is no books; with
    /// what it wrote to standard error.
    pub(crate) async fn run(
        &self,
        script: Script,
        words: Vec<String>,
        limit: Duration,
        stop: &Stop,
    ) -> anyhow::Result<Option<Books>> {
        let name = script.name;
        // Files and not `-c`: worker processes import the script, and tracebacks show its lines.
        let folder = crate::scratch::folder().context("no temporary folder for a Python script")?;
        for (file, source) in [("common.py", COMMON), (name, script.source)] {
            std::fs::write(folder.path().join(file), source)
                .context("cannot write a Python script to the temporary folder")?;
        }
        let mut command = std::process::Command::new(&self.executable);
        crate::os::by_itself(&mut command);
        let mut child = AsyncCommand::from(command)
            .arg(folder.path().join(name))
            .args(&words)
            // Held open until the script has ended: when this process goes, so does the script.
            .arg("--parent")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .env("PYTHONIOENCODING", "utf-8")
            .env("PYTHONDONTWRITEBYTECODE", "1")
            .kill_on_drop(true)
            .spawn()
            .with_context(|| format!("cannot start {}", self.executable.display()))?;
        let (mut out, mut err) = (Vec::new(), Vec::new());
        let (mut stdout, mut stderr) = (
            child.stdout.take().context("no standard output")?,
            child.stderr.take().context("no standard error")?,
        );
        let stdin = child.stdin.take();
        let ended = {
            let whole = async {
                tokio::try_join!(stdout.read_to_end(&mut out), stderr.read_to_end(&mut err))?;
                child.wait().await
            };
            tokio::select! {
                ended = tokio::time::timeout(limit, whole) => ended.ok(),
                () = stop.wait() => {
                    drop(stdin);
                    // Waited for, so that its processor time is known to be ours.
                    child.kill().await.ok();
                    return Ok(None);
                }
            }
        };
        drop(stdin);
        let Some(status) = ended else {
            child.kill().await.ok();
            bail!("{name} did not end within {:.0} s{}", limit.as_secs_f64(), last_words(&err));
        };
        let status = status.with_context(|| format!("{name} was lost"))?;
        ensure!(status.success(), "{name} failed ({status}){}", last_words(&err));
        let text = String::from_utf8_lossy(&out);
        let books = Books::read(&text).with_context(|| format!("{name}{}", last_words(&err)))?;
        Ok(Some(books))
    }
}

/// What the interpreter of that name says of itself and of a module: a JSON object with `executable`,
/// `major`, `minor`, `version` and, by its name, the module's version or null. `None` when there is no
/// such interpreter, or it does not answer within `limit`.
pub fn ask(name: &str, module: &str, limit: Duration) -> Option<String> {
    let mut child = Command::new(name)
        .arg("-")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .ok()?;
    // One that does not read is found out by its answer.
    let _ = child.stdin.take()?.write_all(PROBE.replace("MODULE", module).as_bytes());
    let began = Instant::now();
    // A launcher may stand there that asks questions or fetches things: it is not waited for.
    let status = loop {
        match child.try_wait() {
            Ok(Some(status)) => break status,
            Ok(None) if began.elapsed() < limit => {
                std::thread::sleep(Duration::from_millis(5));
            }
            _ => {
                let _ = child.kill();
                let _ = child.wait();
                return None;
            }
        }
    };
    let mut answer = String::new();
    // The answer is far smaller than a pipe.
    std::io::Read::read_to_string(&mut child.stdout.take()?, &mut answer).ok()?;
    status.success().then_some(answer)
}

/// The end of standard error, as the end of a sentence.
fn last_words(err: &[u8]) -> String {
    let text = String::from_utf8_lossy(err);
    let text = text.trim();
    if text.is_empty() {
        return String::new();
    }
    let skip = text.chars().count().saturating_sub(LAST_WORDS);
    let end: String = text.chars().skip(skip).collect();
    format!("; it wrote:\n{}{end}", if skip > 0 { "…" } else { "" })
}

/// What a script did, as it says.
#[derive(Clone, Debug)]
pub(crate) struct Books {
    /// As the books of any trial.
    pub trial: Trial,
    /// Requests that only opened connections.
    pub doors: u64,
}

/// A script's standard output.
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

/// No script runs as long.
const LONGEST_S: f64 = 24.0 * 3600.0;

impl Books {
    /// Reads what a script printed.
    ///
    /// # Errors
    /// When it is not one JSON object of the known fields, when a number makes no sense, or when the
    /// books do not close: then nothing is known about what the script did.
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

    /// What a script might print.
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
    fn a_scripts_output_becomes_a_trial() {
        let Books { trial, doors } = Books::read(&format!("{}\n", output())).unwrap();
        assert!(trial.books_close());
        assert_eq!((trial.offered, trial.ok, trial.failed, doors), (7, 2, 3, 5));
        assert_eq!(trial.attempt_latency.count(), 7);
        let mean = trial.latency.mean_s().unwrap();
        assert!((mean - 0.0501).abs() < 1e-4, "{mean}");
        assert_eq!(trial.gauges["goodput_per_s"], 4.0);
        assert_eq!(trial.gauges["attempts_per_s"], 14.0);
        assert_eq!(trial.gauges["client_cpu_share"], 0.25);
        // What the script computed itself stays.
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

    #[test]
    fn what_is_missing_is_said_with_how_to_get_it() {
        let answer = |major: u32, minor: u32, aiohttp: Value| {
            let version = format!("{major}.{minor}.1");
            json!({"executable": "/opt/python", "major": major, "minor": minor,
                "version": version, "aiohttp": aiohttp})
            .to_string()
        };
        let judge = |text: &str| Python::judge("python3", text);
        let found = judge(&answer(3, 9, json!("3.11.2"))).unwrap();
        assert_eq!((found.version.as_str(), found.aiohttp.as_str()), ("3.9.1", "3.11.2"));
        let why = judge(&answer(3, 12, Value::Null)).unwrap_err();
        assert!(why.contains("python3 -m pip install aiohttp"), "{why}");
        let why = judge(&answer(3, 8, json!("3.9.0"))).unwrap_err();
        assert!(why.contains("3.9 or later"), "{why}");
        let why = judge(&answer(2, 7, Value::Null)).unwrap_err();
        assert!(why.contains("too old"), "{why}");
        assert!(judge("not JSON").unwrap_err().contains("python3"));
    }

    #[test]
    fn an_interpreter_that_is_not_there_is_no_error_of_ours() {
        let why = Python::find_among(&["no-such-python-3", "no-such-python"]).unwrap_err();
        assert!(why.contains("there is no no-such-python-3 and no no-such-python here"), "{why}");
        assert!(why.contains("python3 -m pip install aiohttp"), "{why}");
    }

    #[tokio::test]
    async fn an_interpreter_that_vanished_is_an_error_with_its_name() {
        let python = Python {
            executable: "/no/such/python3".into(),
            version: "3.12.0".into(),
            aiohttp: "3.11".into(),
        };
        let script = Script::new("lab00.py", "");
        let stop = Stop::default();
        let run = python.run(script, vec![], Duration::from_secs(5), &stop);
        let why = format!("{:#}", run.await.unwrap_err());
        assert!(why.contains("cannot start /no/such/python3"), "{why}");
    }

    #[test]
    fn last_words_are_the_last() {
        let long = format!("first\n{}last", "x".repeat(3 * LAST_WORDS));
        let words = last_words(long.as_bytes());
        assert!(words.ends_with("last") && words.contains('…') && !words.contains("first"));
        assert_eq!(last_words(b" \n"), "");
    }
}
