//! lab16: the same as `labs run 16`.

fn main() -> std::process::ExitCode {
    lab_kit::cli::single(labs::numbered(16))
}
