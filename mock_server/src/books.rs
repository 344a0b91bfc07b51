//! Reading a ledger: what a service can tell of its clients from the requests that it wrote down.

use std::{collections::BTreeMap, time::Duration};

use crate::Entry;

/// Arrivals and departures in order; who leaves at the moment of an arrival has left before.
#[must_use]
pub fn changes(ledger: &[Entry]) -> Vec<(Duration, isize)> {
    let arrivals = ledger.iter().map(|entry| (entry.arrived, 1));
    let departures = ledger.iter().filter_map(|entry| Some((entry.left?, -1)));
    let mut changes: Vec<_> = arrivals.chain(departures).collect();
    changes.sort_unstable();
    changes
}

/// How many requests the service had at the same time, at most.
#[must_use]
pub fn most_in_flight(ledger: &[Entry]) -> usize {
    let counts = changes(ledger).into_iter().scan(0, |now, (_, change)| {
        *now += change;
        Some(*now)
    });
    counts.max().unwrap_or(0).cast_unsigned()
}

/// How many requests, after the first, found the service with nothing to do.
#[must_use]
pub fn found_empty(ledger: &[Entry]) -> usize {
    let (mut now, mut empty) = (0, 0);
    for (_, change) in changes(ledger) {
        empty += usize::from(change > 0 && now == 0);
        now += change;
    }
    empty.saturating_sub(1)
}

/// The requests below a path, as in `/fetch/`.
#[must_use]
pub fn under(ledger: &[Entry], prefix: &str) -> Vec<Entry> {
    ledger.iter().filter(|entry| entry.path.starts_with(prefix)).cloned().collect()
}

/// Each item from its arrival in one part of the books to its answer in another: the last part of a path, as the 7
/// of `/fetch/7` and `/store/7`, says which item it is.
#[must_use]
pub fn from_to(begun: &[Entry], done: &[Entry]) -> Vec<Entry> {
    fn item(entry: &Entry) -> Option<&str> {
        entry.path.rsplit('/').next()
    }
    let ends: BTreeMap<_, _> = done.iter().map(|entry| (item(entry), entry.left)).collect();
    let end = |entry: &Entry| ends.get(&item(entry)).copied().flatten();
    begun.iter().map(|entry| Entry { left: end(entry), ..entry.clone() }).collect()
}

/// How many of these were under way while one of the others was.
#[must_use]
pub fn beside(these: &[Entry], others: &[Entry]) -> usize {
    let end = |entry: &Entry| entry.left.unwrap_or(Duration::MAX);
    let meet = |a: &Entry, b: &Entry| a.arrived < end(b) && b.arrived < end(a);
    these.iter().filter(|a| others.iter().any(|b| meet(a, b))).count()
}

/// How often each path was asked for.
#[must_use]
pub fn attempts(ledger: &[Entry]) -> BTreeMap<&str, usize> {
    let mut attempts = BTreeMap::new();
    for entry in ledger {
        *attempts.entry(entry.path.as_str()).or_default() += 1;
    }
    attempts
}

/// The requests for each path, in order of arrival; a query belongs to its path.
#[must_use]
pub fn by_path(ledger: &[Entry]) -> BTreeMap<&str, Vec<&Entry>> {
    let mut by_path = BTreeMap::<&str, Vec<&Entry>>::new();
    for entry in ledger {
        by_path.entry(entry.path.as_str()).or_default().push(entry);
    }
    by_path
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(arrived: u64, left: u64) -> Entry {
        Entry {
            method: "GET".to_owned(),
            path: format!("/{arrived}"),
            arrived: Duration::from_millis(arrived),
            left: Some(Duration::from_millis(left)),
            status: 200,
            retry_after: None,
            abandoned: false,
        }
    }

    #[test]
    fn in_flight_is_counted_between_arrival_and_answer() {
        let ledger = [entry(0, 10), entry(5, 15), entry(10, 20), entry(30, 40)];
        assert_eq!(most_in_flight(&ledger), 2);
        assert_eq!(found_empty(&ledger), 1);
        assert_eq!(most_in_flight(&[]), 0);
        assert_eq!(found_empty(&[]), 0);
    }

    #[test]
    fn an_item_is_followed_from_one_service_to_the_next() {
        let named = |path: &str, entry| Entry { path: path.to_owned(), ..entry };
        let ledger = [
            named("/fetch/1", entry(0, 10)),
            named("/fetch/2", entry(10, 20)),
            named("/store/1", entry(20, 30)),
        ];
        let (fetches, stores) = (under(&ledger, "/fetch/"), under(&ledger, "/store/"));
        assert_eq!((fetches.len(), stores.len()), (2, 1));
        let items = from_to(&fetches, &stores);
        assert_eq!(items[0].left, Some(Duration::from_millis(30)));
        assert_eq!(items[1].left, None);
        assert_eq!(beside(&stores, &fetches), 0);
        assert_eq!(beside(&stores, &items), 1);
    }
}
