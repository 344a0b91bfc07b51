//! # The bottleneck
//!
//! ## The question
//!
//! Which stage holds the system back, and what would help?
//!
//! ## What to predict
//!
//! Items are fetched, processed and stored, all three stages at work at once with queues of {queue}
//! places between them. Each stage has a width, so many items at a time, and a time for an item:
//! {storage}. You may double one width: that of fetch, of process or of store. Which, and what does
//! each of the three bring?
//!
//! ## The experiment
//!
//! Three such pipelines, one held back by each stage. Fetch and store are requests to an upstream;
//! process computes on threads of its own. Each pipeline is run as it is and diagnosed from what a
//! production system could measure: how long the workers of a stage were busy, and how full the
//! queue before it was. Then each width is doubled in turn and the pipeline runs again.
//!
//! The same pipelines go through a simulator in virtual time. Where it agrees with the measurement
//! it may be asked about other machines:
//!
//! ```text
//! lab09 --simulate "fetch=20000x100ms,process=10000x500ms,store=2000x50ms" --items 1000000
//! ```
//!
//! ## What the figures show
//!
//! A stage of `w` workers that need `s` for an item passes at most `w/s` items a second, and the
//! pipeline passes as many as its slowest stage: `λ = min(C/f, W/p, D/d)` for `C` fetches of time
//! `f`, `W` workers that process for `p` and `D` stores of time `d`. Doubling that stage's width
//! moves the minimum, up to the next one: the gain is rarely a factor of two. Doubling any other
//! width changes nothing at all, whatever it costs.
//!
//! Every item passes every stage, so that a stage's workers are busy for a share `λ·s/w` of the
//! time (the utilisation law of Denning and Buzen, 1978). The busiest stage is the bottleneck. The
//! queues say the same without a clock: full before it, empty behind it. A worker that holds a
//! finished item because the next queue is full is not busy: count that as work, and everything
//! before the bottleneck looks like one. Queues can mislead: a wide stage delivers its items in
//! waves, and a queue shorter than a wave is full at one moment and empty at the next. Utilisation
//! does not.
//!
//! The law holds, fill and drain included, when `f` and `d` are what a request really takes here (a
//! little more than its service) and `p` what the computation took in that very run: a processor's
//! speed drifts from one second to the next.
//!
//! Process is special. More threads than processors add workers and no processors, so that the
//! stage's width is the smaller of the two. Where the work is done elsewhere (an accelerator, a
//! remote service; here a `sleep`) threads beyond the processors help.
//!
//! ## A common belief
//!
//! *The bottleneck is the stage that takes longest for an item.* That is right when all widths are
//! equal. Here fetch takes longest in all three pipelines, and holds back only the one in which few
//! fetches run at a time. Compare `w/s`, or utilisations. And look at the margin before buying
//! anything. Suppose one stage takes 100.0 ms and another 100.2 ms: doubling the longer one gains
//! 0.2 %, since the other one then is the bottleneck.
//!
//! Three worked problems are presets: `--preset lesson1`, `lesson2`, `documents`. What would take
//! minutes to hours is answered by the simulator, and checked on a real pipeline whose times are
//! divided until it is short.
//!
//! ## In production
//!
//! Export two numbers for each stage: the share of time its workers are busy (working, not waiting
//! to hand on) and the depth of the queue before it. Alert on a queue that stays full. Before you
//! widen a stage, work out what the next bottleneck is: that is all you can gain. And if a stage is
//! always busy and nothing passes it, it is not a bottleneck but in a busy loop.
//!
//! ## Check yourself
//!
//! - Suppose the pipeline is `fetch=6x90ms,process=1x8ms,store=1x25ms`. Which width would you
//!   double first, and which second?
//! - Two stages are equally slow. What does doubling one of them bring? (`--simulate
//!   "fetch=10x1s,process=4x2s,store=1x500ms" --items 100`)
//! - The queue before store is full and store's workers are busy for little more than half of the
//!   time. How can that be?
//! - Service times are now random with the same means. Is the law reached? What do longer queues
//!   do for it? (`--simulate "a=4xexp:100ms,b=4xexp:100ms" --queue 1`)

use anyhow::{anyhow, bail};
use async_channel::{bounded, unbounded};
use lab_kit::prelude::*;
use mock_server::MAX_SLOTS;
use tokio::task::JoinSet;

mod beside;
mod findings;
mod gauges;
mod plan;
mod premise;
mod stages;
#[cfg(test)]
mod tests;
mod watch;
mod workers;

pub use plan::{Bottleneck, Params};

use beside::route;
use stages::Stages;
use watch::Watch;
use workers::{FETCH, Item, Job, PROCESS, STORE, Stage, ask, on_a_thread};

// wrong: The stage that takes longest
/// The rule that misleads: the stage whose items take longest on average.
fn longest(stages: &[Seen]) -> Option<usize> {
    let times = stages.iter().map(|s| s.service_s).enumerate().rev();
    Some(times.max_by(|a, b| a.1.total_cmp(&b.1))?.0)
}

// right: The stage that is busiest, and by how much
// so: A long time in a wide stage is no bottleneck: what counts is workers over time, and
//     utilisation has both in it.
/// Names the bottleneck.
///
/// Every item passes every stage, so over one run the utilisations of the stages are as `s/w`, and
/// the highest is that of the lowest rate `w/s`, whatever the queues and however short the run
/// (the utilisation law of Denning and Buzen, 1978).
///
/// The queues name a stage without a clock: items pile up before the bottleneck, and what is behind
/// it starves. They point at the last stage that has more than half a queue before it. There is
/// always one, since whatever the first stage takes from never runs dry.
///
/// `None` without stages, or when nothing was seen of one.
fn diagnose(stages: &[Seen]) -> Option<Diagnosis> {
    if stages.is_empty() || stages.iter().any(|s| !s.utilisation.is_finite()) {
        return None;
    }
    let busiest = |candidates: &[usize]| {
        let of = |i: &usize| stages[*i].utilisation;
        // The first of equals.
        let found = candidates.iter().rev();
        found.max_by(|a, b| of(a).total_cmp(&of(b))).copied()
    };
    let all: Vec<usize> = (0..stages.len()).collect();
    let stage = busiest(&all)?;
    let others: Vec<usize> = all.iter().copied().filter(|i| *i != stage).collect();
    let next = busiest(&others).map_or(0.0, |i| stages[i].utilisation);
    let full_before = |i: usize| stages[i].filling.is_none_or(|f| f > 0.5);
    Some(Diagnosis {
        stage,
        margin: stages[stage].utilisation / next - 1.0,
        by_queues: all.iter().copied().rfind(|i| full_before(*i))?,
    })
}

/// What was seen of one stage over a run.
#[derive(Clone, Debug, PartialEq)]
struct Seen {
    /// Workers.
    width: usize,
    /// Mean time an item was worked on, in seconds.
    service_s: f64,
    /// Share of the workers' time in which they worked.
    utilisation: f64,
    /// Mean filling of the queue before the stage, as a share of its places; `None` before the
    /// first stage, whose source never runs dry.
    filling: Option<f64>,
}

/// What is wrong.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Diagnosis {
    /// The stage with the highest utilisation.
    stage: usize,
    /// The highest utilisation over the next one, minus one: how clear the case is.
    margin: f64,
    /// The stage that the queues alone point at.
    by_queues: usize,
}

/// Three stages at work at once, bounded queues between them.
async fn pipeline(r: &Recorder, stages: &Stages, n: usize, queue: usize, job: Job) -> Result<()> {
    let [fetch, process, store] = &stages.0[..] else {
        bail!("there are three stages");
    };
    let mut spec = Spec::new(MAX_SLOTS, fetch.service.clone());
    spec.routes = vec![route("/fetch", &fetch.service), route("/store", &store.service)];
    let (service, client) = r.connected(spec, fetch.width + store.width).await?;
    let url = |path: &str| format!("{}{path}", service.url());

    let (source, wanted) = unbounded();
    let (fetched, to_process) = bounded(queue);
    let (processed, to_store) = bounded(queue);
    let first = Stage::new(r, &FETCH, wanted, Some(fetched));
    let second = Stage::new(r, &PROCESS, to_process, Some(processed));
    let third = Stage::new(r, &STORE, to_store, None);
    let looks = vec![first.look(fetch.width), second.look(process.width), third.look(store.width)];

    let (mut tasks, mut threads) = (JoinSet::new(), Vec::new());
    for _ in 0..fetch.width {
        tasks.spawn(asking(first.clone(), client.get(url("/fetch"))));
    }
    for _ in 0..store.width {
        let request = client.post(url("/store")).body("an item");
        tasks.spawn(asking(third.clone(), request));
    }
    for i in 1..=process.width {
        let worker = computing(second.clone(), job, process.service.mean());
        threads.push(on_a_thread(i, worker)?);
    }
    // Only the workers hold the queues' ends now, so that each stage ends when the one before has.
    drop((first, second, third));

    let (watch, begin) = (Watch::begin(r, looks), Instant::now());
    let load = r.load().burst(n, |_| Item::put(&source)).await;
    watch.end()?;
    drop(source);
    tasks.join_all().await;
    for thread in threads {
        let ended = thread.join();
        ended.map_err(|_| anyhow!("a process worker panicked"))?;
    }
    r.gauge(gauge::STARTED_S, (begin - r.origin()).as_secs_f64());
    r.gauge(gauges::MAKESPAN_S, load.trial.wall_s);
    r.tally(load, &service)
}

/// A worker that asks a service and waits.
async fn asking(stage: Stage, request: reqwest::RequestBuilder) {
    while let Some(item) = stage.take().await {
        let start = stage.begins();
        let outcome = ask(&request).await;
        stage.worked(start);
        stage.pass_on(item, outcome).await;
    }
}

/// A worker that computes, on a thread of its own.
async fn computing(stage: Stage, job: Job, cost: Duration) {
    while let Some(item) = stage.take().await {
        let start = stage.begins();
        job.run(cost);
        stage.worked(start);
        stage.pass_on(item, Outcome::Ok).await;
    }
}
