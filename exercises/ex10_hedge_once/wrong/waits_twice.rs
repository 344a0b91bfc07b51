use std::{pin::pin, time::Duration};

use exercise_kit::Service;
use tokio::time::timeout;

/// Reads an item from a service that is slow now and then.
pub async fn read(service: Service, item: String, hedge_after: Duration) -> String {
    let path = format!("/item/{item}");
    let mut first = pin!(service.get(&path));
    // Late once may be chance.
    let answer = match timeout(2 * hedge_after, &mut first).await {
        Ok(answer) => answer,
        Err(_) => tokio::select! {
            answer = first => answer,
            answer = service.get(&path) => answer,
        },
    };
    answer.expect("the service answers").body
}
