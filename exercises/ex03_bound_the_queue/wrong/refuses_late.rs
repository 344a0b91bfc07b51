use std::sync::atomic::{AtomicUsize, Ordering};

use exercise_kit::Service;
use tokio::sync::Semaphore;

/// Stands between those who order and a service that can do few orders at a time.
///
/// At most `slots` orders may be under way at the service, and at most `places` more may wait here.
pub struct FrontEnd {
    service: Service,
    inside: AtomicUsize,
    most: usize,
    slots: Semaphore,
}

impl FrontEnd {
    pub fn new(service: Service, slots: usize, places: usize) -> FrontEnd {
        let (inside, most) = (AtomicUsize::new(0), slots + places);
        FrontEnd { service, inside, most, slots: Semaphore::new(slots) }
    }

    /// Returns the service's answer to an order such as `/order/7`, or `busy` at once when all slots and places are
    /// taken. This is called in a task for each order.
    pub async fn handle(&self, order: String) -> String {
        let before = self.inside.fetch_add(1, Ordering::Relaxed);
        let _slot = self.slots.acquire().await;
        let answer =
            if before < self.most { ask(&self.service, &order).await } else { "busy".to_owned() };
        self.inside.fetch_sub(1, Ordering::Relaxed);
        answer
    }
}

async fn ask(service: &Service, order: &str) -> String {
    match service.get(order).await {
        Ok(answer) => answer.body,
        Err(failure) => panic!("{order}: {failure}"),
    }
}
