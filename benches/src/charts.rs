//! Charts of what criterion measured: a dot with its interval for every case, one chart a question.
//!
//! Criterion's files are gathered into one record, `benches.json`, and everything shown is drawn from
//! that alone: the same record always gives the same bytes.

use std::{
    collections::BTreeMap,
    fmt::Write,
    fs,
    path::{Path, PathBuf},
    time::{Duration, SystemTime},
};

use anyhow::{Context, Result, ensure};
use lab_kit::{
    draw::{Theme, draw},
    figure::{Axis, BarGroup, Bars, Body, Colour, Figure, Unit, ValueBar},
    findings::Table,
    os, report,
    store::write_whole,
};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::{
    catalogue::{QUESTIONS, Question},
    counts::Toolchain,
};

/// Name of the record.
pub const RECORD: &str = "benches.json";

/// Version of the record.
const SCHEMA: u32 = 1;

/// What was timed so long before the newest belongs to another run.
const ONE_RUN: Duration = Duration::from_secs(3600);

/// Times of all cases, as one run of criterion measured them.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Record {
    /// Version of the file.
    pub schema: u32,
    /// Operating system and architecture.
    pub system: String,
    /// Name of the processor, where the system tells.
    pub cpu: Option<String>,
    /// Processors usable.
    pub cores: usize,
    /// The compiler.
    pub rustc: String,
    /// Times by group and case.
    pub groups: BTreeMap<String, BTreeMap<String, Time>>,
}

/// The time of one operation, in seconds.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Time {
    /// Median.
    pub median_s: f64,
    /// Criterion's 95 % bootstrap interval of it.
    pub ci95: (f64, f64),
}

/// Gathers what criterion left in its folder (`target/criterion`).
///
/// # Errors
/// When there is nothing, or a file cannot be read, with its name.
pub fn gather(dir: &Path) -> Result<Record> {
    let mut files = Vec::new();
    find(dir, &mut files);
    let newest = files.iter().map(|(_, when)| *when).max();
    let mut groups: BTreeMap<String, BTreeMap<String, Time>> = BTreeMap::new();
    for (path, when) in &files {
        let age = newest.and_then(|newest| newest.duration_since(*when).ok());
        if age.is_some_and(|age| age > ONE_RUN) {
            continue;
        }
        let read = || -> Result<_> {
            let json = |name| -> Result<Value> {
                Ok(serde_json::from_str(&fs::read_to_string(path.join(name))?)?)
            };
            time_of(&json("benchmark.json")?, &json("estimates.json")?)
                .context("it is not what criterion 0.8 writes")
        };
        let (group, case, time) =
            read().with_context(|| format!("{} was not read", path.display()))?;
        groups.entry(group).or_default().insert(case, time);
    }
    groups.retain(|name, _| crate::catalogue::find(name).is_some());
    ensure!(
        !groups.is_empty(),
        "there are no times in {}: `cargo bench -p benches` takes some",
        dir.display()
    );
    Ok(Record {
        schema: SCHEMA,
        system: format!("{} {}", std::env::consts::OS, std::env::consts::ARCH),
        cpu: os::cpu_model(),
        cores: lab_kit::host::cores(),
        rustc: Toolchain::here()?.rustc,
        groups,
    })
}

/// Folders named `new` with estimates, and when they were written.
fn find(dir: &Path, found: &mut Vec<(PathBuf, SystemTime)>) {
    for entry in fs::read_dir(dir).into_iter().flatten().flatten() {
        let path = entry.path();
        if !path.is_dir() {
            continue;
        }
        let written = fs::metadata(path.join("estimates.json")).and_then(|facts| facts.modified());
        match written {
            Ok(when) if path.ends_with("new") => found.push((path, when)),
            _ => find(&path, found),
        }
    }
}

/// Group, case and time of one operation, from the two files of a bench.
fn time_of(benchmark: &Value, estimates: &Value) -> Option<(String, String, Time)> {
    let (group, case) = benchmark["full_id"].as_str()?.split_once('/')?;
    let operations = benchmark["throughput"]["Elements"].as_f64().unwrap_or(1.0);
    let median = &estimates["median"];
    let interval = &median["confidence_interval"];
    let seconds = |nanos: &Value| Some(nanos.as_f64()? * 1e-9 / operations);
    let time = Time {
        median_s: seconds(&median["point_estimate"])?,
        ci95: (seconds(&interval["lower_bound"])?, seconds(&interval["upper_bound"])?),
    };
    Some((group.into(), case.into(), time))
}

/// Reads a record.
///
/// # Errors
/// When it is not there, damaged, or from another version; with its name.
pub fn load(path: &Path) -> Result<Record> {
    let read = || -> Result<Record> {
        let record: Record = serde_json::from_str(&fs::read_to_string(path)?)?;
        ensure!(record.schema == SCHEMA, "its schema is {}", record.schema);
        Ok(record)
    };
    read().with_context(|| format!("{} was not read", path.display()))
}

/// The cases of a group, in the order they are shown: the one that the others are compared with, then
/// by time.
fn ordered<'a>(record: &'a Record, name: &str, first: &str) -> Vec<(&'a str, Time)> {
    let mut cases: Vec<(&str, Time)> = record
        .groups
        .get(name)
        .into_iter()
        .flatten()
        .map(|(case, time)| (case.as_str(), *time))
        .collect();
    cases.sort_by(|a, b| {
        let key = |case: &(&str, Time)| case.0 != first;
        key(a).cmp(&key(b)).then(a.1.median_s.total_cmp(&b.1.median_s))
    });
    cases
}

/// The chart of a question; `None` when nothing of it was timed.
fn figure(question: &Question, record: &Record) -> Option<Figure> {
    let mut groups = Vec::new();
    let mut all: Vec<(&str, Time)> = Vec::new();
    for group in question.groups {
        let cases = ordered(record, group.name, group.first);
        let reference = cases.first().filter(|case| case.0 == group.first).map(|case| case.1);
        let bar = |(case, time): &(&str, Time)| {
            let is_first = *case == group.first;
            let times = reference.filter(|_| !is_first).map(|r| time.median_s / r.median_s);
            let times = times.map_or(String::new(), |t| format!(": {}", factor(t)));
            let colour = if is_first { Colour::Muted } else { Colour::Blue };
            ValueBar::measured(&format!("{}{times}", spoken(case)), colour, time.median_s)
                .with_interval(Some(time.ci95))
        };
        if !cases.is_empty() {
            groups.push(BarGroup {
                label: group.title.into(),
                note: String::new(),
                bars: cases.iter().map(bar).collect(),
            });
        }
        all.extend(cases);
    }
    all.sort_by(|a, b| a.1.median_s.total_cmp(&b.1.median_s));
    let (least, most) = all.first().zip(all.last())?;
    let extreme =
        |case: &(&str, Time)| format!("{} ({})", duration(case.1.median_s), spoken(case.0));
    let title = format!("{} takes {} to {}", question.subject, extreme(least), extreme(most));
    Some(Figure {
        id: question.id.into(),
        desc: format!("Times of {} cases on a logarithmic axis. {title}.", all.len()),
        title,
        subtitle: format!(
            "{} Dots: median with its 95 % interval; ×: times the grey one of the group.",
            question.note
        ),
        body: Body::Bars(Bars { x: Axis::log("time of one (log scale)", Unit::Seconds), groups }),
    })
}

/// The times of a question as a table.
fn table(question: &Question, record: &Record) -> Table {
    let mut table =
        Table::new(question.question, &["group", "case", "time of one", "95 %", "times the first"]);
    for group in question.groups {
        let cases = ordered(record, group.name, group.first);
        for (case, time) in &cases {
            table.row([
                group.name.into(),
                case.to_string(),
                duration(time.median_s),
                format!("{} – {}", duration(time.ci95.0), duration(time.ci95.1)),
                factor(time.median_s / cases[0].1.median_s),
            ]);
        }
    }
    table.note = question.note.into();
    table
}

/// Draws `DIR/charts/bench-*.svg` and `.png` and writes `DIR/benches.md`; returns the files written.
///
/// # Errors
/// When one cannot be drawn or written, with its name.
pub fn publish(record: &Record, dir: &Path) -> Result<Vec<PathBuf>> {
    let mut written = Vec::new();
    let cpu = record.cpu.as_deref().unwrap_or("unknown processor");
    let mut page = format!(
        "# What things cost\n\nMeasured with criterion on {}, {cpu}, {} processors, rustc {}. Times belong to \
         that machine; ratios travel better.\n",
        record.system, record.cores, record.rustc
    );
    for question in QUESTIONS {
        let Some(figure) = figure(question, record) else {
            continue;
        };
        let drawing = draw(&figure, "bench")?;
        let name = format!("charts/bench-{}", figure.id);
        let png = drawing.png(Theme::Light, 2.0)?;
        let files = [("svg", drawing.svg.into_bytes()), ("png", png)];
        for (kind, content) in files {
            let path = dir.join(format!("{name}.{kind}"));
            write_whole(&path, &content)?;
            written.push(path);
        }
        let table = report::markdown_table(&table(question, record));
        let _ = write!(
            page,
            "\n## {}\n\n![{}]({name}.png)\n\n{table}",
            question.question, figure.title
        );
    }
    let path = dir.join("benches.md");
    write_whole(&path, page.as_bytes())?;
    written.push(path);
    Ok(written)
}

/// Stores a record.
///
/// # Errors
/// With the file's name.
pub fn save(record: &Record, dir: &Path) -> Result<()> {
    let text = serde_json::to_string_pretty(record)? + "\n";
    write_whole(&dir.join(RECORD), text.as_bytes())
}

fn spoken(name: &str) -> String {
    name.replace('_', " ")
}

/// Three significant digits: "1.23 µs".
fn duration(seconds: f64) -> String {
    let units = [(1.0, "s"), (1e-3, "ms"), (1e-6, "µs"), (1e-9, "ns")];
    let fits = |unit: &&(f64, &str)| seconds >= unit.0;
    let (unit, name) = units.iter().find(fits).unwrap_or(&units[3]);
    format!("{} {name}", digits(seconds / unit))
}

fn factor(times: f64) -> String {
    format!("{}×", digits(times))
}

/// Three significant digits.
fn digits(value: f64) -> String {
    match value {
        v if v >= 99.95 => format!("{v:.0}"),
        v if v >= 9.995 => format!("{v:.1}"),
        v => format!("{v:.2}"),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    /// Writes what criterion would.
    fn bench(dir: &Path, group: &str, case: &str, elements: Option<u64>, nanos: f64) {
        let new = dir.join(group).join(case).join("new");
        fs::create_dir_all(&new).unwrap();
        let throughput = elements.map(|n| json!({ "Elements": n }));
        let id = json!({ "full_id": format!("{group}/{case}"), "throughput": throughput });
        fs::write(new.join("benchmark.json"), id.to_string()).unwrap();
        let interval = json!({ "lower_bound": nanos * 0.9, "upper_bound": nanos * 1.1 });
        let median = json!({ "point_estimate": nanos, "confidence_interval": interval });
        fs::write(new.join("estimates.json"), json!({ "median": median }).to_string()).unwrap();
    }

    fn gathered() -> Record {
        let dir = tempfile::tempdir().unwrap();
        bench(dir.path(), "spawning", "call", Some(1000), 1000.0);
        bench(dir.path(), "spawning", "thread", Some(20), 400_000.0);
        bench(dir.path(), "spawning", "task", Some(1000), 200_000.0);
        bench(dir.path(), "recording", "closed_loop_request", None, 500.0);
        bench(dir.path(), "foreign", "bench", None, 1.0);
        gather(dir.path()).unwrap()
    }

    #[test]
    fn times_are_of_one_operation() {
        let record = gathered();
        let time = record.groups["spawning"]["thread"];
        assert!((time.median_s - 20e-6).abs() < 1e-12 && (time.ci95.1 - 22e-6).abs() < 1e-12);
        assert!((record.groups["recording"]["closed_loop_request"].median_s - 5e-7).abs() < 1e-15);
        assert!(!record.groups.contains_key("foreign"));
    }

    #[test]
    fn the_chart_says_what_was_found() {
        let record = gathered();
        let figure = figure(&QUESTIONS[0], &record).unwrap();
        assert_eq!(figure.title, "Having something done takes 1.00 ns (call) to 20.0 µs (thread)");
        let Body::Bars(bars) = &figure.body else { panic!("bars") };
        let labels: Vec<_> = bars.groups[0].bars.iter().map(|bar| bar.label.as_str()).collect();
        assert_eq!(labels, ["call", "task: 200×", "thread: 20000×"]);
        assert!(super::figure(&QUESTIONS[1], &record).is_none());
    }

    #[test]
    fn a_record_read_back_gives_the_same_page() {
        let (record, dir) = (gathered(), tempfile::tempdir().unwrap());
        save(&record, dir.path()).unwrap();
        publish(&record, dir.path()).unwrap();
        let first = fs::read(dir.path().join("benches.md")).unwrap();
        let read = load(&dir.path().join(RECORD)).unwrap();
        assert_eq!(read, record);
        let files = publish(&read, dir.path()).unwrap();
        assert_eq!(fs::read(dir.path().join("benches.md")).unwrap(), first);
        assert!(files.iter().all(|file| file.is_file()));
    }

    #[test]
    fn what_is_missing_or_damaged_is_named() {
        let dir = tempfile::tempdir().unwrap();
        let told = format!("{:#}", gather(dir.path()).unwrap_err());
        assert!(told.contains("cargo bench"), "{told}");
        bench(dir.path(), "spawning", "call", None, 1.0);
        let file = dir.path().join("spawning/call/new/estimates.json");
        fs::write(file, "{}").unwrap();
        let told = format!("{:#}", gather(dir.path()).unwrap_err());
        assert!(told.contains("call"), "{told}");
        let told = format!("{:#}", load(&dir.path().join(RECORD)).unwrap_err());
        assert!(told.contains(RECORD), "{told}");
    }

    #[test]
    fn the_cases_of_the_catalogue_are_named_once() {
        let mut names: Vec<_> = QUESTIONS.iter().flat_map(|q| q.groups).map(|g| g.name).collect();
        let all = names.len();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), all);
    }
}
