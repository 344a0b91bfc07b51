use std::{sync::Arc, time::Duration};

use exercise_kit::{Service, chance};
use tokio::time::sleep;

use crate::Rules;

/// Fetches an item: its body, or nothing when it cannot be had. There is a task for each item, all at the same time.
pub async fn fetch(service: Service, item: u64, rules: Arc<Rules>) -> Option<String> {
    let path = format!("/item/{item}");
    let mut pause = rules.base;
    for attempt in 1.. {
        // A permit is for one request: it is given back at the end of this block, before any pause.
        let answer = {
            let _permit = rules.permits.acquire().await;
            service.get(&path).await
        };
        let asked_to_wait = match answer {
            Ok(answer) if answer.is_ok() => return Some(answer.body),
            Ok(answer) if answer.status == 429 || answer.status >= 500 => answer.retry_after,
            // What is not there now will not be there later.
            Ok(_) => return None,
            Err(_) => None,
        };
        if attempt == rules.attempts || !rules.take_retry() {
            break;
        }
        let drawn = pause.mul_f64(1.0 + chance());
        sleep(drawn.max(asked_to_wait.unwrap_or(Duration::ZERO))).await;
        // A little longer each time.
        pause += rules.base;
    }
    None
}
