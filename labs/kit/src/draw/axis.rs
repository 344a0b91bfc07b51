//! Ranges and ticks.

use super::number;
use crate::figure::{Axis, Scale, Unit};

/// Beyond this, differences and ratios would overflow.
const LARGEST: f64 = 1e150;
/// Ticks never exceed this, whatever the range.
const MAX_TICKS: f64 = 200.0;

/// A finite, non-empty range and its scale.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Span {
    pub low: f64,
    pub high: f64,
    pub scale: Scale,
}

/// Which way an axis runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Way {
    Across,
    Up,
}

#[derive(Clone, Debug, PartialEq)]
pub(super) struct Tick {
    pub at: f64,
    pub label: String,
}

/// The next of 1, 2, 5 times a power of ten.
fn round_up(v: f64) -> f64 {
    let power = 10f64.powi(v.log10().floor() as i32);
    let digit = [1.0, 2.0, 5.0].into_iter().find(|d| d * power >= v * (1.0 - 1e-9));
    digit.unwrap_or(10.0) * power
}

impl Span {
    fn usable(scale: Scale, v: f64) -> bool {
        match scale {
            Scale::Linear => v.abs() <= LARGEST,
            Scale::Log => (1.0 / LARGEST..=LARGEST).contains(&v),
        }
    }

    /// The range of an axis for these data. `room` is its length in pixels.
    pub fn new(axis: &Axis, data: impl Iterator<Item = f64>, way: Way, room: f64) -> Span {
        let scale = axis.scale;
        if let Some((a, b)) = axis.range {
            let span = Span { low: a.min(b), high: a.max(b), scale };
            if Self::usable(scale, a) && Self::usable(scale, b) && span.is_wide() {
                return span;
            }
        }
        let ticks = axis.ticks.iter().copied();
        let used = data.chain(ticks).filter(|v| Self::usable(scale, *v));
        let range = used.fold(None, |range, v| match range {
            None => Some((v, v)),
            Some((low, high)) => Some((v.min(low), v.max(high))),
        });
        match (scale, range) {
            (Scale::Linear, None) => Span { low: 0.0, high: 1.0, scale },
            (Scale::Log, None) => Span { low: 1.0, high: 10.0, scale },
            (Scale::Linear, Some((low, high))) => {
                Self::linear(axis, low.min(0.0), high.max(0.0), way, room)
            }
            (Scale::Log, Some((low, high))) => {
                let wide = Span { low, high, scale }.is_wide();
                let (low, high) = if wide { (low, high) } else { (low / 2.0, high * 2.0) };
                let margin = (high / low).powf(if way == Way::Up { 0.04 } else { 0.015 });
                Span { low: low / margin, high: high * margin, scale }
            }
        }
    }

    /// A linear range that includes zero, with a little room beyond the data.
    fn linear(axis: &Axis, low: f64, high: f64, way: Way, room: f64) -> Span {
        let exact = Span { low, high, scale: Scale::Linear };
        if high - low < 1.0 / LARGEST {
            return Span { high: 1.0, low: 0.0, ..exact };
        }
        let explicit = |v: f64| axis.ticks.contains(&v);
        let step = exact.step(way, room);
        let beyond = |v: f64| {
            if v == 0.0 || explicit(v) || axis.unit == Unit::Share && v == 1.0 {
                return v;
            }
            let tick = (v.abs() / step).ceil() * step * v.signum();
            if way == Way::Up && (tick - v).abs() < 0.3 * step && (tick - v).abs() > 0.01 * step {
                return tick;
            }
            v + v.signum() * (high - low) * if way == Way::Up { 0.05 } else { 0.015 }
        };
        Span { low: beyond(low), high: beyond(high), ..exact }
    }

    fn is_wide(&self) -> bool {
        match self.scale {
            Scale::Linear => self.high - self.low > 1e-9 * self.high.abs().max(self.low.abs()),
            Scale::Log => self.high > self.low * (1.0 + 1e-9),
        }
    }

    /// 0 at the low end, 1 at the high end; `None` for what this axis cannot show.
    pub fn share(&self, v: f64) -> Option<f64> {
        if !Self::usable(self.scale, v) {
            return None;
        }
        let share = match self.scale {
            Scale::Linear => (v - self.low) / (self.high - self.low),
            Scale::Log => (v / self.low).ln() / (self.high / self.low).ln(),
        };
        share.is_finite().then(|| share.clamp(-1e3, 1e3))
    }

    fn holds(&self, v: f64) -> bool {
        self.share(v).is_some_and(|s| (-1e-9..=1.0 + 1e-9).contains(&s))
    }

    fn step(&self, way: Way, room: f64) -> f64 {
        let spacing = if way == Way::Up { 38.0 } else { 75.0 };
        round_up((self.high - self.low) / (room / spacing).max(1.0))
    }

    fn linear_ticks(&self, step: f64) -> Vec<f64> {
        let (first, last) = ((self.low / step - 1e-9).ceil(), (self.high / step + 1e-9).floor());
        if !(first..=first + MAX_TICKS).contains(&last) {
            return vec![self.low, self.high];
        }
        (0..=(last - first) as usize).map(|i| (first + i as f64) * step).collect()
    }

    fn log_ticks(&self, way: Way, room: f64) -> (Vec<f64>, Option<f64>) {
        let (low, high) = (self.low.log10(), self.high.log10());
        let per_decade = room / (high - low);
        let fine = per_decade > if way == Way::Up { 80.0 } else { 150.0 };
        let digits: &[f64] = if fine { &[1.0, 2.0, 5.0] } else { &[1.0] };
        let least = if way == Way::Up { 24.0 } else { 60.0 };
        let every = (least / per_decade).ceil().max(1.0) as i32;
        let decades = (low.floor() as i32..=high.ceil() as i32).filter(|d| d % every == 0);
        // Dividing by a power of ten is exact where multiplying by 0.001 is not.
        let times = |digit: f64, d: i32| {
            if d < 0 { digit / 10f64.powi(-d) } else { digit * 10f64.powi(d) }
        };
        let all = decades.flat_map(|d| digits.iter().map(move |digit| times(*digit, d)));
        let ticks: Vec<f64> = all.filter(|v| self.holds(*v)).take(MAX_TICKS as usize).collect();
        if ticks.len() >= 2 {
            return (ticks, None);
        }
        let step = self.step(way, room);
        (self.linear_ticks(step), Some(step))
    }

    /// The ticks inside the range, ascending.
    pub fn ticks(&self, axis: &Axis, way: Way, room: f64) -> Vec<Tick> {
        let (values, step) = if axis.ticks.is_empty() {
            match self.scale {
                Scale::Linear => {
                    let step = self.step(way, room);
                    (self.linear_ticks(step), Some(step))
                }
                Scale::Log => self.log_ticks(way, room),
            }
        } else {
            let mut given: Vec<f64> =
                axis.ticks.iter().copied().filter(|v| self.holds(*v)).collect();
            given.sort_by(f64::total_cmp);
            given.dedup();
            given.truncate(MAX_TICKS as usize);
            let even = even_step(&given).filter(|_| self.scale == Scale::Linear);
            (given, even)
        };
        let labels = number::ticks(&values, step, axis.unit);
        values.into_iter().zip(labels).map(|(at, label)| Tick { at, label }).collect()
    }
}

/// The step of evenly spaced ticks.
fn even_step(ticks: &[f64]) -> Option<f64> {
    let step = ticks.get(1)? - ticks.first()?;
    let even = |w: &[f64]| ((w[1] - w[0]) / step - 1.0).abs() < 1e-6;
    ticks.windows(2).all(even).then_some(step)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(axis: &Axis, data: &[f64], room: f64) -> Vec<f64> {
        let span = Span::new(axis, data.iter().copied(), Way::Up, room);
        span.ticks(axis, Way::Up, room).into_iter().map(|t| t.at).collect()
    }

    #[test]
    fn linear_ticks_are_round_and_start_at_zero() {
        let axis = Axis::linear("", Unit::Number);
        assert_eq!(
            at(&axis, &[2400.0, 300.0], 240.0),
            [0.0, 500.0, 1000.0, 1500.0, 2000.0, 2500.0]
        );
        assert_eq!(at(&axis, &[], 100.0).len(), 3);
    }

    #[test]
    fn log_ticks_are_decades_and_finer_when_there_is_room() {
        let axis = Axis::log("", Unit::Number);
        assert_eq!(at(&axis, &[0.005, 5.0], 170.0), [0.01, 0.1, 1.0]);
        assert_eq!(at(&axis, &[1.0, 9.0], 170.0), [1.0, 2.0, 5.0]);
        assert_eq!(at(&axis, &[-5.0, f64::NAN, 3.0, 4.0], 170.0), [3.0, 3.5, 4.0]);
    }

    #[test]
    fn odd_ranges_are_ignored() {
        for range in [(1.0, 1.0), (f64::NAN, 2.0), (-1.0, f64::INFINITY)] {
            let axis = Axis::linear("", Unit::Number).with_range(range.0, range.1);
            let span = Span::new(&axis, [4.0].into_iter(), Way::Up, 100.0);
            assert!(span.low == 0.0 && span.high >= 4.0);
        }
        let swapped = Axis::linear("", Unit::Number).with_range(9.0, 3.0);
        assert_eq!(Span::new(&swapped, [].into_iter(), Way::Up, 100.0).low, 3.0);
    }
}
