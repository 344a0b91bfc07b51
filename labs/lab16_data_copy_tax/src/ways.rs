//! All ways to hand over beside those with a segment of their own, and where the experiment takes place.

use std::sync::Arc;

use anyhow::anyhow;
use clap::ValueEnum;
use lab_kit::{
    prelude::*,
    seats::{seats, sit},
};

use super::{
    Fresh, HandOver, Kept, Params,
    child::{Answer, Consumer, Ring, Spent, Wire},
    room::Room,
    rounds::repeat,
    segment::Home,
};

/// A way to hand over.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Way {
    /// To a thread: a clone
    Clone,
    /// To a thread: one more reference to the same bytes
    Arc,
    /// To a process: through a pipe
    Pipe,
    /// To a process: through a pipe that holds more (Linux)
    Wide,
    /// To a process: through a Unix socket
    Unix,
    /// To a process: through TCP on loopback
    Tcp,
    /// To a process: in shared memory, where it was written, in the same segment every time
    Kept,
    /// To a process: in shared memory, copied into the same segment every time
    Copied,
    /// To a process: in shared memory, where it was written, in a new segment every time
    Fresh,
}

impl Way {
    /// All of them.
    pub const ALL: [Way; 9] = [
        Way::Clone,
        Way::Arc,
        Way::Pipe,
        Way::Wide,
        Way::Unix,
        Way::Tcp,
        Way::Kept,
        Way::Copied,
        Way::Fresh,
    ];

    /// Its name in the record.
    pub(super) fn series(self) -> &'static str {
        match self {
            Way::Clone => "clone",
            Way::Arc => "arc",
            Way::Pipe => "pipe",
            Way::Wide => "wide",
            Way::Unix => "unix",
            Way::Tcp => "tcp",
            Way::Kept => "kept",
            Way::Copied => "copied",
            Way::Fresh => "fresh",
        }
    }

    /// The name of its hand-overs of next to nothing.
    pub(super) fn empty(self) -> String {
        format!("{}/empty", self.series())
    }
}

/// Where the experiment takes place.
pub(super) struct Setting {
    /// Where segments are kept.
    pub(super) home: Home,
    /// Where the two sides run.
    pub(super) seats: Seats,
}

impl Setting {
    /// A consumer of its own process that finds this one's segments.
    pub(super) fn consumer(&self) -> Result<Consumer> {
        Consumer::start(Wire::Pipe, self.seats.consumer, Some(&self.home.base()))
    }
}

/// The processors of the two sides; `None` where each may be anywhere.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Seats {
    pub(super) producer: Option<usize>,
    pub(super) consumer: Option<usize>,
}

impl Seats {
    pub(super) fn two() -> Seats {
        match seats().as_slice() {
            [producer, consumer, ..] => {
                Seats { producer: Some(*producer), consumer: Some(*consumer) }
            }
            _ => Seats::default(),
        }
    }
}

/// A trial of a way to hand over so many bytes.
pub(super) fn hand_over(
    r: &Recorder,
    p: &Params,
    on: &Setting,
    way: Way,
    bytes: usize,
) -> Result<()> {
    let _seated = sit(on.seats.producer);
    let seat = on.seats.consumer;
    let stream = |wire| Streamed::open(wire, seat, bytes);
    match way {
        Way::Clone => repeat(r, p, Cloned(Room::open(vec![0; bytes], seat)?)),
        Way::Arc => repeat(r, p, Lent(Room::open(Arc::from(vec![0; bytes]), seat)?)),
        Way::Pipe => repeat(r, p, stream(Wire::Pipe)?),
        Way::Wide => repeat(r, p, Streamed::wide(p.pipe, seat, bytes)?),
        Way::Unix => repeat(r, p, stream(Wire::Unix)?),
        Way::Tcp => repeat(r, p, stream(Wire::Tcp)?),
        Way::Kept => repeat(r, p, Kept::open(on, bytes)?),
        Way::Copied => repeat(r, p, Copied(Kept::open(on, bytes)?, vec![0; bytes])),
        Way::Fresh => repeat(r, p, Fresh::open(on, bytes)?),
    }
}

/// Inside one process: a clone for the consumer, which drops it.
struct Cloned(Room<Vec<u8>>);

impl HandOver for Cloned {
    fn place(&mut self) -> Result<&mut [u8]> {
        Ok(&mut self.0.own)
    }

    fn hand_over(&mut self, seq: u64) -> Result<Answer> {
        let payload = self.0.own.clone();
        self.0.send(seq, payload)
    }

    fn spent(&mut self) -> Result<(Spent, Spent)> {
        Ok((Spent::here(), Spent::default()))
    }
}

/// Inside one process: the consumer gets a reference. The producer may write again when that is
/// gone, and `get_mut` makes sure of it.
struct Lent(Room<Arc<[u8]>>);

impl HandOver for Lent {
    fn place(&mut self) -> Result<&mut [u8]> {
        Arc::get_mut(&mut self.0.own).ok_or_else(|| anyhow!("the consumer still reads"))
    }

    fn hand_over(&mut self, seq: u64) -> Result<Answer> {
        let payload = Arc::clone(&self.0.own);
        self.0.send(seq, payload)
    }

    fn spent(&mut self) -> Result<(Spent, Spent)> {
        Ok((Spent::here(), Spent::default()))
    }
}

/// To another process: the system copies the payload into buffers of its own, and from them to the
/// consumer's.
struct Streamed {
    consumer: Consumer,
    own: Vec<u8>,
}

impl Streamed {
    fn open(wire: Wire, seat: Option<usize>, bytes: usize) -> Result<Streamed> {
        let (consumer, own) = (Consumer::start(wire, seat, None)?, vec![0; bytes]);
        Ok(Streamed { consumer, own })
    }

    fn wide(pipe: Size, seat: Option<usize>, bytes: usize) -> Result<Streamed> {
        let (consumer, own) = (Consumer::at_wide_pipe(pipe.b(), seat)?, vec![0; bytes]);
        Ok(Streamed { consumer, own })
    }
}

impl HandOver for Streamed {
    fn place(&mut self) -> Result<&mut [u8]> {
        Ok(&mut self.own)
    }

    fn hand_over(&mut self, seq: u64) -> Result<Answer> {
        let bytes = self.own.len() as u64;
        let ring = Ring { seq, bytes, ..Ring::default() };
        self.consumer.hand_over(ring, &self.own)
    }

    fn spent(&mut self) -> Result<(Spent, Spent)> {
        self.consumer.spent()
    }
}

/// The same for a producer whose payload is somewhere else: one copy, its own.
struct Copied(Kept, Vec<u8>);

impl HandOver for Copied {
    fn place(&mut self) -> Result<&mut [u8]> {
        Ok(&mut self.1)
    }

    fn hand_over(&mut self, seq: u64) -> Result<Answer> {
        self.0.segment.copy_from_slice(&self.1);
        self.0.hand_over(seq)
    }

    fn spent(&mut self) -> Result<(Spent, Spent)> {
        self.0.spent()
    }
}
