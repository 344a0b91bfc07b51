//! One trial: the service, the program, and what the books say when it has ended.

use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use lab_kit::{prelude::*, record::Latency, stop::Stop};
use mock_server::{Entry, MAX_LEDGER, Upstream, books};

use crate::{
    asked::Asked,
    brief::Brief,
    findings, gauges, program,
    reading::{self, AT_ONCE, Items},
    relay::Relay,
};

/// The service is given as much time to notice that a program has gone.
const SETTLE: Duration = Duration::from_millis(50);
/// Most steps of what was in flight that are kept.
const STEPS: usize = 400;
/// Most items whose attempts are kept one by one.
const SHOWN: usize = 24;

/// Starts a service and the program, waits for its end and reads the books.
///
/// # Errors
/// When the program cannot be started, has to be stopped, or asked for nothing.
pub(crate) async fn run<B: Brief>(r: &Recorder, asked: &Asked, stop: &Stop) -> Result<()> {
    let spec = Spec { ledger: MAX_LEDGER, ..B::spec(asked, r.seed()) };
    let upstream = Upstream::start(spec).await.context("the service did not start")?;
    let opened = Instant::now();
    let relay = Relay::to(upstream.address()).context("the relay did not start")?;
    let begun = Instant::now();
    let Some(ended) = program::run::<B>(asked, &relay.url(), stop).await? else {
        return Ok(());
    };
    let took = begun.elapsed();
    tokio::time::sleep(SETTLE).await;
    let ledger = upstream.ledger();
    if ledger.is_empty() {
        bail!("the program asked for nothing{}", ended.last_words());
    }
    if ledger.len() == MAX_LEDGER {
        bail!("the program asked {MAX_LEDGER} times and more: the books are full");
    }
    let timeout = asked.gives_up::<B>();
    let all = reading::ended(&ledger, timeout);
    let items = Items::of(&ledger, &B::items(asked), timeout);
    r.books(accounts(&items, &all));
    for (gauge, value) in figures::<B>(asked, &ledger, &all, &items) {
        r.gauge(gauge, value);
    }
    for (gauge, value) in B::read(asked, &ledger) {
        r.gauge(gauge, value);
    }
    r.gauge(gauges::CONNECTIONS, relay.connections().opened() as f64);
    r.gauge(gauges::CONNECTIONS_MAX, relay.connections().most() as f64);
    r.gauge(gauges::EXIT_CODE, f64::from(ended.code));
    r.gauge(gauges::PROGRAM_S, took.as_secs_f64());
    let first = all.iter().map(|entry| entry.arrived).min().unwrap_or_default();
    r.gauge(gauge::STARTED_S, (opened + first).saturating_duration_since(r.origin()).as_secs_f64());
    for part in B::LIMITED {
        let below = reading::below(&all, part);
        r.gauge(gauges::most_at(part), books::most_in_flight(&below) as f64);
        for (at, n) in reading::in_flight(&below, STEPS) {
            r.trace(&findings::in_flight_at(part), opened + at, n as f64);
        }
    }
    for (lane, name, entry) in shown(&items) {
        let end = reading::end(entry, timeout);
        r.span(&lane, &name, opened + entry.arrived, opened + end);
    }
    drop(relay);
    upstream.shutdown().await;
    Ok(())
}

/// What became of each item: its last attempt says so, unless one was answered.
fn accounts(items: &Items, all: &[Entry]) -> Trial {
    let mut trial = Trial {
        wall_s: reading::makespan(all).as_secs_f64().max(1e-6),
        offered: items.wanted as u64,
        never_sent: items.missed() as u64,
        latency: Latency::new(),
        ..Trial::default()
    };
    for tries in items.tries.values() {
        let first = tries.first().map_or(Duration::ZERO, |entry| entry.arrived);
        let answer = tries.iter().find(|entry| reading::is_answer(entry));
        if let Some(left) = answer.and_then(|answer| answer.left) {
            trial.ok += 1;
            trial.latency.record(left - first);
            continue;
        }
        match tries.last() {
            Some(last) if last.abandoned || last.left.is_none() => trial.timed_out += 1,
            Some(last) if matches!(last.status, 429 | 503) => trial.rejected += 1,
            last => {
                trial.failed += 1;
                let status = last.map_or(0, |last| last.status);
                let kind = if status == 0 { "cut".into() } else { format!("status {status}") };
                *trial.failures.entry(kind).or_default() += 1;
            }
        }
    }
    trial
}

/// What every judgement reads.
fn figures<B: Brief>(
    asked: &Asked,
    ledger: &[Entry],
    all: &[Entry],
    items: &Items,
) -> Vec<(Gauge, f64)> {
    let timeout = asked.timeout.duration();
    let retries = items.retries();
    let failed =
        |entry: &Entry| reading::is_told(entry) && entry.status != 404 && entry.status >= 400;
    let after_failure = || retries.iter().filter(|retry| failed(retry.after));
    let at_once = asked.backoff.duration().mul_f64(AT_ONCE);
    let second = || after_failure().filter(|r| r.nth == 2 && r.after.retry_after.is_none());
    let is_gone = |entry: &&&Entry| entry.status == 404 && reading::is_told(entry);
    let gone = |tries: &Vec<&Entry>| tries.iter().filter(is_gone).count();
    let gone: Vec<usize> = items.tries.values().map(gone).filter(|gone| *gone > 0).collect();
    let given_up = ledger.iter().filter(|entry| entry.abandoned).count();
    let stay = |entry: &Entry| entry.left.map_or(Duration::MAX, |left| left - entry.arrived);
    let is_waited_on = |entry: &&Entry| !entry.abandoned && stay(entry) > 4 * timeout;
    let known = ledger.iter().filter(|entry| B::knows(asked, entry)).count();
    let stray = ledger.len() - items.attempts() - known;
    [
        (gauges::MISSED, items.missed()),
        (gauges::AGAIN, items.again()),
        (gauges::ANSWERED, items.answered()),
        (gauges::TRIES_MAX, items.most_tries()),
        (gauges::STRAY, stray),
        (gauges::REQUESTS, ledger.len()),
        (gauges::AT_SERVICE_MAX, books::most_in_flight(all)),
        (gauges::FOUND_EMPTY, books::found_empty(all)),
        (gauges::GIVEN_UP, given_up),
        (gauges::WAITED_ON, ledger.iter().filter(is_waited_on).count()),
        (gauges::RETRIES, after_failure().count()),
        (gauges::AT_ONCE, after_failure().filter(|retry| retry.wait < at_once).count()),
        (gauges::SECOND_WAITS, second().count()),
        (gauges::EARLY, retries.iter().filter(|retry| retry.is_early()).count()),
        (gauges::GONE, gone.len()),
        (gauges::GONE_AGAIN, gone.iter().map(|gone| gone - 1).sum()),
    ]
    .map(|(gauge, count)| (gauge, count as f64))
    .into_iter()
    .chain([
        (gauges::AT_SERVICE_MEAN, reading::mean_in_flight(all, reading::last_end(all))),
        (gauges::UNTIL_BEGUN_MEAN, reading::mean_in_flight(all, items.all_begun())),
        (gauges::SECOND_WAITS_S, second().map(|retry| retry.wait.as_secs_f64()).sum()),
    ])
    .collect()
}

/// The attempts that a chart shows one by one: those of items that took several, or of the first.
fn shown<'a>(items: &Items<'a>) -> Vec<(String, String, &'a Entry)> {
    let mut chosen: Vec<(&usize, &Vec<&Entry>)> = items.tries.iter().collect();
    chosen.sort_by_key(|(item, tries)| (tries.len() == 1, **item));
    chosen.truncate(SHOWN);
    let mut spans = Vec::new();
    for (_, tries) in chosen {
        for entry in tries {
            let name = match (entry.abandoned || entry.left.is_none(), entry.status) {
                (true, _) => "given up".to_owned(),
                (false, 0) => "cut".to_owned(),
                (false, status) => status.to_string(),
            };
            spans.push((reading::path(entry).to_owned(), name, *entry));
        }
    }
    spans
}
