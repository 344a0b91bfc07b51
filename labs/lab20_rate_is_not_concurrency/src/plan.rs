//! The constants of the experiment, and which conditions there are.

use std::{num::NonZeroU32, sync::Arc};

use governor::RateLimiter;
use lab_kit::{accounts::Fate, prelude::*, session::Sweep};
use mock_server::Quota;
use tokio::sync::Semaphore;

use super::{
    Bucket, Window, a_second, a_window,
    adaptive::{Adaptive, adaptive},
    at_a_time, at_once, by_governor, findings, languages, permit_first, premise, token_first,
    world::{Tenants, World, saturated, shared},
};

/// The constants of the experiment.
#[derive(Args, Debug, Serialize, Deserialize)]
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
    lab_kit::args::within(text, 1..=1000, "1 to 1000 a second")
}

fn burst(text: &str) -> Result<u32, String> {
    lab_kit::args::within(text, 2..=1000, "2 to 1000 requests")
}

fn gain(text: &str) -> Result<f64, String> {
    lab_kit::args::within(text, 1.0..=10_000.0, "1 to 10000")
}

fn share(text: &str) -> Result<f64, String> {
    lab_kit::args::within(text, 0.1..=0.95, "0.1 to 0.95")
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
        let all: Vec<usize> =
            extent.that_fit(&p.limits).into_iter().chain(InFlight::of(p).all()).collect();
        for in_flight in &all {
            let long = needs::connected(*in_flight) + world.lasts() + 0.05;
            sweep.steady(*in_flight, long).among(all.len());
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
        conditions(p, &limits, &mut sweep);
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

/// What is in flight in each condition with saturated clients.
struct InFlight {
    none: usize,
    window: usize,
    paced: usize,
    permits: usize,
}

impl InFlight {
    fn of(p: &Params) -> InFlight {
        let busy = (f64::from(p.quota) * p.before.s().max(p.after.s())).ceil() as usize;
        let world = World::of(p);
        InFlight {
            none: p.crowd,
            window: world.per_window() + busy,
            paced: busy + world.client_quota().burst as usize,
            permits: p.permits,
        }
    }

    /// One for each condition but the semaphores.
    fn all(&self) -> [usize; 8] {
        let InFlight { none, window, paced, permits } = *self;
        [none, window, paced, paced, paced, paced, permits, permits]
    }
}

/// Adds the conditions: clients that are held back in one way each.
fn conditions(p: &Params, limits: &[usize], sweep: &mut Sweep) {
    let (world, n, permits) = (World::of(p), p.clients, p.permits);
    let in_flight = InFlight::of(p);
    let all = limits.len() + in_flight.all().len();
    for m in limits.iter().copied() {
        sweep
            .steady("semaphore", m as f64, m, move |r| {
                saturated(r, world, (n.max(2 * m), m), move || {
                    let semaphore = Arc::new(Semaphore::new(m));
                    move |api| at_a_time(semaphore.clone(), api)
                })
            })
            .among(all);
    }
    let InFlight { none, window, paced, .. } = in_flight;
    sweep
        .steady("none", 0.0, none, move |r| saturated(r, world, (none, none), || at_once))
        .among(all);
    sweep
        .steady("window", 0.0, window, move |r| {
            saturated(r, world, (n.max(2 * window), window), move || {
                let window = Arc::new(Window::about_to_end(world.per_window(), world.window));
                move |api| a_window(window.clone(), api)
            })
        })
        .among(all);
    let even = Quota { burst: 1, ..world.quota };
    for (series, quota) in [("leaky", even), ("bucket", world.client_quota())] {
        sweep
            .steady(series, 0.0, paced, move |r| {
                saturated(r, world, (n.max(2 * paced), paced), move || {
                    let bucket = Arc::new(Bucket::of(quota));
                    move |api| a_second(bucket.clone(), api)
                })
            })
            .among(all);
    }
    sweep
        .steady("governor", 0.0, paced, move |r| {
            saturated(r, world, (n.max(2 * paced), paced), move || {
                let limiter = Arc::new(RateLimiter::direct(governor_of(world.client_quota())));
                move |api| by_governor(limiter.clone(), api)
            })
        })
        .among(all);
    let (gain, back) = (p.gain, p.back);
    sweep
        .steady("adaptive", 0.0, paced, move |r| {
            saturated(r, world, (n.max(2 * paced), paced), move || {
                let rate = Arc::new(Adaptive::new(2.0 * world.quota.per_s, gain, back));
                move |api| adaptive(rate.clone(), api)
            })
        })
        .among(all);
    sweep
        .steady("token first", 0.0, permits, move |r| {
            saturated(r, world, (n.max(2 * permits), permits), move || {
                let (bucket, semaphore) = two_limits(world, permits);
                move |api| token_first(bucket.clone(), semaphore.clone(), api)
            })
        })
        .among(all);
    sweep
        .steady("permit first", 0.0, permits, move |r| {
            saturated(r, world, (n.max(2 * permits), permits), move || {
                let (bucket, semaphore) = two_limits(world, permits);
                move |api| permit_first(bucket.clone(), semaphore.clone(), api)
            })
        })
        .among(all);
    for (series, is_fair) in [("one line", false), ("in turn", true)] {
        let t = Tenants { greedy: p.greedy, modest: f64::from(p.modest), is_fair };
        sweep.steady(series, 0.0, p.greedy, move |r| shared(r, world.steady(), t)).among(1);
    }
}

/// The same in other languages: the largest semaphore, and the bucket.
fn beside(p: &Params, limits: &[usize], programs: &[Program], sweep: &mut Sweep) {
    let (world, paced) = (World::of(p), InFlight::of(p).paced);
    let largest = limits.iter().max().copied();
    for program in programs {
        for m in largest.map(Some).into_iter().chain([None]) {
            let (program, in_flight) = (program.clone(), m.unwrap_or(paced));
            let clients = p.clients.max(2 * in_flight);
            let series = if m.is_some() { "semaphore" } else { "bucket" };
            let x = m.map_or(0.0, |m| m as f64);
            sweep.alone(&program.language.series(series), x, move |r| {
                languages::run(r, program.clone(), world, (clients, in_flight), m)
            });
        }
    }
}

fn two_limits(world: World, permits: usize) -> (Arc<Bucket>, Arc<Semaphore>) {
    (Arc::new(Bucket::of(world.client_quota())), Arc::new(Semaphore::new(permits)))
}

/// The same quota in the library's words, which has whole numbers.
fn governor_of(quota: Quota) -> governor::Quota {
    let whole = |n: u32| NonZeroU32::new(n).unwrap_or(NonZeroU32::MIN);
    governor::Quota::per_second(whole(quota.per_s as u32)).allow_burst(whole(quota.burst))
}

#[cfg(test)]
mod tests {
    use super::*;
    use governor::clock::FakeRelativeClock;
    use lab_kit::theory::rate;

    /// The library's limiter and the service's bucket admit the same requests of any, with governor's own examples
    /// among them: two a second are used up by two, and there is one more after half a second.
    #[test]
    fn governor_admits_what_the_bucket_admits() {
        for (per_s, burst, step_ms) in
            [(2, 2, 1_u64), (50, 5, 7), (37, 2, 13), (100, 1, 3), (1, 1, 499)]
        {
            let quota = Quota { per_s: f64::from(per_s), burst };
            let clock = FakeRelativeClock::default();
            let theirs = RateLimiter::direct_with_clock(governor_of(quota), clock.clone());
            let mut ours = rate::Bucket::new(quota);
            let mut differ = 0;
            for i in 0..2000_u64 {
                let is_in = ours.take(i * step_ms * 1_000_000).is_ok();
                differ += usize::from(is_in != theirs.check().is_ok());
                clock.advance(Duration::from_millis(step_ms));
            }
            // Both round the gap to whole nanoseconds.
            assert!(differ <= 2, "{per_s}/s, {burst} at once: {differ} of 2000 differ");
        }
    }
}
