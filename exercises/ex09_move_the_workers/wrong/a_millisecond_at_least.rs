use std::time::Duration;

/// How many workers each stage of a pipeline gets, of so many. A worker of stage `i` takes `times[i]` for an item.
///
/// Every worker is placed, no stage is without one, and the pipeline passes as many items a second as it can.
pub fn widths(times: [Duration; 3], workers: usize) -> [usize; 3] {
    let mut widths = [1; 3];
    for _ in 3..workers {
        // Not 0: it is divided by.
        let ms = |stage: usize| (times[stage].as_secs_f64() * 1e3).max(1.0);
        let rate = |stage: &usize| widths[*stage] as f64 / ms(*stage);
        let slowest = (0..3).min_by(|a, b| rate(a).total_cmp(&rate(b)));
        widths[slowest.expect("there are three stages")] += 1;
    }
    widths
}
