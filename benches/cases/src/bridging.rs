//! What does it cost to leave the event loop for something that computes, and to come back?

use std::hint::black_box;

use tokio::{
    runtime::Runtime,
    sync::oneshot,
    task::{block_in_place, spawn_blocking},
};

use super::{Group, case, compute, two_threads};

/// Jobs in a call, one after another: the way there and back is what is asked for.
const JOBS: u64 = 100;
/// Some 10 µs of computing.
const STEPS: u64 = 10_000;

/// Jobs are asked for by a task on a worker, as they would be by a handler.
fn ask<F, Fut>(runtime: &Runtime, job: F)
where
    F: Fn(u64) -> Fut + Send + 'static,
    Fut: Future<Output = u64> + Send,
{
    let asking = runtime.spawn(async move {
        for i in 0..JOBS {
            black_box(job(i).await);
        }
    });
    runtime.block_on(asking).expect("it does not panic");
}

pub fn group() -> Group {
    let cases = vec![
        // The mistake, and the cheapest: everybody else on this worker waits.
        case("on_the_loop", JOBS, || {
            let runtime = two_threads();
            move || ask(&runtime, |i| async move { compute(STEPS, i) })
        }),
        // The worker hands its queue to another thread, and computes.
        case("block_in_place", JOBS, || {
            let runtime = two_threads();
            move || ask(&runtime, |i| async move { block_in_place(|| compute(STEPS, i)) })
        }),
        // A thread of the blocking pool, of which there may be 512: for waiting, not for computing.
        case("spawn_blocking", JOBS, || {
            let runtime = two_threads();
            move || {
                ask(&runtime, |i| async move {
                    let job = spawn_blocking(move || compute(STEPS, i));
                    job.await.expect("it does not panic")
                })
            }
        }),
        // A pool with a thread a processor, and a oneshot for the way back.
        case("rayon_oneshot", JOBS, || {
            let runtime = two_threads();
            move || {
                ask(&runtime, |i| async move {
                    let (tell, told) = oneshot::channel();
                    rayon::spawn(move || {
                        let _ = tell.send(compute(STEPS, i));
                    });
                    told.await.expect("it tells")
                })
            }
        }),
    ];
    Group { name: "bridging", cases }
}
