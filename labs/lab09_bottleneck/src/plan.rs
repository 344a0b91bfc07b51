//! What is run and for how long: the flags, the pipelines, and what they need.

use clap::ValueEnum;
use lab_kit::{host, prelude::*, theory::Pipeline};
use tokio::runtime;

use super::{
    beside::{in_virtual_time, one_by_one, only_process},
    findings, pipeline, premise,
    stages::{Stages, Step},
    workers::Job,
};

/// The constants of the experiment.
#[derive(Args, Debug, Serialize, Deserialize)]
pub struct Params {
    /// The pipeline that is to be held back by fetch: widths and times
    #[arg(long, default_value = "fetch=2x50ms,process=1x6ms,store=2x16ms")]
    pub io: Stages,
    /// The one that is to be held back by process
    #[arg(long, default_value = "fetch=8x80ms,process=1x25ms,store=2x20ms")]
    pub cpu: Stages,
    /// The one that is to be held back by store
    #[arg(long, default_value = "fetch=6x90ms,process=1x8ms,store=1x25ms")]
    pub storage: Stages,
    /// Items through each pipeline [default: 24; the problem's own with --problem; 1000 with --simulate]
    #[arg(long, value_parser = count)]
    pub items: Option<usize>,
    /// Places in the queue before process and in the one before store
    #[arg(long, default_value_t = 4, value_parser = level)]
    pub queue: usize,
    /// What process does: compute here, or wait for a computation elsewhere
    #[arg(long, value_enum, default_value = "spin")]
    pub work: Work,
    /// A worked problem instead of the three pipelines: simulated, and measured with shorter times
    #[arg(long, value_enum)]
    #[serde(alias = "preset")]
    pub problem: Option<Problem>,
    /// Any pipeline, simulated only: fetch=10x100ms,process=8xexp:500ms,store=1x50ms
    #[arg(long, value_name = "STAGES", conflicts_with = "problem")]
    pub simulate: Option<Stages>,
}

/// What the process stage does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Work {
    /// Computes: needs a processor.
    Spin,
    /// Waits, as for an accelerator or another machine: needs none.
    Sleep,
}

/// Worked problems. What only waits has ten permits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Problem {
    /// 1000 items of 0.1 s, 0.5 s and 0.05 s on 4 cores
    Lesson1,
    /// 100 items of 1 s, 2 s and 0.5 s on 4 cores
    Lesson2,
    /// 1000 documents: 10 s to download, 10 at a time; 5 s to extract and 2 s to embed on 8 cores; 0.1 s to store
    Documents,
}

impl Problem {
    fn stages(self) -> (&'static str, usize) {
        match self {
            Problem::Lesson1 => ("fetch=10x100ms,process=4x500ms,store=10x50ms", 1000),
            Problem::Lesson2 => ("fetch=10x1s,process=4x2s,store=10x500ms", 100),
            // Extracting and embedding share the cores, so they are one stage of 7 s.
            Problem::Documents => ("fetch=10x10s,process=8x7s,store=10x100ms", 1000),
        }
    }
}

/// A pipeline to look into: run as it is (x = 0) and with its stage x doubled.
pub(super) struct Scenario {
    /// In the record.
    pub(super) series: String,
    pub(super) title: String,
    pub(super) stages: Stages,
    pub(super) items: usize,
    pub(super) work: Work,
    pub(super) simulated: bool,
}

/// Items through a pipeline that is measured, and through the measured form of a worked problem.
const ITEMS: usize = 24;
const SAMPLE: usize = 80;
/// Service time of the requests that only show what a request costs besides.
pub(super) const REQUEST: Duration = Duration::from_millis(25);
/// Longest service time in the measured form of a worked problem.
const SHORT: Duration = Duration::from_millis(100);

impl Params {
    pub(super) fn scenarios(&self) -> Vec<Scenario> {
        let scenario = |series: &str, title: &str, stages: &Stages, items, simulated| Scenario {
            series: series.into(),
            title: title.into(),
            stages: stages.clone(),
            items,
            // Four cores of a worked problem are not those of this machine.
            work: if self.problem.is_some() { Work::Sleep } else { self.work },
            simulated,
        };
        let items = self.items.unwrap_or(ITEMS);
        if let Some(stages) = &self.simulate {
            let items = self.items.unwrap_or(1000);
            return vec![scenario("simulated/stages", "Simulated", stages, items, true)];
        }
        if let Some(problem) = self.problem {
            let (text, own) = problem.stages();
            let long: Stages = text.parse().expect("the problems are well written");
            let (own, short) = (self.items.unwrap_or(own), long.shrunk_to(SHORT));
            let name = format!("simulated/{problem:?}").to_lowercase();
            return vec![
                scenario(&name, "Simulated", &long, own, true),
                scenario("shrunk", "Measured, shorter", &short, own.min(SAMPLE), false),
            ];
        }
        vec![
            scenario("io", "I/O-bound", &self.io, items, false),
            scenario("cpu", "CPU-bound", &self.cpu, items, false),
            scenario("storage", "Storage-bound", &self.storage, items, false),
        ]
    }

    /// The process stage by itself: the cost of a job, and how many for each processor.
    pub(super) fn pools(&self) -> (Duration, usize) {
        // A tenth of the stage's, so that the last jobs of all threads end at nearly the same time.
        let cost = self.cpu.0.get(1).map_or(SHORT, |s| s.service.mean()) / 10;
        // So many that a slice of the scheduler, which may come between, is little of them, and an even number:
        // twice as many threads share them, too.
        let each = match self.items.unwrap_or(ITEMS) {
            ..4 => 2,
            _ => 48,
        };
        (cost, each)
    }
}

/// A problem of the source, which prints no figure of it.
const fn of_the_lesson(flags: &'static str) -> Preset {
    Preset {
        name: "",
        what: "",
        flags,
        differs: "What only waits has ten permits. The whole is simulated; what is measured has shorter times and fewer items.",
        printed: &[],
    }
}

/// Seconds that an item takes the simulator at a stage.
const SIMULATED_S: f64 = 3e-7;

/// Most threads of a stage that runs here.
const MOST_THREADS: usize = 256;

/// lab09.
pub struct Bottleneck;

impl Lab for Bottleneck {
    type Params = Params;

    const CARD: Card = Card {
        number: 9,
        name: "bottleneck",
        title: "The bottleneck",
        question: "Which stage holds the system back, and what would help?",
        predict: &[
            Question {
                key: "fetch",
                ask: "A pipeline has a width and a time for each stage: {storage}. The width of fetch is doubled: how many times the throughput?",
                unit: "times",
                hint: "1 to 2",
            },
            Question {
                key: "store",
                ask: "And if the width of store is doubled instead?",
                unit: "times",
                hint: "1 to 2",
            },
        ],
        next: &[
            (
                "cargo run --release --bin lab09 -- --preset documents",
                "a problem of hours: answered by the simulator, checked in seconds",
            ),
            (
                "cargo run --release --bin lab09 -- --simulate \"fetch=20000x100ms,process=10000x500ms,store=2000x50ms\" --items 1000000",
                "ten thousand cores, a million items",
            ),
            (
                "cargo run --release --bin lab09 -- --simulate \"fetch=1x100ms,process=1x100.2ms,store=1x20ms\"",
                "a coin toss: what does doubling the longest stage bring?",
            ),
            (
                "cargo run --release --bin lab09 -- --work sleep --cpu \"fetch=40x50ms,process=16x100ms,store=4x10ms\"",
                "sixteen workers on a few cores: what is the difference between computing and waiting?",
            ),
            (
                "cargo run --release -- make next move_the_workers",
                "make it: the split of workers that gives the most",
            ),
        ],
        sources: lab_kit::sources!["lib.rs"],
        answers: include_str!("../answers.md"),
        sizes: Sizes {
            smoke: &[
                "--io",
                "fetch=2x4ms,process=1x1ms,store=2x2ms",
                "--cpu",
                "fetch=8x4ms,process=1x3ms,store=2x2ms",
                "--storage",
                "fetch=6x4ms,process=1x1ms,store=1x3ms",
                "--items",
                "2",
            ],
            full: &[],
            trials: (2, 6),
        },
    };

    const PRESETS: &'static [Preset] = &[
        Preset {
            name: "source",
            what: "the challenge: 0.1 s, 0.5 s and 0.05 s, 1,000 items, 4 cores (lesson)",
            ..of_the_lesson("--problem lesson1 --items 1000")
        },
        Preset {
            name: "prompt1",
            what: "10,000 items (lesson, prompt 1), with the times of the challenge",
            ..of_the_lesson("--problem lesson1 --items 10000")
        },
        Preset {
            name: "lesson1",
            what: "the challenge, as with --preset source",
            ..of_the_lesson("--problem lesson1 --items 1000")
        },
        Preset {
            name: "lesson2",
            what: "1 s, 2 s and 0.5 s, 100 items, 4 cores (lesson)",
            ..of_the_lesson("--problem lesson2 --items 100")
        },
        Preset {
            name: "documents",
            what: "documents: 10 s, 5 s + 2 s, 0.1 s, 8 cores, 10 at a time (lesson)",
            ..of_the_lesson("--problem documents --items 1000")
        },
    ];

    const FORMERLY: &'static [(&'static str, &'static str)] = &[("preset", "problem")];

    fn check(p: &Params) -> Result<(), String> {
        for Scenario { stages, items, simulated, .. } in p.scenarios() {
            if simulated {
                let runs = stages.0.len() * (stages.0.len() + 1);
                if items * runs > 100_000_000 {
                    return Err("fewer --items or fewer stages: the simulator would need more than a minute".into());
                }
                continue;
            }
            let named = stages.0.iter().map(|s| s.name);
            if !named.eq(["fetch", "process", "store"]) {
                return Err(format!(
                    "{stages}: what is measured has the stages fetch, process and store; --simulate takes any"
                ));
            }
            if !stages.constant() {
                return Err(format!(
                    "{stages}: what is measured has constant service times; --simulate takes random ones"
                ));
            }
            let millisecond = Duration::from_millis(1);
            if stages.0.iter().any(|s| s.service.mean() < millisecond) {
                return Err(format!(
                    "{stages}: service times must be 1 ms or more, since timers tick in milliseconds"
                ));
            }
            let most = [1000, MOST_THREADS, 1000];
            if let Some((step, most)) = stages.0.iter().zip(most).find(|(s, m)| 2 * s.width > *m) {
                return Err(format!(
                    "{stages}: at most {} wide can {} be, which is then doubled",
                    most / 2,
                    step.name
                ));
            }
            if items > 5000 {
                return Err("--items: a measured pipeline takes at most 5000".into());
            }
        }
        Ok(())
    }

    fn needs(p: &Params, extent: &Extent) -> Needs {
        let (mut round, mut simulated, mut measures) = (0.0, 0.0, false);
        for Scenario { stages, items, work, simulated: virtually, .. } in p.scenarios() {
            for stages in stages.what_if() {
                let steps = stages.0.len() as f64;
                if virtually {
                    simulated += items as f64 * steps * SIMULATED_S;
                    continue;
                }
                measures = true;
                let step = |s: &Step| (s.mean_s() + needs::REQUEST_S, s.width);
                let mut steps: Vec<(f64, usize)> = stages.0.iter().map(step).collect();
                if let (Work::Spin, Some((service, width))) = (work, steps.get_mut(1)) {
                    *service *= (*width as f64 / needs::processors(*width)).max(1.0);
                }
                let widest = stages.0.iter().map(|s| s.width).sum();
                round += Pipeline::new(&steps).makespan(items) + needs::connected(widest);
            }
        }
        if measures {
            round += 8.0 * (REQUEST.as_secs_f64() + 2e-3) + 0.05;
        }
        let mut pools = 0.0;
        if p.simulate.is_none() && p.problem.is_none() {
            let ((cost, each), cores) = (p.pools(), host::cores().min(MOST_THREADS));
            let jobs = (each * cores) as f64 * cost.as_secs_f64();
            let sleeping = jobs / cores as f64 * 1.5;
            pools = 2.0 * jobs / needs::processors(cores) + sleeping;
            pools *= if extent.smoke() { 1.0 } else { 6.0 };
        }
        let most = p.scenarios().iter().map(|s| s.items).max().unwrap_or(0);
        Needs {
            seconds: extent.times() * (round + simulated) + pools,
            memory: most as f64 * 500.0,
            less: "fewer --items or shorter times",
            ..Needs::default()
        }
    }

    fn measure(p: &Params, session: &mut Session) -> Result<()> {
        // Fetch and store wait, for which one event loop is enough. Process has threads.
        let event_loop = runtime::Builder::new_current_thread().enable_all().build()?;
        let (event_loop, kernel, seed) = (&event_loop, Kernel::calibrate(), session.seed);
        let scenarios = p.scenarios();

        let mut plan = session.plan();
        if scenarios.iter().any(|s| !s.simulated) {
            let requests = scenarios[0].items.min(8);
            plan.point("request", 0.0, move |r| event_loop.block_on(one_by_one(r, requests)));
        }
        for scenario in &scenarios {
            for (x, stages) in scenario.stages.what_if().into_iter().enumerate() {
                let (n, work) = (scenario.items, Job(scenario.work, kernel));
                plan.point(&scenario.series, x as f64, move |r| {
                    if scenario.simulated {
                        in_virtual_time(r, &stages, n, p.queue, seed)
                    } else {
                        event_loop.block_on(pipeline(r, &stages, n, p.queue, work))
                    }
                });
            }
        }
        plan.run()?;
        if p.simulate.is_some() || p.problem.is_some() {
            return Ok(());
        }

        // Four short conditions are soon repeated.
        session.trials = if session.scale == Scale::Smoke { 1 } else { 6 };
        let (cost, each) = p.pools();
        let cores = host::cores().min(MOST_THREADS);
        let mut plan = session.plan();
        for threads in [cores, 2 * cores] {
            for (series, work) in [("pool/spin", Work::Spin), ("pool/sleep", Work::Sleep)] {
                let (jobs, work) = (each * cores, Job(work, kernel));
                plan.point(series, threads as f64, move |r| {
                    only_process(r, threads, jobs, work, cost)
                });
            }
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
