use exercise_kit::sync::atomic::{AtomicU64, Ordering};

/// Counts for many threads at once.
pub struct Counter {
    total: AtomicU64,
}

impl Counter {
    pub fn new() -> Counter {
        Counter { total: AtomicU64::new(0) }
    }

    /// Called by every thread, as often as it likes. Each call must count.
    pub fn add_one(&self) {
        let before = self.total.load(Ordering::Relaxed);
        self.total.store(before + 1, Ordering::Relaxed);
    }

    /// How many calls there were.
    pub fn total(&self) -> u64 {
        self.total.load(Ordering::Relaxed)
    }
}
