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

pub(super) fn explain(p: &Params, summary: &Summary) -> Findings {
    let view = View::of(p, summary);
    let figures = [Some(view.overlap()), Some(view.pool()), view.queues(), Some(view.capacity())];
    Findings {
        headline: view.headline(),
        figures: figures.into_iter().flatten().collect(),
        tables: vec![view.table()],
        claims: [view.times(), view.counts()].concat(),
        answers: view.answers(),
    }
}

/// Who works in an arm, and how long a transformation takes there.
#[derive(Clone, Copy)]
struct Crew {
    /// Workers of the stages.
    widths: [usize; 3],
    /// Seconds that one transformation takes by theory.
    each: Given,
    /// Seconds it should take, by the flags and the processors there are.
    cost: Given,
}

/// One arm of the experiment.
struct Arm<'a> {
    name: String,
    note: String,
    /// Seconds from the first fetch to the last store.
    predicted: Given,
    crew: Crew,
    /// Most transformers at work at one time; `None` where that is a matter of luck.
    at_once: Option<usize>,
    /// Most items that the fuller one of its queues holds, by theory.
    fills: Option<usize>,
    /// Capacity of the queues; `None` without stages.
    capacity: Option<usize>,
    condition: Option<Condition<'a>>,
}

impl<'a> Arm<'a> {
    /// Without queues, and with one transformer at work at a time.
    fn new(crew: Crew, predicted: Given, condition: Option<Condition<'a>>) -> Arm<'a> {
        Arm {
            name: String::new(),
            note: String::new(),
            predicted,
            crew,
            at_once: Some(1),
            fills: None,
            capacity: None,
            condition,
        }
    }

    fn named(self, name: impl Into<String>) -> Arm<'a> {
        let name = name.into();
        Arm { name, ..self }
    }

    fn noted(self, note: impl Into<String>) -> Arm<'a> {
        let note = note.into();
        Arm { note, ..self }
    }

    /// With so many transformers at work at one time.
    fn with_at_once(self, transformers: usize) -> Arm<'a> {
        Arm { at_once: Some(transformers), ..self }
    }

    fn wall(&self) -> Option<Estimate> {
        self.condition?.wall_s()
    }

    fn busy(&self) -> Option<Estimate> {
        self.condition?.estimate(busy_transformers)
    }

    /// Transformers at work on average, by theory.
    fn busy_by_theory(&self, items: usize) -> f64 {
        items as f64 * self.crew.each.value / self.predicted.value
    }

    /// Seconds that a transformation took.
    fn took(&self) -> Option<Estimate> {
        self.condition?.estimate(|t| mean_work(t, Step::Transform))
    }

    /// The time of this arm over that of another in the same round.
    fn over(&self, other: &Arm) -> Option<Estimate> {
        let ratio = |a: &Trial, b: &Trial| (b.wall_s > 0.0).then(|| a.wall_s / b.wall_s);
        self.condition?.paired(&other.condition?, ratio)
    }

    /// Workers of all stages.
    fn hands(&self) -> usize {
        self.crew.widths.iter().sum()
    }

    /// Its case in a claim about a count, which must be right in every trial.
    fn counted(&self, due: usize, count: impl Fn(&Trial) -> Option<f64>) -> Case {
        let measured = self.condition.and_then(|k| k.every(count));
        Case::exact(self.title(), due as f64, measured)
    }

    /// The greatest of a count over its trials.
    fn greatest(&self, count: impl Fn(&Trial) -> Option<f64>) -> String {
        let most = self.trials().iter().filter_map(count).reduce(f64::max);
        most.map_or("–".into(), number)
    }

    fn title(&self) -> String {
        match self.capacity {
            Some(q) => format!("{}, queues of {q}", self.name),
            None => self.name.clone(),
        }
    }

    fn trials(&self) -> &'a [Trial] {
        self.condition.map_or(&[], |k| k.trials())
    }

    /// The trial that is drawn.
    fn typical(&self) -> Option<&'a Trial> {
        self.condition?.typical(|t| t.wall_s)
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

    /// " One of 3 trials."; nothing for one.
    fn one_of(&self) -> String {
        match self.trials().len() {
            0 | 1 => String::new(),
            n => format!(" One of {n} trials."),
        }
    }
}

/// What theory starts from: the flags, and what the steps take besides. That is measured where nothing
/// else goes on, in turn; the transformers' share of the processors is from the machine's calibration. How
/// such steps make a whole, in all the other arms, is what theory has to say.
struct Theory<'a> {
    p: &'a Params,
    summary: &'a Summary<'a>,
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
    fn of(p: &'a Params, summary: &'a Summary<'a>) -> Theory<'a> {
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
            summary,
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
        self.processors.map(|p| Stage::on_processors(cost, w, p).service)
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

    /// A figure of this theory.
    fn given(&self, value: f64, crew: &Crew) -> Given {
        Given::new(value, self.origin()).and(crew.each.origin())
    }

    /// One worker a stage.
    fn one_each(&self, cost: f64) -> Crew {
        Crew { widths: [1; 3], each: cost * self.slower, cost: cost.into() }
    }

    /// One transformer, and all fetchers and storers.
    fn one_at_work(&self) -> Crew {
        let p = self.p;
        Crew { widths: [p.fetchers, 1, p.storers], ..self.one_each(p.transform.s()) }
    }

    fn all_at_work(&self) -> Crew {
        let (p, shared) = (self.p, self.shared());
        Crew {
            widths: [p.fetchers, p.transformers, p.storers],
            each: shared * self.slower,
            cost: shared,
        }
    }

    /// The stages of such a crew.
    fn stages(&self, crew: &Crew) -> Pipeline {
        let ([fetch, store], [c, w, d]) = (self.besides, crew.widths);
        Pipeline::new(&[
            (self.p.fetch.s() + fetch.value, c),
            (crew.each.value + self.handing.value, w),
            (self.p.store.s() + store.value, d),
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
    fn steady(&self, crew: &Crew, capacity: usize) -> (f64, Option<usize>) {
        let all = |time: f64| vec![time; self.p.items];
        let (fetch, transform) = (all(self.p.fetch.s()), all(crew.each.value));
        let store = all(self.p.store.s());
        self.at_once(crew.widths, capacity, [&fetch, &transform, &store])
    }

    /// The same with times that vary, and one worker a stage.
    fn vary(&self, capacity: usize) -> (f64, Option<usize>) {
        let [fetch, transform, store] = &self.varying;
        let slow: Vec<f64> = transform.iter().map(|t| t * self.slower.value).collect();
        self.at_once([1; 3], capacity, [fetch, &slow, store])
    }
}

/// Theory's arms.
impl<'a> Theory<'a> {
    /// Each item by itself. This one has only the flags to go by, and what was measured before the run.
    fn in_turn(&self) -> Arm<'a> {
        let (p, cost) = (self.p, self.p.transform.s());
        let fill = p.fetch.s() + cost + p.store.s() + 2.0 * self.request;
        let crew = Crew { each: cost.into(), ..self.one_each(cost) };
        Arm::new(crew, p.items as f64 * fill, self.summary.only("in-turn"))
            .named("In turn")
            .noted("each item through all stages before the next one")
    }

    /// Stage after stage, for all items or for each batch.
    fn one_by_one(&self, series: &str, crew: Crew, rule: impl Fn(&Pipeline) -> f64) -> Arm<'a> {
        let predicted = self.given(rule(&self.stages(&crew)), &crew);
        Arm::new(crew, predicted, self.summary.only(series))
    }

    /// Stages at once, with queues of so many places: as long as this, and with so many in the fuller queue.
    fn queued(
        &self,
        series: &str,
        crew: Crew,
        q: usize,
        simulated: (f64, Option<usize>),
    ) -> Arm<'a> {
        let (whole, fills) = simulated;
        let condition = self.summary.at(series, q as f64);
        Arm { fills, capacity: Some(q), ..Arm::new(crew, self.given(whole, &crew), condition) }
    }

    /// Stages at once, of equal times.
    fn staged(&self, series: &str, crew: Crew, q: usize) -> Arm<'a> {
        // As many fetched at once as there are transformers set all of them to work.
        let [fetchers, transformers, _] = crew.widths;
        let all = transformers <= fetchers && transformers <= self.p.items;
        Arm {
            at_once: all.then_some(transformers),
            ..self.queued(series, crew, q, self.steady(&crew, q))
        }
    }

    /// Stages at once whose times vary.
    fn varied(&self, q: usize) -> Arm<'a> {
        let drawn = &self.varying[Step::Transform as usize];
        let mean = drawn.iter().sum::<f64>() / drawn.len().max(1) as f64;
        self.queued("varying", self.one_each(mean), q, self.vary(q))
            .named("Stages of varying times")
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
    fn of(p: &'a Params, summary: &'a Summary<'a>) -> View<'a> {
        let theory = Theory::of(p, summary);
        let (n, b, w) = (p.items, p.batch, p.transformers);
        let mut capacities = p.capacities.clone();
        capacities.sort_unstable();
        capacities.dedup();
        let most = capacities.last().copied().unwrap_or(1);
        let (wide, awaited) = (theory.all_at_work(), theory.one_at_work());
        // There and back from the pool only once a batch.
        let spared = (n - n.div_ceil(b)) as f64 * theory.handing.value;
        let in_flight = |q: &usize| {
            let arm = theory.staged("stages/in-flight", wide, *q);
            arm.named(format!("Stages, {w} in flight")).noted("all stages at once")
        };
        View {
            p,
            in_turn: theory.in_turn(),
            phases: theory
                .one_by_one("phases", wide, |s| s.phased(n))
                .named("Phases")
                .noted("everything through one stage before the next stage")
                .with_at_once(w.min(n)),
            one_job: theory
                .one_by_one("batches/one-job", awaited, |s| s.batched(n, b) - spared)
                .named("Batches as one job")
                .noted(format!("{b} items at a time, a batch on one worker")),
            job_each: theory
                .one_by_one("batches/job-each", wide, |s| s.batched(n, b))
                .named("Batches, a job an item")
                .noted(format!("{b} items at a time, phase by phase"))
                .with_at_once(w.min(n).min(b)),
            one_await: theory
                .staged("stages/awaited", awaited, most)
                .named("Stages, one await an item")
                .noted("the loop in the middle awaits each item"),
            in_flight: capacities.iter().map(in_flight).collect(),
            varying: capacities.iter().map(|q| theory.varied(*q)).collect(),
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
        self.varying.first()?.over(self.varying.last()?)
    }
}

/// The claims and the answers.
impl View<'_> {
    /// Claims about how long it takes.
    fn times(&self) -> Vec<Claim> {
        let longer = |text| Law::new(text, "s", Disturbed::Longer(Resource::Processors));
        let whole = |arm: &Arm, share| Case::share(arm.title(), arm.predicted, arm.wall(), share);
        // A mean of all items: what holds up a trial holds up each of them by its share.
        let either = Disturbed::Either(Resource::Processors);
        let cost = "a transformation takes its cost, or cost·W/P where its W workers share less than W processors' worth";
        vec![
            longer("one thing after another adds up: in turn N times the sum of all steps, phases and batches Σ ⌈N/w⌉·s")
                .within("4 %: beside others at work a step takes up to 2 % longer than in turn, and timers tick once a millisecond")
                .near(self.one_after_another().map(|arm| whole(arm, 0.04)))
                .unless(self.theory.astray()),
            longer("stages at once take the fill and then the slowest stage's s/w an item, with queues of any capacity; a stage that awaits each item is one of one worker")
                .within("5 %: where all stages are at work a step takes up to 3 % longer than in turn, and timers tick once a millisecond")
                .near(self.at_once().map(|arm| whole(arm, 0.05)))
                .unless(self.theory.astray()),
            longer("where times vary, a simulation of the same times predicts the whole at each capacity")
                .within("3 %: one worker a stage leaves the processors room, but a millisecond's tick is 3 % of a short time")
                .near(self.varying.iter().map(|arm| self.varied_case(arm)))
                .unless(self.theory.astray()),
            Law::new(cost, "s", either)
                .within("10 %: a processor's clock changes with load and heat")
                .near(self.all().map(|arm| Case::share(arm.title(), arm.crew.cost, arm.took(), 0.1))),
        ]
    }

    /// The whole where times vary; not measured where the steps are shorter than the times that were drawn.
    fn varied_case(&self, arm: &Arm) -> Case {
        let drawn = &self.theory.varying;
        let computed = match self.p.work {
            Work::Spin => 0.25,
            Work::Sleep => 1.0,
        };
        let steps = [(Step::Fetch, 1.0), (Step::Transform, computed), (Step::Store, 1.0)];
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
    fn counts(&self) -> Vec<Claim> {
        let n = self.p.items;
        let at_once = |arm: &Arm| Some(arm.counted(arm.at_once?, most_at_once));
        let [alone, together] = [true, false].map(|alone| {
            let arms = self.steady();
            let arms = arms.filter(move |arm| (arm.at_once == Some(1)) == alone);
            arms.filter_map(at_once).collect::<Vec<Case>>()
        });
        // What never fills shows nothing of its bound.
        let fills = |(arm, q): &(&Arm, usize)| arm.fills == Some(*q);
        // One that should have been full and was not has not been measured.
        let depths = self.staged().filter(fills).map(|(arm, q)| {
            let full = |t: &Trial| deepest(t).is_some_and(|depth| depth >= q as f64);
            let filled = arm.trials().iter().all(full);
            arm.counted(q, |t| deepest(t).filter(|_| filled))
        });
        // More than all of the items cannot be in progress anyway.
        let progress = self.staged().filter_map(|(arm, q)| {
            let most = arm.hands() + 2 * q;
            (most < n).then(|| arm.counted(most, in_progress))
        });
        let wrong = self.all().map(|arm| arm.counted(0, |t| miscounted(t, n)));
        // Jobs that are shorter than a turn of the processor may take turns where others want it, too.
        let short = Disturbed::Beyond(Resource::Processors, self.p.transform.s());
        vec![
            Law::counted("in turn, where each item is awaited, and where a batch is one job, no two transformers are ever at work at one time", "transformers at once")
                .near(alone),
            Law::new("where each item is a job of its own, all transformers are at work at one time", "transformers at once", short)
                .near(together),
            Law::counted("a queue that fills, since the stage behind it is slower, never holds more than its capacity: every look at it after a send or a receive", "items")
                .at_most(depths),
            Law::counted("stages never have more in progress than their workers and the two queues hold", "items")
                .at_most(progress),
            Law::counted("every item is fetched once, transformed once and stored once", "items too many or too few")
                .near(wrong),
        ]
    }

    fn answers(&self) -> Vec<Answer> {
        let theory = |a: Option<&Arm>, b: Option<&Arm>| {
            let both = a.zip(b);
            both.map_or(f64::NAN, |(a, b)| a.predicted.value / b.predicted.value)
        };
        let (longest, phases) = (self.longest(), &self.phases);
        let share = longest.and_then(|arm| arm.over(phases));
        let busy = self.one_await.busy_by_theory(self.p.items);
        let longer = self.price().map(|e| e.shifted(-1.0));
        let ends = theory(self.varying.first(), self.varying.last());
        vec![
            Answer::near("share", share, theory(longest, Some(phases))).scaled(100.0),
            Answer::near("busy", self.one_await.busy(), busy),
            Answer::near("capacity", longer, ends - 1.0).scaled(100.0),
        ]
    }
}

/// The headline, the table and the charts.
impl View<'_> {
    fn headline(&self) -> String {
        let took = |arm: &Arm| cell(arm.wall(), seconds);
        let of = |arm: Option<&Arm>| arm.map_or("–".into(), took);
        let capacity = |arm: Option<&Arm>| {
            let q = arm.and_then(|arm| arm.capacity);
            q.map_or("–".into(), |q| q.to_string())
        };
        let (shortest, longest) = (self.in_flight.first(), self.longest());
        format!(
            "{} items take {} in turn, {} in phases and {} in stages at once. A stage that awaits each item makes that {}, with {} of {} transformers busy. With queues of {} and of {} it takes {} and {} where all times are equal, {} and {} where they vary.",
            self.p.items,
            took(&self.in_turn),
            took(&self.phases),
            of(longest),
            took(&self.one_await),
            cell(self.one_await.busy(), number),
            self.p.transformers,
            capacity(shortest),
            capacity(longest),
            of(shortest),
            of(longest),
            of(self.varying.first()),
            of(self.varying.last()),
        )
    }

    fn table(&self) -> Table {
        let theory = &self.theory;
        let [fetching, storing] = theory.besides;
        let equal = |arm: &Arm| self.steady().any(|other| other.title() == arm.title());
        Table::of("The same items in every arm", self.all())
            .column("arm", |arm| arm.title())
            .column("theory", |arm| seconds(arm.predicted.value))
            .cells("measured", seconds, |arm| arm.wall())
            .cells("of in turn", percent, |arm| arm.over(&self.in_turn).filter(|_| equal(arm)))
            .cells("transformers busy", number, |arm| arm.busy())
            .column("theory", |arm| number(arm.busy_by_theory(self.p.items)))
            .column("most in a queue", |arm| arm.greatest(|t| deepest(t).filter(|_| arm.capacity.is_some())))
            .column("most in progress", |arm| arm.greatest(in_progress))
            .note(format!(
                "How long the steps take besides their flags was measured in turn, how they make the whole is theory: a fetch took {} more than its service, a store {}, handing an item to the pool and on {}, and a transformation {}. Theory for in turn knows the flags and the machine's calibration only. Transformers busy are their work over the arm's time.",
                seconds(fetching.value),
                seconds(storing.value),
                seconds(theory.handing.value),
                cell(self.in_turn.took(), seconds),
            ))
    }

    fn overlap(&self) -> Figure {
        let p = self.p;
        let shown = [&self.phases, &self.job_each].into_iter();
        let title = format!(
            "Stages at once take {}, phases {}",
            self.longest().map_or("–".into(), Arm::drawn_wall),
            self.phases.drawn_wall()
        );
        Figure::new("overlap", title)
            .subtitle(format!(
                "{} items; fetch {} ({} at a time), transform {} ({}), store {} ({}). Hatched: waits for room. Dashed: theory.{}",
                p.items, p.fetch, p.fetchers, p.transform, p.transformers, p.store, p.storers, self.phases.one_of()
            ))
            .desc("Gantt chart of fetchers, transformers and storers in three arms: one kind after another, the same for each batch, and all at once.")
            .gantt(shown.chain(self.longest()).map(|arm| group(p, arm, false)))
    }

    fn pool(&self) -> Figure {
        let workers = self.p.transformers;
        let shown = std::iter::once(&self.one_await).chain(self.longest());
        let shown = shown.chain([&self.one_job, &self.job_each]);
        let title = format!(
            "{} of {workers} transformers are busy when each item is awaited, {} with {workers} in flight",
            self.one_await.drawn_busy(),
            self.longest().map_or("–".into(), Arm::drawn_busy)
        );
        Figure::new("pool", title)
            .subtitle(format!(
                "The pool of transformers alone. A batch as one job: {} busy; a job an item: {}. Dashed: theory.{}",
                self.one_job.drawn_busy(),
                self.job_each.drawn_busy(),
                self.one_await.one_of()
            ))
            .desc("Gantt chart of the transformers in four arms: one worker at work and the others idle, or all at work.")
            .gantt(shown.map(|arm| group(self.p, arm, true)))
    }

    /// How full the queues are over time, a panel for each capacity.
    fn queues(&self) -> Option<Figure> {
        let (p, arms) = (self.p, &self.in_flight);
        let panel = |arm: &Arm| {
            let (trial, capacity) = (arm.typical()?, arm.capacity? as f64);
            let axis = Axis::linear("", Unit::Number).with_range(0.0, 1.3 * capacity);
            let line = |queue, label, colour| Line::trace(label, colour, steps(trial, queue));
            Some(
                Panel::new(format!("Queues of {capacity}"), axis.with_ticks([0.0, capacity]))
                    .note("items waiting")
                    .layer(Layer::rule(capacity, format!("capacity {capacity}")))
                    .layer(line("fetched", "to transform", Colour::Vermilion))
                    .layer(line("transformed", "to store", Colour::Green))
                    .height(0.7),
            )
        };
        let panels: Vec<Panel> = arms.iter().filter_map(panel).collect();
        // Of the trials that are drawn.
        let most = |queue: &str| {
            let drawn = arms.iter().filter_map(Arm::typical);
            let depths = drawn.flat_map(|t| t.trace(queue)).map(|(_, depth)| *depth);
            depths.reduce(f64::max).map_or("–".into(), number)
        };
        let exceeds = |arm: &Arm| {
            let q = arm.capacity.map_or(f64::INFINITY, |q| q as f64);
            arm.trials().iter().filter_map(deepest).any(|d| d > q)
        };
        let found = match arms.iter().any(exceeds) {
            true => "A queue exceeded its capacity",
            false => "No queue exceeds its capacity",
        };
        let title = format!(
            "{found}: at most {} wait to be transformed, {} to be stored",
            most("fetched"),
            most("transformed")
        );
        (!panels.is_empty()).then(|| Figure::new("queues", title)
            .subtitle(format!(
                "{} items through stages of {}, {} and {} workers; looked at after every send and receive",
                p.items, p.fetchers, p.transformers, p.storers
            ))
            .desc("The number of items in the two queues over time for each capacity, with the capacity as a rule.")
            .over(Axis::linear("time since the start", Unit::Seconds), panels))
    }

    /// Time over capacity, where times are equal and where they vary.
    fn capacity(&self) -> Figure {
        let (p, theory) = (self.p, &self.theory);
        let tried: Vec<usize> = self.in_flight.iter().filter_map(|arm| arm.capacity).collect();
        let ticks: Vec<f64> = tried.iter().map(|q| *q as f64).collect();
        let curve = |of: &dyn Fn(usize) -> f64| {
            let told = grid(&tried).into_iter().map(|q| (q as f64, of(q)));
            Line::theory("", Colour::Muted, told.collect())
        };
        let line = |label, colour, arms: &[Arm]| {
            let arms = arms.iter().filter_map(|arm| Some((arm.capacity? as f64, arm.wall())));
            Line::of_estimates(label, colour, arms)
        };
        let wide = theory.all_at_work();
        let end = |tick: Option<&f64>| tick.map_or("–".into(), |q| number(*q));
        let title = format!(
            "Queues of {} instead of {} cost {} where times vary",
            end(ticks.first()),
            end(ticks.last()),
            cell(self.price(), |r| percent(r - 1.0))
        );
        Figure::new("capacity", title)
            .subtitle(format!(
                "Equal times: the stages as above. Varying: one worker a stage, mean {} each, standard deviation {} times the mean. Dashed: theory",
                p.varying, p.cv
            ))
            .desc("Time of the whole over the capacity of the queues: level for equal times, falling where times vary, with the simulation's prediction.")
            .over(Axis::log("capacity of each queue, log scale", Unit::Number).with_ticks(ticks), [
                Panel::new("Time for all items", Unit::Seconds)
                    .layer(curve(&|q| theory.vary(q).0))
                    .layer(line("times vary", Colour::Purple, &self.varying))
                    .layer(curve(&|q| theory.steady(&wide, q).0))
                    .layer(line("equal times", Colour::Blue, &self.in_flight))
                    .height(1.4),
            ])
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

/// Transformers at work, averaged over the arm's time.
fn busy_transformers(trial: &Trial) -> Option<f64> {
    let all: f64 = work(trial, Step::Transform).sum();
    (trial.wall_s > 0.0).then(|| all / trial.wall_s)
}

/// Transformers that were at work at one time: the most.
fn most_at_once(trial: &Trial) -> Option<f64> {
    let work = || spans(trial, Step::Transform);
    most_inside(work().map(|s| s.start_s), work().map(|s| s.end_s))
}

/// Most items that had begun to be fetched and had not been stored at one time: by the program's own
/// count, or in an older record by its spans.
fn in_progress(trial: &Trial) -> Option<f64> {
    let seen = || {
        let stored = spans(trial, Step::Store).map(|s| s.end_s);
        most_inside(spans(trial, Step::Fetch).map(|s| s.start_s), stored)
    };
    trial.gauge(gauges::IN_PROGRESS_MAX).or_else(seen)
}

/// Most that had come and not gone at one time; `None` if none came.
pub(super) fn most_inside(
    come: impl Iterator<Item = f64>,
    gone: impl Iterator<Item = f64>,
) -> Option<f64> {
    let edges = come.map(|at| (at, 1)).chain(gone.map(|at| (at, -1)));
    let mut edges: Vec<(f64, i32)> = edges.collect();
    // At one instant the one that leaves makes room for the one that comes.
    edges.sort_by(|a, b| a.0.total_cmp(&b.0).then(a.1.cmp(&b.1)));
    let mut inside = 0;
    let counts = edges.iter().map(|(_, change)| {
        inside += change;
        inside
    });
    counts.max().map(|most| f64::from(most.max(0)))
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
    let stages = [
        (Step::Fetch, p.fetchers, Colour::Blue),
        (Step::Transform, p.transformers, Colour::Vermilion),
        (Step::Store, p.storers, Colour::Green),
    ];
    let workers = || stages.iter().map(|(_, workers, _)| *workers);
    let most = match pool_only || workers().sum::<usize>() <= LANES {
        true => LANES,
        false => LANES / 3,
    };
    let from = trial.map_or(0.0, Trial::started_s);
    // A wait that cannot be seen is left out.
    let seen = |s: &&Span| s.name != BLOCKED || !pool_only && s.end_s - s.start_s > 5e-4;
    let lane = |step: Step, k, colour| {
        let label = step.lane(k);
        let spans = trial.into_iter().flat_map(|t| &t.spans);
        let bars = spans.filter(|s| s.lane == label).filter(seen);
        let bars = bars.map(|s| Bar {
            start: s.start_s - from,
            end: s.end_s - from,
            label: if s.name == BLOCKED { "" } else { &s.name }.into(),
            colour,
            waiting: s.name == BLOCKED,
        });
        Lane { bars: bars.collect(), label, colour }
    };
    let shown = stages.into_iter();
    let shown = shown.filter(|(step, ..)| !pool_only || matches!(step, Step::Transform));
    let lanes = shown.flat_map(|(step, workers, colour)| {
        let workers = 1..=workers.min(most);
        workers.map(move |k| lane(step, k, colour))
    });
    let note = match !pool_only && workers().any(|w| w > most) {
        true => format!("{}; the first {most} workers of a stage", arm.note),
        false => arm.note.clone(),
    };
    Group {
        title: arm.title(),
        note,
        lanes: lanes.collect(),
        end: trial.map(|t| t.wall_s),
        predicted_end: Some(arm.predicted.value).filter(|t| t.is_finite()),
    }
}

/// A trace as steps, from nothing at the start.
fn steps(trial: &Trial, name: &str) -> Vec<(f64, f64)> {
    let (from, mut depth) = (trial.started_s(), 0.0);
    let mut points = vec![(0.0, 0.0)];
    for (at, now) in trial.trace(name) {
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

#[cfg(test)]
mod tests {
    use super::*;

    fn span(lane: &str, name: &str, start_s: f64, end_s: f64) -> Span {
        Span { lane: lane.into(), name: name.into(), start_s, end_s }
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
        in_turn.gauges.insert(gauges::IN_PROGRESS_MAX.to_string(), 3.0);
        assert_eq!(in_progress(&in_turn), Some(3.0));
        assert_eq!(in_progress(&Trial::default()), None);
    }

    #[test]
    fn transformers_are_counted_while_they_work() {
        assert_eq!(most_at_once(&trial()), Some(1.0));
        let mut two = trial();
        two.spans.push(span("transform 2", "3", 1.5, 1.8));
        assert_eq!(most_at_once(&two), Some(2.0));
        assert_eq!(most_at_once(&Trial::default()), None);
    }

    #[test]
    fn an_item_lost_doubled_or_strange_is_counted() {
        let mut right = trial();
        let counts = [
            (gauges::STORED, 2.0),
            (gauges::STORED_DIFFERENT, 2.0),
            (gauge::UPSTREAM_ARRIVED, 4.0),
        ];
        right.gauges.extend(counts.map(|(gauge, n)| (gauge.to_string(), n)));
        assert_eq!(miscounted(&right, 2), Some(0.0));
        let mut twice = right.clone();
        twice.spans.push(span("transform 1", "2", 3.0, 4.0));
        assert_eq!(miscounted(&twice, 2), Some(1.0));
        let mut again = right.clone();
        again.gauges.insert(gauge::UPSTREAM_ARRIVED.to_string(), 5.0);
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
        assert_eq!(points, [(0.0, 0.0), (0.5, 0.0), (0.5, 1.0), (1.5, 1.0), (1.5, 0.0)]);
        assert_eq!(steps(&trial(), "no such queue"), [(0.0, 0.0)]);
        assert_eq!(deepest(&trial()), Some(1.0));
        assert_eq!(deepest(&Trial::default()), None);
    }
}
