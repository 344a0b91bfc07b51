//! lab18's processes without the lab, as on several hosts: whole results, fail-stop, strangers.
//! Only counts and ends are asserted, never times.

use std::{
    collections::BTreeMap,
    fs,
    io::Write,
    net::{TcpListener, TcpStream},
    path::{Path, PathBuf},
    process::{Child, Command, Output, Stdio},
    thread,
    time::Duration,
};

use lab18::{corpus::Law, count::Digest, dataflow::read_output};
use tempfile::TempDir;

/// A text, a hosts file and a place for the output.
struct Job {
    folder: TempDir,
    addresses: Vec<String>,
    bytes: u64,
}

impl Job {
    fn new(processes: usize, bytes: u64) -> Job {
        let folder = tempfile::tempdir().unwrap();
        let law = Law { vocabulary: 2000, exponent: 1.0 };
        law.write(&folder.path().join("text"), bytes, 7).unwrap();
        // Ports that were free a moment ago.
        let free = || TcpListener::bind("127.0.0.1:0").unwrap();
        let listeners: Vec<_> = (0..processes).map(|_| free()).collect();
        let address = |l: &TcpListener| l.local_addr().unwrap().to_string();
        let addresses: Vec<String> = listeners.iter().map(address).collect();
        let hosts = format!("# two hosts\n\n{}\n", addresses.join("\n"));
        fs::write(folder.path().join("hosts"), hosts).unwrap();
        Job { folder, addresses, bytes }
    }

    fn file(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn process(&self, i: usize, way: &str) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_lab18"));
        command.args(["--process", &i.to_string(), "--way", way, "--threads", "2"]);
        // For those that wait for one that was killed before it came.
        command.args(["--patience", "3s"]);
        let mut files = vec![("hosts", "hosts"), ("corpus", "text")];
        // Only the first need be told.
        files.extend((i == 0).then_some(("output", "counts")));
        for (flag, name) in files {
            command.arg(format!("--{flag}")).arg(self.file(name));
        }
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        command
    }

    fn start(&self, way: &str) -> Vec<Running> {
        let all = 0..self.addresses.len();
        all.map(|i| Running(Some(self.process(i, way).spawn().unwrap()))).collect()
    }

    /// What the text comes to, counted another way.
    fn right(&self) -> Digest {
        let text = fs::read_to_string(self.file("text")).unwrap();
        assert!(text.len() as u64 >= self.bytes);
        let mut counts = BTreeMap::new();
        for word in text.split(['\n', ' ']).filter(|w| !w.is_empty()) {
            *counts.entry(word).or_insert(0) += 1;
        }
        Digest::of(&counts.into_iter().collect())
    }
}

/// A process that does not outlive a failed test.
struct Running(Option<Child>);

impl Running {
    fn child(&mut self) -> &mut Child {
        self.0.as_mut().unwrap()
    }

    fn end(mut self) -> Output {
        self.0.take().unwrap().wait_with_output().unwrap()
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if let Some(mut child) = self.0.take() {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

fn errors(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

#[track_caller]
fn all_well(job: &Job, way: &str) {
    for end in job.start(way).into_iter().map(Running::end) {
        assert!(end.status.success(), "{}", errors(&end));
    }
    assert_eq!(read_output(&job.file("counts")).unwrap(), Some(job.right()));
}

#[test]
fn processes_by_a_hosts_file_count_right_whatever_crosses_the_wire() {
    for (processes, way) in [(1, "raw"), (2, "combined"), (3, "raw"), (3, "text")] {
        all_well(&Job::new(processes, 60_000), way);
    }
}

#[test]
fn killed_at_any_moment_the_others_fail_and_the_output_is_whole_or_absent() {
    let job = Job::new(2, 2_000_000);
    let output = job.file("counts");
    for kill in 0..12_u64 {
        let mut running = job.start("raw");
        // From before they have found each other to well into the job.
        thread::sleep(Duration::from_millis(7 * kill));
        let victim = (kill % 2) as usize;
        let over = running[victim].child().try_wait().unwrap().is_some();
        running[victim].child().kill().unwrap();
        let ends: Vec<Output> = running.into_iter().map(Running::end).collect();
        let other = &ends[1 - victim];
        let found = read_output(&output).unwrap();
        assert!(found.is_none() || found == Some(job.right()), "kill {kill}");
        // Who was killed on its way out had done its share.
        assert!(over || found.is_some() || !other.status.success(), "kill {kill}");
        let _ = fs::remove_file(&output);
    }
    all_well(&job, "raw");
}

#[test]
fn a_stranger_on_the_port_is_sent_away() {
    let job = Job::new(2, 60_000);
    let first = Running(Some(job.process(0, "combined").spawn().unwrap()));
    let mut stranger = loop {
        if let Ok(socket) = TcpStream::connect(&job.addresses[0]) {
            break socket;
        }
        thread::sleep(Duration::from_millis(2));
    };
    stranger.write_all(b"GET / HTTP/1.1\r\nhost: a\r\n\r\n").unwrap();
    let second = Running(Some(job.process(1, "combined").spawn().unwrap()));
    let (first, second) = (first.end(), second.end());
    assert!(first.status.success() && second.status.success());
    assert!(errors(&first).contains("none of us"), "{}", errors(&first));
    assert_eq!(read_output(&job.file("counts")).unwrap(), Some(job.right()));
}

#[test]
fn without_its_text_a_process_says_so_and_the_other_fails_too() {
    let job = Job::new(2, 60_000);
    let mut command = job.process(1, "combined");
    let odd = job.file("odd");
    fs::write(&odd, [b'a', b' ', 0xFF, b'\n', b'a', b'\n', 0xFF, b'\n']).unwrap();
    command.arg("--corpus").arg(&odd);
    let first = Running(Some(job.process(0, "combined").spawn().unwrap()));
    let second = Running(Some(command.spawn().unwrap()));
    let (first, second) = (first.end(), second.end());
    assert_eq!((first.status.code(), second.status.code()), (Some(1), Some(1)));
    assert!(errors(&second).contains("cannot read"), "{}", errors(&second));
    assert!(!job.file("counts").exists());
}

#[test]
fn misuse_is_answered_with_what_to_do() {
    let lab = |words: &[&str]| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_lab18"));
        command.args(words).stdin(Stdio::null()).output().unwrap()
    };
    let hosts = Path::new("no such file").to_str().unwrap();
    for (words, code, says) in [
        (&["--process", "0"][..], 2, "--hosts"),
        (&["--process", "0", "--hosts", hosts], 1, "no such file"),
        (&["--hosts", hosts], 2, "--process"),
        (&["--bytes", "1KB"], 2, "16KB"),
        (&["--processes", "0"], 2, "1 to 64"),
    ] {
        let end = lab(words);
        assert_eq!(end.status.code(), Some(code), "{}", errors(&end));
        assert!(errors(&end).contains(says), "{}", errors(&end));
    }
    let job = Job::new(1, 1000);
    let end = Running(Some(job.process(4, "raw").spawn().unwrap())).end();
    assert!(errors(&end).contains("there are 1 addresses"), "{}", errors(&end));
}
