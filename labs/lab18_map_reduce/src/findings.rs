//! Theory beside measurement for lab18.

use lab_kit::prelude::*;

use super::{
    Params,
    dataflow::Way,
    gauges,
    model::Cluster,
    plan::PAIR,
    ray,
    theory::{Arm, TWO, Theory, arm, pair, processes},
};

use Disturbed::{Either, Longer};
use Resource::Processors;

/// How close a time must be to its theory, as a share of it.
const CLOSE: Within = Within::Share(0.1);
const WHY_CLOSE: &str = "10 %: the costs are those of a process that has caches and memory for itself, and the slowest of n decides";
/// How close an amount of bytes must be, as a share of it.
const EXACT: f64 = 0.01;
/// Standard deviations that chance may put between a text and its law.
const CHANCE: f64 = 4.0;
const WHY_EXACT: &str = "1 % for the heads of the messages and the lengths of the words, and four standard deviations of how many words and different words chance has drawn for another process";
/// How far a crossover may lie from its theory: within this factor.
const FACTOR: f64 = 1.5;
/// Hosts of the simulated cluster.
const HOSTS: [usize; 10] = [1, 2, 5, 10, 20, 50, 100, 200, 500, 1000];

pub(super) fn explain(p: &Params, summary: &Summary) -> Findings {
    let theory = Theory::of(p, summary);
    let view = View::of(p, summary, theory.as_ref());
    let killed = summary.only("killed");
    let figures = [view.split(), view.sizes(), view.numbers()];
    let tables = [
        Some(view.arms()),
        view.theory.map(Theory::costs_table),
        killed.map(|k| killed_table(&k)),
        ray::table(summary),
    ];
    Findings {
        headline: view.headline(),
        figures: figures.into_iter().chain(view.theory.map(Theory::cluster)).collect(),
        tables: tables.into_iter().flatten().collect(),
        claims: view.claims(),
        answers: view.answers(),
    }
}

/// What a job takes, with the start of its processes if they must be started first.
fn takes(t: &Trial, started: bool) -> Option<f64> {
    let start = match started {
        true => t.gauge(gauges::START_S)?,
        false => 0.0,
    };
    Some(t.wall_s + start)
}

fn name(k: &Condition) -> String {
    match k.series() {
        "text" => "sent the text".into(),
        "text/network" => "sent the text, network".into(),
        "path/network" => "sent the path, network".into(),
        way => format!("{way}, {}", processes(k.x() as usize)),
    }
}

fn threads(n: usize) -> String {
    format!("{n} thread{}", if n == 1 { "" } else { "s" })
}

fn megabytes(bytes: f64) -> String {
    match bytes.abs() {
        b if !b.is_finite() => "–".into(),
        b if b < 1e6 => format!("{} KB", number(bytes / 1e3)),
        b if b < 1e9 => format!("{} MB", number(bytes / 1e6)),
        _ => format!("{} GB", number(bytes / 1e9)),
    }
}

fn times(factor: f64) -> String {
    format!("{}×", number(factor))
}

fn nanoseconds(s: f64) -> String {
    match s.is_finite() {
        true => format!("{} ns", number(s * 1e9)),
        false => "–".into(),
    }
}

/// The size at which a line through measured delays crosses zero: between the two sizes where the sign
/// changes, or beyond the last two.
fn crossing(late: &[(f64, Estimate)]) -> Option<Estimate> {
    let last = late.iter().rposition(|(_, d)| d.value > 0.0)?;
    let ((from, a), (to, b)) = match late.get(last + 1) {
        Some(next) => (late[last], *next),
        None => (*late.get(last.checked_sub(1)?)?, late[last]),
    };
    let falls = b.value < a.value && a.value > 0.0;
    // from + (to − from)·a/(a − b), with the interval that those of a and b give it.
    let share = b.over(a).scaled(-1.0).shifted(1.0);
    falls.then(|| Estimate::exact(to - from).over(share).shifted(from))
}

/// The record beside its theory, and what is looked at in it.
struct View<'a> {
    p: &'a Params,
    summary: &'a Summary<'a>,
    theory: Option<&'a Theory<'a>>,
    wall: Quantity<'a>,
    /// How many times faster than one thread, in the same round.
    gain: Quantity<'a>,
}

impl<'a> View<'a> {
    fn of(p: &'a Params, summary: &'a Summary<'a>, theory: Option<&'a Theory<'a>>) -> View<'a> {
        let one = summary.at("one thread", p.bytes.f());
        let faster = |one: &Trial, it: &Trial| (it.wall_s > 0.0).then(|| one.wall_s / it.wall_s);
        // What theory needs may be missing: it then says nothing, and the claim cannot be decided.
        let nothing = || Some(f64::NAN.into());
        View {
            p,
            summary,
            theory,
            wall: Quantity::new("s", seconds, |k| k.wall_s())
                .theory(move |k| {
                    let arm = Arm::predicted(k)?;
                    theory.and_then(|t| t.time(arm, t.bytes)).or_else(nothing)
                })
                .within(CLOSE, WHY_CLOSE)
                .disturbed(Longer(Processors)),
            gain: Quantity::new("times", times, move |k| one?.paired(k, faster))
                .theory(move |k| theory?.gain(Arm::of(k)?)),
        }
    }

    fn arm(&self, way: Way, n: usize) -> Option<Condition<'a>> {
        arm(self.summary, way, n)
    }

    /// Every number of processes but one.
    fn several(&self, way: Way) -> Vec<Condition<'a>> {
        let mut all = self.summary.series(&way.to_string());
        all.retain(|k| Arm::predicted(k).is_some());
        all
    }

    /// How many times faster than one thread, as it is written.
    fn faster(&self, k: Option<Condition>) -> String {
        k.map_or("–".into(), |k| self.gain.cell(&k))
    }

    /// How many times fewer bytes two processes send when they combine.
    fn fewer_bytes(&self) -> Option<Estimate> {
        let (raw, combined) = (self.arm(Way::Raw, PAIR)?, self.arm(Way::Combined, PAIR)?);
        raw.ratio(&combined, gauges::WIRE_BYTES)
    }

    /// One thread and two processes at every size that has both.
    fn one_and_two(&self) -> impl Iterator<Item = (f64, Condition<'a>, Condition<'a>)> {
        self.p.all_sizes().into_iter().filter_map(|size| {
            let one = self.summary.at("one thread", size.f())?;
            Some((size.f(), one, pair(self.p, self.summary, size)?))
        })
    }

    /// The size from which on two processes were faster than one thread: from how much longer they take at
    /// each size, in the same round.
    fn crossover(&self, started: bool) -> Option<Estimate> {
        let late = self.one_and_two().filter_map(|(size, one, two)| {
            let late = |one: &Trial, two: &Trial| Some(takes(two, started)? - one.wall_s);
            Some((size, one.paired(&two, late)?))
        });
        crossing(&late.collect::<Vec<_>>())
    }

    fn headline(&self) -> String {
        let size = |started| cell(self.crossover(started), megabytes);
        format!(
            "Two processes that read the file themselves are {} as fast as one thread; sent the text over a network, {}. Combining sends {} fewer bytes. From {} of text on two running processes are faster than one thread; from {} if they must be started first.",
            self.faster(self.arm(Way::Combined, PAIR)),
            self.faster(self.summary.only("text/network")),
            cell(self.fewer_bytes(), times),
            size(false),
            size(true),
        )
    }

    fn answers(&self) -> Vec<Answer> {
        let two = self.arm(Way::Combined, PAIR);
        let sent = |t: &Theory, way| t.sent(Arm::here(way, PAIR));
        let fewer = |t: &Theory| sent(t, Way::Raw) / sent(t, Way::Combined);
        let fewer = self.theory.map_or(f64::NAN, fewer);
        let size = self.theory.and_then(|t| t.crossover(true));
        let size = size.map_or(f64::NAN, |size| size.value);
        vec![
            self.gain.answer("pair", two.as_ref()),
            Answer::near("combining", self.fewer_bytes(), fewer),
            Answer::near("crossover", self.crossover(true), size).scaled(1e-6),
        ]
    }
}

/// The claims.
impl View<'_> {
    fn claims(&self) -> Vec<Claim> {
        let mut claims = vec![self.counts()];
        if let Some(t) = self.theory {
            claims.extend(t.bytes_claims());
            claims.extend(self.time_claims());
            // Where two nearly parallel lines cross is hard to tell: a tenth more of one time would move it
            // by half. So what is held against measurement is the decision, at every size that is not
            // within the factor of theory's crossover.
            claims.push(self.decided(t, false, "two running processes are faster than one thread above theory's size, and slower below (1.5 times away and more)"));
            claims.push(self.decided(t, true, "two processes that must be started first are faster above theory's size, and slower below (1.5 times away and more)"));
        }
        claims.push(self.beside_rayon());
        claims.extend(self.summary.only("killed").iter().flat_map(killed_claims));
        claims
    }

    fn counts(&self) -> Claim {
        let without_counts = ["loopback", "paper/raw", "paper/combined", "paper/text"];
        let all = self.summary.conditions();
        let all = all.filter(|k| !without_counts.contains(&k.series()));
        let wrong = all.map(|k| Case::exact(k.to_string(), 0.0, self.miscounted(&k)));
        Law::counted(
            "every arm counts the same: words, different words and each count",
            "trials with other counts",
        )
        .books()
        .near(wrong)
    }

    /// Trials of a condition whose counts are not right, or not those of one thread.
    fn miscounted(&self, k: &Condition) -> Option<Estimate> {
        let size = match k.series() {
            "one thread" | "pair" => k.x(),
            _ => self.p.bytes.f(),
        };
        let one = self.summary.at("one thread", size)?.trials().first()?;
        k.total(|t| {
            let same = |name: Gauge| t.gauge(name) == one.gauge(name);
            let right =
                t.gauge(gauges::WRONG)? == 0.0 && same(gauges::WORDS) && same(gauges::DISTINCT);
            Some(f64::from(u8::from(!right)))
        })
    }

    /// What n processes take, by what one takes for a byte and a pair.
    fn time_claims(&self) -> [Claim; 3] {
        let only = |series| self.summary.only(series);
        let mut combined = self.several(Way::Combined);
        combined.extend(only("path/network"));
        let texts = [only("text"), only("text/network")];
        [
            self.wall.near("with combined pairs on the wire, n processes take what one process's costs predict", name, &combined),
            self.wall.near("with a pair for every word on the wire, n processes take what one process's costs predict", name, &self.several(Way::Raw)),
            self.wall.near("sent the text, a process begins when its share was read, copied, sent and received for it", name, texts.iter().flatten()),
        ]
    }

    /// At every size, the time of what theory says is faster over the time of the other.
    fn decided(&self, t: &Theory, started: bool, text: &str) -> Claim {
        let at = t.crossover(started);
        let of = at.map_or(t.of, |at| at.origin());
        // What it is made of may be missing: theory then says nothing.
        let known = t.machine(TWO).is_some() && t.start(TWO).is_some();
        let even = Given::new(if known { 1.0 } else { f64::NAN }, of);
        let cases = self.one_and_two().filter_map(|(size, one, two)| {
            // Without a crossover the processes are slower at any size.
            let above = match at.map_or(0.0, |at| size / at.value) {
                far if far >= FACTOR => true,
                far if far <= 1.0 / FACTOR => false,
                _ => return None,
            };
            let ratio = one.paired(&two, |one, two| {
                let ratio = takes(two, started)? / one.wall_s;
                Some(if above { ratio } else { 1.0 / ratio })
            });
            let side = match above {
                true => "two beside one",
                false => "one beside two",
            };
            let name = format!("{}, {side}", megabytes(size));
            Some(Case::exact(name, even, ratio))
        });
        Law::new(text, "of the other's time", Either(Processors)).at_most(cases)
    }

    fn beside_rayon(&self) -> Claim {
        let n = self.p.threads;
        let at = |series| self.summary.at(series, n as f64);
        let times =
            |rayon: &Trial, it: &Trial| (rayon.wall_s > 0.0).then(|| it.wall_s / rayon.wall_s);
        let pair = at("rayon").zip(at("threads"));
        let times = pair.and_then(|(rayon, it)| rayon.paired(&it, times));
        Law::new(
            "a dataflow in one process takes at most 1.3 times as long as rayon on as many threads",
            "times rayon's",
            Either(Processors),
        )
        .goal()
        .at_most([Case::exact(threads(n), 1.3, times)])
    }
}

fn killed_claims(k: &Condition) -> [Claim; 2] {
    let every = |name: Gauge| k.every(|t| t.gauge(name));
    let (broken, failed) = (every(gauges::BROKEN_OUTPUTS), every(gauges::OTHERS_FAILED));
    [
        Law::counted(
            "when a process is killed the output is whole or absent",
            "broken outputs a trial",
        )
        .near([Case::exact("", 0.0, broken)]),
        Law::counted(
            "when a process is killed the others end with an error: fail-stop",
            "processes a trial",
        )
        .near([Case::exact("", (PAIR - 1) as f64, failed)]),
    ]
}

impl Theory<'_> {
    /// What is made and what crosses the wire, from the law of the text alone.
    fn bytes_claims(&self) -> [Claim; 2] {
        let measured = |of: Arm, gauge: Gauge| {
            let k = arm(self.summary, of.way, of.n)?;
            k.every(|trial| trial.gauge(gauge))
        };
        let case = |name: String, arm: Arm, predicted: f64, gauge: Gauge| {
            let share = EXACT + CHANCE * self.chance(arm);
            Case::share(name, predicted, measured(arm, gauge), share)
        };
        let several = |way| self.numbers().map(move |n| Arm::here(way, n));
        let pairs = several(Way::Combined).map(|arm| {
            let made = arm.n as f64 * self.costs.pairs(arm.way, self.bytes, arm.n);
            case(processes(arm.n), arm, made, gauges::PAIRS)
        });
        let arms = several(Way::Combined).chain(several(Way::Raw));
        let arms = arms.chain([Arm::here(Way::Text, PAIR)]);
        let bytes = arms.map(|arm| case(arm.to_string(), arm, self.sent(arm), gauges::WIRE_BYTES));
        let alone = [Way::Combined, Way::Raw].map(|way| {
            let arm = Arm::here(way, 1);
            Case::exact(arm.to_string(), 0.0, measured(arm, gauges::WIRE_BYTES))
        });
        [
            Law::counted("a share of the text has as many different words as Zipf's law says: that is what combining leaves", "pairs")
                .within(WHY_EXACT)
                .near(pairs),
            Law::counted("the bytes on the wire are those of the pairs whose owner is another process, and of the text where it is sent", "bytes")
                .within(WHY_EXACT)
                .near(bytes.chain(alone)),
        ]
    }
}

/// The tables.
impl View<'_> {
    /// Every arm at the full size of the text.
    fn arms(&self) -> Table {
        let (p, s) = (self.p, self.summary);
        let plain = [
            ("one thread".into(), s.at("one thread", p.bytes.f())),
            (format!("rayon, {} threads", p.threads), s.only("rayon")),
            (
                format!("dataflow, 1 process, {} workers", p.threads),
                s.at("threads", p.threads as f64),
            ),
        ];
        let plain = plain.into_iter().filter_map(|(name, k)| Some((name, k?)));
        let arms = ["combined", "raw", "text", "text/network", "path/network"];
        let arms = arms.iter().flat_map(|series| s.series(series));
        let rows = plain.chain(arms.map(|k| (name(&k), k)));
        let told = |k: &Condition| Arm::predicted(k).is_some();
        Table::of(format!("Counting the words of {} of text", p.bytes), rows)
            .column("arm", |(name, _)| name.clone())
            .column("time", |(_, k)| self.wall.cell(k))
            .column("theory", |(_, k)| self.wall.theory_cell(k))
            .column("speed-up", |(_, k)| self.gain.cell(k))
            .column("theory", |(_, k)| if told(k) { self.gain.theory_cell(k) } else { "–".into() })
            .cells("sent", megabytes, |(_, k)| k.gauge(gauges::WIRE_BYTES))
            .cells("start-up", seconds, |(_, k)| k.gauge(gauges::START_S))
            .cells("to connect", seconds, |(_, k)| k.gauge(gauges::CONNECT_S))
            .note(format!(
                "The clock is the same in every arm: the text is in a file that the system holds in memory; processes, threads and connections are there; from the order until the counts are complete. Sent the text or the path: {}, on this machine, and on a wire of {} a second.",
                processes(PAIR),
                p.network
            ))
    }
}

impl Theory<'_> {
    /// What theory was calibrated with.
    fn costs_table(&self) -> Table {
        const NONE: f64 = f64::NAN;
        let c = &self.costs;
        let (raw, combined, loopback) = (&c.raw, &c.combined, c.loopback);
        let rows = [
            ("read", c.read, NONE, NONE),
            ("read, split and count", c.map, NONE, NONE),
            ("make pairs", NONE, raw.pack, combined.pack),
            ("serialize", NONE, raw.serialize, combined.serialize),
            ("free what is written", NONE, raw.discard, combined.discard),
            ("loopback", loopback, loopback * raw.bytes, loopback * combined.bytes),
            ("as one message, from memory to memory", c.text.message, NONE, NONE),
            ("deserialize", c.text.deserialize, raw.deserialize, combined.deserialize),
            ("add up", NONE, raw.reduce, combined.reduce),
        ];
        Table::of("Measured with one process: the parameters of theory", rows)
            .column("what", |row| row.0.to_string())
            .column("a byte of text", |row| nanoseconds(row.1))
            .column("a word, raw", |row| nanoseconds(row.2))
            .column("a pair, combined", |row| nanoseconds(row.3))
            .note(self.costs_note())
    }

    /// What a pair has on the wire, what threads are worth, and what Amdahl's law allows.
    fn costs_note(&self) -> String {
        let worth = self.numbers().filter_map(|n| {
            let worth = number(n as f64 / self.slower(n)?.value);
            Some(format!(" {n} threads of one process read and count as fast as {worth} alone."))
        });
        let amdahl = self.machine(TWO).map(|(on, _)| {
            let (share, most) = self.costs.amdahl(TWO.way, self.bytes, &on);
            format!(
                " {} of the work can be shared out: by Amdahl's law {} at most, were the rest to stay as it is with two processes.",
                percent(share),
                times(most)
            )
        });
        format!(
            "A pair has {} bytes on the wire, one of a word that is sent each time {}.{}{}",
            number(self.costs.combined.bytes),
            number(self.costs.raw.bytes),
            worth.collect::<String>(),
            amdahl.unwrap_or_default()
        )
    }
}

fn killed_table(k: &Condition) -> Table {
    let output = |t: &Trial| {
        let is = |name: Gauge| t.gauge(name).is_some_and(|is| is > 0.5);
        match (is(gauges::ABSENT), is(gauges::BROKEN_OUTPUTS)) {
            (true, _) => "absent",
            (_, true) => "broken",
            _ => "whole",
        }
    };
    let stopped = |t: &Trial| t.gauge(gauges::STOPPED_S).map_or("–".into(), seconds);
    let title = "One of two processes is killed in mid-job, and the job runs again";
    Table::of(title, k.trials().iter().enumerate())
        .column("kill", |(i, _)| (i + 1).to_string())
        .column("the other has ended after", |(_, t)| stopped(t))
        .column("output then", |(_, t)| output(t).into())
        .column("second run, with its start", |(_, t)| seconds(t.wall_s))
        .note("The output is written to another name, flushed to the disk and renamed: it is there as a whole or not at all.")
}

/// What a worker does in a job, one thing after another.
fn bars(k: &Condition) -> Vec<Bar> {
    use gauges::{DESERIALIZE_S, MAP_S, PACK_S, READ_S, REDUCE_S, SERIALIZE_S};
    let sum = |names: &[Gauge]| {
        let all = names.iter().map(|name| Some(k.gauge(*name)?.value));
        all.sum::<Option<f64>>().unwrap_or(0.0)
    };
    let work = [
        ("map", sum(&[READ_S, MAP_S, PACK_S]), Colour::Blue),
        ("serialize", sum(&[SERIALIZE_S]), Colour::Orange),
        ("deserialize", sum(&[DESERIALIZE_S]), Colour::Vermilion),
        ("reduce", sum(&[REDUCE_S]), Colour::Green),
    ];
    let known: f64 = work.iter().map(|(_, length, _)| length).sum();
    let rest = k.wall_s().map_or(0.0, |e| e.value - known);
    let waiting = "wire and waiting";
    let all = work.into_iter().chain([(waiting, rest, Colour::Muted)]);
    let mut at = 0.0;
    let bar = |(label, length, colour): (&str, f64, Colour)| {
        let start = at;
        at += length;
        Bar { start, end: at, label: label.into(), colour, waiting: label == waiting }
    };
    all.filter(|(_, length, _)| *length > 0.0).map(bar).collect()
}

/// The charts.
impl View<'_> {
    /// Where the time goes, arm by arm.
    fn split(&self) -> Figure {
        let end_by_theory = |k: &Condition| {
            let end = self.wall.predicted(k)?.value;
            end.is_finite().then_some(end)
        };
        let group = |k: Condition| Group {
            title: name(&k),
            note: format!("{} sent", cell(k.gauge(gauges::WIRE_BYTES), megabytes)),
            lanes: vec![Lane { label: "a worker".into(), colour: Colour::Ink, bars: bars(&k) }],
            end: k.wall_s().map(|e| e.value),
            predicted_end: end_by_theory(&k),
        };
        let arms = [
            self.arm(Way::Combined, 1),
            self.arm(Way::Combined, PAIR),
            self.arm(Way::Raw, 1),
            self.arm(Way::Raw, PAIR),
            self.summary.only("text"),
            self.summary.only("text/network"),
        ];
        let title = format!(
            "Two processes are {} as fast as one thread if they combine, {} if they send every word",
            self.faster(self.arm(Way::Combined, PAIR)),
            self.faster(self.arm(Way::Raw, PAIR))
        );
        Figure::new("split", title)
            .subtitle(format!(
                "{} of text. What a worker does in a job, on average: map, serialize, deserialize, reduce, wire and waiting, in this order. Dashed: theory",
                self.p.bytes
            ))
            .desc("Bars of the time that a worker spends on mapping, serializing, deserializing, reducing and on waiting for the wire, for one and two processes that send combined pairs, every word, or the text.")
            .gantt(arms.into_iter().flatten().map(group))
    }

    /// Over the size of the text: one thread against two processes.
    fn sizes(&self) -> Figure {
        let (cold, warm) = (self.crossover(true), self.crossover(false));
        let (theory, widest) = self.sizes_by_theory();
        let sizes = self.p.all_sizes();
        let curve = |label: &str, colour, time: &dyn Fn(Size) -> Option<Estimate>| {
            let points = sizes.iter();
            let points = points.filter_map(|s| Some((s.f() / 1e6, time(*s)?.value)));
            Line::measured(label, colour, points.collect())
        };
        let two = |size, started| {
            let k = pair(self.p, self.summary, size)?;
            k.estimate(|t| takes(t, started))
        };
        let mark = |size: Option<Estimate>, label: &str, colour| {
            let size = size?.value;
            let drawn = size > 0.0 && size <= widest;
            let label = format!("{label}: {}", megabytes(size));
            drawn.then(|| Mark::at(size / 1e6, label, colour))
        };
        let marks =
            [mark(warm, "running", Colour::Green), mark(cold, "started", Colour::Vermilion)];
        let title = format!(
            "Two processes beat one thread from {} of text on, from {} with their start",
            cell(warm, megabytes),
            cell(cold, megabytes)
        );
        let one = |size: Size| self.summary.at("one thread", size.f())?.wall_s();
        Figure::new("crossover", title)
            .subtitle("Each reads its half of the file, combined pairs cross the wire. Dashed: theory, from one process's costs")
            .desc("Time over the size of the text, for one thread, for two running processes and for two that must be started first; the lines of the processes begin higher and are less steep.")
            .over(Axis::log("size of the text in MB, log scale", Unit::Number), [
                Panel::new("Time of a job", Axis::log("", Unit::Seconds))
                    .note("log scale")
                    .layers(theory)
                    .layer(curve("one thread", Colour::Ink, &one))
                    .layer(curve("two processes, running", Colour::Green, &|s| two(s, false)))
                    .layer(curve("with their start", Colour::Vermilion, &|s| two(s, true)))
                    .height(1.6),
            ])
            .marks(marks.into_iter().flatten())
    }

    /// What theory says of one thread, of two running processes and of two that are started, over the size in
    /// MB; and the largest size to draw, in bytes.
    fn sizes_by_theory(&self) -> (Vec<Line>, f64) {
        let whole = self.p.bytes.f();
        let Some(t) = self.theory else {
            return (Vec::new(), whole);
        };
        let widest =
            t.crossover(true).map_or(whole, |size| (2.0 * size.value).clamp(whole, 100.0 * whole));
        let from = self.p.all_sizes().first().map_or(widest, |s| s.f());
        let at = |i: i32| from * (widest / from).powf(f64::from(i) / 40.0);
        let line = |time: &dyn Fn(f64) -> Option<f64>| {
            let points = (0..=40).map(at);
            let points = points.filter_map(|bytes| Some((bytes / 1e6, time(bytes)?)));
            Line::theory("", Colour::Muted, points.collect())
        };
        let two = |bytes| Some(t.time(TWO, bytes)?.value);
        let lines = vec![
            line(&|bytes| Some(t.costs.alone(bytes))),
            line(&two),
            line(&|bytes| Some(t.start(TWO)?.value + two(bytes)?)),
        ];
        (lines, widest)
    }

    /// Over the number of processes: theory and measurement for either way.
    fn by_number(
        &self,
        theory: impl Fn(&Condition) -> Option<f64>,
        measured: impl Fn(&Condition) -> Option<f64>,
    ) -> Vec<Line> {
        let both = |(way, colour): (&str, Colour)| {
            let arms = self.summary.series(way);
            let points = |of: &dyn Fn(&Condition) -> Option<f64>| {
                let points = arms.iter().filter_map(|k| Some((k.x(), of(k)?)));
                points.collect()
            };
            [
                Line::theory("", Colour::Muted, points(&theory)),
                Line::measured(way, colour, points(&measured)),
            ]
        };
        [("combined", Colour::Green), ("raw", Colour::Vermilion)]
            .into_iter()
            .flat_map(both)
            .collect()
    }

    /// The speed-up over one thread, and what is sent, in MB.
    fn numbers(&self) -> Figure {
        let gain = |k: &Condition| Some(self.gain.measured(k)?.value);
        let gains = self.by_number(|k| Some(self.gain.predicted(k)?.value), gain);
        let sent = self.by_number(
            |k| {
                let (t, arm) = (self.theory?, Arm::predicted(k)?);
                Some(t.costs.sent(arm.way, t.bytes, arm.n) / 1e6)
            },
            |k| {
                Arm::predicted(k)?;
                Some(k.gauge(gauges::WIRE_BYTES)?.value / 1e6)
            },
        );
        let cores = self.summary.host().cores;
        let numbers = self.p.numbers(cores).into_iter();
        let ticks: Vec<f64> = numbers.map(|n| n as f64).collect();
        let most = self.several(Way::Combined).into_iter();
        let most = most.filter_map(|k| Some((k.x() as usize, gain(&k)?)));
        let most = most.max_by(|a, b| a.1.total_cmp(&b.1));
        let title = format!(
            "{} on {cores} processors: {}; two that send every word send {} the bytes",
            most.map_or("–".into(), |(n, _)| processes(n)),
            most.map_or("–".into(), |(_, gain)| times(gain)),
            cell(self.fewer_bytes(), times)
        );
        Figure::new("processes", title)
            .subtitle(format!(
                "{} of text on this machine's {cores} processors, each process with one worker. Dashed: theory",
                self.p.bytes
            ))
            .desc("Two panels over the number of processes: the speed-up over one thread, and the bytes sent, for combined pairs and for a pair of every word.")
            .over(Axis::log("processes, log scale", Unit::Number).with_ticks(ticks), [
                Panel::new("Speed-up", Unit::Factor)
                    .note("over one thread")
                    .layers(gains)
                    .layer(Layer::rule(1.0, "one thread")),
                Panel::new("Sent in a job", Axis::log("", Unit::Number))
                    .note("MB, log scale")
                    .layers(sent),
            ])
    }
}

impl Theory<'_> {
    /// The same costs on many hosts, simulated.
    fn cluster(&self) -> Figure {
        let p = self.p;
        let cluster = Cluster {
            costs: &self.costs,
            bytes: p.cluster_bytes.f(),
            bandwidth: p.network.f(),
            spread: p.spread,
            seed: self.summary.seed(),
        };
        let alone = self.costs.alone(cluster.bytes);
        let curve = |way: Way| HOSTS.map(|n| (n as f64, alone / cluster.run(way, n)));
        let (path, raw, text) = (curve(Way::Combined), curve(Way::Raw), curve(Way::Text));
        let last = |curve: &[(f64, f64)]| times(curve.last().map_or(f64::NAN, |(_, gain)| *gain));
        let title = format!(
            "Simulated: 1000 hosts are {} as fast as one thread if they have the text, {} if one of them sends it",
            last(&path),
            last(&text)
        );
        let ideal = HOSTS.map(|n| (n as f64, n as f64));
        Figure::new("cluster", title)
            .subtitle(format!(
                "{} of text, links of {} a second, this machine's costs. Not measured: simulated in virtual time",
                p.cluster_bytes, p.network
            ))
            .desc("Speed-up over the number of simulated hosts, from 1 to 1000: nearly proportional when every host has its share of the text and combines, less when every word is sent, and flat when one host sends the text to all.")
            .over(Axis::log("hosts, log scale", Unit::Number), [
                Panel::new("Speed-up over one thread, simulated", Axis::log("", Unit::Factor))
                    .note(format!(
                        "they run already, speeds differ by {:.0} %; dashed: n hosts, n times as fast",
                        100.0 * p.spread
                    ))
                    .layer(Line::theory("", Colour::Muted, ideal.into()))
                    .layer(Line::simulated("path, combined", Colour::Green, path.into()))
                    .layer(Line::simulated("path, every word", Colour::Vermilion, raw.into()))
                    .layer(Line::simulated("text", Colour::Purple, text.into()))
                    .height(1.6),
            ])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_crossing_lies_between_its_points_or_beyond_the_last() {
        let at = |late: &[(f64, f64)]| {
            let exact = late.iter().map(|(x, d)| (*x, Estimate::exact(*d)));
            crossing(&exact.collect::<Vec<_>>()).map(|e| e.value)
        };
        assert_eq!(at(&[(1.0, 4.0), (2.0, 2.0), (6.0, -2.0)]), Some(4.0));
        assert_eq!(at(&[(1.0, 4.0), (2.0, 2.0)]), Some(3.0));
        // Never late, ever later, nothing known.
        assert_eq!(at(&[(1.0, -4.0), (2.0, -5.0)]), None);
        assert_eq!(at(&[(1.0, 4.0), (2.0, 5.0)]), None);
        assert_eq!(at(&[(1.0, 4.0)]), None);
        assert_eq!(at(&[]), None);
    }
}
