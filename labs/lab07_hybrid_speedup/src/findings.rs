//! Theory beside measurement for lab07.

use lab_kit::host::Host;
use lab_kit::prelude::*;
use lab_kit::theory::{
    Pipeline, Stage,
    event_loop::compute_on_loop,
    simulate::{Station, simulate},
};

use super::{Params, gauges, plan::Work, python};

/// How close a figure must be to its theory, as a share of it.
const CLOSE: f64 = 0.05;
/// A strategy will do when the best one is no more than this faster.
const NEARLY: f64 = 1.15;
/// Timers tick in milliseconds.
const TICK: f64 = 1e-3;
/// How long the system's scheduler lets a thread run on while another waits for a processor: about 3 ms
/// on Linux.
const TURN: f64 = 3e-3;

/// An example to work out: items, seconds to fetch one, seconds to process one, and the minutes that
/// they are said to take together.
const EXAMPLE: (usize, f64, f64, f64) = (1000, 0.1, 2.0, 5.0);

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
#[derive(Clone, Copy)]
struct Theory<'a> {
    p: &'a Params,
    host: &'a Host,
    /// Measured with nothing to fetch: what a second of processing takes here, in seconds.
    pace: f64,
    /// The same on P threads: processors that these are worth.
    workers: f64,
    /// Measured with nothing to process: a fetch by itself, the service and what a request takes
    /// beside it.
    alone: f64,
    /// P at a time: as long as the last of them.
    abreast: f64,
    /// C at a time, which share the event loop's and the upstream's threads.
    among: f64,
    /// What all of it was taken from.
    origin: Origin,
}

impl<'a> Theory<'a> {
    fn of(p: &'a Params, summary: &Summary<'a>) -> Theory<'a> {
        let host = summary.host();
        let mut origin = Origin::host();
        let expected = p.fetch.s() + host.request_overhead_ms / 1e3;
        let mut fetch = |at_a_time: usize| {
            let k = summary.at("fetch", at_a_time as f64)?;
            let wave = |t: &Trial| Some(t.wall_s * at_a_time as f64 / t.gauge(gauges::ITEMS)?);
            let wave = k.estimate(wave)?;
            origin = origin.and(wave.origin());
            Some(wave.value)
        };
        let (alone, abreast, among) = (fetch(1), fetch(p.workers), fetch(p.concurrency));
        let mut process = |threads: usize, gauge: &dyn Fn(&Trial) -> Option<f64>| {
            let job = summary.at("process", threads as f64)?.estimate(gauge)?;
            origin = origin.and(job.origin());
            Some(job.value / p.cost.s())
        };
        let job = |t: &Trial| t.gauge(gauges::PROCESS_S);
        let pace = process(1, &job);
        // Where one thread was not measured, each trial's own look at the pace stands for it.
        let at_pace = |t: &Trial| Some(job(t)? / t.gauge(gauges::PACE)?);
        let shared = match pace {
            Some(alone) => process(p.workers, &job).map(|job| job / alone),
            None => process(p.workers, &at_pace),
        };
        let most = p.workers.min(host.cores) as f64;
        let worth = shared.map(|times| (p.workers as f64 / times).clamp(1.0, most));
        Theory {
            p,
            host,
            pace: pace.unwrap_or(1.0),
            workers: worth.unwrap_or(host.width(p.workers)),
            alone: alone.unwrap_or(expected),
            abreast: abreast.unwrap_or(expected),
            among: among.unwrap_or(expected),
            origin,
        }
    }

    /// Why f and p are not those of the flags, by which items and ratios were chosen: what was calibrated is
    /// not half of them, or more than twice as much and what a tick and a turn of the processor add.
    fn astray(&self) -> Option<String> {
        let (p, c) = (self.p, self.p.concurrency as f64);
        let among = p.fetch.s() + c * needs::REQUEST_S;
        let parts = [
            ("a fetch by itself", self.alone, p.fetch.s()),
            ("a fetch among others", self.among, among),
            ("processing an item", self.pace * p.cost.s(), p.cost.s()),
        ];
        let far =
            |&(_, is, due): &(&str, f64, f64)| !(due / 2.0..=2.0 * due + TICK + TURN).contains(&is);
        let (what, is, due) = parts.into_iter().find(far)?;
        let (is, due) = (seconds(is), seconds(due));
        Some(format!("{what} takes {is}, and {due} by the flags"))
    }

    /// A figure of this theory.
    fn given(&self, value: f64) -> Given {
        Given::new(value, self.origin)
    }

    /// Processors that so many threads are worth: P of them as measured with nothing to fetch.
    fn worth(&self, threads: usize, work: Work) -> f64 {
        match work {
            Work::Spin if threads == self.p.workers => self.workers,
            Work::Spin => self.host.width(threads),
            Work::Sleep => threads as f64,
        }
    }

    /// The least and the most seconds for `n` items of `cost` seconds each on so many threads; one
    /// figure unless it is left to chance.
    fn time(&self, arm: Arm, n: usize, cost: f64, (threads, work): (usize, Work)) -> (f64, f64) {
        let on = |active: usize| Stage::on_processors(cost, active, self.worth(active, work));
        let time = match arm {
            Arm::Sequential => n as f64 * self.one(cost),
            // Whether the loop sees the first answer before the others are there is a coin toss:
            // between the slower stage and the sum of both.
            Arm::Async => return self.loop_range(n, cost),
            // Waves: all wait for their items, then all compute and share the processors.
            Arm::Threads => {
                let wave = |active: usize| match active {
                    1 => self.one(cost),
                    _ => self.abreast + on(active).service,
                };
                let last = n % threads;
                let rest = if last == 0 { 0.0 } else { wave(last) };
                (n / threads) as f64 * wave(threads) + rest
            }
            // The bound: the slower of the two stages, and the time until both are at work. Beside it
            // the loop is a little later than with nothing to process: with each wave of fetches it may
            // miss a tick of the upstream's timer, and where every processor computes it waits for one
            // until an item is done or its turn has come.
            Arm::Hybrid => {
                let wait = match work {
                    Work::Spin if threads >= self.host.cores => cost.min(TURN),
                    _ => 0.0,
                };
                let stages = |late: f64| {
                    let fetch = Stage {
                        service: self.among + late,
                        width: self.p.concurrency,
                    };
                    let stages = vec![fetch, on(threads)];
                    Pipeline { stages }.makespan(n)
                };
                return (stages(0.0), stages(TICK + wait));
            }
        };
        (time, time)
    }

    /// Seconds that processing an item takes on a thread of its own.
    fn cost(&self, ratio: f64, work: Work) -> f64 {
        let cost = ratio * self.p.fetch.s();
        if work == self.p.work {
            cost * self.pace
        } else {
            cost
        }
    }

    /// One item after another, each.
    fn one(&self, cost: f64) -> f64 {
        self.alone + cost
    }

    /// The least and the most seconds on one event loop: the slower stage, and the sum of both.
    fn loop_range(&self, n: usize, cost: f64) -> (f64, f64) {
        let c = self.p.concurrency;
        let waves = n.div_ceil(c) as f64;
        let least = f64::max(waves * (self.among + cost), self.among + n as f64 * cost);
        (least, compute_on_loop(n, c, self.among, cost, 0.0))
    }

    /// How many times faster than one after another: the middle of what theory leaves open, and how
    /// far it is to its ends.
    fn gain(&self, arm: Arm, n: usize, cost: f64, on: (usize, Work)) -> (f64, f64) {
        let (least, most) = self.time(arm, n, cost, on);
        let one = n as f64 * self.one(cost);
        let (low, high) = (one / most, one / least);
        ((low + high) / 2.0, (high - low) / 2.0)
    }

    /// The same in a long run, at a ratio.
    fn long_run(&self, arm: Arm, ratio: f64) -> (f64, f64) {
        let (c, on) = (self.p.concurrency, (self.p.workers, self.p.work));
        self.gain(arm, 40 * c.max(on.0), self.cost(ratio, on.1), on)
    }

    /// Up to which ratio async only will do, and from which on threads only.
    fn borders(&self, from: f64, to: f64) -> (Option<f64>, Option<f64>) {
        let will_do = |arm: Arm, ratio: f64| {
            NEARLY * self.long_run(arm, ratio).0 >= self.long_run(Arm::Hybrid, ratio).0
        };
        let ratios = || grid(from, to);
        let simple = ratios().take_while(|r| will_do(Arm::Async, *r)).last();
        let threads = ratios().rev().take_while(|r| will_do(Arm::Threads, *r));
        (simple, threads.last())
    }
}

/// Ratios close together.
fn grid(from: f64, to: f64) -> impl DoubleEndedIterator<Item = f64> {
    const STEPS: i32 = 120;
    (0..=STEPS).map(move |i| from * (to / from).powf(f64::from(i) / f64::from(STEPS)))
}

/// A condition beside its theory.
#[derive(Clone, Copy)]
struct Beside<'a> {
    theory: &'a Theory<'a>,
    arm: Arm,
    ratio: f64,
    on: (usize, Work),
    items: usize,
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
            items: theory.p.items(arm.series(), ratio),
            k: summary.at(arm.series(), ratio)?,
            one: summary.at("sequential", ratio),
        })
    }

    /// The strategy on another pool, where p is --cost.
    fn narrow(theory: &'a Theory<'a>, summary: &Summary<'a>, arm: Arm, k: Condition<'a>) -> Self {
        let p = theory.p;
        Beside {
            theory,
            arm,
            ratio: p.ratio(),
            on: (k.x() as usize, p.work),
            items: p.items_on(k.x() as usize),
            k,
            one: summary.at("sequential", p.ratio()),
        }
    }

    /// The hybrid whose work sleeps whatever --work says.
    fn slept(theory: &'a Theory<'a>, summary: &Summary<'a>) -> Option<Self> {
        let p = theory.p;
        Some(Beside {
            theory,
            arm: Arm::Hybrid,
            ratio: p.ratio(),
            on: (p.sleepers, Work::Sleep),
            items: p.items,
            k: summary.at("slept", p.sleepers as f64)?,
            one: summary.at("sequential", p.ratio()),
        })
    }

    fn cost(&self) -> f64 {
        self.theory.cost(self.ratio, self.on.1)
    }

    fn wall(&self) -> Option<Estimate> {
        self.k.wall_s()
    }

    /// What theory says of its time: the middle, and how far it is to the ends.
    fn time(&self) -> (f64, f64) {
        let (least, most) = self.theory.time(self.arm, self.items, self.cost(), self.on);
        ((least + most) / 2.0, (most - least) / 2.0)
    }

    /// Seconds an item.
    fn each(&self) -> Option<Estimate> {
        Some(self.wall()?.scaled(1.0 / self.items as f64))
    }

    /// How many times faster an item is than one after another, in the same round.
    fn gain(&self) -> Option<Estimate> {
        let gain = |one: &Trial, trial: &Trial| Some(each(one)? / each(trial)?);
        self.one?.paired(&self.k, gain)
    }

    /// What theory says of it: the middle, and how far it is to the ends.
    fn predicted(&self) -> (f64, f64) {
        self.theory.gain(self.arm, self.items, self.cost(), self.on)
    }

    /// The one figure of theory that is drawn: the bound of the hybrid, the middle of the others.
    fn drawn(&self) -> f64 {
        match self.arm {
            Arm::Hybrid => self.bound(),
            _ => self.predicted().0,
        }
    }

    /// What theory says of it, for tables: "2.31×", "4.2 to 6.5×".
    fn says(&self) -> String {
        match self.predicted() {
            (middle, open) if open > 0.015 * middle => {
                format!("{} to {}", number(middle - open), factor(middle + open))
            }
            _ => factor(self.drawn()),
        }
    }

    /// The speed-up of an ideal hybrid with as many items.
    fn bound(&self) -> f64 {
        let (middle, open) = self
            .theory
            .gain(Arm::Hybrid, self.items, self.cost(), self.on);
        middle + open
    }

    /// Its own speed-up as a share of that.
    fn efficiency(&self) -> Option<Estimate> {
        Some(self.gain()?.scaled(1.0 / self.bound()))
    }

    fn name(&self) -> String {
        format!("p/f = {}", number(self.ratio))
    }

    /// Its speed-up beside theory, within a share of it.
    fn case(&self, name: String) -> Case {
        let (gain, open) = self.predicted();
        let tolerance = open + CLOSE * gain;
        Case::new(name, self.theory.given(gain), self.gain(), tolerance)
    }
}

/// Seconds an item took.
fn each(trial: &Trial) -> Option<f64> {
    let each = trial.wall_s / trial.gauge(gauges::ITEMS)?;
    (each > 0.0).then_some(each)
}

/// "2.31×"; a dash where there is none.
fn factor(value: f64) -> String {
    match value.is_finite() {
        true => format!("{}×", number(value)),
        false => "–".into(),
    }
}

fn times(e: Option<Estimate>) -> String {
    cell(e, factor)
}

fn threads(n: usize) -> String {
    format!("{n} thread{}", if n == 1 { "" } else { "s" })
}

/// The record beside theory.
struct View<'a> {
    p: &'a Params,
    theory: &'a Theory<'a>,
    summary: &'a Summary<'a>,
}

impl<'a> View<'a> {
    /// A strategy at a ratio.
    fn at(&self, arm: Arm, ratio: f64) -> Option<Beside<'a>> {
        Beside::at(self.theory, self.summary, arm, ratio)
    }

    /// A strategy where p is --cost.
    fn main(&self, arm: Arm) -> Option<Beside<'a>> {
        self.at(arm, self.p.ratio())
    }

    /// A strategy at every ratio.
    fn every(&self, arm: Arm) -> Vec<Beside<'a>> {
        let conditions = self.summary.series(arm.series()).into_iter();
        conditions.filter_map(|k| self.at(arm, k.x())).collect()
    }

    /// A strategy on every other pool.
    fn narrow(&self, arm: Arm) -> Vec<Beside<'a>> {
        let conditions = self.summary.series(&format!("{}/width", arm.series()));
        let beside = |k| Beside::narrow(self.theory, self.summary, arm, k);
        conditions.into_iter().map(beside).collect()
    }

    fn slept(&self) -> Option<Beside<'a>> {
        Beside::slept(self.theory, self.summary)
    }

    /// Where threads that compute would have to take turns theory does not know in which order.
    fn has_processors(&self, threads: usize) -> bool {
        self.p.work == Work::Sleep || threads <= self.summary.host().cores
    }

    /// What others may take away from work.
    fn resource(&self) -> Resource {
        match self.p.work {
            Work::Spin => Resource::Processors,
            Work::Sleep => Resource::Timers,
        }
    }
}

pub(super) fn explain(p: &Params, summary: &Summary) -> Findings {
    let theory = &Theory::of(p, summary);
    let view = &View { p, theory, summary };
    let gain = |arm| times(view.main(arm).and_then(|b| b.gain()));
    let answer = |key, arm| {
        let beside = view.main(arm);
        let predicted = beside.map_or(f64::NAN, |b| b.predicted().0);
        Answer::near(key, beside.and_then(|b| b.gain()), predicted)
    };
    let mut tables = vec![strategies(view), ratios(view), example_table()];
    tables.extend(python::table(p, summary));
    Findings {
        headline: format!(
            "With p/f = {}, {} and {} fetches at a time the hybrid is {} as fast as one after another; its bound is {}. Threads only reach {}, async only {}.",
            number(p.ratio()),
            threads(p.workers),
            p.concurrency,
            gain(Arm::Hybrid),
            factor(view.main(Arm::Hybrid).map_or(f64::NAN, |b| b.bound())),
            gain(Arm::Threads),
            gain(Arm::Async)
        ),
        figures: vec![bars(view), sweep(view), processors(view)],
        tables,
        claims: [simple(view), hybrids(view)]
            .into_iter()
            .flatten()
            .map(|claim| claim.unless(theory.astray()))
            .collect(),
        answers: vec![answer("async", Arm::Async), answer("hybrid", Arm::Hybrid)],
    }
}

/// What theory says of the strategies without a bridge, at every ratio.
fn simple(view: &View) -> Vec<Claim> {
    let ratio = Disturbed::Either(view.resource());
    let one = view.every(Arm::Sequential).into_iter().map(|b| {
        let each = view.theory.given(view.theory.one(b.cost()));
        Case::share(b.name(), each, b.each(), CLOSE)
    });
    let gains = |arm: Arm| view.every(arm).into_iter().map(|b| b.case(b.name()));
    let mut claims = vec![
        Law::new(
            "one after another an item takes f + p, at every ratio",
            "s",
            Disturbed::Longer(view.resource()),
        )
        .within("5 %: a processor's clock changes with load and heat")
        .near(one),
    ];
    if view.has_processors(view.p.workers) {
        claims.push(
            Law::new(
                "threads take N·(f + p)/P, each waiting and computing in turn, at every ratio",
                "times",
                ratio,
            )
            .within("5 %: a thread that wakes waits for a processor where all of them compute")
            .near(gains(Arm::Threads)),
        );
    }
    // Whether the loop sees the first of several answers before the others are there is a coin
    // toss, in every trial anew; what is certain are the ends.
    claims.push(
        Law::new(
            "on one event loop the time lies between the larger of N·f/C and N·p and their sum, at every ratio",
            "times",
            ratio,
        )
        .within("half of what lies between the two, and 5 % for clocks and timers")
        .near(gains(Arm::Async)),
    );
    claims
}

/// What theory says of the hybrid, and of pools of other sizes.
fn hybrids(view: &View) -> Vec<Claim> {
    let ratio = Disturbed::Either(view.resource());
    let hybrid = view.every(Arm::Hybrid).into_iter();
    let hybrid = hybrid.filter(|b| view.has_processors(b.on.0));
    let mut claims = vec![
        Law::new(
            "the hybrid takes the larger of N·f/C and N·p/P at every ratio, and with each wave of fetches at most a tick and a turn of the processor more",
            "times",
            ratio,
        )
        .within("half of what a tick of 1 ms and a turn of 3 ms make, and 5 %: f and P are those of other trials")
        .near(hybrid.map(|b| b.case(b.name()))),
    ];
    let narrow = [Arm::Threads, Arm::Hybrid].into_iter();
    let narrow = narrow.flat_map(|arm| view.narrow(arm));
    let narrow = narrow.filter(|b| view.has_processors(b.on.0));
    claims.push(
        Law::new(
            "on smaller pools both are as much slower as theory says: more threads help, as far as there are processors for them",
            "times",
            ratio,
        )
        .within("5 % for clocks, and half of what a tick for each wave of fetches makes")
        .near(narrow.map(|b| b.case(format!("{}, {}", b.arm.name(), threads(b.on.0))))),
    );
    let slept = view.slept().map(|b| {
        let (time, open) = b.time();
        Case::new("", b.theory.given(time), b.wall(), open + CLOSE * time)
    });
    claims.push(
        Law::new(
            "work that sleeps is as fast as its pool is large, on any machine",
            "s",
            Disturbed::Longer(Resource::Timers),
        )
        .within("5 %, and half of what a tick for each wave of fetches makes")
        .near(slept),
    );
    claims
}

/// The strategies where p is --cost, and the one whose work sleeps.
fn strategies(view: &View) -> Table {
    let (p, theory) = (view.p, view.theory);
    let mut table = Table::new(
        &format!("p = {}, f = {}", p.cost, p.fetch),
        &[
            "strategy",
            "items",
            "time",
            "theory",
            "speed-up",
            "theory",
            "share of the bound",
        ],
    );
    let asleep = view.slept();
    let asleep = asleep.map(|b| (format!("hybrid, {} that sleep", threads(p.sleepers)), b));
    let strategies = Arm::ALL.into_iter().filter_map(|arm| view.main(arm));
    for (name, b) in strategies.map(|b| (b.arm.name().into(), b)).chain(asleep) {
        table.row([
            name,
            b.items.to_string(),
            cell(b.wall(), seconds),
            seconds(b.time().0),
            times(b.gain()),
            b.says(),
            cell(b.efficiency(), percent),
        ]);
    }
    table.note = format!(
        "{} on this machine are worth {} processors. A fetch of {} takes {} by itself and {} among {}. The bound of the hybrid is {}.",
        threads(p.workers),
        number(theory.worth(p.workers, p.work)),
        p.fetch,
        seconds(theory.alone),
        seconds(theory.among),
        p.concurrency,
        factor(view.main(Arm::Hybrid).map_or(f64::NAN, |b| b.bound()))
    );
    table
}

/// The strategies where p is --cost, and the one that only sleeps.
fn bars(view: &View) -> Figure {
    let p = view.p;
    let bar = |label: &str, colour, b: &Beside| {
        let gain = b.gain()?;
        let interval = gain.ci95.filter(|_| b.arm != Arm::Sequential);
        let bar = ValueBar::measured(label, colour, gain.value).with_interval(interval);
        Some(bar.with_theory(b.drawn()))
    };
    let known = Arm::ALL.into_iter().filter_map(|arm| view.main(arm));
    let real = known.filter_map(|b| bar(b.arm.name(), b.arm.colour(), &b));
    let mut groups = vec![BarGroup {
        label: match p.work {
            Work::Spin => "Real computation".into(),
            Work::Sleep => "Work that is done elsewhere".into(),
        },
        note: format!("on {}", threads(p.workers)),
        bars: real.collect(),
    }];
    let label = format!("hybrid, {}", threads(p.sleepers));
    let asleep = view.slept().and_then(|b| bar(&label, Colour::Purple, &b));
    groups.extend(asleep.map(|bar| BarGroup {
        label: "Sleep instead of computation".into(),
        note: "as large as the pool, whatever the machine".into(),
        bars: vec![bar],
    }));
    let hybrid = view.main(Arm::Hybrid);
    Figure {
        id: "speedup".into(),
        title: format!(
            "At p/f = {} the hybrid is {} as fast as one after another; its bound is {}",
            number(p.ratio()),
            times(hybrid.and_then(|b| b.gain())),
            factor(hybrid.map_or(f64::NAN, |b| b.bound()))
        ),
        subtitle: format!(
            "f = {}, p = {}, {} fetches at a time. Dashed: theory, the time to fill included; of the hybrid its bound, of async only the middle of what it leaves open",
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
fn ratios(view: &View) -> Table {
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
            "share of the bound",
        ],
    );
    for one in view.every(Arm::Sequential) {
        let mut row = vec![number(one.ratio), seconds(one.ratio * view.p.fetch.s())];
        let arms = Arm::FASTER.map(|arm| view.at(arm, one.ratio));
        for b in arms {
            row.push(times(b.and_then(|b| b.gain())));
            row.push(b.map_or("–".into(), |b| b.says()));
        }
        row.push(cell(arms[2].and_then(|b| b.efficiency()), percent));
        table.row(row);
    }
    table.note = "Each strategy with as many items as fit into its time, filling included. Theory leaves open whether the answers of a wave come together (async only), and how long a loop waits for a processor (hybrid); the bound of the hybrid is the upper end.".into();
    table
}

/// Seconds the example takes on so many processors, by simulation.
fn example_on(processors: usize) -> f64 {
    let (n, f, p, _) = EXAMPLE;
    let constant = |s: f64| ServiceTime::Constant(Duration::from_secs_f64(s));
    let stages = [
        Station::new(10, constant(f)),
        Station::new(processors, constant(p)).behind(processors),
    ];
    simulate(&stages, n, 1).map_or(f64::NAN, |run| run.makespan)
}

/// The example one after another.
fn example_sequential() -> f64 {
    let (n, f, p, _) = EXAMPLE;
    n as f64 * (f + p)
}

fn example_table() -> Table {
    let (n, _, p, minutes) = EXAMPLE;
    let mut table = Table::new(
        "Simulated, not measured: 1000 items of 0.1 s and 2 s, ten fetches at a time",
        &["busy processors", "time", "speed-up"],
    );
    for processors in [1, 2, 4, 6, 7, 8, 16] {
        let time = example_on(processors);
        table.row([
            processors.to_string(),
            format!("{} min", number(time / 60.0)),
            factor(example_sequential() / time),
        ]);
    }
    table.note = format!(
        "One after another {} min. To end in {} min they need {} busy processors.",
        number(example_sequential() / 60.0),
        number(minutes),
        number(n as f64 * p / (minutes * 60.0))
    );
    table
}

/// The speed-ups over p/f.
fn sweep(view: &View) -> Figure {
    let (p, theory) = (view.p, view.theory);
    let ratios: Vec<f64> = view
        .every(Arm::Sequential)
        .iter()
        .map(|b| b.ratio)
        .collect();
    let ends = (ratios.iter().copied())
        .fold((f64::INFINITY, 0.0), |(least, most): (f64, f64), r| {
            (least.min(r), most.max(r))
        });
    let mut layers = Vec::new();
    let mut theory_drawn = String::new();
    if ends.0 < ends.1 {
        layers.extend(regions(theory, ends));
        theory_drawn = format!(
            ". Dashed: theory; band: what it leaves open. Shaded, by theory of a long run: a strategy will do where the hybrid is less than {:.0} % faster",
            100.0 * (NEARLY - 1.0)
        );
    }
    for arm in Arm::FASTER {
        let points = view.every(arm);
        let measured = points
            .iter()
            .filter_map(|b| Some((b.ratio, b.gain()?.value)));
        layers.extend(between(theory, &points).map(Layer::Line));
        let measured = Line::measured(arm.name(), arm.colour(), measured.collect());
        layers.push(Layer::Line(measured));
    }
    layers.push(Layer::Rule {
        y: 1.0,
        label: "one after another".into(),
    });
    Figure {
        id: "sweep".into(),
        title: lead(view),
        subtitle: format!(
            "f = {}, {} fetches at a time, {}{theory_drawn}",
            p.fetch,
            p.concurrency,
            threads(p.workers)
        ),
        desc: "Speed-up of three strategies over the ratio of processing to fetching: async only falls from the number of fetches at a time towards one, threads only stays at the number of threads, the hybrid is above both in between.".into(),
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

/// Theory from the first of these places to the last: that of a long run, bent to what it says at each
/// place, where few items take longer to fill the pipeline.
fn between(theory: &Theory, places: &[Beside]) -> Option<Line> {
    let (first, last) = (places.first()?, places.last()?);
    let filling = |b: &Beside| b.predicted().0 / theory.long_run(b.arm, b.ratio).0;
    let bend = |ratio: f64| {
        let at = places
            .partition_point(|b| b.ratio < ratio)
            .min(places.len() - 1);
        let (left, right) = (&places[at.saturating_sub(1)], &places[at]);
        let width = (right.ratio / left.ratio).ln();
        let share = if width > 0.0 {
            (ratio / left.ratio).ln() / width
        } else {
            0.0
        };
        filling(left) + share.clamp(0.0, 1.0) * (filling(right) - filling(left))
    };
    let says = grid(first.ratio, last.ratio).map(|ratio| {
        let (middle, open) = theory.long_run(first.arm, ratio);
        (ratio, middle * bend(ratio), open * bend(ratio))
    });
    let says: Vec<(f64, f64, f64)> = says.collect();
    let line = says.iter().map(|(ratio, middle, _)| (*ratio, *middle));
    let band = says
        .iter()
        .map(|(ratio, middle, open)| (*ratio, middle - open, middle + open));
    let line = Line::theory("", Colour::Muted, line.collect());
    (places.len() > 1).then(|| line.with_band(band.collect()))
}

/// Which strategy will do where, by theory.
fn regions(theory: &Theory, (from, to): (f64, f64)) -> Vec<Layer> {
    let (simple, threads) = theory.borders(from, to);
    let (left, right) = (simple.unwrap_or(from), threads.unwrap_or(to));
    let regions = [
        ((from, left.min(right)), "async will do", Colour::Sky),
        ((left, right), "hybrid wins", Colour::Green),
        ((right.max(left), to), "threads will do", Colour::Orange),
    ];
    let shown = regions.into_iter().filter(|(x, ..)| x.0 < x.1);
    shown
        .map(|(x, label, colour)| Layer::Region {
            x,
            label: label.into(),
            colour,
        })
        .collect()
}

/// Where the hybrid was farthest ahead of the better of the two others, as measured.
fn lead(view: &View) -> String {
    let at = |b: &Beside| {
        let gain = |arm| Some(view.at(arm, b.ratio)?.gain()?.value);
        let (hybrid, simple, threads) =
            (gain(Arm::Hybrid)?, gain(Arm::Async)?, gain(Arm::Threads)?);
        Some((
            hybrid / simple.max(threads),
            b.ratio,
            [hybrid, simple, threads],
        ))
    };
    let all = view.every(Arm::Sequential);
    let most = all.iter().filter_map(at).max_by(|a, b| a.0.total_cmp(&b.0));
    match most {
        None => "Speed-up over one after another".into(),
        Some((lead, ..)) if lead <= 1.0 => {
            "At no ratio is the hybrid faster than the better of the two others".into()
        }
        Some((_, ratio, [hybrid, simple, threads])) => format!(
            "The hybrid is farthest ahead at p/f = {}: {}, async only {}, threads only {}",
            number(ratio),
            factor(hybrid),
            factor(simple),
            factor(threads)
        ),
    }
}

/// The speed-up over the number of threads: here, and of the example in simulation.
fn processors(view: &View) -> Figure {
    let (n, _, compute, minutes) = EXAMPLE;
    let claimed = example_sequential() / (minutes * 60.0);
    let simulated: Vec<(f64, f64)> = (1..=16)
        .map(|n| (n as f64, example_sequential() / example_on(n)))
        .collect();
    let needed = n as f64 * compute / (minutes * 60.0);
    let of_four = simulated.get(3).map_or(f64::NAN, |(_, gain)| *gain);
    let mut layers = Vec::new();
    let mut widest = 16.0_f64;
    for arm in [Arm::Threads, Arm::Hybrid] {
        let mut points: Vec<Beside> = view.narrow(arm).into_iter().chain(view.main(arm)).collect();
        points.sort_by_key(|b| b.on.0);
        let x = |b: &Beside| b.on.0 as f64;
        widest = points.iter().map(x).fold(widest, f64::max);
        let expected = points.iter().map(|b| (x(b), b.drawn()));
        let measured = points.iter().filter_map(|b| Some((x(b), b.gain()?.value)));
        let theory = Line::theory("", Colour::Muted, expected.collect());
        let measured = Line::measured(arm.name(), arm.colour(), measured.collect());
        layers.extend([Layer::Line(theory), Layer::Line(measured)]);
    }
    let ticks = std::iter::successors(Some(1.0), |n| Some(2.0 * n));
    Figure {
        id: "processors".into(),
        title: format!(
            "{} takes {} busy processors; four give {} at most",
            factor(claimed),
            number(needed),
            factor(of_four)
        ),
        subtitle: "Above: measured on this machine. Below: a larger example, simulated in virtual time".into(),
        desc: "Two panels over the number of threads that compute: measured speed-ups of threads only and the hybrid, and the simulated speed-up of an example, which reaches seven at seven processors.".into(),
        body: Body::Panels(Panels {
            x: Axis::log("threads that compute, log scale", Unit::Number)
                .with_ticks(ticks.take_while(|n| *n <= widest).collect::<Vec<_>>()),
            panels: vec![
                Panel {
                    title: "Speed-up, measured".into(),
                    note: format!("f = {}, p = {}; dashed: theory", view.p.fetch, view.p.cost),
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
                            label: format!("35 min in {} min", number(minutes)),
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
    fn the_example_needs_seven_processors() {
        let gain = |processors| example_sequential() / example_on(processors);
        assert!((gain(4) - 4.2).abs() < 0.01, "{}", gain(4));
        assert!(gain(6) < 7.0 && gain(7) > 7.0);
        // The simulator and the formula agree where both apply: no queue is ever full for long.
        let (n, f, p, _) = EXAMPLE;
        for processors in 1..=16 {
            let exact = Pipeline::new(&[(f, 10), (p, processors)]).makespan(n);
            assert!((example_on(processors) / exact - 1.0).abs() < 1e-6);
        }
    }
}
