//! # Semaphore limits
//!
//! ## The question
//!
//! How does a limit in the client turn collapse into waiting?
//!
//! ## What to predict
//!
//! The service of lab03: `c` = {slots} slots, `s` = {service} a request, clients that wait `T` =
//! {timeout}. {requests} requests are to be made at once. Without a limit most are lost. Now a
//! semaphore lets only `m` of them be in flight. Which `m` is the best, and what does it cost those
//! who wait for a permit?
//!
//! ## The experiment
//!
//! The same requests, each sent when it holds one of `m` permits, for several `m`; once without any
//! limit; once with the mistake of making the semaphore inside the function that fetches; and with
//! a limit that nobody sets: it watches its own latencies and adapts.
//!
//! ## What the figures show
//!
//! A request takes `W = s + r`, with `r` for the network. Throughput is `m/W` up to `c/s`: the best
//! limit is Little's `L = λ·W = (c/s)·(s + r)`, here little more than `c`, since `r` is small. A
//! smaller one wastes slots, a larger one only moves the waiting from the client into the service.
//! Every request succeeds as long as `m ≤ c·⌊T/s⌋`, since the clock of the timeout starts when a
//! request is sent. A limit beyond that protects nobody.
//!
//! The waiting has not gone: from its arrival, the last request waits as long as it would in a
//! patient service's queue. The limit changed who waits where, and whether work is wasted.
//!
//! The adaptive limit finds `c` without being told, from wherever it starts, and settles in a saw
//! between `c` and `late·c` (an answer counts as late if it took more than `late` = {late} times
//! the fastest), on average `c·(1 + late)/2`: it grows while answers come as fast as the fastest,
//! and shrinks when they come later, because a latency above `s` means that requests wait in the
//! service (Jacobson 1988; Brakmo and Peterson 1994).
//!
//! ## A common belief
//!
//! *With a limit every request is fast.* So says a clock that starts with the permit: the smaller
//! the limit, the more waiting it hides. Both clocks are in the second panel.
//!
//! *A client without a limit has none.* Its HTTP library's pool of connections is one. That
//! semaphore protects nobody, because the clock of the timeout runs in its queue. `--python` shows
//! it beside asyncio's semaphore, and both beside Rust.
//!
//! ## In production
//!
//! One semaphore for each service, shared by all who call it, sized by Little's law with the time
//! that the *client* sees; or an adaptive one. Suppose `s` is 50 ms and the network takes 20 ms: a
//! limit of `c` leaves 29 % of the capacity idle. Acquire a permit for an attempt, not for a retry
//! loop, or permits sleep through the back-off. Bound the line in front of it as well, or lab03's
//! queue has only moved to the client.
//!
//! ## Check yourself
//!
//! - Ten clients on ten machines, each with `m = c`: what does the service see?
//! - Why does a limit of 2c give the same throughput as c, and what is worse about it?
//! - The semaphore made inside the function compiles and runs. How would you notice?
//! - The service time doubles at night. Which of the limits still fits?

use std::sync::{Arc, Mutex};

use lab_kit::{accounts::Fate, prelude::*, theory::burst::Burst};
use tokio::sync::Semaphore;

mod findings;
mod premise;

/// The constants of the experiment.
#[derive(Args, Debug, Serialize, Deserialize)]
pub struct Params {
    /// Service slots of the upstream: c
    #[arg(long, default_value_t = 50, value_parser = count)]
    pub slots: usize,
    /// Time a request holds a slot: s
    #[arg(long, default_value = "50ms")]
    pub service: Time,
    /// How long a request waits for its answer once it is sent: T (a multiple of s would be a coin toss)
    #[arg(long, default_value = "325ms")]
    pub timeout: Time,
    /// Requests that are to be made at once
    #[arg(long, default_value_t = 1000, value_parser = level)]
    pub requests: usize,
    /// Limits to try, with commas
    #[arg(long, value_delimiter = ',', value_parser = level, default_value = "10,25,50,100,200,500")]
    pub limits: Vec<usize>,
    /// Where the adaptive limit starts, with commas
    #[arg(long, value_delimiter = ',', value_parser = level, default_value = "1,10,60,150")]
    pub starts: Vec<usize>,
    /// The adaptive limit takes answers for late that took this many times the fastest
    #[arg(long, default_value_t = 1.15, value_parser = late_factor)]
    pub late: f64,
}

fn late_factor(text: &str) -> Result<f64, String> {
    let factor = text.parse().ok().filter(|f| (1.02..=10.0).contains(f));
    factor.ok_or_else(|| "expected a factor from 1.02 to 10".into())
}

/// lab04.
pub struct SemaphoreLimits;

impl Lab for SemaphoreLimits {
    type Params = Params;

    const CARD: Card = Card {
        number: 4,
        name: "semaphore_limits",
        title: "Semaphore limits",
        question: "How does a limit in the client turn collapse into waiting?",
        predict: &[
            Question {
                key: "limit",
                ask: "Which is the smallest limit that reaches the full throughput?",
                unit: "requests in flight",
                hint: "1 to 1000",
            },
            Question {
                key: "lost",
                ask: "Without a limit, what share of the requests is lost?",
                unit: "%",
                hint: "0 to 100",
            },
        ],
        next: &[
            (
                "cargo run --release --bin lab04 -- --limits 25,50,100,250,350,400",
                "where a limit stops protecting: c·⌊T/s⌋ is between two of these",
            ),
            (
                "cargo run --release --bin lab04 -- --slots 20 --starts 1,20,200",
                "another capacity: does the adaptive limit find it?",
            ),
            (
                "cargo run --release --bin lab04 -- --python",
                "the same limits in asyncio and aiohttp: a semaphore against a pool of connections",
            ),
        ],
        sources: lab_kit::sources!["lib.rs"],
        answers: include_str!("../answers.md"),
        sizes: Sizes {
            smoke: &[
                "--slots",
                "4",
                "--service",
                "20ms",
                "--timeout",
                "70ms",
                "--requests",
                "40",
                "--limits",
                "2,4,8",
                "--starts",
                "1",
            ],
            full: &[],
            trials: (1, 3),
        },
    };

    fn check(p: &Params) -> Result<(), String> {
        if p.timeout.s() < p.service.s() {
            return Err(
                "--timeout is shorter than --service: no request could ever succeed".into(),
            );
        }
        Ok(())
    }

    fn needs(p: &Params, extent: &Extent) -> Needs {
        let (n, s, timeout) = (p.requests, p.service.s(), p.timeout.s());
        let burst = Burst {
            n,
            slots: p.slots,
            service: s,
            queue: None,
            timeout,
        };
        let sent = |n: usize| n as f64 * needs::REQUEST_S;
        let takes = |m: usize| burst.limited(m).map_or(f64::INFINITY, |l| l.makespan);
        let mut sweep = extent.sweep();
        let limits = extent.that_fit(&p.limits);
        for m in &limits {
            let seconds = needs::connected(*m) + takes(*m).max(sent(n));
            sweep.steady(*m, seconds).among(limits.len());
        }
        for start in &p.starts {
            // It needs its time to rise from a small number, or to fall from one that is too large.
            let settles = s * (p.slots.max(n) as f64).log2()
                + if *start > p.slots { 3.0 * timeout } else { 0.0 };
            let all = (SETTLES * n) as f64 * s / p.slots.min(SETTLES * n) as f64;
            let seconds = needs::connected(*start) + (1.3 * all + settles).max(sent(SETTLES * n));
            let in_flight = (*start).max(2 * p.slots);
            sweep.steady(in_flight, seconds).among(p.starts.len());
        }
        let at_once = needs::connected(n) + burst.makespan().max(sent(n));
        for n in extent.that_fit(&[n, n]) {
            sweep.burst(n, at_once);
        }
        if extent.with_python {
            let limited: f64 = compared(p.slots, &limits).into_iter().map(takes).sum();
            sweep.alone(5.0 * (1.0 + 10.0 * sent(n)) + limited + 2.0 * timeout);
        }
        Needs {
            seconds: sweep.seconds(),
            memory: n as f64 * needs::CONNECTION_B,
            less: "fewer --requests, a shorter --service or larger --limits",
            ..Needs::default()
        }
    }

    fn measure(p: &Params, session: &mut Session) -> Result<()> {
        let runtime = lab_kit::host::runtime()?;
        let (timeout, late) = (p.timeout.duration(), p.late);
        let limits = session.levels_that_fit(&p.limits);
        let requests = session.levels_that_fit(&[p.requests]);
        let spec = Spec::new(p.slots, ServiceTime::Constant(p.service.duration()));
        let (n, slots) = (p.requests, p.slots);

        let (tried, starts) = (limits.len(), p.starts.len());
        let python = session.python();
        let compared = compared(slots, &limits);

        let mut sweep = session.sweep();
        for m in limits {
            let spec = spec.clone();
            sweep
                .steady("limit", m as f64, m, move |r| {
                    limited(r, spec.clone(), timeout, n, m)
                })
                .among(tried);
        }
        for start in p.starts.clone() {
            let spec = spec.clone();
            sweep
                .steady("adaptive", start as f64, start.max(2 * slots), move |r| {
                    adaptive(r, spec.clone(), timeout, SETTLES * n, start, late)
                })
                .among(starts);
        }
        for (m, python) in compared.into_iter().zip(python.iter().cycle()) {
            let (python, spec) = (python.clone(), spec.clone());
            sweep.alone("python/limit", m as f64, move |r| {
                in_python(r, python.clone(), spec.clone(), timeout, n, m, 0)
            });
        }
        // Without a limit all requests are in flight at once, if there are descriptors for them.
        if !requests.is_empty() {
            let (one, other) = (spec.clone(), spec.clone());
            sweep.burst("none", n as f64, n, move |r| {
                unlimited(r, one.clone(), timeout, n)
            });
            let pools = [("python/default pool", 100), ("python/none", 0)];
            for ((series, pool), python) in pools.into_iter().zip(python.iter().cycle()) {
                let (python, spec) = (python.clone(), spec.clone());
                sweep.alone(series, n as f64, move |r| {
                    in_python(r, python.clone(), spec.clone(), timeout, n, 0, pool)
                });
            }
            sweep.burst("inside", slots as f64, n, move |r| {
                limited_inside(r, other.clone(), timeout, n, slots)
            });
        }
        runtime.block_on(sweep.run())
    }

    fn may(p: &Params, at: &Condition) -> &'static [Fate] {
        premise::may(p, at)
    }

    fn premise(p: &Params, at: &Condition, trial: &Trial) -> Result<(), String> {
        premise::premise(p, at, trial)
    }

    fn explain(p: &Params, summary: &Summary) -> Findings {
        findings::explain(p, summary)
    }
}

/// One request. The clock of the client's timeout starts here.
async fn fetch(client: reqwest::Client, url: String) -> Outcome {
    Outcome::of(http::get(&client, url).await)
}

/// No limit: lab03's burst.
async fn unlimited(r: Recorder, spec: Spec, timeout: Duration, n: usize) -> Result<()> {
    let service = r.upstream(spec).await?;
    let client = http::builder().timeout(timeout).build()?;
    r.connect(&client, &service, n).await?;
    let load = r
        .load()
        .burst(n, |_| fetch(client.clone(), service.url()))
        .await;
    r.answers(&load);
    r.tally(load, &service)
}

// wrong: The semaphore made inside the function
/// The wrong way: every call makes a semaphore of its own, and each has all permits free.
async fn limited_inside(
    r: Recorder,
    spec: Spec,
    timeout: Duration,
    n: usize,
    m: usize,
) -> Result<()> {
    let service = r.upstream(spec).await?;
    let client = http::builder().timeout(timeout).build()?;
    r.connect(&client, &service, n).await?;
    let load = r.load();
    let burst = load.burst(n, |_| {
        let request = fetch(client.clone(), service.url());
        async move {
            let semaphore = Semaphore::new(m);
            let _permit = semaphore.acquire().await;
            request.await
        }
    });
    r.tally(burst.await, &service)
}

// right: One semaphore, shared by all
// so: A semaphore limits those who share it. One that is made anew for every call limits nobody.
/// The right way: one semaphore for all.
async fn limited(r: Recorder, spec: Spec, timeout: Duration, n: usize, m: usize) -> Result<()> {
    let service = r.upstream(spec).await?;
    let client = http::builder().timeout(timeout).build()?;
    r.connect(&client, &service, m).await?;
    let semaphore = Arc::new(Semaphore::new(m));
    let load = r.load();
    let burst = load.burst(n, |_| {
        let (r, semaphore) = (r.clone(), semaphore.clone());
        let request = fetch(client.clone(), service.url());
        async move {
            let _permit = semaphore.acquire().await;
            let sent = Instant::now();
            let outcome = request.await;
            // The clock that does not see the wait for the permit. Of successes alone, like the clock
            // that it is compared with: who gives up has waited longer than who is answered.
            if outcome == Outcome::Ok {
                r.sample("ok_from_sending_s", sent.elapsed().as_secs_f64());
            }
            outcome
        }
    });
    let load = burst.await;
    r.answers(&load);
    r.tally(load, &service)
}

/// The smallest limit, the first that is enough, and the largest.
fn compared(slots: usize, limits: &[usize]) -> Vec<usize> {
    let smallest = limits.iter().min();
    let enough = limits.iter().filter(|m| **m >= slots).min();
    let mut chosen: Vec<usize> = [smallest, enough, limits.iter().max()]
        .into_iter()
        .flatten()
        .copied()
        .collect();
    chosen.dedup();
    chosen
}

/// asyncio and aiohttp: `python/lab04.py`, with a semaphore of `m` permits and a pool of so
/// many connections (0: none, and no limit).
async fn in_python(
    r: Recorder,
    python: Python,
    spec: Spec,
    timeout: Duration,
    n: usize,
    m: usize,
    pool: usize,
) -> Result<()> {
    const SCRIPT: Script = Script::new("lab04.py", include_str!("../python/lab04.py"));
    let service = r.upstream(spec).await?;
    let flags = [
        ("requests", n.to_string()),
        ("limit", m.to_string()),
        ("pool", pool.to_string()),
        ("timeout", timeout.as_secs_f64().to_string()),
    ];
    // No limit that runs without --long takes as long.
    let limit = Duration::from_secs(700);
    r.python(&python, SCRIPT, &service, &flags, limit).await
}

/// So many times the requests go through the adaptive limit: time to settle, and to rise and fall once or
/// twice more.
const SETTLES: usize = 3;

/// A limit that nobody sets.
async fn adaptive(
    r: Recorder,
    spec: Spec,
    timeout: Duration,
    n: usize,
    start: usize,
    late: f64,
) -> Result<()> {
    let service = r.upstream(spec).await?;
    let client = http::builder().timeout(timeout).build()?;
    r.connect(&client, &service, start).await?;
    let limit = Arc::new(Adaptive::new(start, late));
    let load = r.load();
    let begin = Instant::now();
    let burst = load.burst(n, |_| {
        let (r, limit) = (r.clone(), limit.clone());
        let request = fetch(client.clone(), service.url());
        async move {
            let outcome = limit.run(request).await;
            r.trace("limit", Instant::now(), limit.now());
            outcome
        }
    });
    let load = burst.await;
    r.gauge("started_s", (begin - r.origin()).as_secs_f64());
    r.tally(load, &service)
}

/// A semaphore whose number of permits follows the latencies it sees.
struct Adaptive {
    permits: Semaphore,
    late: f64,
    state: Mutex<State>,
}

struct State {
    limit: f64,
    granted: usize,
    fastest: f64,
    /// Doubles each round trip until the first late one (slow start), then grows by one.
    starting: bool,
    /// Requests sent before this instant tell nothing about the limit since.
    round: Instant,
    sum: f64,
    seen: f64,
}

impl Adaptive {
    fn new(start: usize, late: f64) -> Adaptive {
        let state = State {
            limit: start as f64,
            granted: start,
            fastest: f64::INFINITY,
            starting: true,
            round: Instant::now(),
            sum: 0.0,
            seen: 0.0,
        };
        Adaptive {
            permits: Semaphore::new(start),
            late,
            state: Mutex::new(state),
        }
    }

    fn now(&self) -> f64 {
        self.state.lock().expect("nobody panics holding it").limit
    }

    async fn run(&self, request: impl Future<Output = Outcome>) -> Outcome {
        let permit = self.permits.acquire().await;
        let sent = Instant::now();
        let outcome = request.await;
        let mut state = self.state.lock().expect("nobody panics holding it");
        if sent >= state.round {
            state.learn(sent.elapsed().as_secs_f64(), self.late);
        }
        let target = state.limit as usize;
        if target > state.granted {
            self.permits.add_permits(target - state.granted);
            state.granted = target;
        } else if target < state.granted
            && let Ok(permit) = permit
        {
            permit.forget();
            state.granted -= 1;
        }
        outcome
    }
}

impl State {
    /// A round trip is over when as many answers have come as may be in flight.
    fn learn(&mut self, took: f64, late: f64) {
        self.fastest = self.fastest.min(took);
        self.sum += took;
        self.seen += 1.0;
        if self.seen < self.limit.floor() {
            return;
        }
        let mean = self.sum / self.seen;
        if mean > late * self.fastest {
            // Little's law: without waiting, the same throughput has this much less in flight. The
            // queue that has built up needs a round trip to go.
            self.limit = (self.limit * (self.fastest / mean).max(0.5)).max(1.0);
            self.starting = false;
            self.round = Instant::now() + Duration::from_secs_f64(mean);
        } else {
            self.limit += if self.starting { self.limit } else { 1.0 };
            self.round = Instant::now();
        }
        (self.sum, self.seen) = (0.0, 0.0);
    }
}
