//! # Semaphore limits
//!
//! ## The question
//!
//! How does a limit in the client turn collapse into waiting?
//!
//! ## What to predict
//!
//! The service of lab03: `c` = {slots} slots, `s` = {service} a request, clients that wait `T` =
//! {timeout}. {requests} requests are to be made at once. Without a limit most are lost. Now a
//! semaphore lets only `m` of them be in flight. Which `m` is the best, and what does it cost those
//! who wait for a permit?
//!
//! ## The experiment
//!
//! The same requests, each sent when it holds one of `m` permits, for several `m`; once without any
//! limit; once with the mistake of making the semaphore inside the function that fetches; and with
//! a limit that nobody sets: it watches its own latencies and adapts.
//!
//! ## What the figures show
//!
//! A request takes `W = s + r`, with `r` for the network. Throughput is `m/W` up to `c/s`: the best
//! limit is Little's `L = λ·W = (c/s)·(s + r)`, here little more than `c`, since `r` is small. A
//! smaller one wastes slots, a larger one only moves the waiting from the client into the service.
//! Every request succeeds as long as `m ≤ c·⌊T/s⌋`, since the clock of the timeout starts when a
//! request is sent. A limit beyond that protects nobody.
//!
//! The waiting has not gone: from its arrival, the last request waits as long as it would in a
//! patient service's queue. The limit changed who waits where, and whether work is wasted.
//!
//! The adaptive limit finds `c` without being told, from wherever it starts, and settles in a saw
//! between `c` and `late·c` (an answer counts as late if it took more than `late` = {late} times
//! the fastest), on average `c·(1 + late)/2`: it grows while answers come as fast as the fastest,
//! and shrinks when they come later, because a latency above `s` means that requests wait in the
//! service (Jacobson 1988; Brakmo and Peterson 1994).
//!
//! ## A common belief
//!
//! *With a limit every request is fast.* So says a clock that starts with the permit: the smaller
//! the limit, the more waiting it hides. Both clocks are in the second panel.
//!
//! *A client without a limit has none.* Its HTTP library's pool of connections is one. That
//! semaphore protects nobody, because the clock of the timeout runs in its queue. `--with all` shows
//! it beside a semaphore in Python, Node, Go and Java, and both beside Rust.
//!
//! ## In production
//!
//! One semaphore for each service, shared by all who call it, sized by Little's law with the time
//! that the *client* sees; or an adaptive one. Suppose `s` is 50 ms and the network takes 20 ms: a
//! limit of `c` leaves 29 % of the capacity idle. Acquire a permit for an attempt, not for a retry
//! loop, or permits sleep through the back-off. Bound the line in front of it as well, or lab03's
//! queue has only moved to the client.
//!
//! ## Check yourself
//!
//! - Ten clients on ten machines, each with `m = c`: what does the service see?
//! - Why does a limit of 2c give the same throughput as c, and what is worse about it?
//! - The semaphore made inside the function compiles and runs. How would you notice?
//! - The service time doubles at night. Which of the limits still fits?

use std::sync::Arc;

use lab_kit::prelude::*;
use tokio::sync::Semaphore;

use adaptive::Adaptive;

pub use plan::SemaphoreLimits;

mod adaptive;
mod findings;
mod gauges;
mod languages;
mod plan;
mod premise;

// wrong: The semaphore made inside the function
/// The wrong way: every call makes a semaphore of its own, and each has all permits free.
async fn limited_inside(
    r: Recorder,
    spec: Spec,
    timeout: Duration,
    n: usize,
    m: usize,
) -> Result<()> {
    let service = r.upstream(spec).await?;
    let client = http::builder().timeout(timeout).build()?;
    r.connect(&client, &service, n).await?;
    let load = r.load();
    let burst = load.burst(n, |_| {
        let request = fetch(client.clone(), service.url());
        async move {
            let semaphore = Semaphore::new(m);
            let _permit = semaphore.acquire().await;
            request.await
        }
    });
    r.tally(burst.await, &service)
}

// right: One semaphore, shared by all
// so: A semaphore limits those who share it. One that is made anew for every call limits nobody.
/// The right way: one semaphore for all.
async fn limited(r: Recorder, spec: Spec, timeout: Duration, n: usize, m: usize) -> Result<()> {
    let service = r.upstream(spec).await?;
    let client = http::builder().timeout(timeout).build()?;
    r.connect(&client, &service, m).await?;
    let semaphore = Arc::new(Semaphore::new(m));
    // The last one may wait for all before it.
    let load = r.load().patient(timeout * n.div_ceil(m) as u32);
    let burst = load.burst(n, |_| {
        let (r, semaphore) = (r.clone(), semaphore.clone());
        let request = fetch(client.clone(), service.url());
        async move {
            let _permit = semaphore.acquire().await;
            let sent = Instant::now();
            let outcome = request.await;
            // The clock that does not see the wait for the permit. Of successes alone, like the clock
            // that it is compared with: who gives up has waited longer than who is answered.
            if outcome == Outcome::Ok {
                r.sample(gauges::OK_FROM_SENDING_S, sent.elapsed().as_secs_f64());
            }
            outcome
        }
    });
    let load = burst.await;
    r.answers(&load);
    r.tally(load, &service)
}

/// No limit: lab03's burst.
async fn unlimited(r: Recorder, spec: Spec, timeout: Duration, n: usize) -> Result<()> {
    let service = r.upstream(spec).await?;
    let client = http::builder().timeout(timeout).build()?;
    r.connect(&client, &service, n).await?;
    let load = r.load().burst(n, |_| fetch(client.clone(), service.url())).await;
    r.answers(&load);
    r.tally(load, &service)
}

/// A limit that nobody sets.
async fn adaptive(
    r: Recorder,
    spec: Spec,
    timeout: Duration,
    n: usize,
    start: usize,
    late: f64,
) -> Result<()> {
    let service = r.upstream(spec).await?;
    let client = http::builder().timeout(timeout).build()?;
    r.connect(&client, &service, start).await?;
    let limit = Arc::new(Adaptive::new(start, late));
    let load = r.load().patient(timeout * n as u32);
    let begin = Instant::now();
    let burst = load.burst(n, |_| {
        let (r, limit) = (r.clone(), limit.clone());
        let request = fetch(client.clone(), service.url());
        async move {
            let outcome = limit.run(request).await;
            r.trace("limit", Instant::now(), limit.now());
            outcome
        }
    });
    let load = burst.await;
    r.gauge(gauge::STARTED_S, (begin - r.origin()).as_secs_f64());
    r.tally(load, &service)
}

/// One request. The clock of the client's timeout starts here.
async fn fetch(client: reqwest::Client, url: String) -> Outcome {
    Outcome::of(http::get(&client, url).await)
}
