//! The lab's gauges.

lab_kit::gauges! {
    /// Threads that the tasks ran on.
    THREADS = "threads",
    /// The longest gap between two beats.
    LONGEST_GAP_S = "longest_gap_s",
    /// How long the other task was busy; of several, how long all of them were.
    BUSY_S = "busy_s",
    /// Share of the time that the runtime's workers were busy.
    BUSY_SHARE = "busy_share",
    /// Time in polls of all tasks.
    POLL_S = "poll_s",
    /// Polls that took longer than counts as slow.
    SLOW_POLLS = "slow_polls",
    /// Time in slow polls.
    SLOW_POLL_S = "slow_poll_s",
    /// Tasks that sleep, in another language.
    TASKS = "tasks",
    /// Memory that each of them takes.
    BYTES_PER_TASK = "bytes_per_task",
}
