//! The other process: the lab's program started again, as a consumer.
//!
//! The producer sends a [`Ring`] for each payload. Over a stream the payload follows it; with shared
//! memory it only says where the payload lies. The consumer reads all of it, lets go of it, and
//! sends an [`Answer`]. Nothing else is ever under way, so each side knows who owns the bytes.
//!
//! The consumer's end of the connection is closed by the system when the producer ends, however that
//! happens: the consumer then reads the end of its input, and ends too.

use std::{
    fs::File,
    io::{self, IoSlice, Read, Write},
    net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail};
use lab_kit::{cli, gauge::Gauge, lab::Lab as _, os};

use super::{
    DataCopyTax, gauges, payload,
    segment::{Segment, View},
};

/// How the two processes are connected.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Wire {
    /// A pipe there and a pipe back.
    Pipe,
    /// A Unix domain socket.
    Unix,
    /// TCP over loopback.
    Tcp,
}

/// Both ends of a connection.
pub type Ends = (Box<dyn Write + Send>, Box<dyn Read + Send>);

impl Wire {
    /// Its name, for gauges and for the consumer.
    fn name(self) -> &'static str {
        match self {
            Wire::Pipe => "pipe",
            Wire::Unix => "unix",
            Wire::Tcp => "tcp",
        }
    }

    /// The gauge of the time that the system takes to copy bytes in.
    pub fn there(self) -> Gauge {
        gauges::THERE_S.of(self.name())
    }

    /// The gauge of the time that it takes to copy them out.
    pub fn back(self) -> Gauge {
        gauges::BACK_S.of(self.name())
    }

    /// Both ends, in this process; `None` where the system has no such connection.
    ///
    /// # Errors
    /// When the system gives none.
    pub fn both_ends(self) -> Result<Option<Ends>> {
        Ok(match self {
            Wire::Pipe => {
                let (from, to) = io::pipe()?;
                Some((Box::new(to), Box::new(from)))
            }
            #[cfg(unix)]
            Wire::Unix => {
                let (to, from) = std::os::unix::net::UnixStream::pair()?;
                Some((Box::new(to), Box::new(from)))
            }
            #[cfg(not(unix))]
            Wire::Unix => None,
            Wire::Tcp => {
                let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
                let to = TcpStream::connect(listener.local_addr()?)?;
                to.set_nodelay(true)?;
                let (from, _) = listener.accept()?;
                Some((Box::new(to), Box::new(from)))
            }
        })
    }
}

/// How long a consumer may take to start.
const PATIENCE: Duration = Duration::from_secs(10);

/// What the producer sends.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Ring {
    /// Number of the hand-over; 0 asks what the consumer has spent so far.
    pub seq: u64,
    /// Bytes of the payload.
    pub bytes: u64,
    /// The segment it lies in; 0 when it follows.
    pub segment: u64,
    /// 1 when the same segment will be used again.
    pub keep: u64,
}

/// What the consumer does with a segment that it has read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Then {
    /// It keeps it mapped: the next payload lies there again.
    Keeps,
    /// It gives it back.
    LetsGo,
}

/// What the consumer sends back when it has let go of the payload.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Answer {
    /// Number of the hand-over.
    pub seq: u64,
    /// Checksum of what was there.
    pub sum: u64,
    /// How long reading all of it took, in nanoseconds.
    pub read_ns: u64,
}

/// What a consumer has spent since it started, or for a stretch: the difference of two.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Spent {
    /// Processor time in nanoseconds.
    pub cpu_ns: u64,
    /// Page faults.
    pub page_faults: u64,
    /// Bytes that the system copied to it.
    pub copied: u64,
    /// Calls of read.
    pub calls: u64,
}

const WORDS: usize = 4;
/// Bytes of a ring and of an answer.
pub const FRAME: usize = 8 * WORDS;

fn frame(words: [u64; WORDS]) -> [u8; FRAME] {
    let mut frame = [0; FRAME];
    for (place, word) in frame.as_chunks_mut::<8>().0.iter_mut().zip(words) {
        *place = word.to_le_bytes();
    }
    frame
}

fn words(frame: &[u8]) -> [u64; WORDS] {
    let (words, _) = frame.as_chunks::<8>();
    std::array::from_fn(|i| u64::from_le_bytes(words[i]))
}

impl Ring {
    fn frame(self) -> [u8; FRAME] {
        frame([self.seq, self.bytes, self.segment, self.keep])
    }

    fn of(bytes: &[u8]) -> Ring {
        let [seq, bytes, segment, keep] = words(bytes);
        Ring { seq, bytes, segment, keep }
    }
}

impl Answer {
    /// Reads a payload and says what was there.
    pub fn to(seq: u64, payload: &[u8]) -> Answer {
        let start = Instant::now();
        let sum = payload::checksum(payload);
        Answer { seq, sum, read_ns: start.elapsed().as_nanos() as u64 }
    }
}

impl Spent {
    /// What this process has spent; nothing where the system does not tell.
    pub fn here() -> Spent {
        let used = os::usage().unwrap_or_default();
        Spent {
            cpu_ns: (used.cpu_s * 1e9) as u64,
            page_faults: used.page_faults,
            ..Spent::default()
        }
    }

    /// What was spent since an earlier moment.
    pub fn since(self, earlier: Spent) -> Spent {
        Spent {
            cpu_ns: self.cpu_ns.saturating_sub(earlier.cpu_ns),
            page_faults: self.page_faults.saturating_sub(earlier.page_faults),
            copied: self.copied.saturating_sub(earlier.copied),
            calls: self.calls.saturating_sub(earlier.calls),
        }
    }
}

/// Counts the calls and the bytes that go through: each was copied by the system, once.
struct Counted<T> {
    inner: T,
    bytes: u64,
    calls: u64,
}

impl<T> Counted<T> {
    fn new(inner: T) -> Counted<T> {
        Counted { inner, bytes: 0, calls: 0 }
    }

    fn count(&mut self, done: io::Result<usize>) -> io::Result<usize> {
        self.calls += 1;
        self.bytes += *done.as_ref().unwrap_or(&0) as u64;
        done
    }
}

impl<T: Read> Read for Counted<T> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let done = self.inner.read(buffer);
        self.count(done)
    }
}

impl<T: Write> Write for Counted<T> {
    fn write(&mut self, buffer: &[u8]) -> io::Result<usize> {
        let done = self.inner.write(buffer);
        self.count(done)
    }

    fn write_vectored(&mut self, buffers: &[IoSlice<'_>]) -> io::Result<usize> {
        let done = self.inner.write_vectored(buffers);
        self.count(done)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.inner.flush()
    }
}

/// A consumer in a process of its own, seen from the producer. It ends when this is dropped.
pub struct Consumer {
    child: Child,
    to: Counted<Box<dyn Write>>,
    from: Box<dyn Read>,
    /// Rings sent, and those among them that only asked what was spent.
    rings: u64,
    asked: u64,
}

impl Consumer {
    /// Starts one on a processor. `base` is where it finds segments, if it will need any.
    ///
    /// # Errors
    /// When the program cannot be started again, or has no such connection.
    pub fn start(wire: Wire, seat: Option<usize>, base: Option<&Path>) -> Result<Consumer> {
        Consumer::start_with(wire, None, seat, base)
    }

    /// Starts one at a pipe that holds so many bytes.
    ///
    /// # Errors
    /// When the system has no such pipe.
    pub fn at_wide_pipe(holds: usize, seat: Option<usize>) -> Result<Consumer> {
        Consumer::start_with(Wire::Pipe, Some(holds), seat, None)
    }

    fn start_with(
        wire: Wire,
        holds: Option<usize>,
        seat: Option<usize>,
        base: Option<&Path>,
    ) -> Result<Consumer> {
        let mut command = cli::again(&DataCopyTax::CARD)?;
        command.args(["--consume", wire.name()]);
        if let Some(seat) = seat {
            command.arg("--seat").arg(seat.to_string());
        }
        if let Some(base) = base {
            command.arg("--segments-in").arg(base);
        }
        // Ctrl-C is for the producer, which ends its consumer in good order.
        #[cfg(unix)]
        std::os::unix::process::CommandExt::process_group(&mut command, 0);
        match wire {
            Wire::Pipe => {
                command.stdin(Stdio::piped()).stdout(Stdio::piped());
                let mut child = start(&mut command)?;
                let (to, from) = (child.stdin.take(), child.stdout.take());
                let (to, from) = to.zip(from).context("a pipe was asked for")?;
                if let Some(holds) = holds {
                    let wide = widen(&to, holds);
                    wide.inspect_err(|_| end(&mut child))?;
                }
                Ok(Consumer::new(child, to, from))
            }
            Wire::Unix => unix(command),
            Wire::Tcp => {
                let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
                command.arg("--connect").arg(listener.local_addr()?.to_string());
                command.stdin(Stdio::null()).stdout(Stdio::null());
                let mut child = start(&mut command)?;
                let stream = accepted(&listener, &mut child);
                let stream = stream.inspect_err(|_| end(&mut child))?;
                Ok(Consumer::new(child, stream.try_clone()?, stream))
            }
        }
    }

    fn new(child: Child, to: impl Write + 'static, from: impl Read + 'static) -> Consumer {
        Consumer { child, to: Counted::new(Box::new(to)), from: Box::new(from), rings: 0, asked: 0 }
    }

    /// Hands over and waits for the answer: `payload` follows the ring, and is empty when it lies in
    /// a segment.
    ///
    /// # Errors
    /// When the consumer is no longer there.
    pub fn hand_over(&mut self, ring: Ring, payload: &[u8]) -> Result<Answer> {
        let [seq, sum, read_ns, _] = self.exchange(ring, payload)?;
        Ok(Answer { seq, sum, read_ns })
    }

    /// Hands over what lies in a segment, and waits for the answer, which gives it back.
    ///
    /// # Errors
    /// When the consumer is no longer there.
    pub fn hand_over_segment(&mut self, seq: u64, segment: &Segment, then: Then) -> Result<Answer> {
        let ring = Ring {
            seq,
            bytes: segment.len() as u64,
            segment: segment.name(),
            keep: u64::from(then == Then::Keeps),
        };
        let answer = self.hand_over(ring, &[])?;
        segment.opened();
        Ok(answer)
    }

    /// What both sides have spent so far: with bytes of payloads only, and without the calls of this
    /// question.
    ///
    /// # Errors
    /// When the consumer is no longer there.
    pub fn spent(&mut self) -> Result<(Spent, Spent)> {
        self.asked += 1;
        let [cpu_ns, page_faults, copied, calls] = self.exchange(Ring::default(), &[])?;
        let frames = self.rings * FRAME as u64;
        let there = Spent {
            cpu_ns,
            page_faults,
            copied: copied.saturating_sub(frames),
            calls: calls.saturating_sub(self.asked),
        };
        let here = Spent {
            copied: self.to.bytes.saturating_sub(frames),
            calls: self.to.calls.saturating_sub(self.asked),
            ..Spent::here()
        };
        Ok((here, there))
    }

    fn exchange(&mut self, ring: Ring, payload: &[u8]) -> Result<[u64; WORDS]> {
        self.rings += 1;
        let exchanged = self.send(ring, payload).and_then(|()| {
            let mut answer = [0; FRAME];
            self.from.read_exact(&mut answer)?;
            Ok(words(&answer))
        });
        exchanged.with_context(|| match self.child.try_wait() {
            Ok(Some(status)) => format!("the consumer's process ended with {status}"),
            _ => "the consumer's process does not answer".into(),
        })
    }

    /// The ring and the beginning of what follows go in one call: a small payload wakes the consumer
    /// once.
    fn send(&mut self, ring: Ring, payload: &[u8]) -> io::Result<()> {
        let frame = ring.frame();
        let both = [IoSlice::new(&frame), IoSlice::new(payload)];
        let gone = self.to.write_vectored(&both)?;
        if gone < FRAME {
            self.to.write_all(&frame[gone..])?;
        }
        self.to.write_all(&payload[gone.saturating_sub(FRAME)..])
    }
}

impl Drop for Consumer {
    fn drop(&mut self) {
        end(&mut self.child);
    }
}

/// SIGKILL: what it holds is the system's to clean up, and the lab shows that it does.
fn end(child: &mut Child) {
    let _ = child.kill();
    let _ = child.wait();
}

fn start(command: &mut Command) -> Result<Child> {
    let started = command.spawn();
    started.context("cannot start this program again as the consumer")
}

#[cfg(unix)]
fn unix(mut command: Command) -> Result<Consumer> {
    use std::os::{fd::OwnedFd, unix::net::UnixStream};

    let (here, there) = UnixStream::pair().context("cannot make a pair of sockets")?;
    // The child's standard input and output are the two directions of its end.
    command.stdin(OwnedFd::from(there.try_clone()?));
    command.stdout(OwnedFd::from(there));
    let child = start(&mut command)?;
    // The command still holds the child's end, which would keep it open.
    drop(command);
    Ok(Consumer::new(child, here.try_clone()?, here))
}

#[cfg(not(unix))]
fn unix(_command: Command) -> Result<Consumer> {
    bail!("the standard library has no Unix sockets on this system")
}

/// Makes a pipe hold so many bytes.
#[cfg(target_os = "linux")]
fn widen(pipe: &impl std::os::fd::AsFd, bytes: usize) -> Result<()> {
    use nix::fcntl::{FcntlArg, fcntl};

    let size = i32::try_from(bytes)?;
    fcntl(pipe, FcntlArg::F_SETPIPE_SZ(size)).with_context(|| {
        format!("the system allows no pipe of {bytes} bytes: a smaller --pipe (see /proc/sys/fs/pipe-max-size), or --ways without wide")
    })?;
    Ok(())
}

#[cfg(not(target_os = "linux"))]
fn widen<T>(_pipe: &T, _bytes: usize) -> Result<()> {
    bail!("the size of a pipe is fixed on this system")
}

/// The connection of a child that has just been started.
fn accepted(listener: &TcpListener, child: &mut Child) -> Result<TcpStream> {
    listener.set_nonblocking(true)?;
    let start = Instant::now();
    loop {
        match listener.accept() {
            Ok((stream, _)) => {
                stream.set_nonblocking(false)?;
                stream.set_nodelay(true)?;
                return Ok(stream);
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            Err(error) => return Err(error.into()),
        }
        if let Some(status) = child.try_wait()? {
            bail!("the consumer's process ended with {status} before it connected");
        }
        if start.elapsed() > PATIENCE {
            bail!("the consumer's process has not connected after {PATIENCE:?}");
        }
        std::thread::sleep(Duration::from_micros(500));
    }
}

/// What the child process does: it consumes until its producer is gone.
///
/// # Errors
/// When it cannot open what it is told to.
pub fn consume(wire: Wire, connect: Option<SocketAddr>, segments: Option<PathBuf>) -> Result<()> {
    let segments = segments.unwrap_or_default();
    let (from, to): (Box<dyn Read>, Box<dyn Write>) = match wire {
        Wire::Pipe | Wire::Unix => {
            let (from, to) = standard()?;
            (Box::new(from), Box::new(to))
        }
        Wire::Tcp => {
            let address = connect.context("--consume tcp goes with --connect")?;
            let stream = TcpStream::connect(address)?;
            stream.set_nodelay(true)?;
            (Box::new(stream.try_clone()?), Box::new(stream))
        }
    };
    match serve(Counted::new(from), to, &segments) {
        // The producer has gone, perhaps in the middle of a payload.
        Err(error) if error.downcast_ref::<io::Error>().is_some_and(gone) => Ok(()),
        done => done,
    }
}

fn gone(error: &io::Error) -> bool {
    use io::ErrorKind::{BrokenPipe, ConnectionAborted, ConnectionReset, UnexpectedEof};
    [BrokenPipe, ConnectionReset, ConnectionAborted, UnexpectedEof].contains(&error.kind())
}

/// Standard input and output without the library's buffers, which would be a copy of their own.
#[cfg(unix)]
fn standard() -> io::Result<(File, File)> {
    use std::os::fd::AsFd;

    let from = io::stdin().as_fd().try_clone_to_owned()?;
    let to = io::stdout().as_fd().try_clone_to_owned()?;
    Ok((from.into(), to.into()))
}

#[cfg(windows)]
fn standard() -> io::Result<(File, File)> {
    use std::os::windows::io::AsHandle;

    let from = io::stdin().as_handle().try_clone_to_owned()?;
    let to = io::stdout().as_handle().try_clone_to_owned()?;
    Ok((from.into(), to.into()))
}

fn serve(mut from: Counted<Box<dyn Read>>, mut to: Box<dyn Write>, base: &Path) -> Result<()> {
    // Room for a ring and a payload. It is kept: only the first payload of a size finds new pages.
    let mut buffer = vec![0; 1 << 16];
    let mut kept: Option<(u64, View)> = None;
    loop {
        let mut have = 0;
        // A small payload is there with its ring, after one call.
        while have < FRAME {
            match from.read(&mut buffer[have..])? {
                0 if have == 0 => return Ok(()),
                0 => return Err(io::Error::from(io::ErrorKind::UnexpectedEof).into()),
                more => have += more,
            }
        }
        let ring = Ring::of(&buffer);
        let bytes = usize::try_from(ring.bytes)?;
        let answer = if ring.seq == 0 {
            let Spent { cpu_ns, page_faults, .. } = Spent::here();
            frame([cpu_ns, page_faults, from.bytes, from.calls])
        } else {
            let answer = if ring.segment == 0 {
                let end = FRAME + bytes;
                if buffer.len() < end {
                    buffer.resize(end, 0);
                }
                from.read_exact(&mut buffer[have.min(end)..end])?;
                Answer::to(ring.seq, &buffer[FRAME..end])
            } else {
                let view = match kept.take() {
                    Some((name, view)) if name == ring.segment => view,
                    _ => View::open(base, ring.segment, bytes)?,
                };
                let answer = Answer::to(ring.seq, &view);
                if ring.keep == 1 {
                    kept = Some((ring.segment, view));
                }
                answer
            };
            frame([answer.seq, answer.sum, answer.read_ns, 0])
        };
        to.write_all(&answer)?;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_read_back() {
        let ring = Ring { seq: 1, bytes: 1 << 40, segment: 7, keep: 1 };
        assert_eq!(Ring::of(&ring.frame()), ring);
    }

    #[test]
    fn what_goes_through_is_counted() {
        let mut there = Counted::new(Vec::new());
        there.write_all(&[1; 10]).unwrap();
        there.write_all(&[2; 5]).unwrap();
        assert_eq!((there.bytes, there.calls), (15, 2));
        let mut back = Counted::new(&there.inner[..]);
        back.read_exact(&mut [0; 12]).unwrap();
        assert_eq!((back.bytes, back.calls), (12, 1));
    }

    #[test]
    fn a_consumer_answers_and_ends_with_its_input() {
        let mut sent = Vec::new();
        let mut body = vec![0; 1000];
        let mut sums = Vec::new();
        for seq in 1..=3 {
            sums.push(payload::fill(&mut body, seq));
            let ring = Ring { seq, bytes: 1000, ..Ring::default() };
            sent.extend(ring.frame());
            sent.extend(&body);
        }
        // One ring at a time, as the producer sends them.
        struct Slowly(io::Cursor<Vec<u8>>);
        impl Read for Slowly {
            fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
                let message = FRAME + 1000;
                let left = message - self.0.position() as usize % message;
                let most = buffer.len().min(left).min(700);
                self.0.read(&mut buffer[..most])
            }
        }
        let answers = std::sync::Arc::new(std::sync::Mutex::new(Vec::new()));
        struct Shared(std::sync::Arc<std::sync::Mutex<Vec<u8>>>);
        impl Write for Shared {
            fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
                self.0.lock().unwrap().write(bytes)
            }
            fn flush(&mut self) -> io::Result<()> {
                Ok(())
            }
        }
        let from: Box<dyn Read> = Box::new(Slowly(io::Cursor::new(sent)));
        let to = Box::new(Shared(answers.clone()));
        serve(Counted::new(from), to, Path::new("")).unwrap();
        let answers = answers.lock().unwrap();
        let got: Vec<u64> = answers.chunks(FRAME).map(|f| words(f)[1]).collect();
        assert_eq!(got, sums);
    }
}
