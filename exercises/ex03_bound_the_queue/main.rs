//! A front end whose orders come in bursts: a task for each order, by the exercise's function.

mod exercise;

use std::sync::Arc;

use exercise::FrontEnd;
use exercise_kit::harness;

fn main() {
    let line = harness::open();
    let (slots, places): (usize, usize) = (line.given("slots"), line.given("places"));
    harness::event_loop(async {
        let front = Arc::new(FrontEnd::new(line.service(), slots, places));
        let handle = |order| {
            let front = Arc::clone(&front);
            async move { front.handle(order).await }
        };
        line.jobs().serve_bursts(|job| handle(job.text)).await;
    });
}
