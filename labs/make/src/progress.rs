//! What a learner has done so far, kept beside the exercises.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
};

use anyhow::{Context, Result};
use lab_kit::store::{self, write_whole};
use serde::{Deserialize, Serialize};

/// The file, in the folder of the exercises.
pub const FILE: &str = "progress.json";

/// What has been done.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Progress {
    /// Whose it is, for what the judges draw.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub student: Option<String>,
    /// By folder of the exercise.
    pub exercises: BTreeMap<String, Done>,
}

/// What has been done of one exercise.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Done {
    /// How often it was checked.
    pub checks: u32,
    /// What was predicted before the first check, and what was measured then.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub predicted: Option<f64>,
    /// See there.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub measured: Option<f64>,
    /// Whether it has passed.
    pub passed: bool,
    /// What stands for the text that passed last.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub passed_with: Option<String>,
    /// Two sentences: why it works.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub why: Option<String>,
    /// Hints that were read.
    pub hints: usize,
    /// Whether the solution was read before it passed.
    pub solution_read: bool,
}

impl Progress {
    /// Reads it; nothing yet is no error.
    ///
    /// # Errors
    /// When the file is there and cannot be read: it is not overwritten then.
    pub(crate) fn load(exercises: &Path) -> Result<Progress> {
        let path = exercises.join(FILE);
        if !path.exists() {
            return Ok(Progress::default());
        }
        let text = store::text(&path)?;
        serde_json::from_str(&text).with_context(|| {
            format!("{} is damaged: mend it, or move it away to begin anew", path.display())
        })
    }

    /// Writes it.
    ///
    /// # Errors
    /// When it cannot be written.
    pub(crate) fn save(&self, exercises: &Path) -> Result<PathBuf> {
        let path = exercises.join(FILE);
        let text = serde_json::to_string_pretty(self)? + "\n";
        write_whole(&path, text.as_bytes())
            .with_context(|| format!("what you have done cannot be kept in {}", path.display()))?;
        Ok(path)
    }

    /// Of one exercise.
    pub(crate) fn of(&mut self, folder: &str) -> &mut Done {
        self.exercises.entry(folder.to_owned()).or_default()
    }

    /// Whether an exercise has passed.
    pub(crate) fn has_passed(&self, folder: &str) -> bool {
        self.exercises.get(folder).is_some_and(|done| done.passed)
    }
}
