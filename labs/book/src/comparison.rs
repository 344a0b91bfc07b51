//! Two sets of results, as a page.

use std::fmt::Write;

use lab_kit::{
    compare::{Compared, Comparison, Row},
    text::number,
};

use crate::page::{Html, Link, Page, escaped};

/// The page of a comparison of the sets named `a` and `b`.
///
/// # Errors
/// As [`Page::render`].
pub fn page(comparison: &Comparison, a: &str, b: &str) -> anyhow::Result<String> {
    let mut body = Html::new();
    body.element("h1", "Two sets of results");
    body.push(&Html::trusted(format!(
        "<dl class=\"strip\">\n<div><dt>A</dt><dd>{}</dd></div>\n<div><dt>B</dt><dd>{}</dd></div>\n</dl>\n",
        escaped(a),
        escaped(b)
    )));
    body.push(&summary(comparison));
    for lab in &comparison.labs {
        body.push(&section(lab));
    }
    if !comparison.notes.is_empty() {
        let notes: String =
            comparison.notes.iter().map(|note| format!("<li>{}</li>\n", escaped(note))).collect();
        body.push(&Html::trusted(format!(
            "<section aria-labelledby=\"rest\">\n<h2 id=\"rest\">In one set only</h2>\n<ul>\n{notes}</ul>\n</section>\n"
        )));
    }
    let mut foot = Html::new();
    foot.element(
        "p",
        "Made by labs compare from records alone. A ratio's interval joins those of its two values and what disturbed them; it excludes 1 by chance once in twenty times.",
    );
    Page {
        lang: "en",
        title: "Two sets of results",
        description: "Two sets of results side by side, claim by claim, with intervals.",
        nav: &[Link { here: true, ..Link::to("#content", "Comparison") }],
        body,
        foot,
    }
    .render()
}

/// What changed beyond noise, first of all.
fn summary(comparison: &Comparison) -> Html {
    let with = |judgement: &str| {
        let rows = comparison.rows().filter(|row| row.judgement == judgement);
        rows.collect::<Vec<_>>()
    };
    let changed = with("changed");
    let chance = comparison.chance();
    let mut out = Html::new();
    let flags = comparison.labs.iter().filter(|lab| !lab.flags.is_empty());
    let cells = [
        ("Changed beyond noise", changed.len()),
        ("Could be chance", with("could be chance").len()),
        ("Within noise", with("within noise").len()),
        ("The same", with("same").len()),
        ("Not alike, not judged", with("not alike").len()),
        ("Labs with other flags", flags.count()),
    ];
    let cells: String = cells
        .iter()
        .map(|(name, count)| format!("<div><dt>{name}</dt><dd>{count}</dd></div>\n"))
        .collect();
    out.push(&Html::trusted(format!("<dl class=\"strip wide\">\n{cells}</dl>\n")));
    if !chance.is_empty() {
        out.element("p", &format!("Note: {chance}."));
    }
    if !changed.is_empty() {
        out.element("h2", "What changed beyond noise");
        let items: String = changed
            .iter()
            .map(|row| {
                format!(
                    "<li>{}: {}: {}</li>\n",
                    escaped(&row.lab),
                    escaped(&row.named()),
                    escaped(&row.change())
                )
            })
            .collect();
        out.push(&Html::trusted(format!("<ul>\n{items}</ul>\n")));
    }
    out
}

fn section(lab: &Compared) -> Html {
    let mut inside = Html::new();
    if !lab.flags.is_empty() {
        inside.element(
            "p class=\"note\"",
            &format!("Not compared, other flags: {}.", lab.flags.join("; ")),
        );
    }
    for why in &lab.unlike {
        inside.element("p class=\"note\"", &format!("{why}. The ratios are shown and not judged."));
    }
    for what in &lab.aside {
        inside.element("p class=\"note\"", &format!("{what}."));
    }
    if !lab.rows.is_empty() {
        inside.push(&table(lab));
    }
    let id = escaped(&lab.lab);
    Html::trusted(format!(
        "<section aria-labelledby=\"{id}\">\n<h2 id=\"{id}\">{id}: {}</h2>\n{inside}</section>\n",
        escaped(lab.title)
    ))
}

fn table(lab: &Compared) -> Html {
    let mut out = format!(
        "<div class=\"scroll wide\" tabindex=\"0\" role=\"group\" aria-label=\"Claims of {}\">\n<table>\n<thead><tr>\
         <th scope=\"col\">claim</th><th scope=\"col\" class=\"number\">A</th><th scope=\"col\" class=\"number\">B</th>\
         <th scope=\"col\">unit</th><th scope=\"col\" class=\"number\">B/A [95&nbsp;%]</th><th scope=\"col\">judgement</th>\
         <th scope=\"col\">verdicts</th></tr></thead>\n<tbody>\n",
        escaped(&lab.lab)
    );
    for row in &lab.rows {
        let value = |v: Option<f64>| v.map_or("–".into(), number);
        let _ = writeln!(
            out,
            "<tr><td class=\"text\">{}</td><td class=\"number\">{}</td><td class=\"number\">{}</td><td>{}</td>\
             <td class=\"number\">{}</td><td>{}</td><td>{}</td></tr>",
            escaped(&row.named()),
            value(row.a),
            value(row.b),
            escaped(row.unit),
            escaped(&row.ratio_text()),
            judgement(row),
            verdicts(row),
        );
    }
    out.push_str("</tbody></table></div>\n");
    Html::trusted(out)
}

fn judgement(row: &Row) -> String {
    let class = match row.judgement {
        "changed" => "refuted",
        "within noise" | "same" => "confirmed",
        _ => "plain",
    };
    format!("<span class=\"badge {class}\">{}</span>", row.judgement)
}

/// "confirmed", or "confirmed → refuted".
fn verdicts(row: &Row) -> String {
    match row.verdicts {
        [Some(a), Some(b)] if a == b => a.into(),
        [a, b] => format!("{} → {}", a.unwrap_or("–"), b.unwrap_or("–")),
    }
}
