//! An HTTP client for production: limits, deadlines, retries, a budget and a breaker.
//!
//! Made to be copied: it knows neither the labs nor their kit. One [`Client`] stands for one
//! service that is called, because that is what a limit, a budget and a breaker belong to. Make it
//! once, clone it freely; the connections close with the last clone.
//!
//! ```no_run
//! use std::time::Duration;
//! use lab_parts::client::{Backoff, Breaker, Budget, Client, Request, Retries};
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let client = Client::builder()
//!     .concurrency(50)
//!     .attempt_timeout(Duration::from_secs(2))
//!     .deadline(Duration::from_secs(10))
//!     .retries(Retries::until_deadline(Backoff::exponential(Duration::from_millis(100)).jittered()))
//!     .budget(Budget::share(0.1))
//!     .breaker(Breaker::after(10))
//!     .build()?;
//! let requests = ["a", "b"].map(|page| Request::get(format!("http://127.0.0.1:8080/{page}")));
//! for (page, body) in client.fetch_batch(requests).await.into_iter().enumerate() {
//!     match body {
//!         Ok(body) => println!("{page}: {} bytes", body.len()),
//!         Err(error) => eprintln!("{error}"),
//!     }
//! }
//! # Ok(())
//! # }
//! ```
//!
//! # How the parts compose
//!
//! A call is one [`Client::fetch`]; it makes attempts. Around the whole call lies the deadline: it
//! bounds the waits for permits, the attempts and the back-off. Each attempt, in this order, asks
//! the breaker, waits for a permit, and has a timeout of its own. The permit is given back before
//! the back-off: who sleeps needs no slot. After a failure [`judge`] says whether another attempt
//! can help; if so the retry must be paid from the budget, and it must fit into what is left of the
//! deadline. Nobody sleeps only to find the deadline gone.
//!
//! # What is taken from crates, and what is not
//!
//! - The growth of delays comes from `backon`. Its own jitter is not used: it adds up to the delay
//!   on top of the delay, so no wait is shorter than the delay and the mean is 1.5 times as long.
//!   Full jitter is a random point between zero and the delay (Brooker, *Exponential Backoff And
//!   Jitter*, AWS Architecture Blog, 2015).
//! - The budget is `tower`'s, the one that reqwest has inside.
//! - The breaker is our own. Half open, `recloser` 1.4 and `failsafe` 1.3 let every call through until
//!   the first answers are in: at 1,000 calls/s and a timeout of one second that is a thousand
//!   probes. This one lets through as many as it is told.

use std::{
    collections::BTreeMap,
    error::Error as StdError,
    fmt,
    hash::{BuildHasher, Hasher, RandomState},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, SystemTime},
};

use backon::{BackoffBuilder, ConstantBuilder, ExponentialBuilder};
use bytes::{Bytes, BytesMut};
use rand::{RngExt, SeedableRng};
use rand_pcg::Pcg64Mcg;
use reqwest::{
    Method, StatusCode,
    header::{HeaderMap, HeaderName, HeaderValue, RETRY_AFTER},
};
use tokio::{
    sync::{Semaphore, SemaphorePermit},
    time::{Instant, sleep_until, timeout_at},
};
use tower::retry::budget::{Budget as _, TpsBudget};

/// A client of one service. Cheap to clone; clones share everything.
#[derive(Clone)]
pub struct Client(Arc<Inner>);

struct Inner {
    pool: reqwest::Client,
    largest_body: usize,
    permits: Option<Semaphore>,
    attempt_timeout: Duration,
    deadline: Duration,
    retries: Retries,
    /// Behind a lock because tower's check and its withdrawal are two steps: two threads could
    /// spend the last token twice.
    budget: Option<Mutex<TpsBudget>>,
    breaker: Option<Mutex<Circuit>>,
    seed: u64,
    on_attempt: Option<Box<OnAttempt>>,
    books: Mutex<Stats>,
}

type OnAttempt = dyn Fn(Attempt) + Send + Sync;

/// An attempt that is about to be sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Attempt {
    /// Which call of the client, counted from 0.
    pub call: u64,
    /// Which attempt of that call, counted from 1.
    pub number: u32,
}

/// What to fetch.
#[derive(Clone, Debug)]
pub struct Request {
    method: Method,
    url: String,
    headers: HeaderMap,
    body: Bytes,
    idempotent: bool,
}

impl Request {
    /// A request with this method. Whether it may be sent twice follows from the method: RFC 9110
    /// (2022), section 9.2.2.
    pub fn new(method: Method, url: impl Into<String>) -> Request {
        Request {
            idempotent: method.is_idempotent(),
            method,
            url: url.into(),
            headers: HeaderMap::new(),
            body: Bytes::new(),
        }
    }

    /// A GET.
    pub fn get(url: impl Into<String>) -> Request {
        Request::new(Method::GET, url)
    }

    /// A POST. It is not retried unless it is said to be [idempotent](Request::idempotent), or
    /// nothing of it has been sent.
    pub fn post(url: impl Into<String>, body: impl Into<Bytes>) -> Request {
        Request { body: body.into(), ..Request::new(Method::POST, url) }
    }

    /// The same request with this header, in place of an earlier one of that name.
    pub fn header(mut self, name: HeaderName, value: HeaderValue) -> Request {
        self.headers.insert(name, value);
        self
    }

    /// The same request, which does (or does not) the same when it is sent twice.
    pub fn idempotent(self, idempotent: bool) -> Request {
        Request { idempotent, ..self }
    }

    /// The same request with a key by which the service recognises it when it is sent twice (header
    /// `Idempotency-Key`), which makes it idempotent.
    pub fn idempotency_key(self, key: HeaderValue) -> Request {
        self.header(HeaderName::from_static("idempotency-key"), key).idempotent(true)
    }
}

/// How the waits between attempts grow.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Backoff {
    growth: Growth,
    base: Duration,
    cap: Duration,
    jitter: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Growth {
    Constant,
    Quadratic,
    Exponential,
}

impl Backoff {
    const fn new(growth: Growth, base: Duration) -> Backoff {
        Backoff { growth, base, cap: Duration::from_secs(20), jitter: false }
    }

    /// No wait at all: the next attempt follows the failure at once.
    pub const fn none() -> Backoff {
        Backoff::new(Growth::Constant, Duration::ZERO)
    }

    /// Always the same wait.
    pub const fn constant(wait: Duration) -> Backoff {
        Backoff::new(Growth::Constant, wait)
    }

    /// base, 4 base, 9 base, … : what `attempt ** 2` gives where `2 ** attempt` was meant.
    pub const fn quadratic(base: Duration) -> Backoff {
        Backoff::new(Growth::Quadratic, base)
    }

    /// base, 2 base, 4 base, …
    pub const fn exponential(base: Duration) -> Backoff {
        Backoff::new(Growth::Exponential, base)
    }

    /// The same, with no wait longer than this (20 s unless said otherwise).
    pub const fn capped(self, cap: Duration) -> Backoff {
        Backoff { cap, ..self }
    }

    /// The same with full jitter: each wait is a random point between zero and what it would have
    /// been, so that those who failed together do not come back together.
    pub const fn jittered(self) -> Backoff {
        Backoff { jitter: true, ..self }
    }

    /// The waits without jitter, the first retry's first; without end.
    pub fn ceilings(self) -> Box<dyn Iterator<Item = Duration> + Send> {
        let Backoff { base, cap, .. } = self;
        match self.growth {
            Growth::Constant => Box::new(
                ConstantBuilder::new().with_delay(base.min(cap)).without_max_times().build(),
            ),
            Growth::Exponential => Box::new(
                ExponentialBuilder::new()
                    .with_factor(2.0)
                    .with_min_delay(base.min(cap))
                    .with_max_delay(cap)
                    .without_max_times()
                    .build(),
            ),
            Growth::Quadratic => Box::new((1..).map(move |attempt: u32| {
                let factor = attempt.saturating_mul(attempt);
                base.saturating_mul(factor).min(cap)
            })),
        }
    }

    /// The waits of one call. Calls with different seeds wait differently, if there is jitter.
    pub fn delays(self, seed: u64) -> impl Iterator<Item = Duration> + Send {
        let mut rng = Pcg64Mcg::seed_from_u64(seed);
        self.ceilings().map(
            move |ceiling| {
                if self.jitter { ceiling.mul_f64(rng.random()) } else { ceiling }
            },
        )
    }
}

/// Whether and when a call tries again.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Retries {
    /// At most so many; `None` leaves it to the deadline.
    pub most: Option<u32>,
    /// How long to wait before each.
    pub backoff: Backoff,
}

impl Retries {
    /// One attempt, and that is it.
    pub const fn none() -> Retries {
        Retries::up_to(0, Backoff::none())
    }

    /// At most so many retries, which makes one attempt more.
    pub const fn up_to(most: u32, backoff: Backoff) -> Retries {
        Retries { most: Some(most), backoff }
    }

    /// As many as fit into the deadline. How long a caller can wait is known; how many attempts an
    /// outage takes is not.
    pub const fn until_deadline(backoff: Backoff) -> Retries {
        Retries { most: None, backoff }
    }
}

impl Default for Retries {
    fn default() -> Retries {
        let base = Duration::from_millis(100);
        Retries::up_to(3, Backoff::exponential(base).jittered())
    }
}

/// How many retries the client as a whole may add to its calls: when everything fails, retries of
/// everything would only add to the load of a service that is down.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Budget {
    /// Retries for each call.
    pub share: f32,
    /// Retries a second that are granted without calls, for clients that make few of them. It is no
    /// bucket that fills: `reserve_per_s` × `window` of them can be had at once.
    pub reserve_per_s: u32,
    /// How long a call counts, 1 s to 60 s.
    pub window: Duration,
}

impl Budget {
    /// So many retries for each call, with a reserve of one a second over ten seconds.
    pub const fn share(share: f32) -> Budget {
        Budget { share, reserve_per_s: 1, window: Duration::from_secs(10) }
    }

    /// The share that is really granted: tower counts in whole tokens, rounding the price of a retry
    /// down. A share of 0.15 is one in six, and all from 0.5 to 1 beyond a half are one in one.
    pub fn granted_share(&self) -> f64 {
        let price = |deposit: f32| f64::from(deposit) / f64::from((deposit / self.share).trunc());
        match self.share {
            share if share <= 0.0 => 0.0,
            share if share <= 1.0 => price(1.0),
            _ => price(1000.0),
        }
    }

    /// The most retries that `calls` within one window can have.
    pub fn most_retries(&self, calls: f64) -> f64 {
        let reserve = f64::from(self.reserve_per_s) * self.window.as_secs() as f64;
        (calls * self.granted_share()).floor() + reserve
    }

    fn build(self) -> Result<TpsBudget, BuildError> {
        let seconds = self.window.as_secs_f64();
        // tower panics on what it does not like.
        if !(1.0..=60.0).contains(&seconds) {
            return Err(BuildError("a budget's window must be 1 s to 60 s".into()));
        }
        if !(0.0..=1000.0).contains(&self.share) {
            return Err(BuildError("a budget's share must be 0 to 1000 retries a call".into()));
        }
        if self.reserve_per_s > 1_000_000 {
            return Err(BuildError("a budget's reserve must be at most a million a second".into()));
        }
        Ok(TpsBudget::new(self.window, self.reserve_per_s, self.share))
    }
}

/// When to stop asking a service that is down, and how to find out that it is back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Breaker {
    /// It opens after so many failed attempts in a row.
    pub failures: u32,
    /// So long it lets nothing through.
    pub open_for: Duration,
    /// Then it lets so many through. When all of them succeed it closes; at the first that fails
    /// it opens again.
    pub probes: u32,
}

impl Breaker {
    /// Opens after so many failures in a row, for one second, with one probe.
    pub const fn after(failures: u32) -> Breaker {
        Breaker { failures, open_for: Duration::from_secs(1), probes: 1 }
    }
}

/// A breaker's state. Pure: the clock is an argument.
#[derive(Debug)]
struct Circuit {
    config: Breaker,
    state: State,
    /// Grows with every change of state: what was sent in an earlier state says nothing about this.
    epoch: u64,
    opened: u64,
    probes: u64,
}

#[derive(Debug, PartialEq, Eq)]
enum State {
    Closed { failures: u32 },
    Open { until: Instant },
    HalfOpen { admitted: u32, good: u32 },
}

/// What an attempt has shown about the service.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Health {
    Good,
    Bad,
    Unknown,
}

impl Circuit {
    fn new(config: Breaker) -> Circuit {
        Circuit { config, state: State::Closed { failures: 0 }, epoch: 0, opened: 0, probes: 0 }
    }

    fn become_(&mut self, state: State) {
        self.state = state;
        self.epoch += 1;
    }

    /// Whether an attempt would be refused now. Takes no probe's place.
    fn refuses(&self, now: Instant) -> bool {
        match self.state {
            State::Closed { .. } => false,
            State::Open { until } => now < until,
            State::HalfOpen { admitted, .. } => admitted >= self.config.probes,
        }
    }

    /// Lets an attempt through, or not. What is let through must be [settled](Circuit::settle).
    fn admit(&mut self, now: Instant) -> Option<u64> {
        if self.refuses(now) {
            return None;
        }
        if let State::Open { .. } = self.state {
            self.become_(State::HalfOpen { admitted: 0, good: 0 });
        }
        if let State::HalfOpen { admitted, .. } = &mut self.state {
            *admitted += 1;
            self.probes += 1;
        }
        Some(self.epoch)
    }

    fn settle(&mut self, epoch: u64, health: Health, now: Instant) {
        if epoch != self.epoch {
            return;
        }
        let open = match (&mut self.state, health) {
            (State::Closed { failures }, Health::Good) => {
                *failures = 0;
                false
            }
            (State::Closed { failures }, Health::Bad) => {
                *failures += 1;
                *failures >= self.config.failures
            }
            (State::HalfOpen { good, .. }, Health::Good) => {
                *good += 1;
                if *good >= self.config.probes {
                    self.become_(State::Closed { failures: 0 });
                }
                false
            }
            (State::HalfOpen { .. }, Health::Bad) => true,
            // A probe that was called off leaves its place to another.
            (State::HalfOpen { admitted, .. }, Health::Unknown) => {
                *admitted -= 1;
                false
            }
            (State::Closed { .. }, Health::Unknown) | (State::Open { .. }, _) => false,
        };
        if open {
            self.opened += 1;
            let until = now + self.config.open_for;
            self.become_(State::Open { until });
        }
    }
}

/// A permission of the breaker: settled when the attempt has ended, or when it is dropped.
struct Pass<'a> {
    circuit: &'a Mutex<Circuit>,
    epoch: u64,
    health: Health,
}

impl Drop for Pass<'_> {
    fn drop(&mut self) {
        lock(self.circuit).settle(self.epoch, self.health, Instant::now());
    }
}

/// How an attempt failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Kind {
    /// No answer in time. The service may have done what it was asked to.
    Timeout,
    /// No connection, so nothing was sent: refused, unknown host, no descriptor left.
    Connect,
    /// The connection broke, or the body ended early. The service may have done its work.
    Broken,
    /// An answer that is no success.
    Status(u16),
    /// A body longer than what is read.
    TooLarge,
    /// The breaker is open: nothing was sent.
    BreakerOpen,
    /// The deadline passed before anything was sent: the wait for a permit took too long.
    NoPermit,
    /// It can never be sent: a wrong URL.
    Invalid,
}

/// Why a call made no further attempt.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum GaveUp {
    /// Trying again cannot help.
    Permanent,
    /// It could help, but the request might be carried out twice.
    NotIdempotent,
    /// All retries that were allowed have been made.
    RetriesUsed,
    /// The deadline has passed, or would pass before the next attempt.
    Deadline,
    /// The client as a whole has no retries left.
    Budget,
    /// The breaker is open.
    Breaker,
}

/// What to do after a failed attempt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Retry {
    /// Try again after the back-off.
    Yes,
    /// Try again after the back-off and this long: the service asked for it.
    After(Duration),
    /// Do not, for this reason.
    No(GaveUp),
}

/// Whether another attempt can help. `retry_after` is what the answer asked for.
///
/// Transient are: time-outs, no connection, a broken connection, and the statuses 408, 429, 500,
/// 502, 503 and 504. Others say that the request or the service is wrong, which time does not mend
/// (501: not implemented). A request that is not idempotent is tried again only when nothing of it
/// was sent.
pub fn judge(kind: Kind, retry_after: Option<Duration>, idempotent: bool) -> Retry {
    match kind {
        Kind::Connect => Retry::Yes,
        Kind::BreakerOpen => Retry::No(GaveUp::Breaker),
        Kind::NoPermit => Retry::No(GaveUp::Deadline),
        Kind::Invalid | Kind::TooLarge => Retry::No(GaveUp::Permanent),
        Kind::Status(code) if !matches!(code, 408 | 429 | 500 | 502 | 503 | 504) => {
            Retry::No(GaveUp::Permanent)
        }
        Kind::Timeout | Kind::Broken | Kind::Status(_) if !idempotent => {
            Retry::No(GaveUp::NotIdempotent)
        }
        Kind::Status(429 | 503) => retry_after.map_or(Retry::Yes, Retry::After),
        Kind::Timeout | Kind::Broken | Kind::Status(_) => Retry::Yes,
    }
}

/// What a failed attempt says about the service: an answer other than a transient 5xx comes from one
/// that works.
fn health(kind: Kind) -> Health {
    match kind {
        Kind::Timeout | Kind::Connect | Kind::Broken => Health::Bad,
        Kind::Status(500 | 502 | 503 | 504) => Health::Bad,
        Kind::Status(_) | Kind::TooLarge => Health::Good,
        Kind::BreakerOpen | Kind::NoPermit | Kind::Invalid => Health::Unknown,
    }
}

/// `Retry-After` in either form of RFC 9110 (2022), section 10.2.3: seconds, or a date.
fn retry_after(headers: &HeaderMap, now: SystemTime) -> Option<Duration> {
    let text = headers.get(RETRY_AFTER)?.to_str().ok()?.trim();
    if let Ok(seconds) = text.parse() {
        return Some(Duration::from_secs(seconds));
    }
    let date = httpdate::parse_http_date(text).ok()?;
    Some(date.duration_since(now).unwrap_or(Duration::ZERO))
}

/// A call that failed.
#[derive(Debug)]
pub struct FetchError {
    /// How the last attempt failed.
    pub kind: Kind,
    /// Why no other followed.
    pub gave_up: GaveUp,
    /// How many attempts were sent.
    pub attempts: u32,
    /// From the call to its end.
    pub elapsed: Duration,
    /// "GET http://…".
    pub request: String,
    source: Option<Box<dyn StdError + Send + Sync>>,
}

impl fmt::Display for FetchError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: ", self.request)?;
        match self.kind {
            Kind::Timeout => write!(f, "no answer in time")?,
            Kind::Connect => write!(f, "no connection")?,
            Kind::Broken => write!(f, "the connection broke")?,
            Kind::Status(code) => write!(f, "status {code}")?,
            Kind::TooLarge => write!(f, "the answer is too large")?,
            Kind::BreakerOpen => write!(f, "the breaker is open")?,
            Kind::NoPermit => write!(f, "no permit in time")?,
            Kind::Invalid => write!(f, "it cannot be sent")?,
        }
        let s = if self.attempts == 1 { "" } else { "s" };
        write!(f, " ({} attempt{s} in {:.1?}); ", self.attempts, self.elapsed)?;
        f.write_str(match (self.gave_up, self.kind) {
            (_, Kind::NoPermit) => "raise the concurrency or the deadline, or send less",
            (_, Kind::Invalid) => "correct the URL",
            (_, Kind::TooLarge) => "raise the largest body, or ask for less",
            (_, Kind::Status(300..=399)) => "the service is elsewhere: correct the URL",
            (GaveUp::Permanent, _) => "correct the request: trying again cannot help",
            (GaveUp::NotIdempotent, _) => {
                "it may have been carried out: find out before sending it again, or give it an idempotency key"
            }
            (GaveUp::RetriesUsed, Kind::Connect) => "is the service running, and the address right?",
            (GaveUp::RetriesUsed, _) => "try again later, or let the deadline bound the retries",
            (GaveUp::Deadline, _) => "try again later, or raise the deadline",
            (GaveUp::Budget, _) => "too much fails for retries to help: try again later",
            (GaveUp::Breaker, _) => "the service is down: try again later",
        })
    }
}

impl StdError for FetchError {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        self.source.as_ref().map(|e| &**e as _)
    }
}

/// A client that cannot be built as asked for.
#[derive(Debug)]
pub struct BuildError(String);

impl fmt::Display for BuildError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl StdError for BuildError {}

/// What a client has done. The books close at every moment:
/// `calls = ok + failed + cancelled + running` and `attempts = calls - unsent + retries`
/// (calls that are waiting for their first permit are not in the second sum yet).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Stats {
    /// Calls begun.
    pub calls: u64,
    /// Calls that returned a body.
    pub ok: u64,
    /// Calls that returned an error.
    pub failed: u64,
    /// Calls whose future was dropped.
    pub cancelled: u64,
    /// Calls that have not ended.
    pub running: u64,
    /// Attempts sent.
    pub attempts: u64,
    /// Attempts sent after the first of their call.
    pub retries: u64,
    /// Ended calls of which nothing was sent.
    pub unsent: u64,
    /// Attempts that ran into a timeout.
    pub timeouts: u64,
    /// Attempts without a connection.
    pub no_connection: u64,
    /// Attempts whose connection broke, or whose answer was too large.
    pub broken: u64,
    /// Attempts with an answer that was no success, by status.
    pub statuses: BTreeMap<u16, u64>,
    /// Failed calls by the reason for which they made no further attempt.
    pub gave_up: BTreeMap<GaveUp, u64>,
    /// Time spent waiting for permits, over all calls.
    pub permit_wait: Duration,
    /// Time spent in attempts, over all that have ended, from the permit to the end of the body.
    pub attempt_time: Duration,
    /// Attempts under way now.
    pub in_flight: u64,
    /// How often the breaker has opened.
    pub breaker_opened: u64,
    /// Attempts that the half-open breaker let through.
    pub probes: u64,
}

impl Stats {
    /// Failed calls that gave up for this reason.
    pub fn gave_up(&self, why: GaveUp) -> u64 {
        self.gave_up.get(&why).copied().unwrap_or(0)
    }

    /// Attempts for each call that was sent.
    pub fn amplification(&self) -> f64 {
        self.attempts as f64 / (self.attempts - self.retries) as f64
    }
}

/// How a [`Client`] is to be.
pub struct Builder {
    pool: Option<reqwest::Client>,
    largest_body: usize,
    concurrency: Option<usize>,
    attempt_timeout: Duration,
    deadline: Duration,
    retries: Retries,
    budget: Option<Budget>,
    breaker: Option<Breaker>,
    seed: Option<u64>,
    on_attempt: Option<Box<OnAttempt>>,
}

impl Builder {
    /// At most so many attempts in flight (64 unless said otherwise). Little's law sizes it: the
    /// throughput that is wanted times the time of an attempt.
    pub fn concurrency(self, limit: usize) -> Builder {
        Builder { concurrency: Some(limit), ..self }
    }

    /// No limit: for services that are known to bear it.
    pub fn unlimited(self) -> Builder {
        Builder { concurrency: None, ..self }
    }

    /// How long an attempt may take, with its connection and its body (10 s).
    pub fn attempt_timeout(self, attempt_timeout: Duration) -> Builder {
        Builder { attempt_timeout, ..self }
    }

    /// How long a call may take with everything in it: waits for permits, attempts, back-off (60 s).
    pub fn deadline(self, deadline: Duration) -> Builder {
        Builder { deadline, ..self }
    }

    /// When to try again (three times, exponential back-off from 100 ms with full jitter).
    pub fn retries(self, retries: Retries) -> Builder {
        Builder { retries, ..self }
    }

    /// Bounds the retries of all calls together (no bound).
    pub fn budget(self, budget: Budget) -> Builder {
        Builder { budget: Some(budget), ..self }
    }

    /// Stops asking a service that is down (never stops).
    pub fn breaker(self, breaker: Breaker) -> Builder {
        Builder { breaker: Some(breaker), ..self }
    }

    /// Seed of the jitter, for tests and experiments (random: processes must not jitter alike).
    pub fn seed(self, seed: u64) -> Builder {
        Builder { seed: Some(seed), ..self }
    }

    /// Most bytes of a body (16 MB). A service that sends without end would else take all memory.
    pub fn largest_body(self, bytes: usize) -> Builder {
        Builder { largest_body: bytes, ..self }
    }

    /// Connections made elsewhere, with other roots, proxies or redirects: without this there are no
    /// proxies, not even those of the environment, and a redirect is an answer. A pool with a limit of
    /// its own is a second, hidden semaphore: requests wait in it while their timeout runs.
    pub fn pool(self, pool: reqwest::Client) -> Builder {
        Builder { pool: Some(pool), ..self }
    }

    /// Called before each attempt is sent, for logs and metrics. Keep it short.
    pub fn on_attempt(self, observer: impl Fn(Attempt) + Send + Sync + 'static) -> Builder {
        Builder { on_attempt: Some(Box::new(observer)), ..self }
    }

    /// The client.
    ///
    /// # Errors
    /// When something cannot be as asked for; the sentence says what can.
    pub fn build(self) -> Result<Client, BuildError> {
        let refuse = |text: &str| Err(BuildError(text.into()));
        if self.concurrency.is_some_and(|n| n == 0 || n > Semaphore::MAX_PERMITS) {
            return refuse("a client needs room for at least one request: concurrency(1)");
        }
        if self.attempt_timeout.is_zero() || self.deadline.is_zero() {
            return refuse("a timeout and a deadline must be longer than zero");
        }
        if self.breaker.is_some_and(|b| b.failures == 0 || b.probes == 0) {
            return refuse("a breaker needs at least one failure to open and one probe to close");
        }
        let pool = match self.pool {
            Some(pool) => pool,
            None => connections()?,
        };
        let budget = self.budget.map(Budget::build).transpose()?;
        Ok(Client(Arc::new(Inner {
            pool,
            largest_body: self.largest_body,
            permits: self.concurrency.map(Semaphore::new),
            attempt_timeout: self.attempt_timeout,
            deadline: self.deadline,
            retries: self.retries,
            budget: budget.map(Mutex::new),
            breaker: self.breaker.map(|b| Mutex::new(Circuit::new(b))),
            seed: self.seed.unwrap_or_else(|| RandomState::new().build_hasher().finish()),
            on_attempt: self.on_attempt,
            books: Mutex::default(),
        })))
    }
}

/// reqwest's pool opens as many connections as are asked for and keeps them for the next request. It must
/// not repeat requests by itself: attempts are counted here.
#[expect(clippy::disallowed_methods, reason = "made to be copied: it knows nothing of the kit")]
fn connections() -> Result<reqwest::Client, BuildError> {
    reqwest::Client::builder()
        .no_proxy()
        .redirect(reqwest::redirect::Policy::none())
        .retry(reqwest::retry::never())
        .build()
        .map_err(|e| BuildError(format!("the connection pool cannot be made: {e}")))
}

impl Client {
    /// A client to be described.
    pub fn builder() -> Builder {
        Builder {
            pool: None,
            largest_body: 16 << 20,
            concurrency: Some(64),
            attempt_timeout: Duration::from_secs(10),
            deadline: Duration::from_secs(60),
            retries: Retries::default(),
            budget: None,
            breaker: None,
            seed: None,
            on_attempt: None,
        }
    }

    /// Fetches a body: one call, with as many attempts as it takes and is allowed. Dropping the
    /// future cancels it and gives back all it holds.
    ///
    /// # Errors
    /// When no attempt succeeded; the error says how the last one failed and why it was the last.
    pub async fn fetch(&self, request: Request) -> Result<Bytes, FetchError> {
        let mut call = Call::begin(&self.0);
        let result = self.0.run(&request, &mut call).await;
        call.end(result, &request)
    }

    /// Fetches many, and returns one result for each in their order, however many fail. At most as
    /// many as the client's limit are in flight. Dropping the future cancels what is left.
    ///
    /// All deadlines begin now: they must be long enough for the whole batch. What does not fit into
    /// memory needs a stream of [`Client::fetch`] instead.
    pub async fn fetch_batch(
        &self,
        requests: impl IntoIterator<Item = Request>,
    ) -> Vec<Result<Bytes, FetchError>> {
        futures_util::future::join_all(requests.into_iter().map(|r| self.fetch(r))).await
    }

    /// What the client has done so far.
    pub fn stats(&self) -> Stats {
        let mut stats = lock(&self.0.books).clone();
        if let Some(breaker) = &self.0.breaker {
            let circuit = lock(breaker);
            (stats.breaker_opened, stats.probes) = (circuit.opened, circuit.probes);
        }
        stats
    }
}

impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Client").field("stats", &self.stats()).finish_non_exhaustive()
    }
}

/// A call's place in the books.
struct Call<'a> {
    client: &'a Inner,
    begun: Instant,
    number: u64,
    attempts: u32,
    ended: bool,
}

impl<'a> Call<'a> {
    fn begin(client: &'a Inner) -> Call<'a> {
        let mut books = lock(&client.books);
        let number = books.calls;
        books.calls += 1;
        books.running += 1;
        Call { client, begun: Instant::now(), number, attempts: 0, ended: false }
    }

    fn end(
        mut self,
        result: Result<Bytes, (Failure, GaveUp)>,
        request: &Request,
    ) -> Result<Bytes, FetchError> {
        self.ended = true;
        let mut books = lock(&self.client.books);
        match result {
            Ok(body) => {
                books.ok += 1;
                Ok(body)
            }
            Err((failure, gave_up)) => {
                books.failed += 1;
                *books.gave_up.entry(gave_up).or_default() += 1;
                Err(FetchError {
                    kind: failure.kind,
                    gave_up,
                    attempts: self.attempts,
                    elapsed: self.begun.elapsed(),
                    request: format!("{} {}", request.method, request.url),
                    source: failure.source,
                })
            }
        }
    }
}

impl Drop for Call<'_> {
    fn drop(&mut self) {
        let mut books = lock(&self.client.books);
        books.running -= 1;
        books.cancelled += u64::from(!self.ended);
        books.unsent += u64::from(self.attempts == 0);
    }
}

/// An attempt under way.
struct InFlight<'a> {
    books: &'a Mutex<Stats>,
    begun: Instant,
}

impl<'a> InFlight<'a> {
    fn begin(books: &'a Mutex<Stats>, first: bool) -> InFlight<'a> {
        let mut stats = lock(books);
        stats.attempts += 1;
        stats.retries += u64::from(!first);
        stats.in_flight += 1;
        InFlight { books, begun: Instant::now() }
    }
}

impl Drop for InFlight<'_> {
    fn drop(&mut self) {
        let mut stats = lock(self.books);
        stats.in_flight -= 1;
        stats.attempt_time += self.begun.elapsed();
    }
}

/// One attempt's failure.
#[derive(Debug)]
struct Failure {
    kind: Kind,
    retry_after: Option<Duration>,
    source: Option<Box<dyn StdError + Send + Sync>>,
}

impl From<Kind> for Failure {
    fn from(kind: Kind) -> Failure {
        Failure { kind, retry_after: None, source: None }
    }
}

impl From<reqwest::Error> for Failure {
    fn from(error: reqwest::Error) -> Failure {
        let kind = if error.is_builder() || error.is_redirect() {
            Kind::Invalid
        } else if error.is_connect() {
            Kind::Connect
        } else if error.is_timeout() {
            Kind::Timeout
        } else {
            Kind::Broken
        };
        Failure { source: Some(Box::new(error.without_url())), ..Failure::from(kind) }
    }
}

impl Inner {
    /// The attempts of one call.
    async fn run(
        &self,
        request: &Request,
        call: &mut Call<'_>,
    ) -> Result<Bytes, (Failure, GaveUp)> {
        let deadline = call.begun + self.deadline;
        let mut delays = self.retries.backoff.delays(self.seed.wrapping_add(call.number));
        if let Some(budget) = &self.budget {
            lock(budget).deposit();
        }
        let mut retries = 0;
        loop {
            let failure = match self.attempt(request, call, deadline).await {
                Ok(body) => return Ok(body),
                Err(failure) => failure,
            };
            let now = Instant::now();
            let asked = match judge(failure.kind, failure.retry_after, request.idempotent) {
                Retry::No(why) => return Err((failure, why)),
                Retry::Yes => Duration::ZERO,
                Retry::After(asked) => asked,
            };
            if self.retries.most.is_some_and(|most| retries >= most) {
                return Err((failure, GaveUp::RetriesUsed));
            }
            // The service's wish is a floor: all clients have heard the same number.
            let wait = asked.saturating_add(delays.next().unwrap_or_default());
            let next = match now.checked_add(wait) {
                Some(next) if next < deadline => next,
                _ => return Err((failure, GaveUp::Deadline)),
            };
            if let Some(budget) = &self.budget
                && !lock(budget).withdraw()
            {
                return Err((failure, GaveUp::Budget));
            }
            retries += 1;
            if !wait.is_zero() {
                sleep_until(next).await;
            }
        }
    }

    /// One attempt: breaker, permit, request. The permit is given back with its end.
    async fn attempt(
        &self,
        request: &Request,
        call: &mut Call<'_>,
        deadline: Instant,
    ) -> Result<Bytes, Failure> {
        // Twice: nobody waits for a permit that would be of no use, and nobody who has waited for
        // one uses it without asking again.
        if let Some(breaker) = &self.breaker
            && lock(breaker).refuses(Instant::now())
        {
            return Err(Kind::BreakerOpen.into());
        }
        let _permit = self.permit(deadline).await?;
        let mut pass = self.pass()?;
        call.attempts += 1;
        if let Some(observer) = &self.on_attempt {
            observer(Attempt { call: call.number, number: call.attempts });
        }
        let _in_flight = InFlight::begin(&self.books, call.attempts == 1);
        let timeout = Instant::now() + self.attempt_timeout;
        let result = match timeout_at(timeout.min(deadline), self.send(request)).await {
            Ok(result) => result,
            Err(_) => Err(Kind::Timeout.into()),
        };
        if let Some(pass) = &mut pass {
            pass.health = match &result {
                Ok(_) => Health::Good,
                // Our own deadline cut it short: that says nothing about the service.
                Err(failure) if failure.kind == Kind::Timeout && deadline < timeout => {
                    Health::Unknown
                }
                Err(failure) => health(failure.kind),
            };
        }
        if let Err(failure) = &result {
            self.note(failure.kind);
        }
        result
    }

    async fn permit(&self, deadline: Instant) -> Result<Option<SemaphorePermit<'_>>, Failure> {
        let Some(permits) = &self.permits else {
            return Ok(None);
        };
        if let Ok(permit) = permits.try_acquire() {
            return Ok(Some(permit));
        }
        let asked = Instant::now();
        let permit = timeout_at(deadline, permits.acquire()).await;
        lock(&self.books).permit_wait += asked.elapsed();
        match permit {
            // A permit that comes with the deadline would only send what nobody waits for.
            Ok(Ok(permit)) if Instant::now() < deadline => Ok(Some(permit)),
            // The semaphore is never closed.
            _ => Err(Kind::NoPermit.into()),
        }
    }

    fn pass(&self) -> Result<Option<Pass<'_>>, Failure> {
        let Some(circuit) = &self.breaker else {
            return Ok(None);
        };
        let epoch = lock(circuit).admit(Instant::now());
        let epoch = epoch.ok_or(Kind::BreakerOpen)?;
        Ok(Some(Pass { circuit, epoch, health: Health::Unknown }))
    }

    /// The body, piece by piece, so that no service decides how much memory it takes. One that came in one piece
    /// stays where it was read, and is not copied.
    async fn body(&self, mut response: reqwest::Response) -> Result<Bytes, Failure> {
        let mut whole = Bytes::new();
        while let Some(piece) = response.chunk().await? {
            if whole.len() + piece.len() > self.largest_body {
                return Err(Kind::TooLarge.into());
            }
            whole = if whole.is_empty() {
                piece
            } else {
                let mut longer = BytesMut::from(whole);
                longer.extend_from_slice(&piece);
                longer.freeze()
            };
        }
        Ok(whole)
    }

    async fn send(&self, request: &Request) -> Result<Bytes, Failure> {
        let sent = self
            .pool
            .request(request.method.clone(), &request.url)
            .headers(request.headers.clone())
            .body(request.body.clone());
        let response = sent.send().await?;
        let status = response.status();
        if status.is_success() {
            return self.body(response).await;
        }
        let retry_after = match status {
            StatusCode::TOO_MANY_REQUESTS | StatusCode::SERVICE_UNAVAILABLE => {
                retry_after(response.headers(), SystemTime::now())
            }
            _ => None,
        };
        // A short body read to its end leaves the connection fit for the next request.
        if response.content_length().is_some_and(|n| n <= 64 << 10) {
            let _ = self.body(response).await;
        }
        Err(Failure { retry_after, ..Failure::from(Kind::Status(status.as_u16())) })
    }

    fn note(&self, kind: Kind) {
        let mut books = lock(&self.books);
        match kind {
            Kind::Timeout => books.timeouts += 1,
            Kind::Connect => books.no_connection += 1,
            Kind::Broken | Kind::TooLarge => books.broken += 1,
            Kind::Status(code) => *books.statuses.entry(code).or_default() += 1,
            Kind::BreakerOpen | Kind::NoPermit | Kind::Invalid => {}
        }
    }
}

/// Nothing panics while it holds one of these locks, and what they guard is whole at all times.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;

    use mock_server::{Body, By, Chance, Every, Faults, Outage, Service, Spec, Upstream};

    use super::*;

    const HOUR: Duration = Duration::from_secs(3600);

    async fn upstream(faults: Faults) -> Upstream {
        let spec = Spec {
            faults,
            body: Body::made("text/plain", |asked| asked.path.into()),
            ..Spec::new(100, Service::Constant(Duration::ZERO))
        };
        Upstream::start(spec).await.unwrap()
    }

    fn down() -> Faults {
        Faults {
            outages: vec![Outage { from: Duration::ZERO, until: HOUR, status: 503 }],
            ..Faults::default()
        }
    }

    fn items(upstream: &Upstream, n: usize) -> Vec<Request> {
        (0..n).map(|i| Request::get(format!("{}/items/{i}", upstream.url()))).collect()
    }

    fn closes(stats: &Stats) {
        let ended = stats.ok + stats.failed + stats.cancelled;
        assert_eq!(stats.calls, ended + stats.running, "{stats:?}");
        assert_eq!(stats.attempts, stats.calls - stats.unsent + stats.retries, "{stats:?}");
        assert_eq!(stats.gave_up.values().sum::<u64>(), stats.failed);
    }

    #[tokio::test]
    async fn every_attempt_is_in_the_books_and_at_the_service() {
        let chance = Chance { probability: 0.3, status: 500 };
        let service = upstream(Faults { statuses: vec![chance], ..Faults::default() }).await;
        let client = Client::builder()
            .concurrency(8)
            .retries(Retries::up_to(2, Backoff::none()))
            .build()
            .unwrap();
        let results = client.fetch_batch(items(&service, 200)).await;
        let stats = client.stats();
        closes(&stats);
        assert_eq!(stats.calls, 200);
        assert_eq!(stats.attempts, service.counters().arrived);
        assert_eq!(stats.attempts, stats.ok + stats.statuses[&500]);
        assert_eq!(stats.ok, results.iter().filter(|r| r.is_ok()).count() as u64);
        assert_eq!(stats.gave_up(GaveUp::RetriesUsed), stats.failed);
        assert!(stats.retries > 0 && stats.failed > 0, "{stats:?}");
    }

    #[tokio::test]
    async fn a_batch_keeps_its_order_and_never_fails_as_a_whole() {
        let every = Every { nth: 7, status: 404, by: By::Item };
        let service = upstream(Faults { every: vec![every], ..Faults::default() }).await;
        let client = Client::builder().concurrency(5).build().unwrap();
        let results = client.fetch_batch(items(&service, 50)).await;
        assert_eq!(results.len(), 50);
        for (i, result) in results.into_iter().enumerate() {
            match result {
                Ok(body) => assert_eq!(body, format!("/items/{i}")),
                Err(error) => {
                    assert_eq!(i % 7, 0);
                    assert_eq!(error.kind, Kind::Status(404));
                    assert_eq!((error.gave_up, error.attempts), (GaveUp::Permanent, 1));
                }
            }
        }
        assert_eq!(client.stats().failed, 8);
        closes(&client.stats());
    }

    #[tokio::test]
    async fn what_may_have_been_carried_out_is_not_sent_again() {
        let service = upstream(down()).await;
        let client = Client::builder().retries(Retries::up_to(2, Backoff::none())).build().unwrap();
        let error = client.fetch(Request::post(service.url(), "x")).await;
        let error = error.unwrap_err();
        assert_eq!((error.gave_up, error.attempts), (GaveUp::NotIdempotent, 1));
        assert!(error.to_string().contains("idempotency key"), "{error}");
        let key = HeaderValue::from_static("1");
        let keyed = Request::post(service.url(), "x").idempotency_key(key);
        let error = client.fetch(keyed).await.unwrap_err();
        assert_eq!((error.gave_up, error.attempts), (GaveUp::RetriesUsed, 3));
        assert_eq!(service.counters().arrived, 4);
    }

    #[tokio::test]
    async fn what_was_never_sent_is_tried_again() {
        let closed = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}", closed.local_addr().unwrap());
        drop(closed);
        let client = Client::builder().retries(Retries::up_to(2, Backoff::none())).build().unwrap();
        let error = client.fetch(Request::post(url, "x")).await.unwrap_err();
        assert_eq!((error.kind, error.attempts), (Kind::Connect, 3));
        assert!(StdError::source(&error).is_some());
        assert_eq!(client.stats().no_connection, 3);
    }

    #[tokio::test]
    async fn the_deadline_bounds_the_attempts() {
        let service = upstream(down()).await;
        let client = |wait| {
            Client::builder()
                .deadline(Duration::from_millis(100))
                .retries(Retries::until_deadline(Backoff::constant(wait).capped(HOUR)))
                .build()
                .unwrap()
        };
        let often = client(Duration::from_millis(20));
        let error = often.fetch(Request::get(service.url())).await.unwrap_err();
        assert_eq!(error.gave_up, GaveUp::Deadline);
        assert!((1..=5).contains(&error.attempts), "{error:?}");
        // It would still sleep if it did not look at the deadline first.
        let seldom = client(HOUR);
        let error = seldom.fetch(Request::get(service.url())).await.unwrap_err();
        assert_eq!((error.gave_up, error.attempts), (GaveUp::Deadline, 1));
    }

    #[tokio::test]
    async fn the_deadline_bounds_the_wait_for_a_permit() {
        let spec = Spec::new(9, Service::Constant(HOUR));
        let service = Upstream::start(spec).await.unwrap();
        let client = Client::builder()
            .concurrency(1)
            .deadline(Duration::from_millis(50))
            .breaker(Breaker::after(1))
            .build()
            .unwrap();
        let results = client.fetch_batch(items(&service, 2)).await;
        let kinds: Vec<Kind> = results.into_iter().map(|r| r.unwrap_err().kind).collect();
        assert_eq!(kinds, [Kind::Timeout, Kind::NoPermit]);
        let stats = client.stats();
        closes(&stats);
        assert_eq!((stats.unsent, stats.gave_up(GaveUp::Deadline)), (1, 2));
        // It was our deadline that cut the first one short: nobody knows how the service is.
        assert_eq!(stats.breaker_opened, 0);
        assert!(stats.permit_wait > Duration::ZERO);
    }

    #[tokio::test]
    async fn a_service_that_asks_for_time_gets_it() {
        // One slot, no queue: the second request is refused with Retry-After: 1, for which the
        // deadline leaves no room.
        let spec =
            Spec { queue: Some(0), ..Spec::new(1, Service::Constant(Duration::from_millis(100))) };
        let service = Upstream::start(spec).await.unwrap();
        let client = Client::builder()
            .deadline(Duration::from_millis(900))
            .retries(Retries::until_deadline(Backoff::none()))
            .build()
            .unwrap();
        let results = client.fetch_batch(items(&service, 2)).await;
        let refused = results.into_iter().find_map(Result::err).unwrap();
        assert_eq!((refused.gave_up, refused.attempts), (GaveUp::Deadline, 1));
    }

    #[tokio::test]
    async fn broken_answers_are_tried_again() {
        for faults in [
            Faults { truncate: 1.0, ..Faults::default() },
            Faults { cut: 1.0, ..Faults::default() },
        ] {
            let service = upstream(faults).await;
            let client =
                Client::builder().retries(Retries::up_to(2, Backoff::none())).build().unwrap();
            let error = client.fetch(Request::get(service.url())).await.unwrap_err();
            assert_eq!((error.kind, error.attempts), (Kind::Broken, 3));
            assert_eq!(client.stats().broken, 3);
            assert_eq!(service.counters().arrived, 3);
        }
    }

    #[tokio::test]
    async fn who_sleeps_holds_no_permit() {
        let every = Every { nth: 7, status: 500, by: By::Item };
        let service = upstream(Faults { every: vec![every], ..Faults::default() }).await;
        let client = Client::builder()
            .concurrency(1)
            .deadline(2 * HOUR)
            .retries(Retries::up_to(1, Backoff::constant(HOUR).capped(HOUR)))
            .build()
            .unwrap();
        let [sleeps, works] = [0, 1].map(|i| Request::get(format!("{}/items/{i}", service.url())));
        tokio::select! {
            _ = client.fetch(sleeps) => panic!("it must sleep for an hour"),
            // The sleeper is first in the line.
            result = async {
                while client.stats().attempts == 0 || client.stats().in_flight > 0 {
                    tokio::task::yield_now().await;
                }
                client.fetch(works).await
            } => assert_eq!(result.unwrap(), "/items/1"),
        }
        // The sleeper was dropped by the select.
        let stats = client.stats();
        closes(&stats);
        assert_eq!((stats.cancelled, stats.running, stats.in_flight), (1, 0, 0));
    }

    #[tokio::test]
    async fn a_call_that_is_dropped_gives_back_its_permit_and_its_probe() {
        let spec = Spec::new(9, Service::Constant(HOUR));
        let service = Upstream::start(spec).await.unwrap();
        let breaker = Breaker { open_for: Duration::ZERO, ..Breaker::after(1) };
        let client = Client::builder()
            .concurrency(1)
            .attempt_timeout(Duration::from_millis(30))
            .retries(Retries::none())
            .breaker(breaker)
            .build()
            .unwrap();
        let url = service.url();
        let get = || client.fetch(Request::get(&url));
        assert_eq!(get().await.unwrap_err().kind, Kind::Timeout);
        // The probe is called off in flight; the next call must get its place.
        tokio::select! {
            _ = get() => panic!("nobody answers"),
            () = async {
                while client.stats().in_flight == 0 {
                    tokio::task::yield_now().await;
                }
            } => {}
        }
        assert_eq!(get().await.unwrap_err().kind, Kind::Timeout);
        let stats = client.stats();
        closes(&stats);
        assert_eq!((stats.probes, stats.breaker_opened), (2, 2));
        assert_eq!(stats.cancelled, 1);
    }

    #[tokio::test]
    async fn the_breaker_refuses_after_so_many_failures() {
        let service = upstream(down()).await;
        let breaker = Breaker { open_for: HOUR, ..Breaker::after(3) };
        let client = Client::builder().retries(Retries::none()).breaker(breaker).build().unwrap();
        for i in 0..10 {
            let error = client.fetch(Request::get(service.url())).await.unwrap_err();
            let expected = if i < 3 { Kind::Status(503) } else { Kind::BreakerOpen };
            assert_eq!(error.kind, expected);
        }
        let stats = client.stats();
        closes(&stats);
        assert_eq!((stats.attempts, stats.unsent), (3, 7));
        assert_eq!(stats.gave_up(GaveUp::Breaker), 7);
        assert_eq!(service.counters().arrived, 3);
    }

    #[tokio::test]
    async fn the_budget_bounds_the_retries_of_all_calls() {
        let service = upstream(down()).await;
        let budget = Budget { share: 0.1, reserve_per_s: 0, window: Duration::from_secs(60) };
        let client = Client::builder()
            .retries(Retries::up_to(5, Backoff::none()))
            .budget(budget)
            .build()
            .unwrap();
        client.fetch_batch(items(&service, 200)).await;
        let stats = client.stats();
        closes(&stats);
        assert_eq!(stats.retries, 20);
        assert_eq!(stats.amplification(), 1.1);
        assert_eq!(stats.gave_up(GaveUp::Budget) + stats.gave_up(GaveUp::RetriesUsed), 200);
    }

    #[test]
    fn the_share_that_is_granted_is_the_one_tower_grants() {
        for (share, granted) in [
            (0.0, 0.0),
            (0.1, 0.1),
            (0.15, 1.0 / 6.0),
            (0.2, 0.2),
            (0.7, 1.0),
            (1.0, 1.0),
            (2.0, 2.0),
        ] {
            let budget = Budget { reserve_per_s: 0, ..Budget::share(share) };
            assert!((budget.granted_share() - granted).abs() < 1e-9, "{share}");
            let tokens = budget.build().unwrap();
            (0..90).for_each(|_| tokens.deposit());
            let got = (0..).take_while(|_| tokens.withdraw()).count();
            assert_eq!(got as f64, budget.most_retries(90.0), "{share}");
        }
    }

    #[test]
    fn what_makes_no_sense_is_refused_with_a_sentence() {
        let fails = |builder: Builder| builder.build().unwrap_err().to_string();
        assert!(fails(Client::builder().concurrency(0)).contains("concurrency(1)"));
        assert!(fails(Client::builder().deadline(Duration::ZERO)).contains("longer than zero"));
        assert!(fails(Client::builder().breaker(Breaker::after(0))).contains("at least one"));
        let short = Budget { window: Duration::ZERO, ..Budget::share(0.1) };
        assert!(fails(Client::builder().budget(short)).contains("1 s to 60 s"));
        assert!(fails(Client::builder().budget(Budget::share(f32::NAN))).contains("0 to 1000"));
    }

    #[tokio::test]
    async fn a_wrong_url_is_not_tried_again() {
        let client = Client::builder().build().unwrap();
        let error = client.fetch(Request::get("no url")).await.unwrap_err();
        assert_eq!((error.kind, error.attempts), (Kind::Invalid, 1));
        assert!(error.to_string().contains("correct the URL"), "{error}");
    }

    #[test]
    fn only_what_time_can_mend_is_tried_again() {
        use GaveUp::{NotIdempotent, Permanent};
        let asked = Duration::from_secs(3);
        let wish = Some(asked);
        for (kind, wish, idempotent, verdict) in [
            (Kind::Timeout, None, true, Retry::Yes),
            (Kind::Timeout, None, false, Retry::No(NotIdempotent)),
            (Kind::Connect, None, false, Retry::Yes),
            (Kind::Broken, None, true, Retry::Yes),
            (Kind::Broken, None, false, Retry::No(NotIdempotent)),
            (Kind::Status(500), None, true, Retry::Yes),
            (Kind::Status(500), wish, true, Retry::Yes),
            (Kind::Status(501), None, true, Retry::No(Permanent)),
            (Kind::Status(503), None, true, Retry::Yes),
            (Kind::Status(503), wish, true, Retry::After(asked)),
            (Kind::Status(503), wish, false, Retry::No(NotIdempotent)),
            (Kind::Status(429), wish, true, Retry::After(asked)),
            (Kind::Status(404), None, true, Retry::No(Permanent)),
            (Kind::Status(404), None, false, Retry::No(Permanent)),
            (Kind::Invalid, None, true, Retry::No(Permanent)),
            (Kind::BreakerOpen, None, true, Retry::No(GaveUp::Breaker)),
            (Kind::NoPermit, None, true, Retry::No(GaveUp::Deadline)),
        ] {
            assert_eq!(judge(kind, wish, idempotent), verdict, "{kind:?} {idempotent}");
        }
    }

    #[test]
    fn retry_after_is_seconds_or_a_date() {
        let now = SystemTime::UNIX_EPOCH + Duration::from_secs(784_111_770);
        let read = |text: &'static str| {
            let headers = HeaderMap::from_iter([(RETRY_AFTER, HeaderValue::from_static(text))]);
            retry_after(&headers, now)
        };
        assert_eq!(read("120"), Some(Duration::from_secs(120)));
        let date = "Sun, 06 Nov 1994 08:49:37 GMT";
        assert_eq!(read(date), Some(Duration::from_secs(7)));
        assert_eq!(read("Sat, 06 Nov 1993 08:49:37 GMT"), Some(Duration::ZERO));
        for text in ["", "-1", "soon", "1.5"] {
            assert_eq!(read(text), None, "{text}");
        }
        assert_eq!(retry_after(&HeaderMap::new(), now), None);
    }

    #[test]
    fn delays_grow_as_they_are_called() {
        let ms = Duration::from_millis;
        let first = |backoff: Backoff| backoff.delays(1).take(5).collect::<Vec<_>>();
        let base = ms(10);
        assert_eq!(first(Backoff::none()), [Duration::ZERO; 5]);
        assert_eq!(first(Backoff::constant(base)), [base; 5]);
        let quadratic = [10, 40, 90, 160, 250].map(ms);
        assert_eq!(first(Backoff::quadratic(base)), quadratic);
        let capped = Backoff::exponential(base).capped(ms(50));
        // backon counts in 32-bit floats.
        for (delay, expected) in first(capped).into_iter().zip([10, 20, 40, 50, 50]) {
            assert!(delay.abs_diff(ms(expected)) < Duration::from_micros(1));
        }
        let far = Backoff::quadratic(HOUR).ceilings().nth(100_000);
        assert_eq!(far, Some(Duration::from_secs(20)));
    }

    #[test]
    fn full_jitter_lies_anywhere_below_the_ceiling() {
        let backoff = Backoff::exponential(Duration::from_millis(10)).jittered();
        assert!(backoff.delays(5).take(9).eq(backoff.delays(5).take(9)));
        assert!(!backoff.delays(5).take(9).eq(backoff.delays(6).take(9)));
        let shares: Vec<f64> = (0..2000)
            .flat_map(|seed| {
                let delays = backoff.delays(seed).zip(backoff.ceilings());
                delays.map(|(d, c)| d.div_duration_f64(c)).take(5)
            })
            .collect();
        assert!(shares.iter().all(|s| (0.0..1.0).contains(s)));
        // Uniform: mean 1/2, and the mean of 10,000 strays by 0.29/100.
        let mean = shares.iter().sum::<f64>() / shares.len() as f64;
        assert!((mean - 0.5).abs() < 0.015, "{mean}");
    }

    /// A clock for the breaker, in seconds.
    fn at(seconds: u64) -> Instant {
        thread_local!(static ORIGIN: Instant = Instant::now());
        ORIGIN.with(|origin| *origin) + Duration::from_secs(seconds)
    }

    fn circuit(failures: u32, probes: u32) -> Circuit {
        Circuit::new(Breaker { failures, probes, open_for: Duration::from_secs(10) })
    }

    #[test]
    fn the_breaker_opens_after_failures_in_a_row() {
        let mut circuit = circuit(3, 1);
        let mut attempt = |health| {
            let epoch = circuit.admit(at(0)).unwrap();
            circuit.settle(epoch, health, at(0));
            circuit.opened
        };
        for health in [Health::Bad, Health::Bad, Health::Good, Health::Unknown] {
            assert_eq!(attempt(health), 0);
        }
        assert_eq!((attempt(Health::Bad), attempt(Health::Bad)), (0, 0));
        assert_eq!(attempt(Health::Bad), 1);
        assert_eq!(circuit.admit(at(9)), None);
    }

    #[test]
    fn half_open_lets_through_as_many_as_it_is_told() {
        let mut circuit = circuit(1, 3);
        let epoch = circuit.admit(at(0)).unwrap();
        circuit.settle(epoch, Health::Bad, at(0));
        let probes: Vec<u64> = (0..50).filter_map(|_| circuit.admit(at(10))).collect();
        assert_eq!(probes.len(), 3);
        // One fails: open again, and what the others say is too late.
        circuit.settle(probes[0], Health::Good, at(11));
        circuit.settle(probes[1], Health::Bad, at(11));
        circuit.settle(probes[2], Health::Good, at(12));
        assert_eq!((circuit.opened, circuit.admit(at(20))), (2, None));
        // All succeed: closed.
        let probes: Vec<u64> = (0..50).filter_map(|_| circuit.admit(at(21))).collect();
        assert_eq!((probes.len(), circuit.probes), (3, 6));
        for probe in probes {
            assert!(circuit.refuses(at(21)));
            circuit.settle(probe, Health::Good, at(21));
        }
        assert_eq!(circuit.state, State::Closed { failures: 0 });
    }

    /// Whatever happens in whatever order, a half-open breaker never has more probes out than it
    /// may, and never gets stuck.
    #[test]
    fn no_order_of_events_breaks_the_breaker() {
        for seed in 0..300 {
            let mut rng = Pcg64Mcg::seed_from_u64(seed);
            let most = rng.random_range(1..4);
            let mut circuit = circuit(rng.random_range(1..4), most);
            let (mut now, mut out) = (0, Vec::new());
            for _ in 0..200 {
                now += rng.random_range(0..4);
                if rng.random_bool(0.6) {
                    out.extend(circuit.admit(at(now)));
                } else if !out.is_empty() {
                    let which = rng.random_range(0..out.len());
                    let health = [Health::Good, Health::Bad, Health::Unknown];
                    let health = health[rng.random_range(0..3)];
                    circuit.settle(out.swap_remove(which), health, at(now));
                }
                if let State::HalfOpen { admitted, good } = circuit.state {
                    let probing = out.iter().filter(|e| **e == circuit.epoch).count() as u32;
                    assert!(admitted <= most);
                    assert_eq!(admitted, probing + good);
                }
            }
            for epoch in out {
                circuit.settle(epoch, Health::Unknown, at(now));
            }
            assert!(circuit.admit(at(now + 10)).is_some());
        }
    }
}
