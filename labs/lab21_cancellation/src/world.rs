//! What the lesson's code works with: an outbox, a bank, calls and hops with books of what they did, and a server.

use std::{
    collections::BTreeMap,
    sync::{
        Arc, Mutex, OnceLock,
        atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering::Relaxed},
    },
};

use async_channel::{Receiver, Sender};
use futures_util::future::BoxFuture;
use lab_kit::{prelude::*, theory::cancellation::even};
use tokio::{
    sync::oneshot,
    task::{JoinHandle, JoinSet},
};

use super::{clock::Clock, serve_by_deadline, serve_by_own_clock};

/// A share of a stretch of time.
pub(super) fn part(of: Duration, share: f64) -> Duration {
    Duration::from_secs_f64(of.as_secs_f64() * share)
}

/// An item: its number, and when it came.
pub(super) type Item = (usize, Duration);

/// Where items come from, and where they are handed over.
pub(super) struct Line {
    pub(super) items: Receiver<Item>,
    pub(super) clock: Clock,
    pub(super) hand_over: Duration,
    handed_over: Mutex<Vec<(usize, Duration)>>,
    pub(super) ticks: AtomicU64,
}

impl Line {
    pub(super) fn new(items: Receiver<Item>, clock: Clock, hand_over: Duration) -> Line {
        Line { items, clock, hand_over, handed_over: Mutex::default(), ticks: AtomicU64::new(0) }
    }

    pub(super) fn handed_over(&self, (item, came): Item) {
        let mut all = self.handed_over.lock().expect("nobody panics holding it");
        all.push((item, self.clock.now() - came));
    }

    /// How long each item took that was handed over, once for each time that it was.
    pub(super) fn took(&self) -> Vec<(usize, Duration)> {
        self.handed_over.lock().expect("nobody panics holding it").clone()
    }

    /// What is done at a tick.
    pub(super) fn beat(&self) {
        self.ticks.fetch_add(1, Relaxed);
    }
}

/// A bank that knows a charge by its key.
pub(super) struct Bank {
    pub(super) clock: Clock,
    /// Writing takes up to so long.
    pub(super) write: Duration,
    pub(super) answer: Duration,
    pub(super) attempts: AtomicUsize,
    keys: AtomicUsize,
    /// The bill of each key.
    pub(super) written: Mutex<BTreeMap<usize, usize>>,
}

impl Bank {
    pub(super) fn new(clock: Clock, write: Duration, answer: Duration) -> Bank {
        let (attempts, keys) = (AtomicUsize::new(0), AtomicUsize::new(0));
        Bank { clock, write, answer, attempts, keys, written: Mutex::default() }
    }

    /// A key that no charge has had.
    pub(super) fn new_key(&self) -> usize {
        self.keys.fetch_add(1, Relaxed)
    }

    /// Writes a charge down, unless one with this key is there, and confirms it.
    pub(super) async fn charge(&self, bill: usize, key: usize) {
        let attempt = self.attempts.fetch_add(1, Relaxed);
        self.clock.sleep(part(self.write, even(attempt))).await;
        self.written.lock().expect("nobody panics holding it").insert(key, bill);
        self.clock.sleep(self.answer).await;
    }
}

/// What was worked, by those who did it, in nanoseconds.
#[derive(Default)]
pub(super) struct Books {
    work: AtomicU64,
    vain: AtomicU64,
    orphans: AtomicU64,
    begun_late: AtomicU64,
    /// Who worked when.
    pub(super) spans: Mutex<Vec<(usize, Duration, Duration)>>,
}

impl Books {
    pub(super) fn work_s(&self) -> f64 {
        self.work.load(Relaxed) as f64 / 1e9
    }

    pub(super) fn vain_s(&self) -> f64 {
        self.vain.load(Relaxed) as f64 / 1e9
    }

    pub(super) fn orphans(&self) -> f64 {
        self.orphans.load(Relaxed) as f64
    }

    pub(super) fn begun_late(&self) -> f64 {
        self.begun_late.load(Relaxed) as f64
    }
}

/// Somebody at work. The books get it when the work ends, or when it is dropped.
struct AtWork<'a> {
    books: &'a Books,
    clock: &'a Clock,
    who: usize,
    begun: Duration,
    client_goes: Duration,
}

impl Drop for AtWork<'_> {
    fn drop(&mut self) {
        let (begun, ended) = (self.begun, self.clock.now());
        let vain = ended.saturating_sub(self.client_goes.max(begun));
        self.books.work.fetch_add((ended - begun).as_nanos() as u64, Relaxed);
        self.books.vain.fetch_add(vain.as_nanos() as u64, Relaxed);
        let late = begun >= self.client_goes;
        self.books.orphans.fetch_add(u64::from(!late && !vain.is_zero()), Relaxed);
        self.books.begun_late.fetch_add(u64::from(late), Relaxed);
        self.books.spans.lock().expect("nobody panics holding it").push((self.who, begun, ended));
    }
}

/// A call of a request, under way once it is polled.
pub(super) type Call = BoxFuture<'static, ()>;

/// Works for a client that goes at a known instant.
pub(super) async fn work(
    books: Arc<Books>,
    clock: Clock,
    who: usize,
    lasts: Duration,
    client_goes: Duration,
) {
    let begun = clock.now();
    let _at_work = AtWork { books: &books, clock: &clock, who, begun, client_goes };
    clock.sleep(lasts).await;
}

/// One service of several that call each other in a row.
#[derive(Clone)]
pub(super) struct Hop {
    pub(super) clock: Clock,
    pub(super) books: Arc<Books>,
    pub(super) place: usize,
    pub(super) hops: usize,
    pub(super) lasts: Duration,
    pub(super) patience: Duration,
    pub(super) client_goes: Duration,
    /// Whether deadlines are sent along.
    pub(super) sent_along: bool,
}

impl Hop {
    pub(super) async fn work_and_call(&self, until: Duration) -> Option<()> {
        let (books, clock) = (self.books.clone(), self.clock.clone());
        work(books, clock, self.place, self.lasts, self.client_goes).await;
        self.call_next(until).await
    }

    /// A service runs elsewhere, and goes on when its caller does not wait any more.
    pub(super) fn serve(self, until: Duration) -> BoxFuture<'static, Option<()>> {
        let serving = async move {
            match self.sent_along {
                true => serve_by_deadline(&self, until).await,
                false => serve_by_own_clock(&self).await,
            }
        };
        let elsewhere: JoinHandle<Option<()>> = tokio::spawn(serving);
        Box::pin(async { elsewhere.await.ok()? })
    }

    /// Asks the next one, if there is one.
    async fn call_next(&self, until: Duration) -> Option<()> {
        let place = self.place + 1;
        if place == self.hops {
            return Some(());
        }
        Hop { place, ..self.clone() }.serve(until).await
    }
}

/// A request: its answer.
pub(super) type Request = oneshot::Sender<()>;

/// A server with a door. Dropped, it ends at once, with all that is inside.
pub(super) struct Server {
    clock: Clock,
    door: Receiver<Request>,
    serving: JoinHandle<()>,
    unready: Arc<OnceLock<Duration>>,
}

impl Server {
    pub(super) fn start(clock: Clock, inside: Duration) -> (Server, Balancer) {
        let (to_door, door) = async_channel::unbounded::<Request>();
        let (requests, clock_inside) = (door.clone(), clock.clone());
        let serving = tokio::spawn(async move {
            let mut handlers = JoinSet::new();
            while let Ok(answer) = requests.recv().await {
                let clock = clock_inside.clone();
                handlers.spawn(async move {
                    clock.sleep(inside).await;
                    let _ = answer.send(());
                });
            }
            handlers.join_all().await;
        });
        let unready: Arc<OnceLock<Duration>> = Arc::default();
        let balancer = Balancer { clock: clock.clone(), to_door, unready: unready.clone() };
        (Server { clock, door, serving, unready }, balancer)
    }

    /// Says that it wants no more requests. The balancer hears of it when it looks next.
    pub(super) fn not_ready(&self) {
        let _ = self.unready.set(self.clock.now());
    }

    /// Takes nobody in any more.
    pub(super) fn close(&self) {
        self.door.close();
    }

    /// Until everybody inside has been answered.
    pub(super) async fn idle(&mut self) {
        let _ = (&mut self.serving).await;
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.not_ready();
        self.close();
        self.serving.abort();
        // Who is at the door and not yet inside hears of it as well.
        while self.door.try_recv().is_ok() {}
    }
}

/// Who sends requests to a server as long as it takes it for ready.
pub(super) struct Balancer {
    clock: Clock,
    to_door: Sender<Request>,
    unready: Arc<OnceLock<Duration>>,
}

/// What became of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Became {
    Answered,
    BrokenOff,
    ShutOut,
    Elsewhere,
}

impl Balancer {
    /// Whether it knows, `gap` late, that the server is not ready.
    fn knows(&self, gap: Duration) -> bool {
        self.unready.get().is_some_and(|since| self.clock.now() >= *since + gap)
    }

    pub(super) async fn send(&self, gap: Duration) -> Became {
        if self.knows(gap) {
            return Became::Elsewhere;
        }
        let (answer, answered) = oneshot::channel();
        if self.to_door.try_send(answer).is_err() {
            return Became::ShutOut;
        }
        answered.await.map_or(Became::BrokenOff, |()| Became::Answered)
    }
}

/// A lock, and what is done behind it.
pub(super) struct Desk {
    pub(super) clock: Clock,
    pub(super) lock: tokio::sync::Mutex<()>,
    pub(super) hold: Duration,
    /// Whether the wait beside the first future ended first.
    pub(super) turned: AtomicBool,
}

impl Desk {
    pub(super) async fn behind_the_lock(&self) {
        let _guard = self.lock.lock().await;
        self.clock.sleep(self.hold).await;
    }

    /// So long and no longer is waited for the first future.
    pub(super) async fn impatient(&self, after: Duration) {
        self.clock.sleep(after).await;
        self.turned.store(true, Relaxed);
    }
}
