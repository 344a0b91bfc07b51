//! Titles and headlines say what the data say: each number in them is drawn in a figure, stands in a table or
//! beside a figure of the same run, is a flag's, or is made of two drawn values by one operation (a ratio, a
//! difference, a sum, a product, what is left of a whole).

use lab_kit::figure::{Body, Figure, Layer};
use lab_kit::findings::Findings;
use lab_kit::{lab::Experiment, record::Record, store};
use labs::{SYLLABUS, records};

/// The committed results.
const COMMITTED: &[&str] = &["../results/reference", "../results/reference-quick"];

/// Bytes between two counters that share no cache line: a constant of lab 17.
const APART: f64 = 128.0;

/// A number as it is written, with what it may be in the units of data.
#[derive(Debug)]
struct Written {
    text: String,
    may_be: Vec<f64>,
    /// Half a unit of its last digit, in the same order.
    half: Vec<f64>,
}

/// Every number of a text: digits with a point or thousands' commas, and what follows them.
fn written(text: &str) -> Vec<Written> {
    let mut found = Vec::new();
    let chars: Vec<char> = text.chars().collect();
    let mut at = 0;
    while at < chars.len() {
        let in_a_word = at > 0 && (chars[at - 1].is_alphanumeric() || chars[at - 1] == '.');
        if !chars[at].is_ascii_digit() || in_a_word {
            at += 1;
            continue;
        }
        let start = at;
        let digit = |i: usize| chars.get(i).is_some_and(char::is_ascii_digit);
        // A comma is one of thousands before three digits; a list has other numbers behind it.
        let three = |i: usize| (1..=3).all(|k| digit(i + k)) && !digit(i + 4);
        let (mut thousands, mut point) = (false, false);
        loop {
            match chars.get(at) {
                Some('.') if !point && digit(at + 1) => point = true,
                Some(',') if !point && three(at) && (thousands || at - start <= 3) => {
                    thousands = true
                }
                Some(c) if c.is_ascii_digit() => {}
                _ => break,
            }
            at += 1;
        }
        let number: String = chars[start..at].iter().filter(|c| **c != ',').collect();
        let value: f64 = number.parse().expect("digits with one point");
        let decimals = number.split_once('.').map_or(0, |(_, d)| d.len() as i32);
        // "1000" may have been rounded to four digits, and "50,000" to two: no zero is one of these.
        let half = 0.5 * 10f64.powi(-decimals);
        let rest: String = chars[at..].iter().take(6).collect();
        let unit = rest.trim_start();
        let scales: &[f64] = match () {
            () if unit.starts_with("ms") => &[1e-3, 1.0],
            () if unit.starts_with("µs") => &[1e-6, 1e-3, 1.0],
            () if unit.starts_with("ns") => &[1e-9, 1e-6, 1.0],
            () if unit.starts_with("min") => &[60.0, 1.0],
            () if unit.starts_with('h') => &[3600.0, 1.0],
            () if unit.starts_with('%') => &[0.01, 1.0],
            () if unit.starts_with("KB") || unit.starts_with("kB") => &[1e3, 1024.0, 1.0],
            () if unit.starts_with("MB") => &[1e6, 1.0, 1e3],
            () if unit.starts_with("GB") => &[1e9, 1.0, 1e3],
            () if unit.starts_with("million") => &[1e6, 1.0],
            () => &[1.0, 1e3, 1e6],
        };
        found.push(Written {
            text: format!("{number}{rest}"),
            may_be: scales.iter().map(|s| value * s).collect(),
            half: scales.iter().map(|s| half * s).collect(),
        });
    }
    found
}

/// Every value that a figure draws.
fn drawn(figure: &Figure) -> Vec<f64> {
    let mut values = Vec::new();
    match &figure.body {
        Body::Panels(panels) => {
            for layer in panels.panels.iter().flat_map(|p| &p.layers) {
                match layer {
                    Layer::Line(line) => {
                        let label = written(&line.label).into_iter();
                        values.extend(label.map(|number| number.may_be[0]));
                        values.extend(line.points.iter().flat_map(|(x, y)| [*x, *y]))
                    }
                    Layer::Rule { y, .. } => values.push(*y),
                    Layer::Region { x, .. } => values.extend([x.0, x.1]),
                }
            }
            values.extend(panels.marks.iter().map(|m| m.x));
        }
        Body::Gantt(gantt) => {
            for group in &gantt.groups {
                values.extend(group.end);
                values.push(group.lanes.len() as f64);
                let bars = group.lanes.iter().flat_map(|l| &l.bars);
                values.extend(bars.flat_map(|b| [b.start, b.end, b.end - b.start]));
            }
        }
        Body::Beats(beats) => values.extend(beats.lanes.iter().map(|l| l.longest_gap)),
        Body::Bars(bars) => {
            for group in &bars.groups {
                let of = || group.bars.iter().map(|b| b.value);
                values.extend(of());
                values.push(of().sum());
            }
        }
    }
    values
}

/// Every number that a run's tables, the texts of its figures and its flags hold.
fn said(record: &Record, findings: &Findings) -> Vec<f64> {
    let mut texts: Vec<String> = vec![record.params.to_string(), APART.to_string()];
    for table in &findings.tables {
        texts.extend(table.rows.iter().flatten().cloned());
        texts.push(table.note.clone());
    }
    for figure in &findings.figures {
        texts.push(figure.subtitle.clone());
    }
    // Flags have their units without a blank: "50ms".
    let numbers = texts.iter().flat_map(|text| written(text));
    numbers.flat_map(|number| number.may_be).collect()
}

fn is_among(number: &Written, values: &[f64]) -> bool {
    let pairs = number.may_be.iter().zip(&number.half);
    pairs.into_iter().any(|(value, half)| {
        values.iter().any(|v| (v.abs() - value).abs() <= half * 1.02 + 1e-9 * value.abs())
    })
}

/// What one operation makes of the values that are drawn.
fn derived(values: &[f64]) -> Vec<f64> {
    let mut distinct: Vec<f64> = values.iter().copied().filter(|v| v.is_finite()).collect();
    distinct.sort_by(f64::total_cmp);
    distinct.dedup();
    // Dense traces are no figures that a title is made of.
    distinct.truncate(200);
    let mut made: Vec<f64> = distinct.iter().map(|a| 1.0 - a).collect();
    for a in &distinct {
        for b in &distinct {
            made.extend([a / b, a / b - 1.0, a - b, a + b, a * b]);
        }
    }
    made
}

/// Numbers of these texts that no value stands behind.
fn without_data(lab: &dyn Experiment, record: &Record) -> Vec<String> {
    let findings = lab.explain(record).expect("committed records are sound");
    let known = said(record, &findings);
    let mut missing = Vec::new();
    let mut look = |place: &str, text: &str, values: &[f64]| {
        for number in written(text) {
            let counted = number.may_be[0] <= 3.0 && number.may_be[0].fract() == 0.0;
            let held = [values, &known].iter().any(|all| is_among(&number, all));
            if !counted && !held && !is_among(&number, &derived(values)) {
                missing.push(format!("{} {place}: {} in {text:?}", record.lab, number.text));
            }
        }
    };
    let mut all = Vec::new();
    for figure in &findings.figures {
        let values = drawn(figure);
        look(&figure.id, &figure.title, &values);
        all.extend(values);
    }
    look("headline", &findings.headline, &all);
    missing
}

#[test]
fn every_number_of_a_title_is_in_the_data() {
    let mut missing = Vec::new();
    let mut looked = 0;
    for dir in COMMITTED {
        let Ok(results) = store::load_all(dir.as_ref()) else {
            continue;
        };
        for record in &results.records {
            let lab = records().into_iter().find(|l| l.card().id() == record.lab);
            missing.extend(without_data(lab.expect("a lab, or a judge"), record));
            looked += 1;
        }
    }
    assert!(looked >= SYLLABUS.len());
    assert!(missing.is_empty(), "{}", missing.join("\n"));
}

#[test]
fn numbers_are_read_as_they_are_written() {
    let of = |text: &str| written(text).into_iter().map(|w| w.may_be[0]).collect::<Vec<_>>();
    assert_eq!(
        of("A limit of 50 gives 967/s, 57.4 % at 1.65 s and 416 ms"),
        [50.0, 967.0, 57.4 * 0.01, 1.65, 416.0 * 1e-3]
    );
    assert_eq!(of("50,000 chatters, lab03, p99"), [50_000.0]);
    let number = &written("996/s")[0];
    assert!(is_among(number, &[996.3]) && !is_among(number, &[967.1]));
}
