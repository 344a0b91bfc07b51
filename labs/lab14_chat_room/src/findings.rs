//! Theory beside measurement for lab14.

use lab_kit::prelude::*;

use super::{Params, gauges, laws::Away};

/// A timer is rounded up to the next millisecond, its thread needs some time to wake, and so does
/// the thread at the other end of the connection.
const LATE: f64 = 3e-3;
/// A thread that wakes while all processors compute gets one within a time slice of the operating
/// system: 3 to 4 ms on Linux.
const SLICE: f64 = 4e-3;
/// Computations of the same cost differ by as much of it.
const UNLIKE: f64 = 0.02;

/// The quantiles of the echoes that are held against theory.
const QUANTILES: [(f64, &str); 4] = [(0.5, "p50"), (0.9, "p90"), (0.99, "p99"), (1.0, "slowest")];

/// Where the mathematics is done, if not on the event loop.
const ELSEWHERE: [(&str, &str); 3] = [
    ("spawn_blocking", "spawn_blocking"),
    ("rayon", "rayon + oneshot"),
    ("process", "another process"),
];

/// The series of the process that is killed.
const KILLED: (&str, &str) = ("killed", "another process, killed");

/// Every series.
const ALL: [&str; 7] = [
    "quiet",
    "inline",
    "spawn_blocking",
    "rayon",
    "process",
    "killed",
    "losses",
];

fn gone(trial: &Trial) -> Option<f64> {
    Some(trial.gauge(gauges::USERS_LEFT)? + trial.gauge(gauges::USERS_DISCONNECTED)?)
}

/// A record beside its flags.
#[derive(Clone, Copy)]
struct View<'a> {
    p: &'a Params,
    summary: &'a Summary<'a>,
}

impl<'a> View<'a> {
    /// The block of the event loop that everybody stays through, by the flags, has lost nobody: where it has,
    /// it tells nothing of what those notice who stay.
    fn stayed(&self, k: &Condition) -> bool {
        let block = Block {
            k: *k,
            users: k.x(),
            asked: self.p.block.s(),
        };
        block.certain(self.p) != Some(0.0) || k.total(gone).is_some_and(|gone| gone.value == 0.0)
    }

    /// A quantile of the echoes when nobody asks.
    fn quiet(&self, users: f64, q: f64) -> Option<Given> {
        Some(self.summary.at("quiet", users)?.latency(q)?.into())
    }

    /// How long the server needs to see to every connection once: to read what it has said and to
    /// write what waits for it, which costs what it costs when nobody asks.
    fn round(&self, users: f64) -> Option<Given> {
        let event = self.summary.at("quiet", users)?.estimate(|t| {
            let messages = t.gauge(gauges::MESSAGES_MEANT)? + t.offered as f64;
            let heartbeats = 2.0 * users * t.wall_s / self.p.beat.s();
            Some(t.gauge(gauges::SERVER_BUSY_SHARE)? * t.wall_s / (messages + heartbeats))
        })?;
        Some(2.0 * users * Given::from(event))
    }

    /// How much longer mathematics on the event loop takes than was asked for, by another experiment:
    /// by the blocks to lose users by for the conversation, and by the conversation for those.
    fn stretch(&self, by: &str) -> Given {
        let of = |k: &Condition| {
            let asked = if by == "losses" {
                k.x()
            } else {
                self.p.block.s()
            };
            Some(Given::from(k.gauge(gauges::BUSY_S)?) / asked)
        };
        let found = self.summary.series(by).first().and_then(of);
        // Where there is none: as long as was asked for.
        found.unwrap_or(Given::from(1.0))
    }

    /// A figure of the law of the block in the conversation of so many users; `None` where nobody
    /// measured how it is when nobody asks.
    fn law(&self, users: f64, figure: impl FnOnce(&Away, f64) -> f64) -> Option<Given> {
        let block = self.p.block.s() * self.stretch("losses");
        let (after, calm) = (self.round(users)?, self.quiet(users, 0.5)?);
        let away = Away {
            block: block.value,
            after: after.value,
            ..self.p.away(self.p.block.s())
        };
        let origin = block.origin().and(after.origin()).and(calm.origin());
        Some(Given::new(figure(&away, calm.value), origin))
    }

    /// Quantile of the echoes when the event loop computes.
    fn waits(&self, users: f64, q: f64) -> Option<Given> {
        self.law(users, |away, calm| away.quantile(q, calm))
    }

    /// Most of what the slowest 1 % of the echoes take at least while somebody else computes: as when
    /// nobody asks, a time slice for each of the two threads they pass, and the time to work off what
    /// has come meanwhile, for which there is what server and users leave of a processor.
    fn sliced(&self, users: f64) -> Option<Given> {
        let k = self.summary.at("quiet", users)?;
        let busy = k.estimate(|t| {
            Some(t.gauge(gauges::SERVER_BUSY_SHARE)? + t.gauge(gauges::USERS_BUSY_SHARE)?)
        })?;
        let left = (1.0 - Given::from(busy)).map(|left| left.max(0.05));
        Some(self.quiet(users, 0.99)? + 2.0 * SLICE / left)
    }

    /// The conditions in which somebody else computes, with their names.
    fn elsewhere(&self) -> Vec<(String, Condition<'a>)> {
        let ways = ELSEWHERE.into_iter().chain([KILLED]);
        let conditions = ways.flat_map(|(series, name)| {
            let all = self.summary.series(series).into_iter();
            all.map(move |k| (format!("{name}, {} users", number(k.x())), k))
        });
        conditions.collect()
    }

    /// Every condition, with its name.
    fn all(&self) -> Vec<(String, Condition<'a>)> {
        let conditions = ALL.into_iter().flat_map(|series| {
            let all = self.summary.series(series).into_iter();
            all.map(move |k| match series {
                "losses" => (format!("a block of {}", seconds(k.x())), k),
                _ => (format!("{series}, {} users", number(k.x())), k),
            })
        });
        conditions.collect()
    }

    /// Quantile of the latency of one condition, in words.
    fn say(&self, series: &str, q: f64) -> String {
        cell(
            self.summary.only(series).and_then(|k| k.latency(q)),
            seconds,
        )
    }
}

/// A case whose prediction may not be there, because what it rests on was not measured.
fn case(
    name: String,
    predicted: Option<Given>,
    measured: Option<Estimate>,
    tolerance: f64,
) -> Case {
    let missing = Given::from(f64::NAN);
    let measured = measured.filter(|_| predicted.is_some());
    Case::new(name, predicted.unwrap_or(missing), measured, tolerance)
}

pub(super) fn explain(p: &Params, summary: &Summary) -> Findings {
    let view = View { p, summary };
    let mut claims = on_the_loop(view);
    claims.extend(leaving(view));
    claims.extend(beside_the_loop(view));
    claims.extend(counts(view));

    let p99 = |series: &str| summary.only(series).and_then(|k| k.latency(0.99));
    let value = |given: Option<Given>| given.map_or(f64::NAN, |g| g.value);
    let users = summary.only("quiet").map_or(f64::NAN, |k| k.x());
    let lost = summary.only("killed").and_then(|k| k.total(gone));
    let answers = vec![
        Answer::near("inline", p99("inline"), value(view.waits(users, 0.99))).scaled(1e3),
        Answer::at_most(
            "offloaded",
            p99("spawn_blocking"),
            value(view.sliced(users)),
        )
        .scaled(1e3),
        Answer::near("killed", lost, 0.0),
    ];
    let figures = [echoes(p, summary), quantiles(view), leavers(p, summary)];
    Findings {
        headline: format!(
            "{} of mathematics on the event loop keep the slowest 1 % of everybody else's echoes waiting {} or more; in spawn_blocking it is {}, on rayon {}, in another process {}, and {} when nobody asks. Killing that process costs {} users their connection.",
            seconds(p.block.s()),
            view.say("inline", 0.99),
            view.say("spawn_blocking", 0.99),
            view.say("rayon", 0.99),
            view.say("process", 0.99),
            view.say("quiet", 0.99),
            cell(lost, number),
        ),
        figures: figures.into_iter().flatten().collect(),
        tables: vec![table(view)],
        claims,
        answers,
    }
}

/// What the conversation notices of mathematics on the event loop.
fn on_the_loop(view: View) -> Vec<Claim> {
    let (p, block) = (view.p, view.p.block.s());
    let inline = view.summary.series("inline");
    let longer = Disturbed::Longer(Resource::Processors);
    // Between two messages: one more or less beyond a quantile moves it by that.
    let apart = 1.0 / p.rate as f64;
    let echoes = inline.iter().flat_map(|k| {
        QUANTILES.map(|(q, name)| {
            case(
                format!("{name}, {} users", number(k.x())),
                view.waits(k.x(), q),
                k.latency(q).filter(|_| view.stayed(k)),
                UNLIKE * block + LATE + apart,
            )
        })
    });
    let missed = inline.iter().map(|k| {
        // Counted as time without heartbeats, which is what a stall makes longer.
        let users_per_s = k.x() / p.beat.s();
        let missed = k.estimate(|t| Some(t.gauge(gauges::MISSED_HEARTBEATS)? / users_per_s));
        let predicted = view.law(k.x(), |away, _| k.x() * away.missed());
        let tolerance = (UNLIKE * block + LATE) * users_per_s + 3.0;
        let measured = missed.filter(|_| view.stayed(k));
        let measured = measured.map(|m| m.scaled(users_per_s));
        case(
            format!("{} users", number(k.x())),
            predicted,
            measured,
            tolerance,
        )
    });
    vec![
        Law::new("mathematics on the event loop: an echo that falls due meanwhile waits for the rest of it", "s", longer)
            .within("2 % of the block, by which computations of the same cost differ, 3 ms for late timers, and the time between two messages")
            .near(echoes),
        Law::new("mathematics on the event loop: every heartbeat that falls due meanwhile is missed, block/beat of each user's", "heartbeats", longer)
            .within("as many as fall due in 2 % of the block, by which computations of the same cost differ, and 3 ms for late timers; 3 because users are whole")
            .near(missed),
    ]
}

/// A block of the event loop by which users may be lost.
#[derive(Clone, Copy)]
struct Block<'a> {
    k: Condition<'a>,
    users: f64,
    asked: f64,
}

impl Block<'_> {
    fn name(&self) -> String {
        format!(
            "a block of {}, {} users",
            seconds(self.asked),
            number(self.users)
        )
    }

    /// The share of the users who leave, less what a law says for the trial.
    fn gone(&self, beat: f64, law: impl Fn(&Trial) -> Option<f64>) -> Option<Estimate> {
        // Estimated as time of silence, which is what a stall makes longer.
        let silence = |t: &Trial| Some((gone(t)? / self.users - law(t)?) * beat);
        Some(self.k.estimate(silence)?.scaled(1.0 / beat))
    }

    /// What holds of every block as it was.
    fn was(&self, holds: impl Fn(f64, &Trial) -> bool) -> bool {
        let of = |t: &Trial| t.gauge(gauges::BUSY_S).is_some_and(|busy| holds(busy, t));
        self.k.trials().iter().all(of)
    }

    /// The share that leaves whatever the block turns out to be, since no two computations of the same
    /// cost are alike: nobody or everybody; `None` where it depends on that.
    fn certain(&self, p: &Params) -> Option<f64> {
        let share = |asked: f64| p.away(asked).leave_share();
        let (least, most) = (
            share(self.asked),
            share(self.asked * (1.0 + 2.0 * UNLIKE) + LATE),
        );
        (least == most).then_some(least)
    }
}

/// Who leaves.
fn leaving(view: View) -> Vec<Claim> {
    let (p, beat) = (view.p, view.p.beat.s());
    let first = view.summary.only("quiet").map_or(f64::NAN, |k| k.x());
    let inline = view.summary.series("inline").into_iter().map(|k| Block {
        k,
        users: k.x(),
        asked: p.block.s(),
    });
    let losses = view.summary.series("losses").into_iter().map(|k| Block {
        k,
        users: first,
        asked: k.x(),
    });
    let blocks: Vec<Block> = inline.chain(losses).collect();
    let nobody = blocks.iter().filter(|b| b.certain(p) == Some(0.0));
    let nobody = nobody.map(|b| {
        let short = b.was(|busy, _| busy + beat < p.patience.s());
        let measured = b.gone(beat, |_| Some(0.0)).filter(|_| short);
        Case::new(b.name(), 0.0, measured, 1.5 / b.users)
    });
    let everybody = blocks.iter().filter(|b| b.certain(p) == Some(1.0));
    let everybody = everybody.map(|b| {
        let long = b.was(|busy, t| busy > p.patience.s() && t.ok < t.offered);
        let measured = b.k.every(|t| Some(gone(t)? / b.users)).filter(|_| long);
        Case::exact(b.name(), 1.0, measured)
    });
    let some = blocks.iter().filter(|b| b.certain(p).is_none());
    let some = some.map(|b| {
        let predicted = view.round(b.users).and_then(|after| {
            let says = |t: &Trial| {
                let away = Away {
                    block: t.gauge(gauges::BUSY_S)?,
                    after: after.value,
                    ..p.away(b.asked)
                };
                Some(away.leave_share())
            };
            let predicted = Given::from(b.k.estimate(says)?).and(after.origin());
            let measured = b.gone(beat, says)?.shifted(predicted.value);
            Some((predicted, measured))
        });
        let (predicted, measured) = predicted.unzip();
        case(b.name(), predicted, measured, LATE / beat + 1.5 / b.users)
    });
    let longer = Disturbed::Longer(Resource::Processors);
    vec![
        Law::new("nobody leaves while the block and a beat are shorter than the patience", "of the users", longer)
            .within("a user and a half: they are whole")
            .near(nobody),
        Law::counted("everybody leaves when the block is longer than the patience", "of the users")
            .near(everybody),
        Law::new("between, those leave for whom the block as it was and what had passed of their beat before it exceed the patience", "of the users", longer)
            .within("those whose beat ends in the 3 ms by which timers are late, and a user and a half: they are whole")
            .near(some),
    ]
}

/// What the conversation notices of mathematics that is done elsewhere.
fn beside_the_loop(view: View) -> Vec<Claim> {
    let longer = Disturbed::Longer(Resource::Processors);
    let slowest = |k: &Condition| k.every(|t| t.latency.quantile_s(0.99));
    let elsewhere = view.elsewhere();
    let within = elsewhere
        .iter()
        .map(|(name, k)| Case::exact(name, 0.1 * view.p.block.s(), slowest(k)));
    let slices = elsewhere
        .iter()
        .map(|(name, k)| case(name.clone(), view.sliced(k.x()), slowest(k), 0.0));
    vec![
        Law::new("mathematics elsewhere: 99 % of everybody else's echoes come within a tenth of the time that it takes, even when its process is killed", "s", longer)
            .goal()
            .at_most(within),
        Law::new("mathematics elsewhere adds to the 99th percentile of the echoes at most two time slices of the operating system, one for each thread they pass, and the working off of what came meanwhile", "s", longer)
            .at_most(slices),
    ]
}

/// What nobody may lose, whoever computes.
fn counts(view: View) -> Vec<Claim> {
    let none = |conditions: &[(String, Condition)], figure: &dyn Fn(&Trial) -> Option<f64>| {
        let cases = conditions
            .iter()
            .map(|(name, k)| Case::exact(name, 0.0, k.every(figure)));
        cases.collect::<Vec<_>>()
    };
    let killed = view.summary.only("killed");
    let of_killed = [
        ("jobs that fail", gauges::JOBS_FAILED, 1.0),
        ("jobs that are done", gauges::JOBS_SOLVED, 1.0),
        ("processes", gauges::PROCESSES, 2.0),
    ];
    let of_killed = killed.into_iter().flat_map(|k| {
        of_killed.map(|(name, gauge, n)| Case::exact(name, n, k.every(|t| t.gauge(gauge))))
    });
    let all = view.all();
    let first = view.summary.only("quiet").map_or(f64::NAN, |k| k.x());
    // Who has left hears no more and is heard no more: that much may be missing for each of them.
    let wrong = |k: &Condition, t: &Trial| {
        let users = if k.series() == "losses" { first } else { k.x() };
        let says = (t.offered as f64 / (users - 1.0)).ceil();
        let excused =
            (gone(t)? + t.gauge(gauges::USERS_SLOW)?) * 2.0 * says * view.p.per_room as f64;
        let missing = t.gauge(gauges::MESSAGES_MEANT)? - t.gauge(gauges::MESSAGES_RECEIVED)?;
        let missing = if missing > 0.0 {
            (missing - excused).max(0.0)
        } else {
            -missing
        };
        Some(t.gauge(gauges::MESSAGES_IN_DISORDER)? + missing)
    };
    let wrong = all.iter().map(|(name, k)| {
        let measured = k.every(|t| wrong(k, t));
        Case::exact(name, 0.0, measured)
    });
    let shown_out =
        |t: &Trial| Some(t.gauge(gauges::USERS_SLOW)? + t.gauge(gauges::USERS_GIVEN_UP)?);
    vec![
        Law::counted("mathematics elsewhere costs nobody the connection, whichever way", "users")
            .near(none(&view.elsewhere(), &gone)),
        Law::counted("killing the process in the middle of a job fails that job with an answer, and the next one is done by a new process", "in every trial")
            .near(of_killed),
        Law::counted("every message reaches every member of its room exactly once and in order", "messages missing, doubled or in disorder")
            .near(wrong),
        Law::counted("nobody is taken for a slow reader, and the server gives up nobody who is there", "users")
            .near(none(&all, &shown_out)),
    ]
}

/// Every condition of the conversation.
fn table(view: View) -> Table {
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
    for (series, name) in rows.into_iter().chain(ELSEWHERE).chain([KILLED]) {
        for k in view.summary.series(series) {
            let shown = |given: Option<Given>| given.map_or("–".into(), |g| seconds(g.value));
            table.row([
                name.into(),
                number(k.x()),
                cell(k.latency(0.5), seconds),
                cell(k.latency(0.99), seconds),
                cell(k.latency(1.0), seconds),
                match series {
                    "quiet" => "–".into(),
                    "inline" => shown(view.waits(k.x(), 0.99)),
                    _ => format!("≤ {}", shown(view.sliced(k.x()))),
                },
                cell(k.gauge(gauges::MISSED_HEARTBEATS), number),
                cell(k.estimate(gone), number),
                cell(k.gauge(gauges::ANSWER_S), seconds),
            ]);
        }
    }
    let busy = |gauge: Gauge| view.summary.only("quiet").and_then(|k| k.gauge(gauge));
    table.note = format!(
        "An echo counts from the instant it was due. When nobody asks, the server's event loop is busy {} of the time and the users' {}. Theory for mathematics elsewhere: when nobody asks, two time slices, and the working off of what came meanwhile.",
        cell(busy(gauges::SERVER_BUSY_SHARE), percent),
        cell(busy(gauges::USERS_BUSY_SHARE), percent)
    );
    table
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
        let start = trial.gauge(gauge::STARTED_S)?;
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
    let elsewhere = ELSEWHERE.map(|(series, _)| typical(series).map_or(f64::NAN, slowest));
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
fn quantiles(view: View) -> Option<Figure> {
    let summary = view.summary;
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
                    match view.waits(k.x(), q) {
                        Some(law) if series == "inline" => bar.with_theory(law.value),
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
    (!groups.is_empty()).then(|| Figure {
        id: "quantiles".into(),
        title: format!(
            "99 % of the echoes come within {} on the event loop, within {} in another process",
            view.say("inline", 0.99),
            view.say("process", 0.99)
        ),
        subtitle: "Latency of everybody else's echoes, from the instant they were due. Dashed: what the law of the block says".into(),
        desc: "Median, 99th percentile and slowest echo for each place where the mathematics is done.".into(),
        body: Body::Bars(Bars {
            x: Axis::log("latency of an echo, log scale", Unit::Seconds),
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
            let busy = k.gauge(gauges::BUSY_S)?.value;
            Some((busy, k.estimate(gone)?.value / users))
        })
        .collect();
    points.sort_by(|a, b| a.0.total_cmp(&b.0));
    if points.len() < 2 {
        return None;
    }
    let said = |(block, share): &(f64, f64)| {
        let block = seconds(*block);
        format!("{} ({block})", percent(*share))
    };
    let lost: Vec<String> = points.iter().map(said).collect();
    let (beat, patience) = (p.beat.s(), p.patience.s());
    let last = points.last()?.0.max(patience + beat);
    let law = |block: f64| p.away(block).leave_share();
    let corners = [0.0, patience - beat, patience, last];
    let theory = corners.map(|block| (block, law(block)));
    Some(Figure {
        id: "leavers".into(),
        title: format!(
            "Users lost to a block of the event loop: {}",
            lost.join(", ")
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
