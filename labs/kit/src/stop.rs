//! Stopping early: Ctrl-C, SIGTERM, or a run that has failed elsewhere.

use std::sync::Arc;

use tokio::sync::watch;

/// Exit code of a process that was interrupted.
pub const EXIT_INTERRUPTED: i32 = 130;

/// A wish to stop that everything long-running looks at.
#[derive(Clone, Debug)]
pub struct Stop(Arc<watch::Sender<bool>>);

impl Default for Stop {
    fn default() -> Stop {
        Stop(Arc::new(watch::Sender::new(false)))
    }
}

impl Stop {
    /// A stop that Ctrl-C, SIGTERM and SIGHUP set. The second signal ends the process at once.
    ///
    /// # Errors
    /// When the process already has a handler.
    pub fn on_signals() -> anyhow::Result<Stop> {
        let stop = Stop::default();
        let handle = stop.clone();
        ctrlc::set_handler(move || {
            if handle.is_set() {
                std::process::exit(EXIT_INTERRUPTED);
            }
            eprintln!("\nstopping: what is complete is kept (once more to stop at once)");
            handle.set();
        })?;
        Ok(stop)
    }

    /// Asks everybody to stop.
    pub fn set(&self) {
        self.0.send_replace(true);
    }

    /// True once somebody asked.
    pub fn is_set(&self) -> bool {
        *self.0.borrow()
    }

    /// Waits until somebody asks.
    pub async fn wait(&self) {
        // The sender lives in `self`, so the channel cannot close while this waits.
        let _ = self.0.subscribe().wait_for(|stop| *stop).await;
    }
}
