//! Everything of the lab suite that is not a lesson.
//!
//! # Layout
//!
//! One line runs through it, and no arrow runs back:
//!
//! experiment → record → summary → findings → chart, table, report
//!
//! - [`session`] runs conditions and their trials; [`load`] sends requests; `calibrate` measures the
//!   machine first. That is the only impure stage; it ends in a [`record`], kept by [`store`]. What it
//!   [`needs`] is told before it begins.
//! - The same experiment in other languages is a matter of [`runtimes`], which run as children within bounds
//!   ([`child`]).
//! - [`gate`] lets through what a lab can have written, and [`summary`] reads it as estimates with
//!   intervals ([`stats`]).
//! - A [`lab`] holds the summary against [`theory`] and returns [`findings`]: charts as data
//!   ([`figure`]), tables, [`claim`]s, and an [`answer`] to each question. How a claim is judged is in
//!   [`judge`]; what its prediction was made of ([`origin`]) says what it can prove, and what disturbed
//!   its trials ([`disturbance`]) what it can decide.
//! - [`prediction`] sets beside it what the reader had said.
//! - [`draw`] draws figures, [`report`] writes text, [`compare`] holds two sets of results against each
//!   other, [`cli`] is the terminal.

pub mod accounts;
pub mod address;
pub mod answer;
pub mod args;
mod calibrate;
pub mod card;
pub mod child;
pub mod claim;
pub mod clean;
pub mod cli;
pub mod compare;
mod contain;
pub mod disturbance;
pub mod draw;
pub mod figure;
pub mod findings;
pub mod gate;
pub mod gauge;
pub mod given;
pub mod heap;
pub mod host;
pub mod http;
pub mod judge;
pub mod lab;
pub mod limits;
pub mod load;
mod more;
pub mod needs;
pub mod origin;
pub mod os;
pub mod prediction;
pub mod preset;
pub mod progress;
pub mod prove;
pub mod quantity;
pub mod record;
pub mod report;
pub mod runtimes;
pub mod scratch;
pub mod seats;
pub mod session;
pub mod stats;
pub mod stop;
pub mod store;
pub mod summary;
pub mod terminal;
pub mod text;
mod trend;
pub mod work;

/// What the models say: a package of its own, which needs neither server nor drawing.
pub mod theory {
    pub use lab_theory::*;

    pub use crate::trend::Trend;
}

/// What most labs need.
pub mod prelude {
    pub use std::time::{Duration, Instant};

    pub use anyhow::Result;
    pub use bytes::Bytes;
    pub use clap::Args;
    pub use mock_server::{Service as ServiceTime, Spec};
    pub use serde::{Deserialize, Serialize};

    pub use crate::{
        answer::Answer,
        args::{Size, Time, count, level, whole, within},
        card::{Card, Question, Sizes, Sketch},
        claim::{Case, Claim, Law},
        disturbance::{Disturbed, Resource},
        figure::{
            Axis, Bar, BarGroup, Bars, BeatLane, Beats, Body, Colour, Figure, Gantt, Group, Lane,
            Layer, Line, Mark, Panel, Panels, Scale as AxisScale, Style, Unit, ValueBar,
        },
        findings::{Findings, Table},
        gauge::{self, Gauge},
        given::Given,
        http,
        lab::Lab,
        load::{Closed, Open, Outcome, Tally},
        needs::{self, Extent, Needs},
        origin::Origin,
        preset::{Preset, Printed, in_percent},
        quantity::{Quantity, Within},
        record::{Scale, Trial},
        runtimes::{self, Language, Languages, Program, Programs},
        session::{Recorder, Service, Session},
        stats::Estimate,
        summary::{Condition, Summary},
        text::{cell, number, percent, seconds},
        work::Kernel,
    };
}
