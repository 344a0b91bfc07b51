//! What a reader is told.

use std::fmt::Write as _;

use crate::{
    check::Found,
    exercise::Card,
    verdict::{Outcome, Verdict},
    workshop::Refused,
};

/// Most characters of what a program printed that are shown.
const PRINTED: usize = 2000;

/// What was found, as text: what holds, the evidence, and the next question.
pub(crate) fn found(card: &Card, file: &str, found: &Found) -> String {
    match found {
        Found::Refused(refused) => refusal(card, file, refused),
        Found::Judged(verdict) => judged(card, verdict),
    }
}

fn refusal(card: &Card, file: &str, refused: &Refused) -> String {
    match refused {
        Refused::DoesNotCompile(text) => {
            let mut out = format!("✗ {}: {file} does not compile.\n\n{text}\n", card.name());
            if text.contains("cargo add") {
                out += "\nAn exercise has the standard library, tokio and exercise_kit, and no other crates.\n";
            }
            out
        }
        Refused::DoesNotFit(text) => format!(
            "✗ {}: {file} compiles, but what the exercise calls is not in it as it was: keep the names and types that the file began with. Only {file} is yours to change.\n\n{}\n",
            card.name(),
            // The compiler would have the other file changed.
            text.split("\nhelp:").next().unwrap_or_default(),
        ),
        Refused::Unfit(unfit) => {
            format!("✗ {}: {file} says `{}`: {}.\n", card.name(), unfit.word, unfit.why)
        }
        Refused::Reads(other) => format!(
            "✗ {}: {file} takes in another file, {other}. An exercise is one file.\n",
            card.name()
        ),
        Refused::TooLong => format!(
            "✗ {}: the compiler did not end within two minutes on {file}, and was stopped.\n",
            card.name()
        ),
    }
}

fn judged(card: &Card, verdict: &Verdict) -> String {
    let mut out = String::new();
    let (mark, said) = match verdict.outcome() {
        Outcome::Passed => ("✓", "passed"),
        Outcome::Rejected => ("✗", "not yet"),
        Outcome::Undecided => ("?", "not decided"),
    };
    let _ = writeln!(out, "{mark} {}: {said}", card.name());
    for check in &verdict.checks {
        let _ = writeln!(out, "  {} {}", if check.holds { "✓" } else { "✗" }, check.said);
    }
    if let Some(why) = &verdict.undecided {
        let _ = writeln!(out, "  ? {why}.");
    }
    if !verdict.evidence.is_empty() {
        out.push('\n');
    }
    for line in &verdict.evidence {
        let _ = writeln!(out, "    {line}");
    }
    if verdict.outcome() != Outcome::Passed && !verdict.printed.trim().is_empty() {
        let printed: String = verdict.printed.chars().take(PRINTED).collect();
        let printed = without_workshop(&printed);
        let _ = writeln!(out, "\n  Your program printed:");
        for line in printed.trim_end().lines() {
            let _ = writeln!(out, "    {line}");
        }
    }
    if verdict.outcome() == Outcome::Rejected && verdict.printed.contains("PermissionDenied") {
        let _ = writeln!(
            out,
            "\n  A program is closed off while it is judged: no files, no other programs, no sockets but TCP."
        );
    }
    let named = verdict.misconception.and_then(|name| card.misconception(name));
    if let Some(misconception) = named.filter(|_| verdict.outcome() == Outcome::Rejected) {
        let _ = writeln!(out, "\n  It looks like {}.", misconception.belief);
        let _ = writeln!(out, "  Next question: {}", misconception.ask);
    }
    if let Some(open) = &verdict.open {
        let _ = writeln!(out, "\n  Note: {open}.");
    }
    out
}

/// Names of files as the learner knows them: without the folder that they are built in.
fn without_workshop(text: &str) -> String {
    let mut parts = text.split("hands/");
    let mut out = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        out += part.split_once('/').map_or(part, |(_, rest)| rest);
    }
    out
}

#[cfg(test)]
mod tests {
    #[test]
    fn files_are_called_as_the_learner_knows_them() {
        let text = "panicked at hands/ex09_x-learner/exercise.rs:7:5:\nno/hands here";
        assert_eq!(super::without_workshop(text), "panicked at exercise.rs:7:5:\nno/hands here");
    }
}
