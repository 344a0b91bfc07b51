//! What a trial of a condition is, whatever theory says of it.

use std::fmt;

use lab_kit::{
    accounts::{ensure, equal, gauge},
    prelude::*,
};

use super::{Params, gauges, learnt::HELD_OUT, model::held, watch::MIDDLE};

/// Rounding of what is written down, as a share.
const HAIR: f64 = 1e-3;
/// What timers may end early by, as a share.
const EARLY: f64 = 0.95;
/// How far chance may move a count of a shop: standard deviations.
const CHANCE: f64 = 8.0;
/// Bytes that a page may lack of its length.
const LACKS: f64 = 100.0;
/// Bytes of what is on a page, with room.
const CONTENT: f64 = 8192.0;
/// Answers that take longer are seen by whoever looks now and then.
const LONG_S: f64 = 5e-3;
/// So many pages are not stored between two looks.
const MANY: f64 = 1000.0;
/// How much less than calibrated a computation may cost: processors change their clock.
const QUICKER: f64 = 5.0;

pub(super) fn premise(p: &Params, at: &Condition, t: &Trial) -> Result<(), String> {
    match at.series() {
        "crawl" => {
            shop(p, at.x() as usize, t)?;
            answers(p, t)?;
            busy(p, t)?;
            in_hand(p, t)?;
            over_time(p, t)
        }
        "killed" => {
            shop(p, p.killed_products, t)?;
            killed(t)
        }
        "limit" => limited(p, at.x(), t),
        "put/blocking" | "put/awaited" => stuck(p, t),
        "learnt" => learnt(t, HELD_OUT as f64),
        series if series.starts_with("session/") => fetched(p, p.sessions as f64, t),
        _ => backlog(p, at.x(), t),
    }
}

fn at_most(what: impl fmt::Display, is: f64, most: f64) -> Result<(), String> {
    ensure(is <= most * (1.0 + HAIR), || format!("{what} is {is}, and {most} at most"))
}

/// What is said twice.
fn alike(what: impl fmt::Display, is: f64, due: f64) -> Result<(), String> {
    ensure((is - due).abs() <= HAIR * due.abs() + 1e-6, || {
        format!("{what} is {is}, and by other gauges {due}")
    })
}

/// The shop is one of those that were asked for: its seed decides only what is left to chance.
fn shop(p: &Params, products: usize, t: &Trial) -> Result<(), String> {
    let of = |name: Gauge| gauge(t, name);
    let due = p.site(0, products).census();
    let (n, pages) = (of(gauges::CENSUS_PRODUCTS)?, of(gauges::CENSUS_PAGES)?);
    let others = (due.pages - due.products) as f64;
    equal("pages that are no products", pages - n, others)?;
    let near = |what: &str, is: f64, due: f64| {
        ensure((is - due).abs() <= CHANCE * (due + 1.0).sqrt(), || {
            format!("{is} {what}, where about {due} should be")
        })
    };
    let all = products as f64;
    near("products withdrawn", all - n, all - due.products as f64)?;
    near("broken links", of(gauges::CENSUS_BROKEN)?, due.broken as f64)?;
    let price = due.price_cents as f64 / due.products.max(1) as f64;
    let prices = of(gauges::CENSUS_CENTS)? / price.max(1.0);
    // A few prices have no mean.
    ensure(n < 100.0 || (prices - n).abs() <= CHANCE * n.sqrt(), || {
        format!("{prices:.0} prices of {n} products")
    })?;
    learnt(t, of(gauges::PRODUCTS)?)
}

fn learnt(t: &Trial, products: f64) -> Result<(), String> {
    let (classified, right) = (gauge(t, gauges::CLASSIFIED)?, gauge(t, gauges::RIGHT)?);
    equal("products classified", classified, products)?;
    at_most(gauges::RIGHT, right, classified)
}

/// What came back to the client is what the host counted; one that runs elsewhere does not say.
fn answers(p: &Params, t: &Trial) -> Result<(), String> {
    let of = |name: Gauge| gauge(t, name);
    let attempts = of(gauges::ATTEMPTS)?;
    at_most("pages and dead letters", of(gauges::PAGES)? + of(gauges::DEAD)?, attempts)?;
    let least = of(gauges::PAGES)? * (p.page.f() - LACKS);
    at_most("the length of the pages", least, of(gauges::FETCHED_BYTES)?)?;
    let Some(arrived) = t.gauge(gauge::UPSTREAM_ARRIVED) else {
        return Ok(());
    };
    at_most("answers 429", of(gauges::BUSY_ANSWERS)?, of(gauges::UPSTREAM_FAULTED)?)?;
    let before = arrived - attempts;
    let learnt = (p.samples + 1) as f64;
    ensure(before >= learnt - 0.5, || {
        format!("{arrived} requests came of {attempts} and {learnt} before")
    })?;
    let answer = p.fetch.s() * of(gauges::CENSUS_FACTOR)?;
    at_most("an answer", EARLY * answer, of(gauges::ATTEMPT_S)?)?;
    // What takes longer than a look is there when it is looked at.
    let seen = of(gauge::IN_FLIGHT_MEAN)? / 2.0;
    match t.gauge(gauges::HOST_MOST) {
        Some(most) if p.fetch.s() > LONG_S => at_most("what the host had", seen, most),
        _ => Ok(()),
    }
}

/// Shares of the time are the work done in it.
fn busy(p: &Params, t: &Trial) -> Result<(), String> {
    let of = |name: Gauge| gauge(t, name);
    let (limit, pages) = (p.limit as f64, of(gauges::PAGES)?);
    for (name, width, work) in [
        (gauges::HOST_BUSY, limit, of(gauges::ATTEMPTS)? * of(gauges::ATTEMPT_S)?),
        (gauges::THREADS_BUSY, p.workers as f64, of(gauges::COMPUTING_S)? * pages),
        (gauges::WRITER_BUSY, 1.0, of(gauges::WRITING_S)? * pages),
    ] {
        alike(name, of(name)?, work / (width * t.wall_s))?;
        at_most(name, of(name)?, 1.0 + 0.02)?;
    }
    let most = t.trace("in_flight").iter().map(|(_, n)| *n);
    at_most("in flight", most.fold(of(gauge::IN_FLIGHT_MEAN)?, f64::max), limit)?;
    // It was looked at while pages waited as well.
    let wanted = t.gauge(gauges::HOST_BUSY_WANTED).unwrap_or(0.0) * of(gauges::WANTED_SHARE)?;
    at_most("in flight while pages waited", wanted * limit, of(gauge::IN_FLIGHT_MEAN)?)
}

/// What a crawl has in hand is bounded, and nothing is above its peak.
fn in_hand(p: &Params, t: &Trial) -> Result<(), String> {
    let of = |name: Gauge| gauge(t, name);
    let highest = |name: &str| t.trace(name).iter().map(|(_, v)| *v).fold(0.0, f64::max);
    at_most("tasks in hand", of(gauges::UNDER_WAY_MAX)?, held(p) as f64)?;
    for (name, most) in [
        (gauges::UNDER_WAY_MEAN, gauges::UNDER_WAY_MAX),
        (gauges::HEAP_IDLE_BYTES, gauges::HEAP_PEAK_BYTES),
        (gauges::HEAP_MEAN_BYTES, gauges::HEAP_PEAK_BYTES),
        (gauges::HEAP_LEFT_BYTES, gauges::HEAP_PEAK_BYTES),
    ] {
        at_most(name, of(name)?, of(most)?)?;
    }
    let wanted = t.gauge(gauges::HEAP_WANTED_BYTES).unwrap_or(0.0);
    at_most("the heap", wanted.max(highest("heap")), of(gauges::HEAP_PEAK_BYTES)?)?;
    at_most("tasks in hand", highest("under_way"), of(gauges::UNDER_WAY_MAX)?)
}

/// Pages were stored within the crawl, in its middle at the rate that is said.
fn over_time(p: &Params, t: &Trial) -> Result<(), String> {
    let (stored, pages) = (t.trace("stored"), gauge(t, gauges::PAGES)?);
    let rises = |pair: &[(f64, f64)]| pair[0].0 <= pair[1].0 && pair[0].1 <= pair[1].1;
    ensure(stored.windows(2).all(rises), || "what was stored is gone".into())?;
    let last = stored.last().copied().unwrap_or_default();
    at_most("stored", last.1, pages)?;
    let ended = t.started_s() + t.wall_s;
    at_most("the last look", last.0, ended + p.fetch.s())?;
    // A look that is not in the trace was between two that are.
    let reached = MIDDLE.map(|share| stored.iter().position(|(_, n)| *n >= share * pages));
    let ([Some(i), Some(j)], Some(rate)) = (reached, t.gauge(gauges::MIDDLE_PER_S)) else {
        return ensure(pages < MANY, || format!("{} of {pages} pages were seen", last.1));
    };
    let (from, to) = (stored[i], stored[j]);
    let (before, until) = (stored[i.saturating_sub(1)], stored[j.saturating_sub(1)]);
    let least = (MIDDLE[1] * pages - from.1) / (to.0 - before.0);
    let most = (to.1 - MIDDLE[0] * pages) / (until.0 - from.0).max(1e-9);
    ensure(rate >= least * (1.0 - HAIR) && rate <= most * (1.0 + HAIR), || {
        let what = gauges::MIDDLE_PER_S;
        format!("{what} is {rate:.1}, and of the looks {least:.1} to {most:.1}")
    })
}

/// It was killed, and each page was fetched once at the least.
fn killed(t: &Trial) -> Result<(), String> {
    let of = |name: Gauge| gauge(t, name);
    let kills = of(gauges::KILLS)?;
    ensure(kills >= 1.0, || "nothing was killed".into())?;
    equal("kills", kills, t.trace("killed").len() as f64)?;
    let arrived = t.gauge(gauge::UPSTREAM_ARRIVED).unwrap_or(f64::INFINITY);
    at_most(
        "pages and broken links",
        of(gauges::CENSUS_PAGES)? + of(gauges::CENSUS_BROKEN)?,
        arrived,
    )
}

fn limited(p: &Params, limit: f64, t: &Trial) -> Result<(), String> {
    let of = |name: Gauge| gauge(t, name);
    equal("pages", of(gauges::PAGES)?, p.listed as f64)?;
    let computing = of(gauges::COMPUTING_S)?;
    alike(gauges::THREADS_BUSY, of(gauges::THREADS_BUSY)?, computing * p.listed as f64 / t.wall_s)?;
    at_most("the thread's share", of(gauges::THREADS_BUSY)?, 1.0 + 0.02)?;
    at_most(format!("the share of {limit}"), of(gauges::HOST_BUSY)?, 1.0 + 0.02)?;
    at_most("a computation", p.burden.s() / QUICKER, computing)
}

/// The reader was stuck, read all in the end, and the beats are those of the longest gap.
fn stuck(p: &Params, t: &Trial) -> Result<(), String> {
    equal("pages", gauge(t, gauges::PAGES)?, (2 * p.limit) as f64)?;
    ensure(t.wall_s >= p.stall.s(), || {
        format!("{:.3} s, and the reader is stuck for {}", t.wall_s, p.stall)
    })?;
    let beats = t.trace("beats");
    let gaps = beats.windows(2).map(|pair| pair[1].0 - pair[0].0);
    let first = beats.first().map_or(0.0, |(_, gap)| *gap);
    let last = beats.last().copied().unwrap_or_default();
    at_most("the last beat", last.0, t.started_s() + t.wall_s + p.beat.s())?;
    alike(
        gauges::LONGEST_GAP_S,
        t.gauge(gauges::LONGEST_GAP_S).unwrap_or(0.0),
        gaps.fold(first, f64::max),
    )?;
    alike("the longest gap", last.1, t.gauge(gauges::LONGEST_GAP_S).unwrap_or(0.0))
}

fn fetched(p: &Params, pages: f64, t: &Trial) -> Result<(), String> {
    equal("pages", gauge(t, gauges::PAGES)?, pages)?;
    let (bytes, page) = (gauge(t, gauges::BYTES)?, p.page.f());
    at_most("the length of the pages", pages * (page - LACKS), bytes)?;
    at_most("what came", bytes, pages * (page + CONTENT))
}

/// Every page was computed, and what waited was in memory.
fn backlog(p: &Params, pages: f64, t: &Trial) -> Result<(), String> {
    let of = |name: Gauge| gauge(t, name);
    let (most, page) = (of(gauges::BACKLOG_MAX)?, p.page.f() - LACKS);
    ensure((1.0..=pages).contains(&most), || format!("{most} of {pages} pages waited"))?;
    let heap = of(gauges::HEAP_PEAK_BYTES)? - of(gauges::HEAP_IDLE_BYTES)?;
    at_most("what waited", most * page / 2.0, heap)?;
    let computed = pages * p.compute.s() / QUICKER;
    at_most("the computation", computed, t.wall_s)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_crawl_that_was_not_killed_says_nothing_of_kills() {
        let mut trial = Trial::default();
        let gauges = [
            (gauges::KILLS, 2.0),
            (gauges::CENSUS_PAGES, 100.0),
            (gauges::CENSUS_BROKEN, 5.0),
            (gauge::UPSTREAM_ARRIVED, 120.0),
        ];
        trial.gauges = gauges.map(|(name, value)| (name.to_string(), value)).into();
        let kills = vec![(0.5, 30.0), (1.0, 60.0)];
        trial.traces.insert("killed".into(), kills);
        killed(&trial).unwrap();
        for (name, value) in
            [(gauges::KILLS, 0.0), (gauges::KILLS, 3.0), (gauge::UPSTREAM_ARRIVED, 90.0)]
        {
            let mut altered = trial.clone();
            altered.gauges.insert(name.to_string(), value);
            assert!(killed(&altered).is_err(), "{name} = {value}");
        }
    }
}
