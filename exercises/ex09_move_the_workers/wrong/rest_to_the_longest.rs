use std::time::Duration;

/// How many workers each stage of a pipeline gets, of so many. A worker of stage `i` takes `times[i]` for an item.
///
/// Every worker is placed, no stage is without one, and the pipeline passes as many items a second as it can.
pub fn widths(times: [Duration; 3], workers: usize) -> [usize; 3] {
    let whole: u128 = times.iter().map(Duration::as_micros).sum();
    let slowest = (0..3).max_by_key(|stage| times[*stage]).expect("there are three stages");
    let mut widths = times.map(|time| (workers as u128 * time.as_micros() / whole) as usize);
    widths = widths.map(|width| width.max(1));
    // Whatever the shares leave over, or take too much, is settled at the longest.
    widths[slowest] = 0;
    widths[slowest] = workers - widths.iter().sum::<usize>();
    widths
}
