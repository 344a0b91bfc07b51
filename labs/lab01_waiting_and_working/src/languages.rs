//! The same waits and computations in other languages: what overlaps on one thread, and what takes several.

use lab_kit::{
    accounts::{ensure, equal, gauge},
    prelude::*,
    session::Plan,
};

use super::{
    Params,
    findings::{LATE, WAKE},
};

use Language::Python;

/// `python/lab01.py` and so on.
pub(super) const PROGRAMS: Programs = lab_kit::programs!("lab01", "Lab01": python, node, go, java);

/// Longer than anything that runs without `--long`.
const LIMIT: Duration = Duration::from_secs(700);

lab_kit::gauges! {
    /// How long one computation took alone, just before.
    COST_ALONE_S = "cost_alone_s",
    /// 1 where Python lets one thread at a time run.
    GIL = "gil",
}

const INTERPRETERS: &str = "jobs/interpreters";

/// An arm: its name there, its name for the reader, the arm in Rust it stands beside, and the languages that have it.
const ARMS: [(&str, &str, &str, &[Language]); 9] = [
    ("waits/sequential", "waits, one after another", "waits/sequential", &Language::ALL),
    ("waits/concurrent", "waits, concurrent", "waits/concurrent", &Language::ALL),
    ("waits/threads", "waits on threads", "waits/rayon", &Language::ALL),
    ("jobs/sequential", "computations, one after another", "jobs/sequential", &Language::ALL),
    ("jobs/concurrent", "computations, concurrent", "jobs/concurrent", &Language::ALL),
    ("jobs/threads", "computations on threads", "jobs/rayon", &Language::ALL),
    ("jobs/processes", "computations in processes", "", &[Python]),
    (INTERPRETERS, "computations in interpreters", "", &[Python]),
    ("jobs/slept", "jobs that sleep", "jobs/slept", &Language::ALL),
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
            let waits: Vec<String> =
                p.durations().iter().map(|d| d.as_secs_f64().to_string()).collect();
            let flags = [
                ("arm", arm.to_string()),
                ("waits", waits.join(",")),
                ("jobs", p.jobs.to_string()),
                ("cost", p.cost.s().to_string()),
                ("threads", p.threads.to_string()),
            ];
            runtime()?.block_on(r.program(program, None, &flags, LIMIT))
        });
    }
}

/// Seconds that all arms of a language take once.
pub(super) fn takes(p: &Params, language: Language) -> f64 {
    let waits: f64 = p.durations().iter().map(Duration::as_secs_f64).sum();
    let jobs = p.jobs as f64 * p.cost.s();
    arms(language).count() as f64 * needs::START_S + 3.0 * waits + 6.0 * jobs
}

/// What a trial is: as many waits or jobs as there should be, the last of which ends it.
pub(super) fn premise(p: &Params, arm: &str, t: &Trial) -> Result<(), String> {
    let waits = arm.starts_with("waits/");
    let due = if waits { p.waits.len() } else { p.jobs } as f64;
    equal("waits or jobs", t.offered as f64, due)?;
    equal("those that are done", t.ok as f64, due)?;
    let (last, wall) = (t.latency.max_s().unwrap_or(0.0), t.wall_s);
    ensure((last - wall).abs() <= 0.05 * wall + 0.02, || {
        format!("the last ended after {}, and all after {}", seconds(last), seconds(wall))
    })?;
    if waits || arm == "jobs/slept" {
        return Ok(());
    }
    let alone = gauge(t, COST_ALONE_S)?;
    ensure(alone >= 0.02 * p.cost.s(), || format!("a computation took {} alone", seconds(alone)))
}

/// What theory says of waits and of computations on one thread, in whatever language.
pub(super) fn claims(p: &Params, summary: &Summary) -> Vec<Claim> {
    let waits: Vec<f64> = p.durations().iter().map(Duration::as_secs_f64).collect();
    let many = waits.len() as f64;
    let (sum, longest) = (waits.iter().sum::<f64>(), waits.iter().copied().fold(0.0, f64::max));
    let all = summary.calibrated(|_| p.jobs as f64 * p.cost.s());
    let of = |wanted: &'static [&'static str], case: &dyn Fn(String, &str, Condition) -> Case| {
        let found = runtimes::conditions(summary).filter(|(_, arm, _)| wanted.contains(arm));
        found
            .map(|(language, arm, k)| case(format!("{language}, {arm}"), arm, k))
            .collect::<Vec<_>>()
    };
    let waited = of(
        &["waits/sequential", "waits/concurrent", "waits/threads", "jobs/slept"],
        &|name, arm, k| {
            let (due, within) = match arm {
                "waits/sequential" => (sum, many * LATE),
                "jobs/slept" => (p.cost.s(), LATE + THREAD * p.jobs as f64),
                _ => (longest, LATE + many * WAKE.max(THREAD)),
            };
            Case::new(name, due, k.wall_s(), within)
        },
    );
    let computed = of(&["jobs/sequential", "jobs/concurrent"], &|name, _, k| {
        Case::new(name, all, k.wall_s(), 0.1 * all.value)
    });
    let waiting = "in every language waits one after another take their sum, and waits begun together as long as the longest, on one thread or on several";
    let computing = "in every language n computations on one scheduler thread take n·p, begun one after another or together";
    let law = |text, resource| Law::new(text, "s", Disturbed::Longer(resource));
    vec![
        law(waiting, Resource::Timers)
            .within("a timer ends up to 2.5 ms late; to start a thread may take 0.2 ms")
            .near(waited),
        law(computing, Resource::Processors)
            .within("a tenth: a processor's clock changes with load and heat")
            .near(computed),
    ]
}

/// What it takes to start a thread and wake it, at most, where they are not there before.
const THREAD: f64 = 2e-4;

/// Each arm in Rust and in each language. How they stand to each other is for the reader.
pub(super) fn table(summary: &Summary) -> Option<Table> {
    let mut rows = Vec::new();
    for (arm, name, beside, _) in ARMS {
        let first = format!("{}/sequential", arm.split('/').next().unwrap_or_default());
        let others: Vec<_> =
            runtimes::conditions(summary).filter(|(_, of, _)| *of == arm).collect();
        let rust = summary.only(beside).filter(|_| !others.is_empty());
        rows.extend(rust.map(|k| (name, "Rust", k, summary.only(&first))));
        rows.extend(others.into_iter().map(|(language, _, k)| {
            (name, language.name(), k, summary.only(&language.series(&first)))
        }));
    }
    let share = |k: &Condition, first: &Option<Condition>| {
        k.paired(first.as_ref()?, |k, first| Some(k.wall_s / first.wall_s))
    };
    let gil = summary.only(&Python.series("jobs/threads")).and_then(|k| k.gauge(GIL));
    let gil = match gil.map(|gil| gil.value > 0.5) {
        Some(true) => {
            " This interpreter of Python lets one thread at a time run: its threads wait side by side, and compute in turns."
        }
        Some(false) => " This interpreter of Python runs threads in parallel (free-threaded).",
        None => "",
    };
    Table::of(format!("The same {}", runtimes::BESIDE), rows)
        .column("arm", |r| r.0.into())
        .column("language", |r| r.1.into())
        .cells("measured", seconds, |r| r.2.wall_s())
        .cells("against one after another", percent, |r| share(&r.2, &r.3))
        .cells("busy", percent, |r| r.2.gauge(gauge::CLIENT_CPU_SHARE))
        .note(format!("Computations take the same time in each language: how much is computed in it is not compared. Busy: processor time of the process over the time of the whole, without that of processes that it started.{gil}"))
        .unless_empty()
}
