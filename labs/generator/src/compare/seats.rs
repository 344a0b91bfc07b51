//! Which processor servers run on, and which generators: pinned where the system has a call for it, so
//! that neither takes turns with the other. A process inherits the seat of the thread that starts it.

/// The processors of the two; `None` leaves it to the system.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Seats {
    pub(super) server: Option<usize>,
    pub(super) generator: Option<usize>,
}

impl Seats {
    /// Both, if they are pinned.
    pub(super) fn pair(self) -> Option<(usize, usize)> {
        self.server.zip(self.generator)
    }
}

#[cfg(target_os = "linux")]
mod linux {
    use nix::{
        sched::{CpuSet, sched_getaffinity, sched_setaffinity},
        unistd::Pid,
    };

    use super::Seats;

    /// The calling thread.
    const ME: Pid = Pid::from_raw(0);

    impl Seats {
        /// The first two processors that this thread may use; none where there is only one.
        pub(in super::super) fn find() -> Seats {
            let may = sched_getaffinity(ME).ok();
            let may = |n: &usize| may.is_some_and(|set| set.is_set(*n).unwrap_or(false));
            let mut usable = (0..CpuSet::count()).filter(may);
            match (usable.next(), usable.next()) {
                (server, generator @ Some(_)) => Seats { server, generator },
                _ => Seats::default(),
            }
        }
    }

    /// A thread's seat, which it gives up when this is dropped.
    pub struct Seated(Option<CpuSet>);

    /// Puts the calling thread, and what it starts, on a processor.
    pub(in super::super) fn sit(seat: Option<usize>) -> Seated {
        Seated(seat.and_then(|seat| {
            let before = sched_getaffinity(ME).ok()?;
            let mut here = CpuSet::new();
            here.set(seat).ok()?;
            sched_setaffinity(ME, &here).ok()?;
            Some(before)
        }))
    }

    impl Drop for Seated {
        fn drop(&mut self) {
            if let Some(before) = &self.0 {
                let _ = sched_setaffinity(ME, before);
            }
        }
    }
}

#[cfg(target_os = "linux")]
pub(super) use linux::sit;

#[cfg(not(target_os = "linux"))]
impl Seats {
    /// None: the system decides.
    pub(super) fn find() -> Seats {
        Seats::default()
    }
}

/// Nothing to give up.
#[cfg(not(target_os = "linux"))]
pub(super) struct Seated;

/// Leaves the calling thread where it is.
#[cfg(not(target_os = "linux"))]
pub(super) fn sit(_seat: Option<usize>) -> Seated {
    Seated
}
