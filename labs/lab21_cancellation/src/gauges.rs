//! The figures of a trial.

lab_kit::gauges! {
    /// Items that were taken and never handed over.
    LOST = "lost",
    /// How often an item was handed over.
    HANDED_OVER = "handed_over",
    /// Ticks that the receiver saw.
    TICKS = "ticks",
    /// Charges that were tried.
    ATTEMPTS = "attempts",
    /// Charges that the bank wrote down.
    WRITTEN = "written",
    /// Of these, those for a bill that had been paid already.
    TWICE = "twice",
    /// Transfers that their caller gave up.
    CANCELLED = "cancelled",
    /// Accounts that were debited and not credited, by the money that is missing in the end.
    MISSING = "missing",
    /// Transfers that are credited in the end.
    CREDITED = "credited",
    /// Calls that were under way when their caller had gone.
    ORPHANS = "orphans",
    /// Calls that a service over HTTP answered to a client that was still there.
    SERVED = "served",
    /// Calls whose client had left when their answer was due, by the books of that service.
    LEFT = "left",
    /// Seconds of work, by those who did it.
    WORK_S = "work_s",
    /// Seconds of it after the client had gone.
    VAIN_S = "vain_s",
    /// Hops that began after the client had gone.
    BEGUN_LATE = "begun_late",
    /// Runs that stand still until the time limit.
    STUCK = "stuck",
    /// Runs in which the branch beside the first future was taken.
    TURNED = "turned",
    /// Requests that were inside and got no answer.
    BROKEN_OFF = "broken_off",
    /// Requests that found the door shut.
    SHUT_OUT = "shut_out",
    /// Requests that the balancer sent elsewhere.
    ELSEWHERE = "elsewhere",
}
