//! Theory beside measurement for lab17.

use clap::ValueEnum;
use lab_kit::{
    figure::Style,
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
    Some((
        of(gauges::UPDATES, gauges::COUNTED)?,
        of(gauges::ALONE_UPDATES, gauges::ALONE_COUNTED)?,
    ))
}

impl<'a> Way<'a> {
    fn at(&self, threads: usize) -> Option<&Condition<'a>> {
        self.points.iter().find(|k| k.x() == threads as f64)
    }

    /// With two threads and more.
    fn several(&self) -> impl Iterator<Item = &Condition<'a>> {
        self.points.iter().filter(|k| k.x() > 1.0)
    }

    /// Over one thread alone, from the same trials.
    fn speed_up(&self, k: &Condition) -> Option<Estimate> {
        k.estimate(|t| self.faster(t))
    }

    /// The same where it is to be small: as the median slice has it, or all of the trial, whichever is more.
    fn no_faster(&self, p: &Params, k: &Condition) -> Option<Estimate> {
        // One thread alone counts before and after, for a quarter of a window each and what is cast off.
        let alone = 2.0 * (1.0 + 1.0 / f64::from(SLICES)) * p.window.s() / 4.0;
        k.estimate(|t| {
            let mean = t.gauge(gauges::UPDATES)? / (t.wall_s - alone).max(f64::MIN_POSITIVE);
            Some(t.gauge(gauges::PER_S)?.max(mean) / t.gauge(gauges::ALONE_PER_S)?)
        })
    }

    /// Where nobody meets anybody, the best slice of all threads is compared with the best of one:
    /// what disturbs either makes it slower.
    fn faster(&self, trial: &Trial) -> Option<f64> {
        let apart = self.name == "padded";
        let rate = if apart {
            gauges::BEST_PER_S
        } else {
            gauges::PER_S
        };
        Some(trial.gauge(rate)? / trial.gauge(gauges::ALONE_PER_S)?)
    }

    /// Updates in all, of so many threads and of one alone.
    fn made(&self) -> f64 {
        let both = |t: &Trial| Some(t.gauge(gauges::UPDATES)? + t.gauge(gauges::ALONE_UPDATES)?);
        let trials = self.points.iter().flat_map(|k| k.trials());
        trials.filter_map(both).sum()
    }

    /// A scalability law through its speed-ups, which describes them: the mean of each condition.
    fn fit(&self, cores: usize) -> Option<Fit> {
        let points = fitted_to(&self.points, cores);
        let means = points
            .iter()
            .filter_map(|k| Some((k.x(), self.speed_up(k)?.value)));
        Usl::fit(&[(1.0, 1.0)].into_iter().chain(means).collect::<Vec<_>>())
    }
}

/// Conditions that a scalability law is fitted to, beside one thread: up to the processors, since more
/// threads are not more machine; all, where too few remain.
fn fitted_to<'a>(points: &[Condition<'a>], cores: usize) -> Vec<Condition<'a>> {
    let several = points.iter().copied().filter(|k| k.x() > 1.0);
    let several: Vec<Condition> = several.collect();
    let within: Vec<Condition> = several
        .iter()
        .copied()
        .filter(|k| k.x() <= cores as f64)
        .collect();
    if within.len() >= 2 { within } else { several }
}

/// What the record says, in the lab's words.
struct View<'a> {
    ways: [Way<'a>; 7],
    /// Threads that keep all processors busy.
    most: usize,
    cores: usize,
    addition: Vec<Condition<'a>>,
    shares: Vec<Condition<'a>>,
    everything: Vec<Condition<'a>>,
    programs: Vec<(Program, Condition<'a>)>,
    /// Processors' worth of work that each number of threads gets here.
    width: &'a dyn Fn(f64) -> Given,
}

impl<'a> View<'a> {
    /// Real work with several threads: the share of it inside the lock, how many, and what was measured.
    fn locked(&self) -> Vec<(f64, f64, &Condition<'a>)> {
        let of = |points: &'_ [Condition<'a>], share: f64| {
            let all = points.iter().map(move |k| (share, k.x()));
            all.collect::<Vec<_>>()
        };
        let ends = [(&self.addition, 0.0), (&self.everything, 1.0)];
        let ends = ends
            .into_iter()
            .flat_map(|(points, share)| of(points, share).into_iter().zip(points));
        let most = self.most as f64;
        let between = self.shares.iter().map(|k| ((k.x(), most), k));
        let all = ends.chain(between).map(|((share, n), k)| (share, n, k));
        let mut all: Vec<_> = all.filter(|(_, n, _)| *n > 1.0).collect();
        all.sort_by(|a, b| a.0.total_cmp(&b.0).then(a.1.total_cmp(&b.1)));
        all
    }

    /// Share of the updates that all processors' threads lose by reading and then writing.
    fn lost(&self) -> Option<Estimate> {
        let k = self.ways[0].at(self.most).filter(|_| self.most > 1)?;
        share_lost(k)
    }

    /// How many times as fast counters apart are as those side by side.
    fn padding(&self) -> Option<Estimate> {
        let [.., adjacent, padded, _] = &self.ways;
        let (apart, beside) = padded
            .at(self.most)
            .zip(adjacent.at(self.most))
            .filter(|_| self.most > 1)?;
        apart.paired(beside, |a, b| {
            Some(a.gauge(gauges::PER_S)? / b.gauge(gauges::PER_S)?)
        })
    }

    /// Programs that are wrong or right: how many there are, and how many of them hung in every trial.
    fn hang(&self, wrong: bool) -> (usize, usize) {
        let kind = self.programs.iter().filter(|(p, _)| p.wrong() == wrong);
        let hung = |k: &Condition| {
            k.trials()
                .iter()
                .all(|t| t.gauge(gauges::HUNG) == Some(1.0))
        };
        let (all, stuck): (Vec<_>, Vec<_>) = kind.map(|(_, k)| ((), hung(k))).unzip();
        (all.len(), stuck.into_iter().filter(|h| *h).count())
    }
}

fn share_lost(k: &Condition) -> Option<Estimate> {
    k.estimate(|t| Some(100.0 * lost(t)?.0 / t.gauge(gauges::UPDATES).filter(|u| *u > 0.0)?))
}

fn speed_up(k: &Condition) -> Option<Estimate> {
    k.gauge(gauges::SPEED_UP)
}

pub(super) fn explain(p: &Params, summary: &Summary) -> Findings {
    let cores = summary.host().cores;
    let width = |n: f64| summary.calibrated(|host| host.width(n as usize));
    let series = |name: &str| summary.series(name);
    let view = &View {
        ways: WAYS.map(|(name, colour)| Way {
            name,
            colour,
            points: series(name),
        }),
        most: p.full(cores),
        cores,
        addition: series("locked/addition"),
        shares: series("locked/share"),
        everything: series("locked/everything"),
        programs: Program::value_variants()
            .iter()
            .filter_map(|program| Some((*program, summary.only(&program.series())?)))
            .collect(),
        width: &width,
    };
    let mut claims = counts(view);
    claims.extend(speeds(p, view));
    claims.extend(hangs(view));
    let mut figures = vec![rates(view), scaling(view), inside(p, view)];
    if !view.programs.is_empty() {
        figures.push(hanging(p, view));
    }
    let (lost, padding) = (view.lost(), view.padding());
    let (wrong, hung) = view.hang(true);
    Findings {
        headline: format!(
            "Reading and then writing loses {} of the updates; 128 bytes between two counters make them {} times as fast; with a lock held across an await, or two taken in two orders, {hung} of {wrong} programs hang.",
            cell(lost, |v| percent(v / 100.0)),
            cell(padding, number),
        ),
        figures,
        tables: vec![
            counting_table(view),
            locked_table(view),
            hanging_table(p, view),
        ],
        claims,
        answers: vec![
            Answer::alone(
                "lost",
                lost,
                "no model here: it depends on how often this machine's threads meet between reading and writing",
            ),
            // Those apart are as fast as the processors, those side by side no faster than one thread.
            Answer::at_least("padding", padding, width(view.most as f64).value),
        ],
    }
}

/// Claims of counts of updates.
fn counts(view: &View) -> Vec<Claim> {
    let [racy, safe @ ..] = &view.ways;
    let named = |way: &Way, k: &Condition| format!("{}, {} threads", way.name, k.x());
    // Who was let do nothing shows nothing.
    let made = |k: &Condition, name: Gauge| k.total(|t| t.gauge(name)).filter(|n| n.value > 0.0);
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
    let apart = (view.cores < 2).then(|| "on one processor threads rarely meet".into());
    vec![
        Law::counted(
            "six of the seven ways to count lose no update",
            "updates lost",
        )
        .near(all_there),
        // Those who never run at the same time lose nothing.
        Law::new(
            "reading and then writing loses updates with any number of threads from two on",
            "updates lost",
            FASTER,
        )
        .at_least(some_lost)
        .unless(apart),
        Law::counted(
            "one thread alone loses nothing, even reading and then writing",
            "updates lost",
        )
        .near(alone),
    ]
}

/// Claims of speed-ups.
fn speeds(p: &Params, view: &View) -> Vec<Claim> {
    let [_, atomic, mutex, rwlock, adjacent, padded, _] = &view.ways;
    let named = |k: &Condition| format!("{} threads", k.x());
    let times = |text: &str| Law::new(text, "times one thread", FASTER);
    let apart = padded
        .several()
        .map(|k| Case::share(named(k), (view.width)(k.x()), padded.speed_up(k), DRIFT));
    let mut claims = vec![
        times("counters in cache lines of their own scale with the processors")
            .within(CLOCK)
            .near(apart),
    ];
    for (text, way) in [
        (
            "one atomic counter: more threads bring no more updates, since its cache line travels",
            atomic,
        ),
        (
            "counters side by side in one cache line are no better (false sharing)",
            adjacent,
        ),
        (
            "a Mutex round nothing but an addition is no faster on more threads than on one",
            mutex,
        ),
        (
            "an RwLock that everybody writes is no faster on more threads than on one",
            rwlock,
        ),
    ] {
        let several = way.several();
        let cases = several.map(|k| Case::exact(named(k), 1.0, way.no_faster(p, k)));
        claims.push(times(text).at_most(cases));
    }
    let locked = view.locked().into_iter().map(|(share, n, k)| {
        let predicted = (view.width)(n).map(|width| bound(width, share));
        let name = format!("share {share}, {n} threads");
        Case::share(name, predicted, speed_up(k), DRIFT)
    });
    claims.push(
        times("with a share s of each item inside a lock the speed-up is min(P, 1/s): whoever is outside computes on")
            .within(CLOCK)
            .near(locked),
    );
    claims
}

/// Claims of programs that hang.
fn hangs(view: &View) -> Vec<Claim> {
    let cases = |wrong: bool| {
        let kind = Program::value_variants().iter();
        let kind = kind.filter(move |program| program.wrong() == wrong);
        kind.map(move |program| {
            let k = view.programs.iter().find(|(p, _)| p == program);
            let hung = k.and_then(|(_, k)| k.every(|t| t.gauge(gauges::HUNG)));
            Case::exact(program.title(), if wrong { 1.0 } else { 0.0 }, hung)
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

/// The ways to count.
fn counting_table(view: &View) -> Table {
    let most = view.most;
    let mut table = Table::new(
        "Seven ways to count",
        &[
            "way",
            "one thread, updates/s",
            &format!("{most} threads"),
            "times one thread",
            "theory",
            "lost there",
            "updates in all",
            "fit: σ",
            "κ",
            "R²",
        ],
    );
    for way in &view.ways {
        let at = way.at(most);
        let fit = way
            .fit(view.cores)
            .filter(|_| way.name != "load then store");
        let fitted =
            |figure: fn(&Fit) -> f64| fit.as_ref().map_or("–".into(), |f| number(figure(f)));
        let theory = match way.name {
            "padded" => number((view.width)(most as f64).value),
            "messages" | "load then store" => "–".into(),
            _ => "≤ 1".into(),
        };
        table.row([
            way.name.into(),
            cell(at.and_then(|k| k.gauge(gauges::ALONE_PER_S)), millions),
            cell(at.and_then(|k| k.gauge(gauges::PER_S)), millions),
            cell(at.and_then(|k| way.speed_up(k)), number),
            theory,
            cell(at.and_then(share_lost), |v| percent(v / 100.0)),
            millions(way.made()),
            fitted(|f| f.usl.sigma),
            fitted(|f| f.usl.kappa),
            fitted(|f| f.r_squared),
        ]);
    }
    let used: Vec<String> = fitted_to(&view.ways[1].points, view.cores)
        .iter()
        .map(|k| number(k.x()))
        .collect();
    table.note = format!(
        "The fit is to the speed-ups at 1, {} threads: it describes them and predicts nothing.{} Threads beyond the {} processors take turns: they are more clients of the same machine, not more machine.",
        used.join(", "),
        match view.lost() {
            Some(_) => "",
            None => " Nothing ran in parallel here.",
        },
        view.cores,
    );
    table
}

/// Real work and a lock.
fn locked_table(view: &View) -> Table {
    let mut table = Table::new(
        "Real work and a lock",
        &[
            "share inside",
            "threads",
            "speed-up",
            "Amdahl",
            "min(P, 1/s)",
        ],
    );
    for (share, n, k) in view.locked() {
        let width = (view.width)(n).value;
        table.row([
            number(share),
            number(n),
            cell(speed_up(k), number),
            number(amdahl(1.0 - share, width)),
            number(bound(width, share)),
        ]);
    }
    table
}

fn hanging_table(p: &Params, view: &View) -> Table {
    let mut table = Table::new(
        "Programs that may hang",
        &["program", "hung", "of", "where, when it was ended"],
    );
    for (program, k) in &view.programs {
        let hung = |t: &&Trial| t.gauge(gauges::HUNG) == Some(1.0);
        let count = k.trials().iter().filter(hung).count();
        table.row([
            program.name().into(),
            count.to_string(),
            k.trials().len().to_string(),
            k.trials()
                .iter()
                .find(hung)
                .map_or("ended by itself".into(), last_words),
        ]);
    }
    table.note = format!(
        "The watchdog ends a program after {} of silence.",
        seconds(p.patience.s())
    );
    table
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

/// Updates a second of the seven ways, side by side.
fn rates(view: &View) -> Figure {
    let lost = view.lost();
    let bar = |way: &Way, gauge: Gauge| {
        let e = way.at(view.most)?.gauge(gauge)?;
        // A logarithmic axis has no zero.
        let interval = e.ci95.map(|(low, high)| (low.max(0.1 * e.value), high));
        let wrong = way.name == "load then store" && lost.is_some();
        let name = if wrong {
            "load then store (wrong)"
        } else {
            way.name
        };
        Some(ValueBar::measured(name, way.colour, round(e.value)).with_interval(interval))
    };
    let bars = |gauge: Gauge| view.ways.iter().filter_map(|w| bar(w, gauge)).collect();
    let most = view.most;
    Figure {
        id: "rates".into(),
        title: match lost {
            Some(lost) => format!(
                "Reading and then writing: {most} threads lose {} of the updates",
                percent(lost.value / 100.0)
            ),
            None => "Seven ways to count".into(),
        },
        subtitle: "Updates a second, log scale. Whisker: 95 % interval".into(),
        desc: "Updates a second of seven ways to count, with one thread and with a thread for each processor.".into(),
        body: Body::Bars(Bars {
            x: Axis::log("updates/s", Unit::Number),
            groups: vec![
                BarGroup {
                    label: "One thread".into(),
                    note: "alone".into(),
                    bars: bars(gauges::ALONE_PER_S),
                },
                BarGroup {
                    label: format!("{most} threads"),
                    note: "all on the same count".into(),
                    bars: bars(gauges::PER_S),
                },
            ],
        }),
    }
}

/// Speed-ups over the number of threads.
fn scaling(view: &View) -> Figure {
    let [_, atomic, mutex, rwlock, adjacent, padded, messages] = &view.ways;
    let shared = [atomic, mutex, rwlock, messages];
    let line = |way: &Way| {
        let value = |k: &Condition| Some((k.x(), way.speed_up(k)?.value));
        let points = [(1.0, 1.0)]
            .into_iter()
            .chain(way.several().filter_map(value));
        Layer::Line(Line::measured(way.name, way.colour, points.collect()))
    };
    let beside_one = |way: &Way| {
        let speed_up = way.at(view.most).and_then(|k| way.speed_up(k));
        cell(speed_up, number)
    };
    let levels = [1.0].into_iter();
    let levels = levels.chain(padded.several().map(Condition::x));
    let levels: Vec<f64> = levels.collect();
    let theory = levels
        .iter()
        .map(|n| (*n, (view.width)(*n).value))
        .collect();
    let mut together: Vec<Layer> = Vec::new();
    for way in shared {
        if let Some(fit) = way.fit(view.cores) {
            let curve = levels.iter().map(|n| (*n, fit.usl.at(*n)));
            together.push(Layer::Line(Line::theory("", way.colour, curve.collect())));
        }
    }
    together.extend(shared.map(line));
    Figure {
        id: "threads".into(),
        title: format!(
            "{} threads: 128 bytes apart, counters are {} times as fast as one thread, side by side {} times",
            view.most,
            beside_one(padded),
            beside_one(adjacent)
        ),
        subtitle: "Updates a second over those of one thread alone. Dashed: theory above, a fitted scalability law below".into(),
        desc: "Speed-up over the number of threads: counters in cache lines of their own rise with the processors, counters in one line, one atomic counter, locks and messages do not.".into(),
        body: Body::Panels(Panels {
            x: Axis::log("threads, log scale", Unit::Number).with_ticks(levels),
            panels: vec![
                Panel {
                    title: "A counter for each thread".into(),
                    note: "times one thread".into(),
                    y: Axis::linear("", Unit::Factor),
                    layers: vec![
                        Layer::Line(Line::theory("", Colour::Muted, theory)),
                        line(padded),
                        line(adjacent),
                    ],
                    height: 1.0,
                },
                Panel {
                    title: "One counter".into(),
                    note: "times one thread".into(),
                    y: Axis::linear("", Unit::Factor),
                    layers: together,
                    height: 1.3,
                },
            ],
            marks: vec![Mark {
                x: view.cores as f64,
                interval: None,
                label: "P processors".into(),
                colour: Colour::Muted,
            }],
        }),
    }
}

/// Speed-up of real work over the share of it inside a lock.
fn inside(p: &Params, view: &View) -> Figure {
    let most = view.most as f64;
    let at = |share: f64, points: &[Condition]| {
        let found = points.iter().find(|k| k.x() == most);
        found.and_then(speed_up).map(|e| (share, e.value))
    };
    let (none, all) = (at(0.0, &view.addition), at(1.0, &view.everything));
    let some = view.shares.iter();
    let some = some.filter_map(|k| Some((k.x(), speed_up(k)?.value)));
    let measured: Vec<(f64, f64)> = none.into_iter().chain(some).chain(all).collect();
    let shares = || (0..=100).map(|i| f64::from(i) / 100.0);
    let width = (view.width)(most).value;
    let most_law = shares().map(|s| (s, bound(width, s))).collect();
    let least_law = shares().map(|s| (s, amdahl(1.0 - s, width))).collect();
    let times = |point: Option<(f64, f64)>| point.map_or("–".into(), |(_, v)| number(v));
    // The law has a corner: a line from dot to dot would cut it.
    let dots = Line {
        style: Style::Dots,
        ..Line::measured("measured", Colour::Blue, measured)
    };
    Figure {
        id: "inside".into(),
        title: format!(
            "Locked for the addition: {} times one thread; locked for everything: {}",
            times(none),
            times(all)
        ),
        subtitle: format!(
            "{most} threads, items of {} of computation. Dashed: min(P, 1/s) and, below it, Amdahl's law",
            seconds(p.item.s())
        ),
        desc: "Speed-up over the share of an item's work that is done inside a lock.".into(),
        body: Body::Panels(Panels {
            x: Axis::linear("share of the work inside the lock: s", Unit::Share),
            panels: vec![Panel {
                title: "Speed-up".into(),
                note: "times one thread".into(),
                y: Axis::linear("", Unit::Factor),
                layers: vec![
                    Layer::Line(Line::theory("", Colour::Muted, most_law)),
                    Layer::Line(Line::theory("", Colour::Sky, least_law)),
                    Layer::Line(dots),
                ],
                height: 1.4,
            }],
            marks: vec![],
        }),
    }
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

/// What the tasks of programs did until they ended or were ended.
fn hanging(p: &Params, view: &View) -> Figure {
    let programs = &view.programs;
    let group = |(program, k): &(Program, Condition)| {
        let trial = k.typical(|t| t.wall_s)?;
        let from = trial.spans.iter().map(|s| s.start_s).reduce(f64::min)?;
        let mut lanes: Vec<Lane> = Vec::new();
        for span in &trial.spans {
            let bars = bars(p, span, from);
            match lanes.iter_mut().find(|lane| lane.label == span.lane) {
                Some(lane) => lane.bars.extend(bars),
                None => lanes.push(Lane {
                    label: span.lane.clone(),
                    colour: Colour::Ink,
                    bars,
                }),
            }
        }
        lanes.sort_by(|a, b| a.label.cmp(&b.label));
        let hung = trial.gauge(gauges::HUNG) == Some(1.0);
        Some(Group {
            title: program.title().into(),
            note: if hung { "hangs" } else { "ends" }.into(),
            lanes,
            end: (!hung).then_some(trial.wall_s),
            predicted_end: None,
        })
    };
    // One right way beside each wrong one is enough to see.
    let shown = [
        Program::HeldCurrent,
        Program::AsyncCurrent,
        Program::HeldMulti,
        Program::ScopedMulti,
        Program::TwoOrders,
        Program::OneOrder,
    ];
    let shown = programs
        .iter()
        .filter(|(program, _)| shown.contains(program));
    let ((wrong, stuck), (right, others)) = (view.hang(true), view.hang(false));
    Figure {
        id: "programs".into(),
        title: format!(
            "A lock held across an await, or two in two orders: {stuck} of {wrong} programs hang; put right, {others} of {right}"
        ),
        subtitle: format!(
            "One trial of each. Hatched: waits for a lock, or is ready and nobody polls it. Blue: has a lock. What hangs was ended after {} of silence",
            seconds(p.patience.s())
        ),
        desc: "Gantt chart of the tasks of programs that hang, each waiting for a lock that another task has which waits as well, and of the right ways, which end.".into(),
        body: Body::Gantt(Gantt {
            groups: shown.filter_map(group).collect(),
        }),
    }
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
