//! What tests of several packages share. Nothing but tests depends on it.

mod ends;
mod fuzz;

pub use ends::ends;
pub use fuzz::fuzz;
