//! Code of the labs' own sources, cut out, highlighted, and two ways compared.
//!
//! The tokenizer is here because what there is weighs more than the rest of the book: `syntect` with
//! its grammars is 4 MB of binary and a regex engine, `tree-sitter-highlight` compiles C. Rust's lexical
//! structure, as far as colours need it, is a page.

use std::fmt::Write;

use lab_kit::runtimes::Language;

use crate::page::Html;

/// How a language is written, as far as marks, pieces and colours need to know it.
#[derive(Debug, PartialEq, Eq)]
pub struct Script {
    /// What the language is called.
    pub name: &'static str,
    /// What begins a comment that ends with its line.
    comment: &'static str,
    /// What else may begin a line that belongs to the function below it.
    above: &'static [&'static str],
    /// What strings are in; a longer one before a shorter one that it begins with.
    quotes: &'static [&'static str],
    /// Whether a name with a capital is a type.
    capitals: bool,
    keywords: &'static str,
}

/// Rust, in which the labs are written.
pub static RUST: Script = Script {
    name: "Rust",
    comment: "//",
    above: &["#["],
    quotes: &[],
    capitals: true,
    keywords: " as async await break const continue crate dyn else enum extern false fn for if impl in \
        let loop match mod move mut pub ref return self Self static struct super trait true type unsafe \
        use where while ",
};

static PYTHON: Script = Script {
    name: "Python",
    comment: "#",
    above: &["@"],
    quotes: &["\"\"\"", "'''", "\"", "'"],
    capitals: true,
    keywords: " and as assert async await break case class continue def del elif else except False \
        finally for from global if import in is lambda match None nonlocal not or pass raise return \
        self True try while with yield ",
};

static NODE: Script = Script {
    name: "Node",
    comment: "//",
    above: ABOVE,
    quotes: &["`", "\"", "'"],
    capitals: true,
    keywords: " async await break case catch class const continue default delete do else export extends \
        false finally for function if import in instanceof let new null of return static super switch \
        this throw true try typeof undefined var void while yield ",
};

static GO: Script = Script {
    name: "Go",
    comment: "//",
    above: ABOVE,
    quotes: &["`", "\"", "'"],
    // Every name that a package exports has one: `time.Now`.
    capitals: false,
    keywords: " break case chan const continue default defer else fallthrough false for func go goto if \
        import interface map nil package range return select struct switch true type var ",
};

static JAVA: Script = Script {
    name: "Java",
    comment: "//",
    above: ABOVE,
    quotes: &["\"\"\"", "\"", "'"],
    capitals: true,
    keywords: " abstract boolean break byte case catch char class continue default do double else enum \
        extends false final finally float for if implements import instanceof int interface long new \
        null package private protected public record return short static super switch synchronized \
        this throw throws true try var void volatile while yield ",
};

const ABOVE: &[&str] = &["/*", "* ", "*/", "@"];

impl Script {
    /// That of a language beside Rust.
    pub fn of(language: Language) -> &'static Script {
        match language {
            Language::Python => &PYTHON,
            Language::Node => &NODE,
            Language::Go => &GO,
            Language::Java => &JAVA,
        }
    }

    /// Of a line that begins a mark ([`crate::pairs`]): its kind, its key and its text.
    pub(crate) fn mark<'a>(&self, line: &'a str) -> Option<(&'a str, &'a str, &'a str)> {
        let text = line.trim_start().strip_prefix(self.comment)?.strip_prefix(' ')?;
        let (name, text) = text.split_once(": ")?;
        let (kind, key) = name.split_at(name.find('(').unwrap_or(name.len()));
        ["wrong", "right", "so"].contains(&kind).then_some((kind, key, text))
    }

    /// Of a line that goes on with a mark of this kind: its text. It is set off, or it is any comment below `so`
    /// where comments on the code are inside it.
    pub(crate) fn goes_on<'a>(&self, kind: &str, line: &'a str) -> Option<&'a str> {
        let text = line.trim_start().strip_prefix(self.comment)?;
        let any = || (kind == "so" && *self != RUST).then(|| text.trim_start());
        text.strip_prefix("     ").or_else(any)
    }

    /// The item, function, arm or statement below the mark in line `mark`, with the comments and attributes above
    /// it, moved to the left margin.
    ///
    /// Where there are braces it ends where formatters close it: at the next line of the same indentation that
    /// closes and opens nothing. In Python it ends with its indentation.
    ///
    /// `None` when there is none.
    pub fn below(&self, source: &str, mark: usize) -> Option<String> {
        let lines: Vec<&str> = source.lines().collect();
        let depth = indent(lines.get(mark)?);
        let (mut kind, mut first) = ("", mark);
        while let Some(line) = lines.get(first) {
            match self.mark(line) {
                Some((of, ..)) => kind = of,
                None if self.goes_on(kind, line).is_none() => break,
                None => {}
            }
            first += 1;
        }
        let above = |line: &str| {
            let text = line.trim_start();
            text.starts_with(self.comment) || self.above.iter().any(|a| text.starts_with(a))
        };
        let head = (first..lines.len()).find(|i| !above(lines[*i]))?;
        if lines[first..=head].iter().any(|line| indent(line) != depth) || lines[head].is_empty() {
            return None;
        }
        let last = match *self == PYTHON {
            true => last_indented(&lines, head)?,
            false => last_closed(&lines, head)?,
        };
        let moved = lines[first..=last].iter().map(|line| line.get(depth..).unwrap_or_default());
        Some(moved.collect::<Vec<_>>().join("\n"))
    }
}

fn indent(line: &str) -> usize {
    line.len() - line.trim_start().len()
}

/// The last line of what begins in line `head` and has braces.
fn last_closed(lines: &[&str], head: usize) -> Option<usize> {
    if lines[head].ends_with([';', ',', '}']) {
        return Some(head);
    }
    // `) -> u8` before a `where` closes only the parameters.
    let closes = |line: &str| {
        let text = line.trim_start();
        let ends = text.starts_with('}') && !text.ends_with('{')
            || text.starts_with([')', ']']) && text.ends_with([';', ',', ')', ']']);
        indent(line) == indent(lines[head]) && ends
    };
    (head + 1..lines.len()).find(|i| closes(lines[*i]))
}

/// The last line of what begins in line `head` and is indented.
fn last_indented(lines: &[&str], head: usize) -> Option<usize> {
    let depth = indent(lines[head]);
    let inside = |line: &&&str| {
        // `):` below the parameters, each on a line of its own.
        line.trim().is_empty()
            || indent(line) > depth
            || indent(line) == depth && line.trim_start().starts_with([')', ']', '}'])
    };
    let more = lines[head + 1..].iter().take_while(inside).count();
    let last = (head..=head + more).rev().find(|i| !lines[*i].trim().is_empty())?;
    (!lines[last].ends_with([':', '(', ','])).then_some(last)
}

/// Two ways of the same thing, side by side, with the lines that only one of them has marked.
/// Comments are explanation and are not compared. Where little is common nothing is marked: two
/// different programs have no difference to show.
pub fn beside(script: &Script, wrong: &str, right: &str) -> (Html, Html) {
    let (left, after): (Vec<&str>, Vec<&str>) = (wrong.lines().collect(), right.lines().collect());
    let (a, b) = common(&left, &after);
    let (colours, others) = (lines(script, wrong), lines(script, right));
    // Whether each line says something; a bracket alone does not.
    let telling = |lines: &[&str], coloured: &[(String, bool)]| -> Vec<bool> {
        let both = lines.iter().zip(coloured);
        both.map(|(line, (_, silent))| !silent && line.trim().len() > 2).collect()
    };
    let (tell, other) = (telling(&left, &colours), telling(&after, &others));
    let shared = tell.iter().zip(&a).filter(|(tells, both)| **tells && **both).count();
    let count = |tell: &[bool]| tell.iter().filter(|tells| **tells).count();
    let alike = 5 * shared >= 2 * count(&tell).max(count(&other));
    (marked(&colours, &a, 'd', alike), marked(&others, &b, 'a', alike))
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
fn marked(lines: &[(String, bool)], common: &[bool], class: char, mark: bool) -> Html {
    let mut out = String::new();
    for (line, common) in lines.iter().zip(common) {
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
pub fn highlighted(script: &Script, source: &str) -> Html {
    let lines: Vec<String> = lines(script, source).into_iter().map(|line| line.0).collect();
    Html::trusted(lines.join("\n"))
}

/// Each line as markup, and whether it is only comment (or empty).
fn lines(script: &Script, source: &str) -> Vec<(String, bool)> {
    let mut done = vec![(String::new(), true)];
    for (class, text) in tokens(script, source) {
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
fn tokens<'a>(script: &Script, source: &'a str) -> Vec<(char, &'a str)> {
    let mut found: Vec<(char, &str)> = Vec::new();
    let mut rest = source;
    while let Some(first) = rest.chars().next() {
        let (class, length) = token(script, rest, first);
        let (text, after) = rest.split_at(length);
        found.push((class, text));
        rest = after;
    }
    found
}

/// The class and the length in bytes of the token that the text begins with.
fn token(script: &Script, text: &str, first: char) -> (char, usize) {
    let until = |stop: &dyn Fn(char) -> bool| text.find(stop).unwrap_or(text.len());
    if text.starts_with(script.comment) {
        return ('c', until(&|c| c == '\n'));
    }
    if script.comment == "//" && text.starts_with("/*") {
        return ('c', text.find("*/").map_or(text.len(), |end| end + 2));
    }
    let literal = if *script == RUST { of_rust(text, first) } else { quote(script, text) };
    if let Some(literal) = literal {
        literal
    } else if first.is_ascii_digit() {
        let end = until(&|c| !(of_word(c) || c == '.'));
        // `0..n` and `1.max(2)` are no decimals.
        let dot = text[..end]
            .find('.')
            .filter(|at| !text[at + 1..].starts_with(|c: char| c.is_ascii_digit()));
        ('n', dot.unwrap_or(end))
    } else if of_word(first) {
        let end = until(&|c| !of_word(c));
        let (name, after) = text.split_at(end);
        let is_macro = || *script == RUST && after.starts_with('!') && !after.starts_with("!=");
        let class = match name {
            _ if script.keywords.contains(&format!(" {name} ")) => 'k',
            _ if script.capitals && first.is_uppercase() || is_macro() => 't',
            _ => ' ',
        };
        (class, end)
    } else {
        (' ', first.len_utf8())
    }
}

fn of_word(c: char) -> bool {
    c.is_alphanumeric() || c == '_'
}

/// Of Rust alone: attributes, strings, characters and lifetimes.
fn of_rust(text: &str, first: char) -> Option<(char, usize)> {
    let raw = text.trim_start_matches(['b', 'c']);
    let hashes = raw.strip_prefix('r').map_or(0, |r| r.len() - r.trim_start_matches('#').len());
    if text.starts_with("#[") || text.starts_with("#!") {
        Some(('c', text.find("]\n").map_or(text.len(), |end| end + 1)))
    } else if text.len() - raw.len() <= 1
        && raw.strip_prefix('r').is_some_and(|r| r[hashes..].starts_with('"'))
    {
        let open = text.len() - raw.len() + 2 + hashes;
        let close = format!("\"{}", "#".repeat(hashes));
        Some(('s', text[open..].find(&close).map_or(text.len(), |end| open + end + close.len())))
    } else if first == '"' || text.starts_with("b\"") {
        Some(('s', quoted(text, "\"")))
    } else if first == '\'' {
        // A lifetime has no closing quote after its first character.
        let mut after = text[1..].chars();
        let (one, two) = (after.next(), after.next());
        Some(if one == Some('\\') || two == Some('\'') {
            ('s', quoted(text, "'"))
        } else {
            ('t', 1 + text[1..].find(|c| !of_word(c)).unwrap_or(text.len() - 1))
        })
    } else {
        None
    }
}

/// A string of a language beside Rust. What Python has in three quotes is explanation.
fn quote(script: &Script, text: &str) -> Option<(char, usize)> {
    let quote = script.quotes.iter().find(|quote| text.starts_with(**quote))?;
    let length = match *quote {
        "`" if *script == GO => text[1..].find('`').map_or(text.len(), |end| end + 2),
        quote => quoted(text, quote),
    };
    let explains = *script == PYTHON && quote.len() == 3;
    Some((if explains { 'c' } else { 's' }, length))
}

/// Length of a literal with escapes, its quotes included.
fn quoted(text: &str, quote: &str) -> usize {
    let mut escaped = false;
    let open = text.find(quote).unwrap_or_default() + quote.len();
    for (at, c) in text[open..].char_indices() {
        match c {
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            _ if text[open + at..].starts_with(quote) => return open + at + quote.len(),
            _ => {}
        }
    }
    text.len()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    static ALL: [&Script; 5] = [&RUST, &PYTHON, &NODE, &GO, &JAVA];

    const SOURCE: &str = "//! Lesson.\n\nuse a::b;\n\n// wrong: one\n// so: a text\n//     of two lines\n/// Wrong.\n#[inline]\npub async fn one(\n    a: u8,\n) -> u8\nwhere\n    u8: Copy,\n{\n    if a < 2 {\n        1\n    } else {\n        2\n    }\n}\n\n/// Right.\nfn one_more() -> u8 {\n    match 1 {\n        // right: an arm\n        // The arm.\n        A::B => {\n            3\n        }\n        // wrong: short\n        _ => 4,\n    }\n}\n// wrong: nothing\n\nfn far() {}\n";

    #[test]
    fn items_stand_below_their_marks_with_their_comments_and_end_where_they_end() {
        let below = |start: &str| {
            let mut lines = SOURCE.lines();
            RUST.below(SOURCE, lines.position(|line| line.contains(start))?)
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
    fn a_piece_of_python_ends_with_its_indentation() {
        let source = "# wrong: a\n# A comment.\n@decorated\nasync def a(\n    b,\n):\n    \"\"\"Why.\n\n    More.\"\"\"\n\n    return b\n\n\n# Another.\nx = 1\nclass C:\n    # right: m\n    # so: One\n    # two.\n    def m(self): return 1\n    # wrong: nothing\n    def open(self):\n\nLAST = 1\n# wrong: end";
        let below =
            |start: &str| PYTHON.below(source, source.lines().position(|l| l.contains(start))?);
        let a = below("wrong: a").unwrap();
        assert!(a.starts_with("# A comment.\n@decorated\nasync def a("), "{a}");
        assert!(a.ends_with("\n    More.\"\"\"\n\n    return b"), "{a}");
        assert_eq!(below("right: m").unwrap(), "def m(self): return 1");
        assert_eq!(below("so: One").unwrap(), "def m(self): return 1");
        assert_eq!(below("wrong: nothing"), None);
        assert_eq!(below("wrong: end"), None);
    }

    #[test]
    fn a_piece_ends_with_its_brace() {
        let go = "// right: f\n// so: One\n// two.\nfunc f(\n\ta int,\n) error {\n\tif a > 1 {\n\t}\n}\n\nfunc g() {}\n";
        let f = "func f(\n\ta int,\n) error {\n\tif a > 1 {\n\t}\n}";
        assert_eq!(GO.below(go, 0).unwrap(), f);
        let java = "class A {\n    // wrong: m\n    /** Why. */\n    @Override\n    void m() {\n        n();\n    }\n}\n";
        assert_eq!(JAVA.below(java, 1).unwrap(), "/** Why. */\n@Override\nvoid m() {\n    n();\n}");
        assert_eq!(NODE.below("// wrong: open\nfunction f() {\n", 0), None);
    }

    #[test]
    fn every_language_has_its_colours() {
        let has = |script: &Script, source: &str, parts: &[&str]| {
            let html = highlighted(script, source);
            for part in parts {
                assert!(html.as_str().contains(part), "{}: {part} in {html}", script.name);
            }
        };
        let string = "<span class=\"s\">'a // # b'</span>";
        has(
            &PYTHON,
            "async def f(): # c\n    \"\"\"Why 'not'.\"\"\"\n    'a // # b' // 2",
            &[
                "<span class=\"k\">def</span>",
                "<span class=\"c\"># c</span>",
                "<span class=\"c\">\"\"\"Why 'not'.\"\"\"</span>",
                string,
                "// <span class=\"n\">2</span>",
            ],
        );
        has(
            &NODE,
            "await g('a // # b', `${x} \"`) // c",
            &["<span class=\"k\">await</span>", string, "`${x} \"`</span>", "\">// c</span>"],
        );
        has(
            &GO,
            "go time.Sleep(10_000) // c\nx := `a\\` + \"b\"",
            &[
                "<span class=\"k\">go</span> time.Sleep",
                "<span class=\"s\">`a\\`</span>",
                "<span class=\"s\">\"b\"</span>",
            ],
        );
        has(
            &JAVA,
            "var a = new Semaphore(1); /* b */ \"\"\"\n c \"d\" \"\"\"",
            &[
                "<span class=\"t\">Semaphore</span>",
                "<span class=\"c\">/* b */</span>",
                "<span class=\"s\">\"\"\"</span>\n<span class=\"s\"> c \"d\" \"\"\"</span>",
            ],
        );
    }

    #[test]
    fn colours_know_strings_comments_lifetimes_and_numbers() {
        let html = highlighted(
            &RUST,
            "let a: &'static str = \"</b> // no\"; // <b>\nx('\\'', 'a', 0..9, 1.5e3)",
        );
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
        let raw = highlighted(&RUST, "r#\"a \"quoted\" <i>\"# + b").as_str().to_string();
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
        let (left, after) = beside(&RUST, wrong, right);
        assert_eq!(left.as_str().matches("<del").count(), 1, "{left}");
        assert_eq!(after.as_str().matches("<ins").count(), 1, "{after}");
        let (left, after) =
            beside(&RUST, wrong, "fn g() {\n    quite();\n    another();\n    thing();\n}");
        assert!(!left.as_str().contains("<del") && !after.as_str().contains("<ins"));
    }

    proptest! {
        #[test]
        fn tokens_are_the_source(text in "[a-z0-9_'\"`@\\\\/*#!\\[\\]<>&é. \nrb]{0,80}") {
            for script in ALL {
                let joined: String = tokens(script, &text).iter().map(|t| t.1).collect();
                prop_assert_eq!(&joined, &text);
                let html = highlighted(script, &text);
                prop_assert_eq!(html.as_str().matches('\n').count(), text.matches('\n').count());
            }
        }
    }
}
