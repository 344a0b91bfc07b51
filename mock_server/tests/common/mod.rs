//! The program, started and stopped.

// Each test program uses its part of this.
#![allow(dead_code)]

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::process::{Child, ChildStdout, Command, Output, Stdio};
use std::thread::JoinHandle;

pub const PROGRAM: &str = env!("CARGO_BIN_EXE_mock_server");

pub fn output(args: &[&str]) -> Output {
    Command::new(PROGRAM).args(args).output().unwrap()
}

pub struct Server {
    child: Child,
    out: BufReader<ChildStdout>,
    said: Option<JoinHandle<String>>,
    pub address: String,
}

/// How a server ended.
#[derive(Debug)]
pub struct Ended {
    pub code: Option<i32>,
    /// Its output after the first line.
    pub out: String,
    pub said: String,
}

impl Server {
    pub fn start(args: &[&str]) -> Self {
        Self::start_on("127.0.0.1:0", args)
    }

    pub fn start_on(listen: &str, args: &[&str]) -> Self {
        let mut command = Command::new(PROGRAM);
        command.args(["--listen", listen]).args(args);
        Self::run(command).unwrap_or_else(|ended| panic!("it did not start: {ended:?}"))
    }

    /// Runs a command that is the program in the end.
    pub fn run(mut command: Command) -> Result<Self, Ended> {
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let mut out = BufReader::new(child.stdout.take().unwrap());
        let mut errors = child.stderr.take().unwrap();
        let said = std::thread::spawn(move || {
            let mut bytes = Vec::new();
            errors.read_to_end(&mut bytes).unwrap();
            String::from_utf8_lossy(&bytes).into_owned()
        });
        let mut line = String::new();
        out.read_line(&mut line).unwrap();
        let address = line.trim().strip_prefix("listening on http://");
        let mut server =
            Self { address: address.unwrap_or_default().to_owned(), child, out, said: Some(said) };
        match address {
            Some(_) => Ok(server),
            None => Err(server.ended()),
        }
    }

    pub fn connect(&self) -> TcpStream {
        TcpStream::connect(&self.address).unwrap()
    }

    pub fn get(&self, path: &str) -> String {
        let mut stream = self.connect();
        write!(stream, "GET {path} HTTP/1.1\r\nhost: mock\r\nconnection: close\r\n\r\n").unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        answer
    }

    /// The most memory it has had, in MB.
    #[cfg(target_os = "linux")]
    pub fn peak(&self) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.child.id())).unwrap();
        let line = status.lines().find(|l| l.starts_with("VmHWM")).unwrap();
        let kb: u64 = line.split_whitespace().nth(1).unwrap().parse().unwrap();
        kb / 1024
    }

    /// Sends `signal` and waits for the end.
    #[cfg(unix)]
    pub fn stop(mut self, signal: &str) -> Ended {
        let pid = self.child.id().to_string();
        let sent = Command::new("sh")
            .args(["-c", "kill -s \"$0\" \"$1\"", signal, &pid])
            .status()
            .unwrap();
        assert!(sent.success());
        self.ended()
    }

    /// Waits for its end.
    pub fn wait(mut self) -> Ended {
        self.ended()
    }

    fn ended(&mut self) -> Ended {
        let mut out = String::new();
        self.out.read_to_string(&mut out).unwrap();
        Ended {
            code: self.child.wait().unwrap().code(),
            out,
            said: self.said.take().unwrap().join().unwrap(),
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
