//! # The ingestion pipeline
//!
//! ## The question
//!
//! How does a file larger than memory become API calls?
//!
//! ## What to predict
//!
//! A text is read in chunks of {chunk}, cleaned, sent to a service that answers with an embedding,
//! and a line is appended for each to a file of results. `m` requests may be in flight; the service
//! takes `s` = {service} for each. The chunks go in batches of `b`: send them, wait for all
//! answers, take the next batch. Does a larger batch make it faster? And of texts of {heap-sizes},
//! how much more memory does the longest take than the shortest?
//!
//! ## The experiment
//!
//! The same text goes through in batches of several sizes and through a window, which sends the
//! next chunk when any answer has come. The service takes the same time for every request, or a
//! random time with the same mean. One run is cut off half way. The lab then tears the last line of
//! its results, as a kill may, and starts the run again. Then memory: the allocator counts what the
//! client's threads hold, without the service in the same process, over the length of the text, the
//! requests in flight, the size of a chunk and the size of a batch.
//!
//! ## What the figures show
//!
//! With constant service a batch takes `⌈b/m⌉` waves of `s`. Whether `b` is `m`, `2m` or `4m` makes
//! no difference: nobody waits at the barrier, because all of a wave end together. A batch that is
//! no multiple of `m` wastes the rest of its last wave.
//!
//! With random service a batch lasts as long as the slowest of its `m` places. For exponential
//! times and `b = m` that is `s·(1 + 1/2 + … + 1/m)`, the mean of the longest of `m`: of 25 places
//! it is `3.8·s`, so that three quarters of them stand empty. Larger batches meet fewer barriers,
//! and that is all they are good for. The window has none, and gives `m/s` whatever the times are,
//! but for the last few requests of the text. It also needs no batch size to be tuned.
//!
//! The window's memory does not depend on the length of the text. It grows with the requests in
//! flight, and most of what each holds is its connection: two buffers of 8 KB (hyper 1.12) and the
//! client's queue to the connection. At about its 33rd request a connection grows, which fits a
//! queue that is allotted in blocks of 32 places. A text that ends before that seems to take less
//! memory; here the shortest is long enough.
//!
//! A chunk is in memory once for each request in flight: a retry sends the same bytes again. An
//! answer that is kept until its batch ends holds the buffer it was read into, however short the
//! answer is. The batch that turns each answer into its line at once does not hold it.
//!
//! ## A common belief
//!
//! *Bigger batches are faster.* The lab notes that this suite grew from saw 12.75, 9.20 and
//! 16.30 chunks/s in batches of 25, 50 and 100, and concluded that larger ones share an overhead.
//! Each chunk is a request of its own, so there is none to share: where service is random, larger
//! batches meet fewer barriers. The cure is to have no barrier, in any language (`--python`).
//!
//! *Memory grows with concurrency because the answers pile up.* It grows, but the largest part of
//! what a request holds is its connection, even here without TLS, whose buffers would come on top.
//! Answers do count, but not by their length: each pins the buffer it lies in, for as long as its
//! batch lasts.
//!
//! ## In production
//!
//! Read as a stream, send through a window (`buffer_unordered`, or a task for each permit), write
//! as answers come. Cut text at characters, better at sentences. Keep of an answer what you need,
//! and copy it out of its buffer (`Bytes::copy_from_slice`). Give every line the number of its
//! chunk: lines come out of order, and a run that was killed can go on from the file alone, after
//! cutting off a torn last line. Until a line is on the disk its request may be made again, so it
//! must be idempotent; embedding is. Every future of `buffer_unordered` runs in one task: while
//! that waits for the disk, none of them moves. Write through a buffer, or in a task of its own.
//!
//! ## Check yourself
//!
//! - Batches of 30 with 25 in flight and constant service: how many chunks/s, and why so few?
//! - The service times are exponential. How large must a batch be to lose only a tenth to its
//!   barrier?
//! - Which of the two, a chunk twice as large or twice as many requests in flight, costs more
//!   memory?
//! - The program is killed after a line was written and before its buffer was flushed. What happens
//!   to the chunk?

use std::{
    future::poll_fn,
    path::{Path, PathBuf},
    pin::pin,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::Poll,
};

use anyhow::Context;
use clap::ValueEnum;
use futures_util::{TryStreamExt, future::join_all, stream};
use lab_kit::{heap::Heap, prelude::*};
use tokio::fs::File;

use lab_parts::client::{Breaker, Client, FetchError, Request, Retries};
use output::{Done, Line, Output};
use text::{Chunk, Chunks};

mod embeddings;
mod findings;
mod output;
mod premise;
mod python;
mod text;

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

/// Requests that a connection carries where memory is measured: so many that the peak hardly depends on
/// chance any more, and fewer than the 33 from which on it holds more.
const EACH: usize = 20;

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

impl Params {
    /// Requests where memory is measured over the size of a request.
    fn heap_widest(&self) -> usize {
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
            self.batches
                .iter()
                .for_each(|b| add(Some(*b), self.concurrency));
            for m in extent.that_fit(&self.levels) {
                add(Some(self.batch), m);
                add(None, m);
            }
            if extent.with_python {
                add(Some(self.batch), self.concurrency);
                add(None, self.concurrency);
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
            [0, 1].map(|_| arm(requests, self.chunk, Some(*b), self.concurrency))
        });
        sizes.chain(levels).chain(chunks).chain(kept).collect()
    }

    fn spread(&self, mean: Duration) -> ServiceTime {
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
                "cargo run --release --bin lab06 -- --python",
                "the same requests from asyncio and aiohttp",
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
        if widths
            .iter()
            .chain(&p.levels)
            .chain(&p.heap_levels)
            .any(|m| *m > 1000)
        {
            return Err(
                "more than 1000 requests in flight would measure this machine, not the pipeline"
                    .into(),
            );
        }
        Ok(())
    }

    fn needs(p: &Params, extent: &Extent) -> Needs {
        let sweep = p.speed(extent);
        let memory: Vec<Held> = p.memory_arms(extent);
        let widest = p.levels.iter().copied().fold(p.concurrency, usize::max) as f64 * 1.1 + 2.0;
        let pace = 5.0 * (0.05 + widest * (2.0 * needs::REQUEST_S + p.chunk.f() * BYTE_S));
        let heap: f64 = memory.iter().map(|arm| arm.seconds).sum();
        // Conditions side by side have a text each.
        let together = if extent.one_at_a_time {
            1.0
        } else {
            p.side_by_side()
        };
        let in_batches = p
            .batches
            .iter()
            .chain([&p.batch])
            .copied()
            .fold(0, usize::max);
        let in_hand = in_batches
            .max(p.concurrency)
            .max(p.levels.iter().copied().fold(0, usize::max));
        let fast = p.size.f().min(in_hand as f64 * p.chunk.f()) + in_hand as f64 * p.answer_bytes();
        let held = memory.iter().map(|arm| arm.bytes).fold(0.0, f64::max);
        let text = memory.iter().map(|arm| arm.text).fold(0.0, f64::max);
        let paced = widest * p.chunk.f();
        Needs {
            seconds: sweep + extent.times() * (pace + heap),
            memory: COPIES * held.max(paced).max(together * fast),
            disk: if p.file.is_some() {
                0.0
            } else {
                text.max(paced).max(together * p.size.f())
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
        let (levels, heap_levels) = (
            session.levels_that_fit(&p.levels),
            session.levels_that_fit(&p.heap_levels),
        );
        let job = Job::of(p);
        let python = session.python();

        // How quickly the pipeline gets a batch on its way: theory needs it.
        let widest = levels.iter().copied().fold(p.concurrency, usize::max);
        let mut plan = session.plan();
        plan.point("pace", widest as f64, |r| {
            let runtime = lab_kit::host::runtime()?;
            runtime.block_on(pace(r, &job.chunks(widest), widest))
        });
        plan.run()?;

        // How fast?
        let runtime = lab_kit::host::runtime()?;
        let constant = ServiceTime::Constant(p.service.duration());
        let mut sweep = session.sweep();
        for (kind, service) in [
            ("constant", constant.clone()),
            ("random", p.spread(p.service.duration())),
        ] {
            let mut add = |series: &str, x: usize, how: How, width: usize| {
                let (job, arm) = (
                    job.clone(),
                    Arm {
                        how,
                        width,
                        service: service.clone(),
                    },
                );
                sweep.steady(&format!("{series}/{kind}"), x as f64, width, move |r| {
                    throughput(r, job.clone(), arm.clone())
                });
            };
            for b in &p.batches {
                add("batch", *b, How::Batches(*b), p.concurrency);
            }
            for m in &levels {
                if *m != p.concurrency || !p.batches.contains(&p.batch) {
                    add("level", *m, How::Batches(p.batch), *m);
                }
                add("window", *m, How::Window, *m);
            }
            if let Some(python) = &python {
                python::add(&mut sweep, python, p, kind, service);
            }
        }
        let (crashed, arm) = (
            job.clone(),
            Arm {
                how: How::Window,
                width: p.concurrency,
                service: constant,
            },
        );
        sweep.steady("crash", p.concurrency as f64, p.concurrency, move |r| {
            crash(r, crashed.clone(), arm.clone())
        });
        runtime.block_on(sweep.run())?;

        // How much memory? One at a time, and each on a runtime of its own.
        let mut left_out = 0;
        let mut plan = session.plan();
        let mut add = |series: &str, x: f64, job: Job, how, width| {
            if job.bytes > room {
                left_out += 1;
                return;
            }
            let mean = Duration::from_secs_f64(width as f64 / p.heap_rate as f64);
            let service = p.spread(mean.max(Duration::from_micros(1)));
            let arm = Arm {
                how,
                width,
                service,
            };
            plan.point(series, x, move |r| memory(r, &job, &arm));
        };
        for size in &p.heap_sizes {
            let job = Job {
                bytes: size.b() as u64,
                chunk: p.heap_chunk.b(),
                ..job.clone()
            };
            add(
                "heap/size/window",
                size.f(),
                job.clone(),
                How::Window,
                p.heap_concurrency,
            );
            add(
                "heap/size/whole",
                size.f(),
                job,
                How::Batches(usize::MAX),
                p.heap_concurrency,
            );
        }
        for m in heap_levels {
            add(
                "heap/level/window",
                m as f64,
                job.chunks(EACH * m),
                How::Window,
                m,
            );
            add(
                "heap/level/batch",
                m as f64,
                job.chunks(EACH * m),
                How::Batches(2 * m),
                m,
            );
        }
        let m = p.concurrency;
        for chunk in &p.heap_chunks {
            let job = Job {
                chunk: chunk.b(),
                ..job.clone()
            }
            .chunks(p.heap_widest());
            add("heap/chunk/window", chunk.f(), job.clone(), How::Window, m);
            add("heap/chunk/batch", chunk.f(), job, How::Batches(p.batch), m);
        }
        for b in &p.heap_batches {
            add(
                "heap/kept/answers",
                *b as f64,
                job.chunks(b + m),
                How::Batches(*b),
                m,
            );
            add(
                "heap/kept/lines",
                *b as f64,
                job.chunks(b + m),
                How::LeanBatches(*b),
                m,
            );
        }
        plan.run()?;
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
            true => Err(format!(
                "--file {shown}: it is a folder: expected a text file"
            )),
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

/// Deadline of a request: none of a sound run comes near it.
const PATIENT: Duration = Duration::from_secs(1200);

/// What is to be ingested.
#[derive(Clone)]
struct Job {
    /// Generated when there is none.
    file: Option<PathBuf>,
    /// So much of it.
    bytes: u64,
    chunk: usize,
    dimensions: usize,
}

impl Job {
    fn of(p: &Params) -> Job {
        Job {
            file: p.file.clone(),
            bytes: p.size.b() as u64,
            chunk: p.chunk.b(),
            dimensions: p.dimensions,
        }
    }

    /// The same with so many chunks.
    fn chunks(&self, n: usize) -> Job {
        Job {
            bytes: (n * self.chunk) as u64,
            ..self.clone()
        }
    }
}

/// In which way.
#[derive(Clone, Copy)]
enum How {
    /// The next batch begins when the last answer of this one has come.
    Batches(usize),
    /// The same, but nothing is kept of an answer except its line.
    LeanBatches(usize),
    /// The next chunk is sent when any answer has come.
    Window,
}

/// One way to do it.
#[derive(Clone)]
struct Arm {
    how: How,
    /// Requests in flight.
    width: usize,
    service: ServiceTime,
}

struct Pipeline {
    job: Job,
    input: PathBuf,
    output: PathBuf,
    client: Client,
    url: String,
}

/// When each request was sent.
type Sent = Arc<Mutex<Vec<Instant>>>;

impl Pipeline {
    // wrong: In batches
    /// The wrong way: a batch, a wait for the last answer of it, the next batch.
    async fn in_batches(&self, size: usize) -> Result<u64> {
        let (mut chunks, mut output) = self.open().await?;
        loop {
            let batch = chunks.next_batch(size).await?;
            if batch.is_empty() {
                return output.close().await;
            }
            let requests = batch.iter().map(|chunk| self.request(chunk));
            let answers = self.client.fetch_batch(requests).await;
            for (chunk, answer) in batch.iter().zip(answers) {
                let answer = answer.with_context(|| format!("chunk {}", chunk.number))?;
                output.append(&self.line(chunk, &answer)?).await?;
            }
        }
    }

    /// Half right: the same wait, but an answer becomes its line when it comes.
    async fn in_lean_batches(&self, size: usize) -> Result<u64> {
        let (mut chunks, mut output) = self.open().await?;
        loop {
            let batch = chunks.next_batch(size).await?;
            if batch.is_empty() {
                return output.close().await;
            }
            let lines = join_all(batch.into_iter().map(|chunk| self.embed(chunk)));
            for line in lines.await {
                output.append(&line?).await?;
            }
        }
    }

    // right: In a window
    // so: The batch waits for its slowest answer before anything new is sent. The window sends
    //     when any answer has come.
    /// The right way: when an answer has come, its line is written, and the next chunk is read and
    /// sent.
    async fn in_a_window(&self, width: usize) -> Result<u64> {
        let (chunks, mut output) = self.open().await?;
        let chunks = stream::try_unfold(chunks, async |mut chunks| {
            let next = chunks.next().await?;
            anyhow::Ok(next.map(|chunk| (chunk, chunks)))
        });
        let lines = chunks.map_ok(|chunk| self.embed(chunk));
        let mut lines = pin!(lines.try_buffer_unordered(width));
        while let Some(line) = lines.try_next().await? {
            output.append(&line).await?;
        }
        output.close().await
    }

    async fn embed(&self, chunk: Chunk) -> Result<Line> {
        let answer = self.client.fetch(self.request(&chunk)).await;
        let answer = answer.with_context(|| format!("chunk {}", chunk.number))?;
        self.line(&chunk, &answer)
    }

    /// The same text has the same embedding however often it is asked for: after a timeout the
    /// client may send it again, though it is a POST.
    fn request(&self, chunk: &Chunk) -> Request {
        Request::post(&self.url, chunk.text.clone()).idempotent(true)
    }

    fn line(&self, chunk: &Chunk, answer: &[u8]) -> Result<Line> {
        let embedding = embeddings::read(answer, self.job.dimensions)?;
        Ok(Line {
            chunk: chunk.number,
            offset: chunk.offset,
            digest: format!("{:016x}", text::digest(&chunk.text)),
            dimensions: embedding.len(),
        })
    }

    /// The output with what an earlier run has left there, and the chunks that are missing in it.
    async fn open(&self) -> Result<(text::FileChunks, Output<File>)> {
        let (output, done) = Output::resume(&self.output).await?;
        let chunks = self.chunks(done).await?;
        Ok((chunks, output))
    }

    async fn chunks(&self, done: Done) -> Result<text::FileChunks> {
        let chunks = Chunks::open(&self.input, self.job.bytes, self.job.chunk, done).await;
        chunks.with_context(|| format!("cannot read {}", self.input.display()))
    }

    /// Returns the number of lines written.
    async fn run(&self, arm: &Arm) -> Result<u64> {
        match arm.how {
            How::Batches(size) => self.in_batches(size).await,
            How::LeanBatches(size) => self.in_lean_batches(size).await,
            How::Window => self.in_a_window(arm.width).await,
        }
    }

    /// One connection for each request in flight is open before the clock starts.
    async fn prepare(
        r: &Recorder,
        job: &Job,
        arm: &Arm,
        service: &Service,
        folder: &Path,
        sent: Option<&Sent>,
    ) -> Result<Pipeline> {
        let pool = http::client();
        r.connect(&pool, service, arm.width).await?;
        let client = Client::builder()
            .pool(pool)
            .concurrency(arm.width)
            // The deadlines of a batch begin together, and one batch may be the whole text.
            .deadline(PATIENT);
        // Somebody else's server that stops answering ends the run with its first failure: the others of a
        // batch are not sent, and nothing is tried again.
        let client = match service.counters() {
            Some(_) => client,
            None => client.retries(Retries::none()).breaker(Breaker {
                failures: 1,
                open_for: PATIENT,
                probes: 1,
            }),
        };
        let client = match sent.cloned() {
            Some(sent) => client.on_attempt(move |_| locked(&sent).push(Instant::now())),
            None => client,
        };
        Ok(Pipeline {
            input: job.file.clone().unwrap_or(folder.join("text.txt")),
            output: folder.join("results.jsonl"),
            url: format!("{}/embeddings", service.url()),
            client: client.build()?,
            job: job.clone(),
        })
    }
}

/// What the sentences of the text are drawn with: the same text in every trial, so that its number of
/// chunks is one number.
const TEXT: u64 = 0x7e87;

/// Writes the text into the folder and starts the service.
async fn stage(r: &Recorder, job: &Job, arm: &Arm, folder: &Path) -> Result<Service> {
    // The record keeps figures of 53 bits.
    let seed = r.seed() % (1 << 53);
    r.gauge("seed", seed as f64);
    if job.file.is_none() {
        text::generate(&folder.join("text.txt"), job.bytes, TEXT)?;
    }
    let spec = Spec {
        seed,
        body: embeddings::body(job.dimensions),
        ..Spec::new(mock_server::MAX_SLOTS, arm.service.clone())
    };
    r.upstream(spec).await
}

/// How long does it take to send one batch? The median of a few. All of it is in flight at once: a
/// text has a chunk or two more than its bytes suggest, because no character is cut.
async fn pace(r: &Recorder, job: &Job, batch: usize) -> Result<()> {
    let width = batch + batch / 10 + 2;
    let service = ServiceTime::Constant(Duration::from_millis(10));
    let arm = Arm {
        how: How::Batches(usize::MAX),
        width,
        service,
    };
    let mut spreads = Vec::new();
    for _ in 0..5 {
        let folder = r.folder()?;
        let service = stage(r, job, &arm, folder.path()).await?;
        let pipeline = Pipeline::prepare(r, job, &arm, &service, folder.path(), None).await?;
        let Some(lines) = r
            .load()
            .unless_stopped(pipeline.in_batches(usize::MAX))
            .await
        else {
            return Ok(());
        };
        let gaps = lines?.saturating_sub(1).max(1) as f64;
        spreads.extend(service.counters().map(|c| c.spread.as_secs_f64() / gaps));
    }
    r.gauge("between_requests_s", lab_kit::stats::median(&spreads));
    Ok(())
}

/// How fast is it?
async fn throughput(r: Recorder, job: Job, arm: Arm) -> Result<()> {
    let folder = r.folder()?;
    let service = stage(&r, &job, &arm, folder.path()).await?;
    let sent = Sent::default();
    let pipeline = Pipeline::prepare(&r, &job, &arm, &service, folder.path(), Some(&sent)).await?;
    let start = Instant::now();
    let Some(lines) = r.load().unless_stopped(pipeline.run(&arm)).await else {
        return Ok(());
    };
    r.wall(start.elapsed());
    lines?;
    // What is on the disk, not what was meant to be: it refuses a file in which a chunk is twice.
    let (_, done) = Output::resume(&pipeline.output).await?;
    r.gauge("lines", done.count() as f64);
    if let How::Batches(size) = arm.how {
        lasted(&r, &locked(&sent), size);
    }
    if let Some(counters) = service.counters() {
        r.gauge("upstream_arrived", counters.arrived as f64);
    }
    Ok(())
}

/// Writes down how long full batches lasted: from the first request of one to the first of the next.
fn lasted(r: &Recorder, sent: &[Instant], size: usize) {
    let begun: Vec<Instant> = sent.iter().copied().step_by(size).collect();
    let lasted: Vec<f64> = begun
        .windows(2)
        .map(|pair| (pair[1] - pair[0]).as_secs_f64())
        .collect();
    r.gauge("batches", lasted.len() as f64);
    if !lasted.is_empty() {
        r.gauge("batch_mean_s", lab_kit::stats::mean(&lasted));
        r.gauge("batch_deviation_s", lab_kit::stats::deviation(&lasted));
    }
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// What is left when it is killed half way, and started again?
async fn crash(r: Recorder, job: Job, arm: Arm) -> Result<()> {
    let folder = r.folder()?;
    let service = stage(&r, &job, &arm, folder.path()).await?;
    let pipeline = Pipeline::prepare(&r, &job, &arm, &service, folder.path(), None).await?;
    let arrived = || service.counters().map(|c| c.arrived as f64);
    let mut chunks = pipeline.chunks(Done::default()).await?;
    let mut expected = 0;
    while chunks.next().await?.is_some() {
        expected += 1;
    }
    let half = arm
        .service
        .mean()
        .mul_f64(expected as f64 / arm.width as f64 / 2.0);
    let killed = tokio::time::timeout(half, pipeline.run(&arm))
        .await
        .is_err();
    let left = output::tear(&pipeline.output)?;
    let before = arrived();
    let Some(lines) = r.load().unless_stopped(pipeline.run(&arm)).await else {
        return Ok(());
    };
    // It refuses a file in which a chunk is twice.
    let (_, done) = Output::resume(&pipeline.output).await?;
    r.gauge("killed", f64::from(u8::from(killed)));
    r.gauge("lines", lines? as f64);
    r.gauge("lines_left", left as f64);
    r.gauge("chunks_missing", expected as f64 - done.count() as f64);
    r.gauge("chunks", expected as f64);
    if let Some((before, after)) = before.zip(arrived()) {
        r.gauge("sent_twice", after - expected as f64);
        r.gauge("sent_again", after - before);
    }
    Ok(())
}

/// Bytes that each chunk takes, besides its text, while it waits for a permit.
async fn waiting(pipeline: &Pipeline, permits: usize, heap: &Heap) -> f64 {
    const MANY: usize = 100;
    let begin = async |n: usize| {
        let chunk = || Chunk {
            text: Bytes::from(vec![b'a']),
            ..Chunk::default()
        };
        let all = join_all((0..n).map(|_| pipeline.embed(chunk())));
        let mut all = Box::pin(tokio::task::unconstrained(all));
        poll_fn(|task| {
            let _ = all.as_mut().poll(task);
            Poll::Ready(())
        })
        .await;
        // Kept, not awaited.
        Some(all)
    };
    let first = begin(permits).await;
    let before = heap.live_bytes();
    let others = begin(MANY).await;
    let held = (heap.live_bytes() - before) as f64 / MANY as f64;
    drop((first, others));
    held
}

/// What does the client hold in memory?
fn memory(r: &Recorder, job: &Job, arm: &Arm) -> Result<()> {
    // The service's own memory does not count: it is started from a thread that is not counted.
    let outside = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    let folder = r.folder()?;
    let service = outside.block_on(stage(r, job, arm, folder.path()))?;
    let heap = Heap::new();
    let counted = heap.enter();
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .on_thread_start(move || heap.join())
        .build()?;
    let figures = runtime.block_on(async {
        let pipeline = Pipeline::prepare(r, job, arm, &service, folder.path(), None).await?;
        let idle = heap.reset_peak();
        let lines = r
            .load()
            .unless_stopped(pipeline.run(arm))
            .await
            .transpose()?;
        let peak = heap.peak_bytes();
        // What a batch holds for each of its chunks besides text and answer: theory needs it.
        let line = waiting(&pipeline, arm.width, &heap).await;
        let answer = size_of::<Chunk>() + size_of::<Result<Bytes, FetchError>>();
        anyhow::Ok([
            ("heap_idle_bytes", idle as f64),
            ("heap_peak_bytes", peak as f64),
            ("besides_line_bytes", line),
            ("besides_answer_bytes", answer as f64),
            ("lines", lines.unwrap_or(0) as f64),
        ])
    })?;
    let held = heap.live_bytes();
    drop(runtime);
    drop(counted);
    figures
        .iter()
        .for_each(|(name, value)| r.gauge(name, *value));
    r.gauge("heap_held_bytes", held as f64);
    r.gauge("heap_freed_bytes", (held - heap.live_bytes()) as f64);
    Ok(())
}
