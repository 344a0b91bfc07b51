//! Figures as pictures: stand-alone SVG with a light and a dark theme, and PNG.
//!
//! Everything about appearance is here, and only this module knows the plotting library. The
//! same figure always gives the same bytes.

mod axis;
mod bars;
mod beats;
mod canvas;
mod clean;
mod curve;
mod font;
mod frame;
mod gantt;
mod hand;
mod label;
mod number;
mod panel;
mod place;
#[cfg(test)]
mod samples;
#[cfg(test)]
mod tests;
mod theme;

use canvas::{Align, Canvas, EDGE, WIDTH};
pub use clean::escaped;
use font::Font;
use theme::Paint;
pub use theme::Theme;

use crate::figure::{Body, Figure};

/// A drawn figure.
#[derive(Clone, Debug)]
pub struct Drawing {
    /// A stand-alone SVG document in light and dark, by media query. A page that inlines it can
    /// override its CSS variables (`.chart svg { --lab-ink: … }`).
    pub svg: String,
    /// The same in sentinel colours.
    plain: String,
}

impl Drawing {
    /// The picture as PNG, 880 px wide times `scale`.
    ///
    /// # Errors
    ///
    /// If `scale` gives an empty or enormous picture.
    pub fn png(&self, theme: Theme, scale: f32) -> anyhow::Result<Vec<u8>> {
        theme::render(&theme::flat(&self.plain, theme), scale)
    }
}

/// Draws the figure. `lab_prefix` ("lab03") makes the ids in the SVG unique among the figures of
/// a page.
///
/// # Errors
///
/// Only if the plotting library fails; whatever is in the figure can be drawn or is left out.
pub fn draw(figure: &Figure, lab_prefix: &str) -> anyhow::Result<Drawing> {
    let (canvas, height) = lay_out(figure);
    let id = id(&format!("{lab_prefix}-{}", figure.id));
    let attributes = format!("role=\"img\" {}", labelled(&id));
    let head = format!(
        "<title id=\"{id}-title\">{}</title>\n<desc id=\"{id}-desc\">{}</desc>\n",
        escaped(&figure.title),
        escaped(&figure.desc)
    );
    let plain = canvas.svg(height, &attributes, &head, Paint::Paper)?;
    Ok(Drawing { svg: theme::themed(&plain), plain })
}

fn id(name: &str) -> String {
    let plain = |c: char| if c.is_ascii_alphanumeric() { c } else { '-' };
    name.chars().map(plain).collect()
}

fn labelled(id: &str) -> String {
    format!("aria-labelledby=\"{id}-title {id}-desc\"")
}

/// True when [`draw`] made the SVG that begins so for the figure of this name: "lab03-trap". A copy under
/// another name is somebody's own.
pub fn drew(svg: &str, name: &str) -> bool {
    let head = svg.lines().next().unwrap_or_default();
    head.contains(&labelled(&id(name)))
}

/// The display list and the height of the chart.
fn lay_out(figure: &Figure) -> (Canvas, f64) {
    let figure = clean::figure(figure);
    let header = Header { title: &figure.title, subtitle: &figure.subtitle };
    let mut canvas = Canvas::default();
    let height = match &figure.body {
        Body::Panels(panels) => panel::draw(panels, &header, &mut canvas),
        Body::Gantt(gantt) => gantt::draw(gantt, &header, &mut canvas),
        Body::Beats(beats) => beats::draw(beats, &header, &mut canvas),
        Body::Bars(bars) => bars::draw(bars, &header, &mut canvas),
    };
    (canvas, height.ceil())
}

/// Title and subtitle.
struct Header<'a> {
    title: &'a str,
    subtitle: &'a str,
}

impl Header<'_> {
    /// Returns the lower end.
    fn draw(&self, canvas: &mut Canvas, left: f64) -> f64 {
        let room = WIDTH - left - 2.0 * EDGE;
        let mut y = 27.0;
        for line in Font::TITLE.wrap(self.title, room, 2) {
            canvas.text((left, y), &line, Font::TITLE, Paint::Ink, Align::Left);
            y += 24.0;
        }
        for line in Font::SUBTITLE.wrap(self.subtitle, room, 3) {
            canvas.text((left, y), &line, Font::SUBTITLE, Paint::Muted, Align::Left);
            y += 17.0;
        }
        y - 9.0
    }
}

/// Says below `y` how many things the chart does not show, and returns the new lower end.
fn left_out(canvas: &mut Canvas, (left, y): (f64, f64), count: usize, what: &str) -> f64 {
    if count == 0 {
        return y;
    }
    let plural = if count == 1 { "" } else { "s" };
    let text = format!("… and {count} more {what}{plural}, not shown");
    canvas.text((left, y + 14.0), &text, Font::TICK, Paint::Muted, Align::Left);
    y + 24.0
}
