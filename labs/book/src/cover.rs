//! The first page: the syllabus, what the labs found, and the machines.

use lab_kit::{
    host::Host,
    lab::Card,
    report::{Entry, host_table, same_machine},
};

use crate::{
    claim, lab, languages,
    page::{self, Html, Link},
};

/// The page over all labs of the course, some of which are in other languages, too.
///
/// # Errors
/// As [`page::Page::render`].
pub(crate) fn page(
    cards: &[&'static Card],
    in_languages: &[&'static Card],
    entries: &[Entry],
) -> anyhow::Result<String> {
    let (judged, entries): (Vec<&Entry>, Vec<&Entry>) =
        entries.iter().partition(|entry| entry.card.judges());
    let of = |card: &Card| entries.iter().copied().find(|e| e.record.lab == card.id());
    let mut body = Html::new();
    body.element("p class=\"kicker\"", "Concurrency labs");
    body.element("h1", "The lab book");
    body.element(
        "p class=\"lead\"",
        "Experiments on concurrent systems, measured on a real machine and held against theory. Read the question, write down what you expect, then see what came out.",
    );
    let claims: Vec<_> = entries.iter().flat_map(|e| e.findings.claims.clone()).collect();
    if !claims.is_empty() {
        body.wrap("p class=\"badges\"", &claim::score(&claims));
    }
    body.push(&page::section("syllabus", "The syllabus", &syllabus(cards, of)));
    if !in_languages.is_empty() {
        body.push(&page::section("languages", languages::TITLE, &in_five(in_languages)));
    }
    body.push(&page::section("reading", "How to read it", &reading()));
    body.push(&page::section("machine", "The machine", &machines(&entries)));
    if !judged.is_empty() {
        body.push(&page::section("judged", "Programs that were judged", &programs(&judged)));
    }
    page::Page {
        lang: "en",
        title: "The lab book",
        description: "Experiments on concurrent systems, measured and held against theory.",
        nav: &[Link { here: true, ..Link::to("index.html", "The lab book") }],
        body,
        foot: foot(cards, &entries),
    }
    .render()
}

/// Where the page on other languages is, and which labs are on it.
fn in_five(cards: &[&'static Card]) -> Html {
    let mut numbers: Vec<u8> = cards.iter().map(|card| card.number).collect();
    numbers.sort_unstable();
    let numbers: Vec<String> = numbers.iter().map(u8::to_string).collect();
    let mut out = Html::new();
    out.element("p", languages::ABOUT);
    out.push(&Html::trusted(format!(
        "<p><a href=\"{}\">Labs {} beside each other in Rust, Python, Node, Go and Java</a></p>\n",
        languages::FILE,
        numbers.join(", ")
    )));
    out
}

/// What each program was, and what the books say of it.
fn programs(judged: &[&Entry]) -> Html {
    let mut out = Html::new();
    for entry in judged {
        let link = page::escaped(&format!("{}: {}", entry.card.id(), entry.card.title));
        out.push(&Html::trusted(format!(
            "<h3><a href=\"{}\">{link}</a></h3>\n",
            lab::file(entry.card)
        )));
        out.element("p", &entry.findings.headline);
        out.element("p class=\"small\"", &entry.record.command);
    }
    out
}

fn foot(cards: &[&'static Card], entries: &[&Entry]) -> Html {
    let mut foot = Html::new();
    foot.element(
        "p",
        &format!(
            "Made by labs book from {} records of {} labs. Nothing here is typed by hand.",
            entries.len(),
            cards.len()
        ),
    );
    foot
}

fn syllabus<'a>(cards: &[&'static Card], of: impl Fn(&Card) -> Option<&'a Entry>) -> Html {
    let items: String = cards
        .iter()
        .map(|card| {
            let badges = match of(card) {
                Some(entry) => claim::score(&entry.findings.claims),
                None => page::word("no record yet"),
            };
            format!(
                "<li><h3><a href=\"{}\"><span class=\"of\">{}</span> {}</a></h3>\n<p>{}</p>\n<p class=\"badges\">{badges}</p></li>\n",
                lab::file(card),
                card.number,
                page::escaped(card.title),
                page::escaped(card.question),
            )
        })
        .collect();
    // A list without bullets is no list to some screen readers unless it says so.
    Html::trusted(format!("<ol class=\"cards wide\" role=\"list\">\n{items}</ol>\n"))
}

fn reading() -> Html {
    let rows = [
        (
            lab_kit::claim::Verdict::Confirmed,
            "at every condition the whole 95 % interval of what was measured lies within the tolerance of theory",
        ),
        (
            lab_kit::claim::Verdict::Inconclusive(String::new()),
            "an interval reaches across the border, or there is none, or the machine was unfit to measure this; the reason is given",
        ),
        (
            lab_kit::claim::Verdict::Refuted,
            "at some condition the whole interval lies outside, with a margin for how many conditions there are: theory, experiment or machine is not what it was taken for",
        ),
    ];
    let verdicts: String = rows
        .iter()
        .map(|(verdict, means)| {
            format!("<div><dt>{}</dt><dd>{means}</dd></div>\n", page::badge(verdict))
        })
        .collect();
    Html::trusted(format!(
        "<p>Each lab makes claims: theory says a figure, the experiment measures it.</p>\n<dl class=\"means\">\n{verdicts}</dl>\n\
         <p>What theory says is <em>predicted</em> from the flags alone, or <em>calibrated</em> with something measured \
         before the run or in other conditions. The badges count these. Counted apart are claims that say nothing of \
         theory: <em>replayed</em> from the very trials they are compared with, <em>fitted</em> to the very data, \
         <em>goals</em> that we set ourselves, and <em>books</em>, checks of the apparatus. Every \
         chart has its data behind a fold below it, and every page says how to repeat its run.</p>\n"
    ))
}

/// Each machine with the labs that ran on it.
fn machines(entries: &[&Entry]) -> Html {
    let mut hosts: Vec<(&Host, Vec<&Entry>)> = Vec::new();
    for entry in entries {
        let host = &entry.record.host;
        match hosts.iter_mut().find(|(known, _)| same_machine(known, host)) {
            Some((_, labs)) => labs.push(entry),
            None => hosts.push((host, vec![entry])),
        }
    }
    let mut out = Html::new();
    if hosts.is_empty() {
        out.element("p", "Nothing has been measured yet. This makes a first record: labs run 3");
    }
    let several = hosts.len() > 1;
    for (host, labs) in hosts {
        if several {
            let ids: Vec<String> = labs.iter().map(|e| e.card.id()).collect();
            out.element("h3", &format!("Labs {}", ids.join(", ")));
        }
        out.push(&page::table(&host_table(host)));
        out.element(
            "p class=\"small\"",
            "The apparatus is measured anew before each run; this is what the first of these records says.",
        );
        for entry in labs {
            for why in lab_kit::report::unfit_lines(&entry.record) {
                let note = format!("{}: {why}", entry.card.id());
                out.element("p class=\"note\"", &note);
            }
        }
    }
    out
}
