//! The file of results: one JSON line a chunk, appended; what a crash leaves is found and mended.

use std::{
    collections::BTreeSet,
    io::SeekFrom,
    path::{Path, PathBuf},
};

use anyhow::{Context, Result, ensure};
use serde::{Deserialize, Serialize};
use tokio::{
    fs::File,
    io::{AsyncBufReadExt, AsyncSeekExt, AsyncWrite, AsyncWriteExt, BufReader, BufWriter},
};

/// One result.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Line {
    /// Number of the chunk.
    pub chunk: u64,
    /// Where it begins in the file, in bytes.
    pub offset: u64,
    /// Of the cleaned text, in hexadecimal digits.
    pub digest: String,
    /// Length of its embedding.
    pub dimensions: usize,
}

/// Which chunks have been written. Results arrive nearly in order, so this stays as small as the
/// number in flight: everything below a number, and a few beyond it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Done {
    below: u64,
    beyond: BTreeSet<u64>,
}

impl Done {
    /// True when the chunk has been written.
    pub fn contains(&self, chunk: u64) -> bool {
        chunk < self.below || self.beyond.contains(&chunk)
    }

    /// Writes a chunk down; false when it was there already.
    pub fn insert(&mut self, chunk: u64) -> bool {
        let new = !self.contains(chunk) && self.beyond.insert(chunk);
        while self.beyond.remove(&self.below) {
            self.below += 1;
        }
        new
    }

    /// How many there are.
    pub fn count(&self) -> u64 {
        self.below + self.beyond.len() as u64
    }
}

/// Does to a file what a crash may do: tears its last line. Returns how many whole lines are left.
///
/// # Errors
/// When the file cannot be read or written.
pub fn tear(path: &Path) -> Result<usize> {
    let text = std::fs::read(path)?;
    let left = &text[..text.len().saturating_sub(10)];
    std::fs::write(path, left)?;
    Ok(left.iter().filter(|b| **b == b'\n').count())
}

/// A file to append results to.
pub struct Output<W> {
    to: BufWriter<W>,
    path: PathBuf,
    lines: u64,
}

impl Output<File> {
    /// Opens the file, new or from an earlier run, with what it holds.
    ///
    /// A line is complete when its line break is there. What follows the last line break was being
    /// written when the earlier run ended: it is cut off, and its chunk is not done.
    ///
    /// # Errors
    /// When the file cannot be opened, or holds something that was not written here.
    pub async fn resume(path: &Path) -> Result<(Output<File>, Done)> {
        let cannot = || format!("cannot open the output {}", path.display());
        let mut options = File::options();
        options.read(true).write(true).create(true);
        let file = options.open(path).await.with_context(cannot)?;
        let (mut done, mut whole, mut number) = (Done::default(), 0, 0);
        let mut reader = BufReader::new(file);
        let mut text = Vec::new();
        while reader.read_until(b'\n', &mut text).await.with_context(cannot)? > 0 {
            if text.last() != Some(&b'\n') {
                break;
            }
            number += 1;
            let line: Line = serde_json::from_slice(&text).with_context(|| {
                format!("line {number} of {} is no result: is it another file?", path.display())
            })?;
            ensure!(
                done.insert(line.chunk),
                "line {number} of {}: chunk {} is there twice",
                path.display(),
                line.chunk
            );
            whole += text.len() as u64;
            text.clear();
        }
        let mut file = reader.into_inner();
        file.set_len(whole).await.with_context(cannot)?;
        file.seek(SeekFrom::Start(whole)).await.with_context(cannot)?;
        Ok((Output::new(file, path), done))
    }

    /// Writes out what is still in memory and waits until the disk has it.
    ///
    /// # Errors
    /// As [`Output::append`].
    pub async fn close(mut self) -> Result<u64> {
        self.flush().await?;
        let synced = self.to.into_inner().sync_data().await;
        synced.with_context(|| format!("cannot write to {}", self.path.display()))?;
        Ok(self.lines)
    }
}

impl<W: AsyncWrite + Unpin> Output<W> {
    /// Appends to a writer; the path is for messages.
    pub fn new(to: W, path: &Path) -> Output<W> {
        Output { to: BufWriter::new(to), path: path.into(), lines: 0 }
    }

    /// Appends a line.
    ///
    /// # Errors
    /// When the disk is full, or broken; it may come late, because lines are written a few at a
    /// time.
    pub async fn append(&mut self, line: &Line) -> Result<()> {
        let mut text = serde_json::to_vec(line)?;
        text.push(b'\n');
        let written = self.to.write_all(&text).await;
        self.lines += 1;
        written.with_context(|| self.failed())
    }

    /// Hands the lines in memory to the system.
    ///
    /// # Errors
    /// As [`Output::append`].
    pub async fn flush(&mut self) -> Result<()> {
        let flushed = self.to.flush().await;
        flushed.with_context(|| self.failed())
    }

    fn failed(&self) -> String {
        format!(
            "cannot write to {} after {} lines; run again to go on from the last complete one",
            self.path.display(),
            self.lines
        )
    }
}

#[cfg(test)]
mod tests {
    use std::{
        io,
        pin::Pin,
        task::{Context, Poll},
    };

    use super::*;
    use proptest::prelude::*;

    fn line(chunk: u64) -> Line {
        Line { chunk, offset: chunk * 10, digest: format!("{chunk:016x}"), dimensions: 3 }
    }

    fn run<T>(work: impl Future<Output = T>) -> T {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        runtime.block_on(work)
    }

    async fn write(path: &Path, chunks: impl IntoIterator<Item = u64>) -> Result<Done> {
        let (mut output, done) = Output::resume(path).await?;
        for chunk in chunks {
            output.append(&line(chunk)).await?;
        }
        output.close().await?;
        Ok(done)
    }

    #[test]
    fn a_torn_last_line_is_cut_off_and_written_again() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("out");
        run(async {
            write(&path, [0, 2, 1]).await.unwrap();
            let whole = std::fs::read(&path).unwrap();
            // Wherever the crash tore the file, what is left is its complete lines.
            for cut in 0..=whole.len() {
                std::fs::write(&path, &whole[..cut]).unwrap();
                let complete = whole[..cut].iter().filter(|b| **b == b'\n').count() as u64;
                let done = write(&path, []).await.unwrap();
                assert_eq!(done.count(), complete, "cut at {cut}");
                let left: Vec<u64> = (0..3).filter(|c| !done.contains(*c)).collect();
                write(&path, left).await.unwrap();
                let done = write(&path, []).await.unwrap();
                assert_eq!(done, Done { below: 3, beyond: BTreeSet::new() });
            }
        });
    }

    #[test]
    fn a_file_of_something_else_is_left_alone() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("out");
        std::fs::write(&path, "dear diary\nno JSON").unwrap();
        let error = format!("{:#}", run(write(&path, [1])).unwrap_err());
        assert!(error.contains("line 1 of") && error.contains("another file"), "{error}");
        assert_eq!(std::fs::read(&path).unwrap(), b"dear diary\nno JSON");
        let twice = format!("{}\n", serde_json::to_string(&line(5)).unwrap()).repeat(2);
        std::fs::write(&path, twice).unwrap();
        let error = format!("{:#}", run(write(&path, [])).unwrap_err());
        assert!(error.contains("chunk 5 is there twice"), "{error}");
        let error = run(write(folder.path(), [])).unwrap_err();
        assert!(format!("{error:#}").contains("cannot open the output"));
    }

    /// A disk with little room.
    struct Tiny(usize);

    impl AsyncWrite for Tiny {
        fn poll_write(
            mut self: Pin<&mut Self>,
            _: &mut Context,
            bytes: &[u8],
        ) -> Poll<io::Result<usize>> {
            let fits = bytes.len().min(self.0);
            if fits == 0 {
                return Poll::Ready(Err(io::ErrorKind::StorageFull.into()));
            }
            self.0 -= fits;
            Poll::Ready(Ok(fits))
        }
        fn poll_flush(self: Pin<&mut Self>, _: &mut Context) -> Poll<io::Result<()>> {
            Poll::Ready(Ok(()))
        }
        fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context) -> Poll<io::Result<()>> {
            Poll::Ready(Ok(()))
        }
    }

    #[test]
    fn a_full_disk_is_an_error_that_says_where() {
        let error = run(async {
            let mut output = Output::new(Tiny(100), Path::new("results.jsonl"));
            for chunk in 0.. {
                output.append(&line(chunk)).await?;
                output.flush().await?;
            }
            Ok::<(), anyhow::Error>(())
        });
        let error = error.unwrap_err();
        let io = error.root_cause().downcast_ref::<io::Error>().unwrap();
        assert_eq!(io.kind(), io::ErrorKind::StorageFull);
        assert!(error.to_string().contains("results.jsonl after 2 lines"), "{error}");
    }

    proptest! {
        #[test]
        fn done_is_a_set(order in Just((0u64..60).collect::<Vec<_>>()).prop_shuffle(), n in 0usize..60) {
            let mut done = Done::default();
            for chunk in &order[..n] {
                prop_assert!(done.insert(*chunk) && !done.insert(*chunk));
            }
            for (i, chunk) in order.iter().enumerate() {
                prop_assert_eq!(done.contains(*chunk), i < n);
            }
            prop_assert_eq!(done.count(), n as u64);
            prop_assert!(done.beyond.iter().all(|c| *c > done.below));
        }
    }
}
