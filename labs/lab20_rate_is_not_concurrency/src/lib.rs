//! # Rate is not concurrency
//!
//! ## The question
//!
//! The service allows {quota} requests a second: why does a semaphore not keep to it?
//!
//! ## What to predict
//!
//! A service admits `R` = {quota} requests a second, and `b` = {burst} at once after a pause. Whoever comes
//! beyond that is refused (429) and told to come back after `p` = {pause} on average. At first a request takes `W` =
//! {before}; after {phase} it takes {after}. {clients} clients always have something to ask for. A semaphore lets
//! `m` of their requests be in flight, and whoever is refused keeps the permit until it is admitted. How many
//! requests a second are admitted, and how many are refused, in each part?
//!
//! ## The experiment
//!
//! The same clients, held back in different ways, each before a service of its own. All that is told of them
//! comes from the books of the service.
//!
//! - **no limit**: {crowd} clients ask at once;
//! - **a semaphore** of {limits};
//! - **a fixed window**: {quota} a second are counted in windows of {window}; the first one is nearly over, and
//!   still full, when the clients begin;
//! - **a leaky bucket**: an even pace, one request after another;
//! - **a bucket of tokens** with half of the service's burst, once in the lines below and once from a
//!   library (governor);
//! - **both**, a bucket and a semaphore of {permits}, with the permit first or the token first;
//! - **a rate that nobody sets**: it grows by {gain} a second each second, and a refusal leaves {back} of it.
//!
//! Then two tenants share one bucket. {greedy} clients of the greedy one ask again as soon as they are answered;
//! the modest one has {modest} requests a second.
//!
//! ## What the figures show
//!
//! A semaphore of `m` lets `m/W` through (Little 1961). That is a rate only as long as `W` stays what it
//! was. While requests are slow a small `m` leaves a part of the quota unused. When they become fast the same
//! permits ask for many times the quota. `R·W` permits are then held by requests that are being served, and each of
//! the others is refused once in every pause `p`: `(m − R·W)/p` refusals a second.
//!
//! A fixed window sends the right number a second, at the wrong moments. It sends all of them when it begins,
//! and the service admits no more than `b` of these. Across the border of two windows twice as many come as the
//! quota allows in one.
//!
//! A bucket of tokens is the quota itself, kept on the other side: in any time `t` no more than `R·t` and the
//! burst are sent, however long a request takes. Its burst must be smaller than the service's. On the way some
//! requests are late and others are not, so they come closer together than they were sent; what is left of
//! the service's burst, divided by `R`, is the lateness that it forgives.
//!
//! A bucket bounds no concurrency: `R·W` are in flight, ten times as many while requests are ten times as slow.
//! Two limits hold with `min(R, m/W)`, if they are taken in the right order. A token that is taken first waits
//! for a permit. Such tokens pile up while requests are slow. When they become fast, all but `b` are refused.
//!
//! ## A common belief
//!
//! *A semaphore is a rate limiter.* It limits what is under way at the same time. A rate limits what begins in
//! a time. Little's law turns one into the other, for one `W`.
//!
//! *After a 429, just try again.* Who tries again on a permit of its own asks as often as before. Whether
//! refused requests count against the quota is for the service to say, and at many services they do.
//!
//! ## In production
//!
//! Use one bucket for all who share a quota. Give it a burst well below the service's, and its rate a margin
//! when others use the same key. Keep a semaphore beside it, for the day on which the service becomes slow. If
//! there are several processes, give each its share, or keep the bucket where all can reach it. Obey
//! `Retry-After`; it has whole seconds, and some services say milliseconds in a header of their own. A rate
//! that adapts needs no number, and pays for it with a refusal in every cycle. Between tenants be fair *before*
//! the bucket: a line that serves who came first serves whoever sends most.
//!
//! ## Check yourself
//!
//! - Suppose the service takes three times as long as now, at night. What do the semaphore, the bucket and both do?
//! - Why does the client's bucket hold less than the service's?
//! - Suppose the fixed window is a tenth as long. What becomes better, and what remains?
//! - Ten processes share one key. Where does the bucket belong?

use std::sync::Arc;

use lab_kit::prelude::*;
use mock_server::Quota;
use tokio::sync::{Mutex, Semaphore};
use tokio::time::sleep_until;

use api::Api;

pub use plan::{Params, RateIsNotConcurrency};

mod adaptive;
mod api;
mod books;
mod figures;
mod findings;
mod gauges;
mod held;
mod languages;
mod plan;
mod premise;
mod world;

// wrong(1): A semaphore as a rate limiter
/// The wrong way: at most so many in flight. How many a second that makes depends on how long each takes.
async fn at_a_time(semaphore: Arc<Semaphore>, api: Api) -> Outcome {
    let _permit = semaphore.acquire().await;
    loop {
        if let Some(outcome) = api.ask().await.settled().await {
            return outcome;
        }
    }
}

// right(1): A token for every attempt
// so(1): The wrong way waits until somebody else is done. The right way waits until it is time.
/// The right way: so many a second, however long each takes.
async fn a_second(bucket: Arc<Bucket>, api: Api) -> Outcome {
    loop {
        bucket.take().await;
        if let Some(outcome) = api.ask().await.settled().await {
            return outcome;
        }
    }
}

// wrong(2): So many in each window
/// The wrong limiter: it counts, and begins to count anew at fixed times.
struct Window {
    most: usize,
    length: Duration,
    now: Mutex<(usize, Instant)>,
}

impl Window {
    /// One that is about to be over.
    fn about_to_end(most: usize, length: Duration) -> Window {
        Window { most, length, now: Mutex::new((most, Instant::now() + length / 10)) }
    }

    async fn take(&self) {
        let mut window = self.now.lock().await;
        let (left, ends) = &mut *window;
        if *left == 0 {
            sleep_until((*ends).into()).await;
        }
        while Instant::now() >= *ends {
            (*left, *ends) = (self.most, *ends + self.length);
        }
        *left -= 1;
    }
}

// right(2): A bucket of tokens
// so(2): The window forgets at its border what has just been sent. The bucket never forgets more than its burst.
/// The right limiter: a request is due a gap after the one before. Instants that nobody used are saved, up to the burst.
struct Bucket {
    gap: Duration,
    saved: Duration,
    next: Mutex<Instant>,
}

impl Bucket {
    async fn take(&self) {
        let mut next = self.next.lock().await;
        *next = (*next).max(Instant::now() - self.saved);
        sleep_until((*next).into()).await;
        *next += self.gap;
    }
}

impl Bucket {
    /// A full one.
    fn of(quota: Quota) -> Bucket {
        let gap = Duration::from_secs_f64(1.0 / quota.per_s);
        let saved = gap * quota.burst.saturating_sub(1);
        Bucket { gap, saved, next: Mutex::new(Instant::now() - saved) }
    }
}

// wrong(3): The token first
/// The wrong order: who has a token waits for a permit, and uses the token at some other time.
async fn token_first(bucket: Arc<Bucket>, semaphore: Arc<Semaphore>, api: Api) -> Outcome {
    loop {
        let answer = {
            bucket.take().await;
            let _permit = semaphore.acquire().await;
            api.ask().await
        };
        if let Some(outcome) = answer.settled().await {
            return outcome;
        }
    }
}

// right(3): The permit first
// so(3): A token says: now. It is the last thing to wait for.
/// The right order: the token is used when it is taken.
async fn permit_first(bucket: Arc<Bucket>, semaphore: Arc<Semaphore>, api: Api) -> Outcome {
    loop {
        let answer = {
            let _permit = semaphore.acquire().await;
            bucket.take().await;
            api.ask().await
        };
        if let Some(outcome) = answer.settled().await {
            return outcome;
        }
    }
}

// wrong(4): One line for all
/// The wrong way to share: whoever asks most stands in the line most often.
async fn one_line(bucket: &Bucket) {
    bucket.take().await;
}

// right(4): One in the line for each tenant
// so(4): The lock lets one of each tenant into the line, so the tenants take turns.
/// The right way to share: of each tenant one stands in the line, the others wait for its place.
async fn in_turn(bucket: &Bucket, place: &Mutex<()>) {
    let _place = place.lock().await;
    bucket.take().await;
}

/// No limit.
async fn at_once(api: Api) -> Outcome {
    loop {
        if let Some(outcome) = api.ask().await.settled().await {
            return outcome;
        }
    }
}

/// So many in each window.
async fn a_window(window: Arc<Window>, api: Api) -> Outcome {
    loop {
        window.take().await;
        if let Some(outcome) = api.ask().await.settled().await {
            return outcome;
        }
    }
}

/// The bucket of a library.
async fn by_governor(limiter: Arc<governor::DefaultDirectRateLimiter>, api: Api) -> Outcome {
    loop {
        limiter.until_ready().await;
        if let Some(outcome) = api.ask().await.settled().await {
            return outcome;
        }
    }
}
