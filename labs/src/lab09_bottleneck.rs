//! # The bottleneck
//!
//! ## The question
//!
//! Which stage holds the system back, and what would help?

use lab_kit::prelude::*;

mod findings;

/// The constants of the experiment.
#[derive(Args, Debug, Serialize, Deserialize)]
pub struct Params {}

/// lab09.
pub struct Bottleneck;

impl Lab for Bottleneck {
    type Params = Params;

    const CARD: Card = Card {
        number: 9,
        name: "bottleneck",
        title: "The bottleneck",
        question: "Which stage holds the system back, and what would help?",
        predict: &[],
        next: &[],
        source: include_str!("lab09_bottleneck.rs"),
        sizes: Sizes {
            smoke: &[],
            full: &[],
            trials: (1, 3),
        },
    };

    fn measure(_p: &Params, _session: &mut Session) -> Result<()> {
        Ok(())
    }

    fn explain(p: &Params, summary: &Summary) -> Findings {
        findings::explain(p, summary)
    }
}
