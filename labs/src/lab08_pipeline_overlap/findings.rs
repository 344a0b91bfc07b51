//! Theory beside measurement for lab08.

use lab_kit::prelude::*;
use lab_kit::record::Span;
use lab_kit::theory::pipeline::{Pipeline, Stage};
use lab_kit::theory::simulate::{Station, simulate};

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
    /// Seconds a transformation should take, by the flags and the processors there are.
    cost: f64,
    /// Seconds it took.
    took: Option<Estimate>,
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
            predicted: self.predicted.into(),
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

/// What theory starts from. What a request takes besides its service, and a transformation besides
/// its cost, depends on what else the processors do: both are measured in each arm, and the
/// transformations held against the flags by a claim of their own. What theory has to say is how
/// these times make a whole.
struct Theory<'a> {
    p: &'a Params,
    /// Seconds of a request besides its service, before the run.
    request: f64,
    /// Seconds to hand an item to the pool and on to the next stage, measured in turn.
    handing: f64,
    varying: [Vec<Duration>; 3],
}

impl<'a> Theory<'a> {
    fn new(p: &'a Params, summary: &Summary) -> Theory<'a> {
        let in_turn = summary.only("in-turn");
        let between = |t: &Trial| {
            let all = [Step::Fetch, Step::Transform, Step::Store];
            let spent: f64 = all.map(|step| work(t, step).sum()).iter().sum();
            Some((t.wall_s - spent) / p.items as f64)
        };
        let handing = in_turn.and_then(|k| k.estimate(between));
        Theory {
            p,
            request: summary.host().request_overhead_ms / 1e3,
            handing: handing.map_or(0.0, |e| e.value).max(0.0),
            varying: varying_times(p, summary.seed()),
        }
    }

    /// The stages with so many workers and what else their steps take: fetching, storing, and all
    /// of a transformation.
    fn stages(&self, [c, w, d]: [usize; 3], more: [f64; 2], transform: f64) -> Pipeline {
        Pipeline::new(&[
            (self.p.fetch.s() + more[0], c),
            (transform + self.handing, w),
            (self.p.store.s() + more[1], d),
        ])
    }

    /// All stages at once, with bounded queues: seconds until the last item is stored. For equal
    /// times it is [`Pipeline::makespan`], unless a queue is so short that it stops a burst of a
    /// wide stage.
    fn at_once(
        &self,
        widths: [usize; 3],
        capacity: usize,
        [fetch, store]: [f64; 2],
        times: [&[f64]; 3],
    ) -> f64 {
        let more = [fetch, self.handing, store];
        let stations: [Station; 3] = std::array::from_fn(|stage| {
            let times = times[stage].iter().map(|t| t + more[stage]);
            let times = times.map(|t| Duration::try_from_secs_f64(t).unwrap_or_default());
            Station::new(widths[stage], ServiceTime::Trace(times.collect())).behind(capacity)
        });
        simulate(&stations, self.p.items, 0).map_or(f64::NAN, |run| run.makespan)
    }
}

pub(super) fn explain(p: &Params, summary: &Summary) -> Findings {
    let theory = Theory::new(p, summary);
    let (n, workers, b) = (p.items, p.transformers, p.batch);
    let (wide, awaited) = ([p.fetchers, workers, p.storers], [p.fetchers, 1, p.storers]);
    let cost = p.transform.s();
    let shared = match p.work {
        Work::Spin => Stage::on_processors(cost, workers, summary.host().width(workers)).service,
        Work::Sleep => cost,
    };
    // An arm with `widths`, whose transformations should take `cost` seconds each.
    type Rule<'r> = &'r dyn Fn(&Pipeline) -> f64;
    let arm = |series: &str, name: &str, widths, cost: f64, rule: Rule| {
        let condition = summary.only(series);
        let took = condition.and_then(|k| k.estimate(|t| mean_work(t, Step::Transform)));
        let each = took.map_or(cost, |e| e.value);
        let more = besides(condition, [p.fetch.s(), p.store.s()], theory.request);
        let predicted = rule(&theory.stages(widths, more, each));
        Arm {
            name: name.into(),
            note: String::new(),
            predicted,
            busy: n as f64 * each / predicted,
            capacity: None,
            hands: widths.iter().sum(),
            cost,
            took,
            condition,
        }
    };
    // Stages at once, which fetch and store in these times.
    let staged =
        |series: &str, q: usize, name: &str, widths, cost: f64, [fetch, store]: [&[f64]; 2]| {
            let condition = summary.at(series, q as f64);
            let took = condition.and_then(|k| k.estimate(|t| mean_work(t, Step::Transform)));
            let mean = |times: &[f64]| times.iter().sum::<f64>() / n as f64;
            let more = besides(condition, [mean(fetch), mean(store)], theory.request);
            let whole =
                |transform: &[f64]| theory.at_once(widths, q, more, [fetch, transform, store]);
            let predicted = condition
                .and_then(|k| k.estimate(|t| Some(whole(&transforms(t, n)?))))
                .map_or_else(|| whole(&vec![cost; n]), |e| e.value);
            Arm {
                name: name.into(),
                note: String::new(),
                predicted,
                busy: n as f64 * took.map_or(cost, |e| e.value) / predicted,
                capacity: Some(q),
                hands: widths.iter().sum(),
                cost,
                took,
                condition,
            }
        };
    let capacities = {
        let mut sorted = p.capacities.clone();
        sorted.sort_unstable();
        sorted.dedup();
        sorted
    };
    let most = capacities.last().copied().unwrap_or(1);
    // This arm has only the flags to go by, and what was measured before the run.
    let fill = p.fetch.s() + cost + p.store.s() + 2.0 * theory.request;
    let in_turn = Arm {
        note: "each item through all stages before the next one".into(),
        ..arm("in-turn", "In turn", [1; 3], cost, &|_| n as f64 * fill)
    };
    let phases = Arm {
        note: "everything through one stage before the next stage".into(),
        ..arm("phases", "Phases", wide, shared, &|s| s.phased(n))
    };
    // There and back from the pool only once a batch.
    let spared = (n - n.div_ceil(b)) as f64 * theory.handing;
    let as_one = |s: &Pipeline| s.batched(n, b) - spared;
    let one_job = Arm {
        note: format!("{b} items at a time, a batch on one worker"),
        ..arm(
            "batches/one-job",
            "Batches as one job",
            awaited,
            cost,
            &as_one,
        )
    };
    let by_item = |s: &Pipeline| s.batched(n, b);
    let job_each = Arm {
        note: format!("{b} items at a time, phase by phase"),
        ..arm(
            "batches/job-each",
            "Batches, a job an item",
            wide,
            shared,
            &by_item,
        )
    };
    let (fetch, store) = (vec![p.fetch.s(); n], vec![p.store.s(); n]);
    let equal = [fetch.as_slice(), &store];
    let name = "Stages, one await an item";
    let one_await = Arm {
        note: "the loop in the middle awaits each item".into(),
        ..staged("stages/awaited", most, name, awaited, cost, equal)
    };
    let name = format!("Stages, {workers} in flight");
    let in_flight = |q: &usize| Arm {
        note: "all stages at once".into(),
        ..staged("stages/in-flight", *q, &name, wide, shared, equal)
    };
    let in_flight: Vec<Arm> = capacities.iter().map(in_flight).collect();
    let drawn = |stage: usize| -> Vec<f64> {
        let times = theory.varying[stage].iter();
        times.map(Duration::as_secs_f64).collect()
    };
    let [fetch, transform, store] = [0, 1, 2].map(drawn);
    let mean = transform.iter().sum::<f64>() / n as f64;
    let name = "Stages of varying times";
    let varying = |q: &usize| staged("varying", *q, name, [1; 3], mean, [&fetch, &store]);
    let varying: Vec<Arm> = capacities.iter().map(varying).collect();
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
        "how stages make a whole: phases and batches add up, Σ ⌈N/w⌉·s; stages at once take the fill and then the slowest stage's s/w an item, with queues of any capacity; a stage that awaits each item is one of one worker",
        "s",
        [&phases, &one_job, &job_each, &one_await]
            .into_iter()
            .chain(&in_flight)
            .map(|arm| arm.case(0.05))
            .collect(),
    );
    law(
        "where times vary, a simulation of the same times predicts the whole at each capacity",
        "s",
        varying.iter().map(|arm| arm.case(0.03)).collect(),
    );
    let mut busy: Vec<Case> = [&phases, &one_job, &job_each, &one_await]
        .into_iter()
        .chain(&in_flight)
        .map(|arm| Case {
            name: arm.title(),
            predicted: arm.busy.into(),
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
    let computed = all().filter_map(|arm| Some(arm.took?.value / arm.cost));
    let computed = Estimate::of(&computed.collect::<Vec<_>>());
    claims.push(
        Claim::near(
            "a transformation takes its cost, or cost·W/P where its W workers share less than W processors' worth: its time over that, over all arms",
            Basis::Calibrated,
            1.0,
            computed,
            0.1,
        )
        .unit("times"),
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
    let price = ratio(varying.first(), varying.last());
    let dearer = cell(price, |r| percent(r - 1.0));
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
    let services = [p.fetch.s(), p.store.s()];
    let [fetching, storing] = besides(in_turn.condition, services, theory.request);
    table.note = format!(
        "How long the steps took is measured in each arm, how they make the whole is theory. In turn a request took {} more than its service, a transformation {}, handing an item to the pool and on {}; with {workers} at work a transformation took {}. Theory for in turn knows the flags only.",
        seconds((fetching + storing) / 2.0),
        cell(in_turn.took, seconds),
        seconds(theory.handing),
        cell(longest.and_then(|arm| arm.took), seconds),
    );

    let predicted = |a: Option<&Arm>, b: Option<&Arm>| match (a, b) {
        (Some(a), Some(b)) => a.predicted / b.predicted,
        _ => f64::NAN,
    };
    let longer = price.map(|e| e.shifted(-1.0).scaled(100.0));
    let answers = vec![
        Answer::near(
            "share",
            ratio(longest, Some(&phases)),
            predicted(longest, Some(&phases)),
        )
        .scaled(100.0),
        Answer::near("busy", one_await.busy(), one_await.busy),
        Answer::near(
            "capacity",
            longer,
            predicted(varying.first(), varying.last()) - 1.0,
        )
        .scaled(100.0),
    ];
    Findings {
        headline: format!(
            "{n} items take {} in turn, {} in phases and {} in stages at once. A stage that awaits each item makes that {}, with {} of {workers} transformers busy. With queues of {} and of {most} it takes {} and {} where all times are equal, {} and {} where they vary.",
            took(&in_turn),
            took(&phases),
            pipelined(&took),
            took(&one_await),
            workers_of(&one_await),
            capacities.first().copied().unwrap_or(1),
            shortest.map_or("–".into(), took),
            pipelined(&took),
            varying.first().map_or("–".into(), took),
            varying.last().map_or("–".into(), took),
        ),
        figures,
        tables: vec![table],
        claims,
        answers,
    }
}

/// Spans of work at a stage, without the waits for room.
fn spans(trial: &Trial, step: Step) -> impl Iterator<Item = &Span> {
    let at = move |s: &&Span| s.name != BLOCKED && s.lane.starts_with(Step::NAMES[step as usize]);
    trial.spans.iter().filter(at)
}

/// Seconds of each item at a stage.
fn work(trial: &Trial, step: Step) -> impl Iterator<Item = f64> {
    spans(trial, step).map(|s| s.end_s - s.start_s)
}

fn mean_work(trial: &Trial, step: Step) -> Option<f64> {
    let count = work(trial, step).count();
    (count > 0).then(|| work(trial, step).sum::<f64>() / count as f64)
}

/// What fetching and storing took besides services that take so long on average, in seconds;
/// without a measurement, what a request takes before the run.
fn besides(condition: Option<Condition>, services: [f64; 2], request: f64) -> [f64; 2] {
    let more = |step, service: f64| {
        let took = condition.and_then(|k| k.estimate(|t| mean_work(t, step)));
        took.map_or(request, |e| e.value - service)
    };
    [
        more(Step::Fetch, services[0]),
        more(Step::Store, services[1]),
    ]
}

/// Seconds that each item was transformed, if each of `items` was.
fn transforms(trial: &Trial, items: usize) -> Option<Vec<f64>> {
    let mut times = vec![None; items];
    for span in spans(trial, Step::Transform) {
        let item: usize = span.name.parse().ok()?;
        *times.get_mut(item.checked_sub(1)?)? = Some(span.end_s - span.start_s);
    }
    times.into_iter().collect()
}

/// Transformers at work, averaged over the arm's time.
fn busy_transformers(trial: &Trial) -> Option<f64> {
    let all: f64 = work(trial, Step::Transform).sum();
    (trial.wall_s > 0.0).then(|| all / trial.wall_s)
}

/// Most items that had begun to be fetched and had not been stored at one time.
fn in_progress(trial: &Trial) -> usize {
    let begun = spans(trial, Step::Fetch).map(|s| (s.start_s, 1));
    let stored = spans(trial, Step::Store).map(|s| (s.end_s, -1));
    let mut edges: Vec<(f64, i32)> = begun.chain(stored).collect();
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

/// Lanes that a group has room for.
const LANES: usize = 15;

/// A lane for each worker, at work or not; of wide stages the first workers only.
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
    let all = p.fetchers + p.transformers + p.storers;
    let most = if pool_only || all <= LANES {
        LANES
    } else {
        LANES / 3
    };
    let lanes = lanes.flat_map(|(step, workers, colour)| {
        (1..=workers.min(most)).map(move |k| {
            let label = format!("{} {k}", Step::NAMES[step]);
            let spans = trial.into_iter().flat_map(|t| &t.spans);
            let mine = spans.filter(|s| s.lane == label);
            // A wait that cannot be seen is left out.
            let bars = mine.filter(|s| s.name != BLOCKED || s.end_s - s.start_s > 5e-4);
            let from = trial.map_or(0.0, Trial::started_s);
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
    let cut = [p.fetchers, p.transformers, p.storers]
        .iter()
        .any(|w| *w > most);
    let note = if cut && !pool_only {
        format!("{}; the first {most} workers of a stage", arm.note)
    } else {
        arm.note.clone()
    };
    Group {
        title: arm.title(),
        note,
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
                Layer::Line(Line::trace(label, colour, points))
            };
            Some(Panel {
                title: format!("Queues of {q}"),
                note: "items waiting".into(),
                y: Axis::linear("", Unit::Number)
                    .with_range(0.0, 1.3 * q as f64)
                    .with_ticks([0.0, q as f64]),
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
    let exceeds = |arm: &Arm| {
        let q = arm.capacity.map_or(f64::INFINITY, |q| q as f64);
        arm.trials().iter().any(|t| deepest(t) > q)
    };
    let exceeded = arms.iter().any(exceeds);
    (!panels.is_empty()).then(|| Figure {
        id: "queues".into(),
        title: format!(
            "{}: at most {} wait to be transformed, {} to be stored",
            if exceeded { "A queue exceeded its capacity" } else { "No queue exceeds its capacity" },
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
    let (from, mut depth) = (trial.started_s(), 0.0);
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
    fn transformations_are_those_of_all_items() {
        let mut later_first = trial();
        later_first.spans.swap(3, 4);
        assert_eq!(transforms(&later_first, 2), Some(vec![1.0, 1.0]));
        assert_eq!(transforms(&trial(), 3), None);
        assert_eq!(transforms(&trial(), 1), None);
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
