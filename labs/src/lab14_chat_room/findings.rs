//! Theory beside measurement for lab14.

use lab_kit::prelude::*;

use super::Params;

pub(super) fn explain(p: &Params, summary: &Summary) -> Findings {
    let mut table = Table::new("t", &["arm", "users", "p50", "p90", "p99", "max", "busy", "missed", "left", "disc", "recv/meant", "disorder", "server", "users", "answer", "solved/failed", "wall"]);
    for series in ["quiet", "inline", "spawn_blocking", "rayon", "process", "killed", "losses"] {
        for k in summary.series(series) {
            let g = |n: &str| cell(k.gauge(n), number);
            table.row([
                series.into(), number(k.x()),
                cell(k.latency(0.5), seconds), cell(k.latency(0.9), seconds), cell(k.latency(0.99), seconds), cell(k.latency(1.0), seconds),
                g("busy_s"), g("missed_heartbeats"), g("users_left"), g("users_disconnected"),
                format!("{}/{}", g("messages_received"), g("messages_meant")), g("messages_in_disorder"), g("server_busy_share"), g("users_busy_share"), g("answer_s"),
                format!("{}/{}", g("jobs_solved"), g("jobs_failed")), cell(k.wall_s(), seconds),
            ]);
        }
    }
    let _ = p;
    Findings { headline: "draft".into(), tables: vec![table], ..Findings::default() }
}
