//! The gate that every record passes before anything is made of it.
//!
//! A record is a file: it may be of somebody else, of another version, or altered. Nothing in it is believed:
//! not its flags, not its counts, not that theory can be computed for it in a reasonable time. One that is
//! refused costs nothing but itself.

use std::{
    sync::{
        atomic::{AtomicUsize, Ordering::Relaxed},
        mpsc::{self, RecvTimeoutError},
    },
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, anyhow, bail, ensure};
use serde_json::Value;

use crate::{
    findings::Findings,
    lab::Experiment,
    os,
    record::{Point, Record, Trial},
};

/// Processor time that theory may take over one record: ten times as much as over any sound one. Not time by the
/// clock, of which a busy machine takes as much as it likes.
const PATIENCE_S: f64 = if cfg!(debug_assertions) { 20.0 } else { 4.0 };
/// How often it is looked at.
const LOOK: Duration = Duration::from_millis(50);
/// Theories at work, those included that nobody waits for any more: they share the processor time.
static AT_WORK: AtomicUsize = AtomicUsize::new(0);
/// Longest text of the flags of a run, in bytes.
const FLAGS: usize = 1 << 16;
/// Most conditions of a run.
const POINTS: usize = 10_000;
/// Most processors of a machine.
const CORES: usize = 65_536;
/// Longest trial, in seconds: a flag takes an hour at most.
const LONGEST_S: f64 = 1e6;
/// Largest figure that a trial has: nanoseconds, bytes and seeds stay below.
const LARGEST: f64 = 1e16;

/// What a lab concludes from a record of its own, with the record.
///
/// # Errors
/// The lab's name and the reason, when the record is none that the lab could have written, or when theory does
/// not come to an end over it.
pub fn explained(lab: &'static dyn Experiment, record: Record) -> Result<(Record, Findings)> {
    let id = lab.card().id();
    sane(&record).with_context(|| id.clone())?;
    vet(lab, &record.params).with_context(|| id.clone())?;
    let (done, waits) = mpsc::channel();
    let work = move || {
        let findings = lab.explain(&record);
        AT_WORK.fetch_sub(1, Relaxed);
        // Whoever waited may have left.
        let _ = done.send((record, findings));
    };
    AT_WORK.fetch_add(1, Relaxed);
    if let Err(why) = thread::Builder::new().spawn(work) {
        AT_WORK.fetch_sub(1, Relaxed);
        return Err(why)
            .context("no thread for theory: the limit on processes (ulimit -u) may be too low");
    }
    let (began, spent) = (Instant::now(), processor_s());
    loop {
        match waits.recv_timeout(LOOK) {
            Ok((record, findings)) => return Ok((record, findings?)),
            Err(RecvTimeoutError::Disconnected) => bail!("{id}: theory ended without a result"),
            Err(RecvTimeoutError::Timeout) => {}
        }
        let mine = match (processor_s(), spent) {
            (Some(now), Some(before)) => (now - before) / AT_WORK.load(Relaxed).max(1) as f64,
            // By the clock where the system does not tell, and with more patience.
            _ => began.elapsed().as_secs_f64() / 5.0,
        };
        ensure!(
            mine <= PATIENCE_S,
            "{id}: theory takes more than {PATIENCE_S} s of processor time over this record"
        );
    }
}

/// Processor seconds of this process.
fn processor_s() -> Option<f64> {
    os::usage().map(|used| used.cpu_s)
}

/// Sizes that no run has, and that would make theory or a page useless.
fn sane(record: &Record) -> Result<()> {
    let host = &record.host;
    let widths = &host.effective_parallelism;
    ensure!(
        (1..=CORES).contains(&host.cores) && (1..=CORES).contains(&widths.len()),
        "its machine has {} processors and {} effective parallelisms",
        host.cores,
        widths.len()
    );
    for (what, value, most) in [
        ("host.timer_late_ms", host.timer_late_ms, 1e6),
        ("host.timer_late_p99_ms", host.timer_late_p99_ms, 1e6),
        ("host.spin_jitter_ms", host.spin_jitter_ms, 1e6),
        ("host.upstream_ceiling_per_s", host.upstream_ceiling_per_s, 1e9),
        ("host.request_overhead_ms", host.request_overhead_ms, 1e6),
    ]
    .into_iter()
    .chain(widths.iter().map(|width| ("host.effective_parallelism", *width, 1e5)))
    {
        ensure!((0.0..=most).contains(&value), "{what} is {value:e}: no machine has that");
    }
    ensure!(record.points.len() <= POINTS, "it has {} conditions", record.points.len());
    record.points.iter().try_for_each(possible)
}

/// A condition as a run may have it.
fn possible(point: &Point) -> Result<()> {
    let Point { series, x, trials } = point;
    let length = series.len();
    ensure!(length <= 200, "a series has a name of {length} bytes");
    let place = *x == 0.0 || (1e-6..=2e12).contains(x);
    ensure!(place, "{series} is measured at {x:e}");
    ensure!(!trials.is_empty(), "{series} at {x} has no trial");
    for trial in trials {
        measured(trial).with_context(|| format!("{series} at {x}"))?;
    }
    Ok(())
}

/// A trial as it may come out.
fn measured(trial: &Trial) -> Result<()> {
    let time = |s: f64| (0.0..=LONGEST_S).contains(&s);
    let figure = |v: f64| v.abs() <= LARGEST;
    ensure!(time(trial.wall_s), "wall_s is {:e}", trial.wall_s);
    ensure!(trial.offered <= 1_000_000_000_000, "offered is {}", trial.offered);
    for (name, value) in &trial.gauges {
        ensure!(figure(*value), "the gauge {name} is {value:e}");
    }
    for span in &trial.spans {
        let (from, to) = (span.start_s, span.end_s);
        ensure!(
            time(from) && time(to) && from <= to,
            "a span of {} is from {from:e} to {to:e}",
            span.lane
        );
    }
    for (name, values) in &trial.traces {
        let odd = values.iter().find(|(at, value)| !time(*at) || !figure(*value));
        if let Some((at, value)) = odd {
            bail!("the trace {name} has {value:e} at {at:e}");
        }
    }
    Ok(())
}

/// The record's parameters are flags that the lab itself would accept: what a flag refuses, a record with it is
/// refused for.
fn vet(lab: &dyn Experiment, params: &Value) -> Result<()> {
    let length = params.to_string().len();
    ensure!(length <= FLAGS, "its parameters have {length} bytes");
    let command = lab.flags(clap::Command::new("record").no_binary_name(true));
    // Names of alternatives are stored as Rust writes them, which has no digit in front: K4 is 4KB.
    let letters = |text: &str| {
        let text = text.to_lowercase();
        let mut letters: Vec<char> = text.trim_end_matches('b').chars().collect();
        letters.sort_unstable();
        letters
    };
    let word = |name: &str, value: &Value| {
        let text = match value {
            Value::String(text) => text.clone(),
            other => other.to_string(),
        };
        let mut flags = command.get_arguments();
        let named = flags.find(|flag| flag.get_id().as_str() == name);
        let known = named.map(clap::Arg::get_possible_values);
        let mut known = known.into_iter().flatten();
        let meant = known.find(|known| letters(known.get_name()) == letters(&text));
        meant.map_or(text, |known| known.get_name().to_string())
    };
    // What comes after `--`: a command.
    let is_last = |name: &str| {
        let mut flags = command.get_arguments();
        flags.any(|flag| flag.get_id().as_str() == name && flag.is_last_set())
    };
    let (mut words, mut last) = (Vec::new(), Vec::new());
    for (name, value) in params.as_object().context("its parameters are no flags")? {
        let renamed = lab.formerly().iter().find(|(former, _)| former == name);
        let name = renamed.map_or(name.as_str(), |(_, today)| today);
        let flag = format!("--{}", name.replace('_', "-"));
        match value {
            Value::Null | Value::Bool(false) => {}
            Value::Bool(true) => words.push(flag),
            Value::Array(items) if items.is_empty() => {
                // Where nothing given means something, it does not mean nothing.
                let mut named = command.get_arguments().filter(|a| a.get_id().as_str() == name);
                let usual = named.next().map(clap::Arg::get_default_values);
                ensure!(
                    usual.is_none_or(<[_]>::is_empty),
                    "its parameters are no flags of this lab: {flag} is empty"
                );
            }
            Value::Array(items) if is_last(name) => {
                last.push("--".to_owned());
                last.extend(items.iter().map(|item| word(name, item)));
            }
            Value::Array(items) => {
                let list: Vec<String> = items.iter().map(|item| word(name, item)).collect();
                words.push(format!("{flag}={}", list.join(",")));
            }
            one => words.push(format!("{flag}={}", word(name, one))),
        }
    }
    let refused = |why: &str| {
        let line = why.lines().next().unwrap_or_default();
        let line: String = line.trim_start_matches("error: ").chars().take(300).collect();
        anyhow!("its parameters are no flags of this lab: {line}")
    };
    let matches = command
        .try_get_matches_from([words, last].concat())
        .map_err(|error| refused(&error.to_string()))?;
    lab.prepare(&matches).map_err(|why| refused(&why))?;
    Ok(())
}
