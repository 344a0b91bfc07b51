//! Lines in pixels: broken where data are missing, thinned, clipped, and hidden where they
//! coincide with an earlier one.

use super::axis::Span;
use super::canvas::Point;
use super::hand;
use super::place::Rect;
use crate::figure::{Line, Style};

/// A panel's plotting area.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Plot {
    pub rect: Rect,
    pub x: Span,
    pub y: Span,
}

impl Plot {
    pub fn across(&self, x: f64) -> Option<f64> {
        Some(self.rect.left + self.x.share(x)? * self.rect.width())
    }

    pub fn up(&self, y: f64) -> Option<f64> {
        Some(self.rect.bottom - self.y.share(y)? * self.rect.height())
    }

    fn at(&self, (x, y): (f64, f64)) -> Option<Point> {
        Some((self.across(x)?, self.up(y)?))
    }

    /// A horizontal position if it lies inside.
    pub fn across_inside(&self, x: f64) -> Option<f64> {
        self.across(x).filter(|x| (self.rect.left - 0.5..=self.rect.right + 0.5).contains(x))
    }
}

/// A line, ready to draw.
#[derive(Debug)]
pub(super) struct Curve<'a> {
    pub line: &'a Line,
    /// What to draw of the line.
    pub pieces: Vec<Vec<Point>>,
    pub dots: Vec<Point>,
    /// Outlines of the interval.
    pub bands: Vec<Vec<Point>>,
    /// The last visible point.
    pub end: Option<Point>,
}

/// Lines closer than this are one line to the eye.
const SAME: f64 = 1.2;
/// A shorter stretch of coincidence is a crossing.
const MIN_HIDDEN: f64 = 12.0;
/// More dots than this are thinned.
const MAX_DOTS: usize = 3000;

/// The curves of one panel in the order of drawing.
pub(super) fn curves<'a>(lines: impl Iterator<Item = &'a Line>, plot: &Plot) -> Vec<Curve<'a>> {
    let mut earlier: Vec<Vec<Point>> = Vec::new();
    lines
        .map(|line| {
            let (curve, solid) = curve(line, plot, &earlier);
            earlier.extend(solid);
            curve
        })
        .collect()
}

/// The curve, and its runs if later curves may hide behind it.
fn curve<'a>(line: &'a Line, plot: &Plot, earlier: &[Vec<Point>]) -> (Curve<'a>, Vec<Vec<Point>>) {
    let solid = matches!(line.style, Style::Measured | Style::Trace);
    let (mut pieces, mut dots, mut hidden) = (Vec::new(), Vec::new(), Vec::new());
    let room = plot.rect.grown(1.0);
    let runs: Vec<Vec<Point>> =
        runs(line.points.iter().map(|p| plot.at(*p))).into_iter().map(thin).collect();
    let drawn = line.style == Style::Sketch;
    for run in &runs {
        // Traces cross and touch all the time; with gaps nobody could follow them.
        let stretches =
            if line.style == Style::Measured { coincident(run, earlier) } else { Vec::new() };
        if drawn {
            dots.extend(run.iter().filter(|p| room.contains(**p)));
            continue;
        }
        let mut from = 0;
        for &(start, end) in &stretches {
            pieces.push(&run[from..=start]);
            hidden.push((run[start].0, run[end].0));
            from = end;
        }
        pieces.push(&run[from..]);
        if matches!(line.style, Style::Measured | Style::Dots | Style::Simulated) {
            let covered = |i: usize| stretches.iter().any(|&(a, b)| (a..=b).contains(&i));
            let shown = run.iter().enumerate().filter(|(i, p)| !covered(*i) && room.contains(**p));
            dots.extend(shown.map(|(_, p)| *p));
        }
    }
    let pieces: Vec<Vec<Point>> = match line.style {
        Style::Dots => Vec::new(),
        Style::Sketch => runs.iter().flat_map(|run| clip(&hand::line(run), &room)).collect(),
        _ => pieces.into_iter().flat_map(|piece| clip(piece, &room)).collect(),
    };
    let last_visible = || runs.iter().rev().flat_map(|r| clip(r, &room).pop()).next();
    let end = last_visible().and_then(|run| run.last().copied()).map(|(x, y)| {
        (x.clamp(plot.rect.left, plot.rect.right), y.clamp(plot.rect.top, plot.rect.bottom))
    });
    let curve =
        Curve { line, pieces, dots: spaced(dots), bands: bands(&line.band, plot, &hidden), end };
    (curve, if solid { runs } else { Vec::new() })
}

/// Splits where there is no point.
fn runs(points: impl Iterator<Item = Option<Point>>) -> Vec<Vec<Point>> {
    let mut runs = vec![Vec::new()];
    for point in points {
        match (point, runs.last_mut()) {
            (Some(p), Some(run)) => run.push(p),
            _ => runs.push(Vec::new()),
        }
    }
    runs.retain(|run| !run.is_empty());
    runs
}

/// Keeps the first, lowest, highest and last point of every pixel column of a dense run: the
/// picture stays the same.
fn thin(run: Vec<Point>) -> Vec<Point> {
    if run.len() < 2000 {
        return run;
    }
    let same_column = |a: &Point, b: &Point| a.0.floor() == b.0.floor();
    run.chunk_by(same_column)
        .flat_map(|column| {
            let order = |a: &usize, b: &usize| column[*a].1.total_cmp(&column[*b].1);
            let low = (0..column.len()).min_by(order).unwrap_or(0);
            let high = (0..column.len()).max_by(order).unwrap_or(0);
            let mut keep = vec![0, low, high, column.len() - 1];
            keep.sort_unstable();
            keep.dedup();
            keep.into_iter().map(|i| column[i])
        })
        .collect()
}

/// At most [`MAX_DOTS`] dots, evenly thinned over the area.
fn spaced(dots: Vec<Point>) -> Vec<Point> {
    let mut cell = 1.0;
    let mut left = dots;
    while left.len() > MAX_DOTS {
        let mut seen = std::collections::HashSet::new();
        left.retain(|(x, y)| seen.insert(((x / cell) as i64, (y / cell) as i64)));
        cell *= 2.0;
    }
    left
}

/// The parts inside the rectangle.
fn clip(run: &[Point], rect: &Rect) -> Vec<Vec<Point>> {
    if let [only] = run {
        return if rect.contains(*only) { vec![vec![*only]] } else { Vec::new() };
    }
    let mut parts: Vec<Vec<Point>> = Vec::new();
    for pair in run.windows(2) {
        let Some((a, b)) = clip_segment(pair[0], pair[1], rect) else {
            continue;
        };
        match parts.last_mut() {
            Some(part) if part.last() == Some(&a) => part.push(b),
            _ => parts.push(vec![a, b]),
        }
    }
    parts
}

/// Liang and Barsky's way to clip a segment.
fn clip_segment(a: Point, b: Point, rect: &Rect) -> Option<(Point, Point)> {
    let (dx, dy) = (b.0 - a.0, b.1 - a.1);
    let (mut from, mut to) = (0.0, 1.0);
    let sides = [
        (-dx, a.0 - rect.left),
        (dx, rect.right - a.0),
        (-dy, a.1 - rect.top),
        (dy, rect.bottom - a.1),
    ];
    for (towards, distance) in sides {
        if towards == 0.0 {
            if distance < 0.0 {
                return None;
            }
        } else if towards < 0.0 {
            from = f64::max(from, distance / towards);
        } else {
            to = f64::min(to, distance / towards);
        }
    }
    let point = |t: f64| (a.0 + t * dx, a.1 + t * dy);
    // The ends themselves where nothing is cut, so that parts join exactly.
    let start = if from == 0.0 { a } else { point(from) };
    let end = if to == 1.0 { b } else { point(to) };
    (from <= to).then_some((start, end))
}

fn lies_on((x, y): Point, run: &[Point]) -> bool {
    let i = run.partition_point(|p| p.0 < x);
    let Some(&(x1, y1)) = run.get(i) else {
        return false;
    };
    let (x0, y0) = if i == 0 { (x1, y1) } else { run[i - 1] };
    if x < x0 - 0.5 || i == 0 && x < x1 - 0.5 {
        return false;
    }
    let on_line = if x1 > x0 { y0 + (x - x0) / (x1 - x0) * (y1 - y0) } else { y1 };
    (y - on_line).abs() <= SAME
}

/// Index ranges (first, last point) of the stretches that coincide with one earlier run.
fn coincident(run: &[Point], earlier: &[Vec<Point>]) -> Vec<(usize, usize)> {
    let on_earlier = |p: Point| earlier.iter().any(|e| lies_on(p, e));
    let same: Vec<bool> = run.iter().map(|p| on_earlier(*p)).collect();
    let hidden: Vec<bool> = run
        .windows(2)
        .zip(same.windows(2))
        .map(|(p, same)| {
            let middle = (f64::midpoint(p[0].0, p[1].0), f64::midpoint(p[0].1, p[1].1));
            same[0] && same[1] && on_earlier(middle)
        })
        .collect();
    let mut stretches = Vec::new();
    let mut start = 0;
    for part in hidden.chunk_by(|a, b| a == b) {
        let end = start + part.len();
        if part[0] && run[end].0 - run[start].0 >= MIN_HIDDEN {
            stretches.push((start, end));
        }
        start = end;
    }
    stretches
}

/// Outlines of the interval, without the stretches where the line itself is hidden.
fn bands(band: &[(f64, f64, f64)], plot: &Plot, hidden: &[(f64, f64)]) -> Vec<Vec<Point>> {
    let Rect { left, top, right, bottom } = plot.rect;
    let point = |&(x, low, high): &(f64, f64, f64)| {
        let x = plot.across(x)?;
        if hidden.iter().any(|&(a, b)| a - 0.5 <= x && x < b - 0.5) || low.is_nan() {
            return None;
        }
        // A low end that a logarithmic axis cannot show lies below it.
        let low = plot.up(low).unwrap_or(bottom);
        Some((x.clamp(left, right), low.clamp(top, bottom), plot.up(high)?.clamp(top, bottom)))
    };
    let points: Vec<_> = band.iter().map(point).collect();
    points
        .chunk_by(|a, b| a.is_some() == b.is_some())
        .map(|part| {
            let part: Vec<_> = part.iter().flatten().copied().collect();
            let upper = thin(part.iter().map(|p| (p.0, p.2)).collect());
            let lower = thin(part.iter().map(|p| (p.0, p.1)).collect());
            upper.into_iter().chain(lower.into_iter().rev()).collect()
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const RECT: Rect = Rect { left: 0.0, top: 0.0, right: 100.0, bottom: 100.0 };

    #[test]
    fn only_the_part_that_departs_is_drawn() {
        let first: Vec<Point> = (0..5).map(|i| (20.0 * f64::from(i), 50.0)).collect();
        let second = [(0.0, 50.0), (20.0, 50.5), (40.0, 49.8), (60.0, 80.0), (80.0, 90.0)];
        assert_eq!(coincident(&second, &[first]), [(0, 2)]);
    }

    #[test]
    fn a_crossing_hides_nothing() {
        let falling = [(0.0, 0.0), (100.0, 100.0)];
        let rising = [(0.0, 100.0), (49.0, 51.0), (50.0, 50.0), (51.0, 49.0), (100.0, 0.0)];
        assert_eq!(coincident(&rising, &[falling.to_vec()]), []);
    }

    #[test]
    fn clipping_cuts_at_the_border_and_splits() {
        let run = [(-10.0, 50.0), (50.0, 50.0), (50.0, 200.0), (60.0, 200.0), (60.0, 50.0)];
        let parts = clip(&run, &RECT);
        assert_eq!(parts[0], [(0.0, 50.0), (50.0, 50.0), (50.0, 100.0)]);
        assert_eq!(parts[1], [(60.0, 100.0), (60.0, 50.0)]);
    }

    #[test]
    fn thinning_keeps_the_extremes() {
        let run: Vec<Point> = (0..100_000)
            .map(|i| (f64::from(i) / 1000.0, if i == 5_500 { -90.0 } else { f64::from(i % 7) }))
            .collect();
        let thinned = thin(run);
        assert!(thinned.len() <= 400);
        assert!(thinned.iter().any(|p| p.1 == -90.0));
    }
}
