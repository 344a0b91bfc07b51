//! Labels inside and beside a panel.

use super::canvas::{Align, Canvas, EDGE, Point, Stroke, WIDTH};
use super::curve::{Curve, Plot};
use super::font::Font;
use super::panel::{LEADER, visible};
use super::place::{Clutter, Rect, spread};
use super::theme::Paint;
use crate::figure::{Layer, Mark, Panel};

/// More end labels than this nobody reads.
pub(super) const MAX: usize = 40;
/// No label inside a plot is wider.
const WIDEST: f64 = 330.0;
/// Height of a line of labels.
const ROW: f64 = 16.0;

/// Height of a rule inside the plot.
pub(super) fn rule_height(plot: &Plot, y: f64) -> Option<f64> {
    let Rect { top, bottom, .. } = plot.rect;
    plot.up(y).filter(|y| (top - 0.5..=bottom + 0.5).contains(y))
}

/// Draws all labels of a panel, each where it covers least.
pub(super) fn labels(
    canvas: &mut Canvas,
    panel: &Panel,
    plot: &Plot,
    curves: &[Curve<'_>],
    marks: &[Mark],
) {
    let Rect { left, top, right, bottom } = plot.rect;
    let mut clutter = Clutter::default();
    for curve in curves {
        curve.pieces.iter().for_each(|piece| clutter.add_line(piece));
        curve.dots.iter().for_each(|dot| clutter.add_line(&[*dot]));
    }
    for mark in marks {
        if let Some(x) = plot.across_inside(mark.x) {
            clutter.add_line(&[(x, top), (x, bottom)]);
        }
    }
    for layer in &panel.layers {
        if let Layer::Rule { y, .. } = layer
            && let Some(y) = rule_height(plot, *y)
        {
            clutter.add_line(&[(left, y), (right, y)]);
        }
    }
    let mut placer = Placer { canvas, clutter, plot };
    // Rules first: their labels have one best place, at the left end.
    for layer in &panel.layers {
        if let Layer::Rule { y, label } = layer {
            placer.rule(*y, label);
        }
    }
    for layer in &panel.layers {
        if let Layer::Region { x, label, .. } = layer {
            placer.region(*x, label);
        }
    }
    let mut late = Vec::new();
    for curve in curves.iter().filter(|c| !c.line.label.trim().is_empty()) {
        let Some(end) = curve.end else { continue };
        let paint = Paint::from(curve.line.colour);
        if end.0 >= left + 0.84 * (right - left) {
            late.push((end, curve.line.label.as_str(), paint));
        } else {
            placer.early(end, &curve.line.label, paint);
        }
    }
    for mark in marks {
        placer.mark(mark);
    }
    end_labels(canvas, plot, late);
}

/// Labels in the right margin: sorted, pushed apart, with leaders.
fn end_labels(canvas: &mut Canvas, plot: &Plot, mut labels: Vec<(Point, &str, Paint)>) {
    let Rect { top, right, bottom, .. } = plot.rect;
    labels.sort_by(|a, b| a.0.1.total_cmp(&b.0.1));
    labels.truncate(MAX);
    let wanted: Vec<f64> = labels.iter().map(|l| l.0.1).collect();
    let heights = spread(&wanted, ROW, (top + 2.0, bottom - 4.0));
    for (((x, y), text, paint), at) in labels.into_iter().zip(heights) {
        let elbow = right + LEADER - 4.0;
        canvas.line([(x + 6.0, y), (elbow, at)], Stroke::solid(paint, 1.0).faint(0.8));
        let text = Font::LABEL.fit(text, WIDTH - EDGE - right - LEADER);
        canvas.text((right + LEADER, at), &text, Font::LABEL, paint, Align::Left);
    }
}

struct Placer<'a> {
    canvas: &'a mut Canvas,
    clutter: Clutter,
    plot: &'a Plot,
}

impl Placer<'_> {
    /// Writes the text at the best of the places (left edge and middle height) inside the plot.
    /// Returns where.
    fn write(&mut self, text: &str, font: Font, paint: Paint, places: &[Point]) -> Option<Rect> {
        let text = font.fit(text, WIDEST.min(self.plot.rect.width() - 12.0));
        if text.is_empty() {
            return None;
        }
        let (width, height) = (font.width(&text), 1.2 * font.size);
        let Rect { left, top, right, bottom } = self.plot.rect;
        let inside = places.iter().map(|&(x, y)| {
            let x = x.clamp(left + 4.0, (right - 4.0 - width).max(left + 4.0));
            let y = y.clamp(top + height / 2.0, (bottom - height / 2.0).max(top + height / 2.0));
            Rect::round((x + width / 2.0, y), width, height)
        });
        let (rect, cost) = self.clutter.best(inside)?;
        if cost > 0.0 {
            self.canvas.fill(rect.grown(1.0), Paint::Paper, 0.8);
        }
        self.clutter.add_box(rect);
        self.canvas.text((rect.left, rect.middle().1), &text, font, paint, Align::Left);
        Some(rect)
    }

    fn rule(&mut self, y: f64, label: &str) {
        let Some(y) = rule_height(self.plot, y) else {
            return;
        };
        let Rect { left, top, right, .. } = self.plot.rect;
        let (above, below) = (y - 10.5, y + 11.0);
        let width = Font::TICK.width(label).min(WIDEST);
        let steps = || (0..8).map(|i| left + 6.0 + f64::from(i) / 7.0 * (right - left - width));
        let mut places = Vec::new();
        if above - 7.0 >= top {
            places.push((left + 6.0, above));
        }
        places.push((left + 6.0, below));
        places.extend(steps().flat_map(|x| [(x, above.max(top + 7.0)), (x, below)]));
        self.write(label, Font::TICK, Paint::Ink, &places);
    }

    fn region(&mut self, x: (f64, f64), label: &str) {
        let Some((a, b)) = visible(self.plot, x) else {
            return;
        };
        let Rect { top, bottom, .. } = self.plot.rect;
        let width = Font::TICK.width(label).min(WIDEST);
        let x = if width + 8.0 <= b - a { f64::midpoint(a, b) - width / 2.0 } else { a + 4.0 };
        let rows = ((bottom - top) / ROW) as usize;
        let places: Vec<Point> = (0..rows).map(|i| (x, top + 10.0 + i as f64 * ROW)).collect();
        self.write(label, Font::TICK, Paint::Ink, &places);
    }

    /// The label of a line that ends well inside the plot.
    fn early(&mut self, (x, y): Point, label: &str, paint: Paint) {
        let width = Font::LABEL.width(label).min(WIDEST);
        let beside = [(x + 9.0, y), (x + 6.0, y - 12.0), (x + 6.0, y + 12.0)];
        let around = [(x - width / 2.0, y - 14.0), (x - width / 2.0, y + 14.0)];
        let before = [(x - width, y - 14.0), (x - width, y + 14.0), (x - width, y - 26.0)];
        // Where many lines end together their labels pile up, with leaders.
        let rows = (self.plot.rect.height() / ROW) as usize;
        let pile =
            (1..=rows).map(|i| i as f64 * ROW).flat_map(|d| [(x + 20.0, y - d), (x + 20.0, y + d)]);
        let places: Vec<Point> =
            beside.into_iter().chain(around).chain(before).chain(pile).collect();
        let Some(rect) = self.write(label, Font::LABEL, paint, &places) else {
            return;
        };
        if rect.left > x + 15.0 {
            let ends = [(x + 5.0, y), (rect.left - 4.0, rect.middle().1)];
            self.canvas.line(ends, Stroke::solid(paint, 1.0).faint(0.8));
        }
    }

    fn mark(&mut self, mark: &Mark) {
        let Some(x) = self.plot.across_inside(mark.x) else {
            return;
        };
        let Rect { left, top, right, bottom } = self.plot.rect;
        let (mut before, mut after) = (x - 8.0, x + 8.0);
        // Beside a narrow interval, over a wide one.
        if let Some((a, b)) = mark.interval.and_then(|i| visible(self.plot, i))
            && b - a < 60.0
        {
            before = before.min(a - 4.0);
            after = after.max(b + 4.0);
        }
        let widest = (before - left - 4.0).max(right - 4.0 - after).min(WIDEST);
        let label = Font::LABEL.fit(&mark.label, widest);
        let width = Font::LABEL.width(&label);
        let rows = ((bottom - top) / ROW) as usize;
        let mut places = Vec::new();
        for i in 0..rows {
            let y = bottom - 14.0 - i as f64 * ROW;
            if before - width >= left + 4.0 {
                places.push((before - width, y));
            }
            if after + width <= right - 4.0 {
                places.push((after, y));
            }
        }
        self.write(&label, Font::LABEL, mark.colour.into(), &places);
    }
}
