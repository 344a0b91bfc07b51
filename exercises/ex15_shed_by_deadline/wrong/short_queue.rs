use std::{
    sync::atomic::{AtomicUsize, Ordering},
    time::{Duration, Instant},
};

use exercise_kit::Service;
use tokio::sync::Semaphore;

/// Answers questions with the help of a service, which takes `service_time` for each.
pub struct Desk {
    service: Service,
    /// So many questions may be with the service at the same time.
    workers: Semaphore,
    /// So many may be there, with the service or waiting for a worker.
    places: usize,
    taken: AtomicUsize,
}

impl Desk {
    pub fn new(service: Service, workers: usize, service_time: Duration) -> Desk {
        let _ = service_time;
        // A short queue is a short wait.
        let places = 2 * workers;
        Desk { service, workers: Semaphore::new(workers), places, taken: AtomicUsize::new(0) }
    }

    /// Returns the service's answer to a question such as `/question/7`, or `late` when it cannot come by `due`. This
    /// is called in a task for each question, as soon as it comes.
    pub async fn answer(&self, path: String, due: Instant) -> String {
        let _ = due;
        if self.taken.fetch_add(1, Ordering::Relaxed) >= self.places {
            self.taken.fetch_sub(1, Ordering::Relaxed);
            return "late".to_owned();
        }
        let worker = self.workers.acquire().await;
        let answer = ask(&self.service, &path).await;
        drop(worker);
        self.taken.fetch_sub(1, Ordering::Relaxed);
        answer
    }
}

async fn ask(service: &Service, path: &str) -> String {
    match service.get(path).await {
        Ok(answer) => answer.body,
        Err(failure) => panic!("{path}: {failure}"),
    }
}
