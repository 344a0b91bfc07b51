//! The wrong way and the right way of a lab, from marks in its own sources.
//!
//! ```text
//! // wrong: The semaphore made inside the function
//! async fn limited_inside(…
//!
//! // right: One semaphore, shared by all
//! // so: A semaphore limits those who share it. One that is made anew for every call
//! //     limits nobody.
//! async fn limited(…
//! ```
//!
//! A lab with several pairs numbers them: `// wrong(2): …`. A piece that belongs to two pairs has two
//! marks.

use std::collections::BTreeMap;

use anyhow::{Context, bail, ensure};
use lab_kit::lab::Card;

use crate::code;

/// A piece of code.
#[derive(Debug, Default)]
pub struct Piece {
    /// What it is, in the reader's words.
    pub label: String,
    /// Its file, below the lab's `src`.
    pub file: &'static str,
    /// The item below the mark, with its comments.
    pub code: String,
}

/// Two ways of the same thing.
#[derive(Debug, Default)]
pub struct Pair {
    /// The wrong way.
    pub wrong: Piece,
    /// The right way.
    pub right: Piece,
    /// What the difference comes to, in a sentence.
    pub so: String,
}

/// The pairs that are marked in a lab's sources, in the order of their numbers.
///
/// # Errors
/// When a mark stands over no code, stands twice, or has no counterpart.
pub fn of(card: &Card) -> anyhow::Result<Vec<Pair>> {
    let mut pairs = BTreeMap::<String, Pair>::new();
    for (file, source) in card.sources {
        for mark in marks(source) {
            let pair = pairs.entry(mark.key.into()).or_default();
            let piece = match mark.kind {
                "wrong" => &mut pair.wrong,
                "right" => &mut pair.right,
                _ => {
                    pair.so = mark.text;
                    continue;
                }
            };
            ensure!(piece.label.is_empty(), "{file}: {}{} is marked twice", mark.kind, mark.key);
            let code = code::below(source, mark.line)
                .with_context(|| format!("{file}: no code below \"{}\"", mark.text))?;
            *piece = Piece { label: mark.text, file, code };
        }
    }
    for (key, pair) in &pairs {
        let parts = [&pair.wrong.label, &pair.right.label, &pair.so];
        if parts.iter().any(|part| part.is_empty()) {
            bail!("{}: a pair{key} needs three marks, wrong, right and so", card.id());
        }
    }
    Ok(pairs.into_values().collect())
}

/// A comment that marks what stands below it.
struct Mark<'a> {
    /// wrong, right or so.
    kind: &'a str,
    /// "(2)", or nothing.
    key: &'a str,
    text: String,
    line: usize,
}

fn marks(source: &str) -> Vec<Mark<'_>> {
    let mut found: Vec<Mark> = Vec::new();
    let mut open = false;
    for (line, text) in source.lines().enumerate() {
        if let Some((kind, key, text)) = code::mark(text) {
            let text = text.to_string();
            found.push(Mark { kind, key, text, line });
            open = true;
        } else if let Some(more) = text.trim_start().strip_prefix("//     ")
            && open
            && let Some(mark) = found.last_mut()
        {
            mark.text += " ";
            mark.text += more;
        } else {
            open = false;
        }
    }
    found
}
