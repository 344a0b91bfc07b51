//! What is measured, and what it needs.

use std::sync::Arc;

use lab_kit::{accounts::Fate, host, prelude::*};
use rayon::{ThreadPool, ThreadPoolBuilder};

use super::{
    findings, in_another_process, languages,
    laws::Away,
    on_a_thread, on_rayon, on_the_loop, premise,
    server::Solve,
    users::Crowd,
    visit::{killed, solver, visit, worker_process},
    worker::{self, Worker},
};

/// The constants of the experiment.
#[derive(Args, Clone, Debug, Serialize, Deserialize)]
pub struct Params {
    /// Users, with commas for several crowds; each takes two descriptors
    #[arg(long, value_delimiter = ',', value_parser = level, default_value = "200")]
    pub users: Vec<usize>,
    /// Members of a room, at most
    #[arg(long, default_value_t = 10, value_parser = level)]
    pub per_room: usize,
    /// Messages a second, of all users together
    #[arg(long, default_value_t = 1000, value_parser = level)]
    pub rate: usize,
    /// Mathematics asked for: time on a processor of its own
    #[arg(long, default_value = "300ms")]
    pub block: Time,
    /// Time between two heartbeats to a user
    #[arg(long, default_value = "50ms")]
    pub beat: Time,
    /// A user that has heard no heartbeat for so long leaves, and one that answers none is given up
    #[arg(long, default_value = "500ms")]
    pub patience: Time,
    /// Messages that may wait to be written to a user; who has more of them reads too slowly
    #[arg(long, default_value_t = 1024, value_parser = level)]
    pub outbox: usize,
    /// Blocks of the event loop to lose users by, in multiples of the patience, with commas
    #[arg(long, value_delimiter = ',', value_parser = multiple, default_value = "0.95,1.1")]
    pub losses: Vec<f64>,
    /// Be the process that computes
    #[arg(long, hide = true)]
    #[serde(skip)]
    pub worker: bool,
}

fn multiple(text: &str) -> Result<f64, String> {
    within(text, 0.2..=4.0, "a number from 0.2 to 4")
}

impl Params {
    /// The loop is away in the middle of the conversation: a quarter of the block goes before it and
    /// a quarter after it.
    pub(super) fn away(&self, block: f64) -> Away {
        Away {
            at: block / 4.0,
            block,
            window: 1.5 * block,
            beat: self.beat.s(),
            patience: self.patience.s(),
            after: 0.0,
        }
    }

    pub(super) fn crowd(
        &self,
        origin: Instant,
        users: usize,
        block: f64,
        asks: Vec<Duration>,
    ) -> Crowd {
        let away = self.away(block);
        Crowd {
            users,
            per_room: self.per_room,
            rate: self.rate as f64,
            window: Duration::from_secs_f64(away.window),
            beat: self.beat.duration(),
            patience: self.patience.duration(),
            ask_at: Duration::from_secs_f64(away.at),
            asks,
            origin,
        }
    }

    /// Heartbeats that a user may leave unanswered in a row.
    pub(super) fn unanswered(&self) -> u32 {
        (self.patience.s() / self.beat.s()).ceil() as u32
    }

    /// Blocks to lose users by.
    pub(super) fn long_blocks(&self) -> Vec<f64> {
        self.losses.iter().map(|m| m * self.patience.s()).collect()
    }

    /// Each of them with how often it is tried in a round: all leave or none every time, and what lies
    /// between is chance.
    fn tries(&self, scale: Scale) -> impl Iterator<Item = (f64, usize)> {
        let between = match scale {
            Scale::Smoke => 1,
            Scale::Quick | Scale::Full => 5,
        };
        let blocks = self.long_blocks().into_iter();
        blocks.map(move |long| {
            let certain = [0.0, 1.0].contains(&self.away(long).leave_share());
            (long, if certain { 1 } else { between })
        })
    }
}

/// How often in a round the loop is blocked, which is not always away for exactly as long, and the
/// mathematics done elsewhere. The first crowd is the one that is looked at closely.
fn often(scale: Scale, first: bool) -> (usize, usize) {
    match scale {
        Scale::Smoke => (1, 1),
        Scale::Quick if first => (5, 2),
        Scale::Quick | Scale::Full => (3, 1),
    }
}

/// A thread for each processor but the loop's.
fn pool() -> Result<Arc<ThreadPool>> {
    let threads = (host::cores() - 1).max(1);
    // Without a handler a panic in the pool would end the whole program.
    let pool = ThreadPoolBuilder::new().num_threads(threads).panic_handler(|_| {});
    Ok(Arc::new(pool.build()?))
}

/// lab14.
pub struct ChatRoom;

impl Lab for ChatRoom {
    type Params = Params;

    const TAKES_TARGET: bool = false;

    const CARD: Card = Card {
        number: 14,
        name: "chat_room",
        title: "The chat room",
        question: "One user asks for mathematics: what do the others notice?",
        predict: &[
            Question {
                key: "inline",
                ask: "One user asks for {block} of mathematics, done on the event loop: the slowest 1 % of the others' echoes take at least?",
                unit: "ms",
                hint: "1 to 3000",
            },
            Question {
                key: "offloaded",
                ask: "Done in spawn_blocking: the slowest 1 % of the others' echoes take at least?",
                unit: "ms",
                hint: "1 to 3000",
            },
            Question {
                key: "killed",
                ask: "Done in another process, which is killed in the middle of it: how many users lose their connection?",
                unit: "users",
                hint: "0 to all of them",
            },
        ],
        next: &[
            (
                "cargo run --release --bin lab14 -- --block 2s --patience 3s --beat 200ms --losses 1.1",
                "two whole seconds of mathematics",
            ),
            (
                "cargo run --release --bin lab14 -- --patience 250ms",
                "users with less patience than the block is long: who is left on the event loop, and who beside it?",
            ),
            (
                "cargo run --release --bin lab14 -- --users 50,500,1000 --losses 0.9",
                "more users, the same number of messages: does it matter to how many the loop is lost?",
            ),
            (
                "cargo run --release --bin lab14 -- --per-room 40",
                "each message to four times as many: how long does the server work off what has waited?",
            ),
            (
                "cargo run --release --bin lab14 -- --with all",
                "the same users, and a server in another language: which of them answers while it computes?",
            ),
            (
                "cargo run --release -- make next offload_and_survive",
                "make it: workers that outlive a panic",
            ),
        ],
        sources: lab_kit::sources!["lib.rs"],
        answers: include_str!("../answers.md"),
        sizes: Sizes {
            smoke: &[
                "--users",
                "12",
                "--per-room",
                "4",
                "--rate",
                "400",
                "--beat",
                "10ms",
                "--block",
                "40ms",
                "--patience",
                "80ms",
                "--losses",
                "1.5",
            ],
            full: &[
                "--users",
                "200,9900",
                "--block",
                "2s",
                "--beat",
                "500ms",
                "--patience",
                "3s",
                "--losses",
                "0.95,1.1",
            ],
            trials: (1, 1),
        },
    };

    const PROGRAMS: Programs = languages::PROGRAMS;

    fn check(p: &Params) -> Result<(), String> {
        let (beat, block, patience) = (p.beat.s(), p.block.s(), p.patience.s());
        if p.users.iter().any(|n| *n < 2) || p.per_room < 2 {
            return Err("a conversation needs two: --users and --per-room from 2 on".into());
        }
        if beat < 10e-3 {
            return Err("--beat must be 10 ms or more: timers tick in milliseconds".into());
        }
        if block < 4.0 * beat {
            return Err("--block is shorter than four beats: a late timer could be as long".into());
        }
        if patience < 3.0 * beat {
            return Err(
                "--patience is less than three beats: users would leave because of one late timer"
                    .into(),
            );
        }
        let most = p.users.iter().copied().max().unwrap_or(2);
        let load = p.rate as f64 * p.per_room.min(most) as f64 + 2.0 * most as f64 / beat;
        if load > 60_000.0 {
            return Err(format!(
                "{load:.0} messages and heartbeats a second are more than one event loop can carry here: fewer --users, a lower --rate, smaller rooms, or a longer --beat"
            ));
        }
        let blocks = p.long_blocks();
        let longest = blocks.iter().copied().fold(block, f64::max);
        let fewest = p.users.iter().copied().min().unwrap_or(2);
        let burst = longest * p.rate as f64 * p.per_room.min(fewest) as f64 / fewest as f64;
        if 2.0 * burst > p.outbox as f64 {
            return Err(format!(
                "after {} without the event loop {burst:.0} messages come to each user at once, and half an --outbox of {} does not hold them: all would be taken for slow readers",
                seconds(longest),
                p.outbox
            ));
        }
        Ok(())
    }

    fn needs(p: &Params, extent: &Extent) -> Needs {
        // Who comes late in the conversation is still heard, and everybody comes and goes.
        let visit = |users: usize, block: f64| {
            let talk = (1.5 * block).max(1.25 * block + 1.3 * p.beat.s());
            talk + 0.05 + 5e-4 * users as f64
        };
        let (mut round, block, crowds) = (0.0, p.block.s(), extent.that_fit(&p.users));
        for (i, users) in crowds.iter().enumerate() {
            let (blocked, elsewhere) = often(extent.scale, i == 0);
            round += (1 + blocked + 3 * elsewhere) as f64 * visit(*users, block);
        }
        let first = crowds.first().copied().unwrap_or(0);
        round += visit(first, block);
        for (long, times) in p.tries(extent.scale) {
            round += times as f64 * visit(first, long);
        }
        let smoke = extent.smoke();
        let others = extent.with.iter().map(|l| languages::takes(l, visit(first, block), smoke));
        round += others.sum::<f64>();
        let most = crowds.iter().copied().max().unwrap_or(0) as f64;
        Needs {
            seconds: extent.times() * (round + 0.2),
            memory: most * 2.0 * needs::CONNECTION_B
                + extent.times() * 10.0 * p.rate as f64 * block * 100.0,
            less: "a shorter --block or --patience, or fewer --users and --losses",
            ..Needs::default()
        }
    }

    fn instead(p: &Params) -> Option<Result<()>> {
        p.worker.then(worker::serve)
    }

    fn measure(p: &Params, session: &mut Session) -> Result<()> {
        let kernel = Kernel::calibrate();
        let pool = &pool()?;
        let levels = session.levels_that_fit(&p.users);
        let (scale, cost) = (session.scale, p.block.duration());

        let programs = session.programs(&Self::PROGRAMS);
        let mut plan = session.plan();
        for (i, users) in levels.iter().copied().enumerate() {
            let (x, (blocked, elsewhere)) = (users as f64, often(scale, i == 0));
            let talk = move |r: &Recorder, asks: &[Duration], solve: Solve| {
                let crowd = p.crowd(r.origin(), users, p.block.s(), asks.to_vec());
                visit(r, p, crowd, solve)
            };
            plan.point("quiet", x, move |r| {
                talk(r, &[], solver(r, move |cost| on_the_loop(kernel, cost)))
            });
            for _ in 0..blocked {
                plan.point("inline", x, move |r| {
                    talk(r, &[cost], solver(r, move |cost| on_the_loop(kernel, cost)))
                });
            }
            for _ in 0..elsewhere {
                plan.point("spawn_blocking", x, move |r| {
                    talk(r, &[cost], solver(r, move |cost| on_a_thread(kernel, cost)))
                });
                plan.point("rayon", x, move |r| {
                    let pool = pool.clone();
                    let way = move |cost| on_rayon(pool.clone(), kernel, cost);
                    talk(r, &[cost], solver(r, way))
                });
                plan.point("process", x, move |r| {
                    let worker = Arc::new(Worker::start(worker_process()?)?);
                    let way = move |cost| in_another_process(worker.clone(), cost);
                    talk(r, &[cost], solver(r, way))
                });
            }
        }
        if let Some(users) = levels.first().copied() {
            for program in &programs {
                languages::add(&mut plan, program, p, users, scale == Scale::Smoke);
            }
            plan.point("killed", users as f64, move |r| killed(r, p, users));
            for (long, times) in p.tries(scale) {
                for _ in 0..times {
                    plan.point("losses", long, move |r| {
                        let asks = vec![Duration::from_secs_f64(long)];
                        let crowd = p.crowd(r.origin(), users, long, asks);
                        let way = move |cost| on_the_loop(kernel, cost);
                        visit(r, p, crowd, solver(r, way))
                    });
                }
            }
        }
        plan.run()
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
