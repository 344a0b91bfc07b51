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
//! marks. A program in another language has the same marks, in comments of its own, and a pair of the same
//! number; without a number it is the first.

use std::collections::BTreeMap;

use anyhow::{Context, bail, ensure};
use lab_kit::{lab::Card, runtimes::Source};

use crate::code::{RUST, Script};

/// A piece of code.
#[derive(Debug, Default)]
pub struct Piece {
    /// What it is, in the reader's words.
    pub label: String,
    /// Its file, from the top of the repository.
    pub file: String,
    /// What is below the mark, with its comments.
    pub code: String,
}

impl Piece {
    /// Whether there is such a piece.
    pub fn is_there(&self) -> bool {
        !self.code.is_empty()
    }
}

/// Two ways of the same thing.
#[derive(Debug, Default)]
pub struct Pair {
    /// Its number among the pairs of the lab, from 1.
    pub number: usize,
    /// The wrong way.
    pub wrong: Piece,
    /// The right way. A program in another language may be without one: see [`Piece::is_there`].
    pub right: Piece,
    /// What the difference comes to, in a sentence.
    pub so: String,
}

/// The pairs that are marked in a lab's sources, in the order of their numbers.
///
/// # Errors
/// When a mark stands over no code, stands twice, or has no counterpart.
pub fn of(card: &Card) -> anyhow::Result<Vec<Pair>> {
    let mut pairs = Pairs::default();
    for (file, source) in card.sources {
        pairs.read(&RUST, &path(card, "src", file), source)?;
    }
    for pair in pairs.0.values() {
        ensure!(
            pair.wrong.is_there() && pair.right.is_there() && !pair.so.is_empty(),
            "{}: pair {} needs three marks, wrong, right and so",
            card.id(),
            pair.number
        );
    }
    Ok(pairs.0.into_values().collect())
}

/// The pairs that are marked in a lab's program in another language, in the order of their numbers. What no way is
/// right in has only the wrong one.
///
/// # Errors
/// When there is none, or a mark stands over no code, stands twice, or has no counterpart.
pub fn of_program(card: &Card, (language, name, source): &Source) -> anyhow::Result<Vec<Pair>> {
    let file = path(card, language.key(), name);
    let mut pairs = Pairs::default();
    pairs.read(Script::of(*language), &file, source)?;
    ensure!(!pairs.0.is_empty(), "{file}: nothing is marked as wrong or right");
    for pair in pairs.0.values() {
        ensure!(
            pair.wrong.is_there() && pair.right.is_there() != pair.so.is_empty(),
            "{file}: pair {} needs three marks, wrong, right and so, or wrong alone",
            pair.number
        );
    }
    Ok(pairs.0.into_values().collect())
}

fn path(card: &Card, folder: &str, file: &str) -> String {
    format!("labs/{}_{}/{folder}/{file}", card.id(), card.name)
}

/// Pairs by their numbers.
#[derive(Default)]
struct Pairs(BTreeMap<usize, Pair>);

impl Pairs {
    fn read(&mut self, script: &Script, file: &str, source: &str) -> anyhow::Result<()> {
        for mark in marks(script, source) {
            let place = format!("{file}:{}", mark.line + 1);
            let number = match mark.key {
                "" => 1,
                key => {
                    let inner = key.strip_prefix('(').and_then(|key| key.strip_suffix(')'));
                    let number = inner.and_then(|key| key.parse().ok());
                    number.with_context(|| format!("{place}: \"{key}\" is no number of a pair"))?
                }
            };
            let pair = self.0.entry(number).or_default();
            pair.number = number;
            let piece = match mark.kind {
                "wrong" => &mut pair.wrong,
                "right" => &mut pair.right,
                _ if !pair.so.is_empty() => bail!("{place}: {} is marked twice", mark.kind),
                _ => {
                    pair.so = mark.text;
                    continue;
                }
            };
            ensure!(!piece.is_there(), "{place}: {} is marked twice", mark.kind);
            let code = script
                .below(source, mark.line)
                .with_context(|| format!("{place}: no code below \"{}\"", mark.text))?;
            *piece = Piece { label: mark.text, file: file.into(), code };
        }
        Ok(())
    }
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

fn marks<'a>(script: &Script, source: &'a str) -> Vec<Mark<'a>> {
    let mut found: Vec<Mark> = Vec::new();
    let mut open = false;
    for (line, text) in source.lines().enumerate() {
        if let Some((kind, key, text)) = script.mark(text) {
            let text = text.to_string();
            found.push(Mark { kind, key, text, line });
            open = true;
        } else if open
            && let Some(mark) = found.last_mut()
            && let Some(more) = script.goes_on(mark.kind, text)
        {
            mark.text += " ";
            mark.text += more;
        } else {
            open = false;
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use lab_kit::lab::Sizes;
    use lab_kit::runtimes::Language;

    use super::*;

    const CARD: Card = Card {
        number: 99,
        name: "none",
        title: "",
        question: "",
        predict: &[],
        next: &[],
        sources: &[],
        answers: "",
        sizes: Sizes { smoke: &[], full: &[], trials: (1, 1) },
    };

    fn read(language: Language, source: &'static str) -> anyhow::Result<Vec<Pair>> {
        of_program(&CARD, &(language, "lab99.x", source))
    }

    #[test]
    fn a_program_has_pairs_with_numbers() {
        let go = "// wrong: a\n// Why.\nfunc a() {\n}\n// right: b\n// so: One\n// two\n//     three.\nfunc b() {\n}\n\n// wrong(2): c\nfunc c() {}\n";
        let pairs = read(Language::Go, go).unwrap();
        assert_eq!(pairs.iter().map(|pair| pair.number).collect::<Vec<_>>(), [1, 2]);
        assert_eq!(pairs[0].so, "One two three.");
        assert_eq!(pairs[0].wrong.code, "// Why.\nfunc a() {\n}");
        assert_eq!(pairs[0].right.file, "labs/lab99_none/go/lab99.x");
        assert!(!pairs[1].right.is_there() && pairs[1].so.is_empty());
    }

    #[test]
    fn a_mark_that_is_amiss_is_an_error_with_its_place() {
        for (language, source, why) in [
            (Language::Python, "\n# wrong: a\n\ndef a():\n    pass", "python/lab99.x:2: no code"),
            (
                Language::Node,
                "// wrong: a\nfunction a() {\n",
                "node/lab99.x:1: no code below \"a\"",
            ),
            (Language::Java, "// wrong: a\n  void a() {}\n", "java/lab99.x:1: no code"),
            (Language::Go, "// wrong: a\nvar a;\n// wrong: b\nvar b;", "go/lab99.x:3: wrong is"),
            (Language::Go, "// wrong(x): a\nvar a;", "lab99.x:1: \"(x)\" is no number"),
            (Language::Go, "// wrong: a\nvar a;\n// right: b\nvar b;", "needs three marks"),
            (Language::Go, "// right: a\n// so: b\nvar a;", "needs three marks"),
            (Language::Go, "func a() {}", "nothing is marked"),
        ] {
            let error = read(language, source).unwrap_err().to_string();
            assert!(error.contains(why), "{error}");
            assert!(error.starts_with("labs/lab99_none/"), "{error}");
        }
    }
}
