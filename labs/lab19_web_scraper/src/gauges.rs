//! What this lab writes down of a trial.

lab_kit::gauges! {
    /// Pages stored, or read out of a queue, or fetched.
    PAGES = "pages",
    /// Products among them.
    PRODUCTS = "products",
    /// Their prices together.
    CENTS = "cents",
    /// Addresses that were given up.
    DEAD = "dead",
    /// Pages finished and not stored.
    LOST = "lost",
    /// Pages stored under a second address.
    STRAYS = "strays",
    /// Products that were classified.
    CLASSIFIED = "classified",
    /// Those of them whose category was found.
    RIGHT = "right",
    /// Pages within reach that the shop has.
    CENSUS_PAGES = "census_pages",
    /// Products among them.
    CENSUS_PRODUCTS = "census_products",
    /// Their prices together.
    CENSUS_CENTS = "census_cents",
    /// Links that lead nowhere.
    CENSUS_BROKEN = "census_broken",
    /// What the time of an answer is multiplied by, on average over all addresses.
    CENSUS_FACTOR = "census_factor",
    /// Requests that the shop asked to come back.
    UPSTREAM_FAULTED = "upstream_faulted",
    /// The most requests that the host had at a time, by its own books.
    HOST_MOST = "host_most",
    /// Requests of the crawl.
    ATTEMPTS = "attempts",
    /// Time of one of them, by the client's clock.
    ATTEMPT_S = "attempt_s",
    /// Answers 429 that came back.
    BUSY_ANSWERS = "busy_answers",
    /// Share of the host's limit in use.
    HOST_BUSY = "host_busy",
    /// The same while pages wait.
    HOST_BUSY_WANTED = "host_busy_wanted",
    /// Share of the looks at which pages waited.
    WANTED_SHARE = "wanted_share",
    /// Looks at which pages waited.
    LOOKS_WANTED = "looks_wanted",
    /// Pages a second in the middle of a crawl.
    MIDDLE_PER_S = "middle_per_s",
    /// Tasks in hand, by looking.
    UNDER_WAY_MEAN = "under_way_mean",
    /// The most of them.
    UNDER_WAY_MAX = "under_way_max",
    /// Length of all pages.
    FETCHED_BYTES = "fetched_bytes",
    /// Length of what came.
    BYTES = "bytes",
    /// Share of the time that the threads compute.
    THREADS_BUSY = "threads_busy",
    /// What they take for a page.
    COMPUTING_S = "computing_s",
    /// Share of the time that SQLite is busy.
    WRITER_BUSY = "writer_busy",
    /// What it takes for a page.
    WRITING_S = "writing_s",
    /// Live heap before the crawl.
    HEAP_IDLE_BYTES = "heap_idle_bytes",
    /// The most of it.
    HEAP_PEAK_BYTES = "heap_peak_bytes",
    /// Its mean, by looking.
    HEAP_MEAN_BYTES = "heap_mean_bytes",
    /// The same of the last third of the time in which pages wait.
    HEAP_WANTED_BYTES = "heap_wanted_bytes",
    /// What is left of it when the crawl is over.
    HEAP_LEFT_BYTES = "heap_left_bytes",
    /// How often the crawler was killed.
    KILLS = "kills",
    /// The longest time between two beats.
    LONGEST_GAP_S = "longest_gap_s",
    /// The most pages between fetches and a computation.
    BACKLOG_MAX = "backlog_max",
}
