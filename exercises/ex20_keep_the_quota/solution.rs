use std::time::Duration;

use exercise_kit::{Answer, Failure, Service};
use tokio::{
    sync::Mutex,
    time::{Instant, sleep_until},
};

/// Keeps to a quota: `per_s` requests a second, and up to `burst` at once after a pause.
pub struct Limiter {
    gap: Duration,
    saved: Duration,
    /// When the next request is due.
    next: Mutex<Instant>,
}

impl Limiter {
    pub fn new(per_s: f64, burst: u32) -> Limiter {
        let gap = Duration::from_secs_f64(1.0 / per_s);
        let saved = gap * burst.saturating_sub(1);
        Limiter { gap, saved, next: Mutex::new(Instant::now() - saved) }
    }

    /// Asks for a path when it is time for one more request. Many tasks call this at the same time.
    pub async fn get(&self, service: &Service, path: &str) -> Result<Answer, Failure> {
        self.wait().await;
        service.get(path).await
    }

    async fn wait(&self) {
        let mut next = self.next.lock().await;
        // What was not used is saved, but no more than the burst.
        *next = (*next).max(Instant::now() - self.saved);
        sleep_until(*next).await;
        *next += self.gap;
    }
}
