//! Two programs in turns: the ratio of their times, and whether it means anything.
//!
//! What can make two measurements of the same code differ, and what is done about it:
//!
//! - The machine is slower now than a minute ago. Both programs run at the same time, in turns of less
//!   than a millisecond, and only the ratio of neighbours counts.
//! - Something else takes the processor for a moment. Of three turns each side keeps its fastest, since
//!   disturbance only makes slower; and the median ignores the pairs that were hit in spite of that.
//! - A process has its stack, heap and code where chance puts them, and is faster or slower for that for
//!   as long as it lives (Mytkowicz and others 2009; Curtsinger and Berger 2013). Each pair is a pair of
//!   fresh processes, and the interval comes from pairs of processes, not from turns within one.
//! - Who goes first is at an advantage or not: sides alternate.

use std::{collections::BTreeMap, path::Path, time::Instant};

use anyhow::{Result, ensure};
use lab_kit::findings::{Table, number};
use serde::Serialize;

use crate::{
    programs::{self, Worker},
    verdict::{Ratio, Verdict, judge},
};

/// How to compare.
#[derive(Clone, Debug)]
pub struct Plan {
    /// Pairs of fresh processes.
    pub pairs: usize,
    /// Turns of each side in a pair; the fastest counts.
    pub turns: usize,
    /// Nanoseconds that a turn should take.
    pub turn_ns: f64,
    /// The slowdown that is let pass, as a share.
    pub margin: f64,
    /// A case of which the present makes this share of calls in addition: 0.1 makes it 10 % slower. To
    /// try the gate.
    pub planted: Option<(String, f64)>,
    /// Only cases with this in their name.
    pub only: Option<String>,
}

impl Default for Plan {
    fn default() -> Plan {
        Plan {
            pairs: 20,
            turns: 3,
            turn_ns: 3e5,
            margin: 0.05,
            planted: None,
            only: None,
        }
    }
}

/// How many times as many pairs a second measurement has: it decides.
pub const AGAIN: usize = 4;

/// How many times as many turns a pair of it has: what disturbs a machine for milliseconds seldom hits all
/// of them, and the fastest counts.
const LONGER: usize = 3;

/// Fewest calls in a turn, so that 10 % of them is a whole call.
const FEWEST_CALLS: u64 = 10;

/// What became of a case.
#[derive(Clone, Debug, Serialize)]
pub struct Row {
    /// Group and case.
    pub case: String,
    /// The verdict.
    pub verdict: Verdict,
    /// Present over base.
    pub ratio: Option<Ratio>,
    /// Median nanoseconds of a call, base.
    pub base_ns: f64,
    /// Median nanoseconds of a call, present.
    pub present_ns: f64,
    /// The first measurement was uncertain or an alarm, and this is the second, of [`AGAIN`] times as many pairs.
    pub again: bool,
}

/// A comparison.
#[derive(Clone, Debug, Serialize)]
pub struct Report {
    /// What the base is.
    pub base: String,
    /// The slowdown that is let pass, as a share.
    pub margin: f64,
    /// Pairs of processes.
    pub pairs: usize,
    /// How long it took.
    pub seconds: f64,
    /// By case.
    pub rows: Vec<Row>,
    /// Cases that only one of the two has: not compared.
    pub unmatched: Vec<String>,
}

/// Times of a case in one pair of processes.
struct Pair {
    base: f64,
    present: f64,
}

/// Compares two programs. What is not passed at once is measured a second time, and that decides: with
/// dozens of cases a change, an interval of 95 % by itself would cry wolf every few changes.
///
/// # Errors
/// When a program does not run, or they have no case in common.
pub fn compare(name: &str, base: &Path, present: &Path, plan: &Plan) -> Result<Report> {
    let start = Instant::now();
    let (old, new) = (programs::cases(base)?, programs::cases(present)?);
    let wanted = |case: &&String| plan.only.as_ref().is_none_or(|only| case.contains(only));
    let common: Vec<String> = old.intersection(&new).filter(wanted).cloned().collect();
    ensure!(
        !common.is_empty(),
        "the two programs have no such case in common"
    );
    let calls = calibrate(base, &common, plan)?;

    let mut rows = rows(&measure(base, present, &calls, plan)?, plan, false);
    let doubtful: BTreeMap<String, u64> = rows
        .iter()
        .filter(|row| !row.verdict.passes())
        .filter_map(|row| Some((row.case.clone(), *calls.get(&row.case)?)))
        .collect();
    if !doubtful.is_empty() {
        // Not added to the first ones: those were chosen for being far off.
        let longer = Plan {
            pairs: AGAIN * plan.pairs,
            turns: LONGER * plan.turns,
            ..plan.clone()
        };
        let again = measure(base, present, &doubtful, &longer)?;
        for second in self::rows(&again, plan, true) {
            if let Some(row) = rows.iter_mut().find(|row| row.case == second.case) {
                *row = second;
            }
        }
    }
    Ok(Report {
        base: name.into(),
        margin: plan.margin,
        pairs: plan.pairs,
        seconds: start.elapsed().as_secs_f64(),
        rows,
        unmatched: old
            .symmetric_difference(&new)
            .filter(wanted)
            .cloned()
            .collect(),
    })
}

/// Calls that make a turn of each case, on this machine.
fn calibrate(base: &Path, cases: &[String], plan: &Plan) -> Result<BTreeMap<String, u64>> {
    let mut worker = Worker::start(base)?;
    cases
        .iter()
        .map(|case| {
            let mut fastest = f64::INFINITY;
            for _ in 0..3 {
                fastest = fastest.min(worker.time(case, FEWEST_CALLS)? / FEWEST_CALLS as f64);
            }
            let calls = (plan.turn_ns / fastest).ceil() as u64;
            Ok((case.clone(), calls.max(FEWEST_CALLS)))
        })
        .collect()
}

/// Times every case in the plan's pairs of fresh processes. Nanoseconds of a call.
fn measure<'a>(
    base: &Path,
    present: &Path,
    calls: &'a BTreeMap<String, u64>,
    plan: &Plan,
) -> Result<BTreeMap<&'a str, Vec<Pair>>> {
    let mut all: BTreeMap<&str, Vec<Pair>> = BTreeMap::new();
    for i in 0..plan.pairs {
        let base_first = i % 2 == 0;
        let (mut old, mut new);
        if base_first {
            old = Worker::start(base)?;
            new = Worker::start(present)?;
        } else {
            new = Worker::start(present)?;
            old = Worker::start(base)?;
        }
        for (case, calls) in calls {
            let planted = plan.planted.as_ref().filter(|(slow, _)| slow == case);
            let share = planted.map_or(0.0, |(_, share)| *share);
            let more = *calls + (*calls as f64 * share).round() as u64;
            let mut fastest = Pair {
                base: f64::INFINITY,
                present: f64::INFINITY,
            };
            for turn in 0..2 * plan.turns {
                // Base, present, present, base, …
                if turn.div_ceil(2) % 2 == usize::from(base_first) {
                    let ns = new.time(case, more)? / *calls as f64;
                    fastest.present = fastest.present.min(ns);
                } else {
                    let ns = old.time(case, *calls)? / *calls as f64;
                    fastest.base = fastest.base.min(ns);
                }
            }
            all.entry(case).or_default().push(fastest);
        }
    }
    Ok(all)
}

fn rows(measured: &BTreeMap<&str, Vec<Pair>>, plan: &Plan, again: bool) -> Vec<Row> {
    let row = |(case, pairs): (&&str, &Vec<Pair>)| {
        let logarithms: Vec<f64> = pairs.iter().map(|p| (p.present / p.base).ln()).collect();
        let median = |side: fn(&Pair) -> f64| {
            lab_kit::stats::median(&pairs.iter().map(side).collect::<Vec<_>>())
        };
        let ratio = Ratio::of(&logarithms);
        Row {
            case: case.to_string(),
            verdict: judge(ratio, plan.margin),
            ratio,
            base_ns: median(|p| p.base),
            present_ns: median(|p| p.present),
            again,
        }
    };
    measured.iter().map(row).collect()
}

impl Report {
    /// Cases with this verdict.
    pub fn with(&self, verdict: Verdict) -> impl Iterator<Item = &Row> {
        self.rows.iter().filter(move |row| row.verdict == verdict)
    }

    /// The comparison as a table.
    pub fn table(&self) -> Table {
        let title = format!("Time beside that of {}", self.base);
        let mut table = Table::new(
            &title,
            &[
                "case",
                "verdict",
                "ratio [95 %]",
                "base, a call",
                "present, a call",
            ],
        );
        for row in &self.rows {
            let ratio = row.ratio.map_or("–".into(), |r| {
                format!("{:.3} [{:.3}, {:.3}]", r.median, r.ci95.0, r.ci95.1)
            });
            let again = if row.again { ", measured twice" } else { "" };
            table.row([
                row.case.clone(),
                format!("{}{again}", row.verdict.word()),
                ratio,
                micros(row.base_ns),
                micros(row.present_ns),
            ]);
        }
        table.note = format!(
            "Regressed: the whole interval lies above {:.2}. {} pairs of processes in {:.1} s.",
            1.0 + self.margin,
            self.pairs,
            self.seconds
        );
        if !self.unmatched.is_empty() {
            let names = self.unmatched.join(", ");
            table.note += &format!(" Not compared, as only one side has them: {names}.");
        }
        table
    }
}

fn micros(ns: f64) -> String {
    format!("{} µs", number(ns / 1e3))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_row_is_the_median_of_its_pairs() {
        let pair = |base: f64, ratio: f64| Pair {
            base,
            present: base * ratio,
        };
        // A disturbed pair says nothing about the others.
        let mut pairs: Vec<Pair> = (1..=24).map(|i| pair(f64::from(i), 1.2)).collect();
        pairs.push(pair(1000.0, 0.01));
        let rows = rows(&BTreeMap::from([("a/b", pairs)]), &Plan::default(), false);
        let row = &rows[0];
        assert_eq!(row.verdict, Verdict::Regressed);
        assert!((row.ratio.unwrap().median - 1.2).abs() < 1e-9);
        assert_eq!(row.base_ns, 13.0);
    }

    #[test]
    fn the_table_says_what_was_not_compared() {
        let report = Report {
            base: "abc".into(),
            margin: 0.05,
            pairs: 25,
            seconds: 1.0,
            rows: vec![],
            unmatched: vec!["a/new".into()],
        };
        assert!(report.table().note.contains("a/new"));
    }
}
