//! What a trial of a condition is, whatever theory says of it.

use lab_kit::{
    accounts::{self, Fate, ensure},
    prelude::*,
    record::Span,
};

use super::{Params, gauges, plan::Work};

/// Rounding of what is written down.
const HAIR: f64 = 1e-5;

pub(super) fn may(at: &Condition) -> &'static [Fate] {
    match at.series() {
        "all_or_nothing" | "degraded" => &[Fate::Failed],
        _ => &[],
    }
}

pub(super) fn premise(p: &Params, at: &Condition, t: &Trial) -> Result<(), String> {
    match at.series() {
        "tail/plain" => tail(p, t, 1.0),
        "tail/hedged" => tail(p, t, 2.0),
        arm => {
            fates(arm, t)?;
            spans(p, arm, t)?;
            order(p, arm, t)
        }
    }
}

/// A count that must be this one; what was not counted is not wrong.
fn equal(what: &str, is: Option<f64>, due: f64) -> Result<(), String> {
    accounts::equal(what, is.unwrap_or(due), due)
}

/// Three fetches for each answer, some of them twice, and what is said of slow ones agrees.
fn tail(p: &Params, t: &Trial, requests: f64) -> Result<(), String> {
    equal("answers", Some(t.offered as f64), p.answers as f64)?;
    let (fetches, sent) = (3.0 * t.offered as f64, t.gauge(gauge::UPSTREAM_ARRIVED));
    let most = requests * fetches;
    ensure(sent.is_none_or(|n| (fetches..=most).contains(&n)), || {
        format!("{} requests for {fetches} fetches", sent.unwrap_or(0.0))
    })?;
    let [fetches, answers] =
        [gauges::SLOW_FETCHES, gauges::SLOW_ANSWERS].map(|gauge| t.gauge(gauge));
    let (Some(fetches), Some(answers)) = (fetches, answers) else {
        return Err("nobody counted what was slow".into());
    };
    ensure(fetches <= answers + HAIR && answers <= 3.0 * fetches + HAIR, || {
        format!("{fetches:.3} of the fetches and {answers:.3} of the answers were slow")
    })?;
    // An answer takes as long as the slowest of its fetches.
    let faster = 1.0 - answers + 0.5 / t.offered.max(1) as f64;
    let (from, slowest) = (p.slow_from().as_secs_f64(), t.latency.quantile_s(faster));
    ensure(faster > 1.0 || slowest.is_some_and(|s| s > 0.99 * from), || {
        format!("{answers:.3} of the answers were slow, and fewer took {from:.3} s")
    })
}

/// Each part has the fate that its arm gives it.
fn fates(arm: &str, t: &Trial) -> Result<(), String> {
    let due: &[(&str, u64)] = match arm {
        "all_or_nothing" => &[("other", 2), ("status 500", 1)],
        "degraded" => &[("status 500", 1)],
        _ => &[],
    };
    equal("parts", Some(t.offered as f64), 3.0)?;
    equal("delivered parts", t.gauge(gauges::PARTS), t.ok as f64)?;
    // Whoever gives up may do so before all have come.
    let arrived = t.gauge(gauge::UPSTREAM_ARRIVED).filter(|_| arm != "all_or_nothing");
    equal("requests", arrived, 3.0)?;
    let failures = t.failures.iter().map(|(kind, n)| (kind.as_str(), *n));
    ensure(failures.eq(due.iter().copied()), || {
        format!("failures are {:?}, not {due:?}", t.failures)
    })?;
    // All parts begin and end with the answer.
    let mean = t.attempt_latency.mean_s().unwrap_or(0.0);
    ensure((mean - t.wall_s).abs() < 0.02 * t.wall_s, || {
        format!("parts took {mean:.3} s, and the answer {:.3} s", t.wall_s)
    })
}

fn fetching(span: &Span) -> bool {
    span.lane == "fetch"
}

/// Each source was fetched and inferred once, in this order and within the answer.
fn spans(p: &Params, arm: &str, t: &Trial) -> Result<(), String> {
    let (begun, cut_short) = (t.gauge(gauges::BEGUN_S).unwrap_or(0.0), arm == "all_or_nothing");
    let end = begun + t.wall_s + HAIR;
    let failing = cut_short || arm == "degraded";
    let sleeps = p.work == Work::Sleep || arm.starts_with("slept/");
    for (i, source) in p.sources().into_iter().enumerate() {
        let name = source.name;
        let mine = t.spans.iter().filter(|s| s.name == name);
        let (fetches, inferences): (Vec<&Span>, Vec<&Span>) = mine.partition(|s| fetching(s));
        let fails = failing && i == p.failing as usize;
        let whole = !cut_short || fails;
        let once = |n: usize, due: bool| n == usize::from(due) || (!whole && n == 0);
        ensure(once(fetches.len(), true) && once(inferences.len(), !fails), || {
            let (f, i) = (fetches.len(), inferences.len());
            format!("{name} was fetched {f} times and inferred {i} times")
        })?;
        for fetch in &fetches {
            ensure(fetch.start_s > begun - HAIR && fetch.end_s < end, || {
                format!("{name} was not fetched within the answer")
            })?;
        }
        for inference in &inferences {
            let took = inference.end_s - inference.start_s;
            ensure(!sleeps || took > source.infer.as_secs_f64() - HAIR, || {
                format!("{name} slept for {took:.4} s")
            })?;
            let after = |fetch: &&Span| fetch.end_s < inference.start_s + HAIR;
            ensure(fetches.first().is_some_and(after), || {
                format!("{name} was inferred before it was there")
            })?;
            ensure(cut_short || inference.end_s < end, || {
                format!("{name} was inferred after the answer")
            })?;
        }
    }
    Ok(())
}

/// Nothing is done at once that the arm does one after another.
fn order(p: &Params, arm: &str, t: &Trial) -> Result<(), String> {
    let apart = |spans: Vec<&Span>| {
        let pairs = spans.iter().enumerate();
        let mut pairs = pairs.flat_map(|(i, a)| spans[..i].iter().map(move |b| (a, b)));
        pairs.all(|(a, b)| a.start_s > b.end_s - HAIR || b.start_s > a.end_s - HAIR)
    };
    let (fetches, inferences): (Vec<&Span>, Vec<&Span>) = t.spans.iter().partition(|s| fetching(s));
    let in_turn = match arm {
        "one_after_another" => apart(t.spans.iter().collect()),
        "on_the_loop" => apart(inferences.clone()),
        _ => true,
    };
    ensure(in_turn, || "what goes in turn went side by side".into())?;
    if arm.ends_with("phases") {
        let fetched = fetches.iter().map(|s| s.end_s).fold(0.0, f64::max);
        ensure(inferences.iter().all(|s| s.start_s > fetched - HAIR), || {
            "an inference began before the last fetch had ended".into()
        })?;
    }
    // A worker does one thing at a time.
    let mut workers: Vec<&str> = inferences.iter().map(|s| s.lane.as_str()).collect();
    workers.sort_unstable();
    workers.dedup();
    let most = if arm.starts_with("slept/") { 3 } else { p.workers };
    ensure(workers.len() <= most, || {
        format!("{} workers inferred, and there are {most}", workers.len())
    })?;
    let of = |worker| inferences.iter().copied().filter(move |s| s.lane == worker);
    let alone = workers.into_iter().all(|worker| apart(of(worker).collect()));
    ensure(alone, || "a worker inferred two texts at once".into())?;
    // What the service had sent, as somebody saw it.
    let answered = t.trace("answered");
    let rises = answered.windows(2).all(|pair| pair[0].1 < pair[1].1);
    let most = answered.last().map_or(0.0, |(_, n)| *n);
    ensure(rises && most <= 3.0, || format!("{most} of three answers were sent"))
}
