//! The upstream of the experiments: an HTTP server whose capacity is known, so that theory can be held against it.
//!
//! # Layout
//!
//! - [`queue`]: c slots and K waiting places in virtual time. No sockets, no clock; simulations use it too.
//! - [`rate`]: a quota, so many requests a second. [`Service`]: how long a slot is held. [`Faults`]: what goes wrong, and how often.
//! - [`Spec`]: one upstream, described. [`Route`]: a path with a service of its own. [`Script`]: what becomes of
//!   single requests.
//! - [`books`]: what its ledger of single requests tells of its clients.
//! - [`site`]: a shop of generated pages, to be crawled.
//! - [`Upstream`]: one upstream, running on a thread and a port of its own. [`room`]: whether there can be one more.
//!
//! ```
//! use std::time::Duration;
//! use mock_server::{Service, Spec, Upstream};
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> std::io::Result<()> {
//! let service = Service::Constant(Duration::from_millis(20));
//! let upstream = Upstream::start(Spec::new(2, service)).await?;
//! println!("{}/ answers {} bytes", upstream.url(), mock_server::BODY.len());
//! assert_eq!(upstream.counters().arrived, 0);
//! upstream.shutdown().await;
//! # Ok(())
//! # }
//! ```

#![warn(missing_docs)]

pub mod books;
mod fault;
mod ledger;
mod limits;
mod script;
pub mod site;
mod spec;
#[cfg(test)]
mod tests;
mod upstream;

pub use lab_theory::rate::{self, Quota};
pub use lab_theory::{MAX_TIME, ParseError, Sampler, Service, queue};

pub use fault::{By, Chance, Every, Faults, Outage, Tail};
pub use ledger::{Entry, MAX_LEDGER};
pub use limits::{room, threads_start};
pub use script::{Script, Turn};
pub use site::Site;
pub use spec::{
    Asked, BODY, Body, Change, MAX_CYCLE, MAX_PLACES, MAX_SLOTS, Make, Route, Slots, Spec,
};
pub use upstream::{Counters, Upstream};
