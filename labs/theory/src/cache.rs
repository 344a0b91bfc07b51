//! A cache before an upstream: what happens when its values end, and how much of what is asked it holds.
//!
//! [`HotKey`] is one key that is asked at random (Poisson, λ a second), computed in a constant time s and kept for
//! L. [`Early`] is the same with a refresh by chance before the end: XFetch (Vattani, Chierichetti and Lowenstein
//! 2015). [`SameAge`] is many keys that end together. [`Zipf`] is a cache too small for its keys: the hit rate of
//! least recently used by the approximation of Che, Tung and Wang (2002).
//!
//! The formulas of the first three are derived here and held against [`HotKey::watch`] and [`SameAge::watch`],
//! which follow every request in virtual time and know none of them. The paper on XFetch gives the herd of an
//! example, 10 requests a second and a computation of 3 s; its measurements are of traffic that is not published.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use rand::{RngExt, SeedableRng};
use rand_pcg::Pcg64Mcg;

use super::{
    nanos,
    queue::{Admission, Queue},
};

/// Steps of the integrals below, whose integrands are smooth; even, for Simpson's rule.
const STEPS: usize = 2000;

/// Most requests that one simulation follows.
pub const MAX_ASKS: usize = 2_000_000;

/// Most keys of a [`Zipf`].
pub const MAX_KEYS: usize = 1_000_000;

/// Largest herd, as λ·s, or room for which sums are taken; beyond it they are `NaN`.
pub const MAX_HERD: f64 = 1e6;

/// One key, asked at random.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct HotKey {
    /// Requests for the key per second, λ.
    pub rate: f64,
    /// Seconds that computing its value takes, s.
    pub service: f64,
    /// Seconds for which a value is kept, L, from when it was stored.
    pub ttl: f64,
}

impl HotKey {
    /// The mean of those who come while the first one computes, λ·s.
    pub fn beside(&self) -> f64 {
        self.rate * self.service
    }

    /// Mean requests that the upstream gets when the value ends and every miss asks: the first one, and all
    /// who come until its answer, `1 + λ·s`.
    pub fn herd(&self) -> f64 {
        1.0 + self.beside()
    }

    /// The probability that a herd is larger than `room`: `P(1 + N > room)` with a Poisson number N of mean
    /// λ·s. `NaN` beyond [`MAX_HERD`].
    pub fn topples(&self, room: usize) -> f64 {
        let below: f64 = self.herds(room).map(|(_, p)| p).sum();
        if self.is_small(room) { (1.0 - below).clamp(0.0, 1.0) } else { f64::NAN }
    }

    /// Mean requests of a herd for which there is no room: `E[(1 + N − room)⁺]`. `NaN` beyond [`MAX_HERD`].
    pub fn turned_away(&self, room: usize) -> f64 {
        // E[(X − r)⁺] = E[X] − r + E[(r − X)⁺], whose sum is short.
        let spare: f64 = self.herds(room).map(|(n, p)| (room as f64 - n) * p).sum();
        if self.is_small(room) { (self.herd() - room as f64 + spare).max(0.0) } else { f64::NAN }
    }

    fn is_small(&self, room: usize) -> bool {
        (0.0..=MAX_HERD).contains(&self.beside()) && room as f64 <= MAX_HERD
    }

    /// Herds that fit into `room`, each with its probability.
    fn herds(&self, room: usize) -> impl Iterator<Item = (f64, f64)> {
        let mean = self.beside();
        let room = if self.is_small(room) { room } else { 0 };
        let mut log = -mean;
        (1..=room).map(move |n| {
            let p = log.exp();
            log += (mean / n as f64).ln();
            (n as f64, p)
        })
    }

    /// Mean seconds from one request at the upstream to the next where only one asks at a time: the value is
    /// computed, kept, and then missed by the next request, `s + L + 1/λ`.
    pub fn cycle(&self) -> f64 {
        self.service + self.ttl + 1.0 / self.rate
    }

    /// The share of the requests that come while no fresh value is there: the first after the end, and those
    /// who come until its answer, of all of a cycle. Behind a lock they wait; where old values are served
    /// meanwhile they get one.
    pub fn unserved(&self) -> f64 {
        self.herd() / (1.0 + self.rate * (self.service + self.ttl))
    }

    /// Mean seconds that these wait behind a lock: the first one s, the others the rest of it.
    pub fn wait(&self) -> f64 {
        self.service * (1.0 + self.beside() / 2.0) / self.herd()
    }

    /// Follows every request in virtual time, until `ends` values have ended. At most [`MAX_ASKS`] requests.
    pub fn watch(&self, rule: Rule, ends: usize, seed: u64) -> Watched {
        let mut seen = Watched::default();
        let valid = [self.rate, self.service, self.ttl].iter().all(|v| v.is_finite() && *v > 0.0);
        if !valid {
            return seen;
        }
        let mut rng = Pcg64Mcg::seed_from_u64(seed);
        let mut landings: BinaryHeap<Reverse<u64>> = BinaryHeap::new();
        let (mut now, mut expires, mut generation, mut asked_for) = (0.0, self.ttl, 1, 0);
        for _ in 0..MAX_ASKS {
            now += -(1.0 - rng.random::<f64>()).ln() / self.rate;
            while let Some(Reverse(at)) = landings.peek().filter(|at| at.0 <= nanos(now)) {
                expires = *at as f64 / 1e9 + self.ttl;
                generation += 1;
                landings.pop();
            }
            let fresh = now < expires;
            let asks = match rule {
                Rule::Every => !fresh,
                Rule::One => !fresh && landings.is_empty(),
                Rule::Early { beta } => {
                    let ahead = -(1.0 - rng.random::<f64>()).ln() * beta * self.service;
                    now + ahead >= expires
                }
            };
            if asks && asked_for != generation {
                if seen.ends == ends {
                    break;
                }
                asked_for = generation;
                seen.ends += 1;
                seen.ahead_s += (expires - now).max(0.0);
                seen.missed += usize::from(!fresh);
            }
            seen.asked += 1;
            seen.requests += usize::from(asks);
            if !fresh {
                seen.unserved += 1;
                let until = landings.peek().map_or(now + self.service, |at| at.0 as f64 / 1e9);
                seen.wait_s += if rule == Rule::One { until - now } else { self.service };
            }
            if asks {
                landings.push(Reverse(nanos(now + self.service)));
            }
            seen.seconds = now;
        }
        seen
    }
}

/// Who asks the upstream.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Rule {
    /// Whoever finds no fresh value.
    Every,
    /// One at a time; the others wait for its answer, or take the old value.
    One,
    /// Whoever finds none, and others by chance before that.
    Early {
        /// How eager, β.
        beta: f64,
    },
}

/// What [`HotKey::watch`] saw.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Watched {
    /// Values that were asked for anew.
    pub ends: usize,
    /// Requests at the upstream.
    pub requests: usize,
    /// Requests for the key.
    pub asked: usize,
    /// Those that found no fresh value.
    pub unserved: usize,
    /// Values that had ended before anybody asked anew.
    pub missed: usize,
    /// How long before their end values were asked for anew, in all, in seconds.
    pub ahead_s: f64,
    /// How long those waited who found no fresh value, in all, in seconds.
    pub wait_s: f64,
    /// Until the last request for the key.
    pub seconds: f64,
}

/// A hot key that is refreshed early by chance: a request that comes u before the end asks the upstream if
/// `−β·s·ln(rand) ≥ u`, which has the probability `e^(−u/κ)` with `κ = β·s`.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Early {
    /// The key.
    pub key: HotKey,
    /// How eager requests are, β; 1 is what the paper advises.
    pub beta: f64,
}

impl Early {
    /// The scale of chance in seconds, κ = β·s.
    pub fn scale(&self) -> f64 {
        self.beta * self.key.service
    }

    /// The probability that nobody has asked until u seconds before the end: requests that ask come at the
    /// rate `λ·e^(−u/κ)`, so it is `exp(−λκ(e^(−u/κ) − e^(−L/κ)))`.
    pub fn nobody_until(&self, u: f64) -> f64 {
        let scale = self.scale();
        let come = (-u / scale).exp() - (-self.key.ttl / scale).exp();
        (-self.key.rate * scale * come).exp()
    }

    /// The probability that the value ends before anybody asks.
    pub fn missed(&self) -> f64 {
        self.nobody_until(0.0)
    }

    /// Mean seconds before the end at which the first one asks, 0 where nobody does: about
    /// `κ·(ln(λκ) + γ)`, with Euler's constant γ, as it is the largest of many (Gumbel 1935).
    pub fn ahead(&self) -> f64 {
        let reach = self.scale() * (40.0 + (self.key.rate * self.scale()).max(1.0).ln());
        simpson(self.key.ttl.min(reach), |u| 1.0 - self.nobody_until(u))
    }

    /// Mean requests that the upstream gets for each end: the first one, and those of the s that its answer
    /// takes who ask as well. For many requests this is [`Early::requests_of_many`].
    pub fn requests(&self) -> f64 {
        let (come, last) = (self.key.rate * self.scale(), (-self.key.ttl / self.scale()).exp());
        // The requests that would have asked until the first one does are exponential with mean 1: see
        // `nobody_until`.
        let all = come * (1.0 - last);
        let ahead = |y: f64| -self.scale() * (y / come + last).ln();
        let by_chance = simpson(all.min(40.0), |y| (-y).exp() * self.beside(ahead(y).max(0.0)));
        1.0 + by_chance + self.missed() * self.key.beside()
    }

    /// Mean requests for each end where very many requests come: `e^(1/β)`, whatever their rate.
    ///
    /// When the first one asks at u, `X = λκ·e^(−u/κ)` has an exponential distribution of mean 1, and as many
    /// more ask on average as X times `e^(s/κ) − 1`.
    pub fn requests_of_many(beta: f64) -> f64 {
        (1.0 / beta).exp()
    }

    /// Mean requests during the s after a first one u before the end.
    fn beside(&self, u: f64) -> f64 {
        let HotKey { rate, service, .. } = self.key;
        let (scale, before) = (self.scale(), service.min(u));
        let by_chance = rate * scale * ((-(u - before) / scale).exp() - (-u / scale).exp());
        by_chance + rate * (service - before)
    }
}

/// Simpson's rule from 0 to `until`.
fn simpson(until: f64, f: impl Fn(f64) -> f64) -> f64 {
    let step = until / STEPS as f64;
    let weight = |i: usize| match i {
        0 | STEPS => 1.0,
        i if i % 2 == 1 => 4.0,
        _ => 2.0,
    };
    (0..=STEPS).map(|i| weight(i) * f(i as f64 * step)).sum::<f64>() * step / 3.0
}

/// Many keys of the same age, each asked at random, one request at a time for each at an upstream that
/// refuses those for whom it has no room.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct SameAge {
    /// Keys, k.
    pub keys: usize,
    /// Requests per second for each of them.
    pub rate: f64,
    /// Seconds that computing a value takes, s.
    pub service: f64,
    /// Service slots of the upstream, c.
    pub slots: usize,
    /// How many the upstream lets in, slots included, R.
    pub room: usize,
}

impl SameAge {
    /// Seconds until all keys have a value again after they ended together, about: with m of them out, the next
    /// one comes in when a slot is free or when somebody asks, `Σ max(s/c, 1/(m·λ)) + s`.
    pub fn recovery(&self) -> f64 {
        let each = self.service / self.slots.max(1) as f64;
        let busy = self.keys.min(MAX_ASKS);
        (1..=busy).map(|m| each.max(1.0 / (m as f64 * self.rate))).sum::<f64>() + self.service
    }

    /// The same over several seeds: mean refusals for each key, and when the last answer came.
    pub fn rushes(&self, ends: impl Fn(&mut Pcg64Mcg) -> f64, window: f64) -> (f64, f64) {
        // So many that chance is below a percent, and no more work than a claim is worth.
        let asks = (self.rate * window * self.keys as f64).max(1.0);
        let runs = (60_000.0 / asks).clamp(2.0, 60.0) as u64;
        let (mut refused, mut last) = (0.0, 0.0);
        for seed in 0..runs {
            let mut rng = Pcg64Mcg::seed_from_u64(!seed);
            let ends: Vec<f64> = (0..self.keys.min(MAX_ASKS)).map(|_| ends(&mut rng)).collect();
            let rush = self.watch(&ends, window, seed);
            refused += rush.refused as f64 / (ends.len().max(1) as f64 * runs as f64);
            last += rush.last_s / runs as f64;
        }
        (refused, last)
    }

    /// Follows every request in virtual time for `window` seconds from the end of the first values on; the
    /// key i ends at `ends[i]` seconds. Nothing for more than [`MAX_ASKS`] requests.
    pub fn watch(&self, ends: &[f64], window: f64, seed: u64) -> Rush {
        let mut rng = Pcg64Mcg::seed_from_u64(seed);
        let mut asks: Vec<(f64, usize)> = Vec::new();
        let expected = self.rate * window * ends.len() as f64;
        let followed = (0.0..=MAX_ASKS as f64 / 2.0).contains(&expected);
        if self.rate.is_nan() || self.rate <= 0.0 || !followed {
            return Rush::default();
        }
        for key in 0..ends.len() {
            let mut at = 0.0;
            loop {
                at += -(1.0 - rng.random::<f64>()).ln() / self.rate;
                if at >= window {
                    break;
                }
                asks.push((at, key));
            }
        }
        asks.sort_by(|a, b| a.0.total_cmp(&b.0));
        let mut upstream = Queue::new(self.slots, Some(self.room.saturating_sub(self.slots)));
        let mut cold: Vec<bool> = ends.iter().map(|_| true).collect();
        let mut rush = Rush { asked: asks.len(), ..Rush::default() };
        for (at, key) in asks.into_iter().filter(|(at, key)| *at >= ends[*key]) {
            if !cold[key] {
                continue;
            }
            rush.requests += 1;
            match upstream.arrive(nanos(at), nanos(self.service)) {
                Admission::Admitted { finish, .. } => {
                    cold[key] = false;
                    rush.last_s = rush.last_s.max(finish as f64 / 1e9);
                }
                Admission::Refused { .. } => rush.refused += 1,
            }
        }
        rush
    }
}

/// What [`SameAge::watch`] saw.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Rush {
    /// Requests for the keys.
    pub asked: usize,
    /// Requests at the upstream.
    pub requests: usize,
    /// Those it refused.
    pub refused: usize,
    /// When the last answer came, in seconds.
    pub last_s: f64,
}

/// Keys of unequal popularity: the i-th most popular is asked for with a probability in proportion to `i^−α`
/// (Zipf 1949), whatever was asked before.
#[derive(Debug, Clone, PartialEq)]
pub struct Zipf {
    /// Probabilities, largest first.
    popularity: Vec<f64>,
    /// Their sums from the first on.
    up_to: Vec<f64>,
}

impl Zipf {
    /// `keys` of them, 1 to [`MAX_KEYS`], with this exponent α.
    pub fn new(keys: usize, exponent: f64) -> Zipf {
        let weight = |i: usize| (i as f64).powf(-exponent);
        Zipf::of((1..=keys.clamp(1, MAX_KEYS)).map(weight).collect())
    }

    /// With probabilities in proportion to these weights.
    pub fn of(weights: Vec<f64>) -> Zipf {
        let all: f64 = weights.iter().sum();
        let popularity: Vec<f64> = weights.into_iter().map(|w| w / all).collect();
        let sums = popularity.iter().scan(0.0, |sum, p| {
            *sum += p;
            Some(*sum)
        });
        Zipf { up_to: sums.collect(), popularity }
    }

    /// The key that a uniform random number in [0, 1) stands for.
    pub fn key(&self, random: f64) -> usize {
        self.up_to.partition_point(|sum| *sum <= random).min(self.popularity.len() - 1)
    }

    /// Hit rate of least recently used with `size` entries, by the approximation of Che, Tung and Wang
    /// (2002): an entry is evicted when it was not asked for during the last t requests, the same t for all,
    /// with `Σ(1 − e^(−pᵢ·t)) = C`; so the hit rate is `Σ pᵢ·(1 − e^(−pᵢ·t))`.
    pub fn lru(&self, size: usize) -> f64 {
        if size >= self.popularity.len() {
            return 1.0;
        }
        let (c, p) = (size as f64, &self.popularity);
        // Newton's method from the left of a function that is concave: it never passes the root.
        let mut t = c;
        for _ in 0..100 {
            let (held, slope) = p.iter().fold((0.0, 0.0), |(held, slope), p| {
                let out = (-p * t).exp();
                (held + 1.0 - out, slope + p * out)
            });
            let step = (c - held) / slope;
            t += step;
            if step.is_nan() || step.abs() <= 1e-9 * t {
                break;
            }
        }
        p.iter().map(|p| p * (1.0 - (-p * t).exp())).sum()
    }

    /// Hit rate of a cache that knows which `size` keys are the most popular, and holds them: no policy that
    /// does not know the future is better where requests are independent.
    pub fn best(&self, size: usize) -> f64 {
        match size {
            0 => 0.0,
            size => self.up_to.get(size - 1).copied().unwrap_or(1.0),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::num::f64::ANY;
    use proptest::prelude::*;

    const KEY: HotKey = HotKey { rate: 200.0, service: 0.05, ttl: 0.4 };
    const EULER: f64 = 0.577_215_664_901_532_9;

    fn close(measured: f64, theory: f64, share: f64) {
        assert!((measured / theory - 1.0).abs() <= share, "{measured} against {theory}");
    }

    /// The example of Vattani, Chierichetti and Lowenstein 2015, section 1: 10 requests a second, 3 s.
    #[test]
    fn the_example_of_the_paper() {
        let key = HotKey { rate: 10.0, service: 3.0, ttl: 60.0 };
        assert_eq!(key.beside(), 30.0);
        let seen = key.watch(Rule::Every, 2000, 1);
        close(seen.requests as f64 / seen.ends as f64, 31.0, 0.01);
    }

    #[test]
    fn a_herd_is_a_poisson_number_and_one() {
        let seen = KEY.watch(Rule::Every, 20_000, 3);
        close(seen.requests as f64 / seen.ends as f64, KEY.herd(), 0.01);
        // Molina's tables of Poisson's exponential (1942): P(N ≥ 10 | 10) = 0.542070, P(N ≥ 15 | 10) = 0.083458.
        assert!((KEY.topples(10) - 0.542070).abs() < 1e-6, "{}", KEY.topples(10));
        assert!((KEY.topples(15) - 0.083458).abs() < 1e-6);
        // By the definition, term by term.
        let (mut p, mut lost) = ((-10.0f64).exp(), 0.0);
        for n in 0..200 {
            lost += p * (1.0 + f64::from(n) - 9.0).max(0.0);
            p *= 10.0 / f64::from(n + 1);
        }
        close(KEY.turned_away(9), lost, 1e-9);
        assert_eq!((KEY.topples(0), KEY.turned_away(0)), (1.0, 11.0));
    }

    /// A herd that comes at once, or over the time of one computation, is lab03's burst.
    #[test]
    fn what_a_herd_loses_is_what_a_burst_loses() {
        let burst = crate::Burst { n: 21, slots: 3, service: 0.05, queue: Some(6), timeout: 0.175 };
        assert_eq!((burst.refused(), burst.successes(), burst.successes_over(0.0499)), (12, 9, 9));
        let mut rng = Pcg64Mcg::seed_from_u64(1);
        let (mut lost, rounds) = (0, 20_000);
        for _ in 0..rounds {
            let mut n = 1;
            let mut at = 0.0;
            loop {
                at += -(1.0 - rng.random::<f64>()).ln() / KEY.rate;
                if at >= KEY.service {
                    break;
                }
                n += 1;
            }
            lost += crate::Burst { n, ..burst }.refused();
        }
        close(lost as f64 / f64::from(rounds), KEY.turned_away(9), 0.03);
    }

    #[test]
    fn one_asks_and_the_others_wait() {
        let seen = KEY.watch(Rule::One, 20_000, 5);
        assert_eq!(seen.requests, seen.ends);
        close(seen.seconds / seen.ends as f64, KEY.cycle(), 0.002);
        close(seen.unserved as f64 / seen.asked as f64, KEY.unserved(), 0.01);
        close(seen.wait_s / seen.unserved as f64, KEY.wait(), 0.01);
    }

    #[test]
    fn early_refreshes_are_as_many_and_as_early_as_watched() {
        for beta in [0.25, 0.5, 1.0, 2.0] {
            for rate in [20.0, 200.0, 2000.0] {
                let early = Early { key: HotKey { rate, ttl: 2.0, ..KEY }, beta };
                let seen = early.key.watch(Rule::Early { beta }, 4000, 7);
                let ends = seen.ends as f64;
                close(seen.requests as f64 / ends, early.requests(), 0.08);
                close(seen.ahead_s / ends, early.ahead(), 0.06);
                assert!((seen.missed as f64 / ends - early.missed()).abs() < 0.03);
            }
        }
    }

    #[test]
    fn for_many_requests_an_early_refresh_is_gumbels_and_e_requests() {
        let early = |rate, beta| Early { key: HotKey { rate, service: 0.05, ttl: 60.0 }, beta };
        close(early(1e7, 1.0).requests(), std::f64::consts::E, 1e-3);
        close(early(1e7, 0.5).requests(), Early::requests_of_many(0.5), 1e-3);
        let scale = 0.05;
        close(early(1e5, 1.0).ahead(), scale * ((1e5f64 * scale).ln() + EULER), 1e-3);
    }

    #[test]
    fn keys_that_end_together_are_refused_until_the_slots_have_served_them() {
        let all = SameAge { keys: 60, rate: 10.0, service: 0.05, slots: 3, room: 9 };
        // 54 at 1/60 s, the last six when somebody asks: Σ 1/(10·m) = 0.245 s; and 50 ms.
        assert!((all.recovery() - (0.9 + 0.245 + 0.05)).abs() < 1e-9, "{}", all.recovery());
        let together = vec![0.0; 60];
        let (mut refused, mut last) = (0.0, 0.0);
        for seed in 0..200 {
            let rush = all.watch(&together, 2.5, seed);
            assert_eq!(rush.requests - rush.refused, 60);
            refused += rush.refused as f64 / 200.0;
            last += rush.last_s / 200.0;
        }
        // 51, 48, … 3 are out for 50 ms each: 459 in all, asked for at 10/s, and 51 are let in.
        close(refused, 459.0 * 0.5 - 51.0, 0.03);
        close(last, all.recovery(), 0.1);
        let spread: Vec<f64> = (0..60).map(|i| f64::from(i) / 30.0).collect();
        let seen: usize = (0..20).map(|seed| all.watch(&spread, 2.5, seed).refused).sum();
        assert_eq!(seen, 0);
        assert_eq!(SameAge { room: 60, ..all }.watch(&together, 2.5, 1).refused, 0);
    }

    /// The hit rate of least recently used, exactly (King 1971): the cache holds the keys i, j, … in this
    /// order of their last requests with probability `pᵢ · pⱼ/(1 − pᵢ) · …`.
    fn king(p: &[f64], size: usize, held: &mut Vec<usize>, probability: f64) -> f64 {
        let inside: f64 = held.iter().map(|i| p[*i]).sum();
        if held.len() == size {
            return probability * inside;
        }
        let mut hits = 0.0;
        for i in 0..p.len() {
            if !held.contains(&i) {
                held.push(i);
                hits += king(p, size, held, probability * p[i] / (1.0 - inside));
                held.pop();
            }
        }
        hits
    }

    #[test]
    fn che_is_near_what_king_computed_exactly() {
        for exponent in [0.0, 0.6, 0.9, 1.2] {
            let zipf = Zipf::new(9, exponent);
            for size in 1..=5 {
                let exact = king(&zipf.popularity, size, &mut vec![], 1.0);
                let off = (zipf.lru(size) - exact).abs();
                // It is an approximation for many keys; nine are few.
                assert!(off < 0.03, "α = {exponent}, C = {size}: off by {off}");
            }
        }
        // Where all keys are alike every policy holds C of N.
        assert!((Zipf::new(50, 0.0).lru(20) - 0.4).abs() < 1e-9);
    }

    #[test]
    fn che_is_near_a_list_that_moves_to_the_front() {
        let (zipf, mut rng) = (Zipf::new(2000, 0.9), Pcg64Mcg::seed_from_u64(9));
        for size in [20, 200] {
            let mut list: Vec<usize> = Vec::new();
            let (mut hits, requests) = (0, 100_000);
            for i in 0..2 * requests {
                let key = zipf.key(rng.random());
                let found = list.iter().position(|held| *held == key);
                hits += usize::from(i >= requests && found.is_some());
                match found {
                    Some(at) => list[..=at].rotate_right(1),
                    None => {
                        list.insert(0, key);
                        list.truncate(size);
                    }
                }
            }
            let measured = hits as f64 / requests as f64;
            assert!((measured - zipf.lru(size)).abs() < 0.008, "{measured} {}", zipf.lru(size));
            assert!(zipf.best(size) > zipf.lru(size));
        }
    }

    #[test]
    fn keys_are_drawn_as_they_are_popular() {
        let zipf = Zipf::of(vec![3.0, 1.0]);
        assert_eq!([0.0, 0.74, 0.76, 0.999].map(|u| zipf.key(u)), [0, 0, 1, 1]);
        assert_eq!((zipf.best(0), zipf.best(1), zipf.best(5)), (0.0, 0.75, 1.0));
    }

    #[test]
    fn odd_keys_are_not_followed_for_ever() {
        for odd in [0.0, -0.0, -1.0, f64::NAN, f64::INFINITY] {
            assert_eq!(HotKey { rate: odd, ..KEY }.watch(Rule::One, 3, 1), Watched::default());
            let same = SameAge { keys: 2, rate: odd, service: 0.1, slots: 1, room: 1 };
            assert_eq!(same.watch(&[0.0, 0.1], 1.0, 1), Rush::default());
        }
        let endless = HotKey { ttl: 1e300, ..KEY }.watch(Rule::Every, 3, 1);
        assert_eq!((endless.asked, endless.requests), (MAX_ASKS, 0));
    }

    proptest! {
        #[test]
        fn a_larger_cache_hits_more_and_never_more_than_the_best(keys in 2usize..400, exponent in 0f64..2.0, size in 1usize..400) {
            let zipf = Zipf::new(keys, exponent);
            let (one, more) = (zipf.lru(size), zipf.lru(size + 1));
            prop_assert!((0.0..=1.0 + 1e-9).contains(&one) && more >= one - 1e-9);
            prop_assert!(one <= zipf.best(size) + 1e-9, "{one} {}", zipf.best(size));
        }

        #[test]
        fn shares_are_shares(rate in 0.1f64..1e4, service in 1e-3f64..1.0, ttl in 1e-3f64..60.0, beta in 0.01f64..10.0, room in 0usize..200) {
            let key = HotKey { rate, service, ttl };
            let early = Early { key, beta };
            for share in [key.topples(room), key.unserved(), early.missed()] {
                prop_assert!((0.0..=1.0).contains(&share), "{share}");
            }
            prop_assert!(key.turned_away(room) <= key.herd() + 1e-9);
            prop_assert!(key.wait() <= service * (1.0 + 1e-12));
            prop_assert!((1.0 - 1e-9..=key.herd() * 1.01).contains(&early.requests()), "{}", early.requests());
            prop_assert!((0.0..=ttl * (1.0 + 1e-9)).contains(&early.ahead()));
        }

        #[test]
        fn never_panics(rate in ANY, service in ANY, ttl in ANY, beta in ANY, n in 0usize..300, m in any::<usize>()) {
            let key = HotKey { rate, service, ttl };
            let early = Early { key, beta };
            let _ = (key.topples(n), key.turned_away(m), key.wait(), early.requests(), early.ahead());
            let same = SameAge { keys: m, rate, service, slots: n, room: m };
            let _ = (same.recovery(), same.watch(&[0.0, 1.0], 0.1, 1));
            let _ = (Zipf::new(n, rate).lru(m), Zipf::new(n, ttl).key(rate));
        }
    }
}
