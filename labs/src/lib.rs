//! The syllabus: one line a lab.

use lab_kit::lab::{Experiment, entry};

pub mod lab01_waiting_and_working;
pub mod lab02_event_loop;
pub mod lab03_concurrency_trap;
pub mod lab04_semaphore_limits;

/// Every lab, in the order of the course.
pub const SYLLABUS: &[&dyn Experiment] = &[
    entry::<lab01_waiting_and_working::WaitingAndWorking>(),
    entry::<lab02_event_loop::EventLoop>(),
    entry::<lab03_concurrency_trap::ConcurrencyTrap>(),
    entry::<lab04_semaphore_limits::SemaphoreLimits>(),
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
