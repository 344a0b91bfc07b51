//! What readers said before they measured: over time (`labs journal`), and over a class
//! (`labs class`).
//!
//! Files that anybody may have written are read in memory ([`lab_handin`]), checked and reduced to a few
//! figures each ([`digest`]); [`journal`] and [`class`] put these together, as text, JSON or a page.

use std::path::Path;

use anyhow::{Context, Result};
use lab_book::page::{Html, Link, Page};
use lab_kit::{
    clean,
    cli::{Failed, pretty, print},
    text::number,
};
use serde::Serialize;

pub mod class;
pub mod class_page;
pub mod command;
pub mod digest;
pub mod exercises;
pub mod journal;
mod spread;

/// Longest text of a record in a line or a cell, in characters.
const LONGEST: usize = 90;
/// Longest reason for leaving something out.
const LONGEST_REASON: usize = 300;

/// A text of a record for a line or a cell.
fn brief(text: &str) -> String {
    clean::brief(text, LONGEST)
}

/// The same for a reason.
fn reason(why: &anyhow::Error) -> String {
    clean::brief(&format!("{why:#}"), LONGEST_REASON)
}

/// What work on one record comes to, which costs no other record anything even where it fails as it must
/// not.
fn alone<T>(work: impl FnOnce() -> Result<T>) -> Result<T> {
    let failed = |_| anyhow::anyhow!("this program failed over it (see above), which it must not");
    std::panic::catch_unwind(std::panic::AssertUnwindSafe(work))
        .unwrap_or_else(|why| Err(failed(why)))
}

/// The same for a path, of which the end tells most.
fn end_of(path: &Path) -> String {
    let clean = clean::line(&path.to_string_lossy(), usize::MAX);
    let all: Vec<char> = clean.chars().collect();
    let from = all.len().saturating_sub(LONGEST);
    let start = if from > 0 { "…" } else { "" };
    start.chars().chain(all[from..].iter().copied()).collect()
}

/// "3 runs", "1 run".
fn counted(count: usize, what: &str) -> String {
    format!("{count} {what}{}", if count == 1 { "" } else { "s" })
}

/// "a factor of 3.2"; "no ratio".
fn factor(value: Option<f64>) -> String {
    value.map_or("no ratio".into(), |f| format!("a factor of {}", number(f)))
}

/// Prints what was found, as JSON or as text with the page it is on.
fn show(
    found: &impl Serialize,
    text: impl Fn() -> String,
    json: bool,
    page: Option<&Path>,
) -> Result<(), Failed> {
    if json {
        return pretty(found);
    }
    let told = page.map_or(String::new(), |out| format!("\nPage  {}\n", out.display()));
    Ok(print(text() + &told)?)
}

/// Writes a page that stands alone.
fn write_page(out: &Path, title: &str, about: &str, body: Html) -> Result<()> {
    let nav = [Link { here: true, ..Link::to("#content", title) }];
    let page = Page {
        lang: "en",
        title,
        description: about,
        nav: &nav,
        body,
        foot: Html::text("Written from records alone; nothing here is typed by hand."),
    };
    let html = page.render().context("writing the page")?;
    lab_kit::store::write_whole(out, html.as_bytes()).context("choose another file with --out")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_of_others_cannot_write_on_the_screen() {
        assert_eq!(brief("a\x1b[2Jb\nc"), "a[2Jb c");
        assert_eq!(brief(&"x".repeat(10_000_000)).chars().count(), LONGEST + 1);
        let deep = format!("{}/alice\x1b.zip", "x".repeat(200));
        assert!(end_of(Path::new(&deep)).ends_with("x/alice.zip"));
        assert_eq!(end_of(Path::new("alice.zip")), "alice.zip");
    }

    #[test]
    fn a_record_that_breaks_the_program_is_left_out_like_any_other() {
        assert_eq!(alone(|| Ok(1)).unwrap(), 1);
        let why = alone(|| -> Result<()> { panic!("over its numbers") }).unwrap_err();
        assert!(reason(&why).contains("failed over it"));
    }
}
