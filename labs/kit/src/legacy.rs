//! The older way to make claims, while labs are moved to [`crate::claim::Law`].
#![allow(missing_docs)]
use crate::{
    claim::{Case, Claim, Kind, Law},
    disturbance::{Disturbed, Resource},
    origin::{Given, Origin},
    stats::Estimate,
};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Basis {
    Predicted,
    Calibrated,
    Fitted,
}

fn of(basis: Basis, value: f64) -> Given {
    match basis {
        Basis::Predicted => value.into(),
        Basis::Calibrated => Given::new(value, Origin::host()),
        Basis::Fitted => Given::from(value).fitted(),
    }
}
fn law(text: String, exact: bool) -> Law {
    let disturbed = if exact {
        Disturbed::Never
    } else {
        Disturbed::Either(Resource::Processors)
    };
    Law::new(text, "", disturbed)
}
impl Claim {
    pub fn near(
        text: impl Into<String>,
        basis: Basis,
        predicted: f64,
        measured: Option<Estimate>,
        tolerance: f64,
    ) -> Claim {
        law(text.into(), tolerance == 0.0).near([Case::new(
            "",
            of(basis, predicted),
            measured,
            tolerance,
        )])
    }
    pub fn at_most(
        text: impl Into<String>,
        basis: Basis,
        bound: f64,
        measured: Option<Estimate>,
    ) -> Claim {
        law(text.into(), false).at_most([Case::new("", of(basis, bound), measured, 0.0)])
    }
    pub fn at_least(
        text: impl Into<String>,
        basis: Basis,
        bound: f64,
        measured: Option<Estimate>,
    ) -> Claim {
        law(text.into(), false).at_least([Case::new("", of(basis, bound), measured, 0.0)])
    }
    pub fn law(text: &str, basis: Basis, cases: Vec<Case>, unit: &'static str) -> Option<Claim> {
        (!cases.is_empty()).then(|| Claim::at_every(text, basis, cases).unit(unit))
    }
    pub fn at_every(text: impl Into<String>, basis: Basis, cases: Vec<Case>) -> Claim {
        let exact = cases.iter().all(|c| c.tolerance == 0.0);
        let cases = cases.into_iter().map(|c| Case {
            predicted: of(basis, c.predicted.value).and(c.predicted.origin()),
            ..c
        });
        let claim = law(text.into(), exact).near(cases);
        let _ = Kind::Predicted;
        claim
    }
    pub fn unit(mut self, unit: &'static str) -> Claim {
        self.unit = unit;
        self
    }
    pub fn excused(self, reason: Option<String>) -> Claim {
        let holds = self.verdict() == crate::claim::Verdict::Confirmed;
        if holds { self } else { self.unless(reason) }
    }
}
