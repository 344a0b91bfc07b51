use crate::{Door, Inbox};

/// Carries parcels from an inbox to a door.
pub struct Courier {
    inbox: Inbox,
    door: Door,
}

impl Courier {
    pub fn new(inbox: Inbox, door: Door) -> Courier {
        Courier { inbox, door }
    }

    /// Takes the next parcel and hands it over; false when there will be no more. The caller may drop this future
    /// whenever it waits, and then calls again.
    pub async fn carry(&mut self) -> bool {
        let Some(parcel) = self.inbox.take().await else {
            return false;
        };
        self.door.ring().await;
        self.door.hand_over(parcel).await;
        true
    }
}
