//! Claims: what theory says beside what was measured, with a verdict.

use serde::Serialize;

use crate::{
    answer::{Relation, Theory},
    disturbance::Disturbed,
    given::Given,
    judge::{self, Held, Judged, Stand},
    origin::Origin,
    stats::Estimate,
    text::number,
};

/// What a claim can prove. It follows from what its prediction was made of, unless the lab says that it
/// is none of theory's: a goal, or the books.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    /// Theory and the flags alone.
    Predicted,
    /// Theory, the flags, and something measured before the run or in other conditions.
    Calibrated,
    /// Computed from the very trials that it is compared with: shows how parts make a whole.
    Replayed,
    /// A law fitted to the very data that it is compared with: proves little.
    Fitted,
    /// A bound that we set ourselves.
    Goal,
    /// A check of the apparatus, an identity, an account that must close.
    Books,
}

impl Kind {
    /// "predicted" and so on.
    pub fn word(&self) -> &'static str {
        match self {
            Kind::Predicted => "predicted",
            Kind::Calibrated => "calibrated",
            Kind::Replayed => "replayed",
            Kind::Fitted => "fitted",
            Kind::Goal => "goal",
            Kind::Books => "books",
        }
    }

    /// True for those whose confirmation says something of theory.
    pub fn tests_theory(&self) -> bool {
        matches!(self, Kind::Predicted | Kind::Calibrated)
    }
}

/// The judgement of a claim.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Every condition agrees with theory.
    Confirmed,
    /// At least one condition differs from it.
    Refuted,
    /// Neither, and why.
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

/// One condition of a claim: what theory says there, and what was measured.
#[derive(Clone, Debug)]
pub struct Case {
    /// Which condition: "100 clients".
    pub name: String,
    /// What theory says there, and what that was made of.
    pub predicted: Given,
    /// What was measured there.
    pub measured: Option<Estimate>,
    /// How far apart they may lie; 0 for bounds and for counts.
    pub tolerance: f64,
}

impl Case {
    /// A condition in which measurement and theory may lie `tolerance` apart.
    pub fn new(
        name: impl Into<String>,
        predicted: impl Into<Given>,
        measured: Option<Estimate>,
        tolerance: f64,
    ) -> Case {
        Case {
            name: name.into(),
            predicted: predicted.into(),
            measured,
            tolerance: tolerance.abs(),
        }
    }

    /// A condition with a tolerance that is a share of what theory says there.
    pub fn share(
        name: impl Into<String>,
        predicted: impl Into<Given>,
        measured: Option<Estimate>,
        share: f64,
    ) -> Case {
        let predicted = predicted.into();
        Case::new(name, predicted, measured, share * predicted.value)
    }

    /// A condition without a tolerance: a bound, or a count that must be met.
    pub fn exact(
        name: impl Into<String>,
        predicted: impl Into<Given>,
        measured: Option<Estimate>,
    ) -> Case {
        Case::new(name, predicted, measured, 0.0)
    }

    /// The same condition in another unit.
    pub fn scaled(self, factor: f64) -> Case {
        Case {
            predicted: self.predicted * factor,
            measured: self.measured.map(|m| m.scaled(factor)),
            tolerance: self.tolerance * factor.abs(),
            ..self
        }
    }

    /// True when what theory says was computed from the trials that were measured, and shares their chances.
    pub(crate) fn is_replayed(&self) -> bool {
        let measured = self.measured.map_or(Origin::default(), |m| m.origin());
        self.predicted.origin().meets(&measured)
    }

    fn held(&self) -> Held {
        Held {
            predicted: self.predicted.value,
            blur: match self.is_replayed() {
                true => 0.0,
                false => self.predicted.blur(),
            },
            measured: self.measured,
            tolerance: self.tolerance,
        }
    }
}

/// The words of a claim, from which [`Law::near`], [`Law::at_most`] and [`Law::at_least`] make one.
#[derive(Clone, Debug)]
#[must_use]
pub struct Law {
    text: String,
    unit: &'static str,
    tolerance: &'static str,
    disturbed: Disturbed,
    kind: Option<Kind>,
}

impl Law {
    /// A statement, without measured figures (it is the claim's name when runs are compared), with the
    /// unit of its values and what disturbs them.
    pub fn new(text: impl Into<String>, unit: &'static str, disturbed: Disturbed) -> Law {
        Law { text: text.into(), unit, tolerance: "", disturbed, kind: None }
    }

    /// A statement about counts, bytes or an accuracy, which nothing disturbs.
    pub fn counted(text: impl Into<String>, unit: &'static str) -> Law {
        Law::new(text, unit, Disturbed::Never)
    }

    /// Why the tolerance is as wide as it is, in one line: "2 %: what a window of 40 service times cuts
    /// off at its ends".
    pub fn within(self, why: &'static str) -> Law {
        Law { tolerance: why, ..self }
    }

    /// It is a bound that we set ourselves, none that theory gives.
    pub fn goal(self) -> Law {
        Law { kind: Some(Kind::Goal), ..self }
    }

    /// It checks the apparatus or the accounts, or is an identity.
    pub fn books(self) -> Law {
        Law { kind: Some(Kind::Books), ..self }
    }

    /// At every condition the measured value lies within the tolerance round the predicted one.
    pub fn near(self, cases: impl IntoIterator<Item = Case>) -> Claim {
        self.claim(Relation::Near, cases)
    }

    /// At no condition does the measured value exceed the bound.
    pub fn at_most(self, cases: impl IntoIterator<Item = Case>) -> Claim {
        self.claim(Relation::AtMost, cases)
    }

    /// At every condition the measured value reaches the bound.
    pub fn at_least(self, cases: impl IntoIterator<Item = Case>) -> Claim {
        self.claim(Relation::AtLeast, cases)
    }

    fn claim(self, relation: Relation, cases: impl IntoIterator<Item = Case>) -> Claim {
        let cases: Vec<Case> = cases.into_iter().collect();
        let kind = self.kind.unwrap_or_else(|| kind_of(&cases));
        let mut claim = Claim {
            text: self.text,
            kind,
            unit: self.unit,
            tolerance_reason: self.tolerance,
            disturbed: self.disturbed,
            relation,
            cases,
            undecidable: None,
            withheld: None,
            judged: Vec::new(),
        };
        claim.judged = claim.judge();
        claim
    }
}

/// What kind of claim its cases make, by what their predictions were made of.
fn kind_of(cases: &[Case]) -> Kind {
    let of = |case: &Case| {
        let made_of = case.predicted.origin();
        let measured = case.measured.map_or(Origin::default(), |m| m.origin());
        match () {
            () if made_of.is_fitted() => Kind::Fitted,
            () if made_of.meets(&measured) => Kind::Replayed,
            () if made_of.is_measured() => Kind::Calibrated,
            () => Kind::Predicted,
        }
    };
    cases.iter().map(of).max().unwrap_or(Kind::Predicted)
}

/// One statement of theory held against measurement, at one condition or at several.
#[derive(Clone, Debug)]
pub struct Claim {
    /// The statement: the claim's name when runs are compared.
    pub text: String,
    /// What it can prove.
    pub kind: Kind,
    /// Unit of predicted, measured and tolerance, for people.
    pub unit: &'static str,
    /// Why the tolerance is as wide as it is.
    pub tolerance_reason: &'static str,
    /// What disturbs its values.
    pub disturbed: Disturbed,
    /// Its conditions, in their order.
    pub cases: Vec<Case>,
    relation: Relation,
    undecidable: Option<String>,
    withheld: Option<String>,
    judged: Vec<Judged>,
}

impl Claim {
    fn judge(&self) -> Vec<Judged> {
        let held: Vec<Held> = self.cases.iter().map(Case::held).collect();
        judge::judge(self.relation, self.disturbed, &held)
    }

    /// The same claim, undecidable for this reason (if there is one), whatever was measured: a coin toss.
    pub fn unless(self, reason: Option<String>) -> Claim {
        Claim { undecidable: self.undecidable.or(reason), ..self }
    }

    /// The same claim, not confirmed for this reason (if there is one): a trial that it rests on is none of its
    /// condition, or contradicts itself. What is refuted stays refuted.
    pub(crate) fn withheld(self, reason: Option<String>) -> Claim {
        Claim { withheld: self.withheld.or(reason), ..self }
    }

    /// True when something measured at this place of the record went into it, on either side.
    pub(crate) fn touches(&self, point: usize) -> bool {
        self.cases.iter().any(|case| {
            let measured = case.measured.map_or(Origin::default(), |m| m.origin());
            case.predicted.origin().and(measured).has(point)
        })
    }

    /// Why the run cannot decide it, whatever was measured.
    pub fn left_open(&self) -> Option<&str> {
        self.undecidable.as_deref()
    }

    /// True for a claim of theory about something that a machine may disturb.
    pub fn is_of_speed(&self) -> bool {
        self.kind.tests_theory() && self.disturbed != Disturbed::Never
    }

    /// How the measured values should stand to the predicted ones.
    pub fn relation(&self) -> Relation {
        self.relation
    }

    /// What became of each condition, in their order.
    pub fn judged(&self) -> &[Judged] {
        &self.judged
    }

    /// The condition that speaks for the claim, the one farthest from theory, and what became of it.
    pub fn named(&self) -> Option<(&Case, &Judged)> {
        let at = judge::farthest(&self.judged)?;
        Some((&self.cases[at], &self.judged[at]))
    }

    /// Which condition is named: "worst of 3: 100 clients"; its name alone where there is one.
    pub fn detail(&self) -> String {
        match self.named() {
            None => String::new(),
            Some((case, _)) if self.cases.len() == 1 => case.name.clone(),
            Some((case, _)) => format!("worst of {}: {}", self.cases.len(), case.name),
        }
    }

    /// What theory says at the condition that is named; NaN where there is none.
    pub fn predicted(&self) -> f64 {
        self.named().map_or(f64::NAN, |(case, _)| case.predicted.value)
    }

    /// How far apart they may lie there.
    pub fn tolerance(&self) -> f64 {
        self.named().map_or(0.0, |(case, _)| case.tolerance)
    }

    /// From where to where the measured value may lie there.
    pub fn allowed(&self) -> (f64, f64) {
        judge::allowed(self.relation, self.predicted(), self.tolerance())
    }

    /// What was measured there.
    pub fn measured(&self) -> Option<Estimate> {
        self.named()?.0.measured
    }

    /// The interval it was judged by.
    pub fn ci95(&self) -> Option<(f64, f64)> {
        self.named()?.1.ci95
    }

    /// How far a confirmed claim lies from theory all the same, where its interval excludes what theory
    /// says: as a share of that, of the condition farthest off in tolerances.
    pub fn bias(&self) -> Option<f64> {
        if self.verdict() != Verdict::Confirmed {
            return None;
        }
        let biased = self.judged.iter().filter(|j| j.bias.is_some());
        biased.max_by(|a, b| a.off.total_cmp(&b.off))?.bias
    }

    /// Judges the claim.
    pub fn verdict(&self) -> Verdict {
        if let Some(why) = &self.undecidable {
            return Verdict::Inconclusive(why.clone());
        }
        let with = |stand: Stand| self.judged.iter().any(|j| j.stand == stand);
        if with(Stand::Differs) {
            return Verdict::Refuted;
        }
        let at = |stand: Stand| {
            let all = self.judged.iter().zip(&self.cases);
            let names: Vec<&str> = all
                .filter(|(j, c)| j.stand == stand && !c.name.is_empty())
                .map(|(_, c)| c.name.as_str())
                .collect();
            match names.as_slice() {
                [] => String::new(),
                [one] if self.cases.len() == 1 => format!(" ({one})"),
                [one] => format!(" at {one}"),
                [one, more @ ..] => format!(" at {one} and {} more", more.len()),
            }
        };
        let why = if self.cases.is_empty() {
            "this run has no such condition".into()
        } else if with(Stand::Missing) {
            format!("not measured{}", at(Stand::Missing))
        } else if with(Stand::Silent) {
            format!("theory says nothing for these flags{}", at(Stand::Silent))
        } else if with(Stand::Disturbed) {
            format!(
                "what disturbed the machine during the trials could explain it{}",
                at(Stand::Disturbed)
            )
        } else if with(Stand::Across) {
            format!(
                "the interval reaches across the tolerance{}: more trials would tell",
                at(Stand::Across)
            )
        } else if with(Stand::Scattered) {
            format!(
                "it agrees, but its few trials scatter so much that nothing could have refuted it{}: more trials would tell",
                at(Stand::Scattered)
            )
        } else if with(Stand::Single) {
            format!("one trial has no interval{}: --trials 3", at(Stand::Single))
        } else if let Some(why) = &self.withheld {
            why.clone()
        } else {
            return Verdict::Confirmed;
        };
        Verdict::Inconclusive(why)
    }

    /// "confirmed", "confirmed, off by +7.5 %", "refuted", "inconclusive".
    pub fn verdict_text(&self) -> String {
        let word = self.verdict().word();
        match self.bias() {
            Some(bias) if self.predicted() == 0.0 => {
                format!("{word}, off by {}{}", sign(bias), number(bias.abs()))
            }
            Some(bias) => format!("{word}, off by {}{} %", sign(bias), number(100.0 * bias.abs())),
            None => word.into(),
        }
    }

    /// Why it is inconclusive, or which condition is named.
    pub fn reason(&self) -> String {
        match self.verdict() {
            Verdict::Inconclusive(why) => why,
            _ => self.detail(),
        }
    }

    /// "≈ 12 ± 1", "≤ 12", "≥ 12", without the unit.
    pub fn expectation(&self) -> String {
        let theory = Theory { relation: self.relation, value: self.predicted() };
        match self.relation {
            Relation::Near if self.tolerance() > 0.0 => {
                format!("{theory} ± {}", number(self.tolerance()))
            }
            _ => theory.to_string(),
        }
    }

    /// "11.8 [11.6, 12.0]", without the unit.
    pub fn observation(&self) -> String {
        match (self.measured(), self.ci95()) {
            (None, _) => "not measured".into(),
            (Some(m), Some((lo, hi))) if lo < hi => {
                format!("{} [{}, {}]", number(m.value), number(lo), number(hi))
            }
            (Some(m), _) => number(m.value),
        }
    }

    /// Places of the record whose conditions would have to be measured again to decide the claim.
    pub fn uncertain(&self) -> Origin {
        if self.undecidable.is_some() || self.verdict() == Verdict::Refuted {
            return Origin::default();
        }
        let open = |stand| {
            use Stand::{Across, Disturbed, Scattered, Single};
            matches!(stand, Across | Scattered | Single | Disturbed)
        };
        let cases = self.judged.iter().zip(&self.cases);
        let open = cases.filter(|(j, _)| open(j.stand));
        open.fold(Origin::default(), |all, (_, case)| {
            let measured = case.measured.map_or(all, |m| all.and(m.origin()));
            match case.predicted.blur() {
                0.0 => measured,
                // What it was calibrated from may be what is uncertain.
                _ => measured.and(case.predicted.origin()),
            }
        })
    }

    /// The contract's JSON form.
    pub fn row(&self, lab: &str) -> VerdictRow {
        let finite = |v: f64| v.is_finite().then_some(v);
        let ends = |(lo, hi): (f64, f64)| [lo, hi];
        let conditions = self.cases.iter().zip(&self.judged);
        VerdictRow {
            lab: lab.into(),
            claim: self.text.clone(),
            kind: self.kind,
            basis: self.kind,
            unit: self.unit,
            predicted: finite(self.predicted()),
            measured: self.measured().and_then(|m| finite(m.value)),
            ci95: self.ci95().map(ends),
            tolerance: self.tolerance(),
            tolerance_reason: self.tolerance_reason,
            verdict: self.verdict().word(),
            bias: self.bias(),
            reason: self.reason(),
            conditions: conditions
                .map(|(case, judged)| ConditionRow {
                    name: case.name.clone(),
                    predicted: finite(case.predicted.value),
                    measured: case.measured.and_then(|m| finite(m.value)),
                    ci95: judged.ci95.map(ends),
                    tolerance: case.tolerance,
                    verdict: judged.word(),
                    off: finite(judged.off),
                })
                .collect(),
        }
    }
}

impl Judged {
    /// What became of the condition, in the words of verdicts.
    pub fn word(&self) -> &'static str {
        match self.stand {
            Stand::Agrees => "confirmed",
            Stand::Differs => "refuted",
            _ => "inconclusive",
        }
    }
}

fn sign(value: f64) -> &'static str {
    if value < 0.0 { "−" } else { "+" }
}

/// A line of `labs verdicts --json`.
#[derive(Clone, Debug, Serialize)]
pub struct VerdictRow {
    /// "lab03".
    pub lab: String,
    /// The claim.
    pub claim: String,
    /// What it can prove.
    pub kind: Kind,
    /// The older word for the kind.
    pub basis: Kind,
    /// Unit of the values, for people.
    pub unit: &'static str,
    /// What theory says at the condition that is named; null where it says nothing.
    pub predicted: Option<f64>,
    /// What was measured there; null where nothing was.
    pub measured: Option<f64>,
    /// The 95 % interval it was judged by; null where there is none.
    pub ci95: Option<[f64; 2]>,
    /// How far apart they may lie; 0 for bounds.
    pub tolerance: f64,
    /// Why that far.
    pub tolerance_reason: &'static str,
    /// "confirmed", "refuted" or "inconclusive".
    pub verdict: &'static str,
    /// How far off theory it is although it is confirmed, as a share of the prediction (as it is where that
    /// is nought); null where the interval holds the prediction.
    pub bias: Option<f64>,
    /// Why it is inconclusive, or which condition is named.
    pub reason: String,
    /// Every condition.
    pub conditions: Vec<ConditionRow>,
}

/// A condition of a claim in `labs verdicts --json`.
#[derive(Clone, Debug, Serialize)]
pub struct ConditionRow {
    /// Which: "100 clients".
    pub name: String,
    /// What theory says there.
    pub predicted: Option<f64>,
    /// What was measured there.
    pub measured: Option<f64>,
    /// The 95 % interval it was judged by.
    pub ci95: Option<[f64; 2]>,
    /// How far apart they may lie.
    pub tolerance: f64,
    /// "confirmed", "refuted" or "inconclusive".
    pub verdict: &'static str,
    /// How far it lies from theory, in tolerances (beyond a bound: as a share of it).
    pub off: Option<f64>,
}
