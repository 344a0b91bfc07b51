//! Reads items as they are asked for, by the exercise's function.

mod exercise;

use std::time::Duration;

use exercise_kit::harness;

fn main() {
    let line = harness::open();
    let hedge_after = Duration::from_millis(line.given("hedge_after_ms"));
    harness::event_loop(async {
        let service = line.service();
        let read = |item: String| exercise::read(service.clone(), item, hedge_after);
        line.jobs().serve(|job| read(job.text)).await;
    });
}
