//! Names of this lab's single figures.

lab_kit::gauges! {
    /// What the service drew its times with.
    SEED = "seed",
    /// Until the next of several requests that are sent together is on its way.
    BETWEEN_REQUESTS_S = "between_requests_s",
    /// Lines of results; of a run that was started again those it wrote itself.
    LINES = "lines",
    /// Batches that are followed by another.
    BATCHES = "batches",
    /// How long such a batch lasted on average.
    BATCH_MEAN_S = "batch_mean_s",
    /// Standard deviation of that.
    BATCH_DEVIATION_S = "batch_deviation_s",
    /// 1 when the first run did not end by itself.
    KILLED = "killed",
    /// Whole lines that the first run left.
    LINES_LEFT = "lines_left",
    /// Chunks of the text that have no line at the end.
    CHUNKS_MISSING = "chunks_missing",
    /// Chunks of the text.
    CHUNKS = "chunks",
    /// Requests of both runs together beyond one a chunk.
    SENT_TWICE = "sent_twice",
    /// Requests of the second run.
    SENT_AGAIN = "sent_again",
    /// What the client holds before the first request.
    HEAP_IDLE_BYTES = "heap_idle_bytes",
    /// The most that it held.
    HEAP_PEAK_BYTES = "heap_peak_bytes",
    /// What it holds after the last request.
    HEAP_HELD_BYTES = "heap_held_bytes",
    /// What is freed of that when it is dropped.
    HEAP_FREED_BYTES = "heap_freed_bytes",
    /// What a chunk takes besides its text while it waits for a permit.
    BESIDES_LINE_BYTES = "besides_line_bytes",
    /// What a chunk and its answer take besides text and buffer.
    BESIDES_ANSWER_BYTES = "besides_answer_bytes",
}
