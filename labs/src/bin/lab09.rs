//! lab09: the same as `labs run 9`.

fn main() -> std::process::ExitCode {
    lab_kit::cli::single(labs::numbered(9))
}
