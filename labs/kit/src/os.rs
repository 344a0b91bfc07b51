//! What only the operating system knows. The one place with platform differences; where a fact is
//! not to be had, it is `None` and the report says so.

/// Name of the processor.
pub fn cpu_model() -> Option<String> {
    let text = std::fs::read_to_string("/proc/cpuinfo").ok()?;
    let line = text.lines().find(|l| l.starts_with("model name"))?;
    Some(line.split(':').nth(1)?.trim().to_string())
}

/// Installed memory in bytes.
pub fn memory_bytes() -> Option<u64> {
    kilobytes("/proc/meminfo", "MemTotal:")
}

/// Resident memory of this process in bytes.
pub fn resident_bytes() -> Option<u64> {
    kilobytes("/proc/self/status", "VmRSS:")
}

fn kilobytes(path: &str, key: &str) -> Option<u64> {
    let text = std::fs::read_to_string(path).ok()?;
    let line = text.lines().find(|l| l.starts_with(key))?;
    line.split_whitespace()
        .nth(1)?
        .parse::<u64>()
        .ok()
        .map(|kb| kb * 1024)
}

/// Processor seconds (user and system, all threads) that this process has used, and those of its
/// children that have ended.
pub fn cpu_seconds() -> Option<f64> {
    // Fields 14 to 17 of proc_pid_stat(5), counted after the name, which may hold blanks; in
    // ticks, of which Linux has 100 a second on every architecture it shows to programs.
    let text = std::fs::read_to_string("/proc/self/stat").ok()?;
    let fields: Vec<&str> = text.rsplit_once(')')?.1.split_whitespace().collect();
    let ticks = fields.get(11..15)?.iter().map(|f| f.parse::<f64>().ok());
    Some(ticks.sum::<Option<f64>>()? / 100.0)
}

/// Processor seconds that the whole machine has been busy since it started, over all processors,
/// with those that a hypervisor gave to others.
pub fn busy_seconds() -> Option<f64> {
    // The first line of proc_stat(5): user nice system idle iowait irq softirq steal, in ticks.
    let text = std::fs::read_to_string("/proc/stat").ok()?;
    let line = text.lines().next()?.strip_prefix("cpu ")?;
    let ticks: Vec<f64> = line
        .split_whitespace()
        .filter_map(|t| t.parse().ok())
        .collect();
    let busy = [0, 1, 2, 5, 6, 7]
        .iter()
        .map(|i| ticks.get(*i).copied().unwrap_or(0.0));
    Some(busy.sum::<f64>() / 100.0)
}

/// Number of threads of this process now.
pub fn threads() -> Option<usize> {
    Some(std::fs::read_dir("/proc/self/task").ok()?.count())
}

/// Context switches of the calling thread since it started: (voluntary, involuntary). A voluntary
/// one gives the processor up to wait for something; an involuntary one has it taken away.
pub fn context_switches() -> Option<(u64, u64)> {
    let text = std::fs::read_to_string("/proc/thread-self/status").ok()?;
    let count = |key: &str| {
        let line = text.lines().find_map(|l| l.strip_prefix(key))?;
        line.trim().parse().ok()
    };
    Some((
        count("voluntary_ctxt_switches:")?,
        count("nonvoluntary_ctxt_switches:")?,
    ))
}

/// Number of files this process has open now.
pub fn open_files() -> Option<usize> {
    Some(std::fs::read_dir("/proc/self/fd").ok()?.count())
}

/// Raises the limit on open files to what the system allows and returns it; `None` where there is
/// no such limit.
pub fn raise_open_file_limit() -> Option<u64> {
    rlimit::increase_nofile_limit(u64::MAX).ok()
}

/// Memory in bytes that programs may still take before the system must take it from others.
pub fn available_bytes() -> Option<u64> {
    kilobytes("/proc/meminfo", "MemAvailable:")
}

/// What this process, with all its threads, has used since it started.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Usage {
    /// Processor seconds, its own and the system's on its behalf, to the microsecond.
    pub cpu_s: f64,
    /// Page faults that needed no disk: pages that were touched for the first time.
    pub page_faults: u64,
}

/// What this process has used, by getrusage(2).
#[cfg(unix)]
pub fn usage() -> Option<Usage> {
    use nix::sys::{
        resource::{UsageWho, getrusage},
        time::TimeValLike,
    };
    let used = getrusage(UsageWho::RUSAGE_SELF).ok()?;
    let micros = used.user_time().num_microseconds() + used.system_time().num_microseconds();
    Some(Usage {
        cpu_s: micros as f64 / 1e6,
        page_faults: u64::try_from(used.minor_page_faults()).ok()?,
    })
}

/// What this process has used: not known here.
#[cfg(not(unix))]
pub fn usage() -> Option<Usage> {
    None
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    #[test]
    fn use_grows_with_work_and_with_pages_touched() {
        let before = super::usage().unwrap();
        let pages = std::hint::black_box(vec![1u8; 32 << 20]);
        std::hint::black_box(&pages);
        let after = super::usage().unwrap();
        assert!(after.cpu_s > before.cpu_s && after.page_faults > before.page_faults);
        assert!(super::available_bytes() < super::memory_bytes());
    }

    #[test]
    fn linux_knows_everything() {
        assert!(super::busy_seconds() >= super::cpu_seconds() && super::cpu_seconds().is_some());
        assert!(super::memory_bytes() > super::resident_bytes());
        let before = super::context_switches().unwrap();
        std::thread::sleep(std::time::Duration::from_millis(2));
        assert!(super::context_switches().unwrap().0 > before.0);
        assert!(super::threads() >= Some(1) && super::open_files() >= Some(3));
    }
}
