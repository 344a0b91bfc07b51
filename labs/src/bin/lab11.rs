//! lab11: the same as `labs run 11`.

fn main() -> std::process::ExitCode {
    lab_kit::cli::single(labs::numbered(11))
}
