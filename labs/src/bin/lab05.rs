//! lab05: the same as `labs run 5`.

fn main() -> std::process::ExitCode {
    lab_kit::cli::single(labs::numbered(5))
}
