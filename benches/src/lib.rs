//! What things cost, and a gate that notices when they cost more.
//!
//! # Layout
//!
//! - `cases/` says what is measured, by the question that a student would ask. It is a package of its own:
//!   a program with these cases in another order is linked then, and not compiled.
//! - `benches/cases.rs` times every case with criterion (`cargo bench -p benches`), and [`charts`] draws
//!   what criterion wrote.
//! - `examples/work.rs` makes a program of those cases that are always the same and stay on one thread.
//!   [`programs`] builds it from this tree and from an earlier commit. [`counts`] counts its
//!   instructions under valgrind and holds them against committed ones; [`pairs`] runs both programs
//!   in turns and holds the ratio of their times against one.
//! - [`verdict`] decides. It is pure.
//!
//! Everything that blocks a change is in the command `gate`; criterion's times only inform. On a shared
//! machine times drift by more than what a gate has to find, between two runs as within one, so a time
//! that was stored is no measure for one taken today: on unchanged code criterion's own comparison
//! with a stored run reported a change for 14 of 21 benches. What is compared is therefore taken side by
//! side (pairs), or is no time at all (instructions).

pub mod catalogue;
pub mod charts;
pub mod counts;
pub mod pairs;
pub mod programs;
pub mod verdict;
