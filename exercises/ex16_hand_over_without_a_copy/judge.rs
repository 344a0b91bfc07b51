//! Where the bytes lay that each reader was given, and who read at the same time.

use std::collections::BTreeSet;

use anyhow::Result;

use crate::{
    bench::Bench,
    exercise::{Card, Judge, Misconception, Question},
    line::{End, Run, Seen},
    verdict::Verdict,
};

/// Hand over without a copy.
pub struct HandOverWithoutACopy;

const READERS: u64 = 6;
/// Payloads that are handed over at last, one after another: more than have room at the same time.
const HANDED: u64 = 20;

impl Judge for HandOverWithoutACopy {
    fn card(&self) -> Card {
        Card {
            folder: "ex16_hand_over_without_a_copy",
            title: "Hand over without a copy",
            lab: 16,
            question: Question {
                text: "Six readers want parts of a payload of some 4 MB. In how many other places will the file as it is put bytes of it?",
                gauge: "copies",
                unit: "places",
            },
            misconceptions: &[
                Misconception {
                    name: "clone-each",
                    belief: "a copy for each thread, because a thread wants something of its own",
                    ask: "What has to be a thread's own for it to read: the bytes, or something that leads to them?",
                },
                Misconception {
                    name: "all-but-one",
                    belief: "a single owner, so that all the others need copies",
                    ask: "The last reader reads the payload itself. What keeps the others from it?",
                },
                Misconception {
                    name: "one-copy",
                    belief: "an Arc that takes the bytes in without moving them",
                    ask: "Where does an `Arc<[u8]>` keep its counts, and where do the bytes lie that the Vec had?",
                },
                Misconception {
                    name: "one-lock",
                    belief: "a lock around something that nobody changes",
                    ask: "Whom does a reader keep waiting, and what would go wrong if it did not?",
                },
                Misconception {
                    name: "waits-for-them",
                    belief: "a payload that is lent, and so must be waited for",
                    ask: "When does your function return, and what would have to be true for it to return before the readers are ready?",
                },
                Misconception {
                    name: "leaked",
                    belief: "a payload that lives for ever because nobody knows how long it must",
                    ask: "Who gives the memory back after the last reader?",
                },
                Misconception {
                    name: "keeps-the-last",
                    belief: "an owner besides the readers, who does not go when they do",
                    ask: "When the last reader is ready, who owns the payload, and until when?",
                },
            ],
            orders: false,
            pace: None,
        }
    }

    fn judge(&self, bench: &mut Bench) -> Result<Verdict> {
        let mut verdict = Verdict::new();
        let bytes = bench.draw(3_500_000..4_500_000);
        let mut parts = Vec::new();
        for _ in 0..READERS {
            // More than half each, so that all of them overlap.
            parts.push(bench.draw(0..bytes / 4));
            parts.push(bench.draw(bytes * 3 / 4..bytes));
        }
        let run = Run::new()
            .give("seed", bench.draw(1..u64::MAX))
            .give("bytes", bytes)
            .list("parts", &parts);
        let seen = bench.run(run)?;
        let said = |id: u64| seen.reply(id)?.text.split_once(' ');
        let last = seen.replies.iter().rev().find(|reply| reply.id == 200);
        let given_back: u64 = last.and_then(|reply| reply.text.parse().ok()).unwrap_or(0);
        // Who began to hand over the huge ones has met everything before; what ends then ended for want of room.
        let is_full = (1..HANDED).contains(&given_back) && matches!(seen.end, End::Early(_));
        if !is_full {
            crate::bench::note(&mut verdict, &seen);
        }
        let Some((most, rest)) = said(100) else { return Ok(verdict) };
        let (threads, has_returned) = rest.split_once(' ').unwrap_or((rest, ""));

        let places: Vec<&str> = (0..READERS).filter_map(|id| Some(said(id)?.0)).collect();
        let right =
            (0..READERS).filter(|id| said(*id).is_some_and(|(_, sum)| sum == "right")).count();
        let here = places.iter().filter(|place| **place == "here").count();
        let copies: BTreeSet<_> = places.iter().filter(|place| **place != "here").collect();
        verdict.measured("copies", copies.len() as f64);
        verdict.check(
            right as u64 == READERS,
            format!("{right} of {READERS} readers read what they wanted"),
        );
        verdict.check(
            here as u64 == READERS,
            format!("{here} of {READERS} readers read the payload itself; there were copies in {} places", copies.len()),
        );
        let together = most == READERS.to_string();
        verdict
            .check(together, format!("at most {most} of {READERS} readers read at the same time"));
        let returned = has_returned == "true";
        let not = if returned { "" } else { "not " };
        verdict.check(returned, format!("hand_over had {not}returned while they read"));
        for (id, ends) in parts.chunks_exact(2).enumerate() {
            let row = said(id as u64).map_or("nothing", |(place, _)| {
                if place == "here" { "the payload" } else { "elsewhere" }
            });
            verdict.show(format!(
                "reader {id}: {:>4} to {:>4} KB: {row}",
                ends[0] >> 10,
                ends[1] >> 10
            ));
        }
        if right as u64 != READERS {
            return Ok(verdict);
        }
        if here as u64 != READERS {
            verdict.looks_like(match copies.len() {
                _ if here > 0 => "all-but-one",
                1 => "one-copy",
                _ => "clone-each",
            });
        } else if !returned {
            verdict.looks_like("waits-for-them");
        } else if !together && threads == READERS.to_string() {
            verdict.looks_like("one-lock");
        }
        memory(&mut verdict, &seen, given_back);
        if is_full {
            verdict.looks_like("leaked");
        }
        Ok(verdict)
    }
}

/// Whether the memory of all payloads was given back.
fn memory(verdict: &mut Verdict, seen: &Seen, given_back: u64) {
    if verdict.holds() {
        verdict.check(
            given_back == HANDED,
            format!(
                "{given_back} of {HANDED} payloads of 256 MB had room, one after another, in 4 GB"
            ),
        );
    }
    if let Some(free) = seen.reply(300).filter(|_| verdict.holds()) {
        let is_free = free.text == "true";
        let not = if is_free { "" } else { "not " };
        let said = format!("the last payload's memory was {not}free after its last reader");
        if !verdict.check(is_free, said) {
            verdict.looks_like("keeps-the-last");
        }
    }
}
