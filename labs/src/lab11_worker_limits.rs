//! # Worker limits
//!
//! ## The question
//!
//! How many fetches, how many workers?

use lab_kit::prelude::*;

mod findings;

/// The constants of the experiment.
#[derive(Args, Debug, Serialize, Deserialize)]
pub struct Params {}

/// lab11.
pub struct WorkerLimits;

impl Lab for WorkerLimits {
    type Params = Params;

    const CARD: Card = Card {
        number: 11,
        name: "worker_limits",
        title: "Worker limits",
        question: "How many fetches, how many workers?",
        predict: &[],
        next: &[],
        source: include_str!("lab11_worker_limits.rs"),
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
