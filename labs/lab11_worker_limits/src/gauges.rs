//! Names of this lab's figures.

lab_kit::gauges! {
    /// Items per second, of all workers together.
    PER_S = "per_s",
    /// The mean time of an item of pure computation.
    ITEM_S = "item_s",
    /// Items per second of a worker that also waits, on average.
    WORKER_PER_S = "worker_per_s",
    /// What sleeps end late by, on average.
    LATE_S = "late_s",
    /// Items that were fetched and computed.
    ITEMS = "items",
    /// Context switches of workers that waited for something, for each item.
    VOLUNTARY_PER_ITEM = "voluntary_per_item",
    /// Those that the scheduler forced.
    FORCED_PER_ITEM = "forced_per_item",
}
