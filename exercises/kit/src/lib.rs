//! What an exercise needs.
//!
//! - [`Service`]: a service to ask; it keeps books of what it is asked. [`Text`]: what it may be handed.
//! - [`work`]: computation that takes time. [`chance`]: a number that nobody knows before.
//! - [`sync`] and [`thread`]: locks, atomics and threads. Plain ones, or those of a model checker that tries every
//!   order of the threads' steps: the same code is compiled with both.
//! - [`harness`]: how `main.rs` talks to the judge. A solution has no use for it.

#![warn(missing_docs)]

pub mod harness;
#[cfg(feature = "orders")]
mod orders;
#[cfg(feature = "orders")]
#[path = "model.rs"]
pub mod sync;
#[cfg(not(feature = "orders"))]
#[path = "plain.rs"]
pub mod sync;
mod chance;
mod seal;
mod service;
mod stir;
mod text;
pub mod work;

pub mod thread {
    //! Threads.
    #[cfg(feature = "orders")]
    pub use shuttle::thread::{JoinHandle, spawn, yield_now};
    #[cfg(not(feature = "orders"))]
    pub use std::thread::{JoinHandle, spawn, yield_now};
}

pub use chance::chance;
pub use service::{Answer, Failure, Service};
pub use text::Text;
