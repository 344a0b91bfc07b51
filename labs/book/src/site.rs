//! All pages of the book.

use anyhow::{Context, ensure};
use lab_kit::{
    lab::{Card, Experiment, defaults},
    report::Entry,
    runtimes::Programs,
};
use serde_json::Value;

use crate::{cover, lab, languages};

/// Largest page in bytes. The labs' own records make a tenth of it; more is no record of these labs.
const LARGEST: usize = 4 << 20;

/// The book: its pages, and what could not be shown.
#[derive(Debug, Default)]
pub struct Site {
    /// Name and content of each page; the first one is the cover.
    pub pages: Vec<(String, String)>,
    /// Records that made no page, each with the reason. The lab's page is there without them.
    pub left_out: Vec<anyhow::Error>,
}

/// Makes all pages. A lab without a record has a page, too: the lesson does not need one.
///
/// # Errors
/// When a page cannot be made even without a record.
pub fn site(syllabus: &[&'static dyn Experiment], entries: &[Entry]) -> anyhow::Result<Site> {
    let cards: Vec<&'static Card> = syllabus.iter().map(|lab| lab.card()).collect();
    let mut site = Site { pages: vec![("index.html".into(), String::new())], ..Site::default() };
    for (n, (card, experiment)) in cards.iter().zip(syllabus).enumerate() {
        let flags = &defaults(*experiment);
        let before = n.checked_sub(1).and_then(|n| cards.get(n)).copied();
        let after = cards.get(n + 1).copied();
        let entry = entries.iter().find(|e| e.record.lab == card.id());
        let programs = &experiment.programs();
        let shown = entry.map(|entry| page(card, flags, programs, entry, (before, after)));
        let page = match shown {
            Some(Ok(page)) => page,
            Some(Err(error)) => {
                site.left_out.push(error);
                lab::page(card, flags, programs, None, (before, after))?
            }
            None => lab::page(card, flags, programs, None, (before, after))?,
        };
        site.pages.push((lab::file(card), page));
    }
    for entry in entries.iter().filter(|entry| entry.card.judges()) {
        let lab = cards.iter().find(|card| card.number == entry.card.number).copied();
        match page(entry.card, &entry.record.params, &Programs::NONE, entry, (lab, None)) {
            Ok(page) => site.pages.push((lab::file(entry.card), page)),
            Err(error) => site.left_out.push(error),
        }
    }
    let labs = languages::labs(syllabus);
    if !labs.is_empty() {
        let made = sized(languages::page(&labs, entries), languages::TITLE);
        let page = match made {
            Ok(page) => page,
            Err(error) => {
                // What is amiss in a program is so without a record as well.
                let without = languages::page(&labs, &[])?;
                site.left_out.push(error);
                without
            }
        };
        site.pages.push((languages::FILE.into(), page));
    }
    let in_languages: Vec<&'static Card> = labs.iter().map(|(card, _)| *card).collect();
    site.pages[0].1 = cover::page(&cards, &in_languages, entries)?;
    Ok(site)
}

fn page(
    card: &'static Card,
    flags: &Value,
    programs: &Programs,
    entry: &Entry,
    around: (Option<&'static Card>, Option<&'static Card>),
) -> anyhow::Result<String> {
    sized(lab::page(card, flags, programs, Some(entry), around), &card.id())
}

/// A page that rests on records, unless it is too long.
fn sized(page: anyhow::Result<String>, of: &str) -> anyhow::Result<String> {
    let page = page.with_context(|| format!("{of}: its record cannot be shown"))?;
    ensure!(
        page.len() <= LARGEST,
        "{of}: its page would have {} bytes: that is no record of these labs",
        page.len()
    );
    Ok(page)
}
