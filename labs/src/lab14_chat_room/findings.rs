//! Theory beside measurement for lab14.

use lab_kit::prelude::*;

use super::{Params, laws::Away};

/// A timer is rounded up to the next millisecond, its thread needs some time to wake, and so does
/// the thread at the other end of the connection.
const LATE: f64 = 3e-3;
/// A thread that wakes while all processors compute gets one within a time slice of the operating
/// system: 3 to 4 ms on Linux.
const SLICE: f64 = 4e-3;

/// The quantiles of the echoes that are held against theory.
const QUANTILES: [(f64, &str); 4] = [(0.5, "p50"), (0.9, "p90"), (0.99, "p99"), (1.0, "slowest")];

/// Where the mathematics is done, if not on the event loop.
const ELSEWHERE: [(&str, &str, &str); 3] = [
    (
        "spawn_blocking",
        "spawn_blocking",
        "mathematics in spawn_blocking: of everybody else's echoes, 99 % come within three beats",
    ),
    (
        "rayon",
        "rayon + oneshot",
        "mathematics on rayon: of everybody else's echoes, 99 % come within three beats",
    ),
    (
        "process",
        "another process",
        "mathematics in another process: of everybody else's echoes, 99 % come within three beats",
    ),
];

fn gauge(trial: &Trial, name: &str) -> Option<f64> {
    trial.gauges.get(name).copied()
}

fn gone(trial: &Trial) -> Option<f64> {
    Some(gauge(trial, "users_left")? + gauge(trial, "users_disconnected")?)
}

/// Every trial of these series.
fn trials<'a>(summary: &Summary<'a>, series: &[&str]) -> Vec<&'a Trial> {
    let all = series.iter().flat_map(|s| summary.series(s));
    all.flat_map(|k| k.trials()).collect()
}

/// The worst trial: what has to hold in every one holds in it.
fn worst(trials: &[&Trial], figure: impl Fn(&Trial) -> Option<f64>) -> Option<Estimate> {
    let values = trials.iter().filter_map(|t| figure(t));
    values.reduce(f64::max).map(Estimate::exact)
}

/// What theory says of a condition, and what was measured. Theory follows how long each trial was
/// really blocked; so the interval is that of the difference, trial by trial.
fn beside(
    condition: &Condition,
    theory: impl Fn(f64) -> f64,
    figure: impl Fn(&Trial) -> Option<f64>,
) -> (f64, Option<Estimate>) {
    let says = |t: &Trial| gauge(t, "busy_s").map(&theory);
    let predicted = condition.estimate(says).map_or(f64::NAN, |e| e.value);
    let off = condition.estimate(|t| Some(figure(t)? - says(t)?));
    let measured = off.map(|e| e.shifted(predicted));
    (predicted, measured)
}

pub(super) fn explain(p: &Params, summary: &Summary) -> Findings {
    let (block, beat) = (p.block.s(), p.beat.s());
    let quiet = |users: f64, q: f64| summary.at("quiet", users)?.latency(q);
    let calm = |users: f64| quiet(users, 0.5).map_or(LATE, |e| e.value);
    // How long the server then needs to see to every connection once: to read what it has said and
    // to write what waits for it, which costs what it costs when nobody asks.
    let after = |users: f64| {
        let event = summary.at("quiet", users)?.estimate(|t| {
            let messages = gauge(t, "messages_meant")? + t.offered as f64;
            let heartbeats = 2.0 * users * t.wall_s / beat;
            Some(gauge(t, "server_busy_share")? * t.wall_s / (messages + heartbeats))
        })?;
        Some(2.0 * users * event.value)
    };
    // The conversation goes by the flags; the block is as long as it really was.
    let away = |asked: f64, busy: f64, users: f64| Away {
        block: busy,
        after: after(users).unwrap_or(0.0),
        ..p.away(asked)
    };
    let crowd = |k: &Condition| format!("{} users", k.x());
    let inline = summary.series("inline");
    let losses = summary.series("losses");
    let stalled = |series: &[&str], limit: f64| {
        let stall = worst(&trials(summary, series), |t| gauge(t, "stall_max_ms"))?.value / 1e3;
        (stall > limit).then(|| format!("the machine itself stood still for {}", seconds(stall)))
    };
    let alone = (summary.host().cores < 2)
        .then(|| "there is one processor only: none is free while somebody computes".to_string());

    let late = |users: f64| LATE + after(users).unwrap_or(0.0) / 2.0;
    // Between two messages. The first one after the loop has stopped comes up to this later.
    let apart = 1.0 / p.rate as f64;

    let mut claims = Vec::new();
    let cases = inline.iter().flat_map(|k| {
        QUANTILES.map(|(q, name)| {
            let theory = |busy| away(block, busy, k.x()).quantile(q, calm(k.x()));
            let (predicted, measured) = beside(k, theory, |t| t.latency.quantile_s(q));
            Case {
                name: format!("{name}, {}", crowd(k)),
                predicted: predicted.into(),
                measured,
                // A message more or less beyond a quantile moves it by their distance.
                tolerance: late(k.x()) + apart + 0.02 * block,
            }
        })
    });
    claims.push(
        Claim::at_every("mathematics on the event loop: an echo that falls due meanwhile waits for the rest of it", Basis::Calibrated, cases.collect())
            .unit("s")
            .excused(stalled(&["inline"], beat)),
    );
    // Where users leave, who speaks first may be one of them.
    let first = inline.first();
    if let Some(k) = first.filter(|k| away(block, block, k.x()).leave_share() == 0.0) {
        let beyond = |t: &Trial| Some(t.latency.max_s()? - gauge(t, "busy_s")? + apart);
        let least = k.trials().iter().filter_map(beyond).reduce(f64::min);
        claims.push(
            Claim::at_least("mathematics on the event loop: the slowest echo waits for all of it, in every trial", Basis::Calibrated, 0.0, least.map(Estimate::exact))
                .unit("s beyond the block"),
        );
    }
    let cases = inline.iter().map(|k| {
        let theory = |busy| k.x() * away(block, busy, k.x()).missed();
        let (predicted, measured) = beside(k, theory, |t| gauge(t, "missed_heartbeats"));
        Case {
            name: crowd(k),
            predicted: predicted.into(),
            measured,
            // As many as fall due in the time by which a heartbeat may be late, and some because
            // users are whole and their phases not random.
            tolerance: k.x() * late(k.x()) / beat + 3.0,
        }
    });
    claims.push(
        Claim::at_every("mathematics on the event loop: every heartbeat that falls due meanwhile is missed, block/beat of each user's", Basis::Calibrated, cases.collect())
            .unit("heartbeats")
            .excused(stalled(&["inline"], beat)),
    );
    let share = |k: &Condition, asked: f64| {
        let users = summary.only("quiet").map_or(f64::NAN, |q| q.x());
        let users = if k.x() >= 2.0 && asked == block {
            k.x()
        } else {
            users
        };
        let theory = |busy| away(asked, busy, users).leave_share();
        let (predicted, measured) = beside(k, theory, |t| Some(gone(t)? / users));
        Case {
            name: format!("a block of {}", seconds(asked)),
            predicted: predicted.into(),
            measured,
            tolerance: late(users) / beat + 1.5 / users,
        }
    };
    let on_the_loop = inline.iter().map(|k| share(k, block));
    let leaving = on_the_loop.chain(losses.iter().map(|k| share(k, k.x())));
    claims.push(
        Claim::at_every("users leave when the block and what had passed of their beat before it exceed their patience", Basis::Calibrated, leaving.collect())
            .unit("of the users")
            .excused(stalled(&["inline", "losses"], beat)),
    );

    // Elsewhere.
    for (series, _, law) in ELSEWHERE {
        let p99 = worst(&trials(summary, &[series]), |t| t.latency.quantile_s(0.99));
        claims.push(
            Claim::at_most(law, Basis::Predicted, 3.0 * beat, p99)
                .unit("s")
                .unless(alone.clone())
                .excused(stalled(&[series], beat)),
        );
    }
    let elsewhere = ELSEWHERE.map(|(series, _, _)| series);
    let slower = elsewhere.iter().flat_map(|series| summary.series(series));
    let slower = slower.filter_map(|k| Some(k.latency(0.99)?.value - quiet(k.x(), 0.99)?.value));
    claims.push(
        Claim::at_most("mathematics elsewhere adds to the 99th percentile of the echoes at most two time slices of the operating system, one for each thread they pass", Basis::Predicted, 2.0 * SLICE, slower.reduce(f64::max).map(Estimate::exact))
            .unit("s")
            .unless(alone.clone())
            .excused(stalled(&elsewhere, SLICE)),
    );
    let all_elsewhere = [&elsewhere[..], &["killed"]].concat();
    let patient = p.patience.s() - beat;
    claims.push(
        Claim::near(
            "mathematics elsewhere costs nobody the connection, whichever way",
            Basis::Predicted,
            0.0,
            worst(&trials(summary, &all_elsewhere), gone),
            0.0,
        )
        .unit("users")
        .unless(alone.clone())
        .excused(stalled(&all_elsewhere, patient)),
    );
    let when_killed = trials(summary, &["killed"]);
    let off = |name: &'static str, expected: f64| {
        move |t: &Trial| gauge(t, name).map(|n| (n - expected).abs())
    };
    let unexpected = [
        ("jobs_failed", 1.0),
        ("jobs_solved", 1.0),
        ("processes", 2.0),
    ];
    let unexpected = unexpected.map(|(name, n)| worst(&when_killed, off(name, n)));
    let unexpected = unexpected
        .iter()
        .flatten()
        .map(|e| e.value)
        .reduce(f64::max);
    claims.push(
        Claim::near("killing the process in the middle of a job fails that job with an answer, and the next one is done by a new process", Basis::Predicted, 0.0, unexpected.map(Estimate::exact), 0.0)
            .unit("trials otherwise"),
    );
    claims.push(
        Claim::at_most(
            "killing the process does not hold up the echoes either",
            Basis::Predicted,
            3.0 * beat,
            worst(&when_killed, |t| t.latency.quantile_s(0.99)),
        )
        .unit("s")
        .unless(alone)
        .excused(stalled(&["killed"], beat)),
    );
    let every = [
        "quiet",
        "inline",
        "spawn_blocking",
        "rayon",
        "process",
        "killed",
        "losses",
    ];
    let wrong = |t: &Trial| {
        // Who has left hears no more, so the count is of those conversations that nobody left.
        let whole = gone(t)? + gauge(t, "users_slow")? == 0.0;
        let missing = (gauge(t, "messages_meant")? - gauge(t, "messages_received")?).abs();
        Some(gauge(t, "messages_in_disorder")? + if whole { missing } else { 0.0 })
    };
    claims.push(
        Claim::near(
            "every message reaches every member of its room exactly once and in order",
            Basis::Predicted,
            0.0,
            worst(&trials(summary, &every), wrong),
            0.0,
        )
        .unit("messages"),
    );
    claims.push(
        Claim::near(
            "nobody is taken for a slow reader, and the server gives up nobody who is there",
            Basis::Predicted,
            0.0,
            worst(&trials(summary, &every), |t| {
                Some(gauge(t, "users_slow")? + gauge(t, "users_given_up")?)
            }),
            0.0,
        )
        .unit("users"),
    );

    let mut table = Table::new(
        "Everybody else",
        &[
            "mathematics",
            "users",
            "p50",
            "p99",
            "slowest",
            "theory (p99)",
            "heartbeats missed",
            "users gone",
            "answered after",
        ],
    );
    let rows = [("quiet", "nobody asks"), ("inline", "on the event loop")];
    let rows = rows
        .into_iter()
        .chain(ELSEWHERE.map(|(series, name, _)| (series, name)));
    for (series, name) in rows.chain([("killed", "another process, killed")]) {
        for k in summary.series(series) {
            let law = |busy| away(block, busy, k.x()).quantile(0.99, calm(k.x()));
            table.row([
                name.into(),
                number(k.x()),
                cell(k.latency(0.5), seconds),
                cell(k.latency(0.99), seconds),
                cell(k.latency(1.0), seconds),
                match series {
                    "quiet" => "–".into(),
                    "inline" => seconds(beside(&k, law, |_| None).0),
                    _ => format!("≤ {}", seconds(3.0 * beat)),
                },
                cell(k.gauge("missed_heartbeats"), number),
                cell(k.estimate(gone), number),
                cell(k.gauge("answer_s"), seconds),
            ]);
        }
    }
    let busy = |name| summary.only("quiet").and_then(|k| k.gauge(name));
    table.note = format!(
        "An echo counts from the instant it was due. When nobody asks, the server's event loop is busy {} of the time and the users' {}.",
        cell(busy("server_busy_share"), percent),
        cell(busy("users_busy_share"), percent)
    );
    let p99 = |series: &str| summary.only(series).and_then(|k| k.latency(0.99));
    let say = |series: &str| cell(p99(series), seconds);
    let lost = worst(&when_killed, gone);
    let waits = summary.only("inline").map_or(f64::NAN, |k| {
        let law = |busy| away(block, busy, k.x()).quantile(0.99, calm(k.x()));
        beside(&k, law, |_| None).0
    });
    let answers = vec![
        Answer::near("inline", p99("inline"), waits).scaled(1e3),
        Answer::at_most("offloaded", p99("spawn_blocking"), 3.0 * beat).scaled(1e3),
        Answer::near("killed", lost, 0.0),
    ];
    let figures = [
        echoes(p, summary),
        quantiles(summary, block, &away, &calm),
        leavers(p, summary),
    ];
    Findings {
        headline: format!(
            "{} of mathematics on the event loop keep the slowest 1 % of everybody else's echoes waiting {}; in spawn_blocking it is {}, on rayon {}, in another process {}, and {} when nobody asks. Killing that process costs {} users their connection.",
            seconds(block),
            say("inline"),
            say("spawn_blocking"),
            say("rayon"),
            say("process"),
            say("quiet"),
            cell(lost, number),
        ),
        figures: figures.into_iter().flatten().collect(),
        tables: vec![table],
        claims,
        answers,
    }
}

/// The arms in the order of the figures, with their colours.
fn arms() -> [(&'static str, &'static str, Colour); 4] {
    let [threads, rayon, process] = ELSEWHERE;
    [
        ("inline", "On the event loop", Colour::Vermilion),
        (threads.0, threads.1, Colour::Blue),
        (rayon.0, rayon.1, Colour::Green),
        (process.0, process.1, Colour::Purple),
    ]
}

/// Each echo as a dot, over the instant at which it was due.
fn echoes(p: &Params, summary: &Summary) -> Option<Figure> {
    let slowest = |t: &Trial| t.latency.max_s().unwrap_or(f64::NAN);
    let typical = |series: &str| summary.only(series)?.typical(slowest);
    let inline = typical("inline")?;
    let top = slowest(inline).max(p.block.s()) * 1.15;
    let panels = arms().into_iter().filter_map(|(series, name, colour)| {
        let trial = typical(series)?;
        let start = gauge(trial, "started_s")?;
        let span = trial.spans.first()?;
        let (from, to) = (span.start_s - start, span.end_s - start);
        let dots = trial.traces.get("echoes")?;
        let dots = dots.iter().map(|(at, took)| (at - start, *took)).collect();
        let region = Layer::Region {
            x: (from, to),
            label: "mathematics".into(),
            colour: Colour::Muted,
        };
        let mut layers = vec![
            region,
            Layer::Line(Line {
                style: Style::Dots,
                ..Line::measured("", colour, dots)
            }),
        ];
        if series == "inline" {
            let left = (0..=1).map(|end| {
                if end == 0 {
                    (from, to - from)
                } else {
                    (to, 0.0)
                }
            });
            layers.push(Layer::Line(Line::theory("", Colour::Ink, left.collect())));
        }
        Some(Panel {
            title: name.into(),
            note: format!(
                "slowest echo {}{}",
                seconds(slowest(trial)),
                if series == "inline" {
                    "; dashed: the rest of the block"
                } else {
                    ""
                }
            ),
            y: Axis::linear("", Unit::Seconds).with_range(0.0, top),
            layers,
            height: if series == "inline" { 1.0 } else { 0.6 },
        })
    });
    let elsewhere = ELSEWHERE.map(|(series, _, _)| typical(series).map_or(f64::NAN, slowest));
    Some(Figure {
        id: "echoes".into(),
        title: format!(
            "On the event loop an echo waits up to {}, elsewhere up to {}",
            seconds(slowest(inline)),
            seconds(elsewhere.into_iter().fold(0.0, f64::max))
        ),
        subtitle: format!(
            "{} users, one of whom asks for {} of mathematics. A dot is an echo of one of the others: how long it took, over when it was due",
            p.users.first()?,
            seconds(p.block.s())
        ),
        desc: "Latency of echoes over time, a panel for each place where the mathematics is done. On the event loop it jumps to the length of the block and falls evenly to nothing; elsewhere it stays flat.".into(),
        body: Body::Panels(Panels {
            x: Axis::linear("since the beginning", Unit::Seconds)
                .with_range(0.0, p.away(p.block.s()).window),
            panels: panels.collect(),
            marks: vec![],
        }),
    })
}

/// p50, p99 and the slowest, by arm.
fn quantiles(
    summary: &Summary,
    block: f64,
    away: &impl Fn(f64, f64, f64) -> Away,
    calm: &impl Fn(f64) -> f64,
) -> Option<Figure> {
    let quiet = [("quiet", "Nobody asks", Colour::Muted)];
    let shown = quiet.into_iter().chain(arms());
    let groups: Vec<BarGroup> = shown
        .filter_map(|(series, name, colour)| {
            let k = summary.only(series)?;
            let bars = QUANTILES
                .into_iter()
                .filter(|(q, _)| *q != 0.9)
                .map(|(q, name)| {
                    let e = k.latency(q);
                    let bar = ValueBar::measured(name, colour, e.map_or(f64::NAN, |e| e.value))
                        .with_interval(e.and_then(|e| e.ci95).filter(|(low, _)| *low > 0.0));
                    let law = |busy| away(block, busy, k.x()).quantile(q, calm(k.x()));
                    match series {
                        "inline" => bar.with_theory(beside(&k, law, |_| None).0),
                        _ => bar,
                    }
                });
            Some(BarGroup {
                label: name.into(),
                note: String::new(),
                bars: bars.collect(),
            })
        })
        .collect();
    let p99 = |series: &str| cell(summary.only(series).and_then(|k| k.latency(0.99)), seconds);
    (!groups.is_empty()).then(|| Figure {
        id: "quantiles".into(),
        title: format!(
            "99 % of the echoes come within {} on the event loop, within {} in another process",
            p99("inline"),
            p99("process")
        ),
        subtitle: "Latency of everybody else's echoes, from the instant they were due. Dashed: what the law of the block says".into(),
        desc: "Median, 99th percentile and slowest echo for each place where the mathematics is done.".into(),
        body: Body::Bars(Bars {
            x: Axis::log("latency of an echo", Unit::Seconds),
            groups,
        }),
    })
}

/// Who leaves, over the length of the block.
fn leavers(p: &Params, summary: &Summary) -> Option<Figure> {
    let users = summary.only("quiet")?.x();
    let mut points: Vec<(f64, f64)> = summary
        .series("losses")
        .iter()
        .chain(summary.series("inline").first())
        .filter_map(|k| {
            let busy = k.gauge("busy_s")?.value;
            Some((busy, k.estimate(gone)?.value / users))
        })
        .collect();
    points.sort_by(|a, b| a.0.total_cmp(&b.0));
    if points.len() < 2 {
        return None;
    }
    let (beat, patience) = (p.beat.s(), p.patience.s());
    let last = points.last()?.0.max(patience + beat);
    let law = |block: f64| p.away(block).leave_share();
    let corners = [0.0, patience - beat, patience, last];
    let theory = corners.map(|block| (block, law(block)));
    Some(Figure {
        id: "leavers".into(),
        title: format!(
            "All are lost to a block of their patience, {}; none to one a beat shorter",
            seconds(patience)
        ),
        subtitle: format!(
            "{users} users who leave after {} without a heartbeat, one of which comes every {}. Dots: measured",
            seconds(patience),
            seconds(beat)
        ),
        desc: "Share of the users who leave over the time the event loop is blocked: none, then within one beat all.".into(),
        body: Body::Panels(Panels {
            x: Axis::linear("the event loop is blocked for", Unit::Seconds).with_range(0.0, last * 1.05),
            panels: vec![Panel {
                title: "Users who leave".into(),
                note: String::new(),
                y: Axis::linear("", Unit::Share).with_range(0.0, 1.05),
                layers: vec![
                    Layer::Line(Line::theory("theory", Colour::Ink, theory.to_vec())),
                    Layer::Line(Line {
                        style: Style::Dots,
                        ..Line::measured("", Colour::Vermilion, points)
                    }),
                ],
                height: 1.0,
            }],
            marks: vec![],
        }),
    })
}
