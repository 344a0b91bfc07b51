//! The constants of the experiment, and which conditions there are.

use lab_kit::{accounts::Fate, prelude::*, session::Sweep};
use mock_server::Quota;

use super::{
    findings,
    held::Held,
    languages, premise,
    world::{Tenants, World, shared},
};

/// The constants of the experiment.
#[derive(Args, Clone, Debug, Serialize, Deserialize)]
pub struct Params {
    /// Requests a second that the service admits: R
    #[arg(long, default_value_t = 50, value_parser = per_s)]
    pub quota: u32,
    /// And so many at once, after a pause: b
    #[arg(long, default_value_t = 10, value_parser = burst)]
    pub burst: u32,
    /// Time a request takes at first: W
    #[arg(long, default_value = "200ms")]
    pub before: Time,
    /// Time it takes in the second half
    #[arg(long, default_value = "20ms")]
    pub after: Time,
    /// How long each half lasts
    #[arg(long, default_value = "1.5s")]
    pub phase: Time,
    /// What a refusal asks a client to wait; it waits half to one and a half of it: p
    #[arg(long, default_value = "100ms")]
    pub pause: Time,
    /// Clients that always have something to ask for
    #[arg(long, default_value_t = 60, value_parser = level)]
    pub clients: usize,
    /// Clients that ask without any limit
    #[arg(long, default_value_t = 25, value_parser = level)]
    pub crowd: usize,
    /// Semaphores to try, with commas: m
    #[arg(long, value_delimiter = ',', value_parser = level, default_value = "4,9,20")]
    pub limits: Vec<usize>,
    /// The semaphore beside the bucket
    #[arg(long, default_value_t = 5, value_parser = level)]
    pub permits: usize,
    /// Length of the fixed window
    #[arg(long, default_value = "500ms")]
    pub window: Time,
    /// What the rate that adapts gains, per second and second
    #[arg(long, default_value_t = 50.0, value_parser = gain)]
    pub gain: f64,
    /// What a refusal leaves of it
    #[arg(long, default_value_t = 0.7, value_parser = share)]
    pub back: f64,
    /// Clients of the greedy tenant
    #[arg(long, default_value_t = 20, value_parser = level)]
    pub greedy: usize,
    /// Requests a second of the modest one
    #[arg(long, default_value_t = 10, value_parser = per_s)]
    pub modest: u32,
}

fn per_s(text: &str) -> Result<u32, String> {
    within(text, 1..=1000, "1 to 1000 a second")
}

fn burst(text: &str) -> Result<u32, String> {
    within(text, 2..=1000, "2 to 1000 requests")
}

fn gain(text: &str) -> Result<f64, String> {
    within(text, 1.0..=10_000.0, "1 to 10000")
}

fn share(text: &str) -> Result<f64, String> {
    within(text, 0.1..=0.95, "0.1 to 0.95")
}

impl Params {
    pub(super) fn quota(&self) -> Quota {
        Quota { per_s: f64::from(self.quota), burst: self.burst }
    }
}

/// lab20.
pub struct RateIsNotConcurrency;

impl Lab for RateIsNotConcurrency {
    type Params = Params;

    const TAKES_TARGET: bool = false;

    const CARD: Card = Card {
        number: 20,
        name: "rate_is_not_concurrency",
        title: "Rate is not concurrency",
        question: "The service allows so many requests a second: why does a semaphore not keep to it?",
        predict: &[
            Question {
                key: "admitted",
                ask: "While a request takes {before}: how many a second does the smallest of the semaphores ({limits}) let through?",
                unit: "requests/s",
                hint: "1 to 1000",
            },
            Question {
                key: "refused",
                ask: "When a request takes {after}: how many a second does the service refuse of the largest of them?",
                unit: "requests/s",
                hint: "0 to 1000",
            },
            Question {
                key: "border",
                ask: "How many requests of the fixed window reach the service within {window}, at most?",
                unit: "requests",
                hint: "1 to 1000",
            },
        ],
        next: &[
            (
                "cargo run --release -p lab20 -- --before 20ms --after 200ms",
                "the other way round: what does a sudden slowness do to each of them?",
            ),
            (
                "cargo run --release -p lab20 -- --window 50ms",
                "a short window: what becomes better, and what remains?",
            ),
            (
                "cargo run --release -p mock_server -- --quota 50:10 --service 200ms --change 10s:20ms",
                "the same service, for a program of your own",
            ),
            (
                "cargo run --release -p lab20 -- --with python",
                "asyncio.Semaphore and a bucket in Python, before the same service",
            ),
            (
                "cargo run --release -- make next keep_the_quota",
                "make it: a limiter that keeps to a quota",
            ),
        ],
        sources: lab_kit::sources!["lib.rs"],
        answers: include_str!("../answers.md"),
        sizes: Sizes {
            smoke: &[
                "--quota", "100", "--burst", "6", "--before", "60ms", "--after", "10ms", "--phase",
                "400ms", "--pause", "40ms", "--window", "100ms", "--limits", "4,20", "--greedy",
                "12",
            ],
            full: &[],
            trials: (3, 2),
        },
    };

    const PROGRAMS: Programs = languages::PROGRAMS;

    fn check(p: &Params) -> Result<(), String> {
        let world = World::of(p);
        let [(from, until), _] = world.looks();
        if until - from < 2.0 * p.window.s() {
            return Err(format!(
                "--phase {} is too short: {} of it are not counted, until all has settled, and at least two windows of {} must be left",
                p.phase,
                seconds(world.settles()),
                p.window
            ));
        }
        if world.per_window() < 2 {
            return Err(
                "--window is too short: the quota allows less than two requests in it".into()
            );
        }
        if f64::from(p.modest) >= 0.5 * f64::from(p.quota) {
            return Err("--modest is not modest: less than half of --quota is".into());
        }
        Ok(())
    }

    fn needs(p: &Params, extent: &Extent) -> Needs {
        let world = World::of(p);
        let mut sweep = extent.sweep();
        let all = Held::all(&extent.that_fit(&p.limits));
        for in_flight in all.iter().map(|held| held.in_flight(p)) {
            let long = needs::connected(in_flight) + world.lasts() + 0.05;
            sweep.steady(in_flight, long).among(all.len());
        }
        for _ in 0..2 {
            let long = needs::connected(p.greedy) + world.lasts() + 0.05;
            sweep.steady(p.greedy, long).among(1);
        }
        for _ in extent.with.iter() {
            sweep.alone(2.0 * (needs::START_S + world.lasts() + 0.3));
        }
        Needs {
            seconds: sweep.seconds(),
            memory: (4 * p.clients + p.crowd) as f64 * needs::CONNECTION_B,
            less: "a shorter --phase, or fewer --limits",
            ..Needs::default()
        }
    }

    fn measure(p: &Params, session: &mut Session) -> Result<()> {
        let runtime = lab_kit::host::runtime()?;
        let limits = session.levels_that_fit(&p.limits);
        let programs = session.programs(&Self::PROGRAMS);
        let mut sweep = session.sweep();
        let all = Held::all(&limits);
        for held in all.iter().copied() {
            let p = p.clone();
            sweep
                .steady(held.series(), held.x(), held.in_flight(&p), move |r| {
                    let p = p.clone();
                    async move { held.run(r, &p).await }
                })
                .among(all.len());
        }
        for (series, is_fair) in [("one line", false), ("in turn", true)] {
            let world = World::of(p).steady();
            let t = Tenants { greedy: p.greedy, modest: f64::from(p.modest), is_fair };
            sweep.steady(series, 0.0, p.greedy, move |r| shared(r, world, t)).among(1);
        }
        beside(p, &limits, &programs, &mut sweep);
        runtime.block_on(sweep.run())
    }

    fn may(_: &Params, _: &Condition) -> &'static [Fate] {
        // Who waits for a turn when the time is over.
        &[Fate::Aborted]
    }

    fn premise(p: &Params, at: &Condition, trial: &Trial) -> Result<(), String> {
        premise::premise(p, at, trial)
    }

    fn explain(p: &Params, summary: &Summary) -> Findings {
        findings::explain(p, summary)
    }
}

/// The same in other languages: the largest semaphore, and the bucket.
fn beside(p: &Params, limits: &[usize], programs: &[Program], sweep: &mut Sweep) {
    let largest = limits.iter().max().map(|m| Held::Semaphore(*m));
    for program in programs {
        for held in largest.into_iter().chain([Held::Bucket]) {
            let (program, p) = (program.clone(), p.clone());
            sweep.alone(&program.language.series(held.series()), held.x(), move |r| {
                languages::run(r, program.clone(), p.clone(), held)
            });
        }
    }
}
