//! What is measured, in which sizes, and what it takes.

use std::sync::Arc;

use lab_kit::{host, prelude::*};
use rayon::ThreadPoolBuilder;
use tokio::runtime::Builder;

use super::gauges::{LONGEST_GAP_S, THREADS};
use super::who::{tell, tell_from_blocking, threads};
use super::{
    beside, compute, compute_blocking, compute_in_place, compute_in_slices, compute_on_rayon,
    findings, languages, premise, sleep, sleep_on_the_loop,
};

/// The constants of the experiment.
#[derive(Args, Debug, Serialize, Deserialize)]
pub struct Params {
    /// Tasks that say which thread they run on
    #[arg(long, default_value_t = 10, value_parser = tasks)]
    pub tasks: usize,
    /// Workers of the multi-thread runtime [default: one for each processor]
    #[arg(long, default_value_t = host::cores().min(MOST_WORKERS), hide_default_value = true, value_parser = workers)]
    pub workers: usize,
    /// Time between two beats
    #[arg(long, default_value = "10ms")]
    pub beat: Time,
    /// How long the other task is busy
    #[arg(long, default_value = "150ms")]
    pub busy: Time,
    /// The task that yields computes this long between two yields
    #[arg(long, default_value = "2ms")]
    pub slice: Time,
    /// How long the heartbeat is watched
    #[arg(long, default_value = "280ms")]
    pub watch: Time,
    /// A poll that takes longer counts as slow
    #[arg(long, default_value = "5ms")]
    pub slow: Time,
}

const MOST_WORKERS: usize = 64;
/// Tokio's own limit on threads of `spawn_blocking` is 512.
const MOST_TASKS: usize = 500;

fn workers(text: &str) -> Result<usize, String> {
    whole(text, 1..=MOST_WORKERS)
}

fn tasks(text: &str) -> Result<usize, String> {
    whole(text, 1..=MOST_TASKS)
}

impl Params {
    /// When the other task becomes busy: in the middle between two beats, so that no coin is
    /// tossed over which of two timers fires first.
    pub(super) fn lead(&self) -> Duration {
        let beat = self.beat.duration();
        let room = self.watch.duration().saturating_sub(self.busy.duration()) / 2;
        let beats = (room.as_secs_f64() / beat.as_secs_f64()).floor().max(1.0);
        beat.mul_f64(beats + 0.5)
    }
}

/// lab02.
pub struct EventLoop;

impl Lab for EventLoop {
    type Params = Params;

    const TAKES_TARGET: bool = false;

    const CARD: Card = Card {
        number: 2,
        name: "event_loop",
        title: "The event loop",
        question: "What does one blocking call cost everybody else?",
        predict: &[
            Question {
                key: "sleep",
                ask: "A task calls std::thread::sleep for {busy}: longest gap between the beats of another?",
                unit: "ms",
                hint: "1 to 1000",
            },
            Question {
                key: "offloaded",
                ask: "The same time of computation inside spawn_blocking: longest gap?",
                unit: "ms",
                hint: "1 to 1000",
            },
            Question {
                key: "slices",
                ask: "Computed on the loop in slices of {slice} with yield_now between them: longest gap?",
                unit: "ms",
                hint: "1 to 1000",
            },
        ],
        next: &[
            (
                "cargo run --release --bin lab02 -- --busy 2s --watch 2.5s",
                "two seconds of computation in one task",
            ),
            (
                "cargo run --release --bin lab02 -- --slice 40ms",
                "yielding too seldom: what does the heartbeat say, and what do slow polls?",
            ),
            (
                "cargo run --release --bin lab02 -- --workers 8",
                "more workers: what do they cure, and what not?",
            ),
            (
                "cargo run --release --bin lab02 -- --with all",
                "the same call in other runtimes: which of them is held up by it?",
            ),
            (
                "cargo run --release -- make next unblock_the_loop",
                "make it: a loop that answers while it computes",
            ),
        ],
        sources: lab_kit::sources!["lib.rs"],
        answers: include_str!("../answers.md"),
        sizes: Sizes {
            smoke: &["--beat", "4ms", "--busy", "16ms", "--watch", "24ms", "--slice", "1ms"],
            full: &["--busy", "300ms", "--watch", "600ms"],
            trials: (3, 7),
        },
    };

    const PRESETS: &'static [Preset] = &[Preset {
        name: "source",
        what: "ten tasks and their thread (lab notes), 2 s of mathematics without await (note)",
        flags: "--tasks 10 --busy 2s --watch 2.5s",
        differs: "The lab notes print the thread's name ten times. The note has 50,000 users on the loop; here a heartbeat stands for the others.",
        printed: &[
            Printed {
                what: "threads of ten tasks",
                unit: "",
                at: &[(0.0, 1.0)],
                read: |s, _| s.only("threads/current")?.gauge(THREADS),
            },
            Printed {
                what: "how long the others stand still",
                unit: "s",
                at: &[(0.0, 2.0)],
                read: |s, _| s.only("compute")?.gauge(LONGEST_GAP_S),
            },
        ],
    }];

    const PROGRAMS: Programs = languages::PROGRAMS;

    fn check(p: &Params) -> Result<(), String> {
        let (beat, busy, watch) = (p.beat.s(), p.busy.s(), p.watch.s());
        if beat < 2e-3 {
            return Err("--beat must be 2 ms or more: timers tick in milliseconds".into());
        }
        if busy < 4.0 * beat {
            return Err(
                "--busy is shorter than four beats: such a gap could be a late timer".into()
            );
        }
        if watch < busy + 2.0 * beat {
            return Err("--watch must be two beats longer than --busy, to see the heart beat before and after".into());
        }
        if p.slice.s() < 1e-4 {
            return Err("--slice must be 100µs or more: this would measure yield_now itself".into());
        }
        Ok(())
    }

    fn needs(p: &Params, extent: &Extent) -> Needs {
        const ARMS: f64 = 10.0;
        let beside = p.watch.s().max(p.lead().as_secs_f64() + p.busy.s() + p.beat.s());
        let told = p.tasks as f64 * 1.5e-3;
        let others: f64 = extent.with.iter().map(|l| languages::takes(l, beside)).sum();
        Needs {
            seconds: extent.times() * (ARMS * (beside + 5e-3) + told + others),
            // A line in the record for each beat.
            memory: extent.times() * ARMS * beside / p.beat.s() * 100.0,
            less: "a shorter --watch and --busy",
            ..Needs::default()
        }
    }

    fn measure(p: &Params, session: &mut Session) -> Result<()> {
        let kernel = Kernel::calibrate();
        let (busy, slice) = (p.busy.duration(), p.slice.duration());
        let pool = Arc::new(ThreadPoolBuilder::new().num_threads(1).build()?);
        let one = || Builder::new_current_thread().enable_all().build();
        let many = || Builder::new_multi_thread().worker_threads(p.workers).enable_all().build();

        let programs = session.programs(&Self::PROGRAMS);
        session.note_interpreters(&programs);
        let mut plan = session.plan();
        plan.point("threads/current", 0.0, |r| threads(r, one()?, p.tasks, || tell(kernel)));
        plan.point("threads/multi", 0.0, |r| threads(r, many()?, p.tasks, || tell(kernel)));
        plan.point("threads/blocking", 0.0, |r| {
            threads(r, one()?, p.tasks, || tell_from_blocking(p.tasks))
        });

        // Awaiting: the loop is free.
        plan.point("sleep", 0.0, |r| beside(r, one()?, p, 1, |_| sleep(busy)));
        // The wrong ways: nothing else is polled until the call returns.
        plan.point("thread_sleep", 0.0, |r| beside(r, one()?, p, 1, |_| sleep_on_the_loop(busy)));
        plan.point("compute", 0.0, |r| beside(r, one()?, p, 1, |_| compute(kernel, busy)));
        // The right ways.
        plan.point("yield", 0.0, |r| {
            beside(r, one()?, p, 1, |_| compute_in_slices(kernel, busy, slice))
        });
        plan.point("spawn_blocking", 0.0, |r| {
            beside(r, one()?, p, 1, |_| compute_blocking(kernel, busy))
        });
        plan.point("rayon", 0.0, |r| {
            beside(r, one()?, p, 1, |_| compute_on_rayon(pool.clone(), kernel, busy))
        });
        plan.point("block_in_place", 0.0, |r| {
            beside(r, many()?, p, 1, |_| compute_in_place(kernel, busy))
        });
        // The wrong way on a multi-thread runtime: one worker blocked, then all of them.
        if p.workers > 1 {
            plan.point("one_of_two", 0.0, |r| {
                beside(r, many()?, p, 2, |i| async move {
                    match i {
                        0 => sleep_on_the_loop(busy).await,
                        _ => compute_in_slices(kernel, busy, slice).await,
                    }
                })
            });
            plan.point("one_alone", 0.0, |r| beside(r, many()?, p, 1, |_| sleep_on_the_loop(busy)));
        }
        plan.point("all_workers", 0.0, |r| {
            beside(r, many()?, p, p.workers, |_| sleep_on_the_loop(busy))
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
