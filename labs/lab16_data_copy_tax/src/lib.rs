//! # The tax on copies
//!
//! ## The question
//!
//! What does it cost to hand megabytes to another process?
//!
//! ## What to predict
//!
//! Suppose a program has written 10 MB and wants another process to read them. They may go through
//! a pipe, a Unix socket or TCP on loopback, or lie in memory that both processes have mapped. How
//! long from the last byte written to the answer that all has been read? And if the shared segment
//! is made anew for each payload?
//!
//! ## The experiment
//!
//! The consumer is a process of its own (for two arms a thread): this program, started again. The
//! producer writes a payload where it will hand it over from, which is the same work in every arm:
//! into its own buffer, or in place into the shared segment. The clock of the hand-over starts
//! there. It stops when the consumer has read every byte, let go of them, and answered. Each
//! payload has its number in every word; the consumer sends back a checksum that a lost, a swapped
//! or an old block changes, so nobody is fast by not reading. Payloads come in many sizes
//! (`--sizes`).
//!
//! Beforehand the same run measures one pass of each kind at each size, since there is no single
//! memory bandwidth: to write, to read what another processor has just written, to copy, to make the
//! pages of a new segment, and what the system takes to copy bytes in and out of a pipe or socket.
//!
//! ## What the figures show
//!
//! An `Arc` is a counted reference: the consumer gets the same bytes, not a copy. A *clone* is a
//! copy. A *pass* reads every byte once.
//!
//! | way | time of a hand-over |
//! |---|---|
//! | `Arc`, kept shared memory | latency + one pass |
//! | clone, copied into shared memory | latency + one copy + one pass |
//! | stream | latency + a copy in and a copy out + wake-ups + one pass |
//! | new shared segment each time | latency + one pass + a page fault for every page, on both sides |
//!
//! *Latency* is two wake-ups, one there and one back. For small payloads it is all there is, and no
//! way is better than another. On a machine whose idle processors sleep deeply, a virtual one for
//! instance, a wake-up takes long; where both sides happen to share a processor, a small part of
//! that.
//!
//! *Kept shared memory* is as fast between processes as an `Arc` between threads. "Zero copies" is
//! not zero time: the consumer's pass remains, and that is the bound. It is also why nothing here
//! can be many times faster than a copy, which is a pass or two.
//!
//! *A stream* is copied into the system by one side's calls and out of it by the other's. (The lab
//! counts the bytes of these calls; what the system does in between it cannot see.) The two copies
//! need not add up: while the consumer copies one piece out, the producer can copy the next one in,
//! so that the bound is the slower of the two sides, not their sum. The sockets come nearer to
//! that. A pipe does not: it holds sixteen pages (Linux, pipe(7)). The producer fills it and
//! sleeps, the consumer is woken, empties it and sleeps, and each filling costs two wake-ups. For a
//! large payload these can take more time than both copies. Theory follows when it counts them, and
//! the arm with a pipe that holds {pipe}, which changes nothing else, takes much less. So the tax
//! is not only on copies: it is on copies *and* on meetings.
//!
//! ## A common belief
//!
//! *Shared memory is zero-copy, so it is free.* The consumer's pass is left, even if the segment is
//! kept. Made anew for each payload, the system has to find, clear and map every page, once on each
//! side, and to take it back. Here a page costs more to make than what fits on it costs to copy, so
//! that with its writing a new segment can take longer than a socket. The same tax is on large
//! clones: an allocator gives very large blocks back to the system and gets new pages for the next
//! ones, as the times of the largest clones show, but keeps smaller ones.
//!
//! ## In production
//!
//! Keep segments, as a ring or a pool, and write into them in place; a copy into one doubles its
//! time. Then somebody must say whose turn it is. In one process the compiler does: while a clone of
//! the `Arc` lives, `Arc::get_mut` gives the producer nothing. Between processes nobody knows, and a
//! producer that writes too early changes what the consumer is reading, in silence: the race of
//! zero-copy. Here ownership goes with a message: the producer owns the segment until it *rings* (a
//! few bytes through a pipe), the consumer until it *answers*, and both carry a number, so that an
//! answer to an earlier ring, or a payload left over from it, is seen. A system that needs several
//! payloads under way needs as many segments, not a shorter wait.
//!
//! Who cleans up? A named segment outlives its processes: kill both, and it stays until the machine
//! restarts. A `memfd`, or a file that was unlinked as soon as it was open, goes with the last
//! process that has it. A test kills either side with SIGKILL and looks: `tests/copy_tax.rs`.
//!
//! Where latency is all there is, use a socket and think of something else. Elsewhere think first
//! of not handing over: send the path of a file, or move the work to the data.
//!
//! ## Check yourself
//!
//! - Suppose one pass runs at 10 GB/s. How long must 1 GB in kept shared memory take?
//! - Suppose a pipe that held 64 KB is made to hold 1 MB. What happens to the time of 64 KB, and to
//!   that of 10 MB?
//! - Suppose both sides of a socket are busy all the time for 10 ms, and each copy runs at 8 GB/s.
//!   How many bytes go through at most? What if both sides share one processor?
//! - Suppose a colleague's consumer "reads" 10 MB in 5 µs. What does it do?

use anyhow::Context;
use lab_kit::prelude::*;

use child::{Answer, Consumer, Spent, Then};
use segment::{Home, Segment};
use ways::Setting;

mod calibrate;
mod child;
mod findings;
mod gauges;
pub mod payload;
mod plan;
mod premise;
mod room;
mod rounds;
mod segment;
mod ways;

pub use plan::{DataCopyTax, Params};

// wrong: A segment for each payload
impl HandOver for Fresh {
    fn place(&mut self) -> Result<&mut [u8]> {
        self.segment = None;
        let segment = Segment::create(&self.home, self.bytes)?;
        Ok(self.segment.insert(segment))
    }

    fn hand_over(&mut self, seq: u64) -> Result<Answer> {
        let segment = self.segment.as_ref().context("nothing was written")?;
        self.consumer.hand_over_segment(seq, segment, Then::LetsGo)
    }

    fn spent(&mut self) -> Result<(Spent, Spent)> {
        self.consumer.spent()
    }
}

// right: A segment that is kept
// so: Neither copies a byte. The first makes the system find, clear and map every page anew, on
//     both sides, each time.
impl HandOver for Kept {
    fn place(&mut self) -> Result<&mut [u8]> {
        Ok(&mut self.segment)
    }

    fn hand_over(&mut self, seq: u64) -> Result<Answer> {
        self.consumer.hand_over_segment(seq, &self.segment, Then::Keeps)
    }

    fn spent(&mut self) -> Result<(Spent, Spent)> {
        self.consumer.spent()
    }
}

/// A way to hand payloads to a consumer, one at a time.
trait HandOver {
    /// Where the producer writes the next payload. It owns these bytes until it hands them over.
    fn place(&mut self) -> Result<&mut [u8]>;

    /// Hands over what is there. Returns when the consumer has read all of it and let go of it.
    fn hand_over(&mut self, seq: u64) -> Result<Answer>;

    /// What producer and consumer have spent so far.
    fn spent(&mut self) -> Result<(Spent, Spent)>;
}

/// A segment for each payload: no copy, but the system has to find, clear and map every page, on
/// both sides, each time, and to take it back.
struct Fresh {
    consumer: Consumer,
    home: Home,
    bytes: usize,
    segment: Option<Segment>,
}

impl Fresh {
    fn open(on: &Setting, bytes: usize) -> Result<Fresh> {
        Ok(Fresh { consumer: on.consumer()?, home: on.home.clone(), bytes, segment: None })
    }
}

/// To another process: both have the same pages. Only a ring goes through a pipe, and its answer,
/// which gives the pages back.
struct Kept {
    consumer: Consumer,
    segment: Segment,
}

impl Kept {
    fn open(on: &Setting, bytes: usize) -> Result<Kept> {
        let segment = Segment::create(&on.home, bytes)?;
        let consumer = on.consumer()?;
        Ok(Kept { consumer, segment })
    }
}
