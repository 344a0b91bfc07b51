//! A surge, clients that try again, and what becomes of the service when the surge has passed.

use std::sync::{Arc, Mutex};

use lab_kit::prelude::*;
use rand::{RngExt, SeedableRng};
use rand_pcg::Pcg64Mcg;
use tokio::task::JoinSet;
use tokio::time::{sleep, sleep_until, timeout};
use tower::retry::budget::{Budget as _, TpsBudget};

use super::{Answer, Arm, Door, Params, Rules, Service, gauges, systems::Meter};

/// Services side by side, over all trials of a round.
const SYSTEMS: usize = 42;

/// What is done against the storm.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Remedy {
    /// Nothing: a limit on attempts is no remedy.
    None,
    /// The users go away until the line is worked off, and come back.
    Away,
    /// Retries are a share of requests.
    Budget,
    /// The service refuses.
    Shed,
    /// The service drops what cannot be in time.
    Deadline,
    /// The service serves the newest first.
    Newest,
}

impl Remedy {
    pub(super) const ALL: [Remedy; 6] = [
        Remedy::None,
        Remedy::Away,
        Remedy::Budget,
        Remedy::Shed,
        Remedy::Deadline,
        Remedy::Newest,
    ];

    pub(super) fn series(self) -> &'static str {
        match self {
            Remedy::None => "storm/none",
            Remedy::Away => "storm/users go away",
            Remedy::Budget => "storm/retry budget",
            Remedy::Shed => "storm/shed",
            Remedy::Deadline => "storm/deadline",
            Remedy::Newest => "storm/newest first",
        }
    }

    pub(super) fn arm(self) -> Arm {
        match self {
            Remedy::None | Remedy::Away | Remedy::Budget => Arm::Unbounded,
            Remedy::Shed => Arm::Shed,
            Remedy::Deadline => Arm::Deadline,
            Remedy::Newest => Arm::Newest,
        }
    }
}

/// The constants of a storm; all instants in seconds since it began.
#[derive(Clone, Debug)]
pub(super) struct Storm {
    p: Params,
    /// Services of a trial.
    systems: usize,
    /// When the surge begins and ends.
    pub(super) surge: (f64, f64),
    /// When the users go away and come back, in the arm where they do.
    pub(super) away: (f64, f64),
    /// When it is over.
    pub(super) end: f64,
}

/// A stretch of a storm, in seconds since it began.
pub(super) struct Stretch {
    pub(super) name: &'static str,
    pub(super) from: f64,
    pub(super) to: f64,
    /// The share of the requests that came in it and were answered.
    pub(super) good: Gauge,
    /// The share that was given up.
    pub(super) given_up: Gauge,
    /// How often they were sent.
    pub(super) attempts: Gauge,
}

impl Storm {
    /// One of so many trials side by side.
    pub(super) fn of(p: &Params, parts: usize) -> Storm {
        let t = p.deadline.s();
        let surge = (2.0 * t, 2.0 * t + p.surge_for.s());
        let leave = surge.1 + 3.0 * t;
        // At most this much work is left then if every request since the surge began is sent as
        // often as may be; nobody comes until it is done.
        let sent = p.surge * p.surge_for.s() + p.calm * 3.0 * t;
        let left = (1 + p.retries) as f64 * sent - (leave - surge.0);
        let away = (leave, leave + left.max(t));
        Storm { p: p.clone(), systems: SYSTEMS.div_ceil(parts), surge, away, end: away.1 + 5.0 * t }
    }

    /// Seconds until the last request has its answer.
    pub(super) fn lasts(&self) -> f64 {
        self.end + (1 + self.p.retries) as f64 * self.p.deadline.s()
    }

    /// Attempts over all of its services, at the most.
    pub(super) fn requests(&self) -> f64 {
        let capacity = self.p.workers as f64 / self.p.service.s();
        let came = self.p.calm * self.end + self.p.surge * self.p.surge_for.s();
        self.systems as f64 * capacity * came * (1 + self.p.retries) as f64
    }

    /// What all workers can do in a second.
    pub(super) fn capacity(&self) -> f64 {
        self.systems as f64 * self.p.workers as f64 / self.p.service.s()
    }

    /// Requests that come over all services, on average.
    pub(super) fn expected(&self, remedy: Remedy) -> f64 {
        let away = if remedy == Remedy::Away { self.away.1 - self.away.0 } else { 0.0 };
        let surge = self.p.surge_for.s();
        self.capacity() * (self.p.surge * surge + self.p.calm * (self.end - surge - away))
    }

    /// How long the answers of a point of the curve are counted.
    pub(super) fn bin(&self) -> f64 {
        self.p.deadline.s() / 3.0
    }

    /// Stretches of arrivals to compare: before, while it is down, and at the end.
    pub(super) fn stretches(&self) -> [Stretch; 3] {
        let t = self.p.deadline.s();
        [
            Stretch {
                name: "before",
                from: 0.0,
                to: self.surge.0 - t,
                good: gauges::GOOD_BEFORE,
                given_up: gauges::GIVEN_UP_BEFORE,
                attempts: gauges::ATTEMPTS_BEFORE,
            },
            Stretch {
                name: "down",
                from: self.away.0 - 1.5 * t,
                to: self.away.0,
                good: gauges::GOOD_DOWN,
                given_up: gauges::GIVEN_UP_DOWN,
                attempts: gauges::ATTEMPTS_DOWN,
            },
            Stretch {
                name: "end",
                from: self.end - 2.0 * t,
                to: self.end,
                good: gauges::GOOD_END,
                given_up: gauges::GIVEN_UP_END,
                attempts: gauges::ATTEMPTS_END,
            },
        ]
    }

    fn rate(&self, at: f64, remedy: Remedy) -> f64 {
        let inside = |(from, to): (f64, f64)| at >= from && at < to;
        let rho = if inside(self.surge) {
            self.p.surge
        } else if remedy == Remedy::Away && inside(self.away) {
            0.0
        } else {
            self.p.calm
        };
        rho * self.p.workers as f64 / self.p.service.s()
    }

    /// Random arrivals at the rate of the moment: those of the highest rate, thinned out (Lewis and
    /// Shedler 1979).
    fn arrivals(&self, remedy: Remedy, rng: &mut Pcg64Mcg) -> Vec<f64> {
        let highest = self.p.surge.max(self.p.calm) * self.p.workers as f64 / self.p.service.s();
        let (mut at, mut arrivals) = (0.0, Vec::new());
        while at < self.end {
            at -= (1.0 - rng.random::<f64>()).ln() / highest;
            if rng.random::<f64>() * highest < self.rate(at, remedy) && at < self.end {
                arrivals.push(at);
            }
        }
        arrivals
    }
}

/// The clients of one service.
struct Clients {
    service: Arc<Service>,
    timeout: Duration,
    retries: usize,
    budget: Option<TpsBudget>,
    mean_s: f64,
    rng: Mutex<Pcg64Mcg>,
}

impl Clients {
    fn random(&self) -> f64 {
        self.rng.lock().expect("nobody panics holding it").random()
    }

    /// One request, tried until it is answered in time or may not be tried again.
    async fn request(&self) -> (Outcome, usize) {
        if let Some(budget) = &self.budget {
            budget.deposit();
        }
        for attempt in 1.. {
            let outcome = self.attempt().await;
            let spent = || self.budget.as_ref().is_some_and(|b| !b.withdraw());
            if outcome == Outcome::Ok || attempt > self.retries || spent() {
                return (outcome, attempt);
            }
        }
        unreachable!("the loop ends by returning")
    }

    async fn attempt(&self) -> Outcome {
        let time = Duration::from_secs_f64(-(1.0 - self.random()).ln() * self.mean_s);
        match self.service.enter(Instant::now(), time).await {
            (Door::Refused { retry_after }, _) => {
                // Not all together: half to one and a half times what the service says.
                sleep(retry_after.mul_f64(0.5 + self.random())).await;
                Outcome::Rejected
            }
            (Door::In(_), answer) => match timeout(self.timeout, answer).await {
                Ok(Ok(Answer::Served { .. })) => Outcome::Ok,
                Ok(_) => Outcome::Rejected,
                Err(_) => Outcome::TimedOut,
            },
        }
    }
}

/// What became of a request: when it came and when it ended, in seconds, and how often it was sent.
struct Done {
    came: f64,
    ended: f64,
    outcome: Outcome,
    attempts: usize,
}

/// Runs one storm.
pub(super) async fn run(r: Recorder, storm: Storm, remedy: Remedy) -> Result<()> {
    let begin = Instant::now() + Duration::from_millis(20);
    let seed = r.seed();
    let systems = async {
        let mut running = JoinSet::new();
        for system in 0..storm.systems {
            let storm = storm.clone();
            let seed = seed.wrapping_add((system as u64) << 32);
            running.spawn(async move { (system, one(storm, remedy, seed, begin).await) });
        }
        let mut done = running.join_all().await;
        done.sort_by_key(|(system, _)| *system);
        done
    };
    if let Some(done) = r.load().unless_stopped(systems).await {
        r.books(books(&storm, &done));
    }
    Ok(())
}

async fn one(storm: Storm, remedy: Remedy, seed: u64, begin: Instant) -> Vec<Done> {
    let p = &storm.p;
    let meter = Meter::new(begin, begin + Duration::from_secs_f64(storm.end));
    let (service, _workers) = Service::open(Rules::of(p, remedy.arm()), meter, None);
    let mut rng = Pcg64Mcg::seed_from_u64(seed);
    let arrivals = storm.arrivals(remedy, &mut rng);
    let clients = Arc::new(Clients {
        service,
        timeout: p.deadline.duration(),
        retries: p.retries,
        budget: (remedy == Remedy::Budget)
            .then(|| TpsBudget::new(Duration::from_secs(10), 0, p.budget as f32)),
        mean_s: p.service.s(),
        rng: Mutex::new(rng),
    });
    let mut requests = JoinSet::new();
    for at in arrivals {
        sleep_until((begin + Duration::from_secs_f64(at)).into()).await;
        let clients = clients.clone();
        requests.spawn(async move {
            let (outcome, attempts) = clients.request().await;
            let ended = begin.elapsed().as_secs_f64();
            Done { came: at, ended, outcome, attempts }
        });
    }
    requests.join_all().await
}

fn books(storm: &Storm, systems: &[(usize, Vec<Done>)]) -> Trial {
    let mut trial = Trial { wall_s: storm.end, ..Trial::default() };
    let all = || systems.iter().flat_map(|(_, done)| done);
    for done in all() {
        trial.offered += 1;
        let took = Duration::from_secs_f64((done.ended - done.came).max(0.0));
        trial.attempt_latency.record(took);
        match done.outcome {
            Outcome::Ok => {
                trial.ok += 1;
                trial.latency.record(took);
            }
            Outcome::Rejected => trial.rejected += 1,
            _ => trial.timed_out += 1,
        }
    }
    // Share of the requests that came in a stretch and were answered, or given up, and how often they
    // were sent.
    for stretch in storm.stretches() {
        let inside = |d: &&Done| d.came >= stretch.from && d.came < stretch.to;
        let (mut came, mut good, mut sent) = (0.0, 0.0, 0.0);
        for done in all().filter(inside) {
            came += 1.0;
            good += f64::from(done.outcome == Outcome::Ok);
            sent += done.attempts as f64;
        }
        if came > 0.0 {
            for (gauge, value) in
                [(stretch.good, good), (stretch.given_up, came - good), (stretch.attempts, sent)]
            {
                trial.gauges.insert(gauge.to_string(), value / came);
            }
        }
    }
    // Answers in time per stretch of a third of a deadline, as shares of the capacity.
    let bin = storm.bin();
    let mut counts = vec![0.0; (storm.end / bin) as usize];
    for done in all().filter(|d| d.outcome == Outcome::Ok) {
        if let Some(count) = counts.get_mut((done.ended / bin) as usize) {
            *count += 1.0;
        }
    }
    let capacity = storm.p.workers as f64 / storm.p.service.s() * systems.len() as f64;
    let curve = counts.iter().enumerate();
    let curve = curve.map(|(i, n)| ((i as f64 + 0.5) * bin, n / bin / capacity));
    trial.traces.insert("goodput".into(), curve.collect());
    trial
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Backpressure;

    fn storm() -> Storm {
        let smoke = Backpressure::CARD.sizes.smoke;
        Storm::of(&lab_kit::lab::params::<Backpressure>(smoke), 1)
    }

    #[test]
    fn arrivals_follow_the_rate_of_the_moment() {
        let storm = storm();
        let mut rng = Pcg64Mcg::seed_from_u64(1);
        let (mut calm, mut surge) = (0.0, 0.0);
        for _ in 0..200 {
            let arrivals = storm.arrivals(Remedy::Away, &mut rng);
            assert!(arrivals.windows(2).all(|w| w[0] <= w[1]));
            let inside = |(from, to): (f64, f64)| {
                arrivals.iter().filter(|at| **at >= from && **at < to).count() as f64 / (to - from)
            };
            calm += inside((0.0, storm.surge.0)) / 200.0;
            surge += inside(storm.surge) / 200.0;
            assert_eq!(inside(storm.away), 0.0);
        }
        let capacity = storm.p.workers as f64 / storm.p.service.s();
        assert!((calm / capacity - storm.p.calm).abs() < 0.05, "{calm}");
        assert!((surge / capacity - storm.p.surge).abs() < 0.1, "{surge}");
    }

    #[test]
    fn every_request_has_one_fate_and_no_more_attempts_than_allowed() {
        let storm = storm();
        let runtime = tokio::runtime::Runtime::new().unwrap();
        for remedy in Remedy::ALL {
            let done = runtime.block_on(one(storm.clone(), remedy, 3, Instant::now()));
            assert!(done.iter().all(|d| (1..=1 + storm.p.retries).contains(&d.attempts)));
            assert!(done.iter().all(|d| d.ended >= d.came));
            let offered = done.len() as u64;
            let trial = books(&storm, &[(0, done)]);
            assert!(trial.books_close() && trial.offered == offered, "{remedy:?}");
        }
    }
}
