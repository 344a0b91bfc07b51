//! The page of a lab.

use lab_kit::{
    findings::Table,
    lab::{Card, filled},
    report::{Entry, host_table},
    runtimes::Programs,
};
use serde_json::Value;

use crate::{
    chart, claim,
    code::{self, RUST},
    languages,
    lesson::{self, Lesson},
    page::{self, Html, Link},
    pairs::{self, Piece},
    predicted,
};

/// Rows that a table of findings shows.
const ROWS: usize = 100;
/// Notes of a record that are shown.
const NOTES: usize = 30;

/// Sections of a page, each with an address in it.
#[derive(Default)]
struct Sections {
    body: Html,
    contents: Vec<(&'static str, &'static str)>,
}

impl Sections {
    fn add(&mut self, id: &'static str, heading: &'static str, inside: Html) {
        if inside.is_empty() {
            return;
        }
        self.contents.push((id, heading));
        self.body.push(&page::section(id, heading, &inside));
    }
}

/// The page, with what was measured if there is a record. Its texts have the record's flags; without
/// one, `flags`. What is before and after leads on.
///
/// # Errors
/// When a chart cannot be drawn, or the lab's code is not where [`pairs`] says.
pub(crate) fn page(
    card: &'static Card,
    flags: &Value,
    programs: &Programs,
    entry: Option<&Entry>,
    (before, after): (Option<&'static Card>, Option<&'static Card>),
) -> anyhow::Result<String> {
    let flags = entry.map_or(flags, |entry| &entry.record.params);
    let lesson = Lesson::of(&card.lesson(flags));
    let under = |heading: &str| lesson::markup(lesson.under(heading));
    let mut all = Sections::default();

    let mut predict = under("What to predict");
    predict.push(&predicted::strips(card.predict, flags, entry));
    all.add("predict", "What to predict", predict);
    all.add("experiment", "The experiment", under("The experiment"));
    all.add("measured", "What was measured", measured(card, entry)?);
    if let Some(entry) = entry {
        let mut claims = claim::table(&entry.findings.claims);
        claims.push(&claim::cases(&entry.findings.claims));
        all.add("claims", "Theory against measurement", claims);
    }
    all.add("figures", "What the figures show", under("What the figures show"));
    all.add("code", "The wrong way and the right way", ways(card, programs)?);
    all.add("belief", "A common belief", under("A common belief"));
    all.add("languages", "In other languages", under("In other languages"));
    all.add("production", "In production", under("In production"));
    all.add("check", "Check yourself", questions(card, &lesson, flags));
    all.add("next", "What to try next", next(card));
    if let Some(entry) = entry {
        all.add("run", "This run", run(entry));
    }

    let mut body = Html::new();
    let kicker = if card.judges() { "A program, judged as in lab" } else { "Lab" };
    body.element("p class=\"kicker\"", &format!("{kicker} {}", card.number));
    body.element("h1", card.title);
    body.element("p class=\"lead\"", card.question);
    if let Some(entry) = entry {
        let mut badges = claim::score(&entry.findings.claims);
        badges.push(&page::word(&format!("{} scale", entry.record.scale)));
        body.wrap("p class=\"badges\"", &badges);
        for why in lab_kit::report::unfit_lines(&entry.record) {
            body.element("p class=\"note\"", &why);
        }
    }
    body.push(&page::contents(&all.contents));
    body.push(&all.body);
    body.push(&turn(before, after));

    let mut nav = vec![Link::to("index.html", "The lab book")];
    nav.extend(before.map(|card| Link::to(file(card), format!("← {}", card.id()))));
    nav.push(Link { here: true, ..Link::to(file(card), card.id()) });
    nav.extend(after.map(|card| Link::to(file(card), format!("{} →", card.id()))));
    page::Page {
        lang: "en",
        title: &format!("{}: {}", card.id(), card.title),
        description: card.question,
        nav: &nav,
        body,
        foot: foot(entry),
    }
    .render()
}

/// Name of a lab's page.
pub(crate) fn file(card: &Card) -> String {
    format!("{}.html", card.id())
}

fn foot(entry: Option<&Entry>) -> Html {
    let mut foot = Html::new();
    foot.element(
        "p",
        &match entry {
            Some(entry) => format!(
                "Made by labs book from the record of {}, seed {}. Nothing here is typed by hand.",
                entry.record.started_at, entry.record.seed
            ),
            None => "Made by labs book. There is no record of this lab yet.".into(),
        },
    );
    foot
}

fn turn(before: Option<&Card>, after: Option<&Card>) -> Html {
    let link = |card: &Card, arrow: (&str, &str), rel: &str| {
        format!(
            "<a rel=\"{rel}\" href=\"{}\">{}{}: {}{}</a>\n",
            file(card),
            arrow.0,
            card.id(),
            page::escaped(card.title),
            arrow.1
        )
    };
    let before = before.map_or("<span></span>\n".into(), |card| link(card, ("← ", ""), "prev"));
    let after = after.map_or(String::new(), |card| link(card, ("", " →"), "next"));
    Html::trusted(format!(
        "<nav class=\"turn\" aria-label=\"Before and after\">\n{before}{after}</nav>\n"
    ))
}

/// Charts with their data, then tables.
fn measured(card: &Card, entry: Option<&Entry>) -> anyhow::Result<Html> {
    let Some(entry) = entry else {
        let mut out = Html::new();
        let ask = format!(
            "There is no record of this lab here yet. This makes one: labs run {}",
            card.number
        );
        out.element("p class=\"note\"", &ask);
        return Ok(out);
    };
    let mut out = Html::new();
    // Not above: who is still to predict does not want to read it there.
    out.element("p class=\"lead\"", &entry.findings.headline);
    if entry.record.interrupted {
        out.element(
            "p class=\"note\"",
            "This run was interrupted; what is here is complete, but not all of it.",
        );
    }
    for note in entry.record.notes.iter().take(NOTES) {
        out.element("p class=\"note\"", note);
    }
    for figure in &entry.findings.figures {
        let picture = chart::inline(figure, &card.id())?;
        let mut data = Html::new();
        if !figure.desc.is_empty() {
            data.element("p class=\"small\"", &figure.desc);
        }
        data.extend(chart::data(figure).iter().map(|table| page::rows(table, chart::most_rows())));
        out.push(&Html::trusted(format!(
            "<figure class=\"chart wide\">\n<div class=\"draw\" tabindex=\"0\" role=\"group\" aria-label=\"Chart: {}\">{picture}</div>\n<figcaption>{}</figcaption>\n</figure>\n",
            page::escaped(&figure.title),
            page::fold("The same as data", &data),
        )));
    }
    for table in &entry.findings.tables {
        out.push(&page::rows(table, ROWS));
    }
    Ok(out)
}

fn ways(card: &Card, programs: &Programs) -> anyhow::Result<Html> {
    let mut out = Html::new();
    for pair in pairs::of(card)? {
        let (left, after) = code::beside(&RUST, &pair.wrong.code, &pair.right.code);
        out.wrap("p", &lesson::inline(&pair.so));
        out.push(&Html::trusted(format!(
            "<div class=\"pair wide\">\n{}{}</div>\n",
            way("h3", "wrong", &pair.wrong, &left),
            way("h3", "right", &pair.right, &after),
        )));
    }
    out.push(&languages::link(card, programs));
    Ok(out)
}

/// A piece of code under its heading, `h3` or `h4`; the class is wrong or right.
pub(crate) fn way(heading: &str, class: &str, piece: &Piece, code: &Html) -> Html {
    let label = lesson::inline(&piece.label);
    Html::trusted(format!(
        "<div class=\"way {class}\">\n<{heading}><span class=\"sign\">{}</span> {label}</{heading}>\n\
         <pre tabindex=\"0\" role=\"group\" aria-label=\"Code of the {class} way\"><code>{code}</code></pre>\n\
         <p class=\"small\">{}</p>\n</div>\n",
        if class == "wrong" { "✗ Wrong:" } else { "✓ Right:" },
        page::escaped(&piece.file)
    ))
}

fn questions(card: &Card, lesson: &Lesson, flags: &Value) -> Html {
    let known = lesson::answers(&filled(card.answers, flags));
    lesson
        .questions()
        .iter()
        .map(|question| {
            let asked = lesson::inline(question);
            match lesson::answer(&known, question) {
                Some(answer) => Html::trusted(format!(
                    "<details><summary>{asked}</summary>\n<div class=\"inside\">\n{}</div></details>\n",
                    lesson::markup(answer)
                )),
                None => Html::trusted(format!("<p>{asked}</p>\n")),
            }
        })
        .collect()
}

fn next(card: &Card) -> Html {
    let items: String = card
        .next
        .iter()
        .map(|(command, shows)| {
            format!(
                "<li><p>{}</p>\n<pre tabindex=\"0\">{}</pre></li>\n",
                lesson::inline(shows),
                page::code(command)
            )
        })
        .collect();
    if items.is_empty() {
        return Html::new();
    }
    Html::trusted(format!("<ul class=\"try\">\n{items}</ul>\n"))
}

/// How to repeat it, with what flags it ran and on what machine.
fn run(entry: &Entry) -> Html {
    let mut out = Html::new();
    out.element("p", "This repeats it:");
    out.wrap("pre tabindex=\"0\"", &page::code(&entry.record.command));
    let mut flags = Table::new("Flags of this run", &["flag", "value"]);
    for (name, value) in entry.record.params.as_object().into_iter().flatten() {
        let value = value.as_str().map_or_else(|| value.to_string(), str::to_string);
        flags.row([name.replace('_', "-"), value]);
    }
    out.push(&page::fold("Flags", &page::rows(&flags, ROWS)));
    let host = page::table(&host_table(&entry.record.host));
    out.push(&page::fold("The machine and its apparatus", &host));
    out
}
