//! Many independent fleets side by side: who comes to them, and the books over all of them.
//!
//! Each fleet has its own requests, drawn from seeds before it opens, so that the very same can also be sent
//! through it in virtual time. It begins in its steady state: as a past in virtual time has left it.

use lab_kit::prelude::*;
use lab_kit::theory::balance::{self, Choice, Ejection, Hedge, Odd, Policy, Start};
use tokio::task::{JoinSet, spawn_blocking};

use super::{
    Params, Visit,
    fleet::{Heard, Watched, watch},
    gauges,
    tally::Tally,
};

/// What is odd about one of the servers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum World {
    Alike,
    Slow,
    Sinkhole,
}

/// How a server is chosen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Arm {
    Random,
    InTurn,
    Least,
    Two,
    Ejecting,
    Hedged,
    Budgeted,
    LeastOld,
    TwoOld,
}

impl World {
    pub(super) const ALL: [World; 3] = [World::Alike, World::Slow, World::Sinkhole];

    /// What is tried in it: a second request where some are late, ejection where some fail.
    pub(super) fn arms(self) -> &'static [Arm] {
        use Arm::*;
        match self {
            World::Alike => &[Random, InTurn, Least, Two, Hedged, Budgeted],
            World::Slow => &[Random, InTurn, Least, Two, Budgeted],
            World::Sinkhole => &[Random, InTurn, Least, Two, Ejecting],
        }
    }

    pub(super) fn name(self) -> &'static str {
        match self {
            World::Alike => "alike",
            World::Slow => "one slow",
            World::Sinkhole => "one fails",
        }
    }
}

impl Arm {
    /// Those with counts of some age.
    pub(super) const OLD: [Arm; 2] = [Arm::LeastOld, Arm::TwoOld];

    pub(super) fn name(self) -> &'static str {
        match self {
            Arm::Random => "random",
            Arm::InTurn => "in turn",
            Arm::Least => "least in flight",
            Arm::Two => "two choices",
            Arm::Ejecting => "two, ejecting",
            Arm::Hedged => "two, hedged",
            Arm::Budgeted => "two, hedged within a budget",
            Arm::LeastOld => "least of old counts",
            Arm::TwoOld => "two of old counts",
        }
    }
}

/// One condition: fleets under the same rules and load.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Crowd {
    pub(super) arm: Arm,
    pub(super) world: World,
    /// How old the counts get, in seconds; 0 where they are always fresh.
    pub(super) age: f64,
    pub(super) fleet: balance::Fleet,
    /// Requests per second to each fleet.
    pub(super) rate: f64,
    pub(super) service: f64,
    pub(super) window: f64,
    pub(super) patience: f64,
    /// How long its past was.
    pub(super) past: f64,
    /// How many fleets.
    pub(super) fleets: usize,
}

impl Crowd {
    pub(super) fn of(p: &Params, arm: Arm, world: World, age: f64) -> Crowd {
        let choice = match arm {
            Arm::Random => Choice::Random,
            Arm::InTurn => Choice::InTurn,
            Arm::Least | Arm::LeastOld => Choice::Least,
            Arm::Two | Arm::TwoOld | Arm::Ejecting | Arm::Hedged | Arm::Budgeted => Choice::Two,
        };
        let ejection = Ejection { strikes: p.strikes, back: p.ejected.s() };
        let budget = if arm == Arm::Budgeted { 1.0 - p.hedge } else { f64::INFINITY };
        let hedged = matches!(arm, Arm::Hedged | Arm::Budgeted);
        let policy = Policy {
            choice,
            age,
            ejection: (arm == Arm::Ejecting).then_some(ejection),
            hedge: hedged.then(|| Hedge { after: p.hedge_after(), budget }),
        };
        // By when servers have tipped over that can: they stay so.
        let long = if arm == Arm::Hedged { 8.0 } else { 1.0 };
        let odd = match world {
            World::Alike => Odd::None,
            World::Slow => Odd::Slow(p.slow),
            World::Sinkhole => Odd::Fails,
        };
        // Lines that are long for a long time need many samples of their beginnings; rare ones need many requests.
        let samples = match (arm, world) {
            (Arm::Random, World::Alike) => 8,
            (Arm::InTurn | Arm::Two, World::Alike) | (Arm::Least | Arm::Two, World::Slow) => 3,
            (Arm::LeastOld, _) if age > 4.0 * p.service.s() => 3,
            (Arm::LeastOld, _) | (_, World::Sinkhole) | (_, World::Slow) => 2,
            _ => 1,
        };
        // Some relaxation times of M/M/1, the slowest to forget.
        let forgets = 5.0 / (1.0 - p.load.sqrt()).powi(2);
        Crowd {
            arm,
            world,
            age,
            fleet: balance::Fleet { servers: p.servers, odd, policy },
            rate: p.rate(),
            service: p.service.s(),
            window: p.window.s(),
            patience: p.patience.s(),
            past: long * p.service.s() * forgets.clamp(50.0, 2000.0) + 3.0 * p.ejected.s(),
            fleets: samples * p.fleets,
        }
    }

    /// "one slow/two choices"; of those with old counts the arm alone, with their age on the axis.
    pub(super) fn series(&self) -> String {
        if Arm::OLD.contains(&self.arm) {
            self.arm.name().to_string()
        } else {
            format!("{}/{}", self.world.name(), self.arm.name())
        }
    }

    /// The condition of this series and place.
    pub(super) fn at(p: &Params, series: &str, x: f64) -> Option<Crowd> {
        if let Some(arm) = Arm::OLD.into_iter().find(|arm| arm.name() == series) {
            let age = p.ages.iter().find(|age| age.s() == x)?;
            return Some(Crowd::of(p, arm, World::Alike, age.s()));
        }
        let (world, arm) = series.split_once('/')?;
        let world = World::ALL.into_iter().find(|w| w.name() == world)?;
        let arm = world.arms().iter().find(|a| a.name() == arm)?;
        (x == 0.0).then(|| Crowd::of(p, *arm, world, 0.0))
    }

    /// Every condition.
    pub(super) fn all(p: &Params) -> Vec<Crowd> {
        let worlds = World::ALL.into_iter();
        let worlds = worlds
            .flat_map(|world| world.arms().iter().map(move |arm| Crowd::of(p, *arm, world, 0.0)));
        let old = Arm::OLD.into_iter().flat_map(|arm| {
            let ages = p.ages.iter();
            ages.map(move |age| Crowd::of(p, arm, World::Alike, age.s()))
        });
        worlds.chain(old).collect()
    }

    /// One of several parts of it.
    pub(super) fn part(self, parts: usize) -> Crowd {
        Crowd { fleets: (self.fleets / parts).max(1), ..self }
    }

    /// How one of its fleets is found, and who will come to it.
    pub(super) fn draw(&self, fleet: usize, seed: u64) -> (Start, Vec<Visit>) {
        let own = seed.wrapping_add(((fleet + 1) as u64) << 32);
        // A server slows down when all are watched: before, it was like the others.
        let odd = if self.world == World::Slow { Odd::None } else { self.fleet.odd };
        let before = balance::Fleet { odd, ..self.fleet };
        let start = before.after(self.rate, self.service, self.past, own ^ 1);
        let visits = balance::visits(self.rate, self.service, self.window, own);
        (start.unwrap_or_default(), visits)
    }
}

/// Until all have drawn who will come.
pub(super) const READY: Duration = Duration::from_millis(250);

/// Runs one condition.
pub(super) async fn run(r: Recorder, crowd: Crowd) -> Result<()> {
    // All watch together, when all are ready.
    let ready = Instant::now() + READY;
    let seed = r.seed();
    // To draw is work: not on the threads that wake those who sleep.
    let draws = move || (0..crowd.fleets).map(|fleet| crowd.draw(fleet, seed)).collect::<Vec<_>>();
    let draws = spawn_blocking(draws).await?;
    let opened = ready.max(Instant::now());
    let until = opened + Duration::from_secs_f64(crowd.window + crowd.patience);
    let all = async {
        let mut running = JoinSet::new();
        for (fleet, (start, visits)) in draws.into_iter().enumerate() {
            let watched = watch(crowd.fleet, start, visits, opened, until);
            running.spawn(async move { (fleet, watched.await) });
        }
        let mut done = running.join_all().await;
        done.sort_by_key(|(fleet, _)| *fleet);
        // Making the books is work, and would make the timers of those late who still run.
        tokio::time::sleep_until(until.into()).await;
        done
    };
    // A run that is stopped has no books.
    if let Some(done) = r.load().unless_stopped(all).await {
        let fleets: Vec<Watched> = done.into_iter().map(|(_, watched)| watched).collect();
        r.books(spawn_blocking(move || books(&crowd, seed, &fleets)).await?);
    }
    Ok(())
}

/// The books over all fleets.
pub(super) fn books(crowd: &Crowd, seed: u64, fleets: &[Watched]) -> Trial {
    let mut trial = Trial { wall_s: crowd.window, ..Trial::default() };
    let servers = crowd.fleet.servers;
    let (mut real, mut exact) = (Tally::new(servers), Tally::new(servers));
    let (mut work, mut late, mut latest, mut answers) = (0.0, 0.0, 0.0_f64, 0.0);
    for (at, watched) in fleets.iter().enumerate() {
        let outcomes = watched.heard.iter().map(|heard| heard.outcome);
        real.add(outcomes, &watched.seen, crowd.patience);
        let (start, _) = crowd.draw(at, seed);
        if let Some(run) = crowd.fleet.run(&start, &watched.visits) {
            exact.add(run.outcomes, &run.seen, crowd.patience);
        }
        work += watched.visits.iter().map(|visit| visit.work).sum::<f64>();
        for heard in
            watched.heard.iter().filter(|h| h.outcome.took.is_finite() && !h.outcome.failed)
        {
            late += heard.late;
            latest = latest.max(heard.late);
            answers += 1.0;
            count(crowd, heard, &mut trial);
        }
    }
    trial.offered = real.offered;
    trial.failed = real.failed;
    trial.timed_out = real.given_up;
    if trial.failed > 0 {
        trial.failures.insert("refused".into(), trial.failed);
    }
    let exact = exact.figures().into_iter().filter_map(|(gauge, value)| match gauge {
        gauges::TIME_MEAN_S => Some((gauges::EXACT_TIME_S, value)),
        gauges::FIRST_SHARE => Some((gauges::EXACT_FIRST_SHARE, value)),
        _ => None,
    });
    let offered = real.offered as f64;
    let mut figures = real.figures();
    figures.extend(exact);
    figures.extend([
        (gauges::FLEETS, fleets.len() as f64),
        (gauges::WORK_MEAN_S, work / offered),
        (gauges::LATE_MEAN_S, late / f64::max(answers, 1.0)),
        (gauges::LATE_MAX_S, latest),
    ]);
    figures.retain(|(_, value)| value.is_finite());
    trial.gauges = figures.into_iter().map(|(gauge, value)| (gauge.to_string(), value)).collect();
    trial
}

/// An answer within its client's patience.
fn count(crowd: &Crowd, heard: &Heard, trial: &mut Trial) {
    if heard.outcome.took <= crowd.patience {
        trial.ok += 1;
        trial.latency.record(Duration::from_secs_f64(heard.outcome.took + heard.late));
    }
}
