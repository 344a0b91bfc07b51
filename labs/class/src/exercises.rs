//! What a class has made: exercises, from everybody's `progress.json`.

use std::collections::BTreeMap;

use anyhow::{Context, Result};
use lab_kit::{
    findings::Table,
    prediction,
    text::{number, percent},
};
use lab_make::{
    EXERCISES,
    progress::{Done, Progress},
};
use serde::Serialize;

use crate::{brief, factor, spread::Spread};

/// An exercise, with what everybody says of it. `labs grade` judges again; this believes.
#[derive(Debug, Serialize)]
pub struct Exercise {
    /// "limit_outside".
    pub name: &'static str,
    /// Its title.
    pub title: &'static str,
    /// The number of its lab.
    pub lab: u8,
    /// How many have begun it.
    pub begun: usize,
    /// How many say that theirs has passed.
    pub passed: usize,
    /// How often it was checked, of those.
    pub checks: Option<Spread>,
    /// The question before the first check.
    pub ask: &'static str,
    /// Unit of what was predicted.
    pub unit: &'static str,
    /// What was said.
    pub said: Option<Spread>,
    /// The median of everybody's factor.
    pub factor: Option<f64>,
    /// Why it works, in their words.
    pub why: Vec<Words>,
}

/// Somebody's words.
#[derive(Debug, Serialize)]
pub struct Words {
    /// Whose.
    pub set: String,
    /// What.
    pub text: String,
}

/// Reads a `progress.json`.
///
/// # Errors
/// When it is none.
pub(crate) fn read(text: &str) -> Result<Progress> {
    serde_json::from_str(text).context("it is no progress of exercises")
}

/// Everybody's, by exercise; those that nobody has begun are left out.
pub(crate) fn together(all: &[(String, Progress)]) -> Vec<Exercise> {
    let mut by_folder: BTreeMap<&str, Vec<(&str, &Done)>> = BTreeMap::new();
    for (set, progress) in all {
        for (folder, done) in &progress.exercises {
            by_folder.entry(folder).or_default().push((set, done));
        }
    }
    let one = |judge: &&dyn lab_make::exercise::Judge| {
        let card = judge.card();
        let done = by_folder.get(card.folder)?;
        let passed = || done.iter().filter(|(_, done)| done.passed);
        let said = || done.iter().filter_map(|(_, done)| done.predicted.filter(|p| p.is_finite()));
        let factors = done.iter().filter_map(|(_, done)| {
            prediction::factor(done.predicted?, done.measured?).filter(|f| f.is_finite())
        });
        let words = done.iter().filter_map(|(set, done)| {
            let text = done.why.as_deref().filter(|why| !why.trim().is_empty())?;
            Some(Words { set: (*set).to_owned(), text: lab_kit::clean::brief(text, 1000) })
        });
        Some(Exercise {
            name: card.name(),
            title: card.title,
            lab: card.lab,
            begun: done.len(),
            passed: passed().count(),
            checks: Spread::of(passed().map(|(_, done)| f64::from(done.checks))),
            ask: card.question.text,
            unit: card.question.unit,
            said: Spread::of(said()),
            factor: Spread::of(factors).map(|spread| spread.median),
            why: words.collect(),
        })
    };
    EXERCISES.iter().filter_map(one).collect()
}

/// For the terminal; empty where nobody has begun one.
pub(crate) fn text(exercises: &[Exercise]) -> String {
    let mut text = String::new();
    if !exercises.is_empty() {
        text += "\nExercises, as they say themselves (`labs grade` judges again)\n";
    }
    for e in exercises {
        let checks = e.checks.map_or(String::new(), |c| format!(" after {} checks", c.text()));
        let said = e.said.map_or(String::new(), |s| {
            format!("; predicted {} {}, half within {}", s.text(), e.unit, factor(e.factor))
        });
        text += &format!(
            "  lab {:>2} {}: {} of {} passed{checks}{said}\n",
            e.lab, e.name, e.passed, e.begun
        );
    }
    text
}

/// For the page: a table, and everybody's words.
pub(crate) fn tables(exercises: &[Exercise]) -> (Table, Table) {
    let mut all = Table::new(
        "Exercises, as they say themselves: `labs grade` judges again",
        &[
            "lab",
            "exercise",
            "begun",
            "passed",
            "share",
            "checks: median (range)",
            "predicted",
            "median factor",
        ],
    );
    let mut words = Table::new("Why it works, in their words", &["exercise", "result set", "why"]);
    for e in exercises {
        all.row([
            e.lab.to_string(),
            e.title.to_owned(),
            e.begun.to_string(),
            e.passed.to_string(),
            percent(e.passed as f64 / e.begun.max(1) as f64),
            e.checks.map_or("–".into(), |c| c.text()),
            e.said.map_or("–".into(), |s| format!("{} {}", s.text(), e.unit)),
            e.factor.map_or("–".into(), |f| format!("{}×", number(f))),
        ]);
        for one in &e.why {
            words.row([e.name.to_owned(), brief(&one.set), one.text.clone()]);
        }
    }
    (all, words)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn progress(passed: bool, predicted: f64) -> Progress {
        let done = Done {
            checks: 3,
            predicted: Some(predicted),
            measured: Some(40.0),
            passed,
            why: Some("one \u{1b}[2J semaphore".to_owned()),
            ..Done::default()
        };
        let folder = "ex04_limit_outside".to_owned();
        let unknown = ("ex99_unknown".to_owned(), done.clone());
        Progress { student: None, exercises: BTreeMap::from([(folder, done), unknown]) }
    }

    #[test]
    fn a_class_is_counted_and_quoted() {
        let all = [("a".to_owned(), progress(true, 20.0)), ("b".to_owned(), progress(false, 40.0))];
        let exercises = together(&all);
        assert_eq!(exercises.len(), 1);
        let e = &exercises[0];
        assert_eq!((e.begun, e.passed, e.why.len()), (2, 1, 2));
        assert_eq!(e.factor, Some(1.5));
        assert!(text(&exercises).contains("limit_outside: 1 of 2 passed after 3 checks"));
        assert!(!e.why[0].text.contains('\u{1b}'));
        assert!(text(&together(&[])).is_empty());
    }

    #[test]
    fn what_is_no_progress_is_refused() {
        assert!(read("{").is_err() && read("7").is_err());
        assert_eq!(read("{}").unwrap(), Progress::default());
    }
}
