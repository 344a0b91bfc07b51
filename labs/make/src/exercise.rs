//! What an exercise is, to its judge.

use anyhow::Result;

use crate::{bench::Bench, shelf::Files, verdict::Verdict};

/// A wrong way that somebody may well take.
#[derive(Clone, Copy, Debug)]
pub struct Misconception {
    /// `limit-inside`: the name of its file in `wrong/`.
    pub name: &'static str,
    /// What one believes who takes it.
    pub belief: &'static str,
    /// The next question, which does not give the answer.
    pub ask: &'static str,
}

/// A question before the first check.
#[derive(Clone, Copy, Debug)]
pub struct Question {
    /// The question, about the file as it is.
    pub text: &'static str,
    /// The measured figure that answers it.
    pub gauge: &'static str,
    /// Its unit: `requests`, `ms`.
    pub unit: &'static str,
}

/// What an exercise is about.
#[derive(Clone, Copy, Debug)]
pub struct Card {
    /// The folder: `ex04_limit_outside`.
    pub folder: &'static str,
    /// What it is called, as a request: "Limit the fetches, outside of the fetch".
    pub title: &'static str,
    /// The number of the lab it belongs to.
    pub lab: u8,
    /// What is asked before the first check.
    pub question: Question,
    /// The known wrong ways.
    pub misconceptions: &'static [Misconception],
    /// Whether every order of the threads' steps is tried.
    pub orders: bool,
    /// The wrong way that the learner's speed is held against, where speed is judged.
    pub pace: Option<&'static str>,
}

impl Card {
    /// `limit_outside`: what it is called on the command line.
    #[must_use]
    pub fn name(&self) -> &'static str {
        self.folder.split_once('_').map_or(self.folder, |(_, name)| name)
    }

    pub(crate) fn files(&self) -> &'static Files {
        Files::of(self.folder).unwrap_or_else(|| panic!("there is no folder {}", self.folder))
    }

    /// A misconception by its name.
    #[must_use]
    pub fn misconception(&self, name: &str) -> Option<&'static Misconception> {
        self.misconceptions.iter().find(|m| m.name == name)
    }
}

/// An exercise's judge.
pub trait Judge: Sync {
    /// What the exercise is about.
    fn card(&self) -> Card;

    /// Runs the learner's program as often as it takes, and says what it found.
    ///
    /// # Errors
    /// When this machine does not let it be run at all.
    fn judge(&self, bench: &mut Bench) -> Result<Verdict>;
}
