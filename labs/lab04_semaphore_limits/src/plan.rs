//! The constants of the experiment, and which conditions there are.

use lab_kit::{accounts::Fate, prelude::*, theory::burst::Burst};

use super::{
    adaptive, findings,
    languages::{self, compared},
    limited, limited_inside, premise, unlimited,
};

/// So many times the requests go through the adaptive limit: time to settle, and to rise and fall once or
/// twice more.
pub(super) const SETTLES: usize = 3;

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
                "cargo run --release --bin lab04 -- --with all",
                "the same limits in Python, Node, Go and Java: a semaphore against a pool of connections",
            ),
            ("cargo run --release -- make next limit_outside", "make it: a limit that limits"),
            (
                "cargo run --release -- make next adaptive_limit",
                "make it: a limit that finds its own size",
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

    const PRESETS: &'static [Preset] = &[Preset {
        name: "source",
        what: "1000 requests behind a semaphore of 10 to 500 (lab notes, 2.3)",
        flags: "--requests 1000 --limits 10,25,50,100,200,500 --slots 100 --service 955ms --timeout 11s --starts 10,50,100",
        differs: "The source's server was somewhere on the internet. Here it has {slots} slots and takes {service}: 10 requests at a time, at the source's 10.47 a second, take as long. The other rows follow from that.",
        printed: &[
            Printed {
                what: "limit {x}: all requests",
                unit: "s",
                at: &[
                    (10.0, 95.49),
                    (25.0, 39.84),
                    (50.0, 20.11),
                    (100.0, 11.22),
                    (200.0, 10.59),
                    (500.0, 10.48),
                ],
                read: |s, x| s.at("limit", x)?.wall_s(),
            },
            Printed {
                what: "limit {x}: requests a second",
                unit: "",
                at: &[
                    (10.0, 10.47),
                    (25.0, 25.10),
                    (50.0, 49.73),
                    (100.0, 89.10),
                    (200.0, 94.44),
                    (500.0, 95.39),
                ],
                read: |s, x| s.at("limit", x)?.estimate(|t| Some(t.offered as f64 / t.wall_s)),
            },
            Printed {
                what: "limit {x}: answered",
                unit: "%",
                at: &[
                    (10.0, 100.0),
                    (25.0, 100.0),
                    (50.0, 99.9),
                    (100.0, 99.8),
                    (200.0, 100.0),
                    (500.0, 100.0),
                ],
                read: |s, x| in_percent(s.at("limit", x)?.success_share()),
            },
            Printed {
                what: "no limit: answered",
                unit: "%",
                at: &[(1000.0, 57.4)],
                read: |s, _| in_percent(s.only("none")?.success_share()),
            },
        ],
    }];

    const PROGRAMS: Programs = languages::PROGRAMS;

    fn check(p: &Params) -> Result<(), String> {
        if p.timeout.s() < p.service.s() {
            return Err("--timeout is shorter than --service: no request could ever succeed".into());
        }
        Ok(())
    }

    fn needs(p: &Params, extent: &Extent) -> Needs {
        let (n, s, timeout) = (p.requests, p.service.s(), p.timeout.s());
        let burst = Burst { n, slots: p.slots, service: s, queue: None, timeout };
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
        for _ in extent.with.iter() {
            let limited: f64 = compared(p.slots, &limits).into_iter().map(takes).sum();
            sweep.alone(5.0 * (needs::START_S + 10.0 * sent(n)) + limited + 2.0 * timeout);
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
        let programs = session.programs(&Self::PROGRAMS);
        let compared = compared(slots, &limits);

        let mut sweep = session.sweep();
        for m in limits {
            let spec = spec.clone();
            sweep
                .steady("limit", m as f64, m, move |r| limited(r, spec.clone(), timeout, n, m))
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
        let mut beside = |program: &Program, arm: &str, x: usize, m: usize, pool: usize| {
            let (program, spec) = (program.clone(), spec.clone());
            sweep.alone(&program.language.series(arm), x as f64, move |r| {
                languages::run(r, program.clone(), spec.clone(), timeout, (n, m, pool))
            });
        };
        for program in &programs {
            compared.iter().for_each(|m| beside(program, "limit", *m, *m, 0));
            // Without a limit all requests are in flight at once, if there are descriptors for them.
            let fits = languages::without_limit(program.language).into_iter();
            for (arm, pool) in fits.filter(|_| !requests.is_empty()) {
                beside(program, arm, n, 0, pool);
            }
        }
        if !requests.is_empty() {
            let (one, other) = (spec.clone(), spec.clone());
            sweep.burst("none", n as f64, n, move |r| unlimited(r, one.clone(), timeout, n));
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
