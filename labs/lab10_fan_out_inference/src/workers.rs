//! The pool that infers.

use std::sync::Arc;

use lab_kit::prelude::*;
use rayon::{ThreadPool, ThreadPoolBuilder};

use super::plan::Work;

/// The pool that infers. Every job holds a clone.
#[derive(Clone)]
pub(super) struct Workers {
    pub(super) pool: Arc<ThreadPool>,
    work: Work,
    kernel: Kernel,
}

impl Workers {
    pub(super) fn new(threads: usize, work: Work, kernel: Kernel) -> Result<Workers> {
        let pool = ThreadPoolBuilder::new()
            .num_threads(threads)
            .thread_name(|i| format!("worker {}", i + 1))
            .build()?;
        Ok(Workers { pool: Arc::new(pool), work, kernel })
    }

    pub(super) fn compute(&self, cost: Duration) {
        match self.work {
            Work::Spin => self.kernel.work(cost),
            Work::Sleep => std::thread::sleep(cost),
        }
    }
}
