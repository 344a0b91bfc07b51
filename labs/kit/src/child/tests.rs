use std::{fs, path::Path};

use super::*;

/// Far longer than anything here takes.
const LONG: Duration = Duration::from_secs(120);

fn shell(script: &str) -> Command {
    let mut command = Command::new("sh");
    command.args(["-c", script]);
    command
}

fn run(script: &str, bounds: Bounds) -> Ended {
    Child::spawn(shell(script), bounds, &Stop::default()).unwrap().wait()
}

/// Whether a process that wrote its number there still runs.
fn runs(file: &Path) -> bool {
    let id = fs::read_to_string(file).unwrap();
    let id: i32 = id.trim().parse().unwrap();
    let stat = fs::read_to_string(format!("/proc/{id}/stat"));
    let dead = stat.is_ok_and(|stat| stat.contains(") Z "));
    let known = nix::sys::signal::kill(nix::unistd::Pid::from_raw(id), None).is_ok();
    known && !dead
}

#[test]
fn what_a_program_says_is_heard_to_the_end() {
    let ended = run("echo one; echo two >&2; head -c 300000 /dev/zero; exit 0", Bounds::of(LONG));
    assert!(ended.is_well() && !ended.is_stopped(), "{:?}", ended.how);
    assert_eq!((ended.out.len(), ended.last_words.as_str()), (4 + 300_000, "two"));
    assert_eq!(ended.why(), "ended; it wrote:\ntwo");
}

#[test]
fn one_that_crashes_says_how_and_its_last_words() {
    let ended = run("echo no such luck >&2; exit 3", Bounds::of(LONG));
    assert!(!ended.is_well());
    assert_eq!(ended.why(), "failed (exit status: 3); it wrote:\nno such luck");
    let ended = run("kill -SEGV $$", Bounds::of(LONG));
    assert!(ended.why().contains("signal: 11"), "{}", ended.why());
    let missing = Child::spawn(Command::new("/no/such"), Bounds::of(LONG), &Stop::default());
    assert_eq!(missing.unwrap_err().kind(), io::ErrorKind::NotFound);
}

#[test]
fn one_that_hangs_is_ended_with_all_that_it_started() {
    let place = tempfile::tempdir().unwrap();
    let (own, others) = (place.path().join("own"), place.path().join("others"));
    // Both are deaf to SIGTERM, and the second leaves the first one's group where it can.
    let script = format!(
        "trap '' TERM; echo $$ > {}; $(command -v setsid) sh -c 'echo $$ > {}; sleep 600; sleep 600' & wait; sleep 600",
        own.display(),
        others.display()
    );
    let ended = run(&script, Bounds { time: Duration::from_millis(700), ..Bounds::of(LONG) });
    assert_eq!(ended.how, How::Late);
    assert_eq!(ended.why(), "did not end within 0.7 s");
    assert!(!runs(&own), "the program lives on");
    if cfg!(target_os = "linux") {
        assert!(!runs(&others), "its child lives on");
    }
}

#[test]
fn what_a_program_leaves_behind_ends_with_it() {
    let place = tempfile::tempdir().unwrap();
    let file = place.path().join("left");
    let script = format!("sleep 600 & echo $! > {}; echo done", file.display());
    let ended = run(&script, Bounds::of(LONG));
    assert!(ended.is_well() && ended.out == "done\n", "{:?}", ended.how);
    assert!(!runs(&file));
}

#[test]
fn one_that_floods_is_ended_and_its_last_words_are_the_last() {
    let bounds = Bounds { output: 100_000, ..Bounds::of(LONG) };
    let ended = run("yes", bounds);
    assert_eq!((&ended.how, ended.out.len()), (&How::Flooded(Stream::Out), 100_000));
    assert!(ended.why().starts_with("wrote more than 100000 bytes to standard output"));
    let ended = run("echo first >&2; yes more >&2", bounds);
    assert_eq!((&ended.how, ended.out.len()), (&How::Flooded(Stream::Err), 0));
    let words = &ended.last_words;
    assert!(words.starts_with('…') && words.contains("more") && !words.contains("first"));
    assert!(words.len() <= LAST_WORDS + '…'.len_utf8());
    // Too much is too much for one that has ended by itself, too.
    let ended = run("head -c 100001 /dev/zero", bounds);
    assert_eq!(ended.how, How::Flooded(Stream::Out));
    assert!(run("head -c 100000 /dev/zero", bounds).is_well());
}

#[test]
fn one_that_hoards_memory_is_ended() {
    // A line without an end is held whole.
    let script = "head -c 600000000 /dev/zero | tail -n 1 | sleep 600";
    let ended = run(script, Bounds { memory: 60_000_000, ..Bounds::of(LONG) });
    assert!(matches!(ended.how, How::Hoarded(held) if held > 60_000_000), "{:?}", ended.how);
    assert!(ended.why().contains("of memory, more than 60 MB, and was ended"), "{}", ended.why());
}

#[test]
fn one_that_starts_too_many_processes_is_ended() {
    let script = "i=0; while [ $i -lt 60 ]; do sleep 600 & i=$((i+1)); done; wait";
    let ended = run(script, Bounds { processes: 30, ..Bounds::of(LONG) });
    assert!(matches!(ended.how, How::Crowded(n) if n > 30), "{:?}", ended.how);
    let script = "i=0; while [ $i -lt 20 ]; do sleep 0.3 & i=$((i+1)); done; wait";
    assert!(run(script, Bounds { processes: 30, ..Bounds::of(LONG) }).is_well());
}

#[test]
fn a_wish_to_stop_ends_it() {
    let stop = Stop::default();
    let child = Child::spawn(shell("sleep 600"), Bounds::of(LONG), &stop).unwrap();
    stop.set();
    let ended = child.wait();
    assert!(ended.is_stopped() && !ended.is_well());
}

#[tokio::test]
async fn a_server_says_a_line_and_ends_with_its_input() {
    let script = "echo listening; read line; echo \"$line\"; cat; echo bye";
    let mut child = Child::spawn(shell(script), Bounds::of(LONG), &Stop::default()).unwrap();
    assert_eq!(child.first_line(LONG).await.as_deref(), Some("listening"));
    let mut input = child.take_input().unwrap();
    io::Write::write_all(&mut input, b"hello\nagain\n").unwrap();
    assert!(child.take_input().is_none());
    drop(input);
    let ended = child.ended().await;
    assert!(ended.is_well());
    assert_eq!(ended.out, "listening\nhello\nagain\nbye\n");
    let mut silent = Child::spawn(shell("cat"), Bounds::of(LONG), &Stop::default()).unwrap();
    assert_eq!(silent.first_line(Duration::from_millis(1)).await, None);
    silent.close_input();
    assert_eq!(silent.first_line(LONG).await, None);
    assert!(silent.ended().await.is_well());
}

#[test]
fn one_that_is_dropped_is_ended() {
    let place = tempfile::tempdir().unwrap();
    let file = place.path().join("id");
    let script = format!("trap '' TERM; echo $$ > {}; echo here; sleep 600", file.display());
    let child = Child::spawn(shell(&script), Bounds::of(LONG), &Stop::default()).unwrap();
    let mut child = child;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    assert_eq!(runtime.block_on(child.first_line(LONG)).as_deref(), Some("here"));
    let mut news = child.news.clone();
    drop(child);
    // Its watcher lets go of what it shares when it is done.
    while runtime.block_on(news.changed()).is_ok() {}
    assert!(!runs(&file));
}
