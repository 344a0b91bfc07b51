use std::time::Duration;

use exercise_kit::Service;
use tokio::{task::JoinSet, time::timeout};

/// Reads an item from a service that is slow now and then.
pub async fn read(service: Service, item: String, hedge_after: Duration) -> String {
    let mut requests = JoinSet::new();
    loop {
        let (service, path) = (service.clone(), format!("/item/{item}"));
        requests.spawn(async move { service.get(&path).await });
        // One of them will meet a quick machine. The others end when the set is dropped.
        if let Ok(Some(done)) = timeout(hedge_after, requests.join_next()).await {
            let answer = done.expect("a request does not panic");
            return answer.expect("the service answers").body;
        }
    }
}
