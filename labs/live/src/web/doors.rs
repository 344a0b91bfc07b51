//! More ports for more pages.
//!
//! A page keeps one connection open for its events, and browsers open no more than six to one host
//! and port: the seventh page in a browser would wait for ever. So each port seats a few pages, and
//! sends further ones to the next.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Mutex, MutexGuard};
use std::time::{Duration, Instant};

use tokio::task::JoinHandle;

use crate::locked;

/// Pages that one port seats: two connections are left for everything else.
const SEATS: usize = 4;
/// The most ports.
const MOST: usize = 12;
/// A page that has been sent but does not listen has its seat for this long.
const RESERVED: Duration = Duration::from_secs(5);

/// Where a new page goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Place {
    /// Here, with this number.
    Here(u64),
    /// To this port.
    There(u16),
    /// To a port that is not open yet.
    NewDoor,
    /// There is none.
    Nowhere,
}

/// The ports.
#[derive(Default)]
pub(super) struct Doors {
    all: Mutex<Vec<Door>>,
    pages: AtomicU64,
}

struct Door {
    port: u16,
    /// By the number of the page: when it was sent, and `None` while it listens.
    seats: HashMap<u64, Option<Instant>>,
    server: JoinHandle<()>,
}

impl Doors {
    fn all(&self) -> MutexGuard<'_, Vec<Door>> {
        locked(&self.all)
    }

    /// One more port.
    pub(super) fn add(&self, port: u16, server: JoinHandle<()>) {
        self.all().push(Door { port, seats: HashMap::new(), server });
    }

    /// Finds a seat, here if there is one.
    pub(super) fn place(&self, port: u16, now: Instant) -> Place {
        let mut all = self.all();
        for door in all.iter_mut() {
            door.seats.retain(|_, sent| sent.is_none_or(|at| now < at + RESERVED));
        }
        let has_room = |door: &&mut Door| door.seats.len() < SEATS;
        let (count, mut doors) = (all.len(), all.iter_mut());
        if let Some(here) = doors.find(|door| door.port == port && has_room(door)) {
            let page = 1 + self.pages.fetch_add(1, Relaxed);
            here.seats.insert(page, Some(now));
            return Place::Here(page);
        }
        match all.iter_mut().find(has_room) {
            Some(there) => Place::There(there.port),
            None if count < MOST => Place::NewDoor,
            None => Place::Nowhere,
        }
    }

    /// A page listens, or does so no more.
    pub(super) fn listens(&self, port: u16, page: u64, does: bool) {
        let mut all = self.all();
        if let Some(door) = all.iter_mut().find(|door| door.port == port) {
            if does {
                door.seats.insert(page, None);
            } else {
                door.seats.remove(&page);
            }
        }
    }

    /// Waits until all servers have ended.
    pub(super) async fn closed(&self) {
        let servers: Vec<_> = self.all().drain(..).map(|door| door.server).collect();
        for server in servers {
            let _ = server.await;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(flavor = "current_thread")]
    async fn pages_spread_over_ports_and_leave_their_seats() {
        let doors = Doors::default();
        let now = Instant::now();
        doors.add(1, tokio::spawn(async {}));
        let pages: Vec<_> = (0..SEATS).map(|_| doors.place(1, now)).collect();
        assert!(pages.iter().all(|place| matches!(place, Place::Here(_))));
        assert_eq!(doors.place(1, now), Place::NewDoor);
        doors.add(2, tokio::spawn(async {}));
        assert_eq!(doors.place(1, now), Place::There(2));
        assert!(matches!(doors.place(2, now), Place::Here(_)));
        // One listens; the others never did, and their seats are free after a while.
        let Place::Here(first) = pages[0] else { panic!() };
        doors.listens(1, first, true);
        let later = now + RESERVED;
        for _ in 1..SEATS {
            assert!(matches!(doors.place(1, later), Place::Here(_)));
        }
        assert_eq!(doors.place(1, later), Place::There(2));
        doors.listens(1, first, false);
        assert!(matches!(doors.place(1, later), Place::Here(_)));
    }

    #[tokio::test(flavor = "current_thread")]
    async fn there_are_only_so_many() {
        let doors = Doors::default();
        let now = Instant::now();
        for port in 1..=MOST as u16 {
            doors.add(port, tokio::spawn(async {}));
            for _ in 0..SEATS {
                assert!(matches!(doors.place(port, now), Place::Here(_)));
            }
        }
        assert_eq!(doors.place(1, now), Place::Nowhere);
        doors.closed().await;
    }
}
