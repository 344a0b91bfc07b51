//! The trials: the pipeline under one kind of trouble, from nothing to the books.

use std::{path::Path, sync::PoisonError};

use lab_kit::prelude::*;
use rusqlite::Connection;
use tokio::{runtime::Runtime, time::sleep};

use super::{
    Hangs, Line, Params, gauges, in_batches, in_window, kill,
    log::Log,
    replay::Way,
    stages::Tools,
    store::{Books, Found, Options, Store, StoreError},
};

/// All items, from nothing to the books: one trial.
pub(super) async fn measured(
    r: &Recorder,
    p: &Params,
    tools: &Tools,
    service: &ServiceTime,
    way: Way,
) -> Result<()> {
    let upstream = r.upstream(p.spec(service.clone(), r.seed())).await?;
    let (state, store, found) = opened(r, p, Store::open)?;
    let line = Line::new(p, tools, upstream.url(), store, Log::of(r, true))?;
    r.connect(&line.http, &upstream, p.batch).await?;
    let start = Instant::now();
    match way {
        Way::Batches => in_batches(&line, &found.todo, p.batch).await?,
        Way::Window => in_window(&line, &found.todo, p.batch).await?,
    }
    finish(r, p, line, &upstream, state.as_ref(), start)
}

/// Every so many-th write is done and its answer never comes.
pub(super) async fn answers_lost(
    r: &Recorder,
    p: &Params,
    tools: &Tools,
    careful: bool,
) -> Result<()> {
    let upstream = steady(r, p).await?;
    let (state, store, found) = opened(r, p, Store::open)?;
    let line = Line {
        hangs: Hangs::After,
        careful,
        ..Line::new(p, tools, upstream.url(), store, Log::of(r, false))?
    };
    let start = Instant::now();
    in_window(&line, &found.todo, p.batch).await?;
    finish(r, p, line, &upstream, state.as_ref(), start)
}

/// A process of its own is killed and started again until all is done.
pub(super) fn killed(r: &Recorder, p: &Params, runtime: &Runtime) -> Result<()> {
    let upstream = runtime.block_on(steady(r, p))?;
    let state = r.folder()?;
    let books = kill::until_done(r, p, &upstream.url(), state.path())?;
    write_down(r, &books);
    if let Some(counters) = upstream.counters() {
        r.gauge(gauge::UPSTREAM_ARRIVED, counters.arrived as f64);
    }
    Ok(())
}

/// [`Store::open`] or [`Store::open_in_place`].
type Open = fn(&Path, usize, Options) -> Result<(Store, Found), StoreError>;

/// A state in a folder that lasts as long as the first of these.
fn opened(r: &Recorder, p: &Params, open: Open) -> Result<(impl AsRef<Path>, Store, Found)> {
    let state = r.folder()?;
    let (store, found) = open(state.path(), p.items, p.options())?;
    Ok((state, store, found))
}

/// An upstream that takes the same time for every item.
pub(super) async fn steady(r: &Recorder, p: &Params) -> Result<Service> {
    let constant = ServiceTime::Constant(p.fetch.duration());
    r.upstream(p.spec(constant, r.seed())).await
}

/// Another program holds the database locked from the beginning until a while after the first item
/// has been fetched. What becomes of the event loop?
pub(super) async fn locked(r: &Recorder, p: &Params, tools: &Tools, open: Open) -> Result<()> {
    let lasting = Params {
        items: 2 * p.batch,
        // Nothing is to time out here.
        store_timeout: Time::from(p.store_timeout.duration() + 10 * p.lock.duration()),
        busy: Time::from(p.busy.duration() + 10 * p.lock.duration()),
        ..p.calm()
    };
    let upstream = steady(r, &lasting).await?;
    let (state, store, found) = opened(r, &lasting, open)?;
    let state = state.as_ref();
    let line = Line::new(&lasting, tools, upstream.url(), store, Log::of(r, false))?;
    r.connect(&line.http, &upstream, p.batch).await?;

    let other = Connection::open(state.join("pipeline.db"))?;
    other.execute_batch("BEGIN IMMEDIATE")?;
    let hold = p.fetch.duration() + p.lock.duration();
    let holder = std::thread::spawn(move || {
        std::thread::sleep(hold);
        other.execute_batch("ROLLBACK")
    });
    let start = Instant::now();
    let heart = tokio::spawn(beat(r.clone(), p.beat.duration()));
    in_window(&line, &found.todo, p.batch).await?;
    heart.abort();
    let _ = holder.join();
    finish(r, &lasting, line, &upstream, state, start)
}

/// Everybody else on the event loop, as a task that only beats.
async fn beat(r: Recorder, every: Duration) {
    let (mut last, mut longest) = (Instant::now(), 0.0_f64);
    loop {
        sleep(every).await;
        let now = Instant::now();
        longest = longest.max((now - last).as_secs_f64());
        r.trace("beats", now, longest);
        r.gauge(gauges::LONGEST_GAP_S, longest);
        last = now;
    }
}

/// Closes the books of a trial: what the pipeline believes, beside what lies on the disk.
fn finish(
    r: &Recorder,
    p: &Params,
    line: Line,
    upstream: &Service,
    state: &Path,
    start: Instant,
) -> Result<()> {
    let wall = start.elapsed();
    line.store.close()?;
    write_down(r, &Books::read(state)?);
    r.gauge(gauge::STARTED_S, (start - r.origin()).as_secs_f64());
    let Log::Trial(_, told) = line.log else {
        return Ok(());
    };
    let told = told.into_inner().unwrap_or_else(PoisonError::into_inner);
    let mut trial = Trial {
        wall_s: wall.as_secs_f64(),
        offered: p.items as u64,
        ok: told.stored.len() as u64,
        failed: told.failures.values().sum(),
        failures: told.failures,
        ..Trial::default()
    };
    for (stage, seconds) in told.busy {
        r.gauge(gauges::BUSY_S.of(stage), seconds);
    }
    for took in told.stored {
        trial.latency.record(took);
        trial.attempt_latency.record(took);
    }
    let tally = Tally {
        goodput_per_s: trial.ok as f64 / trial.wall_s,
        attempts_per_s: trial.offered as f64 / trial.wall_s,
        sent: trial.offered,
        trial,
        ..Tally::default()
    };
    r.tally(tally, upstream)
}

/// What lies on the disk.
fn write_down(r: &Recorder, books: &Books) {
    for (name, count) in [
        (gauges::IN_DATABASE, books.in_database),
        (gauges::IN_FALLBACK, books.in_fallback),
        (gauges::BOOKS_FAILED, books.failed),
        (gauges::TWICE, books.twice.len()),
        (gauges::LOST, books.lost.len()),
    ] {
        r.gauge(name, count as f64);
    }
}
