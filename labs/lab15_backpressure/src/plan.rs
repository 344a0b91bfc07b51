//! What is measured, and what it needs.

use lab_kit::{accounts::Fate, host, prelude::*};

use super::{
    Arm, findings,
    omission::{self, Freeze},
    premise,
    storm::{self, Remedy, Storm},
    systems::{self, Crowd},
};

/// The constants of the experiment.
#[derive(Args, Clone, Debug, Serialize, Deserialize)]
pub struct Params {
    /// Workers of a service: c
    #[arg(long, default_value_t = 4, value_parser = level)]
    pub workers: usize,
    /// Mean time a request takes a worker: s (exponential)
    #[arg(long, default_value = "40ms")]
    pub service: Time,
    /// Waiting places of a bounded queue: K
    #[arg(long, default_value_t = 8, value_parser = level)]
    pub places: usize,
    /// An answer later than this is worth nothing: T
    #[arg(long, default_value = "300ms")]
    pub deadline: Time,
    /// The deadline arm drops a request that has less than this left
    #[arg(long, default_value = "120ms")]
    pub margin: Time,
    /// Loads to try, as shares of the capacity, with commas
    #[arg(long, value_delimiter = ',', value_parser = load, default_value = "0.5,0.8,0.95,1.2,1.5")]
    pub loads: Vec<f64>,
    /// How long arrivals are counted
    #[arg(long, default_value = "6s")]
    pub window: Time,
    /// Independent services side by side: three times as many where waits converge slowly, fewer where they do so fast
    #[arg(long, default_value_t = 120, value_parser = systems)]
    pub systems: usize,
    /// Load of the freeze, as a share of the capacity
    #[arg(long, default_value_t = 0.5, value_parser = part)]
    pub tested: f64,
    /// How long the service is frozen
    #[arg(long, default_value = "1s")]
    pub freeze: Time,
    /// Load before and after the surge, as a share of the capacity
    #[arg(long, default_value_t = 0.7, value_parser = part)]
    pub calm: f64,
    /// Load during the surge
    #[arg(long, default_value_t = 2.5, value_parser = load)]
    pub surge: f64,
    /// How long the surge lasts
    #[arg(long, default_value = "450ms")]
    pub surge_for: Time,
    /// Retries of a request that is not answered in time: n
    #[arg(long, default_value_t = 2, value_parser = retries)]
    pub retries: usize,
    /// Retries per request that a budget allows
    #[arg(long, default_value_t = 0.1, value_parser = part)]
    pub budget: f64,
}

/// Most waiting places of a bounded queue.
const MOST_PLACES: usize = 2000;

fn load(text: &str) -> Result<f64, String> {
    within(text, 0.05..=5.0, "a number from 0.05 to 5")
}

fn part(text: &str) -> Result<f64, String> {
    within(text, 0.01..=0.95, "a number from 0.01 to 0.95")
}

fn retries(text: &str) -> Result<usize, String> {
    whole(text, 0..=10)
}

fn systems(text: &str) -> Result<usize, String> {
    whole(text, 10..=2000)
}

/// Conditions are several trials side by side, each with services and random numbers of its own.
fn parts(scale: Scale) -> usize {
    match scale {
        Scale::Quick => 3,
        Scale::Smoke | Scale::Full => 1,
    }
}

/// lab15.
pub struct Backpressure;

impl Lab for Backpressure {
    type Params = Params;

    const TAKES_TARGET: bool = false;

    const CARD: Card = Card {
        number: 15,
        name: "backpressure",
        title: "Backpressure",
        question: "All workers are busy: what happens to the next user?",
        predict: &[
            Question {
                key: "goodput",
                ask: "The service is given loads of {loads} times what it can serve. At the largest of them, a worker drops a request whose deadline has passed. What share of the capacity still goes into answers that are in time?",
                unit: "%",
                hint: "0 to 100",
            },
            Question {
                key: "after",
                ask: "A surge has passed and the load is {calm} of the capacity again. Clients send a late request again, up to {retries} times. What share of the requests is answered long after the surge?",
                unit: "%",
                hint: "0 to 100",
            },
        ],
        next: &[
            (
                "cargo run --release --bin lab15 -- --retries 1 --calm 0.45",
                "ρ·(1 + n) below 1: the same surge, and the service comes back by itself",
            ),
            (
                "cargo run --release --bin lab15 -- --places 60",
                "a bounded queue that is too long: it refuses and is late all the same",
            ),
            (
                "cargo run --release --bin lab15 -- --margin 1ms --loads 0.9,1.1,1.5,2,3",
                "the deadline without its margin: the more comes, the more is wasted. Why?",
            ),
            (
                "cargo run --release -- make next shed_by_deadline",
                "make it: a server that leaves out what comes too late",
            ),
        ],
        sources: lab_kit::sources!["lib.rs"],
        answers: include_str!("../answers.md"),
        sizes: Sizes {
            smoke: &[
                "--service",
                "4ms",
                "--deadline",
                "20ms",
                "--margin",
                "8ms",
                "--loads",
                "0.5,0.8,1.5",
                "--window",
                "160ms",
                "--systems",
                "10",
                "--freeze",
                "40ms",
                "--surge-for",
                "30ms",
                "--retries",
                "1",
            ],
            full: &["--window", "10s"],
            trials: (1, 5),
        },
    };

    fn check(p: &Params) -> Result<(), String> {
        if p.margin >= p.deadline {
            return Err("--margin leaves nothing of --deadline: every request would be dropped; make it shorter".into());
        }
        if p.deadline.s() < p.service.s() {
            return Err("--deadline is shorter than --service: most requests would be late at any load; lengthen it".into());
        }
        if p.places > MOST_PLACES {
            return Err(format!(
                "--places is more than {MOST_PLACES}: no window is long enough to fill them, and theory goes through all of them; fewer"
            ));
        }
        if p.loads.is_empty() {
            return Err("--loads is empty: which loads are to be tried?".into());
        }
        if p.freeze.s() > 0.5 * p.window.s() {
            return Err("--freeze is longer than half of --window: nothing would be left to compare it with".into());
        }
        let rate = p.arrivals_per_s();
        if rate > 250_000.0 {
            return Err(format!(
                "this would be {rate:.0} requests a second: fewer --systems or --loads, or a longer --service"
            ));
        }
        Ok(())
    }

    fn needs(p: &Params, extent: &Extent) -> Needs {
        // As in `measure`: services that only sleep do not disturb each other.
        let extent = &Extent { one_at_a_time: false, ..*extent };
        let parts = parts(extent.scale);
        let conditions =
            Arm::ALL.len() * p.loads.len() * parts + 1 + parts * (2 + Remedy::ALL.len());
        let requests = p.requests();
        let lasts = systems::READY.as_secs_f64() + p.lasts().max(p.full_line_lasts());
        let mut sweep = extent.sweep();
        for _ in 0..conditions {
            sweep.steady(1, lasts);
        }
        Needs {
            // What cannot be sent in its time takes longer; and books are made of all of them.
            seconds: sweep.seconds() + extent.times() * requests * 4e-6,
            memory: requests * 400.0,
            less: "a shorter --window, --deadline or --surge-for, or fewer --systems and --loads",
            ..Needs::default()
        }
    }

    fn measure(p: &Params, session: &mut Session) -> Result<()> {
        let runtime = host::runtime()?;
        // Services that only sleep do not disturb each other, at any scale.
        session.one_at_a_time = false;
        let parts = parts(session.scale);
        let mut sweep = session.sweep();
        for arm in Arm::ALL {
            for rho in p.loads.iter().copied() {
                let crowd = Crowd::of(p, arm, rho).part(parts);
                for _ in 0..parts {
                    sweep.steady(arm.name(), rho, 1, move |r| systems::run(r, crowd));
                }
            }
        }
        let timers = Crowd::of(p, Arm::Unbounded, p.tested);
        sweep.steady("timers", p.tested, 1, move |r| systems::timers(r, timers));
        for _ in 0..parts {
            let freeze = Freeze::of(p, parts);
            sweep.steady("tested/closed", p.tested, 1, move |r| omission::closed(r, freeze));
            sweep.steady("tested/open", p.tested, 1, move |r| omission::open(r, freeze));
            for remedy in Remedy::ALL {
                let storm = Storm::of(p, parts);
                sweep.steady(remedy.series(), p.calm, 1, move |r| {
                    storm::run(r, storm.clone(), remedy)
                });
            }
        }
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

impl Params {
    /// Seconds until every queue that ever empties should have done so, and the storm is over.
    pub(super) fn lasts(&self) -> f64 {
        let drained = 1.25 * self.window.s() + self.deadline.s() + 40.0 * self.service.s();
        drained.max(Storm::of(self, 1).lasts())
    }

    /// Seconds until a full line of those who are let in is served, where refused clients come again.
    fn full_line_lasts(&self) -> f64 {
        let storm = Storm::of(self, 1);
        let line = self.service.s() * (self.places + 1) as f64 / self.workers as f64;
        let overloaded = self.loads.iter().any(|rho| *rho > 0.9);
        let window = if overloaded { 1.25 * self.window.s() + line } else { 0.0 };
        let room = (self.places as f64) * self.service.s() / self.workers as f64;
        let refuses = (self.surge.max(1.0) - 1.0) * self.surge_for.s() > 0.5 * room;
        let come_again = if refuses { 1.5 * line * (1 + self.retries) as f64 } else { 0.0 };
        window.max(storm.end + come_again)
    }

    /// Requests of a round.
    fn requests(&self) -> f64 {
        let storm = Storm::of(self, 1);
        self.arrivals_per_s() * 1.25 * self.window.s() + Remedy::ALL.len() as f64 * storm.requests()
    }

    /// Requests per second over everything that runs side by side.
    fn arrivals_per_s(&self) -> f64 {
        let capacity = self.workers as f64 / self.service.s();
        let crowds = Arm::ALL.into_iter().flat_map(|arm| {
            let all = self.loads.iter();
            all.map(move |rho| rho * Crowd::of(self, arm, *rho).systems as f64)
        });
        capacity * crowds.sum::<f64>()
    }
}
