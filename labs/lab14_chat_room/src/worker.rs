//! Mathematics in another process.
//!
//! The server's side is [`Worker`]: it starts the process, hands it one job at a time over its
//! standard input and reads the answers from its standard output, on a thread of its own, which is
//! the only one that ever waits for the process. The other side is [`serve`].
//!
//! When the process dies, the job it was at is answered with an error, never lost in silence, and
//! not tried again either: it may be what the process died of. A new process is started for the next
//! job. When the server dies, however it does, the process reads the end of its input and ends.

use std::{
    fmt,
    io::{self, BufReader},
    process::{Child, ChildStdin, ChildStdout, Command, ExitStatus, Stdio},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
        mpsc::{Receiver, SyncSender, sync_channel},
    },
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use lab_kit::work::Kernel;
use tokio::sync::oneshot;

use super::frame::{read_frame, write_frame};

/// Jobs that may wait for the process. More are refused at once: who waits in a long queue is not
/// helped by a longer one.
const WAITING: usize = 16;

/// Why there is no result.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum WorkerError {
    /// Too many jobs are waiting.
    Busy,
    /// The process died before it answered.
    Died(String),
    /// No process could be started.
    NotStarted(String),
    /// It answered something else than what it was asked.
    Nonsense,
}

impl fmt::Display for WorkerError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            WorkerError::Busy => f.write_str("too many jobs are waiting"),
            WorkerError::Died(how) => write!(f, "the worker process died ({how})"),
            WorkerError::NotStarted(why) => write!(f, "no worker process: {why}"),
            WorkerError::Nonsense => f.write_str("the worker process answered nonsense"),
        }
    }
}

impl std::error::Error for WorkerError {}

/// What a job costs, and who is to be told how long it really took.
type Job = (Duration, oneshot::Sender<Result<Duration, WorkerError>>);

/// A process that computes, and its supervisor.
pub struct Worker {
    jobs: Option<SyncSender<Job>>,
    process: Arc<Mutex<Option<Child>>>,
    started: Arc<AtomicU64>,
    supervisor: Option<JoinHandle<()>>,
}

impl Worker {
    /// Starts the process with this command, and waits until it can compute.
    ///
    /// # Errors
    /// When it does not start, or does not answer.
    pub fn start(command: Command) -> Result<Worker, WorkerError> {
        let (jobs, to_do) = sync_channel(WAITING);
        let process = Arc::new(Mutex::new(None));
        let started = Arc::new(AtomicU64::new(0));
        let mut supervisor = Supervisor {
            command,
            process: process.clone(),
            started: started.clone(),
            pipes: None,
            number: 0,
        };
        supervisor.compute(Duration::ZERO)?;
        let supervisor = thread::Builder::new()
            .name("worker's supervisor".into())
            .spawn(move || supervisor.run(&to_do))
            .map_err(|e| WorkerError::NotStarted(e.to_string()))?;
        Ok(Worker { jobs: Some(jobs), process, started, supervisor: Some(supervisor) })
    }

    /// Has something computed that costs so much, and returns how long it took there. Never waits
    /// for anything but the answer.
    ///
    /// # Errors
    /// Why there is no result.
    pub async fn compute(&self, cost: Duration) -> Result<Duration, WorkerError> {
        let (reply, answer) = oneshot::channel();
        let jobs = self.jobs.as_ref().ok_or(WorkerError::Busy)?;
        jobs.try_send((cost, reply)).map_err(|_| WorkerError::Busy)?;
        let gone = || Err(WorkerError::Died("and its supervisor with it".into()));
        answer.await.unwrap_or_else(|_| gone())
    }

    /// Kills the process, whatever it is doing: SIGKILL on Unix, `TerminateProcess` on Windows.
    ///
    /// # Errors
    /// When the system does not allow it.
    pub fn kill(&self) -> io::Result<()> {
        locked(&self.process).as_mut().map_or(Ok(()), Child::kill)
    }

    /// How many processes there have been.
    pub fn started(&self) -> u64 {
        self.started.load(Ordering::Relaxed)
    }

    /// The number by which the system knows the process.
    pub fn id(&self) -> Option<u32> {
        locked(&self.process).as_ref().map(Child::id)
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        self.jobs = None;
        // Whatever it is at, nobody waits for the result any more.
        let _ = self.kill();
        if let Some(supervisor) = self.supervisor.take() {
            let _ = supervisor.join();
        }
    }
}

fn locked(process: &Mutex<Option<Child>>) -> MutexGuard<'_, Option<Child>> {
    process.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Owns the pipes of the process.
struct Supervisor {
    command: Command,
    process: Arc<Mutex<Option<Child>>>,
    started: Arc<AtomicU64>,
    pipes: Option<(ChildStdin, BufReader<ChildStdout>)>,
    /// Of the last job.
    number: u64,
}

impl Supervisor {
    fn run(mut self, to_do: &Receiver<Job>) {
        for (cost, reply) in to_do {
            // Who asked may have left: then there is nothing to do.
            if !reply.is_closed() {
                let _ = reply.send(self.compute(cost));
            }
        }
    }

    fn compute(&mut self, cost: Duration) -> Result<Duration, WorkerError> {
        self.number += 1;
        let number = self.number;
        if self.pipes.is_none() {
            self.start().map_err(|e| WorkerError::NotStarted(e.to_string()))?;
        }
        let (input, output) = self.pipes.as_mut().expect("just started");
        let job = Message { number, time: cost };
        let answer = write_frame(input, &job.bytes()).and_then(|()| read_frame(output));
        match answer.ok().flatten().map(|bytes| Message::read(&bytes)) {
            Some(Some(answer)) if answer.number == number => Ok(answer.time),
            Some(_) => {
                // Out of step: nothing it says can be trusted any more.
                let _ = self.end();
                Err(WorkerError::Nonsense)
            }
            None => {
                let how = self.end();
                Err(WorkerError::Died(how.map_or_else(|| "unknown".into(), |s| s.to_string())))
            }
        }
    }

    fn start(&mut self) -> io::Result<()> {
        let mut child = self.command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn()?;
        self.pipes = child.stdin.take().zip(child.stdout.take().map(BufReader::new));
        *locked(&self.process) = Some(child);
        self.started.fetch_add(1, Ordering::Relaxed);
        Ok(())
    }

    /// Sees to it that the process is no more, and says how it ended.
    fn end(&mut self) -> Option<ExitStatus> {
        self.pipes = None;
        let mut child = locked(&self.process).take()?;
        let _ = child.kill();
        child.wait().ok()
    }
}

impl Drop for Supervisor {
    fn drop(&mut self) {
        self.end();
    }
}

/// A job and its answer look alike: a number, and a time that it costs or has taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Message {
    number: u64,
    time: Duration,
}

impl Message {
    fn bytes(self) -> [u8; 16] {
        let both = (u128::from(self.number) << 64) | u128::from(self.time.as_nanos() as u64);
        both.to_be_bytes()
    }

    fn read(bytes: &[u8]) -> Option<Message> {
        let both = u128::from_be_bytes(bytes.try_into().ok()?);
        Some(Message { number: (both >> 64) as u64, time: Duration::from_nanos(both as u64) })
    }
}

/// What the process does: jobs from standard input, answers to standard output, until the input
/// ends.
///
/// # Errors
/// When nobody reads the answers, or a job is none.
pub fn serve() -> anyhow::Result<()> {
    let kernel = Kernel::calibrate();
    let (read, jobs) = sync_channel(1);
    // Reads while the other thread computes: when the server has gone, nobody wants the rest.
    thread::spawn(move || {
        let mut input = io::stdin().lock();
        loop {
            let job = read_frame(&mut input);
            let code = match &job {
                Ok(Some(_)) => None,
                Ok(None) => Some(0),
                Err(_) => Some(1),
            };
            if let Some(code) = code {
                std::process::exit(code);
            }
            if read.send(job).is_err() {
                return;
            }
        }
    });
    let mut output = io::stdout().lock();
    for bytes in jobs {
        let bytes = bytes?.unwrap_or_default();
        let job = Message::read(&bytes).ok_or_else(|| anyhow::anyhow!("that was no job"))?;
        let begun = Instant::now();
        kernel.work(job.time);
        let answer = Message { time: begun.elapsed(), ..job };
        write_frame(&mut output, &answer.bytes())?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn jobs_read_back(number: u64, nanos: u64) {
            let message = Message { number, time: Duration::from_nanos(nanos) };
            prop_assert_eq!(Message::read(&message.bytes()), Some(message));
        }

        #[test]
        fn only_sixteen_bytes_are_a_job(bytes in prop::collection::vec(any::<u8>(), 0..40)) {
            prop_assert_eq!(Message::read(&bytes).is_some(), bytes.len() == 16);
        }
    }

    #[test]
    fn what_does_not_start_is_an_error() {
        let none = Worker::start(Command::new("/there/is/no/such/program"));
        assert!(matches!(none.map(|_| ()), Err(WorkerError::NotStarted(_))));
    }
}
