//! Where labels go: rectangles, what is in the way, and pushing labels apart.

use super::canvas::Point;

#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Rect {
    pub left: f64,
    pub top: f64,
    pub right: f64,
    pub bottom: f64,
}

impl Rect {
    pub fn round((x, y): Point, width: f64, height: f64) -> Rect {
        let (w, h) = (width / 2.0, height / 2.0);
        Rect { left: x - w, top: y - h, right: x + w, bottom: y + h }
    }

    pub fn width(&self) -> f64 {
        self.right - self.left
    }

    pub fn height(&self) -> f64 {
        self.bottom - self.top
    }

    pub fn middle(&self) -> Point {
        (f64::midpoint(self.left, self.right), f64::midpoint(self.top, self.bottom))
    }

    pub fn grown(&self, by: f64) -> Rect {
        Rect {
            left: self.left - by,
            top: self.top - by,
            right: self.right + by,
            bottom: self.bottom + by,
        }
    }

    pub fn contains(&self, (x, y): Point) -> bool {
        (self.left..=self.right).contains(&x) && (self.top..=self.bottom).contains(&y)
    }

    /// Whether the other lies inside.
    #[cfg(test)]
    pub fn holds(&self, other: &Rect) -> bool {
        self.contains((other.left, other.top)) && self.contains((other.right, other.bottom))
    }

    /// The area both cover.
    pub fn shared(&self, other: &Rect) -> f64 {
        let width = self.right.min(other.right) - self.left.max(other.left);
        let height = self.bottom.min(other.bottom) - self.top.max(other.top);
        width.max(0.0) * height.max(0.0)
    }
}

/// What labels should not cover.
#[derive(Debug, Default)]
pub(super) struct Clutter {
    points: Vec<Point>,
    boxes: Vec<Rect>,
}

/// Lines are remembered as points this far apart.
const STEP: f64 = 3.0;
/// More points than this change nothing about where there is room.
const MAX_POINTS: usize = 30_000;

impl Clutter {
    pub fn add_box(&mut self, rect: Rect) {
        self.boxes.push(rect);
    }

    pub fn add_line(&mut self, points: &[Point]) {
        self.points.extend(points.first());
        for pair in points.windows(2) {
            let [(x0, y0), (x1, y1)] = [pair[0], pair[1]];
            let steps = ((x1 - x0).hypot(y1 - y0) / STEP).ceil().clamp(1.0, 1000.0) as usize;
            if self.points.len() + steps > MAX_POINTS {
                return;
            }
            self.points.extend((1..=steps).map(|i| {
                let t = i as f64 / steps as f64;
                (x0 + t * (x1 - x0), y0 + t * (y1 - y0))
            }));
        }
    }

    /// How much a label there would cover; 0 for nothing.
    pub fn cost(&self, rect: &Rect) -> f64 {
        let room = rect.grown(2.0);
        let points = self.points.iter().filter(|p| room.contains(**p)).count() as f64;
        let boxes: f64 = self.boxes.iter().map(|b| b.shared(&room)).sum();
        // Covering another label is worse than crossing a line.
        points * 4.0 + boxes * 2.0
    }

    /// The first place where nothing is covered, or else the one that covers least.
    pub fn best(&self, places: impl IntoIterator<Item = Rect>) -> Option<(Rect, f64)> {
        let mut best: Option<(Rect, f64)> = None;
        for place in places {
            let cost = self.cost(&place);
            if cost == 0.0 {
                return Some((place, cost));
            }
            if best.is_none_or(|(_, least)| cost < least) {
                best = Some((place, cost));
            }
        }
        best
    }
}

/// Moves ascending heights as little as possible so that neighbours are `gap` apart and all lie
/// between `low` and `high`, as far as there is room.
pub(super) fn spread(wanted: &[f64], gap: f64, (low, high): (f64, f64)) -> Vec<f64> {
    // Least squares over non-decreasing sequences: pool neighbours that are out of order.
    let mut pools: Vec<(f64, usize)> = Vec::new();
    for (i, w) in wanted.iter().enumerate() {
        let mut pool = (w - i as f64 * gap, 1);
        while let Some(&(sum, count)) = pools.last() {
            if sum / count as f64 <= pool.0 / pool.1 as f64 {
                break;
            }
            pool = (pool.0 + sum, pool.1 + count);
            pools.pop();
        }
        pools.push(pool);
    }
    let top = (high - gap * wanted.len().saturating_sub(1) as f64).max(low);
    let starts = pools.iter().flat_map(|&(sum, n)| std::iter::repeat_n(sum / n as f64, n));
    starts.enumerate().map(|(i, start)| start.clamp(low, top) + i as f64 * gap).collect()
}
