//! What the system lets a process have: asked before a server is started, not learned from a panic in the middle of it.

use std::future::poll_fn;
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::pin;
use std::sync::mpsc;
use std::task::Poll;
use std::thread;
use std::time::Duration;

/// Files a server opens before its first client comes, with some room for clients, in pairs.
const PAIRS: usize = 12;
/// Threads there are while the program starts its server: the server's, one that greets it, one for signals.
const THREADS: usize = 3;

/// Checks that this process may open the files and start the threads that one more server needs.
///
/// # Errors
///
/// The limit that is too low, and what raises it.
pub fn room() -> io::Result<()> {
    let files: io::Result<Vec<_>> = (0..PAIRS).map(|_| io::pipe()).collect();
    match files {
        Err(error) if is_out_of_files(&error) => return Err(no_files(error.kind())),
        _ => {}
    }
    threads_start(THREADS).map_err(|error| no_threads(error.kind()))
}

/// Starts so many threads side by side and ends them at once: whether they can be had.
///
/// # Errors
///
/// The system's, for the first that does not start.
pub fn threads_start(count: usize) -> io::Result<()> {
    let before = alive();
    let started = thread::scope(|scope| {
        let ends: io::Result<Vec<_>> = (0..count)
            .map(|_| {
                let (end, ended) = mpsc::channel::<()>();
                let wait = move || ended.recv();
                thread::Builder::new().spawn_scoped(scope, wait).map(|_| end)
            })
            .collect();
        ends.map(drop)
    });
    // A thread that has ended counts for a moment longer, in which the server would get none.
    for _ in 0..50 {
        if alive() <= before {
            break;
        }
        thread::sleep(Duration::from_micros(200));
    }
    started
}

/// Threads of this process; 0 where it cannot be known.
fn alive() -> usize {
    std::fs::read_dir("/proc/self/task").map_or(0, Iterator::count)
}

/// Awaits a start that panics where it gets no thread: another program may have taken the last one.
pub(crate) async fn start<T>(starting: impl Future<Output = T>) -> io::Result<T> {
    let mut starting = pin!(starting);
    poll_fn(|cx| {
        let polled = catch_unwind(AssertUnwindSafe(|| starting.as_mut().poll(cx)));
        match polled {
            Ok(poll) => poll.map(Ok),
            Err(_) => Poll::Ready(Err(no_threads(io::ErrorKind::WouldBlock))),
        }
    })
    .await
}

/// `EMFILE` and `ENFILE`, which have the same numbers on every Unix.
fn is_out_of_files(error: &io::Error) -> bool {
    cfg!(unix) && matches!(error.raw_os_error(), Some(23 | 24))
}

fn no_files(kind: io::ErrorKind) -> io::Error {
    #[cfg(unix)]
    let limit = soft(rlimit::Resource::NOFILE);
    #[cfg(not(unix))]
    let limit = String::new();
    let text = format!(
        "the limit on open files{limit} leaves no room for a server: raise it, as with `ulimit -n 1024`"
    );
    io::Error::new(kind, text)
}

pub(crate) fn no_threads(kind: io::ErrorKind) -> io::Error {
    #[cfg(unix)]
    let limit = soft(rlimit::Resource::NPROC);
    #[cfg(not(unix))]
    let limit = String::new();
    let text = format!(
        "the limit on processes and threads{limit} leaves no room for a server: raise it, as with `ulimit -u 1000`, or end other programs"
    );
    io::Error::new(kind, text)
}

/// The limit in force, if there is one.
#[cfg(unix)]
fn soft(limit: rlimit::Resource) -> String {
    match limit.get_soft() {
        Ok(n) if n < rlimit::INFINITY => format!(" ({n})"),
        _ => String::new(),
    }
}
