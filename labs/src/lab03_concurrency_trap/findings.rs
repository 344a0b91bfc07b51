//! Theory beside measurement for lab03.

use lab_kit::prelude::*;
use lab_kit::theory::{Burst, ClosedLoop, Usl, little};

use super::{Fall, Params, plan};

pub(super) fn explain(p: &Params, summary: &Summary) -> Findings {
    let (c, s, t) = (p.slots as f64, p.service.s(), p.timeout.s());
    let capacity = c / s;
    let patience = c * t / s;
    let overhead = summary.host().request_overhead_ms / 1e3;
    let goodput = |c: &Condition| c.gauge("goodput_per_s");

    // Theory of the sustained arms: the closed loop stepped through in virtual time.
    let simulate = |x: f64, queue: Option<usize>| {
        let plan = plan(p, x as usize);
        let simulation = ClosedLoop {
            clients: plan.clients,
            slots: p.slots,
            service: s,
            queue,
            timeout: t,
            pause_after_refusal: p.retry_after.s(),
            ramp: plan.ramp.as_secs_f64(),
            ramped: plan.ramped,
            overhead,
            jitter: 1e-3,
            warm_up: plan.warm_up.as_secs_f64(),
            window: plan.window.as_secs_f64(),
            seed: summary.seed(),
        };
        simulation.band(5)
    };
    let burst_of = |x: f64, queue| Burst {
        n: x as usize,
        slots: p.slots,
        service: s,
        queue,
        timeout: t,
    };

    let unbounded = summary.series("sustained/unbounded");
    let bounded = summary.series("sustained/bounded");
    // Both sustained arms in one list: (name of the condition, queue, condition).
    let arms = [
        ("unbounded", None, &unbounded),
        ("bounded", Some(p.queue), &bounded),
    ];
    let mut all = Vec::new();
    for (arm, queue, series) in arms {
        all.extend(
            series
                .iter()
                .map(|k| (format!("{} clients, {arm}", k.x()), queue, *k)),
        );
    }

    // Once a condition: it is asked for by several claims, a chart and a table.
    let bands: Vec<_> = all
        .iter()
        .map(|(_, queue, k)| ((k.x(), *queue), simulate(k.x(), *queue)))
        .collect();
    let model = |x: f64, queue: Option<usize>| {
        let known = bands.iter().find(|(of, _)| *of == (x, queue));
        known.map_or_else(|| simulate(x, queue), |(_, band)| *band)
    };

    let mut claims = Vec::new();

    // Below saturation: a slot each.
    let below = all
        .iter()
        .filter(|(_, _, k)| k.x() <= c)
        .map(|(name, _, k)| Case {
            name: name.clone(),
            predicted: (k.x() / s).into(),
            measured: goodput(k),
            tolerance: 0.02 * k.x() / s,
        });
    claims.push(
        Claim::at_every(
            "up to N = c clients the goodput is N/s",
            Basis::Predicted,
            below.collect(),
        )
        .unit("requests/s"),
    );

    // At saturation: capacity, as long as the wait is shorter than patience. A margin of 5 %
    // keeps levels out of this claim at which late timers decide.
    let fits = |queue: Option<usize>, x: f64| {
        let inside = queue.map_or(x, |k| x.min(c + k as f64));
        inside * s / c + overhead < 0.95 * t
    };
    let saturated: Vec<Case> = all
        .iter()
        .filter(|(_, queue, k)| k.x() > c && fits(*queue, k.x()))
        .map(|(name, _, k)| Case {
            name: name.clone(),
            predicted: capacity.into(),
            measured: goodput(k),
            tolerance: 0.01 * capacity,
        })
        .collect();
    if !saturated.is_empty() {
        claims.push(
            Claim::at_every(
                "beyond N = c the goodput is c/s while the wait is shorter than the timeout; a queue bounded short enough keeps it so at every level",
                Basis::Predicted,
                saturated,
            )
            .unit("requests/s"),
        );
    }

    // Beyond patience: what the closed loop in virtual time says.
    let lost: Vec<Case> = all
        .iter()
        .filter(|(_, queue, k)| k.x() > c && !fits(*queue, k.x()))
        .map(|(name, queue, k)| {
            let band = model(k.x(), *queue);
            Case {
                name: name.clone(),
                predicted: band.median.goodput.into(),
                measured: goodput(k),
                tolerance: 0.05 * capacity + (band.goodput.1 - band.goodput.0) / 2.0,
            }
        })
        .collect();
    if !lost.is_empty() {
        claims.push(
            Claim::at_every("where the wait exceeds the timeout, the sustained goodput is that of the closed loop in virtual time", Basis::Calibrated, lost)
                .unit("requests/s"),
        );
    }
    let crowded = || unbounded.iter().filter(|k| k.x() > 1.2 * patience);
    if crowded().next().is_some() {
        let collapse = crowded().map(|k| Case {
            name: format!("{} clients", k.x()),
            predicted: (0.0).into(),
            measured: goodput(k),
            tolerance: 0.4 * capacity,
        });
        claims.push(
            Claim::at_every(
                "collapse: beyond N = c·T/s an unbounded queue leaves less than 40 % of the capacity",
                Basis::Predicted,
                collapse.collect(),
            )
            .unit("requests/s"),
        );
    }
    let attempts_law = all.iter().map(|(name, queue, k)| {
        let predicted = model(k.x(), *queue).median.attempt_rate;
        Case {
            name: name.clone(),
            predicted: predicted.into(),
            measured: k.gauge("attempts_per_s"),
            // The model leaves out what an attempt costs besides: a request that was given up takes
            // its connection with it, and the next one has to connect again.
            tolerance: 0.1 * predicted,
        }
    });
    claims.push(
        Claim::at_every(
            "attempts keep rising with N, beyond the capacity: to N/T where everybody gives up",
            Basis::Calibrated,
            attempts_law.collect(),
        )
        .unit("requests/s"),
    );

    // Bursts: counting waves. Where T is a multiple of s, luck decides, and no claim is made.
    let bursts = |queue: &'static str, places: Option<usize>| {
        summary
            .series(&format!("burst/{queue}"))
            .into_iter()
            .map(move |k| (queue, places, k))
    };
    // A burst takes a while to arrive, and a bounded queue admits more the longer it takes.
    let share_of = |places: Option<usize>, k: &Condition| {
        let spread = k.gauge("arrival_spread_s").map_or(0.0, |e| e.value);
        let burst = burst_of(k.x(), places);
        let successes = |spread: f64| 100.0 * burst.successes_over(spread) as f64 / k.x();
        (
            successes(spread),
            (successes(0.93 * spread) - successes(1.07 * spread)).abs(),
        )
    };
    let luck = 3e-3 + 2.0 * overhead;
    let (toss, decided): (Vec<_>, Vec<_>) = bursts("unbounded", None)
        .chain(bursts("bounded", Some(p.queue)))
        .partition(|(_, places, k)| {
            burst_of(k.x(), *places).margin() < luck || share_of(*places, k).1 > 1.0
        });
    let case = |(queue, places, k): &(&str, Option<usize>, Condition)| Case {
        name: format!("{} at once, {queue}", k.x()),
        predicted: (share_of(*places, k).0).into(),
        measured: k.success_share().map(|e| e.scaled(100.0)),
        tolerance: 1.0,
    };
    let law = "of a burst, min(N, c·⌊T/s⌋) succeed, or fewer if the queue holds fewer";
    claims.push(
        Claim::at_every(law, Basis::Calibrated, decided.iter().map(case).collect()).unit("%"),
    );
    if !toss.is_empty() {
        let claim = Claim::at_every(
            format!("{law}, where the last wave is a coin toss"),
            Basis::Calibrated,
            toss.iter().map(case).collect(),
        );
        let why = "T is a multiple of s, or the burst arrived over about a multiple of s";
        claims.push(claim.unit("%").unless(Some(why.into())));
    }

    // Latency and Little's law.
    let waits = all
        .iter()
        .filter(|(_, queue, k)| fits(*queue, k.x()))
        .map(|(name, queue, k)| Case {
            name: name.clone(),
            predicted: (1e3 * model(k.x(), *queue).median.median_ok_s.unwrap_or(f64::NAN)).into(),
            measured: k.latency(0.5).map(|e| e.scaled(1e3)),
            tolerance: 3.0,
        });
    claims.push(
        Claim::at_every("the median latency is max(s, N·s/c), plus the measured overhead, while the wait is shorter than the timeout", Basis::Calibrated, waits.collect())
            .unit("ms"),
    );
    let little_law = all.iter().map(|(name, _, k)| Case {
        name: name.clone(),
        predicted: (1.0).into(),
        measured: k.estimate(|trial| {
            let rate = trial.gauges.get("attempts_per_s")?;
            let inside = trial.gauges.get("in_flight_mean")?;
            Some(inside / little::number_in_system(*rate, *trial.gauges.get("mean_attempt_s")?))
        }),
        tolerance: 0.02,
    });
    claims.push(
        Claim::at_every(
            "Little's law: requests in flight / (attempts per second × mean time of an attempt)",
            Basis::Predicted,
            little_law.collect(),
        )
        .unit("(ratio)"),
    );

    // The books of client and server.
    let books = summary.all_trials().filter_map(|trial| {
        let ours = trial.gauges.get("refused_total")?;
        Some((ours - trial.gauges.get("upstream_refused")?).abs())
    });
    let books: Vec<f64> = books.collect();
    if !books.is_empty() {
        claims.push(
            Claim::near(
                "client and server count the same refusals",
                Basis::Predicted,
                0.0,
                Some(Estimate::exact(books.iter().copied().fold(0.0, f64::max))),
                0.0,
            )
            .unit("largest difference"),
        );
    }

    let fall = Fall::of(p);
    let recovery = summary.only("recovery/unbounded");
    let aftermath =
        burst_of(fall.burst as f64, None).aftermath(fall.rate, fall.watch.as_secs_f64());
    if let Some(k) = &recovery {
        // Means over tenths of the way: a single request can just miss a wave.
        let tenth = fall.drain / 10.0;
        let cases = (0..12).map(|i| {
            let (from, to) = (tenth * f64::from(i), tenth * f64::from(i + 1));
            Case {
                name: format!("{} to {} after the burst", seconds(from), seconds(to)),
                predicted: (mean_latency(&aftermath, from, to).unwrap_or(f64::NAN)).into(),
                measured: k.estimate(|trial| mean_latency(&steady_latencies(trial), from, to)),
                tolerance: s / 4.0,
            }
        });
        claims.push(
            Claim::at_every(
                "after a burst, at half load, latency falls to s within backlog/(c/s − λ)",
                Basis::Predicted,
                cases.collect(),
            )
            .unit("s"),
        );
    }
    let pooled = summary.series("burst/pool");
    if !pooled.is_empty() {
        let reach = pooled.iter().map(|k| Case {
            name: format!("{} at once", k.x()),
            predicted: ((p.slots.min(p.pool) as f64 * (t / s).floor()) + p.pool as f64)
                .min(k.x())
                .into(),
            measured: k.gauge("upstream_arrived"),
            tolerance: 0.02 * k.x(),
        });
        claims.push(
            Claim::at_every(
                format!("through a pool of {} connections c·⌊T/s⌋ + {} requests reach the upstream, the rest never do", p.pool, p.pool),
                Basis::Predicted,
                reach.collect(),
            )
            .unit("requests"),
        );
    }

    // The pictures.
    let points =
        |series: &[Condition], f: &dyn Fn(&Condition) -> Option<Estimate>| -> Vec<(f64, f64)> {
            series
                .iter()
                .filter_map(|k| Some((k.x(), f(k)?.value)))
                .collect()
        };
    let band = |series: &[Condition],
                f: &dyn Fn(&Condition) -> Option<Estimate>|
     -> Vec<(f64, f64, f64)> {
        let ends = |k: &Condition| f(k)?.ci95.map(|(lo, hi)| (k.x(), lo, hi));
        series.iter().filter_map(ends).collect()
    };
    let line =
        |label: &str, colour, series: &[Condition], f: &dyn Fn(&Condition) -> Option<Estimate>| {
            Layer::Line(Line::measured(label, colour, points(series, f)).with_band(band(series, f)))
        };
    let theory: Vec<(f64, f64)> = unbounded
        .iter()
        .map(|k| (k.x(), model(k.x(), None).median.goodput))
        .collect();
    let usl = Usl::fit(
        &points(&unbounded, &goodput)
            .into_iter()
            .filter(|(_, y)| *y > 0.0)
            .collect::<Vec<_>>(),
    );
    let attempts = |k: &Condition| k.gauge("attempts_per_s");
    let share = |k: &Condition| k.success_share();
    let latency = |q: f64| move |k: &Condition| k.attempt_latency(q);
    let last = unbounded.last().map_or(0.0, Condition::x);
    let peak = points(&unbounded, &goodput)
        .into_iter()
        .map(|(_, y)| y)
        .fold(0.0, f64::max);
    let end = unbounded
        .last()
        .and_then(goodput)
        .map_or(f64::NAN, |e| e.value);
    let end_attempts = unbounded
        .last()
        .and_then(attempts)
        .map_or(f64::NAN, |e| e.value);
    let level_axis = || {
        Axis::log("clients (requests in flight), log scale", Unit::Number)
            .with_ticks(unbounded.iter().map(Condition::x).collect::<Vec<_>>())
    };

    let mut rates = vec![
        Layer::Line(Line::theory("theory", Colour::Muted, theory)),
        line("attempts", Colour::Orange, &unbounded, &attempts),
        line("goodput, bounded", Colour::Green, &bounded, &goodput),
        line(
            "goodput, unbounded",
            Colour::Vermilion,
            &unbounded,
            &goodput,
        ),
    ];
    if let Some(fit) = usl.filter(|fit| fit.r_squared > 0.5) {
        let curve = (0..=120)
            .map(|i| last.powf(f64::from(i) / 120.0))
            .map(|n| (n, fit.usl.at(n)));
        rates.push(Layer::Line(Line::theory(
            "USL (fitted)",
            Colour::Purple,
            curve.collect(),
        )));
    }
    let trap = Figure {
        id: "trap".into(),
        title: if end < 0.9 * peak {
            format!(
                "Goodput stops growing at {} clients and falls to {}/s at {last}, while attempts rise to {}/s",
                p.slots,
                number(end),
                number(end_attempts)
            )
        } else {
            format!(
                "Goodput stops growing at {} clients: {}/s, whatever the load",
                p.slots,
                number(peak)
            )
        },
        subtitle: format!(
            "Sustained load on {} slots of {}; clients wait {}; bounded queue: {} places. {} trial(s) a point, bands: 95 % intervals",
            p.slots,
            p.service,
            p.timeout,
            p.queue,
            unbounded.first().map_or(0, |k| k.trials().len())
        ),
        desc:
            "Three panels over the number of clients: requests per second, latency, success share."
                .into(),
        body: Body::Panels(Panels {
            x: level_axis(),
            panels: vec![
                Panel {
                    title: "Requests per second".into(),
                    note: "attempts count failures, goodput does not".into(),
                    y: Axis::linear("", Unit::Number),
                    layers: rates,
                    height: 1.5,
                },
                Panel {
                    title: "Time until the answer, or until giving up".into(),
                    note: "unbounded queue, log scale".into(),
                    y: Axis::log("", Unit::Seconds),
                    layers: vec![
                        Layer::Rule {
                            y: t,
                            label: format!("timeout {}", p.timeout),
                        },
                        line("p50", Colour::Sky, &unbounded, &latency(0.5)),
                        line("p95", Colour::Blue, &unbounded, &latency(0.95)),
                        line("p99", Colour::Ink, &unbounded, &latency(0.99)),
                    ],
                    height: 1.0,
                },
                Panel {
                    title: "Success share".into(),
                    note: "of attempts, answered in time".into(),
                    y: Axis::linear("", Unit::Share).with_range(0.0, 1.0),
                    layers: vec![
                        line("bounded", Colour::Green, &bounded, &share),
                        line("unbounded", Colour::Vermilion, &unbounded, &share),
                    ],
                    height: 0.8,
                },
            ],
            marks: vec![
                Mark {
                    x: c,
                    interval: None,
                    label: format!("N = c = {}", p.slots),
                    colour: Colour::Purple,
                },
                Mark {
                    x: patience,
                    interval: None,
                    label: format!("N = c·T/s = {patience:.0}"),
                    colour: Colour::Ink,
                },
            ]
            .into_iter()
            .filter(|m| m.x < last)
            .collect(),
        }),
    };

    let bursts = summary.series("burst/unbounded");
    let limited = summary.series("burst/bounded");
    let burst_theory = |queue| {
        bursts
            .iter()
            .map(|k| (k.x(), burst_of(k.x(), queue).success_share()))
            .collect()
    };
    let largest = bursts.last();
    let lucky = largest.and_then(share).map_or(f64::NAN, |e| e.value);
    let burst = Figure {
        id: "burst".into(),
        title: format!("Of {last} requests at once {} succeed: {} slots times {} waves in time", percent(lucky), p.slots, number((t / s).floor())),
        subtitle: format!("Bursts at {} slots of {}; clients wait {}; bounded queue: {} places", p.slots, p.service, p.timeout, p.queue),
        desc: "Two panels over the size of the burst: requests per second counted two ways, success share with theory.".into(),
        body: Body::Panels(Panels {
            x: Axis { label: "requests at once, log scale".into(), ..level_axis() },
            panels: vec![
                Panel {
                    title: "Requests per second".into(),
                    note: "N / time, as the source counted, and good answers / time".into(),
                    y: Axis::linear("", Unit::Number),
                    layers: vec![
                        line("N / time", Colour::Orange, &bursts, &attempts),
                        line("good / time", Colour::Vermilion, &bursts, &goodput),
                    ],
                    height: 1.2,
                },
                Panel {
                    title: "Success share".into(),
                    note: "dashed: theory".into(),
                    y: Axis::linear("", Unit::Share).with_range(0.0, 1.0),
                    layers: vec![
                        Layer::Line(Line::theory("", Colour::Muted, burst_theory(None))),
                        Layer::Line(Line::theory("", Colour::Muted, burst_theory(Some(p.queue)))),
                        line("unbounded", Colour::Vermilion, &bursts, &share),
                        line("bounded", Colour::Green, &limited, &share),
                    ],
                    height: 1.0,
                },
            ],
            marks: vec![],
        }),
    };

    let mut figures = vec![trap, burst];
    if let Some(k) = &recovery {
        figures.push(recovery_figure(k, fall, s));
    }

    let mut table = Table::new(
        "Sustained load",
        &[
            "clients",
            "attempts/s",
            "goodput/s unbounded",
            "theory",
            "goodput/s bounded",
            "p50",
            "p95",
            "p99",
            "success",
            "timed out",
            "refused (bounded)",
        ],
    );
    for k in &unbounded {
        let twin = summary.at("sustained/bounded", k.x());
        table.row([
            number(k.x()),
            cell(attempts(k), number),
            cell(goodput(k), number),
            number(model(k.x(), None).median.goodput),
            cell(twin.and_then(|b| goodput(&b)), number),
            cell(k.attempt_latency(0.5), seconds),
            cell(k.attempt_latency(0.95), seconds),
            cell(k.attempt_latency(0.99), seconds),
            cell(k.success_share(), percent),
            cell(
                k.estimate(|t| Some(t.timed_out as f64 / t.offered.max(1) as f64)),
                percent,
            ),
            cell(
                twin.and_then(|b| {
                    b.estimate(|t| Some(t.rejected as f64 / t.offered.max(1) as f64))
                }),
                percent,
            ),
        ]);
    }
    table.note = format!(
        "Latencies count from the intended start to the answer or to giving up, unbounded queue. Overhead of a request on this machine: {}, carried in the theory.",
        seconds(overhead)
    );
    let mut burst_table = Table::new(
        "Bursts",
        &[
            "at once",
            "N/time",
            "good/time",
            "success",
            "theory",
            "success bounded",
            "theory bounded",
            "failed otherwise",
        ],
    );
    for k in &bursts {
        let twin = summary.at("burst/bounded", k.x());
        burst_table.row([
            number(k.x()),
            cell(attempts(k), number),
            cell(goodput(k), number),
            cell(k.success_share(), percent),
            percent(burst_of(k.x(), None).success_share()),
            cell(twin.and_then(|b| b.success_share()), percent),
            percent(burst_of(k.x(), Some(p.queue)).success_share()),
            cell(k.estimate(|t| Some(t.failed as f64)), number),
        ]);
    }
    if let Some(k) = pooled.last() {
        burst_table.note = format!(
            "Through a pool of {} connections, of {} requests at once {} succeed and {} ever reach the upstream: the rest time out in the client.",
            p.pool,
            k.x(),
            cell(k.success_share(), percent),
            cell(k.gauge("upstream_arrived"), number)
        );
    }

    let mut tables = vec![table, burst_table];
    tables.extend(beside_python(summary));

    let sustained = unbounded
        .last()
        .map_or(f64::NAN, |k| model(k.x(), None).median.goodput);
    let answered = largest.map_or(f64::NAN, |k| share_of(None, k).0);
    let answers = vec![
        Answer::near("goodput", unbounded.last().and_then(goodput), sustained),
        Answer::near(
            "success",
            largest.and_then(share).map(|e| e.scaled(100.0)),
            answered,
        ),
    ];
    Findings {
        headline: format!(
            "With {} slots of {} goodput grows to {}/s and no further. At {last} clients it is {}/s with an unbounded queue and {}/s with {} places, while attempts run at {}/s.",
            p.slots,
            p.service,
            number(peak),
            number(end),
            cell(bounded.last().and_then(goodput), number),
            p.queue,
            number(end_attempts)
        ),
        figures,
        tables,
        claims,
        answers,
    }
}

/// Rust and Python against the same upstream. What it says about either is for the reader: the
/// ratio depends on the machine and on both languages' libraries, so there is no claim about it.
fn beside_python(summary: &Summary) -> Option<Table> {
    let arms = [
        (
            "burst, pool of 100",
            "python/burst/default pool",
            "burst/unbounded",
        ),
        ("burst, no pool", "python/burst/no limit", "burst/unbounded"),
        (
            "sustained, no pool",
            "python/sustained",
            "sustained/unbounded",
        ),
    ];
    let mut table = Table::new(
        "The same load from Rust and from Python",
        &[
            "load",
            "requests",
            "good/s Rust",
            "Python",
            "Rust / Python",
            "attempts/s Rust",
            "Python",
            "success Rust",
            "Python",
            "upstream saw, Rust",
            "Python",
            "Python busy",
        ],
    );
    for (arm, series, rust) in arms {
        for python in summary.series(series) {
            let Some(rust) = summary.at(rust, python.x()) else {
                continue;
            };
            let gauge = |k: &Condition, name: &str| k.gauge(name);
            // A sustained load of another length sends another number.
            let arrived = |k: &Condition| {
                let arrived = k.gauge("upstream_arrived");
                cell(arrived.filter(|_| series.contains("burst")), number)
            };
            let ratio = rust.paired(&python, |rust, python| {
                let rate = |t: &Trial| t.gauges.get("goodput_per_s").copied();
                let ratio = rate(rust)? / rate(python)?;
                ratio.is_finite().then_some(ratio)
            });
            table.row([
                arm.to_string(),
                number(python.x()),
                cell(gauge(&rust, "goodput_per_s"), number),
                cell(gauge(&python, "goodput_per_s"), number),
                cell(ratio, |r| format!("{r:.2}")),
                cell(gauge(&rust, "attempts_per_s"), number),
                cell(gauge(&python, "attempts_per_s"), number),
                cell(rust.success_share(), percent),
                cell(python.success_share(), percent),
                arrived(&rust),
                arrived(&python),
                cell(gauge(&python, "client_cpu_share"), percent),
            ]);
        }
    }
    table.note = "The pool of 100 is aiohttp's default: it keeps all other requests in the client, where their timeouts run. Rust's client has no pool here. Python busy: processor time of its process over the time of the load.".into();
    (!table.rows.is_empty()).then_some(table)
}

/// Latencies over the time of arrival after the burst.
fn steady_latencies(trial: &Trial) -> Vec<(f64, f64)> {
    let from = trial.started_s();
    let trace = trial.traces.get("latency_s").into_iter().flatten();
    let mut points: Vec<(f64, f64)> = trace.map(|(at, latency)| (at - from, *latency)).collect();
    points.sort_by(|a, b| a.0.total_cmp(&b.0));
    points
}

/// Mean latency of those that arrived between two instants.
fn mean_latency(latencies: &[(f64, f64)], from: f64, to: f64) -> Option<f64> {
    let inside: Vec<f64> = latencies
        .iter()
        .filter(|(at, _)| (from..to).contains(at))
        .map(|(_, l)| *l)
        .collect();
    (!inside.is_empty()).then(|| inside.iter().sum::<f64>() / inside.len() as f64)
}

/// Latency after the burst, falling along the line that the leftover capacity draws.
fn recovery_figure(k: &Condition, fall: Fall, service: f64) -> Figure {
    let measured = k.trials().first().map(steady_latencies).unwrap_or_default();
    let watch = fall.watch.as_secs_f64();
    // Each second takes half a second of the wait away, at half the capacity.
    let line = |at: f64| service + ((fall.drain - at) / 2.0).max(0.0);
    let theory = [0.0, fall.drain, watch].map(|at| (at, line(at)));
    let slow = measured
        .iter()
        .filter(|(_, latency)| *latency > 2.0 * service);
    let took = slow.map(|(at, _)| *at).fold(0.0, f64::max);
    Figure {
        id: "recovery".into(),
        title: format!("A burst of {} requests is felt for {}, long after its clients have left", fall.burst, seconds(took)),
        subtitle: format!(
            "At 0 s {} requests arrive at once; from then on {}/s, half the capacity. Dashed: the backlog worked off by what capacity is left. It steps because slots filled together come free together",
            fall.burst,
            number(fall.rate)
        ),
        desc: "Latency of requests over the time of their arrival, falling in a straight line to the service time.".into(),
        body: Body::Panels(Panels {
            x: Axis::linear("time of arrival after the burst", Unit::Seconds).with_range(0.0, watch),
            panels: vec![Panel {
                title: "Latency".into(),
                note: "of the steady requests, which wait as long as it takes".into(),
                y: Axis::linear("", Unit::Seconds),
                layers: vec![
                    Layer::Line(Line::trace("measured", Colour::Blue, measured)),
                    Layer::Line(Line::theory("theory", Colour::Muted, theory.into())),
                ],
                height: 1.3,
            }],
            marks: vec![],
        }),
    }
}
