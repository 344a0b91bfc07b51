//! The service's books say who was asked for twice, when, and which request was given up.

use std::time::Duration;

use anyhow::Result;
use mock_server::{Entry, Turn};

use crate::{
    bench::Bench,
    books,
    exercise::{Card, Judge, Misconception, Question},
    items::Items,
    line::{End, Run},
    verdict::Verdict,
};

/// Hedge, once.
pub struct HedgeOnce;

const QUICK: Duration = Duration::from_millis(5);
/// Far apart, and far from every second request: no machine stands still for so long.
const LATE: Duration = Duration::from_millis(500);
const SLOW: Duration = Duration::from_millis(1500);
/// Reads of each of the two kinds that are slow.
const EACH: usize = 8;
/// Reads among which those are.
const MIXED: usize = 30;
/// All reads. The last ones come when every slow answer is due: who waits for it no more has given it up.
const READS: usize = 50;

/// What the first and the second request for an item meet.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    /// A quick machine.
    Quick,
    /// A slow one; then a quick one.
    FirstSlow,
    /// A late one; then a slow one, whose answer would come after the late one's.
    BothSlow,
}

impl Judge for HedgeOnce {
    fn card(&self) -> Card {
        Card {
            folder: "ex10_hedge_once",
            title: "Hedge, once",
            lab: 10,
            question: Question {
                text: "Of 50 reads, 34 take 5 ms each, 8 take 500 ms and 8 take 1500 ms. With the file as it is, how long does a read take on average?",
                gauge: "mean_read_ms",
                unit: "ms",
            },
            misconceptions: &[
                Misconception {
                    name: "keeps-hedging",
                    belief: "a hedge for every hedge that is late",
                    ask: "How many requests does a service get for one read when all of its machines are slow?",
                },
                Misconception {
                    name: "hedges-at-once",
                    belief: "two requests for every read",
                    ask: "How much more has the service to do, and for how many of the reads did it help?",
                },
                Misconception {
                    name: "saves-hedges",
                    belief: "second requests that are saved, and reads that stay late for it",
                    ask: "Which of the late reads got no second request, and how long did they take?",
                },
                Misconception {
                    name: "waits-twice",
                    belief: "a second request that comes later than it was asked for",
                    ask: "How long after the first request is the second one sent, and how long is `hedge_after`?",
                },
                Misconception {
                    name: "asks-anew",
                    belief: "a first request that is given up when it is late",
                    ask: "Which of the two would have answered first when the second one is slow, too?",
                },
                Misconception {
                    name: "waits-for-both",
                    belief: "a wait for both answers, where one is enough",
                    ask: "When the quick answer is there, what does `read` still wait for?",
                },
                Misconception {
                    name: "leaves-it-running",
                    belief: "a request that goes on although nobody wants its answer",
                    ask: "What ends a future that is not awaited any more, and what a task?",
                },
                Misconception {
                    name: "gives-up-later",
                    belief: "a request that is given up, only not at once",
                    ask: "The answer is there. For whom does the service work on the other one?",
                },
            ],
            orders: false,
            pace: None,
        }
    }

    fn judge(&self, bench: &mut Bench) -> Result<Verdict> {
        bench.in_time(LATE / 2, |bench| {
            let mut verdict = Verdict::new();
            let behind = attempt(bench, &mut verdict)?;
            Ok((verdict, behind))
        })
    }
}

fn attempt(bench: &mut Bench, verdict: &mut Verdict) -> Result<Duration> {
    let hedge_after = bench.draw(120..180);
    let kinds = kinds(bench);
    let items = Items::draw(bench, READS as u64);
    let upstream = bench.upstream({
        let kinds = kinds.clone();
        items.spec(QUICK, move |place, before| match (kinds[place as usize], before) {
            (Kind::FirstSlow, 0) | (Kind::BothSlow, 1..) => Turn::takes(SLOW),
            (Kind::BothSlow, 0) => Turn::takes(LATE),
            _ => Turn::default(),
        })
    })?;
    let mut run = Run::new().service(&upstream).give("hedge_after_ms", hedge_after);
    for (place, number) in items.numbers().into_iter().enumerate() {
        // Until the last slow answer is due, and a little longer.
        let at = if place < MIXED { 15 * place } else { 460 + 92 * (place - MIXED) };
        run = run.job(Duration::from_millis(at as u64), number, number);
    }
    let seen = bench.run_through(verdict, run)?;
    let took: Vec<_> = items.numbers().iter().map(|number| seen.took(*number)).collect();
    let mean = took.iter().flatten().map(Duration::as_secs_f64).sum::<f64>() / READS as f64;
    verdict.measured("mean_read_ms", mean * 1e3);
    if seen.end != End::Finished {
        return Ok(seen.behind);
    }
    let back = items.back(&seen, 0..READS as u64);
    verdict
        .check(back == READS as u64, format!("{back} of {READS} reads came back with their item"));
    let tries = items.tries(&upstream);
    chart(verdict, &kinds, &tries);
    let hedge_after = Duration::from_millis(hedge_after);
    let mistake = Reads { kinds, took, tries }.look(verdict, hedge_after);
    mistake.into_iter().for_each(|mistake| verdict.looks_like(mistake));
    Ok(seen.behind)
}

/// What was seen of each read.
struct Reads {
    kinds: Vec<Kind>,
    took: Vec<Option<Duration>>,
    tries: Vec<Vec<Entry>>,
}

impl Reads {
    fn count(&self, kind: Kind, holds: impl Fn(usize) -> bool) -> usize {
        (0..READS).filter(|place| self.kinds[*place] == kind && holds(*place)).count()
    }

    /// Whether the client had left when the answer to the nth request was due.
    fn given_up(&self, place: usize, nth: usize) -> bool {
        self.tries[place].get(nth).is_some_and(|entry| entry.abandoned)
    }

    /// From a late read's first request to its second.
    fn gaps(&self) -> Vec<Duration> {
        let late = (0..READS).filter(|place| self.kinds[*place] != Kind::Quick);
        let gaps = late.filter_map(|place| match &self.tries[place][..] {
            [first, second, ..] => Some(second.arrived.saturating_sub(first.arrived)),
            _ => None,
        });
        gaps.collect()
    }

    /// From the answer that came first to the end of the other request, of a late read.
    fn run_on(&self, place: usize) -> Option<Duration> {
        let [first, second, ..] = &self.tries[place][..] else { return None };
        let (winner, loser) = match self.kinds[place] {
            Kind::Quick => return None,
            Kind::FirstSlow => (second, first),
            Kind::BothSlow => (first, second),
        };
        Some(loser.left?.saturating_sub(winner.left?))
    }

    fn look(&self, verdict: &mut Verdict, hedge_after: Duration) -> Option<&'static str> {
        use Kind::{BothSlow, FirstSlow, Quick};
        // A machine that stands still for a moment must not decide.
        let most_of = |count: usize, all: usize| 4 * count >= 3 * all;
        let most = self.tries.iter().map(Vec::len).max().unwrap_or(0);
        let once =
            verdict.check(most <= 2, format!("the most requests that a read sent are {most}"));
        let quick = READS - 2 * EACH;
        let eager = self.count(Quick, |place| self.tries[place].len() > 1);
        let said = format!("of {quick} reads with a quick answer, {eager} sent a second request");
        let patient = verdict.check(most_of(quick - eager, quick), said);
        let (gaps, all) = (self.gaps(), 2 * EACH);
        let said = format!("of {all} late reads, {} sent a second request", gaps.len());
        let each = verdict.check(gaps.len() == all, said);
        // A request may come to the service a little after it was sent.
        let (least, most) = (hedge_after * 4 / 5, hedge_after * 3 / 2);
        let early = gaps.iter().filter(|gap| **gap < least).count();
        let said =
            format!("{early} of these came less than {} ms after the first", least.as_millis());
        verdict.check(4 * early <= all, said);
        let late = gaps.iter().filter(|gap| **gap >= most).count();
        let said = format!("{late} of these came {} ms or more after the first", most.as_millis());
        let in_time = verdict.check(2 * late < all, said);
        let before_slow = |place: usize| self.took[place].is_some_and(|took| took < SLOW);
        let early = self.count(FirstSlow, before_slow);
        let said =
            format!("{early} of {EACH} reads with a slow first answer came back before it was due");
        let early = verdict.check(early == EACH, said);
        let kept = self.count(BothSlow, |place| !self.given_up(place, 0) && before_slow(place));
        let said = format!(
            "{kept} of {EACH} reads whose second request met a slower machine came back with the first answer"
        );
        let kept = verdict.check(kept == EACH, said);
        let dropped = self.count(FirstSlow, |place| self.given_up(place, 0))
            + self.count(BothSlow, |place| self.given_up(place, 1));
        let said =
            format!("of {all} requests that another one can overtake, {dropped} were given up");
        let dropped = verdict.check(dropped == all, said);
        let bound = hedge_after / 2;
        let run_on = |place: &usize| self.run_on(*place).is_some_and(|time| time >= bound);
        let run_on = (0..READS).filter(run_on).count();
        let said = format!(
            "{run_on} of these ran on for {} ms or more after the answer of the other one",
            bound.as_millis()
        );
        let at_once = verdict.check(2 * run_on < all, said);
        match () {
            () if !once => Some("keeps-hedging"),
            () if !patient => Some("hedges-at-once"),
            () if gaps.is_empty() => None,
            () if !each => Some("saves-hedges"),
            () if !in_time => Some("waits-twice"),
            () if !early => Some("waits-for-both"),
            () if !kept => Some("asks-anew"),
            () if !dropped => Some("leaves-it-running"),
            () if !at_once => Some("gives-up-later"),
            () => None,
        }
    }
}

/// The slow ones lie anywhere among the first.
fn kinds(bench: &mut Bench) -> Vec<Kind> {
    let mut kinds = vec![Kind::Quick; READS];
    kinds[..EACH].fill(Kind::FirstSlow);
    kinds[EACH..2 * EACH].fill(Kind::BothSlow);
    for place in (1..MIXED).rev() {
        kinds.swap(place, bench.draw(0..place as u64 + 1) as usize);
    }
    kinds
}

/// One read of each kind, a row for each request, from when the first came.
fn chart(verdict: &mut Verdict, kinds: &[Kind], tries: &[Vec<Entry>]) {
    let mut shifted = Vec::new();
    for (kind, label) in [
        (Kind::Quick, "quick"),
        (Kind::FirstSlow, "slow, then quick"),
        (Kind::BothSlow, "late, then slow"),
    ] {
        let Some(place) = kinds.iter().position(|k| *k == kind) else { continue };
        let first = tries[place].first().map_or(Duration::ZERO, |entry| entry.arrived);
        for entry in &tries[place] {
            let (arrived, left) = (entry.arrived - first, entry.left.map(|left| left - first));
            shifted.push((label.to_owned(), Entry { arrived, left, ..entry.clone() }));
        }
    }
    let rows: Vec<_> = shifted.iter().map(|(label, entry)| (label.clone(), vec![entry])).collect();
    verdict.show("requests of three reads, at the service (░ was given up):");
    books::timeline(&rows).into_iter().for_each(|line| verdict.show(line));
}
