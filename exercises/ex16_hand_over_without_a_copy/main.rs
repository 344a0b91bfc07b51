//! Readers of one payload, which know where it lies; the exercise's function brings them together.

mod exercise;

use std::{thread, time::Duration};

use exercise_kit::harness;

pub use reader::Reader;

/// Bytes of a payload that is not touched, only handed over: it takes addresses and no memory.
const HUGE: usize = 256 << 20;
/// So many of them, if none is given back, have no room in the 4 GB of a program.
const HANDED: u64 = 20;
/// In pieces of so many bytes it is measured what has room, up to so many of them.
const PIECE: usize = 40 << 20;
const PIECES: usize = 100;
/// Room for less than so many of them is missing by chance.
const SPARE: usize = 3;
/// How often, at a millisecond each, it is looked whether there is room again.
const LOOKS: usize = 1000;

fn main() {
    let line = harness::open();
    let (seed, bytes): (u64, usize) = (line.given("seed"), line.given("bytes"));
    let parts: Vec<usize> = line.list("parts");
    let parts: Vec<_> = parts.chunks_exact(2).map(|ends| ends[0]..ends[1]).collect();
    let room = reader::hand(made(seed, bytes), &parts);
    for (id, report) in room.reports() {
        line.reply(id, report);
    }
    line.reply(100, room.met());
    if room.is_well() {
        for given_back in 1..=HANDED {
            hand(HUGE);
            line.reply(200, given_back);
        }
        // The small one has taken the place of the last huge one, wherever that is kept.
        hand(128);
        let before = looks(LOOKS / 20).max().unwrap_or(0);
        hand(HUGE);
        line.reply(300, looks(LOOKS).any(|room| room + SPARE > before));
    }
    line.end();
}

/// Hands over a payload that is not touched, and waits for its readers.
fn hand(bytes: usize) {
    let _ = reader::hand(vec![0; bytes], &[0..64, 64..128]);
}

/// How many pieces have room, so many times.
fn looks(times: usize) -> impl Iterator<Item = usize> {
    let room = || {
        let piece = |_| {
            let mut piece: Vec<u8> = Vec::new();
            piece.try_reserve_exact(PIECE).ok().map(|()| piece)
        };
        (0..PIECES).map_while(piece).collect::<Vec<_>>().len()
    };
    (0..times).map(move |_| {
        thread::sleep(Duration::from_millis(1));
        room()
    })
}

/// Bytes that nobody knows before.
fn made(seed: u64, bytes: usize) -> Vec<u8> {
    let mut payload = vec![0; bytes];
    let mut state = seed | 1;
    for word in payload.chunks_mut(8) {
        // Xorshift (Marsaglia, 2003).
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        word.copy_from_slice(&state.to_le_bytes()[..word.len()]);
    }
    payload
}

mod reader {
    use std::{
        collections::HashSet,
        ops::Range,
        sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError},
        thread::{self, ThreadId},
        time::Duration,
    };

    /// How often, at a millisecond each, readers look whether the others have come before they go on without
    /// them. Looks and not time: a machine that stands still does not look.
    const LOOKS: u32 = 1000;

    /// Reads one part of the payload.
    pub struct Reader {
        id: u64,
        part: Range<usize>,
        room: Arc<Room>,
    }

    impl Reader {
        /// Which bytes of the payload it wants.
        pub fn part(&self) -> Range<usize> {
            self.part.clone()
        }

        /// Reads these bytes. It takes as long as it takes: do not let anybody wait for it.
        pub fn read(self, bytes: &[u8]) {
            self.room.meet();
            let at = bytes.as_ptr().addr();
            let place = match at.wrapping_sub(self.room.origin) {
                offset if offset == self.part.start => "here".to_owned(),
                _ => format!("{:x}", at.wrapping_sub(self.part.start)),
            };
            let is_right =
                bytes.len() == self.part.len() && sum(bytes) == self.room.sums[self.id as usize];
            let right = if is_right { "right" } else { "wrong" };
            self.room.lock().reports.push((self.id, format!("{place} {right}")));
        }
    }

    impl Drop for Reader {
        fn drop(&mut self) {
            self.room.lock().readers -= 1;
            self.room.changed.notify_all();
        }
    }

    /// Where readers meet: none goes on before all are there and the function has returned.
    pub(crate) struct Room {
        origin: usize,
        sums: Vec<u64>,
        state: Mutex<State>,
        changed: Condvar,
    }

    #[derive(Default)]
    struct State {
        readers: usize,
        inside: usize,
        threads: HashSet<ThreadId>,
        most: usize,
        has_returned: bool,
        /// Whether the readers go on, and whether the function had returned by then.
        open: Option<bool>,
        reports: Vec<(u64, String)>,
    }

    /// Lets the exercise hand a payload to readers of these parts, and waits until all of them are ready.
    pub(crate) fn hand(payload: Vec<u8>, parts: &[Range<usize>]) -> Arc<Room> {
        let room = Arc::new(Room {
            origin: payload.as_ptr().addr(),
            sums: parts.iter().map(|part| sum(&payload[part.clone()])).collect(),
            state: Mutex::new(State { readers: parts.len(), ..State::default() }),
            changed: Condvar::new(),
        });
        let reader = |(id, part): (u64, &Range<usize>)| Reader {
            id,
            part: part.clone(),
            room: Arc::clone(&room),
        };
        crate::exercise::hand_over(payload, (0..).zip(parts).map(reader).collect());
        room.lock().has_returned = true;
        room.changed.notify_all();
        let ready = room.changed.wait_while(room.lock(), |state| state.readers > 0);
        drop(ready.unwrap_or_else(PoisonError::into_inner));
        room
    }

    impl Room {
        fn lock(&self) -> MutexGuard<'_, State> {
            self.state.lock().unwrap_or_else(PoisonError::into_inner)
        }

        fn meet(&self) {
            let mut state = self.lock();
            state.inside += 1;
            state.threads.insert(thread::current().id());
            state.most = state.most.max(state.inside);
            let mut looks = 0;
            while state.open.is_none() {
                let all_there = state.inside == self.sums.len() && state.has_returned;
                if all_there || looks > LOOKS {
                    state.open = Some(state.has_returned);
                    self.changed.notify_all();
                    break;
                }
                let waited = self.changed.wait_timeout(state, Duration::from_millis(1));
                let timed_out;
                (state, timed_out) = waited.unwrap_or_else(PoisonError::into_inner);
                looks += u32::from(timed_out.timed_out());
            }
            state.inside -= 1;
        }

        /// Of each reader: where its bytes lay, and whether they were right.
        pub(crate) fn reports(&self) -> Vec<(u64, String)> {
            self.lock().reports.clone()
        }

        /// How many read at the same time, in how many threads one after another or not, and whether the function
        /// had returned then.
        pub(crate) fn met(&self) -> String {
            let state = self.lock();
            format!("{} {} {}", state.most, state.threads.len(), state.open.unwrap_or(false))
        }

        /// Whether all read the payload itself, at the same time, after the function had returned.
        pub(crate) fn is_well(&self) -> bool {
            let state = self.lock();
            let all = self.sums.len();
            let here = state.reports.iter().filter(|(_, report)| report == "here right").count();
            here == all && state.most == all && state.open == Some(true)
        }
    }

    /// Of all bytes, each with its place.
    fn sum(bytes: &[u8]) -> u64 {
        bytes
            .iter()
            .fold(0, |sum: u64, byte| sum.rotate_left(5).wrapping_mul(31) ^ u64::from(*byte))
    }
}
