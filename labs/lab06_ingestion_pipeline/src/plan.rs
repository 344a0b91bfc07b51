//! What can be set, and which conditions are measured.

use std::path::PathBuf;

use anyhow::Context;
use clap::ValueEnum;
use lab_kit::prelude::*;

use super::{
    findings,
    gauges::{HEAP_IDLE_BYTES, HEAP_PEAK_BYTES},
    languages, premise,
    trials::{Arm, How, Job, crash, memory, pace, throughput},
};

/// The constants of the experiment.
#[derive(Args, Debug, Serialize, Deserialize)]
pub struct Params {
    /// A text file of your own instead of a generated one; its first --size are read
    #[arg(long, value_name = "PATH")]
    pub file: Option<PathBuf>,
    /// How much text goes through the pipeline
    #[arg(long, default_value = "400KB")]
    pub size: Size,
    /// Text in a request
    #[arg(long, default_value = "1KB")]
    pub chunk: Size,
    /// Mean time the service takes for a request: s
    #[arg(long, default_value = "50ms")]
    pub service: Time,
    /// How random service times spread round it
    #[arg(long, value_enum, default_value_t = Spread::Exponential)]
    pub random: Spread,
    /// Coefficient of variation of lognormal service times
    #[arg(long, default_value_t = 0.5, value_parser = variation)]
    pub cv: f64,
    /// Batch sizes to try, with commas
    #[arg(long, value_delimiter = ',', value_parser = level, default_value = "25,50,100")]
    pub batches: Vec<usize>,
    /// Requests in flight while batch sizes are tried
    #[arg(long, default_value_t = 25, value_parser = level)]
    pub concurrency: usize,
    /// Requests in flight to try, with commas
    #[arg(long, value_delimiter = ',', value_parser = level, default_value = "10,25,50")]
    pub levels: Vec<usize>,
    /// Batch size while requests in flight are tried
    #[arg(long, default_value_t = 50, value_parser = level)]
    pub batch: usize,
    /// Length of an embedding
    #[arg(long, default_value_t = 64, value_parser = level)]
    pub dimensions: usize,
    /// Sizes of the text whose memory is compared, with commas
    #[arg(long, value_delimiter = ',', default_value = "1MB,2MB,4MB,8MB,16MB")]
    pub heap_sizes: Vec<Size>,
    /// Text in a request where memory is measured over the size of the text
    #[arg(long, default_value = "4KB")]
    pub heap_chunk: Size,
    /// Requests in flight where memory is measured over the size of the text
    #[arg(long, default_value_t = 5, value_parser = level)]
    pub heap_concurrency: usize,
    /// Requests/s where memory is measured; service times follow from it. A rate that keeps the
    /// client busy all the time would show what it holds for lack of time
    #[arg(long, default_value_t = 6000, value_parser = count)]
    pub heap_rate: usize,
    /// Requests in flight whose memory is compared, with commas
    #[arg(long, value_delimiter = ',', value_parser = level, default_value = "10,25,50,100")]
    pub heap_levels: Vec<usize>,
    /// Sizes of a request whose memory is compared, with commas
    #[arg(long, value_delimiter = ',', default_value = "1KB,32KB,64KB")]
    pub heap_chunks: Vec<Size>,
    /// Batch sizes whose memory is compared, with commas
    #[arg(long, value_delimiter = ',', value_parser = level, default_value = "50,300,500,700")]
    pub heap_batches: Vec<usize>,
}

/// How random service times spread.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Spread {
    /// Memoryless: what has lasted long lasts as long again.
    Exponential,
    /// Most are short, some long.
    Lognormal,
}

fn variation(text: &str) -> Result<f64, String> {
    let cv = text.parse().ok().filter(|cv| (0.0..=3.0).contains(cv));
    cv.ok_or_else(|| "expected a coefficient of variation from 0 to 3".into())
}

/// Requests that a connection carries where memory is measured: so many that the peak hardly depends on
/// chance any more, and fewer than the 33 from which on it holds more.
pub(super) const EACH: usize = 20;

/// Seconds that a byte takes from the text over the wire, at a slow place.
const BYTE_S: f64 = 5e-9;

/// How often a chunk is in memory while it is on its way: here, in the buffers of both ends, at the service.
const COPIES: f64 = 3.0;

/// What an arm takes in which memory is measured.
struct Held {
    seconds: f64,
    /// Bytes of its text on the disk.
    text: f64,
    /// Bytes that it holds.
    bytes: f64,
}

impl Params {
    /// Requests where memory is measured over the size of a request.
    pub(super) fn heap_widest(&self) -> usize {
        (EACH * self.concurrency).max(3 * self.batch)
    }

    /// Bytes of an embedding as it comes over the wire.
    fn answer_bytes(&self) -> f64 {
        12.0 * self.dimensions as f64
    }

    /// Processor seconds of so many requests with so much text in each.
    fn worked(&self, requests: f64, chunk: f64) -> f64 {
        requests * (2.0 * needs::REQUEST_S + (chunk + self.answer_bytes()) * BYTE_S)
    }

    /// Seconds of so many requests of a mean time `s`, in batches or in a window; times that are random
    /// make whoever waits for all wait for the slowest.
    fn arm_takes(
        &self,
        requests: f64,
        batch: Option<usize>,
        width: usize,
        s: f64,
        random: bool,
    ) -> f64 {
        let wide = width as f64;
        let tail = |in_flight: f64| match random {
            true => s * (0.6 + in_flight.max(1.0).ln()) * self.cv.max(1.0),
            false => s,
        };
        match batch {
            None => requests / wide * s + tail(wide.min(requests)),
            Some(batch) => {
                let size = (batch as f64).min(requests);
                let each = match random {
                    true => size / wide * s + tail(wide.min(size)),
                    false => (size / wide).ceil() * s,
                };
                (requests / size).ceil() * each
            }
        }
    }

    /// Seconds of the arms whose speed is compared.
    fn speed(&self, extent: &Extent) -> f64 {
        let (n, s) = ((self.size.f() / self.chunk.f()).ceil(), self.service.s());
        let besides = 0.05 + self.worked(n, self.chunk.f());
        let mut sweep = extent.sweep();
        for random in [false, true] {
            let mut add = |batch, width: usize| {
                let takes = self.arm_takes(n, batch, width, s, random);
                sweep.steady(width, besides + takes + needs::connected(width));
            };
            for b in &self.batches {
                add(Some(*b), self.concurrency);
            }
            for m in extent.that_fit(&self.levels) {
                add(Some(self.batch), m);
                add(None, m);
            }
            for _ in extent.with.iter() {
                for batch in [Some(self.batch), None] {
                    let takes = self.arm_takes(n, batch, self.concurrency, s, random);
                    sweep.alone(takes + needs::connected(self.concurrency) + needs::START_S);
                }
            }
        }
        let crash = 2.0 * self.arm_takes(n, None, self.concurrency, s, false);
        sweep.steady(self.concurrency, 2.0 * besides + crash);
        sweep.seconds()
    }

    /// At most so many of those arms run at the same time.
    fn side_by_side(&self) -> f64 {
        (2 * (self.batches.len() + 2 * self.levels.len()) + 1) as f64
    }

    /// The arms in which memory is measured.
    fn memory_arms(&self, extent: &Extent) -> Vec<Held> {
        let arm = |requests: f64, chunk: Size, batch: Option<usize>, width: usize| {
            let s = width as f64 / self.heap_rate as f64;
            let in_hand = batch.map_or(width, |b| b.max(width)) as f64;
            let text = requests * chunk.f();
            Held {
                seconds: 0.05
                    + self.worked(requests, chunk.f())
                    + self.arm_takes(requests, batch, width, s, true),
                text,
                bytes: text.min(in_hand * chunk.f()) + requests.min(in_hand) * self.answer_bytes(),
            }
        };
        let whole = Some(usize::MAX);
        let sizes = self.heap_sizes.iter().flat_map(|size| {
            let requests = (size.f() / self.heap_chunk.f()).ceil();
            [None, whole].map(|b| arm(requests, self.heap_chunk, b, self.heap_concurrency))
        });
        let fit = extent.that_fit(&self.heap_levels);
        let levels = fit
            .iter()
            .flat_map(|m| [None, Some(2 * m)].map(|b| arm((EACH * m) as f64, self.chunk, b, *m)));
        let chunks = self.heap_chunks.iter().flat_map(|chunk| {
            [None, Some(self.batch)]
                .map(|b| arm(self.heap_widest() as f64, *chunk, b, self.concurrency))
        });
        let kept = self.heap_batches.iter().flat_map(|b| {
            let requests = (b + self.concurrency) as f64;
            // Answers are kept, or lines.
            [0, 1].map(|_| arm(requests, self.chunk, Some(*b), self.concurrency))
        });
        sizes.chain(levels).chain(chunks).chain(kept).collect()
    }

    pub(super) fn spread(&self, mean: Duration) -> ServiceTime {
        match self.random {
            Spread::Exponential => ServiceTime::Exponential { mean },
            Spread::Lognormal => ServiceTime::LogNormal { mean, cv: self.cv },
        }
    }
}

/// lab06.
pub struct IngestionPipeline;

impl Lab for IngestionPipeline {
    type Params = Params;

    const CARD: Card = Card {
        number: 6,
        name: "ingestion_pipeline",
        title: "The ingestion pipeline",
        question: "How does a file larger than memory become API calls?",
        predict: &[
            Question {
                key: "window",
                ask: "Service times are random. One program sends {concurrency} requests, waits for all answers, and sends the next {concurrency}. Another sends the next request when any answer has come (a window). How many times as fast is the window?",
                unit: "times",
                hint: "1 to 20",
            },
            Question {
                key: "memory",
                ask: "Of texts of {heap-sizes}, how many times as much memory does the window need for the longest as for the shortest?",
                unit: "times",
                hint: "1 or more",
            },
        ],
        next: &[
            (
                "cargo run --release --bin lab06 -- --size 1MB --batches 25,30,50,60,100",
                "1,024 chunks, and batches that are no multiple of the concurrency: 30 at 25 takes two waves",
            ),
            (
                "cargo run --release --bin lab06 -- --random lognormal --cv 0.3",
                "service times that spread less: what does the barrier still cost?",
            ),
            (
                "cargo run --release --bin lab06 -- --file README.md --size 100KB --heap-sizes 100KB",
                "a text of your own",
            ),
            (
                "cargo run --release --bin lab06 -- --with all",
                "the same requests from Python, Node, Go and Java: is there a barrier anywhere?",
            ),
            (
                "cargo run --release -- make next stream_do_not_collect",
                "make it: a stream in which little is held",
            ),
        ],
        sources: lab_kit::sources!["lib.rs"],
        answers: include_str!("../answers.md"),
        sizes: Sizes {
            smoke: &[
                "--size",
                "20KB",
                "--service",
                "5ms",
                "--batches",
                "5,10",
                "--concurrency",
                "5",
                "--levels",
                "2,10",
                "--batch",
                "10",
                "--heap-sizes",
                "32KB",
                "--heap-chunk",
                "1KB",
                "--heap-levels",
                "2,5",
                "--heap-chunks",
                "4KB",
                "--heap-batches",
                "32",
            ],
            // One at a time, random batches and all, within its ninety seconds.
            full: &["--service", "40ms"],
            trials: (1, 3),
        },
    };

    const PRESETS: &'static [Preset] = &[Preset {
        name: "source",
        what: "1 MB in 1,024 chunks (lab notes, 2.5)",
        flags: "--size 1MB --chunk 1KB --batches 25,50,100 --concurrency 25 --levels 10,25,50 --batch 50 --heap-levels 10,25,50 --service 1s --random lognormal",
        differs: "The source's server was somewhere on the internet. Here it takes {service} on average and times spread: that comes near the source's. Its memory is what Python's tracemalloc counts. Here memory is counted in a run of its own, with batches of twice the requests in flight.",
        printed: &[
            Printed {
                what: "batches of {x}, 25 in flight: chunks a second",
                unit: "",
                at: &[(25.0, 12.75), (50.0, 9.20), (100.0, 16.30)],
                read: |s, x| s.at("batch/random", x)?.estimate(findings::rate),
            },
            Printed {
                what: "{x} in flight, batches of 50: chunks a second",
                unit: "",
                at: &[(10.0, 6.39), (25.0, 7.32), (50.0, 21.72)],
                read: |s, x| {
                    let level = s.at("level/random", x);
                    level.or_else(|| s.at("batch/random", 50.0))?.estimate(findings::rate)
                },
            },
            Printed {
                what: "{x} in flight: most memory",
                unit: "MB",
                at: &[(10.0, 3.74), (25.0, 7.58), (50.0, 14.18)],
                read: |s, x| {
                    let held = |t: &Trial| {
                        let bytes = t.gauge(HEAP_PEAK_BYTES)? - t.gauge(HEAP_IDLE_BYTES)?;
                        Some(bytes / 1e6)
                    };
                    s.at("heap/level/batch", x)?.estimate(held)
                },
            },
        ],
    }];

    const PROGRAMS: Programs = languages::PROGRAMS;

    fn check(p: &Params) -> Result<(), String> {
        if p.chunk.b() < 16 || p.heap_chunk.b() < 16 || p.heap_chunks.iter().any(|c| c.b() < 16) {
            return Err("a chunk of less than 16B is all overhead: a larger --chunk".into());
        }
        let texts = p.heap_sizes.iter().map(|size| size.f() / p.heap_chunk.f());
        let most = texts.fold(p.size.f() / p.chunk.f(), f64::max);
        if most > 100_000.0 {
            return Err(format!(
                "{most:.0} chunks are too many for an experiment: a smaller --size or --heap-sizes, or larger chunks"
            ));
        }
        let widths = [p.concurrency, p.heap_concurrency];
        let mut widths = widths.iter().chain(&p.levels).chain(&p.heap_levels);
        if widths.any(|m| *m > 1000) {
            return Err(
                "more than 1000 requests in flight would measure this machine, not the pipeline"
                    .into(),
            );
        }
        Ok(())
    }

    fn needs(p: &Params, extent: &Extent) -> Needs {
        let sweep = p.speed(extent);
        let memory = p.memory_arms(extent);
        let most = |levels: &[usize]| levels.iter().copied().fold(p.concurrency, usize::max);
        let widest = most(&p.levels) as f64 * 1.1 + 2.0;
        let pace = 5.0 * (0.05 + widest * (2.0 * needs::REQUEST_S + p.chunk.f() * BYTE_S));
        let heap: f64 = memory.iter().map(|arm| arm.seconds).sum();
        // Conditions side by side have a text each.
        let together = match extent.one_at_a_time {
            true => 1.0,
            false => p.side_by_side(),
        };
        let in_hand = most(&p.levels).max(most(&p.batches)).max(p.batch);
        let fast = p.size.f().min(in_hand as f64 * p.chunk.f()) + in_hand as f64 * p.answer_bytes();
        let held = memory.iter().map(|arm| arm.bytes).fold(0.0, f64::max);
        let text = memory.iter().map(|arm| arm.text).fold(0.0, f64::max);
        let paced = widest * p.chunk.f();
        Needs {
            seconds: sweep + extent.times() * (pace + heap),
            memory: COPIES * held.max(paced).max(together * fast),
            disk: match &p.file {
                Some(_) => 0.0,
                None => text.max(paced).max(together * p.size.f()),
            },
            less: "a smaller --size or --chunk, a shorter --service, larger --batches and --levels, a larger --heap-rate, or smaller --heap-sizes, --heap-chunk, --heap-chunks, --heap-levels and --heap-batches",
        }
    }

    fn measure(p: &Params, session: &mut Session) -> Result<()> {
        // A text of one's own may be shorter than what memory is to be measured over.
        let room = match &p.file {
            None => u64::MAX,
            Some(own) => std::fs::metadata(own)
                .with_context(|| format!("cannot read {}", own.display()))?
                .len(),
        };
        let (levels, heap_levels) =
            (session.levels_that_fit(&p.levels), session.levels_that_fit(&p.heap_levels));
        let job = Job::of(p);
        let programs = session.programs(&Self::PROGRAMS);
        quickness(p, session, &job, &levels)?;
        speed(p, session, &job, &levels, &programs)?;
        let left_out = heaps(p, session, &job, &heap_levels, room)?;
        if left_out > 0 {
            session.note(format!(
                "{left_out} conditions that measure memory need a longer text than these {room} bytes: left out"
            ));
        }
        Ok(())
    }

    fn ready(p: &Params) -> Result<(), String> {
        let Some(path) = &p.file else { return Ok(()) };
        let shown = path.display();
        let found = std::fs::metadata(path).map_err(|e| format!("--file {shown}: {e}"))?;
        match found.is_dir() {
            true => Err(format!("--file {shown}: it is a folder: expected a text file")),
            false => Ok(()),
        }
    }

    fn premise(p: &Params, at: &Condition, trial: &Trial) -> Result<(), String> {
        premise::premise(p, at, trial)
    }

    fn explain(p: &Params, summary: &Summary) -> Findings {
        findings::explain(p, summary)
    }
}

/// How quickly does the pipeline get a batch on its way? Theory needs it.
fn quickness(p: &Params, session: &mut Session, job: &Job, levels: &[usize]) -> Result<()> {
    let widest = levels.iter().copied().fold(p.concurrency, usize::max);
    let mut plan = session.plan();
    plan.point("pace", widest as f64, |r| {
        let runtime = lab_kit::host::runtime()?;
        runtime.block_on(pace(r, &job.chunks(widest), widest))
    });
    plan.run()
}

/// How fast is it, and what is left of it when it is killed?
fn speed(
    p: &Params,
    session: &mut Session,
    job: &Job,
    levels: &[usize],
    programs: &[Program],
) -> Result<()> {
    let runtime = lab_kit::host::runtime()?;
    let constant = ServiceTime::Constant(p.service.duration());
    let mut sweep = session.sweep();
    for (kind, service) in
        [("constant", constant.clone()), ("random", p.spread(p.service.duration()))]
    {
        let mut add = |series: &str, x: usize, how: How, width: usize| {
            let (job, service) = (job.clone(), service.clone());
            let arm = Arm { how, width, service };
            sweep.steady(&format!("{series}/{kind}"), x as f64, width, move |r| {
                throughput(r, job.clone(), arm.clone())
            });
        };
        for b in &p.batches {
            add("batch", *b, How::Batches(*b), p.concurrency);
        }
        for m in levels {
            if *m != p.concurrency || !p.batches.contains(&p.batch) {
                add("level", *m, How::Batches(p.batch), *m);
            }
            add("window", *m, How::Window, *m);
        }
        for program in programs {
            languages::add(&mut sweep, program, p, kind, service.clone());
        }
    }
    let job = job.clone();
    let arm = Arm { how: How::Window, width: p.concurrency, service: constant };
    sweep.steady("crash", p.concurrency as f64, p.concurrency, move |r| {
        crash(r, job.clone(), arm.clone())
    });
    runtime.block_on(sweep.run())
}

/// A condition in which memory is measured: series, x, what is ingested, how, and how much of it at a time.
type HeapCondition = (&'static str, f64, Job, How, usize);

fn heap_conditions(p: &Params, job: &Job, levels: &[usize]) -> Vec<HeapCondition> {
    let mut all = Vec::new();
    let mut add = |series, x: f64, job: &Job, how, width| {
        all.push((series, x, job.clone(), how, width));
    };
    for size in &p.heap_sizes {
        let (x, m, whole) = (size.f(), p.heap_concurrency, How::Batches(usize::MAX));
        let job = Job { bytes: size.b() as u64, chunk: p.heap_chunk.b(), ..job.clone() };
        add("heap/size/window", x, &job, How::Window, m);
        add("heap/size/whole", x, &job, whole, m);
    }
    for m in levels.iter().copied() {
        let (x, job) = (m as f64, job.chunks(EACH * m));
        add("heap/level/window", x, &job, How::Window, m);
        add("heap/level/batch", x, &job, How::Batches(2 * m), m);
    }
    let m = p.concurrency;
    for chunk in &p.heap_chunks {
        let x = chunk.f();
        let job = Job { chunk: chunk.b(), ..job.clone() }.chunks(p.heap_widest());
        add("heap/chunk/window", x, &job, How::Window, m);
        add("heap/chunk/batch", x, &job, How::Batches(p.batch), m);
    }
    for b in p.heap_batches.iter().copied() {
        let (x, job) = (b as f64, job.chunks(b + m));
        add("heap/kept/answers", x, &job, How::Batches(b), m);
        add("heap/kept/lines", x, &job, How::LeanBatches(b), m);
    }
    all
}

/// How much memory? One condition at a time, and each on a runtime of its own. Returns how many are left out,
/// because there is no room for them in the text.
fn heaps(
    p: &Params,
    session: &mut Session,
    job: &Job,
    levels: &[usize],
    room: u64,
) -> Result<usize> {
    let (fit, longer): (Vec<_>, Vec<_>) = heap_conditions(p, job, levels)
        .into_iter()
        .partition(|(_, _, job, _, _)| job.bytes <= room);
    let mut plan = session.plan();
    for (series, x, job, how, width) in fit {
        let mean = Duration::from_secs_f64(width as f64 / p.heap_rate as f64);
        let service = p.spread(mean.max(Duration::from_micros(1)));
        let arm = Arm { how, width, service };
        plan.point(series, x, move |r| memory(r, &job, &arm));
    }
    plan.run()?;
    Ok(longer.len())
}
