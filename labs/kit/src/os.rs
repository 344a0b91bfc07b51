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
    line.split_whitespace().nth(1)?.parse::<u64>().ok().map(|kb| kb * 1024)
}

/// The signals that this process ignores, a bit each, as whoever started it has said: `nohup` and shells do so.
/// None where the system does not tell.
pub fn ignored_signals() -> u64 {
    let text = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let mask = text.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    mask.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok()).unwrap_or(0)
}

/// Processor seconds (user and system, all threads) that this process has used, and those of its
/// children that have ended.
pub fn cpu_seconds() -> Option<f64> {
    seconds_in(&std::fs::read_to_string("/proc/self/stat").ok()?, 14..=17)
}

/// The same of another process, without its children.
pub fn cpu_seconds_of(process: u32) -> Option<f64> {
    let path = format!("/proc/{process}/stat");
    seconds_in(&std::fs::read_to_string(path).ok()?, 14..=15)
}

/// The sum of fields of proc_pid_stat(5), counted after the name, which may hold blanks; in ticks, of
/// which Linux has 100 a second on every architecture it shows to programs.
fn seconds_in(stat: &str, fields: std::ops::RangeInclusive<usize>) -> Option<f64> {
    // The one after the name is the third.
    let after: Vec<&str> = stat.rsplit_once(')')?.1.split_whitespace().collect();
    let wanted = after.get(fields.start() - 3..=fields.end() - 3)?;
    let ticks = wanted.iter().map(|f| f.parse::<f64>().ok());
    Some(ticks.sum::<Option<f64>>()? / 100.0)
}

/// Processor seconds that the processors which this process may use have been busy since the machine started,
/// with those that a hypervisor gave to others.
pub fn busy_seconds() -> Option<f64> {
    // Threads that take a seat later see fewer.
    static OURS: std::sync::OnceLock<Vec<usize>> = std::sync::OnceLock::new();
    let ours = OURS.get_or_init(crate::seats::seats);
    busy_in(&std::fs::read_to_string("/proc/stat").ok()?, ours)
}

/// The same from the text of proc_stat(5): "cpu3" and then user nice system idle iowait irq softirq steal, in
/// ticks.
fn busy_in(text: &str, processors: &[usize]) -> Option<f64> {
    let mut busy = None;
    for line in text.lines() {
        let mut words = line.split_whitespace();
        let number = words.next().and_then(|name| name.strip_prefix("cpu"));
        let Some(number) = number.and_then(|n| n.parse().ok()) else {
            continue;
        };
        if processors.contains(&number) {
            let ticks: Vec<f64> = words.filter_map(|t| t.parse().ok()).collect();
            let counted = [0, 1, 2, 5, 6, 7].iter().filter_map(|i| ticks.get(*i));
            busy = Some(busy.unwrap_or(0.0) + counted.sum::<f64>() / 100.0);
        }
    }
    busy
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
    Some((count("voluntary_ctxt_switches:")?, count("nonvoluntary_ctxt_switches:")?))
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

/// Resident memory of this process in bytes, counted page by page.
///
/// What [`resident_bytes`] reads is kept by the kernel thread by thread and summed up later; of
/// thousands of threads that touch a few pages each and then sleep, it may miss most.
pub fn resident_exactly() -> Option<u64> {
    kilobytes("/proc/self/smaps_rollup", "Rss:")
        .or_else(resident_bytes)
        .or_else(|| asked_of_ps("rss="))
}

/// Address space of this process in bytes.
pub fn virtual_bytes() -> Option<u64> {
    kilobytes("/proc/self/status", "VmSize:").or_else(|| asked_of_ps("vsz="))
}

/// A figure in KB that every Unix tells of its processes.
fn asked_of_ps(column: &str) -> Option<u64> {
    if !cfg!(unix) {
        return None;
    }
    let process = std::process::id().to_string();
    let ps = std::process::Command::new("ps").args(["-o", column, "-p", &process]).output();
    let text = String::from_utf8(ps.ok()?.stdout).ok()?;
    text.trim().parse::<u64>().ok().map(|kb| kb * 1024)
}

/// Page tables of this process in bytes.
pub fn page_table_bytes() -> Option<u64> {
    kilobytes("/proc/self/status", "VmPTE:")
}

/// Stacks that the kernel keeps for the threads of all processes, in bytes.
pub fn kernel_stack_bytes() -> Option<u64> {
    kilobytes("/proc/meminfo", "KernelStack:")
}

/// Small objects of the kernel (threads, sockets, files, mappings …), of all processes, in bytes.
pub fn slab_bytes() -> Option<u64> {
    kilobytes("/proc/meminfo", "Slab:")
}

/// Memory in bytes that programs may still take before the system must take it from others.
pub fn available_bytes() -> Option<u64> {
    kilobytes("/proc/meminfo", "MemAvailable:")
}

/// Bytes that may still be written to files of this folder.
pub fn free_bytes(folder: &std::path::Path) -> Option<u64> {
    #[cfg(unix)]
    {
        let free = nix::sys::statvfs::statvfs(folder).ok()?;
        // Their types differ between systems.
        #[allow(clippy::useless_conversion)]
        let (blocks, each) = (u64::from(free.blocks_available()), u64::from(free.fragment_size()));
        Some(blocks.saturating_mul(each))
    }
    #[cfg(not(unix))]
    {
        let _ = folder;
        None
    }
}

/// Whether the kernel gives programs huge pages without being asked: "always", "madvise", "never".
pub fn huge_pages() -> Option<String> {
    let text = std::fs::read_to_string("/sys/kernel/mm/transparent_hugepage/enabled").ok()?;
    let chosen = text.split_once('[')?.1.split_once(']')?.0;
    Some(chosen.to_string())
}

/// Threads of all processes.
pub fn threads_of_all() -> Option<u64> {
    // "0.20 0.18 0.12 1/80 11206" of proc_loadavg(5): 80 are there.
    let text = std::fs::read_to_string("/proc/loadavg").ok()?;
    text.split_whitespace().nth(3)?.split_once('/')?.1.parse().ok()
}

/// A number that the kernel shows in a file: "kernel/pid_max".
pub fn sysctl(name: &str) -> Option<u64> {
    let text = std::fs::read_to_string(std::path::Path::new("/proc/sys").join(name)).ok()?;
    text.trim().parse().ok()
}

/// First and last port that a connection may go out from.
pub fn outgoing_ports() -> Option<(u64, u64)> {
    let text = std::fs::read_to_string("/proc/sys/net/ipv4/ip_local_port_range").ok()?;
    let mut ends = text.split_whitespace().map(|t| t.parse().ok());
    Some((ends.next()??, ends.next()??))
}

/// How many files this process may open.
pub fn open_file_limit() -> Option<u64> {
    #[cfg(unix)]
    return rlimit::Resource::NOFILE.get_soft().ok();
    #[cfg(not(unix))]
    None
}

/// How many threads the processes of this user may have.
pub fn user_thread_limit() -> Option<u64> {
    #[cfg(unix)]
    return rlimit::Resource::NPROC.get_soft().ok();
    #[cfg(not(unix))]
    None
}

/// Threads of all processes of this user.
pub fn threads_of_user() -> Option<u64> {
    use std::fs::{metadata, read_dir, read_to_string};
    #[cfg(unix)]
    let owner = |path: &std::path::Path| {
        use std::os::unix::fs::MetadataExt;
        Some(metadata(path).ok()?.uid())
    };
    #[cfg(not(unix))]
    let owner = |path: &std::path::Path| metadata(path).ok().map(|_| 0);
    let user = owner("/proc/self".as_ref())?;
    let threads = |path: std::path::PathBuf| {
        let number = path.file_name()?.to_str()?;
        let process = number.bytes().all(|b| b.is_ascii_digit()) && owner(&path)? == user;
        let text = process.then(|| read_to_string(path.join("status")).ok())??;
        let count = text.lines().find_map(|line| line.strip_prefix("Threads:"))?;
        count.trim().parse::<u64>().ok()
    };
    let processes = read_dir("/proc").ok()?.flatten();
    Some(processes.filter_map(|entry| threads(entry.path())).sum())
}

/// Bytes that the stack of the first thread may take.
pub fn stack_limit() -> Option<u64> {
    #[cfg(unix)]
    return rlimit::Resource::STACK.get_soft().ok();
    #[cfg(not(unix))]
    None
}

/// Bytes of address space that this process may have.
pub fn address_limit() -> Option<u64> {
    #[cfg(any(target_os = "linux", target_os = "freebsd"))]
    return rlimit::Resource::AS.get_soft().ok();
    #[cfg(not(any(target_os = "linux", target_os = "freebsd")))]
    None
}

/// Bytes that a file of this process may have.
pub fn file_size_limit() -> Option<u64> {
    #[cfg(unix)]
    return rlimit::Resource::FSIZE.get_soft().ok();
    #[cfg(not(unix))]
    None
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
    used_by(nix::sys::resource::UsageWho::RUSAGE_SELF)
}

/// What the children of this process have used that have ended and been waited for.
#[cfg(unix)]
pub fn children_usage() -> Option<Usage> {
    used_by(nix::sys::resource::UsageWho::RUSAGE_CHILDREN)
}

#[cfg(unix)]
fn used_by(whom: nix::sys::resource::UsageWho) -> Option<Usage> {
    use nix::sys::{resource::getrusage, time::TimeValLike};
    let used = getrusage(whom).ok()?;
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

/// What its children have used: not known here.
#[cfg(not(unix))]
pub fn children_usage() -> Option<Usage> {
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
    fn processor_time_is_found_behind_any_name() {
        let stat = "7 (a b) c) S 1 1 1 0 -1 4194304 100 0 0 0 150 50 9 9 20 0 1 0 1 1 1";
        assert_eq!(super::seconds_in(stat, 14..=15), Some(2.0));
        assert_eq!(super::seconds_in(stat, 14..=17), Some(2.18));
        assert_eq!(super::seconds_in("7 (a", 14..=15), None);
        assert_eq!(super::seconds_in("7 (a) S 1", 14..=15), None);
    }

    #[test]
    fn others_are_those_on_the_same_processors() {
        let stat = "cpu  9 9 9 9 9 9 9 9 9 9\ncpu0 100 0 50 7 7 0 0 50 0 0\ncpu1 1 1 1 1 1 1 1 1\ncpu10 300\nintr 5";
        assert_eq!(super::busy_in(stat, &[0]), Some(2.0));
        assert_eq!(super::busy_in(stat, &[0, 10]), Some(5.0));
        assert_eq!(super::busy_in(stat, &[]), None);
        assert_eq!(super::busy_in("", &[0]), None);
    }

    #[test]
    fn linux_knows_everything() {
        assert!(super::busy_seconds() >= super::cpu_seconds() && super::cpu_seconds().is_some());
        assert!(super::memory_bytes() > super::resident_bytes());
        let before = super::context_switches().unwrap();
        std::thread::sleep(std::time::Duration::from_millis(2));
        assert!(super::context_switches().unwrap().0 > before.0);
        assert!(super::threads() >= Some(1) && super::open_files() >= Some(3));
        assert!(super::virtual_bytes() >= super::resident_exactly());
        assert!(super::threads_of_all() >= super::threads().map(|n| n as u64));
        assert!(super::sysctl("kernel/pid_max").is_some() && super::sysctl("no/such").is_none());
        let parts = [super::page_table_bytes(), super::kernel_stack_bytes()];
        let parts = parts.into_iter().chain([super::slab_bytes(), super::available_bytes()]);
        assert!(parts.flatten().filter(|b| *b > 0).count() == 4);
        assert!(super::outgoing_ports().is_some_and(|(first, last)| first < last));
        assert!(super::free_bytes(&std::env::temp_dir()).is_some());
        assert_eq!(super::free_bytes(std::path::Path::new("/no/such")), None);
    }
}

/// Lets a child be ended by its parent alone: Ctrl-C on a terminal goes to the whole group of processes, and a
/// child that dies of it would take the trials of its parent with it.
pub fn by_itself(command: &mut std::process::Command) {
    #[cfg(unix)]
    std::os::unix::process::CommandExt::process_group(command, 0);
    #[cfg(not(unix))]
    let _ = command;
}
