//! How each condition is measured.

use std::{
    future::poll_fn,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::Poll,
};

use futures_util::future::join_all;
use lab_kit::{heap::Heap, prelude::*};
use lab_parts::client::{Breaker, Client, FetchError, Retries};

use super::{
    Params, Pipeline, embeddings, gauges,
    output::{self, Done, Output},
    text::{self, Chunk},
};

/// Deadline of a request: none of a sound run comes near it.
const PATIENT: Duration = Duration::from_secs(1200);

/// What is to be ingested.
#[derive(Clone)]
pub(super) struct Job {
    /// Generated when there is none.
    pub(super) file: Option<PathBuf>,
    /// So much of it.
    pub(super) bytes: u64,
    pub(super) chunk: usize,
    pub(super) dimensions: usize,
}

impl Job {
    pub(super) fn of(p: &Params) -> Job {
        Job {
            file: p.file.clone(),
            bytes: p.size.b() as u64,
            chunk: p.chunk.b(),
            dimensions: p.dimensions,
        }
    }

    /// The same with so many chunks.
    pub(super) fn chunks(&self, n: usize) -> Job {
        Job { bytes: (n * self.chunk) as u64, ..self.clone() }
    }
}

/// In which way.
#[derive(Clone, Copy)]
pub(super) enum How {
    /// The next batch begins when the last answer of this one has come.
    Batches(usize),
    /// The same, but nothing is kept of an answer except its line.
    LeanBatches(usize),
    /// The next chunk is sent when any answer has come.
    Window,
}

/// One way to do it.
#[derive(Clone)]
pub(super) struct Arm {
    pub(super) how: How,
    /// Requests in flight.
    pub(super) width: usize,
    pub(super) service: ServiceTime,
}

/// When each request was sent.
type Sent = Arc<Mutex<Vec<Instant>>>;

impl Pipeline {
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
    r.gauge(gauges::SEED, seed as f64);
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

/// Both, and the pipeline between them.
async fn set_up(
    r: &Recorder,
    job: &Job,
    arm: &Arm,
    folder: &Path,
    sent: Option<&Sent>,
) -> Result<(Service, Pipeline)> {
    let service = stage(r, job, arm, folder).await?;
    let pipeline = Pipeline::prepare(r, job, arm, &service, folder, sent).await?;
    Ok((service, pipeline))
}

/// How long does it take to send one batch? The median of a few. All of it is in flight at once: a
/// text has a chunk or two more than its bytes suggest, because no character is cut.
pub(super) async fn pace(r: &Recorder, job: &Job, batch: usize) -> Result<()> {
    let width = batch + batch / 10 + 2;
    let service = ServiceTime::Constant(Duration::from_millis(10));
    let arm = Arm { how: How::Batches(usize::MAX), width, service };
    let mut spreads = Vec::new();
    for _ in 0..5 {
        let folder = r.folder()?;
        let (service, pipeline) = set_up(r, job, &arm, folder.path(), None).await?;
        let Some(lines) = r.load().unless_stopped(pipeline.in_batches(usize::MAX)).await else {
            return Ok(());
        };
        let gaps = lines?.saturating_sub(1).max(1) as f64;
        spreads.extend(service.counters().map(|c| c.spread.as_secs_f64() / gaps));
    }
    r.gauge(gauges::BETWEEN_REQUESTS_S, lab_kit::stats::median(&spreads));
    Ok(())
}

/// How fast is it?
pub(super) async fn throughput(r: Recorder, job: Job, arm: Arm) -> Result<()> {
    let folder = r.folder()?;
    let sent = Sent::default();
    let (service, pipeline) = set_up(&r, &job, &arm, folder.path(), Some(&sent)).await?;
    let start = Instant::now();
    let Some(lines) = r.load().unless_stopped(pipeline.run(&arm)).await else {
        return Ok(());
    };
    r.wall(start.elapsed());
    lines?;
    // What is on the disk, not what was meant to be: it refuses a file in which a chunk is twice.
    let (_, done) = Output::resume(&pipeline.output).await?;
    r.gauge(gauges::LINES, done.count() as f64);
    if let How::Batches(size) = arm.how {
        lasted(&r, &locked(&sent), size);
    }
    if let Some(counters) = service.counters() {
        r.gauge(gauge::UPSTREAM_ARRIVED, counters.arrived as f64);
    }
    Ok(())
}

/// Writes down how long full batches lasted: from the first request of one to the first of the next.
fn lasted(r: &Recorder, sent: &[Instant], size: usize) {
    let begun: Vec<Instant> = sent.iter().copied().step_by(size).collect();
    let lasted: Vec<f64> = begun.windows(2).map(|pair| (pair[1] - pair[0]).as_secs_f64()).collect();
    r.gauge(gauges::BATCHES, lasted.len() as f64);
    if !lasted.is_empty() {
        r.gauge(gauges::BATCH_MEAN_S, lab_kit::stats::mean(&lasted));
        r.gauge(gauges::BATCH_DEVIATION_S, lab_kit::stats::deviation(&lasted));
    }
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// What is left when it is killed half way, and started again?
pub(super) async fn crash(r: Recorder, job: Job, arm: Arm) -> Result<()> {
    let folder = r.folder()?;
    let (service, pipeline) = set_up(&r, &job, &arm, folder.path(), None).await?;
    let arrived = || service.counters().map(|c| c.arrived as f64);
    let mut chunks = pipeline.chunks(Done::default()).await?;
    let mut expected = 0;
    while chunks.next().await?.is_some() {
        expected += 1;
    }
    let half = arm.service.mean().mul_f64(expected as f64 / arm.width as f64 / 2.0);
    let killed = tokio::time::timeout(half, pipeline.run(&arm)).await.is_err();
    let left = output::tear(&pipeline.output)?;
    let before = arrived();
    let Some(lines) = r.load().unless_stopped(pipeline.run(&arm)).await else {
        return Ok(());
    };
    // It refuses a file in which a chunk is twice.
    let (_, done) = Output::resume(&pipeline.output).await?;
    r.gauge(gauges::KILLED, f64::from(u8::from(killed)));
    r.gauge(gauges::LINES, lines? as f64);
    r.gauge(gauges::LINES_LEFT, left as f64);
    r.gauge(gauges::CHUNKS_MISSING, expected as f64 - done.count() as f64);
    r.gauge(gauges::CHUNKS, expected as f64);
    if let Some((before, after)) = before.zip(arrived()) {
        r.gauge(gauges::SENT_TWICE, after - expected as f64);
        r.gauge(gauges::SENT_AGAIN, after - before);
    }
    Ok(())
}

/// Bytes that each chunk takes, besides its text, while it waits for a permit.
async fn waiting(pipeline: &Pipeline, permits: usize, heap: &Heap) -> f64 {
    const MANY: usize = 100;
    let begin = async |n: usize| {
        let chunk = || Chunk { text: Bytes::from(vec![b'a']), ..Chunk::default() };
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
pub(super) fn memory(r: &Recorder, job: &Job, arm: &Arm) -> Result<()> {
    // The service's own memory does not count: it is started from a thread that is not counted.
    let outside = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
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
        let lines = r.load().unless_stopped(pipeline.run(arm)).await.transpose()?;
        let peak = heap.peak_bytes();
        // What a batch holds for each of its chunks besides text and answer: theory needs it.
        let line = waiting(&pipeline, arm.width, &heap).await;
        let answer = size_of::<Chunk>() + size_of::<Result<Bytes, FetchError>>();
        anyhow::Ok([
            (gauges::HEAP_IDLE_BYTES, idle as f64),
            (gauges::HEAP_PEAK_BYTES, peak as f64),
            (gauges::BESIDES_LINE_BYTES, line),
            (gauges::BESIDES_ANSWER_BYTES, answer as f64),
            (gauges::LINES, lines.unwrap_or(0) as f64),
        ])
    })?;
    let held = heap.live_bytes();
    drop(runtime);
    drop(counted);
    figures.iter().for_each(|(gauge, value)| r.gauge(*gauge, *value));
    r.gauge(gauges::HEAP_HELD_BYTES, held as f64);
    r.gauge(gauges::HEAP_FREED_BYTES, (held - heap.live_bytes()) as f64);
    Ok(())
}
