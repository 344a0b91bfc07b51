//! How many a second: quotas, the limiters that keep to them, and what becomes of limits of another kind.
//!
//! Rates are per second, times in seconds, unless a name says otherwise.

use std::{fmt, str::FromStr};

use crate::service::{ParseError, number};

/// The most a [`Quota`] may allow a second.
pub const MAX_PER_S: f64 = 1e6;
/// The largest [`Quota::burst`] allowed.
pub const MAX_BURST: u32 = 1_000_000;

/// So many a second, and so many at once after a pause: what is admitted in any time `t` is at most
/// `per_s·t + burst`.
///
/// As text `100:20`: 100 a second, and 20 at once.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Quota {
    /// R: how many a second in the long run, above 0 and up to [`MAX_PER_S`].
    pub per_s: f64,
    /// b: how many at once, after a pause of at least `burst / per_s`; 1 to [`MAX_BURST`].
    pub burst: u32,
}

impl Quota {
    /// Checks both fields against what they allow.
    ///
    /// # Errors
    /// The one that is not allowed, and what would be.
    pub fn check(&self) -> Result<(), ParseError> {
        if !(self.per_s > 0.0 && self.per_s <= MAX_PER_S) {
            return Err(ParseError::new(format!(
                "a quota of {} a second is not allowed: more than 0 and up to {MAX_PER_S} is",
                self.per_s
            )));
        }
        if !(1..=MAX_BURST).contains(&self.burst) {
            return Err(ParseError::new(format!(
                "a burst of {} is not allowed: 1 to {MAX_BURST} is",
                self.burst
            )));
        }
        Ok(())
    }

    /// The time in which one more is allowed, in nanoseconds, rounded up: never more than the quota.
    fn gap(&self) -> u64 {
        (1e9 / self.per_s).ceil().clamp(1.0, 1e18) as u64
    }
}

impl fmt::Display for Quota {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.per_s, self.burst)
    }
}

impl FromStr for Quota {
    type Err = ParseError;

    fn from_str(text: &str) -> Result<Self, ParseError> {
        let (per_s, burst) = text.split_once(':').ok_or_else(|| {
            ParseError::new(format!(
                "`{text}` is no quota: write it as 100:20, for 100 a second and 20 at once"
            ))
        })?;
        let quota = Quota { per_s: number(per_s)?, burst: number(burst)? };
        quota.check().map(|()| quota)
    }
}

/// A bucket of tokens in virtual time: it holds up to `burst`, gains `per_s` a second, and each request takes one.
///
/// Kept as the instant at which the bucket would be full again (the generic cell rate algorithm, ITU-T I.371,
/// 1996), in whole nanoseconds: there is nothing to refill, and nothing is lost by rounding.
///
/// ```
/// use lab_theory::rate::{Bucket, Quota};
///
/// let mut bucket = Bucket::new(Quota { per_s: 100.0, burst: 2 });
/// assert_eq!([bucket.take(0), bucket.take(0)], [Ok(()), Ok(())]);
/// // The next token comes after 10 ms.
/// assert_eq!(bucket.take(0), Err(10_000_000));
/// assert_eq!(bucket.take(10_000_000), Ok(()));
/// ```
#[derive(Debug, Clone)]
pub struct Bucket {
    gap: u64,
    /// How far ahead of now `full` may lie for one more token to be there.
    ahead: u64,
    /// When the bucket is full again, if nothing is taken.
    full: u64,
    now: u64,
}

impl Bucket {
    /// A full bucket.
    #[must_use]
    pub fn new(quota: Quota) -> Self {
        let gap = quota.gap();
        let ahead = gap.saturating_mul(u64::from(quota.burst.max(1)) - 1);
        Self { gap, ahead, full: 0, now: 0 }
    }

    /// Takes a token at an instant, in nanoseconds. Instants never run backwards: one that is earlier than the
    /// latest seen counts as the latest seen.
    ///
    /// # Errors
    /// The instant of the next token, when there is none now.
    pub fn take(&mut self, now: u64) -> Result<(), u64> {
        self.now = self.now.max(now);
        let next = self.full.saturating_sub(self.ahead);
        if next > self.now {
            return Err(next);
        }
        self.full = self.full.max(self.now).saturating_add(self.gap);
        Ok(())
    }
}

/// The smallest bucket that would have let all of these through at `per_s`: the most by which the count from any
/// of the instants (seconds, ascending) to any later one exceeds what the rate allows in between. 0 of none.
#[must_use]
pub fn burst_of(instants: &[f64], per_s: f64) -> f64 {
    let (mut level, mut most, mut before) = (0.0_f64, 0.0_f64, f64::NEG_INFINITY);
    for at in instants {
        let drained = if before.is_finite() { per_s * (at - before) } else { f64::INFINITY };
        level = (level - drained).max(0.0) + 1.0;
        most = most.max(level);
        before = *at;
    }
    most
}

/// The most of these instants (seconds, ascending) that lie within a time `within`, which does not contain its end.
#[must_use]
pub fn most_within(instants: &[f64], within: f64) -> usize {
    let mut from = 0;
    let counts = instants.iter().enumerate().map(|(i, at)| {
        while instants[from] <= at - within {
            from += 1;
        }
        i + 1 - from
    });
    counts.max().unwrap_or(0)
}

/// At most `permits` requests in flight, each of which takes `takes` seconds, before a service that admits `quota_per_s`;
/// whoever is refused keeps its permit, waits `pause` seconds on average and asks again. There is always
/// somebody who waits for a permit.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct InFlight {
    /// m.
    pub permits: f64,
    /// W.
    pub takes: f64,
    /// R.
    pub quota_per_s: f64,
    /// p.
    pub pause: f64,
}

impl InFlight {
    /// Requests admitted per second: `min(R, m/W)`. Little's law (1961) for the permits while the quota lasts.
    #[must_use]
    pub fn goodput(&self) -> f64 {
        self.quota_per_s.min(self.permits / self.takes)
    }

    /// How long it takes to use up `burst` requests that the service had saved, in seconds: infinite where the permits
    /// do not ask for more than the quota.
    #[must_use]
    pub fn uses_up(&self, burst: f64) -> f64 {
        let more = self.permits / self.takes - self.quota_per_s;
        if more > 0.0 { burst / more } else { f64::INFINITY }
    }

    /// Requests refused per second: of `m` permits `R·W` are held by requests that are being served, and every
    /// other one is refused once in each pause: `(m − R·W)/p`, or none. Little's law (1961) for those that pause.
    #[must_use]
    pub fn refusals(&self) -> f64 {
        (self.permits - self.quota_per_s * self.takes).max(0.0) / self.pause
    }
}

/// Requests admitted per second when a client counts up to `quota_per_s·window` in each window of `window` seconds
/// and sends them as soon as it begins: all at once, so that no more are admitted than the service's bucket holds.
#[must_use]
pub fn fixed_window(quota: Quota, window: f64) -> f64 {
    let sent = (quota.per_s * window).floor();
    sent.min(f64::from(quota.burst)) / window
}

/// A rate that grows by `gain` a second each second and is cut to `back` of itself at every refusal, before a quota
/// whose bucket is large enough never to be full: a saw whose mean is the quota, since what is above is what had been
/// saved below (additive increase, multiplicative decrease: Chiu and Jain 1989).
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Saw {
    /// R.
    pub quota_per_s: f64,
    /// What the rate gains, per second and second.
    pub gain: f64,
    /// What a refusal leaves of it, between 0 and 1.
    pub back: f64,
}

impl Saw {
    /// The rate at which it is refused: from `back·peak` to `peak` its mean is R.
    #[must_use]
    pub fn peak(&self) -> f64 {
        2.0 * self.quota_per_s / (1.0 + self.back)
    }

    /// How often it is refused, per second.
    #[must_use]
    pub fn refusals(&self) -> f64 {
        self.gain / (self.peak() * (1.0 - self.back))
    }

    /// The tokens that are saved while it is below the quota: with fewer places in the bucket some are lost.
    #[must_use]
    pub fn saves(&self) -> f64 {
        (self.quota_per_s - self.back * self.peak()).powi(2) / (2.0 * self.gain)
    }
}

/// How long each waits in one line with `greedy` clients who stand in it again as soon as their last request,
/// which takes `takes` seconds, is answered, when others come `others_per_s`: of the rate the greedy have what the
/// others leave, and a round takes each of them `greedy/rate`, which is the wait and the request (the interactive
/// response time law; Little 1961). `None` where the others alone use up the rate.
#[must_use]
pub fn one_line(quota_per_s: f64, greedy: f64, takes: f64, others_per_s: f64) -> Option<f64> {
    let rate = quota_per_s - others_per_s;
    (rate > 0.0).then(|| (greedy / rate - takes).max(0.0))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn admitted(quota: Quota, gaps: &[u64]) -> (Vec<u64>, Vec<u64>) {
        let mut bucket = Bucket::new(quota);
        let instants = gaps.iter().scan(0_u64, |at, gap| {
            *at += gap;
            Some(*at)
        });
        instants.partition(|at| bucket.take(*at).is_ok())
    }

    proptest! {
        /// Whatever comes: in no window more than R·t + b are admitted.
        #[test]
        fn no_window_admits_more_than_the_quota(
            per_s in 0.5..5000.0_f64,
            burst in 1..50_u32,
            gaps in prop::collection::vec(0..30_000_000_u64, 1..200),
        ) {
            let (admitted, _) = admitted(Quota { per_s, burst }, &gaps);
            for (i, from) in admitted.iter().enumerate() {
                for (j, until) in admitted.iter().enumerate().skip(i) {
                    let allowed = per_s * (until - from) as f64 / 1e9 + f64::from(burst);
                    prop_assert!((j + 1 - i) as f64 <= allowed + 1e-6);
                }
            }
        }

        /// And no fewer: whoever is refused would have broken that bound with those admitted before.
        #[test]
        fn nobody_is_refused_without_need(
            per_s in 0.5..5000.0_f64,
            burst in 1..50_u32,
            gaps in prop::collection::vec(0..30_000_000_u64, 1..200),
        ) {
            let (admitted, refused) = admitted(Quota { per_s, burst }, &gaps);
            for at in refused {
                let before: Vec<u64> = admitted.iter().copied().filter(|t| *t <= at).collect();
                let breaks = |(i, from): (usize, &u64)| {
                    let with_it = (before.len() - i + 1) as f64;
                    with_it > per_s * (at - from) as f64 / 1e9 + f64::from(burst) - 1e-3
                };
                prop_assert!(before.iter().enumerate().any(breaks), "{at}");
            }
        }

        /// What a bucket lets through needs no larger bucket, and what needs none passes whole.
        #[test]
        fn the_burst_of_instants_is_that_of_the_smallest_bucket(
            per_s in 1.0..500.0_f64,
            burst in 1..20_u32,
            gaps in prop::collection::vec(0..30_000_000_u64, 1..100),
        ) {
            let seconds = |instants: &[u64]| -> Vec<f64> {
                instants.iter().map(|at| *at as f64 / 1e9).collect()
            };
            let (passed, refused) = admitted(Quota { per_s, burst }, &gaps);
            prop_assert!(burst_of(&seconds(&passed), per_s) <= f64::from(burst) + 1e-5);
            let all: Vec<u64> = {
                let mut all = [passed, refused.clone()].concat();
                all.sort_unstable();
                all
            };
            let needs = burst_of(&seconds(&all), per_s);
            prop_assert_eq!(needs > f64::from(burst) + 1e-5, !refused.is_empty());
        }

        #[test]
        fn the_most_within_a_time_is_that_of_every_window(
            mut instants in prop::collection::vec(0.0..3.0_f64, 0..60),
            within in 0.01..2.0_f64,
        ) {
            instants.sort_by(f64::total_cmp);
            let inside = |from: &f64| {
                instants.iter().filter(|at| **at >= *from && **at < from + within).count()
            };
            let most = instants.iter().map(inside).max().unwrap_or(0);
            prop_assert!(most.abs_diff(most_within(&instants, within)) <= 1);
        }
    }

    #[test]
    fn a_quota_is_read_and_written() {
        let quota: Quota = "100:20".parse().unwrap();
        assert_eq!(quota, Quota { per_s: 100.0, burst: 20 });
        assert_eq!(quota.to_string().parse::<Quota>().unwrap(), quota);
        for text in ["", "100", "100:", ":20", "0:1", "100:0", "-1:1", "nan:1", "inf:1", "1e9:1"] {
            assert!(text.parse::<Quota>().is_err(), "{text}");
        }
    }

    #[test]
    fn instants_far_apart_or_out_of_order_are_no_fault() {
        let mut bucket = Bucket::new(Quota { per_s: 1e-9, burst: MAX_BURST });
        assert_eq!(bucket.take(u64::MAX), Ok(()));
        assert_eq!(bucket.take(0), Ok(()));
        let mut bucket = Bucket::new(Quota { per_s: 10.0, burst: 1 });
        assert_eq!(bucket.take(1_000_000_000), Ok(()));
        assert_eq!(bucket.take(0), Err(1_100_000_000));
    }

    #[test]
    fn permits_beyond_what_the_quota_keeps_busy_are_refused_once_a_pause() {
        let slow = InFlight { permits: 10.0, takes: 0.2, quota_per_s: 100.0, pause: 0.1 };
        assert_eq!((slow.goodput(), slow.refusals()), (50.0, 0.0));
        let fast = InFlight { takes: 0.02, ..slow };
        assert_eq!((fast.goodput(), fast.refusals()), (100.0, 80.0));
        assert_eq!((slow.uses_up(20.0), fast.uses_up(20.0)), (f64::INFINITY, 0.05));
    }

    #[test]
    fn a_window_sends_all_at_once_and_gets_what_the_bucket_holds() {
        let quota = |burst| Quota { per_s: 100.0, burst };
        assert_eq!(fixed_window(quota(20), 0.5), 40.0);
        assert_eq!(fixed_window(quota(50), 0.5), 100.0);
        assert_eq!(fixed_window(quota(500), 0.5), 100.0);
    }

    /// The law of the saw against the saw itself, with a bucket, in steps.
    #[test]
    fn a_saw_uses_the_whole_quota_and_is_refused_as_often_as_it_peaks() {
        let saw = Saw { quota_per_s: 1000.0, gain: 500.0, back: 0.7 };
        let quota = Quota { per_s: 1000.0, burst: 200 };
        assert!(saw.saves() < 200.0);
        let (mut bucket, mut rate, mut at) = (Bucket::new(quota), 900.0, 0.0_f64);
        let (mut passed, mut refused) = (0_u64, 0_u64);
        while at < 40.0 {
            let counts = u64::from(at >= 10.0);
            match bucket.take((at * 1e9) as u64) {
                Ok(()) => passed += counts,
                Err(_) => {
                    refused += counts;
                    rate *= saw.back;
                }
            }
            at += 1.0 / rate;
            rate += saw.gain / rate;
        }
        assert!((passed as f64 / 30.0 - 1000.0).abs() < 3.0, "{passed}");
        let cuts = refused as f64 / 30.0;
        assert!((cuts / saw.refusals() - 1.0).abs() < 0.05, "{cuts} {}", saw.refusals());
    }

    /// The law of the line against a line in virtual time.
    #[test]
    fn in_one_line_everybody_waits_a_round_of_the_greedy() {
        let (per_s, greedy, takes, others) = (100.0, 40.0, 0.2, 20.0);
        let wait = one_line(per_s, greedy, takes, others).unwrap();
        assert!((wait - 0.3).abs() < 1e-12);
        // Each entry: when it came, and whether it is a greedy one.
        let mut line: std::collections::BTreeSet<(u64, bool, u64)> =
            (0..40).map(|i| (i, true, i)).collect();
        line.extend((0..400).map(|i| (i * 50_000, false, i)));
        let (mut free, mut waits) = (0_u64, Vec::new());
        while let Some((came, is_greedy, who)) = line.pop_first() {
            if came > 20_000_000 {
                break;
            }
            let turn = free.max(came);
            free = turn + 10_000;
            match is_greedy {
                true => drop(line.insert((turn + 200_000, true, who))),
                false if came > 5_000_000 => waits.push((turn - came) as f64 / 1e6),
                false => {}
            }
        }
        let mean = waits.iter().sum::<f64>() / waits.len() as f64;
        assert!((mean / wait - 1.0).abs() < 0.03, "{mean}");
        assert_eq!(one_line(100.0, 40.0, 0.2, 100.0), None);
    }
}
