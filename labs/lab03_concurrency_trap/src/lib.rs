//! # The concurrency trap
//!
//! ## The question
//!
//! Does more concurrency always mean more throughput?
//!
//! ## What to predict
//!
//! A service has `c` = {slots} slots, and each request holds one for `s` = {service}. Clients wait
//! at most `T` = {timeout} for an answer. You send {levels} requests at once. Sketch three curves
//! over their number: answers per second, latency, and the share of requests that succeed.
//!
//! ## The experiment
//!
//! Two kinds of load, each against a service whose queue has no bound and one that refuses (503)
//! when `K` = {queue} requests are waiting:
//!
//! - **burst**: `N` requests at the same instant, once.
//! - **sustained**: `N` clients; each sends, waits for its answer, and sends again.
//!
//! A third burst goes through a client whose connection pool has a limit, as many HTTP libraries
//! have by default. A last run lets the load fall after a burst and watches the service recover.
//! Only answers complete and in time count: so many per second is the *goodput*.
//!
//! ## What the figures show
//!
//! Up to `N = c` every client has a slot to itself: goodput is `N/s`, latency `s`. From there on
//! goodput is `c/s` whatever `N` is. Little's law says: how many are inside (`L`) is how many come
//! a second (`λ`) times how long each stays (`W`). So latency is `W = L/λ = N·s/c`. More
//! concurrency buys nothing but waiting.
//!
//! Beyond `N = c·T/s` waiting exceeds patience, and the two queues part. With the unbounded one the
//! service works for clients that have left; their slots are not freed by their leaving, new
//! attempts queue up behind dead ones, and nobody is answered in time any more: the goodput of a
//! service that is busy all the time falls towards zero. With the bounded one most clients are
//! refused at once, the rest are answered in time, and goodput stays at `c/s`.
//!
//! A burst shows only half of this: `c·⌊T/s⌋` requests are answered in time and the rest are lost,
//! so its success share falls while its goodput stays. The collapse needs clients that try again.
//!
//! Once the load falls to `λ`, the service recovers after `backlog / (c/s − λ)`: the backlog is
//! worked off with what capacity is left over.
//!
//! ## A common belief
//!
//! *More concurrency, more throughput.* The lab notes that this suite grew from sent bursts of up
//! to 2000 requests and divided their number by the time they took. That "throughput" kept rising,
//! to 181 requests/s, while the share of answers fell to 27 %: failures were counted as well. The
//! first panel calls such a line *attempts*.
//!
//! *The server is to blame.* Often the client is: behind a pool of connections (aiohttp 3 keeps 100
//! unless told otherwise) most of a large burst times out in the client's own queue, and the server
//! never sees it. A pool is a hidden semaphore. With `--with python` that library sends the same loads,
//! with its default pool and with none; Node, Go and Java do, too, with the same pool and with none.
//!
//! ## In production
//!
//! Bound every queue, and refuse at the door: a refusal costs the service little and the client can
//! act on it. Give requests deadlines the server knows, so that it can drop what nobody awaits.
//! Watch goodput, not attempts. Do not let clients retry at once. Expect a recovery that outlasts
//! the overload, unless the backlog is dropped or more capacity is spare afterwards than was
//! missing before.
//!
//! ## Check yourself
//!
//! - Why does latency grow in proportion to N once the slots are full, and not faster?
//! - The service doubles `c`. Where does the collapse move to? And if `s` halves instead?
//! - Attempts per second rise when goodput collapses. What bounds them?
//! - For which `K` does the bounded queue collapse as well? Try it: `--queue` with more than
//!   `c·(T/s − 1)`.

use std::sync::Arc;

use lab_kit::prelude::*;
use tokio::sync::Semaphore;

use plan::{Fall, steady_after};

pub use plan::ConcurrencyTrap;

mod findings;
mod languages;
mod plan;
mod premise;

// wrong(1): The service with a queue that has no bound
/// Whoever comes is let in, and waits for a slot.
fn unbounded(slots: usize, service: Duration) -> Spec {
    Spec::new(slots, ServiceTime::Constant(service))
}

// right(1): The service that refuses when its queue is full
// so(1): This is the whole difference between the goodput that falls to nothing and the one
//     that stays at the capacity.
/// Whoever finds all slots and so many places taken is refused at once.
fn bounded(slots: usize, service: Duration, places: usize) -> Spec {
    Spec { queue: Some(places), ..unbounded(slots, service) }
}

/// N clients that send again after each answer.
async fn sustained(r: Recorder, spec: Spec, plan: Closed, timeout: Duration) -> Result<()> {
    let service = r.upstream(spec).await?;
    let client = client(&r, &service, timeout, plan.clients).await?;
    let url = service.url();
    let load = r
        .load()
        .watching(service.arrivals())
        .closed(plan, move |_| fetch(client.clone(), url.clone()))
        .await;
    r.tally(load, &service)
}

// wrong(2): A client whose pool is a semaphore nobody sees
/// The burst again, through a client that keeps at most `pool` connections: a semaphore nobody
/// sees. The clock of the timeout runs while a request waits for a connection.
async fn pooled(r: Recorder, spec: Spec, n: usize, timeout: Duration, pool: usize) -> Result<()> {
    let service = r.upstream(spec).await?;
    let client = client(&r, &service, timeout, pool.min(n)).await?;
    let connections = Arc::new(Semaphore::new(pool));
    let load = r.load();
    let burst = load.burst(n, |_| {
        let (connections, request) = (connections.clone(), fetch(client.clone(), service.url()));
        async move {
            let pooled = async {
                let _connection = connections.acquire().await;
                request.await
            };
            tokio::time::timeout(timeout, pooled).await.unwrap_or(Outcome::TimedOut)
        }
    });
    r.tally(burst.await, &service)
}

// right(2): A client with a connection for each request
// so(2): In the pooled client the clock of the timeout runs while a request waits for a connection,
//     and the service never sees it.
/// N requests at once, and that is all.
async fn burst(r: Recorder, spec: Spec, n: usize, timeout: Duration) -> Result<()> {
    let service = r.upstream(spec).await?;
    let client = client(&r, &service, timeout, n).await?;
    let load = r.load().burst(n, |_| fetch(client.clone(), service.url())).await;
    r.tally(load, &service)
}

/// A burst, and then a load well below capacity: how long until the service is itself again?
///
/// The clients of the burst leave after `timeout`. The steady ones wait however long it takes, so
/// that every latency is seen.
async fn recovery(r: Recorder, spec: Spec, fall: Fall, timeout: Duration) -> Result<()> {
    let service = r.upstream(spec).await?;
    let hasty = client(&r, &service, timeout, fall.burst).await?;
    let patient = http::client();
    let arrivals = steady_after(&fall);
    let load = r.load();
    let start = Instant::now();
    let (_, steady) = tokio::join!(
        load.burst(fall.burst, |_| fetch(hasty.clone(), service.url())),
        load.open(arrivals, |_| fetch(patient.clone(), service.url())),
    );
    for (at, latency) in &steady.timeline {
        r.trace("latency_s", start + Duration::from_secs_f64(*at), *latency);
    }
    r.gauge(gauge::STARTED_S, (start - r.origin()).as_secs_f64());
    r.tally(steady, &service)
}

/// A client with open connections: a burst shall measure the service, not the handshakes.
async fn client(
    r: &Recorder,
    service: &Service,
    timeout: Duration,
    connections: usize,
) -> Result<reqwest::Client> {
    let client = http::builder().timeout(timeout).build()?;
    r.connect(&client, service, connections).await?;
    Ok(client)
}

/// One request. `send` takes what the timeout allows; a refusal is an error like any other status.
async fn fetch(client: reqwest::Client, url: String) -> Outcome {
    Outcome::of(http::get(&client, url).await)
}
