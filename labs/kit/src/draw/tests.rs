//! Tests of whole drawings.

use std::collections::HashSet;

use proptest::prelude::*;

use super::canvas::{EDGE, Op, WIDTH};
use super::place::Rect;
use super::samples::{POINTS, TIMES, bars, beats, figure, gantt, panel, panels, samples};
use super::*;
use crate::figure::{Axis, Colour, Gantt, Layer, Line, Mark, Panels, Unit};

/// Draws and checks what must hold for every figure.
fn check(figure: &Figure) -> Drawing {
    let drawing = draw(figure, "lab00").expect("any figure can be drawn");
    let flat = theme::flat(&drawing.plain, Theme::Light);
    // resvg renders nothing for what it cannot parse, so parse both as XML.
    for svg in [&drawing.svg, &flat] {
        let tree = resvg::usvg::Tree::from_str(svg, &resvg::usvg::Options::default());
        tree.expect("well-formed SVG");
        assert!(!svg.contains("\"#F17A"), "a sentinel colour is left");
    }
    let (canvas, height) = lay_out(figure);
    assert!((0.0..6000.0).contains(&height), "height {height}");
    let whole = Rect { left: EDGE - 0.1, top: 0.0, right: WIDTH - EDGE + 0.1, bottom: height };
    for op in &canvas.ops {
        if let Op::Text { text, rect, .. } = op {
            assert!(whole.holds(rect), "{text:?} leaves the canvas: {rect:?}");
        }
    }
    drawing
}

/// Pairs of texts that lie on each other.
fn overlaps(figure: &Figure) -> Vec<(String, String)> {
    let (canvas, _) = lay_out(figure);
    let texts: Vec<(&String, Rect)> = canvas
        .ops
        .iter()
        .filter_map(|op| match op {
            Op::Text { text, rect, font, .. } => {
                // Ink, not line height.
                let height = 0.8 * font.size;
                Some((text, Rect::round(rect.middle(), rect.width(), height)))
            }
            _ => None,
        })
        .collect();
    let mut found = Vec::new();
    for (i, (text, rect)) in texts.iter().enumerate() {
        for (other, second) in &texts[i + 1..] {
            if rect.shared(second) > 0.5 {
                found.push(((*text).clone(), (*other).clone()));
            }
        }
    }
    found
}

#[test]
fn the_same_figure_gives_the_same_bytes() {
    for figure in samples("label") {
        let (a, b) = (check(&figure), check(&figure.clone()));
        assert_eq!(a.svg, b.svg);
        let png = |d: &Drawing| d.png(Theme::Dark, 1.0).expect("a picture");
        assert_eq!(png(&a), png(&b));
    }
}

#[test]
fn the_svg_is_themed_and_says_what_it_shows() {
    let svg = check(&panels("label", &POINTS)).svg;
    for part in [
        "role=\"img\"",
        "<title id=\"lab00-test-title\">label</title>",
        "<desc id=",
        "prefers-color-scheme:dark",
        "var(--lab-ink,#1B1F24)",
        "stroke-dasharray",
    ] {
        assert!(svg.contains(part), "{part} is missing");
    }
}

#[test]
fn light_and_dark_pictures_differ_and_scale() {
    let drawing = check(&panels("label", &POINTS));
    let light = drawing.png(Theme::Light, 1.0).expect("a picture");
    assert_ne!(light, drawing.png(Theme::Dark, 1.0).expect("a picture"));
    // The header chunk holds the width.
    assert_eq!(light[16..20], 880u32.to_be_bytes());
    for scale in [0.0, -1.0, f32::NAN, f32::INFINITY, 1e9] {
        assert!(drawing.png(Theme::Light, scale).is_err(), "scale {scale}");
    }
}

#[test]
fn hostile_texts_stay_text() {
    let long = "word ".repeat(500);
    let unbroken = "x".repeat(100_000);
    let texts = [
        "<script>alert('1')</script>",
        "a & b &amp; \"#F17A01\" ]]> <!-- -->",
        "\0\u{1}\u{8}\u{b}\u{c}\u{1b}[31m\u{7f}\u{9f}\u{fffe}\u{ffff}",
        "\u{202e}backwards\u{2066} line\nbreak\ttab",
        "🦀👩‍👩‍👧‍👦漢字 e\u{301}",
        "</svg>",
        "   ",
        "",
        &long,
        &unbroken,
    ];
    for text in texts {
        for figure in samples(text) {
            let drawing = check(&figure);
            assert!(!drawing.svg.contains("<script"));
            assert!(!drawing.svg.contains("fill=\"var(--lab-ink,#1B1F24)\" ]]"));
            drawing.png(Theme::Light, 0.2).expect("a picture");
        }
    }
}

#[test]
fn long_labels_end_in_an_ellipsis() {
    for figure in samples(&"a rather long label ".repeat(30)) {
        assert!(check(&figure).svg.contains('…'));
    }
}

#[test]
fn degenerate_data_can_be_drawn() {
    let (nan, inf) = (f64::NAN, f64::INFINITY);
    let sets: [&[(f64, f64)]; 8] = [
        &[],
        &[(3.0, 3.0)],
        &[(2.0, 0.0), (3.0, 0.0)],
        &[(nan, nan), (inf, -inf), (1.0, nan)],
        &[(-2.0, -3.0), (0.0, 0.0), (4.0, -1.0)],
        &[(1.0, f64::MAX), (2.0, f64::MIN), (3.0, f64::MIN_POSITIVE), (4.0, 5e-324)],
        &[(1e16, 1e16), (1e16 + 2.0, 1e16 + 2.0)],
        &[(9.0, 1.0), (1.0, 9.0), (1.0, 2.0)],
    ];
    for points in sets {
        check(&panels("label", points)).png(Theme::Light, 0.5).expect("a picture");
        let times: Vec<f64> = points.iter().map(|p| p.1).collect();
        check(&gantt("label", &times, 2));
        check(&beats("label", &times, 2));
        check(&bars("label", &times, Axis::linear("", Unit::Share)));
        check(&bars("label", &times, Axis::log("", Unit::Number)));
    }
    check(&gantt("label", &TIMES, 0));
    check(&beats("label", &TIMES, 0));
    let empty = Panels { x: Axis::linear("x", Unit::Number), panels: vec![], marks: vec![] };
    check(&figure(Body::Panels(empty)));
    check(&figure(Body::Gantt(Gantt { groups: vec![] })));
    check(&bars("label", &[], Axis::linear("", Unit::Number)));
}

#[test]
fn many_points_are_thinned() {
    let wave = |i: u32| (f64::from(i) + 1.0, 2.0 + f64::from(i * 7919 % 1000) / 1000.0);
    let points: Vec<_> = (0..100_000).map(wave).collect();
    let svg = check(&panels("label", &points)).svg;
    assert!(svg.len() < 2_000_000, "{} bytes", svg.len());
    let times: Vec<f64> = (0..100_000).map(|i| f64::from(i) * 1e-5).collect();
    assert!(check(&gantt("label", &times, 2)).svg.len() < 2_000_000);
    assert!(check(&beats("label", &times, 2)).svg.len() < 100_000);
}

#[test]
fn lanes_left_out_are_counted() {
    assert!(check(&gantt("label", &TIMES, 300)).svg.contains("… and 276 more lanes, not shown"));
    assert!(check(&beats("label", &TIMES, 300)).svg.contains("… and 270 more lanes, not shown"));
    assert!(
        check(&bars("label", &[1.0; 300], Axis::linear("", Unit::Factor)))
            .svg
            .contains("… and 276 more bars, not shown")
    );
}

#[test]
fn labels_do_not_overlap() {
    let lines = |ends: &[f64]| -> Vec<Layer> {
        let line =
            |end: &f64| Line::measured("a series", Colour::Blue, vec![(1.0, 1.0), (9.0, *end)]);
        ends.iter().map(line).map(Layer::Line).collect()
    };
    let mark = |x: f64| Mark {
        x,
        interval: None,
        label: "a mark with a label".into(),
        colour: Colour::Purple,
    };
    let crowded = Panels {
        x: Axis::log("x", Unit::Number).with_ticks((1..10).map(f64::from).collect::<Vec<_>>()),
        panels: vec![
            panel(Axis::linear("", Unit::Number), lines(&[2.0; 12])),
            panel(Axis::log("", Unit::Seconds), lines(&[1.0, 1.1, 1.2, 9.0, 9.1])),
        ],
        marks: vec![mark(2.0), mark(2.1), mark(2.3)],
    };
    let early =
        Panels { x: Axis::linear("x", Unit::Number).with_range(0.0, 20.0), ..crowded.clone() };
    let ticks = (1..200).map(|i| f64::from(i) / 20.0).collect::<Vec<_>>();
    let ticks = Panels { x: crowded.x.clone().with_ticks(ticks), ..crowded.clone() };
    let mut all: Vec<Figure> = [crowded, early, ticks].map(Body::Panels).map(figure).into();
    all.extend([gantt("job", &TIMES, 1), gantt("job", &[0.9, 0.1, 0.95], 4)]);
    all.extend([beats("beat", &TIMES, 8), panels("label", &POINTS)]);
    all.extend(samples(&"a rather long label ".repeat(9)));
    for figure in all {
        check(&figure);
        assert_eq!(overlaps(&figure), []);
    }
}

#[test]
fn a_bar_starts_at_zero_and_says_its_value_and_theory() {
    let axis = Axis::linear("", Unit::Factor);
    let chart = bars("arm", &[2.0, -1.0, f64::NAN], axis);
    let svg = check(&chart).svg;
    for part in ["2×", "theory 2.10×", "-1×", "simulated, theory -0.900×", "–"] {
        assert!(svg.contains(part), "{part} is missing");
    }
    let (canvas, _) = lay_out(&chart);
    let filled: Vec<Rect> = canvas
        .ops
        .iter()
        .filter_map(|op| match op {
            Op::Box { rect, paint: Paint::Blue, .. } => Some(*rect),
            _ => None,
        })
        .collect();
    // Two bars a group; what is not a number has none.
    let [up, down, ..] = filled[..] else { panic!("{} bars", filled.len()) };
    assert_eq!(filled.len(), 4);
    assert!((up.left - down.right).abs() < 1e-9);
    assert!((up.width() / down.width() - 2.0).abs() < 1e-9);
}

#[test]
fn simulated_points_are_hollow_on_a_dotted_line() {
    let mut figure = panels("label", &POINTS);
    let Body::Panels(panels) = &mut figure.body else { unreachable!() };
    panels.marks.clear();
    panels.panels.truncate(1);
    let dots = |figure: &Figure| {
        let ops = lay_out(figure).0.ops;
        ops.iter().filter(|op| matches!(op, Op::Dot { paint: Paint::Paper, .. })).count()
    };
    let line = Line::simulated("simulated", Colour::Blue, POINTS.to_vec());
    panels.panels[0].layers = vec![Layer::Line(line)];
    assert!(check(&figure).svg.contains("stroke-dasharray=\"5 12\""));
    assert_eq!(dots(&figure), POINTS.len());
}

#[test]
fn a_line_on_top_of_another_is_drawn_only_where_it_departs() {
    let first: Vec<_> = (1..10).map(|i| (f64::from(i), 5.0)).collect();
    let second = first.iter().map(|&(x, y)| (x, if x > 6.0 { y - 2.0 } else { y })).collect();
    let layers = vec![
        Layer::Line(Line::measured("first", Colour::Blue, first)),
        Layer::Line(Line::measured("second", Colour::Vermilion, second)),
    ];
    let panels = vec![panel(Axis::linear("", Unit::Number), layers)];
    let x = Axis::linear("", Unit::Number);
    let (canvas, _) = lay_out(&figure(Body::Panels(Panels { x, panels, marks: vec![] })));
    let lines = canvas.ops.iter().filter_map(|op| match op {
        Op::Line { points, stroke } if stroke.paint == Paint::Vermilion => Some(points.len()),
        _ => None,
    });
    // The departing piece, from the last common point, and the label's leader.
    assert_eq!(lines.collect::<Vec<_>>(), [4, 2]);
}

#[test]
fn ids_hold_nothing_that_ends_an_attribute() {
    let mut figure = panels("label", &POINTS);
    figure.id = "a\" onload=\"x <".into();
    let svg = check(&figure).svg;
    assert!(svg.contains("aria-labelledby=\"lab00-a--onload--x---title"));
    let ids: HashSet<_> = svg.split(" id=\"").skip(1).map(|s| s.split('"').next()).collect();
    assert_eq!(ids.len(), 2);
}

fn any_number() -> impl Strategy<Value = f64> {
    prop_oneof![
        4 => any::<f64>(),
        4 => -10.0..1000.0,
        1 => prop::sample::select(vec![
            f64::NAN, f64::INFINITY, f64::NEG_INFINITY, 0.0, -0.0, f64::MAX, f64::MIN_POSITIVE,
        ]),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn arbitrary_numbers_never_panic(
        points in prop::collection::vec((any_number(), any_number()), 0..30),
        range in prop::option::of((any_number(), any_number())),
        ticks in prop::collection::vec(any_number(), 0..6),
        log in any::<bool>(),
        text in ".{0,20}",
    ) {
        let mut figure = panels(&text, &points);
        if let Body::Panels(panels) = &mut figure.body {
            let scale = if log { Axis::log } else { Axis::linear };
            panels.x = Axis { range, ..scale(&text, Unit::Seconds).with_ticks(ticks.clone()) };
            let numbers: Vec<f64> = points.iter().flat_map(|p| [p.0, p.1]).collect();
            for (i, panel) in panels.panels.iter_mut().enumerate() {
                panel.height = numbers.get(i).copied().unwrap_or(1.0);
                panel.y = Axis { range, ..panel.y.clone().with_ticks(ticks.clone()) };
            }
            if let [a, b, c, ..] = numbers[..] {
                panels.marks[0] = Mark { x: a, interval: Some((b, c)), ..panels.marks[0].clone() };
            }
        }
        check(&figure);
        let times: Vec<f64> = points.iter().map(|p| p.1).collect();
        check(&gantt(&text, &times, 3));
        let mut beating = beats(&text, &times, 3);
        if let (Body::Beats(beats), Some((low, high))) = (&mut beating.body, range) {
            (beats.until, beats.threshold) = (low, high);
        }
        check(&beating);
        let axis = if log { Axis::log } else { Axis::linear };
        let axis = Axis { range, ..axis(&text, Unit::Share).with_ticks(ticks) };
        check(&bars(&text, &times, axis));
    }
}
