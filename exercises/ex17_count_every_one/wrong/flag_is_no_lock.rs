use exercise_kit::{
    sync::atomic::{AtomicBool, AtomicU64, Ordering},
    thread,
};

/// Counts for many threads at once.
pub struct Counter {
    busy: AtomicBool,
    total: AtomicU64,
}

impl Counter {
    pub fn new() -> Counter {
        Counter { busy: AtomicBool::new(false), total: AtomicU64::new(0) }
    }

    /// Called by every thread, as often as it likes. Each call must count.
    pub fn add_one(&self) {
        while self.busy.load(Ordering::SeqCst) {
            thread::yield_now();
        }
        self.busy.store(true, Ordering::SeqCst);
        let before = self.total.load(Ordering::Relaxed);
        self.total.store(before + 1, Ordering::Relaxed);
        self.busy.store(false, Ordering::SeqCst);
    }

    /// How many calls there were.
    pub fn total(&self) -> u64 {
        self.total.load(Ordering::Relaxed)
    }
}
