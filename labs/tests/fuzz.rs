//! Records as nobody would write them: committed ones, altered at random, through everything that reads records.
//!
//! Ends in a verdict or a named reason; never in a panic that is not contained, an abort, or without end. For a
//! few seconds with every test run; `FUZZ_SECONDS=600 cargo test --release -p labs --test fuzz` goes on longer.

use std::{
    fs,
    path::Path,
    time::{Duration, Instant},
};

use lab_kit::{gate, store};
use rand::{
    RngExt, SeedableRng,
    seq::{IndexedMutRandom, IndexedRandom},
};
use rand_pcg::Pcg64Mcg;
use serde_json::{Value, json};

fn duration() -> Duration {
    let seconds = std::env::var("FUZZ_SECONDS").ok();
    Duration::from_secs(seconds.and_then(|s| s.parse().ok()).unwrap_or(5))
}

fn records() -> Vec<String> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../results/reference-quick");
    let files = fs::read_dir(folder).unwrap().flatten().map(|f| f.path());
    let mut records: Vec<_> =
        files.filter(|f| f.extension().is_some_and(|e| e == "json")).collect();
    records.sort();
    records.iter().map(|f| fs::read_to_string(f).unwrap()).collect()
}

/// Values that programs trip over.
fn odd(rng: &mut Pcg64Mcg) -> Value {
    let numbers = [
        0.0, -1.0, 1.0, 1.5, 0.5, -0.0, 1e-300, 1e-9, 1e3, 1e6, 1e9, 1e12, 1e15, 1e16, 1e17, 1e100,
        1e300, -1e300,
    ];
    let texts = [
        "",
        "0",
        "x",
        "1ns",
        "1h",
        "3600s",
        "1us",
        "1024GB",
        "1B",
        "\u{1b}[2J",
        "NaN",
        "inf",
        "-1",
        "1e9",
    ];
    match rng.random_range(0..10) {
        0 => Value::Null,
        1 => json!(rng.random_bool(0.5)),
        2 => json!([]),
        3 => json!({}),
        4 => json!(texts.choose(rng)),
        5 => json!([u64::MAX, i64::MAX as u64, 1 << 32, 65_536, 20_000].choose(rng)),
        6 => json!(i64::MIN),
        7 => json!(rng.random_range(0..1000)),
        _ => json!(numbers.choose(rng)),
    }
}

/// Alters something somewhere below: the deeper the likelier, since most of a record is deep.
fn alter(value: &mut Value, rng: &mut Pcg64Mcg, depth: u32) {
    if depth > 1 && rng.random_bool(0.15) {
        return change(value, rng);
    }
    match value {
        Value::Array(items) if !items.is_empty() => match rng.random_range(0..20) {
            0 => drop(items.remove(rng.random_range(0..items.len()))),
            1 => {
                let copy = items.choose(rng).unwrap().clone();
                items.push(copy);
            }
            2 => items.reverse(),
            _ => {
                let at = rng.random_range(0..items.len());
                alter(&mut items[at], rng, depth + 1);
            }
        },
        Value::Object(map) if !map.is_empty() => {
            let keys: Vec<String> = map.keys().cloned().collect();
            let key = keys.choose(rng).unwrap();
            match rng.random_range(0..30) {
                0 => drop(map.remove(key)),
                1 => {
                    let value = map.remove(key).unwrap();
                    map.insert(format!("{key}x"), value);
                }
                _ => alter(&mut map[key], rng, depth + 1),
            }
        }
        _ => change(value, rng),
    }
}

/// Gives a flag another value of its kind: many of these a lab accepts.
fn flag(params: &mut Value, rng: &mut Pcg64Mcg) {
    let times = ["1us", "100us", "1ms", "20ms", "1s", "10s", "1m", "1h"];
    let sizes = ["1B", "100B", "4KB", "1MB", "64MB", "1GB", "1024GB"];
    let counts = [0, 1, 2, 3, 5, 8, 13, 100, 1000, 20_000, 65_535, 1_000_000];
    let shares = [0.0, 0.001, 0.01, 0.1, 0.3, 0.5, 0.9, 0.99, 1.0, 1.5, 5.0, 100.0];
    let Some(map) = params.as_object_mut() else {
        return;
    };
    let keys: Vec<String> = map.keys().cloned().collect();
    let Some(key) = keys.choose(rng) else { return };
    fn other(value: &mut Value, rng: &mut Pcg64Mcg, of: (&[&str], &[&str], &[i32], &[f64])) {
        match value {
            Value::String(text) if text.ends_with('B') => *value = json!(of.1.choose(rng)),
            Value::String(text) if text.ends_with('s') => *value = json!(of.0.choose(rng)),
            Value::Number(n) if n.is_u64() => *value = json!(of.2.choose(rng)),
            Value::Number(_) => *value = json!(of.3.choose(rng)),
            Value::Array(items) => items.iter_mut().for_each(|item| {
                if rng.random_bool(0.5) {
                    other(item, rng, of);
                }
            }),
            Value::Bool(b) => *b = !*b,
            _ => {}
        }
    }
    other(&mut map[key], rng, (&times, &sizes, &counts, &shares));
}

/// Alters one figure of a trial, or of all trials of a condition.
fn gauge(points: &mut Value, rng: &mut Pcg64Mcg) {
    let factors = [0.0, 1e-6, 0.5, 1.001, 2.0, -1.0, 1e3, 1e6, 1e9, 1e12];
    let Some(points) = points.as_array_mut() else {
        return;
    };
    let Some(point) = points.choose_mut(rng) else {
        return;
    };
    let Some(trials) = point["trials"].as_array_mut() else {
        return;
    };
    let names: Vec<String> = trials
        .first()
        .and_then(|t| t["gauges"].as_object())
        .map_or(Vec::new(), |gauges| gauges.keys().cloned().collect());
    let Some(name) = names.choose(rng) else {
        return;
    };
    let (factor, add, all) =
        (factors.choose(rng).unwrap(), rng.random_range(0..3), rng.random_bool(0.5));
    for trial in trials.iter_mut().take(if all { usize::MAX } else { 1 }) {
        if let Some(gauge) = trial["gauges"].get_mut(name) {
            let value = gauge.as_f64().unwrap_or(0.0) * factor + f64::from(add);
            // Some counts are whole, and lists of them are long.
            *gauge = json!(if rng.random_bool(0.5) { value.round() } else { value });
        }
    }
}

fn change(value: &mut Value, rng: &mut Pcg64Mcg) {
    let number = value.as_f64();
    *value = match (number, rng.random_range(0..3)) {
        (Some(n), 0) => json!(n * [0.0, 0.5, 2.0, -1.0, 1e3, 1e6, 1e9].choose(rng).unwrap()),
        (Some(n), 1) => json!(n + [1.0, -1.0, 0.5].choose(rng).unwrap()),
        _ => odd(rng),
    };
}

#[test]
fn an_altered_record_ends_in_a_verdict_or_a_reason() {
    let records = records();
    let sound: Vec<Value> =
        records.iter().map(|text| serde_json::from_str(text).unwrap()).collect();
    let seed = std::env::var("FUZZ_SEED").ok().and_then(|s| s.parse().ok()).unwrap_or(1);
    let mut rng = Pcg64Mcg::seed_from_u64(seed);
    let (end, mut tried, mut refused, mut failed) = (Instant::now() + duration(), 0, 0, Vec::new());
    while Instant::now() < end {
        let mut record = sound.choose(&mut rng).unwrap().clone();
        for _ in 0..rng.random_range(1..4) {
            match rng.random_range(0..10) {
                0..4 => flag(&mut record["params"], &mut rng),
                4..8 => gauge(&mut record["points"], &mut rng),
                8 => alter(&mut record["host"], &mut rng, 0),
                _ => alter(&mut record, &mut rng, 0),
            }
        }
        let text = record.to_string();
        tried += 1;
        match explained(&text) {
            Ok(()) => {}
            Err(why) if why.contains("theory fails over") || why.contains("theory takes more") => {
                let (params, lab) = (record["params"].to_string(), record["lab"].to_string());
                failed.push(format!("{lab}: {why}\n  {params}"));
                keep(&text, failed.len());
            }
            Err(_) => refused += 1,
        }
    }
    println!("{tried} records tried, {refused} refused, {} not foreseen", failed.len());
    assert!(failed.is_empty(), "{}", failed.join("\n"));
}

/// Where `FUZZ_KEEP` names a folder, what was found is kept there.
fn keep(text: &str, number: usize) {
    if let Ok(folder) = std::env::var("FUZZ_KEEP") {
        fs::write(Path::new(&folder).join(format!("{number}.json")), text).unwrap();
    }
}

fn explained(text: &str) -> Result<(), String> {
    let record = store::parse(text).map_err(|e| format!("{e:#}"))?;
    let lab = labs::records().into_iter().find(|lab| lab.card().id() == record.lab);
    let lab = lab.ok_or("no lab of this version")?;
    let found = gate::explained(lab, record).map_err(|e| format!("{e:#}"))?;
    // What is drawn and written is made of the same.
    for figure in &found.1.figures {
        lab_kit::draw::draw(figure, "x").map_err(|e| format!("{e:#}"))?;
    }
    Ok(())
}

#[test]
fn a_text_that_was_a_record_ends_in_a_verdict_or_a_reason() {
    let records = records();
    let mut rng = Pcg64Mcg::seed_from_u64(2);
    let end = Instant::now() + duration();
    while Instant::now() < end {
        let mut bytes = records.choose(&mut rng).unwrap().clone().into_bytes();
        for _ in 0..rng.random_range(1..10) {
            if bytes.is_empty() {
                break;
            }
            let at = rng.random_range(0..bytes.len());
            match rng.random_range(0..4) {
                0 => bytes[at] = rng.random(),
                1 => drop(bytes.remove(at)),
                2 => bytes.insert(at, *b"{}[],:\"0e-".choose(&mut rng).unwrap()),
                _ => bytes.truncate(at.max(1)),
            }
        }
        let text = String::from_utf8_lossy(&bytes);
        if let Err(why) = explained(&text) {
            assert!(
                !why.contains("theory fails over") && !why.contains("theory takes more"),
                "{why}"
            );
        }
    }
}
