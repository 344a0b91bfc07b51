//! The same heartbeat in other languages: what a blocking call costs in each runtime, and what its cure costs.

use std::collections::BTreeMap;

use lab_kit::{
    accounts::{ensure, equal, gauge},
    prelude::*,
    session::Plan,
};

use super::{
    Params,
    findings::{Effect, Theory, longest_gap},
    gauges,
    premise::CLOCK_S,
};

use Language::{Go, Java, Node, Python};

/// `python/lab02.py` and so on.
pub(super) const PROGRAMS: Programs = lab_kit::programs!("lab02", "Lab02": python, node, go, java);

/// Longer than any watch that runs without `--long`.
const LIMIT: Duration = Duration::from_secs(700);

/// Tasks of the arm that only counts memory.
pub(super) const SLEEPERS: usize = 10_000;

const TASKS: &str = "tasks";
const INTERPRETERS: &str = "interpreters";

/// An arm: its name there, its name for the reader, the arm in Rust it stands beside, and the languages that have it.
const ARMS: [(&str, &str, &str, &[Language]); 8] = [
    ("sleep", "sleeps as tasks do", "sleep", &Language::ALL),
    ("thread_sleep", "sleeps on its thread", "thread_sleep", &Language::ALL),
    ("compute", "computes", "compute", &Language::ALL),
    ("yield", "computes in slices, and yields", "yield", &Language::ALL),
    ("threads", "computes on another thread", "spawn_blocking", &Language::ALL),
    ("processes", "computes in another process", "", &[Python, Node]),
    (INTERPRETERS, "computes in another interpreter", "", &[Python]),
    (TASKS, "", "", &Language::ALL),
];

/// The arms of a language.
fn arms(language: Language) -> impl Iterator<Item = &'static str> {
    ARMS.iter().filter(move |(.., having)| having.contains(&language)).map(|(arm, ..)| *arm)
}

/// Adds a condition for each arm.
pub(super) fn add<'a>(plan: &mut Plan<'_, 'a>, program: &'a Program, p: &'a Params) {
    let runtime = || tokio::runtime::Builder::new_current_thread().enable_all().build();
    let here = |arm: &&str| *arm != INTERPRETERS || program.has_interpreters;
    for arm in arms(program.language).filter(here) {
        plan.point(&program.language.series(arm), 0.0, move |r| {
            let flags = [
                ("arm", arm.to_string()),
                ("beat", p.beat.s().to_string()),
                ("busy", p.busy.s().to_string()),
                ("slice", p.slice.s().to_string()),
                ("watch", p.watch.s().to_string()),
                ("lead", p.lead().as_secs_f64().to_string()),
                ("tasks", SLEEPERS.to_string()),
            ];
            runtime()?.block_on(r.program(program, None, &flags, LIMIT))
        });
    }
}

/// Seconds that all arms of a language take once, where one in Rust takes so long.
pub(super) fn takes(language: Language, arm_s: f64) -> f64 {
    arms(language).count() as f64 * (arm_s + needs::START_S)
}

/// What a trial is: gaps between beats as long as it was watched, the longest of them as said, somebody busy for as
/// long as it should be; and who holds the loop up leaves a gap.
pub(super) fn premise(p: &Params, language: Language, arm: &str, t: &Trial) -> Result<(), String> {
    equal("gaps between beats", t.ok as f64, t.offered as f64)?;
    if arm == TASKS {
        return equal("tasks", gauge(t, gauges::TASKS)?, SLEEPERS as f64);
    }
    let (said, busy) = (gauge(t, gauges::LONGEST_GAP_S)?, gauge(t, gauges::BUSY_S)?);
    let longest = t.latency.max_s().unwrap_or(0.0);
    ensure((said - longest).abs() <= CLOCK_S + 0.02 * said, || {
        format!("the longest gap is {}, and of the gaps {}", seconds(said), seconds(longest))
    })?;
    ensure(t.wall_s >= p.watch.s() - CLOCK_S && longest <= t.wall_s + CLOCK_S, || {
        let (watched, due) = (seconds(t.wall_s), p.watch);
        format!("it was watched for {watched} of {due}, with a gap of {}", seconds(longest))
    })?;
    let least = p.busy.s() * if arm.ends_with("sleep") { 1.0 } else { 0.02 };
    ensure(busy >= least - CLOCK_S, || {
        format!("busy for {}, where {} is the least", seconds(busy), seconds(least))
    })?;
    let held = matches!(arm, "thread_sleep" | "compute") && language != Go;
    ensure(!held || said >= busy - CLOCK_S, || {
        format!(
            "the loop was held for {}, and no gap is longer than {}",
            seconds(busy),
            seconds(said)
        )
    })
}

/// What an arm does to the heartbeat, by what is known of its runtime. Of `Thread.yield` in Java nothing is known:
/// a scheduler may ignore it.
fn effect(theory: &Theory, language: Language, arm: &str) -> Option<Effect> {
    let calm = Effect {
        claim: "in every language a task that sleeps as tasks do, or computes on another thread, does not keep the heartbeat waiting",
        ..theory.calm()
    };
    let longer =
        |more: f64, claim, why| Effect { claim, gap: (theory.most() + more).into(), why, ..calm };
    Some(match (language, arm) {
        (Go, "thread_sleep" | "compute") => Effect {
            computes: true,
            ..longer(
                2.0 * runtimes::GO_LOOK_S,
                "Go interrupts a goroutine that computes, and moves the others away from one that blocks: it looks for these every 10 ms, and the heartbeat waits for two looks at most",
                "a beat, two times 10 ms, and 6 ms for timer and scheduler",
            )
        },
        (Python, "threads") => longer(
            runtimes::PYTHON_SWITCH_S,
            "in Python a thread that computes lets the heartbeat through at the next switch of threads",
            "a beat, 5 ms until the lock is handed over, and 6 ms for timer and scheduler",
        ),
        (Java, "yield") => return None,
        (_, "thread_sleep") => theory.slept(
            "in Python, Node and Java a call that blocks its thread stops the heartbeat: the gap is the time of the call and the part of a beat before it",
        ),
        (_, "compute") => theory.computed(
            "in Python, Node and Java a computation stops the heartbeat: the gap is its time and the part of a beat before it",
        ),
        (_, "yield") => theory.sliced(
            1.0,
            "in Python, Node and Go a computation that yields lets the heartbeat through after the slice that it fell into",
        ),
        (_, TASKS) => return None,
        _ => calm,
    })
}

/// What the arm in Rust does to it, which is claimed elsewhere.
fn in_rust(theory: &Theory, arm: &str) -> Effect {
    match arm {
        "thread_sleep" => theory.slept(""),
        "compute" => theory.computed(""),
        "yield" => theory.sliced(1.0, ""),
        _ => theory.calm(),
    }
}

/// A claim for each thing that runtimes do to a heartbeat, over the languages that do it.
pub(super) fn claims(p: &Params, summary: &Summary) -> Vec<Claim> {
    let theory = Theory::of(p, summary);
    let mut order: Vec<Effect> = Vec::new();
    let mut cases: BTreeMap<&str, Vec<Case>> = BTreeMap::new();
    for (language, arm, k) in runtimes::conditions(summary) {
        let Some(effect) = effect(&theory, language, arm) else {
            continue;
        };
        if !cases.contains_key(effect.claim) {
            order.push(effect);
        }
        let name = format!("{language}, {arm}");
        cases.entry(effect.claim).or_default().push(effect.case(name, &k, p.busy.s()));
    }
    let claim = |effect: Effect| effect.claimed(cases.remove(effect.claim).unwrap_or_default());
    order.into_iter().map(claim).collect()
}

/// Each arm in Rust and in each language.
pub(super) fn tables(p: &Params, summary: &Summary) -> Vec<Table> {
    let theory = Theory::of(p, summary);
    let conditions: Vec<_> = runtimes::conditions(summary).collect();
    if conditions.is_empty() {
        return Vec::new();
    }
    let mut rows: Vec<(&str, String, Option<Effect>, Condition)> = Vec::new();
    for (arm, name, beside, _) in ARMS.into_iter().filter(|(arm, ..)| *arm != TASKS) {
        let rust = summary.only(beside);
        let rust = rust.map(|k| (name, "Rust".into(), Some(in_rust(&theory, beside)), k));
        let others = conditions.iter().filter(|(_, of, _)| *of == arm);
        rows.extend(rust.into_iter().chain(others.map(|(language, arm, k)| {
            (name, language.to_string(), effect(&theory, *language, arm), *k)
        })));
    }
    let says = |effect: &Option<Effect>| match effect {
        None => "–".into(),
        Some(effect) if effect.within.is_some() => seconds(effect.gap.value),
        Some(effect) => format!("≤ {}", seconds(effect.gap.value)),
    };
    let gap = |k: &Condition| k.estimate(|t| Some(longest_gap(t)));
    let beats = Table::of(format!("The heartbeat {}", runtimes::BESIDE), rows)
        .column("the other task", |r| r.0.into())
        .column("language", |r| r.1.clone())
        .cells("longest gap", seconds, |r| gap(&r.3))
        .column("theory", |r| says(&r.2))
        .cells("busy for", seconds, |r| r.3.gauge(gauges::BUSY_S))
        .note(format!(
            "The longest gap of a trial, on average; the other task is to be busy for {}. One thread runs all tasks, except what is computed on another thread or in another process.",
            p.busy
        ));
    let tasks = conditions.iter().filter(|(_, arm, _)| *arm == TASKS);
    let memory = Table::of(format!("A task that sleeps {}", runtimes::BESIDE), tasks)
        .column("language", |r| r.0.to_string())
        .cells("tasks", number, |r| r.2.gauge(gauges::TASKS))
        .cells("bytes of memory each", number, |r| r.2.gauge(gauges::BYTES_PER_TASK))
        .note("Memory with them, minus that before, divided by their number. Python: tasks of asyncio; Node: promises and their timers; Go: goroutines; Java: virtual threads. It is resident memory, in Node what is in use on the heap. Node and Java collect what is garbage before each reading.")
        .unless_empty();
    std::iter::once(beats).chain(memory).collect()
}
