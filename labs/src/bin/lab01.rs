//! lab01: the same as `labs run 1`.

fn main() -> std::process::ExitCode {
    lab_kit::cli::single(labs::numbered(1))
}
