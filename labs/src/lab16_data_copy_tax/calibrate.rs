//! How fast this machine passes over so many bytes: what theory is fed with.
//!
//! A buffer of 16 KB is in a processor's first cache, one of 64 MB in none, and bytes that another
//! processor has just written must come from there. So there is not one bandwidth but one for each
//! size and kind of access, measured as the lab uses it: one thread writes a buffer, another passes
//! over it, and only the pass is timed. What the system itself takes to pass bytes on, with its two
//! copies, is measured by a single thread that writes and reads in turn: nobody has to be woken.

use std::{
    hint::black_box,
    io::{Read, Write},
    ops::{Deref, DerefMut},
    sync::{Arc, Mutex, PoisonError, mpsc::channel},
    thread,
};

use lab_kit::{os, prelude::*, stats::median};

use super::{
    child::Wire,
    payload::{checksum, fill},
    segment::{Home, Segment, View},
};

/// Bytes in a page, nearly everywhere.
const PAGE: usize = 4096;
/// Bytes that any connection takes without anybody reading.
const CHUNK: usize = 32 << 10;

/// How often to measure: for so long, but at least and at most so often.
#[derive(Clone, Copy)]
pub struct Effort {
    /// How long.
    pub window: Duration,
    /// At least.
    pub least: usize,
}

impl Effort {
    /// The median time of `once`, in seconds, after a first time that does not count.
    fn median(self, mut once: impl FnMut() -> Result<f64>) -> Result<f64> {
        once()?;
        let (start, mut times) = (Instant::now(), Vec::new());
        while times.len() < self.least || (start.elapsed() < self.window && times.len() < 10_000) {
            times.push(once()?);
        }
        Ok(median(&times))
    }
}

/// Writes down, for so many bytes: seconds of one pass that writes them, reads them, reads them in a
/// segment, copies them; seconds to make the pages of a new segment, on both sides; seconds through
/// each connection.
pub fn passes(r: &Recorder, home: &Home, bytes: usize, effort: Effort) -> Result<()> {
    let seq = &mut r.seed();
    let (own, buffer) = lent(vec![0u8; bytes]);
    let [write, read] = written_and(own, effort, seq, move || {
        black_box(checksum(
            &buffer.lock().unwrap_or_else(PoisonError::into_inner),
        ));
    })?;
    r.gauge("write_s", write);
    r.gauge("read_s", read);

    let (own, buffer) = lent(vec![0u8; bytes]);
    let mut copy = vec![0u8; bytes];
    let [_, copied] = written_and(own, effort, seq, move || {
        copy.copy_from_slice(black_box(
            &buffer.lock().unwrap_or_else(PoisonError::into_inner),
        ));
        black_box(&copy);
    })?;
    r.gauge("copy_s", copied);

    let segment = Segment::create(home, bytes)?;
    let view = View::open(&home.base(), segment.name(), bytes)?;
    segment.opened();
    let (own, _) = lent(segment);
    let [_, shared] = written_and(own, effort, seq, move || {
        black_box(checksum(&view));
    })?;
    r.gauge("shared_s", shared);

    let (mut made, mut mapped) = (Vec::new(), Vec::new());
    for _ in 0..effort.least.min(5) {
        let (making, mapping, faults) = first_touch(home, bytes)?;
        made.push(making);
        mapped.push(mapping);
        r.gauge("touch_faults", faults);
    }
    r.gauge("touch_s", median(&made));
    r.gauge("map_s", median(&mapped));

    let (from, mut into) = (vec![1u8; bytes], vec![0u8; bytes]);
    for wire in [Wire::Pipe, Wire::Unix, Wire::Tcp] {
        if let Some((mut to, mut back)) = wire.both_ends()? {
            let seconds = effort.median(|| through(&mut to, &mut back, &from, &mut into))?;
            r.gauge(wire.through(), seconds);
        }
    }
    Ok(())
}

/// A buffer that one side writes and the other reads, and never both.
type Lent<T> = Arc<Mutex<T>>;

fn lent<T>(buffer: T) -> (Lent<T>, Lent<T>) {
    let own = Arc::new(Mutex::new(buffer));
    (own.clone(), own)
}

/// Median seconds that this thread takes to write a buffer, and another thread for `pass` after it.
fn written_and<T: Deref<Target = [u8]> + DerefMut>(
    buffer: Lent<T>,
    effort: Effort,
    seq: &mut u64,
    mut pass: impl FnMut() + Send + 'static,
) -> Result<[f64; 2]> {
    let (ring, rings) = channel::<()>();
    let (answer, answers) = channel::<f64>();
    let other = thread::spawn(move || {
        for () in rings {
            let start = Instant::now();
            pass();
            if answer.send(start.elapsed().as_secs_f64()).is_err() {
                break;
            }
        }
    });
    let mut writes = Vec::new();
    let passed = effort.median(|| {
        *seq = seq.wrapping_add(1);
        let start = Instant::now();
        black_box(fill(
            &mut buffer.lock().unwrap_or_else(PoisonError::into_inner),
            *seq,
        ));
        writes.push(start.elapsed().as_secs_f64());
        ring.send(())?;
        Ok(answers.recv()?)
    });
    drop(ring);
    let _ = other.join();
    Ok([median(&writes), passed?])
}

/// What a new segment costs beside the pass that writes it and the one that reads it: seconds to
/// make it, touch every page of it and give it back; seconds to open it as another process does,
/// touch every page and let go; and the page faults of the former.
fn first_touch(home: &Home, bytes: usize) -> Result<(f64, f64, f64)> {
    let faults = || os::usage().map_or(f64::NAN, |used| used.page_faults as f64);
    let (before, begin) = (faults(), Instant::now());
    let mut new = Segment::create(home, bytes)?;
    for page in new.chunks_mut(PAGE) {
        page[0] = 1;
    }
    let (made, touched) = (begin.elapsed(), faults() - before);
    let begin = Instant::now();
    let view = View::open(&home.base(), new.name(), bytes)?;
    new.opened();
    black_box(
        view.chunks(PAGE)
            .map(|page| u64::from(page[0]))
            .sum::<u64>(),
    );
    drop(view);
    let mapped = begin.elapsed();
    let begin = Instant::now();
    drop(new);
    let whole = made + begin.elapsed();
    Ok((whole.as_secs_f64(), mapped.as_secs_f64(), touched))
}

/// Seconds to write bytes into a connection and read them from its other end, a little at a time.
fn through(to: &mut impl Write, back: &mut impl Read, from: &[u8], into: &mut [u8]) -> Result<f64> {
    let start = Instant::now();
    for (there, here) in from.chunks(CHUNK).zip(into.chunks_mut(CHUNK)) {
        to.write_all(there)?;
        back.read_exact(here)?;
    }
    black_box(&into);
    Ok(start.elapsed().as_secs_f64())
}
