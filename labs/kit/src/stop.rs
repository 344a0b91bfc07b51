//! Stopping early: Ctrl-C, SIGTERM, a hang-up, or a run that has failed elsewhere.

use std::{
    panic,
    sync::{Arc, Mutex, MutexGuard, Once, PoisonError, mpsc},
    time::Duration,
};

use anyhow::Context;
use tokio::sync::watch;

use crate::{child, contain, terminal::say};

/// Exit code of a process that was interrupted.
pub const EXIT_INTERRUPTED: i32 = 130;

/// How long a run may take to end by itself once it is asked to. Not all waits listen, and a computation never
/// does: after this it is ended from outside.
const GRACE: Duration = Duration::from_millis(1500);

/// A wish to stop that everything long-running looks at.
#[derive(Clone)]
pub struct Stop(Arc<Shared>);

struct Shared {
    wish: watch::Sender<bool>,
    /// True once a thread has panicked.
    broken: watch::Sender<bool>,
    ending: Mutex<Ending>,
}

/// What a signal ends.
enum Ending {
    /// Something that ends by itself, however long it takes.
    Gently,
    /// Nothing that could be lost.
    AtOnce,
    /// A measurement, which ends by itself or is ended after [`GRACE`]; this saves what is complete.
    Saving(Rescue),
}

type Rescue = Box<dyn FnOnce() + Send>;

impl Default for Stop {
    fn default() -> Stop {
        Stop(Arc::new(Shared {
            wish: watch::Sender::new(false),
            broken: watch::Sender::new(false),
            ending: Mutex::new(Ending::Gently),
        }))
    }
}

impl Stop {
    /// A stop that Ctrl-C, SIGTERM and SIGHUP set, for what ends by itself. The second signal ends the process
    /// at once. A signal that was ignored when the process began (`nohup`) stays ignored.
    ///
    /// # Errors
    /// When no thread or no signal can be had.
    pub fn on_signals() -> anyhow::Result<Stop> {
        let stop = Stop::default();
        let (ready, started) = mpsc::channel();
        let handle = stop.clone();
        std::thread::Builder::new()
            .name("signals".into())
            .spawn(move || handle.listen(&ready))
            .context("no thread can be started: the limit on processes (ulimit -u) is too low")?;
        started.recv().context("the thread for signals has ended")??;
        Ok(stop)
    }

    /// The same for a process that has nothing to lose unless it is [measuring](Stop::measuring): a signal ends
    /// it at once.
    ///
    /// # Errors
    /// As [`Stop::on_signals`].
    pub fn at_once() -> anyhow::Result<Stop> {
        let stop = Stop::on_signals()?;
        *stop.ending() = Ending::AtOnce;
        Ok(stop)
    }

    /// Measures: a signal from now on is a wish, and if the work has not ended soon after, `rescue` saves what
    /// is complete and the process ends. So it is when a thread panics, for which others may wait for ever: no
    /// experiment panics on purpose.
    pub fn measuring<T>(
        &self,
        rescue: impl FnOnce() + Send + 'static,
        work: impl FnOnce() -> T,
    ) -> T {
        struct Done<'s>(&'s Stop);
        impl Drop for Done<'_> {
            fn drop(&mut self) {
                *self.0.ending() = Ending::AtOnce;
            }
        }
        *self.ending() = Ending::Saving(Box::new(rescue));
        self.watch_panics();
        let _done = Done(self);
        work()
    }

    fn watch_panics(&self) {
        static WATCHED: Once = Once::new();
        WATCHED.call_once(|| {
            let (usual, shared) = (panic::take_hook(), self.0.clone());
            panic::set_hook(Box::new(move |why| {
                usual(why);
                // Theory over an odd record is contained.
                if !contain::is_explaining() {
                    shared.broken.send_replace(true);
                }
            }));
        });
    }

    /// Asks everybody to stop.
    pub fn set(&self) {
        self.0.wish.send_replace(true);
    }

    /// True once somebody asked.
    pub fn is_set(&self) -> bool {
        *self.0.wish.borrow()
    }

    /// Waits until somebody asks.
    pub async fn wait(&self) {
        // The sender lives in `self`, so the channel cannot close while this waits.
        let _ = self.0.wish.subscribe().wait_for(|stop| *stop).await;
    }

    fn ending(&self) -> MutexGuard<'_, Ending> {
        self.0.ending.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Listens to signals for as long as the process lives.
    fn listen(&self, ready: &mpsc::Sender<anyhow::Result<()>>) {
        // Whoever waits for the answer is there until it has come.
        match heard() {
            Ok((runtime, signals)) => {
                let _ = ready.send(Ok(()));
                runtime.block_on(self.obey(signals));
            }
            Err(why) => {
                let _ = ready.send(Err(why.context("cannot watch for Ctrl-C")));
            }
        }
    }

    async fn obey(&self, mut signals: Signals) {
        tokio::select! {
            () = signals.next() => {}
            () = self.hang_after_a_panic() => {
                say("error: a thread has panicked, and the others do not come to an end without it");
                self.rescue();
                leave(1);
            }
        }
        // The wish first: words may fail, where the terminal is gone.
        let first = !self.is_set();
        self.set();
        if !first || matches!(*self.ending(), Ending::AtOnce) {
            leave(EXIT_INTERRUPTED);
        }
        say("\nstopping: what is complete is kept (once more to stop at once)");
        // What ends by itself is left to end, unless it is a measurement that does not.
        let patience = async {
            tokio::time::sleep(GRACE).await;
            if !matches!(*self.ending(), Ending::Saving(_)) {
                std::future::pending::<()>().await;
            }
        };
        tokio::select! {
            () = signals.next() => {}
            () = patience => self.rescue(),
        }
        leave(EXIT_INTERRUPTED);
    }

    /// Waits for a panic after which a measurement does not end by itself.
    async fn hang_after_a_panic(&self) {
        let mut broken = self.0.broken.subscribe();
        loop {
            let _ = broken.wait_for(|broken| *broken).await;
            self.0.broken.send_replace(false);
            tokio::time::sleep(2 * GRACE).await;
            if matches!(*self.ending(), Ending::Saving(_)) {
                return;
            }
        }
    }

    fn rescue(&self) {
        let ending = std::mem::replace(&mut *self.ending(), Ending::AtOnce);
        if let Ending::Saving(rescue) = ending {
            rescue();
        }
    }
}

/// Ends the process, and programs of others before it.
fn leave(code: i32) -> ! {
    child::kill_all();
    std::process::exit(code);
}

/// An event loop, and the signals that come to it.
fn heard() -> anyhow::Result<(tokio::runtime::Runtime, Signals)> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let signals = runtime.block_on(async { Signals::open() })?;
    Ok((runtime, signals))
}

impl std::fmt::Debug for Stop {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Stop").field(&self.is_set()).finish()
    }
}

/// The signals that end a program from outside.
#[cfg(unix)]
struct Signals {
    heard: Vec<tokio::signal::unix::Signal>,
    /// A file larger than the limit would end the process; heard and left alone, it is an error of the write.
    _too_large: Option<tokio::signal::unix::Signal>,
}

#[cfg(unix)]
impl Signals {
    fn open() -> std::io::Result<Signals> {
        use tokio::signal::unix::{SignalKind, signal};
        let kinds = [SignalKind::hangup(), SignalKind::interrupt(), SignalKind::terminate()];
        let ignored = crate::os::ignored_signals();
        let heard =
            kinds.into_iter().filter(|kind| ignored & (1 << (kind.as_raw_value() - 1)) == 0);
        Ok(Signals {
            heard: heard.map(signal).collect::<Result<_, _>>()?,
            _too_large: signal(SignalKind::from_raw(nix::sys::signal::SIGXFSZ as i32)).ok(),
        })
    }

    async fn next(&mut self) {
        let any = std::future::poll_fn(|cx| {
            let ready = self.heard.iter_mut().any(|s| s.poll_recv(cx).is_ready());
            if ready { std::task::Poll::Ready(()) } else { std::task::Poll::Pending }
        });
        any.await;
    }
}

/// The events of a console that end a program.
#[cfg(windows)]
struct Signals(
    tokio::signal::windows::CtrlC,
    tokio::signal::windows::CtrlBreak,
    tokio::signal::windows::CtrlClose,
);

#[cfg(windows)]
impl Signals {
    fn open() -> std::io::Result<Signals> {
        use tokio::signal::windows::{ctrl_break, ctrl_c, ctrl_close};
        Ok(Signals(ctrl_c()?, ctrl_break()?, ctrl_close()?))
    }

    async fn next(&mut self) {
        tokio::select! {
            _ = self.0.recv() => {}
            _ = self.1.recv() => {}
            _ = self.2.recv() => {}
        }
    }
}
