//! Names of single figures, one constant for who writes a figure down and for who reads it.
//!
//! A lab's own are in its `gauges.rs`. Those that [`crate::session`] and [`crate::load`] write down for every
//! lab are here. Each constant has the name of its key, in capitals.

use std::fmt;

/// The name of a single figure of a trial, its unit included: "peak_bytes".
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Gauge {
    whose: &'static str,
    name: &'static str,
}

impl Gauge {
    /// By its key in the record.
    pub const fn new(name: &'static str) -> Gauge {
        Gauge { whose: "", name }
    }

    /// The same figure of one of several: `BUSY.of("embed")` is "embed_busy".
    pub const fn of(self, whose: &'static str) -> Gauge {
        Gauge { whose, ..self }
    }

    /// True when both have one key, however they were named.
    pub(crate) fn is(&self, other: Gauge) -> bool {
        self.key().eq(other.key())
    }

    fn key(&self) -> impl Iterator<Item = u8> {
        let join = if self.whose.is_empty() { "" } else { "_" };
        [self.whose, join, self.name].into_iter().flat_map(str::bytes)
    }
}

impl fmt::Display for Gauge {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        match self.whose {
            "" => f.write_str(self.name),
            whose => write!(f, "{whose}_{}", self.name),
        }
    }
}

/// Gauges by their constants: `gauges! { /// Answers in time, per second. GOODPUT_PER_S = "goodput_per_s" }`.
#[macro_export]
macro_rules! gauges {
    ($($(#[$doc:meta])* $name:ident = $key:literal),+ $(,)?) => {
        $($(#[$doc])* pub const $name: $crate::gauge::Gauge = $crate::gauge::Gauge::new($key);)+
    };
}

gauges! {
    /// Good answers per second of the measured part.
    GOODPUT_PER_S = "goodput_per_s",
    /// Attempts begun per second of the measured part.
    ATTEMPTS_PER_S = "attempts_per_s",
    /// Mean time of an attempt, whatever its fate.
    MEAN_ATTEMPT_S = "mean_attempt_s",
    /// Mean of what is in flight, by the clocks of the requests.
    IN_FLIGHT_MEAN = "in_flight_mean",
    /// The most that was in flight.
    IN_FLIGHT_MAX = "in_flight_max",
    /// Mean of what is in flight, by looking.
    IN_FLIGHT_SAMPLED = "in_flight_sampled",
    /// Requests sent, those outside the measured part included.
    SENT_TOTAL = "sent_total",
    /// Refusals met, those outside the measured part included.
    REFUSED_TOTAL = "refused_total",
    /// Requests that the upstream counted per second of the measured part.
    ARRIVED_PER_S = "arrived_per_s",
    /// Requests that the upstream counted.
    UPSTREAM_ARRIVED = "upstream_arrived",
    /// Requests that the upstream refused.
    UPSTREAM_REFUSED = "upstream_refused",
    /// Requests that the upstream had accepted and not answered at the end.
    UPSTREAM_BACKLOG = "upstream_backlog",
    /// From the first arrival at the upstream to the last.
    ARRIVAL_SPREAD_S = "arrival_spread_s",
    /// From the trial's origin to the start of what was measured.
    STARTED_S = "started_s",
    /// The longest time this process stood still.
    STALL_MAX_MS = "stall_max_ms",
    /// All the time it stood still.
    STALL_TOTAL_MS = "stall_total_ms",
    /// Processor time of this process, as a share of the processors there are.
    PROCESS_CPU_SHARE = "process_cpu_share",
    /// The same of all others.
    OTHERS_CPU_SHARE = "others_cpu_share",
    /// Memory that the process has.
    RESIDENT_MB = "resident_mb",
    /// Processor time of a program in another language over the time of its load.
    CLIENT_CPU_SHARE = "client_cpu_share",
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_gauge_of_one_of_several_has_its_name_in_front() {
        const BUSY: Gauge = Gauge::new("busy");
        assert_eq!(BUSY.to_string(), "busy");
        assert_eq!(BUSY.of("embed").to_string(), "embed_busy");
        assert!(BUSY.of("embed").is(Gauge::new("embed_busy")));
        assert!(!BUSY.of("embed").is(BUSY));
    }
}
