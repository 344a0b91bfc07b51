//! The flags of lab12, and the conditions it measures.

use std::path::PathBuf;

use lab_kit::{accounts::Fate, host, prelude::*};
use lab_parts::client::Backoff;
use mock_server::{By, Every, Faults};
use tokio::runtime::Builder;

use super::{
    alone, findings,
    gauges::{BOOKS_FAILED, IN_DATABASE, IN_FALLBACK},
    languages, premise,
    replay::Way,
    stages::Tools,
    store::{Options, Store, Synchronous},
    trials::{answers_lost, killed, locked, measured},
};

/// The constants of the experiment.
#[derive(Args, Clone, Debug, Serialize, Deserialize)]
pub struct Params {
    /// Items, numbered from 0
    #[arg(long, default_value_t = 100, value_parser = level)]
    pub items: usize,
    /// Items under way at the same time: in a batch, or in the window
    #[arg(long, default_value_t = 10, value_parser = level)]
    pub batch: usize,
    /// Time the upstream takes for an item
    #[arg(long, default_value = "30ms")]
    pub fetch: Time,
    /// How much longer for some: item i takes 1 + (i mod this) times as long
    #[arg(long, default_value_t = 1, value_parser = cycle)]
    #[serde(default = "alike")]
    pub fetch_cycle: usize,
    /// How long a fetch waits for its answer
    #[arg(long, default_value = "2s")]
    pub fetch_timeout: Time,
    /// Attempts at a fetch: more than one does not help against an answer that is always 500
    #[arg(long, default_value_t = 2, value_parser = few)]
    pub attempts: usize,
    /// Most that is waited before the second attempt; before each one after it, twice as long
    #[arg(long, default_value = "5ms")]
    pub backoff: Time,
    /// The upstream answers 500 for every so many-th item, always (0: for none)
    #[arg(long, default_value_t = 7, value_parser = every)]
    pub fail_every: usize,
    /// Cost of processing an item on a processor of its own
    #[arg(long, default_value = "3ms")]
    pub process: Time,
    /// How long the processing of an item may take once a worker has begun it
    #[arg(long, default_value = "2s")]
    pub process_timeout: Time,
    /// Threads that process [default: one for each processor but the event loop's]
    #[arg(long, default_value_t = (host::cores() - 1).clamp(1, 64), hide_default_value = true, value_parser = few)]
    pub workers: usize,
    /// Time a write takes to get to the database and back
    #[arg(long, default_value = "15ms")]
    pub store: Time,
    /// How long a write waits for its answer
    #[arg(long, default_value = "150ms")]
    pub store_timeout: Time,
    /// The write of every so many-th item gets no answer (0: every write does)
    #[arg(long, default_value_t = 20, value_parser = every)]
    pub hang_every: usize,
    /// Connections to the database: writes on their way at the same time
    #[arg(long, default_value_t = 4, value_parser = few)]
    pub connections: usize,
    /// How often the process is killed on its way
    #[arg(long, default_value_t = 5, value_parser = few)]
    pub kills: usize,
    /// How long another program holds the database locked
    #[arg(long, default_value = "100ms")]
    pub lock: Time,
    /// Time between two beats on the event loop while it is locked
    #[arg(long, default_value = "10ms")]
    pub beat: Time,
    /// What a commit waits for: the operating system (normal) or the disk (full)
    #[arg(long, value_enum, default_value_t)]
    pub synchronous: Synchronous,
    /// Largest size of the database, in pages of 4 KiB [default: as large as the disk]
    #[arg(long, value_parser = pages)]
    #[serde(default)]
    pub db_pages: Option<u32>,
    /// How long to wait for a database that another program has locked
    #[arg(long, default_value = "5s")]
    pub busy: Time,
    /// Do no experiment: run the pipeline once, on the state in this folder, from where it is
    #[arg(long, value_name = "DIR")]
    #[serde(skip)]
    pub state: Option<PathBuf>,
    /// With --state: fetch from this server instead of one of its own
    #[arg(long, value_name = "URL", requires = "state")]
    #[serde(skip)]
    pub upstream: Option<String>,
}

fn few(text: &str) -> Result<usize, String> {
    whole(text, 1..=256)
}

fn every(text: &str) -> Result<usize, String> {
    whole(text, 0..=1_000_000)
}

fn cycle(text: &str) -> Result<usize, String> {
    whole(text, 1..=100)
}

/// All items take the same time.
fn alike() -> usize {
    1
}

/// As many as SQLite knows.
fn pages(text: &str) -> Result<u32, String> {
    whole(text, 1..=u32::MAX - 1)
}

/// How often each way to meet a lock is tried in a round: a bound needs an interval, so three trials at least.
fn lock_repeats(smoke: bool) -> u8 {
    if smoke { 1 } else { 3 }
}

/// What the flags say will become of the items: exact.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Expected {
    /// Items whose result the database has.
    pub in_database: usize,
    /// Items whose result the fallback file has.
    pub in_fallback: usize,
    /// Items without a result.
    pub failed: usize,
    /// Requests the upstream gets when nothing is done twice.
    pub requests: usize,
}

impl Expected {
    /// Items with a result, in the database or in the file.
    pub fn stored(&self) -> usize {
        self.in_database + self.in_fallback
    }
}

impl Params {
    /// True for an item that the upstream always answers with 500.
    pub fn fails(&self, item: usize) -> bool {
        self.fail_every > 0 && item.is_multiple_of(self.fail_every)
    }

    /// True for an item whose write gets no answer.
    pub fn hangs(&self, item: usize) -> bool {
        self.hang_every > 0 && item.is_multiple_of(self.hang_every)
    }

    /// What should become of the items.
    pub fn expected(&self) -> Expected {
        let failed = (0..self.items).filter(|i| self.fails(*i)).count();
        let fetched = (0..self.items).filter(|i| !self.fails(*i));
        let in_fallback = fetched.filter(|i| self.hangs(*i)).count();
        Expected {
            in_database: self.items - failed - in_fallback,
            in_fallback,
            failed,
            requests: self.items + failed * (self.attempts - 1),
        }
    }

    /// How many times as long as the shortest an item's fetch takes.
    pub(super) fn factor(&self, item: usize) -> f64 {
        (1 + item % self.fetch_cycle) as f64
    }

    /// The same on average over all items of a cycle.
    pub(super) fn mean_factor(&self) -> f64 {
        (1 + self.fetch_cycle) as f64 / 2.0
    }

    /// The longest fetch.
    fn longest_fetch(&self) -> Time {
        Time::from(self.fetch.duration() * self.fetch_cycle as u32)
    }

    /// The same pipeline without any faults.
    pub(super) fn calm(&self) -> Params {
        Params { fail_every: 0, hang_every: 0, ..self.clone() }
    }

    /// The flags that a pipeline needs that runs by itself.
    pub(super) fn of_the_pipeline(&self) -> Vec<String> {
        let synchronous = match self.synchronous {
            Synchronous::Normal => "normal".to_string(),
            Synchronous::Full => "full".to_string(),
        };
        let flags = [
            ("items", self.items.to_string()),
            ("batch", self.batch.to_string()),
            ("fetch", self.fetch.to_string()),
            ("fetch-cycle", self.fetch_cycle.to_string()),
            ("fetch-timeout", self.fetch_timeout.to_string()),
            ("attempts", self.attempts.to_string()),
            ("backoff", self.backoff.to_string()),
            ("fail-every", self.fail_every.to_string()),
            ("process", self.process.to_string()),
            ("process-timeout", self.process_timeout.to_string()),
            ("workers", self.workers.to_string()),
            ("store", self.store.to_string()),
            ("store-timeout", self.store_timeout.to_string()),
            ("hang-every", self.hang_every.to_string()),
            ("connections", self.connections.to_string()),
            ("synchronous", synchronous),
            ("busy", self.busy.to_string()),
        ];
        let words = flags.map(|(name, value)| [format!("--{name}"), value]);
        words.concat()
    }

    pub(super) fn backoff(&self) -> Backoff {
        Backoff::exponential(self.backoff.duration()).jittered()
    }

    pub(super) fn options(&self) -> Options {
        Options { synchronous: self.synchronous, busy: self.busy.duration(), pages: self.db_pages }
    }

    /// The upstream: as many slots as are ever under way, so that it is never what holds things up.
    pub(super) fn spec(&self, service: ServiceTime, seed: u64) -> Spec {
        let every = (self.fail_every > 0).then_some(Every {
            nth: self.fail_every as u64,
            status: 500,
            by: By::Item,
        });
        let faults = Faults { every: every.into_iter().collect(), ..Faults::default() };
        let cycle = self.fetch_cycle as u64;
        Spec { seed, faults, cycle, ..Spec::new(self.batch, service) }
    }
}

/// lab12.
pub struct ProductionPipeline;

impl Lab for ProductionPipeline {
    type Params = Params;

    const CARD: Card = Card {
        number: 12,
        name: "production_pipeline",
        title: "The production pipeline",
        question: "What happens when things fail?",
        predict: &[
            Question {
                key: "stored",
                ask: "Of {items} items, the fetch of one in every {fail-every} fails. The write of one in every {hang-every} hangs, and its result goes to a file. How many items have a result in the end, in the database or in the file?",
                unit: "items",
                hint: "0 to all of them",
            },
            Question {
                key: "barrier",
                ask: "{batch} items under way, in batches or in a sliding window: how many times as long do batches take?",
                unit: "times",
                hint: "1 to 5",
            },
            Question {
                key: "twice",
                ask: "The process is killed on its way and started again, {kills}×: how many items are stored twice or lost?",
                unit: "items",
                hint: "0 to all of them",
            },
        ],
        next: &[
            (
                "cargo run --release --bin lab12 -- --state my-state --fetch 300ms",
                "the pipeline alone: kill it (kill -9), start it again, look into the folder",
            ),
            (
                "cargo run --release --bin lab12 -- --state full-state --db-pages 8",
                "a database without room: what does it say, and what does the same command without --db-pages do then?",
            ),
            (
                "cargo run --release --bin lab12 -- --batch 30",
                "more under way: what holds the pipeline back now, and what does a barrier cost?",
            ),
            (
                "cargo run --release --bin lab12 -- --synchronous full",
                "every commit waits for the disk; commits made together make it bearable",
            ),
            (
                "cargo run --release --bin lab12 -- --with all",
                "batches and a window in Python, Node, Go and Java",
            ),
            (
                "cargo run --release -- make next resume_exactly_once",
                "make it: a run that goes on where it was killed",
            ),
        ],
        sources: lab_kit::sources!["lib.rs"],
        answers: include_str!("../answers.md"),
        sizes: Sizes {
            smoke: &[
                "--items",
                "16",
                "--batch",
                "6",
                "--fetch",
                "10ms",
                "--process",
                "1ms",
                "--store",
                "3ms",
                "--store-timeout",
                "40ms",
                "--hang-every",
                "5",
                "--kills",
                "1",
                "--lock",
                "20ms",
                "--beat",
                "4ms",
            ],
            full: &[
                "--fetch",
                "100ms",
                "--process",
                "10ms",
                "--store",
                "40ms",
                "--store-timeout",
                "500ms",
            ],
            trials: (1, 3),
        },
    };

    const PRESETS: &'static [Preset] = &[Preset {
        name: "source",
        what: "100 items in batches of 10, every 7th fails, every 20th write times out (lesson, example 6)",
        flags: "--items 100 --batch 10 --fetch 50ms --fetch-cycle 3 --fetch-timeout 2s --fail-every 7 --attempts 1 --process 100ms --workers 4 --store 20ms --store-timeout 150ms --hang-every 20",
        differs: "The source's figures are what its rules make of the items. Here processing computes, on as many processors as there are. A write waits for {store-timeout}.",
        printed: &[
            Printed {
                what: "stored",
                unit: "items",
                at: &[(0.0, 85.0)],
                read: |s, _| {
                    let stored = |t: &Trial| Some(t.gauge(IN_DATABASE)? + t.gauge(IN_FALLBACK)?);
                    s.only("faults/batches")?.estimate(stored)
                },
            },
            Printed {
                what: "of these by fallback",
                unit: "items",
                at: &[(0.0, 4.0)],
                read: |s, _| s.only("faults/batches")?.gauge(IN_FALLBACK),
            },
            Printed {
                what: "failed",
                unit: "items",
                at: &[(0.0, 15.0)],
                read: |s, _| s.only("faults/batches")?.gauge(BOOKS_FAILED),
            },
        ],
    }];

    const PROGRAMS: Programs = languages::PROGRAMS;

    fn check(p: &Params) -> Result<(), String> {
        if let Some(url) = &p.upstream {
            http::site("--upstream", &url.as_str().into())?;
        }
        // A timeout close to what it guards would decide by chance.
        for (name, time, limit) in [
            ("fetch", p.longest_fetch(), p.fetch_timeout),
            ("process", p.process, p.process_timeout),
            ("store", p.store, p.store_timeout),
        ] {
            if limit.s() < 3.0 * time.s() {
                return Err(format!(
                    "--{name}-timeout is less than three times --{name}: which items are in time would be chance"
                ));
            }
        }
        if p.db_pages.is_some_and(|pages| pages < 8) {
            return Err("--db-pages must be 8 or more: the tables alone take that".into());
        }
        if p.db_pages.is_some() && p.state.is_none() {
            return Err("--db-pages ends the pipeline in an error, so it goes with --state".into());
        }
        if p.state.is_some() {
            // No experiment: as long as it takes.
            return Ok(());
        }
        if p.beat.s() > p.lock.s() / 4.0 {
            return Err(
                "--lock is shorter than four --beat: such a gap could be a late timer".into()
            );
        }
        if p.items < 8 * p.kills {
            return Err(
                "--kills leaves fewer than eight --items for each: fewer kills, or more items"
                    .into(),
            );
        }
        Ok(())
    }

    fn needs(p: &Params, extent: &Extent) -> Needs {
        let calm = p.calm();
        // Writes go to the disk one after another; what is written down of an item, three times.
        let written = match p.synchronous {
            Synchronous::Normal => 4e-4,
            Synchronous::Full => 1e-2,
        };
        let books = p.items as f64 * (written + 2.0 * needs::REQUEST_S) + needs::connected(p.batch);
        let takes = |p| Way::ALL.map(|way| findings::takes(p, way) + books);
        let ([batches, window], [calm_batches, calm_window]) = (takes(p), takes(&calm));
        let last = 1.0 + (p.batch.min(p.items) as f64).ln();
        let kills = p.kills as f64;
        let redone = kills * (p.batch as f64 / p.items as f64).min(1.0) * window;
        let killed =
            window + redone + (kills + 1.0) * (0.05 + p.fetch.s() + p.process.s() + p.store.s());
        let few = (2 * p.batch) as f64 / p.items as f64 * calm_window + 0.05;
        let locked = p.fetch.s() + p.lock.s() + few + p.store.s();
        let locks = 2.0 * f64::from(lock_repeats(extent.smoke()));
        let in_one = 2.0 * needs::START_S + 1.5 * (batches + window);
        let others = extent.with.iter().count() as f64 * in_one;
        let round = batches
            + window
            + calm_batches
            + calm_window
            + calm_batches * last
            + calm_window
            + p.fetch.s() * last
            + killed
            + 2.0 * window
            + locks * locked
            + others;
        Needs {
            seconds: extent.times() * round,
            memory: extent.times() * 11.0 * p.items as f64 * 600.0
                + (p.batch as f64) * needs::CONNECTION_B,
            disk: p.items as f64 * 2000.0,
            less: "fewer --items or --kills, or shorter times: --fetch, --backoff, --store-timeout, --lock",
        }
    }

    fn instead(p: &Params) -> Option<Result<()>> {
        p.state.as_deref().map(|dir| alone::by_itself(p, dir))
    }

    fn measure(p: &Params, session: &mut Session) -> Result<()> {
        // Everything that waits is on one event loop; what computes, and what blocks, is elsewhere.
        let runtime = Builder::new_current_thread().enable_all().build()?;
        let tools = &Tools::new(p)?;
        let (calm, rt) = (&p.calm(), &runtime);
        // None of the random times is to time out: at most one in 10¹³ is that long.
        let patient = &Params {
            fetch_timeout: p.fetch_timeout.max(Time::from(30 * p.longest_fetch().duration())),
            ..p.calm()
        };
        let constant = ServiceTime::Constant(p.fetch.duration());
        let random = ServiceTime::Exponential { mean: p.fetch.duration() };

        let smoke = session.scale == Scale::Smoke;
        let programs = session.programs(&Self::PROGRAMS);
        let mut plan = session.plan();
        for (arm, p, service) in
            [("faults", p, &constant), ("calm", calm, &constant), ("random", patient, &random)]
        {
            for way in Way::ALL {
                plan.point(&format!("{arm}/{way}"), 0.0, move |r| {
                    rt.block_on(measured(r, p, tools, service, way))
                });
            }
        }
        plan.point("killed", 0.0, |r| killed(r, p, rt));
        for (series, careful) in [("answers lost/naive", false), ("answers lost/careful", true)] {
            plan.point(series, 0.0, move |r| rt.block_on(answers_lost(r, p, tools, careful)));
        }
        for _ in 0..lock_repeats(smoke) {
            plan.point("locked/event loop", 0.0, |r| {
                rt.block_on(locked(r, p, tools, Store::open_in_place))
            });
            plan.point("locked/writer", 0.0, |r| rt.block_on(locked(r, p, tools, Store::open)));
        }
        for program in &programs {
            languages::add(&mut plan, program, p, rt);
        }
        plan.run()
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
