//! Running labs: what is listed, written and printed.

use std::fs;

use crate::support::*;

#[test]
fn the_list_names_every_lab_and_its_questions() {
    let list = labs_with(&["list", "--json"], &[]).expect(0).json();
    let labs = list.as_array().unwrap();
    assert!(labs.iter().any(|l| l["number"] == 3));
    for lab in labs {
        let number = lab["number"].as_u64().unwrap();
        assert_eq!(lab["lab"], format!("lab{number:02}"));
        for key in ["name", "title", "question"] {
            assert!(lab[key].as_str().is_some_and(|t| !t.is_empty()), "{lab}");
        }
        for question in lab["predict"].as_array().unwrap() {
            assert!(question["key"].is_string() && question["ask"].is_string());
        }
        // A lab is found by number, id and name, and each tells its own flags.
        let names =
            [number.to_string(), format!("lab{number:02}"), lab["name"].as_str().unwrap().into()];
        for name in names {
            let help = labs_with(&["run", &name, "--help"], &[]).expect(0).stdout;
            assert!(help.contains(lab["question"].as_str().unwrap()), "{help}");
        }
    }
    let text = labs_with(&["list"], &[]).expect(0).stdout;
    assert!(text.contains("lab03") && text.contains("concurrency"));
}

#[test]
fn labs_alone_says_what_there_is_and_what_next() {
    let text = labs_with(&[], &[]).expect(0).stdout;
    for part in ["lab03", "labs doctor", "labs run 3", "labs all"] {
        assert!(text.contains(part), "{text}");
    }
}

#[test]
fn help_tells_flags_with_their_meaning_and_the_keys_of_predictions() {
    let own = [
        "--slots",
        "--service",
        "--queue",
        "--timeout",
        "--levels",
        "--predict",
        "--scale",
        "--out",
        "goodput",
        "success",
    ];
    let help = run(lab03().arg("--help")).expect(0);
    own.iter().for_each(|part| assert!(help.stdout.contains(part), "{}", help.stdout));
    assert_eq!(help.stderr, "");
    let general = labs_with(&["run", "--help"], &[]).expect(0).stdout;
    for part in ["--scale", "--check", "labs list", "labs run 3 --help"] {
        assert!(general.contains(part), "{general}");
    }
    let top = labs_with(&["--help"], &[]).expect(0).stdout;
    for part in [
        "list",
        "run",
        "all",
        "charts",
        "report",
        "verdicts",
        "compare",
        "doctor",
        "splice",
        "130 interrupted",
    ] {
        assert!(top.contains(part), "{top}");
    }
    labs_with(&["--version"], &[]).expect(0);
}

#[test]
fn flags_of_the_user_replace_those_of_the_scale() {
    let dir = temporary();
    let mut command = lab03();
    command.args(["--levels", "2,3", "--queue=5", "--slots", "3", "--slots", "2"]);
    run(command.args(["--scale", "smoke", "--out"]).arg(dir.path())).expect(0);
    let params = read_json(&dir.path().join("lab03.json"))["params"].clone();
    assert_eq!(params["levels"], serde_json::json!([2, 3]));
    assert_eq!((&params["queue"], &params["slots"]), (&5.into(), &2.into()));
    assert_eq!(params["service"], "20ms");
}

#[test]
fn a_run_writes_a_record_that_fits_the_schema_and_its_charts() {
    let dir = measured();
    let record = read_json(&dir.path().join("lab03.json"));
    assert_fits_schema(&record);
    assert_books_close(&record);
    assert_eq!(record["lab"], "lab03");
    assert_eq!(record["scale"], "smoke");
    assert_eq!(record["interrupted"], false);
    for series in ["burst/unbounded", "burst/bounded", "sustained/unbounded", "sustained/bounded"] {
        let points = record["points"].as_array().unwrap();
        assert!(points.iter().any(|p| p["series"] == series), "no {series}");
    }
    for figure in ["trap", "burst"] {
        let svg = fs::read_to_string(dir.path().join(format!("charts/lab03-{figure}.svg")));
        let svg = svg.unwrap();
        assert!(svg.starts_with("<svg") || svg.starts_with("<?xml"));
        assert!(svg.contains("<title") && svg.contains("<desc"));
        let png = fs::read(dir.path().join(format!("charts/lab03-{figure}.png"))).unwrap();
        assert!(png.starts_with(b"\x89PNG\r\n"));
    }
    assert_only_results(dir.path());

    // The schema is one that can say no.
    let mut wrong = record;
    wrong["points"][0]["trials"][0]["ok"] = (-1).into();
    assert!(!schema().is_valid(&wrong));
}

#[test]
fn with_json_stdout_is_json_alone_and_predictions_are_kept() {
    let dir = temporary();
    let mut command = lab03();
    command.args([
        "--scale",
        "smoke",
        "--json",
        "--predict",
        "goodput=800",
        "--predict",
        "success=12.5",
    ]);
    let done = run(command.args(["--seed", "7", "--out"]).arg(dir.path())).expect(0);
    assert_rows(&done.json());
    let record = read_json(&dir.path().join("lab03.json"));
    assert_eq!(record["predictions"]["goodput"], 800.0);
    assert_eq!(record["predictions"]["success"], 12.5);
    assert_eq!(record["seed"], 7);
    // The report tells how good they were.
    labs_with(&["report"], &[dir.path()]).expect(0);
    let report = fs::read_to_string(dir.path().join("report.md")).unwrap();
    assert!(report.contains("You said 800 requests/s"), "{report}");
}

#[test]
fn verdicts_have_the_keys_of_the_contract_and_the_books_close() {
    let dir = measured();
    let rows = labs_with(&["verdicts", "--json"], &[dir.path()]).expect(0).json();
    assert_rows(&rows);
    for exact in ["the books close", "count the same refusals"] {
        let mut found = rows.as_array().unwrap().iter();
        let row = found.find(|r| r["claim"].as_str().unwrap().contains(exact));
        assert_eq!(row.unwrap()["verdict"], "confirmed", "{row:?}");
    }
    // Exact claims hold at any scale, so --check has nothing to object to but timing.
    let text = labs_with(&["verdicts"], &[dir.path()]).expect(0).stdout;
    assert!(text.contains("lab03:") && text.contains("✓"), "{text}");
}

/// `{lab, claim, kind, predicted, measured, ci95:[lo,hi], tolerance, verdict, bias, reason, conditions}`, and
/// what people want beside it.
#[track_caller]
fn assert_rows(rows: &serde_json::Value) {
    let keys = [
        "basis",
        "bias",
        "ci95",
        "claim",
        "conditions",
        "kind",
        "lab",
        "measured",
        "predicted",
        "reason",
        "tolerance",
        "tolerance_reason",
        "unit",
        "verdict",
    ];
    let kinds = ["predicted", "calibrated", "replayed", "fitted", "goal", "books"];
    let rows = rows.as_array().unwrap();
    assert!(!rows.is_empty());
    for row in rows {
        let mut found: Vec<&str> = row.as_object().unwrap().keys().map(String::as_str).collect();
        found.sort_unstable();
        assert_eq!(found, keys);
        let is_one_of = |key: &str, words: &[&str]| words.contains(&row[key].as_str().unwrap());
        assert!(is_one_of("kind", &kinds) && row["kind"] == row["basis"]);
        assert!(!row["conditions"].as_array().unwrap().is_empty());
        assert!(is_one_of("verdict", &["confirmed", "refuted", "inconclusive"]));
        let ends = row["ci95"].as_array().map(Vec::len);
        assert!(row["ci95"].is_null() || ends == Some(2), "{row}");
        if row["verdict"] == "inconclusive" {
            assert!(row["reason"].as_str().is_some_and(|r| !r.is_empty()));
        } else {
            // What is decided was measured, with an interval.
            assert!(row["measured"].is_number() && row["ci95"].is_array(), "{row}");
        }
    }
}

#[test]
fn the_earlier_record_is_kept_in_history() {
    let dir = measured();
    let before = fs::read(dir.path().join("lab03.json")).unwrap();
    // Two runs within a second would carry the same time.
    edit(dir.path(), |r| r["started_at"] = "2020-02-02T02:02:02Z".into());
    run(lab03().args(["--scale", "smoke", "--out"]).arg(dir.path())).expect(0);
    let kept = read_json(&dir.path().join("history/lab03-2020-02-02T02-02-02Z.json"));
    let mut old: serde_json::Value = serde_json::from_slice(&before).unwrap();
    old["started_at"] = "2020-02-02T02:02:02Z".into();
    assert_eq!(kept, old);
    let new = read_json(&dir.path().join("lab03.json"));
    assert_ne!(new["started_at"], old["started_at"]);
    assert_only_results(dir.path());
}

#[test]
fn all_goes_on_when_one_lab_fails_and_says_so() {
    let dir = temporary();
    let scratch = temporary();
    // Where the record of lab 3 would go there is a folder, so that one lab cannot be saved.
    fs::create_dir(dir.path().join("lab03.json")).unwrap();
    let mut command = labs();
    // What could not be saved is rescued into the temporary folder.
    command.env("TMPDIR", scratch.path()).env("TMP", scratch.path());
    command.args(["all", "--scale", "smoke", "--out"]);
    let done = run(command.arg(dir.path())).expect(1);
    let numbers = numbers();
    let done = done.says(&[
        &format!("1 of {} labs failed", numbers.len()),
        "lab03: the run is kept in",
        "lab03.json",
    ]);
    let mut others = numbers.clone();
    others.retain(|n| *n != 3);
    let report = fs::read_to_string(dir.path().join("report.md"));
    assert_eq!(report.is_ok(), !others.is_empty(), "{}", done.stderr);
    for number in others {
        let id = format!("lab{number:02}");
        let record = read_json(&dir.path().join(format!("{id}.json")));
        assert_fits_schema(&record);
        assert_books_close(&record);
        assert!(report.as_ref().unwrap().contains(&id));
        let charts = content(&dir.path().join("charts"));
        let own =
            charts.keys().filter(|p| p.file_name().unwrap().to_string_lossy().starts_with(&id));
        assert!(own.count() >= 2, "{id} has no chart");
    }
    let rescued = content(scratch.path());
    let (path, _) = rescued.iter().next().unwrap();
    assert_eq!(rescued.len(), 1);
    assert_fits_schema(&read_json(path));
}

#[test]
fn several_labs_run_in_one_go_and_print_one_array() {
    let dir = temporary();
    let words = ["run", "3", "lab03", "--scale", "smoke", "--json", "--out"];
    let rows = labs_with(&words, &[dir.path()]).expect(0).json();
    assert_rows(&rows);
}
