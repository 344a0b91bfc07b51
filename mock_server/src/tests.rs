//! Whatever the texts of a spec are, they are refused or describe an upstream that can be run.

use std::fmt::{Debug, Display};
use std::str::FromStr;
use std::time::Duration;

use rand::RngExt;
use rand_pcg::Pcg64;

use crate::spec::Asked;
use crate::upstream::{Epoch, Verdict};
use crate::{
    Chance, Change, Every, MAX_TIME, Outage, ParseError, Quota, Route, Service, Site, Spec, Tail,
};
use lab_testing::fuzz;

/// Specs, a field a line.
const SPECS: &[&str] = &[
    "slots 100\nqueue 400\nservice 100ms\nretry 1s\npath /weather/oslo\n",
    "service exp:100ms\nroute /news=exp:400ms@20:80\nroute /weather=300ms\npath /news/7",
    "service lognormal:1h:100\nslow 0.5:10000\nsite 10\npath /p/7\npath /c/garden/2",
    "service trace:10ms,20ms,5ms\nfail 0.05:500\nfail 0.5:503\nevery 7:500\nevery item:7:502",
    "outage 2s..4s:502\noutage 0s..1h\ntruncate 0.5\ncut 0.25\nsite 100000000\npath /robots.txt",
    "slots 10\nservice 200ms\nchange 2s:20ms\nquota 100:20\npath /fetch/1",
    "slots 1\nqueue 0\nservice 0s\nroute /=1ms@1\nsite 1\npath /cart/18446744073709551615",
];

const WORDS: &[&str] = &[
    "0",
    "1",
    "-1",
    "-0",
    "1e308",
    "5e-324",
    "NaN",
    "inf",
    "-inf",
    "0.1",
    "18446744073709551615",
    "18446744073709551616",
    "4294967296",
    "99",
    "1000",
    "ns",
    "us",
    "ms",
    "s",
    "m",
    "h",
    "day",
    "month",
    "years",
    "exp:",
    "lognormal:",
    "trace:",
    "item:",
    "..",
    ":",
    "@",
    "=",
    "/",
    ",",
    "\n",
    " ",
    "\0",
    "é",
    "%2e",
    "slots ",
    "queue ",
    "service ",
    "change ",
    "quota ",
    "route ",
    "fail ",
    "every ",
    "outage ",
    "slow ",
    "site ",
    "truncate ",
    "cut ",
    "retry ",
    "path /labelled/",
    "path /c/garden/",
];

/// What a text says, if it says something: then what is written of it says the same.
fn read<T>(text: &str) -> Option<T>
where
    T: FromStr<Err = ParseError> + Display + Debug,
{
    match text.parse::<T>() {
        Ok(value) => {
            let written = value.to_string();
            let again: T =
                written.parse().unwrap_or_else(|e| panic!("{written:?}, written of {text:?}: {e}"));
            assert_eq!(format!("{again:?}"), format!("{value:?}"), "{written:?}");
            Some(value)
        }
        Err(error) => {
            assert!(!error.to_string().is_empty());
            None
        }
    }
}

/// The spec that these lines describe, as far as they can be read, and the paths they ask for.
fn spec(text: &str) -> (Spec, Vec<&str>) {
    let mut spec = Spec::new(1, Service::Constant(Duration::ZERO));
    let mut paths = vec!["/"];
    for line in text.lines() {
        let (name, rest) = line.split_once(' ').unwrap_or((line, ""));
        match name {
            "slots" => spec.slots = rest.parse().unwrap_or(spec.slots),
            "queue" => spec.queue = rest.parse().ok(),
            "retry" => spec.retry_after = humantime::parse_duration(rest).unwrap_or_default(),
            "service" => spec.service = read(rest).unwrap_or(spec.service),
            "change" => spec.change = read::<Change>(rest),
            "quota" => spec.quota = read::<Quota>(rest),
            "route" => spec.routes.extend(read::<Route>(rest)),
            "fail" => spec.faults.statuses.extend(read::<Chance>(rest)),
            "every" => spec.faults.every.extend(read::<Every>(rest)),
            "outage" => spec.faults.outages.extend(read::<Outage>(rest)),
            "slow" => spec.faults.tail = read::<Tail>(rest),
            "truncate" => spec.faults.truncate = rest.parse().unwrap_or(0.0),
            "cut" => spec.faults.cut = rest.parse().unwrap_or(0.0),
            "site" => spec.site = rest.parse().ok().map(|products| Site::new(1, products)),
            "path" => paths.push(rest),
            _ => {}
        }
    }
    (spec, paths)
}

/// Lets requests arrive at an upstream of this spec; its books close and no answer is due before its request came.
fn serve(spec: Spec, paths: &[&str], rng: &mut Pcg64) {
    let mut sampler = spec.service.sampler(spec.seed);
    let bound = match &spec.service {
        Service::Constant(_) | Service::Trace(_) => MAX_TIME,
        Service::Exponential { .. } | Service::LogNormal { .. } => Duration::MAX,
    };
    assert!((0..20).all(|_| sampler.next_time() <= bound));
    let mut epoch = Epoch::new(spec);
    let (mut now, mut served, mut others) = (0u64, 0, 0);
    for i in 0..20 {
        now = now.saturating_add(rng.random_range(0..1 << 40));
        let path = paths[i % paths.len()];
        let asked = Asked { method: "GET", path, query: None, body: b"" };
        match epoch.decide(now, &asked) {
            Verdict::Serve { finish, body, .. } => {
                assert!(finish >= now);
                assert!(body.bytes(&asked).len() < 20_000);
                served += 1;
            }
            Verdict::Cut | Verdict::Refuse { .. } => others += 1,
        }
    }
    let counters = epoch.counters;
    assert_eq!(counters.arrived, 20);
    assert_eq!(counters.admitted, served);
    assert_eq!(counters.refused + counters.down, others);
}

#[test]
fn whatever_describes_an_upstream_can_be_run() {
    let mut run = 0;
    fuzz(SPECS, WORDS, |bytes, rng| {
        let text = String::from_utf8_lossy(bytes);
        let (spec, paths) = spec(&text);
        match spec.check() {
            Ok(()) => {
                serve(spec, &paths, rng);
                run += 1;
            }
            Err(error) => assert!(!error.to_string().is_empty()),
        }
    });
    assert!(run > 0, "none could be run");
}

/// What becomes of a request for `/` at so many milliseconds: its end in milliseconds, or its refusal.
fn at(epoch: &mut Epoch, ms: u64) -> Result<u64, u16> {
    let asked = Asked { method: "GET", path: "/", query: None, body: b"" };
    match epoch.decide(ms * 1_000_000, &asked) {
        Verdict::Serve { finish, .. } => Ok(finish / 1_000_000),
        Verdict::Refuse { status, .. } => Err(status),
        Verdict::Cut => Err(0),
    }
}

#[test]
fn a_quota_lets_in_what_it_says_and_refuses_the_rest() {
    let quota = Some("100:2".parse().unwrap());
    let spec = Spec { quota, ..Spec::new(1, Service::Constant(Duration::ZERO)) };
    let own = "/door=1ms@1".parse().unwrap();
    let mut epoch = Epoch::new(Spec { routes: vec![own], ..spec });
    let came = [50, 50, 50, 59, 60, 60].map(|ms| at(&mut epoch, ms));
    assert_eq!(came, [Ok(50), Ok(50), Err(429), Err(429), Ok(60), Err(429)]);
    // A route with slots of its own has no quota.
    let door = Asked { method: "GET", path: "/door", query: None, body: b"" };
    assert!(matches!(epoch.decide(60_000_000, &door), Verdict::Serve { .. }));
    assert_eq!((epoch.counters.admitted, epoch.counters.refused), (4, 3));
}

#[test]
fn a_change_counts_from_the_first_request() {
    let change = Some("100ms:20ms".parse().unwrap());
    let spec = Spec { change, ..Spec::new(9, Service::Constant(Duration::from_millis(200))) };
    let mut epoch = Epoch::new(spec);
    let ends = [1000, 1099, 1100, 1300].map(|ms| at(&mut epoch, ms));
    assert_eq!(ends, [Ok(1200), Ok(1299), Ok(1120), Ok(1320)]);
}
