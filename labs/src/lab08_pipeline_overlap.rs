//! # Pipeline overlap
//!
//! ## The question
//!
//! Why do stages with queues beat phases?

use lab_kit::prelude::*;

mod findings;

/// The constants of the experiment.
#[derive(Args, Debug, Serialize, Deserialize)]
pub struct Params {}

/// lab08.
pub struct PipelineOverlap;

impl Lab for PipelineOverlap {
    type Params = Params;

    const CARD: Card = Card {
        number: 8,
        name: "pipeline_overlap",
        title: "Pipeline overlap",
        question: "Why do stages with queues beat phases?",
        predict: &[],
        next: &[],
        source: include_str!("lab08_pipeline_overlap.rs"),
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
