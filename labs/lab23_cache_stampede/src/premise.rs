//! What a trial of a condition is, whatever theory says of it.

use lab_kit::{
    accounts::{Fate, ensure, equal, gauge, in_time, no_longer_than},
    gauge::{UPSTREAM_ARRIVED, UPSTREAM_REFUSED},
    prelude::*,
};

use super::{
    Params, gauges,
    held::Policy,
    hot::{Hot, Way},
    plan::parts,
    rush::{BIN_S, Rush},
};

/// Refused are those for whom the upstream has no room; nobody should find none who waits for one that asks.
pub(super) fn may(at: &Condition) -> &'static [Fate] {
    match at.series() {
        "none" | "early" | "together" | "jittered" => &[Fate::Rejected, Fate::TimedOut],
        _ => &[Fate::TimedOut],
    }
}

pub(super) fn premise(p: &Params, at: &Condition, t: &Trial) -> Result<(), String> {
    if let Some(policy) = Policy::ALL.into_iter().find(|policy| policy.series() == at.series()) {
        return held(p, policy, at.x(), t);
    }
    let waves = (p.slots + p.places).div_ceil(p.slots) as f64;
    let room = p.timeout.s() - waves * p.service.s();
    in_time(t, room)?;
    // Two may wait for one after another, if the first is refused.
    no_longer_than(t, 2.0 * p.timeout.s())?;
    let (arrived, refused) = (gauge(t, UPSTREAM_ARRIVED)?, gauge(t, UPSTREAM_REFUSED)?);
    // Who gives up may do so before the request is read.
    let (requests, late) = (gauge(t, gauges::REQUESTS)?, t.timed_out as f64);
    ensure((requests - late..=requests).contains(&arrived), || {
        format!("{requests} requests went to the upstream, and {arrived} came")
    })?;
    ensure(refused <= arrived, || format!("{refused} of {arrived} requests were refused"))?;
    ensure(t.rejected as f64 <= refused, || {
        format!("{} users were refused, and {refused} requests", t.rejected)
    })?;
    match at.series() {
        "together" | "jittered" => rush(p, at.series() == "jittered", t),
        series => {
            let mut all = p.hot().into_iter();
            let hot = all.find(|(x, hot)| hot.way.series() == series && *x == at.x());
            hot.map_or(Ok(()), |(_, hot)| keys(p, hot, t))
        }
    }
}

/// As many as chance makes of so many on average, six standard deviations either way.
fn came(n: f64, mean: f64) -> Result<(), String> {
    let off = 6.0 * mean.sqrt() + 6.0;
    ensure((n - mean).abs() <= off, || format!("{n} came, where {mean:.0} should"))
}

/// Hot keys: the parts of their books make the sums.
fn keys(p: &Params, hot: Hot, t: &Trial) -> Result<(), String> {
    let keys = gauge(t, gauges::KEYS)?;
    let planned = [Scale::Smoke, Scale::Quick].map(|scale| hot.part(parts(scale)).keys as f64);
    ensure(planned.contains(&keys), || format!("{keys} keys, not {}", planned[0]))?;
    // They begin one after another, over a cycle.
    let over = hot.window.as_secs_f64() - hot.lead().as_secs_f64() / 2.0;
    came(t.offered as f64, keys * hot.rate * over)?;
    let of = |name: Gauge| t.gauge(name).unwrap_or_default();
    let (ends, herd, requests) = (of(gauges::ENDS), of(gauges::HERD), of(gauges::REQUESTS));
    let (refused, toppled) = (of(gauges::HERD_REFUSED), of(gauges::TOPPLED));
    ensure(ends <= herd && herd <= requests, || {
        format!("{herd} requests of {requests} for {ends} ends")
    })?;
    ensure(toppled <= refused && refused <= herd - ends + toppled, || {
        format!("{refused} of {herd} requests were refused, at {toppled} of {ends} ends")
    })?;
    let (asked, waited, old) = (of(gauges::ASKED), of(gauges::WAITED), of(gauges::OLD));
    ensure(waited + old <= asked && asked <= t.ok as f64, || {
        format!("{waited} of {asked} waited and {old} got an old value, of {} answered", t.ok)
    })?;
    // A cycle is no shorter than a life, but for those who ask early.
    let (cycle, ahead) = (of(gauges::CYCLE_MEAN_S), of(gauges::AHEAD_MEAN_S));
    ensure(ends < 2.0 * keys || cycle + ahead >= 0.8 * p.ttl.s(), || {
        format!("a value lived for {cycle:.3} s, and was asked for {ahead:.3} s before its end")
    })?;
    ensure(cycle <= hot.window.as_secs_f64(), || format!("a cycle of {cycle:.3} s"))?;
    one_each(p, hot, t)?;
    let steps = t.trace("in flight");
    ensure(steps.windows(2).all(|two| (two[1].1 - two[0].1).abs() < 1.5), || {
        "requests in flight jump".into()
    })
}

/// What a way that lets one ask has at the upstream, and what nobody has who gets no old value.
fn one_each(p: &Params, hot: Hot, t: &Trial) -> Result<(), String> {
    let of = |name: Gauge| t.gauge(name).unwrap_or_default();
    let (keys, ends, herd, requests) =
        (of(gauges::KEYS), of(gauges::ENDS), of(gauges::HERD), of(gauges::REQUESTS));
    let lets_one = Way::ONES.contains(&hot.way);
    // The first of each key, and what had not ended at the end.
    let each = if lets_one { 1.0 } else { herd / ends.max(1.0) };
    let each = if lets_one { each } else { each + 6.0 * each.sqrt() + 6.0 };
    ensure(requests <= herd + 2.0 * keys * each + 2.0, || {
        format!("{requests} requests, of which {herd} are of the ends that were watched")
    })?;
    let cycle = p.ttl.s() + p.service.s() + 1.0 / hot.rate;
    let expected = keys * hot.window.as_secs_f64() / cycle;
    ensure(ends >= 0.3 * expected - 2.0 * keys, || {
        format!("{ends} ends were watched, where some {expected:.0} should be")
    })?;
    let (refused, of_herds) = (of(UPSTREAM_REFUSED), of(gauges::HERD_REFUSED));
    ensure((of_herds..=of_herds + requests - herd).contains(&refused), || {
        format!("{refused} were refused, {of_herds} of them of the ends that were watched")
    })?;
    ensure(of(gauges::OLD) > 0.0 || of(gauges::OLDEST_S) <= 1.05 * p.ttl.s(), || {
        format!("nobody got an old value, and the oldest was of {:.3} s", of(gauges::OLDEST_S))
    })?;
    let most = t.trace("in flight").iter().map(|(_, n)| *n).fold(0.0, f64::max);
    ensure(!lets_one || most <= 1.0, || format!("{most} requests for a key at the same time"))?;
    let (waited, users) = (of(gauges::WAITED) * of(gauges::WAIT_MEAN_S), t.latency.mean_s());
    let took = users.unwrap_or_default() * t.ok as f64;
    ensure(waited <= 1.05 * took + 0.05, || {
        format!("those who waited did so for {waited:.2} s, and all took {took:.2} s")
    })
}

/// Keys of one age: as many as there are come once, and their requests over time are those of the books.
fn rush(p: &Params, spreads: bool, t: &Trial) -> Result<(), String> {
    let (rush, keys) = (Rush::new(p, spreads), p.keys as f64);
    equal("keys", gauge(t, gauges::KEYS)?, keys)?;
    came(t.offered as f64, rush.asks())?;
    let (requests, refused) = (gauge(t, gauges::REQUESTS)?, gauge(t, UPSTREAM_REFUSED)?);
    let few = t.timed_out as f64;
    ensure((requests - refused - keys).abs() <= few + 2.0 + 0.02 * keys, || {
        format!("{} of {} keys were fetched", requests - refused, keys)
    })?;
    let drawn = |name: &str| {
        let bins = t.trace(name).iter().map(|(_, per_s)| per_s);
        bins.sum::<f64>() * BIN_S
    };
    ensure((drawn("requests") - requests).abs() < 0.5 + 1e-3 * requests, || {
        format!("{requests} requests, and {:.0} over time", drawn("requests"))
    })?;
    ensure((drawn("refused") - refused).abs() < 0.5 + few + 1e-3 * refused, || {
        format!("{refused} were refused, and {:.0} over time", drawn("refused"))
    })
}

/// A cache is full, and no fuller; all that should be counted was.
fn held(p: &Params, policy: Policy, percent: f64, t: &Trial) -> Result<(), String> {
    let (hits, counted) = (gauge(t, gauges::HITS)?, gauge(t, gauges::COUNTED)?);
    equal("requests", counted, p.counted as f64)?;
    ensure(hits <= counted, || format!("{hits} hits of {counted}"))?;
    let (entries, size) = (gauge(t, gauges::ENTRIES)?, p.entries(percent) as f64);
    let name = policy.series();
    ensure(entries <= size, || format!("{name}: {entries} entries of {size}"))
}
