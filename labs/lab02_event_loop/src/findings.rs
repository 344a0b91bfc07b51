//! Theory beside measurement for lab02.

use lab_kit::prelude::*;

use super::{Params, gauges, languages};

use Disturbed::{Fewer, Longer};
use Resource::{Processors, Timers};

/// A timer is rounded up to the next millisecond, and its thread needs some time to wake.
const LATE: f64 = 2e-3;
/// How long the system lets a thread run on while another waits for a processor: Linux gives slices
/// of about 3 ms on two processors, 4 ms where they are set by a clock of 250 Hz.
const TURN: f64 = 4e-3;
/// By what share a computation may take longer or shorter than when it was calibrated.
const CLOCK: f64 = 0.05;

/// What an arm does to the loop, by theory.
#[derive(Clone, Copy)]
pub(super) struct Effect {
    pub(super) claim: &'static str,
    /// The longest gap between two beats.
    pub(super) gap: Given,
    /// How near it is, where the loop is stopped; where it lives, the gap is no longer than that.
    pub(super) within: Option<f64>,
    pub(super) why: &'static str,
    /// A computation takes as long as the processor's clock lets it.
    pub(super) computes: bool,
}

impl Effect {
    /// The gap of a condition beside theory. Whoever is busy has to be so for about as long as the flags say, and of
    /// several all together.
    pub(super) fn case(&self, name: impl Into<String>, k: &Condition, due_s: f64) -> Case {
        let share = |t: &Trial| t.gauge(gauges::BUSY_S).map_or(1.0, |busy| busy / due_s);
        let beside = k.trials().iter().all(|t| (0.5..=2.0).contains(&share(t)));
        let gap = k.gauge(gauges::LONGEST_GAP_S).filter(|_| beside);
        Case::new(name, self.gap, gap, self.within.unwrap_or(0.0))
    }

    pub(super) fn claimed(&self, cases: impl IntoIterator<Item = Case>) -> Claim {
        let resource = if self.computes { Processors } else { Timers };
        let law = Law::new(self.claim, "s", Longer(resource)).within(self.why);
        match self.within {
            Some(_) => law.near(cases),
            None => law.at_most(cases),
        }
    }
}

/// One arm with what theory knows of it.
struct Arm<'a> {
    name: &'static str,
    note: String,
    /// Workers of its runtime.
    workers: f64,
    effect: Effect,
    condition: Condition<'a>,
    /// How long a task is busy, in seconds.
    busy: f64,
    /// Of each task that is busy on the loop, how long one of its polls takes.
    polls: Vec<f64>,
}

impl<'a> Arm<'a> {
    fn gauge(&self, gauge: Gauge) -> Option<Estimate> {
        self.condition.gauge(gauge)
    }

    fn gap(&self) -> Option<Estimate> {
        self.gauge(gauges::LONGEST_GAP_S)
    }

    /// The trial that is drawn: that of median longest gap.
    fn drawn(&self) -> Option<&'a Trial> {
        self.condition.typical(longest_gap)
    }

    /// The gap beside theory.
    fn case(&self, name: &str) -> Case {
        self.effect.case(name, &self.condition, self.busy)
    }

    fn answer(&self, key: &'static str) -> Answer {
        let (gap, theory) = (self.gap(), self.effect.gap.value);
        match self.effect.within {
            Some(_) => Answer::near(key, gap, theory),
            None => Answer::at_most(key, gap, theory),
        }
    }

    /// Seconds in polls as long as that; what is computed was calibrated before the run.
    fn polled(&self, summary: &Summary, long: impl Fn(f64) -> bool) -> Given {
        let polls = self.polls.iter().filter(|each| long(**each));
        let sum = polls.fold(0.0, |sum, _| sum + self.busy);
        match self.effect.computes {
            true => summary.calibrated(|_| sum),
            false => sum.into(),
        }
    }

    /// By how much the computations in it may be slower or faster.
    fn slack(&self) -> f64 {
        match self.effect.computes {
            true => CLOCK * self.polls.iter().map(|_| self.busy).sum::<f64>(),
            false => 0.0,
        }
    }
}

pub(super) fn longest_gap(trial: &Trial) -> f64 {
    trial.gauge(gauges::LONGEST_GAP_S).unwrap_or(f64::NAN)
}

/// The arms that this record has, with theory.
struct View<'a> {
    p: &'a Params,
    summary: &'a Summary<'a>,
    calm: Effect,
    arms: Vec<Arm<'a>>,
}

/// What theory knows of the arms, before anything is measured.
pub(super) struct Theory<'a> {
    p: &'a Params,
    summary: &'a Summary<'a>,
    beat: f64,
    busy: f64,
    /// How long a slice is.
    slice: f64,
}

impl<'a> Theory<'a> {
    pub(super) fn of(p: &'a Params, summary: &'a Summary<'a>) -> Theory<'a> {
        let busy = p.busy.s();
        let slices = (busy / p.slice.s()).ceil().max(1.0);
        Theory { p, summary, beat: p.beat.s(), busy, slice: busy / slices }
    }

    /// The gap is the blocked time and what had passed of the beat before.
    pub(super) fn slept(&self, claim: &'static str) -> Effect {
        Effect {
            claim,
            gap: (self.busy + self.beat / 2.0).into(),
            within: Some(self.beat / 2.0 + LATE),
            why: "half a beat, and 2 ms for the timer and its thread",
            computes: false,
        }
    }

    pub(super) fn computed(&self, claim: &'static str) -> Effect {
        Effect {
            claim,
            gap: self.summary.calibrated(|_| self.busy + self.beat / 2.0),
            within: Some(self.beat / 2.0 + LATE + CLOCK * self.busy),
            why: "half a beat, 2 ms for the timer, and 5 % of the computation: clocks change",
            computes: true,
        }
    }

    /// Between two beats at most, where nothing stops the loop: the beat, late by a tick of the timer, and
    /// by a turn where all processors are busy.
    pub(super) fn most(&self) -> f64 {
        self.beat + LATE + TURN
    }

    pub(super) fn calm(&self) -> Effect {
        Effect {
            claim: "a task that awaits, or computes on another thread, does not keep the heartbeat waiting",
            gap: self.most().into(),
            within: None,
            why: "a beat; 2 ms for the timer and its thread; 4 ms: a turn of the system's scheduler",
            computes: false,
        }
    }

    /// Between two beats there may be the slice in which the beat fell due. A worker of a
    /// multi-thread runtime takes the task woken last first, which may be the one that has
    /// yielded: another slice.
    pub(super) fn sliced(&self, slices: f64, claim: &'static str) -> Effect {
        let most = self.most() + slices * (1.0 + CLOCK) * self.slice;
        Effect {
            claim,
            gap: self.summary.calibrated(|_| most),
            within: None,
            why: "a beat and the slices that may lie in it; 6 ms for timer and scheduler, 5 % for the clock",
            computes: true,
        }
    }

    /// An arm, if the record has it.
    fn arm(
        &self,
        series: &str,
        name: &'static str,
        (note, workers): (&str, usize),
        effect: Effect,
        polls: &[f64],
    ) -> Option<Arm<'a>> {
        Some(Arm {
            name,
            note: note.into(),
            workers: workers as f64,
            effect,
            condition: self.summary.only(series)?,
            busy: self.busy,
            polls: polls.to_vec(),
        })
    }

    /// The arms on a runtime of one thread.
    fn on_one_thread(&self) -> [Option<Arm<'a>>; 6] {
        let sleeps = self.slept("std::thread::sleep in a task stops the heartbeat for as long as it sleeps, and what had passed of the beat");
        let computes = self.computed("a computation in a task stops the heartbeat for as long as it computes, and what had passed of the beat");
        let yields = self.sliced(1.0, "a computation that yields lets the heartbeat through after the slice that it fell into");
        let each = format!("{ONE_THREAD}, every {}", seconds(self.p.slice.s()));
        let one = (ONE_THREAD, 1);
        let arm = |series, name, effect, polls: &[_]| self.arm(series, name, one, effect, polls);
        let (whole, slices) = ([self.busy], [self.slice]);
        [
            arm("sleep", "tokio::time::sleep", self.calm(), &[]),
            arm("thread_sleep", "std::thread::sleep", sleeps, &whole),
            arm("compute", "CPU loop", computes, &whole),
            self.arm("yield", "CPU loop + yield_now", (&each, 1), yields, &slices),
            arm("spawn_blocking", "spawn_blocking", self.calm(), &[]),
            arm("rayon", "rayon + oneshot", self.calm(), &[]),
        ]
    }

    /// The arms on a runtime of several.
    fn on_many_threads(&self) -> [Option<Arm<'a>>; 4] {
        let in_place = Effect { computes: true, ..self.calm() };
        let another =
            "one blocked worker does not keep the heartbeat waiting while another worker is awake";
        let one_of_two = self.sliced(2.0, another);
        let alone = self.slept("one blocked worker stops a multi-thread runtime when the others are asleep: it is the one that watched the clock");
        let together = self.slept("as many blocked tasks as workers stop a multi-thread runtime for as long as all are blocked");
        let note = many_threads(self.p);
        let many = (note.as_str(), self.p.workers);
        let arm = |series, name, effect, polls: &[_]| self.arm(series, name, many, effect, polls);
        let (whole, both) = (&[self.busy], &[self.busy, self.slice]);
        let all = vec![self.busy; self.p.workers];
        [
            arm("block_in_place", IN_PLACE, in_place, whole),
            arm("one_of_two", "one blocks, one yields", one_of_two, both),
            arm("one_alone", "one blocks, others asleep", alone, whole),
            arm("all_workers", "all workers blocked", together, &all),
        ]
    }
}

impl<'a> View<'a> {
    fn of(p: &'a Params, summary: &'a Summary<'a>) -> View<'a> {
        let theory = Theory::of(p, summary);
        let (one, many) = (theory.on_one_thread(), theory.on_many_threads());
        let arms = one.into_iter().chain(many).flatten();
        View { p, summary, calm: theory.calm(), arms: arms.collect() }
    }

    fn arm(&self, name: &str) -> Option<&Arm<'a>> {
        self.arms.iter().find(|arm| arm.name == name)
    }

    /// What charts write of an arm: the longest gap of the trial that is drawn.
    fn drawn_s(&self, name: &str) -> String {
        let trial = self.arm(name).and_then(Arm::drawn);
        trial.map_or("–".into(), |t| seconds(longest_gap(t)))
    }

    /// What tables write of it: the longest gap of a trial, on average.
    fn gap_s(&self, name: &str) -> String {
        cell(self.arm(name).and_then(Arm::gap), seconds)
    }
}

const IN_PLACE: &str = "block_in_place";
const ONE_THREAD: &str = "current-thread";

fn many_threads(p: &Params) -> String {
    format!("multi-thread, {} workers", p.workers)
}

pub(super) fn explain(p: &Params, summary: &Summary) -> Findings {
    let view = View::of(p, summary);
    let answer = |key, name| {
        let none = Answer::near(key, None, f64::NAN);
        let answer = view.arm(name).map_or(none, |arm| arm.answer(key));
        answer.scaled(1e3)
    };
    Findings {
        headline: format!(
            "A task that blocks its event loop for {} leaves the others without a beat for {}; with yield_now every {} they wait {}, with spawn_blocking {}. All {} workers blocked: {}.",
            seconds(p.busy.s()),
            view.gap_s("std::thread::sleep"),
            seconds(p.slice.s()),
            view.gap_s("CPU loop + yield_now"),
            view.gap_s("spawn_blocking"),
            p.workers,
            view.gap_s("all workers blocked")
        ),
        figures: vec![beats(&view)],
        tables: [vec![heartbeat(&view), who(&view)], languages::tables(p, summary)].concat(),
        claims: [threads(&view), gaps(&view), instruments(&view), languages::claims(p, summary)]
            .concat(),
        answers: vec![
            answer("sleep", "std::thread::sleep"),
            answer("offloaded", "spawn_blocking"),
            answer("slices", "CPU loop + yield_now"),
        ],
    }
}

/// Which thread runs a task: counts, which have to hold in every trial.
fn threads(view: &View) -> Vec<Claim> {
    let case = |series, predicted: usize| {
        let condition = view.summary.only(series)?;
        let told = condition.every(|t| t.gauge(gauges::THREADS));
        Some(Case::exact("", predicted as f64, told))
    };
    let counted = |text| Law::counted(text, "threads");
    // On a machine that stands still the first call may be done before the last is begun.
    let each = "calls that block in spawn_blocking get a thread each";
    let each = Law::new(each, "threads", Fewer(Processors));
    vec![
        counted("all tasks of a current-thread runtime run on one thread")
            .near(case("threads/current", 1)),
        counted("tasks of a multi-thread runtime run on no more threads than it has workers")
            .at_most(case("threads/multi", view.p.workers)),
        each.near(case("threads/blocking", view.p.tasks)),
    ]
}

/// How long the heart stands still.
fn gaps(view: &View) -> Vec<Claim> {
    let is_calm = |arm: &&Arm| arm.effect.claim == view.calm.claim;
    let (calm, others): (Vec<&Arm>, Vec<&Arm>) = view.arms.iter().partition(is_calm);
    let calm = calm.into_iter().map(|arm| arm.case(arm.name));
    let mut claims = vec![view.calm.claimed(calm)];
    claims.extend(others.into_iter().map(|arm| arm.effect.claimed([arm.case("")])));
    claims
}

/// What a running program can tell about itself.
fn instruments(view: &View) -> Vec<Claim> {
    let (slow, watch) = (view.p.slow.s(), view.p.watch.s());
    // A poll about as long as the threshold may fall on either side.
    let clear = |arm: &&Arm| {
        let mut shares = arm.polls.iter().map(|each| each / slow);
        shares.all(|share| !(0.7..=1.3).contains(&share))
    };
    let held_up = view.arms.iter().filter(clear).map(|arm| {
        let expected = arm.polled(view.summary, |poll| poll > slow);
        let measured = arm.gauge(gauges::SLOW_POLL_S);
        Case::new(arm.name, expected, measured, slow + arm.slack())
    });
    let holding = view.arms.iter().filter(|arm| !arm.polls.is_empty());
    let busy = holding.flat_map(|arm| {
        let polls = arm.gauge(gauges::POLL_S);
        let busy = |t: &Trial| Some(t.gauge(gauges::BUSY_SHARE)? * t.wall_s * arm.workers);
        let busy = arm.condition.estimate(busy);
        let within = 0.02 * watch + arm.slack();
        let all = arm.polled(view.summary, |_| true);
        let named = |what: &str| format!("{}, {what}", arm.name);
        match arm.name {
            IN_PLACE => vec![
                Case::new(named("in polls"), all, polls, within),
                Case::new(named("in busy time"), 0.0, busy, 0.02 * watch),
            ],
            _ => vec![Case::new(arm.name, all, busy, within)],
        }
    });
    let law = |text| Law::new(text, "s", Longer(Processors));
    vec![
        law("the time in slow polls is that for which polls are held up, and none where none is")
            .within("--slow: less is no slow poll; and 5 % of what is computed: clocks change")
            .near(held_up),
        law("the workers are busy for as long as their polls block or compute, and know nothing of block_in_place")
            .within("2 % of the time watched, for the heartbeat's own polls, and 5 % of what is computed: clocks change")
            .near(busy),
    ]
}

fn beats(view: &View) -> Figure {
    let p = view.p;
    let trials = view.arms.iter().map(|arm| arm.condition.trials().len());
    let drawn = match trials.max() {
        Some(n) if n > 1 => format!("Each lane is the median trial of {n}. "),
        _ => String::new(),
    };
    let title = format!(
        "A blocked poll leaves {} without a beat; spawn_blocking leaves {}",
        view.drawn_s("std::thread::sleep"),
        view.drawn_s("spawn_blocking")
    );
    Figure::new("heartbeat", title)
        .subtitle(format!(
            "One tick per heartbeat (every {}) beside a task that is busy for {}. {drawn}Red: no tick for more than three beats",
            seconds(p.beat.s()),
            seconds(p.busy.s())
        ))
        .desc("Heartbeats over time, a lane for each way of being busy. The ways that block the loop show one long gap.")
        .body(Body::Beats(Beats {
            until: p.watch.s(),
            threshold: 3.0 * p.beat.s(),
            lanes: view.arms.iter().filter_map(lane).collect(),
        }))
}

fn heartbeat(view: &View) -> Table {
    let theory = |effect: &Effect| match effect.within {
        Some(_) => seconds(effect.gap.value),
        None => format!("≤ {}", seconds(effect.gap.value)),
    };
    Table::of("The heartbeat", &view.arms)
        .column("the other task", |arm| arm.name.into())
        .column("runtime", |arm| arm.note.clone())
        .cells("longest gap", seconds, |arm| arm.gap())
        .column("theory", |arm| theory(&arm.effect))
        .cells("busy for", seconds, |arm| arm.gauge(gauges::BUSY_S))
        .cells("workers' busy share", percent, |arm| arm.gauge(gauges::BUSY_SHARE))
        .cells("slow polls", number, |arm| arm.gauge(gauges::SLOW_POLLS))
        .note(format!(
            "The longest gap of a trial, on average. A poll of more than {} counts as slow.",
            seconds(view.p.slow.s())
        ))
}

fn who(view: &View) -> Table {
    let places = [
        (ONE_THREAD.into(), "threads/current"),
        (many_threads(view.p), "threads/multi"),
        ("spawn_blocking".into(), "threads/blocking"),
    ];
    let told = |series| view.summary.only(series)?.gauge(gauges::THREADS);
    Table::of("Who runs the tasks", places)
        .column("where", |(place, _)| place.clone())
        .column("tasks", |_| view.p.tasks.to_string())
        .cells("threads", number, |(_, series)| told(series))
        .done()
}

/// The trial of median longest gap, from its first beat on.
fn lane(arm: &Arm) -> Option<BeatLane> {
    let trial = arm.drawn()?;
    let beats = trial.trace("beats");
    let first = beats.first()?.0;
    Some(BeatLane {
        title: arm.name.into(),
        note: arm.note.clone(),
        beats: beats.iter().map(|(at, _)| at - first).collect(),
        longest_gap: longest_gap(trial),
    })
}
