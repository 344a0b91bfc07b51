use std::{collections::VecDeque, pin::Pin};

use crate::{Door, Inbox};

/// Carries parcels from an inbox to a door.
pub struct Courier {
    inbox: Inbox,
    door: Door,
    /// What was taken and is not handed over.
    under_way: VecDeque<Pin<Box<dyn Future<Output = ()> + Send>>>,
}

impl Courier {
    pub fn new(inbox: Inbox, door: Door) -> Courier {
        Courier { inbox, door, under_way: VecDeque::new() }
    }

    /// Takes the next parcel and hands it over; false when there will be no more. The caller may drop this future
    /// whenever it waits, and then calls again.
    pub async fn carry(&mut self) -> bool {
        let Some(parcel) = self.inbox.take().await else {
            return false;
        };
        let door = self.door.clone();
        self.under_way.push_back(Box::pin(async move {
            door.ring().await;
            door.hand_over(parcel).await;
        }));
        if let Some(first) = self.under_way.front_mut() {
            first.await;
        }
        self.under_way.pop_front();
        true
    }
}
