//! `labs judge` and what shows its records, without the rest of the suite: quick to build for who works on it.

use std::process::ExitCode;

use lab_judge::{JUDGES, command};
use lab_kit::cli::{self, Extra};

fn main() -> ExitCode {
    cli::main(&[], JUDGES, &[Extra { command: command::command, run: command::run }])
}
