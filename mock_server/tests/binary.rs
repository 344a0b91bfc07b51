//! The program itself.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::process::{Child, Command, Output, Stdio};

fn command(args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_mock_server"));
    command.args(args);
    command
}

fn output(args: &[&str]) -> Output {
    command(args).output().unwrap()
}

struct Server {
    child: Child,
    out: BufReader<std::process::ChildStdout>,
    address: String,
}

impl Server {
    fn start(args: &[&str]) -> Self {
        let mut child = command(&["--listen", "127.0.0.1:0"])
            .args(args)
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut out = BufReader::new(child.stdout.take().unwrap());
        let mut line = String::new();
        out.read_line(&mut line).unwrap();
        let address = line
            .trim()
            .strip_prefix("listening on http://")
            .unwrap_or_else(|| panic!("unexpected first line {line:?}"))
            .to_owned();
        Self {
            child,
            out,
            address,
        }
    }

    fn get(&self, path: &str) -> String {
        let mut stream = TcpStream::connect(&self.address).unwrap();
        write!(
            stream,
            "GET {path} HTTP/1.1\r\nhost: mock\r\nconnection: close\r\n\r\n"
        )
        .unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        answer
    }

    /// Sends `signal` and returns the exit code and the rest of its output.
    #[cfg(unix)]
    fn stop(mut self, signal: &str) -> (Option<i32>, String) {
        let pid = self.child.id().to_string();
        let sent = Command::new("sh")
            .args(["-c", "kill -s \"$0\" \"$1\"", signal, &pid])
            .status()
            .unwrap();
        assert!(sent.success());
        let code = self.child.wait().unwrap().code();
        let mut rest = String::new();
        self.out.read_to_string(&mut rest).unwrap();
        (code, rest)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
fn it_serves_and_tells_where() {
    let server = Server::start(&["--service", "1ms", "--every", "2:500"]);
    let first = server.get("/");
    assert!(first.starts_with("HTTP/1.1 200"), "{first}");
    assert!(first.ends_with(std::str::from_utf8(mock_server::BODY).unwrap()));
    assert!(server.get("/any/path").starts_with("HTTP/1.1 500"));
    assert!(!server.address.ends_with(":0"), "{}", server.address);
    let _ = &server.out;
}

#[cfg(unix)]
#[test]
fn signals_end_it_with_zero_and_its_counters() {
    for signal in ["TERM", "INT"] {
        let server = Server::start(&["--service", "1ms"]);
        server.get("/");
        let (code, rest) = server.stop(signal);
        assert_eq!(code, Some(0), "{signal}");
        assert!(rest.starts_with("arrived 1 admitted 1 "), "{rest}");
    }
}

/// A request that takes an hour does not hold up the end.
#[cfg(unix)]
#[test]
fn it_ends_while_answers_are_due() {
    let server = Server::start(&["--service", "1h"]);
    let mut stream = TcpStream::connect(&server.address).unwrap();
    stream
        .write_all(b"GET / HTTP/1.1\r\nhost: mock\r\n\r\n")
        .unwrap();
    let (code, _) = server.stop("TERM");
    assert_eq!(code, Some(0));
}

#[test]
fn a_busy_port_is_a_failure_that_names_it() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let output = output(&["--listen", &address]);
    assert_eq!(output.status.code(), Some(1));
    let text = String::from_utf8(output.stderr).unwrap();
    assert!(
        text.contains(&format!("cannot listen on {address}")),
        "{text}"
    );
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
