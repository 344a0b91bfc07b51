//! What a trial of a condition is, whatever theory says of it.

use std::time::Instant;

use lab_kit::{
    accounts::{Fate, ensure, gauge},
    prelude::*,
};

use super::{Params, gauges, languages, users::DRAWN};

/// What readings of two clocks may be apart, in seconds.
const CLOCK: f64 = 0.02;

/// Only a blocked event loop may lose users, and what they would have said and heard.
pub(super) fn may(at: &Condition) -> &'static [Fate] {
    if let Some((language, name)) = Language::of_series(at.series()) {
        return languages::may(language, name);
    }
    if on_the_loop(at) { &[Fate::Failed, Fate::NeverSent] } else { &[] }
}

pub(super) fn premise(p: &Params, at: &Condition, t: &Trial) -> Result<(), String> {
    if let Some((language, name)) = Language::of_series(at.series()) {
        return languages::premise(p, language, name, at.x(), t);
    }
    conversation(p, at, t)?;
    loops(t)?;
    mathematics(p, at, t)
}

fn on_the_loop(at: &Condition) -> bool {
    matches!(at.series(), "inline" | "losses")
}

/// The mathematics asked for.
fn block(p: &Params, at: &Condition) -> f64 {
    match at.series() {
        "losses" => at.x(),
        _ => p.block.s(),
    }
}

/// As many speak as are asked to, and what is not heard is missed by somebody who has gone.
fn conversation(p: &Params, at: &Condition, t: &Trial) -> Result<(), String> {
    let (losses, block) = (at.series() == "losses", block(p, at));
    // A record may come from anywhere, and counting takes as long as it says.
    let asked = !losses || p.long_blocks().iter().any(|b| (b - block).abs() < 1e-6);
    ensure(asked && t.offered < 100_000_000, || {
        format!("{} messages round a block of {block} s were not asked for", t.offered)
    })?;
    let crowds = p.users.iter().filter(|n| losses || **n as f64 == at.x());
    let crowds = crowds.filter(|n| (2..=20_000).contains(*n));
    let crowds = crowds.map(|n| p.crowd(Instant::now(), *n, block, vec![]));
    let meant = gauge(t, gauges::MESSAGES_MEANT)?;
    let meet = crowds.filter(|c| {
        let said = c.messages() as u64 == t.offered;
        said && c.deliveries() as f64 == meant
    });
    // The crowds of a loss may all speak as often: what holds of the smallest holds of the others.
    let crowd = meet.min_by_key(|c| c.users).ok_or_else(|| {
        format!("{} messages for {meant} ears are not those asked for", t.offered)
    })?;
    let (left, disconnected) =
        (gauge(t, gauges::USERS_LEFT)?, gauge(t, gauges::USERS_DISCONNECTED)?);
    let gone = left + disconnected;
    let most = p.users.iter().copied().max().filter(|_| losses);
    let users = most.unwrap_or(crowd.users);
    ensure(gone <= users as f64, || format!("{gone} of {users} users left"))?;
    // Users take turns.
    let each = crowd.messages().div_ceil(crowd.users - 1) as f64;
    let lost = (t.failed + t.never_sent) as f64;
    ensure(lost <= gone * each, || {
        format!("{lost} messages were lost, and {gone} users have left")
    })?;
    let (said, heard) = (gauge(t, gauges::MESSAGES_SAID)?, gauge(t, gauges::MESSAGES_RECEIVED)?);
    let delivered = gauge(t, gauges::MESSAGES_DELIVERED)?;
    let most = (t.offered - t.never_sent.min(t.offered)) as f64;
    let least = if gone == 0.0 { most } else { t.ok as f64 };
    ensure((least..=most).contains(&said), || {
        format!("{said} messages came of {} that were due", t.offered)
    })?;
    let room = p.per_room.min(crowd.users) as f64;
    let order = t.ok as f64 <= heard && heard <= delivered && delivered <= said * room;
    ensure(order, || format!("{said} were said, {delivered} delivered, {heard} heard"))?;
    drawn(t)
}

/// Where each echo is drawn, their mean is that of the latencies.
fn drawn(t: &Trial) -> Result<(), String> {
    let echoes = t.trace("echoes");
    let all = t.offered <= DRAWN as u64;
    let (n, ok) = (echoes.len() as u64, t.ok);
    ensure(if all { n == ok } else { n <= ok }, || format!("{n} echoes are drawn of {ok}"))?;
    let mean = t.latency.mean_s().filter(|_| all).unwrap_or_default();
    let sum: f64 = echoes.iter().map(|(_, took)| took).sum();
    let near = (sum / n as f64 - mean).abs() <= 0.005 * mean + 1e-5;
    ensure(near || mean == 0.0, || {
        format!("echoes take {mean:.4} s on average, and others are drawn")
    })
}

/// Both event loops had something to do, and no more time for it than there was.
fn loops(t: &Trial) -> Result<(), String> {
    for share in [gauges::SERVER_BUSY_SHARE, gauges::USERS_BUSY_SHARE] {
        let busy = gauge(t, share)? * t.wall_s;
        ensure(0.0 < busy && busy <= 1.1 * t.wall_s + 0.1, || {
            format!("an event loop was busy for {busy:.3} s of {:.3} s", t.wall_s)
        })?;
    }
    Ok(())
}

/// What was asked for was computed and answered, where it should have been.
fn mathematics(p: &Params, at: &Condition, t: &Trial) -> Result<(), String> {
    let (cost, killed) = (block(p, at), at.series() == "killed");
    let (solved, failed) = (gauge(t, gauges::JOBS_SOLVED)?, gauge(t, gauges::JOBS_FAILED)?);
    if at.series() == "quiet" {
        let none =
            solved + failed == 0.0 && t.gauge(gauges::BUSY_S).is_none() && t.spans.is_empty();
        return ensure(none, || "something was computed".into());
    }
    let asked = match killed {
        true => cost + cost / 3.0,
        false => cost,
    };
    ensure(t.wall_s >= p.away(cost).at + asked - CLOCK, || {
        format!("it was over after {:.3} s", t.wall_s)
    })?;
    let told = match killed {
        true => (1.0, 1.0),
        false => (1.0, 0.0),
    };
    // Who has left is told nothing, and what comes after that nobody writes down.
    let alone = on_the_loop(at) && gauge(t, gauges::USERS_LEFT)? > 0.0;
    ensure((solved, failed) == told || alone, || {
        format!("{solved} jobs were done and {failed} failed")
    })?;
    if killed {
        the_end(p, t)?;
    }
    let answers = [gauges::ANSWER_S, gauges::SECOND_ANSWER_S].map(|gauge| t.gauge(gauge));
    let answers = || answers.iter().flatten();
    let waited: f64 = answers().sum();
    let told = answers().count() as f64 == solved + failed && answers().all(|s| *s > 0.0);
    ensure(told && p.away(cost).at + waited <= t.wall_s + CLOCK, || {
        format!("{} answers took {waited:.4} s", solved + failed)
    })?;
    computed(p, at, t, solved, alone)
}

/// What was computed took its time, when it was asked for.
fn computed(p: &Params, at: &Condition, t: &Trial, solved: f64, alone: bool) -> Result<(), String> {
    let (cost, killed) = (block(p, at), at.series() == "killed");
    let (busy, span) = match (t.gauge(gauges::BUSY_S), t.spans.as_slice()) {
        (Some(busy), [span]) => (busy, span),
        (None, []) if alone => return Ok(()),
        _ => return Err("nothing was computed, or more than was asked for".into()),
    };
    let least = if killed { cost / 3.0 } else { cost } / 4.0;
    ensure(busy >= least, || format!("only {busy:.4} s were computed"))?;
    ensure((span.end_s - span.start_s - busy).abs() <= CLOCK, || {
        format!("it computed for {busy:.4} s by one clock, not by another")
    })?;
    let began = t.started_s() + p.away(cost).at;
    let within = began - CLOCK <= span.start_s
        && (solved == 0.0 || span.end_s <= t.started_s() + t.wall_s + CLOCK);
    ensure(within, || {
        format!("it computed from {:.3} s to {:.3} s, when nobody asked", span.start_s, span.end_s)
    })?;
    let answer = if killed { gauges::SECOND_ANSWER_S } else { gauges::ANSWER_S };
    ensure(t.gauge(answer).is_none_or(|s| s >= busy - CLOCK), || {
        format!("the answer came before {busy:.4} s were computed")
    })?;
    // The event loop is busy while it computes.
    let share = gauge(t, gauges::SERVER_BUSY_SHARE)?;
    let over = span.end_s <= t.started_s() + t.wall_s;
    let busy_too = share * t.wall_s >= 0.9 * busy - CLOCK;
    ensure(busy_too || !on_the_loop(at) || !over, || {
        format!("the event loop was busy for less than the {busy:.4} s that it computed")
    })
}

/// The process is killed in the middle of its job, and another one begun.
fn the_end(p: &Params, t: &Trial) -> Result<(), String> {
    let Some([(at, _)]) = t.traces.get("killed").map(Vec::as_slice) else {
        return Err("nothing was killed".into());
    };
    let middle = t.started_s() + p.away(p.block.s()).at + p.block.s() / 2.0;
    ensure(*at >= middle - CLOCK, || {
        format!("it was killed at {at:.3} s, before the job's middle at {middle:.3} s")
    })?;
    let processes = gauge(t, gauges::PROCESSES)?;
    ensure(processes == 2.0, || format!("{processes} processes computed"))
}
