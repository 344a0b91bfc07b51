//! # Fan-out and inference
//!
//! ## The question
//!
//! Three sources, then inference: what decides how long it takes?

use lab_kit::prelude::*;

mod findings;

/// The constants of the experiment.
#[derive(Args, Debug, Serialize, Deserialize)]
pub struct Params {}

/// lab10.
pub struct FanOutInference;

impl Lab for FanOutInference {
    type Params = Params;

    const CARD: Card = Card {
        number: 10,
        name: "fan_out_inference",
        title: "Fan-out and inference",
        question: "Three sources, then inference: what decides how long it takes?",
        predict: &[],
        next: &[],
        source: include_str!("lab10_fan_out_inference.rs"),
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
