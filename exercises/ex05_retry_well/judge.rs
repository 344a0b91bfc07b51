//! Three scenes, and the service's books of each: an outage, failures that mend, and few permits.

use std::{ops::Range, time::Duration};

use anyhow::Result;
use lab_kit::stats;
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
/// Items that fail until their last attempt, then succeed.
const MEND: u64 = 24;
/// What no retry can mend, and what it may: with as many others of their class.
const FINAL: [u64; 6] = [400, 401, 403, 404, 410, 422];
const FAILURE: [u64; 3] = [500, 502, 503];
/// Items that always fail.
const BROKEN: u64 = 2;
/// Items without a fault, beside those that are told to wait.
const HEALTHY: u64 = 12;
/// What a 429 asks for.
const TOLD: Duration = Duration::from_secs(1);
/// The middle two thirds of as many pauses, drawn between once and twice as long, lie within less than this share
/// of the shortest about once in a hundred thousand times.
const SPREAD: f64 = 0.2;

/// A pause is drawn between once and twice as long as it has to be. The shortest of all is half as long again about once
/// in ten million times, and no machine that stands still for a moment makes all of them later than this.
const LATE: Duration = Duration::from_millis(120);
/// Pauses that belong together are about once in a million times as much alike as this.
const ALIKE: f64 = 0.8;
/// The reply that tells what is left of the budget.
const LEFT: u64 = 0;

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
        let attempts = bench.draw(4..6);
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
        name: "list-of-statuses",
        belief: "a list of statuses for a class of them",
        ask: "Which statuses begin with a 4, and which of these does your program know?",
    },
    Misconception {
        name: "same-pause",
        belief: "a pause that is as long before the last retry as before the first",
        ask: "What did the first failed retry tell about how long the trouble lasts?",
    },
    Misconception {
        name: "grows-by-adding",
        belief: "pauses that grow by the same step each time",
        ask: "How long is the pause before the third retry, at least, and how long is yours?",
    },
    Misconception {
        name: "grows-too-fast",
        belief: "pauses for which longer is always better",
        ask: "How long does an item wait before its second retry, at most, and how long in your program?",
    },
    Misconception {
        name: "lock-step",
        belief: "pauses that are the same for all who failed together",
        ask: "At what times do items come back that failed at the same moment?",
    },
    Misconception {
        name: "drawn-once",
        belief: "chance that is drawn once for an item, and not for each of its pauses",
        ask: "An item has been lucky at its first pause: what does that say about its second one?",
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
    Misconception {
        name: "spends-in-vain",
        belief: "a retry that is paid for before it is known whether there will be one",
        ask: "An answer is final: what has your program taken out of the budget by then?",
    },
];

/// What was seen of the items, by their places.
struct Scene {
    budget: u64,
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
    (budget, run): (u64, Run<'_>),
    turn: impl Fn(u64, u64) -> Turn + Send + Sync + 'static,
) -> Result<Scene> {
    let items = Items::draw(bench, count);
    let upstream = bench.upstream(Spec { retry_after: TOLD, ..items.spec(SERVICE, turn) })?;
    let run = run.service(&upstream).list("items", &items.numbers()).give("budget", budget);
    let seen = bench.run_through(verdict, run.stop_when(|| upstream.counters().arrived > MOST))?;
    if seen.end == End::Stopped {
        verdict.check(
            false,
            format!("after {MOST} requests there was no end, and the program was ended"),
        );
    }
    let most = books::most_in_flight(&upstream.ledger());
    Ok(Scene { budget, items, seen, tries: items.tries(&upstream), most })
}

impl Scene {
    fn asked(&self, places: Range<u64>) -> u64 {
        places.map(|place| self.tries[place as usize].len() as u64).sum()
    }

    fn back(&self, places: Range<u64>) -> u64 {
        self.items.back(&self.seen, places)
    }

    /// Whether each retry was taken out of the budget, and nothing else. Who was ended has not said what is left.
    fn pays(&self, verdict: &mut Verdict) -> Option<&'static str> {
        let left: u64 = self.seen.reply(LEFT)?.text.parse().ok()?;
        let (spent, again) =
            (self.budget.saturating_sub(left), self.tries.iter().map(|tries| tries.len() as u64));
        let again: u64 = again.map(|tries| tries.saturating_sub(1)).sum();
        let said =
            format!("{spent} were taken out of a budget of {}, for {again} retries", self.budget);
        verdict.check(spent == again, said);
        (spent > again).then_some("spends-in-vain")
    }

    /// Between an answer and the next request for the same item: the nth of these pauses, of each item that has it.
    fn pause(&self, nth: usize, place: usize) -> Option<Duration> {
        let tries = &self.tries[place];
        let (answer, again) = (tries.get(nth - 1)?, tries.get(nth)?);
        Some(again.arrived.saturating_sub(answer.left.unwrap_or(again.arrived)))
    }

    /// The nth pauses of all items, the shortest first.
    fn pauses(&self, nth: usize) -> Vec<Duration> {
        let pauses = (0..self.tries.len()).filter_map(|place| self.pause(nth, place));
        let mut pauses: Vec<_> = pauses.collect();
        pauses.sort();
        pauses
    }

    /// How much the nth pause of an item and the next one are alike, from -1 to 1 (Pearson's correlation).
    fn alike(&self, nth: usize) -> f64 {
        let both = |place| Some([self.pause(nth, place)?, self.pause(nth + 1, place)?]);
        let both: Vec<_> = (0..self.tries.len()).filter_map(both).collect();
        let [a, b] = [0, 1].map(|i| both.iter().map(|p| p[i].as_secs_f64()).collect::<Vec<_>>());
        let [mean_a, mean_b] = [&a, &b].map(|of| stats::mean(of));
        let together: f64 = a.iter().zip(&b).map(|(a, b)| (a - mean_a) * (b - mean_b)).sum();
        together / (a.len() as f64 - 1.0) / stats::deviation(&a) / stats::deviation(&b)
    }
}

/// Everything fails: the budget bounds what all retries together may add.
fn outage(bench: &mut Bench, verdict: &mut Verdict, attempts: u64) -> Result<Vec<&'static str>> {
    let budget = bench.draw(8..17);
    let run = Run::new().give("attempts", attempts).give("base_ms", 15).give("permits", 2 * DOWN);
    let failure = failures(bench);
    let scene = scene(bench, verdict, DOWN, (budget, run), move |place, _| failure(place))?;
    let asked = scene.asked(0..DOWN);
    verdict.measured("requests_in_outage", asked as f64);
    let again = asked.saturating_sub(DOWN);
    let held = verdict.check(
        again == budget,
        format!("in an outage {DOWN} items made {again} retries, with {budget} in the budget"),
    );
    let none = (!held && again > budget).then_some("no-budget");
    Ok(none.into_iter().chain(scene.pays(verdict)).collect())
}

/// Some failures mend, and each pause tells what it was.
fn mending(bench: &mut Bench, verdict: &mut Verdict, attempts: u64) -> Result<Vec<&'static str>> {
    let base = bench.draw(60..80);
    let (finals, failure) = (finals(bench), failures(bench));
    let ends = MEND + finals.len() as u64;
    let all = ends + BROKEN;
    let run = Run::new().give("attempts", attempts).give("base_ms", base).give("permits", 2 * all);
    let statuses = finals.clone();
    let scene =
        scene(bench, verdict, all, (attempts * all, run), move |place, before| match place {
            _ if place < MEND && before + 1 >= attempts => Turn::default(),
            _ if place < MEND => failure(place + before),
            _ if place < ends => Turn::fails(statuses[(place - MEND) as usize]),
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
        format!("{back} of {MEND} items that succeed at attempt {attempts} came back in the end"),
    );
    let again = |place: &u64| scene.asked(*place..place + 1) > 1;
    let again: Vec<u64> =
        (MEND..ends).filter(again).map(|p| finals[(p - MEND) as usize].into()).collect();
    let said = format!(
        "of {} items answered 4xx and final, {} were asked for again: {again:?}",
        finals.len(),
        again.len()
    );
    if !verdict.check(again.is_empty(), said) {
        let is_all = again.len() == finals.len();
        found.push(if is_all { "tries-everything" } else { "list-of-statuses" });
    }
    let asked = scene.asked(ends..all);
    let said = format!(
        "{BROKEN} items that always fail were asked for {asked} times; {attempts} times each is the limit"
    );
    verdict.check(asked == BROKEN * attempts, said);
    found.extend(scene.pays(verdict));
    found.extend(pauses(verdict, &scene, Duration::from_millis(base), attempts as usize));
    Ok(found)
}

/// The first pauses are to be as long as the base, each one twice as long as the one before, and no two alike.
fn pauses(
    verdict: &mut Verdict,
    scene: &Scene,
    base: Duration,
    attempts: usize,
) -> Option<&'static str> {
    let mut spread: f64 = 0.0;
    for nth in 1..attempts {
        let (pauses, least) = (scene.pauses(nth), base * (1 << (nth - 1)));
        let (all, long) = (pauses.len(), pauses.iter().filter(|pause| **pause >= least).count());
        let said = format!(
            "of {MEND} pauses or more before retry {nth}, {all} were made, and {long} of them of {} ms or more",
            least.as_millis()
        );
        let is_long = verdict.check(long == all && all as u64 >= MEND, said);
        let [shortest, middle, longer] =
            [0, all / 2, 3 * all / 4].map(|at| pauses.get(at).copied().unwrap_or(least));
        let most = least * 3 / 2 + LATE;
        let said = format!("the shortest of these took {} ms", shortest.as_millis());
        let is_short = verdict.check(shortest <= most, said);
        // Who draws from nothing to the base is early as well, and that is none of these.
        if !(is_long && is_short) {
            return match nth {
                1 => (2 * longer < least).then_some("at-once"),
                _ if !is_short => Some("grows-too-fast"),
                2 => (middle < least).then_some("same-pause"),
                _ => Some("grows-by-adding"),
            };
        }
        // The first ones are so short that a machine that stands still for a moment makes them alike.
        if nth > 1 {
            let within = pauses[all - all / 6 - 1] - pauses[all / 6];
            spread = spread.max(within.as_secs_f64() / least.as_secs_f64());
        }
    }
    let percent = spread * 100.0;
    let said = format!(
        "the middle two thirds of the later pauses differ by {percent:.0} % of the shortest pause"
    );
    if !verdict.check(spread >= SPREAD, said) {
        return Some("lock-step");
    }
    let alike = scene.alike(attempts - 2);
    let said =
        format!("the last two pauses of an item go together by {alike:.2}, where 1 is always");
    (!verdict.check(alike < ALIKE, said)).then_some("drawn-once")
}

/// Some are told to wait, and hold up nobody.
fn few_permits(
    bench: &mut Bench,
    verdict: &mut Verdict,
    attempts: u64,
) -> Result<Vec<&'static str>> {
    let told = bench.draw(2..5);
    let run = Run::new().give("attempts", attempts).give("base_ms", 20).give("permits", told);
    let run = (2 * told, run);
    let scene = scene(bench, verdict, told + HEALTHY, run, move |place, before| {
        if place < told && before == 0 { Turn::fails(429) } else { Turn::default() }
    })?;
    let mut found: Vec<_> = scene.pays(verdict).into_iter().collect();
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
    let meanwhile =
        others.iter().filter_map(first).filter(|entry| entry.arrived < over).count() as u64;
    let said = format!("{meanwhile} of {HEALTHY} other items were asked for while these waited");
    if !verdict.check(2 * meanwhile >= HEALTHY, said) {
        found.push("permit-asleep");
    }
    Ok(found)
}

/// Statuses that stay what they are: the known ones, and as many others. Of some one may think otherwise.
fn finals(bench: &mut Bench) -> Vec<u16> {
    class(bench, &FINAL).into_iter().filter(|status| ![408, 425, 429].contains(status)).collect()
}

/// Failures that time may mend, by numbers: no answer, the known statuses, and as many others.
fn failures(bench: &mut Bench) -> impl Fn(u64) -> Turn + Send + Sync + 'static {
    let statuses = class(bench, &FAILURE);
    move |number| match number as usize % (statuses.len() + 1) {
        0 => Turn::cut(),
        n => Turn::fails(statuses[n - 1]),
    }
}

/// These statuses, and as many others that begin with the same figure.
fn class(bench: &mut Bench, known: &[u64]) -> Vec<u16> {
    let from = known[0];
    let others: Vec<u64> = known.iter().map(|_| bench.draw(from..from + 100)).collect();
    known.iter().chain(&others).filter_map(|status| u16::try_from(*status).ok()).collect()
}
