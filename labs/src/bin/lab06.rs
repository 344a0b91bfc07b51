//! lab06: the same as `labs run 6`.

fn main() -> std::process::ExitCode {
    lab_kit::cli::single(labs::numbered(6))
}
