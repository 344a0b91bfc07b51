//! What a record says, as estimates with intervals: the input of every lab's `explain`.

use crate::{
    host::Host,
    record::{Point, Record, Scale, Trial},
    stats::Estimate,
};

/// Share of the processors that other programs may have before a run decides nothing against
/// theory: in such company timers are late and computations slow.
const CROWDED: f64 = 0.1;

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

    /// Why the machine was unfit to measure, before the run or during it; `None` when it was fit.
    pub fn unfit(&self) -> Option<String> {
        self.host().complaints().into_iter().next().or_else(|| {
            // Processor time comes in ticks of 10 ms: only the sum over the run means something.
            let (mut others, mut whole) = (0.0, 0.0);
            for trial in self.all_trials().filter(|t| t.wall_s > 0.05) {
                others += trial.gauges.get("others_cpu_share")? * trial.wall_s;
                whole += trial.wall_s;
            }
            let share = others / whole;
            (share > CROWDED).then(|| {
                format!(
                    "other programs had {:.0} % of the processors during the run",
                    share * 100.0
                )
            })
        })
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

    /// Estimates a figure of pairs of trials, one of this condition and one of another from the same
    /// round: whatever drifts from round to round drifts for both and falls out of a ratio.
    pub fn paired(
        &self,
        other: &Condition,
        figure: impl Fn(&Trial, &Trial) -> Option<f64>,
    ) -> Option<Estimate> {
        let pairs = self.point.trials.iter().zip(&other.point.trials);
        let values: Vec<f64> = pairs.filter_map(|(a, b)| figure(a, b)).collect();
        Estimate::of(&values)
    }

    /// The trial to draw: the one with the median of a figure (the lower one of two).
    pub fn typical(&self, figure: impl Fn(&Trial) -> f64) -> Option<&'a Trial> {
        let mut trials: Vec<&Trial> = self.point.trials.iter().collect();
        trials.sort_by(|a, b| figure(a).total_cmp(&figure(b)));
        trials.get(trials.len().saturating_sub(1) / 2).copied()
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
