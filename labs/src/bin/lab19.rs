//! lab19: the same as `labs run 19`.

fn main() -> std::process::ExitCode {
    lab_kit::cli::single(labs::numbered(19))
}
