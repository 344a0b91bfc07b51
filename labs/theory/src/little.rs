//! Little's law, `L = λ·W`: the mean number inside a system is the arrival rate times the mean time
//! spent inside, whatever the distributions and the order of service (J. D. C. Little, 1961).
//!
//! It holds over any period at whose ends the system is empty, and in the long run for any stable
//! system; "inside" may be drawn around the queue, the servers or both, as long as all three
//! quantities use the same line.

use super::is_amount;

/// The mean number inside, `L = λ·W`.
///
/// `lambda` is the rate of those who enter (per second), `w` their mean time inside (seconds).
/// `NaN` when either is negative or `NaN`, or for zero times infinity.
pub fn number_in_system(lambda: f64, w: f64) -> f64 {
    checked(lambda, w, |lambda, w| lambda * w)
}

/// The mean time inside in seconds, `W = L/λ`.
///
/// `l` is the mean number inside, `lambda` the rate of those who enter (per second). Infinite when
/// some are inside and none enters; `NaN` when either is negative or `NaN`, or for 0/0.
pub fn sojourn(l: f64, lambda: f64) -> f64 {
    checked(l, lambda, |l, lambda| l / lambda)
}

/// The rate of those who enter, per second, `λ = L/W`.
///
/// `l` is the mean number inside, `w` the mean time inside (seconds). For clients in a closed loop
/// that always wait for an answer this is their throughput. Infinite when `w` is zero; `NaN` when
/// either is negative or `NaN`, or for 0/0.
pub fn arrival_rate(l: f64, w: f64) -> f64 {
    checked(l, w, |l, w| l / w)
}

/// The seconds a server needs to work off a backlog while new requests keep coming,
/// `backlog / (capacity − λ)`: the fluid limit, in which arrivals and service are steady flows.
///
/// `backlog` is a number of requests, `capacity` (slots/service time) and `lambda` are per second.
/// Infinite when the capacity is not above the arrival rate, unless there is no backlog; `NaN` when
/// an argument is negative or `NaN`.
pub fn drain_time(backlog: f64, capacity: f64, lambda: f64) -> f64 {
    if !is_amount(backlog) || !is_amount(capacity) || !is_amount(lambda) {
        f64::NAN
    } else if backlog == 0.0 {
        0.0
    } else if capacity <= lambda {
        f64::INFINITY
    } else {
        backlog / (capacity - lambda)
    }
}

fn checked(a: f64, b: f64, law: impl Fn(f64, f64) -> f64) -> f64 {
    if is_amount(a) && is_amount(b) { law(a, b) } else { f64::NAN }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_shop() {
        // 2 customers a minute who stay a quarter of an hour: 30 of them are in the shop.
        assert!((number_in_system(2.0 / 60.0, 900.0) - 30.0).abs() < 1e-12);
        // 100 clients of a 100 ms service: 1000 requests/s.
        assert!((arrival_rate(100.0, 0.1) - 1000.0).abs() < 1e-9);
    }

    #[test]
    fn a_backlog_drains_at_the_spare_rate() {
        assert!((drain_time(500.0, 1000.0, 900.0) - 5.0).abs() < 1e-12);
        assert_eq!(drain_time(1.0, 10.0, 10.0), f64::INFINITY);
        assert_eq!(drain_time(0.0, 10.0, 20.0), 0.0);
        assert!(drain_time(-1.0, 10.0, 5.0).is_nan());
    }

    #[test]
    fn odd_input() {
        assert!(number_in_system(-1.0, 1.0).is_nan());
        assert!(sojourn(0.0, 0.0).is_nan());
        assert!(arrival_rate(f64::NAN, 1.0).is_nan());
        assert_eq!(sojourn(1.0, 0.0), f64::INFINITY);
    }

    proptest! {
        #[test]
        fn each_form_undoes_the_others(lambda in 1e-6..1e6f64, w in 1e-6..1e6f64) {
            let l = number_in_system(lambda, w);
            prop_assert!((sojourn(l, lambda) / w - 1.0).abs() < 1e-12);
            prop_assert!((arrival_rate(l, w) / lambda - 1.0).abs() < 1e-12);
        }
    }
}
