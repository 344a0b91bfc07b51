use std::pin::Pin;

use crate::{Door, Inbox};

/// Carries parcels from an inbox to a door.
pub struct Courier {
    inbox: Inbox,
    door: Door,
    /// The parcel that was taken and is not handed over: all that is left to be done for it.
    under_way: Option<Pin<Box<dyn Future<Output = ()> + Send>>>,
}

impl Courier {
    pub fn new(inbox: Inbox, door: Door) -> Courier {
        Courier { inbox, door, under_way: None }
    }

    /// Takes the next parcel and hands it over; false when there will be no more. The caller may drop this future
    /// whenever it waits, and then calls again.
    pub async fn carry(&mut self) -> bool {
        if self.under_way.is_none() {
            let Some(parcel) = self.inbox.take().await else {
                return false;
            };
            // From here to where it is kept there is no await.
            let door = self.door.clone();
            self.under_way = Some(Box::pin(async move {
                door.ring().await;
                door.hand_over(parcel).await;
            }));
        }
        // Only borrowed: dropped while it waits, `carry` leaves it where it is, and the next call goes on with it.
        if let Some(under_way) = &mut self.under_way {
            under_way.await;
        }
        self.under_way = None;
        true
    }
}
