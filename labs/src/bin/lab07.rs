//! lab07: the same as `labs run 7`.

fn main() -> std::process::ExitCode {
    lab_kit::cli::single(labs::numbered(7))
}
