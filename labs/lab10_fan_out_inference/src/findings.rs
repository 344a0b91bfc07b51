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

    /// How long each inference takes, added up.
    fn inferred(&self) -> f64 {
        length(&self.inferences)
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
    /// Whether inferences are alike, or their texts arrive one after another: else their order is a coin toss.
    in_order: bool,
    /// Whether the event loop sees the end of each fetch: not while it computes, nor when it has given up.
    sees_fetches: bool,
    /// When theory says that it ends.
    predicted: Given,
    condition: Option<Condition<'a>>,
}

impl<'a> Arm<'a> {
    fn wall(&self) -> Option<Estimate> {
        self.condition?.wall_s()
    }

    /// The event loop acts while workers compute, and waits for its processor.
    fn tolerance(&self) -> f64 {
        LATE + SLICE + DRIFT * self.course.computing()
    }

    /// When it ends, and when each of its fetches and inferences does.
    fn ends(&self, tolerance: f64) -> Vec<Case> {
        let whole = Case::new(self.name, self.predicted, self.wall(), tolerance);
        let mut cases = vec![whole];
        type Part = fn(&Course) -> &[(f64, f64)];
        let parts: [(&str, bool, Part); 2] = [
            ("fetch", self.sees_fetches, |course| &course.fetches),
            ("inference", self.in_order, |course| &course.inferences),
        ];
        for (what, _, part) in parts.into_iter().filter(|(_, told, _)| *told) {
            for (k, end) in ends(part(&self.course)).into_iter().enumerate() {
                let seen = |t: &Trial| ends(part(&course(t))).get(k).copied();
                let measured = self.condition.and_then(|k| k.estimate(seen));
                let name = format!("{}, {what} {}", self.name, k + 1);
                let end = Given::new(end, self.predicted.origin());
                cases.push(Case::new(name, end, measured, tolerance));
            }
        }
        cases
    }

    fn estimate(&self, figure: impl Fn(&Course) -> f64) -> Option<Estimate> {
        self.condition?.estimate(|t| Some(figure(&course(t))))
    }

    /// How long fetches and inferences were under way at the same time.
    fn overlap(&self) -> Option<Estimate> {
        self.estimate(Course::overlap)
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
        self.drawn().map_or("–".into(), |t| seconds(t.wall_s))
    }
}

/// Why the times of the arms may differ from theory by so much.
const WIDE: &str = "a timer's tick and the event loop's wait for a processor, and a tenth of what is computed: a processor's clock changes with load and heat";

/// What theory starts from.
struct Theory<'a> {
    p: &'a Params,
    summary: &'a Summary<'a>,
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
        let job = |i| Job {
            release: release(i),
            cost: self.infer[i],
        };
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
        Course {
            fetches: fetches.collect(),
            inferences: vec![],
        }
    }

    /// Which of two texts that arrive together is inferred first is not known.
    fn coin(&self) -> Option<String> {
        let ends = (0..8_usize).map(|shift| {
            let early = |i: usize| self.fetch[i] - if shift >> i & 1 == 1 { LATE } else { 0.0 };
            makespan(&self.jobs(early), self.p.workers, |a| self.width(a))
        });
        let (low, high) = ends.fold((f64::INFINITY, 0.0_f64), |(lo, hi), e| {
            (lo.min(e), hi.max(e))
        });
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

    fn arm(
        &self,
        series: &str,
        name: &'static str,
        note: &str,
        law: &'static str,
        course: Course,
    ) -> Arm<'a> {
        let alike = self.infer.iter().all(|p| *p == self.infer[0]);
        let mut arrivals: Vec<f64> = course.fetches.iter().map(|(_, end)| *end).collect();
        arrivals.sort_by(f64::total_cmp);
        let mut gaps = arrivals.windows(2).map(|pair| pair[1] - pair[0]);
        Arm {
            name,
            note: note.into(),
            sees_fetches: !matches!(series, "on_the_loop" | "all_or_nothing"),
            in_order: alike || gaps.all(|gap| gap > 2.0 * LATE),
            law,
            predicted: self.given(course.end()),
            course,
            condition: self.summary.only(series),
        }
    }

    fn arms(&self) -> [Arm<'a>; 4] {
        let of_cores = self.of_cores();
        [
            self.arm(
                "one_after_another",
                "One after another",
                "",
                "fetch, infer, fetch, infer: the time is the sum of everything",
                self.in_turn(),
            ),
            self.arm(
                "phases",
                "All fetches, then all inferences",
                &of_cores,
                "in two phases it takes the longest fetch and the makespan of the inferences on the processors",
                self.on_the_pool(&self.at_last()),
            ),
            self.arm(
                "on_the_loop",
                "Each as it arrives, on the event loop",
                "one thread",
                "inference on the event loop is the schedule in order of arrival with one processor",
                self.scheduled(&self.at_arrival(), 1, |_| 1.0),
            ),
            self.arm(
                "as_it_arrives",
                "Each as it arrives, on the pool",
                &of_cores,
                "inference on the pool as each text arrives is the schedule in order of arrival on the processors",
                self.on_the_pool(&self.at_arrival()),
            ),
        ]
    }

    fn slept(&self) -> [Arm<'a>; 2] {
        let alone = |n: usize| n as f64;
        [
            self.arm(
                "slept/phases",
                "Two phases, inference only sleeps",
                "",
                "",
                self.scheduled(&self.at_last(), 3, alone),
            ),
            self.arm(
                "slept/as_it_arrives",
                "As it arrives, inference only sleeps",
                "",
                "",
                self.scheduled(&self.at_arrival(), 3, alone),
            ),
        ]
    }

    fn failing(&self) -> [Arm<'a>; 2] {
        [
            self.arm(
                "all_or_nothing",
                "try_join_all: the first error ends it",
                "",
                "",
                self.cut_short(),
            ),
            self.arm("degraded", "join_all: a part less", "", "", self.degraded()),
        ]
    }
}

/// Services with a slow tail, without and with a second request.
struct Tails<'a> {
    p: &'a Params,
    one: Times,
    two: Times,
    plain: Option<Condition<'a>>,
    hedged: Option<Condition<'a>>,
}

/// Fetches for each answer.
const OF_EACH: u64 = 3;

impl<'a> Tails<'a> {
    fn of(p: &'a Params, summary: &Summary<'a>) -> Tails<'a> {
        let usual = p.usual.s();
        let one = Times::with_tail(usual, usual * p.slow_factor, p.slow_share);
        Tails {
            p,
            two: one.hedged(p.hedge_after.s()),
            one,
            plain: summary.only("tail/plain"),
            hedged: summary.only("tail/hedged"),
        }
    }

    /// Both ways, with how close a share must come, as a share of it.
    fn both(&self) -> [(&'static str, &Times, Option<Condition<'a>>, f64); 2] {
        [
            ("without", &self.one, self.plain, 0.15),
            ("with", &self.two, self.hedged, 0.4),
        ]
    }

    fn slow_fetches(&self, times: &Times) -> f64 {
        times.later_than(self.p.slow_from().as_secs_f64())
    }

    fn slow_answers(&self, times: &Times) -> f64 {
        let slow_from = self.p.slow_from().as_secs_f64();
        times.slowest_of(OF_EACH as usize).later_than(slow_from)
    }

    /// Requests more than fetches, as a share of these.
    fn extra(k: Option<Condition>) -> Option<Estimate> {
        k?.estimate(|t| {
            let needed = (OF_EACH * t.offered) as f64;
            let arrived = t.gauge(gauge::UPSTREAM_ARRIVED)?;
            (needed > 0.0).then(|| arrived / needed - 1.0)
        })
    }

    fn shares(&self) -> Claim {
        let cases = self.both().into_iter().flat_map(|(name, times, k, close)| {
            let case = |of: &str, gauge: Gauge, share: f64, seen: u64| {
                // What happens a handful of times in a trial has no share.
                let often = share * seen as f64 * self.p.answers as f64 >= 6.0;
                let measured = k.and_then(|k| k.gauge(gauge));
                let case = Case::share(
                    format!("{of} {name} a second request"),
                    share,
                    measured,
                    close,
                );
                often.then(|| case.scaled(100.0))
            };
            [
                case("fetches", SLOW_FETCHES, self.slow_fetches(times), OF_EACH),
                case("answers", SLOW_ANSWERS, self.slow_answers(times), 1),
            ]
        });
        Law::new(
            "of fetches a share t is slow, t² with a second request; of answers that need three, 1 − (1 − share)³",
            "%",
            Disturbed::Either(Resource::Timers),
        )
        .within("15 % of a share, 40 % of what is slow twice: far from half and from double of it")
        .near(cases.flatten())
    }

    fn more(&self) -> Claim {
        let after = self.p.hedge_after.s();
        let more = self.one.later_than(after);
        let toss = self
            .one
            .each()
            .iter()
            .any(|(time, _)| (time - after).abs() < 4e-3);
        let tolerance = (0.15 * more.min(1.0 - more)).max(0.01);
        let case = Case::new("", more, Tails::extra(self.hedged), tolerance);
        Law::new(
            "the additional requests are the share of fetches that take longer than the delay of the second",
            "%",
            Disturbed::Either(Resource::Timers),
        )
        .within("15 % of the share: a usual fetch may be held up until its second request is sent")
        .near([case.scaled(100.0)])
        .unless(toss.then(|| {
            "the second request is sent just when the first answer is due: a coin toss".to_string()
        }))
    }

    fn quantiles(&self, overhead: Given) -> Claim {
        let q = 0.95;
        let answers = self.p.answers as f64;
        let cases = self.both().into_iter().filter_map(|(name, times, k, _)| {
            let all = times.slowest_of(OF_EACH as usize);
            // Where the share slower is near 5 %, chance decides the quantile of a trial.
            let settled = all.each().iter().all(|(time, _)| {
                let slower = all.later_than(*time);
                (slower - (1.0 - q)).abs() > 2.5 * (slower * (1.0 - slower) / answers).sqrt()
            });
            let predicted = overhead + all.quantile(q);
            let tolerance = 2.0 * LATE + 0.02 * all.quantile(q);
            let measured = k.and_then(|k| k.latency(q));
            settled.then(|| {
                Case::new(
                    format!("{name} a second request"),
                    predicted,
                    measured,
                    tolerance,
                )
            })
        });
        Law::new(
            "the 95th percentile of an answer is that of the slowest of three, each the faster of two requests",
            "s",
            Disturbed::Longer(Resource::Timers),
        )
        .within("a timer's tick at the server and at the client, and 2 % for the queue of the event loop")
        .near(cases)
    }

    fn table(&self) -> Table {
        let mut table = Table::new(
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
        for (_, times, k, _) in self.both() {
            let share = |gauge: Gauge| cell(k.and_then(|k| k.gauge(gauge)), percent);
            let latency = |q: f64| cell(k.and_then(|k| k.latency(q)), seconds);
            let hedged = times == &self.two;
            table.row([
                if hedged {
                    "a second when late"
                } else {
                    "one request"
                }
                .into(),
                share(SLOW_FETCHES),
                percent(self.slow_fetches(times)),
                share(SLOW_ANSWERS),
                percent(self.slow_answers(times)),
                latency(0.5),
                latency(0.95),
                latency(0.99),
                cell(Tails::extra(k), percent),
            ]);
        }
        table.note = format!(
            "Slow: {} or more. Usual fetches take {}, {} of them {}; a second request after {}.",
            seconds(self.p.slow_from().as_secs_f64()),
            self.p.usual,
            percent(self.p.slow_share),
            seconds(self.p.usual.s() * self.p.slow_factor),
            self.p.hedge_after
        );
        table
    }
}

/// What explaining works with.
struct View<'a> {
    theory: Theory<'a>,
    sources: [Source; 3],
    arms: [Arm<'a>; 4],
    slept: [Arm<'a>; 2],
    failing: [Arm<'a>; 2],
    tails: Tails<'a>,
}

pub(super) fn explain(p: &Params, summary: &Summary) -> Findings {
    let theory = Theory::of(p, summary);
    let view = View {
        sources: p.sources(),
        arms: theory.arms(),
        slept: theory.slept(),
        failing: theory.failing(),
        tails: Tails::of(p, summary),
        theory,
    };
    let tails = &view.tails;
    let still_slow = tails.slow_answers(&tails.two);
    let hedged = tails.hedged.and_then(|k| k.gauge(SLOW_ANSWERS));
    Findings {
        headline: view.headline(),
        figures: [view.arms_figure()]
            .into_iter()
            .chain(view.failing_figure())
            .chain([tail_figure(tails)])
            .collect(),
        tables: vec![view.table(), tails.table()],
        claims: view.claims(),
        answers: vec![
            Answer::near("gain", view.gained(), view.gain().value).scaled(1e3),
            Answer::near("slow", hedged, still_slow).scaled(100.0),
        ],
    }
}

impl View<'_> {
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

    fn claims(&self) -> Vec<Claim> {
        let mut claims = self.times();
        claims.extend([self.overlaps(), self.gains()]);
        claims.extend(self.failures());
        let overhead = self
            .theory
            .summary
            .calibrated(|h| h.request_overhead_ms / 1e3);
        claims.extend([
            self.tails.shares(),
            self.tails.more(),
            self.tails.quantiles(overhead),
        ]);
        claims
    }

    fn times(&self) -> Vec<Claim> {
        let [.., arriving] = &self.arms;
        let claim = |arm: &Arm| {
            let toss = (arm.name == arriving.name)
                .then(|| self.theory.coin())
                .flatten();
            Law::new(arm.law, "s", Disturbed::Longer(Resource::Processors))
                .within(WIDE)
                .near(arm.ends(arm.tolerance()))
                .unless(toss)
        };
        let mut claims: Vec<Claim> = self.arms.iter().map(claim).collect();
        let slept = self.slept.iter().flat_map(|arm| arm.ends(2.0 * LATE));
        claims.push(
            Law::new(
                "with a processor for each source (here inferences that only sleep) two phases take the longest fetch and the longest inference, and inference at arrival the critical path",
                "s",
                Disturbed::Longer(Resource::Timers),
            )
            .within("a timer's tick for the fetch and one for the sleep")
            .near(slept),
        );
        claims
    }

    fn overlaps(&self) -> Claim {
        let [_, phases, _, arriving] = &self.arms;
        let cases = [phases, arriving].map(|arm| {
            let predicted = self.theory.given(arm.course.overlap());
            Case::new(arm.name, predicted, arm.overlap(), LATE + SLICE)
        });
        Law::new(
            "in two phases no inference overlaps any fetch; at arrival they overlap from the first text to the last",
            "s",
            Disturbed::Either(Resource::Processors),
        )
        .within("a timer's tick, and the event loop's wait for a processor")
        .near(cases)
    }

    fn gains(&self) -> Claim {
        let gain = self.gain();
        let tolerance = 2.0 * LATE + SLICE + DRIFT * gain.value.abs();
        Law::new(
            "beginning each inference when its text arrives saves the difference of the two schedules",
            "s",
            Disturbed::Either(Resource::Processors),
        )
        .within("a timer's tick for either, the event loop's wait for a processor, and a tenth of the gain for the processor's clock")
        .near([Case::new("", gain, self.gained(), tolerance)])
        .unless(self.theory.coin())
    }

    /// What becomes of an answer of which one source fails.
    fn failures(&self) -> [Claim; 3] {
        let [nothing, parts] = &self.failing;
        let none_fails = self.failing.iter().all(|arm| arm.condition.is_none());
        let none_fails = none_fails
            .then(|| "no source fails in this run: a target cannot be asked to".to_string());
        let given_up = self.theory.given_up();
        let begun = |(start, _): &&(f64, f64)| *start < given_up;
        let inferences = &parts.course.inferences;
        let wasted: f64 = inferences.iter().filter(begun).map(|(a, b)| b - a).sum();
        let toss = inferences
            .iter()
            .any(|(start, _)| (start - given_up).abs() < 2.0 * LATE);
        let others = (self.sources.len() - 1) as f64;
        let begun_in_time = |t: &Trial| {
            let begun = |(start, _): &&(f64, f64)| *start < t.wall_s + LATE;
            let inferences = course(t).inferences;
            Some(inferences.iter().filter(begun).map(|(a, b)| b - a).sum())
        };
        let claims = [
            Law::counted(
                "when a source fails, join_all delivers the parts of all the others",
                "parts",
            )
            .near([Case::exact(parts.name, others, parts.parts())]),
            Law::new(
                "try_join_all ends with the error, join_all with the schedule of what is left",
                "s",
                Disturbed::Longer(Resource::Processors),
            )
            .within(WIDE)
            .near(self.failing.iter().flat_map(|arm| arm.ends(arm.tolerance()))),
            Law::new(
                "what had begun when try_join_all gave up computes to its end for nobody",
                "s",
                Disturbed::Longer(Resource::Processors),
            )
            .within("a timer's tick, and a tenth of what is computed: a processor's clock changes with load and heat")
            .near([Case::new(
                "",
                self.theory.given(wasted),
                nothing.condition.and_then(|k| k.estimate(begun_in_time)),
                LATE + DRIFT * wasted,
            )])
            .unless((toss && none_fails.is_none()).then(|| {
                "an inference would begin just when the error arrives: a coin toss".into()
            })),
        ];
        claims.map(|claim| claim.unless(none_fails.clone()))
    }

    fn headline(&self) -> String {
        let [sequential, phases, _, arriving] = &self.arms;
        let took = |arm: &Arm| cell(arm.wall(), seconds);
        let slow = |k: Option<Condition>| cell(k.and_then(|k| k.gauge(SLOW_ANSWERS)), percent);
        format!(
            "One after another: {}; all fetches, then all inferences on {}: {}; each inference as its text arrives: {}. With a slow tail {} of the answers are slow, with a second request for late fetches {}, for {} more requests.",
            took(sequential),
            self.theory.of_cores(),
            took(phases),
            took(arriving),
            slow(self.tails.plain),
            slow(self.tails.hedged),
            cell(Tails::extra(self.tails.hedged), percent)
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
        Figure {
            id: "arms".into(),
            title: format!(
                "{} one after another, {} in two phases; each inference as its text arrives: {} on the pool, {} on the event loop",
                sequential.drawn_end(),
                phases.drawn_end(),
                arriving.drawn_end(),
                on_the_loop.drawn_end(),
            ),
            subtitle: format!(
                "{}. {}Hatched: fetching. Grey: the text is there, but the event loop computes. Dashed: theory",
                described(&self.sources),
                self.one_of()
            ),
            desc: "Gantt chart of fetches and inferences of three sources in four arms, from one after another to each as it arrives.".into(),
            body: Body::Gantt(Gantt { groups: self.arms.iter().map(|a| group(a, &self.sources)).collect() }),
        }
    }

    fn failing_figure(&self) -> Option<Figure> {
        let [nothing, parts] = &self.failing;
        nothing.condition.or(parts.condition)?;
        let delivered = |arm: &Arm| arm.drawn().map_or("–".into(), |t| number(t.ok as f64));
        let for_nobody = nothing.drawn().map(|t| course(t).inferred());
        Some(Figure {
            id: "failing".into(),
            title: format!(
                "One source fails: join_all gives {} of 3 parts, try_join_all {} and computes {} for nobody",
                delivered(parts),
                delivered(nothing),
                for_nobody.map_or("–".into(), seconds)
            ),
            subtitle: format!(
                "{} answers 500. {}Hatched: fetching. The line is the answer's end; dashed: theory",
                self.sources[self.theory.p.failing as usize].name,
                self.one_of()
            ),
            desc: "Gantt chart of two arms with a failing source: one ends with the error while inferences go on, the other delivers the two other parts.".into(),
            body: Body::Gantt(Gantt { groups: self.failing.iter().map(|a| group(a, &self.sources)).collect() }),
        })
    }

    fn table(&self) -> Table {
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
        let [sequential, ..] = &self.arms;
        let failing = self.failing.iter().filter(|arm| arm.condition.is_some());
        for arm in self.arms.iter().chain(&self.slept).chain(failing) {
            let against = arm.condition.zip(sequential.condition).and_then(|(a, b)| {
                a.paired(&b, |a, b| (b.wall_s > 0.0).then(|| a.wall_s / b.wall_s))
            });
            table.row([
                arm.name.into(),
                seconds(arm.predicted.value),
                cell(arm.wall(), seconds),
                cell(against, percent),
                cell(arm.overlap(), seconds),
                cell(arm.parts(), number),
            ]);
        }
        let theory = &self.theory;
        let longest = theory.infer.iter().copied().fold(0.0, f64::max);
        table.note = format!(
            "{}. With a processor for each source: two phases {}, each as it arrives {} (the critical path). On one processor: {} and {}.",
            theory.of_cores(),
            seconds(theory.last() + longest),
            seconds(critical_path(&theory.at_arrival())),
            seconds(theory.last() + theory.infer.iter().sum::<f64>()),
            seconds(makespan(&theory.at_arrival(), 1, |_| 1.0)),
        );
        table
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
    let sent = trial.traces.get("answered");
    let at = |source: &Source| {
        let before = sources.iter().filter(|other| other.fetch < source.fetch);
        let count = (before.count() + 1) as f64;
        Some(sent?.iter().find(|(_, sent)| *sent >= count)?.0)
    };
    sources.iter().map(at).collect()
}

/// A fetch, and what it took longer because the event loop was busy when the text came.
fn fetched(
    span: &Span,
    source: &Source,
    answered: Option<f64>,
    begun: f64,
    colour: Colour,
) -> Vec<Bar> {
    let bar = |start: f64, end: f64, label: &str, colour, waiting| Bar {
        start: start - begun,
        end: end - begun,
        label: label.into(),
        colour,
        waiting,
    };
    match answered.filter(|at| *at > span.start_s && span.end_s - at > 2.0 * LATE) {
        Some(at) => vec![
            bar(span.start_s, at, "fetch", colour, true),
            bar(at, span.end_s, "ready, loop is busy", Colour::Muted, false),
        ],
        None => {
            // An upstream that runs elsewhere does not say when it has answered.
            let long = span.end_s - span.start_s > source.fetch.as_secs_f64() + 2.0 * LATE;
            let unseen = answered.is_none() && long;
            let label = if unseen { "fetch, or ready" } else { "fetch" };
            vec![bar(span.start_s, span.end_s, label, colour, true)]
        }
    }
}

/// The trial of median length, a lane for each source.
fn group(arm: &Arm, sources: &[Source]) -> Group {
    let trial = arm.drawn();
    let begun = trial.and_then(|t| t.gauge(BEGUN_S)).unwrap_or_default();
    let colours = [Colour::Blue, Colour::Vermilion, Colour::Green];
    let answered = trial.map_or(vec![None; sources.len()], |t| answered(t, sources));
    let lanes = sources.iter().zip(colours).zip(answered);
    let lanes = lanes.map(|((source, colour), answered)| {
        let spans = trial.map_or(&[][..], |t| &t.spans);
        let bars = |s: &Span| match s.lane.as_str() {
            "fetch" => fetched(s, source, answered, begun, colour),
            _ => vec![Bar {
                start: s.start_s - begun,
                end: s.end_s - begun,
                label: "infer".into(),
                colour,
                waiting: false,
            }],
        };
        let mine = spans.iter().filter(|s| s.name == source.name);
        Lane {
            label: source.name.into(),
            colour,
            bars: mine.flat_map(bars).collect(),
        }
    });
    Group {
        title: arm.name.into(),
        note: arm.note.clone(),
        lanes: lanes.collect(),
        end: trial.map(|t| t.wall_s),
        predicted_end: Some(arm.predicted.value),
    }
}

/// Share of answers that take longer than a time, without and with a second request.
fn tail_figure(tails: &Tails) -> Figure {
    let (p, one, two) = (tails.p, &tails.one, &tails.two);
    let slow = |k: Option<Condition>| cell(k.and_then(|k| k.gauge(SLOW_ANSWERS)), percent);
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
            slow(tails.plain),
            slow(tails.hedged)
        ),
        subtitle: format!(
            "Three fetches of {}, {} of them {}. A second request after {}: {} more requests. Dashed: theory",
            seconds(p.usual.s()),
            percent(p.slow_share),
            seconds(p.usual.s() * p.slow_factor),
            seconds(p.hedge_after.s()),
            cell(Tails::extra(tails.hedged), percent)
        ),
        desc: "Share of answers that take longer than a time, on a logarithmic scale, with one request for each fetch and with a second one for what is late.".into(),
        body: Body::Panels(Panels {
            x: Axis::linear("time of an answer", Unit::Seconds),
            panels: vec![Panel {
                title: "Share of answers that take longer".into(),
                note: "log scale".into(),
                y: Axis::log("", Unit::Share).with_range(least, 1.0),
                layers: vec![
                    theory(one),
                    theory(two),
                    line("one request", Colour::Vermilion, &tails.plain),
                    line("a second when late", Colour::Green, &tails.hedged),
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
        assert_eq!(course.inferred(), 4.5);
        let phases = Course {
            fetches: vec![(0.0, 1.0)],
            inferences: vec![(1.0, 2.0)],
        };
        assert_eq!(phases.overlap(), 0.0);
    }
}
