//! Code of the labs' own sources, cut out, highlighted, and two ways compared.
//!
//! The tokenizer is here because what there is weighs more than the rest of the book: `syntect` with
//! its grammars is 4 MB of binary and a regex engine, `tree-sitter-highlight` compiles C. Rust's lexical
//! structure, as far as colours need it, is a page.

use std::fmt::Write;

use crate::page::Html;

const KEYWORDS: &str = " as async await break const continue crate dyn else enum extern false fn for if impl in \
     let loop match mod move mut pub ref return self Self static struct super trait true type unsafe \
     use where while ";

/// The item, arm or statement below line `mark`, with the comments and attributes above it, moved to the
/// left margin. It ends where rustfmt closes it: at the next line of the same indentation that closes and
/// opens nothing.
///
/// `None` when there is none.
pub fn below(source: &str, mark: usize) -> Option<String> {
    let lines: Vec<&str> = source.lines().collect();
    let indent = |line: &str| line.len() - line.trim_start().len();
    let depth = indent(lines.get(mark)?);
    let first = (mark..lines.len()).find(|i| !is_mark(lines[*i]))?;
    let above = |line: &str| {
        let text = line.trim_start();
        text.starts_with("//") || text.starts_with("#[")
    };
    let head = (first..lines.len()).find(|i| !above(lines[*i]))?;
    if lines[first..=head].iter().any(|line| indent(line) != depth) || lines[head].is_empty() {
        return None;
    }
    let whole = |line: &str| line.ends_with([';', ',', '}']);
    let last = if whole(lines[head]) {
        head
    } else {
        // `) -> u8` before a `where` closes only the parameters.
        let closes = |line: &str| {
            let text = line.trim_start();
            let ends = text.starts_with('}') && !text.ends_with('{')
                || text.starts_with([')', ']']) && text.ends_with([';', ',', ')', ']']);
            indent(line) == depth && ends
        };
        (head + 1..lines.len()).find(|i| closes(lines[*i]))?
    };
    let moved = lines[first..=last].iter().map(|line| line.get(depth..).unwrap_or_default());
    Some(moved.collect::<Vec<_>>().join("\n"))
}

/// True for a line that is part of a mark.
fn is_mark(line: &str) -> bool {
    let line = line.trim_start();
    mark(line).is_some() || line.starts_with("//     ")
}

/// Of a line that begins a mark ([`crate::pairs`]): its kind, its key and its text.
pub(crate) fn mark(line: &str) -> Option<(&str, &str, &str)> {
    let (name, text) = line.trim_start().strip_prefix("// ")?.split_once(": ")?;
    let (kind, key) = name.split_at(name.find('(').unwrap_or(name.len()));
    ["wrong", "right", "so"].contains(&kind).then_some((kind, key, text))
}

/// Two ways of the same thing, side by side, with the lines that only one of them has marked.
/// Comments are explanation and are not compared. Where little is common nothing is marked: two
/// different programs have no difference to show.
pub fn beside(wrong: &str, right: &str) -> (Html, Html) {
    let (left, after): (Vec<&str>, Vec<&str>) = (wrong.lines().collect(), right.lines().collect());
    let (a, b) = common(&left, &after);
    let telling = |line: &&&str| !is_comment(line) && line.trim().len() > 2;
    let shared = left.iter().zip(&a).filter(|(line, both)| **both && telling(line)).count();
    let most = left.iter().filter(telling).count().max(after.iter().filter(telling).count());
    let alike = 5 * shared >= 2 * most;
    (marked(wrong, &a, 'd', alike), marked(right, &b, 'a', alike))
}

fn is_comment(line: &str) -> bool {
    line.trim_start().starts_with("//") || line.trim_start().starts_with("#[")
}

/// Which lines belong to the longest common subsequence.
fn common(a: &[&str], b: &[&str]) -> (Vec<bool>, Vec<bool>) {
    let same = |i: usize, j: usize| a[i].trim() == b[j].trim();
    let mut length = vec![vec![0u32; b.len() + 1]; a.len() + 1];
    for i in (0..a.len()).rev() {
        for j in (0..b.len()).rev() {
            length[i][j] = if same(i, j) {
                length[i + 1][j + 1] + 1
            } else {
                length[i + 1][j].max(length[i][j + 1])
            };
        }
    }
    let (mut of_a, mut of_b) = (vec![false; a.len()], vec![false; b.len()]);
    let (mut i, mut j) = (0, 0);
    while i < a.len() && j < b.len() {
        if same(i, j) {
            (of_a[i], of_b[j]) = (true, true);
            (i, j) = (i + 1, j + 1);
        } else if length[i + 1][j] >= length[i][j + 1] {
            i += 1;
        } else {
            j += 1;
        }
    }
    (of_a, of_b)
}

/// Highlighted lines; those that are not common in an element of this class.
fn marked(source: &str, common: &[bool], class: char, mark: bool) -> Html {
    let mut out = String::new();
    for (line, common) in lines(source).iter().zip(common) {
        let element = match class {
            'd' => "del",
            _ => "ins",
        };
        let own = !common && !line.1;
        let _ = match (mark, own) {
            (true, true) => writeln!(out, "<{element} class=\"{class}\">{}</{element}>", line.0),
            (true, false) => writeln!(out, "<span class=\"e\">{}</span>", line.0),
            (false, _) => writeln!(out, "{}", line.0),
        };
    }
    Html::trusted(out.trim_end())
}

/// The source with its colours.
pub fn highlighted(source: &str) -> Html {
    let lines: Vec<String> = lines(source).into_iter().map(|line| line.0).collect();
    Html::trusted(lines.join("\n"))
}

/// Each line as markup, and whether it is only comment (or empty).
fn lines(source: &str) -> Vec<(String, bool)> {
    let mut done = vec![(String::new(), true)];
    for (class, text) in tokens(source) {
        for (n, part) in text.split('\n').enumerate() {
            if n > 0 {
                done.push((String::new(), true));
            }
            let (line, silent) = done.last_mut().expect("there is one");
            *silent &= class == 'c' || part.trim().is_empty();
            let part = part.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;");
            if class == ' ' || part.is_empty() {
                line.push_str(&part);
            } else {
                let _ = write!(line, "<span class=\"{class}\">{part}</span>");
            }
        }
    }
    done
}

/// The source in pieces: `k` keyword, `s` string or character, `c` comment or attribute, `n` number,
/// `t` type or macro, blank for the rest. Together they are the source.
fn tokens(source: &str) -> Vec<(char, &str)> {
    let mut found: Vec<(char, &str)> = Vec::new();
    let mut rest = source;
    while let Some(first) = rest.chars().next() {
        let (class, length) = token(rest, first);
        let (text, after) = rest.split_at(length);
        found.push((class, text));
        rest = after;
    }
    found
}

/// The class and the length in bytes of the token that the text begins with.
fn token(text: &str, first: char) -> (char, usize) {
    let until = |stop: &dyn Fn(char) -> bool| text.find(stop).unwrap_or(text.len());
    let word = |c: char| c.is_alphanumeric() || c == '_';
    let raw = text.trim_start_matches(['b', 'c']);
    let hashes = raw.strip_prefix('r').map_or(0, |r| r.len() - r.trim_start_matches('#').len());
    if text.starts_with("//") {
        ('c', until(&|c| c == '\n'))
    } else if text.starts_with("/*") {
        ('c', text.find("*/").map_or(text.len(), |end| end + 2))
    } else if text.starts_with("#[") || text.starts_with("#!") {
        ('c', text.find("]\n").map_or(text.len(), |end| end + 1))
    } else if text.len() - raw.len() <= 1
        && raw.strip_prefix('r').is_some_and(|r| r[hashes..].starts_with('"'))
    {
        let open = text.len() - raw.len() + 2 + hashes;
        let close = format!("\"{}", "#".repeat(hashes));
        ('s', text[open..].find(&close).map_or(text.len(), |end| open + end + close.len()))
    } else if first == '"' || text.starts_with("b\"") {
        ('s', quoted(text, '"'))
    } else if first == '\'' {
        // A lifetime has no closing quote after its first character.
        let mut after = text[1..].chars();
        let (one, two) = (after.next(), after.next());
        if one == Some('\\') || two == Some('\'') {
            ('s', quoted(text, '\''))
        } else {
            ('t', 1 + text[1..].find(|c| !word(c)).unwrap_or(text.len() - 1))
        }
    } else if first.is_ascii_digit() {
        let end = until(&|c| !(word(c) || c == '.'));
        // `0..n` and `1.max(2)` are no decimals.
        let dot = text[..end]
            .find('.')
            .filter(|at| !text[at + 1..].starts_with(|c: char| c.is_ascii_digit()));
        ('n', dot.unwrap_or(end))
    } else if word(first) {
        let end = until(&|c| !word(c));
        let (name, after) = text.split_at(end);
        let class = match name {
            _ if KEYWORDS.contains(&format!(" {name} ")) => 'k',
            _ if first.is_uppercase() || after.starts_with('!') && !after.starts_with("!=") => 't',
            _ => ' ',
        };
        (class, end)
    } else {
        (' ', first.len_utf8())
    }
}

/// Length of a literal with escapes, its quotes included.
fn quoted(text: &str, quote: char) -> usize {
    let mut escaped = false;
    let open = text.find(quote).unwrap_or_default() + 1;
    for (at, c) in text[open..].char_indices() {
        match c {
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            c if c == quote => return open + at + 1,
            _ => {}
        }
    }
    text.len()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const SOURCE: &str = "//! Lesson.\n\nuse a::b;\n\n// wrong: one\n// so: a text\n//     of two lines\n/// Wrong.\n#[inline]\npub async fn one(\n    a: u8,\n) -> u8\nwhere\n    u8: Copy,\n{\n    if a < 2 {\n        1\n    } else {\n        2\n    }\n}\n\n/// Right.\nfn one_more() -> u8 {\n    match 1 {\n        // right: an arm\n        // The arm.\n        A::B => {\n            3\n        }\n        // wrong: short\n        _ => 4,\n    }\n}\n// wrong: nothing\n\nfn far() {}\n";

    #[test]
    fn items_stand_below_their_marks_with_their_comments_and_end_where_they_end() {
        let below = |start: &str| {
            let mut lines = SOURCE.lines();
            below(SOURCE, lines.position(|line| line.contains(start))?)
        };
        let one = below("wrong: one").unwrap();
        assert!(one.starts_with("/// Wrong.\n#[inline]\npub async fn one("), "{one}");
        assert!(one.ends_with("        2\n    }\n}"), "{one}");
        let arm = below("right: an arm").unwrap();
        assert_eq!(arm, "// The arm.\nA::B => {\n    3\n}");
        assert_eq!(below("wrong: short").unwrap(), "_ => 4,");
        assert_eq!(below("wrong: nothing"), None);
    }

    #[test]
    fn colours_know_strings_comments_lifetimes_and_numbers() {
        let html =
            highlighted("let a: &'static str = \"</b> // no\"; // <b>\nx('\\'', 'a', 0..9, 1.5e3)");
        let html = html.as_str();
        for part in [
            "<span class=\"k\">let</span>",
            "<span class=\"t\">'static</span>",
            "<span class=\"s\">\"&lt;/b&gt; // no\"</span>",
            "<span class=\"c\">// &lt;b&gt;</span>\n",
            "<span class=\"s\">'\\''</span>",
            "<span class=\"n\">0</span>..<span class=\"n\">9</span>",
            "<span class=\"n\">1.5e3</span>",
        ] {
            assert!(html.contains(part), "{part} in {html}");
        }
        let raw = highlighted("r#\"a \"quoted\" <i>\"# + b").as_str().to_string();
        assert!(
            raw.starts_with("<span class=\"s\">r#\"a \"quoted\" &lt;i&gt;\"#</span> + b"),
            "{raw}"
        );
    }

    #[test]
    fn only_what_differs_is_marked_and_only_between_relatives() {
        let wrong = "/// Wrong.\nfn f() {\n    let a = 1;\n    loop {\n        wait();\n    }\n}";
        let right =
            "/// Right.\nfn f() {\n    loop {\n        wait();\n        let a = 1;\n    }\n}";
        let (left, after) = beside(wrong, right);
        assert_eq!(left.as_str().matches("<del").count(), 1, "{left}");
        assert_eq!(after.as_str().matches("<ins").count(), 1, "{after}");
        let (left, after) =
            beside(wrong, "fn g() {\n    quite();\n    another();\n    thing();\n}");
        assert!(!left.as_str().contains("<del") && !after.as_str().contains("<ins"));
    }

    proptest! {
        #[test]
        fn tokens_are_the_source(text in "[a-z0-9_'\"\\\\/*#!\\[\\]<>&é. \nrb]{0,80}") {
            let joined: String = tokens(&text).iter().map(|t| t.1).collect();
            prop_assert_eq!(&joined, &text);
            let html = highlighted(&text);
            prop_assert_eq!(html.as_str().matches('\n').count(), text.matches('\n').count());
        }
    }
}
