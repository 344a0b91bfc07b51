//! Theory beside measurement for lab16.
use super::Params;
use lab_kit::prelude::*;
pub(super) fn explain(_p: &Params, _summary: &Summary) -> Findings {
    Findings::default()
}
