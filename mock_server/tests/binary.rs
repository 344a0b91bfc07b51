//! The program itself.

mod common;

use std::io::Write;
use std::net::TcpListener;

use common::{Server, output};

#[test]
fn it_serves_and_tells_where() {
    let server = Server::start(&["--service", "1ms", "--every", "2:500"]);
    let first = server.get("/");
    assert!(first.starts_with("HTTP/1.1 200"), "{first}");
    assert!(first.ends_with(std::str::from_utf8(mock_server::BODY).unwrap()));
    assert!(server.get("/any/path").starts_with("HTTP/1.1 500"));
    assert!(!server.address.ends_with(":0"), "{}", server.address);
}

#[cfg(unix)]
#[test]
fn signals_end_it_with_zero_and_its_counters() {
    for signal in ["TERM", "INT"] {
        let server = Server::start(&["--service", "1ms"]);
        server.get("/");
        let ended = server.stop(signal);
        assert_eq!(ended.code, Some(0), "{signal}");
        assert!(ended.out.starts_with("arrived 1 admitted 1 "), "{ended:?}");
        assert_eq!(ended.said, "", "nothing to warn of");
    }
}

/// A request that takes an hour does not hold up the end.
#[cfg(unix)]
#[test]
fn it_ends_while_answers_are_due() {
    let server = Server::start(&["--service", "1h"]);
    let mut stream = server.connect();
    stream.write_all(b"GET / HTTP/1.1\r\nhost: mock\r\n\r\n").unwrap();
    assert_eq!(server.stop("TERM").code, Some(0));
}

#[cfg(unix)]
#[test]
fn it_warns_when_other_machines_may_reach_it() {
    let server = Server::start_on("0.0.0.0:0", &["--service", "1ms"]);
    assert!(server.get("/").starts_with("HTTP/1.1 200"));
    let said = server.stop("TERM").said;
    assert!(said.starts_with("warning: listening on 0.0.0.0:"), "{said}");
}

#[test]
fn a_busy_port_is_a_failure_that_names_it() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let output = output(&["--listen", &address]);
    assert_eq!(output.status.code(), Some(1));
    let text = String::from_utf8(output.stderr).unwrap();
    assert!(text.contains(&format!("cannot listen on {address}")), "{text}");
    assert!(output.stdout.is_empty());
}

#[test]
fn wrong_flags_are_usage_errors_that_say_what_is_allowed() {
    for (args, part) in [
        (["--slots", "0"], "1 to 1000000"),
        (["--slots", "-3"], "1 to 1000000"),
        (["--slots", "99999999999999999999"], "1 to 1000000"),
        (["--queue", "-1"], "unbounded"),
        (["--queue", "many"], "unbounded"),
        (["--service", "100"], "unit"),
        (["--service", "-5ms"], "unit"),
        (["--service", "9h"], "up to 1h"),
        (["--retry-after", "9h"], "up to 1h"),
        (["--listen", "8080"], "127.0.0.1:8080"),
        (["--fail", "2:500"], "0 to 1"),
        (["--truncate", "1.5"], "0 to 1"),
        (["--cut", "NaN"], "0 to 1"),
        (["--every", "0:500"], "1 or more"),
        (["--outage", "4s..2s"], "2s..4s"),
        (["--slow", "0.1"], "0.01:10"),
        (["--route", "weather"], "/weather=300ms"),
        (["--no-such-flag", "1"], "--no-such-flag"),
    ] {
        let output = output(&args);
        assert_eq!(output.status.code(), Some(2), "{args:?}");
        let text = String::from_utf8(output.stderr).unwrap();
        assert!(text.contains(part), "{args:?}: {text}");
        assert!(output.stdout.is_empty());
    }
}

#[test]
fn help_and_version_are_no_errors() {
    for flag in ["--help", "--version"] {
        assert_eq!(output(&[flag]).status.code(), Some(0));
    }
}
