//! Times every case, and the closed loop.
//!
//! `cargo bench -p benches -- handing_over` times one group, `cargo bench -p benches -- --test` runs each
//! case once.

use std::time::Duration;

use benches::catalogue;
use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use lab_kit::load::{Closed, Load, Outcome};

fn every_case(c: &mut Criterion) {
    for group in bench_cases::all() {
        let known = catalogue::find(group.name).expect("each group is in the catalogue");
        assert_eq!(known.first, group.cases[0].name, "the first of {}", group.name);
        let mut timed = c.benchmark_group(group.name);
        for case in group.cases {
            timed.throughput(Throughput::Elements(case.operations));
            timed.bench_function(&case.name, |b| {
                let mut call = (case.make)();
                b.iter(&mut call);
            });
        }
        timed.finish();
    }
}

/// The closed loop without a network, as it runs in a lab: 64 clients for 50 ms.
fn closed_loop(c: &mut Criterion) {
    let mut builder = tokio::runtime::Builder::new_current_thread();
    let runtime = builder.enable_all().build().expect("a runtime");
    let load = Load::default();
    let plan = Closed { clients: 64, window: Duration::from_millis(50), ..Closed::default() };
    // Time is given and requests are counted, so the time of one is worked out here.
    c.bench_function("recording/closed_loop_request", |b| {
        b.iter_custom(|iterations| {
            let tally = runtime.block_on(load.closed(plan, |_| async {
                tokio::task::yield_now().await;
                Outcome::Ok
            }));
            plan.window.mul_f64(iterations as f64 / tally.sent.max(1) as f64)
        });
    });
}

/// Short enough for all of them to end within minutes.
fn config() -> Criterion {
    Criterion::default()
        .sample_size(30)
        .nresamples(5000)
        .warm_up_time(Duration::from_millis(300))
        .measurement_time(Duration::from_millis(1000))
}

criterion_group! {
    name = all;
    config = config();
    targets = every_case, closed_loop
}
criterion_main!(all);
