//! What readers predict before a run, and how near they come.
//!
//! A prediction is a number under the key of a question. A point of a curve ([`Sketch`]) is one too:
//! its key is that of the curve with the place on the x axis, `goodput@500`. So records of any age
//! hold both alike.

use serde::Serialize;

use crate::{
    answer::Theory,
    card::{Card, Sketch},
    figure::{Body, Colour, Figure, Layer, Line, Panel, Scale, Style},
    findings::{Findings, Table},
    record::Record,
    stats,
    text::number,
};

/// More points of a curve than this are not read.
const MOST: usize = 50;
/// How the table with a reader's curve begins.
pub const YOUR_CURVE: &str = "Your curve";

/// The curve and the place of `goodput@500`.
pub fn place(key: &str) -> Option<(&str, f64)> {
    let (key, x) = key.split_once('@')?;
    let x: f64 = x.trim().parse().ok()?;
    (x.is_finite() && !key.is_empty()).then_some((key, x))
}

impl Sketch {
    /// The points that the reader predicted, x ascending.
    pub fn predicted(&self, record: &Record) -> Vec<(f64, f64)> {
        let mut points: Vec<(f64, f64)> = record
            .predictions
            .iter()
            .filter_map(|(key, value)| {
                let (key, x) = place(key)?;
                (key == self.key && value.is_finite()).then_some((x, *value))
            })
            .collect();
        points.sort_by(|a, b| a.0.total_cmp(&b.0));
        points.dedup_by_key(|point| point.0);
        points.truncate(MOST);
        points
    }

    fn panel_of<'a>(&self, figure: &'a Figure) -> Option<(Scale, &'a Panel)> {
        match &figure.body {
            Body::Panels(panels) if figure.id == self.figure => {
                Some((panels.x.scale, panels.panels.get(self.panel)?))
            }
            _ => None,
        }
    }

    /// What was measured at `x`, read off the line between two measured points as the chart draws it.
    fn measured(&self, findings: &Findings, x: f64) -> Option<f64> {
        let found = findings.figures.iter().find_map(|f| self.panel_of(f));
        let (across, panel) = found?;
        let line = panel.layers.iter().find_map(|layer| match layer {
            Layer::Line(line) if line.style == Style::Measured && line.label == self.line => {
                Some(line)
            }
            _ => None,
        })?;
        read_off(&line.points, x, across, panel.y.scale)
    }

    fn score(&self, record: &Record, findings: &Findings) -> Option<Scored> {
        let points = self.predicted(record).into_iter().map(|(x, said)| Point {
            x: Some(x),
            said,
            measured: self.measured(findings, x),
            theory: None,
        });
        Scored::of(format!("{}@", self.key), self.ask, self.unit, points.collect())
    }

    fn table(&self, scored: &Scored) -> Table {
        let mut table = Table::new(
            &format!("{YOUR_CURVE}: {}", self.ask),
            &[self.x, &format!("you said ({})", self.unit), "measured", "said / measured"],
        );
        for point in &scored.points {
            let x = point.x.map_or(String::new(), number);
            let measured = point.measured.map_or("not measured".into(), number);
            let ratio = point.measured.map(|m| point.said / m);
            let ratio = ratio.map_or("–".into(), number);
            table.row([x, number(point.said), measured, ratio]);
        }
        table.note = match scored.factor {
            Some(factor) => format!(
                "Half of your points are within a factor of {} of the measured curve.",
                number(factor)
            ),
            None => "No point has a ratio to a measured one.".into(),
        };
        table
    }
}

/// A curve between its points, straight on the chart's axes; nothing beyond its ends.
fn read_off(points: &[(f64, f64)], x: f64, across: Scale, up: Scale) -> Option<f64> {
    let flat = |v: f64, scale| match scale {
        Scale::Linear => Some(v),
        Scale::Log => (v > 0.0).then(|| v.ln()),
    };
    if let Some(exact) = points.iter().find(|p| p.0 == x) {
        return Some(exact.1).filter(|y| y.is_finite());
    }
    let (a, b) =
        points.windows(2).map(|pair| (pair[0], pair[1])).find(|(a, b)| a.0 < x && x < b.0)?;
    let (from, to) = (flat(a.0, across)?, flat(b.0, across)?);
    let share = (flat(x, across)? - from) / (to - from);
    let (low, high) = (flat(a.1, up)?, flat(b.1, up)?);
    let y = low + share * (high - low);
    let y = if up == Scale::Log { y.exp() } else { y };
    y.is_finite().then_some(y)
}

/// Draws the reader's curves over the measured ones and tells both in a table.
pub fn draw_over(sketches: &[Sketch], record: &Record, findings: &mut Findings) {
    for sketch in sketches {
        let Some(scored) = sketch.score(record, findings) else {
            continue;
        };
        findings.tables.push(sketch.table(&scored));
        let points = scored.points.iter().filter_map(|p| Some((p.x?, p.said)));
        let line = Line {
            style: Style::Sketch,
            ..Line::measured("your prediction", Colour::Blue, points.collect())
        };
        for figure in &mut findings.figures {
            if sketch.panel_of(figure).is_none() {
                continue;
            }
            figure.desc.push_str(" A dashed line with crosses is what the reader predicted.");
            if let Body::Panels(panels) = &mut figure.body
                && let Some(panel) = panels.panels.get_mut(sketch.panel)
            {
                panel.layers.push(Layer::Line(line.clone()));
            }
        }
    }
}

/// A question, or a point of a curve, with both answers.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Point {
    /// Place on the x axis; null for a question.
    pub x: Option<f64>,
    /// What the reader said.
    pub said: f64,
    /// What was measured; null where nothing was.
    pub measured: Option<f64>,
    /// What theory says; null where it says nothing, and for a point of a curve.
    pub theory: Option<Theory>,
}

impl Point {
    /// See [`factor`].
    pub fn factor(&self) -> Option<f64> {
        factor(self.said, self.measured?)
    }
}

/// A prediction beside the measurement.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Scored {
    /// Key of the question, with an @ at its end for a curve.
    pub key: String,
    /// The question.
    pub ask: String,
    /// Unit of the values.
    pub unit: String,
    /// One for a number, several for a curve.
    pub points: Vec<Point>,
    /// How many times too high or too low, 1 for exactly; the median over the points of a curve. Null
    /// where there is no ratio.
    pub factor: Option<f64>,
}

impl Scored {
    fn of(key: String, ask: &str, unit: &str, points: Vec<Point>) -> Option<Scored> {
        let factors: Vec<f64> = points.iter().filter_map(Point::factor).collect();
        (!points.is_empty()).then(|| Scored {
            key,
            ask: ask.into(),
            unit: unit.into(),
            points,
            factor: (!factors.is_empty()).then(|| stats::median(&factors)),
        })
    }
}

/// Every prediction of a record that the lab asks for, beside what was measured: its questions, then
/// its curves.
pub fn scored(
    card: &Card,
    sketches: &[Sketch],
    record: &Record,
    findings: &Findings,
) -> Vec<Scored> {
    let questions = card.predict.iter().filter_map(|question| {
        let said = *record.predictions.get(question.key)?;
        let answer = findings.answer(question.key);
        let point = Point {
            x: None,
            said,
            measured: answer.and_then(|a| a.measured).map(|e| e.value),
            theory: answer.and_then(|a| a.theory.ok()),
        };
        Scored::of(question.key.into(), &question.asked(&record.params), question.unit, vec![point])
    });
    let curves = sketches.iter();
    questions.chain(curves.filter_map(|sketch| sketch.score(record, findings))).collect()
}

/// How many times too high or too low, at least 1; `None` where one of two is zero or they have
/// different signs.
pub fn factor(said: f64, measured: f64) -> Option<f64> {
    if said == measured {
        return Some(1.0);
    }
    let ratio = said / measured;
    let factor = ratio.max(1.0 / ratio);
    (ratio > 0.0 && factor.is_finite()).then_some(factor)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::figure::{Axis, Panels, Unit};
    use proptest::prelude::*;

    const SKETCH: Sketch = Sketch {
        key: "goodput",
        ask: "Goodput",
        unit: "requests/s",
        hint: "0 to 10",
        x: "clients",
        places: "levels",
        figure: "trap",
        panel: 0,
        line: "goodput",
    };

    #[test]
    fn points_are_asked_for_from_the_first_place_to_the_last() {
        let asked = |levels: &[f64]| SKETCH.asked(&serde_json::json!({ "levels": levels }));
        let ten = [1., 5., 10., 25., 50., 100., 200., 500., 1000., 2000.];
        assert_eq!(asked(&ten), [1., 25., 200., 2000.]);
        assert_eq!(asked(&[20., 4., 1., 4.]), [1., 4., 20.]);
        assert_eq!(asked(&[1., 2., 3., 4., 5.]), [1., 2., 4., 5.]);
        assert!(SKETCH.asked(&serde_json::json!({"levels": "all"})).is_empty());
    }

    #[test]
    fn a_key_says_which_curve_and_where() {
        assert_eq!(place(&SKETCH.key_at(0.5)), Some(("goodput", 0.5)));
        assert_eq!(SKETCH.key_at(100.0), "goodput@100");
        for wrong in ["goodput", "goodput@", "@5", "goodput@x", "goodput@1e999", "goodput@NaN"] {
            assert_eq!(place(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn a_curve_is_read_as_the_chart_draws_it() {
        let points = [(1.0, 10.0), (100.0, 1000.0)];
        let at = |x, across, up| read_off(&points, x, across, up);
        assert_eq!(at(100.0, Scale::Log, Scale::Linear), Some(1000.0));
        assert_eq!(at(10.0, Scale::Log, Scale::Linear), Some(505.0));
        let log = at(10.0, Scale::Log, Scale::Log).unwrap();
        assert!((log - 100.0).abs() < 1e-9);
        assert_eq!(at(50.5, Scale::Linear, Scale::Linear), Some(505.0));
        for beyond in [0.5, 101.0, -1.0] {
            assert_eq!(at(beyond, Scale::Log, Scale::Linear), None);
        }
        assert_eq!(read_off(&[(1.0, f64::NAN)], 1.0, Scale::Log, Scale::Log), None);
    }

    #[test]
    fn twice_too_low_is_as_far_off_as_twice_too_high() {
        assert_eq!(factor(50.0, 100.0), factor(200.0, 100.0));
        assert_eq!(factor(0.0, 0.0), Some(1.0));
        for (said, measured) in [(0.0, 5.0), (5.0, 0.0), (-1.0, 1.0), (1e-300, 1e300)] {
            assert_eq!(factor(said, measured), None);
        }
    }

    fn record(predictions: serde_json::Value) -> Record {
        let host = serde_json::json!({
            "system": "", "cpu": null, "cores": 1, "memory_bytes": null, "open_files": null, "build": "",
            "effective_parallelism": [1.0], "timer_late_ms": 0, "timer_late_p99_ms": 0,
            "spin_jitter_ms": 0, "upstream_ceiling_per_s": 0, "request_overhead_ms": 0,
        });
        serde_json::from_value(serde_json::json!({
            "schema": 1, "lab": "lab03", "params": {}, "scale": "smoke", "seed": 1, "started_at": "",
            "interrupted": false, "predictions": predictions, "host": host, "points": [],
        }))
        .unwrap()
    }

    fn findings() -> Findings {
        let points = vec![(1.0, 20.0), (10.0, 200.0), (100.0, 100.0)];
        let panel = Panel {
            title: String::new(),
            note: String::new(),
            y: Axis::linear("", Unit::Number),
            layers: vec![
                Layer::Line(Line::theory("goodput", Colour::Muted, points.clone())),
                Layer::Line(Line::measured("goodput", Colour::Green, points)),
            ],
            height: 1.0,
        };
        let figure = Figure {
            id: "trap".into(),
            title: String::new(),
            subtitle: String::new(),
            desc: String::new(),
            body: Body::Panels(Panels {
                x: Axis::log("", Unit::Number),
                panels: vec![panel],
                marks: vec![],
            }),
        };
        Findings { figures: vec![figure], ..Findings::default() }
    }

    #[test]
    fn a_curve_is_drawn_over_the_measured_one_and_scored_by_its_median_ratio() {
        let said = serde_json::json!({
            "goodput@1": 20, "goodput@10": 100, "goodput@100": 800, "goodput@5000": 1,
            "goodput": 7, "other@1": 9, "goodput@x": 3,
        });
        let mut with = findings();
        draw_over(&[SKETCH], &record(said), &mut with);
        let Body::Panels(panels) = &with.figures[0].body else { panic!("other figure") };
        let Some(Layer::Line(line)) = panels.panels[0].layers.last() else { panic!("no line") };
        let points = [(1.0, 20.0), (10.0, 100.0), (100.0, 800.0), (5000.0, 1.0)];
        assert_eq!((line.style, line.points.as_slice()), (Style::Sketch, &points[..]));
        let table = &with.tables[0];
        assert!(table.title.starts_with(YOUR_CURVE));
        assert_eq!(table.rows[1], ["10", "100", "200", "0.5"]);
        assert_eq!(table.rows[3], ["5000", "1", "not measured", "–"]);
        assert!(table.note.contains("a factor of 2 "), "{}", table.note);
    }

    /// What was drawn before there were curves to predict is drawn as ever.
    #[test]
    fn without_a_curve_nothing_changes() {
        let mut same = findings();
        draw_over(&[SKETCH], &record(serde_json::json!({"goodput": 7})), &mut same);
        assert_eq!(same.figures, findings().figures);
        assert!(same.tables.is_empty());
    }

    proptest! {
        #[test]
        fn a_factor_is_never_below_one(said: f64, measured: f64) {
            prop_assert!(factor(said, measured).is_none_or(|f| f >= 1.0 && f.is_finite()));
        }

        #[test]
        fn between_two_points_lies_between_their_values(a in 0.1f64..1e3, b in 0.1f64..1e3, x in 1.0f64..100.0) {
            for up in [Scale::Linear, Scale::Log] {
                let y = read_off(&[(1.0, a), (100.0, b)], x, Scale::Log, up).unwrap();
                prop_assert!(a.min(b) * 0.999 <= y && y <= a.max(b) * 1.001);
            }
        }
    }
}
