//! Theory beside measurement for lab08.

use lab_kit::prelude::*;
use lab_kit::record::Span;
use lab_kit::theory::pipeline::{Pipeline, Stage};
use lab_kit::theory::simulate::{Station, simulate};

use super::{
    Params, gauges,
    plan::{Work, varying_times},
    tools::{BLOCKED, Stage as Step},
};

/// One arm of the experiment.
struct Arm<'a> {
    name: String,
    note: String,
    /// Seconds from the first fetch to the last store.
    predicted: Given,
    /// Seconds that one transformation takes by theory.
    each: Given,
    /// Seconds it should take, by the flags and the processors there are.
    cost: Given,
    /// Most transformers at work at one time; `None` where that is a matter of luck.
    at_once: Option<usize>,
    /// Most items that the fuller one of its queues holds, by theory.
    fills: Option<usize>,
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

    /// Transformers at work on average, by theory.
    fn busy_by_theory(&self, items: usize) -> f64 {
        items as f64 * self.each.value / self.predicted.value
    }

    /// Seconds that a transformation took.
    fn took(&self) -> Option<Estimate> {
        let took = |t: &Trial| mean_work(t, Step::Transform);
        self.condition.as_ref()?.estimate(took)
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

    /// The trial that is drawn.
    fn typical(&self) -> Option<&Trial> {
        self.condition.as_ref()?.typical(|t| t.wall_s)
    }

    /// How long the trial took that is drawn.
    fn drawn_wall(&self) -> String {
        self.typical().map_or("–".into(), |t| seconds(t.wall_s))
    }

    /// The transformers at work in the trial that is drawn.
    fn drawn_busy(&self) -> String {
        let busy = self.typical().and_then(busy_transformers);
        busy.map_or("–".into(), number)
    }
}

/// What theory starts from: the flags, and what the steps take besides. That is measured where nothing
/// else goes on, in turn; the transformers' share of the processors is from the machine's calibration. How
/// such steps make a whole, in all the other arms, is what theory has to say.
struct Theory<'a> {
    p: &'a Params,
    /// Seconds of a request besides its service, before the run.
    request: Given,
    /// Seconds that fetching and storing took besides their services.
    besides: [Given; 2],
    /// Seconds to hand an item to the pool and on to the next stage.
    handing: Given,
    /// How many times its cost a transformation took.
    slower: Given,
    /// What the transformers have together, in processors.
    processors: Given,
    /// Seconds of each item at each stage where times vary.
    varying: [Vec<f64>; 3],
}

impl<'a> Theory<'a> {
    fn new(p: &'a Params, summary: &Summary) -> Theory<'a> {
        let in_turn = summary.only("in-turn");
        let request = summary.calibrated(|host| host.request_overhead_ms / 1e3);
        let mean = |step| in_turn.and_then(|k| k.estimate(|t| mean_work(t, step)));
        let more = |step, service: Time| {
            mean(step).map_or(request, |took| Given::from(took) - service.s())
        };
        let between = |t: &Trial| {
            let all = [Step::Fetch, Step::Transform, Step::Store];
            let spent: f64 = all.map(|step| work(t, step).sum()).iter().sum();
            Some((t.wall_s - spent) / p.items as f64)
        };
        let handing = in_turn.and_then(|k| k.estimate(between));
        let slower = mean(Step::Transform).map(|took| Given::from(took) / p.transform.s());
        let times = varying_times(p, summary.seed());
        Theory {
            p,
            request,
            besides: [more(Step::Fetch, p.fetch), more(Step::Store, p.store)],
            handing: handing.map_or(0.0.into(), |e| Given::from(e).map(|s| s.max(0.0))),
            slower: slower.unwrap_or(1.0.into()),
            processors: match p.work {
                Work::Spin => summary.calibrated(|host| host.width(p.transformers)),
                Work::Sleep => (p.transformers as f64).into(),
            },
            varying: times.map(|stage| stage.iter().map(Duration::as_secs_f64).collect()),
        }
    }

    /// Seconds of a transformation with all transformers at work: they share the processors.
    fn shared(&self) -> Given {
        let (cost, w) = (self.p.transform.s(), self.p.transformers);
        self.processors
            .map(|p| Stage::on_processors(cost, w, p).service)
    }

    /// Why what the steps took in turn is not what the flags say, so that the whole of them would not be
    /// either.
    fn astray(&self) -> Option<String> {
        let p = self.p;
        let [fetch, store] = self.besides;
        // What a request takes besides a short service may be as long: a tick, and a turn of the processor.
        let far = |service: Time, besides: Given| besides.value.abs() > service.s().max(4e-3);
        let wrong = match () {
            () if far(p.fetch, fetch) => "fetching",
            () if far(p.store, store) => "storing",
            () if !(0.5..=2.0).contains(&self.slower.value) => "transforming",
            () if self.handing.value > p.transform.s().max(4e-3) => "handing on",
            () => return None,
        };
        Some(format!("{wrong} takes in turn what the flags do not say"))
    }

    /// What all of this was taken from.
    fn origin(&self) -> Origin {
        let [fetch, store] = self.besides.map(|g| g.origin());
        let origin = fetch.and(store).and(self.handing.origin());
        origin.and(self.slower.origin())
    }

    /// The stages with so many workers, whose transformations take so long.
    fn stages(&self, [c, w, d]: [usize; 3], transform: Given) -> Pipeline {
        let [fetch, store] = self.besides.map(|g| g.value);
        Pipeline::new(&[
            (self.p.fetch.s() + fetch, c),
            (transform.value + self.handing.value, w),
            (self.p.store.s() + store, d),
        ])
    }

    /// All stages at once, with bounded queues: seconds until the last item is stored. For equal
    /// times it is [`Pipeline::makespan`], unless a queue is so short that it stops a burst of a
    /// wide stage. And the most items that one of the queues holds.
    fn at_once(
        &self,
        widths: [usize; 3],
        capacity: usize,
        times: [&[f64]; 3],
    ) -> (f64, Option<usize>) {
        let [fetch, store] = self.besides.map(|g| g.value);
        let more = [fetch, self.handing.value, store];
        let stations: [Station; 3] = std::array::from_fn(|stage| {
            let times = times[stage].iter().map(|t| t + more[stage]);
            let times = times.map(|t| Duration::try_from_secs_f64(t).unwrap_or_default());
            Station::new(widths[stage], ServiceTime::Trace(times.collect())).behind(capacity)
        });
        let run = simulate(&stations, self.p.items, 0);
        let queues = run.iter().flat_map(|run| &run.stations).skip(1);
        let fullest = queues.map(|usage| usage.max_queue).max();
        (run.as_ref().map_or(f64::NAN, |run| run.makespan), fullest)
    }

    /// The same with equal times.
    fn steady(&self, widths: [usize; 3], capacity: usize, transform: f64) -> (f64, Option<usize>) {
        let all = |time: f64| vec![time; self.p.items];
        let (fetch, store) = (all(self.p.fetch.s()), all(self.p.store.s()));
        self.at_once(widths, capacity, [&fetch, &all(transform), &store])
    }

    /// The same with times that vary, and one worker a stage.
    fn vary(&self, capacity: usize) -> (f64, Option<usize>) {
        let [fetch, transform, store] = &self.varying;
        let slow: Vec<f64> = transform.iter().map(|t| t * self.slower.value).collect();
        self.at_once([1; 3], capacity, [fetch, &slow, store])
    }
}

/// All arms.
struct View<'a> {
    p: &'a Params,
    theory: Theory<'a>,
    in_turn: Arm<'a>,
    phases: Arm<'a>,
    one_job: Arm<'a>,
    job_each: Arm<'a>,
    one_await: Arm<'a>,
    /// By capacity, ascending.
    in_flight: Vec<Arm<'a>>,
    varying: Vec<Arm<'a>>,
}

impl<'a> View<'a> {
    fn new(p: &'a Params, summary: &Summary<'a>) -> View<'a> {
        let theory = Theory::new(p, summary);
        let (n, b) = (p.items, p.batch);
        let mut capacities = p.capacities.clone();
        capacities.sort_unstable();
        capacities.dedup();
        let most = capacities.last().copied().unwrap_or(1);
        // This arm has only the flags to go by, and what was measured before the run.
        let fill = p.fetch.s() + p.transform.s() + p.store.s() + 2.0 * theory.request;
        let in_turn = Arm {
            predicted: n as f64 * fill,
            each: p.transform.s().into(),
            hands: 1,
            ..alone(
                &theory,
                summary.only("in-turn"),
                "In turn",
                "each item through all stages before the next one",
            )
        };
        // There and back from the pool only once a batch.
        let spared = (n - n.div_ceil(b)) as f64 * theory.handing.value;
        let (wide, awaited) = (theory.all_at_work(), theory.one_at_work());
        let arm =
            |series, name, note: String, (widths, each, cost): Crew, rule: Rule, at_once| Arm {
                predicted: Given::new(rule(&theory.stages(widths, each)), theory.origin())
                    .and(each.origin()),
                each,
                cost,
                at_once,
                hands: widths.iter().sum(),
                ..alone(&theory, summary.only(series), name, &note)
            };
        let phases = arm(
            "phases",
            "Phases",
            "everything through one stage before the next stage".into(),
            wide,
            &|s| s.phased(n),
            Some(p.transformers.min(n)),
        );
        let one_job = arm(
            "batches/one-job",
            "Batches as one job",
            format!("{b} items at a time, a batch on one worker"),
            awaited,
            &|s| s.batched(n, b) - spared,
            Some(1),
        );
        let job_each = arm(
            "batches/job-each",
            "Batches, a job an item",
            format!("{b} items at a time, phase by phase"),
            wide,
            &|s| s.batched(n, b),
            Some(p.transformers.min(n).min(b)),
        );
        let one_await = Arm {
            note: "the loop in the middle awaits each item".into(),
            at_once: Some(1),
            ..staged(&theory, summary, "stages/awaited", most, awaited)
        };
        let in_flight = |q: &usize| staged(&theory, summary, "stages/in-flight", *q, wide);
        let in_flight = capacities.iter().map(in_flight).collect();
        let varying = capacities.iter().map(|q| vary(&theory, summary, *q));
        let varying = varying.collect();
        View {
            p,
            in_turn,
            phases,
            one_job,
            job_each,
            one_await,
            in_flight,
            varying,
            theory,
        }
    }

    fn all(&self) -> impl Iterator<Item = &Arm<'a>> {
        self.steady().chain(&self.varying)
    }

    /// Those whose times are equal.
    fn steady(&self) -> impl Iterator<Item = &Arm<'a>> {
        self.one_after_another().chain(self.at_once())
    }

    fn one_after_another(&self) -> impl Iterator<Item = &Arm<'a>> {
        [&self.in_turn, &self.phases, &self.one_job, &self.job_each].into_iter()
    }

    /// Stages of equal times.
    fn at_once(&self) -> impl Iterator<Item = &Arm<'a>> {
        std::iter::once(&self.one_await).chain(&self.in_flight)
    }

    /// Those with queues.
    fn staged(&self) -> impl Iterator<Item = (&Arm<'a>, usize)> {
        self.all().filter_map(|arm| Some((arm, arm.capacity?)))
    }

    /// Stages with the longest queues.
    fn longest(&self) -> Option<&Arm<'a>> {
        self.in_flight.last()
    }

    /// How many times longer it takes with the shortest queues than with the longest, where times vary.
    fn price(&self) -> Option<Estimate> {
        ratio(self.varying.first()?, self.varying.last()?)
    }
}

/// How the stages of an arm make a whole.
type Rule<'r> = &'r dyn Fn(&Pipeline) -> f64;

/// Workers of the stages, seconds of a transformation as theory has it, and by flags and processors.
type Crew = ([usize; 3], Given, Given);

impl Theory<'_> {
    fn all_at_work(&self) -> Crew {
        let (p, shared) = (self.p, self.shared());
        let widths = [p.fetchers, p.transformers, p.storers];
        (widths, shared * self.slower, shared)
    }

    fn one_at_work(&self) -> Crew {
        let (p, cost) = (self.p, self.p.transform.s());
        ([p.fetchers, 1, p.storers], cost * self.slower, cost.into())
    }
}

/// An arm with one worker a stage and without queues.
fn alone<'a>(theory: &Theory, condition: Option<Condition<'a>>, name: &str, note: &str) -> Arm<'a> {
    let cost = theory.p.transform.s();
    Arm {
        name: name.into(),
        note: note.into(),
        predicted: f64::NAN.into(),
        each: cost * theory.slower,
        cost: cost.into(),
        at_once: Some(1),
        fills: None,
        capacity: None,
        hands: 3,
        condition,
    }
}

/// Stages at once, of equal times.
fn staged<'a>(
    theory: &Theory,
    summary: &Summary<'a>,
    series: &str,
    q: usize,
    (widths, each, cost): Crew,
) -> Arm<'a> {
    let [fetchers, transformers, _] = widths;
    let name = match transformers {
        _ if series == "stages/awaited" => "Stages, one await an item".into(),
        w => format!("Stages, {w} in flight"),
    };
    let (predicted, fills) = theory.steady(widths, q, each.value);
    // As many fetched at once as there are transformers set all of them to work.
    let all = transformers <= fetchers && transformers <= theory.p.items;
    Arm {
        predicted: Given::new(predicted, theory.origin()).and(each.origin()),
        each,
        cost,
        at_once: all.then_some(transformers),
        fills,
        capacity: Some(q),
        hands: widths.iter().sum(),
        ..alone(
            theory,
            summary.at(series, q as f64),
            &name,
            "all stages at once",
        )
    }
}

/// Stages at once whose times vary.
fn vary<'a>(theory: &Theory, summary: &Summary<'a>, q: usize) -> Arm<'a> {
    let drawn = &theory.varying[Step::Transform as usize];
    let mean = drawn.iter().sum::<f64>() / drawn.len().max(1) as f64;
    let condition = summary.at("varying", q as f64);
    let (predicted, fills) = theory.vary(q);
    Arm {
        fills,
        predicted: Given::new(predicted, theory.origin()),
        each: mean * theory.slower,
        cost: mean.into(),
        capacity: Some(q),
        ..alone(theory, condition, "Stages of varying times", "")
    }
}

/// The time of one arm over that of another in the same round.
fn ratio(a: &Arm, b: &Arm) -> Option<Estimate> {
    a.condition?.paired(&b.condition?, |a, b| {
        (b.wall_s > 0.0).then(|| a.wall_s / b.wall_s)
    })
}

pub(super) fn explain(p: &Params, summary: &Summary) -> Findings {
    let view = View::new(p, summary);
    let mut figures = vec![overlap(&view), pool(&view)];
    figures.extend(queues(p, &view.in_flight));
    figures.push(capacity(&view));
    let mut claims = times(&view);
    claims.extend(counts(&view));
    Findings {
        headline: headline(&view),
        figures,
        tables: vec![table(&view)],
        claims,
        answers: answers(&view),
    }
}

/// Claims about how long it takes.
fn times(view: &View) -> Vec<Claim> {
    let longer = Disturbed::Longer(Resource::Processors);
    let whole = |arm: &Arm, share| Case::share(arm.title(), arm.predicted, arm.wall(), share);
    vec![
        Law::new(
            "one thing after another adds up: in turn N times the sum of all steps, phases and batches Σ ⌈N/w⌉·s",
            "s",
            longer,
        )
        .within("4 %: beside others at work a step takes up to 2 % longer than in turn, and timers tick once a millisecond")
        .near(view.one_after_another().map(|arm| whole(arm, 0.04)))
        .unless(view.theory.astray()),
        Law::new(
            "stages at once take the fill and then the slowest stage's s/w an item, with queues of any capacity; a stage that awaits each item is one of one worker",
            "s",
            longer,
        )
        .within("5 %: where all stages are at work a step takes up to 3 % longer than in turn, and timers tick once a millisecond")
        .near(view.at_once().map(|arm| whole(arm, 0.05)))
        .unless(view.theory.astray()),
        Law::new(
            "where times vary, a simulation of the same times predicts the whole at each capacity",
            "s",
            longer,
        )
        .within("3 %: one worker a stage leaves the processors room, but a millisecond's tick is 3 % of a short time")
        .near(view.varying.iter().map(|arm| varied(arm, view)))
        .unless(view.theory.astray()),
        Law::new(
            "a transformation takes its cost, or cost·W/P where its W workers share less than W processors' worth",
            "s",
            // A mean of all items: what holds up a trial holds up each of them by its share.
            Disturbed::Either(Resource::Processors),
        )
        .within("10 %: a processor's clock changes with load and heat")
        .near(view.all().map(|arm| Case::share(arm.title(), arm.cost, arm.took(), 0.1))),
    ]
}

/// The whole where times vary; not measured where the steps are shorter than the times that were drawn.
fn varied(arm: &Arm, view: &View) -> Case {
    let (spin, drawn) = (view.p.work == Work::Spin, &view.theory.varying);
    let steps = [
        (Step::Fetch, 1.0),
        (Step::Transform, if spin { 0.25 } else { 1.0 }),
        (Step::Store, 1.0),
    ];
    let kept = |t: &Trial| {
        steps.iter().all(|(step, share)| {
            spans(t, *step).all(|span| {
                let item = span.name.parse().unwrap_or(0_usize).checked_sub(1);
                let due = item.and_then(|i| drawn[*step as usize].get(i));
                // The service's timers end up to two ticks early.
                due.is_some_and(|due| span.end_s - span.start_s >= share * due - 2e-3)
            })
        })
    };
    let wall = arm.wall().filter(|_| arm.trials().iter().all(kept));
    Case::share(arm.title(), arm.predicted, wall, 0.03)
}

/// Claims about what can be counted.
fn counts(view: &View) -> Vec<Claim> {
    let n = view.p.items;
    let every = |arm: &Arm, count: &dyn Fn(&Trial) -> Option<f64>| arm.condition?.every(count);
    let at_once = |arm: &Arm| {
        let most = |t: &Trial| most_at_once(t, Step::Transform).map(|m| m as f64);
        let measured = every(arm, &most);
        Some(Case::exact(arm.title(), arm.at_once? as f64, measured))
    };
    let [alone, together] = [true, false].map(|alone| {
        let arms = view
            .steady()
            .filter(move |arm| (arm.at_once == Some(1)) == alone);
        arms.filter_map(at_once).collect::<Vec<Case>>()
    });
    // What never fills shows nothing of its bound.
    let fills = |(arm, q): &(&Arm, usize)| arm.fills == Some(*q);
    // One that should have been full and was not has not been measured.
    let depths = view.staged().filter(fills).map(|(arm, q)| {
        let full = |t: &Trial| deepest(t).is_some_and(|depth| depth >= q as f64);
        let measured = every(arm, &deepest).filter(|_| arm.trials().iter().all(full));
        Case::exact(arm.title(), q as f64, measured)
    });
    // More than all of the items cannot be in progress anyway.
    let room = |(arm, q): &(&Arm, usize)| arm.hands + 2 * q < n;
    let progress = view.staged().filter(room).map(|(arm, q)| {
        let measured = every(arm, &in_progress);
        Case::exact(arm.title(), (arm.hands + 2 * q) as f64, measured)
    });
    let wrong = view.all().map(|arm| {
        let measured = every(arm, &|t| miscounted(t, n));
        Case::exact(arm.title(), 0.0, measured)
    });
    vec![
        Law::counted(
            "in turn, where each item is awaited, and where a batch is one job, no two transformers are ever at work at one time",
            "transformers at once",
        )
        .near(alone),
        // Jobs that are shorter than a turn of the processor may take turns where others want it, too.
        Law::new(
            "where each item is a job of its own, all transformers are at work at one time",
            "transformers at once",
            Disturbed::Beyond(Resource::Processors, view.p.transform.s()),
        )
        .near(together),
        Law::counted(
            "a queue that fills, since the stage behind it is slower, never holds more than its capacity: every look at it after a send or a receive",
            "items",
        )
        .at_most(depths),
        Law::counted(
            "stages never have more in progress than their workers and the two queues hold",
            "items",
        )
        .at_most(progress),
        Law::counted(
            "every item is fetched once, transformed once and stored once",
            "items too many or too few",
        )
        .near(wrong),
    ]
}

fn answers(view: &View) -> Vec<Answer> {
    let predicted = |a: Option<&Arm>, b: Option<&Arm>| match (a, b) {
        (Some(a), Some(b)) => a.predicted.value / b.predicted.value,
        _ => f64::NAN,
    };
    let (longest, phases) = (view.longest(), &view.phases);
    let share = longest.and_then(|arm| ratio(arm, phases));
    let ends = predicted(view.varying.first(), view.varying.last());
    let longer = view.price().map(|e| e.shifted(-1.0));
    vec![
        Answer::near("share", share, predicted(longest, Some(phases))).scaled(100.0),
        Answer::near(
            "busy",
            view.one_await.busy(),
            view.one_await.busy_by_theory(view.p.items),
        ),
        Answer::near("capacity", longer, ends - 1.0).scaled(100.0),
    ]
}

fn took(arm: &Arm) -> String {
    cell(arm.wall(), seconds)
}

fn headline(view: &View) -> String {
    let of = |arm: Option<&Arm>| arm.map_or("–".into(), took);
    let capacity = |arm: Option<&Arm>| {
        let q = arm.and_then(|arm| arm.capacity);
        q.map_or("–".into(), |q| q.to_string())
    };
    let (shortest, longest) = (view.in_flight.first(), view.longest());
    format!(
        "{} items take {} in turn, {} in phases and {} in stages at once. A stage that awaits each item makes that {}, with {} of {} transformers busy. With queues of {} and of {} it takes {} and {} where all times are equal, {} and {} where they vary.",
        view.p.items,
        took(&view.in_turn),
        took(&view.phases),
        of(longest),
        took(&view.one_await),
        cell(view.one_await.busy(), number),
        view.p.transformers,
        capacity(shortest),
        capacity(longest),
        of(shortest),
        of(longest),
        of(view.varying.first()),
        of(view.varying.last()),
    )
}

/// " One of 3 trials."; nothing for one.
fn one_of(arm: &Arm) -> String {
    match arm.trials().len() {
        0 | 1 => String::new(),
        n => format!(" One of {n} trials."),
    }
}

fn overlap(view: &View) -> Figure {
    let p = view.p;
    let mut shown: Vec<&Arm> = vec![&view.phases, &view.job_each];
    shown.extend(view.longest());
    Figure {
        id: "overlap".into(),
        title: format!(
            "Stages at once take {}, phases {}",
            view.longest().map_or("–".into(), Arm::drawn_wall),
            view.phases.drawn_wall()
        ),
        subtitle: format!(
            "{} items; fetch {} ({} at a time), transform {} ({}), store {} ({}). Hatched: waits for room. Dashed: theory.{}",
            p.items, p.fetch, p.fetchers, p.transform, p.transformers, p.store, p.storers, one_of(&view.phases)
        ),
        desc: "Gantt chart of fetchers, transformers and storers in three arms: one kind after another, the same for each batch, and all at once.".into(),
        body: Body::Gantt(Gantt {
            groups: shown.iter().map(|arm| group(p, arm, false)).collect(),
        }),
    }
}

fn pool(view: &View) -> Figure {
    let workers = view.p.transformers;
    let mut pools: Vec<&Arm> = vec![&view.one_await];
    pools.extend(view.longest());
    pools.extend([&view.one_job, &view.job_each]);
    Figure {
        id: "pool".into(),
        title: format!(
            "{} of {workers} transformers are busy when each item is awaited, {} with {workers} in flight",
            view.one_await.drawn_busy(),
            view.longest().map_or("–".into(), Arm::drawn_busy)
        ),
        subtitle: format!(
            "The pool of transformers alone. A batch as one job: {} busy; a job an item: {}. Dashed: theory.{}",
            view.one_job.drawn_busy(),
            view.job_each.drawn_busy(),
            one_of(&view.one_await)
        ),
        desc: "Gantt chart of the transformers in four arms: one worker at work and the others idle, or all at work.".into(),
        body: Body::Gantt(Gantt {
            groups: pools.iter().map(|arm| group(view.p, arm, true)).collect(),
        }),
    }
}

fn table(view: &View) -> Table {
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
    let varies = |arm: &Arm| view.varying.iter().any(|v| v.title() == arm.title());
    for arm in view.all() {
        let of_it = ratio(arm, &view.in_turn).filter(|_| !varies(arm));
        let greatest = |f: &dyn Fn(&Trial) -> Option<f64>| {
            let most = arm.trials().iter().filter_map(f).reduce(f64::max);
            most.map_or("–".into(), number)
        };
        table.row([
            arm.title(),
            seconds(arm.predicted.value),
            took(arm),
            cell(of_it, percent),
            cell(arm.busy(), number),
            number(arm.busy_by_theory(view.p.items)),
            match arm.capacity {
                Some(_) => greatest(&deepest),
                None => "–".into(),
            },
            greatest(&in_progress),
        ]);
    }
    let theory = &view.theory;
    let [fetching, storing] = theory.besides;
    table.note = format!(
        "How long the steps take besides their flags was measured in turn, how they make the whole is theory: a fetch took {} more than its service, a store {}, handing an item to the pool and on {}, and a transformation {}. Theory for in turn knows the flags and the machine's calibration only. Transformers busy are their work over the arm's time.",
        seconds(fetching.value),
        seconds(storing.value),
        seconds(theory.handing.value),
        cell(view.in_turn.took(), seconds),
    );
    table
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

/// Transformers at work, averaged over the arm's time.
fn busy_transformers(trial: &Trial) -> Option<f64> {
    let all: f64 = work(trial, Step::Transform).sum();
    (trial.wall_s > 0.0).then(|| all / trial.wall_s)
}

/// Transformers, or workers of another stage, that were at work at one time: the most.
fn most_at_once(trial: &Trial, step: Step) -> Option<usize> {
    most_inside(
        spans(trial, step).map(|s| s.start_s),
        spans(trial, step).map(|s| s.end_s),
    )
}

/// Most items that had begun to be fetched and had not been stored at one time: by the program's own
/// count, or in an older record by its spans.
fn in_progress(trial: &Trial) -> Option<f64> {
    let counted = trial.gauge(gauges::IN_PROGRESS_MAX);
    let seen = || {
        most_inside(
            spans(trial, Step::Fetch).map(|s| s.start_s),
            spans(trial, Step::Store).map(|s| s.end_s),
        )
    };
    counted.or_else(|| seen().map(|most| most as f64))
}

/// Most that had come and not gone at one time; `None` if none came.
pub(super) fn most_inside(
    come: impl Iterator<Item = f64>,
    gone: impl Iterator<Item = f64>,
) -> Option<usize> {
    let mut edges: Vec<(f64, i32)> = come
        .map(|at| (at, 1))
        .chain(gone.map(|at| (at, -1)))
        .collect();
    // At one instant the one that leaves makes room for the one that comes.
    edges.sort_by(|a, b| a.0.total_cmp(&b.0).then(a.1.cmp(&b.1)));
    let mut inside = 0;
    let counts = edges.iter().map(|(_, change)| {
        inside += change;
        inside
    });
    counts.max().map(|most| most.max(0) as usize)
}

/// Items that were stored, were stored as different ones, were transformed or asked for too often or not
/// often enough, by the program's list, by the transformers and by the service.
fn miscounted(trial: &Trial, items: usize) -> Option<f64> {
    let n = items as f64;
    let mut times = vec![0_u32; items];
    let mut strange = 0;
    for span in spans(trial, Step::Transform) {
        let item = span.name.parse().ok().and_then(|i: usize| i.checked_sub(1));
        match item.and_then(|i| times.get_mut(i)) {
            Some(count) => *count += 1,
            None => strange += 1,
        }
    }
    let transformed = times.iter().map(|count| count.abs_diff(1)).sum::<u32>() + strange;
    // A service elsewhere does not tell what arrived.
    let arrived = trial.gauge(gauge::UPSTREAM_ARRIVED).unwrap_or(2.0 * n);
    let apart = |gauge: Gauge| Some((trial.gauge(gauge)? - n).abs());
    let stored = apart(gauges::STORED)? + apart(gauges::STORED_DIFFERENT)?;
    Some(stored + (arrived - 2.0 * n).abs() + f64::from(transformed))
}

/// Most items that a queue held at any look; `None` without a look.
fn deepest(trial: &Trial) -> Option<f64> {
    let depths = trial.traces.values().flatten().map(|(_, depth)| *depth);
    depths.reduce(f64::max)
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
        predicted_end: Some(arm.predicted.value).filter(|t| t.is_finite()),
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
    // Of the trials that are drawn.
    let most = |name: &str| {
        let drawn = arms.iter().filter_map(Arm::typical);
        let depths = drawn.filter_map(|t| t.traces.get(name)).flatten();
        let most = depths.map(|(_, depth)| *depth).reduce(f64::max);
        most.map_or("–".into(), number)
    };
    let exceeds = |arm: &Arm| {
        let q = arm.capacity.map_or(f64::INFINITY, |q| q as f64);
        arm.trials().iter().filter_map(deepest).any(|d| d > q)
    };
    let exceeded = arms.iter().any(exceeds);
    (!panels.is_empty()).then(|| Figure {
        id: "queues".into(),
        title: format!(
            "{}: at most {} wait to be transformed, {} to be stored",
            if exceeded { "A queue exceeded its capacity" } else { "No queue exceeds its capacity" },
            most("fetched"),
            most("transformed")
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

/// Capacities between the smallest and the largest that were tried, close together on a logarithmic axis.
fn grid(tried: &[usize]) -> Vec<usize> {
    let (Some(least), Some(most)) = (tried.first(), tried.last()) else {
        return Vec::new();
    };
    let (from, to) = ((*least as f64).ln(), (*most as f64).ln());
    let between = (0..=24).map(|i| (from + (to - from) * i as f64 / 24.0).exp().round() as usize);
    let mut grid: Vec<usize> = between.chain(tried.iter().copied()).collect();
    grid.sort_unstable();
    grid.dedup();
    grid
}

/// Time over capacity, where times are equal and where they vary.
fn capacity(view: &View) -> Figure {
    let (p, theory) = (view.p, &view.theory);
    let tried: Vec<usize> = view
        .in_flight
        .iter()
        .filter_map(|arm| arm.capacity)
        .collect();
    let (widths, each, _) = theory.all_at_work();
    let mut layers = Vec::new();
    let equal = |q: usize| theory.steady(widths, q, each.value).0;
    let vary = |q: usize| theory.vary(q).0;
    type Curve<'r> = &'r dyn Fn(usize) -> f64;
    let lines: [(&[Arm], &str, Colour, Curve); 2] = [
        (&view.varying, "times vary", Colour::Purple, &vary),
        (&view.in_flight, "equal times", Colour::Blue, &equal),
    ];
    for (arms, label, colour, curve) in lines {
        let told = grid(&tried).into_iter().map(|q| (q as f64, curve(q)));
        layers.push(Layer::Line(Line::theory("", Colour::Muted, told.collect())));
        let seen = arms
            .iter()
            .filter_map(|arm| Some((arm.capacity? as f64, arm.wall()?)));
        let seen: Vec<(f64, Estimate)> = seen.collect();
        let points = seen.iter().map(|(q, e)| (*q, e.value)).collect();
        let band = seen.iter().filter_map(|(q, e)| {
            let (lo, hi) = e.ci95?;
            Some((*q, lo, hi))
        });
        let line = Line::measured(label, colour, points).with_band(band.collect());
        layers.push(Layer::Line(line));
    }
    let ticks: Vec<f64> = tried.iter().map(|q| *q as f64).collect();
    let ends = |pick: Option<&f64>| pick.map_or("–".into(), |q| number(*q));
    Figure {
        id: "capacity".into(),
        title: format!(
            "Queues of {} instead of {} cost {} where times vary",
            ends(ticks.first()),
            ends(ticks.last()),
            cell(view.price(), |r| percent(r - 1.0))
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
            gauges: [(gauge::STARTED_S.to_string(), 0.5)].into(),
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
        assert_eq!(in_progress(&trial()), Some(2.0));
        // One is stored in the instant in which the next one begins.
        let mut in_turn = trial();
        in_turn.spans = vec![
            span("fetch 1", "1", 0.0, 1.0),
            span("store 1", "1", 1.0, 2.0),
            span("fetch 1", "2", 2.0, 3.0),
            span("store 1", "2", 3.0, 4.0),
        ];
        assert_eq!(in_progress(&in_turn), Some(1.0));
        in_turn
            .gauges
            .insert(gauges::IN_PROGRESS_MAX.to_string(), 3.0);
        assert_eq!(in_progress(&in_turn), Some(3.0));
        assert_eq!(in_progress(&Trial::default()), None);
    }

    #[test]
    fn transformers_are_counted_while_they_work() {
        assert_eq!(most_at_once(&trial(), Step::Transform), Some(1));
        let mut two = trial();
        two.spans.push(span("transform 2", "3", 1.5, 1.8));
        assert_eq!(most_at_once(&two, Step::Transform), Some(2));
        assert_eq!(most_at_once(&Trial::default(), Step::Transform), None);
    }

    #[test]
    fn an_item_lost_doubled_or_strange_is_counted() {
        let mut right = trial();
        let counts = [
            (gauges::STORED, 2.0),
            (gauges::STORED_DIFFERENT, 2.0),
            (gauge::UPSTREAM_ARRIVED, 4.0),
        ];
        right
            .gauges
            .extend(counts.map(|(gauge, n)| (gauge.to_string(), n)));
        assert_eq!(miscounted(&right, 2), Some(0.0));
        let mut twice = right.clone();
        twice.spans.push(span("transform 1", "2", 3.0, 4.0));
        assert_eq!(miscounted(&twice, 2), Some(1.0));
        let mut again = right.clone();
        again
            .gauges
            .insert(gauge::UPSTREAM_ARRIVED.to_string(), 5.0);
        assert_eq!(miscounted(&again, 2), Some(1.0));
        // One that nobody sent, and all counts of two where there are three.
        right.spans.push(span("transform 1", "7", 3.0, 4.0));
        assert_eq!(miscounted(&right, 3), Some(1.0 + 1.0 + 2.0 + 1.0 + 1.0));
        assert_eq!(miscounted(&trial(), 2), None);
    }

    #[test]
    fn a_grid_holds_what_was_tried() {
        let grid = grid(&[1, 4, 20]);
        assert!(grid.contains(&4) && grid.contains(&2) && grid.is_sorted());
        assert_eq!((grid.first(), grid.last()), (Some(&1), Some(&20)));
        assert!(super::grid(&[]).is_empty());
    }

    #[test]
    fn a_depth_lasts_until_the_next_look() {
        let points = steps(&trial(), "fetched");
        assert_eq!(
            points,
            [(0.0, 0.0), (0.5, 0.0), (0.5, 1.0), (1.5, 1.0), (1.5, 0.0)]
        );
        assert_eq!(steps(&trial(), "no such queue"), [(0.0, 0.0)]);
        assert_eq!(deepest(&trial()), Some(1.0));
        assert_eq!(deepest(&Trial::default()), None);
    }
}
