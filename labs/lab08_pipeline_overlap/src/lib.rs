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

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use async_channel::{Receiver, Sender, bounded};
use lab_kit::{host, prelude::*};
use mock_server::{Route, Slots};
use rayon::{ThreadPool, ThreadPoolBuilder};
use tokio::sync::oneshot;
use tokio::task::JoinSet;

mod findings;
mod premise;

/// The constants of the experiment.
#[derive(Args, Debug, Serialize, Deserialize)]
pub struct Params {
    /// Number of items: N
    #[arg(long, default_value_t = 30, value_parser = level)]
    pub items: usize,
    /// Time to fetch one item
    #[arg(long, default_value = "15ms")]
    pub fetch: Time,
    /// Time to transform one item, on a processor of its own
    #[arg(long, default_value = "30ms")]
    pub transform: Time,
    /// Time to store one item
    #[arg(long, default_value = "6ms")]
    pub store: Time,
    /// Items that can be fetched at a time: C
    #[arg(long, default_value_t = 4, value_parser = width)]
    pub fetchers: usize,
    /// Workers of the pool that transforms: W [default: one for each processor, at most 4]
    #[arg(long, default_value_t = host::cores().min(4), hide_default_value = true, value_parser = width)]
    pub transformers: usize,
    /// Items that can be stored at a time: D
    #[arg(long, default_value_t = 2, value_parser = width)]
    pub storers: usize,
    /// What a transformation does: compute, or sleep as if another machine computed
    #[arg(long, value_enum, default_value_t = Work::Spin)]
    pub work: Work,
    /// Items in a batch
    #[arg(long, default_value_t = 10, value_parser = level)]
    pub batch: usize,
    /// Capacities of the queues to try, with commas
    #[arg(long, value_delimiter = ',', value_parser = level, default_value = "1,4,20")]
    pub capacities: Vec<usize>,
    /// Mean time of each of the three stages where times vary
    #[arg(long, default_value = "20ms")]
    pub varying: Time,
    /// How much they vary there: standard deviation over mean
    #[arg(long, default_value_t = 1.0, value_parser = variation)]
    pub cv: f64,
}

/// What a transformation does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum Work {
    /// Computes, on this machine's processors.
    Spin,
    /// Sleeps, as if another machine computed.
    Sleep,
}

/// Most workers of a stage.
const MOST: usize = 64;

fn width(text: &str) -> Result<usize, String> {
    whole(text, 1..=MOST)
}

fn variation(text: &str) -> Result<f64, String> {
    let number = text.trim().parse().ok();
    let inside = number.filter(|cv| (0.0..=3.0).contains(cv));
    inside.ok_or_else(|| "expected a coefficient of variation from 0 to 3".into())
}

/// lab08.
pub struct PipelineOverlap;

impl Lab for PipelineOverlap {
    type Params = Params;

    const CARD: Card = Card {
        number: 8,
        name: "pipeline_overlap",
        title: "Pipeline overlap",
        question: "Why do stages with queues beat phases?",
        predict: &[
            Question {
                key: "share",
                ask: "Stages with queues take what share of the time of phases?",
                unit: "%",
                hint: "10 to 100",
            },
            Question {
                key: "busy",
                ask: "A stage awaits each item that it gives to its pool: how many of the pool's workers are busy on average?",
                unit: "workers",
                hint: "0 to 4",
            },
            Question {
                key: "capacity",
                ask: "Where times vary: how much longer does it take with queues of the smallest capacity than with the largest?",
                unit: "%",
                hint: "0 to 100",
            },
        ],
        next: &[
            (
                "cargo run --release --bin lab08 -- --work sleep --transformers 4 --fetch 50ms --transform 100ms --store 20ms",
                "longer steps and four workers: what does it cost now to await each item?",
            ),
            (
                "cargo run --release --bin lab08 -- --storers 1 --store 30ms",
                "another stage is the slowest: which queue is full now?",
            ),
            (
                "cargo run --release --bin lab08 -- --cv 2 --items 60 --varying 15ms",
                "times that vary more: what is a place in a queue worth?",
            ),
        ],
        sources: lab_kit::sources!["lib.rs"],
        answers: include_str!("../answers.md"),
        sizes: Sizes {
            smoke: &[
                "--items",
                "4",
                "--fetch",
                "3ms",
                "--transform",
                "5ms",
                "--store",
                "2ms",
                "--batch",
                "3",
                "--varying",
                "3ms",
                "--capacities",
                "1,3",
            ],
            full: &[
                "--fetch",
                "50ms",
                "--transform",
                "100ms",
                "--store",
                "20ms",
                "--varying",
                "40ms",
            ],
            trials: (2, 3),
        },
    };

    fn check(p: &Params) -> Result<(), String> {
        let each = [p.fetch, p.transform, p.store, p.varying];
        if each.iter().any(|t| t.duration() < Duration::from_millis(1)) {
            return Err("times must be 1 ms or more: timers tick in milliseconds".into());
        }
        if p.capacities.is_empty() || p.capacities.len() > 8 {
            return Err("--capacities: one to eight of them".into());
        }
        Ok(())
    }

    fn ready(p: &Params) -> Result<(), String> {
        let (w, cores) = (p.transformers, host::cores());
        if p.work == Work::Spin && w > cores {
            return Err(format!(
                "--transformers {w}: there are {cores} processors to compute on; let another machine compute (--work sleep), or see lab11"
            ));
        }
        Ok(())
    }

    fn needs(p: &Params, extent: &Extent) -> Needs {
        let (n, capacities) = (p.items as f64, p.capacities.len() as f64);
        let workers = match p.work {
            Work::Spin => needs::processors(p.transformers),
            Work::Sleep => p.transformers as f64,
        };
        let [fetch, transform, store] = [p.fetch.s(), p.transform.s(), p.store.s()];
        // Rounded up to whole waves for each batch.
        let waves = |items: f64, width: f64| (items / width).ceil() * (1.0 / items);
        let size = (p.batch as f64).min(n);
        let stage = |items: f64| {
            (
                fetch * waves(items, p.fetchers as f64),
                store * waves(items, p.storers as f64),
            )
        };
        let (all, some) = (stage(n), stage(size));
        let (least_f, least_s) = (fetch / p.fetchers as f64, store / p.storers as f64);
        let staged = least_f.max(transform / workers).max(least_s);
        let varying = p.varying.s() * (1.0 + 0.6 * p.cv);
        let each = (fetch + transform + store)
            + (all.0 + transform / workers + all.1)
            + (some.0 + transform + some.1)
            + (some.0
                + (transform * waves(size, p.transformers as f64)).max(transform / workers)
                + some.1)
            + least_f.max(transform).max(least_s)
            + capacities * (staged + varying);
        let ends = (5.0 + 2.0 * capacities) * (fetch + transform + store + 0.03);
        let arms = 5.0 + 2.0 * capacities;
        let times = if p.capacities.len() < 3 && !extent.smoke() {
            extent.times().max(3.0)
        } else {
            extent.times()
        };
        Needs {
            seconds: times * (n * (each + arms * 2.0 * needs::REQUEST_S) + ends),
            // Six spans an item.
            memory: times * arms * n * 1000.0,
            less: "fewer --items, shorter times or fewer --capacities",
            ..Needs::default()
        }
    }

    fn measure(p: &Params, session: &mut Session) -> Result<()> {
        let kernel = (p.work == Work::Spin).then(Kernel::calibrate);
        let seed = session.seed;
        let (steady, varying) = (&Job::steady(p), &Job::varying(p, seed));
        let (b, most) = (p.batch, p.capacities.iter().copied().max().unwrap_or(1));

        // A law at fewer than three capacities cannot borrow an interval from the others.
        if p.capacities.len() < 3 && session.scale != Scale::Smoke {
            session.trials = session.trials.max(3);
        }
        let mut plan = session.plan();
        plan.point("in-turn", 0.0, |r| run(r, steady, kernel, in_turn));
        plan.point("phases", 0.0, |r| run(r, steady, kernel, phases));
        plan.point("batches/one-job", b as f64, |r| {
            run(r, steady, kernel, async |t| batches_as_one_job(t, b).await)
        });
        plan.point("batches/job-each", b as f64, |r| {
            run(r, steady, kernel, async |t| batches_by_item(t, b).await)
        });
        plan.point("stages/awaited", most as f64, |r| {
            run(r, steady, kernel, async |t| {
                stages_awaiting_each(t, most).await
            })
        });
        for q in p.capacities.iter().copied() {
            plan.point("stages/in-flight", q as f64, move |r| {
                run(r, steady, kernel, async |t| stages_in_flight(t, q).await)
            });
            plan.point("varying", q as f64, move |r| {
                run(r, varying, kernel, async |t| stages_in_flight(t, q).await)
            });
        }
        plan.run()
    }

    fn premise(p: &Params, at: &Condition, trial: &Trial) -> Result<(), String> {
        premise::premise(p, at, trial)
    }

    fn explain(p: &Params, summary: &Summary) -> Findings {
        findings::explain(p, summary)
    }
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
    let items = t.items();
    through_phases(&t, items).await
}

async fn through_phases(t: &Tools, items: Vec<usize>) -> Result<Vec<usize>> {
    let fetched = phase(t, Fetch, items).await?;
    let transformed = phase(t, Transform, fetched).await?;
    phase(t, Store, transformed).await
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
        stored.extend(through_phases(&t, batch.to_vec()).await?);
    }
    Ok(stored)
}

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

/// The name of a span in which a worker waits for room in a queue.
const BLOCKED: &str = "blocked";

#[derive(Clone, Copy)]
enum Stage {
    Fetch,
    Transform,
    Store,
}
use Stage::{Fetch, Store, Transform};

impl Stage {
    const NAMES: [&str; 3] = ["fetch", "transform", "store"];

    fn lane(self, worker: usize) -> String {
        format!("{} {worker}", Stage::NAMES[self as usize])
    }
}

/// How many work at each stage, and how long they take.
struct Job {
    widths: [usize; 3],
    fetch: ServiceTime,
    transform: Vec<Duration>,
    store: ServiceTime,
}

impl Job {
    fn steady(p: &Params) -> Job {
        Job {
            widths: [p.fetchers, p.transformers, p.storers],
            fetch: ServiceTime::Constant(p.fetch.duration()),
            transform: vec![p.transform.duration(); p.items],
            store: ServiceTime::Constant(p.store.duration()),
        }
    }

    /// One worker a stage, so that the items keep their order and each has the time meant for it.
    fn varying(p: &Params, seed: u64) -> Job {
        let [fetch, transform, store] = varying_times(p, seed);
        Job {
            widths: [1; 3],
            fetch: ServiceTime::Trace(fetch),
            transform,
            store: ServiceTime::Trace(store),
        }
    }
}

/// The times of each stage where they vary: the same for every trial of a run, and for theory.
fn varying_times(p: &Params, seed: u64) -> [Vec<Duration>; 3] {
    let times = ServiceTime::LogNormal {
        mean: p.varying.duration(),
        cv: p.cv,
    };
    [0, 1, 2].map(|stage| {
        let mut sampler = times.sampler(seed.wrapping_mul(3).wrapping_add(stage));
        (0..p.items).map(|_| sampler.next_time()).collect()
    })
}

/// What every arm works with.
#[derive(Clone)]
struct Tools {
    r: Recorder,
    client: reqwest::Client,
    url: String,
    pool: Arc<ThreadPool>,
    /// What computes; nothing if another machine is to be thought of.
    kernel: Option<Kernel>,
    /// How long each item takes to transform.
    costs: Arc<[Duration]>,
    widths: [usize; 3],
    progress: Arc<Progress>,
}

/// Items that have begun to be fetched and have not been stored.
#[derive(Default)]
struct Progress {
    now: AtomicUsize,
    most: AtomicUsize,
}

impl Progress {
    fn begun(&self) {
        let now = self.now.fetch_add(1, Ordering::Relaxed) + 1;
        self.most.fetch_max(now, Ordering::Relaxed);
    }

    fn stored(&self) {
        self.now.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Tools {
    fn items(&self) -> Vec<usize> {
        (0..self.costs.len()).collect()
    }

    async fn work(&self, which: Stage, worker: usize, item: usize) -> Result<()> {
        let start = Instant::now();
        let request = match which {
            Transform => return self.transform(worker, vec![item]).await,
            Fetch => {
                self.progress.begun();
                self.client.get(format!("{}/fetch", self.url))
            }
            Store => self
                .client
                .post(format!("{}/store", self.url))
                .body(item.to_string()),
        };
        http::expected(request.send().await?).await?;
        let (lane, name) = (which.lane(worker), (item + 1).to_string());
        self.r.span(&lane, &name, start, Instant::now());
        if let Store = which {
            self.progress.stored();
        }
        Ok(())
    }

    /// One job for the pool. Awaiting it lets the event loop turn to others.
    async fn transform(&self, worker: usize, items: Vec<usize>) -> Result<()> {
        let (t, (done, over)) = (self.clone(), oneshot::channel());
        self.pool.spawn(move || {
            for item in items {
                let start = Instant::now();
                match t.kernel {
                    Some(kernel) => kernel.work(t.costs[item]),
                    None => std::thread::sleep(t.costs[item]),
                }
                let (lane, name) = (Transform.lane(worker), (item + 1).to_string());
                t.r.span(&lane, &name, start, Instant::now());
            }
            // Nobody waits any more when the run has failed elsewhere.
            let _ = done.send(());
        });
        Ok(over.await?)
    }

    /// Writes down how many items the queue behind a stage holds.
    fn depth(&self, behind: usize, items: usize) {
        if let 1 | 2 = behind {
            let name = ["fetched", "transformed"][behind - 1];
            self.r.trace(name, Instant::now(), items as f64);
        }
    }
}

/// Runs one arm on an event loop of one thread. Service, pool and connections are ready before the
/// clock starts.
fn run<F>(r: &Recorder, job: &Job, kernel: Option<Kernel>, arm: F) -> Result<()>
where
    F: AsyncFnOnce(Tools) -> Result<Vec<usize>>,
{
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    let [c, w, d] = job.widths;
    let pool = ThreadPoolBuilder::new().num_threads(w).build()?;
    let own = |slots| Slots::Own { slots, queue: None };
    let route = |path: &str, service: &ServiceTime, slots| Route {
        slots: own(slots),
        ..Route::new(path, service.clone())
    };
    let mut spec = Spec::new(1, ServiceTime::Constant(Duration::ZERO));
    spec.routes = vec![
        route("/fetch", &job.fetch, c),
        route("/store", &job.store, d),
    ];
    runtime.block_on(async {
        let service = r.upstream(spec).await?;
        let client = http::client();
        r.connect(&client, &service, c + d).await?;
        let tools = Tools {
            r: r.clone(),
            client,
            url: service.url(),
            pool: Arc::new(pool),
            kernel,
            costs: job.transform.clone().into(),
            widths: job.widths,
            progress: Arc::default(),
        };
        let progress = tools.progress.clone();
        let start = Instant::now();
        let stored = arm(tools).await?;
        r.wall(start.elapsed());
        r.gauge("started_s", (start - r.origin()).as_secs_f64());
        let different: BTreeSet<usize> = stored.iter().copied().collect();
        r.gauge("stored", stored.len() as f64);
        let most = progress.most.load(Ordering::Relaxed);
        r.gauge("in_progress_max", most as f64);
        r.gauge("stored_different", different.len() as f64);
        if let Some(counters) = service.counters() {
            r.gauge("upstream_arrived", counters.arrived as f64);
        }
        Ok(())
    })
}
