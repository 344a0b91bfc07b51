//! What is measured, in which sizes, and what it takes.

use lab_kit::{host, prelude::*};
use rayon::{ThreadPool, ThreadPoolBuilder};

use super::{
    findings, languages, premise, wait_in_turn, wait_on_threads, wait_together, work_in_turn,
    work_on_threads, work_together,
};

/// The constants of the experiment.
#[derive(Args, Debug, Serialize, Deserialize)]
pub struct Params {
    /// The unit of the waits: u
    #[arg(long, default_value = "50ms")]
    pub unit: Time,
    /// The waits in units, with commas
    #[arg(long, value_delimiter = ',', value_parser = units, default_value = "3,1,2")]
    pub waits: Vec<f64>,
    /// Cost of one computation on a processor of its own: p
    #[arg(long, default_value = "50ms")]
    pub cost: Time,
    /// Number of computations: n
    #[arg(long, default_value_t = 4, value_parser = few)]
    pub jobs: usize,
    /// Threads of the pool that computes [default: one for each processor]
    #[arg(long, default_value_t = host::cores().min(MOST), hide_default_value = true, value_parser = few)]
    pub threads: usize,
}

/// Most threads of a pool, most waits, most computations.
const MOST: usize = 256;

fn few(text: &str) -> Result<usize, String> {
    whole(text, 1..=MOST)
}

fn units(text: &str) -> Result<f64, String> {
    within(text, 0.01..=1000.0, "a number of units from 0.01 to 1000")
}

impl Params {
    pub(super) fn durations(&self) -> Vec<Duration> {
        let unit = self.unit.duration();
        self.waits.iter().map(|n| unit.mul_f64(*n)).collect()
    }
}

/// lab01.
pub struct WaitingAndWorking;

impl Lab for WaitingAndWorking {
    type Params = Params;

    const TAKES_TARGET: bool = false;

    const CARD: Card = Card {
        number: 1,
        name: "waiting_and_working",
        title: "Waiting and working",
        question: "Does doing several things at once make a program faster?",
        predict: &[
            Question {
                key: "waits",
                ask: "Waits of {waits} times u = {unit}, all begun together on one thread: how long, in u?",
                unit: "u",
                hint: "1 to 6",
            },
            Question {
                key: "jobs",
                ask: "{jobs} computations of p = {cost} each, all begun together on one thread: how long, in p?",
                unit: "p",
                hint: "1 to 4",
            },
            Question {
                key: "speedup",
                ask: "The same computations on a pool of threads (rayon; here {threads}): how many times faster than one after another?",
                unit: "times",
                hint: "1 to 4",
            },
        ],
        next: &[
            (
                "cargo run --release --bin lab01 -- --unit 1s --cost 5s --trials 1",
                "waits of 3 s, 1 s and 2 s, and four computations of 5 s: how long on one event loop?",
            ),
            (
                "cargo run --release --bin lab01 -- --jobs 5 --threads 2",
                "a job too many: what does the fifth one cost?",
            ),
            (
                "cargo run --release --bin lab01 -- --waits 1,1,1,1,1,1,1,1,1,1 --jobs 10 --threads 16",
                "more threads than processors: who gains?",
            ),
            (
                "cargo run --release --bin lab01 -- --with all",
                "the same in other languages: where do threads wait, and where do they compute, side by side?",
            ),
        ],
        sources: lab_kit::sources!["lib.rs"],
        answers: include_str!("../answers.md"),
        sizes: Sizes {
            smoke: &["--unit", "5ms", "--cost", "5ms"],
            full: &["--unit", "200ms", "--cost", "200ms"],
            trials: (3, 7),
        },
    };

    const PRESETS: &'static [Preset] = &[Preset {
        name: "source",
        what: "waits of 3 s, 1 s and 2 s, and four computations of 5 s (note on concurrency and parallelism)",
        flags: "--waits 3,1,2 --unit 1s --jobs 4 --cost 5s",
        differs: "The note has round seconds and Python's asyncio.",
        printed: &[
            Printed {
                what: "waits begun together",
                unit: "s",
                at: &[(0.0, 3.0)],
                read: |s, _| s.only("waits/concurrent")?.wall_s(),
            },
            Printed {
                what: "computations in a loop",
                unit: "s",
                at: &[(0.0, 20.0)],
                read: |s, _| s.only("jobs/sequential")?.wall_s(),
            },
            Printed {
                what: "computations begun together on one event loop",
                unit: "s",
                at: &[(0.0, 20.0)],
                read: |s, _| s.only("jobs/concurrent")?.wall_s(),
            },
        ],
    }];

    const PROGRAMS: Programs = languages::PROGRAMS;

    fn check(p: &Params) -> Result<(), String> {
        if p.waits.len() > MOST {
            return Err(format!("--waits: more than {MOST} waits, each of which gets a thread"));
        }
        let waits = p.durations();
        let shortest = waits.into_iter().min();
        let millisecond = Duration::from_millis(1);
        if shortest.is_none_or(|w| w < millisecond) || p.cost.duration() < millisecond {
            return Err("waits and --cost must be 1 ms or more: timers tick in milliseconds".into());
        }
        Ok(())
    }

    fn needs(p: &Params, extent: &Extent) -> Needs {
        let waits = p.durations().into_iter().map(|w| w.as_secs_f64());
        let (sum, longest) = waits.fold((0.0, 0.0), |(s, l): (f64, f64), w| (s + w, l.max(w)));
        let (cost, jobs) = (p.cost.s(), p.jobs as f64);
        let shared = (jobs / needs::processors(p.threads)).max(jobs / p.threads as f64);
        let others: f64 = extent.with.iter().map(|l| languages::takes(p, l)).sum();
        let round = sum + 2.0 * longest + cost * (2.0 * jobs + shared + 1.0);
        Needs {
            seconds: extent.times() * (round + others + 0.05),
            less: "a shorter --unit or --cost, fewer --waits or --jobs",
            ..Needs::default()
        }
    }

    fn measure(p: &Params, session: &mut Session) -> Result<()> {
        let kernel = Kernel::calibrate();
        let (waits, jobs, cost) = (&p.durations(), p.jobs, p.cost.duration());
        let (wide, workers) = (pool("waiter", waits.len())?, pool("worker", p.threads)?);
        let sleepers = pool("sleeper", jobs)?;

        let programs = session.programs(&Self::PROGRAMS);
        session.note_interpreters(&programs);
        let mut plan = session.plan();
        plan.point("waits/sequential", 0.0, |r| wait_in_turn(r, waits));
        plan.point("waits/concurrent", 0.0, |r| wait_together(r, waits));
        plan.point("waits/rayon", 0.0, |r| wait_on_threads(r, &wide, waits));
        plan.point("jobs/sequential", 0.0, |r| work_in_turn(r, jobs, kernel, cost));
        plan.point("jobs/concurrent", 0.0, |r| work_together(r, jobs, kernel, cost));
        plan.point("jobs/rayon", 0.0, |r| work_on_threads(r, &workers, jobs, || kernel.work(cost)));
        plan.point("jobs/slept", 0.0, |r| {
            work_on_threads(r, &sleepers, jobs, || std::thread::sleep(cost))
        });
        for program in &programs {
            languages::add(&mut plan, program, p);
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

fn pool(name: &'static str, threads: usize) -> Result<ThreadPool> {
    let named = move |i| format!("{name} {}", i + 1);
    Ok(ThreadPoolBuilder::new().num_threads(threads).thread_name(named).build()?)
}
