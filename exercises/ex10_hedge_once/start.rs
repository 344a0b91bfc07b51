use std::time::Duration;

use exercise_kit::Service;

/// Reads an item from a service that is slow now and then.
pub async fn read(service: Service, item: String, hedge_after: Duration) -> String {
    let _ = hedge_after;
    let answer = service.get(&format!("/item/{item}")).await;
    answer.expect("the service answers").body
}
