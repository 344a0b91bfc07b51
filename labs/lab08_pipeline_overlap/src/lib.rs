//! # Pipeline overlap
//!
//! ## The question
//!
//! Why do stages with queues beat phases?
//!
//! ## What to predict
//!
//! {items} items are fetched, transformed and stored. Fetching ({fetch} an item, {fetchers} at a
//! time) and storing ({store}, {storers} at a time) wait for a service; the transformation
//! ({transform}, {transformers} at a time) computes. One program does it in phases: it fetches
//! everything, then transforms everything, then stores everything. Another one lets all three go on
//! at once, with a queue between them. How much sooner is it done? And how much of that is left
//! when the queues have room for one item only?
//!
//! ## The experiment
//!
//! The same items in several arms, with the same numbers of fetchers, transformers and storers:
//!
//! - **in turn**: each item through all three before the next one begins.
//! - **phases**: all are fetched, then all are transformed, then all are stored.
//! - **batches**: the same, {batch} items at a time. Twice: the batch goes to the pool of
//!   transformers as *one job*, or as *a job for each item*.
//! - **stages**: three loops with a bounded queue between each two. Twice as well: the stage in the
//!   middle *awaits each item* before it takes the next one, or *as many loops as the pool has
//!   workers* take from the queue. The latter with queues of {capacities} places.
//! - **varying times**: three stages of one worker and of equal mean time, {varying}, but no two
//!   items take equally long. The same items through queues of {capacities} places.
//!
//! Fetching and storing are requests to a service on this machine, the transformation is real
//! computation on a pool of threads (`--work sleep`: it sleeps, as if another machine computed).
//!
//! ## What the figures show
//!
//! Phases add up: each one waits for the slowest item of the one before, and while one stage is at
//! work the other two are idle. Stages overlap. Once the first item has come through (the *fill*),
//! an item leaves whenever the slowest stage has done one. With `w` workers that take `s` for an
//! item, that is one each `s/w`. All `N` items take `fill + (N − 1)·s/w` with the largest `s/w` of
//! all stages, rounded to whole items (S. M. Johnson 1954 for `w = 1`). The other stages cost
//! nothing any more: their work is done in its shadow.
//!
//! The stage that counts has to be at work all the time, with all its workers. Two lines that read
//! well prevent it. A loop that awaits each item has one item in the pool, whatever the size of the
//! pool. A batch that is one job is on one worker.
//!
//! How long a step takes on this machine is measured in turn, where nothing else goes on. How
//! such steps make the whole in the other arms is theory, the dashed line.
//!
//! A queue's capacity hardly matters as long as all items take equally long: the queue before the
//! slowest stage is full, the one behind it is empty, and more places change nothing. It matters
//! when times vary and stages are about equally fast. Then each stage is the slowest for a while,
//! and places in between keep a short delay of one stage from becoming a delay of all. How much
//! follows from the times: a simulation in virtual time is given the same ones and predicts the
//! whole.
//!
//! A bounded queue never holds more than its capacity, and it limits what is in progress: with
//! stages at most what the workers have in hands and two full queues hold. Phases have everything
//! in progress, all at once.
//!
//! ## A common belief
//!
//! *A pool of four workers transforms four items at a time.* It does when four items are in it. The
//! pipeline that this suite grew from has such a pool and awaits each item (lab notes): about one
//! worker is busy, as the second figure shows. `--scale full` has its times. Nor does a pool help a
//! batch that is one job. Neither mistake shows in a test, since every result is right; it shows
//! when busy workers are counted.
//!
//! ## In production
//!
//! Start as many loops per stage as it shall have items in flight, all taking from one bounded
//! queue. `tokio::sync::mpsc` has a single consumer; `async-channel` lets several take from one
//! queue. Watch for each stage how many of its workers are busy and for each queue how full it is:
//! a full queue is in front of the bottleneck, an empty one behind it (lab09). Choose capacities
//! small: a few items for each worker are enough to ride out variation, and everything more is
//! memory and waiting time. Close queues by dropping their senders, and every stage ends by itself,
//! in order, with nothing lost.
//!
//! ## Check yourself
//!
//! - Fetching becomes twice as fast. What does the pipeline gain, what do the phases?
//! - One item, one worker a stage: what do stages gain over phases? And in the limit of many items?
//! - A queue of a million places instead of a few: what gets better, what worse?
//! - The storing stage fails for a minute. What do the fetchers do meanwhile, in each arm?

use async_channel::{Receiver, Sender, bounded};
use lab_kit::prelude::*;
use tokio::task::JoinSet;

use tools::{
    BLOCKED,
    Stage::{self, Fetch, Store, Transform},
    Tools,
};

pub use plan::{Params, PipelineOverlap};

mod findings;
mod gauges;
mod plan;
mod premise;
mod tools;

// wrong(1): The stage awaits each item
/// Stages. The wrong way: one loop awaits each item, and the other workers of the pool have none.
async fn stages_awaiting_each(t: Tools, capacity: usize) -> Result<Vec<usize>> {
    let [c, _, d] = t.widths;
    pipeline(t, capacity, [c, 1, d]).await
}

// right(1): As many loops as the pool has workers
// so(1): A loop that awaits its item has one item in the pool, whatever the pool's size.
/// Stages. The right way: as many loops as the pool has workers.
async fn stages_in_flight(t: Tools, capacity: usize) -> Result<Vec<usize>> {
    let [c, w, d] = t.widths;
    pipeline(t, capacity, [c, w, d]).await
}

// wrong(2): A batch as one job
/// A batch at a time. The wrong way: a batch is one job, and a job is on one worker.
async fn batches_as_one_job(t: Tools, size: usize) -> Result<Vec<usize>> {
    let mut stored = Vec::new();
    for batch in t.items().chunks(size) {
        let fetched = phase(&t, Fetch, batch.to_vec()).await?;
        t.transform(1, fetched.clone()).await?;
        stored.extend(phase(&t, Store, fetched).await?);
    }
    Ok(stored)
}

// right(2): A job for each item
// so(2): One job is on one worker. The pool can share out only what is handed to it in pieces.
/// A batch at a time. The right way: a job for each item.
async fn batches_by_item(t: Tools, size: usize) -> Result<Vec<usize>> {
    let mut stored = Vec::new();
    for batch in t.items().chunks(size) {
        let fetched = phase(&t, Fetch, batch.to_vec()).await?;
        let transformed = phase(&t, Transform, fetched).await?;
        stored.extend(phase(&t, Store, transformed).await?);
    }
    Ok(stored)
}

/// Each item through all stages before the next one begins.
async fn in_turn(t: Tools) -> Result<Vec<usize>> {
    let items = t.items();
    for item in items.iter() {
        t.work(Fetch, 1, *item).await?;
        t.work(Transform, 1, *item).await?;
        t.work(Store, 1, *item).await?;
    }
    Ok(items)
}

/// Everything through one stage before the next stage begins.
async fn phases(t: Tools) -> Result<Vec<usize>> {
    let fetched = phase(&t, Fetch, t.items()).await?;
    let transformed = phase(&t, Transform, fetched).await?;
    phase(&t, Store, transformed).await
}

/// All stages at once, with a bounded queue between each two. A queue is closed when the last
/// worker that sends into it has ended: so they end one after another, and nothing is lost.
async fn pipeline(t: Tools, capacity: usize, loops: [usize; 3]) -> Result<Vec<usize>> {
    let (list, (put, stored)) = (full(t.items())?, bounded(t.costs.len()));
    let (fetch, fetched) = bounded(capacity);
    let (transform, transformed) = bounded(capacity);
    let fetchers = stage(&t, Fetch, loops[0], list, fetch);
    let transformers = stage(&t, Transform, loops[1], fetched, transform);
    let storers = stage(&t, Store, loops[2], transformed, put);
    for workers in [fetchers, transformers, storers] {
        end(workers).await?;
    }
    Ok(drained(stored))
}

/// One stage from beginning to end.
async fn phase(t: &Tools, which: Stage, items: Vec<usize>) -> Result<Vec<usize>> {
    let (put, done) = bounded(items.len().max(1));
    end(stage(t, which, t.widths[which as usize], full(items)?, put)).await?;
    Ok(drained(done))
}

/// The workers of a stage, all of which take from one queue and put into another.
fn stage(
    t: &Tools,
    which: Stage,
    workers: usize,
    from: Receiver<usize>,
    to: Sender<usize>,
) -> JoinSet<Result<()>> {
    let one = |k| worker(t.clone(), which, k, from.clone(), to.clone());
    (1..=workers).map(one).collect()
}

async fn worker(
    t: Tools,
    which: Stage,
    k: usize,
    from: Receiver<usize>,
    to: Sender<usize>,
) -> Result<()> {
    while let Ok(item) = from.recv().await {
        t.depth(which as usize, from.len());
        t.work(which, k, item).await?;
        let done = Instant::now();
        // Waits while the queue is full: that is how a slow stage slows down the ones before it.
        to.send(item).await?;
        t.depth(which as usize + 1, to.len());
        t.r.span(&which.lane(k), BLOCKED, done, Instant::now());
    }
    Ok(())
}

async fn end(mut workers: JoinSet<Result<()>>) -> Result<()> {
    while let Some(ended) = workers.join_next().await {
        ended??;
    }
    Ok(())
}

/// A queue that holds these items and is closed.
fn full(items: Vec<usize>) -> Result<Receiver<usize>> {
    let (put, list) = bounded(items.len().max(1));
    items.into_iter().try_for_each(|item| put.try_send(item))?;
    Ok(list)
}

fn drained(queue: Receiver<usize>) -> Vec<usize> {
    std::iter::from_fn(|| queue.try_recv().ok()).collect()
}
