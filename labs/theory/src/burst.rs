//! Many requests at once against a fixed number of slots with a constant service time: everything
//! follows by counting waves, without probability.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use crate::queue::{Admission, Queue};

use super::{is_amount, nanos, seconds};

/// The most requests for which [`Burst::limited`] steps through the burst one by one.
pub const MAX_STEPS: usize = 5_000_000;

/// `n` requests that arrive at the same instant.
///
/// The first c go into service, the next K wait, the rest are refused at once. A wave of c answers
/// leaves every s seconds: the i-th admitted request (from 0) is answered at `(⌊i/c⌋ + 1)·s`, in
/// time if that is not later than T. A client that gives up does not free its slot. The answer's
/// way back costs nothing; whoever compares with a measurement adds its overhead.
///
/// A service or timeout that is negative or `NaN` gives no successes and `NaN` times.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Burst {
    /// Requests, n.
    pub n: usize,
    /// Service slots, c; 0 counts as 1, as in the upstream.
    pub slots: usize,
    /// Service time in seconds, s.
    pub service: f64,
    /// Waiting places, K; `None` is room for everybody.
    pub queue: Option<usize>,
    /// How long a client waits for its answer, in seconds, T; may be infinite.
    pub timeout: f64,
}

impl Burst {
    /// Requests that find a slot or a place, `min(n, c + K)`.
    pub fn admitted(&self) -> usize {
        self.n.min(self.capacity())
    }

    /// Requests that are turned away at once, `n − admitted`.
    pub fn refused(&self) -> usize {
        self.n - self.admitted()
    }

    /// Requests answered in time, `min(admitted, c·⌊T/s⌋)`.
    ///
    /// A timeout that is a multiple of the service time counts as just long enough (to one part in
    /// 10⁹, so that 0.3 s holds three times 0.1 s). In practice it is a coin toss: see
    /// [`Burst::margin`].
    pub fn successes(&self) -> usize {
        self.admitted().min(self.in_time())
    }

    /// Requests admitted but not answered in time.
    pub fn timed_out(&self) -> usize {
        self.admitted() - self.successes()
    }

    /// Successes as a share of all n, in `[0, 1]`; `NaN` for an empty burst.
    pub fn success_share(&self) -> f64 {
        self.successes() as f64 / self.n as f64
    }

    /// Seconds until the client has its last answer or has given up: T if anyone times out, else
    /// `⌈admitted/c⌉·s`. Zero for an empty burst.
    pub fn makespan(&self) -> f64 {
        if !self.is_valid() {
            f64::NAN
        } else if self.n == 0 {
            0.0
        } else if self.timed_out() > 0 {
            self.timeout
        } else {
            self.admitted().div_ceil(self.c()) as f64 * self.service
        }
    }

    /// Mean latency of the successes in seconds; `None` without any.
    pub fn mean_latency(&self) -> Option<f64> {
        let successes = self.successes();
        (successes > 0)
            .then(|| sum_of_answers(successes, self.c(), self.service) / successes as f64)
    }

    /// The latency in seconds that a share `p` of the successes does not exceed (nearest rank);
    /// `None` without successes or for `p` outside `[0, 1]`.
    pub fn latency_quantile(&self, p: f64) -> Option<f64> {
        let successes = self.successes();
        if successes == 0 || !(0.0..=1.0).contains(&p) {
            return None;
        }
        let rank = ((p * successes as f64).ceil() as usize).clamp(1, successes);
        Some(rank.div_ceil(self.c()) as f64 * self.service)
    }

    /// Good answers per second, successes/makespan. `NaN` for 0/0; infinite when service takes no
    /// time.
    pub fn goodput(&self) -> f64 {
        self.successes() as f64 / self.makespan()
    }

    /// The same burst when its requests take `spread` seconds to arrive, evenly, as the network and
    /// the server's one thread make them: slots that become free meanwhile make room in a bounded
    /// queue. Timeouts count from each arrival.
    pub fn successes_over(&self, spread: f64) -> usize {
        if !self.is_valid() || !is_amount(spread) || self.n > MAX_STEPS {
            return self.successes();
        }
        let (service, timeout) = (nanos(self.service), nanos(self.timeout));
        let mut server = Queue::new(self.slots, self.queue);
        let gap = spread / self.n.saturating_sub(1).max(1) as f64;
        (0..self.n)
            .filter(|i| {
                let now = nanos(gap * *i as f64);
                matches!(server.arrive(now, service), Admission::Admitted { finish, .. } if finish - now <= timeout)
            })
            .count()
    }

    /// Latencies of steady arrivals, `rate` a second from `1/rate` on, whose clients wait as long as
    /// it takes: (time of arrival after the burst, latency), for `watch` seconds. The burst's own
    /// clients may leave; their requests are worked off all the same.
    ///
    /// On the average they fall in a straight line to the service time within
    /// `backlog/(c/s − λ)`; in detail they step, since slots that were filled together become free
    /// together. Empty for times or rates without meaning, and at most [`MAX_STEPS`] long.
    pub fn aftermath(&self, rate: f64, watch: f64) -> Vec<(f64, f64)> {
        if !self.is_valid() || !is_amount(watch) || rate.is_nan() || rate <= 0.0 {
            return Vec::new();
        }
        let service = nanos(self.service);
        let mut server = Queue::new(self.slots, self.queue);
        for _ in 0..self.n.min(MAX_STEPS) {
            server.arrive(0, service);
        }
        let count = ((rate * watch) as usize).min(MAX_STEPS);
        let mut latency = |i: usize| {
            let at = i as f64 / rate;
            match server.arrive(nanos(at), service) {
                Admission::Admitted { finish, .. } => Some((at, seconds(finish) - at)),
                Admission::Refused { .. } => None,
            }
        };
        (1..=count).filter_map(&mut latency).collect()
    }

    /// Requests per second whatever became of them, n/makespan: what is often called throughput,
    /// and what keeps rising while the service fails. `NaN` and infinity as for [`Burst::goodput`].
    pub fn attempt_rate(&self) -> f64 {
        self.n as f64 / self.makespan()
    }

    /// How far, in seconds, T is from the nearest wave of answers that it decides:
    /// `min |T − k·s|` over the waves `k = 1 … ⌈admitted/c⌉`.
    ///
    /// When this is not well above the lateness of timers and network, whether that wave is in time
    /// is a coin toss, and so is a prediction. Infinite when nothing is to be decided (an empty
    /// burst, an infinite timeout); `NaN` for times that are negative or `NaN`.
    pub fn margin(&self) -> f64 {
        if !self.is_valid() {
            return f64::NAN;
        }
        if self.n == 0 || self.timeout.is_infinite() || self.service.is_infinite() {
            return f64::INFINITY;
        }
        let waves = self.admitted().div_ceil(self.c()) as f64;
        let nearest = if self.service > 0.0 { (self.timeout / self.service).round() } else { 1.0 };
        (self.timeout - nearest.clamp(1.0, waves) * self.service).abs()
    }

    /// The same burst behind a semaphore of `permits` permits in the client: a request is sent when
    /// it holds a permit, its timeout counts from then, and it keeps the permit until it is
    /// answered, refused or gives up.
    ///
    /// While nobody is refused or late, that is for `m ≤ c·⌊T/s⌋` and `m ≤ c + K`, it takes
    /// `⌈n/min(m, c)⌉·s` seconds and all succeed: below c permits the client holds itself back,
    /// above c the server is busy throughout and more permits only move the waiting from the client
    /// into the server. Otherwise the burst is followed request by request in virtual time, because
    /// abandoned work then delays all that follows.
    ///
    /// A semaphore of 0 permits counts as 1. `None` when a time is negative or `NaN` or the service
    /// infinite, or when more than [`MAX_STEPS`] requests would have to be followed.
    pub fn limited(&self, permits: usize) -> Option<Limited> {
        if !self.is_valid() || !self.service.is_finite() {
            return None;
        }
        let permits = permits.max(1);
        let together = permits.min(self.n); // more are never in flight
        if together <= self.in_time() && together <= self.capacity() {
            Some(self.in_waves(permits))
        } else if self.n <= MAX_STEPS {
            Some(self.step_by_step(permits))
        } else {
            None
        }
    }

    fn in_waves(&self, permits: usize) -> Limited {
        let (n, width) = (self.n, permits.min(self.c()));
        let answers = sum_of_answers(n, width, self.service);
        // Whoever is not among the first m starts at the answer of the one m places before.
        let starts = sum_of_answers(n.saturating_sub(permits), width, self.service);
        Limited {
            n,
            permits,
            successes: n,
            timed_out: 0,
            refused: 0,
            makespan: n.div_ceil(width) as f64 * self.service,
            mean_latency: (n > 0).then(|| answers / n as f64),
            mean_attempt: (n > 0).then(|| (answers - starts) / n as f64),
        }
    }

    fn step_by_step(&self, permits: usize) -> Limited {
        let (service, timeout) = (nanos(self.service), nanos(self.timeout));
        let mut server = Queue::new(self.slots, self.queue);
        let mut held: BinaryHeap<Reverse<u64>> = BinaryHeap::new(); // when each permit comes back
        let (mut successes, mut timed_out, mut refused, mut last) = (0, 0, 0, 0);
        let (mut latencies, mut attempts) = (0.0, 0.0);
        for i in 0..self.n {
            let now = if i < permits { 0 } else { held.pop().map_or(0, |Reverse(at)| at) };
            let release = match server.arrive(now, service) {
                Admission::Refused { .. } => {
                    refused += 1;
                    now
                }
                Admission::Admitted { finish, .. } if finish - now <= timeout => {
                    successes += 1;
                    latencies += seconds(finish);
                    attempts += seconds(finish - now);
                    finish
                }
                Admission::Admitted { .. } => {
                    timed_out += 1;
                    now.saturating_add(timeout)
                }
            };
            last = last.max(release);
            held.push(Reverse(release));
        }
        let mean = |sum: f64| (successes > 0).then(|| sum / successes as f64);
        Limited {
            n: self.n,
            permits,
            successes,
            timed_out,
            refused,
            makespan: seconds(last),
            mean_latency: mean(latencies),
            mean_attempt: mean(attempts),
        }
    }

    fn is_valid(&self) -> bool {
        is_amount(self.service) && is_amount(self.timeout)
    }

    fn c(&self) -> usize {
        self.slots.max(1)
    }

    /// How many the server can hold, `c + K`.
    fn capacity(&self) -> usize {
        self.queue.map_or(usize::MAX, |places| self.c().saturating_add(places))
    }

    /// How many could be answered in time if the queue were long enough, `c·⌊T/s⌋`.
    fn in_time(&self) -> usize {
        if !self.is_valid() {
            return 0;
        }
        let waves = if self.service == 0.0 { f64::INFINITY } else { self.timeout / self.service };
        // The conversion saturates, and makes ∞/∞ (an answer that never comes) zero.
        self.c().saturating_mul((waves * (1.0 + 1e-9)) as usize)
    }
}

/// What becomes of a [`Burst`] behind a semaphore in the client: see [`Burst::limited`].
///
/// `n = successes + timed_out + refused`.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Limited {
    /// Requests.
    pub n: usize,
    /// Permits, m.
    pub permits: usize,
    /// Requests answered in time.
    pub successes: usize,
    /// Requests sent whose client gave up.
    pub timed_out: usize,
    /// Requests sent and turned away.
    pub refused: usize,
    /// Seconds until the last permit is given back.
    pub makespan: f64,
    /// Mean seconds from the burst to the answer, over the successes: what a user feels. `None`
    /// without successes.
    pub mean_latency: Option<f64>,
    /// Mean seconds from the permit to the answer, over the successes: what a clock started behind
    /// the semaphore would show. `None` without successes.
    pub mean_attempt: Option<f64>,
}

impl Limited {
    /// Successes as a share of all n, in `[0, 1]`; `NaN` for an empty burst.
    pub fn success_share(&self) -> f64 {
        self.successes as f64 / self.n as f64
    }

    /// Good answers per second, successes/makespan; `NaN` for 0/0.
    pub fn goodput(&self) -> f64 {
        self.successes as f64 / self.makespan
    }
}

/// The sum of the answer times of the first `n` requests when `width` are answered every `service`
/// seconds.
fn sum_of_answers(n: usize, width: usize, service: f64) -> f64 {
    let (waves, rest) = ((n / width) as f64, (n % width) as f64);
    service * (width as f64 * waves * (waves + 1.0) / 2.0 + rest * (waves + 1.0))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::num::f64::ANY;
    use proptest::prelude::*;

    #[test]
    fn the_aftermath_falls_to_the_service_time_when_the_backlog_is_gone() {
        let burst = Burst { n: 488, slots: 50, service: 0.05, queue: None, timeout: 0.325 };
        let after = burst.aftermath(500.0, 1.5);
        let recovered = (488.0 - 50.0) / (1000.0 - 500.0);
        let mean = |from: f64, to: f64| {
            let part: Vec<f64> =
                after.iter().filter(|(at, _)| (from..to).contains(at)).map(|(_, l)| *l).collect();
            part.iter().sum::<f64>() / part.len() as f64
        };
        assert!((mean(recovered + 0.15, 1.5) - 0.05).abs() < 0.01);
        // Half way down, half of the first wait is left; slots in step add half a service time.
        let half = 0.05 + 438.0 / 1000.0 / 2.0;
        let measured = mean(recovered / 2.0 - 0.05, recovered / 2.0 + 0.05);
        assert!((measured - half).abs() < 0.05, "{measured} {half}");
        assert!(burst.aftermath(0.0, 1.0).is_empty() && burst.aftermath(f64::NAN, 1.0).is_empty());
    }

    #[test]
    fn a_slow_arrival_admits_more_into_a_bounded_queue() {
        let burst = Burst { n: 1000, slots: 50, service: 0.05, queue: Some(200), timeout: 0.325 };
        assert_eq!(burst.successes_over(0.0), burst.successes());
        assert_eq!(burst.successes_over(0.049), 250);
        assert!((299..=301).contains(&burst.successes_over(0.075)));
    }

    const UPSTREAM: Burst = Burst { n: 1000, slots: 100, service: 0.1, queue: None, timeout: 0.55 };

    #[test]
    fn half_of_a_thousand() {
        assert_eq!((UPSTREAM.successes(), UPSTREAM.timed_out(), UPSTREAM.refused()), (500, 500, 0));
        assert_eq!(UPSTREAM.makespan(), 0.55);
        assert!((UPSTREAM.margin() - 0.05).abs() < 1e-12);
        assert!((UPSTREAM.mean_latency().unwrap() - 0.3).abs() < 1e-12);
        assert!((UPSTREAM.latency_quantile(0.5).unwrap() - 0.3).abs() < 1e-12);
        assert!((UPSTREAM.latency_quantile(0.0).unwrap() - 0.1).abs() < 1e-12);
        assert!((UPSTREAM.latency_quantile(1.0).unwrap() - 0.5).abs() < 1e-12);
        let bounded = Burst { queue: Some(250), ..UPSTREAM };
        assert_eq!((bounded.successes(), bounded.timed_out(), bounded.refused()), (350, 0, 650));
        assert!((bounded.makespan() - 0.4).abs() < 1e-12);
        assert!((bounded.goodput() - 875.0).abs() < 1e-9);
        assert!((bounded.attempt_rate() - 2500.0).abs() < 1e-9);
    }

    #[test]
    fn the_margin_knows_a_coin_toss() {
        assert!(Burst { timeout: 0.3, ..UPSTREAM }.margin() < 1e-12);
        assert_eq!(Burst { timeout: 0.3, ..UPSTREAM }.successes(), 300);
        // A timeout on a multiple decides nothing when no wave leaves then.
        let one_wave = Burst { n: 80, timeout: 0.3, ..UPSTREAM };
        assert!((one_wave.margin() - 0.2).abs() < 1e-12);
        // The first wave is decided even if it just fits.
        assert!(Burst { n: 100, timeout: 0.101, ..UPSTREAM }.margin() < 0.0011);
        assert_eq!(Burst { timeout: f64::INFINITY, ..UPSTREAM }.margin(), f64::INFINITY);
        assert_eq!(Burst { n: 0, ..UPSTREAM }.margin(), f64::INFINITY);
    }

    #[test]
    fn a_semaphore_turns_collapse_into_waiting() {
        let share = |m| UPSTREAM.limited(m).unwrap().success_share();
        for m in [10, 25, 50, 100, 200, 500] {
            assert_eq!(share(m), 1.0, "{m}");
        }
        assert!(share(501) < 1.0 && share(1000) == 0.5);
        let makespan = |m| UPSTREAM.limited(m).unwrap().makespan;
        assert!((makespan(10) - 10.0).abs() < 1e-9);
        assert!((makespan(100) - 1.0).abs() < 1e-9 && (makespan(500) - 1.0).abs() < 1e-9);
        let hidden = UPSTREAM.limited(10).unwrap();
        assert!((hidden.mean_attempt.unwrap() - 0.1).abs() < 1e-9);
        assert!((hidden.mean_latency.unwrap() - 5.05).abs() < 1e-9);
    }

    #[test]
    fn odd_input() {
        for bad in [-1.0, f64::NAN] {
            for burst in [Burst { service: bad, ..UPSTREAM }, Burst { timeout: bad, ..UPSTREAM }] {
                assert_eq!((burst.successes(), burst.mean_latency()), (0, None));
                assert!(burst.makespan().is_nan() && burst.margin().is_nan());
                assert_eq!(burst.limited(5), None);
            }
        }
        let huge = Burst { n: usize::MAX, slots: usize::MAX, queue: Some(usize::MAX), ..UPSTREAM };
        assert_eq!((huge.successes(), huge.refused()), (usize::MAX, 0));
        assert!(huge.limited(usize::MAX).is_some());
        let long = Burst { n: usize::MAX, ..UPSTREAM };
        assert!(long.limited(100).unwrap().makespan > 1e15 && long.limited(1000).is_none());
        let instant = Burst { service: 0.0, ..UPSTREAM };
        assert_eq!((instant.successes(), instant.goodput()), (1000, f64::INFINITY));
        let never = Burst { service: f64::INFINITY, timeout: f64::INFINITY, ..UPSTREAM };
        assert_eq!((never.successes(), never.makespan()), (0, f64::INFINITY));
        assert_eq!(Burst { slots: 0, ..UPSTREAM }.successes(), 5);
        let empty = Burst { n: 0, ..UPSTREAM };
        assert_eq!((empty.makespan(), empty.limited(3).unwrap().makespan), (0.0, 0.0));
        assert!(empty.goodput().is_nan());
        assert_eq!(UPSTREAM.limited(0).unwrap().makespan, UPSTREAM.limited(1).unwrap().makespan);
        assert_eq!(UPSTREAM.latency_quantile(f64::NAN), None);
    }

    fn bursts() -> impl Strategy<Value = Burst> {
        // Milliseconds, so that seconds and the queue's nanoseconds agree on every tie.
        let times = (1u32..50, 0u32..500);
        (0usize..400, 1usize..60, times, prop::option::of(0usize..300)).prop_map(
            |(n, slots, (service, timeout), queue)| Burst {
                n,
                slots,
                service: f64::from(service) / 1e3,
                queue,
                timeout: f64::from(timeout) / 1e3,
            },
        )
    }

    proptest! {
        #[test]
        fn nothing_is_lost(burst in bursts(), m in 1usize..500) {
            prop_assert_eq!(burst.successes() + burst.timed_out() + burst.refused(), burst.n);
            let limited = burst.limited(m).unwrap();
            prop_assert_eq!(limited.successes + limited.timed_out + limited.refused, burst.n);
            prop_assert!(burst.latency_quantile(1.0).is_none_or(|t| t <= burst.timeout + 1e-9));
            if burst.n > 0 {
                let best = burst.slots as f64 / burst.service;
                let most = best * limited.makespan * (1.0 + 1e-9);
                prop_assert!(limited.successes as f64 <= most, "{limited:?}");
            }
        }

        #[test]
        fn counting_agrees_with_the_queue(burst in bursts()) {
            let mut server = Queue::new(burst.slots, burst.queue);
            let (mut refused, mut latencies, mut end) = (0, vec![], 0u64);
            for _ in 0..burst.n {
                match server.arrive(0, nanos(burst.service)) {
                    Admission::Refused { .. } => refused += 1,
                    Admission::Admitted { finish, .. } => {
                        let left = finish.min(nanos(burst.timeout));
                        end = end.max(left);
                        if finish == left { latencies.push(seconds(finish)) }
                    }
                }
            }
            prop_assert_eq!(burst.refused(), refused);
            prop_assert_eq!(burst.successes(), latencies.len());
            prop_assert!((burst.makespan() - seconds(end)).abs() < 1e-9);
            if let Some(mean) = burst.mean_latency() {
                let sum: f64 = latencies.iter().sum();
                prop_assert!((mean - sum / latencies.len() as f64).abs() < 1e-9);
                let median = latencies[(latencies.len() - 1) / 2];
                prop_assert!((burst.latency_quantile(0.5).unwrap() - median).abs() < 1e-9);
            }
        }

        #[test]
        fn waves_agree_with_stepping(burst in bursts(), m in 1usize..500) {
            let stepped = burst.step_by_step(m);
            let limited = burst.limited(m).unwrap();
            prop_assert_eq!(
                (stepped.successes, stepped.timed_out, stepped.refused),
                (limited.successes, limited.timed_out, limited.refused)
            );
            prop_assert!((stepped.makespan - limited.makespan).abs() < 1e-9);
            let close = |a: Option<f64>, b: Option<f64>| match (a, b) {
                (Some(a), Some(b)) => (a - b).abs() < 1e-9,
                (a, b) => a == b,
            };
            prop_assert!(close(stepped.mean_latency, limited.mean_latency));
            prop_assert!(close(stepped.mean_attempt, limited.mean_attempt));
        }

        #[test]
        fn enough_permits_are_no_limit(burst in bursts()) {
            let limited = burst.limited(burst.n).unwrap();
            prop_assert_eq!(limited.successes, burst.successes());
            prop_assert!((limited.makespan - burst.makespan()).abs() < 1e-9);
        }

        #[test]
        fn never_panics(
            n in prop_oneof![0usize..2000, any::<usize>()], slots in any::<usize>(),
            service in ANY, timeout in ANY, p in ANY,
            queue in any::<Option<usize>>(), m in any::<usize>(),
        ) {
            let burst = Burst { n, slots: slots % 50, service, queue, timeout };
            for burst in [burst, Burst { slots, ..burst }] {
                let _ = (burst.mean_latency(), burst.latency_quantile(p), burst.goodput());
                let _ = (burst.margin(), burst.limited(m), burst.limited(m % 100));
                prop_assert!(burst.successes() <= burst.admitted());
            }
        }
    }
}
