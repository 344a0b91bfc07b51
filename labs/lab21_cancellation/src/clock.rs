//! Two clocks for the same code: the machine's, and one in virtual time.
//!
//! Virtual time stands still while anything can be done. When the event loop has nothing left to do, it would put its
//! thread to sleep until the next timer; instead the clock jumps there. What happens then happens in an order that
//! nothing of the machine changes, so it can be counted to the last item. Everything else is tokio's own: tasks,
//! channels, locks, `select!`.

use std::{
    collections::BTreeMap,
    pin::Pin,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::{Context, Poll, Waker},
};

use lab_kit::prelude::*;
use tokio::{runtime::Builder, select, time};

/// A clock. Clones are the same clock.
#[derive(Clone)]
pub(super) enum Clock {
    /// The machine's, from this instant on.
    Real(Instant),
    /// One that jumps to the next timer.
    Virtual(Arc<Mutex<Timers>>),
}

/// Virtual time, and who waits for what.
#[derive(Default)]
pub(super) struct Timers {
    now: Duration,
    begun: u64,
    waiting: BTreeMap<(Duration, u64), Waker>,
}

fn open(timers: &Mutex<Timers>) -> MutexGuard<'_, Timers> {
    timers.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Runs it on an event loop of one thread, in virtual time that begins at nought.
pub(super) fn in_virtual_time<T>(run: impl AsyncFnOnce(Clock) -> T) -> Result<T> {
    let timers: Arc<Mutex<Timers>> = Arc::default();
    let jumps = timers.clone();
    let mut event_loop = Builder::new_current_thread();
    event_loop.on_thread_park(move || {
        let mut timers = open(&jumps);
        let due = timers.waiting.keys().next().map(|(at, _)| *at);
        // Nobody waits for a time: there is nothing to jump to.
        let Some(due) = due else { return };
        timers.now = due;
        let later = timers.waiting.split_off(&(due, u64::MAX));
        let woken = std::mem::replace(&mut timers.waiting, later);
        drop(timers);
        woken.into_values().for_each(Waker::wake);
    });
    Ok(event_loop.build()?.block_on(run(Clock::Virtual(timers))))
}

impl Clock {
    /// Time since the clock's beginning.
    pub(super) fn now(&self) -> Duration {
        match self {
            Clock::Real(origin) => origin.elapsed(),
            Clock::Virtual(timers) => open(timers).now,
        }
    }

    pub(super) async fn sleep(&self, lasts: Duration) {
        self.sleep_until(self.now() + lasts).await;
    }

    pub(super) async fn sleep_until(&self, due: Duration) {
        match self {
            Clock::Real(origin) => time::sleep_until((*origin + due).into()).await,
            Clock::Virtual(timers) => {
                let id = {
                    let mut timers = open(timers);
                    timers.begun += 1;
                    timers.begun
                };
                Timer { timers, key: (due, id) }.await;
            }
        }
    }

    /// What a future gives within so long, as [`time::timeout`]: `None`, and it is dropped, when it does not.
    pub(super) async fn timeout<T>(
        &self,
        patience: Duration,
        of: impl Future<Output = T>,
    ) -> Option<T> {
        self.timeout_at(self.now() + patience, of).await
    }

    /// What a future gives until then.
    pub(super) async fn timeout_at<T>(
        &self,
        until: Duration,
        of: impl Future<Output = T>,
    ) -> Option<T> {
        select! {
            biased;
            given = of => Some(given),
            () = self.sleep_until(until) => None,
        }
    }

    /// Ticks, the first one a period from now.
    pub(super) fn ticks(&self, period: Duration) -> Ticks {
        Ticks { next: self.now() + period, clock: self.clone(), period }
    }
}

/// A ticker that loses no tick when somebody stops waiting for it: what it knows changes after its only wait.
pub(super) struct Ticks {
    clock: Clock,
    next: Duration,
    period: Duration,
}

impl Ticks {
    pub(super) async fn tick(&mut self) {
        self.clock.sleep_until(self.next).await;
        self.next += self.period;
    }
}

/// A wait in virtual time.
struct Timer<'a> {
    timers: &'a Mutex<Timers>,
    key: (Duration, u64),
}

impl Future for Timer<'_> {
    type Output = ();

    fn poll(self: Pin<&mut Self>, cx: &mut Context) -> Poll<()> {
        let mut timers = open(self.timers);
        if timers.now >= self.key.0 {
            return Poll::Ready(());
        }
        timers.waiting.insert(self.key, cx.waker().clone());
        Poll::Pending
    }
}

impl Drop for Timer<'_> {
    fn drop(&mut self) {
        open(self.timers).waiting.remove(&self.key);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn virtual_time_jumps_from_timer_to_timer() {
        let hour = Duration::from_secs(3600);
        let seen = in_virtual_time(async |clock| {
            let other = clock.clone();
            let sleeper = tokio::spawn(async move {
                other.sleep(2 * hour).await;
                other.now()
            });
            let none = clock.timeout(hour, std::future::pending::<()>()).await;
            let at_timeout = clock.now();
            let mut ticks = clock.ticks(hour);
            // A tick that nobody waits for until its end is no tick that is lost.
            assert!(clock.timeout(hour / 2, ticks.tick()).await.is_none());
            ticks.tick().await;
            (none, at_timeout, clock.now(), sleeper.await.unwrap())
        });
        assert_eq!(seen.unwrap(), (None, hour, 2 * hour, 2 * hour));
    }
}
