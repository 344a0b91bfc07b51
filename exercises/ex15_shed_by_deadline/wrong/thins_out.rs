use std::{
    sync::atomic::{AtomicU64, Ordering},
    time::{Duration, Instant},
};

use exercise_kit::Service;
use tokio::sync::Semaphore;

/// Answers questions with the help of a service, which takes `service_time` for each.
pub struct Desk {
    service: Service,
    service_time: Duration,
    /// So many questions may be with the service at the same time.
    workers: Semaphore,
    came: AtomicU64,
}

impl Desk {
    pub fn new(service: Service, workers: usize, service_time: Duration) -> Desk {
        let came = AtomicU64::new(0);
        Desk { service, service_time, workers: Semaphore::new(workers), came }
    }

    /// Returns the service's answer to a question such as `/question/7`, or `late` when it cannot come by `due`. This
    /// is called in a task for each question, as soon as it comes.
    pub async fn answer(&self, path: String, due: Instant) -> String {
        // With fewer of them, the others have a chance: every fourth one has to go.
        if self.came.fetch_add(1, Ordering::Relaxed) % 4 == 3 {
            return "late".to_owned();
        }
        let _worker = self.workers.acquire().await;
        if Instant::now() + self.service_time > due {
            return "late".to_owned();
        }
        ask(&self.service, &path).await
    }
}

async fn ask(service: &Service, path: &str) -> String {
    match service.get(path).await {
        Ok(answer) => answer.body,
        Err(failure) => panic!("{path}: {failure}"),
    }
}
