//! The load generator at its fastest, and `labs bench-generator`, which holds it against others.
//!
//! # Layout
//!
//! - [`target`]: where requests go and what a right answer is.
//! - `link`: one connection and one exchange on it, without a pool, a redirect or a task in between.
//! - `answer`: an answer, read as its bytes come.
//! - [`wire`]: the drivers. A thread has so many connections, each a task that sends, waits and sends
//!   again; one book for all of them, and one clock. Closed loop and open loop, as in
//!   [`lab_kit::load`], with the same books.
//! - `pace`: when arrivals of an open loop are due, and letting them go on time.
//! - [`compare`]: the command. Servers, other generators, rounds, a record, tables, a chart.
//!
//! Use [`lab_kit::load::Load`] where a lab shows a client; use [`wire::Wire`] where the client must
//! not be what is measured.

mod answer;
pub mod compare;
mod link;
mod pace;
pub mod target;
pub mod wire;

/// The command of the umbrella that is here.
pub const COMMAND: lab_kit::cli::Extra = compare::COMMAND;
