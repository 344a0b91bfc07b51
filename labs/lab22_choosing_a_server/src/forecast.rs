//! What theory says of a condition where no formula does: fleets in virtual time, by the flags and seeds of their own.

use std::sync::{Arc, Mutex, PoisonError};

use lab_kit::prelude::*;
use lab_kit::theory::balance::{self, Choice, Odd};

use super::{
    Params,
    crowd::{Arm, Crowd, World},
    tally::Tally,
};

/// Requests that a forecast is made of, about.
const REQUESTS: f64 = 80_000.0;

/// The seed of all forecasts, which has nothing to do with that of any run.
const SEED: u64 = 0x0BA1_A9CE;

/// Forecasts of every condition, by the flags alone.
pub(super) struct Forecasts {
    each: Vec<(Crowd, Vec<(Gauge, f64)>)>,
    /// Shares of ten thousand servers with at least 0, 1, 2 … requests under two choices.
    pub(super) many: Vec<f64>,
}

impl Forecasts {
    /// Those of these flags. They take a moment, and are kept for the next who asks.
    pub(super) fn of(p: &Params) -> Arc<Forecasts> {
        static KEPT: Mutex<Vec<(String, Arc<Forecasts>)>> = Mutex::new(Vec::new());
        let flags = format!("{p:?}");
        let mut kept = KEPT.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((_, found)) = kept.iter().find(|(of, _)| *of == flags) {
            return found.clone();
        }
        let made = Arc::new(Forecasts::made(p));
        if kept.len() >= 4 {
            kept.remove(0);
        }
        kept.push((flags, made.clone()));
        made
    }

    fn made(p: &Params) -> Forecasts {
        let all = Crowd::all(p);
        let half = all.len().div_ceil(2);
        let each = |crowds: &[Crowd]| -> Vec<(Crowd, Vec<(Gauge, f64)>)> {
            crowds.iter().map(|crowd| (*crowd, forecast(crowd))).collect()
        };
        std::thread::scope(|scope| {
            let first = scope.spawn(|| each(&all[..half]));
            let mut second = each(&all[half..]);
            let many = many(p.load);
            let mut each = first.join().unwrap_or_default();
            each.append(&mut second);
            Forecasts { each, many }
        })
    }

    /// What a figure of this condition should be; `NaN` where there is none.
    pub(super) fn says(&self, arm: Arm, world: World, age: f64, gauge: Gauge) -> f64 {
        let of = |crowd: &Crowd| crowd.arm == arm && crowd.world == world && crowd.age == age;
        let found = self.each.iter().find(|(crowd, _)| of(crowd));
        let figure = found.and_then(|(_, figures)| figures.iter().find(|(g, _)| *g == gauge));
        figure.map_or(f64::NAN, |(_, value)| *value)
    }
}

fn forecast(crowd: &Crowd) -> Vec<(Gauge, f64)> {
    let fleets = REQUESTS / (crowd.rate * crowd.window);
    let mut tally = Tally::new(crowd.fleet.servers);
    // A server has become slow, or those that are left cannot do everything: that grows, and begins anew.
    let others = crowd.fleet.servers as f64 - 1.0;
    let left = crowd.rate * crowd.service / others;
    let settled = match crowd.world {
        World::Alike => true,
        World::Slow => false,
        World::Sinkhole => left < 0.95,
    };
    let (mut start, _) = crowd.draw(0, SEED);
    for fleet in 0..fleets.clamp(4.0, 2000.0) as usize {
        let seed = SEED + 1 + fleet as u64;
        let visits = balance::visits(crowd.rate, crowd.service, crowd.window, seed);
        let Some(run) = crowd.fleet.run(&start, &visits) else { break };
        tally.add(run.outcomes, &run.seen, crowd.patience);
        // One window after another, where that goes on for ever.
        start = if settled { run.left } else { crowd.draw(fleet + 1, SEED).0 };
    }
    tally.figures()
}

/// Ten thousand servers under two choices, at this load, after their beginnings.
fn many(rho: f64) -> Vec<f64> {
    const SERVERS: usize = 10_000;
    let fleet = balance::Fleet { servers: SERVERS, odd: Odd::None, policy: Choice::Two.into() };
    let rate = rho * SERVERS as f64;
    let start = fleet.after(rate, 1.0, 15.0 / (1.0 - rho).max(0.2), SEED);
    let visits = balance::visits(rate, 1.0, 4.0, SEED + 1);
    let run = start.and_then(|start| fleet.run(&start, &visits));
    let all = visits.len() as f64 * SERVERS as f64;
    run.map_or(Vec::new(), |run| run.seen.iter().map(|seen| seen / all).collect())
}
