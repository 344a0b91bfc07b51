//! Claims: what theory says beside what was measured.

use std::fmt::Write;

use lab_kit::findings::{Basis, Claim, Table, Verdict, number};

use crate::page::{self, Html, badge, count_badge, escaped};

/// How many claims were confirmed, left open and refuted, as badges.
pub(crate) fn score(claims: &[Claim]) -> Html {
    let count = |word: &str| {
        let with = claims.iter().filter(|c| c.verdict().word() == word);
        with.count()
    };
    [
        Verdict::Confirmed,
        Verdict::Inconclusive(String::new()),
        Verdict::Refuted,
    ]
    .iter()
    .map(|verdict| count_badge(count(verdict.word()), verdict))
    .collect()
}

/// The claims as a table, a row each.
pub(crate) fn table(claims: &[Claim]) -> Html {
    let mut out = String::from(
        "<div class=\"scroll wide\" tabindex=\"0\" role=\"group\" aria-label=\"Claims\">\n<table>\n<thead><tr>\
         <th scope=\"col\">verdict</th><th scope=\"col\">claim</th><th scope=\"col\" class=\"number\">theory</th>\
         <th scope=\"col\" class=\"number\">measured [95 %]</th><th scope=\"col\">unit</th><th scope=\"col\">basis</th>\
         </tr></thead>\n<tbody>\n",
    );
    for claim in claims {
        let verdict = claim.verdict();
        let why = match &verdict {
            Verdict::Inconclusive(why) => why,
            _ => &claim.detail,
        };
        let why = if why.is_empty() {
            String::new()
        } else {
            format!("<br><span class=\"small\">{}</span>", escaped(why))
        };
        let _ = writeln!(
            out,
            "<tr><td>{}</td><td class=\"text\">{}{why}</td><td class=\"number\">{}</td>\
             <td class=\"number\">{}{}</td><td>{}</td><td>{}</td></tr>",
            badge(&verdict),
            escaped(&claim.text),
            escaped(&claim.expectation()),
            escaped(&claim.observation()),
            picture(claim),
            escaped(claim.unit),
            basis(claim.basis),
        );
    }
    out.push_str("</tbody></table></div>\n");
    Html::trusted(out)
}

fn basis(basis: Basis) -> &'static str {
    match basis {
        Basis::Predicted => "predicted",
        Basis::Calibrated => "calibrated",
        Basis::Fitted => "fitted",
    }
}

/// The cases of laws that hold at several conditions, behind a fold; nothing without such laws.
pub(crate) fn cases(claims: &[Claim]) -> Html {
    let columns = ["condition", "theory", "tolerance", "measured", "95 %"];
    let mut tables = Html::new();
    for claim in claims.iter().filter(|claim| claim.cases.len() > 1) {
        let mut table = Table::new(&claim.text, &columns);
        for case in &claim.cases {
            let interval = case.measured.and_then(|m| m.ci95);
            table.row([
                case.name.clone(),
                number(case.predicted),
                format!("± {}", number(case.tolerance)),
                case.measured.map_or("–".into(), |m| number(m.value)),
                interval.map_or("–".into(), |(lo, hi)| {
                    format!("{} – {}", number(lo), number(hi))
                }),
            ]);
        }
        tables.push(&page::rows(&table, 100));
    }
    if tables.is_empty() {
        return tables;
    }
    page::fold(
        "Laws that hold at several conditions, at each of them",
        &tables,
    )
}

/// What is allowed as a band, the interval as a line, the value as a dot. The numbers beside it say
/// the same, so that it is hidden from screen readers. Nothing where all is exact.
fn picture(claim: &Claim) -> String {
    let Some(measured) = claim.measured else {
        return String::new();
    };
    let (lo, hi) = measured.ci95.unwrap_or((measured.value, measured.value));
    let expectation = claim.expectation();
    let (from, to) = if expectation.starts_with('≤') {
        (f64::NEG_INFINITY, claim.predicted)
    } else if expectation.starts_with('≥') {
        (claim.predicted, f64::INFINITY)
    } else {
        (
            claim.predicted - claim.tolerance,
            claim.predicted + claim.tolerance,
        )
    };
    let ends = [from, to, lo, hi, claim.predicted, measured.value];
    let known = ends.iter().copied().filter(|v| v.is_finite());
    let (least, most) = known.fold((f64::INFINITY, f64::NEG_INFINITY), |(a, b), v| {
        (a.min(v), b.max(v))
    });
    let room = most - least;
    if !(room.is_finite()
        && room > 0.0
        && measured.value.is_finite()
        && claim.predicted.is_finite())
    {
        return String::new();
    }
    const WIDTH: f64 = 140.0;
    let x = |v: f64| {
        let share = (v.clamp(least - room, most + room) - least + 0.1 * room) / (1.2 * room);
        (share * WIDTH).clamp(0.0, WIDTH)
    };
    let (band, end) = (x(from), x(to));
    format!(
        "<svg class=\"range\" viewBox=\"0 0 {WIDTH} 12\" width=\"{WIDTH}\" height=\"12\" aria-hidden=\"true\">\
         <rect x=\"{band:.1}\" y=\"1\" width=\"{:.1}\" height=\"10\" rx=\"2\"/>\
         <path d=\"M{:.1} 6H{:.1}\"/><circle cx=\"{:.1}\" cy=\"6\" r=\"3\"/></svg>",
        (end - band).max(1.0),
        x(lo),
        x(hi),
        x(measured.value),
    )
}

/// What theory says about the very figure that was asked for: that of the claim, or of one case of
/// a law, whose measured value is this one in the same or another unit. `None` where no claim is
/// about it.
pub(crate) fn theory_of(claims: &[Claim], answer: lab_kit::stats::Estimate) -> Option<String> {
    let measured = |claim: &Claim| {
        let factor = same(claim.measured?, answer)?;
        let plain = claim.expectation();
        let sign: String = plain.chars().take_while(|c| "≤≥ ".contains(*c)).collect();
        Some(format!("{sign}{}", number(claim.predicted * factor)))
    };
    let of_a_case = |claim: &Claim| {
        let with = |case: &lab_kit::findings::Case| {
            let factor = same(case.measured?, answer)?;
            Some(number(case.predicted * factor))
        };
        claim.cases.iter().find_map(with)
    };
    claims
        .iter()
        .filter(|claim| !claim.is_exact() && claim.predicted.is_finite())
        .find_map(|claim| of_a_case(claim).or_else(|| measured(claim)))
}

/// The factor between two estimates of the same trials; `None` when they are not.
fn same(a: lab_kit::stats::Estimate, b: lab_kit::stats::Estimate) -> Option<f64> {
    let factor = b.value / a.value;
    let near = |x: f64, y: f64| (x - y).abs() <= 1e-9 * y.abs();
    let usual = [1.0, 100.0, 0.01, 1e3, 1e-3];
    match (a.ci95, b.ci95) {
        _ if !factor.is_finite() || factor == 0.0 => None,
        (Some((lo, hi)), Some((from, to))) if lo < hi => {
            (near(lo * factor, from) && near(hi * factor, to)).then_some(factor)
        }
        _ => usual.into_iter().find(|usual| near(factor, *usual)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use lab_kit::stats::Estimate;

    fn estimate(value: f64, half: f64) -> Estimate {
        Estimate {
            value,
            ci95: Some((value - half, value + half)),
            trials: 3,
        }
    }

    #[test]
    fn theory_is_found_by_the_figure_it_is_about_in_any_unit() {
        let of = |p: f64, m: Estimate| Claim::near("law", Basis::Predicted, p, Some(m), 0.1);
        let claims = [of(0.5, estimate(0.4, 0.02)), of(0.2, estimate(0.25, 0.03))];
        let percent = estimate(0.25, 0.03).scaled(100.0);
        assert_eq!(theory_of(&claims, percent).unwrap(), "20");
        assert_eq!(theory_of(&claims, estimate(0.25, 0.04)), None);
        assert_eq!(theory_of(&claims, Estimate::exact(0.3)), None);
        let bound = Claim::at_most("law", Basis::Predicted, 3.0, Some(estimate(2.0, 0.1)));
        assert_eq!(theory_of(&[bound], estimate(2.0, 0.1)).unwrap(), "≤ 3");
    }

    #[test]
    fn pictures_stay_in_their_frame_whatever_the_numbers() {
        for (p, v, half) in [
            (1.0, 1.1, 0.2),
            (1e300, -1e300, 1e299),
            (f64::NAN, 1.0, 0.1),
            (0.0, 0.0, 0.0),
        ] {
            let claim = Claim::near("", Basis::Fitted, p, Some(estimate(v, half)), 0.5);
            let drawn = picture(&claim);
            assert!(!drawn.contains("NaN") && !drawn.contains("inf"), "{drawn}");
        }
        let claim = Claim::at_least("", Basis::Fitted, 1.0, Some(estimate(3.0, 0.5)));
        assert!(picture(&claim).contains("<rect"));
    }
}
