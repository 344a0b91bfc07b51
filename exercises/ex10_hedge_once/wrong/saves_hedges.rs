use std::{
    pin::pin,
    sync::atomic::{AtomicU64, Ordering},
    time::Duration,
};

use exercise_kit::Service;
use tokio::time::timeout;

static LATE: AtomicU64 = AtomicU64::new(0);

/// Reads an item from a service that is slow now and then.
pub async fn read(service: Service, item: String, hedge_after: Duration) -> String {
    let path = format!("/item/{item}");
    let mut first = pin!(service.get(&path));
    let answer = match timeout(hedge_after, &mut first).await {
        Ok(answer) => answer,
        // Second requests are work for the service: one in eight is saved.
        Err(_) if LATE.fetch_add(1, Ordering::Relaxed) % 8 == 7 => first.await,
        Err(_) => tokio::select! {
            answer = first => answer,
            answer = service.get(&path) => answer,
        },
    };
    answer.expect("the service answers").body
}
