//! What each lab asks of a program.

mod crawl;
mod fan_out;
mod ingestion;
mod limit;
mod overlap;
mod pipeline;
mod resilient;
mod trap;

pub use crawl::Crawl;
pub use fan_out::FanOut;
pub use ingestion::Ingestion;
pub use limit::Limit;
pub use overlap::Overlap;
pub use pipeline::Pipeline;
pub use resilient::Resilient;
pub use trap::Trap;
