//! The service of a trial, who asks it, and for how long.

use std::sync::Arc;

use lab_kit::prelude::*;
use mock_server::{Change, MAX_LEDGER, Quota};
use rand::{RngExt, SeedableRng};
use rand_pcg::Pcg64Mcg;
use tokio::{sync::Mutex, time::timeout_at};

use super::{Bucket, api::Api, books, gauges, in_turn, one_line, plan::Params};

/// Steps over which requests are counted in each part, for the charts.
const STEPS: f64 = 15.0;

/// The service of a trial.
#[derive(Clone, Copy)]
pub(super) struct World {
    pub(super) quota: Quota,
    pub(super) before: Duration,
    pub(super) after: Duration,
    pub(super) pause: Duration,
    pub(super) window: Duration,
    phase: Duration,
    clients: usize,
}

impl World {
    pub(super) fn of(p: &Params) -> World {
        World {
            quota: p.quota(),
            before: p.before.duration(),
            after: p.after.duration(),
            pause: p.pause.duration(),
            window: p.window.duration(),
            phase: p.phase.duration(),
            clients: p.clients,
        }
    }

    /// The same, but the service remains as slow as it is at first: what the tenants share.
    pub(super) fn steady(self) -> World {
        World { after: self.before, ..self }
    }

    /// Slots for all, so that nobody waits for one.
    pub(super) fn spec(&self) -> Spec {
        Spec {
            quota: Some(self.quota),
            change: Some(Change { after: self.phase, service: ServiceTime::Constant(self.after) }),
            retry_after: self.pause,
            ledger: MAX_LEDGER,
            ..Spec::new(2 * self.clients, ServiceTime::Constant(self.before))
        }
    }

    /// What the clients' bucket is: the same rate, half of the burst.
    pub(super) fn client_quota(&self) -> Quota {
        Quota { burst: (self.quota.burst / 2).max(1), ..self.quota }
    }

    /// Requests that a client counts in each window.
    pub(super) fn per_window(&self) -> usize {
        (self.quota.per_s * self.window.as_secs_f64()) as usize
    }

    /// Seconds of a trial.
    pub(super) fn lasts(&self) -> f64 {
        2.0 * self.phase.as_secs_f64()
    }

    /// Seconds that a request takes which comes so long after the first.
    pub(super) fn takes(&self, at: f64) -> f64 {
        if at < self.phase.as_secs_f64() { self.before } else { self.after }.as_secs_f64()
    }

    /// Seconds of a step of the charts.
    pub(super) fn step(&self) -> f64 {
        self.phase.as_secs_f64() / STEPS
    }

    /// Until the start is forgotten: two rounds of service, and four of pauses.
    pub(super) fn settles(&self) -> f64 {
        let takes = self.before.max(self.after);
        (2.0 * takes.as_secs_f64()).max(4.0 * self.pause.as_secs_f64())
    }

    /// What is looked at in each part, in seconds from the first arrival: as many whole windows as there are, once
    /// the part has settled.
    pub(super) fn looks(&self) -> [(f64, f64); 2] {
        let (phase, window) = (self.phase.as_secs_f64(), self.window.as_secs_f64());
        let room = phase - self.settles();
        let long = ((room / window + 1e-9).floor() * window).max(0.0);
        [phase, 2.0 * phase].map(|end| (end - long, end))
    }
}

/// Clients that always have something to ask for, each held back in the same way, which begins when they do.
pub(super) async fn saturated<F, Fut>(
    r: Recorder,
    world: World,
    (clients, connections): (usize, usize),
    way: impl FnOnce() -> F,
) -> Result<()>
where
    F: Fn(Api) -> Fut + Clone + Send + 'static,
    Fut: Future<Output = Outcome> + Send + 'static,
{
    let (service, client) = r.connected(world.spec(), connections).await?;
    let api = Api::new(client, service.url(), r.seed());
    let lasts = Duration::from_secs_f64(world.lasts());
    let (end, way) = ((Instant::now() + lasts).into(), way());
    let plan = Closed { clients, window: lasts, ..Closed::default() };
    let load = r.load();
    let load = load.closed(plan, move |_| {
        let request = way(api.clone());
        // Who waits for a turn when the time is over goes home.
        async move { timeout_at(end, request).await.unwrap_or(Outcome::Aborted) }
    });
    let load = load.await;
    books::write_down(&r, &service, &world);
    r.tally(load, &service)
}

/// Two tenants of one bucket.
#[derive(Clone, Copy)]
pub(super) struct Tenants {
    /// Clients of the greedy one, which ask again as soon as they are answered.
    pub(super) greedy: usize,
    /// Requests a second of the modest one, which come by themselves.
    pub(super) modest: f64,
    /// One place in the line for each, or one line for all.
    pub(super) is_fair: bool,
}

impl Tenants {
    /// Instants of the modest one's requests: each somewhere in the first half of its own stretch of time, so that
    /// no two meet and none keeps step with the bucket.
    fn arrivals(&self, lasts: Duration, seed: u64) -> Vec<Duration> {
        let mut chance = Pcg64Mcg::seed_from_u64(seed);
        let n = (lasts.as_secs_f64() * self.modest).floor() as u32;
        let at = |i| (f64::from(i) + 0.5 * chance.random::<f64>()) / self.modest;
        (0..n).map(at).map(Duration::from_secs_f64).collect()
    }
}

/// Whether the clients of a condition are the tenants', who share one bucket.
pub(super) fn is_shared(series: &str) -> bool {
    ["one line", "in turn"].contains(&series)
}

/// What the tenants share, and a place in the line for each.
struct Shared {
    bucket: Bucket,
    places: [Mutex<()>; 2],
    is_fair: bool,
    api: Api,
}

impl Shared {
    /// Waits for a token, asks, and says how long the token took.
    async fn ask(&self, tenant: usize) -> (Duration, Outcome) {
        let came = Instant::now();
        loop {
            match self.is_fair {
                true => in_turn(&self.bucket, &self.places[tenant]).await,
                false => one_line(&self.bucket).await,
            }
            let waited = came.elapsed();
            if let Some(outcome) = self.api.ask().await.settled().await {
                return (waited, outcome);
            }
        }
    }
}

/// Two tenants before one service.
pub(super) async fn shared(r: Recorder, world: World, t: Tenants) -> Result<()> {
    let (service, client) = r.connected(world.spec(), t.greedy).await?;
    let shared = Arc::new(Shared {
        bucket: Bucket::of(world.client_quota()),
        places: Default::default(),
        is_fair: t.is_fair,
        api: Api::new(client, service.url(), r.seed()),
    });
    let (begin, lasts) = (Instant::now(), Duration::from_secs_f64(world.lasts()));
    let (end, settled) = (begin + lasts, begin + Duration::from_secs_f64(world.settles()));
    let asks = move |shared: &Arc<Shared>, tenant: usize| {
        let shared = shared.clone();
        async move { timeout_at(end.into(), shared.ask(tenant)).await }
    };
    let load = r.load();
    let plan = Closed { clients: t.greedy, window: lasts, ..Closed::default() };
    let (greedy, modest) = (shared.clone(), shared);
    let greedy = load.closed(plan, move |_| {
        let asked = asks(&greedy, 0);
        async move { asked.await.map_or(Outcome::Aborted, |(_, outcome)| outcome) }
    });
    let modest = load.scheduled(t.arrivals(lasts, r.seed()), |_| {
        let (asked, came, r) = (asks(&modest, 1), Instant::now(), r.clone());
        async move {
            let Ok((waited, outcome)) = asked.await else { return Outcome::Aborted };
            if came >= settled {
                r.sample(gauges::MODEST_WAIT_S, waited.as_secs_f64());
            }
            outcome
        }
    });
    let (greedy, modest) = tokio::join!(greedy, modest);
    books::write_down(&r, &service, &world);
    r.gauge(gauges::MODEST, modest.trial.ok as f64);
    r.tally(greedy, &service)
}
