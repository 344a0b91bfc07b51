//! Programs of others, run within bounds of time, output, memory and processes.
//!
//! A child has a group of processes of its own, and everything it has started ends with it: by itself, because it
//! was told to, or because it went beyond its [`Bounds`]. Threads of this module watch it, so it may be waited for
//! in any runtime or in none. Its standard input is held open until then: a program that watches it ends when this
//! process goes, however that happens. On Unix one that does not is killed then.

use std::{
    fmt,
    io::{self, Read},
    process::{ChildStdin, Command, ExitStatus, Stdio},
    sync::{
        Arc, Condvar, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use tokio::sync::{oneshot, watch};

use crate::stop::Stop;

mod group;

pub(crate) use group::kill_all;
use group::{Group, Guard};

/// What a child may take before it is ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bounds {
    /// From its start to its end.
    pub time: Duration,
    /// Bytes that it may write to standard output, and as many to standard error.
    pub output: usize,
    /// Bytes of memory that all its processes may hold together. Not watched on Windows.
    pub memory: u64,
    /// Processes that it may have at the same time, itself included. Not watched on Windows.
    pub processes: usize,
}

impl Bounds {
    /// So much time, 16 MB of output, 2 GB of memory and 256 processes.
    pub const fn of(time: Duration) -> Bounds {
        Bounds { time, output: 16_000_000, memory: 2_000_000_000, processes: 256 }
    }
}

/// How much of the end of standard error is kept, in bytes.
const LAST_WORDS: usize = 2000;

/// How long a child that is to end may take for it before it is killed.
const GRACE: Duration = Duration::from_millis(300);

/// How long a killed one is waited for. What the system does not let go within it is left to the system.
const LONGEST_DEATH: Duration = Duration::from_secs(5);

/// How often memory is looked at, and the wish to stop.
const TICK: Duration = Duration::from_millis(50);

/// How often an end is looked for once it is near.
const SHORT_TICK: Duration = Duration::from_millis(2);

/// A stream that a child writes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stream {
    /// Standard output.
    Out,
    /// Standard error.
    Err,
}

impl fmt::Display for Stream {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.write_str(match self {
            Stream::Out => "standard output",
            Stream::Err => "standard error",
        })
    }
}

/// What ended a child.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum How {
    /// It ended by itself.
    Exited(ExitStatus),
    /// It took too long.
    Late,
    /// It wrote too much there.
    Flooded(Stream),
    /// It held too many bytes of memory: so many.
    Hoarded(u64),
    /// It had too many processes: so many.
    Crowded(usize),
    /// Whoever started it wished so.
    Stopped,
    /// The system does not tell.
    Lost(String),
}

/// A child that has ended, with what it said.
#[derive(Clone, Debug)]
pub struct Ended {
    /// What ended it.
    pub how: How,
    /// What it wrote to standard output, up to its bound. Bytes that are no text are replaced.
    pub out: String,
    /// The end of what it wrote to standard error, at most some 2000 bytes.
    pub last_words: String,
    bounds: Bounds,
}

impl Ended {
    /// True when it ended by itself and says that all is well.
    pub fn is_well(&self) -> bool {
        matches!(self.how, How::Exited(status) if status.success())
    }

    /// True when whoever started it wished that it ends.
    pub fn is_stopped(&self) -> bool {
        self.how == How::Stopped
    }

    /// What became of it, as the rest of a sentence that begins with its name, with its last words:
    /// "did not end within 5 s; it wrote:\n…".
    pub fn why(&self) -> String {
        let Bounds { time, output, memory, processes } = self.bounds;
        let what = match &self.how {
            How::Exited(status) if status.success() => "ended".into(),
            How::Exited(status) => format!("failed ({status})"),
            How::Late => format!("did not end within {} s", time.as_secs_f64()),
            How::Flooded(stream) => {
                format!("wrote more than {} to {stream} and was ended", bytes(output as u64))
            }
            How::Hoarded(held) => format!(
                "held {} of memory, more than {}, and was ended",
                bytes(*held),
                bytes(memory)
            ),
            How::Crowded(n) => {
                format!("had {n} processes, more than {processes}, and was ended")
            }
            How::Stopped => "was stopped".into(),
            How::Lost(why) => format!("was lost: {why}"),
        };
        format!("{what}{}", self.said())
    }

    /// Its last words as the end of a sentence; nothing when it had none.
    pub fn said(&self) -> String {
        let words = self.last_words.trim();
        if words.is_empty() { String::new() } else { format!("; it wrote:\n{words}") }
    }
}

fn bytes(n: u64) -> String {
    match n {
        0..1_000_000 => format!("{n} bytes"),
        1_000_000..1_000_000_000 => format!("{} MB", n / 1_000_000),
        _ => format!("{:.1} GB", n as f64 / 1e9),
    }
}

/// A child that may still run. Dropped, it is killed with all that it has started.
#[derive(Debug)]
pub struct Child {
    shared: Arc<Shared>,
    ended: oneshot::Receiver<Ended>,
    /// Counts up with all that is heard.
    news: watch::Receiver<u64>,
}

#[derive(Debug)]
struct Shared {
    heard: Mutex<Heard>,
    /// Something happened to one of its streams, or it is to be ended.
    changed: Condvar,
    input: Mutex<Option<ChildStdin>>,
    dropped: AtomicBool,
    news: watch::Sender<u64>,
}

/// What was heard of a child.
#[derive(Debug, Default)]
struct Heard {
    out: Vec<u8>,
    err: Vec<u8>,
    /// Bytes of standard error, those included that are not kept.
    of_err: usize,
    flooded: Option<Stream>,
    closed: [bool; 2],
}

impl Shared {
    fn heard(&self) -> MutexGuard<'_, Heard> {
        self.heard.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn close_input(&self) {
        self.input.lock().unwrap_or_else(PoisonError::into_inner).take();
    }

    /// Says that something happened.
    fn tell(&self) {
        self.changed.notify_all();
        self.news.send_modify(|n| *n += 1);
    }

    /// Reads a stream to its end or to its bound.
    fn read(&self, stream: Stream, mut from: impl Read, most: usize) {
        let mut part = vec![0; 1 << 16];
        loop {
            let n = match from.read(&mut part) {
                Err(why) if why.kind() == io::ErrorKind::Interrupted => continue,
                Ok(0) | Err(_) => break,
                Ok(n) => n,
            };
            let mut heard = self.heard();
            let room = heard.take(stream, &part[..n], most);
            drop(heard);
            self.tell();
            if !room {
                break;
            }
        }
        self.heard().closed[stream as usize] = true;
        self.tell();
    }
}

impl Heard {
    /// Keeps what has come; false when that was too much.
    fn take(&mut self, stream: Stream, part: &[u8], most: usize) -> bool {
        let total = match stream {
            Stream::Out => {
                let room = most.saturating_sub(self.out.len());
                self.out.extend_from_slice(&part[..part.len().min(room)]);
                if part.len() > room { most + 1 } else { self.out.len() }
            }
            Stream::Err => {
                self.of_err += part.len();
                self.err.extend_from_slice(part);
                // Not at each part: moving what is kept costs.
                if self.err.len() > 64 * LAST_WORDS {
                    self.err.drain(..self.err.len() - LAST_WORDS);
                }
                self.of_err
            }
        };
        if total > most {
            self.flooded.get_or_insert(stream);
        }
        total <= most
    }

    fn last_words(&self) -> String {
        let err = self.err.trim_ascii_end();
        let from = err.len().saturating_sub(LAST_WORDS);
        let cut = from > 0 || self.of_err > self.err.len();
        let words = String::from_utf8_lossy(&err[from..]);
        if cut { format!("…{words}") } else { words.into_owned() }
    }
}

impl Child {
    /// Starts a program in a group of processes of its own and watches it until it ends. Its three standard
    /// streams are pipes, whatever the command says. A wish to stop ends it.
    ///
    /// # Errors
    /// When the program or a thread that watches it cannot be started.
    pub fn spawn(mut command: Command, bounds: Bounds, stop: &Stop) -> io::Result<Child> {
        let mark = group::set_apart(&mut command);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let guard = Guard::new();
        let mut process = command.spawn()?;
        let group = Group::of(process.id(), mark, guard);
        let started = Instant::now();
        let (out, err) = (process.stdout.take(), process.stderr.take());
        let (news, heard_of) = watch::channel(0);
        let shared = Arc::new(Shared {
            heard: Mutex::default(),
            changed: Condvar::new(),
            input: Mutex::new(process.stdin.take()),
            dropped: AtomicBool::new(false),
            news,
        });
        let (tell, ended) = oneshot::channel();
        // From here on whoever holds it ends it.
        let watcher = Watcher {
            process,
            group,
            bounds,
            started,
            shared: shared.clone(),
            stop: stop.clone(),
            gone: false,
        };
        let named = |name: &str| thread::Builder::new().name(name.into());
        if let Some(out) = out {
            let shared = shared.clone();
            named("child-out").spawn(move || shared.read(Stream::Out, out, bounds.output))?;
        }
        if let Some(err) = err {
            let shared = shared.clone();
            named("child-err").spawn(move || shared.read(Stream::Err, err, bounds.output))?;
        }
        named("child").spawn(move || {
            // Nobody may wait for it any more.
            let _ = tell.send(watcher.watch());
        })?;
        Ok(Child { shared, ended, news: heard_of })
    }

    /// Its standard input, to write to; it is closed when what is returned is dropped. `None` when it was taken
    /// or closed before.
    pub fn take_input(&mut self) -> Option<ChildStdin> {
        self.shared.input.lock().unwrap_or_else(PoisonError::into_inner).take()
    }

    /// Ends its standard input, at which programs that wait for it end by themselves.
    pub fn close_input(&self) {
        self.shared.close_input();
    }

    /// The first line that it writes to standard output, as soon as it has come. `None` when its output ended
    /// without one, or none came within `limit`. It stays in [`Ended::out`].
    pub async fn first_line(&mut self, limit: Duration) -> Option<String> {
        let line = |heard: &Heard| {
            let end = heard.out.iter().position(|byte| *byte == b'\n')?;
            Some(String::from_utf8_lossy(&heard.out[..end]).trim_end().to_string())
        };
        let coming = async {
            loop {
                self.news.borrow_and_update();
                {
                    let heard = self.shared.heard();
                    if let Some(line) = line(&heard) {
                        return Some(line);
                    }
                    if heard.closed[Stream::Out as usize] {
                        return None;
                    }
                }
                self.news.changed().await.ok()?;
            }
        };
        tokio::time::timeout(limit, coming).await.ok().flatten()
    }

    /// Waits until it has ended, and everything that it has started with it.
    pub async fn ended(mut self) -> Ended {
        let ended = (&mut self.ended).await;
        ended.unwrap_or_else(|_| self.unwatched())
    }

    /// The same, with the calling thread held up until then.
    pub fn wait(mut self) -> Ended {
        loop {
            match self.ended.try_recv() {
                Ok(ended) => return ended,
                Err(oneshot::error::TryRecvError::Closed) => return self.unwatched(),
                Err(oneshot::error::TryRecvError::Empty) => {
                    let heard = self.shared.heard();
                    // Its watcher may have told between the two: then one tick is lost.
                    let waited = self.shared.changed.wait_timeout(heard, SHORT_TICK);
                    drop(waited.unwrap_or_else(PoisonError::into_inner));
                }
            }
        }
    }

    fn unwatched(&self) -> Ended {
        let heard = self.shared.heard();
        Ended {
            how: How::Lost("the thread that watched it has ended".into()),
            out: String::from_utf8_lossy(&heard.out).into_owned(),
            last_words: heard.last_words(),
            bounds: Bounds::of(Duration::ZERO),
        }
    }
}

impl Drop for Child {
    fn drop(&mut self) {
        self.shared.dropped.store(true, Ordering::Relaxed);
        self.shared.changed.notify_all();
    }
}

/// Who watches a child, in a thread of its own. Dropped, the child has ended.
struct Watcher {
    process: std::process::Child,
    group: Group,
    bounds: Bounds,
    started: Instant,
    shared: Arc<Shared>,
    stop: Stop,
    /// Its process has ended and was waited for.
    gone: bool,
}

impl Watcher {
    fn watch(mut self) -> Ended {
        let how = self.until_the_end();
        self.end(matches!(how, How::Late | How::Stopped));
        // Nobody is left to write; a stream that is held open all the same is not waited for.
        let by = Instant::now() + GRACE;
        let mut heard = self.shared.heard();
        while heard.closed != [true; 2] && Instant::now() < by {
            let waited = self.shared.changed.wait_timeout(heard, SHORT_TICK);
            heard = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
        // What was written last may have been too much.
        let how = match (how, heard.flooded) {
            (How::Exited(_), Some(stream)) => How::Flooded(stream),
            (how, _) => how,
        };
        Ended {
            how,
            out: String::from_utf8_lossy(&heard.out).into_owned(),
            last_words: heard.last_words(),
            bounds: self.bounds,
        }
    }

    /// Watches until it has ended, or is to be ended.
    fn until_the_end(&mut self) -> How {
        let mut look = Instant::now() + TICK;
        loop {
            match self.process.try_wait() {
                Ok(Some(status)) => {
                    self.gone = true;
                    return How::Exited(status);
                }
                Ok(None) => {}
                Err(why) => return How::Lost(why.to_string()),
            }
            if self.shared.dropped.load(Ordering::Relaxed) || self.stop.is_set() {
                return How::Stopped;
            }
            let heard = self.shared.heard();
            if let Some(stream) = heard.flooded {
                return How::Flooded(stream);
            }
            let left = self.bounds.time.saturating_sub(self.started.elapsed());
            if left.is_zero() {
                return How::Late;
            }
            // Streams are closed just before the end.
            let tick = if heard.closed == [true; 2] { SHORT_TICK } else { TICK };
            let waited = self.shared.changed.wait_timeout(heard, tick.min(left));
            drop(waited.unwrap_or_else(PoisonError::into_inner));
            if Instant::now() >= look {
                look = Instant::now() + TICK;
                if let Some(how) = self.beyond() {
                    return how;
                }
            }
        }
    }

    fn beyond(&mut self) -> Option<How> {
        let held = self.group.look(self.bounds.processes);
        if held.processes > self.bounds.processes {
            return Some(How::Crowded(held.processes));
        }
        (held.memory > self.bounds.memory).then_some(How::Hoarded(held.memory))
    }

    /// Ends it with all that it has started: gently first, when there is time for it.
    fn end(&mut self, gently: bool) {
        self.shared.close_input();
        if !self.gone && gently {
            self.group.terminate();
            self.wait(GRACE);
        }
        // A group keeps its number for as long as one of its processes lives; only where none does could another
        // group have it, and numbers come round seldom.
        self.group.kill();
        if !self.gone {
            let _ = self.process.kill();
            self.wait(LONGEST_DEATH);
        }
        self.group.sweep();
    }

    fn wait(&mut self, limit: Duration) {
        let by = Instant::now() + limit;
        while !self.gone && Instant::now() < by {
            match self.process.try_wait() {
                Ok(None) => thread::sleep(SHORT_TICK),
                Ok(Some(_)) | Err(_) => self.gone = true,
            }
        }
    }
}

impl Drop for Watcher {
    fn drop(&mut self) {
        // Only when no thread could be had for it.
        if !self.gone {
            self.end(false);
        }
    }
}

#[cfg(all(test, unix))]
mod tests;
