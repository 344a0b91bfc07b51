//! lab08: the same as `labs run 8`.

fn main() -> std::process::ExitCode {
    lab_kit::cli::single(labs::numbered(8))
}
