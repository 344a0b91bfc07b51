//! Claims: what theory says beside what was measured.

use std::fmt::Write;

use lab_kit::claim::{Claim, Verdict};
use lab_kit::report::Score;
use lab_kit::{findings::Table, text::number};

use crate::page::{self, Html, badge, count_badge, escaped};

/// How many claims of theory were confirmed, left open and refuted, as badges; the others as a word.
pub(crate) fn score<'a>(claims: impl IntoIterator<Item = &'a Claim>) -> Html {
    let score = Score::of(claims);
    let verdicts = [Verdict::Confirmed, Verdict::Inconclusive(String::new()), Verdict::Refuted];
    let mut badges: Html = score
        .theory
        .iter()
        .zip(&verdicts)
        .map(|(count, verdict)| count_badge(*count, verdict))
        .collect();
    if score.others != [0, 0, 0] {
        let [hold, open, fail] = score.others;
        let text = format!("besides theory: {hold} hold, {open} open, {fail} fail");
        badges.push(&page::word(&text));
    }
    badges
}

/// The claims as a table, a row each.
pub(crate) fn table(claims: &[Claim]) -> Html {
    let mut out = String::from(
        "<div class=\"scroll wide\" tabindex=\"0\" role=\"group\" aria-label=\"Claims\">\n<table class=\"claims\">\n<thead><tr>\
         <th scope=\"col\">verdict</th><th scope=\"col\">claim</th><th scope=\"col\" class=\"number\">theory</th>\
         <th scope=\"col\" class=\"number\">measured [95&nbsp;%]</th><th scope=\"col\">unit</th><th scope=\"col\">kind</th>\
         </tr></thead>\n<tbody>\n",
    );
    for claim in claims {
        let verdict = claim.verdict();
        let small = |text: &str| match text {
            "" => String::new(),
            text => format!("<br><span class=\"small\">{}</span>", escaped(text)),
        };
        let off = claim.verdict_text();
        let off = off.strip_prefix("confirmed, ").unwrap_or_default();
        let width = match claim.tolerance_reason {
            "" => String::new(),
            why => format!("tolerance: {why}"),
        };
        let why = [claim.reason().as_str(), off, &width].map(small).concat();
        let _ = writeln!(
            out,
            "<tr><td>{}</td><td class=\"text\">{}{why}</td><td class=\"number\" data-of=\"theory\">{}</td>\
             <td class=\"number\" data-of=\"measured\">{}{}</td><td data-of=\"in\">{}</td><td data-of=\"kind\">{}</td></tr>",
            badge(&verdict),
            escaped(&claim.text),
            escaped(&claim.expectation()),
            escaped(&claim.observation()),
            picture(claim),
            escaped(claim.unit),
            claim.kind.word(),
        );
    }
    out.push_str("</tbody></table></div>\n");
    Html::trusted(out)
}

/// The cases of laws that hold at several conditions, behind a fold; nothing without such laws.
pub(crate) fn cases(claims: &[Claim]) -> Html {
    let columns = ["condition", "theory", "tolerance", "measured", "95 %", "verdict"];
    let mut tables = Html::new();
    for claim in claims.iter().filter(|claim| claim.cases.len() > 1) {
        let mut table = Table::new(&claim.text, &columns);
        for (case, judged) in claim.cases.iter().zip(claim.judged()) {
            let interval = judged.ci95;
            table.row([
                case.name.clone(),
                number(case.predicted.value),
                format!("± {}", number(case.tolerance)),
                case.measured.map_or("–".into(), |m| number(m.value)),
                interval
                    .map_or("–".into(), |(lo, hi)| format!("{} – {}", number(lo), number(hi))),
                judged.word().into(),
            ]);
        }
        tables.push(&page::rows(&table, 100));
    }
    if tables.is_empty() {
        return tables;
    }
    page::fold("Laws that hold at several conditions, at each of them", &tables)
}

/// What is allowed as a band, the interval as a line, the value as a dot. The numbers beside it say
/// the same, so that it is hidden from screen readers. Nothing where all is exact.
fn picture(claim: &Claim) -> String {
    let Some(measured) = claim.measured() else {
        return String::new();
    };
    let predicted = claim.predicted();
    let (lo, hi) = claim.ci95().unwrap_or((measured.value, measured.value));
    let (from, to) = claim.allowed();
    let ends = [from, to, lo, hi, predicted, measured.value];
    let known = ends.iter().copied().filter(|v| v.is_finite());
    let (least, most) =
        known.fold((f64::INFINITY, f64::NEG_INFINITY), |(a, b), v| (a.min(v), b.max(v)));
    let room = most - least;
    if !(room.is_finite() && room > 0.0 && measured.value.is_finite() && predicted.is_finite()) {
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
    use lab_kit::claim::{Case, Law};
    use lab_kit::stats::Estimate;

    fn law() -> Law {
        Law::counted("", "")
    }

    #[test]
    fn pictures_stay_in_their_frame_whatever_the_numbers() {
        for (p, v, error) in
            [(1.0, 1.1, 0.2), (1e300, -1e300, 1e299), (f64::NAN, 1.0, 0.1), (0.0, 0.0, 0.0)]
        {
            let measured = Some(Estimate::with_error(v, error, 2));
            let claim = law().near([Case::new("", p, measured, 0.5)]);
            let drawn = picture(&claim);
            assert!(!drawn.contains("NaN") && !drawn.contains("inf"), "{drawn}");
        }
        let measured = Some(Estimate::with_error(3.0, 0.5, 2));
        let claim = law().at_least([Case::exact("", 1.0, measured)]);
        assert!(picture(&claim).contains("<rect"));
    }
}
