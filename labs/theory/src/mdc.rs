//! Random arrivals at servers that all take the same time: the queue M/D/c
//! (C. D. Crommelin, 1932; for one server F. Pollaczek, 1930, and A. Y. Khinchine, 1932).

use super::erlang::MMc;

/// The largest number of servers computed; above it results are `NaN`. Every server adds one root
/// of an equation to be found.
pub const MAX_SERVERS: usize = 100_000;

/// The queue M/D/c: Poisson arrivals, constant service, `servers` servers, room for everybody.
///
/// Computed exactly, not by one of the usual approximations. The numbers in the system one service
/// time apart are tied by `X′ = max(X − c, 0) + Poisson(a)` with `a = λ·s`, so their generating
/// function is fixed by the roots `z₁ … z₍c₋₁₎` of `zᶜ = e^(a·(z − 1))` inside the unit circle
/// (Crommelin 1932), from which
///
/// - `L = Σ 1/(1 − zₖ) − ((c − a)² − c) / (2·(c − a))`, the mean number in the system;
/// - `P(no wait) = (c − a) / Π(1 − zₖ)`.
///
/// For one server this is the Pollaczek–Khinchine mean wait `ρ·s/(2·(1 − ρ))`, half of M/M/1's. The
/// two terms of L nearly cancel when load is light: the wait is good to about `10⁻¹⁵·c·s/ρ`
/// absolute.
///
/// Every method returns `NaN` when a rate or time is negative or not finite, when there are no
/// servers or more than [`MAX_SERVERS`]. When `ρ ≥ 1` waits and queues are infinite.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct MDc {
    /// Arrivals per second, λ.
    pub lambda: f64,
    /// Service time in seconds, s.
    pub service: f64,
    /// Servers, c.
    pub servers: usize,
}

impl MDc {
    /// The load asked of each server, `ρ = λ·s/c`; above 1 when more is asked than can be done.
    pub fn utilisation(&self) -> f64 {
        if self.servers > MAX_SERVERS { f64::NAN } else { self.exponential().utilisation() }
    }

    /// The share of arrivals that find a free server. Zero when `ρ ≥ 1`.
    pub fn p_no_wait(&self) -> f64 {
        let rho = self.utilisation();
        if rho.is_nan() {
            return f64::NAN;
        }
        if rho >= 1.0 {
            return 0.0;
        }
        let c = self.servers as f64;
        let log_product = self.sum_over_roots(|re, im| 0.5 * re.hypot(im).powi(2).ln());
        ((c * (1.0 - rho)).ln() - log_product).exp().min(1.0)
    }

    /// Mean wait before service in seconds, those who do not wait included.
    pub fn mean_wait(&self) -> f64 {
        let rho = self.utilisation();
        if rho.is_nan() {
            return f64::NAN;
        }
        if rho >= 1.0 {
            return f64::INFINITY;
        }
        if self.servers == 1 {
            return rho * self.service / (2.0 * (1.0 - rho));
        }
        // A constant service never waits longer than a random one of the same mean: the bound
        // catches what cancellation leaves of waits too small to compute.
        let random = self.exponential().mean_wait();
        if random == 0.0 {
            return 0.0;
        }
        let c = self.servers as f64;
        let a = rho * c;
        let in_system =
            self.sum_over_roots(|re, im| re / (re * re + im * im)) + (c / (c - a) - (c - a)) / 2.0;
        ((in_system - a) / a * self.service).clamp(0.0, random)
    }

    /// Mean time from arrival to the end of service in seconds, wait plus s.
    pub fn mean_sojourn(&self) -> f64 {
        self.mean_wait() + self.service
    }

    /// Mean number waiting, by Little's law `λ·wait`.
    pub fn mean_queue(&self) -> f64 {
        if self.lambda == 0.0 { 0.0 * self.utilisation() } else { self.lambda * self.mean_wait() }
    }

    /// Mean number waiting or in service, the queue plus `a`.
    pub fn mean_in_system(&self) -> f64 {
        self.mean_queue() + self.lambda * self.service
    }

    fn exponential(&self) -> MMc {
        MMc { lambda: self.lambda, service: self.service, servers: self.servers }
    }

    /// Sums `term(Re(1 − z), Im(1 − z))` over the c − 1 roots; the roots come in conjugate pairs
    /// and `term` must not depend on the sign of the imaginary part.
    fn sum_over_roots(&self, term: impl Fn(f64, f64) -> f64) -> f64 {
        let (c, rho) = (self.servers, self.utilisation());
        let mut sum = 0.0;
        for k in 1..=c / 2 {
            let (re, im) = root(std::f64::consts::TAU * k as f64 / c as f64, rho);
            let pair = if 2 * k == c { 1.0 } else { 2.0 };
            sum += pair * term(1.0 - re, im);
        }
        sum
    }
}

/// The solution of `z = e^(i·angle + ρ·(z − 1))` inside the unit circle, one c-th root of
/// Crommelin's equation, by Newton's method; where that would leave the circle, by a step of the
/// map itself, which contracts inside it.
fn root(angle: f64, rho: f64) -> (f64, f64) {
    let (mut x, mut y) = (0.0f64, 0.0f64);
    for _ in 0..200 {
        let size = (rho * (x - 1.0)).exp();
        let (sin, cos) = (angle + rho * y).sin_cos();
        let (u, v) = (size * cos, size * sin);
        // step = (z − w) / (1 − ρ·w), with w the map of z.
        let (fx, fy) = (x - u, y - v);
        let (dx, dy) = (1.0 - rho * u, -rho * v);
        let norm = dx * dx + dy * dy;
        let (sx, sy) = ((fx * dx + fy * dy) / norm, (fy * dx - fx * dy) / norm);
        let (nx, ny) = (x - sx, y - sy);
        (x, y) = if nx * nx + ny * ny <= 1.0 { (nx, ny) } else { (u, v) };
        if sx * sx + sy * sy < 1e-32 {
            break;
        }
    }
    (x, y)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::num::f64::ANY;
    use proptest::prelude::*;

    /// An independent road to the same numbers, F. Spitzer's identity (1956) for the random walk
    /// that every c-th customer sees, with `N ~ Poisson(k·a)`: `E[W]/s = Σₖ P(N ≥ kc) − P(N >
    /// kc)/ρ` and `P(no wait) = exp(−Σₖ P(N ≥ kc)/k)`.
    fn spitzer(c: usize, rho: f64) -> (f64, f64) {
        let a = rho * c as f64;
        let (mut wait, mut log_no_wait) = (0.0, 0.0);
        let mut log_factorial = 0.0;
        for k in 1.. {
            let (first, mean) = (k * c, k as f64 * a);
            log_factorial += ((first - c + 1)..=first).map(|j| (j as f64).ln()).sum::<f64>();
            let mut p = (first as f64 * mean.ln() - mean - log_factorial).exp();
            let at_first = p;
            let mut tail = 0.0;
            for j in first + 1.. {
                tail += p;
                p *= mean / j as f64;
                if p < tail * 1e-17 {
                    break;
                }
            }
            wait += tail - (tail - at_first) / rho;
            log_no_wait -= tail / k as f64;
            if tail < 1e-14 {
                return (wait, log_no_wait.exp());
            }
        }
        unreachable!()
    }

    #[test]
    fn agrees_with_spitzer() {
        for c in [1, 2, 3, 4, 7, 10, 50, 100] {
            for rho in [0.3, 0.5, 0.7, 0.8, 0.9] {
                let (wait, no_wait) = spitzer(c, rho);
                let queue = MDc { lambda: rho * c as f64 / 0.1, service: 0.1, servers: c };
                let found = queue.mean_wait() / 0.1;
                assert!((found - wait).abs() < 1e-10 + 1e-8 * wait, "{c} {rho}: {found} {wait}");
                let found = queue.p_no_wait();
                assert!((found - no_wait).abs() < 1e-10, "{c} {rho}: {found} {no_wait}");
            }
        }
    }

    /// Another one, by brute force: the chain itself, iterated to its steady state.
    #[test]
    fn agrees_with_the_embedded_chain() {
        for (c, a) in [(2usize, 1.6f64), (3, 2.1), (5, 4.5)] {
            let mut arrivals = vec![(-a).exp()];
            (1..60).for_each(|k| arrivals.push(arrivals[k - 1] * a / k as f64));
            let mut p = vec![0.0; 400];
            p[0] = 1.0;
            for _ in 0..2000 {
                let mut next = vec![0.0; 400];
                for (n, share) in p.iter().enumerate().filter(|(_, share)| **share > 1e-18) {
                    for (k, arrive) in arrivals.iter().enumerate() {
                        next[(n.saturating_sub(c) + k).min(399)] += share * arrive;
                    }
                }
                p = next;
            }
            let mean: f64 = p.iter().enumerate().map(|(n, share)| n as f64 * share).sum();
            let queue = MDc { lambda: a, service: 1.0, servers: c };
            assert!((queue.mean_in_system() - mean).abs() < 1e-8, "{c} {a}: {mean}");
            let free: f64 = p[..c].iter().sum();
            assert!((queue.p_no_wait() - free).abs() < 1e-8, "{c} {a}: {free}");
        }
    }

    #[test]
    fn many_servers_are_quick_and_stable() {
        let queue = MDc { lambda: 99_000.0, service: 1.0, servers: MAX_SERVERS };
        assert!((0.0..1e-3).contains(&queue.mean_wait()));
        assert!((queue.p_no_wait() - 1.0).abs() < 0.01);
        let near = MDc { lambda: 999.9, service: 1.0, servers: 1000 };
        // In heavy traffic the wait is half of M/M/c's.
        let ratio = near.mean_wait() / near.exponential().mean_wait();
        assert!((ratio - 0.5).abs() < 0.01, "{ratio}");
    }

    #[test]
    fn odd_input() {
        for bad in [-1.0, f64::NAN, f64::INFINITY] {
            let queue = MDc { lambda: bad, service: 1.0, servers: 2 };
            assert!(queue.mean_wait().is_nan() && queue.p_no_wait().is_nan());
            assert!(queue.mean_queue().is_nan() && queue.mean_in_system().is_nan());
        }
        let none = MDc { lambda: 1.0, service: 1.0, servers: 0 };
        assert!(none.mean_wait().is_nan());
        assert!(MDc { servers: usize::MAX, ..none }.mean_wait().is_nan());
        let over = MDc { servers: 1, ..none };
        assert_eq!((over.mean_wait(), over.p_no_wait()), (f64::INFINITY, 0.0));
        let idle = MDc { lambda: 0.0, service: 1.0, servers: 3 };
        assert_eq!((idle.mean_wait(), idle.mean_queue()), (0.0, 0.0));
        assert!((idle.p_no_wait() - 1.0).abs() < 1e-12);
        let faint = MDc { lambda: 1e-300, service: 1.0, servers: 3 };
        assert!(faint.mean_wait() < 1e-12);
    }

    proptest! {
        #[test]
        fn one_server_is_pollaczek_khinchine(rho in 0.001..0.999f64, s in 1e-3..10f64) {
            let queue = MDc { lambda: rho / s, service: s, servers: 1 };
            let expected = rho * s / (2.0 * (1.0 - rho));
            prop_assert!((queue.mean_wait() / expected - 1.0).abs() < 1e-9);
            prop_assert!((queue.p_no_wait() - (1.0 - rho)).abs() < 1e-9);
        }

        #[test]
        fn constant_service_waits_less_than_random(c in 2usize..60, rho in 0.3..0.995f64) {
            let queue = MDc { lambda: rho * c as f64, service: 1.0, servers: c };
            let ratio = queue.mean_wait() / queue.exponential().mean_wait();
            prop_assert!(queue.exponential().mean_wait() < 1e-7 || (0.49..1.0).contains(&ratio));
            let busier = MDc { lambda: queue.lambda * 1.004, ..queue };
            prop_assert!(busier.mean_wait() >= queue.mean_wait() - 1e-10);
            prop_assert!(busier.p_no_wait() <= queue.p_no_wait() + 1e-10);
        }

        #[test]
        fn never_panics(lambda in ANY, service in ANY, c in 0usize..300) {
            let queue = MDc { lambda, service, servers: c };
            let (wait, free) = (queue.mean_wait(), queue.p_no_wait());
            prop_assert!(wait.is_nan() || wait >= 0.0);
            prop_assert!(free.is_nan() || (0.0..=1.0).contains(&free));
            let _ = queue.mean_in_system();
        }
    }
}
