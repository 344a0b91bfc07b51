use std::fmt;
use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

use crate::{Faults, MAX_LEDGER, Quota, Script, Service, Site};
use lab_theory::service::{MAX_TIME, ParseError, number};

/// The body of every answer unless a [`Spec`] or [`Route`] says otherwise: 256 bytes, so that a client can tell a
/// whole answer from a broken one.
pub const BODY: &[u8] = &alphabet();

const fn alphabet() -> [u8; 256] {
    let mut body = [b'\n'; 256];
    let mut i = 0;
    while i < 255 {
        body[i] = b'a' + (i % 26) as u8;
        i += 1;
    }
    body
}

/// The most slots allowed.
pub const MAX_SLOTS: usize = 1_000_000;
/// The most waiting places allowed, short of no bound at all.
pub const MAX_PLACES: usize = 10_000_000;
/// The longest [`Spec::cycle`] allowed.
pub const MAX_CYCLE: u64 = 1000;

/// One upstream, described.
///
/// ```
/// use mock_server::{Faults, Service, Spec};
///
/// let spec = Spec {
///     queue: Some(400),
///     faults: Faults { truncate: 0.01, ..Faults::default() },
///     ..Spec::new(100, "100ms".parse()?)
/// };
/// spec.check()?;
/// # Ok::<(), mock_server::ParseError>(())
/// ```
#[derive(Debug, Clone)]
pub struct Spec {
    /// c: how many requests are served at the same time, 1 to [`MAX_SLOTS`].
    pub slots: usize,
    /// How long each holds its slot.
    pub service: Service,
    /// Items of which each takes a time longer than the one before, and then the first again: item `i`, the number
    /// that ends the path, takes `1 + i mod cycle` times as long. 1 makes all alike.
    pub cycle: u64,
    /// Another service from some time on: none unless given.
    pub change: Option<Change>,
    /// How many requests a second are let in to these slots, whatever is free; the others get 429. `None` is no bound.
    pub quota: Option<Quota>,
    /// K: how many may wait, up to [`MAX_PLACES`]; `None` is no bound.
    pub queue: Option<usize>,
    /// The seed of service times and faults. Streams are drawn in order of arrival.
    pub seed: u64,
    /// What goes wrong.
    pub faults: Faults,
    /// What a refusal (503) and a 429 ask the client to wait, up to [`MAX_TIME`]. Sent as the header `Retry-After` in
    /// whole seconds, rounded up, and as `retry-after-ms`; zero sends neither.
    pub retry_after: Duration,
    /// The body of answers on no route.
    pub body: Body,
    /// Paths with a service of their own. The longest prefix wins; on none the fields above hold.
    pub routes: Vec<Route>,
    /// Pages in place of the body, on no route.
    pub site: Option<Site>,
    /// What becomes of single requests, before all else: none unless given.
    pub script: Option<Script>,
    /// How many requests are written down one by one, for [`Upstream::ledger`](crate::Upstream::ledger): none
    /// unless said otherwise, at most [`MAX_LEDGER`].
    pub ledger: usize,
}

impl Spec {
    /// `slots` slots of `service`, an unbounded queue, no faults, `Retry-After: 1`, [`BODY`] for every path.
    #[must_use]
    pub fn new(slots: usize, service: Service) -> Self {
        Self {
            slots,
            service,
            cycle: 1,
            change: None,
            quota: None,
            queue: None,
            seed: 1,
            faults: Faults::default(),
            retry_after: Duration::from_secs(1),
            body: Body::default(),
            routes: Vec::new(),
            site: None,
            script: None,
            ledger: 0,
        }
    }

    /// Checks every field against what it allows.
    ///
    /// # Errors
    ///
    /// The first field that is not allowed, and what would be.
    pub fn check(&self) -> Result<(), ParseError> {
        slots(self.slots)?;
        places(self.queue)?;
        self.service.check()?;
        if !(1..=MAX_CYCLE).contains(&self.cycle) {
            return Err(ParseError::new(format!(
                "a cycle of {} items is not allowed: 1 to {MAX_CYCLE} are",
                self.cycle
            )));
        }
        self.change.as_ref().map_or(Ok(()), Change::check)?;
        self.quota.map_or(Ok(()), |quota| quota.check())?;
        self.faults.check()?;
        self.body.check()?;
        if self.retry_after > MAX_TIME {
            return Err(ParseError::new(format!(
                "a retry-after of {} is too long: allowed is up to {}",
                humantime::format_duration(self.retry_after),
                humantime::format_duration(MAX_TIME),
            )));
        }
        for route in &self.routes {
            route.check()?;
        }
        if self.ledger > MAX_LEDGER {
            return Err(ParseError::new(format!(
                "a ledger of {} requests is too long: allowed are up to {MAX_LEDGER}",
                self.ledger
            )));
        }
        self.site.map_or(Ok(()), |site| site.check())
    }
}

fn slots(slots: usize) -> Result<(), ParseError> {
    if (1..=MAX_SLOTS).contains(&slots) {
        Ok(())
    } else {
        Err(ParseError::new(format!("{slots} slots are not allowed: 1 to {MAX_SLOTS} are")))
    }
}

fn places(places: Option<usize>) -> Result<(), ParseError> {
    match places {
        Some(places) if places > MAX_PLACES => Err(ParseError::new(format!(
            "{places} waiting places are not allowed: 0 to {MAX_PLACES}, or unbounded, are"
        ))),
        _ => Ok(()),
    }
}

/// Another service from some time on, for requests on no route.
///
/// As text `2s:20ms`: two seconds after the first request a request takes 20 ms.
#[derive(Debug, Clone, PartialEq)]
pub struct Change {
    /// From when on, counted from the first request for the slots of the [`Spec`].
    pub after: Duration,
    /// How long a request then holds its slot.
    pub service: Service,
}

impl Change {
    fn check(&self) -> Result<(), ParseError> {
        if self.after > MAX_TIME {
            return Err(ParseError::new(format!(
                "a change after {} is too late: allowed is up to {}",
                humantime::format_duration(self.after),
                humantime::format_duration(MAX_TIME),
            )));
        }
        self.service.check()
    }
}

impl fmt::Display for Change {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", humantime::format_duration(self.after), self.service)
    }
}

impl FromStr for Change {
    type Err = ParseError;

    fn from_str(text: &str) -> Result<Self, ParseError> {
        let no_change = || {
            ParseError::new(format!(
                "`{text}` is no change: write it as 2s:20ms, for 20 ms a request from 2 s on"
            ))
        };
        let (after, service) = text.split_once(':').ok_or_else(no_change)?;
        let after = humantime::parse_duration(after.trim()).map_err(|_| no_change())?;
        let change = Self { after, service: service.parse()? };
        change.check().map(|()| change)
    }
}

/// A path with a service of its own.
///
/// As text `/weather=300ms` (with the slots of everybody), `/news=exp:400ms@20` (20 slots of its own, an unbounded
/// queue) or `/news=400ms@20:80` (and 80 waiting places).
#[derive(Debug, Clone)]
pub struct Route {
    /// `/weather` means `/weather` and all below it, `/weather/oslo`, but not `/weatherman`.
    /// It is compared with paths as they are sent: `%C3%A9`, not `é`.
    pub path_prefix: String,
    /// How long a request holds its slot.
    pub service: Service,
    /// Whose slots.
    pub slots: Slots,
    /// What the answers carry.
    pub body: Body,
}

/// Whose slots a [`Route`] takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Slots {
    /// Those of the [`Spec`], with everybody else.
    Shared,
    /// Its own.
    Own {
        /// How many.
        slots: usize,
        /// How many may wait for them; `None` is no bound.
        queue: Option<usize>,
    },
}

impl Route {
    /// A route that shares the slots and answers [`BODY`].
    #[must_use]
    pub fn new(path_prefix: impl Into<String>, service: Service) -> Self {
        Self {
            path_prefix: path_prefix.into(),
            service,
            slots: Slots::Shared,
            body: Body::default(),
        }
    }

    pub(crate) fn covers(&self, path: &str) -> bool {
        let prefix = self.path_prefix.trim_end_matches('/');
        path.strip_prefix(prefix).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
    }

    fn check(&self) -> Result<(), ParseError> {
        if !self.path_prefix.starts_with('/') {
            return Err(ParseError::new(format!(
                "the route `{}` must begin with a slash, as in /weather",
                self.path_prefix
            )));
        }
        if !is_sent(&self.path_prefix) {
            return Err(ParseError::new(format!(
                "no request would match the route `{}`: write the path as it is sent, without query, dots to go up by or characters that are sent as %20 and the like",
                self.path_prefix
            )));
        }
        if let Slots::Own { slots: own, queue } = self.slots {
            slots(own)?;
            places(queue)?;
        }
        self.body.check()?;
        self.service.check()
    }
}

/// True when a request can have this path: it arrives coded, and without dots to go up by.
fn is_sent(path: &str) -> bool {
    let plain = |b: u8| b.is_ascii_graphic() && !b"\"#<>?\\^`{}".contains(&b);
    let goes_up = |part: &str| {
        let part = part.to_ascii_lowercase().replace("%2e", ".");
        part == "." || part == ".."
    };
    path.bytes().all(plain) && !path.split('/').any(goes_up)
}

impl fmt::Display for Route {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}={}", self.path_prefix, self.service)?;
        match self.slots {
            Slots::Shared => Ok(()),
            Slots::Own { slots, queue } => {
                write!(f, "@{slots}")?;
                queue.map_or(Ok(()), |places| write!(f, ":{places}"))
            }
        }
    }
}

impl FromStr for Route {
    type Err = ParseError;

    fn from_str(text: &str) -> Result<Self, ParseError> {
        let (prefix, rest) = text.split_once('=').ok_or_else(|| {
            ParseError::new(format!(
                "`{text}` is no route: write it as /weather=300ms or /news=400ms@20:80"
            ))
        })?;
        let (service, own) = match rest.split_once('@') {
            None => (rest, Slots::Shared),
            Some((service, own)) => {
                let (slots, queue) = match own.split_once(':') {
                    None => (own, None),
                    Some((slots, queue)) => (slots, Some(number(queue)?)),
                };
                let slots = number(slots)?;
                (service, Slots::Own { slots, queue })
            }
        };
        let route = Self { slots: own, ..Self::new(prefix, service.parse()?) };
        route.check().map(|()| route)
    }
}

/// Makes the content of an answer from its request.
pub type Make = Arc<dyn Fn(&Asked<'_>) -> Vec<u8> + Send + Sync>;

/// What an answer carries.
#[derive(Clone)]
pub enum Body {
    /// Always the same.
    Fixed {
        /// The `Content-Type`.
        mime: &'static str,
        /// The content.
        bytes: Arc<[u8]>,
    },
    /// Made for each request, on the server's thread and outside the service time: keep it short.
    Made {
        /// The `Content-Type`.
        mime: &'static str,
        /// From a request to the content of its answer.
        make: Make,
    },
}

/// What a [`Body::Made`] is made from.
#[derive(Debug, Clone, Copy)]
pub struct Asked<'a> {
    /// "GET", "POST", "PUT".
    pub method: &'a str,
    /// The path, without the query.
    pub path: &'a str,
    /// The query, without its question mark.
    pub query: Option<&'a str>,
    /// The body of the request.
    pub body: &'a [u8],
}

impl Body {
    /// The same bytes for everybody.
    #[must_use]
    pub fn fixed(mime: &'static str, bytes: impl Into<Arc<[u8]>>) -> Self {
        Self::Fixed { mime, bytes: bytes.into() }
    }

    /// A body made from each request.
    #[must_use]
    pub fn made(
        mime: &'static str,
        make: impl Fn(&Asked<'_>) -> Vec<u8> + Send + Sync + 'static,
    ) -> Self {
        Self::Made { mime, make: Arc::new(make) }
    }

    pub(crate) fn mime(&self) -> &'static str {
        match self {
            Self::Fixed { mime, .. } | Self::Made { mime, .. } => mime,
        }
    }

    pub(crate) fn bytes(&self, asked: &Asked<'_>) -> Vec<u8> {
        match self {
            Self::Fixed { bytes, .. } => bytes.to_vec(),
            Self::Made { make, .. } => make(asked),
        }
    }

    fn check(&self) -> Result<(), ParseError> {
        let mime = self.mime();
        if mime.bytes().all(|b| (0x20..0x7f).contains(&b)) {
            Ok(())
        } else {
            Err(ParseError::new(format!("{mime:?} is no content type")))
        }
    }
}

impl Default for Body {
    fn default() -> Self {
        Self::fixed("text/plain", BODY)
    }
}

impl fmt::Debug for Body {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Fixed { mime, bytes } => write!(f, "Fixed({mime}, {} bytes)", bytes.len()),
            Self::Made { mime, .. } => write!(f, "Made({mime})"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_body_is_256_bytes() {
        assert_eq!(BODY.len(), 256);
        assert!(BODY.starts_with(b"abc") && BODY.ends_with(b"\n"));
    }

    #[test]
    fn a_route_covers_whole_segments() {
        let route: Route = "/weather=300ms".parse().unwrap();
        assert!(route.covers("/weather") && route.covers("/weather/oslo"));
        assert!(!route.covers("/weatherman") && !route.covers("/"));
        assert!(Route::new("/", Service::Constant(MAX_TIME)).covers("/any"));
    }

    #[test]
    fn routes_are_read() {
        let route: Route = "/news=lognormal:400ms:0.5@20:80".parse().unwrap();
        let own = Slots::Own { slots: 20, queue: Some(80) };
        assert_eq!(route.slots, own);
        for text in ["/a", "a=1ms", "/a=1ms@0", "/a=1ms@x", "/a=1ms@1:x", "/a=x"] {
            assert!(text.parse::<Route>().is_err(), "{text}");
        }
    }

    #[test]
    fn a_change_is_read_and_written() {
        let change: Change = "2s:exp:20ms".parse().unwrap();
        assert_eq!(change.after, Duration::from_secs(2));
        assert_eq!(change.to_string().parse::<Change>().unwrap(), change);
        for text in ["", "2s", "2s:", "x:20ms", "2s:x", "10000days:1ms"] {
            assert!(text.parse::<Change>().is_err(), "{text}");
        }
    }

    #[test]
    fn what_is_not_allowed_is_named() {
        let good = Spec::new(1, Service::Constant(Duration::ZERO));
        good.check().unwrap();
        let zero = Spec { slots: 0, ..good.clone() };
        assert!(zero.check().unwrap_err().to_string().contains("1 to"));
        let long = Spec { retry_after: Duration::MAX, ..good.clone() };
        assert!(long.check().unwrap_err().to_string().contains("up to"));
        let huge = Spec { queue: Some(usize::MAX), ..good };
        assert!(huge.check().unwrap_err().to_string().contains("unbounded"));
    }
}
