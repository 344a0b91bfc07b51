//! Lab 3: no more at a time than can be answered in time.

use lab_kit::prelude::*;

use crate::{
    asked::Asked,
    brief::Brief,
    check::{self, Check},
    gauges,
};

/// Lab 3.
pub struct Trap;

impl Trap {
    /// The most requests at a time that a service with c slots of s answers within T: ⌊T/s⌋ waves of c.
    fn useful(p: &Asked) -> f64 {
        let waves = p.timeout.duration().as_nanos() / p.service.of.mean().as_nanos().max(1);
        p.slots as f64 * waves as f64
    }
}

impl Brief for Trap {
    const CARD: Card = Card {
        number: 3,
        name: "judge_trap",
        title: "A program and the trap",
        question: "Does the program ask for more at a time than can be answered in time?",
        predict: &[],
        next: &[],
        sources: &[],
        answers: "",
        sizes: Sizes { smoke: &["--n", "80"], full: &["--n", "900"], trials: (3, 5) },
    };

    const FLAGS: &'static [(&'static str, &'static str)] =
        &[("n", "300"), ("timeout", "325ms"), ("slots", "10"), ("service", "50ms")];

    const TASK: &'static str = "GET {url}/items/0 to {url}/items/N-1, each once. Give a request up when it has taken {timeout} seconds: close its connection. No request should have to be given up. The program decides how many requests are in flight at a time. With too many, every answer comes too late; with too few, the service stands idle. It serves --slots requests at a time, each in --service; how many in flight are best follows from these two and the timeout.";

    fn spec(p: &Asked, seed: u64) -> Spec {
        Spec { seed, ..Spec::new(p.slots, p.service.of.clone()) }
    }

    fn checks(p: &Asked, k: &Condition) -> Vec<Check> {
        let most = k.every(|t| t.gauge(gauges::AT_SERVICE_MAX));
        let in_flight = Law::counted(
            "no more requests are in flight than can be answered within the timeout",
            "requests",
        );
        let given_up = k.every(|t| t.gauge(gauges::GIVEN_UP));
        let spare = p.timeout.s() / 4.0;
        let wasted = Law::new(
            "no attempt has to be given up",
            "attempts",
            Disturbed::Beyond(Resource::Timers, spare),
        );
        let capacity = p.slots as f64 / p.service_s();
        let goodput = k.estimate(|t| Some(t.gauge(gauges::ANSWERED)? / t.wall_s));
        let law = Law::new(
            "answers come at 80 % of the service's capacity at least",
            "per s",
            Disturbed::Fewer(Resource::Processors),
        );
        vec![
            check::nothing_lost(k),
            check::nothing_twice(p, k),
            check::nothing_else(k),
            check::all_recovered(k, |_| Some(p.n as f64)),
            check::has_a_timeout(p, k),
            Check {
                fault: "too many requests at once",
                cause: "an unbounded burst, or a limit that is too high: the queue is longer than anybody waits",
                claim: in_flight.at_most([Case::exact("", Trap::useful(p), most)]),
            },
            Check {
                fault: "requests given up",
                cause: "too many requests in flight, or too short a timeout in the program: the service works for nobody",
                claim: wasted.near([Case::exact("", 0.0, given_up)]),
            },
            Check {
                fault: "the service stands idle",
                cause: "one request after another, or too few at a time",
                claim: law.goal().at_least([Case::exact("", 0.8 * capacity, goodput)]),
            },
        ]
    }

    fn seconds(p: &Asked) -> f64 {
        p.n as f64 * p.service_s() / p.slots as f64
    }
}
