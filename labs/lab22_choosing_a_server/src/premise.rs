//! What a trial of a condition is, whatever theory says of it.

use lab_kit::{
    accounts::{Fate, ensure, gauge},
    prelude::*,
};

use super::{
    Params,
    crowd::{Arm, Crowd, World},
    fan_out::FanOut,
    gauges,
    plan::parts,
};

/// Digits of a histogram, with room.
const DIGITS: f64 = 0.002;

/// A condition of the record.
enum At {
    Crowd(Crowd),
    FanOut(FanOut),
}

fn at(p: &Params, at: &Condition) -> Option<At> {
    let crowd = Crowd::at(p, at.series(), at.x());
    let fan = || {
        let mut all = FanOut::all(p).into_iter();
        all.find(|fan| fan.series() == at.series() && fan.answers as f64 == at.x())
    };
    crowd.map(At::Crowd).or_else(|| fan().map(At::FanOut))
}

/// Some give up, and who meets the server that refuses fails.
pub(super) fn may(p: &Params, condition: &Condition) -> &'static [Fate] {
    match at(p, condition) {
        Some(At::Crowd(crowd)) if crowd.world == World::Sinkhole => &[Fate::Failed, Fate::TimedOut],
        _ => &[Fate::TimedOut],
    }
}

pub(super) fn premise(p: &Params, condition: &Condition, t: &Trial) -> Result<(), String> {
    match at(p, condition) {
        Some(At::Crowd(crowd)) => {
            load(&crowd, t)?;
            shares(&crowd, t)?;
            times(&crowd, t)
        }
        Some(At::FanOut(fan)) => fan_out(p, &fan, t),
        None => Err("there is no such condition".into()),
    }
}

fn equal(what: &str, said: f64, counted: f64) -> Result<(), String> {
    ensure((said - counted).abs() <= 1e-6 * counted.abs().max(1.0), || {
        format!("{what} is {said:.4}, where it is {counted:.4} by another count")
    })
}

/// A whole condition, or a part of it.
fn one_of(scales: impl Fn(usize) -> f64, said: f64) -> bool {
    [Scale::Quick, Scale::Full].into_iter().any(|scale| scales(parts(scale)) == said)
}

/// As many came as chance lets, and wanted as much.
fn load(crowd: &Crowd, t: &Trial) -> Result<(), String> {
    let fleets = gauge(t, gauges::FLEETS)?;
    ensure(one_of(|parts| crowd.part(parts).fleets as f64, fleets), || {
        format!("{fleets} fleets were watched")
    })?;
    equal("the window", t.wall_s, crowd.window)?;
    let (offered, asked) = (t.offered as f64, crowd.rate * crowd.window * fleets);
    ensure((offered - asked).abs() <= 6.0 * asked.sqrt() + 6.0, || {
        format!("{offered} came, where {asked:.0} should")
    })?;
    let work = gauge(t, gauges::WORK_MEAN_S)?;
    ensure((work / crowd.service - 1.0).abs() <= 8.0 / offered.sqrt(), || {
        format!("a request needed {work:.4} s on average")
    })
}

/// What is told as a share is so by the books.
fn shares(crowd: &Crowd, t: &Trial) -> Result<(), String> {
    let offered = t.offered as f64;
    equal("the share of errors", gauge(t, gauges::ERROR_SHARE)?, t.failed as f64 / offered)?;
    let given_up = gauge(t, gauges::GIVEN_UP_SHARE)?;
    equal("the share given up", given_up, t.timed_out as f64 / offered)?;
    let (first, hedged) = (gauge(t, gauges::FIRST_SHARE)?, gauge(t, gauges::HEDGED_SHARE)?);
    ensure((0.0..=1.0).contains(&first) && (0.0..=1.0).contains(&hedged), || {
        format!("{first} of all at the first server, {hedged} sent twice")
    })?;
    ensure(matches!(crowd.arm, Arm::Hedged | Arm::Budgeted) || hedged == 0.0, || {
        format!("{hedged} were sent twice")
    })?;
    // Who is sent twice has waited for the second request.
    let after = crowd.fleet.policy.hedge.map_or(0.0, |hedge| hedge.after);
    let mean = gauge(t, gauges::TIME_MEAN_S)?;
    ensure(mean >= 0.9 * hedged * after, || {
        format!("{hedged:.3} were sent twice after {after:.3} s, and took {mean:.3} s on average")
    })?;
    if crowd.arm == Arm::InTurn {
        let (fair, uneven) =
            (1.0 / crowd.fleet.servers as f64, gauge(t, gauges::FLEETS)? / offered);
        ensure((first - fair).abs() <= uneven + 1e-9, || {
            format!("in turn, {first:.3} of all at the first server")
        })?;
    }
    if crowd.world == World::Sinkhole {
        // A client that was never heard of may have been refused in the last moment.
        let errors = gauge(t, gauges::ERROR_SHARE)?;
        ensure((errors..=errors + given_up + 1e-9).contains(&(first + 1e-12)), || {
            format!("{first} of all met the server that refuses, {errors} were refused")
        })?;
    }
    let apart = gauge(t, gauges::APART_MOST)?;
    let most = offered / gauge(t, gauges::FLEETS)? + 6.0 * offered.sqrt();
    ensure((0.0..=most).contains(&apart) && apart.fract() == 0.0, || {
        format!("servers are {apart} requests apart")
    })?;
    let mut before = 1.0;
    for seen in gauges::SEEN {
        let share = gauge(t, seen)?;
        ensure((0.0..=before).contains(&share), || format!("{seen} is {share:.4}"))?;
        before = share;
    }
    Ok(())
}

/// Who is answered has taken what the servers needed, and has heard of it late, and no more: by the clients'
/// histogram, and by the gauges.
fn times(crowd: &Crowd, t: &Trial) -> Result<(), String> {
    let (mean, late) = (gauge(t, gauges::TIME_MEAN_S)?, gauge(t, gauges::LATE_MEAN_S)?);
    let latest = gauge(t, gauges::LATE_MAX_S)?;
    let (p50, p99) = (gauge(t, gauges::TIME_P50_S)?, gauge(t, gauges::TIME_P99_S)?);
    let ordered = 0.0 <= p50 && p50 <= p99 && p99 <= crowd.patience * (1.0 + 1e-9);
    ensure(ordered && 0.0 <= late && late <= latest, || {
        format!("half took {p50:.4} s, one in a hundred {p99:.4} s, {late:.4} s late")
    })?;
    let (ok, given_up) = (t.ok as f64, t.timed_out as f64);
    let answered = t.latency.mean_s().unwrap_or(0.0);
    // The lateness is that of all answers, those to clients who have gone included.
    let most = (ok * answered + given_up * crowd.patience) / (ok + given_up);
    let room = DIGITS * most + 2.0 * latest * given_up / (ok + given_up) + 1e-5;
    ensure((mean - (most - late * ok / (ok + given_up))).abs() <= room, || {
        format!("they took {mean:.4} s, by their clients {most:.4} s, {late:.4} s late")
    })?;
    for (said, q) in [(p50, 0.5), (p99, 0.99)] {
        let rank =
            |by: f64| t.latency.quantile_s(((q * (ok + given_up) + by) / ok).clamp(0.0, 1.0));
        let inside = q * (ok + given_up) + 2.0 < ok;
        let heard = rank(-2.0).zip(rank(2.0)).filter(|_| inside);
        let holds = heard.is_none_or(|(least, most)| {
            said <= most * (1.0 + DIGITS) && said >= least * (1.0 - DIGITS) - latest - 1e-5
        });
        ensure(holds, || format!("the quantile {q} is {said:.4} s, and clients say otherwise"))?;
    }
    let exact = [gauges::EXACT_TIME_S, gauges::EXACT_FIRST_SHARE].map(|g| gauge(t, g));
    let [time, first] = exact;
    let (time, first) = (time?, first?);
    ensure(time > 0.0 && time <= crowd.patience && (0.0..=1.0).contains(&first), || {
        format!("in virtual time they take {time:.4} s, {first:.4} of them at the first server")
    })
}

/// Requests that need many answers, by the books and by their times.
fn fan_out(p: &Params, fan: &FanOut, t: &Trial) -> Result<(), String> {
    let offered = t.offered as f64;
    ensure(one_of(|parts| fan.part(parts).requests as f64, offered), || {
        format!("{offered} requests came")
    })?;
    equal("the window", t.wall_s, p.window.s())?;
    let asked = gauge(t, gauges::ASKED_TOTAL)?;
    equal("the number of answers", asked, offered * fan.answers as f64)?;
    let again = gauge(t, gauges::AGAIN_TOTAL)?;
    let most = if fan.again.is_some() { asked } else { 0.0 };
    ensure((0.0..=most).contains(&again) && again.fract() == 0.0, || {
        format!("{again} of {asked} answers were asked for twice")
    })?;
    let took = |rank: f64| t.attempt_latency.quantile_s((rank - 0.5) / offered);
    let late = fan.late_s();
    let ok = t.ok as f64;
    let in_time = ok == 0.0 || took(ok).is_some_and(|s| s <= late * (1.0 + DIGITS));
    let slow = ok == offered || took(ok + 1.0).is_some_and(|s| s >= late * (1.0 - DIGITS));
    ensure(in_time && slow, || {
        format!("{ok} of {offered} were in time, and others by their times")
    })?;
    // No answer comes before it is due.
    let least = p.service.s() * (1.0 - DIGITS);
    ensure(took(1.0).is_some_and(|s| s >= least), || "a request took no time".into())
}
