//! How long pings wait while digests are computed, beside the reference and the blocked loop.

use std::{path::Path, time::Duration};

use anyhow::Result;

use crate::{
    bench::Bench,
    exercise::{Card, Judge, Misconception, Question},
    line::{End, Run, Seen},
    stir::stir,
    verdict::Verdict,
};

/// Unblock the loop.
pub struct UnblockTheLoop;

/// Rounds of a digest: ten milliseconds or more.
const ROUNDS: u64 = 6_000_000;
/// More than anybody would set threads aside for.
const DIGESTS: u64 = 12;
const PINGS: u64 = 30;
/// From one ping to the next.
const BEAT: Duration = Duration::from_millis(5);

impl Judge for UnblockTheLoop {
    fn card(&self) -> Card {
        Card {
            folder: "ex02_unblock_the_loop",
            title: "Unblock the loop",
            lab: 2,
            question: Question {
                text: "The file as it is computes 12 digests of some 12 ms each, which are asked for within 60 ms. How long will the slowest ping wait?",
                gauge: "slowest_ping_ms",
                unit: "ms",
            },
            misconceptions: &[
                Misconception {
                    name: "inline",
                    belief: "an async function gives way while it computes",
                    ask: "Between which two awaits does the computation run, and on which thread?",
                },
                Misconception {
                    name: "spawned",
                    belief: "a new task is a new thread",
                    ask: "How many threads does this server's runtime have for its tasks?",
                },
                Misconception {
                    name: "joined",
                    belief: "to wait for a thread is to await it",
                    ask: "What does the event loop do while `join` waits?",
                },
                Misconception {
                    name: "not-awaited",
                    belief: "to begin the work is to answer the request",
                    ask: "Who hands the digest to the one who asked for it?",
                },
            ],
            orders: false,
            pace: Some("inline"),
        }
    }

    fn judge(&self, bench: &mut Bench) -> Result<Verdict> {
        let mut verdict = Verdict::new();
        let seeds: Vec<u64> = (0..DIGESTS).map(|_| bench.draw(1..u64::MAX)).collect();
        let seen = bench.run_through(&mut verdict, load(&seeds))?;
        let slowest = pings().filter_map(|id| seen.took(id)).max();
        verdict.measured("slowest_ping_ms", slowest.map_or(f64::NAN, |time| time.as_secs_f64() * 1e3));
        if seen.end != End::Finished {
            return Ok(verdict);
        }
        if let Some(slowest) = slowest {
            verdict.show(format!("the slowest ping waited {:.1} ms", slowest.as_secs_f64() * 1e3));
        }
        let back = pings().filter(|id| seen.reply(*id).is_some_and(|r| r.text == word(*id))).count();
        verdict.check(back as u64 == PINGS, format!("{back} of {PINGS} pings came back with their word"));
        let right = seeds.iter().zip(0..).filter(|(seed, id)| {
            let wanted = stir(**seed, ROUNDS).to_string();
            seen.reply(*id).is_some_and(|reply| reply.text == wanted)
        });
        let right = right.count() as u64;
        verdict.check(right == DIGESTS, format!("{right} of {DIGESTS} digests came back and are right"));
        if !verdict.holds() {
            // A number is a digest that is wrong: somebody waited for it.
            let is_number = |id: u64| seen.reply(id).is_some_and(|r| r.text.parse::<u64>().is_ok());
            let waited = (0..DIGESTS).any(is_number);
            if back as u64 == PINGS && seen.did.len() as u64 == DIGESTS && !waited {
                verdict.looks_like("not-awaited");
            }
            return Ok(verdict);
        }
        let wait = |bench: &mut Bench, program: &Path| {
            let seeds: Vec<u64> = (0..DIGESTS).map(|_| bench.draw(1..u64::MAX)).collect();
            Ok(mean_wait(&load(&seeds).of(program)?))
        };
        let ms = |seconds: f64| format!("{:.1} ms", seconds * 1e3);
        let is_near = bench.pace(&mut verdict, "the mean wait of a ping", ms, wait)?;
        if !is_near && !verdict.holds() {
            let at = |place: &str| seen.did.iter().any(|did| did.ends_with(place));
            verdict.looks_like(if at("handler") {
                "inline"
            } else if at("loop") {
                "spawned"
            } else {
                "joined"
            });
        }
        Ok(verdict)
    }
}

fn pings() -> std::ops::Range<u64> {
    1000..1000 + PINGS
}

fn word(id: u64) -> String {
    format!("w{id}")
}

fn load(seeds: &[u64]) -> Run<'static> {
    let mut run = Run::new();
    for (beat, id) in (0..).zip(pings()) {
        run = run.job(BEAT * beat, id, format!("ping {}", word(id)));
    }
    for (id, seed) in (0..).zip(seeds) {
        let at = BEAT * u32::try_from(2 + id).unwrap_or(2);
        run = run.job(at, id, format!("digest {seed} {ROUNDS}"));
    }
    run
}

/// In seconds. A ping that never came back waited for the whole run.
fn mean_wait(seen: &Seen) -> f64 {
    let waits = pings().map(|id| seen.took(id).unwrap_or(seen.wall).as_secs_f64());
    waits.sum::<f64>() / PINGS as f64
}
