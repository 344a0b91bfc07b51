//! Whether claims can be lost: a record is altered, one quantity of one condition at a time, and each claim
//! that rests on it must lose its ✓. What survives every alteration says nothing.
//!
//! Beside that it is seen whether claims are of the kind that they say: a prediction that moves with the
//! machine's calibration is not of the flags alone, and one that moves with the very trials it is compared
//! with is a replay.

use std::{
    collections::BTreeSet,
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
};

use serde::Serialize;

use crate::{
    answer::Relation,
    claim::{Claim, Kind, Verdict},
    findings::{Findings, Table},
    judge::{self, Stand},
    lab::Experiment,
    record::{Record, Trial},
};

/// Something that a trial says.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Quantity {
    /// How long it took.
    Wall,
    /// Latencies of successes and of attempts.
    Latencies,
    /// A gauge.
    Gauge(String),
    /// The six fates: half of the successes become something else, or all time-outs a success.
    Fates,
    /// What was offered: a request without a fate.
    Offered,
    /// The threads of its spans: each has one of its own.
    SpanLanes,
    /// The ends of its spans, their starts staying where they are.
    SpanLengths,
    /// Starts and ends of its spans.
    SpanTimes,
    /// Values of a trace.
    TraceValues(String),
    /// Times of a trace.
    TraceTimes(String),
    /// All times together: wall, spans, latencies, gauges in seconds; rates the other way.
    Time,
}

/// By how much it is altered. The last two are for bounds with much room.
const FACTORS: [f64; 6] = [2.0, 0.5, 1.25, 0.8, 256.0, 1.0 / 256.0];

/// What stands in for a factor where a value is nought.
const INSTEAD_OF_NOUGHT: [f64; 2] = [1.0, 1000.0];

/// What was found out about a claim.
#[derive(Clone, Debug, Serialize)]
pub struct Proof {
    /// "lab03".
    pub lab: String,
    /// The claim.
    pub claim: String,
    /// Its kind.
    pub kind: Kind,
    /// Why the run cannot decide it, whatever is altered; null where it can.
    pub open: Option<String>,
    /// An alteration that refuted it; null where none did.
    pub refuted_by: Option<String>,
    /// Conditions that it rests on.
    pub conditions: usize,
    /// Those of them that no alteration by itself takes the ✓ away at.
    pub survived_at: Vec<String>,
    /// What is wrong with its kind, or with its verdicts over altered records.
    pub wrong: Vec<String>,
}

impl Proof {
    /// True when the claim can be lost, at each of its conditions, and is of the kind that it says.
    pub fn holds(&self) -> bool {
        let lost =
            self.open.is_some() || (self.refuted_by.is_some() && self.survived_at.is_empty());
        lost && self.wrong.is_empty()
    }
}

/// Proves the claims of several records, on as many threads as there are processors.
pub fn all(labs: &[(&'static dyn Experiment, Record)]) -> Vec<Proof> {
    // The long ones first, so that no thread is left alone with one in the end.
    let mut order: Vec<&(&'static dyn Experiment, Record)> = labs.iter().collect();
    order.sort_by_key(|(_, record)| std::cmp::Reverse(record.points.len()));
    let next = AtomicUsize::new(0);
    let found = Mutex::new(Vec::new());
    let threads = crate::host::cores().min(labs.len().max(1));
    std::thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                while let Some((lab, record)) = order.get(next.fetch_add(1, Ordering::Relaxed)) {
                    let proofs = of(*lab, record);
                    let mut found = found.lock().unwrap_or_else(PoisonError::into_inner);
                    found.extend(proofs);
                }
            });
        }
    });
    let mut proofs = found.into_inner().unwrap_or_else(PoisonError::into_inner);
    // Claims of one lab stay in their order.
    proofs.sort_by(|a: &Proof, b: &Proof| a.lab.cmp(&b.lab));
    proofs
}

/// Proves the claims of a record.
pub fn of(lab: &dyn Experiment, record: &Record) -> Vec<Proof> {
    let Ok(findings) = lab.explain(record) else {
        return Vec::new();
    };
    let claims = findings.claims.iter();
    let rests: Vec<_> = claims.map(|claim| rests_on(claim, record)).collect();
    let mut trial = Bench {
        lab,
        record,
        before: &findings,
        proofs: findings
            .claims
            .iter()
            .zip(&rests)
            .map(|(claim, rests)| proof(record, claim, rests.len()))
            .collect(),
        rests,
    };
    trial.perturb_host();
    let telling = trial.telling();
    for point in 0..record.points.len() {
        trial.alter(point, &telling);
    }
    trial.proofs
}

/// What a record says that no claim asks for, by series: whether it is true is nobody's concern, or somebody
/// forgot to ask.
pub fn unread(lab: &dyn Experiment, record: &Record) -> Vec<(String, Vec<String>)> {
    let Ok(before) = lab.explain(record) else {
        return Vec::new();
    };
    let verdicts = |findings: &Findings| -> Vec<_> {
        let claims = findings.claims.iter();
        claims.map(|c| (said(c), c.verdict())).collect()
    };
    let before = verdicts(&before);
    let series: BTreeSet<&String> = record.points.iter().map(|p| &p.series).collect();
    let of = |series: &String| {
        let of_series = || record.points.iter().filter(|p| p.series == *series);
        let trials: Vec<Trial> = of_series().flat_map(|p| p.trials.clone()).collect();
        let ignored = |quantity: &Quantity| {
            // All conditions alike, and one of them otherwise: a ratio of two tells only that.
            let mut any = false;
            let read = [0, 1, 2].iter().any(|pattern| {
                let mut altered = record.clone();
                let points = altered.points.iter_mut().filter(|p| p.series == *series);
                for (at, point) in points.enumerate() {
                    let step = [0, 1, at % 2][*pattern];
                    any |=
                        point.trials.iter_mut().fold(false, |any, t| quantity.alter(t, step) | any);
                }
                lab.explain(&altered).map_or(true, |after| verdicts(&after) != before)
            });
            any && !read
        };
        let names = quantities(&trials).into_iter().filter(ignored);
        let names: Vec<String> = names.map(|quantity| quantity.name()).collect();
        (!names.is_empty()).then(|| (series.clone(), names))
    };
    series.into_iter().filter_map(of).collect()
}

fn proof(record: &Record, claim: &Claim, conditions: usize) -> Proof {
    Proof {
        lab: record.lab.clone(),
        claim: claim.text.clone(),
        kind: claim.kind,
        open: claim.left_open().or_else(|| says_nothing(claim)).map(str::to_string),
        refuted_by: None,
        conditions,
        survived_at: Vec::new(),
        wrong: Vec::new(),
    }
}

/// Why there is nothing to alter: an older record lacks what the claim is about, or has too few trials of it to
/// confirm or refute anything.
fn says_nothing(claim: &Claim) -> Option<&'static str> {
    let known =
        |case: &crate::claim::Case| case.measured.is_some() && case.predicted.value.is_finite();
    let with = |stand| claim.judged().iter().any(|j| j.stand == stand);
    match () {
        () if !claim.cases.iter().any(known) => Some("the record does not have it"),
        // Where one condition agrees none is called scattered.
        () if with(Stand::Scattered) && !with(Stand::Differs) => {
            Some("too few trials to refute anything, and so to confirm it")
        }
        () => None,
    }
}

/// The points that a claim's measured values were taken from.
fn rests_on(claim: &Claim, record: &Record) -> BTreeSet<usize> {
    let measured = claim.cases.iter().filter_map(|c| c.measured);
    let points = 0..record.points.len();
    let origins: Vec<_> = measured.map(|m| m.origin()).collect();
    points.filter(|at| origins.iter().any(|origin| origin.has(*at))).collect()
}

struct Bench<'a> {
    lab: &'a dyn Experiment,
    record: &'a Record,
    before: &'a Findings,
    /// The points that each claim rests on.
    rests: Vec<BTreeSet<usize>>,
    proofs: Vec<Proof>,
}

impl Bench<'_> {
    /// Alters the machine's calibration: no prediction that is said to come from the flags may move.
    fn perturb_host(&mut self) {
        let mut record = self.record.clone();
        let host = &mut record.host;
        host.effective_parallelism.iter_mut().skip(1).for_each(|w| *w *= 0.97);
        host.request_overhead_ms *= 1.3;
        host.upstream_ceiling_per_s *= 1.2;
        host.timer_late_ms *= 0.7;
        host.timer_late_p99_ms *= 0.9;
        host.spin_jitter_ms *= 0.9;
        let Ok(after) = self.lab.explain(&record) else {
            return;
        };
        for (claim, proof) in self.before.claims.iter().zip(&mut self.proofs) {
            let Some(other) = twin(&after, claim) else {
                continue;
            };
            if claim.kind == Kind::Predicted && !moved(claim, other).is_empty() {
                let wrong =
                    "its prediction moves with the machine's calibration, and it is not calibrated";
                proof.wrong.push(wrong.into());
            }
        }
    }

    /// The quantities that say anything to a claim: those that move one when they are altered.
    fn telling(&self) -> Vec<Quantity> {
        let trials: Vec<Trial> = self.record.points.iter().flat_map(|p| p.trials.clone()).collect();
        let mut all = quantities(&trials);
        // Everywhere alike, and at some points otherwise than at others: what is only told as a ratio of two
        // conditions says nothing when both are altered alike.
        let patterns: [fn(usize) -> usize; 4] = [|_| 0, |_| 1, |at| at % 2, |at| at % 3];
        all.retain(|quantity| {
            patterns.iter().any(|step_at| {
                let mut record = self.record.clone();
                for (at, point) in record.points.iter_mut().enumerate() {
                    for trial in &mut point.trials {
                        quantity.alter(trial, step_at(at));
                    }
                }
                let Ok(after) = self.lab.explain(&record) else {
                    return true;
                };
                let changed = |claim: &Claim| {
                    twin(&after, claim).is_none_or(|other| said(claim) != said(other))
                };
                self.before.claims.iter().any(changed)
            })
        });
        all
    }

    /// Alters what a point says, until every claim that rests on it has been refuted.
    fn alter(&mut self, point: usize, telling: &[Quantity]) {
        let before = self.before.claims.iter();
        let mut pending: Vec<usize> = before
            .enumerate()
            .filter(|(i, _)| {
                let decided = self.proofs[*i].open.is_none();
                decided && self.rests[*i].contains(&point)
            })
            .map(|(i, _)| i)
            .collect();
        let mut opened = BTreeSet::new();
        let has = quantities(&self.record.points[point].trials);
        // What says nothing when it is doubled or halved says nothing when it is altered by more.
        let mut tells = vec![false; telling.len()];
        for step in 0..FACTORS.len() {
            for (at, quantity) in telling.iter().enumerate() {
                if pending.is_empty() {
                    return;
                }
                if !has.contains(quantity) || (step > 1 && !tells[at]) {
                    continue;
                }
                let Some(altered) = altered(self.record, point, quantity, step) else {
                    continue;
                };
                let Ok(after) = self.lab.explain(&altered) else {
                    tells[at] = true;
                    continue;
                };
                let changed = |i: &usize| {
                    let claim = &self.before.claims[*i];
                    twin(&after, claim).is_none_or(|other| said(claim) != said(other))
                };
                tells[at] |= pending.iter().any(changed);
                self.look(point, quantity, step, &after, &mut pending, &mut opened);
            }
        }
        let name = self.named(point);
        for claim in pending {
            // What is only left open has lost its ✓, too.
            if !opened.contains(&claim) && self.before.claims[claim].verdict() == Verdict::Confirmed
            {
                self.proofs[claim].survived_at.push(name.clone());
            }
        }
    }

    fn look(
        &mut self,
        point: usize,
        quantity: &Quantity,
        step: usize,
        after: &Findings,
        pending: &mut Vec<usize>,
        opened: &mut BTreeSet<usize>,
    ) {
        let what = format!("{} of {} × {}", quantity.name(), self.named(point), FACTORS[step]);
        for (i, claim) in self.before.claims.iter().enumerate() {
            let Some(other) = twin(after, claim) else {
                opened.insert(i);
                continue;
            };
            let proof = &mut self.proofs[i];
            for case in false_ticks(other) {
                note(
                    &mut proof.wrong,
                    format!("✓ although {case} is beyond its tolerance ({what})"),
                );
            }
            let own = self.rests[i].contains(&point);
            let least = if own { Kind::Replayed } else { Kind::Calibrated };
            if claim.kind < least && !moved_at(claim, other, point, own).is_empty() {
                let of = if own { "the trials it is compared with" } else { "other conditions" };
                let wrong =
                    format!("its prediction moves with {of}, and it is {}", claim.kind.word());
                note(&mut proof.wrong, wrong);
            }
            match other.verdict() {
                Verdict::Refuted => {
                    if claim.verdict() != Verdict::Refuted && pending.contains(&i) {
                        proof.refuted_by.get_or_insert(what.clone());
                    }
                    if own {
                        // It was refuted before, and is so still: that proves as much.
                        proof.refuted_by.get_or_insert(what.clone());
                        pending.retain(|p| *p != i);
                    }
                }
                Verdict::Inconclusive(_) => {
                    opened.insert(i);
                }
                Verdict::Confirmed => {}
            }
        }
    }

    fn named(&self, point: usize) -> String {
        let point = &self.record.points[point];
        match point.x {
            0.0 => point.series.clone(),
            x => format!("{} at {x}", point.series),
        }
    }
}

/// Says something once.
fn note(list: &mut Vec<String>, text: String) {
    if list.len() < 5 && !list.contains(&text) {
        list.push(text);
    }
}

fn twin<'f>(findings: &'f Findings, claim: &Claim) -> Option<&'f Claim> {
    findings.claims.iter().find(|c| c.text == claim.text)
}

/// What a claim says in numbers.
fn said(claim: &Claim) -> Vec<(u64, Option<u64>)> {
    let of = |case: &crate::claim::Case| {
        let measured = case.measured.map(|m| m.value.to_bits());
        (case.predicted.value.to_bits(), measured)
    };
    claim.cases.iter().map(of).collect()
}

/// Names of the cases whose prediction is another than before.
fn moved(before: &Claim, after: &Claim) -> Vec<String> {
    let pairs = before.cases.iter().filter_map(|case| {
        let twin = after.cases.iter().find(|c| c.name == case.name)?;
        Some((case, twin))
    });
    let other = pairs.filter(|(a, b)| {
        let (a, b) = (a.predicted.value, b.predicted.value);
        (a - b).abs() > 1e-9 * a.abs().max(b.abs()).max(1e-9)
    });
    other.map(|(case, _)| case.name.clone()).collect()
}

/// The same, of cases that rest on a point (`own`), or of those that do not.
fn moved_at(before: &Claim, after: &Claim, point: usize, own: bool) -> Vec<String> {
    let mut names = moved(before, after);
    names.retain(|name| {
        let case = before.cases.iter().find(|c| c.name == *name);
        let measured = case.and_then(|c| c.measured);
        measured.is_some_and(|m| m.origin().has(point) == own)
    });
    names
}

/// Cases of a confirmed claim whose values lie beyond what theory allows.
fn false_ticks(claim: &Claim) -> Vec<String> {
    if claim.verdict() != Verdict::Confirmed {
        return Vec::new();
    }
    let beyond = claim.cases.iter().filter(|case| {
        let Some(measured) = case.measured else {
            return true;
        };
        let (from, to) = judge::allowed(claim.relation(), case.predicted.value, case.tolerance);
        let hair = 1e-6 * case.predicted.value.abs().max(1e-3);
        let relation_is_open =
            claim.relation() == Relation::Near && !case.predicted.value.is_finite();
        relation_is_open || measured.value < from - hair || measured.value > to + hair
    });
    beyond.map(|case| case.name.clone()).collect()
}

impl Quantity {
    fn name(&self) -> String {
        match self {
            Quantity::Wall => "wall time".into(),
            Quantity::Latencies => "latencies".into(),
            Quantity::Gauge(name) => name.clone(),
            Quantity::Fates => "successes".into(),
            Quantity::Offered => "requests offered".into(),
            Quantity::SpanLanes => "lanes of spans".into(),
            Quantity::SpanLengths => "lengths of spans".into(),
            Quantity::SpanTimes => "times of spans".into(),
            Quantity::TraceValues(name) => format!("values of {name}"),
            Quantity::TraceTimes(name) => format!("times of {name}"),
            Quantity::Time => "all times".into(),
        }
    }

    /// Alters a trial; false when there is nothing to alter.
    fn alter(&self, trial: &mut Trial, step: usize) -> bool {
        let factor = FACTORS[step];
        match self {
            Quantity::Wall => {
                trial.wall_s *= factor;
                trial.wall_s > 0.0
            }
            Quantity::Latencies => {
                trial.latency = trial.latency.scaled(factor);
                trial.attempt_latency = trial.attempt_latency.scaled(factor);
                trial.attempt_latency.count() + trial.latency.count() > 0
            }
            Quantity::Gauge(name) => {
                let Some(value) = trial.gauges.get_mut(name) else {
                    return false;
                };
                match INSTEAD_OF_NOUGHT.get(step) {
                    Some(instead) if *value == 0.0 => *value = *instead,
                    _ => *value *= factor,
                }
                true
            }
            Quantity::Fates => alter_fates(trial, step),
            Quantity::Offered => {
                trial.offered = trial.offered.saturating_add(1);
                true
            }
            Quantity::SpanLanes => {
                for (i, span) in trial.spans.iter_mut().enumerate() {
                    span.lane = format!("{} {i}", span.lane);
                }
                !trial.spans.is_empty()
            }
            Quantity::SpanLengths => {
                for span in &mut trial.spans {
                    span.end_s = span.start_s + (span.end_s - span.start_s) * factor;
                }
                !trial.spans.is_empty()
            }
            Quantity::SpanTimes => {
                for span in &mut trial.spans {
                    span.start_s *= factor;
                    span.end_s *= factor;
                }
                !trial.spans.is_empty()
            }
            Quantity::TraceValues(name) => {
                alter_trace(trial, name, |(_, v)| match INSTEAD_OF_NOUGHT.get(step) {
                    Some(instead) if *v == 0.0 => *v = *instead,
                    _ => *v *= factor,
                })
            }
            Quantity::TraceTimes(name) => alter_trace(trial, name, |(t, _)| *t *= factor),
            Quantity::Time => {
                for all in [Quantity::Wall, Quantity::Latencies, Quantity::SpanTimes] {
                    all.alter(trial, step);
                }
                for (name, value) in &mut trial.gauges {
                    if name.ends_with("_per_s") {
                        *value /= factor;
                    } else if ["_s", "_ms", "_us", "_ns"].iter().any(|unit| name.ends_with(unit)) {
                        *value *= factor;
                    }
                }
                true
            }
        }
    }
}

/// Half of the successes become time-outs or failures; where there are none, all time-outs become successes.
fn alter_fates(trial: &mut Trial, step: usize) -> bool {
    let factor = FACTORS[step];
    let (ok, late) = (trial.ok, trial.timed_out);
    if ok == 0 {
        (trial.ok, trial.timed_out) = (late, 0);
        return late > 0;
    }
    let kept = (ok as f64 * factor.min(1.0 / factor)) as u64;
    let lost = ok - kept;
    trial.ok = kept;
    // As much by time-outs as by failures.
    if step.is_multiple_of(2) {
        trial.timed_out = late.saturating_add(lost);
    } else {
        trial.failed = trial.failed.saturating_add(lost);
        *trial.failures.entry("altered".into()).or_default() += lost;
    }
    lost > 0
}

fn alter_trace(trial: &mut Trial, name: &str, change: impl Fn(&mut (f64, f64))) -> bool {
    let Some(trace) = trial.traces.get_mut(name) else {
        return false;
    };
    trace.iter_mut().for_each(change);
    !trace.is_empty()
}

/// Everything that these trials say, what is most telling first.
fn quantities(trials: &[Trial]) -> Vec<Quantity> {
    let apparatus = ["stall_max_ms", "stall_total_ms", "others_cpu_share", "process_cpu_share"];
    let gauges: BTreeSet<&String> = trials.iter().flat_map(|t| t.gauges.keys()).collect();
    let traces: BTreeSet<&String> = trials.iter().flat_map(|t| t.traces.keys()).collect();
    let mut all = vec![Quantity::Time, Quantity::Wall];
    let measured = gauges.iter().filter(|g| !apparatus.contains(&g.as_str()));
    all.extend(measured.map(|g| Quantity::Gauge(g.to_string())));
    all.extend([
        Quantity::Latencies,
        Quantity::Fates,
        Quantity::Offered,
        Quantity::SpanLanes,
        Quantity::SpanTimes,
        Quantity::SpanLengths,
    ]);
    for trace in traces {
        all.push(Quantity::TraceValues(trace.clone()));
        all.push(Quantity::TraceTimes(trace.clone()));
    }
    all
}

fn altered(record: &Record, point: usize, quantity: &Quantity, step: usize) -> Option<Record> {
    let mut record = record.clone();
    let trials = &mut record.points[point].trials;
    let mut any = false;
    for trial in trials {
        any |= quantity.alter(trial, step);
    }
    any.then_some(record)
}

/// The mutation score, for people: how many claims can be lost, and each that cannot.
pub fn table(proofs: &[Proof]) -> Table {
    let mut table =
        Table::new("Claims that could not have been lost", &["lab", "kind", "claim", "why"]);
    for proof in proofs.iter().filter(|p| !p.holds()) {
        let mut why = proof.wrong.clone();
        if proof.refuted_by.is_none() {
            why.push("no alteration refutes it".into());
        }
        if let Some(first) = proof.survived_at.first() {
            why.push(format!(
                "✓ whatever becomes of {} of its {} conditions, {first} for one",
                proof.survived_at.len(),
                proof.conditions
            ));
        }
        table.row([
            proof.lab.clone(),
            proof.kind.word().into(),
            proof.claim.clone(),
            why.join("; "),
        ]);
    }
    let open = proofs.iter().filter(|p| p.open.is_some()).count();
    let decided = proofs.len() - open;
    let lost = proofs.iter().filter(|p| p.open.is_none() && p.holds()).count();
    let score = 100.0 * lost as f64 / decided.max(1) as f64;
    table.note = format!(
        "Mutation score {score:.1} %: {lost} of {decided} claims can be lost, at each of their conditions. {open} more are left open by their runs."
    );
    table
}
