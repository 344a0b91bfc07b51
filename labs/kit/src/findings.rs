//! What a lab concludes from its record: figures, tables, and claims with verdicts.

use serde::{Deserialize, Serialize};

use crate::{
    answer::{Answer, Relation, Theory},
    figure::Figure,
    stats::Estimate,
};

/// Everything a lab's `explain` returns.
#[derive(Clone, Debug, Default)]
pub struct Findings {
    /// The result in one sentence, with its figures.
    pub headline: String,
    /// Charts, in the order of the report.
    pub figures: Vec<Figure>,
    /// Tables, in the order of the report; the first one is shown after a run.
    pub tables: Vec<Table>,
    /// What theory says beside what was measured.
    pub claims: Vec<Claim>,
    /// Of everything that the reader is asked to predict, what came out and what theory says.
    pub answers: Vec<Answer>,
}

impl Findings {
    /// The answer to the question of this key.
    pub fn answer(&self, key: &str) -> Option<&Answer> {
        self.answers.iter().find(|answer| answer.key == key)
    }
}

/// A table of text.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Table {
    /// What it shows.
    pub title: String,
    /// Heads of the columns, with units.
    pub columns: Vec<String>,
    /// Cells.
    pub rows: Vec<Vec<String>>,
    /// Written below: what the reader must know.
    pub note: String,
}

impl Table {
    /// An empty table with these columns.
    pub fn new(title: &str, columns: &[&str]) -> Table {
        let columns = columns.iter().map(|c| c.to_string()).collect();
        Table {
            title: title.into(),
            columns,
            ..Table::default()
        }
    }

    /// Adds a row.
    pub fn row(&mut self, cells: impl IntoIterator<Item = String>) {
        self.rows.push(cells.into_iter().collect());
    }
}

/// Where the predicted value of a claim comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Basis {
    /// Theory and the flags alone.
    Predicted,
    /// Theory, the flags and something measured on this machine beforehand.
    Calibrated,
    /// Fitted to the very data it is compared with: proves little.
    Fitted,
}

/// The judgement of a claim.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// The whole interval lies inside the tolerance.
    Confirmed,
    /// The whole interval lies outside it.
    Refuted,
    /// The interval lies across the border, or there is none, and why.
    Inconclusive(String),
}

impl Verdict {
    /// "confirmed", "refuted", "inconclusive".
    pub fn word(&self) -> &'static str {
        match self {
            Verdict::Confirmed => "confirmed",
            Verdict::Refuted => "refuted",
            Verdict::Inconclusive(_) => "inconclusive",
        }
    }

    /// ✓, ✗ or ?.
    pub fn sign(&self) -> &'static str {
        match self {
            Verdict::Confirmed => "✓",
            Verdict::Refuted => "✗",
            Verdict::Inconclusive(_) => "?",
        }
    }
}

/// One statement of theory held against measurement.
#[derive(Clone, Debug)]
pub struct Claim {
    /// The statement, without measured figures: it is the claim's name when runs are compared.
    pub text: String,
    /// Where the prediction comes from.
    pub basis: Basis,
    /// Unit of predicted, measured and tolerance, for people.
    pub unit: &'static str,
    /// What theory says.
    pub predicted: f64,
    /// What was measured; `None` when the run has no such condition.
    pub measured: Option<Estimate>,
    /// How far apart they may lie, in the unit of the values.
    pub tolerance: f64,
    /// Known reason not to decide: interrupted, a coin toss, a machine too noisy.
    pub undecidable: Option<String>,
    /// Which condition of several this is about.
    pub detail: String,
    /// Every condition of a law that holds at several; empty for a claim about one.
    pub cases: Vec<Case>,
    relation: Relation,
}

impl Claim {
    fn new(
        text: String,
        basis: Basis,
        predicted: f64,
        measured: Option<Estimate>,
        relation: Relation,
    ) -> Claim {
        Claim {
            text,
            basis,
            unit: "",
            predicted,
            measured,
            tolerance: 0.0,
            undecidable: None,
            detail: String::new(),
            cases: Vec::new(),
            relation,
        }
    }

    /// The measured value lies within `tolerance` of the predicted one.
    pub fn near(
        text: impl Into<String>,
        basis: Basis,
        predicted: f64,
        measured: Option<Estimate>,
        tolerance: f64,
    ) -> Claim {
        let claim = Claim::new(text.into(), basis, predicted, measured, Relation::Near);
        Claim {
            tolerance: tolerance.abs(),
            ..claim
        }
    }

    /// The measured value does not exceed the bound.
    pub fn at_most(
        text: impl Into<String>,
        basis: Basis,
        bound: f64,
        measured: Option<Estimate>,
    ) -> Claim {
        Claim::new(text.into(), basis, bound, measured, Relation::AtMost)
    }

    /// The measured value reaches the bound.
    pub fn at_least(
        text: impl Into<String>,
        basis: Basis,
        bound: f64,
        measured: Option<Estimate>,
    ) -> Claim {
        Claim::new(text.into(), basis, bound, measured, Relation::AtLeast)
    }

    /// [`Self::at_every`], if there is a condition to hold it against.
    pub fn law(text: &str, basis: Basis, cases: Vec<Case>, unit: &'static str) -> Option<Claim> {
        (!cases.is_empty()).then(|| Claim::at_every(text, basis, cases).unit(unit))
    }

    /// A law that holds at every one of several conditions: judged where measurement and
    /// prediction lie farthest apart, measured in tolerances.
    ///
    /// A condition measured once has no interval of its own; it borrows the spread that the other
    /// conditions show round their predictions, in tolerances (Student's t over all of them), on
    /// the ground that one law describes them all.
    pub fn at_every(text: impl Into<String>, basis: Basis, cases: Vec<Case>) -> Claim {
        let text = text.into();
        let known: Vec<(&Case, Estimate)> = cases
            .iter()
            .filter_map(|c| Some((c, c.measured?)))
            .collect();
        let off = |c: &Case, value: f64| (value - c.predicted) / c.tolerance.max(f64::MIN_POSITIVE);
        let residuals: Vec<f64> = known.iter().map(|(c, e)| off(c, e.value)).collect();
        let borrowed = (residuals.len() >= 3)
            .then(|| crate::stats::t95(residuals.len() - 1) * crate::stats::deviation(&residuals));
        // How far the interval's worse end lies from the prediction, in tolerances.
        let reach = |c: &Case, e: &Estimate| {
            let (lo, hi) = e.ci95.unwrap_or((e.value, e.value));
            off(c, lo).abs().max(off(c, hi).abs())
        };
        let worst = known
            .iter()
            .max_by(|a, b| reach(a.0, &a.1).total_cmp(&reach(b.0, &b.1)));
        let Some((case, mut estimate)) = worst.copied() else {
            return Claim::near(text, basis, f64::NAN, None, 0.0);
        };
        if estimate.ci95.is_none() {
            estimate.ci95 = borrowed.map(|half| {
                (
                    estimate.value - half * case.tolerance,
                    estimate.value + half * case.tolerance,
                )
            });
        }
        let detail = if cases.len() > 1 {
            format!("worst of {}: {}", cases.len(), case.name)
        } else {
            case.name.clone()
        };
        Claim {
            detail,
            cases: cases.clone(),
            ..Claim::near(text, basis, case.predicted, Some(estimate), case.tolerance)
        }
    }

    /// The same claim with the unit of its values.
    pub fn unit(self, unit: &'static str) -> Claim {
        Claim { unit, ..self }
    }

    /// The same claim, undecidable for this reason (if there is one).
    pub fn unless(self, reason: Option<String>) -> Claim {
        Claim {
            undecidable: self.undecidable.or(reason),
            ..self
        }
    }

    /// The same claim, undecidable for this reason unless it holds all the same: for disturbances
    /// that can only work against it.
    pub fn excused(self, reason: Option<String>) -> Claim {
        let holds = self.verdict() == Verdict::Confirmed;
        if holds { self } else { self.unless(reason) }
    }

    /// True for a claim about counts, which no noise excuses.
    pub fn is_exact(&self) -> bool {
        self.relation == Relation::Near && self.tolerance == 0.0
    }

    /// Judges the claim.
    pub fn verdict(&self) -> Verdict {
        let Some(measured) = self.measured.filter(|m| m.value.is_finite()) else {
            return Verdict::Inconclusive("this run has no such condition".into());
        };
        if let Some(why) = &self.undecidable {
            return Verdict::Inconclusive(why.clone());
        }
        if !self.predicted.is_finite() {
            return Verdict::Inconclusive("theory says nothing for these flags".into());
        }
        let Some((lo, hi)) = measured.ci95 else {
            return Verdict::Inconclusive("one trial has no interval: --trials 3".into());
        };
        let (from, to) = match self.relation {
            Relation::Near => (
                self.predicted - self.tolerance,
                self.predicted + self.tolerance,
            ),
            Relation::AtMost => (f64::NEG_INFINITY, self.predicted),
            Relation::AtLeast => (self.predicted, f64::INFINITY),
        };
        // A hair of rounding must not decide where both are exact.
        let hair = 1e-9 * self.predicted.abs().max(1e-3);
        if from - hair <= lo && hi <= to + hair {
            Verdict::Confirmed
        } else if hi < from - hair || lo > to + hair {
            Verdict::Refuted
        } else {
            Verdict::Inconclusive(
                "the interval reaches across the tolerance: more trials would tell".into(),
            )
        }
    }

    /// "≈ 12 ± 1", "≤ 12", "≥ 12", without the unit.
    pub fn expectation(&self) -> String {
        let theory = Theory {
            relation: self.relation,
            value: self.predicted,
        };
        match self.relation {
            Relation::Near if self.tolerance > 0.0 => {
                format!("{theory} ± {}", number(self.tolerance))
            }
            _ => theory.to_string(),
        }
    }

    /// "11.8 [11.6, 12.0]", without the unit.
    pub fn observation(&self) -> String {
        match self.measured {
            None => "not measured".into(),
            Some(Estimate {
                value, ci95: None, ..
            }) => number(value),
            Some(Estimate {
                value,
                ci95: Some((lo, hi)),
                ..
            }) if lo == hi => number(value),
            Some(Estimate {
                value,
                ci95: Some((lo, hi)),
                ..
            }) => {
                format!("{} [{}, {}]", number(value), number(lo), number(hi))
            }
        }
    }

    /// The contract's JSON form.
    pub fn row(&self, lab: &str) -> VerdictRow {
        let finite = |v: f64| v.is_finite().then_some(v);
        let verdict = self.verdict();
        VerdictRow {
            lab: lab.into(),
            claim: self.text.clone(),
            basis: self.basis,
            predicted: finite(self.predicted),
            measured: self.measured.and_then(|m| finite(m.value)),
            ci95: self.measured.and_then(|m| m.ci95).map(|(lo, hi)| [lo, hi]),
            tolerance: self.tolerance,
            verdict: verdict.word(),
            reason: match verdict {
                Verdict::Inconclusive(why) => why,
                _ => self.detail.clone(),
            },
        }
    }
}

/// One condition of a law that holds at several.
#[derive(Clone, Debug)]
pub struct Case {
    /// Which condition: "100 clients".
    pub name: String,
    /// What theory says there.
    pub predicted: f64,
    /// What was measured there.
    pub measured: Option<Estimate>,
    /// How far apart they may lie.
    pub tolerance: f64,
}

/// A line of `labs verdicts --json`.
#[derive(Clone, Debug, Serialize)]
pub struct VerdictRow {
    /// "lab03".
    pub lab: String,
    /// The claim.
    pub claim: String,
    /// Where the prediction comes from.
    pub basis: Basis,
    /// What theory says; null where it says nothing.
    pub predicted: Option<f64>,
    /// What was measured; null where nothing was.
    pub measured: Option<f64>,
    /// 95 % interval; null where there is none.
    pub ci95: Option<[f64; 2]>,
    /// How far apart they may lie; 0 for bounds.
    pub tolerance: f64,
    /// "confirmed", "refuted" or "inconclusive".
    pub verdict: &'static str,
    /// Why it is inconclusive, or which condition decided.
    pub reason: String,
}

/// A number as people write it: three to four significant digits, no needless zeros.
pub fn number(value: f64) -> String {
    if !value.is_finite() {
        return "–".into();
    }
    let size = value.abs();
    let decimals = match size {
        s if s >= 100.0 || s == 0.0 => 0,
        s if s >= 10.0 => 1,
        s if s >= 1.0 => 2,
        s if s >= 0.01 => 3,
        s if s >= 1e-6 => 6,
        _ => return format!("{value:.1e}"),
    };
    let text = format!("{value:.decimals$}");
    if text.contains('.') {
        return text.trim_end_matches('0').trim_end_matches('.').to_string();
    }
    text
}

/// A count as people write it: "9999", "50,000".
pub fn thousands(count: u64) -> String {
    let digits = count.to_string();
    if digits.len() < 5 {
        return digits;
    }
    let mut text = String::new();
    for (i, digit) in digits.chars().enumerate() {
        if i > 0 && (digits.len() - i).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// Seconds as people write them: "850 µs", "12.3 ms", "1.05 s".
pub fn seconds(value: f64) -> String {
    match value.abs() {
        s if !s.is_finite() => "–".into(),
        0.0 => "0 s".into(),
        s if s < 1e-3 => format!("{:.0} µs", value * 1e6),
        s if s < 0.1 => format!("{} ms", number((value * 1e4).round() / 10.0)),
        s if s < 1.0 => format!("{:.0} ms", value * 1e3),
        s if s < 100.0 => format!("{value:.2} s"),
        _ => format!("{value:.0} s"),
    }
}

/// A share in percent: "57.4 %".
pub fn percent(share: f64) -> String {
    if share.is_finite() {
        format!("{:.1} %", share * 100.0)
    } else {
        "–".into()
    }
}

/// A table cell for an estimate that may be missing.
pub fn cell(estimate: Option<Estimate>, write: impl Fn(f64) -> String) -> String {
    estimate.map_or("–".into(), |e| write(e.value))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn estimate(value: f64, half: f64) -> Option<Estimate> {
        Some(Estimate {
            value,
            ci95: Some((value - half, value + half)),
            trials: 3,
        })
    }

    #[test]
    fn intervals_decide() {
        let judge = |value, half| {
            Claim::near("", Basis::Predicted, 10.0, estimate(value, half), 1.0).verdict()
        };
        assert_eq!(judge(10.5, 0.4), Verdict::Confirmed);
        assert_eq!(judge(12.0, 0.5), Verdict::Refuted);
        assert!(matches!(judge(10.8, 0.5), Verdict::Inconclusive(_)));
        assert!(matches!(judge(10.0, 2.0), Verdict::Inconclusive(_)));
    }

    #[test]
    fn bounds_decide() {
        let most = |v, h| Claim::at_most("", Basis::Predicted, 10.0, estimate(v, h)).verdict();
        assert_eq!(most(9.0, 0.5), Verdict::Confirmed);
        assert_eq!(most(11.0, 0.5), Verdict::Refuted);
        let least = |v, h| Claim::at_least("", Basis::Predicted, 10.0, estimate(v, h)).verdict();
        assert_eq!(least(11.0, 0.5), Verdict::Confirmed);
        assert_eq!(least(9.0, 0.5), Verdict::Refuted);
    }

    #[test]
    fn nothing_is_decided_without_an_interval_or_against_a_reason() {
        let one = Some(Estimate {
            value: 10.0,
            ci95: None,
            trials: 1,
        });
        assert!(matches!(
            Claim::near("", Basis::Predicted, 10.0, one, 1.0).verdict(),
            Verdict::Inconclusive(_)
        ));
        assert!(matches!(
            Claim::near("", Basis::Predicted, 10.0, None, 1.0).verdict(),
            Verdict::Inconclusive(_)
        ));
        let known = Claim::near("", Basis::Predicted, 10.0, estimate(10.0, 0.1), 1.0);
        assert!(
            matches!(known.unless(Some("noise".into())).verdict(), Verdict::Inconclusive(w) if w == "noise")
        );
    }

    #[test]
    fn a_law_is_judged_at_its_worst_condition() {
        let case = |name: &str, measured| Case {
            name: name.into(),
            predicted: 10.0,
            measured,
            tolerance: 1.0,
        };
        let cases = vec![
            case("a", estimate(10.1, 0.1)),
            case("b", estimate(12.0, 0.1)),
            case("c", None),
        ];
        let claim = Claim::at_every("law", Basis::Predicted, cases);
        assert_eq!(claim.verdict(), Verdict::Refuted);
        assert!(claim.detail.contains("b"), "{}", claim.detail);
    }

    #[test]
    fn a_condition_measured_once_borrows_the_spread_of_the_others() {
        let one = |v| {
            Some(Estimate {
                value: v,
                ci95: None,
                trials: 1,
            })
        };
        let case = |v| Case {
            name: String::new(),
            predicted: 10.0,
            measured: one(v),
            tolerance: 1.0,
        };
        let tight = Claim::at_every(
            "law",
            Basis::Predicted,
            vec![case(10.1), case(10.0), case(10.2)],
        );
        assert_eq!(tight.verdict(), Verdict::Confirmed);
        let two = Claim::at_every("law", Basis::Predicted, vec![case(10.1), case(10.0)]);
        assert!(matches!(two.verdict(), Verdict::Inconclusive(_)));
    }

    #[test]
    fn numbers_read_well() {
        for (v, text) in [
            (1234.56, "1235"),
            (12.34, "12.3"),
            (1.0, "1"),
            (0.0, "0"),
            (0.1234, "0.123"),
            (-2.5, "-2.5"),
            (f64::NAN, "–"),
            (100.0, "100"),
        ] {
            assert_eq!(number(v), text);
        }
        for (v, text) in [
            (0.0105, "10.5 ms"),
            (0.5254, "525 ms"),
            (1.05, "1.05 s"),
            (4e-5, "40 µs"),
        ] {
            assert_eq!(seconds(v), text);
        }
    }

    proptest! {
        #[test]
        fn confirmed_and_refuted_exclude_each_other(p in -1e3f64..1e3, v in -1e3f64..1e3, half in 0f64..100.0, tol in 0f64..100.0) {
            let verdict = Claim::near("", Basis::Predicted, p, estimate(v, half), tol).verdict();
            let inside = (v - p).abs() <= tol;
            match verdict {
                Verdict::Confirmed => prop_assert!((v - p).abs() <= tol + 1e-5),
                Verdict::Refuted => prop_assert!(!inside),
                Verdict::Inconclusive(_) => {}
            }
        }

        #[test]
        fn writing_numbers_never_panics(v: f64) { let _ = (number(v), seconds(v), percent(v)); }
    }
}
