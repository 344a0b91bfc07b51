//! Figures that theory starts from, which know what they were taken from.

use crate::{origin::Origin, stats::Estimate};

/// A figure that theory starts from or arrives at, with what it was taken from. A plain number is one
/// of the flags, of theory or of the lab's own; what was measured comes from
/// [`crate::summary::Summary::calibrated`] or from an [`Estimate`], and hands its origin on.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Given {
    /// The figure.
    pub value: f64,
    /// How far off it may be by chance, being measured: half of its 95 % interval, as far as that is known.
    blur: f64,
    origin: Origin,
}

impl Given {
    /// A figure worked out from what has this origin.
    pub fn new(value: f64, origin: Origin) -> Given {
        Given { value, blur: 0.0, origin }
    }

    /// The same, off by so much at most (95 %).
    pub(crate) fn blurred(self, blur: f64) -> Given {
        let blur = if blur.is_nan() { f64::INFINITY } else { blur.abs() };
        Given { blur, ..self }
    }

    /// How far off it may be by chance: half of its 95 % interval.
    pub fn blur(&self) -> f64 {
        self.blur
    }

    /// What it was taken from.
    pub fn origin(&self) -> Origin {
        self.origin
    }

    /// The same figure, also taken from this.
    pub fn and(self, origin: Origin) -> Given {
        Given { origin: self.origin.and(origin), ..self }
    }

    /// What a function makes of it.
    pub fn map(self, f: impl Fn(f64) -> f64) -> Given {
        let mapped = Given::new(f(self.value), self.origin);
        mapped.blurred(self.moves(f))
    }

    /// What a function makes of two figures, whose chances are independent.
    pub fn with(self, other: impl Into<Given>, f: impl Fn(f64, f64) -> f64) -> Given {
        let other = other.into();
        let both = Given::new(f(self.value, other.value), self.origin.and(other.origin));
        let (one, two) = (self.moves(|v| f(v, other.value)), other.moves(|v| f(self.value, v)));
        both.blurred(one.hypot(two))
    }

    /// How far its chances move what a function makes of it.
    fn moves(&self, f: impl Fn(f64) -> f64) -> f64 {
        if self.blur == 0.0 {
            return 0.0;
        }
        let middle = f(self.value);
        let ends = [self.value - self.blur, self.value + self.blur];
        let far = ends.map(|end| (f(end) - middle).abs());
        // Where it may leave what the function is defined for it may be anything.
        far.into_iter()
            .map(|far| if far.is_nan() { f64::INFINITY } else { far })
            .fold(0.0, f64::max)
    }

    /// The parameter of a law that was fitted to what it was taken from.
    pub fn fitted(self) -> Given {
        Given { origin: self.origin.fitted(), ..self }
    }
}

impl From<f64> for Given {
    fn from(value: f64) -> Given {
        Given::new(value, Origin::default())
    }
}

impl From<Estimate> for Given {
    fn from(estimate: Estimate) -> Given {
        let given = Given::new(estimate.value, estimate.origin());
        let half = estimate.ci95.map_or(0.0, |(lo, hi)| (hi - lo) / 2.0);
        given.blurred(half)
    }
}

macro_rules! operators {
    ($($trait:ident $method:ident $sign:tt),*) => {$(
        impl<T: Into<Given>> std::ops::$trait<T> for Given {
            type Output = Given;
            fn $method(self, other: T) -> Given {
                self.with(other, |a, b| a $sign b)
            }
        }
        impl std::ops::$trait<Given> for f64 {
            type Output = Given;
            fn $method(self, other: Given) -> Given {
                Given::from(self) $sign other
            }
        }
    )*};
}
operators!(Add add +, Sub sub -, Mul mul *, Div div /);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_theory_touched_is_handed_on_by_arithmetic() {
        let flag = Given::from(2.0);
        let host = Given::new(3.0, Origin::host());
        let (one, other) = (Origin::condition(7), Origin::condition(70));
        assert!(!(2.0 * flag + 1.0).origin().is_measured());
        let sum = 1.0 - flag / host;
        assert!(sum.origin().is_measured() && !sum.origin().meets(&one));
        assert!((sum.value - 1.0 / 3.0).abs() < 1e-12);
        let both = sum.map(f64::sqrt).and(one).with(flag, f64::max);
        assert!(both.origin().meets(&one) && !both.origin().meets(&other));
        assert!(both.origin().has(7) && !both.origin().has(70));
        assert!(both.fitted().origin().is_fitted() && !both.origin().is_fitted());
        assert!(both.and(other).origin().has(70));
    }

    #[test]
    fn chance_is_handed_on_as_well() {
        let of = |value: f64, blur: f64| Given::from(value).blurred(blur);
        let close = |a: f64, b: f64| (a - b).abs() < 1e-9;
        assert!(close((of(10.0, 3.0) + of(20.0, 4.0)).blur(), 5.0));
        assert!(close((2.0 * of(10.0, 3.0) - 1.0).blur(), 6.0));
        assert!(close((1.0 / of(10.0, 1.0)).blur(), 1.0 / 9.0 - 1.0 / 10.0));
        assert!(close(of(10.0, 1.0).map(|v| v * v).blur(), 21.0));
        assert_eq!(of(1.0, 1.0).map(|v| 1.0 / v).blur(), f64::INFINITY);
        assert_eq!(of(1.0, 2.0).map(f64::sqrt).blur(), f64::INFINITY);
        // A larger one that is far ahead is what the larger one of two is.
        assert!(close(of(10.0, 1.0).with(of(2.0, 0.5), f64::max).blur(), 1.0));
        let trials = Estimate::of(&[9.0, 10.0, 11.0]).unwrap();
        let (lo, hi) = trials.ci95.unwrap();
        assert!(close(Given::from(trials).blur(), (hi - lo) / 2.0));
        assert_eq!(Given::from(Estimate::of(&[9.0]).unwrap()).blur(), 0.0);
    }
}
