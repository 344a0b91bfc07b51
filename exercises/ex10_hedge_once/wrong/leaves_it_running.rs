use std::time::Duration;

use exercise_kit::Service;
use tokio::time::timeout;

/// Reads an item from a service that is slow now and then.
pub async fn read(service: Service, item: String, hedge_after: Duration) -> String {
    let ask = || {
        let (service, path) = (service.clone(), format!("/item/{item}"));
        tokio::spawn(async move { service.get(&path).await })
    };
    let mut first = ask();
    let done = match timeout(hedge_after, &mut first).await {
        Ok(done) => done,
        // Whoever is first; nobody asks for the other one any more.
        Err(_) => tokio::select! {
            done = first => done,
            done = ask() => done,
        },
    };
    let answer = done.expect("a request does not panic");
    answer.expect("the service answers").body
}
