//! The load generator: closed loop, open loop and burst, with typed outcomes and books that close.

use std::{
    collections::BTreeMap,
    fmt,
    future::{Future, poll_fn},
    pin::{Pin, pin},
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    task::Poll,
    time::{Duration, Instant},
};

use bytes::Bytes;
use rand::{RngExt, SeedableRng};
use rand_pcg::Pcg64Mcg;
use tokio::{sync::oneshot, task::JoinSet};

use crate::{http, record::Trial, stop::Stop};

/// Looks at the number in flight during a window.
const LOOKS: u32 = 400;

/// What became of one attempt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// 2xx with the expected body, within the timeout.
    Ok,
    /// The upstream refused: 503 or 429.
    Rejected,
    /// The client stopped waiting.
    TimedOut,
    /// Anything else that is not a success.
    Failed(Failure),
    /// The run was stopped while it was in flight.
    Aborted,
}

/// Kinds of failure.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Failure {
    /// No connection: refused, or no descriptor left.
    Connect,
    /// The connection broke.
    Broken,
    /// A status that is neither success nor refusal.
    Status(u16),
    /// An answer that names another address. Load does not go there.
    Redirected(u16),
    /// A body other than the one expected.
    Body,
    /// More of a body than [`http::LARGEST`]; the rest was not read.
    TooLarge,
    /// None of these.
    Other,
}

impl Failure {
    fn name(self) -> String {
        match self {
            Failure::Connect => "connect".into(),
            Failure::Broken => "broken".into(),
            Failure::Status(code) => format!("status {code}"),
            Failure::Redirected(code) => format!("redirected, status {code}"),
            Failure::Body => "body".into(),
            Failure::TooLarge => "too large".into(),
            Failure::Other => "other".into(),
        }
    }
}

impl Outcome {
    /// The outcome of a request to the mock server: the error's type decides, never its text.
    pub fn of(answer: Result<Bytes, http::Error>) -> Outcome {
        match answer {
            Ok(body) if body == mock_server::BODY => Outcome::Ok,
            Ok(_) => Outcome::Failed(Failure::Body),
            Err(error) => Outcome::of_error(&error),
        }
    }

    /// The outcome of a request that brought no answer, or one that is no success.
    pub fn of_error(error: &http::Error) -> Outcome {
        let error = match error {
            http::Error::Status(status) => return Outcome::of_status(status.as_u16()),
            http::Error::TooLarge => return Outcome::Failed(Failure::TooLarge),
            http::Error::Body => return Outcome::Failed(Failure::Body),
            http::Error::Http(error) => error,
        };
        // A connect that runs into the timeout is a time-out: the client gave up.
        if error.is_timeout() {
            Outcome::TimedOut
        } else if error.is_connect() {
            Outcome::Failed(Failure::Connect)
        } else if error.is_request() || error.is_body() || error.is_decode() {
            Outcome::Failed(Failure::Broken)
        } else {
            Outcome::Failed(Failure::Other)
        }
    }

    /// The outcome of an answer with this status, which is no success.
    pub fn of_status(code: u16) -> Outcome {
        match code {
            429 | 503 => Outcome::Rejected,
            300..=399 => Outcome::Failed(Failure::Redirected(code)),
            _ => Outcome::Failed(Failure::Status(code)),
        }
    }
}

/// Clients that each send, wait for the answer and send again.
#[derive(Clone, Copy, Debug)]
pub struct Closed {
    /// How many.
    pub clients: usize,
    /// The first `ramped` clients start one after another over this time, the others right after
    /// them. With one client a slot over one service time, slots become free one after another
    /// for ever after; all at once, every answer would meet every other in the server's one thread.
    pub ramp: Duration,
    /// How many clients start during the ramp.
    pub ramped: usize,
    /// Attempts that start earlier than this are sent and not counted.
    pub warm_up: Duration,
    /// Attempts that start in the window after the warm-up are counted, and awaited to their end.
    pub window: Duration,
    /// How long a client waits on average after a refusal before it tries again: half to one and
    /// a half times this, so that those refused together do not come back together.
    pub pause_after_refusal: Duration,
    /// Seed of the pauses.
    pub seed: u64,
}

impl Closed {
    /// When a client starts, from the beginning of the load.
    pub fn start_of(&self, client: usize) -> Duration {
        let share = client as f64 / self.ramped.max(1) as f64;
        self.ramp.mul_f64(share.min(1.0))
    }

    /// Seconds until the last attempt is sent.
    pub fn longest_s(&self) -> f64 {
        (self.warm_up + self.window).as_secs_f64()
    }

    /// A pause of this plan, for a random number in [0, 1).
    pub fn pause(&self, random: f64) -> Duration {
        self.pause_after_refusal.mul_f64(0.5 + random)
    }
}

impl Default for Closed {
    fn default() -> Closed {
        Closed {
            clients: 1,
            ramp: Duration::ZERO,
            ramped: 1,
            warm_up: Duration::ZERO,
            window: Duration::from_secs(1),
            pause_after_refusal: Duration::ZERO,
            seed: 1,
        }
    }
}

/// Arrivals that do not wait for answers.
#[derive(Clone, Copy, Debug)]
pub struct Open {
    /// Arrivals per second.
    pub rate: f64,
    /// Exponential gaps (Poisson) or equal ones.
    pub poisson: bool,
    /// How long arrivals go on.
    pub window: Duration,
    /// Seed of the gaps.
    pub seed: u64,
}

/// What one load did.
#[derive(Clone, Debug, Default)]
pub struct Tally {
    /// Counts and latencies of the counted attempts.
    pub trial: Trial,
    /// Successes per second.
    pub goodput_per_s: f64,
    /// Attempts per second, whatever became of them.
    pub attempts_per_s: f64,
    /// Mean time of an attempt until it ended, whatever became of it, in seconds.
    pub mean_attempt_s: f64,
    /// Mean number of requests in flight, from the integral of the in-flight count over time.
    pub mean_in_flight: f64,
    /// Largest number in flight at once.
    pub max_in_flight: u64,
    /// Mean number in flight at regular looks during the window of a closed loop, by a thread that does
    /// nothing else: it knows nothing of the instants at which requests began and ended.
    pub sampled_in_flight: Option<f64>,
    /// Requests per second that the server itself counted in that window; of loads that
    /// [watch](Load::watching) it.
    pub arrived_per_s: Option<f64>,
    /// Attempts sent in all, warm-up included.
    pub sent: u64,
    /// Refusals in all, warm-up included.
    pub refused: u64,
    /// (intended start in seconds, seconds to the end) of each counted success, in the order of
    /// their ends; only of open loads and bursts.
    pub timeline: Vec<(f64, f64)>,
}

/// The generator.
#[derive(Clone, Debug)]
pub struct Load {
    stop: Stop,
    give_up: Duration,
    arrivals: Option<Arrivals>,
}

/// A server's own count of the requests that have come so far, to be read at any instant; `None` of a
/// server that cannot be asked.
#[derive(Clone)]
pub struct Arrivals(Arc<dyn Fn() -> Option<u64> + Send + Sync>);

impl Arrivals {
    /// A count that is read by calling `count`.
    pub fn new(count: impl Fn() -> Option<u64> + Send + Sync + 'static) -> Arrivals {
        Arrivals(Arc::new(count))
    }
}

impl fmt::Debug for Arrivals {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.write_str("Arrivals")
    }
}

impl Default for Load {
    fn default() -> Load {
        Load::new(Stop::default())
    }
}

impl Load {
    /// A generator that ends early when `stop` is set.
    pub fn new(stop: Stop) -> Load {
        // Far above every timeout a lab uses; it only keeps an upstream that never answers from
        // hanging the run.
        Load { stop, give_up: Duration::from_secs(60), arrivals: None }
    }

    /// The same generator, which also has the server count what comes during the window of a closed
    /// loop.
    pub fn watching(self, arrivals: Arrivals) -> Load {
        Load { arrivals: Some(arrivals), ..self }
    }

    /// The same generator, which gives a request up no sooner than this: where requests wait at the client until
    /// it is their turn.
    pub fn patient(self, wait: Duration) -> Load {
        Load { give_up: self.give_up.max(wait), ..self }
    }

    /// Sends `n` requests at once and waits for all. Latency counts from the one common start.
    pub async fn burst<F, Fut>(&self, n: usize, op: F) -> Tally
    where
        F: Fn(usize) -> Fut,
        Fut: Future<Output = Outcome> + Send + 'static,
    {
        let start = Instant::now();
        let book = Arc::new(Book::new(start, None));
        let mut tasks = JoinSet::new();
        for i in 0..n {
            tasks.spawn(self.clone().attempt(book.clone(), start, true, op(i)));
        }
        join(tasks).await;
        book.close(n as u64).with_wall(start.elapsed())
    }

    /// So many clients that send so many requests in all, each its next one after its last one is
    /// answered; they start evenly spread over `ramp`. A fixed number: a fixed time would cut short
    /// what is slow, and count less of it. `op` is called with the number of the request.
    pub async fn shared<F, Fut>(
        &self,
        clients: usize,
        requests: usize,
        ramp: Duration,
        op: F,
    ) -> Tally
    where
        F: Fn(usize) -> Fut + Clone + Send + 'static,
        Fut: Future<Output = Outcome> + Send + 'static,
    {
        let origin = Instant::now();
        let book = Arc::new(Book::new(origin, None));
        let next = Arc::new(AtomicUsize::new(0));
        let mut tasks = JoinSet::new();
        for i in 0..clients {
            let (load, book, next, op) = (self.clone(), book.clone(), next.clone(), op.clone());
            let start = origin + ramp.mul_f64(i as f64 / clients as f64);
            tasks.spawn(async move {
                let mut watch = Watch::new(&load);
                load.sleep(start).await;
                while !load.stop.is_set() {
                    let request = next.fetch_add(1, Ordering::Relaxed);
                    if request >= requests {
                        break;
                    }
                    let start = Instant::now();
                    book.enter(start);
                    let outcome = watch.over(start, op(request)).await;
                    book.leave(start, Instant::now(), outcome, true);
                }
            });
        }
        join(tasks).await;
        book.close(requests as u64).with_wall(origin.elapsed())
    }

    /// Runs a closed loop. `op` is called with the client's number for each attempt.
    ///
    /// Rates are counts without edges: every attempt counts with the part of its time in flight
    /// that lies inside the window. Counting whole attempts would be off by one a client.
    pub async fn closed<F, Fut>(&self, plan: Closed, op: F) -> Tally
    where
        F: Fn(usize) -> Fut + Clone + Send + 'static,
        Fut: Future<Output = Outcome> + Send + 'static,
    {
        let origin = Instant::now();
        let window = (origin + plan.warm_up, origin + plan.warm_up + plan.window);
        let book = Arc::new(Book::new(origin, Some(window)));
        let sampler = Sampler::start(book.clone(), window, self.arrivals.clone());
        let mut tasks = JoinSet::new();
        for i in 0..plan.clients {
            let (load, book, op) = (self.clone(), book.clone(), op.clone());
            let mut rng = Pcg64Mcg::seed_from_u64(plan.seed.wrapping_add(i as u64));
            tasks.spawn(async move {
                let mut watch = Watch::new(&load);
                let mut part = Part::default();
                load.sleep(origin + plan.start_of(i)).await;
                // One reading of the clock a request: the end of one is the start of the next.
                let mut start = Instant::now();
                while start < window.1 && !load.stop.is_set() {
                    book.enter(start);
                    let outcome = watch.over(start, op(i)).await;
                    let end = Instant::now();
                    book.leave(start, end, outcome, start >= window.0);
                    let pause = match outcome {
                        Outcome::Rejected => plan.pause(rng.random()),
                        _ => Duration::ZERO,
                    };
                    part.add(window, start, end, outcome);
                    start = end;
                    if !pause.is_zero() {
                        if end + pause >= window.1 {
                            break;
                        }
                        load.sleep(end + pause).await;
                        start = Instant::now();
                    }
                }
                book.add(part);
            });
        }
        join(tasks).await;
        // Clients that were refused at the end may have left before the window's end.
        self.sleep(window.1).await;
        let seen = sampler.seen().await;
        Tally {
            sampled_in_flight: seen.map(|s| s.in_flight),
            arrived_per_s: seen.and_then(|s| s.arrived_per_s),
            ..book.close_loop(plan.window)
        }
    }

    /// Runs something that is not made of counted requests; `None` when the run was stopped first.
    pub async fn unless_stopped<T>(&self, work: impl Future<Output = T>) -> Option<T> {
        tokio::select! {
            done = work => Some(done),
            () = self.stop.wait() => None,
        }
    }

    /// Sleeps until an instant or until the run is stopped.
    async fn sleep(&self, until: Instant) {
        tokio::select! {
            () = tokio::time::sleep_until(until.into()) => {}
            () = self.stop.wait() => {}
        }
    }

    /// Sends on a schedule, whether or not earlier requests have been answered. Latency counts
    /// from the *intended* start, so a generator or server that falls behind cannot hide it.
    pub async fn open<F, Fut>(&self, plan: Open, op: F) -> Tally
    where
        F: Fn(usize) -> Fut,
        Fut: Future<Output = Outcome> + Send + 'static,
    {
        self.scheduled(plan.arrivals(), op).await
    }

    /// The same for any schedule: instants from the start of the load, ascending.
    pub async fn scheduled<F, Fut>(&self, schedule: Vec<Duration>, op: F) -> Tally
    where
        F: Fn(usize) -> Fut,
        Fut: Future<Output = Outcome> + Send + 'static,
    {
        let start = Instant::now();
        let book = Arc::new(Book::new(start, None));
        let planned = schedule.len() as u64;
        let mut tasks = JoinSet::new();
        for (i, offset) in schedule.into_iter().enumerate() {
            let intended = start + offset;
            if intended > Instant::now() {
                self.sleep(intended).await;
            }
            if self.stop.is_set() {
                break;
            }
            tasks.spawn(self.clone().attempt(book.clone(), intended, true, op(i)));
        }
        join(tasks).await;
        book.close(planned).with_wall(start.elapsed())
    }

    /// One attempt with its place in the books.
    async fn attempt(
        self,
        book: Arc<Book>,
        start: Instant,
        counts: bool,
        op: impl Future<Output = Outcome>,
    ) -> Outcome {
        book.enter(Instant::now());
        let outcome = tokio::select! {
            done = tokio::time::timeout(self.give_up, op) => done.unwrap_or(Outcome::TimedOut),
            () = self.stop.wait() => Outcome::Aborted,
        };
        book.leave(start, Instant::now(), outcome, counts);
        outcome
    }
}

/// A thread that looks at the number in flight at regular instants of a window, and reads the server's
/// count at both ends of it.
struct Sampler {
    done: Arc<AtomicBool>,
    result: oneshot::Receiver<Seen>,
}

/// What a [`Sampler`] saw.
#[derive(Clone, Copy, Debug)]
struct Seen {
    in_flight: f64,
    arrived_per_s: Option<f64>,
}

impl Sampler {
    /// The longest it sleeps before it looks whether the load is over.
    const NAP: Duration = Duration::from_millis(20);

    fn start(book: Arc<Book>, window: (Instant, Instant), arrivals: Option<Arrivals>) -> Sampler {
        let done = Arc::new(AtomicBool::new(false));
        let (send, result) = oneshot::channel();
        let over = done.clone();
        // Without the thread nothing is sampled, and the load goes on.
        let _ = std::thread::Builder::new().name("sampler".into()).spawn(move || {
            let seen = Sampler::watch(&book, window, arrivals, &over);
            // Nobody waits for a load that was stopped.
            let _ = seen.map(|seen| send.send(seen));
        });
        Sampler { done, result }
    }

    fn watch(
        book: &Book,
        window: (Instant, Instant),
        arrivals: Option<Arrivals>,
        over: &AtomicBool,
    ) -> Option<Seen> {
        let sleep = |until: Instant| {
            while let Some(rest) = until.checked_duration_since(Instant::now()) {
                if over.load(Ordering::Relaxed) {
                    return None;
                }
                std::thread::sleep(rest.min(Sampler::NAP));
            }
            Some(())
        };
        // Read a little before or after the window, over its own time: the thread wakes when it can.
        let count = || Some((arrivals.as_ref()?.0()?, Instant::now()));
        sleep(window.0)?;
        let before = count();
        let mut sum = 0.0;
        for look in 0..LOOKS {
            sleep(window.0 + (window.1 - window.0) * (2 * look + 1) / (2 * LOOKS))?;
            sum += book.in_flight() as f64;
        }
        sleep(window.1)?;
        let arrived_per_s = before.zip(count()).map(|((before, from), (after, to))| {
            after.saturating_sub(before) as f64 / (to - from).as_secs_f64()
        });
        Some(Seen {
            in_flight: sum / f64::from(LOOKS),
            arrived_per_s: arrived_per_s.filter(|rate| rate.is_finite()),
        })
    }

    /// What it saw, once its window is over; `None` when the load was stopped in it.
    async fn seen(mut self) -> Option<Seen> {
        // It may have been kept off its processor at the window's end.
        let late = Duration::from_millis(200);
        let seen = tokio::time::timeout(late, &mut self.result).await;
        seen.ok()?.ok()
    }
}

impl Drop for Sampler {
    fn drop(&mut self) {
        self.done.store(true, Ordering::Relaxed);
    }
}

/// What ends an attempt from outside: one wait for the stop and one timer a client, where one of each
/// a request would cost more than the books.
struct Watch {
    stopped: Pin<Box<dyn Future<Output = ()> + Send>>,
    ended: bool,
    timer: Pin<Box<tokio::time::Sleep>>,
    give_up: Duration,
}

impl Watch {
    fn new(load: &Load) -> Watch {
        let stop = load.stop.clone();
        Watch {
            stopped: Box::pin(async move { stop.wait().await }),
            ended: false,
            timer: Box::pin(tokio::time::sleep(load.give_up)),
            give_up: load.give_up,
        }
    }

    /// The outcome of an attempt that began at `start`. It is stopped with the load.
    async fn over(&mut self, start: Instant, op: impl Future<Output = Outcome>) -> Outcome {
        let mut op = pin!(op);
        poll_fn(|cx| {
            if let Poll::Ready(outcome) = op.as_mut().poll(cx) {
                return Poll::Ready(outcome);
            }
            // A future that has ended must not be asked again.
            if self.ended || self.stopped.as_mut().poll(cx).is_ready() {
                self.ended = true;
                return Poll::Ready(Outcome::Aborted);
            }
            // The timer may have been set for an attempt that has ended long since.
            while self.timer.as_mut().poll(cx).is_ready() {
                let until = start + self.give_up;
                if Instant::now() >= until {
                    return Poll::Ready(Outcome::TimedOut);
                }
                self.timer.as_mut().reset(until.into());
            }
            Poll::Pending
        })
        .await
    }
}

impl Open {
    /// Instants of arrivals, from the start of the load, ascending.
    pub fn arrivals(&self) -> Vec<Duration> {
        let mut rng = Pcg64Mcg::seed_from_u64(self.seed);
        let mean_gap = 1.0 / self.rate.max(1e-9);
        let mut at = 0.0;
        std::iter::from_fn(|| {
            at +=
                if self.poisson { -(1.0 - rng.random::<f64>()).ln() * mean_gap } else { mean_gap };
            (at < self.window.as_secs_f64()).then(|| Duration::from_secs_f64(at))
        })
        .collect()
    }
}

/// Waits for all tasks; a panic in one of them goes on here.
async fn join(mut tasks: JoinSet<impl Send + 'static>) {
    while let Some(result) = tasks.join_next().await {
        if let Err(error) = result
            && error.is_panic()
        {
            std::panic::resume_unwind(error.into_panic());
        }
    }
}

/// Attempts, each with the part of its time in flight that lies inside the window.
#[derive(Debug, Default)]
pub struct Part {
    attempts: f64,
    ok: f64,
    sojourn_s: f64,
}

impl Part {
    /// Counts one attempt.
    pub fn add(
        &mut self,
        window: (Instant, Instant),
        start: Instant,
        end: Instant,
        outcome: Outcome,
    ) {
        let inside = end.min(window.1).saturating_duration_since(start.max(window.0));
        let took = end.saturating_duration_since(start);
        if outcome == Outcome::Aborted || took.is_zero() {
            return;
        }
        let inside_s = inside.as_secs_f64();
        // Most lie inside as a whole, and this is done with every request.
        let share = if inside == took { 1.0 } else { inside_s / took.as_secs_f64() };
        self.attempts += share;
        self.sojourn_s += inside_s;
        if outcome == Outcome::Ok {
            self.ok += share;
        }
    }

    fn merge(&mut self, other: Part) {
        self.attempts += other.attempts;
        self.ok += other.ok;
        self.sojourn_s += other.sojourn_s;
    }
}

/// The books of one load, shared by its tasks. One lock: an entry takes well under a microsecond,
/// and no lab sends more than some ten thousand a second.
#[derive(Debug)]
pub struct Book(Mutex<Entries>);

#[derive(Debug)]
struct Entries {
    origin: Instant,
    /// The in-flight count is integrated inside this window only; everywhere when `None`.
    window: Option<(Instant, Instant)>,
    in_flight: u64,
    max_in_flight: u64,
    changed: Instant,
    area_s: f64,
    ended: Instant,
    trial: Trial,
    failures: BTreeMap<Failure, u64>,
    sent: u64,
    refused: u64,
    timeline: Vec<(f64, f64)>,
    part: Part,
}

impl Book {
    /// Empty books, opened at `origin`; in-flight counts are integrated in `window`.
    pub fn new(origin: Instant, window: Option<(Instant, Instant)>) -> Book {
        Book(Mutex::new(Entries {
            origin,
            window,
            in_flight: 0,
            max_in_flight: 0,
            changed: origin,
            area_s: 0.0,
            ended: origin,
            trial: Trial::default(),
            failures: BTreeMap::new(),
            sent: 0,
            refused: 0,
            timeline: Vec::new(),
            part: Part::default(),
        }))
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Entries> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Requests in flight now.
    pub fn in_flight(&self) -> u64 {
        self.lock().in_flight
    }

    /// A request is sent.
    pub fn enter(&self, now: Instant) {
        let mut e = self.lock();
        e.integrate(now);
        e.in_flight += 1;
        e.max_in_flight = e.max_in_flight.max(e.in_flight);
        e.sent += 1;
    }

    /// A request has ended. `start` is its intended start; `counts` is false in the warm-up.
    pub fn leave(&self, start: Instant, now: Instant, outcome: Outcome, counts: bool) {
        let mut e = self.lock();
        e.integrate(now);
        e.in_flight = e.in_flight.saturating_sub(1);
        e.refused += u64::from(outcome == Outcome::Rejected);
        if !counts {
            return;
        }
        let took = now.saturating_duration_since(start);
        e.trial.offered += 1;
        e.ended = e.ended.max(now);
        if outcome != Outcome::Aborted {
            e.trial.attempt_latency.record(took);
        }
        match outcome {
            Outcome::Ok => {
                e.trial.ok += 1;
                e.trial.latency.record(took);
                if e.window.is_none() {
                    let at = start.saturating_duration_since(e.origin).as_secs_f64();
                    e.timeline.push((at, took.as_secs_f64()));
                }
            }
            Outcome::Rejected => e.trial.rejected += 1,
            Outcome::TimedOut => e.trial.timed_out += 1,
            Outcome::Failed(kind) => {
                e.trial.failed += 1;
                *e.failures.entry(kind).or_default() += 1;
            }
            Outcome::Aborted => e.trial.aborted += 1,
        }
    }

    /// Adds the counts without edges of one client of a closed loop.
    pub fn add(&self, part: Part) {
        self.lock().part.merge(part);
    }

    /// Closes the books of a closed loop that counted in a window of this length.
    pub fn close_loop(&self, window: Duration) -> Tally {
        let mut tally = self.close_counted();
        let part = std::mem::take(&mut self.lock().part);
        let seconds = window.as_secs_f64();
        tally.attempts_per_s = part.attempts / seconds;
        tally.goodput_per_s = part.ok / seconds;
        tally.mean_attempt_s = part.sojourn_s / part.attempts;
        tally.trial.wall_s = seconds;
        tally
    }

    /// Closes the books of a load that planned this many attempts: what was not sent is noted.
    pub fn close(&self, planned: u64) -> Tally {
        let mut tally = self.close_counted();
        tally.trial.never_sent = planned.saturating_sub(tally.trial.offered);
        tally.trial.offered = planned;
        tally
    }

    fn close_counted(&self) -> Tally {
        let mut e = self.lock();
        let until = e.ended;
        e.integrate(until);
        let measured = e.window.map_or(until - e.origin, |(from, to)| to - from).as_secs_f64();
        let mut trial = std::mem::take(&mut e.trial);
        trial.failures = e.failures.iter().map(|(k, n)| (k.name(), *n)).collect();
        Tally {
            trial,
            mean_in_flight: if measured > 0.0 { e.area_s / measured } else { 0.0 },
            max_in_flight: e.max_in_flight,
            sent: e.sent,
            refused: e.refused,
            timeline: std::mem::take(&mut e.timeline),
            ..Tally::default()
        }
    }
}

impl Entries {
    /// Adds the stretch since the last change to the integral of the in-flight count.
    fn integrate(&mut self, now: Instant) {
        if now <= self.changed {
            return;
        }
        let (from, to) = match self.window {
            Some((from, to)) => (self.changed.max(from), now.min(to)),
            None => (self.changed, now),
        };
        self.area_s += to.saturating_duration_since(from).as_secs_f64() * self.in_flight as f64;
        self.changed = now;
    }
}

impl Tally {
    /// The books of things begun together and ended now, which were not sent by a [`Load`].
    pub fn of(start: Instant, outcomes: impl IntoIterator<Item = Outcome>) -> Tally {
        let (now, book) = (Instant::now(), Book::new(start, None));
        let mut planned = 0;
        for outcome in outcomes {
            planned += 1;
            book.enter(start);
            book.leave(start, now, outcome, true);
        }
        book.close(planned).with_wall(now - start)
    }

    /// Adds what another thread of the same load did in the same time. The largest numbers in flight
    /// are added, too: both threads may have had them at once.
    pub fn merge(&mut self, other: Tally) {
        let attempts = |t: &Tally| t.attempts_per_s * t.trial.wall_s;
        let (mine, theirs) = (attempts(self), attempts(&other));
        let waited = |n: f64, mean: f64| if n > 0.0 { n * mean } else { 0.0 };
        self.mean_attempt_s = (waited(mine, self.mean_attempt_s)
            + waited(theirs, other.mean_attempt_s))
            / (mine + theirs);
        let (t, o) = (&mut self.trial, other.trial);
        t.wall_s = t.wall_s.max(o.wall_s);
        t.offered += o.offered;
        t.ok += o.ok;
        t.rejected += o.rejected;
        t.timed_out += o.timed_out;
        t.failed += o.failed;
        t.aborted += o.aborted;
        t.never_sent += o.never_sent;
        for (kind, n) in o.failures {
            *t.failures.entry(kind).or_default() += n;
        }
        t.latency.merge(&o.latency);
        t.attempt_latency.merge(&o.attempt_latency);
        self.goodput_per_s += other.goodput_per_s;
        self.attempts_per_s += other.attempts_per_s;
        self.mean_in_flight += other.mean_in_flight;
        self.max_in_flight += other.max_in_flight;
        let sampled = self.sampled_in_flight.zip(other.sampled_in_flight);
        self.sampled_in_flight = sampled.map(|(mine, theirs)| mine + theirs);
        // One server may have counted for both threads: nobody knows whose these were.
        self.arrived_per_s = None;
        self.sent += other.sent;
        self.refused += other.refused;
        self.timeline.extend(other.timeline);
    }

    /// The rates of a load that took so long.
    pub fn with_wall(mut self, wall: Duration) -> Tally {
        self.trial.wall_s = wall.as_secs_f64();
        self.goodput_per_s = self.trial.ok as f64 / self.trial.wall_s;
        self.attempts_per_s = self.trial.offered as f64 / self.trial.wall_s;
        self.mean_attempt_s = self.trial.attempt_latency.mean_s().unwrap_or(f64::NAN);
        self
    }

    /// Share of attempts that ended because the upstream was not there: connections refused or
    /// broken.
    pub fn unreachable(&self) -> f64 {
        let gone = ["connect", "broken"];
        let lost: u64 = gone.iter().filter_map(|kind| self.trial.failures.get(*kind)).sum();
        if self.trial.offered == 0 { 0.0 } else { lost as f64 / self.trial.offered as f64 }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const OUTCOMES: [Outcome; 6] = [
        Outcome::Ok,
        Outcome::Rejected,
        Outcome::TimedOut,
        Outcome::Failed(Failure::Status(500)),
        Outcome::Failed(Failure::Connect),
        Outcome::Aborted,
    ];

    fn runtime() -> tokio::runtime::Runtime {
        tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap()
    }

    #[test]
    fn every_outcome_has_its_place_and_the_books_close() {
        let tally =
            runtime().block_on(Load::default().burst(60, |i| async move { OUTCOMES[i % 6] }));
        let t = &tally.trial;
        assert!(t.books_close());
        assert_eq!(
            (t.offered, t.ok, t.rejected, t.timed_out, t.failed, t.aborted),
            (60, 10, 10, 10, 20, 10)
        );
        assert_eq!(t.failures, BTreeMap::from([("connect".into(), 10), ("status 500".into(), 10)]));
        assert_eq!(t.attempt_latency.count(), 50);
    }

    #[test]
    fn outcomes_become_books_that_close() {
        let tally = Tally::of(Instant::now(), OUTCOMES);
        let t = &tally.trial;
        assert!(t.books_close());
        assert_eq!((t.offered, t.ok, t.failed, tally.sent), (6, 1, 2, 6));
    }

    #[test]
    fn clients_share_the_requests() {
        let load = Load::default();
        let all = load.shared(3, 20, Duration::ZERO, |i| async move { OUTCOMES[i % 4] });
        let tally = runtime().block_on(all);
        let t = &tally.trial;
        assert!(t.books_close());
        assert_eq!((t.offered, t.ok, t.rejected, t.timed_out), (20, 5, 5, 5));
        assert!(tally.max_in_flight <= 3);
    }

    #[test]
    fn threads_add_up() {
        let load = |n, outcome| {
            runtime().block_on(Load::default().burst(n, move |_| async move { outcome }))
        };
        let (ok, failed) = (load(3, Outcome::Ok), load(2, Outcome::Failed(Failure::Body)));
        let (rate, mut both) = (ok.goodput_per_s, ok);
        both.merge(failed);
        let t = &both.trial;
        assert!(t.books_close());
        assert_eq!((t.offered, t.ok, t.failed, both.sent), (5, 3, 2, 5));
        assert_eq!(both.goodput_per_s, rate);
        assert!(both.mean_attempt_s.is_finite());
        both.merge(Tally::default());
        assert!(both.mean_attempt_s.is_finite());
    }

    #[test]
    fn a_client_that_waits_for_ever_gives_up_and_goes_on() {
        let load = Load { give_up: Duration::from_millis(300), ..Load::default() };
        // The timer set for the first request goes off in the middle of the second.
        let op = |i| async move {
            match i {
                0 => tokio::time::sleep(Duration::from_millis(150)).await,
                1 => std::future::pending().await,
                _ => {}
            }
            Outcome::Ok
        };
        let tally = runtime().block_on(load.shared(1, 6, Duration::ZERO, op));
        assert!(tally.trial.books_close());
        assert_eq!((tally.trial.timed_out, tally.trial.offered), (1, 6));
        assert!(tally.trial.attempt_latency.max_s() >= Some(0.3));
    }

    #[test]
    fn failures_are_not_throughput() {
        let tally = runtime().block_on(Load::default().burst(50, |_| async { Outcome::TimedOut }));
        assert_eq!(tally.goodput_per_s, 0.0);
        assert!(tally.attempts_per_s > 0.0);
    }

    #[test]
    fn a_closed_loop_counts_after_the_warm_up_only() {
        let plan = Closed {
            clients: 3,
            warm_up: Duration::from_millis(10),
            window: Duration::from_millis(20),
            ..Closed::default()
        };
        let op = |_| async {
            tokio::time::sleep(Duration::from_millis(2)).await;
            Outcome::Ok
        };
        let tally = runtime().block_on(Load::default().closed(plan, op));
        assert!(tally.trial.books_close());
        assert!(tally.sent > tally.trial.offered, "{} {}", tally.sent, tally.trial.offered);
        assert!(tally.max_in_flight <= 3 && tally.mean_in_flight <= 3.0 + 1e-9);
    }

    #[test]
    fn number_rate_and_time_come_from_three_instruments() {
        let plan = Closed {
            clients: 8,
            ramp: Duration::from_millis(20),
            ramped: 8,
            warm_up: Duration::from_millis(40),
            window: Duration::from_millis(400),
            ..Closed::default()
        };
        let served = Arc::new(AtomicUsize::new(0));
        let count = served.clone();
        let arrivals = Arrivals::new(move || Some(count.load(Ordering::Relaxed) as u64));
        let op = move |_| {
            let served = served.clone();
            async move {
                // A server that counts every request twice.
                served.fetch_add(2, Ordering::Relaxed);
                tokio::time::sleep(Duration::from_millis(20)).await;
                Outcome::Ok
            }
        };
        let load = Load::default().watching(arrivals);
        let tally = runtime().block_on(load.closed(plan, op));
        let (number, rate) = (tally.sampled_in_flight.unwrap(), tally.arrived_per_s.unwrap());
        let time = tally.trial.attempt_latency.mean_s().unwrap();
        assert!((7.0..=8.0).contains(&number), "{number}");
        let ratio = number / (rate * time);
        assert!((0.4..=0.6).contains(&ratio), "a wrong count shows: {ratio}");
        let unwatched = runtime().block_on(Load::default().closed(plan, |_| async {
            tokio::time::sleep(Duration::from_millis(20)).await;
            Outcome::Ok
        }));
        assert_eq!(unwatched.arrived_per_s, None);
    }

    #[test]
    fn a_stopped_burst_counts_what_was_in_flight() {
        let stop = Stop::default();
        let load = Load::new(stop.clone());
        let tally = runtime().block_on(async move {
            let burst = load.burst(5, |_| std::future::pending());
            let (tally, ()) = tokio::join!(burst, async { stop.set() });
            tally
        });
        assert_eq!((tally.trial.offered, tally.trial.aborted), (5, 5));
        assert!(tally.trial.books_close());
    }

    #[test]
    fn a_stopped_schedule_says_what_was_never_sent() {
        let stop = Stop::default();
        let load = Load::new(stop.clone());
        let plan = Open { rate: 100.0, poisson: false, window: Duration::from_secs(3600), seed: 1 };
        let tally = runtime().block_on(async move {
            let open = load.open(plan, |_| async { Outcome::Ok });
            let stopper = async {
                tokio::time::sleep(Duration::from_millis(30)).await;
                stop.set();
            };
            tokio::join!(open, stopper).0
        });
        assert!(tally.trial.never_sent > 300_000 && tally.trial.books_close());
    }

    #[test]
    fn a_panic_in_a_client_is_not_swallowed() {
        let run = std::panic::AssertUnwindSafe(|| {
            runtime().block_on(Load::default().burst(1, |_| async { panic!("client") }))
        });
        assert!(std::panic::catch_unwind(run).is_err());
    }

    proptest! {
        #[test]
        fn schedules_ascend_and_stay_inside_the_window(rate in 1f64..5000.0, poisson: bool, seed: u64) {
            let window = Duration::from_millis(500);
            let s = Open { rate, poisson, window, seed }.arrivals();
            prop_assert!(s.windows(2).all(|w| w[0] <= w[1]));
            prop_assert!(s.iter().all(|at| *at < window));
            if !poisson { prop_assert!((s.len() as f64 - rate * 0.5).abs() <= 1.0); }
        }

        /// The integral of the in-flight count equals the sum of the times in flight.
        #[test]
        fn in_flight_integral_is_the_sum_of_sojourns(stays in prop::collection::vec((0u64..500, 0u64..500), 1..40)) {
            let origin = Instant::now();
            let at = |ms: u64| origin + Duration::from_millis(ms);
            let book = Book::new(origin, None);
            let mut events: Vec<(u64, bool, u64)> = Vec::new();
            for (start, stay) in &stays { events.push((*start, true, *start)); events.push((start + stay, false, *start)); }
            events.sort_by_key(|e| (e.0, !e.1));
            for (now, enters, start) in events {
                if enters { book.enter(at(now)) } else { book.leave(at(start), at(now), Outcome::Ok, true) }
            }
            let end = stays.iter().map(|(s, d)| s + d).max().unwrap_or(0);
            let sum: u64 = stays.iter().map(|s| s.1).sum();
            let tally = book.close(stays.len() as u64);
            prop_assert!((tally.mean_in_flight * end as f64 - sum as f64).abs() < 1e-3);
        }
    }
}
