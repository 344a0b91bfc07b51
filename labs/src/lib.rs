//! The syllabus: one line a lab.

use lab_kit::{
    heap::Counting,
    lab::{Experiment, entry},
};

/// Counts the heap of threads that ask for it: see [`lab_kit::heap`].
#[global_allocator]
static ALLOCATOR: Counting = Counting;

pub mod bridge;
pub mod client;
pub mod crawl;
pub mod lab01_waiting_and_working;
pub mod lab02_event_loop;
pub mod lab03_concurrency_trap;
pub mod lab04_semaphore_limits;
pub mod lab05_resilient_client;
pub mod lab06_ingestion_pipeline;
pub mod lab07_hybrid_speedup;
pub mod lab08_pipeline_overlap;
pub mod lab09_bottleneck;
pub mod lab10_fan_out_inference;
pub mod lab11_worker_limits;
pub mod lab12_production_pipeline;
pub mod lab13_fifty_thousand_chatters;
pub mod lab14_chat_room;
pub mod lab15_backpressure;
pub mod lab16_data_copy_tax;
pub mod lab17_shared_state;
pub mod lab18_map_reduce;
pub mod lab19_web_scraper;

/// Every lab, in the order of the course.
pub const SYLLABUS: &[&dyn Experiment] = &[
    entry::<lab01_waiting_and_working::WaitingAndWorking>(),
    entry::<lab02_event_loop::EventLoop>(),
    entry::<lab03_concurrency_trap::ConcurrencyTrap>(),
    entry::<lab04_semaphore_limits::SemaphoreLimits>(),
    entry::<lab05_resilient_client::ResilientClient>(),
    entry::<lab06_ingestion_pipeline::IngestionPipeline>(),
    entry::<lab07_hybrid_speedup::HybridSpeedup>(),
    entry::<lab08_pipeline_overlap::PipelineOverlap>(),
    entry::<lab09_bottleneck::Bottleneck>(),
    entry::<lab10_fan_out_inference::FanOutInference>(),
    entry::<lab11_worker_limits::WorkerLimits>(),
    entry::<lab12_production_pipeline::ProductionPipeline>(),
    entry::<lab13_fifty_thousand_chatters::FiftyThousandChatters>(),
    entry::<lab14_chat_room::ChatRoom>(),
    entry::<lab15_backpressure::Backpressure>(),
    entry::<lab16_data_copy_tax::DataCopyTax>(),
    entry::<lab17_shared_state::SharedState>(),
    entry::<lab18_map_reduce::MapReduce>(),
    entry::<lab19_web_scraper::WebScraper>(),
];

/// What a numbered binary runs.
///
/// # Panics
/// When the syllabus has no such lab, which is a slip in the binary.
pub fn numbered(number: u8) -> &'static dyn Experiment {
    let found = SYLLABUS
        .iter()
        .copied()
        .find(|lab| lab.card().number == number);
    found.unwrap_or_else(|| panic!("lab{number:02} is not in the syllabus"))
}
