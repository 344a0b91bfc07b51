//! What is asked for, what it needs, and what is measured in which order.

use std::sync::{Arc, Mutex};

use clap::ValueEnum;
use lab_kit::{
    host::{self, Host},
    prelude::*,
    session::Plan,
};
use tokio::runtime::Builder;

use super::{
    compute_then_lock,
    counters::*,
    findings, lock_then_compute, premise,
    programs::Program,
    rush::{Crowd, LONGEST, count},
    watchdog::{self, Report},
    work::{Crew, bound, work},
};

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
    pub(super) fn levels(&self) -> Vec<usize> {
        ascending(self.threads.clone())
    }

    /// The first number of threads that keeps all processors busy, or the largest there is.
    pub(super) fn full(&self, cores: usize) -> usize {
        let levels = self.levels();
        let enough = levels.iter().find(|n| **n >= cores);
        *enough.or(levels.last()).unwrap_or(&1)
    }

    /// Updates that a trial with two threads or more makes at the least.
    pub(super) fn least(&self, trials: usize) -> u64 {
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
    pub(super) fn items(&self, speed_up: f64) -> usize {
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
                "cargo test --release -p lab17 --lib",
                "the model checker: every interleaving of the same counters",
            ),
            (
                "cargo run --release -- make next count_every_one",
                "make it: a counter that loses nothing, in any order",
            ),
            (
                "cargo run --release -- make next two_accounts",
                "make it: two locks that never wait for each other",
            ),
        ],
        sources: lab_kit::sources!["lib.rs", "counters.rs"],
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
                "--item must be 100 µs or more: below that this measures the lock itself".into()
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
            // Updates a second: load then store, fetch_add, Mutex, RwLock, adjacent, messages.
            let once = [5e7, 3e7, 1.5e7, 1.5e7, 5e7, 6e6].into_iter();
            let counting: f64 = once.map(|per_s| rush(n, per_s)).sum();
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
        let host = session.host.clone();
        let repeats = repeats(session.scale, session.trials);
        let least = p.least(session.trials);
        let mut plan = session.plan();
        for n in p.levels() {
            let crowd = Crowd {
                threads: n,
                window: p.window.duration(),
                least: if n > 1 { least } else { 0 },
            };
            counting(&mut plan, crowd, repeats);
            real_work(&mut plan, p, &host, kernel, n, repeats);
        }
        plan.run()?;
        programs(p, session)
    }

    fn premise(p: &Params, at: &Condition, trial: &Trial) -> Result<(), String> {
        premise::premise(p, at, trial)
    }

    fn explain(p: &Params, summary: &Summary) -> Findings {
        findings::explain(p, summary)
    }
}

/// Every way to count; the one that claims to be near something `repeats` times.
fn counting(plan: &mut Plan, crowd: Crowd, repeats: usize) {
    let x = crowd.threads as f64;
    plan.point("load then store", x, move |r| count::<LoadThenStore>(r, crowd));
    plan.point("fetch_add", x, move |r| count::<FetchAdd>(r, crowd));
    plan.point("Mutex", x, move |r| count::<Locked>(r, crowd));
    plan.point("RwLock", x, move |r| count::<WriteLocked>(r, crowd));
    plan.point("adjacent", x, move |r| count::<Adjacent>(r, crowd));
    for _ in 0..repeats {
        plan.point("padded", x, move |r| count::<Padded>(r, crowd));
    }
    plan.point("messages", x, move |r| count::<Messages>(r, crowd));
}

/// Real work of so many threads, with the lock held for all of it, for a part, or for the addition only.
fn real_work<'a>(
    plan: &mut Plan<'_, 'a>,
    p: &'a Params,
    host: &Host,
    kernel: Kernel,
    n: usize,
    repeats: usize,
) {
    let x = n as f64;
    let crew = |share: f64| Crew::new(p, host, n, share);
    let (some, one) = (crew(0.0), crew(1.0));
    plan.point("locked/everything", x, move |r| {
        work(r, p, kernel, one, |sum, compute| lock_then_compute(sum, || compute(1.0)))
    });
    let between = if n == p.full(host.cores) { p.between() } else { Vec::new() };
    for _ in 0..repeats {
        plan.point("locked/addition", x, move |r| {
            work(r, p, kernel, some, |sum, compute| compute_then_lock(sum, || compute(1.0)))
        });
        for &share in &between {
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

/// Every program that may hang, and a note of where those hung that did.
fn programs(p: &Params, session: &mut Session) -> Result<()> {
    let reports = Arc::new(Mutex::new(Vec::new()));
    let mut sweep = session.sweep();
    for program in Program::value_variants().iter().copied() {
        let (p, reports) = (p.clone(), reports.clone());
        sweep.steady(&program.series(), 0.0, 1, move |r| {
            let (p, reports) = (p.clone(), reports.clone());
            async move {
                let report = watchdog::watch(&r, &p, program).await?;
                reports.lock().expect("nobody panics holding it").extend(report);
                Ok(())
            }
        });
    }
    Builder::new_current_thread().enable_all().build()?.block_on(sweep.run())?;
    let reports = std::mem::take(&mut *reports.lock().expect("nobody panics holding it"));
    for text in Report::once_each(reports) {
        session.note(text);
    }
    Ok(())
}
