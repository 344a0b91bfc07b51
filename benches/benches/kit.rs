//! What each part of the instrument costs.
//!
//! The two that matter to a measurement come first: what a request costs in the books, and what an
//! arrival costs the upstream. The rest is what happens once a run, after it.

use std::{
    hint::black_box,
    time::{Duration, Instant},
};

use criterion::{BatchSize, Criterion, Throughput, criterion_group, criterion_main};
use lab_kit::{
    draw::{Theme, draw},
    figure::{Axis, Body, Colour, Figure, Layer, Line, Panel, Panels, Unit},
    load::{Book, Closed, Load, Outcome},
    record::{Latency, Point, Record, SCHEMA, Trial},
    stats::Estimate,
    store,
    theory::{ClosedLoop, Usl, erlang},
};
use mock_server::queue::Queue;

/// Latencies between 0.1 and 100 ms that repeat only after long: a constant one would always hit
/// the same cache line of the histogram.
fn latencies() -> impl Iterator<Item = Duration> {
    let mut state = 1u64;
    std::iter::repeat_with(move || {
        // The high bits of Knuth's generator (MMIX).
        state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        Duration::from_nanos(100_000 + (state >> 33) % 99_900_000)
    })
}

/// The cost of a request on the client's side, without the request.
fn recording(c: &mut Criterion) {
    let mut group = c.benchmark_group("recording");

    group.bench_function("latency", |b| {
        let (mut latency, mut next) = (Latency::new(), latencies());
        b.iter(|| latency.record(next.by_ref().next().unwrap_or_default()));
    });

    // What every attempt of a load costs: a place in the books when it is sent and when it ends.
    let hour = Duration::from_secs(3600);
    group.bench_function("outcome", |b| {
        let origin = Instant::now();
        let book = Book::new(origin, Some((origin, origin + hour)));
        let (mut sent, mut next) = (origin, latencies());
        b.iter(|| {
            sent += Duration::from_micros(10);
            book.enter(sent);
            let end = sent + next.by_ref().next().unwrap_or_default();
            book.leave(sent, end, black_box(Outcome::Ok), true);
        });
    });
    group.bench_function("outcome_with_clock", |b| {
        let origin = Instant::now();
        let book = Book::new(origin, Some((origin, origin + hour)));
        b.iter(|| {
            let sent = Instant::now();
            book.enter(sent);
            book.leave(sent, Instant::now(), black_box(Outcome::Ok), true);
        });
    });

    // The whole driver with an answer that is there at once: tasks, give-up timer, stop, books.
    let runtime = runtime();
    let load = Load::default();
    group.throughput(Throughput::Elements(1000));
    group.bench_function("burst_of_1000", |b| {
        b.to_async(&runtime)
            .iter(|| load.burst(1000, |_| async { Outcome::Ok }));
    });
    group.finish();
}

/// The cost of an arrival on the upstream's side.
fn admission(c: &mut Criterion) {
    const SERVICE: u64 = 100_000_000;
    const SLOTS: usize = 100;
    let mut group = c.benchmark_group("admission");
    for waiting in [0, 400] {
        group.bench_function(format!("100_slots_{waiting}_waiting"), |b| {
            let mut queue = Queue::new(SLOTS, None);
            // One slot becomes free a millisecond, and one request comes: the line keeps its length.
            let gap = SERVICE / SLOTS as u64;
            for i in 0..SLOTS as u64 {
                queue.arrive(0, (i + 1) * gap);
            }
            for _ in 0..waiting {
                queue.arrive(0, SERVICE);
            }
            let mut now = 0;
            b.iter(|| {
                now += gap;
                queue.arrive(black_box(now), SERVICE)
            });
            assert_eq!(queue.waiting(now), waiting);
        });
    }
    group.bench_function("refusal", |b| {
        let mut queue = Queue::new(SLOTS, Some(400));
        for _ in 0..SLOTS + 400 {
            queue.arrive(0, SERVICE);
        }
        b.iter(|| queue.arrive(black_box(1), SERVICE));
    });
    group.finish();
}

/// Predictions, made once a chart.
fn theory(c: &mut Criterion) {
    let mut group = c.benchmark_group("theory");
    group.bench_function("erlang_c_100_servers", |b| {
        b.iter(|| erlang::erlang_c(black_box(100), black_box(90.0)));
    });
    let closed = ClosedLoop {
        clients: 20,
        slots: 10,
        service: 0.1,
        queue: Some(40),
        timeout: 0.5,
        pause_after_refusal: 0.05,
        ramp: 0.1,
        ramped: 10,
        overhead: 0.001,
        jitter: 0.001,
        warm_up: 0.5,
        window: 2.0,
        seed: 1,
    };
    group.bench_function("closed_loop_20_clients", |b| {
        b.iter(|| black_box(closed).simulate());
    });
    let truth = Usl {
        lambda: 100.0,
        sigma: 0.03,
        kappa: 0.0004,
    };
    let measured = [1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0, 128.0].map(|n| (n, truth.at(n)));
    group.bench_function("usl_fit_8_points", |b| {
        b.iter(|| Usl::fit(black_box(&measured)));
    });
    group.finish();
}

/// From a record to a page.
fn reporting(c: &mut Criterion) {
    let mut group = c.benchmark_group("reporting");
    let trials = [0.98, 1.02, 1.01, 0.97, 1.05, 0.99, 1.0];
    group.bench_function("estimate_of_7_trials", |b| {
        b.iter(|| Estimate::of(black_box(&trials)));
    });

    let figure = figure();
    group.bench_function("draw_svg", |b| {
        b.iter(|| draw(black_box(&figure), "lab00").map(|d| d.svg.len()));
    });
    let drawing = draw(&figure, "lab00").expect("a plain figure can be drawn");
    group.bench_function("draw_png", |b| {
        b.iter(|| drawing.png(Theme::Light, 1.0).map(|png| png.len()));
    });

    let dir = tempfile::tempdir().expect("a temporary folder");
    let path = store::save(dir.path(), &record()).expect("a record can be written there");
    group.bench_function("load_record", |b| {
        b.iter_batched(|| &path, |p| store::load(p), BatchSize::LargeInput);
    });
    store::load(&path).expect("the record can be read back");
    group.finish();
}

/// Two panels as most labs draw them: theory dashed, measurement with its interval.
fn figure() -> Figure {
    let truth = Usl {
        lambda: 100.0,
        sigma: 0.03,
        kappa: 0.0004,
    };
    let loads: Vec<f64> = (0..9).map(|i| f64::from(1 << i)).collect();
    let points: Vec<_> = loads.iter().map(|n| (*n, truth.at(*n))).collect();
    let band = points
        .iter()
        .map(|(n, x)| (*n, x * 0.97, x * 1.03))
        .collect();
    let layers = vec![
        Layer::Line(Line::theory("theory", Colour::Muted, points.clone())),
        Layer::Line(Line::measured("measured", Colour::Blue, points).with_band(band)),
    ];
    let panel = |title: &str| Panel {
        title: title.into(),
        note: "per second".into(),
        y: Axis::linear("", Unit::Number),
        layers: layers.clone(),
        height: 1.0,
    };
    Figure {
        id: "bench".into(),
        title: "Goodput stops growing at 49 clients".into(),
        subtitle: "Nothing was measured for this chart".into(),
        desc: "Two panels with the same rising and falling curve.".into(),
        body: Body::Panels(Panels {
            x: Axis::log("clients", Unit::Number),
            panels: vec![panel("Goodput"), panel("Goodput again")],
            marks: vec![],
        }),
    }
}

/// Two conditions with three trials of a thousand requests: what a quick run of a small lab writes.
fn record() -> Record {
    let trial = |offered: u64| {
        let mut trial = Trial {
            wall_s: 1.0,
            offered,
            ok: offered,
            ..Trial::default()
        };
        for latency in latencies().take(offered as usize) {
            trial.latency.record(latency);
            trial.attempt_latency.record(latency);
        }
        trial
    };
    let point = |series: &str| Point {
        series: series.into(),
        x: 1.0,
        trials: vec![trial(1000), trial(1000), trial(1000)],
    };
    // As a file would have it: fields that come later have defaults there.
    let host = serde_json::json!({
        "system": "none", "cpu": null, "cores": 1, "memory_bytes": null, "open_files": null,
        "build": "release", "effective_parallelism": [1.0], "timer_late_ms": 1.0,
        "timer_late_p99_ms": 2.0, "spin_jitter_ms": 0.1, "upstream_ceiling_per_s": 1e4,
        "request_overhead_ms": 0.1,
    });
    let record = serde_json::json!({
        "schema": SCHEMA, "lab": "lab00", "params": { "slots": 10 }, "scale": "quick", "seed": 1,
        "started_at": "2026-01-01T00:00:00Z", "interrupted": false, "host": host,
        "points": [point("a"), point("b")],
    });
    serde_json::from_value(record).expect("it has every field that has no default")
}

/// The closed loop without a network, as it runs in a lab: 64 clients for 50 ms.
fn closed_loop(c: &mut Criterion) {
    let runtime = runtime();
    let load = Load::default();
    let plan = Closed {
        clients: 64,
        window: Duration::from_millis(50),
        ..Closed::default()
    };
    // Time is given and requests are counted, so the time of one is worked out here.
    c.bench_function("recording/closed_loop_request", |b| {
        b.iter_custom(|iterations| {
            let tally = runtime.block_on(load.closed(plan, |_| async {
                tokio::task::yield_now().await;
                Outcome::Ok
            }));
            plan.window
                .mul_f64(iterations as f64 / tally.sent.max(1) as f64)
        });
    });
}

fn runtime() -> tokio::runtime::Runtime {
    let mut builder = tokio::runtime::Builder::new_current_thread();
    builder
        .enable_all()
        .build()
        .expect("a runtime on this thread")
}

/// Short enough for all of them to end within a minute.
fn config() -> Criterion {
    Criterion::default()
        .sample_size(30)
        .nresamples(5000)
        .warm_up_time(Duration::from_millis(500))
        .measurement_time(Duration::from_millis(1500))
}

criterion_group! {
    name = kit;
    config = config();
    targets = recording, closed_loop, admission, theory, reporting
}
criterion_main!(kit);
