use std::time::Duration;

/// How many requests may be under way at a service that nobody knows.
pub struct Limit {
    limit: f64,
}

impl Limit {
    pub fn new() -> Limit {
        Limit { limit: 40.0 }
    }

    /// How many requests may be under way now, one or more.
    pub fn current(&self) -> usize {
        self.limit as usize
    }

    /// Called for each answer: how long it took, whether it was one (true) or a refusal (false), and how many
    /// requests were under way just before it came, itself among them.
    pub fn answered(&mut self, took: Duration, ok: bool, under_way: usize) {
        let _ = (took, ok, under_way);
    }
}
