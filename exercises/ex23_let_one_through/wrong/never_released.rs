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
    /// Paths that somebody asks for, with those who wait.
    asking: Mutex<HashMap<String, Arc<tokio::sync::Notify>>>,
}

impl Cache {
    pub fn new(service: Service, ttl: Duration) -> Cache {
        Cache { service, ttl, kept: Mutex::default(), asking: Mutex::default() }
    }

    /// Returns what the service answers on a path, or nothing when it fails. This is called in a task for each who
    /// asks; the task may be dropped before the end.
    pub async fn get(self: Arc<Cache>, path: String) -> Option<String> {
        let mine = Arc::new(tokio::sync::Notify::new());
        loop {
            if let Some(fresh) = self.fresh(&path) {
                return Some(fresh);
            }
            let asked = {
                let mut asking = self.asking.lock().unwrap_or_else(PoisonError::into_inner);
                let asked = asking.entry(path.clone()).or_insert_with(|| Arc::clone(&mine));
                Arc::clone(asked)
            };
            if Arc::ptr_eq(&asked, &mine) {
                break;
            }
            asked.notified().await;
        }
        let answer = ask(&self.service, &path).await?;
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        kept.insert(path.clone(), (Instant::now(), answer.clone()));
        let mut asking = self.asking.lock().unwrap_or_else(PoisonError::into_inner);
        asking.remove(&path);
        mine.notify_waiters();
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
