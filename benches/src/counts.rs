//! Instructions under valgrind, held against committed counts.
//!
//! An instruction count does not depend on what else the machine does, so a margin of 1 % is enough
//! and one run decides. It depends on the compiler, on the C library (which picks its way to copy memory
//! by the processor) and on the target, so the file says which ones its counts are for, and with others
//! they are not used. It is no time: cache misses, waiting and other threads do not show.
//!
//! valgrind's tool callgrind counts while a function is being executed, and tells the total in its output
//! file. That is all that is needed of it, so no further program has to be installed to run it.

use std::{
    collections::BTreeMap,
    fs,
    path::Path,
    process::Command,
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
    thread,
};

use anyhow::{Context, Result, ensure};
use lab_kit::findings::Table;
use serde::{Deserialize, Serialize};

use crate::{
    programs::{cases, output},
    verdict::{Count, judge_count},
};

/// Calls that are counted together, after two that only warm up.
const CALLS: u64 = 20;

/// Version of the file.
const SCHEMA: u32 = 1;

/// Counts of instructions and what they hold for: the file `benches/counts.json`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Counts {
    /// Version of the file.
    pub schema: u32,
    /// What they were counted with: with anything else they are not comparable.
    pub toolchain: Toolchain,
    /// Instructions of a call, by case.
    pub instructions: BTreeMap<String, u64>,
}

/// What decides how many instructions the same source takes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Toolchain {
    /// The compiler's version and target.
    pub rustc: String,
    /// The C library's version, where there is one that says so.
    pub libc: String,
}

impl Toolchain {
    /// That of this machine.
    ///
    /// # Errors
    /// When the compiler does not say.
    pub fn here() -> Result<Toolchain> {
        let told = output(Command::new("rustc").arg("-vV"))?;
        let fact = |key: &str| told.lines().find_map(|line| line.strip_prefix(key));
        let (release, host) =
            fact("release: ").zip(fact("host: ")).context("rustc did not tell its version")?;
        let libc = output(Command::new("getconf").arg("GNU_LIBC_VERSION"));
        Ok(Toolchain {
            rustc: format!("{release} {host}"),
            libc: libc.unwrap_or_else(|_| "unknown".into()),
        })
    }

    fn text(&self) -> String {
        format!("rustc {}, libc {}", self.rustc, self.libc)
    }
}

impl Counts {
    /// Reads the file; `None` where there is none.
    ///
    /// # Errors
    /// When there is one that cannot be read, with its name.
    pub fn load(path: &Path) -> Result<Option<Counts>> {
        if !path.exists() {
            return Ok(None);
        }
        let read = || -> Result<Counts> {
            let counts: Counts = serde_json::from_str(&fs::read_to_string(path)?)?;
            ensure!(counts.schema == SCHEMA, "its schema is {}", counts.schema);
            Ok(counts)
        };
        let counts = read().with_context(|| {
            let name = path.display();
            format!("{name} was not read; `gate counts --update` writes it anew")
        })?;
        Ok(Some(counts))
    }

    /// Writes the file.
    ///
    /// # Errors
    /// With its name.
    pub fn save(&self, path: &Path) -> Result<()> {
        let text = serde_json::to_string_pretty(self)? + "\n";
        lab_kit::store::write_whole(path, text.as_bytes())
    }
}

/// The version of valgrind; `None` where it is missing.
pub fn valgrind() -> Option<String> {
    output(Command::new("valgrind").arg("--version")).ok()
}

/// Counts every case of a program, on as many processors as there are: counts do not mind.
///
/// # Errors
/// When valgrind fails.
pub fn count(program: &Path) -> Result<Counts> {
    let cases: Vec<String> = cases(program)?.into_iter().collect();
    let (next, counted) = (AtomicUsize::new(0), Mutex::new(Vec::new()));
    thread::scope(|scope| {
        for _ in 0..lab_kit::host::cores() {
            scope.spawn(|| {
                while let Some(case) = cases.get(next.fetch_add(1, Ordering::Relaxed)) {
                    let result = one(program, case).map(|n| (case.clone(), n));
                    let mut counted = counted.lock().unwrap_or_else(PoisonError::into_inner);
                    counted.push(result);
                }
            });
        }
    });
    let counted = counted.into_inner().unwrap_or_else(PoisonError::into_inner);
    Ok(Counts {
        schema: SCHEMA,
        toolchain: Toolchain::here()?,
        instructions: counted.into_iter().collect::<Result<_>>()?,
    })
}

/// Instructions of a call.
fn one(program: &Path, case: &str) -> Result<u64> {
    let dir = tempfile::tempdir()?;
    let file = dir.path().join("callgrind.out");
    let mut command = Command::new("valgrind");
    command
        .args(["--tool=callgrind", "--collect-atstart=no"])
        .arg("--toggle-collect=*counted_region*")
        .arg(format!("--callgrind-out-file={}", file.display()))
        .arg(program)
        .args(["count", case, &CALLS.to_string()]);
    output(&mut command)?;
    let text = fs::read_to_string(&file).context("valgrind wrote no counts")?;
    let total = total(&text).context("valgrind's file has no total")?;
    // A stripped program has no function of this name, and nothing would be counted.
    ensure!(total > CALLS, "valgrind counted nothing of {case}");
    Ok(total / CALLS)
}

/// The total of a callgrind output file.
fn total(text: &str) -> Option<u64> {
    let line = text.lines().find_map(|line| line.strip_prefix("totals:"))?;
    line.trim().parse().ok()
}

/// What became of a case.
#[derive(Clone, Debug, Serialize)]
pub struct Row {
    /// Group and case.
    pub case: String,
    /// The verdict.
    pub verdict: Count,
    /// Instructions of a call.
    pub present: u64,
    /// What was committed; `None` when that is for another toolchain, or for another set of cases.
    pub committed: Option<u64>,
    /// What the base takes on this machine, where it was asked.
    pub base: Option<u64>,
}

/// A comparison.
#[derive(Clone, Debug, Serialize)]
pub struct Report {
    /// Why the committed counts were not used.
    pub note: Option<String>,
    /// More instructions than this share are too many.
    pub margin: f64,
    /// By case.
    pub rows: Vec<Row>,
    /// Cases that were committed and are no more.
    pub gone: Vec<String>,
}

/// Holds counts against committed ones and, where those say too much or nothing, against the base, which
/// is only then counted.
///
/// # Errors
/// Those of counting the base.
pub fn compare(
    present: &Counts,
    committed: Option<&Counts>,
    base: impl FnOnce() -> Result<Option<Counts>>,
    margin: f64,
) -> Result<Report> {
    let note = match committed {
        None => Some("No counts are committed.".to_string()),
        Some(other) if other.toolchain != present.toolchain => Some(format!(
            "The committed counts are for {}, this is {}: the base was counted instead.",
            other.toolchain.text(),
            present.toolchain.text()
        )),
        Some(_) => None,
    };
    let committed = committed.filter(|_| note.is_none());
    let rows = |base: Option<&Counts>| -> Vec<Row> {
        let of = |counts: Option<&Counts>, case: &str| counts?.instructions.get(case).copied();
        let row = |(case, n): (&String, &u64)| {
            let (committed, base) = (of(committed, case), of(base, case));
            Row {
                case: case.clone(),
                verdict: judge_count(*n, committed, base, margin),
                present: *n,
                committed,
                base,
            }
        };
        present.instructions.iter().map(row).collect()
    };
    let mut judged = rows(None);
    let doubtful = |row: &Row| matches!(row.verdict, Count::More | Count::New);
    if judged.iter().any(doubtful) {
        let base = base()?;
        judged = rows(base.as_ref());
    }
    let gone = committed.map(|c| c.instructions.keys()).into_iter().flatten();
    let gone = gone.filter(|case| !present.instructions.contains_key(*case));
    Ok(Report { note, margin, rows: judged, gone: gone.cloned().collect() })
}

impl Report {
    /// Cases with this verdict.
    pub fn with(&self, verdict: Count) -> impl Iterator<Item = &Row> {
        self.rows.iter().filter(move |row| row.verdict == verdict)
    }

    /// The committed counts hold for this toolchain but not for this set of cases.
    pub fn is_incomplete(&self) -> bool {
        let unknown = |row: &Row| row.committed.is_none();
        self.note.is_none() && (self.rows.iter().any(unknown) || !self.gone.is_empty())
    }

    /// The comparison as a table.
    pub fn table(&self) -> Table {
        let mut table = Table::new(
            "Instructions of a call",
            &["case", "verdict", "present", "committed", "base here", "change"],
        );
        for row in &self.rows {
            let text = |n: Option<u64>| n.map_or("–".into(), |n| n.to_string());
            let reference = row.committed.or(row.base);
            let change = reference.map_or("–".into(), |reference| {
                let share = row.present as f64 / reference.max(1) as f64 - 1.0;
                format!("{:+.2} %", share * 100.0)
            });
            table.row([
                row.case.clone(),
                row.verdict.word().into(),
                row.present.to_string(),
                text(row.committed),
                text(row.base),
                change,
            ]);
        }
        table.note = format!("More than {:.1} % more is too much.", self.margin * 100.0);
        if let Some(note) = &self.note {
            table.note += &format!(" {note}");
        }
        if !self.gone.is_empty() {
            table.note += &format!(" Committed, and no more: {}.", self.gone.join(", "));
        }
        table
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn counts(rustc: &str, instructions: &[(&str, u64)]) -> Counts {
        Counts {
            schema: SCHEMA,
            toolchain: Toolchain { rustc: rustc.into(), libc: "glibc".into() },
            instructions: instructions.iter().map(|(c, n)| (c.to_string(), *n)).collect(),
        }
    }

    fn never() -> Result<Option<Counts>> {
        panic!("the base is not needed")
    }

    #[test]
    fn the_total_is_read_from_callgrinds_file() {
        let text =
            "# callgrind format\nversion: 1\nevents: Ir\n\nfn=(1) a\n1 5\n\ntotals: 8000123\n";
        assert_eq!(total(text), Some(8_000_123));
        assert_eq!(total("events: Ir\n"), None);
    }

    #[test]
    fn within_the_margin_the_base_is_not_asked() {
        let committed = counts("1", &[("a", 1000), ("b", 1000)]);
        let present = counts("1", &[("a", 1009), ("b", 500)]);
        let report = compare(&present, Some(&committed), never, 0.01).unwrap();
        assert_eq!(report.with(Count::Same).count(), 1);
        assert_eq!(report.with(Count::Fewer).count(), 1);
        assert!(!report.is_incomplete());
    }

    #[test]
    fn too_many_are_too_many_unless_the_base_takes_as_many_here() {
        let committed = counts("1", &[("a", 1000), ("b", 1000)]);
        let present = counts("1", &[("a", 1100), ("b", 1100)]);
        let base = counts("1", &[("a", 1000), ("b", 1095)]);
        let report = compare(&present, Some(&committed), || Ok(Some(base)), 0.01).unwrap();
        assert_eq!(report.with(Count::More).next().unwrap().case, "a");
        assert_eq!(report.with(Count::Elsewhere).next().unwrap().case, "b");
        // Without a base nothing excuses.
        let report = compare(&present, Some(&committed), || Ok(None), 0.01).unwrap();
        assert_eq!(report.with(Count::More).count(), 2);
    }

    #[test]
    fn counts_for_another_toolchain_are_not_used() {
        let committed = counts("1", &[("a", 1)]);
        let present = counts("2", &[("a", 1100)]);
        let base = counts("2", &[("a", 1100)]);
        let report = compare(&present, Some(&committed), || Ok(Some(base)), 0.01).unwrap();
        assert_eq!(report.with(Count::Same).count(), 1);
        assert!(report.table().note.contains("rustc 1,"));
        assert!(!report.is_incomplete());
    }

    #[test]
    fn a_case_without_a_count_and_a_count_without_a_case_are_noticed() {
        let committed = counts("1", &[("old", 10), ("a", 10)]);
        let present = counts("1", &[("a", 10), ("new", 10)]);
        let report = compare(&present, Some(&committed), || Ok(None), 0.01).unwrap();
        assert!(report.is_incomplete());
        assert_eq!(report.gone, ["old"]);
        assert_eq!(report.with(Count::New).count(), 1);
    }

    #[test]
    fn a_damaged_file_is_named_and_a_missing_one_is_none() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("counts.json");
        assert_eq!(Counts::load(&path).unwrap(), None);
        let good = counts("1", &[("a", 10)]);
        good.save(&path).unwrap();
        assert_eq!(Counts::load(&path).unwrap(), Some(good));
        for bad in [
            "{",
            "[]",
            "{\"schema\":99,\"toolchain\":{\"rustc\":\"\",\"libc\":\"\"},\"instructions\":{}}",
        ] {
            fs::write(&path, bad).unwrap();
            let told = format!("{:#}", Counts::load(&path).unwrap_err());
            assert!(told.contains("counts.json") && told.contains("--update"), "{told}");
        }
    }
}
