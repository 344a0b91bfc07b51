//! A lab's lesson in its parts, and its questions with their answers.

use pulldown_cmark::{Event, Options, Parser, Tag, TagEnd, html};

use crate::page::{self, Html};

/// A lesson: what stands under each of its headings.
#[derive(Clone, Debug, Default)]
pub struct Lesson {
    parts: Vec<(String, String)>,
}

impl Lesson {
    /// Takes a lesson apart at its headings of the second level.
    pub fn of(markdown: &str) -> Lesson {
        let mut parts: Vec<(String, String)> = Vec::new();
        let mut fenced = false;
        for line in markdown.lines() {
            fenced ^= line.starts_with("```");
            match line.strip_prefix("## ").filter(|_| !fenced) {
                Some(heading) => parts.push((heading.trim().into(), String::new())),
                None => {
                    if let Some((_, text)) = parts.last_mut() {
                        text.push_str(line);
                        text.push('\n');
                    }
                }
            }
        }
        Lesson { parts }
    }

    /// Markdown under a heading; empty when there is no such heading.
    pub fn under(&self, heading: &str) -> &str {
        let found = self.parts.iter().find(|(name, _)| name == heading);
        found.map_or("", |(_, text)| text)
    }

    /// All headings, in their order.
    pub fn headings(&self) -> impl Iterator<Item = &str> {
        self.parts.iter().map(|(name, _)| name.as_str())
    }

    /// The questions under "Check yourself", as Markdown, each on one line.
    pub fn questions(&self) -> Vec<String> {
        let mut questions: Vec<String> = Vec::new();
        for line in self.under("Check yourself").lines() {
            if let Some(first) = line.strip_prefix("- ") {
                questions.push(first.trim().into());
            } else if let (Some(last), false) = (questions.last_mut(), line.trim().is_empty()) {
                last.push(' ');
                last.push_str(line.trim());
            }
        }
        questions
    }
}

/// Answers, each under a heading with the beginning of its question.
pub fn answers(markdown: &str) -> Vec<(String, String)> {
    Lesson::of(markdown).parts
}

/// The answer to a question.
pub fn answer<'a>(answers: &'a [(String, String)], question: &str) -> Option<&'a str> {
    let found = answers.iter().find(|(head, _)| question.starts_with(head.as_str()))?;
    Some(&found.1)
}

/// Markdown as markup. What HTML there is in it becomes text, and links lead nowhere but to the web.
pub fn markup(markdown: &str) -> Html {
    let options = Options::ENABLE_TABLES | Options::ENABLE_STRIKETHROUGH;
    let mut out = String::new();
    let mut refused = false;
    let events = Parser::new_ext(markdown, options).flat_map(|event| match event {
        Event::Html(text) | Event::InlineHtml(text) => vec![Event::Text(text)],
        Event::Start(Tag::Link { ref dest_url, .. })
            if !(dest_url.starts_with("https://") || dest_url.starts_with("http://")) =>
        {
            refused = true;
            vec![]
        }
        Event::End(TagEnd::Link) if std::mem::take(&mut refused) => vec![],
        Event::Start(Tag::Image { .. }) | Event::End(TagEnd::Image) => vec![],
        Event::Code(text) => vec![Event::InlineHtml(page::code(&text).as_str().to_string().into())],
        Event::Start(Tag::Table(_)) => vec![open_box(), event],
        Event::End(TagEnd::Table) => vec![event, Event::Html("</div>\n".into())],
        Event::Start(Tag::CodeBlock(_)) => vec![Event::Html("<pre tabindex=\"0\"><code>".into())],
        Event::End(TagEnd::CodeBlock) => vec![Event::Html("</code></pre>\n".into())],
        other => vec![other],
    });
    html::push_html(&mut out, events);
    Html::trusted(out)
}

fn open_box() -> Event<'static> {
    Event::Html(
        "<div class=\"scroll\" tabindex=\"0\" role=\"group\" aria-label=\"Table\">\n".into(),
    )
}

/// One line of Markdown as markup, without a paragraph round it.
pub fn inline(markdown: &str) -> Html {
    let html = markup(markdown);
    let text = html.as_str().trim();
    let inner = text.strip_prefix("<p>").and_then(|t| t.strip_suffix("</p>"));
    Html::trusted(inner.filter(|t| !t.contains("<p>")).unwrap_or(text))
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "# T\n\n## The question\n\nWhy?\n\n```text\n## no heading\n```\n\n## Check yourself\n\n- One `a` and\n  two?\n- Three?\n";

    #[test]
    fn parts_and_questions() {
        let lesson = Lesson::of(TEXT);
        assert_eq!(lesson.headings().collect::<Vec<_>>(), ["The question", "Check yourself"]);
        assert!(lesson.under("The question").contains("## no heading"));
        assert_eq!(lesson.under("Nothing"), "");
        assert_eq!(lesson.questions(), ["One `a` and two?", "Three?"]);
    }

    #[test]
    fn answers_belong_to_questions_by_their_beginning() {
        let given = answers("## One `a`\n\nYes.\n\n## Three?\n\nNo.\n");
        assert!(answer(&given, "One `a` and two?").unwrap().contains("Yes"));
        assert!(answer(&given, "Three?").unwrap().contains("No"));
        assert_eq!(answer(&given, "Four?"), None);
    }

    #[test]
    fn html_in_a_lesson_is_text_and_links_lead_to_the_web_only() {
        let evil = "a <script>alert(1)</script> <b onclick=x> [l](javascript:alert) ![i](x.png) [w](https://a.b)\n\n<script>\nx\n</script>\n\n`Vec<u8>`";
        let html = markup(evil);
        let html = html.as_str();
        assert!(
            !html.contains("<script") && !html.contains("<b ") && !html.contains("javascript:"),
            "{html}"
        );
        assert!(!html.contains("<img") && html.contains("<a href=\"https://a.b\">"), "{html}");
        assert!(html.contains("<code>Vec&lt;u8&gt;</code>"));
    }

    #[test]
    fn tables_scroll_and_lines_have_no_paragraph() {
        assert!(markup("|a|\n|-|\n|1|\n").as_str().starts_with("<div class=\"scroll\""));
        assert_eq!(inline("`a` < b").as_str(), "<code>a</code> &lt; b");
    }
}
