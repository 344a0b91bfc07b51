//! More comes than can be done: who waits, who is turned away, and what is done in time.
//!
//! Random arrivals (rate λ) and exponential services (mean s) at c servers, as in [`super::erlang`],
//! under the disciplines a server may follow when all are busy: a bounded line, giving up those who
//! have waited too long, newest first. Formulas for the steady state, and [`Discipline::run`] for
//! any given arrivals and services: the same disciplines event by event in virtual time.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, VecDeque};

use super::erlang::{MMc, erlang_b};

/// The most states that [`states`] computes.
pub const MAX_STATES: usize = 1_000_000;

/// Steps of the integrals below, whose integrands are smooth.
const STEPS: usize = 400;

/// Steady state of M/M/c with room for `most` in all: the probabilities of 0, 1, … `most` inside
/// (birth and death equations, Erlang 1917). The list ends early where what is left weighs nothing.
///
/// Empty when the load is negative or not finite, without servers, or beyond [`MAX_STATES`]; an
/// unbounded line is one with so many places that it never fills.
pub fn states(servers: usize, offered_load: f64, most: usize) -> Vec<f64> {
    let valid = offered_load >= 0.0 && offered_load.is_finite();
    if !valid || servers == 0 || most > MAX_STATES {
        return Vec::new();
    }
    let mut weights = vec![1.0];
    let (mut weight, mut sum) = (1.0, 1.0);
    for n in 1..=most {
        weight *= offered_load / n.min(servers) as f64;
        if weight > 1e200 {
            // Only ratios matter.
            weights.iter_mut().for_each(|w| *w *= 1e-200);
            (weight, sum) = (weight * 1e-200, sum * 1e-200);
        }
        weights.push(weight);
        sum += weight;
        if n > servers && offered_load < servers as f64 && weight < 1e-15 * sum {
            break;
        }
    }
    weights.iter_mut().for_each(|w| *w /= sum);
    weights
}

/// M/M/c whose customers leave when their service has not begun after a constant patience: the
/// queue M/M/c+D (Baccelli and Hébuterne 1981). First come, first served. With endless patience it
/// is M/M/c.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Impatient {
    /// Arrivals per second, λ.
    pub lambda: f64,
    /// Mean service time in seconds, s.
    pub service: f64,
    /// Servers, c.
    pub servers: usize,
    /// Longest wait in seconds; infinite for M/M/c.
    pub patience: f64,
}

/// Weights of the offered wait V of [`Impatient`]: nothing to wait for, up to the patience, beyond.
struct Offered {
    idle: f64,
    waiting: f64,
    lost: f64,
    /// Density at v is `scale·e^(−drain·v − shift)`.
    drain: f64,
    shift: f64,
    scale: f64,
}

impl Impatient {
    /// The density of the wait that an arrival finds in front of it follows from counting how often
    /// each level is crossed in both directions (Brill and Posner 1977): it is
    /// `λ·p(c−1)·e^(−(c/s−λ)·v)` up to the patience, and decays with c/s beyond, where nobody joins.
    fn offered(&self) -> Option<Offered> {
        let Impatient { lambda, service, servers, patience } = *self;
        let valid = lambda > 0.0 && service > 0.0 && patience >= 0.0 && servers > 0;
        let below = erlang_b(servers.checked_sub(1)?, lambda * service);
        if !valid || below.is_nan() || !lambda.is_finite() {
            return None;
        }
        let rate = servers as f64 / service;
        let drain = rate - lambda;
        if patience.is_infinite() && drain <= 0.0 {
            return None;
        }
        // In a long overload the weight is all at the far end: count from there.
        let shift = if drain < 0.0 { -drain * patience } else { 0.0 };
        let (body, end) = if patience.is_infinite() {
            (1.0 / drain, 0.0)
        } else {
            let density = |v: f64| (-drain * v - shift).exp();
            let closed = (density(0.0) - density(patience)) / drain;
            let nearly_critical = (drain * patience).abs() < 1e-6;
            let body = if nearly_critical { patience } else { closed };
            (body, density(patience))
        };
        let idle = (-shift).exp() / below;
        let total = idle + lambda * body + lambda * end / rate;
        Some(Offered {
            idle: idle / total,
            waiting: lambda * body / total,
            lost: lambda * end / rate / total,
            drain,
            shift,
            scale: lambda / total,
        })
    }

    /// The share of arrivals that give up. `NaN` for input without meaning and for endless patience
    /// at an endless queue.
    pub fn lost(&self) -> f64 {
        self.offered().map_or(f64::NAN, |o| o.lost)
    }

    /// Mean wait of those served, in seconds; `NaN` as for [`Self::lost`].
    pub fn mean_wait(&self) -> f64 {
        let Some(o) = self.offered() else {
            return f64::NAN;
        };
        let sum = if self.patience.is_infinite() {
            o.waiting / o.drain
        } else {
            o.integral(self.patience, |v| v)
        };
        sum / (1.0 - o.lost)
    }

    /// The share of all arrivals whose service has *ended* within `time` seconds of their arrival.
    /// Zero with endless patience at a load of 1 and more, where nobody is served in time in the
    /// long run; `NaN` for input without meaning.
    pub fn in_time(&self, time: f64) -> f64 {
        let Some(o) = self.offered() else {
            let endless = self.patience.is_infinite() && self.lambda > 0.0;
            return if endless { 0.0 } else { f64::NAN };
        };
        let ends = |left: f64| 1.0 - (-left / self.service).exp();
        o.idle * ends(time) + o.integral(self.patience.min(time), |v| ends(time - v))
    }
}

impl Offered {
    /// Integral of `weight` over the offered waits up to `end`.
    fn integral(&self, end: f64, weight: impl Fn(f64) -> f64) -> f64 {
        let density = |v: f64| self.scale * (-self.drain * v - self.shift).exp();
        simpson(end, |v| density(v) * weight(v))
    }
}

/// The share of all arrivals at an M/M/c with `places` waiting places whose service has ended within
/// `time` seconds, first come first served; who is refused is not. Who finds j others waiting waits
/// for j + 1 departures.
///
/// `NaN` for input without meaning.
pub fn in_time_bounded(queue: &super::MMcK, time: f64) -> f64 {
    let (c, s) = (queue.servers, queue.service);
    let state = states(c, queue.lambda * s, c + queue.places);
    if state.is_empty() || !(s > 0.0 && time >= 0.0) {
        return f64::NAN;
    }
    let free: f64 = state.iter().take(c).sum();
    let waiting = state.iter().skip(c).take(queue.places);
    let served = |(j, p): (usize, &f64)| p * departures_and_service(j + 1, c, time / s);
    free * (1.0 - (-time / s).exp()) + waiting.enumerate().map(served).sum::<f64>()
}

/// `P(E + S ≤ t)`: E the time of n departures from c busy servers, S a service, t in mean services.
fn departures_and_service(n: usize, c: usize, t: f64) -> f64 {
    if c == 1 {
        return at_least(n + 1, t, 0.0);
    }
    // P(E ≤ t) less the part in which the service has not ended; tilting the density of E by e^x
    // leaves that of departures at rate c − 1.
    let tilt = n as f64 * (c as f64 / (c - 1) as f64).ln() - t;
    (at_least(n, c as f64 * t, 0.0) - at_least(n, (c - 1) as f64 * t, tilt)).max(0.0)
}

/// `e^tilt·P(X ≥ n)` for a Poisson X of this mean.
fn at_least(n: usize, mean: f64, tilt: f64) -> f64 {
    if mean <= 0.0 {
        return if n == 0 { tilt.exp() } else { 0.0 };
    }
    let log_factorial: f64 = (1..=n).map(|i| (i as f64).ln()).sum();
    let mut log = n as f64 * mean.ln() - mean - log_factorial + tilt;
    let mut sum = 0.0;
    for i in n + 1.. {
        let term = log.exp();
        sum += term;
        // The terms rise up to the mean and fall beyond.
        if i as f64 > mean && term <= 1e-16 * sum.max(f64::MIN_POSITIVE) {
            break;
        }
        log += (mean / i as f64).ln();
    }
    sum
}

/// The share of all arrivals at an M/M/c that serves the newest first whose service has ended within
/// `time` seconds. Who must wait does so until all who came later have been served: a busy period of
/// one server that is c times as fast (Kleinrock, *Queueing Systems I*, 1975, section 5.8). With more
/// than can be done, some wait for ever, and the others hardly.
pub fn in_time_newest_first(queue: &MMc, time: f64) -> f64 {
    let (lambda, s) = (queue.lambda, queue.service);
    let (busy, rate) = (queue.p_wait(), queue.servers as f64 / s);
    let ends = |left: f64| 1.0 - (-left / s).exp();
    let root = (lambda * rate).sqrt();
    let density = |t: f64| {
        if t == 0.0 {
            return rate;
        }
        let x = 2.0 * t * root;
        (-(lambda + rate - 2.0 * root) * t).exp() * bessel(x) / (t * (lambda / rate).sqrt())
    };
    (1.0 - busy) * ends(time) + busy * simpson(time, |t| density(t) * ends(time - t))
}

/// `e^(−x)·I₁(x)`, the modified Bessel function, by its integral.
fn bessel(x: f64) -> f64 {
    let pi = std::f64::consts::PI;
    // The integrand is narrow for large x: nothing of it lies beyond this angle.
    let end = pi.min(9.0 / x.sqrt());
    let part = |steps: usize| -> f64 {
        let h = end / steps as f64;
        let f = |a: f64| (x * (a.cos() - 1.0)).exp() * a.cos();
        let inner: f64 = (1..steps).map(|i| f(i as f64 * h)).sum();
        h * (inner + 0.5 * (f(0.0) + f(end)))
    };
    part(64) / pi
}

/// Simpson's rule over `[0, end]`, with points that crowd at both ends (Perlin's smootherstep), where
/// the integrands change within a fraction of a service time however long the whole is.
fn simpson(end: f64, f: impl Fn(f64) -> f64) -> f64 {
    let h = 1.0 / STEPS as f64;
    let at = |i: usize| {
        let u = i as f64 * h;
        let v = end * u * u * u * (10.0 + u * (6.0 * u - 15.0));
        f(v) * end * 30.0 * (u * (1.0 - u)).powi(2)
    };
    let inner = (1..STEPS).map(|i| if i % 2 == 1 { 4.0 } else { 2.0 } * at(i));
    h / 3.0 * inner.sum::<f64>()
}

/// What c servers do with those who find all of them busy.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Discipline {
    /// Waiting places; `None` for as many as come.
    pub places: Option<usize>,
    /// Who has waited longer than this many seconds when a server turns to them is not served.
    pub patience: f64,
    /// Serves those who came last first.
    pub newest_first: bool,
}

impl Default for Discipline {
    /// First come, first served, everybody.
    fn default() -> Discipline {
        Discipline { places: None, patience: f64::INFINITY, newest_first: false }
    }
}

/// What became of an arrival in virtual time.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Fate {
    /// Its service began at this instant.
    Served(f64),
    /// There was no place.
    Refused,
    /// Its patience had ended when a server turned to it.
    Dropped,
}

impl Discipline {
    /// What becomes of these arrivals, each an instant and a service time in seconds, instants
    /// ascending: one entry each. Exact for these very arrivals, whatever they are distributed like
    /// (first come first served it is the recursion of Kiefer and Wolfowitz 1955).
    pub fn run(&self, servers: usize, arrivals: &[(f64, f64)]) -> Vec<Fate> {
        let mut fates = vec![Fate::Refused; arrivals.len()];
        let mut busy: BinaryHeap<Reverse<Instant>> = BinaryHeap::new();
        let mut line: VecDeque<usize> = VecDeque::new();
        let ends = arrivals.iter().map(|(at, _)| *at);
        for (i, until) in ends.chain([f64::INFINITY]).enumerate() {
            // Servers that become free before the next arrival turn to the line.
            while busy.peek().is_some_and(|Reverse(end)| end.0 <= until) {
                let Some(Reverse(Instant(free))) = busy.pop() else {
                    break;
                };
                while let Some(next) =
                    if self.newest_first { line.pop_back() } else { line.pop_front() }
                {
                    let (at, service) = arrivals[next];
                    if free - at > self.patience {
                        fates[next] = Fate::Dropped;
                        continue;
                    }
                    fates[next] = Fate::Served(free);
                    busy.push(Reverse(Instant(free + service)));
                    break;
                }
            }
            let Some((at, service)) = arrivals.get(i).copied() else {
                break;
            };
            if busy.len() < servers {
                fates[i] = Fate::Served(at);
                busy.push(Reverse(Instant(at + service)));
            } else if self.places.is_none_or(|k| line.len() < k) {
                line.push_back(i);
            }
        }
        fates
    }
}

/// Seconds with an order.
#[derive(Clone, Copy, PartialEq)]
struct Instant(f64);

impl Eq for Instant {}

impl PartialOrd for Instant {
    fn partial_cmp(&self, other: &Instant) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Instant {
    fn cmp(&self, other: &Instant) -> std::cmp::Ordering {
        self.0.total_cmp(&other.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::MMcK;
    use proptest::prelude::*;
    use rand::{RngExt, SeedableRng};
    use rand_pcg::Pcg64Mcg;

    fn near(a: f64, b: f64, by: f64) {
        assert!((a - b).abs() <= by, "{a} and {b}");
    }

    /// A long random run: (share lost, mean wait of those served, share in time).
    fn long_run(d: Discipline, rho: f64, time: f64) -> (f64, f64, f64) {
        let mut rng = Pcg64Mcg::seed_from_u64(7);
        let mut draw = |mean: f64| -(1.0 - rng.random::<f64>()).ln() * mean;
        let (c, n) = (4, 400_000);
        let mut at = 0.0;
        let gap = 1.0 / (rho * c as f64);
        let arrivals: Vec<(f64, f64)> = (0..n)
            .map(|_| {
                at += draw(gap);
                (at, draw(1.0))
            })
            .collect();
        let fates = d.run(c, &arrivals);
        let (mut served, mut waited, mut good) = (0.0, 0.0, 0.0);
        for ((at, service), fate) in arrivals.iter().zip(&fates) {
            if let Fate::Served(start) = fate {
                served += 1.0;
                waited += start - at;
                good += f64::from(start + service - at <= time);
            }
        }
        let n = n as f64;
        (1.0 - served / n, waited / served, good / n)
    }

    #[test]
    fn a_bounded_line_is_erlangs() {
        for rho in [0.5, 0.95, 1.5] {
            let d = Discipline { places: Some(8), ..Discipline::default() };
            let (lost, wait, good) = long_run(d, rho, 3.0);
            let queue = MMcK { lambda: 4.0 * rho, service: 1.0, servers: 4, places: 8 };
            near(lost, queue.blocking(), 0.006);
            near(wait, queue.mean_wait(), 0.02);
            near(good, in_time_bounded(&queue, 3.0), 0.006);
            let state = states(4, 4.0 * rho, 12);
            near(state[12], queue.blocking(), 1e-12);
        }
    }

    #[test]
    fn one_server_with_a_bounded_line() {
        let queue = MMcK { lambda: 1.3, service: 1.0, servers: 1, places: 3 };
        // By hand: who finds n inside needs n + 1 services; in time means that many by 2.
        let state = states(1, 1.3, 4);
        let tail = |n: usize| {
            let below: f64 = (0..n)
                .scan(1.0, |term, i| {
                    let now = *term;
                    *term *= 2.0 / (i + 1) as f64;
                    Some(now)
                })
                .sum();
            1.0 - below * (-2.0f64).exp()
        };
        let by_hand: f64 = (0..4).map(|n| state[n] * tail(n + 1)).sum();
        near(in_time_bounded(&queue, 2.0), by_hand, 1e-9);
    }

    #[test]
    fn patience_is_that_of_baccelli_and_hebuterne() {
        for (rho, patience) in [(0.5, 1.0), (0.95, 4.5), (1.0, 2.0), (1.5, 4.5), (1.5, 7.5)] {
            let d = Discipline { patience, ..Discipline::default() };
            let (lost, wait, good) = long_run(d, rho, 7.5);
            let queue = Impatient { lambda: 4.0 * rho, service: 1.0, servers: 4, patience };
            near(lost, queue.lost(), 0.005);
            near(wait, queue.mean_wait(), 0.03);
            near(good, queue.in_time(7.5), 0.006);
        }
    }

    #[test]
    fn endless_patience_is_erlangs_queue() {
        let queue = MMc { lambda: 3.2, service: 1.0, servers: 4 };
        let endless = Impatient { lambda: 3.2, service: 1.0, servers: 4, patience: f64::INFINITY };
        near(endless.mean_wait(), queue.mean_wait(), 1e-9);
        near(endless.lost(), 0.0, 0.0);
        near(endless.in_time(1e3), 1.0, 1e-3);
        let overload = Impatient { lambda: 5.0, ..endless };
        assert_eq!(overload.in_time(3.0), 0.0);
    }

    #[test]
    fn newest_first_waits_a_busy_period() {
        for rho in [0.5, 0.95, 1.0, 1.5] {
            let d = Discipline { newest_first: true, ..Discipline::default() };
            // Those of an overload who wait for ever are served in virtual time when it ends.
            let (_, _, good) = long_run(d, rho, 7.5);
            let queue = MMc { lambda: 4.0 * rho, service: 1.0, servers: 4 };
            near(in_time_newest_first(&queue, 7.5), good, 0.006);
        }
    }

    proptest! {
        #[test]
        fn nobody_is_lost_and_nobody_starts_before_arriving(
            gaps in prop::collection::vec((0.0f64..2.0, 0.0f64..3.0), 0..60),
            servers in 1usize..4, places in prop::option::of(0usize..5),
            patience in 0.0f64..4.0, newest_first: bool,
        ) {
            let mut at = 0.0;
            let arrivals: Vec<(f64, f64)> = gaps.iter().map(|(g, s)| { at += g; (at, *s) }).collect();
            let d = Discipline { places, patience, newest_first };
            let fates = d.run(servers, &arrivals);
            prop_assert_eq!(fates.len(), arrivals.len());
            for (i, fate) in fates.iter().enumerate() {
                if let Fate::Served(start) = fate {
                    prop_assert!(*start >= arrivals[i].0 && start - arrivals[i].0 <= patience);
                    // Never more in service than there are servers.
                    let also = fates.iter().zip(&arrivals).filter(|(f, (_, s))| {
                        matches!(f, Fate::Served(b) if b <= start && start < &(b + s))
                    });
                    prop_assert!(also.count() <= servers);
                }
            }
            if places.is_none() {
                prop_assert!(!fates.contains(&Fate::Refused));
            }
        }

        #[test]
        fn shares_are_shares(rho in 0.01f64..5.0, c in 1usize..20, k in 0usize..200, d in 0.0f64..50.0, t in 0.0f64..50.0) {
            let lambda = rho * c as f64;
            let bounded = MMcK { lambda, service: 1.0, servers: c, places: k };
            let impatient = Impatient { lambda, service: 1.0, servers: c, patience: d };
            let newest = MMc { lambda, service: 1.0, servers: c };
            for share in [in_time_bounded(&bounded, t), impatient.lost(), impatient.in_time(t), in_time_newest_first(&newest, t)] {
                prop_assert!((-1e-6..=1.0 + 1e-3).contains(&share), "{share}");
            }
            prop_assert!((states(c, lambda, c + k).iter().sum::<f64>() - 1.0).abs() < 1e-9);
        }
    }
}
