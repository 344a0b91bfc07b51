//! # Rate is not concurrency
//!
//! ## The question
//!
//! The quota is 100 requests a second: why does a semaphore not keep it?
//!
//! ## What to predict
//!
//! {items} waits of {wait} each are to be done. How many times faster is it to begin them all and then
//! wait, than to begin each when the one before has ended?
//!
//! ## The experiment
//!
//! The same waits in two ways, on an event loop with one thread.
//!
//! ## What the figures show
//!
//! One after another, the waits take their sum. Begun together, they take as long as one: a wait needs no
//! thread, so one thread can wait for any number of them.
//!
//! ## A common belief
//!
//! *More at once needs more threads.* Waiting does not.
//!
//! ## In production
//!
//! Ask of every slow step whether it waits or computes.
//!
//! ## Check yourself
//!
//! - Which of the two would change if the waits were computations?

use lab_kit::prelude::*;
use tokio::{task::JoinSet, time::sleep};

mod findings;
mod plan;

pub use plan::{Params, RateIsNotConcurrencyLab};

// wrong: One after another
/// Nothing else has been begun while it waits.
async fn in_turn(items: usize, wait: Duration) {
    for _ in 0..items {
        sleep(wait).await;
    }
}

// right: Begun together
// so: The first way begins a wait when the one before has ended. The second begins them all.
/// All are begun, then all are awaited. Still one thread.
async fn together(items: usize, wait: Duration) {
    let begun: JoinSet<()> = (0..items).map(|_| sleep(wait)).collect();
    begun.join_all().await;
}
