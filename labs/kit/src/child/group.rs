//! The processes of a child: its own and those that it has started. The one place of [`super`] with differences
//! between systems.
//!
//! On Unix they are a group of processes. One that leaves the group is found on Linux by a variable of its
//! environment, which children inherit; one that takes that off as well is not found. On Windows they are the tree
//! below the child's process for as long as that lives.

use std::{
    process::Command,
    sync::atomic::{AtomicU64, Ordering},
};

/// What processes hold together.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Held {
    pub(super) processes: usize,
    /// Bytes of resident memory.
    pub(super) memory: u64,
}

/// Variable in the environment of a child and of what it starts.
const MARK: &str = "CONCURRENCY_LABS_CHILD";

/// Gives a program that is to be started a group of processes of its own, and a mark.
pub(super) fn set_apart(command: &mut Command) -> String {
    static STARTED: AtomicU64 = AtomicU64::new(0);
    let number = STARTED.fetch_add(1, Ordering::Relaxed);
    let mark = format!("{}-{number}", std::process::id());
    crate::os::by_itself(command);
    // Whoever is a child itself passes on whose.
    let inherited = std::env::var(MARK).map_or(String::new(), |marks| marks + " ");
    command.env(MARK, inherited + &mark);
    mark
}

#[cfg(unix)]
pub(crate) use unix::kill_all;
#[cfg(unix)]
pub(super) use unix::{Group, Guard};

#[cfg(unix)]
mod unix {
    use std::{
        collections::BTreeSet,
        io::Write,
        process::{Child, Command, Stdio},
        sync::{Mutex, MutexGuard, PoisonError},
        thread,
        time::{Duration, Instant},
    };

    use nix::{
        sys::signal::{Signal, killpg},
        unistd::Pid,
    };

    use super::{Held, list};

    /// How long it takes until all processes of the machine are looked through again, at first and at last.
    const LOOKS: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(1));

    /// So often is looked for processes that are left, with a short pause each time.
    const SWEEPS: usize = 100;
    const PAUSE: Duration = Duration::from_millis(5);

    /// Threads that all programs of the machine may begin before it is looked whose they are.
    const MANY: u64 = 50;

    /// Leaders of the groups that have not been swept.
    static LIVING: Mutex<BTreeSet<Pid>> = Mutex::new(BTreeSet::new());

    fn living_groups() -> MutexGuard<'static, BTreeSet<Pid>> {
        LIVING.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Kills the groups of all children: this process ends, and nobody will watch them.
    pub(crate) fn kill_all() {
        for leader in living_groups().iter() {
            let _ = killpg(*leader, Signal::SIGKILL);
        }
    }

    /// Outlives this process, if only to kill a group: its input ends with this process, however that ends. It is there
    /// before the group is, and is told then whose it is.
    pub(in super::super) struct Guard(Option<Child>);

    impl Guard {
        pub(in super::super) fn new() -> Guard {
            let mut command = Command::new("sh");
            command.args([
                "-c",
                "read -r group && read -r _; [ -n \"$group\" ] && kill -s KILL -- -\"$group\"",
            ]);
            command.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::null());
            // A signal from the terminal is not for it.
            crate::os::by_itself(&mut command);
            // Without one a child outlives this process when that is killed.
            Guard(command.spawn().ok())
        }

        fn watch(&mut self, leader: Pid) {
            let input = self.0.as_mut().and_then(|guard| guard.stdin.as_mut());
            let _ = input.map(|input| writeln!(input, "{leader}"));
        }
    }

    impl Drop for Guard {
        fn drop(&mut self) {
            let Some(guard) = &mut self.0 else { return };
            let group = i32::try_from(guard.id()).map(Pid::from_raw);
            // Before its input ends: there is nothing left to kill.
            let _ = group.map(|group| killpg(group, Signal::SIGKILL));
            let _ = guard.wait();
        }
    }

    /// The processes of a child.
    pub(in super::super) struct Group {
        leader: Option<Pid>,
        guard: Option<Guard>,
        mark: String,
        /// Those that were found last.
        members: Vec<u32>,
        next: (Instant, Duration),
        threads: u64,
    }

    impl Group {
        pub(in super::super) fn of(process: u32, mark: String, mut guard: Guard) -> Group {
            // 0 and 1 would be others' groups.
            let leader = i32::try_from(process).ok().filter(|id| *id > 1).map(Pid::from_raw);
            let next = (Instant::now() + LOOKS.0, LOOKS.0);
            living_groups().extend(leader);
            leader.into_iter().for_each(|leader| guard.watch(leader));
            Group {
                leader,
                guard: Some(guard),
                mark,
                members: vec![process],
                next,
                threads: u64::MAX,
            }
        }

        /// What its processes hold now. Looking through all processes of a machine costs time that may be
        /// measured: between two such looks only those that are known are asked.
        pub(in super::super) fn look(&mut self, most: usize) -> Held {
            let threads = crate::os::threads_of_all().unwrap_or(0);
            let more = threads > self.threads.saturating_add(MANY.min(most as u64));
            if more || Instant::now() >= self.next.0 {
                let pause = (self.next.1 * 2).min(LOOKS.1);
                self.next = (Instant::now() + pause, pause);
                self.threads = threads;
                self.members = self.living();
            }
            let memory = list::memory(&self.members);
            Held { processes: self.members.len(), memory }
        }

        pub(in super::super) fn terminate(&self) {
            self.signal(Signal::SIGTERM);
        }

        pub(in super::super) fn kill(&self) {
            self.signal(Signal::SIGKILL);
        }

        fn signal(&self, signal: Signal) {
            if let Some(leader) = self.leader {
                // A group that is no more needs none.
                let _ = killpg(leader, signal);
            }
        }

        /// Kills what is left until nothing is.
        pub(in super::super) fn sweep(&mut self) {
            for _ in 0..SWEEPS {
                let left = self.living();
                if left.is_empty() {
                    break;
                }
                self.kill();
                for process in left.iter().filter_map(|id| i32::try_from(*id).ok()) {
                    let _ = nix::sys::signal::kill(Pid::from_raw(process), Signal::SIGKILL);
                }
                thread::sleep(PAUSE);
            }
            self.guard = None;
            if let Some(leader) = self.leader {
                living_groups().remove(&leader);
            }
        }

        fn living(&self) -> Vec<u32> {
            self.leader.map_or(Vec::new(), |leader| list::living(leader.as_raw(), &self.mark))
        }
    }
}

/// Processes of the machine, as Linux lists them.
#[cfg(target_os = "linux")]
mod list {
    use std::fs;

    use super::MARK;

    /// Those of a group, and those that carry a mark, but for the dead that nobody has waited for.
    pub(super) fn living(group: i32, mark: &str) -> Vec<u32> {
        let Ok(all) = fs::read_dir("/proc") else {
            return Vec::new();
        };
        let ids = all.flatten().filter_map(|entry| entry.file_name().to_str()?.parse().ok());
        ids.filter(|id| is_of(*id, group, mark)).collect()
    }

    fn is_of(process: u32, group: i32, mark: &str) -> bool {
        let Ok(stat) = fs::read_to_string(format!("/proc/{process}/stat")) else {
            return false;
        };
        let Some((state, its_group)) = state_and_group(&stat) else {
            return false;
        };
        // Of the dead, and of the kernel's own, there is no environment.
        let lives = !matches!(state, "Z" | "X");
        lives && (its_group == group || is_marked(process, mark))
    }

    /// The third field of proc_pid_stat(5) and the fifth, counted after the name, which may hold blanks.
    fn state_and_group(stat: &str) -> Option<(&str, i32)> {
        let mut fields = stat.rsplit_once(')')?.1.split_whitespace();
        let state = fields.next()?;
        Some((state, fields.nth(1)?.parse().ok()?))
    }

    fn is_marked(process: u32, mark: &str) -> bool {
        let Ok(environment) = fs::read(format!("/proc/{process}/environ")) else {
            return false;
        };
        let mut entries = environment.split(|byte| *byte == 0);
        let marks =
            entries.find_map(|entry| entry.strip_prefix(MARK.as_bytes())?.strip_prefix(b"="));
        marks.is_some_and(|marks| marks.split(|byte| *byte == b' ').any(|m| m == mark.as_bytes()))
    }

    /// Bytes of resident memory of these processes. What several share counts for each.
    pub(super) fn memory(processes: &[u32]) -> u64 {
        let pages = |id: &u32| {
            let statm = fs::read_to_string(format!("/proc/{id}/statm")).ok()?;
            let mut fields = statm.split_whitespace().skip(1).map_while(|n| n.parse::<u64>().ok());
            let (resident, shared) = (fields.next()?, fields.next()?);
            // Files that are mapped are not its own.
            Some(resident.saturating_sub(shared))
        };
        processes.iter().filter_map(pages).sum::<u64>() * page()
    }

    fn page() -> u64 {
        static PAGE: std::sync::OnceLock<u64> = std::sync::OnceLock::new();
        *PAGE.get_or_init(|| {
            let size = nix::unistd::sysconf(nix::unistd::SysconfVar::PAGE_SIZE).ok().flatten();
            size.and_then(|size| u64::try_from(size).ok()).unwrap_or(4096)
        })
    }

    #[cfg(test)]
    mod tests {
        #[test]
        fn a_group_is_found_behind_any_name() {
            let stat = "7 (a b) c) S 1 42 1 0 -1 4194304 100";
            assert_eq!(super::state_and_group(stat), Some(("S", 42)));
            assert_eq!(super::state_and_group("7 (a"), None);
        }

        #[test]
        fn one_holds_what_it_has_touched() {
            let me = [std::process::id()];
            let before = super::memory(&me);
            let pages = std::hint::black_box(vec![1u8; 64 << 20]);
            assert!(super::memory(&me) > before + (32 << 20), "{} bytes", pages.len());
            assert_eq!(super::memory(&[u32::MAX]), 0);
        }
    }
}

/// Processes of the machine, as `ps` lists them.
#[cfg(all(unix, not(target_os = "linux")))]
mod list {
    use std::process::Command;

    /// Those of a group, but for the dead that nobody has waited for.
    pub(super) fn living(group: i32, _mark: &str) -> Vec<u32> {
        let lines = ps(&["-A", "-o", "pid=,pgid=,stat="]);
        let of_it = |line: &str| {
            let mut fields = line.split_whitespace();
            let (id, its_group) =
                (fields.next()?.parse().ok()?, fields.next()?.parse::<i32>().ok()?);
            let lives = !fields.next()?.starts_with('Z');
            (lives && its_group == group).then_some(id)
        };
        lines.lines().filter_map(of_it).collect()
    }

    /// Bytes of resident memory of these processes.
    pub(super) fn memory(processes: &[u32]) -> u64 {
        let ids: Vec<String> = processes.iter().map(u32::to_string).collect();
        let lines = ps(&["-o", "rss=", "-p", &ids.join(",")]);
        lines.lines().filter_map(|line| line.trim().parse::<u64>().ok()).sum::<u64>() * 1024
    }

    fn ps(words: &[&str]) -> String {
        let done = Command::new("ps").args(words).output();
        done.map_or(String::new(), |done| String::from_utf8_lossy(&done.stdout).into_owned())
    }
}

/// What they have started ends with their input.
#[cfg(not(unix))]
pub(crate) fn kill_all() {}

#[cfg(not(unix))]
pub(super) struct Group(u32);

/// Here nobody kills a child when this process is killed.
#[cfg(not(unix))]
pub(super) struct Guard;

#[cfg(not(unix))]
impl Guard {
    pub(super) fn new() -> Guard {
        Guard
    }
}

/// Here the system's own tool ends a tree of processes, and nothing tells cheaply what they hold.
#[cfg(not(unix))]
impl Group {
    pub(super) fn of(process: u32, _mark: String, _guard: Guard) -> Group {
        Group(process)
    }

    pub(super) fn look(&mut self, _most: usize) -> Held {
        Held::default()
    }

    /// There is no signal that a program without a window could hear.
    pub(super) fn terminate(&self) {}

    pub(super) fn kill(&self) {
        let id = self.0.to_string();
        let mut command = Command::new("taskkill");
        let _ = command.args(["/F", "/T", "/PID", &id]).output();
    }

    pub(super) fn sweep(&mut self) {}
}
