//! Theory beside measurement for lab07.

use lab_kit::host::Host;
use lab_kit::prelude::*;
use lab_kit::theory::{
    Pipeline, Stage,
    event_loop::compute_on_loop,
    simulate::{Station, simulate},
};

use super::{Params, Work, python};

/// How close a time must be to its theory, as a share of it.
const CLOSE: f64 = 0.05;
/// A strategy will do when the best one is no more than this faster.
const NEARLY: f64 = 1.15;
/// How far apart answers leave the upstream's one thread, in seconds. That they are apart matters,
/// how far does not.
const APART: f64 = 30e-6;
/// Timers tick in milliseconds.
const TICK: f64 = 1e-3;

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
    /// Measured with nothing to fetch: processors that P threads are worth.
    workers: f64,
    /// Measured with nothing to process: a fetch by itself, the service and what a request takes
    /// beside it.
    alone: f64,
    /// P at a time: as long as the last of them.
    abreast: f64,
    /// C at a time, which share the event loop's and the upstream's threads.
    among: f64,
}

impl Theory<'_> {
    fn of<'a>(p: &'a Params, summary: &Summary<'a>) -> Theory<'a> {
        let host = summary.host();
        let expected = p.fetch.s() + host.request_overhead_ms / 1e3;
        let measured = |at_a_time: usize| {
            let k = summary.at("fetch", at_a_time as f64)?;
            let waves = items(&k) as f64 / at_a_time as f64;
            Some(estimate(&k, |t| Some(t.wall_s))?.value / waves)
        };
        // Every job takes p at the processor's pace, times the threads that share the processors.
        let worth = summary.only("process").and_then(|k| {
            let worth = |t: &Trial| {
                let gauge = |name: &str| t.gauges.get(name).copied();
                let job = gauge("process_s")? / gauge("pace")?;
                Some(p.workers as f64 * p.cost.s() / job)
            };
            Some(estimate(&k, worth)?.value)
        });
        let most = p.workers.min(host.cores) as f64;
        Theory {
            p,
            host,
            workers: worth.map_or(host.width(p.workers), |w| w.clamp(1.0, most)),
            alone: measured(1).unwrap_or(expected),
            abreast: measured(p.workers).unwrap_or(expected),
            among: measured(p.concurrency).unwrap_or(expected),
        }
    }

    /// Processors that so many threads are worth: P of them as measured with nothing to fetch.
    fn worth(&self, threads: usize, work: Work) -> f64 {
        match work {
            Work::Spin if threads == self.p.workers => self.workers,
            Work::Spin => self.host.width(threads),
            Work::Sleep => threads as f64,
        }
    }

    /// Seconds for `n` items of `cost` seconds each on so many threads.
    fn time(&self, arm: Arm, n: usize, cost: f64, (threads, work): (usize, Work)) -> f64 {
        let on = |active: usize| Stage::on_processors(cost, active, self.worth(active, work));
        match arm {
            Arm::Sequential => n as f64 * (self.alone + cost),
            // Between two: whether the loop sees the first answer before the others are there is a
            // coin toss.
            Arm::Async => (self.on_loop(n, cost, 0.0) + self.on_loop(n, cost, APART)) / 2.0,
            // Waves: all wait for their items, then all compute and share the processors.
            Arm::Threads => {
                let wave = |active: usize| match active {
                    1 => self.alone + cost,
                    _ => self.abreast + on(active).service,
                };
                let last = n % threads;
                let rest = if last == 0 { 0.0 } else { wave(last) };
                (n / threads) as f64 * wave(threads) + rest
            }
            // The bound: the slower of the two stages, and the time until both are at work.
            Arm::Hybrid => {
                let fetch = Stage {
                    service: self.among,
                    width: self.p.concurrency,
                };
                let stages = vec![fetch, on(threads)];
                Pipeline { stages }.makespan(n)
            }
        }
    }

    /// The least and the most seconds on one event loop: the slower stage, and the sum of both.
    fn loop_range(&self, n: usize, cost: f64) -> (f64, f64) {
        let waves = n.div_ceil(self.p.concurrency) as f64;
        let least = f64::max(waves * (self.among + cost), self.among + n as f64 * cost);
        (least, self.on_loop(n, cost, 0.0))
    }

    /// Seconds on one event loop, whose answers are so far apart.
    fn on_loop(&self, n: usize, cost: f64, apart: f64) -> f64 {
        compute_on_loop(n, self.p.concurrency, self.among, cost, apart)
    }

    /// Seconds an item in a long run, at a ratio.
    fn each(&self, arm: Arm, ratio: f64) -> f64 {
        let (threads, n) = (self.p.workers, 40 * self.p.concurrency.max(self.p.workers));
        self.time(arm, n, ratio * self.p.fetch.s(), (threads, self.p.work)) / n as f64
    }

    /// Up to which ratio async only will do, and from which on threads only.
    fn borders(&self, from: f64, to: f64) -> (Option<f64>, Option<f64>) {
        const STEPS: i32 = 120;
        let at = |i: i32| from * (to / from).powf(f64::from(i) / f64::from(STEPS));
        let will_do =
            |arm: Arm, ratio: f64| self.each(arm, ratio) <= NEARLY * self.each(Arm::Hybrid, ratio);
        let ratios = || (0..=STEPS).map(at);
        let simple = ratios().take_while(|r| will_do(Arm::Async, *r)).last();
        let threads = ratios().rev().take_while(|r| will_do(Arm::Threads, *r));
        (simple, threads.last())
    }
}

/// Items of a condition's trials.
fn items(k: &Condition) -> usize {
    k.gauge("items").map_or(0, |e| e.value as usize)
}

/// False for a trial that other programs took part in: it is about them. (The same share of the
/// processors makes a whole run undecidable. Processor time comes in ticks of 10 ms, so that a
/// short trial needs two to tell.)
fn undisturbed(trial: &Trial) -> bool {
    let others = trial.gauges.get("others_cpu_share");
    others.is_none_or(|share| *share <= 0.1 || share * trial.wall_s < 0.02)
}

/// Estimates a figure over the undisturbed trials, or over all if every one was disturbed.
fn estimate(k: &Condition, figure: impl Fn(&Trial) -> Option<f64>) -> Option<Estimate> {
    k.estimate(|t| figure(t).filter(|_| undisturbed(t)))
        .or_else(|| k.estimate(&figure))
}

/// The same for a figure of pairs of trials.
fn paired(
    one: &Condition,
    other: &Condition,
    figure: impl Fn(&Trial, &Trial) -> Option<f64>,
) -> Option<Estimate> {
    let fit = |a: &Trial, b: &Trial| undisturbed(a) && undisturbed(b);
    one.paired(other, |a, b| figure(a, b).filter(|_| fit(a, b)))
        .or_else(|| one.paired(other, &figure))
}

/// A condition beside its theory.
#[derive(Clone, Copy)]
struct Beside<'a> {
    theory: &'a Theory<'a>,
    arm: Arm,
    ratio: f64,
    on: (usize, Work),
    k: Condition<'a>,
    /// One after another at the same ratio.
    one: Option<Condition<'a>>,
}

impl<'a> Beside<'a> {
    /// The strategy at a ratio, if the record has it.
    fn at(theory: &'a Theory<'a>, summary: &Summary<'a>, arm: Arm, ratio: f64) -> Option<Self> {
        Some(Beside {
            theory,
            arm,
            ratio,
            on: (theory.p.workers, theory.p.work),
            k: summary.at(arm.series(), ratio)?,
            one: summary.at("sequential", ratio),
        })
    }

    /// The strategy on other pools, where p is --cost.
    fn on(
        theory: &'a Theory<'a>,
        summary: &Summary<'a>,
        arm: Arm,
        work: Work,
        k: Condition<'a>,
    ) -> Self {
        let ratio = theory.p.ratio();
        Beside {
            theory,
            arm,
            ratio,
            on: (k.x() as usize, work),
            k,
            one: summary.at("sequential", ratio),
        }
    }

    /// Seconds an item cost at the pace the processor had in a trial.
    fn cost(&self, trial: &Trial) -> f64 {
        let pace = trial.gauges.get("pace").copied().unwrap_or(1.0);
        self.ratio * self.theory.p.fetch.s() * pace
    }

    fn time_of(&self, arm: Arm, trial: &Trial) -> f64 {
        self.theory
            .time(arm, items(&self.k), self.cost(trial), self.on)
    }

    fn wall(&self) -> Option<Estimate> {
        estimate(&self.k, |t| Some(t.wall_s))
    }

    fn predicted(&self) -> f64 {
        let mean = estimate(&self.k, |t| Some(self.time_of(self.arm, t)));
        mean.map_or(f64::NAN, |e| e.value)
    }

    /// How many times faster an item is than one after another, in the same round.
    fn gain(&self) -> Option<Estimate> {
        let each = |t: &Trial| {
            let each = t.wall_s / t.gauges.get("items")?;
            (each > 0.0).then_some(each)
        };
        paired(&self.one?, &self.k, |one, trial| {
            Some(each(one)? / each(trial)?)
        })
    }

    fn predicted_gain(&self) -> f64 {
        let gain = |one: &Trial, trial: &Trial| {
            let each = self.theory.alone + self.cost(one);
            (undisturbed(one) && undisturbed(trial))
                .then_some(items(&self.k) as f64 * each / self.time_of(self.arm, trial))
        };
        let mean = self.one.and_then(|one| paired(&one, &self.k, gain));
        mean.map_or(f64::NAN, |e| e.value)
    }

    /// The time of an ideal hybrid over its own.
    fn efficiency(&self) -> Option<Estimate> {
        estimate(&self.k, |t| {
            (t.wall_s > 0.0).then(|| self.time_of(Arm::Hybrid, t) / t.wall_s)
        })
    }

    /// How long the machine may take, in seconds, to notice that there is something to do.
    ///
    /// Where all processors compute, a thread that wakes waits for one until the scheduler takes it
    /// from another, for some milliseconds: as long as the session's stall meter, which is such a
    /// thread, was kept waiting.
    fn late(&self, trial: &Trial) -> f64 {
        let stall = trial.gauges.get("stall_max_ms").copied().unwrap_or(0.0) / 1e3;
        stall + self.ticks(trial)
    }

    /// What it takes the hybrid when each wave of fetches misses a tick of the upstream's timer, by
    /// the little it is later than without a bridge; in seconds.
    fn ticks(&self, trial: &Trial) -> f64 {
        if self.arm != Arm::Hybrid {
            return 0.0;
        }
        let slower = Theory {
            among: self.theory.among + TICK,
            ..*self.theory
        };
        let time = slower.time(self.arm, items(&self.k), self.cost(trial), self.on);
        time - self.time_of(self.arm, trial)
    }

    fn case(&self, name: String) -> Case {
        let predicted = self.predicted();
        let late = estimate(&self.k, |t| Some(self.late(t)));
        Case {
            name,
            predicted: predicted.into(),
            measured: self.wall(),
            tolerance: CLOSE * predicted + late.map_or(0.0, |e| e.value),
        }
    }
}

fn times(e: Option<Estimate>) -> String {
    cell(e, |v| format!("{}×", number(v)))
}

fn threads(n: usize) -> String {
    format!("{n} thread{}", if n == 1 { "" } else { "s" })
}

/// Where threads that compute would have to take turns theory does not know in which order.
fn has_processors(p: &Params, host: &Host, threads: usize) -> bool {
    p.work == Work::Sleep || threads <= host.cores
}

pub(super) fn explain(p: &Params, summary: &Summary) -> Findings {
    let theory = &Theory::of(p, summary);
    let ratio = p.ratio();
    let at_main = |arm| Beside::at(theory, summary, arm, ratio);
    let hybrid = at_main(Arm::Hybrid);
    let slept = summary
        .only("slept")
        .map(|k| Beside::on(theory, summary, Arm::Hybrid, Work::Sleep, k));
    let widths = |arm: Arm| -> Vec<Beside> {
        let narrow = summary.series(&format!("{}/width", arm.series()));
        let narrow = narrow
            .into_iter()
            .map(|k| Beside::on(theory, summary, arm, p.work, k));
        let mut all: Vec<Beside> = narrow.chain(at_main(arm)).collect();
        all.sort_by_key(|b| b.on.0);
        all
    };
    let reached = hybrid.and_then(|b| b.efficiency());

    // A figure of every undisturbed trial at every ratio.
    let everywhere = |arm: Arm, figure: &dyn Fn(&Beside, &Trial) -> f64| -> Vec<f64> {
        let conditions = summary.series(arm.series()).into_iter();
        let beside = conditions.filter_map(|k| Beside::at(theory, summary, arm, k.x()));
        let of = |b: Beside| {
            let trials = b.k.trials().iter().filter(|t| undisturbed(t));
            trials.map(|t| figure(&b, t)).collect::<Vec<_>>()
        };
        beside.flat_map(of).collect()
    };

    let mut claims = Vec::new();
    let laws = [
        (
            Arm::Sequential,
            "one after another takes N·(f + p), on average over all ratios",
        ),
        (
            Arm::Threads,
            "threads take N·(f + p)/P, each waiting and computing in turn, on average over all ratios",
        ),
    ];
    for (arm, text) in laws {
        if arm == Arm::Sequential || has_processors(p, summary.host(), p.workers) {
            let share = |b: &Beside, t: &Trial| t.wall_s / b.time_of(arm, t);
            let measured = Estimate::of(&everywhere(arm, &share));
            let claim = Claim::near(text, Basis::Calibrated, 1.0, measured, CLOSE);
            claims.push(claim.unit("of theory's time"));
        }
    }
    // Whether the loop sees the first of several answers before the others are there is a coin
    // toss, in every trial anew; what is certain are the ends.
    let outside = |b: &Beside, t: &Trial| {
        let (least, most) = theory.loop_range(items(&b.k), b.cost(t));
        f64::max(least - t.wall_s, t.wall_s - most).max(0.0) / least
    };
    let on_loop = everywhere(Arm::Async, &outside);
    claims.push(
        Claim::at_most(
            "on one event loop the time lies between the larger of N·f/C and N·p and their sum; outside by no more than 5 %, on average over all ratios",
            Basis::Calibrated,
            CLOSE,
            Estimate::of(&on_loop),
        )
        .unit("of the time"),
    );
    let bound = |b: &Beside, t: &Trial| b.time_of(Arm::Hybrid, t) / t.wall_s;
    claims.push(
        Claim::at_least(
            "over all ratios the hybrid reaches at least 90 % of its bound, on average",
            Basis::Calibrated,
            0.9,
            Estimate::of(&everywhere(Arm::Hybrid, &bound)),
        )
        .unit("of the bound"),
    );
    let fine = hybrid
        .and_then(|b| estimate(&b.k, |t| Some(b.ticks(t) / b.time_of(Arm::Hybrid, t))))
        .filter(|share| share.value > 1.0 - 0.95)
        .map(|_| {
            format!(
                "a fetch of {} is too short: the tick of a timer is more than 5 % of it",
                p.fetch
            )
        });
    claims.push(
        Claim::at_least(
            "where p is --cost, the hybrid reaches at least 95 % of its bound",
            Basis::Calibrated,
            0.95,
            reached,
        )
        .unit("of the bound")
        .excused(fine),
    );
    if let Some(b) = hybrid.filter(|_| has_processors(p, summary.host(), p.workers)) {
        let (time, gain) = (b.case(String::new()), b.predicted_gain());
        claims.push(
            Claim::near(
                "where p is --cost, the hybrid's speed-up over a baseline measured in the same run is that of theory",
                Basis::Calibrated,
                gain,
                b.gain(),
                gain * time.tolerance / time.predicted.value,
            )
            .unit("times"),
        );
    }
    let scaling = [Arm::Threads, Arm::Hybrid].into_iter().flat_map(widths);
    let scaling = scaling.filter(|b| has_processors(p, summary.host(), b.on.0));
    let scaling: Vec<Case> = scaling
        .map(|b| b.case(format!("{}, {}", b.arm.name(), threads(b.on.0))))
        .collect();
    if !scaling.is_empty() {
        claims.push(
            Claim::at_every(
                "more threads help both, as far as there are processors for them",
                Basis::Calibrated,
                scaling,
            )
            .unit("s"),
        );
    }
    if let Some(b) = slept {
        let time = b.case(String::new());
        claims.push(
            Claim::near(
                "work that sleeps is as fast as its pool is large, on any machine",
                Basis::Calibrated,
                time.predicted.value,
                time.measured,
                time.tolerance,
            )
            .unit("s"),
        );
    }

    let gain = |arm| times(at_main(arm).and_then(|b| b.gain()));
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
    let asleep = slept.map(|b| (format!("hybrid, {} that sleep", threads(p.sleepers)), b));
    let strategies = Arm::ALL.into_iter().filter_map(at_main);
    for (name, b) in strategies.map(|b| (b.arm.name().into(), b)).chain(asleep) {
        table.row([
            name,
            items(&b.k).to_string(),
            cell(b.wall(), seconds),
            seconds(b.predicted()),
            times(b.gain()),
            format!("{}×", number(b.predicted_gain())),
            cell(b.efficiency(), percent),
        ]);
    }
    let left_out = summary.all_trials().filter(|t| !undisturbed(t)).count();
    table.note = format!(
        "{} on this machine are worth {} processors. A fetch of {} takes {} by itself and {} among {}.{}",
        threads(p.workers),
        number(theory.worth(p.workers, p.work)),
        p.fetch,
        seconds(theory.alone),
        seconds(theory.among),
        p.concurrency,
        match left_out {
            0 => String::new(),
            n => format!(
                " Left out: {n} trial(s) in which other programs had more than a tenth of the processors."
            ),
        }
    );

    let answer = |key, arm| {
        let beside = at_main(arm);
        let predicted = beside.map_or(f64::NAN, |b| b.predicted_gain());
        Answer::near(key, beside.and_then(|b| b.gain()), predicted)
    };
    let answers = vec![answer("async", Arm::Async), answer("hybrid", Arm::Hybrid)];
    let scaling = [Arm::Threads, Arm::Hybrid].map(|arm| (arm, widths(arm)));
    let mut tables = vec![table, ratios(summary, theory), source_table()];
    tables.extend(python::table(p, summary));
    Findings {
        headline: format!(
            "With p/f = {}, {} and {} fetches at a time the hybrid is {} as fast as one after another, threads only {}, async only {}. It reaches {} of its bound.",
            number(ratio),
            threads(p.workers),
            p.concurrency,
            gain(Arm::Hybrid),
            gain(Arm::Threads),
            gain(Arm::Async),
            cell(reached, percent)
        ),
        figures: vec![
            bars(p, &Arm::ALL.map(at_main), slept),
            sweep(p, summary, theory),
            processors(p, &scaling),
        ],
        tables,
        claims,
        answers,
    }
}

/// The strategies where p is --cost, and the one that only sleeps.
fn bars(p: &Params, strategies: &[Option<Beside>], slept: Option<Beside>) -> Figure {
    let bar = |label: &str, colour, b: &Beside| {
        let gain = b.gain()?;
        let interval = gain.ci95.filter(|_| b.arm != Arm::Sequential);
        let bar = ValueBar::measured(label, colour, gain.value).with_interval(interval);
        Some(bar.with_theory(b.predicted_gain()))
    };
    let known = strategies.iter().flatten();
    let real = known.filter_map(|b| bar(b.arm.name(), b.arm.colour(), b));
    let mut groups = vec![BarGroup {
        label: match p.work {
            Work::Spin => "Real computation".into(),
            Work::Sleep => "Work that is done elsewhere".into(),
        },
        note: format!("on {}", threads(p.workers)),
        bars: real.collect(),
    }];
    let label = format!("hybrid, {}", threads(p.sleepers));
    let asleep = slept.and_then(|b| bar(&label, Colour::Purple, &b));
    groups.extend(asleep.map(|bar| BarGroup {
        label: "Sleep instead of computation".into(),
        note: "as large as the pool, whatever the machine".into(),
        bars: vec![bar],
    }));
    let hybrid = strategies.iter().flatten().find(|b| b.arm == Arm::Hybrid);
    Figure {
        id: "speedup".into(),
        title: format!(
            "At p/f = {} the hybrid is {} as fast as one after another, {} of what is possible",
            number(p.ratio()),
            times(hybrid.and_then(|b| b.gain())),
            cell(hybrid.and_then(|b| b.efficiency()), percent)
        ),
        subtitle: format!(
            "f = {}, p = {}, {} fetches at a time. Dashed: theory, the time to fill included",
            p.fetch, p.cost, p.concurrency
        ),
        desc: "Bars of the speed-up of each strategy over one after another: async only, threads only, the hybrid, which is the fastest, and the hybrid with work that sleeps.".into(),
        body: Body::Bars(Bars {
            x: Axis::linear(
                "speed-up over one after another, measured in the same run",
                Unit::Factor,
            ),
            groups,
        }),
    }
}

/// Speed-ups at every ratio.
fn ratios(summary: &Summary, theory: &Theory) -> Table {
    let mut table = Table::new(
        "Speed-up at every ratio",
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
        let ratio = one.x();
        let mut row = vec![number(ratio), seconds(ratio * theory.p.fetch.s())];
        let arms = Arm::FASTER.map(|arm| Beside::at(theory, summary, arm, ratio));
        for b in arms {
            row.push(times(b.and_then(|b| b.gain())));
            row.push(b.map_or("–".into(), |b| format!("{}×", number(b.predicted_gain()))));
        }
        row.push(cell(arms[2].and_then(|b| b.efficiency()), percent));
        table.row(row);
    }
    table.note = "Each strategy with as many items as fit into its time, filling included.".into();
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
fn sweep(p: &Params, summary: &Summary, theory: &Theory) -> Figure {
    let ones = summary.series("sequential");
    let ratios: Vec<f64> = ones.iter().map(Condition::x).collect();
    let mut layers = Vec::new();
    let mut title = "The hybrid is the fastest at every ratio".to_string();
    if let (Some(from), Some(to)) = (ratios.first(), ratios.last())
        && from < to
    {
        let (simple, threads) = theory.borders(*from, *to);
        let (left, right) = (simple.unwrap_or(*from), threads.unwrap_or(*to));
        let regions = [
            ((*from, left.min(right)), "async will do", Colour::Sky),
            ((left, right), "hybrid wins", Colour::Green),
            ((right.max(left), *to), "threads will do", Colour::Orange),
        ];
        layers.extend(
            regions
                .into_iter()
                .filter(|(x, ..)| x.0 < x.1)
                .map(|(x, label, colour)| Layer::Region {
                    x,
                    label: label.into(),
                    colour,
                }),
        );
        if left >= right {
            title = "At every ratio a simpler strategy is nearly as fast as the hybrid".into();
        } else if let (Some(simple), Some(threads)) = (simple, threads) {
            title = format!(
                "Async only will do up to p/f = {}, threads only from {}; between them the hybrid pays",
                short(simple),
                short(threads)
            );
        } else if let Some(simple) = simple {
            title = format!(
                "Async only will do up to p/f = {}; beyond it the hybrid pays",
                short(simple)
            );
        } else if let Some(threads) = threads {
            title = format!(
                "Below p/f = {} the hybrid pays; beyond it threads only will do",
                short(threads)
            );
        }
    }
    for arm in Arm::FASTER {
        let known = ratios
            .iter()
            .filter_map(|ratio| Beside::at(theory, summary, arm, *ratio));
        let known: Vec<Beside> = known.collect();
        let predicted = known.iter().map(|b| (b.ratio, b.predicted_gain()));
        let measured = known
            .iter()
            .filter_map(|b| Some((b.ratio, b.gain()?.value)));
        let theory = Line::theory("", Colour::Muted, predicted.collect());
        let measured = Line::measured(arm.name(), arm.colour(), measured.collect());
        layers.extend([Layer::Line(theory), Layer::Line(measured)]);
    }
    layers.push(Layer::Rule {
        y: 1.0,
        label: "one after another".into(),
    });
    Figure {
        id: "sweep".into(),
        title,
        subtitle: format!(
            "f = {}, {} fetches at a time, {}. Dashed: theory. A strategy will do where the hybrid is less than {:.0} % faster",
            p.fetch, p.concurrency, threads(p.workers), 100.0 * (NEARLY - 1.0)
        ),
        desc: "Speed-up of three strategies over the ratio of processing to fetching: async only falls from the number of fetches at a time towards one, threads only stays at the number of threads, the hybrid is the fastest throughout.".into(),
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

/// To two digits: a border between regions is no finer.
fn short(ratio: f64) -> String {
    let unit = 10_f64.powf(ratio.abs().log10().floor() - 1.0);
    number((ratio / unit).round() * unit)
}

/// The speed-up over the number of threads: here, and of the source's example in simulation.
fn processors(p: &Params, here: &[(Arm, Vec<Beside>)]) -> Figure {
    let (n, _, compute, minutes) = SOURCE;
    let claimed = source_sequential() / (minutes * 60.0);
    let simulated: Vec<(f64, f64)> = (1..=16)
        .map(|n| (n as f64, source_sequential() / source_on(n)))
        .collect();
    let needed = n as f64 * compute / (minutes * 60.0);
    let of_four = simulated.get(3).map_or(f64::NAN, |(_, gain)| *gain);
    let mut layers = Vec::new();
    for (arm, points) in here {
        let x = |b: &Beside| b.on.0 as f64;
        let expected = points.iter().map(|b| (x(b), b.predicted_gain()));
        let measured = points.iter().filter_map(|b| Some((x(b), b.gain()?.value)));
        let theory = Line::theory("", Colour::Muted, expected.collect());
        let measured = Line::measured(arm.name(), arm.colour(), measured.collect());
        layers.extend([Layer::Line(theory), Layer::Line(measured)]);
    }
    let widest = here.iter().flat_map(|(_, points)| points);
    let widest = widest.map(|b| b.on.0 as f64).fold(16.0, f64::max);
    let ticks = std::iter::successors(Some(1.0), |n| Some(2.0 * n));
    Figure {
        id: "processors".into(),
        title: format!(
            "{}× takes {} busy processors; four give {}× at most",
            number(claimed),
            number(needed),
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
                    note: format!("1000 items of 0.1 s and {} s of computing, ten fetches at a time, a processor for each thread", number(compute)),
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_source_needs_seven_processors() {
        let gain = |processors| source_sequential() / source_on(processors);
        assert!((gain(4) - 4.2).abs() < 0.01, "{}", gain(4));
        assert!(gain(6) < 7.0 && gain(7) > 7.0);
        // The simulator and the formula agree where both apply: no queue is ever full for long.
        let (n, f, p, _) = SOURCE;
        for processors in 1..=16 {
            let exact = Pipeline::new(&[(f, 10), (p, processors)]).makespan(n);
            assert!((source_on(processors) / exact - 1.0).abs() < 1e-6);
        }
    }

    #[test]
    fn borders_to_two_digits() {
        for (ratio, text) in [
            (0.0417, "0.042"),
            (7.08, "7.1"),
            (0.1, "0.1"),
            (123.0, "120"),
        ] {
            assert_eq!(short(ratio), text);
        }
    }
}
