//! Theory beside measurement for lab18.

use lab_kit::prelude::*;

use super::{
    PAIR, Params,
    dataflow::Way,
    model::{Cluster, Costs, Machine, Pair, Parts},
    ray,
};

/// How close a time must be to its theory, as a share of it.
const CLOSE: f64 = 0.15;
/// How close an amount of bytes must be.
const EXACT: f64 = 0.02;
/// Hosts of the simulated cluster.
const HOSTS: [usize; 10] = [1, 2, 5, 10, 20, 50, 100, 200, 500, 1000];

const WAYS: [Way; 2] = [Way::Combined, Way::Raw];

/// What was measured with one process, and what it predicts for several.
struct Theory<'a> {
    p: &'a Params,
    summary: &'a Summary<'a>,
    bytes: f64,
    costs: Costs,
}

/// Seconds each worker of a condition reads and counts.
fn counting(k: &Condition) -> Option<Estimate> {
    k.estimate(|t| Some(t.gauges.get("read_s")? + t.gauges.get("map_s")?))
}

impl<'a> Theory<'a> {
    /// Nothing without its parameters: an interrupted run may lack them.
    fn of(p: &'a Params, summary: &'a Summary<'a>) -> Option<Theory<'a>> {
        let gauge = |k: &Condition, name: &str| Some(k.gauge(name)?.value);
        let bytes = p.bytes.f();
        let one = summary.at("one thread", bytes)?;
        let pair = |way: Way| {
            let (paper, alone) = (
                summary.only(&format!("paper/{way}"))?,
                summary.at(&way.to_string(), 1.0)?,
            );
            let made = gauge(&alone, "pairs")?;
            Some(Pair {
                pack: gauge(&alone, "pack_s")? / made,
                reduce: gauge(&alone, "reduce_s")? / made,
                serialize: gauge(&paper, "serialize_s")? / gauge(&paper, "pairs")?,
                discard: gauge(&paper, "discard_s")? / gauge(&paper, "pairs")?,
                deserialize: gauge(&paper, "deserialize_s")? / gauge(&paper, "pairs")?,
                bytes: gauge(&paper, "bytes")? / gauge(&paper, "pairs")?,
            })
        };
        let text = summary.only("paper/text")?;
        let costs = Costs {
            words_per_byte: gauge(&one, "words")? / bytes,
            law: p.law(),
            read: gauge(&summary.at("combined", 1.0)?, "read_s")? / bytes,
            map: counting(&summary.at("combined", 1.0)?)?.value / bytes,
            raw: pair(Way::Raw)?,
            combined: pair(Way::Combined)?,
            text: (
                gauge(&text, "serialize_s")? / bytes,
                gauge(&text, "deserialize_s")? / bytes,
            ),
            loopback: gauge(&summary.only("loopback")?, "s_per_byte")?,
        };
        Some(Theory {
            p,
            summary,
            bytes,
            costs,
        })
    }

    /// This machine with so many processes on it.
    fn machine(&self, n: usize, empty: Option<Estimate>) -> Machine {
        let (summary, series) = (self.summary, if n == 1 { "combined" } else { "threads" });
        let each = summary.at(series, n as f64).and_then(|k| counting(&k));
        let slower = each.map(|each| n as f64 * each.value / (self.costs.map * self.bytes));
        Machine {
            cores: self.summary.host().cores,
            slower: slower.unwrap_or(f64::NAN),
            empty: empty.map_or(f64::NAN, |e| e.value),
            bandwidth: None,
        }
    }

    /// Bytes that n processes send each other: of every pair whose owner is another one.
    fn sent(&self, way: Way, n: usize) -> f64 {
        let words = self.costs.words_per_byte * self.bytes;
        let (every, different) = self.costs.law.word_bytes(words / n as f64);
        // A pair: eight bytes for the length of the word, the word, eight for its count.
        let pair = 15.0 + if way == Way::Raw { every } else { different };
        (n as f64 - 1.0) * self.costs.pairs(way, self.bytes, n) * pair
    }

    /// What a condition with n processes should take.
    fn parts(&self, way: Way, n: usize, bytes: f64, k: &Condition, network: bool) -> Parts {
        let on = Machine {
            bandwidth: network.then_some(self.p.network.f()),
            ..self.machine(n, k.gauge("empty_s"))
        };
        self.costs.parts(way, bytes, n, &on)
    }
}

/// An arm beside its theory.
struct Arm<'a> {
    name: String,
    way: Way,
    n: usize,
    k: Condition<'a>,
    theory: Option<Parts>,
}

impl<'a> Arm<'a> {
    fn wall(&self) -> Option<Estimate> {
        self.k.wall_s()
    }

    fn case(&self) -> Option<Case> {
        let predicted = self.theory?.sum();
        Some(Case {
            name: self.name.clone(),
            predicted: predicted.into(),
            measured: self.wall(),
            tolerance: CLOSE * predicted,
        })
    }
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

/// The size at which a line through measured differences crosses zero: between the two points where
/// the sign changes, or beyond the last two.
fn crossing(late: &[(f64, f64)]) -> Option<f64> {
    let through = |a: (f64, f64), b: (f64, f64)| {
        let slope = (b.1 - a.1) / (b.0 - a.0);
        let at = a.0 - a.1 / slope;
        (slope < 0.0 && at > 0.0).then_some(at)
    };
    let last = late.iter().rposition(|(_, d)| *d > 0.0)?;
    match late.get(last + 1) {
        Some(next) => through(late[last], *next),
        None => through(*late.get(last.checked_sub(1)?)?, late[last]),
    }
}

/// The crossover of every round of trials.
fn crossover(p: &Params, summary: &Summary, start: bool) -> Option<Estimate> {
    let conditions = p.all_sizes().into_iter().filter_map(|size| {
        let one = summary.at("one thread", size.f())?;
        Some((size.f(), one, of_pair(p, summary, size)?))
    });
    let conditions: Vec<_> = conditions.collect();
    let rounds = conditions
        .iter()
        .map(|(_, one, pair)| one.trials().len().min(pair.trials().len()));
    let each = (0..rounds.min().unwrap_or(0)).filter_map(|round| {
        let late = conditions.iter().map(|(size, one, pair)| {
            let two = &pair.trials()[round];
            let begun = two.gauges.get("start_s").filter(|_| start).copied();
            let late = two.wall_s + begun.unwrap_or(0.0) - one.trials()[round].wall_s;
            (*size, late)
        });
        crossing(&late.collect::<Vec<_>>())
    });
    Estimate::of(&each.collect::<Vec<_>>())
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
        let k = k?;
        let parts = |t: &Theory| t.parts(way, n, self.p.bytes.f(), &k, network);
        Some(Arm {
            name,
            way,
            n,
            k,
            theory: self.theory.as_ref().map(parts),
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

/// How many times as long as its fastest trial the slower half of the trials of one process may take.
const STEADY: f64 = 1.2;

/// Whether the processors kept their pace. A neighbour on the same core, on a shared machine, takes
/// little from a chain of additions, which the host is calibrated with, and a third from a program that
/// looks up words: so this is judged by arms that have nobody to wait for.
fn unsteady(summary: &Summary) -> Option<String> {
    let alone = ["one thread", "combined", "raw"].map(|name| summary.series(name));
    let alone = alone
        .iter()
        .flatten()
        .filter(|k| k.x() == 1.0 || k.x() > 1e6);
    let slower = alone.filter_map(|k| {
        let walls = k.trials().iter().map(|t| t.wall_s);
        Some(k.wall_s()?.value / walls.reduce(f64::min)?)
    });
    let worst = slower.reduce(f64::max)?;
    (worst > STEADY).then(|| {
        format!(
            "the same job of one process took {worst:.2} times as long in half of its trials as in the fastest: the processors are shared"
        )
    })
}

pub(super) fn explain(p: &Params, summary: &Summary) -> Findings {
    let view = &View {
        p,
        summary,
        theory: Theory::of(p, summary),
    };
    let theory = view.theory.as_ref();
    let unsteady = unsteady(summary);
    let mut claims = Vec::new();
    let wrong = summary.all_trials().filter_map(|t| t.gauges.get("wrong"));
    claims.push(
        Claim::near(
            "every arm counts the same: words, different words and each count",
            Basis::Predicted,
            0.0,
            Some(Estimate::exact(wrong.sum())),
            0.0,
        )
        .unit("trials with other counts"),
    );
    if let Some(t) = theory {
        claims.extend(bytes_claims(t));
        for way in WAYS {
            let cases: Vec<Case> = view.several(way).iter().filter_map(Arm::case).collect();
            let text = match way {
                Way::Raw => {
                    "with a pair for every word on the wire, n processes take what one process's costs predict"
                }
                _ => {
                    "with combined pairs on the wire, n processes take what one process's costs predict"
                }
            };
            let claim = Claim::at_every(text, Basis::Calibrated, cases).unit("s");
            claims.push(claim.excused(unsteady.clone()));
        }
        // The path without a network is among those above.
        let sent = view.sent().into_iter().filter(|a| a.k.x() == 0.0);
        claims.push(
            Claim::at_every(
                "sending the text costs its bytes: serialize, wire and deserialize, before the others can begin",
                Basis::Calibrated,
                sent.filter_map(|a| a.case()).collect(),
            )
            .unit("s")
            .excused(unsteady.clone()),
        );
        claims.extend(crossover_claims(t).map(|claim| claim.excused(unsteady.clone())));
    }
    claims.push(
        Claim::at_most(
            "a dataflow in one process takes at most 1.3 times as long as rayon on as many threads",
            Basis::Predicted,
            1.3,
            beside_rayon(view),
        )
        .unit("times rayon's")
        .excused(unsteady),
    );
    claims.extend(summary.only("killed").iter().flat_map(killed_claims));

    let (cold, warm) = (crossover(p, summary, true), crossover(p, summary, false));
    let pair = view.gain(summary.at("combined", PAIR as f64));
    let fewer = fewer_bytes(summary);
    let known = |value: Option<f64>| value.unwrap_or(f64::NAN);
    let gain = view
        .with(Way::Combined, PAIR)
        .and_then(|arm| view.predicted_gain(arm.theory));
    let sent = |way: Way| theory.map_or(f64::NAN, |t| t.sent(way, PAIR));
    let answers = vec![
        Answer::near("pair", pair, known(gain)),
        Answer::near("combining", fewer, sent(Way::Raw) / sent(Way::Combined)),
        Answer::near(
            "crossover",
            cold,
            known(theory.and_then(|t| predicted_crossovers(t).0)),
        )
        .scaled(1e-6),
    ];
    let mut tables = vec![arms_table(view)];
    tables.extend(theory.map(costs_table));
    tables.extend(summary.only("killed").map(|k| killed_table(&k)));
    tables.extend(ray::table(summary));
    let mut figures = vec![split(view), sizes(view), numbers(view)];
    figures.extend(theory.map(cluster));
    let mb = |e: Option<Estimate>| cell(e, megabytes);
    Findings {
        headline: format!(
            "Two processes that read the file themselves are {} as fast as one thread; sent the text over a network, {}. Combining sends {} fewer bytes. From {} of text on two running processes are faster than one thread; from {} if they must be started first.",
            times(pair),
            times(view.gain(summary.only("text/network"))),
            times(fewer),
            mb(warm),
            mb(cold)
        ),
        figures,
        tables,
        claims,
        answers,
    }
}

fn beside_rayon(view: &View) -> Option<Estimate> {
    let at = |series: &str| view.summary.at(series, view.p.threads as f64);
    let share = |rayon: &Trial, it: &Trial| (rayon.wall_s > 0.0).then(|| it.wall_s / rayon.wall_s);
    at("rayon")?.paired(&at("threads")?, share)
}

/// How many times fewer bytes two processes send when they combine.
fn fewer_bytes(summary: &Summary) -> Option<Estimate> {
    let at = |way: Way| summary.at(&way.to_string(), PAIR as f64);
    let sent = |t: &Trial| t.gauges.get("wire_bytes").copied().filter(|b| *b > 0.0);
    at(Way::Raw)?.paired(&at(Way::Combined)?, |raw, combined| {
        Some(sent(raw)? / sent(combined)?)
    })
}

fn killed_claims(k: &Condition) -> [Claim; 2] {
    let sum = |name: &str| {
        let of = |t: &Trial| t.gauges.get(name).copied();
        Some(Estimate::exact(k.trials().iter().filter_map(of).sum()))
    };
    let others = k.trials().len() * (PAIR - 1);
    [
        Claim::near(
            "when a process is killed the output is whole or absent",
            Basis::Predicted,
            0.0,
            sum("broken_outputs"),
            0.0,
        )
        .unit("broken outputs"),
        Claim::near(
            "when a process is killed the others end with an error: fail-stop",
            Basis::Predicted,
            others as f64,
            sum("others_failed"),
            0.0,
        )
        .unit("processes"),
    ]
}

/// What crosses the wire, from the law of the text alone.
fn bytes_claims(t: &Theory) -> Vec<Claim> {
    let (mut pairs, mut bytes) = (Vec::new(), Vec::new());
    for way in WAYS {
        for n in t.p.numbers().into_iter().filter(|n| *n > 1) {
            let Some(k) = t.summary.at(&way.to_string(), n as f64) else {
                continue;
            };
            let sent = t.sent(way, n);
            let name = format!("{way}, {}", processes(n));
            if way == Way::Combined {
                let made = n as f64 * t.costs.pairs(way, t.bytes, n);
                pairs.push(Case {
                    name: name.clone(),
                    predicted: made.into(),
                    measured: k.gauge("pairs"),
                    tolerance: EXACT * made,
                });
            }
            bytes.push(Case {
                name,
                predicted: sent.into(),
                measured: k.gauge("wire_bytes"),
                tolerance: EXACT * sent,
            });
        }
    }
    vec![
        Claim::at_every(
            "a share of the text has as many different words as Zipf's law says: that is what combining leaves",
            Basis::Predicted,
            pairs,
        )
        .unit("pairs"),
        Claim::at_every(
            "the bytes on the wire are those of the pairs whose owner is another process",
            Basis::Predicted,
            bytes,
        )
        .unit("bytes"),
    ]
}

/// How far a crossover may lie from its theory: within this factor.
const FACTOR: f64 = 1.5;

/// Theory says from which size on the processes are faster. Its place is where two lines cross that
/// are nearly parallel: a tenth more of one time would move it by half. So what is held against
/// measurement is the decision, at every size that is not within the factor of theory's crossover.
fn crossover_claims(t: &Theory) -> [Claim; 2] {
    let predicted = predicted_crossovers(t);
    [
        decided(
            t,
            "two running processes are faster than one thread above theory's size, and slower below (1.5 times away and more)",
            predicted.1,
            false,
        ),
        decided(
            t,
            "two processes that must be started first are faster above theory's size, and slower below (1.5 times away and more)",
            predicted.0,
            true,
        ),
    ]
}

/// At every size, the time of what theory says is faster over the time of the other.
fn decided(t: &Theory, text: &str, predicted: Option<f64>, start: bool) -> Claim {
    let at = predicted.unwrap_or(f64::INFINITY);
    let mut worst: Option<Estimate> = None;
    for size in t.p.all_sizes() {
        let (bytes, k) = (size.f(), of_pair(t.p, t.summary, size));
        let above = match bytes / at {
            far if far >= FACTOR => true,
            far if far <= 1.0 / FACTOR => false,
            _ => continue,
        };
        let (Some(one), Some(two)) = (t.summary.at("one thread", bytes), k) else {
            continue;
        };
        let ratio = one.paired(&two, |one, two| {
            let begun = two.gauges.get("start_s").filter(|_| start).copied();
            let ratio = (two.wall_s + begun.unwrap_or(0.0)) / one.wall_s;
            Some(if above { ratio } else { 1.0 / ratio })
        });
        let reach = |e: &Estimate| e.ci95.map_or(e.value, |(_, hi)| hi);
        if let Some(ratio) = ratio
            && worst.is_none_or(|w| reach(&w) < reach(&ratio))
        {
            worst = Some(ratio);
        }
    }
    Claim::at_most(text, Basis::Calibrated, 1.0, worst)
        .unit("of the other's time, at the worst size")
}

/// Two processes on a text of a size.
fn of_pair<'a>(p: &Params, summary: &Summary<'a>, size: Size) -> Option<Condition<'a>> {
    if size == p.bytes {
        summary.at("combined", PAIR as f64)
    } else {
        summary.at("pair", size.f())
    }
}

/// Theory's crossovers: with the start of the processes, and without.
fn predicted_crossovers(t: &Theory) -> (Option<f64>, Option<f64>) {
    let Some(k) = t.summary.at("combined", PAIR as f64) else {
        return (None, None);
    };
    let on = t.machine(PAIR, k.gauge("empty_s"));
    let start = k.gauge("start_s").map_or(f64::NAN, |e| e.value);
    let at = |start: f64| t.costs.crossover(PAIR, &on, start);
    (at(start), at(0.0))
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
            cell(k.gauge("wire_bytes"), megabytes),
            cell(k.gauge("start_s"), seconds),
            cell(k.gauge("connect_s"), seconds),
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
            cell(arm.k.gauge("wire_bytes"), megabytes),
            cell(arm.k.gauge("start_s"), seconds),
            cell(arm.k.gauge("connect_s"), seconds),
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
    let ns = |s: f64| format!("{} ns", number(s * 1e9));
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
            ns(c.text.0),
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
            "deserialize",
            ns(c.text.1),
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
    let slower: Vec<String> =
        t.p.numbers()
            .into_iter()
            .filter(|n| *n > 1)
            .map(|n| {
                let worth = n as f64 / t.machine(n, None).slower;
                format!(
                    "{n} threads of one process read and count as fast as {} alone",
                    number(worth)
                )
            })
            .collect();
    let on = t.machine(PAIR, None);
    let (share, most) = t.costs.amdahl(Way::Combined, t.bytes, &on);
    table.note = format!(
        "A pair has {} bytes on the wire, one of a word that is sent each time {}. {}. {} of the work can be shared out: by Amdahl's law {}× at most, were the rest to stay as it is with two processes.",
        number(c.combined.bytes),
        number(c.raw.bytes),
        slower.join(", "),
        percent(share),
        number(most)
    );
    table
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
        let gauge = |name: &str| t.gauges.get(name).copied();
        let output = match (gauge("absent"), gauge("broken_outputs")) {
            (Some(absent), _) if absent > 0.5 => "absent",
            (_, Some(broken)) if broken > 0.5 => "broken",
            _ => "whole",
        };
        table.row([
            (i + 1).to_string(),
            gauge("stopped_s").map_or("–".into(), seconds),
            output.into(),
            seconds(t.wall_s),
        ]);
    }
    table.note = "The output is written to another name, flushed to the disk and renamed: it is there as a whole or not at all.".into();
    table
}

/// Where the time goes, arm by arm.
fn split(view: &View) -> Figure {
    let p = view.p;
    let bars = |k: &Condition| {
        let gauge = |name: &str| k.gauge(name).map_or(0.0, |e| e.value);
        let kinds = [
            (
                "map",
                gauge("read_s") + gauge("map_s") + gauge("pack_s"),
                Colour::Blue,
                false,
            ),
            ("serialize", gauge("serialize_s"), Colour::Orange, false),
            (
                "deserialize",
                gauge("deserialize_s"),
                Colour::Vermilion,
                false,
            ),
            ("reduce", gauge("reduce_s"), Colour::Green, false),
        ];
        let known: f64 = kinds.iter().map(|kind| kind.1).sum();
        let rest = k.wall_s().map_or(0.0, |e| e.value - known).max(0.0);
        let mut at = 0.0;
        let all = kinds
            .into_iter()
            .chain([("wire and waiting", rest, Colour::Muted, true)]);
        let all = all.filter(|kind| kind.1 > 0.0);
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
        .collect::<Vec<_>>()
    };
    let group = |arm: &Arm| Group {
        title: arm.name.clone(),
        note: format!("{} sent", cell(arm.k.gauge("wire_bytes"), megabytes)),
        lanes: vec![Lane {
            label: "each".into(),
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
            "{} of text. What a worker does in a job, summed by kind; the mean over its workers. Dashed: theory",
            p.bytes
        ),
        desc: "Bars of the time that a worker spends on mapping, serializing, deserializing, reducing and on waiting for the wire, for one and two processes that send combined pairs, every word, or the text.".into(),
        body: Body::Gantt(Gantt {
            groups: arms.iter().map(group).collect(),
        }),
    }
}

/// Over the size of the text: one thread against two processes.
fn sizes(view: &View) -> Figure {
    let (p, summary) = (view.p, view.summary);
    let (cold, warm) = (crossover(p, summary, true), crossover(p, summary, false));
    let pair = |size: Size| of_pair(p, summary, size);
    let all = p.all_sizes();
    let curve = |wall: &dyn Fn(Size) -> Option<f64>| -> Vec<(f64, f64)> {
        let points = all.iter().filter_map(|s| Some((s.f() / 1e6, wall(*s)?)));
        points.collect()
    };
    let one = curve(&|s| Some(summary.at("one thread", s.f())?.wall_s()?.value));
    let two = curve(&|s| Some(pair(s)?.wall_s()?.value));
    let started = curve(&|s| {
        let k = pair(s)?;
        Some(k.wall_s()?.value + k.gauge("start_s")?.value)
    });
    let mut layers = Vec::new();
    let mut widest = p.bytes.f();
    if let Some(t) = &view.theory
        && let Some(k) = summary.at("combined", PAIR as f64)
    {
        let on = t.machine(PAIR, k.gauge("empty_s"));
        let begun = k.gauge("start_s").map_or(f64::NAN, |e| e.value);
        let crossing = predicted_crossovers(t).0;
        widest = crossing.map_or(widest, |c| (2.0 * c).clamp(widest, 100.0 * widest));
        let from = all.first().map_or(widest, |s| s.f());
        let at = |i: i32| from * (widest / from).powf(f64::from(i) / 40.0);
        let line = |of: &dyn Fn(f64) -> f64| {
            (0..=40)
                .map(at)
                .map(|bytes| (bytes / 1e6, of(bytes)))
                .collect::<Vec<_>>()
        };
        let parts = |bytes: f64| t.costs.parts(Way::Combined, bytes, PAIR, &on).sum();
        for points in [
            line(&|bytes| t.costs.alone(bytes)),
            line(&parts),
            line(&|bytes| begun + parts(bytes)),
        ] {
            layers.push(Layer::Line(Line::theory("", Colour::Muted, points)));
        }
    }
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

/// Over the number of processes: time and bytes.
fn numbers(view: &View) -> Figure {
    let p = view.p;
    let arms = |way: Way| -> Vec<Arm> {
        let numbers = p.numbers().into_iter();
        numbers.filter_map(|n| view.with(way, n)).collect()
    };
    let (mut gains, mut bytes) = (Vec::new(), Vec::new());
    for (way, colour) in [
        (Way::Combined, Colour::Green),
        (Way::Raw, Colour::Vermilion),
    ] {
        let arms = arms(way);
        let expected = arms
            .iter()
            .filter_map(|a| Some((a.n as f64, view.predicted_gain(a.theory)?)));
        let measured = arms
            .iter()
            .filter_map(|a| Some((a.n as f64, view.gain(Some(a.k))?.value)));
        gains.push(Layer::Line(Line::theory(
            "",
            Colour::Muted,
            expected.collect(),
        )));
        gains.push(Layer::Line(Line::measured(
            &way.to_string(),
            colour,
            measured.collect(),
        )));
        let sent = arms.iter().filter(|a| a.n > 1);
        let measured = sent
            .clone()
            .filter_map(|a| Some((a.n as f64, a.k.gauge("wire_bytes")?.value / 1e6)));
        let expected = sent.filter_map(|a| {
            let t = view.theory.as_ref()?;
            Some((a.n as f64, t.costs.sent(way, t.bytes, a.n) / 1e6))
        });
        bytes.push(Layer::Line(Line::theory(
            "",
            Colour::Muted,
            expected.collect(),
        )));
        bytes.push(Layer::Line(Line::measured(
            &way.to_string(),
            colour,
            measured.collect(),
        )));
    }
    gains.push(Layer::Rule {
        y: 1.0,
        label: "one thread".into(),
    });
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
            "{} on {} processors: {}; sending every word takes {} the bytes",
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
        "Simulated: 1000 hosts are {}× as fast as one that have the text, {}× if it is sent",
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
                    "they run already, speeds differ by {:.0} %; dashed: as hosts",
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
        assert_eq!(crossing(&[(1.0, 4.0), (2.0, 2.0), (6.0, -2.0)]), Some(4.0));
        assert_eq!(crossing(&[(1.0, 4.0), (2.0, 2.0)]), Some(3.0));
        // Never late, ever later, nothing known.
        assert_eq!(crossing(&[(1.0, -4.0), (2.0, -5.0)]), None);
        assert_eq!(crossing(&[(1.0, 4.0), (2.0, 5.0)]), None);
        assert_eq!(crossing(&[(1.0, 4.0)]), None);
        assert_eq!(crossing(&[]), None);
    }
}
