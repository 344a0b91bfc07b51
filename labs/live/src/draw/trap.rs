//! The trap as a picture.

use super::{Chart, Figure, Line, number};
use crate::engine::trap::{SPAN, View};

pub(super) fn figures(view: &View) -> Vec<Figure> {
    let now = view.now();
    vec![
        Figure {
            class: "good",
            name: "Goodput",
            value: number(now.good),
            unit: "/s",
            theory: Some(format!("{}/s", number(now.theory))),
        },
        Figure {
            class: "attempts",
            name: "Attempts",
            value: number(now.attempts),
            unit: "/s",
            theory: None,
        },
        Figure {
            class: "lost",
            name: "Too late",
            value: number(now.late),
            unit: "/s",
            theory: None,
        },
        Figure {
            class: "lost",
            name: "Refused",
            value: number(now.refused),
            unit: "/s",
            theory: None,
        },
        Figure {
            class: "backlog",
            name: "In the service",
            value: number(view.backlog as f64),
            unit: "",
            theory: None,
        },
    ]
}

pub(super) fn pictures(view: &View) -> String {
    let now = view.now();
    let line = |class, steps, label: String, of: fn(&crate::engine::trap::Sample) -> f64| Line {
        class,
        points: view.samples().map(|(age, s)| (age, of(&s))).collect(),
        steps,
        label,
    };
    Chart {
        id: "trap",
        title: "Goodput and attempts over the last 30 seconds".into(),
        desc: format!(
            "Goodput now {} a second, attempts {} a second. The slots allow {} a second; theory \
             expects a goodput of {} a second.",
            number(now.good),
            number(now.attempts),
            number(now.capacity),
            number(now.theory)
        ),
        span: SPAN,
        unit: " a second",
        least: 20.0,
        lines: vec![
            line("capacity", true, format!("capacity {}", number(now.capacity)), |s| s.capacity),
            line("theory", true, String::new(), |s| s.theory),
            line("attempts", false, format!("attempts {}", number(now.attempts)), |s| s.attempts),
            line("good", false, format!("goodput {}", number(now.good)), |s| s.good),
        ],
        stems: Vec::new(),
        lanes: Vec::new(),
    }
    .svg()
}
