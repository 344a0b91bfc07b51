//! Lab 4: a limit for all requests together.

use lab_kit::prelude::*;

use crate::{
    asked::Asked,
    brief::Brief,
    check::{self, Check},
};

/// Lab 4.
pub struct Limit;

impl Brief for Limit {
    const CARD: Card = Card {
        number: 4,
        name: "judge_limit",
        title: "A program and its limit",
        question: "Does the program keep the limit that it was given, and use all of it?",
        predict: &[],
        next: &[],
        sources: &[],
        answers: "",
        sizes: Sizes { smoke: &["--n", "40"], full: &["--n", "600"], trials: (3, 5) },
    };

    const FLAGS: &'static [(&'static str, &'static str)] = &[
        ("n", "200"),
        ("limit", "10"),
        ("slots", "10"),
        ("service", "lognormal:50ms:0.5"),
        ("timeout", "5s"),
    ];

    const TASK: &'static str = "GET {url}/items/0 to {url}/items/N-1, each once, with no more than {limit} requests in flight at any time. The next request begins as soon as any other has ended. No answer takes {timeout} seconds.";

    fn spec(p: &Asked, seed: u64) -> Spec {
        Spec { seed, ..Spec::new(p.slots, p.service.of.clone()) }
    }

    fn checks(p: &Asked, k: &Condition) -> Vec<Check> {
        vec![
            check::nothing_lost(k),
            check::nothing_twice(p, k),
            check::nothing_else(k),
            check::limit_holds(p, k, Self::LIMITED),
            check::limit_is_used(p, k),
            check::no_barriers(p, k),
        ]
    }
}
