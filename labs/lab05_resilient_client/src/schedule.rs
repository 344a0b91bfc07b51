//! What retries should do: closed formulas, and schedules in virtual time where there are none.

use std::{cmp::Reverse, collections::BinaryHeap};

use lab_kit::stats;

use lab_parts::client::Retries;

/// Share of calls that succeed when each attempt fails with probability `q` and there are at most
/// `n` of them: 1 − qⁿ; all of them without a bound.
pub(super) fn success(q: f64, n: Option<u32>) -> f64 {
    1.0 - n.map_or(0.0, |n| q.powi(n as i32))
}

/// Mean attempts a call: the geometric sum 1 + q + … + qⁿ⁻¹ = (1 − qⁿ)/(1 − q).
pub(super) fn amplification(q: f64, n: Option<u32>) -> f64 {
    success(q, n) / (1.0 - q)
}

/// Standard deviation of the attempts of one call, from P(more than k attempts) = qᵏ:
/// E\[A²\] = Σ (2k + 1) qᵏ over k < n.
pub(super) fn attempts_deviation(q: f64, n: Option<u32>) -> f64 {
    // 2,000 terms leave less than 1e-8 at q = 0.99.
    let terms = 0..n.unwrap_or(2000).min(2000);
    let squares: f64 = terms.map(|k| f64::from(2 * k + 1) * q.powi(k as i32)).sum();
    (squares - amplification(q, n).powi(2)).max(0.0).sqrt()
}

/// Shortest time between two attempts, in seconds: without a wait they still take theirs.
pub(super) const SHORTEST: f64 = 1e-4;

/// Calls and an outage; times in seconds from the outage's beginning.
pub(super) struct Calls {
    /// When each call begins.
    pub starts: Vec<f64>,
    /// How long the outage lasts.
    pub outage: f64,
    /// How long each call may take.
    pub deadline: f64,
}

/// What becomes of them.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Played {
    /// When attempts are sent, ascending.
    pub sent: Vec<f64>,
    /// Attempts sent during the outage, for each call begun in it.
    pub amplification: f64,
    /// Share of the calls begun in the outage that succeed.
    pub success: f64,
}

/// Means over many plays.
#[derive(Clone, Copy, Debug)]
pub(super) struct Expected {
    /// Attempts sent during the outage, for each call begun in it.
    pub amplification: f64,
    /// Share of the calls begun in the outage that succeed.
    pub success: f64,
    /// The most attempts within a window after the outage.
    pub peak: f64,
}

impl Calls {
    /// Plays the calls once: attempts take no time, and exactly those sent during the outage fail.
    pub fn play(&self, retries: Retries, seed: u64) -> Played {
        let mut played = Played::default();
        let (mut calls, mut ok, mut sent) = (0u32, 0u32, 0u32);
        for (i, start) in self.starts.iter().enumerate() {
            let inside = (0.0..self.outage).contains(start);
            calls += u32::from(inside);
            let most = retries.most.map_or(usize::MAX, |most| most as usize);
            let mut delays = retries.backoff.delays(seed.wrapping_add(i as u64)).take(most);
            let mut at = *start;
            loop {
                played.sent.push(at);
                if !(0.0..self.outage).contains(&at) {
                    ok += u32::from(inside);
                    break;
                }
                sent += 1;
                match delays.next() {
                    // Without any wait the deadline would never come: count the attempts' time.
                    Some(delay) => at += delay.as_secs_f64().max(SHORTEST),
                    None => break,
                }
                if at - start >= self.deadline {
                    break;
                }
            }
        }
        played.sent.sort_by(f64::total_cmp);
        played.amplification = f64::from(sent) / f64::from(calls);
        played.success = f64::from(ok) / f64::from(calls);
        played
    }

    /// What becomes of them on average: of many plays where waits are random, of one where they are not.
    /// Peaks are the most attempts within a window of this width.
    pub fn expected(&self, retries: Retries, random: bool, window: f64) -> Expected {
        let seeds = (0..if random { 200u64 } else { 1 }).map(|i| i << 32);
        let played: Vec<Played> = seeds.map(|seed| self.play(retries, seed)).collect();
        let mean = |figure: &dyn Fn(&Played) -> f64| {
            stats::mean(&played.iter().map(figure).collect::<Vec<_>>())
        };
        Expected {
            amplification: mean(&|p| p.amplification),
            success: mean(&|p| p.success),
            peak: mean(&|p| peak(&p.sent, self.outage, window) as f64),
        }
    }
}

/// How long `calls` calls take through `slots` permits when every `nth` attempt fails and is made
/// again after `backoff`; `held` says whether the permit is kept meanwhile. `before` attempts have
/// been counted already. Times in seconds.
///
/// But for the last wave it is N·(A·s + (A − 1)·b)/m with the permit kept and N·A·s/m without,
/// A = nth/(nth − 1).
pub(super) fn makespan(
    calls: usize,
    slots: usize,
    service: f64,
    backoff: f64,
    nth: u64,
    before: u64,
    held: bool,
) -> f64 {
    let nanos = |s: f64| (s * 1e9).round() as u64;
    let (service, backoff) = (nanos(service), nanos(backoff));
    let mut sent = before;
    // (when, order, has a permit): an attempt ends, or a wait does.
    let mut events: BinaryHeap<Reverse<(u64, u64, Event)>> = BinaryHeap::new();
    let (mut order, mut free, mut now) = (0, slots, 0);
    let mut waiting = calls;
    loop {
        while free > 0 && waiting > 0 {
            (free, waiting) = (free - 1, waiting - 1);
            (sent, order) = (sent + 1, order + 1);
            let event = Event::End { fails: sent.is_multiple_of(nth) };
            events.push(Reverse((now + service, order, event)));
        }
        let Some(Reverse((at, _, event))) = events.pop() else {
            return now as f64 / 1e9;
        };
        now = at;
        order += 1;
        match event {
            Event::End { fails: false } => free += 1,
            Event::End { fails: true } => {
                free += usize::from(!held);
                events.push(Reverse((now + backoff, order, Event::Again)));
            }
            Event::Again if held => {
                sent += 1;
                let event = Event::End { fails: sent.is_multiple_of(nth) };
                events.push(Reverse((now + service, order, event)));
            }
            Event::Again => waiting += 1,
        }
    }
}

#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Event {
    End { fails: bool },
    Again,
}

/// The most of ascending `times` that lie in any window of this width, among those from `from` on.
pub(super) fn peak(times: &[f64], from: f64, width: f64) -> usize {
    let times = &times[times.partition_point(|t| *t < from)..];
    let inside = |(i, t): (usize, &f64)| times[i..].partition_point(|u| u - t < width);
    times.iter().enumerate().map(inside).max().unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use lab_parts::client::Backoff;

    #[test]
    fn formulas_agree_with_their_sums() {
        let (q, n) = (0.3f64, Some(4));
        let p: Vec<f64> = (0..4).map(|k| q.powi(k)).collect();
        assert!((amplification(q, n) - p.iter().sum::<f64>()).abs() < 1e-12);
        assert!((success(q, n) - (1.0 - 0.0081)).abs() < 1e-12);
        assert_eq!((success(q, None), success(q, Some(0))), (1.0, 0.0));
        // Geometric: mean 1/(1 − q), variance q/(1 − q)².
        assert!((amplification(q, None) - 1.0 / 0.7).abs() < 1e-12);
        assert!((attempts_deviation(q, None) - q.sqrt() / 0.7).abs() < 1e-9);
        assert_eq!(attempts_deviation(q, Some(1)), 0.0);
    }

    fn herd(n: usize) -> Calls {
        Calls { starts: vec![0.0; n], outage: 1.0, deadline: 10.0 }
    }

    const BASE: Duration = Duration::from_millis(100);

    #[test]
    fn a_herd_without_jitter_comes_back_as_one() {
        // Attempts at 0, 0.1, 0.3, 0.7 and 1.5 s.
        let retries = Retries::up_to(5, Backoff::exponential(BASE));
        let played = herd(50).play(retries, 1);
        assert_eq!((played.amplification, played.success), (4.0, 1.0));
        assert_eq!(peak(&played.sent, 1.0, 0.05), 50);
        let jittered =
            Retries::until_deadline(Backoff::exponential(BASE).capped(8 * BASE).jittered());
        let played = herd(50).play(jittered, 1);
        assert_eq!(played.success, 1.0);
        assert!(peak(&played.sent, 1.0, 0.05) < 25, "{played:?}");
    }

    #[test]
    fn a_fixed_number_of_retries_runs_out_sooner_with_jitter() {
        let backoff = Backoff::exponential(BASE);
        let share = |b| herd(100).expected(Retries::up_to(4, b), true, 0.05).success;
        assert_eq!(share(backoff), 1.0);
        // The waits' mean is 0.75 s, and the outage lasts 1 s.
        assert!(share(backoff.jittered()) < 0.3);
    }

    #[test]
    fn the_deadline_ends_a_call() {
        let calls = Calls { deadline: 0.5, ..herd(1) };
        let played = calls.play(Retries::until_deadline(Backoff::constant(BASE)), 1);
        assert_eq!((played.sent.len(), played.success), (5, 0.0));
        let played = calls.play(Retries::none(), 1);
        assert_eq!((played.amplification, played.success), (1.0, 0.0));
    }

    #[test]
    fn permits_that_sleep_cost_their_back_off() {
        // No failures: waves.
        assert_eq!(makespan(10, 3, 1.0, 9.0, 99, 0, true), 4.0);
        // One slot, attempts 2 and 4 fail: 3 calls take 5 attempts.
        assert_eq!(makespan(3, 1, 1.0, 10.0, 2, 0, true), 25.0);
        // Given back, the first back-off is filled with the other calls' work, as far as there is some.
        assert_eq!(makespan(3, 1, 1.0, 0.5, 2, 0, false), 5.5);
        // Far from its ends it is the formula.
        let (n, m, s, b) = (10_000, 10, 0.01, 0.1);
        let near = |held, formula: f64| {
            let made = makespan(n, m, s, b, 5, 0, held);
            assert!((made / formula - 1.0).abs() < 0.02, "{made} {formula}");
        };
        near(false, n as f64 * 1.25 * s / m as f64);
        near(true, n as f64 * (1.25 * s + 0.25 * b) / m as f64);
    }

    #[test]
    fn peaks_are_counted_over_any_window() {
        let times = [0.0, 0.1, 0.2, 0.24, 0.26, 0.9];
        assert_eq!(peak(&times, 0.0, 0.05), 2);
        assert_eq!(peak(&times, 0.0, 0.1), 3);
        assert_eq!(peak(&times, 0.5, 1.0), 1);
        assert_eq!(peak(&[], 0.0, 1.0), 0);
    }
}
