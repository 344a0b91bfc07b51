//! The lab's gauges.

lab_kit::gauges! {
    /// Calls in the client's books.
    CALLS = "calls",
    /// Calls that succeeded.
    CALLS_OK = "calls_ok",
    /// Attempts of all calls.
    ATTEMPTS = "attempts",
    /// Attempts but for the first of each call.
    RETRIES = "retries",
    /// Mean time of an attempt.
    ATTEMPT_MEAN_S = "attempt_mean_s",
    /// Calls of which no attempt was sent.
    UNSENT = "unsent",
    /// Attempts that the breaker let through when it was half open.
    PROBES = "probes",
    /// How often the breaker opened.
    BREAKER_OPENED = "breaker_opened",
    /// Attempts that the service counted.
    ARRIVED = "arrived",
    /// (b) When the outage began, from the trial's origin.
    DOWN_AT_S = "down_at_s",
    /// (b) Calls begun in the outage.
    CALLS_IN_OUTAGE = "calls_in_outage",
    /// (b) Those of them that succeeded.
    SAVED_IN_OUTAGE = "saved_in_outage",
    /// (b) Attempts sent in the outage.
    SENT_IN_OUTAGE = "sent_in_outage",
    /// (b) Probes until the end of the outage.
    PROBES_IN_OUTAGE = "probes_in_outage",
    /// (b) How often the breaker had opened by then.
    OPENED_IN_OUTAGE = "opened_in_outage",
    /// (b) The most attempts within a window after the outage.
    COMEBACK_PEAK = "comeback_peak",
}
