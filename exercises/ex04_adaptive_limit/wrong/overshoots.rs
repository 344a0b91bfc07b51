use std::time::Duration;

/// How many requests may be under way at a service that nobody knows.
pub struct Limit {
    limit: f64,
    fastest: Duration,
    old: usize,
}

impl Limit {
    pub fn new() -> Limit {
        Limit { limit: 2.0, fastest: Duration::MAX, old: 0 }
    }

    /// How many requests may be under way now, one or more.
    pub fn current(&self) -> usize {
        self.limit as usize
    }

    /// Called for each answer: how long it took, whether it was one (true) or a refusal (false), and how many
    /// requests were under way just before it came, itself among them.
    pub fn answered(&mut self, took: Duration, ok: bool, under_way: usize) {
        if ok {
            self.fastest = self.fastest.min(took);
        }
        let is_old = self.old > 0;
        self.old = self.old.saturating_sub(1);
        if !ok || took > self.fastest.mul_f64(1.5) {
            if !is_old {
                self.limit = (self.limit * 0.5).max(1.0);
                self.old = under_way;
            }
        } else if under_way >= self.current() {
            // A tenth more each time: it is quickly where it should be.
            self.limit *= 1.1;
        }
    }
}
