//! `labs class`.

use std::path::PathBuf;

use clap::{ArgMatches, CommandFactory, FromArgMatches, Parser};
use lab_kit::{
    cli::{Failed, say},
    lab::Experiment,
};

use crate::{class::Class, class_page, show};

/// Puts many students' results together: what they predicted, what they measured, on which machines
///
/// A FILE is a folder of records, a .zip, .tar.gz or .tar archive of one or of many such folders, or a
/// folder that holds all of these, however deep: a folder per student, as learning platforms give them.
/// Nothing is unpacked to the disk and no link is followed. What is damaged, and what is nothing that can be
/// read, is listed and left out.
#[derive(Parser, Debug)]
#[command(name = "class")]
struct Flags {
    /// Result sets: folders or archives
    #[arg(required = true, value_name = "FILE")]
    files: Vec<PathBuf>,
    /// Write a page that stands alone
    #[arg(long, value_name = "FILE.html")]
    out: Option<PathBuf>,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

/// The command, for [`lab_kit::cli::Extra`].
pub fn command() -> clap::Command {
    Flags::command()
}

/// Runs it.
///
/// # Errors
/// When nothing could be read, or what was asked for could not be written.
pub fn run(syllabus: &[&'static dyn Experiment], matches: &ArgMatches) -> Result<(), Failed> {
    let flags = Flags::from_arg_matches(matches).map_err(|e| Failed::Usage(e.to_string()))?;
    let class = Class::read(syllabus, &flags.files);
    for left in &class.left_out {
        say(format!("left out: {}: {}", left.what, left.why));
    }
    if class.sets.is_empty() && class.exercises.is_empty() {
        let why = "no result set could be read: a FILE is a folder with labNN.json, or a .zip or .tar.gz archive of one";
        return Err(anyhow::anyhow!(why).into());
    }
    if let Some(out) = &flags.out {
        class_page::write(&class, out)?;
    }
    show(&class, || class.text(), flags.json, flags.out.as_deref())
}
