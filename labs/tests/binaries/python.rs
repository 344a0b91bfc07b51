//! `--python`: what is said where there is no Python, no aiohttp, or one that misbehaves. The
//! interpreters here are made up; the comparison itself needs a real one and is not run.

use std::path::Path;
#[cfg(unix)]
use std::{fs, os::unix::fs::PermissionsExt};

use crate::support::*;

const SMOKE: [&str; 6] = ["run", "4", "--python", "--scale", "smoke", "--out"];

/// A run of lab 4 that finds its interpreters in this folder only.
fn with_path(path: &Path, out: &Path) -> Done {
    run(labs().args(SMOKE).arg(out).env("PATH", path))
}

/// An interpreter that answers the question who it is, and does this with a script.
#[cfg(unix)]
fn made_up(folder: &Path, version: &str, aiohttp: &str, then: &str) {
    let (major, minor) = version.split_once('.').unwrap();
    let answer = format!(
        r#"{{"executable": null, "major": {major}, "minor": {minor}, "version": "{version}.0", "aiohttp": {aiohttp}}}"#
    );
    let script = format!("#!/bin/sh\nif [ \"$1\" = - ]; then echo '{answer}'; exit; fi\n{then}\n");
    let file = folder.join("python3");
    fs::write(&file, script).unwrap();
    fs::set_permissions(&file, fs::Permissions::from_mode(0o755)).unwrap();
}

#[test]
fn without_python_the_lab_runs_and_says_what_is_missing() {
    let (path, out) = (temporary(), temporary());
    with_path(path.path(), out.path()).expect(0).says(&[
        "no comparison with Python",
        "there is no python3",
        "pip install aiohttp",
    ]);
    assert!(out.path().join("lab04.json").exists());
}

#[test]
fn a_lab_that_has_no_python_version_says_so() {
    let out = temporary();
    let words = ["run", "1", "--python", "--scale", "smoke", "--out"];
    labs_with(&words, &[out.path()]).expect(0).says(&["no Python version to compare with"]);
}

#[cfg(unix)]
#[test]
fn an_interpreter_that_lacks_something_is_named_with_the_cure() {
    for (version, aiohttp, why) in [
        ("3.12", "null", "python3 -m pip install aiohttp"),
        ("3.4", "\"3.9\"", "too old"),
        ("2.7", "null", "too old"),
    ] {
        let (path, out) = (temporary(), temporary());
        made_up(path.path(), version, aiohttp, "exit 9");
        with_path(path.path(), out.path()).expect(0).says(&["no comparison with Python", why]);
    }
}

#[cfg(unix)]
#[test]
fn a_script_that_fails_or_lies_ends_the_run_with_its_own_words() {
    let lies = r#"{"wall_s": 1, "offered": 5, "ok": 9, "rejected": 0, "timed_out": 0, "failed": 0, "latencies_s": []}"#;
    for (then, why) in [
        ("echo Traceback: no such luck >&2; exit 3", "no such luck".to_string()),
        ("echo hello", "printed what is not its results".into()),
        ("true", "printed nothing".into()),
        (&format!("echo '{lies}'"), "0 latencies for 9 successes".into()),
    ] {
        let (path, out) = (temporary(), temporary());
        made_up(path.path(), "3.12", "\"3.11\"", then);
        // Its shell needs the system's path beside the folder.
        let paths = [path.path(), Path::new("/bin"), Path::new("/usr/bin")];
        let paths = std::env::join_paths(paths).unwrap();
        with_path(Path::new(&paths), out.path()).expect(1).says(&["lab04.py", &why]);
    }
}
