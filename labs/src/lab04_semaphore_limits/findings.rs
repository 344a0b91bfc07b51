//! Theory beside measurement for lab04.

use lab_kit::prelude::*;
use lab_kit::theory::{Burst, Limited, little};

use super::Params;

pub(super) fn explain(p: &Params, summary: &Summary) -> Findings {
    let (c, s, t) = (p.slots as f64, p.service.s(), p.timeout.s());
    let capacity = c / s;
    let all = Burst {
        n: p.requests,
        slots: p.slots,
        service: s,
        queue: None,
        timeout: t,
    };
    // Up to m = c a permit's round trip sets the pace, with what a request costs besides its
    // service, and the m answers of a wave leave the server's one thread one after another.
    // Beyond, the slots set it and are never without work; only the first wave's arrival and the
    // last one's answers take their time.
    let host = summary.host();
    let wave = |m: f64| host.request_overhead_ms / 1e3 + m / host.upstream_ceiling_per_s.max(1.0);
    let theory = |k: &Condition| {
        let alone = k.x() <= c;
        let service = if alone { s + wave(k.x()) } else { s };
        let limited = Burst { service, ..all }.limited(k.x() as usize)?;
        let ends = if alone { 0.0 } else { wave(c) };
        Some(Limited {
            makespan: limited.makespan + 2.0 * ends,
            mean_latency: limited.mean_latency.map(|l| l + ends),
            ..limited
        })
    };
    let of = |f: fn(&Limited) -> f64| move |k: &Condition| theory(k).map_or(f64::NAN, |l| f(&l));
    let protects = |k: &Condition| k.x() <= c * (t / s).floor();

    let limits = summary.series("limit");
    let none = summary.only("none");
    let inside = summary.only("inside");
    let adaptive = summary.series("adaptive");
    let goodput = |k: &Condition| k.gauge("goodput_per_s");
    let share = |k: &Condition| k.success_share().map(|e| e.scaled(100.0));
    let permits = |k: &Condition| format!("a limit of {}", k.x());
    let late_last_wave = (t - (t / s).round() * s).abs() < 3e-3;

    let mut claims = Vec::new();
    let rates = limits.iter().filter(|k| protects(k)).map(|k| Case {
        name: permits(k),
        predicted: (of(Limited::goodput)(k)).into(),
        measured: goodput(k),
        tolerance: 0.02 * of(Limited::goodput)(k),
    });
    claims.extend(Claim::law("the goodput is m/s up to m = c and c/s from there on, while m is at most c times the waves that fit into T", Basis::Calibrated, rates.collect(), "requests/s"));
    let luck = late_last_wave.then(|| {
        "T is a multiple of s: whether the last wave is in time is a coin toss".to_string()
    });
    let mut shares: Vec<Case> = limits
        .iter()
        .map(|k| Case {
            name: permits(k),
            predicted: (100.0 * of(Limited::success_share)(k)).into(),
            measured: share(k),
            tolerance: 1.0,
        })
        .collect();
    for (name, k) in [
        ("no limit", &none),
        ("a semaphore made inside the function", &inside),
    ] {
        shares.extend(k.as_ref().map(|k| Case {
            name: name.into(),
            predicted: (100.0 * all.success_share()).into(),
            measured: share(k),
            tolerance: 1.0,
        }));
    }
    claims.extend(
        Claim::law("every request succeeds while m is at most c times the waves that fit into T; a larger limit, none, or one made inside the function protects nobody", Basis::Predicted, shares, "%")
            .map(|claim| claim.unless(luck)),
    );
    // Little: the smallest limit tried that reaches the plateau is the smallest not below c.
    let reaching = limits
        .iter()
        .filter(|k| protects(k) && goodput(k).is_some_and(|g| g.value >= 0.95 * capacity));
    let best = reaching.map(Condition::x).fold(f64::INFINITY, f64::min);
    let candidates = limits.iter().map(Condition::x).filter(|m| *m >= c);
    let expected = candidates.fold(f64::INFINITY, f64::min);
    if expected.is_finite() {
        claims.push(
            Claim::near(
                "the smallest limit tried that reaches the full throughput is the first one at or above Little's L = λ·W = c",
                Basis::Predicted,
                expected,
                best.is_finite().then(|| Estimate::exact(best)),
                // Limits are whole numbers.
                0.5,
            )
            .unit("requests in flight"),
        );
    }
    let waits = limits.iter().filter(|k| protects(k)).map(|k| Case {
        name: permits(k),
        predicted: (theory(k).and_then(|l| l.mean_latency).unwrap_or(f64::NAN)).into(),
        measured: k.estimate(|trial| trial.latency.mean_s()),
        tolerance: 0.02 * theory(k).and_then(|l| l.mean_latency).unwrap_or(f64::NAN) + 3e-3,
    });
    claims.extend(Claim::law(
        "measured from arrival, the mean wait is that of the waves of answers",
        Basis::Predicted,
        waits.collect(),
        "s",
    ));
    let settled = adaptive.iter().map(|k| Case {
        name: format!("from {}", k.x()),
        predicted: c.into(),
        measured: k.estimate(settled_limit),
        tolerance: 0.25 * c,
    });
    claims.extend(Claim::law(
        "the adaptive limit settles within 25 % of c, from wherever it starts",
        Basis::Predicted,
        settled.collect(),
        "requests in flight",
    ));

    // The pictures.
    let points = |f: &dyn Fn(&Condition) -> Option<Estimate>| -> Vec<(f64, f64)> {
        limits
            .iter()
            .filter_map(|k| Some((k.x(), f(k)?.value)))
            .collect()
    };
    let band = |f: &dyn Fn(&Condition) -> Option<Estimate>| -> Vec<(f64, f64, f64)> {
        limits
            .iter()
            .filter_map(|k| f(k)?.ci95.map(|(lo, hi)| (k.x(), lo, hi)))
            .collect()
    };
    let line = |label: &str, colour, f: &dyn Fn(&Condition) -> Option<Estimate>| {
        Layer::Line(Line::measured(label, colour, points(f)).with_band(band(f)))
    };
    let curve = |f: fn(&Limited) -> f64| -> Vec<(f64, f64)> {
        limits.iter().map(|k| (k.x(), of(f)(k))).collect()
    };
    let part = |k: &Condition| k.success_share();
    let lost_share = none
        .as_ref()
        .and_then(|k| k.success_share())
        .map_or(f64::NAN, |e| 1.0 - e.value);
    let peak = points(&goodput)
        .into_iter()
        .map(|(_, y)| y)
        .fold(0.0, f64::max);
    let rule = none.as_ref().and_then(|k| {
        Some(Layer::Rule {
            y: goodput(k)?.value,
            label: "good answers/s without a limit".into(),
        })
    });
    let mut rates = vec![Layer::Line(Line::theory(
        "theory",
        Colour::Muted,
        curve(Limited::goodput),
    ))];
    rates.extend(rule);
    rates.push(line("goodput", Colour::Blue, &goodput));
    let sweep = Figure {
        id: "sweep".into(),
        title: format!("A limit of {} reaches {}/s and loses nobody; without a limit {} are lost", number(best), number(peak), percent(lost_share)),
        subtitle: format!(
            "{} requests at once, {} slots of {}; a request waits {} once it is sent. {} trial(s) a point",
            p.requests, p.slots, p.service, p.timeout, limits.first().map_or(0, |k| k.trials().len())
        ),
        desc: "Three panels over the limit: goodput, time from arrival and from sending, success share.".into(),
        body: Body::Panels(Panels {
            x: Axis::log("limit (permits), log scale", Unit::Number)
                .with_ticks(limits.iter().map(Condition::x).collect::<Vec<_>>()),
            panels: vec![
                Panel { title: "Good answers per second".into(), note: "over the whole burst".into(), y: Axis::linear("", Unit::Number), layers: rates, height: 1.2 },
                Panel {
                    title: "Mean time to the answer".into(),
                    note: "of those that succeed: from arrival, and from sending as the source measured".into(),
                    y: Axis::linear("", Unit::Seconds),
                    layers: vec![
                        line("from arrival", Colour::Ink, &|k| k.estimate(|t| t.latency.mean_s())),
                        line("from sending", Colour::Sky, &|k| k.gauge("inside_mean_s")),
                    ],
                    height: 1.0,
                },
                Panel {
                    title: "Success share".into(),
                    note: String::new(),
                    y: Axis::linear("", Unit::Share).with_range(0.0, 1.0),
                    layers: vec![
                        Layer::Line(Line::theory("", Colour::Muted, curve(Limited::success_share))),
                        line("succeed", Colour::Green, &part),
                    ],
                    height: 0.7,
                },
            ],
            marks: vec![Mark { x: c, interval: None, label: format!("m = c = {}", p.slots), colour: Colour::Purple }],
        }),
    };
    let mut figures = vec![sweep];
    let at_best = limits.iter().find(|k| k.x() == best);
    if let (Some(best), Some(none)) = (at_best, &none) {
        figures.push(against(p, best, none));
    }
    if !adaptive.is_empty() {
        figures.push(adapting(p, &adaptive));
    }

    let mut table = Table::new(
        "The same requests behind different limits",
        &[
            "limit",
            "good/s",
            "theory",
            "success",
            "theory",
            "mean from arrival",
            "p99 from arrival",
            "mean from sending",
            "lost",
        ],
    );
    let lost_of = |k: &Condition| k.estimate(|t| Some((t.offered - t.ok) as f64));
    for k in &limits {
        table.row([
            number(k.x()),
            cell(goodput(k), number),
            number(of(Limited::goodput)(k)),
            cell(part(k), percent),
            percent(of(Limited::success_share)(k)),
            cell(k.estimate(|t| t.latency.mean_s()), seconds),
            cell(k.latency(0.99), seconds),
            cell(k.gauge("inside_mean_s"), seconds),
            cell(lost_of(k), number),
        ]);
    }
    for (name, k) in [("none", &none), ("made inside", &inside)] {
        let Some(k) = k else { continue };
        table.row([
            name.to_string(),
            cell(goodput(k), number),
            number(all.goodput()),
            cell(part(k), percent),
            percent(all.success_share()),
            cell(k.estimate(|t| t.latency.mean_s()), seconds),
            cell(k.latency(0.99), seconds),
            "–".to_string(),
            cell(lost_of(k), number),
        ]);
    }
    for k in &adaptive {
        let settled = k.estimate(settled_limit);
        table.row([
            format!("adaptive from {}: {}", k.x(), cell(settled, number)),
            cell(goodput(k), number),
            number(capacity),
            cell(part(k), percent),
            "–".to_string(),
            cell(k.estimate(|t| t.latency.mean_s()), seconds),
            cell(k.latency(0.99), seconds),
            "–".to_string(),
            cell(lost_of(k), number),
        ]);
    }
    table.note = format!(
        "Little's law: {} in flight for {}/s at {}.",
        number(little::number_in_system(capacity, s)),
        number(capacity),
        p.service
    );

    let mut tables = vec![table];
    tables.extend(beside_python(summary));

    let lost = Some(Estimate::exact(lost_share));
    let answers = vec![
        Answer::near("limit", Some(Estimate::exact(best)), expected),
        Answer::near("lost", lost, 1.0 - all.success_share()).scaled(100.0),
    ];
    Findings {
        headline: format!(
            "A limit of {} gives {}/s, the capacity, and every request succeeds; without a limit {} of the same requests are lost.",
            number(best),
            number(peak),
            percent(lost_share)
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
    let mut pairs = Vec::new();
    for python in summary.series("python/limit") {
        let limit = number(python.x());
        pairs.push((limit, summary.at("limit", python.x()), python));
    }
    for (name, series) in [
        ("none; a pool of 100", "python/default pool"),
        ("none", "python/none"),
    ] {
        let python = summary.only(series);
        pairs.extend(python.map(|k| (name.to_string(), summary.only("none"), k)));
    }
    let mut table = Table::new(
        "The same limits in Rust and in Python",
        &[
            "limit",
            "good/s Rust",
            "Python",
            "Rust / Python",
            "success Rust",
            "Python",
            "from sending, Rust",
            "Python",
            "upstream saw, Rust",
            "Python",
            "Python busy",
        ],
    );
    for (limit, rust, python) in pairs {
        let Some(rust) = rust else { continue };
        let gauge = |k: &Condition, name: &str| k.gauge(name);
        let ratio = rust.paired(&python, |rust, python| {
            let rate = |t: &Trial| t.gauges.get("goodput_per_s").copied();
            let ratio = rate(rust)? / rate(python)?;
            ratio.is_finite().then_some(ratio)
        });
        table.row([
            limit,
            cell(gauge(&rust, "goodput_per_s"), number),
            cell(gauge(&python, "goodput_per_s"), number),
            cell(ratio, |r| format!("{r:.2}")),
            cell(rust.success_share(), percent),
            cell(python.success_share(), percent),
            cell(gauge(&rust, "inside_mean_s"), seconds),
            cell(gauge(&python, "inside_mean_s"), seconds),
            cell(gauge(&rust, "upstream_arrived"), number),
            cell(gauge(&python, "upstream_arrived"), number),
            cell(gauge(&python, "client_cpu_share"), percent),
        ]);
    }
    table.note = "The pool of 100 is aiohttp's default. It limits what the upstream sees and protects nobody: the clock of the timeout runs while a request waits for a connection; with a semaphore it starts at the permit. Python busy: processor time of its process over the time of the burst.".into();
    (!table.rows.is_empty()).then_some(table)
}

/// Mean of the limit over the second half of the requests.
fn settled_limit(trial: &Trial) -> Option<f64> {
    let trace = trial.traces.get("limit")?;
    let half = &trace[trace.len() / 2..];
    (!half.is_empty()).then(|| half.iter().map(|(_, limit)| limit).sum::<f64>() / half.len() as f64)
}

/// The same load with and without a limit: answers over time.
fn against(p: &Params, best: &Condition, none: &Condition) -> Figure {
    let answers = |k: &Condition| {
        let trace = k
            .trials()
            .first()
            .and_then(|t| t.traces.get("answers"))
            .cloned()
            .unwrap_or_default();
        std::iter::once((0.0, 0.0)).chain(trace).collect::<Vec<_>>()
    };
    let (with, mut without) = (answers(best), answers(none));
    // No more answers come: the line goes on level as long as the other one.
    let until = with.last().map_or(0.0, |(at, _)| *at);
    without.extend(without.last().map(|(_, n)| (until, *n)));
    let count = |points: &[(f64, f64)]| points.last().map_or(0.0, |(_, n)| *n);
    let n = p.requests as f64;
    let end = n * p.service.s() / p.slots as f64;
    let trace = |label: &str, colour, points| Layer::Line(Line::trace(label, colour, points));
    Figure {
        id: "against".into(),
        title: format!(
            "The same {} requests: {} answered with a limit of {}, {} without",
            p.requests,
            number(count(&with)),
            best.x(),
            number(count(&without))
        ),
        subtitle: format!(
            "Good answers since the burst; dashed: the capacity of {} slots of {}",
            p.slots, p.service
        ),
        desc: "Answers received over time, with and without a limit.".into(),
        body: Body::Panels(Panels {
            x: Axis::linear("time since the burst", Unit::Seconds),
            panels: vec![Panel {
                title: "Good answers".into(),
                note: "in all".into(),
                y: Axis::linear("", Unit::Number),
                layers: vec![
                    Layer::Line(Line::theory(
                        "capacity",
                        Colour::Muted,
                        vec![(0.0, 0.0), (end, n)],
                    )),
                    trace("no limit", Colour::Vermilion, without),
                    trace(&format!("limit {}", best.x()), Colour::Green, with),
                ],
                height: 1.3,
            }],
            marks: vec![],
        }),
    }
}

/// The adaptive limit over time.
fn adapting(p: &Params, adaptive: &[Condition]) -> Figure {
    let colours = [
        Colour::Blue,
        Colour::Green,
        Colour::Purple,
        Colour::Orange,
        Colour::Sky,
    ];
    let mut layers = vec![Layer::Rule {
        y: p.slots as f64,
        label: format!("c = {}", p.slots),
    }];
    let mut settled = Vec::new();
    let traces = adaptive.iter().filter_map(|k| k.trials().first());
    let end = traces.map(|t| t.wall_s).fold(0.0, f64::max);
    for (k, colour) in adaptive.iter().zip(colours.into_iter().cycle()) {
        let Some(trial) = k.trials().first() else {
            continue;
        };
        let from = trial.started_s();
        let trace = trial
            .traces
            .get("limit")
            .into_iter()
            .flatten()
            .map(|(at, limit)| (at - from, *limit));
        let mut points: Vec<(f64, f64)> = std::iter::once((0.0, k.x())).chain(trace).collect();
        points.extend(points.last().map(|(_, limit)| (end, *limit)));
        layers.push(Layer::Line(Line::trace(
            &format!("from {}", k.x()),
            colour,
            points,
        )));
        settled.extend(settled_limit(trial));
    }
    let (low, high) = settled.iter().fold((f64::INFINITY, 0.0f64), |(lo, hi), v| {
        (lo.min(*v), hi.max(*v))
    });
    Figure {
        id: "adaptive".into(),
        title: format!(
            "The adaptive limit settles at {} to {}, near c = {}, without being told",
            number(low),
            number(high),
            p.slots
        ),
        subtitle: format!(
            "It grows while answers are fast and shrinks when they take more than {} times the fastest",
            p.late
        ),
        desc:
            "The limit over time from different starting values, approaching the number of slots."
                .into(),
        body: Body::Panels(Panels {
            x: Axis::linear("time since the burst", Unit::Seconds),
            panels: vec![Panel {
                title: "Limit".into(),
                note: "requests in flight".into(),
                y: Axis::linear("", Unit::Number),
                layers,
                height: 1.3,
            }],
            marks: vec![],
        }),
    }
}
