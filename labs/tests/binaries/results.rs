//! Everything after measuring: from records alone, again and again the same.

use std::{fs, path::Path};

use crate::support::*;

/// Makes the refusals of client and server differ, which no noise can.
fn refute(folder: &Path) {
    edit(folder, |record| {
        let points = record["points"].as_array_mut().unwrap();
        let point = points.iter_mut().find(|p| p["series"] == "burst/bounded");
        let refused = &mut point.unwrap()["trials"][0]["gauges"]["refused_total"];
        *refused = (refused.as_f64().unwrap() + 5.0).into();
    });
}

#[test]
fn drawing_and_reporting_again_changes_no_byte() {
    let dir = measured();
    let charts = dir.path().join("charts");
    let of_the_run = content(&charts);
    labs_with(&["charts"], &[dir.path()]).expect(0);
    assert_same(&of_the_run, &content(&charts));

    fs::remove_dir_all(&charts).unwrap();
    labs_with(&["report"], &[dir.path()]).expect(0);
    let once = content(dir.path());
    assert_same(&of_the_run, &content(&charts));
    labs_with(&["charts"], &[dir.path()]).expect(0);
    labs_with(&["report"], &[dir.path()]).expect(0);
    assert_same(&once, &content(dir.path()));
    assert_only_results(dir.path());
}

#[test]
fn charts_that_a_lab_no_longer_has_are_removed_and_nothing_else() {
    let dir = measured();
    let charts = dir.path().join("charts");
    // As an earlier version drew it, which had one more figure.
    let drawn = fs::read_to_string(charts.join("lab03-trap.svg")).unwrap();
    let old = charts.join("lab03-old.svg");
    fs::write(&old, drawn.replace("lab03-trap-", "lab03-old-")).unwrap();
    let own =
        ["mine.svg", "lab03-my-annotated.png", "lab03-trap-annotated.svg"].map(|n| charts.join(n));
    own.iter().for_each(|path| fs::write(path, &drawn).unwrap());
    labs_with(&["charts"], &[dir.path()]).expect(0);
    assert!(!old.exists());
    for path in own {
        assert!(path.exists(), "{} is gone", path.display());
    }
}

#[test]
fn the_record_decides_the_verdicts_and_check_turns_them_into_an_exit_code() {
    let dir = measured();
    let verdict = |code: i32, words: &[&str]| {
        let rows = labs_with(words, &[dir.path()]).expect(code).json();
        let rows = rows.as_array().unwrap().clone();
        let refusals = |r: &&serde_json::Value| {
            let claim = r["claim"].as_str().unwrap();
            claim.contains("the same refusals")
        };
        rows.iter().find(refusals).unwrap()["verdict"].clone()
    };
    assert_eq!(verdict(0, &["verdicts", "--json"]), "confirmed");
    refute(dir.path());
    assert_eq!(verdict(0, &["verdicts", "--json"]), "refuted");
    assert_eq!(verdict(3, &["verdicts", "--json", "--check"]), "refuted");
    labs_with(&["verdicts", "--check"], &[dir.path()]).expect(3);
    // The report tells the same story.
    labs_with(&["report"], &[dir.path()]).expect(0);
    let report = fs::read_to_string(dir.path().join("report.md")).unwrap();
    assert!(report.contains("✗"), "{report}");
}

#[test]
fn two_folders_are_compared_claim_by_claim() {
    let (a, b) = (measured(), measured());
    let compare = |words: &[&str]| labs_with(words, &[a.path(), b.path()]).expect(0);
    let same = compare(&["compare", "--json"]).json();
    let rows = same["rows"].as_array().unwrap();
    assert!(!rows.is_empty());
    for row in rows {
        assert!(row["judgement"] == "same" || row["judgement"] == "cannot tell", "{row}");
        assert_eq!(row["a"], row["b"]);
    }
    assert_eq!(same["notes"].as_array().unwrap().len(), 0, "{same}");

    refute(b.path());
    let differ = compare(&["compare", "--json"]).json();
    let mut rows = differ["rows"].as_array().unwrap().iter();
    let row = rows.find(|r| r["claim"].as_str().unwrap().contains("the same refusals"));
    let row = row.unwrap();
    assert_eq!((&row["a"], &row["b"]), (&0.0.into(), &5.0.into()));
    assert_ne!(row["judgement"], "same");
    let text = compare(&["compare"]).stdout;
    assert!(text.contains("lab03") && text.contains("B/A"), "{text}");

    // Different experiments are not compared, and different machines are told.
    edit(b.path(), |r| r["params"]["slots"] = 5.into());
    let told = compare(&["compare", "--json"]).json().to_string();
    assert!(told.contains("slots 4 against 5"), "{told}");
    edit(b.path(), |r| {
        r["params"]["slots"] = 4.into();
        r["host"]["cores"] = 999.into();
        r["scale"] = "quick".into();
    });
    let told = compare(&["compare", "--json"]).json().to_string();
    assert!(told.contains("different machines"), "{told}");
    assert!(told.contains("smoke scale against quick scale"), "{told}");
    fs::rename(b.path().join("lab03.json"), b.path().join("moved")).unwrap();
    labs_with(&["compare"], &[a.path(), b.path()]).expect(1).says(&["no results in", "labs run"]);
}

#[test]
fn strings_of_a_record_neither_rewrite_a_screen_nor_become_markup() {
    let dir = measured();
    let evil = "\u{1b}[2J<script>alert(1)</script>\u{9b}`![x](http://192.0.2.1/y)\n# \0\u{202e}";
    edit(dir.path(), |record| {
        for field in ["command", "started_at"] {
            record[field] = evil.into();
        }
        for field in ["cpu", "system", "build"] {
            record["host"][field] = evil.into();
        }
        record["notes"] = serde_json::json!([evil]);
    });
    let foreign = dir.path().join("lab04.json");
    let mut record = read_json(&dir.path().join("lab03.json"));
    record["lab"] = evil.into();
    fs::write(&foreign, record.to_string()).unwrap();
    let clean = |text: &str, what: &str| {
        let control = |c: char| c.is_control() && c != '\n' || c == '\u{202e}';
        assert!(!text.contains(control), "{what}: {text:?}");
    };
    for words in [&["verdicts"][..], &["verdicts", "--json"], &["report"], &["charts"]] {
        let ran = labs_with(words, &[dir.path()]).expect(1);
        clean(&ran.stdout, words[0]);
        clean(&ran.stderr, words[0]);
    }
    let both = [dir.path(), dir.path()];
    clean(&labs_with(&["compare"], &both).expect(1).stdout, "compare");
    let report = fs::read_to_string(dir.path().join("report.md")).unwrap();
    clean(&report, "report.md");
    // Between backticks there is no markup, and no end of them.
    let (code, text): (Vec<&str>, Vec<&str>) =
        report.lines().partition(|l| l.contains("Run it again"));
    assert_eq!(code.concat().matches('`').count(), 2, "{code:?}");
    for line in text {
        for markup in ["<script", "![x](http"] {
            assert!(!line.contains(markup), "{markup} in {line}");
        }
    }
}

#[test]
fn prose_gets_its_figures_from_records() {
    let dir = measured();
    let page = dir.path().join("page.md");
    let blank = "# Page\n\n<!-- labs:begin headline lab03 -->\n<!-- labs:end -->\n\nText.\n\n\
        <!-- labs:begin chart lab03 trap -->\n<!-- labs:end -->\n\n\
        <!-- labs:begin table lab03 0 -->\n<!-- labs:end -->\n\n\
        <!-- labs:begin host lab03 -->\n<!-- labs:end -->\n\n\
        <!-- labs:begin syllabus -->\nstale words\n<!-- labs:end -->\nEnd.\n";
    fs::write(&page, blank).unwrap();
    let both: [&Path; 2] = [&page, dir.path()];
    labs_with(&["splice", "--check"], &both).expect(1).says(&["not up to date", "labs splice"]);
    assert_eq!(fs::read_to_string(&page).unwrap(), blank, "--check wrote");

    labs_with(&["splice"], &both).expect(0);
    let filled = fs::read_to_string(&page).unwrap();
    for part in [
        "# Page",
        "Text.",
        "End.",
        "charts/lab03-trap.png)",
        "goodput/s",
        "effective parallelism",
        "`labs run 3`",
    ] {
        assert!(filled.contains(part), "no {part} in {filled}");
    }
    assert!(!filled.contains("stale words"), "{filled}");
    labs_with(&["splice", "--check"], &both).expect(0);
    labs_with(&["splice"], &both).expect(0);
    assert_eq!(fs::read_to_string(&page).unwrap(), filled);

    // A figure typed by hand is noticed, and so is a record that has changed.
    fs::write(&page, filled.replacen("| ", "| 9", 1)).unwrap();
    labs_with(&["splice", "--check"], &both).expect(1);
    fs::write(&page, &filled).unwrap();
    edit(dir.path(), |r| r["host"]["request_overhead_ms"] = 123.0.into());
    labs_with(&["splice", "--check"], &both).expect(1);

    for (wrong, why) in [
        ("<!-- labs:begin chart lab03 nope -->", "no chart nope"),
        ("<!-- labs:begin chart lab98 trap -->", "no record of lab98"),
        ("<!-- labs:begin table lab03 77 -->", "no table 77"),
        ("<!-- labs:begin nonsense -->", "unknown: nonsense"),
    ] {
        let text = format!("{wrong}\n<!-- labs:end -->\n");
        fs::write(&page, &text).unwrap();
        labs_with(&["splice"], &both).expect(1).says(&[why]);
        assert_eq!(fs::read_to_string(&page).unwrap(), text);
    }
    let missing = dir.path().join("missing.md");
    labs_with(&["splice"], &[&missing, dir.path()]).expect(1).says(&["cannot read", "missing.md"]);
}

#[test]
fn records_that_cannot_be_used_are_named_and_cost_nothing_else() {
    let dir = measured();
    let good = fs::read_to_string(dir.path().join("lab03.json")).unwrap();
    let changed = |lab: &str, change: &dyn Fn(&mut serde_json::Value)| {
        let mut record: serde_json::Value = serde_json::from_str(&good).unwrap();
        record["lab"] = lab.into();
        change(&mut record);
        record.to_string()
    };
    let bad = [
        ("lab90.json", good[..good.len() / 2].to_string(), "truncated"),
        ("lab91.json", String::new(), "truncated"),
        ("lab92.json", r#"{"name": "x"}"#.into(), "no schema"),
        ("lab93.json", changed("lab93", &|r| r["schema"] = 99.into()), "newer version"),
        (
            "lab94.json",
            changed("lab94", &|r| r["points"][0]["trials"][0]["ok"] = (-3).into()),
            "not a record",
        ),
        (
            "lab95.json",
            changed("lab95", &|r| r["points"][0]["trials"][0]["offered"] = 123_456.into()),
            "do not close",
        ),
        ("lab96.json", changed("lab96", &|_| ()), "no lab of this version"),
        (
            "lab97.json",
            changed("lab03", &|r| r["params"] = serde_json::json!({"slots": "many"})),
            "parameters",
        ),
    ];
    for (name, text, _) in &bad {
        fs::write(dir.path().join(name), text).unwrap();
    }
    // A folder under a record's name is no record at all.
    fs::create_dir(dir.path().join("lab89.json")).unwrap();

    let told = |words: &[&str], paths: &[&Path]| {
        let done = labs_with(words, paths).expect(1);
        for (name, _, why) in &bad {
            let id = name.trim_end_matches(".json");
            let named = |l: &&str| l.contains(why) && (l.contains(id) || l.contains("lab03"));
            let line = done.stderr.lines().find(named);
            assert!(line.is_some(), "{words:?}: {name}: {why}\n{}", done.stderr);
        }
        done
    };
    let rows = told(&["verdicts", "--json"], &[dir.path()]).json();
    assert!(rows.as_array().unwrap().iter().all(|r| r["lab"] == "lab03"));
    assert!(!rows.as_array().unwrap().is_empty());

    fs::remove_dir_all(dir.path().join("charts")).unwrap();
    told(&["charts"], &[dir.path()]);
    assert!(dir.path().join("charts/lab03-trap.svg").is_file());
    told(&["report"], &[dir.path()]);
    let report = fs::read_to_string(dir.path().join("report.md")).unwrap();
    assert!(report.contains("The concurrency trap"));
    told(&["compare", "--json"], &[dir.path(), dir.path()]);

    // Nothing was repaired behind the user's back.
    for (name, text, _) in &bad {
        assert_eq!(&fs::read_to_string(dir.path().join(name)).unwrap(), text);
    }
}

#[test]
fn a_folder_without_results_says_what_to_do() {
    let dir = temporary();
    let missing = dir.path().join("missing");
    for folder in [dir.path(), missing.as_path()] {
        for command in ["charts", "report", "verdicts"] {
            labs_with(&[command], &[folder]).expect(1).says(&["no results in", "labs run 3"]);
        }
    }
    assert!(!missing.exists());
}
