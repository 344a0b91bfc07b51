//! A record of somebody, reduced to what a journal or a class needs, or refused with the reason.
//!
//! Nothing in it is believed: not the flags, not the counts, not that theory can be computed for it in
//! a reasonable time.

use std::{
    hash::{DefaultHasher, Hash, Hasher},
    sync::mpsc,
    thread,
    time::Duration,
};

use anyhow::{Context, Result, anyhow, bail, ensure};
use lab_kit::{
    claim::{Claim, VerdictRow},
    findings::Findings,
    host::Host,
    lab::{Card, Experiment},
    prediction::{self, Scored},
    record::{Record, Scale},
    store,
    summary::Summary,
};
use serde_json::Value;

use crate::brief;

/// How long theory may take over one record: far longer than over any sound one.
const PATIENCE: Duration = Duration::from_secs(60);

/// A lab's record, digested.
pub struct Digest {
    /// What the lab is about.
    pub card: &'static Card,
    /// Start of the run, UTC.
    pub started_at: String,
    /// How large the run was.
    pub scale: Scale,
    /// Every flag with its value, as text: equal for equal experiments.
    pub flags: String,
    /// What was predicted beside what was measured.
    pub predictions: Vec<Scored>,
    /// The claims.
    pub claims: Vec<Claimed>,
    /// The machine.
    pub host: Host,
    /// Why it was unfit to measure.
    pub unfit: Option<String>,
    /// Equal for equal files.
    pub print: u64,
}

/// A claim with its verdict.
pub struct Claimed {
    /// As `labs verdicts --json` has it.
    pub row: VerdictRow,
    /// What is compared between runs: what was measured, or for a law over several conditions the
    /// geometric mean of measured over predicted.
    pub value: Option<f64>,
    /// Unit of that.
    pub unit: &'static str,
}

/// Digests a record.
///
/// # Errors
/// The reason, when it is no sound record of a lab of this version.
pub fn digest(syllabus: &[&'static dyn Experiment], file: &str, text: &str) -> Result<Digest> {
    let record = store::parse(text)?;
    let expected = file.strip_suffix(".json");
    let named = expected.filter(|_| crate::handin::is_record_name(file));
    if let Some(name) = named.filter(|name| *name != record.lab) {
        bail!("it is a record of {}, not of {name}", brief(&record.lab));
    }
    let lab = syllabus.iter().find(|l| l.card().id() == record.lab);
    let lab = *lab.with_context(|| format!("{} is no lab of this version", brief(&record.lab)))?;
    sane(&record)?;
    vet(lab, &record.params)?;
    let (record, findings) = explained(lab, record)?;
    let mut print = DefaultHasher::new();
    text.hash(&mut print);
    Ok(Digest {
        card: lab.card(),
        predictions: prediction::scored(lab, &record, &findings),
        claims: findings
            .claims
            .iter()
            .map(|c| claimed(c, &record))
            .collect(),
        unfit: Summary::of(&record).unfit(),
        flags: record.params.to_string(),
        started_at: brief(&record.started_at),
        scale: record.scale,
        host: record.host,
        print: print.finish(),
    })
}

/// Sizes that no run has, and that would make theory or a page useless.
fn sane(record: &Record) -> Result<()> {
    let amount = |what: &str, value: f64, most: f64| {
        let fits = (0.0..=most).contains(&value);
        ensure!(fits, "{what} is {value:e}: no machine has that");
        Ok(())
    };
    let host = &record.host;
    ensure!(
        (1..=65_536).contains(&host.cores),
        "its machine has {} processors",
        host.cores
    );
    let widths = &host.effective_parallelism;
    ensure!(
        (1..=65_536).contains(&widths.len()),
        "its machine has {} effective parallelisms",
        widths.len()
    );
    for width in widths {
        amount("effective parallelism", *width, 1e5)?;
    }
    amount("the lateness of timers", host.timer_late_ms, 1e6)?;
    amount("the lateness of timers", host.timer_late_p99_ms, 1e6)?;
    amount("the spin jitter", host.spin_jitter_ms, 1e6)?;
    amount(
        "the mock server's ceiling",
        host.upstream_ceiling_per_s,
        1e9,
    )?;
    amount("the overhead of a request", host.request_overhead_ms, 1e6)?;
    ensure!(
        record.points.len() <= 10_000,
        "it has {} conditions",
        record.points.len()
    );
    for point in &record.points {
        let length = point.series.len();
        ensure!(length <= 200, "a series has a name of {length} bytes");
        ensure!(
            (0.0..=1e12).contains(&point.x),
            "{} is measured at {:e}",
            point.series,
            point.x
        );
        ensure!(
            (1..=10_000).contains(&point.trials.len()),
            "{} at {} has {} trials",
            point.series,
            point.x,
            point.trials.len()
        );
        for trial in &point.trials {
            ensure!(
                trial.wall_s <= 1e6,
                "a trial of {} took {:e} s",
                point.series,
                trial.wall_s
            );
            let most = 1_000_000_000_000;
            ensure!(
                trial.offered <= most,
                "{} requests in a trial",
                trial.offered
            );
        }
    }
    Ok(())
}

/// The record's parameters are flags that the lab itself would accept.
fn vet(lab: &dyn Experiment, params: &Value) -> Result<()> {
    let word = |value: &Value| match value {
        Value::String(text) => text.clone(),
        other => other.to_string(),
    };
    let empty = clap::Command::new("record").no_binary_name(true);
    let command = lab.flags(empty);
    // Names of alternatives are stored as Rust writes them, which has no digit in front: K4 is 4KB.
    let letters = |text: &str| {
        let text = text.to_lowercase();
        let mut letters: Vec<char> = text.trim_end_matches('b').chars().collect();
        letters.sort_unstable();
        letters
    };
    let word = |name: &str, value: &Value| {
        let text = word(value);
        let flags = command.get_arguments();
        let mut named = flags.filter(|flag| flag.get_id().as_str() == name);
        let known = named.next().map(clap::Arg::get_possible_values);
        let mut known = known.into_iter().flatten();
        let meant = known.find(|known| letters(known.get_name()) == letters(&text));
        meant.map_or(text, |known| known.get_name().to_string())
    };
    let mut words = Vec::new();
    for (name, value) in params.as_object().context("its parameters are no flags")? {
        let flag = format!("--{}", name.replace('_', "-"));
        match value {
            Value::Null | Value::Bool(false) => {}
            Value::Bool(true) => words.push(flag),
            Value::Array(items) if items.is_empty() => {}
            Value::Array(items) => {
                let list: Vec<String> = items.iter().map(|item| word(name, item)).collect();
                words.push(format!("{flag}={}", list.join(",")));
            }
            one => words.push(format!("{flag}={}", word(name, one))),
        }
    }
    let matches = command.try_get_matches_from(words).map_err(|error| {
        let text = error.to_string();
        let line = text.lines().next().unwrap_or_default();
        anyhow!("its parameters are no flags of this lab: {}", brief(line))
    })?;
    lab.prepare(&matches)
        .map_err(|why| anyhow!("its parameters are no flags of this lab: {}", brief(&why)))?;
    Ok(())
}

/// What the lab concludes, unless it takes for ever.
fn explained(lab: &'static dyn Experiment, record: Record) -> Result<(Record, Findings)> {
    let (done, waits) = mpsc::channel();
    let work = move || {
        let findings = lab.explain(&record);
        // Whoever waited may have left.
        let _ = done.send((record, findings));
    };
    thread::Builder::new().spawn(work)?;
    let Ok((record, findings)) = waits.recv_timeout(PATIENCE) else {
        bail!("theory takes more than {} s over it", PATIENCE.as_secs());
    };
    let findings = findings.map_err(|why| anyhow!("{}", brief(&format!("{why:#}"))))?;
    Ok((record, findings))
}

fn claimed(claim: &Claim, record: &Record) -> Claimed {
    let row = claim.row(&record.lab);
    let ratios: Vec<f64> = claim
        .cases
        .iter()
        .filter_map(|case| Some(case.measured?.value / case.predicted.value))
        .filter(|ratio| *ratio > 0.0 && ratio.is_finite())
        .map(f64::ln)
        .collect();
    let (value, unit) = match claim.cases.len() {
        0 | 1 => (row.measured, claim.unit),
        _ if ratios.is_empty() => (None, ""),
        _ => (Some(lab_kit::stats::mean(&ratios).exp()), "× theory"),
    };
    Claimed { row, value, unit }
}
