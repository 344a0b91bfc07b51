//! What the models say: pure functions from parameters to predictions.
//!
//! Nothing here measures, waits or reads a clock, so a prediction is the same on every machine and
//! can be printed beside a measurement made years ago. Times are in seconds and rates in requests
//! (or items) per second throughout. Input that has no meaning, such as a negative rate, gives
//! `NaN` or `None` as each item says; nothing panics, and the work is bounded whatever the input.
//!
//! | module | question |
//! |---|---|
//! | [`little`] | how many are inside, given how fast they come and how long they stay? |
//! | [`amdahl`] | what do more processors give? |
//! | [`usl`] | which curve do measured throughputs follow? |
//! | [`erlang`] | how long do random arrivals wait for a random service? |
//! | [`mdc`] | and for a constant service? |
//! | [`overload`] | who is served in time when more comes than can be done? |
//! | [`burst`] | what becomes of n requests sent at once? |
//! | [`pipeline`] | how long do n items take through stages in a row? |
//! | [`mod@simulate`] | and when service times are random and queues short? |
//! | [`event_loop`] | and when one event loop fetches and computes? |
//! | [`closed_loop`] | what do n clients get that send again after each answer? |
//! | [`schedule`] | when do jobs end that come one after another and share processors? |
//! | [`hedge`] | how late is the slowest of several, and what does a second request save? |
//! | [`rate`] | how many a second get through a quota, a limit, a window? |
//! | [`repairman`] | what do n workers get that wait and compute in turn? |
//! | [`cancellation`] | what is lost or done in vain when something is broken off half-way? |
//! | [`cache`] | what does an upstream get when a cache's values end, and how much does the cache hold? |
//! | [`queue`] | when does a service of so many slots answer? |
//! | [`balance`] | which of n servers gets the next request, and how long does it take? |
//!
//! [`Service`] says how long one request takes. It and the queue are here, below the server that runs them, so
//! that the simulator and the server are one.

pub mod amdahl;
pub mod balance;
pub mod burst;
pub mod cache;
pub mod cancellation;
pub mod closed_loop;
pub mod erlang;
pub mod event_loop;
pub mod hedge;
pub mod little;
pub mod mdc;
pub mod overload;
pub mod pipeline;
pub mod queue;
pub mod rate;
pub mod repairman;
pub mod schedule;
pub mod service;
pub mod simulate;
pub mod usl;

pub use burst::{Burst, Limited};
pub use closed_loop::{Band, ClosedLoop, Prediction};
pub use erlang::{MMc, MMcK};
pub use mdc::MDc;
pub use overload::{Discipline, Fate, Impatient};
pub use pipeline::{Pipeline, Stage};
pub use service::{MAX_TIME, ParseError, Sampler, Service};
pub use simulate::{Run, Station, Usage, simulate};
pub use usl::{Fit, Usl};

/// A quantity that can be waited for or counted: not negative and not `NaN` (infinity is allowed).
fn is_amount(x: f64) -> bool {
    x >= 0.0
}

/// Seconds as whole nanoseconds, the clock of the upstream's queue; saturates at both ends.
fn nanos(seconds: f64) -> u64 {
    (seconds * 1e9).round() as u64
}

/// Nanoseconds as seconds.
fn seconds(nanos: u64) -> f64 {
    nanos as f64 / 1e9
}
