//! The record of one run of one lab: the only bridge between measuring and everything after it.

use std::{borrow::Cow, collections::BTreeMap};

use base64::{Engine, engine::general_purpose::STANDARD};
use hdrhistogram::{
    Histogram,
    serialization::{Deserializer, Serializer, V2Serializer},
};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{
    gauge::{self, Gauge},
    host::Host,
};

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
    /// The preset whose flags it had, by name; absent where it had none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub preset: Option<String>,
    /// How large the run was.
    pub scale: Scale,
    /// Seed of all randomness in the run.
    pub seed: u64,
    /// Start of the run, UTC, RFC 3339.
    pub started_at: String,
    /// True when the run was stopped early: what is here is complete, but not all of it.
    pub interrupted: bool,
    /// The server that the load went to, without passwords; absent where the run had its own upstream.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub target: Option<String>,
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
        self.gauge(gauge::STARTED_S).unwrap_or_default()
    }

    /// A figure that the lab wrote down; `None` where it did not.
    pub fn gauge(&self, gauge: Gauge) -> Option<f64> {
        self.gauges.get(&gauge.to_string()).copied()
    }

    /// Values over time; none where the lab did not write them down.
    pub fn trace(&self, name: &str) -> &[(f64, f64)] {
        self.traces.get(name).map_or(&[], Vec::as_slice)
    }

    /// True when every offered request has exactly one fate.
    pub fn books_close(&self) -> bool {
        let fates =
            [self.ok, self.rejected, self.timed_out, self.failed, self.aborted, self.never_sent];
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
///
/// One that was read is kept as the steps that hold something, which answer every question: as a histogram, sixty
/// bytes of a file would take two hundred thousand, and a record may hold tens of thousands of them.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(try_from = "String", into = "String")]
#[schemars(with = "String")]
pub struct Latency(Form);

#[derive(Clone, Debug, Default)]
enum Form {
    #[default]
    Empty,
    Growing(Box<Histogram<u64>>),
    Read(Box<Steps>),
}

/// A histogram as it was read.
#[derive(Clone, Debug)]
struct Steps {
    /// The V2 form, found sound: what is written again.
    packed: Box<[u8]>,
    /// Each step that holds something: its highest value in microseconds, and how many latencies it holds.
    held: Box<[(u64, u64)]>,
    /// How many there are in all.
    count: u64,
    /// Their mean in microseconds.
    mean: f64,
}

impl Steps {
    fn of(histogram: &Histogram<u64>, packed: Vec<u8>) -> Steps {
        let held = histogram.iter_recorded();
        Steps {
            packed: packed.into(),
            held: held.map(|step| (step.value_iterated_to(), step.count_at_value())).collect(),
            count: histogram.len(),
            mean: histogram.mean(),
        }
    }

    /// The value that a share `q` is not above, as HDR has it: the highest of the first step that reaches it.
    fn quantile(&self, q: f64) -> u64 {
        let wanted = ((q.min(1.0) * self.count as f64).ceil() as u64).max(1);
        let mut so_far = 0;
        let reached = self.held.iter().find(|(_, count)| {
            so_far += count;
            so_far >= wanted
        });
        reached.map_or(0, |(value, _)| *value)
    }
}

/// First bytes of the V2 form that is not compressed.
const COOKIE: u32 = 0x1c84_9313;
/// Bytes before the counts.
const HEADER: usize = 40;
/// Most latencies in a histogram: sums of histograms then stay within 64 bits.
const MOST_COUNTED: u64 = 1_000_000_000_000;
/// Most bytes of a histogram: nine for every place of one that reaches to a day.
const LARGEST_PAYLOAD: usize = 9 * 28 * 1024;

impl Latency {
    /// An empty histogram that grows as needed.
    pub fn new() -> Latency {
        Latency::default()
    }

    fn empty() -> Histogram<u64> {
        Histogram::new(3).expect("three significant digits are within HDR's range")
    }

    /// The histogram as it is, or unpacked; `None` when there is none.
    fn histogram(&self) -> Option<Cow<'_, Histogram<u64>>> {
        match &self.0 {
            Form::Empty => None,
            Form::Growing(histogram) => Some(Cow::Borrowed(histogram)),
            Form::Read(steps) => {
                let unpacked = Deserializer::new().deserialize(&mut &steps.packed[..]);
                Some(Cow::Owned(unpacked.expect("it was unpacked before")))
            }
        }
    }

    fn grow(&mut self) -> &mut Histogram<u64> {
        if !matches!(self.0, Form::Growing(_)) {
            let held = self.histogram();
            let mut histogram = held.map_or_else(Latency::empty, Cow::into_owned);
            // One that was unpacked has the size that it had.
            histogram.auto(true);
            self.0 = Form::Growing(Box::new(histogram));
        }
        let Form::Growing(histogram) = &mut self.0 else {
            unreachable!("it was made to grow above")
        };
        histogram
    }

    /// Adds one latency.
    pub fn record(&mut self, latency: std::time::Duration) {
        let micros = (latency.as_micros() as u64).clamp(1, DAY_MICROS);
        self.grow().record(micros).expect("an auto-resizing histogram takes a day");
    }

    /// Adds all of another histogram.
    pub fn merge(&mut self, other: &Latency) {
        if let Some(other) = other.histogram() {
            self.grow()
                .add(other.as_ref())
                .expect("auto-resizing histograms of one precision add up");
        }
    }

    /// All latencies multiplied by a factor: for those who alter records.
    pub(crate) fn scaled(&self, factor: f64) -> Latency {
        let mut scaled = Latency::new();
        let mut add = |value: u64, count: u64| {
            let micros = (value as f64 * factor) as u64;
            scaled
                .grow()
                .record_n(micros.clamp(1, DAY_MICROS), count)
                .expect("an auto-resizing histogram takes a day");
        };
        match &self.0 {
            Form::Empty => {}
            Form::Read(steps) => steps.held.iter().for_each(|(v, n)| add(*v, *n)),
            Form::Growing(histogram) => histogram
                .iter_recorded()
                .for_each(|step| add(step.value_iterated_to(), step.count_at_value())),
        }
        scaled
    }

    /// How many latencies are in it.
    pub fn count(&self) -> u64 {
        match &self.0 {
            Form::Empty => 0,
            Form::Growing(histogram) => histogram.len(),
            Form::Read(steps) => steps.count,
        }
    }

    /// Latency at quantile `q` in seconds; `None` when empty.
    pub fn quantile_s(&self, q: f64) -> Option<f64> {
        let micros = match &self.0 {
            Form::Growing(histogram) if !histogram.is_empty() => histogram.value_at_quantile(q),
            Form::Read(steps) if steps.count > 0 => steps.quantile(q),
            _ => return None,
        };
        Some(micros as f64 / 1e6)
    }

    /// Mean latency in seconds; `None` when empty.
    pub fn mean_s(&self) -> Option<f64> {
        let micros = match &self.0 {
            Form::Growing(histogram) if !histogram.is_empty() => histogram.mean(),
            Form::Read(steps) if steps.count > 0 => steps.mean,
            _ => return None,
        };
        Some(micros / 1e6)
    }

    /// Longest latency in seconds; `None` when empty.
    pub fn max_s(&self) -> Option<f64> {
        self.quantile_s(1.0)
    }
}

impl PartialEq for Latency {
    fn eq(&self, other: &Latency) -> bool {
        self.histogram() == other.histogram()
    }
}

/// A histogram that this program may have written: nothing is allocated for what its head only says.
fn sound(bytes: &[u8]) -> Result<(), &'static str> {
    let head = bytes.get(..HEADER).ok_or("it is too short")?;
    let word = |at: usize| u32::from_be_bytes([head[at], head[at + 1], head[at + 2], head[at + 3]]);
    let long = |at: usize| u64::from(word(at)) << 32 | u64::from(word(at + 4));
    let ensure = |holds: bool, why| if holds { Ok(()) } else { Err(why) };
    let payload = &bytes[HEADER..];
    ensure(word(0) == COOKIE, "it is not of version 2, or compressed")?;
    ensure(word(4) as usize == payload.len(), "its length is wrong")?;
    ensure(payload.len() <= LARGEST_PAYLOAD, "it is too long")?;
    ensure(word(8) == 0, "its counts are shifted")?;
    ensure(word(12) == 3, "it has not three significant digits")?;
    ensure(long(16) == 1, "its lowest value is not 1")?;
    let highest = long(24);
    // One that grows to a value ends where that one's step ends: below the next power of two.
    let day = DAY_MICROS.next_power_of_two();
    ensure((2..day).contains(&highest), "it reaches beyond a day")?;
    ensure(f64::from_bits(long(32)) == 1.0, "its values are scaled")?;
    // A stretch of 2^63 empty places, which the library fails to negate.
    let endless = payload.windows(9).any(|number| number == [0xff; 9]);
    ensure(!endless, "its counts make no sense")
}

impl TryFrom<String> for Latency {
    type Error = String;
    fn try_from(text: String) -> Result<Latency, String> {
        if text.is_empty() {
            return Ok(Latency::new());
        }
        let bytes = STANDARD.decode(&text).map_err(|e| format!("latency is not base64: {e}"))?;
        sound(&bytes).map_err(|why| format!("latency is no histogram of these labs: {why}"))?;
        let histogram: Histogram<u64> = Deserializer::new()
            .deserialize(&mut bytes.as_slice())
            .map_err(|e| format!("latency is not an HDR V2 histogram: {e:?}"))?;
        let count = histogram.len();
        if count > MOST_COUNTED {
            return Err(format!("a histogram of {count} latencies: no run has that"));
        }
        Ok(Latency(Form::Read(Box::new(Steps::of(&histogram, bytes)))))
    }
}

impl From<Latency> for String {
    fn from(latency: Latency) -> String {
        let histogram = match latency.0 {
            Form::Empty => return String::new(),
            Form::Read(steps) => return STANDARD.encode(&steps.packed),
            Form::Growing(histogram) => histogram,
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
            prop_assert_eq!(back.mean_s(), latency.mean_s());
            for q in [0.001, 0.1, 0.25, 0.75, 0.9, 0.99, 0.999] {
                prop_assert_eq!(back.quantile_s(q), latency.quantile_s(q));
            }
            prop_assert_eq!(back.scaled(1.5), latency.scaled(1.5));
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

    /// A histogram of these latencies as it is stored, before base64.
    fn stored(micros: &[u64]) -> Vec<u8> {
        let mut latency = Latency::new();
        for m in micros {
            latency.record(Duration::from_micros(*m));
        }
        STANDARD.decode(String::from(latency)).unwrap()
    }

    fn read(bytes: &[u8]) -> Result<Latency, String> {
        Latency::try_from(STANDARD.encode(bytes))
    }

    #[test]
    fn a_day_is_the_longest_that_is_written_and_read() {
        let day = Duration::from_secs(48 * 3600).as_micros() as u64;
        let back = read(&stored(&[1, day])).unwrap();
        assert_eq!(back.count(), 2);
        assert!((back.max_s().unwrap() / 86_400.0 - 1.0).abs() < 1e-3);
    }

    /// What a head only says costs nothing: each of these is refused before anything is allocated for it.
    #[test]
    fn hostile_heads_are_refused() {
        let good = stored(&[1000, 2000]);
        assert!(read(&good).is_ok());
        let with = |at: usize, bytes: &[u8]| {
            let mut bad = good.clone();
            bad[at..at + bytes.len()].copy_from_slice(bytes);
            read(&bad).unwrap_err()
        };
        for (at, bytes, why) in [
            (0, &0x1c84_9314_u32.to_be_bytes()[..], "compressed"),
            (4, &u32::MAX.to_be_bytes(), "length"),
            (8, &1_u32.to_be_bytes(), "shifted"),
            (12, &5_u32.to_be_bytes(), "digits"),
            (12, &2_u32.to_be_bytes(), "digits"),
            (16, &2_u64.to_be_bytes(), "lowest"),
            (24, &(1_u64 << 62).to_be_bytes(), "day"),
            (24, &(1_u64 << 37).to_be_bytes(), "day"),
            (24, &1_u64.to_be_bytes(), "day"),
            (32, &2.0_f64.to_be_bytes(), "scaled"),
            (32, &f64::NAN.to_be_bytes(), "scaled"),
        ] {
            let told = with(at, bytes);
            assert!(told.contains(why), "{at}: {told}");
        }
        let longer = [&good[..], &[0]].concat();
        assert!(read(&longer).unwrap_err().contains("length"));
        assert!(read(&good[..20]).unwrap_err().contains("short"));
        let filled = |payload: &[u8]| {
            let mut bytes = good[..HEADER].to_vec();
            bytes[4..8].copy_from_slice(&(payload.len() as u32).to_be_bytes());
            bytes.extend(payload);
            read(&bytes)
        };
        // A count of 2^62 and a stretch of 2^63 empty places.
        let many = [0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80];
        assert!(filled(&many).unwrap_err().contains("latencies"));
        assert!(filled(&[0xff; 9]).unwrap_err().contains("sense"));
        assert!(filled(&vec![0; LARGEST_PAYLOAD + 1]).is_err());
        // More places than the head has room for.
        assert!(filled(&[2; 20_000]).is_err());
    }

    #[test]
    fn what_was_read_is_written_as_it_was_and_grows_on() {
        let good = STANDARD.encode(stored(&[5, 70_000]));
        let mut latency = Latency::try_from(good.clone()).unwrap();
        assert_eq!(String::from(latency.clone()), good);
        assert!(matches!(latency.0, Form::Read(..)));
        latency.record(Duration::from_secs(3000));
        assert_eq!(latency.count(), 3);
        assert!((latency.max_s().unwrap() / 3000.0 - 1.0).abs() < 1e-3);
    }

    proptest! {
        #[test]
        fn no_histogram_does_harm(at in 0usize..60, to: u8, payload in prop::collection::vec(any::<u8>(), 0..60)) {
            let mut bytes = stored(&[3, 4, 5000]);
            bytes.truncate(HEADER);
            bytes[4..8].copy_from_slice(&(payload.len() as u32).to_be_bytes());
            bytes.extend(&payload);
            if let Some(byte) = bytes.get_mut(at) {
                *byte = to;
            }
            if let Ok(latency) = read(&bytes) {
                let _ = (latency.quantile_s(0.5), latency.mean_s(), latency.max_s());
                let mut twice = latency.clone();
                twice.merge(&latency);
                prop_assert_eq!(twice.count(), 2 * latency.count());
            }
        }
    }

    #[test]
    fn books_that_do_not_close_are_noticed() {
        let mut t = Trial { offered: 3, ok: 1, timed_out: 2, ..Trial::default() };
        t.latency.record(Duration::from_millis(1));
        assert!(t.books_close());
        t.offered = 4;
        assert!(!t.books_close());
        let overflow = Trial { offered: 0, rejected: u64::MAX, aborted: 1, ..Trial::default() };
        assert!(!overflow.books_close());
    }
}
