//! What a trial of a condition is, whatever theory says of it.

use lab_kit::{
    accounts::{self, ensure},
    prelude::*,
};

use super::{
    Params,
    gauges::{ITEM_S, ITEMS, PER_S, WORKER_PER_S},
    plan::Work,
};

/// What timers may end early by.
const EARLY_S: f64 = 2e-3;

pub(super) fn premise(p: &Params, at: &Condition, t: &Trial) -> Result<(), String> {
    match at.series() {
        "pure" => pure(p, at.x(), t),
        "mixed" => mixed(t),
        "io" => line(at.x(), t),
        _ => line(p.io as f64, t),
    }
}

fn equal(what: &str, is: Option<f64>, due: f64) -> Result<(), String> {
    accounts::equal(what, is.unwrap_or(due), due)
}

/// Whole items, two windows of them or two for each worker.
fn pure(p: &Params, workers: f64, t: &Trial) -> Result<(), String> {
    let items = accounts::gauge(t, PER_S)? * t.wall_s;
    let least = 2.0 * workers;
    let most = least.max((2.0 * p.window.s() * workers / p.cost.s()).round());
    let whole = (items - items.round()).abs() < 1e-3;
    ensure(whole && (least..=most).contains(&items.round()), || {
        format!("{items:.3} items by rate and time, where {least} to {most} should be")
    })?;
    let took = accounts::gauge(t, ITEM_S)?;
    let least = match p.work {
        Work::Sleep => p.cost.s() - EARLY_S,
        Work::Spin => 0.0,
    };
    ensure(least < took && took <= t.wall_s * 1.001, || {
        format!("an item took {took:.4} s in {:.4} s", t.wall_s)
    })
}

/// Each worker takes four turns at least.
fn mixed(t: &Trial) -> Result<(), String> {
    let turns = accounts::gauge(t, WORKER_PER_S)? * t.wall_s;
    ensure(turns > 3.99, || format!("{turns:.2} turns of a worker"))
}

/// One item and whole rounds of fetches, all fetched and computed in this time.
fn line(fetches: f64, t: &Trial) -> Result<(), String> {
    let items = t.offered as f64;
    let rounds = (items - 1.0) / fetches;
    ensure(rounds >= 2.0 && rounds.fract() == 0.0, || {
        format!("{items} items are no whole rounds of {fetches} fetches")
    })?;
    equal("computed items", t.gauge(ITEMS), items)?;
    equal("requests", t.gauge(gauge::UPSTREAM_ARRIVED), items)?;
    // All are counted from the start to the end.
    let mean = t.attempt_latency.mean_s().unwrap_or_default();
    ensure((mean - t.wall_s).abs() <= 0.02 * t.wall_s, || {
        format!("items took {mean:.3} s, and all of them {:.3} s", t.wall_s)
    })?;
    let computing = (items - 1.0) / accounts::gauge(t, PER_S)?;
    ensure(0.0 < computing && computing <= t.wall_s, || {
        format!("{computing:.3} s from the first item to the last, of {:.3} s", t.wall_s)
    })
}
