//! What a trial of a condition is, whatever theory says of it.

use lab_kit::{
    accounts::{self, ensure, equal},
    prelude::*,
};

use super::{gauges, plan::Params, world::World};

pub(super) fn premise(p: &Params, at: &Condition, t: &Trial) -> Result<(), String> {
    let tenants = ["one line", "in turn"].contains(&at.series());
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

/// What is counted over time is what is counted in all, and in each part as much as its rates say, but for requests at
/// its edges.
fn traces(t: &Trial, world: &World, admitted: f64, refused: f64) -> Result<(), String> {
    let figure = |gauge| accounts::gauge(t, gauge);
    let looks = world.looks();
    let at_edges = 2.0 + figure(gauges::IN_SERVICE_MAX)?;
    let parts = [
        (
            "admitted",
            admitted,
            [gauges::BEFORE_ADMITTED_PER_S, gauges::AFTER_ADMITTED_PER_S],
            at_edges,
        ),
        // As many as come in a step.
        ("refused", refused, [gauges::BEFORE_REFUSED_PER_S, gauges::AFTER_REFUSED_PER_S], 2.0),
    ];
    for (name, all, rates, edges) in parts {
        let steps = t.trace(name);
        let counted: f64 = steps.iter().map(|(_, n)| n).sum();
        equal(&format!("{name} over time"), counted, all)?;
        for ((from, until), rate) in looks.into_iter().zip(rates) {
            let middle = |at: f64| at - world.step() / 2.0;
            let inside = steps.iter().filter(|(at, _)| (from..until).contains(&middle(*at)));
            let most = steps.iter().map(|(_, n)| *n).fold(0.0, f64::max);
            let counted: f64 = inside.map(|(_, n)| n).sum();
            let said = figure(rate)? * (until - from);
            ensure((counted - said).abs() <= edges + 2.0 * most, || {
                format!(
                    "{counted} {name} from {from:.2} s to {until:.2} s, where {rate} says {said:.1}"
                )
            })?;
        }
    }
    Ok(())
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
