//! Theory beside measurement for lab01.

use std::collections::BTreeMap;

use lab_kit::prelude::*;
use lab_kit::theory::amdahl::makespan_equal_jobs;

use super::{Params, languages};

use Disturbed::{Either, Longer};
use Resource::{Processors, Timers};

/// How late a timer may end: it is rounded up to a millisecond by the timer wheel and once more by
/// the poll that waits for it, and its thread needs some time to wake. Never early.
pub(super) const LATE: f64 = 2.5e-3;
/// The first job of a pool's thread waits until that thread has been woken; they are woken one
/// after another.
pub(super) const WAKE: f64 = 50e-6;

/// One arm of the experiment.
struct Arm<'a> {
    name: &'static str,
    note: String,
    predicted: Given,
    condition: Option<Condition<'a>>,
    /// Colour of its bars, and whether they are waits.
    look: (Colour, bool),
}

impl<'a> Arm<'a> {
    fn wall(&self) -> Option<Estimate> {
        self.condition?.wall_s()
    }

    /// The trial that is drawn: that of median length.
    fn drawn(&self) -> Option<&'a Trial> {
        self.condition?.typical(|t| t.wall_s)
    }

    /// How long the drawn trial took, as charts write it.
    fn drawn_s(&self) -> String {
        self.drawn().map_or("–".into(), |t| seconds(t.wall_s))
    }

    /// Seconds of all processors that this program took.
    fn processor_s(&self, cores: usize) -> Option<Estimate> {
        let took = |t: &Trial| Some(t.gauge(gauge::PROCESS_CPU_SHARE)? * t.wall_s * cores as f64);
        self.condition?.estimate(took)
    }

    fn threads(&self) -> Option<Estimate> {
        self.condition?.every(|t| Some(lanes(t).len() as f64))
    }

    /// Its time as a share of another's in the same round.
    fn over(&self, other: &Arm) -> Option<Estimate> {
        self.condition?
            .paired(&other.condition?, |a, b| (b.wall_s > 0.0).then(|| a.wall_s / b.wall_s))
    }

    /// Its time beside theory.
    fn time(&self, tolerance: f64) -> Option<Case> {
        self.condition?;
        Some(Case::new("", self.predicted, self.wall(), tolerance))
    }

    /// The same where each of so many has a thread of its own: a trial in which two had to share one measures
    /// something else.
    fn time_apart(&self, many: usize, tolerance: f64) -> Option<Case> {
        let mut trials = self.condition?.trials().iter();
        let apart = trials.all(|t| lanes(t).len() == many);
        let case = self.time(tolerance)?;
        Some(Case { measured: case.measured.filter(|_| apart), ..case })
    }

    fn answer(&self, key: &'static str) -> Answer {
        Answer::near(key, self.wall(), self.predicted.value)
    }
}

/// The spans of a trial by thread.
fn lanes(trial: &Trial) -> BTreeMap<&str, Vec<(f64, f64, &str)>> {
    let starts = trial.spans.iter().map(|s| s.start_s);
    let start = starts.fold(f64::INFINITY, f64::min);
    let mut lanes: BTreeMap<_, Vec<_>> = BTreeMap::new();
    for span in &trial.spans {
        let bar = (span.start_s - start, span.end_s - start, span.name.as_str());
        lanes.entry(span.lane.as_str()).or_default().push(bar);
    }
    lanes
}

/// The arms with their theory.
struct View<'a> {
    p: &'a Params,
    waits: Vec<f64>,
    /// One after another, concurrent, on threads.
    wait: [Arm<'a>; 3],
    /// One after another, concurrent, on threads, on threads that sleep.
    work: [Arm<'a>; 4],
    /// What the pool is worth in processors, and how much faster it makes the computations.
    width: f64,
    gain: Given,
    /// Processors of the machine.
    cores: usize,
}

/// How an arm on an event loop is run.
const ONE: &str = "one thread";

fn several(n: usize, what: &str) -> String {
    format!("{n} {what}{}", if n == 1 { "" } else { "s" })
}

impl<'a> View<'a> {
    fn of(p: &'a Params, summary: &Summary<'a>) -> View<'a> {
        let waits: Vec<f64> = p.durations().iter().map(Duration::as_secs_f64).collect();
        let sum = Given::from(waits.iter().sum::<f64>());
        let longest = Given::from(waits.iter().copied().fold(0.0, f64::max));
        // How much computation costs p was measured before the run.
        let all = summary.calibrated(|_| p.jobs as f64 * p.cost.s());
        let shared = summary.calibrated(|host| {
            makespan_equal_jobs(p.jobs, p.cost.s(), p.threads, host.width(p.threads))
        });
        let width = summary.host().width(p.threads);
        let arm = |series, name, note: &str, look, predicted| Arm {
            name,
            note: note.into(),
            predicted,
            condition: summary.only(series),
            look,
        };
        let pool = several(p.threads, "thread");
        let worth = format!("{pool}, worth {} processors", number(width));
        let (many, sleepers) = (several(waits.len(), "thread"), several(p.jobs, "thread"));
        let (wait, work) = ((Colour::Blue, true), (Colour::Vermilion, false));
        let (sleep, asleep) = ((Colour::Purple, true), p.cost.s().into());
        let jobs_sleep = "Rayon, but the jobs sleep";
        View {
            wait: [
                arm("waits/sequential", "One after another", ONE, wait, sum),
                arm("waits/concurrent", "Concurrent", ONE, wait, longest),
                arm("waits/rayon", "Rayon", &many, wait, longest),
            ],
            work: [
                arm("jobs/sequential", "One after another", ONE, work, all),
                arm("jobs/concurrent", "Concurrent", ONE, work, all),
                arm("jobs/rayon", "Rayon", &worth, work, shared),
                arm("jobs/slept", jobs_sleep, &sleepers, sleep, asleep),
            ],
            gain: all / shared,
            p,
            waits,
            width,
            cores: summary.host().cores,
        }
    }

    /// Rayon's speed-up over one after another, in the same round.
    fn speedup(&self) -> Option<Estimate> {
        let [in_turn, _, pooled, _] = &self.work;
        in_turn.over(pooled)
    }

    fn computations(&self) -> String {
        several(self.p.jobs, "computation")
    }
}

pub(super) fn explain(p: &Params, summary: &Summary) -> Findings {
    let view = View::of(p, summary);
    let [_, together, _] = &view.wait;
    let [worked_in_turn, worked_together, pooled, _] = &view.work;
    let took = |arm: &Arm| cell(arm.wall(), seconds);
    Findings {
        headline: format!(
            "Waits of {} end in {} on one thread when they are begun together. {} of {} take {} that way and {} one after another; on {} they take {}.",
            list(&view.waits),
            took(together),
            view.computations(),
            seconds(p.cost.s()),
            took(worked_together),
            took(worked_in_turn),
            several(p.threads, "thread"),
            took(pooled)
        ),
        figures: figures(&view),
        tables: std::iter::once(table(&view)).chain(languages::table(summary)).collect(),
        claims: [waiting(&view), computing(&view), languages::claims(p, summary)].concat(),
        answers: vec![
            together.answer("waits").scaled(1.0 / p.unit.s()),
            worked_together.answer("jobs").scaled(1.0 / p.cost.s()),
            Answer::near("speedup", view.speedup(), view.gain.value),
        ],
    }
}

/// What theory says of waits, and of jobs that only wait.
fn waiting(view: &View) -> Vec<Claim> {
    let [in_turn, together, wide] = &view.wait;
    let [.., slept] = &view.work;
    let (threads, jobs) = (view.waits.len(), view.p.jobs);
    let many = threads as f64;
    let why = "a timer ends up to 2.5 ms late; a pool wakes its threads one by one, 50 µs each";
    let law = |text| Law::new(text, "s", Longer(Timers)).within(why);
    vec![
        law("waits one after another take their sum").near(in_turn.time(many * LATE)),
        law("concurrent waits on one event loop take as long as the longest")
            .near(together.time(LATE + many * WAKE)),
        law("waits with a thread for each take as long as the longest, too")
            .near(wide.time_apart(threads, LATE + many * WAKE)),
        law("jobs that only sleep take p on a pool as large as they are many, on any machine")
            .near(slept.time_apart(jobs, LATE + jobs as f64 * WAKE)),
    ]
}

/// What it says of computations.
fn computing(view: &View) -> Vec<Claim> {
    let [in_turn, together, pooled, _] = &view.work;
    // Ratios of trials of the same round: the clock of the processor falls out of them.
    let gained = Case::new("", 1.0, together.over(in_turn), 0.05);
    let speedup = Case::share("", view.gain, view.speedup(), 0.1);
    vec![
        Law::new("n computations one after another take n·p", "s", Longer(Processors))
            .within("a tenth: a processor's clock changes with load and heat")
            .near(in_turn.time(0.1 * in_turn.predicted.value)),
        Law::new("computing concurrently on one event loop gains nothing: the time is that of one after another", "of the time", Either(Processors))
            .within("a tenth of what a second processor would gain")
            .near(together.condition.and(in_turn.condition).map(|_| gained)),
        Law::new("rayon's speed-up over one after another is that of the processors there are", "times", Either(Processors))
            .within("a tenth: what a second processor adds changes with the clock of both")
            .near(in_turn.condition.and(pooled.condition).map(|_| speedup)),
        processor_time(view),
    ]
}

/// What tells waiting from working. Not every system counts it.
fn processor_time(view: &View) -> Claim {
    let [in_turn, together, pooled, _] = &view.work;
    let arms = [in_turn, together, pooled];
    let counted = arms.iter().any(|arm| arm.processor_s(view.cores).is_some());
    let measured = arms.iter().filter(|arm| counted && arm.condition.is_some());
    let cases = measured.map(|arm| {
        let within = 0.1 * in_turn.predicted.value + 0.02 * arm.predicted.value + 0.02;
        let (name, took) = (arm.name.to_lowercase(), arm.processor_s(view.cores));
        Case::new(name, in_turn.predicted, took, within)
    });
    Law::new("computations take n·p of processor time, however they are run", "s", Longer(Processors))
        .within("a tenth for the clock, 2 % of the time for the meters of this suite, and two ticks of 10 ms, in which the system counts")
        .near(cases)
}

fn figures(view: &View) -> Vec<Figure> {
    let [in_turn, together, _] = &view.wait;
    let [worked_in_turn, worked_together, pooled, _] = &view.work;
    let trials = view.wait.iter().chain(&view.work);
    let trials = trials.filter_map(|arm| Some(arm.condition?.trials().len()));
    let drawn = match trials.max() {
        Some(n) if n > 1 => format!("Each arm's median trial of {n}. "),
        _ => String::new(),
    };
    let waits = format!(
        "Waiting overlaps: {} one after another, {} concurrently on one thread",
        in_turn.drawn_s(),
        together.drawn_s()
    );
    let jobs = format!(
        "Computing does not: {} concurrently on one thread, {} on {}",
        worked_together.drawn_s(),
        pooled.drawn_s(),
        several(view.p.threads, "thread")
    );
    vec![
        Figure::new("waits", waits)
            .subtitle(format!("Waits of {}. {drawn}Hatched: waiting. Dashed: theory", list(&view.waits)))
            .desc("Gantt chart of the waits in three arms: end to end on one thread, side by side on one thread, side by side on a thread each.")
            .gantt(view.wait.iter().map(group)),
        Figure::new("jobs", jobs)
            .subtitle(format!(
                "{} of {}; {} one after another. {drawn}Hatched: sleeping instead. Dashed: theory",
                view.computations(),
                seconds(view.p.cost.s()),
                worked_in_turn.drawn_s()
            ))
            .desc("Gantt chart of the computations in four arms: end to end on one thread in two of them, shared by the threads of a pool, and as sleeps that all overlap.")
            .gantt(view.work.iter().map(group)),
    ]
}

fn table<'a>(view: &'a View<'a>) -> Table {
    let of = |kind, arms: &'a [Arm<'a>]| arms.iter().map(move |arm| (kind, arm, &arms[0]));
    let [in_turn, .., slept] = &view.work;
    Table::of("Times", of("waits", &view.wait).chain(of("computations", &view.work)))
        .column("", |(kind, ..)| (*kind).into())
        .column("arm", |(_, arm, _)| arm.name.into())
        .cells("threads used", number, |(_, arm, _)| arm.threads())
        .column("theory", |(_, arm, _)| seconds(arm.predicted.value))
        .cells("measured", seconds, |(_, arm, _)| arm.wall())
        .cells("processor time", seconds, |(_, arm, _)| arm.processor_s(view.cores))
        .cells("against one after another", percent, |(_, arm, first)| arm.over(first))
        .note(format!(
            "{} on this machine are worth {} processors. Jobs that sleep on a thread each seem {} times as fast as computations one after another. They computed nothing, so this says nothing of the machine.",
            several(view.p.threads, "thread"),
            number(view.width),
            cell(in_turn.over(slept), number)
        ))
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
    let trial = arm.drawn();
    let (colour, waiting) = arm.look;
    let of = trial.map(lanes).unwrap_or_default();
    let event_loop = of.len() == 1 && arm.note == ONE;
    let mut lanes: Vec<_> = of.into_iter().collect();
    // "worker 10" comes after "worker 9".
    lanes.sort_by_key(|(name, _)| (name.len(), *name));
    let bar = |(start, end, label): (f64, f64, &str)| Bar {
        start,
        end,
        label: label.into(),
        colour,
        waiting,
    };
    let lanes = lanes.into_iter().map(|(name, bars)| Lane {
        label: if event_loop { "event loop" } else { name }.into(),
        colour,
        bars: bars.into_iter().map(bar).collect(),
    });
    Group {
        title: arm.name.into(),
        note: arm.note.clone(),
        lanes: lanes.collect(),
        end: trial.map(|t| t.wall_s),
        predicted_end: Some(arm.predicted.value),
    }
}
