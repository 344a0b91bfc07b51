//! Many independent services side by side: who comes to them, and the books over all of them.
//!
//! Each service has its own arrivals and service times, drawn from seeds before it opens, so that
//! the very same can also be sent through it in virtual time.

use std::sync::Mutex;

use lab_kit::prelude::*;
use lab_kit::stats::{mean, quantile};
use lab_kit::theory::overload::{Discipline, Fate, states};
use rand::{RngExt, SeedableRng};
use rand_pcg::Pcg64Mcg;
use tokio::sync::oneshot::Receiver;
use tokio::task::JoinSet;
use tokio::time::{sleep_until, timeout_at};

use super::{Answer, Arm, Door, Params, Rules, Service};

/// Groups of services: each gives one value of every figure, and these give the interval.
pub(super) const GROUPS: usize = 10;

/// From here on an endless queue remembers for longer than a run lasts.
pub(super) const NEAR: f64 = 0.9;

/// From here on it counts as more than can be done.
pub(super) const OVERLOAD: f64 = 1.0;

/// One condition: as many services as it takes, under the same rules and load.
#[derive(Clone, Copy, Debug)]
pub(super) struct Crowd {
    rules: Rules,
    /// Load of each, as a share of its capacity.
    rho: f64,
    service_s: f64,
    deadline: Duration,
    /// Arrivals in this time are not counted: those arms that do not begin in their steady state
    /// find it here.
    warm_up: Duration,
    /// How much later than others it opens, so that all windows are the same.
    late_start: Duration,
    window: Duration,
    /// When nothing runs beside it any more.
    quiet: Duration,
    /// How many services.
    pub(super) systems: usize,
}

/// Somebody who comes.
#[derive(Clone, Copy)]
struct Visit {
    /// Seconds since the service opened.
    at: f64,
    service: f64,
    /// Not those who were there at the beginning or came in the warm-up.
    counts: bool,
}

/// What became of a visit.
struct Log {
    visit: Visit,
    arrived: Instant,
    /// When it was let in.
    entered: Option<Instant>,
    refused: bool,
    answer: Option<Answer>,
}

impl Crowd {
    pub(super) fn of(p: &Params, arm: Arm, rho: f64) -> Crowd {
        let window = p.window.duration();
        let systems = match arm {
            Arm::Unbounded if (NEAR..OVERLOAD).contains(&rho) => 3 * p.systems,
            Arm::Unbounded if rho < OVERLOAD => p.systems,
            Arm::Waits if rho < OVERLOAD => p.systems / 2,
            Arm::Unbounded | Arm::Shed => p.systems / 4,
            _ => p.systems / 6,
        };
        let warm_up = match arm {
            Arm::Deadline | Arm::Expired => window / 4,
            _ => Duration::ZERO,
        };
        Crowd {
            rules: Rules::of(p, arm),
            rho,
            service_s: p.service.s(),
            deadline: p.deadline.duration(),
            warm_up,
            late_start: window / 4 - warm_up,
            window,
            quiet: Duration::from_secs_f64(p.lasts()),
            systems: systems.div_ceil(GROUPS).max(1) * GROUPS,
        }
    }

    /// Arrivals per second at each service.
    fn rate(&self) -> f64 {
        self.rho * self.rules.workers as f64 / self.service_s
    }

    fn discipline(&self) -> Discipline {
        Discipline {
            // The producer's own queue is endless: together with the bounded one it is the same line.
            places: (self.rules.arm == Arm::Shed).then_some(self.rules.places),
            patience: self
                .rules
                .patience
                .map_or(f64::INFINITY, |d| d.as_secs_f64()),
            newest_first: self.rules.arm == Arm::Newest,
        }
    }

    /// How many are inside at the beginning, for a random number in [0, 1).
    fn at_first(&self, random: f64) -> usize {
        let (c, load) = (self.rules.workers, self.rho * self.rules.workers as f64);
        let room = match self.rules.arm {
            // Near enough to the steady state: the warm-up does the rest.
            Arm::Deadline | Arm::Expired => {
                let patience = self.rules.patience.unwrap_or_default();
                c + (patience.as_secs_f64() * c as f64 / self.service_s) as usize
            }
            Arm::Shed => c + self.rules.places,
            _ if self.rho >= OVERLOAD => {
                // As deep as if it had lasted as long as it will now be watched; but no deeper than
                // half of that takes to serve, or nobody who counts would be let in meanwhile.
                let more = (self.rho - 1.0).min(0.5) * c as f64 / self.service_s;
                return c + (more * self.window.as_secs_f64()) as usize;
            }
            _ => 100_000,
        };
        let mut sum = 0.0;
        let state = states(c, load, room);
        let found = state.iter().position(|p| {
            sum += p;
            random < sum
        });
        found.unwrap_or(state.len().saturating_sub(1))
    }

    /// The visits to one service. The `i`-th of its group begins in the `i`-th of equally likely
    /// classes of the steady state, so that every group has its share of good and bad beginnings.
    fn visits(&self, system: usize, seed: u64) -> Vec<Visit> {
        let (group, i) = (system % GROUPS, system / GROUPS);
        let mut shared = Pcg64Mcg::seed_from_u64(seed.wrapping_add(group as u64));
        let offset: f64 = shared.random();
        let class = (i as f64 + offset) / (self.systems / GROUPS) as f64;
        let own = seed.wrapping_add(((system + 1) as u64) << 32);
        let mut rng = Pcg64Mcg::seed_from_u64(own);
        let mut draw = |mean: f64| -(1.0 - rng.random::<f64>()).ln() * mean;
        let mut visits: Vec<Visit> = (0..self.at_first(class))
            .map(|_| Visit {
                at: 0.0,
                service: draw(self.service_s),
                counts: false,
            })
            .collect();
        let warm = self.warm_up.as_secs_f64();
        let mut at = 0.0;
        loop {
            at += draw(1.0 / self.rate());
            if at >= warm + self.window.as_secs_f64() {
                return visits;
            }
            visits.push(Visit {
                at,
                service: draw(self.service_s),
                counts: at >= warm,
            });
        }
    }
}

/// Runs one condition.
pub(super) async fn run(r: Recorder, crowd: Crowd) -> Result<()> {
    // All watch together, when all are ready. Who needs no warm-up opens later: to close a service
    // with thousands in its line is work, and would make the timers of those late who still run.
    let opened = Instant::now() + Duration::from_millis(50);
    let begin = opened + crowd.late_start;
    let seed = r.seed();
    let all = async {
        let mut running = JoinSet::new();
        for system in 0..crowd.systems {
            let visits = crowd.visits(system, seed);
            running.spawn(async move { (system, one(crowd, visits, begin).await) });
        }
        let mut done = running.join_all().await;
        done.sort_by_key(|(system, _)| *system);
        // Making the books is work, and would make the timers of those late who still run.
        sleep_until((opened + crowd.quiet).into()).await;
        done
    };
    // A run that is stopped has no books.
    if let Some(done) = r.load().unless_stopped(all).await {
        let systems: Vec<Watched> = done.into_iter().map(|(_, watched)| watched).collect();
        r.books(books(&crowd, begin, &systems));
    }
    Ok(())
}

/// One service, watched from outside and from inside.
struct Watched {
    log: Vec<Log>,
    /// Mean number inside, integrated by the service.
    inside: f64,
    deepest: usize,
}

/// What came of going in, and where the answer will come from.
type Entered = (Door, Receiver<Answer>);

async fn one(crowd: Crowd, visits: Vec<Visit>, begin: Instant) -> Watched {
    let from = begin + crowd.warm_up;
    let over = from + crowd.window;
    let (service, _workers) = Service::open(crowd.rules, Meter::new(from, over), None);
    // Nothing that arrives before `over` can be in time after this.
    let last = over + crowd.deadline;
    let mut asked = Vec::<(Visit, Option<Entered>)>::new();
    for visit in visits {
        let arrived = begin + Duration::from_secs_f64(visit.at);
        if arrived > Instant::now() {
            sleep_until(arrived.into()).await;
        }
        let time = Duration::from_secs_f64(visit.service);
        let entered = timeout_at(last.into(), service.enter(arrived, time)).await;
        asked.push((visit, entered.ok()));
    }
    if crowd.rho >= OVERLOAD && crowd.rules.arm != Arm::Shed {
        sleep_until(last.into()).await;
    }
    let mut log = Vec::with_capacity(asked.len());
    for (visit, entered) in asked {
        let arrived = begin + Duration::from_secs_f64(visit.at);
        let mut entry = Log {
            visit,
            arrived,
            entered: None,
            refused: false,
            answer: None,
        };
        match entered {
            None => {}
            Some((Door::Refused { .. }, _)) => entry.refused = true,
            Some((Door::In(at), mut answer)) => {
                entry.entered = Some(at);
                // Below saturation everybody's turn comes; in an overload it need not.
                entry.answer = if crowd.rho < OVERLOAD {
                    answer.await.ok()
                } else {
                    let rest = Duration::from_millis(1);
                    match answer.try_recv() {
                        Ok(answer) => Some(answer),
                        Err(_) if Instant::now() < last + rest => {
                            timeout_at((last + rest).into(), answer)
                                .await
                                .ok()
                                .and_then(Result::ok)
                        }
                        Err(_) => None,
                    }
                };
            }
        }
        log.push(entry);
    }
    let (inside, deepest) = service.meter.read();
    Watched {
        log,
        inside,
        deepest,
    }
}

/// What one service measured of the visits that count.
#[derive(Default)]
struct Sums {
    offered: f64,
    refused: f64,
    dropped: f64,
    good: f64,
    waits: Vec<f64>,
    /// Service times of all who came.
    work: f64,
    /// How many virtual time answers within the deadline.
    exact_good: f64,
    /// Waits of those who were served here and in virtual time: here, and there.
    same: (f64, f64, f64),
    /// Sum of the parts of the sojourns inside the service that lie in the window.
    sojourn: f64,
    queued: (f64, f64),
    late: (f64, f64),
}

impl Sums {
    fn of(crowd: &Crowd, begin: Instant, watched: &Watched, trial: &mut Trial) -> Sums {
        let arrivals = watched.log.iter().map(|l| (l.visit.at, l.visit.service));
        let arrivals: Vec<(f64, f64)> = arrivals.collect();
        let exact = crowd.discipline().run(crowd.rules.workers, &arrivals);
        let from = begin + crowd.warm_up;
        let over = from + crowd.window;
        let seconds = |a: Instant, b: Instant| b.saturating_duration_since(a).as_secs_f64();
        let mut sums = Sums::default();
        for log in &watched.log {
            if let Some(Answer::Served { due, ended, .. }) = log.answer {
                sums.late.0 += seconds(due, ended);
                sums.late.1 += 1.0;
            }
        }
        let late = if sums.late.1 > 0.0 {
            sums.late.0 / sums.late.1
        } else {
            0.0
        };
        let in_time = crowd.deadline.as_secs_f64() - late;
        for (log, exact) in watched.log.iter().zip(exact) {
            if let Some(entered) = log.entered {
                // Whoever had no answer was inside to the end of the window.
                let left = match log.answer {
                    Some(Answer::Served { ended, .. }) => ended,
                    Some(Answer::Dropped { at }) => at,
                    None => over,
                };
                sums.sojourn += seconds(entered.max(from), left.min(over));
            }
            if !log.visit.counts {
                continue;
            }
            sums.offered += 1.0;
            sums.work += log.visit.service;
            if let Fate::Served(start) = exact {
                let took = start + log.visit.service - log.visit.at;
                sums.exact_good += f64::from(took <= in_time);
            }
            trial.offered += 1;
            match log.answer {
                _ if log.refused => {
                    sums.refused += 1.0;
                    trial.rejected += 1;
                }
                Some(Answer::Served { picked, ended, .. }) => {
                    let wait = seconds(log.arrived, picked);
                    sums.waits.push(wait);
                    let entered = log.entered.unwrap_or(log.arrived);
                    sums.queued.0 += seconds(entered, picked);
                    sums.queued.1 += 1.0;
                    if let Fate::Served(start) = exact {
                        sums.same.0 += wait;
                        sums.same.1 += start - log.visit.at;
                        sums.same.2 += 1.0;
                    }
                    let took = ended.saturating_duration_since(log.arrived);
                    trial.attempt_latency.record(took);
                    if took <= crowd.deadline {
                        sums.good += 1.0;
                        trial.ok += 1;
                        trial.latency.record(took);
                    } else {
                        trial.timed_out += 1;
                    }
                }
                Some(Answer::Dropped { .. }) => {
                    sums.dropped += 1.0;
                    trial.timed_out += 1;
                }
                None => trial.timed_out += 1,
            }
        }
        sums
    }

    fn add(&mut self, other: &Sums) {
        self.offered += other.offered;
        self.refused += other.refused;
        self.dropped += other.dropped;
        self.good += other.good;
        self.work += other.work;
        self.exact_good += other.exact_good;
        self.waits.extend(&other.waits);
        self.same.0 += other.same.0;
        self.same.1 += other.same.1;
        self.same.2 += other.same.2;
        self.sojourn += other.sojourn;
        self.queued.0 += other.queued.0;
        self.queued.1 += other.queued.1;
        self.late.0 += other.late.0;
        self.late.1 += other.late.1;
    }

    /// The figures, each with its unit in the name, over so many services.
    fn figures(&self, crowd: &Crowd, systems: usize) -> [(&'static str, f64); 13] {
        let time = systems as f64 * crowd.window.as_secs_f64();
        let service = self.work / self.offered;
        // What the workers could have done with services of these lengths.
        let capacity = crowd.rules.workers as f64 / service;
        [
            ("came_per_s", self.offered / time),
            ("service_mean_s", service),
            ("wait_mean_s", mean(&self.waits)),
            ("same_wait_s", self.same.0 / self.same.2),
            ("exact_wait_s", self.same.1 / self.same.2),
            ("queued_mean_s", self.queued.0 / self.queued.1),
            ("refused_share", self.refused / self.offered),
            ("dropped_share", self.dropped / self.offered),
            ("good_share", self.good / self.offered),
            ("exact_good_share", self.exact_good / self.offered),
            ("good_of_capacity", self.good / time / capacity),
            ("sojourn_rate", self.sojourn / time),
            ("late_mean_s", self.late.0 / self.late.1),
        ]
    }
}

/// The books over all services: sums as usual, and each figure of each group as a trace.
fn books(crowd: &Crowd, begin: Instant, systems: &[Watched]) -> Trial {
    let mut trial = Trial {
        wall_s: crowd.window.as_secs_f64(),
        ..Trial::default()
    };
    let mut groups: Vec<Sums> = (0..GROUPS).map(|_| Sums::default()).collect();
    let mut whole = Sums::default();
    for (i, watched) in systems.iter().enumerate() {
        let sums = Sums::of(crowd, begin, watched, &mut trial);
        groups[i % GROUPS].add(&sums);
        whole.add(&sums);
    }
    for (g, sums) in groups.iter().enumerate() {
        for (name, value) in sums.figures(crowd, systems.len() / GROUPS) {
            if value.is_finite() {
                let trace = trial.traces.entry(name.into()).or_default();
                trace.push((g as f64, value));
            }
        }
    }
    whole.waits.sort_by(f64::total_cmp);
    let deepest = systems.iter().map(|w| w.deepest).max().unwrap_or(0);
    let inside: f64 = systems.iter().map(|w| w.inside).sum();
    let gauges = whole.figures(crowd, systems.len()).into_iter().chain([
        ("wait_p50_s", quantile(&whole.waits, 0.5)),
        ("wait_p99_s", quantile(&whole.waits, 0.99)),
        ("inside_mean", inside / systems.len() as f64),
        ("depth_max", deepest as f64),
        ("systems", systems.len() as f64),
    ]);
    let finite = gauges.filter(|(_, value)| value.is_finite());
    trial.gauges = finite.map(|(name, value)| (name.into(), value)).collect();
    trial
}

/// A service's own instruments: how many are inside, integrated over a window, and the longest line.
pub(super) struct Meter {
    window: (Instant, Instant),
    state: Mutex<Inside>,
}

struct Inside {
    number: f64,
    area: f64,
    since: Instant,
    deepest: usize,
}

impl Meter {
    pub(super) fn new(from: Instant, to: Instant) -> Meter {
        let state = Inside {
            number: 0.0,
            area: 0.0,
            since: from,
            deepest: 0,
        };
        Meter {
            window: (from, to),
            state: Mutex::new(state),
        }
    }

    /// One more is inside, and so many of them wait.
    pub(super) fn enter(&self, now: Instant, waiting: usize) {
        let mut state = self.state.lock().expect("nobody panics holding it");
        state.until(now.min(self.window.1));
        state.number += 1.0;
        state.deepest = state.deepest.max(waiting);
    }

    /// One has left.
    pub(super) fn leave(&self, now: Instant) {
        let mut state = self.state.lock().expect("nobody panics holding it");
        state.until(now.min(self.window.1));
        state.number -= 1.0;
    }

    /// Mean number inside during the window, and the longest line at any time.
    pub(super) fn read(&self) -> (f64, usize) {
        let mut state = self.state.lock().expect("nobody panics holding it");
        state.until(self.window.1);
        let length = self.window.1.saturating_duration_since(self.window.0);
        (state.area / length.as_secs_f64(), state.deepest)
    }
}

impl Inside {
    /// Integrates up to an instant; one before the window or out of order adds nothing.
    fn until(&mut self, now: Instant) {
        if now > self.since {
            self.area += self.number * (now - self.since).as_secs_f64();
            self.since = now;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::lab15_backpressure::Backpressure;
    use clap::{Args, Command, FromArgMatches};

    /// The flags of a smoke run.
    fn params() -> Params {
        let command = Params::augment_args(Command::new("lab15"));
        let flags = ["lab15"].iter().chain(Backpressure::CARD.sizes.smoke);
        Params::from_arg_matches(&command.get_matches_from(flags)).unwrap()
    }

    #[test]
    fn visits_are_seeded_ascending_and_in_the_window() {
        let p = params();
        for arm in Arm::ALL {
            let crowd = Crowd::of(&p, arm, 0.8);
            let visits = crowd.visits(3, 7);
            let again: Vec<f64> = crowd.visits(3, 7).iter().map(|v| v.service).collect();
            assert_eq!(visits.iter().map(|v| v.service).collect::<Vec<_>>(), again);
            assert!(visits.windows(2).all(|w| w[0].at <= w[1].at));
            let until = (crowd.warm_up + crowd.window).as_secs_f64();
            assert!(visits.iter().all(|v| v.at < until));
            let counted = visits.iter().filter(|v| v.counts);
            assert!(counted.clone().all(|v| v.at >= crowd.warm_up.as_secs_f64()));
            assert!(counted.count() > 0);
        }
    }

    #[test]
    fn beginnings_are_those_of_the_steady_state() {
        let p = params();
        let crowd = Crowd::of(&p, Arm::Unbounded, 0.8);
        let n = 10_000;
        let inside = (0..n).map(|i| crowd.at_first((i as f64 + 0.5) / n as f64) as f64);
        let mean = inside.sum::<f64>() / n as f64;
        let theory = lab_kit::theory::MMc {
            lambda: crowd.rate(),
            service: crowd.service_s,
            servers: p.workers,
        };
        assert!((mean - theory.mean_in_system()).abs() < 0.05, "{mean}");
        let bounded = Crowd::of(&p, Arm::Shed, 3.0);
        assert!(bounded.at_first(0.999_999) <= p.workers + p.places);
        // In overload as deep as after one more window.
        let deep = Crowd::of(&p, Arm::Unbounded, 1.5);
        let more = 0.5 * p.window.s() * p.workers as f64 / p.service.s();
        assert_eq!(deep.at_first(0.0), p.workers + more as usize);
    }

    #[test]
    fn the_books_of_every_arm_close() {
        let p = params();
        let runtime = tokio::runtime::Runtime::new().unwrap();
        for arm in Arm::ALL {
            for rho in [0.5, 1.5] {
                let crowd = Crowd::of(&p, arm, rho);
                let begin = Instant::now();
                let visits = crowd.visits(0, 1);
                let counted = visits.iter().filter(|v| v.counts).count() as u64;
                let watched = runtime.block_on(one(crowd, visits, begin));
                let trial = books(&crowd, begin, &[watched]);
                assert!(trial.books_close(), "{arm:?} at {rho}");
                assert_eq!(trial.offered, counted, "{arm:?} at {rho}");
                if matches!(arm, Arm::Shed | Arm::Waits) {
                    assert!(trial.gauges["depth_max"] <= p.places as f64);
                }
                if arm != Arm::Shed {
                    assert_eq!(trial.rejected, 0);
                }
            }
        }
    }

    #[test]
    fn the_meter_integrates_inside_its_window_only() {
        let from = Instant::now();
        let at = |s: u64| from + Duration::from_secs(s);
        let meter = Meter::new(at(10), at(20));
        meter.enter(at(5), 0);
        meter.enter(at(15), 3);
        meter.leave(at(18));
        meter.leave(at(30));
        assert_eq!(meter.read(), ((5.0 + 3.0 * 2.0 + 2.0) / 10.0, 3));
    }
}
