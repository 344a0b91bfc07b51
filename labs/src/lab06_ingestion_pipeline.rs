//! # The ingestion pipeline
//!
//! ## The question
//!
//! How does a file larger than memory become API calls?

use lab_kit::prelude::*;

mod findings;

/// The constants of the experiment.
#[derive(Args, Debug, Serialize, Deserialize)]
pub struct Params {}

/// lab06.
pub struct IngestionPipeline;

impl Lab for IngestionPipeline {
    type Params = Params;

    const CARD: Card = Card {
        number: 6,
        name: "ingestion_pipeline",
        title: "The ingestion pipeline",
        question: "How does a file larger than memory become API calls?",
        predict: &[],
        next: &[],
        source: include_str!("lab06_ingestion_pipeline.rs"),
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
