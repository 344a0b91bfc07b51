//! # The production pipeline
//!
//! ## The question
//!
//! What happens when things fail?

use lab_kit::prelude::*;

mod findings;

/// The constants of the experiment.
#[derive(Args, Debug, Serialize, Deserialize)]
pub struct Params {}

/// lab12.
pub struct ProductionPipeline;

impl Lab for ProductionPipeline {
    type Params = Params;

    const CARD: Card = Card {
        number: 12,
        name: "production_pipeline",
        title: "The production pipeline",
        question: "What happens when things fail?",
        predict: &[],
        next: &[],
        source: include_str!("lab12_production_pipeline.rs"),
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
