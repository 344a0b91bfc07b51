use exercise_kit::Service;
use tokio::task::JoinSet;

/// Fetches every item, and returns the bodies in the order of `items`.
pub async fn fetch_all(service: Service, items: Vec<u64>, limit: usize) -> Vec<String> {
    let mut all = Vec::new();
    for batch in items.chunks(limit) {
        let mut tasks = JoinSet::new();
        for (place, &item) in batch.iter().enumerate() {
            let service = service.clone();
            tasks.spawn(async move { (place, fetch(&service, item).await) });
        }
        let mut bodies = tasks.join_all().await;
        bodies.sort_by_key(|(place, _)| *place);
        all.extend(bodies.into_iter().map(|(_, body)| body));
    }
    all
}

async fn fetch(service: &Service, item: u64) -> String {
    match service.get(&format!("/item/{item}")).await {
        Ok(answer) => answer.body,
        Err(failure) => panic!("item {item}: {failure}"),
    }
}
