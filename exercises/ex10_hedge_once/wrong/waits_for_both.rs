use std::{pin::pin, time::Duration};

use exercise_kit::Service;
use tokio::time::timeout;

/// Reads an item from a service that is slow now and then.
pub async fn read(service: Service, item: String, hedge_after: Duration) -> String {
    let path = format!("/item/{item}");
    let mut first = pin!(service.get(&path));
    let answer = match timeout(hedge_after, &mut first).await {
        Ok(answer) => answer,
        Err(_) => {
            // Both at the same time, and the one that worked.
            let (first, second) = tokio::join!(first, service.get(&path));
            first.or(second)
        }
    };
    answer.expect("the service answers").body
}
