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
//! batches meet fewer barriers. The cure is to have no barrier, in any language (`--with all`).
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

use std::{path::PathBuf, pin::pin};

use anyhow::Context;
use futures_util::{TryStreamExt, future::join_all, stream};
use lab_kit::prelude::*;
use tokio::fs::File;

use lab_parts::client::{Client, Request};
use output::{Done, Line, Output};
use text::{Chunk, Chunks};
use trials::Job;

pub use plan::{IngestionPipeline, Params};

mod embeddings;
mod findings;
mod gauges;
mod languages;
mod output;
mod plan;
mod premise;
mod text;
mod trials;

/// From a file of text to a file of results, by way of the service.
struct Pipeline {
    job: Job,
    input: PathBuf,
    output: PathBuf,
    client: Client,
    url: String,
}

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
}
