use std::time::Duration;

use exercise_kit::Service;
use tokio::{sync::Semaphore, time::sleep};

/// Stands between those who order and a service that can do few orders at a time.
///
/// At most `slots` orders may be under way at the service, and at most `places` more may wait here.
pub struct FrontEnd {
    service: Service,
    room: Semaphore,
    slots: Semaphore,
}

impl FrontEnd {
    pub fn new(service: Service, slots: usize, places: usize) -> FrontEnd {
        let (room, slots) = (Semaphore::new(slots + places), Semaphore::new(slots));
        FrontEnd { service, room, slots }
    }

    /// Returns the service's answer to an order such as `/order/7`, or `busy` at once when all slots and places are
    /// taken. This is called in a task for each order.
    pub async fn handle(&self, order: String) -> String {
        let Ok(_inside) = self.room.try_acquire() else {
            return "busy".to_owned();
        };
        let _slot = loop {
            if let Ok(slot) = self.slots.try_acquire() {
                break slot;
            }
            sleep(Duration::from_millis(10)).await;
        };
        ask(&self.service, &order).await
    }
}

async fn ask(service: &Service, order: &str) -> String {
    match service.get(order).await {
        Ok(answer) => answer.body,
        Err(failure) => panic!("{order}: {failure}"),
    }
}
