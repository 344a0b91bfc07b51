//! The figures of a trial.

lab_kit::gauges! {
    /// Heartbeats that had not come a beat after they were due, of all users.
    MISSED_HEARTBEATS = "missed_heartbeats",
    /// Users who lost patience.
    USERS_LEFT = "users_left",
    /// Users whom the server disconnected.
    USERS_DISCONNECTED = "users_disconnected",
    /// Users taken for slow readers, whose queue was full.
    USERS_SLOW = "users_slow",
    /// Users who answered no heartbeat for as long as their patience.
    USERS_GIVEN_UP = "users_given_up",
    /// Share of the time that the users' event loop was busy.
    USERS_BUSY_SHARE = "users_busy_share",
    /// Share of the time that the server's event loop was busy.
    SERVER_BUSY_SHARE = "server_busy_share",
    /// 1 where one thread at a time runs in the server, 0 where all do: in Python.
    GIL = "gil",
    /// Messages that reach somebody when all stay.
    MESSAGES_MEANT = "messages_meant",
    /// Messages that came to the server.
    MESSAGES_SAID = "messages_said",
    /// Messages that the server handed to its users' queues.
    MESSAGES_DELIVERED = "messages_delivered",
    /// Messages of their rooms that arrived.
    MESSAGES_RECEIVED = "messages_received",
    /// Messages that arrived twice, or out of order, or after a gap.
    MESSAGES_IN_DISORDER = "messages_in_disorder",
    /// Answers with a result.
    JOBS_SOLVED = "jobs_solved",
    /// Answers with an error.
    JOBS_FAILED = "jobs_failed",
    /// From the first question to its answer.
    ANSWER_S = "answer_s",
    /// From the second question to its answer.
    SECOND_ANSWER_S = "second_answer_s",
    /// How long the mathematics took.
    BUSY_S = "busy_s",
    /// Processes that have computed.
    PROCESSES = "processes",
}
