//! What theory starts from, measured with one process, and what it says of several.

use std::fmt;

use lab_kit::prelude::*;

use super::{
    Params,
    dataflow::Way,
    gauges,
    model::{Costs, Machine, Pair, Text},
    plan::PAIR,
};

/// Processes with one worker each, and what they send.
#[derive(Clone, Copy)]
pub(super) struct Arm {
    pub way: Way,
    pub n: usize,
    /// Over a wire as slow as a network.
    pub network: bool,
}

/// The arm that most figures are about.
pub(super) const TWO: Arm = Arm::here(Way::Combined, PAIR);

impl Arm {
    pub(super) const fn here(way: Way, n: usize) -> Arm {
        Arm { way, n, network: false }
    }

    const fn over_network(way: Way) -> Arm {
        Arm { network: true, ..Arm::here(way, PAIR) }
    }

    /// What a condition with the whole text is; nothing where theory is not about it.
    pub(super) fn of(k: &Condition) -> Option<Arm> {
        Some(match k.series() {
            "raw" => Arm::here(Way::Raw, k.x() as usize),
            "combined" => Arm::here(Way::Combined, k.x() as usize),
            "text" => Arm::here(Way::Text, PAIR),
            "text/network" => Arm::over_network(Way::Text),
            "path/network" => Arm::over_network(Way::Combined),
            _ => return None,
        })
    }

    /// The same of those that theory predicts: it is calibrated with one process.
    pub(super) fn predicted(k: &Condition) -> Option<Arm> {
        Arm::of(k).filter(|arm| arm.n > 1)
    }
}

impl fmt::Display for Arm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}, {}", self.way, processes(self.n))
    }
}

/// So many processes that send this.
pub(super) fn arm<'a>(summary: &Summary<'a>, way: Way, n: usize) -> Option<Condition<'a>> {
    match way {
        Way::Text => summary.only("text"),
        Way::Raw | Way::Combined => summary.at(&way.to_string(), n as f64),
    }
}

/// Two processes on a text of a size.
pub(super) fn pair<'a>(p: &Params, summary: &Summary<'a>, size: Size) -> Option<Condition<'a>> {
    match size == p.bytes {
        true => arm(summary, Way::Combined, PAIR),
        false => summary.at("pair", size.f()),
    }
}

pub(super) fn processes(n: usize) -> String {
    format!("{n} process{}", if n == 1 { "" } else { "es" })
}

/// Seconds each worker of a condition reads and counts.
fn counting(k: &Condition) -> Option<Estimate> {
    k.estimate(|t| Some(t.gauge(gauges::READ_S)? + t.gauge(gauges::MAP_S)?))
}

/// What a byte and a pair cost one process, and what that predicts for several.
pub(super) struct Theory<'a> {
    pub p: &'a Params,
    pub summary: &'a Summary<'a>,
    pub bytes: f64,
    pub costs: Costs,
    /// What the costs were measured in.
    pub of: Origin,
}

impl<'a> Theory<'a> {
    /// Nothing without its parameters: an interrupted run may lack them.
    pub(super) fn of(p: &'a Params, summary: &'a Summary<'a>) -> Option<Theory<'a>> {
        let gauge = |k: &Condition, name: Gauge| Some(k.gauge(name)?.value);
        let bytes = p.bytes.f();
        let alone = |way: Way| summary.at(&way.to_string(), 1.0);
        let paper = |way: Way| summary.only(&format!("paper/{way}"));
        let pair = |way: Way| {
            let (paper, alone) = (paper(way)?, alone(way)?);
            let made = |name: Gauge| Some(gauge(&alone, name)? / gauge(&alone, gauges::PAIRS)?);
            let written = |name: Gauge| Some(gauge(&paper, name)? / gauge(&paper, gauges::PAIRS)?);
            Some(Pair {
                pack: made(gauges::PACK_S)?,
                reduce: made(gauges::REDUCE_S)?,
                serialize: written(gauges::SERIALIZE_S)?,
                discard: written(gauges::DISCARD_S)?,
                deserialize: written(gauges::DESERIALIZE_S)?,
                bytes: written(gauges::BYTES)?,
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
        let of = others.fold(text.origin().and(loopback.origin()), |of, k| of.and(k.origin()));
        Some(Theory { p, summary, bytes, costs, of })
    }

    /// The numbers of processes that are predicted.
    pub(super) fn numbers(&self) -> impl Iterator<Item = usize> + use<'a> {
        let all = self.p.numbers(self.summary.host().cores).into_iter();
        all.filter(|n| *n > 1)
    }

    /// The condition that lends an arm what does not depend on what it sends: the time of an empty job,
    /// and of starting its processes. It is never the arm itself.
    fn lender(&self, arm: Arm) -> Option<Condition<'a>> {
        let other = match arm.way {
            Way::Raw => Way::Combined,
            Way::Combined | Way::Text => Way::Raw,
        };
        self.summary.at(&other.to_string(), arm.n as f64)
    }

    /// What starting its processes takes.
    pub(super) fn start(&self, arm: Arm) -> Option<Given> {
        self.lender(arm)?.gauge(gauges::START_S).map(Given::from)
    }

    /// How many times slower each of n threads of one process reads and counts than one alone.
    pub(super) fn slower(&self, n: usize) -> Option<Given> {
        if n == 1 {
            return Some(1.0.into());
        }
        let each = counting(&self.summary.at("threads", n as f64)?)?;
        let alone = self.costs.map * self.bytes;
        Some((n as f64 * Given::from(each) / alone).and(self.of))
    }

    /// This machine with an arm on it, and what it was taken from.
    pub(super) fn machine(&self, arm: Arm) -> Option<(Machine, Origin)> {
        let slower = self.slower(arm.n)?;
        let empty = Given::from(self.lender(arm)?.gauge(gauges::EMPTY_S)?);
        let cores = self.summary.calibrated(|host| host.cores as f64);
        let machine = Machine {
            cores: cores.value as usize,
            slower: slower.value,
            empty: empty.value,
            bandwidth: arm.network.then_some(self.p.network.f()),
        };
        let of = slower.origin().and(empty.origin()).and(cores.origin());
        Some((machine, of.and(self.of)))
    }

    /// What an arm should take for so many bytes.
    pub(super) fn time(&self, arm: Arm, bytes: f64) -> Option<Given> {
        let (machine, of) = self.machine(arm)?;
        let parts = self.costs.parts(arm.way, bytes, arm.n, &machine);
        Some(Given::new(parts.sum(), of))
    }

    /// How many times faster than one thread it should be.
    pub(super) fn gain(&self, arm: Arm) -> Option<f64> {
        let time = self.time(arm, self.bytes)?.value;
        let alone = self.costs.alone(self.bytes);
        time.is_finite().then(|| alone / time)
    }

    /// Bytes that processes send each other, from the flags alone: of every pair whose owner is another
    /// one, and of the text, where that is sent.
    pub(super) fn sent(&self, arm: Arm) -> f64 {
        let (law, n) = (self.p.law(), arm.n as f64);
        let share = law.words(self.bytes) / n;
        let (every, different) = law.word_bytes(share);
        let distinct = law.distinct(share);
        let (text, pairs, word) = match arm.way {
            Way::Raw => (0.0, share, every),
            Way::Combined => (0.0, distinct, different),
            Way::Text => (self.bytes, distinct, different),
        };
        // A pair: eight bytes for the length of the word, the word, eight for its count.
        (1.0 - 1.0 / n) * (text + n * pairs * (15.0 + word))
    }

    /// The standard deviation of the number of pairs that are made and sent, as a share of it.
    pub(super) fn chance(&self, arm: Arm) -> f64 {
        let (law, n) = (self.p.law(), arm.n as f64);
        let all = law.words(self.bytes);
        let share = all / n;
        match arm.way {
            // Each word is read by its owner with probability 1/n, and not sent then.
            Way::Raw => 1.0 / (all * (n - 1.0)).sqrt(),
            Way::Combined | Way::Text => {
                law.distinct_deviation(share) / n.sqrt() / law.distinct(share)
            }
        }
    }

    /// The size from which on two processes are faster than one thread, once they run or if they must be
    /// started first; none when they never are.
    pub(super) fn crossover(&self, started: bool) -> Option<Given> {
        let (machine, of) = self.machine(TWO)?;
        let start = match started {
            true => self.start(TWO)?,
            false => 0.0.into(),
        };
        let at = self.costs.crossover(PAIR, &machine, start.value)?;
        Some(Given::new(at, of.and(start.origin())))
    }
}
