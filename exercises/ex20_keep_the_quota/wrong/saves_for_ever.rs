use std::time::Duration;

use exercise_kit::{Answer, Failure, Service};
use tokio::{
    sync::Mutex,
    time::{Instant, sleep_until},
};

/// Every request has an instant of its own, and none is ever given up.
pub struct Limiter {
    gap: Duration,
    next: Mutex<Instant>,
}

impl Limiter {
    pub fn new(per_s: f64, burst: u32) -> Limiter {
        let gap = Duration::from_secs_f64(1.0 / per_s);
        Limiter { gap, next: Mutex::new(Instant::now() - gap * burst.saturating_sub(1)) }
    }

    pub async fn get(&self, service: &Service, path: &str) -> Result<Answer, Failure> {
        self.wait().await;
        service.get(path).await
    }

    async fn wait(&self) {
        let mut next = self.next.lock().await;
        sleep_until(*next).await;
        *next += self.gap;
    }
}
