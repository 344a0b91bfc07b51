//! Figures for the tests.

use crate::figure::{
    Axis, Bar, BarGroup, Bars, BeatLane, Beats, Body, Colour, Figure, Gantt, Group, Lane, Layer,
    Line, Mark, Panel, Panels, Style, Unit, ValueBar,
};

pub(super) fn figure(body: Body) -> Figure {
    Figure {
        id: "test".into(),
        title: "Goodput stops growing at 100 clients".into(),
        subtitle: "Synthetic".into(),
        desc: "Two lines.".into(),
        body,
    }
}

pub(super) fn panel(y: Axis, layers: Vec<Layer>) -> Panel {
    Panel { title: "Title".into(), note: "note".into(), y, layers, height: 1.0 }
}

/// Panels with everything a panel may hold; all texts are `text`.
pub(super) fn panels(text: &str, points: &[(f64, f64)]) -> Figure {
    let band = points.iter().map(|p| (p.0, p.1 - 1.0, p.1 + 1.0)).collect();
    let line = |style| Line {
        label: text.into(),
        colour: Colour::Blue,
        style,
        points: points.to_vec(),
        band: vec![],
    };
    let layers = vec![
        Layer::Region { x: (2.0, 5.0), label: text.into(), colour: Colour::Sky },
        Layer::Line(Line::measured(text, Colour::Green, points.to_vec()).with_band(band)),
        Layer::Line(line(Style::Theory)),
        Layer::Line(line(Style::Trace)),
        Layer::Line(line(Style::Dots)),
        Layer::Line(line(Style::Simulated)),
        Layer::Line(line(Style::Sketch)),
        Layer::Rule { y: 3.0, label: text.into() },
    ];
    let mut first = panel(Axis::linear(text, Unit::Seconds), layers.clone());
    first.title = text.into();
    first.note = text.into();
    let interval = Some((2.5, 3.5));
    let mark = Mark { x: 3.0, interval, label: text.into(), colour: Colour::Purple };
    let mut all = figure(Body::Panels(Panels {
        x: Axis::log(text, Unit::Number),
        panels: vec![first, panel(Axis::log(text, Unit::Number), layers)],
        marks: vec![mark.clone(), Mark { x: 3.2, ..mark }],
    }));
    all.title = text.into();
    all.subtitle = text.into();
    all.desc = text.into();
    all
}

pub(super) fn gantt(text: &str, times: &[f64], lanes: usize) -> Figure {
    let bars: Vec<Bar> = times
        .windows(2)
        .enumerate()
        .map(|(i, t)| Bar {
            start: t[0],
            end: t[1],
            label: text.into(),
            colour: Colour::Vermilion,
            waiting: i % 2 == 1,
        })
        .collect();
    let lane = Lane { label: text.into(), colour: Colour::Blue, bars };
    let group = Group {
        title: text.into(),
        note: text.into(),
        lanes: vec![lane; lanes],
        end: times.last().copied(),
        predicted_end: times.first().copied(),
    };
    figure(Body::Gantt(Gantt { groups: vec![group; 2] }))
}

pub(super) fn beats(text: &str, times: &[f64], lanes: usize) -> Figure {
    let lane = BeatLane {
        title: text.into(),
        note: text.into(),
        beats: times.to_vec(),
        longest_gap: times.iter().copied().fold(0.0, f64::max),
    };
    let threshold = 0.03;
    figure(Body::Beats(Beats { until: 1.0, threshold, lanes: vec![lane; lanes] }))
}

/// Two groups with a bar for each value, every other one simulated.
pub(super) fn bars(text: &str, values: &[f64], axis: Axis) -> Figure {
    let bar = |(i, value): (usize, &f64)| ValueBar {
        label: text.into(),
        value: *value,
        interval: Some((value * 0.9, value * 1.1)),
        theory: Some(value + 0.1),
        colour: Colour::Blue,
        hollow: i % 2 == 1,
    };
    let group = BarGroup {
        label: text.into(),
        note: text.into(),
        bars: values.iter().enumerate().map(bar).collect(),
    };
    let bare = BarGroup { label: String::new(), note: String::new(), ..group.clone() };
    figure(Body::Bars(Bars { x: axis, groups: vec![group, bare] }))
}

pub(super) const POINTS: [(f64, f64); 5] =
    [(1.0, 1.0), (2.0, 2.0), (4.0, 3.5), (8.0, 3.0), (9.0, 2.5)];
pub(super) const TIMES: [f64; 6] = [0.0, 0.01, 0.02, 0.2, 0.21, 0.9];

pub(super) fn samples(text: &str) -> Vec<Figure> {
    vec![
        panels(text, &POINTS),
        gantt(text, &TIMES, 3),
        beats(text, &TIMES, 3),
        bars(text, &TIMES, Axis::linear(text, Unit::Factor)),
        bars(text, &TIMES, Axis::log(text, Unit::Seconds)),
    ]
}
