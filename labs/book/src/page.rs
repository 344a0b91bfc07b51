//! The layout that all pages share: one template, one style sheet inside the page, no script.
//!
//! A page is text from records that anybody may have written, so there are two kinds of strings:
//! `&str`, which is escaped wherever it goes, and [`Html`], which is markup and is not. A page forbids
//! scripts and everything from elsewhere by its own content security policy as well.
//!
//! # What the style sheet knows
//!
//! | markup | for |
//! | --- | --- |
//! | `<section>` with an `<h2>` | a part of the page; the text column is 42 rem wide |
//! | `class="wide"` | on a child of `main` or of a section: as wide as a chart |
//! | `<div class="scroll" tabindex="0" role="group" aria-label="…">` | round a table: it scrolls inside on a narrow screen; [`table`] writes it |
//! | `class="number"` on `td`, `th` | figures, right-aligned |
//! | `class="badge confirmed"`, `refuted`, `inconclusive`, `plain` | a word with a frame; [`badge`], [`word`] |
//! | `class="note"` on `p` or `aside` | what the reader must know |
//! | `class="small"` | smaller, muted |
//! | `class="cards"` on `ul` | tiles, a `li` each |
//! | `<details><summary>` | a fold; [`fold`] |
//! | `class="strip"` on `dl` of `div`s with `dt`, `dd` | a few values side by side |

use std::fmt::{self, Display, Write};

use askama::Template;
use lab_kit::claim::Verdict;
use lab_kit::findings::Table;

/// Markup: what is in it is not escaped again.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Html(String);

impl Html {
    /// Nothing yet.
    pub fn new() -> Html {
        Html::default()
    }

    /// Text, escaped.
    pub fn text(text: &str) -> Html {
        Html(escaped(text))
    }

    /// Markup that the caller vouches for: no string of a record may be in it unescaped.
    pub fn trusted(markup: impl Into<String>) -> Html {
        Html(markup.into())
    }

    /// Adds more.
    pub fn push(&mut self, more: &Html) {
        self.0.push_str(&more.0);
    }

    /// Adds an element round this text, which is escaped. `open` is what stands between the angle
    /// brackets: `p class="small"`.
    pub fn element(&mut self, open: &'static str, text: &str) {
        self.wrap(open, &Html::text(text));
    }

    /// The same round markup.
    pub fn wrap(&mut self, open: &'static str, inner: &Html) {
        let name = open.split(' ').next().unwrap_or(open);
        let _ = writeln!(self.0, "<{open}>{inner}</{name}>");
    }

    /// The markup.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// True when there is nothing.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl Display for Html {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl Extend<Html> for Html {
    fn extend<I: IntoIterator<Item = Html>>(&mut self, parts: I) {
        parts.into_iter().for_each(|part| self.push(&part));
    }
}

impl FromIterator<Html> for Html {
    fn from_iter<I: IntoIterator<Item = Html>>(parts: I) -> Html {
        Html(parts.into_iter().map(|part| part.0).collect())
    }
}

/// Longest text of a record that a page shows; the rest is cut, and the cut is shown. One label of
/// ten megabytes would otherwise make ten megabytes of page.
pub const LONGEST: usize = 2000;

/// Text for the content of an element or for an attribute in double quotes: escaped, without the
/// controls that HTML forbids or that turn the direction of writing, at most [`LONGEST`] characters.
pub fn escaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len().min(LONGEST));
    let allowed = |c: &char| {
        !(c.is_control() && !matches!(c, '\n' | '\t')
            || matches!(c, '\u{200E}' | '\u{200F}' | '\u{202A}'..='\u{202E}' | '\u{2066}'..='\u{2069}')
            || matches!(c, '\u{FFFE}' | '\u{FFFF}'))
    };
    for (n, c) in text.chars().filter(allowed).enumerate() {
        if n == LONGEST {
            out.push('…');
            break;
        }
        match c {
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '&' => out.push_str("&amp;"),
            '"' => out.push_str("&quot;"),
            '\'' => out.push_str("&#39;"),
            c => out.push(c),
        }
    }
    out
}

/// Code on one line, or on few; a flag is not torn apart after its hyphens where the line ends.
pub fn code(text: &str) -> Html {
    let words = escaped(text);
    let words = words.split(' ').map(|word| match word.strip_prefix('-') {
        Some(name) if !name.is_empty() => format!("<span class=\"w\">{word}</span>"),
        _ => word.to_string(),
    });
    Html(format!("<code>{}</code>", words.collect::<Vec<_>>().join(" ")))
}

/// A link of the navigation.
#[derive(Clone, Debug, Default)]
pub struct Link {
    /// Where to, relative to the page.
    pub href: String,
    /// What it says.
    pub text: String,
    /// True for the page itself.
    pub here: bool,
}

impl Link {
    /// A link to another page.
    pub fn to(href: impl Into<String>, text: impl Into<String>) -> Link {
        Link { href: href.into(), text: text.into(), here: false }
    }
}

/// A page of a site.
#[derive(Clone, Debug)]
pub struct Page<'a> {
    /// The document's language: "en".
    pub lang: &'a str,
    /// The document's title, as in the window's frame. The heading (`h1`) is the body's own.
    pub title: &'a str,
    /// One sentence on what it is about; empty for none.
    pub description: &'a str,
    /// Links at the top; the first one leads to the site's first page.
    pub nav: &'a [Link],
    /// Everything from the `h1` on.
    pub body: Html,
    /// What stands below: where it came from.
    pub foot: Html,
}

#[derive(Template)]
#[template(path = "base.html")]
struct Base<'a> {
    lang: &'a str,
    title: &'a str,
    description: &'a str,
    nav: &'a [Link],
    body: &'a str,
    foot: &'a str,
    css: &'static str,
}

/// The style sheet, as it is inside every page.
pub const CSS: &str = include_str!("../assets/book.css");

impl Page<'_> {
    /// The whole document.
    ///
    /// # Errors
    /// Never for a page whose parts are in memory; the template's own error otherwise.
    pub fn render(&self) -> anyhow::Result<String> {
        let base = Base {
            lang: self.lang,
            title: self.title,
            description: self.description,
            nav: self.nav,
            body: self.body.as_str(),
            foot: self.foot.as_str(),
            css: CSS,
        };
        Ok(base.render()?)
    }
}

/// The verdict in a frame, with its sign and its word.
pub fn badge(verdict: &Verdict) -> Html {
    let word = verdict.word();
    let sign = verdict.sign();
    Html(format!(
        "<span class=\"badge {word}\"><span aria-hidden=\"true\">{sign}</span> {word}</span>"
    ))
}

/// So many claims with this verdict, in a frame; nothing for none.
pub fn count_badge(count: usize, verdict: &Verdict) -> Html {
    if count == 0 {
        return Html::new();
    }
    let word = verdict.word();
    let sign = verdict.sign();
    Html(format!(
        "<span class=\"badge {word}\"><span aria-hidden=\"true\">{sign}</span> {count} {word}</span> "
    ))
}

/// A word in a plain frame.
pub fn word(text: &str) -> Html {
    Html(format!("<span class=\"badge plain\">{}</span>", escaped(text)))
}

/// A part of a page with an address in it and its heading.
pub fn section(id: &str, heading: &str, inside: &Html) -> Html {
    let id = escaped(id);
    Html(format!(
        "<section id=\"{id}\" aria-labelledby=\"{id}-h\">\n<h2 id=\"{id}-h\">{}</h2>\n{inside}</section>\n",
        escaped(heading)
    ))
}

/// What is on a page: the address and the heading of each part.
pub fn contents<A: AsRef<str>, B: AsRef<str>>(sections: &[(A, B)]) -> Html {
    let mut items = String::new();
    for (id, heading) in sections {
        let (id, heading) = (escaped(id.as_ref()), escaped(heading.as_ref()));
        let _ = writeln!(items, "<li><a href=\"#{id}\">{heading}</a></li>");
    }
    Html(format!(
        "<nav class=\"contents\" aria-label=\"On this page\">\n<ul>\n{items}</ul>\n</nav>\n"
    ))
}

/// A fold: closed until the reader opens it.
pub fn fold(summary: &str, inside: &Html) -> Html {
    Html(format!(
        "<details><summary>{}</summary>\n<div class=\"inside\">\n{inside}\n</div></details>\n",
        escaped(summary)
    ))
}

/// A table in a box that scrolls, with its title as the caption and its note below. Columns whose
/// cells are figures are aligned to the right.
pub fn table(table: &Table) -> Html {
    rows(table, usize::MAX)
}

/// The same with at most so many rows; a line says how many more there are.
pub fn rows(table: &Table, most: usize) -> Html {
    let numeric: Vec<bool> = (0..table.columns.len())
        .map(|column| {
            let mut cells = table.rows.iter().filter_map(|row| row.get(column));
            // The first column names the rows: "5 clients, bounded" and "2026-11-21T16:21Z" are names.
            let plain = |cell: &str| {
                let mut words = cell.split(|c: char| !c.is_alphabetic());
                column > 0 || !cell.contains(':') && words.all(|word| word.len() < 4)
            };
            !table.rows.is_empty() && cells.all(|cell| is_figure(cell) && plain(cell))
        })
        .collect();
    let class = |column: usize| {
        if numeric.get(column).copied().unwrap_or_default() { " class=\"number\"" } else { "" }
    };
    let mut out = format!(
        "<div class=\"scroll wide\" tabindex=\"0\" role=\"group\" aria-label=\"{0}\">\n<table><caption>{0}</caption>\n<thead><tr>",
        escaped(&table.title)
    );
    for (column, head) in table.columns.iter().enumerate() {
        let _ = write!(out, "<th scope=\"col\"{}>{}</th>", class(column), escaped(head));
    }
    out.push_str("</tr></thead>\n<tbody>\n");
    for row in table.rows.iter().take(most) {
        out.push_str("<tr>");
        for (column, cell) in row.iter().enumerate() {
            let _ = write!(out, "<td{}>{}</td>", class(column), escaped(cell));
        }
        out.push_str("</tr>\n");
    }
    out.push_str("</tbody></table></div>\n");
    let hidden = table.rows.len().saturating_sub(most);
    if hidden > 0 {
        let _ = writeln!(out, "<p class=\"small\">… and {hidden} more rows, not shown.</p>");
    }
    if !table.note.is_empty() {
        let _ = writeln!(out, "<p class=\"small\">{}</p>", escaped(&table.note));
    }
    Html(out)
}

/// True for what is read as a figure: it begins like one, or is a dash.
fn is_figure(cell: &str) -> bool {
    let cell = cell.trim();
    let head = cell.trim_start_matches(['≤', '≥', '≈', '−', '-', '+', ' ']);
    cell == "–"
        || cell.is_empty()
        || head.starts_with(|c: char| c.is_ascii_digit()) && cell.len() < 40
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const EVIL: &str = "</title><script>alert(1)</script>\" onload='x' & \u{202E}\u{0}";

    #[test]
    fn nothing_of_a_text_becomes_markup() {
        let nav = [Link::to(EVIL, EVIL)];
        let mut body = Html::text(EVIL);
        body.element("p class=\"small\"", EVIL);
        body.push(&fold(EVIL, &word(EVIL)));
        body.push(&code(EVIL));
        body.push(&code(&format!("--{EVIL}")));
        let mut cells = Table::new(EVIL, &[EVIL]);
        cells.row([EVIL.to_string()]);
        cells.note = EVIL.into();
        body.push(&table(&cells));
        let page = Page {
            lang: "en",
            title: EVIL,
            description: EVIL,
            nav: &nav,
            body,
            foot: Html::text(EVIL),
        };
        let html = page.render().unwrap();
        assert!(!html.contains("<script") && !html.contains("onload='x'"), "{html}");
        assert!(!html.contains("\" onload"), "{html}");
        assert!(html.contains("&lt;script&gt;"));
    }

    #[test]
    fn flags_stay_whole() {
        let html = code("labs run 3 -- --queue 600 - <x>");
        assert_eq!(
            html.as_str(),
            "<code>labs run 3 <span class=\"w\">--</span> <span class=\"w\">--queue</span> 600 - &lt;x&gt;</code>"
        );
    }

    #[test]
    fn names_of_rows_are_no_figures() {
        let mut table = Table::new("t", &["condition", "n", "took"]);
        table.row(["5 clients, bounded".into(), "5".into(), "5 requests".into()]);
        let html = rows(&table, 9);
        assert!(html.as_str().contains("<td>5 clients"), "{html}");
        assert_eq!(html.as_str().matches("<td class=\"number\">").count(), 2);
        let mut table = Table::new("t", &["size"]);
        table.row(["1.5 MB".into()]);
        assert!(rows(&table, 9).as_str().contains("<td class=\"number\">1.5"));
    }

    #[test]
    fn long_texts_and_tables_are_cut_and_say_so() {
        let long = escaped(&"<".repeat(10_000_000));
        assert!(long.len() < 5 * LONGEST && long.ends_with('…'));
        let mut many = Table::new("many", &["n"]);
        (0..10).for_each(|n| many.row([n.to_string()]));
        let html = rows(&many, 3);
        assert_eq!(html.as_str().matches("<td").count(), 3);
        assert!(html.as_str().contains("7 more rows"));
    }

    proptest! {
        #[test]
        fn escaped_text_has_no_markup(text: String) {
            let out = escaped(&text);
            prop_assert!(!out.contains(['<', '>', '"', '\'']));
            let without = ["&lt;", "&gt;", "&amp;", "&quot;", "&#39;"]
                .iter()
                .fold(out, |text, known| text.replace(known, ""));
            prop_assert!(!without.contains('&'));
        }
    }
}
