//! The universal scalability law: throughput that rises, flattens and falls again as load grows
//! (N. J. Gunther, 1993; in this form *Guerrilla Capacity Planning*, 2007).

/// The law `X(n) = λ·n / (1 + σ·(n − 1) + κ·n·(n − 1))`.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Usl {
    /// Throughput of one (per second): the slope if nothing were shared.
    pub lambda: f64,
    /// Contention: the share of the work that must queue for something (0 is none).
    pub sigma: f64,
    /// Coherency: the price of each pair having to agree (0 is none, above it throughput falls).
    pub kappa: f64,
}

/// A [`Usl`] fitted to measurements.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Fit {
    /// The curve.
    pub usl: Usl,
    /// The share of the variance of the throughput that the curve explains, `1 − SSE/SST` in
    /// absolute terms. At most 1; below 0 when the mean alone would do better; `NaN` when all
    /// throughputs are equal and nothing is left to explain. A fit of three parameters to a handful
    /// of points comes close to 1 easily: it proves little.
    pub r_squared: f64,
    /// The points the fit is based on, after those without meaning were left out.
    pub points: usize,
}

impl Usl {
    /// Throughput (per second) at a load of `n` (clients, threads or processors).
    ///
    /// `NaN` where the formula has no value, for instance at an infinite `n`.
    pub fn at(&self, n: f64) -> f64 {
        if n == 0.0 {
            return 0.0;
        }
        // Dividing by n keeps n² from overflowing.
        self.lambda / (1.0 / n + self.sigma * (1.0 - 1.0 / n) + self.kappa * (n - 1.0))
    }

    /// The load of the highest throughput, `n* = √((1 − σ)/κ)`.
    ///
    /// `None` when the curve has no peak: it rises for ever (κ = 0), or contention alone makes a
    /// second client useless (σ ≥ 1). Below 1 when already a second client lowers the throughput.
    pub fn peak(&self) -> Option<f64> {
        let n = ((1.0 - self.sigma) / self.kappa).sqrt();
        (self.kappa > 0.0 && self.sigma < 1.0 && n.is_finite()).then_some(n)
    }

    /// The throughput (per second) that no load of one or more exceeds: that of the peak, or `λ/σ`
    /// for a curve that flattens without falling; infinite for a straight line.
    pub fn capacity_limit(&self) -> f64 {
        match self.peak() {
            Some(n) => self.at(n.max(1.0)),
            None if self.sigma >= 1.0 => self.lambda, // falls from the start
            None => self.lambda / self.sigma,
        }
    }

    /// Fits the law to measured `(load, throughput per second)` pairs.
    ///
    /// The law is linear in `(1/λ, σ/λ, κ/λ)` once written for `n/X`, so a least-squares fit needs
    /// no iteration. Each row is weighted by `X/n`, which makes the sum that of squared *relative*
    /// errors `(X/X̂ − 1)²`: else the largest throughputs alone would decide. Where the best σ or κ
    /// would be negative (a speed-up better than linear, usually noise), it is held at zero; the
    /// sum is convex, so the best of the four combinations is the constrained optimum.
    ///
    /// Points whose load or throughput is not positive and finite are left out. `None` with fewer
    /// than three different loads, or when the numbers are too extreme to solve.
    pub fn fit(points: &[(f64, f64)]) -> Option<Fit> {
        let positive = |v: f64| v > 0.0 && v.is_finite();
        let points: Vec<_> =
            points.iter().copied().filter(|&(n, x)| positive(n) && positive(x)).collect();
        let mut loads: Vec<_> = points.iter().map(|p| p.0).collect();
        loads.sort_by(f64::total_cmp);
        loads.dedup();
        if loads.len() < 3 {
            return None;
        }

        // In units of the largest throughput, so that no square overflows.
        let unit = points.iter().map(|p| p.1).fold(0.0, f64::max);
        let column = |term: fn(f64) -> f64| -> Vec<f64> {
            points.iter().map(|&(n, x)| x / unit / n * term(n)).collect()
        };
        let columns = [column(|_| 1.0), column(|n| n - 1.0), column(|n| n * (n - 1.0))];

        let mut best: Option<(f64, Usl)> = None;
        for kept in [&[0, 1, 2][..], &[0, 1], &[0, 2], &[0]] {
            let chosen: Vec<_> = kept.iter().map(|&j| columns[j].as_slice()).collect();
            let Some(solution) = least_squares(&chosen) else {
                continue;
            };
            let mut terms = [0.0; 3];
            for (&j, &value) in kept.iter().zip(&solution) {
                terms[j] = value;
            }
            let [a, b, c] = terms;
            let usl = Usl { lambda: unit / a, sigma: b / a, kappa: c / a };
            let usable = positive(usl.lambda) && usl.sigma.is_finite() && usl.kappa.is_finite();
            if !usable || b < 0.0 || c < 0.0 {
                continue;
            }
            let error: f64 = points.iter().map(|&(n, x)| (x / usl.at(n) - 1.0).powi(2)).sum();
            if error.is_finite() && best.is_none_or(|(least, _)| error < least) {
                best = Some((error, usl));
            }
        }
        let usl = best?.1;

        let mean = points.iter().map(|p| p.1 / unit).sum::<f64>() / points.len() as f64;
        let square = |v: f64| v * v;
        let unexplained: f64 = points.iter().map(|&(n, x)| square((x - usl.at(n)) / unit)).sum();
        let total: f64 = points.iter().map(|&(_, x)| square(x / unit - mean)).sum();
        let flat = points.iter().all(|p| p.1 == points[0].1);
        let r_squared = if flat { f64::NAN } else { 1.0 - unexplained / total };
        Some(Fit { usl, r_squared, points: points.len() })
    }
}

/// The coefficients that bring the weighted sum of `columns` closest to a column of ones, by
/// modified Gram–Schmidt, which keeps the digits that normal equations would square away. `None`
/// when a column depends on those before it or is not finite.
fn least_squares(columns: &[&[f64]]) -> Option<Vec<f64>> {
    let dot = |a: &[f64], b: &[f64]| a.iter().zip(b).map(|(x, y)| x * y).sum::<f64>();
    let mut rest = vec![1.0; columns.first()?.len()];
    let mut basis: Vec<Vec<f64>> = Vec::new();
    // Column j of the triangular factor: its components on the basis so far, then its length.
    let mut upper: Vec<Vec<f64>> = Vec::new();
    let mut projections = Vec::new();
    for column in columns {
        let mut q = column.to_vec();
        let before = dot(&q, &q).sqrt();
        let mut r = Vec::new();
        for direction in &basis {
            let part = dot(direction, &q);
            q.iter_mut().zip(direction).for_each(|(x, d)| *x -= part * d);
            r.push(part);
        }
        let length = dot(&q, &q).sqrt();
        if !before.is_finite() || length <= before * 1e-10 {
            return None;
        }
        q.iter_mut().for_each(|x| *x /= length);
        let projection = dot(&q, &rest);
        rest.iter_mut().zip(&q).for_each(|(x, d)| *x -= projection * d);
        r.push(length);
        projections.push(projection);
        basis.push(q);
        upper.push(r);
    }
    let mut solution = vec![0.0; columns.len()];
    for i in (0..columns.len()).rev() {
        let known: f64 = (i + 1..columns.len()).map(|j| upper[j][i] * solution[j]).sum();
        solution[i] = (projections[i] - known) / upper[i][i];
    }
    Some(solution)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::num::f64::ANY;
    use proptest::prelude::*;

    const LOADS: [f64; 10] = [1.0, 2.0, 5.0, 10.0, 25.0, 50.0, 100.0, 200.0, 500.0, 1000.0];

    #[test]
    fn amdahl_is_the_special_case_without_coherency() {
        let usl = Usl { lambda: 1.0, sigma: 0.1, kappa: 0.0 };
        for n in [1.0, 4.0, 1e6] {
            assert!((usl.at(n) / crate::amdahl::amdahl(0.9, n) - 1.0).abs() < 1e-12);
        }
        assert_eq!(usl.peak(), None);
        assert!((usl.capacity_limit() - 10.0).abs() < 1e-12);
    }

    #[test]
    fn the_peak_is_the_highest_point() {
        let usl = Usl { lambda: 95.0, sigma: 0.02, kappa: 1e-4 };
        let n = usl.peak().unwrap();
        assert!((n - 9800f64.sqrt()).abs() < 1e-9);
        assert!(usl.at(n) > usl.at(n * 0.99) && usl.at(n) > usl.at(n * 1.01));
        assert_eq!(usl.capacity_limit(), usl.at(n));
    }

    #[test]
    fn better_than_linear_is_fitted_as_linear() {
        let points = LOADS.map(|n| (n, 10.0 * n.powf(1.1)));
        let fit = Usl::fit(&points).unwrap();
        assert_eq!((fit.usl.sigma, fit.usl.kappa), (0.0, 0.0));
        assert_eq!(fit.usl.capacity_limit(), f64::INFINITY);
    }

    #[test]
    fn a_bad_fit_has_a_low_r_squared() {
        let zigzag = [(1.0, 10.0), (2.0, 90.0), (3.0, 10.0), (4.0, 90.0), (5.0, 10.0)];
        assert!(Usl::fit(&zigzag).unwrap().r_squared < 0.5);
        let flat = LOADS.map(|n| (n, 7.0));
        assert!(Usl::fit(&flat).unwrap().r_squared.is_nan());
    }

    #[test]
    fn odd_input() {
        assert_eq!(Usl::fit(&[]), None);
        assert_eq!(Usl::fit(&[(1.0, 1.0), (2.0, 2.0), (2.0, 2.1)]), None);
        let collapsed = [(1.0, 1.0), (2.0, 1.9), (4.0, 3.0), (8.0, 0.0), (f64::NAN, 1.0)];
        assert_eq!(Usl::fit(&collapsed).unwrap().points, 3);
        let _ = Usl::fit(&[(1e-300, 1e300), (1.0, 1e-300), (1e300, 1e300), (f64::INFINITY, 1.0)]);
        let usl = Usl { lambda: 1.0, sigma: 1.5, kappa: 0.0 };
        assert_eq!((usl.peak(), usl.capacity_limit()), (None, 1.0));
        assert_eq!(usl.at(0.0), 0.0);
    }

    proptest! {
        #[test]
        fn recovers_its_own_parameters(
            lambda in 1e-3..1e6f64, sigma in 0.0..0.5f64, kappa in 0.0..0.01f64,
        ) {
            let truth = Usl { lambda, sigma, kappa };
            let fit = Usl::fit(&LOADS.map(|n| (n, truth.at(n)))).unwrap();
            prop_assert!((fit.usl.lambda / lambda - 1.0).abs() < 1e-6);
            prop_assert!((fit.usl.sigma - sigma).abs() < 1e-6);
            prop_assert!((fit.usl.kappa - kappa).abs() < 1e-8);
            prop_assert!(fit.r_squared > 1.0 - 1e-9);
        }

        #[test]
        fn no_neighbour_fits_better(noise in prop::collection::vec(0.7..1.4f64, 10)) {
            let truth = Usl { lambda: 100.0, sigma: 0.01, kappa: 1e-5 };
            let points: Vec<_> =
                LOADS.iter().zip(&noise).map(|(&n, e)| (n, truth.at(n) * e)).collect();
            let best = Usl::fit(&points).unwrap().usl;
            let miss = |u: Usl, (n, x): (f64, f64)| (x / u.at(n) - 1.0).powi(2);
            let error = |u: Usl| points.iter().map(|&p| miss(u, p)).sum::<f64>();
            for step in [0.99, 1.01] {
                for other in [
                    Usl { lambda: best.lambda * step, ..best },
                    Usl { sigma: best.sigma * step, ..best },
                    Usl { kappa: best.kappa * step, ..best },
                    Usl { sigma: best.sigma + 1e-4, ..best },
                    Usl { kappa: best.kappa + 1e-7, ..best },
                ] {
                    prop_assert!(error(best) <= error(other) + 1e-12, "{best:?} {other:?}");
                }
            }
        }

        #[test]
        fn never_panics(points in prop::collection::vec((ANY, ANY), 0..8)) {
            if let Some(fit) = Usl::fit(&points) {
                prop_assert!(fit.usl.lambda > 0.0 && fit.usl.sigma >= 0.0 && fit.usl.kappa >= 0.0);
            }
        }
    }
}
