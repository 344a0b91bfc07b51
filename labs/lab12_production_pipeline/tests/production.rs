//! lab12's pipeline as a process: killed at any moment, without room, beside others. Only books are
//! asserted, never times.

use std::{
    path::Path,
    process::{Command, Stdio},
    thread,
    time::Duration,
};

use lab_testing::ends;
use lab12::store::Books;
use mock_server::{By, Every, Faults, Service, Spec, Upstream};

/// Small times, so that a run takes half a second.
const QUICK: [&str; 12] = [
    "--fetch",
    "10ms",
    "--process",
    "1ms",
    "--store",
    "2ms",
    "--store-timeout",
    "100ms",
    "--batch",
    "5",
    "--busy",
    "300ms",
];

fn pipeline(state: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_lab12"));
    command.args(QUICK).arg("--state").arg(state);
    command.stdin(Stdio::null());
    command
}

#[track_caller]
fn sound(books: &Books) {
    assert_eq!((&books.twice, &books.lost), (&vec![], &vec![]), "{books:?}");
}

/// All is done, as the pattern says, and nothing twice.
#[track_caller]
fn complete(state: &Path) {
    let books = Books::read(state).unwrap();
    sound(&books);
    assert_eq!(books.accounted(), 100);
    assert_eq!(books.failed, 15);
    // A commit that this machine held up beyond the timeout falls back as well.
    assert_eq!(books.stored(), 85);
    assert!(books.in_fallback >= 4, "{books:?}");
    assert_eq!(books.statuses.get("stored"), Some(&85));
    assert_eq!(books.statuses.get("failed"), Some(&15));
}

#[test]
fn killed_at_twenty_moments_and_started_again_every_item_is_there_once() {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let faults =
        Faults { every: vec![Every { nth: 7, status: 500, by: By::Item }], ..Faults::default() };
    let service = Service::Constant(Duration::from_millis(10));
    let spec = Spec { faults, ..Spec::new(100, service) };
    let upstream = runtime.block_on(Upstream::start(spec)).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let state = folder.path();
    let (mut dice, mut begun) = (12u64, 0u64);
    for kill in 0..20 {
        dice = dice.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        let mut command = pipeline(state);
        command.args(["--upstream", &upstream.url()]);
        let mut child = command.stdout(Stdio::null()).spawn().unwrap();
        // From before it has begun to well into its work; later, where a start takes long.
        let later = if begun == 0 { kill * 20_000 } else { 0 };
        thread::sleep(Duration::from_micros((dice >> 33) % 130_000 + later));
        child.kill().unwrap();
        child.wait().unwrap();
        // The first kills may come before there are any tables.
        match Books::read(state) {
            Ok(books) => {
                sound(&books);
                begun += 1;
            }
            Err(error) => assert!(begun == 0, "{error}"),
        }
    }
    assert!(begun > 0, "no kill came after the beginning");
    ends(pipeline(state).args(["--upstream", &upstream.url()]), 0);
    complete(state);
    // Once more: nothing is left to do, and nothing is done.
    let before = upstream.counters().arrived;
    let (said, _) = ends(pipeline(state).args(["--upstream", &upstream.url()]), 0);
    assert!(said.contains("100 of 100 items are done"), "{said}");
    assert_eq!(upstream.counters().arrived, before);
    complete(state);
}

#[test]
fn a_full_database_says_so_and_the_state_can_be_resumed() {
    let folder = tempfile::tempdir().unwrap();
    let (_, why) = ends(pipeline(folder.path()).args(["--db-pages", "8"]), 1);
    for part in ["no room", "pipeline.db", "start again with the same --state"] {
        assert!(why.contains(part), "{why}");
    }
    let books = Books::read(folder.path()).unwrap();
    sound(&books);
    assert!(books.accounted() < 100);
    ends(&mut pipeline(folder.path()), 0);
    complete(folder.path());
}

#[cfg(target_os = "linux")]
#[test]
fn a_full_disk_under_the_fallback_file_says_so_and_the_state_can_be_resumed() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("fallback.jsonl");
    std::os::unix::fs::symlink("/dev/full", &file).unwrap();
    let (_, why) = ends(&mut pipeline(folder.path()), 1);
    for part in ["no room", "fallback.jsonl", "start again with the same --state"] {
        assert!(why.contains(part), "{why}");
    }
    std::fs::remove_file(&file).unwrap();
    sound(&Books::read(folder.path()).unwrap());
    ends(&mut pipeline(folder.path()), 0);
    complete(folder.path());
}

#[test]
fn a_locked_database_says_so_and_the_state_can_be_resumed() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("pipeline.db");
    // Locked from the start, and locked on the way.
    for begun in [false, true] {
        let mut child = None;
        if begun {
            let slow = ["--fetch", "200ms"];
            child = Some(
                pipeline(folder.path())
                    .args(slow)
                    .stderr(Stdio::piped())
                    .stdout(Stdio::null())
                    .spawn()
                    .unwrap(),
            );
            thread::sleep(Duration::from_millis(300));
        }
        let other = rusqlite::Connection::open(&path).unwrap();
        other.busy_timeout(Duration::from_secs(5)).unwrap();
        other.execute_batch("PRAGMA journal_mode = WAL; BEGIN EXCLUSIVE").unwrap();
        let why = match child {
            None => ends(&mut pipeline(folder.path()), 1).1,
            Some(child) => {
                let done = child.wait_with_output().unwrap();
                assert_eq!(done.status.code(), Some(1));
                String::from_utf8_lossy(&done.stderr).into_owned()
            }
        };
        for part in ["locked", "pipeline.db", "start again with the same --state"] {
            assert!(why.contains(part), "{why}");
        }
        other.execute_batch("ROLLBACK").unwrap();
    }
    ends(&mut pipeline(folder.path()), 0);
    complete(folder.path());
}

#[test]
fn two_pipelines_do_not_share_a_state() {
    let folder = tempfile::tempdir().unwrap();
    let mut first =
        pipeline(folder.path()).args(["--fetch", "200ms"]).stdout(Stdio::null()).spawn().unwrap();
    thread::sleep(Duration::from_millis(400));
    let (_, why) = ends(&mut pipeline(folder.path()), 1);
    assert!(why.contains("another pipeline works on"), "{why}");
    first.kill().unwrap();
    first.wait().unwrap();
    ends(&mut pipeline(folder.path()), 0);
    complete(folder.path());
}
