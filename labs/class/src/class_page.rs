//! The class as a page.

use std::{fmt::Write, path::Path};

use anyhow::Result;
use lab_book::page::{self, Html, escaped};
use lab_kit::{findings::Table, text::number};

use crate::{
    class::{Claim, Class, Question, named},
    counted, exercises, factor,
    spread::{Spread, strip},
    write_page,
};

/// Most rows of a table that may have one for every student.
const ROWS: usize = 300;

/// Writes the page.
///
/// # Errors
/// When the file cannot be written.
pub fn write(class: &Class, out: &Path) -> Result<()> {
    let about = "What a class predicted, what it measured, and on which machines.";
    write_page(out, "The class", about, body(class))
}

fn body(class: &Class) -> Html {
    let mut body = Html::new();
    body.element("h1", "The class");
    let records: usize = class.sets.iter().map(|set| set.labs.len()).sum();
    let refuted: usize = class.claims.iter().map(|c| c.refuted).sum();
    let said: usize = class.questions.iter().map(|q| q.predictions.len()).sum();
    body.push(&facts(&[
        ("result sets", class.sets.len().to_string()),
        ("records", records.to_string()),
        ("predictions", said.to_string()),
        ("kinds of machine", class.machines.len().to_string()),
        ("refuted", refuted.to_string()),
        ("left out", class.left_out.len().to_string()),
    ]));
    section(&mut body, "What they predicted", &predictions(class));
    if !class.exercises.is_empty() {
        section(&mut body, "What they made", &made(class));
    }
    section(&mut body, "Verdicts", &verdicts(class));
    section(&mut body, "Machines", &machines(class));
    section(&mut body, "Far from the others", &outliers(class));
    section(&mut body, "Result sets", &sets(class));
    if !class.left_out.is_empty() {
        section(&mut body, "Left out", &left_out(class));
    }
    body
}

fn section(body: &mut Html, title: &'static str, content: &Html) {
    let mut inside = Html::new();
    inside.element("h2", title);
    inside.push(content);
    body.wrap("section", &inside);
}

/// A few values side by side; what follows a line's end is smaller.
fn facts(values: &[(&str, String)]) -> Html {
    let mut list = String::from("<dl class=\"strip wide\">");
    for (what, value) in values {
        let (value, more) = value.split_once('\n').unwrap_or((value, ""));
        let more = match more {
            "" => String::new(),
            more => format!("<small>{}</small>", escaped(more)),
        };
        let _ =
            write!(list, "<div><dt>{}</dt><dd>{}{more}</dd></div>", escaped(what), escaped(value));
    }
    Html::trusted(list + "</dl>\n")
}

fn predictions(class: &Class) -> Html {
    let mut html = Html::new();
    if class.questions.is_empty() {
        html.element(
            "p",
            "None. `labs run 3` asks for some on a terminal; `--predict goodput=800` gives one.",
        );
        return html;
    }
    html.element("p", "A dot is a prediction, or a point of a predicted curve (where there are many, a bar is as high as their number), over what the same student then measured: left of the middle too low, right of it too high. At the ends, in another colour, whatever is off by more.");
    let mut lab = "";
    for question in &class.questions {
        if lab != question.lab {
            lab = &question.lab;
            html.element("h3", &format!("{lab}: {}", question.title));
        }
        html.push(&one_question(question));
    }
    html
}

fn made(class: &Class) -> Html {
    let (all, words) = exercises::tables(&class.exercises);
    let mut html = page::rows(&all, ROWS);
    if !words.rows.is_empty() {
        html.push(&page::fold("Why it works, in their words", &page::rows(&words, ROWS)));
    }
    html
}

fn one_question(question: &Question) -> Html {
    let mut html = Html::new();
    let curve = if question.key.ends_with('@') { "A curve: " } else { "" };
    html.element("p", &format!("{curve}{}", question.ask));
    let points = question.predictions.iter().flat_map(|p| &p.points);
    let ratios: Vec<f64> = points
        .filter_map(|p| Some(p.said / p.measured?))
        .filter(|ratio| *ratio > 0.0 && ratio.is_finite())
        .collect();
    let what = format!(
        "{} of {}: half within {} of what was measured",
        counted(ratios.len(), "ratio"),
        counted(question.predictions.len(), "prediction"),
        factor(question.factor)
    );
    if ratios.is_empty() {
        let why =
            "No picture: what was measured is zero or missing, and nothing is a multiple of that.";
        html.element("p class=\"small\"", why);
    } else {
        html.wrap("div", &strip(&ratios, &what));
    }
    let unit = question.unit.as_str();
    let range = |spread: &Spread| spread.range().map_or(String::new(), |r| format!("\n{r}"));
    let mut values = vec![("predictions", question.predictions.len().to_string())];
    if let (Some(said), Some(measured)) = (question.said, question.measured) {
        values.push(("said, median", format!("{} {unit}{}", number(said.median), range(&said))));
        values.push((
            "measured, median",
            format!("{} {unit}{}", number(measured.median), range(&measured)),
        ));
    }
    let off = question.factor.map_or("–".into(), |f| format!("{}×", number(f)));
    values.push(("median factor", off));
    if !ratios.is_empty() {
        values.push(("within a factor of 2", question.within_two.to_string()));
        values.push(("within 10 %", question.close.to_string()));
    }
    html.push(&facts(&values));
    let mut table = Table::new(
        "Everybody's, nearest first",
        &["result set", "said", "measured", "theory", "factor"],
    );
    let mut all: Vec<_> = question.predictions.iter().collect();
    all.sort_by(|a, b| {
        let key = |f: Option<f64>| f.unwrap_or(f64::INFINITY);
        key(a.factor).total_cmp(&key(b.factor))
    });
    for one in all {
        let write = |value: &dyn Fn(&lab_kit::prediction::Point) -> Option<String>| {
            let at = |p: &lab_kit::prediction::Point| {
                let value = value(p).unwrap_or("–".into());
                p.x.map_or(value.clone(), |x| format!("{}: {value}", number(x)))
            };
            one.points.iter().map(at).collect::<Vec<_>>().join(", ")
        };
        table.row([
            one.set.clone(),
            write(&|p| Some(number(p.said))),
            write(&|p| p.measured.map(number)),
            write(&|p| p.theory.map(|t| t.to_string())),
            one.factor.map_or("–".into(), number),
        ]);
    }
    html.push(&page::fold("Everybody's", &page::rows(&table, ROWS)));
    html
}

/// Shares of three verdicts as one bar.
fn bar(confirmed: usize, inconclusive: usize, refuted: usize) -> String {
    let all = (confirmed + inconclusive + refuted).max(1) as f64;
    let mut svg = format!(
        "<svg viewBox=\"0 0 100 10\" preserveAspectRatio=\"none\" role=\"img\" aria-label=\"{confirmed} confirmed, {inconclusive} inconclusive, {refuted} refuted\" style=\"display:block;width:100%;min-width:6rem;height:.9rem\">"
    );
    let mut x = 0.0;
    for (count, paint) in
        [(confirmed, "--lab-green"), (inconclusive, "--lab-orange"), (refuted, "--lab-vermilion")]
    {
        let width = 100.0 * count as f64 / all;
        if count > 0 {
            let _ = write!(
                svg,
                "<rect x=\"{x:.2}\" width=\"{width:.2}\" height=\"10\" fill=\"var({paint})\"/>"
            );
        }
        x += width;
    }
    svg + "</svg>"
}

fn verdicts(class: &Class) -> Html {
    let mut out = String::from(
        "<div class=\"scroll wide\" tabindex=\"0\" role=\"region\" aria-label=\"Verdicts by claim\"><table><caption>Green: confirmed, yellow: inconclusive, orange: refuted</caption>\n<thead><tr><th scope=\"col\">lab</th><th scope=\"col\">claim</th><th scope=\"col\">verdicts</th><th scope=\"col\" class=\"number\">✓</th><th scope=\"col\" class=\"number\">?</th><th scope=\"col\" class=\"number\">✗</th><th scope=\"col\">measured: median (range)</th></tr></thead>\n<tbody>",
    );
    for c in &class.claims {
        let measured = c.measured.map_or("–".into(), |m| format!("{} {}", m.text(), c.unit));
        let _ = writeln!(
            out,
            "<tr><td>{}</td><td class=\"text\">{}{}</td><td>{}</td><td class=\"number\">{}</td><td class=\"number\">{}</td><td class=\"number\">{}</td><td>{}</td></tr>",
            escaped(&c.lab),
            escaped(&c.claim),
            refuted_by(c),
            bar(c.confirmed, c.inconclusive, c.refuted),
            c.confirmed,
            c.inconclusive,
            c.refuted,
            escaped(&measured)
        );
    }
    out.push_str("</tbody></table></div>\n");
    out.push_str("<p class=\"small\">Of a law over several conditions, “measured” is the mean ratio to theory.</p>\n");
    Html::trusted(out)
}

fn refuted_by(claim: &Claim) -> String {
    if claim.refuted_by.is_empty() {
        return String::new();
    }
    format!("<br><span class=\"small\">refuted{}</span>", escaped(&named(&claim.refuted_by)))
}

fn machines(class: &Class) -> Html {
    let mut table = Table::new(
        "Kinds of machine",
        &["result sets", "processor", "system", "processors", "whose"],
    );
    for m in &class.machines {
        table.row([
            m.sets.len().to_string(),
            m.cpu.clone(),
            m.system.clone(),
            m.cores.to_string(),
            named(&m.sets).trim_start_matches(": ").to_string(),
        ]);
    }
    let mut html = page::rows(&table, ROWS);
    let mut facts =
        Table::new("Calibrated before the runs", &["", "median", "least", "most", "unit"]);
    for f in &class.apparatus {
        let values = [f.values.median, f.values.least, f.values.most].map(number);
        let [median, least, most] = values;
        facts.row([f.what.into(), median, least, most, f.unit.into()]);
    }
    html.push(&page::table(&facts));
    let mut unfit = Table::new("Unfit to measure", &["result set", "why"]);
    for (set, why) in class.unfit() {
        unfit.row([set.into(), why.into()]);
    }
    if !unfit.rows.is_empty() {
        unfit.note = "An unfit machine refutes nothing; its verdicts are inconclusive.".into();
        html.push(&page::rows(&unfit, ROWS));
    }
    html
}

fn outliers(class: &Class) -> Html {
    let mut html = Html::new();
    if class.outliers.is_empty() {
        html.element("p", "No value lies far from those of the others.");
    } else {
        html.element("p", "Measured with the same flags as by others, and far from their median: a modified z-score beyond 3.5 and more than a tenth off. Another machine, another program running beside, or something to look at together.");
        let mut table = Table::new(
            "Farthest first",
            &["result set", "lab", "what", "value", "median", "unit", "score"],
        );
        for o in &class.outliers {
            table.row([
                o.set.clone(),
                o.lab.clone(),
                o.what.clone(),
                number(o.value),
                number(o.median),
                o.unit.into(),
                number(o.score),
            ]);
        }
        html.push(&page::rows(&table, ROWS));
    }
    for twins in &class.twins {
        let text = format!("The same record of {}, byte for byte{}", twins.lab, named(&twins.sets));
        html.element("p class=\"note\"", &text);
    }
    html
}

fn sets(class: &Class) -> Html {
    let mut table = Table::new("Read", &["result set", "records", "labs"]);
    for set in &class.sets {
        let labs: Vec<&str> = set.labs.iter().map(|l| l.trim_start_matches("lab")).collect();
        table.row([set.name.clone(), set.labs.len().to_string(), labs.join(" ")]);
    }
    page::fold("Which labs are in which set", &page::rows(&table, 2000))
}

fn left_out(class: &Class) -> Html {
    let mut table = Table::new("Not read", &["file", "why"]);
    for left in &class.left_out {
        table.row([left.what.clone(), left.why.clone()]);
    }
    page::rows(&table, ROWS)
}
