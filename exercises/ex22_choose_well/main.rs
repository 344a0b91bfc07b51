//! Servers in virtual time, chosen by the exercise's chooser, in several worlds.

mod exercise;

use std::{cmp::Reverse, collections::BinaryHeap};

use exercise::Chooser;
use exercise_kit::harness;

fn main() {
    let line = harness::open();
    let fleet = Fleet {
        servers: line.given("servers"),
        strikes: line.given("strikes"),
        out_for: line.given("out_for"),
        odd: line.given("odd"),
        requests: line.given("requests"),
        seed: line.given("seed"),
    };
    let worlds = [World::Alike, World::Slow, World::Fails, World::NowAndThen, World::AllFail];
    for (world, id) in worlds.into_iter().zip(0..) {
        line.reply(id, fleet.run(world));
    }
    line.end();
}

/// Load of all servers together.
const LOAD: f64 = 0.8;
/// The counts are read this often.
const READ: f64 = 20.0;

#[derive(Clone, Copy, PartialEq)]
enum World {
    Alike,
    /// One takes five times as long.
    Slow,
    /// One refuses everything in the middle third of the time.
    Fails,
    /// Everybody refuses one in fifty.
    NowAndThen,
    /// Everybody refuses everything, for a while in the middle.
    AllFail,
}

struct Fleet {
    servers: usize,
    strikes: u32,
    out_for: f64,
    /// The server that is slow, or fails.
    odd: usize,
    requests: usize,
    seed: u64,
}

impl Fleet {
    /// Sends all requests: mean time of those answered in thousandths of a service time; refusals; requests to the odd
    /// server in all and in the last quarter; how much of what comes between two readings of the counts goes to one
    /// server at most, on average, in thousandths; the fewest requests of a server in the last quarter.
    fn run(&self, world: World) -> String {
        let mut random = Random(self.seed);
        let mut chooser = Chooser::new(self.servers, self.strikes, self.out_for);
        let mut free = vec![0.0_f64; self.servers];
        let mut inside = vec![0_usize; self.servers];
        let mut done: BinaryHeap<Reverse<(u64, usize)>> = BinaryHeap::new();
        let (mut now, mut next_read, mut period) = (0.0, READ, vec![0_usize; self.servers]);
        let (mut took, mut answered, mut refused, mut top, mut periods) = (0.0, 0, 0, 0.0, 0.0);
        let (mut to_odd, mut last) = (0, vec![0_usize; self.servers]);
        for request in 0..self.requests {
            now += random.exponential() / (LOAD * self.servers as f64);
            loop {
                let next = done.peek().map_or(f64::INFINITY, |Reverse((at, _))| f64::from_bits(*at));
                if next.min(next_read) > now {
                    break;
                }
                if next <= next_read {
                    if let Some(Reverse((_, server))) = done.pop() {
                        inside[server] -= 1;
                        chooser.heard(server, true, next);
                    }
                } else {
                    chooser.counts(&inside);
                    let all: usize = period.iter().sum();
                    let most = period.iter().max().copied().unwrap_or(0);
                    top += most as f64 / all.max(1) as f64;
                    periods += 1.0;
                    period.fill(0);
                    next_read += READ;
                }
            }
            let server = chooser.choose(now);
            assert!(server < self.servers, "there is no server {server}: there are {}", self.servers);
            period[server] += 1;
            to_odd += usize::from(server == self.odd);
            last[server] += usize::from(4 * request >= 3 * self.requests);
            let part = request as f64 / self.requests as f64;
            let work = random.exponential();
            let by_chance = random.share();
            let refuses = match world {
                World::Alike | World::Slow => false,
                World::Fails => server == self.odd && (1.0 / 3.0..2.0 / 3.0).contains(&part),
                World::NowAndThen => by_chance < 0.02,
                World::AllFail => (0.45..0.55).contains(&part),
            };
            if refuses {
                refused += 1;
                chooser.heard(server, false, now);
                continue;
            }
            let slow = world == World::Slow && server == self.odd;
            free[server] = free[server].max(now) + if slow { 5.0 * work } else { work };
            inside[server] += 1;
            took += free[server] - now;
            answered += 1;
            done.push(Reverse((free[server].to_bits(), server)));
        }
        let mean = 1000.0 * took / f64::from(answered.max(1));
        let top = 1000.0 * top / f64::max(periods, 1.0);
        let (to_odd_last, fewest) = (last[self.odd], last.iter().min().copied().unwrap_or(0));
        format!("{mean:.0} {refused} {to_odd} {to_odd_last} {top:.0} {fewest} {now:.0}")
    }
}

/// Random numbers from a seed (SplitMix64: Steele, Lea and Flood 2014).
struct Random(u64);

impl Random {
    fn share(&mut self) -> f64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        ((mixed ^ (mixed >> 31)) >> 11) as f64 / (1_u64 << 53) as f64
    }

    fn exponential(&mut self) -> f64 {
        -(1.0 - self.share()).ln()
    }
}
