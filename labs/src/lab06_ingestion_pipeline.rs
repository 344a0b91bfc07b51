//! # The ingestion pipeline
//!
//! ## The question
//!
//! How does a file larger than memory become API calls?

use std::{
    path::{Path, PathBuf},
    pin::pin,
};

use anyhow::Context;
use clap::ValueEnum;
use futures_util::{TryStreamExt, future::join_all, stream};
use lab_kit::heap::Heap;

use crate::client::{Client, Request};
use lab_kit::prelude::*;

use output::{Done, Line, Output};
use text::{Chunk, Chunks};

mod embeddings;
mod findings;
mod output;
mod text;

/// The constants of the experiment.
#[derive(Args, Debug, Serialize, Deserialize)]
pub struct Params {
    /// A text file of your own instead of a generated one; its first --size are read
    #[arg(long, value_name = "PATH")]
    pub file: Option<PathBuf>,
    /// How much text goes through the pipeline
    #[arg(long, default_value = "512KB")]
    pub size: Size,
    /// Text in a request
    #[arg(long, default_value = "1KB")]
    pub chunk: Size,
    /// Mean time the service takes for a request: s
    #[arg(long, default_value = "40ms")]
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
    #[arg(long, value_delimiter = ',', default_value = "1MB,4MB,16MB")]
    pub heap_sizes: Vec<Size>,
    /// Text in a request where memory is measured over the size of the text
    #[arg(long, default_value = "8KB")]
    pub heap_chunk: Size,
    /// Mean time the service takes where memory is measured: random, so that answers do not come
    /// all at once
    #[arg(long, default_value = "5ms")]
    pub heap_service: Time,
    /// Requests in flight whose memory is compared, with commas
    #[arg(long, value_delimiter = ',', value_parser = level, default_value = "10,25,50,100")]
    pub heap_levels: Vec<usize>,
    /// Sizes of a request whose memory is compared, with commas
    #[arg(long, value_delimiter = ',', default_value = "1KB,8KB,16KB,32KB")]
    pub heap_chunks: Vec<Size>,
    /// Batch sizes whose memory is compared, with commas
    #[arg(long, value_delimiter = ',', value_parser = level, default_value = "50,100,200,400")]
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

impl Params {
    fn spread(&self, mean: Time) -> ServiceTime {
        let mean = mean.duration();
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
        predict: &[],
        next: &[],
        source: include_str!("lab06_ingestion_pipeline.rs"),
        sizes: Sizes {
            smoke: &[
                "--size", "40KB", "--service", "10ms", "--batches", "5,10", "--concurrency", "5",
                "--levels", "2,5", "--batch", "10", "--heap-sizes", "64KB,128KB", "--heap-levels",
                "2,5,10", "--heap-chunks", "1KB,4KB", "--heap-batches", "32,64",
            ],
            full: &[],
            trials: (1, 3),
        },
    };

    fn measure(p: &Params, session: &mut Session) -> Result<()> {
        // What the pipeline itself takes for a chunk, against a service that takes no time: alone
        // and with others in flight. Theory needs it.
        let instant = ServiceTime::Constant(Duration::ZERO);
        let mut plan = session.plan();
        for m in [1, p.concurrency] {
            let instant = instant.clone();
            plan.point("pace", m as f64, move |r| {
                let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
                let arm = Arm { how: How::Window, width: m, service: instant.clone() };
                runtime.block_on(throughput(r.clone(), Job::small(p), arm))
            });
        }
        plan.run()?;

        let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
        let mut sweep = session.sweep();
        for (kind, service) in [("constant", ServiceTime::Constant(p.service.duration())), ("random", p.spread(p.service))] {
            let mut add = |series: &str, x: usize, how: How, width: usize| {
                let (text, arm) = (Job::of(p), Arm { how, width, service: service.clone() });
                sweep.steady(&format!("{series}/{kind}"), x as f64, width, move |r| {
                    throughput(r, text.clone(), arm.clone())
                });
            };
            for b in &p.batches {
                add("batch", *b, How::Batches(*b), p.concurrency);
            }
            for m in &p.levels {
                add("level", *m, How::Batches(p.batch), *m);
                add("window", *m, How::Window, *m);
            }
        }
        runtime.block_on(sweep.run())?;

        let mut plan = session.plan();
        let mut add = |series: &str, x: f64, job: Job, how, width| {
            let service = p.spread(p.heap_service);
            let arm = Arm { how, width, service };
            plan.point(series, x, move |r| memory(r, &job, &arm));
        };
        let m = p.concurrency;
        for size in &p.heap_sizes {
            let job = Job { bytes: size.f() as u64, chunk: p.heap_chunk.b(), ..Job::of(p) };
            add("heap/size/window", size.f(), job.clone(), How::Window, m);
            add("heap/size/batch", size.f(), job.clone(), How::Batches(p.batch), m);
            add("heap/size/whole", size.f(), job, How::Batches(usize::MAX), m);
        }
        for m in &p.heap_levels {
            let job = Job::rounds(p, 6 * m, p.chunk);
            add("heap/level/window", *m as f64, job.clone(), How::Window, *m);
            add("heap/level/batch", *m as f64, job, How::Batches(2 * m), *m);
        }
        for chunk in &p.heap_chunks {
            let job = Job::rounds(p, 6 * m, *chunk);
            add("heap/chunk/window", chunk.f(), job.clone(), How::Window, m);
            add("heap/chunk/batch", chunk.f(), job, How::Batches(p.batch), m);
        }
        for b in &p.heap_batches {
            let job = Job::rounds(p, 2 * b, p.chunk);
            add("heap/kept/answers", *b as f64, job.clone(), How::Batches(*b), m);
            add("heap/kept/lines", *b as f64, job, How::LeanBatches(*b), m);
        }
        plan.run()
    }

    fn explain(p: &Params, summary: &Summary) -> Findings {
        findings::explain(p, summary)
    }
}

/// What is to be ingested.
#[derive(Clone)]
struct Job {
    file: Option<PathBuf>,
    bytes: u64,
    chunk: usize,
    dimensions: usize,
}

/// In which way.
#[derive(Clone, Copy)]
enum How {
    /// The next batch begins when the last of this one has come.
    Batches(usize),
    /// The same, but of an answer only its line is kept.
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

impl Job {
    fn of(p: &Params) -> Job {
        Job {
            file: p.file.clone(),
            bytes: p.size.b() as u64,
            chunk: p.chunk.b(),
            dimensions: p.dimensions,
        }
    }

    fn small(p: &Params) -> Job {
        Job::rounds(p, 200, p.chunk)
    }

    /// About so many chunks.
    fn rounds(p: &Params, chunks: usize, chunk: Size) -> Job {
        Job { bytes: (chunks * chunk.b()) as u64, chunk: chunk.b(), ..Job::of(p) }
    }

    fn text(&self, folder: &Path, seed: u64) -> Result<PathBuf> {
        if let Some(own) = &self.file {
            return Ok(own.clone());
        }
        let path = folder.join("text.txt");
        text::generate(&path, self.bytes, seed)?;
        Ok(path)
    }
}

struct Pipeline {
    job: Job,
    input: PathBuf,
    output: PathBuf,
    client: Client,
    url: String,
}

impl Pipeline {
    /// Before: nothing of the file is in memory. After: every chunk has its line in the output.
    async fn open(&self) -> Result<(Chunks<tokio::io::BufReader<tokio::io::Take<tokio::fs::File>>>, Output<tokio::fs::File>)> {
        let (output, done) = Output::resume(&self.output).await?;
        let chunks = Chunks::open(&self.input, self.job.bytes, self.job.chunk, done).await;
        let chunks = chunks.with_context(|| format!("cannot read {}", self.input.display()))?;
        Ok((chunks, output))
    }

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

    async fn embed(&self, chunk: Chunk) -> Result<Line> {
        let answer = self.client.fetch(self.request(&chunk)).await;
        let answer = answer.with_context(|| format!("chunk {}", chunk.number))?;
        self.line(&chunk, &answer)
    }

    /// The wrong way: a batch, a wait for the last of it, the next batch.
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

    /// The same barrier, but an answer becomes its line as soon as it comes.
    async fn in_lean_batches(&self, size: usize) -> Result<u64> {
        let (mut chunks, mut output) = self.open().await?;
        loop {
            let batch = chunks.next_batch(size).await?;
            if batch.is_empty() {
                return output.close().await;
            }
            let lines = join_all(batch.into_iter().map(|chunk| self.embed(chunk))).await;
            for line in lines {
                output.append(&line?).await?;
            }
        }
    }

    /// The right way: whatever has come is written, and the next chunk is read and sent.
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

    async fn run(&self, arm: &Arm) -> Result<u64> {
        match arm.how {
            How::Batches(size) => self.in_batches(size).await,
            How::LeanBatches(size) => self.in_lean_batches(size).await,
            How::Window => self.in_a_window(arm.width).await,
        }
    }
}

async fn throughput(r: Recorder, job: Job, arm: Arm) -> Result<()> {
    let folder = r.folder()?;
    let seed = r.seed() % (1 << 52);
    let spec = Spec {
        seed,
        body: embeddings::body(job.dimensions),
        ..Spec::new(mock_server::MAX_SLOTS, arm.service.clone())
    };
    let service = r.upstream(spec).await?;
    let pool = reqwest::Client::new();
    r.connect(&pool, &service, arm.width).await?;
    let pipeline = Pipeline {
        input: job.text(folder.path(), seed)?,
        output: folder.path().join("results.jsonl"),
        url: format!("{}/embeddings", service.url()),
        client: Client::builder().pool(pool).concurrency(arm.width).deadline(Duration::from_secs(600)).build()?,
        job,
    };
    let start = Instant::now();
    let Some(lines) = r.load().unless_stopped(pipeline.run(&arm)).await else { return Ok(()) };
    let (lines, wall) = (lines?, start.elapsed());
    r.wall(wall);
    r.gauge("seed", seed as f64);
    r.gauge("chunks", lines as f64);
    r.gauge("chunks_per_s", lines as f64 / wall.as_secs_f64());
    Ok(())
}

fn memory(r: &Recorder, job: &Job, arm: &Arm) -> Result<()> {
    let folder = r.folder()?;
    let input = job.text(folder.path(), r.seed())?;
    let spec = Spec {
        body: embeddings::body(job.dimensions),
        ..Spec::new(mock_server::MAX_SLOTS, arm.service.clone())
    };
    let outside = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let service = outside.block_on(r.upstream(spec))?;
    let heap = Heap::new();
    let counted = heap.enter();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().on_thread_start(move || heap.join()).build()?;
    let lines = runtime.block_on(async {
        let pool = reqwest::Client::new();
        r.connect(&pool, &service, arm.width).await?;
        r.gauge("heap_idle_bytes", heap.reset_peak() as f64);
        let pipeline = Pipeline {
            input,
            output: folder.path().join("results.jsonl"),
            url: format!("{}/embeddings", service.url()),
            client: Client::builder().pool(pool).concurrency(arm.width).deadline(Duration::from_secs(600)).build()?,
            job: job.clone(),
        };
        let sample = Chunk { number: 0, offset: 0, text: Bytes::new() };
        r.gauge("embed_future_bytes", size_of_val(&pipeline.embed(sample)) as f64);
        r.gauge("fetch_future_bytes", size_of_val(&pipeline.client.fetch(Request::get(""))) as f64);
        r.load().unless_stopped(pipeline.run(arm)).await.transpose()
    })?;
    drop(runtime);
    drop(counted);
    r.gauge("heap_peak_bytes", heap.peak_bytes() as f64);
    r.gauge("heap_left_bytes", heap.live_bytes() as f64);
    r.gauge("chunks", lines.unwrap_or(0) as f64);
    Ok(())
}
