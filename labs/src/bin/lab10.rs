//! lab10: the same as `labs run 10`.

fn main() -> std::process::ExitCode {
    lab_kit::cli::single(labs::numbered(10))
}
