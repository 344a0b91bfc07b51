use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use exercise_kit::Service;

/// Keeps answers of a service for a time.
pub struct Cache {
    service: Service,
    ttl: Duration,
    /// Answers by path, with when they came.
    kept: Mutex<HashMap<String, (Instant, String)>>,
}

impl Cache {
    pub fn new(service: Service, ttl: Duration) -> Cache {
        Cache { service, ttl, kept: Mutex::default() }
    }

    /// Returns what the service answers on a path, or nothing when it fails. This is called in a task for each who
    /// asks; the task may be dropped before the end.
    pub async fn get(self: Arc<Cache>, path: String) -> Option<String> {
        if let Some(fresh) = self.fresh(&path) {
            return Some(fresh);
        }
        let answer = ask(&self.service, &path).await?;
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        kept.insert(path, (Instant::now(), answer.clone()));
        Some(answer)
    }

    fn fresh(&self, path: &str) -> Option<String> {
        let kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        let (came, answer) = kept.get(path)?;
        (came.elapsed() < self.ttl).then(|| answer.clone())
    }
}

/// What the service answers, unless it fails.
async fn ask(service: &Service, path: &str) -> Option<String> {
    let answer = service.get(path).await.ok()?;
    answer.is_ok().then_some(answer.body)
}
