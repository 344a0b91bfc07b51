//! The single figures of lab12's trials.

lab_kit::gauges! {
    /// Items whose result the database has.
    IN_DATABASE = "in_database",
    /// Items whose result the fallback file has.
    IN_FALLBACK = "in_fallback",
    /// Items that the database says have failed.
    BOOKS_FAILED = "books_failed",
    /// Items with a result in both.
    TWICE = "twice",
    /// Items without a result whose status says that they are stored.
    LOST = "lost",
    /// Seconds that a stage spent on its items, added up.
    BUSY_S = "busy_s",
    /// How often the process was killed on its way.
    KILLS = "kills",
    /// The longest time between two beats of the event loop.
    LONGEST_GAP_S = "longest_gap_s",
}
