//! `labs judge`.

use std::ffi::OsString;

use clap::{Arg, ArgMatches, Command};
use lab_kit::{
    cli::{self, Failed, print},
    findings::Table,
    lab::Experiment,
    report,
};

use crate::JUDGES;

/// The command.
pub fn command() -> Command {
    let rest = Arg::new("rest")
        .num_args(0..)
        .trailing_var_arg(true)
        .allow_hyphen_values(true)
        .value_parser(clap::value_parser!(OsString))
        .value_name("LAB");
    Command::new("judge")
        .about("Judges any program by the books of the service that it talks to")
        .long_about("Judges any program by the books of the service that it talks to.\n\nThe lab's service is started, the program is run against it, and what arrived, and when, is compared with what was asked for. What the program prints is not looked at. Without a lab: what there is to be judged.")
        .override_usage("labs judge [LAB] [OPTIONS] -- COMMAND...")
        .after_help("The command may contain {url} and what else the lab tells a program; its environment has the same as JUDGE_URL and so on. `labs judge 3 --help` says what a program has to do, and what it is told.\n\nA first one to start from: labs judge 3 -- python3 labs/judge/clients/first.py\n\nExit codes: 0 nothing found, 3 the books show a fault, 1 the program could not be judged, 2 usage.")
        .disable_help_flag(true)
        .arg(rest)
}

/// Runs it.
///
/// # Errors
/// As any run; [`Failed::Refuted`] when a fault was found.
pub fn run(flags: &ArgMatches) -> Result<(), Failed> {
    let words: Vec<OsString> =
        flags.get_many::<OsString>("rest").unwrap_or_default().cloned().collect();
    let Some((lab, options)) = words.split_first() else {
        return list();
    };
    let name = lab.to_string_lossy();
    if ["-h", "--help"].contains(&name.as_ref()) {
        print(format!("{}\n", self::command().render_long_help()))?;
        return list();
    }
    let judge = find(&name)?;
    let title = format!("labs judge {}", judge.card().number);
    cli::strictly(judge, &title, options.to_vec())
}

fn find(name: &str) -> Result<&'static dyn Experiment, Failed> {
    let digits = name.trim().trim_start_matches("lab").trim_start_matches("judge");
    let number: Option<u8> = digits.parse().ok();
    let found = JUDGES.iter().find(|judge| Some(judge.card().number) == number);
    let known = || JUDGES.iter().map(|j| j.card().number.to_string()).collect::<Vec<_>>();
    found.copied().ok_or_else(|| {
        let known = known().join(", ");
        Failed::Usage(format!("nothing is judged for \"{name}\"; the labs that judge are {known}"))
    })
}

fn list() -> Result<(), Failed> {
    let mut table = Table::new("Judges", &["lab", "title", "question"]);
    for judge in JUDGES {
        let card = judge.card();
        table.row([card.number.to_string(), card.title.into(), card.question.into()]);
    }
    let text = report::text_table(&table);
    let next = "\nNext: labs judge 4 --help says what a program has to do; labs judge 4 -- COMMAND judges it.\n";
    Ok(print(format!("{text}{next}"))?)
}
