//! # The hybrid speed-up
//!
//! ## The question
//!
//! How much faster is I/O and CPU together?

use lab_kit::prelude::*;

mod findings;

/// The constants of the experiment.
#[derive(Args, Debug, Serialize, Deserialize)]
pub struct Params {}

/// lab07.
pub struct HybridSpeedup;

impl Lab for HybridSpeedup {
    type Params = Params;

    const CARD: Card = Card {
        number: 7,
        name: "hybrid_speedup",
        title: "The hybrid speed-up",
        question: "How much faster is I/O and CPU together?",
        predict: &[],
        next: &[],
        source: include_str!("lab07_hybrid_speedup.rs"),
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
