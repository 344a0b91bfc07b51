//! The constants of the experiment, which conditions there are, and how long each is watched.

use lab_kit::{accounts::Fate, prelude::*, theory::little};

use super::{
    bounded, burst, findings,
    languages::{self, compared},
    pooled, premise, recovery, sustained, unbounded,
};

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
    /// Bursts alone, without the load that is sustained
    #[arg(long)]
    #[serde(default)]
    pub bursts_only: bool,
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
                "cargo run --release --bin lab03 -- --with all",
                "the same load from Python, Node, Go and Java: which client has a pool of connections by default?",
            ),
            ("cargo run --release -- make next bound_the_queue", "make it: a queue that says no"),
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

    const PRESETS: &'static [Preset] = &[Preset {
        name: "source",
        what: "bursts of 1 to 2000 requests (lab notes, 2.2)",
        flags: "--levels 1,5,10,25,50,100,200,500,1000,2000 --pool 100 --slots 100 --service 955ms --timeout 11s --bursts-only",
        differs: "The source's server was somewhere on the internet. Here it has {slots} slots and takes {service}: 10 requests at a time, at 10.47 a second (lab notes, 2.3), take as long. Here a client waits for {timeout}: no level of the source takes 20 ms longer. Connections are open before a burst begins. The source's requests a second count failures as well, and so do these.",
        printed: &[
            Printed {
                what: "{x} at once: requests a second",
                unit: "",
                at: &[
                    (1.0, 0.41),
                    (5.0, 1.56),
                    (10.0, 2.95),
                    (25.0, 4.31),
                    (50.0, 4.79),
                    (100.0, 9.72),
                    (200.0, 18.18),
                    (500.0, 45.46),
                    (1000.0, 90.82),
                    (2000.0, 181.42),
                ],
                read: |s, x| findings::all_by_time(&as_the_source(s, x)?),
            },
            Printed {
                what: "{x} at once: answered",
                unit: "%",
                at: &[
                    (1.0, 100.0),
                    (5.0, 100.0),
                    (10.0, 100.0),
                    (25.0, 100.0),
                    (50.0, 100.0),
                    (100.0, 99.0),
                    (200.0, 99.5),
                    (500.0, 99.8),
                    (1000.0, 57.4),
                    (2000.0, 27.3),
                ],
                read: |s, x| in_percent(as_the_source(s, x)?.success_share()),
            },
        ],
    }];

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

    const PROGRAMS: Programs = languages::PROGRAMS;

    fn check(p: &Params) -> Result<(), String> {
        if p.timeout.s() < p.service.s() {
            return Err("--timeout is shorter than --service: no request could ever succeed".into());
        }
        let attempts = p.levels.iter().max().map_or(0.0, |n| *n as f64 / p.timeout.s());
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
                let group = if queue.is_none() && p.crowded(n) { "giving up" } else { "answered" };
                if !p.bursts_only {
                    let sustained = sweep.steady(n, opened(n) + lasts);
                    sustained.among(p.alike(&levels, n)).only_beside(group);
                }
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
        for n in extent.with.iter().flat_map(|_| compared(p.slots, &levels)) {
            let sustained = plan(p, n, None).longest_s() + 5.0 * timeout;
            sweep.alone(sustained + 2.0 * timeout + n as f64 * 1e-3 + 3.0 * needs::START_S);
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
        let unbounded = unbounded(p.slots, p.service.duration());
        let bounded = bounded(p.slots, p.service.duration(), p.queue);

        let (crowded, alike) = (|n| p.crowded(n), |n| p.alike(&levels, n));
        let large = levels.iter().filter(|n| **n > 3 * pool).count();
        let programs = session.programs(&Self::PROGRAMS);

        let mut sweep = session.sweep();
        for n in levels.iter().copied() {
            let x = n as f64;
            for (queue, spec) in [("unbounded", &unbounded), ("bounded", &bounded)] {
                let (plan, spec) = (plan(p, n, spec.queue), spec.clone());
                let again = spec.clone();
                if !p.bursts_only {
                    sweep
                        .steady(&format!("sustained/{queue}"), x, n, move |r| {
                            sustained(r, spec.clone(), plan, timeout)
                        })
                        .among(alike(n))
                        .only_beside(match queue {
                            "unbounded" if crowded(n) => "giving up",
                            _ => "answered",
                        });
                }
                sweep
                    .burst(&format!("burst/{queue}"), x, n, move |r| {
                        burst(r, again.clone(), n, timeout)
                    })
                    .among(2 * levels.len());
            }
            if n > 3 * pool {
                let spec = unbounded.clone();
                sweep
                    .burst("burst/pool", x, n, move |r| pooled(r, spec.clone(), n, timeout, pool))
                    .among(large);
            }
        }
        if fall_fits {
            let spec = unbounded.clone();
            sweep.burst("recovery/unbounded", fall.burst as f64, fall.burst, move |r| {
                recovery(r, spec.clone(), fall, timeout)
            });
        }
        for program in &programs {
            for n in compared(p.slots, &levels) {
                for (load, arm, pool) in languages::loads(program.language) {
                    let (program, spec) = (program.clone(), unbounded.clone());
                    let flags = languages::flags(p, n, arm, pool);
                    sweep.alone(&program.language.series(load), n as f64, move |r| {
                        languages::run(r, program.clone(), spec.clone(), flags.clone())
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

/// A burst on an unbounded queue, through a pool of connections like that of the source's client where the burst
/// is larger.
fn as_the_source<'a>(summary: &Summary<'a>, burst: f64) -> Option<Condition<'a>> {
    summary.at("burst/pool", burst).or_else(|| summary.at("burst/unbounded", burst))
}

/// The sizes of the recovery run.
#[derive(Clone, Copy)]
pub(super) struct Fall {
    pub(super) burst: usize,
    pub(super) rate: f64,
    /// Seconds until nobody waits any more.
    pub(super) drain: f64,
    pub(super) watch: Duration,
}

impl Fall {
    /// A third more requests than patience allows, then half the capacity.
    pub(super) fn of(p: &Params) -> Fall {
        let capacity = p.slots as f64 / p.service.s();
        let burst = (capacity * p.timeout.s() * 4.0 / 3.0).ceil() as usize;
        let rate = capacity / 2.0;
        let waiting = burst.saturating_sub(p.slots) as f64;
        let drain = little::drain_time(waiting, capacity, rate);
        let watch = Duration::from_secs_f64(drain + 4.0 * p.service.s());
        Fall { burst, rate, drain, watch }
    }
}

/// The load that follows the burst.
pub(super) fn steady_after(fall: &Fall) -> Open {
    Open { rate: fall.rate, poisson: false, window: fall.watch, seed: 1 }
}

/// Timeouts for which a loop is watched whose clients give up: attempts are counted, and they begin
/// once in a timeout.
pub(super) const TIMEOUTS: u32 = 5;

/// How long to ramp, warm up and measure, with so many waiting places.
pub(super) fn plan(p: &Params, n: usize, queue: Option<usize>) -> Closed {
    let (s, t) = (p.service.duration(), p.timeout.duration());
    let inside = queue.map_or(n, |places| n.min(p.slots + places));
    let wait = s.mul_f64((inside as f64 / p.slots as f64).max(1.0));
    let gives_up = wait > t;
    // Clients that all give up begin anew together if they began together: they start evenly over a
    // timeout, or a window would hold one wave of them more or less.
    let (ramp, ramped) = if gives_up { (t, n) } else { (s, n.min(p.slots)) };
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
