//! Theory beside measurement for lab09.

use lab_kit::prelude::*;
use lab_kit::theory::{Run, amdahl::makespan_equal_jobs, simulate};

use super::diagnosis::{Diagnosis, Seen, diagnose, longest};
use super::stages::{Stages, Step};
use super::{Params, REQUEST, Scenario, Work};

/// How far two rates must lie apart for a run of one of them to be told from one of the other.
const CLEAR: f64 = 0.1;

/// A pipeline with its runs: as it is, and with each stage doubled in turn.
struct Study<'a> {
    scenario: Scenario,
    runs: Vec<Variant<'a>>,
}

/// One of them.
struct Variant<'a> {
    /// "as it is", "fetch doubled".
    name: String,
    /// What the flags say, and with what a request and a shared processor cost here.
    stages: Stages,
    expected: Stages,
    condition: Option<Condition<'a>>,
    /// What the simulator says of a run that was measured.
    simulated: Option<Run>,
    items: usize,
    queue: usize,
}

impl Study<'_> {
    fn base(&self) -> &Variant<'_> {
        &self.runs[0]
    }

    /// The law's bottleneck.
    fn slowest(&self) -> usize {
        self.runs[0].slowest()
    }

    fn gain(&self, i: usize) -> Option<Estimate> {
        let (base, wider) = (self.base().condition?, self.runs[i].condition?);
        base.paired(&wider, |base, wider| {
            Some(makespan(base)? / makespan(wider)?)
        })
    }

    fn expected_gain(&self, i: usize) -> f64 {
        self.base().law() / self.runs[i].law()
    }

    fn simulated_gain(&self, i: usize) -> Option<f64> {
        let of = |v: &Variant| v.simulated.as_ref().map(|run| run.makespan);
        Some(of(self.base())? / of(&self.runs[i])?)
    }
}

fn makespan(trial: &Trial) -> Option<f64> {
    trial.gauges.get("makespan_s").copied().filter(|s| *s > 0.0)
}

impl Variant<'_> {
    fn slowest(&self) -> usize {
        self.expected.pipeline().bottleneck().unwrap_or(0)
    }

    /// The makespan of the law, fill included.
    fn law(&self) -> f64 {
        self.expected.pipeline().makespan(self.items)
    }

    fn makespan(&self) -> Option<Estimate> {
        self.condition?.estimate(makespan)
    }

    fn throughput(&self) -> Option<Estimate> {
        let n = self.items as f64;
        self.condition?.estimate(|t| Some(n / makespan(t)?))
    }

    /// Is one stage clearly the slowest? Random times blur the question.
    fn clear(&self) -> bool {
        let luck = if self.stages.constant() {
            0.0
        } else {
            5.0 / (self.items as f64).sqrt()
        };
        self.expected.margin() > CLEAR.max(luck)
    }

    /// What was seen of the stages: means over the trials.
    fn seen(&self) -> Option<Vec<Seen>> {
        let condition = self.condition?;
        let of = |(i, step): (usize, &Step)| {
            let busy = condition.gauge(&format!("{}_busy_s", step.name))?.value;
            let took = self.makespan()?.value;
            let queue = |t: &Trial| mean_queue(t, &step.name);
            let length = condition.estimate(queue).map_or(0.0, |e| e.value);
            Some(Seen {
                width: step.width,
                service_s: busy,
                utilisation: self.items as f64 * busy / (step.width as f64 * took),
                filling: (i > 0).then(|| length / self.queue as f64),
            })
        };
        self.stages.0.iter().enumerate().map(of).collect()
    }

    fn diagnosis(&self) -> Option<Diagnosis> {
        diagnose(&self.seen()?)
    }

    /// The same of the simulated run.
    fn simulated_seen(&self) -> Option<Vec<Seen>> {
        let run = self.simulated.as_ref()?;
        let steps = self.expected.0.iter().zip(&run.stations).enumerate();
        let of = |(i, (step, usage)): (usize, (&Step, &lab_kit::theory::Usage))| Seen {
            width: step.width,
            service_s: step.mean_s(),
            utilisation: usage.utilisation,
            filling: (i > 0).then(|| usage.mean_queue / self.queue as f64),
        };
        Some(steps.map(of).collect())
    }

    /// The share of its time that a worker of this stage stood still with a finished item.
    fn blocked(&self, step: &Step) -> Option<f64> {
        let gauge = self.condition?.gauge(&format!("{}_blocked_s", step.name))?;
        let available = step.width as f64 * self.makespan()?.value;
        Some(self.items as f64 * gauge.value / available)
    }
}

/// Mean length of the queue before a stage over the run: a simulator says it, a measured run has
/// written the lengths down.
fn mean_queue(trial: &Trial, stage: &str) -> Option<f64> {
    if let Some(mean) = trial.gauges.get(&format!("{stage}_queue_mean")) {
        return Some(*mean);
    }
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

/// What an item takes here.
///
/// A request costs a little besides its service, and its answer leaves the upstream's one thread
/// after those that were due at the same instant. A computation takes what it took in that run: a
/// processor's speed drifts by some percent from one second to the next, and threads beyond the
/// processors share them.
fn expected(stages: &Stages, run: Option<&Condition>, work: Work, summary: &Summary) -> Stages {
    let host = summary.host();
    let alone = summary.only("request").and_then(|k| k.gauge("request_s"));
    let besides = alone.map_or(host.request_overhead_ms / 1e3, |e| {
        (e.value - REQUEST.as_secs_f64()).max(0.0)
    });
    let computed = run.and_then(|k| k.gauge("process_busy_s"));
    let mut expected = stages.clone();
    for step in &mut expected.0 {
        let (mean, width) = (step.mean_s(), step.width as f64);
        let takes = match (step.name.as_str(), work) {
            ("process", Work::Sleep) => mean,
            ("process", Work::Spin) => computed.map_or_else(
                || mean * (width / host.width(step.width)).max(1.0),
                |e| e.value,
            ),
            _ => mean + besides + width / host.upstream_ceiling_per_s.max(1.0),
        };
        step.service = ServiceTime::Constant(Duration::from_secs_f64(takes.min(1e6)));
    }
    expected
}

pub(super) fn explain(p: &Params, summary: &Summary) -> Findings {
    let studies: Vec<Study> = p
        .scenarios()
        .into_iter()
        .map(|s| study(p, s, summary))
        .collect();
    let measured: Vec<&Study> = studies.iter().filter(|s| !s.scenario.simulated).collect();

    let disturbed = disturbed(&measured, summary.host().cores);
    let mut claims = naming(&studies);
    claims.extend(against_law(&measured));
    claims = claims
        .into_iter()
        .map(|claim| claim.excused(disturbed.clone()))
        .collect();
    claims.extend(bounds(&studies));
    let mut figures = vec![utilisation(&studies)];
    figures.extend(what_if(&studies));
    figures.extend(queues(p, &measured));
    let pools = pools(p, summary);
    claims.extend(pools.as_ref().map(|(claim, _)| claim.clone()));
    figures.extend(pools.map(|(_, figure)| figure));

    let storage = studies.iter().find(|s| s.scenario.series == "storage");
    let answer = |key, doubled: usize| {
        let predicted = storage.map_or(f64::NAN, |s| s.expected_gain(doubled));
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
    let variant = |(x, stages): (usize, Stages)| {
        let condition = summary.at(&scenario.series, x as f64);
        let expected = if scenario.simulated {
            stages.clone()
        } else {
            expected(&stages, condition.as_ref(), scenario.work, summary)
        };
        let of_flags = || simulate(&expected.stations(p.queue), scenario.items, summary.seed());
        Variant {
            name: match x {
                0 => "as it is".into(),
                i => format!("{} doubled", stages.0[i - 1].name),
            },
            simulated: (!scenario.simulated).then(of_flags).flatten(),
            condition,
            items: scenario.items,
            queue: p.queue,
            stages,
            expected,
        }
    };
    let runs = scenario.stages.what_if().into_iter().enumerate();
    Study {
        runs: runs.map(variant).collect(),
        scenario,
    }
}

/// Which stage is named, by what was seen and by the rule of the source.
fn naming(studies: &[Study]) -> Vec<Claim> {
    let all = || studies.iter().flat_map(|s| &s.runs);
    let named: Vec<bool> = all()
        .filter(|v| v.clear())
        .filter_map(|v| Some(v.diagnosis()?.stage == v.slowest()))
        .collect();
    let right = |found: &[bool]| found.iter().filter(|r| **r).count() as f64;
    let counted = |text: &str, found: &[bool], what: &'static str| {
        let measured = Some(Estimate::exact(right(found)));
        Claim::near(text, Basis::Predicted, found.len() as f64, measured, 0.0).unit(what)
    };
    let toss = |found: &[bool]| {
        found.is_empty().then(|| {
            "no stage is clearly the slowest: which of two equals is named is a coin toss".into()
        })
    };
    let mut claims = vec![
        counted(
            "the stage whose workers are busy for the largest share of the time is the one with the lowest w/s",
            &named,
            "pipelines",
        )
        .unless(toss(&named)),
    ];
    // Where the simulator's queues are neither full nor empty, they are not expected to point.
    let readable = |v: &&Variant| {
        v.simulated_seen().is_some_and(|seen| {
            let fillings = seen.iter().filter_map(|s| s.filling);
            let mut clear = fillings.map(|f| (f - 0.5).abs() > 0.15);
            clear.all(|c| c) && diagnose(&seen).is_some_and(|d| d.by_queues == v.slowest())
        })
    };
    let pointed: Vec<bool> = all()
        .filter(|v| v.clear())
        .filter(readable)
        .filter_map(|v| Some(v.diagnosis()?.by_queues == v.slowest()))
        .collect();
    if !pointed.is_empty() {
        claims.push(counted(
            "the queues alone name the same stage: full before it, not full behind it",
            &pointed,
            "pipelines",
        ));
    }
    // The rule of the source, where it is no coin toss.
    let bases: Vec<&Variant> = studies
        .iter()
        .map(Study::base)
        .filter(|v| v.clear() && longest_is_clear(&v.expected))
        .filter(|v| v.condition.is_some())
        .collect();
    let misled = |v: &&&Variant| {
        let times = v.expected.0.iter().map(Step::mean_s).enumerate();
        times.max_by(|a, b| a.1.total_cmp(&b.1)).map(|(i, _)| i) != Some(v.slowest())
    };
    let misled = bases.iter().filter(misled).count();
    let found = bases.iter().filter(|v| {
        v.seen()
            .is_some_and(|seen| longest(&seen) != diagnose(&seen).map(|d| d.stage))
    });
    if misled > 0 {
        claims.push(
            Claim::near(
                "the stage with the longest average time is another one wherever widths make it so",
                Basis::Predicted,
                misled as f64,
                Some(Estimate::exact(found.count() as f64)),
                0.0,
            )
            .unit("pipelines"),
        );
    }
    claims
}

fn longest_is_clear(stages: &Stages) -> bool {
    let mut times: Vec<f64> = stages.0.iter().map(Step::mean_s).collect();
    times.sort_by(|a, b| b.total_cmp(a));
    times.len() < 2 || times[0] > (1.0 + CLEAR) * times[1]
}

/// Makespans, gains and utilisations of the pipelines that were measured.
fn against_law(measured: &[&Study]) -> Vec<Claim> {
    let runs = || {
        measured
            .iter()
            .flat_map(|s| s.runs.iter().map(move |v| (*s, v)))
    };
    let case = |s: &Study, v: &Variant, predicted: f64, within: f64| Case {
        name: format!("{}, {}", s.scenario.title, v.name),
        predicted: predicted.into(),
        measured: v.makespan(),
        tolerance: within * predicted,
    };
    let present = |(_, v): &(&Study, &Variant)| v.condition.is_some();
    let by_law = runs()
        .filter(present)
        .map(|(s, v)| case(s, v, v.law(), 0.05));
    let by_simulation = runs()
        .filter(present)
        .filter_map(|(s, v)| Some(case(s, v, v.simulated.as_ref()?.makespan, 0.03)));
    let gains = measured.iter().flat_map(|s| {
        let wider = s.runs.iter().enumerate().skip(1);
        wider
            .filter(|(_, v)| v.condition.is_some())
            .map(|(i, v)| Case {
                name: format!("{}, {}", s.scenario.title, v.name),
                predicted: (s.expected_gain(i)).into(),
                measured: s.gain(i),
                tolerance: 0.05 * s.expected_gain(i),
            })
    });
    let busy = measured.iter().flat_map(|s| {
        let (base, seen) = (s.base(), s.base().seen());
        let expected = base.expected.pipeline().utilisation_over(base.items);
        let steps = base
            .stages
            .0
            .iter()
            .zip(expected)
            .zip(seen.unwrap_or_default());
        let case = |((step, expected), seen): ((&Step, f64), Seen)| Case {
            name: format!("{}, {}", s.scenario.title, step.name),
            predicted: (100.0 * expected).into(),
            measured: base.condition.and_then(|k| {
                let (n, w) = (base.items as f64, seen.width as f64);
                k.estimate(|t| {
                    let busy = t.gauges.get(&format!("{}_busy_s", step.name))?;
                    Some(100.0 * n * busy / (w * makespan(t)?))
                })
            }),
            tolerance: 5.0,
        };
        steps.map(case).collect::<Vec<_>>()
    });
    let law = |text: &str, cases: Vec<Case>, unit| {
        Claim::at_every(text, Basis::Calibrated, cases).unit(unit)
    };
    let claims = [
        (
            "n items take the fill and then n over the lowest w/s",
            by_law.collect::<Vec<_>>(),
            "s",
        ),
        (
            "the simulator says within 3 % how long each pipeline takes",
            by_simulation.collect(),
            "s",
        ),
        (
            "doubling the bottleneck moves the minimum of w/s up to the next stage; doubling another stage changes nothing",
            gains.collect(),
            "times",
        ),
        (
            "each stage is busy for λ·s/w of the time",
            busy.collect(),
            "% of the time",
        ),
    ];
    let known = claims.into_iter().filter(|(_, cases, _)| !cases.is_empty());
    known
        .map(|(text, cases, unit)| law(text, cases, unit))
        .collect()
}

/// Why a run cannot decide what it does not confirm.
fn disturbed(measured: &[&Study], cores: usize) -> Option<String> {
    let conditions = measured.iter().flat_map(|s| &s.runs);
    too_short(measured)
        .or_else(|| crowded(measured, cores))
        .or_else(|| stalled(conditions.filter_map(|v| v.condition)))
}

/// Why times cannot be met closely: timers tick in milliseconds, and threads need some time to
/// begin.
fn too_short(measured: &[&Study]) -> Option<String> {
    let runs = || measured.iter().flat_map(|s| &s.runs);
    let shortest = runs().map(|v| v.law()).fold(f64::INFINITY, f64::min);
    let decides = |v: &Variant| v.stages.0[v.slowest()].mean_s();
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

/// Why pipelines may have taken longer than they should: the machine itself stood still for more
/// than a fiftieth of a run.
fn stalled<'a>(conditions: impl IntoIterator<Item = Condition<'a>>) -> Option<String> {
    let trials = conditions.into_iter().flat_map(|k| k.trials());
    let stalls = trials.filter_map(|t| {
        let stall = t.gauges.get("stall_max_ms")? / 1e3;
        (stall > 0.02 * t.wall_s).then_some(stall)
    });
    let worst = stalls.fold(0.0_f64, f64::max);
    (worst > 0.0).then(|| format!("the machine itself stood still for {}", seconds(worst)))
}

/// What was only simulated cannot beat the law.
fn bounds(studies: &[Study]) -> Option<Claim> {
    let simulated = studies
        .iter()
        .filter(|s| s.scenario.simulated && s.scenario.stages.constant());
    let ratios = simulated
        .flat_map(|s| &s.runs)
        .filter_map(|v| Some(v.makespan()?.value / v.law()));
    let least = ratios.fold(f64::INFINITY, f64::min);
    least.is_finite().then(|| {
        Claim::at_least(
            "short queues may cost time and never save any: no simulated pipeline is faster than the law",
            Basis::Predicted,
            1.0,
            Some(Estimate::exact(least)),
        )
        .unit("of the law's makespan, at the fastest")
    })
}

fn headline(p: &Params, studies: &[Study]) -> String {
    let name = |s: &Study| {
        let found = s.base().diagnosis().map(|d| d.stage);
        found.map_or("–".to_string(), |i| s.scenario.stages.0[i].name.clone())
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
    let tied = if base.clear() { "" } else { ", by a hair" };
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
        let law = base.expected.pipeline().utilisation_over(base.items);
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
            bars.push(bar.with_interval(gain.ci95).with_theory(s.expected_gain(i)));
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
            "Doubling the bottleneck: {} times the throughput; any other stage: {}",
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
    let fillings = |behind: usize| {
        let of = |s: &&Study| {
            let seen = s.base().seen()?;
            seen.get(diagnose(&seen)?.stage + behind)?.filling
        };
        let found: Vec<f64> = measured.iter().filter_map(of).collect();
        match found.len() {
            0 => "–".into(),
            n => format!("{:.0} %", 100.0 * found.iter().sum::<f64>() / n as f64),
        }
    };
    (!panels.is_empty()).then(|| Figure {
        id: "queues".into(),
        title: format!(
            "The queue before the bottleneck is {} full, the one behind it {}",
            fillings(0),
            fillings(1)
        ),
        subtitle: format!("Items waiting over time; each queue has {} places (rule)", p.queue),
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

/// The process stage by itself: threads beyond the processors.
fn pools(p: &Params, summary: &Summary) -> Option<(Claim, Figure)> {
    let cost = p.pools().0.as_secs_f64();
    let host = summary.host();
    let arms = [
        ("pool/spin", "Computing", Colour::Vermilion, true),
        (
            "pool/sleep",
            "Waiting for a computation elsewhere",
            Colour::Purple,
            false,
        ),
    ];
    let (mut cases, mut groups, mut conditions) = (Vec::new(), Vec::new(), Vec::new());
    for (series, label, colour, spins) in arms {
        let found = summary.series(series);
        let [few, many] = found[..] else { continue };
        let jobs = few.gauge("jobs")?.value;
        let law = |k: &Condition| {
            let threads = k.x() as usize;
            let width = if spins { host.width(threads) } else { k.x() };
            jobs / makespan_equal_jobs(jobs as usize, cost, threads, width)
        };
        // Of the same round: how fast the processors were falls out.
        let gain = many.paired(&few, |many, few| Some(few.wall_s / many.wall_s));
        cases.push(Case {
            name: label.to_lowercase(),
            predicted: (law(&many) / law(&few)).into(),
            measured: gain,
            tolerance: 0.1 * law(&many) / law(&few),
        });
        let bar = |k: &Condition| {
            let rate = k.estimate(|t| Some(jobs / t.wall_s));
            let name = format!("{} threads", k.x());
            ValueBar::measured(&name, colour, rate.map_or(f64::NAN, |e| e.value))
                .with_interval(rate.and_then(|e| e.ci95))
                .with_theory(law(k))
        };
        groups.push(BarGroup {
            label: label.into(),
            note: format!("{} a job", seconds(cost)),
            bars: found.iter().map(bar).collect(),
        });
        conditions.extend(found);
    }
    let [computing, waiting] = &cases[..] else {
        return None;
    };
    let title = format!(
        "Twice as many threads as processors: {} times the work when it waits, {} when it computes",
        cell(waiting.measured, number),
        cell(computing.measured, number)
    );
    let short =
        (cost < 2e-3).then(|| format!("jobs of {} are too short to be timed", seconds(cost)));
    let claim = Claim::at_every(
        "twice as many threads as processors double the work done when it waits, and add nothing when it computes",
        Basis::Predicted,
        cases,
    )
    .unit("times")
    .excused(short.or_else(|| stalled(conditions)));
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
            groups,
        }),
    };
    Some((claim, figure))
}

/// "process 88 %".
fn busiest(v: &Variant) -> Option<String> {
    let (seen, stage) = (v.seen()?, v.diagnosis()?.stage);
    let name = &v.stages.0[stage].name;
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
            let name = |i: usize| v.stages.0[i].name.clone();
            let simulated = v.simulated.as_ref().map(|run| seconds(run.makespan));
            table.row([
                s.scenario.title.clone(),
                v.name.clone(),
                cell(v.makespan(), seconds),
                seconds(v.law()),
                simulated.unwrap_or("–".into()),
                cell(v.throughput(), number),
                cell(s.gain(i), times),
                times(s.expected_gain(i)),
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
            "Law and simulator know what a request costs here besides its service, and how long process computed in that run."
                .into()
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
        let law = base.expected.pipeline();
        let busy = law.utilisation_over(base.items);
        for (i, step) in base.stages.0.iter().enumerate() {
            let seen = seen.get(i);
            table.row([
                s.scenario.title.clone(),
                step.name.clone(),
                step.width.to_string(),
                seen.map_or("–".into(), |s| seconds(s.service_s)),
                number(law.stages[i].rate()),
                seen.map_or("–".into(), |s| percent(s.utilisation)),
                percent(busy[i]),
                base.blocked(step).map_or("–".into(), percent),
                seen.and_then(|s| s.filling).map_or("–".into(), percent),
            ]);
        }
    }
    table.note = "Stood still: holding a finished item, because the next queue was full.".into();
    table
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_mean_of_a_queue_is_weighted_by_time() {
        let mut trial = Trial::default();
        trial.gauges.insert("makespan_s".into(), 10.0);
        trial.gauges.insert("started_s".into(), 1.0);
        // Empty for 2 s, four for 5 s, one for the rest; written down out of order.
        let seen = vec![(8.0, 1.0), (3.0, 4.0)];
        trial.traces.insert("store_queue".into(), seen);
        assert!((mean_queue(&trial, "store").unwrap() - 2.3).abs() < 1e-12);
        trial.gauges.insert("store_queue_mean".into(), 0.5);
        assert_eq!(mean_queue(&trial, "store"), Some(0.5));
        assert_eq!(mean_queue(&Trial::default(), "store"), None);
    }

    #[test]
    fn a_staircase_holds_each_length_until_the_next() {
        let steps = staircase(&[(0.0, 0.0), (1.0, 3.0)], 2.0);
        assert_eq!(steps, [(0.0, 0.0), (1.0, 0.0), (1.0, 3.0), (2.0, 3.0)]);
    }
}
