//! The machine and its apparatus, as a record has them.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Facts about the machine and calibration of the apparatus.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Host {
    /// Operating system and architecture: "linux x86_64".
    pub system: String,
    /// Name of the processor, where the system tells.
    pub cpu: Option<String>,
    /// Processors this process may use.
    pub cores: usize,
    /// Installed memory in bytes, where the system tells.
    pub memory_bytes: Option<u64>,
    /// Limit on open files, where there is one.
    pub open_files: Option<u64>,
    /// "release" or "debug".
    pub build: String,
    /// Speed-up of a pure CPU kernel on 1, 2, … threads.
    pub effective_parallelism: Vec<f64>,
    /// How late a 1 ms sleep of the runtime ends: median, in milliseconds.
    pub timer_late_ms: f64,
    /// The same at its 99th percentile.
    pub timer_late_p99_ms: f64,
    /// Longest time a thread that only watches the clock was kept off the processor, in
    /// milliseconds: spin jitter.
    pub spin_jitter_ms: f64,
    /// Requests/s of the mock server when it has nothing to do but answer.
    pub upstream_ceiling_per_s: f64,
    /// Time a request spends beside its service when the machine is idle, in milliseconds.
    pub request_overhead_ms: f64,
}

impl Host {
    /// Speed-up that `threads` threads of pure computation get here: measured up to the number of
    /// cores, constant beyond.
    pub fn width(&self, threads: usize) -> f64 {
        let last = self.effective_parallelism.len();
        let at = threads.clamp(1, last.max(1)) - 1;
        self.effective_parallelism.get(at).copied().unwrap_or(1.0).max(1.0)
    }
}

/// A runtime with an event loop for each processor that this process may use. tokio's own default would listen to
/// an environment variable, and panic over a wrong one.
///
/// # Errors
/// When its threads cannot be had.
pub fn runtime() -> std::io::Result<tokio::runtime::Runtime> {
    tokio::runtime::Builder::new_multi_thread().worker_threads(cores()).enable_all().build()
}

/// Processors this process may use.
pub fn cores() -> usize {
    std::thread::available_parallelism().map_or(1, |n| n.get())
}
