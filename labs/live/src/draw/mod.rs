//! From what was measured to what is shown: HTML and SVG, a pure function of a view.

mod chart;
mod heartbeat;
mod pipeline;
mod trap;

pub use chart::{Chart, Lane, Line};

use crate::text::number;

use crate::engine::View;

/// What the pages show of a run at one instant.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Frame {
    /// HTML: finding, figures, pictures. Below 10 KB.
    pub html: String,
}

/// Draws a view.
pub fn frame(view: &View) -> Frame {
    let (finding, figures, pictures) = match view {
        View::Trap(view) => (view.finding(), trap::figures(view), trap::pictures(view)),
        View::Heartbeat(view) => {
            (view.finding(), heartbeat::figures(view), heartbeat::pictures(view))
        }
        View::Pipeline(view) => (view.finding(), pipeline::figures(view), pipeline::pictures(view)),
    };
    let figures: String = figures.iter().map(Figure::html).collect();
    Frame {
        html: format!(
            "<p class=\"finding\">{finding}</p><dl class=\"figures\">{figures}</dl>{pictures}"
        ),
    }
}

/// A number to be read from the back row.
struct Figure {
    class: &'static str,
    name: &'static str,
    value: String,
    unit: &'static str,
    /// What theory says, if it does.
    theory: Option<String>,
}

impl Figure {
    fn html(&self) -> String {
        let theory = self
            .theory
            .as_ref()
            .map_or(String::new(), |theory| format!("<dd class=\"expected\">theory {theory}</dd>"));
        format!(
            "<div class=\"{}\"><dt>{}</dt><dd class=\"value\">{}<small>{}</small></dd>{theory}</div>",
            self.class, self.name, self.value, self.unit
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::control::{Demo, Settings};
    use crate::engine::samples;

    /// Every view there is an example of.
    fn views() -> Vec<View> {
        let idle = Demo::ALL.map(|demo| View::idle(&Settings::new(demo)));
        let mut views = Vec::from(idle);
        views.extend(samples::all());
        views
    }

    #[test]
    fn frames_are_small_and_whole() {
        for view in views() {
            let html = frame(&view).html;
            assert!(html.len() < 10_000, "{} bytes", html.len());
            for tag in ["svg", "text", "dl", "div", "p", "title", "desc"] {
                let opened = html.matches(&format!("<{tag}")).count();
                // A prefix of another name counts twice: <p of <path.
                let others = if tag == "p" { html.matches("<path").count() } else { 0 };
                let closed = html.matches(&format!("</{tag}>")).count();
                assert_eq!(opened - others, closed, "{tag} in {html}");
            }
            assert!(!html.contains("NaN") && !html.contains("inf"), "{html}");
            assert!(!html.contains("style="), "the page's policy forbids it");
        }
    }

    #[test]
    fn every_picture_has_a_text_alternative() {
        for view in views() {
            let html = frame(&view).html;
            let pictures = html.matches("role=\"img\"").count();
            assert!(pictures > 0);
            assert_eq!(pictures, html.matches("<title id=").count());
            assert_eq!(pictures, html.matches("<desc id=").count());
            assert!(!html.contains("</title><desc></desc>"));
        }
    }

    #[test]
    fn the_same_view_gives_the_same_bytes_and_another_another() {
        let views = views();
        for (i, view) in views.iter().enumerate() {
            assert_eq!(frame(view), frame(view));
            assert!(views[..i].iter().all(|other| frame(other) != frame(view)));
        }
    }
}
