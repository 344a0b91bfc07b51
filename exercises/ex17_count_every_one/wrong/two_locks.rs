use exercise_kit::sync::Mutex;

/// Counts for many threads at once.
pub struct Counter {
    total: Mutex<u64>,
}

impl Counter {
    pub fn new() -> Counter {
        Counter { total: Mutex::new(0) }
    }

    /// Called by every thread, as often as it likes. Each call must count.
    pub fn add_one(&self) {
        let before = *self.total.lock().unwrap();
        *self.total.lock().unwrap() = before + 1;
    }

    /// How many calls there were.
    pub fn total(&self) -> u64 {
        *self.total.lock().unwrap()
    }
}
