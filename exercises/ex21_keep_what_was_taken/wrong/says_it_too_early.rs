use crate::{Door, Inbox};
use std::sync::Arc;
use tokio::sync::Mutex;

/// Carries parcels from an inbox to a door.
pub struct Courier {
    inbox: Inbox,
    door: Door,
    /// Who has it is at the door. It is fair, so they come in their order.
    turn: Arc<Mutex<()>>,
}

impl Courier {
    pub fn new(inbox: Inbox, door: Door) -> Courier {
        Courier { inbox, door, turn: Arc::default() }
    }

    /// Takes the next parcel and hands it over; false when there will be no more. The caller may drop this future
    /// whenever it waits, and then calls again.
    pub async fn carry(&mut self) -> bool {
        let Some(parcel) = self.inbox.take().await else {
            return false;
        };
        let (door, turn) = (self.door.clone(), Arc::clone(&self.turn));
        tokio::spawn(async move {
            let _turn = turn.lock().await;
            door.ring().await;
            door.hand_over(parcel).await;
        });
        true
    }
}
