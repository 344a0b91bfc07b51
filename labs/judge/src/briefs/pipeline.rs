//! Lab 12: a pipeline in which things fail.

use lab_kit::prelude::*;
use mock_server::{Entry, Script, Turn, books};

use crate::{
    asked::Asked,
    brief::Brief,
    check::{self, Check},
    gauges, reading,
};

/// Lab 12.
pub struct Pipeline;

const FETCH: &str = "GET /items";
const STORE: &str = "PUT /store";
const FALLBACK: &str = "PUT /fallback";

/// An answer that hangs comes so many timeouts late.
const LATE: u32 = 6;

/// Whether an item cannot be fetched.
fn fails(item: usize) -> bool {
    item.is_multiple_of(7)
}

/// Whether its first fetch fails.
fn fails_once(item: usize) -> bool {
    item % 5 == 3
}

/// Whether its store hangs.
fn hangs(item: usize) -> bool {
    item.is_multiple_of(20)
}

/// What became of the results.
#[derive(Debug, Default, PartialEq, Eq)]
struct Results {
    /// Fetched, and neither stored nor in the fallback.
    lost: usize,
    /// Stores, and fallbacks, beyond the first for an item.
    again: usize,
    /// Fallbacks for what was stored in time, or for what no store had been tried.
    needless: usize,
}

impl Results {
    fn of(ledger: &[Entry], timeout: Duration) -> Results {
        let [fetches, stores, fallbacks] =
            [FETCH, STORE, FALLBACK].map(|kind| reading::of_kind(ledger, kind));
        let answered = |entries: Option<&Vec<&Entry>>| {
            entries.is_some_and(|entries| entries.iter().any(|entry| reading::is_answer(entry)))
        };
        let fetched = fetches.iter().filter(|(_, entries)| answered(Some(entries)));
        let is_lost = |item: &usize| !answered(stores.get(item)) && !answered(fallbacks.get(item));
        let all = || stores.values().chain(fallbacks.values());
        let in_time = |entry: &&Entry| reading::is_in_time(entry, timeout);
        let is_needless =
            |item: &&usize| stores.get(*item).is_none_or(|stores| stores.iter().any(in_time));
        Results {
            lost: fetched.filter(|(item, _)| is_lost(item)).count(),
            again: all().map(|entries| entries.len() - 1).sum(),
            needless: fallbacks.keys().filter(is_needless).count(),
        }
    }
}

impl Pipeline {
    /// Half-way, in logarithms, between what an item finds that begins in a window, all of the limit, and what it
    /// finds in a batch: of m that begin at the same time the first finds itself, the last all m.
    fn half_way(limit: usize) -> f64 {
        let limit = limit as f64;
        (limit * f64::midpoint(limit, 1.0)).sqrt()
    }

    /// Seconds that an item is in progress, in the mean.
    fn in_progress_s(p: &Asked) -> f64 {
        let (once, pause) = (p.service_s(), p.backoff.s());
        let tries = p.attempts as f64;
        let failing = tries * once + (tries - 1.0) * pause;
        let others = 2.0 * once + (once + pause) / 5.0 + (p.timeout.s() + once) / 20.0;
        failing / 7.0 + others * 6.0 / 7.0
    }
}

impl Brief for Pipeline {
    const CARD: Card = Card {
        number: 12,
        name: "judge_pipeline",
        title: "A program and what its pipeline loses",
        question: "Is each item stored once, in one place or the other, when things fail?",
        predict: &[],
        next: &[],
        sources: &[],
        answers: "",
        sizes: Sizes { smoke: &["--n", "50"], full: &["--n", "400"], trials: (3, 5) },
    };

    const FLAGS: &'static [(&'static str, &'static str)] = &[
        ("n", "100"),
        ("limit", "10"),
        ("timeout", "400ms"),
        ("attempts", "3"),
        ("backoff", "50ms"),
        ("slots", "100"),
        ("service", "lognormal:30ms:0.5"),
    ];

    const TASK: &'static str = "Fetch the items {url}/items/0 to {url}/items/N-1 (GET), and store each that came: item 7 by PUT {url}/store/7. Try a fetch again that failed (5xx) or timed out, after about {backoff} seconds, at most {attempts} times in all; some items never come. Give a request up after {timeout} seconds. Send each store once. Where the store of item 7 was given up, send PUT {url}/fallback/7, once; nothing else goes to the fallback. An item is in progress from the beginning of its first request to the end of its last one. No more than {limit} items are in progress at any time. The next one begins as soon as any other has ended, not when a batch has.";

    /// Some fetches fail once.
    const LEAST_ATTEMPTS: usize = 2;

    fn spec(p: &Asked, seed: u64) -> Spec {
        let late = p.timeout.duration() * LATE;
        let script = Script::new(move |asked, before| {
            let named = asked.path.strip_prefix('/').and_then(|path| path.split_once('/'));
            let Some((kind, item)) = named.and_then(|(k, i)| Some((k, i.parse().ok()?))) else {
                return Turn::default();
            };
            match kind {
                "items" if fails(item) => Turn::fails(500),
                "items" if fails_once(item) && before == 0 => Turn::fails(503),
                "store" if hangs(item) => Turn::takes(late),
                _ => Turn::default(),
            }
        });
        Spec { seed, script: Some(script), ..Spec::new(p.slots, p.service.of.clone()) }
    }

    fn items(p: &Asked) -> Vec<String> {
        reading::numbered(FETCH, p.n)
    }

    fn knows(p: &Asked, entry: &Entry) -> bool {
        let item = reading::number(entry, STORE).or_else(|| reading::number(entry, FALLBACK));
        item.is_some_and(|item| item < p.n)
    }

    fn read(p: &Asked, ledger: &[Entry]) -> Vec<(Gauge, f64)> {
        let timeout = p.timeout.duration();
        let results = Results::of(ledger, timeout);
        let early = [STORE, FALLBACK].map(|kind| reading::too_early(ledger, kind, FETCH));
        let wholes =
            reading::wholes(&reading::ended(ledger, Some(timeout)), &[FETCH, STORE, FALLBACK]);
        vec![
            (gauges::RESULTS_LOST, results.lost as f64),
            (gauges::STORED_AGAIN, results.again as f64),
            (gauges::NEEDLESS, results.needless as f64),
            (gauges::TOO_EARLY, early.iter().sum::<usize>() as f64),
            (gauges::IN_PROGRESS_MAX, books::most_in_flight(&wholes) as f64),
            (gauges::FOUND, reading::found_on_arrival(&wholes, p.limit)),
        ]
    }

    fn checks(p: &Asked, k: &Condition) -> Vec<Check> {
        let there = (0..p.n).filter(|item| !fails(*item)).count();
        vec![
            check::nothing_lost(k),
            check::nothing_twice(p, k),
            check::nothing_else(k),
            check::all_recovered(k, |_| Some(there as f64)),
            check::tries_are_bounded(p, k),
            check::backs_off(k),
            timeouts(p, k),
            Check {
                fault: "lost results",
                cause: "a store that hung is given up, and its item is not put elsewhere",
                claim: check::none(
                    "what was fetched is stored, or in the fallback",
                    "items",
                    k,
                    gauges::RESULTS_LOST,
                ),
            },
            Check {
                fault: "stored twice",
                cause: "the store goes through the retry loop of the fetch: one that was given up may have been done",
                claim: check::none("no item is stored again", "requests", k, gauges::STORED_AGAIN),
            },
            Check {
                fault: "stores what it does not have",
                cause: "the status of the fetch is not looked at, or the store does not wait for its answer",
                claim: check::none(
                    "nothing is stored before it has been fetched",
                    "requests",
                    k,
                    gauges::TOO_EARLY,
                ),
            },
            Check {
                fault: "a fallback without need",
                cause: "it is written beside each store, in place of it, or after every failure",
                claim: check::none(
                    "only what could not be stored in time goes to the fallback",
                    "items",
                    k,
                    gauges::NEEDLESS,
                ),
            },
            in_progress(p, k),
            window(p, k),
        ]
    }

    fn seconds(p: &Asked) -> f64 {
        p.n as f64 * Pipeline::in_progress_s(p) / p.limit.min(p.slots) as f64
    }
}

/// What hangs is given up.
fn timeouts(p: &Asked, k: &Condition) -> Check {
    let waited_on = k.every(|t| t.gauge(gauges::WAITED_ON));
    let hanging = (0..p.n).filter(|item| hangs(*item) && !fails(*item)).count();
    let text = "a store that hangs is not waited for beyond four times the timeout";
    Check {
        claim: Law::counted(text, "stores")
            .within("half of the stores that hang; without a timeout all are waited for")
            .at_most([Case::exact("", hanging as f64 / 2.0, waited_on)]),
        ..check::has_a_timeout(p, k)
    }
}

/// No more items are in progress than may be.
fn in_progress(p: &Asked, k: &Condition) -> Check {
    let most = k.every(|t| t.gauge(gauges::IN_PROGRESS_MAX));
    let text = format!("no more than {} items are in progress at a time", p.limit);
    Check {
        fault: "too many items in progress",
        cause: "the limit is one for requests: it is given back while an item waits for its next one",
        claim: Law::counted(text, "items").at_most([Case::exact("", p.limit as f64, most)]),
    }
}

/// A window, and no batches.
fn window(p: &Asked, k: &Condition) -> Check {
    let found = k.every(|t| t.gauge(gauges::FOUND));
    let text = "the window is kept full: items in progress when one begins, on average";
    Check {
        fault: "batches with a barrier",
        cause: "a batch is awaited as a whole, so that an item that hangs holds up all others; or too few workers",
        claim: Law::counted(text, "at a time")
            .within("the bound is between two cases: a window, which is full whenever an item begins, and batches, in which it is half full on average (their geometric mean)")
            .at_least([Case::exact("", Pipeline::half_way(p.limit), found)])
            .unless(check::too_few(p.n, 5, p.limit)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::reading::entry;

    const TIMEOUT: Duration = Duration::from_millis(100);

    fn given_up(request: &str, arrived: u64) -> Entry {
        Entry { abandoned: true, ..entry(request, arrived, arrived + 100, 200) }
    }

    #[test]
    fn results_are_followed_to_where_they_are() {
        let ledger = [
            entry("GET /items/0", 0, 10, 500),
            entry("GET /items/1", 0, 10, 200),
            entry("PUT /store/1", 10, 20, 200),
            entry("GET /items/2", 0, 10, 200),
            given_up("PUT /store/2", 10),
            entry("PUT /fallback/2", 110, 120, 200),
        ];
        assert_eq!(Results::of(&ledger, TIMEOUT), Results::default());
        let with = |more: &[Entry]| Results::of(&[&ledger[..], more].concat(), TIMEOUT);
        let results = |lost, again, needless| Results { lost, again, needless };
        let hung = [entry("GET /items/3", 0, 10, 200), given_up("PUT /store/3", 10)];
        assert_eq!(with(&hung), results(1, 0, 0));
        // Stored after all: it is in both places.
        assert_eq!(with(&[entry("PUT /store/2", 130, 140, 200)]), results(0, 1, 1));
        assert_eq!(with(&[entry("PUT /fallback/1", 30, 40, 200)]), results(0, 0, 1));
        assert_eq!(with(&[entry("PUT /fallback/9", 30, 40, 200)]), results(0, 0, 1));
    }

    #[test]
    fn batches_are_found_below_half_way_and_a_window_above() {
        for limit in [2, 10, 100] {
            let half_way = Pipeline::half_way(limit);
            assert!((limit + 1) as f64 / 2.0 < half_way && half_way < limit as f64, "{limit}");
        }
    }
}
