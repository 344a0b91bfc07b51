//! Lab 6: chunks to an endpoint, through a window.

use lab_kit::prelude::*;

use crate::{
    asked::Asked,
    brief::Brief,
    check::{self, Check},
    reading,
};

/// Lab 6.
pub struct Ingestion;

impl Brief for Ingestion {
    const CARD: Card = Card {
        number: 6,
        name: "judge_ingestion",
        title: "A program and its window",
        question: "Does the slowest chunk hold up the others?",
        predict: &[],
        next: &[],
        sources: &[],
        answers: "",
        sizes: Sizes { smoke: &["--n", "40"], full: &["--n", "600"], trials: (3, 5) },
    };

    const FLAGS: &'static [(&'static str, &'static str)] = &[
        ("n", "200"),
        ("limit", "10"),
        ("slots", "100"),
        ("service", "exp:50ms"),
        ("timeout", "5s"),
    ];

    const TASK: &'static str = "POST to {url}/embeddings/0 to {url}/embeddings/N-1, each once, with any body. No more than {limit} requests are in flight at any time. The next one begins as soon as any other has ended, not when a batch has. No answer takes {timeout} seconds.";

    fn items(p: &Asked) -> Vec<String> {
        reading::numbered("POST /embeddings", p.n)
    }

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
