//! # The resilient client
//!
//! ## The question
//!
//! What does a production HTTP client do?
//!
//! ## What to predict
//!
//! A service answers some requests with an error, at random; and once it is down for {outage}. Its
//! clients try again: at once, after waits that grow, after waits that grow and are random. What
//! does that gain them, and what does it cost the service? And which of the parts of a careful
//! client earns its place?
//!
//! ## The experiment
//!
//! `labs/parts/src/client.rs` is a client made to be copied: one connection pool, a limit of
//! attempts in flight, a timeout for each attempt and a deadline over all, retries of what time can
//! mend, back-off with jitter, a retry budget and a circuit breaker. *Back-off* is the wait before
//! a retry. *Full jitter* draws it at random between nothing and that wait. A *budget* makes
//! retries a share of the calls. After {breaker-after} failures in a row a *breaker* lets no call
//! through for {breaker-wait}. Each arm adds one part to the one before, but for two: exponential
//! waits replace the quadratic ones, and the deadline replaces the count of retries.
//!
//! (a) Each attempt fails with probability `q`. (b) The service is down for a while. Calls go on as
//! before, and besides, {herd} callers are cut off by the outage and all call at the moment it
//! begins. (c) One of {fail-every} attempts fails, and the permit of the limit is kept during the
//! back-off, or given back.
//!
//! ## What the figures show
//!
//! With failures at random, `n` attempts succeed with probability `1 − qⁿ` and cost
//! `(1 − qⁿ)/(1 − q)` attempts a call, whatever the back-off: it only decides when.
//!
//! In an outage retries are load that cannot help. Retries at once multiply it by the number of
//! attempts and save nobody. Growing waits outlast the outage if their sum is longer than it. But
//! those that failed together wait together: without jitter the {herd} come back at the same
//! moment, again and again, until one of those moments lies after the end. With full jitter they
//! are spread over the whole back-off.
//!
//! The budget bounds what all retries together may add, here {budget} retries for each call. That
//! is its worth in an outage and its price otherwise: where few attempts fail at random it grants
//! almost every retry, where many do it refuses most. The breaker goes further: a probe now and
//! then is all that reaches the service, and everybody else fails at once instead of waiting. It
//! saves the service, not the calls: that is right if callers have something better to do than to
//! wait. (Failures in a row are easily interrupted: with `--service 20ms` answers that were on
//! their way when the service went down begin the count anew, and more gets through.)
//!
//! ## A common belief
//!
//! *A call needs one permit.* Held round the retry loop, it sleeps through each back-off `b`, lost
//! to the others. (c) shows what that costs: with `s` the time of an attempt, `N` calls of `A`
//! attempts through `m` permits take `N·(A·s + (A − 1)·b)/m` instead of `N·A·s/m`.
//!
//! *Jitter is always better.* A full jitter halves the mean wait, so the same number of retries is
//! used up in half of the time. Then {retries} retries with doubling waits may outlast the outage
//! in (b), and the same number with jitter may not. What a caller knows is how long it can wait:
//! the deadline should bound the retries, not a count. The arm "jitter until the deadline" saves
//! every call.
//!
//! *`attempt ** 2` or `2 ** attempt`, it grows.* No short test finds the slip: 1, 4, 9 and 16 stand
//! against 2, 4, 8 and 16. (The arms here both begin with `b`, and the squares wait longer up to
//! the sixth retry.) In a long outage `D` it shows: the number of attempts grows like the cube root
//! of `D/b` instead of its logarithm.
//!
//! *A budget of 15 % is one of 15 %.* It is one of 16.7 % in `tower` 0.5, and one of 70 % is 100 %:
//! the price of a retry is a whole number of tokens, rounded down. And its reserve is not a
//! trickle: what is meant for ten seconds can be had at once.
//!
//! ## In production
//!
//! Timeouts and a deadline always. Retry only what is *idempotent*: done twice it has the effect of
//! once. Retry only what time can mend. Full jitter always. A budget as soon as there is more than
//! one caller. Retry in one place: three layers that each try three times make 27 attempts. A
//! breaker where waiting is useless. Acquire the permit for an attempt. Size the limit by lab04.
//!
//! ## Check yourself
//!
//! - A request is not idempotent and ran into its timeout. Why is it not sent again, and why is it
//!   when the connection was refused?
//! - Two hundred clients read `Retry-After: 1`. When do they come back?
//! - The breaker lets one probe through at a time. Why does the number of probes in an outage not
//!   depend on the load?
//! - Why must a probe whose caller goes away give back its place?

use std::sync::Arc;

use futures_util::future::join_all;
use lab_kit::prelude::*;
use mock_server::{Chance, Faults};
use tokio::sync::Semaphore;

use lab_parts::client::{Backoff, Builder, Client, Request, Retries};

mod calls;
mod findings;
mod gauges;
mod outage;
mod plan;
mod premise;
mod schedule;

use calls::{books, call};
use plan::GIVEN_BACK;
pub use plan::{Params, ResilientClient};

// wrong: The permit is kept during the back-off
/// (c) The wrong way: the permit is held round the whole retry loop, and sleeps with it.
async fn permit_kept(r: Recorder, p: Arc<Params>, wait: Duration) -> Result<()> {
    let service = r.upstream(p.failing_items()).await?;
    let client = Client::builder().unlimited().retries(Retries::none()).build()?;
    let permits = Semaphore::new(p.permits);
    let items = (0..p.items).map(|_| async {
        let _permit = permits.acquire().await;
        while client.fetch(Request::get(service.url())).await.is_err() {
            tokio::time::sleep(wait).await;
        }
    });
    timed(&r, &client, &service, join_all(items)).await
}

// right: The permit is given back before the back-off
// so: A permit is for an attempt. One that sleeps through a back-off is lost to everybody else.
/// The right way: a permit for an attempt. The rest of the loop is the client's.
async fn permit_given_back(r: Recorder, p: Arc<Params>, wait: Duration) -> Result<()> {
    let service = r.upstream(p.failing_items()).await?;
    let client = Client::builder()
        .concurrency(p.permits)
        .deadline(GIVEN_BACK)
        .retries(Retries::until_deadline(Backoff::constant(wait).capped(wait)))
        .build()?;
    let items = (0..p.items).map(|_| Request::get(service.url()));
    timed(&r, &client, &service, client.fetch_batch(items)).await
}

/// Makes all these calls, and writes down how long they take.
async fn timed(r: &Recorder, client: &Client, service: &Service, calls: impl Future) -> Result<()> {
    let start = Instant::now();
    calls.await;
    r.wall(start.elapsed());
    books(r, client, service);
    Ok(())
}

/// The arms: name in the record, and as people say it. Each adds one part to the one before, but for two.
const ARMS: [(&str, &str); 8] = [
    ("none", "no retry"),
    ("immediate", "at once"),
    ("quadratic", "quadratic"),
    ("exponential", "exponential"),
    ("jitter", "+ full jitter"),
    ("deadline", "+ until the deadline"),
    ("budget", "+ budget"),
    ("breaker", "+ breaker"),
];

impl Params {
    /// When an arm tries again.
    fn retries(&self, arm: &str) -> Retries {
        let exponential = Backoff::exponential(self.base.duration()).capped(self.cap.duration());
        let quadratic = Backoff::quadratic(self.base.duration()).capped(self.cap.duration());
        match arm {
            "none" => Retries::none(),
            "immediate" => Retries::up_to(self.retries, Backoff::none()),
            "quadratic" => Retries::up_to(self.retries, quadratic),
            "exponential" => Retries::up_to(self.retries, exponential),
            "jitter" => Retries::up_to(self.retries, exponential.jittered()),
            _ => Retries::until_deadline(exponential.jittered()),
        }
    }

    /// The client of an arm.
    fn client(&self, arm: &str) -> Builder {
        let client = Client::builder()
            .concurrency(self.limit)
            .deadline(self.deadline.duration())
            .retries(self.retries(arm));
        match arm {
            "budget" => client.budget(self.budget()),
            "breaker" => client.budget(self.budget()).breaker(self.breaker()),
            _ => client,
        }
    }
}

/// (a) Each attempt fails with probability `q`.
async fn random_failures(r: Recorder, p: Arc<Params>, arm: &str, q: f64) -> Result<()> {
    let chance = Chance { probability: q, status: 500 };
    let faults = Faults { statuses: vec![chance], ..Faults::default() };
    let service = r.upstream(p.spec(faults, r.seed())).await?;
    let client = p.client(arm).deadline(p.patience()).seed(r.seed());
    let client = client.build()?;
    let load = r.load();
    let load = load.burst(p.calls, |_| call(&client, service.url())).await;
    books(&r, &client, &service);
    r.tally(load, &service)
}
