//! The figures of a trial.

lab_kit::gauges! {
    /// Requests that came, per second of each service's window.
    CAME_PER_S = "came_per_s",
    /// Mean service time of those who came.
    SERVICE_MEAN_S = "service_mean_s",
    /// Mean wait of those served, from when they were due.
    WAIT_MEAN_S = "wait_mean_s",
    /// Median of these waits.
    WAIT_P50_S = "wait_p50_s",
    /// Their 99th percentile.
    WAIT_P99_S = "wait_p99_s",
    /// Mean wait of those who are served here and in virtual time.
    SAME_WAIT_S = "same_wait_s",
    /// Their mean wait in virtual time.
    EXACT_WAIT_S = "exact_wait_s",
    /// Mean wait inside, by the service's own clock.
    QUEUED_MEAN_S = "queued_mean_s",
    /// Share of the requests that were refused.
    REFUSED_SHARE = "refused_share",
    /// Share of the requests that a worker dropped.
    DROPPED_SHARE = "dropped_share",
    /// Share of the requests that were answered in time.
    GOOD_SHARE = "good_share",
    /// The same in virtual time, with answers as late as here.
    EXACT_GOOD_SHARE = "exact_good_share",
    /// Answers in time, as a share of what the workers could have done.
    GOOD_OF_CAPACITY = "good_of_capacity",
    /// Answers that were too late, as a share of the capacity.
    LATE_OF_CAPACITY = "late_of_capacity",
    /// How late timers were, on average.
    LATE_MEAN_S = "late_mean_s",
    /// How late half of them were at most.
    LATE_P50_S = "late_p50_s",
    /// How late all but one in a hundred were at most.
    LATE_P99_S = "late_p99_s",
    /// Requests let in, per second of each service's window.
    LET_IN_PER_S = "let_in_per_s",
    /// Mean time inside, by the clients' clocks.
    SOJOURN_MEAN_S = "sojourn_mean_s",
    /// Mean number inside, by looking.
    SAMPLED_INSIDE = "sampled_inside",
    /// The longest line.
    DEPTH_MAX = "depth_max",
    /// Services side by side.
    SYSTEMS = "systems",
    /// Requests that were answered, in time or not.
    ANSWERED = "answered",
    /// 95th percentile of the answers, from when they were sent.
    P95_FROM_SENDING_S = "p95_from_sending_s",
    /// The same from when they were due.
    P95_FROM_DUE_S = "p95_from_due_s",
    /// Share of the requests before the surge that were answered.
    GOOD_BEFORE = "good_before",
    /// The same while the service is down.
    GOOD_DOWN = "good_down",
    /// The same at the end.
    GOOD_END = "good_end",
    /// Share of the requests before the surge that were given up.
    GIVEN_UP_BEFORE = "given_up_before",
    /// The same while the service is down.
    GIVEN_UP_DOWN = "given_up_down",
    /// The same at the end.
    GIVEN_UP_END = "given_up_end",
    /// Attempts a request before the surge.
    ATTEMPTS_BEFORE = "attempts_before",
    /// The same while the service is down.
    ATTEMPTS_DOWN = "attempts_down",
    /// The same at the end.
    ATTEMPTS_END = "attempts_end",
}
