//! The live classroom page: `labs serve`.
//!
//! A lecturer moves a slider, and everybody sees at once what becomes of the measured curve and of
//! the theory beside it. Nothing is animated: requests, blocked threads and queues are real.
//!
//! # Layout
//!
//! - [`control`]: what can be set, and within which bounds. [`meter`]: rates, shares, histories. Pure.
//! - [`engine`]: what is run, one demonstration at a time, on threads of its own; seen as a
//!   [`engine::View`] eight times a second.
//! - [`draw`]: from a view to HTML and SVG, a pure function. [`page`]: what surrounds it.
//! - [`hall`]: what all pages share: settings, the one run, its latest picture.
//! - [`web`]: who may ask, and what they hear: server-sent events that htmx puts in place.
//! - [`SERVE`]: the command.

mod assets;
mod command;
pub mod control;
pub mod draw;
pub mod engine;
pub mod hall;
pub mod meter;
pub mod page;
pub mod text;
pub mod web;

pub use command::SERVE;

use std::sync::{Mutex, MutexGuard, PoisonError};

/// Whoever panicked while holding it has left no half of anything behind: every change here is one step.
fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
