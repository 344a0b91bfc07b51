//! What lab10's record shows.

use lab_kit::prelude::*;

use super::Params;

/// Theory beside measurement.
pub(super) fn explain(_p: &Params, _summary: &Summary) -> Findings {
    Findings {
        headline: String::new(),
        figures: vec![],
        tables: vec![],
        claims: vec![],
        answers: vec![],
    }
}
