//! Any program, judged by the books of the service that it talks to.
//!
//! # Layout
//!
//! - [`command`]: `labs judge`.
//! - [`asked`]: what a program is asked to do, as flags, and how it is told. [`brief`]: what a lab asks, and a
//!   lab made of it, so that a judgement is a run like any other: a record, claims, charts. [`briefs`]: those of
//!   the labs.
//! - `trial` starts service, [`relay`] and program, [`reading`] reads the books, [`check`] holds them against
//!   what was asked, `findings` says it.
//! - [`server`]: the other side, a program that serves.

pub mod asked;
pub mod brief;
pub mod briefs;
pub mod check;
pub mod command;
mod findings;
pub mod gauges;
mod program;
pub mod reading;
pub mod relay;
pub mod server;
mod trial;

use brief::Judged;
use lab_kit::lab::{Experiment, entry};

/// Every judgement, in the order of the course.
pub const JUDGES: &[&dyn Experiment] = &[
    entry::<Judged<briefs::Trap>>(),
    entry::<Judged<briefs::Limit>>(),
    entry::<Judged<briefs::Resilient>>(),
    entry::<Judged<briefs::Ingestion>>(),
    entry::<Judged<briefs::Overlap>>(),
    entry::<Judged<briefs::FanOut>>(),
    entry::<Judged<briefs::Pipeline>>(),
    entry::<server::Server>(),
    entry::<Judged<briefs::Crawl>>(),
];
