//! The record of lab22 by its conditions, and what theory says of each.

use std::sync::Arc;

use lab_kit::prelude::*;
use lab_kit::theory::balance;

use super::{
    Params,
    crowd::{Arm, Crowd, World},
    fan_out::FanOut,
    forecast::Forecasts,
    gauges,
};

/// The record, and what theory says of its conditions.
pub(super) struct View<'a> {
    pub(super) p: &'a Params,
    pub(super) summary: &'a Summary<'a>,
    pub(super) forecasts: Arc<Forecasts>,
}

/// One condition with its crowd.
#[derive(Clone, Copy)]
pub(super) struct Point<'a> {
    pub(super) crowd: Crowd,
    pub(super) k: Condition<'a>,
}

impl Point<'_> {
    pub(super) fn name(&self) -> String {
        match self.crowd.age {
            0.0 => format!("{}, {}", self.crowd.arm.name(), self.crowd.world.name()),
            age => format!("{}, {}", self.crowd.arm.name(), seconds(age)),
        }
    }
}

impl<'a> View<'a> {
    pub(super) fn of(p: &'a Params, summary: &'a Summary<'a>) -> View<'a> {
        View { p, summary, forecasts: Forecasts::of(p) }
    }

    pub(super) fn point(&self, arm: Arm, world: World, age: f64) -> Option<Point<'a>> {
        let crowd = Crowd::of(self.p, arm, world, age);
        Some(Point { crowd, k: self.summary.at(&crowd.series(), age)? })
    }

    /// These arms in this world.
    pub(super) fn arms(&self, world: World, arms: &[Arm]) -> Vec<Point<'a>> {
        arms.iter().filter_map(|arm| self.point(*arm, world, 0.0)).collect()
    }

    /// This arm with counts of every age.
    pub(super) fn old(&self, arm: Arm) -> Vec<Point<'a>> {
        let ages = self.p.ages.iter();
        ages.filter_map(|age| self.point(arm, World::Alike, age.s())).collect()
    }

    /// What virtual time says of a figure, by the flags.
    pub(super) fn forecast(&self, point: &Point, gauge: Gauge) -> f64 {
        let Crowd { arm, world, age, .. } = point.crowd;
        self.forecasts.says(arm, world, age, gauge)
    }

    /// Requests that need many answers.
    pub(super) fn fan_outs(&self, hedged: bool) -> Vec<(FanOut, Condition<'a>)> {
        let all = FanOut::all(self.p).into_iter().filter(|fan| fan.again.is_some() == hedged);
        let found = all.map(|fan| Some((fan, self.summary.at(fan.series(), fan.answers as f64)?)));
        found.flatten().collect()
    }

    /// Mean time of M/M/1, cut off at the patience.
    pub(super) fn mm1(&self) -> f64 {
        let mean = self.p.service.s() * balance::mean_time(self.p.load, 1);
        mean * (1.0 - (-self.p.patience.s() / mean).exp())
    }

    /// The 99th percentile of M/M/1, and no more than the patience.
    pub(super) fn mm1_p99(&self) -> f64 {
        let mean = self.p.service.s() * balance::mean_time(self.p.load, 1);
        (mean * 100_f64.ln()).min(self.p.patience.s())
    }

    /// Share of the requests that should end at the server that refuses.
    pub(super) fn sinkhole(&self, arm: Arm) -> f64 {
        let (n, rho) = (self.p.servers, self.p.load);
        match arm {
            Arm::Random | Arm::InTurn => 1.0 / n as f64,
            Arm::Least => balance::sinkhole_of_least(rho, n),
            Arm::Two => balance::sinkhole_of_two(rho, n),
            Arm::Ejecting => {
                balance::sinkhole_ejected(rho, n, self.p.ejected.s() / self.p.service.s())
            }
            _ => f64::NAN,
        }
    }

    /// Why a run says nothing of times on the servers' own schedule: answers were heard so late that clients were
    /// counted as still waiting.
    pub(super) fn held_up(&self) -> Option<String> {
        let all = self.summary.all_trials();
        let latest = all.filter_map(|t| t.gauge(gauges::LATE_MAX_S)).fold(0.0, f64::max);
        let late = latest > 0.2 * self.p.patience.s();
        late.then(|| {
            format!("the machine stood still: an answer was heard {} late", seconds(latest))
        })
    }

    /// Share of the requests that should be given up where a slow server gets its turn all the same.
    pub(super) fn given_up(&self, arm: Arm) -> f64 {
        let (p, rho) = (self.p, self.p.load);
        let in_services = |time: Time| time.s() / p.service.s();
        // By Little's law, while it was like the others.
        let time = match arm {
            Arm::InTurn => balance::mean_time_in_turn(rho, p.servers),
            _ => balance::mean_time(rho, 1),
        };
        let before = rho * time;
        let (patience, window) = (in_services(p.patience), in_services(p.window));
        balance::given_up_at_slow(rho, p.servers, p.slow, before, patience, window)
    }
}
