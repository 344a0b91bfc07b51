//! Theory beside measurement for lab17.

use std::collections::BTreeSet;

use clap::ValueEnum;
use lab_kit::{
    prelude::*,
    record::Span,
    theory::{Fit, Usl, amdahl::amdahl},
};

use super::{Params, gauges, programs::Program, rush::SLICES, work::bound};

/// How closely speed-ups follow the processors' worth of work: a processor's clock changes with load
/// and heat.
const DRIFT: f64 = 0.1;
/// The same in words.
const CLOCK: &str = "10 %: a processor's clock changes with load and heat";
/// A rate over another: what else computes makes it smaller.
const FASTER: Disturbed = Disturbed::Fewer(Resource::Processors);

/// A way to count.
struct Way<'a> {
    name: &'static str,
    colour: Colour,
    points: Vec<Condition<'a>>,
}

const WAYS: [(&str, Colour); 7] = [
    ("load then store", Colour::Vermilion),
    ("fetch_add", Colour::Blue),
    ("Mutex", Colour::Purple),
    ("RwLock", Colour::Orange),
    ("adjacent", Colour::Sky),
    ("padded", Colour::Green),
    ("messages", Colour::Ink),
];

/// Updates that one trial lost: of all threads, and of one alone.
fn lost(trial: &Trial) -> Option<(f64, f64)> {
    let of = |made: Gauge, counted: Gauge| Some(trial.gauge(made)? - trial.gauge(counted)?);
    Some((of(gauges::UPDATES, gauges::COUNTED)?, of(gauges::ALONE_UPDATES, gauges::ALONE_COUNTED)?))
}

impl<'a> Way<'a> {
    /// Whether it is the wrong one: it reads and then writes.
    fn loses(&self) -> bool {
        self.name == "load then store"
    }

    fn at(&self, threads: usize) -> Option<&Condition<'a>> {
        self.points.iter().find(|k| k.x() == threads as f64)
    }

    /// With two threads and more.
    fn several(&self) -> impl Iterator<Item = &Condition<'a>> {
        self.points.iter().filter(|k| k.x() > 1.0)
    }

    /// Updates in all, of so many threads and of one alone.
    fn made(&self) -> f64 {
        let both = |t: &Trial| Some(t.gauge(gauges::UPDATES)? + t.gauge(gauges::ALONE_UPDATES)?);
        let trials = self.points.iter().flat_map(|k| k.trials());
        trials.filter_map(both).sum()
    }

    /// Conditions that a scalability law is fitted to, beside one thread: up to the processors, since more
    /// threads are not more machine; all, where too few remain.
    fn fitted_to(&self, cores: usize) -> Vec<&Condition<'a>> {
        let within = |most: f64| -> Vec<_> { self.several().filter(|k| k.x() <= most).collect() };
        let machine = within(cores as f64);
        match machine.len() {
            0 | 1 => within(f64::INFINITY),
            _ => machine,
        }
    }

    /// A scalability law through its speed-ups, which describes them: the mean of each condition.
    fn fit(&self, cores: usize) -> Option<Fit> {
        let points = self.fitted_to(cores).into_iter();
        let means = points.filter_map(|k| Some((k.x(), speed_up(k)?.value)));
        Usl::fit(&[(1.0, 1.0)].into_iter().chain(means).collect::<Vec<_>>())
    }
}

/// How many times as many updates a second as one thread makes alone, in the same trials. Where nobody meets
/// anybody, the best slice of all threads is compared with the best of one: what disturbs either makes it slower.
fn speed_up(k: &Condition) -> Option<Estimate> {
    let rate = match k.series() {
        "padded" => gauges::BEST_PER_S,
        _ => gauges::PER_S,
    };
    k.estimate(|t| Some(t.gauge(rate)? / t.gauge(gauges::ALONE_PER_S)?))
}

/// The same where it is to be small: as the median slice has it, or all of the trial, whichever is more.
fn no_faster(p: &Params, k: &Condition) -> Option<Estimate> {
    // One thread alone counts before and after, for a quarter of a window each and what is cast off.
    let alone = 2.0 * (1.0 + 1.0 / f64::from(SLICES)) * p.window.s() / 4.0;
    k.estimate(|t| {
        let mean = t.gauge(gauges::UPDATES)? / (t.wall_s - alone).max(f64::MIN_POSITIVE);
        Some(t.gauge(gauges::PER_S)?.max(mean) / t.gauge(gauges::ALONE_PER_S)?)
    })
}

/// Percent of the updates.
fn share_lost(k: &Condition) -> Option<Estimate> {
    k.estimate(|t| Some(100.0 * lost(t)?.0 / t.gauge(gauges::UPDATES).filter(|u| *u > 0.0)?))
}

/// The watchdog had to end it.
fn hung(trial: &Trial) -> bool {
    trial.gauge(gauges::HUNG) == Some(1.0)
}

/// Real work with a lock.
struct Locked<'a> {
    /// The part of each item that is done inside.
    share: f64,
    threads: f64,
    k: Condition<'a>,
}

impl<'a> Locked<'a> {
    /// By that part, ascending. Parts are tried with the `most` threads only.
    fn all(summary: &Summary<'a>, most: usize) -> Vec<Locked<'a>> {
        let of = |series: &str| summary.series(series).into_iter();
        let outside = of("locked/addition").map(|k| (0.0, k.x(), k));
        let partly = of("locked/share").map(|k| (k.x(), most as f64, k));
        let inside = of("locked/everything").map(|k| (1.0, k.x(), k));
        let all = outside.chain(partly).chain(inside);
        all.map(|(share, threads, k)| Locked { share, threads, k }).collect()
    }

    fn speed_up(&self) -> Option<Estimate> {
        self.k.gauge(gauges::SPEED_UP)
    }
}

/// What the record says, in the lab's words.
struct View<'a> {
    p: &'a Params,
    summary: &'a Summary<'a>,
    ways: [Way<'a>; 7],
    cores: usize,
    /// Threads that keep all processors busy.
    most: usize,
    locked: Vec<Locked<'a>>,
    programs: Vec<(Program, Condition<'a>)>,
}

impl<'a> View<'a> {
    fn of(p: &'a Params, summary: &'a Summary<'a>) -> View<'a> {
        let cores = summary.host().cores;
        let most = p.full(cores);
        let programs = Program::value_variants().iter();
        View {
            p,
            summary,
            ways: WAYS.map(|(name, colour)| Way { name, colour, points: summary.series(name) }),
            cores,
            most,
            locked: Locked::all(summary, most),
            programs: programs
                .filter_map(|program| Some((*program, summary.only(&program.series())?)))
                .collect(),
        }
    }

    /// Processors' worth of work that so many threads get here.
    fn width(&self, threads: f64) -> Given {
        self.summary.calibrated(|host| host.width(threads as usize))
    }

    /// Real work with several threads.
    fn several(&self) -> impl Iterator<Item = &Locked<'a>> {
        self.locked.iter().filter(|l| l.threads > 1.0)
    }

    /// Percent of the updates that all processors' threads lose by reading and then writing.
    fn lost(&self) -> Option<Estimate> {
        let k = self.ways[0].at(self.most).filter(|_| self.most > 1)?;
        share_lost(k)
    }

    /// How many times as fast counters apart are as those side by side.
    fn padding(&self) -> Option<Estimate> {
        let [.., adjacent, padded, _] = &self.ways;
        let apart = padded.at(self.most).filter(|_| self.most > 1)?;
        apart.ratio(adjacent.at(self.most)?, gauges::PER_S)
    }

    /// Programs that are meant to hang or to end: how many there are, and how many of them hung in every trial.
    fn hung(&self, meant_to: bool) -> (usize, usize) {
        let kind = self.programs.iter();
        let kind: Vec<_> = kind.filter(|(p, _)| p.hangs() == meant_to).collect();
        let stuck = kind.iter().filter(|(_, k)| k.trials().iter().all(hung));
        (kind.len(), stuck.count())
    }
}

pub(super) fn explain(p: &Params, summary: &Summary) -> Findings {
    let view = View::of(p, summary);
    let mut figures = vec![view.rates(), view.scaling(), view.inside()];
    if !view.programs.is_empty() {
        figures.push(view.hanging());
    }
    Findings {
        headline: view.headline(),
        figures,
        tables: vec![view.counting_table(), view.locked_table(), view.hanging_table()],
        claims: [view.counts(), view.speeds(), view.hangs()].concat(),
        answers: view.answers(),
    }
}

/// The claims and the answers.
impl View<'_> {
    /// Claims of counts of updates.
    fn counts(&self) -> Vec<Claim> {
        let [racy, safe @ ..] = &self.ways;
        let named = |way: &Way, k: &Condition| format!("{}, {} threads", way.name, k.x());
        // Who was let do nothing shows nothing.
        let made = |k: &Condition, of: Gauge| k.total(|t| t.gauge(of)).filter(|n| n.value > 0.0);
        let all_there = safe.iter().flat_map(|way| {
            way.points.iter().map(move |k| {
                let missing = k.total(|t| lost(t).map(|(all, alone)| all + alone));
                let made = made(k, gauges::UPDATES).and(made(k, gauges::ALONE_UPDATES));
                Case::exact(named(way, k), 0.0, made.and(missing))
            })
        });
        let some_lost = racy.several().map(|k| {
            // Too many are none lost.
            let missing = k.total(|t| lost(t).map(|(all, _)| all.max(0.0)));
            Case::exact(named(racy, k), 1.0, missing)
        });
        let alone = racy.points.iter().map(|k| {
            let missing = k.total(|t| lost(t).map(|(_, alone)| alone));
            let made = made(k, gauges::ALONE_UPDATES);
            Case::exact(format!("beside {} threads", k.x()), 0.0, made.and(missing))
        });
        let apart = (self.cores < 2).then(|| "on one processor threads rarely meet".into());
        let counted = |text: &str| Law::counted(text, "updates lost");
        vec![
            counted("six of the seven ways to count lose no update").near(all_there),
            // Those who never run at the same time lose nothing.
            Law::new(
                "reading and then writing loses updates with any number of threads from two on",
                "updates lost",
                FASTER,
            )
            .at_least(some_lost)
            .unless(apart),
            counted("one thread alone loses nothing, even reading and then writing").near(alone),
        ]
    }

    /// Claims of speed-ups.
    fn speeds(&self) -> Vec<Claim> {
        let [_, atomic, mutex, rwlock, adjacent, padded, _] = &self.ways;
        let named = |k: &Condition| format!("{} threads", k.x());
        let times = |text: &str| Law::new(text, "times one thread", FASTER);
        let apart =
            padded.several().map(|k| Case::share(named(k), self.width(k.x()), speed_up(k), DRIFT));
        let no_faster = |way: &Way, text: &str| {
            let several = way.several();
            let cases = several.map(|k| Case::exact(named(k), 1.0, no_faster(self.p, k)));
            times(text).at_most(cases)
        };
        let inside = self.several().map(|l| {
            let predicted = self.width(l.threads).map(|width| bound(width, l.share));
            let name = format!("share {}, {} threads", l.share, l.threads);
            Case::share(name, predicted, l.speed_up(), DRIFT)
        });
        vec![
            times("counters in cache lines of their own scale with the processors")
                .within(CLOCK)
                .near(apart),
            no_faster(atomic, "one atomic counter: more threads bring no more updates, since its cache line travels"),
            no_faster(adjacent, "counters side by side in one cache line are no better (false sharing)"),
            no_faster(mutex, "a Mutex round nothing but an addition is no faster on more threads than on one"),
            no_faster(rwlock, "an RwLock that everybody writes is no faster on more threads than on one"),
            times("with a share s of each item inside a lock the speed-up is min(P, 1/s): whoever is outside computes on")
                .within(CLOCK)
                .near(inside),
        ]
    }

    /// Claims of programs that hang.
    fn hangs(&self) -> Vec<Claim> {
        let cases = |hangs: bool| {
            let kind = Program::value_variants().iter();
            let kind = kind.filter(move |program| program.hangs() == hangs);
            kind.map(move |program| {
                let k = self.programs.iter().find(|(p, _)| p == program);
                let hung = k.and_then(|(_, k)| k.every(|t| t.gauge(gauges::HUNG)));
                Case::exact(program.title(), if hangs { 1.0 } else { 0.0 }, hung)
            })
        };
        let law = |text: &str| Law::counted(text, "of its runs hang");
        vec![
            law("a std lock held across an await hangs a runtime, and two locks in two orders two threads, every time")
                .near(cases(true)),
            law("the same programs end when the guard is scoped, the lock is asynchronous or the order is one")
                .near(cases(false)),
        ]
    }

    fn answers(&self) -> Vec<Answer> {
        // Those apart are as fast as the processors, those side by side no faster than one thread.
        let padding = self.width(self.most as f64).value;
        vec![
            Answer::alone(
                "lost",
                self.lost(),
                "no model here: it depends on how often this machine's threads meet between reading and writing",
            ),
            Answer::at_least("padding", self.padding(), padding),
        ]
    }
}

/// The tables.
impl View<'_> {
    /// The ways to count.
    fn counting_table(&self) -> Table {
        let most = self.most;
        let rows = self.ways.iter().map(|way| {
            let fit = way.fit(self.cores).filter(|_| !way.loses());
            (way, way.at(most), fit)
        });
        let fitted = |fit: &Option<Fit>, of: fn(&Fit) -> f64| {
            let fit = fit.as_ref();
            fit.map_or("–".into(), |fit| number(of(fit)))
        };
        let theory = |way: &Way| match way.name {
            "padded" => number(self.width(most as f64).value),
            "messages" | "load then store" => "–".into(),
            _ => "≤ 1".into(),
        };
        let used = self.ways[1].fitted_to(self.cores).into_iter();
        let used: Vec<String> = used.map(|k| number(k.x())).collect();
        Table::of("Seven ways to count", rows)
            .column("way", |r| r.0.name.into())
            .cells("one thread, updates/s", millions, |r| r.1?.gauge(gauges::ALONE_PER_S))
            .cells(format!("{most} threads"), millions, |r| r.1?.gauge(gauges::PER_S))
            .cells("times one thread", number, |r| speed_up(r.1?))
            .column("theory", |r| theory(r.0))
            .cells("lost there", |v| percent(v / 100.0), |r| share_lost(r.1?))
            .column("updates in all", |r| millions(r.0.made()))
            .column("fit: σ", |r| fitted(&r.2, |f| f.usl.sigma))
            .column("κ", |r| fitted(&r.2, |f| f.usl.kappa))
            .column("R²", |r| fitted(&r.2, |f| f.r_squared))
            .note(format!(
                "The fit is to the speed-ups at 1, {} threads: it describes them and predicts nothing.{} Threads beyond the {} processors take turns: they are more clients of the same machine, not more machine.",
                used.join(", "),
                match self.lost() {
                    Some(_) => "",
                    None => " Nothing ran in parallel here.",
                },
                self.cores,
            ))
    }

    /// Real work and a lock.
    fn locked_table(&self) -> Table {
        let width = |l: &Locked| self.width(l.threads).value;
        Table::of("Real work and a lock", self.several())
            .column("share inside", |l| number(l.share))
            .column("threads", |l| number(l.threads))
            .cells("speed-up", number, |l| l.speed_up())
            .column("Amdahl", |l| number(amdahl(1.0 - l.share, width(l))))
            .column("min(P, 1/s)", |l| number(bound(width(l), l.share)))
            .done()
    }

    fn hanging_table(&self) -> Table {
        let stuck = |k: &Condition| k.trials().iter().filter(|t| hung(t)).count();
        let place = |k: &Condition| {
            let first = k.trials().iter().find(|t| hung(t));
            first.map_or("ended by itself".into(), last_words)
        };
        let silence = seconds(self.p.patience.s());
        Table::of("Programs that may hang", &self.programs)
            .column("program", |(program, _)| program.name().into())
            .column("hung", |(_, k)| stuck(k).to_string())
            .column("of", |(_, k)| k.trials().len().to_string())
            .column("where, when it was ended", |(_, k)| place(k))
            .note(format!("The watchdog ends a program after {silence} of silence."))
    }
}

/// A number of updates: "57.2 M".
fn millions(value: f64) -> String {
    match value {
        v if !v.is_finite() => "–".into(),
        v if v >= 1e9 => format!("{} G", number(v / 1e9)),
        v if v >= 1e6 => format!("{} M", number(v / 1e6)),
        v => format!("{} k", number(v / 1e3)),
    }
}

/// To three digits.
fn round(value: f64) -> f64 {
    let unit = 10_f64.powf(value.abs().max(1.0).log10().floor() - 2.0);
    (value / unit).round() * unit
}

/// What those who had not ended did when it was all over.
fn last_words(trial: &Trial) -> String {
    let end = trial.spans.iter().map(|s| s.end_s).fold(0.0, f64::max);
    let open = trial.spans.iter().filter(|s| s.end_s == end);
    let told = open.map(|s| format!("{} {}", s.lane, s.name));
    told.collect::<Vec<_>>().join("; ")
}

/// The charts.
impl View<'_> {
    fn headline(&self) -> String {
        let (meant_to, hung) = self.hung(true);
        format!(
            "Reading and then writing loses {} of the updates; 128 bytes between two counters make them {} times as fast; with a lock held across an await, or two taken in two orders, {hung} of {meant_to} programs hang.",
            cell(self.lost(), |v| percent(v / 100.0)),
            cell(self.padding(), number),
        )
    }

    /// Updates a second of the seven ways, side by side.
    fn rates(&self) -> Figure {
        let (most, lost) = (self.most, self.lost());
        let bar = |way: &Way, gauge: Gauge| {
            let e = way.at(most)?.gauge(gauge)?;
            // A logarithmic axis has no zero.
            let interval = e.ci95.map(|(low, high)| (low.max(0.1 * e.value), high));
            let name = match way.loses() && lost.is_some() {
                true => "load then store (wrong)",
                false => way.name,
            };
            let bar = ValueBar::measured(name, way.colour, round(e.value));
            Some(bar.with_interval(interval))
        };
        let bars = |gauge: Gauge| self.ways.iter().filter_map(move |way| bar(way, gauge));
        let title = match lost {
            Some(lost) => format!(
                "Reading and then writing: {most} threads lose {} of the updates",
                percent(lost.value / 100.0)
            ),
            None => "Seven ways to count".into(),
        };
        Figure::new("rates", title)
            .subtitle("Updates a second, log scale. Whisker: 95 % interval")
            .desc("Updates a second of seven ways to count, with one thread and with a thread for each processor.")
            .bars(Axis::log("updates/s", Unit::Number), [
                BarGroup::new("One thread", bars(gauges::ALONE_PER_S)).note("alone"),
                BarGroup::new(format!("{most} threads"), bars(gauges::PER_S)).note("all on the same count"),
            ])
    }

    /// Speed-ups over the number of threads.
    fn scaling(&self) -> Figure {
        let [_, atomic, mutex, rwlock, adjacent, padded, messages] = &self.ways;
        let shared = [atomic, mutex, rwlock, messages];
        let line = |way: &Way| {
            let several = way.several();
            let several = several.filter_map(|k| Some((k.x(), speed_up(k)?.value)));
            let points = [(1.0, 1.0)].into_iter().chain(several);
            Line::measured(way.name, way.colour, points.collect())
        };
        let levels = [1.0].into_iter();
        let levels: Vec<f64> = levels.chain(padded.several().map(Condition::x)).collect();
        let over_levels = |law: &dyn Fn(f64) -> f64| levels.iter().map(|n| (*n, law(*n))).collect();
        let theory = over_levels(&|n| self.width(n).value);
        let fits = shared.iter().filter_map(|way| {
            let usl = way.fit(self.cores)?.usl;
            Some(Line::theory("", way.colour, over_levels(&|n| usl.at(n))))
        });
        let fits: Vec<Line> = fits.collect();
        let beside_one = |way: &Way| cell(way.at(self.most).and_then(speed_up), number);
        let title = format!(
            "{} threads: 128 bytes apart, counters are {} times as fast as one thread, side by side {} times",
            self.most,
            beside_one(padded),
            beside_one(adjacent)
        );
        Figure::new("threads", title)
            .subtitle("Updates a second over those of one thread alone. Dashed: theory above, a fitted scalability law below")
            .desc("Speed-up over the number of threads: counters in cache lines of their own rise with the processors, counters in one line, one atomic counter, locks and messages do not.")
            .over(Axis::log("threads, log scale", Unit::Number).with_ticks(levels.as_slice()), [
                Panel::new("A counter for each thread", Unit::Factor)
                    .note("times one thread")
                    .layer(Line::theory("", Colour::Muted, theory))
                    .layers([padded, adjacent].map(line)),
                Panel::new("One counter", Unit::Factor)
                    .note("times one thread")
                    .layers(fits)
                    .layers(shared.map(line))
                    .height(1.3),
            ])
            .marks([Mark::at(self.cores as f64, "P processors", Colour::Muted)])
    }

    /// Speed-up of real work over the share of it inside a lock.
    fn inside(&self) -> Figure {
        let most = self.most as f64;
        let locked = self.locked.iter().filter(|l| l.threads == most);
        let measured = locked.filter_map(|l| Some((l.share, l.speed_up()?.value)));
        let measured: Vec<(f64, f64)> = measured.collect();
        let times = |share: f64| {
            let at = measured.iter().find(|(s, _)| *s == share);
            at.map_or("–".into(), |(_, times)| number(*times))
        };
        let title = format!(
            "Locked for the addition: {} times one thread; locked for everything: {}",
            times(0.0),
            times(1.0)
        );
        let width = self.width(most).value;
        let law = |colour, law: &dyn Fn(f64) -> f64| {
            let shares = (0..=100).map(|i| f64::from(i) / 100.0);
            Line::theory("", colour, shares.map(|s| (s, law(s))).collect())
        };
        // The law has a corner: a line from dot to dot would cut it.
        let dots =
            Line { style: Style::Dots, ..Line::measured("measured", Colour::Blue, measured) };
        Figure::new("inside", title)
            .subtitle(format!(
                "{most} threads, items of {} of computation. Dashed: min(P, 1/s) and, below it, Amdahl's law",
                seconds(self.p.item.s())
            ))
            .desc("Speed-up over the share of an item's work that is done inside a lock.")
            .over(Axis::linear("share of the work inside the lock: s", Unit::Share), [
                Panel::new("Speed-up", Unit::Factor)
                    .note("times one thread")
                    .layer(law(Colour::Muted, &|s| bound(width, s)))
                    .layer(law(Colour::Sky, &|s| amdahl(1.0 - s, width)))
                    .layer(dots)
                    .height(1.4),
            ])
    }

    /// What the tasks of programs did until they ended or were ended.
    fn hanging(&self) -> Figure {
        // One right way beside each wrong one is enough to see.
        let left_out = [Program::ScopedCurrent, Program::AsyncMulti];
        let shown = self.programs.iter();
        let shown = shown.filter(|(program, _)| !left_out.contains(program));
        let ((wrong, stuck), (right, others)) = (self.hung(true), self.hung(false));
        let title = format!(
            "A lock held across an await, or two in two orders: {stuck} of {wrong} programs hang; put right, {others} of {right}"
        );
        Figure::new("programs", title)
            .subtitle(format!(
                "One trial of each. Hatched: waits for a lock, or is ready and nobody polls it. Blue: has a lock. What hangs was ended after {} of silence",
                seconds(self.p.patience.s())
            ))
            .desc("Gantt chart of the tasks of programs that hang, each waiting for a lock that another task has which waits as well, and of the right ways, which end.")
            .gantt(shown.filter_map(|(program, k)| lanes(self.p, *program, k)))
    }
}

/// What the tasks of a program did, in a typical trial.
fn lanes(p: &Params, program: Program, k: &Condition) -> Option<Group> {
    let trial = k.typical(|t| t.wall_s)?;
    let spans = &trial.spans;
    let from = spans.iter().map(|s| s.start_s).reduce(f64::min)?;
    let tasks: BTreeSet<&str> = spans.iter().map(|s| s.lane.as_str()).collect();
    let lane = |task: &str| {
        let its = spans.iter().filter(|s| s.lane == task);
        Lane {
            label: task.into(),
            colour: Colour::Ink,
            bars: its.flat_map(|span| bars(p, span, from)).collect(),
        }
    };
    let hung = hung(trial);
    Some(Group {
        title: program.title().into(),
        note: if hung { "hangs" } else { "ends" }.into(),
        lanes: tasks.into_iter().map(lane).collect(),
        end: (!hung).then_some(trial.wall_s),
        predicted_end: None,
    })
}

/// What a task did for a while. Who says that it sleeps and does not come back in time has slept for what
/// it was told to, and is ready since: its thread is blocked, and nobody polls it.
fn bars(p: &Params, span: &Span, from: f64) -> Vec<Bar> {
    let bar = |start: f64, end: f64, label: &str, colour: Colour, waiting: bool| Bar {
        start: start - from,
        end: end - from,
        label: label.into(),
        colour,
        waiting,
    };
    let (start, end) = (span.start_s, span.end_s);
    if span.name == "sleeps" {
        // A request sleeps for half as long as the helper.
        let told = match span.lane.starts_with("request") {
            true => p.pause.s() / 2.0,
            false => p.pause.s(),
        };
        let awake = start + told;
        if end > awake + p.pause.s() {
            return vec![
                bar(start, awake, &span.name, Colour::Muted, false),
                bar(awake, end, "ready, not polled", Colour::Vermilion, true),
            ];
        }
    }
    let waits = span.name.contains("waits for");
    let colour = match waits {
        true => Colour::Vermilion,
        false if span.name.starts_with("has ") => Colour::Blue,
        false => Colour::Muted,
    };
    vec![bar(start, end, &span.name, colour, waits)]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_bound_of_a_lock() {
        assert_eq!(bound(8.0, 0.0), 8.0);
        assert_eq!(bound(8.0, 0.25), 4.0);
        assert_eq!(bound(2.0, 0.25), 2.0);
        assert_eq!(bound(8.0, 1.0), 1.0);
    }

    #[test]
    fn updates_read_well() {
        assert_eq!(millions(57.2e6), "57.2 M");
        assert_eq!(millions(2.88e9), "2.88 G");
        assert_eq!(millions(20_000.0), "20 k");
        assert_eq!(round(151_304_112.0), 151e6);
        assert_eq!(round(2.803e9), 2.8e9);
    }

    #[test]
    fn lost_updates_are_counted_of_all_and_of_one_alone() {
        let mut trial = Trial::default();
        assert_eq!(lost(&trial), None);
        for (name, value) in [
            (gauges::UPDATES, 1000.0),
            (gauges::COUNTED, 600.0),
            (gauges::ALONE_UPDATES, 50.0),
            (gauges::ALONE_COUNTED, 50.0),
        ] {
            trial.gauges.insert(name.to_string(), value);
        }
        assert_eq!(lost(&trial), Some((400.0, 0.0)));
    }
}
