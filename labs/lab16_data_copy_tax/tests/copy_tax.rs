//! lab16's two processes: one of them is killed, or there is no room. Nothing may be left behind: no
//! process, no file, no segment. No time is asserted.

use std::{
    path::Path,
    process::{Child, Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use lab_testing::ends;

/// A lab with its flags, whose results go to a folder.
fn lab(out: &Path, flags: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_lab16"));
    command.args(["--no-predict", "--scale", "smoke", "--out"]);
    command.arg(out).args(flags).stdin(Stdio::null());
    command
}

#[test]
fn a_folder_that_is_not_there_is_named() {
    let out = tempfile::tempdir().unwrap();
    let flags = ["--sizes", "1KB", "--ways", "kept", "--folder", "/no/such/folder"];
    let why = ends(&mut lab(out.path(), &flags), 2).1;
    for part in ["shared segment", "/no/such/folder"] {
        assert!(why.contains(part), "{why}");
    }
}

#[test]
fn a_consumer_that_is_told_nothing_ends_with_its_input() {
    let mut command = Command::new(env!("CARGO_BIN_EXE_lab16"));
    command.args(["--consume", "pipe"]).stdin(Stdio::null());
    let done = command.output().unwrap();
    assert!(done.status.success());
    assert!(done.stdout.is_empty() && done.stderr.is_empty(), "{done:?}");
}

/// What only /proc shows.
#[cfg(target_os = "linux")]
mod killed {
    use super::*;

    /// Numbers of the processes whose parent is this one.
    fn children(of: u32) -> Vec<u32> {
        let processes = std::fs::read_dir("/proc").unwrap().flatten();
        let numbers = processes.filter_map(|e| e.file_name().to_str()?.parse::<u32>().ok());
        let parent = |n: &u32| {
            let stat = std::fs::read_to_string(format!("/proc/{n}/stat")).ok()?;
            let after = stat.rsplit_once(')')?.1.split_whitespace().nth(1)?;
            after.parse::<u32>().ok()
        };
        numbers.filter(|n| parent(n) == Some(of)).collect()
    }

    /// True while it runs; a zombie does not.
    fn alive(process: u32) -> bool {
        let stat = std::fs::read_to_string(format!("/proc/{process}/stat"));
        stat.is_ok_and(|s| s.rsplit_once(')').is_some_and(|s| !s.1.starts_with(" Z")))
    }

    /// Mappings and descriptors of segments in any process that we may look into.
    fn segments(marks: &[&str]) -> Vec<String> {
        let mut found = Vec::new();
        for process in std::fs::read_dir("/proc").unwrap().flatten() {
            let maps = std::fs::read_to_string(process.path().join("maps")).unwrap_or_default();
            let mapped = maps.lines().filter(|l| marks.iter().any(|m| l.contains(m)));
            found.extend(mapped.map(|l| format!("{:?}: {l}", process.path())));
        }
        found
    }

    #[track_caller]
    fn comes_true(what: &str, mut condition: impl FnMut() -> bool) {
        let start = Instant::now();
        while !condition() {
            assert!(start.elapsed() < Duration::from_secs(30), "{what}");
            thread::sleep(Duration::from_millis(5));
        }
    }

    /// A lab that hands over for long, and its consumer, which has a segment open if it needs one.
    fn running(out: &Path, folder: &Path, way: &str) -> (Child, u32) {
        let flags = ["--sizes", "2MB", "--ways", way, "--window", "30s", "--long", "--folder"];
        let mut command = lab(out, &flags);
        command.arg(folder);
        let child = command.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
        // In the middle of it. The calibration before it has a consumer of its own.
        thread::sleep(Duration::from_millis(400));
        let mut consumer = None;
        comes_true("a consumer starts", || {
            consumer = children(child.id()).first().copied();
            consumer.is_some()
        });
        (child, consumer.unwrap())
    }

    /// False when it has ended by itself.
    fn kill(process: u32) -> bool {
        let sent = Command::new("kill").args(["-KILL", &process.to_string()]).status();
        sent.unwrap().success()
    }

    const WAYS: [&str; 5] = ["pipe", "unix", "tcp", "kept", "fresh"];

    #[test]
    fn a_producer_that_is_killed_takes_its_consumer_and_its_segments_with_it() {
        for way in WAYS {
            let (out, folder) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
            let (mut producer, consumer) = running(out.path(), folder.path(), way);
            producer.kill().unwrap();
            producer.wait().unwrap();
            comes_true("the consumer ends by itself", || !alive(consumer));
            assert_eq!(folder.path().read_dir().unwrap().count(), 0, "{way}");
            let left = segments(&[folder.path().to_str().unwrap()]);
            assert!(left.is_empty(), "{left:?}");
        }
    }

    #[test]
    fn a_consumer_that_is_killed_is_an_error_and_leaves_nothing() {
        for way in WAYS {
            let (out, folder) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
            let (producer, _) = running(out.path(), folder.path(), way);
            comes_true("a consumer is killed", || {
                children(producer.id()).first().is_some_and(|c| kill(*c))
            });
            let done = producer.wait_with_output().unwrap();
            let why = String::from_utf8_lossy(&done.stderr);
            assert_eq!(done.status.code(), Some(1), "{why}");
            assert!(why.contains("consumer's process"), "{way}: {why}");
            assert_eq!(folder.path().read_dir().unwrap().count(), 0, "{way}");
            assert!(out.path().join("lab16.json").metadata().is_err(), "{way}");
        }
    }
}

#[test]
fn a_child_is_told_apart_by_a_sign_and_not_by_the_name_of_the_program() {
    let program = Path::new(env!("CARGO_BIN_EXE_lab16"));
    // Beside it, for a link: one that is written may not be started while another test's process, just begun, holds it.
    let folder = tempfile::tempdir_in(program.parent().unwrap()).unwrap();
    let copy = folder.path().join("my-experiment");
    std::fs::hard_link(program, &copy).unwrap();
    let mut command = Command::new(&copy);
    command.args(["--scale", "smoke", "--no-predict", "--out"]).arg(folder.path().join("out"));
    ends(&mut command, 0);
}

#[test]
fn a_numbered_program_tells_its_flags_and_its_version() {
    let lab16 = |flag: &str| ends(Command::new(env!("CARGO_BIN_EXE_lab16")).arg(flag), 0).0;
    for flag in ["--sizes", "--ways", "--predict", "--scale", "--out"] {
        assert!(lab16("--help").contains(flag), "{flag}");
    }
    assert!(lab16("--version").starts_with("lab"));
}
