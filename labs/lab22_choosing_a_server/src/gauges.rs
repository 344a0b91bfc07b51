//! The figures of a trial.

use lab_kit::prelude::Gauge;

lab_kit::gauges! {
    /// Mean time until the server that answered should have been done; as long as their patience, for those who
    /// gave up. Errors are left out.
    TIME_MEAN_S = "time_mean_s",
    /// Half of them took longer.
    TIME_P50_S = "time_p50_s",
    /// One in a hundred of them took longer.
    TIME_P99_S = "time_p99_s",
    /// The same mean, in virtual time, for the very same requests.
    EXACT_TIME_S = "exact_time_s",
    /// Share of the requests that the first server got, which is the odd one where one is.
    FIRST_SHARE = "first_share",
    /// The same in virtual time, for the very same requests.
    EXACT_FIRST_SHARE = "exact_first_share",
    /// Share of the requests that failed.
    ERROR_SHARE = "error_share",
    /// Share of the requests that were given up.
    GIVEN_UP_SHARE = "given_up_share",
    /// Second requests, as a share of all.
    HEDGED_SHARE = "hedged_share",
    /// By how many requests a fleet's servers are apart at most.
    APART_MOST = "apart_most",
    /// Fleets side by side.
    FLEETS = "fleets",
    /// Mean of what a server needs for a request.
    WORK_MEAN_S = "work_mean_s",
    /// How much later than due clients heard of their answers, on average.
    LATE_MEAN_S = "late_mean_s",
    /// How much later they did at most.
    LATE_MAX_S = "late_max_s",
    /// Share of the servers with at least one request, as arrivals see it.
    SEEN_1 = "seen_1",
    /// The same with two.
    SEEN_2 = "seen_2",
    /// The same with three.
    SEEN_3 = "seen_3",
    /// The same with four.
    SEEN_4 = "seen_4",
    /// The same with five.
    SEEN_5 = "seen_5",
    /// The same with six.
    SEEN_6 = "seen_6",
    /// Answers that a fan-out asked for, those asked for twice counted once.
    ASKED_TOTAL = "asked_total",
    /// Answers that were asked for twice.
    AGAIN_TOTAL = "again_total",
}

/// Shares of the servers with at least 1, 2, … requests.
pub(super) const SEEN: [Gauge; 6] = [SEEN_1, SEEN_2, SEEN_3, SEEN_4, SEEN_5, SEEN_6];
