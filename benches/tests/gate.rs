//! The command `gate` as its user sees it: exit codes and what it says. Nothing is measured here.

use std::process::{Command, Output};

fn gate(words: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_gate"));
    command.args(words).output().expect("it starts")
}

fn said(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

#[test]
fn wrong_flags_are_usage_errors() {
    for words in [
        &["pairs", "--margin", "0"][..],
        &["pairs", "--pairs", "3"],
        &["prove", "--runs", "0"],
        &["charts", "--again", "--criterion", "x"],
        &["unknown"],
        &[],
    ] {
        assert_eq!(gate(words).status.code(), Some(2), "{words:?}");
    }
    assert_eq!(gate(&["--help"]).status.code(), Some(0));
}

#[test]
fn charts_say_what_they_need() {
    let dir = tempfile::tempdir().expect("a temporary folder");
    let path = dir.path().to_str().expect("a plain name");
    let without_times = gate(&["charts", path, "--criterion", path]);
    assert_eq!(without_times.status.code(), Some(1));
    assert!(said(&without_times).contains("cargo bench"), "{}", said(&without_times));
    let without_record = gate(&["charts", path, "--again"]);
    assert_eq!(without_record.status.code(), Some(1));
    assert!(said(&without_record).contains("benches.json"), "{}", said(&without_record));
}

#[test]
fn an_unknown_commit_is_named() {
    let unknown = gate(&["pairs", "--base", "no-such-commit"]);
    assert_eq!(unknown.status.code(), Some(1));
    assert!(said(&unknown).contains("no-such-commit"), "{}", said(&unknown));
}
