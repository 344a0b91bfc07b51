//! A class's results put together: whatever students hand in, from sound records to hostile ones.

use std::{
    fs,
    path::{Path, PathBuf},
};

use lab_class::{
    class::{Class, Outlier},
    journal::Journal,
};
use labs::SYLLABUS;
use serde_json::{Value, json};
use tempfile::TempDir;

fn reference(lab: &str) -> Value {
    let committed = Path::new(env!("CARGO_MANIFEST_DIR")).join("../results/reference");
    let text = fs::read_to_string(committed.join(format!("{lab}.json"))).unwrap();
    serde_json::from_str(&text).unwrap()
}

/// A folder of hand-ins.
struct Room(TempDir);

impl Room {
    fn new() -> Room {
        Room(tempfile::tempdir().unwrap())
    }

    fn hand_in(&self, set: &str, record: &Value) {
        self.write(set, record["lab"].as_str().unwrap(), &record.to_string());
    }

    fn write(&self, set: &str, lab: &str, text: &str) {
        let folder = self.0.path().join(set);
        fs::create_dir_all(&folder).unwrap();
        fs::write(folder.join(format!("{lab}.json")), text).unwrap();
    }

    fn read(&self) -> Class {
        Class::read(SYLLABUS, &[self.0.path().to_path_buf()])
    }

    fn page(&self, class: &Class) -> String {
        let out = self.0.path().join("class.html");
        lab_class::class_page::write(class, &out).unwrap();
        fs::read_to_string(out).unwrap()
    }
}

/// Every measured time of a record, so many times as long.
fn slower(record: &mut Value, factor: f64) {
    for point in record["points"].as_array_mut().unwrap() {
        for trial in point["trials"].as_array_mut().unwrap() {
            let wall = trial["wall_s"].as_f64().unwrap();
            trial["wall_s"] = (wall * factor).into();
        }
    }
}

/// Every string in it, replaced.
fn infest(value: &mut Value, with: &str) {
    match value {
        Value::String(text) => *text = with.into(),
        Value::Array(items) => items.iter_mut().for_each(|v| infest(v, with)),
        Value::Object(fields) => fields.values_mut().for_each(|v| infest(v, with)),
        _ => {}
    }
}

#[test]
fn every_committed_record_is_sound() {
    let committed = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../results/reference");
    let mut files = Vec::new();
    for entry in fs::read_dir(&committed).unwrap() {
        let name = entry.unwrap().file_name().into_string().unwrap();
        // The labs whose theory takes seconds without optimisation are left to the others' tests.
        let slow = ["lab03", "lab04", "lab15"].iter().any(|lab| name.starts_with(lab));
        if name.starts_with("lab") && !slow {
            files.push(committed.join(name));
        }
    }
    let class = Class::read(SYLLABUS, &files);
    let left: Vec<_> = class.left_out.iter().map(|l| (&l.what, &l.why)).collect();
    assert!(left.is_empty(), "{left:?}");
    assert_eq!(class.sets.len(), files.len());
}

#[test]
fn a_class_of_two_hundred_is_put_together() {
    let room = Room::new();
    let original = reference("lab07");
    for student in 0..200 {
        let mut record = original.clone();
        slower(&mut record, 1.0 + f64::from(student % 10) / 100.0);
        record["seed"] = student.into();
        record["predictions"] =
            json!({"hybrid": f64::from(student % 20), "hybrid@0.1": 3, "async": 2});
        room.hand_in(&format!("student {student:03}"), &record);
    }
    // One whose hybrid takes four times as long, one who copied, one damaged.
    let mut slow = original.clone();
    for point in slow["points"].as_array_mut().unwrap() {
        if point["series"] == "sequential" {
            for trial in point["trials"].as_array_mut().unwrap() {
                let wall = trial["wall_s"].as_f64().unwrap();
                trial["wall_s"] = (wall * 4.0).into();
            }
        }
    }
    room.hand_in("zoe", &slow);
    room.hand_in("copy of zoe", &slow);
    room.write("yan", "lab07", &original.to_string()[..1000]);
    let class = room.read();
    assert_eq!(class.sets.len(), 202);
    let asked: Vec<_> =
        class.questions.iter().map(|q| (q.key.as_str(), q.predictions.len())).collect();
    assert_eq!(asked, [("async", 200), ("hybrid", 200), ("hybrid@", 200)]);
    let hybrid = &class.questions[1];
    assert_eq!(hybrid.said.unwrap().most, 19.0);
    assert!(hybrid.close < hybrid.within_two && hybrid.within_two < 200);
    // A prediction of zero has no ratio.
    assert_eq!(hybrid.predictions.iter().filter(|p| p.factor.is_none()).count(), 10);
    for claim in &class.claims {
        assert_eq!(claim.confirmed + claim.inconclusive + claim.refuted, 202, "{}", claim.claim);
    }
    assert_eq!(class.machines.len(), 1);
    assert_eq!(class.machines[0].sets.len(), 202);
    let far = |o: &&Outlier| o.what.contains("one after another");
    let far: Vec<&Outlier> = class.outliers.iter().filter(far).collect();
    assert!(far.len() == 2 && far.iter().all(|o| o.set.ends_with("zoe")), "{far:?}");
    assert_eq!((class.twins.len(), class.twins[0].sets.len()), (1, 2));
    assert_eq!(class.left_out.len(), 1);
    assert!(class.left_out[0].what.contains("yan") && class.left_out[0].why.contains("JSON"));
    let page = room.page(&class);
    assert!(page.len() < 2_000_000, "{} bytes", page.len());
}

/// What is altered in a record of lab07, where, to what, and what is said of it.
fn hostile() -> Vec<(&'static str, &'static str, Value, &'static str)> {
    vec![
        ("negative", "/points/0/trials/0/ok", json!(-1), "not a record"),
        ("open", "/points/0/trials/0/ok", json!(7), "books"),
        ("backwards", "/points/0/trials/0/wall_s", json!(-1.0), "books"),
        ("null", "/points/0/x", Value::Null, "not a record"),
        ("far", "/points/0/x", json!(1e300), "measured at"),
        ("left", "/points/0/x", json!(-3), "measured at"),
        ("long", "/points/0/series", json!("x".repeat(10_000_000)), "name of 10000000 bytes"),
        ("untried", "/points/0/trials", json!([]), "no trial"),
        ("no cores", "/host/cores", json!(0), "0 processors"),
        ("no widths", "/host/effective_parallelism", json!([]), "parallelism"),
        ("minus", "/host/request_overhead_ms", json!(-5), "overhead"),
        ("other lab", "/lab", json!("lab03"), "record of lab03"),
        ("no lab", "/lab", json!("<script>"), "&lt;script"),
        ("vast", "/params/items", json!(1_000_000_000_000_000u64), "no flags of this lab"),
        ("none", "/params/fetch", json!("0ms"), "flags of this lab"),
        ("unknown", "/params", json!({"evil": "\u{1b}[2J"}), "no flags of this lab"),
        ("no params", "/params", json!([1]), "no flags"),
        ("newer", "/schema", json!(99), "newer"),
    ]
}

#[test]
fn hostile_records_are_refused_by_name_with_the_reason() {
    let room = Room::new();
    let original = reference("lab07");
    let change = |set: &str, path: &str, value: Value| {
        let mut record = original.clone();
        *record.pointer_mut(path).unwrap_or_else(|| panic!("{path}")) = value;
        room.write(set, "lab07", &record.to_string());
    };
    let cases = hostile();
    for (set, path, value, _) in &cases {
        change(set, path, value.clone());
    }
    room.write(
        "nan",
        "lab07",
        &original.to_string().replacen("\"wall_s\":", "\"wall_s\":NaN,\"w\":", 1),
    );
    room.write(
        "huge",
        "lab07",
        &original.to_string().replacen("\"wall_s\":", "\"wall_s\":1e999,\"w\":", 1),
    );
    room.write("deep", "lab07", &"[".repeat(1_000_000));
    let mut infested = original.clone();
    infest(&mut infested, "<script>alert(1)</script>");
    room.write("infested", "lab07", &infested.to_string());
    room.hand_in("sound", &original);
    let class = room.read();
    assert_eq!(class.sets.len(), 1, "{:?}", class.sets);
    let page = room.page(&class);
    assert!(!page.contains("<script") && !page.contains('\u{1b}'));
    for (set, _, _, why) in &cases {
        let told = class.left_out.iter().find(|l| l.what.contains(*set));
        let told = told.unwrap_or_else(|| panic!("{set} was taken"));
        let on_page = why.starts_with("&lt;");
        assert!(
            if on_page { page.contains(why) } else { told.why.contains(why) },
            "{set}: {}",
            told.why
        );
    }
    assert_eq!(class.left_out.len(), cases.len() + 4);
}

#[test]
fn whatever_a_sound_record_says_stays_text() {
    let room = Room::new();
    let evil = "<script>alert(1)</script>\u{1b}[31m\u{202e}";
    for student in 0..3 {
        let mut record = reference("lab07");
        for field in ["cpu", "system", "build"] {
            record["host"][field] = evil.into();
        }
        for field in ["command", "started_at"] {
            record[field] = evil.into();
        }
        record["host"]["cpu"] = format!("{evil}{}", "x".repeat(10_000_000)).into();
        record["notes"] = json!([evil]);
        record["predictions"] = json!({"hybrid": 1e308, "hybrid@1": -1e308, "hybrid@-5": 1, "hybrid@1e400": 1, evil: 3, "hybrid@": 2, "async": 0});
        record["seed"] = student.into();
        room.hand_in(&format!("s{student} & co"), &record);
    }
    let class = room.read();
    assert_eq!((class.sets.len(), class.left_out.len()), (3, 0), "{:?}", class.left_out);
    let page = room.page(&class);
    assert!(!page.contains("<script") && !page.contains('\u{1b}'));
    assert!(
        page.contains("&lt;script&gt;") && page.contains("&amp; co") && page.len() < 300_000,
        "{}",
        page.len()
    );
    assert!(!page.contains("NaN"));
}

/// No single change of a number may crash it.
#[test]
fn numbers_of_any_size_do_no_harm() {
    let room = Room::new();
    let original = reference("lab11");
    let mut places = Vec::new();
    numbers(&original, String::new(), &mut places);
    let step = places.len().div_ceil(60);
    let values = [json!(0), json!(1e12), json!(-1), json!(1e-300), json!(u64::MAX)];
    for (i, place) in places.iter().step_by(step).enumerate() {
        let mut record = original.clone();
        *record.pointer_mut(place).unwrap() = values[i % values.len()].clone();
        room.hand_in(&format!("{i}"), &record);
    }
    let class = room.read();
    assert_eq!(class.sets.len() + class.left_out.len(), places.iter().step_by(step).count());
    for left in &class.left_out {
        assert!(!left.why.contains("theory takes"), "{}: {}", left.what, left.why);
    }
}

fn numbers(value: &Value, at: String, into: &mut Vec<String>) {
    match value {
        Value::Number(_) => into.push(at),
        Value::Array(items) => {
            for (i, item) in items.iter().enumerate() {
                numbers(item, format!("{at}/{i}"), into);
            }
        }
        Value::Object(fields) => {
            for (name, field) in fields {
                numbers(field, format!("{at}/{name}"), into);
            }
        }
        _ => {}
    }
}

#[test]
fn a_journal_reads_a_folder_and_its_history_in_the_order_of_time() {
    let room = Room::new();
    let original = reference("lab07");
    let with = |when: &str, said: f64| {
        let mut record = original.clone();
        record["started_at"] = when.into();
        record["predictions"] = json!({"hybrid": said, "hybrid@1": said});
        record
    };
    room.hand_in("", &with("2026-11-03T00:00:00Z", 3.0));
    let earlier = [("2026-11-01", 30.0), ("2026-11-02", 6.0)];
    for (day, said) in earlier {
        let record = with(&format!("{day}T00:00:00Z"), said).to_string();
        room.write("history", &format!("lab07-{day}T00-00-00Z"), &record);
    }
    room.write("history", "lab07-unreadable", "{");
    let journal = Journal::read(SYLLABUS, room.0.path()).unwrap();
    assert_eq!((journal.runs, journal.left_out.len()), (3, 1));
    assert!(journal.left_out[0].contains("lab07-unreadable"));
    for question in &journal.questions {
        let said: Vec<f64> = question.tries.iter().map(|t| t.points[0].said).collect();
        assert_eq!(said, [30.0, 6.0, 3.0], "{}", question.key);
    }
    let factors: Vec<f64> = journal.by_try.iter().map(|by| by.factor).collect();
    assert!(factors[0] > factors[1] && factors[1] > factors[2], "{factors:?}");
    assert!((factors[0] / factors[1] - 5.0).abs() < 1e-6);
    let missing = Journal::read(SYLLABUS, &room.0.path().join("nowhere"));
    assert!(missing.unwrap_err().to_string().contains("labs run 3"));
}
