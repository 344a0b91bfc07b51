//! The other arms, and what theory needs to have measured by itself.

use std::sync::atomic::{AtomicUsize, Ordering};

use anyhow::bail;
use futures_util::{StreamExt, stream};
use lab_kit::prelude::*;

use super::{Job, desk::Desk, timed};

/// Calibration: fetches at so many a time, with nothing to process.
pub(super) fn fetch_only(r: &Recorder, job: Job, n: usize, at_a_time: usize) -> Result<()> {
    let service = job.service(r, at_a_time)?;
    let desk = Desk::open(r, &service, at_a_time)?;
    timed(r, job, n, || {
        let each = |_| async { desk.fetch().await.map(drop) };
        desk.run(stream::iter(0..n).map(each).buffer_unordered(at_a_time))
    })
}

/// Calibration: so many items on each of so many threads, with nothing to fetch.
pub(super) fn process_only(r: &Recorder, job: Job, each: usize, threads: usize) -> Result<()> {
    timed(r, job, each * threads, || {
        std::thread::scope(|scope| {
            for _ in 0..threads {
                scope.spawn(|| (0..each).for_each(|_| job.process(r, &Bytes::new())));
            }
        });
        Ok(())
    })
}

/// Everybody's baseline, measured like everybody else.
pub(super) fn one_after_another(r: &Recorder, job: Job, n: usize) -> Result<()> {
    let service = job.service(r, 1)?;
    let desk = Desk::open(r, &service, 1)?;
    timed(r, job, n, || {
        for _ in 0..n {
            job.process(r, &desk.fetch_alone()?);
        }
        Ok(())
    })
}

/// P threads. Each fetches, waits for its item, and computes.
pub(super) fn threads_only(r: &Recorder, job: Job, n: usize, threads: usize) -> Result<()> {
    let service = job.service(r, threads)?;
    let desks: Vec<_> = (0..threads).map(|_| Desk::open(r, &service, 1)).collect::<Result<_>>()?;
    let taken = AtomicUsize::new(0);
    let work = |desk: Desk| {
        while taken.fetch_add(1, Ordering::Relaxed) < n {
            job.process(r, &desk.fetch_alone()?);
        }
        Ok(())
    };
    timed(r, job, n, || {
        std::thread::scope(|scope| {
            let spawn = |desk| scope.spawn(|| work(desk));
            let threads: Vec<_> = desks.into_iter().map(spawn).collect();
            let ends = threads.into_iter().map(|t| t.join());
            ends.into_iter().try_for_each(|end| end.unwrap_or_else(|_| bail!("a thread panicked")))
        })
    })
}
