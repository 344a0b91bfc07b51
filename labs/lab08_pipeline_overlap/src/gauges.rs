//! Names of this lab's single figures.

lab_kit::gauges! {
    /// Items that are stored at the end.
    STORED = "stored",
    /// The same without those that are there twice.
    STORED_DIFFERENT = "stored_different",
    /// Most items that had begun to be fetched and had not been stored.
    IN_PROGRESS_MAX = "in_progress_max",
}
