//! What can be set, and which conditions are measured.

use lab_kit::{host, prelude::*};

use super::{
    batches_as_one_job, batches_by_item, findings, in_turn, phases, premise, stages_awaiting_each,
    stages_in_flight, tools::run,
};

/// The constants of the experiment.
#[derive(Args, Debug, Serialize, Deserialize)]
pub struct Params {
    /// Number of items: N
    #[arg(long, default_value_t = 30, value_parser = level)]
    pub items: usize,
    /// Time to fetch one item
    #[arg(long, default_value = "15ms")]
    pub fetch: Time,
    /// Time to transform one item, on a processor of its own
    #[arg(long, default_value = "30ms")]
    pub transform: Time,
    /// Time to store one item
    #[arg(long, default_value = "6ms")]
    pub store: Time,
    /// Items that can be fetched at a time: C
    #[arg(long, default_value_t = 4, value_parser = width)]
    pub fetchers: usize,
    /// Workers of the pool that transforms: W [default: one for each processor, at most 4]
    #[arg(long, default_value_t = host::cores().min(4), hide_default_value = true, value_parser = width)]
    pub transformers: usize,
    /// Items that can be stored at a time: D
    #[arg(long, default_value_t = 2, value_parser = width)]
    pub storers: usize,
    /// What a transformation does: compute, or sleep as if another machine computed
    #[arg(long, value_enum, default_value_t = Work::Spin)]
    pub work: Work,
    /// Items in a batch
    #[arg(long, default_value_t = 10, value_parser = level)]
    pub batch: usize,
    /// Capacities of the queues to try, with commas
    #[arg(long, value_delimiter = ',', value_parser = level, default_value = "1,4,20")]
    pub capacities: Vec<usize>,
    /// Mean time of each of the three stages where times vary
    #[arg(long, default_value = "20ms")]
    pub varying: Time,
    /// How much they vary there: standard deviation over mean
    #[arg(long, default_value_t = 1.0, value_parser = variation)]
    pub cv: f64,
}

/// What a transformation does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum Work {
    /// Computes, on this machine's processors.
    Spin,
    /// Sleeps, as if another machine computed.
    Sleep,
}

/// Most workers of a stage.
const MOST: usize = 64;

fn width(text: &str) -> Result<usize, String> {
    whole(text, 1..=MOST)
}

fn variation(text: &str) -> Result<f64, String> {
    let number = text.trim().parse().ok();
    let inside = number.filter(|cv| (0.0..=3.0).contains(cv));
    inside.ok_or_else(|| "expected a coefficient of variation from 0 to 3".into())
}

/// lab08.
pub struct PipelineOverlap;

impl Lab for PipelineOverlap {
    type Params = Params;

    const CARD: Card = Card {
        number: 8,
        name: "pipeline_overlap",
        title: "Pipeline overlap",
        question: "Why do stages with queues beat phases?",
        predict: &[
            Question {
                key: "share",
                ask: "Stages with queues take what share of the time of phases?",
                unit: "%",
                hint: "10 to 100",
            },
            Question {
                key: "busy",
                ask: "A stage awaits each item that it gives to its pool: how many of the pool's workers are busy on average?",
                unit: "workers",
                hint: "0 to 4",
            },
            Question {
                key: "capacity",
                ask: "Where times vary: how much longer does it take with queues of the smallest capacity than with the largest?",
                unit: "%",
                hint: "0 to 100",
            },
        ],
        next: &[
            (
                "cargo run --release --bin lab08 -- --work sleep --transformers 4 --fetch 50ms --transform 100ms --store 20ms",
                "longer steps and four workers: what does it cost now to await each item?",
            ),
            (
                "cargo run --release --bin lab08 -- --storers 1 --store 30ms",
                "another stage is the slowest: which queue is full now?",
            ),
            (
                "cargo run --release --bin lab08 -- --cv 2 --items 60 --varying 15ms",
                "times that vary more: what is a place in a queue worth?",
            ),
            (
                "cargo run --release -- make next overlap_the_stages",
                "make it: stages that work at the same time",
            ),
        ],
        sources: lab_kit::sources!["lib.rs"],
        answers: include_str!("../answers.md"),
        sizes: Sizes {
            smoke: &[
                "--items",
                "4",
                "--fetch",
                "3ms",
                "--transform",
                "5ms",
                "--store",
                "2ms",
                "--batch",
                "3",
                "--varying",
                "3ms",
                "--capacities",
                "1,3",
            ],
            full: &[
                "--fetch",
                "50ms",
                "--transform",
                "100ms",
                "--store",
                "20ms",
                "--varying",
                "40ms",
            ],
            trials: (2, 3),
        },
    };

    const PRESETS: &'static [Preset] = &[Preset {
        name: "source",
        what: "30 items in batches of 10, queues of 20 (lesson, example 3)",
        flags: "--items 30 --batch 10 --fetch 50ms --fetchers 10 --transform 100ms --transformers 4 --store 20ms --storers 1 --capacities 1,4,20 --work sleep",
        differs: "The source computes its time of one after another and does not measure it. Here a transformation sleeps, so that a pool of four fits on any machine.",
        printed: &[Printed {
            what: "one after another, computed",
            unit: "s",
            at: &[(0.0, 5.1)],
            read: |s, _| s.only("in-turn")?.wall_s(),
        }],
    }];

    fn check(p: &Params) -> Result<(), String> {
        let each = [p.fetch, p.transform, p.store, p.varying];
        if each.iter().any(|t| t.duration() < Duration::from_millis(1)) {
            return Err("times must be 1 ms or more: timers tick in milliseconds".into());
        }
        if p.capacities.is_empty() || p.capacities.len() > 8 {
            return Err("--capacities: one to eight of them".into());
        }
        Ok(())
    }

    fn ready(p: &Params) -> Result<(), String> {
        let (w, cores) = (p.transformers, host::cores());
        if p.work == Work::Spin && w > cores {
            return Err(format!(
                "--transformers {w}: there are {cores} processors to compute on; let another machine compute (--work sleep), or see lab11"
            ));
        }
        Ok(())
    }

    fn needs(p: &Params, extent: &Extent) -> Needs {
        let (n, capacities) = (p.items as f64, p.capacities.len() as f64);
        let workers = match p.work {
            Work::Spin => needs::processors(p.transformers),
            Work::Sleep => p.transformers as f64,
        };
        let [fetch, transform, store] = [p.fetch.s(), p.transform.s(), p.store.s()];
        // Waves for each of so many items: the last wave may not be full.
        let waves = |items: f64, width: f64| (items / width).ceil() * (1.0 / items);
        let around = |items: f64| {
            (fetch * waves(items, p.fetchers as f64), store * waves(items, p.storers as f64))
        };
        let size = (p.batch as f64).min(n);
        let ((fetch_all, store_all), (fetch_some, store_some)) = (around(n), around(size));
        let pooled = (transform * waves(size, p.transformers as f64)).max(transform / workers);
        let (least_f, least_s) = (fetch / p.fetchers as f64, store / p.storers as f64);
        // Seconds an item, of each arm.
        let in_turn = fetch + transform + store;
        let phases = fetch_all + transform / workers + store_all;
        let one_job = fetch_some + transform + store_some;
        let job_each = fetch_some + pooled + store_some;
        let awaited = least_f.max(transform).max(least_s);
        let in_flight = least_f.max(transform / workers).max(least_s);
        let varying = p.varying.s() * (1.0 + 0.6 * p.cv);
        let each =
            in_turn + phases + one_job + job_each + awaited + capacities * (in_flight + varying);
        let arms = 5.0 + 2.0 * capacities;
        let ends = arms * (fetch + transform + store + 0.03);
        let times = if p.capacities.len() < 3 && !extent.smoke() {
            extent.times().max(3.0)
        } else {
            extent.times()
        };
        Needs {
            seconds: times * (n * (each + arms * 2.0 * needs::REQUEST_S) + ends),
            // Six spans an item.
            memory: times * arms * n * 1000.0,
            less: "fewer --items, shorter times or fewer --capacities",
            ..Needs::default()
        }
    }

    fn measure(p: &Params, session: &mut Session) -> Result<()> {
        let kernel = (p.work == Work::Spin).then(Kernel::calibrate);
        let seed = session.seed;
        let (steady, varying) = (&Job::steady(p), &Job::varying(p, seed));
        let (b, most) = (p.batch, p.capacities.iter().copied().max().unwrap_or(1));

        // A law at fewer than three capacities cannot borrow an interval from the others.
        if p.capacities.len() < 3 && session.scale != Scale::Smoke {
            session.trials = session.trials.max(3);
        }
        let mut plan = session.plan();
        plan.point("in-turn", 0.0, |r| run(r, steady, kernel, in_turn));
        plan.point("phases", 0.0, |r| run(r, steady, kernel, phases));
        plan.point("batches/one-job", b as f64, |r| {
            run(r, steady, kernel, async |t| batches_as_one_job(t, b).await)
        });
        plan.point("batches/job-each", b as f64, |r| {
            run(r, steady, kernel, async |t| batches_by_item(t, b).await)
        });
        plan.point("stages/awaited", most as f64, |r| {
            run(r, steady, kernel, async |t| stages_awaiting_each(t, most).await)
        });
        for q in p.capacities.iter().copied() {
            plan.point("stages/in-flight", q as f64, move |r| {
                run(r, steady, kernel, async |t| stages_in_flight(t, q).await)
            });
            plan.point("varying", q as f64, move |r| {
                run(r, varying, kernel, async |t| stages_in_flight(t, q).await)
            });
        }
        plan.run()
    }

    fn premise(p: &Params, at: &Condition, trial: &Trial) -> Result<(), String> {
        premise::premise(p, at, trial)
    }

    fn explain(p: &Params, summary: &Summary) -> Findings {
        findings::explain(p, summary)
    }
}

/// How many work at each stage, and how long they take.
pub(super) struct Job {
    pub(super) widths: [usize; 3],
    pub(super) fetch: ServiceTime,
    pub(super) transform: Vec<Duration>,
    pub(super) store: ServiceTime,
}

impl Job {
    fn steady(p: &Params) -> Job {
        Job {
            widths: [p.fetchers, p.transformers, p.storers],
            fetch: ServiceTime::Constant(p.fetch.duration()),
            transform: vec![p.transform.duration(); p.items],
            store: ServiceTime::Constant(p.store.duration()),
        }
    }

    /// One worker a stage, so that the items keep their order and each has the time meant for it.
    fn varying(p: &Params, seed: u64) -> Job {
        let [fetch, transform, store] = varying_times(p, seed);
        Job {
            widths: [1; 3],
            fetch: ServiceTime::Trace(fetch),
            transform,
            store: ServiceTime::Trace(store),
        }
    }
}

/// The times of each stage where they vary: the same for every trial of a run, and for theory.
pub(super) fn varying_times(p: &Params, seed: u64) -> [Vec<Duration>; 3] {
    let times = ServiceTime::LogNormal { mean: p.varying.duration(), cv: p.cv };
    [0, 1, 2].map(|stage| {
        let mut sampler = times.sampler(seed.wrapping_mul(3).wrapping_add(stage));
        (0..p.items).map(|_| sampler.next_time()).collect()
    })
}
