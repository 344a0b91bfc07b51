//! # The chat room
//!
//! ## The question
//!
//! One user asks for mathematics: what do the others notice?
//!
//! ## What to predict
//!
//! ## The experiment
//!
//! ## What the figures show
//!
//! ## Where the source was misled
//!
//! ## In production
//!
//! ## Check yourself

use std::{process::Command, sync::Arc, thread};

use anyhow::anyhow;
use lab_kit::{cli, host, prelude::*};
use rayon::{ThreadPool, ThreadPoolBuilder};
use tokio::{sync::oneshot, task::spawn_blocking};

mod findings;
pub mod frame;
pub mod laws;
pub mod protocol;
pub mod rooms;
pub mod server;
pub mod users;
pub mod worker;

use laws::Away;
use server::{Config, Server, Solve};
use users::Crowd;
use worker::Worker;

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
    /// Mathematics asked for: time on a processor of its own (the source: 2s)
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
    #[arg(long, value_delimiter = ',', value_parser = multiple, default_value = "0.8,0.95,1.1")]
    pub losses: Vec<f64>,
    /// Be the process that computes
    #[arg(long, hide = true)]
    #[serde(skip)]
    pub worker: bool,
}

fn multiple(text: &str) -> Result<f64, String> {
    let multiple = text.trim().parse().ok().filter(|m| (0.2..=4.0).contains(m));
    multiple.ok_or_else(|| "expected a number from 0.2 to 4".into())
}

impl Params {
    /// The loop is away in the middle of the conversation: a quarter of the block goes before it and
    /// a quarter after it.
    fn away(&self, block: f64) -> Away {
        Away {
            at: block / 4.0,
            block,
            window: 1.5 * block,
            beat: self.beat.s(),
            patience: self.patience.s(),
        }
    }

    fn crowd(&self, r: &Recorder, users: usize, block: f64, asks: Vec<Duration>) -> Crowd {
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
            origin: r.origin(),
        }
    }

    /// Blocks to lose users by.
    fn long_blocks(&self) -> Vec<f64> {
        self.losses.iter().map(|m| m * self.patience.s()).collect()
    }
}

/// lab14.
pub struct ChatRoom;

impl Lab for ChatRoom {
    type Params = Params;

    const CARD: Card = Card {
        number: 14,
        name: "chat_room",
        title: "The chat room",
        question: "One user asks for mathematics: what do the others notice?",
        predict: &[
            Question {
                key: "inline",
                ask: "One of 200 users asks for 300 ms of mathematics, done on the event loop: the slowest 1 % of the others' echoes take at least?",
                unit: "ms",
                hint: "1 to 1000",
            },
            Question {
                key: "offloaded",
                ask: "Done in spawn_blocking: the slowest 1 % of the others' echoes take at least?",
                unit: "ms",
                hint: "1 to 1000",
            },
            Question {
                key: "killed",
                ask: "Done in another process, which is killed in the middle of it: how many users lose their connection?",
                unit: "users",
                hint: "0 to 200",
            },
        ],
        next: &[
            (
                "cargo run --release --bin lab14 -- --block 2s --patience 3s --beat 200ms",
                "the source's two seconds",
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
        ],
        source: include_str!("lab14_chat_room.rs"),
        sizes: Sizes {
            smoke: &[
                "--users", "12", "--per-room", "4", "--rate", "400", "--beat", "10ms", "--block",
                "40ms", "--patience", "80ms", "--losses", "1.5",
            ],
            full: &[
                "--users", "200,5000", "--block", "2s", "--beat", "500ms", "--patience", "3s",
            ],
            trials: (1, 1),
        },
    };

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
            return Err("--patience is less than three beats: users would leave because of one late timer".into());
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
        let whole = p.users.len() as f64 * 10.0 * 1.5 * block + blocks.iter().sum::<f64>() * 1.5;
        if whole > 900.0 {
            return Err(format!(
                "that would take {whole:.0} s: a shorter --block, or fewer --users and --losses"
            ));
        }
        Ok(())
    }

    fn instead(p: &Params) -> Option<Result<()>> {
        p.worker.then(worker::serve)
    }

    fn measure(p: &Params, session: &mut Session) -> Result<()> {
        let kernel = Kernel::calibrate();
        let threads = (host::cores() - 1).max(1);
        // Without a handler a panic in the pool would end the whole program.
        let pool = ThreadPoolBuilder::new().num_threads(threads).panic_handler(|_| {});
        let pool = &Arc::new(pool.build()?);
        let (block, cost) = (p.block.s(), p.block.duration());
        let levels = session.levels_that_fit(&p.users);
        let smoke = session.scale == Scale::Smoke;

        let mut plan = session.plan();
        for (i, users) in levels.iter().copied().enumerate() {
            let x = users as f64;
            // A bound on one crowd needs an interval; several crowds lend each other theirs.
            let often = |times: usize| 0..if smoke || i > 0 { 1 } else { times };
            let visit = move |r: &Recorder, asks: &[Duration], solve: Solve| {
                visit(r, p, p.crowd(r, users, block, asks.to_vec()), solve, |_| Ok(()))
            };
            for _ in often(2) {
                plan.point("quiet", x, move |r| {
                    visit(r, &[], solver(r, move |cost| on_the_loop(kernel, cost)))
                });
            }
            for _ in often(3) {
                plan.point("inline", x, move |r| {
                    visit(r, &[cost], solver(r, move |cost| on_the_loop(kernel, cost)))
                });
            }
            for _ in often(2) {
                plan.point("spawn_blocking", x, move |r| {
                    visit(r, &[cost], solver(r, move |cost| on_a_thread(kernel, cost)))
                });
                plan.point("rayon", x, move |r| {
                    let pool = pool.clone();
                    let way = move |cost| on_rayon(pool.clone(), kernel, cost);
                    visit(r, &[cost], solver(r, way))
                });
                plan.point("process", x, move |r| {
                    let worker = Arc::new(Worker::start(worker_process()?)?);
                    let way = move |cost| in_another_process(worker.clone(), cost);
                    visit(r, &[cost], solver(r, way))
                });
            }
        }
        if let Some(users) = levels.first().copied() {
            for _ in 0..if smoke { 1 } else { 2 } {
                plan.point("killed", users as f64, move |r| killed(r, p, users));
            }
            for long in p.long_blocks() {
                plan.point("losses", long, move |r| {
                    let asks = vec![Duration::from_secs_f64(long)];
                    let way = move |cost| on_the_loop(kernel, cost);
                    visit(r, p, p.crowd(r, users, long, asks), solver(r, way), |_| Ok(()))
                });
            }
        }
        plan.run()
    }

    fn explain(p: &Params, summary: &Summary) -> Findings {
        findings::explain(p, summary)
    }
}

/// The mathematics. Returns how long it took.
fn compute(kernel: Kernel, cost: Duration) -> Duration {
    let begun = Instant::now();
    kernel.work(cost);
    begun.elapsed()
}

/// Wrong: an `async fn` without an `.await` is a plain function, and nobody else is polled until it
/// returns.
async fn on_the_loop(kernel: Kernel, cost: Duration) -> Result<Duration, String> {
    Ok(compute(kernel, cost))
}

/// Right: on a thread of the runtime's pool for what blocks.
async fn on_a_thread(kernel: Kernel, cost: Duration) -> Result<Duration, String> {
    let done = spawn_blocking(move || compute(kernel, cost)).await;
    done.map_err(|e| e.to_string())
}

/// Right: on a pool with a thread for each processor but the loop's. What waits for the answer is
/// awaited; `pool.install` would block the loop until it is there.
async fn on_rayon(pool: Arc<ThreadPool>, kernel: Kernel, cost: Duration) -> Result<Duration, String> {
    let (reply, answer) = oneshot::channel();
    pool.spawn(move || {
        let _ = reply.send(compute(kernel, cost));
    });
    answer.await.map_err(|_| "it panicked".into())
}

/// Right: in another process. It costs two messages on a pipe, and whatever becomes of it, this one
/// lives.
async fn in_another_process(worker: Arc<Worker>, cost: Duration) -> Result<Duration, String> {
    worker.compute(cost).await.map_err(|e| e.to_string())
}

/// This program again, as the process that computes.
fn worker_process() -> Result<Command> {
    let mut command = cli::again(&ChatRoom::CARD)?;
    command.arg("--worker");
    Ok(command)
}

/// The process is killed in the middle of a job. Its user asks again.
fn killed(r: &Recorder, p: &Params, users: usize) -> Result<()> {
    let worker = Arc::new(Worker::start(worker_process()?)?);
    let (cost, hand) = (p.block.duration(), worker.clone());
    let crowd = p.crowd(r, users, p.block.s(), vec![cost, cost / 3]);
    let middle = crowd.ask_at + cost / 2;
    let way = move |cost| in_another_process(worker.clone(), cost);
    visit(r, p, crowd, solver(r, way), |start| {
        thread::sleep((start + middle).saturating_duration_since(Instant::now()));
        hand.kill()?;
        r.trace("killed", Instant::now(), 0.0);
        Ok(())
    })?;
    r.gauge("processes", hand.started() as f64);
    Ok(())
}

/// A way to answer who asks for mathematics, with what it took written down.
fn solver<F>(r: &Recorder, way: impl Fn(Duration) -> F + Send + Sync + 'static) -> Solve
where
    F: Future<Output = Result<Duration, String>> + Send + 'static,
{
    let r = r.clone();
    Arc::new(move |cost| {
        let (r, solved) = (r.clone(), way(cost));
        Box::pin(async move {
            let took = solved.await?;
            let now = Instant::now();
            r.span("mathematics", "", now - took, now);
            r.gauge("busy_s", took.as_secs_f64());
            Ok(took)
        })
    })
}

/// A server on one thread, all of its users on another one. One trial.
fn visit(
    r: &Recorder,
    p: &Params,
    crowd: Crowd,
    solve: Solve,
    meanwhile: impl FnOnce(Instant) -> Result<()>,
) -> Result<()> {
    let server = Server::start(Config {
        beat: p.beat.duration(),
        unanswered: (p.patience.s() / p.beat.s()).ceil() as u32,
        outbox: p.outbox,
        origin: r.origin(),
        solve,
    })?;
    let (users, deliveries) = (crowd.users, crowd.deliveries());
    let mut busy = Duration::ZERO;
    let heard = crowd.visit(server.address(), r.load(), |start| {
        busy = server.busy();
        meanwhile(start)
    })?;
    let busy = server.busy().saturating_sub(busy);
    let counted = server.counted();
    if counted.joined != users as u64 {
        return Err(anyhow!("{} of {users} users came in", counted.joined));
    }
    heard.record(r, r.origin());
    for (name, value) in [
        ("messages_meant", deliveries as f64),
        ("messages_said", counted.said as f64),
        ("messages_delivered", counted.delivered as f64),
        ("users_slow", counted.slow as f64),
        ("users_given_up", counted.given_up as f64),
        ("server_busy_share", busy.as_secs_f64() / heard.took.as_secs_f64()),
    ] {
        r.gauge(name, value);
    }
    Ok(())
}
