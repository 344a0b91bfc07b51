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

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use async_channel::{Receiver, Sender};
use lab_kit::{accounts::Fate, prelude::*};
use tokio::sync::{Semaphore, oneshot};
use tokio::task::JoinSet;
use tokio::time::sleep_until;

mod findings;
mod omission;
mod premise;
mod storm;
mod systems;

use omission::Freeze;
use storm::{Remedy, Storm};
use systems::{Crowd, Meter};

/// The constants of the experiment.
#[derive(Args, Clone, Debug, Serialize, Deserialize)]
pub struct Params {
    /// Workers of a service: c
    #[arg(long, default_value_t = 4, value_parser = level)]
    pub workers: usize,
    /// Mean time a request takes a worker: s (exponential)
    #[arg(long, default_value = "40ms")]
    pub service: Time,
    /// Waiting places of a bounded queue: K
    #[arg(long, default_value_t = 8, value_parser = level)]
    pub places: usize,
    /// An answer later than this is worth nothing: T
    #[arg(long, default_value = "300ms")]
    pub deadline: Time,
    /// The deadline arm drops a request that has less than this left
    #[arg(long, default_value = "120ms")]
    pub margin: Time,
    /// Loads to try, as shares of the capacity, with commas
    #[arg(long, value_delimiter = ',', value_parser = load, default_value = "0.5,0.8,0.95,1.2,1.5")]
    pub loads: Vec<f64>,
    /// How long arrivals are counted
    #[arg(long, default_value = "6s")]
    pub window: Time,
    /// Independent services side by side: three times as many where waits converge slowly, fewer where they do so fast
    #[arg(long, default_value_t = 120, value_parser = systems)]
    pub systems: usize,
    /// Load of the freeze, as a share of the capacity
    #[arg(long, default_value_t = 0.5, value_parser = part)]
    pub tested: f64,
    /// How long the service is frozen
    #[arg(long, default_value = "1s")]
    pub freeze: Time,
    /// Load before and after the surge, as a share of the capacity
    #[arg(long, default_value_t = 0.7, value_parser = part)]
    pub calm: f64,
    /// Load during the surge
    #[arg(long, default_value_t = 2.5, value_parser = load)]
    pub surge: f64,
    /// How long the surge lasts
    #[arg(long, default_value = "450ms")]
    pub surge_for: Time,
    /// Retries of a request that is not answered in time: n
    #[arg(long, default_value_t = 2, value_parser = retries)]
    pub retries: usize,
    /// Retries per request that a budget allows
    #[arg(long, default_value_t = 0.1, value_parser = part)]
    pub budget: f64,
}

/// Most waiting places of a bounded queue.
const MOST_PLACES: usize = 2000;

fn within(text: &str, from: f64, to: f64) -> Result<f64, String> {
    let value = text.trim().parse().ok();
    let value = value.filter(|v| (from..=to).contains(v));
    value.ok_or_else(|| format!("expected a number from {from} to {to}"))
}

fn load(text: &str) -> Result<f64, String> {
    within(text, 0.05, 5.0)
}

fn part(text: &str) -> Result<f64, String> {
    within(text, 0.01, 0.95)
}

fn retries(text: &str) -> Result<usize, String> {
    whole(text, 0..=10)
}

fn systems(text: &str) -> Result<usize, String> {
    whole(text, 10..=2000)
}

/// Conditions are several trials side by side, each with services and random numbers of its own.
fn parts(scale: Scale) -> usize {
    match scale {
        Scale::Quick => 3,
        Scale::Smoke | Scale::Full => 1,
    }
}

/// lab15.
pub struct Backpressure;

impl Lab for Backpressure {
    type Params = Params;

    const TAKES_TARGET: bool = false;

    const CARD: Card = Card {
        number: 15,
        name: "backpressure",
        title: "Backpressure",
        question: "All workers are busy: what happens to the next user?",
        predict: &[
            Question {
                key: "goodput",
                ask: "The service is given loads of {loads} times what it can serve. At the largest of them, a worker drops a request whose deadline has passed. What share of the capacity still goes into answers that are in time?",
                unit: "%",
                hint: "0 to 100",
            },
            Question {
                key: "after",
                ask: "A surge has passed and the load is {calm} of the capacity again. Clients send a late request again, up to {retries} times. What share of the requests is answered long after the surge?",
                unit: "%",
                hint: "0 to 100",
            },
        ],
        next: &[
            (
                "cargo run --release --bin lab15 -- --retries 1 --calm 0.45",
                "ρ·(1 + n) below 1: the same surge, and the service comes back by itself",
            ),
            (
                "cargo run --release --bin lab15 -- --places 60",
                "a bounded queue that is too long: it refuses and is late all the same",
            ),
            (
                "cargo run --release --bin lab15 -- --margin 1ms --loads 0.9,1.1,1.5,2,3",
                "the deadline without its margin: the more comes, the more is wasted. Why?",
            ),
        ],
        sources: lab_kit::sources!["lib.rs"],
        answers: include_str!("../answers.md"),
        sizes: Sizes {
            smoke: &[
                "--service",
                "4ms",
                "--deadline",
                "20ms",
                "--margin",
                "8ms",
                "--loads",
                "0.5,0.8,1.5",
                "--window",
                "160ms",
                "--systems",
                "10",
                "--freeze",
                "40ms",
                "--surge-for",
                "30ms",
                "--retries",
                "1",
            ],
            full: &["--window", "10s"],
            trials: (1, 5),
        },
    };

    fn check(p: &Params) -> Result<(), String> {
        if p.margin >= p.deadline {
            return Err("--margin leaves nothing of --deadline: every request would be dropped; make it shorter".into());
        }
        if p.deadline.s() < p.service.s() {
            return Err("--deadline is shorter than --service: most requests would be late at any load; lengthen it".into());
        }
        if p.places > MOST_PLACES {
            return Err(format!(
                "--places is more than {MOST_PLACES}: no window is long enough to fill them, and theory goes through all of them; fewer"
            ));
        }
        if p.loads.is_empty() {
            return Err("--loads is empty: which loads are to be tried?".into());
        }
        if p.freeze.s() > 0.5 * p.window.s() {
            return Err("--freeze is longer than half of --window: nothing would be left to compare it with".into());
        }
        let rate = p.arrivals_per_s();
        if rate > 250_000.0 {
            return Err(format!(
                "this would be {rate:.0} requests a second: fewer --systems or --loads, or a longer --service"
            ));
        }
        Ok(())
    }

    fn needs(p: &Params, extent: &Extent) -> Needs {
        let extent = &Extent {
            one_at_a_time: false,
            ..*extent
        };
        let parts = parts(extent.scale);
        let conditions =
            Arm::ALL.len() * p.loads.len() * parts + 1 + parts * (2 + Remedy::ALL.len());
        let requests = p.requests();
        let lasts = systems::READY.as_secs_f64() + p.lasts().max(p.full_line_lasts());
        let mut sweep = extent.sweep();
        for _ in 0..conditions {
            sweep.steady(1, lasts);
        }
        Needs {
            // What cannot be sent in its time takes longer; and books are made of all of them.
            seconds: sweep.seconds() + extent.times() * requests * 4e-6,
            memory: requests * 400.0,
            less: "a shorter --window, --deadline or --surge-for, or fewer --systems and --loads",
            ..Needs::default()
        }
    }

    fn measure(p: &Params, session: &mut Session) -> Result<()> {
        let runtime = lab_kit::host::runtime()?;
        // Services that only sleep do not disturb each other, at any scale.
        session.one_at_a_time = false;
        let parts = parts(session.scale);
        let mut sweep = session.sweep();
        for arm in Arm::ALL {
            for rho in p.loads.iter().copied() {
                let crowd = Crowd::of(p, arm, rho).part(parts);
                for _ in 0..parts {
                    sweep.steady(arm.name(), rho, 1, move |r| systems::run(r, crowd));
                }
            }
        }
        let timers = Crowd::of(p, Arm::Unbounded, p.tested);
        sweep.steady("timers", p.tested, 1, move |r| systems::timers(r, timers));
        for _ in 0..parts {
            let freeze = Freeze::of(p, parts);
            sweep.steady("tested/closed", p.tested, 1, move |r| {
                omission::closed(r, freeze)
            });
            sweep.steady("tested/open", p.tested, 1, move |r| {
                omission::open(r, freeze)
            });
            for remedy in Remedy::ALL {
                let storm = Storm::of(p, parts);
                sweep.steady(remedy.series(), p.calm, 1, move |r| {
                    storm::run(r, storm.clone(), remedy)
                });
            }
        }
        runtime.block_on(sweep.run())
    }

    fn may(_p: &Params, at: &Condition) -> &'static [Fate] {
        premise::may(at)
    }

    fn premise(p: &Params, at: &Condition, trial: &Trial) -> Result<(), String> {
        premise::premise(p, at, trial)
    }

    fn explain(p: &Params, summary: &Summary) -> Findings {
        findings::explain(p, summary)
    }
}

impl Params {
    /// Seconds until every queue that ever empties should have done so, and the storm is over.
    fn lasts(&self) -> f64 {
        let drained = 1.25 * self.window.s() + self.deadline.s() + 40.0 * self.service.s();
        drained.max(Storm::of(self, 1).lasts())
    }

    /// Seconds until a full line of those who are let in is served, where refused clients come again.
    fn full_line_lasts(&self) -> f64 {
        let storm = Storm::of(self, 1);
        let line = self.service.s() * (self.places + 1) as f64 / self.workers as f64;
        let overloaded = self.loads.iter().any(|rho| *rho > 0.9);
        let window = if overloaded {
            1.25 * self.window.s() + line
        } else {
            0.0
        };
        let room = (self.places as f64) * self.service.s() / self.workers as f64;
        let refuses = (self.surge.max(1.0) - 1.0) * self.surge_for.s() > 0.5 * room;
        let come_again = if refuses {
            1.5 * line * (1 + self.retries) as f64
        } else {
            0.0
        };
        window.max(storm.end + come_again)
    }

    /// Requests of a round.
    fn requests(&self) -> f64 {
        let storm = Storm::of(self, 1);
        self.arrivals_per_s() * 1.25 * self.window.s() + Remedy::ALL.len() as f64 * storm.requests()
    }

    /// Requests per second over everything that runs side by side.
    fn arrivals_per_s(&self) -> f64 {
        let capacity = self.workers as f64 / self.service.s();
        let crowds = Arm::ALL.into_iter().flat_map(|arm| {
            let all = self.loads.iter();
            all.map(move |rho| rho * Crowd::of(self, arm, *rho).systems as f64)
        });
        capacity * crowds.sum::<f64>()
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

// wrong(1): Everybody is let in
/// The wrong way: there is always room, so everybody is let in.
fn accept(queue: &Sender<Job>, job: Job) -> Door {
    let _ = queue.try_send(job);
    Door::In(Instant::now())
}

// wrong(2): The producer waits at the door
/// Backpressure: who brings the request waits until there is a place.
async fn hold_back(queue: &Sender<Job>, job: Job) -> Door {
    let _ = queue.send(job).await;
    Door::In(Instant::now())
}

// right(1): No place, no promise
// so(1): The channel's bound is the same line of code away. What differs is what the next user is
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

/// Newest first: the line is a stack, with a ticket for each request in it.
fn on_top(stack: &Mutex<Vec<Job>>, tickets: &Semaphore, job: Job) -> Door {
    stack.lock().expect("nobody panics holding it").push(job);
    tickets.add_permits(1);
    Door::In(Instant::now())
}

/// A worker. `patience` is how long a request may have waited to be worth beginning.
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

/// What a service does with those who find all workers busy.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Arm {
    Unbounded,
    Waits,
    Shed,
    Deadline,
    Expired,
    Newest,
}

impl Arm {
    const ALL: [Arm; 6] = [
        Arm::Unbounded,
        Arm::Waits,
        Arm::Shed,
        Arm::Deadline,
        Arm::Expired,
        Arm::Newest,
    ];

    fn name(self) -> &'static str {
        match self {
            Arm::Unbounded => "unbounded",
            Arm::Waits => "producer waits",
            Arm::Shed => "shed",
            Arm::Deadline => "deadline",
            Arm::Expired => "expired",
            Arm::Newest => "newest first",
        }
    }
}

/// The constants of one service.
#[derive(Clone, Copy, Debug)]
struct Rules {
    arm: Arm,
    workers: usize,
    places: usize,
    patience: Option<Duration>,
    retry_after: Duration,
}

impl Rules {
    fn of(p: &Params, arm: Arm) -> Rules {
        let deadline = p.deadline.duration();
        Rules {
            arm,
            workers: p.workers,
            places: p.places,
            patience: match arm {
                Arm::Deadline => Some(deadline - p.margin.duration()),
                Arm::Expired => Some(deadline),
                _ => None,
            },
            retry_after: p.service.duration() * (p.places + 1) as u32 / p.workers as u32,
        }
    }
}

/// The whole service: a line, and workers that take from it.
struct Service {
    rules: Rules,
    queue: (Sender<Job>, Receiver<Job>),
    stack: Mutex<Vec<Job>>,
    tickets: Semaphore,
    /// Workers that serve.
    busy: AtomicUsize,
    /// When each of these should be done.
    done: Mutex<BinaryHeap<Reverse<Instant>>>,
    /// From when to when no worker begins anything.
    frozen: Option<(Instant, Instant)>,
    meter: Meter,
}

impl Service {
    /// Opens a service. Its workers end when the set is dropped.
    fn open(
        rules: Rules,
        meter: Meter,
        frozen: Option<(Instant, Instant)>,
    ) -> (Arc<Service>, JoinSet<()>) {
        let service = Arc::new(Service {
            rules,
            queue: match rules.arm {
                Arm::Waits | Arm::Shed => async_channel::bounded(rules.places),
                _ => async_channel::unbounded(),
            },
            stack: Mutex::default(),
            tickets: Semaphore::new(0),
            busy: AtomicUsize::new(0),
            done: Mutex::default(),
            frozen,
            meter,
        });
        let workers = (0..rules.workers).map(|_| worker(service.clone()));
        (service.clone(), workers.collect())
    }

    /// A request comes to the door.
    async fn enter(
        &self,
        arrived: Instant,
        service: Duration,
    ) -> (Door, oneshot::Receiver<Answer>) {
        let (reply, answer) = oneshot::channel();
        let job = Job {
            arrived,
            service,
            reply,
        };
        let queue = &self.queue.0;
        let door = match self.rules.arm {
            Arm::Unbounded | Arm::Deadline | Arm::Expired => accept(queue, job),
            Arm::Waits => hold_back(queue, job).await,
            Arm::Shed => shed(queue, job, self.rules.retry_after),
            Arm::Newest => on_top(&self.stack, &self.tickets, job),
        };
        if let Door::In(at) = door {
            self.meter.enter(at, self.waiting());
        }
        (door, answer)
    }

    /// The next request for a worker.
    async fn next(&self) -> Option<Job> {
        if self.rules.arm == Arm::Newest {
            self.tickets.acquire().await.ok()?.forget();
            return self.stack.lock().expect("nobody panics holding it").pop();
        }
        self.queue.1.recv().await.ok()
    }

    /// A worker has begun something that ends then.
    fn will_be_free(&self, due: Instant) {
        let mut done = self.done.lock().expect("nobody panics holding it");
        done.push(Reverse(due));
    }

    /// Since when a worker that woke up is free. One is as good as another: the first to wake goes on
    /// where the first to be done was, however late either timer fired.
    fn free_since(&self) -> Instant {
        let mut done = self.done.lock().expect("nobody panics holding it");
        done.pop().map_or_else(Instant::now, |Reverse(due)| due)
    }

    fn waiting(&self) -> usize {
        match self.rules.arm {
            Arm::Newest => self.stack.lock().expect("nobody panics holding it").len(),
            _ => self.queue.1.len(),
        }
    }

    /// How many are inside at this moment: in the line, and with a worker.
    fn inside(&self) -> usize {
        self.waiting() + self.busy.load(Ordering::Relaxed)
    }

    fn thawed(&self, at: Instant) -> Instant {
        match self.frozen {
            Some((from, to)) if at >= from && at < to => to,
            _ => at,
        }
    }
}
