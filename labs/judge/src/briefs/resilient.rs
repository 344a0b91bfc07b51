//! Lab 5: failures that pass, failures that stay, and requests that must not be sent twice.

use lab_kit::prelude::*;
use mock_server::{Entry, Script, Turn};

use crate::{
    asked::Asked,
    brief::Brief,
    check::{self, Check},
    gauges,
    reading::{self, Items},
};

/// Lab 5.
pub struct Resilient;

/// What becomes of an item, by its number.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    /// 429 and Retry-After: 2, once.
    Busy,
    /// 500, twice.
    Fails,
    /// 404, for ever.
    Gone,
    /// The first answer comes after the client has given up.
    Slow,
    /// An answer.
    Fine,
}

impl Kind {
    fn of(item: u64, seed: u64) -> Kind {
        match (item + seed % 10) % 10 {
            0 | 1 => Kind::Busy,
            2 | 3 => Kind::Fails,
            4 => Kind::Gone,
            5 => Kind::Slow,
            _ => Kind::Fine,
        }
    }
}

/// The requests that are sent once.
const ORDERS: &str = "POST /orders";

/// An answer that comes so many timeouts late.
const LATE: u32 = 5;

/// What a 429 asks to wait.
const RETRY_AFTER: Duration = Duration::from_secs(2);

impl Resilient {
    /// Seconds that an item is in flight, in the mean: one in five takes a second request, one in five a second
    /// and a third, one in ten a timeout.
    fn in_flight_s(p: &Asked) -> f64 {
        1.6 * p.service_s() + 0.1 * p.timeout.s()
    }

    /// Seconds that an item waits for its next attempt, in the mean.
    fn pauses_s(p: &Asked) -> f64 {
        0.2 * RETRY_AFTER.as_secs_f64() + (0.2 * 3.0 + 0.1) * p.backoff.s()
    }

    /// The share of a limit that is in use when permits are held through the pauses.
    fn held_share(p: &Asked) -> f64 {
        let used = Resilient::in_flight_s(p);
        used / (used + Resilient::pauses_s(p))
    }
}

impl Brief for Resilient {
    const CARD: Card = Card {
        number: 5,
        name: "judge_resilient",
        title: "A program and what fails",
        question: "Which failures does the program try again, when, and which not?",
        predict: &[],
        next: &[],
        sources: &[],
        answers: "",
        sizes: Sizes { smoke: &["--n", "40", "--orders", "4"], full: &[], trials: (3, 5) },
    };

    const FLAGS: &'static [(&'static str, &'static str)] = &[
        ("n", "100"),
        ("limit", "10"),
        ("timeout", "400ms"),
        ("orders", "20"),
        ("attempts", "4"),
        ("backoff", "50ms"),
        ("slots", "100"),
        ("service", "20ms"),
    ];

    const TASK: &'static str = "GET {url}/items/0 to {url}/items/N-1, and POST {url}/orders/0 to {url}/orders/M-1 (M is {orders}), with no more than {limit} requests in flight at any time. Give an attempt up after {timeout} seconds. Try an item again after a time-out, a broken connection, a 5xx or a 429, at most {attempts} times in all. Where an answer has a Retry-After, wait for so many seconds at least. Else wait for about {backoff} seconds before the second attempt, and twice as long before each further one; multiply each wait by a random number from 0.5 to 1.5. Other items go on meanwhile. What is not there (404) is not tried again. An order is sent once, whatever is answered.";

    /// Some items fail twice.
    const LEAST_ATTEMPTS: usize = 3;

    fn spec(p: &Asked, seed: u64) -> Spec {
        let late = p.timeout.duration() * LATE;
        let script = Script::new(move |asked, before| {
            let item = asked.path.rsplit('/').next().and_then(|last| last.parse().ok());
            let item: u64 = item.unwrap_or(0);
            if asked.path.starts_with("/orders/") {
                // Every other order fails, and may have been carried out.
                return if item.is_multiple_of(2) { Turn::fails(500) } else { Turn::default() };
            }
            match (Kind::of(item, seed), before) {
                (Kind::Busy, 0) => Turn::fails(429),
                (Kind::Fails, 0 | 1) => Turn::fails(500),
                (Kind::Gone, _) => Turn::fails(404),
                (Kind::Slow, 0) => Turn::takes(late),
                _ => Turn::default(),
            }
        });
        Spec {
            seed,
            script: Some(script),
            retry_after: RETRY_AFTER,
            ..Spec::new(p.slots, p.service.of.clone())
        }
    }

    fn knows(p: &Asked, entry: &Entry) -> bool {
        reading::number(entry, ORDERS).is_some_and(|order| order < p.orders)
    }

    fn read(p: &Asked, ledger: &[Entry]) -> Vec<(Gauge, f64)> {
        let orders = reading::numbered(ORDERS, p.orders);
        let orders = Items::of(ledger, &orders, p.gives_up::<Self>());
        let again = orders.attempts() - orders.tries.len();
        vec![(gauges::ORDERS_MISSED, orders.missed() as f64), (gauges::ORDERS_AGAIN, again as f64)]
    }

    fn checks(p: &Asked, k: &Condition) -> Vec<Check> {
        // Which are not there depends on the trial.
        let there = |t: &Trial| Some(p.n as f64 - t.gauge(gauges::GONE)?);
        vec![
            check::nothing_lost(k),
            check::nothing_twice(p, k),
            check::nothing_else(k),
            check::limit_holds(p, k, Self::LIMITED),
            check::has_a_timeout(p, k),
            check::all_recovered(k, there),
            check::tries_are_bounded(p, k),
            check::backs_off(k),
            check::backs_off_further(p, k),
            check::honours_retry_after(k),
            check::sleeps_without_a_permit(p, k, Resilient::held_share(p)),
            check::gone_is_gone(k),
            check::orders_sent(k),
            check::orders_once(k),
        ]
    }

    fn seconds(p: &Asked) -> f64 {
        let items = p.n as f64 * Resilient::in_flight_s(p);
        let orders = p.orders as f64 * p.service_s();
        RETRY_AFTER.as_secs_f64() + (items + orders) / p.limit.min(p.slots) as f64
    }
}
