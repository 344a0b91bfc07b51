//! What does the instrument itself cost?
//!
//! Recording and admission matter to a measurement: what a request costs in the books, and what an
//! arrival costs the upstream. The rest happens once a run, after it.

use std::{
    hint::black_box,
    time::{Duration, Instant},
};

use lab_kit::{
    draw::{Theme, draw},
    figure::{Axis, Body, Colour, Figure, Layer, Line, Panel, Panels, Unit},
    load::{Book, Load, Outcome},
    record::{Latency, Point, Record, SCHEMA, Trial},
    stats::{mean_with_interval, median_with_interval},
    store,
    theory::{ClosedLoop, Station, Usl, erlang, simulate},
};
use mock_server::{Service, queue::Queue};

use super::{Case, Group, case, current, keep};

/// Calls of what takes nanoseconds.
const MANY: u64 = 100;

pub fn groups() -> [Group; 4] {
    [recording(), admission(), theory(), reporting()]
}

/// Latencies between 0.1 and 100 ms that repeat only after long: a constant one would always hit
/// the same cache line of the histogram.
struct Latencies(u64);

impl Latencies {
    fn draw(&mut self) -> Duration {
        // The high bits of Knuth's generator (MMIX).
        self.0 =
            self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        Duration::from_nanos(100_000 + (self.0 >> 33) % 99_900_000)
    }
}

/// The cost of a request on the client's side, without the request.
fn recording() -> Group {
    let weeks = Duration::from_secs(10_000_000);
    let book = move || {
        let origin = Instant::now();
        (origin, Book::new(origin, Some((origin, origin + weeks))))
    };
    let cases = vec![
        // The latency that the others record.
        case("drawn_latency", MANY, || {
            let mut latencies = Latencies(1);
            move || (0..MANY).for_each(|_| keep(latencies.draw()))
        })
        .held(),
        case("latency", MANY, || {
            let (mut latencies, mut latency) = (Latencies(1), Latency::new());
            move || (0..MANY).for_each(|_| latency.record(latencies.draw()))
        })
        .held(),
        // What every attempt of a load costs: a place in the books when it is sent and when it ends.
        case("outcome", MANY, move || {
            let (mut sent, book) = book();
            let mut latencies = Latencies(1);
            move || {
                for _ in 0..MANY {
                    // Many seconds in all: where in a second it begins makes no difference then.
                    sent += Duration::from_millis(1);
                    book.enter(sent);
                    let end = sent + latencies.draw();
                    book.leave(sent, end, black_box(Outcome::Ok), true);
                }
            }
        })
        .held(),
        case("outcome_with_clock", MANY, move || {
            let (_, book) = book();
            move || {
                for _ in 0..MANY {
                    let sent = Instant::now();
                    book.enter(sent);
                    book.leave(sent, Instant::now(), black_box(Outcome::Ok), true);
                }
            }
        }),
        // The whole driver with an answer that is there at once: tasks, give-up timer, stop, books.
        case("burst", 1000, || {
            let (runtime, load) = (current(), Load::default());
            move || {
                black_box(runtime.block_on(load.burst(1000, |_| async { Outcome::Ok })));
            }
        }),
    ];
    Group { name: "recording", cases }
}

/// The cost of an arrival on the upstream's side.
fn admission() -> Group {
    const SERVICE: u64 = 100_000_000;
    const SLOTS: usize = 100;
    // One slot becomes free a millisecond, and one request comes: the line keeps its length.
    const GAP: u64 = SERVICE / SLOTS as u64;
    let arrivals = |waiting: u64| {
        case(format!("{waiting}_waiting"), MANY, move || {
            let mut queue = Queue::new(SLOTS, None);
            for i in 0..SLOTS as u64 {
                queue.arrive(0, (i + 1) * GAP);
            }
            for _ in 0..waiting {
                queue.arrive(0, SERVICE);
            }
            let mut now = 0;
            move || {
                for _ in 0..MANY {
                    now += GAP;
                    black_box(queue.arrive(black_box(now), SERVICE));
                }
                debug_assert_eq!(queue.waiting(now) as u64, waiting);
            }
        })
        .held()
    };
    let cases = vec![
        arrivals(0),
        arrivals(400),
        case("refusal", MANY, || {
            let mut queue = Queue::new(SLOTS, Some(400));
            for _ in 0..SLOTS + 400 {
                queue.arrive(0, SERVICE);
            }
            move || (0..MANY).for_each(|_| keep(queue.arrive(black_box(1), SERVICE)))
        })
        .held(),
    ];
    Group { name: "admission", cases }
}

/// The law that fits are tried on.
const TRUTH: Usl = Usl { lambda: 100.0, sigma: 0.03, kappa: 0.0004 };

/// Predictions, made once a chart.
fn theory() -> Group {
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
    let cases = vec![
        case("erlang_c", MANY, || {
            || {
                for _ in 0..MANY {
                    let _ = black_box(erlang::erlang_c(black_box(100), black_box(90.0)));
                }
            }
        })
        .held(),
        case("usl_fit", 1, || {
            let measured = [1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0, 128.0].map(|n| (n, TRUTH.at(n)));
            move || keep(Usl::fit(black_box(&measured)))
        })
        .held(),
        case("closed_loop", 1, move || move || keep(black_box(closed).simulate())).held(),
        simulated("simulated_event", Service::Constant),
        simulated("simulated_random_event", |mean| Service::Exponential { mean }),
    ];
    Group { name: "theory", cases }
}

/// Items in a simulated line.
const ITEMS: u64 = 300;

/// A line of three stages: three events an item.
fn simulated(name: &str, service: fn(Duration) -> Service) -> Case {
    case(name, 3 * ITEMS, move || {
        let milliseconds = |n| service(Duration::from_millis(n));
        let line = [
            Station::new(20, milliseconds(100)),
            Station::new(4, milliseconds(20)).behind(8),
            Station::new(1, milliseconds(4)).behind(8),
        ];
        move || keep(simulate(black_box(&line), ITEMS as usize, 1))
    })
    .held()
}

/// From a record to a page.
fn reporting() -> Group {
    type Interval = fn(&[f64]) -> Option<(f64, (f64, f64))>;
    let estimate = |trials: usize, interval: Interval| {
        case(format!("estimate_{trials}_trials"), 1, move || {
            let mut latencies = Latencies(7);
            let trials: Vec<_> = (0..trials).map(|_| latencies.draw().as_secs_f64()).collect();
            move || keep(interval(black_box(&trials)))
        })
        .held()
    };
    let cases = vec![
        estimate(7, mean_with_interval),
        estimate(12, median_with_interval),
        case("draw_svg", 1, || {
            let figure = figure();
            move || keep(draw(black_box(&figure), "lab00"))
        })
        .held(),
        case("draw_png", 1, || {
            let drawing = draw(&figure(), "lab00").expect("a plain figure can be drawn");
            move || keep(drawing.png(Theme::Light, 1.0))
        }),
        load_record(),
    ];
    Group { name: "reporting", cases }
}

fn load_record() -> Case {
    case("load_record", 1, || {
        let dir = tempfile::tempdir().expect("a temporary folder");
        let path = store::save(dir.path(), &record()).expect("a record can be written there");
        move || {
            let record = store::load(black_box(&path)).expect("it can be read back");
            black_box((&dir, record));
        }
    })
}

/// Two panels as most labs draw them: theory dashed, measurement with its interval.
fn figure() -> Figure {
    let loads: Vec<f64> = (0..9).map(|i| f64::from(1 << i)).collect();
    let points: Vec<_> = loads.iter().map(|n| (*n, TRUTH.at(*n))).collect();
    let band = points.iter().map(|(n, x)| (*n, x * 0.97, x * 1.03)).collect();
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
    let mut latencies = Latencies(1);
    let mut trial = |offered: u64| {
        let mut trial = Trial { wall_s: 1.0, offered, ok: offered, ..Trial::default() };
        for _ in 0..offered {
            let latency = latencies.draw();
            trial.latency.record(latency);
            trial.attempt_latency.record(latency);
        }
        trial
    };
    let mut point = |series: &str| Point {
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
