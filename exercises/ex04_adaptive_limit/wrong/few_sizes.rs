use std::time::Duration;

/// For a small service and for a large one.
const SIZES: [usize; 2] = [7, 30];
/// So many rounds of good answers come before the larger one is tried.
const ROUNDS: usize = 40;

/// How many requests may be under way at a service that nobody knows.
pub struct Limit {
    size: usize,
    fastest: Duration,
    old: usize,
    good: usize,
}

impl Limit {
    pub fn new() -> Limit {
        Limit { size: 0, fastest: Duration::MAX, old: 0, good: 0 }
    }

    /// How many requests may be under way now, one or more.
    pub fn current(&self) -> usize {
        SIZES[self.size]
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
                self.size = 0;
                self.old = under_way;
                self.good = 0;
            }
        } else if under_way >= self.current() {
            self.good += 1;
            if self.good >= ROUNDS * self.current() {
                self.size = SIZES.len() - 1;
            }
        }
    }
}
