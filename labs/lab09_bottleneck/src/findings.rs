//! Theory beside measurement for lab09.

use lab_kit::host::Host;
use lab_kit::prelude::*;
use lab_kit::theory::{Run, Usage, amdahl::makespan_equal_jobs, simulate};

use super::{
    Diagnosis, Params, Seen, diagnose,
    gauges::{AT_WORK, BLOCKED_S, BUSY_S, JOBS, MAKESPAN_S, QUEUE_MEAN, REQUEST_S},
    longest,
    plan::{REQUEST, Scenario, Work},
    stages::{Stages, Step},
};

pub(super) fn explain(p: &Params, summary: &Summary) -> Findings {
    let view = View::of(p, summary);
    let pools = Pools::of(p, summary);
    let figures = [
        Some(view.utilisation()),
        view.what_if(),
        view.queues(),
        pools.as_ref().map(Pools::figure),
    ];
    let mut claims = view.claims();
    claims.extend(pools.iter().flat_map(Pools::claims));
    Findings {
        headline: view.headline(),
        figures: figures.into_iter().flatten().collect(),
        tables: vec![view.runs_table(), view.stages_table()],
        claims,
        answers: view.answers(),
    }
}

/// How far two rates must lie apart for a run of one of them to be told from one of the other.
const CLEAR: f64 = 0.1;
/// How far law and simulator must lie apart for a run to be the simulator's and not the law's.
const APART: f64 = 0.01;

/// Stages with what their items take by theory, and what that was made of.
#[derive(Clone)]
struct Expected {
    stages: Stages,
    origin: Origin,
}

impl Expected {
    /// What an item takes here.
    ///
    /// A request costs a little besides its service, and its answer leaves the upstream's one thread
    /// after those that were due at the same instant. A computation takes what the flags say, or what it
    /// took in another run; threads beyond the processors share them.
    fn here(
        stages: &Stages,
        work: Work,
        other: Option<(&Step, Estimate)>,
        summary: &Summary,
    ) -> Expected {
        let host = summary.host();
        let alone = summary.only("request").and_then(|k| k.gauge(REQUEST_S));
        let besides = match alone {
            Some(took) => (Given::from(took) - REQUEST.as_secs_f64()).map(|s| s.max(0.0)),
            None => summary.calibrated(|host| host.request_overhead_ms / 1e3),
        };
        let mut origin = Origin::host().and(besides.origin());
        let mut stages = stages.clone();
        for step in &mut stages.0 {
            let (mean, width) = (step.mean_s(), step.width as f64);
            let takes = match (step.name, work, other) {
                ("process", Work::Sleep, _) => mean,
                ("process", Work::Spin, None) => mean * shared(step.width, host),
                ("process", Work::Spin, Some((other, took))) => {
                    origin = origin.and(took.origin());
                    took.value * shared(step.width, host) / shared(other.width, host)
                }
                _ => mean + besides.value + width / host.upstream_ceiling_per_s.max(1.0),
            };
            step.service = ServiceTime::Constant(Duration::from_secs_f64(takes.clamp(0.0, 1e6)));
        }
        Expected { stages, origin }
    }

    /// The makespan of the law, fill included.
    fn makespan(&self, items: usize) -> Given {
        Given::new(self.stages.pipeline().makespan(items), self.origin)
    }
}

/// How many times as long a computation takes when so many share the processors.
fn shared(width: usize, host: &Host) -> f64 {
    (width as f64 / host.width(width)).max(1.0)
}

/// A run of a pipeline: as it is, or with a stage doubled.
struct Variant<'a> {
    /// "as it is", "fetch doubled".
    name: String,
    /// What the flags say.
    stages: Stages,
    /// The same with what a request and a shared processor cost here.
    plain: Expected,
    /// The same with what a computation took in the pipeline as it is.
    expected: Expected,
    condition: Option<Condition<'a>>,
    /// What the simulator says of a run that was measured.
    simulated: Option<Run>,
    /// Its makespan by flags, requests and processors alone.
    virtually: Option<f64>,
    items: usize,
    queue: usize,
}

/// A stage of a run: what was seen of it, and what theory says.
struct Look<'v> {
    step: &'v Step,
    seen: Option<Seen>,
    /// Items per second that it can pass.
    rate: f64,
    busy: f64,
}

impl Variant<'_> {
    /// The makespan of the law, fill included.
    fn law(&self) -> Given {
        self.expected.makespan(self.items)
    }

    /// A figure that theory arrives at from what is expected here.
    fn told(&self, value: f64) -> Given {
        Given::new(value, self.expected.origin)
    }

    /// The makespan of the simulator.
    fn simulated_s(&self) -> Option<f64> {
        self.simulated.as_ref().map(|run| run.makespan)
    }

    /// Each stage with what the simulator says of it.
    fn usages(&self) -> impl Iterator<Item = (&Step, &Usage)> {
        let usages = self.simulated.iter().flat_map(|run| &run.stations);
        self.stages.0.iter().zip(usages)
    }

    /// How far the simulator's makespan lies from the law's, as a share of it.
    fn apart(&self) -> Option<f64> {
        Some((self.simulated_s()? / self.law().value - 1.0).abs())
    }

    fn makespan(&self) -> Option<Estimate> {
        self.condition?.estimate(makespan)
    }

    fn throughput(&self) -> Option<Estimate> {
        let n = self.items as f64;
        self.condition?.estimate(|t| Some(n / makespan(t)?))
    }

    /// What was seen of the stages: means over the trials.
    fn seen(&self) -> Option<Vec<Seen>> {
        let condition = self.condition?;
        let of = |(i, step): (usize, &Step)| {
            let busy = condition.gauge(BUSY_S.of(step.name))?.value;
            let took = self.makespan()?.value;
            let queue = condition.estimate(|t| mean_queue(t, step.name));
            let length = queue.map_or(0.0, |e| e.value);
            let looks = condition.gauge(AT_WORK.of(step.name));
            let worked = self.items as f64 * busy / (step.width as f64 * took);
            Some(Seen {
                width: step.width,
                service_s: busy,
                // Older records have no looks.
                utilisation: looks.map_or(worked, |e| e.value),
                filling: (i > 0).then(|| length / self.queue as f64),
            })
        };
        self.stages.0.iter().enumerate().map(of).collect()
    }

    fn looks(&self) -> impl Iterator<Item = Look<'_>> {
        let mut seen = self.seen().unwrap_or_default().into_iter();
        let law = self.expected.stages.pipeline();
        let busy = law.utilisation_over(self.items);
        let steps = self.stages.0.iter().zip(law.stages).zip(busy);
        steps.map(move |((step, law), busy)| Look {
            step,
            seen: seen.next(),
            rate: law.rate(),
            busy,
        })
    }

    fn diagnosis(&self) -> Option<Diagnosis> {
        diagnose(&self.seen()?)
    }

    /// "process 88 %".
    fn busiest(&self) -> Option<String> {
        let (seen, stage) = (self.seen()?, self.diagnosis()?.stage);
        let name = self.stages.0[stage].name;
        Some(format!("{name} {:.0} %", 100.0 * seen[stage].utilisation))
    }

    /// The share of its time that a worker of this stage stood still with a finished item.
    fn blocked(&self, step: &Step) -> Option<Estimate> {
        let each = self.items as f64 / step.width as f64;
        let share = |t: &Trial| Some(each * t.gauge(BLOCKED_S.of(step.name))? / makespan(t)?);
        self.condition?.estimate(share)
    }
}

fn makespan(trial: &Trial) -> Option<f64> {
    trial.gauge(MAKESPAN_S).filter(|s| *s > 0.0)
}

/// Mean length of the queue before a stage over the run: a simulator says it, a measured run has
/// written the lengths down.
fn mean_queue(trial: &Trial, stage: &'static str) -> Option<f64> {
    let seen = trial.gauge(QUEUE_MEAN.of(stage));
    seen.or_else(|| written_queue(trial, stage))
}

/// The same by the lengths that were written down.
fn written_queue(trial: &Trial, stage: &'static str) -> Option<f64> {
    let (lengths, took) = (lengths(trial, stage), makespan(trial)?);
    let until = lengths.iter().skip(1).map(|(at, _)| *at).chain([took]);
    let area: f64 = lengths
        .iter()
        .zip(until)
        .map(|((at, length), next)| length * (next.min(took) - at).max(0.0))
        .sum();
    Some(area / took)
}

/// Length of the queue before a stage over time, from the beginning of the run.
fn lengths(trial: &Trial, stage: &str) -> Vec<(f64, f64)> {
    let from = trial.started_s();
    let seen = trial.trace(&format!("{stage}_queue")).iter();
    let seen = seen.map(|(at, length)| ((at - from).max(0.0), *length));
    let mut points: Vec<(f64, f64)> = std::iter::once((0.0, 0.0)).chain(seen).collect();
    // Two workers may write down what they saw in either order.
    points.sort_by(|a, b| a.0.total_cmp(&b.0));
    points
}

/// A pipeline with its runs: as it is, and with each stage doubled in turn.
struct Study<'a> {
    scenario: Scenario,
    /// As it is by the flags and the processors alone: nothing measured decides what a claim is about.
    flags: Stages,
    runs: Vec<Variant<'a>>,
}

impl<'a> Study<'a> {
    fn of(p: &Params, scenario: Scenario, summary: &Summary<'a>) -> Study<'a> {
        let (stages, virtually) = (&scenario.stages, scenario.simulated);
        // What a computation took in the pipeline as it is, for the others.
        let process = stages.0.iter().find(|s| s.name == "process");
        let as_it_is = summary.at(&scenario.series, 0.0);
        let took = process.zip(as_it_is.and_then(|k| k.gauge(BUSY_S.of("process"))));
        let told = |stages: &Stages, other| match virtually {
            true => Expected { stages: stages.clone(), origin: Origin::default() },
            false => Expected::here(stages, scenario.work, other, summary),
        };
        let run = |of: &Expected| {
            let stations = of.stages.stations(p.queue);
            let run = || simulate(&stations, scenario.items, summary.seed());
            (!virtually).then(run).flatten()
        };
        let variant = |(x, stages): (usize, Stages)| {
            let plain = told(&stages, None);
            let expected = told(&stages, took.filter(|_| x > 0));
            Variant {
                name: match x {
                    0 => "as it is".into(),
                    i => format!("{} doubled", stages.0[i - 1].name),
                },
                condition: summary.at(&scenario.series, x as f64),
                simulated: run(&expected),
                virtually: run(&plain).map(|run| run.makespan),
                items: scenario.items,
                queue: p.queue,
                plain,
                expected,
                stages,
            }
        };
        let runs = stages.what_if().into_iter().enumerate();
        let mut flags = stages.clone();
        let computes = scenario.work == Work::Spin && !virtually;
        let computing = flags.0.iter_mut().filter(|s| s.name == "process");
        for step in computing.filter(|_| computes) {
            let takes = step.mean_s() * shared(step.width, summary.host());
            step.service = ServiceTime::Constant(Duration::from_secs_f64(takes));
        }
        Study { flags, runs: runs.map(variant).collect(), scenario }
    }

    fn base(&self) -> &Variant<'a> {
        &self.runs[0]
    }

    /// Its runs with their places.
    fn each(&self) -> impl Iterator<Item = (&Study<'a>, usize, &Variant<'a>)> {
        let runs = self.runs.iter().enumerate();
        runs.map(move |(i, v)| (self, i, v))
    }

    fn step(&self, stage: usize) -> &'static str {
        self.scenario.stages.0[stage].name
    }

    /// The law's bottleneck.
    fn slowest(&self) -> usize {
        self.flags.pipeline().bottleneck().unwrap_or(0)
    }

    /// Is one stage clearly the slowest? Random times blur the question.
    fn clear(&self) -> bool {
        let luck = match self.flags.constant() {
            true => 0.0,
            false => 5.0 / (self.scenario.items as f64).sqrt(),
        };
        self.flags.margin() > CLEAR.max(luck)
    }

    /// What the simulator sees of the stages by the flags; times that are measured are constant.
    fn simulated_seen(&self) -> Option<Vec<Seen>> {
        let queue = self.base().queue;
        let run = simulate(&self.flags.stations(queue), self.scenario.items, 1)?;
        let steps = self.flags.0.iter().zip(&run.stations).enumerate();
        let of = |(i, (step, usage)): (usize, (&Step, &Usage))| Seen {
            width: step.width,
            service_s: step.mean_s(),
            utilisation: usage.utilisation,
            filling: (i > 0).then(|| usage.mean_queue / queue as f64),
        };
        Some(steps.map(of).collect())
    }

    /// Is one stage clearly the slowest, and do the simulator's queues name it clearly? A queue shorter
    /// than the waves of a wide stage may be half full on average, and names nothing.
    fn readable(&self) -> bool {
        let slowest = self.slowest();
        let named = self.simulated_seen().is_some_and(|seen| {
            let from = seen.iter().skip(slowest).filter_map(|s| s.filling);
            let mut clear = from.map(|f| (f - 0.5).abs() > 0.15);
            clear.all(|c| c) && diagnose(&seen).is_some_and(|d| d.by_queues == slowest)
        });
        self.clear() && self.base().condition.is_some() && named
    }

    /// The condition of a run: "CPU-bound, fetch doubled".
    fn case(&self, i: usize) -> String {
        format!("{}, {}", self.scenario.title, self.runs[i].name)
    }

    /// How many times the throughput of the pipeline as it is.
    fn gain(&self, i: usize) -> Option<Estimate> {
        let (base, wider) = (self.base().condition?, self.runs[i].condition?);
        base.paired(&wider, |base, wider| Some(makespan(base)? / makespan(wider)?))
    }

    fn expected_gain(&self, i: usize) -> Given {
        let of = |v: &Variant| v.plain.makespan(v.items);
        of(self.base()) / of(&self.runs[i])
    }

    fn simulated_gain(&self, i: usize) -> Option<f64> {
        Some(self.base().virtually? / self.runs[i].virtually?)
    }

    /// The claim's condition that a run gains what theory says.
    fn gains(&self, name: String, i: usize, measured: Option<Estimate>) -> Case {
        Case::share(name, self.expected_gain(i), measured, 0.05)
    }

    /// The stage that was seen to be the busiest.
    fn busiest(&self) -> Option<usize> {
        self.base().diagnosis().map(|d| d.stage)
    }

    /// What doubling it brings.
    fn best(&self) -> Option<Estimate> {
        self.gain(self.busiest()? + 1)
    }

    /// The trial that is drawn, of the pipeline as it is.
    fn drawn(&self) -> Option<&'a Trial> {
        self.base().condition?.typical(|t| t.wall_s)
    }

    /// A bar, outlined where it is simulated, and with what counts in another colour than the rest.
    fn bar(&self, label: &str, counts: bool, value: f64) -> ValueBar {
        let colour = match counts {
            true => Colour::Vermilion,
            false => Colour::Blue,
        };
        match self.scenario.simulated {
            true => ValueBar::simulated(label, colour, value),
            false => ValueBar::measured(label, colour, value),
        }
    }

    fn bars(&self, bars: impl IntoIterator<Item = ValueBar>) -> BarGroup {
        let s = &self.scenario;
        BarGroup::new(&s.title, bars).note(format!("{} items", s.items))
    }
}

/// The pipelines.
struct View<'a> {
    p: &'a Params,
    studies: Vec<Study<'a>>,
    cores: usize,
}

impl<'a> View<'a> {
    fn of(p: &'a Params, summary: &Summary<'a>) -> View<'a> {
        let scenarios = p.scenarios().into_iter();
        View {
            p,
            studies: scenarios.map(|s| Study::of(p, s, summary)).collect(),
            cores: summary.host().cores,
        }
    }

    fn measured(&self) -> impl Iterator<Item = &Study<'a>> {
        self.studies.iter().filter(|s| !s.scenario.simulated)
    }

    /// All runs that were measured, with their studies and places.
    fn runs(&self) -> impl Iterator<Item = (&Study<'a>, usize, &Variant<'a>)> {
        let all = self.measured().flat_map(Study::each);
        all.filter(|(.., v)| v.condition.is_some())
    }

    /// The runs as they are, with the titles of their pipelines.
    fn bases(&self) -> impl Iterator<Item = (&str, &Variant<'a>)> {
        let bases = self.runs().filter(|(_, i, _)| *i == 0);
        bases.map(|(s, _, v)| (s.scenario.title.as_str(), v))
    }

    /// In how many pipelines the longest average time belongs to another stage than the busiest.
    fn misled(&self) -> usize {
        let seen = self.studies.iter().filter_map(|s| s.base().seen());
        seen.filter(|seen| longest(seen) != diagnose(seen).map(|d| d.stage)).count()
    }
}

/// The claims and the answers.
impl View<'_> {
    fn claims(&self) -> Vec<Claim> {
        let [by_law, virtually] = self.makespans();
        let open = self.too_short().or_else(|| self.crowded());
        let claims = [
            by_law,
            virtually,
            self.pointing(),
            self.widening(),
            self.at_work(),
            self.waiting(),
            self.standing_still(),
        ];
        let claims = claims.map(|claim| claim.unless(open.clone()));
        claims.into_iter().chain([self.bounds()]).collect()
    }

    /// How long each pipeline takes: by the law, and by the simulator where that says something else.
    fn makespans(&self) -> [Claim; 2] {
        let apart = |v: &Variant| v.apart().is_some_and(|share| share > APART);
        let by_law = self.runs().filter(|(.., v)| !apart(v));
        let by_law = by_law.map(|(s, i, v)| Case::share(s.case(i), v.law(), v.makespan(), 0.05));
        let virtually = self.runs().filter(|(.., v)| apart(v));
        let virtually = virtually.filter_map(|(s, i, v)| {
            let told = v.told(v.simulated_s()?);
            Some(Case::share(s.case(i), told, v.makespan(), 0.03))
        });
        let law = |text: &str| Law::new(text, "s", Disturbed::Longer(Resource::Processors));
        [
            law("n items take the fill and then n over the lowest w/s")
                .within("5 %: requests take some processor time from what computes, and a processor's clock changes with load and heat")
                .near(by_law),
            law("where queues are short or times vary, the simulator says how long a pipeline takes, and the law does not")
                .within("3 %: requests take some processor time from what computes")
                .near(virtually),
        ]
    }

    /// The queues of a run name a stage: what does doubling that one bring?
    fn pointing(&self) -> Claim {
        let cases = self.measured().filter(|s| s.readable()).map(|s| {
            let named = s.base().diagnosis().map(|d| d.by_queues);
            let gain = named.and_then(|stage| s.gain(stage + 1));
            s.gains(s.scenario.title.clone(), s.slowest() + 1, gain)
        });
        law("the stage that a run's queues name, the last one with a full queue before it, is the one to double: that moves the minimum of w/s up to the next stage", "times the throughput")
            .within("5 %: requests take some processor time from what computes, and more of it the faster the pipeline")
            .near(cases)
    }

    /// Doubling the stages that their queues do not name.
    fn widening(&self) -> Claim {
        let others = self.runs().filter(|(s, i, _)| *i > 0 && *i != s.slowest() + 1);
        law("doubling a stage that is not the bottleneck changes nothing", "times the throughput")
            .within("5 %: a processor's clock changes with load and heat")
            .near(others.map(|(s, i, _)| s.gains(s.case(i), i, s.gain(i))))
    }

    fn at_work(&self) -> Claim {
        let cases = self.bases().flat_map(|(title, v)| {
            v.looks().map(move |look| {
                let name = look.step.name;
                let looks = v.condition.and_then(|k| k.gauge(AT_WORK.of(name)));
                let within = 5_f64.min(15.0 * look.busy);
                let told = v.told(100.0 * look.busy);
                let looks = looks.map(|e| e.scaled(100.0));
                Case::new(format!("{title}, {name}"), told, looks, within)
            })
        });
        law("each stage is seen at work for λ·s/w of the time, at looks that know no clock of its workers", "% of the looks")
            .within("5 points, or 15 % of a small share: requests take some processor time from what computes")
            .near(cases)
    }

    /// As somebody saw it who looked now and then, and as those wrote down who put in and took out.
    fn waiting(&self) -> Claim {
        let cases = self.bases().flat_map(|(title, v)| {
            v.usages().skip(1).flat_map(move |(step, usage)| {
                let within = (0.05 * usage.mean_queue).max(0.05);
                let case = |name, length: fn(&Trial, &'static str) -> Option<f64>| {
                    let length = v.condition.and_then(|k| k.estimate(|t| length(t, step.name)));
                    Case::new(name, v.told(usage.mean_queue), length, within)
                };
                let before = format!("{title}, before {}", step.name);
                let written = format!("{before}, as written down");
                [case(before, mean_queue), case(written, written_queue)]
            })
        });
        law("the simulator says how many items wait before each stage on average", "items")
            .within("5 %, or a twentieth of an item: of what happens at one instant either may be seen first")
            .near(cases)
    }

    fn standing_still(&self) -> Claim {
        let cases = self.bases().flat_map(|(title, v)| {
            // What should never stand still has no share to be told from none.
            let some = v.usages().filter(|(_, usage)| usage.blocked_share > 0.04);
            some.map(move |(step, usage)| {
                let share = v.blocked(step).map(|e| e.scaled(100.0));
                let told = v.told(100.0 * usage.blocked_share);
                let within = (10.0 * usage.blocked_share).max(2.0);
                Case::new(format!("{title}, {}", step.name), told, share, within)
            })
        });
        law("workers before the bottleneck stand still, holding a finished item, for the share of the time that the simulator says", "% of the time")
            .within("10 %, or two points: what a step takes too long before, it does not stand still")
            .near(cases)
    }

    /// What was only simulated cannot beat the law.
    fn bounds(&self) -> Claim {
        let simulated = self.studies.iter();
        let simulated = simulated.filter(|s| s.scenario.simulated && s.scenario.stages.constant());
        let cases = simulated
            .flat_map(Study::each)
            .map(|(s, i, v)| Case::exact(s.case(i), v.law(), v.makespan()));
        Law::counted("short queues may cost time and never save any: no simulated pipeline is faster than the law", "s")
            .books()
            .at_least(cases)
    }

    /// Why times cannot be met closely: timers tick in milliseconds, and threads need some time to
    /// begin.
    fn too_short(&self) -> Option<String> {
        let least = |of: fn(&Variant) -> f64| {
            let runs = self.measured().flat_map(|s| &s.runs);
            runs.map(of).fold(f64::INFINITY, f64::min)
        };
        let shortest = least(|v| v.stages.pipeline().makespan(v.items));
        let quickest = least(|v| {
            let slowest = v.stages.pipeline().bottleneck().unwrap_or(0);
            v.stages.0[slowest].mean_s()
        });
        match (seconds(shortest), seconds(quickest)) {
            (run, _) if shortest < 0.1 => {
                Some(format!("a run of {run} is too short to be timed: more --items"))
            }
            (_, stage) if quickest < 0.01 => {
                Some(format!("a stage of {stage} is too short to be timed: 10 ms or more"))
            }
            _ => None,
        }
    }

    /// Why one time does not stand for all items: computations that share processors end sooner when
    /// fewer of them are under way.
    fn crowded(&self) -> Option<String> {
        let computing = self.measured().filter(|s| s.scenario.work == Work::Spin);
        let steps = computing.flat_map(|s| s.runs.iter().flat_map(|v| &v.stages.0));
        let process = steps.filter(|s| s.name == "process");
        let (widest, cores) = (process.map(|s| s.width).max()?, self.cores);
        (widest > cores).then(|| {
            format!("{widest} threads compute on {cores} processors: how long an item takes depends on how many do at the moment")
        })
    }

    fn answers(&self) -> Vec<Answer> {
        let storage = self.studies.iter().find(|s| s.scenario.series == "storage");
        let answer = |key, doubled: usize| {
            let predicted = storage.map_or(f64::NAN, |s| s.expected_gain(doubled).value);
            Answer::near(key, storage.and_then(|s| s.gain(doubled)), predicted)
        };
        vec![answer("fetch", 1), answer("store", 3)]
    }
}

fn law(text: &str, unit: &'static str) -> Law {
    Law::new(text, unit, Disturbed::Either(Resource::Processors))
}

/// The headline and the charts.
impl View<'_> {
    fn headline(&self) -> String {
        if let [only] = &self.studies[..] {
            return held_back(only);
        }
        if let (Some(_), [long, short]) = (self.p.problem, &self.studies[..]) {
            let short = short.base();
            return format!(
                "{} The same with shorter times, measured: {}, where the simulator says {}.",
                held_back(long),
                cell(short.makespan(), seconds),
                seconds(short.simulated_s().unwrap_or(f64::NAN)),
            );
        }
        let studies = self.studies.iter();
        let best: Vec<String> = studies.map(|s| cell(s.best(), times)).collect();
        let others = self.studies.iter().flat_map(|s| {
            let busiest = s.busiest().map(|stage| stage + 1);
            let others = (1..s.runs.len()).filter(move |i| Some(*i) != busiest);
            others.filter_map(|i| Some(s.gain(i)?.value))
        });
        format!(
            "Doubling the busiest stage gives {} times the throughput; doubling any other at most {}. The stage with the longest average time is the wrong one in {} of {} pipelines.",
            list(&best),
            times(others.fold(f64::NAN, f64::max)),
            self.misled(),
            self.studies.len()
        )
    }

    fn utilisation(&self) -> Figure {
        let group = |s: &Study| {
            let busiest = s.busiest();
            let bar = |(i, look): (usize, Look)| {
                let value = look.seen.map_or(f64::NAN, |s| s.utilisation);
                s.bar(&described(look.step), busiest == Some(i), value).with_theory(look.busy)
            };
            s.bars(s.base().looks().enumerate().map(bar))
        };
        let title = match &self.studies[..] {
            [only] | [only, _] => format!(
                "The busiest stage is the bottleneck: {}",
                only.base().busiest().unwrap_or_default()
            ),
            all => format!(
                "The busiest stage is the bottleneck; the longest one is not in {} of {}",
                self.misled(),
                all.len()
            ),
        };
        let outlined = match self.studies.iter().any(|s| s.scenario.simulated) {
            true => ". Outlined: simulated",
            false => "",
        };
        Figure::new("utilisation", title)
            .subtitle(format!("Share of their time in which a stage's workers work, fill and drain included. Dashed: theory{outlined}"))
            .desc("Bars of the utilisation of each stage of each pipeline, the bottleneck's the longest.")
            .bars(Axis::linear("busy", Unit::Share).with_range(0.0, 1.0), self.studies.iter().map(group))
    }

    fn what_if(&self) -> Option<Figure> {
        let gains = |s: &Study| -> Vec<(usize, Estimate)> {
            let doubled = 1..s.runs.len();
            doubled.filter_map(|i| Some((i, s.gain(i)?))).collect()
        };
        let bars = |s: &Study| {
            let bars = gains(s).into_iter().flat_map(|(i, gain)| {
                let bar = s.bar(&s.runs[i].name, i == s.slowest() + 1, gain.value);
                let simulated = s.simulated_gain(i);
                let simulated = simulated.map(|g| ValueBar::simulated("", bar.colour, g));
                let bar = bar.with_interval(gain.ci95);
                let bar = bar.with_theory(s.expected_gain(i).value);
                std::iter::once(bar).chain(simulated)
            });
            s.bars(bars)
        };
        let groups = self.studies.iter().map(bars);
        let groups: Vec<BarGroup> = groups.filter(|g| !g.bars.is_empty()).collect();
        let all = self.studies.iter().flat_map(|s| {
            let slowest = s.slowest() + 1;
            let gains = gains(s).into_iter();
            gains.map(move |(i, gain)| (i == slowest, gain.value))
        });
        let (helps, rest): (Vec<_>, Vec<_>) = all.partition(|(helps, _)| *helps);
        let helps: Vec<String> = helps.into_iter().map(|(_, gain)| times(gain)).collect();
        let rest = rest.into_iter().map(|(_, gain)| gain);
        let title = format!(
            "Doubling the bottleneck: {} times the throughput; any other stage: {} at most",
            list(&helps),
            times(rest.fold(f64::NAN, f64::max))
        );
        (!groups.is_empty()).then(|| Figure::new("what-if", title)
            .subtitle("Throughput with one stage doubled, over that of the pipeline as it is. Dashed: theory. Outlined: simulated")
            .desc("Bars of the gain in throughput from doubling each stage in turn, measured, by theory and simulated.")
            .bars(Axis::linear("times the throughput", Unit::Factor), groups))
    }

    fn queues(&self) -> Option<Figure> {
        let places = self.p.queue as f64;
        let panel = |s: &Study| {
            let trial = s.drawn()?;
            let line = |stage: &str, colour| {
                let steps = staircase(&lengths(trial, stage), makespan(trial).unwrap_or(0.0));
                Line::trace(&format!("before {stage}"), colour, steps)
            };
            let stages: Vec<String> = s.scenario.stages.0.iter().map(described).collect();
            let length = Axis::linear("", Unit::Number).with_range(0.0, places * 1.1);
            let panel = Panel::new(&s.scenario.title, length)
                .note(list(&stages))
                .layer(Layer::rule(places, ""))
                .layer(line("process", Colour::Purple))
                .layer(line("store", Colour::Green));
            Some(panel.height(0.8))
        };
        let panels: Vec<Panel> = self.measured().filter_map(panel).collect();
        let title = self.measured().find_map(|s| self.before_and_behind(s));
        let title = title.unwrap_or("Before the first stage nothing has to wait".into());
        (!panels.is_empty()).then(|| Figure::new("queues", title)
            .subtitle(format!("Items waiting over time; each queue has {} places (rule). The trial of median length of each", self.p.queue))
            .desc("Length of the two queues over time for each pipeline: the ones before the bottleneck full, the ones behind it empty.")
            .over(Axis::linear("time since the start", Unit::Seconds), panels))
    }

    /// How full the queues next to the bottleneck are, in the trial that is drawn; none where there is no queue
    /// before it.
    fn before_and_behind(&self, s: &Study) -> Option<String> {
        let (stage, trial) = (s.slowest(), s.drawn()?);
        let filling = |at: usize| {
            let name = s.scenario.stages.0.get(at)?.name;
            let length = mean_queue(trial, name)? / self.p.queue as f64;
            Some(format!("before {name} {:.0} %", 100.0 * length))
        };
        let before = (stage > 0).then(|| filling(stage)).flatten()?;
        let behind = filling(stage + 1).map(|text| format!(", {text}"));
        Some(format!(
            "{}, held back by {}: the queue {before} full{}",
            s.scenario.title,
            s.step(stage),
            behind.unwrap_or_default()
        ))
    }
}

/// What holds a pipeline back, and what doubling that brings.
fn held_back(s: &Study) -> String {
    let base = s.base();
    format!(
        "{} items take {} ({}/s): {} holds them back{}, and doubling it gives {} times the throughput.",
        base.items,
        cell(base.makespan(), seconds),
        cell(base.throughput(), number),
        s.busiest().map_or("–", |stage| s.step(stage)),
        if s.clear() { "" } else { ", by a hair" },
        cell(s.best(), times)
    )
}

/// A gain: "1.83", and "1.002" where two digits would hide it.
fn times(gain: f64) -> String {
    match (gain - 1.0).abs() {
        near if near < 0.01 => format!("{gain:.3}"),
        _ => number(gain),
    }
}

/// "2, 1.9 and 1.5".
fn list(texts: &[String]) -> String {
    match texts.split_last() {
        Some((last, rest)) if !rest.is_empty() => format!("{} and {last}", rest.join(", ")),
        _ => texts.concat(),
    }
}

/// "fetch: 2 × 30 ms".
fn described(step: &Step) -> String {
    let time = match &step.service {
        ServiceTime::Constant(time) => seconds(time.as_secs_f64()),
        random => random.to_string(),
    };
    format!("{}: {} × {time}", step.name, step.width)
}

/// A length holds until the next one is seen.
fn staircase(points: &[(f64, f64)], end: f64) -> Vec<(f64, f64)> {
    let next = points.iter().skip(1).map(|(at, _)| *at).chain([end]);
    points
        .iter()
        .zip(next)
        .flat_map(|((at, length), next)| [(*at, *length), (next.max(*at), *length)])
        .collect()
}

/// The tables.
impl View<'_> {
    fn runs_table(&self) -> Table {
        let name = |v: &Variant, stage: usize| v.stages.0[stage].name.to_string();
        let runs = self.studies.iter().flat_map(Study::each);
        Table::of("What doubling a stage gives", runs)
            .column("pipeline", |(s, ..)| s.scenario.title.clone())
            .column("run", |(.., v)| v.name.clone())
            .cells("time", seconds, |(.., v)| v.makespan())
            .column("law", |(.., v)| seconds(v.law().value))
            .column("simulator", |(.., v)| seconds(v.simulated_s().unwrap_or(f64::NAN)))
            .cells("items/s", number, |(.., v)| v.throughput())
            .cells("gain", times, |(s, i, _)| s.gain(*i))
            .column("law", |(s, i, _)| times(s.expected_gain(*i).value))
            .column("busiest stage", |(.., v)| v.busiest().unwrap_or("–".into()))
            .column("by queues", |(.., v)| {
                v.diagnosis().map_or("–".into(), |d| name(v, d.by_queues))
            })
            .note(self.of_the_simulator())
    }

    fn of_the_simulator(&self) -> String {
        if let Some(s) = self.studies.iter().find(|s| s.scenario.simulated) {
            let trial = s.base().condition.and_then(|k| k.trials().first());
            return format!(
                "Simulated in virtual time, not measured: {}, answered in {}.",
                s.scenario.stages,
                seconds(trial.map_or(f64::NAN, |t| t.wall_s))
            );
        }
        let runs = self.studies.iter().flat_map(|s| &s.runs);
        let apart = runs.filter_map(Variant::apart).fold(0.0, f64::max);
        format!(
            "Law and simulator know what a request costs here besides its service, and of a doubled pipeline how long process computed in the one as it is. They lie {} apart at most: times are equal here, and queues are long enough.",
            percent(apart)
        )
    }

    fn stages_table(&self) -> Table {
        let stages = self.studies.iter().flat_map(|s| {
            let base = s.base();
            base.looks().map(move |look| (&s.scenario.title, base, look))
        });
        let seen = |look: &Look, of: fn(&Seen) -> Option<f64>| {
            look.seen.as_ref().and_then(of).unwrap_or(f64::NAN)
        };
        Table::of("The stages of each pipeline as it is", stages)
            .column("pipeline", |(title, ..)| title.to_string())
            .column("stage", |(.., look)| look.step.name.to_string())
            .column("width", |(.., look)| look.step.width.to_string())
            .column("time of an item", |(.., look)| seconds(seen(look, |s| Some(s.service_s))))
            .column("w/s", |(.., look)| number(look.rate))
            .column("busy", |(.., look)| percent(seen(look, |s| Some(s.utilisation))))
            .column("theory", |(.., look)| percent(look.busy))
            .cells("stood still", percent, |(_, base, look)| base.blocked(look.step))
            .column("queue before, full to", |(.., look)| percent(seen(look, |s| s.filling)))
            .note("Stood still: holding a finished item, because the next queue was full. In one run the busy shares of stages are to each other as their s/w, whatever holds it back: that the busiest has the lowest w/s is arithmetic. Where items wait, who stands still and what doubling brings is not.")
    }
}

/// The process stage by itself: as many threads as processors, and twice as many.
struct Pool<'a> {
    /// It computes; otherwise it waits for a computation elsewhere.
    spins: bool,
    /// Of a job, in seconds.
    cost: f64,
    /// So many, by as many threads as processors.
    jobs: f64,
    host: &'a Host,
    few: Condition<'a>,
    many: Condition<'a>,
}

impl<'a> Pool<'a> {
    fn of(p: &Params, summary: &Summary<'a>, series: &str, spins: bool) -> Option<Pool<'a>> {
        let [few, many] = summary.series(series)[..] else {
            return None;
        };
        let (cost, each) = p.pools();
        Some(Pool {
            spins,
            cost: cost.as_secs_f64(),
            jobs: each as f64 * few.x(),
            host: summary.host(),
            few,
            many,
        })
    }

    /// Jobs per second of so many.
    fn law(&self, jobs: f64, threads: f64) -> f64 {
        let threads = threads as usize;
        let width = match self.spins {
            true => self.host.width(threads),
            false => threads as f64,
        };
        jobs / makespan_equal_jobs(jobs as usize, self.cost, threads, width)
    }

    /// How many times the jobs many threads do; none where some trial computed that should wait, or waited that
    /// should compute.
    fn gain(&self) -> Option<Estimate> {
        // The operating system counts in ticks of a hundredth of a second.
        let so = |t: &Trial| {
            let had = t.gauge(gauge::PROCESS_CPU_SHARE)? * self.host.cores as f64 * t.wall_s;
            let half = t.gauge(JOBS)? * self.cost / 2.0;
            Some(match self.spins {
                true => had + 0.02 > half,
                false => had - 0.02 < half,
            })
        };
        let mut trials = self.few.trials().iter().chain(self.many.trials());
        let all = trials.all(|t| so(t).unwrap_or(true));
        // Of the same round: how fast the processors were falls out.
        let per_s = |t: &Trial| Some(t.gauge(JOBS)? / t.wall_s);
        let gain = self.many.paired(&self.few, |many, few| Some(per_s(many)? / per_s(few)?));
        gain.filter(|_| all)
    }

    fn case(&self) -> Case {
        let told = self.law(self.jobs, self.many.x()) / self.law(self.jobs, self.few.x());
        let told = match self.spins {
            true => Given::new(told, Origin::host()),
            false => told.into(),
        };
        Case::share("", told, self.gain(), 0.1)
    }

    fn bars(&self, label: &str, colour: Colour) -> BarGroup {
        let bars = [&self.few, &self.many].map(|k| {
            let done = k.gauge(JOBS).map_or(f64::NAN, |e| e.value);
            let rate = k.estimate(|t| Some(done / t.wall_s));
            let value = rate.map_or(f64::NAN, |e| e.value);
            ValueBar::measured(&format!("{} threads", k.x()), colour, value)
                .with_interval(rate.and_then(|e| e.ci95))
                .with_theory(self.law(done, k.x()))
        });
        BarGroup::new(label, bars).note(format!("{} a job", seconds(self.cost)))
    }
}

/// What threads beyond the processors are good for, when their work waits and when it computes.
struct Pools<'a> {
    computing: Pool<'a>,
    waiting: Pool<'a>,
}

impl<'a> Pools<'a> {
    fn of(p: &Params, summary: &Summary<'a>) -> Option<Pools<'a>> {
        Some(Pools {
            computing: Pool::of(p, summary, "pool/spin", true)?,
            waiting: Pool::of(p, summary, "pool/sleep", false)?,
        })
    }

    fn claims(&self) -> [Claim; 2] {
        let cost = self.waiting.cost;
        let short =
            (cost < 2e-3).then(|| format!("jobs of {} are too short to be timed", seconds(cost)));
        let law = |text: &str, resource| Law::new(text, "times", Disturbed::Either(resource));
        let claims = [
            law("twice as many threads as processors double the work done when it waits", Resource::Timers)
                .within("10 %: jobs of a few milliseconds begin and end late by a part of one")
                .near([self.waiting.case()]),
            law("twice as many threads as processors add nothing when they compute", Resource::Processors)
                .within("10 %: a thread late by a slice of the scheduler shows in some tens of milliseconds")
                .near([self.computing.case()]),
        ];
        claims.map(|claim| claim.unless(short.clone()))
    }

    fn figure(&self) -> Figure {
        let title = format!(
            "Twice as many threads as processors: {} times the work when it waits, {} when it computes",
            cell(self.waiting.gain(), number),
            cell(self.computing.gain(), number)
        );
        Figure::new("pool", title)
            .subtitle(format!("Jobs per second of the process stage by itself, {} processors. Dashed: theory", self.waiting.host.cores))
            .desc("Bars of jobs per second for as many threads as processors and twice as many, computing and sleeping.")
            .bars(Axis::linear("jobs per second", Unit::Number), [
                self.computing.bars("Computing", Colour::Vermilion),
                self.waiting.bars("Waiting for a computation elsewhere", Colour::Purple),
            ])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_mean_of_a_queue_is_weighted_by_time() {
        let mut trial = Trial::default();
        trial.gauges.insert(MAKESPAN_S.to_string(), 10.0);
        trial.gauges.insert(gauge::STARTED_S.to_string(), 1.0);
        // Empty for 2 s, four for 5 s, one for the rest; written down out of order.
        let seen = vec![(8.0, 1.0), (3.0, 4.0)];
        trial.traces.insert("store_queue".into(), seen);
        assert!((mean_queue(&trial, "store").unwrap() - 2.3).abs() < 1e-12);
        let mean = QUEUE_MEAN.of("store").to_string();
        trial.gauges.insert(mean, 0.5);
        assert_eq!(mean_queue(&trial, "store"), Some(0.5));
        assert_eq!(mean_queue(&Trial::default(), "store"), None);
    }

    #[test]
    fn a_staircase_holds_each_length_until_the_next() {
        let steps = staircase(&[(0.0, 0.0), (1.0, 3.0)], 2.0);
        assert_eq!(steps, [(0.0, 0.0), (1.0, 0.0), (1.0, 3.0), (2.0, 3.0)]);
    }
}
