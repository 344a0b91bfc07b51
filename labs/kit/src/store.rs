//! Records on disk: written whole or not at all, earlier ones kept, damaged ones refused by name.

use std::{
    fs,
    io::{ErrorKind, Read, Write},
    path::{Path, PathBuf},
};

use anyhow::{Context, Result, bail, ensure};

use crate::{
    os,
    record::{Record, SCHEMA},
};

/// Largest record that is read: the largest lab at full scale writes a few megabytes.
pub const LARGEST: u64 = 16 << 20;

/// Makes sure that results can be written to a folder, before anything is measured.
///
/// # Errors
/// When the folder cannot be made or written to.
pub fn prepare(dir: &Path) -> Result<()> {
    let other = dir.exists() && !dir.is_dir();
    ensure!(!other, "{}: it is no folder", cannot_write(dir));
    fs::create_dir_all(dir).with_context(|| cannot_write(dir))?;
    let mut probe = tempfile::NamedTempFile::new_in(dir).with_context(|| cannot_write(dir))?;
    probe.write_all(&[0; 4096]).and_then(|()| probe.flush()).with_context(|| cannot_write(dir))
}

fn cannot_write(dir: &Path) -> String {
    format!("cannot write to {} (choose another folder with --out)", dir.display())
}

/// Writes a file as a whole: to a temporary one beside it, synced, then renamed over it. A link to a file
/// stays one, and a file that is there keeps who may read and write it.
///
/// # Errors
/// With the file's name; the file is then as it was before.
pub fn write_whole(path: &Path, content: &[u8]) -> Result<()> {
    let there = fs::canonicalize(path).ok().filter(|there| there.is_file());
    let path = there.as_deref().unwrap_or(path);
    let dir = path.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let write = || -> Result<()> {
        // Beyond it the system ends the process instead of refusing.
        let most = os::file_size_limit().unwrap_or(u64::MAX);
        ensure!(
            content.len() as u64 <= most,
            "it has {} bytes, and the limit on file sizes (ulimit -f) is {most}",
            content.len()
        );
        fs::create_dir_all(dir)?;
        let mut file = tempfile::NamedTempFile::new_in(dir)?;
        file.write_all(content)?;
        file.as_file().sync_all()?;
        #[cfg(unix)]
        {
            // Temporary files are private; results are meant to be read by others.
            use std::os::unix::fs::PermissionsExt;
            let before = there.as_deref().and_then(|there| fs::metadata(there).ok());
            let mode = before.map_or(0o644, |about| about.permissions().mode() & 0o7777);
            file.as_file().set_permissions(fs::Permissions::from_mode(mode))?;
        }
        file.persist(path)?;
        Ok(())
    };
    write().with_context(|| format!("cannot write {}", path.display()))
}

/// Stores a record as `DIR/labNN.json`; an earlier one moves to `DIR/history/`, where nothing is ever replaced.
/// Runs that share a folder wait for each other here.
///
/// # Errors
/// With the file's name; an earlier record is then untouched.
pub fn save(dir: &Path, record: &Record) -> Result<PathBuf> {
    let path = dir.join(format!("{}.json", record.lab));
    let mut json = serde_json::to_vec(record)?;
    json.push(b'\n');
    let _turn = turn(dir);
    if path.exists() {
        let when = load(&path).map_or("unreadable".to_string(), |old| old.started_at);
        let when: String = when
            .chars()
            .map(|c| if c.is_ascii_alphanumeric() { c } else { '-' })
            .take(40)
            .collect();
        keep(&path, &dir.join("history"), &format!("{}-{when}", record.lab))
            .with_context(|| format!("cannot keep the earlier {}", path.display()))?;
    }
    write_whole(&path, &json)?;
    Ok(path)
}

/// The turn of whoever stores something in this folder, until it is dropped. Where folders cannot be locked
/// (Windows), there are no turns.
fn turn(dir: &Path) -> Option<fs::File> {
    let folder = fs::File::open(dir).ok()?;
    folder.lock().ok()?;
    Some(folder)
}

/// Copies a file into a folder under a name that nothing has yet: `NAME.json`, `NAME-2.json` and so on.
fn keep(file: &Path, folder: &Path, name: &str) -> Result<()> {
    fs::create_dir_all(folder)?;
    let old = fs::read(file)?;
    for n in 1.. {
        let name = if n == 1 { format!("{name}.json") } else { format!("{name}-{n}.json") };
        let kept = fs::File::create_new(folder.join(name));
        match kept {
            Err(error) if error.kind() == ErrorKind::AlreadyExists => {}
            kept => {
                let mut kept = kept?;
                kept.write_all(&old)?;
                kept.sync_all()?;
                break;
            }
        }
    }
    Ok(())
}

/// Reads one record.
///
/// # Errors
/// With the file's name and the reason: not there, truncated, foreign, from a newer version, or
/// with books that do not close.
pub fn load(path: &Path) -> Result<Record> {
    read(path).with_context(|| format!("{} was not read", path.display()))
}

fn read(path: &Path) -> Result<Record> {
    parse(&text(path)?)
}

/// The text of a file that may be a record, of bounded size.
///
/// # Errors
/// When it is no plain file, empty, too large, or no text.
pub fn text(path: &Path) -> Result<String> {
    // A device or a pipe would have no end, and what the kernel shows as an empty file may never answer.
    let about = fs::metadata(path)?;
    ensure!(about.is_file(), "it is not a plain file");
    ensure!(about.len() > 0, "it is empty: a truncated file? `labs run` writes it anew");
    let mut text = String::new();
    let file = fs::File::open(path)?;
    // A file may grow while it is read.
    let read = file.take(LARGEST + 1).read_to_string(&mut text);
    let size = read.context("it cannot be read as text")? as u64;
    ensure!(size <= LARGEST, "it has more than {} MB, more than any record", LARGEST >> 20);
    Ok(text)
}

/// What every record has, of whatever version.
#[derive(serde::Deserialize)]
struct Head {
    schema: Option<u64>,
}

/// Reads one record from its text.
///
/// # Errors
/// As [`load`], without a name.
pub fn parse(text: &str) -> Result<Record> {
    // Thrice through the text, but never into a tree of values several times as large.
    let _: serde::de::IgnoredAny = serde_json::from_str(text)
        .context("it is not complete JSON; a truncated file? `labs run` writes it anew")?;
    // A list would be taken for the fields of a record in their order.
    let is_object = text.trim_start().starts_with('{');
    let head = serde_json::from_str(text).ok().filter(|_| is_object);
    let schema = head.and_then(|head: Head| head.schema);
    let Some(schema) = schema else {
        bail!("it is not a record of these labs: it has no schema number");
    };
    ensure!(
        schema <= u64::from(SCHEMA),
        "it was written by a newer version (schema {schema}, this program knows {SCHEMA})"
    );
    let record: Record = serde_json::from_str(text).context("it is not a record of these labs")?;
    bounded(&record)?;
    for point in &record.points {
        for trial in &point.trials {
            let sound = trial.wall_s.is_finite() && trial.wall_s >= 0.0;
            ensure!(
                sound && trial.books_close(),
                "the books of {} at {} do not close",
                point.series,
                point.x
            );
        }
    }
    Ok(record)
}

/// Most trials of a record, in all of its conditions: a hundred times what the largest lab makes.
const TRIALS: usize = 100_000;
/// Most gauges of a trial, kinds of failures, and things traced.
const NAMES: usize = 1000;
/// Most spans of a trial, and points of all its traces.
const MARKS: usize = 100_000;

/// No run is so large, and whatever reads a record may take so many for granted.
fn bounded(record: &Record) -> Result<()> {
    let trials: usize = record.points.iter().map(|p| p.trials.len()).sum();
    ensure!(trials <= TRIALS, "it has {trials} trials: no run does");
    for point in &record.points {
        for trial in &point.trials {
            let traced: usize = trial.traces.values().map(Vec::len).sum();
            for (what, count, most) in [
                ("gauges", trial.gauges.len(), NAMES),
                ("kinds of failures", trial.failures.len(), NAMES),
                ("traces", trial.traces.len(), NAMES),
                ("traced points", traced, MARKS),
                ("spans", trial.spans.len(), MARKS),
            ] {
                ensure!(count <= most, "a trial has {count} {what}: none does");
            }
        }
    }
    Ok(())
}

/// What a folder of results holds.
#[derive(Debug, Default)]
pub struct Results {
    /// Readable records, by lab.
    pub records: Vec<Record>,
    /// Records that were refused, each with its file's name and the reason.
    pub refused: Vec<anyhow::Error>,
}

/// Reads every `labNN.json` of a folder, and every `judgeNN.json`. One that is refused costs nothing but itself.
///
/// # Errors
/// When the folder cannot be read or holds no such file at all.
pub fn load_all(dir: &Path) -> Result<Results> {
    let hint = || format!("no results in {}: `labs run 3` or `labs all` makes some", dir.display());
    let mut paths: Vec<PathBuf> = fs::read_dir(dir)
        .with_context(hint)?
        .filter_map(|entry| Some(entry.ok()?.path()))
        .filter(|path| {
            let name = path.file_name().and_then(|name| name.to_str());
            name.is_some_and(|name| is_record_name(name) || is_numbered(name, "judge"))
        })
        .collect();
    paths.sort();
    ensure!(!paths.is_empty(), "{}", hint());
    let mut results = Results::default();
    for path in paths {
        match load(&path) {
            Ok(record) => results.records.push(record),
            Err(error) => results.refused.push(error),
        }
    }
    Ok(results)
}

/// "lab03.json": the name of a lab's record in a folder of results.
pub fn is_record_name(name: &str) -> bool {
    is_numbered(name, "lab")
}

/// "judge03.json", where `kind` is "judge".
fn is_numbered(name: &str, kind: &str) -> bool {
    let number = name.strip_prefix(kind).and_then(|n| n.strip_suffix(".json"));
    number.is_some_and(|n| n.len() == 2 && n.bytes().all(|b| b.is_ascii_digit()))
}

/// The JSON Schema of records.
pub fn schema() -> serde_json::Value {
    schemars::schema_for!(Record).to_value()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        host::Host,
        record::{Point, Scale, Trial},
    };

    fn record(started_at: &str) -> Record {
        Record {
            schema: SCHEMA,
            lab: "lab03".into(),
            params: serde_json::json!({"slots": 1}),
            preset: None,
            command: "labs run 3".into(),
            scale: Scale::Smoke,
            seed: 1,
            started_at: started_at.into(),
            interrupted: false,
            target: None,
            predictions: Default::default(),
            notes: vec![],
            host: Host {
                system: "test".into(),
                cpu: None,
                cores: 2,
                memory_bytes: None,
                open_files: None,
                build: "debug".into(),
                effective_parallelism: vec![1.0, 2.0],
                timer_late_ms: 1.0,
                timer_late_p99_ms: 2.0,
                spin_jitter_ms: 0.1,
                upstream_ceiling_per_s: 1e4,
                request_overhead_ms: 0.1,
            },
            points: vec![Point {
                series: "a".into(),
                x: 1.0,
                trials: vec![Trial { wall_s: 1.0, offered: 1, timed_out: 1, ..Trial::default() }],
            }],
        }
    }

    #[test]
    fn the_earlier_record_goes_to_history() {
        let dir = tempfile::tempdir().unwrap();
        save(dir.path(), &record("2026-01-01T00:00:00Z")).unwrap();
        save(dir.path(), &record("2026-01-02T00:00:00Z")).unwrap();
        let kept = dir.path().join("history/lab03-2026-01-01T00-00-00Z.json");
        assert_eq!(load(&kept).unwrap().started_at, "2026-01-01T00:00:00Z");
        // Runs of the same second do not replace each other, nor do those that no longer can be read.
        for _ in 0..3 {
            save(dir.path(), &record("2026-01-02T00:00:00Z")).unwrap();
        }
        fs::write(dir.path().join("lab03.json"), "half a rec").unwrap();
        save(dir.path(), &record("2026-01-02T00:00:00Z")).unwrap();
        assert_eq!(fs::read_dir(dir.path().join("history")).unwrap().count(), 5);
        let all = load_all(dir.path()).unwrap();
        assert_eq!((all.records.len(), all.refused.len()), (1, 0));
        assert_eq!(all.records[0].started_at, "2026-01-02T00:00:00Z");
    }

    #[test]
    fn runs_that_share_a_folder_lose_nothing() {
        let dir = tempfile::tempdir().unwrap();
        std::thread::scope(|scope| {
            for _ in 0..8 {
                scope.spawn(|| save(dir.path(), &record("2026-01-01T00:00:00Z")).unwrap());
            }
        });
        assert_eq!(fs::read_dir(dir.path().join("history")).unwrap().count(), 7);
    }

    #[cfg(unix)]
    #[test]
    fn what_is_no_plain_file_is_refused_by_name() {
        let dir = tempfile::tempdir().unwrap();
        save(dir.path(), &record("x")).unwrap();
        for (n, what) in
            ["/dev/zero", "/dev/full", "/dev/null", "/nothing/there", "/"].iter().enumerate()
        {
            let link = dir.path().join(format!("lab{:02}.json", n + 10));
            std::os::unix::fs::symlink(what, link).unwrap();
        }
        let all = load_all(dir.path()).unwrap();
        assert_eq!((all.records.len(), all.refused.len()), (1, 5));
    }

    #[test]
    fn damaged_foreign_and_newer_files_are_refused_by_name() {
        let dir = tempfile::tempdir().unwrap();
        let good = serde_json::to_string(&record("x")).unwrap();
        save(dir.path(), &record("x")).unwrap();
        let newer = good.replacen("\"schema\":1", "\"schema\":99", 1);
        let open = good.replacen("\"timed_out\":1", "\"timed_out\":2", 1);
        let negative = good.replacen("\"timed_out\":1", "\"timed_out\":-1", 1);
        let bad = [
            ("lab01.json", &good[..good.len() / 2], "truncated"),
            ("lab02.json", "{\"hello\": 1}", "no schema"),
            ("lab04.json", newer.as_str(), "newer"),
            ("lab05.json", open.as_str(), "books"),
            ("lab06.json", negative.as_str(), "not a record"),
            ("lab07.json", "\u{0}\u{1}", "JSON"),
            ("lab08.json", "[1, 2]", "no schema"),
            ("lab09.json", "{\"schema\": -1}", "no schema"),
        ];
        for (name, content, _) in bad {
            fs::write(dir.path().join(name), content).unwrap();
        }
        let all = load_all(dir.path()).unwrap();
        assert_eq!(all.records.len(), 1);
        for (name, _, reason) in bad {
            let told =
                all.refused.iter().map(|e| format!("{e:#}")).find(|t| t.contains(name)).unwrap();
            assert!(told.contains(reason), "{told}");
        }
    }

    #[test]
    fn what_no_run_has_is_refused() {
        let with = |change: &dyn Fn(&mut Trial)| {
            let mut record = record("x");
            change(&mut record.points[0].trials[0]);
            parse(&serde_json::to_string(&record).unwrap())
                .map_or_else(|e| format!("{e:#}"), |_| String::new())
        };
        assert_eq!(with(&|_| {}), "");
        let names = || (0..=NAMES).map(|i| i.to_string());
        assert!(with(&|t| t.gauges = names().map(|n| (n, 1.0)).collect()).contains("gauges"));
        assert!(with(&|t| t.traces = names().map(|n| (n, vec![])).collect()).contains("traces"));
        let long = vec![(0.0, 0.0); MARKS / 2 + 1];
        assert!(
            with(&|t| t.traces = ["a", "b"].map(|n| (n.into(), long.clone())).into())
                .contains("traced points")
        );
        let span = crate::record::Span {
            lane: String::new(),
            name: String::new(),
            start_s: 0.0,
            end_s: 1.0,
        };
        assert!(with(&|t| t.spans = vec![span.clone(); MARKS + 1]).contains("spans"));
        assert!(
            with(&|t| {
                t.failures = names().map(|n| (n, 1)).collect();
                (t.failed, t.offered) = (NAMES as u64 + 1, NAMES as u64 + 2);
            })
            .contains("failures")
        );
        // Ten conditions of more than ten thousand trials each.
        let mut many = record("x");
        many.points[0].trials = vec![many.points[0].trials[0].clone(); TRIALS / 10 + 1];
        many.points = vec![many.points[0].clone(); 10];
        let error = parse(&serde_json::to_string(&many).unwrap()).unwrap_err();
        assert!(error.to_string().contains("100010 trials"), "{error}");
    }

    #[cfg(unix)]
    #[test]
    fn links_stay_links_and_modes_stay() {
        use std::os::unix::fs::{PermissionsExt, symlink};
        let dir = tempfile::tempdir().unwrap();
        let at = |name: &str| dir.path().join(name);
        let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o7777;
        fs::create_dir(at("real")).unwrap();
        write_whole(&at("real/notes.md"), b"1").unwrap();
        assert_eq!(mode(&at("real/notes.md")), 0o644);
        fs::set_permissions(at("real/notes.md"), fs::Permissions::from_mode(0o640)).unwrap();
        symlink("real/notes.md", at("link.md")).unwrap();
        write_whole(&at("link.md"), b"2").unwrap();
        assert!(fs::symlink_metadata(at("link.md")).unwrap().is_symlink());
        assert_eq!(fs::read(at("real/notes.md")).unwrap(), b"2");
        assert_eq!(mode(&at("real/notes.md")), 0o640);
        // A link that leads nowhere gives way to the file.
        symlink("missing/file", at("lost.md")).unwrap();
        write_whole(&at("lost.md"), b"3").unwrap();
        assert_eq!(fs::read(at("lost.md")).unwrap(), b"3");
    }

    #[test]
    fn a_folder_without_records_says_what_to_do() {
        let dir = tempfile::tempdir().unwrap();
        let told = format!("{:#}", load_all(dir.path()).unwrap_err());
        assert!(told.contains("labs run"), "{told}");
        assert!(load_all(&dir.path().join("missing")).is_err());
    }

    #[test]
    fn a_record_fits_its_schema() {
        let validator = jsonschema::validator_for(&schema()).unwrap();
        let mut value = serde_json::to_value(record("x")).unwrap();
        assert!(validator.is_valid(&value));
        value["points"][0]["trials"][0]["ok"] = "many".into();
        assert!(!validator.is_valid(&value));
    }
}
