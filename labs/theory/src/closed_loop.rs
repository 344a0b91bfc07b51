//! Clients in a closed loop, in virtual time: each sends again as soon as it has an answer, has
//! been refused or has given up.
//!
//! Where a formula exists it is simple: `N/s` up to `N = c` clients, `c/s` beyond, as long as
//! nobody gives up (the asymptotic bounds of L. Kleinrock, 1976). With timeouts and refusals the
//! past matters, through work done for clients that have left and through who gets the free place,
//! and stepping through the events is the shortest honest prediction. It uses the queue of the mock
//! upstream itself, so prediction and experiment can differ only in what surrounds it.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use crate::queue::{Admission, Queue};

use super::{is_amount, nanos, seconds};

/// The most attempts one prediction steps through; also what the runs of a [`Band`] share.
pub const MAX_ATTEMPTS: u64 = 20_000_000;

/// The most clients simulated.
pub const MAX_CLIENTS: usize = 1_000_000;

/// The shortest time between two attempts of a client, in nanoseconds. No real client is faster,
/// and without it one that is refused at once and does not pause would never let virtual time move.
const SHORTEST_CYCLE: u64 = 1_000;

/// The latencies kept for the median; beyond it an even sample.
const SAMPLE: usize = 1 << 20;

/// N clients in a closed loop against c slots with a constant service time. All times in seconds.
///
/// A client sends; it has its answer when the service ends, plus overhead; if that is later than
/// the timeout it leaves at the timeout, but its slot goes on being worked. A refusal is an answer
/// too, after the overhead; then the client pauses. In every other case it sends again at once (but
/// never sooner than a microsecond after the last time).
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct ClosedLoop {
    /// Clients, N.
    pub clients: usize,
    /// Service slots, c; 0 counts as 1, as in the upstream.
    pub slots: usize,
    /// Service time, s.
    pub service: f64,
    /// Waiting places, K; `None` is room for everybody.
    pub queue: Option<usize>,
    /// How long a client waits for an answer, T; may be infinite.
    pub timeout: f64,
    /// How long a client waits on average after a refusal before it tries again: uniformly between
    /// half and one and a half times this.
    pub pause_after_refusal: f64,
    /// The first clients start evenly spread over this time, client i at `i·ramp/ramped`, the
    /// others at its end.
    pub ramp: f64,
    /// How many clients start during the ramp; 0 counts as 1.
    pub ramped: usize,
    /// Added to the latency of every answer, on the client's side.
    pub overhead: f64,
    /// Each attempt's overhead is `overhead` plus a uniform random time between 0 and this.
    pub jitter: f64,
    /// Attempts that start before this are not counted.
    pub warm_up: f64,
    /// Attempts are counted if they start within this time after the warm-up; then clients stop.
    pub window: f64,
    /// The seed of the jitter and of the order in which simultaneous requests arrive.
    pub seed: u64,
}

/// What a [`ClosedLoop`] gives. Rates are per second, times in seconds.
///
/// `attempts = ok + refused + timed_out`. Every attempt counts in the rates with the part of its
/// time in flight that lies inside the window, so that there are no errors of one request a client
/// at its edges.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Prediction {
    /// Answers in time, per second. Zero if nothing was counted.
    pub goodput: f64,
    /// Attempts per second, whatever became of them. Zero if nothing was counted.
    pub attempt_rate: f64,
    /// Mean time from sending to answer, refusal or giving up; `NaN` if nothing was counted.
    pub mean_attempt_s: f64,
    /// Median latency of the answers in time; `None` without any.
    pub median_ok_s: Option<f64>,
    /// Answers in time as a share of attempts; `NaN` if nothing was counted.
    pub ok_share: f64,
    /// Requests in the server, waiting or in service, when the window ends and the clients stop,
    /// with those whose client has left. Divided by `c/s` it is the time the server needs to
    /// recover.
    pub backlog_at_end: u64,
    /// Attempts counted.
    pub attempts: u64,
    /// Attempts answered in time.
    pub ok: u64,
    /// Attempts refused.
    pub refused: u64,
    /// Attempts given up.
    pub timed_out: u64,
    /// The simulation stopped before the window's end, at [`MAX_ATTEMPTS`] (the figures cover what
    /// was simulated) or because there were more than [`MAX_CLIENTS`] (nothing was).
    pub truncated: bool,
}

/// Several runs of a [`ClosedLoop`] that differ only in their seed.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Band {
    /// The run whose goodput is the median: one real run, so that its figures fit together.
    pub median: Prediction,
    /// Lowest and highest goodput.
    pub goodput: (f64, f64),
    /// Lowest and highest share of answers in time; `NaN` if nothing was counted.
    pub ok_share: (f64, f64),
}

impl ClosedLoop {
    /// Steps through the loop. The same seed gives the same prediction.
    ///
    /// A time that is negative or `NaN` gives an empty prediction: nothing counted.
    pub fn simulate(&self) -> Prediction {
        self.run(MAX_ATTEMPTS)
    }

    /// Simulates `runs` times (at least once, at most 1000) with different seeds: where the band is
    /// wide, the outcome hangs on details that no prediction knows.
    pub fn band(&self, runs: usize) -> Band {
        let runs = runs.clamp(1, 1000) as u64;
        let mut predictions: Vec<_> = (0..runs)
            .map(|i| {
                let seed = self.seed.wrapping_add(i);
                Self { seed, ..*self }.run(MAX_ATTEMPTS / runs)
            })
            .collect();
        predictions.sort_by(|a, b| a.goodput.total_cmp(&b.goodput));
        let range = |of: fn(&Prediction) -> f64| {
            let values = || predictions.iter().map(of);
            (values().fold(f64::NAN, f64::min), values().fold(f64::NAN, f64::max))
        };
        Band {
            median: predictions[(predictions.len() - 1) / 2],
            goodput: range(|p| p.goodput),
            ok_share: range(|p| p.ok_share),
        }
    }

    fn run(&self, max_attempts: u64) -> Prediction {
        let mut tally = Tally::default();
        let times = [
            self.service,
            self.timeout,
            self.pause_after_refusal,
            self.ramp,
            self.overhead,
            self.jitter,
            self.warm_up,
            self.window,
        ];
        let valid = times.iter().all(|&t| is_amount(t));
        if !valid || self.clients > MAX_CLIENTS {
            return tally.prediction(self.window, 0, valid);
        }

        let (service, timeout) = (nanos(self.service), nanos(self.timeout));
        let from = nanos(self.warm_up);
        let until = from.saturating_add(nanos(self.window));
        let mut random = SplitMix(self.seed);
        let mut server = Queue::new(self.slots, self.queue);
        // A random number breaks ties: requests of the same instant arrive in any order, and with a
        // fixed one the same clients would win the last place every time.
        let mut next: BinaryHeap<_> = (0..self.clients)
            .map(|i| {
                let share = i as f64 / self.ramped.max(1) as f64;
                let start = nanos(self.ramp * share.min(1.0));
                Reverse((start, random.next(), i))
            })
            .collect();

        let mut steps = 0;
        let mut stopped_at = None;
        while let Some(Reverse((now, _, i))) = next.pop() {
            if now >= until {
                break; // and so are all others
            }
            if steps == max_attempts {
                stopped_at = Some(now);
                break;
            }
            steps += 1;
            let overhead = nanos(self.overhead + self.jitter * random.uniform());
            let (answer, pause, answered) = match server.arrive(now, service) {
                Admission::Admitted { finish, .. } => (finish - now, 0, Outcome::Ok),
                Admission::Refused { .. } => {
                    let pause = self.pause_after_refusal * (0.5 + random.uniform());
                    (0, nanos(pause), Outcome::Refused)
                }
            };
            let answer = answer.saturating_add(overhead);
            let (took, pause, outcome) = if answer <= timeout {
                (answer, pause, answered)
            } else {
                (timeout, 0, Outcome::TimedOut)
            };
            let end = now.saturating_add(took.saturating_add(pause).max(SHORTEST_CYCLE));
            let gone = now.saturating_add(took.max(1));
            let inside = gone.min(until).saturating_sub(now.max(from));
            tally.add_part(inside as f64 / (gone - now) as f64, outcome);
            if now >= from {
                tally.count(took, outcome);
            }
            next.push(Reverse((end, random.next(), i)));
        }
        let backlog = server.backlog(stopped_at.unwrap_or(until)) as u64;
        tally.prediction(self.window, backlog, stopped_at.is_some())
    }
}

#[derive(Clone, Copy, PartialEq)]
enum Outcome {
    Ok,
    Refused,
    TimedOut,
}

/// What all clients together saw within the window.
struct Tally {
    /// Attempts and answers in time, each with the part of its time in flight inside the window.
    part: f64,
    part_ok: f64,
    ok: u64,
    refused: u64,
    timed_out: u64,
    total_s: f64,
    /// Every `stride`-th latency of an answer in time.
    latencies: Vec<u64>,
    stride: u64,
}

impl Default for Tally {
    fn default() -> Self {
        Self {
            part: 0.0,
            part_ok: 0.0,
            ok: 0,
            refused: 0,
            timed_out: 0,
            total_s: 0.0,
            latencies: Vec::new(),
            stride: 1,
        }
    }
}

impl Tally {
    fn add_part(&mut self, share: f64, outcome: Outcome) {
        self.part += share;
        if outcome == Outcome::Ok {
            self.part_ok += share;
        }
    }

    fn count(&mut self, took: u64, outcome: Outcome) {
        self.total_s += seconds(took);
        match outcome {
            Outcome::Refused => self.refused += 1,
            Outcome::TimedOut => self.timed_out += 1,
            Outcome::Ok => {
                if self.ok.is_multiple_of(self.stride) {
                    self.latencies.push(took);
                }
                self.ok += 1;
                if self.latencies.len() == SAMPLE {
                    let mut odd = false;
                    self.latencies.retain(|_| {
                        odd = !odd;
                        odd
                    });
                    self.stride *= 2;
                }
            }
        }
    }

    fn prediction(mut self, window: f64, backlog_at_end: u64, truncated: bool) -> Prediction {
        let attempts = self.ok + self.refused + self.timed_out;
        let rate = |part: f64| if part > 0.0 { part / window } else { 0.0 };
        let middle = self.latencies.len().saturating_sub(1) / 2;
        let median_ok_s = (!self.latencies.is_empty())
            .then(|| seconds(*self.latencies.select_nth_unstable(middle).1));
        Prediction {
            goodput: rate(self.part_ok),
            attempt_rate: rate(self.part),
            mean_attempt_s: self.total_s / attempts as f64,
            median_ok_s,
            ok_share: self.ok as f64 / attempts as f64,
            backlog_at_end,
            attempts,
            ok: self.ok,
            refused: self.refused,
            timed_out: self.timed_out,
            truncated,
        }
    }
}

/// SplitMix64 (G. L. Steele, D. Lea, C. H. Flood, 2014): small, quick and good enough for jitter.
struct SplitMix(u64);

impl SplitMix {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// Uniform in `[0, 1)`.
    fn uniform(&mut self) -> f64 {
        (self.next() >> 11) as f64 / (1u64 << 53) as f64
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::num::f64::ANY;
    use proptest::prelude::*;

    const UPSTREAM: ClosedLoop = ClosedLoop {
        clients: 50,
        slots: 100,
        service: 0.1,
        queue: None,
        timeout: 0.55,
        pause_after_refusal: 0.0,
        ramp: 0.1,
        ramped: 50,
        overhead: 0.0,
        jitter: 0.0,
        warm_up: 2.0,
        window: 4.0,
        seed: 1,
    };

    #[test]
    fn below_saturation_every_client_has_a_slot() {
        let p = UPSTREAM.simulate();
        assert!((p.goodput - 500.0).abs() < 1e-6, "{p:?}");
        assert_eq!((p.ok_share, p.refused, p.timed_out), (1.0, 0, 0));
        assert_eq!(p.median_ok_s, Some(0.1));
        // Client 0 is answered at the very end of the window, the others are in service.
        assert_eq!(p.backlog_at_end, 49);
        let slower = ClosedLoop { overhead: 0.025, ..UPSTREAM }.simulate();
        assert!((slower.goodput - 400.0).abs() < 1e-6, "{slower:?}");
    }

    #[test]
    fn above_saturation_clients_wait() {
        let p = ClosedLoop { clients: 300, ..UPSTREAM }.simulate();
        assert!((p.goodput / 1000.0 - 1.0).abs() < 0.01, "{p:?}");
        assert_eq!(p.ok_share, 1.0);
        assert!((p.mean_attempt_s - 0.3).abs() < 0.003, "{p:?}");
    }

    #[test]
    fn too_many_clients_collapse_an_unbounded_queue() {
        // c·T/s = 550: beyond it every answer comes after its client has left, and work piles up.
        let p = ClosedLoop { clients: 1100, warm_up: 5.0, ..UPSTREAM }.simulate();
        assert!(p.goodput < 50.0, "{p:?}");
        assert!(p.backlog_at_end > 5_000, "{p:?}");
        // 1100/0.55 = 2000 requests/s come and 1000 are served: 9 s later 9000 are left.
        assert!((p.backlog_at_end as f64 / 9_000.0 - 1.0).abs() < 0.1, "{p:?}");
    }

    #[test]
    fn a_short_queue_keeps_the_server_useful() {
        let bounded = ClosedLoop {
            clients: 1100,
            queue: Some(300),
            pause_after_refusal: 0.05,
            jitter: 0.005,
            ..UPSTREAM
        };
        let p = bounded.simulate();
        assert!((p.goodput / 1000.0 - 1.0).abs() < 0.03, "{p:?}");
        assert!(p.ok_share < 0.5 && p.refused > 0 && p.timed_out == 0, "{p:?}");
        assert!(p.backlog_at_end <= 400);
    }

    #[test]
    fn a_coin_toss_has_a_wide_band() {
        // Places for the last moment: with jitter of the order of the margin luck decides.
        let toss = ClosedLoop { clients: 545, jitter: 0.02, overhead: 0.0, ..UPSTREAM };
        let band = toss.band(8);
        let calm = ClosedLoop { clients: 300, ..toss }.band(8);
        let width = |(low, high): (f64, f64)| high - low;
        assert!(band.goodput.0 <= band.median.goodput && band.median.goodput <= band.goodput.1);
        assert!(width(band.ok_share) > 0.0 && width(calm.ok_share) == 0.0, "{band:?} {calm:?}");
    }

    #[test]
    fn the_same_seed_repeats() {
        let jittery = ClosedLoop { clients: 560, jitter: 0.03, ..UPSTREAM };
        assert_eq!(jittery.simulate(), jittery.simulate());
        assert_ne!(jittery.simulate(), ClosedLoop { seed: 2, ..jittery }.simulate());
    }

    #[test]
    fn odd_input() {
        let nothing = |p: Prediction| p.attempts == 0 && p.goodput == 0.0 && p.ok_share.is_nan();
        for bad in [-1.0, f64::NAN] {
            assert!(nothing(ClosedLoop { service: bad, ..UPSTREAM }.simulate()));
            assert!(nothing(ClosedLoop { ramp: bad, ramped: 1, ..UPSTREAM }.simulate()));
        }
        let crowd = ClosedLoop { clients: usize::MAX, ..UPSTREAM }.simulate();
        assert!(nothing(crowd) && crowd.truncated);
        assert!(nothing(ClosedLoop { clients: 0, ..UPSTREAM }.simulate()));
        assert!(nothing(ClosedLoop { window: 0.0, ..UPSTREAM }.simulate()));
        let stuck = f64::INFINITY;
        let waiting = ClosedLoop { service: stuck, timeout: stuck, ..UPSTREAM }.simulate();
        assert_eq!(waiting.attempts, 0); // sent before the window, never answered
        let endless = ClosedLoop { window: stuck, ..UPSTREAM }.run(1000);
        assert!(endless.truncated && endless.attempts <= 1000);
        // No time passes in service, refusal or pause: still ends.
        let spin = ClosedLoop { service: 0.0, clients: 3, window: 0.01, ..UPSTREAM };
        assert_eq!(spin.simulate().attempts, 30_000);
        let spin = ClosedLoop {
            slots: 0,
            queue: Some(0),
            clients: 2,
            warm_up: 0.0,
            ramp: 0.0,
            ramped: 1,
            window: 0.05,
            ..UPSTREAM
        };
        assert_eq!((spin.simulate().ok, spin.simulate().refused), (1, 50_000));
        assert_eq!(UPSTREAM.band(0).goodput.0, UPSTREAM.simulate().goodput);
    }

    #[test]
    fn the_median_survives_thinning() {
        let mut tally = Tally::default();
        (0..3_000_000).for_each(|i| tally.count(i, Outcome::Ok));
        assert!(tally.latencies.len() < SAMPLE);
        let median = tally.prediction(0.0, 0, false).median_ok_s.unwrap();
        assert!((median / 1.5e-3 - 1.0).abs() < 1e-3, "{median}");
    }

    fn loops() -> impl Strategy<Value = ClosedLoop> {
        let server = (1usize..40, 0.01..0.1f64, prop::option::of(0usize..60));
        let client = (1usize..120, 0.05..1f64, 0.0..0.1f64, 0.0..0.01f64, 0.0..0.01f64);
        (server, client, any::<u64>()).prop_map(
            |((slots, service, queue), (clients, timeout, pause, overhead, jitter), seed)| {
                ClosedLoop {
                    clients,
                    slots,
                    service,
                    queue,
                    timeout,
                    pause_after_refusal: pause.max(0.001),
                    ramp: 0.2,
                    ramped: slots,
                    overhead,
                    jitter,
                    warm_up: 1.0,
                    window: 5.0,
                    seed,
                }
            },
        )
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]

        #[test]
        fn books_balance_and_capacity_holds(system in loops()) {
            let p = system.simulate();
            prop_assert_eq!(p.attempts, p.ok + p.refused + p.timed_out);
            prop_assert!((p.ok_share - p.ok as f64 / p.attempts as f64).abs() < 1e-12);
            let capacity = system.slots as f64 / system.service;
            prop_assert!(p.goodput <= capacity * 1.05, "{capacity} {p:?}");
            prop_assert!(p.goodput <= p.attempt_rate);
            prop_assert!(p.mean_attempt_s <= system.timeout + 1e-9);
            if let Some(places) = system.queue {
                prop_assert!(p.backlog_at_end <= (system.slots + places) as u64);
            }
        }

        #[test]
        fn littles_law(system in loops()) {
            // N = attempt rate × mean cycle: the time of an attempt and the pause after a refusal.
            let p = system.simulate();
            let pause = system.pause_after_refusal * p.refused as f64 / p.attempts as f64;
            let inside = p.attempt_rate * (p.mean_attempt_s + pause);
            prop_assert!((inside / system.clients as f64 - 1.0).abs() < 0.1, "{inside} {p:?}");
        }

        #[test]
        fn each_has_a_slot_below_saturation(system in loops()) {
            let system = ClosedLoop { slots: system.clients, jitter: 0.0, ..system };
            let cycle = system.service + system.overhead;
            let p = system.simulate();
            if cycle < system.timeout - 1e-6 {
                prop_assert!((p.goodput / (system.clients as f64 / cycle) - 1.0).abs() < 1e-6);
                prop_assert_eq!(p.ok_share, 1.0);
            }
        }

        #[test]
        fn never_panics(
            clients in 0usize..200, slots in any::<usize>(), queue in any::<Option<usize>>(),
            times in prop::array::uniform8(prop_oneof![
                4 => 0.0..2f64,
                1 => Just(f64::INFINITY),
                1 => ANY,
            ]),
        ) {
            let [service, timeout, pause_after_refusal, ramp, overhead, jitter, warm_up, window] =
                times;
            let system = ClosedLoop {
                clients,
                slots,
                service,
                queue,
                timeout,
                pause_after_refusal,
                ramp,
                ramped: 1,
                overhead,
                jitter,
                warm_up,
                window,
                seed: 0,
            };
            let p = system.run(2000);
            prop_assert!(p.attempts <= 2000 && p.goodput <= p.attempt_rate);
        }
    }
}
