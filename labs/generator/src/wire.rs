//! The drivers: so many connections a thread, closed loop or open loop, with books that close.
//!
//! A thread has a runtime of its own, one task a connection and one book for all of them: no other
//! thread touches it, so its lock is never waited for. One book a thread and not one a connection:
//! histograms of 64 connections would not fit the processor's cache together.

use std::{
    future::{Future, poll_fn},
    pin::pin,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, AtomicUsize, Ordering},
    },
    task::Poll,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, ensure};
use lab_kit::{
    load::{Book, Closed, Open, Outcome, Part, Tally},
    record::Latency,
    stop::Stop,
};
use rand::{RngExt, SeedableRng};
use rand_pcg::Pcg64Mcg;
use tokio::{sync::Semaphore, task::JoinSet};

use crate::{
    link::{Alarm, Link},
    pace,
    target::Target,
};

/// Time in which the connections of an open loop are opened, before its first arrival.
const LEAD: Duration = Duration::from_millis(100);

/// The generator.
#[derive(Clone, Debug)]
pub struct Wire {
    target: Target,
    stop: Stop,
    timeout: Duration,
    threads: usize,
}

/// What an open loop did.
#[derive(Clone, Debug, Default)]
pub struct Paced {
    /// Counts and latencies; latency counts from the intended start, and so does the time-out.
    pub tally: Tally,
    /// How late an arrival was handed to a connection that was waiting for one: the generator's own
    /// error, which latencies contain.
    pub schedule_error: Latency,
    /// Arrivals that found every connection busy and waited for one. Their wait is part of their
    /// latency; when there are many, more connections are needed, or the server is overloaded.
    pub waited: u64,
}

impl Wire {
    /// A generator on one thread with a time-out of ten seconds.
    pub fn new(target: Target, stop: Stop) -> Wire {
        Wire { target, stop, timeout: Duration::from_secs(10), threads: 1 }
    }

    /// The same with another time-out of a request. One clock a thread looks after all, so a time-out
    /// may come late by a twentieth, but no more than 100 ms.
    pub fn timeout(self, timeout: Duration) -> Wire {
        Wire { timeout, ..self }
    }

    /// The same on so many threads, which share connections and arrivals evenly.
    pub fn threads(self, threads: usize) -> Wire {
        Wire { threads: threads.max(1), ..self }
    }

    /// Runs a closed loop: `plan.clients` connections with one request in flight on each. Blocks until
    /// it is done; must not be called from a task.
    ///
    /// # Errors
    /// When a thread or its runtime cannot be had.
    pub fn closed(&self, plan: Closed) -> Result<Tally> {
        ensure!(plan.clients > 0, "a closed loop needs a client");
        let origin = Instant::now();
        let window = (origin + plan.warm_up, origin + plan.warm_up + plan.window);
        let tallies = self.on_threads(plan.clients, |_, numbers| {
            let crew = Arc::new(Crew::new(self, origin, window, numbers.len()));
            let clients: Vec<_> = numbers
                .into_iter()
                .enumerate()
                .map(|(seat, number)| again_and_again(crew.clone(), seat, number, plan, window))
                .collect();
            crew.run(&self.stop, clients)?;
            Ok(crew.book.close_loop(plan.window))
        })?;
        Ok(sum(tallies))
    }

    /// Runs an open loop with at most so many connections. Blocks until every arrival has its fate;
    /// must not be called from a task.
    ///
    /// # Errors
    /// When a thread or its runtime cannot be had.
    pub fn open(&self, plan: Open, connections: usize) -> Result<Paced> {
        ensure!(connections > 0, "an open loop needs a connection");
        let schedule = plan.arrivals();
        let origin = Instant::now() + LEAD;
        let window = (origin, origin + plan.window);
        let parts = self.on_threads(connections, |thread, numbers| {
            let clients = numbers.len();
            let crew = Arc::new(Crew::new(self, origin, window, clients));
            let schedule = pace::dealt(&schedule, thread, self.threads.min(connections));
            let planned = schedule.len() as u64;
            let queue = Arc::new(Arrivals::new(schedule));
            let tasks: Vec<_> =
                (0..clients).map(|seat| as_they_come(crew.clone(), seat, queue.clone())).collect();
            std::thread::scope(|scope| {
                let (queue, stop) = (&queue, &self.stop);
                scope.spawn(move || {
                    pace::release(&queue.schedule, origin, &queue.gate, clients, stop);
                });
                let ran = crew.run(&self.stop, tasks);
                if ran.is_err() {
                    self.stop.set();
                }
                ran
            })?;
            let tally = crew.book.close(planned).with_wall(origin.elapsed());
            Ok((tally, queue.late(), queue.waited.load(Ordering::Relaxed)))
        })?;
        let mut schedule_error = Latency::new();
        let mut waited = 0;
        let mut tallies = Vec::new();
        for (tally, late, n) in parts {
            schedule_error.merge(&late);
            waited += n;
            tallies.push(tally);
        }
        Ok(Paced { tally: sum(tallies), schedule_error, waited })
    }

    /// Runs `work` on every thread, each with the numbers of its clients.
    fn on_threads<T: Send>(
        &self,
        clients: usize,
        work: impl Fn(usize, Vec<usize>) -> Result<T> + Sync,
    ) -> Result<Vec<T>> {
        let threads = self.threads.min(clients);
        std::thread::scope(|scope| {
            let work = &work;
            let mut handles = Vec::new();
            for thread in 0..threads {
                let numbers = (thread..clients).step_by(threads).collect();
                let name = std::thread::Builder::new().name(format!("wire-{thread}"));
                handles.push(
                    name.spawn_scoped(scope, move || work(thread, numbers))
                        .context("no thread can be had")?,
                );
            }
            let ended = handles.into_iter().map(|h| match h.join() {
                Ok(result) => result,
                Err(panic) => std::panic::resume_unwind(panic),
            });
            ended.collect()
        })
    }
}

fn sum(tallies: Vec<Tally>) -> Tally {
    let mut tallies = tallies.into_iter();
    let mut all = tallies.next().unwrap_or_default();
    tallies.for_each(|tally| all.merge(tally));
    all
}

/// What the connections of one thread share.
struct Crew {
    target: Target,
    timeout: Duration,
    origin: Instant,
    book: Book,
    alarms: Vec<Alarm>,
}

impl Crew {
    fn new(wire: &Wire, origin: Instant, window: (Instant, Instant), clients: usize) -> Crew {
        let now = Instant::now();
        Crew {
            target: wire.target.clone(),
            timeout: wire.timeout,
            origin,
            book: Book::new(origin, Some(window)),
            alarms: (0..clients).map(|_| Alarm::new(now)).collect(),
        }
    }

    /// Runs the clients to their ends on this thread.
    fn run<F>(self: &Arc<Crew>, stop: &Stop, clients: Vec<F>) -> Result<()>
    where
        F: Future<Output = ()> + Send + 'static,
    {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .context("no runtime can be had")?;
        runtime.block_on(async {
            let clock = tokio::spawn(clock(self.clone(), stop.clone()));
            let mut tasks: JoinSet<()> = clients.into_iter().collect();
            while let Some(ended) = tasks.join_next().await {
                if let Err(error) = ended
                    && error.is_panic()
                {
                    std::panic::resume_unwind(error.into_panic());
                }
            }
            clock.abort();
        });
        Ok(())
    }
}

/// Looks after time-outs and the stop for all connections of a thread.
async fn clock(crew: Arc<Crew>, stop: Stop) {
    let tick = (crew.timeout / 20).clamp(Duration::from_millis(1), Duration::from_millis(100));
    loop {
        tokio::select! {
            () = tokio::time::sleep(tick) => {}
            () = stop.wait() => {
                crew.alarms.iter().for_each(Alarm::stop);
                return;
            }
        }
        let now = Instant::now();
        for alarm in &crew.alarms {
            alarm.ring_if_older(crew.timeout, now);
        }
    }
}

/// A client of a closed loop.
async fn again_and_again(
    crew: Arc<Crew>,
    seat: usize,
    number: usize,
    plan: Closed,
    window: (Instant, Instant),
) {
    let alarm = &crew.alarms[seat];
    alarm.belongs_here().await;
    let mut link = Link::new(&crew.target, alarm);
    let mut part = Part::default();
    let mut rng = Pcg64Mcg::seed_from_u64(plan.seed.wrapping_add(number as u64));
    sleep(plan.start_of(number), alarm).await;
    // One reading of the clock a request: the end of one is the start of the next.
    let mut start = Instant::now();
    while start < window.1 && !alarm.is_stopped() {
        crew.book.enter(start);
        alarm.begin(start);
        let outcome = link.exchange().await;
        alarm.end();
        let end = Instant::now();
        crew.book.leave(start, end, outcome, start >= window.0);
        part.add(window, start, end, outcome);
        start = end;
        let pause = match outcome {
            Outcome::Rejected => plan.pause(rng.random()),
            _ => Duration::ZERO,
        };
        if !pause.is_zero() {
            if end + pause >= window.1 {
                break;
            }
            sleep(pause, alarm).await;
            start = Instant::now();
        }
        if !matches!(outcome, Outcome::Ok | Outcome::Rejected) {
            // What fails at once must not keep the others from the processor.
            tokio::task::yield_now().await;
        }
    }
    crew.book.add(part);
}

/// Sleeps, or until the run is stopped.
async fn sleep(time: Duration, alarm: &Alarm) {
    if time.is_zero() {
        return;
    }
    let mut timer = pin!(tokio::time::sleep(time));
    poll_fn(|cx| match alarm.is_stopped() {
        true => Poll::Ready(()),
        false => timer.as_mut().poll(cx),
    })
    .await;
}

/// The arrivals of one thread's open loop.
struct Arrivals {
    schedule: Vec<Duration>,
    /// A permit for every arrival that is due and not taken.
    gate: Semaphore,
    next: AtomicUsize,
    late: Mutex<Latency>,
    waited: AtomicU64,
}

impl Arrivals {
    fn new(schedule: Vec<Duration>) -> Arrivals {
        Arrivals {
            schedule,
            gate: Semaphore::new(0),
            next: AtomicUsize::new(0),
            late: Mutex::new(Latency::new()),
            waited: AtomicU64::new(0),
        }
    }

    fn late(&self) -> Latency {
        let late = self.late.lock().unwrap_or_else(PoisonError::into_inner);
        late.clone()
    }

    /// Waits for the next arrival; `None` when there are no more. True when it was there already.
    async fn next(&self, link: &mut Link<'_>, alarm: &Alarm) -> Option<(Duration, bool)> {
        let was_there = match self.gate.try_acquire() {
            Ok(permit) => {
                permit.forget();
                true
            }
            Err(_) => {
                let mut permit = pin!(self.gate.acquire());
                poll_fn(|cx| {
                    if alarm.is_stopped() {
                        return Poll::Ready(None);
                    }
                    link.poll_idle(cx);
                    permit.as_mut().poll(cx).map(Result::ok)
                })
                .await?
                .forget();
                false
            }
        };
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        Some((*self.schedule.get(number)?, was_there))
    }
}

/// A client of an open loop.
async fn as_they_come(crew: Arc<Crew>, seat: usize, arrivals: Arc<Arrivals>) {
    let alarm = &crew.alarms[seat];
    alarm.belongs_here().await;
    let mut link = Link::new(&crew.target, alarm);
    // What does not open now is tried again with an arrival, which then has the failure.
    let _ = link.connect().await;
    while !alarm.is_stopped()
        && let Some((offset, was_there)) = arrivals.next(&mut link, alarm).await
    {
        let now = Instant::now();
        let intended = crew.origin + offset;
        let late = now.saturating_duration_since(intended);
        if was_there {
            arrivals.waited.fetch_add(1, Ordering::Relaxed);
        } else {
            let mut errors = arrivals.late.lock().unwrap_or_else(PoisonError::into_inner);
            errors.record(late);
        }
        crew.book.enter(now);
        let outcome = if late >= crew.timeout {
            // Nobody waits for this answer any more: it is not even asked for.
            Outcome::TimedOut
        } else {
            alarm.begin(intended);
            let outcome = link.exchange().await;
            alarm.end();
            outcome
        };
        crew.book.leave(intended, Instant::now(), outcome, true);
        if outcome != Outcome::Ok {
            tokio::task::yield_now().await;
        }
    }
}
