//! Many independent services side by side: who comes to them, and the books over all of them.
//!
//! Each service has its own arrivals and service times, drawn from seeds before it opens, so that
//! the very same can also be sent through it in virtual time.
//!
//! Three instruments that know nothing of each other watch a service: it counts who comes in, a sampler
//! looks now and then how many are inside, and the clients time their answers by their own clocks.

use std::sync::{Arc, Mutex};

use futures_util::{StreamExt, future::join, stream::FuturesUnordered};
use lab_kit::prelude::*;
use lab_kit::stats::{mean, quantile};
use lab_kit::theory::overload::{Discipline, Fate, states};
use rand::{RngExt, SeedableRng};
use rand_pcg::Pcg64Mcg;
use tokio::sync::{mpsc, oneshot::Receiver};
use tokio::task::JoinSet;
use tokio::time::{sleep_until, timeout_at};

use super::{Answer, Arm, Door, Params, Rules, Service, gauges};

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

/// What became of a visit, by its client's clock.
struct Log {
    visit: Visit,
    arrived: Instant,
    /// When it was let in.
    entered: Option<Instant>,
    refused: bool,
    /// The answer, and when it was heard.
    heard: Option<(Answer, Instant)>,
}

impl Crowd {
    pub(super) fn of(p: &Params, arm: Arm, rho: f64) -> Crowd {
        let window = p.window.duration();
        let systems = match arm {
            Arm::Unbounded if (NEAR..OVERLOAD).contains(&rho) => 3 * p.systems,
            Arm::Unbounded if rho < OVERLOAD => p.systems,
            Arm::Waits if rho < OVERLOAD => p.systems / 2,
            Arm::Shed if rho < NEAR => p.systems,
            // Lateness counts most where the oldest is always about to expire.
            Arm::Expired if rho >= NEAR => p.systems / 2,
            Arm::Deadline | Arm::Newest if rho >= OVERLOAD => p.systems / 3,
            Arm::Unbounded | Arm::Shed => p.systems / 4,
            _ => p.systems / 6,
        };
        let warm_up = match arm {
            Arm::Deadline | Arm::Expired => window / 4,
            // All those come at once who are there at the beginning.
            _ => window / 40,
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
            systems: systems.max(1),
        }
    }

    /// One of several parts of it.
    pub(super) fn part(self, parts: usize) -> Crowd {
        Crowd { systems: (self.systems / parts).max(1), ..self }
    }

    /// From when to when arrivals count.
    fn window(&self, begin: Instant) -> (Instant, Instant) {
        let from = begin + self.warm_up;
        (from, from + self.window)
    }

    /// Opens a service.
    fn open(&self, begin: Instant) -> (Arc<Service>, JoinSet<()>) {
        let (from, over) = self.window(begin);
        Service::open(self.rules, Meter::new(from, over), None)
    }

    /// Everybody who is let in is served or dropped before long.
    fn ends(&self) -> bool {
        let endless = matches!(self.rules.arm, Arm::Unbounded | Arm::Waits | Arm::Newest);
        self.rho < OVERLOAD || !endless
    }

    /// Arrivals per second at each service.
    fn rate(&self) -> f64 {
        self.rho * self.rules.workers as f64 / self.service_s
    }

    fn discipline(&self) -> Discipline {
        Discipline {
            // The producer's own queue is endless: together with the bounded one it is the same line.
            places: (self.rules.arm == Arm::Shed).then_some(self.rules.places),
            patience: self.rules.patience.map_or(f64::INFINITY, |d| d.as_secs_f64()),
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

    /// The visits to one service. The `i`-th begins in the `i`-th of equally likely classes of the
    /// steady state, so that every trial has its share of good and bad beginnings.
    fn visits(&self, system: usize, seed: u64) -> Vec<Visit> {
        let own = seed.wrapping_add(((system + 1) as u64) << 32);
        let mut rng = Pcg64Mcg::seed_from_u64(own);
        let class = (system as f64 + rng.random::<f64>()) / self.systems as f64;
        let mut draw = |mean: f64| -(1.0 - rng.random::<f64>()).ln() * mean;
        let mut visits: Vec<Visit> = (0..self.at_first(class))
            .map(|_| Visit { at: 0.0, service: draw(self.service_s), counts: false })
            .collect();
        let warm = self.warm_up.as_secs_f64();
        let mut at = 0.0;
        loop {
            at += draw(1.0 / self.rate());
            if at >= warm + self.window.as_secs_f64() {
                return visits;
            }
            visits.push(Visit { at, service: draw(self.service_s), counts: at >= warm });
        }
    }
}

/// Until all have drawn who will come.
pub(super) const READY: Duration = Duration::from_millis(200);

/// Runs one condition.
pub(super) async fn run(r: Recorder, crowd: Crowd) -> Result<()> {
    // All watch together, when all are ready. Who needs no warm-up opens later: to close a service
    // with thousands in its line is work, and would make the timers of those late who still run.
    let opened = Instant::now() + READY;
    let begin = opened + crowd.late_start;
    let seed = r.seed();
    let all = async {
        let mut running = JoinSet::new();
        let mut services = Vec::new();
        for system in 0..crowd.systems {
            let visits = crowd.visits(system, seed);
            let (service, workers) = crowd.open(begin);
            services.push(service.clone());
            running.spawn(async move {
                let watched = one(crowd, visits, begin, service).await;
                drop(workers);
                (system, watched)
            });
        }
        let (inside, mut done) =
            join(sample(&crowd, begin, seed, services), running.join_all()).await;
        done.sort_by_key(|(system, _)| *system);
        // Making the books is work, and would make the timers of those late who still run.
        sleep_until((opened + crowd.quiet).into()).await;
        (inside, done)
    };
    // A run that is stopped has no books.
    if let Some((inside, done)) = r.load().unless_stopped(all).await {
        let systems: Vec<Watched> = done.into_iter().map(|(_, watched)| watched).collect();
        let mut trial = books(&crowd, begin, &systems);
        if inside.is_finite() {
            trial.gauges.insert(gauges::SAMPLED_INSIDE.to_string(), inside);
        }
        r.books(trial);
    }
    Ok(())
}

/// How late timers are while all of this runs: sleepers that do nothing else.
pub(super) async fn timers(r: Recorder, crowd: Crowd) -> Result<()> {
    const SLEEPERS: u64 = 100;
    let opened = Instant::now() + READY;
    let (from, over) = crowd.window(opened + crowd.late_start);
    let seed = r.seed();
    let all = async {
        let mut running = JoinSet::new();
        for sleeper in 0..SLEEPERS {
            let mut rng = Pcg64Mcg::seed_from_u64(seed.wrapping_add(sleeper << 32));
            running.spawn(async move {
                let (mut late, mut due) = (Vec::new(), from);
                loop {
                    let time = -(1.0 - rng.random::<f64>()).ln() * crowd.service_s;
                    due += Duration::from_secs_f64(time);
                    if due >= over {
                        return late;
                    }
                    sleep_until(due.into()).await;
                    late.push(due.elapsed().as_secs_f64());
                }
            });
        }
        let late = running.join_all().await.concat();
        sleep_until((opened + crowd.quiet).into()).await;
        late
    };
    if let Some(mut late) = r.load().unless_stopped(all).await {
        late.sort_by(f64::total_cmp);
        let figures = [
            (gauges::LATE_MEAN_S, mean(&late)),
            (gauges::LATE_P50_S, quantile(&late, 0.5)),
            (gauges::LATE_P99_S, quantile(&late, 0.99)),
        ];
        let finite = figures.into_iter().filter(|(_, value)| value.is_finite());
        r.books(Trial {
            wall_s: crowd.window.as_secs_f64(),
            gauges: finite.map(keyed).collect(),
            ..Trial::default()
        });
    }
    Ok(())
}

/// Looks how many are inside, every now and then during the window: the mean of what it sees.
async fn sample(crowd: &Crowd, begin: Instant, seed: u64, services: Vec<Arc<Service>>) -> f64 {
    let (from, over) = crowd.window(begin);
    let every = Duration::from_secs_f64((crowd.service_s / 4.0).max(1e-3));
    let phase: f64 = Pcg64Mcg::seed_from_u64(seed).random();
    let mut at = from + every.mul_f64(phase);
    let (mut seen, mut looked) = (0, 0);
    while at < over {
        sleep_until(at.into()).await;
        seen += services.iter().map(|s| s.inside()).sum::<usize>();
        looked += services.len();
        at += every;
    }
    seen as f64 / looked as f64
}

/// One service, watched from outside and from inside.
struct Watched {
    log: Vec<Log>,
    /// How many the service let in during the window.
    let_in: usize,
    deepest: usize,
}

/// What came of going in.
#[derive(Clone, Copy)]
enum Entered {
    In(Instant),
    Refused,
}

/// A client that was let in, by its number, and where its answer will come from.
type Call = (usize, Receiver<Answer>);

async fn one(crowd: Crowd, visits: Vec<Visit>, begin: Instant, service: Arc<Service>) -> Watched {
    let (_, over) = crowd.window(begin);
    // Nothing that arrives before `over` can be in time after this.
    let last = over + crowd.deadline;
    let (tell, mut calls) = mpsc::unbounded_channel::<Call>();
    let mut heard: Vec<Option<(Answer, Instant)>> = visits.iter().map(|_| None).collect();
    let come = async {
        let tell = tell;
        let mut entered = Vec::with_capacity(visits.len());
        for (client, visit) in visits.iter().enumerate() {
            let arrived = begin + Duration::from_secs_f64(visit.at);
            if arrived > Instant::now() {
                sleep_until(arrived.into()).await;
            }
            let time = Duration::from_secs_f64(visit.service);
            entered.push(match timeout_at(last.into(), service.enter(arrived, time)).await {
                Ok((Door::In(_), answer)) => {
                    let _ = tell.send((client, answer));
                    Some(Entered::In(Instant::now()))
                }
                Ok((Door::Refused { .. }, _)) => Some(Entered::Refused),
                Err(_) => None,
            });
        }
        entered
    };
    let listen = async {
        let hearing = hear(&mut calls, &mut heard);
        // Where the line ends everybody's turn comes; in an endless overload it need not.
        if crowd.ends() {
            hearing.await;
        } else {
            let _ = timeout_at(last.into(), hearing).await;
        }
    };
    let (entered, ()) = join(come, listen).await;
    let all = visits.into_iter().zip(entered).zip(heard);
    let log = all.map(|((visit, entered), heard)| Log {
        visit,
        arrived: begin + Duration::from_secs_f64(visit.at),
        entered: match entered {
            Some(Entered::In(at)) => Some(at),
            _ => None,
        },
        refused: matches!(entered, Some(Entered::Refused)),
        heard,
    });
    let log = log.collect();
    let (let_in, deepest) = service.meter.read();
    Watched { log, let_in, deepest }
}

/// Clients wait for their answers, each with its own clock.
async fn hear(calls: &mut mpsc::UnboundedReceiver<Call>, heard: &mut [Option<(Answer, Instant)>]) {
    let mut waiting = FuturesUnordered::new();
    let mut open = true;
    while open || !waiting.is_empty() {
        tokio::select! {
            call = calls.recv(), if open => match call {
                Some((client, answer)) => waiting.push(async move {
                    let answer = answer.await.ok();
                    (client, answer, Instant::now())
                }),
                None => open = false,
            },
            Some((client, answer, at)) = waiting.next(), if !waiting.is_empty() => {
                heard[client] = answer.map(|answer| (answer, at));
            }
        }
    }
}

/// What was measured of the visits that count, over services.
#[derive(Default)]
struct Sums {
    offered: f64,
    refused: f64,
    dropped: f64,
    good: f64,
    waits: Vec<f64>,
    /// Service times of all who came.
    work: f64,
    /// What virtual time answers: from arrival to the end of the service.
    exact: Vec<f64>,
    /// Waits of those who were served here and in virtual time: here, and there.
    same: (f64, f64, f64),
    /// From being let in to hearing the answer, by the clients' clocks, within the window; and how many were
    /// let in then.
    sojourn: (f64, f64),
    queued: (f64, f64),
    /// How late each answer was heard after it was due.
    late: Vec<f64>,
    /// Answers that were too late, in the second half of the window.
    too_late: f64,
    let_in: f64,
    deepest: usize,
}

fn seconds_from(a: Instant, b: Instant) -> f64 {
    b.saturating_duration_since(a).as_secs_f64()
}

impl Sums {
    fn add(&mut self, crowd: &Crowd, begin: Instant, watched: &Watched, trial: &mut Trial) {
        let arrivals = watched.log.iter().map(|l| (l.visit.at, l.visit.service));
        let arrivals: Vec<(f64, f64)> = arrivals.collect();
        let exact = crowd.discipline().run(crowd.rules.workers, &arrivals);
        let (from, over) = crowd.window(begin);
        let half = from + crowd.window / 2;
        self.let_in += watched.let_in as f64;
        self.deepest = self.deepest.max(watched.deepest);
        for (log, exact) in watched.log.iter().zip(exact) {
            if let Some(entered) = log.entered.filter(|entered| *entered < over) {
                // Who was there before, or still is afterwards, counts for as long as the window saw.
                let left = log.heard.as_ref().map_or(over, |(_, heard)| *heard);
                self.sojourn.0 += seconds_from(entered.max(from), left.clamp(from, over));
                self.sojourn.1 += f64::from(u8::from(entered >= from));
            }
            if let Some((Answer::Served { .. }, heard)) = &log.heard
                && (half..over).contains(heard)
                && *heard > log.arrived + crowd.deadline
            {
                self.too_late += 1.0;
            }
            if log.visit.counts {
                self.count(crowd, log, exact, trial);
            }
        }
    }

    /// Adds a visit that counts.
    fn count(&mut self, crowd: &Crowd, log: &Log, exact: Fate, trial: &mut Trial) {
        self.offered += 1.0;
        self.work += log.visit.service;
        if let Fate::Served(start) = exact {
            self.exact.push(start + log.visit.service - log.visit.at);
        }
        trial.offered += 1;
        match &log.heard {
            _ if log.refused => {
                self.refused += 1.0;
                trial.rejected += 1;
            }
            Some((Answer::Served { picked, due }, heard)) => {
                let wait = seconds_from(log.arrived, *picked);
                self.waits.push(wait);
                self.late.push(seconds_from(*due, *heard));
                self.queued.0 += seconds_from(log.entered.unwrap_or(log.arrived), *picked);
                self.queued.1 += 1.0;
                if let Fate::Served(start) = exact {
                    self.same.0 += wait;
                    self.same.1 += start - log.visit.at;
                    self.same.2 += 1.0;
                }
                let took = heard.saturating_duration_since(log.arrived);
                trial.attempt_latency.record(took);
                if took <= crowd.deadline {
                    self.good += 1.0;
                    trial.ok += 1;
                    trial.latency.record(took);
                } else {
                    trial.timed_out += 1;
                }
            }
            Some((Answer::Dropped, _)) => {
                self.dropped += 1.0;
                trial.timed_out += 1;
            }
            None => trial.timed_out += 1,
        }
    }

    /// How many virtual time answers within the deadline, each as late as one was here.
    fn exact_good(&self, crowd: &Crowd) -> f64 {
        let deadline = crowd.deadline.as_secs_f64();
        let late = self.late.iter().copied().cycle();
        let answered = self.exact.iter().zip(late);
        answered.filter(|(took, late)| *took + late <= deadline).count() as f64
    }

    /// The figures, each with its unit in the name, over so many services.
    fn figures(&mut self, crowd: &Crowd, systems: usize) -> [(Gauge, f64); 20] {
        let time = systems as f64 * crowd.window.as_secs_f64();
        let service = self.work / self.offered;
        // What the workers could have done with services of these lengths, and of those asked for.
        let capacity = crowd.rules.workers as f64 / service;
        let asked = crowd.rules.workers as f64 / crowd.service_s;
        self.waits.sort_by(f64::total_cmp);
        [
            (gauges::CAME_PER_S, self.offered / time),
            (gauges::SERVICE_MEAN_S, service),
            (gauges::WAIT_MEAN_S, mean(&self.waits)),
            (gauges::WAIT_P50_S, quantile(&self.waits, 0.5)),
            (gauges::WAIT_P99_S, quantile(&self.waits, 0.99)),
            (gauges::SAME_WAIT_S, self.same.0 / self.same.2),
            (gauges::EXACT_WAIT_S, self.same.1 / self.same.2),
            (gauges::QUEUED_MEAN_S, self.queued.0 / self.queued.1),
            (gauges::REFUSED_SHARE, self.refused / self.offered),
            (gauges::DROPPED_SHARE, self.dropped / self.offered),
            (gauges::GOOD_SHARE, self.good / self.offered),
            (gauges::EXACT_GOOD_SHARE, self.exact_good(crowd) / self.offered),
            (gauges::GOOD_OF_CAPACITY, self.good / time / capacity),
            (gauges::LATE_OF_CAPACITY, 2.0 * self.too_late / time / asked),
            (gauges::LATE_MEAN_S, mean(&self.late)),
            (gauges::LET_IN_PER_S, self.let_in / time),
            (gauges::SOJOURN_MEAN_S, self.sojourn.0 / self.sojourn.1),
            (gauges::DEPTH_MAX, self.deepest as f64),
            (gauges::SYSTEMS, systems as f64),
            (gauges::ANSWERED, self.waits.len() as f64),
        ]
    }
}

/// A figure as a record has it.
fn keyed((gauge, value): (Gauge, f64)) -> (String, f64) {
    (gauge.to_string(), value)
}

/// The books over all services.
fn books(crowd: &Crowd, begin: Instant, systems: &[Watched]) -> Trial {
    let mut trial = Trial { wall_s: crowd.window.as_secs_f64(), ..Trial::default() };
    let mut sums = Sums::default();
    for watched in systems {
        sums.add(crowd, begin, watched, &mut trial);
    }
    let figures = sums.figures(crowd, systems.len()).into_iter();
    let finite = figures.filter(|(_, value)| value.is_finite());
    trial.gauges = finite.map(keyed).collect();
    trial
}

/// A service's own instruments: how many it let in during a window, and the longest line.
pub(super) struct Meter {
    window: (Instant, Instant),
    counted: Mutex<(usize, usize)>,
}

impl Meter {
    pub(super) fn new(from: Instant, to: Instant) -> Meter {
        Meter { window: (from, to), counted: Mutex::default() }
    }

    /// One more is inside, and so many of them wait.
    pub(super) fn enter(&self, now: Instant, waiting: usize) {
        let mut counted = self.counted.lock().expect("nobody panics holding it");
        counted.0 += usize::from(now >= self.window.0 && now < self.window.1);
        counted.1 = counted.1.max(waiting);
    }

    /// How many were let in during the window, and the longest line at any time.
    pub(super) fn read(&self) -> (usize, usize) {
        *self.counted.lock().expect("nobody panics holding it")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Backpressure;

    /// The flags of a smoke run.
    fn params() -> Params {
        lab_kit::lab::params::<Backpressure>(Backpressure::CARD.sizes.smoke)
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
                let watched = runtime.block_on(async {
                    let (service, _workers) = crowd.open(begin);
                    one(crowd, visits, begin, service).await
                });
                let trial = books(&crowd, begin, &[watched]);
                assert!(trial.books_close(), "{arm:?} at {rho}");
                assert_eq!(trial.offered, counted, "{arm:?} at {rho}");
                if matches!(arm, Arm::Shed | Arm::Waits) {
                    assert!(trial.gauge(gauges::DEPTH_MAX).unwrap() <= p.places as f64);
                }
                if arm != Arm::Shed {
                    assert_eq!(trial.rejected, 0);
                }
            }
        }
    }

    #[test]
    fn the_meter_counts_inside_its_window_only() {
        let from = Instant::now();
        let at = |s: u64| from + Duration::from_secs(s);
        let meter = Meter::new(at(10), at(20));
        for (second, waiting) in [(5, 0), (10, 3), (19, 1), (20, 2)] {
            meter.enter(at(second), waiting);
        }
        assert_eq!(meter.read(), (2, 3));
    }

    #[test]
    fn three_instruments_agree_on_littles_law() {
        let p = params();
        let crowd = Crowd { window: Duration::from_millis(400), ..Crowd::of(&p, Arm::Shed, 0.8) };
        let runtime = tokio::runtime::Runtime::new().unwrap();
        runtime.block_on(async {
            let begin = Instant::now() + Duration::from_millis(20);
            let (mut services, mut running) = (Vec::new(), JoinSet::new());
            for system in 0..40 {
                let (service, workers) = crowd.open(begin);
                services.push(service.clone());
                let visits = crowd.visits(system, 5);
                running.spawn(async move {
                    let watched = one(crowd, visits, begin, service).await;
                    drop(workers);
                    watched
                });
            }
            let (inside, done) = join(sample(&crowd, begin, 5, services), running.join_all()).await;
            let trial = books(&crowd, begin, &done);
            let gauge = |gauge: Gauge| trial.gauge(gauge).unwrap();
            let law = gauge(gauges::LET_IN_PER_S) * gauge(gauges::SOJOURN_MEAN_S);
            // A test runs beside others: only that none of them counts twice or not at all.
            assert!((inside / law - 1.0).abs() < 0.3, "{inside} {law}");
        });
    }
}
