//! Who is in which room, and who hears what.
//!
//! Each member has a queue of messages that wait to be written to its connection. The queue is
//! bounded, and nobody ever waits for room in it: a member whose queue is full reads more slowly
//! than the room talks, and is shown the door. The alternatives are worse. To wait for it would let
//! the slowest reader set the pace of the room, and a queue without a bound would keep all that it
//! has not read, for ever. To leave out messages is right where the next one replaces the last, as
//! with positions on a map; in a conversation it is not.

use std::collections::BTreeMap;

use tokio::sync::{
    mpsc::{self, error::TrySendError},
    oneshot,
};

/// All rooms. `M` is a message, cheap to clone.
#[derive(Debug)]
pub struct Rooms<M> {
    rooms: BTreeMap<u32, BTreeMap<u64, Member<M>>>,
    /// The next user's number.
    next: u64,
    /// Members that were shown the door so far.
    slow: u64,
}

#[derive(Debug)]
struct Member<M> {
    outbox: mpsc::Sender<M>,
    /// Dropped with the member: that is what the connection waits for.
    _door: oneshot::Sender<()>,
}

/// Somebody who has just joined.
#[derive(Debug)]
pub struct Joined {
    /// The member's number.
    pub user: u64,
    /// Ends when the member is no longer in the room.
    pub shown_out: oneshot::Receiver<()>,
}

impl<M> Default for Rooms<M> {
    fn default() -> Rooms<M> {
        Rooms { rooms: BTreeMap::new(), next: 0, slow: 0 }
    }
}

impl<M: Clone> Rooms<M> {
    /// Lets somebody into a room, with the queue of its connection.
    pub fn join(&mut self, room: u32, outbox: mpsc::Sender<M>) -> Joined {
        let (door, shown_out) = oneshot::channel();
        let user = self.next;
        self.next += 1;
        let member = Member { outbox, _door: door };
        self.rooms.entry(room).or_default().insert(user, member);
        Joined { user, shown_out }
    }

    /// Lets somebody out. Harmless when it is out already.
    pub fn leave(&mut self, room: u32, user: u64) {
        if let Some(members) = self.rooms.get_mut(&room) {
            members.remove(&user);
            if members.is_empty() {
                self.rooms.remove(&room);
            }
        }
    }

    /// Puts a message into the queue of every member of a room; returns how many. Who has no place
    /// left for it is a member no longer.
    pub fn say(&mut self, room: u32, message: &M) -> usize {
        let Some(members) = self.rooms.get_mut(&room) else {
            return 0;
        };
        let before = members.len();
        let mut slow = 0;
        members.retain(|_, member| match member.outbox.try_send(message.clone()) {
            Ok(()) => true,
            Err(TrySendError::Full(_)) => {
                slow += 1;
                false
            }
            // Its connection has ended, and it is about to leave by itself.
            Err(TrySendError::Closed(_)) => false,
        });
        let reached = members.len();
        debug_assert!(reached + slow <= before);
        self.slow += slow as u64;
        if members.is_empty() {
            self.rooms.remove(&room);
        }
        reached
    }

    /// Members of a room.
    pub fn members(&self, room: u32) -> usize {
        self.rooms.get(&room).map_or(0, BTreeMap::len)
    }

    /// How many were shown the door because they read too slowly.
    pub fn slow(&self) -> u64 {
        self.slow
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_slow_reader_is_shown_the_door_and_holds_nobody_up() {
        let mut rooms = Rooms::default();
        let (outbox, mut quick) = mpsc::channel(4);
        let one = rooms.join(7, outbox);
        let (outbox, mut slow) = mpsc::channel(4);
        let mut other = rooms.join(7, outbox);
        for message in 0..20 {
            let reached = rooms.say(7, &message);
            assert_eq!(quick.try_recv(), Ok(message));
            assert_eq!(reached, if message < 4 { 2 } else { 1 });
        }
        // It is told, and what was in its queue is what it could have read: nothing with a gap.
        assert!(
            other.shown_out.try_recv().is_err_and(|e| e == oneshot::error::TryRecvError::Closed)
        );
        let read: Vec<i32> = std::iter::from_fn(|| slow.try_recv().ok()).collect();
        assert_eq!(read, [0, 1, 2, 3]);
        assert_eq!((rooms.slow(), rooms.members(7)), (1, 1));
        rooms.leave(7, other.user);
        rooms.leave(7, one.user);
        assert_eq!((rooms.say(7, &0), rooms.members(7)), (0, 0));
    }

    /// One thing that happens: somebody joins a room, reads all it has, leaves, or a room is spoken to.
    #[derive(Clone, Debug)]
    enum Event {
        Join(u32),
        Read(usize),
        Leave(usize),
        Hang(usize),
        Say(u32),
    }

    fn event() -> impl Strategy<Value = Event> {
        prop_oneof![
            (0u32..3).prop_map(Event::Join),
            (0usize..12).prop_map(Event::Read),
            (0usize..12).prop_map(Event::Leave),
            (0usize..12).prop_map(Event::Hang),
            (0u32..3).prop_map(Event::Say),
        ]
    }

    struct Person {
        joined: Joined,
        room: u32,
        queue: Option<mpsc::Receiver<u32>>,
        heard: Vec<u32>,
        /// What it should have heard and may still hear.
        meant: Vec<u32>,
        /// What waits in its queue.
        unread: usize,
        inside: bool,
    }

    proptest! {
        /// Against a model: every message reaches every member of its room exactly once and in
        /// order, and nobody else; a full queue ends a membership, and that is the only thing it does.
        #[test]
        fn each_message_reaches_each_member_of_its_room_once(events in prop::collection::vec(event(), 0..120)) {
            const ROOM: usize = 3;
            let mut rooms = Rooms::default();
            let mut people: Vec<Person> = Vec::new();
            let (mut said, mut slow) = (0u32, 0u64);
            for event in events {
                match event {
                    Event::Join(room) => {
                        let (outbox, queue) = mpsc::channel(ROOM);
                        let joined = rooms.join(room, outbox);
                        people.push(Person { joined, room, queue: Some(queue), heard: vec![], meant: vec![], unread: 0, inside: true });
                    }
                    Event::Read(i) => if let Some(person) = people.get_mut(i)
                        && let Some(queue) = &mut person.queue
                    {
                        while let Ok(message) = queue.try_recv() { person.heard.push(message); }
                        person.unread = 0;
                    },
                    Event::Leave(i) => if let Some(person) = people.get_mut(i) {
                        rooms.leave(person.room, person.joined.user);
                        person.inside = false;
                    },
                    // The connection ends without a word.
                    Event::Hang(i) => if let Some(person) = people.get_mut(i) {
                        person.meant.truncate(person.heard.len());
                        person.queue = None;
                    },
                    Event::Say(room) => {
                        said += 1;
                        let reached = rooms.say(room, &said);
                        let mut expected = 0;
                        for person in people.iter_mut().filter(|p| p.inside && p.room == room) {
                            if person.queue.is_none() {
                                person.inside = false;
                            } else if person.unread == ROOM {
                                person.inside = false;
                                slow += 1;
                            } else {
                                person.unread += 1;
                                person.meant.push(said);
                                expected += 1;
                            }
                        }
                        prop_assert_eq!(reached, expected);
                    }
                }
                prop_assert_eq!(rooms.slow(), slow);
                for room in 0..3 {
                    let inside = people.iter().filter(|p| p.inside && p.room == room).count();
                    prop_assert_eq!(rooms.members(room), inside);
                }
            }
            for person in &mut people {
                if let Some(queue) = &mut person.queue {
                    while let Ok(message) = queue.try_recv() { person.heard.push(message); }
                }
                prop_assert_eq!(&person.heard, &person.meant);
                prop_assert_eq!(person.joined.shown_out.try_recv().is_err_and(|e| e == oneshot::error::TryRecvError::Closed), !person.inside);
            }
            let mut numbers: Vec<u64> = people.iter().map(|p| p.joined.user).collect();
            numbers.dedup();
            prop_assert_eq!(numbers.len(), people.len());
        }
    }
}
