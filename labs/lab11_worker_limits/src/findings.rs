//! Theory beside measurement for lab11.

use lab_kit::prelude::*;
use lab_kit::theory::repairman::Repairman;
use lab_kit::theory::{Pipeline, Stage, little};

use super::{
    PARTS, Params,
    gauges::{FORCED_PER_ITEM, ITEM_S, LATE_S, PER_S, VOLUNTARY_PER_ITEM, WORKER_PER_S},
    plan::Work,
};

use Disturbed::{Either, Fewer};
use Resource::{Processors, Timers};

pub(super) fn explain(p: &Params, summary: &Summary) -> Findings {
    let view = View::of(p, summary);
    Findings {
        headline: view.headline(),
        figures: vec![view.workers_figure(), view.limits_figure()],
        tables: vec![view.workers_table(), view.limits_table()],
        claims: view.claims(),
        answers: view.answers(),
    }
}

/// How closely computation follows its calibration.
const DRIFT: f64 = 0.1;
const WHY_DRIFT: &str = "10 %: a processor's clock changes with load and heat";
/// A number of workers that reaches this share of the most there is has reached it all: the next
/// worker could add no more than the machine's own changes.
const FULL: f64 = 0.9;
/// How far the throughputs of two conditions of the same round may lie apart that should be one: the
/// machine's drift falls out, the order of some hundred items does not.
const SAME: f64 = 0.05;

/// What theory starts from: the flags, and the machine.
#[derive(Clone, Copy)]
struct Theory<'a> {
    p: &'a Params,
    summary: Summary<'a>,
    cores: usize,
    /// How late sleeps end where nobody else computes.
    late: Given,
}

impl Theory<'_> {
    /// What so many workers get together, in processors.
    fn width(self, workers: usize) -> Given {
        match self.p.work {
            Work::Spin => self.summary.calibrated(|host| host.width(workers)),
            Work::Sleep => (workers as f64).into(),
        }
    }

    /// How late it ends when something sleeps that stands for a computation.
    fn work_late(self) -> Given {
        match self.p.work {
            Work::Spin => 0.0.into(),
            Work::Sleep => self.late,
        }
    }

    /// What computation needs.
    fn computes_on(self) -> Resource {
        match self.p.work {
            Work::Spin => Processors,
            Work::Sleep => Timers,
        }
    }

    /// Processors that pure computation keeps busy.
    fn pure_busy(self, workers: usize) -> Given {
        let part = self.p.cost.s() / PARTS as f64;
        self.width(workers) / (1.0 + self.work_late() / part)
    }

    /// Seconds of an item of pure computation, by Little's law.
    fn pure_s(self, workers: usize) -> f64 {
        workers as f64 * self.p.cost.s() / self.pure_busy(workers).value
    }

    fn crew(self, workers: usize, late: f64) -> Repairman {
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
    fn bounds(self, workers: usize, late: f64) -> (f64, f64) {
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
    fn between(self, workers: usize, late: Given) -> Given {
        let (together, apart) = self.bounds(workers, late.value);
        let origin = self.width(workers).origin().and(late.origin());
        Given::new((together + apart) / 2.0, origin)
    }

    /// The same with sleeps as late as they are.
    fn mixed_busy(self, workers: usize) -> Given {
        self.between(workers, self.late)
    }

    /// Half of what lies between one queue and several, and the machine's drift.
    fn mixed_tolerance(self, workers: usize) -> f64 {
        let (together, apart) = self.bounds(workers, self.late.value);
        (together - apart).abs() / 2.0 + DRIFT * (together + apart) / 2.0
    }

    /// Seconds of an item of a worker that also waits, by Little's law.
    fn mixed_s(self, workers: usize) -> f64 {
        workers as f64 * self.p.mixed_cost.s() / self.mixed_busy(workers).value
    }

    /// The same undisturbed.
    fn turn_s(self) -> f64 {
        let crew = self.crew(1, self.late.value);
        crew.wait + crew.compute
    }

    /// What no order of events exceeds.
    fn bound(self, workers: usize) -> f64 {
        let processors = self.width(workers.max(self.cores)).value;
        let crew = self.crew(workers, self.late.value);
        crew.bound(processors) * self.p.mixed_cost.s()
    }

    /// The limits of a condition: fetches under way, and workers.
    fn limits(self, k: &Condition) -> (usize, usize) {
        match k.series() {
            "io" => (count(k), self.p.cpu),
            _ => (self.p.io, count(k)),
        }
    }

    /// Fetching and computing with these limits.
    fn line(self, (fetches, workers): (usize, usize)) -> Pipeline {
        let (p, cost) = (self.p, self.p.cost.s());
        let overhead = self.summary.host().request_overhead_ms / 1e3;
        let fetch = Stage { service: p.fetch.s() + overhead, width: fetches };
        let compute = match p.work {
            Work::Spin => Stage::on_processors(cost, workers, self.width(workers).value),
            Work::Sleep => Stage { service: cost + self.late.value, width: workers },
        };
        let stages = vec![fetch, compute];
        Pipeline { stages }
    }

    /// Items per second with these limits.
    fn per_s(self, limits: (usize, usize)) -> Given {
        let origin = Origin::host().and(self.work_late().origin());
        Given::new(self.line(limits).throughput(), origin)
    }
}

/// What is read off the conditions.
impl Theory<'_> {
    /// Processors kept busy by pure computation, which makes items of different cost comparable.
    fn kept_by_pure(self, k: &Condition) -> Option<Estimate> {
        let items = self.p.together(self.summary.host(), count(k)) as f64;
        self.kept(k, |t| Some(items * self.p.cost.s() / t.wall_s))
    }

    /// Processors kept busy by workers that also wait.
    fn kept_by_mixed(self, k: &Condition) -> Option<Estimate> {
        let each = k.x() * self.p.mixed_cost.s();
        self.kept(k, |t| Some(t.gauge(WORKER_PER_S)? * each))
    }

    /// Processors kept busy; none where the operating system counted less than half of them in some trial.
    fn kept(self, k: &Condition, busy: impl Fn(&Trial) -> Option<f64>) -> Option<Estimate> {
        let counted = |t: &Trial| {
            let share = t.gauge(gauge::PROCESS_CPU_SHARE);
            let share = share.filter(|_| self.p.work == Work::Spin);
            // It counts in ticks of a hundredth of a second.
            let seen = share.map(|share| share * self.cores as f64 + 0.02 / t.wall_s);
            let both = seen.zip(busy(t));
            both.is_none_or(|(seen, busy)| seen > busy / 2.0)
        };
        k.estimate(&busy).filter(|_| k.trials().iter().all(counted))
    }

    /// Items per second; none where from the start on it was less than half of that in some trial, or where
    /// nobody had the time to fetch them.
    fn fetched_per_s(self, k: &Condition) -> Option<Estimate> {
        let fetches = self.limits(k).0 as f64;
        let first_s: f64 = self.line((1, 1)).stages.iter().map(|s| s.service).sum();
        let from_start = |t: &Trial| (t.ok as f64 - 1.0) / (t.wall_s - first_s).max(1e-9);
        let told = |t: &Trial| 2.0 * from_start(t) > t.gauge(PER_S).unwrap_or_default();
        let fetched = |t: &Trial| t.ok as f64 * 0.9 * self.p.fetch.s() < fetches * t.wall_s;
        rate(k).filter(|_| k.trials().iter().all(|t| told(t) && fetched(t)))
    }
}

/// The record, and what is looked at in it.
struct View<'a> {
    p: &'a Params,
    theory: Theory<'a>,
    pure: Vec<Condition<'a>>,
    mixed: Vec<Condition<'a>>,
    ios: Vec<Condition<'a>>,
    cpus: Vec<Condition<'a>>,
    /// The workers of the rule `P·(1 + w/p)`.
    rule: usize,
    /// Processors that pure computation keeps busy.
    pure_busy: Quantity<'a>,
    /// Processors that workers keep busy who also wait.
    mixed_busy: Quantity<'a>,
    /// Items per second of two limits.
    per_s: Quantity<'a>,
}

impl<'a> View<'a> {
    fn of(p: &'a Params, summary: &Summary<'a>) -> View<'a> {
        let mixed = summary.series("mixed");
        let late = mixed.first().and_then(|k| k.gauge(LATE_S));
        let theory = Theory {
            p,
            summary: *summary,
            cores: summary.host().cores,
            late: late.map_or(0.0.into(), |e| Given::from(e).map(|s| s.max(0.0))),
        };
        View {
            p,
            theory,
            pure: summary.series("pure"),
            mixed,
            ios: summary.series("io"),
            cpus: summary.series("cpu"),
            rule: p.rule(theory.cores),
            pure_busy: Quantity::new("processors", number, move |k| theory.kept_by_pure(k))
                .theory(move |k| Some(theory.pure_busy(count(k))))
                .within(Within::Share(DRIFT), WHY_DRIFT)
                .disturbed(Fewer(theory.computes_on())),
            mixed_busy: Quantity::new("processors", number, move |k| theory.kept_by_mixed(k))
                .theory(move |k| Some(theory.mixed_busy(count(k)))),
            per_s: Quantity::new("items/s", number, move |k| theory.fetched_per_s(k))
                .theory(move |k| Some(theory.per_s(theory.limits(k))))
                .within(Within::Share(DRIFT), WHY_DRIFT)
                .disturbed(Fewer(Processors)),
        }
    }

    /// The fewest workers of pure computation that reach the full throughput, measured and by theory.
    fn enough(&self) -> [Option<f64>; 2] {
        let smallest = |value: &dyn Fn(&Condition) -> Option<f64>| {
            let most = self.pure.iter().filter_map(value).fold(0.0, f64::max);
            let enough = |k: &&Condition| value(k).is_some_and(|v| v >= FULL * most);
            self.pure.iter().find(enough).map(Condition::x)
        };
        [
            smallest(&|k| value(self.pure_busy.measured(k))),
            smallest(&|k| Some(self.theory.width(count(k)).value)),
        ]
    }

    /// The condition of the rule.
    fn at_rule(&self) -> Option<&Condition<'a>> {
        self.mixed.iter().find(|k| count(k) == self.rule)
    }

    /// Processors that its workers keep busy.
    fn kept_at_rule(&self) -> Option<Estimate> {
        self.mixed_busy.measured(self.at_rule()?)
    }

    /// All processors, for the rule's workers.
    fn full(&self) -> f64 {
        self.theory.width(self.theory.cores.max(self.rule)).value
    }

    /// Seconds of an item of a worker that also waits, by Little's law.
    fn mixed_s(&self, k: &Condition) -> Option<f64> {
        let busy = self.mixed_busy.measured(k)?;
        Some(k.x() * self.p.mixed_cost.s() / busy.value)
    }

    fn fetches_bind(&self, k: &Condition) -> bool {
        let line = self.theory.line(self.theory.limits(k));
        line.bottleneck() == Some(0)
    }

    /// Only some operating systems tell context switches of threads.
    fn tells_switches(&self) -> bool {
        self.pure.iter().any(|k| forced(k).is_some())
    }
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

fn item_s(k: &Condition) -> Option<f64> {
    value(k.gauge(ITEM_S))
}

fn forced(k: &Condition) -> Option<Estimate> {
    k.gauge(FORCED_PER_ITEM)
}

fn value(estimate: Option<Estimate>) -> Option<f64> {
    estimate.map(|e| e.value)
}

/// The claims and the answers.
impl View<'_> {
    fn claims(&self) -> Vec<Claim> {
        let limits = |k: &Condition| {
            let (fetches, workers) = self.theory.limits(k);
            format!("{fetches} fetches, {workers} workers")
        };
        let mut claims = vec![
            self.pure_busy.near("pure computation keeps min(W, P) processors busy: workers beyond the processors add nothing", named, &self.pure),
            self.littles_law(),
        ];
        claims.extend(self.switching());
        claims.extend([
            self.waiting(),
            self.per_s.near("with two limits the throughput is that of the one that binds, the smaller of F/f and P/p", limits, self.ios.iter().chain(&self.cpus)),
            self.raising(),
        ]);
        claims
    }

    fn littles_law(&self) -> Claim {
        let product = |t: &Trial| Some(t.gauge(PER_S)? * t.gauge(ITEM_S)?);
        let case = |k: &Condition| Case::share(named(k), k.x(), k.estimate(product), SAME);
        Law::new("Little's law: items per second times the time of an item are the workers, so that more of them change the latency where they do not change the throughput", "workers", Either(self.theory.computes_on()))
            .within("5 %: the last items of a trial are in parts")
            .books()
            .near(self.pure.iter().map(case))
    }

    fn switching(&self) -> Option<Claim> {
        let cores = self.theory.cores;
        let few = self.pure.iter().find(|k| count(k) == cores)?;
        let crowded = self.pure.iter().filter(|k| count(k) >= 2 * cores);
        let cases = crowded.map(|many| {
            let more = many.paired(few, |many, few| {
                let forced = |t: &Trial| t.gauge(FORCED_PER_ITEM);
                // Who counts none at all does not count.
                Some(forced(many).filter(|n| *n > 0.0)? - forced(few)?)
            });
            Case::exact(format!("{} instead of {}", named(many), few.x()), 0.0, more)
        });
        let law = Law::new(
            "more workers than processors are switched by force more often for each item",
            "more switches per item",
            Either(Processors),
        );
        let told = self.tells_switches() && self.p.work == Work::Spin;
        told.then(|| law.at_least(cases))
    }

    fn waiting(&self) -> Claim {
        let first = self.mixed.first().map(count);
        let cases = self.mixed.iter().map(|k| {
            let workers = count(k);
            // The first one shows how late sleeps end, which proves nothing of itself: there, the flags alone count.
            let late = match Some(workers) == first {
                true => 0.0.into(),
                false => self.theory.late,
            };
            let law = self.theory.between(workers, late);
            let tolerance = self.theory.mixed_tolerance(workers);
            Case::new(named(k), law, self.mixed_busy.measured(k), tolerance)
        });
        Law::new("workers that wait and compute for random times keep as many processors busy as the machine repairman says, between one queue for all processors and one for each", "processors", Fewer(Processors))
            .within("half of what lies between one queue for all processors and one for each, and 10 %: a processor's clock changes with load and heat")
            .near(cases)
    }

    fn raising(&self) -> Claim {
        let workers = self.cpus.iter().filter(|k| self.fetches_bind(k));
        let fetches = self.ios.iter().filter(|k| !self.fetches_bind(k));
        let cases = [
            self.needless("workers", workers.collect()),
            self.needless("fetches", fetches.collect()),
        ];
        Law::new(
            "raising the limit that does not bind changes nothing",
            "times the throughput",
            Either(Processors),
        )
        .within("5 %: of the same round, so that the machine's drift falls out")
        .near(cases.concat())
    }

    /// More than needed of what does not bind, against the least of it.
    fn needless(&self, what: &str, found: Vec<&Condition>) -> Vec<Case> {
        let Some((few, more)) = found.split_first() else {
            return vec![];
        };
        let case = |more: &&Condition| {
            let [law, few_law] = [more, few].map(|k| self.theory.per_s(self.theory.limits(k)));
            let sound = self.per_s.measured(more).and(self.per_s.measured(few));
            let ratio = more.ratio(few, PER_S).filter(|_| sound.is_some());
            let name = format!("{} {what} instead of {}", more.x(), few.x());
            Case::share(name, law / few_law, ratio, SAME)
        };
        more.iter().map(case).collect()
    }

    fn answers(&self) -> Vec<Answer> {
        let [measured, theory] = self.enough();
        let (full, rule) = (self.full(), self.at_rule());
        let share = |k: &Condition| self.theory.mixed_busy(count(k)).value / full;
        let kept = self.kept_at_rule().map(|e| e.scaled(1.0 / full));
        vec![
            Answer::near("pure", measured.map(Estimate::exact), theory.unwrap_or(f64::NAN)),
            Answer::near("mixed", kept, rule.map_or(f64::NAN, share)).scaled(100.0),
        ]
    }
}

/// What theory says at whole numbers from the least to the greatest of these, close together: its corners lie
/// between them.
fn curve(of: &[Condition], law: impl Fn(usize) -> f64) -> Vec<(f64, f64)> {
    let (Some(first), Some(last)) = (of.first().map(count), of.last().map(count)) else {
        return vec![];
    };
    let step = ((last - first) / 128).max(1);
    let all = (first..=last).step_by(step).chain([last]);
    all.map(|n| (n as f64, law(n))).collect()
}

fn points(of: &[Condition], value: impl Fn(&Condition) -> Option<f64>) -> Vec<(f64, f64)> {
    let points = of.iter().filter_map(|k| Some((k.x(), value(k)?)));
    points.collect()
}

/// The headline and the charts.
impl View<'_> {
    fn headline(&self) -> String {
        let p = self.p;
        format!(
            "Pure computation needs {} workers here, more add nothing but latency; {} workers that also wait keep {}. With {} fetches and {} workers apart it is {} items/s.",
            number(self.enough()[0].unwrap_or(f64::NAN)),
            self.rule,
            self.kept_busy(),
            p.io,
            p.cpu,
            cell(self.at_limits(), number)
        )
    }

    /// Items per second where both limits are those that stand while the other varies.
    fn at_limits(&self) -> Option<Estimate> {
        rate(self.ios.iter().find(|k| count(k) == self.p.io)?)
    }

    /// "1.57 of 2 processors busy (78.5 %)", at the number of workers that the rule gives.
    fn kept_busy(&self) -> String {
        let (kept, full) = (self.kept_at_rule(), self.full());
        format!(
            "{} of {} processors busy ({})",
            cell(kept, number),
            number(full),
            cell(kept, |v| percent(v / full))
        )
    }

    /// What theory says of workers that compute, and of those that also wait.
    fn by_law(&self, pure: impl Fn(usize) -> f64, mixed: impl Fn(usize) -> f64) -> [Line; 2] {
        [curve(&self.pure, pure), curve(&self.mixed, mixed)]
            .map(|points| Line::theory("", Colour::Muted, points))
    }

    /// What was measured of both.
    fn measured<P, M>(&self, pure: P, mixed: M) -> [Line; 2]
    where
        P: Fn(&Condition) -> Option<f64>,
        M: Fn(&Condition) -> Option<f64>,
    {
        [
            Line::measured("pure", Colour::Blue, points(&self.pure, pure)),
            Line::measured("also wait", Colour::Green, points(&self.mixed, mixed)),
        ]
    }

    fn busy_panel(&self) -> Panel {
        let law = &self.theory;
        let bound = curve(&self.mixed, |n| law.bound(n));
        let [pure, mixed] =
            [&self.pure_busy, &self.mixed_busy].map(|busy| |k: &Condition| value(busy.measured(k)));
        Panel::new("Processors kept busy", Unit::Number)
            .note("throughput times cost")
            .layers(self.by_law(|n| law.pure_busy(n).value, |n| law.mixed_busy(n).value))
            .layer(Line::theory("bound", Colour::Sky, bound))
            .layers(self.measured(pure, mixed))
            .height(1.3)
    }

    fn time_panel(&self) -> Panel {
        let (law, cost, turn) = (&self.theory, self.p.cost.s(), self.theory.turn_s());
        let pure = |k: &Condition| Some(item_s(k)? / cost);
        let mixed = |k: &Condition| Some(self.mixed_s(k)? / turn);
        Panel::new("Time of one item", Unit::Factor)
            .note("times what it takes undisturbed")
            .layers(self.by_law(|n| law.pure_s(n) / cost, |n| law.mixed_s(n) / turn))
            .layers(self.measured(pure, mixed))
    }

    fn switches_panel(&self) -> Option<Panel> {
        let forced = |k: &Condition| value(forced(k));
        let panel = Panel::new("Forced context switches", Unit::Number)
            .note("per item")
            .layers(self.measured(forced, forced))
            .height(0.8);
        self.tells_switches().then_some(panel)
    }

    fn workers_figure(&self) -> Figure {
        let (p, cores, rule) = (self.p, self.theory.cores, self.rule);
        let title = format!(
            "{} workers are enough to compute; {rule} that also wait keep {}",
            number(self.enough()[0].unwrap_or(f64::NAN)),
            self.kept_busy()
        );
        let panels = [self.busy_panel(), self.time_panel()];
        let marks = [
            Mark::at(cores as f64, "P processors", Colour::Purple),
            Mark::at(rule as f64, "rule: P(1 + w/p)", Colour::Orange),
        ];
        let levels: Vec<f64> = self.mixed.iter().map(Condition::x).collect();
        let last = levels.last().copied().unwrap_or(f64::NAN);
        Figure::new("workers", title)
            .subtitle(format!(
                "{cores} processors. Pure items of {}; others compute {} and wait {} on average. Dashed: theory",
                seconds(p.cost.s()),
                seconds(p.mixed_cost.s()),
                seconds(p.wait().as_secs_f64())
            ))
            .desc("Throughput, time of an item and forced context switches over the number of workers, for pure computation and for work that also waits.")
            .over(Axis::linear("workers", Unit::Number).with_ticks(levels), panels.into_iter().chain(self.switches_panel()))
            .marks(marks.into_iter().filter(|mark| mark.x <= last))
    }

    fn limits_figure(&self) -> Figure {
        let (p, law) = (self.p, &self.theory);
        let title = match self.at_limits() {
            Some(now) => format!(
                "{} fetches and {} workers give {} items/s; the limit that binds decides",
                p.io,
                p.cpu,
                number(now.value)
            ),
            None => "The limit that binds decides".into(),
        };
        let measured = |k: &Condition| value(rate(k));
        Figure::new("limits", title)
            .subtitle(format!(
                "Fetches of {}, {} of computation an item, {} processors. Dashed: theory",
                seconds(p.fetch.s()),
                seconds(p.cost.s()),
                number(law.width(law.cores.max(p.cpu)).value)
            ))
            .desc("Items per second over the limit of fetches with fixed workers, and over workers with a fixed limit of fetches.")
            .over(Axis::linear("limit", Unit::Number), [
                Panel::new("Items per second", Unit::Number)
                    .note("after the first one")
                    .layer(Line::theory("", Colour::Muted, curve(&self.ios, |io| law.per_s((io, p.cpu)).value)))
                    .layer(Line::theory("", Colour::Muted, curve(&self.cpus, |cpu| law.per_s((p.io, cpu)).value)))
                    .layer(Line::measured(&format!("fetches, {} workers", p.cpu), Colour::Blue, points(&self.ios, measured)))
                    .layer(Line::measured(&format!("workers, {} fetches", p.io), Colour::Green, points(&self.cpus, measured)))
                    .height(1.4),
            ])
    }
}

/// The tables.
impl View<'_> {
    fn workers_table(&self) -> Table {
        let law = &self.theory;
        let pure = self.pure.iter().map(|k| {
            let by_law = law.pure_s(count(k));
            (k, "computes", &self.pure_busy, item_s(k), by_law)
        });
        let mixed = self.mixed.iter().map(|k| {
            let by_law = law.mixed_s(count(k));
            (k, "also waits", &self.mixed_busy, self.mixed_s(k), by_law)
        });
        let untold = match self.tells_switches() {
            true => "",
            false => {
                " This operating system does not tell context switches of threads (only Linux does here)."
            }
        };
        Table::of("Workers", pure.chain(mixed))
            .column("workers", |(k, ..)| number(k.x()))
            .column("work", |(_, work, ..)| work.to_string())
            .column("processors busy", |(k, _, busy, ..)| busy.cell(k))
            .column("theory", |(k, _, busy, ..)| busy.theory_cell(k))
            .column("time of an item", |(.., took, _)| seconds(took.unwrap_or(f64::NAN)))
            .column("theory", |(.., by_law)| seconds(*by_law))
            .cells("switches per item: forced", number, |(k, ..)| forced(k))
            .cells("voluntary", number, |(k, ..)| k.gauge(VOLUNTARY_PER_ITEM))
            .note(format!(
                "The rule P·(1 + w/p) asks for {} workers; the bound there is {} processors.{untold}",
                self.rule,
                number(law.bound(self.rule))
            ))
    }

    fn limits_table(&self) -> Table {
        let (p, theory) = (self.p, self.theory);
        let most_per_s = theory.width(p.cpu).value / p.cost.s();
        let binds = |k: &Condition| match self.fetches_bind(k) {
            true => "fetches",
            false => "workers",
        };
        Table::of("Two limits", self.ios.iter().chain(&self.cpus))
            .column("fetches", |k| theory.limits(k).0.to_string())
            .column("workers", |k| theory.limits(k).1.to_string())
            .cells("items/s", number, |k| rate(k))
            .column("theory", |k| self.per_s.theory_cell(k))
            .column("what binds", |k| binds(k).into())
            .note(format!(
                "Little's law: {} workers at full throughput of {}/s need {} fetches of {} under way.",
                p.cpu,
                number(most_per_s),
                number(little::number_in_system(most_per_s, p.fetch.s())),
                seconds(p.fetch.s())
            ))
    }
}
