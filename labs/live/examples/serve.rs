//! `labs serve` without the labs, to work on the page: it builds in seconds.

fn main() -> std::process::ExitCode {
    lab_kit::cli::main(&[], &[], &[lab_live::SERVE])
}
