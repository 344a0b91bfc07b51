//! What is said of stages that the simulator has seen.

use super::*;
use lab_kit::prelude::ServiceTime;
use lab_kit::theory::{Pipeline, Station, Usage, simulate};
use proptest::prelude::*;
use std::time::Duration;

/// What the simulator sees of stages of (microseconds, width).
fn seen(stages: &[(u64, usize)], items: usize, queue: usize, random: bool) -> Vec<Seen> {
    let stations: Vec<Station> = stages
        .iter()
        .map(|(micros, width)| {
            let mean = Duration::from_micros(*micros);
            Station {
                width: *width,
                queue: Some(queue),
                service: if random {
                    ServiceTime::Exponential { mean }
                } else {
                    ServiceTime::Constant(mean)
                },
            }
        })
        .collect();
    let run = simulate(&stations, items, 1).unwrap();
    let of = |(i, usage): (usize, &Usage)| Seen {
        width: stages[i].1,
        service_s: usage.busy / items as f64,
        utilisation: usage.utilisation,
        filling: (i > 0).then(|| usage.mean_queue / queue as f64),
    };
    run.stations.iter().enumerate().map(of).collect()
}

fn law(stages: &[(u64, usize)]) -> (usize, f64) {
    let stages: Vec<_> = stages.iter().map(|(us, w)| (*us as f64, *w)).collect();
    let pipeline = Pipeline::new(&stages);
    let slowest = pipeline.bottleneck().unwrap();
    let rates = pipeline.stages.iter().enumerate();
    let others = rates.filter(|(i, _)| *i != slowest).map(|(_, s)| s.rate());
    let next = others.fold(f64::INFINITY, f64::min);
    (slowest, next / pipeline.throughput() - 1.0)
}

#[test]
fn the_longest_stage_is_not_the_bottleneck_when_it_is_wide_enough() {
    // 40 ms on six workers, 10 ms on one, 15 ms on one.
    let stages = [(40_000, 6), (10_000, 1), (15_000, 1)];
    let seen = seen(&stages, 300, 4, false);
    let diagnosis = diagnose(&seen).unwrap();
    assert_eq!((diagnosis.stage, diagnosis.by_queues), (2, 2));
    assert_eq!(longest(&seen), Some(0));
    assert!((diagnosis.margin - 0.5).abs() < 1e-6, "{diagnosis:?}");
}

#[test]
fn two_that_are_nearly_equal_leave_no_margin() {
    let seen = seen(&[(100_000, 1), (100_200, 1), (20_000, 1)], 500, 4, false);
    let diagnosis = diagnose(&seen).unwrap();
    assert_eq!((diagnosis.stage, longest(&seen)), (1, Some(1)));
    assert!((diagnosis.margin - 0.002).abs() < 1e-6);
}

#[test]
fn nothing_seen_is_nothing_said() {
    assert_eq!((diagnose(&[]), longest(&[])), (None, None));
    let blind = Seen { width: 1, service_s: f64::NAN, utilisation: f64::NAN, filling: None };
    assert_eq!(diagnose(&[blind]), None);
}

proptest! {
    #[test]
    fn the_busiest_stage_is_the_one_with_the_lowest_rate(
        stages in prop::collection::vec((100u64..1_000_000, 1usize..30), 1..6),
        items in 50usize..400,
        queue in 1usize..20,
    ) {
        let (slowest, margin) = law(&stages);
        let diagnosis = diagnose(&seen(&stages, items, queue, false)).unwrap();
        // A microsecond's rounding may decide between equals.
        if margin > 1e-3 {
            prop_assert_eq!(diagnosis.stage, slowest);
        }
    }

    /// Random times: the mean of n of them is off by 1/√n.
    #[test]
    fn so_it_is_with_random_times(
        stages in prop::collection::vec((1_000u64..1_000_000, 1usize..30), 1..6),
        queue in 1usize..20,
    ) {
        let (slowest, margin) = law(&stages);
        let diagnosis = diagnose(&seen(&stages, 5_000, queue, true)).unwrap();
        if margin > 0.1 {
            prop_assert_eq!(diagnosis.stage, slowest);
        }
    }

    /// Queues point at the same stage, if they have room for what a wide stage delivers at once
    /// and the run is long against the time they take to fill.
    #[test]
    fn the_queues_agree(stages in prop::collection::vec((1_000u64..1_000_000, 1usize..8), 1..6)) {
        let (slowest, margin) = law(&stages);
        let diagnosis = diagnose(&seen(&stages, 20_000, 40, false)).unwrap();
        if margin > 0.1 {
            prop_assert_eq!(diagnosis.by_queues, slowest);
        }
    }
}
