//! The heartbeat as a picture.

use super::{Chart, Figure, Lane, Line, number};
use crate::engine::heartbeat::{SPAN, View};

pub(super) fn figures(view: &View) -> Vec<Figure> {
    vec![
        Figure {
            class: "good",
            name: "This beat is late by",
            value: number(view.late_now_ms()),
            unit: "ms",
            theory: None,
        },
        Figure {
            class: "attempts",
            name: "Worst of the last 8 s",
            value: number(view.worst_ms()),
            unit: "ms",
            theory: Some(view.theory_text()),
        },
        Figure {
            class: "lost",
            name: "Late by over 5 ms",
            value: number(100.0 * view.late_share()),
            unit: "%",
            theory: None,
        },
    ]
}

pub(super) fn pictures(view: &View) -> String {
    let place =
        if view.on_loop() { "computing on the loop" } else { "computing on another thread" };
    Chart {
        id: "heartbeat",
        title: "How late each beat came, over the last 8 seconds".into(),
        desc: format!(
            "The worst of the last 8 seconds came {} ms late; theory: {}. Beneath, when the beats came \
             and when the program was computing.",
            number(view.worst_ms()),
            view.theory_text()
        ),
        span: SPAN,
        unit: " ms late",
        least: 20.0,
        lines: vec![Line {
            class: "theory",
            points: view.theory_ms(),
            steps: true,
            label: if view.theory_ms().is_empty() {
                String::new()
            } else {
                format!("theory: {}", view.theory_text())
            },
        }],
        stems: view.stems_ms(),
        lanes: vec![
            Lane {
                label: "beats as they came",
                class: "beats",
                spans: view.beats(),
            },
            Lane {
                label: place,
                class: if view.on_loop() { "hot" } else { "cool" },
                spans: view.computing(),
            },
        ],
    }
    .svg()
}
