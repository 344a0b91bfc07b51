//! # The resilient client
//!
//! ## The question
//!
//! What does a production HTTP client do?

use lab_kit::prelude::*;

mod findings;

/// The constants of the experiment.
#[derive(Args, Debug, Serialize, Deserialize)]
pub struct Params {}

/// lab05.
pub struct ResilientClient;

impl Lab for ResilientClient {
    type Params = Params;

    const CARD: Card = Card {
        number: 5,
        name: "resilient_client",
        title: "The resilient client",
        question: "What does a production HTTP client do?",
        predict: &[],
        next: &[],
        source: include_str!("lab05_resilient_client.rs"),
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
