//! # Worker limits
//!
//! ## The question
//!
//! How many fetches, how many workers?
//!
//! ## What to predict
//!
//! A program fetches and computes, and has two knobs: how many fetches may be under way, and how
//! many workers compute. Four workers are a popular answer. Which number is the smallest that
//! reaches the full throughput of pure computation on your machine? Which one, when a worker also
//! waits, {ratio} times as long as it computes? And what do more workers than that cost?
//!
//! ## The experiment
//!
//! - **Pure computation**: `W` threads that compute item after item of cost `p`, {cost}.
//! - **One pool for everything**: `W` threads that wait and compute in turn, with random times, the
//!   waits (`w`) {ratio} times as long on average as the computations.
//! - **Two limits**: `F` fetches of time `f`, {fetch}, under way on an event loop, a bounded
//!   channel, and `W` threads that only compute.
//!
//! In the first two `W` is {workers} in turn, and in the second also what the rule below asks for.
//! The operating system's own count of context switches is taken from every worker.
//!
//! ## What the figures show
//!
//! Pure computation needs as many workers as there are processors, `P`. Throughput is
//! `min(W, P)/p`; beyond `P` workers take processors from each other, each item takes `W·p/P`
//! (Little's law), and the switches that the scheduler forces multiply.
//!
//! A worker that waits leaves its processor free, and `P·(1 + w/p)` workers would just fill the
//! gaps (Goetz 2006) if all took their turns. That is where two bounds meet, `W/(w + p)` and `P/p`
//! (Denning and Buzen 1978); no order of events gives more than the smaller of them. Random times
//! never get there: at some moments all workers wait, at others all want to compute. The machine
//! repairman (Palm 1947) says how much is lost, and it is most at the very number of the rule. A
//! real machine may lose more. Theory gives two ends: one queue for all processors, and one for
//! each. A likely reason is that operating systems do keep a queue for each and move threads
//! between them with reluctance; nothing here isolates it. More workers come closer to the bound,
//! and each item takes longer.
//!
//! With two limits nobody has to guess a ratio. Fetches wait on the event loop at the price of
//! little memory, `P` workers compute, and throughput is `min(F/f, P/p)`. The limit of the fetches
//! is Little's law again: `F = λ·f` for a throughput of `λ`. Raising the one that does not bind
//! changes nothing.
//!
//! ## A common belief
//!
//! *Four workers are a good number.* For pure computation on four processors they are. Otherwise no
//! number is good by itself: which limit binds depends on `f`, `p` and the machine. Here {io}
//! fetches of {fetch} bring at most `F/f` items a second, and those keep `F·p/f` processors busy
//! with {cost} an item. Workers beyond that are idle. Measuring pure computation with `sleep` would
//! say that every worker helps, however many: see `--work sleep`.
//!
//! ## In production
//!
//! One pool for computation with as many threads as the process may use processors (in a container
//! that is its quota, which `available_parallelism` knows), and an event loop, or a separate larger
//! pool, for what waits. Give each its own limit, put a bounded channel between them and watch how
//! full it is: always full means that computation binds, always empty that fetching does. If a pool
//! has to do both, start from `P·(1 + w/p)` with measured times and raise it while throughput grows
//! by more than latency does. Forced context switches far above their usual number mean more
//! threads than processors.
//!
//! ## Check yourself
//!
//! - Suppose eight processors, 20 ms of computation and 180 ms of waiting for each item: how many
//!   threads?
//! - Twice as many workers as processors gave the same throughput. What was lost?
//! - The service behind the fetches becomes twice as slow. Which of the two limits do you change?
//! - Why do sleeping workers "scale" to any number?

use std::sync::{
    Arc, Mutex,
    atomic::{AtomicUsize, Ordering},
};
use std::thread;

use lab_kit::{prelude::*, stats};
use mock_server::MAX_SLOTS;
use tokio::{runtime::Builder, task::JoinSet};

mod crew;
mod findings;
mod gauges;
mod plan;
mod premise;

pub use plan::{Params, WorkerLimits};

use crew::{crew, in_company};
use gauges::{ITEM_S, ITEMS, LATE_S, PER_S, WORKER_PER_S};

// wrong: One pool for waiting and computing
/// One pool for everything: `W` threads that wait and compute in turn. Whoever waits holds a thread.
fn mixed(
    r: &Recorder,
    p: &Params,
    w: usize,
    turns: usize,
    compute: impl Fn(Duration) + Sync,
) -> Result<()> {
    let unfinished = AtomicUsize::new(w);
    let start = Instant::now();
    crew(r, w, |i| {
        let seed = r.seed().wrapping_add(2 * i as u64);
        let waits = stats::exponential(turns, p.wait().as_secs_f64(), seed);
        let costs = stats::exponential(turns, p.mixed_cost.s(), seed + 1);
        let turn = |wait: f64, cost: f64| {
            let begin = Instant::now();
            thread::sleep(Duration::from_secs_f64(wait));
            r.sample(LATE_S, begin.elapsed().as_secs_f64() - wait);
            compute(Duration::from_secs_f64(cost));
        };
        // Uncounted: it only spreads the workers.
        let first = p.wait().as_secs_f64() * (i as f64 + 0.5) / w as f64;
        turn(first, p.mixed_cost.s());
        let mut all = waits.into_iter().zip(costs).cycle();
        let begin = Instant::now();
        for (wait, cost) in all.by_ref().take(turns) {
            turn(wait, cost);
        }
        r.sample(WORKER_PER_S, turns as f64 / begin.elapsed().as_secs_f64());
        let next = || {
            if let Some((wait, cost)) = all.next() {
                turn(wait, cost);
            }
        };
        (1 + turns + in_company(&unfinished, next)) as f64
    });
    r.wall(start.elapsed());
    Ok(())
}

// right: A limit for each
// so: In one pool somebody has to guess how much of the time a worker waits. With two limits
//     each is sized by what it limits.
/// The right way: a limit for fetches under way, on the event loop, and one for workers, which get what is
/// fetched already.
fn two_limits(
    r: &Recorder,
    p: &Params,
    (io, cpu): (usize, usize),
    items: usize,
    compute: impl Fn(Duration) + Sync,
) -> Result<()> {
    let runtime = Builder::new_multi_thread().worker_threads(1).enable_all().build()?;
    let fetch_time = p.fetch.duration();
    let spec = Spec::new(MAX_SLOTS, ServiceTime::Constant(fetch_time));
    let service = Arc::new(runtime.block_on(r.upstream(spec))?);
    let client = http::client();
    runtime.block_on(r.connect(&client, &service, io))?;

    let (fetched, to_compute) = async_channel::bounded::<Outcome>(CHANNEL);
    let start = Instant::now();
    let next = Arc::new(AtomicUsize::new(0));
    let mut fetchers = JoinSet::new();
    for i in 0..io {
        let (client, service, fetched) = (client.clone(), service.clone(), fetched.clone());
        let (next, begin) = (next.clone(), start + fetch_time * i as u32 / io as u32);
        let fetcher = async move {
            // One after another: their answers are not to meet each other for ever after.
            tokio::time::sleep_until(begin.into()).await;
            while next.fetch_add(1, Ordering::Relaxed) < items {
                let outcome = fetch(&client, service.url()).await;
                // Waits while the channel is full: that is all the backpressure there is.
                if fetched.send(outcome).await.is_err() {
                    break;
                }
            }
        };
        fetchers.spawn_on(fetcher, runtime.handle());
    }
    drop(fetched);
    let outcomes = Mutex::new(Vec::new());
    crew(r, cpu, |_| {
        let mut count = 0.0;
        while let Ok(outcome) = to_compute.recv_blocking() {
            compute(p.cost.duration());
            let mut outcomes = outcomes.lock().expect("nobody panics holding it");
            outcomes.push((Instant::now(), outcome));
            count += 1.0;
        }
        count
    });
    write_down(r, start, outcomes.into_inner()?, &service)
}

/// Places between fetching and computing.
const CHANNEL: usize = 4;

async fn fetch(client: &reqwest::Client, url: String) -> Outcome {
    Outcome::of(http::get(client, url).await)
}

/// When each item was done, and what had become of its fetch.
fn write_down(
    r: &Recorder,
    start: Instant,
    outcomes: Vec<(Instant, Outcome)>,
    service: &Service,
) -> Result<()> {
    // From the first item to the last: without what it takes to fill the line.
    if let [(first, _), .., (last, _)] = outcomes[..] {
        let rest = (outcomes.len() - 1) as f64;
        r.gauge(PER_S, rest / (last - first).as_secs_f64());
    }
    r.gauge(ITEMS, outcomes.len() as f64);
    let fates = outcomes.into_iter().map(|(_, outcome)| outcome);
    r.tally(Tally::of(start, fates), service)
}

/// Parts of an item of pure computation.
const PARTS: usize = 10;

/// `W` threads that only compute. They take parts of items from one pot, so that all are done
/// within a part of each other: a rate for each worker, added up, would count those in front with
/// the time they had and not with the time they left to the others.
fn pure(r: &Recorder, w: usize, items: usize, part: impl Fn() + Sync) -> Result<()> {
    let left = AtomicUsize::new(items * PARTS);
    let take = |n: usize| n.checked_sub(1);
    let start = Instant::now();
    crew(r, w, |_| {
        let (mut parts, mut begin) = (0, Instant::now());
        while left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, take).is_ok() {
            part();
            parts += 1;
            if parts % PARTS == 0 {
                r.sample(ITEM_S, begin.elapsed().as_secs_f64());
                begin = Instant::now();
            }
        }
        parts as f64 / PARTS as f64
    });
    let wall = start.elapsed();
    r.gauge(PER_S, items as f64 / wall.as_secs_f64());
    r.wall(wall);
    Ok(())
}
