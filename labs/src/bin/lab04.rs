//! lab04: the same as `labs run 4`.

fn main() -> std::process::ExitCode {
    lab_kit::cli::single(labs::numbered(4))
}
