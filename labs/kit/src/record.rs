//! The record of one run of one lab: the only bridge between measuring and everything after it.

use std::collections::BTreeMap;

use base64::{Engine, engine::general_purpose::STANDARD};
use hdrhistogram::{
    Histogram,
    serialization::{Deserializer, Serializer, V2Serializer},
};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::host::Host;

/// Version of the format. A reader refuses a newer one.
pub const SCHEMA: u32 = 1;

/// How large the experiment is.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema, clap::ValueEnum,
)]
#[serde(rename_all = "lowercase")]
pub enum Scale {
    /// A second: checks that everything works and that the books close; too short for timing.
    Smoke,
    /// Seconds: the usual run.
    #[default]
    Quick,
    /// Up to a minute and a half: one condition at a time, more trials, narrower intervals.
    Full,
}

impl std::fmt::Display for Scale {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Scale::Smoke => "smoke",
            Scale::Quick => "quick",
            Scale::Full => "full",
        })
    }
}

const DAY_MICROS: u64 = 24 * 3600 * 1_000_000;

/// One run of one lab.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct Record {
    /// [`SCHEMA`] of the program that wrote it.
    pub schema: u32,
    /// "lab03".
    pub lab: String,
    /// Every flag of the lab with the value it had.
    pub params: serde_json::Value,
    /// The command that repeats the run.
    #[serde(default)]
    pub command: String,
    /// How large the run was.
    pub scale: Scale,
    /// Seed of all randomness in the run.
    pub seed: u64,
    /// Start of the run, UTC, RFC 3339.
    pub started_at: String,
    /// True when the run was stopped early: what is here is complete, but not all of it.
    pub interrupted: bool,
    /// What the reader predicted before the run, by question.
    #[serde(default)]
    pub predictions: BTreeMap<String, f64>,
    /// What the reader of the results must know: levels left out, limits met.
    #[serde(default)]
    pub notes: Vec<String>,
    /// The machine and its apparatus.
    pub host: Host,
    /// One entry a condition.
    pub points: Vec<Point>,
}

/// One condition: a series (an arm of the experiment) at one place of the x axis.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct Point {
    /// The arm: "burst/unbounded".
    pub series: String,
    /// Where on the x axis: a number of clients, a limit. 0 where the arm has none.
    pub x: f64,
    /// Independent repetitions.
    pub trials: Vec<Trial>,
}

/// One repetition of one condition.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
pub struct Trial {
    /// Which round of trials it was measured in, from 1 on: trials of one round are close in time. 0 in
    /// older records, whose trials are in the order of their rounds.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub round: u32,
    /// How long the measured part took, in seconds.
    pub wall_s: f64,
    /// Requests (or items) that were to be done: the sum of the six fates below.
    pub offered: u64,
    /// 2xx with the expected body within the timeout.
    pub ok: u64,
    /// Refused by the upstream: 503 or 429.
    pub rejected: u64,
    /// The client gave up waiting.
    pub timed_out: u64,
    /// Every other failure; kinds are in `failures`.
    pub failed: u64,
    /// In flight when the run was stopped.
    pub aborted: u64,
    /// Planned and never sent.
    pub never_sent: u64,
    /// `failed` by kind.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub failures: BTreeMap<String, u64>,
    /// Time from the intended start to the answer of every `ok`, in microseconds.
    #[serde(default)]
    pub latency: Latency,
    /// The same for every attempt that ended, whatever its fate: a time-out counts with the time
    /// waited. Without it, latencies would look best where most requests fail.
    #[serde(default)]
    pub attempt_latency: Latency,
    /// Single figures, units in the name: "goodput_per_s".
    #[serde(default)]
    pub gauges: BTreeMap<String, f64>,
    /// Who did what when.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub spans: Vec<Span>,
    /// Values over time: (seconds from the trial's start, value).
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub traces: BTreeMap<String, Vec<(f64, f64)>>,
}

fn is_zero(round: &u32) -> bool {
    *round == 0
}

impl Trial {
    /// Seconds from the trial's origin, which its traces and spans count from, to the start of what was
    /// measured (gauge `started_s`); 0 where a lab does not say.
    pub fn started_s(&self) -> f64 {
        self.gauge("started_s").unwrap_or_default()
    }

    /// A figure that the lab wrote down; `None` where it did not.
    pub fn gauge(&self, name: &str) -> Option<f64> {
        self.gauges.get(name).copied()
    }

    /// True when every offered request has exactly one fate.
    pub fn books_close(&self) -> bool {
        let fates = [
            self.ok,
            self.rejected,
            self.timed_out,
            self.failed,
            self.aborted,
            self.never_sent,
        ];
        // Counts from a file may be of any size.
        fn sum<'a>(mut counts: impl Iterator<Item = &'a u64>) -> Option<u64> {
            counts.try_fold(0u64, |sum, n| sum.checked_add(*n))
        }
        sum(fates.iter()) == Some(self.offered)
            && sum(self.failures.values()) == Some(self.failed)
            && self.latency.count() == self.ok
    }
}

/// One stretch of work.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Span {
    /// Where it ran: a thread, a stage.
    pub lane: String,
    /// What it was.
    pub name: String,
    /// Start in seconds from the trial's start.
    pub start_s: f64,
    /// End in seconds.
    pub end_s: f64,
}

/// A latency histogram in microseconds, three significant digits, stored in the HDR V2
/// interchange form in base64, so that other HDR tools can read it.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(try_from = "String", into = "String")]
#[schemars(with = "String")]
pub struct Latency(Option<Histogram<u64>>);

impl Latency {
    /// An empty histogram that grows as needed.
    pub fn new() -> Latency {
        Latency(None)
    }

    fn empty() -> Histogram<u64> {
        Histogram::new(3).expect("three significant digits are within HDR's range")
    }

    /// Adds one latency.
    pub fn record(&mut self, latency: std::time::Duration) {
        let micros = (latency.as_micros() as u64).clamp(1, DAY_MICROS);
        let histogram = self.0.get_or_insert_with(Latency::empty);
        histogram
            .record(micros)
            .expect("an auto-resizing histogram takes a day");
    }

    /// Adds all of another histogram.
    pub fn merge(&mut self, other: &Latency) {
        if let Some(other) = &other.0 {
            let mine = self.0.get_or_insert_with(Latency::empty);
            mine.add(other)
                .expect("auto-resizing histograms of one precision add up");
        }
    }

    /// All latencies multiplied by a factor: for those who alter records.
    pub(crate) fn scaled(&self, factor: f64) -> Latency {
        let mut scaled = Latency::new();
        for step in self.0.iter().flat_map(|h| h.iter_recorded()) {
            let micros = (step.value_iterated_to() as f64 * factor) as u64;
            let histogram = scaled.0.get_or_insert_with(Latency::empty);
            histogram
                .record_n(micros.clamp(1, DAY_MICROS), step.count_at_value())
                .expect("an auto-resizing histogram takes a day");
        }
        scaled
    }

    /// How many latencies are in it.
    pub fn count(&self) -> u64 {
        self.0.as_ref().map_or(0, Histogram::len)
    }

    /// Latency at quantile `q` in seconds; `None` when empty.
    pub fn quantile_s(&self, q: f64) -> Option<f64> {
        let h = self.0.as_ref().filter(|h| !h.is_empty())?;
        Some(h.value_at_quantile(q) as f64 / 1e6)
    }

    /// Mean latency in seconds; `None` when empty.
    pub fn mean_s(&self) -> Option<f64> {
        let h = self.0.as_ref().filter(|h| !h.is_empty())?;
        Some(h.mean() / 1e6)
    }

    /// Longest latency in seconds; `None` when empty.
    pub fn max_s(&self) -> Option<f64> {
        self.quantile_s(1.0)
    }
}

impl TryFrom<String> for Latency {
    type Error = String;
    fn try_from(text: String) -> Result<Latency, String> {
        if text.is_empty() {
            return Ok(Latency(None));
        }
        let bytes = STANDARD
            .decode(&text)
            .map_err(|e| format!("latency is not base64: {e}"))?;
        let histogram = Deserializer::new()
            .deserialize(&mut bytes.as_slice())
            .map_err(|e| format!("latency is not an HDR V2 histogram: {e:?}"))?;
        Ok(Latency(Some(histogram)))
    }
}

impl From<Latency> for String {
    fn from(latency: Latency) -> String {
        let Some(histogram) = latency.0 else {
            return String::new();
        };
        let mut bytes = Vec::new();
        V2Serializer::new()
            .serialize(&histogram, &mut bytes)
            .expect("writing to memory cannot fail and counts fit 64 bits");
        STANDARD.encode(bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::time::Duration;

    proptest! {
        #[test]
        fn latencies_survive_the_file(micros in prop::collection::vec(1u64..60_000_000, 0..200)) {
            let mut latency = Latency::new();
            for m in &micros { latency.record(Duration::from_micros(*m)); }
            let back = Latency::try_from(String::from(latency.clone())).unwrap();
            prop_assert_eq!(back.count(), micros.len() as u64);
            prop_assert_eq!(back.quantile_s(0.5), latency.quantile_s(0.5));
            prop_assert_eq!(back.max_s(), latency.max_s());
        }

        #[test]
        fn merging_counts_everything(a in prop::collection::vec(1u64..9_000_000, 0..50), b in prop::collection::vec(1u64..9_000_000, 0..50)) {
            let of = |v: &[u64]| { let mut l = Latency::new(); v.iter().for_each(|m| l.record(Duration::from_micros(*m))); l };
            let mut sum = of(&a);
            sum.merge(&of(&b));
            prop_assert_eq!(sum.count(), (a.len() + b.len()) as u64);
        }
    }

    #[test]
    fn garbage_is_refused() {
        assert!(Latency::try_from("not base64!".to_string()).is_err());
        assert!(Latency::try_from("AAAA".to_string()).is_err());
    }

    #[test]
    fn books_that_do_not_close_are_noticed() {
        let mut t = Trial {
            offered: 3,
            ok: 1,
            timed_out: 2,
            ..Trial::default()
        };
        t.latency.record(Duration::from_millis(1));
        assert!(t.books_close());
        t.offered = 4;
        assert!(!t.books_close());
        let overflow = Trial {
            offered: 0,
            rejected: u64::MAX,
            aborted: 1,
            ..Trial::default()
        };
        assert!(!overflow.books_close());
    }
}
