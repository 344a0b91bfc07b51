//! From conditions to a law: how measurement is held against theory.
//!
//! Each condition is judged by itself. It *agrees* when the whole 95 % interval of what was measured lies
//! within the tolerance round what theory says, and it *differs* when the whole of a wider interval lies
//! outside. A law over K conditions is refuted when any of them differs at 1 − 0.05/K (Bonferroni; the
//! first step of Holm 1979, which decides whether there is one at all) and chance would hardly have put it
//! that far from what theory says, in a suite of hundreds of claims. It is confirmed when all of them
//! agree, which needs no correction (Berger 1982). A prediction that was calibrated from few trials may be
//! off by chance itself: it refutes only what lies beyond that, and where it may be off by more than the
//! tolerance and by half of itself, it confirms nothing. So a law is as good as its worst condition, and no
//! number of good ones makes up for it.
//!
//! Few trials know little of their own spread. Conditions of one law lend each other theirs, measured in
//! tolerances, and in proportion to the value where that is far from what theory says: the condition that is judged is left out, and so are the odd ones.

use crate::{
    answer::Relation,
    disturbance::Disturbed,
    stats::{Estimate, Spread, deviation, median, students_t},
};

/// One condition of a law, as numbers.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Held {
    pub predicted: f64,
    /// How far off the prediction may be by chance, where it rests on something measured.
    pub blur: f64,
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
    /// It agrees, but its few trials scatter so much that nothing they could have shown would have refuted
    /// it, and so it is at every condition of the law: more trials would tell.
    Scattered,
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

/// How often, at most, chance alone may put the values of a law beyond what theory says exactly: some thirty
/// laws of a suite scatter enough to be put there at all, and one suite of a thousand may say so.
const BY_CHANCE: f64 = 3e-5;

/// The same for a condition of fewer than [`ENOUGH`] trials to which nobody lends: less often than this, chance
/// is not to be told from anything by so few.
const OF_FEW: f64 = 5e-4;
const ENOUGH: usize = 5;

/// Degrees of freedom that others' spread counts for at most beside a condition's own: enough to steady a
/// deviation of three trials, too few to drown that of many.
const LENT: f64 = 16.0;

/// A condition whose own variance is so many times that of the others does not borrow: it is another kind
/// of condition. (Above the 99 % point of F with 4 degrees of freedom against many.)
const ANOTHER_KIND: f64 = 9.0;

/// So many times the value, at most, may an interval of chance reach for its noise to be taken for a share of
/// the value.
const IN_PROPORTION: f64 = 1.5;

/// Judges every condition of a law.
pub(crate) fn judge(relation: Relation, disturbed: Disturbed, cases: &[Held]) -> Vec<Judged> {
    let known = cases.iter().filter(|c| c.measured.is_some()).count();
    let strict = 0.05 / known.max(1) as f64;
    let lenders: Vec<Lender> = cases.iter().map(|c| Lender::of(relation, c)).collect();
    let one = |at: usize| {
        let lent = Lent::to(at, &lenders);
        one(relation, disturbed, &cases[at], lent, strict)
    };
    let mut judged: Vec<Judged> = (0..cases.len()).map(one).collect();
    // Where one condition could have been lost, so could the law.
    if judged.iter().any(|j| j.stand == Stand::Agrees) {
        for j in judged.iter_mut().filter(|j| j.stand == Stand::Scattered) {
            j.stand = Stand::Agrees;
        }
    }
    judged
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

/// What the spread of a condition's trials is measured in: most noise is a share of the value, which may be
/// far from what theory says.
fn noise_unit(relation: Relation, case: &Held, value: f64) -> f64 {
    let far = match relation {
        Relation::Near => (value.abs() / (case.predicted.abs() + case.tolerance)).max(1.0),
        _ => (value / case.predicted).abs().max(0.1),
    };
    unit(relation, case) * if far.is_finite() { far } else { 1.0 }
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
    let verdict = |stand, ci95, off, bias| Judged { stand, ci95, off, bias };
    let Some(measured) = case.measured.filter(|m| m.value.is_finite()) else {
        return verdict(Stand::Missing, None, 0.0, None);
    };
    if !case.predicted.is_finite() || case.tolerance.is_nan() {
        return verdict(Stand::Silent, measured.ci95, 0.0, None);
    }
    let off = off(relation, case, measured.value);
    let scale =
        Scale { theory: unit(relation, case), noise: noise_unit(relation, case, measured.value) };
    let rarely = match lent {
        None if measured.trials < ENOUGH => OF_FEW,
        _ => BY_CHANCE,
    };
    let Some((lo, hi)) = interval(&measured, lent, scale, 0.05) else {
        return verdict(Stand::Single, None, off, None);
    };
    // A whole suite makes hundreds of claims: one that chance alone could make is no refutation.
    let chance = interval(&measured, lent, scale, strict * rarely / 0.05);
    let (by, second) = measured.disturbance();
    let (down, up) = disturbed.allowance(measured.value, second, by);
    let (from, to) = allowed(relation, case.predicted, case.tolerance);
    // A hair of rounding must not decide where both are exact.
    let hair = 1e-9 * case.predicted.abs().max(1e-3);
    let inside = |(lo, hi): (f64, f64)| from - hair <= lo && hi <= to + hair;
    let far = hair + case.blur;
    let outside = |(lo, hi): (f64, f64)| hi < from - far || lo > to + far;
    let widened = (lo - down, hi + up);
    let ci95 = Some(widened).filter(|(lo, hi)| lo.is_finite() && hi.is_finite());
    if inside(widened) {
        let excludes = relation == Relation::Near
            && case.tolerance > 0.0
            && (case.predicted < lo - hair || case.predicted > hi + hair);
        let size = match case.predicted.abs() {
            0.0 => 1.0,
            size => size,
        };
        let bias = excludes.then(|| (measured.value - case.predicted) / size);
        let stand = if could_be_lost(relation, case, &measured, lent, chance) {
            Stand::Agrees
        } else {
            Stand::Scattered
        };
        return verdict(stand, ci95, off, bias);
    }
    let stand = match measured.spread() {
        // What must hold in every trial differs as soon as it does not in one of them, whatever was done
        // to that.
        Spread::Every(least, most) if least + up < from - far || most - down > to + far => {
            Stand::Differs
        }
        Spread::Every(..) => Stand::Disturbed,
        _ => {
            let Some((low, high)) = interval(&measured, lent, scale, strict) else {
                return verdict(Stand::Single, ci95, off, None);
            };
            let by_chance = chance.is_none_or(|ends| {
                let (low, high) = in_proportion(measured.value, ends);
                (low - case.blur..=high + case.blur).contains(&case.predicted)
            });
            if outside((low - down, high + up)) && !by_chance {
                Stand::Differs
            } else if down + up > 0.0 && (inside((lo, hi)) || outside((low, high))) {
                Stand::Disturbed
            } else {
                Stand::Across
            }
        }
    };
    verdict(stand, ci95, off, None)
}

/// True when other values than these would have refuted what they agree with: noise that is a share of the
/// value reaches no farther than the value, and the prediction is known well enough to be missed.
fn could_be_lost(
    relation: Relation,
    case: &Held,
    measured: &Estimate,
    lent: Option<Lent>,
    chance: Option<(f64, f64)>,
) -> bool {
    let known = case.blur <= case.tolerance.max(case.predicted.abs() / 2.0);
    let size = match relation {
        Relation::Near => (case.predicted.abs() + case.tolerance).max(measured.value.abs()),
        _ => measured.value.abs(),
    };
    let grows_with_the_value = match measured.spread() {
        Spread::Mean { .. } | Spread::Derived { .. } => true,
        Spread::Unknown => lent.is_some_and(|lent| lent.repeated_for_one().is_some()),
        Spread::Exact | Spread::Share(..) | Spread::Every(..) => false,
    };
    let reach = chance.map_or(0.0, |(low, _)| measured.value - low);
    let scatters = match (measured.spread(), relation) {
        _ if grows_with_the_value => case.predicted != 0.0 && reach >= IN_PROPORTION * size,
        // Nothing is less than nought.
        (Spread::Unknown, Relation::AtLeast) => reach >= case.predicted,
        _ => false,
    };
    known && !scatters
}

/// An interval as the same one on a logarithmic scale, where it reaches as far as the value is large: noise
/// that is a share of the value leaves it on its side of nought. Farther than that an interval of few trials
/// says nothing of either kind of noise.
fn in_proportion(value: f64, (low, high): (f64, f64)) -> (f64, f64) {
    let share = (value - low) / value;
    if value > 0.0 && (0.0..IN_PROPORTION).contains(&share) {
        (value * (-share).exp(), high)
    } else {
        (low, high)
    }
}

/// What a condition can lend.
#[derive(Clone, Copy, Debug)]
struct Lender {
    /// Variance of a trial, in squared units of its noise, and its degrees of freedom.
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
            Spread::Mean { deviation, freedom, .. } if freedom >= 1.0 => {
                let unit = noise_unit(relation, case, m.value);
                Some(((deviation / unit).powi(2), freedom))
            }
            _ => None,
        });
        Lender { variance, residual: residual.filter(|r| r.is_finite()) }
    }
}

/// The spread of a trial that the other conditions of a law show.
#[derive(Clone, Copy, Debug)]
struct Lent {
    /// Variance of a trial, in squared units of noise, with the degrees of freedom that it counts for: from
    /// repeated trials.
    repeated: Option<(f64, f64)>,
    /// The same from single trials round their predictions, and how many they are.
    single: Option<(f64, f64, usize)>,
}

impl Lent {
    /// What repeated trials lend to a single one: where they are few, single ones say more.
    fn repeated_for_one(&self) -> Option<(f64, f64)> {
        let enough = |freedom: f64| freedom >= 3.0 || self.single.is_none();
        self.repeated.filter(|(_, freedom)| enough(*freedom))
    }

    fn to(at: usize, lenders: &[Lender]) -> Option<Lent> {
        let others = || {
            let all = lenders.iter().enumerate();
            all.filter(|(i, _)| *i != at).map(|(_, l)| l)
        };
        let variances: Vec<(f64, f64)> = others().filter_map(|l| l.variance).collect();
        let repeated = prior(&variances);
        let residuals: Vec<f64> = others().filter_map(|l| l.residual).collect();
        let single = (residuals.len() >= 3).then(|| {
            let middle = median(&residuals);
            let far: Vec<f64> = residuals.iter().map(|r| (r - middle).abs()).collect();
            // 1.4826 makes it a standard deviation (Hampel 1974).
            let scale = 1.4826 * median(&far);
            let kept: Vec<f64> =
                residuals.iter().copied().filter(|r| (r - middle).abs() <= 3.0 * scale).collect();
            let spread = deviation(&kept).max(scale);
            (spread * spread, (kept.len() - 1) as f64, residuals.len())
        });
        let lent = Lent { repeated, single };
        (repeated.is_some() || single.is_some()).then_some(lent)
    }
}

/// What the variances of several conditions, each with its degrees of freedom, say of that of another one: the
/// typical variance, and the degrees of freedom that it counts for, the fewer the more they differ among
/// themselves (empirical Bayes; Smyth 2004, section 6.2).
fn prior(variances: &[(f64, f64)]) -> Option<(f64, f64)> {
    let freedom: f64 = variances.iter().map(|(_, freedom)| freedom).sum();
    if freedom < 2.0 {
        return None;
    }
    // In logarithms, in which a few large ones do not decide; each is centred by what chance makes of it.
    let centred: Vec<f64> = variances
        .iter()
        .map(|(v, f)| v.max(1e-18).ln() - digamma(f / 2.0) + (f / 2.0).ln())
        .collect();
    let n = centred.len() as f64;
    let typical = centred.iter().sum::<f64>() / n;
    let by_chance = variances.iter().map(|(_, f)| trigamma(f / 2.0)).sum::<f64>() / n;
    let differ = deviation(&centred).powi(2) - by_chance;
    let alike = if differ > 0.0 { (2.0 * inverse_trigamma(differ)).clamp(1.0, LENT) } else { LENT };
    let weight = alike.min(freedom);
    // The mean of a scaled inverse chi-square, of which the logarithm is known.
    let variance = typical + digamma(weight / 2.0) - (weight / 2.0).ln();
    Some((if differ > 0.0 { variance.exp() } else { typical.exp() }, weight))
}

/// Derivative of the logarithm of the gamma function, by its recurrence and asymptotic series (Abramowitz and
/// Stegun 1964, 6.3.5 and 6.3.18).
fn digamma(mut x: f64) -> f64 {
    let mut sum = 0.0;
    while x < 6.0 {
        sum -= 1.0 / x;
        x += 1.0;
    }
    let y = 1.0 / (x * x);
    sum + x.ln() - 0.5 / x - y * (1.0 / 12.0 - y * (1.0 / 120.0 - y / 252.0))
}

/// Its derivative (6.4.6 and 6.4.12).
fn trigamma(mut x: f64) -> f64 {
    let mut sum = 0.0;
    while x < 6.0 {
        sum += 1.0 / (x * x);
        x += 1.0;
    }
    let y = 1.0 / (x * x);
    sum + 1.0 / x + y / 2.0 + y / x * (1.0 / 6.0 - y * (1.0 / 30.0 - y / 42.0))
}

/// Where [`trigamma`], which falls, has this value.
fn inverse_trigamma(value: f64) -> f64 {
    let (mut low, mut high) = (1e-6, 1e6);
    for _ in 0..80 {
        let middle = f64::sqrt(low * high);
        if trigamma(middle) > value {
            low = middle;
        } else {
            high = middle;
        }
    }
    f64::sqrt(low * high)
}

/// What a condition's deviations are measured in: those from theory, and those of its trials among themselves.
#[derive(Clone, Copy, Debug)]
struct Scale {
    theory: f64,
    noise: f64,
}

/// The interval of a condition at 1 − `alpha`, with the help of others of its law.
fn interval(
    measured: &Estimate,
    lent: Option<Lent>,
    scale: Scale,
    alpha: f64,
) -> Option<(f64, f64)> {
    let around = |half: f64| Some((measured.value - half, measured.value + half));
    match (measured.spread(), lent) {
        (
            Spread::Mean { deviation, worth, freedom },
            Some(Lent { repeated: Some((variance, of)), .. }),
        ) => {
            let (own, others) = (deviation.powi(2), variance * scale.noise.powi(2));
            if own > ANOTHER_KIND * others {
                return measured.interval(alpha);
            }
            // A moderated variance (Smyth 2004).
            let moderated = (own * freedom + others * of) / (freedom + of);
            around(students_t(freedom + of, alpha) * (moderated / worth).sqrt())
        }
        (Spread::Unknown, Some(lent)) if measured.trials == 1 => {
            // A new observation of a known distribution; of two that are known, the wider one: the few
            // conditions that were measured on may be calmer than those that were not.
            let repeated = lent.repeated_for_one().map(|(variance, freedom)| {
                students_t(freedom, alpha) * variance.sqrt() * scale.noise
            });
            let single = lent.single.map(|(variance, freedom, of)| {
                let new = (variance * (1.0 + 1.0 / of as f64)).sqrt();
                students_t(freedom, alpha) * new * scale.theory
            });
            around(repeated.into_iter().chain(single).reduce(f64::max)?)
        }
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::disturbance::{Disturbance, Resource};
    use proptest::prelude::*;
    use rand::{RngExt, SeedableRng};
    use rand_distr::StandardNormal;
    use rand_pcg::Pcg64Mcg;

    const WAIT: Disturbed = Disturbed::Longer(Resource::Timers);

    /// A condition of theory's value 100 and a tolerance of 1.
    fn held(trials: &[f64]) -> Held {
        Held { predicted: 100.0, blur: 0.0, measured: Estimate::of(trials), tolerance: 1.0 }
    }

    /// What a law says as a whole, as claims say it.
    fn law(cases: &[Held]) -> &'static str {
        let judged = judge(Relation::Near, WAIT, cases);
        let with = |stand| judged.iter().any(|j| j.stand == stand);
        match () {
            () if with(Stand::Differs) => "refuted",
            () if judged.iter().all(|j| j.stand == Stand::Agrees) => "confirmed",
            () => "open",
        }
    }

    #[test]
    fn intervals_decide() {
        let one = |a: f64| law(&[held(&[a - 0.1, a, a + 0.1])]);
        assert_eq!((one(100.5), one(103.0), one(100.9)), ("confirmed", "refuted", "open"));
        assert_eq!(law(&[held(&[100.0])]), "open");
        let bound = |relation, value: f64| {
            let case = Held { tolerance: 0.0, ..held(&[value - 0.1, value, value + 0.1]) };
            judge(relation, WAIT, &[case])[0].stand
        };
        assert_eq!(bound(Relation::AtMost, 90.0), Stand::Agrees);
        assert_eq!(bound(Relation::AtMost, 110.0), Stand::Differs);
        assert_eq!(bound(Relation::AtLeast, 110.0), Stand::Agrees);
        assert_eq!(bound(Relation::AtLeast, 90.0), Stand::Differs);
    }

    #[test]
    fn a_prediction_refutes_nothing_within_its_own_chances() {
        let blurred = |blur: f64, a: f64| {
            let case = Held { blur, ..held(&[a - 0.1, a, a + 0.1]) };
            law(&[case])
        };
        assert_eq!((blurred(0.0, 103.0), blurred(3.0, 103.0)), ("refuted", "open"));
        assert_eq!(blurred(3.0, 106.0), "refuted");
        // One that may be anything confirms nothing.
        assert_eq!((blurred(3.0, 100.0), blurred(60.0, 100.0)), ("confirmed", "open"));
    }

    #[test]
    fn what_nothing_could_have_refuted_is_not_confirmed() {
        let bound = |trials: &[f64]| {
            let case = Held { tolerance: 0.0, ..held(trials) };
            judge(Relation::AtMost, WAIT, &[case])[0].stand
        };
        // Nine times as much, with nine times the noise.
        for (trials, below, above) in [
            ([25.7, 26.0, 26.3], Stand::Agrees, Stand::Differs),
            ([20.0, 26.0, 32.0], Stand::Scattered, Stand::Across),
        ] {
            assert_eq!(bound(&trials), below);
            assert_eq!(bound(&trials.map(|t| 9.0 * t)), above);
        }
    }

    #[test]
    fn what_has_no_value_is_no_confirmation() {
        let good = held(&[99.9, 100.0, 100.1]);
        let missing = Held { measured: None, ..good };
        let silent = Held { predicted: f64::NAN, ..good };
        assert_eq!(judge(Relation::Near, WAIT, &[good, missing])[1].stand, Stand::Missing);
        assert_eq!(judge(Relation::Near, WAIT, &[good, silent])[1].stand, Stand::Silent);
        assert_eq!((law(&[good, missing]), law(&[good, silent])), ("open", "open"));
    }

    #[test]
    fn a_noisy_condition_hides_no_refuted_one() {
        let noisy = held(&[94.0, 97.0, 100.0, 103.0, 106.0]);
        let wrong = held(&[106.4, 106.45, 106.5, 106.55, 106.6]);
        let right = held(&[99.9, 99.95, 100.0, 100.05, 100.1]);
        assert_eq!(law(&[noisy, wrong, right]), "refuted");
        let judged = judge(Relation::Near, WAIT, &[noisy, wrong]);
        assert_eq!(farthest(&judged), Some(1), "the farthest is named, not the noisiest");
    }

    #[test]
    fn near_but_not_equal_is_said() {
        let off = judge(Relation::Near, WAIT, &[held(&[100.49, 100.5, 100.51])])[0];
        assert_eq!(off.stand, Stand::Agrees);
        assert!((off.bias.unwrap() - 0.005).abs() < 1e-9);
        let on = judge(Relation::Near, WAIT, &[held(&[99.9, 100.0, 100.2])])[0];
        assert_eq!((on.stand, on.bias), (Stand::Agrees, None));
    }

    #[test]
    fn a_stall_excuses_its_own_length() {
        let by =
            |stall_s| Disturbance { stall_s, worst_stall_s: stall_s, wall_s: 100.0, others_s: 0.0 };
        let stand = |value: f64, stall_s| {
            let trials = [value - 0.1, value, value + 0.1];
            let case = Held {
                measured: Estimate::of(&trials).map(|e| e.disturbed(by(stall_s))),
                ..held(&trials)
            };
            judge(Relation::Near, WAIT, &[case])[0].stand
        };
        assert_eq!(stand(103.0, 0.0), Stand::Differs);
        assert_eq!(stand(103.0, 3.0), Stand::Disturbed);
        assert_eq!(stand(103.0, 1.0), Stand::Differs);
        // It has made nothing shorter.
        assert_eq!(stand(97.0, 3.0), Stand::Differs);
        // And what agrees might do so because of it.
        assert_eq!(stand(100.0, 3.0), Stand::Disturbed);
    }

    #[test]
    fn what_must_hold_in_every_trial_is_refuted_by_one() {
        let every = |values: &[f64]| {
            let case = Held {
                predicted: 0.0,
                blur: 0.0,
                measured: Estimate::every(values),
                tolerance: 0.0,
            };
            judge(Relation::Near, Disturbed::Never, &[case])[0].stand
        };
        assert_eq!(every(&[0.0, 0.0, 0.0]), Stand::Agrees);
        assert_eq!(every(&[0.0, 1.0, 0.0]), Stand::Differs);
    }

    /// A law over so many conditions of so many trials, each with normal noise (in tolerances) round its
    /// own deviation from theory.
    fn drawn(rng: &mut Pcg64Mcg, off: &[f64], trials: usize, noise: f64) -> Vec<Held> {
        let mut trial = |off: f64| 100.0 + off + noise * rng.sample::<f64, _>(StandardNormal);
        off.iter().map(|off| held(&(0..trials).map(|_| trial(*off)).collect::<Vec<_>>())).collect()
    }

    /// How often in `runs` a law is confirmed and refuted.
    fn tally(off: &[f64], trials: usize, noise: f64, runs: u64) -> (f64, f64) {
        let mut rng = Pcg64Mcg::seed_from_u64(off.len() as u64);
        let mut counts = (0, 0);
        for _ in 0..runs {
            match law(&drawn(&mut rng, off, trials, noise)) {
                "confirmed" => counts.0 += 1,
                "refuted" => counts.1 += 1,
                _ => {}
            }
        }
        (f64::from(counts.0) / runs as f64, f64::from(counts.1) / runs as f64)
    }

    /// Abramowitz and Stegun 1964, tables 6.1 and 6.2.
    #[test]
    fn derivatives_of_the_gamma_function_match_the_printed_tables() {
        for (x, first, second) in [
            (1.0, -0.5772156649, 1.6449340668),
            (1.5, 0.0364899740, 0.9348022005),
            (2.0, 0.4227843351, 0.6449340668),
            (0.5, -1.9635100260, 4.9348022005),
        ] {
            assert!((digamma(x) - first).abs() < 1e-8, "{x}: {}", digamma(x));
            assert!((trigamma(x) - second).abs() < 1e-7, "{x}: {}", trigamma(x));
            assert!((inverse_trigamma(second) - x).abs() < 1e-6, "{x}");
        }
    }

    #[test]
    fn conditions_that_differ_among_themselves_lend_little() {
        let (_, alike) = prior(&[(1.0, 2.0); 10]).unwrap();
        let mixed: Vec<(f64, f64)> = (0..10).map(|i| (f64::from(10_u32.pow(i % 5)), 2.0)).collect();
        let (_, different) = prior(&mixed).unwrap();
        assert!(alike > 15.9 && different < 2.0, "{alike} {different}");
        assert_eq!(prior(&[(1.0, 1.0)]), None);
    }

    #[test]
    fn one_condition_of_twenty_that_is_off_is_found() {
        let mut off = [0.0; 20];
        off[7] = 2.0;
        for (trials, noise) in [(1, 0.1), (1, 0.2), (3, 0.1), (3, 0.2), (5, 0.3)] {
            let (confirmed, refuted) = tally(&off, trials, noise, 1000);
            assert!(
                confirmed <= 0.01 && refuted >= 0.8,
                "{trials} trials, noise {noise}: {confirmed} confirmed, {refuted} refuted"
            );
        }
    }

    #[test]
    fn half_a_tolerance_off_everywhere_is_never_refuted() {
        for (trials, noise) in [(1, 0.2), (3, 0.1), (3, 0.3), (5, 0.5)] {
            let (_, refuted) = tally(&[0.5; 20], trials, noise, 1000);
            assert!(refuted == 0.0, "{trials} trials, noise {noise}: {refuted}");
        }
    }

    #[test]
    fn true_theory_is_hardly_ever_refuted_whatever_the_noise() {
        for k in [1, 2, 5, 20] {
            for (trials, noise) in
                [(1, 0.3), (3, 0.3), (2, 1.0), (3, 1.0), (3, 3.0), (1, 3.0), (7, 3.0)]
            {
                let (_, refuted) = tally(&vec![0.0; k], trials, noise, 1000);
                println!("{k} conditions, {trials} trials, noise {noise}: {refuted}");
                let most = if noise < 0.5 { 0.0 } else { 0.05 };
                assert!(
                    refuted <= most,
                    "{k} conditions, {trials} trials, noise {noise}: {refuted}"
                );
            }
        }
    }

    #[test]
    fn a_law_far_off_everywhere_is_refuted_at_any_number_of_conditions() {
        for (k, trials) in [(1, 5), (2, 3), (4, 1), (6, 1), (10, 1), (20, 1)] {
            let (confirmed, refuted) = tally(&vec![3.0; k], trials, 0.1, 500);
            assert!(
                confirmed == 0.0 && (refuted >= 0.9 || (k < 10 && trials == 1)),
                "{k} of {trials}: {refuted}"
            );
        }
    }

    proptest! {
        /// Whatever the others do, a condition that is off by three tolerances keeps a law from passing.
        #[test]
        fn no_number_of_good_conditions_makes_up_for_a_bad_one(
            others in prop::collection::vec((-0.9f64..0.9, 0f64..2.0, 1usize..4), 0..10),
            bad in prop::sample::select(vec![-3.0, 3.0]),
            trials in 1usize..4,
            seed: u64,
        ) {
            let mut rng = Pcg64Mcg::seed_from_u64(seed);
            let mut cases: Vec<Held> = others
                .iter()
                .flat_map(|(off, noise, trials)| drawn(&mut rng, &[*off], *trials, *noise))
                .collect();
            cases.push(held(&vec![100.0 + bad; trials]));
            prop_assert_ne!(law(&cases), "confirmed");
        }

        #[test]
        fn intervals_of_a_law_hold_the_values_they_are_about(
            offs in prop::collection::vec(-5f64..5.0, 1..12), trials in 1usize..5, noise in 0f64..3.0, seed: u64
        ) {
            let mut rng = Pcg64Mcg::seed_from_u64(seed);
            let cases = drawn(&mut rng, &offs, trials, noise);
            for (judged, case) in judge(Relation::Near, WAIT, &cases).iter().zip(&cases) {
                if let Some((lo, hi)) = judged.ci95 {
                    let value = case.measured.unwrap().value;
                    prop_assert!(lo <= value + 1e-9 && value <= hi + 1e-9);
                }
            }
        }
    }
}
