//! lab17: the same as `labs run 17`.

fn main() -> std::process::ExitCode {
    lab_kit::cli::single(labs::numbered(17))
}
