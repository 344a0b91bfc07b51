//! Names of this lab's single figures.

use lab_kit::{gauge::Gauge, record::Trial};

/// Whose processor time, page faults, bytes and calls: those of the side that writes.
pub const PRODUCER: &str = "producer";
/// And of the side that reads.
pub const CONSUMER: &str = "consumer";

lab_kit::gauges! {
    /// From the last byte written to the answer that all has been read: a median.
    HAND_OVER_S = "hand_over_s",
    /// Writing a payload: a median.
    PRODUCE_S = "produce_s",
    /// One pass that reads: of a consumer over its payload, or of this machine.
    READ_S = "read_s",
    /// From one payload to the next: the mean.
    CYCLE_S = "cycle_s",
    /// Of a side: its processor time for a payload.
    CPU_S = "cpu_s",
    /// Of a side: its page faults for a payload.
    FAULTS = "faults",
    /// Of a side: bytes of a payload that the system copied for it.
    COPIED_BYTES = "copied_bytes",
    /// Of a side: its calls for a payload.
    CALLS = "calls",
    /// One pass that writes.
    WRITE_S = "write_s",
    /// One copy to where the other side reads.
    COPY_S = "copy_s",
    /// One pass that reads in a segment.
    SHARED_S = "shared_s",
    /// Making the pages of a new segment and giving them back.
    TOUCH_S = "touch_s",
    /// Page faults of that.
    TOUCH_FAULTS = "touch_faults",
    /// Opening the segment on the other side, touching every page, and letting go.
    MAP_S = "map_s",
    /// One side wakes the other, which wakes it again.
    MEETING_S = "meeting_s",
    /// Of a connection: what the system takes to copy bytes in.
    THERE_S = "there_s",
    /// Of a connection: what it takes to copy them out.
    BACK_S = "back_s",
}

/// Of both sides together: `None` where either is missing.
pub fn both(trial: &Trial, gauge: Gauge) -> Option<f64> {
    Some(trial.gauge(gauge.of(PRODUCER))? + trial.gauge(gauge.of(CONSUMER))?)
}
