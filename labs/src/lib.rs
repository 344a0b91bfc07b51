//! The syllabus: one line a lab.

use lab_kit::lab::{Experiment, entry};

pub mod new;

lab_kit::counting_heap!();

/// Everything that makes records: the labs, and what judges programs.
pub fn records() -> Vec<&'static dyn Experiment> {
    [SYLLABUS, lab_judge::JUDGES].concat()
}

/// Every lab, in the order of the course.
pub const SYLLABUS: &[&dyn Experiment] = &[
    entry::<lab01::WaitingAndWorking>(),
    entry::<lab02::EventLoop>(),
    entry::<lab03::ConcurrencyTrap>(),
    entry::<lab04::SemaphoreLimits>(),
    entry::<lab05::ResilientClient>(),
    entry::<lab06::IngestionPipeline>(),
    entry::<lab07::HybridSpeedup>(),
    entry::<lab08::PipelineOverlap>(),
    entry::<lab09::Bottleneck>(),
    entry::<lab10::FanOutInference>(),
    entry::<lab11::WorkerLimits>(),
    entry::<lab12::ProductionPipeline>(),
    entry::<lab13::FiftyThousandChatters>(),
    entry::<lab14::ChatRoom>(),
    entry::<lab15::Backpressure>(),
    entry::<lab16::DataCopyTax>(),
    entry::<lab17::SharedState>(),
    entry::<lab18::MapReduce>(),
    entry::<lab19::WebScraper>(),
    entry::<lab20::RateIsNotConcurrency>(),
    entry::<lab21::CancellationLab>(),
    entry::<lab22::ChoosingAServerLab>(),
    entry::<lab23::CacheStampedeLab>(),
];
