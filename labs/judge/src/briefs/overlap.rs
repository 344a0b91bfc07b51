//! Lab 8: three stages, all at work at the same time.

use lab_kit::prelude::*;
use mock_server::{Entry, Route, Slots, books};

use crate::{
    asked::Asked,
    brief::Brief,
    check::{self, Check},
    gauges, reading,
};

/// Lab 8.
pub struct Overlap;

/// The requests for an item, in their order.
const STAGES: [&str; 3] = ["GET /fetch", "POST /transform", "POST /store"];
/// Times of `--service` that each takes.
const TIMES: [u32; 3] = [1, 2, 1];
/// The stage that takes longest.
const SLOWEST: &str = "/transform";
/// Items in progress, in limits: as many in each of three stages, and as many in each of two queues.
const IN_PROGRESS: usize = 5;

impl Overlap {
    /// Half-way, in logarithms, between what a transformation finds where that stage is kept busy, all of its
    /// limit, and where each of so many workers takes its items through all stages: then a worker is in that stage
    /// for its share of the time.
    fn half_way(limit: usize) -> f64 {
        let all: u32 = TIMES.iter().sum();
        let slowest = TIMES.iter().max().copied().unwrap_or(all);
        let others = (limit - 1) as f64 * f64::from(slowest) / f64::from(all);
        (limit as f64 * (1.0 + others)).sqrt()
    }

    /// Half of the transformations that have a fetch beside them where stages overlap. The last fetch ends when no
    /// more items than may be in progress are left.
    fn beside(p: &Asked) -> f64 {
        p.n.saturating_sub(IN_PROGRESS * p.limit) as f64 / 2.0
    }
}

impl Brief for Overlap {
    const CARD: Card = Card {
        number: 8,
        name: "judge_overlap",
        title: "A program and its stages",
        question: "Are all stages at work at the same time?",
        predict: &[],
        next: &[],
        sources: &[],
        answers: "",
        sizes: Sizes { smoke: &["--n", "40"], full: &["--n", "300"], trials: (3, 5) },
    };

    const FLAGS: &'static [(&'static str, &'static str)] =
        &[("n", "100"), ("limit", "4"), ("slots", "4"), ("service", "lognormal:40ms:0.5")];

    const TASK: &'static str = "Take the items 0 to N-1 through three stages: GET {url}/fetch/0, then POST {url}/transform/0, then POST {url}/store/0, and so on for each item, every request once and when the one before has been answered. No stage has more than {limit} requests in flight at any time. A stage begins with an item that waits for it as soon as that allows. A transformation takes twice as long as a fetch or a store. Between two stages no more than {limit} items wait, so that never more than 5 times {limit} items are in progress, from the fetch to the end of the store.";

    fn spec(p: &Asked, seed: u64) -> Spec {
        let own = Slots::Own { slots: p.slots, queue: None };
        let route = |(path, times): (&&str, u32)| Route {
            slots: own,
            ..Route::new(*path, p.service.times(times))
        };
        let routes = Self::LIMITED.iter().zip(TIMES).map(route).collect();
        Spec { seed, routes, ..Spec::new(p.slots, p.service.of.clone()) }
    }

    fn items(p: &Asked) -> Vec<String> {
        let stages = |item: usize| STAGES.map(|stage| format!("{stage}/{item}"));
        (0..p.n).flat_map(stages).collect()
    }

    const LIMITED: &'static [&'static str] = &["/fetch", SLOWEST, "/store"];

    fn read(p: &Asked, ledger: &[Entry]) -> Vec<(Gauge, f64)> {
        let ended = reading::ended(ledger, p.gives_up::<Self>());
        let slowest = reading::below(&ended, SLOWEST);
        let beside = books::beside(&slowest, &reading::below(&ended, "/fetch"));
        let in_progress = books::most_in_flight(&reading::wholes(&ended, &STAGES));
        let early = STAGES.windows(2).map(|pair| reading::too_early(ledger, pair[1], pair[0]));
        vec![
            (gauges::TOO_EARLY, early.sum::<usize>() as f64),
            (gauges::BESIDE, beside as f64),
            (gauges::FOUND, reading::found_on_arrival(&slowest, p.limit)),
            (gauges::IN_PROGRESS_MAX, in_progress as f64),
        ]
    }

    fn checks(p: &Asked, k: &Condition) -> Vec<Check> {
        let beside = k.every(|t| t.gauge(gauges::BESIDE));
        let overlap = Law::counted("transformations go on beside fetches", "of them");
        let found = k.every(|t| t.gauge(gauges::FOUND));
        let busy = Law::counted(
            "the slowest stage is kept full: transformations in flight when one begins, on average",
            "at a time",
        );
        let most = k.every(|t| t.gauge(gauges::IN_PROGRESS_MAX));
        let bound = (IN_PROGRESS * p.limit) as f64;
        let text = format!("no more than {bound} items are in progress at a time");
        vec![
            check::all_asked_for(k, "every item goes through every stage"),
            check::answered_once(k),
            check::nothing_else(k),
            Check {
                fault: "stages out of order",
                cause: "an item is handed on when its request begins, not when its answer is there",
                claim: check::none(
                    "no stage begins before the one before it has been answered",
                    "requests",
                    k,
                    gauges::TOO_EARLY,
                ),
            },
            check::limit_holds(p, k, Self::LIMITED),
            Check {
                fault: "stages do not overlap",
                cause: "everything, or a whole batch, goes through one stage before the next one begins",
                claim: overlap
                    .within("half of the transformations before the last fetch; in phases and in batches there is no such transformation")
                    .at_least([Case::exact("", Overlap::beside(p), beside)])
                    .unless(check::too_few(p.n, 2 * IN_PROGRESS, p.limit)),
            },
            Check {
                fault: "the slowest stage is not kept busy",
                cause: "a loop that awaits each item before it takes the next one, or workers that each take an item through all stages",
                claim: busy
                    .within("the bound is between two cases: a stage that is kept full, and workers that each take an item through all stages (their geometric mean)")
                    .at_least([Case::exact("", Overlap::half_way(p.limit), found)])
                    .unless(check::too_few(p.n, IN_PROGRESS, p.limit))
                    .unless(check::in_step(p)),
            },
            Check {
                fault: "a queue without a bound",
                cause: "the first stage runs ahead: nothing makes it wait for the slowest one",
                claim: Law::counted(text, "items").at_most([Case::exact("", bound, most)]),
            },
        ]
    }

    fn seconds(p: &Asked) -> f64 {
        let slowest = TIMES.iter().max().copied().map_or(1.0, f64::from);
        slowest * p.n as f64 * p.service_s() / p.limit.min(p.slots) as f64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn workers_for_all_stages_are_found_below_half_way_and_a_full_stage_above() {
        for limit in [2, 4, 50] {
            let half_way = Overlap::half_way(limit);
            let through_all = 1.0 + (limit - 1) as f64 / 2.0;
            assert!(through_all < half_way && half_way < limit as f64, "{limit}");
        }
        assert!((Overlap::half_way(1) - 1.0).abs() < 1e-12);
    }
}
