//! # Choosing a server
//!
//! ## The question
//!
//! There are {servers} servers, and one of them may be slow or broken. Which one gets the next request?
//!
//! ## What to predict
//!
//! A fleet has {servers} servers (`n`). Each serves one request at a time, for {service} on average
//! (`s`). Requests come at random, {load} times as many as the servers can do together (`ρ`). In a first
//! world all servers are alike. In a second one server takes {slow} times as long. In a third one
//! server refuses everything, at once.
//!
//! A balancer takes a server *at random*, or one after another (*in turn*), or one with the *least in
//! flight*, or the better of *two* drawn at random. How long do the slowest in a hundred take? How much
//! ends at the server that refuses?
//!
//! Then a request needs many answers, of which a share of {tail} is slow. How many such requests are slow?
//!
//! ## The experiment
//!
//! The balancer is below. It knows what it has sent and not heard of, and nothing else. Each condition
//! is many independent fleets side by side: they only sleep, which costs no processor. Each fleet has
//! random numbers of its own, and begins as a past in virtual time has left it. A client gives up after
//! {patience}.
//!
//! Further balancers look at counts that are read only now and then ({ages}), put a server out for
//! {ejected} when it errs {strikes} times in a row, or send a second request for what is late: later
//! than a share of {hedge} of all requests by two choices. One of these sends as many as are late, the
//! other keeps within a budget.
//!
//! ## What the figures show
//!
//! At random each server is a queue by itself, M/M/1: a share `ρ^k` of the servers has `k` requests or
//! more. Some servers have a long line while others have nothing to do. With two choices the share is
//! `ρ^(2^k − 1)`, for very many servers (Vvedenskaya, Dobrushin and Karpelevich 1996; Mitzenmacher
//! 1996, 2001): the second look makes long lines not rarer but nearly impossible. The figure has {servers}
//! servers measured, ten thousand simulated, and the formula. Taking servers in turn evens out
//! the arrivals and not the services, and gains less.
//!
//! A slow server gets its `n`-th of all requests at random and in turn, whatever it can do. Its line grows
//! without end, and who meets it gives up. Counts in flight need no health check to see that: a server
//! that answers late is one that has much in flight.
//!
//! A server that errs at once has nothing in flight, ever. To a balancer that counts an error as an answer it
//! is the best of all servers. By least in flight it gets every request that finds the others busy, and its
//! share of the rest. By two choices it gets `(1 + a)/(n + a)` with `a = ρ·n/(n − 1)`, since it is in two draws
//! of `n`, and wins unless the other is idle too. The remaining requests are answered *faster* than before: a
//! dashboard of latencies shows an improvement. Putting out who errs leaves about one probe for each {ejected}.
//!
//! Old counts make a herd. Until they are read anew everybody takes the server that looked best, and it is
//! the worst by then. From some age on the least of all is worse than no knowledge (Mitzenmacher 2000). The
//! better of two bears far older counts: a server that looks best is drawn by two in `n` and not by all.
//!
//! A second request helps when lateness belongs to a server. When lateness comes from load it adds load, and
//! once all are late all are sent twice: with `2ρ > 1` the servers tip over, given time, and stay so, like with
//! the retries of lab 15. (Here they have had a long past to do so.) A budget bounds that. At a slow server it
//! still shortens the slowest in a hundred, and the mean becomes a little longer.
//!
//! Who needs `k` answers waits for the slowest: `1 − (1 − p)^k` of these requests are slow (Dean and Barroso
//! 2013). Where slow answers are independent a second request makes `p` into `p²`, for a share `p` more
//! requests.
//!
//! Each fleet is also held against the very same requests in virtual time, so that no luck is in it. The
//! other predictions have only the flags.
//!
//! ## A common belief
//!
//! *The more a balancer knows, the better it chooses.* The least loaded of all is best only while that is
//! true. Knowledge that is too old, or that takes an error for an answer, can be worse than none.
//!
//! *Round robin is fair.* It is fair in requests, and that is not what servers differ in.
//!
//! ## In production
//!
//! Take the better of two by your own count in flight; most proxies have it (least request, P2C). Count errors
//! as a reason against a server, and put out who errs in a row, but never all of them. Let who comes back prove
//! itself with one request. Watch the *share* of requests that each server gets: a sinkhole shows there first, and
//! as good latency. Do not choose by a metric that is older than a few service times. Send second requests only
//! within a budget, and cancel the one that is not needed any more. Bound fan-out, or bound its tail.
//!
//! ## Check yourself
//!
//! - Suppose a server answers with an empty page at once, with status 200. Which of the balancers below notices?
//! - Why does one more look gain so much, and a third one little?
//! - Suppose that fifty balancers each count their own requests only. What is the count in flight worth then?
//! - Suppose a load of 0.4. Can second requests without a budget tip the servers over?

use std::sync::Mutex;

use lab_kit::prelude::*;
use rand::RngExt;
use rand_pcg::Pcg64Mcg;

mod crowd;
mod fan_out;
mod figures;
mod findings;
mod fleet;
mod forecast;
mod gauges;
mod plan;
mod premise;
mod tally;
mod view;

use fan_out::Asked;
use fleet::{Answer, Refused, Visit};
pub use plan::{ChoosingAServerLab, Params};

/// What a balancer knows: what it has sent and not heard of, and who has erred.
struct Known {
    in_flight: Vec<usize>,
    strikes: Vec<u32>,
    out_until: Vec<Instant>,
    turn: usize,
    /// Second requests saved up.
    saved: f64,
}

// wrong(1): Any server
/// Any of those that may be asked.
fn any(among: &[usize], rng: &mut Pcg64Mcg) -> usize {
    among[rng.random_range(0..among.len())]
}

/// One after another.
fn in_turn(among: &[usize], turn: &mut usize) -> usize {
    *turn += 1;
    among[(*turn - 1) % among.len()]
}

// right(1): The better of two
// so(1): Two counts are looked at and not all. Whom chance has given a line is spared, and nobody
//     is taken for the best by all at once.
/// Of two different ones drawn at random the one with less in flight.
fn better_of_two(among: &[usize], in_flight: &[usize], rng: &mut Pcg64Mcg) -> usize {
    if among.len() == 1 {
        return among[0];
    }
    let first = rng.random_range(0..among.len());
    let other = rng.random_range(0..among.len() - 1);
    let second = if other < first { other } else { other + 1 };
    let (first, second) = (among[first], among[second]);
    if in_flight[second] < in_flight[first] { second } else { first }
}

// wrong(2): The best of all, as of a while ago
/// One with the least in flight. Right while the counts are fresh; with counts that everybody reads and nobody
/// renews, everybody takes the same.
fn least(among: &[usize], in_flight: &[usize], rng: &mut Pcg64Mcg) -> usize {
    let few = among.iter().map(|server| in_flight[*server]).min();
    let best = among.iter().copied().filter(|server| Some(in_flight[*server]) == few);
    any(&best.collect::<Vec<_>>(), rng)
}

// right(2): The better of two, as of a while ago
// so(2): The same old counts, and no herd: who looks best is drawn by two in n and not by all.
/// However old the counts are, a server is drawn for two of n requests and no more.
fn better_of_two_old(among: &[usize], shown: &[usize], rng: &mut Pcg64Mcg) -> usize {
    better_of_two(among, shown, rng)
}

// wrong(3): An error is an answer like any other
/// Who errs at once is free at once, and so the best choice for the next one.
fn heard(known: &Mutex<Known>, server: usize, _: &Result<Answer, Refused>) {
    let mut known = known.lock().expect("nobody panics holding it");
    known.in_flight[server] -= 1;
}

// right(3): Who errs is out for a while
// so(3): A count of errors in a row. Who is out is not asked, and who is back is asked once.
/// An error is no sign of a short line. When a server is back, its first error puts it out again.
fn heard_and_ejected(
    known: &Mutex<Known>,
    server: usize,
    answer: &Result<Answer, Refused>,
    (strikes, out): (u32, Duration),
) {
    let mut known = known.lock().expect("nobody panics holding it");
    known.in_flight[server] -= 1;
    match answer {
        Ok(_) => known.strikes[server] = 0,
        Err(Refused) => known.strikes[server] += 1,
    }
    if known.strikes[server] >= strikes {
        known.out_until[server] = Instant::now() + out;
        known.strikes[server] = strikes - 1;
    }
}

/// Who may be asked: those that are not out; all, when all are.
fn may_be_asked(known: &Known, not: Option<usize>) -> Vec<usize> {
    let now = Instant::now();
    let all = || (0..known.in_flight.len()).filter(|server| Some(*server) != not);
    let among: Vec<usize> = all().filter(|server| known.out_until[*server] <= now).collect();
    if among.is_empty() { all().collect() } else { among }
}

// wrong(4): Whatever is late is sent again
/// More load, and just when there is too much of it.
fn whatever_is_late() -> bool {
    true
}

// right(4): Within a budget
// so(4): Each request saves up a small part of a second one. However many are late, no more are added.
fn within_budget(known: &Mutex<Known>) -> bool {
    let mut known = known.lock().expect("nobody panics holding it");
    let saved = known.saved >= 1.0;
    if saved {
        known.saved -= 1.0;
    }
    saved
}

/// Asks once: as slow as the server that was asked.
async fn ask(asked: Asked) {
    asked.first().await;
}

/// Asks another when it takes long; the first answer counts. Both must be slow for it to be slow.
/// Tells whether another was asked.
async fn ask_again(asked: Asked, after: Duration) -> bool {
    if tokio::time::timeout(after, asked.first()).await.is_ok() {
        return false;
    }
    tokio::select! {
        () = asked.first() => true,
        () = asked.second() => true,
    }
}

#[cfg(test)]
mod tests;
