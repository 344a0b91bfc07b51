//! Wrong words on the command line: exit code 2, a sentence that helps, no panic, nothing written.

use std::path::Path;

use crate::support::*;

#[test]
fn wrong_flags_of_a_lab_are_refused_with_a_sentence() {
    let huge = "99999999999999999999999";
    let cases: &[(&[&str], &str)] = &[
        (&["--slots", "0"], "1 to 1000000"),
        (&["--slots", "-1"], "-1"),
        (&["--slots=-1"], "1 to 1000000"),
        (&["--slots", huge], "1 to 1000000"),
        (&["--slots", "1000000"], "20,000 requests per second"),
        (&["--slots", "four"], "1 to 1000000"),
        (&["--slots", ""], "--slots"),
        (&["--slots"], "--slots"),
        (&["--queue", "0"], "1 to 1000000"),
        (&["--service", "100"], "number and a unit"),
        (&["--service", "0ms"], "longer than zero"),
        (&["--service=-5ms"], "number and a unit"),
        (&["--service", "9000h"], "is the unit right?"),
        (&["--service", "99999999999999999999999s"], "number and a unit"),
        (&["--service", "50ms", "--timeout", "10ms"], "no request could ever succeed"),
        (&["--levels", "0"], "1 to 20000"),
        (&["--levels", "1,-5"], "1 to 20000"),
        (&["--levels", "1,,5"], "1 to 20000"),
        (&["--levels", "1,5,999999"], "1 to 20000"),
        (&["--levels", "1.5"], "1 to 20000"),
        (&["--trials", "0"], "1..=1000"),
        (&["--trials", "1001"], "1..=1000"),
        (&["--trials", huge], "--trials"),
        (&["--seed=-1"], "--seed"),
        (&["--seed", huge], "--seed"),
        (&["--scale", "enormous"], "smoke, quick, full"),
        (&["--slotz", "3"], "--slots"),
        (&["--predict", "goodput"], "KEY=NUMBER"),
        (&["--predict", "goodput=many"], "KEY=NUMBER"),
        (&["--predict", "goodput=inf"], "KEY=NUMBER"),
        (&["--predict", "=3"], "KEY=NUMBER"),
        (&["--predict", "godput=3"], "goodput, success"),
        (&["surplus"], "surplus"),
    ];
    let dir = temporary();
    let out = dir.path().join("out");
    for (words, why) in cases {
        let mut command = lab03();
        command.arg("--out").arg(&out).args(["--scale", "quick"]);
        refused(&mut command, words, why);
    }
    assert_eq!(content(dir.path()).len(), 0);
}

#[track_caller]
fn refused(command: &mut std::process::Command, words: &[&str], why: &str) {
    let done = run(command.args(words));
    assert_eq!(done.code, Some(2), "{words:?}: {}", done.stderr);
    assert_eq!(done.stdout, "", "{words:?}");
    // clap shows some values in quotes or brackets; the words in between are what counts.
    assert!(done.stderr.contains(why), "{words:?}: {}", done.stderr);
    assert!(done.stderr.starts_with("error: "), "{}", done.stderr);
    assert!(!done.stderr.contains("panicked"), "{}", done.stderr);
}

#[test]
fn plans_that_would_take_long_are_refused_with_how_long() {
    let cases: &[(&str, &[&str])] = &[
        ("1", &["--unit", "1s1s"]),
        ("1", &["--cost", "1h"]),
        ("2", &["--watch", "1h"]),
        ("5", &["--outage", "20s", "--deadline", "21s", "--base", "1s", "--cap", "8s"]),
        ("10", &["--answers", "65536", "--clients", "100"]),
        ("12", &["--lock", "1h"]),
        ("12", &["--backoff", "1h"]),
        ("14", &["--block", "1m", "--patience", "20s", "--rate", "10"]),
        ("16", &["--window", "1m"]),
        ("17", &["--patience", "1h"]),
        ("19", &["--samples", "20000"]),
        ("19", &["--backlogs", "20000"]),
        ("19", &["--stall", "1h"]),
        ("3", &["--trials", "1000"]),
    ];
    let dir = temporary();
    for (lab, words) in cases {
        let mut command = labs();
        command.args(["run", *lab, "--scale", "smoke", "--out"]);
        refused(command.arg(dir.path()), words, "would take about");
    }
    // Several labs are looked at before the first of them runs.
    let mut command = labs();
    command.args(["run", "1", "2", "--scale", "quick", "--out"]);
    refused(
        command.arg(dir.path()),
        &["--trials", "1000"],
        "lab02 with these flags would take about",
    );
    assert_eq!(content(dir.path()).len(), 0);
}

#[test]
fn a_long_run_may_be_had_by_saying_so() {
    let dir = temporary();
    let mut command = labs();
    command.args(["run", "1", "--scale", "smoke", "--trials", "300", "--long", "--out"]);
    let running = Running::start(command.arg(dir.path()));
    wait_for("it says how long it takes", || running.stdout().contains("About ").then_some(()));
}

#[test]
#[cfg(target_os = "linux")]
fn plans_without_room_are_refused_with_how_much_there_is() {
    let cases: &[(&str, &[&str])] = &[
        ("6", &["--chunk", "1024GB"]),
        ("6", &["--heap-chunk", "1024GB"]),
        ("6", &["--heap-chunks", "1KB,900GB"]),
        ("6", &["--chunk", "300GB", "--size", "300GB"]),
        ("19", &["--page", "1MB", "--backlogs", "20000", "--samples", "1000000"]),
    ];
    for (lab, words) in cases {
        let mut command = labs();
        // It is no matter of time.
        command.args(["run", *lab, "--scale", "smoke", "--long"]);
        refused(&mut command, words, "in memory, and this machine can give");
    }
}

#[test]
fn flags_that_would_give_theory_no_end_are_refused() {
    let cases: &[(&str, &[&str], &str)] = &[
        ("5", &["--cap", "1ns"], "more than this machine can send"),
        ("5", &["--base", "1ns", "--cap", "2ns"], "more than this machine can send"),
        ("5", &["--base", "1h", "--cap", "1h"], "a shorter --cap"),
        ("1", &["--unit", "100us"], "1 ms or more"),
        (
            "7",
            &[
                "--window",
                "1h",
                "--fetch",
                "1ms",
                "--ratios",
                "0.01,0.02,0.03,0.04,0.05,0.06,0.07,0.08",
            ],
            "than theory can play",
        ),
    ];
    for (lab, words, why) in cases {
        refused(labs().args(["run", *lab, "--scale", "smoke", "--long"]), words, why);
    }
}

#[test]
fn wrong_words_of_the_umbrella_command_are_refused_with_a_sentence() {
    let cases: &[(&[&str], &str)] = &[
        (&["run"], "labs run <LAB>"),
        (&["run", "--scale", "smoke"], "labs list"),
        (&["run", "99"], "there is no lab \"99\"; there are"),
        (&["run", "lab"], "there is no lab"),
        (&["run", "3", "99"], "there is no lab \"99\""),
        (&["run", "999999999999"], "there is no lab"),
        (&["run", ""], "there is no lab"),
        // Flags of one lab make no sense for several.
        (&["run", "3", "3", "--slots", "4"], "--slots"),
        (&["run", "3", "3", "--predict", "nope=1"], "goodput"),
        (&["all", "--slots", "4"], "--slots"),
        (&["all", "--trials", "0"], "1..=1000"),
        (&["all", "--predict", "nope=1"], "goodput"),
        (&["lsit"], "list"),
        (&["verdicts", "--chekc"], "--check"),
        (&["compare", "only-one"], "<B>"),
        (&["splice", "only-one"], "<DIR>"),
        (&["--nonsense"], "--nonsense"),
    ];
    for (words, why) in cases {
        refused(&mut labs(), words, why);
    }
}

#[test]
fn load_goes_to_this_machine_unless_allowed() {
    let elsewhere = [
        "http://192.0.2.1:8080",
        "http://example.com",
        "http://127.0.0.1.example.com:80",
        "http://localhost@example.com/",
        "http://[2001:db8::1]:80/",
        "http://0.0.0.0:8080",
    ];
    for url in elsewhere {
        refused(lab03().args(["--target", url]), &["--scale", "smoke"], "--allow-remote-target");
        refused(labs().args(["all", "--target", url]), &[], "not yours is an attack");
    }
    for (url, why) in [
        ("nonsense", "--target nonsense"),
        ("https://127.0.0.1", "only http://"),
        ("file:///etc/passwd", "only http://"),
    ] {
        refused(&mut lab03(), &["--target", url], why);
    }
    // Allowed, and then it is only that nobody is there: this address is not loopback by its number,
    // and still no packet leaves the machine.
    let dir = temporary();
    let words = ["--allow-remote-target", "--target", "http://0.0.0.0:1"];
    let mut command = lab03();
    command.args(words).args(["--scale", "smoke", "--out"]);
    run(command.arg(dir.path())).expect(1).says(&["http://0.0.0.0:1", "found no upstream"]);
}

#[test]
fn folders_that_cannot_be_written_are_told_before_anything_is_measured() {
    let dir = temporary();
    let file = dir.path().join("file");
    std::fs::write(&file, "mine").unwrap();
    // Permissions mean nothing to root; a path below a file is closed to everybody.
    let mut closed = vec![file.join("x"), file.clone()];
    if cfg!(target_os = "linux") {
        closed.push("/proc/nope".into());
        closed.push("/dev/full/x".into());
    }
    for folder in &closed {
        for words in [&["run", "3"][..], &["all"]] {
            let done = run(labs().args(words).args(["--scale", "smoke", "--out"]).arg(folder));
            let done = done.expect(1).says(&["cannot write to", "--out"]);
            assert!(done.stderr.contains(folder.to_str().unwrap()));
            assert!(!done.stdout.contains("lab03"), "measured: {}", done.stdout);
        }
        labs_with(&["charts"], &[folder as &Path]).expect(1);
    }
    assert_eq!(std::fs::read_to_string(&file).unwrap(), "mine");
}

#[test]
fn a_reader_that_has_gone_is_no_error() {
    let dir = measured();
    let commands: [&[&str]; 4] = [&[], &["list"], &["list", "--json"], &["schema"]];
    let of_results: [&[&str]; 3] = [&["verdicts"], &["verdicts", "--json"], &["charts"]];
    let with = |words: &[&str], folder: Option<&Path>| {
        let mut command = labs();
        command.args(words).args(folder);
        // The other end of the pipe is closed before the program starts.
        let (reader, writer) = std::io::pipe().unwrap();
        drop(reader);
        let output = command.stdout(writer).output().unwrap();
        let stderr = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(0), "{words:?}: {stderr}");
        assert_eq!(stderr, "", "{words:?}");
    };
    commands.iter().for_each(|words| with(words, None));
    let folder = Some(dir.path());
    of_results.iter().for_each(|words| with(words, folder));
}

#[test]
#[cfg(target_os = "linux")]
fn output_that_cannot_be_written_is_an_error() {
    for words in [&["list"][..], &["schema"], &[]] {
        let full = std::fs::File::create("/dev/full").unwrap();
        let output = labs().args(words).stdout(full).output().unwrap();
        let stderr = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(1), "{words:?}: {stderr}");
        assert!(stderr.contains("error: ") && !stderr.contains("panicked"));
    }
}
