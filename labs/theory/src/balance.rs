//! Which of n servers gets the next request, and what becomes of it.
//!
//! Requests come at random (Poisson) to n servers, each of which serves one at a time, first come first
//! served, for an exponential time of mean s. Formulas for the steady state where there are any, and
//! [`Fleet::run`] for any given requests: event by event in virtual time, for every way of choosing. Times are
//! in the unit of the service times that are given (seconds in the labs); loads are shares of what the n
//! servers can do together.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, VecDeque};

use rand::{RngExt, SeedableRng};
use rand_pcg::Pcg64Mcg;

/// The most servers that [`Fleet`] simulates.
pub const MAX_SERVERS: usize = 100_000;

/// Share of the servers with at least `k` requests, waiting or served, when each request takes the shortest line
/// of `d` drawn at random, in the limit of many servers: ρ^((d^k − 1)/(d − 1)) (Vvedenskaya, Dobrushin and
/// Karpelevich 1996; Mitzenmacher 1996, 2001). With `d` = 1 it is M/M/1's ρ^k, for any number of servers.
///
/// `NaN` unless 0 ≤ ρ < 1 and `d` > 0.
pub fn at_least(rho: f64, d: u32, k: u32) -> f64 {
    if !(0.0..1.0).contains(&rho) || d == 0 {
        return f64::NAN;
    }
    // 1 + d + … + d^(k−1).
    let mut exponent = 0.0;
    for _ in 0..k.min(2000) {
        exponent = exponent * f64::from(d) + 1.0;
    }
    if exponent == 0.0 { 1.0 } else { rho.powf(exponent) }
}

/// Mean time from coming to being answered, in service times, in the same limit: Σ ρ^((d^i − d)/(d − 1)) over
/// i ≥ 1 (Mitzenmacher 2001), by Little's law the sum of [`at_least`] over k through ρ. With `d` = 1 it is
/// M/M/1's 1/(1 − ρ).
pub fn mean_time(rho: f64, d: u32) -> f64 {
    if d == 1 && (0.0..1.0).contains(&rho) {
        return 1.0 / (1.0 - rho);
    }
    if rho == 0.0 && d > 0 {
        return 1.0;
    }
    let mut sum = 0.0;
    for k in 1..64 {
        let term = at_least(rho, d, k);
        sum += term;
        if term <= 1e-18 * sum || term.is_nan() {
            break;
        }
    }
    sum / rho
}

/// Share of the requests that take longer than `time` (in service times) from coming to being answered, in the same
/// limit. Who comes finds at least i in front of it with a probability of [`at_least`]^d, and is then still there
/// when no more than i services have ended, of which a Poisson number would have: Σ e^(−t)·t^i/i!·at_least(i)^d.
/// With `d` = 1 it is M/M/1's e^(−(1 − ρ)·t).
///
/// `NaN` as in [`at_least`], and for a negative time.
pub fn later_than(rho: f64, d: u32, time: f64) -> f64 {
    if at_least(rho, d, 1).is_nan() || !super::is_amount(time) {
        return f64::NAN;
    }
    // Beyond this many nobody is.
    let most = (time + 20.0 * time.sqrt() + 50.0).min(1e5) as u32;
    let mut log_weight = -time;
    let mut sum = 0.0;
    for i in 0..most {
        let in_front = at_least(rho, d, i).powi(d.min(1000) as i32);
        if in_front < 1e-15 {
            break;
        }
        sum += log_weight.exp() * in_front;
        log_weight += (time / f64::from(i + 1)).ln();
    }
    sum.min(1.0)
}

/// What a share `q` of the requests does not take longer than, by [`later_than`].
pub fn quantile(rho: f64, d: u32, q: f64) -> f64 {
    let beyond = 1.0 - q;
    if !(beyond > 0.0 && beyond <= 1.0) || at_least(rho, d, 1).is_nan() {
        return f64::NAN;
    }
    let (mut low, mut high) = (0.0, -beyond.ln() / (1.0 - rho) + 1.0);
    for _ in 0..60 {
        let middle = (low + high) / 2.0;
        if later_than(rho, d, middle) > beyond { low = middle } else { high = middle }
    }
    high
}

/// Mean time, in service times, when n servers are taken in turn: each sees every n-th arrival of a Poisson
/// stream, and so is an Erlang(n)/M/1 queue: 1/(1 − σ), where σ is the root below 1 of
/// σ = (nρ/(nρ + 1 − σ))^n (Kendall 1953).
///
/// `NaN` unless 0 < ρ < 1 and there are servers.
pub fn mean_time_in_turn(rho: f64, servers: usize) -> f64 {
    if !(rho > 0.0 && rho < 1.0) || servers == 0 {
        return f64::NAN;
    }
    let (n, stages) = (servers as f64, servers as f64 * rho);
    let next = |root: f64| (n * (stages / (stages + 1.0 - root)).ln()).exp();
    let root = (0..10_000).fold(0.0, |root, _| next(root));
    1.0 / (1.0 - root)
}

/// A load, and another server beside one that refuses.
fn has_sinkhole(rho: f64, servers: usize) -> bool {
    rho >= 0.0 && rho.is_finite() && (2..=MAX_SERVERS).contains(&servers)
}

/// Share of all requests that end at one of n servers that refuses at once, and so never has any in flight, when
/// each request takes one that has least in flight (of equals, one at random).
///
/// The others never get a line: who finds them all busy goes to the one that refuses. So with j of them idle one
/// in 1 + j is lost, and the number of busy ones is a birth and death process, up by ρ·n·j/(1 + j) a service
/// time and down by its own number (as in Erlang 1917). What its arrivals see is its steady state.
///
/// `NaN` for a negative or infinite load, or fewer than two servers.
pub fn sinkhole_of_least(rho: f64, servers: usize) -> f64 {
    if !has_sinkhole(rho, servers) {
        return f64::NAN;
    }
    let good = servers - 1;
    let (mut weight, mut sum, mut lost) = (1.0, 0.0, 0.0);
    for busy in 0..=good {
        let idle = (good - busy) as f64;
        sum += weight;
        lost += weight / (1.0 + idle);
        weight *= rho * servers as f64 * idle / (1.0 + idle) / (busy + 1) as f64;
        if sum > 1e200 {
            (weight, sum, lost) = (weight / sum, 1.0, lost / sum);
        }
    }
    lost / sum
}

/// The same share when each request takes the one with less in flight of two drawn at random: it is σ = (1 + a)/(n
/// + a) with a = ρ·n/(n − 1).
///
/// The one that refuses is drawn in 2/n of all draws, and then taken, but for half of the cases in which the other
/// is idle. An other one is busy for a share a·(1 − σ) of the time (Little's law), whatever its service times are
/// like, and arrivals see that share (Wolff 1982). Solved for σ.
///
/// `NaN` where the others could not do what is left, and as in [`sinkhole_of_least`].
pub fn sinkhole_of_two(rho: f64, servers: usize) -> f64 {
    if !has_sinkhole(rho, servers) {
        return f64::NAN;
    }
    let n = servers as f64;
    let a = rho * n / (n - 1.0);
    let share = (1.0 + a) / (n + a);
    if a * (1.0 - share) < 1.0 { share } else { f64::NAN }
}

/// The same share when each error takes the server out for a time `back` (in service times), after which it is
/// tried again, by two choices: one error in `back` and the time until it is drawn and taken, `1/(ρ(1 + a))`.
/// (Renewal-reward; from the first ejection on.)
///
/// `NaN` where the others could not do all, and as in [`sinkhole_of_least`].
pub fn sinkhole_ejected(rho: f64, servers: usize, back: f64) -> f64 {
    let a = rho * servers as f64 / (servers as f64 - 1.0);
    if sinkhole_of_two(rho, servers).is_nan() || a >= 1.0 || back.is_nan() || back < 0.0 {
        return f64::NAN;
    }
    let rate = rho * servers as f64;
    1.0 / (rate * back + servers as f64 / (1.0 + a))
}

/// Share of all requests that are given up after `patience`, when one of n servers becomes `slow` times slower at
/// the beginning of a window (both in service times), with `before` requests in front of it then, and gets an n-th of
/// all requests all the same: as a fluid. Its line grows by ρ − 1/slow a service time, so who comes after t is
/// answered after (before + 1)·slow + (ρ·slow − 1)·t. Chance is left out.
///
/// Nought where the server keeps up; `NaN` for input without meaning.
pub fn given_up_at_slow(
    rho: f64,
    servers: usize,
    slow: f64,
    before: f64,
    patience: f64,
    window: f64,
) -> f64 {
    let amounts = [rho, before, patience].into_iter().all(super::is_amount);
    if !amounts || servers == 0 || slow.is_nan() || slow < 1.0 || window.is_nan() || window <= 0.0 {
        return f64::NAN;
    }
    let grows = rho * slow - 1.0;
    let from = (patience - (before + 1.0) * slow).max(0.0) / grows;
    if grows > 0.0 { (1.0 - from / window).max(0.0) / servers as f64 } else { 0.0 }
}

/// Share of those who need `k` answers that meet a slow one, of which there are a share `p`: 1 − (1 − p)^k (Dean
/// and Barroso 2013). `NaN` unless 0 ≤ p ≤ 1.
pub fn any_slow(p: f64, k: u32) -> f64 {
    if !(0.0..=1.0).contains(&p) {
        return f64::NAN;
    }
    -(f64::from(k) * (-p).ln_1p()).exp_m1()
}

/// Who gets the next request.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Choice {
    /// Any.
    Random,
    /// One after another.
    InTurn,
    /// One with the least in flight; of equals, any.
    Least,
    /// Of two different ones drawn at random, the one with less in flight; of equals, the first drawn.
    Two,
}

/// A way of choosing, with what may be added to it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Policy {
    /// Who gets the next request.
    pub choice: Choice,
    /// The counts that are looked at are read anew this often; 0 for what is true now.
    pub age: f64,
    /// Who errs is out for a time.
    pub ejection: Option<Ejection>,
    /// A second request, to another server, for what is late.
    pub hedge: Option<Hedge>,
}

/// A second request when there is no answer after a time; the first answer counts, and the other request is served
/// all the same.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Hedge {
    /// After this time.
    pub after: f64,
    /// Second requests that each request allows, of which no more than [`SAVED`] are saved; infinite for no bound.
    pub budget: f64,
}

/// Second requests that a budget saves up at most.
pub const SAVED: f64 = 10.0;

impl From<Choice> for Policy {
    fn from(choice: Choice) -> Policy {
        Policy { choice, age: 0.0, ejection: None, hedge: None }
    }
}

/// Who errs so often in a row is out. When it is back, one error is enough, until it has answered.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Ejection {
    /// Errors in a row.
    pub strikes: u32,
    /// For how long it is out.
    pub back: f64,
}

/// What is odd about the first server.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Odd {
    /// Nothing.
    None,
    /// It takes so many times as long.
    Slow(f64),
    /// It refuses everything at once.
    Fails,
}

/// Servers, and how they are chosen.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Fleet {
    /// How many.
    pub servers: usize,
    /// What is odd about the first of them.
    pub odd: Odd,
    /// How they are chosen.
    pub policy: Policy,
}

/// A request.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Visit {
    /// When it comes.
    pub at: f64,
    /// How long a server needs for it.
    pub work: f64,
    /// What seeds its draws: of a server for it, and with one more of a server for its second request.
    pub luck: u64,
    /// How long a server needs for its second request.
    pub again: f64,
}

/// How servers are found at time 0.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Start {
    /// For each server what it needs for those in front of it, the first of which it has begun.
    pub lines: Vec<Vec<f64>>,
    /// The counts that were last read.
    pub shown: Vec<usize>,
    /// Errors in a row of each server.
    pub strikes: Vec<u32>,
    /// Until when each server is out.
    pub out: Vec<f64>,
    /// Whose turn it is.
    pub turn: usize,
    /// Second requests saved up.
    pub saved: f64,
}

/// What became of a request.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Outcome {
    /// Who got it.
    pub server: usize,
    /// Who got its second request.
    pub second: Option<usize>,
    /// From coming to the answer; to the error, if it failed.
    pub took: f64,
    /// It was refused.
    pub failed: bool,
}

/// What became of all of them.
#[derive(Clone, Debug, PartialEq)]
pub struct Run {
    /// One for each visit.
    pub outcomes: Vec<Outcome>,
    /// How many servers have at least 0, 1, 2 … requests, summed over what arrivals see.
    pub seen: Vec<f64>,
    /// How it was left when the last had come; times count from then.
    pub left: Start,
}

/// Requests at random: so many a unit of time on average, with exponential services of this mean, up to `until`. The
/// same seed gives the same.
pub fn visits(rate: f64, service: f64, until: f64, seed: u64) -> Vec<Visit> {
    let mut rng = Pcg64Mcg::seed_from_u64(seed);
    let mut visits = Vec::new();
    let mut at = 0.0;
    loop {
        let mut draw = |mean: f64| -(1.0 - rng.random::<f64>()).ln() * mean;
        at += draw(1.0 / rate);
        // What has no meaning has no requests.
        if at >= until || at.is_nan() || visits.len() >= 50_000_000 {
            return visits;
        }
        let (work, again) = (draw(service), draw(service));
        visits.push(Visit { at, work, luck: rng.random(), again });
    }
}

#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Event {
    /// A server is done with who is in front.
    Done(usize),
    /// It is time for the second request of a visit.
    Hedge(usize),
}

/// The servers at one instant.
struct State<'a> {
    fleet: &'a Fleet,
    /// When each server is done with those in front of it.
    lines: Vec<VecDeque<f64>>,
    counts: Vec<usize>,
    shown: Vec<usize>,
    strikes: Vec<u32>,
    out: Vec<f64>,
    turn: usize,
    saved: f64,
    next_look: f64,
    /// By the bits of their times, which are ordered as the times are where these are not negative.
    events: BinaryHeap<Reverse<(u64, Event)>>,
    /// How many servers have at least so many.
    at_least: Vec<f64>,
}

impl Fleet {
    /// Nobody there, nobody out.
    pub fn idle(&self) -> Start {
        let n = self.servers.min(MAX_SERVERS);
        Start {
            lines: vec![Vec::new(); n],
            shown: vec![0; n],
            strikes: vec![0; n],
            out: vec![0.0; n],
            turn: 0,
            saved: 0.0,
        }
    }

    /// Found so, and visited by these (in their order): what becomes of them.
    ///
    /// `None` without servers, beyond [`MAX_SERVERS`], or where `start` is of another number of them.
    pub fn run(&self, start: &Start, visits: &[Visit]) -> Option<Run> {
        let n = self.servers;
        let fits = [start.shown.len(), start.strikes.len(), start.out.len()];
        if !(1..=MAX_SERVERS).contains(&n) || start.lines.len() != n || fits != [n; 3] {
            return None;
        }
        let mut state = State::of(self, start);
        let mut outcomes: Vec<Outcome> = Vec::with_capacity(visits.len());
        let mut seen = Vec::new();
        for (at, visit) in visits.iter().enumerate() {
            state.pass(visit.at, visits, &mut outcomes);
            if seen.len() < state.at_least.len() {
                seen.resize(state.at_least.len(), 0.0);
            }
            seen.iter_mut().zip(&state.at_least).for_each(|(seen, now)| *seen += now);
            let server = state.choose(visit.at, visit.luck, None);
            let ends = state.send(server, visit.at, visit.work);
            let failed = ends.is_none();
            let took = ends.map_or(0.0, |ends| ends - visit.at);
            outcomes.push(Outcome { server, second: None, took, failed });
            if let Some(hedge) = self.policy.hedge {
                state.saved = (state.saved + hedge.budget).min(SAVED);
                if took > hedge.after {
                    state.plan(visit.at + hedge.after, Event::Hedge(at));
                }
            }
        }
        let over = visits.last().map_or(0.0, |visit| visit.at);
        let left = state.left(over);
        state.pass(f64::INFINITY, visits, &mut outcomes);
        Some(Run { outcomes, seen, left })
    }

    /// How it is found after so long a past with so many a unit of time.
    pub fn after(&self, rate: f64, service: f64, past: f64, seed: u64) -> Option<Start> {
        Some(self.run(&self.idle(), &visits(rate, service, past, seed))?.left)
    }
}

impl State<'_> {
    fn of<'a>(fleet: &'a Fleet, start: &Start) -> State<'a> {
        let mut state = State {
            fleet,
            lines: vec![VecDeque::new(); fleet.servers],
            counts: vec![0; fleet.servers],
            shown: start.shown.clone(),
            strikes: start.strikes.clone(),
            out: start.out.clone(),
            turn: start.turn,
            saved: start.saved,
            next_look: fleet.policy.age,
            events: BinaryHeap::new(),
            at_least: vec![fleet.servers as f64],
        };
        for (server, line) in start.lines.iter().enumerate() {
            for work in line {
                state.send(server, 0.0, *work);
            }
        }
        state
    }

    fn plan(&mut self, at: f64, event: Event) {
        self.events.push(Reverse((at.to_bits(), event)));
    }

    /// Lets everything happen that does before `until`.
    fn pass(&mut self, until: f64, visits: &[Visit], outcomes: &mut [Outcome]) {
        let ages = self.fleet.policy.age > 0.0 && until.is_finite();
        while ages && self.next_look <= until {
            self.happen(self.next_look, visits, outcomes);
            self.shown.copy_from_slice(&self.counts);
            self.next_look += self.fleet.policy.age;
        }
        self.happen(until, visits, outcomes);
    }

    fn happen(&mut self, until: f64, visits: &[Visit], outcomes: &mut [Outcome]) {
        while let Some(Reverse((bits, event))) = self.events.peek().copied() {
            let now = f64::from_bits(bits);
            if now > until {
                return;
            }
            self.events.pop();
            match event {
                Event::Done(server) => {
                    self.lines[server].pop_front();
                    self.at_least[self.counts[server]] -= 1.0;
                    self.counts[server] -= 1;
                }
                Event::Hedge(at) => {
                    let (visit, first) = (&visits[at], outcomes[at].server);
                    if self.fleet.servers < 2 || self.saved < 1.0 {
                        continue;
                    }
                    self.saved -= 1.0;
                    let second = self.choose(now, visit.luck.wrapping_add(1), Some(first));
                    outcomes[at].second = Some(second);
                    // Who refuses leaves it with the first.
                    if let Some(ends) = self.send(second, now, visit.again) {
                        outcomes[at].took = outcomes[at].took.min(ends - visit.at);
                    }
                }
            }
        }
    }

    /// Sends a request: when it will be answered, or nothing where it is refused.
    fn send(&mut self, server: usize, now: f64, work: f64) -> Option<f64> {
        let work = match self.fleet.odd {
            Odd::Fails if server == 0 => {
                self.struck(server, now);
                return None;
            }
            Odd::Slow(times) if server == 0 => work * times,
            _ => work,
        };
        let begins = self.lines[server].back().copied().unwrap_or(now);
        let ends = begins.max(now) + work;
        self.lines[server].push_back(ends);
        self.counts[server] += 1;
        let count = self.counts[server];
        if self.at_least.len() <= count {
            self.at_least.resize(count + 1, 0.0);
        }
        self.at_least[count] += 1.0;
        self.plan(ends, Event::Done(server));
        Some(ends)
    }

    fn struck(&mut self, server: usize, now: f64) {
        let Some(Ejection { strikes, back }) = self.fleet.policy.ejection else {
            return;
        };
        self.strikes[server] += 1;
        if self.strikes[server] >= strikes {
            self.out[server] = now + back;
            // Back on probation.
            self.strikes[server] = strikes.saturating_sub(1);
        }
    }

    fn choose(&mut self, now: f64, luck: u64, not: Option<usize>) -> usize {
        let n = self.fleet.servers;
        let mut rng = Pcg64Mcg::seed_from_u64(luck);
        let Policy { choice, age, ejection, .. } = self.fleet.policy;
        let counts = if age > 0.0 { &self.shown } else { &self.counts };
        // Who is out, or has it already, is left out; where nobody is, nobody is listed.
        let listed = ejection.is_some() || not.is_some();
        let mut among: Vec<usize> = Vec::new();
        if listed {
            let all = || (0..n).filter(|i| Some(*i) != not);
            among.extend(all().filter(|i| self.out[*i] <= now));
            if among.is_empty() {
                among.extend(all());
            }
        }
        let m = if listed { among.len() } else { n };
        let server = |i: usize| if listed { among[i] } else { i };
        match choice {
            _ if m == 1 => server(0),
            Choice::Random => server(rng.random_range(0..m)),
            Choice::InTurn => {
                self.turn += 1;
                server((self.turn - 1) % m)
            }
            Choice::Least => {
                let few = (0..m).map(|i| counts[server(i)]).min().unwrap_or(0);
                let best = || (0..m).map(server).filter(|i| counts[*i] == few);
                let any = rng.random_range(0..best().count());
                best().nth(any).unwrap_or(0)
            }
            Choice::Two => of_two(m, &mut rng, server, counts),
        }
    }

    /// How it is left at a time up to which everything has happened.
    fn left(&self, now: f64) -> Start {
        let line = |ends: &VecDeque<f64>| {
            let begins = std::iter::once(now).chain(ends.iter().copied());
            begins.zip(ends).map(|(from, to)| (to - from).max(0.0)).collect()
        };
        Start {
            lines: self.lines.iter().map(line).collect(),
            shown: self.shown.clone(),
            strikes: self.strikes.clone(),
            out: self.out.iter().map(|out| (out - now).max(0.0)).collect(),
            turn: self.turn,
            saved: self.saved,
        }
    }
}

/// Of two different ones of `m` the one with less.
fn of_two(
    m: usize,
    rng: &mut Pcg64Mcg,
    server: impl Fn(usize) -> usize,
    counts: &[usize],
) -> usize {
    let first = rng.random_range(0..m);
    let mut second = rng.random_range(0..m - 1);
    if second >= first {
        second += 1;
    }
    let (first, second) = (server(first), server(second));
    if counts[second] < counts[first] { second } else { first }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn fleet(servers: usize, choice: Choice, odd: Odd) -> Fleet {
        Fleet { servers, odd, policy: choice.into() }
    }

    /// Mean time, share of the first server, and shares of servers with at least k, over so many service times
    /// after a past of 200.
    fn measured(fleet: Fleet, rho: f64, length: f64, seed: u64) -> (f64, f64, Vec<f64>) {
        let rate = rho * fleet.servers as f64;
        let start = fleet.after(rate, 1.0, 200.0, seed + 1).unwrap();
        let all = visits(rate, 1.0, length, seed);
        let run = fleet.run(&start, &all).unwrap();
        let n = all.len() as f64;
        let took = run.outcomes.iter().map(|o| o.took).sum::<f64>() / n;
        let first = run.outcomes.iter().filter(|o| o.server == 0).count() as f64 / n;
        let seen = run.seen.iter().map(|s| s / n / fleet.servers as f64).collect();
        (took, first, seen)
    }

    fn near(a: f64, b: f64, share: f64) {
        assert!((a - b).abs() <= share * b, "{a}, where {b} should be");
    }

    #[test]
    fn formulas_at_points_worked_out_by_hand() {
        assert_eq!([at_least(0.5, 1, 3), at_least(0.5, 2, 3)], [0.125, 0.0078125]);
        assert_eq!([at_least(0.5, 2, 0), at_least(0.0, 2, 1)], [1.0, 0.0]);
        // 1 + 1/4 + 1/64 + 1/2^14 + …
        near(mean_time(0.5, 2), 1.0 + 0.25 + 1.0 / 64.0 + 1.0 / 16384.0, 1e-6);
        near(mean_time(0.9, 1), 10.0, 1e-12);
        near(any_slow(0.01, 100), 0.634, 1e-3);
        // Nobody in front, and with ρ² somebody: e^(−t) and ρ^2·t·e^(−t), and next to nothing beyond.
        near(later_than(0.1, 2, 1.0), (-1.0_f64).exp() * 1.01, 1e-5);
        near(quantile(0.7, 1, 0.95), 20_f64.ln() / 0.3, 1e-6);
        // One server in turn is M/M/1, many are nearly D/M/1: σ = e^(−(1 − σ)/ρ).
        near(mean_time_in_turn(0.8, 1), 5.0, 1e-6);
        near(mean_time_in_turn(0.5, 100_000), 1.0 / (1.0 - 0.203_188), 1e-4);
        // One good server beside it: 1/2 + b/2 of the arrivals are lost, where b is ρ·n·(1/2)/(1 + ρ·n·(1/2)).
        near(sinkhole_of_least(0.5, 2), 0.5 + 0.5 * (0.5 / 1.5), 1e-12);
        near(sinkhole_of_two(0.0, 10), 0.1, 1e-12);
        near(given_up_at_slow(0.8, 10, 5.0, 1.0, 40.0, 100.0), 0.09, 1e-12);
    }

    #[test]
    fn ten_thousand_servers_are_the_limit() {
        for (rho, mean, length) in [(0.5, 1.2657, 15.0), (0.7, 1.6145, 15.0), (0.9, 2.6141, 30.0)] {
            near(mean_time(rho, 2), mean, 1e-4);
            let (took, first, seen) =
                measured(fleet(10_000, Choice::Two, Odd::None), rho, length, 7);
            near(took, mean, 0.01);
            assert!(first < 1e-3);
            for (k, seen) in (0..4).zip(&seen) {
                let limit = at_least(rho, 2, k);
                // A share of ten thousand servers that are looked at once is off by half a point.
                assert!((seen - limit).abs() < 0.01, "{seen} {limit}");
            }
        }
    }

    #[test]
    fn random_is_mm1_and_turns_are_erlang_arrivals() {
        let (took, first, seen) = measured(fleet(10, Choice::Random, Odd::None), 0.7, 4e4, 1);
        near(took, 1.0 / 0.3, 0.03);
        near(first, 0.1, 0.03);
        (1..6).for_each(|k| near(seen[k as usize], at_least(0.7, 1, k), 0.05));
        let (took, first, _) = measured(fleet(10, Choice::InTurn, Odd::None), 0.7, 2e4, 2);
        near(took, mean_time_in_turn(0.7, 10), 0.03);
        near(first, 0.1, 1e-3);
    }

    #[test]
    fn a_server_that_refuses_draws_what_the_formulas_say() {
        for (rho, n) in [(0.7, 10), (0.3, 4)] {
            let (_, least, _) = measured(fleet(n, Choice::Least, Odd::Fails), rho, 2e4, 3);
            near(least, sinkhole_of_least(rho, n), 0.02);
            let (_, two, _) = measured(fleet(n, Choice::Two, Odd::Fails), rho, 2e4, 4);
            near(two, sinkhole_of_two(rho, n), 0.03);
            let ejection = Some(Ejection { strikes: 3, back: 25.0 });
            let ejects = Policy { ejection, ..Choice::Two.into() };
            let ejects = Fleet { policy: ejects, ..fleet(n, Choice::Two, Odd::Fails) };
            let (_, out, _) = measured(ejects, rho, 2e4, 5);
            near(out, sinkhole_ejected(rho, n, 25.0), 0.03);
        }
    }

    #[test]
    fn a_herd_is_worse_than_no_knowledge_and_two_choices_bear_it() {
        let aged = |choice, age| {
            let policy = Policy { age, ..Policy::from(choice) };
            measured(Fleet { policy, ..fleet(10, choice, Odd::None) }, 0.7, 5e3, 6).0
        };
        let random = mean_time(0.7, 1);
        assert!(aged(Choice::Least, 0.0) < aged(Choice::Least, 1.0));
        assert!(aged(Choice::Least, 20.0) > 2.0 * random);
        assert!(aged(Choice::Two, 5.0) < aged(Choice::Least, 5.0));
    }

    #[test]
    fn a_slow_server_is_given_up_as_its_line_grows() {
        let slow = fleet(10, Choice::InTurn, Odd::Slow(4.0));
        let all = visits(7.0, 1.0, 500.0, 8);
        let run = slow.run(&slow.idle(), &all).unwrap();
        let late = run.outcomes.iter().filter(|o| o.took > 50.0).count() as f64 / all.len() as f64;
        near(late, given_up_at_slow(0.7, 10, 4.0, 0.0, 50.0, 500.0), 0.05);
    }

    #[test]
    fn a_second_request_goes_elsewhere_and_the_first_answer_counts() {
        let hedge = Hedge { after: 3.0, budget: f64::INFINITY };
        let policy = Policy { hedge: Some(hedge), ..Choice::Random.into() };
        let hedged = Fleet { policy, ..fleet(2, Choice::Random, Odd::None) };
        // Whoever comes first is stuck for ten; the second request is done in one.
        let visit = Visit { at: 0.0, work: 10.0, luck: 1, again: 1.0 };
        let run = hedged.run(&hedged.idle(), &[visit]).unwrap();
        let Outcome { server, second, took, failed } = run.outcomes[0];
        assert_eq!((second, took, failed), (Some(1 - server), 4.0, false));
    }

    #[test]
    fn second_requests_at_more_than_half_the_capacity_need_a_budget() {
        let hedged = |budget| {
            let hedge = Some(Hedge { after: quantile(0.7, 2, 0.95), budget });
            let policy = Policy { hedge, ..Choice::Two.into() };
            let fleet = Fleet { policy, ..fleet(10, Choice::Two, Odd::None) };
            let all = visits(7.0, 1.0, 2000.0, 9);
            let run = fleet.run(&fleet.idle(), &all).unwrap();
            let n = all.len() as f64;
            let took = run.outcomes.iter().map(|o| o.took).sum::<f64>() / n;
            (took, run.outcomes.iter().filter(|o| o.second.is_some()).count() as f64 / n)
        };
        // Twice 0.7 is more than can be done: once all are late, all are sent twice, and so stay late.
        let (took, share) = hedged(f64::INFINITY);
        assert!(took > 20.0 && share > 0.5, "{took} {share}");
        let (took, share) = hedged(0.05);
        assert!(took < 2.0 && share <= 0.051, "{took} {share}");
    }

    #[test]
    fn odd_input() {
        assert!(at_least(1.0, 2, 1).is_nan() && at_least(0.5, 0, 1).is_nan());
        assert!(later_than(0.5, 2, -1.0).is_nan() && quantile(0.5, 2, 1.0).is_nan());
        assert!(mean_time(f64::NAN, 2).is_nan() && mean_time(2.0, 2).is_nan());
        assert!(mean_time_in_turn(1.0, 3).is_nan() && mean_time_in_turn(0.5, 0).is_nan());
        assert!(sinkhole_of_least(-1.0, 3).is_nan() && sinkhole_of_least(0.5, 1).is_nan());
        assert!(sinkhole_of_two(0.99, 2).is_finite() && sinkhole_of_two(5.0, 10).is_nan());
        assert!(sinkhole_ejected(0.95, 10, 1.0).is_nan() && any_slow(2.0, 1).is_nan());
        assert!(given_up_at_slow(0.5, 0, 2.0, 0.0, 1.0, 1.0).is_nan());
        assert!(visits(f64::NAN, 1.0, 1.0, 1).is_empty());
        let none = fleet(0, Choice::Two, Odd::None);
        assert!(none.run(&none.idle(), &[]).is_none());
        let one = fleet(1, Choice::Two, Odd::None);
        assert_eq!(one.run(&one.idle(), &visits(0.5, 1.0, 50.0, 1)).unwrap().outcomes[0].server, 0);
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(12))]
        #[test]
        fn the_mean_is_the_integral_of_those_who_are_still_there(rho in 0.05..0.9f64, d in 1u32..4) {
            let step = 0.1;
            let end = quantile(rho, d, 1.0 - 1e-6);
            let each = (0..(end / step) as u32).map(|i| later_than(rho, d, (f64::from(i) + 0.5) * step));
            let mean = each.sum::<f64>() * step;
            prop_assert!((mean / mean_time(rho, d) - 1.0).abs() < 2e-3, "{} {}", mean, mean_time(rho, d));
            let long = later_than(rho, 1, 3.0);
            prop_assert!((long / (-(1.0 - rho) * 3.0).exp() - 1.0).abs() < 1e-9);
        }
    }

    proptest! {
        // Every policy in every world: nobody is lost, nobody is served before it came, and what is left is what
        // has not been done.
        #[test]
        fn everybody_is_answered_once(
            servers in 1usize..8, which in 0usize..4, odd in 0usize..3, age in 0.0..3f64,
            hedge in prop::option::of((0.1..3f64, 0.01..2f64)), ejects in prop::option::of(0.5..9f64), seed in 0u64..1000,
        ) {
            let hedge = hedge.map(|(after, budget)| Hedge { after, budget });
            let choice = [Choice::Random, Choice::InTurn, Choice::Least, Choice::Two][which];
            let ejection = ejects.map(|back| Ejection { strikes: 2, back });
            let fleet = Fleet {
                servers,
                odd: [Odd::None, Odd::Slow(3.0), Odd::Fails][odd],
                policy: Policy { choice, age, ejection, hedge },
            };
            let all = visits(0.7 * servers as f64, 1.0, 40.0, seed);
            let run = fleet.run(&fleet.idle(), &all).unwrap();
            prop_assert_eq!(run.outcomes.len(), all.len());
            for (visit, outcome) in all.iter().zip(&run.outcomes) {
                prop_assert!(outcome.server < servers && Some(outcome.server) != outcome.second);
                prop_assert_eq!(outcome.failed, odd == 2 && outcome.server == 0);
                let least = if outcome.failed { 0.0 } else { visit.work.min(visit.again) };
                prop_assert!(outcome.took >= least - 1e-9);
                prop_assert!(outcome.second.is_none() || hedge.is_some_and(|h| outcome.took > h.after));
            }
            // Cut in two, the second half goes on where the first has left off, but for who was hedged.
            if hedge.is_none() && age == 0.0 && all.len() > 4 {
                let (first, second) = all.split_at(all.len() / 2);
                let cut = first.last().unwrap().at;
                let one = fleet.run(&fleet.idle(), first).unwrap();
                let later: Vec<Visit> = second.iter().map(|v| Visit { at: v.at - cut, ..*v }).collect();
                let two = fleet.run(&one.left, &later).unwrap();
                let whole: Vec<usize> = run.outcomes.iter().map(|o| o.server).collect();
                let parts: Vec<usize> = one.outcomes.iter().chain(&two.outcomes).map(|o| o.server).collect();
                prop_assert_eq!(whole, parts);
            }
        }
    }
}
