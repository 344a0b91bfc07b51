//! `labs make export`: the students' copy.

use std::{fs, path::Path};

use anyhow::{Context, Result};
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
    Ok(())
}

/// The students' own page.
const README: &str = "\
# Exercises

With the program `labs`, in this folder:

    labs make               # what there is, and what has passed
    labs make next          # the next task, and the file to change
    labs make check         # builds your file and judges what it does
    labs make watch         # the same, each time you save
    labs make hint          # when you are stuck: three hints, one after another
    labs make reset NAME    # the file as it was at the beginning; yours is kept beside it
    labs make solution      # once yours has passed

NAME is an exercise's name, as `labs make` lists it. Without one the exercise in whose folder you are is meant, or else
the first that has not passed.

- `exercise.rs` is the one file to change. `main.rs` calls it, and shows what it is given; `kit/` has what both use. They
  are here to be read: what is judged is built with the judge's own copies.
- There are the standard library, `tokio` and `exercise_kit`, and no other crates.
- Before the first check you are asked for a prediction about the file as it was at the beginning. Nothing is graded by it.
- Numbers such as limits are drawn anew for each check. With `labs make check --student ID`, once, they are yours and stay.
- While it is judged a program is closed off: it can compute, wait, start threads and talk over TCP; it cannot open files
  or start programs. What it prints is shown to you, and counts for nothing.
- *The reference* in what a judge says is a solution of the authors', and *the wrong way* a known mistake. Yours is held
  against both on your own machine, in turn.
- An order of threads that broke something is kept in `schedules/`: `labs make replay FILE` tries it again.

Hand in this folder without `target`: the files `exercise.rs` and `progress.json` are read.
";
