//! How fast this machine passes over so many bytes: what theory is fed with.
//!
//! A buffer of 16 KB is in a processor's first cache, one of 64 MB in none, and bytes that another
//! processor has just written must come from there. So there is not one bandwidth but one for each
//! size and kind of access, measured as the lab uses it: one thread (or process) writes a buffer,
//! another passes over it, and only the pass is timed, not the wait before it. The same for what the
//! system takes to copy bytes in and out: one side writes what surely fits, then the other reads it.
//!
//! Nor does a meeting have one price. Between two wake-ups both sides of a pipe move what the pipe
//! holds; where the payload is larger than the caches, these bytes have driven out what the system
//! needs to wake somebody. So it is measured with as many bytes moved between.

use std::{
    hint::black_box,
    io::{Read as _, Write as _, pipe},
    sync::{Arc, Mutex, PoisonError, mpsc::channel},
    thread,
};

use lab_kit::{
    os,
    prelude::*,
    seats::sit,
    stats::{mean, mean_with_interval, median},
};

use super::{
    HandOver, Kept,
    child::{Ends, Wire},
    gauges,
    payload::{checksum, fill},
    segment::{Home, Segment, View},
    ways::Setting,
};

/// Bytes in a page, nearly everywhere.
const PAGE: usize = 4096;
/// Bytes that any connection takes without anybody reading.
const CHUNK: usize = 32 << 10;

/// Bytes that a pipe holds, nearly everywhere, and that are moved between two meetings.
const PIECE: usize = 64 << 10;
/// Meetings at the start that do not count, and those that do.
const EARLY: usize = 8;
pub const MEETINGS: usize = 48;

/// Chunks that stand for a payload, and how often they go through.
const CHUNKS: usize = 16;
const ROUNDS: usize = 4;
/// Bytes that go through at the least, of a payload that has more.
pub const STAND_FOR_ALL: usize = CHUNKS * CHUNK;

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
/// segment, and copies them to where the other side reads; seconds to make the pages of a new segment, on
/// both sides; seconds through each connection.
pub fn passes(r: &Recorder, on: &Setting, bytes: usize, effort: Effort) -> Result<()> {
    let _seated = sit(on.seats.producer);
    let seat = on.seats.consumer;
    let seq = &mut r.seed();
    let (own, buffer) = lent(vec![0u8; bytes]);
    let mut sequence = r.seed();
    let writing = move |buffer: &mut [u8]| {
        sequence = sequence.wrapping_add(1);
        let start = Instant::now();
        black_box(fill(buffer, sequence));
        start.elapsed()
    };
    let [write, read] = made_and(own, effort, seat, writing, reading(buffer))?;
    r.gauge(gauges::WRITE_S, write);
    r.gauge(gauges::READ_S, read);

    // As a clone is made and a segment filled: what this side has just written goes to where the other side
    // read before, and will read.
    let (own, buffer) = lent(vec![0u8; bytes]);
    let mut source = vec![0u8; bytes];
    let mut sequence = r.seed();
    let copying = move |buffer: &mut [u8]| {
        sequence = sequence.wrapping_add(1);
        black_box(fill(&mut source, sequence));
        let start = Instant::now();
        buffer.copy_from_slice(black_box(&source));
        start.elapsed()
    };
    let [copied, _] = made_and(own, effort, seat, copying, reading(buffer))?;
    r.gauge(gauges::COPY_S, copied);

    // As the consumer has it: in a process and with page tables of its own.
    let mut kept = Kept::open(on, bytes)?;
    let shared = effort.median(|| {
        *seq = seq.wrapping_add(1).max(1);
        black_box(fill(kept.place()?, *seq));
        Ok(kept.hand_over(*seq)?.read_ns as f64 / 1e9)
    })?;
    drop(kept);
    r.gauge(gauges::SHARED_S, shared);

    let (mut made, mut mapped) = (Vec::new(), Vec::new());
    // As everywhere, a first time does not count: it does not find the pages that were given back.
    for i in 0..=effort.least.min(5) {
        let (making, mapping, faults) = first_touch(&on.home, bytes, seat)?;
        if i > 0 {
            made.push(making);
            mapped.push(mapping);
            r.gauge(gauges::TOUCH_FAULTS, faults);
        }
    }
    r.gauge(gauges::TOUCH_S, median(&made));
    r.gauge(gauges::MAP_S, median(&mapped));
    r.gauge(gauges::MEETING_S, meeting(bytes, seat)?);

    let from = vec![1u8; bytes];
    for wire in [Wire::Pipe, Wire::Unix, Wire::Tcp] {
        if let Some(ends) = wire.both_ends()? {
            let (there, back) = through(ends, &from, seat)?;
            r.gauge(wire.there(), there);
            r.gauge(wire.back(), back);
        }
    }
    Ok(())
}

/// A buffer that one side writes and the other reads, and never both.
type Lent = Arc<Mutex<Vec<u8>>>;

fn lent(buffer: Vec<u8>) -> (Lent, Lent) {
    let own = Arc::new(Mutex::new(buffer));
    (own.clone(), own)
}

/// A pass over what the other side has made.
fn reading(buffer: Lent) -> impl FnMut() + Send + 'static {
    move || {
        black_box(checksum(&buffer.lock().unwrap_or_else(PoisonError::into_inner)));
    }
}

/// Median seconds that `make` says it took this thread to make what is in a buffer, and those of another
/// thread for `pass` after it.
fn made_and(
    buffer: Lent,
    effort: Effort,
    seat: Option<usize>,
    mut make: impl FnMut(&mut [u8]) -> Duration,
    mut pass: impl FnMut() + Send + 'static,
) -> Result<[f64; 2]> {
    let (ring, rings) = channel::<()>();
    let (answer, answers) = channel::<f64>();
    let other = thread::spawn(move || {
        let _seated = sit(seat);
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
        let took = make(&mut buffer.lock().unwrap_or_else(PoisonError::into_inner));
        writes.push(took.as_secs_f64());
        ring.send(())?;
        Ok(answers.recv()?)
    });
    drop(ring);
    let _ = other.join();
    Ok([median(&writes), passed?])
}

/// What a new segment costs beside the pass that writes it and the one that reads it: seconds to
/// make it, touch every page of it and give it back; seconds to open it as another process does, on
/// the other side's processor, touch every page and let go; and the page faults of the former.
///
/// The other side then reads all of it, as it does in the experiment: the pages that are given back
/// are found again for the next segment, and clearing them takes longer while another processor's
/// cache has them.
fn first_touch(home: &Home, bytes: usize, seat: Option<usize>) -> Result<(f64, f64, f64)> {
    let faults = || os::usage().map_or(f64::NAN, |used| used.page_faults as f64);
    let (before, begin) = (faults(), Instant::now());
    let mut new = Segment::create(home, bytes)?;
    for page in new.chunks_mut(PAGE) {
        page[0] = 1;
    }
    let (made, touched) = (begin.elapsed(), faults() - before);
    let (base, name) = (home.base(), new.name());
    let other = move || -> Result<Duration> {
        let _seated = sit(seat);
        let begin = Instant::now();
        let view = View::open(&base, name, bytes)?;
        black_box(view.chunks(PAGE).map(|page| u64::from(page[0])).sum::<u64>());
        let touched = begin.elapsed();
        black_box(checksum(&view));
        let begin = Instant::now();
        drop(view);
        Ok(touched + begin.elapsed())
    };
    let mapped = thread::spawn(other).join().expect("nobody panics")?;
    new.opened();
    let begin = Instant::now();
    drop(new);
    let whole = made + begin.elapsed();
    Ok((whole.as_secs_f64(), mapped.as_secs_f64(), touched))
}

/// A buffer that one side goes through, a piece at a time, and then from its start again.
struct Walk {
    buffer: Vec<u8>,
    at: usize,
}

impl Walk {
    fn through(bytes: usize) -> Walk {
        let buffer = vec![1; bytes];
        Walk { buffer, at: 0 }
    }

    /// Seconds that `step` takes over the next piece.
    fn step(&mut self, step: impl FnOnce(&mut [u8])) -> f64 {
        let end = self.buffer.len().min(self.at + PIECE);
        let start = Instant::now();
        step(&mut self.buffer[self.at..end]);
        let took = start.elapsed().as_secs_f64();
        self.at = if end < self.buffer.len() { end } else { 0 };
        took
    }
}

/// Seconds of a meeting: one side wakes the other, which wakes it again. Between two of them each
/// moves a piece of so many bytes, as the two sides of a pipe do, which is not counted.
fn meeting(bytes: usize, seat: Option<usize>) -> Result<f64> {
    let ((mut rung, mut ring), (mut answered, mut answer)) = (pipe()?, pipe()?);
    let mut into = Walk::through(bytes);
    let other = thread::spawn(move || {
        let _seated = sit(seat);
        let mut bell = [0; 1];
        while rung.read_exact(&mut bell).is_ok() {
            let took = into.step(|piece| {
                black_box(fill(piece, u64::from(bell[0])));
            });
            if answer.write_all(&took.to_le_bytes()).is_err() {
                break;
            }
        }
    });
    let mut from = Walk::through(bytes);
    let mut once = |bell: u8| -> Result<f64> {
        let begin = Instant::now();
        let mine = from.step(|piece| {
            black_box(checksum(piece));
        });
        ring.write_all(&[bell])?;
        let mut took = [0; 8];
        answered.read_exact(&mut took)?;
        Ok(begin.elapsed().as_secs_f64() - mine - f64::from_le_bytes(took))
    };
    let met: Result<Vec<f64>> = (0..EARLY + MEETINGS).map(|i| once(i as u8)).collect();
    drop(ring);
    let _ = other.join();
    Ok(median(&met?[EARLY..]))
}

/// Seconds that it takes to write bytes into a connection, and seconds to read them on another
/// thread. A few chunks stand for all: two threads that wait for each other take long.
fn through((mut to, mut back): Ends, from: &[u8], seat: Option<usize>) -> Result<(f64, f64)> {
    let chunks: Vec<&[u8]> = from.chunks(CHUNK).collect();
    let every = chunks.len().div_ceil(CHUNKS);
    let (ring, rings) = channel::<(usize, usize)>();
    let (answer, answers) = channel();
    let bytes = from.len();
    let other = thread::spawn(move || {
        let _seated = sit(seat);
        let mut into = vec![1u8; bytes];
        // The first answer says that there is a buffer.
        let mut took = Ok(0.0);
        loop {
            if answer.send(took).is_err() {
                break;
            }
            let Ok((at, length)) = rings.recv() else {
                break;
            };
            let start = Instant::now();
            let read = back.read_exact(&mut into[at..at + length]);
            took = read.map(|()| start.elapsed().as_secs_f64());
            black_box(&into);
        }
    });
    answers.recv()??;
    let (mut wrote, mut read) = (Vec::new(), Vec::new());
    for round in 0..ROUNDS {
        for (i, chunk) in chunks.iter().enumerate().skip(round % every).step_by(every) {
            let start = Instant::now();
            to.write_all(chunk)?;
            let took = start.elapsed().as_secs_f64();
            ring.send((i * CHUNK, chunk.len()))?;
            let back = answers.recv()??;
            // The first round is a warm-up, and a last piece of a few bytes stands for no other.
            if round > 0 && chunk.len() == CHUNK.min(bytes) {
                wrote.push(took / chunk.len() as f64);
                read.push(back / chunk.len() as f64);
            }
        }
    }
    drop(ring);
    let _ = other.join();
    // A chunk that a stall met stands for no others.
    let all = |a_byte: &[f64]| {
        let typical = mean_with_interval(a_byte).map_or(mean(a_byte), |(typical, _)| typical);
        typical * bytes as f64
    };
    Ok((all(&wrote), all(&read)))
}
