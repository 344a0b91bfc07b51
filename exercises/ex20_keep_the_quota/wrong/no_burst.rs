use std::time::Duration;

use exercise_kit::{Answer, Failure, Service};
use tokio::{
    sync::Mutex,
    time::{Instant, sleep_until},
};

/// One after another, a gap apart.
pub struct Limiter {
    gap: Duration,
    next: Mutex<Instant>,
}

impl Limiter {
    pub fn new(per_s: f64, _burst: u32) -> Limiter {
        Limiter { gap: Duration::from_secs_f64(1.0 / per_s), next: Mutex::new(Instant::now()) }
    }

    pub async fn get(&self, service: &Service, path: &str) -> Result<Answer, Failure> {
        self.wait().await;
        service.get(path).await
    }

    async fn wait(&self) {
        let mut next = self.next.lock().await;
        *next = (*next).max(Instant::now());
        sleep_until(*next).await;
        *next += self.gap;
    }
}
