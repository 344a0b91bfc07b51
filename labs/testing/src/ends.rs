//! A program that ends as it should, and what it said.

use std::process::{Command, Output};

/// Runs it to its end, which has this exit code and is no panic: standard output and standard error.
#[track_caller]
pub fn ends(command: &mut Command, code: i32) -> (String, String) {
    let Output { status, stdout, stderr } = command.output().unwrap();
    let text = |bytes| String::from_utf8_lossy(bytes).into_owned();
    let (stdout, stderr) = (text(&stdout), text(&stderr));
    assert_eq!(status.code(), Some(code), "{stdout}\n{stderr}");
    assert!(!stderr.contains("panicked"), "{stderr}");
    (stdout, stderr)
}
