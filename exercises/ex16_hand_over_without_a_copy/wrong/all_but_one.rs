use std::thread;

use crate::Reader;

/// Lets each reader read its part of the payload, in a thread of its own.
///
/// Returns at once: readers take as long as they take. When the last one is ready, nothing is left of the payload.
pub fn hand_over(payload: Vec<u8>, readers: Vec<Reader>) {
    let mut readers = readers.into_iter();
    let last = readers.next_back();
    for reader in readers {
        // Only what this reader wants.
        let part = payload[reader.part()].to_vec();
        thread::spawn(move || reader.read(&part));
    }
    // The last one needs no copy: nobody wants the payload after it.
    if let Some(reader) = last {
        let part = reader.part();
        thread::spawn(move || reader.read(&payload[part]));
    }
}
