//! Two bursts and some orders between them: who was let in, and what the service had of it.

use std::{ops::Range, time::Duration};

use anyhow::Result;
use mock_server::{Body, Service, Spec};

use crate::{
    bench::Bench,
    books,
    exercise::{Card, Judge, Misconception, Question},
    line::{End, Run, Seen},
    verdict::{Outcome, Verdict},
};

/// Bound the queue.
pub struct BoundTheQueue;

const SERVICE: Duration = Duration::from_millis(320);
/// The first burst: by then the program is there.
const FIRST: Duration = Duration::from_millis(40);
/// The first burst ends a service time at a time: those in the slots, then those who waited. The second one comes
/// in the middle of that. In tenths of a service time.
const SECOND: u32 = 15;
/// Orders that come one at a time while all is taken.
const SINGLE: [u32; 5] = [3, 5, 7, 17, 18];

impl Judge for BoundTheQueue {
    fn card(&self) -> Card {
        Card {
            folder: "ex03_bound_the_queue",
            title: "Bound the queue",
            lab: 3,
            question: Question {
                text: "The file as it is gets some 30 orders within 600 ms. Each takes 320 ms at the service, and 4 to 6 may be under way. How long will the slowest order take, from when it came to its answer?",
                gauge: "slowest_ms",
                unit: "ms",
            },
            misconceptions: &[
                Misconception {
                    name: "waits-for-a-place",
                    belief: "a place that one may wait for, or no bound at all",
                    ask: "What happens to the order that finds the last place taken, and where does it stand until then?",
                },
                Misconception {
                    name: "refuses-late",
                    belief: "a refusal that has to be waited for",
                    ask: "What has an order waited for by the time that it is told `busy`?",
                },
                Misconception {
                    name: "waits-in-the-service",
                    belief: "a bound on all that are inside, and none on those under way",
                    ask: "With `slots` orders under way, what keeps your program from asking for one more?",
                },
                Misconception {
                    name: "under-way-waits-too",
                    belief: "`places` for all, those who need not wait included",
                    ask: "All slots are free and one order more than `places` come at the same instant. Who of them has to wait?",
                },
                Misconception {
                    name: "not-given-back",
                    belief: "a place that is not given back on every way out",
                    ask: "On which ways does an order leave `handle`, and what does it give back on each of them?",
                },
            ],
            orders: false,
            pace: None,
        }
    }

    fn judge(&self, bench: &mut Bench) -> Result<Verdict> {
        let mut found = Verdict::new();
        for _ in 0..3 {
            let (verdict, is_steady) = attempt(bench)?;
            if found.checks.is_empty() || verdict.outcome() != Outcome::Undecided {
                found = verdict;
            }
            if is_steady || found.outcome() == Outcome::Passed {
                break;
            }
        }
        Ok(found)
    }
}

/// One run; and whether neither judge nor program seemed to stand still meanwhile.
fn attempt(bench: &mut Bench) -> Result<(Verdict, bool)> {
    let mut verdict = Verdict::new();
    let slots = bench.draw(4..7) as usize;
    let places = bench.draw(2..slots as u64) as usize;
    let secret = bench.draw(1..u64::MAX);
    let body = Body::made("text/plain", move |asked| {
        books::stamp(secret, asked.path).to_string().into_bytes()
    });
    let upstream = bench.upstream(Spec { body, ..Spec::new(1000, Service::Constant(SERVICE)) })?;
    let mut run = Run::new().service(&upstream).give("slots", slots).give("places", places);
    let waves = waves(bench, slots, places);
    for Wave { tenths, ids, .. } in &waves {
        let paths: Vec<String> = ids.clone().map(path).collect();
        run = run.job(due(*tenths), ids.start, paths.join("\n"));
    }
    let mut seen = bench.run_through(&mut verdict, run)?;
    let behind = spread(&mut seen, &waves);
    let all: Vec<u64> = waves.iter().flat_map(|wave| wave.ids.clone()).collect();
    let slowest = all.iter().filter_map(|id| seen.took(*id)).max();
    verdict.measured("slowest_ms", slowest.unwrap_or(seen.wall).as_secs_f64() * 1e3);
    if behind > SERVICE / 5 {
        verdict.undecided = Some("the judge itself could not keep to its times".to_owned());
        return Ok((verdict, false));
    }
    let answers = |id: u64, text: &str| seen.reply(id).is_some_and(|reply| reply.text == text);
    let is_in = |id: &u64| answers(*id, &books::stamp(secret, &path(*id)).to_string());
    let refused: Vec<u64> = all.iter().copied().filter(|id| answers(*id, "busy")).collect();
    let answered = all.iter().filter(|id| is_in(id)).count();
    verdict.check(
        answered + refused.len() == all.len() && seen.replies.len() == all.len(),
        format!(
            "of {} orders {answered} got the service's answer and {} were told `busy`",
            all.len(),
            refused.len()
        ),
    );
    let ledger = upstream.ledger();
    books::each_once(&mut verdict, &ledger, all.iter().copied().filter(is_in).map(path));
    let most = books::most_in_flight(&ledger);
    verdict.check(
        most == slots,
        format!("the service had at most {most} at the same time; there are {slots} slots"),
    );
    let entered = |wave: &Wave| wave.ids.clone().filter(is_in).count();
    for wave in &waves {
        let (count, at, free) = (wave.ids.clone().count(), due(wave.tenths).as_millis(), wave.free);
        let entered = entered(wave);
        let said = format!(
            "of {count} that came after {at} ms, {entered} were let in; room was for {free}"
        );
        if count > 1 || entered != free {
            verdict.check(entered == free, said);
        }
    }
    let late = refused.iter().filter(|id| is_after_an_answer(&seen, **id)).count();
    verdict.check(late == 0, format!("{late} refusals had to wait until somebody had an answer"));
    let quickest = refused.iter().filter_map(|id| seen.took(*id)).min();
    let is_slow = quickest > Some(SERVICE / 16);
    if let Some(quickest) = quickest {
        verdict.check(
            !is_slow,
            format!("the quickest refusal took {:.1} ms", quickest.as_secs_f64() * 1e3),
        );
    }
    for line in books::in_flight_chart(&ledger, slots) {
        verdict.show(line);
    }
    let at = |tenths| waves.iter().find(|wave| wave.tenths == tenths).map_or(0, entered);
    let mistake = match (at(0), at(SECOND)) {
        _ if most == slots + places => Some("waits-in-the-service"),
        _ if refused.is_empty() => Some("waits-for-a-place"),
        _ if late > 0 || is_slow => Some("refuses-late"),
        (entered, _) if entered == places => Some("under-way-waits-too"),
        (entered, 0) if entered == slots + places => Some("not-given-back"),
        _ => None,
    };
    if let Some(mistake) = mistake.filter(|_| !verdict.holds() && seen.end == End::Finished) {
        verdict.looks_like(mistake);
    }
    let slowest = refused.iter().filter_map(|id| seen.took(*id)).max();
    Ok((verdict, slowest <= Some(SERVICE / 5)))
}

/// Orders that come at the same instant.
struct Wave {
    /// When, in tenths of a service time.
    tenths: u32,
    ids: Range<u64>,
    /// How many can get in.
    free: usize,
}

fn waves(bench: &mut Bench, slots: usize, places: usize) -> Vec<Wave> {
    let mut next = bench.draw(1000..1_000_000);
    let mut wave = |tenths, count, free| {
        let ids = next..next + count;
        next = ids.end;
        Wave { tenths, ids, free }
    };
    let all = slots + places;
    let first = wave(0, all as u64 + bench.draw(4..8), all);
    // Those who had the slots have left by then, and those who waited have them.
    let second = wave(SECOND, slots as u64 + bench.draw(3..6), slots);
    let singles = SINGLE.map(|tenths| wave(tenths, 1, 0));
    [first, second].into_iter().chain(singles).collect()
}

/// Says of every order when it was sent, and returns how far the judge was behind its own times.
fn spread(seen: &mut Seen, waves: &[Wave]) -> Duration {
    let mut behind = Duration::ZERO;
    for Wave { tenths, ids, .. } in waves {
        if let Some(at) = seen.sent.get(&ids.start).copied() {
            behind = behind.max(at.saturating_sub(due(*tenths)));
            seen.sent.extend(ids.clone().map(|id| (id, at)));
        }
    }
    behind
}

/// Whether somebody got an answer between an order's coming and its refusal.
fn is_after_an_answer(seen: &Seen, id: u64) -> bool {
    let mut before = seen.replies.iter().take_while(|reply| reply.id != id);
    let sent = seen.sent.get(&id);
    before.any(|reply| reply.text != "busy" && sent.is_some_and(|sent| reply.at > *sent))
}

fn path(id: u64) -> String {
    format!("/order/{id}")
}

fn due(tenths: u32) -> Duration {
    FIRST + SERVICE * tenths / 10
}
