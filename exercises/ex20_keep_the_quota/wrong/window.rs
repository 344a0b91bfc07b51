use std::time::Duration;

use exercise_kit::{Answer, Failure, Service};
use tokio::{
    sync::Mutex,
    time::{Instant, sleep_until},
};

const SECOND: Duration = Duration::from_secs(1);

/// Counts the requests of each second.
pub struct Limiter {
    per_s: f64,
    window: Mutex<(f64, Instant)>,
}

impl Limiter {
    pub fn new(per_s: f64, _burst: u32) -> Limiter {
        Limiter { per_s, window: Mutex::new((per_s, Instant::now() + SECOND)) }
    }

    pub async fn get(&self, service: &Service, path: &str) -> Result<Answer, Failure> {
        self.wait().await;
        service.get(path).await
    }

    async fn wait(&self) {
        let mut window = self.window.lock().await;
        let (left, ends) = &mut *window;
        if *left < 1.0 {
            sleep_until(*ends).await;
        }
        while Instant::now() >= *ends {
            (*left, *ends) = (self.per_s, *ends + SECOND);
        }
        *left -= 1.0;
    }
}
