use exercise_kit::{Service, work::digest};
use tokio::sync::mpsc;

/// Fetches, transforms and stores every item. Returns when all are stored.
///
/// All three stages are at work at the same time, each on one item. Between two stages there is a queue with `places`
/// places.
pub async fn pipeline(service: Service, items: Vec<u64>, rounds: u64, places: usize) {
    // As many places as two queues have.
    let (to_store, mut transformed) = mpsc::channel(2 * places);
    let storage = service.clone();
    let fetching = async move {
        for item in items {
            let seed = fetch(&service, item).await;
            let result = transform(seed, rounds).await;
            let _ = to_store.send((item, result)).await;
        }
    };
    let storing = async move {
        while let Some((item, result)) = transformed.recv().await {
            store(&storage, item, result).await;
        }
    };
    tokio::join!(fetching, storing);
}

async fn fetch(service: &Service, item: u64) -> u64 {
    let answer = service.get(&format!("/fetch/{item}")).await;
    answer.expect("an item can be fetched").body.parse().expect("an item is a number")
}

async fn transform(seed: u64, rounds: u64) -> u64 {
    let done = tokio::task::spawn_blocking(move || digest(seed, rounds)).await;
    done.expect("a digest does not panic")
}

async fn store(service: &Service, item: u64, result: u64) {
    let answer = service.put(&format!("/store/{item}"), result.to_string()).await;
    answer.expect("an item can be stored");
}
