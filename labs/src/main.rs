//! The umbrella command.

fn main() -> std::process::ExitCode {
    lab_kit::cli::main(labs::SYLLABUS, labs::crawl::COMMANDS)
}
