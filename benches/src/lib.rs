//! Benchmarks of the instrument. This package has no code of its own.
//!
//! - `cargo bench -p benches`: what each part of the kit costs, in under a minute
//!   (`-- --test` runs each once, without timing).
//! - `cargo run --release -p benches --example generator_ceiling`: how many requests a second the
//!   load generator sends, as a ratio to `wrk` and `hey` against the same server in the same run.
//!
//! Times differ from machine to machine; ratios within one run are what to compare.
