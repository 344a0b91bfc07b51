//! Parameters by name, and what the original texts printed beside what is measured.

use lab_kit::{preset, store, summary::Summary};
use labs::SYLLABUS;

use crate::support::*;

/// What makes a preset short, by lab.
const SHORT: &[(u8, &str)] = &[
    (1, "--unit 5ms --cost 5ms"),
    (2, "--busy 16ms --watch 24ms"),
    (3, "--slots 4 --service 20ms --timeout 70ms --levels 1,10,500"),
    (4, "--slots 4 --service 5ms --timeout 70ms --requests 40 --limits 10,25"),
    (6, "--size 20KB --service 5ms --batches 25 --levels 10 --heap-levels 10"),
    (7, "--fetch 2ms --cost 10ms"),
    (8, "--items 4 --fetch 3ms --transform 5ms --store 2ms"),
    (10, "--weather 6ms --news 8ms --knowledge 5ms --infer 5ms"),
    (12, "--items 16 --fetch 10ms --process 1ms --store 3ms"),
    (19, "--sessions 12"),
];

#[test]
fn what_the_source_printed_is_found_in_a_record() {
    for lab in SYLLABUS {
        let Some(source) = preset::named(lab.presets(), "source") else {
            continue;
        };
        let card = lab.card();
        let Some((_, short)) = SHORT.iter().find(|(number, _)| *number == card.number) else {
            assert!(source.printed.is_empty(), "{}", card.id());
            continue;
        };
        let dir = temporary();
        let number = card.number.to_string();
        let words = ["run", &number, "--preset", "source", "--scale", "smoke", "--no-predict"];
        let words: Vec<&str> = words.into_iter().chain(short.split(' ')).chain(["--out"]).collect();
        let done = labs_with(&words, &[dir.path()]).expect(0);
        assert!(done.stdout.contains(preset::TITLE), "{}", done.stdout);
        // What the user gives comes after the preset's, and the table says so.
        assert!(done.stdout.contains("This run has its own --"), "{}", done.stdout);
        let path = dir.path().join(format!("{}.json", card.id()));
        assert_fits_schema(&read_json(&path));
        let record = store::load(&path).unwrap();
        assert_eq!(record.preset.as_deref(), Some("source"));
        assert!(record.command.contains("--preset source"), "{}", record.command);
        let summary = Summary::of(&record);
        for printed in source.printed {
            let found = printed.at.iter().any(|(x, _)| (printed.read)(&summary, *x).is_some());
            assert!(found, "{}: {}", card.id(), printed.what);
        }
        labs_with(&["report"], &[dir.path()]).expect(0);
        let report = std::fs::read_to_string(dir.path().join("report.md")).unwrap();
        assert!(report.contains(preset::TITLE), "{report}");
    }
}

#[test]
fn a_preset_that_is_not_there_is_refused_with_those_that_are() {
    let refused = |words: &[&str]| labs_with(words, &[]).expect(2);
    refused(&["run", "5", "--preset", "source"]).says(&["lab05 has no preset", "lab04", "lab19"]);
    refused(&["run", "3", "--preset", "x"]).says(&["lab03 has source"]);
    refused(&["run", "5", "13", "--preset", "source"]).says(&["lab05, lab13"]);
    // Of several labs, some have it: this run is then too long for its scale.
    let several = ["run", "1", "5", "--preset", "source", "--scale", "smoke"];
    refused(&several).says(&["run as usual: lab05", "lab01 with these flags"]);
    let help = labs_with(&["run", "4", "--help"], &[]).expect(0).stdout;
    assert!(help.contains("--preset source") && help.contains("--limits 10,25,50"), "{help}");
}
