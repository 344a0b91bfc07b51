//! What a judge says: what holds, by which figures, and what to think about next.

use std::collections::BTreeMap;

use serde::Serialize;

/// How a check ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Outcome {
    /// Everything holds.
    Passed,
    /// Something does not.
    Rejected,
    /// The machine did not let it be told.
    Undecided,
}

/// One thing that was looked at.
#[derive(Clone, Debug, Serialize)]
pub struct Check {
    /// Whether it holds.
    pub holds: bool,
    /// What was seen, with its figures.
    pub said: String,
}

/// What a judge found.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Verdict {
    /// What was looked at, in order.
    pub checks: Vec<Check>,
    /// The known misconception that it looks like, by name.
    pub misconception: Option<&'static str>,
    /// A figure or a timeline, line by line.
    pub evidence: Vec<String>,
    /// Why it could not be decided.
    pub undecided: Option<String>,
    /// What was measured, for the prediction.
    pub measured: BTreeMap<&'static str, f64>,
    /// The order of threads that broke something.
    pub schedule: Option<Vec<usize>>,
    /// What the learner's program printed.
    pub printed: String,
    /// What this system could not close off.
    pub open: Option<String>,
}

impl Verdict {
    /// Nothing has been looked at yet.
    #[must_use]
    pub fn new() -> Verdict {
        Verdict::default()
    }

    /// Looks at one thing: what was seen, as a sentence that is true either way. Returns whether it holds.
    pub fn check(&mut self, holds: bool, said: impl Into<String>) -> bool {
        self.checks.push(Check { holds, said: said.into() });
        holds
    }

    /// Names the misconception that this looks like, unless one was named before.
    pub fn looks_like(&mut self, misconception: &'static str) {
        self.misconception.get_or_insert(misconception);
    }

    /// A line of evidence.
    pub fn show(&mut self, line: impl Into<String>) {
        self.evidence.push(line.into());
    }

    /// A figure that a prediction may be about.
    pub fn measured(&mut self, gauge: &'static str, value: f64) {
        self.measured.insert(gauge, value);
    }

    /// Nothing was refuted so far.
    #[must_use]
    pub fn holds(&self) -> bool {
        self.checks.iter().all(|check| check.holds)
    }

    /// What was refuted stays refuted; a judge that looked at nothing has decided nothing.
    #[must_use]
    pub fn outcome(&self) -> Outcome {
        if !self.holds() {
            Outcome::Rejected
        } else if self.undecided.is_some() || self.checks.is_empty() {
            Outcome::Undecided
        } else {
            Outcome::Passed
        }
    }
}
