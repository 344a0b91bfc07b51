//! What each lab asks of a program.

mod ingestion;
mod limit;
mod overlap;
mod resilient;
mod trap;

pub use ingestion::Ingestion;
pub use limit::Limit;
pub use overlap::Overlap;
pub use resilient::Resilient;
pub use trap::Trap;
