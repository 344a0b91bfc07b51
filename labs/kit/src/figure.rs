//! A chart as data: what to show, in the units of the axes, with nothing about how it is drawn.
//!
//! Labs build [`Figure`]s in their pure `explain` step; [`crate::draw`] turns them into SVG and PNG.
//! Coordinates are data coordinates; sizes, fonts and colours in numbers belong to the drawing.

use crate::stats::Estimate;

/// One chart: a file `labNN-<id>.svg` and its PNG.
#[derive(Clone, Debug, PartialEq)]
pub struct Figure {
    /// Short name within the lab, used in file names: lower case, digits and hyphens.
    pub id: String,
    /// The finding, with its number: "Goodput stops growing at 100 clients".
    pub title: String,
    /// Conditions of the experiment and what the marks mean.
    pub subtitle: String,
    /// A sentence or two for readers who cannot see the chart.
    pub desc: String,
    /// What is drawn.
    pub body: Body,
}

/// The kinds of chart.
#[derive(Clone, Debug, PartialEq)]
pub enum Body {
    /// Panels stacked over one shared x axis.
    Panels(Panels),
    /// Who did what when: groups of lanes of spans over one time axis.
    Gantt(Gantt),
    /// Beats of a heartbeat and the gaps between them, a lane per condition.
    Beats(Beats),
    /// One value per named thing, as horizontal bars in groups over one value axis.
    Bars(Bars),
}

/// Panels stacked over one x axis.
#[derive(Clone, Debug, PartialEq)]
pub struct Panels {
    /// The shared horizontal axis.
    pub x: Axis,
    /// Top to bottom.
    pub panels: Vec<Panel>,
    /// Vertical marks drawn through every panel.
    pub marks: Vec<Mark>,
}

/// One panel.
#[derive(Clone, Debug, PartialEq)]
pub struct Panel {
    /// What the panel shows, in bold.
    pub title: String,
    /// Unit or explanation beside the title.
    pub note: String,
    /// The vertical axis.
    pub y: Axis,
    /// Drawn in order: later ones lie on top.
    pub layers: Vec<Layer>,
    /// Relative height; 1.0 is the usual panel, 1.4 a taller one.
    pub height: f64,
}

/// An axis: its scale, its label and how its ticks are written. Ticks are chosen by the drawing
/// unless given.
#[derive(Clone, Debug, PartialEq)]
pub struct Axis {
    /// Written once, at the axis; empty for none.
    pub label: String,
    /// Linear or logarithmic.
    pub scale: Scale,
    /// How a tick is written.
    pub unit: Unit,
    /// Explicit ticks; empty lets the drawing choose round ones.
    pub ticks: Vec<f64>,
    /// Explicit range; `None` takes the data's (a linear axis then starts at zero).
    pub range: Option<(f64, f64)>,
}

/// How data map to the axis.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scale {
    /// Equal steps.
    Linear,
    /// Equal ratios.
    Log,
}

/// How numbers on an axis are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unit {
    /// A plain number; thousands as `2k`.
    Number,
    /// Data in seconds, written as `10 ms`, `1 s`.
    Seconds,
    /// Data in 0…1, written as `50%`.
    Share,
    /// Data as a factor, written as `2×`.
    Factor,
}

/// One thing drawn inside a panel.
#[derive(Clone, Debug, PartialEq)]
pub enum Layer {
    /// A line, with dots at its points when it is measured.
    Line(Line),
    /// A horizontal rule with a label at its left end.
    Rule {
        /// Height in y units.
        y: f64,
        /// Written above the rule.
        label: String,
    },
    /// A shaded stretch of the x axis with a label at its top.
    Region {
        /// Left and right edge in x units.
        x: (f64, f64),
        /// Written at the top of the region; empty for none.
        label: String,
        /// The tint.
        colour: Colour,
    },
}

/// A line through points.
#[derive(Clone, Debug, PartialEq)]
pub struct Line {
    /// Written at the line's right end instead of a legend; empty for none.
    pub label: String,
    /// Its colour.
    pub colour: Colour,
    /// Measured lines are solid with dots, theory is dashed without, simulated ones are dotted
    /// with hollow dots.
    pub style: Style,
    /// (x, y), x ascending. Non-finite y break the line.
    pub points: Vec<(f64, f64)>,
    /// (x, low, high): the interval, as a band; empty for none.
    pub band: Vec<(f64, f64, f64)>,
}

/// What kind of line it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Style {
    /// Solid, with a dot at every point.
    Measured,
    /// Dashed, no dots.
    Theory,
    /// Solid and thin, no dots: dense series.
    Trace,
    /// Dots only.
    Dots,
    /// Hollow dots on a thin dotted line: computed by a simulation in virtual time, not measured.
    /// The label or the panel's note should say "simulated".
    Simulated,
    /// As if drawn by hand: long dashes through crosses. What somebody said, not what was measured. It
    /// widens an axis only so far; the rest lies outside.
    Sketch,
}

/// Okabe-Ito colours (safe for the colour-blind) by role, plus two neutral ones.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum Colour {
    Blue,
    Vermilion,
    Green,
    Purple,
    Sky,
    Orange,
    Ink,
    Muted,
}

/// A vertical mark through all panels: a position with an optional interval.
#[derive(Clone, Debug, PartialEq)]
pub struct Mark {
    /// Position in x units.
    pub x: f64,
    /// Shaded interval round it.
    pub interval: Option<(f64, f64)>,
    /// Written beside the mark in the first panel.
    pub label: String,
    /// Its colour.
    pub colour: Colour,
}

/// A Gantt chart: groups (one per condition) of lanes over one time axis in seconds.
#[derive(Clone, Debug, PartialEq)]
pub struct Gantt {
    /// Top to bottom.
    pub groups: Vec<Group>,
}

/// One condition of a Gantt chart.
#[derive(Clone, Debug, PartialEq)]
pub struct Group {
    /// The condition.
    pub title: String,
    /// Explanation beside the title.
    pub note: String,
    /// Top to bottom.
    pub lanes: Vec<Lane>,
    /// Where it ended, in seconds, drawn as a line with its time.
    pub end: Option<f64>,
    /// Where theory says it ends, in seconds, drawn dashed.
    pub predicted_end: Option<f64>,
}

/// One lane: a thread, a stage, a worker.
#[derive(Clone, Debug, PartialEq)]
pub struct Lane {
    /// Its name, at the left.
    pub label: String,
    /// Colour of the name; a bar has its own.
    pub colour: Colour,
    /// What happened, in any order; bars of one lane may overlap only if the drawing may stack them.
    pub bars: Vec<Bar>,
}

/// One stretch of work or waiting.
#[derive(Clone, Debug, PartialEq)]
pub struct Bar {
    /// Start in seconds from the group's beginning.
    pub start: f64,
    /// End in seconds.
    pub end: f64,
    /// Written inside when there is room.
    pub label: String,
    /// Its colour.
    pub colour: Colour,
    /// Hatched instead of filled: waiting, not working.
    pub waiting: bool,
}

/// Heartbeats: a lane per condition over one time axis in seconds.
#[derive(Clone, Debug, PartialEq)]
pub struct Beats {
    /// End of the time axis in seconds.
    pub until: f64,
    /// A gap longer than this many seconds is drawn as a bar.
    pub threshold: f64,
    /// Top to bottom.
    pub lanes: Vec<BeatLane>,
}

/// One condition of a heartbeat chart.
#[derive(Clone, Debug, PartialEq)]
pub struct BeatLane {
    /// The condition.
    pub title: String,
    /// A second, smaller line.
    pub note: String,
    /// Instants of the beats in seconds, ascending.
    pub beats: Vec<f64>,
    /// Longest gap in seconds, written at the right with ✓ (up to the threshold) or ✗.
    pub longest_gap: f64,
}

/// A bar chart: groups of named values over one horizontal value axis.
///
/// A bar starts at zero. A logarithmic axis has none, so there each value is a dot.
#[derive(Clone, Debug, PartialEq)]
pub struct Bars {
    /// The value axis; its unit is also that of the values written at the bars.
    pub x: Axis,
    /// Top to bottom.
    pub groups: Vec<BarGroup>,
}

/// Bars that belong together: one load, one scenario.
#[derive(Clone, Debug, PartialEq)]
pub struct BarGroup {
    /// What they have in common; empty for none.
    pub label: String,
    /// Explanation beside the label.
    pub note: String,
    /// Top to bottom.
    pub bars: Vec<ValueBar>,
}

/// One named value.
#[derive(Clone, Debug, PartialEq)]
pub struct ValueBar {
    /// Its name, at the left.
    pub label: String,
    /// Length of the bar, written at its end. What is not finite is written as a dash.
    pub value: f64,
    /// Its interval, as a thin whisker.
    pub interval: Option<(f64, f64)>,
    /// What theory says, as a dashed tick with its value beside the bar's.
    pub theory: Option<f64>,
    /// Its colour.
    pub colour: Colour,
    /// An outline instead of a filled bar: simulated, not measured. The chart says so.
    pub hollow: bool,
}

impl Figure {
    /// A chart with its finding as the title, so far without anything drawn.
    pub fn new(id: impl Into<String>, title: impl Into<String>) -> Figure {
        Figure {
            id: id.into(),
            title: title.into(),
            subtitle: String::new(),
            desc: String::new(),
            body: Body::Panels(Panels { x: Unit::Number.into(), panels: vec![], marks: vec![] }),
        }
    }

    /// Conditions of the experiment and what the marks mean.
    pub fn subtitle(self, subtitle: impl Into<String>) -> Figure {
        Figure { subtitle: subtitle.into(), ..self }
    }

    /// A sentence or two for readers who cannot see the chart.
    pub fn desc(self, desc: impl Into<String>) -> Figure {
        Figure { desc: desc.into(), ..self }
    }

    /// Drawn so.
    pub fn body(self, body: Body) -> Figure {
        Figure { body, ..self }
    }

    /// Panels over one axis, top to bottom.
    pub fn over(self, x: impl Into<Axis>, panels: impl IntoIterator<Item = Panel>) -> Figure {
        let panels = Panels { x: x.into(), panels: panels.into_iter().collect(), marks: vec![] };
        self.body(Body::Panels(panels))
    }

    /// The same panels with these vertical marks through them.
    pub fn marks(mut self, marks: impl IntoIterator<Item = Mark>) -> Figure {
        if let Body::Panels(panels) = &mut self.body {
            panels.marks.extend(marks);
        }
        self
    }

    /// Named values as bars over one axis.
    pub fn bars(self, x: impl Into<Axis>, groups: impl IntoIterator<Item = BarGroup>) -> Figure {
        let (x, groups) = (x.into(), groups.into_iter().collect());
        self.body(Body::Bars(Bars { x, groups }))
    }

    /// Who did what when.
    pub fn gantt(self, groups: impl IntoIterator<Item = Group>) -> Figure {
        let groups = groups.into_iter().collect();
        self.body(Body::Gantt(Gantt { groups }))
    }
}

impl Panel {
    /// An empty panel of the usual height. A unit alone is a linear axis from zero.
    pub fn new(title: impl Into<String>, y: impl Into<Axis>) -> Panel {
        Panel { title: title.into(), note: String::new(), y: y.into(), layers: vec![], height: 1.0 }
    }

    /// Unit or explanation beside the title.
    pub fn note(self, note: impl Into<String>) -> Panel {
        Panel { note: note.into(), ..self }
    }

    /// So many times as high as the usual panel.
    pub fn height(self, height: f64) -> Panel {
        Panel { height, ..self }
    }

    /// On top of what it has.
    pub fn layer(mut self, layer: impl Into<Layer>) -> Panel {
        self.layers.push(layer.into());
        self
    }

    /// On top of what it has, in this order.
    pub fn layers<L: Into<Layer>>(mut self, layers: impl IntoIterator<Item = L>) -> Panel {
        self.layers.extend(layers.into_iter().map(Into::into));
        self
    }
}

impl Layer {
    /// A horizontal rule with its label.
    pub fn rule(y: f64, label: impl Into<String>) -> Layer {
        let label = label.into();
        Layer::Rule { y, label }
    }

    /// A shaded stretch of the x axis.
    pub fn region(x: (f64, f64), label: impl Into<String>, colour: Colour) -> Layer {
        let label = label.into();
        Layer::Region { x, label, colour }
    }
}

impl From<Line> for Layer {
    fn from(line: Line) -> Layer {
        Layer::Line(line)
    }
}

impl Mark {
    /// A vertical mark without an interval.
    pub fn at(x: f64, label: impl Into<String>, colour: Colour) -> Mark {
        Mark { x, interval: None, label: label.into(), colour }
    }
}

impl BarGroup {
    /// Bars that belong together.
    pub fn new(label: impl Into<String>, bars: impl IntoIterator<Item = ValueBar>) -> BarGroup {
        BarGroup { label: label.into(), note: String::new(), bars: bars.into_iter().collect() }
    }

    /// Explanation beside the label.
    pub fn note(self, note: impl Into<String>) -> BarGroup {
        BarGroup { note: note.into(), ..self }
    }
}

impl ValueBar {
    /// What was measured.
    pub fn measured(label: &str, colour: Colour, value: f64) -> ValueBar {
        ValueBar { label: label.into(), value, interval: None, theory: None, colour, hollow: false }
    }

    /// What a simulation in virtual time gave.
    pub fn simulated(label: &str, colour: Colour, value: f64) -> ValueBar {
        ValueBar { hollow: true, ..ValueBar::measured(label, colour, value) }
    }

    /// The same bar with its interval, if there is one.
    pub fn with_interval(self, interval: Option<(f64, f64)>) -> ValueBar {
        ValueBar { interval, ..self }
    }

    /// The same bar with what theory says.
    pub fn with_theory(self, theory: f64) -> ValueBar {
        ValueBar { theory: Some(theory), ..self }
    }
}

impl From<Unit> for Axis {
    fn from(unit: Unit) -> Axis {
        Axis::linear("", unit)
    }
}

impl Axis {
    /// A linear axis from zero.
    pub fn linear(label: &str, unit: Unit) -> Axis {
        Axis { label: label.into(), scale: Scale::Linear, unit, ticks: vec![], range: None }
    }

    /// The whole range of a share.
    pub fn share() -> Axis {
        Axis::linear("", Unit::Share).with_range(0.0, 1.0)
    }

    /// A logarithmic axis over the data's range.
    pub fn log(label: &str, unit: Unit) -> Axis {
        Axis { label: label.into(), scale: Scale::Log, unit, ticks: vec![], range: None }
    }

    /// The same axis with these ticks.
    pub fn with_ticks(self, ticks: impl Into<Vec<f64>>) -> Axis {
        Axis { ticks: ticks.into(), ..self }
    }

    /// The same axis over this range.
    pub fn with_range(self, low: f64, high: f64) -> Axis {
        Axis { range: Some((low, high)), ..self }
    }
}

impl Line {
    /// What was measured: solid, with dots.
    pub fn measured(label: &str, colour: Colour, points: Vec<(f64, f64)>) -> Line {
        Line { label: label.into(), colour, style: Style::Measured, points, band: vec![] }
    }

    /// What was measured at each x, with its intervals as a band; what is missing is left out.
    pub fn of_estimates(
        label: &str,
        colour: Colour,
        values: impl IntoIterator<Item = (f64, Option<Estimate>)>,
    ) -> Line {
        let values = values.into_iter();
        let values: Vec<_> = values.filter_map(|(x, e)| Some((x, e?))).collect();
        let points = values.iter().map(|(x, e)| (*x, e.value)).collect();
        let band = values.iter();
        let band = band.filter_map(|(x, e)| e.ci95.map(|(low, high)| (*x, low, high)));
        Line::measured(label, colour, points).with_band(band.collect())
    }

    /// What was seen at every look: a line without points.
    pub fn trace(label: &str, colour: Colour, points: Vec<(f64, f64)>) -> Line {
        Line { style: Style::Trace, ..Line::measured(label, colour, points) }
    }

    /// What theory says: dashed.
    pub fn theory(label: &str, colour: Colour, points: Vec<(f64, f64)>) -> Line {
        Line { label: label.into(), colour, style: Style::Theory, points, band: vec![] }
    }

    /// What a simulation gave: hollow dots on a thin dotted line.
    pub fn simulated(label: &str, colour: Colour, points: Vec<(f64, f64)>) -> Line {
        Line { label: label.into(), colour, style: Style::Simulated, points, band: vec![] }
    }

    /// The same line, broken at a place that nobody measured, between the points on its two sides.
    pub fn broken(mut self, at: f64, beyond: impl Fn(f64) -> bool) -> Line {
        let first = self.points.iter().position(|(x, _)| beyond(*x));
        if let Some(first) = first.filter(|first| *first > 0) {
            self.points.insert(first, (at, f64::NAN));
        }
        self
    }

    /// The same line with its interval.
    pub fn with_band(self, band: Vec<(f64, f64, f64)>) -> Line {
        Line { band, ..self }
    }
}
