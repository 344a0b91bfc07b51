//! One book for fetches and stores, and what the kit saw of the transformations: what was under way at the same time.

use std::time::Duration;

use anyhow::Result;
use mock_server::{Body, Entry, Route, Service, Spec};

use crate::{
    bench::Bench,
    books,
    exercise::{Card, Judge, Misconception, Question},
    line::{End, Run, Seen},
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
                    name: "one-long-queue",
                    belief: "one queue with the places of two",
                    ask: "Which two of the three stages are one loop, and what does the one wait for while the other is at work?",
                },
                Misconception {
                    name: "copies-the-digest",
                    belief: "a computation that nobody sees, for one that holds up nobody",
                    ask: "What does the task say that the transformation computes with, and what do you call?",
                },
                Misconception {
                    name: "transforms-on-the-loop",
                    belief: "a stage of its own for a thread of its own",
                    ask: "Which thread computes, and who else needs that thread meanwhile?",
                },
                Misconception {
                    name: "joins-a-thread",
                    belief: "a loop that may wait as a thread waits",
                    ask: "What does the event loop do while `join` waits?",
                },
            ],
            orders: false,
            pace: None,
        }
    }

    fn judge(&self, bench: &mut Bench) -> Result<Verdict> {
        let mut verdict = Verdict::new();
        let (rounds, places) = (bench.draw(700_000..1_000_000), bench.draw(2..4) as usize);
        let first = bench.draw(1000..1_000_000);
        let secret = bench.draw(1..u64::MAX);
        let items: Vec<u64> = (first..first + ITEMS as u64).collect();
        let (kept, stored) = books::keeping();
        let fetched = move |path: &str| books::stamp(secret, path).to_string().into_bytes();
        let fetched = Body::made("text/plain", move |asked| fetched(asked.path));
        let routes = vec![
            Route { body: fetched, ..Route::new("/fetch", Service::Constant(FETCH)) },
            Route { body: kept, ..Route::new("/store", Service::Constant(STORE)) },
        ];
        let spec = Spec { routes, ..Spec::new(1000, Service::Constant(FETCH)) };
        let upstream = bench.upstream(spec)?;
        let run = Run::new().service(&upstream).list("items", &items).give("rounds", rounds);
        let run = run.give("places", places).stop_when(books::stand_still(&upstream));
        let seen = bench.run_through(&mut verdict, run)?;

        let ledger = upstream.ledger();
        let read = Read::new(&ledger, places);
        verdict.measured("whole_ms", read.whole.as_secs_f64() * 1e3);
        if seen.end == End::Stopped {
            let (fetches, stores) = (read.fetches.len(), read.stores.len());
            verdict.check(
                false,
                format!("the program stood still: {fetches} fetches, {stores} stores"),
            );
            if stores == 0 && fetches > places {
                verdict.looks_like("nobody-takes");
            }
            return Ok(verdict);
        }
        let both = |n: &u64| [format!("/fetch/{n}"), format!("/store/{n}")];
        let once = books::each_once(&mut verdict, &ledger, items.iter().flat_map(both));
        let is_right = |n: &&u64| {
            let [fetch, store] = both(n);
            let result = stir(books::stamp(secret, &fetch), rounds).to_string();
            stored.at(&store) == Some(result)
        };
        let right = items.iter().filter(is_right).count();
        let said = format!("of {ITEMS} results, {right} were stored and are right");
        let done = once & verdict.check(right == ITEMS, said);
        read.look(&mut verdict, places);
        let transforms = Transforms::new(&seen, &mut verdict, rounds);
        let on_loop = seen.did.iter().filter(|did| !did.ends_with("thread")).count();
        let said =
            format!("{on_loop} of {ITEMS} items were transformed on the event loop's thread");
        verdict.check(on_loop == 0, said);
        // A machine that is busy elsewhere may keep the loop from a few.
        let is_held = 2 * seen.held > ITEMS;
        let said = format!("the event loop stood still during {} transformations", seen.held);
        verdict.check(!is_held, said);
        if !verdict.holds() && done && seen.end == End::Finished {
            let on_loop = (on_loop > 0).then_some("transforms-on-the-loop");
            let held = is_held.then_some("joins-a-thread");
            let others = on_loop.or(held).or(transforms.mistake);
            if let Some(mistake) = transforms.unseen.or(read.mistake()).or(others) {
                verdict.looks_like(mistake);
            }
        }
        Ok(verdict)
    }
}

/// What the kit saw of the transformations.
struct Transforms {
    unseen: Option<&'static str>,
    mistake: Option<&'static str>,
}

impl Transforms {
    /// A machine that is busy elsewhere may keep a few of them from beginning in time. In two loops two stages never
    /// meet at all, however quick or slow it is.
    fn new(seen: &Seen, verdict: &mut Verdict, rounds: u64) -> Transforms {
        let asked = books::spans(&seen.moments, "asks", "answered");
        let transforms = books::spans(&seen.moments, "digests", "digested");
        let done = |entry: &Entry| entry.path.split_once(' ')?.1.parse::<u64>().ok();
        let done = transforms.iter().filter_map(done).fold(0, u64::saturating_add);
        let all = rounds * ITEMS as u64;
        let said = format!("of {all} rounds to be computed, `digest` was given {done}");
        let unseen = !verdict.check(done >= all, said);
        let beside = |path| books::beside(&transforms, &books::under(&asked, path));
        let (fetches, stores) = (beside("/fetch/"), beside("/store/"));
        let said = format!(
            "during {fetches} of {ITEMS} transformations an item was being fetched, during {stores} one was being stored"
        );
        let apart = !verdict.check(fetches.min(stores) > ITEMS / 6, said);
        Transforms {
            unseen: unseen.then_some("copies-the-digest"),
            mistake: apart.then_some("one-long-queue"),
        }
    }
}

/// What the book says.
struct Read {
    fetches: Vec<Entry>,
    stores: Vec<Entry>,
    /// From the fetch of each item to the end of its store.
    under_way: Vec<Entry>,
    /// How many fetches, stores and items at the same time, at most.
    most: [usize; 3],
    /// Stores during which something was fetched.
    beside: usize,
    /// Fewest and most items under way with three stages and two queues.
    wanted: (usize, usize),
    whole: Duration,
}

impl Read {
    fn new(ledger: &[Entry], places: usize) -> Read {
        let fetches = books::under(ledger, "/fetch/");
        let stores = books::under(ledger, "/store/");
        let under_way = books::from_to(&fetches, &stores);
        let most = [&fetches, &stores, &under_way].map(|entries| books::most_in_flight(entries));
        let last = ledger.iter().filter_map(|entry| entry.left).max().unwrap_or_default();
        let first = ledger.first().map_or(last, |entry| entry.arrived);
        let beside = books::beside(&stores, &fetches);
        // An item at each stage and one queue full, whichever stage is the slowest; or both queues.
        let wanted = (places + 3, 2 * places + 3);
        Read { fetches, stores, under_way, most, beside, wanted, whole: last.saturating_sub(first) }
    }

    fn look(&self, verdict: &mut Verdict, places: usize) {
        let [fetches, stores, most] = self.most;
        let (least, bound) = self.wanted;
        verdict.check(
            [fetches, stores] == [1, 1],
            format!("fetches in flight at the same time: at most {fetches}; stores: {stores}"),
        );
        // The last items are stored when there is nothing left to fetch.
        let (beside, could) = (self.beside, ITEMS - bound);
        verdict.check(
            2 * beside >= could,
            format!("during {beside} of {ITEMS} stores an item was being fetched, where {could} or so could be"),
        );
        verdict.check(
            (least..=bound).contains(&most),
            format!(
                "at most {most} items were fetched and not yet stored; three stages and one full \
                 queue of {places} hold {least}, with both queues full {bound}"
            ),
        );
        for line in books::lanes(&[("fetch", &self.fetches), ("store", &self.stores)]) {
            verdict.show(line);
        }
        let above = "items fetched and not yet stored:";
        for line in books::under_way_chart(above, &self.under_way, bound) {
            verdict.show(line);
        }
    }

    fn mistake(&self) -> Option<&'static str> {
        let (least, bound) = self.wanted;
        match self.most {
            [fetches, stores, _] if fetches > 1 || stores > 1 => Some("all-at-once"),
            [.., 1] => Some("item-by-item"),
            _ if self.beside == 0 => Some("phases"),
            [.., most] if most > bound => Some("unbounded-queues"),
            [.., most] if most < least => Some("two-stages"),
            _ => None,
        }
    }
}
