//! Theory beside measurement for lab01.

use std::collections::BTreeMap;

use lab_kit::prelude::*;
use lab_kit::theory::amdahl::makespan_equal_jobs;

use super::Params;

/// How late a timer may end: it is rounded up to a millisecond by the timer wheel and once more by
/// the poll that waits for it, and its thread needs some time to wake. Never early.
const LATE: f64 = 2.5e-3;
/// The first job of a pool's thread waits until that thread has been woken; they are woken one
/// after another.
const WAKE: f64 = 50e-6;

/// One arm of the experiment.
struct Arm<'a> {
    name: &'static str,
    note: String,
    predicted: f64,
    condition: Option<Condition<'a>>,
    /// Colour of its bars, and whether they are waits.
    look: (Colour, bool),
}

impl Arm<'_> {
    fn wall(&self) -> Option<Estimate> {
        self.condition.as_ref()?.wall_s()
    }

    /// Why a time that was to be met this closely may have been missed: the machine itself stood
    /// still for longer.
    fn stalled(&self, tolerance: f64) -> Option<String> {
        let trials = self.condition.as_ref()?.trials().iter();
        let stalls = trials.filter_map(|t| t.gauges.get("stall_max_ms"));
        let worst = stalls.fold(0.0_f64, |a, b| a.max(*b)) / 1e3;
        (worst > tolerance)
            .then(|| format!("the machine itself stood still for {}", seconds(worst)))
    }

    /// Why computations may have taken longer than they should: other programs had the processors
    /// for part of the time. Processor time comes in ticks of 10 ms, hence the sum over trials.
    fn starved(&self, cores: usize) -> Option<String> {
        let (mut wanted, mut got) = (0.0, 0.0);
        for trial in self.condition.as_ref()?.trials() {
            let all = trial.wall_s * cores as f64;
            let spans = trial.spans.iter().map(|s| s.end_s - s.start_s).sum::<f64>();
            wanted += spans.min(all);
            got += trial.gauges.get("process_cpu_share")? * all;
        }
        let lost = 1.0 - got / wanted;
        (lost > 0.05).then(|| {
            format!(
                "other programs took {} of the processor time",
                percent(lost)
            )
        })
    }

    fn threads(&self) -> Option<Estimate> {
        self.condition
            .as_ref()?
            .estimate(|t| Some(lanes(t).len() as f64))
    }
}

/// The spans of a trial by thread.
fn lanes(trial: &Trial) -> BTreeMap<&str, Vec<(f64, f64, &str)>> {
    let start = trial
        .spans
        .iter()
        .map(|s| s.start_s)
        .fold(f64::INFINITY, f64::min);
    let mut lanes: BTreeMap<_, Vec<_>> = BTreeMap::new();
    for span in &trial.spans {
        let bar = (span.start_s - start, span.end_s - start, span.name.as_str());
        lanes.entry(span.lane.as_str()).or_default().push(bar);
    }
    lanes
}

pub(super) fn explain(p: &Params, summary: &Summary) -> Findings {
    let waits: Vec<f64> = p.durations().iter().map(Duration::as_secs_f64).collect();
    let (sum, longest) = (
        waits.iter().sum::<f64>(),
        waits.iter().copied().fold(0.0, f64::max),
    );
    let (n, cost, many) = (p.jobs, p.cost.s(), waits.len());
    let all = n as f64 * cost;
    let (cores, width) = (summary.host().cores, summary.host().width(p.threads));
    let shared = makespan_equal_jobs(n, cost, p.threads, width);
    let gain = all / shared;
    let of_cost = seconds(cost);

    let arm = |series, name, note: String, predicted, look| Arm {
        name,
        note,
        predicted,
        condition: summary.only(series),
        look,
    };
    let one_thread = || "one thread".to_string();
    let several = |n: usize, what: &str| format!("{n} {what}{}", if n == 1 { "" } else { "s" });
    let threads = |n: usize| several(n, "thread");
    let computations = several(n, "computation");
    let (waiting, working) = ((Colour::Blue, true), (Colour::Vermilion, false));
    let wait = [
        arm(
            "waits/sequential",
            "One after another",
            one_thread(),
            sum,
            waiting,
        ),
        arm(
            "waits/concurrent",
            "Concurrent",
            one_thread(),
            longest,
            waiting,
        ),
        arm("waits/rayon", "Rayon", threads(many), longest, waiting),
    ];
    let work = [
        arm(
            "jobs/sequential",
            "One after another",
            one_thread(),
            all,
            working,
        ),
        arm("jobs/concurrent", "Concurrent", one_thread(), all, working),
        arm(
            "jobs/rayon",
            "Rayon",
            format!("{}, worth {} processors", threads(p.threads), number(width)),
            shared,
            working,
        ),
        arm(
            "jobs/slept",
            "Rayon, but the jobs sleep",
            threads(n),
            cost,
            (Colour::Purple, true),
        ),
    ];
    let [in_turn, together, wide] = &wait;
    let [worked_in_turn, worked_together, pooled, slept] = &work;

    let mut claims = Vec::new();
    let mut time = |text: &str, basis, arm: &Arm, tolerance: f64, reason: Option<String>| {
        let claim = Claim::near(text, basis, arm.predicted, arm.wall(), tolerance);
        claims.push(claim.unit("s").excused(reason));
    };
    let (each, once) = (many as f64 * LATE, LATE + many as f64 * WAKE);
    time(
        "waits one after another take their sum",
        Basis::Predicted,
        in_turn,
        each,
        in_turn.stalled(each),
    );
    time(
        "concurrent waits on one event loop take as long as the longest",
        Basis::Predicted,
        together,
        once,
        together.stalled(once),
    );
    time(
        "waits with a thread for each take as long as the longest, too",
        Basis::Predicted,
        wide,
        once,
        wide.stalled(once),
    );
    // A processor's clock changes with load and heat; the ratios below are free of that.
    time(
        "n computations one after another take n·p",
        Basis::Calibrated,
        worked_in_turn,
        0.1 * all,
        worked_in_turn.starved(cores),
    );
    time(
        "on rayon they take the makespan on as many processors as this machine is worth",
        Basis::Calibrated,
        pooled,
        0.1 * shared,
        pooled.starved(cores),
    );
    let crowd = LATE + n as f64 * WAKE;
    time(
        "jobs that only sleep take p on a pool as large as they are many, on any machine",
        Basis::Predicted,
        slept,
        crowd,
        slept.stalled(crowd),
    );

    // Ratios of trials of the same round.
    let ratio = |a: &Arm, b: &Arm| {
        a.condition?.paired(&b.condition?, |a, b| {
            (b.wall_s > 0.0).then(|| a.wall_s / b.wall_s)
        })
    };
    let (gained, speedup) = (
        ratio(worked_together, worked_in_turn),
        ratio(worked_in_turn, pooled),
    );
    claims.push(
        // A second processor would make it 0.5: a tenth of that is nothing gained.
        Claim::near(
            "computing concurrently on one event loop gains nothing: the time is that of one after another",
            Basis::Predicted,
            1.0,
            gained,
            0.05,
        )
        .unit("of the time")
        .excused(worked_in_turn.starved(cores).or(worked_together.starved(cores))),
    );
    claims.push(
        Claim::near(
            "rayon's speed-up over one after another is that of the processors there are",
            Basis::Calibrated,
            gain,
            speedup,
            0.1 * gain,
        )
        .unit("times")
        .excused(worked_in_turn.starved(cores).or(pooled.starved(cores))),
    );
    let single = [in_turn, together, worked_in_turn, worked_together];
    let cases = single.map(|arm| Case {
        name: arm.name.into(),
        predicted: (1.0).into(),
        measured: arm.threads(),
        tolerance: 0.0,
    });
    claims.push(
        Claim::at_every(
            "one event loop is one thread, whatever it runs",
            Basis::Predicted,
            cases.into(),
        )
        .unit("threads"),
    );

    // The pictures.
    let took = |arm: &Arm| cell(arm.wall(), seconds);
    let figures = vec![
        Figure {
            id: "waits".into(),
            title: format!("Waiting overlaps: {} one after another, {} concurrently on one thread", took(in_turn), took(together)),
            subtitle: format!("Waits of {}. Hatched: waiting. Dashed: theory", list(&waits)),
            desc: "Gantt chart of the waits in three arms: end to end on one thread, side by side on one thread, side by side on a thread each.".into(),
            body: Body::Gantt(Gantt { groups: wait.iter().map(group).collect() }),
        },
        Figure {
            id: "jobs".into(),
            title: format!(
                "Computing does not: {} concurrently on one thread, {} on {}",
                took(worked_together), took(pooled), threads(p.threads)
            ),
            subtitle: format!(
                "{computations} of {of_cost}; {} one after another. Hatched: sleeping instead. Dashed: theory",
                took(worked_in_turn)
            ),
            desc: "Gantt chart of the computations in four arms: end to end on one thread in two of them, shared by the threads of a pool, and as sleeps that all overlap.".into(),
            body: Body::Gantt(Gantt { groups: work.iter().map(group).collect() }),
        },
    ];

    let mut table = Table::new(
        "Times",
        &[
            "",
            "arm",
            "threads used",
            "theory",
            "measured",
            "against one after another",
        ],
    );
    for (kind, arms) in [("waits", &wait[..]), ("computations", &work[..])] {
        for arm in arms {
            table.row([
                kind.into(),
                arm.name.into(),
                cell(arm.threads(), number),
                seconds(arm.predicted),
                took(arm),
                cell(ratio(arm, &arms[0]), percent),
            ]);
        }
    }
    table.note = format!(
        "{} on this machine are worth {} processors. The arm that sleeps seems {} times as fast as one processor: a speed-up of nothing.",
        threads(p.threads),
        number(width),
        cell(ratio(worked_in_turn, slept), number)
    );

    let answers = vec![
        Answer::near("waits", together.wall(), together.predicted).scaled(1.0 / p.unit.s()),
        Answer::near("jobs", worked_together.wall(), worked_together.predicted).scaled(1.0 / cost),
        Answer::near("speedup", speedup, gain),
    ];
    Findings {
        headline: format!(
            "Waits of {} end in {} on one thread when they are begun together. {computations} of {} take {} that way and {} one after another; on {} they take {}.",
            list(&waits),
            took(together),
            of_cost,
            took(worked_together),
            took(worked_in_turn),
            threads(p.threads),
            took(pooled)
        ),
        figures,
        tables: vec![table],
        claims,
        answers,
    }
}

/// "150 ms, 50 ms and 100 ms"; a long list is cut short.
fn list(times: &[f64]) -> String {
    let texts: Vec<String> = times.iter().take(6).map(|t| seconds(*t)).collect();
    match texts.split_last() {
        _ if times.len() > texts.len() => {
            format!("{}, … ({} in all)", texts.join(", "), times.len())
        }
        Some((last, rest)) if !rest.is_empty() => format!("{} and {last}", rest.join(", ")),
        _ => texts.concat(),
    }
}

/// The trial of median length, a lane for each thread.
fn group(arm: &Arm) -> Group {
    let trial = arm.condition.and_then(|k| k.typical(|t| t.wall_s));
    let (colour, waiting) = arm.look;
    let of = trial.map(lanes).unwrap_or_default();
    let event_loop = of.len() == 1 && arm.note == "one thread";
    let mut lanes: Vec<_> = of.into_iter().collect();
    // "worker 10" comes after "worker 9".
    lanes.sort_by_key(|(name, _)| (name.len(), *name));
    let lanes = lanes.into_iter().map(|(name, bars)| Lane {
        label: if event_loop { "event loop" } else { name }.into(),
        colour,
        bars: bars
            .into_iter()
            .map(|(start, end, label)| Bar {
                start,
                end,
                label: label.into(),
                colour,
                waiting,
            })
            .collect(),
    });
    Group {
        title: arm.name.into(),
        note: arm.note.clone(),
        lanes: lanes.collect(),
        end: trial.map(|t| t.wall_s),
        predicted_end: Some(arm.predicted),
    }
}
