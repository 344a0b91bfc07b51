//! lab15: the same as `labs run 15`.

fn main() -> std::process::ExitCode {
    lab_kit::cli::single(labs::numbered(15))
}
