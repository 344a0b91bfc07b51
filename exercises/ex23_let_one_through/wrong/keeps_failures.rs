use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use exercise_kit::Service;

/// An answer, with when it came. Who asks holds the lock.
type Place = Arc<tokio::sync::Mutex<Option<(Instant, Option<String>)>>>;

/// Keeps answers of a service for a time.
pub struct Cache {
    service: Service,
    ttl: Duration,
    /// A place for each path.
    places: Mutex<HashMap<String, Place>>,
}

impl Cache {
    pub fn new(service: Service, ttl: Duration) -> Cache {
        Cache { service, ttl, places: Mutex::default() }
    }

    /// Returns what the service answers on a path, or nothing when it fails. This is called in a task for each who
    /// asks; the task may be dropped before the end.
    pub async fn get(self: Arc<Cache>, path: String) -> Option<String> {
        let place = self.place(&path);
        // Given back however this ends. Who has waited for it finds what the one before has kept.
        let mut kept = place.lock().await;
        if let Some((came, answer)) = &*kept
            && came.elapsed() < self.ttl
        {
            return answer.clone();
        }
        let answer = ask(&self.service, &path).await;
        *kept = Some((Instant::now(), answer.clone()));
        answer
    }

    fn place(&self, path: &str) -> Place {
        let mut places = self.places.lock().unwrap_or_else(PoisonError::into_inner);
        places.entry(path.to_owned()).or_default().clone()
    }
}

/// What the service answers, unless it fails.
async fn ask(service: &Service, path: &str) -> Option<String> {
    let answer = service.get(path).await.ok()?;
    answer.is_ok().then_some(answer.body)
}
