//! The whole service: a line, and workers that take from it.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use async_channel::{Receiver, Sender};
use lab_kit::prelude::*;
use tokio::sync::{Semaphore, oneshot};
use tokio::task::JoinSet;

use super::{
    Answer, Door, Job, Params, accept, hold_back, line, on_top, patience, shed, systems::Meter,
    worker,
};

/// What a service does with those who find all workers busy.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Arm {
    Unbounded,
    Waits,
    Shed,
    Deadline,
    Expired,
    Newest,
}

impl Arm {
    pub(super) const ALL: [Arm; 6] =
        [Arm::Unbounded, Arm::Waits, Arm::Shed, Arm::Deadline, Arm::Expired, Arm::Newest];

    pub(super) fn name(self) -> &'static str {
        match self {
            Arm::Unbounded => "unbounded",
            Arm::Waits => "producer waits",
            Arm::Shed => "shed",
            Arm::Deadline => "deadline",
            Arm::Expired => "expired",
            Arm::Newest => "newest first",
        }
    }
}

/// The constants of one service.
#[derive(Clone, Copy, Debug)]
pub(super) struct Rules {
    pub(super) arm: Arm,
    pub(super) workers: usize,
    pub(super) places: usize,
    pub(super) patience: Option<Duration>,
    retry_after: Duration,
}

impl Rules {
    pub(super) fn of(p: &Params, arm: Arm) -> Rules {
        Rules {
            arm,
            workers: p.workers,
            places: p.places,
            patience: patience(arm, p.deadline.duration(), p.margin.duration()),
            retry_after: p.service.duration() * (p.places + 1) as u32 / p.workers as u32,
        }
    }
}

/// The whole service: a line, and workers that take from it.
pub(super) struct Service {
    pub(super) rules: Rules,
    queue: (Sender<Job>, Receiver<Job>),
    stack: Mutex<Vec<Job>>,
    tickets: Semaphore,
    /// Workers that serve.
    pub(super) busy: AtomicUsize,
    /// When each of these should be done.
    done: Mutex<BinaryHeap<Reverse<Instant>>>,
    /// From when to when no worker begins anything.
    frozen: Option<(Instant, Instant)>,
    pub(super) meter: Meter,
}

impl Service {
    /// Opens a service. Its workers end when the set is dropped.
    pub(super) fn open(
        rules: Rules,
        meter: Meter,
        frozen: Option<(Instant, Instant)>,
    ) -> (Arc<Service>, JoinSet<()>) {
        let service = Arc::new(Service {
            rules,
            queue: line(rules.arm, rules.places),
            stack: Mutex::default(),
            tickets: Semaphore::new(0),
            busy: AtomicUsize::new(0),
            done: Mutex::default(),
            frozen,
            meter,
        });
        let workers = (0..rules.workers).map(|_| worker(service.clone()));
        (service.clone(), workers.collect())
    }

    /// A request comes to the door.
    pub(super) async fn enter(
        &self,
        arrived: Instant,
        service: Duration,
    ) -> (Door, oneshot::Receiver<Answer>) {
        let (reply, answer) = oneshot::channel();
        let job = Job { arrived, service, reply };
        let queue = &self.queue.0;
        let door = match self.rules.arm {
            Arm::Unbounded | Arm::Deadline | Arm::Expired => accept(queue, job),
            Arm::Waits => hold_back(queue, job).await,
            Arm::Shed => shed(queue, job, self.rules.retry_after),
            Arm::Newest => on_top(&self.stack, &self.tickets, job),
        };
        if let Door::In(at) = door {
            self.meter.enter(at, self.waiting());
        }
        (door, answer)
    }

    /// The next request for a worker.
    pub(super) async fn next(&self) -> Option<Job> {
        if self.rules.arm == Arm::Newest {
            self.tickets.acquire().await.ok()?.forget();
            return self.stack.lock().expect("nobody panics holding it").pop();
        }
        self.queue.1.recv().await.ok()
    }

    /// A worker has begun something that ends then.
    pub(super) fn will_be_free(&self, due: Instant) {
        let mut done = self.done.lock().expect("nobody panics holding it");
        done.push(Reverse(due));
    }

    /// Since when a worker that woke up is free. One is as good as another: the first to wake goes on
    /// where the first to be done was, however late either timer fired.
    pub(super) fn free_since(&self) -> Instant {
        let mut done = self.done.lock().expect("nobody panics holding it");
        done.pop().map_or_else(Instant::now, |Reverse(due)| due)
    }

    fn waiting(&self) -> usize {
        match self.rules.arm {
            Arm::Newest => self.stack.lock().expect("nobody panics holding it").len(),
            _ => self.queue.1.len(),
        }
    }

    /// How many are inside at this moment: in the line, and with a worker.
    pub(super) fn inside(&self) -> usize {
        self.waiting() + self.busy.load(Ordering::Relaxed)
    }

    pub(super) fn thawed(&self, at: Instant) -> Instant {
        match self.frozen {
            Some((from, to)) if at >= from && at < to => to,
            _ => at,
        }
    }
}
