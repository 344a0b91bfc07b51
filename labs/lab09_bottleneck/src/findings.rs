//! Theory beside measurement for lab09.

use lab_kit::prelude::*;
use lab_kit::theory::{Run, Usage, amdahl::makespan_equal_jobs, simulate};

use super::{
    Diagnosis, Params, Seen, diagnose,
    gauges::{AT_WORK, BLOCKED_S, BUSY_S, JOBS, MAKESPAN_S, QUEUE_MEAN, REQUEST_S},
    longest,
    plan::{REQUEST, Scenario, Work},
    stages::{Stages, Step},
};

/// How far two rates must lie apart for a run of one of them to be told from one of the other.
const CLEAR: f64 = 0.1;
/// How far law and simulator must lie apart for a run to be the simulator's and not the law's.
const APART: f64 = 0.01;

/// A pipeline with its runs: as it is, and with each stage doubled in turn.
struct Study<'a> {
    scenario: Scenario,
    /// As it is by the flags and the processors alone: nothing measured decides what a claim is about.
    flags: Stages,
    runs: Vec<Variant<'a>>,
}

/// One of them.
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

impl Study<'_> {
    fn base(&self) -> &Variant<'_> {
        &self.runs[0]
    }

    /// The law's bottleneck.
    fn slowest(&self) -> usize {
        self.flags.pipeline().bottleneck().unwrap_or(0)
    }

    /// Is one stage clearly the slowest? Random times blur the question.
    fn clear(&self) -> bool {
        let luck = if self.flags.constant() {
            0.0
        } else {
            5.0 / (self.scenario.items as f64).sqrt()
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

    fn gain(&self, i: usize) -> Option<Estimate> {
        let (base, wider) = (self.base().condition?, self.runs[i].condition?);
        base.paired(&wider, |base, wider| {
            Some(makespan(base)? / makespan(wider)?)
        })
    }

    fn expected_gain(&self, i: usize) -> Given {
        let of = |v: &Variant| v.plain.makespan(v.items);
        of(self.base()) / of(&self.runs[i])
    }

    /// The condition of a run: "CPU-bound, fetch doubled".
    fn case(&self, i: usize) -> String {
        format!("{}, {}", self.scenario.title, self.runs[i].name)
    }

    fn simulated_gain(&self, i: usize) -> Option<f64> {
        Some(self.base().virtually? / self.runs[i].virtually?)
    }
}

fn makespan(trial: &Trial) -> Option<f64> {
    trial.gauge(MAKESPAN_S).filter(|s| *s > 0.0)
}

/// Stages with what their items take by theory, and what that was made of.
#[derive(Clone)]
struct Expected {
    stages: Stages,
    origin: Origin,
}

impl Expected {
    /// The makespan of the law, fill included.
    fn makespan(&self, items: usize) -> Given {
        Given::new(self.stages.pipeline().makespan(items), self.origin)
    }
}

impl Variant<'_> {
    /// The makespan of the law, fill included.
    fn law(&self) -> Given {
        self.expected.makespan(self.items)
    }

    /// How far the simulator's makespan lies from the law's, as a share of it.
    fn apart(&self) -> Option<f64> {
        Some((self.simulated.as_ref()?.makespan / self.law().value - 1.0).abs())
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
            let queue = |t: &Trial| mean_queue(t, step.name);
            let length = condition.estimate(queue).map_or(0.0, |e| e.value);
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

    fn diagnosis(&self) -> Option<Diagnosis> {
        diagnose(&self.seen()?)
    }

    /// The share of its time that a worker of this stage stood still with a finished item.
    fn blocked(&self, step: &Step) -> Option<Estimate> {
        let each = self.items as f64 / step.width as f64;
        let share = |t: &Trial| Some(each * t.gauge(BLOCKED_S.of(step.name))? / makespan(t)?);
        self.condition?.estimate(share)
    }
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
    let trace = trial.traces.get(&format!("{stage}_queue"));
    let seen = trace.into_iter().flatten();
    let mut points: Vec<(f64, f64)> = std::iter::once((0.0, 0.0))
        .chain(seen.map(|(at, length)| ((at - from).max(0.0), *length)))
        .collect();
    // Two workers may write down what they saw in either order.
    points.sort_by(|a, b| a.0.total_cmp(&b.0));
    points
}

/// How many times as long a computation takes when so many share the processors.
fn shared(width: usize, summary: &Summary) -> f64 {
    (width as f64 / summary.host().width(width)).max(1.0)
}

/// What an item takes here.
///
/// A request costs a little besides its service, and its answer leaves the upstream's one thread
/// after those that were due at the same instant. A computation takes what the flags say, or what it
/// took in another run; threads beyond the processors share them.
fn expected(
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
    let share = |width: usize| shared(width, summary);
    let mut expected = stages.clone();
    for step in &mut expected.0 {
        let (mean, width) = (step.mean_s(), step.width as f64);
        let takes = match (step.name, work, other) {
            ("process", Work::Sleep, _) => mean,
            ("process", Work::Spin, None) => mean * share(step.width),
            ("process", Work::Spin, Some((other, took))) => {
                origin = origin.and(took.origin());
                took.value * share(step.width) / share(other.width)
            }
            _ => mean + besides.value + width / host.upstream_ceiling_per_s.max(1.0),
        };
        step.service = ServiceTime::Constant(Duration::from_secs_f64(takes.clamp(0.0, 1e6)));
    }
    Expected {
        stages: expected,
        origin,
    }
}

pub(super) fn explain(p: &Params, summary: &Summary) -> Findings {
    let studies: Vec<Study> = p
        .scenarios()
        .into_iter()
        .map(|s| study(p, s, summary))
        .collect();
    let measured: Vec<&Study> = studies.iter().filter(|s| !s.scenario.simulated).collect();

    let open = undecidable(&measured, summary.host().cores);
    let claims = [
        makespans(&measured),
        pointing(&measured).into(),
        widening(&measured).into(),
        seen_of_stages(&measured),
    ];
    let claims = claims.into_iter().flatten();
    let mut claims: Vec<Claim> = claims.map(|claim| claim.unless(open.clone())).collect();
    claims.push(bounds(&studies));
    let mut figures = vec![utilisation(&studies)];
    figures.extend(what_if(&studies));
    figures.extend(queues(p, &measured));
    let pools = pools(p, summary);
    if let Some((about, figure)) = pools {
        claims.extend(about);
        figures.push(figure);
    }

    let storage = studies.iter().find(|s| s.scenario.series == "storage");
    let answer = |key, doubled: usize| {
        let predicted = storage.map_or(f64::NAN, |s| s.expected_gain(doubled).value);
        Answer::near(key, storage.and_then(|s| s.gain(doubled)), predicted)
    };
    let answers = vec![answer("fetch", 1), answer("store", 3)];
    Findings {
        headline: headline(p, &studies),
        figures,
        tables: vec![runs(&studies), stages(&studies)],
        claims,
        answers,
    }
}

fn study<'a>(p: &Params, scenario: Scenario, summary: &Summary<'a>) -> Study<'a> {
    // What a computation took in the pipeline as it is, for the others.
    let process = scenario.stages.0.iter().find(|s| s.name == "process");
    let as_it_is = summary.at(&scenario.series, 0.0);
    let took = process.zip(as_it_is.and_then(|k| k.gauge(BUSY_S.of("process"))));
    let variant = |(x, stages): (usize, Stages)| {
        let condition = summary.at(&scenario.series, x as f64);
        let told = |other| {
            if scenario.simulated {
                Expected {
                    stages: stages.clone(),
                    origin: Origin::default(),
                }
            } else {
                expected(&stages, scenario.work, other, summary)
            }
        };
        let (plain, expected) = (told(None), told(took.filter(|_| x > 0)));
        let run = |of: &Expected| {
            let stations = of.stages.stations(p.queue);
            let virtually = || simulate(&stations, scenario.items, summary.seed());
            (!scenario.simulated).then(virtually).flatten()
        };
        Variant {
            name: match x {
                0 => "as it is".into(),
                i => format!("{} doubled", stages.0[i - 1].name),
            },
            simulated: run(&expected),
            virtually: run(&plain).map(|run| run.makespan),
            condition,
            items: scenario.items,
            queue: p.queue,
            plain,
            expected,
            stages,
        }
    };
    let runs = scenario.stages.what_if().into_iter().enumerate();
    let mut flags = scenario.stages.clone();
    if scenario.work == Work::Spin && !scenario.simulated {
        for step in flags.0.iter_mut().filter(|s| s.name == "process") {
            let takes = step.mean_s() * shared(step.width, summary);
            step.service = ServiceTime::Constant(Duration::from_secs_f64(takes));
        }
    }
    Study {
        flags,
        runs: runs.map(variant).collect(),
        scenario,
    }
}

/// All runs that were measured, with their studies and places.
fn measured_runs<'s, 'a>(
    measured: &'s [&'s Study<'a>],
) -> impl Iterator<Item = (&'s Study<'a>, usize, &'s Variant<'a>)> + Clone {
    let all = measured.iter().flat_map(|s| {
        let runs = s.runs.iter().enumerate();
        runs.map(move |(i, v)| (*s, i, v))
    });
    all.filter(|(.., v)| v.condition.is_some())
}

/// How long each pipeline takes: by the law, and by the simulator where that says something else.
fn makespans(measured: &[&Study]) -> Vec<Claim> {
    let runs = measured_runs(measured);
    let apart = |v: &Variant| v.apart().is_some_and(|share| share > APART);
    let by_law = runs.clone().filter(|(.., v)| !apart(v));
    let by_law = by_law.map(|(s, i, v)| Case::share(s.case(i), v.law(), v.makespan(), 0.05));
    let virtually = runs.filter(|(.., v)| apart(v)).filter_map(|(s, i, v)| {
        let told = Given::new(v.simulated.as_ref()?.makespan, v.expected.origin);
        Some(Case::share(s.case(i), told, v.makespan(), 0.03))
    });
    let longer = Disturbed::Longer(Resource::Processors);
    vec![
        Law::new(
            "n items take the fill and then n over the lowest w/s",
            "s",
            longer,
        )
        .within("5 %: requests take some processor time from what computes, and a processor's clock changes with load and heat")
        .near(by_law),
        Law::new(
            "where queues are short or times vary, the simulator says how long a pipeline takes, and the law does not",
            "s",
            longer,
        )
        .within("3 %: requests take some processor time from what computes")
        .near(virtually),
    ]
}

/// The queues of a run name a stage: what does doubling that one bring?
fn pointing(measured: &[&Study]) -> [Claim; 1] {
    let cases = measured.iter().filter(|s| s.readable()).map(|s| {
        let named = s.base().diagnosis().map(|d| d.by_queues);
        let gain = named.and_then(|stage| s.gain(stage + 1));
        let law = s.expected_gain(s.slowest() + 1);
        Case::share(s.scenario.title.clone(), law, gain, 0.05)
    });
    [Law::new(
        "the stage that a run's queues name, the last one with a full queue before it, is the one to double: that moves the minimum of w/s up to the next stage",
        "times the throughput",
        Disturbed::Either(Resource::Processors),
    )
    .within("5 %: requests take some processor time from what computes, and more of it the faster the pipeline")
    .near(cases)]
}

impl Study<'_> {
    /// Is one stage clearly the slowest, and do the simulator's queues name it clearly? A queue shorter
    /// than the waves of a wide stage may be half full on average, and names nothing.
    fn readable(&self) -> bool {
        let (base, slowest) = (self.base(), self.slowest());
        let named = self.simulated_seen().is_some_and(|seen| {
            let from = seen.iter().skip(slowest).filter_map(|s| s.filling);
            let mut clear = from.map(|f| (f - 0.5).abs() > 0.15);
            clear.all(|c| c) && diagnose(&seen).is_some_and(|d| d.by_queues == slowest)
        });
        self.clear() && base.condition.is_some() && named
    }
}

/// Doubling the stages that their queues do not name.
fn widening(measured: &[&Study]) -> [Claim; 1] {
    let wider = measured_runs(measured).filter(|(_, i, _)| *i > 0);
    let others = wider.filter(|(s, i, _)| *i != s.slowest() + 1);
    let cases = others.map(|(s, i, _)| Case::share(s.case(i), s.expected_gain(i), s.gain(i), 0.05));
    [Law::new(
        "doubling a stage that is not the bottleneck changes nothing",
        "times the throughput",
        Disturbed::Either(Resource::Processors),
    )
    .within("5 %: a processor's clock changes with load and heat")
    .near(cases)]
}

/// What can be seen of the stages of each pipeline as it is, from outside.
fn seen_of_stages(measured: &[&Study]) -> Vec<Claim> {
    let bases = || measured_runs(measured).filter(|(_, i, _)| *i == 0);
    let stage = |s: &Study, step: &Step| format!("{}, {}", s.scenario.title, step.name);
    let busy = bases().flat_map(|(s, _, v)| {
        let law = v.expected.stages.pipeline().utilisation_over(v.items);
        let steps = v.stages.0.iter().zip(law);
        let case = |(step, law): (&Step, f64)| {
            let looks = v.condition.and_then(|k| k.gauge(AT_WORK.of(step.name)));
            let told = Given::new(100.0 * law, v.expected.origin);
            let within = 5_f64.min(15.0 * law);
            Case::new(stage(s, step), told, looks.map(|e| e.scaled(100.0)), within)
        };
        steps.map(case).collect::<Vec<_>>()
    });
    let waiting = bases().flat_map(|(s, _, v)| {
        let run = v.simulated.iter().flat_map(|run| &run.stations);
        let steps = v.stages.0.iter().zip(run).skip(1);
        let cases = |(step, usage): (&Step, &Usage)| {
            let told = Given::new(usage.mean_queue, v.expected.origin);
            let within = (0.05 * usage.mean_queue).max(0.05);
            let before = format!("{}, before {}", s.scenario.title, step.name);
            // As somebody saw it who looked now and then, and as those wrote down who put in and took out.
            let of = |name, length: fn(&Trial, &'static str) -> Option<f64>| {
                let length = v
                    .condition
                    .and_then(|k| k.estimate(|t| length(t, step.name)));
                Case::new(name, told, length, within)
            };
            let written = format!("{before}, as written down");
            [of(before, mean_queue), of(written, written_queue)]
        };
        steps.flat_map(cases).collect::<Vec<_>>()
    });
    // What should never stand still has no share to be told from none.
    let still = bases().flat_map(|(s, _, v)| {
        let run = v.simulated.iter().flat_map(|run| &run.stations);
        let steps = v
            .stages
            .0
            .iter()
            .zip(run)
            .filter(|(_, usage)| usage.blocked_share > 0.04);
        let case = |(step, usage): (&Step, &Usage)| {
            let share = v.blocked(step).map(|e| e.scaled(100.0));
            let told = Given::new(100.0 * usage.blocked_share, v.expected.origin);
            let within = (10.0 * usage.blocked_share).max(2.0);
            Case::new(stage(s, step), told, share, within)
        };
        steps.map(case).collect::<Vec<_>>()
    });
    let law = |text: &str, unit| Law::new(text, unit, Disturbed::Either(Resource::Processors));
    vec![
        law(
            "each stage is seen at work for λ·s/w of the time, at looks that know no clock of its workers",
            "% of the looks",
        )
        .within("5 points, or 15 % of a small share: requests take some processor time from what computes")
        .near(busy),
        law(
            "the simulator says how many items wait before each stage on average",
            "items",
        )
        .within("5 %, or a twentieth of an item: of what happens at one instant either may be seen first")
        .near(waiting),
        law(
            "workers before the bottleneck stand still, holding a finished item, for the share of the time that the simulator says",
            "% of the time",
        )
        .within("10 %, or two points: what a step takes too long before, it does not stand still")
        .near(still),
    ]
}

/// Why the flags alone leave it open how long a run takes.
fn undecidable(measured: &[&Study], cores: usize) -> Option<String> {
    too_short(measured).or_else(|| crowded(measured, cores))
}

/// Why times cannot be met closely: timers tick in milliseconds, and threads need some time to
/// begin.
fn too_short(measured: &[&Study]) -> Option<String> {
    let runs = || measured.iter().flat_map(|s| &s.runs);
    let took = |v: &Variant| v.stages.pipeline().makespan(v.items);
    let shortest = runs().map(took).fold(f64::INFINITY, f64::min);
    let decides = |v: &Variant| {
        let slowest = v.stages.pipeline().bottleneck().unwrap_or(0);
        v.stages.0[slowest].mean_s()
    };
    let quickest = runs().map(decides).fold(f64::INFINITY, f64::min);
    if shortest < 0.1 {
        let shortest = seconds(shortest);
        Some(format!(
            "a run of {shortest} is too short to be timed: more --items"
        ))
    } else if quickest < 0.01 {
        let quickest = seconds(quickest);
        Some(format!(
            "a stage of {quickest} is too short to be timed: 10 ms or more"
        ))
    } else {
        None
    }
}

/// Why one time does not stand for all items: computations that share processors end sooner when
/// fewer of them are under way.
fn crowded(measured: &[&Study], cores: usize) -> Option<String> {
    let computing = measured.iter().filter(|s| s.scenario.work == Work::Spin);
    let steps = computing.flat_map(|s| s.runs.iter().flat_map(|v| &v.stages.0));
    let widest = steps
        .filter(|s| s.name == "process")
        .map(|s| s.width)
        .max()?;
    (widest > cores).then(|| {
        format!("{widest} threads compute on {cores} processors: how long an item takes depends on how many do at the moment")
    })
}

/// What was only simulated cannot beat the law.
fn bounds(studies: &[Study]) -> Claim {
    let simulated = studies
        .iter()
        .filter(|s| s.scenario.simulated && s.scenario.stages.constant());
    let runs = simulated.flat_map(|s| s.runs.iter().enumerate().map(move |(i, v)| (s, i, v)));
    let cases = runs.map(|(s, i, v)| Case::exact(s.case(i), v.law(), v.makespan()));
    Law::counted(
        "short queues may cost time and never save any: no simulated pipeline is faster than the law",
        "s",
    )
    .books()
    .at_least(cases)
}

fn headline(p: &Params, studies: &[Study]) -> String {
    let name = |s: &Study| {
        let found = s.base().diagnosis().map(|d| d.stage);
        found.map_or("–".to_string(), |i| {
            s.scenario.stages.0[i].name.to_string()
        })
    };
    let best = |s: &Study| {
        let found = s.base().diagnosis().map(|d| d.stage);
        found.and_then(|i| s.gain(i + 1))
    };
    let others = |s: &Study| {
        let found = s.base().diagnosis().map(|d| d.stage);
        let rest = (0..s.scenario.stages.0.len()).filter(|i| Some(*i) != found);
        rest.filter_map(|i| Some(s.gain(i + 1)?.value))
            .fold(f64::NAN, f64::max)
    };
    if let [only] = studies {
        return answer(only, &name(only), best(only));
    }
    if let (Some(_), [long, short]) = (p.preset, studies) {
        return format!(
            "{} The same with shorter times, measured: {}, where the simulator says {}.",
            answer(long, &name(long), best(long)),
            cell(short.base().makespan(), seconds),
            short
                .base()
                .simulated
                .as_ref()
                .map_or("–".into(), |run| seconds(run.makespan)),
        );
    }
    let gains: Vec<String> = studies.iter().map(|s| cell(best(s), times)).collect();
    let most = studies.iter().map(others).fold(f64::NAN, f64::max);
    format!(
        "Doubling the busiest stage gives {} times the throughput; doubling any other at most {}. The stage with the longest average time is the wrong one in {} of {} pipelines.",
        list(&gains),
        times(most),
        misled(studies),
        studies.len()
    )
}

/// In how many pipelines the longest average time belongs to another stage than the busiest.
fn misled(studies: &[Study]) -> usize {
    let of = |s: &&Study| {
        s.base()
            .seen()
            .is_some_and(|seen| longest(&seen) != diagnose(&seen).map(|d| d.stage))
    };
    studies.iter().filter(of).count()
}

fn answer(study: &Study, name: &str, best: Option<Estimate>) -> String {
    let base = study.base();
    let tied = if study.clear() { "" } else { ", by a hair" };
    format!(
        "{} items take {} ({}/s): {name} holds them back{tied}, and doubling it gives {} times the throughput.",
        base.items,
        cell(base.makespan(), seconds),
        cell(base.throughput(), number),
        cell(best, times)
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

fn titled(study: &Study) -> (String, String) {
    let s = &study.scenario;
    (s.title.clone(), format!("{} items", s.items))
}

fn utilisation(studies: &[Study]) -> Figure {
    let group = |s: &Study| {
        let base = s.base();
        let (label, note) = titled(s);
        let seen = base.seen().unwrap_or_default();
        let named = diagnose(&seen).map(|d| d.stage);
        let law = base.expected.stages.pipeline().utilisation_over(base.items);
        let bar = |(i, step): (usize, &Step)| {
            let value = seen.get(i).map_or(f64::NAN, |s| s.utilisation);
            let colour = if named == Some(i) {
                Colour::Vermilion
            } else {
                Colour::Blue
            };
            let bar = if s.scenario.simulated {
                ValueBar::simulated(&described(step), colour, value)
            } else {
                ValueBar::measured(&described(step), colour, value)
            };
            bar.with_theory(law[i])
        };
        BarGroup {
            label,
            note,
            bars: base.stages.0.iter().enumerate().map(bar).collect(),
        }
    };
    let simulated = studies.iter().any(|s| s.scenario.simulated);
    Figure {
        id: "utilisation".into(),
        title: match studies {
            [only] | [only, _] => format!(
                "The busiest stage is the bottleneck: {}",
                busiest(only.base()).unwrap_or_default()
            ),
            _ => format!(
                "The busiest stage is the bottleneck; the longest one is not in {} of {}",
                misled(studies),
                studies.len()
            ),
        },
        subtitle: format!(
            "Share of their time in which a stage's workers work, fill and drain included. Dashed: theory{}",
            if simulated {
                ". Outlined: simulated"
            } else {
                ""
            }
        ),
        desc:
            "Bars of the utilisation of each stage of each pipeline, the bottleneck's the longest."
                .into(),
        body: Body::Bars(Bars {
            x: Axis::linear("busy", Unit::Share).with_range(0.0, 1.0),
            groups: studies.iter().map(group).collect(),
        }),
    }
}

fn what_if(studies: &[Study]) -> Option<Figure> {
    let group = |s: &Study| {
        let (label, note) = titled(s);
        let mut bars = Vec::new();
        for (i, variant) in s.runs.iter().enumerate().skip(1) {
            let Some(gain) = s.gain(i) else { continue };
            let colour = if i == s.slowest() + 1 {
                Colour::Vermilion
            } else {
                Colour::Blue
            };
            let name = &variant.name;
            let bar = if s.scenario.simulated {
                ValueBar::simulated(name, colour, gain.value)
            } else {
                ValueBar::measured(name, colour, gain.value)
            };
            bars.push(
                bar.with_interval(gain.ci95)
                    .with_theory(s.expected_gain(i).value),
            );
            let simulated = s.simulated_gain(i);
            bars.extend(simulated.map(|g| ValueBar::simulated("", colour, g)));
        }
        BarGroup { label, note, bars }
    };
    let groups: Vec<BarGroup> = studies
        .iter()
        .map(group)
        .filter(|g| !g.bars.is_empty())
        .collect();
    let gains = |wanted: bool| {
        let of = move |s: &Study| -> Vec<f64> {
            let wider = (1..s.runs.len()).filter(|i| (*i == s.slowest() + 1) == wanted);
            wider.filter_map(|i| Some(s.gain(i)?.value)).collect()
        };
        studies.iter().flat_map(of).collect::<Vec<_>>()
    };
    let helps: Vec<String> = gains(true).into_iter().map(times).collect();
    let rest = gains(false).into_iter().fold(f64::NAN, f64::max);
    (!groups.is_empty()).then(|| Figure {
        id: "what-if".into(),
        title: format!(
            "Doubling the bottleneck: {} times the throughput; any other stage: {} at most",
            list(&helps),
            times(rest)
        ),
        subtitle: "Throughput with one stage doubled, over that of the pipeline as it is. Dashed: theory. Outlined: simulated".into(),
        desc: "Bars of the gain in throughput from doubling each stage in turn, measured, by theory and simulated.".into(),
        body: Body::Bars(Bars {
            x: Axis::linear("times the throughput", Unit::Factor),
            groups,
        }),
    })
}

fn queues(p: &Params, measured: &[&Study]) -> Option<Figure> {
    let panel = |s: &&Study| {
        let trial = s.base().condition?.typical(|t| t.wall_s)?;
        let line = |stage: &str, colour| {
            let steps = staircase(&lengths(trial, stage), makespan(trial).unwrap_or(0.0));
            Layer::Line(Line::trace(&format!("before {stage}"), colour, steps))
        };
        Some(Panel {
            title: s.scenario.title.clone(),
            note: list(
                &s.scenario
                    .stages
                    .0
                    .iter()
                    .map(described)
                    .collect::<Vec<_>>(),
            ),
            y: Axis::linear("", Unit::Number).with_range(0.0, p.queue as f64 * 1.1),
            layers: vec![
                Layer::Rule {
                    y: p.queue as f64,
                    label: String::new(),
                },
                line("process", Colour::Purple),
                line("store", Colour::Green),
            ],
            height: 0.8,
        })
    };
    let panels: Vec<Panel> = measured.iter().filter_map(panel).collect();
    // Of the trial that is drawn, of the first pipeline with a queue before its bottleneck.
    let named = measured.iter().find_map(|s| {
        let (stage, trial) = (s.slowest(), s.base().condition?.typical(|t| t.wall_s)?);
        let filling = |at: usize| {
            let step = s.scenario.stages.0.get(at)?;
            let length = mean_queue(trial, step.name)? / p.queue as f64;
            Some(format!("before {} {:.0} %", step.name, 100.0 * length))
        };
        let before = (stage > 0).then(|| filling(stage)).flatten()?;
        let behind = filling(stage + 1).map(|text| format!(", {text}"));
        Some(format!(
            "{}, held back by {}: the queue {before} full{}",
            s.scenario.title,
            s.scenario.stages.0[stage].name,
            behind.unwrap_or_default()
        ))
    });
    (!panels.is_empty()).then(|| Figure {
        id: "queues".into(),
        title: named.unwrap_or("Before the first stage nothing has to wait".into()),
        subtitle: format!(
            "Items waiting over time; each queue has {} places (rule). The trial of median length of each",
            p.queue
        ),
        desc: "Length of the two queues over time for each pipeline: the ones before the bottleneck full, the ones behind it empty.".into(),
        body: Body::Panels(Panels {
            x: Axis::linear("time since the start", Unit::Seconds),
            panels,
            marks: vec![],
        }),
    })
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

/// How many times the jobs many threads do; none where some trial computed that should wait, or waited that
/// should compute.
fn pool_gain(
    few: Condition,
    many: Condition,
    cost: f64,
    spins: bool,
    cores: usize,
) -> Option<Estimate> {
    // The operating system counts in ticks of a hundredth of a second.
    let so = |t: &Trial| {
        let had = t.gauge(gauge::PROCESS_CPU_SHARE)? * cores as f64 * t.wall_s;
        let half = t.gauge(JOBS)? * cost / 2.0;
        Some(if spins {
            had + 0.02 > half
        } else {
            had - 0.02 < half
        })
    };
    let mut trials = few.trials().iter().chain(many.trials());
    let all = trials.all(|t| so(t).unwrap_or(true));
    // Of the same round: how fast the processors were falls out.
    let per_s = |t: &Trial| Some(t.gauge(JOBS)? / t.wall_s);
    let gain = many.paired(&few, |many, few| Some(per_s(many)? / per_s(few)?));
    gain.filter(|_| all)
}

/// The process stage by itself: threads beyond the processors.
fn pools(p: &Params, summary: &Summary) -> Option<([Claim; 2], Figure)> {
    let (cost, each) = p.pools();
    let cost = cost.as_secs_f64();
    let host = summary.host();
    // Jobs per second of so many.
    let law = |spins: bool, jobs: f64, threads: f64| {
        let threads = threads as usize;
        let width = if spins {
            host.width(threads)
        } else {
            threads as f64
        };
        jobs / makespan_equal_jobs(jobs as usize, cost, threads, width)
    };
    let arm = |series: &str, spins: bool, label: &str, colour| {
        let found = summary.series(series);
        let [few, many] = found[..] else { return None };
        let jobs = (2 * each.div_ceil(2)) as f64 * few.x();
        let told = law(spins, jobs, many.x()) / law(spins, jobs, few.x());
        let told = Given::from(told);
        let told = if spins {
            told.and(Origin::host())
        } else {
            told
        };
        let gain = pool_gain(few, many, cost, spins, host.cores);
        let bar = |k: &Condition| {
            let done = k.gauge(JOBS).map_or(f64::NAN, |e| e.value);
            let rate = k.estimate(|t| Some(done / t.wall_s));
            let name = format!("{} threads", k.x());
            ValueBar::measured(&name, colour, rate.map_or(f64::NAN, |e| e.value))
                .with_interval(rate.and_then(|e| e.ci95))
                .with_theory(law(spins, done, k.x()))
        };
        let group = BarGroup {
            label: label.into(),
            note: format!("{} a job", seconds(cost)),
            bars: found.iter().map(bar).collect(),
        };
        Some((Case::share("", told, gain, 0.1), group))
    };
    let (computing, spun) = arm("pool/spin", true, "Computing", Colour::Vermilion)?;
    let elsewhere = "Waiting for a computation elsewhere";
    let (waiting, slept) = arm("pool/sleep", false, elsewhere, Colour::Purple)?;
    let title = format!(
        "Twice as many threads as processors: {} times the work when it waits, {} when it computes",
        cell(waiting.measured, number),
        cell(computing.measured, number)
    );
    let figure = Figure {
        id: "pool".into(),
        title,
        subtitle: format!(
            "Jobs per second of the process stage by itself, {} processors. Dashed: theory",
            host.cores
        ),
        desc: "Bars of jobs per second for as many threads as processors and twice as many, computing and sleeping.".into(),
        body: Body::Bars(Bars {
            x: Axis::linear("jobs per second", Unit::Number),
            groups: vec![spun, slept],
        }),
    };
    Some((pool_claims(waiting, computing, cost), figure))
}

/// What threads beyond the processors are good for, when their work waits and when it computes.
fn pool_claims(waiting: Case, computing: Case, cost: f64) -> [Claim; 2] {
    let short =
        (cost < 2e-3).then(|| format!("jobs of {} are too short to be timed", seconds(cost)));
    let law = |text: &str, resource| Law::new(text, "times", Disturbed::Either(resource));
    let claims = [
        law(
            "twice as many threads as processors double the work done when it waits",
            Resource::Timers,
        )
        .within("10 %: jobs of a few milliseconds begin and end late by a part of one")
        .near([waiting]),
        law(
            "twice as many threads as processors add nothing when they compute",
            Resource::Processors,
        )
        .within(
            "10 %: a thread late by a slice of the scheduler shows in some tens of milliseconds",
        )
        .near([computing]),
    ];
    claims.map(|claim| claim.unless(short.clone()))
}

/// "process 88 %".
fn busiest(v: &Variant) -> Option<String> {
    let (seen, stage) = (v.seen()?, v.diagnosis()?.stage);
    let name = v.stages.0[stage].name;
    Some(format!("{name} {:.0} %", 100.0 * seen[stage].utilisation))
}

fn runs(studies: &[Study]) -> Table {
    let mut table = Table::new(
        "What doubling a stage gives",
        &[
            "pipeline",
            "run",
            "time",
            "law",
            "simulator",
            "items/s",
            "gain",
            "law",
            "busiest stage",
            "by queues",
        ],
    );
    for s in studies {
        for (i, v) in s.runs.iter().enumerate() {
            let name = |i: usize| v.stages.0[i].name.to_string();
            let simulated = v.simulated.as_ref().map(|run| seconds(run.makespan));
            table.row([
                s.scenario.title.clone(),
                v.name.clone(),
                cell(v.makespan(), seconds),
                seconds(v.law().value),
                simulated.unwrap_or("–".into()),
                cell(v.throughput(), number),
                cell(s.gain(i), times),
                times(s.expected_gain(i).value),
                busiest(v).unwrap_or("–".into()),
                v.diagnosis().map_or("–".into(), |d| name(d.by_queues)),
            ]);
        }
    }
    table.note = match studies.iter().find(|s| s.scenario.simulated) {
        Some(s) => {
            let trial = s.base().condition.and_then(|k| k.trials().first());
            format!(
                "Simulated in virtual time, not measured: {}, answered in {}.",
                s.scenario.stages,
                trial.map_or("–".into(), |t| seconds(t.wall_s))
            )
        }
        None => {
            let apart = studies
                .iter()
                .flat_map(|s| &s.runs)
                .filter_map(Variant::apart);
            format!(
                "Law and simulator know what a request costs here besides its service, and of a doubled pipeline how long process computed in the one as it is. They lie {} apart at most: times are equal here, and queues are long enough.",
                percent(apart.fold(0.0, f64::max))
            )
        }
    };
    table
}

fn stages(studies: &[Study]) -> Table {
    let mut table = Table::new(
        "The stages of each pipeline as it is",
        &[
            "pipeline",
            "stage",
            "width",
            "time of an item",
            "w/s",
            "busy",
            "theory",
            "stood still",
            "queue before, full to",
        ],
    );
    for s in studies {
        let base = s.base();
        let seen = base.seen().unwrap_or_default();
        let law = base.expected.stages.pipeline();
        let busy = law.utilisation_over(base.items);
        for (i, step) in base.stages.0.iter().enumerate() {
            let seen = seen.get(i);
            table.row([
                s.scenario.title.clone(),
                step.name.to_string(),
                step.width.to_string(),
                seen.map_or("–".into(), |s| seconds(s.service_s)),
                number(law.stages[i].rate()),
                seen.map_or("–".into(), |s| percent(s.utilisation)),
                percent(busy[i]),
                cell(base.blocked(step), percent),
                seen.and_then(|s| s.filling).map_or("–".into(), percent),
            ]);
        }
    }
    table.note = "Stood still: holding a finished item, because the next queue was full. In one run the busy shares of stages are to each other as their s/w, whatever holds it back: that the busiest has the lowest w/s is arithmetic. Where items wait, who stands still and what doubling brings is not.".into();
    table
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
