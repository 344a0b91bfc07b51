//! The programs themselves, driven as a user or a CI job drives them: at smoke scale, in temporary
//! folders, without a terminal.
//!
//! No test here asserts a time or a verdict about time; only exact books are asserted.

#[cfg(unix)]
mod ended_early;
mod faults;
mod judge;
mod languages;
mod misuse;
mod presets;
mod reference;
mod results;
mod run;
mod support;
mod upstreams;
