//! What is run and for how long: the flags, the sources, and what they need.

use clap::ValueEnum;
use lab_kit::{accounts::Fate, host, prelude::*};
use mock_server::{By, Every, Faults, MAX_SLOTS, Route, Slots, Tail};

use super::{
    all_or_nothing,
    answer::answer,
    fetch_all_then_infer_all, findings, infer_each_as_it_arrives, infer_each_on_the_loop,
    one_after_another, premise,
    tail::{Asked, ask},
    workers::Workers,
};

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
pub(super) struct Source {
    pub(super) name: &'static str,
    pub(super) fetch: Duration,
    pub(super) infer: Duration,
    pub(super) fails: bool,
}

impl Params {
    /// The sources, in the order in which the program names them.
    pub(super) fn sources(&self) -> [Source; 3] {
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
    pub(super) fn services(&self) -> Spec {
        let own = Slots::Own { slots: MAX_SLOTS, queue: None };
        let route = |s: Source| Route {
            slots: own,
            ..Route::new(format!("/{}", s.name), ServiceTime::Constant(s.fetch))
        };
        let error = Every { nth: 1, status: 500, by: By::Item };
        Spec {
            routes: self.sources().map(route).into(),
            faults: Faults { every: vec![error], ..Faults::default() },
            ..Spec::new(1, ServiceTime::Constant(Duration::ZERO))
        }
    }

    /// A fetch this long has met the slow tail, and so has its second request if there was one:
    /// half way between the answer to a second request and a slow one.
    pub(super) fn slow_from(&self) -> Duration {
        let (usual, after) = (self.usual.duration(), self.hedge_after.duration());
        (usual + after + usual.mul_f64(self.slow_factor)) / 2
    }

    fn tail(&self) -> Tail {
        Tail { probability: self.slow_share, factor: self.slow_factor }
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
            (
                "cargo run --release -- make next hedge_once",
                "make it: a second request for the slow ones",
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

    const PRESETS: &'static [Preset] = &[Preset {
        name: "source",
        what: "weather, news and knowledge, then inference on 3 workers (lesson, example 4)",
        flags: "--weather 300ms --news 400ms --knowledge 250ms --infer 500ms --workers 3",
        differs: "The source computes its time of one after another and does not measure it. Its two phases take as long only with a processor for each of the three workers, or where workers sleep.",
        printed: &[
            Printed {
                what: "one after another, computed",
                unit: "s",
                at: &[(0.0, 2.45)],
                read: |s, _| s.only("one_after_another")?.wall_s(),
            },
            Printed {
                what: "two phases, workers that sleep",
                unit: "s",
                at: &[(0.0, 0.9)],
                read: |s, _| s.only("slept/phases")?.wall_s(),
            },
            Printed {
                what: "two phases, workers that compute",
                unit: "s",
                at: &[(0.0, 0.9)],
                read: |s, _| s.only("phases")?.wall_s(),
            },
        ],
    }];

    fn check(p: &Params) -> Result<(), String> {
        if p.infer.len() != 1 && p.infer.len() != 3 {
            return Err("--infer takes one cost for all sources, or three with commas".into());
        }
        let sources = p.sources();
        let shortest = sources.iter().map(|s| s.fetch.min(s.infer)).min();
        if shortest.is_none_or(|t| t < Duration::from_millis(2)) {
            return Err(
                "fetches and --infer must be 2 ms or more: timers tick in milliseconds".into()
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
        plan.point("one_after_another", 0.0, |r| answer(r, p, workers, sources, one_after_another));
        plan.point("phases", 0.0, |r| answer(r, p, workers, sources, fetch_all_then_infer_all));
        plan.point("on_the_loop", 0.0, |r| answer(r, p, workers, sources, infer_each_on_the_loop));
        plan.point("as_it_arrives", 0.0, |r| {
            answer(r, p, workers, sources, infer_each_as_it_arrives)
        });
        if can_fail {
            plan.point("all_or_nothing", 0.0, |r| answer(r, p, workers, one_fails, all_or_nothing));
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
        let runtime = host::runtime()?;
        let (in_flight, after) = (3 * p.clients, p.hedge_after.duration());
        let mut sweep = session.sweep();
        sweep.steady("tail/plain", 0.0, in_flight, move |r| ask(r, asked, None));
        sweep.steady("tail/hedged", 0.0, in_flight, move |r| ask(r, asked, Some(after)));
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
