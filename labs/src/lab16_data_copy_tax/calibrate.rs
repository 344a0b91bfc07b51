//! How fast this machine passes over so many bytes: what theory is fed with.
//!
//! A buffer of 16 KB is in a processor's first cache, one of 64 MB in none, and bytes that another
//! processor has just written must come from there. So there is not one bandwidth but one for each
//! size and kind of access, measured as the lab uses it: one thread writes a buffer, another passes
//! over it, and only the pass is timed.

use std::{
    hint::black_box,
    sync::{Arc, Mutex, mpsc::channel},
    thread,
};

use lab_kit::{prelude::*, stats::median};

use super::{
    payload::{checksum, fill},
    segment::{Home, Segment, View},
};

/// Bytes in a page, nearly everywhere.
pub const PAGE: usize = 4096;

/// Writes down seconds of one pass over so many bytes: to write them, to read them and to copy them
/// after another thread has written them; and seconds to touch every page of a new segment.
pub fn passes(
    r: &Recorder,
    home: &Home,
    bytes: usize,
    window: Duration,
    least: usize,
) -> Result<()> {
    let mut segment = Segment::create(home, bytes)?;
    let view = View::open(&home.base(), segment.name(), bytes)?;
    segment.opened();
    let heap = Arc::new(Mutex::new(vec![0u8; bytes]));
    let (ring, rings) = channel::<Pass>();
    let (answer, answers) = channel::<f64>();
    let theirs = heap.clone();
    let other = thread::spawn(move || {
        let mut copy = vec![0u8; bytes];
        for pass in rings {
            let heap = theirs.lock().unwrap_or_else(|e| e.into_inner());
            let start = Instant::now();
            match pass {
                Pass::Heap => drop(black_box(checksum(&heap))),
                Pass::Segment => drop(black_box(checksum(&view))),
                Pass::Copy => copy.copy_from_slice(black_box(&heap)),
            }
            black_box(&copy);
            if answer.send(start.elapsed().as_secs_f64()).is_err() {
                break;
            }
        }
    });
    let mut times: [Vec<f64>; 5] = Default::default();
    let [writes, reads, shared, copies, touches] = &mut times;
    let (start, mut seq) = (Instant::now(), r.seed());
    // The first round makes the pages.
    for round in 0.. {
        if round > least && (start.elapsed() > window || round > 100_000) {
            break;
        }
        let mut pass = |kind: Pass| -> Result<(f64, f64)> {
            seq = seq.wrapping_add(1);
            let begin = Instant::now();
            if kind == Pass::Segment {
                black_box(fill(&mut segment, seq));
            } else {
                let mut heap = heap.lock().unwrap_or_else(|e| e.into_inner());
                black_box(fill(&mut heap, seq));
            }
            let wrote = begin.elapsed().as_secs_f64();
            ring.send(kind)?;
            Ok((wrote, answers.recv()?))
        };
        let (wrote, read) = pass(Pass::Heap)?;
        let (_, seen) = pass(Pass::Segment)?;
        let (_, copied) = pass(Pass::Copy)?;
        if round > 0 {
            writes.push(wrote);
            reads.push(read);
            shared.push(seen);
            copies.push(copied);
        }
        if round <= least.min(5) {
            let begin = Instant::now();
            let mut new = Segment::create(home, bytes)?;
            for page in new.chunks_mut(PAGE) {
                page[0] = 1;
            }
            drop(new);
            touches.push(begin.elapsed().as_secs_f64());
        }
    }
    drop(ring);
    let _ = other.join();
    let names = ["write_s", "read_s", "shared_s", "copy_s", "touch_s"];
    for (name, times) in names.into_iter().zip(&times) {
        r.gauge(name, median(times));
    }
    Ok(())
}

/// What the other thread does with a buffer.
#[derive(Clone, Copy, PartialEq)]
enum Pass {
    Heap,
    Segment,
    Copy,
}
