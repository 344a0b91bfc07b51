//! The gate: does what things cost stay what it was?

use std::{
    fs,
    path::{Path, PathBuf},
    process::ExitCode,
};

use anyhow::{Context, Result};
use benches::{
    charts, counts,
    pairs::{self, LAYOUTS, Plan, Report},
    programs::{self, Base, Workspace},
    verdict::{Count, FEWEST, Verdict},
};
use clap::{Args, Parser, Subcommand, ValueEnum};
use lab_kit::{
    cli::{Failed, pretty, print},
    findings::Table,
    report::{markdown_table, text_table},
};

/// Exit code for what costs more than it did.
const WORSE: u8 = 3;

/// Holds what things cost against what they cost before.
#[derive(Parser)]
#[command(
    name = "gate",
    after_help = "Exit codes: 0 nothing costs more (or nothing could be compared: stderr says why), 1 failure, 2 usage, 3 something costs more."
)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Counts instructions under valgrind and holds them against the committed counts
    Counts {
        /// Write the counts of this tree to benches/counts.json, to be committed
        #[arg(long)]
        update: bool,
        /// More instructions than this are too many, in percent
        #[arg(long, value_name = "PERCENT", default_value_t = 1.0, value_parser = percent)]
        margin: f64,
        /// Commit that is counted where the committed counts say too many, or are for another compiler
        /// [default: where this branch left main]
        #[arg(long, value_name = "COMMIT")]
        base: Option<String>,
        #[command(flatten)]
        shown: Shown,
    },
    /// Runs this tree and an earlier commit in turns and holds the ratio of their times against 1
    Pairs {
        /// The earlier commit [default: where this branch left main; on main the commit before]
        #[arg(long, value_name = "COMMIT")]
        base: Option<String>,
        #[command(flatten)]
        how: How,
        #[command(flatten)]
        shown: Shown,
    },
    /// Tries the gate itself: this tree against itself, and against itself made slower
    Prove {
        /// Comparisons of each kind
        #[arg(long, value_name = "N", default_value_t = 40, value_parser = clap::value_parser!(u32).range(1..=1000))]
        runs: u32,
        /// Which comparisons
        #[arg(long, value_enum, default_value_t = Kind::Both)]
        kind: Kind,
        /// How much slower one case is made in each comparison, in percent
        #[arg(long, value_name = "PERCENT", default_value_t = 10.0, value_parser = percent)]
        planted: f64,
        #[command(flatten)]
        how: How,
        #[command(flatten)]
        shown: Shown,
    },
    /// Draws what `cargo bench -p benches` measured: DIR/benches.md, its record and its charts
    Charts {
        /// Folder for them
        #[arg(default_value = "results/local")]
        dir: PathBuf,
        /// Draw DIR/benches.json again, without criterion's files
        #[arg(long)]
        again: bool,
        /// Criterion's folder [default: the one in the target folder]
        #[arg(long, value_name = "DIR", conflicts_with = "again")]
        criterion: Option<PathBuf>,
    },
}

/// What a comparison of times is made of.
#[derive(Args)]
struct How {
    /// Pairs of fresh processes
    #[arg(long, value_name = "N", default_value_t = 20, value_parser = clap::value_parser!(u32).range(FEWEST as i64..=1000))]
    pairs: u32,
    /// The slowdown that is let pass, in percent
    #[arg(long, value_name = "PERCENT", default_value_t = 5.0, value_parser = percent)]
    margin: f64,
    /// Only cases with this in their name
    #[arg(long, value_name = "TEXT")]
    only: Option<String>,
}

/// How results are shown.
#[derive(Args)]
struct Shown {
    /// Print JSON and nothing else
    #[arg(long)]
    json: bool,
    /// Append the table to this file, as Markdown
    #[arg(long, value_name = "FILE")]
    markdown: Option<PathBuf>,
}

#[derive(Clone, Copy, PartialEq, ValueEnum)]
enum Kind {
    /// Unchanged: whatever is called a change is a false alarm
    Same,
    /// Slower: any silence is a miss
    Slower,
    /// One after the other
    Both,
}

fn percent(text: &str) -> Result<f64, String> {
    let value = text.trim_end_matches(['%', ' ']).parse::<f64>();
    match value {
        Ok(value) if (0.1..=1000.0).contains(&value) => Ok(value),
        _ => Err("expected a percentage from 0.1 to 1000".into()),
    }
}

/// Whether something costs more.
enum Outcome {
    Passed,
    Worse,
}

fn main() -> ExitCode {
    let done = match Cli::parse().command {
        Command::Counts { update, margin, base, shown } => {
            count(update, margin / 100.0, base.as_deref(), &shown)
        }
        Command::Pairs { base, how, shown } => pair(base.as_deref(), &how.plan(), &shown),
        Command::Prove { runs, kind, planted, how, shown } => {
            prove(runs, kind, planted / 100.0, &how.plan(), &shown)
        }
        Command::Charts { dir, again, criterion } => draw(&dir, again, criterion),
    };
    match done {
        Ok(Outcome::Passed) => ExitCode::SUCCESS,
        Ok(Outcome::Worse) => ExitCode::from(WORSE),
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

impl How {
    fn plan(&self) -> Plan {
        Plan {
            pairs: self.pairs as usize,
            margin: self.margin / 100.0,
            only: self.only.clone(),
            ..Plan::default()
        }
    }
}

impl Shown {
    fn show(&self, report: &impl serde::Serialize, table: &Table) -> Result<()> {
        if self.json {
            if let Err(Failed::Error(error)) = pretty(report) {
                return Err(error);
            }
        } else {
            print(text_table(table))?;
        }
        self.append(&(markdown_table(table) + "\n"))
    }

    /// Says that nothing was compared.
    fn skip(&self, what: &str, why: &str) -> Result<Outcome> {
        let text = format!("{what}: skipped, {why}");
        eprintln!("{text}");
        if self.json {
            print("null\n")?;
        }
        self.append(&format!("{text}\n\n"))?;
        Ok(Outcome::Passed)
    }

    fn append(&self, text: &str) -> Result<()> {
        let Some(path) = &self.markdown else {
            return Ok(());
        };
        let append = || -> Result<()> {
            use std::io::Write;
            let mut file = fs::File::options().create(true).append(true).open(path)?;
            Ok(file.write_all(text.as_bytes())?)
        };
        append().with_context(|| format!("cannot write to {}", path.display()))
    }
}

/// A note that does not block. On GitHub it shows beside the change.
fn warn(text: &str) {
    if std::env::var_os("GITHUB_ACTIONS").is_some() {
        eprintln!("::warning::{text}");
    } else {
        eprintln!("warning: {text}");
    }
}

fn list<'a>(names: impl Iterator<Item = &'a str>) -> String {
    names.collect::<Vec<_>>().join(", ")
}

fn count(update: bool, margin: f64, base: Option<&str>, shown: &Shown) -> Result<Outcome> {
    let Some(version) = counts::valgrind() else {
        return shown.skip("instructions", "valgrind is not installed (package valgrind)");
    };
    let workspace = Workspace::here()?;
    let file = workspace.root().join("benches/counts.json");
    let present = counts::count(&workspace.present()?)?;
    if update {
        present.save(&file)?;
        print(format!(
            "{} cases counted with {version}; commit {} with the change that explains it\n",
            present.instructions.len(),
            file.display()
        ))?;
        return Ok(Outcome::Passed);
    }
    let committed = counts::Counts::load(&file)?;
    let count_base = || match workspace.base(base)? {
        Base::Built { program, .. } => Ok(Some(counts::count(&program)?)),
        Base::Missing(why) => {
            warn(&format!("no base to count: {why}"));
            Ok(None)
        }
    };
    let report = counts::compare(&present, committed.as_ref(), count_base, margin)?;
    shown.show(&report, &report.table())?;
    let names = |verdict| list(report.with(verdict).map(|row| &*row.case));
    let (more, fewer, elsewhere) =
        (names(Count::More), names(Count::Fewer), names(Count::Elsewhere));
    if !elsewhere.is_empty() {
        warn(&format!(
            "more instructions than committed, but the base takes as many on this machine: {elsewhere}"
        ));
    }
    if !fewer.is_empty() {
        warn(&format!("fewer instructions, run `gate counts --update` to keep it so: {fewer}"));
    }
    if report.is_incomplete() {
        eprintln!(
            "error: benches/counts.json has other cases: run `gate counts --update` and commit it"
        );
        return Ok(Outcome::Worse);
    }
    if !more.is_empty() {
        eprintln!(
            "error: more instructions: {more}\nIf the change is worth it, run `gate counts --update` and commit the new counts."
        );
        return Ok(Outcome::Worse);
    }
    Ok(Outcome::Passed)
}

fn pair(base: Option<&str>, plan: &Plan, shown: &Shown) -> Result<Outcome> {
    let workspace = Workspace::here()?;
    let (commit, earlier, source) = match workspace.base(base)? {
        Base::Built { commit, program, source } => (commit, program, source),
        Base::Missing(why) => return shown.skip("times", &why),
    };
    let present = workspace.present()?;
    let name = format!("commit {commit}");
    let layouts = || {
        eprintln!(
            "a change: both programs are linked in {LAYOUTS} other orders, to try it in each"
        );
        let (old, new) = (source.layouts(LAYOUTS)?, workspace.source().layouts(LAYOUTS)?);
        Ok(old.into_iter().zip(new).collect())
    };
    let report = pairs::compare(&name, &earlier, &present, plan, layouts)?;
    shown.show(&report, &report.table())?;
    let names = |verdict| list(report.with(verdict).map(|row| &*row.case));
    let (regressed, uncertain) = (names(Verdict::Regressed), names(Verdict::Uncertain));
    if !uncertain.is_empty() {
        warn(&format!("measured again and still uncertain: {uncertain}"));
    }
    if !regressed.is_empty() {
        eprintln!("error: slower than {name}: {regressed}");
        return Ok(Outcome::Worse);
    }
    Ok(Outcome::Passed)
}

/// JSON has names only: a slowed case's ends with "slowed".
fn by_name<S: serde::Serializer>(
    cases: &std::collections::BTreeMap<(bool, String), [u32; 5]>,
    serializer: S,
) -> Result<S::Ok, S::Error> {
    serializer.collect_map(cases.iter().map(|((planted, case), counts)| {
        let end = if *planted { ", slowed" } else { "" };
        (format!("{case}{end}"), counts)
    }))
}

/// How often each verdict fell, by case and by whether it was slowed.
#[derive(Default, serde::Serialize)]
struct Tally {
    runs: u32,
    /// Runs in which the gate would have blocked.
    blocked: u32,
    /// Whether it was slowed, its name; verdicts: improved, ok, uncertain, regressed; and how many were measured twice.
    #[serde(serialize_with = "by_name")]
    cases: std::collections::BTreeMap<(bool, String), [u32; 5]>,
    seconds: f64,
}

impl Tally {
    /// Counts a run; `slow` is the case that was slowed in it.
    fn add(&mut self, report: &Report, slow: Option<&String>) {
        self.runs += 1;
        self.seconds += report.seconds;
        self.blocked += u32::from(report.with(Verdict::Regressed).count() > 0);
        for row in &report.rows {
            let planted = slow == Some(&row.case);
            let counts = self.cases.entry((planted, row.case.clone())).or_default();
            counts[row.verdict as usize] += 1;
            counts[4] += u32::from(row.again);
        }
    }
}

/// Whether there is neither a false alarm nor a miss, in any case: each is a chance to be wrong.
fn is_right(report: &Report, slow: Option<&String>) -> bool {
    report.rows.iter().all(|row| match slow == Some(&row.case) {
        true => row.verdict == Verdict::Regressed,
        false => matches!(row.verdict, Verdict::Ok | Verdict::Uncertain),
    })
}

/// This tree's program, to be compared with itself.
struct Itself {
    present: PathBuf,
    /// A copy: two files, as in a comparison of two commits.
    twin: PathBuf,
    /// The program with its code in other places, as a change moves what it does not change; None where
    /// that cannot be had.
    moved: Option<Vec<PathBuf>>,
    /// The cases that are compared.
    cases: Vec<String>,
}

impl Itself {
    fn build(plan: &Plan) -> Result<Itself> {
        let workspace = Workspace::here()?;
        let present = workspace.present()?;
        // The paths have the same length.
        let twin = present.with_file_name(format!("oneself{}", std::env::consts::EXE_SUFFIX));
        fs::copy(&present, &twin)?;
        let moved = match workspace.source().layouts(LAYOUTS) {
            Ok(moved) => Some(moved),
            Err(why) => {
                warn(&format!("the code stays where it is: {why:#}"));
                None
            }
        };
        let wanted = |case: &String| plan.only.as_ref().is_none_or(|only| case.contains(only));
        let cases = programs::cases(&present)?.into_iter().filter(wanted).collect();
        Ok(Itself { present, twin, moved, cases })
    }

    /// The case that is slowed in a run: one after the other, as a change mostly slows one and the rest must
    /// stay silent.
    fn slowed(&self, kind: Kind, run: u32) -> Option<&String> {
        if kind != Kind::Slower {
            return None;
        }
        self.cases.get((run as usize - 1) % self.cases.len().max(1))
    }

    /// The unchanged is compared with itself with its code elsewhere; the slowed with its code where it was,
    /// so that nothing but the calls that were planted is slower.
    fn compare(&self, kind: Kind, run: u32, plan: &Plan) -> Result<Report> {
        let unchanged = kind == Kind::Same;
        let base = match &self.moved {
            Some(moved) if unchanged => &moved[run as usize % LAYOUTS],
            _ => &self.twin,
        };
        let layouts = || {
            let moved = self.moved.as_ref().context("the code stays where it is")?;
            let by = usize::from(unchanged);
            let other = (0..LAYOUTS).map(|i| moved[(i + by) % LAYOUTS].clone());
            Ok(moved.iter().cloned().zip(other).collect())
        };
        pairs::compare("itself", base, &self.present, plan, layouts)
    }
}

fn prove(runs: u32, kind: Kind, planted: f64, plan: &Plan, shown: &Shown) -> Result<Outcome> {
    let itself = Itself::build(plan)?;
    let mut tallies = Vec::new();
    let mut good = true;
    for (this, share) in [(Kind::Same, 0.0), (Kind::Slower, planted)] {
        if kind != Kind::Both && kind != this {
            continue;
        }
        let mut tally = Tally::default();
        for run in 1..=runs {
            let slow = itself.slowed(this, run);
            let plan = Plan { planted: slow.map(|case| (case.clone(), share)), ..plan.clone() };
            let report = itself.compare(this, run, &plan)?;
            tally.add(&report, slow);
            good &= is_right(&report, slow);
            eprintln!(
                "{run} of {runs}{}: {:.1} s",
                slow.map_or(String::new(), |case| format!(", {case} {:+.0} %", share * 100.0)),
                report.seconds
            );
        }
        tallies.push((share, tally));
    }
    let report: Vec<_> = tallies.iter().collect();
    shown.show(&report, &verdicts(&tallies))?;
    if good {
        Ok(Outcome::Passed)
    } else {
        eprintln!("error: a false alarm or a miss");
        Ok(Outcome::Worse)
    }
}

/// What the gate said, by the share by which a case was slowed.
fn verdicts(tallies: &[(f64, Tally)]) -> Table {
    let mut table = Table::new(
        "Verdicts of the gate on itself",
        &["planted", "case", "improved", "ok", "uncertain", "regressed", "measured twice"],
    );
    for (share, tally) in tallies {
        for ((planted, case), counts) in &tally.cases {
            // Beside a slowed case the others are as in the unchanged runs; what they say is counted.
            let share = if *planted { *share } else { 0.0 };
            let mut row = vec![format!("{:+.0} %", share * 100.0), case.clone()];
            row.extend(counts.iter().map(u32::to_string));
            table.row(row);
        }
        table.note += &format!(
            "{:+.0} %: blocked {} of {} runs, {:.1} s a run. ",
            share * 100.0,
            tally.blocked,
            tally.runs,
            tally.seconds / f64::from(tally.runs)
        );
    }
    table.note = table.note.trim_end().into();
    table
}

fn draw(dir: &Path, again: bool, criterion: Option<PathBuf>) -> Result<Outcome> {
    let record = if again {
        charts::load(&dir.join(charts::RECORD))?
    } else {
        let from = match criterion {
            Some(from) => from,
            None => Workspace::here()?.target().join("criterion"),
        };
        let record = charts::gather(&from)?;
        charts::save(&record, dir)?;
        record
    };
    for path in charts::publish(&record, dir)? {
        print(format!("{}\n", path.display()))?;
    }
    Ok(Outcome::Passed)
}
