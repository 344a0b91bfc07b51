//! One service that freezes, watched in two ways: by testers that wait for each answer before they
//! send on, and by requests that are sent when they are due. Both send at the same constant rate.

use std::sync::Arc;

use lab_kit::prelude::*;
use rand::{RngExt, SeedableRng};
use rand_pcg::Pcg64Mcg;
use tokio::task::JoinSet;
use tokio::time::sleep_until;

use super::{Arm, Door, Params, Rules, Service, gauges, systems::Meter};

/// Services side by side, over all trials of a round.
const SYSTEMS: usize = 120;

/// The share of the window after which the freeze begins.
const BEFORE: f64 = 1.0 / 3.0;

/// The constants of the experiment.
#[derive(Clone, Copy, Debug)]
pub(super) struct Freeze {
    rules: Rules,
    /// Services of a trial.
    systems: usize,
    service_s: f64,
    rate: f64,
    window: Duration,
    lasts: Duration,
    seed: u64,
}

/// Quantiles that are drawn, as one request in so many.
pub(super) const ONE_IN: [f64; 13] =
    [2.0, 3.0, 5.0, 7.0, 10.0, 15.0, 20.0, 30.0, 50.0, 100.0, 200.0, 500.0, 1000.0];

impl Freeze {
    /// One of so many trials side by side.
    pub(super) fn of(p: &Params, parts: usize) -> Freeze {
        Freeze {
            systems: SYSTEMS.div_ceil(parts),
            rules: Rules::of(p, Arm::Unbounded),
            service_s: p.service.s(),
            rate: p.tested * p.workers as f64 / p.service.s(),
            window: p.window.duration(),
            lasts: p.freeze.duration(),
            seed: 0,
        }
    }

    /// How many are due over all services.
    pub(super) fn requests(&self) -> usize {
        self.systems * self.of_a_service()
    }

    fn of_a_service(&self) -> usize {
        (self.window.as_secs_f64() * self.rate) as usize
    }

    fn frozen(&self, begin: Instant) -> (Instant, Instant) {
        let from = begin + self.window.mul_f64(BEFORE);
        (from, from + self.lasts)
    }

    /// Requests of one service: when each is due, and how long it takes.
    fn schedule(&self, system: usize) -> Vec<(Duration, Duration)> {
        let n = self.of_a_service();
        let mut rng = Pcg64Mcg::seed_from_u64(self.seed.wrapping_add((system as u64) << 32));
        (0..n)
            .map(|i| {
                // Services do not all tick at the same instant.
                let phase = system as f64 / self.systems as f64;
                let due = (i as f64 + phase) / self.rate;
                let time = -(1.0 - rng.random::<f64>()).ln() * self.service_s;
                (Duration::from_secs_f64(due), Duration::from_secs_f64(time))
            })
            .collect()
    }

    fn open_service(&self, begin: Instant) -> (Arc<Service>, JoinSet<()>) {
        let meter = Meter::new(begin, begin + self.window);
        Service::open(self.rules, meter, Some(self.frozen(begin)))
    }
}

/// What one request took, in seconds: from when it was sent, and from when it was due.
type Took = (f64, f64);

/// Requests are sent when they are due, whatever has become of earlier ones.
pub(super) async fn open(r: Recorder, freeze: Freeze) -> Result<()> {
    over_systems(&r, freeze, |freeze, system, begin| async move {
        let (service, _workers) = freeze.open_service(begin);
        let mut clients = JoinSet::new();
        for (due, time) in freeze.schedule(system) {
            let due = begin + due;
            sleep_until(due.into()).await;
            let (_, answer) = service.enter(Instant::now(), time).await;
            clients.spawn(async move {
                answer.await.ok()?;
                let from_due = due.elapsed().as_secs_f64();
                Some((from_due, from_due))
            });
        }
        clients.join_all().await.into_iter().flatten().collect()
    })
    .await
}

/// As many testers as workers share the same schedule. Each waits for its answer before it looks
/// at the clock again; what was due meanwhile it sends then, as fast as answers come.
pub(super) async fn closed(r: Recorder, freeze: Freeze) -> Result<()> {
    over_systems(&r, freeze, |freeze, system, begin| async move {
        let (service, _workers) = freeze.open_service(begin);
        let testers = freeze.rules.workers;
        let schedule = Arc::new(freeze.schedule(system));
        let mut running = JoinSet::new();
        for tester in 0..testers {
            let (service, schedule) = (service.clone(), schedule.clone());
            running.spawn(async move {
                let mut took = Vec::new();
                for (due, time) in schedule.iter().skip(tester).step_by(testers) {
                    let due = begin + *due;
                    sleep_until(due.into()).await;
                    let sent = Instant::now();
                    let (Door::In(_), answer) = service.enter(sent, *time).await else {
                        continue;
                    };
                    if answer.await.is_ok() {
                        let ended = Instant::now();
                        took.push(((ended - sent).as_secs_f64(), (ended - due).as_secs_f64()));
                    }
                }
                took
            });
        }
        running.join_all().await.concat()
    })
    .await
}

/// Runs a way to watch on every service and writes down quantiles by both clocks.
async fn over_systems<F, Fut>(r: &Recorder, freeze: Freeze, watch: F) -> Result<()>
where
    F: Fn(Freeze, usize, Instant) -> Fut,
    Fut: Future<Output = Vec<Took>>,
{
    let freeze = Freeze { seed: r.seed(), ..freeze };
    let begin = Instant::now() + Duration::from_millis(20);
    let all = (0..freeze.systems).map(|system| watch(freeze, system, begin));
    let all = futures_util::future::join_all(all);
    let Some(all) = r.load().unless_stopped(all).await else {
        return Ok(());
    };
    let mut books = Trial { wall_s: freeze.window.as_secs_f64(), ..Trial::default() };
    let from_sending: fn(&Took) -> f64 = |t| t.0;
    for (name, gauge, clock) in [
        ("from_sending", gauges::P95_FROM_SENDING_S, from_sending),
        ("from_due", gauges::P95_FROM_DUE_S, |t| t.1),
    ] {
        let mut pooled: Vec<f64> = all.iter().flatten().map(clock).collect();
        pooled.sort_by(f64::total_cmp);
        let curve = ONE_IN.map(|n| (n, lab_kit::stats::quantile(&pooled, 1.0 - 1.0 / n)));
        let drawn = curve.into_iter().filter(|(_, value)| value.is_finite());
        books.traces.insert(name.into(), drawn.collect());
        let p95 = lab_kit::stats::quantile(&pooled, 0.95);
        if p95.is_finite() {
            books.gauges.insert(gauge.to_string(), p95);
        }
    }
    for (sent, _) in all.iter().flatten() {
        books.offered += 1;
        books.ok += 1;
        let took = Duration::from_secs_f64(*sent);
        books.latency.record(took);
        books.attempt_latency.record(took);
    }
    r.books(books);
    Ok(())
}
