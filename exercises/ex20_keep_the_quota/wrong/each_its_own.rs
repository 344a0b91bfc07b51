use std::time::Duration;

use exercise_kit::{Answer, Failure, Service};
use tokio::time::sleep;

/// Waits a gap before each request.
pub struct Limiter {
    gap: Duration,
}

impl Limiter {
    pub fn new(per_s: f64, _burst: u32) -> Limiter {
        Limiter { gap: Duration::from_secs_f64(1.0 / per_s) }
    }

    pub async fn get(&self, service: &Service, path: &str) -> Result<Answer, Failure> {
        sleep(self.gap).await;
        service.get(path).await
    }
}
