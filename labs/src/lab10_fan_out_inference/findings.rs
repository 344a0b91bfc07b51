//! Theory beside measurement for lab10.

use lab_kit::prelude::*;
use lab_kit::record::{Latency, Span};
use lab_kit::theory::hedge::Times;
use lab_kit::theory::schedule::{Job, critical_path, list_schedule, makespan};

use super::{Params, Source, Work};

/// How late a fetch may end or a thread wake: timers tick in milliseconds.
const LATE: f64 = 2.5e-3;
/// A thread that wakes while all processors compute gets one within a time slice of the operating
/// system: 3 to 4 ms on Linux.
const SLICE: f64 = 4e-3;
/// A processor's clock changes with load and heat.
const DRIFT: f64 = 0.1;

/// Theory: when each fetch and each inference starts and ends, from the beginning of the answer.
#[derive(Clone, Debug, Default)]
struct Course {
    fetches: Vec<(f64, f64)>,
    inferences: Vec<(f64, f64)>,
}

impl Course {
    fn end(&self) -> f64 {
        let all = self.fetches.iter().chain(&self.inferences);
        all.map(|(_, end)| *end)
            .fold(0.0, |a, b| if b.is_nan() { b } else { a.max(b) })
    }

    /// How long something computes.
    fn computing(&self) -> f64 {
        length(&union(&self.inferences))
    }

    /// How long a fetch and an inference are under way at the same time.
    fn overlap(&self) -> f64 {
        let (a, b) = (union(&self.fetches), union(&self.inferences));
        let both = [&a[..], &b[..]].concat();
        (length(&a) + length(&b) - length(&union(&both))).max(0.0)
    }

    /// Processor time of the inferences begun before an instant.
    fn begun_before(&self, at: f64, jobs: &[Job]) -> f64 {
        let begun = self.inferences.iter().zip(jobs);
        begun
            .filter(|((start, _), _)| *start < at)
            .map(|(_, job)| job.cost)
            .sum()
    }
}

/// The stretches in which at least one of these is under way.
fn union(stretches: &[(f64, f64)]) -> Vec<(f64, f64)> {
    let mut sorted = stretches.to_vec();
    sorted.sort_by(|a, b| a.0.total_cmp(&b.0));
    let mut merged: Vec<(f64, f64)> = Vec::new();
    for (start, end) in sorted {
        match merged.last_mut() {
            Some(last) if start <= last.1 => last.1 = last.1.max(end),
            _ => merged.push((start, end)),
        }
    }
    merged
}

fn length(stretches: &[(f64, f64)]) -> f64 {
    stretches.iter().map(|(start, end)| end - start).sum()
}

/// What was measured, in the same form.
fn course(trial: &Trial) -> Course {
    let begun = trial.gauges.get("begun_s").copied().unwrap_or_default();
    let of = |fetch: bool| {
        let spans = trial.spans.iter().filter(|s| (s.lane == "fetch") == fetch);
        spans
            .map(|s| (s.start_s - begun, s.end_s - begun))
            .collect()
    };
    Course {
        fetches: of(true),
        inferences: of(false),
    }
}

/// One arm of the experiment.
struct Arm<'a> {
    name: &'static str,
    note: String,
    law: &'static str,
    course: Course,
    predicted: f64,
    condition: Option<Condition<'a>>,
}

impl Arm<'_> {
    fn wall(&self) -> Option<Estimate> {
        self.condition?.wall_s()
    }

    /// The event loop acts while workers compute, and waits for its processor.
    fn tolerance(&self) -> f64 {
        LATE + SLICE + DRIFT * self.course.computing()
    }
}

pub(super) fn explain(p: &Params, summary: &Summary) -> Findings {
    let host = summary.host();
    let overhead = host.request_overhead_ms / 1e3;
    let sources = p.sources();
    let width = |active: usize| match p.work {
        Work::Spin => host.width(active),
        Work::Sleep => active as f64,
    };
    let fetch: Vec<f64> = sources
        .iter()
        .map(|s| s.fetch.as_secs_f64() + overhead)
        .collect();
    let infer: Vec<f64> = sources.iter().map(|s| s.infer.as_secs_f64()).collect();
    let last = fetch.iter().copied().fold(0.0, f64::max);
    let released = |at: &dyn Fn(usize) -> f64| -> Vec<Job> {
        let job = |i| Job {
            release: at(i),
            cost: infer[i],
        };
        (0..sources.len()).map(job).collect()
    };
    let (at_arrival, at_last) = (released(&|i| fetch[i]), released(&|_| last));
    let together: Vec<(f64, f64)> = fetch.iter().map(|f| (0.0, *f)).collect();
    let scheduled = |jobs: &[Job], workers: usize, width: &dyn Fn(usize) -> f64| Course {
        fetches: together.clone(),
        inferences: list_schedule(jobs, workers, width),
    };
    let mut in_turn = Course::default();
    let mut now = 0.0;
    for (f, p) in fetch.iter().zip(&infer) {
        in_turn.fetches.push((now, now + f));
        in_turn.inferences.push((now + f, now + f + p));
        now += f + p;
    }
    let sum: f64 = infer.iter().sum();

    // The failing source's fetch ends with an error and is followed by nothing.
    let failed = p.failing as usize;
    let others: Vec<usize> = (0..sources.len()).filter(|i| *i != failed).collect();
    let left: Vec<Job> = others.iter().map(|i| at_arrival[*i]).collect();
    let degraded = scheduled(&left, p.workers, &width);
    let given_up = fetch[failed];
    let wasted = degraded.begun_before(given_up, &left);
    let cut_short = Course {
        fetches: together
            .iter()
            .map(|(_, end)| (0.0, end.min(given_up)))
            .collect(),
        inferences: vec![],
    };

    let of_cores = format!(
        "{} worker{} on {} processors",
        p.workers,
        if p.workers == 1 { "" } else { "s" },
        number(width(p.workers.max(1)))
    );
    let arm = |series, name, note: &str, law, course: Course| Arm {
        name,
        note: note.into(),
        law,
        predicted: course.end(),
        course,
        condition: summary.only(series),
    };
    let (alone, one) = (|n: usize| n as f64, |_: usize| 1.0);
    let arms = [
        arm(
            "one_after_another",
            "One after another",
            "",
            "fetch, infer, fetch, infer: the time is the sum of everything",
            in_turn,
        ),
        arm(
            "phases",
            "All fetches, then all inferences",
            &format!("the source's way; {of_cores}"),
            "in two phases it takes the longest fetch and the makespan of the inferences on the processors",
            scheduled(&at_last, p.workers, &width),
        ),
        arm(
            "on_the_loop",
            "Each as it arrives, on the event loop",
            "one thread",
            "inference on the event loop is the schedule in order of arrival with one processor",
            scheduled(&at_arrival, 1, &one),
        ),
        arm(
            "as_it_arrives",
            "Each as it arrives, on the pool",
            &of_cores,
            "inference on the pool as each text arrives is the schedule in order of arrival on the processors",
            scheduled(&at_arrival, p.workers, &width),
        ),
    ];
    let slept = [
        arm(
            "slept/phases",
            "Two phases, inference only sleeps",
            "",
            "",
            scheduled(&at_last, 3, &alone),
        ),
        arm(
            "slept/as_it_arrives",
            "As it arrives, inference only sleeps",
            "",
            "",
            scheduled(&at_arrival, 3, &alone),
        ),
    ];
    let failing = [
        arm(
            "all_or_nothing",
            "try_join_all: the first error ends it",
            "",
            "",
            cut_short,
        ),
        arm("degraded", "join_all: a part less", "", "", degraded),
    ];
    let [sequential, phases, _, arriving] = &arms;
    let [nothing, parts] = &failing;

    // Which of two texts that arrive together is inferred first is not known.
    let luck = |workers: usize, width: &dyn Fn(usize) -> f64| {
        let ends = (0..8_usize).map(|shift| {
            let early = |i: usize| fetch[i] - if shift >> i & 1 == 1 { LATE } else { 0.0 };
            makespan(&released(&early), workers, width)
        });
        let (low, high) = ends.fold((f64::INFINITY, 0.0_f64), |(lo, hi), e| {
            (lo.min(e), hi.max(e))
        });
        (high - low > 2.0 * LATE).then(|| {
            "two texts arrive at almost the same time: which is inferred first is a coin toss"
                .to_string()
        })
    };
    let coin = luck(p.workers, &width);

    let mut claims = Vec::new();
    for arm in &arms {
        let claim = Claim::near(
            arm.law,
            Basis::Calibrated,
            arm.predicted,
            arm.wall(),
            arm.tolerance(),
        );
        let coin = (arm.name == arriving.name).then(|| coin.clone()).flatten();
        claims.push(claim.unit("s").unless(coin));
    }
    claims.push(
        Claim::at_every(
            "with a processor for each source (here inferences that only sleep) two phases take the longest fetch and the longest inference, and inference at arrival the critical path",
            Basis::Predicted,
            slept.iter().map(|arm| Case {
                name: arm.name.into(),
                predicted: arm.predicted.into(),
                measured: arm.wall(),
                tolerance: 2.0 * LATE,
            }).collect(),
        )
        .unit("s"),
    );
    let overlap = |arm: &Arm| {
        arm.condition
            .and_then(|k| k.estimate(|t| Some(course(t).overlap())))
    };
    claims.push(
        Claim::at_every(
            "in two phases, the source's way, no inference overlaps any fetch; at arrival they overlap from the first text to the last",
            Basis::Calibrated,
            [phases, arriving].map(|arm| Case {
                name: arm.name.into(),
                predicted: (arm.course.overlap()).into(),
                measured: overlap(arm),
                tolerance: LATE + SLICE,
            }).into(),
        )
        .unit("s"),
    );
    let gain = phases.predicted - arriving.predicted;
    let gained = phases
        .condition
        .zip(arriving.condition)
        .and_then(|(a, b)| a.paired(&b, |a, b| Some(a.wall_s - b.wall_s)));
    claims.push(
        Claim::near(
            "beginning each inference when its text arrives saves the difference of the two schedules",
            Basis::Calibrated,
            gain,
            gained,
            2.0 * LATE + SLICE + DRIFT * gain.abs(),
        )
        .unit("s")
        .unless(coin),
    );

    // One source fails.
    let fates = |arm: &Arm| arm.condition.and_then(|k| k.every(|t| Some(t.ok as f64)));
    let whole = (sources.len() - 1) as f64;
    claims.push(
        Claim::at_every(
            "when a source fails, join_all delivers the parts of all the others, and try_join_all none",
            Basis::Predicted,
            vec![
                Case { name: nothing.name.into(), predicted: (0.0).into(), measured: fates(nothing), tolerance: 0.0 },
                Case { name: parts.name.into(), predicted: whole.into(), measured: fates(parts), tolerance: 0.0 },
            ],
        )
        .unit("parts"),
    );
    claims.push(
        Claim::at_every(
            "try_join_all ends with the error, join_all with the schedule of what is left",
            Basis::Calibrated,
            failing
                .iter()
                .map(|arm| Case {
                    name: arm.name.into(),
                    predicted: arm.predicted.into(),
                    measured: arm.wall(),
                    tolerance: LATE + SLICE + DRIFT * arm.predicted,
                })
                .collect(),
        )
        .unit("s"),
    );
    let for_nobody = nothing
        .condition
        .and_then(|k| k.estimate(|t| Some(course(t).inferences.iter().map(|(a, b)| b - a).sum())));
    let speed = others.len().min(p.workers).max(1);
    let shared = speed as f64 / width(speed);
    let undecided = parts
        .course
        .inferences
        .iter()
        .any(|(start, _)| (start - given_up).abs() < 2.0 * LATE);
    claims.push(
        Claim::near(
            "what had begun when try_join_all gave up computes to its end for nobody",
            Basis::Calibrated,
            wasted,
            for_nobody,
            LATE + (DRIFT + shared - 1.0) * wasted,
        )
        .unit("s")
        .unless(
            undecided.then(|| {
                "an inference would begin just when the error arrives: a coin toss".into()
            }),
        ),
    );

    // The slow tail.
    let (usual, after) = (p.usual.s(), p.hedge_after.s());
    let one = Times::with_tail(usual, usual * p.slow_factor, p.slow_share);
    let two = one.hedged(after);
    let (plain, hedged) = (summary.only("tail/plain"), summary.only("tail/hedged"));
    let slow_from = p.slow_from().as_secs_f64();
    let of_each = 3;
    // Requests are independent of each other, so those of all trials are one sample.
    let part = |k: &Option<Condition>, gauge: &str, each: u64| {
        let k = k.as_ref()?;
        let (mut hits, mut all) = (0.0, 0);
        for t in k.trials() {
            hits += t.gauges.get(gauge)? * (t.offered * each) as f64;
            all += t.offered * each;
        }
        Estimate::share(hits.round() as u64, all)
    };
    let t = p.slow_share;
    let mut shares = Vec::new();
    for (name, times, k) in [("without", &one, &plain), ("with", &two, &hedged)] {
        let tolerance = |share: f64| share * if times == &one { 0.2 } else { 0.5 } + 1e-3;
        let (fetches, answers) = (
            times.later_than(slow_from),
            times.slowest_of(3).later_than(slow_from),
        );
        shares.push(Case {
            name: format!("fetches {name} a second request"),
            predicted: (100.0 * fetches).into(),
            measured: part(k, "slow_fetches", of_each).map(|e| e.scaled(100.0)),
            tolerance: 100.0 * tolerance(fetches),
        });
        shares.push(Case {
            name: format!("answers {name} a second request"),
            predicted: (100.0 * answers).into(),
            measured: part(k, "slow_answers", 1).map(|e| e.scaled(100.0)),
            tolerance: 100.0 * tolerance(answers),
        });
    }
    let few = |k: &Option<Condition>| {
        let offered: u64 = k.iter().flat_map(|k| k.trials()).map(|t| t.offered).sum();
        ((offered as f64) * 3.0 * t * t < 60.0 && t > 0.0)
            .then(|| "too few fetches to see what is slow twice: more --answers".to_string())
    };
    claims.push(
        Claim::at_every(
            "of fetches a share t is slow, t² with a second request; of answers that need three, 1 − (1 − share)³",
            Basis::Predicted,
            shares.clone(),
        )
        .unit("%")
        .excused(few(&hedged)),
    );
    let extra = |k: &Option<Condition>| {
        let k = k.as_ref()?;
        let (mut arrived, mut needed) = (0.0, 0);
        for t in k.trials() {
            arrived += t.gauges.get("upstream_arrived")?;
            needed += of_each * t.offered;
        }
        let more = arrived - needed as f64;
        // Above one the count is no share; it is then exact, since everything is hedged.
        let share = Estimate::share(more.clamp(0.0, needed as f64) as u64, needed)?;
        Some(share.scaled(100.0))
    };
    let more = one.later_than(after);
    claims.push(
        Claim::near(
            "the additional requests are the share of fetches that take longer than the delay of the second",
            Basis::Predicted,
            100.0 * more,
            extra(&hedged),
            100.0 * (0.25 * more.min(1.0 - more) + 0.01),
        )
        .unit("%")
        .unless(
            one.each()
                .iter()
                .any(|(time, _)| (time - after).abs() < 4e-3)
                .then(|| "the second request is sent just when the first answer is due: a coin toss".to_string()),
        ),
    );
    let q = 0.95;
    let quantiles: Vec<Case> = [("without", &one, &plain), ("with", &two, &hedged)]
        .into_iter()
        .filter(|(_, times, _)| {
            // Where the share slower is near 5 %, chance decides the quantile.
            let all = times.slowest_of(3);
            let edge = |(time, _): &(f64, f64)| (all.later_than(*time) - (1.0 - q)).abs();
            all.each().iter().all(|each| edge(each) > 0.01)
        })
        .map(|(name, times, k)| Case {
            name: format!("{name} a second request"),
            predicted: (times.slowest_of(3).quantile(q) + overhead).into(),
            measured: k.and_then(|k| k.latency(q)),
            tolerance: 2.0 * LATE + 0.02 * times.slowest_of(3).quantile(q),
        })
        .collect();
    if !quantiles.is_empty() {
        claims.push(
            Claim::at_every(
                "the 95th percentile of an answer is that of the slowest of three, each the faster of two requests",
                Basis::Predicted,
                quantiles,
            )
            .unit("s")
            .excused(few(&hedged)),
        );
    }

    // The pictures.
    let took = |arm: &Arm| cell(arm.wall(), seconds);
    let answers_slow = |k: &Option<Condition>| part(k, "slow_answers", 1);
    let figures = vec![
        Figure {
            id: "arms".into(),
            title: format!(
                "{} one after another, {} in two phases, {} when each inference begins at once",
                took(sequential), took(phases), took(arriving)
            ),
            subtitle: format!("{}. Hatched: fetching. Dashed: theory", described(&sources)),
            desc: "Gantt chart of fetches and inferences of three sources in four arms, from one after another to each as it arrives.".into(),
            body: Body::Gantt(Gantt { groups: arms.iter().map(|a| group(a, &sources)).collect() }),
        },
        Figure {
            id: "failing".into(),
            title: format!(
                "One source fails: join_all gives {} of 3 parts, try_join_all {} and computes {} for nobody",
                cell(fates(parts), number), cell(fates(nothing), number), cell(for_nobody, seconds)
            ),
            subtitle: format!("{} answers 500. Hatched: fetching. The line is the answer's end; dashed: theory", sources[failed].name),
            desc: "Gantt chart of two arms with a failing source: one ends with the error while inferences go on, the other delivers the two other parts.".into(),
            body: Body::Gantt(Gantt { groups: failing.iter().map(|a| group(a, &sources)).collect() }),
        },
        tail_figure(p, (&one, &two), (plain, hedged), (answers_slow(&plain), answers_slow(&hedged)), extra(&hedged)),
    ];

    let mut table = Table::new(
        "An answer from three sources",
        &[
            "arm",
            "theory",
            "measured",
            "against one after another",
            "fetch and inference overlap",
            "parts",
        ],
    );
    for arm in arms.iter().chain(&slept).chain(&failing) {
        let against = arm
            .condition
            .zip(sequential.condition)
            .and_then(|(a, b)| a.paired(&b, |a, b| (b.wall_s > 0.0).then(|| a.wall_s / b.wall_s)));
        table.row([
            arm.name.into(),
            seconds(arm.predicted),
            took(arm),
            cell(against, percent),
            cell(overlap(arm), seconds),
            cell(fates(arm), number),
        ]);
    }
    table.note = format!(
        "{of_cores}. With a processor for each source: two phases {}, each as it arrives {} (the critical path). On one processor: {} and {}.",
        seconds(last + infer.iter().copied().fold(0.0, f64::max)),
        seconds(critical_path(&at_arrival)),
        seconds(last + sum),
        seconds(makespan(&at_arrival, 1, |_| 1.0)),
    );

    let mut tails = Table::new(
        "A slow tail",
        &[
            "",
            "slow fetches",
            "theory",
            "slow answers",
            "theory",
            "p50 of an answer",
            "p95",
            "p99",
            "requests more",
        ],
    );
    for (name, times, k, i) in [
        ("one request", &one, &plain, 0),
        ("a second when late", &two, &hedged, 2),
    ] {
        let of = |i: usize| cell(shares[i].measured, |v| percent(v / 100.0));
        tails.row([
            name.into(),
            of(i),
            percent(times.later_than(slow_from)),
            of(i + 1),
            percent(times.slowest_of(3).later_than(slow_from)),
            cell(k.and_then(|k| k.latency(0.5)), seconds),
            cell(k.and_then(|k| k.latency(0.95)), seconds),
            cell(k.and_then(|k| k.latency(0.99)), seconds),
            cell(extra(k), |v| percent(v / 100.0)),
        ]);
    }
    tails.note = format!(
        "Slow: {} or more. Usual fetches take {}, {} of them {}; a second request after {}.",
        seconds(slow_from),
        p.usual,
        percent(t),
        seconds(usual * p.slow_factor),
        p.hedge_after
    );

    let still_slow = two.slowest_of(3).later_than(slow_from);
    let answers = vec![
        Answer::near("gain", gained, gain).scaled(1e3),
        Answer::near("slow", answers_slow(&hedged), still_slow).scaled(100.0),
    ];
    let write = |e: Option<Estimate>| cell(e, percent);
    Findings {
        headline: format!(
            "One after another: {}; all fetches, then all inferences on {of_cores}: {}; each inference as its text arrives: {}. With a slow tail {} of the answers are slow, with a second request for late fetches {}, for {} more requests.",
            took(sequential),
            took(phases),
            took(arriving),
            write(answers_slow(&plain)),
            write(answers_slow(&hedged)),
            cell(extra(&hedged), |v| percent(v / 100.0))
        ),
        figures,
        tables: vec![table, tails],
        claims,
        answers,
    }
}

/// "weather 30 + 50 ms, …".
fn described(sources: &[Source]) -> String {
    let each = sources.iter().map(|s| {
        let (fetch, infer) = (s.fetch.as_secs_f64(), s.infer.as_secs_f64());
        format!("{} {} + {}", s.name, seconds(fetch), seconds(infer))
    });
    each.collect::<Vec<_>>().join(", ")
}

/// The trial of median length, a lane for each source.
fn group(arm: &Arm, sources: &[Source]) -> Group {
    let trial = arm.condition.and_then(|k| k.typical(|t| t.wall_s));
    let begun = trial
        .and_then(|t| t.gauges.get("begun_s"))
        .copied()
        .unwrap_or_default();
    let colours = [Colour::Blue, Colour::Vermilion, Colour::Green];
    let lanes = sources.iter().zip(colours).map(|(source, colour)| {
        let spans = trial.map_or(&[][..], |t| &t.spans);
        let bar = |s: &Span| Bar {
            start: s.start_s - begun,
            end: s.end_s - begun,
            label: if s.lane == "fetch" { "fetch" } else { "infer" }.into(),
            colour,
            waiting: s.lane == "fetch",
        };
        Lane {
            label: source.name.into(),
            colour,
            bars: spans
                .iter()
                .filter(|s| s.name == source.name)
                .map(bar)
                .collect(),
        }
    });
    Group {
        title: arm.name.into(),
        note: arm.note.clone(),
        lanes: lanes.collect(),
        end: trial.map(|t| t.wall_s),
        predicted_end: Some(arm.predicted),
    }
}

/// Share of answers that take longer than a time, without and with a second request.
fn tail_figure(
    p: &Params,
    (one, two): (&Times, &Times),
    (plain, hedged): (Option<Condition>, Option<Condition>),
    (slow_plain, slow_hedged): (Option<Estimate>, Option<Estimate>),
    extra: Option<Estimate>,
) -> Figure {
    let least = 1e-3;
    // From the top to the bottom of each step.
    let steps = |times: &Times| {
        let all = times.slowest_of(3);
        let mut share = 1.0f64;
        let mut points = vec![(0.0, 1.0)];
        for (time, _) in all.each() {
            let below = all.later_than(*time);
            points.extend([(*time, share), (*time + 1e-9, below.max(least))]);
            share = below;
        }
        points
    };
    let measured = |k: &Option<Condition>| {
        let mut all = Latency::new();
        k.iter()
            .flat_map(|k| k.trials())
            .for_each(|t| all.merge(&t.latency));
        let shares = (0..=150).map(|i| 10f64.powf(-3.0 * f64::from(i) / 150.0));
        let seen = 1.0 / all.count().max(1) as f64;
        let of = |share: f64| Some((all.quantile_s(1.0 - share)?, share));
        let points = shares.filter(|s| *s >= seen).filter_map(of);
        let mut points: Vec<(f64, f64)> = std::iter::once((0.0, 1.0)).chain(points).collect();
        points.dedup_by(|a, b| {
            a.0 <= b.0 && {
                b.1 = a.1;
                true
            }
        });
        points
    };
    let line = |label: &str, colour, k: &Option<Condition>| {
        Layer::Line(Line::trace(label, colour, measured(k)))
    };
    let theory = |times| Layer::Line(Line::theory("", Colour::Muted, steps(times)));
    Figure {
        id: "tail".into(),
        title: format!(
            "{} of the answers are slow, {} with a second request for what is late",
            cell(slow_plain, percent),
            cell(slow_hedged, percent)
        ),
        subtitle: format!(
            "Three fetches of {}, {} of them {}. A second request after {}: {} more requests. Dashed: theory",
            seconds(p.usual.s()),
            percent(p.slow_share),
            seconds(p.usual.s() * p.slow_factor),
            seconds(p.hedge_after.s()),
            cell(extra, |v| percent(v / 100.0))
        ),
        desc: "Share of answers that take longer than a time, on a logarithmic scale: the tail is ten times smaller with a second request.".into(),
        body: Body::Panels(Panels {
            x: Axis::linear("time of an answer", Unit::Seconds),
            panels: vec![Panel {
                title: "Share of answers that take longer".into(),
                note: "log scale".into(),
                y: Axis::log("", Unit::Share).with_range(least, 1.0),
                layers: vec![
                    theory(one),
                    theory(two),
                    line("one request", Colour::Vermilion, &plain),
                    line("a second when late", Colour::Green, &hedged),
                ],
                height: 1.4,
            }],
            marks: vec![],
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stretches_are_united_and_overlaps_counted_once() {
        assert_eq!(
            union(&[(2.0, 3.0), (0.0, 1.0), (0.5, 1.5)]),
            [(0.0, 1.5), (2.0, 3.0)]
        );
        let course = Course {
            fetches: vec![(0.0, 3.0), (0.0, 4.0)],
            inferences: vec![(2.0, 3.0), (2.5, 6.0)],
        };
        assert!((course.overlap() - 2.0).abs() < 1e-12);
        assert!((course.computing() - 4.0).abs() < 1e-12 && course.end() == 6.0);
        let jobs = [(2.0, 1.0), (2.5, 3.5)].map(|(release, cost)| Job { release, cost });
        assert_eq!(course.begun_before(2.2, &jobs), 1.0);
        let phases = Course {
            fetches: vec![(0.0, 1.0)],
            inferences: vec![(1.0, 2.0)],
        };
        assert_eq!(phases.overlap(), 0.0);
    }
}
