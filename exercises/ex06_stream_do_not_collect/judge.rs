//! The books of source and service together: how many chunks were read and not yet answered. Texts count themselves.

use std::time::Duration;

use anyhow::Result;
use mock_server::{Body, Route, Service, Spec};

use crate::{
    bench::Bench,
    books,
    exercise::{Card, Judge, Misconception, Question},
    line::{End, Run, Seen},
    verdict::Verdict,
};

/// Stream, do not collect.
pub struct StreamDoNotCollect;

const CHUNKS: u64 = 40;
/// The reply that tells how many texts were kept at the same time, at most.
const TEXTS: u64 = u64::MAX;
/// Of the source, for a chunk: much sooner than the service has answered one.
const READ: Duration = Duration::from_millis(1);
/// Of the service, in the mean. Uneven, so that answers do not come in the order of the questions.
const EMBED: Duration = Duration::from_millis(60);

impl Judge for StreamDoNotCollect {
    fn card(&self) -> Card {
        Card {
            folder: "ex06_stream_do_not_collect",
            title: "Stream, do not collect",
            lab: 6,
            question: Question {
                text: "A text of 40 chunks, a limit of 3 to 6 in flight. How many chunks will the file as it is have read and not yet had answered, at most?",
                gauge: "most_held",
                unit: "chunks",
            },
            misconceptions: &[
                Misconception {
                    name: "collects-first",
                    belief: "a text that must be there before any of it is sent",
                    ask: "When is the first chunk sent, and where are all the others at that moment?",
                },
                Misconception {
                    name: "reads-ahead",
                    belief: "a limit on the sending for a limit on the reading",
                    ask: "What must have happened before your program asks the source for the next chunk?",
                },
                Misconception {
                    name: "one-at-a-time",
                    belief: "a stream for a queue of one",
                    ask: "What does the loop wait for before it reads the next chunk, and how many requests are then in flight?",
                },
                Misconception {
                    name: "batches",
                    belief: "a batch for a window",
                    ask: "When the first answer of a batch has come, what could begin, and what does it wait for?",
                },
                Misconception {
                    name: "keeps-the-texts",
                    belief: "a chunk that is kept whole because its number is wanted in the end",
                    ask: "An answer has come: what do you still need of its chunk, and what do you keep?",
                },
                Misconception {
                    name: "as-they-come",
                    belief: "answers in the order of arrival",
                    ask: "Which task ends first, and whose chunk does it answer?",
                },
            ],
            orders: false,
            pace: None,
        }
    }

    fn judge(&self, bench: &mut Bench) -> Result<Verdict> {
        let mut verdict = Verdict::new();
        let limit = bench.draw(3..7) as usize;
        let first = bench.draw(1000..1_000_000);
        let secrets = [bench.draw(1..u64::MAX), bench.draw(1..u64::MAX)];
        let chunks: Vec<u64> = (first..first + CHUNKS).collect();
        let spec = spec(secrets, bench.draw(1..u64::MAX));
        let upstream = bench.upstream(spec)?;
        let run = Run::new().service(&upstream).list("chunks", &chunks).give("limit", limit);
        let seen = bench.run_through(&mut verdict, run)?;

        let ledger = upstream.ledger();
        let (reads, sends) = (books::under(&ledger, "/chunk/"), books::under(&ledger, "/embed/"));
        let held = books::from_to(&reads, &sends);
        let most_held = books::most_in_flight(&held);
        let in_flight = seen.asked("/embed/").map(|(sent, over)| sent - over);
        let most = in_flight.max().unwrap_or(0);
        verdict.measured("most_held", most_held as f64);
        let paths = ["chunk", "embed"]
            .into_iter()
            .flat_map(|what| chunks.iter().map(move |n| format!("/{what}/{n}")));
        let once = books::each_once(&mut verdict, &ledger, paths);
        verdict.check(
            most_held <= limit + 1,
            format!("at most {most_held} chunks were read and not yet answered; the limit is {limit}, and one more in hand"),
        );
        verdict.check(
            most == limit,
            format!(
                "at most {most} requests were in flight at the same time; the limit is {limit}"
            ),
        );
        let texts = seen.reply(TEXTS).and_then(|reply| reply.text.parse().ok()).unwrap_or(0);
        let keeps = texts > limit + 1;
        verdict.check(!keeps, format!("at most {texts} texts were kept at the same time"));
        let above = "chunks read and not yet answered, by the books of source and service:";
        for line in books::under_way_chart(above, &held, limit) {
            verdict.show(line);
        }
        // Neither window nor reading: others wait for the slowest of a batch.
        let could = |((sent, over), (asked, read)): &((usize, usize), (usize, usize))| {
            *sent < chunks.len() && sent - over < limit && asked == read
        };
        let below = seen.asked("/embed/").zip(seen.asked("/chunk/")).filter(could).count();
        let said = format!(
            "{below} times the program had nothing to do, with chunks left, nothing being read and fewer than {limit} requests in flight"
        );
        verdict.check(below == 0, said);
        let (right, in_order) = answers(&mut verdict, &seen, &chunks, secrets);
        let begun = sends.iter().map(|entry| entry.arrived).min();
        let all_read = reads.iter().map(|entry| entry.arrived).max();
        let mistake = match most {
            _ if begun > all_read => Some("collects-first"),
            _ if most_held > limit + 1 => Some("reads-ahead"),
            1 => Some("one-at-a-time"),
            _ if below > 0 => Some("batches"),
            _ if keeps => Some("keeps-the-texts"),
            _ if right == chunks.len() && !in_order => Some("as-they-come"),
            _ => None,
        };
        if let (false, End::Finished, Some(mistake)) = (verdict.holds(), seen.end, mistake)
            && once
            && most <= limit
        {
            verdict.looks_like(mistake);
        }
        Ok(verdict)
    }
}

/// Source and service: the text of a chunk belongs to its path and the first secret, an answer to its text and the
/// second one.
fn spec([secret, key]: [u64; 2], seed: u64) -> Spec {
    let source = Body::made("text/plain", move |asked| text(secret, asked.path).into_bytes());
    let embeddings = Body::made("text/plain", move |asked| {
        answer(key, &String::from_utf8_lossy(asked.body)).into_bytes()
    });
    let embed = Service::Exponential { mean: EMBED };
    let routes = vec![
        Route { body: source, ..Route::new("/chunk", Service::Constant(READ)) },
        Route { body: embeddings, ..Route::new("/embed", embed) },
    ];
    Spec { routes, seed, ..Spec::new(1000, Service::Constant(READ)) }
}

fn text(secret: u64, path: &str) -> String {
    format!("text {}", books::stamp(secret, path))
}

fn answer(key: u64, text: &str) -> String {
    books::stamp(key, text).to_string()
}

/// How many answers are right, and whether all are, in order.
fn answers(
    verdict: &mut Verdict,
    seen: &Seen,
    chunks: &[u64],
    [secret, key]: [u64; 2],
) -> (usize, bool) {
    let wanted = |n: &u64| answer(key, &text(secret, &format!("/chunk/{n}")));
    let wanted: Vec<String> = chunks.iter().map(wanted).collect();
    let replies = seen.replies.iter().filter(|reply| reply.id != TEXTS);
    let got: Vec<&str> = replies.map(|reply| reply.text.as_str()).collect();
    let right = wanted.iter().filter(|wanted| got.contains(&wanted.as_str())).count();
    let in_order = got == wanted;
    let order = if in_order { "in" } else { "not in" };
    let said = format!("{right} of {CHUNKS} answers are right, {order} the order of the chunks");
    verdict.check(in_order, said);
    (right, in_order)
}
