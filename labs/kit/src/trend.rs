//! What does one more cost? The straight line through points.
//!
//! `y = a + b·x`: `b` is what one more costs, `a` what is there anyway. Fitted by ordinary least
//! squares (Legendre 1805); the intervals are Student's t on the residuals, and so assume points
//! that are independent of each other, with errors of one size round one line.

use crate::stats::Estimate;

/// A line fitted to points.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Trend {
    /// y at x = 0.
    pub intercept: f64,
    /// y for each more x.
    pub slope: f64,
    /// Standard error of the slope; 0 with two points, which any line fits.
    pub slope_error: f64,
    /// The largest distance of a point from the line, in y.
    pub worst: f64,
    /// The range of x.
    pub range: (f64, f64),
    /// Number of points.
    pub points: usize,
}

impl Trend {
    /// Fits `(x, y)`; points that are not finite are left out. `None` with fewer than two different
    /// x.
    pub fn fit(points: &[(f64, f64)]) -> Option<Trend> {
        let finite = |(x, y): &(f64, f64)| x.is_finite() && y.is_finite();
        let points: Vec<(f64, f64)> = points.iter().copied().filter(finite).collect();
        let n = points.len() as f64;
        // Round the means, so that large numbers do not cancel.
        let mean_x = points.iter().map(|p| p.0 / n).sum::<f64>();
        let mean_y = points.iter().map(|p| p.1 / n).sum::<f64>();
        let over = |f: &dyn Fn(f64, f64) -> f64| -> f64 {
            points.iter().map(|p| f(p.0 - mean_x, p.1 - mean_y)).sum()
        };
        let spread = over(&|x, _| x * x);
        let low = points.iter().map(|p| p.0).fold(f64::INFINITY, f64::min);
        let high = points.iter().map(|p| p.0).fold(f64::NEG_INFINITY, f64::max);
        if low >= high || !spread.is_normal() {
            return None;
        }
        let slope = over(&|x, y| x * y) / spread;
        let squares = over(&|x, y| (y - slope * x).powi(2));
        let freedom = points.len() - 2;
        let trend = Trend {
            intercept: mean_y - slope * mean_x,
            slope,
            slope_error: (squares / (freedom.max(1) as f64) / spread).sqrt(),
            worst: 0.0,
            range: (low, high),
            points: points.len(),
        };
        let off = points.iter().map(|p| (p.1 - trend.at(p.0)).abs());
        Some(Trend { worst: off.fold(0.0, f64::max), ..trend })
    }

    /// The line at x.
    pub fn at(&self, x: f64) -> f64 {
        self.intercept + self.slope * x
    }

    /// What one more costs, with its 95 % interval; without one from two points.
    pub fn each(&self) -> Estimate {
        Estimate::with_error(self.slope, self.slope_error, self.points.saturating_sub(2))
    }

    /// The farthest point's distance from the line, as a share of what the line rises over the range.
    pub fn bend(&self) -> f64 {
        self.worst / (self.slope * (self.range.1 - self.range.0)).abs()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_textbook_example() {
        // Anscombe (1973), first set: y = 3.0 + 0.500 x, standard error of the slope 0.118.
        let x = [10., 8., 13., 9., 11., 14., 6., 4., 12., 7., 5.];
        let y = [8.04, 6.95, 7.58, 8.81, 8.33, 9.96, 7.24, 4.26, 10.84, 4.82, 5.68];
        let trend = Trend::fit(&x.into_iter().zip(y).collect::<Vec<_>>()).unwrap();
        assert!((trend.slope - 0.5001).abs() < 1e-4 && (trend.intercept - 3.0001).abs() < 1e-4);
        assert!((trend.slope_error - 0.1179).abs() < 1e-4);
        let (low, high) = trend.each().ci95.unwrap();
        assert!((high - low - 2.0 * 2.262 * 0.1179).abs() < 1e-3);
    }

    #[test]
    fn too_little_to_fit() {
        assert_eq!(Trend::fit(&[]), None);
        assert_eq!(Trend::fit(&[(1.0, 2.0)]), None);
        assert_eq!(Trend::fit(&[(1.0, 2.0), (1.0, 3.0)]), None);
        assert_eq!(Trend::fit(&[(1.0, 2.0), (2.0, f64::NAN)]), None);
        let two = Trend::fit(&[(1.0, 2.0), (2.0, 4.0)]).unwrap();
        assert_eq!((two.slope, two.each().ci95), (2.0, None));
    }

    proptest! {
        #[test]
        fn a_line_is_found_again(a in -1e9f64..1e9, b in -1e6f64..1e6, xs in prop::collection::btree_set(0u32..100_000, 3..20)) {
            let points: Vec<_> = xs.iter().map(|x| (f64::from(*x), a + b * f64::from(*x))).collect();
            let trend = Trend::fit(&points).unwrap();
            let near = |x: f64, y: f64| (x - y).abs() <= 1e-6 * (a.abs() + b.abs() * 1e5 + 1.0);
            prop_assert!(near(trend.intercept, a) && near(trend.at(5e4), a + b * 5e4));
            prop_assert!(near(trend.worst, 0.0));
        }
    }
}
