use std::time::Duration;

use exercise_kit::Service;
use tokio::time::{sleep, timeout};

/// Reads an item from a service that is slow now and then.
pub async fn read(service: Service, item: String, hedge_after: Duration) -> String {
    let ask = || {
        let (service, path) = (service.clone(), format!("/item/{item}"));
        tokio::spawn(async move { service.get(&path).await })
    };
    let mut first = ask();
    let done = match timeout(hedge_after, &mut first).await {
        Ok(done) => done,
        Err(_) => {
            let mut second = ask();
            let (done, other) = tokio::select! {
                done = &mut first => (done, second),
                done = &mut second => (done, first),
            };
            // It has had its time when it has had as much again.
            tokio::spawn(async move {
                sleep(hedge_after).await;
                other.abort();
            });
            done
        }
    };
    let answer = done.expect("a request does not panic");
    answer.expect("the service answers").body
}
