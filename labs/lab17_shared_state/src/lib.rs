//! # Shared state
//!
//! ## The question
//!
//! What goes wrong when workers share?
//!
//! ## What to predict
//!
//! As many threads as you have processors add one to the same counter, each as often as it can.
//! First each reads the counter, adds one and writes it back, with atomic operations. What share of
//! the updates is missing at the end? Then each thread gets a counter of its own, and these are
//! added up. How many times as many updates a second does that bring when the counters lie so far
//! apart that no two share a cache line, rather than side by side? (A *cache line* is the piece of
//! memory that a processor takes at a time.)
//!
//! ## The experiment
//!
//! - **Seven ways to count** (`counters.rs`): read then write, one atomic addition, mutex,
//!   read-write lock, counters side by side, counters apart, messages to an owner. With one thread
//!   and with {threads}; before and after each trial one thread counts alone, so that the speed-up
//!   is against the same minute. Every thread knows how many updates it made; what the counter says
//!   is held against that.
//! - **Real work and a lock**: items of computation that end in a shared sum, with the lock held for
//!   all of it, for a part, or for the addition only.
//! - **Programs that hang** (`programs.rs`): a lock held across an `.await`, two locks taken in two orders, and the
//!   right ways beside them. Each runs as a process of its own, for a thread that hangs cannot be
//!   ended, and says what it has and what it waits for. After a silence the watchdog ends it.
//! - **A model checker** (in the tests) runs the same `counters.rs` through every order in which its
//!   steps can happen.
//!
//! ## What the figures show
//!
//! *Read then write* is by far the fastest way to count, and wrong. With `n` threads of at least two
//! updates each the counter may end anywhere from 2 to the true number: the model checker finds the
//! 2. A timing shows what usually happens, never what can.
//!
//! *Correct* costs more than counting. What it costs is where the counter is. A processor may write
//! to a cache line only while no other processor has it. So the line travels. An atomic addition
//! takes many times as long as a plain one, and longer still when its line has to come from another
//! processor. Since there is one line, any number of threads get fewer of them than one thread
//! alone. A lock adds its own word to fight for, and threads that go to sleep and are woken. (Two
//! hardware threads of one core share its caches: between them a line need not travel.)
//!
//! Counters side by side are the same line again (*false sharing*): nothing is shared in the
//! program, everything in the machine. Apart they are as many times faster than one thread as there
//! are processors. The universal scalability law puts numbers to the curves: a contention `σ ≥ 1`
//! says that already the second thread costs more than it brings. It is a fit, and of few points:
//! it describes.
//!
//! With real work the time inside the lock decides. With a share `s` of each item inside, the lock
//! lets one item pass in `s` times its time: on `P` processors the speed-up is at most `min(P,
//! 1/s)`, if whoever is outside computes all the while. Amdahl's law, `1/(s + (1 - s)/P)`, is the
//! other end: nobody is outside while another is inside. The lab's theory is `min(P, 1/s)`: whoever
//! is outside computes on. The verdict says whether your run agrees. At `s = 1` both ends are one:
//! a lock held for everything is a queue with one server, however many threads.
//!
//! A hung program is silent and idle; it looks like one that waits for the network. A lock in Rust
//! hands out a *guard*, and stays taken until the guard is dropped. A task that keeps one across an
//! `.await` leaves the lock taken while it is away. The next task that wants the lock blocks its
//! *thread*, the very one that the first task would need to go on. On a runtime of many threads it
//! takes as many such tasks as threads, so it appears under load.
//!
//! ## A common belief
//!
//! *A race shows when the program is run.* It may not: a run that loses nothing proves nothing,
//! which is why the model checker is here. *A lock round each access is enough.* Read under one
//! lock and write under the next is the first counter again. *On an event loop nothing can come
//! between.* At every `.await` others move, and what was read before it may be old.
//!
//! ## In production
//!
//! First share less: a result per worker, put together at the end (rayon's `sum`), or one owner and
//! messages, in batches. A plain counter is one `fetch_add`, `Relaxed`; for one that everybody hits
//! all the time, counters apart. Everything larger is a `Mutex`, held for as few lines as possible
//! and never while computing, calling out or waiting. An `RwLock` is for reads that take long: even
//! readers write to its word. Two locks: one order for all, or one lock for both.
//!
//! In async code `std::sync::Mutex` is right when the guard ends before the next `.await`; else
//! `tokio::sync::Mutex`. Let the tools find it: `clippy::await_holding_lock`, `loom` or `shuttle`
//! for the interleavings, ThreadSanitizer for `unsafe`. Pad by measurement only: cache lines of its
//! own for each counter are a poor trade where nothing contends.
//!
//! ## Check yourself
//!
//! - Two threads add one twice each, reading then writing. Write down the order that ends in 2.
//! - Why does one thread *alone* lose nothing, and why may a machine with one processor still lose?
//! - Twice the threads as processors, one shared atomic counter: why is it not slower than with `P`?
//! - Suppose an item takes 10 ms, 1 ms of them inside a lock, and there are 16 processors. Which
//!   speed-up? What if the 1 ms becomes 2 ms?
//! - Why does the compiler refuse `tokio::spawn` of a task that holds a `MutexGuard` across an
//!   `.await`, and why does that not help here?

use std::{
    sync::{
        Arc, Mutex, OnceLock,
        atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering::Relaxed},
    },
    thread,
};

use clap::ValueEnum;
use lab_kit::{host, prelude::*, stats};
use tokio::runtime::Builder;

pub mod counters;
mod findings;
#[cfg(test)]
mod model;
mod premise;
pub mod programs;
mod watchdog;

/// The types that `counters.rs` is compiled with.
mod sync {
    pub(super) use std::{
        sync::{Mutex, MutexGuard, RwLock, atomic, mpsc},
        thread,
    };
}

use counters::*;
use programs::Program;
use watchdog::Report;

/// The constants of the experiment.
#[derive(Args, Clone, Debug, Serialize, Deserialize)]
pub struct Params {
    /// Numbers of threads to try, with commas [default: half as many as processors, as many, twice and four times as many]
    #[arg(long, value_delimiter = ',', value_parser = threads, default_values_t = levels(), hide_default_value = true)]
    pub threads: Vec<usize>,
    /// Updates that each way to count makes at the least, over all trials with two threads or more
    #[arg(long, default_value_t = 10_000_000, value_parser = updates)]
    pub updates: u64,
    /// How long a trial of one condition is to take, at the least
    #[arg(long, default_value = "20ms")]
    pub window: Time,
    /// Cost of an item of real work on a processor of its own
    #[arg(long, default_value = "3ms")]
    pub item: Time,
    /// Shares of an item's work inside the lock to try beside 0 and 1, with commas
    #[arg(long, value_delimiter = ',', value_parser = share, default_value = "0.25,0.75")]
    pub shares: Vec<f64>,
    /// How long a program that may hang does something with a lock held
    #[arg(long, default_value = "20ms")]
    pub pause: Time,
    /// Silence after which the watchdog ends a program
    #[arg(long, default_value = "300ms")]
    pub patience: Time,
    /// Run only this program, which may hang: Ctrl-C ends it, and so does the end of its input
    #[arg(long, value_enum)]
    #[serde(skip)]
    pub program: Option<Program>,
}

/// Most threads.
const MOST: usize = 1024;
/// Updates between two looks at whether to stop.
const BATCH: u64 = 256;
/// Slices of a window whose rates are compared.
const SLICES: u32 = 4;
/// Windows after which a way to count need not reach its number of updates.
const LONGEST: u32 = 40;
fn threads(text: &str) -> Result<usize, String> {
    whole(text, 1..=MOST)
}

fn updates(text: &str) -> Result<u64, String> {
    whole(text, 1..=1_000_000_000)
}

fn share(text: &str) -> Result<f64, String> {
    within(text, 0.0..=1.0, "a share from 0 to 1")
}

/// P/2, P, 2P, 4P; one thread alone is in every trial.
fn levels() -> Vec<usize> {
    let p = host::cores().min(MOST / 4);
    let mut levels = ascending(vec![p / 2, p, 2 * p, 4 * p]);
    levels.retain(|n| *n > 1);
    levels
}

fn ascending(mut levels: Vec<usize>) -> Vec<usize> {
    levels.sort_unstable();
    levels.dedup();
    levels
}

impl Params {
    fn levels(&self) -> Vec<usize> {
        ascending(self.threads.clone())
    }

    /// The first number of threads that keeps all processors busy, or the largest there is.
    fn full(&self, cores: usize) -> usize {
        let levels = self.levels();
        let enough = levels.iter().find(|n| **n >= cores);
        *enough.or(levels.last()).unwrap_or(&1)
    }

    /// Updates that a trial with two threads or more makes at the least.
    fn least(&self, trials: usize) -> u64 {
        let several = self.levels().iter().filter(|n| **n > 1).count().max(1);
        self.updates.div_ceil((trials.max(1) * several) as u64)
    }

    /// Shares beside 0 and 1.
    fn between(&self) -> Vec<f64> {
        let mut all = self.shares.clone();
        all.retain(|s| *s > 0.0 && *s < 1.0);
        all.sort_by(f64::total_cmp);
        all.dedup();
        all
    }

    /// Items of real work that take nearly two windows at this speed-up.
    fn items(&self, speed_up: f64) -> usize {
        let fit = 1.75 * self.window.s() * speed_up / self.item.s();
        let whole = speed_up.ceil();
        ((fit / whole).ceil().max(8.0) * whole) as usize
    }
}

/// What claims to be near something is repeated often enough for a median.
fn repeats(scale: Scale, trials: usize) -> usize {
    match scale {
        Scale::Smoke => 1,
        _ => 12_usize.div_ceil(trials),
    }
}

/// lab17.
pub struct SharedState;

impl Lab for SharedState {
    type Params = Params;

    const TAKES_TARGET: bool = false;

    const CARD: Card = Card {
        number: 17,
        name: "shared_state",
        title: "Shared state",
        question: "What goes wrong when workers share?",
        predict: &[
            Question {
                key: "lost",
                ask: "A thread for each processor reads a shared counter, adds one and writes it back: what share of the updates is lost?",
                unit: "%",
                hint: "0 to 100",
            },
            Question {
                key: "padding",
                ask: "A counter for each thread, 128 bytes apart instead of side by side: how many times as many updates a second?",
                unit: "times",
                hint: "1 to 100",
            },
        ],
        next: &[
            (
                "cargo run --release --bin lab17 -- --program held-current",
                "a program that hangs, without the watchdog: Ctrl-C ends it",
            ),
            (
                "cargo run --release --bin lab17 -- --shares 0.1,0.2,0.3,0.4,0.6,0.8",
                "from which share on does the lock bind on your machine?",
            ),
            (
                "cargo test --release -p labs --lib lab17",
                "the model checker: every interleaving of the same counters",
            ),
        ],
        sources: lab_kit::sources!["lib.rs", "counters.rs", "programs.rs"],
        answers: include_str!("../answers.md"),
        sizes: Sizes {
            smoke: &[
                "--threads",
                "2",
                "--window",
                "3ms",
                "--updates",
                "20000",
                "--item",
                "200us",
                "--shares",
                "0.25",
                "--pause",
                "20ms",
                "--patience",
                "200ms",
            ],
            full: &["--window", "150ms"],
            trials: (2, 5),
        },
    };

    fn check(p: &Params) -> Result<(), String> {
        if p.window.s() < 1e-3 {
            return Err("--window must be 1 ms or more: threads have to meet".into());
        }
        if p.item.s() < 1e-4 {
            return Err(
                "--item must be 100 µs or more: below that this measures the lock itself".into(),
            );
        }
        if p.patience.s() < 4.0 * p.pause.s() || p.pause.s() < 1e-3 {
            return Err("--pause must be 1 ms or more and --patience four times as long: the watchdog must not end a program that only sleeps".into());
        }
        Ok(())
    }

    fn needs(p: &Params, extent: &Extent) -> Needs {
        let (window, item) = (p.window.s(), p.item.s());
        let (levels, most) = (p.levels(), p.full(host::cores()));
        let repeats = repeats(extent.scale, extent.trials) as f64;
        let least = p.least(extent.trials) as f64;
        // More threads than processors take turns: each has to begin, and to see that it is over.
        let turn = |n: usize| match n.saturating_sub(host::cores()) {
            0 => 0.0,
            _ => 3e-3 * n as f64 / host::cores() as f64,
        };
        let rush = |n: usize, per_s: f64| {
            let updates = if n > 1 { least / per_s } else { 0.0 };
            turn(n) + 0.65 * window + 1.25 * window.max(updates.min(f64::from(LONGEST) * window))
        };
        // Seconds of items at a speed-up, beside those of one thread alone.
        let work = |n: usize, share: f64| {
            let width = needs::processors(n);
            let speed_up = bound(width, share);
            let alone = 2.0 * (window / 4.0 / item).ceil() * item;
            turn(n) + alone + p.items(speed_up) as f64 * item / speed_up
        };
        let at = |n: usize| {
            let counting =
                rush(n, 5e7) + rush(n, 3e7) + 2.0 * rush(n, 1.5e7) + rush(n, 5e7) + rush(n, 6e6);
            let padded = repeats * rush(n, 2e8);
            let shares = if n == most { p.between() } else { Vec::new() };
            let shared: f64 = shares.into_iter().map(|share| work(n, share)).sum();
            counting + padded + work(n, 1.0) + repeats * (work(n, 0.0) + shared)
        };
        let mut sweep = extent.sweep();
        for program in Program::value_variants() {
            let hangs = if program.hangs() { p.patience.s() } else { 0.0 };
            sweep.steady(1, 0.02 + 4.0 * p.pause.s() + hangs);
        }
        Needs {
            seconds: extent.times() * levels.into_iter().map(at).sum::<f64>() + sweep.seconds(),
            less: "a shorter --window, --item or --patience, fewer --updates or --threads",
            ..Needs::default()
        }
    }

    fn instead(p: &Params) -> Option<Result<()>> {
        p.program.map(|program| {
            watchdog::end_with_input();
            program.run(p.pause.duration())
        })
    }

    fn measure(p: &Params, session: &mut Session) -> Result<()> {
        let kernel = Kernel::calibrate();
        let (host, window) = (session.host.clone(), p.window.duration());
        let most = p.full(host.cores);
        let repeats = repeats(session.scale, session.trials);
        let least = p.least(session.trials);

        let mut plan = session.plan();
        for n in p.levels() {
            let (x, least) = (n as f64, if n > 1 { least } else { 0 });
            let crowd = (n, window, least);
            plan.point("load then store", x, move |r| {
                count::<LoadThenStore>(r, crowd)
            });
            plan.point("fetch_add", x, move |r| count::<FetchAdd>(r, crowd));
            plan.point("Mutex", x, move |r| count::<Locked>(r, crowd));
            plan.point("RwLock", x, move |r| count::<WriteLocked>(r, crowd));
            plan.point("adjacent", x, move |r| count::<Adjacent>(r, crowd));
            for _ in 0..repeats {
                plan.point("padded", x, move |r| count::<Padded>(r, crowd));
            }
            plan.point("messages", x, move |r| count::<Messages>(r, crowd));
            let crew = |share: f64| Crew::new(p, &host, n, share);
            let (some, one) = (crew(0.0), crew(1.0));
            plan.point("locked/everything", x, move |r| {
                work(r, p, kernel, one, |sum, compute| {
                    lock_then_compute(sum, || compute(1.0))
                })
            });
            for _ in 0..repeats {
                plan.point("locked/addition", x, move |r| {
                    work(r, p, kernel, some, |sum, compute| {
                        compute_then_lock(sum, || compute(1.0))
                    })
                });
                for share in p.between().into_iter().filter(|_| n == most) {
                    let crew = crew(share);
                    plan.point("locked/share", share, move |r| {
                        work(r, p, kernel, crew, |sum, compute| {
                            compute(1.0 - share);
                            lock_then_compute(sum, || compute(share));
                        })
                    });
                }
            }
        }
        plan.run()?;

        let reports = Arc::new(Mutex::new(Vec::new()));
        let mut sweep = session.sweep();
        for program in Program::value_variants().iter().copied() {
            let (p, reports) = (p.clone(), reports.clone());
            sweep.steady(&program.series(), 0.0, 1, move |r| {
                let (p, reports) = (p.clone(), reports.clone());
                async move {
                    let report = watchdog::watch(&r, &p, program).await?;
                    reports
                        .lock()
                        .expect("nobody panics holding it")
                        .extend(report);
                    Ok(())
                }
            });
        }
        Builder::new_current_thread()
            .enable_all()
            .build()?
            .block_on(sweep.run())?;
        let reports = std::mem::take(&mut *reports.lock().expect("nobody panics holding it"));
        for text in Report::once_each(reports) {
            session.note(text);
        }
        Ok(())
    }

    fn premise(p: &Params, at: &Condition, trial: &Trial) -> Result<(), String> {
        premise::premise(p, at, trial)
    }

    fn explain(p: &Params, summary: &Summary) -> Findings {
        findings::explain(p, summary)
    }
}

/// The most that a share of the work inside a lock leaves of a speed-up.
fn bound(width: f64, share: f64) -> f64 {
    width.min(1.0 / share)
}

/// What threads that counted did.
struct Rush {
    updates: u64,
    counted: u64,
    /// Updates a second: the median of several slices, so that a short disturbance does not count.
    per_s: f64,
    /// The same of the best slice.
    best_per_s: f64,
}

/// So many threads that begin together and count until the window is over, and until they have made
/// so many updates.
fn rush<C: Counter>((threads, window, least): (usize, Duration, u64)) -> Rush {
    /// What a thread knows to have counted, in a cache line of its own.
    #[repr(align(128))]
    struct Made(AtomicU64);

    let counter = C::new(threads);
    let made: Vec<Made> = (0..threads).map(|_| Made(AtomicU64::new(0))).collect();
    let all = || -> u64 { made.iter().map(|m| m.0.load(Relaxed)).sum() };
    let (here, stop) = (AtomicUsize::new(0), AtomicBool::new(false));
    let rates = thread::scope(|scope| {
        for (thread, mine) in made.iter().enumerate() {
            let (counter, here, stop) = (&counter, &here, &stop);
            scope.spawn(move || {
                together(here, threads);
                let mut updates = 0;
                while !stop.load(Relaxed) {
                    (0..BATCH).for_each(|_| counter.add(thread));
                    updates += BATCH;
                    mine.0.store(updates, Relaxed);
                }
            });
        }
        // The first slice is for the scheduler, which has to spread the threads.
        thread::sleep(window / SLICES);
        let begun = look(&all);
        let (mut rates, mut last) = (Vec::new(), begun);
        loop {
            thread::sleep(window / SLICES);
            let now = look(&all);
            rates.push((now.1 - last.1) as f64 / (now.0 - last.0).as_secs_f64());
            last = now;
            let enough = now.1 >= least || now.0 - begun.0 > LONGEST * window;
            if rates.len() >= SLICES as usize && enough {
                break;
            }
        }
        stop.store(true, Relaxed);
        rates
    });
    Rush {
        updates: all(),
        counted: counter.total(),
        per_s: stats::median(&rates),
        best_per_s: rates.iter().copied().fold(0.0, f64::max),
    }
}

/// Waits for the others, awake: threads that wake together may all wake on one processor.
fn together(here: &AtomicUsize, threads: usize) {
    here.fetch_add(1, Relaxed);
    while here.load(Relaxed) < threads {
        thread::yield_now();
    }
}

/// The time and a count that belong together: this thread may be stopped between the two.
fn look(count: &impl Fn() -> u64) -> (Instant, u64) {
    loop {
        let (now, count) = (Instant::now(), count());
        if now.elapsed() < Duration::from_micros(50) {
            return (now, count);
        }
    }
}

/// A trial of one way to count: one thread alone, all of them, one alone again. A processor's clock
/// changes with load and heat; this way the speed-up is against the same moment. The best slice of
/// the two counts: whatever disturbs one thread makes it slower.
fn count<C: Counter>(r: &Recorder, crowd: (usize, Duration, u64)) -> Result<()> {
    let lonely = (1, crowd.1 / 4, 0);
    let (before, all, after) = (rush::<C>(lonely), rush::<C>(crowd), rush::<C>(lonely));
    r.gauge("alone_per_s", before.best_per_s.max(after.best_per_s));
    r.gauge("alone_updates", (before.updates + after.updates) as f64);
    r.gauge("alone_counted", (before.counted + after.counted) as f64);
    r.gauge("per_s", all.per_s);
    r.gauge("best_per_s", all.best_per_s);
    r.gauge("updates", all.updates as f64);
    r.gauge("counted", all.counted as f64);
    Ok(())
}

/// Wrong: the lock is there for the sum, and is held while computing what to add.
fn lock_then_compute(sum: &Mutex<u64>, compute: impl FnOnce() -> u64) {
    let mut sum = sum.lock().expect("nobody panics holding it");
    *sum += compute();
}

/// Right: what needs no lock is done without.
fn compute_then_lock(sum: &Mutex<u64>, compute: impl FnOnce() -> u64) {
    let result = compute();
    *sum.lock().expect("nobody panics holding it") += result;
}

/// Threads for real work.
#[derive(Clone, Copy)]
struct Crew {
    threads: usize,
    items: usize,
    /// Items at either end that do not count: until the threads have come into step, and when the
    /// first of them has nothing left to do.
    edge: usize,
}

impl Crew {
    fn new(p: &Params, host: &host::Host, threads: usize, share: f64) -> Crew {
        let speed_up = bound(host.width(threads), share);
        let in_step = threads <= host.cores;
        Crew {
            threads,
            items: p.items(speed_up),
            edge: if in_step { speed_up.ceil() as usize } else { 0 },
        }
    }
}

/// A trial of real work, between two of one thread alone. `item` may compute any part of an item.
fn work(
    r: &Recorder,
    p: &Params,
    kernel: Kernel,
    crew: Crew,
    item: impl Fn(&Mutex<u64>, &dyn Fn(f64) -> u64) + Sync,
) -> Result<()> {
    let compute = |part: f64| {
        kernel.work(p.item.duration().mul_f64(part));
        1
    };
    // Seconds an item; threads take them from one pot.
    let run = |crew: Crew| {
        let (sum, left) = (Mutex::new(0), AtomicUsize::new(crew.items));
        let take = || left.fetch_update(Relaxed, Relaxed, |n| n.checked_sub(1));
        let (here, begun) = (AtomicUsize::new(0), OnceLock::new());
        let body = || {
            together(&here, crew.threads);
            begun.get_or_init(Instant::now);
            let mut ends = Vec::new();
            while take().is_ok() {
                item(&sum, &compute);
                ends.push(Instant::now());
            }
            ends
        };
        let mut ends: Vec<Instant> = thread::scope(|scope| {
            let threads: Vec<_> = (0..crew.threads).map(|_| scope.spawn(body)).collect();
            let ends = threads
                .into_iter()
                .map(|t| t.join().expect("nobody panics"));
            ends.flatten().collect()
        });
        ends.sort_unstable();
        ends.splice(0..0, begun.into_inner());
        let counted = &ends[crew.edge..ends.len() - crew.edge];
        let took = counted[counted.len() - 1] - counted[0];
        took.as_secs_f64() / (counted.len() - 1) as f64
    };
    let alone = Crew {
        threads: 1,
        items: (p.window.s() / 4.0 / p.item.s()).ceil() as usize,
        edge: 0,
    };
    let (before, all, after) = (run(alone), run(crew), run(alone));
    // The quicker of two: what disturbs computation makes it slower.
    let alone = before.min(after);
    r.gauge("item_s", alone);
    r.gauge("speed_up", alone / all);
    Ok(())
}
