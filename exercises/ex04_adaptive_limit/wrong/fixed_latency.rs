use std::time::Duration;

/// Slower than this is too slow.
const LATE: Duration = Duration::from_millis(60);

/// How many requests may be under way at a service that nobody knows.
pub struct Limit {
    limit: f64,
    old: usize,
}

impl Limit {
    pub fn new() -> Limit {
        Limit { limit: 2.0, old: 0 }
    }

    /// How many requests may be under way now, one or more.
    pub fn current(&self) -> usize {
        self.limit as usize
    }

    /// Called for each answer: how long it took, whether it was one (true) or a refusal (false), and how many
    /// requests were under way just before it came, itself among them.
    pub fn answered(&mut self, took: Duration, ok: bool, under_way: usize) {
        let is_old = self.old > 0;
        self.old = self.old.saturating_sub(1);
        if !ok || took > LATE {
            if !is_old {
                self.limit = (self.limit * 0.75).max(1.0);
                self.old = under_way;
            }
        } else if under_way >= self.current() {
            self.limit += 1.0 / self.limit;
        }
    }
}
