//! # Fan-out and inference
//!
//! ## The question
//!
//! Three sources, then inference: what decides how long it takes?
//!
//! ## What to predict
//!
//! An answer needs the weather, the news and something from a knowledge base. Each is fetched from
//! a service of its own, and a model then computes for a while over each text. The fetches take
//! {weather}, {news} and {knowledge} (`f`), the inferences {infer} (`p`). They may run one after
//! another, in two phases, or each inference may begin when its text is there. Write down the time
//! of each, for the processors you have.
//!
//! Then two disturbances. One source fails: what is left of the answer? And a share of {slow-share}
//! of the fetches is {slow-factor} times as slow as usual: how many answers are slow, and how many
//! remain if a second request is sent for every fetch that is late?
//!
//! ## The experiment
//!
//! - **One after another**: fetch, infer, fetch, infer.
//! - **All fetches, then all inferences**, on a pool.
//! - **Each as it arrives, on the event loop**, and **each as it arrives, on the pool**.
//! - The last one again with a source that fails, once with `try_join_all`, once with `join_all`.
//! - The two ways with a pool again, but with `sleep` for inference and a thread for each source:
//!   as if there were a processor for each.
//! - Many answers side by side from services with a slow tail, without and with a second request.
//!
//! Inference is real computation, a fixed amount of it.
//!
//! ## What the figures show
//!
//! One after another costs the sum of everything. Fetching together turns the sum of the fetches
//! into the longest of them. The inferences are computation, so a pool divides them by the
//! processors there are and not by their number.
//!
//! Whether it helps to begin each inference as its text arrives depends on what is scarce. With a
//! processor for each source the end is the critical path, the longest `f + p`; with equal `p` that
//! is the slowest fetch and its inference, exactly what two phases take, and overlap gains nothing.
//! With fewer processors it gains, since they begin to work when the *first* text is there, not the
//! last: list scheduling in the order of arrival (Graham 1966). Inference on the event loop is the
//! same schedule with one processor: fetches go on while it computes, because the network needs no
//! thread, but no two inferences overlap. A text that comes meanwhile lies there unseen: its fetch
//! seems to last until the loop has computed.
//!
//! `try_join_all` gives up with the first error. The two good parts are thrown away, and an
//! inference that has begun computes to its end for nobody: dropping a future stops what it awaits,
//! not what a thread does. One that has not begun finds its caller gone and need not begin.
//! `join_all` with a `Result` for each source answers with two parts of three. When the workers
//! have all processors, the error is also noticed late: the event loop needs one, too, and may wait
//! for it as long as a time slice of the operating system.
//!
//! A share `t` of slow fetches is a share `1 − (1 − t)³` of slow answers: the more an answer needs,
//! the more often one of it is slow. A second request sent to what is late leaves only those that
//! are slow twice, `t²`, for a share `t` of additional requests (Dean and Barroso 2013).
//!
//! ## A common belief
//!
//! *Fetches that are async and inferences in a pool overlap.* Not by themselves. The program that
//! fetches everything and then infers has both, and the overlap of its fetches and inferences is
//! zero, as the first figure shows. Nor is overlap always a gain: where inferences are equal and
//! each has a processor, beginning early ends no sooner. The arms that sleep show that on any
//! machine, because a sleeping inference needs no processor. `--scale full` has the times of the
//! lab notes that this suite grew from, which give 0.9 s for the two phases with a worker for each
//! inference (lab notes). Inferences that compute take longer than that on fewer processors, and
//! there the early beginning gains.
//!
//! ## In production
//!
//! Put fetch and inference of one source into one future and join those, so that no phase waits for
//! another one's slowest. Give the pool as many threads as there are processors. Begin with what
//! takes longest when you can choose. Return a `Result` for each part and decide at the top what an
//! answer may lack; log what it lacked. Check on a worker whether anybody still waits before it
//! begins. The second request is called a *hedge*. Hedge only what may be done twice, after the
//! 90th to 95th percentile, and never when the service is slow because it is overloaded: a budget
//! for hedges (a small share of all requests) keeps them from making it worse. A cancelled HTTP/1.1
//! request costs its connection, and the server usually works on.
//!
//! ## Check yourself
//!
//! - Which arm gains from a second processor, which from a third, which from a fourth?
//! - Suppose the news take longest to fetch, and their inference is the cheapest. Does overlap gain
//!   anything now, with a processor for each source?
//! - An answer needs a hundred sources, and `t = 0.01`. How many answers are slow, and how many
//!   with a second request?
//! - Why must the two requests of a hedge not go to the same machine?

use std::pin::pin;

use futures_util::future::{join_all, try_join_all};
use lab_kit::{load::Failure, prelude::*};
use tokio::{sync::oneshot, time::sleep};

mod answer;
mod findings;
mod gauges;
mod plan;
mod premise;
mod tail;
mod workers;

pub use plan::{FanOutInference, Params};

use plan::Source;
use workers::Workers;

// wrong(1): All fetches, then all inferences
/// Two phases: no inference begins before the last fetch has ended.
async fn fetch_all_then_infer_all(scene: &Scene) -> Vec<Part> {
    let texts = join_all(scene.sources.iter().map(|s| scene.fetch(s))).await;
    let inferences = scene.sources.iter().zip(texts).map(|(source, text)| async move {
        text?;
        scene.infer(source).await
    });
    join_all(inferences).await
}

// wrong(2): The first error ends everything
/// Wrong when a part less would do: the first error ends it all.
async fn all_or_nothing(scene: &Scene) -> Vec<Part> {
    let parts = scene.sources.iter().map(|s| scene.part(s));
    match try_join_all(parts).await {
        Ok(parts) => parts.into_iter().map(Ok).collect(),
        Err(first) => {
            let lost = Outcome::Failed(Failure::Other);
            vec![Err(first), Err(lost), Err(lost)]
        }
    }
}

// right(1): Each inference as its text arrives
// so(1): In two phases the first text lies idle until the last one has come. Where each source is
//     one future, its inference follows its own fetch.
// right(2): Each part has a result of its own
// so(2): `try_join_all` throws two good parts away. `join_all` with a `Result` for each answers
//     with what there is.
/// The right way: fetch and inference of one source are one future, and those run side by side.
/// When a source fails, its part is missing and the others are as they were.
async fn infer_each_as_it_arrives(scene: &Scene) -> Vec<Part> {
    join_all(scene.sources.iter().map(|s| scene.part(s))).await
}

/// One part of the answer, or why it is missing.
type Part = Result<(), Outcome>;

/// What the arms work with.
struct Scene {
    r: Recorder,
    client: reqwest::Client,
    url: String,
    workers: Workers,
    sources: [Source; 3],
}

impl Scene {
    async fn part(&self, source: &Source) -> Part {
        self.fetch(source).await?;
        self.infer(source).await
    }

    async fn fetch(&self, source: &Source) -> Part {
        // The service answers a path that ends in a number with an error.
        let number = if source.fails { "/1" } else { "" };
        let url = format!("{}/{}{number}", self.url, source.name);
        let start = Instant::now();
        let outcome = fetch(&self.client, &url).await;
        self.r.span("fetch", source.name, start, Instant::now());
        match outcome {
            Outcome::Ok => Ok(()),
            missing => Err(missing),
        }
    }

    /// On the pool. The event loop is free meanwhile.
    async fn infer(&self, source: &Source) -> Part {
        let (send, done) = oneshot::channel();
        let (r, workers, source) = (self.r.clone(), self.workers.clone(), *source);
        self.workers.pool.spawn(move || {
            // Nobody waits any more: the future that asked for this was dropped.
            if !send.is_closed() {
                r.work(source.name, || workers.compute(source.infer));
                let _ = send.send(());
            }
        });
        done.await.map_err(|_| Outcome::Failed(Failure::Other))
    }

    fn infer_here(&self, source: &Source) {
        let compute = || self.workers.compute(source.infer);
        self.r.work(source.name, compute);
    }
}

async fn one_after_another(scene: &Scene) -> Vec<Part> {
    let mut parts = Vec::new();
    for source in &scene.sources {
        parts.push(scene.part(source).await);
        // Whoever does not answer is not asked again.
        if parts.last() == Some(&Err(Outcome::TimedOut)) {
            break;
        }
    }
    parts
}

/// Wrong: whoever computes on the event loop keeps it from everybody else.
async fn infer_each_on_the_loop(scene: &Scene) -> Vec<Part> {
    let parts = scene.sources.iter().map(|source| async {
        scene.fetch(source).await?;
        scene.infer_here(source);
        Ok(())
    });
    join_all(parts).await
}

async fn fetch(client: &reqwest::Client, url: &str) -> Outcome {
    Outcome::of(http::get(client, url).await)
}

/// A second request when the first one is late; the first answer counts, and the other request is
/// dropped.
async fn hedged(client: &reqwest::Client, url: &str, after: Duration) -> Outcome {
    let mut first = pin!(fetch(client, url));
    tokio::select! {
        outcome = &mut first => return outcome,
        () = sleep(after) => {}
    }
    tokio::select! {
        outcome = first => outcome,
        outcome = fetch(client, url) => outcome,
    }
}
