//! Closing the process off before any code of an exercise runs.
//!
//! From then on it can compute, wait, start threads and talk over TCP, in bounded memory. It cannot start programs,
//! touch files or reach into other processes. Linux does it (seccomp); elsewhere the judge says that it is missing.

/// Most bytes of address space: enough for a few hundred threads.
#[cfg(unix)]
const MEMORY: u64 = 4 << 30;

/// Closes this process off. True when the system did all of it.
pub(crate) fn seal() -> bool {
    bound_memory() && close_off()
}

#[cfg(unix)]
fn bound_memory() -> bool {
    use rlimit::Resource;
    let bounds = [(Resource::AS, MEMORY), (Resource::CORE, 0), (Resource::FSIZE, 0)];
    bounds.into_iter().all(|(resource, most)| resource.set(most, most).is_ok())
}

#[cfg(not(unix))]
fn bound_memory() -> bool {
    false
}

#[cfg(target_os = "linux")]
fn close_off() -> bool {
    linux::close_off().is_ok()
}

#[cfg(not(target_os = "linux"))]
fn close_off() -> bool {
    false
}

#[cfg(target_os = "linux")]
mod linux {
    use std::{collections::BTreeMap, env::consts::ARCH, error::Error};

    use seccompiler::{
        BpfProgram, SeccompAction, SeccompCmpArgLen::Dword, SeccompCmpOp, SeccompCondition,
        SeccompFilter, SeccompRule, apply_filter,
    };

    type Rules = BTreeMap<i64, Vec<SeccompRule>>;
    type Refusal = Box<dyn Error>;

    /// Three filters; of their answers to one call the strictest holds.
    pub(super) fn close_off() -> Result<(), Refusal> {
        let errno = |code: i32| SeccompAction::Errno(code.cast_unsigned());
        for (rules, action) in [
            (refused()?, errno(libc::EACCES)),
            (unknown(), errno(libc::ENOSYS)),
            (fatal()?, SeccompAction::KillProcess),
        ] {
            let filter = SeccompFilter::new(rules, SeccompAction::Allow, action, ARCH.try_into()?)?;
            let program: BpfProgram = filter.try_into()?;
            apply_filter(&program)?;
        }
        Ok(())
    }

    /// What is answered with an error, because the standard library asks for it in passing: which processors
    /// there are, how large a stack is.
    fn refused() -> Result<Rules, Refusal> {
        // Nor may it find out what is there, or be spoken to.
        let any = [
            libc::SYS_openat,
            libc::SYS_statx,
            libc::SYS_newfstatat,
            libc::SYS_readlinkat,
            libc::SYS_faccessat,
            libc::SYS_faccessat2,
            libc::SYS_chdir,
            libc::SYS_bind,
            libc::SYS_listen,
        ];
        let mut rules = Rules::from(any.map(|call| (call, vec![])));
        #[cfg(target_arch = "x86_64")]
        rules.extend(
            [libc::SYS_open, libc::SYS_stat, libc::SYS_lstat, libc::SYS_readlink, libc::SYS_access]
                .map(|call| (call, vec![])),
        );
        let inet = [libc::AF_INET, libc::AF_INET6];
        let others = inet.map(|family| {
            SeccompCondition::new(0, Dword, SeccompCmpOp::Ne, u64::from(family.cast_unsigned()))
        });
        let others = others.into_iter().collect::<Result<_, _>>()?;
        let kind = SeccompCmpOp::MaskedEq(0xf);
        let datagrams = libc::SOCK_DGRAM.cast_unsigned().into();
        let datagrams = SeccompCondition::new(1, Dword, kind, datagrams)?;
        let sockets = vec![SeccompRule::new(others)?, SeccompRule::new(vec![datagrams])?];
        rules.insert(libc::SYS_socket, sockets);
        Ok(rules)
    }

    /// What the C library does in an older way when the kernel does not know it: its arguments are in memory,
    /// where a filter cannot see them.
    fn unknown() -> Rules {
        [libc::SYS_clone3, libc::SYS_openat2, libc::SYS_io_uring_setup]
            .map(|call| (call, vec![]))
            .into()
    }

    /// What no solution needs.
    fn fatal() -> Result<Rules, Refusal> {
        let any = [
            libc::SYS_execve,
            libc::SYS_execveat,
            libc::SYS_ptrace,
            libc::SYS_process_vm_readv,
            libc::SYS_process_vm_writev,
            libc::SYS_kill,
            libc::SYS_setsid,
            libc::SYS_setpgid,
            libc::SYS_unlinkat,
            libc::SYS_renameat2,
            libc::SYS_mkdirat,
            libc::SYS_linkat,
            libc::SYS_symlinkat,
            libc::SYS_mknodat,
            libc::SYS_fchmodat,
            libc::SYS_fchownat,
            libc::SYS_truncate,
            libc::SYS_memfd_create,
            libc::SYS_chroot,
            libc::SYS_mount,
            libc::SYS_unshare,
        ];
        let mut rules = Rules::from(any.map(|call| (call, vec![])));
        #[cfg(target_arch = "x86_64")]
        rules.extend(
            [
                libc::SYS_fork,
                libc::SYS_vfork,
                libc::SYS_creat,
                libc::SYS_unlink,
                libc::SYS_rename,
                libc::SYS_renameat,
                libc::SYS_mkdir,
                libc::SYS_rmdir,
                libc::SYS_link,
                libc::SYS_symlink,
                libc::SYS_mknod,
                libc::SYS_chmod,
                libc::SYS_chown,
                libc::SYS_lchown,
            ]
            .map(|call| (call, vec![])),
        );
        rules.insert(libc::SYS_openat, writing(2)?);
        #[cfg(target_arch = "x86_64")]
        rules.insert(libc::SYS_open, writing(1)?);
        // A new process; a new thread is one with this flag.
        let thread = libc::CLONE_THREAD.cast_unsigned().into();
        let fork = SeccompCondition::new(0, Dword, SeccompCmpOp::MaskedEq(thread), 0)?;
        rules.insert(libc::SYS_clone, vec![SeccompRule::new(vec![fork])?]);
        Ok(rules)
    }

    /// A file is opened to be written or made: one of these bits is set in the argument.
    fn writing(argument: u8) -> Result<Vec<SeccompRule>, Refusal> {
        let bits = [libc::O_WRONLY, libc::O_RDWR, libc::O_CREAT, libc::O_TRUNC];
        let rules = bits.map(|bit| {
            let bit = bit.cast_unsigned().into();
            let set = SeccompCondition::new(argument, Dword, SeccompCmpOp::MaskedEq(bit), bit)?;
            Ok(SeccompRule::new(vec![set])?)
        });
        rules.into_iter().collect()
    }
}
