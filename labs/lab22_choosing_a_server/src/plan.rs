//! What is measured, and what it needs.

use lab_kit::{accounts::Fate, host, prelude::*, theory::balance};

use super::{
    crowd::{self, Crowd},
    fan_out::{self, FanOut},
    findings, premise,
};

/// The constants of the experiment.
#[derive(Args, Clone, Debug, Serialize, Deserialize)]
pub struct Params {
    /// Servers: n
    #[arg(long, default_value_t = 10, value_parser = servers)]
    pub servers: usize,
    /// Mean time a request takes its server: s (exponential)
    #[arg(long, default_value = "40ms")]
    pub service: Time,
    /// Load, as a share of what all servers can do together: ρ
    #[arg(long, default_value_t = 0.7, value_parser = load)]
    pub load: f64,
    /// A slow server takes so many times as long
    #[arg(long, default_value_t = 4.0, value_parser = slow)]
    pub slow: f64,
    /// A client gives up after this: T
    #[arg(long, default_value = "1500ms")]
    pub patience: Time,
    /// How long requests come
    #[arg(long, default_value = "7500ms")]
    pub window: Time,
    /// Independent fleets of servers side by side in each condition: more where waits converge slowly
    #[arg(long, default_value_t = 6, value_parser = fleets)]
    pub fleets: usize,
    /// How old counts get before they are read anew, with commas
    #[arg(long, value_delimiter = ',', default_value = "20ms,100ms,200ms,400ms")]
    pub ages: Vec<Time>,
    /// Errors in a row that put a server out
    #[arg(long, default_value_t = 3, value_parser = strikes)]
    pub strikes: u32,
    /// For how long it is out: E
    #[arg(long, default_value = "1s")]
    pub ejected: Time,
    /// A request is sent to a second server when it takes longer than this share of all by two choices
    #[arg(long, default_value_t = 0.95, value_parser = quantile)]
    pub hedge: f64,
    /// Share of the answers that are slow where a request needs many: p
    #[arg(long, default_value_t = 0.01, value_parser = tail)]
    pub tail: f64,
    /// How many answers a request needs there: k, with commas
    #[arg(long, value_delimiter = ',', value_parser = answers, default_value = "1,10,100")]
    pub fan_outs: Vec<usize>,
}

fn servers(text: &str) -> Result<usize, String> {
    whole(text, 2..=50)
}

fn load(text: &str) -> Result<f64, String> {
    within(text, 0.1..=0.95, "a number from 0.1 to 0.95")
}

fn slow(text: &str) -> Result<f64, String> {
    within(text, 1.0..=100.0, "a number from 1 to 100")
}

fn fleets(text: &str) -> Result<usize, String> {
    whole(text, 3..=500)
}

fn strikes(text: &str) -> Result<u32, String> {
    whole(text, 1..=20)
}

fn quantile(text: &str) -> Result<f64, String> {
    within(text, 0.5..=0.999, "a number from 0.5 to 0.999")
}

fn tail(text: &str) -> Result<f64, String> {
    within(text, 0.001..=0.5, "a number from 0.001 to 0.5")
}

fn answers(text: &str) -> Result<usize, String> {
    whole(text, 1..=500)
}

/// Conditions are several trials side by side, each with fleets and random numbers of its own.
pub(super) fn parts(scale: Scale) -> usize {
    match scale {
        Scale::Quick => 6,
        Scale::Smoke | Scale::Full => 1,
    }
}

/// Most requests and answers a second over all conditions.
const MOST_PER_S: f64 = 150_000.0;

/// lab22.
pub struct ChoosingAServerLab;

impl Lab for ChoosingAServerLab {
    type Params = Params;

    const TAKES_TARGET: bool = false;

    const CARD: Card = Card {
        number: 22,
        name: "choosing_a_server",
        title: "Choosing a server",
        question: "Ten servers, one of them slow or broken: which one gets the next request?",
        predict: &[
            Question {
                key: "sinkhole",
                ask: "One of {servers} servers refuses everything at once, and each request goes to a server that has least in flight, at a load of {load}. What share of all requests ends in an error?",
                unit: "%",
                hint: "0 to 100",
            },
            Question {
                key: "p99",
                ask: "All {servers} servers work. One request in a hundred takes longer than the 99th percentile. How many times as long is it when servers are taken at random as when each request takes the better of two?",
                unit: "times",
                hint: "1 to 20",
            },
            Question {
                key: "fan_out",
                ask: "A share of {tail} of all answers is slow. A request needs the largest number of answers of {fan-outs}. What share of these requests is slow?",
                unit: "%",
                hint: "0 to 100",
            },
        ],
        next: &[
            (
                "cargo run --release -p lab22 -- --load 0.9",
                "nearer to saturation the better of two is worth more: by how much?",
            ),
            (
                "cargo run --release -p lab22 -- --servers 3",
                "how much of all goes into the sinkhole of three servers?",
            ),
            (
                "cargo run --release -p lab22 -- --ejected 200ms --strikes 1",
                "a server that is tried again sooner: what do the probes cost?",
            ),
            (
                "cargo run --release -- make next choose_well",
                "make it: a chooser that is no herd and fills no sinkhole",
            ),
        ],
        sources: lab_kit::sources!["lib.rs"],
        answers: include_str!("../answers.md"),
        sizes: Sizes {
            smoke: &[
                "--service",
                "10ms",
                "--window",
                "300ms",
                "--patience",
                "150ms",
                "--fleets",
                "3",
                "--ages",
                "20ms,100ms",
                "--ejected",
                "50ms",
                "--fan-outs",
                "1,10",
            ],
            full: &["--window", "11s"],
            trials: (1, 5),
        },
    };

    fn check(p: &Params) -> Result<(), String> {
        if p.ages.is_empty() || p.fan_outs.is_empty() {
            return Err("--ages and --fan-outs need at least one value each".into());
        }
        if p.ages.len() > 12 || p.fan_outs.len() > 12 {
            return Err("more than twelve --ages or --fan-outs: a curve needs fewer".into());
        }
        if p.service.s() < 2e-3 {
            return Err("--service is less than two ticks of a timer: make it 2ms or longer".into());
        }
        if p.patience.s() < 5.0 * p.service.s() {
            return Err("--patience is less than five times --service: most would give up whoever is chosen; lengthen it".into());
        }
        if p.window.s() < 20.0 * p.service.s() {
            return Err("--window is less than twenty times --service: no line has time to grow; lengthen it".into());
        }
        let rate = p.per_s();
        if rate > MOST_PER_S {
            return Err(format!(
                "this would be {rate:.0} requests and answers a second: fewer --fleets, --servers or --ages, or a longer --service or --window"
            ));
        }
        let waits = p.window.s() * p.rate();
        if waits * p.fleets as f64 > 1e6 {
            return Err(
                "more than a million requests in a condition: fewer --fleets or a shorter --window"
                    .into(),
            );
        }
        Ok(())
    }

    fn needs(p: &Params, extent: &Extent) -> Needs {
        // As in `measure`: fleets that only sleep do not disturb each other.
        let extent = &Extent { one_at_a_time: false, ..*extent };
        let lasts = crowd::READY.as_secs_f64() + p.lasts();
        let mut sweep = extent.sweep();
        for _ in 0..(Crowd::all(p).len() + FanOut::all(p).len()) * parts(extent.scale) {
            sweep.steady(1, lasts).only_sleeps();
        }
        let requests = p.per_s() * p.window.s();
        Needs {
            // Drawn before and counted afterwards, each in virtual time besides.
            seconds: sweep.seconds() + extent.times() * requests * 2e-6,
            memory: requests * 600.0,
            less: "a shorter --window or --patience, or fewer --fleets, --ages and --fan-outs",
            ..Needs::default()
        }
    }

    fn measure(p: &Params, session: &mut Session) -> Result<()> {
        let runtime = host::runtime()?;
        // Fleets that only sleep do not disturb each other, at any scale.
        session.one_at_a_time = false;
        let parts = parts(session.scale);
        let mut sweep = session.sweep();
        for crowd in Crowd::all(p) {
            let (series, crowd) = (crowd.series(), crowd.part(parts));
            for _ in 0..parts {
                sweep.steady(&series, crowd.age, 1, move |r| crowd::run(r, crowd)).only_sleeps();
            }
        }
        for fan in FanOut::all(p) {
            let (answers, fan) = (fan.answers as f64, fan.part(parts));
            for _ in 0..parts {
                sweep.steady(fan.series(), answers, 1, move |r| fan_out::run(r, fan)).only_sleeps();
            }
        }
        runtime.block_on(sweep.run())
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

impl Params {
    /// Requests per second to each fleet.
    pub(super) fn rate(&self) -> f64 {
        self.load * self.servers as f64 / self.service.s()
    }

    /// When a request is sent once more: what so many do not take longer than by two choices of endlessly many.
    pub(super) fn hedge_after(&self) -> f64 {
        self.service.s() * balance::quantile(self.load, 2, self.hedge)
    }

    /// Seconds until the last client has its answer, or has given up.
    pub(super) fn lasts(&self) -> f64 {
        let slow = 15.0 * self.service.s();
        self.window.s() + self.patience.s().max(slow)
    }

    /// Requests and answers per second over everything that runs side by side.
    fn per_s(&self) -> f64 {
        let fleets: usize = Crowd::all(self).iter().map(|crowd| crowd.fleets).sum();
        let fans = FanOut::all(self);
        let answers: usize = fans.iter().map(|fan| fan.requests * fan.answers).sum();
        // An answer is a timer; a request is a choice, two messages and two timers.
        fleets as f64 * self.rate() + 0.25 * answers as f64 / self.window.s()
    }
}
