//! One book for fetches and stores: what was under way at the same time.

use std::time::Duration;

use anyhow::Result;
use mock_server::{Body, Route, Service, Spec};

use crate::{
    bench::Bench,
    books,
    exercise::{Card, Judge, Misconception, Question},
    line::{End, Run},
    stir::stir,
    verdict::Verdict,
};

/// Overlap the stages.
pub struct OverlapTheStages;

const ITEMS: usize = 30;
const FETCH: Duration = Duration::from_millis(8);
/// Much longer than a fetch: whoever is not held back gets far ahead.
const STORE: Duration = Duration::from_millis(24);

impl Judge for OverlapTheStages {
    fn card(&self) -> Card {
        Card {
            folder: "ex08_overlap_the_stages",
            title: "Overlap the stages",
            lab: 8,
            question: Question {
                text: "30 items: 8 ms to fetch each, some 3 ms to transform, 24 ms to store. How long will the file as it is take for all?",
                gauge: "whole_ms",
                unit: "ms",
            },
            misconceptions: &[
                Misconception {
                    name: "item-by-item",
                    belief: "an item that must be stored before the next one is fetched",
                    ask: "What must have ended before the next item is fetched?",
                },
                Misconception {
                    name: "phases",
                    belief: "a stage that cannot begin before the one before it has ended",
                    ask: "What does the first item wait for, once it is fetched?",
                },
                Misconception {
                    name: "all-at-once",
                    belief: "many items at once for many stages at once",
                    ask: "How many fetches does your program begin before the first one is answered?",
                },
                Misconception {
                    name: "nobody-takes",
                    belief: "a queue that is filled before anybody takes from it",
                    ask: "Who makes room in the first queue, and what has to happen before that loop begins?",
                },
                Misconception {
                    name: "unbounded-queues",
                    belief: "a queue in which there is always room",
                    ask: "Fetching is quicker than storing. Where are all the items that are fetched and not yet stored?",
                },
                Misconception {
                    name: "two-stages",
                    belief: "two loops for three stages",
                    ask: "While an item is transformed, which of your loops waits for it?",
                },
                Misconception {
                    name: "transforms-on-the-loop",
                    belief: "a stage of its own for a thread of its own",
                    ask: "Which thread computes, and who else needs that thread meanwhile?",
                },
            ],
            orders: false,
            pace: None,
        }
    }

    fn judge(&self, bench: &mut Bench) -> Result<Verdict> {
        let mut verdict = Verdict::new();
        let (rounds, places) = (bench.draw(700_000..1_000_000), bench.draw(1..4) as usize);
        let first = bench.draw(1000..1_000_000);
        let secret = bench.draw(1..u64::MAX);
        let items: Vec<u64> = (first..first + ITEMS as u64).collect();
        let (kept, stored) = books::keeping();
        let fetched = Body::made("text/plain", move |asked| {
            books::stamp(secret, asked.path).to_string().into_bytes()
        });
        let routes = vec![
            Route { body: fetched, ..Route::new("/fetch", Service::Constant(FETCH)) },
            Route { body: kept, ..Route::new("/store", Service::Constant(STORE)) },
        ];
        let upstream =
            bench.upstream(Spec { routes, ..Spec::new(1000, Service::Constant(FETCH)) })?;
        let run = Run::new()
            .service(&upstream)
            .list("items", &items)
            .give("rounds", rounds)
            .give("places", places)
            .stop_when(books::stand_still(&upstream));
        let seen = bench.run_through(&mut verdict, run)?;

        let ledger = upstream.ledger();
        let (fetches, stores) =
            (books::under(&ledger, "/fetch/"), books::under(&ledger, "/store/"));
        let whole = ledger.iter().filter_map(|entry| entry.left).max().unwrap_or_default();
        let whole = whole.saturating_sub(ledger.first().map_or(whole, |entry| entry.arrived));
        verdict.measured("whole_ms", whole.as_secs_f64() * 1e3);
        if seen.end == End::Stopped {
            let (fetches, stores) = (fetches.len(), stores.len());
            verdict.check(
                false,
                format!(
                    "the program stood still, with {fetches} items fetched and {stores} stored"
                ),
            );
            if stores == 0 && fetches > places {
                verdict.looks_like("nobody-takes");
            }
            return Ok(verdict);
        }
        let paths = ["fetch", "store"]
            .into_iter()
            .flat_map(|what| items.iter().map(move |n| format!("/{what}/{n}")));
        books::each_once(&mut verdict, &ledger, paths);
        let wanted =
            |n: &u64| stir(books::stamp(secret, &format!("/fetch/{n}")), rounds).to_string();
        let right =
            items.iter().filter(|n| stored.at(&format!("/store/{n}")) == Some(wanted(n))).count();
        verdict.check(
            right == ITEMS,
            format!("of {ITEMS} results, {right} were stored and are right"),
        );

        let one = [&fetches, &stores].map(|entries| books::most_in_flight(entries));
        verdict.check(
            one == [1, 1],
            format!(
                "at most {} fetches and {} stores were in flight at the same time",
                one[0], one[1]
            ),
        );
        let under_way = books::from_to(&fetches, &stores);
        let (most, bound) = (books::most_in_flight(&under_way), 2 * places + 3);
        // The last items are stored when there is nothing left to fetch.
        let (beside, could) = (books::beside(&stores, &fetches), ITEMS - bound);
        verdict.check(
            2 * beside >= could,
            format!("during {beside} of {ITEMS} stores an item was being fetched; {could} or so could be"),
        );
        verdict.check(
            most <= bound,
            format!("at most {most} items were fetched and not yet stored; two queues of {places} places and three stages hold {bound}"),
        );
        let least = places + 3;
        verdict.check(
            most >= least,
            format!("that is at most {most}; three stages, each with an item, and one full queue would be {least}"),
        );
        let on_loop = seen.did.iter().filter(|did| !did.ends_with("thread")).count();
        verdict.check(
            on_loop == 0,
            format!("{on_loop} of {ITEMS} items were transformed on the event loop's thread"),
        );
        for line in books::lanes(&[("fetch", &fetches), ("store", &stores)]) {
            verdict.show(line);
        }
        verdict.show("items fetched and not yet stored:");
        for line in books::in_flight_chart(&under_way, bound).into_iter().skip(1) {
            verdict.show(line);
        }
        if verdict.holds() || seen.end != End::Finished {
            return Ok(verdict);
        }
        if one != [1, 1] {
            verdict.looks_like("all-at-once");
        } else if most == 1 {
            verdict.looks_like("item-by-item");
        } else if beside == 0 {
            verdict.looks_like("phases");
        } else if most > bound {
            verdict.looks_like("unbounded-queues");
        } else if most < least {
            verdict.looks_like("two-stages");
        } else if on_loop > 0 {
            verdict.looks_like("transforms-on-the-loop");
        }
        Ok(verdict)
    }
}
