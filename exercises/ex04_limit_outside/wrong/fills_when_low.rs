use exercise_kit::Service;
use tokio::task::JoinSet;

/// Fetches every item, and returns the bodies in the order of `items`.
pub async fn fetch_all(service: Service, items: Vec<u64>, limit: usize) -> Vec<String> {
    let mut tasks = JoinSet::new();
    let mut bodies = Vec::new();
    for (place, item) in items.into_iter().enumerate() {
        if tasks.len() == limit {
            // Nearly all of them first, then as many new ones together.
            while tasks.len() > 1 {
                bodies.extend(tasks.join_next().await.map(|done| done.expect("a task ends")));
            }
        }
        let service = service.clone();
        tasks.spawn(async move { (place, fetch(&service, item).await) });
    }
    bodies.extend(tasks.join_all().await);
    bodies.sort_by_key(|(place, _)| *place);
    bodies.into_iter().map(|(_, body)| body).collect()
}

async fn fetch(service: &Service, item: u64) -> String {
    match service.get(&format!("/item/{item}")).await {
        Ok(answer) => answer.body,
        Err(failure) => panic!("item {item}: {failure}"),
    }
}
