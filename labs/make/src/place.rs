//! The learner's folder of exercises.

use std::{
    env, fs,
    path::{Path, PathBuf},
};

use anyhow::{Context, Result, bail};
use lab_kit::{cli::Failed, store::write_whole};

use crate::{EXERCISES, check::mark_of, exercise::Judge, progress::Progress};

/// The file that a learner changes.
pub(crate) const FILE: &str = "exercise.rs";

/// A folder of exercises.
#[derive(Clone, Debug)]
pub(crate) struct Place {
    pub root: PathBuf,
}

impl Place {
    /// The one that the current folder is in, or in whose clone it is.
    ///
    /// # Errors
    /// When there is none.
    pub(crate) fn find() -> Result<Place> {
        let here = env::current_dir().context("there is no current folder any more")?;
        let is_one = |folder: &Path| folder.join("kit/src/harness.rs").is_file();
        for folder in here.ancestors() {
            for root in [folder.to_owned(), folder.join("exercises")] {
                if is_one(&root) {
                    return Ok(Place { root });
                }
            }
        }
        bail!(
            "no exercises in {} or above it: run this in a clone, or in a folder made by `labs make export`",
            here.display()
        )
    }

    /// The exercise in whose folder the current folder is.
    pub(crate) fn here(&self) -> Option<&'static dyn Judge> {
        let here = env::current_dir().ok()?;
        let inside = here.strip_prefix(&self.root).ok()?.components().next()?;
        let name = inside.as_os_str().to_string_lossy().into_owned();
        EXERCISES.iter().copied().find(|judge| judge.card().folder == name)
    }

    /// Whether an exercise has passed, and its file is another one now.
    pub(crate) fn is_changed(&self, judge: &dyn Judge, progress: &Progress) -> bool {
        let folder = judge.card().folder;
        let passed = progress.exercises.get(folder).and_then(|done| done.passed_with.as_ref());
        let text = fs::read_to_string(self.root.join(folder).join(FILE)).unwrap_or_default();
        passed.is_some_and(|mark| *mark != mark_of(&text))
    }

    /// The learner's file of an exercise, made from the start if there is none.
    ///
    /// # Errors
    /// When it cannot be made.
    pub(crate) fn file(&self, judge: &dyn Judge) -> Result<PathBuf> {
        let card = judge.card();
        let folder = self.root.join(card.folder);
        let file = folder.join(FILE);
        if fs::symlink_metadata(&file).is_err() {
            fs::create_dir_all(&folder)
                .and_then(|()| fs::write(&file, card.files().start))
                .with_context(|| format!("{} cannot be made", file.display()))?;
        }
        Ok(file)
    }

    /// Puts the start back, and keeps what was there: where.
    ///
    /// # Errors
    /// When it cannot be written; nothing is changed then.
    pub(crate) fn reset(&self, judge: &dyn Judge) -> Result<Option<PathBuf>> {
        let card = judge.card();
        let file = self.root.join(card.folder).join(FILE);
        let kept = match fs::read(&file) {
            Ok(old) if old == card.files().start.as_bytes() => None,
            Ok(old) => {
                let kept = (1..)
                    .map(|n| file.with_file_name(format!("exercise.before_reset_{n}.rs")))
                    .find(|path| !path.exists())
                    .context("there is no room for a copy")?;
                write_whole(&kept, &old)
                    .with_context(|| format!("no copy could be kept in {}", kept.display()))?;
                Some(kept)
            }
            Err(_) => None,
        };
        write_whole(&file, card.files().start.as_bytes())
            .with_context(|| format!("{} cannot be written", file.display()))?;
        Ok(kept)
    }
}

/// The exercise that a reader means: by name, folder, number, or the beginning of one.
///
/// # Errors
/// When there is none, or more than one.
pub(crate) fn named(text: &str) -> Result<&'static dyn Judge, Failed> {
    let asked = text.trim_end_matches(['/', '\\']).to_lowercase();
    let asked = asked.rsplit(['/', '\\']).next().unwrap_or_default().to_owned();
    let number: Option<u8> = asked.trim_start_matches("ex").parse().ok();
    let exact = EXERCISES.iter().find(|judge| {
        let card = judge.card();
        card.name() == asked || card.folder == asked
    });
    if let Some(judge) = exact {
        return Ok(*judge);
    }
    let fits = |judge: &&&'static dyn Judge| {
        let card = judge.card();
        let begins = card.name().starts_with(&asked) || card.folder.starts_with(&asked);
        !asked.is_empty() && (begins || number == Some(card.lab))
    };
    let found: Vec<_> = EXERCISES.iter().filter(fits).collect();
    let names = |judges: &[&&'static dyn Judge], between: &str| {
        judges.iter().map(|judge| judge.card().name()).collect::<Vec<_>>().join(between)
    };
    match found[..] {
        [judge] => Ok(*judge),
        [] => Err(Failed::Usage(format!(
            "there is no exercise `{text}`; there are\n  {}",
            names(&EXERCISES.iter().collect::<Vec<_>>(), "\n  ")
        ))),
        _ => Err(Failed::Usage(format!(
            "`{text}` could be {}: give the name",
            names(&found, " or ")
        ))),
    }
}
