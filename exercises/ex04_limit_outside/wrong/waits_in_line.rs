use std::collections::VecDeque;

use exercise_kit::Service;
use tokio::task::JoinHandle;

/// Fetches every item, and returns the bodies in the order of `items`.
pub async fn fetch_all(service: Service, items: Vec<u64>, limit: usize) -> Vec<String> {
    let mut under_way = VecDeque::new();
    let mut bodies = Vec::new();
    for item in items {
        if under_way.len() == limit {
            bodies.extend(oldest(&mut under_way).await);
        }
        let service = service.clone();
        under_way.push_back(tokio::spawn(async move { fetch(&service, item).await }));
    }
    while let Some(body) = oldest(&mut under_way).await {
        bodies.push(body);
    }
    bodies
}

/// The answer to the request that was begun first.
async fn oldest(under_way: &mut VecDeque<JoinHandle<String>>) -> Option<String> {
    let oldest = under_way.pop_front()?;
    Some(oldest.await.expect("a fetch does not panic"))
}

async fn fetch(service: &Service, item: u64) -> String {
    match service.get(&format!("/item/{item}")).await {
        Ok(answer) => answer.body,
        Err(failure) => panic!("item {item}: {failure}"),
    }
}
