//! What a service's books tell of the program that it served: pure functions of the requests written down.

use std::{
    collections::{BTreeMap, HashMap},
    time::Duration,
};

use mock_server::{Entry, books};

/// A retry that comes after a smaller share of the back-off did not wait at all.
pub const AT_ONCE: f64 = 0.1;
/// By how much a timer may be early.
const EARLY: Duration = Duration::from_millis(5);

/// Everything that a program asked for below a path, item by item.
pub struct Items<'a> {
    /// The attempts at each item that was asked for, in order.
    pub tries: BTreeMap<usize, Vec<&'a Entry>>,
    /// How many there should be.
    pub wanted: usize,
    timeout: Option<Duration>,
}

impl<'a> Items<'a> {
    /// Those that these requests are for: of `GET /a` and `GET /b` the first is item 0. Where attempts are given up,
    /// it is after `timeout`.
    pub fn of(ledger: &'a [Entry], requests: &[String], timeout: Option<Duration>) -> Items<'a> {
        let numbers: HashMap<&str, usize> =
            requests.iter().enumerate().map(|(item, request)| (request.as_str(), item)).collect();
        let mut tries = BTreeMap::<usize, Vec<&Entry>>::new();
        for entry in ledger {
            if let Some(item) = numbers.get(request(entry).as_str()) {
                tries.entry(*item).or_default().push(entry);
            }
        }
        Items { tries, wanted: requests.len(), timeout }
    }

    /// Those that were never asked for.
    pub fn missed(&self) -> usize {
        self.wanted - self.tries.len()
    }

    /// Requests for items whose answer the program had already. An answer about as late as the timeout may have
    /// met nobody, and does not count.
    pub fn again(&self) -> usize {
        let timeout = self.timeout.unwrap_or(Duration::MAX);
        let after_success = |tries: &Vec<&Entry>| {
            let had = tries.iter().position(|entry| is_in_time(entry, timeout));
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

    /// Each pair of attempts at one item that follow each other.
    pub fn retries(&self) -> Vec<Retry<'a>> {
        let mut retries = Vec::new();
        for tries in self.tries.values() {
            let pairs = tries.windows(2).enumerate();
            retries.extend(pairs.map(|(nth, pair)| Retry {
                nth: nth + 1,
                after: pair[0],
                wait: pair[1].arrived.saturating_sub(end(pair[0], self.timeout)),
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
        let asked = self.after.retry_after.filter(|_| is_told(self.after));
        asked.is_some_and(|asked| self.wait + EARLY < asked)
    }
}

/// The requests for numbered items: `GET /items/0` to `GET /items/N−1` of `GET /items`.
pub fn numbered(items: &str, n: usize) -> Vec<String> {
    (0..n).map(|item| format!("{items}/{item}")).collect()
}

/// What was asked for, without the query: `GET /items/7`.
pub fn request(entry: &Entry) -> String {
    format!("{} {}", entry.method, path(entry))
}

/// The path, without the query.
pub fn path(entry: &Entry) -> &str {
    entry.path.split('?').next().unwrap_or_default()
}

/// The number of the item that a request is for, if it is one of the numbered requests: 7 of `GET /items/7`, where
/// those are `GET /items`.
pub fn number(entry: &Entry, items: &str) -> Option<usize> {
    let (method, prefix) = items.split_once(' ')?;
    let rest = path(entry).strip_prefix(prefix)?.strip_prefix('/')?;
    let item: usize = rest.parse().ok().filter(|_| entry.method == method)?;
    (item.to_string() == rest).then_some(item)
}

/// The numbered requests of one kind, as `POST /store`, by item.
pub fn of_kind<'a>(ledger: &'a [Entry], items: &str) -> BTreeMap<usize, Vec<&'a Entry>> {
    let mut of_kind = BTreeMap::<usize, Vec<&Entry>>::new();
    for entry in ledger {
        if let Some(item) = number(entry, items) {
            of_kind.entry(item).or_default().push(entry);
        }
    }
    of_kind
}

/// How many requests of one kind came before those of another kind for the same item had been answered.
pub fn too_early(ledger: &[Entry], these: &str, need: &str) -> usize {
    let needed = of_kind(ledger, need);
    let is_early = |item: &usize, entry: &Entry| {
        let answered = |other: &&Entry| is_answer(other) && other.left <= Some(entry.arrived);
        !needed.get(item).is_some_and(|others| others.iter().any(answered))
    };
    let these = of_kind(ledger, these);
    let early = |(item, entries): (&usize, &Vec<&Entry>)| {
        entries.iter().filter(|entry| is_early(item, entry)).count()
    };
    these.iter().map(early).sum()
}

/// Each item as if it were one request, from its first arrival to its last end, in order of arrival. What is asked
/// for on its behalf are the numbered requests of these kinds.
pub fn wholes(ended: &[Entry], kinds: &[&str]) -> Vec<Entry> {
    let mut wholes = BTreeMap::<usize, Entry>::new();
    for entry in ended {
        let Some(item) = kinds.iter().find_map(|kind| number(entry, kind)) else {
            continue;
        };
        let whole = wholes.entry(item).or_insert_with(|| entry.clone());
        whole.arrived = whole.arrived.min(entry.arrived);
        whole.left = whole.left.max(entry.left);
    }
    let mut wholes: Vec<Entry> = wholes.into_values().collect();
    wholes.sort_by_key(|whole| whole.arrived);
    wholes
}

/// How many are under way, itself included, when one more begins: the mean, without the first ones, which find
/// fewer because there are none.
pub fn found_on_arrival(ended: &[Entry], without: usize) -> f64 {
    let mut now = 0_isize;
    let mut found = Vec::new();
    for (_, change) in books::changes(ended) {
        now += change;
        if change > 0 {
            found.push(now as f64);
        }
    }
    let found = found.get(without..).unwrap_or_default();
    found.iter().sum::<f64>() / found.len().max(1) as f64
}

/// Whether the program was there until the answer had left.
pub fn is_told(entry: &Entry) -> bool {
    !entry.abandoned && entry.left.is_some()
}

/// Whether it is a success that the program took.
pub fn is_answer(entry: &Entry) -> bool {
    (200..300).contains(&entry.status) && is_told(entry)
}

/// The same of an answer that cannot have met nobody: one about as late as the timeout may have.
pub fn is_in_time(entry: &Entry, timeout: Duration) -> bool {
    let took = entry.left.map(|left| left.saturating_sub(entry.arrived).as_secs_f64());
    is_answer(entry) && took.is_some_and(|took| took < COUNTED * timeout.as_secs_f64())
}

/// The share of a timeout after which an attempt that is given up is no longer counted.
pub const COUNTED: f64 = 0.8;

/// When a program was done with an attempt. One that gives up has done so before the service sees it: its clock
/// started before the request arrived, and its next request may overtake the news that it has left. So the last
/// part of its timeout is not counted.
pub fn end(entry: &Entry, timeout: Option<Duration>) -> Duration {
    let given_up = timeout.map(|timeout| entry.arrived + timeout.mul_f64(COUNTED));
    match (entry.left, given_up) {
        (Some(left), Some(given_up)) if entry.abandoned => left.min(given_up),
        (Some(left), _) => left,
        (None, given_up) => given_up.unwrap_or(entry.arrived),
    }
}

/// The same requests, with the ends that [`end`] gives.
pub fn ended(ledger: &[Entry], timeout: Option<Duration>) -> Vec<Entry> {
    let with_end = |entry: &Entry| Entry { left: Some(end(entry, timeout)), ..entry.clone() };
    ledger.iter().map(with_end).collect()
}

/// The requests below a path: `/fetch/7` is below `/fetch`, and all are below [`crate::brief::ALL`].
pub fn below(ledger: &[Entry], path: &str) -> Vec<Entry> {
    books::under(ledger, &format!("{path}/"))
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

/// A request that was answered, for tests: in milliseconds.
#[cfg(test)]
pub(crate) fn entry(request: &str, arrived: u64, left: u64, status: u16) -> Entry {
    let (method, path) = request.split_once(' ').unwrap_or(("GET", request));
    Entry {
        method: method.into(),
        path: path.into(),
        arrived: Duration::from_millis(arrived),
        left: Some(Duration::from_millis(left)),
        status,
        retry_after: None,
        abandoned: false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const TIMEOUT: Duration = Duration::from_millis(100);

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
            Entry { method: "PUT".into(), ..entry("/items/2", 0, 1, 200) },
        ];
        let items = Items::of(&ledger, &numbered("GET /items", 3), Some(TIMEOUT));
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
        assert_eq!(end(&late, Some(TIMEOUT)), TIMEOUT.mul_f64(0.8));
        assert_eq!(end(&late, None), Duration::from_millis(130));
        let early = Entry { abandoned: true, ..entry("/items/0", 0, 30, 200) };
        assert_eq!(end(&early, Some(TIMEOUT)), Duration::from_millis(30));
        let patient = entry("/items/0", 0, 500, 200);
        assert_eq!(end(&patient, Some(TIMEOUT)), Duration::from_millis(500));
        assert!(!is_answer(&late) && is_answer(&patient));
    }

    #[test]
    fn a_number_is_written_in_one_way() {
        let item = |path: &str| number(&entry(path, 0, 1, 200), "GET /items");
        assert_eq!((item("/items/7"), item("/items/10?x=1")), (Some(7), Some(10)));
        for path in ["/items", "/items/", "/items/07", "/items/+7", "/items/7/8", "/item/7"] {
            assert_eq!(item(path), None, "{path}");
        }
        assert_eq!(number(&entry("/items/7", 0, 1, 200), "PUT /items"), None);
    }

    #[test]
    fn what_needs_an_answer_comes_after_it() {
        let ledger = [
            entry("/a/0", 0, 10, 200),
            entry("/a/1", 0, 10, 200),
            entry("/a/2", 0, 10, 500),
            entry("/b/0", 10, 20, 200),
            entry("/b/1", 9, 20, 200),
            entry("/b/2", 30, 40, 200),
            entry("/b/3", 30, 40, 200),
        ];
        assert_eq!(too_early(&ledger, "GET /b", "GET /a"), 3);
        assert_eq!(too_early(&ledger[..4], "GET /b", "GET /a"), 0);
    }

    #[test]
    fn an_item_lasts_from_its_first_request_to_its_last() {
        let ledger =
            [entry("/a/0", 0, 10, 200), entry("/a/1", 5, 8, 200), entry("/b/0", 30, 40, 200)];
        let wholes = wholes(&ledger, &["GET /a", "GET /b"]);
        let ms = Duration::from_millis;
        let spans: Vec<_> = wholes.iter().map(|whole| (whole.arrived, whole.left)).collect();
        assert_eq!(spans, [(ms(0), Some(ms(40))), (ms(5), Some(ms(8)))]);
        assert_eq!(books::most_in_flight(&wholes), 2);
    }

    /// Four places: in a window each one begins when another ends, in batches all four end before.
    #[test]
    fn a_window_is_found_full_and_a_batch_half_full() {
        let window: Vec<Entry> = (0..12).map(|i| entry("/a/0", 10 * i, 10 * i + 40, 200)).collect();
        assert!((found_on_arrival(&window, 4) - 4.0).abs() < 1e-9);
        let batches: Vec<Entry> =
            (0..12).map(|i| entry("/a/0", i / 4 * 40, i / 4 * 40 + 40 - i % 4, 200)).collect();
        assert!((found_on_arrival(&batches, 4) - 2.5).abs() < 1e-9);
        assert!(found_on_arrival(&window, 12).abs() < 1e-9);
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
