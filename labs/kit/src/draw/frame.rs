//! What surrounds the data: headings, axes and their labels.

use super::axis::Tick;
use super::canvas::{Align, Canvas, EDGE, Stroke};
use super::curve::Plot;
use super::font::Font;
use super::place::Rect;
use super::theme::Paint;
use crate::figure::{Panels, Scale};

/// A bold title and a note beside it.
pub(super) fn heading(
    canvas: &mut Canvas,
    (left, y): (f64, f64),
    right: f64,
    title: &str,
    note: &str,
) -> Rect {
    let title = Font::HEADING.fit(title, right - left);
    let mut used = canvas.text((left, y), &title, Font::HEADING, Paint::Ink, Align::Left);
    let start = if title.is_empty() { left } else { used.right + 10.0 };
    if !note.is_empty() && right - start > 40.0 {
        let note = Font::NOTE.fit(note, right - start);
        used.right = canvas.text((start, y), &note, Font::NOTE, Paint::Muted, Align::Left).right;
    }
    used
}

/// Grid, axes and ticks of a panel; `beneath` it come the labels of the x axis.
pub(super) fn draw_axes(
    canvas: &mut Canvas,
    plot: &Plot,
    y_ticks: &[Tick],
    x_ticks: &[Tick],
    beneath: Option<&Panels>,
) {
    let Rect { left, top, right, bottom } = plot.rect;
    let mut free_below = bottom + 20.0;
    for tick in y_ticks {
        let Some(y) = plot.up(tick.at) else { continue };
        let y = y.clamp(top, bottom);
        canvas.line([(left, y), (right, y)], Stroke::solid(Paint::Grid, 1.0));
        if y < free_below {
            let text = Font::TICK.fit(&tick.label, left - 8.0 - EDGE);
            canvas.text((left - 8.0, y), &text, Font::TICK, Paint::Muted, Align::Right);
            free_below = y - 13.0;
        }
    }
    canvas.line([(left, bottom), (right, bottom)], Stroke::solid(Paint::Muted, 1.0));
    for tick in x_ticks {
        if let Some(x) = plot.across(tick.at) {
            canvas.line([(x, bottom), (x, bottom + 4.0)], Stroke::solid(Paint::Muted, 1.0));
        }
    }
    if let Some(panels) = beneath {
        let decade = |t: &Tick| {
            panels.x.scale == Scale::Log && panels.x.ticks.is_empty() && {
                let power = t.at.log10();
                (power - power.round()).abs() < 1e-9
            }
        };
        x_labels(canvas, plot, x_ticks, decade);
        if !panels.x.label.is_empty() {
            let text = Font::NOTE.fit(&panels.x.label, right - left);
            let at = (f64::midpoint(left, right), bottom + 36.0);
            canvas.text(at, &text, Font::NOTE, Paint::Muted, Align::Centre);
        }
    }
}

/// Labels of the x ticks, the important ones first; what would collide is left out.
pub(super) fn x_labels(
    canvas: &mut Canvas,
    plot: &Plot,
    ticks: &[Tick],
    important: impl Fn(&Tick) -> bool,
) {
    let mut taken: Vec<(f64, f64)> = Vec::new();
    let (first, second): (Vec<&Tick>, Vec<&Tick>) = ticks.iter().partition(|t| important(t));
    for tick in first.into_iter().chain(second) {
        let Some(x) = plot.across(tick.at) else {
            continue;
        };
        let half = Font::TICK.width(&tick.label) / 2.0 + 4.0;
        if half > 100.0 || taken.iter().any(|&(a, b)| x - half < b && a < x + half) {
            continue;
        }
        taken.push((x - half, x + half));
        let at = (x, plot.rect.bottom + 14.0);
        canvas.text(at, &tick.label, Font::TICK, Paint::Muted, Align::Centre);
    }
}
