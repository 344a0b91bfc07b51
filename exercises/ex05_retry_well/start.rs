use std::sync::Arc;

use exercise_kit::Service;

use crate::Rules;

/// Fetches an item: its body, or nothing when it cannot be had. There is a task for each item, all at the same time.
pub async fn fetch(service: Service, item: u64, rules: Arc<Rules>) -> Option<String> {
    let _permit = rules.permits.acquire().await;
    for _ in 0..10 {
        match service.get(&format!("/item/{item}")).await {
            Ok(answer) if answer.is_ok() => return Some(answer.body),
            _ => {}
        }
    }
    None
}
