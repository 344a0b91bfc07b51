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
//! - The linker puts a loop across a border of 64 bytes, or not, and a change elsewhere moves it: by that
//!   alone a call of a nanosecond takes 15 % more. What seems to have changed is tried in many other orders
//!   of both programs' functions, and only what is so over these is called so.
//! - Who goes first is at an advantage or not: sides alternate.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::{Path, PathBuf},
    time::Instant,
};

use anyhow::{Result, ensure};
use lab_kit::{findings::Table, stats::median, text::number};
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
        Plan { pairs: 20, turns: 3, turn_ns: 3e5, margin: 0.05, planted: None, only: None }
    }
}

/// How many times as many pairs a block of the second measurement has. It decides.
const AGAIN: usize = 4;

/// Most blocks of a second measurement, and of one in other orders of the code: it goes on while it is
/// uncertain.
const BLOCKS: usize = 8;

/// How many times as many turns a pair of it has: what disturbs a machine for milliseconds seldom hits all
/// of them, and the fastest counts.
const LONGER: usize = 3;

/// Orders of its code in which a change is tried.
pub const LAYOUTS: usize = 12;

/// Pairs of processes for each in a block.
const LAYOUT_PAIRS: usize = 4;

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
    /// Pairs of processes that this is from.
    pub pairs: usize,
    /// The first measurement did not decide, and this is the second.
    pub again: bool,
    /// It seemed to have changed, and this is from so many orders of the code; 0 otherwise.
    pub layouts: usize,
}

/// A comparison.
#[derive(Clone, Debug, Serialize)]
pub struct Report {
    /// What the base is.
    pub base: String,
    /// The slowdown that is let pass, as a share.
    pub margin: f64,
    /// Pairs of processes of a first measurement.
    pub pairs: usize,
    /// How long it took.
    pub seconds: f64,
    /// By case.
    pub rows: Vec<Row>,
    /// Cases that only one of the two has: not compared.
    pub unmatched: Vec<String>,
    /// Why what seems to have changed could not be tried in other orders of the code.
    pub one_layout: Option<String>,
}

/// Times of a case in one pair of processes.
#[derive(Clone, Copy)]
struct Pair {
    base: f64,
    present: f64,
}

impl Pair {
    fn logarithm(&self) -> f64 {
        (self.present / self.base).ln()
    }

    /// A pair with the median ratio of several; None of none.
    fn middle(pairs: &[Pair]) -> Option<Pair> {
        let of = |value: fn(&Pair) -> f64| median(&pairs.iter().map(value).collect::<Vec<_>>());
        let base = of(|pair| pair.base);
        (!pairs.is_empty()).then(|| Pair { base, present: base * of(Pair::logarithm).exp() })
    }
}

/// Pairs by case.
type Measured = BTreeMap<String, Vec<Pair>>;

/// Compares two programs. What is not passed at once is measured a second time, and that decides: with
/// dozens of cases, an interval of 95 % by itself would cry wolf every few times. What is regressed or
/// improved then is tried in `layouts`: the two programs with their code in other orders, built when they
/// are needed. Where they cannot be, the verdict stands.
///
/// # Errors
/// When a program does not run, or they have no case in common.
pub fn compare(
    name: &str,
    base: &Path,
    present: &Path,
    plan: &Plan,
    layouts: impl FnOnce() -> Result<Vec<(PathBuf, PathBuf)>>,
) -> Result<Report> {
    let start = Instant::now();
    let (old, new) = (programs::cases(base)?, programs::cases(present)?);
    let wanted = |case: &&String| plan.only.as_ref().is_none_or(|only| case.contains(only));
    let common: Vec<String> = old.intersection(&new).filter(wanted).cloned().collect();
    ensure!(!common.is_empty(), "the two programs have no such case in common");
    let calls = calibrate(base, &common, plan)?;

    let longer = Plan { pairs: AGAIN * plan.pairs, turns: LONGER * plan.turns, ..plan.clone() };
    let first = measure(base, present, &calls, plan)?;
    let only = |some: &BTreeSet<String>| -> BTreeMap<String, u64> {
        let calls = calls.iter().filter(|(case, _)| some.contains(*case));
        calls.map(|(case, n)| (case.clone(), *n)).collect()
    };
    let mut rows =
        decide(&first, plan.margin, |doubtful| measure(base, present, &only(doubtful), &longer))?;
    let changed = cases(&rows, |v| matches!(v, Verdict::Regressed | Verdict::Improved));
    let mut one_layout = None;
    if !changed.is_empty() {
        let few = Plan { pairs: LAYOUT_PAIRS, ..longer.clone() };
        match layouts() {
            Ok(programs) => {
                over_layouts(&mut rows, changed, programs.len(), plan.margin, |layout, some| {
                    let (old, new) = &programs[layout];
                    measure(old, new, &only(some), &few)
                })?
            }
            Err(why) => one_layout = Some(format!("{why:#}")),
        }
    }
    Ok(Report {
        base: name.into(),
        margin: plan.margin,
        pairs: plan.pairs,
        seconds: start.elapsed().as_secs_f64(),
        rows,
        unmatched: old.symmetric_difference(&new).filter(wanted).cloned().collect(),
        one_layout,
    })
}

/// Cases with such a verdict.
fn cases(rows: &[Row], which: impl Fn(Verdict) -> bool) -> BTreeSet<String> {
    let some = rows.iter().filter(|row| which(row.verdict));
    some.map(|row| row.case.clone()).collect()
}

/// More pairs of the same.
fn add(measured: &mut Measured, block: Measured) {
    for (case, pairs) in block {
        measured.entry(case).or_default().extend(pairs);
    }
}

/// Judges a first measurement, and what does not pass by a second one.
///
/// The first pairs are not among the second's: those cases were chosen for being far off.
fn decide(
    first: &Measured,
    margin: f64,
    mut block: impl FnMut(&BTreeSet<String>) -> Result<Measured>,
) -> Result<Vec<Row>> {
    let mut rows: Vec<Row> =
        first.iter().map(|(case, pairs)| Row::of(case, pairs, margin)).collect();
    let doubtful = cases(&rows, |verdict| !verdict.passes());
    let mut second = Measured::new();
    until_sure(&mut rows, doubtful, |doubtful| {
        add(&mut second, block(doubtful)?);
        let row = |case: &String| {
            let pairs = second.get(case).map_or(&[][..], Vec::as_slice);
            Row::of(case, pairs, margin)
        };
        Ok(doubtful.iter().map(row).collect())
    })?;
    Ok(rows)
}

/// Judges what seems to have changed anew, with one ratio for each order of the code: the median over its
/// processes. What is uncertain in the end is what the orders differ by.
fn over_layouts(
    rows: &mut [Row],
    changed: BTreeSet<String>,
    layouts: usize,
    margin: f64,
    mut block: impl FnMut(usize, &BTreeSet<String>) -> Result<Measured>,
) -> Result<()> {
    let mut measured = vec![Measured::new(); layouts];
    until_sure(rows, changed, |changed| {
        for (layout, measured) in measured.iter_mut().enumerate() {
            add(measured, block(layout, changed)?);
        }
        let row = |case: &String| {
            let of_case = || measured.iter().filter_map(|layout| layout.get(case));
            let middles: Vec<Pair> = of_case().filter_map(|pairs| Pair::middle(pairs)).collect();
            Row {
                pairs: of_case().map(Vec::len).sum(),
                layouts: middles.len(),
                ..Row::of(case, &middles, margin)
            }
        };
        Ok(changed.iter().map(row).collect())
    })
}

/// Judges some cases anew by blocks of pairs: `judge` adds one and says what comes of all so far. Done
/// until it is sure, or with [`BLOCKS`] of them. Looking several times makes an alarm more likely where the
/// ratio is just at the margin, and hardly where nothing has changed: every block pulls the interval to 1.
fn until_sure(
    rows: &mut [Row],
    mut open: BTreeSet<String>,
    mut judge: impl FnMut(&BTreeSet<String>) -> Result<Vec<Row>>,
) -> Result<()> {
    for _ in 0..BLOCKS {
        if open.is_empty() {
            break;
        }
        let judged = judge(&open)?;
        open = cases(&judged, |verdict| verdict == Verdict::Uncertain);
        for row in judged {
            if let Some(place) = rows.iter_mut().find(|old| old.case == row.case) {
                *place = Row { again: true, ..row };
            }
        }
    }
    Ok(())
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
fn measure(
    base: &Path,
    present: &Path,
    calls: &BTreeMap<String, u64>,
    plan: &Plan,
) -> Result<Measured> {
    let mut all = Measured::new();
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
            let mut fastest = Pair { base: f64::INFINITY, present: f64::INFINITY };
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
            all.entry(case.clone()).or_default().push(fastest);
        }
    }
    Ok(all)
}

impl Row {
    fn of(case: &str, pairs: &[Pair], margin: f64) -> Row {
        let logarithms: Vec<f64> = pairs.iter().map(Pair::logarithm).collect();
        let median = |side: fn(&Pair) -> f64| median(&pairs.iter().map(side).collect::<Vec<_>>());
        let ratio = Ratio::of(&logarithms);
        Row {
            case: case.to_string(),
            verdict: judge(ratio, margin),
            ratio,
            base_ns: median(|p| p.base),
            present_ns: median(|p| p.present),
            pairs: pairs.len(),
            again: false,
            layouts: 0,
        }
    }
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
            &["case", "verdict", "ratio [95 %]", "base, a call", "present, a call"],
        );
        for row in &self.rows {
            let ratio = row.ratio.map_or("–".into(), |r| {
                format!("{:.3} [{:.3}, {:.3}]", r.median, r.ci95.0, r.ci95.1)
            });
            let again = match (row.again, row.layouts) {
                (false, _) => String::new(),
                (true, 0) => format!(", again on {} pairs", row.pairs),
                (true, layouts) => format!(", in {layouts} orders of the code"),
            };
            table.row([
                row.case.clone(),
                row.verdict.word().to_string() + &again,
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
        if let Some(why) = &self.one_layout {
            table.note +=
                &format!(" What changed could not be tried in other orders of the code: {why}.");
        }
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
    use rand::{RngExt, SeedableRng};
    use rand_distr::StandardNormal;
    use rand_pcg::Pcg64Mcg;

    use super::*;

    #[test]
    fn a_row_is_the_median_of_its_pairs() {
        let pair = |base: f64, ratio: f64| Pair { base, present: base * ratio };
        // A disturbed pair says nothing about the others.
        let mut pairs: Vec<Pair> = (1..=24).map(|i| pair(f64::from(i), 1.2)).collect();
        pairs.push(pair(1000.0, 0.01));
        let row = Row::of("a/b", &pairs, 0.05);
        assert_eq!(row.verdict, Verdict::Regressed);
        assert!((row.ratio.unwrap().median - 1.2).abs() < 1e-9);
        assert_eq!(row.base_ns, 13.0);
    }

    /// Cases a, b, … with these true ratios and normal noise, every tenth pair far out.
    fn noisy(ratios: &[f64], pairs: usize, deviation: f64, rng: &mut Pcg64Mcg) -> Measured {
        let names = ('a'..).map(String::from);
        let mut pair = |ratio: f64| {
            let outlier = if rng.random_bool(0.1) { 20.0 } else { 1.0 };
            let noise: f64 = rng.sample(StandardNormal);
            Pair { base: 1.0, present: ratio * (noise * deviation * outlier).exp() }
        };
        names
            .zip(ratios)
            .map(|(name, ratio)| (name, (0..pairs).map(|_| pair(*ratio)).collect()))
            .collect()
    }

    /// Decides about such cases; with how many pairs the second measurement took.
    fn decided(ratios: &[f64], deviation: f64, seed: u64) -> (Vec<Row>, usize) {
        let mut rng = Pcg64Mcg::seed_from_u64(seed);
        let first = noisy(ratios, 20, deviation, &mut rng);
        let mut taken = 0;
        let rows = decide(&first, 0.05, |doubtful| {
            let mut block = noisy(ratios, 80, deviation, &mut rng);
            block.retain(|case, _| doubtful.contains(case));
            taken += 80 * block.len();
            Ok(block)
        });
        (rows.unwrap(), taken)
    }

    #[test]
    fn what_passes_is_not_measured_again_and_an_alarm_is() {
        let (rows, taken) = decided(&[1.0, 1.2, 0.8], 0.0, 0);
        let told: Vec<_> = rows.iter().map(|r| (r.verdict, r.pairs, r.again)).collect();
        let expected = [
            (Verdict::Ok, 20, false),
            (Verdict::Regressed, 80, true),
            (Verdict::Improved, 20, false),
        ];
        assert_eq!(told, expected);
        assert_eq!(taken, 80);
    }

    #[test]
    fn much_noise_raises_no_alarm_and_hides_no_slowdown() {
        let mut longest = 0;
        for seed in 0..30 {
            let (rows, taken) = decided(&[1.0, 1.1, 1.0], 0.15, seed);
            let verdicts: Vec<_> = rows.iter().map(|row| row.verdict).collect();
            assert_eq!(verdicts[1], Verdict::Regressed, "seed {seed}");
            assert_ne!(verdicts[0], Verdict::Regressed, "seed {seed}");
            assert_ne!(verdicts[2], Verdict::Regressed, "seed {seed}");
            longest = longest.max(taken);
        }
        // It went on only where it had to.
        assert!((81..=3 * BLOCKS * 80).contains(&longest), "{longest}");
    }

    #[test]
    fn a_change_in_one_order_of_the_code_is_none() {
        // A tenth slower in half of the orders and faster in the others; slower in all; faster in one.
        let row = |case, present| Row::of(case, &[Pair { base: 1.0, present }; 20], 0.05);
        let mut rows = vec![row("a", 1.1), row("b", 1.2), row("c", 1.0), row("d", 0.8)];
        let mut taken = BTreeMap::new();
        let changed = BTreeSet::from(["a".into(), "b".into(), "d".into()]);
        let done = over_layouts(&mut rows, changed, LAYOUTS, 0.05, |layout, cases| {
            let pairs = |case: &String| {
                let present = match (case.as_str(), layout) {
                    ("a", _) if layout.is_multiple_of(2) => 1.1,
                    ("a", _) => 0.9,
                    ("b", _) => 1.2,
                    ("d", 0) => 0.8,
                    _ => 1.0,
                };
                *taken.entry(case.clone()).or_insert(0) += LAYOUT_PAIRS;
                (case.clone(), vec![Pair { base: 1.0, present }; LAYOUT_PAIRS])
            };
            Ok(cases.iter().map(pairs).collect())
        });
        done.unwrap();
        let told: Vec<_> = rows.iter().map(|row| (row.verdict, row.layouts)).collect();
        let expected = [
            (Verdict::Uncertain, LAYOUTS),
            (Verdict::Regressed, LAYOUTS),
            (Verdict::Ok, 0),
            (Verdict::Ok, LAYOUTS),
        ];
        assert_eq!(told, expected);
        // What one block decides gets no second.
        let block = LAYOUTS * LAYOUT_PAIRS;
        assert_eq!((rows[0].pairs, rows[1].pairs), (BLOCKS * block, block));
        assert_eq!(taken["b"], block);
    }

    #[test]
    fn much_noise_hides_no_slowdown_that_every_order_has() {
        let mut longest = 0;
        for seed in 0..30 {
            let mut rng = Pcg64Mcg::seed_from_u64(seed);
            let mut rows = vec![Row::of("a", &[], 0.05), Row::of("b", &[], 0.05)];
            let changed = BTreeSet::from(["a".into(), "b".into()]);
            let done = over_layouts(&mut rows, changed, LAYOUTS, 0.05, |_, cases| {
                let mut block = noisy(&[1.0, 1.1], LAYOUT_PAIRS, 0.1, &mut rng);
                block.retain(|case, _| cases.contains(case));
                Ok(block)
            });
            done.unwrap();
            assert_eq!(rows[1].verdict, Verdict::Regressed, "seed {seed}");
            assert_ne!(rows[0].verdict, Verdict::Regressed, "seed {seed}");
            longest = longest.max(rows[1].pairs);
        }
        assert!(longest > LAYOUTS * LAYOUT_PAIRS, "{longest}");
    }

    #[test]
    fn what_no_number_of_pairs_decides_ends_uncertain() {
        let (rows, taken) = decided(&[1.0], 20.0, 1);
        let row = &rows[0];
        assert_eq!((row.verdict, row.again), (Verdict::Uncertain, true));
        assert_eq!((row.pairs, taken), (BLOCKS * 80, BLOCKS * 80));
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
            one_layout: None,
        };
        assert!(report.table().note.contains("a/new"));
    }
}
