use exercise_kit::Service;
use tokio::sync::mpsc;

/// Fetches, transforms and stores every item. Returns when all are stored.
///
/// All three stages are at work at the same time, each on one item. Between two stages there is a queue with `places`
/// places.
pub async fn pipeline(service: Service, items: Vec<u64>, rounds: u64, places: usize) {
    let (to_transform, mut fetched) = mpsc::channel(places);
    let (to_store, mut transformed) = mpsc::channel(places);
    let storage = service.clone();
    let fetching = async move {
        for item in items {
            let seed = fetch(&service, item).await;
            let _ = to_transform.send((item, seed)).await;
        }
    };
    let transforming = async move {
        while let Some((item, seed)) = fetched.recv().await {
            let result = transform(seed, rounds).await;
            let _ = to_store.send((item, result)).await;
        }
    };
    let storing = async move {
        while let Some((item, result)) = transformed.recv().await {
            store(&storage, item, result).await;
        }
    };
    tokio::join!(fetching, transforming, storing);
}

async fn fetch(service: &Service, item: u64) -> u64 {
    let answer = service.get(&format!("/fetch/{item}")).await;
    answer.expect("an item can be fetched").body.parse().expect("an item is a number")
}

async fn transform(seed: u64, rounds: u64) -> u64 {
    let mut state = seed;
    for _ in 0..rounds {
        state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        state = (state ^ (state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        state = (state ^ (state >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        state ^= state >> 31;
    }
    state
}

async fn store(service: &Service, item: u64, result: u64) {
    let answer = service.put(&format!("/store/{item}"), result.to_string()).await;
    answer.expect("an item can be stored");
}
