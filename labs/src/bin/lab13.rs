//! lab13: the same as `labs run 13`.

fn main() -> std::process::ExitCode {
    lab_kit::cli::single(labs::numbered(13))
}
