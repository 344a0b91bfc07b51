//! Random arrivals at several servers: the formulas of A. K. Erlang (1917) and the queues built on
//! them (notation after L. Kleinrock, *Queueing Systems I*, 1975).
//!
//! Arrivals are Poisson with rate λ, service times exponential with mean s, and c servers work on
//! one queue. The offered load `a = λ·s` (in erlangs) is the mean number of busy servers if nobody
//! were turned away; `ρ = a/c` is the utilisation asked for.

use super::is_amount;

/// The largest number of servers computed; above it results are `NaN`. The recursion takes one step
/// a server, and this keeps a mistyped number from hanging a report.
pub const MAX_SERVERS: usize = 10_000_000;

/// The most waiting places for which [`MMcK::wait_quantile`] is computed.
pub const MAX_QUANTILE_PLACES: usize = 100_000;

/// Erlang's loss formula: the share of arrivals that find all `servers` busy and leave,
/// `B(c, a) = (aᶜ/c!) / Σₖ₌₀ᶜ aᵏ/k!` (Erlang 1917).
///
/// `offered_load` is `λ·s`. Computed by `B(k) = a·B(k−1) / (k + a·B(k−1))`, which stays within
/// `[0, 1]` where powers and factorials would overflow. `NaN` when the load is negative or not
/// finite, or with more than [`MAX_SERVERS`]. Without servers everyone is lost: 1.
pub fn erlang_b(servers: usize, offered_load: f64) -> f64 {
    if !is_amount(offered_load) || !offered_load.is_finite() || servers > MAX_SERVERS {
        return f64::NAN;
    }
    let mut blocking = 1.0;
    for k in 1..=servers {
        let load = offered_load * blocking;
        blocking = load / (k as f64 + load);
        if blocking == 0.0 {
            break; // underflow: it can only get smaller
        }
    }
    blocking
}

/// Erlang's delay formula: the share of arrivals that must wait when nobody leaves,
/// `C = B / (1 − ρ·(1 − B))` (Erlang 1917).
///
/// Parameters and errors as for [`erlang_b`]. 1 when the load is not below the number of servers:
/// the queue then grows for ever and in the long run everybody waits.
pub fn erlang_c(servers: usize, offered_load: f64) -> f64 {
    let blocking = erlang_b(servers, offered_load);
    if offered_load >= servers as f64 {
        return if blocking.is_nan() { blocking } else { 1.0 };
    }
    blocking / (1.0 - offered_load / servers as f64 * (1.0 - blocking))
}

/// The queue M/M/c: Poisson arrivals, exponential service, `c` servers, room for everybody.
///
/// Every method returns `NaN` when a rate or time is negative or not finite, when there are no
/// servers or more than [`MAX_SERVERS`]. When `ρ ≥ 1` there is no steady state, and waits and
/// queues are infinite.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct MMc {
    /// Arrivals per second, λ.
    pub lambda: f64,
    /// Mean service time in seconds, s.
    pub service: f64,
    /// Servers, c.
    pub servers: usize,
}

impl MMc {
    /// The load asked of each server, `ρ = λ·s/c`; above 1 when more is asked than can be done.
    pub fn utilisation(&self) -> f64 {
        utilisation(self.lambda, self.service, self.servers)
    }

    /// The share of arrivals that wait at all, Erlang's [`erlang_c`].
    pub fn p_wait(&self) -> f64 {
        if self.utilisation().is_nan() {
            return f64::NAN;
        }
        erlang_c(self.servers, self.lambda * self.service)
    }

    /// Mean wait before service in seconds, those who do not wait included: `C·s / (c·(1 − ρ))`.
    pub fn mean_wait(&self) -> f64 {
        let rho = self.utilisation();
        if rho >= 1.0 {
            return f64::INFINITY;
        }
        self.p_wait() * self.service / (self.servers as f64 * (1.0 - rho))
    }

    /// Mean time from arrival to the end of service in seconds, wait plus s.
    pub fn mean_sojourn(&self) -> f64 {
        self.mean_wait() + self.service
    }

    /// Mean number waiting, `C·ρ/(1 − ρ)`.
    pub fn mean_queue(&self) -> f64 {
        let rho = self.utilisation();
        if rho >= 1.0 {
            return f64::INFINITY;
        }
        self.p_wait() * rho / (1.0 - rho)
    }

    /// Mean number waiting or in service, the queue plus `a`.
    pub fn mean_in_system(&self) -> f64 {
        self.mean_queue() + self.lambda * self.service
    }

    /// The wait in seconds that a share `p` of arrivals does not exceed, first come first served:
    /// from `P(W > t) = C·e^(−(c/s − λ)·t)`.
    ///
    /// Zero while `p ≤ 1 − C`; infinite for `p = 1` if anyone waits; `NaN` for `p` outside `[0,
    /// 1]`.
    pub fn wait_quantile(&self, p: f64) -> f64 {
        let waiting = self.p_wait();
        if waiting.is_nan() || !(0.0..=1.0).contains(&p) {
            return f64::NAN;
        }
        if 1.0 - p >= waiting {
            return 0.0;
        }
        if self.utilisation() >= 1.0 {
            return f64::INFINITY;
        }
        (waiting / (1.0 - p)).ln() / (self.servers as f64 / self.service - self.lambda)
    }
}

/// The queue M/M/c/K: as [`MMc`], with `places` waiting places; who finds them full is refused.
///
/// Here K counts the *waiting* places, so `c + K` fit into the system (textbooks often count both).
/// There is a steady state at any load. Every method returns `NaN` when a rate or time is negative
/// or not finite, when there are no servers or more than [`MAX_SERVERS`].
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct MMcK {
    /// Arrivals per second, λ, the refused ones included.
    pub lambda: f64,
    /// Mean service time in seconds, s.
    pub service: f64,
    /// Servers, c.
    pub servers: usize,
    /// Waiting places, K.
    pub places: usize,
}

impl MMcK {
    /// The share of arrivals that are refused: `pₙ` for `n = c + K`.
    ///
    /// From Erlang's B and the geometric tail of the queue: `B·ρᴷ / (1 + B·Σⱼ₌₁ᴷ ρʲ)`.
    pub fn blocking(&self) -> f64 {
        self.steady_state().full
    }

    /// Requests served per second, `λ·(1 − blocking)`.
    pub fn throughput(&self) -> f64 {
        self.lambda * self.steady_state().admitted
    }

    /// The share of the servers that is busy, `throughput·s/c`: at most 1.
    pub fn utilisation(&self) -> f64 {
        utilisation(self.lambda, self.service, self.servers) * self.steady_state().admitted
    }

    /// Mean number waiting.
    pub fn mean_queue(&self) -> f64 {
        self.steady_state().queue
    }

    /// Mean number waiting or in service.
    pub fn mean_in_system(&self) -> f64 {
        self.mean_queue() + self.throughput() * self.service
    }

    /// Mean wait before service, in seconds, of those admitted.
    pub fn mean_wait(&self) -> f64 {
        if self.lambda == 0.0 && !self.mean_queue().is_nan() {
            return 0.0; // the limit: who comes alone does not wait
        }
        self.mean_queue() / self.throughput()
    }

    /// Mean time from admission to the end of service in seconds, of those admitted.
    pub fn mean_sojourn(&self) -> f64 {
        self.mean_wait() + self.service
    }

    /// The wait in seconds that a share `p` of those admitted does not exceed, first come first
    /// served. Who finds j others waiting waits for `j + 1` departures from busy servers.
    ///
    /// Solved by bisection to about nine digits. Infinite for `p = 1` if anyone waits; `NaN` for
    /// `p` outside `[0, 1]` or with more than [`MAX_QUANTILE_PLACES`].
    pub fn wait_quantile(&self, p: f64) -> f64 {
        let state = self.steady_state();
        let too_many = self.places > MAX_QUANTILE_PLACES;
        if state.full.is_nan() || !(0.0..=1.0).contains(&p) || too_many {
            return f64::NAN;
        }
        // at_least[j]: the share of the admitted who find all servers busy and j or more waiting.
        let mut at_least: Vec<f64> = (0..self.places).map(|j| state.waiting(j)).collect();
        let mut sum = 0.0;
        for share in at_least.iter_mut().rev() {
            sum += *share / state.admitted;
            *share = sum;
        }
        if sum <= 1.0 - p || self.service == 0.0 {
            return 0.0;
        }
        if p == 1.0 {
            return f64::INFINITY;
        }
        // P(W > t): fewer departures by then than needed; they are Poisson with mean m = t·c/s.
        let exceeds = |m: f64| -> f64 {
            let mut log_poisson = -m;
            let mut share = 0.0;
            for (i, at_least) in at_least.iter().enumerate() {
                if i > 0 {
                    log_poisson += (m / i as f64).ln();
                }
                share += log_poisson.exp() * at_least;
            }
            share
        };
        let (mut low, mut high) = (0.0, self.places as f64);
        while exceeds(high) > 1.0 - p && high < 1e12 {
            (low, high) = (high, 2.0 * high);
        }
        for _ in 0..40 {
            let middle = 0.5 * (low + high);
            if exceeds(middle) > 1.0 - p { low = middle } else { high = middle }
        }
        0.5 * (low + high) * self.service / self.servers as f64
    }

    fn steady_state(&self) -> SteadyState {
        let rho = utilisation(self.lambda, self.service, self.servers);
        let lost = erlang_b(self.servers, self.lambda * self.service);
        let places = self.places;
        if rho.is_nan() || lost.is_nan() {
            let nan = f64::NAN;
            return SteadyState { rho, places, busy: nan, full: nan, admitted: nan, queue: nan };
        }
        // Weights relative to the largest of the waiting states, so that none overflows: counted
        // from the front of the queue while it tends to be short, from its end when it is full.
        if rho <= 1.0 {
            let Geometric { power, sum, moment } = Geometric::new(rho, places);
            // sum runs over j < K and the total needs 1 ≤ j ≤ K: shift by one factor ρ.
            let busy = lost / (1.0 + lost * rho * sum);
            let full = busy * power;
            let queue = busy * rho * (moment + sum);
            SteadyState { rho, places, busy, full, admitted: 1.0 - full, queue }
        } else {
            let Geometric { power, sum, moment } = Geometric::new(1.0 / rho, places);
            let full = lost / (power + lost * sum);
            // 1 − full is summed from the other states, as under heavy overload the difference
            // would cancel: those below c weigh 1 − B (from the last step of B's recursion), those
            // from c on are ρ⁻¹ … ρ⁻ᴷ of the full one.
            let c = self.servers as f64;
            let load =
                self.lambda * self.service * erlang_b(self.servers - 1, self.lambda * self.service);
            let idle = c / (c + load) * power / (power + lost * sum);
            let admitted = idle + full * sum / rho;
            let queue = full * (places as f64 * sum - moment);
            SteadyState { rho, places, busy: full * power, full, admitted, queue }
        }
    }
}

/// What the methods of [`MMcK`] need to know of its steady state.
struct SteadyState {
    rho: f64,
    places: usize,
    /// Probability that all servers are busy and nobody waits.
    busy: f64,
    /// Probability that all servers and places are taken.
    full: f64,
    /// 1 − full.
    admitted: f64,
    /// Mean number waiting.
    queue: f64,
}

impl SteadyState {
    /// Probability that all servers are busy and j ≤ K wait.
    fn waiting(&self, j: usize) -> f64 {
        if self.rho <= 1.0 {
            self.busy * self.rho.powf(j as f64)
        } else {
            self.full * self.rho.powf(-((self.places - j) as f64))
        }
    }
}

/// `xⁿ`, `Σⱼ₌₀ⁿ⁻¹ xʲ` and `Σⱼ₌₀ⁿ⁻¹ j·xʲ` for `0 ≤ x ≤ 1`.
///
/// Built by doubling from sums of positive terms: quick for any n, and exact at and near x = 1,
/// where the closed forms divide zero by zero.
struct Geometric {
    power: f64,
    sum: f64,
    moment: f64,
}

impl Geometric {
    fn new(x: f64, n: usize) -> Self {
        let mut total = Self { power: 1.0, sum: 0.0, moment: 0.0 };
        let mut length = 0.0; // terms in total
        let mut block = Self { power: x, sum: 1.0, moment: 0.0 };
        let mut block_length = 1.0;
        let mut bits = n;
        while bits > 0 {
            if bits & 1 == 1 {
                total = total.then(&block, length);
                length += block_length;
            }
            block = block.then(&block, block_length);
            block_length *= 2.0;
            bits >>= 1;
        }
        total
    }

    /// The sums over the terms of `self` (`length` of them) followed by those of `next`.
    fn then(&self, next: &Self, length: f64) -> Self {
        Self {
            power: self.power * next.power,
            sum: self.sum + self.power * next.sum,
            moment: self.moment + self.power * (next.moment + length * next.sum),
        }
    }
}

fn utilisation(lambda: f64, service: f64, servers: usize) -> f64 {
    let load = lambda * service;
    let valid = is_amount(lambda) && is_amount(service) && load.is_finite() && servers > 0;
    if valid && servers <= MAX_SERVERS { load / servers as f64 } else { f64::NAN }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::num::f64::ANY;
    use proptest::prelude::*;

    fn close(a: f64, b: f64, relative: f64) -> bool {
        a == b || (a - b).abs() <= relative * a.abs().max(b.abs())
    }

    #[test]
    fn published_values() {
        assert!((erlang_b(1, 1.0) - 0.5).abs() < 1e-15);
        assert!((erlang_b(2, 1.0) - 0.2).abs() < 1e-15);
        assert!((erlang_b(3, 2.0) - 4.0 / 19.0).abs() < 1e-15);
        // Tables of Erlang B: 5 erlangs on 10 trunks; 1 % loss at 4.461 on 10 and at 84.06 on 100.
        assert!((erlang_b(10, 5.0) - 0.0184).abs() < 5e-5);
        assert!((erlang_b(10, 4.461) - 0.01).abs() < 1e-5);
        assert!((erlang_b(100, 84.06) - 0.01).abs() < 1e-5);
        assert!((erlang_c(2, 1.0) - 1.0 / 3.0).abs() < 1e-15);
        assert!((erlang_c(3, 2.0) - 4.0 / 9.0).abs() < 1e-15);
    }

    #[test]
    fn thousands_of_servers_stay_stable() {
        // At a = c, B ≈ √(2/(π·c)) for large c (Stirling).
        let b = erlang_b(1_000_000, 1e6);
        assert!(close(b, (2.0 / (std::f64::consts::PI * 1e6)).sqrt(), 1e-3), "{b}");
        assert_eq!(erlang_b(MAX_SERVERS, 1.0), 0.0);
        let queue = MMc { lambda: 4950.0, service: 1.0, servers: 5000 };
        assert!(queue.mean_wait() > 0.0 && queue.mean_wait() < 0.1);
    }

    #[test]
    fn two_servers_by_hand() {
        // λ = 1, s = 1, c = 2: L = 2ρ/(1 − ρ²) = 4/3.
        let queue = MMc { lambda: 1.0, service: 1.0, servers: 2 };
        assert!(close(queue.mean_in_system(), 4.0 / 3.0, 1e-12));
        assert!(close(queue.mean_wait(), 1.0 / 3.0, 1e-12));
        // One server, one place, ρ = 1: three states equally likely.
        let small = MMcK { lambda: 2.0, service: 0.5, servers: 1, places: 1 };
        assert!(close(small.blocking(), 1.0 / 3.0, 1e-12));
        assert!(close(small.mean_queue(), 1.0 / 3.0, 1e-12));
        assert!(close(small.mean_wait(), 0.25, 1e-12));
    }

    #[test]
    fn odd_input() {
        for bad in [-1.0, f64::NAN, f64::INFINITY] {
            assert!(erlang_b(1, bad).is_nan() && erlang_c(1, bad).is_nan());
            let queue = MMc { lambda: bad, service: 1.0, servers: 1 };
            assert!(queue.p_wait().is_nan() && queue.mean_in_system().is_nan());
            let bounded = MMcK { lambda: 1.0, service: bad, servers: 1, places: 1 };
            assert!(bounded.blocking().is_nan() && bounded.mean_wait().is_nan());
        }
        assert!(erlang_b(usize::MAX, 1.0).is_nan());
        let none = MMc { lambda: 1.0, service: 1.0, servers: 0 };
        assert!(none.utilisation().is_nan() && none.mean_wait().is_nan());
        let idle = MMcK { lambda: 0.0, service: 1.0, servers: 2, places: 3 };
        assert_eq!((idle.mean_wait(), idle.wait_quantile(0.99), idle.blocking()), (0.0, 0.0, 0.0));
        let swamped = MMcK { lambda: 1e300, service: 1e3, servers: 7, places: usize::MAX };
        assert!(close(swamped.blocking(), 1.0, 1e-9));
        assert!(swamped.wait_quantile(0.5).is_nan());
        let over = MMc { lambda: 3.0, service: 1.0, servers: 2 };
        assert_eq!((over.mean_wait(), over.wait_quantile(0.5)), (f64::INFINITY, f64::INFINITY));
        let instant = MMc { lambda: 3.0, service: 0.0, servers: 2 };
        assert_eq!((instant.mean_wait(), instant.wait_quantile(1.0)), (0.0, 0.0));
    }

    /// The steady state by the balance equations alone, state by state.
    fn birth_death(queue: &MMcK) -> Vec<f64> {
        let mut logs = vec![0.0f64];
        for n in 1..=queue.servers + queue.places {
            let deaths = n.min(queue.servers) as f64 / queue.service;
            logs.push(logs[n - 1] + (queue.lambda / deaths).ln());
        }
        let top = logs.iter().copied().fold(f64::MIN, f64::max);
        let total: f64 = logs.iter().map(|l| (l - top).exp()).sum();
        logs.iter().map(|l| (l - top).exp() / total).collect()
    }

    proptest! {
        #[test]
        fn loss_is_a_probability_that_falls_with_servers(c in 0usize..500, a in 0.0..500f64) {
            let (b, next) = (erlang_b(c, a), erlang_b(c + 1, a));
            prop_assert!((0.0..=1.0).contains(&b));
            prop_assert!(next <= b && (a == 0.0 || b == 0.0 || next < b));
            prop_assert!(erlang_c(c, a) >= b && erlang_c(c, a) <= 1.0);
        }

        #[test]
        fn one_server(rho in 0.001..0.999f64, s in 1e-3..10f64, p in 0.0..0.9999f64) {
            let queue = MMc { lambda: rho / s, service: s, servers: 1 };
            prop_assert!(close(queue.p_wait(), rho, 1e-9));
            prop_assert!(close(queue.mean_sojourn(), s / (1.0 - rho), 1e-9));
            prop_assert!(close(queue.mean_in_system(), rho / (1.0 - rho), 1e-9));
            let t = queue.wait_quantile(p);
            let exceeds = rho * (-(1.0 - rho) * t / s).exp();
            let expected = if t > 0.0 { 1.0 - p } else { exceeds.min(1.0 - p) };
            prop_assert!(close(exceeds, expected, 1e-9), "{exceeds} {expected}");
        }

        #[test]
        fn little_holds(c in 1usize..200, rho in 0.01..0.99f64, s in 1e-3..10f64) {
            let lambda = rho * c as f64 / s;
            let queue = MMc { lambda, service: s, servers: c };
            prop_assert!(close(queue.mean_queue(), lambda * queue.mean_wait(), 1e-9));
            prop_assert!(close(queue.mean_in_system(), lambda * queue.mean_sojourn(), 1e-9));
        }

        #[test]
        fn bounded_agrees_with_its_balance_equations(
            c in 1usize..40, places in 0usize..60, rho in 0.05..3.0f64, s in 0.01..10f64,
        ) {
            let queue = MMcK { lambda: rho * c as f64 / s, service: s, servers: c, places };
            let p = birth_death(&queue);
            let mean = |f: &dyn Fn(usize) -> usize| -> f64 {
                p.iter().enumerate().map(|(n, p)| f(n) as f64 * p).sum()
            };
            prop_assert!(close(queue.blocking(), p[c + places], 1e-8));
            prop_assert!(close(queue.mean_in_system(), mean(&|n| n), 1e-8));
            prop_assert!(close(queue.mean_queue(), mean(&|n| n.saturating_sub(c)), 1e-8));
            prop_assert!(close(queue.utilisation() * c as f64, mean(&|n| n.min(c)), 1e-8));
            // Little, with the wait of the admitted from the states they find.
            let found: f64 = (0..places).map(|j| p[c + j] * (j + 1) as f64 * s / c as f64).sum();
            prop_assert!(close(queue.mean_wait(), found / (1.0 - p[c + places]), 1e-7));
        }

        #[test]
        fn with_one_place_the_wait_is_exponential(
            c in 1usize..20, rho in 0.1..5.0f64, s in 0.01..10f64, p in 0.0..0.999f64,
        ) {
            let queue = MMcK { lambda: rho * c as f64 / s, service: s, servers: c, places: 1 };
            let states = birth_death(&queue);
            let waiting = states[c] / (1.0 - states[c + 1]);
            let expected = (waiting / (1.0 - p)).ln().max(0.0) * s / c as f64;
            let found = queue.wait_quantile(p);
            prop_assert!((found - expected).abs() < 1e-8 * s, "{found} {expected}");
        }

        #[test]
        fn bounded_lies_between_loss_and_delay(
            c in 1usize..50, rho in 0.05..0.95f64, p in 0.0..0.999f64,
        ) {
            let (lambda, service) = (rho * c as f64, 1.0);
            let loss = MMcK { lambda, service, servers: c, places: 0 };
            prop_assert!(close(loss.blocking(), erlang_b(c, lambda), 1e-12));
            prop_assert_eq!(loss.wait_quantile(p), 0.0);
            let roomy = MMcK { places: 2000, ..loss };
            let open = MMc { lambda, service, servers: c };
            prop_assert!(close(roomy.mean_wait(), open.mean_wait(), 1e-6));
            prop_assert!(close(roomy.mean_in_system(), open.mean_in_system(), 1e-6));
            let (bounded, unbounded) = (roomy.wait_quantile(p), open.wait_quantile(p));
            let difference = (bounded - unbounded).abs();
            prop_assert!(difference < 1e-5 * (unbounded + 0.01), "{bounded} {unbounded}");
        }

        #[test]
        fn near_saturation_nothing_cancels(places in 1usize..100_000, d in -1e-7..1e-7f64) {
            // At ρ = 1 exactly all waiting states weigh the same.
            let at = MMcK { lambda: 3.0, service: 1.0, servers: 3, places };
            let b = erlang_b(3, 3.0);
            let exact = b / (1.0 + b * places as f64);
            prop_assert!(close(at.blocking(), exact, 1e-9));
            let beside = MMcK { lambda: 3.0 * (1.0 + d / places as f64), ..at };
            prop_assert!(close(beside.blocking(), exact, 1e-6));
            prop_assert!(close(beside.mean_queue(), at.mean_queue(), 1e-6));
        }

        #[test]
        fn never_panics(
            lambda in ANY, service in ANY, p in ANY,
            c in 0usize..1000, k in any::<usize>(),
        ) {
            let queue = MMcK { lambda, service, servers: c, places: k };
            let b = queue.blocking();
            prop_assert!(b.is_nan() || (0.0..=1.0).contains(&b));
            let _ = (queue.mean_wait(), queue.mean_in_system(), queue.wait_quantile(p));
            let open = MMc { lambda, service, servers: c };
            let _ = (open.mean_wait(), open.mean_in_system(), open.wait_quantile(p));
        }
    }
}
