//! The judge's items go through the exercise's pipeline.

mod exercise;

use exercise_kit::harness;

fn main() {
    let line = harness::open();
    let (items, rounds, places) = (line.list("items"), line.given("rounds"), line.given("places"));
    harness::event_loop(async {
        exercise::pipeline(line.service(), items, rounds, places).await;
        line.end();
    });
}
