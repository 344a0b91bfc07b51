//! The figures of those who came, from what became of them: the same in real and in virtual time.

use lab_kit::prelude::*;
use lab_kit::stats::quantile;
use lab_kit::theory::balance::Outcome;

use super::gauges;

/// Sums over fleets that are alike.
#[derive(Default)]
pub(super) struct Tally {
    /// How long each took that did not fail; as long as their patience, for those who gave up.
    times: Vec<f64>,
    pub(super) offered: u64,
    pub(super) failed: u64,
    pub(super) given_up: u64,
    first: u64,
    hedged: u64,
    seen: Vec<f64>,
    servers: usize,
    /// The most by which the requests of a fleet's servers are apart.
    apart: u64,
}

impl Tally {
    pub(super) fn new(servers: usize) -> Tally {
        Tally { servers, ..Tally::default() }
    }

    /// Adds a fleet: what became of each, and what arrivals saw.
    pub(super) fn add(
        &mut self,
        outcomes: impl IntoIterator<Item = Outcome>,
        seen: &[f64],
        patience: f64,
    ) {
        let mut counts = vec![0_u64; self.servers];
        for outcome in outcomes {
            self.offered += 1;
            if let Some(count) = counts.get_mut(outcome.server) {
                *count += 1;
            }
            self.hedged += u64::from(outcome.second.is_some());
            if outcome.failed {
                self.failed += 1;
            } else {
                self.given_up += u64::from(outcome.took > patience);
                self.times.push(outcome.took.min(patience));
            }
        }
        self.first += counts[0];
        let most = counts.iter().max().copied().unwrap_or(0);
        let fewest = counts.iter().min().copied().unwrap_or(0);
        self.apart = self.apart.max(most - fewest);
        if self.seen.len() < seen.len() {
            self.seen.resize(seen.len(), 0.0);
        }
        self.seen.iter_mut().zip(seen).for_each(|(sum, seen)| *sum += seen);
    }

    /// Share of the servers that have at least so many, as arrivals see it.
    pub(super) fn at_least(&self, k: usize) -> f64 {
        let all = self.offered as f64 * self.servers as f64;
        self.seen.get(k).copied().unwrap_or(0.0) / all
    }

    /// The figures.
    pub(super) fn figures(mut self) -> Vec<(Gauge, f64)> {
        self.times.sort_by(f64::total_cmp);
        let share = |n: u64| n as f64 / self.offered as f64;
        let mean = self.times.iter().sum::<f64>() / self.times.len() as f64;
        let mut figures = vec![
            (gauges::TIME_MEAN_S, mean),
            (gauges::TIME_P50_S, quantile(&self.times, 0.5)),
            (gauges::TIME_P99_S, quantile(&self.times, 0.99)),
            (gauges::FIRST_SHARE, share(self.first)),
            (gauges::ERROR_SHARE, share(self.failed)),
            (gauges::GIVEN_UP_SHARE, share(self.given_up)),
            (gauges::HEDGED_SHARE, share(self.hedged)),
            (gauges::APART_MOST, self.apart as f64),
        ];
        let seen = gauges::SEEN.iter().enumerate();
        figures.extend(seen.map(|(at, gauge)| (*gauge, self.at_least(at + 1))));
        figures.retain(|(_, value)| value.is_finite());
        figures
    }
}
