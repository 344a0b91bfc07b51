use std::{pin::pin, time::Duration};

use exercise_kit::Service;
use tokio::time::timeout;

/// Reads an item from a service that is slow now and then.
pub async fn read(service: Service, item: String, hedge_after: Duration) -> String {
    let path = format!("/item/{item}");
    let mut first = pin!(service.get(&path));
    // The time may be up, but the first request goes on: only the waiting for it has ended.
    let answer = match timeout(hedge_after, &mut first).await {
        Ok(answer) => answer,
        // The one that does not answer first is dropped, and with it its request.
        Err(_) => tokio::select! {
            answer = first => answer,
            answer = service.get(&path) => answer,
        },
    };
    answer.expect("the service answers").body
}
