//! lab03: the same as `labs run 3`.

fn main() -> std::process::ExitCode {
    lab_kit::cli::single(labs::numbered(3))
}
