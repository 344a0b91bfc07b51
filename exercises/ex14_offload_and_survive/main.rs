//! A server on an event loop of one thread: a task for each request, by the exercise's server.

mod exercise;

use std::sync::Arc;

use exercise::Server;
use exercise_kit::harness;

fn main() {
    let line = harness::open();
    harness::event_loop(async {
        let server = Arc::new(Server::new());
        let handle = |request| {
            let server = Arc::clone(&server);
            async move { server.handle(request).await }
        };
        line.jobs().serve_bursts(|job| handle(job.text)).await;
    });
}
