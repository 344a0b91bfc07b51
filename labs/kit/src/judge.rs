//! From conditions to a law: how measurement is held against theory.
//!
//! Each condition is judged by itself. It *agrees* when the whole 95 % interval of what was measured lies
//! within the tolerance round what theory says, and it *differs* when the whole of a wider interval lies
//! outside. A law over K conditions is refuted when any of them differs at 1 − 0.05/K (Bonferroni; the
//! first step of Holm 1979, which decides whether there is one at all), and confirmed when all of them
//! agree, which needs no correction (Berger 1982). So a law is as good as its worst condition, and no
//! number of good ones makes up for it.
//!
//! Few trials know little of their own spread. Conditions of one law lend each other theirs, measured in
//! tolerances: the condition that is judged is left out, and so are the odd ones.

use crate::{
    answer::Relation,
    disturbance::Disturbed,
    stats::{Estimate, Spread, deviation, median, students_t},
};

/// One condition of a law, as numbers.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Held {
    pub predicted: f64,
    pub measured: Option<Estimate>,
    pub tolerance: f64,
}

/// What became of a condition.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stand {
    /// It agrees with theory, within the tolerance.
    Agrees,
    /// It differs.
    Differs,
    /// Its interval reaches across the border: more trials would tell.
    Across,
    /// One trial has no interval, and nothing lends it one.
    Single,
    /// What the machine did to its trials could explain the difference.
    Disturbed,
    /// There is no value.
    Missing,
    /// Theory says nothing for these flags.
    Silent,
}

/// A condition judged.
#[derive(Clone, Copy, Debug)]
pub struct Judged {
    /// What became of it.
    pub stand: Stand,
    /// The 95 % interval it was judged by, widened by what disturbed its trials.
    pub ci95: Option<(f64, f64)>,
    /// How far it lies from theory, in tolerances (for bounds: beyond the bound, as a share of it).
    pub off: f64,
    /// How far it lies from theory although it agrees: as a share of the prediction, or as it is where that
    /// is nought. `None` when the interval holds the prediction.
    pub bias: Option<f64>,
}

/// Degrees of freedom that others' spread counts for beside a condition's own: enough to steady a
/// deviation of three trials, too few to drown it.
const LENT: f64 = 4.0;

/// A condition whose own variance is so many times that of the others does not borrow: it is another kind
/// of condition. (Above the 99 % point of F with 4 degrees of freedom against many.)
const ANOTHER_KIND: f64 = 9.0;

/// Judges every condition of a law.
pub(crate) fn judge(relation: Relation, disturbed: Disturbed, cases: &[Held]) -> Vec<Judged> {
    let known = cases.iter().filter(|c| c.measured.is_some()).count();
    let strict = 0.05 / known.max(1) as f64;
    let lenders: Vec<Lender> = cases.iter().map(|c| Lender::of(relation, c)).collect();
    (0..cases.len())
        .map(|at| {
            let lent = Lent::to(at, &lenders);
            one(relation, disturbed, &cases[at], lent, strict)
        })
        .collect()
}

/// The border of what theory allows.
pub(crate) fn allowed(relation: Relation, predicted: f64, tolerance: f64) -> (f64, f64) {
    match relation {
        Relation::Near => (predicted - tolerance, predicted + tolerance),
        Relation::AtMost => (f64::NEG_INFINITY, predicted),
        Relation::AtLeast => (predicted, f64::INFINITY),
    }
}

/// How far a value lies from theory: in tolerances, or beyond a bound as a share of the bound.
fn off(relation: Relation, case: &Held, value: f64) -> f64 {
    let far = (value - case.predicted) / unit(relation, case);
    match relation {
        Relation::Near => far.abs(),
        Relation::AtMost => far,
        Relation::AtLeast => -far,
    }
}

/// What deviations of a law's conditions are measured in.
fn unit(relation: Relation, case: &Held) -> f64 {
    let of = match relation {
        Relation::Near if case.tolerance > 0.0 => case.tolerance,
        _ => case.predicted.abs(),
    };
    if of > 0.0 { of } else { 1.0 }
}

fn one(
    relation: Relation,
    disturbed: Disturbed,
    case: &Held,
    lent: Option<Lent>,
    strict: f64,
) -> Judged {
    let verdict = |stand, ci95, off, bias| Judged {
        stand,
        ci95,
        off,
        bias,
    };
    let Some(measured) = case.measured.filter(|m| m.value.is_finite()) else {
        return verdict(Stand::Missing, None, 0.0, None);
    };
    if !case.predicted.is_finite() || case.tolerance.is_nan() {
        return verdict(Stand::Silent, measured.ci95, 0.0, None);
    }
    let off = off(relation, case, measured.value);
    let scale = unit(relation, case);
    let Some((lo, hi)) = interval(&measured, lent, scale, 0.05) else {
        return verdict(Stand::Single, None, off, None);
    };
    let (by, second) = measured.disturbance();
    let (down, up) = disturbed.allowance(measured.value, second, by);
    let (from, to) = allowed(relation, case.predicted, case.tolerance);
    // A hair of rounding must not decide where both are exact.
    let hair = 1e-9 * case.predicted.abs().max(1e-3);
    let inside = |(lo, hi): (f64, f64)| from - hair <= lo && hi <= to + hair;
    let outside = |(lo, hi): (f64, f64)| hi < from - hair || lo > to + hair;
    let widened = (lo - down, hi + up);
    let ci95 = Some(widened);
    if inside(widened) {
        let excludes = relation == Relation::Near
            && case.tolerance > 0.0
            && (case.predicted < lo - hair || case.predicted > hi + hair);
        let size = match case.predicted.abs() {
            0.0 => 1.0,
            size => size,
        };
        let bias = excludes.then(|| (measured.value - case.predicted) / size);
        return verdict(Stand::Agrees, ci95, off, bias);
    }
    let stand = match measured.spread() {
        // What must hold in every trial differs as soon as it does not in one of them, whatever was done
        // to that.
        Spread::Every(least, most) if least + up < from - hair || most - down > to + hair => {
            Stand::Differs
        }
        Spread::Every(..) => Stand::Disturbed,
        _ => {
            let Some((low, high)) = interval(&measured, lent, scale, strict) else {
                return verdict(Stand::Single, ci95, off, None);
            };
            if outside((low - down, high + up)) {
                Stand::Differs
            } else if inside((lo, hi)) || outside((low, high)) {
                Stand::Disturbed
            } else {
                Stand::Across
            }
        }
    };
    verdict(stand, ci95, off, None)
}

/// What a condition can lend.
#[derive(Clone, Copy, Debug)]
struct Lender {
    /// Variance of a trial and its degrees of freedom, in squared tolerances.
    variance: Option<(f64, f64)>,
    /// Deviation from theory in tolerances, with its sign.
    residual: Option<f64>,
}

impl Lender {
    fn of(relation: Relation, case: &Held) -> Lender {
        let unit = unit(relation, case);
        let measured = case.measured.filter(|m| m.value.is_finite());
        let residual = measured.map(|m| (m.value - case.predicted) / unit);
        let variance = measured.and_then(|m| match m.spread() {
            Spread::Mean {
                deviation, freedom, ..
            } if freedom >= 1.0 => Some(((deviation / unit).powi(2), freedom)),
            _ => None,
        });
        Lender {
            variance,
            residual: residual.filter(|r| r.is_finite()),
        }
    }
}

/// The spread of a trial that the other conditions of a law show.
#[derive(Clone, Copy, Debug)]
struct Lent {
    /// Variance of a trial, in squared tolerances, with its degrees of freedom: from repeated trials.
    repeated: Option<(f64, f64)>,
    /// The same from single trials round their predictions, and how many they are.
    single: Option<(f64, f64, usize)>,
}

impl Lent {
    fn to(at: usize, lenders: &[Lender]) -> Option<Lent> {
        let others = || {
            let all = lenders.iter().enumerate();
            all.filter(|(i, _)| *i != at).map(|(_, l)| l)
        };
        let variances: Vec<(f64, f64)> = others().filter_map(|l| l.variance).collect();
        let freedom: f64 = variances.iter().map(|(_, freedom)| freedom).sum();
        let repeated = (freedom >= 2.0).then(|| {
            // The median of the variances, each over the median of its own distribution as a share of
            // its mean (Wilson and Hilferty 1931): half of the conditions may be odd.
            let centred = variances
                .iter()
                .map(|(v, f)| v / (1.0 - 2.0 / (9.0 * f)).powi(3));
            (median(&centred.collect::<Vec<_>>()), freedom)
        });
        let residuals: Vec<f64> = others().filter_map(|l| l.residual).collect();
        let single = (residuals.len() >= 3).then(|| {
            let middle = median(&residuals);
            let far: Vec<f64> = residuals.iter().map(|r| (r - middle).abs()).collect();
            // 1.4826 makes it a standard deviation (Hampel 1974).
            let scale = 1.4826 * median(&far);
            let kept: Vec<f64> = residuals
                .iter()
                .copied()
                .filter(|r| (r - middle).abs() <= 3.0 * scale)
                .collect();
            let spread = deviation(&kept).max(scale);
            (spread * spread, (kept.len() - 1) as f64, residuals.len())
        });
        let lent = Lent { repeated, single };
        (repeated.is_some() || single.is_some()).then_some(lent)
    }
}

/// The interval of a condition at 1 − `alpha`, with the help of others of its law.
fn interval(measured: &Estimate, lent: Option<Lent>, unit: f64, alpha: f64) -> Option<(f64, f64)> {
    let around = |half: f64| Some((measured.value - half, measured.value + half));
    match (measured.spread(), lent) {
        (
            Spread::Mean {
                deviation,
                worth,
                freedom,
            },
            Some(Lent {
                repeated: Some((variance, of)),
                ..
            }),
        ) => {
            let (own, others) = (deviation.powi(2), variance * unit * unit);
            if own > ANOTHER_KIND * others {
                return measured.interval(alpha);
            }
            // A moderated variance (Smyth 2004).
            let weight = of.min(LENT);
            let moderated = (own * freedom + others * weight) / (freedom + weight);
            around(students_t(freedom + weight, alpha) * (moderated / worth).sqrt())
        }
        (Spread::Unknown, Some(lent)) if measured.trials == 1 => match lent {
            // A new observation of a known distribution.
            Lent {
                repeated: Some((variance, freedom)),
                ..
            } if freedom >= 4.0 || lent.single.is_none() => {
                around(students_t(freedom, alpha) * variance.sqrt() * unit)
            }
            Lent {
                single: Some((variance, freedom, of)),
                ..
            } => {
                let new = (variance * (1.0 + 1.0 / of as f64)).sqrt();
                around(students_t(freedom, alpha) * new * unit)
            }
            _ => None,
        },
        _ => measured.interval(alpha),
    }
}

/// The condition that speaks for a law: the one farthest from theory, in tolerances; one that has no value
/// where there is nothing else.
pub(crate) fn farthest(judged: &[Judged]) -> Option<usize> {
    let all = judged.iter().enumerate();
    let worst = all.max_by(|(_, a), (_, b)| {
        let rank = |j: &Judged| (!matches!(j.stand, Stand::Missing | Stand::Silent), j.off);
        let ((a_known, a_off), (b_known, b_off)) = (rank(a), rank(b));
        a_known.cmp(&b_known).then(a_off.total_cmp(&b_off))
    });
    worst.map(|(at, _)| at)
}
