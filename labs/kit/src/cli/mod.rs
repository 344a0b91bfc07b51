//! The command line: `labs …` and the numbered binaries. Only this module knows the terminal.

mod ask;
mod run;
mod show;
mod splice;

use std::{
    ffi::OsString,
    path::PathBuf,
    process::ExitCode,
    sync::atomic::{AtomicBool, Ordering::Relaxed},
};

use anyhow::{Result, anyhow};
use clap::{ArgMatches, Args, CommandFactory, FromArgMatches, Parser, Subcommand};

pub use show::{entries, whole};

pub use crate::terminal::{print, say};

use crate::{
    address::ServerUrl,
    clean,
    lab::{Card, Experiment},
    limits, os,
    record::Scale,
    runtimes::Languages,
    stop::EXIT_INTERRUPTED,
};

/// Where a reader's own runs go.
pub const LOCAL: &str = "results/local";

/// Percent of a run's time that may go into measuring on what is uncertain.
const MORE: u16 = 33;

/// Experiments on concurrency, measured on this machine and held against theory.
#[derive(Parser)]
#[command(
    name = "labs",
    version,
    after_help = "Exit codes: 0 done, 1 failure, 2 usage, 3 a claim refuted under --check, 130 interrupted."
)]
struct Cli {
    #[command(subcommand)]
    command: Option<Command>,
}

#[derive(Subcommand)]
enum Command {
    /// Lists the labs
    List {
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
    /// Runs one lab or several: `labs run 3`, `labs run 1 2 3 4`
    ///
    /// With one lab, its own flags may follow: `labs run 3 --slots 37`. `labs run 3 --help` lists them.
    #[command(
        disable_help_flag = true,
        override_usage = "labs run <LAB>... [OPTIONS] [LAB'S OWN OPTIONS]"
    )]
    Run {
        /// Numbers or names of labs, then options
        #[arg(
            trailing_var_arg = true,
            allow_hyphen_values = true,
            required = true,
            value_name = "LAB"
        )]
        rest: Vec<OsString>,
    },
    /// Runs every lab, then draws the charts and writes the report
    All {
        #[command(flatten)]
        common: Common,
    },
    /// Draws the charts again, from records alone
    Charts {
        /// Folder of results
        #[arg(default_value = LOCAL)]
        dir: PathBuf,
    },
    /// Writes the report (and the charts it shows) again, from records alone
    Report {
        /// Folder of results
        #[arg(default_value = LOCAL)]
        dir: PathBuf,
    },
    /// Shows what theory said, what was measured, and the verdicts
    Verdicts {
        /// Folder of results
        #[arg(default_value = LOCAL)]
        dir: PathBuf,
        /// Print JSON
        #[arg(long)]
        json: bool,
        /// Exit with 3 if a claim is refuted
        #[arg(long)]
        check: bool,
    },
    /// Alters records and shows that every claim can be lost
    ///
    /// One quantity of one condition at a time is multiplied, and each claim that rests on it must lose its ✓.
    /// Ends with 1 if a claim survives everything.
    Prove {
        /// Folders of results
        #[arg(default_value = LOCAL)]
        dirs: Vec<PathBuf>,
        /// Print JSON: what refuted each claim
        #[arg(long)]
        json: bool,
        /// Alter nothing else, and print what no claim asks for
        #[arg(long)]
        unread: bool,
    },
    /// Measures whether this machine is fit to measure
    Doctor {
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
    /// Puts charts and tables of records into the marked places of a Markdown file
    Splice {
        /// The file with `<!-- labs:begin … -->` and `<!-- labs:end -->` lines
        file: PathBuf,
        /// Folder of results
        dir: PathBuf,
        /// Change nothing; exit with 1 if the file is not up to date
        #[arg(long)]
        check: bool,
    },
    /// Prints the JSON Schema of records
    Schema,
}

/// Options of every run.
#[derive(Args, Clone, Debug)]
pub(crate) struct Common {
    /// How large: smoke (a second, no timing), quick (seconds), full (up to 90 s a lab)
    #[arg(long, value_enum, default_value_t)]
    scale: Scale,
    /// Folder for records, charts and the report
    #[arg(long, value_name = "DIR", default_value = LOCAL)]
    out: PathBuf,
    /// Independent repetitions of each condition [default: by lab and scale]
    #[arg(long, value_name = "R", value_parser = clap::value_parser!(u16).range(1..=1000))]
    trials: Option<u16>,
    /// Measure on what is uncertain, for at most so many percent of the time that the run took; 0 leaves it
    /// open. What one lab of several does not use is there for the next. Not at smoke scale, nor with --trials
    #[arg(long, value_name = "PERCENT", default_value_t = MORE, value_parser = clap::value_parser!(u16).range(0..=1000))]
    more: u16,
    /// Flags by name, put before your own: `source` has the parameters of the material that these labs grew
    /// from, and sets what it printed beside what is measured. Of several labs, those that have it take it
    #[arg(long, value_name = "NAME")]
    preset: Option<String>,
    /// Seed of all randomness
    #[arg(long, value_name = "S", default_value_t = 1)]
    seed: u64,
    /// Predict the answer to a question of the lab, by its key; may be repeated. KEY@X is a point of a curve: goodput@500=900
    #[arg(long, value_name = "KEY=VALUE", value_parser = prediction)]
    predict: Vec<(String, f64)>,
    /// Do not ask for predictions
    #[arg(long)]
    no_predict: bool,
    /// Exit with 3 if a claim is refuted
    #[arg(long)]
    check: bool,
    /// Print the verdicts as JSON and nothing else
    #[arg(long)]
    json: bool,
    /// Run conditions one at a time, as full scale does
    #[arg(long)]
    one_at_a_time: bool,
    /// Run even if it takes longer than the scale allows: 20 s (smoke), 5 minutes (quick), 10 minutes (full)
    #[arg(long)]
    long: bool,
    /// Run the experiment in these languages as well, where the lab has such a version and their runtimes are there:
    /// python, node, go, java, with commas; or all
    #[arg(long, value_name = "LANGUAGES", value_parser = Languages::read)]
    with: Option<Languages>,
    /// Short for --with python
    #[arg(long)]
    python: bool,
    /// Send the load to a server that is already running, such as `mock_server`, instead of the
    /// built-in one
    #[arg(long, value_name = "URL")]
    target: Option<ServerUrl>,
    /// Allow a target that is not on this machine: only where you may put load on it
    #[arg(long)]
    allow_remote_target: bool,
}

fn prediction(text: &str) -> Result<(String, f64), String> {
    let parsed =
        text.split_once('=').and_then(|(k, v)| Some((k.trim(), v.trim().parse::<f64>().ok()?)));
    match parsed {
        Some((key, value)) if !key.is_empty() && value.is_finite() => Ok((key.into(), value)),
        _ => Err("expected KEY=NUMBER, such as goodput=800".into()),
    }
}

/// A command that the umbrella has beside those of the kit.
#[derive(Clone, Copy)]
pub struct Extra {
    /// Its name, its flags and its help.
    pub command: fn() -> clap::Command,
    /// Runs it with its flags.
    pub run: fn(&ArgMatches) -> Result<(), Failed>,
}

/// How a command ended, if not well.
pub enum Failed {
    /// Exit code 1.
    Error(anyhow::Error),
    /// Exit code 2.
    Usage(String),
    /// Exit code 3.
    Refuted,
    /// Exit code 130.
    Interrupted,
}

impl<E: Into<anyhow::Error>> From<E> for Failed {
    fn from(error: E) -> Failed {
        Failed::Error(error.into())
    }
}

type Outcome = Result<(), Failed>;

/// One experiment with its flags, as `labs run` does it, with `--check` whether it is given or not. `name` is the
/// command as it is typed.
///
/// # Errors
/// As any run.
pub fn strictly(
    lab: &'static dyn Experiment,
    name: &str,
    options: Vec<OsString>,
) -> Result<(), Failed> {
    run::one(lab, &[], name, options, true)
}

/// The umbrella command, with what else than labs makes records, and with commands of its own.
pub fn main(
    syllabus: &[&'static dyn Experiment],
    others: &[&'static dyn Experiment],
    extras: &[Extra],
) -> ExitCode {
    let of_records = &[syllabus, others].concat();
    if let Err(limit) = limits::for_a_program() {
        return exit(Err(limit.into()));
    }
    let known = extras.iter().map(|extra| (extra.command)());
    let command = Cli::command().subcommands(known);
    // A `run` with help asked before any lab shows the general options.
    let matches = match command.try_get_matches() {
        Ok(matches) => matches,
        Err(error) => return usage(&error),
    };
    let is_asked = |extra: &&Extra| matches.subcommand_name() == Some((extra.command)().get_name());
    if let (Some(extra), Some((_, flags))) = (extras.iter().find(is_asked), matches.subcommand()) {
        return exit((extra.run)(flags));
    }
    let cli = match Cli::from_arg_matches(&matches) {
        Ok(cli) => cli,
        Err(error) => return usage(&error),
    };
    exit(match cli.command {
        None => show::welcome(syllabus),
        Some(Command::List { json }) => show::list(syllabus, json),
        Some(Command::Run { rest }) => run::from_words(syllabus, &rest),
        Some(Command::All { common }) => run::all(syllabus, of_records, &common),
        Some(Command::Charts { dir }) => show::charts(of_records, &dir),
        Some(Command::Report { dir }) => show::report(of_records, &dir),
        Some(Command::Verdicts { dir, json, check }) => {
            show::verdicts(of_records, &dir, json, check)
        }
        Some(Command::Prove { dirs, json, unread }) => show::prove(of_records, &dirs, json, unread),
        Some(Command::Doctor { json }) => show::doctor(json),
        Some(Command::Splice { file, dir, check }) => splice::run(of_records, &file, &dir, check),
        Some(Command::Schema) => pretty(&crate::store::schema()),
    })
}

/// A numbered binary: the same as `labs run N`.
pub fn single(lab: &'static dyn Experiment) -> ExitCode {
    let id = lab.card().id();
    NUMBERED.store(true, Relaxed);
    if let Err(limit) = limits::for_a_program() {
        return exit(Err(limit.into()));
    }
    exit(run::one(lab, &[], &id, std::env::args_os().skip(1).collect(), false))
}

/// The whole of a numbered binary: `lab_kit::binary!(lab03::ConcurrencyTrap);`
#[macro_export]
macro_rules! binary {
    ($lab:ty) => {
        $crate::counting_heap!();

        fn main() -> ::std::process::ExitCode {
            $crate::cli::single(const { $crate::lab::entry::<$lab>() })
        }
    };
}

/// Set in a numbered binary, whatever its file is called.
static NUMBERED: AtomicBool = AtomicBool::new(false);

/// This program again, for a process of a lab's own: the lab's flags follow. Works from the umbrella
/// command and from the numbered binary.
///
/// # Errors
/// When the system does not tell where the program is.
pub fn again(card: &Card) -> std::io::Result<std::process::Command> {
    let program = std::env::current_exe()?;
    let mut command = std::process::Command::new(program);
    if !NUMBERED.load(Relaxed) {
        command.args(["run", &card.number.to_string()]);
    }
    os::by_itself(&mut command);
    Ok(command)
}

/// A child process that does not outlive an error of its parent's: it is killed when this is dropped.
pub struct Ended(pub std::process::Child);

impl Drop for Ended {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn usage(error: &clap::Error) -> ExitCode {
    // Help and version are no errors and go to stdout.
    let _ = error.print();
    ExitCode::from(error.exit_code() as u8)
}

fn exit(outcome: Outcome) -> ExitCode {
    ExitCode::from(match outcome {
        Ok(()) => 0,
        Err(Failed::Error(error)) => {
            say(format!("error: {error:#}"));
            if let Some(hint) = limits::hint(&error) {
                say(hint);
            }
            1
        }
        Err(Failed::Usage(text)) => {
            say(format!("error: {text}\n\nFor more information, try '--help'."));
            2
        }
        Err(Failed::Refuted) => 3,
        Err(Failed::Interrupted) => EXIT_INTERRUPTED as u8,
    })
}

/// Writes JSON to stdout.
///
/// # Errors
/// As [`print()`].
pub fn pretty(value: &impl serde::Serialize) -> Result<(), Failed> {
    Ok(print(clean::json(&serde_json::to_string_pretty(value)?) + "\n")?)
}

fn find(syllabus: &[&'static dyn Experiment], name: &str) -> Result<&'static dyn Experiment> {
    let wanted = name.trim().to_lowercase();
    let digits = wanted.strip_prefix("lab").unwrap_or(&wanted);
    let number = digits.parse::<u8>().ok();
    let matches = |lab: &&&'static dyn Experiment| {
        let card = lab.card();
        number == Some(card.number)
            || card.name == wanted
            || format!("{}_{}", card.id(), card.name) == wanted
    };
    let known =
        || syllabus.iter().map(|l| l.card().number.to_string()).collect::<Vec<_>>().join(", ");
    syllabus
        .iter()
        .find(matches)
        .copied()
        .ok_or_else(|| anyhow!("there is no lab \"{name}\"; there are {}", known()))
}
