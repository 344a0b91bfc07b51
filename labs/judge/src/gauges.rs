//! Single figures of a trial: what was read from the service's books.

use lab_kit::prelude::Gauge;

lab_kit::gauges! {
    /// Items that were never asked for.
    MISSED = "items_missed",
    /// Requests for an item whose answer the program had already.
    AGAIN = "items_again",
    /// Items with an answer in the end.
    ANSWERED = "items_answered",
    /// The most attempts at one item.
    TRIES_MAX = "tries_max",
    /// Requests for what was not asked for.
    STRAY = "stray_requests",
    /// Requests in all.
    REQUESTS = "requests",
    /// Requests at the service at a time, at most.
    AT_SERVICE_MAX = "at_service_max",
    /// Their mean, from the first arrival to the last end.
    AT_SERVICE_MEAN = "at_service_mean",
    /// Requests, after the first, that found the service with nothing to do.
    FOUND_EMPTY = "found_empty",
    /// Requests at the service in the mean, until the last item was begun.
    UNTIL_BEGUN_MEAN = "until_begun_mean",
    /// Attempts that were given up.
    GIVEN_UP = "attempts_given_up",
    /// Attempts that were waited for beyond four times the timeout.
    WAITED_ON = "attempts_waited_on",
    /// Retries.
    RETRIES = "retries",
    /// Retries that came as soon as the attempt before had failed.
    AT_ONCE = "retries_at_once",
    /// Retries that came before the service had asked them to.
    EARLY = "retries_early",
    /// Second retries after a failure that names no time to wait.
    SECOND_WAITS = "second_waits",
    /// What they waited, added up.
    SECOND_WAITS_S = "second_waits_s",
    /// Items that are not there: each answer was 404.
    GONE = "items_gone",
    /// Requests for what was not there (404), after that had been said.
    GONE_AGAIN = "gone_again",
    /// Orders that were never sent.
    ORDERS_MISSED = "orders_missed",
    /// Orders sent again.
    ORDERS_AGAIN = "orders_again",
    /// Requests that came before what they need had been answered.
    TOO_EARLY = "too_early",
    /// Requests of one kind that were under way while one of another kind was.
    BESIDE = "beside",
    /// Queries all of whose fetches were in flight at the same moment.
    TOGETHER = "together",
    /// Items that were fetched, and are neither stored nor in the fallback.
    RESULTS_LOST = "results_lost",
    /// Stores and fallbacks beyond the first for an item.
    STORED_AGAIN = "stored_again",
    /// Fallbacks for what was stored in time, or for what no store had been tried.
    NEEDLESS = "fallbacks_needless",
    /// Requests for what robots.txt disallows.
    DISALLOWED = "disallowed",
    /// Requests that came before robots.txt had been answered.
    BEFORE_ROBOTS = "before_robots",
    /// Pages that were asked for before all pages nearer to the first one had been answered.
    AHEAD = "ahead_of_levels",
    /// Requests, or items, that one found under way when it began, itself included, in the mean.
    FOUND = "found_on_arrival",
    /// Items in progress at a time, at most: from their first request to their last answer.
    IN_PROGRESS_MAX = "in_progress_max",
    /// Connections opened.
    CONNECTIONS = "connections",
    /// Connections open at a time, at most.
    CONNECTIONS_MAX = "connections_max",
    /// How the program ended: 0 for well.
    EXIT_CODE = "exit_code",
    /// From the program's start to its end.
    PROGRAM_S = "program_s",
}

/// [`AT_SERVICE_MAX`] of the requests below a path.
pub fn most_at(part: &'static str) -> Gauge {
    AT_SERVICE_MAX.of(part.trim_start_matches('/'))
}
