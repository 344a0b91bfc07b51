//! Theory beside measurement for lab02.

use lab_kit::prelude::*;

use super::{Params, gauges};

/// A timer is rounded up to the next millisecond, and its thread needs some time to wake.
const LATE: f64 = 2e-3;
/// How long the system lets a thread run on while another waits for a processor: Linux gives slices
/// of about 3 ms on two processors, 4 ms where they are set by a clock of 250 Hz.
const TURN: f64 = 4e-3;
/// By what share a computation may take longer or shorter than when it was calibrated.
const CLOCK: f64 = 0.05;

/// What an arm does to the loop.
#[derive(Clone, Copy)]
enum Effect {
    /// Stops it: the gap is the blocked time and what had passed of the beat before, within so much.
    Blocks(Given, f64),
    /// Lets it live: at most this many seconds between two beats.
    Lives(Given),
}

/// One arm with what theory knows of it.
struct Arm<'a> {
    name: &'static str,
    note: String,
    claim: &'static str,
    effect: Effect,
    condition: Condition<'a>,
    /// What polls take of it, in seconds: each time all of them together, and one of them.
    polls: Vec<(f64, f64)>,
    /// True where it computes: a computation takes as long as the processor's clock lets it.
    computes: bool,
    /// Workers of its runtime.
    workers: f64,
}

impl<'a> Arm<'a> {
    fn gap(&self) -> Option<Estimate> {
        self.condition.gauge(gauges::LONGEST_GAP_S)
    }

    /// The gap beside somebody busy: about as long as the flags say, and of several all together.
    fn gap_beside(&self, busy: f64) -> Option<Estimate> {
        let trials = self.condition.trials().iter();
        let mut shares = trials.map(|t| t.gauge(gauges::BUSY_S).unwrap_or(busy) / busy);
        let beside = shares.all(|share| (0.5..=2.0).contains(&share));
        self.gap().filter(|_| beside)
    }

    /// The trial that is drawn: that of median longest gap.
    fn drawn(&self) -> Option<&'a Trial> {
        self.condition.typical(longest_gap)
    }

    fn theory(&self) -> Given {
        match self.effect {
            Effect::Blocks(gap, _) | Effect::Lives(gap) => gap,
        }
    }

    fn case(&self, name: &str, busy: f64) -> Case {
        let gap = self.gap_beside(busy);
        match self.effect {
            Effect::Blocks(theory, within) => Case::new(name, theory, gap, within),
            Effect::Lives(most) => Case::exact(name, most, gap),
        }
    }

    /// Seconds in polls, of a kind; what is computed was calibrated before the run.
    fn polled(&self, summary: &Summary, which: impl Fn(f64) -> bool) -> Given {
        let all = self.polls.iter().filter(|(_, each)| which(*each));
        let sum = all.fold(0.0, |sum, (all, _)| sum + all);
        if self.computes {
            summary.calibrated(|_| sum)
        } else {
            sum.into()
        }
    }

    /// By how much the computations in it may be slower or faster.
    fn slack(&self) -> f64 {
        let all = self.polls.iter().map(|(all, _)| all).sum::<f64>();
        if self.computes { CLOCK * all } else { 0.0 }
    }
}

fn longest_gap(trial: &Trial) -> f64 {
    trial.gauge(gauges::LONGEST_GAP_S).unwrap_or(f64::NAN)
}

/// The arms that this record has, with theory.
struct View<'a> {
    p: &'a Params,
    summary: &'a Summary<'a>,
    arms: Vec<Arm<'a>>,
}

/// What theory knows of the arms, before anything is measured.
struct Theory<'a> {
    p: &'a Params,
    summary: &'a Summary<'a>,
    /// Between two beats at most, where nothing stops the loop: the beat, late by a tick of the timer, and
    /// by a turn where all processors are busy.
    most: f64,
    /// How long a slice is.
    slice: f64,
    /// What polls take of somebody who is busy in one, and of one who yields.
    whole: (f64, f64),
    cut: (f64, f64),
}

impl<'a> Theory<'a> {
    fn of(p: &'a Params, summary: &'a Summary<'a>) -> Theory<'a> {
        let busy = p.busy.s();
        let slices = (busy / p.slice.s()).ceil().max(1.0);
        let slice = busy / slices;
        Theory {
            p,
            summary,
            most: p.beat.s() + LATE + TURN,
            slice,
            whole: (busy, busy),
            cut: (busy, slice),
        }
    }

    fn slept(&self) -> Effect {
        let (beat, busy) = (self.p.beat.s(), self.p.busy.s());
        Effect::Blocks((busy + beat / 2.0).into(), beat / 2.0 + LATE)
    }

    fn computed(&self) -> Effect {
        let (beat, busy) = (self.p.beat.s(), self.p.busy.s());
        Effect::Blocks(
            self.summary.calibrated(|_| busy + beat / 2.0),
            beat / 2.0 + LATE + CLOCK * busy,
        )
    }

    fn calm(&self) -> (Effect, &'static str) {
        (Effect::Lives(self.most.into()), CALM)
    }

    /// Between two beats there may be the slice in which the beat fell due. A worker of a
    /// multi-thread runtime takes the task woken last first, which may be the one that has
    /// yielded: another slice.
    fn sliced(&self, n: f64) -> Effect {
        let (most, slice) = (self.most, self.slice);
        Effect::Lives(
            self.summary
                .calibrated(|_| most + n * (1.0 + CLOCK) * slice),
        )
    }

    /// An arm, if the record has it.
    fn arm(
        &self,
        series: &str,
        name: &'static str,
        note: &str,
        (effect, claim): (Effect, &'static str),
        polls: &[(f64, f64)],
        computes: bool,
    ) -> Option<Arm<'a>> {
        let multi = note.starts_with("multi");
        Some(Arm {
            name,
            note: note.into(),
            claim,
            effect,
            condition: self.summary.only(series)?,
            polls: polls.to_vec(),
            computes,
            workers: if multi { self.p.workers as f64 } else { 1.0 },
        })
    }

    /// The arms on a runtime of one thread.
    fn on_one_thread(&self) -> [Option<Arm<'a>>; 6] {
        let (one, calm) = (one_thread(), self.calm());
        let each = format!("{one}, every {}", seconds(self.p.slice.s()));
        let sleeps = (
            self.slept(),
            "std::thread::sleep in a task stops the heartbeat for as long as it sleeps, and what had passed of the beat",
        );
        let computes = (
            self.computed(),
            "a computation in a task stops the heartbeat for as long as it computes, and what had passed of the beat",
        );
        let yields = (
            self.sliced(1.0),
            "a computation that yields lets the heartbeat through after the slice that it fell into",
        );
        let (whole, cut) = (&[self.whole], &[self.cut]);
        [
            self.arm("sleep", "tokio::time::sleep", &one, calm, &[], false),
            self.arm(
                "thread_sleep",
                "std::thread::sleep",
                &one,
                sleeps,
                whole,
                false,
            ),
            self.arm("compute", "CPU loop", &one, computes, whole, true),
            self.arm("yield", "CPU loop + yield_now", &each, yields, cut, true),
            self.arm("spawn_blocking", "spawn_blocking", &one, calm, &[], false),
            self.arm("rayon", "rayon + oneshot", &one, calm, &[], false),
        ]
    }

    /// The arms on a runtime of several.
    fn on_many_threads(&self) -> [Option<Arm<'a>>; 4] {
        let (many, calm) = (many_threads(self.p), self.calm());
        let one_of_two = (
            self.sliced(2.0),
            "one blocked worker does not keep the heartbeat waiting while another worker is awake",
        );
        let alone = (
            self.slept(),
            "one blocked worker stops a multi-thread runtime when the others are asleep: it is the one that watched the clock",
        );
        let together = (
            self.slept(),
            "as many blocked tasks as workers stop a multi-thread runtime for as long as all are blocked",
        );
        let (whole, both) = (&[self.whole], &[self.whole, self.cut]);
        let all = vec![self.whole; self.p.workers];
        [
            self.arm("block_in_place", IN_PLACE, &many, calm, whole, true),
            self.arm(
                "one_of_two",
                "one blocks, one yields",
                &many,
                one_of_two,
                both,
                true,
            ),
            self.arm(
                "one_alone",
                "one blocks, others asleep",
                &many,
                alone,
                whole,
                false,
            ),
            self.arm(
                "all_workers",
                "all workers blocked",
                &many,
                together,
                &all,
                false,
            ),
        ]
    }
}

impl<'a> View<'a> {
    fn of(p: &'a Params, summary: &'a Summary<'a>) -> View<'a> {
        let theory = Theory::of(p, summary);
        let (one, many) = (theory.on_one_thread(), theory.on_many_threads());
        let arms = one.into_iter().chain(many).flatten();
        View {
            p,
            summary,
            arms: arms.collect(),
        }
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

const CALM: &str =
    "a task that awaits, or computes on another thread, does not keep the heartbeat waiting";
const IN_PLACE: &str = "block_in_place";

fn one_thread() -> String {
    "current-thread".into()
}

fn many_threads(p: &Params) -> String {
    format!("multi-thread, {} workers", p.workers)
}

pub(super) fn explain(p: &Params, summary: &Summary) -> Findings {
    let view = View::of(p, summary);
    let answer = |key, name: &str| {
        let arm = view.arm(name);
        let (gap, theory) = (arm.and_then(Arm::gap), arm.map(Arm::theory));
        let answer = match arm.map(|arm| arm.effect) {
            Some(Effect::Lives(most)) => Answer::at_most(key, gap, most.value),
            _ => Answer::near(key, gap, theory.map_or(f64::NAN, |t| t.value)),
        };
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
        tables: vec![heartbeat(&view), who(&view)],
        claims: [threads(&view), gaps(&view), instruments(&view)].concat(),
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
    vec![
        Law::counted(
            "all tasks of a current-thread runtime run on one thread",
            "threads",
        )
        .near(case("threads/current", 1)),
        Law::counted(
            "tasks of a multi-thread runtime run on no more threads than it has workers",
            "threads",
        )
        .at_most(case("threads/multi", view.p.workers)),
        // On a machine that stands still the first call may be done before the last is begun.
        Law::new(
            "calls that block in spawn_blocking get a thread each",
            "threads",
            Disturbed::Fewer(Resource::Processors),
        )
        .near(case("threads/blocking", view.p.tasks)),
    ]
}

/// How long the heart stands still.
fn gaps(view: &View) -> Vec<Claim> {
    let law = |text: &'static str, resource, why| {
        Law::new(text, "s", Disturbed::Longer(resource)).within(why)
    };
    let busy = view.p.busy.s();
    let calm = view.arms.iter().filter(|arm| arm.claim == CALM);
    let mut claims = vec![
        law(
            CALM,
            Resource::Timers,
            "a beat; 2 ms for the timer and its thread; 4 ms: a turn of the system's scheduler",
        )
        .at_most(calm.map(|arm| arm.case(arm.name, busy))),
    ];
    for arm in view.arms.iter().filter(|arm| arm.claim != CALM) {
        let resource = if arm.computes {
            Resource::Processors
        } else {
            Resource::Timers
        };
        claims.push(match (arm.effect, arm.computes) {
            (Effect::Blocks(..), false) => {
                law(arm.claim, resource, "half a beat, and 2 ms for the timer and its thread")
                    .near([arm.case("", busy)])
            }
            (Effect::Blocks(..), true) => law(
                arm.claim,
                resource,
                "half a beat, 2 ms for the timer, and 5 % of the computation: clocks change",
            )
            .near([arm.case("", busy)]),
            (Effect::Lives(_), _) => law(
                arm.claim,
                resource,
                "a beat and the slices that may lie in it; 6 ms for timer and scheduler, 5 % for the clock",
            )
            .at_most([arm.case("", busy)]),
        });
    }
    claims
}

/// What a running program can tell about itself.
fn instruments(view: &View) -> Vec<Claim> {
    let (slow, watch) = (view.p.slow.s(), view.p.watch.s());
    // A poll about as long as the threshold may fall on either side.
    let clear = |arm: &&Arm| {
        let of = arm.polls.iter().map(|(_, each)| each / slow);
        of.into_iter().all(|share| !(0.7..=1.3).contains(&share))
    };
    let held_up = view.arms.iter().filter(clear).map(|arm| {
        let expected = arm.polled(view.summary, |each| each > slow);
        let measured = arm.condition.gauge(gauges::SLOW_POLL_S);
        Case::new(arm.name, expected, measured, slow + arm.slack())
    });
    let holding = view.arms.iter().filter(|arm| !arm.polls.is_empty());
    let busy = holding.flat_map(|arm| {
        let polls = arm.condition.gauge(gauges::POLL_S);
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
    let law = |text: &'static str| Law::new(text, "s", Disturbed::Longer(Resource::Processors));
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
    Figure {
        id: "heartbeat".into(),
        title: format!(
            "A blocked poll leaves {} without a beat; spawn_blocking leaves {}",
            view.drawn_s("std::thread::sleep"),
            view.drawn_s("spawn_blocking")
        ),
        subtitle: format!(
            "One tick per heartbeat (every {}) beside a task that is busy for {}. {drawn}Red: no tick for more than three beats",
            seconds(p.beat.s()),
            seconds(p.busy.s())
        ),
        desc: "Heartbeats over time, a lane for each way of being busy. The ways that block the loop show one long gap.".into(),
        body: Body::Beats(Beats {
            until: p.watch.s(),
            threshold: 3.0 * p.beat.s(),
            lanes: view.arms.iter().filter_map(lane).collect(),
        }),
    }
}

fn heartbeat(view: &View) -> Table {
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
    for arm in &view.arms {
        let theory = seconds(arm.theory().value);
        table.row([
            arm.name.into(),
            arm.note.clone(),
            cell(arm.gap(), seconds),
            match arm.effect {
                Effect::Blocks(..) => theory,
                Effect::Lives(_) => format!("≤ {theory}"),
            },
            cell(arm.condition.gauge(gauges::BUSY_S), seconds),
            cell(arm.condition.gauge(gauges::BUSY_SHARE), percent),
            cell(arm.condition.gauge(gauges::SLOW_POLLS), number),
        ]);
    }
    table.note = format!(
        "The longest gap of a trial, on average. A poll of more than {} counts as slow.",
        seconds(view.p.slow.s())
    );
    table
}

fn who(view: &View) -> Table {
    let told = |series| view.summary.only(series)?.gauge(gauges::THREADS);
    let mut threads = Table::new("Who runs the tasks", &["where", "tasks", "threads"]);
    for (name, series) in [
        (one_thread(), "threads/current"),
        (many_threads(view.p), "threads/multi"),
        ("spawn_blocking".into(), "threads/blocking"),
    ] {
        threads.row([name, view.p.tasks.to_string(), cell(told(series), number)]);
    }
    threads
}

/// The trial of median longest gap, from its first beat on.
fn lane(arm: &Arm) -> Option<BeatLane> {
    let trial = arm.drawn()?;
    let beats = trial.traces.get("beats")?;
    let first = beats.first()?.0;
    Some(BeatLane {
        title: arm.name.into(),
        note: arm.note.clone(),
        beats: beats.iter().map(|(at, _)| at - first).collect(),
        longest_gap: longest_gap(trial),
    })
}
