//! Asks for every item of the judge's at the same time, each by the exercise's function.

mod exercise;

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use exercise_kit::harness;
use tokio::{sync::Semaphore, task::JoinSet};

/// In place of an item: what is left of the budget in the end.
const LEFT: u64 = 0;

/// What holds for all items together.
pub struct Rules {
    /// Most requests for an item, the first one included.
    pub attempts: u32,
    /// The pause before a first retry, at least.
    pub base: Duration,
    /// A permit is for one request.
    pub permits: Semaphore,
    retries: AtomicU64,
}

impl Rules {
    /// Takes a retry out of the budget. False when none is left.
    pub fn take_retry(&self) -> bool {
        let less = |left: u64| left.checked_sub(1);
        self.retries.fetch_update(Ordering::Relaxed, Ordering::Relaxed, less).is_ok()
    }

    fn left(&self) -> u64 {
        self.retries.load(Ordering::Relaxed)
    }
}

fn main() {
    let line = harness::open();
    let items: Vec<u64> = line.list("items");
    let rules = Arc::new(Rules {
        attempts: line.given("attempts"),
        base: Duration::from_millis(line.given("base_ms")),
        permits: Semaphore::new(line.given("permits")),
        retries: AtomicU64::new(line.given("budget")),
    });
    harness::event_loop(async {
        let service = line.service();
        let mut tasks = JoinSet::new();
        let all = Arc::clone(&rules);
        for item in items {
            let (service, rules) = (service.clone(), Arc::clone(&rules));
            tasks.spawn(async move { (item, exercise::fetch(service, item, rules).await) });
        }
        for (item, body) in tasks.join_all().await {
            line.reply(item, body.unwrap_or_else(|| "none".to_owned()));
        }
        line.reply(LEFT, all.left());
        line.end();
    });
}
