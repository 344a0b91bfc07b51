//! lab12: the same as `labs run 12`.

fn main() -> std::process::ExitCode {
    lab_kit::cli::single(labs::numbered(12))
}
