use std::time::Duration;

/// How many requests may be under way at a service that nobody knows.
pub struct Limit {
    limit: f64,
    fastest: Duration,
}

impl Limit {
    pub fn new() -> Limit {
        Limit { limit: 2.0, fastest: Duration::MAX }
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
        // All is well: a little more.
        if ok && took < self.fastest.mul_f64(1.5) && under_way >= self.current() {
            self.limit += 1.0 / self.limit;
        }
    }
}
