//! Names of this lab's figures. Those of a stage have its name in front: `BUSY_S.of("fetch")`.

lab_kit::gauges! {
    /// From the beginning of the run to the end of its last item.
    MAKESPAN_S = "makespan_s",
    /// The share of a stage's workers that work, at any look.
    AT_WORK = "at_work",
    /// The items that wait before a stage, at any look.
    QUEUE_MEAN = "queue_mean",
    /// The mean time an item is worked on in a stage.
    BUSY_S = "busy_s",
    /// The mean time a finished item waits for a place in the next queue.
    BLOCKED_S = "blocked_s",
    /// The mean time of a request with nothing else going on.
    REQUEST_S = "request_s",
    /// Jobs that the process stage by itself did.
    JOBS = "jobs",
}
