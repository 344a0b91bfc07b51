//! # The production pipeline
//!
//! ## The question
//!
//! What happens when things fail?
//!
//! ## What to predict
//!
//! {items} items are fetched, processed and stored. The upstream answers 500 for one item in every
//! {fail-every}, always; the write of one in every {hang-every} gets no answer, and its result goes
//! to a file instead. How many of the {items} have a result in the end, in the database or in the
//! file? {batch} items are under way at a time, in batches or in a sliding window: what is the
//! difference? And when the process is killed on its way, {kills}×, how many items are missing at
//! the end, and how many are there twice?
//!
//! ## The experiment
//!
//! - **Batches and a window**, with the pattern of faults, without any, and with random fetch times.
//! - **Killed**: the pipeline as a process of its own, on a state in a folder. After a random number
//!   of items it is killed (SIGKILL, for which nothing can prepare), then started again.
//! - **Answers lost**: the write of one item in every {hang-every} is done, and only its answer
//!   does not come. Once the pipeline falls back as soon as the time is up; once it asks the
//!   database first.
//! - **Locked**: another program holds the database locked for a while. Once SQLite is called on the
//!   event loop; once on a thread of its own.
//!
//! Processing computes, by default on a thread for each processor but one: the event loop needs
//! one, too. The life of an item is kept in SQLite: pending, fetched, processed, then stored or
//! failed, with the reason. What became of the items is counted at the end in the database and in
//! the file, not by the pipeline that made them.
//!
//! ## What the figures show
//!
//! Suppose a hundred items, of which every 7th fails and every 20th write gets no answer. Then 15
//! fail, because items are numbered from 0, and 0, 7, … 98 are fifteen numbers. Of the items 0, 20,
//! … 80 the first one has failed already, so 4 are in the file, and 81 in the database. Counting
//! the writes as they arrive gives four as well, every 20th of 85. Here it goes by number, so that
//! a restart does not change it. The retries of the client save nobody: an answer that is always
//! 500 only costs each of its items more requests.
//!
//! A batch ends with its slowest item. One write that hangs holds up all the others of its batch,
//! which have long been done, and a retry does the same. A window lets a new item in for each that
//! leaves, so that it is full until the very end. Both have the same bound on memory and on load;
//! only the barrier differs, and its price grows with each item that is slower than the rest.
//!
//! The longest stage on average is the fetch, and making it wider would help nobody. What holds the
//! window back is what is busy all the time: here the window itself, and after it the connections to
//! the database, each of which a hanging write holds for its whole timeout.
//!
//! After every kill the process goes on from where it was. What was under way is done again: the work
//! is done *at least once*, its effect is there *exactly once*, because the item's number is the key
//! of everything that is written.
//!
//! ## A common belief
//!
//! *What timed out has not been done, and may be done elsewhere.* A timeout says that no answer has
//! come, not that nothing was done. With the answers lost, the pipeline that falls back at once
//! stores each of those items twice; the one that asks the database first stores none twice. A
//! timeout round a computation does not stop it either: the caller goes on, and so does the
//! computation, on a worker that is now missing. Here the computation itself looks at the clock.
//!
//! Batches and a window are re-made in Python, Node, Go and Java: `--with all` runs both beside
//! Rust.
//!
//! ## In production
//!
//! Write down what was done in the same transaction as the status that says so. Where two places are
//! involved, the order decides: first the result, on the disk, then the status; after a crash what
//! has a result and no status is recognised by its key. Make every write idempotent by such a key,
//! and after a timeout ask before you do it elsewhere. Resume by reading, not by guessing.
//!
//! SQLite's write-ahead log with `synchronous=NORMAL` loses nothing when the process is killed; when
//! the machine loses power the last commits may be gone, statuses and results together, so those
//! items are done again. That suffices as long as an item can be fetched again. Who has told somebody
//! "stored", and cannot take it back, needs `FULL` (`--synchronous full`); commits made together make
//! it bearable. A call of SQLite blocks its thread: give it one, behind a bounded channel. A fallback
//! must not need what it replaces: the file has a way past that thread.
//!
//! A full disk and a locked database are no reasons to lose anything. Stop, say what to do, and be
//! startable again: `--state`, `--db-pages` and `--busy` show it. lab07's bridge is the same pipeline
//! with a limit for each stage instead of one round all of them, which is what you want when the
//! stages' times differ much; a budget and a breaker for the client are in lab05.
//!
//! ## Check yourself
//!
//! - The process is killed after the line in the file is on the disk and before the status is written.
//!   What happens at the next start? And if it were the other way round?
//! - Why may `fetched` not be resumed from, and what would have to be kept so that it may?
//! - Twice as many connections, or twice as large a window: which helps more here? (The second table.)
//! - `--fail-every 0 --hang-every 0`: what is the barrier's price without faults, and why is it not 1?
//! - Two processes on one `--state` would each find the same items pending. What keeps them apart, and
//!   what would be needed to let them share the work?

use futures_util::{StreamExt, TryStreamExt, future::try_join_all, stream};
use lab_kit::prelude::*;
use lab_parts::client::Client;
use tokio::{
    sync::{Semaphore, oneshot},
    time::timeout,
};

mod alone;
mod findings;
mod gauges;
mod kill;
mod languages;
mod log;
mod plan;
mod premise;
mod replay;
mod stages;
pub mod store;
mod trials;

use log::Log;
pub use plan::{Expected, Params, ProductionPipeline};
use stages::{Tools, digest};
use store::{Claim, Output, Status, Store, StoreError};

// wrong(1): Ten at a time, then the next ten
/// The wrong way: ten at a time, and the next ten when the slowest of them is done.
async fn in_batches(line: &Line<'_>, todo: &[usize], batch: usize) -> Result<(), StoreError> {
    for items in todo.chunks(batch) {
        try_join_all(items.iter().map(|item| line.take(*item))).await?;
    }
    Ok(())
}

// right(1): Ten at a time, always
// so(1): One item that hangs holds up its batch of ten. In a window it holds up its own place.
/// The right way: as many at a time, and a new one for each that is done.
async fn in_window(line: &Line<'_>, todo: &[usize], batch: usize) -> Result<(), StoreError> {
    let items = stream::iter(todo).map(|item| line.take(*item));
    items.buffer_unordered(batch).try_collect().await
}

/// Where the write of an item that hangs is when the client gives up waiting.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Hangs {
    /// On its way there: it is not done.
    Before,
    /// On the way back: it is done, and nobody has said so.
    After,
}

/// The pipeline, and the way of an item through it.
struct Line<'a> {
    p: &'a Params,
    tools: &'a Tools,
    client: Client,
    /// The connections of the client.
    http: reqwest::Client,
    /// Of the upstream.
    url: String,
    store: Store,
    /// To the database: as many writes are on their way at once.
    connections: Semaphore,
    hangs: Hangs,
    /// Whether a write that got no answer is withdrawn, or asked for, before the item goes elsewhere.
    careful: bool,
    log: Log,
}

impl Line<'_> {
    /// One item: pending, fetched, processed, and stored or failed. An error here is one of the
    /// whole pipeline: without its books it cannot go on.
    async fn take(&self, item: usize) -> Result<(), StoreError> {
        let begun = Instant::now();
        let body = match self.fetch(item).await {
            Ok(body) => body,
            Err(why) => return self.fail(item, format!("fetch: {why}")).await,
        };
        self.store.note(item, Status::Fetched).await?;
        let output = match self.process(item, body).await {
            Ok(output) => output,
            Err(why) => return self.fail(item, format!("process: {why}")).await,
        };
        self.store.note(item, Status::Processed).await?;
        let fell_back = self.save(output).await?;
        self.log.stored(item, begun, fell_back);
        Ok(())
    }

    /// Storing, or falling back; true when it fell back.
    async fn save(&self, output: Output) -> Result<bool, StoreError> {
        let item = output.item;
        // The pool of connections never closes.
        let _connection = self.connections.acquire().await;
        let begun = Instant::now();
        let claim = Claim::default();
        let write = async {
            self.round_trip(item, Hangs::Before).await;
            let stored = self.store.insert(output.clone(), claim.clone()).await;
            self.round_trip(item, Hangs::After).await;
            stored
        };
        let answer = timeout(self.p.store_timeout.duration(), write).await;
        let fell_back = match answer {
            Ok(stored) => !stored?,
            // wrong(2): Takes a late answer for a failure
            Err(_) if !self.careful => true,
            // right(2): Withdraws the write, or asks whether it was done
            // so(2): A timeout says that no answer has come, not that nothing was done.
            Err(_) => claim.abandon() || !self.store.has(item).await?,
        };
        if fell_back {
            self.store.fall_back(output).await?;
        }
        self.log.span("store", item, begun, Instant::now());
        Ok(fell_back)
    }

    /// Computing: on a pool of threads. Nobody can stop a computation from outside, so it looks at
    /// the clock itself; a timeout around the `.await` would only stop waiting for it.
    async fn process(&self, item: usize, body: Bytes) -> Result<Output, String> {
        let (cost, limit) = (self.p.process, self.p.process_timeout);
        let (kernel, slice) = (self.tools.kernel, Duration::from_millis(2));
        let (reply, answer) = oneshot::channel();
        self.tools.pool.spawn(move || {
            let begun = Instant::now();
            for slice in kernel.slices(cost.duration(), slice) {
                if begun.elapsed() > limit.duration() {
                    let _ = reply.send(Err(format!("not done after {limit}")));
                    return;
                }
                kernel.work(slice);
            }
            let output = Output {
                item,
                digest: digest(&body),
                body: String::from_utf8_lossy(&body).into_owned(),
            };
            let _ = reply.send(Ok((output, begun, Instant::now())));
        });
        let ended = answer.await.unwrap_or_else(|_| Err("it panicked".into()));
        let (output, begun, end) = ended?;
        self.log.span("process", item, begun, end);
        Ok(output)
    }
}
