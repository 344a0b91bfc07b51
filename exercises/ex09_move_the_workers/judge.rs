//! Every possible split is tried; then the books of a real pipeline say what it passes.

use std::time::Duration;

use anyhow::Result;
use mock_server::{Route, Service, Spec};

use crate::{
    bench::Bench,
    books,
    exercise::{Card, Judge, Misconception, Question},
    line::{End, Run},
    verdict::Verdict,
};

/// Move the workers.
pub struct MoveTheWorkers;

/// Draws that tell the ways apart, before the one of the question.
const DRAWS: usize = 12;
/// Draws of all kinds, before those.
const OTHERS: usize = 18;
/// The draw of the question, which is run as well.
const ASKED: Draw = Draw { workers: 9, times: [10_000, 20_000, 60_000] };
const ITEMS: u64 = 60;
const STAGES: [&str; 3] = ["fetch", "embed", "store"];

type Widths = [usize; 3];

/// Workers to be placed, and microseconds that each stage takes for an item.
#[derive(Clone, Copy)]
struct Draw {
    workers: usize,
    times: [u64; 3],
}

impl Draw {
    /// Items a second of each stage.
    fn rates(self, widths: Widths) -> [f64; 3] {
        std::array::from_fn(|i| widths[i] as f64 * 1e6 / self.times[i] as f64)
    }

    /// Items a second of all.
    fn rate(self, widths: Widths) -> f64 {
        self.rates(widths).into_iter().fold(f64::INFINITY, f64::min)
    }

    /// The most that any split passes, and the most workers at the longest stage in a split that passes it.
    fn best(self) -> (f64, usize) {
        let firsts = 1..self.workers - 1;
        let splits =
            firsts.flat_map(|a| (1..self.workers - a).map(move |b| [a, b, self.workers - a - b]));
        let best = splits.clone().map(|split| self.rate(split)).fold(0.0, f64::max);
        let with =
            splits.filter(|split| self.reaches(*split, best)).map(|split| split[self.longest()]);
        (best, with.max().unwrap_or(0))
    }

    fn reaches(self, widths: Widths, best: f64) -> bool {
        self.rate(widths) >= best * (1.0 - 1e-9)
    }

    /// How far the widths are from adding up to the workers.
    fn lacks(self, widths: Widths) -> usize {
        widths.iter().fold(0_usize, |sum, width| sum.saturating_add(*width)).abs_diff(self.workers)
    }

    fn places_all(self, widths: Widths) -> bool {
        self.lacks(widths) == 0
    }

    fn longest(self) -> usize {
        (0..3).max_by_key(|i| self.times[*i]).unwrap_or(0)
    }

    /// Shares of the workers in proportion to the times.
    fn shares(self) -> [f64; 3] {
        let whole: u64 = self.times.iter().sum();
        self.times.map(|time| self.workers as f64 * time as f64 / whole as f64)
    }

    /// What these widths pass when the longest stage gets all that is left over; none when it is nearly the best.
    fn rest(self, mut widths: Widths) -> Option<Widths> {
        let longest = self.longest();
        widths[longest] = 0;
        widths[longest] = self.workers.saturating_sub(widths.iter().sum());
        (self.rate(widths) < 0.97 * self.best().0).then_some(widths)
    }

    /// Whether two stages need next to nobody: then all but two workers belong to the third.
    fn is_lonely(self) -> bool {
        self.rest([1; 3]).is_none()
    }

    /// Whether it tells the wrong ways from the right one: each passes clearly less here. Of three draws one has
    /// shares that do not add up when they are rounded, and one a share of less than a worker.
    fn tells(self, which: usize) -> bool {
        let (most, longest) = (self.best().1, self.longest());
        let floors = self.shares().map(|share| (share as usize).max(1));
        let rounded = self.shares().map(|share| (share.round() as usize).max(1));
        let is_kind = match which % 3 {
            0 => rounded.iter().sum::<usize>() != self.workers,
            1 => self.shares().iter().any(|share| *share < 0.95),
            _ => true,
        };
        let each = [self.rest([1; 3]), self.rest([self.workers / 3; 3])];
        is_kind
            && longest == which / 3 % 3
            && each.iter().all(Option::is_some)
            && self.rest(floors).is_some_and(|widths| widths[longest] > most)
    }
}

impl Judge for MoveTheWorkers {
    fn card(&self) -> Card {
        Card {
            folder: "ex09_move_the_workers",
            title: "Move the workers",
            lab: 9,
            question: Question {
                text: "Nine workers, and stages that take 10, 20 and 60 ms for an item. How many items a second will the file's split pass?",
                gauge: "items_per_second",
                unit: "items/s",
            },
            misconceptions: &[
                Misconception {
                    name: "equal-split",
                    belief: "as many workers for every stage, whatever it takes",
                    ask: "How many items a second does each stage pass, and how many does the pipeline?",
                },
                Misconception {
                    name: "all-to-the-longest",
                    belief: "a bottleneck that stays where it is, however many workers it gets",
                    ask: "When the longest stage has them all, which stage holds the pipeline back?",
                },
                Misconception {
                    name: "rounded",
                    belief: "shares that still add up when each is rounded by itself",
                    ask: "How many workers have you placed, of how many?",
                },
                Misconception {
                    name: "nobody-at-a-stage",
                    belief: "a stage so quick that it needs nobody",
                    ask: "How many items a second does a stage without a worker pass?",
                },
                Misconception {
                    name: "rest-to-the-longest",
                    belief: "workers left over that belong to the longest stage",
                    ask: "With the shares rounded down, which stage passes the fewest items a second? Is it the longest?",
                },
                Misconception {
                    name: "leaves-one-out",
                    belief: "a search of all splits that leaves out those at the edge",
                    ask: "Two stages take next to nothing. How many workers should the third one have, and does your program try that?",
                },
                Misconception {
                    name: "a-millisecond-at-least",
                    belief: "a stage that takes a millisecond at least",
                    ask: "The stages take 0.1, 0.2 and 0.7 ms. By which times does your program share out the workers?",
                },
                Misconception {
                    name: "most-to-the-first",
                    belief: "a pipeline that passes what its first stage takes in",
                    ask: "What becomes of the items when the next stage is slower than the first?",
                },
            ],
            orders: false,
            pace: None,
        }
    }

    fn judge(&self, bench: &mut Bench) -> Result<Verdict> {
        let mut verdict = Verdict::new();
        let mut draws: Vec<Draw> = (0..OTHERS).map(|which| other(bench, which)).collect();
        draws.extend((0..DRAWS).map(|which| drawn(bench, which)));
        draws.push(ASKED);
        let first = bench.draw(1000..1_000_000);
        let items: Vec<u64> = (first..first + ITEMS).collect();
        let route = |(stage, time): (&str, u64)| {
            Route::new(format!("/{stage}"), Service::Constant(Duration::from_micros(time)))
        };
        let routes = STAGES.into_iter().zip(ASKED.times).map(route).collect();
        let upstream = bench
            .upstream(Spec { routes, ..Spec::new(1000, Service::Constant(Duration::ZERO)) })?;
        let figures: Vec<u64> = draws
            .iter()
            .flat_map(|d| [d.workers as u64, d.times[0], d.times[1], d.times[2]])
            .collect();
        let run = Run::new().service(&upstream).list("draws", &figures).list("items", &items);
        let seen = bench.run_through(&mut verdict, run)?;
        let said = |id| {
            seen.reply(id)?
                .text
                .split(' ')
                .map(|n| n.parse().ok())
                .collect::<Option<Vec<usize>>>()?
                .try_into()
                .ok()
        };
        let splits: Option<Vec<Widths>> = (0..draws.len() as u64).map(said).collect();
        let Some(splits) = splits.filter(|_| seen.end == End::Finished) else { return Ok(verdict) };
        let all: Vec<(Draw, Widths)> = draws.into_iter().zip(splits).collect();

        let count = |holds: &dyn Fn(Draw, Widths) -> bool| {
            all.iter().filter(|(d, w)| holds(*d, *w)).count()
        };
        let (n, full, empty) = (all.len(), count(&Draw::places_all), count(&|_, w| w.contains(&0)));
        verdict
            .check(full == n, format!("in {full} of {n} draws the widths add up to the workers"));
        verdict.check(empty == 0, format!("in {empty} of {n} draws a stage is without a worker"));
        let best = count(&|d, w| d.places_all(w) && d.reaches(w, d.best().0));
        verdict.check(
            best == n,
            format!("in {best} of {n} draws no other split passes more items a second"),
        );
        let worst =
            |(d, w): &(Draw, Widths)| if d.places_all(*w) { d.rate(*w) / d.best().0 } else { 0.0 };
        if let Some((d, w)) = all.iter().min_by(|a, b| worst(a).total_cmp(&worst(b))) {
            verdict.show(format!(
                "{} workers, where the best split passes {:.0} items/s:",
                d.workers,
                d.best().0
            ));
            for (i, stage) in STAGES.iter().enumerate() {
                let (time, rate) = (d.times[i] as f64 / 1e3, d.rates(*w)[i]);
                verdict.show(format!(
                    "{stage:>6}: {time:7.3} ms an item, {:>2} workers: {rate:4.0} items/s",
                    w[i]
                ));
            }
        }
        real(&mut verdict, &upstream.ledger(), &items);
        if let (false, Some(mistake)) = (verdict.holds(), mistake(&all)) {
            verdict.looks_like(mistake);
        }
        Ok(verdict)
    }
}

/// What the splits have in common. Those of other draws tell of what is right in the first ones.
fn mistake(all: &[(Draw, Widths)]) -> Option<&'static str> {
    let (others, all) = all.split_at(OTHERS);
    let is_best = |(d, w): &&(Draw, Widths)| d.places_all(*w) && d.reaches(*w, d.best().0);
    if all.iter().all(|split| is_best(&split)) {
        let bad: Vec<Draw> =
            others.iter().filter(|split| !is_best(split)).map(|(d, _)| *d).collect();
        let is_short = |d: &Draw| d.times.iter().any(|time| *time < 1000);
        return match bad[..] {
            [] => None,
            _ if bad.iter().all(|d| d.is_lonely()) => Some("leaves-one-out"),
            _ => bad.iter().all(is_short).then_some("a-millisecond-at-least"),
        };
    }
    let each = |holds: &dyn Fn(Draw, Widths) -> bool| all.iter().all(|(d, w)| holds(*d, *w));
    let least = |w: Widths| w.iter().copied().min().unwrap_or(0);
    if !each(&|_, w| least(w) > 0) {
        Some("nobody-at-a-stage")
    } else if !each(&Draw::places_all) {
        // Three roundings are off by two at most, and by another where none may be 0.
        each(&|d, w| d.lacks(w) <= 3).then_some("rounded")
    } else if each(&|_, w| w.iter().all(|width| *width <= least(w) + 2)) {
        Some("equal-split")
    } else if each(&|d, w| (0..3).all(|i| i == d.longest() || w[i] == 1)) {
        Some("all-to-the-longest")
    } else if each(&|_, w| w[0] > w[1] && w[0] > w[2]) {
        Some("most-to-the-first")
    } else if each(&|d, w| d.reaches(w, d.best().0) || w[d.longest()] > d.best().1) {
        Some("rest-to-the-longest")
    } else {
        None
    }
}

/// Draws until it tells the ways apart.
fn drawn(bench: &mut Bench, which: usize) -> Draw {
    loop {
        let workers = bench.draw(7..17) as usize;
        let draw = Draw { workers, times: std::array::from_fn(|_| bench.draw(4_000..80_000)) };
        if draw.tells(which) {
            return draw;
        }
    }
}

/// In turn: two stages that need next to nobody, stages of less than a millisecond, and anything.
fn other(bench: &mut Bench, which: usize) -> Draw {
    let place = which / 3 % 3;
    loop {
        let workers = bench.draw(5..25) as usize;
        let times = match which % 3 {
            0 => {
                let mut times = std::array::from_fn(|_| bench.draw(1000..5000));
                times[place] = bench.draw(200_000..400_000);
                times
            }
            1 => std::array::from_fn(|_| bench.draw(10..1000)),
            // From microseconds to seconds, each length as likely as twice that length.
            _ => std::array::from_fn(|_| (1 << bench.draw(0..23)) + bench.draw(0..1000)),
        };
        let draw = Draw { workers, times };
        // Short stages that are no kind of their own: neither is an even split the best, nor one to the longest alone.
        let even = std::array::from_fn(|i| workers / 3 + usize::from(i < workers % 3));
        let tells = || !draw.is_lonely() && draw.rate(even) < 0.97 * draw.best().0;
        if which % 3 != 1 || tells() {
            return draw;
        }
    }
}

/// What the real pipeline passed, by its books.
fn real(verdict: &mut Verdict, ledger: &[mock_server::Entry], items: &[u64]) {
    let (Some(first), Some(last)) =
        (ledger.first(), ledger.iter().filter_map(|entry| entry.left).max())
    else {
        return;
    };
    let paths = STAGES.iter().flat_map(|stage| items.iter().map(move |n| format!("/{stage}/{n}")));
    books::each_once(verdict, ledger, paths);
    let passed = items.len() as f64 / last.saturating_sub(first.arrived).as_secs_f64();
    verdict.measured("items_per_second", passed);
    let stages = STAGES.map(|stage| books::under(ledger, &format!("/{stage}/")));
    verdict.show(format!("9 workers, run: {ITEMS} items through stages of 10, 20 and 60 ms, {passed:.0} items/s with fill and drain:"));
    let rows: Vec<_> = STAGES.into_iter().zip(stages.iter().map(Vec::as_slice)).collect();
    for line in books::lanes(&rows) {
        verdict.show(line);
    }
}
