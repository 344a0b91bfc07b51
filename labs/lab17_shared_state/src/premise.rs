//! What a trial of a condition is, whatever theory says of it.

use clap::ValueEnum;
use lab_kit::{
    accounts::{ensure, gauge},
    prelude::*,
};

use super::{
    Params, gauges,
    programs::{Program, REQUESTS},
    rush::{LONGEST, SLICES},
};

/// Rounding of what is written down, as a share.
const HAIR: f64 = 1e-3;
/// Rates are of slices, and threads may count faster outside of them.
const OUTSIDE: f64 = 2.0;
/// How much less than calibrated an item may cost: processors change their clock.
const QUICKER: f64 = 5.0;

pub(super) fn premise(p: &Params, at: &Condition, t: &Trial) -> Result<(), String> {
    let programs = Program::value_variants().iter();
    match programs.copied().find(|it| it.series() == at.series()) {
        Some(program) => ran(p, program, t),
        None if at.series().starts_with("locked/") => worked(p, at, t),
        None => counted(p, at, t),
    }
}

/// As many updates as were to be made, and as many as the rates say.
fn counted(p: &Params, at: &Condition, t: &Trial) -> Result<(), String> {
    let of = |name: Gauge| gauge(t, name);
    let slice = p.window.s() / f64::from(SLICES);
    let (best, alone) = (of(gauges::BEST_PER_S)?, of(gauges::ALONE_PER_S)?);
    ensure(of(gauges::PER_S)? <= best * (1.0 + HAIR), || {
        format!("the best slice has {best:.3e} a second, and the median more")
    })?;
    for (rate, slice, made, counted) in [
        (best, slice, gauges::UPDATES, gauges::COUNTED),
        (alone, slice / 4.0, gauges::ALONE_UPDATES, gauges::ALONE_COUNTED),
    ] {
        let (made, counted) = (of(made)?, of(counted)?);
        ensure(counted <= made, || format!("{counted} counted of {made}"))?;
        ensure(rate * slice <= made * (1.0 + HAIR), || {
            format!("{rate:.3e} a second, and {made} in all")
        })?;
    }
    let (made, wall) = (of(gauges::UPDATES)?, t.wall_s);
    ensure(made <= OUTSIDE * (best + alone) * wall, || {
        format!("{made} updates in {wall:.4} s, at {best:.3e} a second at best")
    })?;
    let least = match at.x() > 1.0 {
        true => p.least(at.trials().len()) as f64,
        false => 0.0,
    };
    let long = wall > f64::from(LONGEST) * p.window.s();
    ensure(made >= least || long, || format!("{made} updates, where {least} were to be"))
}

/// The items took the trial's time, and were as long as was asked for.
fn worked(p: &Params, at: &Condition, t: &Trial) -> Result<(), String> {
    let (item, speed_up) = (gauge(t, gauges::ITEM_S)?, gauge(t, gauges::SPEED_UP)?);
    ensure(item * QUICKER >= p.item.s() && speed_up > 0.0, || {
        format!("an item took {item:.3e} s, where {} were to be", p.item)
    })?;
    // Twice by one thread alone, and by all, but for those at either end.
    let alone = 2.0 * (p.window.s() / 4.0 / p.item.s()).ceil();
    let all = (p.items(1.0) as f64 - 4.0).max(0.0) / speed_up;
    let least = (alone + all) * item * (1.0 - HAIR);
    ensure(least <= t.wall_s, || format!("{at} has {least:.4} s of items in {:.4} s", t.wall_s))
}

/// A program that hangs falls silent while somebody waits for a lock; one that ends does not, and all of its
/// tasks were there.
fn ran(p: &Params, program: Program, t: &Trial) -> Result<(), String> {
    let ends = t.spans.iter().flat_map(|s| [s.start_s, s.end_s]);
    let mut words: Vec<f64> = ends.collect();
    words.sort_by(f64::total_cmp);
    let gaps = words.windows(2).map(|pair| pair[1] - pair[0]);
    let (silence, patience) = (gaps.fold(0.0, f64::max), p.patience.s());
    let last = words.last().copied().unwrap_or_default();
    let lasted = last - words.first().copied().unwrap_or_default();
    ensure(lasted <= t.wall_s + HAIR, || {
        format!("its tasks took {lasted:.3} s of {:.3} s", t.wall_s)
    })?;
    if gauge(t, gauges::HUNG)? == 0.0 {
        let mut tasks: Vec<&str> = t.spans.iter().map(|s| s.lane.as_str()).collect();
        tasks.sort_unstable();
        tasks.dedup();
        let due = match program {
            Program::TwoOrders | Program::OneOrder => 2,
            _ => REQUESTS + 2,
        };
        ensure(tasks.len() == due, || format!("{} tasks of {due} did something", tasks.len()))?;
        return ensure(silence < 2.0 * patience, || {
            format!("it ended, and was silent for {silence:.3} s")
        });
    }
    ensure((lasted - t.wall_s).abs() <= HAIR, || {
        format!("its tasks took {lasted:.3} s of {:.3} s", t.wall_s)
    })?;
    let stuck = |s: &lab_kit::record::Span| s.end_s == last && s.name.contains("waits for");
    ensure(t.spans.iter().any(stuck), || "it was ended, and nobody waited for a lock".into())?;
    ensure(silence >= patience * (1.0 - HAIR), || {
        format!("it was ended after {silence:.3} s of silence")
    })
}

#[cfg(test)]
mod tests {
    use lab_kit::record::Span;

    use super::*;

    /// Two threads that pay each other: each has a lock and waits for the other's.
    fn hung() -> Trial {
        let span = |lane: &str, name: &str, start_s: f64, end_s: f64| Span {
            lane: lane.into(),
            name: name.into(),
            start_s,
            end_s,
        };
        Trial {
            wall_s: 0.32,
            gauges: [(gauges::HUNG.to_string(), 1.0)].into(),
            spans: vec![
                span("thread 1", "has account 1, goes on", 1.0, 1.02),
                span("thread 2", "has account 2, goes on", 1.0, 1.02),
                span("thread 1", "has account 1, waits for account 2", 1.02, 1.32),
                span("thread 2", "has account 2, waits for account 1", 1.02, 1.32),
            ],
            ..Trial::default()
        }
    }

    #[test]
    fn who_hangs_is_silent_and_waits_for_a_lock() {
        let p = lab_kit::lab::params::<crate::SharedState>(&[]);
        let ran = |trial: &Trial| ran(&p, Program::TwoOrders, trial);
        ran(&hung()).unwrap();
        let alterations: [fn(&mut Trial); 5] = [
            |t| t.spans.clear(),
            |t| t.spans.truncate(2),
            |t| t.wall_s = 0.01,
            |t| t.spans.iter_mut().for_each(|s| s.end_s = s.start_s + 0.01),
            |t| t.spans.iter_mut().for_each(|s| s.name = "sleeps".into()),
        ];
        for (at, alter) in alterations.iter().enumerate() {
            let mut trial = hung();
            alter(&mut trial);
            assert!(ran(&trial).is_err(), "alteration {at} went unnoticed");
        }
        let mut ended = hung();
        ended.gauges.insert(gauges::HUNG.to_string(), 0.0);
        ran(&ended).unwrap();
        ended.spans.truncate(1);
        assert!(ran(&ended).is_err());
    }
}
