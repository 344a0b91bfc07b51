use std::thread;

use crate::Reader;

/// Lets each reader read its part of the payload, in a thread of its own.
///
/// Returns at once: readers take as long as they take. When the last one is ready, nothing is left of the payload.
pub fn hand_over(payload: Vec<u8>, readers: Vec<Reader>) {
    // Threads of a scope may borrow.
    thread::scope(|scope| {
        for reader in readers {
            let part = &payload[reader.part()];
            scope.spawn(move || reader.read(part));
        }
    });
}
