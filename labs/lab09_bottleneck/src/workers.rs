//! The workers of a stage: what they take, do and pass on, and what they write down.

use std::{
    io,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    thread,
};

use async_channel::{Receiver, Sender};
use lab_kit::prelude::*;
use tokio::{runtime, sync::oneshot};

use super::{
    gauges::{AT_WORK, BLOCKED_S, BUSY_S, QUEUE_MEAN},
    plan::Work,
    watch::Look,
};

/// How long a worker computes before it lets whoever waits for its processor go first. The event
/// loop and the upstream are on this machine, too, and a thread that wakes on a busy processor waits
/// for a turn of the scheduler, 3 to 4 ms here. Without this, requests are up to that late, and with
/// as many workers as processors most are.
const POLITE: Duration = Duration::from_micros(100);

/// What a process worker does with an item.
#[derive(Clone, Copy)]
pub(super) struct Job(pub(super) Work, pub(super) Kernel);

impl Job {
    pub(super) fn run(self, cost: Duration) {
        match self.0 {
            Work::Spin => {
                for slice in self.1.slices(cost, POLITE) {
                    self.1.work(slice);
                    thread::yield_now();
                }
            }
            Work::Sleep => thread::sleep(cost),
        }
    }
}

/// One item on its way, and who waits for its end.
pub(super) struct Item(oneshot::Sender<Outcome>);

impl Item {
    /// Puts a new one before the first stage; it ends with what has become of it.
    pub(super) fn put(source: &Sender<Item>) -> impl Future<Output = Outcome> + use<> {
        let (done, end) = oneshot::channel();
        let sent = source.try_send(Item(done));
        async move {
            match sent {
                Ok(()) => end.await.unwrap_or(Outcome::Aborted),
                Err(_) => Outcome::Aborted,
            }
        }
    }
}

/// A thread for a worker that computes; its channels are the event loop's.
pub(super) fn on_a_thread(
    number: usize,
    worker: impl Future<Output = ()> + Send + 'static,
) -> io::Result<thread::JoinHandle<()>> {
    let event_loop = runtime::Handle::current();
    let thread = thread::Builder::new().name(format!("process {number}"));
    thread.spawn(move || event_loop.block_on(worker))
}

pub(super) async fn ask(request: &reqwest::RequestBuilder) -> Outcome {
    let Some(request) = request.try_clone() else {
        return Outcome::Aborted;
    };
    let answer = async { http::success(request.send().await?).await };
    Outcome::of(answer.await)
}

/// One stage as its workers see it, and what it writes down.
#[derive(Clone)]
pub(super) struct Stage {
    r: Recorder,
    names: &'static Names,
    input: Receiver<Item>,
    output: Option<Sender<Item>>,
    /// How many of its workers work on an item just now.
    at_work: Arc<AtomicUsize>,
}

/// What the figures and traces of a stage are called.
pub(super) struct Names {
    /// The share of its workers that work, at any look.
    pub(super) at_work: Gauge,
    /// The items that wait before it, at any look. Nothing waits before the first stage but what is left to do.
    pub(super) waiting: Option<Gauge>,
    /// The mean time an item is worked on.
    busy: Gauge,
    /// The mean time a finished item waits for a place in the next queue.
    blocked: Gauge,
    /// The length of the queue behind the stage, over time.
    queue_behind: Option<&'static str>,
    /// And of the one before it.
    queue_before: Option<&'static str>,
}

pub(super) const FETCH: Names = Names {
    at_work: AT_WORK.of("fetch"),
    waiting: None,
    busy: BUSY_S.of("fetch"),
    blocked: BLOCKED_S.of("fetch"),
    queue_behind: Some("process_queue"),
    queue_before: None,
};
pub(super) const PROCESS: Names = Names {
    at_work: AT_WORK.of("process"),
    waiting: Some(QUEUE_MEAN.of("process")),
    busy: BUSY_S.of("process"),
    blocked: BLOCKED_S.of("process"),
    queue_behind: Some("store_queue"),
    queue_before: Some("process_queue"),
};
pub(super) const STORE: Names = Names {
    at_work: AT_WORK.of("store"),
    waiting: Some(QUEUE_MEAN.of("store")),
    busy: BUSY_S.of("store"),
    blocked: BLOCKED_S.of("store"),
    queue_behind: None,
    queue_before: Some("store_queue"),
};

impl Stage {
    pub(super) fn new(
        r: &Recorder,
        names: &'static Names,
        input: Receiver<Item>,
        output: Option<Sender<Item>>,
    ) -> Stage {
        let r = r.clone();
        Stage { r, names, input, output, at_work: Arc::default() }
    }

    /// What can be seen of it from outside, without keeping its queue open, with how many workers it has.
    pub(super) fn look(&self, width: usize) -> Look {
        Look {
            names: self.names,
            at_work: self.at_work.clone(),
            queue: self.input.downgrade(),
            width,
        }
    }

    /// The next item that somebody still waits for; `None` when there will be none.
    pub(super) async fn take(&self) -> Option<Item> {
        loop {
            let item = self.input.recv().await.ok()?;
            if let Some(queue) = self.names.queue_before {
                self.r.trace(queue, Instant::now(), self.input.len() as f64);
            }
            if !item.0.is_closed() {
                return Some(item);
            }
        }
    }

    /// A worker begins to work on an item.
    pub(super) fn begins(&self) -> Instant {
        self.at_work.fetch_add(1, Ordering::Relaxed);
        Instant::now()
    }

    pub(super) fn worked(&self, since: Instant) {
        self.at_work.fetch_sub(1, Ordering::Relaxed);
        self.r.sample(self.names.busy, since.elapsed().as_secs_f64());
    }

    /// Waits for a place in the next queue: this is the back-pressure. Until then this worker takes
    /// no other item, and it is not busy.
    pub(super) async fn pass_on(&self, item: Item, outcome: Outcome) {
        let Some(output) = self.output.as_ref().filter(|_| outcome == Outcome::Ok) else {
            // The end of the line, or of this item. Nobody may wait for it any more.
            let _ = item.0.send(outcome);
            return;
        };
        let finished = Instant::now();
        // It fails only when the next stage has gone, and the item's end is then dropped with it.
        let _ = output.send(item).await;
        self.r.sample(self.names.blocked, finished.elapsed().as_secs_f64());
        if let Some(queue) = self.names.queue_behind {
            self.r.trace(queue, Instant::now(), output.len() as f64);
        }
    }
}
