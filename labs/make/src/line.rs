//! Running a program of an exercise, from outside.
//!
//! What the program says over its connection was said by the harness; what it prints is for the reader only. It runs
//! in a group of its own and is ended, whatever it does, when its time is over.

use std::{
    collections::HashMap,
    io::{BufRead, BufReader, ErrorKind, Read, Write},
    net::{TcpListener, TcpStream},
    path::Path,
    process::{Child, Command, ExitStatus, Stdio},
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, Result};

/// Most bytes of what is printed that are kept.
const PRINTED: u64 = 16 << 10;
/// Most bytes that the program may say to its judge.
const SAID: u64 = 16 << 20;
/// A program that does not connect by then has not started.
const START: Duration = Duration::from_secs(10);
/// How often a condition to stop is looked at.
const LOOK: Duration = Duration::from_millis(1);

/// One run to be made.
#[derive(Default)]
pub struct Run<'a> {
    given: Vec<(String, String)>,
    jobs: Vec<Timed>,
    limit: Option<Duration>,
    stop: Option<Box<dyn FnMut() -> bool + 'a>>,
}

/// Something to be done, and when it is handed over.
#[derive(Clone, Debug)]
struct Timed {
    at: Duration,
    id: u64,
    text: String,
}

/// What the program said in return.
#[derive(Clone, Debug)]
pub struct Reply {
    /// The number of the job or result.
    pub id: u64,
    /// What was said.
    pub text: String,
    /// When, since the program was told to go.
    pub at: Duration,
}

/// Something that happened in the program.
#[derive(Clone, Debug)]
pub struct Moment {
    /// How often the event loop had had nothing to do. Between two such moments everything is done at once, however
    /// slow the machine is.
    pub idle: u64,
    /// A job `begins` and `ends`, a path is one that the code `asks` for and is `answered`, `digests` ends with
    /// `digested`.
    pub what: String,
    /// The number of the job, the path, or seed and rounds.
    pub of: String,
}

/// How a run ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum End {
    /// The harness said that everything was done.
    Finished,
    /// The program ended before.
    Early(Option<ExitStatus>),
    /// Its time was over.
    TooLong(Duration),
    /// The judge ended it.
    Stopped,
}

/// What was seen of one run.
#[derive(Clone, Debug)]
pub struct Seen {
    /// What was replied, in order.
    pub replies: Vec<Reply>,
    /// When each job was handed over.
    pub sent: HashMap<u64, Duration>,
    /// How far the judge was behind its own times then, at most.
    pub behind: Duration,
    /// What the kit saw the code do: `digest handler`.
    pub did: Vec<String>,
    /// During how many digests on other threads the event loop stood still. A short digest may be over before the
    /// loop is idle: compare with the number of all.
    pub held: usize,
    /// What happened, in order.
    pub moments: Vec<Moment>,
    /// What each thread did in the order that broke something.
    pub events: Vec<(usize, String)>,
    /// That order.
    pub schedule: Option<Vec<usize>>,
    /// `held all 12`, `broken all 12 why`: of the orders.
    pub orders: Option<String>,
    /// Whether the program was closed off.
    pub sealed: bool,
    /// How it ended.
    pub end: End,
    /// What it printed.
    pub printed: String,
    /// From go to the end.
    pub wall: Duration,
}

impl Seen {
    /// The reply to a job.
    #[must_use]
    pub fn reply(&self, id: u64) -> Option<&Reply> {
        self.replies.iter().find(|reply| reply.id == id)
    }

    /// From a job's handing over to its reply.
    #[must_use]
    pub fn took(&self, id: u64) -> Option<Duration> {
        Some(self.reply(id)?.at.saturating_sub(*self.sent.get(&id)?))
    }

    /// What happened between moments at which the event loop had nothing to do. Whatever could be done had been done
    /// at the end of each part.
    pub fn between_rests(&self) -> impl Iterator<Item = &[Moment]> {
        self.moments.chunk_by(|a, b| a.idle == b.idle)
    }

    /// Each time that the event loop had nothing to do: how many requests for paths with this beginning had been begun,
    /// and how many of them were over.
    pub fn asked(&self, prefix: &str) -> impl Iterator<Item = (usize, usize)> {
        let count = move |part: &[Moment], what| {
            part.iter().filter(|m| m.what == what && m.of.starts_with(prefix)).count()
        };
        self.between_rests().scan((0, 0), move |(asked, over), part| {
            *asked += count(part, "asks");
            *over += count(part, "answered");
            Some((*asked, *over))
        })
    }

    /// What happened from a job's beginning to its end; nothing unless it ended.
    #[must_use]
    pub fn during(&self, id: u64) -> &[Moment] {
        let id = id.to_string();
        let at = |what| self.moments.iter().position(|m| m.what == what && m.of == id);
        match (at("begins"), at("ends")) {
            (Some(begins), Some(ends)) => &self.moments[begins..=ends],
            _ => &[],
        }
    }
}

impl<'a> Run<'a> {
    /// Nothing given yet.
    #[must_use]
    pub fn new() -> Run<'a> {
        Run::default()
    }

    /// Gives a value, for `Line::given`.
    #[must_use]
    pub fn give(mut self, key: &str, value: impl ToString) -> Run<'a> {
        self.given.push((key.to_owned(), value.to_string()));
        self
    }

    /// Gives values, for `Line::list`.
    #[must_use]
    pub fn list(self, key: &str, values: &[impl ToString]) -> Run<'a> {
        let values: Vec<String> = values.iter().map(ToString::to_string).collect();
        self.give(key, values.join(","))
    }

    /// Gives the service to be asked.
    #[must_use]
    pub fn service(self, upstream: &mock_server::Upstream) -> Run<'a> {
        let url = upstream.url();
        self.give("service", url)
    }

    /// Hands a job over at this time after the start.
    #[must_use]
    pub fn job(mut self, at: Duration, id: u64, text: impl ToString) -> Run<'a> {
        self.jobs.push(Timed { at, id, text: text.to_string() });
        self
    }

    /// The longest it may take: 10 s unless said otherwise.
    #[must_use]
    pub fn at_most(mut self, limit: Duration) -> Run<'a> {
        self.limit = Some(limit);
        self
    }

    /// Ends the program, as a crash would, as soon as this is true.
    #[must_use]
    pub fn stop_when(mut self, stop: impl FnMut() -> bool + 'a) -> Run<'a> {
        self.stop = Some(Box::new(stop));
        self
    }

    /// Runs a program.
    ///
    /// # Errors
    /// When it cannot be started.
    pub fn of(self, program: &Path) -> Result<Seen> {
        let limit = self.limit.unwrap_or(Duration::from_secs(10));
        let listener = TcpListener::bind("127.0.0.1:0").context("no port for the judge")?;
        let mut process = Process::start(program, &listener)?;
        let Some(mut stream) = process.connected(&listener)? else {
            let status = process.end();
            return Ok(unconnected(End::Early(status), process.printed()));
        };
        drop(listener);
        stream.set_nodelay(true)?;
        // A program that does not read must not stop the judge.
        stream.set_write_timeout(Some(Duration::from_secs(1)))?;
        let heard = Arc::<Heard>::default();
        let ear = {
            let (from, heard) = (stream.try_clone()?, Arc::clone(&heard));
            thread::spawn(move || heard.listen(from))
        };
        let mut text = String::new();
        for (key, value) in &self.given {
            text.push_str(&format!("{key} {}\n", one_line(value)));
        }
        text.push_str("go\n");
        // What fails here ends early, and is told so below.
        let _ = stream.write_all(text.as_bytes());
        let began = heard.start();
        let (sent, behind, end) = self.watch(&mut stream, &heard, began, limit);
        let wall = began.elapsed();
        let status = process.end();
        drop(stream);
        let _ = ear.join();
        let end = match end {
            End::Early(_) => End::Early(status),
            other => other,
        };
        let said = std::mem::take(&mut heard.lock().said);
        Ok(Seen { sent, behind, wall, end, printed: process.printed(), ..digested(said) })
    }

    fn watch(
        mut self,
        stream: &mut TcpStream,
        heard: &Heard,
        began: Instant,
        limit: Duration,
    ) -> (HashMap<u64, Duration>, Duration, End) {
        self.jobs.sort_by_key(|job| job.at);
        let mut jobs = self.jobs.into_iter().peekable();
        let (mut sent, mut behind) = (HashMap::new(), Duration::ZERO);
        let mut open = true;
        let mut stop = self.stop;
        loop {
            while let Some(job) = jobs.next_if(|job| began.elapsed() >= job.at) {
                let now = began.elapsed();
                behind = behind.max(now.saturating_sub(job.at));
                sent.insert(job.id, now);
                let line = format!("job {} {}\n", job.id, one_line(&job.text));
                let _ = stream.write_all(line.as_bytes());
            }
            if jobs.peek().is_none() && std::mem::take(&mut open) {
                let _ = stream.write_all(b"bye\n");
            }
            if stop.as_mut().is_some_and(|stop| stop()) {
                return (sent, behind, End::Stopped);
            }
            let now = began.elapsed();
            if now >= limit {
                return (sent, behind, End::TooLong(limit));
            }
            let until = jobs.peek().map_or(limit, |job| job.at.min(limit));
            let wait = until.saturating_sub(now);
            let wait = if stop.is_some() { wait.min(LOOK) } else { wait };
            match heard.wait(wait) {
                Some(true) => return (sent, behind, End::Finished),
                Some(false) => return (sent, behind, End::Early(None)),
                None => {}
            }
        }
    }
}

/// A run whose program never connected.
fn unconnected(end: End, printed: String) -> Seen {
    Seen { end, printed, ..digested(Vec::new()) }
}

/// Sorts what was said.
fn digested(said: Vec<(Duration, String)>) -> Seen {
    let mut seen = Seen {
        replies: Vec::new(),
        sent: HashMap::new(),
        behind: Duration::ZERO,
        did: Vec::new(),
        held: 0,
        moments: Vec::new(),
        events: Vec::new(),
        schedule: None,
        orders: None,
        sealed: false,
        end: End::Stopped,
        printed: String::new(),
        wall: Duration::ZERO,
    };
    for (at, line) in said {
        let (what, rest) = line.split_once(' ').unwrap_or((&line, ""));
        match what {
            "reply" => {
                let (id, text) = rest.split_once(' ').unwrap_or((rest, ""));
                if let Ok(id) = id.parse() {
                    seen.replies.push(Reply { id, text: plain(text), at });
                }
            }
            "held" => seen.held += 1,
            "at" => {
                let mut parts = rest.splitn(3, ' ');
                if let (Some(Ok(idle)), Some(what), Some(of)) =
                    (parts.next().map(str::parse), parts.next(), parts.next())
                {
                    seen.moments.push(Moment { idle, what: what.to_owned(), of: plain(of) });
                }
            }
            "did" => seen.did.push(rest.to_owned()),
            "event" => {
                if let Some((thread, text)) = rest.split_once(' ') {
                    seen.events.push((thread.parse().unwrap_or(0), text.to_owned()));
                }
            }
            "schedule" => seen.schedule = rest.split(',').map(|s| s.parse().ok()).collect(),
            "orders" => seen.orders = Some(rest.to_owned()),
            "sealed" => seen.sealed = true,
            _ => {}
        }
    }
    seen
}

/// What the program has said so far.
#[derive(Default)]
struct Heard {
    state: Mutex<State>,
    news: Condvar,
}

#[derive(Default)]
struct State {
    began: Option<Instant>,
    said: Vec<(Duration, String)>,
    finished: bool,
    closed: bool,
}

impl Heard {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn start(&self) -> Instant {
        *self.lock().began.insert(Instant::now())
    }

    fn listen(&self, from: TcpStream) {
        let mut from = BufReader::new(from.take(SAID));
        let mut line = Vec::new();
        while let Ok(1..) = from.read_until(b'\n', &mut line) {
            let text = String::from_utf8_lossy(&line).trim_end_matches('\n').to_owned();
            line.clear();
            let mut state = self.lock();
            let at = state.began.map_or(Duration::ZERO, |began| began.elapsed());
            state.finished |= text == "end";
            let finished = state.finished;
            state.said.push((at, text));
            drop(state);
            if finished {
                break;
            }
        }
        self.lock().closed = true;
        self.news.notify_all();
    }

    /// Waits so long at most: whether the program has finished, or has gone without.
    fn wait(&self, most: Duration) -> Option<bool> {
        let state = self.lock();
        let waiting = |state: &mut State| !state.closed;
        let waited = self.news.wait_timeout_while(state, most, waiting);
        let (state, _) = waited.unwrap_or_else(PoisonError::into_inner);
        state.closed.then_some(state.finished)
    }
}

/// A program under way; it ends with this value.
struct Process {
    child: Child,
    printed: Vec<thread::JoinHandle<String>>,
}

impl Process {
    fn start(program: &Path, listener: &TcpListener) -> Result<Process> {
        let mut command = Command::new(program);
        command
            .arg(listener.local_addr()?.to_string())
            // What is in the environment is nobody's business. Windows needs this one to open a socket.
            .env_clear()
            .envs(std::env::var_os("SystemRoot").map(|root| ("SystemRoot", root)))
            // Held open as long as the judge lives: the program ends with it.
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        let mut child =
            command.spawn().with_context(|| format!("{} cannot be started", program.display()))?;
        let printed = [
            child.stdout.take().map(|out| thread::spawn(move || kept(out))),
            child.stderr.take().map(|out| thread::spawn(move || kept(out))),
        ];
        Ok(Process { child, printed: printed.into_iter().flatten().collect() })
    }

    /// The first connection, which the harness makes before anything else; none when the program ends first.
    fn connected(&mut self, listener: &TcpListener) -> Result<Option<TcpStream>> {
        listener.set_nonblocking(true)?;
        let until = Instant::now() + START;
        loop {
            match listener.accept() {
                Ok((stream, _)) => {
                    stream.set_nonblocking(false)?;
                    return Ok(Some(stream));
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => {}
                Err(error) => return Err(error).context("the judge cannot listen"),
            }
            if self.child.try_wait()?.is_some() || Instant::now() >= until {
                return Ok(None);
            }
            thread::sleep(LOOK);
        }
    }

    fn end(&mut self) -> Option<ExitStatus> {
        // Who has ended by itself has told why; the connection closes a moment before.
        for _ in 0..20 {
            if let Ok(Some(status)) = self.child.try_wait() {
                return Some(status);
            }
            thread::sleep(LOOK);
        }
        let _ = self.child.kill();
        self.child.wait().ok();
        None
    }

    fn printed(&mut self) -> String {
        let parts = self.printed.drain(..).map(|part| part.join().unwrap_or_default());
        parts.collect()
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Reads to the end and keeps the beginning: a program that prints without end must not wait for a reader.
fn kept(mut from: impl Read) -> String {
    let mut bytes = Vec::new();
    let _ = (&mut from).take(PRINTED).read_to_end(&mut bytes);
    let _ = std::io::copy(&mut from, &mut std::io::sink());
    String::from_utf8_lossy(&bytes).into_owned()
}

fn one_line(text: &str) -> String {
    text.replace('\\', "\\\\").replace('\n', "\\n").replace('\r', "\\r")
}

fn plain(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut chars = text.chars();
    while let Some(c) = chars.next() {
        match (c, if c == '\\' { chars.next() } else { None }) {
            ('\\', Some('n')) => out.push('\n'),
            ('\\', Some('r')) => out.push('\r'),
            ('\\', Some(other)) => out.push(other),
            ('\\', None) => {}
            _ => out.push(c),
        }
    }
    out
}
