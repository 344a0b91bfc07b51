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
//! Batches and a window are re-made in Python (`python/lab12.py`): `--python` runs both beside
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

use std::{
    collections::BTreeMap,
    future::pending,
    path::{Path, PathBuf},
    sync::{Mutex, PoisonError},
};

use anyhow::ensure;
use futures_util::{StreamExt, TryStreamExt, future::try_join_all, stream};
use lab_kit::{accounts::Fate, host, prelude::*};
use lab_parts::client::{Backoff, Client, FetchError, Kind, Request, Retries};
use mock_server::{By, Every, Faults, Upstream};
use rayon::{ThreadPool, ThreadPoolBuilder};
use rusqlite::Connection;
use tokio::{
    runtime::{Builder, Runtime},
    sync::{Semaphore, oneshot},
    time::{sleep, timeout},
};

mod findings;
mod kill;
mod premise;
mod python;
mod replay;
pub mod store;

use store::{Books, Claim, Found, Options, Output, Status, Store, StoreError, Synchronous};

/// The constants of the experiment.
#[derive(Args, Clone, Debug, Serialize, Deserialize)]
pub struct Params {
    /// Items, numbered from 0
    #[arg(long, default_value_t = 100, value_parser = level)]
    pub items: usize,
    /// Items under way at the same time: in a batch, or in the window
    #[arg(long, default_value_t = 10, value_parser = level)]
    pub batch: usize,
    /// Time the upstream takes for an item
    #[arg(long, default_value = "30ms")]
    pub fetch: Time,
    /// How long a fetch waits for its answer
    #[arg(long, default_value = "2s")]
    pub fetch_timeout: Time,
    /// Attempts at a fetch: more than one does not help against an answer that is always 500
    #[arg(long, default_value_t = 2, value_parser = few)]
    pub attempts: usize,
    /// Most that is waited before the second attempt; before each one after it, twice as long
    #[arg(long, default_value = "5ms")]
    pub backoff: Time,
    /// The upstream answers 500 for every so many-th item, always (0: for none)
    #[arg(long, default_value_t = 7, value_parser = every)]
    pub fail_every: usize,
    /// Cost of processing an item on a processor of its own
    #[arg(long, default_value = "3ms")]
    pub process: Time,
    /// How long the processing of an item may take once a worker has begun it
    #[arg(long, default_value = "2s")]
    pub process_timeout: Time,
    /// Threads that process [default: one for each processor but the event loop's]
    #[arg(long, default_value_t = (host::cores() - 1).clamp(1, 64), hide_default_value = true, value_parser = few)]
    pub workers: usize,
    /// Time a write takes to get to the database and back
    #[arg(long, default_value = "15ms")]
    pub store: Time,
    /// How long a write waits for its answer
    #[arg(long, default_value = "150ms")]
    pub store_timeout: Time,
    /// The write of every so many-th item gets no answer (0: every write does)
    #[arg(long, default_value_t = 20, value_parser = every)]
    pub hang_every: usize,
    /// Connections to the database: writes on their way at the same time
    #[arg(long, default_value_t = 4, value_parser = few)]
    pub connections: usize,
    /// How often the process is killed on its way
    #[arg(long, default_value_t = 5, value_parser = few)]
    pub kills: usize,
    /// How long another program holds the database locked
    #[arg(long, default_value = "100ms")]
    pub lock: Time,
    /// Time between two beats on the event loop while it is locked
    #[arg(long, default_value = "10ms")]
    pub beat: Time,
    /// What a commit waits for: the operating system (normal) or the disk (full)
    #[arg(long, value_enum, default_value_t)]
    pub synchronous: Synchronous,
    /// Largest size of the database, in pages of 4 KiB [default: as large as the disk]
    #[arg(long, value_parser = pages)]
    #[serde(default)]
    pub db_pages: Option<u32>,
    /// How long to wait for a database that another program has locked
    #[arg(long, default_value = "5s")]
    pub busy: Time,
    /// Do no experiment: run the pipeline once, on the state in this folder, from where it is
    #[arg(long, value_name = "DIR")]
    #[serde(skip)]
    pub state: Option<PathBuf>,
    /// With --state: fetch from this server instead of one of its own
    #[arg(long, value_name = "URL", requires = "state")]
    #[serde(skip)]
    pub upstream: Option<String>,
}

fn few(text: &str) -> Result<usize, String> {
    whole(text, 1..=256)
}

fn every(text: &str) -> Result<usize, String> {
    whole(text, 0..=1_000_000)
}

/// As many as SQLite knows.
fn pages(text: &str) -> Result<u32, String> {
    whole(text, 1..=u32::MAX - 1)
}

/// What the flags say will become of the items: exact.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Expected {
    /// Items whose result the database has.
    pub in_database: usize,
    /// Items whose result the fallback file has.
    pub in_fallback: usize,
    /// Items without a result.
    pub failed: usize,
    /// Requests the upstream gets when nothing is done twice.
    pub requests: usize,
}

impl Params {
    /// True for an item that the upstream always answers with 500.
    pub fn fails(&self, item: usize) -> bool {
        self.fail_every > 0 && item.is_multiple_of(self.fail_every)
    }

    /// True for an item whose write gets no answer.
    pub fn hangs(&self, item: usize) -> bool {
        self.hang_every > 0 && item.is_multiple_of(self.hang_every)
    }

    /// What should become of the items.
    pub fn expected(&self) -> Expected {
        let failed = (0..self.items).filter(|i| self.fails(*i)).count();
        let fetched = (0..self.items).filter(|i| !self.fails(*i));
        let in_fallback = fetched.filter(|i| self.hangs(*i)).count();
        Expected {
            in_database: self.items - failed - in_fallback,
            in_fallback,
            failed,
            requests: self.items + failed * (self.attempts - 1),
        }
    }

    /// The same pipeline without any faults.
    fn calm(&self) -> Params {
        Params {
            fail_every: 0,
            hang_every: 0,
            ..self.clone()
        }
    }

    /// The flags that a pipeline needs that runs by itself.
    fn of_the_pipeline(&self) -> Vec<String> {
        let synchronous = match self.synchronous {
            Synchronous::Normal => "normal".to_string(),
            Synchronous::Full => "full".to_string(),
        };
        let flags = [
            ("items", self.items.to_string()),
            ("batch", self.batch.to_string()),
            ("fetch", self.fetch.to_string()),
            ("fetch-timeout", self.fetch_timeout.to_string()),
            ("attempts", self.attempts.to_string()),
            ("backoff", self.backoff.to_string()),
            ("fail-every", self.fail_every.to_string()),
            ("process", self.process.to_string()),
            ("process-timeout", self.process_timeout.to_string()),
            ("workers", self.workers.to_string()),
            ("store", self.store.to_string()),
            ("store-timeout", self.store_timeout.to_string()),
            ("hang-every", self.hang_every.to_string()),
            ("connections", self.connections.to_string()),
            ("synchronous", synchronous),
            ("busy", self.busy.to_string()),
        ];
        let words = flags.map(|(name, value)| [format!("--{name}"), value]);
        words.concat()
    }

    fn backoff(&self) -> Backoff {
        Backoff::exponential(self.backoff.duration()).jittered()
    }

    fn options(&self) -> Options {
        Options {
            synchronous: self.synchronous,
            busy: self.busy.duration(),
            pages: self.db_pages,
        }
    }

    /// The upstream: as many slots as are ever under way, so that it is never what holds things up.
    fn spec(&self, service: ServiceTime, seed: u64) -> Spec {
        let every = (self.fail_every > 0).then_some(Every {
            nth: self.fail_every as u64,
            status: 500,
            by: By::Item,
        });
        let faults = Faults {
            every: every.into_iter().collect(),
            ..Faults::default()
        };
        Spec {
            seed,
            faults,
            ..Spec::new(self.batch, service)
        }
    }
}

/// lab12.
pub struct ProductionPipeline;

impl Lab for ProductionPipeline {
    type Params = Params;

    const CARD: Card = Card {
        number: 12,
        name: "production_pipeline",
        title: "The production pipeline",
        question: "What happens when things fail?",
        predict: &[
            Question {
                key: "stored",
                ask: "Of {items} items, the fetch of one in every {fail-every} fails. The write of one in every {hang-every} hangs, and its result goes to a file. How many items have a result in the end, in the database or in the file?",
                unit: "items",
                hint: "0 to all of them",
            },
            Question {
                key: "barrier",
                ask: "{batch} items under way, in batches or in a sliding window: how many times as long do batches take?",
                unit: "times",
                hint: "1 to 5",
            },
            Question {
                key: "twice",
                ask: "The process is killed on its way and started again, {kills}×: how many items are stored twice or lost?",
                unit: "items",
                hint: "0 to all of them",
            },
        ],
        next: &[
            (
                "cargo run --release --bin lab12 -- --state my-state --fetch 300ms",
                "the pipeline alone: kill it (kill -9), start it again, look into the folder",
            ),
            (
                "cargo run --release --bin lab12 -- --state full-state --db-pages 8",
                "a database without room: what does it say, and what does the same command without --db-pages do then?",
            ),
            (
                "cargo run --release --bin lab12 -- --batch 30",
                "more under way: what holds the pipeline back now, and what does a barrier cost?",
            ),
            (
                "cargo run --release --bin lab12 -- --synchronous full",
                "every commit waits for the disk; commits made together make it bearable",
            ),
            (
                "cargo run --release --bin lab12 -- --python",
                "batches and a window in asyncio, with a pool of processes",
            ),
        ],
        sources: lab_kit::sources!["lib.rs"],
        answers: include_str!("../answers.md"),
        sizes: Sizes {
            smoke: &[
                "--items",
                "16",
                "--batch",
                "6",
                "--fetch",
                "10ms",
                "--process",
                "1ms",
                "--store",
                "3ms",
                "--store-timeout",
                "40ms",
                "--hang-every",
                "5",
                "--kills",
                "1",
                "--lock",
                "20ms",
                "--beat",
                "4ms",
            ],
            full: &[
                "--fetch",
                "100ms",
                "--process",
                "10ms",
                "--store",
                "40ms",
                "--store-timeout",
                "500ms",
            ],
            trials: (1, 3),
        },
    };

    fn check(p: &Params) -> Result<(), String> {
        if let Some(url) = &p.upstream {
            http::site("--upstream", &url.as_str().into())?;
        }
        // A timeout close to what it guards would decide by chance.
        for (name, time, limit) in [
            ("fetch", p.fetch, p.fetch_timeout),
            ("process", p.process, p.process_timeout),
            ("store", p.store, p.store_timeout),
        ] {
            if limit.s() < 3.0 * time.s() {
                return Err(format!(
                    "--{name}-timeout is less than three times --{name}: which items are in time would be chance"
                ));
            }
        }
        if p.db_pages.is_some_and(|pages| pages < 8) {
            return Err("--db-pages must be 8 or more: the tables alone take that".into());
        }
        if p.db_pages.is_some() && p.state.is_none() {
            return Err("--db-pages ends the pipeline in an error, so it goes with --state".into());
        }
        if p.state.is_some() {
            // No experiment: as long as it takes.
            return Ok(());
        }
        if p.beat.s() > p.lock.s() / 4.0 {
            return Err(
                "--lock is shorter than four --beat: such a gap could be a late timer".into(),
            );
        }
        if p.items < 8 * p.kills {
            return Err(
                "--kills leaves fewer than eight --items for each: fewer kills, or more items"
                    .into(),
            );
        }
        Ok(())
    }

    fn needs(p: &Params, extent: &Extent) -> Needs {
        let calm = p.calm();
        // Writes go to the disk one after another; what is written down of an item, three times.
        let written = match p.synchronous {
            Synchronous::Normal => 4e-4,
            Synchronous::Full => 1e-2,
        };
        let books = p.items as f64 * (written + 2.0 * needs::REQUEST_S) + needs::connected(p.batch);
        let [batches, window] = ["batches", "window"].map(|way| findings::takes(p, way) + books);
        let [calm_batches, calm_window] =
            ["batches", "window"].map(|way| findings::takes(&calm, way) + books);
        let last = 1.0 + (p.batch.min(p.items) as f64).ln();
        let kills = p.kills as f64;
        let redone = kills * (p.batch as f64 / p.items as f64).min(1.0) * window;
        let killed =
            window + redone + (kills + 1.0) * (0.05 + p.fetch.s() + p.process.s() + p.store.s());
        let few = (2 * p.batch) as f64 / p.items as f64 * calm_window + 0.05;
        let locked = p.fetch.s() + p.lock.s() + few + p.store.s();
        let locks = if extent.smoke() { 2.0 } else { 6.0 };
        let python = if extent.with_python {
            2.0 * (1.0 + batches + window)
        } else {
            0.0
        };
        let round = batches
            + window
            + calm_batches
            + calm_window
            + calm_batches * last
            + calm_window
            + p.fetch.s() * last
            + killed
            + 2.0 * window
            + locks * locked
            + python;
        Needs {
            seconds: extent.times() * round,
            memory: extent.times() * 11.0 * p.items as f64 * 600.0
                + (p.batch as f64) * needs::CONNECTION_B,
            disk: p.items as f64 * 2000.0,
            less: "fewer --items or --kills, or shorter times: --fetch, --backoff, --store-timeout, --lock",
        }
    }

    fn instead(p: &Params) -> Option<Result<()>> {
        p.state.as_deref().map(|dir| by_itself(p, dir))
    }

    fn measure(p: &Params, session: &mut Session) -> Result<()> {
        // Everything that waits is on one event loop; what computes, and what blocks, is elsewhere.
        let runtime = Builder::new_current_thread().enable_all().build()?;
        let tools = &Tools::new(p)?;
        let (calm, rt) = (&p.calm(), &runtime);
        // None of the random times is to time out: at most one in 10¹³ is that long.
        let patient = &Params {
            fetch_timeout: p.fetch_timeout.max(Time::from(30 * p.fetch.duration())),
            ..p.calm()
        };
        let constant = ServiceTime::Constant(p.fetch.duration());
        let random = ServiceTime::Exponential {
            mean: p.fetch.duration(),
        };

        let smoke = session.scale == Scale::Smoke;
        let python = session.python();
        let mut plan = session.plan();
        for (arm, p, service) in [
            ("faults", p, &constant),
            ("calm", calm, &constant),
            ("random", patient, &random),
        ] {
            plan.point(&format!("{arm}/batches"), 0.0, move |r| {
                rt.block_on(measured(r, p, tools, service, Way::Batches))
            });
            plan.point(&format!("{arm}/window"), 0.0, move |r| {
                rt.block_on(measured(r, p, tools, service, Way::Window))
            });
        }
        plan.point("killed", 0.0, |r| killed(r, p, rt));
        for (series, careful) in [
            ("answers lost/naive", false),
            ("answers lost/careful", true),
        ] {
            plan.point(series, 0.0, move |r| {
                rt.block_on(answers_lost(r, p, tools, careful))
            });
        }
        // A bound needs an interval: three trials at least.
        for _ in 0..if smoke { 1 } else { 3 } {
            plan.point("locked/event loop", 0.0, |r| {
                rt.block_on(locked(r, p, tools, Store::open_in_place))
            });
            plan.point("locked/writer", 0.0, |r| {
                rt.block_on(locked(r, p, tools, Store::open))
            });
        }
        if let Some(python) = &python {
            python::add(&mut plan, python, p, rt);
        }
        plan.run()
    }

    fn may(p: &Params, at: &Condition) -> &'static [Fate] {
        premise::may(p, at)
    }

    fn premise(p: &Params, at: &Condition, trial: &Trial) -> Result<(), String> {
        premise::premise(p, at, trial)
    }

    fn explain(p: &Params, summary: &Summary) -> Findings {
        findings::explain(p, summary)
    }
}

/// What all runs share.
struct Tools {
    kernel: Kernel,
    pool: ThreadPool,
}

impl Tools {
    fn new(p: &Params) -> Result<Tools> {
        let pool = ThreadPoolBuilder::new()
            .num_threads(p.workers)
            .thread_name(|i| format!("worker {}", i + 1));
        Ok(Tools {
            kernel: Kernel::calibrate(),
            pool: pool.build()?,
        })
    }
}

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
    url: String,
    store: Store,
    connections: Semaphore,
    hangs: Hangs,
    careful: bool,
    log: Log,
}

impl<'a> Line<'a> {
    fn new(p: &'a Params, tools: &'a Tools, url: String, store: Store, log: Log) -> Result<Self> {
        let http = http::builder().build()?;
        let retries = p.attempts as u32 - 1;
        let client = Client::builder()
            .pool(http.clone())
            .concurrency(p.batch)
            .attempt_timeout(p.fetch_timeout.duration())
            .deadline(p.fetch_timeout.duration() * 2 * p.attempts as u32)
            .retries(Retries::up_to(retries, p.backoff()))
            .seed(log.seed());
        Ok(Line {
            p,
            tools,
            client: client.build()?,
            http,
            url,
            store,
            connections: Semaphore::new(p.connections),
            hangs: Hangs::Before,
            careful: true,
            log,
        })
    }

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

    async fn fail(&self, item: usize, reason: String) -> Result<(), StoreError> {
        self.store.fail(item, reason.clone()).await?;
        self.log.failed(item, reason);
        Ok(())
    }

    /// Waiting: on the event loop, with the client of lab05. Its timeout is an attempt's.
    async fn fetch(&self, item: usize) -> Result<Bytes, String> {
        let begun = Instant::now();
        let url = format!("{}/items/{item}", self.url);
        let answer = self.client.fetch(Request::get(url)).await;
        self.log.span("fetch", item, begun, Instant::now());
        let body = answer.map_err(|error| reason(&error))?;
        if body != mock_server::BODY {
            return Err("the answer is not that of this lab's upstream".into());
        }
        Ok(body)
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
            // The wrong way: to take a late answer for a write that did not happen.
            Err(_) if !self.careful => true,
            // right(2): Withdraws the write, or asks whether it was done
            // so(2): A timeout says that no answer has come, not that nothing was done.
            // The right way: see to it that it does not happen any more, or ask whether it has.
            Err(_) => claim.abandon() || !self.store.has(item).await?,
        };
        if fell_back {
            self.store.fall_back(output).await?;
        }
        self.log.span("store", item, begun, Instant::now());
        Ok(fell_back)
    }

    /// Half of the way to a database elsewhere and back: a hanging one never ends.
    async fn round_trip(&self, item: usize, half: Hangs) {
        if self.p.hangs(item) && half == self.hangs {
            pending::<()>().await;
        }
        if half == Hangs::Before {
            sleep(self.p.store.duration()).await;
        }
    }
}

/// Without address and times: reasons are counted.
fn reason(error: &FetchError) -> String {
    let why = match error.kind {
        Kind::Timeout => "no answer in time".into(),
        Kind::Connect => "no connection".into(),
        Kind::Broken => "the connection broke".into(),
        Kind::Status(code) => format!("status {code}"),
        other => format!("{other:?}"),
    };
    format!("{why} ({} attempts)", error.attempts)
}

/// FNV-1a, in hexadecimal.
fn digest(body: &[u8]) -> String {
    let hash = body.iter().fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
        (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3)
    });
    format!("{hash:016x}")
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Way {
    Batches,
    Window,
}

/// All items, from nothing to the books: one trial.
async fn measured(
    r: &Recorder,
    p: &Params,
    tools: &Tools,
    service: &ServiceTime,
    way: Way,
) -> Result<()> {
    let upstream = r.upstream(p.spec(service.clone(), r.seed())).await?;
    let state = r.folder()?;
    let (store, found) = Store::open(state.path(), p.items, p.options())?;
    let line = Line::new(p, tools, upstream.url(), store, Log::of(r, true))?;
    r.connect(&line.http, &upstream, p.batch).await?;
    let start = Instant::now();
    match way {
        Way::Batches => in_batches(&line, &found.todo, p.batch).await?,
        Way::Window => in_window(&line, &found.todo, p.batch).await?,
    }
    finish(r, p, line, &upstream, state.path(), start)
}

/// Every so many-th write is done and its answer never comes.
async fn answers_lost(r: &Recorder, p: &Params, tools: &Tools, careful: bool) -> Result<()> {
    let constant = ServiceTime::Constant(p.fetch.duration());
    let upstream = r.upstream(p.spec(constant, r.seed())).await?;
    let state = r.folder()?;
    let (store, found) = Store::open(state.path(), p.items, p.options())?;
    let line = Line {
        hangs: Hangs::After,
        careful,
        ..Line::new(p, tools, upstream.url(), store, Log::of(r, false))?
    };
    let start = Instant::now();
    in_window(&line, &found.todo, p.batch).await?;
    finish(r, p, line, &upstream, state.path(), start)
}

/// A process of its own is killed and started again until all is done.
fn killed(r: &Recorder, p: &Params, runtime: &Runtime) -> Result<()> {
    let constant = ServiceTime::Constant(p.fetch.duration());
    let upstream = runtime.block_on(r.upstream(p.spec(constant, r.seed())))?;
    let state = r.folder()?;
    let books = kill::until_done(r, p, &upstream.url(), state.path())?;
    gauges(r, &books);
    if let Some(counters) = upstream.counters() {
        r.gauge("upstream_arrived", counters.arrived as f64);
    }
    Ok(())
}

/// [`Store::open`] or [`Store::open_in_place`].
type Open = fn(&Path, usize, Options) -> Result<(Store, Found), StoreError>;

/// Another program holds the database locked from the beginning until a while after the first item
/// has been fetched. What becomes of the event loop?
async fn locked(r: &Recorder, p: &Params, tools: &Tools, open: Open) -> Result<()> {
    let lasting = Params {
        items: 2 * p.batch,
        // Nothing is to time out here.
        store_timeout: Time::from(p.store_timeout.duration() + 10 * p.lock.duration()),
        busy: Time::from(p.busy.duration() + 10 * p.lock.duration()),
        ..p.calm()
    };
    let constant = ServiceTime::Constant(p.fetch.duration());
    let upstream = r.upstream(lasting.spec(constant, r.seed())).await?;
    let state = r.folder()?;
    let (store, found) = open(state.path(), lasting.items, lasting.options())?;
    let line = Line::new(&lasting, tools, upstream.url(), store, Log::of(r, false))?;
    r.connect(&line.http, &upstream, p.batch).await?;

    let other = Connection::open(state.path().join("pipeline.db"))?;
    other.execute_batch("BEGIN IMMEDIATE")?;
    let hold = p.fetch.duration() + p.lock.duration();
    let holder = std::thread::spawn(move || {
        std::thread::sleep(hold);
        other.execute_batch("ROLLBACK")
    });
    let start = Instant::now();
    let heart = tokio::spawn(beat(r.clone(), p.beat.duration()));
    in_window(&line, &found.todo, p.batch).await?;
    heart.abort();
    let _ = holder.join();
    finish(r, &lasting, line, &upstream, state.path(), start)
}

/// Everybody else on the event loop, as a task that only beats.
async fn beat(r: Recorder, every: Duration) {
    let (mut last, mut longest) = (Instant::now(), 0.0_f64);
    loop {
        sleep(every).await;
        let now = Instant::now();
        longest = longest.max((now - last).as_secs_f64());
        r.trace("beats", now, longest);
        r.gauge("longest_gap_s", longest);
        last = now;
    }
}

/// The pipeline without an experiment around it. It says what it does, goes on from where the last
/// one ended, and may be killed at any time.
fn by_itself(p: &Params, dir: &Path) -> Result<()> {
    let runtime = Builder::new_current_thread().enable_all().build()?;
    let tools = Tools::new(p)?;
    let (store, found) = Store::open(dir, p.items, p.options())?;
    println!(
        "{}: {} of {} items are done, {} had been begun; {} lines of the fallback file were without a status{}",
        dir.display(),
        found.done,
        p.items,
        found.begun,
        found.recognised,
        if found.torn { ", one was torn" } else { "" }
    );
    runtime.block_on(async {
        let constant = ServiceTime::Constant(p.fetch.duration());
        let own = match p.upstream {
            None => Some(Upstream::start(p.spec(constant, 1)).await?),
            Some(_) => None,
        };
        let given = p.upstream.clone().unwrap_or_default();
        let url = own.as_ref().map_or(given, Upstream::url);
        let line = Line::new(p, &tools, url, store, Log::Lines)?;
        in_window(&line, &found.todo, p.batch).await?;
        anyhow::Ok(line.store.close()?)
    })?;
    let books = Books::read(dir)?;
    println!(
        "{} items: {} in the database, {} in the fallback file, {} failed",
        p.items, books.in_database, books.in_fallback, books.failed
    );
    ensure!(
        books.failed < p.items,
        "every item failed, the last lines above say why: is {} the upstream of this lab?",
        p.upstream
            .as_deref()
            .map_or("it".into(), lab_kit::address::shown)
    );
    Ok(())
}

/// Who is told what happens.
enum Log {
    /// A line an item.
    Lines,
    /// A trial, with what the pipeline believes it has done.
    Trial(Recorder, Mutex<Told>),
}

#[derive(Default)]
struct Told {
    /// Whether each stretch of work is written down as well.
    spans: bool,
    /// Seconds by stage.
    busy: BTreeMap<&'static str, f64>,
    stored: Vec<Duration>,
    failures: BTreeMap<String, u64>,
}

impl Log {
    fn of(r: &Recorder, spans: bool) -> Log {
        let told = Told {
            spans,
            ..Told::default()
        };
        Log::Trial(r.clone(), Mutex::new(told))
    }

    /// Of the jitter: processes must not wait alike.
    fn seed(&self) -> u64 {
        match self {
            Log::Lines => std::process::id().into(),
            Log::Trial(r, _) => r.seed(),
        }
    }

    fn span(&self, stage: &'static str, item: usize, start: Instant, end: Instant) {
        let Log::Trial(r, told) = self else { return };
        let mut told = told.lock().unwrap_or_else(PoisonError::into_inner);
        *told.busy.entry(stage).or_default() += (end - start).as_secs_f64();
        if told.spans {
            r.span(stage, &item.to_string(), start, end);
        }
    }

    fn stored(&self, item: usize, begun: Instant, fell_back: bool) {
        match self {
            Log::Lines => println!(
                "item {item} stored{}",
                if fell_back { " (fallback)" } else { "" }
            ),
            Log::Trial(_, told) => {
                let mut told = told.lock().unwrap_or_else(PoisonError::into_inner);
                told.stored.push(begun.elapsed());
            }
        }
    }

    fn failed(&self, item: usize, reason: String) {
        match self {
            Log::Lines => println!("item {item} failed: {reason}"),
            Log::Trial(_, told) => {
                let mut told = told.lock().unwrap_or_else(PoisonError::into_inner);
                *told.failures.entry(reason).or_default() += 1;
            }
        }
    }
}

/// Closes the books of a trial: what the pipeline believes, beside what lies on the disk.
fn finish(
    r: &Recorder,
    p: &Params,
    line: Line,
    upstream: &Service,
    state: &Path,
    start: Instant,
) -> Result<()> {
    let wall = start.elapsed();
    line.store.close()?;
    gauges(r, &Books::read(state)?);
    r.gauge("started_s", (start - r.origin()).as_secs_f64());
    let Log::Trial(_, told) = line.log else {
        return Ok(());
    };
    let told = told.into_inner().unwrap_or_else(PoisonError::into_inner);
    let mut trial = Trial {
        wall_s: wall.as_secs_f64(),
        offered: p.items as u64,
        ok: told.stored.len() as u64,
        failed: told.failures.values().sum(),
        failures: told.failures,
        ..Trial::default()
    };
    for (stage, seconds) in told.busy {
        r.gauge(&format!("{stage}_busy_s"), seconds);
    }
    for took in told.stored {
        trial.latency.record(took);
        trial.attempt_latency.record(took);
    }
    let tally = Tally {
        goodput_per_s: trial.ok as f64 / trial.wall_s,
        attempts_per_s: trial.offered as f64 / trial.wall_s,
        sent: trial.offered,
        trial,
        ..Tally::default()
    };
    r.tally(tally, upstream)
}

fn gauges(r: &Recorder, books: &Books) {
    for (name, count) in [
        ("in_database", books.in_database),
        ("in_fallback", books.in_fallback),
        ("books_failed", books.failed),
        ("twice", books.twice.len()),
        ("lost", books.lost.len()),
    ] {
        r.gauge(name, count as f64);
    }
}
