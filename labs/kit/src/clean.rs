//! Texts of records, made harmless where they leave: on a terminal, in Markdown, in a picture.
//!
//! A record may come from anybody. Its strings may hold whatever JSON can, and that must neither rewrite
//! what is on a screen nor become markup on a page. Pages have [`crate::draw::escaped`].

use std::{borrow::Cow, fmt::Write};

/// Longest text in a report, in characters.
const LONGEST: usize = 4000;

/// Neither controls, which move a terminal's cursor and which XML forbids, nor marks that would turn the
/// direction of writing.
pub fn allowed(c: char) -> bool {
    let bidi =
        matches!(c, '\u{200E}' | '\u{200F}' | '\u{202A}'..='\u{202E}' | '\u{2066}'..='\u{2069}');
    !(c.is_control() || bidi || matches!(c, '\u{FFFE}' | '\u{FFFF}'))
}

/// Text on one line, without what is not [`allowed`], and not longer than so many characters.
pub fn line(text: &str, longest: usize) -> String {
    characters(text).take(longest).collect()
}

fn characters(text: &str) -> impl Iterator<Item = char> {
    let spaced = text.chars();
    let spaced = spaced.map(|c| if c.is_whitespace() { ' ' } else { c });
    spaced.filter(|c| allowed(*c))
}

/// [`line()`] with a sign where it was cut.
pub fn brief(text: &str, longest: usize) -> String {
    let mut all = characters(text);
    let mut short: String = all.by_ref().take(longest).collect();
    if all.next().is_some() {
        short.push('…');
    }
    short
}

/// Text of several lines for a terminal.
pub fn terminal(text: &str) -> Cow<'_, str> {
    let fine = |c: char| allowed(c) || matches!(c, '\n' | '\t');
    if text.chars().all(fine) {
        return Cow::Borrowed(text);
    }
    Cow::Owned(text.chars().filter(|c| fine(*c)).collect())
}

/// JSON for a terminal: what would do something there is written as its number, so that nothing is lost.
pub fn json(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        if allowed(c) || c == '\n' {
            out.push(c);
        } else {
            let _ = write!(out, "\\u{:04x}", u32::from(c));
        }
    }
    out
}

/// Text inside of a paragraph or a cell of Markdown: on one line, and neither HTML nor a link.
pub fn markdown(text: &str) -> String {
    let clean = line(text, LONGEST);
    let mut out = String::with_capacity(clean.len());
    let mut next = clean.chars().peekable();
    while let Some(c) = next.next() {
        match (c, next.peek()) {
            // Only in front of these does it begin an element, a comment or an address.
            ('<', Some(after)) if after.is_ascii_alphabetic() || "/!?".contains(*after) => {
                out.push_str("&lt;");
            }
            (']', Some('(' | '[' | ':')) => out.push_str("]\\"),
            _ => out.push(c),
        }
    }
    out
}

/// Text between the backticks of Markdown.
pub fn code(text: &str) -> String {
    line(text, LONGEST).replace('`', "'")
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn nothing_rewrites_a_screen() {
        assert_eq!(line("a\x1b[2Jb\n\u{9b}c\0\u{202e}d", 100), "a[2Jb cd");
        assert_eq!(terminal("a\x1b[2J\n\tb\r\u{7f}"), "a[2J\n\tb");
        assert!(matches!(terminal("two\nlines – ✓"), Cow::Borrowed(_)));
        assert_eq!(brief(&"x".repeat(10_000_000), 3), "xxx…");
        assert_eq!(brief("abc\u{1b}", 3), "abc");
    }

    #[test]
    fn json_loses_nothing() {
        let value = serde_json::json!({"a\u{9b}": ["\u{1b}[2J", "\u{202e}x\u{7f}", "é"]});
        let text = json(&serde_json::to_string_pretty(&value).unwrap());
        assert_eq!(terminal(&text), text);
        let back: serde_json::Value = serde_json::from_str(&text).unwrap();
        assert_eq!(back, value);
    }

    #[test]
    fn markdown_has_no_markup_of_others() {
        for (text, expected) in [
            ("<script>x</script>", "&lt;script>x&lt;/script>"),
            ("<!-- labs:end -->", "&lt;!-- labs:end -->"),
            ("![x](http://h/y)", "![x]\\(http://h/y)"),
            ("a\n# b", "a # b"),
            ("1 < 2, x <= 3 [a, b]", "1 < 2, x <= 3 [a, b]"),
        ] {
            assert_eq!(markdown(text), expected);
        }
        assert_eq!(code("labs `x`\n"), "labs 'x' ");
    }

    proptest! {
        #[test]
        fn whatever_comes_is_tame(text: String) {
            prop_assert!(markdown(&text).chars().all(allowed));
            prop_assert!(terminal(&text).chars().all(|c| allowed(c) || c == '\n' || c == '\t'));
        }
    }
}
