//! When arrivals are due, and letting them go on time.
//!
//! The runtime's timer ticks once a millisecond and is up to two late, which at 5,000 arrivals a second
//! would send them in clumps of ten. A thread of its own sleeps with the system's timer instead, some
//! 60 µs late on Linux, and costs little: it lets go everything that is due and sleeps again. Spinning
//! would be more exact and take a whole processor from what is being measured.

use std::time::{Duration, Instant};

use lab_kit::stop::Stop;
use tokio::sync::Semaphore;

/// Longest sleep, so that a stop is seen soon.
const NAP: Duration = Duration::from_millis(50);

/// Lets every arrival of a schedule go when it is due, counted from `origin`: one permit each. At the
/// end, or when stopped, each of the `clients` gets one more, which tells it that there is no more.
pub(crate) fn release(
    schedule: &[Duration],
    origin: Instant,
    gate: &Semaphore,
    clients: usize,
    stop: &Stop,
) {
    let mut gone = 0;
    while let Some(next) = schedule.get(gone)
        && !stop.is_set()
    {
        let now = Instant::now();
        let wait = (origin + *next).saturating_duration_since(now);
        if !wait.is_zero() {
            std::thread::sleep(wait.min(NAP));
            continue;
        }
        let due = due(&schedule[gone..], now.saturating_duration_since(origin));
        gate.add_permits(due);
        gone += due;
    }
    gate.add_permits(clients);
}

/// How many arrivals at the head of a schedule are due after so long.
fn due(schedule: &[Duration], elapsed: Duration) -> usize {
    schedule.iter().take_while(|at| **at <= elapsed).count()
}

/// The part of a schedule that one of several threads has: every so manieth arrival.
pub(crate) fn dealt(schedule: &[Duration], thread: usize, threads: usize) -> Vec<Duration> {
    let mine = schedule.iter().skip(thread).step_by(threads.max(1));
    mine.copied().collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ms(n: u64) -> Duration {
        Duration::from_millis(n)
    }

    #[test]
    fn what_is_due_is_due_together() {
        let schedule = [ms(0), ms(2), ms(2), ms(5)];
        assert_eq!(due(&schedule, ms(0)), 1);
        assert_eq!(due(&schedule, ms(1)), 1);
        assert_eq!(due(&schedule, ms(2)), 3);
        assert_eq!(due(&schedule, ms(9)), 4);
        assert_eq!(due(&[], ms(9)), 0);
    }

    #[test]
    fn threads_share_a_schedule() {
        let schedule: Vec<Duration> = (0..7).map(ms).collect();
        let mut all: Vec<Duration> = (0..3).flat_map(|t| dealt(&schedule, t, 3)).collect();
        all.sort();
        assert_eq!(all, schedule);
        assert_eq!(dealt(&schedule, 0, 1), schedule);
    }

    #[test]
    fn everything_is_let_go_and_everybody_is_told_the_end() {
        let gate = Semaphore::new(0);
        let schedule = [ms(0), ms(1), ms(3)];
        release(&schedule, Instant::now(), &gate, 2, &Stop::default());
        assert_eq!(gate.available_permits(), 5);
    }

    #[test]
    fn a_stop_lets_nothing_more_go() {
        let (gate, stop) = (Semaphore::new(0), Stop::default());
        stop.set();
        release(&[ms(3_600_000)], Instant::now(), &gate, 2, &stop);
        assert_eq!(gate.available_permits(), 2);
    }
}
