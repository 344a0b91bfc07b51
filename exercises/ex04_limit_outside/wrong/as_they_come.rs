use std::sync::Arc;

use exercise_kit::Service;
use tokio::{sync::Semaphore, task::JoinSet};

/// Fetches every item, and returns the bodies in the order of `items`.
///
/// At no time may more than `limit` requests be under way. As long as there is enough to do, no fewer should be.
pub async fn fetch_all(service: Service, items: Vec<u64>, limit: usize) -> Vec<String> {
    // One for all: who holds a permit of it is one of `limit`.
    let permits = Arc::new(Semaphore::new(limit));
    let mut tasks = JoinSet::new();
    for (place, item) in items.into_iter().enumerate() {
        let (service, permits) = (service.clone(), Arc::clone(&permits));
        tasks.spawn(async move {
            let _permit = permits.acquire().await;
            (place, fetch(&service, item).await)
        });
    }
    let bodies = tasks.join_all().await;
    bodies.into_iter().map(|(_, body)| body).collect()
}

async fn fetch(service: &Service, item: u64) -> String {
    match service.get(&format!("/item/{item}")).await {
        Ok(answer) => answer.body,
        Err(failure) => panic!("item {item}: {failure}"),
    }
}
