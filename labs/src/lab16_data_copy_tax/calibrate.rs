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

use lab_kit::{os, prelude::*, stats::median};

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
    let mut times: [Vec<f64>; 6] = Default::default();
    let [writes, reads, shared, copies, touches, maps] = &mut times;
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
        // The first rounds are enough: making pages takes long.
        if round <= least.min(5) {
            let (touch, map, faults) = first_touch(home, bytes)?;
            touches.push(touch);
            maps.push(map);
            r.gauge("touch_faults", faults);
        }
    }
    drop(ring);
    let _ = other.join();
    let names = [
        "write_s", "read_s", "shared_s", "copy_s", "touch_s", "map_s",
    ];
    for (name, times) in names.into_iter().zip(&times) {
        r.gauge(name, median(times));
    }
    Ok(())
}

/// What a new segment costs beside the pass that writes it and the one that reads it: seconds to
/// make it, touch every page of it and give it back; seconds to open it as another process does, touch
/// every page and let go; and the page faults of the former.
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

/// What the other thread does with a buffer.
#[derive(Clone, Copy, PartialEq)]
enum Pass {
    Heap,
    Segment,
    Copy,
}
