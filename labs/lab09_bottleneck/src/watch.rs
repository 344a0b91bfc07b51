//! A look at all stages from outside.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    thread,
};

use async_channel::WeakReceiver;
use lab_kit::prelude::*;

use super::workers::{Item, Names};

/// What can be seen of a stage, and how many workers it has.
pub(super) struct Look {
    pub(super) names: &'static Names,
    pub(super) at_work: Arc<AtomicUsize>,
    pub(super) queue: WeakReceiver<Item>,
    pub(super) width: usize,
}

impl Look {
    /// The share of its workers that work, and the items that wait before it.
    fn now(&self) -> [(Option<Gauge>, f64); 2] {
        let share = self.at_work.load(Ordering::Relaxed) as f64 / self.width as f64;
        let waiting = self.queue.upgrade().map_or(0.0, |queue| queue.len() as f64);
        [(Some(self.names.at_work), share), (self.names.waiting, waiting)]
    }
}

/// Looks at all stages about once a millisecond, as a monitor in production would: how many of their
/// workers work, and how many items wait. It reads no clock of theirs. Sleeps end late by a little, so
/// that the looks do not keep step with what they look at.
pub(super) struct Watch {
    r: Recorder,
    over: Arc<AtomicBool>,
    thread: thread::JoinHandle<Vec<(Gauge, f64)>>,
}

impl Watch {
    pub(super) fn begin(r: &Recorder, stages: Vec<Look>) -> Watch {
        let over = Arc::new(AtomicBool::new(false));
        let ends = over.clone();
        Watch { r: r.clone(), over, thread: thread::spawn(move || watch(&stages, &ends)) }
    }

    pub(super) fn end(self) -> Result<()> {
        self.over.store(true, Ordering::Relaxed);
        let seen = self.thread.join();
        let seen = seen.map_err(|_| anyhow::anyhow!("the thread that looks panicked"))?;
        for (gauge, mean) in seen {
            self.r.gauge(gauge, mean);
        }
        Ok(())
    }
}

/// What was seen on average. A late look stands for the longer time before it.
fn watch(stages: &[Look], over: &AtomicBool) -> Vec<(Gauge, f64)> {
    let all = || stages.iter().flat_map(Look::now);
    let begin = Instant::now();
    let (mut at, mut last) = (begin, all().collect::<Vec<_>>());
    let mut areas = vec![0.0; last.len()];
    while !over.load(Ordering::Relaxed) {
        thread::sleep(Duration::from_millis(1));
        let (now, seen) = (Instant::now(), all().collect::<Vec<_>>());
        let passed = (now - at).as_secs_f64();
        for (area, (before, after)) in areas.iter_mut().zip(last.iter().zip(&seen)) {
            *area += passed * (before.1 + after.1) / 2.0;
        }
        (at, last) = (now, seen);
    }
    let took = (at - begin).as_secs_f64();
    let means = last.iter().zip(areas);
    let named = means.filter_map(|((name, _), area)| Some(((*name)?, area / took)));
    named.collect()
}
