//! Lines that look as if somebody had drawn them: smooth, and not quite steady.

use super::canvas::{Canvas, Point, Stroke};
use super::theme::Paint;

/// Pixels between the points of a drawn line.
const STEP: f64 = 5.0;
/// Most points between two that were given.
const MOST: usize = 200;
/// How far the hand is off, in pixels.
const SHAKE: f64 = 1.1;
/// Half the size of a cross.
const CROSS: f64 = 4.5;

/// A smooth line through the points of a run, x ascending, which never turns between two of them: a
/// monotone cubic (Fritsch and Carlson 1980). The same run always shakes the same way.
pub(super) fn line(run: &[Point]) -> Vec<Point> {
    let slope = |a: Point, b: Point| (b.1 - a.1) / (b.0 - a.0).max(1e-9);
    let slopes: Vec<f64> = run.windows(2).map(|p| slope(p[0], p[1])).collect();
    let tangent = |i: usize| {
        let before = i.checked_sub(1).and_then(|i| slopes.get(i)).copied();
        match (before, slopes.get(i).copied()) {
            // Their harmonic mean stays within what is monotone.
            (Some(a), Some(b)) if a * b > 0.0 => 2.0 * a * b / (a + b),
            (Some(_), Some(_)) => 0.0,
            (Some(only), None) | (None, Some(only)) => only,
            (None, None) => 0.0,
        }
    };
    let mut drawn = Vec::new();
    for (i, pair) in run.windows(2).enumerate() {
        let ((x0, y0), (x1, y1)) = (pair[0], pair[1]);
        let width = x1 - x0;
        let steps = ((width / STEP).ceil() as usize).clamp(1, MOST);
        let (m0, m1) = (tangent(i) * width, tangent(i + 1) * width);
        for step in 0..steps {
            let t = step as f64 / steps as f64;
            let (t2, t3) = (t * t, t * t * t);
            let y = (2.0 * t3 - 3.0 * t2 + 1.0) * y0
                + (t3 - 2.0 * t2 + t) * m0
                + (3.0 * t2 - 2.0 * t3) * y1
                + (t3 - t2) * m1;
            let x = x0 + t * width;
            drawn.push((x, y + shake(x)));
        }
    }
    drawn.extend(run.last().map(|&(x, y)| (x, y + shake(x))));
    drawn
}

fn shake(x: f64) -> f64 {
    SHAKE * ((x / 19.0).sin() + 0.6 * (x / 7.3 + 1.0).sin()) / 1.6
}

/// A cross of two strokes.
pub(super) fn cross(canvas: &mut Canvas, (x, y): Point, paint: Paint) {
    let stroke = Stroke::solid(paint, 2.2);
    canvas.line([(x - CROSS, y - CROSS), (x + CROSS, y + CROSS + 0.75)], stroke);
    canvas.line([(x - CROSS + 0.5, y + CROSS), (x + CROSS, y - CROSS - 0.5)], stroke);
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn a_line_stays_between_its_points(ys in prop::collection::vec(0.0f64..200.0, 0..6)) {
            let run: Vec<Point> = ys.iter().enumerate().map(|(i, y)| (100.0 * i as f64, *y)).collect();
            let drawn = line(&run);
            prop_assert_eq!(drawn.is_empty(), run.is_empty());
            for (x, y) in drawn {
                let i = ((x / 100.0) as usize).min(run.len().saturating_sub(2));
                let pair = &run[i..(i + 2).min(run.len())];
                let low = pair.iter().map(|p| p.1).fold(f64::INFINITY, f64::min);
                let high = pair.iter().map(|p| p.1).fold(f64::NEG_INFINITY, f64::max);
                prop_assert!(low - 2.0 <= y && y <= high + 2.0, "{} at {}", y, x);
            }
        }
    }

    #[test]
    fn far_away_points_do_not_make_many() {
        assert!(line(&[(0.0, 0.0), (1e12, 5.0)]).len() <= MOST + 1);
        assert_eq!(line(&[(3.0, 4.0)]).len(), 1);
    }
}
