use std::time::Duration;

/// How many workers each stage of a pipeline gets, of so many. A worker of stage `i` takes `times[i]` for an item.
///
/// Every worker is placed, no stage is without one, and the pipeline passes as many items a second as it can.
pub fn widths(times: [Duration; 3], workers: usize) -> [usize; 3] {
    let mut widths = [1; 3];
    for _ in 3..workers {
        // The stage that passes the fewest items a second holds all of them back.
        let rate = |stage: &usize| widths[*stage] as f64 / times[*stage].as_secs_f64();
        let slowest = (0..3).min_by(|a, b| rate(a).total_cmp(&rate(b)));
        widths[slowest.expect("there are three stages")] += 1;
    }
    widths
}
