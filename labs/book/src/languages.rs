//! The page on other languages: the wrong way and the right way of a lab in each of them, and what was measured.

use lab_kit::{
    lab::{Card, Experiment},
    report::{Entry, unfit_lines},
    runtimes::{self, BESIDE, Language, Languages, Programs},
    summary::Summary,
};

use crate::{
    code::{self, RUST, Script},
    lab,
    lesson::{self, Lesson},
    page::{self, Html, Link},
    pairs::{self, Pair},
};

/// What the page is called.
pub(crate) const TITLE: &str = "The same in five languages";
/// What the page says before it comes to labs, as Markdown.
pub const TEXT: &str = include_str!("../assets/languages.md");
/// Name of the page.
pub(crate) const FILE: &str = "languages.html";
/// What it is about.
pub(crate) const ABOUT: &str = "One thought, written for tokio, asyncio, Node, goroutines and virtual threads: what each runtime does for you, and what it leaves to you.";

/// Labs that come first: what a runtime does with who computes is what they are about.
const FIRST: [u8; 2] = [2, 14];
/// All others, from the least to what needs most of the rest.
const THEN: [u8; 6] = [1, 7, 4, 3, 6, 12];
/// Rows that a table shows.
const ROWS: usize = 100;
/// Notes on runtimes that are shown.
const NOTES: usize = 10;

/// The labs that have programs, in the order of the page.
pub(crate) fn labs(syllabus: &[&'static dyn Experiment]) -> Vec<(&'static Card, Programs)> {
    let all = syllabus.iter().map(|lab| (lab.card(), lab.programs()));
    let mut labs: Vec<_> = all.filter(|(_, programs)| !programs.sources.is_empty()).collect();
    let told = |card: &Card| FIRST.iter().chain(&THEN).position(|number| *number == card.number);
    labs.sort_by_key(|(card, _)| told(card).unwrap_or(usize::MAX));
    labs
}

/// The page over these labs, with what these records have of other languages.
///
/// # Errors
/// When a mark in a program is amiss: see [`pairs::of_program`].
pub(crate) fn page(
    labs: &[(&'static Card, Programs)],
    entries: &[Entry],
) -> anyhow::Result<String> {
    let mut body = Html::new();
    body.element("p class=\"kicker\"", "Concurrency labs");
    body.element("h1", TITLE);
    body.element("p class=\"lead\"", ABOUT);
    let text = Lesson::of(TEXT);
    let mut contents: Vec<(String, String)> =
        text.headings().map(|heading| (id(heading), heading.to_string())).collect();
    contents.extend(labs.iter().map(|(card, _)| (card.id(), named(card))));
    body.push(&page::contents(&contents));
    for heading in text.headings() {
        body.push(&page::section(&id(heading), heading, &lesson::markup(text.under(heading))));
    }
    for (card, programs) in labs {
        let entry = entries.iter().find(|entry| entry.record.lab == card.id());
        let inside = section(card, programs, entry)?;
        body.push(&page::section(&card.id(), &named(card), &inside));
    }
    let mut foot = Html::new();
    foot.element("p", "Made by labs book from the programs of the labs, and from records where there are any. No measurement here is typed by hand.");
    page::Page {
        lang: "en",
        title: TITLE,
        description: ABOUT,
        nav: &[
            Link::to("index.html", "The lab book"),
            Link { here: true, ..Link::to(FILE, "Five languages") },
        ],
        body,
        foot,
    }
    .render()
}

/// "Who does what": "who-does-what".
fn id(heading: &str) -> String {
    let words = heading.split(|c: char| !c.is_alphanumeric()).filter(|word| !word.is_empty());
    words.collect::<Vec<_>>().join("-").to_lowercase()
}

fn named(card: &Card) -> String {
    format!("Lab {}: {}", card.number, card.title)
}

/// A sentence at the end of a lab's code that leads to the page; nothing without programs.
pub(crate) fn link(card: &Card, programs: &Programs) -> Html {
    let languages = programs.languages();
    if languages.is_empty() {
        return Html::new();
    }
    Html::trusted(format!(
        "<p>The same in <a href=\"{FILE}#{}\">{}</a>.</p>\n",
        card.id(),
        words(languages)
    ))
}

/// "Python, Node and Go".
fn words(languages: Languages) -> String {
    let names: Vec<&str> = languages.iter().map(Language::name).collect();
    match names.split_last() {
        Some((last, [])) => last.to_string(),
        Some((last, others)) => format!("{} and {last}", others.join(", ")),
        None => String::new(),
    }
}

/// A lab: its question, its code in all languages, and what was measured.
fn section(card: &Card, programs: &Programs, entry: Option<&Entry>) -> anyhow::Result<Html> {
    let mut out = Html::new();
    out.element("p", card.question);
    let code = code(card, programs)?;
    let open = if FIRST.contains(&card.number) { " open" } else { "" };
    out.push(&Html::trusted(format!(
        "<details class=\"tongues wide\"{open}><summary>The wrong way and the right way in Rust, {}</summary>\n{code}</details>\n",
        words(programs.languages())
    )));
    out.element("h3", "What was measured");
    out.push(&measured(card, programs, entry));
    out.push(&Html::trusted(format!(
        "<p class=\"small\">The whole experiment, with theory: <a href=\"{}\">{}</a></p>\n",
        lab::file(card),
        page::escaped(&named(card))
    )));
    Ok(out)
}

/// Each pair of the lab's that a program has a counterpart of: in Rust, then in each language.
fn code(card: &Card, programs: &Programs) -> anyhow::Result<Html> {
    let mut others: Vec<(Language, Vec<Pair>)> = Vec::new();
    for language in Language::ALL {
        for source in programs.sources.iter().filter(|(of, ..)| *of == language) {
            others.push((language, pairs::of_program(card, source)?));
        }
    }
    let mut out = Html::new();
    for rust in pairs::of(card)? {
        let same: Vec<(Language, &Pair)> = others
            .iter()
            .flat_map(|(language, pairs)| pairs.iter().map(|pair| (*language, pair)))
            .filter(|(_, pair)| pair.number == rust.number)
            .collect();
        if same.is_empty() {
            continue;
        }
        out.push(&in_language(RUST.name, &RUST, &rust));
        for (language, pair) in same {
            out.push(&in_language(language.name(), Script::of(language), pair));
        }
    }
    Ok(out)
}

/// A pair in a language, or the wrong way alone.
fn in_language(name: &'static str, script: &Script, pair: &Pair) -> Html {
    let mut out = Html::new();
    out.element("h3", name);
    if pair.right.is_there() {
        let (wrong, right) = code::beside(script, &pair.wrong.code, &pair.right.code);
        out.wrap("p", &lesson::inline(&pair.so));
        out.push(&Html::trusted(format!(
            "<div class=\"pair both\">\n{}{}</div>\n",
            lab::way("h4", "wrong", &pair.wrong, &wrong),
            lab::way("h4", "right", &pair.right, &right),
        )));
    } else {
        out.element("p", "The cure is not in this program: see the right way in Rust.");
        let wrong = code::highlighted(script, &pair.wrong.code);
        out.push(&lab::way("h4", "wrong", &pair.wrong, &wrong));
    }
    out
}

/// The lab's own tables on other languages, with how they came about. Where there are none, the command that makes
/// them.
fn measured(card: &Card, programs: &Programs, entry: Option<&Entry>) -> Html {
    let mut out = Html::new();
    let command = format!("labs run {} --with all", card.number);
    let known = programs.languages();
    let has = entry.map_or(Languages::NONE, |entry| {
        let conditions = runtimes::conditions(&Summary::of(&entry.record));
        conditions.fold(Languages::NONE, |set, (of, ..)| set.and(Languages::of(&[of])))
    });
    let tables = |entry: &Entry| {
        let all = entry.findings.tables.iter().filter(|table| table.title.ends_with(BESIDE));
        all.map(|table| page::rows(table, ROWS)).collect::<Html>()
    };
    let tables = entry.filter(|_| !has.is_empty()).map(|entry| (entry, tables(entry)));
    let Some((entry, tables)) = tables.filter(|(_, tables)| !tables.is_empty()) else {
        let mut ask = Html::text("Nothing yet. This measures it: ");
        ask.push(&page::code(&command));
        out.wrap("p class=\"note\"", &ask);
        return out;
    };
    let mut badges = page::word(&format!("{} scale", entry.record.scale));
    badges.push(&Html::text(&format!(" Record of {}.", entry.record.started_at)));
    out.wrap("p class=\"small\"", &badges);
    for why in unfit_lines(&entry.record) {
        out.element("p class=\"note\"", &why);
    }
    if entry.record.interrupted {
        out.element("p class=\"note\"", "This run was interrupted.");
    }
    out.push(&tables);
    let compared = |note: &&String| {
        note.starts_with(runtimes::COMPARED) || note.starts_with(runtimes::NOT_COMPARED)
    };
    for note in entry.record.notes.iter().filter(compared).take(NOTES) {
        out.element("p class=\"small\"", note);
    }
    let missing: Vec<Language> = known.iter().filter(|language| !has.has(*language)).collect();
    if !missing.is_empty() {
        let names = words(Languages::of(&missing));
        let mut ask = Html::text(&format!("Not measured here: {names}. This measures all: "));
        ask.push(&page::code(&command));
        out.wrap("p class=\"small\"", &ask);
    }
    out
}
