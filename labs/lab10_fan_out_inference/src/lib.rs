//! # Fan-out and inference
//!
//! ## The question
//!
//! Three sources, then inference: what decides how long it takes?
//!
//! ## What to predict
//!
//! An answer needs the weather, the news and something from a knowledge base. Each is fetched from
//! a service of its own, and a model then computes for a while over each text. The fetches take
//! {weather}, {news} and {knowledge} (`f`), the inferences {infer} (`p`). They may run one after
//! another, in two phases, or each inference may begin when its text is there. Write down the time
//! of each, for the processors you have.
//!
//! Then two disturbances. One source fails: what is left of the answer? And a share of {slow-share}
//! of the fetches is {slow-factor} times as slow as usual: how many answers are slow, and how many
//! remain if a second request is sent for every fetch that is late?
//!
//! ## The experiment
//!
//! - **One after another**: fetch, infer, fetch, infer.
//! - **All fetches, then all inferences**, on a pool.
//! - **Each as it arrives, on the event loop**, and **each as it arrives, on the pool**.
//! - The last one again with a source that fails, once with `try_join_all`, once with `join_all`.
//! - The two ways with a pool again, but with `sleep` for inference and a thread for each source:
//!   as if there were a processor for each.
//! - Many answers side by side from services with a slow tail, without and with a second request.
//!
//! Inference is real computation, a fixed amount of it.
//!
//! ## What the figures show
//!
//! One after another costs the sum of everything. Fetching together turns the sum of the fetches
//! into the longest of them. The inferences are computation, so a pool divides them by the
//! processors there are and not by their number.
//!
//! Whether it helps to begin each inference as its text arrives depends on what is scarce. With a
//! processor for each source the end is the critical path, the longest `f + p`; with equal `p` that
//! is the slowest fetch and its inference, exactly what two phases take, and overlap gains nothing.
//! With fewer processors it gains, since they begin to work when the *first* text is there, not the
//! last: list scheduling in the order of arrival (Graham 1966). Inference on the event loop is the
//! same schedule with one processor: fetches go on while it computes, because the network needs no
//! thread, but no two inferences overlap. A text that comes meanwhile lies there unseen: its fetch
//! seems to last until the loop has computed.
//!
//! `try_join_all` gives up with the first error. The two good parts are thrown away, and an
//! inference that has begun computes to its end for nobody: dropping a future stops what it awaits,
//! not what a thread does. One that has not begun finds its caller gone and need not begin.
//! `join_all` with a `Result` for each source answers with two parts of three. When the workers
//! have all processors, the error is also noticed late: the event loop needs one, too, and may wait
//! for it as long as a time slice of the operating system.
//!
//! A share `t` of slow fetches is a share `1 − (1 − t)³` of slow answers: the more an answer needs,
//! the more often one of it is slow. A second request sent to what is late leaves only those that
//! are slow twice, `t²`, for a share `t` of additional requests (Dean and Barroso 2013).
//!
//! ## A common belief
//!
//! *Fetches that are async and inferences in a pool overlap.* Not by themselves. The program that
//! fetches everything and then infers has both, and the overlap of its fetches and inferences is
//! zero, as the first figure shows. Nor is overlap always a gain: where inferences are equal and
//! each has a processor, beginning early ends no sooner. The arms that sleep show that on any
//! machine, because a sleeping inference needs no processor. `--scale full` has the times of the
//! lab notes that this suite grew from, which give 0.9 s for the two phases with a worker for each
//! inference (lab notes). Inferences that compute take longer than that on fewer processors, and
//! there the early beginning gains.
//!
//! ## In production
//!
//! Put fetch and inference of one source into one future and join those, so that no phase waits for
//! another one's slowest. Give the pool as many threads as there are processors. Begin with what
//! takes longest when you can choose. Return a `Result` for each part and decide at the top what an
//! answer may lack; log what it lacked. Check on a worker whether anybody still waits before it
//! begins. The second request is called a *hedge*. Hedge only what may be done twice, after the
//! 90th to 95th percentile, and never when the service is slow because it is overloaded: a budget
//! for hedges (a small share of all requests) keeps them from making it worse. A cancelled HTTP/1.1
//! request costs its connection, and the server usually works on.
//!
//! ## Check yourself
//!
//! - Which arm gains from a second processor, which from a third, which from a fourth?
//! - Suppose the news take longest to fetch, and their inference is the cheapest. Does overlap gain
//!   anything now, with a processor for each source?
//! - An answer needs a hundred sources, and `t = 0.01`. How many answers are slow, and how many
//!   with a second request?
//! - Why must the two requests of a hedge not go to the same machine?

use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};

use anyhow::ensure;
use clap::ValueEnum;
use futures_util::future::{join_all, try_join_all};
use lab_kit::accounts::Fate;
use lab_kit::load::Failure;
use lab_kit::{address, host, prelude::*};
use mock_server::{By, Every, Faults, MAX_SLOTS, Route, Slots, Tail};
use rayon::{ThreadPool, ThreadPoolBuilder};
use tokio::runtime::Builder;
use tokio::sync::oneshot;

mod findings;
mod premise;

/// The constants of the experiment.
#[derive(Args, Debug, Serialize, Deserialize)]
pub struct Params {
    /// Time the weather service takes
    #[arg(long, default_value = "30ms")]
    pub weather: Time,
    /// Time the news service takes
    #[arg(long, default_value = "40ms")]
    pub news: Time,
    /// Time the knowledge base takes
    #[arg(long, default_value = "25ms")]
    pub knowledge: Time,
    /// Cost of an inference on a processor of its own: one for all, or three with commas (weather, news, knowledge)
    #[arg(long, value_delimiter = ',', default_value = "50ms")]
    pub infer: Vec<Time>,
    /// What stands for inference: `sleep` needs no processor and shows what many of them would give
    #[arg(long, value_enum, default_value_t = Work::Spin)]
    pub work: Work,
    /// Threads of the pool that infers [default: one for each processor]
    #[arg(long, default_value_t = host::cores().min(MOST_WORKERS), hide_default_value = true, value_parser = workers)]
    pub workers: usize,
    /// The source that fails in the arms where one does
    #[arg(long, value_enum, default_value_t = Which::News)]
    pub failing: Which,
    /// Usual time of a fetch from the services with a slow tail
    #[arg(long, default_value = "20ms")]
    pub usual: Time,
    /// Share of their fetches that is slow: t
    #[arg(long, default_value_t = 0.1, value_parser = share)]
    pub slow_share: f64,
    /// How many times slower those are
    #[arg(long, default_value_t = 5.0, value_parser = factor)]
    pub slow_factor: f64,
    /// A second request is sent when there is no answer after this
    #[arg(long, default_value = "35ms")]
    pub hedge_after: Time,
    /// Clients that ask those services side by side
    #[arg(long, default_value_t = 64, value_parser = level)]
    pub clients: usize,
    /// Answers they ask for in all
    #[arg(long, default_value_t = 600, value_parser = count)]
    pub answers: usize,
}

/// What stands for computation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Work {
    /// Real computation.
    Spin,
    /// A sleeping thread: the classic stand-in.
    Sleep,
}

/// The sources.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Which {
    /// The weather.
    Weather,
    /// The news.
    News,
    /// The knowledge base.
    Knowledge,
}

const MOST_WORKERS: usize = 256;

fn workers(text: &str) -> Result<usize, String> {
    whole(text, 1..=MOST_WORKERS)
}

fn share(text: &str) -> Result<f64, String> {
    within(text, 0.0..=0.5, "a share from 0 to 0.5")
}

fn factor(text: &str) -> Result<f64, String> {
    within(text, 1.0..=100.0, "a factor from 1 to 100")
}

/// One source of the answer.
#[derive(Clone, Copy, Debug)]
struct Source {
    name: &'static str,
    fetch: Duration,
    infer: Duration,
    fails: bool,
}

impl Params {
    /// The sources, in the order in which the program names them.
    fn sources(&self) -> [Source; 3] {
        let infer = |i: usize| self.infer[i.min(self.infer.len() - 1)].duration();
        let source = |i, name, fetch: Time| Source {
            name,
            fetch: fetch.duration(),
            infer: infer(i),
            fails: false,
        };
        [
            source(0, "weather", self.weather),
            source(1, "news", self.news),
            source(2, "knowledge", self.knowledge),
        ]
    }

    fn with_one_failing(&self) -> [Source; 3] {
        let mut sources = self.sources();
        sources[self.failing as usize].fails = true;
        sources
    }

    /// A service for each source, and an error for every path that ends in a number.
    fn services(&self) -> Spec {
        let own = Slots::Own {
            slots: MAX_SLOTS,
            queue: None,
        };
        let route = |s: Source| Route {
            slots: own,
            ..Route::new(format!("/{}", s.name), ServiceTime::Constant(s.fetch))
        };
        let error = Every {
            nth: 1,
            status: 500,
            by: By::Item,
        };
        Spec {
            routes: self.sources().map(route).into(),
            faults: Faults {
                every: vec![error],
                ..Faults::default()
            },
            ..Spec::new(1, ServiceTime::Constant(Duration::ZERO))
        }
    }

    /// A fetch this long has met the slow tail, and so has its second request if there was one:
    /// half way between the answer to a second request and a slow one.
    fn slow_from(&self) -> Duration {
        let (usual, after) = (self.usual.duration(), self.hedge_after.duration());
        (usual + after + usual.mul_f64(self.slow_factor)) / 2
    }

    fn tail(&self) -> Tail {
        Tail {
            probability: self.slow_share,
            factor: self.slow_factor,
        }
    }
}

/// lab10.
pub struct FanOutInference;

impl Lab for FanOutInference {
    type Params = Params;

    const CARD: Card = Card {
        number: 10,
        name: "fan_out_inference",
        title: "Fan-out and inference",
        question: "Three sources, then inference: what decides how long it takes?",
        predict: &[
            Question {
                key: "gain",
                ask: "Fetches of {weather}, {news} and {knowledge}, inferences of {infer}. All fetches and then all inferences on a pool of threads (here {workers}), against each inference as soon as its text is there: how much sooner does the second one end?",
                unit: "ms",
                hint: "1 to 500",
            },
            Question {
                key: "slow",
                ask: "A share of {slow-share} of the fetches is slow, and an answer needs three fetches. A second request is sent for each fetch that is late. What share of the answers is still slow?",
                unit: "%",
                hint: "0 to 30",
            },
        ],
        next: &[
            (
                "cargo run --release --bin lab10 -- --work sleep --workers 3",
                "a processor for each source: what does overlap still gain?",
            ),
            (
                "cargo run --release --bin lab10 -- --infer 80ms,20ms,50ms --workers 3",
                "the slowest source has the cheapest inference: the critical path is another one",
            ),
            (
                "cargo run --release --bin lab10 -- --hedge-after 5ms",
                "a second request for everything: what does it gain, and what does it cost?",
            ),
        ],
        sources: lab_kit::sources!["lib.rs"],
        answers: include_str!("../answers.md"),
        sizes: Sizes {
            smoke: &[
                "--weather",
                "6ms",
                "--news",
                "8ms",
                "--knowledge",
                "5ms",
                "--infer",
                "5ms",
                "--usual",
                "5ms",
                "--hedge-after",
                "9ms",
                "--clients",
                "8",
                "--answers",
                "24",
            ],
            full: &[
                "--weather",
                "300ms",
                "--news",
                "400ms",
                "--knowledge",
                "250ms",
                "--infer",
                "500ms",
                "--answers",
                "2000",
            ],
            trials: (3, 5),
        },
    };

    fn check(p: &Params) -> Result<(), String> {
        if p.infer.len() != 1 && p.infer.len() != 3 {
            return Err("--infer takes one cost for all sources, or three with commas".into());
        }
        let sources = p.sources();
        let shortest = sources.iter().map(|s| s.fetch.min(s.infer)).min();
        if shortest.is_none_or(|t| t < Duration::from_millis(2)) {
            return Err(
                "fetches and --infer must be 2 ms or more: timers tick in milliseconds".into(),
            );
        }
        let (usual, after) = (p.usual.s(), p.hedge_after.s());
        if usual < 1e-3 {
            return Err("--usual must be 1 ms or more: timers tick in milliseconds".into());
        }
        let slow = usual * p.slow_factor;
        if slow < usual + after + 5e-3 {
            return Err(format!(
                "a second request can win nothing: sent after {} it ends at {} at best, and a slow first one at {}; a shorter --hedge-after or a larger --slow-factor",
                p.hedge_after,
                seconds(usual + after),
                seconds(slow)
            ));
        }
        Ok(())
    }

    fn needs(p: &Params, extent: &Extent) -> Needs {
        let sources = p.sources();
        let fetches = sources.map(|s| s.fetch.as_secs_f64());
        let inferences = sources.map(|s| s.infer.as_secs_f64());
        let (fetched, inferred): (f64, f64) = (fetches.iter().sum(), inferences.iter().sum());
        let longest = |all: [f64; 3]| all.into_iter().fold(0.0, f64::max);
        let (last, slowest) = (longest(fetches), longest(inferences));
        let width = match p.work {
            Work::Spin => needs::processors(p.workers),
            Work::Sleep => p.workers as f64,
        };
        let on_pool = (inferred / width).max(slowest);
        let arms = [
            fetched + inferred,
            last + on_pool,
            last + inferred,
            last + on_pool,
            // What computes for nobody is awaited.
            last + on_pool,
            last + on_pool,
            last + slowest,
            last + slowest,
        ];
        let one = arms.iter().map(|arm| arm + 0.03).sum::<f64>();
        let slow = p.usual.s() * p.slow_factor;
        let mean = p.usual.s() + (1.0 - (1.0 - p.slow_share).powi(3)) * (slow - p.usual.s());
        let turns = p.answers.div_ceil(p.clients) as f64;
        let mut sweep = extent.sweep();
        let both = [3.0, 3.0 * if p.hedge_after < p.usual { 2.0 } else { 1.2 }];
        let fit = !extent.that_fit(&[6 * p.clients]).is_empty();
        for requests in both.into_iter().filter(|_| fit) {
            let sent = p.answers as f64 * requests * needs::REQUEST_S;
            let asked = (turns * mean + slow).max(sent);
            sweep.steady(3 * p.clients, asked + needs::connected(3 * p.clients));
        }
        Needs {
            seconds: extent.times() * one + sweep.seconds(),
            memory: (6 * p.clients) as f64 * needs::CONNECTION_B + p.answers as f64 * 200.0,
            less: "shorter fetches, a shorter --infer, fewer --answers or more --clients",
            ..Needs::default()
        }
    }

    fn measure(p: &Params, session: &mut Session) -> Result<()> {
        let kernel = Kernel::calibrate();
        let workers = &Workers::new(p.workers, p.work, kernel)?;
        let sleepers = &Workers::new(3, Work::Sleep, kernel)?;
        let (sources, one_fails) = (p.sources(), p.with_one_failing());
        let can_fail = session.target.is_none();
        if !can_fail {
            session.note("a target cannot be asked to fail: no arms with a failing source");
        }

        let mut plan = session.plan();
        plan.point("one_after_another", 0.0, |r| {
            answer(r, p, workers, sources, one_after_another)
        });
        plan.point("phases", 0.0, |r| {
            answer(r, p, workers, sources, fetch_all_then_infer_all)
        });
        plan.point("on_the_loop", 0.0, |r| {
            answer(r, p, workers, sources, infer_each_on_the_loop)
        });
        plan.point("as_it_arrives", 0.0, |r| {
            answer(r, p, workers, sources, infer_each_as_it_arrives)
        });
        if can_fail {
            plan.point("all_or_nothing", 0.0, |r| {
                answer(r, p, workers, one_fails, all_or_nothing)
            });
            plan.point("degraded", 0.0, |r| {
                answer(r, p, workers, one_fails, infer_each_as_it_arrives)
            });
        }
        plan.point("slept/phases", 0.0, |r| {
            answer(r, p, sleepers, sources, fetch_all_then_infer_all)
        });
        plan.point("slept/as_it_arrives", 0.0, |r| {
            answer(r, p, sleepers, sources, infer_each_as_it_arrives)
        });
        plan.run()?;

        let asked = Asked {
            clients: p.clients,
            answers: p.answers,
            usual: p.usual.duration(),
            tail: p.tail(),
            slow_from: p.slow_from(),
        };
        if session.levels_that_fit(&[6 * p.clients]).is_empty() {
            return Ok(());
        }
        let runtime = lab_kit::host::runtime()?;
        let (in_flight, after) = (3 * p.clients, p.hedge_after.duration());
        let mut sweep = session.sweep();
        sweep.steady("tail/plain", 0.0, in_flight, move |r| ask(r, asked, None));
        sweep.steady("tail/hedged", 0.0, in_flight, move |r| {
            ask(r, asked, Some(after))
        });
        runtime.block_on(sweep.run())
    }

    fn may(_p: &Params, at: &Condition) -> &'static [Fate] {
        premise::may(at)
    }

    fn premise(p: &Params, at: &Condition, trial: &Trial) -> Result<(), String> {
        premise::premise(p, at, trial)
    }

    fn explain(p: &Params, summary: &Summary) -> Findings {
        findings::explain(p, summary)
    }
}

/// One part of the answer, or why it is missing.
type Part = Result<(), Outcome>;

async fn one_after_another(scene: &Scene) -> Vec<Part> {
    let mut parts = Vec::new();
    for source in &scene.sources {
        parts.push(scene.part(source).await);
        // Whoever does not answer is not asked again.
        if parts.last() == Some(&Err(Outcome::TimedOut)) {
            break;
        }
    }
    parts
}

// wrong(1): All fetches, then all inferences
/// Two phases: no inference begins before the last fetch has ended.
async fn fetch_all_then_infer_all(scene: &Scene) -> Vec<Part> {
    let texts = join_all(scene.sources.iter().map(|s| scene.fetch(s))).await;
    let inferences = scene
        .sources
        .iter()
        .zip(texts)
        .map(|(source, text)| async move {
            text?;
            scene.infer(source).await
        });
    join_all(inferences).await
}

/// Wrong: whoever computes on the event loop keeps it from everybody else.
async fn infer_each_on_the_loop(scene: &Scene) -> Vec<Part> {
    let parts = scene.sources.iter().map(|source| async {
        scene.fetch(source).await?;
        scene.infer_here(source);
        Ok(())
    });
    join_all(parts).await
}

// right(1): Each inference as its text arrives
// so(1): In two phases the first text lies idle until the last one has come. Where each source is
//     one future, its inference follows its own fetch.
// right(2): Each part has a result of its own
// so(2): `try_join_all` throws two good parts away. `join_all` with a `Result` for each answers
//     with what there is.
/// The right way: fetch and inference of one source are one future, and those run side by side.
/// When a source fails, its part is missing and the others are as they were.
async fn infer_each_as_it_arrives(scene: &Scene) -> Vec<Part> {
    join_all(scene.sources.iter().map(|s| scene.part(s))).await
}

// wrong(2): The first error ends everything
/// Wrong when a part less would do: the first error ends it all.
async fn all_or_nothing(scene: &Scene) -> Vec<Part> {
    let parts = scene.sources.iter().map(|s| scene.part(s));
    match try_join_all(parts).await {
        Ok(parts) => parts.into_iter().map(Ok).collect(),
        Err(first) => {
            let lost = Outcome::Failed(Failure::Other);
            vec![Err(first), Err(lost), Err(lost)]
        }
    }
}

/// What the arms work with.
struct Scene {
    r: Recorder,
    client: reqwest::Client,
    url: String,
    workers: Workers,
    sources: [Source; 3],
}

impl Scene {
    async fn part(&self, source: &Source) -> Part {
        self.fetch(source).await?;
        self.infer(source).await
    }

    async fn fetch(&self, source: &Source) -> Part {
        let number = if source.fails { "/1" } else { "" };
        let url = format!("{}/{}{number}", self.url, source.name);
        let start = Instant::now();
        let outcome = fetch(&self.client, &url).await;
        self.r.span("fetch", source.name, start, Instant::now());
        match outcome {
            Outcome::Ok => Ok(()),
            missing => Err(missing),
        }
    }

    /// On the pool. The event loop is free meanwhile.
    async fn infer(&self, source: &Source) -> Part {
        let (send, done) = oneshot::channel();
        let (r, workers, source) = (self.r.clone(), self.workers.clone(), *source);
        self.workers.pool.spawn(move || {
            // Nobody waits any more: the future that asked for this was dropped.
            if !send.is_closed() {
                r.work(source.name, || workers.compute(source.infer));
                let _ = send.send(());
            }
        });
        done.await.map_err(|_| Outcome::Failed(Failure::Other))
    }

    fn infer_here(&self, source: &Source) {
        let compute = || self.workers.compute(source.infer);
        self.r.work(source.name, compute);
    }
}

/// The pool that infers. Every job holds a clone.
#[derive(Clone)]
struct Workers {
    pool: Arc<ThreadPool>,
    work: Work,
    kernel: Kernel,
}

impl Workers {
    fn new(threads: usize, work: Work, kernel: Kernel) -> Result<Workers> {
        let pool = ThreadPoolBuilder::new()
            .num_threads(threads)
            .thread_name(|i| format!("worker {}", i + 1))
            .build()?;
        Ok(Workers {
            pool: Arc::new(pool),
            work,
            kernel,
        })
    }

    fn compute(&self, cost: Duration) {
        match self.work {
            Work::Spin => self.kernel.work(cost),
            Work::Sleep => std::thread::sleep(cost),
        }
    }
}

/// One answer of one arm, on one event loop.
fn answer(
    r: &Recorder,
    p: &Params,
    workers: &Workers,
    sources: [Source; 3],
    arm: impl AsyncFnOnce(&Scene) -> Vec<Part>,
) -> Result<()> {
    let runtime = Builder::new_current_thread().enable_all().build()?;
    let service = runtime.block_on(r.upstream(p.services()))?;
    let client = http::client();
    runtime.block_on(r.connect(&client, &service, sources.len()))?;
    let scene = Scene {
        r: r.clone(),
        client,
        url: service.url(),
        workers: workers.clone(),
        sources,
    };
    let idle = Arc::strong_count(&workers.pool);
    let (start, parts) = watched(r, &service, || {
        let start = Instant::now();
        (start, runtime.block_on(arm(&scene)))
    });
    let silent = parts.contains(&Err(Outcome::TimedOut));
    ensure!(!silent, no_answer(&service));
    let delivered = parts.iter().filter(|part| part.is_ok()).count();
    r.gauge("parts", delivered as f64);
    let fates = parts
        .into_iter()
        .map(|part| part.err().unwrap_or(Outcome::Ok));
    let tally = Tally::of(start, fates);
    r.gauge("begun_s", (start - r.origin()).as_secs_f64());
    // What computes for nobody ends before the next trial begins.
    runtime.block_on(async {
        while Arc::strong_count(&workers.pool) > idle {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    });
    r.tally(tally, &service)
}

/// No request of this lab gives up early: a server that lets one wait that long has stopped answering.
fn no_answer(service: &Service) -> String {
    format!(
        "{}: a request got no answer: does it still run, and is it held up by something?",
        address::shown(&service.url())
    )
}

/// Looks, from a thread of its own, how many answers the service has sent: an event loop that computes
/// does not see them come.
fn watched<T>(r: &Recorder, service: &Service, run: impl FnOnce() -> T) -> T {
    const NAP: Duration = Duration::from_millis(1);
    let sent = || service.counters().map(|c| c.served);
    let before = sent();
    let over = AtomicBool::new(false);
    let over = &over;
    std::thread::scope(|scope| {
        scope.spawn(move || {
            let mut seen = before;
            while !over.load(Relaxed) {
                std::thread::sleep(NAP);
                let now = sent();
                if let (Some(all), Some(first)) = (now.filter(|_| now != seen), before) {
                    r.trace("answered", Instant::now(), (all - first) as f64);
                    seen = now;
                }
            }
        });
        // Also when it panics, or nobody would ever stop looking.
        let _end = Ends(over);
        run()
    })
}

/// Says that it is over when it is dropped.
struct Ends<'a>(&'a AtomicBool);

impl Drop for Ends<'_> {
    fn drop(&mut self) {
        self.0.store(true, Relaxed);
    }
}

async fn fetch(client: &reqwest::Client, url: &str) -> Outcome {
    Outcome::of(http::get(client, url).await)
}

/// A second request when the first one is late; the first answer counts, and the other request is
/// dropped.
async fn hedged(client: &reqwest::Client, url: &str, after: Duration) -> Outcome {
    let mut first = pin!(fetch(client, url));
    tokio::select! {
        outcome = &mut first => return outcome,
        () = tokio::time::sleep(after) => {}
    }
    tokio::select! {
        outcome = first => outcome,
        outcome = fetch(client, url) => outcome,
    }
}

/// Clients that ask for answers of three fetches, one answer after another.
#[derive(Clone, Copy)]
struct Asked {
    clients: usize,
    answers: usize,
    usual: Duration,
    tail: Tail,
    slow_from: Duration,
}

async fn ask(r: Recorder, asked: Asked, hedge_after: Option<Duration>) -> Result<()> {
    let spec = Spec {
        seed: r.seed(),
        faults: Faults {
            tail: Some(asked.tail),
            ..Faults::default()
        },
        ..Spec::new(MAX_SLOTS, ServiceTime::Constant(asked.usual))
    };
    let service = r.upstream(spec).await?;
    let client = http::client();
    r.connect(&client, &service, 3 * asked.clients).await?;
    let url = service.url();
    let (books, load, silent) = (r.clone(), r.load(), Arc::new(AtomicBool::new(false)));
    let heard_nothing = silent.clone();
    let one_answer = move |_| {
        let (r, client, url) = (books.clone(), client.clone(), url.clone());
        let silent = heard_nothing.clone();
        let source = async move || {
            let start = Instant::now();
            let outcome = match hedge_after {
                None => fetch(&client, &url).await,
                Some(after) => hedged(&client, &url, after).await,
            };
            (outcome, start.elapsed() >= asked.slow_from)
        };
        async move {
            if silent.load(Relaxed) {
                return Outcome::TimedOut;
            }
            let parts = join_all([source(), source(), source()]).await;
            let nothing = |(outcome, _): &(Outcome, bool)| *outcome == Outcome::TimedOut;
            silent.fetch_or(parts.iter().any(nothing), Relaxed);
            let slow = parts.iter().filter(|(_, slow)| *slow).count();
            r.sample("slow_fetches", slow as f64 / 3.0);
            r.sample("slow_answers", f64::from(slow > 0));
            let bad = parts.iter().find(|(outcome, _)| *outcome != Outcome::Ok);
            bad.map_or(Outcome::Ok, |(outcome, _)| *outcome)
        }
    };
    let load = load.shared(asked.clients, asked.answers, asked.usual, one_answer);
    let tally = load.await;
    ensure!(!silent.load(Relaxed), no_answer(&service));
    r.tally(tally, &service)
}
