//! A conversation: a server on one thread, its users on another one, and a way to do mathematics.

use std::{process::Command, sync::Arc, thread};

use anyhow::anyhow;
use lab_kit::{cli, prelude::*};

use super::{
    ChatRoom, Params, gauges, in_another_process,
    server::{Config, Server, Solve},
    users::Crowd,
    worker::Worker,
};

/// This program again, as the process that computes.
pub(super) fn worker_process() -> Result<Command> {
    let mut command = cli::again(&ChatRoom::CARD)?;
    command.arg("--worker");
    Ok(command)
}

/// The process is killed in the middle of a job. Its user asks again.
pub(super) fn killed(r: &Recorder, p: &Params, users: usize) -> Result<()> {
    let worker = Arc::new(Worker::start(worker_process()?)?);
    let (cost, hand) = (p.block.duration(), worker.clone());
    let crowd = p.crowd(r.origin(), users, p.block.s(), vec![cost, cost / 3]);
    let middle = crowd.ask_at + cost / 2;
    let way = move |cost| in_another_process(worker.clone(), cost);
    visit_and(r, p, crowd, solver(r, way), |start| {
        thread::sleep((start + middle).saturating_duration_since(Instant::now()));
        hand.kill()?;
        r.trace("killed", Instant::now(), 0.0);
        Ok(())
    })?;
    r.gauge(gauges::PROCESSES, hand.started() as f64);
    Ok(())
}

/// A way to answer who asks for mathematics, with what it took written down.
pub(super) fn solver<F>(r: &Recorder, way: impl Fn(Duration) -> F + Send + Sync + 'static) -> Solve
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
            r.gauge(gauges::BUSY_S, took.as_secs_f64());
            Ok(took)
        })
    })
}

/// A server on one thread, all of its users on another one. One trial.
pub(super) fn visit(r: &Recorder, p: &Params, crowd: Crowd, solve: Solve) -> Result<()> {
    visit_and(r, p, crowd, solve, |_| Ok(()))
}

/// The same, and something else meanwhile.
fn visit_and(
    r: &Recorder,
    p: &Params,
    crowd: Crowd,
    solve: Solve,
    meanwhile: impl FnOnce(Instant) -> Result<()>,
) -> Result<()> {
    let server = Server::start(Config {
        beat: p.beat.duration(),
        unanswered: p.unanswered(),
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
    for (gauge, value) in [
        (gauges::MESSAGES_MEANT, deliveries as f64),
        (gauges::MESSAGES_SAID, counted.said as f64),
        (gauges::MESSAGES_DELIVERED, counted.delivered as f64),
        (gauges::USERS_SLOW, counted.slow as f64),
        (gauges::USERS_GIVEN_UP, counted.given_up as f64),
        (gauges::SERVER_BUSY_SHARE, busy.as_secs_f64() / heard.took.as_secs_f64()),
    ] {
        r.gauge(gauge, value);
    }
    Ok(())
}
