//! A pipeline as a flag: `fetch=2x30ms,process=1x6ms,store=2x12ms`.

use std::{
    collections::BTreeSet,
    fmt,
    str::FromStr,
    sync::{Mutex, PoisonError},
};

use lab_kit::prelude::*;
use lab_kit::theory::{Pipeline, Station};

/// The most stages.
const MOST: usize = 16;
/// The most workers of a stage.
const WIDEST: usize = 1_000_000;

/// One stage: so many workers, each with one item at a time.
#[derive(Clone, Debug, PartialEq)]
pub struct Step {
    /// What it is called: its gauges have it in front.
    pub name: &'static str,
    /// Workers.
    pub width: usize,
    /// How long an item takes one of them.
    pub service: ServiceTime,
}

impl Step {
    /// Mean service time in seconds.
    pub fn mean_s(&self) -> f64 {
        self.service.mean().as_secs_f64()
    }
}

/// Stages in a row.
///
/// As text, one after another with commas: a name, the width, an `x` and a service time, which is
/// `30ms`, `exp:30ms`, `lognormal:30ms:0.5` or `trace:10ms,20ms`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Stages(pub Vec<Step>);

impl Stages {
    /// Mean service times and widths: what the law is about.
    pub fn pipeline(&self) -> Pipeline {
        let steps: Vec<_> = self.0.iter().map(|s| (s.mean_s(), s.width)).collect();
        Pipeline::new(&steps)
    }

    /// The same for the simulator, with this many places between two stages.
    pub fn stations(&self, queue: usize) -> Vec<Station> {
        let station =
            |s: &Step| Station { width: s.width, queue: Some(queue), service: s.service.clone() };
        self.0.iter().map(station).collect()
    }

    /// As it is, and with each stage doubled in turn.
    pub fn what_if(&self) -> Vec<Stages> {
        let doubled = |i: usize| {
            let mut wider = self.clone();
            wider.0[i].width *= 2;
            wider
        };
        std::iter::once(self.clone()).chain((0..self.0.len()).map(doubled)).collect()
    }

    /// True when no service time is random or varies.
    pub fn constant(&self) -> bool {
        let constant = |s: &Step| matches!(s.service, ServiceTime::Constant(_));
        self.0.iter().all(constant)
    }

    /// The same with every (constant) time divided, so that the longest is at most this one.
    pub fn shrunk_to(&self, longest: Duration) -> Stages {
        let most = self.0.iter().map(|s| s.service.mean()).max();
        let by = most.map_or(1.0, |m| m.as_secs_f64() / longest.as_secs_f64());
        let mut shorter = self.clone();
        for step in &mut shorter.0 {
            step.service = ServiceTime::Constant(step.service.mean().div_f64(by.max(1.0)));
        }
        shorter
    }

    /// How far the slowest stage's rate lies below that of the next one: 0 for two that are equal.
    /// Infinite for a single stage.
    pub fn margin(&self) -> f64 {
        let mut rates: Vec<f64> = self.pipeline().stages.iter().map(|s| s.rate()).collect();
        rates.sort_by(f64::total_cmp);
        match rates[..] {
            [slowest, next, ..] => next / slowest - 1.0,
            _ => f64::INFINITY,
        }
    }
}

/// The name, for as long as the program runs. Each is kept once, however often it is read.
fn kept(name: &str) -> &'static str {
    static NAMES: Mutex<BTreeSet<&'static str>> = Mutex::new(BTreeSet::new());
    let mut names = NAMES.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(known) = names.get(name) {
        return known;
    }
    let name: &'static str = Box::leak(name.into());
    names.insert(name);
    name
}

impl FromStr for Step {
    type Err = String;

    fn from_str(text: &str) -> Result<Step, String> {
        let wrong = || format!("`{text}` is no stage: write it as process=8x500ms");
        let (name, rest) = text.split_once('=').ok_or_else(wrong)?;
        let (width, service) = rest.split_once('x').ok_or_else(wrong)?;
        let name = name.trim();
        let known = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_';
        if name.is_empty() || name.len() > 20 || !name.chars().all(known) {
            return Err(format!(
                "`{name}` is no name for a stage: up to 20 letters, digits and hyphens are"
            ));
        }
        let width = width.trim().parse().ok();
        let width = width
            .filter(|w| (1..=WIDEST).contains(w))
            .ok_or_else(|| format!("{name}: a width is a whole number from 1 to {WIDEST}"))?;
        let service = match service.trim() {
            constant if !constant.contains(':') => {
                ServiceTime::Constant(constant.parse::<Time>()?.duration())
            }
            other => other.parse().map_err(|e: mock_server::ParseError| e.to_string())?,
        };
        if service.mean().is_zero() {
            return Err(format!("{name}: a service time must be longer than zero"));
        }
        Ok(Step { name: kept(name), width, service })
    }
}

impl FromStr for Stages {
    type Err = String;

    fn from_str(text: &str) -> Result<Stages, String> {
        // A comma inside a trace of times does not begin a stage.
        let mut parts: Vec<String> = Vec::new();
        for part in text.split(',') {
            match parts.last_mut() {
                Some(last) if !part.contains('=') => {
                    last.push(',');
                    last.push_str(part);
                }
                _ => parts.push(part.into()),
            }
        }
        let steps: Vec<Step> = parts.iter().map(|p| p.parse()).collect::<Result<_, _>>()?;
        if steps.len() > MOST {
            return Err(format!("more than {MOST} stages"));
        }
        let mut names: Vec<&str> = steps.iter().map(|s| s.name).collect();
        names.sort_unstable();
        if names.windows(2).any(|pair| pair[0] == pair[1]) {
            return Err("two stages have the same name".into());
        }
        Ok(Stages(steps))
    }
}

impl fmt::Display for Stages {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, step) in self.0.iter().enumerate() {
            let comma = if i == 0 { "" } else { "," };
            write!(f, "{comma}{}={}x{}", step.name, step.width, step.service)?;
        }
        Ok(())
    }
}

impl TryFrom<String> for Stages {
    type Error = String;
    fn try_from(text: String) -> Result<Stages, String> {
        text.parse()
    }
}

impl From<Stages> for String {
    fn from(stages: Stages) -> String {
        stages.to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn read(text: &str) -> Stages {
        text.parse().unwrap()
    }

    #[test]
    fn text_and_back() {
        for text in [
            "fetch=2x30ms,process=1x6ms,store=2x12ms",
            "a=1xexp:100ms,b=20xlognormal:1s:0.5",
            "a=1xtrace:10ms,20ms,b=3x1h",
        ] {
            assert_eq!(read(text).to_string(), text);
        }
        assert_eq!(read("a=1x100.2ms").to_string(), "a=1x100ms200us");
    }

    #[test]
    fn wrong_texts_are_refused_with_what_is_right() {
        for (text, part) in [
            ("", "process=8x500ms"),
            ("a", "process=8x500ms"),
            ("a=100ms", "process=8x500ms"),
            ("a=0x1ms", "from 1"),
            ("a=2000000x1ms", "from 1"),
            ("a=1x0ms", "longer than zero"),
            ("a=1x5", "unit"),
            ("a=1xexp:0ms", "above zero"),
            ("a b=1x1ms", "name"),
            ("a=1x1ms,a=2x1ms", "same name"),
        ] {
            let error = text.parse::<Stages>().unwrap_err();
            assert!(error.contains(part), "{text}: {error}");
        }
        let many: Vec<_> = (0..17).map(|i| format!("s{i}=1x1ms")).collect();
        assert!(many.join(",").parse::<Stages>().is_err());
    }

    #[test]
    fn what_if_doubles_each_in_turn() {
        let widths = |s: &Stages| s.0.iter().map(|s| s.width).collect::<Vec<_>>();
        let all: Vec<_> = read("a=1x1ms,b=3x1ms").what_if();
        let seen: Vec<_> = all.iter().map(widths).collect();
        assert_eq!(seen, [vec![1, 3], vec![2, 3], vec![1, 6]]);
    }

    #[test]
    fn shrinking_keeps_the_proportions_and_never_stretches() {
        let long = read("a=10x10s,b=8x7s,c=1x100ms");
        let short = long.shrunk_to(Duration::from_millis(100));
        assert_eq!(short, read("a=10x100ms,b=8x70ms,c=1x1ms"));
        assert_eq!(long.shrunk_to(Duration::from_secs(60)), long);
    }

    #[test]
    fn a_tie_has_no_margin() {
        assert_eq!(read("a=2x20ms,b=1x10ms,c=1x5ms").margin(), 0.0);
        assert!((read("a=1x100ms,b=1x80ms").margin() - 0.25).abs() < 1e-12);
        assert_eq!(read("a=1x100ms").margin(), f64::INFINITY);
    }

    proptest! {
        #[test]
        fn written_stages_read_back(steps in prop::collection::vec((1usize..2000, 1u64..3_000_000_000), 1..8)) {
            let steps = steps.iter().enumerate().map(|(i, (width, nanos))| Step {
                name: kept(&format!("s{i}")),
                width: *width,
                service: ServiceTime::Constant(Duration::from_nanos(*nanos)),
            });
            let stages = Stages(steps.collect());
            prop_assert_eq!(&stages.to_string().parse::<Stages>().unwrap(), &stages);
            prop_assert_eq!(stages.what_if().len(), stages.0.len() + 1);
        }

        #[test]
        fn odd_text_never_panics(text: String) { let _ = text.parse::<Stages>(); }
    }
}
