//! A chart of the latest seconds that fits any width: shapes in a box that stretches, texts at their
//! own size. Looks come from classes alone, since the page allows no style but its own file.

use crate::text::number;
use std::fmt::Write;

/// Where values begin and end, in thousandths of the height.
const TOP: f64 = 120.0;
/// Least distance of two labels, in thousandths of the height.
const APART: f64 = 95.0;

/// A chart over the latest `span` seconds.
pub struct Chart {
    /// Unique on the page.
    pub id: &'static str,
    /// What it shows, for those who cannot see it.
    pub title: String,
    /// What it says, for the same.
    pub desc: String,
    /// Seconds from the left edge to now.
    pub span: f64,
    /// The unit of the values, written at the highest tick.
    pub unit: &'static str,
    /// The axis reaches at least this far.
    pub least: f64,
    /// The curves, lowest first.
    pub lines: Vec<Line>,
    /// Vertical strokes from the base line up to a value: age in seconds, value.
    pub stems: Vec<(f64, f64)>,
    /// Rows beneath the values.
    pub lanes: Vec<Lane>,
}

/// A curve.
pub struct Line {
    /// Its look.
    pub class: &'static str,
    /// Age in seconds and value, oldest first.
    pub points: Vec<(f64, f64)>,
    /// It holds its value until the next one.
    pub steps: bool,
    /// Written at its end on the right.
    pub label: String,
}

/// A row of marks beneath the values.
pub struct Lane {
    /// Written at its left end.
    pub label: &'static str,
    /// The look of its marks.
    pub class: &'static str,
    /// From and to, as ages in seconds; the same twice is a stroke.
    pub spans: Vec<(f64, f64)>,
}

impl Chart {
    /// The SVG.
    pub fn svg(&self) -> String {
        let id = self.id;
        let scale = self.scale();
        let mut svg = format!(
            "<svg class=\"chart\" role=\"img\" aria-labelledby=\"{id}-t {id}-d\">\
             <title id=\"{id}-t\">{}</title><desc id=\"{id}-d\">{}</desc>",
            self.title, self.desc
        );
        self.shapes(&mut svg, &scale);
        self.texts(&mut svg, &scale);
        svg.push_str("</svg>");
        svg
    }

    fn scale(&self) -> Scale {
        let highest = self.highest();
        Scale {
            span: self.span,
            highest,
            step: step(highest),
            floor: if self.lanes.is_empty() { 900.0 } else { 660.0 },
        }
    }

    /// All that stretches.
    fn shapes(&self, svg: &mut String, scale: &Scale) {
        svg.push_str(
            "<svg viewBox=\"0 0 1000 1000\" preserveAspectRatio=\"none\" width=\"100%\" height=\"100%\">",
        );
        let ticks = scale.ticks();
        let grid: String = ticks.map(|v| format!("M0 {:.0}H1000", scale.up(v))).collect();
        shape(svg, "grid", &grid);
        if !self.stems.is_empty() {
            let stem = |(age, v): &(f64, f64)| {
                let (x, y) = (scale.across(*age), scale.up(*v) - 4.0);
                format!("M{x:.0} {:.0}V{y:.0}", scale.floor)
            };
            let stems: String = self.stems.iter().map(stem).collect();
            shape(svg, "stem", &stems);
        }
        for line in &self.lines {
            let d = path(line, |age| scale.across(age), |v| scale.up(v));
            shape(svg, line.class, &d);
        }
        for (i, lane) in self.lanes.iter().enumerate() {
            shape(svg, lane.class, &marks(lane, lane_at(i), scale));
        }
        svg.push_str("</svg>");
    }

    /// All that keeps its size.
    fn texts(&self, svg: &mut String, scale: &Scale) {
        for v in scale.ticks() {
            let last = v + scale.step > scale.highest * 1.001;
            let unit = if last { self.unit } else { "" };
            let _ = write!(
                svg,
                "<text class=\"tick\" y=\"{:.1}%\" dy=\"-4\">{}{unit}</text>",
                scale.up(v) / 10.0,
                number(v)
            );
        }
        for (i, lane) in self.lanes.iter().enumerate() {
            let _ = write!(
                svg,
                "<text class=\"tick\" y=\"{:.1}%\" dy=\"2\">{}</text>",
                lane_at(i) / 10.0,
                lane.label
            );
        }
        self.ends(svg, scale);
        let _ = write!(
            svg,
            "<text class=\"tick\" y=\"100%\" dy=\"-6\">{:.0} s ago</text>\
             <text class=\"end tick\" x=\"100%\" dx=\"-4\" y=\"100%\" dy=\"-6\">now</text>",
            self.span
        );
    }

    /// The labels of the curves, above their ends.
    fn ends(&self, svg: &mut String, scale: &Scale) {
        let named: Vec<&Line> = self
            .lines
            .iter()
            .filter(|line| !line.label.is_empty() && !line.points.is_empty())
            .collect();
        let mut heights: Vec<f64> = named
            .iter()
            .map(|line| scale.up(line.points.last().map_or(0.0, |p| p.1)) - 18.0)
            .collect();
        apart(&mut heights, APART, 60.0, scale.floor - 15.0);
        for (line, y) in named.iter().zip(heights) {
            let _ = write!(
                svg,
                "<text class=\"end {}\" x=\"100%\" dx=\"-4\" y=\"{:.1}%\">{}</text>",
                line.class,
                y / 10.0,
                line.label
            );
        }
    }

    /// The end of the axis: a little above everything.
    fn highest(&self) -> f64 {
        let lines = self.lines.iter().flat_map(|line| line.points.iter());
        let values = lines.chain(&self.stems).map(|p| p.1);
        let most = values.filter(|v| v.is_finite()).fold(self.least, f64::max);
        let step = step(most * 1.02);
        (most * 1.02 / step).ceil() * step
    }
}

/// Where things stand, in thousandths of the width and of the height.
struct Scale {
    /// Seconds from the left edge to now.
    span: f64,
    /// The end of the axis.
    highest: f64,
    /// From tick to tick.
    step: f64,
    /// The base line.
    floor: f64,
}

impl Scale {
    fn across(&self, age: f64) -> f64 {
        1000.0 * (1.0 - age / self.span).clamp(0.0, 1.0)
    }

    fn up(&self, value: f64) -> f64 {
        self.floor - (self.floor - TOP) * (value / self.highest).clamp(0.0, 1.05)
    }

    /// Values from 0 to the end of the axis.
    fn ticks(&self) -> impl Iterator<Item = f64> {
        (0..).map(|i| f64::from(i) * self.step).take_while(|v| *v <= self.highest * 1.001)
    }
}

/// The upper edge of a lane, in thousandths of the height.
fn lane_at(i: usize) -> f64 {
    715.0 + 115.0 * i as f64
}

fn shape(svg: &mut String, class: &str, d: &str) {
    let _ = write!(svg, "<path class=\"{class}\" d=\"{d}\"/>");
}

/// A lane's boxes and strokes, beneath its label.
fn marks(lane: &Lane, at: f64, scale: &Scale) -> String {
    let (from, to) = (at + 20.0, at + 75.0);
    let mut d = String::new();
    for (a, b) in &lane.spans {
        let _ = if (a - b).abs() < 1e-9 {
            write!(d, "M{:.0} {from:.0}V{to:.0}", scale.across(*a))
        } else {
            let (a, b) = (scale.across(*a), scale.across(*b));
            write!(d, "M{a:.0} {from:.0}H{b:.0}V{to:.0}H{a:.0}Z")
        };
    }
    d
}

fn path(line: &Line, across: impl Fn(f64) -> f64, up: impl Fn(f64) -> f64) -> String {
    let mut d = String::new();
    let mut last = None;
    for (age, value) in &line.points {
        let (x, y) = (across(*age), up(*value));
        let _ = match last {
            None => write!(d, "M{x:.0} {y:.0}"),
            Some(_) if !line.steps => write!(d, "L{x:.0} {y:.0}"),
            Some(before) if before != y => write!(d, "H{x:.0}V{y:.0}"),
            Some(_) => Ok(()),
        };
        last = Some(y);
    }
    if let (true, Some((age, _))) = (line.steps, line.points.last()) {
        let _ = write!(d, "H{:.0}", across(*age));
    }
    d
}

/// The distance of ticks, 1, 2 or 5 times a power of ten, so that there are two to five.
fn step(max: f64) -> f64 {
    let raw = (max / 4.0).max(1e-9);
    let power = 10f64.powf(raw.log10().floor());
    let times = [1.0, 2.0, 5.0, 10.0].into_iter().find(|t| t * power >= raw * 0.999);
    times.unwrap_or(10.0) * power
}

/// Moves heights so that none is nearer than `gap` to another, inside `low..=high` where they fit,
/// in the order they had.
fn apart(heights: &mut [f64], gap: f64, low: f64, high: f64) {
    let mut order: Vec<usize> = (0..heights.len()).collect();
    order.sort_by(|a, b| heights[*a].total_cmp(&heights[*b]));
    let mut least = low;
    for i in &order {
        heights[*i] = heights[*i].max(least);
        least = heights[*i] + gap;
    }
    let mut most = high;
    for i in order.iter().rev() {
        heights[*i] = heights[*i].min(most);
        most = heights[*i] - gap;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn numbers() {
        let shown = [0.0, 0.02, 0.26, 4.0, 9.96, 99.7, 1234.4, -3.0].map(number);
        assert_eq!(shown, ["0", "0", "0.3", "4", "10", "100", "1,234", "0"].map(String::from));
        assert_eq!(number(f64::NAN), "–");
    }

    proptest! {
        #[test]
        fn labels_do_not_touch(mut at in prop::collection::vec(0.0..1000.0f64, 0..6)) {
            let before = at.clone();
            apart(&mut at, 95.0, 60.0, 885.0);
            let mut sorted = at.clone();
            sorted.sort_by(f64::total_cmp);
            prop_assert!(sorted.windows(2).all(|w| w[1] - w[0] > 94.999));
            prop_assert!(sorted.iter().all(|y| (59.9..885.1).contains(y)));
            for i in 0..at.len() {
                for j in 0..at.len() {
                    prop_assert!(before[i] >= before[j] || at[i] < at[j]);
                }
            }
        }

        #[test]
        fn few_ticks_at_round_numbers(max in 1e-3..1e6f64) {
            let count = (max / step(max)).floor();
            prop_assert!((1.0..=4.1).contains(&count), "{count}");
        }
    }

    #[test]
    fn a_step_line_writes_a_value_once() {
        let line = Line {
            class: "theory",
            points: vec![(3.0, 1.0), (2.0, 1.0), (1.0, 2.0), (0.0, 2.0)],
            steps: true,
            label: String::new(),
        };
        let d = path(&line, |age| 10.0 - age, |v| v);
        assert_eq!(d, "M7 1H9V2H10");
    }
}
