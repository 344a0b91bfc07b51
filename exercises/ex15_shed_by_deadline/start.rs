use std::time::{Duration, Instant};

use exercise_kit::Service;
use tokio::sync::Semaphore;

/// Answers questions with the help of a service, which takes `service_time` for each.
pub struct Desk {
    service: Service,
    /// So many questions may be with the service at the same time.
    workers: Semaphore,
}

impl Desk {
    pub fn new(service: Service, workers: usize, service_time: Duration) -> Desk {
        let _ = service_time;
        Desk { service, workers: Semaphore::new(workers) }
    }

    /// Returns the service's answer to a question such as `/question/7`, or `late` when it cannot come by `due`. This
    /// is called in a task for each question, as soon as it comes.
    pub async fn answer(&self, path: String, due: Instant) -> String {
        let _ = due;
        let _worker = self.workers.acquire().await;
        ask(&self.service, &path).await
    }
}

async fn ask(service: &Service, path: &str) -> String {
    match service.get(path).await {
        Ok(answer) => answer.body,
        Err(failure) => panic!("{path}: {failure}"),
    }
}
