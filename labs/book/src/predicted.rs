//! What the reader said beside what was measured and what theory says.

use lab_kit::{
    findings::number,
    lab::Question,
    report::{Entry, judgement},
};

use crate::{
    claim,
    page::{Html, escaped, fold},
};

/// The questions of a lab with what became of them.
///
/// Who has predicted sees everything side by side. Who has not finds the answers behind folds: a
/// prediction is worth something only before.
pub(crate) fn strips(questions: &[Question], entry: Option<&Entry>) -> Html {
    let mut out = Html::new();
    for question in questions {
        out.element("p class=\"ask\"", question.ask);
        let Some(entry) = entry else { continue };
        let said = entry.record.predictions.get(question.key).copied();
        let strip = strip(question, entry, said);
        match said {
            Some(_) => out.push(&strip),
            None => out.push(&fold("Predict first; then see what came out", &strip)),
        }
    }
    out
}

fn strip(question: &Question, entry: &Entry, said: Option<f64>) -> Html {
    let findings = &entry.findings;
    let answer = findings
        .answers
        .iter()
        .find(|(key, _)| *key == question.key);
    let answer = answer.map(|(_, answer)| *answer);
    let theory = answer.and_then(|answer| claim::theory_of(&findings.claims, answer));
    let unit = |text: String| format!("{text} {}", question.unit);
    let mut cells = Vec::new();
    if let Some(said) = said {
        let how = answer.map_or(String::new(), |answer| judgement(said, answer.value));
        cells.push(("You predicted", unit(number(said)), how));
    }
    let interval = answer.and_then(|a| a.ci95).filter(|(lo, hi)| lo < hi);
    cells.push((
        "Measured",
        answer.map_or("not in this run".into(), |a| unit(number(a.value))),
        interval.map_or(String::new(), |(lo, hi)| {
            format!("95 % interval {} to {}", number(lo), number(hi))
        }),
    ));
    cells.push((
        "Theory",
        theory.as_ref().map_or("–".into(), |t| unit(t.clone())),
        match theory {
            Some(_) => String::new(),
            None => "no single figure: see the claims".into(),
        },
    ));
    let cells: String = cells
        .into_iter()
        .map(|(name, value, more)| {
            let more = if more.is_empty() {
                String::new()
            } else {
                format!("<small>{}</small>", escaped(&more))
            };
            format!(
                "<div><dt>{name}</dt><dd>{}{more}</dd></div>\n",
                escaped(value.trim())
            )
        })
        .collect();
    Html::trusted(format!("<dl class=\"strip\">\n{cells}</dl>\n"))
}
