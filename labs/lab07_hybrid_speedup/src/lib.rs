//! # The hybrid speed-up
//!
//! ## The question
//!
//! How much faster is I/O and CPU together?
//!
//! ## What to predict
//!
//! `N` items are to be fetched, which takes `f` = {fetch} of waiting, and processed, which takes
//! `p` = {cost} of computing. A program may take them one after another; fetch `C` = {concurrency}
//! at a time on an event loop and compute right there; have `P` threads that each fetch, wait and
//! compute; or fetch on an event loop and compute on a pool of `P` threads. With as many threads as
//! your machine has processors, how many times faster than the first is each of the others?
//!
//! ## The experiment
//!
//! Those four, on the same items, with a real HTTP request and a real computation, for the ratios
//! `p/f` {ratios}, and for pools from one thread up to one for each processor. The time of one
//! after another is measured as well, in the same run, with fewer items since it is exactly linear.
//! A fifth arm is the hybrid once more, on a pool of {sleepers} threads, with work that sleeps. The
//! hybrid is `labs/parts/src/bridge.rs`, written to be copied.
//!
//! ## What the figures show
//!
//! | strategy | time for `N` items |
//! |---|---|
//! | one after another | `N·(f + p)` |
//! | async only | between `max(N·f/C, N·p)` and the sum `N·f/C + N·p` |
//! | threads only | `N·(f + p)/P` |
//! | hybrid | `max(N·f/C, N·p/P)`, and the time until it has filled |
//!
//! Async only overlaps the waits and no work; threads overlap both, but only `P` of each. The
//! hybrid has a number of its own for each, and so its time is that of the slower stage alone.
//! Which one to choose follows from `p/f`: when computing is much less than `f/C`, an event loop
//! does it in passing; when it is many times `f`, threads lose little by waiting themselves. In
//! between the hybrid is better than both.
//!
//! Async only holds a surprise. Fetches and computing overlap, so one expects the larger of two
//! times; but while the loop computes, it sends no request. The requests that follow a wave of `C`
//! answers leave when the last of the wave has been computed, all together, and until their answers
//! come there is nothing to compute: times *add*. Only when the loop happens to see one answer
//! before the others are there does that one get ahead; where computing is as long as a fetch, one
//! ahead is enough to fill the gaps. So a run falls on one side or the other, by chance, and theory
//! gives the two ends.
//!
//! `P` is what the processors are worth to the threads, measured with nothing to fetch, not how
//! many threads there are; `f` is what a fetch takes here, measured with nothing to process. What
//! still keeps the hybrid from its bound on a small machine is its own event loop: with every
//! processor computing, a loop that wakes may wait until the scheduler gives it one, with each
//! wave of answers. Theory allows it that, and a tick of the timer. Some fetches more than the
//! bound asks for hide that.
//!
//! ## A common belief
//!
//! *A hybrid makes it many times faster, whatever the machine.* Say that 1000 items of 0.1 s and
//! 2 s take 2,100 s one after another and 300 s as a hybrid, "7×", as in what this suite grew from
//! (lab notes). 1000 × 2 s of computing in 300 s need at least 6.7 busy processors; four give 4.2×
//! at most. The last figure has the simulator's answer for other numbers of processors.
//!
//! Two mistakes of measuring feed the belief. The first is `sleep` in place of the computation. A
//! sleeping thread needs no processor, so the arm that sleeps is as fast as its pool is large, on
//! any machine. The second is to divide by a *computed* time of one after another. Measure that
//! baseline, in the same run, with the same work. Languages differ, too. In Rust threads compute in
//! parallel: no lock is held while they run, since what they may share is checked when the program
//! is compiled. In a usual build of Python they take turns. `--with all` runs the strategies in
//! Python on threads and on processes, in Node on worker threads, in Go and in Java, beside Rust.
//!
//! ## In production
//!
//! Measure `f` and `p` of your items first. Take the simplest strategy whose time is near the
//! bound: often that is not the hybrid. Where it is, size both sides from the bound: `P` threads
//! for as many processors as you may use, and `C = P·f/p` fetches (Little's law) and a few more;
//! more of either moves nothing but memory. Bound everything between the two, as the bridge does,
//! or a slow pool fills the memory with what a fast network brings. Then look at efficiency, bound
//! over measured: below 0.9 something serial is left, and it is worth finding.
//!
//! ## Check yourself
//!
//! - With `p/f = 0.1` and `C = 8`, what do more processors give? What do more fetches?
//! - At which `p/f` is the hybrid farthest ahead of the better of the two, for `C = 8` and `P = 2`?
//!   And for `P = 64`?
//! - Eight fetches at a time and one thread that computes `f/8` an item: why is async only slower
//!   than a hybrid on a machine with one processor?
//! - Suppose a colleague reports 12× on an 8-processor laptop. What do you ask?

use anyhow::anyhow;
use futures_util::{StreamExt, stream};
use lab_kit::prelude::*;

use lab_parts::bridge::{Bridge, ItemError, Limits};

use desk::Desk;
use plan::Work;

pub use plan::{HybridSpeedup, Params};

mod arms;
mod desk;
mod findings;
mod gauges;
mod languages;
mod plan;
mod premise;

// wrong: Fetches and computes on the event loop
/// C fetches at a time. What an item needs is done where its answer arrives: nobody else moves.
fn async_only(r: &Recorder, job: Job, n: usize) -> Result<()> {
    let c = job.concurrency;
    let service = job.service(r, c)?;
    let desk = Desk::open(r, &service, c)?;
    timed(r, job, n, || {
        let each = |_| async {
            job.process(r, &desk.fetch().await?);
            Ok(())
        };
        desk.run(stream::iter(0..n).map(each).buffer_unordered(c))
    })
}

// right: Fetches on the event loop, computes on a pool
// so: While the loop computes it begins no fetch. With a pool each side has a limit of its own,
//     and the whole takes as long as the slower one.
/// C fetches at a time on the event loop, P threads that only compute, a bridge between them.
fn hybrid(r: &Recorder, job: Job, n: usize, threads: usize) -> Result<()> {
    let c = job.concurrency;
    let service = job.service(r, c)?;
    let desk = Desk::open(r, &service, c)?;
    // All answers may come at once; with fewer places, fetched items would hold up fetches.
    let limits = Limits { fetches: c, queue: c, stores: 1 };
    let (bridge, recorder) = (Bridge::new(threads, limits)?, r.clone());
    timed(r, job, n, || {
        let results = bridge.run(
            stream::iter(0..n),
            |_| desk.fetch(),
            move |item| {
                job.process(&recorder, &item);
                Ok(())
            },
            |()| async { Ok(()) },
        );
        desk.run(results.map(|(_, result)| result.map_err(with_its_causes)))
    })
}

/// With its causes: a server that does not answer is one.
fn with_its_causes(e: ItemError<anyhow::Error>) -> anyhow::Error {
    match e {
        ItemError::Fetch(e) => e.context("fetch"),
        e => anyhow!("{e}"),
    }
}

/// What is to be done with each item.
#[derive(Clone, Copy)]
struct Job {
    fetch: Duration,
    /// So many items take longer and longer before one is as quick as the first.
    cycle: usize,
    concurrency: usize,
    cost: Duration,
    work: Work,
    kernel: Kernel,
}

impl Job {
    fn process(&self, r: &Recorder, _item: &Bytes) {
        let start = Instant::now();
        match self.work {
            Work::Spin => self.kernel.work(self.cost),
            Work::Sleep => std::thread::sleep(self.cost),
        }
        r.sample(gauges::PROCESS_S, start.elapsed().as_secs_f64());
    }

    /// Seconds that a second of work takes right now.
    fn pace(&self) -> f64 {
        if self.work == Work::Sleep {
            return 1.0;
        }
        let (start, sample) = (Instant::now(), Duration::from_millis(4));
        self.kernel.work(sample);
        start.elapsed().as_secs_f64() / sample.as_secs_f64()
    }
}

/// Runtimes, connections and pools are there before the clock starts. A processor's clock changes
/// with load and heat, so its pace is taken before and after: the quicker of both, since what
/// disturbs it makes it slower.
fn timed(r: &Recorder, job: Job, items: usize, run: impl FnOnce() -> Result<()>) -> Result<()> {
    let before = job.pace();
    let start = Instant::now();
    run()?;
    r.wall(start.elapsed());
    r.gauge(gauges::PACE, before.min(job.pace()));
    r.gauge(gauges::ITEMS, items as f64);
    Ok(())
}
