//! How many threads, connections and bytes this machine still has to give, and which limit says so.
//!
//! An experiment that asks how much fits must not find out by taking it. It asks here first, stays
//! below, and says which limit stopped it. What belongs to one process (descriptors, mappings) may
//! be used up but for a few; of what all processes share (threads, process numbers, memory) three
//! quarters of the rest are the most that is taken. Where the system does not tell, there is no
//! limit here, and the system's refusal is the limit.

use std::{fs::read_to_string, path::Path};

use anyhow::{Result, ensure};

use crate::os;

/// Files that any run opens: the mock server's and the clients' ends of the calibration, and some.
const FEW_FILES: u64 = 256;
/// Threads that any run starts, beside some for each processor.
const FEW_THREADS: usize = 8;
/// Address space that any run takes, and that each processor adds: threads and their heaps reserve far more than
/// they use, and what does not get it ends the process.
const FEW_ADDRESSES: u64 = 4 << 30;
const ADDRESSES_EACH: u64 = 1 << 29;
/// Bytes of the largest file that any run writes.
const FEW_FILE_BYTES: u64 = 64 << 20;
/// Stack that the first thread needs for the command line alone.
const FEW_STACK_BYTES: u64 = 1 << 20;

/// Looks at what the command line itself needs, before anything else.
///
/// # Errors
/// The limit that is too low, and what to type.
pub fn for_a_program() -> Result<()> {
    enough("the stack", 's', os::stack_limit(), FEW_STACK_BYTES, "8192")
}

/// Looks at what every run of a lab needs, before anything is started: a limit is known before it is met, and is
/// then named, not guessed at from a failure.
///
/// # Errors
/// The limit that is too low, and what to type.
pub fn for_a_run() -> Result<()> {
    let (files, addresses) = (os::open_file_limit(), os::address_limit());
    let least = FEW_ADDRESSES + ADDRESSES_EACH * crate::host::cores() as u64;
    enough("open files", 'n', files, FEW_FILES, "4096")?;
    enough("address space", 'v', addresses, least, "unlimited")?;
    let size = os::file_size_limit();
    enough("the size of files", 'f', size, FEW_FILE_BYTES, "unlimited")?;
    let threads = FEW_THREADS + 2 * crate::host::cores();
    let limit = os::user_thread_limit().map_or(String::new(), |n| format!(" of {n}"));
    ensure!(
        mock_server::threads_start(threads).is_ok(),
        "the limit on processes{limit} leaves no room for {threads} more threads: `ulimit -u {}` raises it for this shell, as far as `ulimit -Hu` allows",
        os::threads_of_user().unwrap_or(0) + 1000
    );
    Ok(())
}

/// What to type against an error of the system that is about a limit, where the sentence itself does not say.
pub fn hint(error: &anyhow::Error) -> Option<String> {
    let codes = error.chain().filter_map(|why| {
        let code = why.downcast_ref::<std::io::Error>()?.raw_os_error();
        code.or_else(|| code_in(&why.to_string()))
    });
    let code = codes.last().or_else(|| code_in(&format!("{error:#}")))?;
    let files = os::open_file_limit().map_or(String::new(), |n| format!(" of {n}"));
    // By their numbers on Linux; others differ for the first.
    match code {
        11 | 35 | 12 => Some(
            "a limit on threads or memory was met: `ulimit -u` and `ulimit -v` show those of this shell; fewer threads in the flags need less"
                .into(),
        ),
        23 | 24 => Some(format!(
            "the limit on open files{files} was met: `ulimit -n 16384` raises it for this shell, as far as `ulimit -Hn` allows; smaller levels need fewer"
        )),
        28 => Some("the disk is full: free some room, or choose another folder with --out or TMPDIR".into()),
        _ => None,
    }
}

/// The code in "Too many open files (os error 24)", which libraries often leave of an error.
fn code_in(text: &str) -> Option<i32> {
    let (_, rest) = text.rsplit_once("(os error ")?;
    rest.split_once(')')?.0.parse().ok()
}

/// Whether a limit leaves enough: of files a number, of all else bytes. `flag` is that of the shell's `ulimit`,
/// and `raised` what to raise it to.
fn enough(what: &str, flag: char, limit: Option<u64>, least: u64, raised: &str) -> Result<()> {
    let limit = limit.unwrap_or(u64::MAX);
    let shown = |n: u64| match flag {
        'n' => n.to_string(),
        _ => format!("{} KB", n >> 10),
    };
    ensure!(
        limit >= least,
        "the limit on {what} is {}, and a run needs {}: `ulimit -{flag} {raised}` raises it for this shell, as far as `ulimit -H{flag}` allows",
        shown(limit),
        shown(least)
    );
    Ok(())
}

/// Descriptors that are not connections: standard streams, the runtime's, pipes.
const SPARE_FILES: u64 = 64;

/// A limit and how far it is away.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Limit {
    /// What it is, as a sentence without its end: "kernel.pid_max is 32768, 110 are taken".
    pub what: String,
    /// How many more of what is asked for may be taken.
    pub left: u64,
}

impl Limit {
    /// One of a process's own.
    fn own(name: &str, most: u64, each: u64, unit: &str) -> Limit {
        let each = each.max(1);
        let takes = if each > 1 { format!(", and one takes {each}") } else { String::new() };
        Limit { what: format!("{name} is {most}{unit}{takes}"), left: most / each }
    }

    /// One that all processes share.
    fn shared(name: &str, most: u64, taken: u64) -> Limit {
        Limit {
            what: format!(
                "{name} is {most}, {taken} are taken, and the lab leaves a quarter of the rest"
            ),
            left: most.saturating_sub(taken) / 4 * 3,
        }
    }
}

/// What limits the number of threads of this process, each of which takes so many mappings of
/// memory.
pub fn for_threads(mappings: u64) -> Vec<Limit> {
    let mut limits = Vec::new();
    let taken = os::threads_of_all().unwrap_or(0);
    for (name, most) in [
        ("kernel.threads-max", os::sysctl("kernel/threads-max")),
        ("kernel.pid_max", os::sysctl("kernel/pid_max")),
    ] {
        limits.extend(most.map(|most| Limit::shared(name, most, taken)));
    }
    // The threads of others do not count against this one.
    let own = os::threads_of_user().unwrap_or(taken);
    let most = os::user_thread_limit();
    limits.extend(most.map(|most| Limit::shared("the user's limit (ulimit -u)", most, own)));
    if let Some((taken, most)) = group("pids") {
        limits.push(Limit::shared("pids.max of the control group", most, taken));
    }
    // A thread whose mappings cannot be made does not fail, it takes the process with it.
    let most = os::sysctl("vm/max_map_count").map(|most| most / 10 * 9);
    limits.extend(most.map(|most| {
        Limit::own("nine tenths of vm.max_map_count", most, mappings, " mappings of memory")
    }));
    limits
}

/// What limits the number of connections between this process and one other, with so many listeners.
pub fn for_connections(listeners: u64) -> Vec<Limit> {
    let mut limits = Vec::new();
    let files = os::open_file_limit().map(|most| most.saturating_sub(SPARE_FILES));
    limits.extend(files.map(|most| {
        Limit::own("the limit on open files (ulimit -n), but for a few,", most, 1, "")
    }));
    let ports = os::outgoing_ports().map(|(first, last)| last.saturating_sub(first) / 4 * 3);
    limits.extend(ports.map(|most| Limit {
        what: format!("three quarters of the ports to go out from are {most} for a listener"),
        left: most * listeners,
    }));
    limits
}

/// Bytes of memory that may be taken.
pub fn for_memory() -> Option<Limit> {
    let mut limits = Vec::new();
    limits.extend(os::available_bytes().map(|left| Limit {
        what: "the memory available to programs, of which the lab leaves a quarter".into(),
        left: left / 4 * 3,
    }));
    limits.extend(group("memory").map(|(taken, most)| Limit {
        what: "the memory limit of the control group, of which the lab leaves a quarter".into(),
        left: most.saturating_sub(taken) / 4 * 3,
    }));
    least(limits)
}

/// The limit that is met first.
pub fn least(limits: Vec<Limit>) -> Option<Limit> {
    limits.into_iter().min_by_key(|limit| limit.left)
}

/// What the control groups of this process allow of something ("pids", "memory"): how much the
/// tightest of them has taken and how much it may have at most.
fn group(controller: &str) -> Option<(u64, u64)> {
    let groups = read_to_string("/proc/self/cgroup").ok()?;
    tightest(Path::new("/sys/fs/cgroup"), &groups, controller)
}

/// The same, from the text of /proc/self/cgroup, with the hierarchy mounted at `root`.
fn tightest(root: &Path, groups: &str, controller: &str) -> Option<(u64, u64)> {
    // "8:pids:/path" of version 1, where each controller has a tree, "0::/path" of version 2.
    let found = groups.lines().filter_map(|line| {
        let mut parts = line.splitn(3, ':').skip(1);
        let (named, path) = (parts.next()?, parts.next()?);
        let base = match named {
            "" => root.to_path_buf(),
            named if named.split(',').any(|n| n == controller) => root.join(named),
            _ => return None,
        };
        Some((base, path.trim_start_matches('/')))
    });
    let mut tightest: Option<(u64, u64)> = None;
    for (base, path) in found {
        // A limit holds for all groups below; inside a container the upper ones may be hidden.
        for folder in base.join(path).ancestors() {
            if !folder.starts_with(&base) {
                break;
            }
            let Some((taken, most)) = of(folder, controller) else {
                continue;
            };
            if tightest.is_none_or(|(t, m)| most.saturating_sub(taken) < m.saturating_sub(t)) {
                tightest = Some((taken, most));
            }
        }
    }
    tightest
}

/// What one group has taken and may have at most; `None` when it may have everything.
fn of(folder: &Path, controller: &str) -> Option<(u64, u64)> {
    let text = |name: &str| read_to_string(folder.join(name)).ok();
    let number = |name: &str| text(name)?.trim().parse::<u64>().ok();
    if controller != "memory" {
        let most = number(&format!("{controller}.max"))?;
        return Some((number(&format!("{controller}.current"))?, most));
    }
    let most = number("memory.max").or_else(|| number("memory.limit_in_bytes"))?;
    let taken = number("memory.current").or_else(|| number("memory.usage_in_bytes"))?;
    // Files that nobody has looked at for a while are given up before a program is refused.
    let stat = text("memory.stat").unwrap_or_default();
    let idle = ["total_inactive_file ", "inactive_file "];
    let idle = idle
        .iter()
        .find_map(|key| stat.lines().find_map(|l| l.strip_prefix(key)))
        .and_then(|n| n.trim().parse().ok());
    Some((taken.saturating_sub(idle.unwrap_or(0)), most))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn group_with(files: &[(&str, &str)]) -> tempfile::TempDir {
        let root = tempfile::tempdir().unwrap();
        for (path, text) in files {
            let path = root.path().join(path);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, text).unwrap();
        }
        root
    }

    #[test]
    fn the_tightest_group_above_counts() {
        let root = group_with(&[
            ("a/pids.max", "100\n"),
            ("a/pids.current", "90\n"),
            ("a/b/pids.max", "1000\n"),
            ("a/b/pids.current", "10\n"),
            ("a/b/memory.max", "max\n"),
            ("a/b/memory.current", "5\n"),
        ]);
        let at = |c: &str| tightest(root.path(), "0::/a/b\n", c);
        assert_eq!(at("pids"), Some((90, 100)));
        assert_eq!(at("memory"), None);
    }

    #[test]
    fn the_first_version_has_a_tree_for_each() {
        let root = group_with(&[
            ("memory/a/memory.limit_in_bytes", "4000"),
            ("memory/a/memory.usage_in_bytes", "3000"),
            ("memory/a/memory.stat", "cache 2\ntotal_inactive_file 500\n"),
            ("cpu,pids/a/pids.max", "7"),
            ("cpu,pids/a/pids.current", "3"),
        ]);
        let groups = "4:memory:/a\n3:cpu,pids:/a\n0::/\n";
        let at = |c: &str| tightest(root.path(), groups, c);
        assert_eq!(at("memory"), Some((2500, 4000)));
        assert_eq!(at("pids"), Some((3, 7)));
    }

    #[test]
    fn odd_groups_limit_nothing() {
        let root = group_with(&[("pids.max", "many"), ("pids.current", "3")]);
        for groups in ["", "0::/", "0::/../..", "::::", "x", "1:pids"] {
            assert_eq!(tightest(root.path(), groups, "pids"), None, "{groups}");
        }
    }

    #[test]
    fn an_error_about_a_limit_says_what_to_type() {
        let typed = |error: anyhow::Error| hint(&error).unwrap_or_default();
        let files = std::io::Error::from_raw_os_error(24);
        assert!(typed(anyhow::Error::from(files).context("x")).contains("ulimit -n"));
        assert!(
            typed(anyhow::anyhow!("no child: Too many open files (os error 24)"))
                .contains("ulimit -n")
        );
        assert!(typed(anyhow::anyhow!("no thread: (os error 11)")).contains("ulimit -u"));
        for other in ["refused (os error 111)", "(os error x)", "none"] {
            assert_eq!(typed(anyhow::anyhow!(other)), "", "{other}");
        }
    }

    #[test]
    fn a_quarter_of_what_all_share_is_left() {
        assert_eq!(Limit::shared("x", 1000, 200).left, 600);
        assert_eq!(Limit::shared("x", 100, 200).left, 0);
        assert_eq!(Limit::own("x", 65_530, 4, "").left, 16_382);
        let least = least(vec![
            Limit::own("a", 5, 1, ""),
            Limit::own("b", 3, 1, ""),
            Limit::own("c", 4, 1, ""),
        ]);
        assert_eq!(least.map(|l| l.left), Some(3));
    }

    #[test]
    fn this_machine_has_room_for_a_thread() {
        assert!(for_threads(4).iter().all(|l| l.left > 0));
        assert!(for_connections(1).iter().all(|l| l.left > 0));
        assert!(for_memory().is_none_or(|l| l.left > 0));
    }
}
