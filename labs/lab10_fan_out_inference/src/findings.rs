//! Theory beside measurement for lab10.

use lab_kit::prelude::*;
use lab_kit::record::{Latency, Span};
use lab_kit::theory::hedge::Times;
use lab_kit::theory::schedule::{Job, critical_path, list_schedule, makespan};

use super::{
    Params,
    gauges::{BEGUN_S, PARTS, SLOW_ANSWERS, SLOW_FETCHES},
    plan::{Source, Work},
};

pub(super) fn explain(p: &Params, summary: &Summary) -> Findings {
    let view = View::of(p, summary);
    let hedged = &view.tails.hedged;
    let figures = [Some(view.arms_figure()), view.failing_figure(), Some(view.tails.figure())];
    Findings {
        headline: view.headline(),
        figures: figures.into_iter().flatten().collect(),
        tables: vec![view.table(), view.tails.table()],
        claims: view.claims(),
        answers: vec![
            Answer::near("gain", view.gained(), view.gain().value).scaled(1e3),
            Answer::near("slow", hedged.share(SLOW_ANSWERS), hedged.slow_answers()).scaled(100.0),
        ],
    }
}

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
        all.map(|(_, end)| *end).fold(0.0, |a, b| if b.is_nan() { b } else { a.max(b) })
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

    /// How long each inference takes, added up.
    fn inferred(&self) -> f64 {
        length(&self.inferences)
    }

    /// The same of those that begin before this.
    fn inferred_if_begun_before(&self, at: f64) -> f64 {
        let begun = self.inferences.iter().filter(|(start, _)| *start < at);
        begun.map(|(start, end)| end - start).sum()
    }
}

/// When the first of these ends, the second one and so on: which is whose is left open.
fn ends(stretches: &[(f64, f64)]) -> Vec<f64> {
    let mut ends: Vec<f64> = stretches.iter().map(|(_, end)| *end).collect();
    ends.sort_by(f64::total_cmp);
    ends
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
    let begun = trial.gauge(BEGUN_S).unwrap_or_default();
    let of = |fetch: bool| {
        let spans = trial.spans.iter().filter(|s| (s.lane == "fetch") == fetch);
        spans.map(|s| (s.start_s - begun, s.end_s - begun)).collect()
    };
    Course { fetches: of(true), inferences: of(false) }
}

/// One arm of the experiment.
struct Arm<'a> {
    name: &'static str,
    /// Where it infers; empty where the name says it.
    note: String,
    course: Course,
    /// Whether inferences are alike, or their texts arrive one after another: else their order is a coin toss.
    in_order: bool,
    /// Whether the event loop sees the end of each fetch: not while it computes, nor when it has given up.
    sees_fetches: bool,
    /// When theory says that it ends.
    predicted: Given,
    condition: Option<Condition<'a>>,
}

/// Why the times of the arms may differ from theory by so much.
const WIDE: &str = "a timer's tick and the event loop's wait for a processor, and a tenth of what is computed: a processor's clock changes with load and heat";

impl<'a> Arm<'a> {
    fn on(self, note: &str) -> Arm<'a> {
        let note = note.into();
        Arm { note, ..self }
    }

    fn wall(&self) -> Option<Estimate> {
        self.condition?.wall_s()
    }

    /// The event loop acts while workers compute, and waits for its processor.
    fn tolerance(&self) -> f64 {
        LATE + SLICE + DRIFT * self.course.computing()
    }

    /// The claim that it takes its course.
    fn takes(&self, course: &str) -> Claim {
        Law::new(course, "s", Disturbed::Longer(Resource::Processors))
            .within(WIDE)
            .near(self.ends(self.tolerance()))
    }

    /// When it ends, and when each of its fetches and inferences does.
    fn ends(&self, tolerance: f64) -> Vec<Case> {
        type Part = fn(&Course) -> &[(f64, f64)];
        let parts: [(&str, bool, Part); 2] = [
            ("fetch", self.sees_fetches, |course| &course.fetches),
            ("inference", self.in_order, |course| &course.inferences),
        ];
        let whole = Case::new(self.name, self.predicted, self.wall(), tolerance);
        let told = parts.into_iter().filter(|(_, told, _)| *told);
        let each = told.flat_map(|(what, _, part)| {
            let ends_by_law = ends(part(&self.course)).into_iter().enumerate();
            ends_by_law.map(move |(k, end)| {
                let seen = |t: &Trial| ends(part(&course(t))).get(k).copied();
                let measured = self.condition.and_then(|k| k.estimate(seen));
                let name = format!("{}, {what} {}", self.name, k + 1);
                let end = Given::new(end, self.predicted.origin());
                Case::new(name, end, measured, tolerance)
            })
        });
        std::iter::once(whole).chain(each).collect()
    }

    /// How long fetches and inferences were under way at the same time.
    fn overlap(&self) -> Option<Estimate> {
        self.condition?.estimate(|t| Some(course(t).overlap()))
    }

    /// Parts of the answer that were delivered, in each trial.
    fn parts(&self) -> Option<Estimate> {
        // Older records have them in their books only.
        let delivered = |t: &Trial| t.gauge(PARTS).unwrap_or(t.ok as f64);
        self.condition?.every(|t| Some(delivered(t)))
    }

    /// The trial that is drawn: the one of median length.
    fn drawn(&self) -> Option<&'a Trial> {
        self.condition?.typical(|t| t.wall_s)
    }

    fn drawn_end(&self) -> String {
        seconds(self.drawn().map_or(f64::NAN, |t| t.wall_s))
    }
}

/// What theory starts from.
struct Theory<'a> {
    p: &'a Params,
    summary: &'a Summary<'a>,
    sources: [Source; 3],
    /// What a fetch takes from its start to its end.
    fetch: Vec<f64>,
    infer: Vec<f64>,
}

impl<'a> Theory<'a> {
    fn of(p: &'a Params, summary: &'a Summary<'a>) -> Theory<'a> {
        let sources = p.sources();
        let overhead = summary.host().request_overhead_ms / 1e3;
        let fetch = sources.iter().map(|s| s.fetch.as_secs_f64() + overhead);
        Theory {
            p,
            summary,
            fetch: fetch.collect(),
            infer: sources.iter().map(|s| s.infer.as_secs_f64()).collect(),
            sources,
        }
    }

    /// A figure that theory arrives at: the costs of a request and of company on the processors went in.
    fn given(&self, value: f64) -> Given {
        self.summary.calibrated(|_| value)
    }

    /// What so many workers get together, in processors.
    fn width(&self, active: usize) -> f64 {
        match self.p.work {
            Work::Spin => self.summary.host().width(active),
            Work::Sleep => active as f64,
        }
    }

    fn last(&self) -> f64 {
        self.fetch.iter().copied().fold(0.0, f64::max)
    }

    fn jobs(&self, release: impl Fn(usize) -> f64) -> Vec<Job> {
        let job = |i| Job { release: release(i), cost: self.infer[i] };
        (0..self.infer.len()).map(job).collect()
    }

    fn at_arrival(&self) -> Vec<Job> {
        self.jobs(|i| self.fetch[i])
    }

    fn at_last(&self) -> Vec<Job> {
        self.jobs(|_| self.last())
    }

    /// All fetches at once, and these inferences.
    fn scheduled(&self, jobs: &[Job], workers: usize, width: impl Fn(usize) -> f64) -> Course {
        Course {
            fetches: self.fetch.iter().map(|f| (0.0, *f)).collect(),
            inferences: list_schedule(jobs, workers, width),
        }
    }

    /// The same on the pool.
    fn on_the_pool(&self, jobs: &[Job]) -> Course {
        self.scheduled(jobs, self.p.workers, |active| self.width(active))
    }

    fn in_turn(&self) -> Course {
        let mut course = Course::default();
        let mut now = 0.0;
        for (f, p) in self.fetch.iter().zip(&self.infer) {
            course.fetches.push((now, now + f));
            course.inferences.push((now + f, now + f + p));
            now += f + p;
        }
        course
    }

    /// When the error of the failing source arrives.
    fn given_up(&self) -> f64 {
        self.fetch[self.p.failing as usize]
    }

    /// The failing source's fetch ends with an error and is followed by nothing.
    fn degraded(&self) -> Course {
        let mut left = self.at_arrival();
        left.remove(self.p.failing as usize);
        self.on_the_pool(&left)
    }

    fn cut_short(&self) -> Course {
        let fetches = self.fetch.iter().map(|end| (0.0, end.min(self.given_up())));
        Course { fetches: fetches.collect(), inferences: vec![] }
    }

    /// Which of two texts that arrive together is inferred first is not known.
    fn coin(&self) -> Option<String> {
        let ends = (0..8_usize).map(|shift| {
            let early = |i: usize| self.fetch[i] - if shift >> i & 1 == 1 { LATE } else { 0.0 };
            makespan(&self.jobs(early), self.p.workers, |a| self.width(a))
        });
        let (low, high) = ends.fold((f64::INFINITY, 0.0_f64), |(lo, hi), e| (lo.min(e), hi.max(e)));
        (high - low > 2.0 * LATE).then(|| {
            "two texts arrive at almost the same time: which is inferred first is a coin toss"
                .to_string()
        })
    }

    fn of_cores(&self) -> String {
        format!(
            "{} worker{} on {} processors",
            self.p.workers,
            if self.p.workers == 1 { "" } else { "s" },
            number(self.width(self.p.workers.max(1)))
        )
    }

    /// An arm of the experiment, which takes this course.
    fn arm(&self, series: &str, name: &'static str, course: Course) -> Arm<'a> {
        let alike = self.infer.iter().all(|p| *p == self.infer[0]);
        let arrivals = ends(&course.fetches);
        let mut gaps = arrivals.windows(2).map(|pair| pair[1] - pair[0]);
        Arm {
            name,
            note: String::new(),
            sees_fetches: !matches!(series, "on_the_loop" | "all_or_nothing"),
            in_order: alike || gaps.all(|gap| gap > 2.0 * LATE),
            predicted: self.given(course.end()),
            course,
            condition: self.summary.only(series),
        }
    }

    fn arms(&self) -> [Arm<'a>; 4] {
        let phases = self.on_the_pool(&self.at_last());
        let on_the_loop = self.scheduled(&self.at_arrival(), 1, |_| 1.0);
        let arriving = self.on_the_pool(&self.at_arrival());
        let on_the_pool = &self.of_cores();
        [
            self.arm("one_after_another", "One after another", self.in_turn()),
            self.arm("phases", "All fetches, then all inferences", phases).on(on_the_pool),
            self.arm("on_the_loop", "Each as it arrives, on the event loop", on_the_loop)
                .on("one thread"),
            self.arm("as_it_arrives", "Each as it arrives, on the pool", arriving).on(on_the_pool),
        ]
    }

    fn slept(&self) -> [Arm<'a>; 2] {
        let alone = |jobs: &[Job]| self.scheduled(jobs, 3, |n| n as f64);
        let (phases, arriving) = (alone(&self.at_last()), alone(&self.at_arrival()));
        [
            self.arm("slept/phases", "Two phases, inference only sleeps", phases),
            self.arm("slept/as_it_arrives", "As it arrives, inference only sleeps", arriving),
        ]
    }

    fn failing(&self) -> [Arm<'a>; 2] {
        [
            self.arm("all_or_nothing", "try_join_all: the first error ends it", self.cut_short()),
            self.arm("degraded", "join_all: a part less", self.degraded()),
        ]
    }
}

/// Fetches for each answer.
const OF_EACH: u64 = 3;

/// Services with a slow tail, asked with one request for a fetch, or with a second one when it is late.
struct Tail<'a> {
    label: &'static str,
    /// "with a second request".
    name: &'static str,
    p: &'a Params,
    /// How long a fetch takes.
    times: Times,
    /// How close a share must come, as a share of it.
    close: f64,
    condition: Option<Condition<'a>>,
}

impl Tail<'_> {
    /// How long an answer takes.
    fn answers(&self) -> Times {
        self.times.slowest_of(OF_EACH as usize)
    }

    fn slow_fetches(&self) -> f64 {
        self.times.later_than(self.p.slow_from().as_secs_f64())
    }

    fn slow_answers(&self) -> f64 {
        self.answers().later_than(self.p.slow_from().as_secs_f64())
    }

    fn share(&self, gauge: Gauge) -> Option<Estimate> {
        self.condition?.gauge(gauge)
    }

    fn latency(&self, q: f64) -> Option<Estimate> {
        self.condition?.latency(q)
    }

    /// Requests more than fetches, as a share of these.
    fn extra(&self) -> Option<Estimate> {
        self.condition?.estimate(|t| {
            let needed = (OF_EACH * t.offered) as f64;
            let arrived = t.gauge(gauge::UPSTREAM_ARRIVED)?;
            (needed > 0.0).then(|| arrived / needed - 1.0)
        })
    }

    fn shares(&self) -> impl Iterator<Item = Case> {
        let case = |of: &str, gauge: Gauge, share: f64, seen: u64| {
            // What happens a handful of times in a trial has no share.
            let often = share * seen as f64 * self.p.answers as f64 >= 6.0;
            let name = format!("{of} {}", self.name);
            let case = Case::share(name, share, self.share(gauge), self.close);
            often.then(|| case.scaled(100.0))
        };
        let cases = [
            case("fetches", SLOW_FETCHES, self.slow_fetches(), OF_EACH),
            case("answers", SLOW_ANSWERS, self.slow_answers(), 1),
        ];
        cases.into_iter().flatten()
    }

    fn p95(&self, overhead: Given) -> Option<Case> {
        let q = 0.95;
        let all = self.answers();
        // Where the share slower is near 5 %, chance decides the quantile of a trial.
        let settled = all.each().iter().all(|(time, _)| {
            let slower = all.later_than(*time);
            let error = (slower * (1.0 - slower) / self.p.answers as f64).sqrt();
            (slower - (1.0 - q)).abs() > 2.5 * error
        });
        let predicted = overhead + all.quantile(q);
        let tolerance = 2.0 * LATE + 0.02 * all.quantile(q);
        let case = Case::new(self.name, predicted, self.latency(q), tolerance);
        settled.then_some(case)
    }

    /// The share of answers that take longer than a time, from the top to the bottom of each step.
    fn by_law(&self, least: f64) -> Line {
        let all = self.answers();
        let mut share = 1.0f64;
        let mut points = vec![(0.0, 1.0)];
        for (time, _) in all.each() {
            let below = all.later_than(*time);
            points.extend([(*time, share), (*time + 1e-9, below.max(least))]);
            share = below;
        }
        Line::theory("", Colour::Muted, points)
    }

    /// The same as it was measured.
    fn measured(&self, colour: Colour) -> Line {
        let mut all = Latency::new();
        let trials = self.condition.iter().flat_map(Condition::trials);
        trials.for_each(|t| all.merge(&t.latency));
        let shares = (0..=150).map(|i| 10f64.powf(-3.0 * f64::from(i) / 150.0));
        let seen = 1.0 / all.count().max(1) as f64;
        let of = |share: f64| Some((all.quantile_s(1.0 - share)?, share));
        let points = shares.filter(|s| *s >= seen).filter_map(of);
        let mut points: Vec<(f64, f64)> = std::iter::once((0.0, 1.0)).chain(points).collect();
        // Of those that took as long, the least share.
        points.dedup_by(|next, kept| {
            let same = next.0 <= kept.0;
            if same {
                kept.1 = next.1;
            }
            same
        });
        Line::trace(self.label, colour, points)
    }
}

/// Both ways.
struct Tails<'a> {
    p: &'a Params,
    plain: Tail<'a>,
    hedged: Tail<'a>,
}

impl<'a> Tails<'a> {
    fn of(p: &'a Params, summary: &Summary<'a>) -> Tails<'a> {
        let usual = p.usual.s();
        let times = Times::with_tail(usual, usual * p.slow_factor, p.slow_share);
        Tails {
            p,
            hedged: Tail {
                label: "a second when late",
                name: "with a second request",
                p,
                times: times.hedged(p.hedge_after.s()),
                close: 0.4,
                condition: summary.only("tail/hedged"),
            },
            plain: Tail {
                label: "one request",
                name: "without a second request",
                p,
                times,
                close: 0.15,
                condition: summary.only("tail/plain"),
            },
        }
    }

    fn both(&self) -> [&Tail<'a>; 2] {
        [&self.plain, &self.hedged]
    }

    fn shares(&self) -> Claim {
        let cases = self.both().into_iter().flat_map(Tail::shares);
        Law::new("of fetches a share t is slow, t² with a second request; of answers that need three, 1 − (1 − share)³", "%", Disturbed::Either(Resource::Timers))
            .within("15 % of a share, 40 % of what is slow twice: far from half and from double of it")
            .near(cases)
    }

    fn more(&self) -> Claim {
        let (times, after) = (&self.plain.times, self.p.hedge_after.s());
        let more = times.later_than(after);
        let mut each = times.each().iter();
        let toss = each.any(|(time, _)| (time - after).abs() < 4e-3);
        let why = "the second request is sent just when the first answer is due: a coin toss";
        let tolerance = (0.15 * more.min(1.0 - more)).max(0.01);
        let case = Case::new("", more, self.hedged.extra(), tolerance);
        Law::new("the additional requests are the share of fetches that take longer than the delay of the second", "%", Disturbed::Either(Resource::Timers))
            .within("15 % of the share: a usual fetch may be held up until its second request is sent")
            .near([case.scaled(100.0)])
            .unless(toss.then(|| why.to_string()))
    }

    fn quantiles(&self, overhead: Given) -> Claim {
        let cases = self.both().into_iter().filter_map(|tail| tail.p95(overhead));
        Law::new("the 95th percentile of an answer is that of the slowest of three, each the faster of two requests", "s", Disturbed::Longer(Resource::Timers))
            .within("a timer's tick at the server and at the client, and 2 % for the queue of the event loop")
            .near(cases)
    }

    fn figure(&self) -> Figure {
        let p = self.p;
        let slow = |tail: &Tail| cell(tail.share(SLOW_ANSWERS), percent);
        let title = format!(
            "{} of the answers are slow, {} with a second request for what is late",
            slow(&self.plain),
            slow(&self.hedged)
        );
        let least = 1e-3;
        Figure::new("tail", title)
            .subtitle(format!(
                "Three fetches of {}, {} of them {}. A second request after {}: {} more requests. Dashed: theory",
                seconds(p.usual.s()),
                percent(p.slow_share),
                seconds(p.usual.s() * p.slow_factor),
                seconds(p.hedge_after.s()),
                cell(self.hedged.extra(), percent)
            ))
            .desc("Share of answers that take longer than a time, on a logarithmic scale, with one request for each fetch and with a second one for what is late.")
            .over(Axis::linear("time of an answer", Unit::Seconds), [
                Panel::new("Share of answers that take longer", Axis::log("", Unit::Share).with_range(least, 1.0))
                    .note("log scale")
                    .layers(self.both().map(|tail| tail.by_law(least)))
                    .layer(self.plain.measured(Colour::Vermilion))
                    .layer(self.hedged.measured(Colour::Green))
                    .height(1.4),
            ])
    }

    fn table(&self) -> Table {
        let p = self.p;
        Table::of("A slow tail", self.both())
            .column("", |tail| tail.label.into())
            .cells("slow fetches", percent, |tail| tail.share(SLOW_FETCHES))
            .column("theory", |tail| percent(tail.slow_fetches()))
            .cells("slow answers", percent, |tail| tail.share(SLOW_ANSWERS))
            .column("theory", |tail| percent(tail.slow_answers()))
            .cells("p50 of an answer", seconds, |tail| tail.latency(0.5))
            .cells("p95", seconds, |tail| tail.latency(0.95))
            .cells("p99", seconds, |tail| tail.latency(0.99))
            .cells("requests more", percent, |tail| tail.extra())
            .note(format!(
                "Slow: {} or more. Usual fetches take {}, {} of them {}; a second request after {}.",
                seconds(p.slow_from().as_secs_f64()),
                p.usual,
                percent(p.slow_share),
                seconds(p.usual.s() * p.slow_factor),
                p.hedge_after
            ))
    }
}

/// What explaining works with.
struct View<'a> {
    theory: Theory<'a>,
    arms: [Arm<'a>; 4],
    slept: [Arm<'a>; 2],
    failing: [Arm<'a>; 2],
    tails: Tails<'a>,
}

impl<'a> View<'a> {
    fn of(p: &'a Params, summary: &'a Summary<'a>) -> View<'a> {
        let theory = Theory::of(p, summary);
        View {
            arms: theory.arms(),
            slept: theory.slept(),
            failing: theory.failing(),
            tails: Tails::of(p, summary),
            theory,
        }
    }

    /// How much sooner the end comes when each inference begins as its text arrives.
    fn gain(&self) -> Given {
        let [_, phases, _, arriving] = &self.arms;
        phases.predicted - arriving.predicted
    }

    fn gained(&self) -> Option<Estimate> {
        let [_, phases, _, arriving] = &self.arms;
        let (phases, arriving) = phases.condition.zip(arriving.condition)?;
        phases.paired(&arriving, |a, b| Some(a.wall_s - b.wall_s))
    }
}

/// The claims.
impl View<'_> {
    fn claims(&self) -> Vec<Claim> {
        let summary = self.theory.summary;
        let overhead = summary.calibrated(|h| h.request_overhead_ms / 1e3);
        let mut claims = self.times();
        claims.extend([self.overlaps(), self.gains()]);
        claims.extend(self.failures());
        claims.extend([self.tails.shares(), self.tails.more(), self.tails.quantiles(overhead)]);
        claims
    }

    fn times(&self) -> Vec<Claim> {
        let [sequential, phases, on_the_loop, arriving] = &self.arms;
        let slept = self.slept.iter().flat_map(|arm| arm.ends(2.0 * LATE));
        vec![
            sequential.takes("fetch, infer, fetch, infer: the time is the sum of everything"),
            phases.takes("in two phases it takes the longest fetch and the makespan of the inferences on the processors"),
            on_the_loop.takes("inference on the event loop is the schedule in order of arrival with one processor"),
            arriving
                .takes("inference on the pool as each text arrives is the schedule in order of arrival on the processors")
                .unless(self.theory.coin()),
            Law::new("with a processor for each source (here inferences that only sleep) two phases take the longest fetch and the longest inference, and inference at arrival the critical path", "s", Disturbed::Longer(Resource::Timers))
                .within("a timer's tick for the fetch and one for the sleep")
                .near(slept),
        ]
    }

    fn overlaps(&self) -> Claim {
        let [_, phases, _, arriving] = &self.arms;
        let cases = [phases, arriving].map(|arm| {
            let predicted = self.theory.given(arm.course.overlap());
            Case::new(arm.name, predicted, arm.overlap(), LATE + SLICE)
        });
        Law::new("in two phases no inference overlaps any fetch; at arrival they overlap from the first text to the last", "s", Disturbed::Either(Resource::Processors))
            .within("a timer's tick, and the event loop's wait for a processor")
            .near(cases)
    }

    fn gains(&self) -> Claim {
        let gain = self.gain();
        let tolerance = 2.0 * LATE + SLICE + DRIFT * gain.value.abs();
        Law::new("beginning each inference when its text arrives saves the difference of the two schedules", "s", Disturbed::Either(Resource::Processors))
            .within("a timer's tick for either, the event loop's wait for a processor, and a tenth of the gain for the processor's clock")
            .near([Case::new("", gain, self.gained(), tolerance)])
            .unless(self.theory.coin())
    }

    /// What becomes of an answer of which one source fails.
    fn failures(&self) -> [Claim; 3] {
        let parts = &self.failing[1];
        let others = (self.theory.sources.len() - 1) as f64;
        let ends = self.failing.iter().flat_map(|arm| arm.ends(arm.tolerance()));
        [
            Law::counted(
                "when a source fails, join_all delivers the parts of all the others",
                "parts",
            )
            .near([Case::exact(parts.name, others, parts.parts())])
            .unless(self.none_fails()),
            Law::new(
                "try_join_all ends with the error, join_all with the schedule of what is left",
                "s",
                Disturbed::Longer(Resource::Processors),
            )
            .within(WIDE)
            .near(ends)
            .unless(self.none_fails()),
            self.for_nobody(),
        ]
    }

    fn none_fails(&self) -> Option<String> {
        let none = self.failing.iter().all(|arm| arm.condition.is_none());
        none.then(|| "no source fails in this run: a target cannot be asked to".into())
    }

    /// Until the error it goes on like the arm in which nobody gives up.
    fn for_nobody(&self) -> Claim {
        let [nothing, parts] = &self.failing;
        let (given_up, going_on) = (self.theory.given_up(), &parts.course);
        let wasted = going_on.inferred_if_begun_before(given_up);
        let begun = |t: &Trial| Some(course(t).inferred_if_begun_before(t.wall_s + LATE));
        let measured = nothing.condition.and_then(|k| k.estimate(begun));
        let tolerance = LATE + DRIFT * wasted;
        let mut inferences = going_on.inferences.iter();
        let toss = inferences.any(|(start, _)| (start - given_up).abs() < 2.0 * LATE);
        let why = "an inference would begin just when the error arrives: a coin toss";
        Law::new("what had begun when try_join_all gave up computes to its end for nobody", "s", Disturbed::Longer(Resource::Processors))
            .within("a timer's tick, and a tenth of what is computed: a processor's clock changes with load and heat")
            .near([Case::new("", self.theory.given(wasted), measured, tolerance)])
            .unless(self.none_fails())
            .unless(toss.then(|| why.to_string()))
    }
}

/// The headline, the charts and the table.
impl View<'_> {
    fn headline(&self) -> String {
        let [sequential, phases, _, arriving] = &self.arms;
        let took = |arm: &Arm| cell(arm.wall(), seconds);
        let slow = |tail: &Tail| cell(tail.share(SLOW_ANSWERS), percent);
        let Tails { plain, hedged, .. } = &self.tails;
        format!(
            "One after another: {}; all fetches, then all inferences on {}: {}; each inference as its text arrives: {}. With a slow tail {} of the answers are slow, with a second request for late fetches {}, for {} more requests.",
            took(sequential),
            self.theory.of_cores(),
            took(phases),
            took(arriving),
            slow(plain),
            slow(hedged),
            cell(hedged.extra(), percent)
        )
    }

    /// How many trials the drawn ones were chosen from.
    fn one_of(&self) -> String {
        let trials = |arm: &Arm| arm.condition.map_or(0, |k| k.trials().len());
        match self.arms.iter().map(trials).max() {
            Some(n @ 2..) => format!("The median of {n} trials of each. "),
            _ => String::new(),
        }
    }

    fn arms_figure(&self) -> Figure {
        let [sequential, phases, on_the_loop, arriving] = &self.arms;
        let sources = &self.theory.sources;
        let title = format!(
            "{} one after another, {} in two phases; each inference as its text arrives: {} on the pool, {} on the event loop",
            sequential.drawn_end(),
            phases.drawn_end(),
            arriving.drawn_end(),
            on_the_loop.drawn_end(),
        );
        Figure::new("arms", title)
            .subtitle(format!(
                "{}. {}Hatched: fetching. Grey: the text is there, but the event loop computes. Dashed: theory",
                described(sources),
                self.one_of()
            ))
            .desc("Gantt chart of fetches and inferences of three sources in four arms, from one after another to each as it arrives.")
            .gantt(self.arms.iter().map(|arm| group(arm, sources)))
    }

    fn failing_figure(&self) -> Option<Figure> {
        let [nothing, parts] = &self.failing;
        nothing.condition.or(parts.condition)?;
        let delivered = |arm: &Arm| number(arm.drawn().map_or(f64::NAN, |t| t.ok as f64));
        let for_nobody = nothing.drawn().map(|t| course(t).inferred());
        let sources = &self.theory.sources;
        let title = format!(
            "One source fails: join_all gives {} of 3 parts, try_join_all {} and computes {} for nobody",
            delivered(parts),
            delivered(nothing),
            seconds(for_nobody.unwrap_or(f64::NAN))
        );
        Some(Figure::new("failing", title)
            .subtitle(format!(
                "{} answers 500. {}Hatched: fetching. The line is the answer's end; dashed: theory",
                sources[self.theory.p.failing as usize].name,
                self.one_of()
            ))
            .desc("Gantt chart of two arms with a failing source: one ends with the error while inferences go on, the other delivers the two other parts.")
            .gantt(self.failing.iter().map(|arm| group(arm, sources))))
    }

    fn table(&self) -> Table {
        let [sequential, ..] = &self.arms;
        let against = |arm: &Arm| {
            let (arm, sequential) = arm.condition.zip(sequential.condition)?;
            arm.paired(&sequential, |a, b| (b.wall_s > 0.0).then(|| a.wall_s / b.wall_s))
        };
        let failing = self.failing.iter().filter(|arm| arm.condition.is_some());
        let arms = self.arms.iter().chain(&self.slept).chain(failing);
        let theory = &self.theory;
        let longest = theory.infer.iter().copied().fold(0.0, f64::max);
        Table::of("An answer from three sources", arms)
            .column("arm", |arm| arm.name.into())
            .column("theory", |arm| seconds(arm.predicted.value))
            .cells("measured", seconds, |arm| arm.wall())
            .cells("against one after another", percent, |arm| against(arm))
            .cells("fetch and inference overlap", seconds, |arm| arm.overlap())
            .cells("parts", number, |arm| arm.parts())
            .note(format!(
                "{}. With a processor for each source: two phases {}, each as it arrives {} (the critical path). On one processor: {} and {}.",
                theory.of_cores(),
                seconds(theory.last() + longest),
                seconds(critical_path(&theory.at_arrival())),
                seconds(theory.last() + theory.infer.iter().sum::<f64>()),
                seconds(makespan(&theory.at_arrival(), 1, |_| 1.0)),
            ))
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

/// When the answer of each source had been sent, where somebody watched: the services answer in the order
/// of their times.
fn answered(trial: &Trial, sources: &[Source]) -> Vec<Option<f64>> {
    let sent = trial.trace("answered");
    let at = |source: &Source| {
        let before = sources.iter().filter(|other| other.fetch < source.fetch);
        let count = (before.count() + 1) as f64;
        Some(sent.iter().find(|(_, sent)| *sent >= count)?.0)
    };
    sources.iter().map(at).collect()
}

/// A fetch, and what it took longer because the event loop was busy when the text came; or an inference.
fn bars(span: &Span, source: &Source, answered: Option<f64>, colour: Colour) -> Vec<Bar> {
    let bar = |start, end, label: &str, colour, waiting| Bar {
        start,
        end,
        label: label.into(),
        colour,
        waiting,
    };
    let (start, end) = (span.start_s, span.end_s);
    if span.lane != "fetch" {
        return vec![bar(start, end, "infer", colour, false)];
    }
    match answered.filter(|at| *at > start && end - at > 2.0 * LATE) {
        Some(at) => vec![
            bar(start, at, "fetch", colour, true),
            bar(at, end, "ready, loop is busy", Colour::Muted, false),
        ],
        None => {
            // An upstream that runs elsewhere does not say when it has answered.
            let long = end - start > source.fetch.as_secs_f64() + 2.0 * LATE;
            let unseen = answered.is_none() && long;
            let label = if unseen { "fetch, or ready" } else { "fetch" };
            vec![bar(start, end, label, colour, true)]
        }
    }
}

/// The trial of median length, a lane for each source.
fn group(arm: &Arm, sources: &[Source]) -> Group {
    let trial = arm.drawn();
    let begun = trial.and_then(|t| t.gauge(BEGUN_S)).unwrap_or_default();
    let since_begun = |bar: Bar| Bar { start: bar.start - begun, end: bar.end - begun, ..bar };
    let spans = trial.map_or(&[][..], |t| &t.spans);
    let answered = trial.map_or(vec![None; sources.len()], |t| answered(t, sources));
    let colours = [Colour::Blue, Colour::Vermilion, Colour::Green];
    let lanes = sources.iter().zip(colours).zip(answered);
    let lanes = lanes.map(|((source, colour), answered)| {
        let mine = spans.iter().filter(|s| s.name == source.name);
        let bars = mine.flat_map(|span| bars(span, source, answered, colour));
        Lane { label: source.name.into(), colour, bars: bars.map(since_begun).collect() }
    });
    Group {
        title: arm.name.into(),
        note: arm.note.clone(),
        lanes: lanes.collect(),
        end: trial.map(|t| t.wall_s),
        predicted_end: Some(arm.predicted.value),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stretches_are_united_and_overlaps_counted_once() {
        assert_eq!(union(&[(2.0, 3.0), (0.0, 1.0), (0.5, 1.5)]), [(0.0, 1.5), (2.0, 3.0)]);
        let course = Course {
            fetches: vec![(0.0, 3.0), (0.0, 4.0)],
            inferences: vec![(2.0, 3.0), (2.5, 6.0)],
        };
        assert!((course.overlap() - 2.0).abs() < 1e-12);
        assert!((course.computing() - 4.0).abs() < 1e-12 && course.end() == 6.0);
        assert_eq!(course.inferred(), 4.5);
        let phases = Course { fetches: vec![(0.0, 1.0)], inferences: vec![(1.0, 2.0)] };
        assert_eq!(phases.overlap(), 0.0);
    }
}
