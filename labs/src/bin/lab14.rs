//! lab14: the same as `labs run 14`.

fn main() -> std::process::ExitCode {
    lab_kit::cli::single(labs::numbered(14))
}
