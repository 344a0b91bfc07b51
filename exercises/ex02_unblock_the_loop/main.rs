//! A small server on an event loop of one thread: a task for each request, by the exercise's function.

mod exercise;

use exercise_kit::harness;

fn main() {
    let line = harness::open();
    harness::event_loop(async {
        line.jobs().serve(|job| exercise::handle(job.text)).await;
    });
}
