//! Who is told what the pipeline does.

use std::{
    collections::BTreeMap,
    sync::{Mutex, PoisonError},
};

use lab_kit::prelude::*;

/// Who is told what happens.
pub(super) enum Log {
    /// A line an item.
    Lines,
    /// A trial, with what the pipeline believes it has done.
    Trial(Recorder, Mutex<Told>),
}

#[derive(Default)]
pub(super) struct Told {
    /// Whether each stretch of work is written down as well.
    spans: bool,
    /// Seconds by stage.
    pub(super) busy: BTreeMap<&'static str, f64>,
    pub(super) stored: Vec<Duration>,
    pub(super) failures: BTreeMap<String, u64>,
}

impl Log {
    pub(super) fn of(r: &Recorder, spans: bool) -> Log {
        let told = Told { spans, ..Told::default() };
        Log::Trial(r.clone(), Mutex::new(told))
    }

    /// Of the jitter: processes must not wait alike.
    pub(super) fn seed(&self) -> u64 {
        match self {
            Log::Lines => std::process::id().into(),
            Log::Trial(r, _) => r.seed(),
        }
    }

    pub(super) fn span(&self, stage: &'static str, item: usize, start: Instant, end: Instant) {
        let Log::Trial(r, told) = self else { return };
        let mut told = told.lock().unwrap_or_else(PoisonError::into_inner);
        *told.busy.entry(stage).or_default() += (end - start).as_secs_f64();
        if told.spans {
            r.span(stage, &item.to_string(), start, end);
        }
    }

    pub(super) fn stored(&self, item: usize, begun: Instant, fell_back: bool) {
        match self {
            Log::Lines => {
                println!("item {item} stored{}", if fell_back { " (fallback)" } else { "" })
            }
            Log::Trial(_, told) => {
                let mut told = told.lock().unwrap_or_else(PoisonError::into_inner);
                told.stored.push(begun.elapsed());
            }
        }
    }

    pub(super) fn failed(&self, item: usize, reason: String) {
        match self {
            Log::Lines => println!("item {item} failed: {reason}"),
            Log::Trial(_, told) => {
                let mut told = told.lock().unwrap_or_else(PoisonError::into_inner);
                *told.failures.entry(reason).or_default() += 1;
            }
        }
    }
}
