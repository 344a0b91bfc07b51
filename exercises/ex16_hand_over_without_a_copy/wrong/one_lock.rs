use std::{
    sync::{Arc, Mutex},
    thread,
};

use crate::Reader;

/// Lets each reader read its part of the payload, in a thread of its own.
///
/// Returns at once: readers take as long as they take. When the last one is ready, nothing is left of the payload.
pub fn hand_over(payload: Vec<u8>, readers: Vec<Reader>) {
    let payload = Arc::new(Mutex::new(payload));
    for reader in readers {
        let (part, payload) = (reader.part(), Arc::clone(&payload));
        thread::spawn(move || {
            let payload = payload.lock().expect("no reader panics");
            reader.read(&payload[part]);
        });
    }
}
