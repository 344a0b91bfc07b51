//! How an exercise's `main.rs` talks to its judge.
//!
//! The judge starts the program with an address. The program connects, reads what is given, closes itself off and
//! only then runs the code of the exercise. What it says over that connection is all that the judge believes of it,
//! and the connection is out of that code's reach. What the code prints is shown, and counts for nothing.

use std::{
    cell::Cell,
    collections::HashMap,
    fmt::Display,
    future::Future,
    io::{BufRead, BufReader, Read, Write},
    net::TcpStream,
    rc::Rc,
    str::FromStr,
    sync::{
        Arc, Mutex, OnceLock, PoisonError,
        atomic::{AtomicBool, AtomicU64, Ordering::SeqCst},
    },
    thread,
    time::Duration,
};

use tokio::{sync::mpsc, task::JoinSet};

use crate::{Service, seal};

/// The end of the connection that is written to.
static JUDGE: OnceLock<Mutex<TcpStream>> = OnceLock::new();

/// How often the event loop had nothing to do, and whether it has nothing to do now.
static IDLE: (AtomicU64, AtomicBool) = (AtomicU64::new(0), AtomicBool::new(false));

thread_local! {
    static IS_LOOP: Cell<bool> = const { Cell::new(false) };
    /// What is done when this thread gets at what is behind a lock of `sync`.
    static REACHED: Cell<Option<Box<dyn FnMut()>>> = const { Cell::new(None) };
}

/// How often, at a millisecond each, it is looked whether a thread has ended. Looks and not time: a machine that
/// stands still does not look.
const LOOKS: u32 = 1000;

tokio::task_local! {
    static JOB: u64;
}

/// What the judge gave, and where results go.
#[derive(Debug)]
pub struct Line {
    given: HashMap<String, String>,
    from: BufReader<TcpStream>,
}

/// Something to be done.
#[derive(Clone, Debug)]
pub struct Job {
    /// Its number.
    pub id: u64,
    /// What it is about.
    pub text: String,
}

/// What the kit saw the code do.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Did {
    Digest,
    Fragile { seed: u64, rounds: u64 },
}

/// Connects to the judge, closes the process off, and returns what was given. Works once.
///
/// # Panics
/// A second time. Without a judge it ends the process with a hint.
#[must_use]
pub fn open() -> Line {
    let Some(address) = std::env::args().nth(1) else {
        eprintln!("An exercise is run by its judge: labs make check");
        std::process::exit(2);
    };
    end_with_the_judge();
    let stream = TcpStream::connect(address).expect("the judge can be reached");
    stream.set_nodelay(true).expect("a socket takes options");
    let own = stream.try_clone().expect("a socket can be shared");
    assert!(JUDGE.set(Mutex::new(own)).is_ok(), "the judge is asked once");
    let mut from = BufReader::new(stream);
    let mut given = HashMap::new();
    loop {
        let mut line = String::new();
        let read = from.read_line(&mut line).expect("the judge says what is given");
        let line = line.trim_end_matches('\n');
        if read == 0 || line == "go" {
            break;
        }
        if let Some((key, value)) = line.split_once(' ') {
            given.insert(key.to_owned(), plain(value));
        }
    }
    say(if seal::seal() { "sealed" } else { "open" });
    Line { given, from }
}

/// Ends this process when the judge has gone, whatever its threads do: the judge holds the other end of stdin.
fn end_with_the_judge() {
    thread::spawn(|| {
        let _ = std::io::copy(&mut std::io::stdin(), &mut std::io::sink());
        std::process::exit(3);
    });
}

impl Line {
    /// A value that the judge gave.
    ///
    /// # Panics
    /// When it was not given, or is of another type: judge and harness do not belong together.
    #[must_use]
    pub fn given<T: FromStr>(&self, key: &str) -> T {
        let value = self.given.get(key).and_then(|value| value.parse().ok());
        value.unwrap_or_else(|| panic!("the judge gave no `{key}`"))
    }

    /// Values that the judge gave, with commas between them.
    ///
    /// # Panics
    /// As [`Line::given`].
    #[must_use]
    pub fn list<T: FromStr>(&self, key: &str) -> Vec<T> {
        let text: String = self.given(key);
        let parts = text.split(',').filter(|part| !part.is_empty());
        let values = parts.map(|part| part.parse().ok());
        values.collect::<Option<_>>().unwrap_or_else(|| panic!("`{key}` is no list"))
    }

    /// The service that the judge started.
    ///
    /// # Panics
    /// When there is none.
    #[must_use]
    pub fn service(&self) -> Service {
        Service::new(&self.given::<String>("service"))
    }

    /// Hands over a result.
    pub fn reply(&self, id: u64, text: impl Display) {
        reply(id, text);
    }

    /// The most texts that were kept at the same time.
    #[must_use]
    pub fn most_texts(&self) -> usize {
        crate::text::most()
    }

    /// Everything is done.
    pub fn end(self) {
        say("end");
        self.hear_out();
    }

    /// Takes the judge's last line, which a program without jobs has not read. A connection that is closed with
    /// something unread is cut, and what was said last may be lost with it.
    fn hear_out(&self) {
        let mut heard = self.from.buffer().to_vec();
        let mut rest = [0; 64];
        while !heard.ends_with(b"bye\n") {
            match self.from.get_ref().read(&mut rest) {
                Ok(read @ 1..) => heard.extend_from_slice(&rest[..read]),
                _ => break,
            }
        }
    }

    /// Jobs as they arrive, until the judge says that there are no more. Call it in a runtime.
    #[must_use]
    pub fn jobs(self) -> Jobs {
        let (into, jobs) = mpsc::unbounded_channel();
        // A thread of its own: a blocked event loop must not hide when jobs came.
        thread::spawn(move || {
            for line in self.from.lines().map_while(Result::ok) {
                let mut parts = line.splitn(3, ' ');
                let (Some("job"), Some(id)) = (parts.next(), parts.next()) else { break };
                let text = plain(parts.next().unwrap_or_default());
                let job = Job { id: id.parse().unwrap_or(u64::MAX), text };
                if into.send(job).is_err() {
                    break;
                }
            }
        });
        Jobs { jobs }
    }
}

/// Jobs as they arrive.
#[derive(Debug)]
pub struct Jobs {
    jobs: mpsc::UnboundedReceiver<Job>,
}

impl Jobs {
    /// The next one; none when there will be no more.
    pub async fn next(&mut self) -> Option<Job> {
        self.jobs.recv().await
    }

    /// Starts a task for each job as it arrives, and hands over what it returns; ends when all are done.
    pub async fn serve<F, R>(mut self, handle: impl Fn(Job) -> F)
    where
        F: Future<Output = R> + Send + 'static,
        R: Display,
    {
        let mut tasks = JoinSet::new();
        while let Some(job) = self.next().await {
            begin(&mut tasks, job, &handle);
            while tasks.try_join_next().is_some() {}
        }
        while tasks.join_next().await.is_some() {}
        self.end();
    }

    /// As [`Jobs::serve`], with a job for each line of a job: all of them come at the same instant, and are numbered
    /// from that job's number on. On an event loop none of them runs before the last one's task is there.
    pub async fn serve_bursts<F, R>(mut self, handle: impl Fn(Job) -> F)
    where
        F: Future<Output = R> + Send + 'static,
        R: Display,
    {
        let mut tasks = JoinSet::new();
        while let Some(burst) = self.next().await {
            for (id, line) in (burst.id..).zip(burst.text.lines()) {
                begin(&mut tasks, Job { id, text: line.to_owned() }, &handle);
            }
            while tasks.try_join_next().is_some() {}
        }
        while tasks.join_next().await.is_some() {}
        self.end();
    }

    /// Everything is done.
    pub fn end(self) {
        say("end");
    }
}

/// Starts the task of a job, which says when it begins and ends, and hands over what comes of it.
fn begin<F, R>(tasks: &mut JoinSet<()>, job: Job, handle: impl Fn(Job) -> F)
where
    F: Future<Output = R> + Send + 'static,
    R: Display,
{
    let id = job.id;
    let handled = handle(job);
    let work = async move {
        let done = {
            let _span = Span::new("begins", "ends", id);
            handled.await
        };
        reply(id, done);
    };
    tasks.spawn(JOB.scope(id, work));
}

/// A runtime with one thread: this one, the event loop.
///
/// # Panics
/// When the system gives none.
pub fn event_loop<T>(work: impl Future<Output = T>) -> T {
    IS_LOOP.set(true);
    let mut builder = tokio::runtime::Builder::new_current_thread();
    builder.on_thread_park(|| {
        IDLE.0.fetch_add(1, SeqCst);
        IDLE.1.store(true, SeqCst);
    });
    builder.on_thread_unpark(|| IDLE.1.store(false, SeqCst));
    builder.enable_all().build().expect("a runtime").block_on(work)
}

/// Tells the judge when something begins, and when it ends or is given up. The time told is how often the event loop
/// has had nothing to do: between two such moments everything is done at once, however slow the machine is.
pub(crate) struct Span {
    ends: &'static str,
    of: String,
}

impl Span {
    pub(crate) fn new(begins: &str, ends: &'static str, of: impl Display) -> Span {
        let of = of.to_string();
        moment(begins, &of);
        Span { ends, of }
    }
}

impl Drop for Span {
    fn drop(&mut self) {
        moment(self.ends, &self.of);
    }
}

fn moment(what: &str, of: &str) {
    say(&format!("at {} {what} {}", IDLE.0.load(SeqCst), one_line(of)));
}

/// Hands over a result of a job.
pub(crate) fn reply(id: u64, text: impl Display) {
    say(&format!("reply {id} {}", one_line(&text.to_string())));
}

/// Tells the judge what the code did, and where.
pub(crate) fn witness(did: Did) {
    let job = JOB.try_with(|id| *id).ok();
    let place = match (IS_LOOP.get(), job) {
        (true, Some(_)) => "handler",
        (true, None) => "loop",
        (false, _) => "thread",
    };
    match did {
        Did::Digest => say(&format!("did digest {place}")),
        Did::Fragile { seed, rounds } => say(&format!("did fragile {seed} {rounds} {place}")),
    }
}

/// Runs what another thread than the event loop's computes, and tells the judge if the loop was never idle
/// meanwhile: it has waited for this thread as a thread waits. A loop that awaits is idle within microseconds.
pub(crate) fn beside_the_loop<T>(work: impl FnOnce() -> T) -> T {
    let idle = || (IDLE.0.load(SeqCst), IDLE.1.load(SeqCst));
    let before = idle();
    let done = work();
    let after = idle();
    // Before the first time it is no loop yet.
    if !IS_LOOP.get() && before == after && !after.1 && after.0 > 0 {
        say("held");
    }
    done
}

/// Runs `work`, which stops whenever it gets at what is behind a lock of `sync` until `other` has run on a thread of
/// its own: how often it stopped, and how often `other` came to its end. With the model checker's locks it never stops.
pub fn in_the_middle(work: impl FnOnce(), other: impl Fn() + Send + Sync + 'static) -> (u64, u64) {
    let (other, counts) = (Arc::new(other), Rc::new(Cell::new((0, 0))));
    let counted = Rc::clone(&counts);
    REACHED.set(Some(Box::new(move || {
        let (stops, ends) = counted.get();
        counted.set((stops + 1, ends));
        // One that waits is enough.
        if ends == stops {
            let other = Arc::clone(&other);
            let thread = thread::spawn(move || other());
            let has_ended = || {
                thread::sleep(Duration::from_millis(1));
                thread.is_finished()
            };
            let ended = (0..LOOKS).any(|_| has_ended());
            counted.set((stops + 1, ends + u64::from(ended)));
        }
    })));
    work();
    REACHED.set(None);
    counts.get()
}

/// This thread gets at what is behind a lock.
#[cfg(not(feature = "orders"))]
pub(crate) fn reached() {
    if let Ok(Some(mut stop)) = REACHED.try_with(Cell::take) {
        stop();
        REACHED.set(Some(stop));
    }
}

/// Explores every order of the threads of `check`, which panics where an order breaks what must hold, and tells
/// the judge. Only when the judge asks for orders; then it is true, and nothing else need be done.
pub fn orders(line: &Line, check: impl Fn() + Send + Sync + 'static) -> bool {
    #[cfg(feature = "orders")]
    {
        crate::orders::explore(line, check, say);
        line.hear_out();
        true
    }
    #[cfg(not(feature = "orders"))]
    {
        let _ = (line, check);
        false
    }
}

/// Nobody listens any more when this fails: the judge has seen enough, and ends this process.
fn say(text: &str) {
    if let Some(judge) = JUDGE.get() {
        let mut judge = judge.lock().unwrap_or_else(PoisonError::into_inner);
        let _ = judge.write_all(format!("{text}\n").as_bytes());
    }
}

fn one_line(text: &str) -> String {
    text.replace('\\', "\\\\").replace('\n', "\\n").replace('\r', "\\r")
}

fn plain(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut chars = text.chars();
    while let Some(c) = chars.next() {
        match c {
            '\\' => match chars.next() {
                Some('n') => out.push('\n'),
                Some('r') => out.push('\r'),
                Some(other) => out.push(other),
                None => {}
            },
            _ => out.push(c),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::{IDLE, SeqCst};

    /// A runtime for which a wake-up of its outermost future were idleness would make judges unjust.
    #[test]
    fn the_loop_is_idle_only_when_nothing_can_be_done() {
        let idle = || IDLE.0.load(SeqCst);
        super::event_loop(async {
            tokio::time::sleep(std::time::Duration::from_millis(1)).await;
            let before = idle();
            for _ in 0..100 {
                let (say, hear) = tokio::sync::oneshot::channel();
                tokio::spawn(async move { say.send(()) });
                hear.await.expect("it is said");
            }
            assert_eq!(idle(), before);
            tokio::time::sleep(std::time::Duration::from_millis(1)).await;
            assert!(idle() > before);
        });
    }

    #[test]
    fn lines_come_back_as_they_were() {
        for text in ["", "plain", "two\nlines", "a \\ b", "\\n", "\r\n\\"] {
            let line = super::one_line(text);
            assert!(!line.contains('\n') && !line.contains('\r'));
            assert_eq!(super::plain(&line), text);
        }
    }
}
