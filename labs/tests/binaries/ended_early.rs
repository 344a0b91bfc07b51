//! Stopped by a signal, short of descriptors, out of disk.

use std::{fs, thread, time::Duration};

use crate::{support::*, upstreams::Tiny};

/// Many short conditions, one at a time: minutes of them.
const LONG: [&str; 10] = [
    "--long",
    "--scale",
    "smoke",
    "--levels",
    "1,2,3,4",
    "--trials",
    "300",
    "--one-at-a-time",
    "--no-predict",
    "--out",
];

/// An interrupted record can be read, says so, and nothing is decided by it.
#[track_caller]
fn assert_interrupted(folder: &std::path::Path) {
    let record = read_json(&folder.join("lab03.json"));
    assert_eq!(record["interrupted"], true);
    assert_fits_schema(&record);
    assert_books_close(&record);
    let kept = trials(&record).len();
    assert!((1..4 * 300).contains(&kept), "{kept} trials");
    // What was cut short is left out, even if it had not counted anything yet.
    for trial in trials(&record) {
        assert!(trial["offered"].as_u64().unwrap() > 0, "{trial}");
        assert_eq!(trial["aborted"], 0);
        assert_eq!(trial["never_sent"], 0);
    }
    let done = labs_with(&["verdicts", "--json", "--check"], &[folder]).expect(0);
    for row in done.json().as_array().unwrap() {
        assert_eq!(row["verdict"], "inconclusive", "{row}");
    }
    labs_with(&["report"], &[folder]).expect(0);
    let report = fs::read_to_string(folder.join("report.md")).unwrap();
    assert!(report.contains("interrupted"), "{report}");
}

#[test]
fn signals_keep_what_is_complete() {
    for signal in ["INT", "TERM"] {
        let (dir, tiny) = (measured(), Tiny::start(None));
        edit(dir.path(), |r| r["started_at"] = "2020-02-02T02:02:02Z".into());
        let earlier = fs::read(dir.path().join("lab03.json")).unwrap();
        let mut command = lab03();
        command.args(["--target", &tiny.url]).args(LONG);
        let running = Running::start(command.arg(dir.path()));
        // By then the first conditions are complete: none sends half as much.
        wait_for("some conditions are complete", || (tiny.answered() > 300).then_some(()));
        running.signal(signal);
        let done = running.wait().expect(130).says(&["what is complete is kept"]);
        assert!(done.stdout.contains("inconclusive"), "{}", done.stdout);
        assert_interrupted(dir.path());
        let kept = dir.path().join("history/lab03-2020-02-02T02-02-02Z.json");
        assert_eq!(fs::read(kept).unwrap(), earlier);
        assert_only_results(dir.path());
    }
}

#[test]
fn ctrl_c_ends_a_run_against_the_built_in_server_at_any_moment() {
    // While calibrating, while measuring, somewhere in between.
    for after in [0, 150, 1200] {
        let dir = temporary();
        let mut command = labs();
        command.args(["run", "3"]).args(LONG);
        let running = Running::start(command.arg(dir.path()));
        wait_for("it has begun", || running.stdout().contains("lab03").then_some(()));
        thread::sleep(Duration::from_millis(after));
        running.signal("INT");
        running.wait().expect(130);
        if dir.path().join("lab03.json").exists() {
            assert_interrupted(dir.path());
        }
        assert_only_results(dir.path());
    }
}

#[test]
fn ctrl_c_stops_all_labs_not_just_one() {
    let dir = temporary();
    let mut command = labs();
    command.args(["all", "--scale", "quick", "--no-predict", "--out"]);
    let running = Running::start(command.arg(dir.path()));
    wait_for("it has begun", || running.stdout().contains("lab0").then_some(()));
    running.signal("INT");
    let done = running.wait().expect(130);
    assert!(!done.stderr.contains("labs failed"), "{}", done.stderr);
    assert!(!dir.path().join("report.md").exists());
    assert_only_results(dir.path());
}

#[test]
fn levels_that_the_open_file_limit_has_no_room_for_are_left_out_with_a_note() {
    let dir = temporary();
    let mut command = limited("ulimit -n 256", env!("CARGO_BIN_EXE_labs"));
    command.args(["run", "3"]);
    command.args(["--scale", "smoke", "--levels", "1,4,400,2000", "--timeout", "500ms", "--out"]);
    run(command.arg(dir.path())).expect(0).says(&[
        "open-file limit of 256",
        "400, 2000",
        "ulimit -n",
    ]);
    let record = read_json(&dir.path().join("lab03.json"));
    assert_books_close(&record);
    let note = record["notes"][0].as_str().unwrap();
    assert!(note.contains("open-file limit of 256"), "{note}");
    let mut levels: Vec<f64> = Vec::new();
    for point in record["points"].as_array().unwrap() {
        levels.push(point["x"].as_f64().unwrap());
    }
    levels.sort_by(f64::total_cmp);
    levels.dedup();
    assert_eq!(levels, [1.0, 4.0]);
    // Nothing failed for want of descriptors.
    assert!(trials(&record).iter().all(|t| t["failed"] == 0));
    // Readers of the report learn it, too.
    labs_with(&["report"], &[dir.path()]).expect(0);
    let report = fs::read_to_string(dir.path().join("report.md")).unwrap();
    assert!(report.contains("open-file limit of 256"));

    // Room for nothing at all is a failure that says so.
    let mut command = limited("ulimit -n 256", env!("CARGO_BIN_EXE_labs"));
    command.args(["run", "3"]);
    command.args(["--scale", "smoke", "--levels", "400,2000", "--timeout", "500ms", "--out"]);
    let none = temporary();
    run(command.arg(none.path())).expect(1).says(&["ulimit -n"]);
    assert_eq!(content(none.path()).len(), 0);
}

#[test]
fn a_full_disk_leaves_the_earlier_record_as_it_was() {
    let dir = measured();
    let scratch = temporary();
    let before = content(dir.path());
    assert!(before[&dir.path().join("lab03.json")].len() > 8 * 1024);
    // Files may hold a few kilobytes, as though the disk were full right after. Without the trap the
    // system would end the program instead of telling it.
    let limits = "trap '' XFSZ; ulimit -f 8";
    let mut command = limited(limits, env!("CARGO_BIN_EXE_labs"));
    command.args(["run", "3"]);
    command.env("TMPDIR", scratch.path());
    command.args(["--scale", "smoke", "--out"]);
    run(command.arg(dir.path())).expect(1).says(&["error: the limit on the size of files"]);
    assert_same(&before, &content(dir.path()));
    assert_eq!(content(scratch.path()).len(), 0, "half a record was left");

    let mut command = limited(limits, env!("CARGO_BIN_EXE_labs"));
    run(command.arg("charts").arg(dir.path())).expect(1).says(&["error: cannot write", "lab03-"]);
    assert_same(&before, &content(dir.path()));
}
