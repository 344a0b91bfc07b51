//! What a service's books tell of the program that it served: pure functions of the requests written down.

use std::{collections::BTreeMap, time::Duration};

use mock_server::{Entry, books};

/// A retry that comes sooner after the failure did not wait at all.
pub const AT_ONCE: Duration = Duration::from_millis(5);
/// By how much a timer may be early.
const EARLY: Duration = Duration::from_millis(5);

/// Everything that a program asked for below a path, item by item.
pub struct Items<'a> {
    /// The attempts at each item that was asked for, in order.
    pub tries: BTreeMap<usize, Vec<&'a Entry>>,
    /// How many there should be.
    pub wanted: usize,
    timeout: Duration,
}

impl<'a> Items<'a> {
    /// The items `PREFIX/0` to `PREFIX/N−1`.
    pub fn of(ledger: &'a [Entry], prefix: &str, wanted: usize, timeout: Duration) -> Items<'a> {
        let mut tries = BTreeMap::<usize, Vec<&Entry>>::new();
        for entry in ledger {
            if let Some(item) = number(&entry.path, prefix).filter(|item| *item < wanted) {
                tries.entry(item).or_default().push(entry);
            }
        }
        Items { tries, wanted, timeout }
    }

    /// Those that were never asked for.
    pub fn missed(&self) -> usize {
        self.wanted - self.tries.len()
    }

    /// Requests for items whose answer the program had already. An answer about as late as the timeout may have
    /// met nobody, and does not count.
    pub fn again(&self) -> usize {
        let in_time = |entry: &Entry| {
            entry.left.is_some_and(|left| left - entry.arrived < self.timeout.mul_f64(0.8))
        };
        let after_success = |tries: &Vec<&Entry>| {
            let had = tries.iter().position(|entry| is_answer(entry) && in_time(entry));
            had.map_or(0, |had| tries.len() - had - 1)
        };
        self.tries.values().map(after_success).sum()
    }

    /// Items that were answered in the end.
    pub fn answered(&self) -> usize {
        self.tries.values().filter(|tries| tries.iter().any(|entry| is_answer(entry))).count()
    }

    /// The most attempts at one item.
    pub fn most_tries(&self) -> usize {
        self.tries.values().map(Vec::len).max().unwrap_or(0)
    }

    /// All attempts at any of them.
    pub fn attempts(&self) -> usize {
        self.tries.values().map(Vec::len).sum()
    }

    /// When the last of them was begun.
    pub fn all_begun(&self) -> Duration {
        let begun = self.tries.values().filter_map(|tries| tries.first());
        begun.map(|entry| entry.arrived).max().unwrap_or_default()
    }

    /// When the program was done with an attempt.
    fn end(&self, entry: &Entry) -> Duration {
        end(entry, self.timeout)
    }

    /// Each pair of attempts at one item that follow each other.
    pub fn retries(&self) -> Vec<Retry<'a>> {
        let mut retries = Vec::new();
        for tries in self.tries.values() {
            let pairs = tries.windows(2).enumerate();
            retries.extend(pairs.map(|(nth, pair)| Retry {
                nth: nth + 1,
                after: pair[0],
                wait: pair[1].arrived.saturating_sub(self.end(pair[0])),
            }));
        }
        retries
    }
}

/// An attempt that follows another.
pub struct Retry<'a> {
    /// 1 for the first retry of its item.
    pub nth: usize,
    /// The attempt before it.
    pub after: &'a Entry,
    /// From the end of that to the beginning of this.
    pub wait: Duration,
}

impl Retry<'_> {
    /// Whether it came before the service had asked it to.
    pub fn is_early(&self) -> bool {
        self.after.retry_after.is_some_and(|asked| self.wait + EARLY < asked)
    }
}

/// The number of an item that a path names.
fn number(path: &str, prefix: &str) -> Option<usize> {
    let rest = path.split('?').next()?.strip_prefix(prefix)?.strip_prefix('/')?;
    rest.bytes().all(|b| b.is_ascii_digit()).then(|| rest.parse().ok())?
}

/// Whether it is a success that the program took.
pub fn is_answer(entry: &Entry) -> bool {
    (200..300).contains(&entry.status) && !entry.abandoned && entry.left.is_some()
}

/// The share of a timeout after which an attempt that is given up is no longer counted.
const COUNTED: f64 = 0.8;

/// When a program was done with an attempt. One that gives up has done so before the service sees it: its clock
/// started before the request arrived, and its next request may overtake the news that it has left. So the last
/// part of its timeout is not counted.
pub fn end(entry: &Entry, timeout: Duration) -> Duration {
    let given_up = entry.arrived + timeout.mul_f64(COUNTED);
    match (entry.left, entry.abandoned) {
        (Some(left), false) => left,
        (Some(left), true) => left.min(given_up),
        (None, _) => given_up,
    }
}

/// The same requests, with the ends that [`end`] gives.
pub fn ended(ledger: &[Entry], timeout: Duration) -> Vec<Entry> {
    let with_end = |entry: &Entry| Entry { left: Some(end(entry, timeout)), ..entry.clone() };
    ledger.iter().map(with_end).collect()
}

/// From the first arrival to the last end.
pub fn makespan(ledger: &[Entry]) -> Duration {
    let first = ledger.iter().map(|entry| entry.arrived).min().unwrap_or_default();
    last_end(ledger).saturating_sub(first)
}

/// Mean of the requests in flight between the first arrival and this moment.
pub fn mean_in_flight(ledger: &[Entry], until: Duration) -> f64 {
    let first = ledger.iter().map(|entry| entry.arrived).min().unwrap_or_default();
    let stay = |entry: &Entry| {
        let left = entry.left.unwrap_or(until).min(until);
        left.saturating_sub(entry.arrived).as_secs_f64()
    };
    let sum: f64 = ledger.iter().map(stay).sum();
    sum / until.saturating_sub(first).as_secs_f64().max(1e-9)
}

/// The last end.
pub fn last_end(ledger: &[Entry]) -> Duration {
    ledger.iter().filter_map(|entry| entry.left).max().unwrap_or_default()
}

/// Requests in flight over time: a step at each change, thinned to at most so many, of which each keeps the
/// most that was in flight.
pub fn in_flight(ledger: &[Entry], most: usize) -> Vec<(Duration, usize)> {
    let mut now = 0_isize;
    let steps: Vec<(Duration, usize)> = books::changes(ledger)
        .into_iter()
        .map(|(at, change)| {
            now += change;
            (at, now.max(0).cast_unsigned())
        })
        .collect();
    let size = steps.len().div_ceil(most.max(1)).max(1);
    let highest = |part: &[(Duration, usize)]| part.iter().copied().max_by_key(|(_, n)| *n);
    steps.chunks(size).filter_map(highest).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const TIMEOUT: Duration = Duration::from_millis(100);

    fn entry(path: &str, arrived: u64, left: u64, status: u16) -> Entry {
        Entry {
            method: "GET".into(),
            path: path.into(),
            arrived: Duration::from_millis(arrived),
            left: Some(Duration::from_millis(left)),
            status,
            retry_after: None,
            abandoned: false,
        }
    }

    #[test]
    fn items_are_counted_by_their_attempts() {
        let busy =
            Entry { retry_after: Some(Duration::from_secs(1)), ..entry("/items/1", 0, 0, 503) };
        let ledger = [
            entry("/items/0", 0, 10, 200),
            busy,
            entry("/items/1?x=1", 400, 410, 200),
            entry("/items/0", 500, 510, 200),
            entry("/items/9", 0, 1, 200),
            entry("/items/+2", 0, 1, 200),
            entry("/orders/2", 0, 1, 200),
        ];
        let items = Items::of(&ledger, "/items", 3, TIMEOUT);
        assert_eq!((items.missed(), items.again(), items.answered()), (1, 1, 2));
        assert_eq!((items.most_tries(), items.attempts()), (2, 4));
        assert_eq!(items.all_begun(), Duration::ZERO);
        let retries = items.retries();
        let early: Vec<bool> = retries.iter().map(Retry::is_early).collect();
        assert_eq!(early, [false, true]);
        assert_eq!(retries[1].wait, Duration::from_millis(400));
    }

    #[test]
    fn who_gives_up_is_done_before_its_timeout() {
        let late = Entry { abandoned: true, ..entry("/items/0", 0, 130, 200) };
        assert_eq!(end(&late, TIMEOUT), TIMEOUT.mul_f64(0.8));
        let early = Entry { abandoned: true, ..entry("/items/0", 0, 30, 200) };
        assert_eq!(end(&early, TIMEOUT), Duration::from_millis(30));
        let patient = entry("/items/0", 0, 500, 200);
        assert_eq!(end(&patient, TIMEOUT), Duration::from_millis(500));
        assert!(!is_answer(&late) && is_answer(&patient));
    }

    proptest! {
        /// Requests one after another are one in flight, whatever their lengths; side by side as many as there are.
        #[test]
        fn in_flight_is_what_overlaps(stays in prop::collection::vec(1u64..50, 1..40)) {
            let mut at = 0;
            let in_turn: Vec<Entry> = stays.iter().map(|stay| {
                at += stay;
                entry("/items/0", at - stay, at, 200)
            }).collect();
            prop_assert_eq!(books::most_in_flight(&in_turn), 1);
            let end = last_end(&in_turn);
            prop_assert!((mean_in_flight(&in_turn, end) - 1.0).abs() < 1e-6);
            prop_assert!((mean_in_flight(&in_turn, end * 2) - 0.5).abs() < 0.5);
            let together: Vec<Entry> = stays.iter().map(|stay| entry("/items/0", 0, *stay, 200)).collect();
            prop_assert_eq!(books::most_in_flight(&together), stays.len());
            let steps = in_flight(&together, 5);
            prop_assert!(steps.len() <= 5);
            prop_assert_eq!(steps.iter().map(|(_, n)| *n).max(), Some(stays.len()));
        }
    }
}
