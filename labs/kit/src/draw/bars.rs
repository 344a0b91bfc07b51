//! Named values as horizontal bars over one axis.

use super::axis::{Span, Tick, Way};
use super::canvas::{Align, Canvas, EDGE, Stroke, WIDTH};
use super::curve::Plot;
use super::font::Font;
use super::frame::{heading, x_labels};
use super::number;
use super::place::Rect;
use super::theme::Paint;
use super::{Header, left_out};
use crate::figure::{BarGroup, Bars, Scale, ValueBar};

const MAX_GROUPS: usize = 12;
/// All groups together.
const MAX_BARS: usize = 48;
/// Left edge of title and names.
const LEFT: f64 = 20.0;
/// From a bar, its whisker or its theory to the text.
const GAP: f64 = 8.0;
/// How far a theory tick stands out of its bar.
const OUT: f64 = 3.0;

/// Draws the groups and returns the height of the whole chart.
pub(super) fn draw(bars: &Bars, header: &Header<'_>, canvas: &mut Canvas) -> f64 {
    let groups = &bars.groups[..bars.groups.len().min(MAX_GROUPS)];
    let share = fair_share(groups);
    let shown = || groups.iter().flat_map(|g| g.bars.iter().take(share));
    let pitch = match shown().count() {
        0..=14 => 28.0,
        15..=24 => 24.0,
        _ => 20.0,
    };
    let names = shown().map(|bar| Font::LABEL.width(&bar.label));
    // Half a pixel more than it takes, or rounding shortens the widest name.
    let left = (LEFT + names.fold(0.0, f64::max) + 12.5).clamp(60.0, 270.0);
    let texts = shown().map(|bar| texts(bar, bars).iter().map(Text::width).sum::<f64>());
    let right = WIDTH - EDGE - (texts.fold(0.0, f64::max) + GAP + 6.0).clamp(30.0, 260.0);

    let values = shown().flat_map(|bar| {
        let interval = bar.interval.map_or([f64::NAN; 2], |(low, high)| [low, high]);
        [bar.value, bar.theory.unwrap_or(f64::NAN)].into_iter().chain(interval)
    });
    let x = Span::new(&bars.x, values, Way::Across, right - left);
    let ticks = x.ticks(&bars.x, Way::Across, right - left);

    let titled = |group: &BarGroup| !group.label.trim().is_empty() || !group.note.trim().is_empty();
    let mut bottom = header.draw(canvas, LEFT) - 6.0;
    for (i, group) in groups.iter().enumerate() {
        let top = bottom + if titled(group) { 52.0 } else { 26.0 };
        let drawn = &group.bars[..group.bars.len().min(share)];
        bottom = top + pitch * drawn.len().max(1) as f64;
        let rect = Rect { left, top, right, bottom };
        let plot = Plot { rect, x, y: x };
        grid(canvas, &plot, &ticks);
        if titled(group) {
            heading(canvas, (left, top - 18.0), WIDTH - EDGE, &group.label, &group.note);
        }
        for (j, bar) in drawn.iter().enumerate() {
            let y = top + pitch * (j as f64 + 0.5);
            draw_bar(canvas, bar, bars, &plot, (y, pitch * 0.62));
        }
        if i + 1 == groups.len() {
            x_labels(canvas, &plot, &ticks, |_| false);
            bottom += 20.0;
            if !bars.x.label.is_empty() {
                let text = Font::NOTE.fit(&bars.x.label, right - left);
                let at = (f64::midpoint(left, right), bottom + 16.0);
                canvas.text(at, &text, Font::NOTE, Paint::Muted, Align::Centre);
                bottom += 22.0;
            }
        }
        bottom = left_out(canvas, (left, bottom), group.bars.len() - drawn.len(), "bar");
    }
    left_out(canvas, (left, bottom), bars.groups.len() - groups.len(), "group") + 20.0
}

/// The rules behind a group's bars, and the axis below them.
fn grid(canvas: &mut Canvas, plot: &Plot, ticks: &[Tick]) {
    let Rect { left, top, right, bottom } = plot.rect;
    for at in ticks.iter().filter_map(|tick| plot.across(tick.at)) {
        canvas.line([(at, top), (at, bottom)], Stroke::solid(Paint::Grid, 1.0));
        canvas.line([(at, bottom), (at, bottom + 4.0)], Stroke::solid(Paint::Muted, 1.0));
    }
    canvas.line([(left, bottom), (right, bottom)], Stroke::solid(Paint::Muted, 1.0));
}

/// The most bars per group with which all groups together stay within [`MAX_BARS`].
fn fair_share(groups: &[BarGroup]) -> usize {
    let total = |share: usize| groups.iter().map(|g| g.bars.len().min(share)).sum::<usize>();
    (1..=MAX_BARS).rev().find(|share| total(*share) <= MAX_BARS).unwrap_or(1)
}

/// A piece of what is written at a bar's end.
struct Text {
    text: String,
    font: Font,
    paint: Paint,
}

impl Text {
    fn width(&self) -> f64 {
        self.font.width(&self.text) + GAP
    }
}

/// The value, and beside it what theory says and whether nobody measured it.
fn texts(bar: &ValueBar, bars: &Bars) -> Vec<Text> {
    let mut texts = vec![Text {
        text: number::value(bar.value, bars.x.unit),
        font: Font::LABEL,
        paint: Paint::Ink,
    }];
    let mut beside = Vec::new();
    if bar.hollow {
        beside.push("simulated".to_owned());
    }
    if let Some(theory) = bar.theory.filter(|t| t.is_finite()) {
        beside.push(format!("theory {}", number::value(theory, bars.x.unit)));
    }
    if !beside.is_empty() {
        texts.push(Text { text: beside.join(", "), font: Font::TICK, paint: Paint::Muted });
    }
    texts
}

fn draw_bar(
    canvas: &mut Canvas,
    bar: &ValueBar,
    bars: &Bars,
    plot: &Plot,
    (y, height): (f64, f64),
) {
    let Rect { left, right, .. } = plot.rect;
    let name = Font::LABEL.fit(&bar.label, left - 12.0 - LEFT);
    canvas.text((left - 12.0, y), &name, Font::LABEL, bar.colour.into(), Align::Right);
    let paint = Paint::from(bar.colour);
    let inside = |v: f64| Some(plot.across(v)?.clamp(left, right));
    let zero = inside(0.0).unwrap_or(left);
    let mut end = zero;
    if let Some(at) = inside(bar.value) {
        end = end.max(at);
        if bars.x.scale == Scale::Log {
            canvas.line([(left, y), (at, y)], Stroke::solid(paint, 1.2).faint(0.5));
            end = end.max(at + 5.0);
        } else {
            let rect = Rect {
                left: zero.min(at),
                top: y - height / 2.0,
                right: zero.max(at).max(zero.min(at) + 1.0),
                bottom: y + height / 2.0,
            };
            canvas.fill(rect, paint, if bar.hollow { 0.12 } else { 1.0 });
            if bar.hollow {
                let inner = rect.grown(-0.75);
                let corners = [
                    (inner.left, inner.top),
                    (inner.right, inner.top),
                    (inner.right, inner.bottom),
                    (inner.left, inner.bottom),
                    (inner.left, inner.top),
                ];
                canvas.line(corners, Stroke::solid(paint, 1.5));
            }
        }
    }
    if let Some((low, high)) = bar.interval
        && let (Some(low), Some(high)) = (inside(low), inside(high))
    {
        // Paper round the ink keeps the whisker visible on its bar and beyond.
        for stroke in
            [Stroke::solid(Paint::Paper, 3.5).faint(0.75), Stroke::solid(Paint::Ink, 1.25)]
        {
            canvas.line([(low, y), (high, y)], stroke);
            for cap in [low, high] {
                canvas.line([(cap, y - 4.0), (cap, y + 4.0)], stroke);
            }
        }
        end = end.max(low).max(high);
    }
    if bars.x.scale == Scale::Log
        && let Some(at) = inside(bar.value)
    {
        canvas.dot((at, y), 5.0, paint);
        if bar.hollow {
            canvas.dot((at, y), 3.2, Paint::Paper);
        }
    }
    if let Some(at) = bar.theory.and_then(inside) {
        let ends = [(at, y - height / 2.0 - OUT), (at, y + height / 2.0 + OUT)];
        canvas.line(ends, Stroke::solid(Paint::Paper, 3.5).faint(0.6));
        canvas.line(ends, Stroke::dashed(Paint::Ink, 1.5));
        end = end.max(at);
    }
    let mut x = end + GAP;
    for text in texts(bar, bars) {
        let fitted = text.font.fit(&text.text, (WIDTH - EDGE - x).max(0.0));
        let width = text.font.width(&fitted);
        // No grid line through the text.
        let behind = Rect::round((x + width / 2.0, y), width + 4.0, 15.0);
        canvas.fill(behind, Paint::Paper, 0.85);
        canvas.text((x, y), &fitted, text.font, text.paint, Align::Left);
        x += text.width();
    }
}
