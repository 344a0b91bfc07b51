//! What is run and for how long: the flags, the levels, and what they need.

use clap::ValueEnum;
use lab_kit::{host, prelude::*};

use super::{PARTS, findings, mixed, premise, pure, two_limits};

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

fn workers(text: &str) -> Result<usize, String> {
    whole(text, 1..=MOST_WORKERS)
}

fn ratio(text: &str) -> Result<f64, String> {
    let ratio = text.trim().parse().ok().filter(|r| (0.1..=50.0).contains(r));
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
    pub(super) fn wait(&self) -> Duration {
        self.mixed_cost.duration().mul_f64(self.ratio)
    }

    /// The workers that the rule `P·(1 + w/p)` asks for.
    pub(super) fn rule(&self, cores: usize) -> usize {
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
    pub(super) fn width(&self, host: &host::Host, workers: usize) -> f64 {
        match self.work {
            Work::Spin => host.width(workers),
            Work::Sleep => workers as f64,
        }
    }

    /// Items of pure computation for all workers together: two windows of them, and two for each.
    pub(super) fn together(&self, host: &host::Host, workers: usize) -> usize {
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

    const PRESETS: &'static [Preset] = &[Preset {
        name: "source",
        what: "at most 5 fetches, 3 workers (lesson, example 5)",
        flags: "--fetch 100ms --io 5 --ios 5 --cost 200ms --cpu 3 --cpus 3 --work sleep --window 667ms",
        differs: "The source has 20 items. Here it is one more, which fills the line and is not counted. Here workers sleep, so that three fit on any machine. The source prints no figure of it.",
        printed: &[],
    }];

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
            + extent.that_fit(&p.ios).into_iter().map(|io| both(io, p.cpu)).sum::<f64>()
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
            plan.point("io", io as f64, move |r| two_limits(r, p, (io, p.cpu), items, compute));
        }
        for cpu in p.cpus.clone() {
            let items = p.items(&host, p.io, cpu);
            plan.point("cpu", cpu as f64, move |r| two_limits(r, p, (p.io, cpu), items, compute));
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
