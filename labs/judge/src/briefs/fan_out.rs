//! Lab 10: three sources at the same time, then an inference.

use lab_kit::prelude::*;
use mock_server::{Entry, MAX_SLOTS, Route, Slots, books};

use crate::{
    asked::Asked,
    brief::Brief,
    check::{self, Check},
    gauges, reading,
};

/// Lab 10.
pub struct FanOut;

/// What a query asks for, all at the same time.
const FETCHES: [&str; 3] = ["GET /weather", "GET /news", "GET /knowledge"];
/// What it asks for then.
const INFER: &str = "POST /infer";
const SOURCES: [&str; 3] = ["/weather", "/news", "/knowledge"];
const INFERENCES: &str = "/infer";

impl FanOut {
    /// Half of the inferences that have a fetch beside them where there is no barrier. All of them, but where
    /// inferences take longer than fetches in all: then those that are done while fetches are.
    fn beside(p: &Asked) -> f64 {
        p.n as f64 * (p.limit as f64 / p.slots as f64).min(1.0) / 2.0
    }

    /// Queries all of whose fetches were in flight at the same moment.
    fn together(ended: &[Entry]) -> usize {
        let sources = FETCHES.map(|fetch| reading::of_kind(ended, fetch));
        let meet = |query: &usize| {
            let fetches = sources.iter().map(|source| source.get(query)?.first().copied());
            let fetches: Option<Vec<&Entry>> = fetches.collect();
            fetches.is_some_and(|fetches| {
                let last = fetches.iter().map(|entry| Some(entry.arrived)).max();
                last < fetches.iter().map(|entry| entry.left).min()
            })
        };
        sources[0].keys().filter(|query| meet(query)).count()
    }
}

impl Brief for FanOut {
    const CARD: Card = Card {
        number: 10,
        name: "judge_fan_out",
        title: "A program and its sources",
        question: "What does an inference wait for, and what not?",
        predict: &[],
        next: &[],
        sources: &[],
        answers: "",
        sizes: Sizes { smoke: &["--n", "30"], full: &["--n", "300"], trials: (3, 5) },
    };

    const FLAGS: &'static [(&'static str, &'static str)] =
        &[("n", "60"), ("limit", "4"), ("slots", "4"), ("service", "lognormal:50ms:0.5")];

    const TASK: &'static str = "Answer the queries 0 to N-1. For query 7: GET {url}/weather/7, {url}/news/7 and {url}/knowledge/7, all three at the same time, and when all three have been answered POST {url}/infer/7; so for each query, every request once. No more than {limit} inferences are in flight at any time. Nothing else waits: a query's inference begins when its own three answers are there, whatever becomes of other queries.";

    fn spec(p: &Asked, seed: u64) -> Spec {
        let route = |path: &str, slots| Route {
            slots: Slots::Own { slots, queue: None },
            ..Route::new(path, p.service.of.clone())
        };
        let mut routes = SOURCES.map(|path| route(path, p.slots)).to_vec();
        routes.push(route(INFERENCES, MAX_SLOTS));
        Spec { seed, routes, ..Spec::new(p.slots, p.service.of.clone()) }
    }

    fn items(p: &Asked) -> Vec<String> {
        let [weather, news, knowledge] = FETCHES;
        let of =
            |query| [weather, news, knowledge, INFER].map(|request| format!("{request}/{query}"));
        (0..p.n).flat_map(of).collect()
    }

    const LIMITED: &'static [&'static str] = &[INFERENCES];

    fn read(p: &Asked, ledger: &[Entry]) -> Vec<(Gauge, f64)> {
        let ended = reading::ended(ledger, p.gives_up::<Self>());
        let fetches: Vec<Entry> =
            SOURCES.iter().flat_map(|source| reading::below(&ended, source)).collect();
        let beside = books::beside(&reading::below(&ended, INFERENCES), &fetches);
        let early = FETCHES.map(|fetch| reading::too_early(ledger, INFER, fetch));
        vec![
            (gauges::TOO_EARLY, early.iter().sum::<usize>() as f64),
            (gauges::BESIDE, beside as f64),
            (gauges::TOGETHER, FanOut::together(&ended) as f64),
        ]
    }

    fn checks(p: &Asked, k: &Condition) -> Vec<Check> {
        let together = k.every(|t| t.gauge(gauges::TOGETHER));
        let fan_out = Law::counted("a query's three fetches are in flight together", "queries");
        let beside = k.every(|t| t.gauge(gauges::BESIDE));
        let no_barrier = Law::counted("inferences go on beside fetches", "inferences");
        vec![
            check::all_asked_for(k, "everything is asked for that the queries need"),
            check::answered_once(k),
            check::nothing_else(k),
            Check {
                fault: "sources one after another",
                cause: "each fetch is awaited before the next one begins",
                claim: fan_out
                    .within("half of the queries; where fetches wait for each other there is none")
                    .at_least([Case::exact("", p.n as f64 / 2.0, together)]),
            },
            Check {
                fault: "an inference before its sources",
                cause: "it begins with the first answer, or with whatever is there",
                claim: check::none(
                    "no inference begins before its three answers are there",
                    "answers missing",
                    k,
                    gauges::TOO_EARLY,
                ),
            },
            Check {
                fault: "a barrier between fetches and inferences",
                cause: "all fetches, or those of a batch, are gathered before the first inference begins",
                claim: no_barrier
                    .within(
                        "half of the inferences that there is time for before the last fetch; behind a barrier there is none",
                    )
                    .at_least([Case::exact("", FanOut::beside(p), beside)])
                    .unless(check::too_few(p.n, 5, p.limit.max(p.slots)))
                    .unless(check::in_step(p)),
            },
            check::limit_holds(p, k, Self::LIMITED),
        ]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fetch(path: &str, arrived: u64, left: u64) -> Entry {
        reading::entry(path, arrived, left, 200)
    }

    #[test]
    fn fetches_are_together_that_share_a_moment() {
        let mut ledger = vec![
            fetch("/weather/0", 0, 10),
            fetch("/news/0", 9, 20),
            fetch("/knowledge/0", 5, 11),
            // Two, then the third.
            fetch("/weather/1", 0, 10),
            fetch("/news/1", 0, 20),
            fetch("/knowledge/1", 10, 30),
        ];
        assert_eq!(FanOut::together(&ledger), 1);
        ledger.remove(2);
        assert_eq!(FanOut::together(&ledger), 0);
    }
}
