//! What the reader said beside what was measured and what theory says.

use lab_kit::{
    lab::Question,
    report::{Entry, judgement},
    text::number,
};

use serde_json::Value;

use crate::page::{Html, escaped, fold};

/// The questions of a lab, asked with these flags, and what became of them.
///
/// Who has predicted sees everything side by side. Who has not finds the answers behind folds: a
/// prediction is worth something only before.
pub(crate) fn strips(questions: &[Question], flags: &Value, entry: Option<&Entry>) -> Html {
    let mut out = Html::new();
    for question in questions {
        out.element("p class=\"ask\"", &question.asked(flags));
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
    let answer = findings.answer(question.key);
    let measured = answer.and_then(|answer| answer.measured);
    let theory = answer.map_or(Err(""), |answer| answer.theory);
    let unit = |text: String| format!("{text} {}", question.unit);
    let mut cells = Vec::new();
    if let Some(said) = said {
        let how = measured.map_or(String::new(), |measured| judgement(said, measured.value));
        cells.push(("You predicted", unit(number(said)), how));
    }
    let interval = measured.and_then(|m| m.ci95).filter(|(lo, hi)| lo < hi);
    cells.push((
        "Measured",
        measured.map_or("not in this run".into(), |m| unit(number(m.value))),
        interval.map_or(String::new(), |(lo, hi)| {
            format!("95 % interval {} to {}", number(lo), number(hi))
        }),
    ));
    cells.push((
        "Theory",
        theory.map_or("–".into(), |theory| unit(theory.to_string())),
        theory.err().unwrap_or_default().into(),
    ));
    let cells: String = cells
        .into_iter()
        .map(|(name, value, more)| {
            let more = if more.is_empty() {
                String::new()
            } else {
                format!("<small>{}</small>", escaped(&more))
            };
            format!("<div><dt>{name}</dt><dd>{}{more}</dd></div>\n", escaped(value.trim()))
        })
        .collect();
    Html::trusted(format!("<dl class=\"strip\">\n{cells}</dl>\n"))
}
