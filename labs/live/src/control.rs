//! What a lecturer can set: the demonstrations, their controls, and values that are in bounds.

use std::fmt;

/// One of the demonstrations.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Demo {
    /// Clients against a service of finite capacity.
    Trap,
    /// An event loop that computes between its beats.
    Heartbeat,
    /// Stages in a row with queues between them.
    Pipeline,
}

impl Demo {
    /// All of them, in the order of the course.
    pub const ALL: [Demo; 3] = [Demo::Trap, Demo::Heartbeat, Demo::Pipeline];

    /// Its place in [`Demo::ALL`].
    pub fn index(self) -> usize {
        self as usize
    }

    /// Its name in URLs.
    pub fn name(self) -> &'static str {
        match self {
            Demo::Trap => "trap",
            Demo::Heartbeat => "heartbeat",
            Demo::Pipeline => "pipeline",
        }
    }

    /// The demonstration of that name.
    pub fn named(name: &str) -> Option<Demo> {
        Demo::ALL.into_iter().find(|demo| demo.name() == name)
    }

    /// Its heading.
    pub fn title(self) -> &'static str {
        match self {
            Demo::Trap => "The concurrency trap",
            Demo::Heartbeat => "The heartbeat",
            Demo::Pipeline => "The pipeline",
        }
    }

    /// What it asks.
    pub fn question(self) -> &'static str {
        match self {
            Demo::Trap => "Does more concurrency always mean more throughput?",
            Demo::Heartbeat => "What does one computation cost everybody else on the loop?",
            Demo::Pipeline => "Which stage holds the line back, and what would help?",
        }
    }

    /// The lab that measures the same with care.
    pub fn lab(self) -> u8 {
        match self {
            Demo::Trap => 3,
            Demo::Heartbeat => 2,
            Demo::Pipeline => 9,
        }
    }

    /// What is really run, in two or three sentences.
    pub fn apparatus(self) -> &'static str {
        match self {
            Demo::Trap => {
                "Real HTTP requests over loopback to a server in this program. A client sends, waits for \
                 its answer until its timeout at most, and sends again; one that is refused first pauses \
                 for half a second. A request that nobody waits for any more keeps its place. When slots, \
                 service time or queue change, the server begins anew with an empty queue."
            }
            Demo::Heartbeat => {
                "A real event loop on one thread. A timer beats on it, and from time to time a computation \
                 begins: in a task of the same loop, or on a thread of its own. How late each beat comes \
                 is measured from the instant at which it was due."
            }
            Demo::Pipeline => {
                "Real tasks with bounded queues between them. Fetching takes 240 ms, embedding 120 ms, \
                 storing 40 ms an item; the work is waiting for a timer, as for another service. A worker \
                 that finds the next queue full keeps its item and stands still."
            }
        }
    }

    /// What can be set.
    pub fn controls(self) -> &'static [Control] {
        match self {
            Demo::Trap => TRAP,
            Demo::Heartbeat => HEARTBEAT,
            Demo::Pipeline => PIPELINE,
        }
    }
}

/// Something that can be set.
#[derive(Clone, Copy, Debug)]
pub struct Control {
    /// Its name in forms.
    pub key: &'static str,
    /// What people call it.
    pub label: &'static str,
    /// The unit of its value, or nothing.
    pub unit: &'static str,
    /// What values it takes.
    pub kind: Kind,
    /// Its value at first.
    pub start: u32,
}

/// The values of a [`Control`].
#[derive(Clone, Copy, Debug)]
pub enum Kind {
    /// A number.
    Slider {
        /// The least.
        min: u32,
        /// The most: this is what bounds the load.
        max: u32,
        /// The slider's step; any number between is accepted.
        step: u32,
    },
    /// One of several, by number.
    Choice(&'static [&'static str]),
}

impl Control {
    /// The value as people read it.
    pub fn text(&self, value: u32) -> String {
        match self.kind {
            Kind::Choice(names) => names.get(value as usize).copied().unwrap_or("?").to_owned(),
            Kind::Slider { .. } if self.unit.is_empty() => value.to_string(),
            Kind::Slider { .. } => format!("{value} {}", self.unit),
        }
    }

    /// The value that a form sent.
    fn parse(&self, text: &str) -> Result<u32, Refused> {
        let value: Option<u32> = text.parse().ok();
        let (min, max) = match self.kind {
            Kind::Slider { min, max, .. } => (min, max),
            Kind::Choice(names) => (0, names.len() as u32 - 1),
        };
        match value {
            Some(value) if (min..=max).contains(&value) => Ok(value),
            _ => Err(Refused::Value { key: self.key, min, max }),
        }
    }
}

const fn slider(
    key: &'static str,
    label: &'static str,
    unit: &'static str,
    (min, max, step): (u32, u32, u32),
    start: u32,
) -> Control {
    Control { key, label, unit, kind: Kind::Slider { min, max, step }, start }
}

const fn choice(
    key: &'static str,
    label: &'static str,
    names: &'static [&'static str],
    start: u32,
) -> Control {
    Control { key, label, unit: "", kind: Kind::Choice(names), start }
}

/// At most 250 clients of 150 ms and 40 slots of 20 ms: 1,700 attempts or 2,000 answers a second.
const TRAP: &[Control] = &[
    slider("clients", "Clients N", "", (1, 250, 1), 10),
    slider("slots", "Slots c", "", (1, 40, 1), 10),
    slider("service", "Service time s", "ms", (20, 500, 10), 50),
    slider("timeout", "Timeout T", "ms", (150, 2000, 25), 325),
    choice("queue", "Queue", &["unbounded", "4·c places"], 0),
];

const HEARTBEAT: &[Control] = &[
    choice("place", "The computation runs", &["on the loop", "on another thread"], 0),
    slider("busy", "It takes", "ms", (0, 1500, 10), 300),
    slider("pause", "Pause before the next", "ms", (300, 3000, 100), 1500),
    slider("beat", "A beat every", "ms", (30, 200, 5), 50),
];

const PIPELINE: &[Control] = &[
    slider("fetch", "Workers that fetch", "", (1, 12, 1), 3),
    slider("embed", "Workers that embed", "", (1, 12, 1), 1),
    slider("store", "Workers that store", "", (1, 12, 1), 1),
    slider("depth", "Places in each queue", "", (1, 40, 1), 8),
    choice("times", "Service times", &["constant", "irregular"], 0),
];

/// The most controls a demonstration has.
const MOST: usize = 5;

/// A value for each control of a demonstration, all in bounds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Settings {
    /// Whose.
    pub demo: Demo,
    values: [u32; MOST],
}

impl Settings {
    /// Those at first.
    pub fn new(demo: Demo) -> Settings {
        let mut values = [0; MOST];
        for (value, control) in values.iter_mut().zip(demo.controls()) {
            *value = control.start;
        }
        Settings { demo, values }
    }

    /// Control and value, in the order of the controls.
    pub fn each(&self) -> impl Iterator<Item = (&'static Control, u32)> {
        self.demo.controls().iter().zip(self.values)
    }

    /// The value of that control.
    ///
    /// # Panics
    /// When the demonstration has no such control, which is a slip in the caller.
    pub fn get(&self, key: &str) -> u32 {
        let found = self.each().find(|(control, _)| control.key == key);
        found.unwrap_or_else(|| panic!("{} has no control {key}", self.demo.name())).1
    }

    /// The value in seconds of a control in ms.
    pub fn seconds(&self, key: &str) -> f64 {
        f64::from(self.get(key)) / 1e3
    }

    /// These, but for one control: its text comes from outside.
    ///
    /// # Errors
    /// A control that is not there, no whole number, or one out of bounds.
    pub fn with(&self, key: &str, text: &str) -> Result<Settings, Refused> {
        let controls = self.demo.controls();
        let at = controls.iter().position(|control| control.key == key);
        let at = at.ok_or(Refused::Control)?;
        let mut changed = *self;
        changed.values[at] = controls[at].parse(text)?;
        Ok(changed)
    }
}

/// Why a value was not taken. The text does not repeat what was sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refused {
    /// The demonstration has no such control.
    Control,
    /// Not a whole number within the bounds.
    Value {
        /// Of which control.
        key: &'static str,
        /// The least.
        min: u32,
        /// The most.
        max: u32,
    },
}

impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Refused::Control => f.write_str("this demonstration has no such control"),
            Refused::Value { key, min, max } => {
                write!(f, "{key} must be a whole number from {min} to {max}")
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn starts_are_in_bounds_and_keys_differ() {
        for demo in Demo::ALL {
            assert_eq!(Demo::ALL[demo.index()], demo);
            assert_eq!(Demo::named(demo.name()), Some(demo));
            let controls = demo.controls();
            assert!(controls.len() <= MOST);
            for (i, control) in controls.iter().enumerate() {
                assert_eq!(control.parse(&control.start.to_string()), Ok(control.start));
                assert!(controls[..i].iter().all(|other| other.key != control.key));
                if let Kind::Slider { min, max, step } = control.kind {
                    assert_eq!((max - min) % step, 0, "{}", control.key);
                    assert_eq!((control.start - min) % step, 0, "{}", control.key);
                }
            }
        }
        assert_eq!(Demo::named("Trap"), None);
    }

    #[test]
    fn one_value_changes_and_only_within_bounds() {
        let before = Settings::new(Demo::Trap);
        let after = before.with("clients", "200").unwrap();
        assert_eq!((after.get("clients"), after.get("slots")), (200, 10));
        assert_eq!(before.with("nothing", "1"), Err(Refused::Control));
        for text in ["", "0", "251", "-1", "1.5", "1e2", "99999999999", " 7", "NaN"] {
            assert!(before.with("clients", text).is_err(), "{text:?}");
        }
        assert!(before.with("queue", "1").is_ok());
        let said = before.with("queue", "2").unwrap_err().to_string();
        assert_eq!(said, "queue must be a whole number from 0 to 1");
    }

    proptest! {
        #[test]
        fn whatever_is_sent_the_values_stay_in_bounds(
            key in prop::sample::select(vec!["clients", "slots", "service", "timeout", "queue", "busy"]),
            text in "[0-9]{0,5}|.{0,6}",
        ) {
            let settings = Settings::new(Demo::Trap);
            let settings = settings.with(key, &text).unwrap_or(settings);
            for (control, value) in settings.each() {
                prop_assert_eq!(control.parse(&value.to_string()), Ok(value));
            }
        }
    }
}
