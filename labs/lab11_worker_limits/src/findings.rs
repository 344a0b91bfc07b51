//! Theory beside measurement for lab11.

use lab_kit::prelude::*;
use lab_kit::theory::repairman::Repairman;
use lab_kit::theory::{Pipeline, Stage, little};

use super::{
    PARTS, Params,
    gauges::{FORCED_PER_ITEM, ITEM_S, LATE_S, PER_S, VOLUNTARY_PER_ITEM, WORKER_PER_S},
    plan::Work,
};

/// How closely computation follows its calibration: a processor's clock changes with load and heat.
const DRIFT: f64 = 0.1;
/// A number of workers that reaches this share of the most there is has reached it all: the next
/// worker could add no more than the machine's own changes.
const FULL: f64 = 0.9;
/// How far the throughputs of two conditions of the same round may lie apart that should be one: the
/// machine's drift falls out, the order of some hundred items does not.
const SAME: f64 = 0.05;

/// What the figures are taken from.
struct View<'a> {
    p: &'a Params,
    summary: Summary<'a>,
    cores: usize,
    pure: Vec<Condition<'a>>,
    mixed: Vec<Condition<'a>>,
    ios: Vec<Condition<'a>>,
    cpus: Vec<Condition<'a>>,
    /// How late sleeps end where nobody else computes.
    late: Given,
    /// The workers of the rule `P·(1 + w/p)`.
    rule: usize,
}

fn count(k: &Condition) -> usize {
    k.x() as usize
}

fn named(k: &Condition) -> String {
    format!("{} worker{}", k.x(), if k.x() == 1.0 { "" } else { "s" })
}

fn rate(k: &Condition) -> Option<Estimate> {
    k.gauge(PER_S)
}

fn item_s(k: &Condition) -> Option<Estimate> {
    k.gauge(ITEM_S)
}

fn forced(k: &Condition) -> Option<Estimate> {
    k.gauge(FORCED_PER_ITEM)
}

impl<'a> View<'a> {
    fn new(p: &'a Params, summary: &Summary<'a>) -> View<'a> {
        let mixed = summary.series("mixed");
        let late = mixed.first().and_then(|k| k.gauge(LATE_S));
        let cores = summary.host().cores;
        View {
            p,
            summary: *summary,
            cores,
            pure: summary.series("pure"),
            ios: summary.series("io"),
            cpus: summary.series("cpu"),
            late: late.map_or(0.0.into(), |e| Given::from(e).map(|s| s.max(0.0))),
            rule: p.rule(cores),
            mixed,
        }
    }

    /// What so many workers get together, in processors.
    fn width(&self, workers: usize) -> Given {
        match self.p.work {
            Work::Spin => self.summary.calibrated(|host| host.width(workers)),
            Work::Sleep => (workers as f64).into(),
        }
    }

    /// How late it ends when something sleeps that stands for a computation.
    fn work_late(&self) -> Given {
        match self.p.work {
            Work::Spin => 0.0.into(),
            Work::Sleep => self.late,
        }
    }

    /// Processors kept busy by pure computation, which makes items of different cost comparable.
    fn pure_busy(&self, k: &Condition) -> Option<Estimate> {
        let items = self.p.together(self.summary.host(), count(k)) as f64;
        self.kept(k, |t| Some(items * self.p.cost.s() / t.wall_s))
    }

    /// Processors kept busy; none where the operating system counted less than half of them in some trial.
    fn kept(&self, k: &Condition, busy: impl Fn(&Trial) -> Option<f64>) -> Option<Estimate> {
        let counted = |t: &Trial| {
            let share = t
                .gauge(gauge::PROCESS_CPU_SHARE)
                .filter(|_| self.p.work == Work::Spin);
            // It counts in ticks of a hundredth of a second.
            let seen = share.map(|share| share * self.cores as f64 + 0.02 / t.wall_s);
            seen.zip(busy(t))
                .is_none_or(|(seen, busy)| seen > busy / 2.0)
        };
        k.estimate(&busy).filter(|_| k.trials().iter().all(counted))
    }

    fn pure_law(&self, workers: usize) -> Given {
        let part = self.p.cost.s() / PARTS as f64;
        self.width(workers) / (1.0 + self.work_late() / part)
    }

    /// Seconds of an item of pure computation, by Little's law.
    fn stretched(&self, workers: usize) -> f64 {
        workers as f64 * self.p.cost.s() / self.pure_law(workers).value
    }

    /// Processors kept busy by workers that also wait.
    fn mixed_busy(&self, k: &Condition) -> Option<Estimate> {
        let each = k.x() * self.p.mixed_cost.s();
        self.kept(k, |t| Some(t.gauge(WORKER_PER_S)? * each))
    }

    fn crew(&self, workers: usize, late: f64) -> Repairman {
        Repairman {
            workers,
            wait: self.p.wait().as_secs_f64() + late,
            compute: match self.p.work {
                Work::Spin => self.p.mixed_cost.s(),
                Work::Sleep => self.p.mixed_cost.s() + late,
            },
        }
    }

    /// What the machine repairman says with one queue for all processors, and with one for each.
    fn bounds(&self, workers: usize, late: f64) -> (f64, f64) {
        let small = self.p.mixed_cost.s();
        let all = |n: usize| self.p.width(self.summary.host(), n);
        let together = self.crew(workers, late).throughput(all) * small;
        if self.p.work == Work::Sleep {
            return (together, together);
        }
        let each = all(self.cores) / self.cores as f64;
        let of = |workers: usize| self.crew(workers, late).throughput(|_| each) * small;
        let (few, more) = (workers / self.cores, workers % self.cores);
        let apart = (self.cores - more) as f64 * of(few) + more as f64 * of(few + 1);
        (together, apart)
    }

    /// Processors that the machine repairman keeps busy: between those two.
    fn mixed_law(&self, workers: usize) -> Given {
        let (together, apart) = self.bounds(workers, self.late.value);
        let origin = self.width(workers).origin().and(self.late.origin());
        Given::new((together + apart) / 2.0, origin)
    }

    /// Half of what lies between one queue and several, and the machine's drift.
    fn mixed_tolerance(&self, workers: usize) -> f64 {
        let (together, apart) = self.bounds(workers, self.late.value);
        (together - apart).abs() / 2.0 + DRIFT * (together + apart) / 2.0
    }

    /// What no order of events exceeds.
    fn bound(&self, workers: usize) -> f64 {
        let processors = self.width(workers.max(self.cores)).value;
        let crew = self.crew(workers, self.late.value);
        crew.bound(processors) * self.p.mixed_cost.s()
    }

    /// Seconds of an item of a worker that also waits, undisturbed.
    fn turn(&self) -> f64 {
        let crew = self.crew(1, self.late.value);
        crew.wait + crew.compute
    }

    /// The condition of the rule.
    fn at_rule(&self) -> Option<&Condition<'a>> {
        self.mixed.iter().find(|k| count(k) == self.rule)
    }

    /// All processors, for the rule's workers.
    fn full(&self) -> f64 {
        self.width(self.cores.max(self.rule)).value
    }

    /// Fetching and computing with these limits.
    fn line(&self, fetches: usize, workers: usize) -> Pipeline {
        let (p, cost) = (self.p, self.p.cost.s());
        let compute = match p.work {
            Work::Spin => Stage::on_processors(cost, workers, self.width(workers).value),
            Work::Sleep => Stage {
                service: cost + self.late.value,
                width: workers,
            },
        };
        let overhead = self.summary.host().request_overhead_ms / 1e3;
        let fetch = Stage {
            service: p.fetch.s() + overhead,
            width: fetches,
        };
        Pipeline {
            stages: vec![fetch, compute],
        }
    }

    /// Seconds until the first item is fetched and computed.
    fn first_s(&self) -> f64 {
        self.line(1, 1).stages.iter().map(|s| s.service).sum()
    }

    /// Items per second; none where from the start on it was less than half of that in some trial, or where
    /// nobody had the time to fetch them.
    fn line_rate(&self, k: &Condition, fetches: usize) -> Option<Estimate> {
        let fetched = |t: &Trial| t.ok as f64 * 0.9 * self.p.fetch.s() < fetches as f64 * t.wall_s;
        let from_start = |t: &Trial| (t.ok as f64 - 1.0) / (t.wall_s - self.first_s()).max(1e-9);
        let told = |t: &Trial| 2.0 * from_start(t) > t.gauge(PER_S).unwrap_or_default();
        rate(k).filter(|_| k.trials().iter().all(|t| told(t) && fetched(t)))
    }

    fn line_law(&self, fetches: usize, workers: usize) -> Given {
        let origin = Origin::host().and(self.work_late().origin());
        Given::new(self.line(fetches, workers).throughput(), origin)
    }

    fn fetches_bind(&self, fetches: usize, workers: usize) -> bool {
        self.line(fetches, workers).bottleneck() == Some(0)
    }

    /// The fewest workers of pure computation that reach the full throughput, measured and by theory.
    fn enough(&self) -> (Option<f64>, Option<f64>) {
        let smallest = |value: &dyn Fn(&Condition) -> Option<f64>| {
            let most = self.pure.iter().filter_map(value).fold(0.0, f64::max);
            let enough = |k: &&Condition| value(k).is_some_and(|v| v >= FULL * most);
            self.pure.iter().find(enough).map(Condition::x)
        };
        (
            smallest(&|k| self.pure_busy(k).map(|e| e.value)),
            smallest(&|k| Some(self.width(count(k)).value)),
        )
    }
}

pub(super) fn explain(p: &Params, summary: &Summary) -> Findings {
    let view = View::new(p, summary);
    let mut claims = computing(&view);
    claims.push(waiting(&view));
    claims.extend(two_limits(&view));
    let (best, expected) = view.enough();
    let at_rule = view.at_rule();
    let full = view.full();
    let kept = at_rule.and_then(|k| view.mixed_busy(k));
    let share = at_rule.map_or(f64::NAN, |k| view.mixed_law(count(k)).value / full);
    let answers = vec![
        Answer::near(
            "pure",
            best.map(Estimate::exact),
            expected.unwrap_or(f64::NAN),
        ),
        Answer::near("mixed", kept.map(|e| e.scaled(1.0 / full)), share).scaled(100.0),
    ];
    let at_limits = view.ios.iter().find(|k| count(k) == p.io);
    Findings {
        headline: format!(
            "Pure computation needs {} workers here, more add nothing but latency; {} workers that also wait keep {}. With {} fetches and {} workers apart it is {} items/s.",
            best.map_or("–".into(), number),
            view.rule,
            kept_busy(&view),
            p.io,
            p.cpu,
            cell(at_limits.and_then(rate), number)
        ),
        figures: vec![workers(&view), limits(&view)],
        tables: vec![of_workers(&view), of_limits(&view)],
        claims,
        answers,
    }
}

/// "1.57 of 2 processors busy (78.5 %)", at the number of workers that the rule gives.
fn kept_busy(view: &View) -> String {
    let kept = view.at_rule().and_then(|k| view.mixed_busy(k));
    let full = view.full();
    format!(
        "{} of {} processors busy ({})",
        cell(kept, number),
        number(full),
        cell(kept, |v| percent(v / full))
    )
}

/// Claims about pure computation.
fn computing(view: &View) -> Vec<Claim> {
    let processors = match view.p.work {
        Work::Spin => Resource::Processors,
        Work::Sleep => Resource::Timers,
    };
    let busy = view.pure.iter().map(|k| {
        let law = view.pure_law(count(k));
        Case::share(named(k), law, view.pure_busy(k), DRIFT)
    });
    let inside = view.pure.iter().map(|k| {
        let product = |t: &Trial| Some(t.gauge(PER_S)? * t.gauge(ITEM_S)?);
        Case::share(named(k), k.x(), k.estimate(product), SAME)
    });
    let mut claims = vec![
        Law::new(
            "pure computation keeps min(W, P) processors busy: workers beyond the processors add nothing",
            "processors",
            Disturbed::Fewer(processors),
        )
        .within("10 %: a processor's clock changes with load and heat")
        .near(busy),
        Law::new(
            "Little's law: items per second times the time of an item are the workers, so that more of them change the latency where they do not change the throughput",
            "workers",
            Disturbed::Either(processors),
        )
        .within("5 %: the last items of a trial are in parts")
        .books()
        .near(inside),
    ];
    let at_cores = view.pure.iter().find(|k| count(k) == view.cores);
    let told = view.pure.iter().any(|k| forced(k).is_some());
    if let (Some(few), true, Work::Spin) = (at_cores, told, view.p.work) {
        let crowded = view.pure.iter().filter(|k| count(k) >= 2 * view.cores);
        let more = crowded.map(|many| {
            let more = many.paired(few, |many, few| {
                let forced = |t: &Trial| t.gauge(FORCED_PER_ITEM);
                // Who counts none at all does not count.
                Some(forced(many).filter(|n| *n > 0.0)? - forced(few)?)
            });
            Case::exact(format!("{} instead of {}", named(many), few.x()), 0.0, more)
        });
        claims.push(
            Law::new(
                "more workers than processors are switched by force more often for each item",
                "more switches per item",
                Disturbed::Either(Resource::Processors),
            )
            .at_least(more),
        );
    }
    claims
}

/// The claim about workers that also wait.
fn waiting(view: &View) -> Claim {
    let first = view.mixed.first().map(count);
    let cases = view.mixed.iter().map(|k| {
        let workers = count(k);
        // It shows how late sleeps end, which proves nothing of itself: there, the flags alone count.
        let law = if Some(workers) == first {
            let (together, apart) = view.bounds(workers, 0.0);
            Given::new((together + apart) / 2.0, view.width(workers).origin())
        } else {
            view.mixed_law(workers)
        };
        let tolerance = view.mixed_tolerance(workers);
        Case::new(named(k), law, view.mixed_busy(k), tolerance)
    });
    Law::new(
        "workers that wait and compute for random times keep as many processors busy as the machine repairman says, between one queue for all processors and one for each",
        "processors",
        Disturbed::Fewer(Resource::Processors),
    )
    .within("half of what lies between one queue for all processors and one for each, and 10 %: a processor's clock changes with load and heat")
    .near(cases)
}

/// Claims about two limits.
fn two_limits(view: &View) -> [Claim; 2] {
    let p = view.p;
    let of_io = view.ios.iter().map(|k| (count(k), p.cpu, k));
    let of_cpu = view.cpus.iter().map(|k| (p.io, count(k), k));
    let both = of_io.clone().chain(of_cpu.clone()).map(|(io, cpu, k)| {
        let name = format!("{io} fetches, {cpu} workers");
        let (law, measured) = (view.line_law(io, cpu), view.line_rate(k, io));
        Case::share(name, law, measured, DRIFT)
    });
    // What the other limit does not need, against the least of it.
    let needless = |found: Vec<(usize, usize, &Condition)>| {
        let of = |(io, cpu, more): &(usize, usize, &Condition)| {
            let (few_io, few_cpu, few) = found.first()?;
            let per_s = |t: &Trial| t.gauge(PER_S);
            let ratio = more.paired(few, |more, few| Some(per_s(more)? / per_s(few)?));
            let told = view.line_rate(more, *io).and(view.line_rate(few, *few_io));
            let law = view.line_law(*io, *cpu) / view.line_law(*few_io, *few_cpu);
            let name = if io == few_io {
                format!("{cpu} workers instead of {few_cpu}")
            } else {
                format!("{io} fetches instead of {few_io}")
            };
            Some(Case::share(
                name,
                law,
                ratio.filter(|_| told.is_some()),
                SAME,
            ))
        };
        found.iter().skip(1).filter_map(of).collect::<Vec<_>>()
    };
    let binds = |(io, cpu, _): &(usize, usize, &Condition)| view.fetches_bind(*io, *cpu);
    let mut spare = needless(of_cpu.filter(|k| binds(k)).collect());
    spare.extend(needless(of_io.filter(|k| !binds(k)).collect()));
    [
        Law::new(
            "with two limits the throughput is that of the one that binds, the smaller of F/f and P/p",
            "items/s",
            Disturbed::Fewer(Resource::Processors),
        )
        .within("10 %: a processor's clock changes with load and heat")
        .near(both),
        Law::new(
            "raising the limit that does not bind changes nothing",
            "times the throughput",
            Disturbed::Either(Resource::Processors),
        )
        .within("5 %: of the same round, so that the machine's drift falls out")
        .near(spare),
    ]
}

/// Whole numbers from the least to the greatest of these, close together.
fn grid(of: &[Condition]) -> Vec<usize> {
    let (Some(first), Some(last)) = (of.first().map(count), of.last().map(count)) else {
        return Vec::new();
    };
    let step = ((last - first) / 128).max(1);
    (first..=last).step_by(step).chain([last]).collect()
}

/// What theory says between the least and the greatest of these: its corners lie between them.
fn theory(label: &str, colour: Colour, of: &[Condition], law: &dyn Fn(usize) -> f64) -> Layer {
    let points = grid(of).into_iter().map(|n| (n as f64, law(n))).collect();
    Layer::Line(Line::theory(label, colour, points))
}

/// What was measured.
fn shown(
    label: &str,
    colour: Colour,
    of: &[Condition],
    value: &dyn Fn(&Condition) -> Option<f64>,
) -> Layer {
    let points = of.iter().filter_map(|k| Some((k.x(), value(k)?))).collect();
    Layer::Line(Line::measured(label, colour, points))
}

fn value(estimate: Option<Estimate>) -> Option<f64> {
    estimate.map(|e| e.value)
}

/// Seconds of an item of a worker that also waits.
fn mixed_time(view: &View, k: &Condition) -> Option<f64> {
    let busy = view.mixed_busy(k)?;
    Some(k.x() * view.p.mixed_cost.s() / busy.value)
}

fn busy_panel(view: &View) -> Panel {
    let (pure, mixed) = (&view.pure, &view.mixed);
    Panel {
        title: "Processors kept busy".into(),
        note: "throughput times cost".into(),
        y: Axis::linear("", Unit::Number),
        layers: vec![
            theory("", Colour::Muted, pure, &|n| view.pure_law(n).value),
            theory("", Colour::Muted, mixed, &|n| view.mixed_law(n).value),
            theory("bound", Colour::Sky, mixed, &|n| view.bound(n)),
            shown("pure", Colour::Blue, pure, &|k| value(view.pure_busy(k))),
            shown("also wait", Colour::Green, mixed, &|k| {
                value(view.mixed_busy(k))
            }),
        ],
        height: 1.3,
    }
}

fn time_panel(view: &View) -> Panel {
    let (pure, mixed) = (&view.pure, &view.mixed);
    let (cost, small, turn) = (view.p.cost.s(), view.p.mixed_cost.s(), view.turn());
    Panel {
        title: "Time of one item".into(),
        note: "times what it takes undisturbed".into(),
        y: Axis::linear("", Unit::Factor),
        layers: vec![
            theory("", Colour::Muted, pure, &|n| view.stretched(n) / cost),
            theory("", Colour::Muted, mixed, &|n| {
                n as f64 * small / view.mixed_law(n).value / turn
            }),
            shown("pure", Colour::Blue, pure, &|k| {
                item_s(k).map(|e| e.value / cost)
            }),
            shown("also wait", Colour::Green, mixed, &|k| {
                mixed_time(view, k).map(|t| t / turn)
            }),
        ],
        height: 1.0,
    }
}

fn switches_panel(view: &View) -> Option<Panel> {
    let told = view.pure.iter().any(|k| forced(k).is_some());
    told.then(|| Panel {
        title: "Forced context switches".into(),
        note: "per item".into(),
        y: Axis::linear("", Unit::Number),
        layers: vec![
            shown("pure", Colour::Blue, &view.pure, &|k| value(forced(k))),
            shown("also wait", Colour::Green, &view.mixed, &|k| {
                value(forced(k))
            }),
        ],
        height: 0.8,
    })
}

fn workers(view: &View) -> Figure {
    let (p, cores, rule) = (view.p, view.cores, view.rule);
    let mut panels = vec![busy_panel(view), time_panel(view)];
    panels.extend(switches_panel(view));
    let marks = [
        (cores, "P processors", Colour::Purple),
        (rule, "rule: P(1 + w/p)", Colour::Orange),
    ];
    let reached: Vec<f64> = view.mixed.iter().map(Condition::x).collect();
    let inside = |at: usize| reached.last().is_some_and(|last| at as f64 <= *last);
    let mark = |(at, label, colour): (usize, &str, Colour)| Mark {
        x: at as f64,
        interval: None,
        label: label.into(),
        colour,
    };
    Figure {
        id: "workers".into(),
        title: format!(
            "{} workers are enough to compute; {rule} that also wait keep {}",
            view.enough().0.map_or("–".into(), number),
            kept_busy(view)
        ),
        subtitle: format!(
            "{cores} processors. Pure items of {}; others compute {} and wait {} on average. Dashed: theory",
            seconds(p.cost.s()),
            seconds(p.mixed_cost.s()),
            seconds(p.wait().as_secs_f64())
        ),
        desc: "Throughput, time of an item and forced context switches over the number of workers, for pure computation and for work that also waits.".into(),
        body: Body::Panels(Panels {
            x: Axis::linear("workers", Unit::Number).with_ticks(reached.clone()),
            panels,
            marks: marks.into_iter().filter(|(at, ..)| inside(*at)).map(mark).collect(),
        }),
    }
}

fn limits(view: &View) -> Figure {
    let p = view.p;
    let now = view.ios.iter().find(|k| count(k) == p.io).and_then(rate);
    let processors = view.width(view.cores.max(p.cpu)).value;
    Figure {
        id: "limits".into(),
        title: match now {
            Some(now) => format!(
                "{} fetches and {} workers give {} items/s; the limit that binds decides",
                p.io,
                p.cpu,
                number(now.value)
            ),
            None => "The limit that binds decides".into(),
        },
        subtitle: format!(
            "Fetches of {}, {} of computation an item, {} processors. Dashed: theory",
            seconds(p.fetch.s()),
            seconds(p.cost.s()),
            number(processors)
        ),
        desc: "Items per second over the limit of fetches with fixed workers, and over workers with a fixed limit of fetches.".into(),
        body: Body::Panels(Panels {
            x: Axis::linear("limit", Unit::Number),
            panels: vec![Panel {
                title: "Items per second".into(),
                note: "after the first one".into(),
                y: Axis::linear("", Unit::Number),
                layers: vec![
                    theory("", Colour::Muted, &view.ios, &|io| view.line_law(io, p.cpu).value),
                    theory("", Colour::Muted, &view.cpus, &|cpu| view.line_law(p.io, cpu).value),
                    shown(&format!("fetches, {} workers", p.cpu), Colour::Blue, &view.ios, &|k| value(rate(k))),
                    shown(&format!("workers, {} fetches", p.io), Colour::Green, &view.cpus, &|k| value(rate(k))),
                ],
                height: 1.4,
            }],
            marks: vec![],
        }),
    }
}

fn of_workers(view: &View) -> Table {
    let mut table = Table::new(
        "Workers",
        &[
            "workers",
            "work",
            "processors busy",
            "theory",
            "time of an item",
            "theory",
            "switches per item: forced",
            "voluntary",
        ],
    );
    let voluntary = |k: &Condition| k.gauge(VOLUNTARY_PER_ITEM);
    for k in &view.pure {
        table.row([
            number(k.x()),
            "computes".into(),
            cell(view.pure_busy(k), number),
            number(view.pure_law(count(k)).value),
            cell(item_s(k), seconds),
            seconds(view.stretched(count(k))),
            cell(forced(k), number),
            cell(voluntary(k), number),
        ]);
    }
    for k in &view.mixed {
        let law = view.mixed_law(count(k)).value;
        table.row([
            number(k.x()),
            "also waits".into(),
            cell(view.mixed_busy(k), number),
            number(law),
            mixed_time(view, k).map_or("–".into(), seconds),
            seconds(k.x() * view.p.mixed_cost.s() / law),
            cell(forced(k), number),
            cell(voluntary(k), number),
        ]);
    }
    let told = view.pure.iter().any(|k| forced(k).is_some());
    table.note = format!(
        "The rule P·(1 + w/p) asks for {} workers; the bound there is {} processors.{}",
        view.rule,
        number(view.bound(view.rule)),
        if told {
            ""
        } else {
            " This operating system does not tell context switches of threads (only Linux does here)."
        }
    );
    table
}

fn of_limits(view: &View) -> Table {
    let p = view.p;
    let mut table = Table::new(
        "Two limits",
        &["fetches", "workers", "items/s", "theory", "what binds"],
    );
    let of_io = view.ios.iter().map(|k| (count(k), p.cpu, k));
    let of_cpu = view.cpus.iter().map(|k| (p.io, count(k), k));
    for (io, cpu, k) in of_io.chain(of_cpu) {
        let binds = if view.fetches_bind(io, cpu) {
            "fetches"
        } else {
            "workers"
        };
        table.row([
            io.to_string(),
            cpu.to_string(),
            cell(rate(k), number),
            number(view.line_law(io, cpu).value),
            binds.into(),
        ]);
    }
    let most_per_s = view.width(p.cpu).value / p.cost.s();
    table.note = format!(
        "Little's law: {} workers at full throughput of {}/s need {} fetches of {} under way.",
        p.cpu,
        number(most_per_s),
        number(little::number_in_system(most_per_s, p.fetch.s())),
        seconds(p.fetch.s())
    );
    table
}
