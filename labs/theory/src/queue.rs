//! A finite number of slots in virtual time: first come, first served.
//!
//! The queue answers one question, when would this request start and finish, and needs neither clock nor thread
//! for it: every instant is handed in. It serves the upstream, whose instants come from a clock, and simulations,
//! whose instants come from an event list.
//!
//! It is the system G/G/c/c+K of queueing theory: c slots, K waiting places. K = 0 is a pure loss system
//! (Erlang B for Poisson arrivals), no bound on K the waiting system (Erlang C for exponential services).

use std::cmp::Reverse;
use std::collections::{BinaryHeap, VecDeque};

/// What became of an arrival.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Admission {
    /// It has a slot, now or later.
    Admitted {
        /// The instant its service begins, in nanoseconds; equal to the arrival when a slot was free.
        start: u64,
        /// The instant its service ends, in nanoseconds: `start` plus its service time.
        finish: u64,
    },
    /// Every slot was busy and every waiting place taken.
    Refused {
        /// The instant the next waiting place opens (without waiting places: the next slot), in nanoseconds.
        free_at: u64,
    },
}

/// How many requests came and what became of them; `arrived = admitted + refused` at all times.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counts {
    /// Calls of [`Queue::arrive`].
    pub arrived: u64,
    /// Those that got a slot, now or later.
    pub admitted: u64,
    /// Those that were turned away.
    pub refused: u64,
}

/// `c` slots and a waiting line before them, in virtual time.
///
/// Instants are nanoseconds from an origin of the caller's choosing and never run backwards: one that is earlier
/// than the latest seen counts as the latest seen. Sums beyond `u64::MAX` (584 years) stay there.
///
/// An arrival costs O(log c). Memory follows the requests present, not `slots`.
///
/// ```
/// use crate::queue::{Admission, Queue};
///
/// let mut queue = Queue::new(1, Some(1));
/// assert_eq!(queue.arrive(0, 10), Admission::Admitted { start: 0, finish: 10 });
/// assert_eq!(queue.arrive(2, 10), Admission::Admitted { start: 10, finish: 20 });
/// assert_eq!(queue.arrive(4, 10), Admission::Refused { free_at: 10 });
/// assert_eq!((queue.in_service(4), queue.waiting(4)), (1, 1));
/// ```
#[derive(Debug, Clone)]
pub struct Queue {
    slots: usize,
    places: Option<usize>,
    now: u64,
    /// For each busy slot the instant at which it has done all work given to it. A slot with work ahead is busy
    /// without a gap until then, so the length is the number in service.
    busy: BinaryHeap<Reverse<u64>>,
    /// The starts of those waiting, in order of arrival, which is also their order in time.
    line: VecDeque<u64>,
    counts: Counts,
}

impl Queue {
    /// An idle system of `slots` slots (0 counts as 1) and `places` waiting places (`None`: as many as needed).
    #[must_use]
    pub fn new(slots: usize, places: Option<usize>) -> Self {
        Self {
            slots: slots.max(1),
            places,
            now: 0,
            busy: BinaryHeap::new(),
            line: VecDeque::new(),
            counts: Counts::default(),
        }
    }

    /// A request arrives at `now` and would hold a slot for `service`, both in nanoseconds.
    pub fn arrive(&mut self, now: u64, service: u64) -> Admission {
        self.advance(now);
        self.counts.arrived += 1;
        let start = if self.busy.len() < self.slots {
            self.now
        } else {
            let next = self.busy.peek().map_or(self.now, |&Reverse(at)| at);
            if self.places.is_some_and(|places| self.line.len() >= places) {
                self.counts.refused += 1;
                let free_at = self.line.front().copied().unwrap_or(next);
                return Admission::Refused { free_at };
            }
            self.busy.pop();
            self.line.push_back(next);
            next
        };
        let finish = start.saturating_add(service);
        self.busy.push(Reverse(finish));
        self.counts.admitted += 1;
        Admission::Admitted { start, finish }
    }

    /// How many hold a slot at `now`: started, not finished.
    pub fn in_service(&mut self, now: u64) -> usize {
        self.advance(now);
        self.busy.len()
    }

    /// How many are admitted at `now` but not started.
    pub fn waiting(&mut self, now: u64) -> usize {
        self.advance(now);
        self.line.len()
    }

    /// How many are in the system at `now`: in service and waiting.
    pub fn backlog(&mut self, now: u64) -> usize {
        self.advance(now);
        self.busy.len() + self.line.len()
    }

    /// What came, and what became of it, since the beginning.
    #[must_use]
    pub fn counts(&self) -> Counts {
        self.counts
    }

    /// The number of slots, c.
    #[must_use]
    pub fn slots(&self) -> usize {
        self.slots
    }

    /// The number of waiting places, K; `None` is no bound.
    #[must_use]
    pub fn places(&self) -> Option<usize> {
        self.places
    }

    fn advance(&mut self, now: u64) {
        self.now = self.now.max(now);
        while self.busy.peek().is_some_and(|&Reverse(at)| at <= self.now) {
            self.busy.pop();
        }
        while self.line.front().is_some_and(|&start| start <= self.now) {
            self.line.pop_front();
        }
    }
}
