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
        "<div class=\"scroll wide\" tabindex=\"0\" role=\"group\" aria-label=\"Claims\">\n<table class=\"claims\">\n<thead><tr>\
         <th scope=\"col\">verdict</th><th scope=\"col\">claim</th><th scope=\"col\" class=\"number\">theory</th>\
         <th scope=\"col\" class=\"number\">measured [95&nbsp;%]</th><th scope=\"col\">unit</th><th scope=\"col\">basis</th>\
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
            "<tr><td>{}</td><td class=\"text\">{}{why}</td><td class=\"number\" data-of=\"theory\">{}</td>\
             <td class=\"number\" data-of=\"measured\">{}{}</td><td data-of=\"in\">{}</td><td data-of=\"basis\">{}</td></tr>",
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
