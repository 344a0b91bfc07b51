//! Theory beside measurement for lab08.

use lab_kit::prelude::*;
use lab_kit::theory::pipeline::{Pipeline, Stage};
use lab_kit::theory::simulate::{Run, Station, simulate};

use super::{BLOCKED, Params, Stage as Step, Work, varying_times};

/// One arm of the experiment.
struct Arm<'a> {
    name: String,
    note: String,
    /// Seconds from the first fetch to the last store.
    predicted: f64,
    /// Transformers at work, on average.
    busy: f64,
    /// Capacity of the queues; `None` without stages.
    capacity: Option<usize>,
    /// Workers of all stages.
    hands: usize,
    condition: Option<Condition<'a>>,
}

impl Arm<'_> {
    fn wall(&self) -> Option<Estimate> {
        self.condition.as_ref()?.wall_s()
    }

    fn busy(&self) -> Option<Estimate> {
        self.condition.as_ref()?.estimate(busy_transformers)
    }

    fn case(&self, tolerance: f64) -> Case {
        Case {
            name: self.title(),
            predicted: self.predicted,
            measured: self.wall(),
            tolerance: tolerance * self.predicted,
        }
    }

    fn title(&self) -> String {
        match self.capacity {
            Some(q) => format!("{}, queues of {q}", self.name),
            None => self.name.clone(),
        }
    }

    fn trials(&self) -> &[Trial] {
        self.condition.as_ref().map_or(&[], |k| k.trials())
    }

    fn typical(&self) -> Option<&Trial> {
        self.condition.as_ref()?.typical(|t| t.wall_s)
    }
}

/// What theory says about every arm.
struct Theory {
    items: usize,
    batch: usize,
    /// All widths as given.
    wide: Pipeline,
    /// One transformer.
    awaited: Pipeline,
    /// One worker a stage.
    narrow: Pipeline,
    /// Time in a request besides the service.
    overhead: f64,
    varying: [Vec<Duration>; 3],
}

impl Theory {
    fn new(p: &Params, summary: &Summary) -> Theory {
        // Measured before the run: what a request takes besides its service, and how many
        // processors the pool's threads are worth.
        let overhead = summary.host().request_overhead_ms / 1e3;
        let (fetch, store) = (p.fetch.s() + overhead, p.store.s() + overhead);
        let (transform, workers) = (p.transform.s(), p.transformers);
        let processors = match p.work {
            Work::Spin => summary.host().width(workers),
            Work::Sleep => workers as f64,
        };
        let ends = |middle| Pipeline {
            stages: vec![
                Stage {
                    service: fetch,
                    width: p.fetchers,
                },
                middle,
                Stage {
                    service: store,
                    width: p.storers,
                },
            ],
        };
        let one = Stage {
            service: transform,
            width: 1,
        };
        Theory {
            items: p.items,
            batch: p.batch,
            wide: ends(Stage::on_processors(transform, workers, processors)),
            awaited: ends(one),
            narrow: Pipeline::new(&[(fetch, 1), (transform, 1), (store, 1)]),
            overhead,
            varying: varying_times(p, summary.seed()),
        }
    }

    /// Stages with bounded queues: [`Pipeline::makespan`] unless a queue is so short that it stops
    /// a burst of a wide stage.
    fn stages(&self, pipeline: &Pipeline, capacity: usize) -> Option<Run> {
        let constant = |s: &Stage| ServiceTime::Constant(Duration::from_secs_f64(s.service));
        let stations = pipeline.stages.iter();
        let stations = stations.map(|s| Station::new(s.width, constant(s)).behind(capacity));
        simulate(&stations.collect::<Vec<_>>(), self.items, 0)
    }

    /// The same times as in the experiment, in virtual time.
    fn varying(&self, capacity: usize) -> Option<Run> {
        let request = Duration::from_secs_f64(self.overhead);
        let [fetch, transform, store] = &self.varying;
        let with = |times: &[Duration], more| times.iter().map(|t| *t + more).collect();
        let stations = [
            with(fetch, request),
            transform.clone(),
            with(store, request),
        ];
        let station = |times| Station::new(1, ServiceTime::Trace(times)).behind(capacity);
        simulate(&stations.map(station), self.items, 0)
    }

    /// Seconds of transformers' work in all.
    fn work(&self, pipeline: &Pipeline) -> f64 {
        self.items as f64 * pipeline.stages[1].service
    }
}

pub(super) fn explain(p: &Params, summary: &Summary) -> Findings {
    let theory = Theory::new(p, summary);
    let (n, workers) = (p.items, p.transformers);
    let hands = |pipeline: &Pipeline| pipeline.stages.iter().map(|s| s.width).sum();
    let alone = |series: &str, name: &str, note: String, pipeline: &Pipeline, predicted: f64| Arm {
        name: name.into(),
        note,
        predicted,
        busy: theory.work(pipeline) / predicted,
        capacity: None,
        hands: hands(pipeline),
        condition: summary.only(series),
    };
    let staged = |series: &str, name: &str, q: usize, hands: usize, run: Option<Run>| {
        let worked = run.as_ref().map_or(f64::NAN, |r| r.stations[1].busy);
        let predicted = run.map_or(f64::NAN, |r| r.makespan);
        Arm {
            name: name.into(),
            note: String::new(),
            predicted,
            busy: worked / predicted,
            capacity: Some(q),
            hands,
            condition: summary.at(series, q as f64),
        }
    };
    let capacities = {
        let mut sorted = p.capacities.clone();
        sorted.sort_unstable();
        sorted.dedup();
        sorted
    };
    let (least, most) = (capacities.first().copied(), capacities.last().copied());
    let most = most.unwrap_or(1);
    let (wide, awaited, narrow) = (&theory.wide, &theory.awaited, &theory.narrow);
    let in_turn = alone(
        "in-turn",
        "In turn",
        "each item through all stages before the next one".into(),
        narrow,
        narrow.sequential(n),
    );
    let phases = alone(
        "phases",
        "Phases",
        "everything through one stage before the next stage".into(),
        wide,
        wide.phased(n),
    );
    let one_job = alone(
        "batches/one-job",
        "Batches, one job each",
        format!("{} items at a time, a batch on one worker", p.batch),
        awaited,
        awaited.batched(n, theory.batch),
    );
    let job_each = alone(
        "batches/job-each",
        "Batches, a job an item",
        format!("{} items at a time, phase by phase", p.batch),
        wide,
        wide.batched(n, theory.batch),
    );
    let one_await = Arm {
        note: "the loop in the middle awaits each item".into(),
        ..staged(
            "stages/awaited",
            "Stages, one await an item",
            most,
            hands(awaited),
            theory.stages(awaited, most),
        )
    };
    let in_flight: Vec<Arm> = capacities
        .iter()
        .map(|q| Arm {
            note: "all stages at once".into(),
            ..staged(
                "stages/in-flight",
                &format!("Stages, {workers} in flight"),
                *q,
                hands(wide),
                theory.stages(wide, *q),
            )
        })
        .collect();
    let varying: Vec<Arm> = capacities
        .iter()
        .map(|q| {
            staged(
                "varying",
                "Stages of varying times",
                *q,
                hands(narrow),
                theory.varying(*q),
            )
        })
        .collect();
    let all = || {
        let single = [&in_turn, &phases, &one_job, &job_each, &one_await];
        single.into_iter().chain(&in_flight).chain(&varying)
    };

    let mut claims = Vec::new();
    let mut law = |text: &str, unit, cases: Vec<Case>| {
        if !cases.is_empty() {
            claims.push(Claim::at_every(text, Basis::Calibrated, cases).unit(unit));
        }
    };
    law(
        "without overlap times add up: N times the fill in turn, Σ ⌈N/w⌉·s in phases, the same for each batch",
        "s",
        [&in_turn, &phases, &one_job, &job_each]
            .map(|arm| arm.case(0.05))
            .into(),
    );
    law(
        "stages at once take the fill and then the slowest stage's time per worker for each item, with queues of any capacity; one await an item is a stage of one worker",
        "s",
        std::iter::once(&one_await)
            .chain(&in_flight)
            .map(|arm| arm.case(0.05))
            .collect(),
    );
    law(
        "where times vary, the simulator predicts the time at each capacity from the times alone",
        "s",
        varying.iter().map(|arm| arm.case(0.03)).collect(),
    );
    let mut busy: Vec<Case> = [&phases, &one_job, &job_each, &one_await]
        .into_iter()
        .chain(&in_flight)
        .map(|arm| Case {
            name: arm.title(),
            predicted: arm.busy,
            measured: arm.busy(),
            tolerance: 0.05 * arm.busy,
        })
        .collect();
    busy.retain(|case| case.measured.is_some());
    law(
        "busy transformers: their work over the arm's time; about one where each item is awaited or a batch is one job",
        "workers",
        busy,
    );
    let mut none = |text: &str, unit, wrong: f64| {
        let wrong = Some(Estimate::exact(wrong));
        claims.push(Claim::near(text, Basis::Predicted, 0.0, wrong, 0.0).unit(unit));
    };
    let staged = || all().filter_map(|arm| Some((arm, arm.capacity?)));
    let over = |(arm, q): (&Arm, usize)| {
        let depths = arm
            .trials()
            .iter()
            .flat_map(|t| t.traces.values().flatten());
        depths.filter(|(_, depth)| *depth > q as f64).count()
    };
    none(
        "no queue ever holds more than its capacity: every look at it after a send or a receive",
        "looks",
        staged().map(over).sum::<usize>() as f64,
    );
    let crowded = |(arm, q): (&Arm, usize)| {
        let most = arm.trials().iter().map(in_progress);
        most.filter(|most| *most > arm.hands + 2 * q).count()
    };
    none(
        "stages never have more in progress than their workers and the two queues hold",
        "trials",
        staged().map(crowded).sum::<usize>() as f64,
    );
    let lost = |t: &&Trial| {
        let is = |gauge: &str, n: usize| t.gauges.get(gauge).is_none_or(|v| *v == n as f64);
        !(is("stored", n) && is("stored_different", n) && is("upstream_arrived", 2 * n))
    };
    none(
        "every item is fetched once, transformed once and stored once",
        "trials with other counts",
        all().flat_map(Arm::trials).filter(lost).count() as f64,
    );

    // The pictures.
    let took = |arm: &Arm| cell(arm.wall(), seconds);
    let workers_of = |arm: &Arm| cell(arm.busy(), number);
    let (shortest, longest) = (in_flight.first(), in_flight.last());
    let pipelined = |f: &dyn Fn(&Arm) -> String| longest.map_or("–".into(), f);
    let ratio = |a: Option<&Arm>, b: Option<&Arm>| {
        a?.condition?.paired(&b?.condition?, |a, b| {
            (b.wall_s > 0.0).then(|| a.wall_s / b.wall_s)
        })
    };
    let cost = ratio(varying.first(), varying.last());
    let dearer = cell(cost, |r| percent(r - 1.0));
    let mut shown: Vec<&Arm> = vec![&phases, &job_each];
    shown.extend(longest);
    let mut pools: Vec<&Arm> = vec![&one_await];
    pools.extend(longest);
    pools.extend([&one_job, &job_each]);
    let mut figures = vec![
        Figure {
            id: "overlap".into(),
            title: format!("Stages at once take {}, phases {}", pipelined(&took), took(&phases)),
            subtitle: format!(
                "{n} items; fetch {} ({} at a time), transform {} ({workers}), store {} ({}). In turn: {}. Hatched: waits for room. Dashed: theory",
                p.fetch, p.fetchers, p.transform, p.store, p.storers, took(&in_turn)
            ),
            desc: "Gantt chart of fetchers, transformers and storers in three arms: one kind after another, the same for each batch, and all at once.".into(),
            body: Body::Gantt(Gantt {
                groups: shown.iter().map(|arm| group(p, arm, false)).collect(),
            }),
        },
        Figure {
            id: "pool".into(),
            title: format!(
                "{} of {workers} transformers are busy when each item is awaited, {} with {workers} in flight",
                workers_of(&one_await),
                pipelined(&workers_of)
            ),
            subtitle: format!(
                "The pool of transformers alone. A batch as one job: {} busy; a job an item: {}. Dashed: theory",
                workers_of(&one_job),
                workers_of(&job_each)
            ),
            desc: "Gantt chart of the transformers in four arms: one worker at work and the others idle, or all at work.".into(),
            body: Body::Gantt(Gantt {
                groups: pools.iter().map(|arm| group(p, arm, true)).collect(),
            }),
        },
    ];
    figures.extend(queues(p, &in_flight));
    figures.push(capacity(p, &in_flight, &varying, &dearer));

    let mut table = Table::new(
        "The same items in every arm",
        &[
            "arm",
            "theory",
            "measured",
            "of in turn",
            "transformers busy",
            "theory",
            "most in a queue",
            "most in progress",
        ],
    );
    for arm in all() {
        let of_it = if arm.name.contains("varying") {
            None
        } else {
            ratio(Some(arm), Some(&in_turn))
        };
        let greatest = |f: &dyn Fn(&Trial) -> f64| {
            let most = arm.trials().iter().map(f).fold(f64::NEG_INFINITY, f64::max);
            number(most)
        };
        table.row([
            arm.title(),
            seconds(arm.predicted),
            took(arm),
            cell(of_it, percent),
            workers_of(arm),
            number(arm.busy),
            match arm.capacity {
                Some(_) => greatest(&deepest),
                None => "–".into(),
            },
            greatest(&|t| in_progress(t) as f64),
        ]);
    }
    let simple = wide.makespan(n);
    table.note = format!(
        "A request takes {} besides its service (measured before the run and part of the theory). Queues without a bound: {}.",
        seconds(theory.overhead),
        seconds(simple)
    );

    let mut answers = Vec::new();
    answers.extend(ratio(longest, Some(&phases)).map(|e| ("share", e.scaled(100.0))));
    answers.extend(one_await.busy().map(|e| ("busy", e)));
    answers.extend(cost.map(|e| {
        let more = |v: f64| 100.0 * (v - 1.0);
        let ci95 = e.ci95.map(|(lo, hi)| (more(lo), more(hi)));
        (
            "capacity",
            Estimate {
                value: more(e.value),
                ci95,
                ..e
            },
        )
    }));
    Findings {
        headline: format!(
            "{n} items take {} in turn, {} in phases and {} in stages at once, if {workers} are in flight in the middle: a stage that awaits each item takes {}, with {} of {workers} transformers busy. Queues of {} instead of {most} cost {} where all times are equal, {dearer} where they vary.",
            took(&in_turn),
            took(&phases),
            pipelined(&took),
            took(&one_await),
            workers_of(&one_await),
            least.unwrap_or(1),
            cell(ratio(shortest, longest), |r| percent(r - 1.0)),
        ),
        figures,
        tables: vec![table],
        claims,
        answers,
    }
}

/// Transformers at work, averaged over the arm's time.
fn busy_transformers(trial: &Trial) -> Option<f64> {
    let transforms = trial.spans.iter().filter(|s| is_work(s, Some(1)));
    let work: f64 = transforms.map(|s| s.end_s - s.start_s).sum();
    (trial.wall_s > 0.0).then(|| work / trial.wall_s)
}

/// True for work on an item, at this step if one is given.
fn is_work(span: &lab_kit::record::Span, step: Option<usize>) -> bool {
    span.name != BLOCKED && step.is_none_or(|s| span.lane.starts_with(Step::NAMES[s]))
}

/// Most items that had begun to be fetched and had not been stored at one time.
fn in_progress(trial: &Trial) -> usize {
    let mut edges: Vec<(f64, i32)> = Vec::new();
    for span in &trial.spans {
        if is_work(span, Some(0)) {
            edges.push((span.start_s, 1));
        } else if is_work(span, Some(2)) {
            edges.push((span.end_s, -1));
        }
    }
    // At one instant the one that leaves makes room for the one that comes.
    edges.sort_by(|a, b| a.0.total_cmp(&b.0).then(a.1.cmp(&b.1)));
    let mut inside = 0;
    let counts = edges.iter().map(|(_, change)| {
        inside += change;
        inside
    });
    counts.max().unwrap_or(0).max(0) as usize
}

/// Most items that a queue held at any look.
fn deepest(trial: &Trial) -> f64 {
    let depths = trial.traces.values().flatten().map(|(_, depth)| *depth);
    depths.fold(0.0, f64::max)
}

fn started(trial: &Trial) -> f64 {
    trial.gauges.get("started_s").copied().unwrap_or_default()
}

/// A lane for each worker, at work or not.
fn group(p: &Params, arm: &Arm, pool_only: bool) -> Group {
    let trial = arm.typical();
    let steps = [
        (0, p.fetchers, Colour::Blue),
        (1, p.transformers, Colour::Vermilion),
        (2, p.storers, Colour::Green),
    ];
    let lanes = steps
        .into_iter()
        .filter(|(step, ..)| !pool_only || *step == 1);
    let lanes = lanes.flat_map(|(step, workers, colour)| {
        (1..=workers).map(move |k| {
            let label = format!("{} {k}", Step::NAMES[step]);
            let spans = trial.into_iter().flat_map(|t| &t.spans);
            let mine = spans.filter(|s| s.lane == label);
            // A wait that cannot be seen is left out.
            let bars = mine.filter(|s| s.name != BLOCKED || s.end_s - s.start_s > 5e-4);
            let from = trial.map_or(0.0, started);
            let bars = bars
                .filter(|s| !pool_only || s.name != BLOCKED)
                .map(|s| Bar {
                    start: s.start_s - from,
                    end: s.end_s - from,
                    label: if s.name == BLOCKED { "" } else { &s.name }.into(),
                    colour,
                    waiting: s.name == BLOCKED,
                });
            Lane {
                bars: bars.collect(),
                label,
                colour,
            }
        })
    });
    Group {
        title: arm.title(),
        note: arm.note.clone(),
        lanes: lanes.collect(),
        end: trial.map(|t| t.wall_s),
        predicted_end: Some(arm.predicted).filter(|t| t.is_finite()),
    }
}

/// How full the queues are over time, a panel for each capacity.
fn queues(p: &Params, arms: &[Arm]) -> Option<Figure> {
    let panels: Vec<Panel> = arms
        .iter()
        .filter_map(|arm| {
            let (trial, q) = (arm.typical()?, arm.capacity?);
            let line = |name: &str, label: &str, colour| {
                let points = steps(trial, name);
                Layer::Line(Line {
                    style: Style::Trace,
                    ..Line::measured(label, colour, points)
                })
            };
            Some(Panel {
                title: format!("Queues of {q}"),
                note: "items waiting".into(),
                y: Axis::linear("", Unit::Number).with_range(0.0, 1.3 * q as f64),
                layers: vec![
                    Layer::Rule {
                        y: q as f64,
                        label: format!("capacity {q}"),
                    },
                    line("fetched", "to transform", Colour::Vermilion),
                    line("transformed", "to store", Colour::Green),
                ],
                height: 0.7,
            })
        })
        .collect();
    let most = |name: &str| {
        let trials = arms.iter().flat_map(|arm| arm.trials());
        let depths = trials.filter_map(|t| t.traces.get(name)).flatten();
        depths.map(|(_, depth)| *depth).fold(0.0, f64::max)
    };
    (!panels.is_empty()).then(|| Figure {
        id: "queues".into(),
        title: format!(
            "No queue exceeds its capacity: at most {} wait to be transformed, {} to be stored",
            number(most("fetched")),
            number(most("transformed"))
        ),
        subtitle: format!(
            "{} items through stages of {}, {} and {} workers; looked at after every send and receive",
            p.items, p.fetchers, p.transformers, p.storers
        ),
        desc: "The number of items in the two queues over time for each capacity, with the capacity as a rule.".into(),
        body: Body::Panels(Panels {
            x: Axis::linear("time since the start", Unit::Seconds),
            panels,
            marks: vec![],
        }),
    })
}

/// A trace as steps, from nothing at the start.
fn steps(trial: &Trial, name: &str) -> Vec<(f64, f64)> {
    let (from, mut depth) = (started(trial), 0.0);
    let mut points = vec![(0.0, 0.0)];
    for (at, now) in trial.traces.get(name).into_iter().flatten() {
        let at = (at - from).max(0.0);
        points.extend([(at, depth), (at, *now)]);
        depth = *now;
    }
    points
}

/// Time over capacity, where times are equal and where they vary.
fn capacity(p: &Params, steady: &[Arm], varying: &[Arm], dearer: &str) -> Figure {
    let at = |arm: &Arm| arm.capacity.map_or(f64::NAN, |q| q as f64);
    let mut layers = Vec::new();
    for (arms, label, colour) in [
        (varying, "times vary", Colour::Purple),
        (steady, "equal times", Colour::Blue),
    ] {
        let told = arms.iter().map(|arm| (at(arm), arm.predicted)).collect();
        layers.push(Layer::Line(Line::theory("", Colour::Muted, told)));
        let seen = arms.iter().filter_map(|arm| Some((at(arm), arm.wall()?)));
        let seen: Vec<(f64, Estimate)> = seen.collect();
        let points = seen.iter().map(|(q, e)| (*q, e.value)).collect();
        let band = seen.iter().filter_map(|(q, e)| {
            let (lo, hi) = e.ci95?;
            Some((*q, lo, hi))
        });
        let line = Line::measured(label, colour, points).with_band(band.collect());
        layers.push(Layer::Line(line));
    }
    let ticks: Vec<f64> = steady.iter().map(at).collect();
    let ends = |pick: Option<&f64>| pick.map_or("–".into(), |q| number(*q));
    Figure {
        id: "capacity".into(),
        title: format!(
            "Queues of {} instead of {} cost {dearer} where times vary",
            ends(ticks.first()),
            ends(ticks.last())
        ),
        subtitle: format!(
            "Equal times: the stages as above. Varying: one worker a stage, mean {} each, standard deviation {} times the mean. Dashed: theory",
            p.varying, p.cv
        ),
        desc: "Time of the whole over the capacity of the queues: level for equal times, falling where times vary, with the simulation's prediction.".into(),
        body: Body::Panels(Panels {
            x: Axis::log("capacity of each queue, log scale", Unit::Number).with_ticks(ticks),
            panels: vec![Panel {
                title: "Time for all items".into(),
                note: String::new(),
                y: Axis::linear("", Unit::Seconds),
                layers,
                height: 1.4,
            }],
            marks: vec![],
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use lab_kit::record::Span;

    fn span(lane: &str, name: &str, start_s: f64, end_s: f64) -> Span {
        Span {
            lane: lane.into(),
            name: name.into(),
            start_s,
            end_s,
        }
    }

    /// Two items through one worker a stage; the second one waits for room.
    fn trial() -> Trial {
        Trial {
            wall_s: 4.0,
            spans: vec![
                span("fetch 1", "1", 0.0, 1.0),
                span("fetch 1", "2", 1.0, 2.0),
                span("fetch 1", BLOCKED, 2.0, 2.5),
                span("transform 1", "1", 1.0, 2.0),
                span("transform 1", "2", 2.0, 3.0),
                span("store 1", "1", 2.0, 3.0),
                span("store 1", "2", 3.0, 4.0),
            ],
            traces: [("fetched".into(), vec![(1.0, 1.0), (2.0, 0.0)])].into(),
            gauges: [("started_s".into(), 0.5)].into(),
            ..Trial::default()
        }
    }

    #[test]
    fn waiting_for_room_is_no_work() {
        assert_eq!(busy_transformers(&trial()), Some(0.5));
        let mut blocked = trial();
        blocked.spans.push(span("transform 1", BLOCKED, 3.0, 4.0));
        assert_eq!(busy_transformers(&blocked), Some(0.5));
        assert_eq!(busy_transformers(&Trial::default()), None);
    }

    #[test]
    fn an_item_is_in_progress_from_its_fetch_to_its_store() {
        assert_eq!(in_progress(&trial()), 2);
        // One is stored in the instant in which the next one begins.
        let mut in_turn = trial();
        in_turn.spans = vec![
            span("fetch 1", "1", 0.0, 1.0),
            span("store 1", "1", 1.0, 2.0),
            span("fetch 1", "2", 2.0, 3.0),
            span("store 1", "2", 3.0, 4.0),
        ];
        assert_eq!(in_progress(&in_turn), 1);
        assert_eq!(in_progress(&Trial::default()), 0);
    }

    #[test]
    fn a_depth_lasts_until_the_next_look() {
        let points = steps(&trial(), "fetched");
        assert_eq!(
            points,
            [(0.0, 0.0), (0.5, 0.0), (0.5, 1.0), (1.5, 1.0), (1.5, 0.0)]
        );
        assert_eq!(steps(&trial(), "no such queue"), [(0.0, 0.0)]);
        assert_eq!(deepest(&trial()), 1.0);
    }
}
