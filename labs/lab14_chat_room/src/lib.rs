//! # The chat room
//!
//! ## The question
//!
//! One user asks for mathematics: what do the others notice?
//!
//! ## What to predict
//!
//! Users ({users} of them) chat in rooms of {per-room}, over WebSocket, and one event loop serves
//! them all. What somebody says goes to everybody in the room, and so back to the one who said it:
//! the *echo*. One user asks for {block} of mathematics. How long do the slowest echoes of the
//! others take when it is computed on the event loop? On another thread? How many users lose their
//! connection when it is computed by another process, and that process is killed in the middle of
//! it?
//!
//! ## The experiment
//!
//! A server on a thread of its own, and its users on another one: what stops the server must not
//! stop those who measure it. Everybody speaks by a schedule, whether or not an answer has come,
//! and an echo counts from the instant at which it was *due*. The server sends each user a
//! heartbeat (a ping) every {beat}. A user who has heard none for {patience} leaves.
//!
//! The mathematics is done in four places: on the event loop (**the wrong way**), in
//! `spawn_blocking`, on a rayon pool that answers through a `oneshot` channel, and in another
//! process, which is sent the job over a pipe. Beside these: a conversation in which nobody asks;
//! one in which the process is killed in the middle of the job, and the user asks again; and blocks
//! of the event loop {losses} times as long as the users' patience.
//!
//! If there are two processors, the mathematics has one while it is not on the event loop, and
//! server and users share the other. If there are more, each has its own.
//!
//! ## What the figures show
//!
//! While the event loop computes it polls nobody. An echo that is due a time `x` after a block of
//! length `B` has begun waits for the rest, `B − x`. The first waits for the whole block, the
//! last for nothing, and the waits fall evenly between. That predicts every quantile. The
//! conversation is one and a half times as long as the block, so two thirds of the echoes wait.
//! The slowest hundredth of all are the slowest 0.015 of these, and wait for `0.985·B` and more;
//! the median waits for `B/4`. What comes on top is the time in which the server works off what
//! has piled up. First it reads what all have said, then it writes, so the last ones wait
//! longest.
//!
//! Every heartbeat that falls due meanwhile is missed, `B/beat` of them for each user. A user has
//! heard the last one up to a beat before the block, so the silences lie between `B` and
//! `B + beat`. If `B + beat` is less than the patience, nobody leaves, and if `B` is more than the
//! patience, everybody does, at once. That is what makes such a block so treacherous: up to a
//! length nobody complains, and a beat more empties the house.
//!
//! Anywhere else than on the loop, the mathematics costs the others next to nothing: an echo may
//! have to wait for a processor, a time slice of the operating system for each thread that it
//! passes, and until what came meanwhile is worked off. The three ways do not differ in that.
//! They differ in what else can happen. A computation that crashes, eats the memory or never ends
//! takes a thread's whole process with it, since nobody can stop a thread from outside. A process
//! can be killed, by you or by the system, and nobody loses the connection: its job fails with an
//! answer, and a new process does the next one.
//!
//! ## A common belief
//!
//! *Hand the computation to a pool of threads, and the event loop is free.* In Rust it is: threads
//! compute in parallel, and the two arms with threads show it. A process is for isolation here, not
//! for speed. In Python it depends on the computation. Threads take turns at the interpreter's
//! lock, so beside a computation of many small steps the loop goes on. One long call into compiled
//! code that does not let go of the lock holds it from beginning to end, in whichever thread, and
//! only another process helps.
//!
//! *A tester who waits for each echo would see the block as well.* It would be *one* slow echo a
//! user, however long the block, and the others would be called fast. That is coordinated omission;
//! lab15 shows what it hides.
//!
//! ## In production
//!
//! Do nothing on an event loop that takes long (lab02). Computation goes to a pool with a bound,
//! and the queue in front of it has one, too. A panic in rayon's `spawn` ends the whole program
//! unless the pool has a `panic_handler`; here it has one, and the user is told.
//!
//! Take another process for code you do not trust, that is not memory-safe, or that must be stopped:
//! give each job a deadline and kill the process when it is over. Answer the job it was at with an error,
//! and do not try it again by yourself, because it may be what the process died of. A worker must end
//! with its server, however that dies: it reads its input on a thread of its own, and ends with it.
//! A pipe carries bytes and not messages, so messages need a frame with a bound (`frame.rs`).
//!
//! Judge silence by what you have *sent*. A server that was away and then looks at the clock finds
//! that all of its users have been silent for too long, while their words lie unread in its
//! buffers; this one counts heartbeats that were not answered. Read before you judge. Spread
//! heartbeats over the beat, and let clients come back after a random time: here they stay away,
//! but in real life those who left at once come back at once.
//!
//! Every queue to a user is bounded. One that is full belongs to a reader who is slower than the
//! room; it is disconnected, since to wait for it would let the slowest set the pace of all. But a
//! block of the event loop turns into a burst afterwards, and a bound that is too small takes
//! everybody for slow: it must hold what comes to a user during the block (`check` asks for twice
//! that).
//!
//! ## Check yourself
//!
//! - Suppose a block of 300 ms in a conversation of ten seconds. What is the median of the echoes
//!   on the event loop, and what is the 99th percentile? Which of the two would your monitoring
//!   show?
//! - Suppose a block of 300 ms, a beat of 50 ms and `--patience 330ms`. What share of the users
//!   leaves? Work it out, then try it.
//! - Why may the users not share a thread with the server, though it would be simpler?
//! - Suppose there are two processors, and two users ask at once. What does the law for the arms
//!   beside the loop need that is then gone?
//! - The process is killed just after it has written its answer. What is the user told?

use std::{process::Command, sync::Arc, thread};

use anyhow::anyhow;
use lab_kit::{accounts::Fate, cli, host, prelude::*};
use rayon::{ThreadPool, ThreadPoolBuilder};
use tokio::{sync::oneshot, task::spawn_blocking};

mod findings;
pub mod frame;
pub mod laws;
mod premise;
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
            after: 0.0,
        }
    }

    fn crowd(&self, origin: Instant, users: usize, block: f64, asks: Vec<Duration>) -> Crowd {
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

    /// Blocks to lose users by.
    fn long_blocks(&self) -> Vec<f64> {
        self.losses.iter().map(|m| m * self.patience.s()).collect()
    }
}

/// How often in each trial the loop is blocked, the mathematics is done elsewhere, and a loss that is
/// chance is tried: what is away for so long is not always so for exactly as long.
fn often(scale: Scale) -> (usize, usize, usize) {
    match scale {
        Scale::Smoke => (1, 1, 1),
        Scale::Quick => (5, 2, 5),
        Scale::Full => (3, 1, 5),
    }
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
        let (blocked, elsewhere, between) = often(extent.scale);
        // Who comes late in the conversation is still heard, and everybody comes and goes.
        let visit = |users: usize, block: f64| {
            let talk = (1.5 * block).max(1.25 * block + 1.3 * p.beat.s());
            talk + 0.05 + 5e-4 * users as f64
        };
        let (mut round, block, crowds) = (0.0, p.block.s(), extent.that_fit(&p.users));
        for (i, users) in crowds.iter().enumerate() {
            let (blocked, elsewhere) = if i == 0 {
                (blocked, elsewhere)
            } else {
                (blocked.min(3), elsewhere.min(1))
            };
            round += (1 + blocked + 3 * elsewhere) as f64 * visit(*users, block);
        }
        let first = crowds.first().copied().unwrap_or(0);
        round += visit(first, block);
        for long in p.long_blocks() {
            let certain = [0.0, 1.0].contains(&p.away(long).leave_share());
            round += if certain { 1.0 } else { between as f64 } * visit(first, long);
        }
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
        let threads = (host::cores() - 1).max(1);
        // Without a handler a panic in the pool would end the whole program.
        let pool = ThreadPoolBuilder::new()
            .num_threads(threads)
            .panic_handler(|_| {});
        let pool = &Arc::new(pool.build()?);
        let (block, cost) = (p.block.s(), p.block.duration());
        let levels = session.levels_that_fit(&p.users);
        let (blocked, elsewhere, between) = often(session.scale);

        let mut plan = session.plan();
        for (i, users) in levels.iter().copied().enumerate() {
            let x = users as f64;
            // The first crowd is the one that is looked at closely.
            let often =
                |times: usize, later: usize| 0..if i == 0 { times } else { later.min(times) };
            let visit = move |r: &Recorder, asks: &[Duration], solve: Solve| {
                visit(
                    r,
                    p,
                    p.crowd(r.origin(), users, block, asks.to_vec()),
                    solve,
                    |_| Ok(()),
                )
            };
            plan.point("quiet", x, move |r| {
                visit(r, &[], solver(r, move |cost| on_the_loop(kernel, cost)))
            });
            for _ in often(blocked, 3) {
                plan.point("inline", x, move |r| {
                    visit(r, &[cost], solver(r, move |cost| on_the_loop(kernel, cost)))
                });
            }
            for _ in often(elsewhere, 1) {
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
            plan.point("killed", users as f64, move |r| killed(r, p, users));
            for long in p.long_blocks() {
                // All or none is the same every time; what lies between is not.
                let certain = [0.0, 1.0].contains(&p.away(long).leave_share());
                for _ in 0..if certain { 1 } else { between } {
                    plan.point("losses", long, move |r| {
                        let asks = vec![Duration::from_secs_f64(long)];
                        let way = move |cost| on_the_loop(kernel, cost);
                        visit(
                            r,
                            p,
                            p.crowd(r.origin(), users, long, asks),
                            solver(r, way),
                            |_| Ok(()),
                        )
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

/// The mathematics. Returns how long it took.
fn compute(kernel: Kernel, cost: Duration) -> Duration {
    let begun = Instant::now();
    kernel.work(cost);
    begun.elapsed()
}

// wrong: On the event loop
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

// right: On a pool of threads
// so: The caller awaits both. In the first nobody else is polled meanwhile; in the second the
//     answer comes through a channel.
/// Right: on a pool with a thread for each processor but the loop's. What waits for the answer is
/// awaited; `pool.install` would block the loop until it is there.
async fn on_rayon(
    pool: Arc<ThreadPool>,
    kernel: Kernel,
    cost: Duration,
) -> Result<Duration, String> {
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
    let crowd = p.crowd(r.origin(), users, p.block.s(), vec![cost, cost / 3]);
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
        (
            "server_busy_share",
            busy.as_secs_f64() / heard.took.as_secs_f64(),
        ),
    ] {
        r.gauge(name, value);
    }
    Ok(())
}
