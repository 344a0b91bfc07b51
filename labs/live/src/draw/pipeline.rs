//! The pipeline as a picture: stages and queues, and below them the throughput.

use std::fmt::Write;

use super::{Chart, Figure, Line, number};
use crate::engine::pipeline::{SPAN, STAGES, StageView, View};

/// Width of a stage and of a queue, in per cent of the picture.
const STAGE: f64 = 23.0;
const QUEUE: f64 = 15.5;

pub(super) fn figures(view: &View) -> Vec<Figure> {
    vec![
        Figure {
            class: "good",
            name: "Throughput",
            value: number(view.throughput()),
            unit: "/s",
            theory: Some(format!("{}/s", number(view.theory()))),
        },
        Figure {
            class: "backlog",
            name: "Items in the line",
            value: number(view.inside as f64),
            unit: "",
            theory: None,
        },
        Figure {
            class: "backlog",
            name: "Time through the line",
            value: view.through_s().map_or("–".into(), number),
            unit: "s",
            theory: None,
        },
    ]
}

pub(super) fn pictures(view: &View) -> String {
    let line = |class, steps, label, points| Line { class, points, steps, label };
    let chart = Chart {
        id: "throughput",
        title: "Items finished a second, over the last 30 seconds".into(),
        desc: format!(
            "Now {} a second; theory allows {} a second.",
            number(view.throughput()),
            number(view.theory())
        ),
        span: SPAN,
        unit: " items a second",
        least: 5.0,
        lines: vec![
            line(
                "theory",
                true,
                format!("theory {}", number(view.theory())),
                view.lines().map(|(age, s)| (age, s.theory)).collect(),
            ),
            line(
                "good",
                false,
                format!("measured {}", number(view.throughput())),
                view.lines().map(|(age, s)| (age, s.rate)).collect(),
            ),
        ],
        stems: Vec::new(),
        lanes: Vec::new(),
    };
    stages(view) + &chart.svg()
}

fn stages(view: &View) -> String {
    let described: Vec<String> = view
        .stages
        .iter()
        .zip(STAGES)
        .map(|(stage, (name, _))| {
            format!(
                "{name}: {} of {} workers busy, {:.0} % over the last seconds",
                stage.busy,
                stage.width,
                100.0 * stage.busy_share
            )
        })
        .collect();
    let slowest =
        view.bottleneck().map_or(String::new(), |i| format!(" The bottleneck is {}.", STAGES[i].0));
    let mut svg = format!(
        "<svg class=\"line\" role=\"img\" aria-labelledby=\"line-t line-d\">\
         <title id=\"line-t\">Three stages with queues between them</title>\
         <desc id=\"line-d\">{}.{slowest}</desc>",
        described.join("; ")
    );
    for (i, stage) in view.stages.iter().enumerate() {
        let left = i as f64 * (STAGE + QUEUE);
        draw_stage(&mut svg, left, STAGES[i].0, stage, view.bottleneck() == Some(i));
        if let Some(queue) = view.queues.get(i) {
            draw_queue(&mut svg, left + STAGE, *queue);
        }
    }
    svg.push_str("</svg>");
    svg
}

fn draw_stage(svg: &mut String, left: f64, name: &str, stage: &StageView, slowest: bool) {
    let hot = if slowest { " hottest" } else { "" };
    let middle = left + STAGE / 2.0;
    let _ = write!(
        svg,
        "<rect class=\"stage{hot}\" x=\"{left:.1}%\" y=\"4%\" width=\"{STAGE}%\" height=\"74%\" rx=\"6\"/>\
         <text class=\"name\" x=\"{middle:.1}%\" y=\"21%\">{name}</text>\
         <text class=\"share\" x=\"{middle:.1}%\" y=\"43%\">{:.0} %</text>\
         <text class=\"note\" x=\"{middle:.1}%\" y=\"55%\">busy</text>",
        100.0 * stage.busy_share
    );
    // One cell a worker: at work, holding an item the next queue has no room for, waiting.
    let cell = (STAGE - 2.0) / stage.width.max(6) as f64;
    let start = middle - cell * stage.width as f64 / 2.0;
    for worker in 0..stage.width {
        let look = match worker {
            w if w < stage.busy => "at-work",
            w if w < stage.busy + stage.stuck => "stuck",
            _ => "idle",
        };
        let _ = write!(
            svg,
            "<rect class=\"{look}\" x=\"{:.2}%\" y=\"61%\" width=\"{:.2}%\" height=\"12%\"/>",
            start + worker as f64 * cell + 0.15,
            cell - 0.3
        );
    }
    let below = if slowest {
        "bottleneck".to_owned()
    } else if stage.stuck * 2 > stage.width {
        "held up".to_owned()
    } else {
        String::new()
    };
    let _ = write!(svg, "<text class=\"note{hot}\" x=\"{middle:.1}%\" y=\"95%\">{below}</text>");
}

fn draw_queue(svg: &mut String, left: f64, (filled, places): (usize, usize)) {
    let (x, width) = (left + 1.5, QUEUE - 3.0);
    let share = (filled as f64 / places.max(1) as f64).clamp(0.0, 1.0);
    let _ = write!(
        svg,
        "<text class=\"note\" x=\"{:.1}%\" y=\"27%\">queue</text>\
         <rect class=\"queue\" x=\"{x:.1}%\" y=\"33%\" width=\"{width:.1}%\" height=\"16%\"/>\
         <rect class=\"filled\" x=\"{x:.1}%\" y=\"33%\" width=\"{:.2}%\" height=\"16%\"/>\
         <text class=\"note\" x=\"{:.1}%\" y=\"61%\">{filled}/{places}</text>",
        x + width / 2.0,
        width * share,
        x + width / 2.0,
    );
}
