//! Three bursts and some orders between them: who was let in, and what the service had of it.

use std::{ops::Range, time::Duration};

use anyhow::Result;
use mock_server::{Body, Service, Spec};

use crate::{
    bench::Bench,
    books,
    exercise::{Card, Judge, Misconception, Question},
    line::{End, Moment, Run, Seen},
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
/// The last one comes when all is quiet.
const LAST: u32 = 38;
/// Orders that come one at a time while all is taken.
const SINGLE: [u32; 5] = [3, 5, 7, 17, 18];

impl Judge for BoundTheQueue {
    fn card(&self) -> Card {
        Card {
            folder: "ex03_bound_the_queue",
            title: "Bound the queue",
            lab: 3,
            question: Question {
                text: "The file as it is gets some 30 orders within 600 ms, and some more when all is quiet. Each takes 320 ms at the service, and 4 to 6 may be under way. How long will the slowest of the first 30 take, from when it came to its answer?",
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
                    name: "waits-a-little",
                    belief: "a refusal that first gives the service a little time",
                    ask: "What does an order wait for when all is taken, and what would it be told without that wait?",
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
                Misconception {
                    name: "keeps-its-place",
                    belief: "a place that is left to those who have waited in it",
                    ask: "An order waited, got its slot and its answer: what has it taken by then, and how much of that has it given back?",
                },
                Misconception {
                    name: "polls-for-a-slot",
                    belief: "a free slot that is found by looking from time to time",
                    ask: "A slot becomes free just after somebody has looked. Who uses it until the next look?",
                },
            ],
            orders: false,
            pace: None,
        }
    }

    fn judge(&self, bench: &mut Bench) -> Result<Verdict> {
        let mut found = Verdict::new();
        for _ in 0..5 {
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
    let early = waves.iter().filter(|wave| wave.tenths < LAST).flat_map(|wave| wave.ids.clone());
    let slowest = early.filter_map(|id| seen.took(id)).max();
    verdict.measured("slowest_ms", slowest.unwrap_or(seen.wall).as_secs_f64() * 1e3);
    if behind > SERVICE / 5 {
        verdict.undecided = Some("the judge itself could not keep to its times".to_owned());
        return Ok((verdict, false));
    }
    let ledger = upstream.ledger();
    let orders = Orders::new(&seen, &waves, secret);
    books::each_once(&mut verdict, &ledger, orders.entered.iter().copied().map(path));
    let most = books::most_in_flight(&ledger);
    verdict.check(
        most == slots,
        format!("the service had at most {most} at the same time; there are {slots} slots"),
    );
    let mistake = orders.look(&mut verdict, &waves, (slots, places), &seen);
    for line in books::in_flight_chart(&ledger, slots) {
        verdict.show(line);
    }
    let all_in = most == slots + places;
    let mistake = all_in.then_some("waits-in-the-service").or(mistake);
    if let Some(mistake) = mistake.filter(|_| !verdict.holds() && seen.end == End::Finished) {
        verdict.looks_like(mistake);
    }
    let slowest = orders.refused.iter().filter_map(|id| seen.took(*id)).max();
    // Who waits is slow by himself.
    Ok((verdict, slowest <= Some(SERVICE / 5) || orders.waited(&seen) > 0))
}

/// The orders by what they were told.
struct Orders {
    all: usize,
    entered: Vec<u64>,
    refused: Vec<u64>,
}

impl Orders {
    fn new(seen: &Seen, waves: &[Wave], secret: u64) -> Orders {
        let all: Vec<u64> = waves.iter().flat_map(|wave| wave.ids.clone()).collect();
        let told = |text: &dyn Fn(u64) -> String| {
            let is = |id: &&u64| seen.reply(**id).is_some_and(|reply| reply.text == text(**id));
            all.iter().filter(is).copied().collect()
        };
        let entered = told(&|id| books::stamp(secret, &path(id)).to_string());
        Orders { all: all.len(), entered, refused: told(&|_| "busy".to_owned()) }
    }

    fn look(
        &self,
        verdict: &mut Verdict,
        waves: &[Wave],
        (slots, places): (usize, usize),
        seen: &Seen,
    ) -> Option<&'static str> {
        let (all, entered, refused) = (self.all, self.entered.len(), self.refused.len());
        verdict.check(
            entered + refused == all && seen.replies.len() == all,
            format!(
                "of {all} orders {entered} got the service's answer and {refused} were told `busy`"
            ),
        );
        let entered = |wave: &Wave| self.entered.iter().filter(|id| wave.ids.contains(id)).count();
        for wave in waves {
            let (count, at, free) =
                (wave.ids.clone().count(), due(wave.tenths).as_millis(), wave.free);
            let entered = entered(wave);
            if count > 1 || entered != free {
                let said = format!(
                    "of {count} that came after {at} ms, {entered} were let in; room was for {free}"
                );
                verdict.check(entered == free, said);
            }
        }
        let late = |id: &&u64| seen.during(**id).iter().any(|moment| moment.what == "answered");
        let waited = self.waited(seen);
        let late = self.refused.iter().filter(late).count();
        let said = format!(
            "{waited} of {refused} refusals had to wait, {late} of them until somebody had an answer"
        );
        verdict.check(waited == 0, said);
        // Whoever holds up the event loop meanwhile has not waited.
        let quickest = self.refused.iter().filter_map(|id| seen.took(*id)).min();
        let is_slow = quickest > Some(SERVICE / 16);
        let said = format!("the quickest refusal took {:.1?}", quickest.unwrap_or_default());
        verdict.check(!is_slow, said);
        let idle = self.idle(seen, slots);
        let said = format!(
            "{idle} times the program had nothing to do, with a slot free and somebody waiting"
        );
        verdict.check(idle == 0, said);
        let at = |tenths| waves.iter().find(|wave| wave.tenths == tenths).map_or(0, entered);
        let all_first = at(0) == slots + places;
        match () {
            () if refused == 0 => Some("waits-for-a-place"),
            () if 2 * late > refused => Some("refuses-late"),
            () if waited > 0 => Some("waits-a-little"),
            () if is_slow => Some("refuses-late"),
            () if at(0) == places => Some("under-way-waits-too"),
            () if all_first && at(SECOND) == 0 => Some("not-given-back"),
            () if all_first && at(LAST) < slots + places => Some("keeps-its-place"),
            () if idle > 0 => Some("polls-for-a-slot"),
            () => None,
        }
    }

    /// Refusals for which the event loop had nothing to do meanwhile.
    fn waited(&self, seen: &Seen) -> usize {
        let waited = |id: &&u64| seen.during(**id).chunk_by(|a, b| a.idle == b.idle).count() > 1;
        self.refused.iter().filter(waited).count()
    }

    /// How often the event loop had nothing to do while somebody inside waited and a slot was free.
    fn idle(&self, seen: &Seen, slots: usize) -> usize {
        let entered: Vec<String> = self.entered.iter().map(ToString::to_string).collect();
        let (mut waiting, mut under_way) = (0_usize, 0_usize);
        let mut times = 0;
        for part in seen.between_rests() {
            for Moment { what, of, .. } in part {
                match what.as_str() {
                    "begins" if entered.contains(of) => waiting += 1,
                    "asks" => (waiting, under_way) = (waiting.saturating_sub(1), under_way + 1),
                    "answered" => under_way = under_way.saturating_sub(1),
                    _ => {}
                }
            }
            times += usize::from(waiting > 0 && under_way < slots);
        }
        times
    }
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
    let last = wave(LAST, all as u64 + bench.draw(3..6), all);
    let singles = SINGLE.map(|tenths| wave(tenths, 1, 0));
    [first, second, last].into_iter().chain(singles).collect()
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

fn path(id: u64) -> String {
    format!("/order/{id}")
}

fn due(tenths: u32) -> Duration {
    FIRST + SERVICE * tenths / 10
}
