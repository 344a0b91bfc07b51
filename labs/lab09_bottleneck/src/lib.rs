//! # The bottleneck
//!
//! ## The question
//!
//! Which stage holds the system back, and what would help?
//!
//! ## What to predict
//!
//! Items are fetched, processed and stored, all three stages at work at once with queues of {queue}
//! places between them. Each stage has a width, so many items at a time, and a time for an item:
//! {storage}. You may double one width: that of fetch, of process or of store. Which, and what does
//! each of the three bring?
//!
//! ## The experiment
//!
//! Three such pipelines, one held back by each stage. Fetch and store are requests to an upstream;
//! process computes on threads of its own. Each pipeline is run as it is and diagnosed from what a
//! production system could measure: how long the workers of a stage were busy, and how full the
//! queue before it was. Then each width is doubled in turn and the pipeline runs again.
//!
//! The same pipelines go through a simulator in virtual time. Where it agrees with the measurement
//! it may be asked about other machines:
//!
//! ```text
//! lab09 --simulate "fetch=20000x100ms,process=10000x500ms,store=2000x50ms" --items 1000000
//! ```
//!
//! ## What the figures show
//!
//! A stage of `w` workers that need `s` for an item passes at most `w/s` items a second, and the
//! pipeline passes as many as its slowest stage: `λ = min(C/f, W/p, D/d)` for `C` fetches of time
//! `f`, `W` workers that process for `p` and `D` stores of time `d`. Doubling that stage's width
//! moves the minimum, up to the next one: the gain is rarely a factor of two. Doubling any other
//! width changes nothing at all, whatever it costs.
//!
//! Every item passes every stage, so that a stage's workers are busy for a share `λ·s/w` of the
//! time (the utilisation law of Denning and Buzen, 1978). The busiest stage is the bottleneck. The
//! queues say the same without a clock: full before it, empty behind it. A worker that holds a
//! finished item because the next queue is full is not busy: count that as work, and everything
//! before the bottleneck looks like one. Queues can mislead: a wide stage delivers its items in
//! waves, and a queue shorter than a wave is full at one moment and empty at the next. Utilisation
//! does not.
//!
//! The law holds, fill and drain included, when `f` and `d` are what a request really takes here (a
//! little more than its service) and `p` what the computation took in that very run: a processor's
//! speed drifts from one second to the next.
//!
//! Process is special. More threads than processors add workers and no processors, so that the
//! stage's width is the smaller of the two. Where the work is done elsewhere (an accelerator, a
//! remote service; here a `sleep`) threads beyond the processors help.
//!
//! ## A common belief
//!
//! *The bottleneck is the stage that takes longest for an item.* That is right when all widths are
//! equal. Here fetch takes longest in all three pipelines, and holds back only the one in which few
//! fetches run at a time. Compare `w/s`, or utilisations. And look at the margin before buying
//! anything. Suppose one stage takes 100.0 ms and another 100.2 ms: doubling the longer one gains
//! 0.2 %, since the other one then is the bottleneck.
//!
//! Three worked problems are presets: `--preset lesson1`, `lesson2`, `documents`. What would take
//! minutes to hours is answered by the simulator, and checked on a real pipeline whose times are
//! divided until it is short.
//!
//! ## In production
//!
//! Export two numbers for each stage: the share of time its workers are busy (working, not waiting
//! to hand on) and the depth of the queue before it. Alert on a queue that stays full. Before you
//! widen a stage, work out what the next bottleneck is: that is all you can gain. And if a stage is
//! always busy and nothing passes it, it is not a bottleneck but in a busy loop.
//!
//! ## Check yourself
//!
//! - Suppose the pipeline is `fetch=6x90ms,process=1x8ms,store=1x25ms`. Which width would you
//!   double first, and which second?
//! - Two stages are equally slow. What does doubling one of them bring? (`--simulate
//!   "fetch=10x1s,process=4x2s,store=1x500ms" --items 100`)
//! - The queue before store is full and store's workers are busy for little more than half of the
//!   time. How can that be?
//! - Service times are now random with the same means. Is the law reached? What do longer queues
//!   do for it? (`--simulate "a=4xexp:100ms,b=4xexp:100ms" --queue 1`)

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;

use async_channel::{Receiver, Sender, WeakReceiver, bounded, unbounded};
use clap::ValueEnum;
use lab_kit::{
    host,
    prelude::*,
    theory::{Pipeline, simulate},
};
use mock_server::{MAX_SLOTS, Route, Slots};
use rayon::prelude::*;
use tokio::{runtime, sync::oneshot, task::JoinSet};

mod diagnosis;
mod findings;
mod premise;
mod stages;

use stages::{Stages, Step};

/// The constants of the experiment.
#[derive(Args, Debug, Serialize, Deserialize)]
pub struct Params {
    /// The pipeline that is to be held back by fetch: widths and times
    #[arg(long, default_value = "fetch=2x50ms,process=1x6ms,store=2x16ms")]
    pub io: Stages,
    /// The one that is to be held back by process
    #[arg(long, default_value = "fetch=8x80ms,process=1x25ms,store=2x20ms")]
    pub cpu: Stages,
    /// The one that is to be held back by store
    #[arg(long, default_value = "fetch=6x90ms,process=1x8ms,store=1x25ms")]
    pub storage: Stages,
    /// Items through each pipeline [default: 24; the problem's own with --preset; 1000 with --simulate]
    #[arg(long, value_parser = count)]
    pub items: Option<usize>,
    /// Places in the queue before process and in the one before store
    #[arg(long, default_value_t = 4, value_parser = level)]
    pub queue: usize,
    /// What process does: compute here, or wait for a computation elsewhere
    #[arg(long, value_enum, default_value = "spin")]
    pub work: Work,
    /// A worked problem instead of the three pipelines: simulated, and measured with shorter times
    #[arg(long, value_enum)]
    pub preset: Option<Preset>,
    /// Any pipeline, simulated only: fetch=10x100ms,process=8xexp:500ms,store=1x50ms
    #[arg(long, value_name = "STAGES", conflicts_with = "preset")]
    pub simulate: Option<Stages>,
}

/// What the process stage does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Work {
    /// Computes: needs a processor.
    Spin,
    /// Waits, as for an accelerator or another machine: needs none.
    Sleep,
}

/// Worked problems. What only waits has ten permits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Preset {
    /// 1000 items of 0.1 s, 0.5 s and 0.05 s on 4 cores
    Lesson1,
    /// 100 items of 1 s, 2 s and 0.5 s on 4 cores
    Lesson2,
    /// 1000 documents: 10 s to download, 10 at a time; 5 s to extract and 2 s to embed on 8 cores; 0.1 s to store
    Documents,
}

impl Preset {
    fn problem(self) -> (&'static str, usize) {
        match self {
            Preset::Lesson1 => ("fetch=10x100ms,process=4x500ms,store=10x50ms", 1000),
            Preset::Lesson2 => ("fetch=10x1s,process=4x2s,store=10x500ms", 100),
            // Extracting and embedding share the cores, so they are one stage of 7 s.
            Preset::Documents => ("fetch=10x10s,process=8x7s,store=10x100ms", 1000),
        }
    }
}

/// A pipeline to look into: run as it is (x = 0) and with its stage x doubled.
struct Scenario {
    /// In the record.
    series: String,
    title: String,
    stages: Stages,
    items: usize,
    work: Work,
    simulated: bool,
}

/// Items through a pipeline that is measured, and through the measured form of a worked problem.
const ITEMS: usize = 24;
const SAMPLE: usize = 80;
/// Service time of the requests that only show what a request costs besides.
const REQUEST: Duration = Duration::from_millis(25);
/// Longest service time in the measured form of a worked problem.
const SHORT: Duration = Duration::from_millis(100);

impl Params {
    fn scenarios(&self) -> Vec<Scenario> {
        let scenario = |series: &str, title: &str, stages: &Stages, items, simulated| Scenario {
            series: series.into(),
            title: title.into(),
            stages: stages.clone(),
            items,
            // Four cores of a worked problem are not those of this machine.
            work: if self.preset.is_some() {
                Work::Sleep
            } else {
                self.work
            },
            simulated,
        };
        let items = self.items.unwrap_or(ITEMS);
        if let Some(stages) = &self.simulate {
            let items = self.items.unwrap_or(1000);
            return vec![scenario(
                "simulated/stages",
                "Simulated",
                stages,
                items,
                true,
            )];
        }
        if let Some(preset) = self.preset {
            let (text, own) = preset.problem();
            let long: Stages = text.parse().expect("the problems are well written");
            let (own, short) = (self.items.unwrap_or(own), long.shrunk_to(SHORT));
            let name = format!("simulated/{preset:?}").to_lowercase();
            return vec![
                scenario(&name, "Simulated", &long, own, true),
                scenario(
                    "shrunk",
                    "Measured, shorter",
                    &short,
                    own.min(SAMPLE),
                    false,
                ),
            ];
        }
        vec![
            scenario("io", "I/O-bound", &self.io, items, false),
            scenario("cpu", "CPU-bound", &self.cpu, items, false),
            scenario("storage", "Storage-bound", &self.storage, items, false),
        ]
    }

    /// The process stage by itself: the cost of a job, and how many for each processor.
    fn pools(&self) -> (Duration, usize) {
        // A tenth of the stage's, so that the last jobs of all threads end at nearly the same time.
        let cost = self.cpu.0.get(1).map_or(SHORT, |s| s.service.mean()) / 10;
        // As many that a slice of the scheduler, which may come between, is little of them.
        let each = if self.items.unwrap_or(ITEMS) < 4 {
            2
        } else {
            48
        };
        (cost, each)
    }
}

/// Seconds that an item takes the simulator at a stage.
const SIMULATED_S: f64 = 3e-7;

/// Most threads of a stage that runs here.
const MOST_THREADS: usize = 256;

/// lab09.
pub struct Bottleneck;

impl Lab for Bottleneck {
    type Params = Params;

    const CARD: Card = Card {
        number: 9,
        name: "bottleneck",
        title: "The bottleneck",
        question: "Which stage holds the system back, and what would help?",
        predict: &[
            Question {
                key: "fetch",
                ask: "A pipeline has a width and a time for each stage: {storage}. The width of fetch is doubled: how many times the throughput?",
                unit: "times",
                hint: "1 to 2",
            },
            Question {
                key: "store",
                ask: "And if the width of store is doubled instead?",
                unit: "times",
                hint: "1 to 2",
            },
        ],
        next: &[
            (
                "cargo run --release --bin lab09 -- --preset documents",
                "a problem of hours: answered by the simulator, checked in seconds",
            ),
            (
                "cargo run --release --bin lab09 -- --simulate \"fetch=20000x100ms,process=10000x500ms,store=2000x50ms\" --items 1000000",
                "ten thousand cores, a million items",
            ),
            (
                "cargo run --release --bin lab09 -- --simulate \"fetch=1x100ms,process=1x100.2ms,store=1x20ms\"",
                "a coin toss: what does doubling the longest stage bring?",
            ),
            (
                "cargo run --release --bin lab09 -- --work sleep --cpu \"fetch=40x50ms,process=16x100ms,store=4x10ms\"",
                "sixteen workers on a few cores: what is the difference between computing and waiting?",
            ),
        ],
        sources: lab_kit::sources!["lib.rs", "diagnosis.rs"],
        answers: include_str!("../answers.md"),
        sizes: Sizes {
            smoke: &[
                "--io",
                "fetch=2x4ms,process=1x1ms,store=2x2ms",
                "--cpu",
                "fetch=8x4ms,process=1x3ms,store=2x2ms",
                "--storage",
                "fetch=6x4ms,process=1x1ms,store=1x3ms",
                "--items",
                "2",
            ],
            full: &[],
            trials: (2, 6),
        },
    };

    fn check(p: &Params) -> Result<(), String> {
        for Scenario {
            stages,
            items,
            simulated,
            ..
        } in p.scenarios()
        {
            if simulated {
                let runs = stages.0.len() * (stages.0.len() + 1);
                if items * runs > 100_000_000 {
                    return Err("fewer --items or fewer stages: the simulator would need more than a minute".into());
                }
                continue;
            }
            let named = stages.0.iter().map(|s| s.name.as_str());
            if !named.eq(["fetch", "process", "store"]) {
                return Err(format!(
                    "{stages}: what is measured has the stages fetch, process and store; --simulate takes any"
                ));
            }
            if !stages.constant() {
                return Err(format!(
                    "{stages}: what is measured has constant service times; --simulate takes random ones"
                ));
            }
            let millisecond = Duration::from_millis(1);
            if stages.0.iter().any(|s| s.service.mean() < millisecond) {
                return Err(format!(
                    "{stages}: service times must be 1 ms or more, since timers tick in milliseconds"
                ));
            }
            let most = [1000, MOST_THREADS, 1000];
            if let Some((step, most)) = stages.0.iter().zip(most).find(|(s, m)| 2 * s.width > *m) {
                return Err(format!(
                    "{stages}: at most {} wide can {} be, which is then doubled",
                    most / 2,
                    step.name
                ));
            }
            if items > 5000 {
                return Err("--items: a measured pipeline takes at most 5000".into());
            }
        }
        Ok(())
    }

    fn needs(p: &Params, extent: &Extent) -> Needs {
        let (mut round, mut simulated, mut measures) = (0.0, 0.0, false);
        for Scenario {
            stages,
            items,
            work,
            simulated: virtually,
            ..
        } in p.scenarios()
        {
            for stages in stages.what_if() {
                let steps = stages.0.len() as f64;
                if virtually {
                    simulated += items as f64 * steps * SIMULATED_S;
                    continue;
                }
                measures = true;
                let step = |s: &Step| (s.mean_s() + needs::REQUEST_S, s.width);
                let mut steps: Vec<(f64, usize)> = stages.0.iter().map(step).collect();
                if let (Work::Spin, Some((service, width))) = (work, steps.get_mut(1)) {
                    *service *= (*width as f64 / needs::processors(*width)).max(1.0);
                }
                let widest = stages.0.iter().map(|s| s.width).sum();
                round += Pipeline::new(&steps).makespan(items) + needs::connected(widest);
            }
        }
        if measures {
            round += 8.0 * (REQUEST.as_secs_f64() + 2e-3) + 0.05;
        }
        let mut pools = 0.0;
        if p.simulate.is_none() && p.preset.is_none() {
            let ((cost, each), cores) = (p.pools(), host::cores().min(MOST_THREADS));
            let jobs = (each * cores) as f64 * cost.as_secs_f64();
            let sleeping = jobs / cores as f64 * 1.5;
            pools = 2.0 * jobs / needs::processors(cores) + sleeping;
            pools *= if extent.smoke() { 1.0 } else { 6.0 };
        }
        let most = p.scenarios().iter().map(|s| s.items).max().unwrap_or(0);
        Needs {
            seconds: extent.times() * (round + simulated) + pools,
            memory: most as f64 * 500.0,
            less: "fewer --items or shorter times",
            ..Needs::default()
        }
    }

    fn measure(p: &Params, session: &mut Session) -> Result<()> {
        // Fetch and store wait, for which one event loop is enough. Process has threads.
        let event_loop = runtime::Builder::new_current_thread()
            .enable_all()
            .build()?;
        let (event_loop, kernel, seed) = (&event_loop, Kernel::calibrate(), session.seed);
        let scenarios = p.scenarios();

        let mut plan = session.plan();
        if scenarios.iter().any(|s| !s.simulated) {
            let requests = scenarios[0].items.min(8);
            plan.point("request", 0.0, move |r| {
                event_loop.block_on(one_by_one(r, requests))
            });
        }
        for scenario in &scenarios {
            for (x, stages) in scenario.stages.what_if().into_iter().enumerate() {
                let (n, work) = (scenario.items, Job(scenario.work, kernel));
                plan.point(&scenario.series, x as f64, move |r| {
                    if scenario.simulated {
                        in_virtual_time(r, &stages, n, p.queue, seed)
                    } else {
                        event_loop.block_on(pipeline(r, &stages, n, p.queue, work))
                    }
                });
            }
        }
        plan.run()?;
        if p.simulate.is_some() || p.preset.is_some() {
            return Ok(());
        }

        // Four short conditions are soon repeated.
        session.trials = if session.scale == Scale::Smoke { 1 } else { 6 };
        let (cost, each) = p.pools();
        let cores = host::cores().min(MOST_THREADS);
        let mut plan = session.plan();
        for threads in [cores, 2 * cores] {
            for (series, work) in [("pool/spin", Work::Spin), ("pool/sleep", Work::Sleep)] {
                let (jobs, work) = (2 * each.div_ceil(2) * cores, Job(work, kernel));
                plan.point(series, threads as f64, move |r| {
                    only_process(r, threads, jobs, work, cost)
                });
            }
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

/// How long a worker computes before it lets whoever waits for its processor go first. The event
/// loop and the upstream are on this machine, too, and a thread that wakes on a busy processor waits
/// for a turn of the scheduler, 3 to 4 ms here. Without this, requests are up to that late, and with
/// as many workers as processors most are.
const POLITE: Duration = Duration::from_micros(100);

/// What a process worker does with an item.
#[derive(Clone, Copy)]
struct Job(Work, Kernel);

impl Job {
    fn run(self, cost: Duration) {
        match self.0 {
            Work::Spin => {
                for slice in self.1.slices(cost, POLITE) {
                    self.1.work(slice);
                    thread::yield_now();
                }
            }
            Work::Sleep => thread::sleep(cost),
        }
    }
}

/// One item on its way, and who waits for its end.
struct Item(oneshot::Sender<Outcome>);

/// Three stages at work at once, bounded queues between them.
async fn pipeline(r: &Recorder, stages: &Stages, n: usize, queue: usize, job: Job) -> Result<()> {
    let [fetch, process, store] = &stages.0[..] else {
        anyhow::bail!("there are three stages");
    };
    let mut spec = Spec::new(MAX_SLOTS, fetch.service.clone());
    spec.routes = vec![
        route("/fetch", &fetch.service),
        route("/store", &store.service),
    ];
    let service = r.upstream(spec).await?;
    let client = http::client();
    r.connect(&client, &service, fetch.width + store.width)
        .await?;

    let (source, wanted) = unbounded();
    let (fetched, to_process) = bounded(queue);
    let (processed, to_store) = bounded(queue);
    let first = Stage::new(r, &FETCH, wanted, Some(fetched));
    let second = Stage::new(r, &PROCESS, to_process, Some(processed));
    let third = Stage::new(r, &STORE, to_store, None);
    let widths = [fetch.width, process.width, store.width];
    let looks = [&first, &second, &third].map(Stage::look);
    let looks: Vec<Look> = looks.into_iter().zip(widths).collect();

    let mut tasks = JoinSet::new();
    for _ in 0..fetch.width {
        let request = client.get(format!("{}/fetch", service.url()));
        tasks.spawn(asking(first.clone(), request));
    }
    for _ in 0..store.width {
        let request = client
            .post(format!("{}/store", service.url()))
            .body("an item");
        tasks.spawn(asking(third.clone(), request));
    }
    let mut threads = Vec::new();
    for i in 1..=process.width {
        let (stage, event_loop) = (second.clone(), runtime::Handle::current());
        let cost = process.service.mean();
        let worker = thread::Builder::new().name(format!("process {i}"));
        threads.push(worker.spawn(move || event_loop.block_on(computing(stage, job, cost)))?);
    }
    // Only the workers hold the queues' ends now, so that each stage ends when the one before has.
    drop((first, second, third));

    let watch = Watch::begin(r, looks);
    let begin = Instant::now();
    let load = r.load();
    let burst = load.burst(n, |_| {
        let (done, end) = oneshot::channel();
        let sent = source.try_send(Item(done));
        async move {
            match sent {
                Ok(()) => end.await.unwrap_or(Outcome::Aborted),
                Err(_) => Outcome::Aborted,
            }
        }
    });
    let load = burst.await;
    watch.end()?;
    drop(source);
    tasks.join_all().await;
    for worker in threads {
        worker
            .join()
            .map_err(|_| anyhow::anyhow!("a process worker panicked"))?;
    }
    r.gauge("started_s", (begin - r.origin()).as_secs_f64());
    r.gauge("makespan_s", load.trial.wall_s);
    r.tally(load, &service)
}

/// A worker that asks a service and waits.
async fn asking(stage: Stage, request: reqwest::RequestBuilder) {
    while let Some(item) = stage.take().await {
        let start = stage.begins();
        let outcome = ask(&request).await;
        stage.worked(start);
        stage.pass_on(item, outcome).await;
    }
}

/// A worker that computes, on a thread of its own.
async fn computing(stage: Stage, job: Job, cost: Duration) {
    while let Some(item) = stage.take().await {
        let start = stage.begins();
        job.run(cost);
        stage.worked(start);
        stage.pass_on(item, Outcome::Ok).await;
    }
}

async fn ask(request: &reqwest::RequestBuilder) -> Outcome {
    let Some(request) = request.try_clone() else {
        return Outcome::Aborted;
    };
    let answer = async { http::success(request.send().await?).await };
    Outcome::of(answer.await)
}

/// One stage as its workers see it, and what it writes down.
#[derive(Clone)]
struct Stage {
    r: Recorder,
    names: &'static Names,
    input: Receiver<Item>,
    output: Option<Sender<Item>>,
    /// How many of its workers work on an item just now.
    at_work: Arc<AtomicUsize>,
}

struct Names {
    /// The share of its workers that work, at any look.
    at_work: &'static str,
    /// The items that wait before it, at any look.
    waiting: &'static str,
    /// The mean time an item is worked on.
    busy: &'static str,
    /// The mean time a finished item waits for a place in the next queue.
    blocked: &'static str,
    /// The length of the queue behind the stage, over time.
    queue_behind: &'static str,
    /// And of the one before it.
    queue_before: &'static str,
}

const FETCH: Names = Names {
    at_work: "fetch_at_work",
    waiting: "",
    busy: "fetch_busy_s",
    blocked: "fetch_blocked_s",
    queue_behind: "process_queue",
    queue_before: "",
};
const PROCESS: Names = Names {
    at_work: "process_at_work",
    waiting: "process_queue_mean",
    busy: "process_busy_s",
    blocked: "process_blocked_s",
    queue_behind: "store_queue",
    queue_before: "process_queue",
};
const STORE: Names = Names {
    at_work: "store_at_work",
    waiting: "store_queue_mean",
    busy: "store_busy_s",
    blocked: "store_blocked_s",
    queue_behind: "",
    queue_before: "store_queue",
};

impl Stage {
    fn new(
        r: &Recorder,
        names: &'static Names,
        input: Receiver<Item>,
        output: Option<Sender<Item>>,
    ) -> Stage {
        let r = r.clone();
        Stage {
            r,
            names,
            input,
            output,
            at_work: Arc::default(),
        }
    }

    /// What can be seen of it from outside, without keeping its queue open.
    fn look(&self) -> (&'static Names, Arc<AtomicUsize>, WeakReceiver<Item>) {
        (self.names, self.at_work.clone(), self.input.downgrade())
    }

    /// The next item that somebody still waits for; `None` when there will be none.
    async fn take(&self) -> Option<Item> {
        loop {
            let item = self.input.recv().await.ok()?;
            if !self.names.queue_before.is_empty() {
                let length = self.input.len() as f64;
                self.r
                    .trace(self.names.queue_before, Instant::now(), length);
            }
            if !item.0.is_closed() {
                return Some(item);
            }
        }
    }

    /// A worker begins to work on an item.
    fn begins(&self) -> Instant {
        self.at_work.fetch_add(1, Ordering::Relaxed);
        Instant::now()
    }

    fn worked(&self, since: Instant) {
        self.at_work.fetch_sub(1, Ordering::Relaxed);
        self.r
            .sample(self.names.busy, since.elapsed().as_secs_f64());
    }

    /// Waits for a place in the next queue: this is the back-pressure. Until then this worker takes
    /// no other item, and it is not busy.
    async fn pass_on(&self, item: Item, outcome: Outcome) {
        let Some(output) = self.output.as_ref().filter(|_| outcome == Outcome::Ok) else {
            // The end of the line, or of this item. Nobody may wait for it any more.
            let _ = item.0.send(outcome);
            return;
        };
        let finished = Instant::now();
        // It fails only when the next stage has gone, and the item's end is then dropped with it.
        let _ = output.send(item).await;
        self.r
            .sample(self.names.blocked, finished.elapsed().as_secs_f64());
        self.r
            .trace(self.names.queue_behind, Instant::now(), output.len() as f64);
    }
}

/// What can be seen of a stage, and how many workers it has.
type Look = (
    (&'static Names, Arc<AtomicUsize>, WeakReceiver<Item>),
    usize,
);

/// Looks at all stages about once a millisecond, as a monitor in production would: how many of their
/// workers work, and how many items wait. It reads no clock of theirs. Sleeps end late by a little, so
/// that the looks do not keep step with what they look at.
struct Watch {
    r: Recorder,
    over: Arc<AtomicBool>,
    thread: thread::JoinHandle<Vec<(&'static str, f64)>>,
}

impl Watch {
    fn begin(r: &Recorder, stages: Vec<Look>) -> Watch {
        let over = Arc::new(AtomicBool::new(false));
        let ends = over.clone();
        Watch {
            r: r.clone(),
            over,
            thread: thread::spawn(move || watch(&stages, &ends)),
        }
    }

    fn end(self) -> Result<()> {
        self.over.store(true, Ordering::Relaxed);
        let seen = self.thread.join();
        let seen = seen.map_err(|_| anyhow::anyhow!("the thread that looks panicked"))?;
        for (name, mean) in seen {
            self.r.gauge(name, mean);
        }
        Ok(())
    }
}

/// What was seen on average. A late look stands for the longer time before it.
fn watch(stages: &[Look], over: &AtomicBool) -> Vec<(&'static str, f64)> {
    let look = |((names, at_work, queue), width): &Look| {
        let share = at_work.load(Ordering::Relaxed) as f64 / *width as f64;
        let waiting = queue.upgrade().map_or(0.0, |queue| queue.len() as f64);
        [(names.at_work, share), (names.waiting, waiting)]
    };
    let all = || stages.iter().flat_map(look);
    let begin = Instant::now();
    let (mut at, mut last) = (begin, all().collect::<Vec<_>>());
    let mut areas = vec![0.0; last.len()];
    while !over.load(Ordering::Relaxed) {
        thread::sleep(Duration::from_millis(1));
        let (now, seen) = (Instant::now(), all().collect::<Vec<_>>());
        let passed = (now - at).as_secs_f64();
        for (area, (before, after)) in areas.iter_mut().zip(last.iter().zip(&seen)) {
            *area += passed * (before.1 + after.1) / 2.0;
        }
        (at, last) = (now, seen);
    }
    let took = (at - begin).as_secs_f64();
    let means = last
        .iter()
        .zip(areas)
        .map(|((name, _), area)| (*name, area / took));
    // Nothing waits before the first stage but what is left to do.
    means.filter(|(name, _)| !name.is_empty()).collect()
}

/// A route with slots for everybody: the width is the pipeline's to choose.
fn route(path: &str, service: &ServiceTime) -> Route {
    Route {
        slots: Slots::Own {
            slots: MAX_SLOTS,
            queue: None,
        },
        ..Route::new(path, service.clone())
    }
}

/// Requests one after another, with nothing else going on: what does one cost besides its service?
async fn one_by_one(r: &Recorder, requests: usize) -> Result<()> {
    let service = r
        .upstream(Spec::new(MAX_SLOTS, ServiceTime::Constant(REQUEST)))
        .await?;
    let client = http::client();
    r.connect(&client, &service, 1).await?;
    for _ in 0..requests {
        let start = Instant::now();
        let _ = ask(&client.get(service.url())).await;
        r.sample("request_s", start.elapsed().as_secs_f64());
    }
    Ok(())
}

/// The process stage without the others: what are workers beyond the processors good for?
fn only_process(r: &Recorder, threads: usize, jobs: usize, job: Job, cost: Duration) -> Result<()> {
    let pool = rayon::ThreadPoolBuilder::new()
        .num_threads(threads)
        .build()?;
    let start = Instant::now();
    pool.install(|| {
        let one_by_one = (0..jobs).into_par_iter().with_max_len(1);
        one_by_one.for_each(|_| job.run(cost));
    });
    r.wall(start.elapsed());
    r.gauge("jobs", jobs as f64);
    Ok(())
}

/// The same pipeline, or any other, on no clock and no processor.
fn in_virtual_time(r: &Recorder, stages: &Stages, n: usize, queue: usize, seed: u64) -> Result<()> {
    let run = simulate(&stages.stations(queue), n, seed);
    let run = run.ok_or_else(|| anyhow::anyhow!("{stages} cannot be simulated"))?;
    r.gauge("makespan_s", run.makespan);
    for (step, usage) in stages.0.iter().zip(&run.stations) {
        let per_item = |sum: f64| sum / n as f64;
        r.gauge(&format!("{}_busy_s", step.name), per_item(usage.busy));
        r.gauge(&format!("{}_blocked_s", step.name), per_item(usage.blocked));
        r.gauge(&format!("{}_queue_mean", step.name), usage.mean_queue);
    }
    Ok(())
}
