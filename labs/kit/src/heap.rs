//! Live heap of the threads that ask to be counted, and its peak.
//!
//! A lab that wants to know what its client holds in memory has the upstream in the same process,
//! with buffers of its own: the size of the process says nothing. So the allocator counts by
//! thread. A thread that has joined a [`Heap`] adds what it allocates and subtracts what it frees;
//! on all others an allocation costs one more read of a thread-local.
//!
//! ```
//! use lab_kit::heap::Heap;
//!
//! lab_kit::counting_heap!();
//!
//! let heap = Heap::new();
//! let runtime = tokio::runtime::Builder::new_current_thread()
//!     // The threads for blocking work are started by the runtime, too: they hold file buffers.
//!     .on_thread_start(move || heap.join())
//!     .build()?;
//! let counted = heap.enter();
//! runtime.block_on(async { drop(vec![0u8; 1000]) });
//! drop(counted);
//! assert!(heap.peak_bytes() >= 1000);
//! # Ok::<(), std::io::Error>(())
//! ```
//!
//! # Blocks that cross threads
//!
//! Freed by another thread of the same heap, a block is counted right. Freed by a thread that does
//! not count, it stays in the books; allocated by one and freed by a thread that does, it is
//! subtracted without ever having been added. Nothing marks a block (a header would cost every
//! allocation of the program 16 bytes), so whoever measures sees to it that few cross: all threads
//! of the client's runtime join, and client and upstream share nothing but sockets. What is left
//! over when the client has been dropped, [`Heap::live_bytes`], shows how well that worked.
//!
//! # Why not a crate
//!
//! `peak_alloc`, `stats_alloc` and `cap` count the whole process, `accounting-allocator` by thread
//! but only in sum, `tracking-allocator` tells groups apart with a header before every block and
//! has had no release since 2022; none keeps the peak of some threads.
#![allow(unsafe_code)] // A global allocator cannot be written without; see the comments there.

use std::{
    alloc::{GlobalAlloc, Layout, System},
    cell::Cell,
    marker::PhantomData,
    sync::atomic::{AtomicI64, Ordering::Relaxed},
};

thread_local! {
    /// The heap this thread counts for. Constant and without a destructor, so that reading it
    /// never allocates and is allowed at any time of a thread's life.
    static JOINED: Cell<Option<&'static Books>> = const { Cell::new(None) };
}

/// Counts the heap of a program: said once in it, or in a library that only one program uses.
#[macro_export]
macro_rules! counting_heap {
    () => {
        #[global_allocator]
        static ALLOCATOR: $crate::heap::Counting = $crate::heap::Counting;
    };
}

#[derive(Debug, Default)]
struct Books {
    live: AtomicI64,
    peak: AtomicI64,
}

impl Books {
    fn add(&self, bytes: usize) {
        let bytes = bytes as i64;
        self.peak.fetch_max(self.live.fetch_add(bytes, Relaxed) + bytes, Relaxed);
    }

    fn subtract(&self, bytes: usize) {
        self.live.fetch_sub(bytes as i64, Relaxed);
    }
}

fn joined() -> Option<&'static Books> {
    JOINED.try_with(Cell::get).ok().flatten()
}

/// The system's allocator, which counts on the threads that have joined a [`Heap`].
#[derive(Debug)]
pub struct Counting;

// SAFETY: every call is passed on to `System` as it came, and its answer returned as it is; the
// counting beside it touches only atomics and a thread-local that neither allocates nor panics.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        // SAFETY: the caller keeps `System`'s contract, which is this one.
        let block = unsafe { System.alloc(layout) };
        if let Some(books) = joined().filter(|_| !block.is_null()) {
            books.add(layout.size());
        }
        block
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        // SAFETY: as above.
        let block = unsafe { System.alloc_zeroed(layout) };
        if let Some(books) = joined().filter(|_| !block.is_null()) {
            books.add(layout.size());
        }
        block
    }

    unsafe fn dealloc(&self, block: *mut u8, layout: Layout) {
        // SAFETY: as above.
        unsafe { System.dealloc(block, layout) };
        if let Some(books) = joined() {
            books.subtract(layout.size());
        }
    }

    unsafe fn realloc(&self, block: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        // SAFETY: as above.
        let grown = unsafe { System.realloc(block, layout, size) };
        // Where it fails, the old block lives on.
        if let Some(books) = joined().filter(|_| !grown.is_null()) {
            books.subtract(layout.size());
            books.add(size);
        }
        grown
    }
}

/// A count of the heap that some threads hold. Copies count together.
///
/// It counts nothing unless [`Counting`] is the program's `#[global_allocator]`.
#[derive(Clone, Copy, Debug)]
pub struct Heap(&'static Books);

impl Heap {
    /// Empty books. They are 16 bytes that live as long as the program, since a thread may outlive
    /// whoever counts: make one for a trial, not for a request.
    #[allow(clippy::new_without_default)] // Each one is another.
    pub fn new() -> Heap {
        Heap(Box::leak(Box::default()))
    }

    /// From now on the calling thread counts here, as long as it lives: for a runtime's
    /// `on_thread_start`.
    pub fn join(self) {
        JOINED.set(Some(self.0));
    }

    /// Until the guard is dropped the calling thread counts here.
    pub fn enter(self) -> Entered {
        Entered { before: JOINED.replace(Some(self.0)), stays: PhantomData }
    }

    /// Bytes allocated and not yet freed. Below zero when blocks were freed here that came from
    /// elsewhere.
    pub fn live_bytes(self) -> i64 {
        self.0.live.load(Relaxed)
    }

    /// The most live bytes since the start or [`Heap::reset_peak`].
    pub fn peak_bytes(self) -> i64 {
        self.0.peak.load(Relaxed)
    }

    /// Forgets earlier peaks: from now on the peak is at least what is live now, which is returned.
    pub fn reset_peak(self) -> i64 {
        let live = self.live_bytes();
        self.0.peak.store(live, Relaxed);
        live
    }
}

/// The calling thread counts, until this is dropped.
#[derive(Debug)]
pub struct Entered {
    before: Option<&'static Books>,
    /// Dropped on another thread it would end the counting there.
    stays: PhantomData<*const ()>,
}

impl Drop for Entered {
    fn drop(&mut self) {
        JOINED.set(self.before);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[global_allocator]
    static ALLOCATOR: Counting = Counting;

    /// What the work leaves behind, and its peak.
    fn counted<T>(work: impl FnOnce() -> T) -> (T, i64, i64) {
        let heap = Heap::new();
        let entered = heap.enter();
        let result = work();
        drop(entered);
        (result, heap.live_bytes(), heap.peak_bytes())
    }

    #[test]
    fn a_vector_and_its_release_are_counted() {
        let (block, live, peak) = counted(|| {
            drop(Vec::<u8>::with_capacity(5000));
            Vec::<u8>::with_capacity(1000)
        });
        assert_eq!((live, peak), (1000, 5000));
        assert_eq!(counted(|| drop(vec![0u8; 700])).1, 0);
        drop(block);
    }

    #[test]
    fn growing_counts_the_block_once() {
        let (block, live, peak) = counted(|| {
            let mut block = Vec::<u8>::with_capacity(1000);
            block.reserve_exact(3000);
            block.shrink_to(2000);
            block
        });
        assert_eq!((live, peak), (2000, 3000));
        drop(block);
    }

    #[test]
    fn nothing_costs_nothing() {
        let (_, live, peak) =
            counted(|| (Vec::<u64>::new(), Box::new(()), Vec::<()>::with_capacity(100)));
        assert_eq!((live, peak), (0, 0));
    }

    #[test]
    fn other_threads_are_not_counted_unless_they_join() {
        let heap = Heap::new();
        let hold = |joins: bool| {
            let thread = std::thread::spawn(move || {
                if joins {
                    heap.join();
                }
                std::hint::black_box(vec![1u8; 100_000])
            });
            thread.join().unwrap()
        };
        let stranger = hold(false);
        assert_eq!((heap.live_bytes(), heap.peak_bytes()), (0, 0));
        let member = hold(true);
        // Give or take what a thread is given at its birth and frees at its end.
        let near = |expected: i64| (heap.live_bytes() - expected).abs() < 5000;
        assert!(near(100_000), "{}", heap.live_bytes());
        // Freed by another thread that counts here: the books are right again.
        let entered = heap.enter();
        drop(member);
        drop(entered);
        assert!(near(0), "{}", heap.live_bytes());
        drop(stranger);
    }

    #[test]
    fn a_guard_gives_the_thread_back_to_the_heap_before() {
        let (outer, inner) = (Heap::new(), Heap::new());
        let a = outer.enter();
        let b = inner.enter();
        let block = vec![0u8; 100];
        drop(b);
        assert_eq!((outer.live_bytes(), inner.live_bytes()), (0, 100));
        drop(block);
        drop(a);
        assert_eq!(outer.live_bytes(), -100);
        assert_eq!(outer.reset_peak(), -100);
        assert_eq!(outer.peak_bytes(), -100);
    }

    #[test]
    fn threads_for_blocking_work_join_with_their_runtime() {
        let heap = Heap::new();
        let runtime = tokio::runtime::Builder::new_current_thread()
            .on_thread_start(move || heap.join())
            .build()
            .unwrap();
        let held = runtime.block_on(async {
            let block = tokio::task::spawn_blocking(|| vec![0u8; 100_000]);
            block.await.unwrap()
        });
        assert!(heap.live_bytes() >= 100_000);
        drop(held);
    }

    proptest! {
        /// The books say at every moment what a count by hand says.
        #[test]
        fn the_books_are_right(steps in prop::collection::vec((0usize..8, 1usize..10_000), 1..60)) {
            let mut slots: [Vec<u8>; 8] = Default::default();
            let heap = Heap::new();
            let mut peak = 0;
            for (slot, size) in steps {
                let entered = heap.enter();
                if slots[slot].capacity() == 0 { slots[slot] = Vec::with_capacity(size) } else { slots[slot] = Vec::new() }
                drop(entered);
                let live: usize = slots.iter().map(Vec::capacity).sum();
                peak = peak.max(live);
                prop_assert_eq!((heap.live_bytes(), heap.peak_bytes()), (live as i64, peak as i64));
            }
        }
    }
}
