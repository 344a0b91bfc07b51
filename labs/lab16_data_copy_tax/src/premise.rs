//! What a trial of a condition is, whatever theory says of it.

use lab_kit::{
    accounts::{ensure, gauge},
    prelude::*,
};

use super::{
    Params,
    child::Wire,
    gauges::{self, CONSUMER, PRODUCER},
    rounds::MOST,
};

/// Rounding of what is written down, as a share.
const HAIR: f64 = 1e-3;
/// What a histogram of whole microseconds may be off by.
const TICK_S: f64 = 2e-6;

pub(super) fn premise(p: &Params, at: &Condition, t: &Trial) -> Result<(), String> {
    match at.series() {
        "machine" => machine(p, at.x(), t),
        _ => hand_overs(p, t),
    }
}

/// One after another, for as long and as often as was asked for.
fn hand_overs(p: &Params, t: &Trial) -> Result<(), String> {
    let (n, wall) = (t.offered as f64, t.wall_s);
    ensure(t.offered >= p.least as u64, || {
        format!("{n} hand-overs, where {} were to be", p.least)
    })?;
    ensure(t.offered >= MOST || wall >= p.window.s() * (1.0 - HAIR), || {
        format!("{wall:.4} s of {}", p.window)
    })?;
    let of = |name: Gauge| gauge(t, name);
    let (cycle, whole) = (of(gauges::CYCLE_S)?, of(gauges::HAND_OVER_S)?);
    ensure((cycle * n - wall).abs() <= HAIR * wall, || {
        format!("{n} hand-overs of {cycle:.3e} s in {wall:.4} s")
    })?;
    // A median is at most twice a mean, and what is read is read within the hand-over.
    ensure(of(gauges::PRODUCE_S)? + whole <= (2.0 + HAIR) * cycle, || {
        format!("hand-overs of {whole:.3e} s, every {cycle:.3e} s")
    })?;
    let mean = t.latency.mean_s().unwrap_or(0.0);
    ensure(mean <= cycle * (1.0 + HAIR) + TICK_S, || {
        format!("hand-overs of {mean:.3e} s on average, every {cycle:.3e} s")
    })?;
    let read = of(gauges::READ_S)?;
    ensure(read <= whole * (1.0 + HAIR), || format!("{read:.3e} s of reading in {whole:.3e} s"))?;
    let near = |q: f64| t.latency.quantile_s(q.clamp(0.0, 1.0)).unwrap_or(whole);
    let (least, most) = (near(0.5 - 1.0 / n), near(0.5 + 1.0 / n));
    let within = least * (1.0 - HAIR) - TICK_S..=most * (1.0 + HAIR) + TICK_S;
    ensure(within.contains(&whole), || {
        format!("hand_over_s is {whole:.3e}, and the latencies say {least:.3e}")
    })?;
    let (into, out) =
        (of(gauges::COPIED_BYTES.of(PRODUCER))?, of(gauges::COPIED_BYTES.of(CONSUMER))?);
    ensure((into - out).abs() < 0.5, || format!("{into} bytes went in, and {out} came out"))
}

/// Every pass had its time in the trial, and every page is touched.
fn machine(p: &Params, bytes: f64, t: &Trial) -> Result<(), String> {
    let of = |name: Gauge| gauge(t, name);
    // At least half of the passes took as long as their median.
    let half = |times: usize| times.div_ceil(2) as f64;
    let (least, few) = (p.effort().least, p.effort().least.min(5));
    let passes =
        of(gauges::WRITE_S)? + of(gauges::READ_S)? + of(gauges::COPY_S)? + of(gauges::SHARED_S)?;
    let pages = of(gauges::TOUCH_S)? + of(gauges::MAP_S)?;
    let meetings = half(super::calibrate::MEETINGS) * of(gauges::MEETING_S)?;
    let mut least_s = half(least) * passes + half(few) * pages + meetings;
    let through = (super::calibrate::STAND_FOR_ALL as f64 / bytes).min(1.0);
    for wire in [Wire::Pipe, Wire::Unix, Wire::Tcp] {
        let both = t.gauge(wire.there()).zip(t.gauge(wire.back()));
        least_s += both.map_or(0.0, |(there, back)| through * (there + back));
    }
    ensure(least_s <= t.wall_s, || format!("{least_s:.4} s of passes in {:.4} s", t.wall_s))?;
    // Not every system tells.
    let Some(faults) = t.gauge(gauges::TOUCH_FAULTS) else {
        return Ok(());
    };
    let is_every = |page: u32| {
        let pages = (bytes / f64::from(page)).ceil();
        (faults - pages).abs() <= 0.05 * pages + 4.0
    };
    // Pages of 4, 16 or 64 KB; where there is room for them, larger ones as well.
    let small = [4 << 10, 16 << 10, 64 << 10].into_iter().any(is_every);
    let large = f64::from(2 << 20);
    let some = bytes >= large && (bytes / large..=bytes / 4096.0).contains(&faults);
    ensure(faults >= 1.0 && (small || some), || format!("{faults} page faults for {bytes} bytes"))
}

#[cfg(test)]
mod tests {

    use super::*;

    /// Two hand-overs of 10 ms, after 2 ms of writing each.
    fn sound() -> Trial {
        let mut trial = Trial { wall_s: 0.024, offered: 2, ok: 2, ..Trial::default() };
        for _ in 0..2 {
            trial.latency.record(Duration::from_millis(10));
        }
        for (name, value) in [
            (gauges::CYCLE_S, 0.012),
            (gauges::PRODUCE_S, 0.002),
            (gauges::HAND_OVER_S, 0.01),
            (gauges::READ_S, 0.004),
            (gauges::COPIED_BYTES.of(PRODUCER), 1024.0),
            (gauges::COPIED_BYTES.of(CONSUMER), 1024.0),
        ] {
            trial.gauges.insert(name.to_string(), value);
        }
        trial
    }

    #[test]
    fn what_is_said_twice_says_the_same() {
        let p = lab_kit::lab::params::<crate::DataCopyTax>(&[]);
        hand_overs(&p, &sound()).unwrap();
        let mut few = sound();
        few.offered = 1;
        assert!(hand_overs(&p, &few).is_err());
        let mut long = sound();
        long.wall_s *= 2.0;
        assert!(hand_overs(&p, &long).is_err());
        for name in sound().gauges.keys().filter(|name| **name != gauges::PRODUCE_S.to_string()) {
            let mut trial = sound();
            *trial.gauges.get_mut(name).unwrap() *= 3.0;
            assert!(hand_overs(&p, &trial).is_err(), "{name}");
        }
    }
}
