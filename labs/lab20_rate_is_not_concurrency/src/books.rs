//! What the service's books say of a trial.

use lab_kit::prelude::*;
use lab_kit::theory::rate;
use mock_server::{Entry, books};

use super::{gauges, world::World};

/// Seconds of a trial, from the first arrival on.
type Seconds = (f64, f64);

/// A request as the service saw it, in seconds from the first arrival on.
struct Request {
    arrived: f64,
    left: f64,
    is_refused: bool,
}

/// `takes` says how long a request takes that comes so long after the first: of those whose answer is still due, and
/// of those whose clients went home before.
fn requests(ledger: &[Entry], takes: impl Fn(f64) -> f64) -> Vec<Request> {
    let first = ledger.first().map(|entry| entry.arrived).unwrap_or_default();
    let seconds = |at: Duration| at.saturating_sub(first).as_secs_f64();
    let request = |entry: &Entry| {
        let arrived = seconds(entry.arrived);
        let left = entry.left.filter(|_| !entry.abandoned);
        let left = left.map_or_else(|| arrived + takes(arrived), seconds);
        Request { arrived, left, is_refused: entry.status == 429 }
    };
    ledger.iter().map(request).collect()
}

/// Writes down what the books say.
pub(super) fn write_down(r: &Recorder, service: &Service, world: &World) {
    let ledger = service.ledger().unwrap_or_default();
    let requests = requests(&ledger, |at| world.takes(at));
    let came_to_be = |refused: bool| -> Vec<f64> {
        let of_it = requests.iter().filter(|request| request.is_refused == refused);
        of_it.map(|request| request.arrived).collect()
    };
    let (admitted, refused) = (came_to_be(false), came_to_be(true));
    let [before, after] = world.looks().map(|look| Part::of(&requests, look));
    let came: Vec<f64> = requests.iter().map(|request| request.arrived).collect();
    let served: Vec<Entry> = ledger.iter().filter(|entry| entry.status != 429).cloned().collect();
    let ahead = (rate::burst_of(&came, world.quota.per_s) - 1.0) / world.quota.per_s;
    let window = world.window.as_secs_f64();
    let figures = [
        (gauges::BEFORE_ADMITTED_PER_S, before.admitted_per_s),
        (gauges::BEFORE_REFUSED_PER_S, before.refused_per_s),
        (gauges::BEFORE_IN_SERVICE, before.in_service),
        (gauges::AFTER_ADMITTED_PER_S, after.admitted_per_s),
        (gauges::AFTER_REFUSED_PER_S, after.refused_per_s),
        (gauges::AFTER_IN_SERVICE, after.in_service),
        (gauges::ADMITTED, admitted.len() as f64),
        (gauges::REFUSED, refused.len() as f64),
        (gauges::IN_SERVICE_MAX, books::most_in_flight(&served) as f64),
        (gauges::AHEAD_S, ahead.max(0.0)),
        (gauges::MOST_IN_WINDOW, rate::most_within(&came, window) as f64),
    ];
    figures.into_iter().for_each(|(gauge, value)| r.gauge(gauge, value));
    for (name, times) in [("admitted", admitted), ("refused", refused)] {
        for (at, count) in per_step(&times, world.step(), world.lasts()) {
            r.trace(name, r.origin() + Duration::from_secs_f64(at), count);
        }
    }
}

/// How many of these instants fall into each step of the time that the trial lasts; a step is named by its end.
fn per_step(instants: &[f64], step: f64, lasts: f64) -> Vec<(f64, f64)> {
    let steps = (lasts / step).round().max(1.0) as usize;
    let mut counts = vec![0.0; steps];
    for at in instants {
        counts[((at / step) as usize).min(steps - 1)] += 1.0;
    }
    counts.into_iter().enumerate().map(|(i, n)| ((i + 1) as f64 * step, n)).collect()
}

/// Figures of a part of a trial.
struct Part {
    admitted_per_s: f64,
    refused_per_s: f64,
    in_service: f64,
}

impl Part {
    /// An admitted request counts with the share of its time in service that lies inside: a count without edges.
    fn of(requests: &[Request], look: Seconds) -> Part {
        let (from, until) = look;
        let long = until - from;
        let (refused, admitted): (Vec<_>, Vec<_>) = requests.iter().partition(|r| r.is_refused);
        let inside = |r: &&&Request| (from..until).contains(&r.arrived);
        let part = |r: &&Request| (r.left.min(until) - r.arrived.max(from)).max(0.0);
        let share = |r: &&Request| part(r) / (r.left - r.arrived).max(1e-9);
        Part {
            admitted_per_s: admitted.iter().map(share).sum::<f64>() / long,
            refused_per_s: refused.iter().filter(inside).count() as f64 / long,
            in_service: admitted.iter().map(part).sum::<f64>() / long,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(arrived: u64, left: Option<u64>, status: u16) -> Entry {
        Entry {
            method: "GET".into(),
            path: "/".into(),
            arrived: Duration::from_millis(arrived),
            left: left.map(Duration::from_millis),
            status,
            retry_after: None,
            abandoned: false,
        }
    }

    #[test]
    fn a_request_counts_with_the_part_of_its_time_that_is_inside() {
        // From the first arrival on: 0 to 100, 50 to 150, refused at 60 and at 200, 190 and still due.
        let ledger = [
            entry(1000, Some(1100), 200),
            entry(1050, Some(1150), 200),
            entry(1060, Some(1060), 429),
            entry(1190, None, 200),
            entry(1200, Some(1200), 429),
        ];
        let part = Part::of(&requests(&ledger, |_| 0.02), (0.05, 0.2));
        let near = |a: f64, b: f64| assert!((a - b).abs() < 1e-9, "{a} {b}");
        near(part.admitted_per_s, (0.5 + 1.0 + 0.5) / 0.15);
        near(part.refused_per_s, 1.0 / 0.15);
        near(part.in_service, (0.05 + 0.1 + 0.01) / 0.15);
    }

    #[test]
    fn every_instant_is_in_one_step() {
        let steps = per_step(&[0.0, 0.049, 0.05, 0.29, 7.0], 0.05, 0.3);
        assert_eq!(steps.len(), 6);
        assert_eq!(
            steps.iter().map(|(_, n)| *n).collect::<Vec<_>>(),
            [2.0, 1.0, 0.0, 0.0, 0.0, 2.0]
        );
        assert!((steps[5].0 - 0.3).abs() < 1e-9);
        assert_eq!(per_step(&[], 0.1, 0.05).len(), 1);
    }
}
