//! Names of this lab's single figures.

lab_kit::gauges! {
    /// Updates that all threads made.
    UPDATES = "updates",
    /// What the counter said of them.
    COUNTED = "counted",
    /// Updates a second, of all threads: the median of several slices.
    PER_S = "per_s",
    /// The same of the best slice.
    BEST_PER_S = "best_per_s",
    /// Updates that one thread made alone, before and after.
    ALONE_UPDATES = "alone_updates",
    /// What its counters said of them.
    ALONE_COUNTED = "alone_counted",
    /// Its updates a second: the best slice.
    ALONE_PER_S = "alone_per_s",
    /// An item of real work on one thread alone.
    ITEM_S = "item_s",
    /// Items of all threads over those of one thread alone.
    SPEED_UP = "speed_up",
    /// 1 when the watchdog had to end a program, 0 when it ended by itself.
    HUNG = "hung",
}
