//! The service's books say how many requests it had at a time.

use std::time::Duration;

use anyhow::Result;
use mock_server::{Body, Script, Service, Spec, Turn};

use crate::{
    bench::Bench,
    books,
    exercise::{Card, Judge, Misconception, Question},
    line::{End, Run},
    verdict::Verdict,
};

/// Limit the fetches, outside of the fetch.
pub struct LimitOutside;

const SERVICE: Duration = Duration::from_millis(20);
const ITEMS: u64 = 40;
/// One item takes so long: several times as long as all others together, with one fewer at a time.
const SLOW: Duration = Duration::from_millis(900);

impl Judge for LimitOutside {
    fn card(&self) -> Card {
        Card {
            folder: "ex04_limit_outside",
            title: "Limit the fetches, outside of the fetch",
            lab: 4,
            question: Question {
                text: "The file as it is asks for 40 items. How many requests will the service have at the same time, at most?",
                gauge: "most_in_flight",
                unit: "requests",
            },
            misconceptions: &[
                Misconception {
                    name: "limit-inside",
                    belief: "a limit that holds nobody: one for each request, a permit that is given back at once, or none at all",
                    ask: "Who shares your limit, and how long does each request keep its permit?",
                },
                Misconception {
                    name: "one-more",
                    belief: "a limit that is looked at after it was passed",
                    ask: "With `limit` requests under way, does your program begin another one?",
                },
                Misconception {
                    name: "one-at-a-time",
                    belief: "a limit that nobody comes near",
                    ask: "What does the loop wait for before it begins the next item?",
                },
                Misconception {
                    name: "batches",
                    belief: "a batch for a limit",
                    ask: "What do the others of a batch wait for when one of them is slow?",
                },
                Misconception {
                    name: "waits-in-line",
                    belief: "a window that waits for one of its requests while others have long been answered",
                    ask: "One answer takes a second, and the others come at once: what does your program begin meanwhile?",
                },
                Misconception {
                    name: "fills-when-low",
                    belief: "a window that is filled up when it is nearly empty",
                    ask: "One of `limit` requests has been answered: when does your program begin the next one?",
                },
                Misconception {
                    name: "as-they-come",
                    belief: "answers in the order of arrival",
                    ask: "In which order do tasks end, and in which order are the bodies wanted?",
                },
            ],
            orders: false,
            pace: None,
        }
    }

    fn judge(&self, bench: &mut Bench) -> Result<Verdict> {
        let mut verdict = Verdict::new();
        let limit = bench.draw(4..9) as usize;
        let first = bench.draw(1000..1_000_000);
        let secret = bench.draw(1..u64::MAX);
        // Not the first: who waits in line has then begun more than one batch.
        let slow = first + bench.draw(1..4);
        let items: Vec<u64> = (first..first + ITEMS).collect();
        let upstream = bench.upstream(spec(secret, slow))?;
        let run = Run::new().service(&upstream).list("items", &items).give("limit", limit);
        let seen = bench.run_through(&mut verdict, run)?;
        let ledger = upstream.ledger();
        verdict.measured("most_in_flight", books::most_in_flight(&ledger) as f64);
        let under_way = || seen.asked("/").map(|(asked, over)| (asked, asked - over));
        let most = under_way().map(|(_, now)| now).max().unwrap_or(0);
        books::each_once(&mut verdict, &ledger, items.iter().map(|item| format!("/item/{item}")));
        verdict.check(
            most == limit,
            format!(
                "at most {most} requests were under way at the same time; the limit is {limit}"
            ),
        );
        for line in books::in_flight_chart(&ledger, limit) {
            verdict.show(line);
        }
        let wanted: Vec<String> = items
            .iter()
            .map(|item| books::stamp(secret, &format!("/item/{item}")).to_string())
            .collect();
        let got: Vec<&str> = seen.replies.iter().map(|reply| reply.text.as_str()).collect();
        let in_order = got == wanted;
        let all_there = wanted.iter().all(|wanted| got.contains(&wanted.as_str()));
        let order = if in_order { "in" } else { "not in" };
        let said = format!("{} bodies came back, {order} the order of the items", got.len());
        verdict.check(in_order, said);
        let slow = format!("/item/{slow}");
        let slow = ledger.iter().find(|entry| entry.path == slow).and_then(|entry| entry.left);
        let asked = ledger.iter().filter(|e| slow.is_some_and(|left| e.arrived < left)).count();
        let goes_on = asked + 3 > items.len();
        verdict.check(
            goes_on || most == 1,
            format!(
                "while one slow item took its {} ms, {asked} of {ITEMS} were asked for",
                SLOW.as_millis()
            ),
        );
        let could = |(asked, now): &(usize, usize)| *asked < items.len() && *now < limit;
        let below = under_way().filter(could).count();
        let said = format!(
            "{below} times the program had nothing to do, with items left and fewer than {limit} requests under way"
        );
        verdict.check(below == 0 || most == 1, said);
        let mistake = match most {
            1 => Some("one-at-a-time"),
            most if most == limit + 1 => Some("one-more"),
            most if most > limit => Some("limit-inside"),
            most if most == limit && asked == limit => Some("batches"),
            most if most == limit && !goes_on => Some("waits-in-line"),
            most if most == limit && below > 0 => Some("fills-when-low"),
            most if most == limit && !in_order && all_there => Some("as-they-come"),
            _ => None,
        };
        if !verdict.holds() && seen.end == End::Finished && seen.replies.len() == items.len() {
            mistake.into_iter().for_each(|name| verdict.looks_like(name));
        }
        Ok(verdict)
    }
}

/// Uneven, so that answers do not come in the order of the questions; and one of the first is slow.
fn spec(secret: u64, slow: u64) -> Spec {
    let body = Body::made("text/plain", move |asked| {
        books::stamp(secret, asked.path).to_string().into_bytes()
    });
    let script = Script::new(move |asked, _| {
        let is_slow = asked.path == format!("/item/{slow}");
        // Exponential, and its own for each item.
        let chance = (books::stamp(!secret, asked.path) >> 11) as f64 / (1_u64 << 53) as f64;
        let usual = SERVICE.mul_f64(-(1.0 - chance).ln());
        Turn::takes(if is_slow { SLOW } else { usual })
    });
    Spec { body, script: Some(script), ..Spec::new(1000, Service::Constant(SERVICE)) }
}
