use std::{sync::Arc, thread};

use crate::Reader;

/// Lets each reader read its part of the payload, in a thread of its own.
///
/// Returns at once: readers take as long as they take. When the last one is ready, nothing is left of the payload.
pub fn hand_over(payload: Vec<u8>, readers: Vec<Reader>) {
    let payload: Arc<[u8]> = payload.into();
    for reader in readers {
        let payload = Arc::clone(&payload);
        let part = reader.part();
        thread::spawn(move || reader.read(&payload[part]));
    }
}
