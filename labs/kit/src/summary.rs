//! What a record says, as estimates with intervals: the input of every lab's `explain`.

use crate::{
    disturbance::{self, Disturbance, Disturbed},
    gauge::Gauge,
    given::Given,
    host::Host,
    lab,
    origin::Origin,
    record::{Point, Record, Scale, Trial},
    stats::{self, Estimate},
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
        let all = self.record.points.iter().enumerate();
        let matching = all.filter(|(_, p)| p.series == series);
        let mut found: Vec<_> = matching.map(|(at, _)| self.condition(at)).collect();
        found.sort_by(|a, b| a.x().total_cmp(&b.x()));
        found
    }

    /// One condition.
    pub fn at(&self, series: &str, x: f64) -> Option<Condition<'a>> {
        let found = self.record.points.iter().position(|p| p.series == series && p.x == x)?;
        Some(self.condition(found))
    }

    /// The only condition of a series without an x axis.
    pub fn only(&self, series: &str) -> Option<Condition<'a>> {
        self.series(series).into_iter().next()
    }

    /// Why the machine was unfit to measure, before the run or during it, the first reason; `None` when it
    /// was fit.
    pub fn unfit(&self) -> Option<String> {
        let found = disturbance::unfit(self.record).into_iter().next();
        found.map(|unfit| unfit.why)
    }

    /// Why this run leaves open, whatever was measured, what is disturbed by `disturbed`; `None` when it does not.
    pub fn leaves_open(&self, disturbed: Disturbed) -> Option<String> {
        lab::undecided(disturbed, self.record, &disturbance::unfit(self.record))
    }

    /// A figure of the machine's calibration, for theory: it knows that it was measured.
    pub fn calibrated(&self, figure: impl FnOnce(&Host) -> f64) -> Given {
        Given::new(figure(self.host()), Origin::host())
    }

    /// The sum of a count over every trial of every condition that has it: a matter for books. `None` where
    /// none has it.
    pub fn total(&self, figure: impl Fn(&Trial) -> Option<f64>) -> Option<Estimate> {
        let totals = self.conditions().filter_map(|k| k.total(&figure));
        totals.reduce(Estimate::plus)
    }

    /// Every condition, in the order of the record.
    pub fn conditions(&self) -> impl Iterator<Item = Condition<'a>> + use<'a> {
        let summary = *self;
        (0..self.record.points.len()).map(move |at| summary.condition(at))
    }

    fn condition(&self, at: usize) -> Condition<'a> {
        Condition { point: &self.record.points[at], at, cores: self.record.host.cores }
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
    /// Its place in the record.
    at: usize,
    /// Processors of the machine.
    cores: usize,
}

impl std::fmt::Display for Condition<'_> {
    /// "sustained/bounded at 200"; the series alone where it has no x axis.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.series())?;
        match self.x() {
            0.0 => Ok(()),
            x => write!(f, " at {}", crate::text::number(x)),
        }
    }
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

    /// Its series.
    pub fn series(&self) -> &'a str {
        &self.point.series
    }

    /// What is taken from it has this origin.
    pub fn origin(&self) -> Origin {
        Origin::condition(self.at)
    }

    /// The figures of those trials that have one, with what disturbed these.
    fn figures(&self, figure: impl Fn(&Trial) -> Option<f64>) -> (Vec<f64>, Vec<Disturbance>) {
        let with = |t: &'a Trial| Some((figure(t).filter(|v| v.is_finite())?, t));
        let (values, trials): (Vec<f64>, Vec<&Trial>) =
            self.point.trials.iter().filter_map(with).unzip();
        let disturbed = trials.into_iter();
        let disturbed = disturbed.map(|t| Disturbance::of(t, self.cores));
        (values, disturbed.collect())
    }

    /// An estimate that was taken from it, and what disturbed that.
    fn own(&self, estimate: Estimate, by: Disturbance) -> Estimate {
        estimate.from(self.origin()).disturbed(by)
    }

    /// Estimates any figure of a trial over the independent trials.
    pub fn estimate(&self, figure: impl Fn(&Trial) -> Option<f64>) -> Option<Estimate> {
        let (values, disturbed) = self.figures(figure);
        let estimate = Estimate::of(&values)?;
        Some(self.own(estimate, Disturbance::mean(&disturbed)))
    }

    /// A figure that must be right in each trial by itself: the greatest wait, a count.
    pub fn every(&self, figure: impl Fn(&Trial) -> Option<f64>) -> Option<Estimate> {
        let (values, disturbed) = self.figures(figure);
        let estimate = Estimate::every(&values)?;
        Some(self.own(estimate, Disturbance::worst(&disturbed)))
    }

    /// The sum of a count over the trials. What is too many in one does not make up for what is missing in
    /// another: it is the sizes of the counts that add up.
    pub fn total(&self, figure: impl Fn(&Trial) -> Option<f64>) -> Option<Estimate> {
        let (values, _) = self.figures(figure);
        let sum = (!values.is_empty()).then(|| values.iter().map(|n| n.abs()).sum());
        sum.map(|sum| Estimate::exact(sum).from(self.origin()))
    }

    /// A share of counts over all trials: so many of so many independent ones.
    pub fn share_of(
        &self,
        hits: impl Fn(&Trial) -> Option<u64>,
        of: impl Fn(&Trial) -> Option<u64>,
    ) -> Option<Estimate> {
        let mut sums = (0_u64, 0_u64);
        for trial in &self.point.trials {
            sums.0 = sums.0.saturating_add(hits(trial)?);
            sums.1 = sums.1.saturating_add(of(trial)?);
        }
        let (_, disturbed) = self.figures(|t| Some(t.wall_s));
        let share = Estimate::share(sums.0, sums.1)?;
        Some(self.own(share, Disturbance::mean(&disturbed)))
    }

    /// Estimates a figure of pairs of trials, one of this condition and one of another from the same
    /// round: whatever drifts from round to round drifts for both and falls out of a ratio.
    pub fn paired(
        &self,
        other: &Condition,
        figure: impl Fn(&Trial, &Trial) -> Option<f64>,
    ) -> Option<Estimate> {
        let twin = |at: usize, trial: &Trial| match trial.round {
            0 => other.point.trials.get(at),
            round => other.point.trials.iter().find(|t| t.round == round),
        };
        let trials = self.point.trials.iter().enumerate();
        let pairs = trials.filter_map(|(at, trial)| Some((trial, twin(at, trial)?)));
        let values: Vec<f64> = pairs.filter_map(|(a, b)| figure(a, b)).collect();
        let (_, mine) = self.figures(|t| Some(t.wall_s));
        let (_, theirs) = other.figures(|t| Some(t.wall_s));
        let disturbance = Disturbance::mean(&mine).or(Disturbance::mean(&theirs));
        let estimate = self.own(Estimate::of(&values)?, disturbance);
        Some(estimate.from(other.origin()))
    }

    /// How many times as large a gauge is here as in another condition, trial by trial of the same rounds.
    pub fn ratio(&self, other: &Condition, gauge: Gauge) -> Option<Estimate> {
        self.paired(other, |one, other| {
            let ratio = one.gauge(gauge)? / other.gauge(gauge)?;
            ratio.is_finite().then_some(ratio)
        })
    }

    /// The trial to draw: the one with the median of a figure (the lower one of two).
    pub fn typical(&self, figure: impl Fn(&Trial) -> f64) -> Option<&'a Trial> {
        let mut trials: Vec<&Trial> = self.point.trials.iter().collect();
        trials.sort_by(|a, b| figure(a).total_cmp(&figure(b)));
        trials.get(trials.len().saturating_sub(1) / 2).copied()
    }

    /// A gauge.
    pub fn gauge(&self, gauge: Gauge) -> Option<Estimate> {
        self.estimate(|t| t.gauge(gauge))
    }

    /// A gauge that theory starts from: the median of few trials, which an odd one among them does not move,
    /// as far off as all of them say.
    pub fn typical_gauge(&self, gauge: Gauge) -> Option<Given> {
        let (values, _) = self.figures(|t| t.gauge(gauge));
        let all = Given::from(self.gauge(gauge)?);
        let middle = Given::new(stats::median(&values), self.origin());
        Some(middle.blurred(all.blur()))
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
