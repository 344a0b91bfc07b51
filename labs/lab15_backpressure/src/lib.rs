//! # Backpressure
//!
//! ## The question
//!
//! All {workers} workers are busy: what happens to the next user?
//!
//! ## What to predict
//!
//! A service has {workers} workers (`c`), and a request takes one of them for {service} on average
//! (`s`). Requests come at random, whether or not earlier ones have been answered; an answer later
//! than {deadline}, the deadline `T`, is worth nothing. The load is {loads} times what the workers
//! can do. How long do requests wait, how many are answered in time, and what would you do with the
//! next user?
//!
//! Then, at a load of {calm}, comes a surge of {surge} for {surge-for}, with clients that try
//! again, up to {retries} times, when an answer is late. What does the service do afterwards?
//!
//! ## The experiment
//!
//! The service is below, a queue and a few workers, and so are six ways to treat a user who finds
//! all workers busy:
//!
//! - **unbounded queue**: everybody is let in and waits;
//! - **bounded queue, the producer waits** at its door until there is a place;
//! - **load shedding**: a bounded queue, and 503 with `Retry-After` at once when it is full;
//! - **deadline**: a worker drops what can no longer be finished in time, since less than a margin
//!   of {margin} is left; **expired** is the same without the margin, as it is usually written;
//! - **newest first**: who came last is served first.
//!
//! Near saturation a queue forgets slowly: at a load `ρ` it takes some `1/(c(1−√ρ)²)` service
//! times. So one run is one sample, however many requests it counts, and each condition is many
//! independent services side by side (they only sleep, which costs no processor), each with
//! random numbers of its own. They begin in the steady state, drawn from Erlang's formulas, and
//! not empty; a queue in overload has no steady state and begins as deep as if the overload had
//! already lasted as long as it is measured. Intervals come from trials, each with services of
//! its own, not from requests.
//!
//! Two further experiments use the same service. A freeze is watched by a load tester that waits
//! for each answer before it sends on, and by arrivals that do not wait. And clients with timeouts
//! and retries go through a short surge.
//!
//! ## What the figures show
//!
//! Below saturation the waits are Erlang's (1917): short while much of the capacity is left, long
//! when little is, without any overload. Each service is also held against the exact waits of its
//! very own arrivals and service times, computed in virtual time: that law has no luck in it.
//! (Only the waits of newest first are left out of it: when two arrive within a tick of the
//! timer, chance decides who is on top, and the other one waits long.) Shares are held against
//! theory at the load that was asked for, and at the lateness of timers that sleepers beside them
//! measure.
//!
//! Beyond saturation the unbounded queue serves nobody in time, at full throughput. Every worker is
//! busy, every connection succeeds, no error is logged, and every answer comes too late: the user's
//! call is connected and the audio stays silent. A bounded queue that refuses keeps the goodput
//! near the capacity, and whoever is refused hears so at once.
//!
//! A producer that waits at the door has not removed the queue, it has moved it: measured from when
//! a request was due, waits are those of the unbounded queue, while the service's own dashboard
//! shows a short and steady line. Backpressure helps where the sender can produce less, a file
//! reader for instance, and not where users come by themselves.
//!
//! To drop what has *expired* looks right and saves little. In overload the queue settles where the
//! oldest is just about to expire, so workers begin what they cannot finish in time: with
//! exponential services in `c` workers at load `ρ`, a share `c(ρ−1)/(c(ρ−1)+1)` of the work is in
//! vain. Drop what cannot be finished any more, not what is already late. Newest first needs no
//! such number: who is served waits little, and those who have waited long are given up silently.
//!
//! A tester that waits for each answer sends nothing while the service is frozen, and so counts one
//! bad answer for each of its connections, where users would have seen one for every request that
//! fell due (coordinated omission, Tene 2013). Two of the curves are of the same requests: their
//! clocks start when a request was sent, or when it was due.
//!
//! The surge passes and the service stays down. While every answer is late every request is sent
//! `1 + n` times, with `n` retries, so `ρ·(1 + n) > 1` is load enough to keep every answer late: a
//! metastable failure (Bronson et al. 2021; Huang et al. 2022), held up by its own remedy and not
//! by its cause. What ends it breaks that loop: a budget for retries, refusing, dropping by
//! deadline, newest first, or users who go away for long enough.
//!
//! ## A common belief
//!
//! *The connection succeeds, so the service works, and the silence is a fault of the network.* The
//! operating system accepts connections for a program that is too busy to look at them; a queue
//! without bound accepts requests in the same way. That something was accepted says nothing about
//! when it is served. Measure the age of what is taken from the queue.
//!
//! *A bounded queue is backpressure enough.* It bounds memory and not waiting, as the second arm
//! shows.
//!
//! ## In production
//!
//! Bound every queue by time: as many places as `c/s` times the wait that is still useful. Refuse
//! early and cheaply, with a `Retry-After` that comes from the length of the line, and let clients
//! spread their return. Send deadlines along with requests, check them when work *begins*, leave a
//! margin of a high percentile of the service time, and stop work whose caller has gone (in tokio:
//! `Sender::is_closed`). Give clients a retry budget, a small share of their requests ({budget}
//! here); a limit on attempts is none. Watch the age of the oldest and goodput, not throughput and
//! processor load. Test with arrivals that do not wait, and test that the service comes back after
//! a surge.
//!
//! ## Check yourself
//!
//! - Suppose the queue holds 1000 requests "to be safe". How long does the last one wait, and who
//!   is still there to read the answer?
//! - Suppose the load doubles, from 0.475 to 0.95 of the capacity. Why does the wait not double?
//! - Which arms does the service's own "time in queue" make look good, and which clock tells?
//! - Suppose two retries, an idle service, a surge. From which load on does it stay down?

use std::sync::{Arc, Mutex, atomic::Ordering};

use async_channel::{Receiver, Sender};
use lab_kit::prelude::*;
use tokio::sync::{Semaphore, oneshot};
use tokio::time::sleep_until;

mod findings;
mod gauges;
mod omission;
mod plan;
mod premise;
mod service;
mod storm;
mod systems;

pub use plan::{Backpressure, Params};
use service::{Arm, Rules, Service};

// wrong(1): Everybody is let in
/// The wrong way: the line has no bound ([`line`]), so there is always room, and everybody is let in.
fn accept(queue: &Sender<Job>, job: Job) -> Door {
    let _ = queue.try_send(job);
    Door::In(Instant::now())
}

// wrong(2): The producer waits at the door
/// Backpressure, which is the wrong way at a door: who brings the request waits until there is a place.
async fn hold_back(queue: &Sender<Job>, job: Job) -> Door {
    let _ = queue.send(job).await;
    Door::In(Instant::now())
}

// right(1): No place, no promise
// so(1): With a bound, `try_send` says that there is no place. What differs is what the next user is
//     told, and when.
// right(2): Refused at once
// so(2): Who waits at the door waits as long as in the queue, only where no dashboard looks.
/// Load shedding: no place, no promise.
fn shed(queue: &Sender<Job>, job: Job, retry_after: Duration) -> Door {
    match queue.try_send(job) {
        Ok(()) => Door::In(Instant::now()),
        Err(_) => Door::Refused { retry_after },
    }
}

/// The line in front of the workers: with a bound, or without one.
fn line(arm: Arm, places: usize) -> (Sender<Job>, Receiver<Job>) {
    match arm {
        Arm::Waits | Arm::Shed => async_channel::bounded(places),
        _ => async_channel::unbounded(),
    }
}

/// Newest first: the line is a stack, with a ticket for each request in it.
fn on_top(stack: &Mutex<Vec<Job>>, tickets: &Semaphore, job: Job) -> Door {
    stack.lock().expect("nobody panics holding it").push(job);
    tickets.add_permits(1);
    Door::In(Instant::now())
}

/// How long a request may have waited to be worth beginning; `None` where workers do not ask.
fn patience(arm: Arm, deadline: Duration, margin: Duration) -> Option<Duration> {
    match arm {
        Arm::Deadline => Some(deadline - margin),
        Arm::Expired => Some(deadline),
        _ => None,
    }
}

/// A worker: one request after another, until nobody comes any more.
async fn worker(service: Arc<Service>) {
    let patience = service.rules.patience;
    let mut free = Instant::now();
    while let Some(job) = service.next().await {
        let picked = Instant::now();
        // Timers fire a millisecond late. The next service begins when a worker should have been done,
        // or four workers would have the capacity of three and a half.
        let start = service.thawed(free.max(job.arrived));
        let hopeless = patience.is_some_and(|patience| start > job.arrived + patience);
        if hopeless {
            let _ = job.reply.send(Answer::Dropped);
            continue;
        }
        service.busy.fetch_add(1, Ordering::Relaxed);
        let due = start + job.service;
        service.will_be_free(due);
        sleep_until(due.into()).await;
        free = service.free_since();
        service.busy.fetch_sub(1, Ordering::Relaxed);
        // The caller may have gone. Like most servers this one notices only now.
        let _ = job.reply.send(Answer::Served { picked, due });
    }
}

/// A request on its way to a worker.
struct Job {
    /// When it was due, not when somebody got round to sending it.
    arrived: Instant,
    service: Duration,
    reply: oneshot::Sender<Answer>,
}

/// What the service says in the end.
enum Answer {
    /// A worker took it, and should have been done with it when it was due.
    Served { picked: Instant, due: Instant },
    /// A worker took it and found it hopeless.
    Dropped,
}

/// What the service says at once.
enum Door {
    /// Come in and wait.
    In(Instant),
    /// 503. When the line that is full now should have been served.
    Refused { retry_after: Duration },
}
