//! What is run beside the pipelines, and what every run with requests begins with.

use lab_kit::{prelude::*, theory::simulate};
use mock_server::{MAX_SLOTS, Route, Slots};
use rayon::prelude::*;

use super::{
    gauges,
    plan::REQUEST,
    stages::Stages,
    workers::{Job, ask},
};

/// A route with slots for everybody: the width is the pipeline's to choose.
pub(super) fn route(path: &str, service: &ServiceTime) -> Route {
    Route {
        slots: Slots::Own { slots: MAX_SLOTS, queue: None },
        ..Route::new(path, service.clone())
    }
}

/// Requests one after another, with nothing else going on: what does one cost besides its service?
pub(super) async fn one_by_one(r: &Recorder, requests: usize) -> Result<()> {
    let spec = Spec::new(MAX_SLOTS, ServiceTime::Constant(REQUEST));
    let (service, client) = r.connected(spec, 1).await?;
    for _ in 0..requests {
        let start = Instant::now();
        let _ = ask(&client.get(service.url())).await;
        r.sample(gauges::REQUEST_S, start.elapsed().as_secs_f64());
    }
    Ok(())
}

/// The process stage without the others: what are workers beyond the processors good for?
pub(super) fn only_process(
    r: &Recorder,
    threads: usize,
    jobs: usize,
    job: Job,
    cost: Duration,
) -> Result<()> {
    let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build()?;
    let start = Instant::now();
    pool.install(|| {
        let one_by_one = (0..jobs).into_par_iter().with_max_len(1);
        one_by_one.for_each(|_| job.run(cost));
    });
    r.wall(start.elapsed());
    r.gauge(gauges::JOBS, jobs as f64);
    Ok(())
}

/// The same pipeline, or any other, on no clock and no processor.
pub(super) fn in_virtual_time(
    r: &Recorder,
    stages: &Stages,
    n: usize,
    queue: usize,
    seed: u64,
) -> Result<()> {
    let run = simulate(&stages.stations(queue), n, seed);
    let run = run.ok_or_else(|| anyhow::anyhow!("{stages} cannot be simulated"))?;
    r.gauge(gauges::MAKESPAN_S, run.makespan);
    for (step, usage) in stages.0.iter().zip(&run.stations) {
        let per_item = |sum: f64| sum / n as f64;
        r.gauge(gauges::BUSY_S.of(step.name), per_item(usage.busy));
        r.gauge(gauges::BLOCKED_S.of(step.name), per_item(usage.blocked));
        r.gauge(gauges::QUEUE_MEAN.of(step.name), usage.mean_queue);
    }
    Ok(())
}
