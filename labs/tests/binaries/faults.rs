//! Faults that were found by trying, each with the members of its kind that were found beside it.

use std::{
    fs,
    io::{self, Read, Write},
    net::{Shutdown, TcpListener, TcpStream},
    path::Path,
    process::Command,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering::SeqCst},
    },
    thread,
    time::Duration,
};

use serde_json::{Value, json};

use crate::{support::*, upstreams::Tiny};

/// The numbered lab at smoke scale, with its results in `out`.
fn smoke(lab: u32, out: &Path) -> Command {
    let mut command = labs();
    command.args(["run", &lab.to_string(), "--scale", "smoke", "--out"]);
    command.arg(out);
    command
}

/// A server that answers whoever comes in a way of its own; how many came.
fn server(answer: impl Fn(&mut TcpStream) + Send + Sync + 'static) -> (String, Arc<AtomicUsize>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let came = Arc::new(AtomicUsize::new(0));
    let (count, answer) = (came.clone(), Arc::new(answer));
    thread::spawn(move || {
        for mut stream in listener.incoming().flatten() {
            let (count, answer) = (count.clone(), answer.clone());
            thread::spawn(move || {
                if stream.read(&mut [0; 4096]).is_ok_and(|n| n > 0) {
                    count.fetch_add(1, SeqCst);
                    answer(&mut stream);
                    // What is closed with something unread takes back what it has said.
                    let _ = stream.shutdown(Shutdown::Write);
                    let _ = io::copy(&mut stream, &mut io::sink());
                }
            });
        }
    });
    (url, came)
}

fn says(text: &'static str) -> impl Fn(&mut TcpStream) + Send + Sync + 'static {
    move |stream| drop(stream.write_all(text.as_bytes()))
}

#[test]
fn a_proxy_of_the_environment_changes_nothing() {
    let (proxy, came) = server(says("HTTP/1.1 502 Bad Gateway\r\ncontent-length: 0\r\n\r\n"));
    let dir = temporary();
    for lab in [3, 5, 8, 12, 19] {
        let mut command = smoke(lab, dir.path());
        for name in ["http_proxy", "HTTP_PROXY", "https_proxy", "all_proxy", "ALL_PROXY"] {
            command.env(name, &proxy);
        }
        run(&mut command).expect(0);
    }
    assert_eq!(came.load(SeqCst), 0, "a request went to the proxy");
}

#[test]
fn a_target_that_does_not_answer_as_it_should_is_told_from_the_first_request() {
    let (elsewhere, came) = server(says("HTTP/1.1 200 OK\r\ncontent-length: 1\r\n\r\nx"));
    let redirect =
        format!("HTTP/1.1 302 Found\r\nlocation: {elsewhere}\r\ncontent-length: 0\r\n\r\n");
    let endless = |stream: &mut TcpStream| {
        let _ = stream.write_all(b"HTTP/1.1 200 OK\r\n\r\n");
        while stream.write_all(&[b'x'; 65536]).is_ok() {}
    };
    let drip = |stream: &mut TcpStream| {
        let _ = stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 256\r\n\r\n");
        while stream.write_all(b"x").is_ok() {
            thread::sleep(Duration::from_millis(500));
        }
    };
    let silent = |_: &mut TcpStream| thread::sleep(Duration::from_secs(40));
    let cases = [
        (server(says(redirect.leak())).0, "redirect"),
        (server(says("HTTP/1.1 500 No\r\ncontent-length: 0\r\n\r\n")).0, "500"),
        (server(says("HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nhello")).0, "5 bytes"),
        (server(says("HTTP/1.1 200 OK\r\ncontent-length: 256\r\n\r\nshort")).0, "broke off"),
        (server(says("SSH-2.0-x\r\n")).0, "broke off"),
        (server(endless).0, "larger than"),
        (server(drip).0, "no answer within"),
        (server(silent).0, "no answer within"),
    ];
    let dir = temporary();
    for (url, why) in cases {
        let mut command = smoke(3, dir.path());
        let done = run(command.args(["--target", &url])).expect(1);
        done.says(&[&url, why]);
    }
    assert_eq!(came.load(SeqCst), 0, "load went where a redirect pointed");
    assert!(!dir.path().join("lab03.json").exists());
}

#[test]
fn upstreams_of_pipelines_are_looked_at_as_targets_are() {
    let dir = temporary();
    let lab = |n: u32, url: &str| {
        let mut command = labs();
        command.args(["run", &n.to_string(), "--upstream", url, "--state"]);
        run(command.arg(dir.path().join(n.to_string())))
    };
    for n in [12, 19] {
        for url in ["http://192.0.2.1", "http://example.com", "http://0.0.0.0:1"] {
            lab(n, url).expect(2).says(&["--upstream", "--allow-remote-target"]);
        }
        lab(n, "https://127.0.0.1").expect(2);
        lab(n, &server(says("no HTTP at all\r\n\r\n")).0).expect(1);
    }
}

#[test]
fn runs_of_the_same_second_do_not_replace_each_other() {
    let dir = temporary();
    let words = ["--unit", "1ms", "--waits", "1", "--cost", "1ms", "--jobs", "1"];
    let runs: Vec<_> = (0..4).map(|_| Running::start(smoke(1, dir.path()).args(words))).collect();
    runs.into_iter().for_each(|run| drop(run.wait().expect(0)));
    let history = fs::read_dir(dir.path().join("history")).unwrap().count();
    assert_eq!(history + 1, 4);
}

/// Alters a record of `results/reference-quick` in a folder beside that of lab 3.
fn altered(lab: &str, change: impl FnOnce(&mut Value)) -> tempfile::TempDir {
    let (dir, committed) = (temporary(), Path::new(env!("CARGO_MANIFEST_DIR")));
    let committed = committed.join("../results/reference-quick");
    fs::copy(committed.join("lab03.json"), dir.path().join("lab03.json")).unwrap();
    let mut record = read_json(&committed.join(format!("{lab}.json")));
    change(&mut record);
    write_json(&dir.path().join(format!("{lab}.json")), &record);
    dir
}

#[test]
fn a_record_that_no_flag_could_have_made_is_left_out_by_name() {
    let huge = 9_223_372_036_854_775_808_u64;
    let cases: &[(&str, &str, Value)] = &[
        ("lab01", "/params/waits/1", json!(-1)),
        ("lab01", "/points/0/trials/0/spans/0/end_s", json!(-1e300)),
        ("lab04", "/params/slots", json!(0)),
        ("lab05", "/params/rate", json!(-100)),
        ("lab05", "/params/cap", json!("1ns")),
        ("lab06", "/points/1/trials/0/gauges/lines", json!(1e300)),
        ("lab07", "/host/cores", json!(0)),
        ("lab11", "/host/effective_parallelism", json!([])),
        ("lab08", "/params/batch", json!(0)),
        ("lab12", "/params/batch", json!(0)),
        ("lab09", "/points/0/trials/0/wall_s", json!(1e308)),
        ("lab10", "/params/clients", json!(0)),
        ("lab15", "/params/workers", json!(0)),
        ("lab15", "/params/places", json!(huge)),
        ("lab15", "/params/surge", json!(1e300)),
        ("lab18", "/params/vocabulary", json!(huge)),
        ("lab02", "/params", json!([])),
        ("lab02", "/params", json!({"nonsense": 1})),
        ("lab13", "/points/0/x", json!(-1e9)),
        ("lab14", "/points/0/series", json!("x".repeat(1000))),
        ("lab16", "/host/request_overhead_ms", json!(-1)),
        ("lab17", "/points/0/trials", json!([])),
        ("lab19", "/points/0/trials/0/offered", json!(huge)),
    ];
    for (lab, field, value) in cases {
        let dir = altered(lab, |record| {
            let old = record.pointer_mut(field);
            *old.unwrap_or_else(|| panic!("{lab} has no {field}")) = value.clone();
        });
        let done = labs_with(&["verdicts"], &[dir.path()]).expect(1);
        assert!(done.stderr.contains(lab), "{lab} {field}: {}", done.stderr);
        assert!(done.stdout.contains("lab03"), "{lab} {field} took lab 3 with it");
    }
}

#[test]
fn a_gauge_beyond_its_range_costs_nothing_but_itself() {
    let dir = altered("lab10", |record| {
        for point in record["points"].as_array_mut().unwrap() {
            for trial in point["trials"].as_array_mut().unwrap() {
                if let Some(slow) = trial["gauges"].get_mut("slow_fetches") {
                    *slow = 1.5.into();
                }
            }
        }
    });
    for words in ["verdicts", "report", "charts"] {
        let done = labs_with(&[words], &[dir.path()]);
        assert!(matches!(done.code, Some(0 | 1)), "{words}: {}", done.stderr);
        assert!(!done.stderr.contains("panicked"), "{}", done.stderr);
        assert!(done.stdout.contains("lab03") || words == "report", "{}", done.stdout);
    }
}

#[test]
fn a_closed_pipe_changes_what_is_printed_and_nothing_else() {
    let dir = measured();
    edit(dir.path(), |record| {
        let points = record["points"].as_array_mut().unwrap();
        let point = points.iter_mut().find(|p| p["series"] == "burst/bounded");
        let refused = &mut point.unwrap()["trials"][0]["gauges"]["refused_total"];
        *refused = (refused.as_f64().unwrap() + 5.0).into();
    });
    let (reader, writer) = std::io::pipe().unwrap();
    drop(reader);
    let mut command = labs();
    command.args(["verdicts", "--check"]).arg(dir.path()).stdout(writer);
    assert_eq!(command.status().unwrap().code(), Some(3));
}

#[cfg(unix)]
mod unix {
    use super::*;

    #[test]
    fn a_limit_that_is_too_low_is_named_before_anything_is_started() {
        let dir = temporary();
        let path = env!("CARGO_BIN_EXE_labs");
        for (limit, named) in [
            ("ulimit -n 64", "ulimit -n"),
            ("ulimit -n 12", "ulimit -n"),
            ("ulimit -v 500000", "ulimit -v"),
            ("ulimit -s 64", "ulimit -s"),
            ("ulimit -f 1000", "ulimit -f"),
        ] {
            let mut command = limited(limit, path);
            command.args(["run", "3", "--scale", "smoke", "--out"]).arg(dir.path());
            let done = run(&mut command).expect(1).says(&[named, "the limit on"]);
            assert_eq!(done.stderr.lines().count(), 1, "{}", done.stderr);
        }
        assert_eq!(content(dir.path()).len(), 0);
    }

    #[test]
    fn labs_run_with_few_open_files_and_say_what_they_left_out() {
        let dir = temporary();
        for lab in ["4", "14"] {
            let mut command = limited("ulimit -n 256", env!("CARGO_BIN_EXE_labs"));
            command.args(["run", lab, "--scale", "smoke", "--out"]).arg(dir.path());
            run(&mut command).expect(0);
        }
    }

    /// A run that would take minutes, against a server of the test's own, which tells when it is under way.
    fn long(tiny: &Tiny, out: &Path, shell: &str) -> Command {
        let mut command = limited(shell, env!("CARGO_BIN_EXE_labs"));
        command.args([
            "run", "3", "--scale", "smoke", "--levels", "1,2,3,4", "--trials", "50", "--long",
        ]);
        command.args(["--target", &tiny.url, "--out"]).arg(out);
        command
    }

    fn under_way(tiny: &Tiny) {
        wait_for("it is under way", || (tiny.answered() > 100).then_some(()));
    }

    #[test]
    fn a_signal_that_was_ignored_from_the_start_stays_ignored() {
        let (dir, tiny) = (temporary(), Tiny::start(None));
        let running = Running::start(&mut long(&tiny, dir.path(), "trap '' HUP"));
        under_way(&tiny);
        running.signal("HUP");
        let before = tiny.answered();
        wait_for("it goes on", || (tiny.answered() > before + 200).then_some(()));
        running.signal("TERM");
        running.wait().expect(130);
    }

    #[test]
    fn signals_are_heard_where_nobody_listens_to_words() {
        let (dir, tiny) = (temporary(), Tiny::start(None));
        let (reader, writer) = std::io::pipe().unwrap();
        let mut command = long(&tiny, dir.path(), "true");
        let mut child = command.stderr(writer.try_clone().unwrap()).stdout(writer).spawn().unwrap();
        under_way(&tiny);
        drop(reader);
        let sent = Command::new("kill").args(["-s", "TERM", &child.id().to_string()]).status();
        assert!(sent.unwrap().success());
        let status = wait_for("it ends", || child.try_wait().unwrap());
        assert_eq!(status.code(), Some(130));
        assert!(dir.path().join("lab03.json").exists(), "what was complete is lost");
    }
}
