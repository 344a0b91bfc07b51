use crate::{Door, Inbox};

/// Carries parcels from an inbox to a door.
pub struct Courier {
    inbox: Inbox,
    door: Door,
    taken: Option<u64>,
}

impl Courier {
    pub fn new(inbox: Inbox, door: Door) -> Courier {
        Courier { inbox, door, taken: None }
    }

    /// Takes the next parcel and hands it over; false when there will be no more. The caller may drop this future
    /// whenever it waits, and then calls again.
    pub async fn carry(&mut self) -> bool {
        if self.taken.is_none() {
            self.taken = self.inbox.take().await;
        }
        let Some(parcel) = self.taken else {
            return false;
        };
        self.door.ring().await;
        self.door.hand_over(parcel).await;
        // Not before it is there.
        self.taken = None;
        true
    }
}
