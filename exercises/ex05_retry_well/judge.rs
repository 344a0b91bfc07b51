//! Three scenes, and the service's books of each: an outage, failures that mend, and few permits.

use std::{ops::Range, time::Duration};

use anyhow::Result;
use mock_server::{Entry, Spec, Turn};

use crate::{
    bench::Bench,
    books,
    exercise::{Card, Judge, Misconception, Question},
    items::Items,
    line::{End, Run, Seen},
    verdict::Verdict,
};

/// Retry well.
pub struct RetryWell;

const SERVICE: Duration = Duration::from_millis(5);
/// Items of the outage.
const DOWN: u64 = 30;
/// More requests than these are no end.
const MOST: u64 = 1000;
/// Items that fail twice, then succeed.
const MEND: u64 = 24;
/// What no retry can mend.
const FINAL: [u16; 3] = [400, 404, 410];
/// Items that always fail.
const BROKEN: u64 = 2;
/// Items without a fault, beside those that are told to wait.
const HEALTHY: u64 = 12;
/// What a 429 asks for.
const TOLD: Duration = Duration::from_secs(1);
/// The middle two thirds of as many pauses, drawn between once and twice as long, lie within less than this share
/// of the shortest about once in a hundred thousand times.
const SPREAD: f64 = 0.2;

/// A pause is drawn between once and twice as long as it has to be. If the shortest of all is this many times as long,
/// no machine that stands still for a moment is the cause.
const LONG: f64 = 3.0;

impl Judge for RetryWell {
    fn card(&self) -> Card {
        Card {
            folder: "ex05_retry_well",
            title: "Retry well",
            lab: 5,
            question: Question {
                text: "In an outage every answer is a failure. With the file as it is, how many requests will the service get for 30 items?",
                gauge: "requests_in_outage",
                unit: "requests",
            },
            misconceptions: MISCONCEPTIONS,
            orders: false,
            pace: None,
        }
    }

    fn judge(&self, bench: &mut Bench) -> Result<Verdict> {
        let mut verdict = Verdict::new();
        let attempts = bench.draw(3..5);
        let mut found = outage(bench, &mut verdict, attempts)?;
        found.extend(mending(bench, &mut verdict, attempts)?);
        found.extend(few_permits(bench, &mut verdict, attempts)?);
        // What is wrong with every retry comes before what is wrong with some.
        let mut known = MISCONCEPTIONS.iter().map(|m| m.name);
        if let Some(name) = known.find(|name| found.contains(name)) {
            verdict.looks_like(name);
        }
        Ok(verdict)
    }
}

const MISCONCEPTIONS: &[Misconception] = &[
    Misconception {
        name: "at-once",
        belief: "a retry that gives the service no time to mend",
        ask: "What does a service in an outage get from each of its clients, and how soon?",
    },
    Misconception {
        name: "tries-everything",
        belief: "a retry for every failure, whatever it says",
        ask: "Which of the statuses 400, 404, 429 and 503 may be another one next time?",
    },
    Misconception {
        name: "same-pause",
        belief: "a pause that is as long before the last retry as before the first",
        ask: "What did the first failed retry tell about how long the trouble lasts?",
    },
    Misconception {
        name: "lock-step",
        belief: "pauses that are the same for all who failed together",
        ask: "At what times do items come back that failed at the same moment?",
    },
    Misconception {
        name: "deaf",
        belief: "a pause of your own where the service asked for another one",
        ask: "Which of the answers says when to come back?",
    },
    Misconception {
        name: "permit-asleep",
        belief: "a permit for an item instead of one for a request",
        ask: "What is done with the permit of an item that waits for its next attempt?",
    },
    Misconception {
        name: "no-budget",
        belief: "a limit for each item, and none for all of them",
        ask: "When every item fails, how many retries do they make together?",
    },
];

/// What was seen of the items, by their places.
struct Scene {
    items: Items,
    seen: Seen,
    tries: Vec<Vec<Entry>>,
    /// In flight, at most.
    most: usize,
}

/// Runs the program on so many items.
fn scene(
    bench: &mut Bench,
    verdict: &mut Verdict,
    count: u64,
    run: Run<'_>,
    turn: impl Fn(u64, u64) -> Turn + Send + Sync + 'static,
) -> Result<Scene> {
    let items = Items::draw(bench, count);
    let upstream = bench.upstream(Spec { retry_after: TOLD, ..items.spec(SERVICE, turn) })?;
    let run = run.service(&upstream).list("items", &items.numbers());
    let seen = bench.run_through(verdict, run.stop_when(|| upstream.counters().arrived > MOST))?;
    if seen.end == End::Stopped {
        verdict.check(
            false,
            format!("after {MOST} requests there was no end, and the program was ended"),
        );
    }
    let most = books::most_in_flight(&upstream.ledger());
    Ok(Scene { items, seen, tries: items.tries(&upstream), most })
}

impl Scene {
    fn asked(&self, places: Range<u64>) -> u64 {
        places.map(|place| self.tries[place as usize].len() as u64).sum()
    }

    fn back(&self, places: Range<u64>) -> u64 {
        self.items.back(&self.seen, places)
    }

    /// Between an answer and the next request for the same item: the nth of these pauses, of each item that has
    /// it, the shortest first.
    fn pauses(&self, nth: usize) -> Vec<Duration> {
        let pauses = self.tries.iter().filter_map(|tries| {
            let (answer, again) = (tries.get(nth - 1)?, tries.get(nth)?);
            Some(again.arrived.saturating_sub(answer.left.unwrap_or(again.arrived)))
        });
        let mut pauses: Vec<_> = pauses.collect();
        pauses.sort();
        pauses
    }
}

/// Everything fails: the budget bounds what all retries together may add.
fn outage(bench: &mut Bench, verdict: &mut Verdict, attempts: u64) -> Result<Vec<&'static str>> {
    let budget = bench.draw(8..17);
    let run = Run::new().give("attempts", attempts).give("budget", budget);
    let run = run.give("base_ms", 15).give("permits", 2 * DOWN);
    let scene = scene(bench, verdict, DOWN, run, |place, _| failure(place))?;
    let asked = scene.asked(0..DOWN);
    verdict.measured("requests_in_outage", asked as f64);
    let again = asked.saturating_sub(DOWN);
    let held = verdict.check(
        again == budget,
        format!("in an outage {DOWN} items made {again} retries, with {budget} in the budget"),
    );
    Ok(if held || again < budget { vec![] } else { vec!["no-budget"] })
}

/// Some failures mend, and each pause tells what it was.
fn mending(bench: &mut Bench, verdict: &mut Verdict, attempts: u64) -> Result<Vec<&'static str>> {
    let base = bench.draw(70..90);
    let run = Run::new().give("attempts", attempts).give("budget", 4 * MEND);
    let run = run.give("base_ms", base).give("permits", 2 * MEND);
    let finals = FINAL.len() as u64;
    let ends = MEND + finals;
    let scene = scene(bench, verdict, ends + BROKEN, run, move |place, before| match place {
        _ if place < MEND && before > 1 => Turn::default(),
        _ if place < MEND => failure(place + before),
        _ if place < ends => Turn::fails(FINAL[(place - MEND) as usize]),
        _ => Turn::fails(503),
    })?;
    let labels =
        [(0, "mends"), (1, "mends"), (2, "mends"), (3, "mends"), (MEND, "400"), (ends, "fails")];
    let tries = |place: u64| scene.tries[place as usize].iter().collect();
    let rows = labels.map(|(place, label)| (label.to_owned(), tries(place)));
    verdict.show("requests for some of the items, at the service:");
    books::timeline(&rows).into_iter().for_each(|line| verdict.show(line));
    let mut found = Vec::new();
    let back = scene.back(0..MEND);
    verdict.check(
        back == MEND,
        format!("{back} of {MEND} items that fail twice came back in the end"),
    );
    let asked = scene.asked(MEND..ends);
    let said =
        format!("{} items answered 400, 404 or 410 were asked for {asked} times", FINAL.len());
    if !verdict.check(asked == finals, said) && asked > finals {
        found.push("tries-everything");
    }
    let asked = scene.asked(ends..ends + BROKEN);
    let said = format!(
        "{BROKEN} items that always fail were asked for {asked} times; {attempts} times each is the limit"
    );
    verdict.check(asked == BROKEN * attempts, said);
    found.extend(pauses(verdict, &scene, Duration::from_millis(base)));
    Ok(found)
}

/// The first pauses are to be as long as the base, the second ones twice as long, and no two alike.
fn pauses(verdict: &mut Verdict, scene: &Scene, base: Duration) -> Vec<&'static str> {
    let mut found = Vec::new();
    let (mut spread, mut shortest): (f64, f64) = (0.0, f64::INFINITY);
    let mut first_held = false;
    for (nth, which, name) in [(1, "first", "at-once"), (2, "second", "same-pause")] {
        let (pauses, least) = (scene.pauses(nth), base * nth as u32);
        let (all, long) = (pauses.len(), pauses.iter().filter(|pause| **pause >= least).count());
        let said = format!(
            "of {MEND} {which} retries or more, {all} came, and {long} of them after {} ms or more",
            least.as_millis()
        );
        let held = verdict.check(long == all && all as u64 >= MEND, said);
        let middle = pauses.get(all / 2).copied().unwrap_or(least);
        // Who draws from nothing to the base is early as well: that is neither of the two.
        if !held && if nth == 1 { 4 * middle < least } else { first_held && middle < least } {
            found.push(name);
        }
        first_held = held;
        if all as u64 >= MEND {
            shortest = shortest.min(pauses[0].as_secs_f64() / least.as_secs_f64());
            let within = pauses[all - all / 6 - 1] - pauses[all / 6];
            spread = spread.max(within.as_secs_f64() / least.as_secs_f64());
        }
    }
    // With fewer retries than wanted there is nothing to compare.
    if shortest.is_finite() {
        let said =
            format!("the shortest of these pauses is {shortest:.1} times as long as it has to be");
        verdict.check(shortest < LONG, said);
        let percent = spread * 100.0;
        let said = format!(
            "the middle two thirds of these pauses differ by {percent:.0} % of the shortest pause"
        );
        if !verdict.check(spread >= SPREAD, said) {
            found.push("lock-step");
        }
    }
    found
}

/// Some are told to wait, and hold up nobody.
fn few_permits(
    bench: &mut Bench,
    verdict: &mut Verdict,
    attempts: u64,
) -> Result<Vec<&'static str>> {
    let told = bench.draw(2..5);
    let run = Run::new().give("attempts", attempts).give("budget", 2 * told);
    let run = run.give("base_ms", 20).give("permits", told);
    let scene = scene(bench, verdict, told + HEALTHY, run, move |place, before| {
        if place < told && before == 0 { Turn::fails(429) } else { Turn::default() }
    })?;
    let mut found = Vec::new();
    let all = told + HEALTHY;
    let back = scene.back(0..all);
    verdict.check(back == all, format!("{back} of {all} items came back with {told} permits"));
    let asked = scene.asked(0..all);
    let said =
        format!("{all} items, of which {told} were told to wait, were asked for {asked} times");
    verdict.check(asked == all + told, said);
    let most = scene.most as u64;
    verdict.check(
        most <= told,
        format!("with {told} permits the service had at most {most} requests at a time"),
    );
    let pauses = scene.pauses(1);
    let long = pauses.iter().filter(|pause| **pause >= TOLD).count() as u64;
    let said = format!("{long} of {told} items that were told to wait for a second did so");
    if !verdict.check(long == told, said) && !pauses.is_empty() {
        found.push("deaf");
    }
    // A permit that is kept through the pause comes back when the second is over, and not before.
    let first = |entries: &Vec<Entry>| entries.first().cloned();
    let (told_to, others) = scene.tries.split_at(told as usize);
    let over = told_to.iter().filter_map(first).filter_map(|entry| Some(entry.left? + TOLD)).min();
    let over = over.unwrap_or(Duration::ZERO);
    let meanwhile = others.iter().filter_map(first).filter(|entry| entry.arrived < over).count() as u64;
    let said = format!("{meanwhile} of {HEALTHY} other items were asked for while these waited");
    if !verdict.check(2 * meanwhile >= HEALTHY, said) {
        found.push("permit-asleep");
    }
    Ok(found)
}

/// A failure that time may mend.
fn failure(number: u64) -> Turn {
    match number % 5 {
        0 => Turn::cut(),
        1 => Turn::fails(500),
        2 => Turn::fails(502),
        _ => Turn::fails(503),
    }
}
