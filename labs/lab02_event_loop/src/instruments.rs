//! What is written down of a trial: how long somebody was busy, and what a running program can tell about itself.

use lab_kit::prelude::*;
use tokio::runtime::Runtime;
use tokio_metrics::TaskMonitor;

use super::gauges;

/// When each busy task was busy, from its own clock, and how long all of them were.
pub(super) fn busy(r: &Recorder, blocks: &[(Instant, Instant)]) {
    for (from, to) in blocks {
        r.span("busy", "busy", *from, *to);
    }
    // As measured by the busy tasks themselves; of several, the time in which all of them were.
    let (last, first) = (blocks.iter().map(|b| b.0).max(), blocks.iter().map(|b| b.1).min());
    let together = first.zip(last).map_or(0.0, |(first, last)| (first - last).as_secs_f64());
    r.gauge(gauges::BUSY_S, together);
}

/// What a program in production can tell about itself.
pub(super) fn told(r: &Recorder, runtime: &Runtime, monitor: &TaskMonitor, wall: Duration) {
    let metrics = runtime.metrics();
    let workers = metrics.num_workers();
    let busy: Duration = (0..workers).map(|w| metrics.worker_total_busy_duration(w)).sum();
    let share = busy.as_secs_f64() / wall.as_secs_f64() / workers as f64;
    r.gauge(gauges::BUSY_SHARE, share);
    let polls = monitor.cumulative();
    r.gauge(gauges::POLL_S, polls.total_poll_duration.as_secs_f64());
    r.gauge(gauges::SLOW_POLLS, polls.total_slow_poll_count as f64);
    let slow = polls.total_slow_poll_duration;
    r.gauge(gauges::SLOW_POLL_S, slow.as_secs_f64());
}
