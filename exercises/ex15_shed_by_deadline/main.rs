//! A desk whose questions come in bursts, each with a deadline: a task for each, by the exercise's function.

mod exercise;

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use exercise::Desk;
use exercise_kit::harness::{self, Job};

fn main() {
    let line = harness::open();
    let (workers, millis): (usize, u64) = (line.given("workers"), line.given("service_ms"));
    harness::event_loop(async {
        let desk = Arc::new(Desk::new(line.service(), workers, Duration::from_millis(millis)));
        line.jobs().serve_bursts(|job| answer(Arc::clone(&desk), job)).await;
    });
}

/// A job is a path and so many milliseconds, which count from now.
fn answer(desk: Arc<Desk>, job: Job) -> impl Future<Output = String> {
    let (path, millis) = job.text.split_once(' ').expect("the judge sends two words");
    let millis = millis.parse().expect("the judge sends milliseconds");
    let (path, due) = (path.to_owned(), Instant::now() + Duration::from_millis(millis));
    async move { desk.answer(path, due).await }
}
