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
    Arc, Barrier,
    atomic::{AtomicUsize, Ordering},
};

use clap::ValueEnum;
use lab_kit::{host, os, prelude::*, stats};
use mock_server::MAX_SLOTS;
use tokio::runtime::Builder;
use tokio::task::JoinSet;

mod findings;
mod premise;

/// The constants of the experiment.
#[derive(Args, Debug, Serialize, Deserialize)]
pub struct Params {
    /// Numbers of workers to try, with commas [default: from 1 to four times the processors]
    #[arg(long, value_delimiter = ',', value_parser = workers, default_values_t = levels(), hide_default_value = true)]
    pub workers: Vec<usize>,
    /// Cost of an item of pure computation on a processor of its own: p
    #[arg(long, default_value = "10ms")]
    pub cost: Time,
    /// What stands for computation: `sleep` needs no processor
    #[arg(long, value_enum, default_value_t = Work::Spin)]
    pub work: Work,
    /// Mean cost of an item of a worker that also waits (exponential)
    #[arg(long, default_value = "2ms")]
    pub mixed_cost: Time,
    /// How many times longer such a worker waits on average (exponential): w/p
    #[arg(long, default_value_t = 2.0, value_parser = ratio)]
    pub ratio: f64,
    /// Time of a fetch: f
    #[arg(long, default_value = "40ms")]
    pub fetch: Time,
    /// Limit of fetches under way while workers vary
    #[arg(long, default_value_t = 5, value_parser = workers)]
    pub io: usize,
    /// Workers while the limit of fetches varies
    #[arg(long, default_value_t = 3, value_parser = workers)]
    pub cpu: usize,
    /// Limits of fetches to try, with commas
    #[arg(long, value_delimiter = ',', value_parser = workers, default_value = "2,5,12")]
    pub ios: Vec<usize>,
    /// Workers behind the fetches to try, with commas
    #[arg(long, value_delimiter = ',', value_parser = workers, default_value = "1,2,4")]
    pub cpus: Vec<usize>,
    /// How long a trial of one condition is to take, at the least
    #[arg(long, default_value = "60ms")]
    pub window: Time,
}

/// What stands for computation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Work {
    /// Real computation.
    Spin,
    /// A sleeping thread.
    Sleep,
}

const MOST_WORKERS: usize = 1024;
/// Parts of an item of pure computation.
const PARTS: usize = 10;
/// Places between fetching and computing.
const CHANNEL: usize = 4;

fn workers(text: &str) -> Result<usize, String> {
    whole(text, 1..=MOST_WORKERS)
}

fn ratio(text: &str) -> Result<f64, String> {
    let ratio = text
        .trim()
        .parse()
        .ok()
        .filter(|r| (0.1..=50.0).contains(r));
    ratio.ok_or_else(|| "expected a ratio from 0.1 to 50".into())
}

/// 1, P/2, P, 2P, 4P.
fn levels() -> Vec<usize> {
    let p = host::cores().min(MOST_WORKERS / 4);
    let mut levels = vec![1, p.div_ceil(2), p, 2 * p, 4 * p];
    levels.sort_unstable();
    levels.dedup();
    levels
}

impl Params {
    fn wait(&self) -> Duration {
        self.mixed_cost.duration().mul_f64(self.ratio)
    }

    /// The workers that the rule `P·(1 + w/p)` asks for.
    fn rule(&self, cores: usize) -> usize {
        (cores as f64 * (1.0 + self.ratio)).round() as usize
    }

    /// Numbers of workers that also wait: as of the others, and the rule's.
    fn mixed_levels(&self, cores: usize) -> Vec<usize> {
        let mut levels = self.workers.clone();
        levels.push(self.rule(cores).min(MOST_WORKERS));
        levels.sort_unstable();
        levels.dedup();
        levels
    }

    /// Processors' worth of work that so many workers get.
    fn width(&self, host: &host::Host, workers: usize) -> f64 {
        match self.work {
            Work::Spin => host.width(workers),
            Work::Sleep => workers as f64,
        }
    }

    /// Items of pure computation for all workers together: two windows of them, and two for each.
    fn together(&self, host: &host::Host, workers: usize) -> usize {
        let fit = 2.0 * self.window.s() * self.width(host, workers) / self.cost.s();
        (fit.round() as usize).max(2 * workers)
    }

    /// Items for each worker that also waits: three windows, since their times are random.
    fn turns(&self, host: &host::Host, workers: usize) -> usize {
        let (p, w) = (self.mixed_cost.s(), self.wait().as_secs_f64());
        let turn = (p + w).max(p * workers as f64 / self.width(host, workers));
        (3.0 * self.window.s() / turn).round().max(4.0) as usize
    }

    /// Items that go through fetching and computing in about a window, after the first one: whole
    /// rounds of fetches.
    fn items(&self, host: &host::Host, io: usize, cpu: usize) -> usize {
        let rate = (io as f64 / self.fetch.s()).min(self.width(host, cpu) / self.cost.s());
        let rounds = (2.0 * self.window.s() * rate / io as f64).round().max(2.0);
        1 + io * rounds as usize
    }
}

/// lab11.
pub struct WorkerLimits;

impl Lab for WorkerLimits {
    type Params = Params;

    const CARD: Card = Card {
        number: 11,
        name: "worker_limits",
        title: "Worker limits",
        question: "How many fetches, how many workers?",
        predict: &[
            Question {
                key: "pure",
                ask: "Pure computation on this machine: the smallest number of workers that reaches the full throughput?",
                unit: "workers",
                hint: "1 to 4 times the processors",
            },
            Question {
                key: "mixed",
                ask: "Workers wait {ratio} times as long as they compute. For each processor there are 1 + {ratio} of them, which would just keep it busy if all took turns. What share of the processors do they keep busy?",
                unit: "%",
                hint: "30 to 100",
            },
        ],
        next: &[
            (
                "cargo run --release --bin lab11 -- --work sleep",
                "sleep for computation: every worker seems to help",
            ),
            (
                "cargo run --release --bin lab11 -- --ratio 5",
                "work that mostly waits: where is the best number now?",
            ),
            (
                "cargo run --release --bin lab11 -- --fetch 100ms --ios 5,10,20,40",
                "a slower service: which limit has to grow?",
            ),
        ],
        sources: lab_kit::sources!["lib.rs"],
        answers: include_str!("../answers.md"),
        sizes: Sizes {
            smoke: &[
                "--cost",
                "2ms",
                "--mixed-cost",
                "1ms",
                "--fetch",
                "5ms",
                "--ios",
                "1,5",
                "--cpus",
                "1",
                "--window",
                "10ms",
            ],
            full: &["--window", "400ms"],
            trials: (4, 5),
        },
    };

    fn check(p: &Params) -> Result<(), String> {
        if p.cost.s() < 1e-3 || p.mixed_cost.s() < 5e-4 {
            return Err("--cost must be 1 ms or more and --mixed-cost 0.5 ms: below that this measures the switches themselves".into());
        }
        if p.fetch.s() < 5e-3 {
            return Err("--fetch must be 5 ms or more: timers tick in milliseconds".into());
        }
        Ok(())
    }

    fn needs(p: &Params, extent: &Extent) -> Needs {
        let (window, cost) = (p.window.s(), p.cost.s());
        let width = |workers: usize| match p.work {
            Work::Spin => needs::processors(workers),
            Work::Sleep => workers as f64,
        };
        let pure = |w: &usize| (2.0 * window).max(2.0 * *w as f64 * cost / width(*w));
        let turn = |w: usize| {
            let (p, wait) = (p.mixed_cost.s(), p.wait().as_secs_f64());
            (p + wait).max(p * w as f64 / width(w))
        };
        // Times are random: the others wait for the last worker.
        let mixed = |w: usize| turn(w) + 1.4 * (3.0 * window).max(4.0 * turn(w));
        let both = |io: usize, cpu: usize| {
            let each = (p.fetch.s() / io as f64).max(cost / width(cpu)) + needs::REQUEST_S;
            (2.0 * window).max(2.0 * io as f64 * each) + 2.0 * p.fetch.s() + needs::connected(io)
        };
        let levels = p.mixed_levels(host::cores());
        // To start so many threads takes its time as well.
        let all = p.workers.iter().chain(&levels).chain(&p.cpus);
        let threads = all.sum::<usize>() + p.cpu * p.ios.len();
        let round = p.workers.iter().map(pure).sum::<f64>()
            + levels.into_iter().map(mixed).sum::<f64>()
            + extent
                .that_fit(&p.ios)
                .into_iter()
                .map(|io| both(io, p.cpu))
                .sum::<f64>()
            + p.cpus.iter().map(|cpu| both(p.io, *cpu)).sum::<f64>();
        Needs {
            seconds: extent.times() * (round + 1e-4 * threads as f64 + 0.1),
            less: "a shorter --window, --cost or --mixed-cost, or fewer --workers",
            ..Needs::default()
        }
    }

    fn measure(p: &Params, session: &mut Session) -> Result<()> {
        let kernel = Kernel::calibrate();
        let compute = |cost: Duration| match p.work {
            Work::Spin => kernel.work(cost),
            Work::Sleep => std::thread::sleep(cost),
        };
        let (host, cost) = (session.host.clone(), p.cost.duration());
        let room = session.levels_that_fit(&p.ios);

        let mut plan = session.plan();
        for w in p.workers.clone() {
            let items = p.together(&host, w);
            plan.point("pure", w as f64, move |r| {
                pure(r, w, items, || compute(cost / PARTS as u32))
            });
        }
        for w in p.mixed_levels(host.cores) {
            let turns = p.turns(&host, w);
            plan.point("mixed", w as f64, move |r| mixed(r, p, w, turns, compute));
        }
        for io in room {
            let items = p.items(&host, io, p.cpu);
            plan.point("io", io as f64, move |r| {
                two_limits(r, p, (io, p.cpu), items, compute)
            });
        }
        for cpu in p.cpus.clone() {
            let items = p.items(&host, p.io, cpu);
            plan.point("cpu", cpu as f64, move |r| {
                two_limits(r, p, (p.io, cpu), items, compute)
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

/// `W` threads that only compute. They take parts of items from one pot, so that all are done
/// within a part of each other: a rate for each worker, added up, would count those in front with
/// the time they had and not with the time they left to the others.
fn pure(r: &Recorder, w: usize, items: usize, part: impl Fn() + Sync) -> Result<()> {
    let left = AtomicUsize::new(items * PARTS);
    let take = |n: usize| n.checked_sub(1);
    let start = Instant::now();
    crew(r, w, |_| {
        let (mut parts, mut begin) = (0, Instant::now());
        while left
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, take)
            .is_ok()
        {
            part();
            parts += 1;
            if parts % PARTS == 0 {
                r.sample("item_s", begin.elapsed().as_secs_f64());
                begin = Instant::now();
            }
        }
        parts as f64 / PARTS as f64
    });
    let wall = start.elapsed();
    r.gauge("per_s", items as f64 / wall.as_secs_f64());
    r.wall(wall);
    Ok(())
}

/// Who is done goes on, uncounted, until all are: the others are to have its company to the end.
fn in_company(unfinished: &AtomicUsize, mut work: impl FnMut()) -> usize {
    unfinished.fetch_sub(1, Ordering::Relaxed);
    let mut more = 0;
    while unfinished.load(Ordering::Relaxed) > 0 {
        work();
        more += 1;
    }
    more
}

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
            std::thread::sleep(Duration::from_secs_f64(wait));
            r.sample("late_s", begin.elapsed().as_secs_f64() - wait);
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
        r.sample("worker_per_s", turns as f64 / begin.elapsed().as_secs_f64());
        let next = || {
            all.by_ref()
                .take(1)
                .for_each(|(wait, cost)| turn(wait, cost))
        };
        (1 + turns + in_company(&unfinished, next)) as f64
    });
    r.wall(start.elapsed());
    Ok(())
}

// right: A limit for each
// so: In one pool somebody has to guess how much of the time a worker waits. With two limits
//     each is sized by what it limits.
/// Two limits: fetches under way on the event loop, and workers that never wait for a fetch.
fn two_limits(
    r: &Recorder,
    p: &Params,
    (io, cpu): (usize, usize),
    items: usize,
    compute: impl Fn(Duration) + Sync,
) -> Result<()> {
    let runtime = Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build()?;
    let spec = Spec::new(MAX_SLOTS, ServiceTime::Constant(p.fetch.duration()));
    let service = Arc::new(runtime.block_on(r.upstream(spec))?);
    let client = http::client();
    runtime.block_on(r.connect(&client, &service, io))?;

    let (fetched, to_compute) = async_channel::bounded::<Outcome>(CHANNEL);
    let start = Instant::now();
    let next = Arc::new(AtomicUsize::new(0));
    let mut fetchers = JoinSet::new();
    for i in 0..io {
        let (client, service, fetched) = (client.clone(), service.clone(), fetched.clone());
        let (next, begin) = (
            next.clone(),
            start + p.fetch.duration() * i as u32 / io as u32,
        );
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
    let outcomes = std::sync::Mutex::new(Vec::new());
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
    let outcomes = outcomes.into_inner()?;
    // From the first item to the last: without what it takes to fill the line.
    if let [(first, _), .., (last, _)] = outcomes[..] {
        let rest = (outcomes.len() - 1) as f64;
        r.gauge("per_s", rest / (last - first).as_secs_f64());
    }
    r.gauge("items", outcomes.len() as f64);
    let fates = outcomes.into_iter().map(|(_, outcome)| outcome);
    r.tally(Tally::of(start, fates), &service)
}

async fn fetch(client: &reqwest::Client, url: String) -> Outcome {
    Outcome::of(http::get(client, url).await)
}

/// So many threads that begin together; each returns how many items it did. Notes what the
/// operating system did to them.
fn crew(r: &Recorder, threads: usize, work: impl Fn(usize) -> f64 + Sync) {
    let together = Barrier::new(threads);
    let body = |i| {
        together.wait();
        let before = os::context_switches();
        let items = work(i);
        let switches = before.zip(os::context_switches());
        (items, switches.map(|(a, b)| (b.0 - a.0, b.1 - a.1)))
    };
    let done: Vec<_> = std::thread::scope(|scope| {
        let body = &body;
        let threads: Vec<_> = (0..threads).map(|i| scope.spawn(move || body(i))).collect();
        threads
            .into_iter()
            .map(|t| t.join().expect("a worker panicked"))
            .collect()
    });
    let items: f64 = done.iter().map(|(items, _)| items).sum();
    let switches: Option<Vec<(u64, u64)>> = done.into_iter().map(|(_, s)| s).collect();
    if let Some(switches) = switches {
        let sum = |part: fn(&(u64, u64)) -> u64| switches.iter().map(part).sum::<u64>() as f64;
        r.gauge("voluntary_per_item", sum(|s| s.0) / items);
        r.gauge("forced_per_item", sum(|s| s.1) / items);
    }
}
