use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use lab_theory::service::{Compact, ParseError, duration, number};

/// What goes wrong, and how often. Nothing by default.
///
/// Each request meets them in this order; the first that decides it wins: outage, cut, refusal by the quota,
/// refusal by a full queue, status, truncation. A slow tail lengthens the service before the queue is asked. Draws come from a seeded
/// stream of their own, the same number for each request, so that adding a fault changes neither the service
/// times nor the other faults.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Faults {
    /// Answers with a failure status by chance. The slot is held all the same. Chances add up to at most 1.
    pub statuses: Vec<Chance>,
    /// Answers with a failure status by number. The slot is held all the same.
    pub every: Vec<Every>,
    /// Windows in which every request is answered at once with a failure status and takes no slot.
    pub outages: Vec<Outage>,
    /// Now and then a service much longer than the rest.
    pub tail: Option<Tail>,
    /// The probability of an answer that promises twice its body and then ends the connection. The slot is held.
    pub truncate: f64,
    /// The probability that the connection is cut on arrival, in place of an answer. It takes no slot.
    ///
    /// An upstream *started* with this above zero resets its connections (RST: the client sees a reset). One that
    /// got it later, by [`Upstream::reset`](crate::Upstream::reset), ends them (FIN: the client sees the
    /// connection closed before an answer). Where the platform does not hand a listener's linger option on to
    /// its connections, they are ended as well.
    pub cut: f64,
}

/// A failure status with a probability, as text `0.05:500`.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Chance {
    /// The probability, 0 to 1.
    pub probability: f64,
    /// The status of the answer, 400 to 599.
    pub status: u16,
}

/// A failure status for every nth request, as text `7:500` (by arrival) or `item:7:500` (by item).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Every {
    /// The period, 1 or more.
    pub nth: u64,
    /// The status of the answer, 400 to 599.
    pub status: u16,
    /// What is counted.
    pub by: By,
}

/// What [`Every`] counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum By {
    /// Arrivals since the start: the nth, the 2nth, … A repeated request may fare better.
    Arrival,
    /// The number that ends the path: `/items/14` is item 14, and items 0, n, 2n, … fail however often they are
    /// asked for. Paths that end otherwise never do.
    Item,
}

/// A window in which the upstream is down, as text `2s..4s` or `2s..4s:502`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Outage {
    /// Its beginning, counted from the start (or the latest reset) of the upstream.
    pub from: Duration,
    /// Its end, exclusive.
    pub until: Duration,
    /// The status of the answers, 400 to 599; 503 unless said otherwise.
    pub status: u16,
}

/// A slow tail, as text `0.01:10`: one request in a hundred takes ten times as long.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Tail {
    /// The probability, 0 to 1.
    pub probability: f64,
    /// What its service time is multiplied by, 0 to 10,000.
    pub factor: f64,
}

/// The number that ends a path: of `/items/14` it is 14.
pub(crate) fn item(path: &str) -> Option<u64> {
    path.rsplit('/').next()?.parse().ok()
}

impl Faults {
    /// Checks every field against what it allows.
    ///
    /// # Errors
    ///
    /// Probabilities outside 0 to 1 (singly, or for [`Faults::statuses`] in sum), a status outside 400 to 599,
    /// a period of 0, a window that ends before it begins, a factor outside 0 to 10,000.
    pub fn check(&self) -> Result<(), ParseError> {
        for chance in &self.statuses {
            probability(chance.probability)?;
            status(chance.status)?;
        }
        let sum: f64 = self.statuses.iter().map(|c| c.probability).sum();
        if sum > 1.0 + 1e-9 {
            return Err(ParseError::new(format!(
                "the chances of failure add up to {sum}: at most 1 is allowed"
            )));
        }
        for every in &self.every {
            status(every.status)?;
            if every.nth == 0 {
                return Err(ParseError::new("every 0th is none: allowed is 1 or more"));
            }
        }
        for outage in &self.outages {
            status(outage.status)?;
            if outage.until <= outage.from {
                return Err(ParseError::new(format!(
                    "the outage {outage} must end after it begins, as in 2s..4s"
                )));
            }
        }
        if let Some(tail) = self.tail {
            probability(tail.probability)?;
            if !(0.0..=10_000.0).contains(&tail.factor) {
                return Err(ParseError::new(format!(
                    "a slow tail of factor {} is not allowed: 0 to 10000 is",
                    tail.factor
                )));
            }
        }
        probability(self.truncate)?;
        probability(self.cut)
    }

    pub(crate) fn outage(&self, since_start: Duration) -> Option<u16> {
        self.outages
            .iter()
            .find(|o| o.from <= since_start && since_start < o.until)
            .map(|o| o.status)
    }

    pub(crate) fn by_number(&self, arrival: u64, path: &str) -> Option<u16> {
        let item = item(path);
        self.every
            .iter()
            .find(|every| match every.by {
                By::Arrival => arrival.is_multiple_of(every.nth),
                By::Item => item.is_some_and(|item| item.is_multiple_of(every.nth)),
            })
            .map(|every| every.status)
    }

    pub(crate) fn by_chance(&self, mut draw: f64) -> Option<u16> {
        for chance in &self.statuses {
            if draw < chance.probability {
                return Some(chance.status);
            }
            draw -= chance.probability;
        }
        None
    }
}

fn probability(p: f64) -> Result<(), ParseError> {
    if (0.0..=1.0).contains(&p) {
        Ok(())
    } else {
        Err(ParseError::new(format!("{p} is no probability: 0 to 1 is allowed")))
    }
}

fn status(code: u16) -> Result<(), ParseError> {
    if (400..=599).contains(&code) {
        Ok(())
    } else {
        Err(ParseError::new(format!("{code} is no failure status: 400 to 599 is allowed")))
    }
}

fn halves<'a>(text: &'a str, example: &str) -> Result<(&'a str, &'a str), ParseError> {
    text.split_once(':').ok_or_else(|| {
        ParseError::new(format!("`{text}` has only one part: write it as {example}"))
    })
}

impl FromStr for Chance {
    type Err = ParseError;

    fn from_str(text: &str) -> Result<Self, ParseError> {
        let (chance, code) = halves(text, "0.05:500")?;
        let chance = Self { probability: number(chance)?, status: number(code)? };
        probability(chance.probability)?;
        status(chance.status)?;
        Ok(chance)
    }
}

impl fmt::Display for Chance {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.probability, self.status)
    }
}

impl FromStr for Every {
    type Err = ParseError;

    fn from_str(text: &str) -> Result<Self, ParseError> {
        let (by, rest) = match text.strip_prefix("item:") {
            Some(rest) => (By::Item, rest),
            None => (By::Arrival, text),
        };
        let (nth, code) = halves(rest, "7:500")?;
        let every = Self { nth: number(nth)?, status: number(code)?, by };
        let faults = Faults { every: vec![every], ..Faults::default() };
        faults.check().map(|()| every)
    }
}

impl fmt::Display for Every {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let by = match self.by {
            By::Arrival => "",
            By::Item => "item:",
        };
        write!(f, "{by}{}:{}", self.nth, self.status)
    }
}

impl FromStr for Outage {
    type Err = ParseError;

    fn from_str(text: &str) -> Result<Self, ParseError> {
        let (window, code) = text.split_once(':').unwrap_or((text, "503"));
        let (from, until) = window
            .split_once("..")
            .ok_or_else(|| ParseError::new(format!("`{text}` is no window: write it as 2s..4s")))?;
        let outage = Self { from: duration(from)?, until: duration(until)?, status: number(code)? };
        let faults = Faults { outages: vec![outage], ..Faults::default() };
        faults.check().map(|()| outage)
    }
}

impl fmt::Display for Outage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}..{}:{}", Compact(self.from), Compact(self.until), self.status)
    }
}

impl fmt::Display for Tail {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.probability, self.factor)
    }
}

impl FromStr for Tail {
    type Err = ParseError;

    fn from_str(text: &str) -> Result<Self, ParseError> {
        let (chance, factor) = halves(text, "0.01:10")?;
        let tail = Self { probability: number(chance)?, factor: number(factor)? };
        let faults = Faults { tail: Some(tail), ..Faults::default() };
        faults.check().map(|()| tail)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_are_read() {
        let chance: Chance = "0.05:500".parse().unwrap();
        assert_eq!((chance.probability, chance.status), (0.05, 500));
        let every: Every = "item:7:500".parse().unwrap();
        assert_eq!((every.nth, every.by), (7, By::Item));
        let outage: Outage = "2s..4s".parse().unwrap();
        assert_eq!(outage.to_string(), "2s..4s:503");
        let tail: Tail = "0.01:10".parse().unwrap();
        assert_eq!(tail.factor, 10.0);
    }

    #[test]
    fn wrong_texts_are_refused() {
        for text in ["", "2:500", "-0.1:500", "NaN:500", "0.1:200", "0.1", "0.1:x"] {
            assert!(text.parse::<Chance>().is_err(), "{text}");
        }
        for text in ["0:500", "7:200", "item:7", "seven:500", "-1:500"] {
            assert!(text.parse::<Every>().is_err(), "{text}");
        }
        for text in ["4s..2s", "2s", "2s..2s", "1s..2s:302", "1..2"] {
            assert!(text.parse::<Outage>().is_err(), "{text}");
        }
        for text in ["0.1", "1.1:2", "0.1:-2", "0.1:inf"] {
            assert!(text.parse::<Tail>().is_err(), "{text}");
        }
    }

    #[test]
    fn every_seventh_of_a_hundred() {
        let faults =
            |by| Faults { every: vec![Every { nth: 7, status: 500, by }], ..Faults::default() };
        let by_arrival = faults(By::Arrival);
        let hits = (1..=100).filter(|&n| by_arrival.by_number(n, "/").is_some());
        assert_eq!(hits.count(), 14);
        let by_item = faults(By::Item);
        let hits = (0..100).filter(|i| by_item.by_number(1, &format!("/items/{i}")).is_some());
        assert_eq!(hits.count(), 15);
        assert_eq!(by_item.by_number(7, "/items"), None);
    }

    #[test]
    fn chances_share_one_draw() {
        let faults = Faults {
            statuses: vec!["0.2:500".parse().unwrap(), "0.1:503".parse().unwrap()],
            ..Faults::default()
        };
        assert_eq!(faults.by_chance(0.1), Some(500));
        assert_eq!(faults.by_chance(0.25), Some(503));
        assert_eq!(faults.by_chance(0.31), None);
    }
}
