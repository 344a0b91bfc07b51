//! Heartbeats and the gaps between them.

use super::axis::{Span, Way};
use super::canvas::{Align, Canvas, EDGE, Stroke, WIDTH};
use super::curve::Plot;
use super::font::Font;
use super::frame::x_labels;
use super::place::Rect;
use super::theme::Paint;
use super::{Header, left_out, number};
use crate::figure::{Axis, BeatLane, Beats, Unit};

const MAX_LANES: usize = 30;
const LEFT: f64 = 20.0;
/// Room for the longest gaps.
const RIGHT: f64 = 140.0;
/// Beats closer than this in pixels become a solid stretch.
const DENSE: f64 = 2.5;

/// Draws the lanes and returns the height of the whole chart.
pub(super) fn draw(beats: &Beats, header: &Header<'_>, canvas: &mut Canvas) -> f64 {
    let lanes = &beats.lanes[..beats.lanes.len().min(MAX_LANES)];
    let pitch = if lanes.len() <= 8 { 50.0 } else { 42.0 };
    let names = lanes.iter().map(|l| Font::LABEL.width(&l.title).max(Font::TICK.width(&l.note)));
    let left = (LEFT + names.fold(0.0, f64::max) + 14.0).clamp(80.0, 270.0);
    let right = WIDTH - RIGHT;

    let top = header.draw(canvas, LEFT) + 34.0;
    let bottom = top + pitch * lanes.len().max(1) as f64;
    let axis = Axis::linear("", Unit::Seconds).with_range(0.0, beats.until);
    let last = lanes.iter().flat_map(|l| &l.beats).copied();
    let x = Span::new(&axis, last, Way::Across, right - left);
    let plot = Plot { rect: Rect { left, top, right, bottom }, x, y: x };
    let ticks = x.ticks(&axis, Way::Across, right - left);
    for tick in &ticks {
        if let Some(at) = plot.across(tick.at) {
            canvas.line([(at, top), (at, bottom)], Stroke::solid(Paint::Grid, 1.0));
            canvas.line([(at, bottom), (at, bottom + 4.0)], Stroke::solid(Paint::Muted, 1.0));
        }
    }
    canvas.line([(left, bottom), (right, bottom)], Stroke::solid(Paint::Muted, 1.0));
    x_labels(canvas, &plot, &ticks, |_| false);
    let column = right + 18.0;
    if !lanes.is_empty() {
        let at = (column, top - 10.0);
        canvas.text(at, "longest gap", Font::TICK, Paint::Muted, Align::Left);
    }
    for (i, lane) in lanes.iter().enumerate() {
        let y = top + pitch * (i as f64 + 0.5);
        draw_lane(canvas, lane, &plot, y, beats.threshold);
        let (sign, paint) = match lane.longest_gap {
            gap if !gap.is_finite() => ("", Paint::Muted),
            gap if gap <= beats.threshold => ("✓ ", Paint::Green),
            _ => ("✗ ", Paint::Vermilion),
        };
        let text = format!("{sign}{}", number::gap(lane.longest_gap));
        let text = Font::HEADING.fit(&text, WIDTH - EDGE - column);
        canvas.text((column, y), &text, Font::HEADING, paint, Align::Left);
    }
    left_out(canvas, (left, bottom + 26.0), beats.lanes.len() - lanes.len(), "lane") + 18.0
}

fn draw_lane(canvas: &mut Canvas, lane: &BeatLane, plot: &Plot, y: f64, threshold: f64) {
    let names = plot.rect.left - 14.0;
    let title = Font::LABEL.fit(&lane.title, names - EDGE);
    let note = Font::TICK.fit(&lane.note, names - EDGE);
    let off = if note.is_empty() { 0.0 } else { 8.0 };
    canvas.text((names, y - off), &title, Font::LABEL, Paint::Ink, Align::Right);
    canvas.text((names, y + off), &note, Font::TICK, Paint::Muted, Align::Right);

    let Rect { left, right, .. } = plot.rect;
    let mut ticks: Vec<f64> = Vec::new();
    for pair in lane.beats.windows(2) {
        let gap = pair[1] - pair[0];
        let (Some(a), Some(b)) = (plot.across(pair[0]), plot.across(pair[1])) else {
            continue;
        };
        let (a, b) = (a.clamp(left, right), b.clamp(left, right));
        if gap > threshold && b > a {
            let rect = Rect { left: a, top: y - 13.0, right: b.max(a + 1.0), bottom: y + 13.0 };
            canvas.fill(rect, Paint::Vermilion, 1.0);
            let full = number::gap(gap);
            let text = [full.as_str(), full.trim_end_matches(" ms")]
                .into_iter()
                .find(|t| Font::IN_BAR.width(t) + 6.0 <= rect.width());
            if let Some(text) = text {
                canvas.text(rect.middle(), text, Font::IN_BAR, Paint::Paper, Align::Centre);
            }
        }
    }
    ticks.extend(lane.beats.iter().filter_map(|t| plot.across_inside(*t)));
    // Runs of beats too close to tell apart are one stretch: the picture stays true and small.
    for run in ticks.chunk_by(|a, b| (b - a).abs() < DENSE) {
        let (Some(first), Some(last)) = (run.first(), run.last()) else {
            continue;
        };
        if run.len() < 3 {
            for x in run {
                canvas.line([(*x, y - 9.0), (*x, y + 9.0)], Stroke::solid(Paint::Blue, 1.5));
            }
        } else {
            let (a, b) = (first.min(*last) - 0.75, first.max(*last) + 0.75);
            let rect = Rect { left: a, top: y - 9.0, right: b, bottom: y + 9.0 };
            canvas.fill(rect, Paint::Blue, 0.75);
        }
    }
}
