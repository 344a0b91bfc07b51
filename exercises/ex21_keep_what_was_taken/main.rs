//! A courier whose caller drops it at chosen waits, and calls again.

mod exercise;

use exercise::Courier;
use exercise_kit::harness;
use tokio::select;

pub use place::{Door, Inbox};

mod place {
    //! The inbox and the door, out of the reach of the code that uses them.

    use std::{
        collections::HashMap,
        sync::{Arc, Mutex, MutexGuard, PoisonError},
    };

    use tokio::sync::{Notify, mpsc, watch};

    /// Where parcels come from.
    pub struct Inbox {
        parcels: mpsc::UnboundedReceiver<u64>,
        hall: Arc<Hall>,
    }

    /// Where parcels go. Clones are the same door.
    #[derive(Clone)]
    pub struct Door(Arc<Hall>);

    struct Hall {
        seen: Mutex<Seen>,
        /// The caller is asked to drop what it awaits.
        drop_it: Notify,
        /// How often it has.
        dropped: watch::Sender<u64>,
    }

    /// What was seen.
    #[derive(Clone, Default)]
    pub struct Seen {
        /// For each parcel, at which of its waits the caller is still to drop: 1 ring, 2 before it is put down, 4 after.
        pub waits: HashMap<u64, u64>,
        /// The parcel that was taken last.
        pub taken: u64,
        pub put_down: Vec<u64>,
        pub handed_over: u64,
        pub at_the_door: u64,
        pub most: u64,
        pub asked: u64,
    }

    /// Somebody at the door, until the future is done or dropped.
    struct There<'a>(&'a Hall);

    impl Drop for There<'_> {
        fn drop(&mut self) {
            self.0.seen().at_the_door -= 1;
        }
    }

    impl Hall {
        fn seen(&self) -> MutexGuard<'_, Seen> {
            self.seen.lock().unwrap_or_else(PoisonError::into_inner)
        }

        fn come(&self) -> There<'_> {
            let mut seen = self.seen();
            seen.at_the_door += 1;
            seen.most = seen.most.max(seen.at_the_door);
            There(self)
        }

        /// Waits; where the caller is to drop, until it has. Who is dropped with it does not come back.
        async fn wait(&self, parcel: u64, stage: u64) {
            let asked = {
                let mut seen = self.seen();
                let waits = seen.waits.get_mut(&parcel);
                match waits.filter(|waits| **waits & stage > 0) {
                    None => None,
                    Some(waits) => {
                        *waits &= !stage;
                        seen.asked += 1;
                        Some(seen.asked)
                    }
                }
            };
            match asked {
                None => tokio::task::yield_now().await,
                Some(asked) => {
                    self.drop_it.notify_one();
                    let mut dropped = self.dropped.subscribe();
                    let _ = dropped.wait_for(|dropped| *dropped >= asked).await;
                }
            }
        }
    }

    impl Inbox {
        /// The next parcel; none when there will be no more. Dropped while it waits, it has taken nothing.
        pub async fn take(&mut self) -> Option<u64> {
            let parcel = self.parcels.recv().await?;
            self.hall.seen().taken = parcel;
            Some(parcel)
        }
    }

    impl Door {
        /// Rings, and waits until somebody comes. May be done again.
        pub async fn ring(&self) {
            let _there = self.0.come();
            // It is for the parcel that was taken last.
            let parcel = self.0.seen().taken;
            self.0.wait(parcel, 1).await;
        }

        /// Puts the parcel down and waits for a signature. Not to be done again: whether the parcel has been put down
        /// is known to this future alone.
        pub async fn hand_over(&self, parcel: u64) {
            let _there = self.0.come();
            self.0.wait(parcel, 2).await;
            self.0.seen().put_down.push(parcel);
            self.0.wait(parcel, 4).await;
            self.0.seen().handed_over += 1;
        }
    }

    /// An inbox with these parcels and no more, a door, and the caller's side of it.
    pub fn place(parcels: &[u64], waits: &[u64]) -> (Inbox, Door, Caller) {
        let (put, taken) = mpsc::unbounded_channel();
        parcels.iter().for_each(|parcel| put.send(*parcel).expect("the inbox is there"));
        let waits = parcels.iter().copied().zip(waits.iter().copied()).collect();
        let seen = Mutex::new(Seen { waits, ..Seen::default() });
        let hall = Hall { seen, drop_it: Notify::new(), dropped: watch::channel(0).0 };
        let hall = Arc::new(hall);
        (Inbox { parcels: taken, hall: Arc::clone(&hall) }, Door(Arc::clone(&hall)), Caller(hall))
    }

    /// The caller's side of the door.
    pub struct Caller(Arc<Hall>);

    impl Caller {
        pub async fn is_asked_to_drop(&self) {
            self.0.drop_it.notified().await;
        }

        pub fn has_dropped(&self) {
            self.0.dropped.send_modify(|dropped| *dropped += 1);
        }

        pub fn seen(&self) -> Seen {
            self.0.seen().clone()
        }
    }
}

fn main() {
    let line = harness::open();
    let (parcels, waits): (Vec<u64>, Vec<u64>) = (line.list("parcels"), line.list("waits"));
    let (inbox, door, caller) = place::place(&parcels, &waits);
    let (carried, early, dropped) = harness::event_loop(async {
        let mut courier = Courier::new(inbox, door);
        let (mut carried, mut early, mut dropped) = (0u64, 0u64, 0u64);
        // More calls than any need are a loop without end.
        for _ in 0..100 * (parcels.len() + 1) {
            let more = select! {
                biased;
                () = caller.is_asked_to_drop() => None,
                more = courier.carry() => Some(more),
            };
            match more {
                None => {
                    dropped += 1;
                    caller.has_dropped();
                }
                Some(true) => {
                    carried += 1;
                    early += u64::from(caller.seen().handed_over < carried);
                }
                Some(false) => break,
            }
        }
        // What was let run may come to its end.
        for _ in 0..1000 {
            tokio::task::yield_now().await;
        }
        (carried, early, dropped)
    });
    let seen = caller.seen();
    let put_down: Vec<String> = seen.put_down.iter().map(ToString::to_string).collect();
    line.reply(0, put_down.join(" "));
    line.reply(1, format!("{carried} {early} {dropped} {} {}", seen.asked, seen.most));
    line.end();
}
