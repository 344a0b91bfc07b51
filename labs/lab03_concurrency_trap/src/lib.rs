//! # The concurrency trap
//!
//! ## The question
//!
//! Does more concurrency always mean more throughput?
//!
//! ## What to predict
//!
//! A service has `c` = {slots} slots, and each request holds one for `s` = {service}. Clients wait
//! at most `T` = {timeout} for an answer. You send {levels} requests at once. Sketch three curves
//! over their number: answers per second, latency, and the share of requests that succeed.
//!
//! ## The experiment
//!
//! Two kinds of load, each against a service whose queue has no bound and one that refuses (503)
//! when `K` = {queue} requests are waiting:
//!
//! - **burst**: `N` requests at the same instant, once.
//! - **sustained**: `N` clients; each sends, waits for its answer, and sends again.
//!
//! A third burst goes through a client whose connection pool has a limit, as many HTTP libraries
//! have by default. A last run lets the load fall after a burst and watches the service recover.
//! Only answers complete and in time count: so many per second is the *goodput*.
//!
//! ## What the figures show
//!
//! Up to `N = c` every client has a slot to itself: goodput is `N/s`, latency `s`. From there on
//! goodput is `c/s` whatever `N` is. Little's law says: how many are inside (`L`) is how many come
//! a second (`λ`) times how long each stays (`W`). So latency is `W = L/λ = N·s/c`. More
//! concurrency buys nothing but waiting.
//!
//! Beyond `N = c·T/s` waiting exceeds patience, and the two queues part. With the unbounded one the
//! service works for clients that have left; their slots are not freed by their leaving, new
//! attempts queue up behind dead ones, and nobody is answered in time any more: the goodput of a
//! service that is busy all the time falls towards zero. With the bounded one most clients are
//! refused at once, the rest are answered in time, and goodput stays at `c/s`.
//!
//! A burst shows only half of this: `c·⌊T/s⌋` requests are answered in time and the rest are lost,
//! so its success share falls while its goodput stays. The collapse needs clients that try again.
//!
//! Once the load falls to `λ`, the service recovers after `backlog / (c/s − λ)`: the backlog is
//! worked off with what capacity is left over.
//!
//! ## A common belief
//!
//! *More concurrency, more throughput.* The lab notes that this suite grew from sent bursts of up
//! to 2000 requests and divided their number by the time they took. That "throughput" kept rising,
//! to 181 requests/s, while the share of answers fell to 27 %: failures were counted as well. The
//! first panel calls such a line *attempts*.
//!
//! *The server is to blame.* Often the client is: behind a pool of connections (aiohttp 3 keeps 100
//! unless told otherwise) most of a large burst times out in the client's own queue, and the server
//! never sees it. A pool is a hidden semaphore. With `--python` that library sends the same loads,
//! with its default pool and with none.
//!
//! ## In production
//!
//! Bound every queue, and refuse at the door: a refusal costs the service little and the client can
//! act on it. Give requests deadlines the server knows, so that it can drop what nobody awaits.
//! Watch goodput, not attempts. Do not let clients retry at once. Expect a recovery that outlasts
//! the overload, unless the backlog is dropped or more capacity is spare afterwards than was
//! missing before.
//!
//! ## Check yourself
//!
//! - Why does latency grow in proportion to N once the slots are full, and not faster?
//! - The service doubles `c`. Where does the collapse move to? And if `s` halves instead?
//! - Attempts per second rise when goodput collapses. What bounds them?
//! - For which `K` does the bounded queue collapse as well? Try it: `--queue` with more than
//!   `c·(T/s − 1)`.

use std::sync::Arc;

use lab_kit::theory::little;
use lab_kit::{accounts::Fate, prelude::*};
use tokio::sync::Semaphore;

mod findings;
pub(crate) mod premise;

/// The constants of the experiment.
#[derive(Args, Debug, Serialize, Deserialize)]
pub struct Params {
    /// Service slots of the upstream: c
    #[arg(long, default_value_t = 50, value_parser = count)]
    pub slots: usize,
    /// Time a request holds a slot: s
    #[arg(long, default_value = "50ms")]
    pub service: Time,
    /// Places in the bounded queue: K
    #[arg(long, default_value_t = 200, value_parser = count)]
    pub queue: usize,
    /// How long a client waits for an answer: T (a multiple of s would be a coin toss)
    #[arg(long, default_value = "325ms")]
    pub timeout: Time,
    /// Numbers of requests in flight, with commas
    #[arg(long, value_delimiter = ',', value_parser = level,
          default_value = "1,5,10,25,50,100,200,500,1000,2000")]
    pub levels: Vec<usize>,
    /// How long a refused client waits before it tries again
    #[arg(long, default_value = "500ms")]
    pub retry_after: Time,
    /// Connections of the client with a limited pool
    #[arg(long, default_value_t = 100, value_parser = level)]
    pub pool: usize,
}

impl Params {
    /// More clients than the service can answer in time.
    fn crowded(&self, n: usize) -> bool {
        n as f64 * self.service.s() > self.slots as f64 * self.timeout.s()
    }

    /// How many conditions there are at levels for which the same law holds.
    fn alike(&self, levels: &[usize], n: usize) -> usize {
        let of = |n: usize| (self.crowded(n), n > self.slots);
        let peers = levels.iter().filter(|m| of(**m) == of(n));
        peers.count() * if self.crowded(n) { 1 } else { 2 }
    }
}

/// lab03.
pub struct ConcurrencyTrap;

impl Lab for ConcurrencyTrap {
    type Params = Params;

    const CARD: Card = Card {
        number: 3,
        name: "concurrency_trap",
        title: "The concurrency trap",
        question: "Does more concurrency always mean more throughput?",
        predict: &[
            Question {
                key: "goodput",
                ask: "The largest load: how many good answers per second, sustained, with an unbounded queue?",
                unit: "requests/s",
                hint: "0 to 2000",
            },
            Question {
                key: "success",
                ask: "The largest burst: what share of its requests is answered in time?",
                unit: "%",
                hint: "0 to 100",
            },
        ],
        next: &[
            (
                "cargo run --release --bin lab03 -- --queue 600 --levels 10,50,200,500,2000",
                "a queue that is bounded, but too long: c·(T/s − 1) is where it starts to hurt",
            ),
            (
                "cargo run --release --bin lab03 -- --timeout 3.02s --levels 50,500,1000,2000",
                "patient clients: where has the collapse gone?",
            ),
            (
                "cargo run --release --bin lab03 -- --python",
                "the same load from asyncio and aiohttp, whose pool holds 100 connections unless told otherwise",
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
                "--queue",
                "8",
                "--timeout",
                "70ms",
                "--levels",
                "1,4,20",
                "--retry-after",
                "40ms",
                "--pool",
                "8",
            ],
            full: &[],
            trials: (1, 3),
        },
    };

    const SKETCHES: &'static [Sketch] = &[Sketch {
        key: "goodput",
        ask: "good answers per second, sustained, with an unbounded queue",
        unit: "requests/s",
        hint: "0 to 2000",
        x: "clients",
        places: "levels",
        figure: "trap",
        panel: 0,
        line: "goodput, unbounded",
    }];

    fn check(p: &Params) -> Result<(), String> {
        if p.timeout.s() < p.service.s() {
            return Err(
                "--timeout is shorter than --service: no request could ever succeed".into(),
            );
        }
        let attempts = p
            .levels
            .iter()
            .max()
            .map_or(0.0, |n| *n as f64 / p.timeout.s());
        if attempts.max(p.slots as f64 / p.service.s()) > 20_000.0 {
            return Err("more than 20,000 requests per second: this would measure the generator, not the trap; lengthen --service and --timeout".into());
        }
        Ok(())
    }

    fn needs(p: &Params, extent: &Extent) -> Needs {
        let (timeout, fall) = (p.timeout.s(), Fall::of(p));
        let levels = extent.that_fit(&p.levels);
        let mut sweep = extent.sweep();
        let opened = |n: usize| needs::connected(n) + n as f64 * needs::REQUEST_S;
        for n in levels.iter().copied() {
            let waves = n.div_ceil(p.slots) as f64 * p.service.s();
            for queue in [None, Some(p.queue)] {
                // The last attempts are answered, or given up, after the window.
                let lasts = plan(p, n, queue).longest_s() + waves.min(timeout);
                let group = if queue.is_none() && p.crowded(n) {
                    "giving up"
                } else {
                    "answered"
                };
                let sustained = sweep.steady(n, opened(n) + lasts);
                sustained.among(p.alike(&levels, n)).only_beside(group);
                let burst = sweep.burst(n, opened(n) + waves.min(timeout));
                burst.among(2 * levels.len());
            }
            if n > 3 * p.pool {
                sweep.burst(n, opened(p.pool) + timeout);
            }
        }
        let fallen = extent.that_fit(&[fall.burst]);
        for n in &fallen {
            sweep.burst(*n, opened(*n) + fall.watch.as_secs_f64());
        }
        for n in compared(p.slots, &levels)
            .into_iter()
            .filter(|_| extent.with_python)
        {
            let sustained = plan(p, n, None).longest_s() + 5.0 * timeout;
            sweep.alone(sustained + 2.0 * timeout + n as f64 * 1e-3 + 3.0);
        }
        let most = levels.iter().chain(&fallen).copied().max().unwrap_or(0);
        Needs {
            seconds: sweep.seconds(),
            memory: most as f64 * needs::CONNECTION_B,
            less: "a shorter --service and --timeout, or fewer --levels",
            ..Needs::default()
        }
    }

    fn measure(p: &Params, session: &mut Session) -> Result<()> {
        let runtime = lab_kit::host::runtime()?;
        let levels = session.levels_that_fit(&p.levels);
        let (timeout, pool, fall) = (p.timeout.duration(), p.pool, Fall::of(p));
        let fall_fits = !session.levels_that_fit(&[fall.burst]).is_empty();
        // wrong(1): The service with a queue that has no bound
        let unbounded = Spec::new(p.slots, ServiceTime::Constant(p.service.duration()));
        // right(1): The service that refuses when its queue is full
        // so(1): This is the whole difference between the goodput that falls to nothing and the one
        //     that stays at the capacity.
        let bounded = Spec {
            queue: Some(p.queue),
            ..unbounded.clone()
        };

        let (crowded, alike) = (|n| p.crowded(n), |n| p.alike(&levels, n));
        let large = levels.iter().filter(|n| **n > 3 * pool).count();
        let python = session.python();

        let mut sweep = session.sweep();
        for n in levels.iter().copied() {
            let x = n as f64;
            for (queue, spec) in [("unbounded", &unbounded), ("bounded", &bounded)] {
                let (plan, spec) = (plan(p, n, spec.queue), spec.clone());
                let again = spec.clone();
                sweep
                    .steady(&format!("sustained/{queue}"), x, n, move |r| {
                        sustained(r, spec.clone(), plan, timeout)
                    })
                    .among(alike(n))
                    .only_beside(match queue {
                        "unbounded" if crowded(n) => "giving up",
                        _ => "answered",
                    });
                sweep
                    .burst(&format!("burst/{queue}"), x, n, move |r| {
                        burst(r, again.clone(), n, timeout)
                    })
                    .among(2 * levels.len());
            }
            if n > 3 * pool {
                let spec = unbounded.clone();
                sweep
                    .burst("burst/pool", x, n, move |r| {
                        pooled(r, spec.clone(), n, timeout, pool)
                    })
                    .among(large);
            }
        }
        if fall_fits {
            let spec = unbounded.clone();
            sweep.burst(
                "recovery/unbounded",
                fall.burst as f64,
                fall.burst,
                move |r| recovery(r, spec.clone(), fall, timeout),
            );
        }
        if let Some(python) = python {
            for n in compared(p.slots, &levels) {
                for (series, arm, pool) in IN_PYTHON {
                    let (python, spec) = (python.clone(), unbounded.clone());
                    let flags = python_flags(p, n, arm, pool);
                    sweep.alone(series, n as f64, move |r| {
                        in_python(r, python.clone(), spec.clone(), flags.clone())
                    });
                }
            }
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

/// One request. `send` takes what the timeout allows; a refusal is an error like any other status.
async fn fetch(client: reqwest::Client, url: String) -> Outcome {
    Outcome::of(http::get(&client, url).await)
}

/// A client with open connections: a burst shall measure the service, not the handshakes.
async fn client(
    r: &Recorder,
    service: &Service,
    timeout: Duration,
    connections: usize,
) -> Result<reqwest::Client> {
    let client = http::builder().timeout(timeout).build()?;
    r.connect(&client, service, connections).await?;
    Ok(client)
}

// right(2): A client with a connection for each request
// so(2): In the pooled client the clock of the timeout runs while a request waits for a connection,
//     and the service never sees it.
/// N requests at once, and that is all.
async fn burst(r: Recorder, spec: Spec, n: usize, timeout: Duration) -> Result<()> {
    let service = r.upstream(spec).await?;
    let client = client(&r, &service, timeout, n).await?;
    let load = r
        .load()
        .burst(n, |_| fetch(client.clone(), service.url()))
        .await;
    r.tally(load, &service)
}

/// N clients that send again after each answer.
async fn sustained(r: Recorder, spec: Spec, plan: Closed, timeout: Duration) -> Result<()> {
    let service = r.upstream(spec).await?;
    let client = client(&r, &service, timeout, plan.clients).await?;
    let url = service.url();
    let load = r
        .load()
        .watching(service.arrivals())
        .closed(plan, move |_| fetch(client.clone(), url.clone()))
        .await;
    r.tally(load, &service)
}

// wrong(2): A client whose pool is a semaphore nobody sees
/// The burst again, through a client that keeps at most `pool` connections: a semaphore nobody
/// sees. The clock of the timeout runs while a request waits for a connection.
async fn pooled(r: Recorder, spec: Spec, n: usize, timeout: Duration, pool: usize) -> Result<()> {
    let service = r.upstream(spec).await?;
    let client = client(&r, &service, timeout, pool.min(n)).await?;
    let connections = Arc::new(Semaphore::new(pool));
    let load = r.load();
    let burst = load.burst(n, |_| {
        let (connections, request) = (connections.clone(), fetch(client.clone(), service.url()));
        async move {
            let pooled = async {
                let _connection = connections.acquire().await;
                request.await
            };
            tokio::time::timeout(timeout, pooled)
                .await
                .unwrap_or(Outcome::TimedOut)
        }
    });
    r.tally(burst.await, &service)
}

/// A burst, and then a load well below capacity: how long until the service is itself again?
///
/// The clients of the burst leave after `timeout`. The steady ones wait however long it takes, so
/// that every latency is seen.
async fn recovery(r: Recorder, spec: Spec, fall: Fall, timeout: Duration) -> Result<()> {
    let service = r.upstream(spec).await?;
    let hasty = client(&r, &service, timeout, fall.burst).await?;
    let patient = http::client();
    let arrivals = steady_after(&fall);
    let load = r.load();
    let start = Instant::now();
    let (_, steady) = tokio::join!(
        load.burst(fall.burst, |_| fetch(hasty.clone(), service.url())),
        load.open(arrivals, |_| fetch(patient.clone(), service.url())),
    );
    for (at, latency) in &steady.timeline {
        r.trace("latency_s", start + Duration::from_secs_f64(*at), *latency);
    }
    r.gauge("started_s", (start - r.origin()).as_secs_f64());
    r.tally(steady, &service)
}

/// The same load from Python: series, arm of the script, connections in the pool (0: no limit).
const IN_PYTHON: [(&str, &str, usize); 3] = [
    ("python/burst/default pool", "burst", 100),
    ("python/burst/no limit", "burst", 0),
    ("python/sustained", "sustained", 0),
];

/// A level at the capacity, one in the middle beyond it, and the last.
fn compared(slots: usize, levels: &[usize]) -> Vec<usize> {
    let mut beyond: Vec<usize> = levels.iter().copied().filter(|n| *n >= slots).collect();
    beyond.sort_unstable();
    beyond.dedup();
    let last = beyond.len().saturating_sub(1);
    let mut chosen: Vec<usize> = [0, last.div_ceil(2), last]
        .iter()
        .filter_map(|i| beyond.get(*i).copied())
        .collect();
    chosen.dedup();
    chosen
}

/// The same plan as for Rust, in seconds, after a longer warm-up: an event loop in Python takes a
/// while to get all clients going.
fn python_flags(p: &Params, n: usize, arm: &str, pool: usize) -> Vec<(&'static str, String)> {
    let plan = plan(p, n, None);
    let seconds = |d: Duration| d.as_secs_f64().to_string();
    vec![
        ("arm", arm.into()),
        ("clients", n.to_string()),
        ("pool", pool.to_string()),
        ("timeout", p.timeout.s().to_string()),
        ("ramp", seconds(plan.ramp)),
        ("ramped", plan.ramped.to_string()),
        ("warm-up", seconds(plan.warm_up + 3 * p.timeout.duration())),
        ("window", seconds(plan.window + p.timeout.duration())),
        ("pause", seconds(plan.pause_after_refusal)),
        ("seed", plan.seed.to_string()),
    ]
}

/// asyncio and aiohttp: `python/lab03.py`.
async fn in_python(
    r: Recorder,
    python: Python,
    spec: Spec,
    flags: Vec<(&'static str, String)>,
) -> Result<()> {
    const SCRIPT: Script = Script::new("lab03.py", include_str!("../python/lab03.py"));
    let service = r.upstream(spec).await?;
    // No plan that runs without --long is as long.
    let limit = Duration::from_secs(2000);
    r.python(&python, SCRIPT, &service, &flags, limit).await
}

/// The sizes of the recovery run.
#[derive(Clone, Copy)]
struct Fall {
    burst: usize,
    rate: f64,
    /// Seconds until nobody waits any more.
    drain: f64,
    watch: Duration,
}

impl Fall {
    /// A third more requests than patience allows, then half the capacity.
    fn of(p: &Params) -> Fall {
        let capacity = p.slots as f64 / p.service.s();
        let burst = (capacity * p.timeout.s() * 4.0 / 3.0).ceil() as usize;
        let rate = capacity / 2.0;
        let waiting = burst.saturating_sub(p.slots) as f64;
        let drain = little::drain_time(waiting, capacity, rate);
        let watch = Duration::from_secs_f64(drain + 4.0 * p.service.s());
        Fall {
            burst,
            rate,
            drain,
            watch,
        }
    }
}

/// The load that follows the burst.
fn steady_after(fall: &Fall) -> Open {
    Open {
        rate: fall.rate,
        poisson: false,
        window: fall.watch,
        seed: 1,
    }
}

/// Timeouts for which a loop is watched whose clients give up: attempts are counted, and they begin
/// once in a timeout.
const TIMEOUTS: u32 = 5;

/// How long to ramp, warm up and measure, with so many waiting places.
fn plan(p: &Params, n: usize, queue: Option<usize>) -> Closed {
    let (s, t) = (p.service.duration(), p.timeout.duration());
    let inside = queue.map_or(n, |places| n.min(p.slots + places));
    let wait = s.mul_f64((inside as f64 / p.slots as f64).max(1.0));
    let gives_up = wait > t;
    // Clients that all give up begin anew together if they began together: they start evenly over a
    // timeout, or a window would hold one wave of them more or less.
    let (ramp, ramped) = if gives_up {
        (t, n)
    } else {
        (s, n.min(p.slots))
    };
    let window = if gives_up { TIMEOUTS * t } else { 20 * s };
    Closed {
        clients: n,
        ramp,
        ramped,
        warm_up: ramp + wait.min(t) + s / 4,
        window,
        pause_after_refusal: p.retry_after.duration(),
        seed: n as u64,
    }
}
