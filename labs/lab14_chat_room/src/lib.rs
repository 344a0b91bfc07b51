//! # The chat room
//!
//! ## The question
//!
//! One user asks for mathematics: what do the others notice?
//!
//! ## What to predict
//!
//! Users ({users} of them) chat in rooms of {per-room}, over WebSocket, and one event loop serves
//! them all. What somebody says goes to everybody in the room, and so back to the one who said it:
//! the *echo*. One user asks for {block} of mathematics. How long do the slowest echoes of the
//! others take when it is computed on the event loop? On another thread? How many users lose their
//! connection when it is computed by another process, and that process is killed in the middle of
//! it?
//!
//! ## The experiment
//!
//! A server on a thread of its own, and its users on another one: what stops the server must not
//! stop those who measure it. Everybody speaks by a schedule, whether or not an answer has come,
//! and an echo counts from the instant at which it was *due*. The server sends each user a
//! heartbeat (a ping) every {beat}. A user who has heard none for {patience} leaves.
//!
//! The mathematics is done in four places: on the event loop (**the wrong way**), in
//! `spawn_blocking`, on a rayon pool that answers through a `oneshot` channel, and in another
//! process, which is sent the job over a pipe. Beside these: a conversation in which nobody asks;
//! one in which the process is killed in the middle of the job, and the user asks again; and blocks
//! of the event loop {losses} times as long as the users' patience.
//!
//! If there are two processors, the mathematics has one while it is not on the event loop, and
//! server and users share the other. If there are more, each has its own.
//!
//! ## What the figures show
//!
//! While the event loop computes it polls nobody. An echo that is due a time `x` after a block of
//! length `B` has begun waits for the rest, `B − x`. The first waits for the whole block, the
//! last for nothing, and the waits fall evenly between. That predicts every quantile. The
//! conversation is one and a half times as long as the block, so two thirds of the echoes wait.
//! The slowest hundredth of all are the slowest 0.015 of these, and wait for `0.985·B` and more;
//! the median waits for `B/4`. What comes on top is the time in which the server works off what
//! has piled up. First it reads what all have said, then it writes, so the last ones wait
//! longest.
//!
//! Every heartbeat that falls due meanwhile is missed, `B/beat` of them for each user. A user has
//! heard the last one up to a beat before the block, so the silences lie between `B` and
//! `B + beat`. If `B + beat` is less than the patience, nobody leaves, and if `B` is more than the
//! patience, everybody does, at once. That is what makes such a block so treacherous: up to a
//! length nobody complains, and a beat more empties the house.
//!
//! Anywhere else than on the loop, the mathematics costs the others next to nothing: an echo may
//! have to wait for a processor, a time slice of the operating system for each thread that it
//! passes, and until what came meanwhile is worked off. The three ways do not differ in that.
//! They differ in what else can happen. A computation that crashes, eats the memory or never ends
//! takes a thread's whole process with it, since nobody can stop a thread from outside. A process
//! can be killed, by you or by the system, and nobody loses the connection: its job fails with an
//! answer, and a new process does the next one.
//!
//! ## A common belief
//!
//! *Hand the computation to a pool of threads, and the event loop is free.* In Rust it is: threads
//! compute in parallel, and the two arms with threads show it. A process is for isolation here, not
//! for speed. In Python it depends on the computation. Threads take turns at the interpreter's
//! lock, so beside a computation of many small steps the loop goes on. One long call into compiled
//! code that does not let go of the lock holds it from beginning to end, in whichever thread, and
//! only another process helps.
//!
//! *A tester who waits for each echo would see the block as well.* It would be *one* slow echo a
//! user, however long the block, and the others would be called fast. That is coordinated omission;
//! lab15 shows what it hides.
//!
//! ## In production
//!
//! Do nothing on an event loop that takes long (lab02). Computation goes to a pool with a bound,
//! and the queue in front of it has one, too. A panic in rayon's `spawn` ends the whole program
//! unless the pool has a `panic_handler`; here it has one, and the user is told.
//!
//! Take another process for code you do not trust, that is not memory-safe, or that must be stopped:
//! give each job a deadline and kill the process when it is over. Answer the job it was at with an error,
//! and do not try it again by yourself, because it may be what the process died of. A worker must end
//! with its server, however that dies: it reads its input on a thread of its own, and ends with it.
//! A pipe carries bytes and not messages, so messages need a frame with a bound (`frame.rs`).
//!
//! Judge silence by what you have *sent*. A server that was away and then looks at the clock finds
//! that all of its users have been silent for too long, while their words lie unread in its
//! buffers; this one counts heartbeats that were not answered. Read before you judge. Spread
//! heartbeats over the beat, and let clients come back after a random time: here they stay away,
//! but in real life those who left at once come back at once.
//!
//! Every queue to a user is bounded. One that is full belongs to a reader who is slower than the
//! room; it is disconnected, since to wait for it would let the slowest set the pace of all. But a
//! block of the event loop turns into a burst afterwards, and a bound that is too small takes
//! everybody for slow: it must hold what comes to a user during the block (`check` asks for twice
//! that).
//!
//! ## Check yourself
//!
//! - Suppose a block of 300 ms in a conversation of ten seconds. What is the median of the echoes
//!   on the event loop, and what is the 99th percentile? Which of the two would your monitoring
//!   show?
//! - Suppose a block of 300 ms, a beat of 50 ms and `--patience 330ms`. What share of the users
//!   leaves? Work it out, then try it.
//! - Why may the users not share a thread with the server, though it would be simpler?
//! - Suppose there are two processors, and two users ask at once. What does the law for the arms
//!   beside the loop need that is then gone?
//! - The process is killed just after it has written its answer. What is the user told?

use std::sync::Arc;

use lab_kit::prelude::*;
use rayon::ThreadPool;
use tokio::{sync::oneshot, task::spawn_blocking};

mod findings;
pub mod frame;
mod gauges;
mod languages;
pub mod laws;
mod plan;
mod premise;
pub mod protocol;
pub mod rooms;
pub mod server;
pub mod users;
mod visit;
pub mod worker;

pub use plan::{ChatRoom, Params};
use worker::Worker;

// wrong: On the event loop
/// Wrong: an `async fn` without an `.await` is a plain function, and nobody else is polled until it
/// returns.
async fn on_the_loop(kernel: Kernel, cost: Duration) -> Result<Duration, String> {
    Ok(compute(kernel, cost))
}

// right: On a pool of threads
// so: The caller awaits both. In the first nobody else is polled meanwhile; in the second the
//     answer comes through a channel.
/// Right: on a pool with a thread for each processor but the loop's. What waits for the answer is
/// awaited; `pool.install` would block the loop until it is there.
async fn on_rayon(
    pool: Arc<ThreadPool>,
    kernel: Kernel,
    cost: Duration,
) -> Result<Duration, String> {
    let (reply, answer) = oneshot::channel();
    pool.spawn(move || {
        let _ = reply.send(compute(kernel, cost));
    });
    answer.await.map_err(|_| "it panicked".into())
}

/// Right: on a thread of the runtime's pool for what blocks.
async fn on_a_thread(kernel: Kernel, cost: Duration) -> Result<Duration, String> {
    let done = spawn_blocking(move || compute(kernel, cost)).await;
    done.map_err(|e| e.to_string())
}

/// Right: in another process. It costs two messages on a pipe, and whatever becomes of it, this one
/// lives.
async fn in_another_process(worker: Arc<Worker>, cost: Duration) -> Result<Duration, String> {
    worker.compute(cost).await.map_err(|e| e.to_string())
}

/// The mathematics. Returns how long it took.
fn compute(kernel: Kernel, cost: Duration) -> Duration {
    let begun = Instant::now();
    kernel.work(cost);
    begun.elapsed()
}
