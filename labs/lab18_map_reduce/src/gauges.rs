//! What this lab writes down of a trial.

lab_kit::gauges! {
    /// 1 where the counts are not those of one thread.
    WRONG = "wrong",
    /// Words of the text.
    WORDS = "words",
    /// Different words among them.
    DISTINCT = "distinct",
    /// A byte from one process to another through the loopback interface.
    S_PER_BYTE = "s_per_byte",
    /// The same of a byte of one long message, from memory to memory.
    MESSAGE_S_PER_BYTE = "message_s_per_byte",
    /// Writing parcels as bytes.
    SERIALIZE_S = "serialize_s",
    /// Freeing what is written.
    DISCARD_S = "discard_s",
    /// Reading parcels from bytes.
    DESERIALIZE_S = "deserialize_s",
    /// Bytes of the messages on paper.
    BYTES = "bytes",
    /// Pairs made.
    PAIRS = "pairs",
    /// Pairs of them whose owner is another worker.
    PAIRS_AWAY = "pairs_away",
    /// Bytes that the processes sent each other.
    WIRE_BYTES = "wire_bytes",
    /// From the first start of a process until all are connected.
    START_S = "start_s",
    /// The part of it after the last one listened.
    CONNECT_S = "connect_s",
    /// A job without text.
    EMPTY_S = "empty_s",
    /// Reading the file, in each worker.
    READ_S = "read_s",
    /// Splitting into words, and counting them unless each is sent.
    MAP_S = "map_s",
    /// Making pairs, in parcels by owner.
    PACK_S = "pack_s",
    /// Adding up what came.
    REDUCE_S = "reduce_s",
    /// From the order to the end, as a worker saw it.
    WORKER_S = "worker_s",
    /// Time the threads of a process were busy sending, or waited for a slow wire.
    SENDING_S = "sending_s",
    /// From the kill until all others had ended.
    STOPPED_S = "stopped_s",
    /// Others that ended with an error.
    OTHERS_FAILED = "others_failed",
    /// 1 where the output was there and wrong after the kill.
    BROKEN_OUTPUTS = "broken_outputs",
    /// 1 where it was not there.
    ABSENT = "absent",
}
