//! Many answers side by side, from services with a slow tail.

use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering::Relaxed},
};

use anyhow::ensure;
use futures_util::future::join_all;
use lab_kit::prelude::*;
use mock_server::{Faults, MAX_SLOTS, Tail};

use super::{answer::no_answer, fetch, gauges, hedged};

/// Clients that ask for answers of three fetches, one answer after another.
#[derive(Clone, Copy)]
pub(super) struct Asked {
    pub(super) clients: usize,
    pub(super) answers: usize,
    pub(super) usual: Duration,
    pub(super) tail: Tail,
    pub(super) slow_from: Duration,
}

pub(super) async fn ask(r: Recorder, asked: Asked, hedge_after: Option<Duration>) -> Result<()> {
    let spec = Spec {
        seed: r.seed(),
        faults: Faults { tail: Some(asked.tail), ..Faults::default() },
        ..Spec::new(MAX_SLOTS, ServiceTime::Constant(asked.usual))
    };
    let (service, client) = r.connected(spec, 3 * asked.clients).await?;
    let url = service.url();
    let (books, load, silent) = (r.clone(), r.load(), Arc::new(AtomicBool::new(false)));
    let heard_nothing = silent.clone();
    let one_answer = move |_| {
        let (r, client, url) = (books.clone(), client.clone(), url.clone());
        let silent = heard_nothing.clone();
        let source = async move || {
            let start = Instant::now();
            let outcome = match hedge_after {
                None => fetch(&client, &url).await,
                Some(after) => hedged(&client, &url, after).await,
            };
            (outcome, start.elapsed() >= asked.slow_from)
        };
        async move {
            if silent.load(Relaxed) {
                return Outcome::TimedOut;
            }
            let parts = join_all([source(), source(), source()]).await;
            let nothing = |(outcome, _): &(Outcome, bool)| *outcome == Outcome::TimedOut;
            silent.fetch_or(parts.iter().any(nothing), Relaxed);
            let slow = parts.iter().filter(|(_, slow)| *slow).count();
            r.sample(gauges::SLOW_FETCHES, slow as f64 / 3.0);
            r.sample(gauges::SLOW_ANSWERS, f64::from(slow > 0));
            let bad = parts.iter().find(|(outcome, _)| *outcome != Outcome::Ok);
            bad.map_or(Outcome::Ok, |(outcome, _)| *outcome)
        }
    };
    let load = load.shared(asked.clients, asked.answers, asked.usual, one_answer);
    let tally = load.await;
    ensure!(!silent.load(Relaxed), no_answer(&service));
    r.tally(tally, &service)
}
