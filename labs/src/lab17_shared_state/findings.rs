//! Theory beside measurement for lab17.

use clap::ValueEnum;
use lab_kit::prelude::*;
use lab_kit::theory::{Fit, Usl, amdahl::amdahl};

use super::{Params, bound, programs::Program};

/// How closely speed-ups follow the processors' worth of work: a processor's clock changes with load
/// and heat.
const DRIFT: f64 = 0.1;

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

fn gauge(trial: &Trial, name: &str) -> Option<f64> {
    trial.gauges.get(name).copied()
}

/// Updates that one trial lost: of all threads, and of one alone.
fn lost(trial: &Trial) -> Option<(f64, f64)> {
    let of = |made, counted| Some(gauge(trial, made)? - gauge(trial, counted)?);
    Some((
        of("updates", "counted")?,
        of("alone_updates", "alone_counted")?,
    ))
}

impl<'a> Way<'a> {
    fn at(&self, threads: usize) -> Option<&Condition<'a>> {
        self.points.iter().find(|k| k.x() == threads as f64)
    }

    fn trials(&self) -> impl Iterator<Item = &'a Trial> + '_ {
        self.points.iter().flat_map(|k| k.trials())
    }

    /// Over one thread alone, from the same trials.
    fn speed_up(&self, k: &Condition) -> Option<Estimate> {
        k.estimate(|t| self.faster(t))
    }

    /// Where nobody meets anybody, the best slice of all threads is compared with the best of one:
    /// what disturbs either makes it slower.
    fn faster(&self, trial: &Trial) -> Option<f64> {
        let apart = self.name == "padded";
        let rate = if apart { "best_per_s" } else { "per_s" };
        Some(gauge(trial, rate)? / gauge(trial, "alone_per_s")?)
    }

    /// Updates a second of one thread.
    fn alone(&self) -> Option<Estimate> {
        let all: Vec<f64> = self
            .trials()
            .filter_map(|t| gauge(t, "alone_per_s"))
            .collect();
        Estimate::of(&all)
    }

    fn made(&self) -> f64 {
        let both = |t: &Trial| Some(gauge(t, "updates")? + gauge(t, "alone_updates")?);
        self.trials().filter_map(both).sum()
    }

    fn lost(&self) -> Option<f64> {
        let all: Vec<f64> = self
            .trials()
            .filter_map(lost)
            .map(|(all, alone)| all + alone)
            .collect();
        (!all.is_empty()).then(|| all.iter().sum())
    }

    /// The condition of two threads or more with the largest speed-up, as far as can be told.
    fn best(&self) -> Option<(Estimate, f64)> {
        let several = self.points.iter().filter(|k| k.x() > 1.0);
        let known = several.filter_map(|k| Some((self.speed_up(k)?, k.x())));
        let top = |e: &Estimate| e.ci95.map_or(e.value, |(_, high)| high);
        known.max_by(|a, b| top(&a.0).total_cmp(&top(&b.0)))
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

/// A fit to speed-ups over one thread for each round of trials.
fn fits(points: &[Condition], speed_up: impl Fn(&Trial) -> Option<f64>) -> Vec<Fit> {
    let rounds = points.iter().map(|k| k.trials().len()).min().unwrap_or(0);
    let round = |i: usize| {
        let all = points
            .iter()
            .filter_map(|k| Some((k.x(), speed_up(k.trials().get(i)?)?)));
        Usl::fit(&[(1.0, 1.0)].into_iter().chain(all).collect::<Vec<_>>())
    };
    (0..rounds).filter_map(round).collect()
}

fn over(fits: &[Fit], figure: impl Fn(&Fit) -> f64) -> Option<Estimate> {
    Estimate::of(&fits.iter().map(figure).collect::<Vec<_>>())
}

pub(super) fn explain(p: &Params, summary: &Summary) -> Findings {
    let host = summary.host();
    let (cores, most) = (host.cores, p.full(host.cores));
    let width = |n: f64| host.width(n as usize);
    let ways = WAYS.map(|(name, colour)| Way {
        name,
        colour,
        points: summary.series(name),
    });
    let [racy, atomic, mutex, rwlock, adjacent, padded, messages] = &ways;
    let safe = &ways[1..];

    let mut claims = Vec::new();
    let safe_lost = safe.iter().map(Way::lost).sum::<Option<f64>>();
    let fewest = safe.iter().map(Way::made).fold(f64::INFINITY, f64::min);
    let none = Claim::near(
        "six of the seven ways to count lose no update",
        Basis::Predicted,
        0.0,
        safe_lost.map(Estimate::exact),
        0.0,
    )
    .unit("updates lost");
    let _ = fewest;
    claims.push(none);
    let racing = || racy.points.iter().filter(|k| k.x() > 1.0);
    let of = |k: &Condition| {
        k.trials()
            .iter()
            .map(|t| Some(lost(t)?.0))
            .sum::<Option<f64>>()
    };
    let least_lost = racing().filter_map(of).reduce(f64::min);
    claims.push(
        Claim::at_least(
            "reading and then writing loses updates with any number of threads from two on",
            Basis::Predicted,
            1.0,
            least_lost.map(Estimate::exact),
        )
        .unit("updates lost, where the fewest are")
        .excused((cores < 2).then(|| "on one processor threads rarely meet".into())),
    );
    let alone = racy
        .trials()
        .filter_map(lost)
        .map(|(_, alone)| alone)
        .reduce(|a, b| a + b);
    claims.push(
        Claim::near(
            "one thread alone loses nothing, even reading and then writing",
            Basis::Predicted,
            0.0,
            alone.map(Estimate::exact),
            0.0,
        )
        .unit("updates lost"),
    );
    let outside = |t: &Trial| {
        let (made, counted) = (gauge(t, "updates")?, gauge(t, "counted")?);
        Some(!(made.min(2.0)..=made).contains(&counted))
    };
    let strays: Vec<bool> = racing()
        .flat_map(|k| k.trials())
        .filter_map(outside)
        .collect();
    claims.push(
        Claim::near(
            "what is left of the updates lies between 2 and all of them, as the model checker says",
            Basis::Predicted,
            0.0,
            (!strays.is_empty())
                .then(|| Estimate::exact(strays.iter().filter(|s| **s).count() as f64)),
            0.0,
        )
        .unit("trials outside"),
    );

    let named = |k: &Condition| format!("{} threads", k.x());
    let several: Vec<&Condition> = padded.points.iter().filter(|k| k.x() > 1.0).collect();
    claims.push(
        Claim::at_every(
            "counters in cache lines of their own scale with the processors",
            Basis::Calibrated,
            several
                .iter()
                .map(|k| Case {
                    name: named(k),
                    predicted: (width(k.x())).into(),
                    measured: padded.speed_up(k),
                    tolerance: DRIFT * width(k.x()),
                })
                .collect(),
        )
        .unit("times one thread"),
    );
    let no_faster = |text: &str, way: &Way| {
        let best = way.best();
        Claim::at_most(text, Basis::Predicted, 1.0, best.map(|(e, _)| e)).unit("times one thread")
    };
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
        claims.push(no_faster(text, way));
    }
    let of_atomic = fits(&fitted_to(&atomic.points, cores), |t| atomic.faster(t));
    claims.push(
        Claim::near(
            "the scalability law fitted to the atomic counter promises no number of threads more than one thread brings",
            Basis::Fitted,
            1.0,
            over(&of_atomic, |f| f.usl.capacity_limit() / f.usl.lambda),
            DRIFT,
        )
        .unit("times one thread"),
    );

    // Real work.
    let (addition, everything) = (
        summary.series("locked/addition"),
        summary.series("locked/everything"),
    );
    let shares = summary.series("locked/share");
    let speed_up = |k: &Condition| k.gauge("speed_up");
    let case = |name: String, k: &Condition, share: f64, n: f64| {
        let (least, most) = (amdahl(1.0 - share, width(n)), bound(width(n), share));
        let middle = (least + most) / 2.0;
        Case {
            name,
            predicted: middle.into(),
            measured: speed_up(k),
            tolerance: (most - least) / 2.0 + DRIFT * middle,
        }
    };
    let mut cases = Vec::new();
    for (points, share) in [(&addition, 0.0), (&everything, 1.0)] {
        let several = points.iter().filter(|k| k.x() > 1.0);
        cases
            .extend(several.map(|k| case(format!("share {share}, {}", named(k)), k, share, k.x())));
    }
    if most > 1 {
        let inside = |k: &Condition| {
            case(
                format!("share {}, {most} threads", k.x()),
                k,
                k.x(),
                most as f64,
            )
        };
        cases.extend(shares.iter().map(inside));
    }
    claims.push(
        Claim::at_every(
            "with a share s of each item inside a lock the speed-up lies between Amdahl's law and min(P, 1/s), which meet at s = 0 and s = 1",
            Basis::Calibrated,
            cases,
        )
        .unit("times one thread"),
    );
    let of_queue = fits(&fitted_to(&everything, cores), |t| gauge(t, "speed_up"));
    claims.push(
        Claim::near(
            "the scalability law fitted to a lock held for everything promises one thread's speed to any number of them",
            Basis::Fitted,
            1.0,
            over(&of_queue, |f| f.usl.capacity_limit() / f.usl.lambda),
            DRIFT,
        )
        .unit("times one thread"),
    );

    // Programs that hang.
    let programs: Vec<(Program, Condition)> = Program::value_variants()
        .iter()
        .filter_map(|program| Some((*program, summary.only(&program.series())?)))
        .collect();
    let hung = |wrong: bool| {
        let all = programs
            .iter()
            .filter(|(program, _)| program.wrong() == wrong);
        let all: Vec<f64> = all
            .flat_map(|(_, k)| k.trials())
            .filter_map(|t| gauge(t, "hung"))
            .collect();
        (!all.is_empty())
            .then(|| Estimate::exact(100.0 * all.iter().sum::<f64>() / all.len() as f64))
    };
    for (text, wrong) in [
        (
            "a std lock held across an await hangs a runtime, and two locks in two orders two threads, every time",
            true,
        ),
        (
            "the same programs end when the guard is scoped, the lock is asynchronous or the order is one",
            false,
        ),
    ] {
        // A machine that stalls may keep threads from meeting, or a program from speaking.
        let share = if wrong { 100.0 } else { 0.0 };
        claims.push(Claim::near(text, Basis::Predicted, share, hung(wrong), 0.1).unit("% hang"));
    }

    let share_lost = |k: &Condition| {
        k.estimate(|t| Some(100.0 * lost(t)?.0 / gauge(t, "updates").filter(|u| *u > 0.0)?))
    };
    let racy_lost = racy.at(most).filter(|_| most > 1).and_then(share_lost);
    let padding = padded.at(most).zip(adjacent.at(most)).filter(|_| most > 1);
    let padding = padding
        .and_then(|(a, b)| a.paired(b, |a, b| Some(gauge(a, "per_s")? / gauge(b, "per_s")?)));
    let answers = vec![
        Answer::alone(
            "lost",
            racy_lost,
            "no model here: it depends on how often this machine's threads meet between reading and writing",
        ),
        // Those apart are as fast as the processors, those side by side no faster than one thread.
        Answer::at_least("padding", padding, width(most as f64)),
    ];

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
    for way in &ways {
        let at = way.at(most);
        let fit = match way.name {
            "load then store" => Vec::new(),
            _ => fits(&fitted_to(&way.points, cores), |t| way.faster(t)),
        };
        let theory = match way.name {
            "padded" => number(width(most as f64)),
            "messages" | "load then store" => "–".into(),
            _ => "≤ 1".into(),
        };
        table.row([
            way.name.into(),
            cell(way.alone(), millions),
            cell(at.and_then(|k| k.gauge("per_s")), millions),
            cell(at.and_then(|k| way.speed_up(k)), number),
            theory,
            cell(at.and_then(share_lost), |v| percent(v / 100.0)),
            millions(way.made()),
            cell(over(&fit, |f| f.usl.sigma), number),
            cell(over(&fit, |f| f.usl.kappa), number),
            cell(over(&fit, |f| f.r_squared), number),
        ]);
    }
    let used: Vec<String> = fitted_to(&atomic.points, cores)
        .iter()
        .map(|k| number(k.x()))
        .collect();
    table.note = format!(
        "The fit is to the speed-ups at 1, {} threads.{} Threads beyond the {cores} processors take turns: they are more clients of the same machine, not more machine.",
        used.join(", "),
        if racy_lost.is_some() {
            ""
        } else {
            " Nothing ran in parallel here."
        },
    );

    let mut second = Table::new(
        "Real work and a lock",
        &[
            "share inside",
            "threads",
            "speed-up",
            "Amdahl",
            "min(P, 1/s)",
        ],
    );
    let all = addition.iter().map(|k| (0.0, k.x(), k));
    let all = all.chain(shares.iter().map(|k| (k.x(), most as f64, k)));
    for (share, n, k) in all.chain(everything.iter().map(|k| (1.0, k.x(), k))) {
        second.row([
            number(share),
            number(n),
            cell(speed_up(k), number),
            number(amdahl(1.0 - share, width(n))),
            number(bound(width(n), share)),
        ]);
    }

    let mut third = Table::new(
        "Programs that may hang",
        &["program", "hung", "of", "where, when it was ended"],
    );
    for (program, k) in &programs {
        let hung = |t: &&Trial| gauge(t, "hung") == Some(1.0);
        let count = k.trials().iter().filter(hung).count();
        third.row([
            program.name().into(),
            count.to_string(),
            k.trials().len().to_string(),
            k.trials()
                .iter()
                .find(hung)
                .map_or("ended by itself".into(), last_words),
        ]);
    }
    third.note = format!(
        "The watchdog ends a program after {} of silence.",
        seconds(p.patience.s())
    );

    let mut figures = vec![
        rates(&ways, most, racy_lost),
        scaling(
            [atomic, mutex, rwlock, messages],
            adjacent,
            padded,
            &width,
            padding,
            cores,
        ),
        inside(p, (&addition, &shares, &everything), most, &width),
    ];
    if !programs.is_empty() {
        figures.push(hanging(p, &programs));
    }
    Findings {
        headline: format!(
            "Reading and then writing loses {} of the updates; 128 bytes between two counters make them {} times as fast; a lock held across an await stops everything.",
            cell(racy_lost, |v| percent(v / 100.0)),
            cell(padding, number),
        ),
        figures,
        tables: vec![table, second, third],
        claims,
        answers,
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

/// Updates a second of the seven ways, side by side.
fn rates(ways: &[Way], most: usize, lost: Option<Estimate>) -> Figure {
    let bar = |way: &Way, at: Option<Estimate>| {
        let e = at?;
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
    let together = |way: &Way| bar(way, way.at(most).and_then(|k| k.gauge("per_s")));
    Figure {
        id: "rates".into(),
        title: match lost {
            Some(lost) => format!("The fastest way to count loses {} of the updates", percent(lost.value / 100.0)),
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
                    bars: ways.iter().filter_map(|w| bar(w, w.alone())).collect(),
                },
                BarGroup {
                    label: format!("{most} threads"),
                    note: "all on the same count".into(),
                    bars: ways.iter().filter_map(together).collect(),
                },
            ],
        }),
    }
}

/// Speed-ups over the number of threads.
fn scaling(
    shared: [&Way; 4],
    adjacent: &Way,
    padded: &Way,
    width: &dyn Fn(f64) -> f64,
    padding: Option<Estimate>,
    cores: usize,
) -> Figure {
    let line = |way: &Way| {
        let value = |k: &Condition| Some((k.x(), way.speed_up(k)?.value));
        let several = way.points.iter().filter(|k| k.x() > 1.0);
        let points = [(1.0, 1.0)].into_iter().chain(several.filter_map(value));
        Layer::Line(Line::measured(way.name, way.colour, points.collect()))
    };
    let levels = [1.0].into_iter();
    let levels = levels.chain(padded.points.iter().map(Condition::x).filter(|n| *n > 1.0));
    let levels: Vec<f64> = levels.collect();
    let theory = levels.iter().map(|n| (*n, width(*n))).collect();
    let mut together: Vec<Layer> = Vec::new();
    for way in shared {
        let means = fitted_to(&way.points, cores);
        let means = means
            .iter()
            .filter_map(|k| Some((k.x(), way.speed_up(k)?.value)));
        let means = [(1.0, 1.0)].into_iter().chain(means);
        if let Some(fit) = Usl::fit(&means.collect::<Vec<_>>()) {
            let curve = levels.iter().map(|n| (*n, fit.usl.at(*n)));
            together.push(Layer::Line(Line::theory("", way.colour, curve.collect())));
        }
    }
    together.extend(shared.map(line));
    Figure {
        id: "threads".into(),
        title: format!("128 bytes apart, counters are {} times as fast as side by side", cell(padding, number)),
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
                x: cores as f64,
                interval: None,
                label: "P processors".into(),
                colour: Colour::Muted,
            }],
        }),
    }
}

/// Speed-up of real work over the share of it inside a lock.
fn inside(
    p: &Params,
    (addition, shares, everything): (&[Condition], &[Condition], &[Condition]),
    most: usize,
    width: &dyn Fn(f64) -> f64,
) -> Figure {
    let at = |points: &[Condition], share: f64| {
        let found = points.iter().find(|k| k.x() == most as f64);
        found
            .and_then(|k| k.gauge("speed_up"))
            .map(|e| (share, e.value))
    };
    let (none, all) = (at(addition, 0.0), at(everything, 1.0));
    let some = shares
        .iter()
        .filter_map(|k| Some((k.x(), k.gauge("speed_up")?.value)));
    let measured: Vec<(f64, f64)> = none.into_iter().chain(some).chain(all).collect();
    let shares = || (0..=100).map(|i| f64::from(i) / 100.0);
    let width = width(most as f64);
    let most_law = shares().map(|s| (s, bound(width, s))).collect();
    let least_law = shares().map(|s| (s, amdahl(1.0 - s, width))).collect();
    let times = |point: Option<(f64, f64)>| point.map_or("–".into(), |(_, v)| number(v));
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
                    Layer::Line(Line::measured("measured", Colour::Blue, measured)),
                ],
                height: 1.4,
            }],
            marks: vec![],
        }),
    }
}

/// What the tasks of programs did until they ended or were ended.
fn hanging(p: &Params, programs: &[(Program, Condition)]) -> Figure {
    let group = |(program, k): &(Program, Condition)| {
        let trial = k.typical(|t| t.wall_s)?;
        let from = trial.spans.iter().map(|s| s.start_s).reduce(f64::min)?;
        let mut lanes: Vec<Lane> = Vec::new();
        for span in &trial.spans {
            let waits = span.name.contains("waits for");
            let colour = match waits {
                true => Colour::Vermilion,
                false if span.name.starts_with("has ") => Colour::Blue,
                false => Colour::Muted,
            };
            let bar = Bar {
                start: span.start_s - from,
                end: span.end_s - from,
                label: span.name.clone(),
                colour,
                waiting: waits,
            };
            match lanes.iter_mut().find(|lane| lane.label == span.lane) {
                Some(lane) => lane.bars.push(bar),
                None => lanes.push(Lane {
                    label: span.lane.clone(),
                    colour: Colour::Ink,
                    bars: vec![bar],
                }),
            }
        }
        lanes.sort_by(|a, b| a.label.cmp(&b.label));
        let hung = gauge(trial, "hung") == Some(1.0);
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
    let wrong = programs
        .iter()
        .filter(|(program, _)| program.wrong())
        .count();
    Figure {
        id: "programs".into(),
        title: format!("{wrong} programs that hang, and the same without"),
        subtitle: format!(
            "Hatched: waits for a lock. Blue: has one. What hangs was ended after {} of silence",
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
            ("updates", 1000.0),
            ("counted", 600.0),
            ("alone_updates", 50.0),
            ("alone_counted", 50.0),
        ] {
            trial.gauges.insert(name.into(), value);
        }
        assert_eq!(lost(&trial), Some((400.0, 0.0)));
    }
}
