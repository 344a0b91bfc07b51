//! Names of this lab's single figures.

lab_kit::gauges! {
    /// Items that are done.
    ITEMS = "items",
    /// How long an item was processed.
    PROCESS_S = "process_s",
    /// Seconds that a second of work takes, before or after, whichever is quicker.
    PACE = "pace",
    /// 1 where Python lets one thread at a time run.
    GIL = "gil",
}
