//! What lessons, answers and cards may say.
//!
//! They stand beside records that anybody has made with any flags on any machine. So they say no
//! figure that flags decide, which has a placeholder, and none that a run has measured, which charts
//! and tables show.

use std::{fmt::Write, path::PathBuf};

use lab_book::lesson::Lesson;
use lab_kit::{
    lab::{Card, defaults, filled},
    store,
};
use labs::SYLLABUS;
use serde_json::Value;

/// Units that make a number in digits a figure. Besides, whatever is counted "/s" or "a second".
const UNITS: &str = "ns µs us ms s min h second seconds minute minutes hour hours milliseconds microseconds \
    nanoseconds B kB KB MB GB TB KiB MiB GiB byte bytes kilobytes megabytes gigabytes \
    % percent × fold times core cores processor processors Hz kHz MHz GHz";
/// Numbers in words, which are figures before a unit in [`WORDY`].
const NUMBERS: &str = "two three four five six seven eight nine ten eleven twelve fifteen twenty thirty \
    forty fifty sixty seventy eighty ninety hundred thousand million";
const WORDY: &str = "nanoseconds microseconds milliseconds seconds minutes hours bytes kilobytes megabytes \
    gigabytes percent";
/// How a sentence begins that supposes something.
const SUPPOSING: [&str; 5] = ["Suppose", "Say", "Imagine", "If", "Let"];
/// Where "the source" is something else than what the suite grew from.
const OTHER_SENSES: [&str; 4] = [
    "the source code",
    "the source with the slowest fetch",
    "where the source can produce less",
    "at the source",
];

/// A character of a text, the line it is in, and whether it is in inline code.
type Place = (usize, char, bool);

/// A paragraph or an item of a list, without the headings and fenced blocks.
#[derive(Clone, Debug, Default)]
struct Paragraph {
    /// The heading of the second level above it.
    heading: String,
    /// As it is.
    text: String,
    /// The same without the backticks and what stands in braces.
    prose: Vec<Place>,
}

fn paragraphs(markdown: &str) -> Vec<Paragraph> {
    let (mut all, mut heading, mut fenced) = (Vec::new(), String::new(), false);
    let mut open: Vec<(usize, &str)> = Vec::new();
    let mut close = |open: &mut Vec<(usize, &str)>, heading: &str| {
        if !open.is_empty() {
            all.push(paragraph(heading, &std::mem::take(open)));
        }
    };
    for (n, line) in (1..).zip(markdown.lines()) {
        let fence = line.trim_start().starts_with("```");
        fenced ^= fence;
        let item = line.trim_start().starts_with("- ") || line.starts_with('|');
        let title = !fenced && line.starts_with('#');
        if fenced || fence || item || title || line.trim().is_empty() {
            close(&mut open, &heading);
        }
        if let Some(text) = line.strip_prefix("## ").filter(|_| title) {
            heading = text.trim().into();
        }
        if !(fenced || fence || title || line.trim().is_empty()) {
            open.push((n, line));
        }
    }
    close(&mut open, &heading);
    all
}

fn paragraph(heading: &str, lines: &[(usize, &str)]) -> Paragraph {
    let (mut text, mut prose) = (String::new(), Vec::new());
    let (mut code, mut braces) = (false, false);
    for (n, line) in lines {
        for c in line.trim().chars().chain([' ']) {
            text.push(c);
            match c {
                '`' => code = !code,
                '{' | '}' if !code => braces = c == '{',
                _ if braces => {}
                _ => prose.push((*n, c, code)),
            }
        }
    }
    Paragraph { heading: heading.into(), text, prose }
}

impl Paragraph {
    /// Its prose in sentences. One ends with a mark and a space before anything but a small letter.
    fn sentences(&self) -> Vec<&[Place]> {
        let ends = |i: &usize| {
            let at = |i: usize| self.prose.get(i).map_or((0, ' ', false), |place| *place);
            let (_, next, code) = at(i + 2);
            matches!(at(*i), (_, '.' | '?' | '!', false))
                && at(i + 1).1 == ' '
                && (code || !next.is_lowercase())
        };
        let mut from = 0;
        let ends: Vec<usize> = (0..self.prose.len()).filter(ends).collect();
        let ends = ends.into_iter().map(|i| i + 1).chain([self.prose.len()]);
        ends.map(|to| &self.prose[std::mem::replace(&mut from, to)..to]).collect()
    }

    /// Does it say where its figures are from? "(Name 1988)", "(RFC 9110)", a link, "(name 1.12 …)" or
    /// "`name` 1.12" or "documentation of name 1.12" for a library, or the lab notes.
    fn has_literature(&self) -> bool {
        let text = &self.text;
        let named = |of: &str| {
            let of = of.trim_start_matches('`');
            let (name, rest) = of.split_once(' ').unwrap_or((of, ""));
            let version: String =
                rest.chars().take_while(|c| c.is_ascii_digit() || *c == '.').collect();
            let after = &rest[version.len()..];
            name.starts_with(|c: char| c.is_alphabetic())
                && version.trim_end_matches('.').contains('.')
                && (after.is_empty()
                    || after.starts_with([')', ',', ':', ';', '.'])
                    || !is_unit(after))
        };
        let year = |pair: &[&str]| {
            let year = pair[1].trim_end_matches([',', ';', ':']);
            year.len() == 4
                && year.starts_with(['1', '2'])
                && year.chars().all(|c| c.is_ascii_digit())
                && (pair[0].starts_with(char::is_uppercase) || pair[0] == "al.")
        };
        let cited = |within: &str| {
            let words: Vec<&str> = within.split_whitespace().collect();
            words.windows(2).any(year) || within.starts_with("RFC ") || named(within)
        };
        let brackets = text.split('(').skip(1);
        let mut brackets = brackets.filter_map(|b| Some(b.split_once(')')?.0));
        text.contains("lab notes")
            || text.contains("](")
            || text.contains("https://")
            || brackets.any(cited)
            || text
                .split('`')
                .skip(1)
                .step_by(2)
                .zip(text.split('`').skip(2).step_by(2))
                .any(|(code, after)| !code.contains(' ') && named(&format!("{code}{after}")))
            || text.split("documentation of ").skip(1).any(named)
    }
}

/// Does a text go on with a unit, after a space or none?
fn is_unit(text: &str) -> bool {
    let text = text.trim_start_matches([' ', '-', '\u{a0}', '\u{202f}']);
    let word = |c: &char| c.is_alphanumeric();
    let unit: String = text.chars().take_while(word).collect();
    let sign = text.starts_with(['%', '×']);
    if sign || text.starts_with("per cent") || UNITS.split_whitespace().any(|u| u == unit) {
        return true;
    }
    let words: Vec<&str> = text.split_whitespace().take(4).collect();
    let rate = |pair: &[&str]| {
        let of = pair[1].trim_end_matches(|c: char| !c.is_alphanumeric());
        ["a", "an", "per"].contains(&pair[0]) && ["second", "minute", "hour"].contains(&of)
    };
    words.first().is_some_and(|w| w.contains("/s")) || words.windows(2).any(rate)
}

/// The figures of a sentence: numbers with units, with the lines they are in.
fn figures(sentence: &[Place]) -> Vec<(usize, String)> {
    let prose = |(_, c, code): &Place| if *code { '`' } else { *c };
    let text: String = sentence.iter().map(prose).collect();
    let mut found = Vec::new();
    let (mut before, mut rest) = (' ', text.as_str());
    while let Some(c) = rest.chars().next() {
        let start = !before.is_alphanumeric();
        let length = if start && c.is_ascii_digit() {
            let digit = |c: char| c.is_ascii_digit() || matches!(c, '.' | ',');
            let number = rest.find(|c| !digit(c)).map_or(rest, |end| &rest[..end]);
            number.trim_end_matches(['.', ',']).len()
        } else if start && c.is_alphabetic() {
            rest.find(|c: char| !c.is_alphanumeric()).unwrap_or(rest.len())
        } else {
            c.len_utf8()
        };
        let (head, tail) = rest.split_at(length);
        let next: String = tail
            .trim_start_matches([' ', '-'])
            .chars()
            .take_while(|c| c.is_alphanumeric())
            .collect();
        let wordy = WORDY.split_whitespace().any(|u| u == next) || tail.starts_with(" per cent");
        let half =
            head == "half" && (tail.starts_with(" a second") || tail.starts_with(" a millisecond"));
        let spelled = NUMBERS.split_whitespace().any(|n| head.eq_ignore_ascii_case(n)) && wordy;
        let digits = start && head.starts_with(|c: char| c.is_ascii_digit());
        // Several answers of the status 429 are 429s.
        let several = head.len() == 3 && next == "s" && tail.starts_with('s');
        if (digits && is_unit(tail) && !several) || spelled || half {
            let from = text[..text.len() - rest.len()].chars().count();
            let shown = sentence[from..].iter().take(30).map(|(_, c, _)| *c);
            found.push((sentence[from].0, shown.collect()));
        }
        before = head.chars().next_back().unwrap_or(' ');
        rest = tail;
    }
    found
}

fn supposes(sentence: &str) -> bool {
    let first = sentence.split_whitespace().next().unwrap_or_default();
    let first = first.trim_matches(|c: char| !c.is_alphanumeric());
    SUPPOSING.contains(&first) && sentence.contains(|c: char| c.is_ascii_digit())
}

/// Numbers with a unit that a text must not have. One may stand
///
/// - in code (inline or a block), or as a placeholder;
/// - in a paragraph or an item of a list that says where it is from, see [`Paragraph::has_literature`];
/// - in a sentence that begins with "Suppose", "Say", "Imagine", "If" or "Let", and after such a
///   sentence with a number: in its paragraph or item, and in an answer up to the answer's end. The
///   question that is answered counts as the answer's first sentence;
/// - in the definition of a unit: "1 MB is 10⁶ bytes".
///
/// `asked` are the questions that answers answer, none for a lesson.
fn figures_without_a_right(markdown: &str, asked: &[String]) -> Vec<(usize, String)> {
    let mut found = Vec::new();
    let (mut supposed, mut heading) = (false, None);
    for paragraph in paragraphs(markdown) {
        let question = asked.iter().find(|q| q.starts_with(&paragraph.heading));
        if question.is_none() || heading.as_ref() != Some(&paragraph.heading) {
            supposed = question.is_some_and(|q| supposes(q));
            heading = Some(paragraph.heading.clone());
        }
        let literature = paragraph.has_literature();
        for sentence in paragraph.sentences() {
            let text: String = sentence.iter().map(|(_, c, _)| *c).collect();
            let text = text.trim_start_matches(['-', ' ']);
            supposed |= supposes(text);
            let defines = text.contains(" is ") && text.starts_with("1 ") && is_unit(&text[1..]);
            if !(supposed || literature || defines) {
                found.extend(figures(sentence));
            }
        }
    }
    found
}

/// Places where a text speaks of "the source" that a reader has never seen.
fn sources(text: &str) -> Vec<(usize, String)> {
    let lines = (1..).zip(text.lines());
    let words: Vec<(usize, &str)> =
        lines.flat_map(|(n, line)| line.split_whitespace().map(move |word| (n, word))).collect();
    let letters = |word: &str| {
        let word = word.to_lowercase();
        word.trim_matches(|c: char| !c.is_alphanumeric()).to_string()
    };
    let mut found = Vec::new();
    for (i, (line, word)) in words.iter().enumerate() {
        let from = i.saturating_sub(3);
        let near: Vec<&str> = words[from..].iter().map(|(_, w)| *w).take(9).collect();
        let near = near.join(" ");
        let next = words.get(i + 1).map(|(_, next)| letters(next));
        let next = next.unwrap_or_default();
        let source = letters(word).ends_with("the")
            && next
                .strip_prefix("source")
                .is_some_and(|after| !after.starts_with(char::is_alphabetic));
        let goes_back = letters(word) == "goes" && near.contains("lab goes back to");
        if goes_back || (source && !OTHER_SENSES.iter().any(|other| near.contains(other))) {
            found.push((*line, near));
        }
    }
    found
}

/// All texts of a lab that do not come from a record: what it is, and the text.
fn texts(card: &Card, flags: &Value) -> [(&'static str, String); 2] {
    [("lesson", card.lesson(flags)), ("answers", filled(card.answers, flags))]
}

/// As written, with the placeholders.
fn as_written(card: &Card) -> [(&'static str, String); 2] {
    // An object without a flag fills in nothing.
    texts(card, &serde_json::json!({}))
}

fn none(offenders: &str, so: &str) {
    assert!(offenders.is_empty(), "{so}:\n{offenders}");
}

#[test]
fn lessons_and_answers_have_no_figures_of_a_run() {
    let mut offenders = String::new();
    for lab in SYLLABUS {
        let card = lab.card();
        for (name, text) in as_written(card) {
            let asked = match name {
                "answers" => Lesson::of(&as_written(card)[0].1).questions(),
                _ => Vec::new(),
            };
            for (line, figure) in figures_without_a_right(&text, &asked) {
                let _ = writeln!(offenders, "{}, {name}, line {line}: {figure}", card.id());
            }
        }
    }
    for (line, figure) in figures_without_a_right(lab_book::languages::TEXT, &[]) {
        let _ = writeln!(offenders, "languages.md, line {line}: {figure}");
    }
    none(&offenders, "figures that flags decide or a run measured (see figures_without_a_right)");
}

#[test]
fn every_placeholder_is_a_flag_of_its_lab() {
    let mut offenders = String::new();
    for lab in SYLLABUS {
        let (card, flags) = (lab.card(), defaults(*lab));
        assert!(flags.is_object(), "{} has no defaults", card.id());
        for (name, text) in texts(card, &flags) {
            // What is filled in is gone.
            let mut code = false;
            for paragraph in text.split("\n\n") {
                let at = text.find(paragraph).unwrap_or(0);
                for (i, c) in paragraph.char_indices() {
                    code ^= c == '`';
                    if !code && c == '{' {
                        let line = 1 + text[..at + i].matches('\n').count();
                        let near: String = paragraph[i..].chars().take(30).collect();
                        let _ = writeln!(offenders, "{}, {name}, line {line}: {near}", card.id());
                    }
                }
            }
        }
        for question in card.predict {
            if question.asked(&flags).contains(['{', '}']) {
                let _ = writeln!(offenders, "{}, --predict {}", card.id(), question.key);
            }
        }
    }
    none(&offenders, "no flag of the lab");
}

#[test]
fn no_text_speaks_of_a_source_that_its_reader_does_not_have() {
    let reference = concat!(env!("CARGO_MANIFEST_DIR"), "/../../results/reference");
    let records = store::load_all(&PathBuf::from(reference)).unwrap().records;
    let mut offenders = String::new();
    for lab in SYLLABUS {
        let card = lab.card();
        let mut all: Vec<(String, String)> =
            as_written(card).map(|(name, text)| (name.to_string(), text)).into();
        all.push(("card".into(), format!("{} {}", card.title, card.question)));
        for question in card.predict {
            let text = format!("{} {}", question.ask, question.hint);
            all.push((format!("--predict {}", question.key), text));
        }
        for (command, shows) in card.next {
            all.push((format!("next ({command})"), shows.to_string()));
        }
        for record in records.iter().filter(|record| record.lab == card.id()) {
            let findings = lab.explain(record).unwrap();
            all.push(("findings".into(), format!("{findings:?}")));
        }
        for (name, text) in all {
            for (line, near) in sources(&text) {
                let _ = writeln!(offenders, "{}, {name}, line {line}: {near}", card.id());
            }
        }
    }
    none(&offenders, "\"the source\"");
}

#[test]
fn the_rules_find_what_they_are_for() {
    let wrong = |text: &str| figures_without_a_right(text, &[]).len();
    for text in [
        "It takes 300 ms.",
        "A gap of 305ms, or 1,5 s",
        "three\nparts: 18 % more, 12-fold.",
        "As many as 5.8× or 5.8 times.",
        "About 841 items a second, 685 items/s.",
        "It waits for two\nseconds.",
        "Here half a second leaves.",
        "It takes 2 processors.",
        "- Suppose 3 s.\n- It takes 4 s.",
        "If `it` waits, it is bad. It takes 4 s.",
        "The ratio of `tower` 0.5 ms is 4 s.",
        "(Not in 2013): 4 s.",
        "Some 1 MB is as good as 3 s.",
    ] {
        assert!(wrong(text) > 0, "{text}");
    }
    assert_eq!(wrong("A gap of 305 ms, and 18 % of {busy}."), 2);
    for text in [
        "It takes {busy}, `300 ms`.\n\n```text\n300 ms\n```",
        "Suppose a block of 300 ms. Then it is 310 ms.",
        "Imagine `--busy 2s`: it ends after 2 s.",
        "1 MB is 10⁶ bytes.",
        "It takes 100 µs (Ryhl 2020) and 8 KB (hyper 1.12).",
        "It takes 8 KB (RFC 9110), 3 s (Dean and Barroso 2013).",
        "Suppose 429s and `{busy}`.",
        "It answers with 429s.",
        "A budget of 15 % in `tower` 0.5, that is.",
        "The lab notes have 3 s.",
        "With 25 in flight lab03 of HTTP/1.1 has 4 slots.",
    ] {
        assert_eq!(wrong(text), 0, "{text}: {:?}", figures_without_a_right(text, &[]));
    }
    let asked = ["Suppose eight workers and 20 ms. How many?".into(), "Why?".into()];
    let given = "## Suppose eight\n\nIn 20 ms.\n\nIn 40 ms.\n\n## Why?\n\nIn 60 ms.\n";
    assert_eq!(figures_without_a_right(given, &asked), [(9, "60 ms.".into())]);

    assert_eq!(sources("As the source\nmeasured, the\n  source's way").len(), 2);
    assert_eq!(sources("the sources, the source code, hyper's source").len(), 0);
    assert_eq!(sources("What this lab goes back to").len(), 1);
}
