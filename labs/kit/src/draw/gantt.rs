//! Groups of lanes over one time axis.

use super::axis::{Span, Way};
use super::canvas::{Align, Canvas, EDGE, Pattern, Stroke, WIDTH};
use super::curve::Plot;
use super::font::Font;
use super::frame::{heading, x_labels};
use super::place::{Clutter, Rect};
use super::theme::Paint;
use super::{Header, left_out, number};
use crate::figure::{Axis, Bar, Gantt, Group, Lane, Unit};

const MAX_GROUPS: usize = 12;
/// All groups together.
const MAX_LANES: usize = 48;
/// Bars that overlap are stacked in at most this many rows of their lane; more are merged.
const MAX_ROWS: usize = 5;
/// From one line of times to the next: two fit beside a single lane.
const ROW: f64 = 16.5;
/// Left edge of title and lane names.
const LEFT: f64 = 20.0;
/// Room for the times at the ends.
const RIGHT: f64 = 100.0;

/// Draws the groups and returns the height of the whole chart.
pub(super) fn draw(gantt: &Gantt, header: &Header<'_>, canvas: &mut Canvas) -> f64 {
    let groups = &gantt.groups[..gantt.groups.len().min(MAX_GROUPS)];
    let share = fair_share(groups);
    let lanes: usize = groups.iter().map(|g| g.lanes.len().min(share)).sum();
    let pitch = if lanes <= 14 {
        34.0
    } else if lanes <= 24 {
        26.0
    } else {
        21.0
    };
    let names = groups.iter().flat_map(|g| g.lanes.iter().take(share));
    let widest = names.map(|l| Font::LABEL.width(&l.label)).fold(0.0, f64::max);
    // Half a pixel more than it takes, or rounding shortens the widest name.
    let left = (LEFT + widest + 12.5).clamp(60.0, 240.0);
    let right = WIDTH - RIGHT;

    let axis = Axis::linear("", Unit::Seconds);
    let bars = groups.iter().flat_map(|g| &g.lanes).flat_map(|l| &l.bars);
    let ends = groups.iter().flat_map(|g| [g.end, g.predicted_end]).flatten();
    let times = bars.map(|b| b.end).chain(ends).filter(|t| *t > 0.0);
    let x = Span::new(&axis, times, Way::Across, right - left);
    let ticks = x.ticks(&axis, Way::Across, right - left);

    let mut top = header.draw(canvas, LEFT) + 46.0;
    let mut bottom = top;
    for (i, group) in groups.iter().enumerate() {
        let shown = &group.lanes[..group.lanes.len().min(share)];
        bottom = top + pitch * shown.len().max(1) as f64;
        let plot = Plot { rect: Rect { left, top, right, bottom }, x, y: x };
        for tick in &ticks {
            if let Some(at) = plot.across(tick.at) {
                canvas.line([(at, top), (at, bottom)], Stroke::solid(Paint::Grid, 1.0));
                canvas.line([(at, bottom), (at, bottom + 4.0)], Stroke::solid(Paint::Muted, 1.0));
            }
        }
        canvas.line([(left, bottom), (right, bottom)], Stroke::solid(Paint::Muted, 1.0));
        let mut clutter = Clutter::default();
        let at = (left, top - 18.0);
        clutter.add_box(heading(canvas, at, WIDTH - EDGE, &group.title, &group.note));
        for (j, lane) in shown.iter().enumerate() {
            let y = top + pitch * (j as f64 + 0.5);
            draw_lane(canvas, lane, &plot, (y, pitch * 0.7), &mut clutter);
        }
        draw_ends(canvas, group, &plot, pitch, clutter);
        if i + 1 == groups.len() {
            x_labels(canvas, &plot, &ticks, |_| false);
            bottom += 20.0;
        }
        bottom = left_out(canvas, (left, bottom), group.lanes.len() - shown.len(), "lane");
        top = bottom + 48.0;
    }
    bottom = left_out(canvas, (left, bottom), gantt.groups.len() - groups.len(), "group");
    bottom + 20.0
}

/// The most lanes per group with which all groups together stay within [`MAX_LANES`].
fn fair_share(groups: &[Group]) -> usize {
    let total = |share: usize| groups.iter().map(|g| g.lanes.len().min(share)).sum::<usize>();
    (1..=MAX_LANES).rev().find(|share| total(*share) <= MAX_LANES).unwrap_or(1)
}

/// A bar in pixels and its row within the lane.
struct Placed<'a> {
    bar: &'a Bar,
    left: f64,
    right: f64,
    row: usize,
    /// Stands for several bars that cannot be told apart.
    merged: bool,
}

/// The bars in order of time, each in the first row that is free.
fn stack<'a>(lane: &'a Lane, plot: &Plot) -> Vec<Placed<'a>> {
    let pixels = |bar: &'a Bar| {
        let (a, b) = (plot.across(bar.start)?, plot.across(bar.end)?);
        let Rect { left, right, .. } = plot.rect;
        let (a, b) = (a.clamp(left, right), b.clamp(left, right));
        (b >= a && bar.end >= 0.0).then_some((bar, a, b))
    };
    let mut bars: Vec<_> = lane.bars.iter().filter_map(pixels).collect();
    bars.sort_by(|a, b| a.1.total_cmp(&b.1).then(b.2.total_cmp(&a.2)));
    let mut rows = [f64::NEG_INFINITY; MAX_ROWS];
    let mut placed: Vec<Placed<'_>> = Vec::new();
    for (bar, left, right) in bars {
        let free = rows.iter().position(|end| *end <= left + 0.5);
        let row = free.unwrap_or(MAX_ROWS - 1);
        let last = placed.iter_mut().rev().find(|p| p.row == row);
        if let Some(last) = last.filter(|p| free.is_none() || right - p.left < 1.0) {
            last.right = last.right.max(right);
            last.merged = true;
        } else {
            placed.push(Placed { bar, left, right, row, merged: false });
        }
        rows[row] = rows[row].max(right);
    }
    placed
}

fn draw_lane(
    canvas: &mut Canvas,
    lane: &Lane,
    plot: &Plot,
    (y, height): (f64, f64),
    clutter: &mut Clutter,
) {
    let name = Font::LABEL.fit(&lane.label, plot.rect.left - 12.0 - LEFT);
    canvas.text((plot.rect.left - 12.0, y), &name, Font::LABEL, lane.colour.into(), Align::Right);
    let placed = stack(lane, plot);
    let rows = placed.iter().map(|p| p.row + 1).max().unwrap_or(1) as f64;
    for Placed { bar, left, right, row, merged } in placed {
        let top = y - height / 2.0 + height * row as f64 / rows;
        // A hair of paper between neighbours, but never nothing.
        let inset = if right - left > 3.0 { 0.5 } else { 0.0 };
        let right = (right - inset).max(left + 1.0);
        let gap = if rows > 1.0 { 1.0 } else { 0.0 };
        let rect = Rect { left: left + inset, top, right, bottom: top + height / rows - gap };
        clutter.add_box(rect);
        let paint = Paint::from(bar.colour);
        let on = if bar.waiting {
            canvas.fill(rect, paint, 0.16);
            hatch(canvas, &rect, paint);
            paint
        } else {
            canvas.fill(rect, paint, 1.0);
            Paint::Paper
        };
        let width = Font::IN_BAR.width(&bar.label);
        if rect.height() >= 13.0 && width + 5.0 <= rect.width() && !merged && !bar.label.is_empty()
        {
            if bar.waiting {
                let behind = Rect::round(rect.middle(), width + 6.0, rect.height().min(15.0));
                canvas.fill(behind, Paint::Paper, 0.85);
            }
            canvas.text(rect.middle(), &bar.label, Font::IN_BAR, on, Align::Centre);
        }
    }
}

/// Diagonals, clipped by hand: the backend knows neither patterns nor clip paths.
fn hatch(canvas: &mut Canvas, rect: &Rect, paint: Paint) {
    let height = rect.height();
    let mut x = rect.left - height + 2.0;
    while x < rect.right {
        let (from, to) = (x.max(rect.left), (x + height).min(rect.right));
        if to - from > 0.5 {
            let ends = [(from, rect.bottom - (from - x)), (to, rect.bottom - (to - x))];
            canvas.line(ends, Stroke::solid(paint, 1.25));
        }
        x += 5.0;
    }
}

/// The lines at the measured and the predicted end, with their times.
fn draw_ends(canvas: &mut Canvas, group: &Group, plot: &Plot, pitch: f64, mut clutter: Clutter) {
    let Rect { left, top, bottom, .. } = plot.rect;
    let at = |t: Option<f64>| t.and_then(|t| Some((t, plot.across_inside(t)?)));
    let (end, predicted) = (at(group.end), at(group.predicted_end));
    for (x, stroke) in
        [(predicted, Stroke::dashed(Paint::Muted, 1.25)), (end, Stroke::solid(Paint::Ink, 1.5))]
    {
        if let Some((_, x)) = x {
            let ends =
                [(x, top - if stroke.pattern == Pattern::Dashed { 5.0 } else { 0.0 }), (x, bottom)];
            // Keeps the line visible across bars.
            canvas.line(ends, Stroke::solid(Paint::Paper, 3.0).faint(0.6));
            canvas.line(ends, stroke);
            clutter.add_line(&ends);
        }
    }
    let rows: Vec<f64> =
        (0..((bottom - top) / ROW) as usize).map(|i| top + 9.0 + ROW * i as f64).collect();
    let mut write = |x: f64, text: &str, font: Font, paint: Paint, above: bool| {
        let width = font.width(text);
        let place = |left: f64, y: f64| Rect::round((left + width / 2.0, y), width, 12.5);
        let mut places: Vec<Rect> = rows.iter().map(|y| place(x + 7.0, *y)).collect();
        if above {
            places.push(place(x - width / 2.0, top - 14.0));
        }
        let beyond = [end, predicted].into_iter().flatten().fold(x, |m, (_, x)| m.max(x));
        places.extend(rows.iter().map(|y| place(beyond + 7.0, *y)));
        places.extend(rows.iter().map(|y| place(x - 7.0 - width, *y)));
        places.push(place(beyond + 7.0, top - 14.0));
        places.retain(|p| p.right <= WIDTH - EDGE && p.left >= left);
        if let Some((rect, cost)) = clutter.best(places) {
            if cost > 0.0 {
                canvas.fill(rect.grown(1.0), Paint::Paper, 0.85);
            }
            clutter.add_box(rect);
            canvas.text((rect.left, rect.middle().1), text, font, paint, Align::Left);
        }
    };
    if let Some((t, x)) = end {
        write(x, &number::duration(t), Font::LABEL, Paint::Ink, false);
    }
    if let Some((t, x)) = predicted {
        let text = format!("theory {}", number::duration(t));
        write(x, &text, Font::TICK, Paint::Muted, pitch > 20.0);
    }
}
