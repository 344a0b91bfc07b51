//! Panels stacked over one x axis.

use super::axis::{Span, Tick, Way};
use super::canvas::{Canvas, EDGE, Stroke, WIDTH};
use super::curve::{Curve, Plot, curves};
use super::font::Font;
use super::frame::{draw_axes, heading};
use super::hand;
use super::label;
use super::place::Rect;
use super::theme::Paint;
use super::{Header, left_out};
use crate::figure::{Layer, Line, Panel, Panels, Scale, Style, Unit};

/// Height of a panel of relative height 1.
const HEIGHT: f64 = 170.0;
/// From a panel's axis to the next one's top; holds its heading.
const BETWEEN: f64 = 56.0;
const MAX_PANELS: usize = 12;
/// Room per end label.
const LABEL_GAP: f64 = 16.0;
/// From the plot's edge to the end labels.
pub(super) const LEADER: f64 = 18.0;

/// Nobody draws more by hand.
const MAX_CROSSES: usize = 100;

/// A line that ends left of this share of the width has its label there, not in the margin.
const EARLY: f64 = 0.85;

fn lines(panel: &Panel) -> impl Iterator<Item = &Line> {
    panel.layers.iter().filter_map(|layer| match layer {
        Layer::Line(line) => Some(line),
        _ => None,
    })
}

fn x_span(panels: &Panels) -> Span {
    let marks = panels.marks.iter().map(|m| m.x);
    let layers = panels.panels.iter().flat_map(|p| &p.layers);
    let data = layers.flat_map(|layer| -> Box<dyn Iterator<Item = f64>> {
        match layer {
            Layer::Line(line) if line.style == Style::Sketch => Box::new(std::iter::empty()),
            Layer::Line(line) => {
                let points = line.points.iter().filter(|p| p.1.is_finite()).map(|p| p.0);
                Box::new(points.chain(line.band.iter().map(|b| b.0)))
            }
            Layer::Region { x, .. } => Box::new([x.0, x.1].into_iter()),
            Layer::Rule { .. } => Box::new(std::iter::empty()),
        }
    });
    Span::new(&panels.x, data.chain(marks), Way::Across, 650.0)
}

fn y_span(panel: &Panel, height: f64) -> Span {
    let (sketches, rest): (Vec<&Layer>, Vec<&Layer>) = panel
        .layers
        .iter()
        .partition(|l| matches!(l, Layer::Line(line) if line.style == Style::Sketch));
    let span = span_of(panel, &rest, height, &[]);
    // What somebody said may be off by any factor; the measured curve has to stay readable.
    let (low, high) = match span.scale {
        Scale::Linear => (span.low - (span.high - span.low), 2.0 * span.high - span.low),
        Scale::Log => (span.low / 10.0, span.high * 10.0),
    };
    let near: Vec<f64> = sketches
        .iter()
        .filter_map(|layer| match layer {
            Layer::Line(line) => Some(line.points.iter().map(|p| p.1)),
            _ => None,
        })
        .flatten()
        .filter(|y| (low..=high).contains(y))
        .collect();
    match near.is_empty() {
        true => span,
        false => span_of(panel, &rest, height, &near),
    }
}

fn span_of(panel: &Panel, layers: &[&Layer], height: f64, more: &[f64]) -> Span {
    let data = layers.iter().flat_map(|layer| -> Box<dyn Iterator<Item = f64>> {
        match layer {
            Layer::Line(line) => {
                let band = line.band.iter().flat_map(|b| [b.1, b.2]);
                Box::new(line.points.iter().map(|p| p.1).chain(band))
            }
            Layer::Rule { y, label } => {
                // Room for the label, unless that would show shares above 100%.
                let room = !label.is_empty() && panel.y.unit != Unit::Share && *y > 0.0;
                let top = if room { y * (1.0 + 18.0 / height) } else { *y };
                Box::new(std::iter::once(top))
            }
            Layer::Region { .. } => Box::new(std::iter::empty()),
        }
    });
    let data = data.chain(more.iter().copied());
    Span::new(&panel.y, data, Way::Up, height)
}

/// Whether a line's label belongs into the right margin.
fn ends_late(line: &Line, x: &Span) -> bool {
    let seen = |p: &&(f64, f64)| {
        p.1.is_finite() && x.share(p.0).is_some_and(|s| (0.0..=1.0 + 1e-9).contains(&s))
    };
    let last = line.points.iter().rev().find(seen);
    last.and_then(|p| x.share(p.0)).is_none_or(|share| share >= EARLY)
}

fn height(panel: &Panel, x: &Span) -> f64 {
    let relative = if panel.height.is_finite() { panel.height.clamp(0.4, 4.0) } else { 1.0 };
    let labels = lines(panel).filter(|l| !l.label.is_empty() && ends_late(l, x)).count();
    (HEIGHT * relative).max((labels.min(label::MAX) as f64) * LABEL_GAP)
}

/// Draws the panels and returns the height of the whole chart.
pub(super) fn draw(panels: &Panels, header: &Header<'_>, canvas: &mut Canvas) -> f64 {
    let shown = &panels.panels[..panels.panels.len().min(MAX_PANELS)];
    let x = x_span(panels);
    let rows: Vec<(&Panel, f64, Span, Vec<Tick>)> = shown
        .iter()
        .map(|panel| {
            let height = height(panel, &x);
            let y = y_span(panel, height);
            (panel, height, y, y.ticks(&panel.y, Way::Up, height))
        })
        .collect();

    let ticks = rows.iter().flat_map(|row| &row.3).map(|t| Font::TICK.width(&t.label));
    let left = (ticks.fold(0.0, f64::max) + 8.0 + EDGE).clamp(52.0, 160.0);
    let labels = shown.iter().flat_map(lines).filter(|l| ends_late(l, &x));
    let widest = labels.map(|l| Font::LABEL.width(&l.label)).fold(0.0, f64::max);
    let margin = if widest > 0.0 { widest + LEADER + EDGE + 4.0 } else { 0.0 };
    let right = WIDTH - margin.clamp(30.0, 260.0);

    let mut top = header.draw(canvas, left) + 44.0;
    let mut bottom = top;
    let x_ticks = x.ticks(&panels.x, Way::Across, right - left);
    for (i, (panel, height, y, y_ticks)) in rows.iter().enumerate() {
        bottom = top + height;
        let plot = Plot { rect: Rect { left, top, right, bottom }, x, y: *y };
        let beneath = if i + 1 == rows.len() { Some(panels) } else { None };
        draw_panel(canvas, panel, &plot, panels, i == 0);
        draw_axes(canvas, &plot, y_ticks, &x_ticks, beneath);
        draw_marks(canvas, &plot, panels, i == 0);
        let curves = curves(lines(panel), &plot);
        draw_rules(canvas, panel, &plot);
        draw_curves(canvas, &curves);
        label::labels(canvas, panel, &plot, &curves, if i == 0 { &panels.marks } else { &[] });
        top = bottom + BETWEEN;
    }
    bottom += if panels.x.label.is_empty() { 34.0 } else { 54.0 };
    left_out(canvas, (left, bottom), panels.panels.len() - shown.len(), "panel") + 4.0
}

/// How far up the marks reach: a little out of the first panel.
fn mark_top(plot: &Plot, first: bool) -> f64 {
    plot.rect.top - if first { 4.0 } else { 0.0 }
}

fn draw_marks(canvas: &mut Canvas, plot: &Plot, panels: &Panels, first: bool) {
    for mark in &panels.marks {
        if let Some(x) = plot.across_inside(mark.x) {
            let ends = [(x, mark_top(plot, first)), (x, plot.rect.bottom)];
            canvas.line(ends, Stroke::dashed(mark.colour.into(), 1.25));
        }
    }
}

/// Heading and tints: what lies below the axes.
fn draw_panel(canvas: &mut Canvas, panel: &Panel, plot: &Plot, panels: &Panels, first: bool) {
    let Rect { left, top, right, bottom } = plot.rect;
    for layer in &panel.layers {
        if let Layer::Region { x, colour, .. } = layer
            && let Some((a, b)) = visible(plot, *x)
        {
            let tint = Rect { left: a, top, right: b, bottom };
            canvas.fill(tint, Paint::from(*colour), 0.12);
        }
    }
    for mark in &panels.marks {
        if let Some((a, b)) = mark.interval.and_then(|interval| visible(plot, interval)) {
            let tint = Rect { left: a, top: mark_top(plot, first), right: b, bottom };
            canvas.fill(tint, Paint::from(mark.colour), 0.2);
        }
    }
    let notes = [panel.note.trim(), panel.y.label.trim()];
    let mut notes: Vec<&str> = notes.into_iter().filter(|n| !n.is_empty()).collect();
    notes.dedup();
    heading(canvas, (left, top - 22.0), right.max(760.0), &panel.title, &notes.join(" · "));
}

/// The part of an interval inside the plot.
pub(super) fn visible(plot: &Plot, (a, b): (f64, f64)) -> Option<(f64, f64)> {
    let (a, b) = (plot.across(a)?, plot.across(b)?);
    let Rect { left, right, .. } = plot.rect;
    let (a, b) = (a.min(b).clamp(left, right), a.max(b).clamp(left, right));
    (b > a).then_some((a, b))
}

fn draw_rules(canvas: &mut Canvas, panel: &Panel, plot: &Plot) {
    let Rect { left, right, .. } = plot.rect;
    for layer in &panel.layers {
        if let Layer::Rule { y, .. } = layer
            && let Some(y) = label::rule_height(plot, *y)
        {
            canvas.line([(left, y), (right, y)], Stroke::solid(Paint::Ink, 1.2));
        }
    }
}

/// Radius of the dots, smaller where they lie close together.
fn radius(curve: &Curve<'_>) -> f64 {
    let (Some(first), Some(last)) = (curve.dots.first(), curve.dots.last()) else {
        return 3.0;
    };
    let spacing = (last.0 - first.0).abs() / (curve.dots.len() as f64 - 1.0).max(1.0);
    match curve.dots.len() {
        0..=8 => 3.0,
        _ if spacing >= 14.0 => 3.0,
        _ if spacing >= 7.0 => 2.2,
        _ => 1.5,
    }
}

fn draw_curves(canvas: &mut Canvas, curves: &[Curve<'_>]) {
    for curve in curves {
        for band in &curve.bands {
            canvas.area(band.clone(), curve.line.colour.into(), 0.18);
        }
    }
    for curve in curves {
        let paint = Paint::from(curve.line.colour);
        let stroke = match curve.line.style {
            Style::Theory => Stroke::dashed(paint, 1.4),
            Style::Trace => Stroke::solid(paint, 1.2),
            Style::Simulated => Stroke::dotted(paint, 1.2),
            Style::Sketch => Stroke::drawn(paint, 2.2),
            Style::Measured | Style::Dots => Stroke::solid(paint, 2.0),
        };
        for piece in &curve.pieces {
            canvas.line(piece.as_slice(), stroke);
        }
    }
    // Above all lines: a line that departs from another starts at its dot.
    for curve in curves {
        if curve.line.style == Style::Sketch {
            if curve.dots.len() > MAX_CROSSES {
                continue;
            }
            let paint = curve.line.colour.into();
            curve.dots.iter().for_each(|dot| hand::cross(canvas, *dot, paint));
            continue;
        }
        let radius = radius(curve);
        let measured = curve.line.style == Style::Measured;
        if measured && radius < 2.0 && !curve.pieces.is_empty() {
            // Dots that touch are a line already.
            continue;
        }
        for dot in &curve.dots {
            if measured && radius >= 3.0 {
                canvas.dot(*dot, radius + 1.25, Paint::Paper);
            }
            canvas.dot(*dot, radius, curve.line.colour.into());
            if curve.line.style == Style::Simulated {
                canvas.dot(*dot, radius * 0.6, Paint::Paper);
            }
        }
    }
}
