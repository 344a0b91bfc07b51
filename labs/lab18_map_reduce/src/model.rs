//! What a job should take: Amdahl's law with the price of communication, and a cluster simulated in
//! virtual time.
//!
//! What a byte and a pair cost is measured in the run with one process; what several take is then
//! predicted. Two measurements with n go into it as well, of other arms than the one that is predicted:
//! what n threads of one process are worth (`n_eff`), and what an empty job of n processes takes.
//!
//! `T(n) = map/n_eff + bytes·(serialize + wire + deserialize) + reduce + what an empty job takes`

use lab_kit::theory::amdahl;
use rand::SeedableRng;
use rand_distr::{Distribution, LogNormal};
use rand_pcg::Pcg64Mcg;

use super::{corpus::Law, dataflow::Way};

/// What pairs cost, in seconds and bytes each.
#[derive(Clone, Copy, Debug, Default)]
pub struct Pair {
    /// Making it (with splitting the text into words, where every word becomes one).
    pub pack: f64,
    /// Writing it as bytes.
    pub serialize: f64,
    /// Freeing it, once it is written.
    pub discard: f64,
    /// Bytes it has on the wire.
    pub bytes: f64,
    /// Reading it from bytes.
    pub deserialize: f64,
    /// Adding it up.
    pub reduce: f64,
}

/// What a text costs that is sent, in seconds a byte.
#[derive(Clone, Copy, Debug, Default)]
pub struct Text {
    /// From the sender's memory to the receiver's, as one long message through the loopback interface.
    pub message: f64,
    /// Reading it from the message.
    pub deserialize: f64,
}

/// What was measured with one process.
#[derive(Clone, Debug)]
pub struct Costs {
    /// Words a byte of text, by their law.
    pub words_per_byte: f64,
    /// How the words are distributed.
    pub law: Law,
    /// Seconds a byte: reading it from the file.
    pub read: f64,
    /// Seconds a byte: reading it and counting its words, on one thread.
    pub map: f64,
    /// A pair of a word, where each is sent.
    pub raw: Pair,
    /// A pair of a different word with its count.
    pub combined: Pair,
    /// A text that is sent.
    pub text: Text,
    /// Seconds a byte from one process to another through the loopback interface.
    pub loopback: f64,
}

/// The machine, or a host, that the processes run on.
#[derive(Clone, Copy, Debug)]
pub struct Machine {
    /// Processors.
    pub cores: usize,
    /// How many times slower each of n processes computes than one alone, `n/n_eff`: processors are
    /// fewer, or share their memory.
    pub slower: f64,
    /// What a job without text takes.
    pub empty: f64,
    /// Bytes a second that a process can send; none: as fast as the loopback interface.
    pub bandwidth: Option<f64>,
}

/// What a job takes, in seconds, by what is done meanwhile.
#[derive(Clone, Copy, Debug, Default)]
pub struct Parts {
    /// The order, the start of the dataflow, its end, the answers.
    pub fixed: f64,
    /// Reading, splitting, counting, making pairs.
    pub map: f64,
    /// Writing as bytes, and freeing what is written.
    pub serialize: f64,
    /// From process to process.
    pub wire: f64,
    /// Reading from bytes.
    pub deserialize: f64,
    /// Adding up.
    pub reduce: f64,
}

impl Parts {
    /// All of it.
    pub fn sum(&self) -> f64 {
        self.fixed + self.map + self.serialize + self.wire + self.deserialize + self.reduce
    }
}

impl Costs {
    /// Pairs each of n processes makes of its share of a text.
    pub fn pairs(&self, way: Way, bytes: f64, n: usize) -> f64 {
        let words = self.words_per_byte * bytes / n as f64;
        match way {
            Way::Raw => words,
            Way::Combined | Way::Text => self.law.distinct(words),
        }
    }

    fn pair(&self, way: Way) -> Pair {
        match way {
            Way::Raw => self.raw,
            Way::Combined | Way::Text => self.combined,
        }
    }

    /// Bytes that all n processes send together.
    pub fn sent(&self, way: Way, bytes: f64, n: usize) -> f64 {
        let away = 1.0 - 1.0 / n as f64;
        let text = if way == Way::Text { bytes * away } else { 0.0 };
        text + n as f64 * self.pairs(way, bytes, n) * away * self.pair(way).bytes
    }

    /// What n processes with one worker each take for so many bytes of text.
    pub fn parts(&self, way: Way, bytes: f64, n: usize, on: &Machine) -> Parts {
        let (share, away) = (bytes / n as f64, 1.0 - 1.0 / n as f64);
        let (pairs, pair) = (self.pairs(way, bytes, n), self.pair(way));
        let slow = |seconds: f64| on.slower * seconds;
        let map = match way {
            Way::Raw => self.read * share,
            Way::Combined | Way::Text => self.map * share,
        };
        let mut parts = Parts {
            fixed: on.empty,
            map: slow(map + pairs * pair.pack),
            serialize: slow(pairs * away * (pair.serialize + pair.discard)),
            wire: self.wire(n as f64 * pairs * away * pair.bytes, n, n, on),
            deserialize: slow(pairs * away * pair.deserialize),
            reduce: slow(pairs * pair.reduce),
        };
        if way == Way::Text && n > 1 {
            // The others begin when they have theirs: the first process reads it and sends it before it
            // reads its own, which takes no longer than the way of what was sent.
            let text = bytes * away;
            let network = on.bandwidth.map_or(0.0, |b| text / b - text * self.loopback);
            parts.map += self.read * text - slow(self.read * share);
            parts.wire += text * self.text.message + network.max(0.0);
            parts.deserialize += share * self.text.deserialize;
        }
        parts
    }

    /// Seconds that so many bytes are on their way, sent by some of n processes alike.
    fn wire(&self, bytes: f64, senders: usize, n: usize, on: &Machine) -> f64 {
        if n == 1 {
            return 0.0;
        }
        // A byte on the loopback interface keeps two processors busy, one at either end.
        let busy = 2.0 / on.cores as f64;
        let loopback = bytes * self.loopback * busy.max(1.0 / senders as f64);
        let network = on.bandwidth.map_or(0.0, |b| bytes / senders as f64 / b);
        loopback.max(network)
    }

    /// Seconds one thread takes, without any of this.
    pub fn alone(&self, bytes: f64) -> f64 {
        self.map * bytes
    }

    /// The size from which on n processes are faster than one thread, if something takes `start`
    /// seconds first; `None` if there is none below a petabyte.
    pub fn crossover(&self, n: usize, on: &Machine, start: f64) -> Option<f64> {
        let late =
            |bytes: f64| start + self.parts(Way::Combined, bytes, n, on).sum() > self.alone(bytes);
        let (mut low, mut high) = (1.0_f64, 1e15_f64);
        if late(high) {
            return None;
        }
        while high / low > 1.001 {
            let middle = (low * high).sqrt();
            *(if late(middle) { &mut low } else { &mut high }) = middle;
        }
        Some(high)
    }

    /// The share of the work that more processes make shorter, and what that allows at most
    /// (Amdahl 1967), if the rest stayed what it is with two.
    pub fn amdahl(&self, way: Way, bytes: f64, on: &Machine) -> (f64, f64) {
        let parts = self.parts(way, bytes, 2, on);
        let share = self.alone(bytes) / (self.alone(bytes) + parts.sum() - parts.map);
        (share, amdahl::amdahl(share, f64::INFINITY))
    }
}

/// Hosts with a process each, on a network, in virtual time.
///
/// Assumed: they run already; every link has the same bandwidth in either direction and the switch has
/// enough for all; a host sends while it goes on working; speeds of hosts are log-normal; nobody fails.
#[derive(Clone, Copy, Debug)]
pub struct Cluster<'a> {
    /// What one of them costs.
    pub costs: &'a Costs,
    /// Size of the text.
    pub bytes: f64,
    /// Bytes a second of each link.
    pub bandwidth: f64,
    /// Standard deviation of the logarithm of the hosts' speeds.
    pub spread: f64,
    /// Seed of their speeds.
    pub seed: u64,
}

impl Cluster<'_> {
    /// Seconds that so many hosts take.
    pub fn run(&self, way: Way, hosts: usize) -> f64 {
        let (costs, n) = (self.costs, hosts as f64);
        let mut rng = Pcg64Mcg::seed_from_u64(self.seed);
        let speeds = LogNormal::new(0.0, self.spread).ok();
        let mut pace = || speeds.map_or(1.0, |law| law.sample(&mut rng));
        let paces: Vec<f64> = (0..hosts).map(|_| pace()).collect();
        let (pairs, pair) = (costs.pairs(way, self.bytes, hosts), costs.pair(way));
        let (share, away) = (self.bytes / n, 1.0 - 1.0 / n);
        let map = match way {
            Way::Raw => costs.read * share,
            Way::Combined | Way::Text => costs.map * share,
        };
        let work = map + pairs * (pair.pack + away * (pair.serialize + pair.discard));
        // When each has made and sent what it has; the first host sends the pieces one after another.
        let mapped: Vec<f64> = (0..hosts)
            .map(|i| {
                let begin = match way {
                    Way::Text => i as f64 * share / self.bandwidth,
                    Way::Raw | Way::Combined => 0.0,
                };
                begin + paces[i] * work
            })
            .collect();
        let message = pairs * pair.bytes / n / self.bandwidth;
        let mut senders = mapped.clone();
        senders.sort_by(f64::total_cmp);
        // A host receives from the others one after another, as they come to have something for it.
        // It makes no difference which one: its own share is as large as theirs.
        let received =
            senders.iter().skip(1).fold(0.0, |free: f64, ready| free.max(*ready) + message);
        let work = n * pairs / n * (away * pair.deserialize + pair.reduce);
        let ends = mapped.iter().zip(&paces).map(|(mapped, pace)| {
            let sent = mapped + message * (n - 1.0);
            sent.max(received).max(*mapped) + pace * work
        });
        ends.fold(0.0, f64::max)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn costs() -> Costs {
        let pair = Pair {
            pack: 40e-9,
            serialize: 20e-9,
            discard: 10e-9,
            bytes: 22.0,
            deserialize: 40e-9,
            reduce: 60e-9,
        };
        Costs {
            words_per_byte: 0.2,
            law: Law { vocabulary: 10_000, exponent: 1.0 },
            read: 0.3e-9,
            map: 7e-9,
            raw: pair,
            combined: pair,
            text: Text { message: 1.2e-9, deserialize: 0.3e-9 },
            loopback: 0.5e-9,
        }
    }

    const MACHINE: Machine = Machine { cores: 8, slower: 1.0, empty: 1e-4, bandwidth: None };

    #[test]
    fn one_process_sends_nothing() {
        for way in [Way::Raw, Way::Combined, Way::Text] {
            let parts = costs().parts(way, 1e8, 1, &MACHINE);
            assert_eq!((parts.serialize, parts.wire), (0.0, 0.0));
            assert_eq!(costs().sent(way, 1e8, 1), 0.0);
        }
    }

    #[test]
    fn combining_sends_no_more_than_the_vocabulary() {
        let costs = costs();
        for n in [2, 4, 100] {
            let (raw, combined) = (costs.sent(Way::Raw, 1e9, n), costs.sent(Way::Combined, 1e9, n));
            assert!(combined <= n as f64 * 10_000.0 * 22.0 && raw > 10.0 * combined, "{n}");
        }
    }

    #[test]
    fn below_the_crossover_one_thread_is_faster_and_above_it_slower() {
        let costs = costs();
        let mut last = 0.0;
        for start in [0.0, 0.01, 0.1, 1.0] {
            let size = costs.crossover(2, &MACHINE, start).unwrap();
            let gain = |bytes: f64| {
                let two = start + costs.parts(Way::Combined, bytes, 2, &MACHINE).sum();
                costs.alone(bytes) / two
            };
            assert!(gain(size / 1.1) < 1.0 && gain(size * 1.1) > 1.0, "{start}");
            assert!(size > last);
            last = size;
        }
        let crowded = Machine { slower: 2.5, ..MACHINE };
        assert_eq!(costs.crossover(2, &crowded, 0.0), None);
    }

    #[test]
    fn a_simulated_cluster_agrees_with_the_formula_where_nothing_is_random() {
        let costs = Costs { loopback: 0.0, ..costs() };
        let on = Machine { bandwidth: Some(125e6), empty: 0.0, ..MACHINE };
        let cluster = Cluster { costs: &costs, bytes: 1e9, bandwidth: 125e6, spread: 0.0, seed: 1 };
        for way in [Way::Raw, Way::Combined] {
            for n in [1, 2, 10, 100] {
                let (simulated, formula) = (cluster.run(way, n), costs.parts(way, 1e9, n, &on));
                let share = simulated / formula.sum();
                assert!((share - 1.0).abs() < 0.01, "{way:?} {n}: {share}");
            }
        }
    }

    #[test]
    fn sending_the_text_is_never_faster_than_its_wire() {
        let costs = costs();
        let cluster =
            Cluster { costs: &costs, bytes: 1e10, bandwidth: 125e6, spread: 0.1, seed: 3 };
        for n in [2, 10, 100, 1000] {
            let wire = 1e10 * (1.0 - 1.0 / n as f64) / 125e6;
            assert!(cluster.run(Way::Text, n) > wire);
            assert!(cluster.run(Way::Combined, n) < cluster.run(Way::Raw, n));
        }
        let times = [1, 10, 100, 1000].map(|n| cluster.run(Way::Combined, n));
        assert!(times.is_sorted_by(|a, b| a > b), "{times:?}");
    }
}
