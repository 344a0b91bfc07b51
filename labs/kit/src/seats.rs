//! A processor for each of several threads or processes.
//!
//! Left to itself, the system now and then puts both sides on one processor. What is short is over
//! before it notices: in lab16 waking the other then takes 3 µs instead of 50, what was just written
//! is still in the cache, and nothing runs at the same time; in lab18 two processes that are given
//! their orders one after the other share a processor for some milliseconds, which is a third of
//! their job. Which it will be is a coin toss, for a whole trial. So each side is given a processor
//! of its own where the system takes such wishes (Linux), in the experiment as in the calibration.

#[cfg(target_os = "linux")]
mod linux {
    use nix::{
        sched::{CpuSet, sched_getaffinity, sched_setaffinity},
        unistd::Pid,
    };

    /// The calling thread.
    const ME: Pid = Pid::from_raw(0);

    /// The processors that this thread may use, by their numbers.
    pub fn seats() -> Vec<usize> {
        let Ok(set) = sched_getaffinity(ME) else {
            return Vec::new();
        };
        let may = |n: &usize| set.is_set(*n).unwrap_or(false);
        (0..CpuSet::count()).filter(may).collect()
    }

    /// A thread's seat, which it gives up when this is dropped.
    pub struct Seated(Option<CpuSet>);

    /// Puts the calling thread, and what it starts from then on, on a processor.
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

    impl Seated {
        /// The thread stays there to its end.
        pub fn for_good(mut self) {
            self.0 = None;
        }
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
pub use linux::{Seated, seats, sit};

/// None: the system decides.
#[cfg(not(target_os = "linux"))]
pub fn seats() -> Vec<usize> {
    Vec::new()
}

/// Nothing to give up.
#[cfg(not(target_os = "linux"))]
pub struct Seated;

#[cfg(not(target_os = "linux"))]
impl Seated {
    /// Nothing to keep.
    pub fn for_good(self) {}
}

/// Leaves the calling thread where it is.
#[cfg(not(target_os = "linux"))]
pub fn sit(_seat: Option<usize>) -> Seated {
    Seated
}

/// Seats the i-th of several threads on the i-th processor, from the beginning when there are more of
/// them than processors.
pub fn sit_in_turn(i: usize) -> Seated {
    let seats = seats();
    sit(seats.get(i % seats.len().max(1)).copied())
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use super::*;

    #[test]
    fn a_seat_is_given_up() {
        let before = seats();
        for i in 0..3 {
            let seated = sit_in_turn(i);
            // Alone on one processor, a thread sees no two.
            assert_eq!(seats(), [before[i % before.len()]]);
            drop(seated);
            assert_eq!(seats(), before);
        }
        std::thread::spawn(|| {
            sit_in_turn(0).for_good();
            assert_eq!(seats().len(), 1);
        })
        .join()
        .unwrap();
    }
}
