//! What a lab is about, as data: its question, its sizes, what its reader is asked.

use serde_json::Value;

use crate::{record::Scale, text};

/// Points of a curve that a reader is asked for on a terminal.
const ASKED: usize = 4;

/// How the name begins of what judges a program by what a lab asks: its records lie beside the lab's own.
pub const JUDGED: &str = "judge_";

/// What a lab is about.
#[derive(Debug)]
pub struct Card {
    /// 3 for lab03.
    pub number: u8,
    /// "concurrency_trap".
    pub name: &'static str,
    /// "The concurrency trap".
    pub title: &'static str,
    /// The question in one sentence.
    pub question: &'static str,
    /// What the reader is asked to predict before the run.
    pub predict: &'static [Question],
    /// What to try next: a command and what it shows.
    pub next: &'static [(&'static str, &'static str)],
    /// The lab's own source files, by name: first the one that opens with the lesson, then those in which
    /// something is marked as the wrong or the right way. [`sources!`](crate::sources) reads them.
    pub sources: &'static [(&'static str, &'static str)],
    /// Answers to the questions of "Check yourself", as Markdown.
    pub answers: &'static str,
    /// How the experiment is sized.
    pub sizes: Sizes,
}

/// Files beside the one that says so, by name, with what is in them.
#[macro_export]
macro_rules! sources {
    ($($file:literal),+ $(,)?) => { &[$(($file, include_str!($file))),+] };
}

/// Flags that a scale puts before the user's own, and how often conditions are repeated.
#[derive(Debug)]
pub struct Sizes {
    /// Flags at smoke scale.
    pub smoke: &'static [&'static str],
    /// Flags at full scale.
    pub full: &'static [&'static str],
    /// Trials of each condition at quick and at full scale (one at smoke scale).
    pub trials: (usize, usize),
}

/// Something to predict: a number.
#[derive(Debug)]
pub struct Question {
    /// Name in `--predict KEY=VALUE`.
    pub key: &'static str,
    /// The question. `{busy}` stands for the value of the flag `--busy`; see [`Question::asked`].
    pub ask: &'static str,
    /// Unit of the answer.
    pub unit: &'static str,
    /// A hint of the range.
    pub hint: &'static str,
}

impl Question {
    /// The question with the values that the run's flags have, so that it asks for what is measured
    /// at any scale; with the flags' names where there is no run (`Value::Null`).
    pub fn asked(&self, params: &Value) -> String {
        filled(self.ask, params)
    }
}

/// A text with its placeholders filled in: `{busy}` becomes what the flag `--busy` has in `params`,
/// or the flag's name where there is no run (`Value::Null`) or no value.
///
/// A placeholder is the name of a flag that `params` has, in braces; other braces stay. The text is
/// Markdown: a fenced block stays as it is, and in inline code the value stands as it is typed, so
/// that a command can be pasted. A value that could be markup is not filled in: records may come
/// from anywhere.
pub fn filled(text: &str, params: &Value) -> String {
    let mut out = String::with_capacity(text.len());
    // Backticks that opened the inline code that is being read.
    let (mut fenced, mut code) = (false, 0);
    for line in text.split_inclusive('\n') {
        let fence = line.trim_start().starts_with("```");
        fenced ^= fence;
        if fenced || fence {
            out += line;
            continue;
        }
        if line.trim().is_empty() {
            code = 0;
        }
        let mut rest = line;
        while let Some(at) = rest.find(['`', '{']) {
            out += &rest[..at];
            rest = &rest[at..];
            let ticks = rest.len() - rest.trim_start_matches('`').len();
            let read = if ticks > 0 {
                match code {
                    0 => code = ticks,
                    open if open == ticks => code = 0,
                    _ => {}
                }
                out += &rest[..ticks];
                ticks
            } else if let Some((length, value)) = placeholder(rest, params, code > 0) {
                out += &value;
                length
            } else {
                out.push('{');
                1
            };
            rest = &rest[read..];
        }
        out += rest;
    }
    out
}

/// What no value of a flag that a text speaks of has in it.
const MARKUP: [char; 15] =
    ['<', '>', '[', ']', '(', ')', '{', '}', '`', '*', '_', '\\', '#', '|', '\n'];

/// The placeholder that a text begins with: its length, and what stands for it.
fn placeholder(text: &str, params: &Value, in_code: bool) -> Option<(usize, String)> {
    let (flag, _) = text.strip_prefix('{')?.split_once('}')?;
    let kebab = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
    if flag.is_empty() || !flag.chars().all(kebab) {
        return None;
    }
    let value = params.get(flag.replace('-', "_"));
    if value.is_none() && !params.is_null() {
        return None;
    }
    let plain = |value: &String| !value.contains(MARKUP);
    let value = if in_code {
        value.and_then(typed).filter(plain)?
    } else {
        let value = value.and_then(written).filter(plain);
        value.unwrap_or_else(|| format!("--{flag}"))
    };
    Some((flag.len() + 2, value))
}

/// A flag's value as it is typed: "150ms", "50000", "1,2,3".
fn typed(value: &Value) -> Option<String> {
    match value {
        Value::String(text) => Some(text.clone()),
        Value::Number(number) => Some(number.to_string()),
        Value::Array(values) => {
            let values: Option<Vec<String>> = values.iter().map(typed).collect();
            Some(values?.join(","))
        }
        _ => None,
    }
}

/// A flag's value as in a sentence: "150 ms", "50,000", "1, 2 and 3".
fn written(value: &Value) -> Option<String> {
    match value {
        Value::String(text) => Some(spaced(text)),
        Value::Number(number) => Some(
            number
                .as_u64()
                .map_or_else(|| text::number(number.as_f64().unwrap_or(f64::NAN)), text::thousands),
        ),
        Value::Array(values) => {
            let values: Option<Vec<String>> = values.iter().map(written).collect();
            let values = values?;
            let (last, others) = values.split_last()?;
            Some(match others {
                [] => last.clone(),
                _ => format!("{} and {last}", others.join(", ")),
            })
        }
        _ => None,
    }
}

/// "150ms" as "150 ms", "1s500ms" as "1 s 500 ms".
fn spaced(text: &str) -> String {
    let mut out = String::new();
    for c in text.chars() {
        let before = out.chars().next_back();
        if before.is_some_and(|b| {
            b.is_alphanumeric() && c.is_alphanumeric() && b.is_alphabetic() != c.is_alphabetic()
        }) {
            out.push(' ');
        }
        out.push(c);
    }
    out
}

impl Card {
    /// "lab03"; "judge03" of what judges a program.
    pub fn id(&self) -> String {
        let kind = if self.judges() { "judge" } else { "lab" };
        format!("{kind}{:02}", self.number)
    }

    /// Whether it is of a judgement, not of a lab.
    pub fn judges(&self) -> bool {
        self.name.starts_with(JUDGED)
    }

    /// Flags that the scale puts before the user's.
    pub fn preset(&self, scale: Scale) -> &'static [&'static str] {
        match scale {
            Scale::Smoke => self.sizes.smoke,
            Scale::Quick => &[],
            Scale::Full => self.sizes.full,
        }
    }

    /// Trials of each condition unless `--trials` says otherwise.
    pub fn trials(&self, scale: Scale) -> usize {
        match scale {
            Scale::Smoke => 1,
            Scale::Quick => self.sizes.trials.0,
            Scale::Full => self.sizes.trials.1,
        }
    }

    /// The lesson: the module documentation that the lab's source opens with, as Markdown, with the
    /// values that a run's flags have; see [`filled`].
    pub fn lesson(&self, params: &Value) -> String {
        let lesson = self.sources.first().map_or("", |(_, text)| text);
        let lines = lesson.lines().map_while(|l| l.strip_prefix("//!"));
        let lines: Vec<&str> = lines.map(|l| l.strip_prefix(' ').unwrap_or(l)).collect();
        filled(&lines.join("\n"), params)
    }
}

/// A curve to predict: some of its points.
#[derive(Debug)]
pub struct Sketch {
    /// Name in `--predict KEY@X=VALUE`.
    pub key: &'static str,
    /// What the curve shows.
    pub ask: &'static str,
    /// Unit of its values.
    pub unit: &'static str,
    /// A hint of their range.
    pub hint: &'static str,
    /// What is on the x axis: "clients".
    pub x: &'static str,
    /// The flag, as it is called in the record's parameters, that lists the places that are measured.
    pub places: &'static str,
    /// The figure with the measured curve.
    pub figure: &'static str,
    /// Its panel, from the top.
    pub panel: usize,
    /// Label of the measured line, which is in the unit of the values.
    pub line: &'static str,
}

impl Sketch {
    /// Key of the point at `x`.
    pub fn key_at(&self, x: f64) -> String {
        format!("{}@{x}", self.key)
    }

    /// Where on the x axis a reader is asked: at most four of the places that are measured, from the
    /// first to the last.
    pub fn asked(&self, params: &Value) -> Vec<f64> {
        let listed = params.get(self.places).and_then(Value::as_array);
        let mut all: Vec<f64> = listed.into_iter().flatten().filter_map(Value::as_f64).collect();
        all.sort_by(f64::total_cmp);
        all.dedup();
        if all.len() <= ASKED {
            return all;
        }
        let step = (all.len() - 1) as f64 / (ASKED - 1) as f64;
        (0..ASKED).map(|i| all[(i as f64 * step).round() as usize]).collect()
    }
}
