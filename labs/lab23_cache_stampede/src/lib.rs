//! # Cache stampede
//!
//! ## The question
//!
//! The hottest key expires: how many requests does the upstream get?
//!
//! ## What to predict
//!
//! A key is asked for {rate} times a second (`λ`), at random. Computing its value takes the upstream {service}
//! (`s`), and a value is kept for {ttl} (`L`). The upstream has {slots} slots left for this service (`c`), for it
//! is near its capacity. {places} more may wait for a slot (`K`), and all others are refused. The value expires.
//! How many requests does the upstream get before it is there again?
//!
//! Then a cache that is too small: it holds a hundredth of {items} keys, whose popularity follows Zipf's law with the
//! exponent {zipf}. What share of the requests does it answer?
//!
//! ## The experiment
//!
//! Ways to treat an expired value are below, each in a few lines:
//!
//! - **none**: whoever finds no value asks the upstream;
//! - **lock**: one asks, the others wait; **moka** is the same by a cache crate;
//! - **early**: a request asks before the value expires, by chance (XFetch: Vattani, Chierichetti and
//!   Lowenstein 2015);
//! - **stale**: one asks, and the others take the old value meanwhile;
//! - **jittered**: many keys of one age get lifetimes of their own; **together** they have the same.
//!
//! The cache is in this process. The upstream is a server that counts what it gets. Each condition is many such
//! keys side by side, each with an upstream and arrivals of its own. Requests come whether or not earlier ones
//! are answered. How much a cache holds is counted without any clock: least recently used in ten lines, and moka
//! with two policies.
//!
//! ## What the figures show
//!
//! With none, the first request after the end misses, and so does everybody who comes until its answer is
//! there: `1 + λ·s` on average, a Poisson number and one. The herd grows with the popularity of the key *and*
//! with the time that its value takes, so what is dearest is asked for most often at once. It is lab03's burst: those
//! who find no room among `c + K` are refused. All others compute the same value again.
//!
//! A lock for each key lets one through. The upstream then gets a request every `L + s + 1/λ`: it is
//! computed, kept, and missed by the next who comes. The others wait for the rest of `s`. With stale the
//! very same share of the requests gets an old value in place of waiting. Nobody waits, and a value may be
//! older than `L`, by `s + 1/λ` on average when it is replaced. Whether that is allowed is for those who
//! use the value to say.
//!
//! Early needs no lock, so it works across machines that share nothing but the cache. A request that comes `u`
//! before the end asks with the probability `e^(−u/(β·s))`. The more requests come, the earlier the first one
//! asks: about `β·s·(ln(λ·β·s) + 0.58)` before the end. In the `s` that its answer takes others ask as well. β
//! says how eager requests are. If many come within `β·s`, that makes `e^(1/β)` at the upstream for each end:
//! 2.7 with β = 1. If few come, it is less. It is few, and it is not one.
//!
//! Keys that were stored together expire together. Their locks let one through *for each key*, so `k` keys make
//! `k` requests at once. Those that are refused are asked for again, by everybody who comes. The slots need
//! `k·s/c` for all of them, and the last ones are there later than that: a refused key comes back only when
//! somebody asks for it again. Lifetimes spread over `j` turn that into `k/j` requests a second.
//!
//! The hit rate of least recently used follows Che's approximation (Che, Tung and Wang 2002): an entry is
//! evicted when nobody asks for it during the time in which `C` others, as many as the cache holds, are asked
//! for. moka's own policy, TinyLFU, counts how often keys are asked for, and does not let a rare one drive out
//! a frequent one. It comes nearer to the best that is possible, to hold the `C` most popular ones. (moka does
//! its housekeeping in batches; here it is told to do it after each insertion, or it would hold more than `C`.)
//!
//! ## A common belief
//!
//! *The cache answers nearly every request, so the upstream needs hardly any capacity.* On average that is
//! so. At the end of a hot key's life the upstream gets every request that comes within `s`, and its refusals are
//! not stored.
//!
//! *A lock solves it.* One for each key does, for one key in one process. Ten processes make ten requests,
//! and keys of one age still come together.
//!
//! ## In production
//!
//! Let one ask for each key, and let the flight belong to nobody: if it is dropped with the caller that began
//! it, those who wait must begin again. Give waiters a deadline of their own. Do not store failures for as
//! long as values. Serve what is stale, within a bound, where that is allowed; it also covers an upstream that
//! is down. Jitter every lifetime. After a deployment nothing is in the cache: warm it, or let traffic in
//! slowly. Across machines refresh early by chance, or take a lease at the cache. Watch misses per second, not
//! the hit rate.
//!
//! ## Check yourself
//!
//! - The upstream gets slower under load. What does that do to the herd?
//! - Ten processes have a cache and a lock each. How many requests make the end of one hot key?
//! - Why does β, and not the popularity of the key, decide how many ask early?
//! - Suppose a cache of 1 % of the keys answers a quarter of the requests. What do twice as many entries give?

use std::collections::{BTreeMap, HashMap};

use lab_kit::prelude::*;
use moka::future::Cache;

mod figures;
mod findings;
mod gauges;
mod held;
mod hot;
mod plan;
mod premise;
mod rush;
mod store;

pub use plan::{CacheStampedeLab, Params};
use store::{Got, Key, Value};

// wrong(1): Every miss asks
/// The wrong way: whoever finds nothing fresh asks, however many have asked already.
async fn every_miss_asks(key: &Key) -> Got {
    match key.fresh() {
        Some(value) => Ok(value),
        None => key.ask().await,
    }
}

// right(1): One asks, the others wait
// so(1): Behind the lock everybody looks once more: the value that the one before has fetched is there.
/// One at a time for each key, which is called single flight.
async fn one_asks(key: &Key) -> Got {
    if let Some(value) = key.fresh() {
        return Ok(value);
    }
    let _turn = key.turn.lock().await;
    match key.fresh() {
        Some(value) => Ok(value),
        None => key.ask().await,
    }
}

/// The same by a crate: those who come while one asks wait for it, and get its answer or its error.
async fn by_moka(cache: &Cache<usize, Value>, key: &Key) -> Got {
    cache.try_get_with(key.number, key.ask()).await.map_err(|failed| *failed)
}

/// Early by chance: the nearer the end, the likelier a request asks. Who is answered with an error still has the
/// value that was fresh.
async fn early_by_chance(key: &Key, beta: f64) -> Got {
    let fresh = key.fresh();
    match &fresh {
        Some(value) if value.left() > value.took.mul_f64(beta * -key.random().ln()) => {
            Ok(value.clone())
        }
        _ => key.ask().await.or_else(|failed| fresh.ok_or(failed)),
    }
}

/// The old value meanwhile: one asks in a task of its own, and nobody waits, unless what is there is too old.
async fn stale_meanwhile(key: &Key, grace: Duration) -> Got {
    let Some(value) = key.no_older_than(grace) else {
        return one_asks(key).await;
    };
    if value.left().is_zero()
        && let Ok(turn) = key.turn.clone().try_lock_owned()
        && key.fresh().is_none()
    {
        let key = key.clone();
        tokio::spawn(async move {
            let _ = key.ask().await;
            drop(turn);
        });
    }
    Ok(value)
}

// wrong(2): The same lifetime for all
/// What was stored together expires together.
fn alike(ttl: Duration) -> Duration {
    ttl
}

// right(2): A lifetime for each
// so(2): A lock is for one key. Nothing but their lifetimes keeps many keys apart.
/// Spread by chance over `spread`.
fn jittered(ttl: Duration, spread: Duration, random: f64) -> Duration {
    ttl + spread.mul_f64(random)
}

/// Least recently used: who was asked for longest ago goes first.
#[derive(Default)]
struct Lru {
    most: usize,
    now: u64,
    asked: HashMap<usize, u64>,
    by_age: BTreeMap<u64, usize>,
}

impl Lru {
    /// Whether the key was there. It is from now on.
    fn get(&mut self, key: usize) -> bool {
        self.now += 1;
        let before = self.asked.insert(key, self.now);
        before.map(|at| self.by_age.remove(&at));
        self.by_age.insert(self.now, key);
        if self.asked.len() > self.most
            && let Some((_, oldest)) = self.by_age.pop_first()
        {
            self.asked.remove(&oldest);
        }
        before.is_some()
    }
}

#[cfg(test)]
mod tests;
