//! A courier whose future is dropped at chosen waits: what was put down, how often, in which order.

use anyhow::Result;

use crate::{
    bench::Bench,
    exercise::{Card, Judge, Misconception, Question},
    line::{End, Run},
    verdict::Verdict,
};

/// Keep what was taken.
pub struct KeepWhatWasTaken;

/// Parcels of a run.
const PARCELS: u64 = 20;
/// Waits at which the future is dropped, for every parcel, and what they are called.
const WHERE: [(u64, &str); 4] = [
    (0, "nowhere"),
    (1, "while it rings"),
    (2, "before the parcel is put down"),
    (4, "after it is put down"),
];
/// The same in all combinations that a parcel may meet.
const ALL: u64 = 8;

impl Judge for KeepWhatWasTaken {
    fn card(&self) -> Card {
        Card {
            folder: "ex21_keep_what_was_taken",
            title: "Keep what was taken",
            lab: 21,
            question: Question {
                text: "Of 20 parcels, the future is dropped at a quarter while it rings, at a quarter before the parcel is put down, at a quarter after that, and at a quarter not at all. How many parcels will be put down by the file as it is?",
                gauge: "put_down",
                unit: "parcels",
            },
            misconceptions: &[
                Misconception {
                    name: "dropped-with-it",
                    belief: "what a future holds for something that outlives it",
                    ask: "Where is the parcel when the future that took it has been dropped?",
                },
                Misconception {
                    name: "keeps-it-too-short",
                    belief: "a hand-over that is begun for one that will end",
                    ask: "The courier has no parcel any more, and the future that has it is dropped. Who has it now?",
                },
                Misconception {
                    name: "hands-over-again",
                    belief: "to keep the parcel for to know how far it has got",
                    ask: "The parcel lies at the door, and the signature is not there yet. What does the next call do?",
                },
                Misconception {
                    name: "lets-it-run",
                    belief: "a task that nobody waits for any more for one that has ended",
                    ask: "The handle of the first task has been dropped. Who else is at the door when the next parcel comes?",
                },
                Misconception {
                    name: "says-it-too-early",
                    belief: "begun for done",
                    ask: "What does `true` tell the caller, and is it so by then?",
                },
                Misconception {
                    name: "takes-the-next-first",
                    belief: "another parcel that will always come",
                    ask: "One parcel is still under way, and there will be no more. What does the next call return?",
                },
            ],
            orders: false,
            pace: None,
        }
    }

    fn judge(&self, bench: &mut Bench) -> Result<Verdict> {
        let mut verdict = Verdict::new();
        let mut runs = Vec::new();
        for (wait, place) in WHERE {
            let waits = (0..PARCELS).map(|_| wait).collect();
            runs.push((place, Told::of(bench, &mut verdict, waits)?));
        }
        // A quarter each, in an order of this run's own.
        let mut quarters: Vec<u64> = (0..PARCELS).map(|at| WHERE[at as usize % 4].0).collect();
        shuffle(bench, &mut quarters);
        let mixed = Told::of(bench, &mut verdict, quarters)?;
        verdict.measured("put_down", mixed.put_down.len() as f64);
        runs.push(("at one wait or none of each", mixed));
        let waits = (0..PARCELS).map(|_| bench.draw(0..ALL)).collect();
        runs.push(("at several waits of each", Told::of(bench, &mut verdict, waits)?));
        for (place, told) in &runs {
            told.check(&mut verdict, place);
        }
        if !verdict.holds() {
            let mistake = mistake(&runs.iter().map(|(_, told)| told).collect::<Vec<_>>());
            mistake.into_iter().for_each(|mistake| verdict.looks_like(mistake));
        }
        Ok(verdict)
    }
}

fn shuffle(bench: &mut Bench, all: &mut [u64]) {
    for at in (1..all.len()).rev() {
        all.swap(at, bench.draw(0..at as u64 + 1) as usize);
    }
}

/// What a run told.
#[derive(Default)]
struct Told {
    parcels: Vec<u64>,
    /// How often the future is to be dropped.
    planned: u64,
    put_down: Vec<u64>,
    /// How often `carry` returned true.
    carried: u64,
    /// How often it did so before as many had been handed over.
    early: u64,
    dropped: u64,
    /// The most couriers at the door at the same time.
    most: u64,
    finished: bool,
}

impl Told {
    fn of(bench: &mut Bench, verdict: &mut Verdict, waits: Vec<u64>) -> Result<Told> {
        let first = bench.draw(1000..1_000_000);
        let mut parcels: Vec<u64> = (first..first + PARCELS).collect();
        shuffle(bench, &mut parcels);
        let run = Run::new().list("parcels", &parcels).list("waits", &waits);
        let seen = bench.run_through(verdict, run)?;
        let text = |id| seen.reply(id).map_or("", |reply| reply.text.as_str());
        let numbers = |text: &str| -> Vec<u64> {
            text.split(' ').filter_map(|number| number.parse().ok()).collect()
        };
        let planned = waits.iter().map(|waits| u64::from(waits.count_ones())).sum();
        let counts = numbers(text(1));
        let count = |at: usize| counts.get(at).copied().unwrap_or(0);
        Ok(Told {
            put_down: numbers(text(0)),
            carried: count(0),
            early: count(1),
            dropped: count(2),
            most: count(4),
            finished: seen.end == End::Finished && counts.len() == 5,
            parcels,
            planned,
        })
    }

    fn times(&self, parcel: u64) -> usize {
        self.put_down.iter().filter(|put_down| **put_down == parcel).count()
    }

    fn lost(&self) -> Vec<u64> {
        self.parcels.iter().copied().filter(|parcel| self.times(*parcel) == 0).collect()
    }

    fn twice(&self) -> usize {
        self.parcels.iter().filter(|parcel| self.times(**parcel) > 1).count()
    }

    fn check(&self, verdict: &mut Verdict, place: &str) {
        let (lost, twice, planned) = (self.lost().len(), self.twice(), self.planned);
        verdict.check(
            lost == 0 && twice == 0,
            format!(
                "dropped {place}: of {PARCELS} parcels {lost} were never put down, {twice} more than once"
            ),
        );
        if lost + twice > 0 {
            return;
        }
        if self.put_down != self.parcels {
            verdict.check(
                false,
                format!("dropped {place}: parcels were put down in another order than they came"),
            );
        }
        let (carried, early, most, dropped) = (self.carried, self.early, self.most, self.dropped);
        verdict.check(
            carried == PARCELS && early == 0,
            format!(
                "dropped {place}: `carry` was true {carried} times, {early} of them before as many parcels had been handed over"
            ),
        );
        verdict.check(
            most == 1,
            format!("dropped {place}: at most {most} were at the door at the same time"),
        );
        if planned > 0 {
            let said = format!(
                "dropped {place}: {dropped} times; each parcel is rung for and handed over, so it can be {planned} times"
            );
            verdict.check(dropped == planned, said);
        }
    }
}

/// What it looks like, by what was lost where.
fn mistake(runs: &[&Told]) -> Option<&'static str> {
    let [nowhere, rings, before, after, mixed, ..] = runs else { return None };
    let any = |is: &dyn Fn(&Told) -> bool| runs.iter().any(|told| is(told));
    // Who takes one at every call has as many left in the end as it was dropped: the last ones, wherever that was.
    let left = mixed.lost();
    let are_last = !left.is_empty() && mixed.parcels.ends_with(&left);
    match () {
        () if !runs.iter().all(|told| told.finished) => None,
        () if any(&|told| told.early > 0) && any(&|told| told.put_down.len() as u64 >= PARCELS) => {
            Some("says-it-too-early")
        }
        () if !nowhere.lost().is_empty() || nowhere.twice() > 0 => None,
        () if any(&|told| told.most > 1) => Some("lets-it-run"),
        () if are_last => Some("takes-the-next-first"),
        () if after.twice() > 0 => Some("hands-over-again"),
        () if !rings.lost().is_empty() => Some("dropped-with-it"),
        () if !before.lost().is_empty() => Some("keeps-it-too-short"),
        () => None,
    }
}
