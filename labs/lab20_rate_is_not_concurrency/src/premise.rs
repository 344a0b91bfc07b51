//! What a trial of a condition is, whatever theory says of it.

use lab_kit::{
    accounts::{self, ensure, equal},
    prelude::*,
};

use super::{
    gauges,
    plan::Params,
    world::{World, is_shared},
};

pub(super) fn premise(p: &Params, at: &Condition, t: &Trial) -> Result<(), String> {
    let tenants = is_shared(at.series());
    let world = World::of(p);
    let world = if tenants { world.steady() } else { world };
    let figure = |gauge| accounts::gauge(t, gauge);
    let (admitted, refused) = (figure(gauges::ADMITTED)?, figure(gauges::REFUSED)?);
    equal("requests in the books", admitted + refused, figure(gauge::UPSTREAM_ARRIVED)?)?;
    equal("refusals", refused, figure(gauge::UPSTREAM_REFUSED)?)?;
    ensure((t.wall_s - world.lasts()).abs() <= 0.05 * world.lasts() + 0.02, || {
        format!("it took {:.3} s, not {} s", t.wall_s, world.lasts())
    })?;
    // The service keeps its own word, until the last answer at the latest.
    let until = t.wall_s + p.before.s().max(p.after.s());
    let allowed = world.quota.per_s * until + f64::from(world.quota.burst);
    ensure(admitted <= allowed + 1.0, || {
        format!("{admitted} were admitted, where the quota allows {allowed:.0}")
    })?;
    traces(t, &world, admitted, refused)?;
    in_service(&world, t)?;
    let answered = t.ok as f64 + t.gauge(gauges::MODEST).unwrap_or(0.0);
    let cut_off = admitted - answered;
    let most = p.clients.max(p.crowd).max(p.greedy) as f64;
    ensure((0.0..=most).contains(&cut_off), || {
        format!("{admitted} were admitted, and {answered} answered")
    })?;
    if tenants { modest(p, t, &world) } else { Ok(()) }
}

/// What is counted over time is what is counted in all; in each part it is as much as its rates say, but for requests
/// at its edges; and it comes as close together as the figures say.
fn traces(t: &Trial, world: &World, admitted: f64, refused: f64) -> Result<(), String> {
    let figure = |gauge| accounts::gauge(t, gauge);
    let step = world.step();
    let parts = [
        ("admitted", admitted, [gauges::BEFORE_ADMITTED_PER_S, gauges::AFTER_ADMITTED_PER_S]),
        ("refused", refused, [gauges::BEFORE_REFUSED_PER_S, gauges::AFTER_REFUSED_PER_S]),
    ];
    for (name, all, rates) in parts {
        let steps = t.trace(name);
        let counted: f64 = steps.iter().map(|(_, n)| n).sum();
        equal(&format!("{name} over time"), counted, all)?;
        let mut in_parts = 0.0;
        for ((from, until), rate) in world.looks().into_iter().zip(rates) {
            let middle = |at: f64| at - step / 2.0;
            let inside = steps.iter().filter(|(at, _)| (from..until).contains(&middle(*at)));
            let counted: f64 = inside.map(|(_, n)| n).sum();
            let said = figure(rate)? * (until - from);
            // Those in service count by their time, and the steps at the edges may be cut.
            let at_edge =
                |at: f64| (middle(at) - from).abs() < step || (middle(at) - until).abs() < step;
            let edges: f64 = steps.iter().filter(|(at, _)| at_edge(*at)).map(|(_, n)| n).sum();
            let inside = if name == "admitted" { figure(gauges::IN_SERVICE_MAX)? } else { 0.0 };
            ensure((counted - said).abs() <= edges + inside + all.min(2.0), || {
                format!(
                    "{counted} {name} from {from:.2} s to {until:.2} s, where {rate} says {said:.1}"
                )
            })?;
            in_parts += said;
        }
        let inside = if name == "admitted" { figure(gauges::IN_SERVICE_MAX)? } else { 1e-6 };
        ensure(in_parts <= all + inside, || {
            format!("{in_parts:.1} {name} in both parts of {all}")
        })?;
    }
    let counts = |name: &str| t.trace(name).iter().map(|(_, n)| *n).collect::<Vec<f64>>();
    let (admitted, refused) = (counts("admitted"), counts("refused"));
    let all: Vec<f64> = admitted.iter().zip(&refused).map(|(a, r)| a + r).collect();
    // The service lets no more in at once than its quota.
    let quota = world.quota;
    let most = quota.per_s * step + f64::from(quota.burst) + 1.0;
    ensure(admitted.iter().all(|n| *n <= most), || {
        format!("more than {most:.0} were admitted within {step:.3} s")
    })?;
    let (window, come) = (world.window.as_secs_f64() / step, figure(gauges::MOST_IN_WINDOW)?);
    let (least, most) = (most_in(&all, window.floor()), most_in(&all, window.ceil() + 1.0));
    ensure((least..=most).contains(&come), || {
        format!("{come} came within a window, and {least} to {most} over time")
    })?;
    let ahead = figure(gauges::AHEAD_S)? * quota.per_s + 1.0;
    let (least, most) = bursts(&all, quota.per_s * step);
    // Those who come a moment after the last step count in it.
    ensure(ahead >= least - 1.0 && ahead <= most + 1e-3, || {
        format!("they came as {ahead:.1} at once would, and as {least:.1} to {most:.1} over time")
    })?;
    // Those who come within the time of a request are in service together; an answer may be some milliseconds early.
    let slow = &admitted[..admitted.len() / 2];
    let together = most_in(slow, ((world.before.as_secs_f64() - 5e-3) / step).floor());
    let inside = figure(gauges::IN_SERVICE_MAX)?;
    ensure(together <= inside, || format!("{together} were in service, and {inside} at most"))
}

/// The most of these counts in so many successive steps.
fn most_in(counts: &[f64], steps: f64) -> f64 {
    let steps = steps as usize;
    if steps == 0 {
        return 0.0;
    }
    let sums = (0..counts.len()).map(|i| counts[i..(i + steps).min(counts.len())].iter().sum());
    sums.fold(0.0, f64::max)
}

/// The smallest bucket that would have let all through which came in these steps, at least and at most, when a step gives
/// so many tokens: all of a run of steps came between its ends, or between the middle steps' ends.
fn bursts(counts: &[f64], tokens: f64) -> (f64, f64) {
    let (mut least, mut most) = (1.0_f64, 1.0_f64);
    for from in 0..counts.len() {
        let mut sum = 0.0;
        for (steps, n) in counts[from..].iter().enumerate() {
            sum += n;
            least = least.max(sum - tokens * (steps as f64 + 1.0));
            most = most.max(sum - tokens * (steps as f64 - 1.0).max(0.0));
        }
    }
    (least, most)
}

/// As many are in service as are admitted, times their time (Little's law between two figures of one ledger).
fn in_service(world: &World, t: &Trial) -> Result<(), String> {
    let figure = |gauge| accounts::gauge(t, gauge);
    let most = figure(gauges::IN_SERVICE_MAX)?;
    let parts = [
        (gauges::BEFORE_IN_SERVICE, gauges::BEFORE_ADMITTED_PER_S, world.before),
        (gauges::AFTER_IN_SERVICE, gauges::AFTER_ADMITTED_PER_S, world.after),
    ];
    for (inside, rate, takes) in parts {
        let (inside, rate) = (figure(inside)?, figure(rate)?);
        ensure(inside <= most + 1e-6, || {
            format!("{inside:.2} in service on average, and {most} at most")
        })?;
        // Served no sooner than the service says, but for what it allows for late timers.
        ensure(inside >= rate * (takes.as_secs_f64() - 5e-3).max(0.0) * 0.98, || {
            format!("{inside:.2} in service, at {rate:.1} a second of {takes:?}")
        })?;
    }
    Ok(())
}

/// The modest tenant's requests were asked, and the greedy one had the rest.
fn modest(p: &Params, t: &Trial, world: &World) -> Result<(), String> {
    let planned = (world.lasts() * f64::from(p.modest)).floor();
    let asked = accounts::gauge(t, gauges::MODEST)?;
    // Those who still wait when the time is over go home.
    ensure(asked <= planned && asked >= 0.5 * planned - 1.0, || {
        format!("{asked} of the modest tenant's {planned} requests were answered")
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use lab_kit::{claim::Verdict, record::Record};

    fn committed() -> Record {
        let committed = concat!(env!("CARGO_MANIFEST_DIR"), "/../../results/reference/lab20.json");
        serde_json::from_slice(&std::fs::read(committed).unwrap()).unwrap()
    }

    /// Whether every trial is what its condition says.
    fn is_sound(record: &Record) -> bool {
        let lab = lab_kit::lab::entry::<crate::RateIsNotConcurrency>();
        let claims = lab.explain(record).unwrap().claims;
        claims[0].verdict() == Verdict::Confirmed
    }

    /// All of them in the last step but one.
    fn in_one_step(t: &mut Trial, name: &str) {
        let steps = t.traces.get_mut(name).unwrap();
        let all = steps.iter().map(|(_, n)| n).sum();
        let last = steps.len() - 2;
        for (at, (_, n)) in steps.iter_mut().enumerate() {
            *n = if at == last { all } else { 0.0 };
        }
    }

    #[test]
    fn a_trial_that_is_not_what_its_condition_says_is_noticed() {
        assert!(is_sound(&committed()));
        let times = |t: &mut Trial, gauge: Gauge, factor: f64| {
            *t.gauges.get_mut(&gauge.to_string()).unwrap() *= factor;
        };
        type Alteration<'a> = (&'a str, Box<dyn Fn(&mut Trial) + 'a>);
        let alterations: Vec<Alteration> = vec![
            ("bucket", Box::new(|t| times(t, gauges::ADMITTED, 2.0))),
            ("semaphore", Box::new(|t| times(t, gauges::REFUSED, 0.5))),
            ("bucket", Box::new(|t| times(t, gauges::AFTER_ADMITTED_PER_S, 2.0))),
            ("none", Box::new(|t| times(t, gauges::BEFORE_REFUSED_PER_S, 0.5))),
            ("governor", Box::new(|t| times(t, gauges::BEFORE_IN_SERVICE, 0.5))),
            ("governor", Box::new(|t| times(t, gauges::AFTER_IN_SERVICE, 100.0))),
            ("in turn", Box::new(|t| times(t, gauges::MODEST, 2.0))),
            ("window", Box::new(|t| t.traces.clear())),
            ("leaky", Box::new(|t| t.wall_s *= 2.0)),
            ("adaptive", Box::new(|t| t.ok *= 2)),
            ("window", Box::new(|t| times(t, gauges::MOST_IN_WINDOW, 0.5))),
            ("leaky", Box::new(|t| times(t, gauges::MOST_IN_WINDOW, 3.0))),
            ("bucket", Box::new(|t| times(t, gauges::AHEAD_S, 10.0))),
            ("semaphore", Box::new(|t| times(t, gauges::IN_SERVICE_MAX, 0.5))),
            ("bucket", Box::new(|t| t.gauges.extend([("after_refused_per_s".into(), 2.0)]))),
            ("permit first", Box::new(|t| in_one_step(t, "admitted"))),
            ("semaphore", Box::new(|t| in_one_step(t, "refused"))),
            ("python/bucket", Box::new(|t| times(t, gauges::ADMITTED, 0.5))),
        ];
        for (at, (series, alter)) in alterations.iter().enumerate() {
            let mut record = committed();
            let points = record.points.iter_mut().filter(|p| p.series == *series);
            let trials: Vec<&mut Trial> = points.flat_map(|p| &mut p.trials).collect();
            assert!(!trials.is_empty(), "{series}");
            trials.into_iter().for_each(alter);
            assert!(!is_sound(&record), "alteration {at} of {series}");
        }
    }
}
