//! # Shared state
//!
//! ## The question
//!
//! What goes wrong when workers share?
//!
//! ## What to predict
//!
//! As many threads as you have processors add one to the same counter, each as often as it can.
//! First each reads the counter, adds one and writes it back, with atomic operations. What share of
//! the updates is missing at the end? Then each thread gets a counter of its own, and these are
//! added up. How many times as many updates a second does that bring when the counters lie so far
//! apart that no two share a cache line, rather than side by side? (A *cache line* is the piece of
//! memory that a processor takes at a time.)
//!
//! ## The experiment
//!
//! - **Seven ways to count** (`counters.rs`): read then write, one atomic addition, mutex,
//!   read-write lock, counters side by side, counters apart, messages to an owner. With one thread
//!   and with {threads}; before and after each trial one thread counts alone, so that the speed-up
//!   is against the same minute. Every thread knows how many updates it made; what the counter says
//!   is held against that.
//! - **Real work and a lock**: items of computation that end in a shared sum, with the lock held for
//!   all of it, for a part, or for the addition only.
//! - **Programs that hang** (here and in `counters.rs`): a lock held across an `.await`, two locks taken in two orders, and the
//!   right ways beside them. Each runs as a process of its own, for a thread that hangs cannot be
//!   ended, and says what it has and what it waits for. After a silence the watchdog ends it.
//! - **A model checker** (in the tests) runs the same `counters.rs` through every order in which its
//!   steps can happen.
//!
//! ## What the figures show
//!
//! *Read then write* is by far the fastest way to count, and wrong. With `n` threads of at least two
//! updates each the counter may end anywhere from 2 to the true number: the model checker finds the
//! 2. A timing shows what usually happens, never what can.
//!
//! *Correct* costs more than counting. What it costs is where the counter is. A processor may write
//! to a cache line only while no other processor has it. So the line travels. An atomic addition
//! takes many times as long as a plain one, and longer still when its line has to come from another
//! processor. Since there is one line, any number of threads get fewer of them than one thread
//! alone. A lock adds its own word to fight for, and threads that go to sleep and are woken. (Two
//! hardware threads of one core share its caches: between them a line need not travel.)
//!
//! Counters side by side are the same line again (*false sharing*): nothing is shared in the
//! program, everything in the machine. Apart they are as many times faster than one thread as there
//! are processors. The universal scalability law puts numbers to the curves: a contention `σ ≥ 1`
//! says that already the second thread costs more than it brings. It is a fit, and of few points:
//! it describes.
//!
//! With real work the time inside the lock decides. With a share `s` of each item inside, the lock
//! lets one item pass in `s` times its time: on `P` processors the speed-up is at most `min(P,
//! 1/s)`, if whoever is outside computes all the while. Amdahl's law, `1/(s + (1 - s)/P)`, is the
//! other end: nobody is outside while another is inside. The lab's theory is `min(P, 1/s)`: whoever
//! is outside computes on. The verdict says whether your run agrees. At `s = 1` both ends are one:
//! a lock held for everything is a queue with one server, however many threads.
//!
//! A hung program is silent and idle; it looks like one that waits for the network. A lock in Rust
//! hands out a *guard*, and stays taken until the guard is dropped. A task that keeps one across an
//! `.await` leaves the lock taken while it is away. The next task that wants the lock blocks its
//! *thread*, the very one that the first task would need to go on. On a runtime of many threads it
//! takes as many such tasks as threads, so it appears under load.
//!
//! ## A common belief
//!
//! *A race shows when the program is run.* It may not: a run that loses nothing proves nothing,
//! which is why the model checker is here. *A lock round each access is enough.* Read under one
//! lock and write under the next is the first counter again. *On an event loop nothing can come
//! between.* At every `.await` others move, and what was read before it may be old.
//!
//! ## In production
//!
//! First share less: a result per worker, put together at the end (rayon's `sum`), or one owner and
//! messages, in batches. A plain counter is one `fetch_add`, `Relaxed`; for one that everybody hits
//! all the time, counters apart. Everything larger is a `Mutex`, held for as few lines as possible
//! and never while computing, calling out or waiting. An `RwLock` is for reads that take long: even
//! readers write to its word. Two locks: one order for all, or one lock for both.
//!
//! In async code `std::sync::Mutex` is right when the guard ends before the next `.await`; else
//! `tokio::sync::Mutex`. Let the tools find it: `clippy::await_holding_lock`, `loom` or `shuttle`
//! for the interleavings, ThreadSanitizer for `unsafe`. Pad by measurement only: cache lines of its
//! own for each counter are a poor trade where nothing contends.
//!
//! ## Check yourself
//!
//! - Two threads add one twice each, reading then writing. Write down the order that ends in 2.
//! - Why does one thread *alone* lose nothing, and why may a machine with one processor still lose?
//! - Twice the threads as processors, one shared atomic counter: why is it not slower than with `P`?
//! - Suppose an item takes 10 ms, 1 ms of them inside a lock, and there are 16 processors. Which
//!   speed-up? What if the 1 ms becomes 2 ms?
//! - Why does the compiler refuse `tokio::spawn` of a task that holds a `MutexGuard` across an
//!   `.await`, and why does that not help here?

use std::{future::Future, sync::Mutex};

use watchdog::Witness;

pub mod counters;
mod findings;
mod gauges;
#[cfg(test)]
mod model;
mod plan;
mod premise;
pub mod programs;
mod rush;
mod watchdog;
mod work;

pub use plan::{Params, SharedState};

// wrong(2): The lock is held across the `.await`
/// Wrong: the guard lives across the `.await`. While this task is away, whoever wants the lock stops
/// its whole thread. Clippy finds it; the compiler would where the task is spawned, as a guard is not
/// `Send`, but this one is not spawned.
#[expect(clippy::await_holding_lock, reason = "the lesson")]
async fn held_across_await(me: &Witness, count: &Mutex<u64>, answer: impl Future<Output = u64>) {
    me.waits_for("the lock");
    let mut count = count.lock().expect("nobody panics holding it");
    me.has("the lock");
    me.says("awaits the helper");
    *count += answer.await;
}

// right(2): Awaits first, locks afterwards
// so(2): A guard that is held while a task is away stops the thread of whoever wants the lock next.
/// Right: awaits first, and locks for one statement.
async fn awaited_before(me: &Witness, count: &Mutex<u64>, answer: impl Future<Output = u64>) {
    me.says("awaits the helper");
    let more = answer.await;
    me.waits_for("the lock");
    *count.lock().expect("nobody panics holding it") += more;
}

/// Right as well, and slower: a lock for which tasks wait, not threads. The others wait as long, but
/// the runtime goes on.
async fn async_lock(
    me: &Witness,
    count: &tokio::sync::Mutex<u64>,
    answer: impl Future<Output = u64>,
) {
    me.waits_for("the lock");
    let mut count = count.lock().await;
    me.has("the lock");
    me.says("awaits the helper");
    *count += answer.await;
}

/// Wrong: the lock is there for the sum, and is held while computing what to add.
fn lock_then_compute(sum: &Mutex<u64>, compute: impl FnOnce() -> u64) {
    let mut sum = sum.lock().expect("nobody panics holding it");
    *sum += compute();
}

/// Right: what needs no lock is done without.
fn compute_then_lock(sum: &Mutex<u64>, compute: impl FnOnce() -> u64) {
    let result = compute();
    *sum.lock().expect("nobody panics holding it") += result;
}

/// The types that `counters.rs` is compiled with.
mod sync {
    pub(super) use std::{
        sync::{Mutex, MutexGuard, RwLock, atomic, mpsc},
        thread,
    };
}
