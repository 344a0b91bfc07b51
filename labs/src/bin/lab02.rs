//! lab02: the same as `labs run 2`.

fn main() -> std::process::ExitCode {
    lab_kit::cli::single(labs::numbered(2))
}
