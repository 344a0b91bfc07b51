use std::time::Duration;

/// How many workers each stage of a pipeline gets, of so many. A worker of stage `i` takes `times[i]` for an item.
///
/// Every worker is placed, no stage is without one, and the pipeline passes as many items a second as it can.
pub fn widths(times: [Duration; 3], workers: usize) -> [usize; 3] {
    let whole: u128 = times.iter().map(Duration::as_micros).sum();
    // Each stage its share of the workers; what is left over goes to the last one.
    let mut widths = times.map(|time| (workers as u128 * time.as_micros() / whole) as usize);
    widths[2] += workers - widths.iter().sum::<usize>();
    widths
}
