//! What a pipeline should take: its items, stage by stage, in virtual time.
//!
//! `theory::Pipeline` knows stages in which every item takes the same time. Here some items end at
//! the first stage and some hang at the last, and how many may be under way is limited as well, so
//! the schedule is played through: queues first come, first served, exact for given times.

use std::{
    cmp::Reverse,
    collections::{BinaryHeap, VecDeque},
    fmt,
};

/// How items are let in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Way {
    /// So many at once, and the next ones when all of them have left.
    Batches,
    /// One for each that leaves, so that never more than so many are under way.
    Window,
}

impl Way {
    pub(super) const ALL: [Way; 2] = [Way::Batches, Way::Window];

    /// As in the names of conditions.
    pub(super) fn name(self) -> &'static str {
        match self {
            Way::Batches => "batches",
            Way::Window => "window",
        }
    }
}

impl fmt::Display for Way {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// Seconds an item takes at each stage in turn; it leaves after the last one.
pub(super) type Times = Vec<f64>;

/// What came of it.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Replay {
    /// When the last item left, in seconds.
    pub(super) makespan: f64,
    /// When each item left, in the order in which they left.
    pub(super) left: Vec<f64>,
    /// Items under way, summed up over time: item-seconds.
    pub(super) inside: f64,
    /// Seconds that the servers of each stage were busy, added up.
    pub(super) busy: Vec<f64>,
}

#[derive(Default)]
struct Station {
    free: usize,
    queue: VecDeque<usize>,
}

/// An instant as an ordered number: virtual time is never negative, nor NaN.
fn key(time: f64) -> u64 {
    time.max(0.0).to_bits()
}

/// Plays the schedule through. `widths` are the servers of each stage; `size` is that of a batch, or of the window.
pub(super) fn replay(items: &[Times], widths: &[usize], way: Way, size: usize) -> Replay {
    let mut stations: Vec<Station> = widths
        .iter()
        .map(|width| Station { free: (*width).max(1), queue: VecDeque::new() })
        .collect();
    let mut run = Replay { busy: vec![0.0; widths.len()], ..Replay::default() };
    // Ends of service: (when, order of beginning, item, stage).
    let mut ends = BinaryHeap::new();
    let (mut next, mut under_way, mut begun) = (0, 0, 0u64);
    let mut now = 0.0;
    loop {
        // Let in.
        let mut arriving = VecDeque::new();
        let room = match way {
            Way::Batches if under_way == 0 => size.max(1),
            Way::Batches => 0,
            Way::Window => size.max(1).saturating_sub(under_way),
        };
        for item in (next..items.len()).take(room) {
            arriving.push_back((item, 0));
            next += 1;
            under_way += 1;
        }
        // One service that ends, and where its item goes.
        if arriving.is_empty() {
            let Some(Reverse((at, _, item, stage))) = ends.pop() else {
                break;
            };
            let at = f64::from_bits(at);
            run.inside += under_way as f64 * (at - now);
            now = at;
            let station: &mut Station = &mut stations[stage];
            station.free += 1;
            if let Some(waiting) = station.queue.pop_front() {
                station.free -= 1;
                begin(&mut ends, &mut begun, &mut run, items, now, waiting, stage);
            }
            arriving.push_back((item, stage + 1));
        }
        while let Some((item, stage)) = arriving.pop_front() {
            if stage >= items[item].len().min(stations.len()) {
                under_way -= 1;
                run.left.push(now);
                run.makespan = now;
            } else if stations[stage].free == 0 {
                stations[stage].queue.push_back(item);
            } else {
                stations[stage].free -= 1;
                begin(&mut ends, &mut begun, &mut run, items, now, item, stage);
            }
        }
    }
    run
}

type Ends = BinaryHeap<Reverse<(u64, u64, usize, usize)>>;

fn begin(
    ends: &mut Ends,
    begun: &mut u64,
    run: &mut Replay,
    items: &[Times],
    now: f64,
    item: usize,
    stage: usize,
) {
    let service = items[item][stage];
    run.busy[stage] += service;
    *begun += 1;
    ends.push(Reverse((key(now + service), *begun, item, stage)));
}

#[cfg(test)]
mod tests {
    use super::*;
    use lab_kit::theory::Pipeline;
    use proptest::prelude::*;

    fn alike(n: usize, times: &[f64]) -> Vec<Times> {
        vec![times.to_vec(); n]
    }

    #[test]
    fn a_wide_window_is_the_pipeline_of_the_theory() {
        for (n, stages) in [
            (30, [(0.05, 1), (0.1, 1), (0.02, 1)]),
            (30, [(0.05, 5), (0.1, 4), (0.02, 2)]),
            (100, [(0.04, 10), (0.008, 2), (0.02, 4)]),
        ] {
            let items = alike(n, &stages.map(|s| s.0));
            let run = replay(&items, &stages.map(|s| s.1), Way::Window, n);
            let theory = Pipeline::new(&stages).makespan(n);
            assert!((run.makespan - theory).abs() < 1e-9, "{run:?} {theory}");
        }
    }

    #[test]
    fn a_batch_lasts_as_long_as_its_slowest_item() {
        let mut items = alike(20, &[0.1]);
        items[3] = vec![0.5];
        items[12] = vec![0.7];
        let batches = replay(&items, &[100], Way::Batches, 10);
        assert!((batches.makespan - 1.2).abs() < 1e-9);
        let window = replay(&items, &[100], Way::Window, 10);
        assert!((window.makespan - 0.8).abs() < 1e-9, "{window:?}");
    }

    proptest! {
        #[test]
        fn every_item_leaves_and_no_schedule_beats_its_bounds(
            times in prop::collection::vec((1u32..50, 0u32..50, 0u32..50), 1..40),
            widths in prop::array::uniform3(1usize..6),
            size in 1usize..12,
        ) {
            let items: Vec<Times> = times.iter().map(|(a, b, c)| {
                let mut item = vec![f64::from(*a)];
                if *b > 9 { item.extend([f64::from(*b), f64::from(*c)]); }
                item
            }).collect();
            for way in Way::ALL {
                let run = replay(&items, &widths, way, size);
                prop_assert_eq!(run.left.len(), items.len());
                prop_assert!(run.left.windows(2).all(|w| w[0] <= w[1]));
                let all: f64 = items.iter().flatten().sum();
                let longest = items.iter().map(|i| i.iter().sum::<f64>()).fold(0.0, f64::max);
                prop_assert!(run.makespan <= all + 1e-6 && run.makespan >= longest - 1e-6);
                prop_assert!(run.makespan >= all / size as f64 - 1e-6);
                for (busy, width) in run.busy.iter().zip(widths) {
                    prop_assert!(run.makespan >= busy / width as f64 - 1e-6);
                }
            }
        }
    }
}
