//! What is really run, and what is seen of it. One thread and one runtime a run; when it ends,
//! everything it started has ended.

pub mod heartbeat;
pub mod pipeline;
pub mod trap;

use std::time::Duration;

use anyhow::Result;
use lab_kit::stop::Stop;
use tokio::sync::watch;
use tokio::time::{MissedTickBehavior, interval};

use crate::control::{Demo, Settings};

/// Time between two frames.
pub const TICK: Duration = Duration::from_millis(125);

/// A run as seen at one instant.
#[derive(Clone, Debug)]
pub enum View {
    /// Of the trap.
    Trap(trap::View),
    /// Of the heartbeat.
    Heartbeat(heartbeat::View),
    /// Of the pipeline.
    Pipeline(pipeline::View),
}

impl View {
    /// Before the first run.
    pub fn idle(settings: &Settings) -> View {
        match settings.demo {
            Demo::Trap => View::Trap(trap::View::idle(settings)),
            Demo::Heartbeat => View::Heartbeat(heartbeat::View::idle(settings)),
            Demo::Pipeline => View::Pipeline(pipeline::View::idle(settings)),
        }
    }
}

/// A demonstration at work.
trait Engine: Sized {
    async fn start(settings: Settings) -> Result<Self>;
    /// Goes on with other settings.
    async fn set(&mut self, settings: Settings) -> Result<()>;
    fn look(&mut self) -> View;
    /// Ends all that `start` began.
    async fn end(self);
}

/// Runs a demonstration until `stop`, with the settings as they come; shows it at every tick and at
/// every change.
///
/// # Errors
/// What keeps it from starting or going on, such as no port for the service.
pub async fn run(
    settings: watch::Receiver<Settings>,
    stop: &Stop,
    show: impl Fn(View),
) -> Result<()> {
    let demo = settings.borrow().demo;
    match demo {
        Demo::Trap => drive::<trap::Trap>(settings, stop, show).await,
        Demo::Heartbeat => drive::<heartbeat::Heartbeat>(settings, stop, show).await,
        Demo::Pipeline => drive::<pipeline::Pipeline>(settings, stop, show).await,
    }
}

async fn drive<E: Engine>(
    mut settings: watch::Receiver<Settings>,
    stop: &Stop,
    show: impl Fn(View),
) -> Result<()> {
    let first = *settings.borrow_and_update();
    let mut engine = E::start(first).await?;
    let mut tick = interval(TICK);
    tick.set_missed_tick_behavior(MissedTickBehavior::Skip);
    let outcome = loop {
        let changed = tokio::select! {
            biased;
            () = stop.wait() => break Ok(()),
            changed = settings.changed() => match changed {
                Ok(()) => true,
                Err(_) => break Ok(()),
            },
            _ = tick.tick() => false,
        };
        if changed {
            let wanted = *settings.borrow_and_update();
            if let Err(error) = engine.set(wanted).await {
                break Err(error);
            }
        }
        show(engine.look());
    };
    engine.end().await;
    outcome
}

#[cfg(test)]
pub mod samples {
    //! Views for tests of drawings.

    use super::*;

    /// Full histories of each demonstration, in several states.
    pub fn all() -> Vec<View> {
        let mut views = Vec::new();
        views.extend(trap::samples().map(View::Trap));
        views.extend(heartbeat::samples().map(View::Heartbeat));
        views.extend(pipeline::samples().map(View::Pipeline));
        views
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Mutex;

    /// Runs until `enough` says so of what was shown, changing settings once on the way.
    fn until(demo: Demo, change: (&str, &str), enough: impl Fn(&View, bool) -> bool) -> usize {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let (sender, receiver) = watch::channel(Settings::new(demo));
        let stop = Stop::default();
        let (shown, changed) = (Mutex::new(0), Mutex::new(false));
        let show = |view: View| {
            *shown.lock().unwrap() += 1;
            let mut changed = changed.lock().unwrap();
            if !enough(&view, *changed) {
                return;
            }
            if *changed {
                stop.set();
            } else {
                *changed = true;
                let now = sender.borrow().with(change.0, change.1).unwrap();
                sender.send_replace(now);
            }
        };
        runtime.block_on(run(receiver, &stop, show)).unwrap();
        shown.into_inner().unwrap()
    }

    #[test]
    fn the_trap_answers_before_and_after_a_change() {
        let shown = until(Demo::Trap, ("slots", "20"), |view, changed| {
            let View::Trap(view) = view else { panic!() };
            let tally = view.tally;
            assert_eq!(tally.attempts(), tally.ok + tally.refused + tally.late + tally.failed);
            assert_eq!(tally.failed, 0);
            tally.ok > 30 && view.settings.get("slots") == if changed { 20 } else { 10 }
        });
        assert!(shown > 1);
    }

    #[test]
    fn the_heartbeat_beats_during_a_computation_only_when_it_runs_elsewhere() {
        until(Demo::Heartbeat, ("place", "1"), |view, changed| {
            let View::Heartbeat(view) = view else { panic!() };
            let held_up = view.beats_during_computing();
            if changed {
                !view.on_loop() && held_up.is_some_and(|beats| beats > 0)
            } else {
                assert!(held_up.is_none_or(|beats| beats == 0), "{held_up:?}");
                held_up.is_some()
            }
        });
    }

    #[test]
    fn the_pipeline_keeps_its_books() {
        until(Demo::Pipeline, ("embed", "4"), |view, changed| {
            let View::Pipeline(view) = view else { panic!() };
            assert_eq!(view.entered, view.done + view.inside);
            for (stage, (_, places)) in view.stages.iter().zip(&view.queues) {
                assert!(stage.busy + stage.stuck <= 12);
                assert_eq!(*places, 8);
            }
            assert!(view.queues.iter().all(|(filled, places)| filled <= places));
            view.done > if changed { 5 } else { 2 }
        });
    }
}
