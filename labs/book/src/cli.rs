//! `labs book` and `labs compare`.

use std::{
    fs,
    path::{Path, PathBuf},
};

use anyhow::{Context, ensure};
use clap::{ArgMatches, Args, CommandFactory, FromArgMatches, Parser};
use lab_kit::{
    cli::{Failed, LOCAL, entries, pretty, print, say, whole},
    compare::Comparison,
    lab::Experiment,
    store::write_whole,
};

use crate::{comparison, page::CSS, site};

/// Makes the lab book: a static site from records alone
///
/// One folder of plain pages that need no server and no network: open SITE/index.html. The same records
/// always give the same bytes.
#[derive(Parser, Debug)]
#[command(name = "book")]
struct Book {
    /// Folder of results
    #[arg(default_value = LOCAL)]
    dir: PathBuf,
    /// Folder for the pages; it is made when it is not there
    #[arg(long, value_name = "SITE")]
    out: PathBuf,
}

/// Compares two folders of results, claim by claim, with intervals
///
/// Runs with other flags are not compared. Runs on different machines, at different scales or from
/// different builds are shown and not judged.
#[derive(Parser, Debug)]
#[command(name = "compare")]
struct Compare {
    /// The first folder
    a: PathBuf,
    /// The second folder
    b: PathBuf,
    #[command(flatten)]
    format: Format,
}

#[derive(Args, Debug)]
#[group(multiple = false)]
struct Format {
    /// Print JSON
    #[arg(long)]
    json: bool,
    /// Write a page instead of text
    #[arg(long, value_name = "FILE")]
    page: Option<PathBuf>,
}

/// The flags of `labs book`.
pub fn book_command() -> clap::Command {
    Book::command()
}

/// The flags of `labs compare`.
pub fn compare_command() -> clap::Command {
    Compare::command()
}

fn slip(error: clap::Error) -> Failed {
    Failed::Usage(error.to_string())
}

/// Runs `labs book`.
///
/// # Errors
/// When the results cannot be read or the pages cannot be written; when a record had to be left out,
/// after everything else was done.
pub fn book(
    syllabus: &[&'static dyn Experiment],
    of_records: &[&'static dyn Experiment],
    matches: &ArgMatches,
) -> Result<(), Failed> {
    let book = Book::from_arg_matches(matches).map_err(slip)?;
    may_write(&book.out)?;
    let (entries, sound) = entries(of_records, &book.dir)?;
    let site = site::site(syllabus, &entries)?;
    for error in &site.left_out {
        say(format!("left out: {error:#}"));
    }
    for (name, page) in &site.pages {
        write_whole(&book.out.join(name), page.as_bytes())
            .context("choose another folder with --out")?;
    }
    print(format!("{}\n", book.out.join("index.html").display()))?;
    whole(sound && site.left_out.is_empty())
}

/// A folder that holds somebody else's pages is not written to.
fn may_write(out: &Path) -> anyhow::Result<()> {
    let index = out.join("index.html");
    if !index.exists() {
        return Ok(());
    }
    let text = fs::read_to_string(&index).unwrap_or_default();
    // A book of an earlier version has another style sheet, but begins like ours.
    let ours = text.contains("Made by labs book") || text.contains(CSS);
    ensure!(
        ours,
        "{} is not a page of a lab book: choose another folder with --out",
        index.display()
    );
    Ok(())
}

/// Runs `labs compare`.
///
/// # Errors
/// When a folder cannot be read or the page cannot be written; when a record had to be left out, after
/// everything else was done.
pub fn compare(syllabus: &[&'static dyn Experiment], matches: &ArgMatches) -> Result<(), Failed> {
    let Compare { a, b, format } = Compare::from_arg_matches(matches).map_err(slip)?;
    let (left, left_sound) = entries(syllabus, &a)?;
    let (right, right_sound) = entries(syllabus, &b)?;
    let names = (a.display().to_string(), b.display().to_string());
    let comparison = Comparison::of((&names.0, &left), (&names.1, &right));
    if let Some(file) = format.page {
        let page = comparison::page(&comparison, &names.0, &names.1)?;
        write_whole(&file, page.as_bytes())
            .with_context(|| "choose another file with --page".to_string())?;
        print(format!("{}\n", file.display()))?;
    } else if format.json {
        let rows: Vec<_> = comparison.rows().collect();
        pretty(&Rows { notes: comparison.all_notes(), rows })?;
    } else {
        print(comparison.text(&names.0, &names.1))?;
    }
    whole(left_sound && right_sound)
}

#[derive(serde::Serialize)]
struct Rows<'a> {
    notes: Vec<String>,
    rows: Vec<&'a lab_kit::compare::Row>,
}
