//! What a trial writes down besides what every load does. What is counted "of whole cycles" is from the first
//! request that asked for a key anew to the last one of that kind.

lab_kit::gauges! {
    /// Keys side by side.
    KEYS = "keys",
    /// Requests that went to the upstream, by the cache's own count.
    REQUESTS = "requests",
    /// Values that were asked for anew, and whose answers came before the end of the load.
    ENDS = "ends",
    /// Requests at the upstream for these.
    HERD = "herd",
    /// Those of them that were refused.
    HERD_REFUSED = "herd_refused",
    /// Ends at which somebody was refused.
    TOPPLED = "toppled",
    /// How long before its end a value was asked for anew, on average; 0 where nobody did.
    AHEAD_MEAN_S = "ahead_mean_s",
    /// From one such request to the next, on average.
    CYCLE_MEAN_S = "cycle_mean_s",
    /// Requests for the keys, of whole cycles.
    ASKED = "asked",
    /// Those that got a value which was stored after they had asked.
    WAITED = "waited",
    /// Those that got a value older than it should be.
    OLD = "old",
    /// How long those waited, on average.
    WAIT_MEAN_S = "wait_mean_s",
    /// The oldest value that anybody got, since it was stored.
    OLDEST_S = "oldest_s",
    /// From the end of the first value until every key had one again.
    RECOVERY_S = "recovery_s",
    /// Requests that found their key in the cache.
    HITS = "hits",
    /// Requests that were counted.
    COUNTED = "counted",
    /// Entries in the cache at the end.
    ENTRIES = "entries",
}
