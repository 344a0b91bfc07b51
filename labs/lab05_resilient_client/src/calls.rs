//! One call and what became of it; all calls in the client's books.

use lab_kit::{load::Failure, prelude::*};
use lab_parts::client::{Client, FetchError, Kind, Request};

use super::gauges;

/// One call, and what became of it.
pub(super) fn call(client: &Client, url: String) -> impl Future<Output = Outcome> + Send + use<> {
    let client = client.clone();
    async move {
        match client.fetch(Request::get(url)).await {
            Ok(body) => Outcome::of(Ok(body)),
            Err(error) => fate(&error),
        }
    }
}

fn fate(error: &FetchError) -> Outcome {
    match error.kind {
        Kind::Status(code) => Outcome::of_status(code),
        Kind::Timeout => Outcome::TimedOut,
        Kind::TooLarge => Outcome::Failed(Failure::TooLarge),
        Kind::Connect => Outcome::Failed(Failure::Connect),
        Kind::Broken => Outcome::Failed(Failure::Broken),
        _ => Outcome::Failed(Failure::Other),
    }
}

/// Writes down the client's books beside the service's.
pub(super) fn books(r: &Recorder, client: &Client, service: &Service) {
    let stats = client.stats();
    let arrived = service.counters().map_or(f64::NAN, |c| c.arrived as f64);
    for (name, value) in [
        (gauges::CALLS, stats.calls as f64),
        (gauges::CALLS_OK, stats.ok as f64),
        (gauges::ATTEMPTS, stats.attempts as f64),
        (gauges::RETRIES, stats.retries as f64),
        (gauges::ATTEMPT_MEAN_S, stats.attempt_time.as_secs_f64() / stats.attempts as f64),
        (gauges::UNSENT, stats.unsent as f64),
        (gauges::PROBES, stats.probes as f64),
        (gauges::BREAKER_OPENED, stats.breaker_opened as f64),
        (gauges::ARRIVED, arrived),
    ] {
        r.gauge(name, value);
    }
}
