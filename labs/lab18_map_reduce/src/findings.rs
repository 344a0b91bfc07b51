//! Theory beside measurement for lab18.

use lab_kit::prelude::*;

use super::{
    Params,
    dataflow::Way,
    gauges,
    model::{Cluster, Costs, Machine, Pair, Parts, Text},
    plan::PAIR,
    ray,
};

/// How close a time must be to its theory, as a share of it.
const CLOSE: f64 = 0.1;
const WHY_CLOSE: &str = "10 %: the costs are those of a process that has caches and memory for itself, and the slowest of n decides";
/// How close an amount of bytes must be, as a share of it.
const EXACT: f64 = 0.01;
/// Standard deviations that chance may put between a text and its law.
const CHANCE: f64 = 4.0;
const WHY_EXACT: &str = "1 % for the heads of the messages and the lengths of the words, and four standard deviations of how many words and different words chance has drawn for another process";
/// Hosts of the simulated cluster.
const HOSTS: [usize; 10] = [1, 2, 5, 10, 20, 50, 100, 200, 500, 1000];

const WAYS: [Way; 2] = [Way::Combined, Way::Raw];

/// What a byte and a pair cost one process, and what that predicts for several.
struct Theory<'a> {
    p: &'a Params,
    summary: &'a Summary<'a>,
    bytes: f64,
    costs: Costs,
    /// What the costs were measured in.
    of: Origin,
}

/// Seconds each worker of a condition reads and counts.
fn counting(k: &Condition) -> Option<Estimate> {
    k.estimate(|t| Some(t.gauge(gauges::READ_S)? + t.gauge(gauges::MAP_S)?))
}

impl<'a> Theory<'a> {
    /// Nothing without its parameters: an interrupted run may lack them.
    fn of(p: &'a Params, summary: &'a Summary<'a>) -> Option<Theory<'a>> {
        let gauge = |k: &Condition, name: Gauge| Some(k.gauge(name)?.value);
        let bytes = p.bytes.f();
        let alone = |way: Way| summary.at(&way.to_string(), 1.0);
        let paper = |way: Way| summary.only(&format!("paper/{way}"));
        let pair = |way: Way| {
            let (paper, alone) = (paper(way)?, alone(way)?);
            let made = gauge(&alone, gauges::PAIRS)?;
            Some(Pair {
                pack: gauge(&alone, gauges::PACK_S)? / made,
                reduce: gauge(&alone, gauges::REDUCE_S)? / made,
                serialize: gauge(&paper, gauges::SERIALIZE_S)? / gauge(&paper, gauges::PAIRS)?,
                discard: gauge(&paper, gauges::DISCARD_S)? / gauge(&paper, gauges::PAIRS)?,
                deserialize: gauge(&paper, gauges::DESERIALIZE_S)? / gauge(&paper, gauges::PAIRS)?,
                bytes: gauge(&paper, gauges::BYTES)? / gauge(&paper, gauges::PAIRS)?,
            })
        };
        let (one, text) = (alone(Way::Combined)?, paper(Way::Text)?);
        let loopback = summary.only("loopback")?;
        let costs = Costs {
            words_per_byte: p.law().words(1.0),
            law: p.law(),
            read: gauge(&one, gauges::READ_S)? / bytes,
            map: counting(&one)?.value / bytes,
            raw: pair(Way::Raw)?,
            combined: pair(Way::Combined)?,
            text: Text {
                // An older record does not know it: theory says nothing of the arms that need it then.
                message: gauge(&loopback, gauges::MESSAGE_S_PER_BYTE).unwrap_or(f64::NAN),
                deserialize: gauge(&text, gauges::DESERIALIZE_S)? / bytes,
            },
            loopback: gauge(&loopback, gauges::S_PER_BYTE)?,
        };
        let others = [Way::Raw, Way::Combined].map(|way| [alone(way), paper(way)]);
        let others = others.as_flattened().iter().flatten();
        let of = others.fold(text.origin().and(loopback.origin()), |of, k| {
            of.and(k.origin())
        });
        Some(Theory {
            p,
            summary,
            bytes,
            costs,
            of,
        })
    }

    /// The condition that lends an arm of n processes what does not depend on what they send: the time of
    /// an empty job, and of starting them. It is never the arm itself.
    fn lender(&self, way: Way, n: usize) -> Option<Condition<'a>> {
        let other = match way {
            Way::Raw => Way::Combined,
            Way::Combined | Way::Text => Way::Raw,
        };
        self.summary.at(&other.to_string(), n as f64)
    }

    /// What starting n processes takes, for an arm of this way.
    fn start(&self, way: Way, n: usize) -> Option<Given> {
        self.lender(way, n)?.gauge(gauges::START_S).map(Given::from)
    }

    /// How many times slower each of n threads of one process reads and counts than one alone.
    fn slower(&self, n: usize) -> Option<Given> {
        if n == 1 {
            return Some(1.0.into());
        }
        let each = counting(&self.summary.at("threads", n as f64)?)?;
        let alone = self.costs.map * self.bytes;
        Some((n as f64 * Given::from(each) / alone).and(self.of))
    }

    /// This machine with n processes on it that send in this way, and what it was taken from.
    fn machine(&self, way: Way, n: usize) -> Option<(Machine, Origin)> {
        let slower = self.slower(n)?;
        let empty = Given::from(self.lender(way, n)?.gauge(gauges::EMPTY_S)?);
        let cores = self.summary.calibrated(|host| host.cores as f64);
        let machine = Machine {
            cores: cores.value as usize,
            slower: slower.value,
            empty: empty.value,
            bandwidth: None,
        };
        let of = slower.origin().and(empty.origin()).and(cores.origin());
        Some((machine, of.and(self.of)))
    }

    /// Bytes that n processes send each other, from the flags alone: of every pair whose owner is another
    /// one, and of the text, where that is sent.
    fn sent(&self, way: Way, n: usize) -> f64 {
        let (law, away) = (self.p.law(), 1.0 - 1.0 / n as f64);
        let share = law.words(self.bytes) / n as f64;
        let (every, different) = law.word_bytes(share);
        let (pairs, word) = match way {
            Way::Raw => (share, every),
            Way::Combined | Way::Text => (law.distinct(share), different),
        };
        let text = if way == Way::Text { self.bytes } else { 0.0 };
        // A pair: eight bytes for the length of the word, the word, eight for its count.
        away * (text + n as f64 * pairs * (15.0 + word))
    }

    /// What n processes should take for so many bytes, and what that was made of.
    fn parts(&self, way: Way, n: usize, bytes: f64, network: bool) -> Option<(Parts, Origin)> {
        let (machine, of) = self.machine(way, n)?;
        let on = Machine {
            bandwidth: network.then_some(self.p.network.f()),
            ..machine
        };
        Some((self.costs.parts(way, bytes, n, &on), of))
    }

    /// The size from which on two processes are faster than one thread, once they run or if they must be
    /// started first; none when they never are.
    fn crossover(&self, started: bool) -> Option<Given> {
        let way = Way::Combined;
        let (machine, of) = self.machine(way, PAIR)?;
        let start = match started {
            true => self.start(way, PAIR)?,
            false => 0.0.into(),
        };
        let at = self.costs.crossover(PAIR, &machine, start.value)?;
        Some(Given::new(at, of.and(start.origin())))
    }
}

/// An arm beside its theory.
struct Arm<'a> {
    name: String,
    way: Way,
    n: usize,
    k: Condition<'a>,
    theory: Option<Parts>,
    /// What theory was made of.
    of: Origin,
}

impl<'a> Arm<'a> {
    fn wall(&self) -> Option<Estimate> {
        self.k.wall_s()
    }

    fn case(&self) -> Case {
        let sum = self.theory.map_or(f64::NAN, |theory| theory.sum());
        let predicted = Given::new(sum, self.of);
        Case::share(&self.name, predicted, self.wall(), CLOSE)
    }
}

fn threads(n: usize) -> String {
    format!("{n} thread{}", if n == 1 { "" } else { "s" })
}

fn processes(n: usize) -> String {
    format!("{n} process{}", if n == 1 { "" } else { "es" })
}

fn megabytes(bytes: f64) -> String {
    match bytes.abs() {
        b if !b.is_finite() => "–".into(),
        b if b < 1e6 => format!("{} KB", number(bytes / 1e3)),
        b if b < 1e9 => format!("{} MB", number(bytes / 1e6)),
        _ => format!("{} GB", number(bytes / 1e9)),
    }
}

fn times(e: Option<Estimate>) -> String {
    cell(e, |v| format!("{}×", number(v)))
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

/// How much longer than one thread two processes take at each size, from pairs of the same round.
fn late(p: &Params, summary: &Summary, start: bool) -> Vec<(f64, Estimate)> {
    let late = |size: Size| {
        let two = of_pair(p.bytes, summary, size)?;
        let late = summary
            .at("one thread", size.f())?
            .paired(&two, |one, two| {
                let start = if start {
                    two.gauge(gauges::START_S)?
                } else {
                    0.0
                };
                Some(two.wall_s + start - one.wall_s)
            });
        Some((size.f(), late?))
    };
    p.all_sizes().into_iter().filter_map(late).collect()
}

/// The size from which on two processes were faster than one thread.
fn crossover(p: &Params, summary: &Summary, start: bool) -> Option<Estimate> {
    crossing(&late(p, summary, start))
}

/// The record, its theory, and the arms that most figures are about.
struct View<'a> {
    p: &'a Params,
    summary: &'a Summary<'a>,
    theory: Option<Theory<'a>>,
}

impl<'a> View<'a> {
    fn arm(
        &self,
        name: String,
        way: Way,
        n: usize,
        k: Option<Condition<'a>>,
        network: bool,
    ) -> Option<Arm<'a>> {
        let theory = self.theory.as_ref();
        let parts = theory.and_then(|t| t.parts(way, n, self.p.bytes.f(), network));
        let (theory, of) = parts.unzip();
        Some(Arm {
            name,
            way,
            n,
            k: k?,
            theory: theory.filter(|parts| parts.sum().is_finite()),
            of: of.unwrap_or_default(),
        })
    }

    /// So many processes.
    fn with(&self, way: Way, n: usize) -> Option<Arm<'a>> {
        let name = format!("{way}, {}", processes(n));
        self.arm(
            name,
            way,
            n,
            self.summary.at(&way.to_string(), n as f64),
            false,
        )
    }

    /// Every number of processes but one, which theory is calibrated with.
    fn several(&self, way: Way) -> Vec<Arm<'a>> {
        let numbers = self.p.numbers().into_iter().filter(|n| *n > 1);
        numbers.filter_map(|n| self.with(way, n)).collect()
    }

    /// Two processes that are sent the text or the path, here and over a network.
    fn sent(&self) -> Vec<Arm<'a>> {
        let s = self.summary;
        let arms = [
            ("sent the text", Way::Text, s.only("text"), false),
            (
                "sent the path",
                Way::Combined,
                s.at("combined", PAIR as f64),
                false,
            ),
            (
                "sent the text, network",
                Way::Text,
                s.only("text/network"),
                true,
            ),
            (
                "sent the path, network",
                Way::Combined,
                s.only("path/network"),
                true,
            ),
        ];
        let arm =
            |(name, way, k, network): (&str, _, _, _)| self.arm(name.into(), way, PAIR, k, network);
        arms.into_iter().filter_map(arm).collect()
    }

    fn one(&self) -> Option<Condition<'a>> {
        self.summary.at("one thread", self.p.bytes.f())
    }

    /// How many times faster than one thread, in the same round.
    fn gain(&self, k: Option<Condition>) -> Option<Estimate> {
        let gain = |one: &Trial, it: &Trial| (it.wall_s > 0.0).then(|| one.wall_s / it.wall_s);
        self.one()?.paired(&k?, gain)
    }

    /// The same by theory.
    fn predicted_gain(&self, parts: Option<Parts>) -> Option<f64> {
        let t = self.theory.as_ref()?;
        Some(t.costs.alone(t.bytes) / parts?.sum())
    }
}

pub(super) fn explain(p: &Params, summary: &Summary) -> Findings {
    let view = &View {
        p,
        summary,
        theory: Theory::of(p, summary),
    };
    let theory = view.theory.as_ref();
    let mut tables = vec![arms_table(view)];
    tables.extend(theory.map(costs_table));
    tables.extend(summary.only("killed").map(|k| killed_table(&k)));
    tables.extend(ray::table(summary));
    let mut figures = vec![split(view), sizes(view), numbers(view)];
    figures.extend(theory.map(cluster));
    Findings {
        headline: headline(view),
        figures,
        tables,
        claims: claims(view),
        answers: answers(view),
    }
}

fn headline(view: &View) -> String {
    let (p, summary) = (view.p, view.summary);
    let size = |start| cell(crossover(p, summary, start), megabytes);
    format!(
        "Two processes that read the file themselves are {} as fast as one thread; sent the text over a network, {}. Combining sends {} fewer bytes. From {} of text on two running processes are faster than one thread; from {} if they must be started first.",
        times(view.gain(summary.at("combined", PAIR as f64))),
        times(view.gain(summary.only("text/network"))),
        times(fewer_bytes(summary)),
        size(false),
        size(true),
    )
}

fn answers(view: &View) -> Vec<Answer> {
    let (p, summary, theory) = (view.p, view.summary, view.theory.as_ref());
    let pair = view.with(Way::Combined, PAIR);
    let gain = pair.and_then(|arm| view.predicted_gain(arm.theory));
    let sent = |way: Way| theory.map_or(f64::NAN, |t| t.sent(way, PAIR));
    let size = theory.and_then(|t| t.crossover(true));
    vec![
        Answer::near(
            "pair",
            view.gain(summary.at("combined", PAIR as f64)),
            gain.unwrap_or(f64::NAN),
        ),
        Answer::near(
            "combining",
            fewer_bytes(summary),
            sent(Way::Raw) / sent(Way::Combined),
        ),
        Answer::near(
            "crossover",
            crossover(p, summary, true),
            size.map_or(f64::NAN, |size| size.value),
        )
        .scaled(1e-6),
    ]
}

const TIMES: Disturbed = Disturbed::Longer(Resource::Processors);
const RATIOS: Disturbed = Disturbed::Either(Resource::Processors);

fn claims(view: &View) -> Vec<Claim> {
    let summary = view.summary;
    let alone = ["loopback", "paper/raw", "paper/combined", "paper/text"];
    let all = summary.conditions();
    let all = all.filter(|k| !alone.contains(&k.series()));
    let wrong = all.map(|k| Case::exact(k.to_string(), 0.0, miscounted(view, &k)));
    let mut claims = vec![
        Law::counted(
            "every arm counts the same: words, different words and each count",
            "trials with other counts",
        )
        .books()
        .near(wrong),
    ];
    if let Some(t) = &view.theory {
        claims.extend(bytes_claims(t));
        claims.extend(time_claims(view));
        claims.extend(crossover_claims(t));
    }
    claims.push(
        Law::new(
            "a dataflow in one process takes at most 1.3 times as long as rayon on as many threads",
            "times rayon's",
            RATIOS,
        )
        .goal()
        .at_most([Case::exact(
            threads(view.p.threads),
            1.3,
            beside_rayon(view),
        )]),
    );
    claims.extend(summary.only("killed").iter().flat_map(killed_claims));
    claims
}

/// Trials of a condition whose counts are not right, or not those of one thread.
fn miscounted(view: &View, k: &Condition) -> Option<Estimate> {
    let size = match k.series() {
        "one thread" | "pair" => k.x(),
        _ => view.p.bytes.f(),
    };
    let one = view.summary.at("one thread", size)?.trials().first()?;
    k.total(|t| {
        let same = |name: Gauge| t.gauge(name) == one.gauge(name);
        let right = t.gauge(gauges::WRONG)? == 0.0 && same(gauges::WORDS) && same(gauges::DISTINCT);
        Some(f64::from(u8::from(!right)))
    })
}

/// What n processes take, by what one takes for a byte and a pair.
fn time_claims(view: &View) -> [Claim; 3] {
    let law = |text: &str, arms: &mut dyn Iterator<Item = Arm>| {
        let law = Law::new(text, "s", TIMES).within(WHY_CLOSE);
        law.near(arms.map(|arm| arm.case()))
    };
    let sent = |way: Way| {
        // The path without a network is among those of several processes.
        let arms = view.sent().into_iter();
        arms.filter(move |arm| arm.way == way && arm.k.x() == 0.0)
    };
    let several = |way: Way| view.several(way).into_iter();
    [
        law(
            "with combined pairs on the wire, n processes take what one process's costs predict",
            &mut several(Way::Combined).chain(sent(Way::Combined)),
        ),
        law(
            "with a pair for every word on the wire, n processes take what one process's costs predict",
            &mut several(Way::Raw),
        ),
        law(
            "sent the text, a process begins when its share was read, copied, sent and received for it",
            &mut sent(Way::Text),
        ),
    ]
}

fn beside_rayon(view: &View) -> Option<Estimate> {
    let at = |series: &str| view.summary.at(series, view.p.threads as f64);
    let share = |rayon: &Trial, it: &Trial| (rayon.wall_s > 0.0).then(|| it.wall_s / rayon.wall_s);
    at("rayon")?.paired(&at("threads")?, share)
}

/// How many times fewer bytes two processes send when they combine.
fn fewer_bytes(summary: &Summary) -> Option<Estimate> {
    let at = |way: Way| summary.at(&way.to_string(), PAIR as f64);
    let sent = |t: &Trial| t.gauge(gauges::WIRE_BYTES).filter(|b| *b > 0.0);
    at(Way::Raw)?.paired(&at(Way::Combined)?, |raw, combined| {
        Some(sent(raw)? / sent(combined)?)
    })
}

fn killed_claims(k: &Condition) -> [Claim; 2] {
    let every = |name: Gauge| k.every(|t| t.gauge(name));
    [
        Law::counted(
            "when a process is killed the output is whole or absent",
            "broken outputs a trial",
        )
        .near([Case::exact("", 0.0, every(gauges::BROKEN_OUTPUTS))]),
        Law::counted(
            "when a process is killed the others end with an error: fail-stop",
            "processes a trial",
        )
        .near([Case::exact(
            "",
            (PAIR - 1) as f64,
            every(gauges::OTHERS_FAILED),
        )]),
    ]
}

/// What is made and what crosses the wire, from the law of the text alone.
fn bytes_claims(t: &Theory) -> [Claim; 2] {
    let numbers = || t.p.numbers().into_iter().filter(|n| *n > 1);
    let measured = |way: Way, n: usize, gauge: Gauge| {
        let k = match way {
            Way::Text => t.summary.only("text"),
            Way::Raw | Way::Combined => t.summary.at(&way.to_string(), n as f64),
        };
        k?.every(|trial| trial.gauge(gauge))
    };
    // What chance may do to the number of pairs that are made and sent, as a share of it.
    let chance = |way: Way, n: usize| {
        let law = t.p.law();
        let (all, share) = (law.words(t.bytes), law.words(t.bytes) / n as f64);
        CHANCE
            * match way {
                // Each word is read by its owner with probability 1/n, and not sent then.
                Way::Raw => 1.0 / (all * (n as f64 - 1.0)).sqrt(),
                Way::Combined | Way::Text => {
                    law.distinct_deviation(share) / (n as f64).sqrt() / law.distinct(share)
                }
            }
    };
    let pairs = numbers().map(|n| {
        let way = Way::Combined;
        let made = n as f64 * t.costs.pairs(way, t.bytes, n);
        let tolerance = EXACT + chance(way, n);
        Case::share(
            processes(n),
            made,
            measured(way, n, gauges::PAIRS),
            tolerance,
        )
    });
    let arms = WAYS
        .into_iter()
        .flat_map(|way| numbers().map(move |n| (way, n)));
    let alone = WAYS.map(|way| {
        let name = format!("{way}, {}", processes(1));
        Case::exact(name, 0.0, measured(way, 1, gauges::WIRE_BYTES))
    });
    let bytes = arms.chain([(Way::Text, PAIR)]).map(|(way, n)| {
        let name = format!("{way}, {}", processes(n));
        let tolerance = EXACT + chance(way, n);
        let measured = measured(way, n, gauges::WIRE_BYTES);
        Case::share(name, t.sent(way, n), measured, tolerance)
    });
    [
        Law::counted(
            "a share of the text has as many different words as Zipf's law says: that is what combining leaves",
            "pairs",
        )
        .within(WHY_EXACT)
        .near(pairs),
        Law::counted(
            "the bytes on the wire are those of the pairs whose owner is another process, and of the text where it is sent",
            "bytes",
        )
        .within(WHY_EXACT)
        .near(bytes.chain(alone)),
    ]
}

/// How far a crossover may lie from its theory: within this factor.
const FACTOR: f64 = 1.5;

/// Theory says from which size on the processes are faster. Its place is where two lines cross that
/// are nearly parallel: a tenth more of one time would move it by half. So what is held against
/// measurement is the decision, at every size that is not within the factor of theory's crossover.
fn crossover_claims(t: &Theory) -> [Claim; 2] {
    [
        decided(
            t,
            "two running processes are faster than one thread above theory's size, and slower below (1.5 times away and more)",
            false,
        ),
        decided(
            t,
            "two processes that must be started first are faster above theory's size, and slower below (1.5 times away and more)",
            true,
        ),
    ]
}

/// At every size, the time of what theory says is faster over the time of the other.
fn decided(t: &Theory, text: &str, start: bool) -> Claim {
    let at = t.crossover(start);
    // What it is made of may be missing: theory then says nothing.
    let known = t.machine(Way::Combined, PAIR).is_some() && t.start(Way::Combined, PAIR).is_some();
    let even = if known { 1.0 } else { f64::NAN };
    let cases = t.p.all_sizes().into_iter().filter_map(|size| {
        // Without a crossover the processes are slower at any size.
        let above = match at.map_or(0.0, |at| size.f() / at.value) {
            far if far >= FACTOR => true,
            far if far <= 1.0 / FACTOR => false,
            _ => return None,
        };
        let one = t.summary.at("one thread", size.f())?;
        let two = of_pair(t.p.bytes, t.summary, size)?;
        let ratio = one.paired(&two, |one, two| {
            let start = if start {
                two.gauge(gauges::START_S)?
            } else {
                0.0
            };
            let ratio = (two.wall_s + start) / one.wall_s;
            Some(if above { ratio } else { 1.0 / ratio })
        });
        let side = if above {
            "two beside one"
        } else {
            "one beside two"
        };
        let name = format!("{}, {side}", megabytes(size.f()));
        let of = at.map_or(t.of, |at| at.origin());
        Some(Case::exact(name, Given::new(even, of), ratio))
    });
    Law::new(text, "of the other's time", RATIOS).at_most(cases)
}

/// Two processes on a text of a size.
fn of_pair<'a>(whole: Size, summary: &Summary<'a>, size: Size) -> Option<Condition<'a>> {
    if size == whole {
        summary.at("combined", PAIR as f64)
    } else {
        summary.at("pair", size.f())
    }
}

/// Every arm at the full size of the text.
fn arms_table(view: &View) -> Table {
    let (p, summary) = (view.p, view.summary);
    let mut table = Table::new(
        &format!("Counting the words of {} of text", p.bytes),
        &[
            "arm",
            "time",
            "theory",
            "speed-up",
            "theory",
            "sent",
            "start-up",
            "to connect",
        ],
    );
    let plain = [
        ("one thread".to_string(), view.one()),
        (
            format!("rayon, {} threads", p.threads),
            summary.only("rayon"),
        ),
        (
            format!("dataflow, 1 process, {} workers", p.threads),
            summary.at("threads", p.threads as f64),
        ),
    ];
    for (name, k) in plain {
        let Some(k) = k else { continue };
        table.row([
            name,
            cell(k.wall_s(), seconds),
            "–".into(),
            times(view.gain(Some(k))),
            "–".into(),
            cell(k.gauge(gauges::WIRE_BYTES), megabytes),
            cell(k.gauge(gauges::START_S), seconds),
            cell(k.gauge(gauges::CONNECT_S), seconds),
        ]);
    }
    let numbers = |way: Way| {
        p.numbers()
            .into_iter()
            .filter_map(move |n| view.with(way, n))
    };
    let sent = view.sent().into_iter().filter(|a| a.k.x() == 0.0);
    for arm in numbers(Way::Combined).chain(numbers(Way::Raw)).chain(sent) {
        let theory = arm.theory.filter(|_| arm.n > 1);
        table.row([
            arm.name.clone(),
            cell(arm.wall(), seconds),
            theory.map_or("–".into(), |t| seconds(t.sum())),
            times(view.gain(Some(arm.k))),
            view.predicted_gain(theory)
                .map_or("–".into(), |g| format!("{}×", number(g))),
            cell(arm.k.gauge(gauges::WIRE_BYTES), megabytes),
            cell(arm.k.gauge(gauges::START_S), seconds),
            cell(arm.k.gauge(gauges::CONNECT_S), seconds),
        ]);
    }
    table.note = format!(
        "The clock is the same in every arm: the text is in a file that the system holds in memory; processes, threads and connections are there; from the order until the counts are complete. Sent the text or the path: {}, on this machine, and on a wire of {} a second.",
        processes(PAIR),
        p.network
    );
    table
}

/// What theory was calibrated with.
fn costs_table(t: &Theory) -> Table {
    let mut table = Table::new(
        "Measured with one process: the parameters of theory",
        &["what", "a byte of text", "a word, raw", "a pair, combined"],
    );
    let ns = |s: f64| match s.is_finite() {
        true => format!("{} ns", number(s * 1e9)),
        false => "–".into(),
    };
    let c = &t.costs;
    let rows = [
        ("read", ns(c.read), "–".into(), "–".into()),
        ("read, split and count", ns(c.map), "–".into(), "–".into()),
        (
            "make pairs",
            "–".into(),
            ns(c.raw.pack),
            ns(c.combined.pack),
        ),
        (
            "serialize",
            "–".into(),
            ns(c.raw.serialize),
            ns(c.combined.serialize),
        ),
        (
            "free what is written",
            "–".into(),
            ns(c.raw.discard),
            ns(c.combined.discard),
        ),
        (
            "loopback",
            ns(c.loopback),
            ns(c.loopback * c.raw.bytes),
            ns(c.loopback * c.combined.bytes),
        ),
        (
            "as one message, from memory to memory",
            ns(c.text.message),
            "–".into(),
            "–".into(),
        ),
        (
            "deserialize",
            ns(c.text.deserialize),
            ns(c.raw.deserialize),
            ns(c.combined.deserialize),
        ),
        (
            "add up",
            "–".into(),
            ns(c.raw.reduce),
            ns(c.combined.reduce),
        ),
    ];
    for (what, text, raw, combined) in rows {
        table.row([what.to_string(), text, raw, combined]);
    }
    table.note = costs_note(t);
    table
}

/// What a pair has on the wire, what threads are worth, and what Amdahl's law allows.
fn costs_note(t: &Theory) -> String {
    let several = t.p.numbers().into_iter().filter(|n| *n > 1);
    let worth = several.filter_map(|n| {
        let worth = number(n as f64 / t.slower(n)?.value);
        Some(format!(
            " {n} threads of one process read and count as fast as {worth} alone."
        ))
    });
    let amdahl = t.machine(Way::Combined, PAIR).map(|(on, _)| {
        let (share, most) = t.costs.amdahl(Way::Combined, t.bytes, &on);
        format!(
            " {} of the work can be shared out: by Amdahl's law {}× at most, were the rest to stay as it is with two processes.",
            percent(share),
            number(most)
        )
    });
    format!(
        "A pair has {} bytes on the wire, one of a word that is sent each time {}.{}{}",
        number(t.costs.combined.bytes),
        number(t.costs.raw.bytes),
        worth.collect::<String>(),
        amdahl.unwrap_or_default()
    )
}

fn killed_table(k: &Condition) -> Table {
    let mut table = Table::new(
        "One of two processes is killed in mid-job, and the job runs again",
        &[
            "kill",
            "the other has ended after",
            "output then",
            "second run, with its start",
        ],
    );
    for (i, t) in k.trials().iter().enumerate() {
        let gauge = |name: Gauge| t.gauge(name);
        let output = match (gauge(gauges::ABSENT), gauge(gauges::BROKEN_OUTPUTS)) {
            (Some(absent), _) if absent > 0.5 => "absent",
            (_, Some(broken)) if broken > 0.5 => "broken",
            _ => "whole",
        };
        table.row([
            (i + 1).to_string(),
            gauge(gauges::STOPPED_S).map_or("–".into(), seconds),
            output.into(),
            seconds(t.wall_s),
        ]);
    }
    table.note = "The output is written to another name, flushed to the disk and renamed: it is there as a whole or not at all.".into();
    table
}

/// What a worker does in a job, one thing after another.
fn bars(k: &Condition) -> Vec<Bar> {
    let sum = |names: &[Gauge]| -> Option<f64> {
        names.iter().map(|name| Some(k.gauge(*name)?.value)).sum()
    };
    let kinds = [
        (
            "map",
            sum(&[gauges::READ_S, gauges::MAP_S, gauges::PACK_S]),
            Colour::Blue,
        ),
        ("serialize", sum(&[gauges::SERIALIZE_S]), Colour::Orange),
        (
            "deserialize",
            sum(&[gauges::DESERIALIZE_S]),
            Colour::Vermilion,
        ),
        ("reduce", sum(&[gauges::REDUCE_S]), Colour::Green),
    ];
    let known: f64 = kinds.iter().filter_map(|kind| kind.1).sum();
    let rest = k.wall_s().map(|e| e.value - known);
    let mut at = 0.0;
    let all = kinds
        .into_iter()
        .map(|(label, length, colour)| (label, length, colour, false))
        .chain([("wire and waiting", rest, Colour::Muted, true)]);
    let all = all.filter_map(|(label, length, colour, waiting)| {
        let length = length.filter(|length| *length > 0.0)?;
        Some((label, length, colour, waiting))
    });
    all.map(|(label, length, colour, waiting)| {
        let start = at;
        at += length;
        Bar {
            start,
            end: at,
            label: label.into(),
            colour,
            waiting,
        }
    })
    .collect()
}

/// Where the time goes, arm by arm.
fn split(view: &View) -> Figure {
    let p = view.p;
    let group = |arm: &Arm| Group {
        title: arm.name.clone(),
        note: format!("{} sent", cell(arm.k.gauge(gauges::WIRE_BYTES), megabytes)),
        lanes: vec![Lane {
            label: "a worker".into(),
            colour: Colour::Ink,
            bars: bars(&arm.k),
        }],
        end: arm.wall().map(|e| e.value),
        predicted_end: arm.theory.filter(|_| arm.n > 1).map(|t| t.sum()),
    };
    let arms = [
        view.with(Way::Combined, 1),
        view.with(Way::Combined, PAIR),
        view.with(Way::Raw, 1),
        view.with(Way::Raw, PAIR),
    ];
    let sent = view.sent().into_iter().filter(|a| a.way == Way::Text);
    let arms: Vec<Arm> = arms.into_iter().flatten().chain(sent).collect();
    let (raw, combined) = (
        view.gain(view.summary.at("raw", PAIR as f64)),
        view.gain(view.summary.at("combined", PAIR as f64)),
    );
    Figure {
        id: "split".into(),
        title: format!(
            "Two processes are {} as fast as one thread if they combine, {} if they send every word",
            times(combined),
            times(raw)
        ),
        subtitle: format!(
            "{} of text. What a worker does in a job, on average: map, serialize, deserialize, reduce, wire and waiting, in this order. Dashed: theory",
            p.bytes
        ),
        desc: "Bars of the time that a worker spends on mapping, serializing, deserializing, reducing and on waiting for the wire, for one and two processes that send combined pairs, every word, or the text.".into(),
        body: Body::Gantt(Gantt {
            groups: arms.iter().map(group).collect(),
        }),
    }
}

/// What theory says of one thread, of two running processes and of two that are started, over the size in
/// MB; and the largest size to draw, in bytes.
fn sizes_by_theory(view: &View) -> (Vec<Vec<(f64, f64)>>, f64) {
    let whole = view.p.bytes.f();
    let Some(t) = &view.theory else {
        return (Vec::new(), whole);
    };
    let widest = t
        .crossover(true)
        .map_or(whole, |size| (2.0 * size.value).clamp(whole, 100.0 * whole));
    let from = view.p.all_sizes().first().map_or(widest, |s| s.f());
    let at = |i: i32| from * (widest / from).powf(f64::from(i) / 40.0);
    let line = |of: &dyn Fn(f64) -> Option<f64>| -> Vec<(f64, f64)> {
        let points = (0..=40).map(at);
        points
            .filter_map(|bytes| Some((bytes / 1e6, of(bytes)?)))
            .collect()
    };
    let two = |bytes: f64| Some(t.parts(Way::Combined, PAIR, bytes, false)?.0.sum());
    let lines = vec![
        line(&|bytes| Some(t.costs.alone(bytes))),
        line(&two),
        line(&|bytes| Some(t.start(Way::Combined, PAIR)?.value + two(bytes)?)),
    ];
    (lines, widest)
}

/// Over the size of the text: one thread against two processes.
fn sizes(view: &View) -> Figure {
    let (p, summary) = (view.p, view.summary);
    let (cold, warm) = (crossover(p, summary, true), crossover(p, summary, false));
    let pair = |size: Size| of_pair(p.bytes, summary, size);
    let all = p.all_sizes();
    let curve = |wall: &dyn Fn(Size) -> Option<f64>| -> Vec<(f64, f64)> {
        let points = all.iter().filter_map(|s| Some((s.f() / 1e6, wall(*s)?)));
        points.collect()
    };
    let one = curve(&|s| Some(summary.at("one thread", s.f())?.wall_s()?.value));
    let two = curve(&|s| Some(pair(s)?.wall_s()?.value));
    let started = curve(&|s| {
        let k = pair(s)?;
        let started = k.estimate(|t| Some(t.wall_s + t.gauge(gauges::START_S)?));
        Some(started?.value)
    });
    let (theory, widest) = sizes_by_theory(view);
    let mut layers: Vec<Layer> = theory
        .into_iter()
        .map(|points| Layer::Line(Line::theory("", Colour::Muted, points)))
        .collect();
    layers.extend([
        Layer::Line(Line::measured("one thread", Colour::Ink, one)),
        Layer::Line(Line::measured("two processes, running", Colour::Green, two)),
        Layer::Line(Line::measured(
            "with their start",
            Colour::Vermilion,
            started,
        )),
    ]);
    let mark = |e: Option<Estimate>, label: &str, colour| {
        e.map(|e| Mark {
            x: e.value / 1e6,
            interval: None,
            label: format!("{label}: {}", megabytes(e.value)),
            colour,
        })
    };
    let marks = [
        mark(warm, "running", Colour::Green),
        mark(cold, "started", Colour::Vermilion),
    ];
    Figure {
        id: "crossover".into(),
        title: format!(
            "Two processes beat one thread from {} of text on, from {} with their start",
            cell(warm, megabytes),
            cell(cold, megabytes)
        ),
        subtitle: "Each reads its half of the file, combined pairs cross the wire. Dashed: theory, from one process's costs".into(),
        desc: "Time over the size of the text, for one thread, for two running processes and for two that must be started first; the lines of the processes begin higher and are less steep.".into(),
        body: Body::Panels(Panels {
            x: Axis::log("size of the text in MB, log scale", Unit::Number),
            panels: vec![Panel {
                title: "Time of a job".into(),
                note: "log scale".into(),
                y: Axis::log("", Unit::Seconds),
                layers,
                height: 1.6,
            }],
            marks: marks
                .into_iter()
                .flatten()
                .filter(|m| m.x * 1e6 <= widest && m.x > 0.0)
                .collect(),
        }),
    }
}

/// Over the number of processes: the speed-up over one thread, and what is sent, in MB.
fn by_number(view: &View) -> (Vec<Layer>, Vec<Layer>) {
    let (mut gains, mut bytes) = (Vec::new(), Vec::new());
    for (way, colour) in [
        (Way::Combined, Colour::Green),
        (Way::Raw, Colour::Vermilion),
    ] {
        let numbers = view.p.numbers().into_iter();
        let arms: Vec<Arm> = numbers.filter_map(|n| view.with(way, n)).collect();
        let lines = |expected: Vec<(f64, f64)>, measured: Vec<(f64, f64)>| {
            [
                Layer::Line(Line::theory("", Colour::Muted, expected)),
                Layer::Line(Line::measured(&way.to_string(), colour, measured)),
            ]
        };
        let expected = arms
            .iter()
            .filter_map(|a| Some((a.n as f64, view.predicted_gain(a.theory)?)));
        let measured = arms
            .iter()
            .filter_map(|a| Some((a.n as f64, view.gain(Some(a.k))?.value)));
        gains.extend(lines(expected.collect(), measured.collect()));
        let sent = arms.iter().filter(|a| a.n > 1);
        let measured = sent
            .clone()
            .filter_map(|a| Some((a.n as f64, a.k.gauge(gauges::WIRE_BYTES)?.value / 1e6)));
        let expected = sent.filter_map(|a| {
            let t = view.theory.as_ref()?;
            Some((a.n as f64, t.costs.sent(way, t.bytes, a.n) / 1e6))
        });
        bytes.extend(lines(expected.collect(), measured.collect()));
    }
    gains.push(Layer::Rule {
        y: 1.0,
        label: "one thread".into(),
    });
    (gains, bytes)
}

/// The same as a figure.
fn numbers(view: &View) -> Figure {
    let p = view.p;
    let (gains, bytes) = by_number(view);
    let ticks: Vec<f64> = p.numbers().into_iter().map(|n| n as f64).collect();
    let panel = |title: &str, note: &str, y, layers| Panel {
        title: title.into(),
        note: note.into(),
        y,
        layers,
        height: 1.0,
    };
    let most = view
        .several(Way::Combined)
        .iter()
        .filter_map(|a| Some((a.n, view.gain(Some(a.k))?.value)))
        .max_by(|a, b| a.1.total_cmp(&b.1));
    Figure {
        id: "processes".into(),
        title: format!(
            "{} on {} processors: {}; two that send every word send {} the bytes",
            most.map_or("–".into(), |m| processes(m.0)),
            view.summary.host().cores,
            most.map_or("–".into(), |m| format!("{}×", number(m.1))),
            times(fewer_bytes(view.summary))
        ),
        subtitle: format!(
            "{} of text on this machine's {} processors, each process with one worker. Dashed: theory",
            p.bytes,
            view.summary.host().cores
        ),
        desc: "Two panels over the number of processes: the speed-up over one thread, and the bytes sent, for combined pairs and for a pair of every word.".into(),
        body: Body::Panels(Panels {
            x: Axis::log("processes, log scale", Unit::Number).with_ticks(ticks),
            panels: vec![
                panel("Speed-up", "over one thread", Axis::linear("", Unit::Factor), gains),
                panel("Sent in a job", "MB, log scale", Axis::log("", Unit::Number), bytes),
            ],
            marks: vec![],
        }),
    }
}

/// The same costs on many hosts, simulated.
fn cluster(t: &Theory) -> Figure {
    let p = t.p;
    let cluster = Cluster {
        costs: &t.costs,
        bytes: p.cluster_bytes.f(),
        bandwidth: p.network.f(),
        spread: p.spread,
        seed: t.summary.seed(),
    };
    let alone = t.costs.alone(cluster.bytes);
    let curve = |way: Way| -> Vec<(f64, f64)> {
        let gain = |n: usize| (n as f64, alone / cluster.run(way, n));
        HOSTS.into_iter().map(gain).collect()
    };
    let last = |points: &[(f64, f64)]| points.last().map_or(f64::NAN, |p| p.1);
    let (path, raw, text) = (curve(Way::Combined), curve(Way::Raw), curve(Way::Text));
    let title = format!(
        "Simulated: 1000 hosts are {}× as fast as one thread if they have the text, {}× if one of them sends it",
        number(last(&path)),
        number(last(&text))
    );
    let ideal: Vec<(f64, f64)> = HOSTS.iter().map(|n| (*n as f64, *n as f64)).collect();
    Figure {
        id: "cluster".into(),
        title,
        subtitle: format!(
            "{} of text, links of {} a second, this machine's costs. Not measured: simulated in virtual time",
            p.cluster_bytes, p.network
        ),
        desc: "Speed-up over the number of simulated hosts, from 1 to 1000: nearly proportional when every host has its share of the text and combines, less when every word is sent, and flat when one host sends the text to all.".into(),
        body: Body::Panels(Panels {
            x: Axis::log("hosts, log scale", Unit::Number),
            panels: vec![Panel {
                title: "Speed-up over one thread, simulated".into(),
                note: format!(
                    "they run already, speeds differ by {:.0} %; dashed: n hosts, n times as fast",
                    100.0 * p.spread
                ),
                y: Axis::log("", Unit::Factor),
                layers: vec![
                    Layer::Line(Line::theory("", Colour::Muted, ideal)),
                    Layer::Line(Line::simulated("path, combined", Colour::Green, path)),
                    Layer::Line(Line::simulated("path, every word", Colour::Vermilion, raw)),
                    Layer::Line(Line::simulated("text", Colour::Purple, text)),
                ],
                height: 1.6,
            }],
            marks: vec![],
        }),
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
