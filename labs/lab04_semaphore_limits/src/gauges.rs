//! What a trial writes down besides what every load does.

lab_kit::gauges! {
    /// Mean time from the permit to the answer, of those that are answered in time.
    OK_FROM_SENDING_S = "ok_from_sending_s",
    /// The same of all requests, in older records and from Python.
    INSIDE_MEAN_S = "inside_mean_s",
}
