use std::time::Duration;

/// How many workers each stage of a pipeline gets, of so many. A worker of stage `i` takes `times[i]` for an item.
///
/// Every worker is placed, no stage is without one, and the pipeline passes as many items a second as it can.
pub fn widths(times: [Duration; 3], workers: usize) -> [usize; 3] {
    let rate = |widths: [usize; 3]| {
        let rates = (0..3).map(|stage| widths[stage] as f64 / times[stage].as_secs_f64());
        rates.fold(f64::INFINITY, f64::min)
    };
    let mut best = [1, 1, workers - 2];
    // Every split: the others must have one each.
    for first in 1..workers - 2 {
        for second in 1..workers - first {
            let widths = [first, second, workers - first - second];
            if rate(widths) > rate(best) {
                best = widths;
            }
        }
    }
    best
}
