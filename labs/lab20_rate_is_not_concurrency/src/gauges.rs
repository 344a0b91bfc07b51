//! What a trial writes down, all of it from the service's books but for the last.

lab_kit::gauges! {
    /// Requests admitted per second, while a request takes its first time.
    BEFORE_ADMITTED_PER_S = "before_admitted_per_s",
    /// Requests refused per second, in the same time.
    BEFORE_REFUSED_PER_S = "before_refused_per_s",
    /// Requests in service on average, in the same time.
    BEFORE_IN_SERVICE = "before_in_service",
    /// Requests admitted per second, while a request takes its second time.
    AFTER_ADMITTED_PER_S = "after_admitted_per_s",
    /// Requests refused per second, in the same time.
    AFTER_REFUSED_PER_S = "after_refused_per_s",
    /// Requests in service on average, in the same time.
    AFTER_IN_SERVICE = "after_in_service",
    /// Requests admitted in all.
    ADMITTED = "admitted",
    /// Requests refused in all.
    REFUSED = "refused",
    /// The most that were in service.
    IN_SERVICE_MAX = "in_service_max",
    /// By how much requests came ahead of an even pace at the quota's rate, at most, in seconds.
    AHEAD_S = "ahead_s",
    /// The most that came within the length of a window.
    MOST_IN_WINDOW = "most_in_window",
    /// How long the modest tenant waited for a token, on average.
    MODEST_WAIT_S = "modest_wait_s",
    /// The modest tenant's requests.
    MODEST = "modest",
}
