//! Many keys of one age, before one upstream.

use lab_kit::prelude::*;
use rand::{RngExt, SeedableRng};
use rand_pcg::Pcg64Mcg;

use super::{Params, alike, gauges, hot, jittered, one_asks, store::Key};

/// From the beginning of the load to the end of the first values.
pub(super) const LEAD: Duration = Duration::from_millis(100);

/// Width of the bins of what is drawn.
pub(super) const BIN_S: f64 = 0.05;

/// Keys whose values end together, or spread.
#[derive(Clone, Copy, Debug)]
pub(super) struct Rush {
    pub(super) keys: usize,
    pub(super) rate: f64,
    pub(super) window: Duration,
    spread: Option<Duration>,
}

impl Rush {
    pub(super) fn new(p: &Params, spreads: bool) -> Rush {
        let jitter = p.jitter.duration();
        // The last ones may have to wait for somebody who asks.
        let after = Duration::from_secs_f64(6.0 / p.key_rate);
        let recovery = Duration::from_secs_f64(p.same_age().recovery());
        let window = LEAD + jitter.max(recovery) + after + 2 * p.service.duration();
        Rush { keys: p.keys, rate: p.key_rate, window, spread: spreads.then_some(jitter) }
    }

    pub(super) fn series(&self) -> &'static str {
        if self.spread.is_some() { "jittered" } else { "together" }
    }

    /// Requests for the keys, about.
    pub(super) fn asks(&self) -> f64 {
        self.keys as f64 * self.rate * self.window.as_secs_f64()
    }
}

/// Runs it, and writes down what came of it.
pub(super) async fn run(r: Recorder, spec: Spec, timeout: Duration, rush: Rush) -> Result<()> {
    let service = r.upstream(spec).await?;
    let client = http::builder().timeout(timeout).build()?;
    r.connect(&client, &service, rush.keys.min(150)).await?;
    // Not the numbers that the gaps between arrivals are made of.
    let mut rng = Pcg64Mcg::seed_from_u64(!r.seed());
    let open = Open { rate: 1.0, poisson: true, window: rush.window, seed: r.seed() };
    let rate = rush.rate * rush.keys as f64;
    let schedule = Open { rate, ..open }.arrivals();
    let whose: Vec<usize> = schedule.iter().map(|_| rng.random_range(0..rush.keys)).collect();
    let pool = hot::pool(rush.keys);
    let begin = Instant::now();
    let keys: Vec<Key> = (0..rush.keys)
        .map(|i| {
            let url = format!("{}/0", service.url());
            // Once they are there again values live to the end.
            let key = Key::new(i, (&client, &pool), url, 10 * rush.window, r.seed());
            let lives = match rush.spread {
                None => alike(LEAD),
                Some(spread) => jittered(LEAD, spread, rng.random()),
            };
            key.store(begin + lives, Duration::ZERO);
            key
        })
        .collect();
    let load = r.load();
    let load = load.scheduled(schedule, |i| {
        let key = keys[whose[i]].clone();
        async move {
            let at = Instant::now();
            let got = one_asks(&key).await;
            key.note(at, &got)
        }
    });
    let load = load.await;
    r.gauge(gauge::STARTED_S, (begin - r.origin()).as_secs_f64());
    write(&r, begin, &keys);
    r.tally(load, &service)
}

fn write(r: &Recorder, begin: Instant, keys: &[Key]) {
    let mut last = begin + LEAD;
    let mut bins: Vec<(f64, f64)> = Vec::new();
    let mut requests = 0;
    for key in keys {
        let (asked, _) = key.log();
        requests += asked.len();
        for one in asked {
            let bin = ((one.start - begin).as_secs_f64() / BIN_S) as usize;
            if bins.len() <= bin {
                bins.resize(bin + 1, (0.0, 0.0));
            }
            bins[bin].0 += 1.0;
            if one.outcome == Outcome::Ok {
                last = one.end.max(last);
            } else {
                bins[bin].1 += 1.0;
            }
        }
    }
    r.gauge(gauges::KEYS, keys.len() as f64);
    r.gauge(gauges::REQUESTS, requests as f64);
    r.gauge(gauges::RECOVERY_S, (last - begin - LEAD).as_secs_f64());
    for (bin, (asked, failed)) in bins.into_iter().enumerate() {
        let at = begin + Duration::from_secs_f64((bin as f64 + 0.5) * BIN_S);
        r.trace("requests", at, asked / BIN_S);
        r.trace("refused", at, failed / BIN_S);
    }
}

/// Their upstream.
pub(super) fn spec(p: &Params) -> Spec {
    hot::spec(p, 1)
}
