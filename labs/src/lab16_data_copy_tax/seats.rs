//! A processor for each side.
//!
//! Left to itself, the system now and then puts both sides on one processor: waking the other then
//! takes 3 µs instead of 50, what was just written is still in the cache, and nothing runs at the
//! same time. Which it will be is a coin toss, for a whole trial. So each side is given a processor
//! of its own where the system takes such wishes (Linux), in the experiment as in the calibration;
//! `--unseated` shows what happens without.

/// Numbers of the processors for the two sides; `None` where each may be anywhere.
#[derive(Clone, Copy, Debug, Default)]
pub struct Seats {
    /// The producer's.
    pub producer: Option<usize>,
    /// The consumer's.
    pub consumer: Option<usize>,
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
        /// The first two processors that this thread may use.
        pub fn find() -> Seats {
            let may = sched_getaffinity(ME).ok();
            let may = |n: &usize| may.is_some_and(|set| set.is_set(*n).unwrap_or(false));
            let mut seats = (0..CpuSet::count()).filter(may);
            match (seats.next(), seats.next()) {
                (producer, Some(consumer)) => Seats {
                    producer,
                    consumer: Some(consumer),
                },
                _ => Seats::default(),
            }
        }
    }

    /// A thread's seat, which it gives up when this is dropped.
    pub struct Seated(Option<CpuSet>);

    /// Puts the calling thread on a processor.
    pub fn sit(seat: Option<usize>) -> Seated {
        let moved = seat.and_then(|seat| {
            let before = sched_getaffinity(ME).ok()?;
            let mut here = CpuSet::new();
            here.set(seat).ok()?;
            sched_setaffinity(ME, &here).ok()?;
            Some(before)
        });
        Seated(moved)
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
pub use linux::sit;

#[cfg(not(target_os = "linux"))]
impl Seats {
    /// None: the system decides.
    pub fn find() -> Seats {
        Seats::default()
    }
}

/// Nothing to give up.
#[cfg(not(target_os = "linux"))]
pub struct Seated;

/// Leaves the calling thread where it is.
#[cfg(not(target_os = "linux"))]
pub fn sit(_seat: Option<usize>) -> Seated {
    Seated
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use super::*;

    #[test]
    fn a_seat_is_given_up() {
        let before = Seats::find();
        let seated = sit(before.consumer);
        // Alone on one processor, a thread sees no two.
        assert!(Seats::find().consumer.is_none());
        drop(seated);
        assert_eq!(Seats::find().consumer, before.consumer);
    }
}
