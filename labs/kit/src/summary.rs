//! What a record says, as estimates with intervals: the input of every lab's `explain`.

use crate::{
    host::Host,
    record::{Point, Record, Scale, Trial},
    stats::Estimate,
};

/// A record, read.
#[derive(Clone, Copy, Debug)]
pub struct Summary<'a> {
    record: &'a Record,
}

impl<'a> Summary<'a> {
    /// Reads a record.
    pub fn of(record: &'a Record) -> Summary<'a> {
        Summary { record }
    }

    /// The machine.
    pub fn host(&self) -> &'a Host {
        &self.record.host
    }

    /// How large the run was.
    pub fn scale(&self) -> Scale {
        self.record.scale
    }

    /// True when the run was stopped early.
    pub fn interrupted(&self) -> bool {
        self.record.interrupted
    }

    /// Seed of the run.
    pub fn seed(&self) -> u64 {
        self.record.seed
    }

    /// The conditions of one series, x ascending.
    pub fn series(&self, series: &str) -> Vec<Condition<'a>> {
        let matching = self.record.points.iter().filter(|p| p.series == series);
        let mut found: Vec<_> = matching.map(|point| Condition { point }).collect();
        found.sort_by(|a, b| a.x().total_cmp(&b.x()));
        found
    }

    /// One condition.
    pub fn at(&self, series: &str, x: f64) -> Option<Condition<'a>> {
        let found = self
            .record
            .points
            .iter()
            .find(|p| p.series == series && p.x == x)?;
        Some(Condition { point: found })
    }

    /// The only condition of a series without an x axis.
    pub fn only(&self, series: &str) -> Option<Condition<'a>> {
        self.series(series).into_iter().next()
    }

    /// Every trial of every condition.
    pub fn all_trials(&self) -> impl Iterator<Item = &'a Trial> + use<'a> {
        self.record.points.iter().flat_map(|p| &p.trials)
    }
}

/// One condition with its trials.
#[derive(Clone, Copy, Debug)]
pub struct Condition<'a> {
    point: &'a Point,
}

impl<'a> Condition<'a> {
    /// Its place on the x axis.
    pub fn x(&self) -> f64 {
        self.point.x
    }

    /// Its trials.
    pub fn trials(&self) -> &'a [Trial] {
        &self.point.trials
    }

    /// Estimates any figure of a trial over the independent trials.
    pub fn estimate(&self, figure: impl Fn(&Trial) -> Option<f64>) -> Option<Estimate> {
        let values: Vec<f64> = self.point.trials.iter().filter_map(figure).collect();
        Estimate::of(&values)
    }

    /// A gauge.
    pub fn gauge(&self, name: &str) -> Option<Estimate> {
        self.estimate(|t| t.gauges.get(name).copied())
    }

    /// Length of the measured part in seconds.
    pub fn wall_s(&self) -> Option<Estimate> {
        self.estimate(|t| Some(t.wall_s))
    }

    /// Share of the offered requests that succeeded.
    pub fn success_share(&self) -> Option<Estimate> {
        self.estimate(|t| (t.offered > 0).then(|| t.ok as f64 / t.offered as f64))
    }

    /// Quantile of the latency of successes, in seconds.
    pub fn latency(&self, q: f64) -> Option<Estimate> {
        self.estimate(|t| t.latency.quantile_s(q))
    }

    /// Quantile over all attempts of the time until the answer or until the client gave up, in
    /// seconds.
    pub fn attempt_latency(&self, q: f64) -> Option<Estimate> {
        self.estimate(|t| t.attempt_latency.quantile_s(q))
    }
}
