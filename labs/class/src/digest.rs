//! A record of somebody, reduced to what a journal or a class needs, or refused with the reason.
//!
//! Nothing in it is believed: see [`lab_kit::gate`].

use std::hash::{DefaultHasher, Hash, Hasher};

use anyhow::{Context, Result, anyhow, bail};
use lab_kit::{
    claim::{Claim, VerdictRow},
    gate,
    host::Host,
    lab::{Card, Experiment},
    prediction::{self, Scored},
    record::{Record, Scale},
    store,
    summary::Summary,
};

use crate::brief;

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
    /// median of measured over predicted.
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
    let named = expected.filter(|_| store::is_record_name(file));
    if let Some(name) = named.filter(|name| *name != record.lab) {
        bail!("it is a record of {}, not of {name}", brief(&record.lab));
    }
    let lab = syllabus.iter().find(|l| l.card().id() == record.lab);
    let lab = *lab.with_context(|| format!("{} is no lab of this version", brief(&record.lab)))?;
    let (record, findings) =
        gate::explained(lab, record).map_err(|why| anyhow!("{}", brief(&format!("{why:#}"))))?;
    let mut print = DefaultHasher::new();
    text.hash(&mut print);
    Ok(Digest {
        card: lab.card(),
        predictions: prediction::scored(lab.card(), lab.sketches(), &record, &findings),
        claims: findings.claims.iter().map(|c| claimed(c, &record)).collect(),
        unfit: Summary::of(&record).unfit(),
        flags: record.params.to_string(),
        started_at: brief(&record.started_at),
        scale: record.scale,
        host: record.host,
        print: print.finish(),
    })
}

fn claimed(claim: &Claim, record: &Record) -> Claimed {
    let row = claim.row(&record.lab);
    let ratios: Vec<f64> = claim
        .cases
        .iter()
        .filter_map(|case| Some(case.measured?.value / case.predicted.value))
        .filter(|ratio| ratio.is_finite())
        .collect();
    let (value, unit) = match claim.cases.len() {
        0 | 1 => (row.measured, claim.unit),
        _ if ratios.is_empty() => (None, ""),
        _ => (Some(lab_kit::stats::median(&ratios)), "× theory"),
    };
    Claimed { row, value, unit }
}
