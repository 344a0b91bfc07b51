//! A cache whose users come in bursts, some of them impatient: a task for each, by the exercise's function.

mod exercise;

use std::{sync::Arc, time::Duration};

use exercise::Cache;
use exercise_kit::harness::{self, Job};
use tokio::time::timeout;

fn main() {
    let line = harness::open();
    let ttl: u64 = line.given("ttl_ms");
    harness::event_loop(async {
        let cache = Arc::new(Cache::new(line.service(), Duration::from_millis(ttl)));
        line.jobs().serve_bursts(|job| get(Arc::clone(&cache), job)).await;
    });
}

/// A job is a path and for how many milliseconds its user waits. Then the call is dropped.
fn get(cache: Arc<Cache>, job: Job) -> impl Future<Output = String> {
    let (path, millis) = job.text.split_once(' ').expect("the judge sends two words");
    let patience = Duration::from_millis(millis.parse().expect("the judge sends milliseconds"));
    let path = path.to_owned();
    async move {
        match timeout(patience, cache.get(path)).await {
            Ok(Some(answer)) => answer,
            Ok(None) => "failed".to_owned(),
            Err(_) => "gone".to_owned(),
        }
    }
}
