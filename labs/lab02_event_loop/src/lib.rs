//! # The event loop
//!
//! ## The question
//!
//! What does one blocking call cost everybody else?
//!
//! ## What to predict
//!
//! A task beats every {beat}, like a connection that is kept alive. On the same event loop another
//! task is busy for {busy}, once. How long is the longest gap between two beats, if the other task
//! sleeps? If it computes? If it hands the computation to somebody else?
//!
//! ## The experiment
//!
//! First, {tasks} tasks say which thread they run on: on a current-thread runtime, on a
//! multi-thread one, and inside `spawn_blocking`.
//!
//! Then the heartbeat, beside a task that is busy for {busy} in one of these ways:
//!
//! - it awaits `tokio::time::sleep`;
//! - it calls `std::thread::sleep`, or computes: **the wrong ways**;
//! - it computes in slices of {slice} and calls `yield_now` after each;
//! - it computes inside `spawn_blocking`, on a rayon pool that answers through a `oneshot` channel,
//!   or inside `block_in_place` (multi-thread runtime only);
//! - it calls `std::thread::sleep` on a multi-thread runtime: one such task beside a second one
//!   that keeps another worker awake, one such task alone, and as many as there are workers.
//!
//! The lab also reads what a running program can tell about itself: the share of the time that the
//! runtime's workers were busy (`RuntimeMetrics`), how often a task kept its thread for longer than
//! {slow} before it waited again (a slow *poll*), and for how long together (`TaskMonitor` of
//! `tokio-metrics`).
//!
//! ## What the figures show
//!
//! An event loop is a thread that polls one future at a time: the future runs until it waits. A
//! poll that takes {busy} is {busy} without a beat, whether the processor works in it or sleeps:
//! the loop cannot know, since nothing interrupts a poll. The gap is the time blocked and what had
//! already passed since the last beat, so at most one beat more. It hits all tasks of the loop
//! alike.
//!
//! An `.await` that is not ready ends the poll, and so does `yield_now`: the loop lives, and the
//! computation still takes its {busy} of the loop's thread. Off the loop it takes that time from
//! another thread, and the heartbeat does not notice, as long as a processor is free.
//!
//! A multi-thread runtime hides the mistake: while another worker is awake, one blocked worker
//! leaves the rest to it. As many blocked tasks as workers stop it like the single thread, all at
//! once, and it is load that brings this about, not a test.
//!
//! And it does not even take that many. Timers and sockets have one driver, which the workers hold
//! in turn: the worker that goes to sleep last waits on the driver, and the others sleep until they
//! are called. A worker that wakes with the driver and a single task runs the task at once and
//! calls nobody. If that task blocks, nobody watches the clock: in the arm of *one task alone* the
//! heartbeat stops with a worker free all the time. That is a known property of tokio's scheduler
//! (its issue 4730; a builder option against it, `enable_eager_driver_handoff`, is still unstable).
//! It strikes runtimes that are idle, and ends when anything wakes another worker.
//!
//! The two instruments see different things. The busy share rises by the time blocked, but also by
//! that of the well-behaved slices: it says how full the loop is, not who stops it. Slow polls name
//! the culprit. They also count `block_in_place`, whose poll is as long; the busy share does not,
//! since its worker first hands all it has to another thread.
//!
//! ## A common belief
//!
//! *Async code runs on one thread.* The lab notes that this suite grew from printed the thread of
//! ten tasks and found one, the main thread. That is a current-thread runtime, and a choice.
//!
//! *A slow request is slow for its own user.* That a computation of 2 s stops 49,999 others (lab
//! notes) holds to the letter: `--busy 2s --watch 2.5s`. A pool of threads or processes is the
//! cure, even where threads compute in turns: Python switches between them every 5 ms by default
//! (CPython 3.13, `sys.setswitchinterval`), unless one is in a long call into C. The loop lives;
//! only the computation gains nothing.
//!
//! ## In other languages
//!
//! `--with all` runs the same heartbeat in Python, Node, Go and Java, as far as they are there, each on
//! one scheduler thread. What a blocking call costs is not a property of a language, but of who may
//! interrupt whom.
//!
//! - **Python** (asyncio) and **Node** have an event loop like tokio's, and nothing interrupts what
//!   runs on it. A blocking sleep and a computation stop everybody. The cure leaves the loop:
//!   `asyncio.to_thread` or a pool of processes, `worker_threads` or a child process. Beside a thread
//!   that computes, Python's loop waits for the interpreter's lock, at each wake-up and at each call to a
//!   socket; beside a process, or another interpreter, it does not.
//! - **Go** spreads goroutines over threads. Its runtime looks again and again for a goroutine that has
//!   computed for too long, and interrupts it. Where a thread is in a blocking system call, it hands the
//!   processor on to another. So neither stops the others for long, even on one processor. They are late by a
//!   few of these looks, and a second processor takes that away as well.
//! - **Java** parks virtual threads that wait, and gives their carrier to others. It does not
//!   interrupt those that compute: on one carrier they stop everybody, as on an event loop, and
//!   `Thread.yield` is a hint that need not help. The cure is a pool of platform threads. With as many
//!   carriers as processors it takes more of them to stop all, and it is the same mistake.
//! - **tokio** does what the first two do, and it says so: what blocks belongs into `spawn_blocking`,
//!   what computes onto a pool such as rayon's.
//!
//! That something is interrupted is no reason to compute where others wait. What was interrupted has
//! the processor again soon, and each message of the others waits once more.
//!
//! ## In production
//!
//! Nothing between two `.await`s should take longer than some 100 µs (Ryhl 2020); what does,
//! belongs elsewhere. Blocking calls (files, databases without an async driver) go to
//! `spawn_blocking`, whose pool is large since its threads mostly wait. Computation goes to a pool
//! with a thread for each processor, such as rayon: `spawn_blocking` would start hundreds of
//! threads for hundreds of jobs. `block_in_place` is for code that cannot be moved, and stops what
//! else its own task does, such as the other branch of a `join!`. Instrument the tasks of a service
//! and alert on slow polls, and keep a heartbeat: how late a timer fires is the one figure that
//! contains every cause.
//!
//! ## Check yourself
//!
//! - Suppose `--busy 15ms --beat 10ms` (were it allowed). Which gap do you expect, at least and at
//!   most?
//! - Why does the heartbeat of the last arm have to be a spawned task, not part of `block_on`?
//! - What changes for the arm that yields with `--slice 40ms`? Try it.
//! - Suppose eight workers, and each request blocks its worker for 20 ms. How many requests a
//!   second until nothing else runs?

use std::sync::Arc;

use lab_kit::prelude::*;
use rayon::ThreadPool;
use tokio::runtime::Runtime;
use tokio::sync::oneshot;
use tokio::task::{JoinSet, block_in_place, spawn_blocking, yield_now};
use tokio::time::MissedTickBehavior;
use tokio_metrics::TaskMonitor;

mod findings;
mod gauges;
mod instruments;
mod languages;
mod plan;
mod premise;
mod who;

pub use plan::{EventLoop, Params};

// wrong: Computes on the event loop
/// Wrong: an `async fn` without an `.await` is a plain function.
async fn compute(kernel: Kernel, busy: Duration) {
    kernel.work(busy);
}

// right: Computes elsewhere and awaits the answer
// so: An `async fn` without an `.await` is one long poll. Handed to a pool, the computation
//     leaves an `.await` behind, at which the loop turns to the others.
/// Right: another thread, of a pool for computation. The answer comes back through a channel that
/// can be awaited; `pool.install` would block the loop until the pool is done.
async fn compute_on_rayon(pool: Arc<ThreadPool>, kernel: Kernel, busy: Duration) {
    let (send, answer) = oneshot::channel();
    pool.spawn(move || {
        kernel.work(busy);
        let _ = send.send(());
    });
    let _ = answer.await;
}

/// Right, for waiting. The clock of a sleep starts when it is made, not when it is awaited.
async fn sleep(busy: Duration) {
    tokio::time::sleep(busy).await;
}

/// Wrong: the thread sleeps, and with it everything that lives on it.
async fn sleep_on_the_loop(busy: Duration) {
    std::thread::sleep(busy);
}

/// Right, when the computation can be cut: others are polled between two slices.
async fn compute_in_slices(kernel: Kernel, busy: Duration, slice: Duration) {
    for part in kernel.slices(busy, slice) {
        kernel.work(part);
        yield_now().await;
    }
}

/// Right: another thread, of the runtime's pool for calls that block.
async fn compute_blocking(kernel: Kernel, busy: Duration) {
    let _ = spawn_blocking(move || kernel.work(busy)).await;
}

/// Right, on a multi-thread runtime: the worker hands everything else it has to another thread
/// before it computes.
async fn compute_in_place(kernel: Kernel, busy: Duration) {
    block_in_place(|| kernel.work(busy));
}

/// A heartbeat beside so many busy tasks.
///
/// The heartbeat is a spawned task. On a multi-thread runtime the future of `block_on` runs on the
/// thread that called it, which is none of the workers: there it would go on being polled. But even
/// its timers would stop, since it is the workers that watch the clock.
fn beside<F>(
    r: &Recorder,
    runtime: Runtime,
    p: &Params,
    busy_tasks: usize,
    be_busy: impl Fn(usize) -> F,
) -> Result<()>
where
    F: Future<Output = ()> + Send + 'static,
{
    let monitor = TaskMonitor::with_slow_poll_threshold(p.slow.duration());
    let (beat, lead, watch) = (p.beat.duration(), p.lead(), p.watch.duration());
    let start = Instant::now();
    let blocks: Vec<(Instant, Instant)> = runtime.block_on(async {
        let heart = tokio::spawn(monitor.instrument(heartbeat(r.clone(), beat)));
        let task = |i| {
            let be_busy = be_busy(i);
            monitor.instrument(async move {
                tokio::time::sleep(lead).await;
                let from = Instant::now();
                be_busy.await;
                (from, Instant::now())
            })
        };
        let others: JoinSet<_> = (0..busy_tasks).map(task).collect();
        let blocks = others.join_all().await;
        // Whatever the block took, there is time for one more beat.
        tokio::time::sleep_until((start + watch).max(Instant::now() + beat).into()).await;
        heart.abort();
        blocks
    });
    let wall = start.elapsed();
    r.wall(wall);
    instruments::busy(r, &blocks);
    instruments::told(r, &runtime, &monitor, wall);
    Ok(())
}

/// Beats for ever. A beat that comes late moves the following ones.
async fn heartbeat(r: Recorder, every: Duration) {
    let mut timer = tokio::time::interval(every);
    timer.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let (mut last, mut longest) = (None, Duration::ZERO);
    loop {
        timer.tick().await;
        let now = Instant::now();
        let gap = last.map_or(Duration::ZERO, |last| now - last);
        (last, longest) = (Some(now), longest.max(gap));
        r.trace("beats", now, gap.as_secs_f64());
        r.gauge(gauges::LONGEST_GAP_S, longest.as_secs_f64());
    }
}
