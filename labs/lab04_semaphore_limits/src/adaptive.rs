//! The limit that adapts.

use std::sync::Mutex;

use lab_kit::prelude::*;
use tokio::sync::Semaphore;

/// A semaphore whose number of permits follows the latencies it sees.
pub(super) struct Adaptive {
    permits: Semaphore,
    late: f64,
    state: Mutex<State>,
}

struct State {
    limit: f64,
    granted: usize,
    fastest: f64,
    /// Doubles each round trip until the first late one (slow start), then grows by one.
    starting: bool,
    /// Requests sent before this instant tell nothing about the limit since.
    round: Instant,
    sum: f64,
    seen: f64,
}

impl Adaptive {
    pub(super) fn new(start: usize, late: f64) -> Adaptive {
        let state = State {
            limit: start as f64,
            granted: start,
            fastest: f64::INFINITY,
            starting: true,
            round: Instant::now(),
            sum: 0.0,
            seen: 0.0,
        };
        Adaptive { permits: Semaphore::new(start), late, state: Mutex::new(state) }
    }

    pub(super) fn now(&self) -> f64 {
        self.state.lock().expect("nobody panics holding it").limit
    }

    pub(super) async fn run(&self, request: impl Future<Output = Outcome>) -> Outcome {
        let permit = self.permits.acquire().await;
        let sent = Instant::now();
        let outcome = request.await;
        let mut state = self.state.lock().expect("nobody panics holding it");
        if sent >= state.round {
            state.learn(sent.elapsed().as_secs_f64(), self.late);
        }
        let target = state.limit as usize;
        if target > state.granted {
            self.permits.add_permits(target - state.granted);
            state.granted = target;
        } else if target < state.granted
            && let Ok(permit) = permit
        {
            permit.forget();
            state.granted -= 1;
        }
        outcome
    }
}

impl State {
    /// A round trip is over when as many answers have come as may be in flight.
    fn learn(&mut self, took: f64, late: f64) {
        self.fastest = self.fastest.min(took);
        self.sum += took;
        self.seen += 1.0;
        if self.seen < self.limit.floor() {
            return;
        }
        let mean = self.sum / self.seen;
        if mean > late * self.fastest {
            // Little's law: without waiting, the same throughput has this much less in flight. The
            // queue that has built up needs a round trip to go.
            self.limit = (self.limit * (self.fastest / mean).max(0.5)).max(1.0);
            self.starting = false;
            self.round = Instant::now() + Duration::from_secs_f64(mean);
        } else {
            self.limit += if self.starting { self.limit } else { 1.0 };
            self.round = Instant::now();
        }
        (self.sum, self.seen) = (0.0, 0.0);
    }
}
