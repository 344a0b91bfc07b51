//! # Waiting and working
//!
//! ## The question
//!
//! Does doing several things at once make a program faster?
//!
//! ## What to predict
//!
//! A program has waits of {waits} times `u` before it, `u` = {unit}: answers of a network, say,
//! that come when they come. It also has `n` = {jobs} computations that cost `p` = {cost} each. It
//! may do them one after another, concurrently on one thread, or on a pool of threads. Write down
//! six times.
//!
//! ## The experiment
//!
//! Six arms, the waits and the computations in each of three ways:
//!
//! - **one after another**: a loop on an event loop with one thread, which tokio calls a
//!   *current-thread runtime*.
//! - **concurrent**: the same futures (in Python: coroutines) on the same kind of runtime, all
//!   begun before the first one has ended. Still one thread.
//! - **rayon**: a pool of threads: one for each wait, {threads} for the computations.
//!
//! The computations are a chain of integer operations, a fixed *amount* of work that costs `p` on a
//! processor of its own. A seventh arm sleeps for `p` instead, on a pool with a thread for each
//! job: the classic stand-in for computation.
//!
//! ## What the figures show
//!
//! Waits overlap. A wait needs no processor, so one thread can wait for any number of futures at
//! the same time: the sum becomes the longest. Threads reach the same, at the price of a thread for
//! each wait.
//!
//! Computations do not overlap on one thread. An `async fn` that computes has no point at which the
//! event loop could turn to another one, so that `n` futures take `n·p`, begun together or not.
//! What helps is more processors, and only as many as there are: the work of `n·p` is shared by
//! `min(n, P)` of the `P` processors.
//!
//! So the two words mean two things. *Concurrent* is having several things begun and not ended,
//! which one thread can do. *Parallel* is working on several in the same instant, which takes
//! several processors. A chef with one pair of hands can have three dishes in the oven, but chops
//! one onion at a time; a second chef chops a second one.
//!
//! ## A common belief
//!
//! *A pool of four threads is four times as fast, as any test with `sleep` shows.* A sleeping
//! thread needs no processor: four sleeps on four threads end together on a machine with one
//! processor, too. The seventh arm shows this speed-up, which is as large as the pool and says
//! nothing about the machine. Such a test also hides an interpreter that runs one thread at a time,
//! as Python's does by default: `sleep` lets go of its lock. In Rust threads do compute in
//! parallel, up to the number of processors, and no further.
//!
//! *Async makes computations faster.* The lab notes that this suite grew from have waits of 3 s,
//! 1 s and 2 s, which end in about 3 s, and four computations of 5 s, which take 20 s with async as
//! well. Both hold: `--unit 1s --cost 5s` is that experiment.
//!
//! ## In production
//!
//! Ask of every slow step whether it waits or works; a profiler that counts processor time and one
//! that counts wall time differ by exactly this. Waits belong on an event loop, where a thousand
//! cost little more than one. Work belongs on as many threads as there are processors, away from
//! the event loop: what happens to the others otherwise is lab02. When you benchmark a pool, let it
//! do real work. And measure what a second processor gives, as this suite does before each run: two
//! hardware threads of one core are less than two.
//!
//! ## Check yourself
//!
//! - Ten waits of `u` and ten computations of `p = u`, all on one event loop: how long at least?
//! - Five jobs of `p` on two processors take `3p`, not `2.5p`. Why, and what would help?
//! - When do eight threads on two processors finish sooner than two threads? (Not here: see lab11.)
//! - Which arm would change if `sleep` were replaced by a request to a slow server?

use lab_kit::prelude::*;
use rayon::ThreadPool;
use rayon::prelude::*;
use tokio::runtime::Builder;
use tokio::task::JoinSet;

mod findings;
mod languages;
mod plan;
mod premise;

pub use plan::{Params, WaitingAndWorking};

// wrong(1): Waits, one after another
/// Each `.await` lets the event loop turn to something else. Nothing else has been begun.
fn wait_in_turn(r: &Recorder, waits: &[Duration]) -> Result<()> {
    let runtime = Builder::new_current_thread().enable_time().build()?;
    r.timed(|| {
        runtime.block_on(async {
            for (name, wait) in named(waits) {
                r.wait(&name, tokio::time::sleep(wait)).await;
            }
        })
    })
}

// right(1): Waits, begun together
// so(1): Both run on one thread. The first awaits each wait before it begins the next; the second
//     begins them all and then awaits.
/// All are begun, then all are awaited. Still one thread.
fn wait_together(r: &Recorder, waits: &[Duration]) -> Result<()> {
    let runtime = Builder::new_current_thread().enable_time().build()?;
    let wait = |(name, wait): (String, Duration)| {
        let r = r.clone();
        async move { r.wait(&name, tokio::time::sleep(wait)).await }
    };
    r.timed(|| {
        runtime.block_on(async {
            let begun: JoinSet<()> = named(waits).map(wait).collect();
            begun.join_all().await;
        })
    })
}

/// A thread for each wait: as quick, and each thread has a stack.
fn wait_on_threads(r: &Recorder, pool: &ThreadPool, waits: &[Duration]) -> Result<()> {
    let each: Vec<_> = named(waits).collect();
    r.timed(|| {
        pool.install(|| {
            let one_by_one = each.par_iter().with_max_len(1);
            one_by_one.for_each(|(name, wait)| r.work(name, || std::thread::sleep(*wait)));
        })
    })
}

/// A computation as an `async fn`. It has no `.await`: once begun, it runs to its end.
async fn compute(r: Recorder, job: usize, kernel: Kernel, cost: Duration) {
    r.work(&job.to_string(), || kernel.work(cost));
}

fn work_in_turn(r: &Recorder, jobs: usize, kernel: Kernel, cost: Duration) -> Result<()> {
    let runtime = Builder::new_current_thread().build()?;
    r.timed(|| {
        runtime.block_on(async {
            for job in 1..=jobs {
                compute(r.clone(), job, kernel, cost).await;
            }
        })
    })
}

// wrong(2): Computations, begun together on one thread
/// The wrong way: it reads as if it were parallel, and takes as long as one after another.
fn work_together(r: &Recorder, jobs: usize, kernel: Kernel, cost: Duration) -> Result<()> {
    let runtime = Builder::new_current_thread().build()?;
    r.timed(|| {
        runtime.block_on(async {
            let begun = (1..=jobs).map(|job| compute(r.clone(), job, kernel, cost));
            begun.collect::<JoinSet<()>>().join_all().await;
        })
    })
}

// right(2): Computations, on as many threads as there are processors
// so(2): Beginning computations together gains nothing on one thread: they have no point at which
//     another one could go on. Processors do.
/// The right way: several processors. Jobs move between threads one by one, so that a thread that
/// has nothing to do always finds one that waits.
fn work_on_threads(
    r: &Recorder,
    pool: &ThreadPool,
    jobs: usize,
    work: impl Fn() + Sync,
) -> Result<()> {
    r.timed(|| {
        pool.install(|| {
            let one_by_one = (0..jobs).into_par_iter().with_max_len(1);
            one_by_one.for_each(|i| r.work(&(i + 1).to_string(), &work));
        })
    })
}

fn named(waits: &[Duration]) -> impl Iterator<Item = (String, Duration)> {
    waits.iter().map(|wait| (seconds(wait.as_secs_f64()), *wait))
}
