//! Theory beside measurement for lab07.

use lab_kit::host::Host;
use lab_kit::prelude::*;
use lab_kit::theory::{
    Pipeline, Stage,
    event_loop::compute_on_loop,
    simulate::{Station, simulate},
};

use super::{Params, Work};

/// How close a time must be to its theory, as a share of it.
const CLOSE: f64 = 0.05;
/// A strategy will do when the best one is no more than this faster.
const NEARLY: f64 = 1.1;
/// How far apart answers leave the upstream's one thread. That they are apart matters, how far
/// does not.
const APART: f64 = 30e-6;

/// The source's example: items, seconds to fetch one, seconds to process one, and the minutes it
/// says they take together.
const SOURCE: (usize, f64, f64, f64) = (1000, 0.1, 2.0, 5.0);

/// A strategy, as it is called in the record and in the lab.
#[derive(Clone, Copy, PartialEq)]
enum Arm {
    Sequential,
    Async,
    Threads,
    Hybrid,
}

impl Arm {
    const ALL: [Arm; 4] = [Arm::Sequential, Arm::Async, Arm::Threads, Arm::Hybrid];
    /// Those that are to be faster than the first.
    const FASTER: [Arm; 3] = [Arm::Async, Arm::Threads, Arm::Hybrid];

    fn series(self) -> &'static str {
        match self {
            Arm::Sequential => "sequential",
            Arm::Async => "async",
            Arm::Threads => "threads",
            Arm::Hybrid => "hybrid",
        }
    }

    fn name(self) -> &'static str {
        match self {
            Arm::Sequential => "one after another",
            Arm::Async => "async only",
            Arm::Threads => "threads only",
            Arm::Hybrid => "hybrid",
        }
    }

    fn colour(self) -> Colour {
        match self {
            Arm::Sequential => Colour::Ink,
            Arm::Async => Colour::Sky,
            Arm::Threads => Colour::Orange,
            Arm::Hybrid => Colour::Green,
        }
    }
}

/// What the flags and the calibrated machine predict, in seconds.
struct Theory<'a> {
    p: &'a Params,
    host: &'a Host,
    /// A fetch with what a request takes beside its service.
    fetch: f64,
}

impl Theory<'_> {
    fn of<'a>(p: &'a Params, host: &'a Host) -> Theory<'a> {
        let fetch = p.fetch.s() + host.request_overhead_ms / 1e3;
        Theory { p, host, fetch }
    }

    /// Processors that so many threads are worth.
    fn worth(&self, threads: usize, work: Work) -> f64 {
        match work {
            Work::Spin => self.host.width(threads),
            Work::Sleep => threads as f64,
        }
    }

    fn time(&self, arm: Arm, n: usize, cost: f64, threads: usize) -> f64 {
        match arm {
            Arm::Sequential => n as f64 * (self.fetch + cost),
            Arm::Async => compute_on_loop(n, self.p.concurrency, self.fetch, cost, APART),
            Arm::Threads => self.threads(n, cost, threads),
            Arm::Hybrid => self.hybrid(n, cost, threads, self.p.work),
        }
    }

    /// Waves: all threads wait for their items, then all compute and share the processors.
    fn threads(&self, n: usize, cost: f64, threads: usize) -> f64 {
        let wave = |active: usize| match active {
            0 => 0.0,
            _ => {
                let shared = active as f64 / self.worth(active, self.p.work);
                self.fetch + cost * shared.max(1.0)
            }
        };
        (n / threads) as f64 * wave(threads) + wave(n % threads)
    }

    /// The bound: the slower of the two stages, and the time until both are at work.
    fn hybrid(&self, n: usize, cost: f64, threads: usize, work: Work) -> f64 {
        let fetch = Stage {
            service: self.fetch,
            width: self.p.concurrency,
        };
        let process = Stage::on_processors(cost, threads, self.worth(threads, work));
        let stages = vec![fetch, process];
        Pipeline { stages }.makespan(n)
    }

    /// Seconds an item in a long run, at a ratio.
    fn each(&self, arm: Arm, ratio: f64) -> f64 {
        let n = 40 * self.p.concurrency.max(self.p.workers);
        self.time(arm, n, ratio * self.p.fetch.s(), self.p.workers) / n as f64
    }

    /// Up to which ratio async only will do, and from which on threads only.
    fn borders(&self, from: f64, to: f64) -> (f64, f64) {
        const STEPS: i32 = 120;
        let at = |i: i32| from * (to / from).powf(f64::from(i) / f64::from(STEPS));
        let will_do =
            |arm: Arm, ratio: f64| self.each(arm, ratio) <= NEARLY * self.each(Arm::Hybrid, ratio);
        let ratios = || (0..=STEPS).map(at);
        let simple = ratios().take_while(|r| will_do(Arm::Async, *r)).last();
        let threads = ratios().rev().take_while(|r| will_do(Arm::Threads, *r));
        (simple.unwrap_or(from), threads.last().unwrap_or(to))
    }
}

/// Items of a condition's trials.
fn items(k: &Condition) -> usize {
    k.gauge("items").map_or(0, |e| e.value as usize)
}

/// How many times faster an item is than one after another, in the same round.
fn speed_up(baseline: Option<&Condition>, k: &Condition) -> Option<Estimate> {
    let each = |t: &Trial| Some(t.wall_s / t.gauges.get("items")?).filter(|s| *s > 0.0);
    baseline?.paired(k, |one, other| Some(each(one)? / each(other)?))
}

pub(super) fn explain(p: &Params, summary: &Summary) -> Findings {
    let theory = Theory::of(p, summary.host());
    let main = p.ratio();
    let cost_at = |ratio: f64| ratio * p.fetch.s();
    let baseline = |ratio: f64| summary.at("sequential", ratio);
    let at_main = |arm: Arm| summary.at(arm.series(), main);
    let predicted =
        |arm: Arm, k: &Condition, ratio: f64| theory.time(arm, items(k), cost_at(ratio), p.workers);
    let predicted_speed_up = |arm: Arm, k: &Condition, ratio: f64| {
        let each = theory.fetch + cost_at(ratio);
        items(k) as f64 * each / predicted(arm, k, ratio)
    };
    let efficiency = |arm: Arm, k: &Condition, ratio: f64| {
        let bound = predicted(Arm::Hybrid, k, ratio);
        k.estimate(|t| (t.wall_s > 0.0).then(|| bound / t.wall_s))
            .filter(|_| arm != Arm::Sequential)
    };
    let threads = |n: usize| format!("{n} thread{}", if n == 1 { "" } else { "s" });

    let mut claims = Vec::new();
    let law = |arm: Arm| -> Vec<Case> {
        let conditions = summary.series(arm.series());
        let case = |k: &Condition| {
            let time = predicted(arm, k, k.x());
            Case {
                name: format!("p/f = {}", number(k.x())),
                predicted: time,
                measured: k.wall_s(),
                tolerance: CLOSE * time,
            }
        };
        conditions.iter().map(case).collect()
    };
    let laws = [
        (
            Arm::Sequential,
            "one after another takes the number of items times (f + p), at every ratio",
        ),
        (
            Arm::Async,
            "on one event loop fetches and computing overlap only as far as the loop begins fetches while it has something to compute",
        ),
        (
            Arm::Threads,
            "threads take items·(f + p)/P: each waits and computes in turn",
        ),
        (
            Arm::Hybrid,
            "the hybrid takes as long as its slower stage alone, and the time to fill",
        ),
    ];
    for (arm, text) in laws {
        let cases = law(arm);
        if !cases.is_empty() {
            claims.push(Claim::at_every(text, Basis::Calibrated, cases).unit("s"));
        }
    }
    let hybrid = at_main(Arm::Hybrid);
    let reached = hybrid
        .as_ref()
        .and_then(|k| efficiency(Arm::Hybrid, k, main));
    claims.push(
        Claim::at_least(
            "the hybrid reaches at least 95 % of its bound where p is --cost",
            Basis::Calibrated,
            0.95,
            reached,
        )
        .unit("of the bound"),
    );
    let gains = Arm::FASTER.iter().filter_map(|arm| {
        let k = at_main(*arm)?;
        let gain = predicted_speed_up(*arm, &k, main);
        Some(Case {
            name: arm.name().into(),
            predicted: gain,
            measured: speed_up(baseline(main).as_ref(), &k),
            tolerance: CLOSE * gain,
        })
    });
    let gains: Vec<Case> = gains.collect();
    if !gains.is_empty() {
        claims.push(
            Claim::at_every(
                "the speed-ups over a baseline measured in the same run are those of theory",
                Basis::Calibrated,
                gains,
            )
            .unit("times"),
        );
    }
    let widths = |arm: Arm| -> Vec<(usize, Condition)> {
        let narrow = summary.series(&format!("{}/width", arm.series()));
        let mut all: Vec<_> = narrow.into_iter().map(|k| (k.x() as usize, k)).collect();
        all.extend(at_main(arm).map(|k| (p.workers, k)));
        all.sort_by_key(|(width, _)| *width);
        all
    };
    let scaling: Vec<Case> = [Arm::Threads, Arm::Hybrid]
        .iter()
        .flat_map(|arm| {
            widths(*arm).into_iter().map(|(width, k)| {
                let time = theory.time(*arm, items(&k), p.cost.s(), width);
                Case {
                    name: format!("{}, {}", arm.name(), threads(width)),
                    predicted: time,
                    measured: k.wall_s(),
                    tolerance: CLOSE * time,
                }
            })
        })
        // Threads beyond the processors take turns, and theory does not know in which order.
        .collect();
    if scaling.len() > 2 {
        claims.push(
            Claim::at_every(
                "more threads help both, as far as there are processors for them",
                Basis::Calibrated,
                scaling,
            )
            .unit("s"),
        );
    }
    let slept = summary.only("slept");
    if let Some(k) = &slept {
        let time = theory.hybrid(items(k), p.cost.s(), p.sleepers, Work::Sleep);
        claims.push(
            Claim::near(
                "work that sleeps is as fast as its pool is large, on any machine",
                Basis::Calibrated,
                time,
                k.wall_s(),
                CLOSE * time,
            )
            .unit("s"),
        );
    }

    // The pictures.
    let gain_at_main = |arm: Arm| {
        let k = at_main(arm)?;
        speed_up(baseline(main).as_ref(), &k)
    };
    let slept_gain = slept
        .as_ref()
        .and_then(|k| speed_up(baseline(main).as_ref(), k));
    let times = |e: Option<Estimate>| cell(e, |v| format!("{}×", number(v)));
    let bars = Arm::ALL.iter().filter_map(|arm| {
        let k = at_main(*arm)?;
        let gain = speed_up(baseline(main).as_ref(), &k)?;
        let bar = ValueBar::measured(arm.name(), arm.colour(), gain.value)
            .with_interval(gain.ci95.filter(|_| *arm != Arm::Sequential));
        Some(bar.with_theory(predicted_speed_up(*arm, &k, main)))
    });
    let strategies: Vec<ValueBar> = bars.collect();
    let asleep = slept.as_ref().zip(slept_gain).map(|(k, gain)| {
        let time = theory.hybrid(items(k), p.cost.s(), p.sleepers, Work::Sleep);
        let each = theory.fetch + p.cost.s();
        let label = format!("hybrid, {} that sleep", threads(p.sleepers));
        ValueBar::measured(&label, Colour::Purple, gain.value)
            .with_interval(gain.ci95)
            .with_theory(items(k) as f64 * each / time)
    });
    let mut groups = vec![BarGroup {
        label: match p.work {
            Work::Spin => "Real computation".into(),
            Work::Sleep => "Work that is done elsewhere".into(),
        },
        note: format!("{} that compute", threads(p.workers)),
        bars: strategies,
    }];
    groups.extend(asleep.map(|bar| BarGroup {
        label: "Sleep instead of computation".into(),
        note: "the source's measurement: the speed-up of a pool, not of a machine".into(),
        bars: vec![bar],
    }));
    let bars = Figure {
        id: "speedup".into(),
        title: format!(
            "With p/f = {} the hybrid is {} as fast as one after another, {} of what is possible",
            number(main),
            times(gain_at_main(Arm::Hybrid)),
            cell(reached, percent)
        ),
        subtitle: format!(
            "f = {}, p = {}, {} fetches at a time. Dashed: theory, the time to fill included",
            p.fetch, p.cost, p.concurrency
        ),
        desc: "Bars of the speed-up of each strategy over one after another: async only about two, threads only about the number of processors, the hybrid nearly twice that.".into(),
        body: Body::Bars(Bars {
            x: Axis::linear("speed-up over one after another, measured in the same run", Unit::Factor),
            groups,
        }),
    };
    let mut figures = vec![bars];
    figures.push(sweep(
        p,
        summary,
        &theory,
        &times(gain_at_main(Arm::Hybrid)),
    ));

    figures.push(processors(
        p,
        &[Arm::Threads, Arm::Hybrid].map(|arm| {
            let each = |(width, k): (usize, Condition)| {
                let gain = speed_up(baseline(main).as_ref(), &k)?;
                let time = theory.time(arm, items(&k), p.cost.s(), width);
                let expected = items(&k) as f64 * (theory.fetch + p.cost.s()) / time;
                Some((width as f64, gain.value, expected))
            };
            (arm, widths(arm).into_iter().filter_map(each).collect())
        }),
    ));

    let mut table = Table::new(
        &format!("p = {}, f = {}", p.cost, p.fetch),
        &[
            "strategy",
            "items",
            "time",
            "theory",
            "speed-up",
            "theory",
            "efficiency (bound/measured)",
        ],
    );
    for arm in Arm::ALL {
        let Some(k) = at_main(arm) else { continue };
        table.row([
            arm.name().into(),
            items(&k).to_string(),
            cell(k.wall_s(), seconds),
            seconds(predicted(arm, &k, main)),
            times(speed_up(baseline(main).as_ref(), &k)),
            format!("{}×", number(predicted_speed_up(arm, &k, main))),
            cell(efficiency(arm, &k, main), percent),
        ]);
    }
    table.note = format!(
        "{} on this machine are worth {} processors. Work that sleeps instead, on {}: {}, which says nothing about the machine.",
        threads(p.workers),
        number(theory.worth(p.workers, p.work)),
        threads(p.sleepers),
        times(slept_gain)
    );

    let mut answers = Vec::new();
    answers.extend(gain_at_main(Arm::Async).map(|e| ("async", e)));
    answers.extend(gain_at_main(Arm::Hybrid).map(|e| ("hybrid", e)));
    Findings {
        headline: format!(
            "With p/f = {}, {} and {} fetches at a time the hybrid is {} as fast as one after another, threads only {}, async only {}. It reaches {} of its bound.",
            number(main),
            threads(p.workers),
            p.concurrency,
            times(gain_at_main(Arm::Hybrid)),
            times(gain_at_main(Arm::Threads)),
            times(gain_at_main(Arm::Async)),
            cell(reached, percent)
        ),
        figures,
        tables: vec![table, ratios(p, summary, &theory), source_table()],
        claims,
        answers,
    }
}

/// Speed-ups at every ratio.
fn ratios(p: &Params, summary: &Summary, theory: &Theory) -> Table {
    let mut table = Table::new(
        "Speed-up at other ratios",
        &[
            "p/f",
            "p",
            "async only",
            "theory",
            "threads only",
            "theory",
            "hybrid",
            "theory",
            "efficiency of the hybrid",
        ],
    );
    for one in summary.series("sequential") {
        let (ratio, cost) = (one.x(), one.x() * p.fetch.s());
        let mut row = vec![number(ratio), seconds(cost)];
        let mut reached = None;
        for arm in Arm::FASTER {
            let k = summary.at(arm.series(), ratio);
            let bound = k.map(|k| theory.time(arm, items(&k), cost, p.workers));
            let gain = k
                .zip(bound)
                .map(|(k, bound)| items(&k) as f64 * (theory.fetch + cost) / bound);
            row.push(cell(k.and_then(|k| speed_up(Some(&one), &k)), number));
            row.push(gain.map_or("–".into(), number));
            reached = k
                .zip(bound)
                .and_then(|(k, b)| k.estimate(|t| Some(b / t.wall_s)));
        }
        row.push(cell(reached, percent));
        table.row(row);
    }
    table.note = "Each with as many items as fit into its time, filling included.".into();
    table
}

/// Seconds the source's example takes on so many processors, by simulation.
fn source_on(processors: usize) -> f64 {
    let (n, f, p, _) = SOURCE;
    let constant = |s: f64| ServiceTime::Constant(Duration::from_secs_f64(s));
    let stages = [
        Station::new(10, constant(f)),
        Station::new(processors, constant(p)).behind(processors),
    ];
    simulate(&stages, n, 1).map_or(f64::NAN, |run| run.makespan)
}

/// The source's example one after another.
fn source_sequential() -> f64 {
    let (n, f, p, _) = SOURCE;
    n as f64 * (f + p)
}

fn source_table() -> Table {
    let (n, _, p, minutes) = SOURCE;
    let mut table = Table::new(
        "Simulated, not measured: the source's 1000 items of 0.1 s and 2 s, ten fetches at a time",
        &["busy processors", "time", "speed-up"],
    );
    for processors in [1, 2, 4, 6, 7, 8, 16] {
        let time = source_on(processors);
        table.row([
            processors.to_string(),
            format!("{} min", number(time / 60.0)),
            format!("{}×", number(source_sequential() / time)),
        ]);
    }
    table.note = format!(
        "One after another {} min. The {} min of the source need {} busy processors.",
        number(source_sequential() / 60.0),
        number(minutes),
        number(n as f64 * p / (minutes * 60.0))
    );
    table
}

/// The speed-ups over p/f.
fn sweep(p: &Params, summary: &Summary, theory: &Theory, best: &str) -> Figure {
    let ones = summary.series("sequential");
    let ratios: Vec<f64> = ones.iter().map(Condition::x).collect();
    let mut layers = Vec::new();
    if let (Some(from), Some(to)) = (ratios.first(), ratios.last())
        && from < to
    {
        let (simple, threads) = theory.borders(*from, *to);
        let mut region = |x: (f64, f64), label: &str, colour| {
            if x.0 < x.1 {
                layers.push(Layer::Region {
                    x,
                    label: label.into(),
                    colour,
                });
            }
        };
        region((*from, simple), "async will do", Colour::Sky);
        region((simple, threads), "hybrid wins", Colour::Green);
        region(
            (threads.max(simple), *to),
            "threads will do",
            Colour::Orange,
        );
    }
    for arm in Arm::FASTER {
        let mut measured = Vec::new();
        let mut predicted = Vec::new();
        for one in &ones {
            let (ratio, cost) = (one.x(), one.x() * p.fetch.s());
            let Some(k) = summary.at(arm.series(), ratio) else {
                continue;
            };
            let time = theory.time(arm, items(&k), cost, p.workers);
            predicted.push((ratio, items(&k) as f64 * (theory.fetch + cost) / time));
            measured.extend(speed_up(Some(one), &k).map(|e| (ratio, e.value)));
        }
        layers.push(Layer::Line(Line::theory("", Colour::Muted, predicted)));
        layers.push(Layer::Line(Line::measured(
            arm.name(),
            arm.colour(),
            measured,
        )));
    }
    layers.push(Layer::Rule {
        y: 1.0,
        label: "one after another".into(),
    });
    Figure {
        id: "sweep".into(),
        title: format!("The hybrid is never worse, and {best} as fast as one after another at p/f = {}", number(p.ratio())),
        subtitle: format!(
            "f = {}, {} fetches at a time, {} threads. Dashed: theory. A strategy will do where the hybrid is less than 10 % faster",
            p.fetch, p.concurrency, p.workers
        ),
        desc: "Speed-up of three strategies over the ratio of processing to fetching: async only falls from ten to one, threads only rises from two, the hybrid is the largest throughout.".into(),
        body: Body::Panels(Panels {
            x: Axis::log("p/f, log scale", Unit::Number).with_ticks(ratios),
            panels: vec![Panel {
                title: "Speed-up".into(),
                note: "over one after another, measured in the same run".into(),
                y: Axis::log("", Unit::Factor),
                layers,
                height: 1.6,
            }],
            marks: vec![],
        }),
    }
}

/// A strategy's (threads, speed-up, its theory).
type Scaling = (Arm, Vec<(f64, f64, f64)>);

/// The speed-up over the number of threads: here, and of the source's example in simulation.
fn processors(p: &Params, here: &[Scaling]) -> Figure {
    let (_, _, compute, minutes) = SOURCE;
    let claimed = source_sequential() / (minutes * 60.0);
    let simulated: Vec<(f64, f64)> = (1..=16)
        .map(|n| (n as f64, source_sequential() / source_on(n)))
        .collect();
    let enough = simulated.iter().find(|(_, gain)| *gain >= claimed);
    let of_four = simulated.get(3).map_or(f64::NAN, |(_, gain)| *gain);
    let mut layers = Vec::new();
    for (arm, points) in here {
        let expected = points.iter().map(|(n, _, theory)| (*n, *theory)).collect();
        let measured = points.iter().map(|(n, gain, _)| (*n, *gain)).collect();
        layers.push(Layer::Line(Line::theory("", Colour::Muted, expected)));
        layers.push(Layer::Line(Line::measured(
            arm.name(),
            arm.colour(),
            measured,
        )));
    }
    let widest = here.iter().flat_map(|(_, points)| points);
    let widest = widest.map(|(n, ..)| *n).fold(16.0, f64::max);
    let ticks = std::iter::successors(Some(1.0), |n| Some(2.0 * n));
    Figure {
        id: "processors".into(),
        title: format!(
            "{}× takes {} busy processors; four give {}× at most",
            number(claimed),
            enough.map_or("more than 16".into(), |(n, _)| number(*n)),
            number(of_four)
        ),
        subtitle: "Above: measured on this machine. Below: the source's example, simulated in virtual time".into(),
        desc: "Two panels over the number of threads that compute: measured speed-ups of threads only and the hybrid, and the simulated speed-up of the source's example, which reaches seven at seven processors.".into(),
        body: Body::Panels(Panels {
            x: Axis::log("threads that compute, log scale", Unit::Number)
                .with_ticks(ticks.take_while(|n| *n <= widest).collect::<Vec<_>>()),
            panels: vec![
                Panel {
                    title: "Speed-up, measured".into(),
                    note: format!("f = {}, p = {}; dashed: theory", p.fetch, p.cost),
                    y: Axis::linear("", Unit::Factor),
                    layers,
                    height: 1.0,
                },
                Panel {
                    title: "Speed-up, simulated".into(),
                    note: format!("1000 items of 0.1 s and {} of computing, ten fetches at a time, a processor for each thread", seconds(compute)),
                    y: Axis::linear("", Unit::Factor),
                    layers: vec![
                        Layer::Rule {
                            y: claimed,
                            label: format!("35 min in {} min, as printed", number(minutes)),
                        },
                        Layer::Line(Line::simulated("simulated", Colour::Purple, simulated)),
                    ],
                    height: 1.0,
                },
            ],
            marks: vec![],
        }),
    }
}
