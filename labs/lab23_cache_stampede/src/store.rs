//! A key with its value, and the way to the upstream: what the lesson takes for granted.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use lab_kit::prelude::*;
use rand::{RngExt, SeedableRng};
use rand_pcg::Pcg64Mcg;
use tokio::sync::Semaphore;

/// A value, or why there is none.
pub(super) type Got = Result<Value, Outcome>;

/// What the upstream has computed.
#[derive(Clone, Debug)]
pub(super) struct Value {
    /// When it was stored.
    pub(super) stored: Instant,
    /// When it is no longer fresh.
    pub(super) expires: Instant,
    /// How long computing it took.
    pub(super) took: Duration,
    /// How many were stored before it.
    generation: u64,
}

impl Value {
    /// How long it is fresh yet.
    pub(super) fn left(&self) -> Duration {
        self.expires.saturating_duration_since(Instant::now())
    }
}

/// A request at the upstream, as the cache saw it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Asked {
    pub(super) start: Instant,
    pub(super) end: Instant,
    /// The value that was there: its number, 0 for none, and when it expires.
    pub(super) saw: u64,
    pub(super) expires: Option<Instant>,
    pub(super) outcome: Outcome,
}

/// A request for the key, as its user saw it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Served {
    pub(super) at: Instant,
    pub(super) done: Instant,
    /// When the value was stored, and when it was no longer fresh.
    pub(super) value: Option<(Instant, Instant)>,
}

/// A key of a cache. Clones are the same key.
#[derive(Clone)]
pub(super) struct Key {
    pub(super) number: usize,
    /// Held by the one who asks.
    pub(super) turn: Arc<tokio::sync::Mutex<()>>,
    shared: Arc<Shared>,
}

struct Shared {
    client: reqwest::Client,
    /// So many connections and no more: on a machine that is far too busy each herd is larger than the one before,
    /// and files run out.
    pool: Arc<Semaphore>,
    url: String,
    ttl: Duration,
    state: Mutex<State>,
}

struct State {
    value: Option<Value>,
    stored: u64,
    rng: Pcg64Mcg,
    asked: Vec<Asked>,
    served: Vec<Served>,
}

impl Key {
    /// A key without a value; values live for `ttl`.
    pub(super) fn new(
        number: usize,
        (client, pool): (&reqwest::Client, &Arc<Semaphore>),
        url: String,
        ttl: Duration,
        seed: u64,
    ) -> Key {
        let state = State {
            value: None,
            stored: 0,
            rng: Pcg64Mcg::seed_from_u64(seed),
            asked: Vec::new(),
            served: Vec::new(),
        };
        let (client, pool) = (client.clone(), pool.clone());
        let shared = Shared { client, pool, url, ttl, state: Mutex::new(state) };
        Key { number, turn: Arc::default(), shared: Arc::new(shared) }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.shared.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The value, if it is fresh.
    pub(super) fn fresh(&self) -> Option<Value> {
        self.no_older_than(Duration::ZERO)
    }

    /// The value, if it is fresh or was so until `grace` ago.
    pub(super) fn no_older_than(&self, grace: Duration) -> Option<Value> {
        let now = Instant::now();
        self.state().value.clone().filter(|value| now < value.expires + grace)
    }

    /// Uniform in (0, 1].
    pub(super) fn random(&self) -> f64 {
        1.0 - self.state().rng.random::<f64>()
    }

    /// Stores a value that is fresh until an instant.
    pub(super) fn store(&self, expires: Instant, took: Duration) -> Value {
        let mut state = self.state();
        state.stored += 1;
        let value = Value { stored: Instant::now(), expires, took, generation: state.stored };
        state.value = Some(value.clone());
        value
    }

    /// Asks the upstream, and stores what it answers. A failure is not stored.
    pub(super) async fn ask(&self) -> Got {
        let start = Instant::now();
        let saw = self.state().value.clone();
        let connection = self.shared.pool.acquire().await;
        let outcome = Outcome::of(http::get(&self.shared.client, &self.shared.url).await);
        drop(connection);
        let end = Instant::now();
        let answer = match outcome {
            Outcome::Ok => Ok(self.store(end + self.shared.ttl, end - start)),
            failed => Err(failed),
        };
        self.state().asked.push(Asked {
            start,
            end,
            saw: saw.as_ref().map_or(0, |value| value.generation),
            expires: saw.map(|value| value.expires),
            outcome,
        });
        answer
    }

    /// Notes what somebody got who asked at `at`.
    pub(super) fn note(&self, at: Instant, got: &Got) -> Outcome {
        let value = got.as_ref().ok().map(|value| (value.stored, value.expires));
        self.state().served.push(Served { at, done: Instant::now(), value });
        got.as_ref().err().copied().unwrap_or(Outcome::Ok)
    }

    /// What became of requests at the upstream and of requests for the key, each in order of their beginnings.
    pub(super) fn log(&self) -> (Vec<Asked>, Vec<Served>) {
        let mut state = self.state();
        let (mut asked, mut served) =
            (std::mem::take(&mut state.asked), std::mem::take(&mut state.served));
        asked.sort_by_key(|asked| asked.start);
        served.sort_by_key(|served| served.at);
        (asked, served)
    }
}
