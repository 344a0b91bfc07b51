//! What the runtime adds to a future: from a few futures of known size to the heap of any task.
//!
//! `tokio::spawn` puts a future into one block of the heap, behind a header (state, queue, waker …)
//! and rounded up to a whole number of cache lines, so that no two tasks share one. Both are the
//! runtime's own business and change with its version; so they are not looked up but measured: with
//! futures that grow word by word, the block jumps by one unit, and where it jumps tells the header.

use std::{future::pending, hint::black_box};

use lab_kit::{heap::Heap, os, prelude::*};
use tokio::{net::TcpListener, runtime::Runtime, task::yield_now};

/// Futures beyond this many bytes are put into a block of their own (tokio 1.54, `runtime/mod.rs`):
/// 16 KB, and 2 KB in a debug build. Which one it was is the record's to say.
pub(super) fn boxed_beyond(build: &str) -> f64 {
    if build == "debug" { 2048.0 } else { 16384.0 }
}

/// What tokio adds to a future, in bytes.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Cell {
    pub(super) header: f64,
    /// The block is a multiple of it.
    pub(super) unit: f64,
    /// A larger future has a block of its own.
    pub(super) boxed_beyond: f64,
}

impl Cell {
    /// From the sizes of futures, ascending, and of the blocks their tasks were given. `None`
    /// unless the block jumped twice.
    pub(super) fn of(probes: &[(usize, i64)], build: &str) -> Option<Cell> {
        let mut jumps = probes.windows(2).filter(|w| w[1].1 > w[0].1);
        let (first, second) = (jumps.next()?, jumps.next()?);
        Some(Cell {
            header: first[0].1 as f64 - first[0].0 as f64,
            unit: (second[0].1 - first[0].1) as f64,
            boxed_beyond: boxed_beyond(build),
        })
    }

    /// Heap of a parked task, from the size of its future.
    pub(super) fn heap(&self, future: f64) -> f64 {
        self.blocks(future).iter().sum()
    }

    /// The blocks that it is made of.
    pub(super) fn blocks(&self, future: f64) -> Vec<f64> {
        let block = |inside: f64| ((inside + self.header) / self.unit).ceil() * self.unit;
        if future > self.boxed_beyond {
            vec![future, block(size_of::<usize>() as f64)]
        } else {
            vec![block(future)]
        }
    }
}

/// A future that holds so many words while it waits.
async fn holds<const WORDS: usize>() {
    let mut words = [0u64; WORDS];
    black_box(&mut words);
    pending::<()>().await;
    black_box(&mut words);
}

/// Size of the future and of the block that its task takes.
fn probe<const WORDS: usize>(runtime: &Runtime, heap: Heap) -> (usize, i64) {
    let future = holds::<WORDS>();
    let (size, before) = (size_of_val(&future), heap.live_bytes());
    runtime.spawn(future);
    (size, heap.live_bytes() - before)
}

/// The futures that are tried.
pub(super) fn probes(runtime: &Runtime, heap: Heap) -> Vec<(usize, i64)> {
    // The first ones make room in the queue of tasks that are ready.
    for _ in 0..256 {
        runtime.spawn(async {});
    }
    runtime.block_on(yield_now());
    macro_rules! of { ($($words:literal)*) => { vec![$(probe::<$words>(runtime, heap)),*] } }
    of!(1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20 21 22 23 24 25 26 27 28 29 30 31 32 33 34 35 36)
}

/// A unit of the runtime's, on most processors and on the others.
#[derive(Clone)]
#[repr(align(128))]
struct Wide {
    _line: [u8; 128],
}
#[derive(Clone)]
#[repr(align(64))]
struct Narrow {
    _line: [u8; 64],
}

/// Resident memory that the allocator takes for blocks of whole units, and for the block of a future of
/// so many bytes, asked for by themselves; with the sizes of the blocks.
pub(super) fn slots(cell: Cell, future: usize) -> Vec<(usize, f64)> {
    let unit = cell.unit as usize;
    let aligned = |bytes: usize| match unit {
        128 => slot(Wide { _line: [1; 128] }, bytes / unit),
        64 => slot(Narrow { _line: [1; 64] }, bytes / unit),
        _ => None,
    };
    let boxed = future as f64 > cell.boxed_beyond;
    let block = if boxed { future } else { cell.heap(future as f64) as usize };
    let small = (1..=6).map(|units| (units * unit, aligned(units * unit)));
    let large = match boxed {
        true => slot(1u64, block.div_ceil(size_of::<u64>())),
        false => aligned(block),
    };
    let all = small.chain([(block, large)]);
    all.filter_map(|(size, slot)| Some((size, slot?))).collect()
}

/// Resident memory that each of many blocks of so many takes, as far as the system tells.
fn slot<T: Clone>(touched: T, count: usize) -> Option<f64> {
    const TOUCHED: usize = 16 << 20;
    let number = (TOUCHED / (count * size_of::<T>()).max(1)).clamp(500, 8000);
    // Nothing is given back: a place that was free would hide what the next block takes.
    let hold = |number: usize| {
        for _ in 0..number {
            black_box(Box::leak(vec![touched.clone(); count].into_boxed_slice()));
        }
    };
    hold(number / 8);
    os::resident_exactly()?;
    let before = os::resident_exactly()?;
    hold(number);
    let more = os::resident_exactly()?.saturating_sub(before);
    Some(more as f64 / number as f64)
}

/// Heap that the runtime takes for a socket beside what is in the future.
pub(super) fn registration(runtime: &Runtime, heap: Heap) -> Result<f64> {
    const SOCKETS: usize = 8;
    let mut held = Vec::with_capacity(SOCKETS);
    let before = heap.live_bytes();
    for _ in 0..SOCKETS {
        held.push(runtime.block_on(TcpListener::bind("127.0.0.1:0"))?);
    }
    Ok((heap.live_bytes() - before) as f64 / SOCKETS as f64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_jumps_tell_header_and_unit() {
        let cell = Cell { header: 88.0, unit: 128.0, boxed_beyond: boxed_beyond("release") };
        let probes: Vec<(usize, i64)> =
            (2..40).map(|w| (8 * w, cell.heap(8.0 * w as f64) as i64)).collect();
        assert_eq!(Cell::of(&probes, "release"), Some(cell));
        assert_eq!(Cell::of(&probes[..10], "release"), None);
        assert_eq!(Cell::of(&[], "release"), None);
        assert_eq!((cell.heap(40.0), cell.heap(41.0)), (128.0, 256.0));
        assert_eq!(cell.heap(40_000.0), 40_000.0 + 128.0);
        let debug = Cell { boxed_beyond: boxed_beyond("debug"), ..cell };
        assert_eq!((debug.heap(4104.0), cell.heap(4104.0)), (4104.0 + 128.0, 4224.0));
    }

    #[test]
    fn a_runtime_has_a_header() {
        let heap = Heap::new();
        let counted = heap.enter();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let cell = Cell::of(&probes(&runtime, heap), "release").expect("two jumps");
        assert!(cell.header > 0.0 && cell.unit >= 8.0, "{cell:?}");
        assert!(registration(&runtime, heap).unwrap() > 0.0);
        drop(counted);
        let slots = slots(cell, 40_000);
        assert!(slots.iter().all(|(size, slot)| *slot >= 0.9 * *size as f64), "{slots:?}");
    }
}
