//! Asks for every item of the judge's through the exercise's limiter, after a pause, by many tasks at the same time.

mod exercise;

use std::{sync::Arc, time::Duration};

use exercise_kit::harness;
use tokio::{task::JoinSet, time::sleep};

fn main() {
    let line = harness::open();
    let items: Vec<u64> = line.list("items");
    let (per_s, burst, idle_ms) = (line.given("per_s"), line.given("burst"), line.given("idle_ms"));
    harness::event_loop(async {
        let service = line.service();
        let limiter = Arc::new(exercise::Limiter::new(per_s, burst));
        sleep(Duration::from_millis(idle_ms)).await;
        let mut tasks = JoinSet::new();
        for item in items {
            let (limiter, service) = (Arc::clone(&limiter), service.clone());
            tasks.spawn(async move {
                let answer = limiter.get(&service, &format!("/item/{item}")).await;
                (item, answer)
            });
        }
        for (item, answer) in tasks.join_all().await {
            line.reply(item, answer.map_or_else(|failure| failure.to_string(), |a| a.body));
        }
        line.end();
    });
}
