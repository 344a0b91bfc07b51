//! lab18: the same as `labs run 18`.

fn main() -> std::process::ExitCode {
    lab_kit::cli::single(labs::numbered(18))
}
