//! Stages with widths, short queues and random service times, item by item in virtual time.
//!
//! [`super::pipeline`] has formulas for constant service times and long queues. What happens
//! besides is simulated: the same stages, on no clock and no processor, so that it also answers for
//! machines that are not here. A million items through three stages take some 50 ms when their
//! service times are constant, and a few times that when they are random.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, VecDeque};

use crate::Service;

use super::{nanos, seconds};

/// Items of the longest run.
pub const MAX_ITEMS: usize = 10_000_000;

/// A stage of the simulated pipeline with the queue in front of it.
#[derive(Debug, Clone, PartialEq)]
pub struct Station {
    /// Workers: the items it can work on at once.
    pub width: usize,
    /// Places for items that wait for a worker; `None` for as many as come. A worker of the stage
    /// before whose item finds no place keeps it and stands still (blocking after service), as a
    /// task does that awaits a bounded channel. The first stage takes from a source that never
    /// runs dry, and has no use for it.
    pub queue: Option<usize>,
    /// How long a worker needs for an item.
    pub service: Service,
}

impl Station {
    /// A stage behind an unbounded queue.
    pub fn new(width: usize, service: Service) -> Self {
        Self { width, queue: None, service }
    }

    /// The same stage behind a queue of so many places.
    pub fn behind(self, places: usize) -> Self {
        Self { queue: Some(places), ..self }
    }
}

/// What became of a simulated run.
#[derive(Debug, Clone, PartialEq)]
pub struct Run {
    /// Seconds until the last item is through.
    pub makespan: f64,
    /// Seconds until the first item is through.
    pub first_out: f64,
    /// One entry a station.
    pub stations: Vec<Usage>,
    /// Items that were sent through.
    pub items: usize,
}

/// How one station spent the run. What is neither busy nor blocked was spent waiting for items.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Usage {
    /// Worker-seconds of work, Σ service times.
    pub busy: f64,
    /// Worker-seconds spent holding a finished item for which there was no place.
    pub blocked: f64,
    /// Share of the workers' time spent working, `busy/(width·makespan)`.
    pub utilisation: f64,
    /// Share of the workers' time spent blocked.
    pub blocked_share: f64,
    /// Items waiting in front of it, averaged over the run.
    pub mean_queue: f64,
    /// Most items that ever waited in front of it.
    pub max_queue: usize,
}

impl Run {
    /// Items per second over the whole run, fill and drain included.
    pub fn throughput(&self) -> f64 {
        self.items as f64 / self.makespan
    }

    /// The station that worked the largest share of the time (the first of equals): the bottleneck
    /// of the run.
    pub fn busiest(&self) -> Option<usize> {
        let all = || self.stations.iter().map(|s| s.utilisation);
        let most = all().fold(f64::NEG_INFINITY, f64::max);
        all().position(|u| u == most)
    }
}

/// Sends `items` items through the stations. Item i takes the i-th time drawn at each station, in
/// whatever order items get there, so runs with other widths or queues are compared on the same
/// work. The same seed draws the same times.
///
/// `None` without stations, when a station has no workers, or beyond [`MAX_ITEMS`].
pub fn simulate(stations: &[Station], items: usize, seed: u64) -> Option<Run> {
    if stations.is_empty() || stations.iter().any(|s| s.width == 0) || items > MAX_ITEMS {
        return None;
    }
    let count = u32::try_from(items).ok()?;
    let state = stations.iter().zip(0..).map(|(station, i)| Stage {
        times: Times::draw(&station.service, items, seed.wrapping_add(i)),
        working: Calendar::of(&station.service),
        idle: station.width,
        places: station.queue.unwrap_or(usize::MAX),
        queue: VecDeque::new(),
        blocked: VecDeque::new(),
        area: 0,
        changed: 0,
        busy: 0,
        blocked_for: 0,
        max_queue: 0,
    });
    let mut line = Line { stages: state.collect(), unsent: 0..count, now: 0 };
    let (mut first_out, mut out) = (None, 0);
    line.feed(0);
    while let Some(j) = line.next() {
        let stage = &mut line.stages[j];
        let Some((now, item)) = stage.working.pop() else {
            break;
        };
        line.now = now;
        if j + 1 == line.stages.len() {
            line.stages[j].idle += 1;
            first_out.get_or_insert(now);
            out += 1;
        } else {
            line.hand_on(j, item);
        }
        line.feed(j);
    }
    debug_assert_eq!(out, items);
    let makespan = line.now;
    let usage = |(stage, station): (Stage, &Station)| {
        let available = station.width as f64 * seconds(makespan);
        let (busy, blocked) = (seconds_of(stage.busy), seconds_of(stage.blocked_for));
        Usage {
            busy,
            blocked,
            utilisation: share(busy, available),
            blocked_share: share(blocked, available),
            mean_queue: share(seconds_of(stage.area), seconds(makespan)),
            max_queue: stage.max_queue,
        }
    };
    Some(Run {
        makespan: seconds(makespan),
        first_out: seconds(first_out.unwrap_or(0)),
        stations: line.stages.into_iter().zip(stations).map(usage).collect(),
        items,
    })
}

fn share(part: f64, whole: f64) -> f64 {
    if whole > 0.0 { part / whole } else { 0.0 }
}

/// Sums of nanoseconds over many workers outgrow 64 bits.
fn seconds_of(nanos: u128) -> f64 {
    nanos as f64 / 1e9
}

/// The stations and the source, at one instant.
struct Line {
    stages: Vec<Stage>,
    unsent: std::ops::Range<u32>,
    now: u64,
}

struct Stage {
    times: Times,
    working: Calendar,
    idle: usize,
    places: usize,
    queue: VecDeque<u32>,
    /// Finished items that workers of this stage hold, with when they were finished.
    blocked: VecDeque<(u64, u32)>,
    /// Integral of the queue's length up to `changed`.
    area: u128,
    changed: u64,
    busy: u128,
    blocked_for: u128,
    max_queue: usize,
}

impl Line {
    /// The station where something happens next; at the same instant the last one first, which
    /// makes room for those before it.
    fn next(&self) -> Option<usize> {
        let ends = self.stages.iter().enumerate();
        let ends = ends.filter_map(|(j, s)| Some((s.working.earliest()?, Reverse(j))));
        ends.min().map(|(_, Reverse(j))| j)
    }

    /// Hands a finished item to the next station, or keeps it where there is no place.
    fn hand_on(&mut self, j: usize, item: u32) {
        let now = self.now;
        let next = &mut self.stages[j + 1];
        if next.idle > 0 {
            next.start(now, item);
        } else if next.queue.len() < next.places {
            next.enqueue(now, item);
        } else {
            self.stages[j].blocked.push_back((now, item));
            return;
        }
        self.stages[j].idle += 1;
    }

    /// Gives idle workers of station `last` work, and those before it the places that frees.
    fn feed(&mut self, last: usize) {
        for j in (0..=last).rev() {
            while self.stages[j].idle > 0 {
                let Some(item) = self.take(j) else { break };
                self.stages[j].start(self.now, item);
            }
        }
    }

    /// The next item for station `j`.
    fn take(&mut self, j: usize) -> Option<u32> {
        if j == 0 {
            return self.unsent.next();
        }
        let now = self.now;
        let waiting = self.stages[j].dequeue(now);
        let before = &mut self.stages[j - 1];
        let Some((since, held)) = before.blocked.pop_front() else {
            return waiting;
        };
        before.blocked_for += u128::from(now - since);
        before.idle += 1;
        if waiting.is_none() {
            return Some(held);
        }
        self.stages[j].enqueue(now, held);
        waiting
    }
}

impl Stage {
    fn start(&mut self, now: u64, item: u32) {
        let time = self.times.of(item);
        self.idle -= 1;
        self.busy += u128::from(time);
        self.working.push(now.saturating_add(time), item);
    }

    fn enqueue(&mut self, now: u64, item: u32) {
        self.account(now);
        self.queue.push_back(item);
        self.max_queue = self.max_queue.max(self.queue.len());
    }

    fn dequeue(&mut self, now: u64) -> Option<u32> {
        self.account(now);
        self.queue.pop_front()
    }

    fn account(&mut self, now: u64) {
        self.area += self.queue.len() as u128 * u128::from(now - self.changed);
        self.changed = now;
    }
}

/// The service times of one station, in nanoseconds, by item.
enum Times {
    Constant(u64),
    Drawn(Vec<u64>),
}

impl Times {
    fn draw(service: &Service, items: usize, seed: u64) -> Times {
        if let Service::Constant(time) = service {
            return Times::Constant(nanos(time.as_secs_f64()));
        }
        let mut sampler = service.sampler(seed);
        let drawn = std::iter::repeat_with(|| nanos(sampler.next_time().as_secs_f64()));
        Times::Drawn(drawn.take(items).collect())
    }

    fn of(&self, item: u32) -> u64 {
        match self {
            Times::Constant(time) => *time,
            Times::Drawn(times) => times[item as usize],
        }
    }
}

/// When the items in work will be done. Constant service times end in the order they began, which
/// needs no heap.
enum Calendar {
    InOrder(VecDeque<(u64, u32)>),
    Any(BinaryHeap<Reverse<(u64, u32)>>),
}

impl Calendar {
    fn of(service: &Service) -> Calendar {
        match service {
            Service::Constant(_) => Calendar::InOrder(VecDeque::new()),
            _ => Calendar::Any(BinaryHeap::new()),
        }
    }

    fn push(&mut self, at: u64, item: u32) {
        match self {
            Calendar::InOrder(line) => line.push_back((at, item)),
            Calendar::Any(heap) => heap.push(Reverse((at, item))),
        }
    }

    fn earliest(&self) -> Option<u64> {
        match self {
            Calendar::InOrder(line) => line.front().map(|(at, _)| *at),
            Calendar::Any(heap) => heap.peek().map(|Reverse((at, _))| *at),
        }
    }

    fn pop(&mut self) -> Option<(u64, u32)> {
        match self {
            Calendar::InOrder(line) => line.pop_front(),
            Calendar::Any(heap) => heap.pop().map(|Reverse(end)| end),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{MMc, Pipeline};
    use proptest::prelude::*;
    use std::time::Duration;

    fn constant(seconds: f64) -> Service {
        Service::Constant(Duration::from_nanos(nanos(seconds)))
    }

    fn trace(times: &[u64]) -> Service {
        Service::Trace(times.iter().map(|n| Duration::from_nanos(*n)).collect())
    }

    #[test]
    fn thirty_items() {
        let stations = [(0.05, 1), (0.1, 1), (0.02, 1)].map(|(s, w)| Station::new(w, constant(s)));
        let run = simulate(&stations, 30, 1).unwrap();
        assert_eq!((run.makespan, run.first_out), (3.07, 0.17));
        assert_eq!(run.busiest(), Some(1));
        // The transformer falls behind by one item every two fetches.
        assert_eq!(run.stations[1].max_queue, 15);
        assert_eq!(run.stations[0].blocked, 0.0);
    }

    #[test]
    fn a_short_queue_holds_the_fast_stage_back() {
        let stations = [Station::new(1, constant(0.01)), Station::new(1, constant(0.1)).behind(2)];
        let run = simulate(&stations, 10, 1).unwrap();
        assert_eq!((run.makespan, run.stations[1].max_queue), (1.01, 2));
        // Item 3 is the first that finds both places taken, at 40 ms; from then on one goes in
        // each time the other stage begins another, at 110, 210 … 710 ms.
        let held: f64 = 0.07 + 5.0 * 0.09 + 0.09;
        assert!((run.stations[0].blocked - held).abs() < 1e-9, "{run:?}");
        assert!((run.stations[0].busy - 0.1).abs() < 1e-9);
    }

    #[test]
    fn exponential_stages_wait_as_erlang_says() {
        // A single exponential worker that never waits for items is a Poisson source.
        let stations = [
            Station::new(1, "exp:10ms".parse().unwrap()),
            Station::new(3, "exp:24ms".parse().unwrap()),
        ];
        let run = simulate(&stations, 1_000_000, 7).unwrap();
        let queue = MMc { lambda: 100.0, service: 0.024, servers: 3 };
        let theory = queue.mean_queue();
        let measured = run.stations[1].mean_queue;
        assert!((measured / theory - 1.0).abs() < 0.05, "{measured} {theory}");
        assert!((run.stations[1].utilisation - 0.8).abs() < 0.01);
    }

    #[test]
    fn what_cannot_be_run_is_refused() {
        assert_eq!(simulate(&[], 3, 1), None);
        assert_eq!(simulate(&[Station::new(0, constant(1.0))], 3, 1), None);
        let one = [Station::new(1, constant(1.0))];
        assert_eq!(simulate(&one, MAX_ITEMS + 1, 1), None);
        let none = simulate(&one, 0, 1).unwrap();
        assert_eq!((none.makespan, none.stations[0].utilisation), (0.0, 0.0));
    }

    #[test]
    fn more_workers_than_items() {
        let stations = [Station::new(usize::MAX, constant(0.5))];
        assert_eq!(simulate(&stations, 1000, 1).unwrap().makespan, 0.5);
    }

    proptest! {
        #[test]
        fn constant_service_is_the_formula(
            stages in prop::collection::vec((1u64..1000, 1usize..9), 1..5), n in 1usize..200,
        ) {
            let s: Vec<_> = stages.iter().map(|(ms, w)| (*ms as f64 / 1e3, *w)).collect();
            let stations: Vec<_> = s.iter().map(|(s, w)| Station::new(*w, constant(*s))).collect();
            let run = simulate(&stations, n, 1).unwrap();
            let theory = Pipeline::new(&s);
            prop_assert!((run.makespan - theory.makespan(n)).abs() < 1e-6);
            prop_assert!((run.first_out - theory.fill()).abs() < 1e-6);
            for (used, expected) in run.stations.iter().zip(theory.utilisation_over(n)) {
                prop_assert!((used.utilisation - expected).abs() < 1e-6);
            }
        }

        /// Single workers and queues of b places: item i leaves stage j when it is done there and
        /// item i-b-1 has left stage j+1 (blocking flow shop; Hall and Sriskandarajah, 1996).
        #[test]
        fn single_workers_follow_the_recursion(
            times in prop::collection::vec(prop::collection::vec(1u64..100, 20), 1..5),
            places in prop::collection::vec(0usize..4, 5),
        ) {
            let stations: Vec<_> = times
                .iter()
                .zip(&places)
                .map(|(t, b)| Station::new(1, trace(t)).behind(*b))
                .collect();
            let (m, n) = (times.len(), 20);
            let mut left = vec![vec![0u64; n]; m];
            let mut blocked = vec![0; m];
            for i in 0..n {
                for j in 0..m {
                    let came = if j > 0 { left[j - 1][i] } else { 0 };
                    let free = if i > 0 { left[j][i - 1] } else { 0 };
                    let done = came.max(free) + times[j][i];
                    let ahead = places.get(j + 1).and_then(|b| i.checked_sub(b + 1));
                    let room = match ahead {
                        Some(ahead) if j + 1 < m => left[j + 1][ahead],
                        _ => 0,
                    };
                    left[j][i] = done.max(room);
                    blocked[j] += left[j][i] - done;
                }
            }
            let run = simulate(&stations, n, 1).unwrap();
            prop_assert_eq!(run.makespan, seconds(left[m - 1][n - 1]));
            for (used, blocked) in run.stations.iter().zip(blocked) {
                prop_assert!((used.blocked - seconds(blocked)).abs() < 1e-12);
            }
        }

        #[test]
        fn nothing_is_lost_and_no_queue_overflows(
            stages in prop::collection::vec((1usize..6, prop::option::of(0usize..5)), 1..5),
            n in 0usize..300, seed in any::<u64>(),
        ) {
            let stations: Vec<_> = stages
                .iter()
                .map(|(width, queue)| Station {
                    width: *width,
                    queue: *queue,
                    service: Service::LogNormal { mean: Duration::from_millis(10), cv: 1.5 },
                })
                .collect();
            let run = simulate(&stations, n, seed).unwrap();
            for (j, (used, station)) in run.stations.iter().zip(&stations).enumerate() {
                prop_assert!(j == 0 || used.max_queue <= station.queue.unwrap_or(usize::MAX));
                prop_assert!(used.utilisation + used.blocked_share <= 1.0 + 1e-9);
            }
            // No queue is better than a longer one, and the same work is done in any case.
            let free: Vec<_> = stations.iter().map(|s| Station { queue: None, ..s.clone() }).collect();
            let unbounded = simulate(&free, n, seed).unwrap();
            for (one, other) in run.stations.iter().zip(&unbounded.stations) {
                prop_assert!((one.busy - other.busy).abs() < 1e-9);
            }
            if stages.iter().all(|(width, _)| *width == 1) {
                prop_assert!(unbounded.makespan <= run.makespan + 1e-9);
            }
        }
    }
}
