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

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use crate::{EXERCISES, shelf};

    #[test]
    fn every_folder_has_a_judge_and_every_wrong_way_a_misconception() {
        let folders: BTreeSet<&str> = shelf::EXERCISES.iter().map(|files| files.folder).collect();
        let judged: BTreeSet<&str> = EXERCISES.iter().map(|judge| judge.card().folder).collect();
        assert_eq!(folders, judged);
        for judge in EXERCISES {
            let card = judge.card();
            let files: BTreeSet<&str> = card.files().wrong.iter().map(|(name, _)| *name).collect();
            let named: BTreeSet<&str> = card.misconceptions.iter().map(|m| m.name).collect();
            assert_eq!(files, named, "{}", card.folder);
            assert!(card.pace.is_none_or(|name| files.contains(name)), "{}", card.folder);
            assert_eq!(card.orders, card.files().manifest.contains("orders ="), "{}", card.folder);
            for m in card.misconceptions {
                assert!(m.ask.ends_with('?') && !m.belief.ends_with('.'), "{}", m.name);
            }
            let numbers: Vec<u8> = EXERCISES.iter().map(|judge| judge.card().lab).collect();
            assert!(numbers.is_sorted(), "in the order of the labs");
        }
    }

    /// The exercises are a workspace of their own, and yet use what is downloaded already.
    #[test]
    fn versions_are_those_of_the_labs() {
        let packages = |lock: &'static str| -> BTreeSet<(&str, &str)> {
            let parts = lock.split("[[package]]").skip(1);
            let value = |part: &'static str, key: &str| {
                let line = part.lines().find_map(|line| line.strip_prefix(key));
                line.unwrap_or_default()
            };
            parts.map(|part| (value(part, "name = "), value(part, "version = "))).collect()
        };
        let own: BTreeSet<_> = packages(shelf::LOCK)
            .into_iter()
            .filter(|(name, _)| !name.starts_with("\"ex"))
            .collect();
        let labs = packages(include_str!("../../../Cargo.lock"));
        let others: Vec<_> =
            own.iter().filter(|p| !labs.contains(*p) && labs.iter().any(|l| l.0 == p.0)).collect();
        assert!(others.is_empty(), "other versions than the labs': {others:?}");
    }
}
