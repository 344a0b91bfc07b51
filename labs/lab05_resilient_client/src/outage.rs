//! (b) An outage, and what comes after it.

use std::sync::{Arc, Mutex};

use lab_kit::prelude::*;
use mock_server::{Faults, Outage};

use super::calls::{books, call};
use super::plan::{BIN, LEAD, WINDOW};
use super::{Params, gauges, schedule};

/// (b) The service is down for a while, and a herd calls when that begins.
pub(super) async fn outage(r: Recorder, p: Arc<Params>, arm: &str, begin: Duration) -> Result<()> {
    let down =
        Outage { from: begin + LEAD, until: begin + LEAD + p.outage.duration(), status: 503 };
    let faults = Faults { outages: vec![down], ..Faults::default() };
    let service = r.upstream(p.spec(faults, r.seed())).await?;
    let (from, until) = {
        let origin = Instant::now();
        (origin + down.from, origin + down.until)
    };
    let pool = http::client();
    let arrivals = Arc::new(Mutex::new(Vec::new()));
    let seen = arrivals.clone();
    let client = p
        .client(arm)
        .seed(r.seed())
        .pool(pool.clone())
        .on_attempt(move |_| lock(&seen).push(Instant::now()))
        .build()?;
    r.connect(&pool, &service, p.limit).await?;
    tokio::time::sleep_until((from - LEAD).into()).await;

    let starts = p.starts();
    let schedule = starts.iter().map(|t| Duration::from_secs_f64(t + LEAD.as_secs_f64()));
    let saved = Arc::new(Mutex::new(0u32));
    let load = r.load();
    let load = load.scheduled(schedule.collect(), |i| {
        let inside = (0.0..p.outage.s()).contains(&starts[i]);
        let (call, saved) = (call(&client, service.url()), saved.clone());
        async move {
            let outcome = call.await;
            *lock(&saved) += u32::from(inside && outcome == Outcome::Ok);
            outcome
        }
    });
    let over = async {
        tokio::time::sleep_until(until.into()).await;
        client.stats()
    };
    let (load, at_the_end) = tokio::join!(load, over);

    let calls = starts.iter().filter(|t| (0.0..p.outage.s()).contains(*t)).count() as f64;
    let arrivals = std::mem::take(&mut *lock(&arrivals));
    let inside = arrivals.iter().filter(|at| (from..until).contains(*at)).count() as f64;
    r.gauge(gauges::DOWN_AT_S, (from - r.origin()).as_secs_f64());
    r.gauge(gauges::CALLS_IN_OUTAGE, calls);
    r.gauge(gauges::SAVED_IN_OUTAGE, f64::from(*lock(&saved)));
    r.gauge(gauges::SENT_IN_OUTAGE, inside);
    r.gauge(gauges::PROBES_IN_OUTAGE, at_the_end.probes as f64);
    r.gauge(gauges::OPENED_IN_OUTAGE, at_the_end.breaker_opened as f64);
    let since: Vec<f64> =
        arrivals.iter().map(|at| at.saturating_duration_since(from).as_secs_f64()).collect();
    let peak = schedule::peak(&since, p.outage.s(), WINDOW.as_secs_f64());
    r.gauge(gauges::COMEBACK_PEAK, peak as f64);
    histogram(&r, &arrivals, from - LEAD);
    books(&r, &client, &service);
    r.tally(load, &service)
}

/// Writes down how many of these instants lie in each stretch of time.
fn histogram(r: &Recorder, instants: &[Instant], from: Instant) {
    let mut counts: Vec<u32> = Vec::new();
    for at in instants {
        let bin = at.saturating_duration_since(from).div_duration_f64(BIN) as usize;
        counts.resize(counts.len().max(bin + 1), 0);
        counts[bin] += 1;
    }
    for (i, count) in counts.into_iter().enumerate() {
        r.trace("arrivals", from + BIN * i as u32, f64::from(count));
    }
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().expect("nobody panics holding it")
}
