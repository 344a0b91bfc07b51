use std::time::Duration;

use exercise_kit::{Answer, Failure, Service};
use tokio::{
    sync::Mutex,
    time::{Instant, sleep_until},
};

/// The lock is kept until the answer has come.
pub struct Limiter {
    gap: Duration,
    saved: Duration,
    next: Mutex<Instant>,
}

impl Limiter {
    pub fn new(per_s: f64, burst: u32) -> Limiter {
        let gap = Duration::from_secs_f64(1.0 / per_s);
        let saved = gap * burst.saturating_sub(1);
        Limiter { gap, saved, next: Mutex::new(Instant::now() - saved) }
    }

    pub async fn get(&self, service: &Service, path: &str) -> Result<Answer, Failure> {
        let mut next = self.next.lock().await;
        *next = (*next).max(Instant::now() - self.saved);
        sleep_until(*next).await;
        *next += self.gap;
        service.get(path).await
    }
}
