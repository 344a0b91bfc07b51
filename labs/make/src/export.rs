//! `labs make export`: the students' copy.

use std::{fs, path::Path};

use anyhow::{Context, Result, bail};
use lab_kit::{
    cli::{Failed, say},
    store::write_whole,
};

use crate::{EXERCISES, place::FILE, progress, shelf};

/// Writes the exercises without solutions and wrong ways, ready for `git init`.
///
/// # Errors
/// When the folder is there and not empty, or cannot be written: nothing is left half-written then.
pub(crate) fn write(out: &Path) -> Result<(), Failed> {
    let there = out.read_dir().is_ok_and(|mut entries| entries.next().is_some());
    if there || out.is_file() {
        return Err(Failed::Usage(format!(
            "{} is there already: give a folder that does not exist, or an empty one",
            out.display()
        )));
    }
    let is_new = !out.exists();
    if let Err(error) = fill(out) {
        if is_new {
            let _ = fs::remove_dir_all(out);
        }
        return Err(error.into());
    }
    say(format!(
        "{} exercises are in {}: give it to your students as it is, or make a repository of it (git init)",
        EXERCISES.len(),
        out.display()
    ));
    Ok(())
}

fn fill(out: &Path) -> Result<()> {
    let put = |name: &str, text: &str| -> Result<()> {
        let path = out.join(name);
        let parent = path.parent().context("a file is in a folder")?;
        fs::create_dir_all(parent)
            .with_context(|| format!("{} cannot be made", parent.display()))?;
        write_whole(&path, text.as_bytes())
    };
    put("Cargo.toml", shelf::MANIFEST)?;
    put("Cargo.lock", shelf::LOCK)?;
    put(
        ".gitignore",
        &format!("target/\nschedules/\n# Handed in with the files: {}\n", progress::FILE),
    )?;
    put("README.md", README)?;
    for (name, content) in shelf::KIT {
        put(&format!("kit/{name}"), content)?;
    }
    for judge in EXERCISES {
        let files = judge.card().files();
        let own = |name: &str| format!("{}/{name}", files.folder);
        put(&own("Cargo.toml"), files.manifest)?;
        put(&own("main.rs"), files.main)?;
        put(&own("task.md"), files.task)?;
        put(&own(FILE), files.start)?;
    }
    if EXERCISES.is_empty() {
        bail!("there are no exercises");
    }
    Ok(())
}

/// The students' own page.
const README: &str = "\
# Exercises

With the program `labs`, in this folder:

    labs make               # what there is, and what has passed
    labs make next          # the next task, and the file to change
    labs make check         # what your file does
    labs make watch         # the same, each time you save
    labs make hint          # when you are stuck

Each exercise has one file to change, `exercise.rs`. Hand in this folder without `target`: the files `exercise.rs` and
`progress.json` are read.
";
