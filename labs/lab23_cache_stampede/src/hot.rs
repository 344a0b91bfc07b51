//! One key, asked for at random, many times over: each with an upstream and arrivals of its own.

use std::sync::Arc;

use lab_kit::prelude::*;
use mock_server::{Route, Slots};
use moka::future::Cache;
use rand::{RngExt, SeedableRng};
use rand_pcg::Pcg64Mcg;
use tokio::sync::Semaphore;

use super::{
    Params, by_moka, early_by_chance, every_miss_asks, gauges, one_asks, stale_meanwhile,
    store::{Asked, Got, Key, Served, Value},
};

/// How requests treat a value that has expired, or is about to.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Way {
    None,
    Lock,
    Moka,
    Early(f64),
    Stale,
}

impl Way {
    /// Those that let one ask.
    pub(super) const ONES: [Way; 3] = [Way::Lock, Way::Moka, Way::Stale];

    pub(super) fn series(self) -> &'static str {
        match self {
            Way::None => "none",
            Way::Lock => "lock",
            Way::Moka => "moka",
            Way::Early(_) => "early",
            Way::Stale => "stale",
        }
    }
}

/// Several keys under the same conditions.
#[derive(Clone, Copy, Debug)]
pub(super) struct Hot {
    pub(super) way: Way,
    pub(super) keys: usize,
    pub(super) rate: f64,
    pub(super) window: Duration,
    service: Duration,
    ttl: Duration,
    grace: Duration,
}

impl Hot {
    /// As many keys as it takes to see `ends` values end in the window.
    fn new(p: &Params, way: Way, rate: f64, ends: f64) -> Hot {
        let cycle = p.ttl.s() + p.service.s() + 1.0 / rate;
        // Neither the first nor the last one of a key counts, and the first comes late by half of a cycle.
        let of_a_key = (p.window.s() / cycle - 1.5).max(0.5);
        let keys = (ends / of_a_key).ceil().clamp(1.0, MOST_KEYS as f64) as usize;
        let (window, service) = (p.window.duration(), p.service.duration());
        let (ttl, grace) = (p.ttl.duration(), p.grace.duration());
        Hot { way, keys, rate, window, service, ttl, grace }
    }

    /// Every miss asks, at a rate. A Poisson number of mean m scatters by its root: small herds are watched more
    /// often.
    pub(super) fn herd(p: &Params, rate: f64) -> Hot {
        let beside = rate * p.service.s();
        let more = (9.0 * beside / (1.0 + beside).powi(2)).clamp(0.5, 3.0);
        Hot::new(p, Way::None, rate, more * p.expiries as f64)
    }

    /// One asks at a time: the upstream gets the same from all of them.
    pub(super) fn one(p: &Params, way: Way) -> Hot {
        Hot::new(p, way, p.rate, p.expiries as f64)
    }

    /// Early by chance, whose herds scatter by their whole size.
    pub(super) fn early(p: &Params, beta: f64) -> Hot {
        Hot::new(p, Way::Early(beta), p.early_rate, 6.0 * p.expiries as f64)
    }

    /// A share of the keys, for one of so many trials side by side.
    pub(super) fn part(self, of: usize) -> Hot {
        Hot { keys: self.keys.div_ceil(of), ..self }
    }

    /// Requests for the keys, about.
    pub(super) fn asks(&self) -> f64 {
        self.keys as f64 * self.rate * self.window.as_secs_f64()
    }

    /// Over how long keys begin to be asked for, one after another: their values are not to end together.
    pub(super) fn lead(&self) -> Duration {
        (self.ttl + self.service).min(self.window / 2)
    }

    /// When keys are asked for, in order: each from an instant of its own on.
    fn schedule(&self, seed: u64) -> Vec<(Duration, usize)> {
        let mut rng = Pcg64Mcg::seed_from_u64(seed);
        let mut all = Vec::new();
        for key in 0..self.keys {
            let mut at = self.lead().mul_f64(key as f64 / self.keys as f64).as_secs_f64();
            loop {
                at += -(1.0 - rng.random::<f64>()).ln() / self.rate;
                if at >= self.window.as_secs_f64() {
                    break;
                }
                all.push((Duration::from_secs_f64(at), key));
            }
        }
        all.sort();
        all
    }
}

/// Most keys side by side.
const MOST_KEYS: usize = 400;

/// An upstream with slots of its own for each of so many keys.
pub(super) fn spec(p: &Params, keys: usize) -> Spec {
    let service = ServiceTime::Constant(p.service.duration());
    let own = Slots::Own { slots: p.slots, queue: Some(p.places) };
    let route = |key| Route { slots: own, ..Route::new(format!("/{key}"), service.clone()) };
    Spec { routes: (0..keys).map(route).collect(), ..Spec::new(1, service) }
}

/// Runs it, and writes down what came of it.
pub(super) async fn run(r: Recorder, spec: Spec, timeout: Duration, hot: Hot) -> Result<()> {
    let service = r.upstream(spec).await?;
    let client = http::builder().timeout(timeout).build()?;
    r.connect(&client, &service, 2 * hot.keys).await?;
    // Some herds at once.
    let herd = hot.rate * hot.service.as_secs_f64();
    let pool = pool(hot.keys + 4 * herd as usize);
    let key = |i| {
        let url = format!("{}/{i}", service.url());
        Key::new(i, (&client, &pool), url, hot.ttl, own_seed(r.seed(), i))
    };
    let keys: Vec<Key> = (0..hot.keys).map(key).collect();
    let moka = Cache::builder().time_to_live(hot.ttl).build();
    let (due, whose): (Vec<Duration>, Vec<usize>) = hot.schedule(r.seed()).into_iter().unzip();
    let begin = Instant::now();
    let load = r.load();
    let load = load.scheduled(due, |i| {
        let (key, moka) = (keys[whose[i]].clone(), moka.clone());
        async move {
            let at = Instant::now();
            let got = get(hot, &moka, &key).await;
            key.note(at, &got)
        }
    });
    let load = load.await;
    // What was begun for nobody in particular is awaited as well.
    for key in &keys {
        drop(key.turn.lock().await);
    }
    r.gauge(gauge::STARTED_S, (begin - r.origin()).as_secs_f64());
    let mut books = Books::of(begin, hot);
    keys.iter().for_each(|key| books.add(&r, key));
    books.write(&r);
    r.tally(load, &service)
}

/// Connections for so many requests at once, and for some more.
pub(super) fn pool(requests: usize) -> Arc<Semaphore> {
    Arc::new(Semaphore::new(64 + requests))
}

/// A seed for each key of each trial: those of trials are successive numbers.
fn own_seed(trial: u64, key: usize) -> u64 {
    trial.wrapping_add((key as u64 + 1) << 32)
}

async fn get(hot: Hot, moka: &Cache<usize, Value>, key: &Key) -> Got {
    match hot.way {
        Way::None => every_miss_asks(key).await,
        Way::Lock => one_asks(key).await,
        Way::Moka => by_moka(moka, key).await,
        Way::Early(beta) => early_by_chance(key, beta).await,
        Way::Stale => stale_meanwhile(key, hot.grace).await,
    }
}

/// What the keys of a condition did.
struct Books {
    begin: Instant,
    hot: Hot,
    requests: usize,
    ends: usize,
    herd: usize,
    refused: usize,
    toppled: usize,
    ahead_s: f64,
    cycles: usize,
    cycle_s: f64,
    asked: usize,
    waited: usize,
    old: usize,
    wait_s: f64,
    oldest_s: f64,
}

impl Books {
    fn of(begin: Instant, hot: Hot) -> Books {
        Books {
            begin,
            hot,
            requests: 0,
            ends: 0,
            herd: 0,
            refused: 0,
            toppled: 0,
            ahead_s: 0.0,
            cycles: 0,
            cycle_s: 0.0,
            asked: 0,
            waited: 0,
            old: 0,
            wait_s: 0.0,
            oldest_s: 0.0,
        }
    }

    fn add(&mut self, r: &Recorder, key: &Key) {
        let (asked, served) = key.log();
        self.requests += asked.len();
        if key.number == 0 {
            in_flight(r, &asked);
        }
        // Who asked anew for the same value is one herd. The first finds nothing in the cache, and the last one
        // may be cut off by the end of the load.
        let last = self.begin + self.hot.window - 2 * self.hot.service.min(self.hot.window / 2);
        let mut herds: Vec<Vec<Asked>> = Vec::new();
        for one in asked.into_iter().filter(|one| one.saw > 0) {
            // Who missed the value and saw the next one a moment later is still of the herd that misses it.
            let is_late = !matches!(self.hot.way, Way::Early(_))
                && one.expires.is_some_and(|expires| expires > one.start);
            match herds.last_mut().filter(|herd| herd[0].saw == one.saw || is_late) {
                Some(herd) => herd.push(one),
                None => herds.push(vec![one]),
            }
        }
        herds.retain(|herd| herd[0].start < last);
        herds.iter().for_each(|herd| self.herd(herd));
        let (Some(first), Some(last)) = (herds.first(), herds.last()) else {
            return;
        };
        let (from, to) = (first[0].start, last[0].start);
        self.cycles += herds.len() - 1;
        self.cycle_s += (to - from).as_secs_f64();
        served.iter().for_each(|one| self.user(one, from, to));
    }

    fn herd(&mut self, herd: &[Asked]) {
        let refused = herd.iter().filter(|one| one.outcome == Outcome::Rejected).count();
        self.ends += 1;
        self.herd += herd.len();
        self.refused += refused;
        self.toppled += usize::from(refused > 0);
        let ahead = herd[0].expires.map(|at| at.saturating_duration_since(herd[0].start));
        self.ahead_s += ahead.unwrap_or_default().as_secs_f64();
    }

    fn user(&mut self, one: &Served, from: Instant, to: Instant) {
        let Some((stored, expires)) = one.value else {
            return;
        };
        let age = one.at.saturating_duration_since(stored).as_secs_f64();
        self.oldest_s = self.oldest_s.max(age);
        // Who makes the first request at the upstream has come a moment before.
        let moment = Duration::from_micros(500);
        if !(from - moment..to - moment).contains(&one.at) {
            return;
        }
        self.asked += 1;
        self.old += usize::from(one.at >= expires);
        if stored >= one.at {
            self.waited += 1;
            self.wait_s += (one.done - one.at).as_secs_f64();
        }
    }

    fn write(&self, r: &Recorder) {
        let mean = |sum: f64, n: usize| sum / n as f64;
        for (gauge, value) in [
            (gauges::KEYS, self.hot.keys as f64),
            (gauges::REQUESTS, self.requests as f64),
            (gauges::ENDS, self.ends as f64),
            (gauges::HERD, self.herd as f64),
            (gauges::HERD_REFUSED, self.refused as f64),
            (gauges::TOPPLED, self.toppled as f64),
            (gauges::AHEAD_MEAN_S, mean(self.ahead_s, self.ends)),
            (gauges::CYCLE_MEAN_S, mean(self.cycle_s, self.cycles)),
            (gauges::ASKED, self.asked as f64),
            (gauges::WAITED, self.waited as f64),
            (gauges::OLD, self.old as f64),
            (gauges::WAIT_MEAN_S, mean(self.wait_s, self.waited)),
            (gauges::OLDEST_S, self.oldest_s),
        ] {
            r.gauge(gauge, value);
        }
    }
}

/// How many requests of a key are at the upstream, over time.
fn in_flight(r: &Recorder, asked: &[Asked]) {
    let starts = asked.iter().map(|one| (one.start, 1.0));
    let ends = asked.iter().map(|one| (one.end, -1.0));
    let mut steps: Vec<(Instant, f64)> = starts.chain(ends).collect();
    steps.sort_by_key(|(at, _)| *at);
    let mut n = 0.0;
    for (at, step) in steps {
        n += step;
        r.trace("in flight", at, n);
    }
}
