//! Theory beside measurement for lab02.

use lab_kit::prelude::*;

use super::Params;

/// A timer is rounded up to the next millisecond, and its thread needs some time to wake.
const LATE: f64 = 2e-3;

/// What an arm does to the loop.
#[derive(Clone, Copy, PartialEq)]
enum Kind {
    /// Stops it: the gap is the blocked time and up to a beat.
    Blocks,
    /// Lets it live: at most this many seconds between two beats.
    Lives(f64),
}

/// One arm with what theory knows of it.
struct Arm<'a> {
    name: &'static str,
    note: String,
    claim: &'static str,
    kind: Kind,
    condition: Condition<'a>,
    /// Slow polls to be expected; `None` where a poll is about as long as the threshold.
    slow: Option<f64>,
    /// Share of the workers that one long poll holds.
    share: f64,
}

impl Arm<'_> {
    fn gap(&self) -> Option<Estimate> {
        self.condition.gauge("longest_gap_s")
    }

    fn worst_stall(&self) -> f64 {
        let stalls = self.condition.trials().iter().map(stall);
        stalls.fold(0.0, f64::max)
    }

    /// What theory says of a figure, and the figure. Theory follows what each trial was busy for,
    /// which is not always the same for a computation; so the interval is that of the difference,
    /// trial by trial.
    fn beside(&self, theory: impl Fn(&Trial, f64) -> f64, gauge: &str) -> (f64, Option<Estimate>) {
        let says = |t: &Trial| Some(theory(t, *t.gauges.get("busy_s")?));
        let predicted = self.condition.estimate(says).map_or(f64::NAN, |e| e.value);
        let off = self
            .condition
            .estimate(|t| Some(t.gauges.get(gauge)? - says(t)?));
        let measured = off.map(|e| e.shifted(predicted));
        (predicted, measured)
    }

    /// The time blocked and half a beat, since the block begins in the middle between two beats,
    /// beside the longest gap.
    fn blocked(&self, beat: f64) -> (f64, Option<Estimate>) {
        self.beside(|_, busy| busy + beat / 2.0, "longest_gap_s")
    }
}

/// How long the machine itself stood still during a trial, in seconds.
fn stall(trial: &Trial) -> f64 {
    trial.gauges.get("stall_max_ms").map_or(0.0, |ms| ms / 1e3)
}

pub(super) fn explain(p: &Params, summary: &Summary) -> Findings {
    let (beat, busy, slow) = (p.beat.s(), p.busy.s(), p.slow.s());
    let calm = Kind::Lives(3.0 * beat);
    let slices = (busy / p.slice.s()).ceil().max(1.0);
    let slice = busy / slices;
    // Between two beats there may be the slice in which the beat fell due, as long as it really
    // took. A worker of a multi-thread runtime takes the task woken last first, which may be the
    // one that has yielded: another slice.
    let sliced = |series: &str, times: f64| {
        let took = |t: &Trial| t.spans.iter().map(|s| s.end_s - s.start_s).reduce(f64::max);
        let longest = summary.only(series).and_then(|k| k.estimate(took));
        let real = longest.map_or(slice, |e| e.value / slices);
        Kind::Lives((times * real + 2.0 * beat).max(3.0 * beat))
    };
    let polls = |each: f64, count: f64| match each / slow {
        r if r > 1.3 => Some(count),
        r if r < 0.7 => Some(0.0),
        _ => None,
    };
    let beside = polls(busy, 1.0)
        .zip(polls(slice, slices))
        .map(|(one, other)| one + other);
    let (w, workers) = (p.workers as f64, format!("{} workers", p.workers));
    let (one, many) = (
        "current-thread".to_string(),
        format!("multi-thread, {workers}"),
    );
    let arm = |series, name, note: &str, claim, kind, slow, share| {
        Some(Arm {
            name,
            note: note.into(),
            claim,
            kind,
            condition: summary.only(series)?,
            slow,
            share,
        })
    };
    let arms: Vec<Arm> = [
        arm("sleep", "tokio::time::sleep", &one, "a task that awaits a timer does not keep the heartbeat waiting", calm, Some(0.0), 1.0),
        arm("thread_sleep", "std::thread::sleep", &one, "std::thread::sleep in a task stops the heartbeat for as long as it sleeps", Kind::Blocks, polls(busy, 1.0), 1.0),
        arm("compute", "CPU loop", &one, "a computation in a task stops the heartbeat for as long as it computes", Kind::Blocks, polls(busy, 1.0), 1.0),
        arm("yield", "CPU loop + yield_now", &format!("{one}, every {}", seconds(p.slice.s())), "a computation that yields lets the heartbeat through between two slices", sliced("yield", 1.0), polls(slice, slices), 1.0),
        arm("spawn_blocking", "spawn_blocking", &one, "a computation in spawn_blocking does not keep the heartbeat waiting", calm, Some(0.0), 1.0),
        arm("rayon", "rayon + oneshot", &one, "a computation on rayon does not keep the heartbeat waiting", calm, Some(0.0), 1.0),
        arm("block_in_place", "block_in_place", &many, "a computation in block_in_place does not keep the heartbeat waiting", calm, polls(busy, 1.0), 0.0),
        arm("one_of_two", "one blocks, one yields", &many, "one blocked worker does not keep the heartbeat waiting while another worker is awake", sliced("one_of_two", 2.0), beside, 1.0 / w),
        arm("one_alone", "one blocks, others asleep", &many, "one blocked worker stops a multi-thread runtime when the others are asleep: it is the one that watched the clock", Kind::Blocks, polls(busy, 1.0), 1.0 / w),
        arm("all_workers", "all workers blocked", &many, "as many blocked tasks as workers stop a multi-thread runtime for as long as all are blocked", Kind::Blocks, polls(busy, w), 1.0 / w),
    ]
    .into_iter()
    .flatten()
    .collect();

    let mut claims = Vec::new();
    // Counts are exact; a bound has to hold in every trial.
    let told = |series| summary.only(series)?.gauge("threads");
    let extreme = |series, pick: fn(f64, f64) -> f64| {
        let condition = summary.only(series)?;
        let counts = condition
            .trials()
            .iter()
            .filter_map(|t| t.gauges.get("threads").copied());
        counts.reduce(pick).map(Estimate::exact)
    };
    let at_least = 2_usize.min(p.tasks) as f64;
    claims.push(
        Claim::near(
            "all tasks of a current-thread runtime run on one thread",
            Basis::Predicted,
            1.0,
            extreme("threads/current", f64::max),
            0.0,
        )
        .unit("threads"),
    );
    claims.push(
        Claim::at_most(
            "tasks of a multi-thread runtime run on no more threads than it has workers",
            Basis::Predicted,
            w,
            extreme("threads/multi", f64::max),
        )
        .unit("threads"),
    );
    claims.push(
        Claim::at_least(
            "spawn_blocking adds threads",
            Basis::Predicted,
            at_least,
            extreme("threads/blocking", f64::min),
        )
        .unit("threads"),
    );
    for arm in &arms {
        let claim = match arm.kind {
            Kind::Blocks => {
                let (predicted, gap) = arm.blocked(beat);
                Claim::near(
                    arm.claim,
                    Basis::Calibrated,
                    predicted,
                    gap,
                    beat / 2.0 + LATE,
                )
            }
            Kind::Lives(bound) => {
                // Beyond three beats it is the slices that count, and those were measured.
                let basis = if bound > 3.0 * beat {
                    Basis::Calibrated
                } else {
                    Basis::Predicted
                };
                Claim::at_most(arm.claim, basis, bound, arm.gap())
            }
        };
        let stalled = (arm.worst_stall() > beat).then(|| {
            format!(
                "the machine itself stood still for {}",
                seconds(arm.worst_stall())
            )
        });
        claims.push(claim.unit("s").excused(stalled));
    }
    let polled = arms.iter().filter_map(|arm| {
        let case = |expected: f64| Case {
            name: arm.name.into(),
            predicted: expected.into(),
            measured: arm.condition.gauge("slow_polls"),
            tolerance: 0.0,
        };
        arm.slow.map(case)
    });
    // A poll during which the machine stood still is a slow one, too.
    let excused = arms.iter().find_map(|arm| {
        let expected = arm.slow?;
        let polls = |t: &Trial| t.gauges.get("slow_polls").copied().unwrap_or(expected);
        let stalled = |t: &&Trial| polls(t) > expected && stall(t) > 0.5 * slow;
        let trial = arm.condition.trials().iter().find(stalled)?;
        Some(format!(
            "{}: the machine itself stood still for {}",
            arm.name,
            seconds(stall(trial))
        ))
    });
    claims.push(
        Claim::at_every("slow polls appear exactly where a poll is held up, one for each busy task (or long slice)", Basis::Predicted, polled.collect())
            .unit("polls")
            .excused(excused),
    );
    let shares = arms.iter().map(|arm| {
        let polled = |t: &Trial| t.gauges.get("poll_s").copied().unwrap_or(f64::NAN);
        let (predicted, measured) =
            arm.beside(|t, _| arm.share * polled(t) / t.wall_s, "busy_share");
        Case {
            name: arm.name.into(),
            predicted: predicted.into(),
            measured,
            tolerance: 0.03,
        }
    });
    claims.push(
        Claim::at_every("the workers' busy share is the share of the time they spend in polls, blocked or computing; block_in_place is not in it", Basis::Calibrated, shares.collect())
            .unit("of the time"),
    );

    let gap_of = |series: &str| {
        cell(
            summary.only(series).and_then(|k| k.gauge("longest_gap_s")),
            seconds,
        )
    };
    let beats = Figure {
        id: "heartbeat".into(),
        title: format!(
            "A blocked poll leaves {} without a beat; spawn_blocking leaves {}",
            gap_of("thread_sleep"),
            gap_of("spawn_blocking")
        ),
        subtitle: format!(
            "One tick per heartbeat (every {}) beside a task that is busy for {}. Red: no tick for more than three beats",
            seconds(beat),
            seconds(busy)
        ),
        desc: "Heartbeats over time, a lane for each way of being busy. The ways that block the loop show one long gap.".into(),
        body: Body::Beats(Beats {
            until: p.watch.s(),
            threshold: 3.0 * beat,
            lanes: arms.iter().filter_map(lane).collect(),
        }),
    };

    let mut table = Table::new(
        "The heartbeat",
        &[
            "the other task",
            "runtime",
            "longest gap",
            "theory",
            "busy for",
            "workers' busy share",
            "slow polls",
        ],
    );
    for arm in &arms {
        table.row([
            arm.name.into(),
            arm.note.clone(),
            cell(arm.gap(), seconds),
            match arm.kind {
                Kind::Blocks => seconds(arm.blocked(beat).0),
                Kind::Lives(bound) => format!("≤ {}", seconds(bound)),
            },
            cell(arm.condition.gauge("busy_s"), seconds),
            cell(arm.condition.gauge("busy_share"), percent),
            cell(arm.condition.gauge("slow_polls"), number),
        ]);
    }
    table.note = format!("A poll of more than {} counts as slow.", seconds(slow));
    let mut threads = Table::new("Who runs the tasks", &["where", "tasks", "threads"]);
    for (name, series) in [
        (one, "threads/current"),
        (many, "threads/multi"),
        ("spawn_blocking".into(), "threads/blocking"),
    ] {
        threads.row([name, p.tasks.to_string(), cell(told(series), number)]);
    }

    let answer = |key, name: &str| {
        let arm = arms.iter().find(|arm| arm.name == name);
        let gap = arm.and_then(Arm::gap);
        let answer = match arm.map(|arm| (arm, arm.kind)) {
            Some((_, Kind::Lives(bound))) => Answer::at_most(key, gap, bound),
            Some((arm, Kind::Blocks)) => Answer::near(key, gap, arm.blocked(beat).0),
            None => Answer::near(key, None, f64::NAN),
        };
        answer.scaled(1e3)
    };
    let answers = vec![
        answer("sleep", "std::thread::sleep"),
        answer("offloaded", "spawn_blocking"),
        answer("slices", "CPU loop + yield_now"),
    ];
    Findings {
        headline: format!(
            "A task that blocks its event loop for {} leaves the others without a beat for {}; with yield_now every {} they wait {}, with spawn_blocking {}. All {workers} blocked: {}.",
            seconds(busy),
            gap_of("thread_sleep"),
            seconds(p.slice.s()),
            gap_of("yield"),
            gap_of("spawn_blocking"),
            gap_of("all_workers")
        ),
        figures: vec![beats],
        tables: vec![table, threads],
        claims,
        answers,
    }
}

/// The trial of median longest gap, from its first beat on.
fn lane(arm: &Arm) -> Option<BeatLane> {
    let gap = |t: &Trial| t.gauges.get("longest_gap_s").copied().unwrap_or(f64::NAN);
    let trial = arm.condition.typical(gap)?;
    let beats = trial.traces.get("beats")?;
    let first = beats.first()?.0;
    Some(BeatLane {
        title: arm.name.into(),
        note: arm.note.clone(),
        beats: beats.iter().map(|(at, _)| at - first).collect(),
        longest_gap: gap(trial),
    })
}
