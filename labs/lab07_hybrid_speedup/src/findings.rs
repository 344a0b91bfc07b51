//! Theory beside measurement for lab07.

use lab_kit::host::Host;
use lab_kit::prelude::*;
use lab_kit::theory::{
    Pipeline, Stage,
    event_loop::compute_on_loop,
    simulate::{Station, simulate},
};

use super::{Params, gauges, languages, plan::Work};

/// How close a figure must be to its theory, as a share of it.
const CLOSE: f64 = 0.05;
/// A strategy will do when the best one is no more than this faster.
const NEARLY: f64 = 1.15;
/// Timers tick in milliseconds.
const TICK: f64 = 1e-3;
/// How long the system's scheduler lets a thread run on while another waits for a processor: about 3 ms
/// on Linux.
const TURN: f64 = 3e-3;

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

/// Threads, and what they do with an item.
#[derive(Clone, Copy)]
struct Pool {
    threads: usize,
    work: Work,
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

    /// P threads, which do what --work says.
    fn pool(&self) -> Pool {
        Pool { threads: self.p.workers, work: self.p.work }
    }

    /// Processors that a pool is worth: P threads as measured with nothing to fetch.
    fn worth(&self, Pool { threads, work }: Pool) -> f64 {
        match work {
            Work::Spin if threads == self.p.workers => self.workers,
            Work::Spin => self.host.width(threads),
            Work::Sleep => threads as f64,
        }
    }

    /// The least and the most seconds for `n` items of `cost` seconds each on so many threads; one
    /// figure unless it is left to chance.
    fn time(&self, arm: Arm, n: usize, cost: f64, pool: Pool) -> (f64, f64) {
        let Pool { threads, work } = pool;
        let worth = |threads| self.worth(Pool { threads, work });
        let on = |active: usize| Stage::on_processors(cost, active, worth(active));
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
                    let fetch = Stage { service: self.among + late, width: self.p.concurrency };
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
        match work == self.p.work {
            true => cost * self.pace,
            false => cost,
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
    fn gain(&self, arm: Arm, n: usize, cost: f64, pool: Pool) -> (f64, f64) {
        let (least, most) = self.time(arm, n, cost, pool);
        let one = n as f64 * self.one(cost);
        let (low, high) = (one / most, one / least);
        ((low + high) / 2.0, (high - low) / 2.0)
    }

    /// The same in a long run, at a ratio.
    fn long_run(&self, arm: Arm, ratio: f64) -> (f64, f64) {
        let n = 40 * self.p.concurrency.max(self.p.workers);
        self.gain(arm, n, self.cost(ratio, self.p.work), self.pool())
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
    pool: Pool,
    items: usize,
    k: Condition<'a>,
    /// One after another at the same ratio.
    one: Option<Condition<'a>>,
}

impl Beside<'_> {
    fn cost(&self) -> f64 {
        self.theory.cost(self.ratio, self.pool.work)
    }

    fn wall(&self) -> Option<Estimate> {
        self.k.wall_s()
    }

    /// What theory says of its time: the middle, and how far it is to the ends.
    fn time(&self) -> (f64, f64) {
        let (least, most) = self.theory.time(self.arm, self.items, self.cost(), self.pool);
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
        self.theory.gain(self.arm, self.items, self.cost(), self.pool)
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
        let (middle, open) = self.theory.gain(Arm::Hybrid, self.items, self.cost(), self.pool);
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
pub(super) fn factor(value: f64) -> String {
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
    /// A condition of a strategy, on the pool and with the items that it has at this ratio.
    fn beside(&self, arm: Arm, ratio: f64, k: Condition<'a>) -> Beside<'a> {
        Beside {
            theory: self.theory,
            arm,
            ratio,
            pool: self.theory.pool(),
            items: self.p.items(arm.series(), ratio),
            k,
            one: self.summary.at("sequential", ratio),
        }
    }

    /// A strategy at a ratio, if the record has it.
    fn at(&self, arm: Arm, ratio: f64) -> Option<Beside<'a>> {
        let k = self.summary.at(arm.series(), ratio)?;
        Some(self.beside(arm, ratio, k))
    }

    /// A strategy where p is --cost.
    fn main(&self, arm: Arm) -> Option<Beside<'a>> {
        self.at(arm, self.p.ratio())
    }

    /// How many times as fast it is there.
    fn gain(&self, arm: Arm) -> Option<Estimate> {
        self.main(arm)?.gain()
    }

    /// The bound of the hybrid there.
    fn bound(&self) -> String {
        factor(self.main(Arm::Hybrid).map_or(f64::NAN, |b| b.bound()))
    }

    /// A strategy at every ratio.
    fn every(&self, arm: Arm) -> Vec<Beside<'a>> {
        let conditions = self.summary.series(arm.series()).into_iter();
        conditions.filter_map(|k| self.at(arm, k.x())).collect()
    }

    /// A strategy on every other pool, where p is --cost.
    fn narrow(&self, arm: Arm) -> Vec<Beside<'a>> {
        let (p, work) = (self.p, self.p.work);
        let conditions = self.summary.series(&format!("{}/width", arm.series()));
        let beside = |k: Condition<'a>| {
            let threads = k.x() as usize;
            Beside {
                pool: Pool { threads, work },
                items: p.items_on(threads),
                ..self.beside(arm, p.ratio(), k)
            }
        };
        conditions.into_iter().map(beside).collect()
    }

    /// The hybrid whose work sleeps whatever --work says.
    fn slept(&self) -> Option<Beside<'a>> {
        let (p, threads, work) = (self.p, self.p.sleepers, Work::Sleep);
        let k = self.summary.at("slept", threads as f64)?;
        Some(Beside {
            pool: Pool { threads, work },
            items: p.items,
            ..self.beside(Arm::Hybrid, p.ratio(), k)
        })
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
    let answer = |key, arm| {
        let predicted = view.main(arm).map_or(f64::NAN, |b| b.predicted().0);
        Answer::near(key, view.gain(arm), predicted)
    };
    let mut tables = vec![strategies(view), ratios(view), example_table()];
    tables.extend(languages::table(p, summary));
    let claims = simple(view).chain(hybrids(view));
    Findings {
        headline: format!(
            "With p/f = {}, {} and {} fetches at a time the hybrid is {} as fast as one after another; its bound is {}. Threads only reach {}, async only {}.",
            number(p.ratio()),
            threads(p.workers),
            p.concurrency,
            times(view.gain(Arm::Hybrid)),
            view.bound(),
            times(view.gain(Arm::Threads)),
            times(view.gain(Arm::Async))
        ),
        figures: vec![bars(view), sweep(view), processors(view)],
        tables,
        claims: claims
            .map(|claim| claim.unless(theory.astray()))
            .chain(languages::claims(p, summary))
            .collect(),
        answers: vec![answer("async", Arm::Async), answer("hybrid", Arm::Hybrid)],
    }
}

/// What theory says of the strategies without a bridge, at every ratio.
fn simple(view: &View) -> impl Iterator<Item = Claim> {
    let resource = view.resource();
    let one = view.every(Arm::Sequential).into_iter().map(|b| {
        let each = view.theory.given(view.theory.one(b.cost()));
        Case::share(b.name(), each, b.each(), CLOSE)
    });
    let gains = |arm: Arm| view.every(arm).into_iter().map(|b| b.case(b.name()));
    let gain = |text| Law::new(text, "times", Disturbed::Either(resource));
    let each = "one after another an item takes f + p, at every ratio";
    let each = Law::new(each, "s", Disturbed::Longer(resource))
        .within("5 %: a processor's clock changes with load and heat")
        .near(one);
    let threads = view.has_processors(view.p.workers).then(|| {
        gain("threads take N·(f + p)/P, each waiting and computing in turn, at every ratio")
            .within("5 %: a thread that wakes waits for a processor where all of them compute")
            .near(gains(Arm::Threads))
    });
    // Whether the loop sees the first of several answers before the others are there is a coin
    // toss, in every trial anew; what is certain are the ends.
    let ends = gain("on one event loop the time lies between the larger of N·f/C and N·p and their sum, at every ratio")
        .within("half of what lies between the two, and 5 % for clocks and timers")
        .near(gains(Arm::Async));
    [Some(each), threads, Some(ends)].into_iter().flatten()
}

/// What theory says of the hybrid, and of pools of other sizes.
fn hybrids(view: &View) -> [Claim; 3] {
    let known = |b: &Beside| view.has_processors(b.pool.threads);
    let hybrid = view.every(Arm::Hybrid).into_iter().filter(known);
    let narrow = [Arm::Threads, Arm::Hybrid].into_iter();
    let narrow = narrow.flat_map(|arm| view.narrow(arm)).filter(known);
    let slept = view.slept().map(|b| {
        let (time, open) = b.time();
        Case::new("", b.theory.given(time), b.wall(), open + CLOSE * time)
    });
    let gain = |text| Law::new(text, "times", Disturbed::Either(view.resource()));
    let asleep = "work that sleeps is as fast as its pool is large, on any machine";
    [
        gain("the hybrid takes the larger of N·f/C and N·p/P at every ratio, and with each wave of fetches at most a tick and a turn of the processor more")
            .within("half of what a tick of 1 ms and a turn of 3 ms make, and 5 %: f and P are those of other trials")
            .near(hybrid.map(|b| b.case(b.name()))),
        gain("on smaller pools both are as much slower as theory says: more threads help, as far as there are processors for them")
            .within("5 % for clocks, and half of what a tick for each wave of fetches makes")
            .near(narrow.map(|b| b.case(format!("{}, {}", b.arm.name(), threads(b.pool.threads))))),
        Law::new(asleep, "s", Disturbed::Longer(Resource::Timers))
            .within("5 %, and half of what a tick for each wave of fetches makes")
            .near(slept),
    ]
}

/// The strategies where p is --cost, and the one whose work sleeps.
fn strategies(view: &View) -> Table {
    let (p, theory) = (view.p, view.theory);
    let known = Arm::ALL.into_iter().filter_map(|arm| view.main(arm));
    let known = known.map(|b| (b.arm.name().to_string(), b));
    let asleep = format!("hybrid, {} that sleep", threads(p.sleepers));
    let asleep = view.slept().map(|b| (asleep, b));
    Table::of(format!("p = {}, f = {}", p.cost, p.fetch), known.chain(asleep))
        .column("strategy", |(name, _)| name.clone())
        .column("items", |(_, b)| b.items.to_string())
        .cells("time", seconds, |(_, b)| b.wall())
        .column("theory", |(_, b)| seconds(b.time().0))
        .cells("speed-up", factor, |(_, b)| b.gain())
        .column("theory", |(_, b)| b.says())
        .cells("share of the bound", percent, |(_, b)| b.efficiency())
        .note(format!(
            "{} on this machine are worth {} processors. A fetch of {} takes {} by itself and {} among {}. The bound of the hybrid is {}.",
            threads(p.workers),
            number(theory.worth(theory.pool())),
            p.fetch,
            seconds(theory.alone),
            seconds(theory.among),
            p.concurrency,
            view.bound()
        ))
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
    let known = known.filter_map(|b| bar(b.arm.name(), b.arm.colour(), &b));
    let label = format!("hybrid, {}", threads(p.sleepers));
    let asleep = view.slept().and_then(|b| bar(&label, Colour::Purple, &b));
    let asleep = asleep.map(|bar| {
        BarGroup::new("Sleep instead of computation", [bar])
            .note("as large as the pool, whatever the machine")
    });
    let work = match p.work {
        Work::Spin => "Real computation",
        Work::Sleep => "Work that is done elsewhere",
    };
    let awake = BarGroup::new(work, known).note(format!("on {}", threads(p.workers)));
    let title = format!(
        "At p/f = {} the hybrid is {} as fast as one after another; its bound is {}",
        number(p.ratio()),
        times(view.gain(Arm::Hybrid)),
        view.bound()
    );
    Figure::new("speedup", title)
        .subtitle(format!(
            "f = {}, p = {}, {} fetches at a time. Dashed: theory, the time to fill included; of the hybrid its bound, of async only the middle of what it leaves open",
            p.fetch, p.cost, p.concurrency
        ))
        .desc("Bars of the speed-up of each strategy over one after another: async only, threads only, the hybrid, which is the fastest, and the hybrid with work that sleeps.")
        .bars(
            Axis::linear("speed-up over one after another, measured in the same run", Unit::Factor),
            std::iter::once(awake).chain(asleep),
        )
}

/// Speed-ups at every ratio.
fn ratios(view: &View) -> Table {
    let gain = |arm, r: &f64| view.at(arm, *r)?.gain();
    let says = |arm, r: &f64| view.at(arm, *r).map_or("–".into(), |b| b.says());
    let ratios = view.every(Arm::Sequential).into_iter().map(|b| b.ratio);
    let mut table = Table::of("Speed-up at every ratio", ratios)
        .column("p/f", |r| number(*r))
        .column("p", |r| seconds(r * view.p.fetch.s()));
    for arm in Arm::FASTER {
        table =
            table.cells(arm.name(), factor, |r| gain(arm, r)).column("theory", |r| says(arm, r));
    }
    table
        .cells("share of the bound", percent, |r| view.at(Arm::Hybrid, *r)?.efficiency())
        .note("Each strategy with as many items as fit into its time, filling included. Theory leaves open whether the answers of a wave come together (async only), and how long a loop waits for a processor (hybrid); the bound of the hybrid is the upper end.")
}

/// An example to work out, ten fetches at a time; times in seconds.
struct Example {
    items: usize,
    fetch: f64,
    process: f64,
    /// So long they are said to take together.
    minutes: f64,
}

const EXAMPLE: Example = Example { items: 1000, fetch: 0.1, process: 2.0, minutes: 5.0 };

impl Example {
    /// Seconds one after another.
    fn sequential(&self) -> f64 {
        self.items as f64 * (self.fetch + self.process)
    }

    /// Seconds on so many processors, by simulation.
    fn on(&self, processors: usize) -> f64 {
        let constant = |s: f64| ServiceTime::Constant(Duration::from_secs_f64(s));
        let stages = [
            Station::new(10, constant(self.fetch)),
            Station::new(processors, constant(self.process)).behind(processors),
        ];
        simulate(&stages, self.items, 1).map_or(f64::NAN, |run| run.makespan)
    }

    fn gain(&self, processors: usize) -> f64 {
        self.sequential() / self.on(processors)
    }

    /// Busy processors without which they do not end in those minutes.
    fn needed(&self) -> f64 {
        self.items as f64 * self.process / (self.minutes * 60.0)
    }
}

fn example_table() -> Table {
    let minutes = |s: f64| number(s / 60.0);
    let title = "Simulated, not measured: 1000 items of 0.1 s and 2 s, ten fetches at a time";
    Table::of(title, [1, 2, 4, 6, 7, 8, 16])
        .column("busy processors", |n| n.to_string())
        .column("time", |n| format!("{} min", minutes(EXAMPLE.on(*n))))
        .column("speed-up", |n| factor(EXAMPLE.gain(*n)))
        .note(format!(
            "One after another {} min. To end in {} min they need {} busy processors.",
            minutes(EXAMPLE.sequential()),
            number(EXAMPLE.minutes),
            number(EXAMPLE.needed())
        ))
}

/// The speed-ups over p/f.
fn sweep(view: &View) -> Figure {
    let (p, theory) = (view.p, view.theory);
    let ratios = view.every(Arm::Sequential).into_iter().map(|b| b.ratio);
    let ratios: Vec<f64> = ratios.collect();
    // They ascend.
    let ends = ratios.first().copied().zip(ratios.last().copied());
    let ends = ends.filter(|(from, to)| from < to);
    let drawn = ends.map_or(String::new(), |_| {
        format!(
            ". Dashed: theory; band: what it leaves open. Shaded, by theory of a long run: a strategy will do where the hybrid is less than {:.0} % faster",
            100.0 * (NEARLY - 1.0)
        )
    });
    let lines = Arm::FASTER.into_iter().flat_map(|arm| {
        let places = view.every(arm);
        let measured = places.iter().filter_map(|b| Some((b.ratio, b.gain()?.value)));
        let measured = Line::measured(arm.name(), arm.colour(), measured.collect());
        between(theory, &places).into_iter().chain([measured])
    });
    Figure::new("sweep", lead(view))
        .subtitle(format!(
            "f = {}, {} fetches at a time, {}{drawn}",
            p.fetch,
            p.concurrency,
            threads(p.workers)
        ))
        .desc("Speed-up of three strategies over the ratio of processing to fetching: async only falls from the number of fetches at a time towards one, threads only stays at the number of threads, the hybrid is above both in between.")
        .over(Axis::log("p/f, log scale", Unit::Number).with_ticks(ratios), [
            Panel::new("Speed-up", Axis::log("", Unit::Factor))
                .note("over one after another, measured in the same run")
                .layers(ends.into_iter().flat_map(|ends| regions(theory, ends)))
                .layers(lines)
                .layer(Layer::rule(1.0, "one after another"))
                .height(1.6),
        ])
}

/// Theory from the first of these places to the last: that of a long run, bent to what it says at each
/// place, where few items take longer to fill the pipeline.
fn between(theory: &Theory, places: &[Beside]) -> Option<Line> {
    let (first, last) = (places.first()?, places.last()?);
    let filling = |b: &Beside| b.predicted().0 / theory.long_run(b.arm, b.ratio).0;
    let bend = |ratio: f64| {
        let at = places.partition_point(|b| b.ratio < ratio).min(places.len() - 1);
        let (left, right) = (&places[at.saturating_sub(1)], &places[at]);
        let width = (right.ratio / left.ratio).ln();
        let share = if width > 0.0 { (ratio / left.ratio).ln() / width } else { 0.0 };
        filling(left) + share.clamp(0.0, 1.0) * (filling(right) - filling(left))
    };
    let says = grid(first.ratio, last.ratio).map(|ratio| {
        let (middle, open) = theory.long_run(first.arm, ratio);
        (ratio, middle * bend(ratio), open * bend(ratio))
    });
    let says: Vec<(f64, f64, f64)> = says.collect();
    let line = says.iter().map(|(ratio, middle, _)| (*ratio, *middle));
    let band = says.iter().map(|(ratio, middle, open)| (*ratio, middle - open, middle + open));
    let line = Line::theory("", Colour::Muted, line.collect());
    (places.len() > 1).then(|| line.with_band(band.collect()))
}

/// Which strategy will do where, by theory.
fn regions(theory: &Theory, (from, to): (f64, f64)) -> impl Iterator<Item = Layer> {
    let (simple, threads) = theory.borders(from, to);
    let (left, right) = (simple.unwrap_or(from), threads.unwrap_or(to));
    let regions = [
        ((from, left.min(right)), "async will do", Colour::Sky),
        ((left, right), "hybrid wins", Colour::Green),
        ((right.max(left), to), "threads will do", Colour::Orange),
    ];
    let shown = regions.into_iter().filter(|(x, ..)| x.0 < x.1);
    shown.map(|(x, label, colour)| Layer::region(x, label, colour))
}

/// Where the hybrid was farthest ahead of the better of the two others, as measured.
fn lead(view: &View) -> String {
    let at = |b: &Beside| {
        let gain = |arm| Some(view.at(arm, b.ratio)?.gain()?.value);
        let gains = (gain(Arm::Hybrid)?, gain(Arm::Async)?, gain(Arm::Threads)?);
        let (hybrid, simple, threads) = gains;
        Some((hybrid / simple.max(threads), b.ratio, gains))
    };
    let all = view.every(Arm::Sequential);
    let most = all.iter().filter_map(at).max_by(|a, b| a.0.total_cmp(&b.0));
    match most {
        None => "Speed-up over one after another".into(),
        Some((lead, ..)) if lead <= 1.0 => {
            "At no ratio is the hybrid faster than the better of the two others".into()
        }
        Some((_, ratio, (hybrid, simple, threads))) => format!(
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
    let minutes = EXAMPLE.minutes;
    let claimed = EXAMPLE.sequential() / (minutes * 60.0);
    let simulated = (1..=16).map(|n| (n as f64, EXAMPLE.gain(n)));
    let x = |b: &Beside| b.pool.threads as f64;
    let arms = [Arm::Threads, Arm::Hybrid].map(|arm| {
        let mut pools: Vec<Beside> = view.narrow(arm).into_iter().chain(view.main(arm)).collect();
        pools.sort_by_key(|b| b.pool.threads);
        (arm, pools)
    });
    let threads = arms.iter().flat_map(|(_, pools)| pools).map(x);
    let widest = threads.fold(16.0, f64::max);
    let ticks = std::iter::successors(Some(1.0), |n| Some(2.0 * n));
    let ticks: Vec<f64> = ticks.take_while(|n| *n <= widest).collect();
    let lines = arms.iter().flat_map(|(arm, pools)| {
        let expected = pools.iter().map(|b| (x(b), b.drawn()));
        let measured = pools.iter().filter_map(|b| Some((x(b), b.gain()?.value)));
        [
            Line::theory("", Colour::Muted, expected.collect()),
            Line::measured(arm.name(), arm.colour(), measured.collect()),
        ]
    });
    let title = format!(
        "{} takes {} busy processors; four give {} at most",
        factor(claimed),
        number(EXAMPLE.needed()),
        factor(EXAMPLE.gain(4))
    );
    Figure::new("processors", title)
        .subtitle("Above: measured on this machine. Below: a larger example, simulated in virtual time")
        .desc("Two panels over the number of threads that compute: measured speed-ups of threads only and the hybrid, and the simulated speed-up of an example, which reaches seven at seven processors.")
        .over(Axis::log("threads that compute, log scale", Unit::Number).with_ticks(ticks), [
            Panel::new("Speed-up, measured", Unit::Factor)
                .note(format!("f = {}, p = {}; dashed: theory", view.p.fetch, view.p.cost))
                .layers(lines),
            Panel::new("Speed-up, simulated", Unit::Factor)
                .note(format!("1000 items of 0.1 s and {} s of computing, ten fetches at a time, a processor for each thread", number(EXAMPLE.process)))
                .layer(Layer::rule(claimed, format!("35 min in {} min", number(minutes))))
                .layer(Line::simulated("simulated", Colour::Purple, simulated.collect())),
        ])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_example_needs_seven_processors() {
        let gain = |processors| EXAMPLE.gain(processors);
        assert!((gain(4) - 4.2).abs() < 0.01, "{}", gain(4));
        assert!(gain(6) < 7.0 && gain(7) > 7.0);
        // The simulator and the formula agree where both apply: no queue is ever full for long.
        for processors in 1..=16 {
            let stages = [(EXAMPLE.fetch, 10), (EXAMPLE.process, processors)];
            let exact = Pipeline::new(&stages).makespan(EXAMPLE.items);
            assert!((EXAMPLE.on(processors) / exact - 1.0).abs() < 1e-6);
        }
    }
}
