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

use std::{net::SocketAddr, path::PathBuf, sync::Arc};

use anyhow::{anyhow, bail, ensure};
use clap::ValueEnum;
use lab_kit::{limits, prelude::*};

use calibrate::Effort;
use child::{Answer, Consumer, Ring, Spent, Wire};
use room::Room;
use rounds::repeat;
use segment::{Home, Segment};

use lab_kit::seats::{seats, sit};

mod calibrate;
mod child;
mod findings;
pub mod payload;
mod premise;
mod room;
mod rounds;
mod segment;

/// The constants of the experiment.
#[derive(Args, Debug, Serialize, Deserialize)]
pub struct Params {
    /// Sizes of the payload, with commas
    #[arg(long, value_delimiter = ',', value_parser = size, default_value = "1KB,16KB,64KB,256KB,1MB,2MB,4MB,10MB,64MB")]
    pub sizes: Vec<Size>,
    /// The size that the bars and the headline are about [default: the size nearest to 10MB]
    #[arg(long, value_parser = size)]
    #[serde(default)]
    pub show: Option<Size>,
    /// Ways to hand it over, with commas
    #[arg(long, value_delimiter = ',', value_enum, default_values_t = Way::ALL)]
    pub ways: Vec<Way>,
    /// How long to hand over, for each size and way
    #[arg(long, default_value = "8ms")]
    pub window: Time,
    /// Hand-overs for each size and way, however long they take
    #[arg(long, default_value_t = 2, value_parser = few)]
    pub least: usize,
    /// Bytes that the wide pipe holds
    #[arg(long, default_value = "1MB", value_parser = size)]
    pub pipe: Size,
    /// Keep shared segments in files of this folder [default: in memory where the system can]
    #[arg(long, value_name = "DIR")]
    #[serde(default)]
    pub folder: Option<PathBuf>,
    /// Let the system choose the processors, which may be one for both sides
    #[arg(long)]
    #[serde(default)]
    pub unseated: bool,
    /// Do no experiment: consume what another process sends this way
    #[arg(long, value_enum, hide = true)]
    #[serde(skip)]
    pub consume: Option<Wire>,
    /// With --consume tcp: where the producer listens
    #[arg(long, hide = true)]
    #[serde(skip)]
    pub connect: Option<SocketAddr>,
    /// With --consume: on which processor
    #[arg(long, hide = true)]
    #[serde(skip)]
    pub seat: Option<usize>,
    /// With --consume: where the producer's segments are
    #[arg(long, hide = true)]
    #[serde(skip)]
    pub segments_in: Option<PathBuf>,
}

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
    fn series(self) -> &'static str {
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
    fn empty(self) -> String {
        format!("{}/empty", self.series())
    }
}

/// Largest payload.
const LARGEST: u64 = 1 << 30;
/// Payloads that are in memory at the same time, at most: the producer's, a segment or a clone, the
/// consumer's, and one on the way.
const AT_A_TIME: u64 = 4;

/// From here on a payload takes long to hand over.
const LONG: usize = 16 << 20;

fn size(text: &str) -> Result<Size, String> {
    let size: Size = text.parse()?;
    if size.b() as u64 > LARGEST {
        return Err("expected a size up to 1GB".into());
    }
    Ok(size)
}

fn few(text: &str) -> Result<usize, String> {
    whole(text, 1..=10_000)
}

impl Params {
    /// The sizes, ascending.
    fn sizes(&self) -> Vec<Size> {
        let mut all = self.sizes.clone();
        all.extend(self.show);
        all.sort();
        all.dedup();
        all
    }

    /// The size of the bars.
    fn show(&self) -> Size {
        let far = |s: &Size| (s.f().ln() - (10.0 * 1024.0 * 1024.0_f64).ln()).abs();
        let nearest = self
            .sizes()
            .into_iter()
            .min_by(|a, b| far(a).total_cmp(&far(b)));
        self.show.or(nearest).unwrap_or(Size::bytes(1))
    }

    /// The largest take long, and most of the laws stand on the other sizes as well.
    fn once(&self, way: Way, size: Size) -> bool {
        size.b() > LONG && ![Way::Kept, Way::Pipe].contains(&way)
    }

    /// Seconds of a trial of one way, its buffers included. A payload that is larger than the caches takes so
    /// many nanoseconds a byte, from its first to the answer.
    fn hand_over_s(&self, way: Way, bytes: f64) -> f64 {
        let ns = match way {
            Way::Arc | Way::Kept => 0.4,
            Way::Copied => 0.6,
            Way::Clone | Way::Unix | Way::Tcp => 1.5,
            Way::Wide => 2.0,
            Way::Pipe | Way::Fresh => 3.0,
        };
        let one = 1e-9 * ns * bytes + 5e-5;
        let window = (self.window.s() + one).max(self.least as f64 * one);
        window + one + 1e-9 * bytes + 0.01
    }

    /// Seconds of a trial of the passes that theory is fed with.
    fn machine_s(&self, bytes: f64) -> f64 {
        let passes = 4 * (self.effort().least + 1) + 2 * self.effort().least.min(5) + 12;
        4.0 * self.effort().window.as_secs_f64() + 0.015 + passes as f64 * bytes / 1e9
    }

    /// There are four times as many passes as ways.
    fn effort(&self) -> Effort {
        Effort {
            window: self.window.duration().min(Duration::from_millis(200)) / 4,
            least: self.least.min(10),
        }
    }
}

/// lab16.
pub struct DataCopyTax;

impl Lab for DataCopyTax {
    type Params = Params;

    const TAKES_TARGET: bool = false;

    const CARD: Card = Card {
        number: 16,
        name: "data_copy_tax",
        title: "The tax on copies",
        question: "What does it cost to hand megabytes to another process?",
        predict: &[
            Question {
                key: "pipe",
                ask: "Take the payload nearest to 10 MB, unless another was asked for. It is written, then goes through a pipe to another process, which reads all of it. How long from the last byte written until it has answered?",
                unit: "ms",
                hint: "0.1 to 100",
            },
            Question {
                key: "kept",
                ask: "The same payload lies in shared memory that both have open: how long?",
                unit: "ms",
                hint: "0.001 to 100",
            },
            Question {
                key: "fresh",
                ask: "A new shared segment for each such payload: how many times as long as in the same one, writing included?",
                unit: "times",
                hint: "1 to 50",
            },
        ],
        next: &[
            (
                "cargo run --release --bin lab16 -- --ways kept,fresh,pipe --sizes 4KB,32KB,256KB,2MB,16MB,128MB",
                "where a new segment each time is still better than a pipe, and where it is worse",
            ),
            (
                "cargo run --release --bin lab16 -- --folder /dev/shm",
                "shared memory with a folder round it: the pages are reserved first, so a new segment costs another pass",
            ),
            (
                "cargo run --release --bin lab16 -- --ways arc,kept --sizes 1B,1KB,1MB,64MB",
                "one process or two: the border costs two wake-ups, and nothing a byte",
            ),
            (
                "cargo run --release --bin lab16 -- --unseated",
                "the system chooses the processors: times vary with whether both sides share one",
            ),
        ],
        sources: lab_kit::sources!["lib.rs"],
        answers: include_str!("../answers.md"),
        sizes: Sizes {
            smoke: &["--sizes", "1KB,64KB,1MB", "--window", "1ms", "--least", "2"],
            full: &[
                "--window",
                "40ms",
                "--least",
                "5",
                "--sizes",
                "1KB,4KB,16KB,64KB,256KB,1MB,2MB,4MB,10MB,16MB,64MB",
            ],
            trials: (1, 6),
        },
    };

    fn needs(p: &Params, extent: &Extent) -> Needs {
        let repeats = repeats(extent.scale, extent.trials) as f64;
        let sizes = p.sizes();
        let (fit, _) = that_fit(&sizes);
        // Where none fits, there is no room for the smallest.
        let fit = if fit.is_empty() {
            &sizes[..1]
        } else {
            &fit[..]
        };
        let each = |s: Size| {
            let often = |way: Way| if p.once(way, s) { 1.0 } else { repeats };
            let ways = p.ways.iter();
            let ways = ways.map(|way| often(*way) * p.hand_over_s(*way, s.f()));
            ways.sum::<f64>() + repeats * p.machine_s(s.f())
        };
        let empty = p.ways.len() as f64 * repeats * p.hand_over_s(Way::Arc, 1.0);
        let largest = fit.last().map_or(0.0, |s| s.f());
        Needs {
            seconds: extent.times() * (fit.iter().map(|s| each(*s)).sum::<f64>() + empty),
            memory: largest * AT_A_TIME as f64,
            less: "fewer or smaller --sizes, fewer --ways, a shorter --window, or a smaller --least",
            ..Needs::default()
        }
    }

    fn instead(p: &Params) -> Option<Result<()>> {
        let wire = p.consume?;
        let _seated = sit(p.seat);
        Some(child::consume(wire, p.connect, p.segments_in.clone()))
    }

    fn measure(p: &Params, session: &mut Session) -> Result<()> {
        let setting = &Setting {
            home: Home::new(p.folder.as_deref()),
            seats: if p.unseated {
                Seats::default()
            } else {
                Seats::two()
            },
        };
        let sizes = sizes_that_fit(p, session)?;
        let mut ways = p.ways.clone();
        if cfg!(not(unix)) && ways.contains(&Way::Unix) {
            session.note("no Unix socket: the standard library has none on this system");
            ways.retain(|way| *way != Way::Unix);
        }
        if cfg!(not(target_os = "linux")) && ways.contains(&Way::Wide) {
            session.note("no wide pipe: the size of a pipe is fixed on this system");
            ways.retain(|way| *way != Way::Wide);
        }
        let effort = p.effort();
        let repeats = repeats(session.scale, session.trials);
        let mut plan = session.plan();
        for size in sizes {
            let machine = move |r: &Recorder| calibrate::passes(r, setting, size.b(), effort);
            (0..repeats).for_each(|_| plan.point("machine", size.f(), machine));
            for way in ways.clone() {
                for _ in 0..if p.once(way, size) { 1 } else { repeats } {
                    plan.point(way.series(), size.f(), move |r| {
                        hand_over(r, p, setting, way, size.b())
                    });
                }
            }
        }
        // What a hand-over costs before the first byte.
        for way in ways {
            for _ in 0..repeats {
                plan.point(&way.empty(), 1.0, move |r| hand_over(r, p, setting, way, 1));
            }
        }
        plan.run()
    }

    fn ready(p: &Params) -> Result<(), String> {
        match p.folder.as_deref().filter(|folder| !folder.is_dir()) {
            Some(folder) => Err(format!(
                "--folder {}: expected a folder that exists, for shared segments",
                folder.display()
            )),
            None => Ok(()),
        }
    }

    fn premise(p: &Params, at: &Condition, trial: &Trial) -> Result<(), String> {
        premise::premise(p, at, trial)
    }

    fn explain(p: &Params, summary: &Summary) -> Findings {
        findings::explain(p, summary)
    }
}

/// How often each condition is measured in a trial.
fn repeats(scale: Scale, trials: usize) -> usize {
    match scale {
        Scale::Smoke => 1,
        _ => 3_usize.div_ceil(trials),
    }
}

/// The sizes that fit into the memory there is, and the others.
fn that_fit(sizes: &[Size]) -> (Vec<Size>, Vec<Size>) {
    let room = limits::for_memory().map_or(u64::MAX, |limit| limit.left);
    let fits = |size: &Size| (size.b() as u64).saturating_mul(AT_A_TIME) <= room;
    sizes.iter().copied().partition(fits)
}

/// The sizes that fit; the others are left out, with a note.
fn sizes_that_fit(p: &Params, session: &mut Session) -> Result<Vec<Size>> {
    let (fit, too_large) = that_fit(&p.sizes());
    if let Some(first) = too_large.first() {
        let why = limits::for_memory().map_or_else(String::new, |limit| limit.what);
        let why = format!(
            "{AT_A_TIME} payloads are in memory at a time, so payloads of {first} and more do not fit ({why})"
        );
        ensure!(!fit.is_empty(), "{why}: smaller --sizes");
        session.note(format!("{why} and were left out"));
    }
    Ok(fit)
}

/// Where the experiment takes place.
struct Setting {
    /// Where segments are kept.
    home: Home,
    /// Where the two sides run.
    seats: Seats,
}

/// The processors of the two sides; `None` where each may be anywhere.
#[derive(Clone, Copy, Debug, Default)]
struct Seats {
    producer: Option<usize>,
    consumer: Option<usize>,
}

impl Seats {
    fn two() -> Seats {
        match seats().as_slice() {
            [producer, consumer, ..] => Seats {
                producer: Some(*producer),
                consumer: Some(*consumer),
            },
            _ => Seats::default(),
        }
    }
}

fn hand_over(r: &Recorder, p: &Params, on: &Setting, way: Way, bytes: usize) -> Result<()> {
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

/// A way to hand payloads to a consumer, one at a time.
trait HandOver {
    /// Where the producer writes the next payload. It owns these bytes until it hands them over.
    fn place(&mut self) -> Result<&mut [u8]>;

    /// Hands over what is there. Returns when the consumer has read all of it and let go of it.
    fn hand_over(&mut self, seq: u64) -> Result<Answer>;

    /// What producer and consumer have spent so far.
    fn spent(&mut self) -> Result<(Spent, Spent)>;
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
        let ring = Ring {
            seq,
            bytes,
            ..Ring::default()
        };
        self.consumer.hand_over(ring, &self.own)
    }

    fn spent(&mut self) -> Result<(Spent, Spent)> {
        self.consumer.spent()
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
        let consumer = Consumer::start(Wire::Pipe, on.seats.consumer, Some(&on.home.base()))?;
        Ok(Kept { consumer, segment })
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
        let ring = Ring {
            seq,
            bytes: self.segment.len() as u64,
            segment: self.segment.name(),
            keep: 1,
        };
        let answer = self.consumer.hand_over(ring, &[])?;
        self.segment.opened();
        Ok(answer)
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
        Ok(Fresh {
            consumer: Consumer::start(Wire::Pipe, on.seats.consumer, Some(&on.home.base()))?,
            home: on.home.clone(),
            bytes,
            segment: None,
        })
    }
}

// wrong: A segment for each payload
impl HandOver for Fresh {
    fn place(&mut self) -> Result<&mut [u8]> {
        self.segment = None;
        let segment = Segment::create(&self.home, self.bytes)?;
        Ok(self.segment.insert(segment))
    }

    fn hand_over(&mut self, seq: u64) -> Result<Answer> {
        let Some(segment) = &self.segment else {
            bail!("nothing was written");
        };
        let ring = Ring {
            seq,
            bytes: self.bytes as u64,
            segment: segment.name(),
            keep: 0,
        };
        let answer = self.consumer.hand_over(ring, &[])?;
        segment.opened();
        Ok(answer)
    }

    fn spent(&mut self) -> Result<(Spent, Spent)> {
        self.consumer.spent()
    }
}
