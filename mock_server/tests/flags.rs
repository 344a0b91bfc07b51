//! Values that no flag takes: each is a usage error that says what is allowed, and none is believed first.

mod common;

use std::ffi::OsStr;
use std::process::Command;

use common::{PROGRAM, Server};

/// Flag, value, and a part of the sentence.
const BAD: &[(&str, &str, &str)] = &[
    ("--listen", "", "127.0.0.1:8080"),
    ("--listen", "localhost:80", "127.0.0.1:8080"),
    ("--listen", "127.0.0.1", "127.0.0.1:8080"),
    ("--listen", "127.0.0.1:65536", "127.0.0.1:8080"),
    ("--listen", "127.0.0.1:-1", "127.0.0.1:8080"),
    ("--listen", "256.0.0.1:80", "127.0.0.1:8080"),
    ("--listen", "::1:80", "127.0.0.1:8080"),
    ("--listen", "http://127.0.0.1:80", "127.0.0.1:8080"),
    ("--slots", "", "1 to 1000000"),
    ("--slots", "0", "1 to 1000000"),
    ("--slots", "-0", "1 to 1000000"),
    ("--slots", "-1", "1 to 1000000"),
    ("--slots", "1.5", "1 to 1000000"),
    ("--slots", "1e3", "1 to 1000000"),
    ("--slots", "NaN", "1 to 1000000"),
    ("--slots", "inf", "1 to 1000000"),
    ("--slots", "1000001", "1 to 1000000"),
    ("--slots", "18446744073709551615", "1 to 1000000"),
    ("--slots", "18446744073709551616", "1 to 1000000"),
    ("--slots", "٣", "1 to 1000000"),
    ("--slots", " 3", "1 to 1000000"),
    ("--queue", "", "unbounded"),
    ("--queue", "-1", "unbounded"),
    ("--queue", "NaN", "unbounded"),
    ("--queue", "inf", "unbounded"),
    ("--queue", "infinite", "unbounded"),
    ("--queue", "10000001", "unbounded"),
    ("--queue", "18446744073709551615", "unbounded"),
    ("--seed", "-1", "0 to 18446744073709551615"),
    ("--seed", "1e308", "0 to 18446744073709551615"),
    ("--seed", "18446744073709551616", "0 to 18446744073709551615"),
    ("--service", "", "unit"),
    ("--service", "1", "unit"),
    ("--service", "-0s", "unit"),
    ("--service", "-1ms", "unit"),
    ("--service", "NaNs", "unit"),
    ("--service", "infs", "unit"),
    ("--service", "1e308s", "unit"),
    ("--service", "99999999999999999999s", "unit"),
    ("--service", "18446744073709551615y", "unit"),
    ("--service", "3601s", "up to 1h"),
    ("--service", "18446744073709551615s", "up to 1h"),
    ("--service", "18446744073709551615s 999ms", "up to 1h"),
    ("--service", "1h 1ns", "up to 1h"),
    ("--service", "１００ms", "unit"),
    ("--service", "exp:", "unit"),
    ("--service", "exp:0s", "above zero"),
    ("--service", "exp:NaN", "unit"),
    ("--service", "exp:-1s", "unit"),
    ("--service", "exp:2h", "up to 1h"),
    ("--service", "exp:exp:1s", "unit"),
    ("--service", "lognormal:1s", "lognormal:100ms:0.5"),
    ("--service", "lognormal:0s:1", "above zero"),
    ("--service", "lognormal:1s:", "number"),
    ("--service", "lognormal:1s:-1", "0 to 100"),
    ("--service", "lognormal:1s:NaN", "0 to 100"),
    ("--service", "lognormal:1s:inf", "0 to 100"),
    ("--service", "lognormal:1s:1e308", "0 to 100"),
    ("--service", "lognormal:1s:100.1", "0 to 100"),
    ("--service", "lognormal:1s:1:1", "number"),
    ("--service", "trace:", "unit"),
    ("--service", "trace:,", "unit"),
    ("--service", "trace:1ms,", "unit"),
    ("--service", "trace:1ms,,2ms", "unit"),
    ("--service", "trace:1ms,2h", "up to 1h"),
    ("--service", "trace:1ms;2ms", "unit"),
    ("--service", "gamma:1s", "exp:100ms"),
    ("--service", "EXP:1s", "exp:100ms"),
    ("--quota", "", "no quota"),
    ("--quota", "100", "no quota"),
    ("--quota", "0:1", "more than 0"),
    ("--quota", "-5:1", "more than 0"),
    ("--quota", "NaN:1", "more than 0"),
    ("--quota", "1e9:1", "up to"),
    ("--quota", "100:0", "1 to"),
    ("--quota", "100:1.5", "number"),
    ("--change", "", "no change"),
    ("--change", "2s", "no change"),
    ("--change", "2:20ms", "no change"),
    ("--change", "2s:", "unit"),
    ("--change", "2h:20ms", "up to"),
    ("--retry-after", "", "unit"),
    ("--retry-after", "1", "unit"),
    ("--retry-after", "-1s", "unit"),
    ("--retry-after", "NaN", "unit"),
    ("--retry-after", "3601s", "up to 1h"),
    ("--retry-after", "18446744073709551615s", "up to 1h"),
    ("--retry-after", "99999999999999999999s", "unit"),
    ("--route", "", "/weather=300ms"),
    ("--route", "/a", "/weather=300ms"),
    ("--route", "=1ms", "slash"),
    ("--route", "a=1ms", "slash"),
    ("--route", "http://a/=1ms", "slash"),
    ("--route", "/a=", "unit"),
    ("--route", "/a=2h", "up to 1h"),
    ("--route", "/a=1ms@", "number"),
    ("--route", "/a=1ms@0", "1 to 1000000"),
    ("--route", "/a=1ms@-1", "number"),
    ("--route", "/a=1ms@1000001", "1 to 1000000"),
    ("--route", "/a=1ms@1:", "number"),
    ("--route", "/a=1ms@1:-1", "number"),
    ("--route", "/a=1ms@1:10000001", "unbounded"),
    ("--route", "/a=1ms@1@1", "number"),
    ("--route", "/a b=1ms", "as it is sent"),
    ("--route", "/a?b=1ms", "as it is sent"),
    ("--route", "/a#b=1ms", "as it is sent"),
    ("--route", "/größe=1ms", "as it is sent"),
    ("--route", "/a/../b=1ms", "as it is sent"),
    ("--route", "/./a=1ms", "as it is sent"),
    ("--route", "/%2E%2e/a=1ms", "as it is sent"),
    ("--route", "/a\\b=1ms", "as it is sent"),
    ("--route", "/a\"b=1ms", "as it is sent"),
    ("--route", "/a\u{7f}=1ms", "as it is sent"),
    ("--site", "", "1 to 100000000"),
    ("--site", "0", "1 to 100000000"),
    ("--site", "-1", "1 to 100000000"),
    ("--site", "1.5", "1 to 100000000"),
    ("--site", "100000001", "1 to 100000000"),
    ("--site", "18446744073709551615", "1 to 100000000"),
    ("--fail", "", "0.05:500"),
    ("--fail", "0.5", "0.05:500"),
    ("--fail", ":500", "number"),
    ("--fail", "-0.1:500", "0 to 1"),
    ("--fail", "1.1:500", "0 to 1"),
    ("--fail", "1e308:500", "0 to 1"),
    ("--fail", "NaN:500", "0 to 1"),
    ("--fail", "inf:500", "0 to 1"),
    ("--fail", "0.5:0", "400 to 599"),
    ("--fail", "0.5:99", "400 to 599"),
    ("--fail", "0.5:200", "400 to 599"),
    ("--fail", "0.5:399", "400 to 599"),
    ("--fail", "0.5:600", "400 to 599"),
    ("--fail", "0.5:1000", "400 to 599"),
    ("--fail", "0.5:65536", "number"),
    ("--fail", "0.5:-500", "number"),
    ("--fail", "0.5:500:500", "number"),
    ("--every", "", "7:500"),
    ("--every", "7", "7:500"),
    ("--every", "0:500", "1 or more"),
    ("--every", "-1:500", "number"),
    ("--every", "1.5:500", "number"),
    ("--every", "18446744073709551616:500", "number"),
    ("--every", "7:1000", "400 to 599"),
    ("--every", "item:7", "7:500"),
    ("--every", "item:0:500", "1 or more"),
    ("--every", "thing:7:500", "number"),
    ("--outage", "", "2s..4s"),
    ("--outage", "2s", "2s..4s"),
    ("--outage", "..", "unit"),
    ("--outage", "2s..", "unit"),
    ("--outage", "..2s", "unit"),
    ("--outage", "4s..2s", "2s..4s"),
    ("--outage", "2s..2s", "2s..4s"),
    ("--outage", "-2s..2s", "unit"),
    ("--outage", "NaN..2s", "unit"),
    ("--outage", "1s..99999999999999999999s", "unit"),
    ("--outage", "1s..2s:", "number"),
    ("--outage", "1s..2s:302", "400 to 599"),
    ("--outage", "1s...2s", "unit"),
    ("--slow", "", "0.01:10"),
    ("--slow", "0.1", "0.01:10"),
    ("--slow", "NaN:1", "0 to 1"),
    ("--slow", "1.1:1", "0 to 1"),
    ("--slow", "0.1:-1", "0 to 10000"),
    ("--slow", "0.1:NaN", "0 to 10000"),
    ("--slow", "0.1:inf", "0 to 10000"),
    ("--slow", "0.1:10001", "0 to 10000"),
    ("--truncate", "", "0 to 1"),
    ("--truncate", "-0.1", "0 to 1"),
    ("--truncate", "1.1", "0 to 1"),
    ("--truncate", "NaN", "0 to 1"),
    ("--truncate", "inf", "0 to 1"),
    ("--truncate", "half", "0 to 1"),
    ("--cut", "-1", "0 to 1"),
    ("--cut", "1e308", "0 to 1"),
    ("--cut", "-inf", "0 to 1"),
    ("--cut", "50%", "0 to 1"),
    ("--json", "yes", "--json"),
    ("--no-such-flag", "1", "--no-such-flag"),
];

/// Checks that these flags are refused with this sentence and nothing is started before.
fn refused(args: &[impl AsRef<OsStr>], part: &str) -> Result<(), String> {
    let mut command = Command::new(PROGRAM);
    command.args(args);
    let args: Vec<_> = args.iter().map(|arg| shortened(arg.as_ref())).collect();
    let Err(ended) = Server::run(command) else {
        return Err(format!("{args:?} are taken"));
    };
    let right = ended.code == Some(2)
        && ended.said.starts_with("error: ")
        && ended.said.contains(part)
        && !ended.said.contains("panicked");
    match right {
        true => Ok(()),
        false => Err(format!("{args:?}: {ended:?}")),
    }
}

fn shortened(arg: &OsStr) -> String {
    arg.to_string_lossy().chars().take(60).collect()
}

#[test]
fn bad_values_are_refused_with_what_is_allowed() {
    assert!(BAD.len() >= 60);
    let wrong: Vec<_> = BAD
        .iter()
        .filter_map(|(flag, value, part)| refused(&[format!("{flag}={value}")], part).err())
        .collect();
    assert!(wrong.is_empty(), "{} are not: {wrong:#?}", wrong.len());
}

#[test]
fn long_values_are_refused_too() {
    let long = "9".repeat(100_000);
    let trace = format!("--service=trace:{}2h", "1ms,".repeat(20_000));
    for (arg, part) in [
        (format!("--slots={long}"), "1 to 1000000"),
        (format!("--queue={long}"), "unbounded"),
        (format!("--service={long}s"), "unit"),
        (format!("--fail=0.{long}:600"), "400 to 599"),
        (format!("--every={long}:500"), "number"),
        (format!("--slow=0.1:{long}"), "0 to 10000"),
        (format!("--site={long}"), "1 to 100000000"),
        (trace, "up to 1h"),
    ] {
        refused(&[&arg], part).unwrap();
    }
}

#[test]
fn what_is_wrong_only_together_is_refused_too() {
    refused(&["--fail", "0.6:500", "--fail", "0.6:503"], "add up").unwrap();
    refused(&["--slots", "1", "--slots", "2"], "--slots").unwrap();
    refused(&["--slow", "0.1:2", "--slow", "0.1:3"], "--slow").unwrap();
}

#[cfg(unix)]
#[test]
fn values_that_are_no_text_are_refused() {
    use std::os::unix::ffi::OsStrExt;

    for flag in ["--slots", "--service", "--route", "--listen", "--cut"] {
        let args = [OsStr::new(flag), OsStr::from_bytes(b"\xff\xfe")];
        refused(&args, "UTF-8").unwrap();
    }
}
