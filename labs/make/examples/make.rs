//! `labs make` without the labs, for authors: a change of an exercise is built in seconds.

use lab_kit::cli::Failed;

fn main() -> std::process::ExitCode {
    let matches = lab_make::command::command().get_matches();
    match lab_make::command::run(&matches) {
        Ok(()) => std::process::ExitCode::SUCCESS,
        Err(Failed::Error(error)) => {
            eprintln!("error: {error:#}");
            std::process::ExitCode::FAILURE
        }
        Err(Failed::Usage(why)) => {
            eprintln!("{why}");
            std::process::ExitCode::from(2)
        }
        Err(_) => std::process::ExitCode::from(3),
    }
}
