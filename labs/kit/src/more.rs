//! Measuring on while it is uncertain.
//!
//! A law that is neither confirmed nor refuted is not decided by being lenient, nor by measuring anew until
//! it fits: its uncertain conditions, and these alone, are measured again, and every trial counts. The time
//! for that is a share of what the run took before.

use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

use crate::{
    findings::Findings,
    origin::Origin,
    session::{Cost, Session},
    text::seconds,
};

/// Trials that an uncertain condition gets at a time, where there is room for so many.
const TRIALS: u32 = 2;

/// Rounds of it at most: what six have not decided lies on the border.
const ROUNDS: usize = 6;

/// Measures on what is uncertain, for no longer than `budget` as far as can be told beforehand. Returns what
/// it took, and a sentence for the reader if there was anything to do.
///
/// `measure` runs the experiment, whose session then measures only what it is asked for; `explain` holds
/// what was measured so far against theory.
///
/// # Errors
/// Those of the experiment.
pub(crate) fn measure_on(
    session: &mut Session,
    budget: Duration,
    measure: &dyn Fn(&mut Session) -> anyhow::Result<()>,
    explain: &dyn Fn(&Session) -> anyhow::Result<Findings>,
) -> anyhow::Result<(Duration, Option<String>)> {
    let (mut spent, mut before, mut trials) = (Duration::ZERO, 0, 0);
    for round in 0..=ROUNDS {
        // What cannot be explained is told where the record is read.
        let Ok(findings) = explain(session) else {
            return Ok((spent, None));
        };
        let uncertain = uncertain(&findings, session);
        if round == 0 {
            before = uncertain.len();
        }
        let left = budget.saturating_sub(spent);
        let chosen = fitting(&uncertain, session, left);
        if chosen.is_empty() || round == ROUNDS || session.stop().is_set() {
            let open = uncertain.len();
            let said = (trials > 0).then(|| {
                format!(
                    "measured on for {}: {before} conditions were uncertain, {trials} trials more, and {open} still are",
                    seconds(spent.as_secs_f64())
                )
            });
            return Ok((spent, said));
        }
        trials += chosen.values().sum::<usize>();
        let start = Instant::now();
        session.again(chosen);
        measure(session)?;
        spent += start.elapsed();
    }
    Ok((spent, None))
}

/// The points whose conditions leave a claim open.
fn uncertain(findings: &Findings, session: &Session) -> Vec<usize> {
    let claims = findings.claims.iter();
    let origin = claims.fold(Origin::default(), |all, claim| all.and(claim.uncertain()));
    let points = 0..session.so_far().lock().len();
    points.filter(|at| origin.has(*at)).collect()
}

/// Those of them that fit into the time that is left, the short ones first, with how many trials of each: they
/// decide most. One trial where two do not fit is better than none.
fn fitting(uncertain: &[usize], session: &Session, left: Duration) -> BTreeMap<usize, usize> {
    let mut costs: Vec<(Cost, usize)> =
        uncertain.iter().filter_map(|at| Some((session.took(*at)?, *at))).collect();
    costs.sort_unstable();
    let mut sum = Duration::ZERO;
    let fit = costs.into_iter().filter_map(|(cost, at)| {
        let fits = |trials: &u32| (sum + cost.alone * *trials).max(cost.span * *trials) <= left;
        let trials = (1..=TRIALS).rev().find(fits)?;
        sum += cost.alone * trials;
        Some((at, trials as usize))
    });
    fit.collect()
}
