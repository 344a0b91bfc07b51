use std::time::Duration;

/// An answer that takes so many times the fastest has waited in the service.
const LATE: f64 = 1.5;

/// How many requests may be under way at a service that nobody knows.
pub struct Limit {
    limit: f64,
    /// The shortest time of an answer so far: what one takes that waits for nobody.
    fastest: Duration,
    /// So many answers belong to requests that were sent before the limit was last lowered.
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
        if !ok || took > self.fastest.mul_f64(LATE) {
            // Once for all that are under way: they tell of the old limit.
            if !is_old {
                self.limit = (self.limit * 0.75).max(1.0);
                self.old = under_way;
            }
        } else if under_way >= self.current() {
            // One more for each round of answers, and only where the limit is what holds back.
            self.limit += 1.0 / self.limit;
        }
    }
}
