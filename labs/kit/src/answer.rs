//! The answers to what a reader predicts: what was measured beside what theory says.

use std::fmt;

use serde::Serialize;

use crate::{stats::Estimate, text::number};

/// How the measured value should stand to the predicted one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Relation {
    /// About as large.
    Near,
    /// Not larger.
    AtMost,
    /// Not smaller.
    AtLeast,
}

/// A figure of theory: a value, or a bound.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Theory {
    /// How the measured value should stand to it.
    pub relation: Relation,
    /// The figure.
    pub value: f64,
}

/// "12", "≤ 12", "≥ 12".
impl fmt::Display for Theory {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        let sign = match self.relation {
            Relation::Near => "",
            Relation::AtMost => "≤ ",
            Relation::AtLeast => "≥ ",
        };
        write!(f, "{sign}{}", number(self.value))
    }
}

/// The answer to one of the lab's questions: what was measured beside what theory says of the same
/// figure, in the same unit. Theory's figure comes from where the claims have theirs.
#[derive(Clone, Debug, PartialEq)]
pub struct Answer {
    /// The question's key.
    pub key: &'static str,
    /// What was measured; `None` when the run has no such condition.
    pub measured: Option<Estimate>,
    /// What theory says, or a few words on why it says nothing.
    pub theory: Result<Theory, &'static str>,
}

impl Answer {
    fn new(
        key: &'static str,
        measured: Option<Estimate>,
        relation: Relation,
        value: f64,
    ) -> Answer {
        let theory = Theory { relation, value };
        Answer {
            key,
            measured: measured.filter(|m| m.value.is_finite()),
            theory: value.is_finite().then_some(theory).ok_or("it says nothing for this run"),
        }
    }

    /// Theory says about so much. A value that is not finite says nothing.
    pub fn near(key: &'static str, measured: Option<Estimate>, predicted: f64) -> Answer {
        Answer::new(key, measured, Relation::Near, predicted)
    }

    /// Theory says no more than that.
    pub fn at_most(key: &'static str, measured: Option<Estimate>, bound: f64) -> Answer {
        Answer::new(key, measured, Relation::AtMost, bound)
    }

    /// Theory says no less than that.
    pub fn at_least(key: &'static str, measured: Option<Estimate>, bound: f64) -> Answer {
        Answer::new(key, measured, Relation::AtLeast, bound)
    }

    /// There is no theory of it here, for this reason: "no model here: it depends on …".
    pub fn alone(key: &'static str, measured: Option<Estimate>, why: &'static str) -> Answer {
        let theory = Err(why);
        Answer { theory, ..Answer::new(key, measured, Relation::Near, f64::NAN) }
    }

    /// The same answer in the question's unit, both figures multiplied by the same factor.
    pub fn scaled(self, factor: f64) -> Answer {
        Answer {
            measured: self.measured.map(|m| m.scaled(factor)),
            theory: self.theory.map(|t| Theory { value: t.value * factor, ..t }),
            ..self
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn estimate(value: f64, half: f64) -> Option<Estimate> {
        Some(Estimate::with_error(value, half, 2))
    }

    #[test]
    fn an_answer_has_both_figures_in_one_unit_or_a_reason() {
        let of = |answer: Answer| answer.scaled(1e3).theory.map(|t| t.to_string());
        assert_eq!(of(Answer::near("", None, 0.02)).unwrap(), "20");
        assert_eq!(of(Answer::at_most("", None, 0.02)).unwrap(), "≤ 20");
        assert_eq!(of(Answer::at_least("", None, 0.02)).unwrap(), "≥ 20");
        assert_eq!(of(Answer::alone("", None, "no model")), Err("no model"));
        assert!(of(Answer::near("", None, f64::NAN)).is_err());
        let both = Answer::near("", estimate(0.021, 0.001), 0.02).scaled(1e3);
        assert_eq!(both.measured, estimate(0.021, 0.001).map(|e| e.scaled(1e3)));
        assert_eq!(Answer::near("", estimate(f64::NAN, 0.0), 0.02).measured, None);
    }
}
