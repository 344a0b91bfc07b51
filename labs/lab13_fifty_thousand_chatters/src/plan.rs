//! The flags of lab13, and the conditions it measures.

use std::{cell::RefCell, collections::BTreeSet};

use lab_kit::{limits, os, prelude::*};

use super::{Arm, Buffer, far, findings, holder, premise};

/// The constants of the experiment.
#[derive(Args, Clone, Debug, Serialize, Deserialize)]
pub struct Params {
    /// Chatters: so many parked tasks are tried, and to so many everything else is extrapolated
    #[arg(long, default_value_t = 50_000, value_parser = many)]
    pub tasks: usize,
    /// Most threads to try
    #[arg(long, default_value_t = 4000, value_parser = many)]
    pub threads: usize,
    /// Most connections to try, each with a task
    #[arg(long, default_value_t = 20_000, value_parser = many)]
    pub sockets: usize,
    /// How many numbers of each to try, in equal steps up to the most: a line needs three
    #[arg(long, default_value_t = 5, value_parser = steps)]
    pub steps: u8,
    /// Stack asked for for each thread
    #[arg(long, default_value = "2MB", value_parser = stack)]
    pub stack: Size,
    /// Other stacks to try, with commas
    #[arg(long, value_delimiter = ',', value_parser = stack, default_value = "256KB,1MB,8MB")]
    pub stacks: Vec<Size>,
    /// Buffer that a chatter reads into
    #[arg(long, value_enum, default_value_t)]
    pub buffer: Buffer,
    /// How much stack a chatter once needed in the deep arms, before it parked
    #[arg(long, default_value = "64KB")]
    pub depth: Size,
    /// In a process of its own: hold chatters of this kind, and say what they take
    #[arg(long, value_enum, hide = true)]
    #[serde(skip)]
    pub hold: Option<Arm>,
    /// With --hold: how many
    #[arg(long, default_value_t = 0, hide = true)]
    #[serde(skip)]
    pub number: usize,
    /// In a process of its own: hold the other ends of connections
    #[arg(long, hide = true)]
    #[serde(skip)]
    pub far: bool,
}

/// Seconds until a process has started and the kernel has cleared up after the one before.
const PROCESS_S: f64 = 0.12;

fn many(text: &str) -> Result<usize, String> {
    whole(text, 10..=1_000_000)
}

fn steps(text: &str) -> Result<u8, String> {
    whole(text, 2..=50)
}

fn stack(text: &str) -> Result<Size, String> {
    let size: Size = text.parse()?;
    let inside = (64 << 10..=256 << 20).contains(&size.b());
    inside.then_some(size).ok_or_else(|| "expected a stack from 64KB to 256MB".into())
}

/// lab13.
pub struct FiftyThousandChatters;

impl Lab for FiftyThousandChatters {
    type Params = Params;

    const TAKES_TARGET: bool = false;

    const CARD: Card = Card {
        number: 13,
        name: "fifty_thousand_chatters",
        title: "Fifty thousand chatters",
        question: "What does one more connection cost?",
        predict: &[
            Question {
                key: "tasks",
                ask: "{tasks} chatters who say nothing, each a parked task: how much memory do they take?",
                unit: "MB",
                hint: "1 to 1000",
            },
            Question {
                key: "threads",
                ask: "And with a thread each: how much memory, the kernel's share included?",
                unit: "GB",
                hint: "0.1 to 100",
            },
        ],
        next: &[
            (
                "cargo run --release --bin lab13 -- --sockets 50000 --threads 50000",
                "up to what this machine allows, and which limit stops it",
            ),
            (
                "cargo run --release --bin lab13 -- --stack 8MB",
                "the stack that C programs and Python ask for: four times the addresses, the same memory",
            ),
            (
                "cargo run --release --bin lab13 -- --buffer 32KB",
                "a buffer in the future, eight times as large; the task beside it does not notice",
            ),
        ],
        sources: lab_kit::sources!["lib.rs"],
        answers: include_str!("../answers.md"),
        sizes: Sizes {
            smoke: &[
                "--tasks",
                "600",
                "--threads",
                "60",
                "--sockets",
                "60",
                "--steps",
                "3",
                "--stacks",
                "256KB",
            ],
            full: &["--threads", "16000", "--sockets", "50000"],
            trials: (1, 3),
        },
    };

    fn check(p: &Params) -> Result<(), String> {
        const ROOM: usize = 32 << 10;
        if p.depth.b() > 1 << 20 || p.depth.b() + ROOM > p.stack.b() {
            return Err("--depth must be 1MB or less, and 32KB less than --stack".into());
        }
        let fewest = Arm::LINES.iter().map(|arm| arm.most(p)).min();
        if fewest < Some(usize::from(p.steps)) {
            return Err("more --steps than chatters: fewer steps, or more of everything".into());
        }
        Ok(())
    }

    fn needs(p: &Params, extent: &Extent) -> Needs {
        let steps = f64::from(p.steps);
        let lines = Arm::LINES.into_iter().map(|arm| {
            let most = arm.most(p);
            // What the machine does not allow is not tried.
            let allowed =
                limits::least(arm.limits(most)).map_or(most, |l| most.min(l.left as usize));
            // With few of them nothing waits for the kernel.
            let process = match most {
                100.. => PROCESS_S,
                _ => PROCESS_S / 4.0,
            };
            // In equal steps up to the most: so many in a process on average.
            let average = allowed as f64 * (steps + 1.0) / (2.0 * steps);
            steps * (process + average * arm.each_s(p))
        });
        let stacks = p.other_stacks().len() as f64;
        let quarter = p.threads_by_stack() as f64 * Arm::Thread.each_s(p);
        let round = 0.2 + lines.sum::<f64>() + stacks * (PROCESS_S + quarter);
        Needs {
            seconds: extent.times() * round,
            // How much of the memory it takes is the experiment: it looks before every step, and stops.
            memory: 0.0,
            less: "fewer --tasks, --threads, --sockets or --steps",
            ..Needs::default()
        }
    }

    fn instead(p: &Params) -> Option<Result<()>> {
        match p.hold {
            _ if p.far => Some(far::hold()),
            Some(arm) => Some(holder::hold(p, arm)),
            None => None,
        }
    }

    fn measure(p: &Params, session: &mut Session) -> Result<()> {
        let stopped = RefCell::new(BTreeSet::new());
        if os::huge_pages().as_deref() == Some("always") {
            session.note("huge pages are given unasked here (transparent_hugepage is \"always\"): memory touched once may take 2 MB");
        }
        let mut conditions = Vec::new();
        for arm in Arm::LINES {
            let mut most = arm.most(p);
            // What is known to be too much is not tried.
            if let Some(limit) = limits::least(arm.limits(most)).filter(|l| l.left < most as u64) {
                session.note(format!(
                    "{}: {} instead of {most}, because {}",
                    arm.series(),
                    limit.left,
                    limit.what
                ));
                most = limit.left as usize;
            }
            let steps = usize::from(p.steps);
            conditions.extend((1..=steps).map(|i| (arm, most * i / steps)));
        }
        let mut plan = session.plan();
        let stopped = &stopped;
        plan.point("nobody", 0.0, move |r| holder::measure(r, p, Arm::Nobody, 0, stopped));
        for (arm, number) in conditions {
            plan.point(arm.series(), number as f64, move |r| {
                holder::measure(r, p, arm, number, stopped)
            });
        }
        for stack in p.other_stacks() {
            let number = p.threads_by_stack();
            plan.point("stack", stack.f(), move |r| {
                let asked = Params { stack, depth: Size::bytes(1), ..p.clone() };
                holder::measure(r, &asked, Arm::Thread, number, stopped)
            });
        }
        plan.run()?;
        for text in stopped.take() {
            session.note(text);
        }
        Ok(())
    }

    fn premise(p: &Params, at: &Condition, trial: &Trial) -> Result<(), String> {
        premise::premise(p, at, trial)
    }

    fn explain(p: &Params, summary: &Summary) -> Findings {
        findings::explain(p, summary)
    }
}

impl Params {
    /// The stacks to try besides the usual one, each as often as it is tried in a round.
    fn other_stacks(&self) -> Vec<Size> {
        let mut all = self.stacks.clone();
        all.retain(|stack| *stack != self.stack);
        all.sort_unstable();
        all.dedup();
        // Fewer than three cannot lend each other an interval.
        let repeats = match all.len() {
            n @ 1..3 => 3_usize.div_ceil(n),
            _ => 1,
        };
        all.repeat(repeats)
    }

    /// So many threads show what a stack costs.
    pub(super) fn threads_by_stack(&self) -> usize {
        self.threads.div_ceil(4)
    }
}
