//! An upstream that somebody else runs: one that works, one that is not there, one that dies.

use std::{
    io::{BufRead, BufReader, Write},
    net::{Shutdown, TcpListener, TcpStream},
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    thread,
};

use crate::support::*;

/// A server in a few lines, whose answers are what labs expect of `mock_server`.
pub struct Tiny {
    pub url: String,
    answered: Arc<AtomicU64>,
    dead: Arc<AtomicBool>,
}

impl Tiny {
    /// Serves for ever, or dies after so many answers: closes every connection and listens no more.
    pub fn start(answers: Option<u64>) -> Tiny {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let (answered, dead) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicBool::new(false)));
        let tiny = Tiny { url, answered: answered.clone(), dead: dead.clone() };
        thread::spawn(move || {
            let open: Arc<Mutex<Vec<TcpStream>>> = Arc::default();
            for stream in listener.incoming() {
                if dead.load(Ordering::SeqCst) {
                    break;
                }
                let Ok(stream) = stream else { continue };
                let Ok(copy) = stream.try_clone() else {
                    continue;
                };
                open.lock().unwrap().push(copy);
                let (answered, dead, open) = (answered.clone(), dead.clone(), open.clone());
                thread::spawn(move || {
                    serve(stream, || {
                        let n = answered.fetch_add(1, Ordering::SeqCst) + 1;
                        answers.is_none_or(|limit| n <= limit)
                    });
                    if answers.is_some_and(|limit| answered.load(Ordering::SeqCst) > limit)
                        && !dead.swap(true, Ordering::SeqCst)
                    {
                        for stream in open.lock().unwrap().drain(..) {
                            let _ = stream.shutdown(Shutdown::Both);
                        }
                    }
                });
            }
        });
        tiny
    }

    pub fn answered(&self) -> u64 {
        self.answered.load(Ordering::SeqCst)
    }
}

impl Drop for Tiny {
    fn drop(&mut self) {
        self.dead.store(true, Ordering::SeqCst);
        // Wakes the thread that accepts.
        let _ = TcpStream::connect(self.url.trim_start_matches("http://"));
    }
}

/// Answers each request of a connection as long as `more` says so.
fn serve(mut stream: TcpStream, more: impl Fn() -> bool) {
    let Ok(copy) = stream.try_clone() else { return };
    let mut lines = BufReader::new(copy).lines();
    loop {
        // A request without a body ends with an empty line.
        loop {
            match lines.next() {
                Some(Ok(line)) if line.is_empty() => break,
                Some(Ok(_)) => {}
                _ => return,
            }
        }
        if !more() {
            return;
        }
        let body = mock_server::BODY;
        let mut answer =
            format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n", body.len()).into_bytes();
        answer.extend_from_slice(body.as_ref());
        // Long enough that a closed loop does not spin.
        thread::sleep(std::time::Duration::from_millis(5));
        if stream.write_all(&answer).is_err() {
            return;
        }
    }
}

#[test]
fn a_server_that_is_already_running_can_be_measured() {
    let (dir, tiny) = (temporary(), Tiny::start(None));
    let mut command = lab03();
    command.args(["--scale", "smoke", "--levels", "1,4", "--target", &tiny.url]);
    run(command.arg("--out").arg(dir.path())).expect(0);
    let record = read_json(&dir.path().join("lab03.json"));
    assert_books_close(&record);
    assert_fits_schema(&record);
    let ok: u64 = trials(&record).iter().map(|t| t["ok"].as_u64().unwrap()).sum();
    assert!(ok > 0, "nothing was answered");
    assert!(ok <= tiny.answered(), "{ok} of {} answers", tiny.answered());
    // The books of a server that somebody else runs are not known, so nothing is claimed of them.
    let rows = labs_with(&["verdicts", "--json"], &[dir.path()]).expect(0).json();
    assert!(!rows.to_string().contains("the same refusals"), "{rows}");
}

#[test]
fn a_password_in_the_address_of_a_target_is_told_to_nobody() {
    let (dir, tiny) = (temporary(), Tiny::start(None));
    let url = tiny.url.replace("http://", "http://anna:hunter2@");
    let mut command = lab03();
    command.args(["--scale", "smoke", "--levels", "1,4", "--target", &url]);
    let ran = run(command.arg("--out").arg(dir.path())).expect(0);
    let record = read_json(&dir.path().join("lab03.json"));
    assert_fits_schema(&record);
    let shown = tiny.url.replace("http://", "http://anna:***@");
    assert_eq!(record["target"], shown.as_str());
    assert!(record["command"].as_str().unwrap().contains(&shown), "{}", record["command"]);
    labs_with(&["report"], &[dir.path()]).expect(0);
    for (path, bytes) in content(dir.path()) {
        let text = String::from_utf8_lossy(&bytes);
        assert!(!text.contains("hunter2"), "{path:?}");
    }
    assert!(!format!("{}{}", ran.stdout, ran.stderr).contains("hunter2"));
    drop(tiny);
    // Nor when nobody is there any more, or when it is refused.
    for (url, code) in
        [(url.as_str(), 1), ("http://anna:hunter2@192.0.2.1", 2), ("anna:hunter2@h", 2)]
    {
        let mut command = lab03();
        command.args(["--scale", "smoke", "--levels", "1,4", "--target", url]);
        let ran = run(command.arg("--out").arg(dir.path())).expect(code);
        assert!(!format!("{}{}", ran.stdout, ran.stderr).contains("hunter2"), "{}", ran.stderr);
    }
}

#[test]
fn an_upstream_that_is_not_there_is_a_failure_that_names_it() {
    // tcpmux: nobody listens there, and no other test can be given it.
    let url = "http://127.0.0.1:1";
    let dir = measured();
    let before = content(dir.path());
    let mut command = lab03();
    command.args(["--scale", "smoke", "--target", url]);
    run(command.arg("--out").arg(dir.path())).expect(1).says(&[
        url,
        "found no upstream",
        "is it still running",
    ]);
    assert_same(&before, &content(dir.path()));
}

#[test]
fn an_upstream_that_dies_ends_the_run_with_a_sentence() {
    // Long enough for the first conditions, of which there are far more.
    let (dir, tiny) = (measured(), Tiny::start(Some(60)));
    let before = content(dir.path());
    let mut command = lab03();
    command.args(["--scale", "smoke", "--levels", "1,2,3,4", "--trials", "50", "--long"]);
    command.args(["--target", &tiny.url]);
    run(command.arg("--out").arg(dir.path())).expect(1).says(&[
        &tiny.url,
        "found no upstream",
        "is it still running",
    ]);
    assert!(tiny.answered() > 60, "it died too early: {}", tiny.answered());
    assert_same(&before, &content(dir.path()));
}
