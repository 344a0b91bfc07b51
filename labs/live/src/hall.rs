//! What all pages share: the settings, the one run there is, and what it shows.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow};
use lab_kit::stop::Stop;
use tokio::sync::watch;

use crate::control::{Demo, Refused, Settings};
use crate::draw::{self, Frame};
use crate::engine::{self, View};
use crate::locked;

/// A run that no page watches ends after this.
pub const ABSENT: Duration = Duration::from_secs(3);
/// A run in which nothing is set ends after this.
pub const UNCHANGED: Duration = Duration::from_secs(20 * 60);
/// The most pages at a time.
pub const MOST_PAGES: usize = 48;

/// How a run ended, or that there was none.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Ended {
    /// There was none yet.
    Never,
    /// By the button.
    Asked,
    /// No page was there.
    Absent,
    /// Nothing was set for long.
    Unchanged,
    /// Another demonstration was started.
    Replaced,
    /// With an error.
    Failed(String),
}

/// What the pages know.
#[derive(Clone, Debug)]
pub struct News {
    /// The run, if there is one.
    pub running: Option<Demo>,
    /// How each demonstration's latest run ended.
    pub ended: [Ended; 3],
    /// Of each demonstration.
    pub settings: [Settings; 3],
    /// The page that changed them last.
    pub changed_by: [u64; 3],
    /// The latest of each demonstration.
    pub frames: [Arc<Frame>; 3],
    /// Nothing will follow.
    pub over: bool,
    run: u64,
}

impl News {
    /// One line on the state of a demonstration, for its page.
    pub fn status(&self, demo: Demo) -> String {
        if self.over {
            return "The program has ended.".into();
        }
        if self.running == Some(demo) {
            return "Running.".into();
        }
        let ended = match &self.ended[demo.index()] {
            Ended::Never => "Not running.".into(),
            Ended::Asked => "Stopped.".into(),
            Ended::Absent => "Stopped: no page was watching.".into(),
            Ended::Unchanged => "Stopped: nothing was changed for 20 minutes.".into(),
            Ended::Replaced => "Stopped: another demonstration was started.".into(),
            Ended::Failed(why) => format!("Stopped by an error: {why}."),
        };
        match self.running {
            Some(other) => format!("{ended} {} is running; starting here ends it.", other.title()),
            None => ended,
        }
    }
}

/// The thread of a run.
struct Run {
    stop: Stop,
    settings: watch::Sender<Settings>,
    thread: JoinHandle<()>,
}

impl Run {
    /// Returns when everything it began has ended.
    fn end(self) {
        self.stop.set();
        let _ = self.thread.join();
    }
}

/// Who watches, and since when nobody does.
struct Watching {
    pages: [usize; 3],
    /// When the running demonstration's last page left, or the run began.
    alone_since: Instant,
    changed_at: Instant,
}

/// What all pages share.
pub struct Hall {
    news: watch::Sender<News>,
    /// Held while a run begins or ends, so that there is one at most.
    run: Mutex<Option<Run>>,
    watching: Mutex<Watching>,
    runs: AtomicU64,
}

impl Hall {
    /// Nothing runs, nobody watches.
    pub fn new() -> Arc<Hall> {
        let settings = Demo::ALL.map(Settings::new);
        let idle = |s: &Settings| Arc::new(draw::frame(&View::idle(s)));
        let news = News {
            running: None,
            ended: [Ended::Never, Ended::Never, Ended::Never],
            frames: settings.each_ref().map(idle),
            settings,
            changed_by: [0; 3],
            over: false,
            run: 0,
        };
        Arc::new(Hall {
            news: watch::Sender::new(news),
            run: Mutex::new(None),
            watching: Mutex::new(Watching {
                pages: [0; 3],
                alone_since: Instant::now(),
                changed_at: Instant::now(),
            }),
            runs: AtomicU64::new(0),
        })
    }

    /// The news, now and as they come.
    pub fn news(&self) -> watch::Receiver<News> {
        self.news.subscribe()
    }

    /// Starts a demonstration; one that runs already goes on, another one ends first. Blocks until
    /// that has ended.
    ///
    /// # Errors
    /// When the system gives no thread.
    pub fn start(self: &Arc<Self>, demo: Demo) -> Result<()> {
        let mut run = locked(&self.run);
        let (running, over) = {
            let news = self.news.borrow();
            (news.running, news.over)
        };
        if running == Some(demo) || over {
            return Ok(());
        }
        if let Some(other) = run.take() {
            self.gone(running, Ended::Replaced);
            other.end();
        }
        let number = 1 + self.runs.fetch_add(1, Relaxed);
        {
            let mut watching = locked(&self.watching);
            watching.alone_since = Instant::now();
            watching.changed_at = watching.alone_since;
        }
        self.news.send_modify(|news| {
            news.running = Some(demo);
            news.run = number;
        });
        let stop = Stop::default();
        let settings = watch::Sender::new(self.news.borrow().settings[demo.index()]);
        let (hall, until, receiver) = (self.clone(), stop.clone(), settings.subscribe());
        let thread = std::thread::Builder::new()
            .name(format!("{}-{number}", demo.name()))
            .spawn(move || hall.conduct(demo, number, receiver, &until));
        let thread = thread.context("starting the run's thread").inspect_err(|error| {
            self.gone(Some(demo), Ended::Failed(format!("{error:#}")));
        })?;
        *run = Some(Run { stop, settings, thread });
        Ok(())
    }

    /// The thread of a run.
    fn conduct(
        self: Arc<Self>,
        demo: Demo,
        number: u64,
        settings: watch::Receiver<Settings>,
        stop: &Stop,
    ) {
        let show = |view: View| {
            let frame = Arc::new(draw::frame(&view));
            self.news.send_if_modified(|news| {
                let ours = news.run == number && news.running == Some(demo);
                if ours {
                    news.frames[demo.index()] = frame;
                }
                ours
            });
        };
        let work = || -> Result<()> {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
            runtime.block_on(engine::run(settings, stop, show))
        };
        let outcome = std::panic::catch_unwind(std::panic::AssertUnwindSafe(work))
            .unwrap_or_else(|_| Err(anyhow!("the run broke down; the terminal says where")));
        if let Err(error) = outcome {
            self.news.send_if_modified(|news| {
                let ours = news.run == number && news.running == Some(demo);
                if ours {
                    news.running = None;
                    news.ended[demo.index()] = Ended::Failed(format!("{error:#}"));
                }
                ours
            });
        }
    }

    fn gone(&self, running: Option<Demo>, how: Ended) {
        self.news.send_modify(|news| {
            news.running = None;
            if let Some(demo) = running {
                news.ended[demo.index()] = how;
            }
        });
    }

    /// Ends the run of that demonstration, if it is the one that runs. Blocks until it has ended.
    pub fn stop(&self, demo: Demo, how: Ended) {
        let mut run = locked(&self.run);
        let running = self.news.borrow().running;
        if running == Some(demo) {
            self.gone(running, how);
        }
        // One that failed is only waited for.
        if running.is_none_or(|running| running == demo)
            && let Some(run) = run.take()
        {
            run.end();
        }
    }

    /// Ends everything, for good. Blocks until it has ended.
    pub fn close(&self) {
        let mut run = locked(&self.run);
        self.news.send_modify(|news| {
            news.running = None;
            news.over = true;
        });
        if let Some(run) = run.take() {
            run.end();
        }
    }

    /// Sets one control, for the run and for those to come. Returns the value as people read it.
    ///
    /// # Errors
    /// A control that is not there or a value out of bounds; nothing has changed then.
    pub fn set(&self, demo: Demo, key: &str, text: &str, page: u64) -> Result<String, Refused> {
        let run = locked(&self.run);
        let settings = self.news.borrow().settings[demo.index()].with(key, text)?;
        let idle = {
            let news = self.news.borrow();
            // A picture of a run stays until the next one.
            let fresh = news.ended[demo.index()] == Ended::Never && news.running != Some(demo);
            fresh.then(|| Arc::new(draw::frame(&View::idle(&settings))))
        };
        self.news.send_modify(|news| {
            news.settings[demo.index()] = settings;
            news.changed_by[demo.index()] = page;
            if let Some(frame) = idle {
                news.frames[demo.index()] = frame;
            }
        });
        locked(&self.watching).changed_at = Instant::now();
        if let Some(run) = run.as_ref().filter(|r| r.settings.borrow().demo == demo) {
            run.settings.send_replace(settings);
        }
        let value = settings.each().find(|(control, _)| control.key == key);
        Ok(value.map_or(String::new(), |(control, value)| control.text(value)))
    }

    /// A page begins to watch, until the seat is dropped; `None` when there are too many.
    pub fn attend(self: &Arc<Self>, demo: Demo) -> Option<Seat> {
        let mut watching = locked(&self.watching);
        let all: usize = watching.pages.iter().sum();
        if all >= MOST_PAGES {
            return None;
        }
        watching.pages[demo.index()] += 1;
        Some(Seat { hall: self.clone(), demo })
    }

    /// Why the run should end at this instant, if it should.
    pub fn overdue(&self, now: Instant) -> Option<(Demo, Ended)> {
        let demo = self.news.borrow().running?;
        let watching = locked(&self.watching);
        if watching.pages[demo.index()] == 0
            && now.saturating_duration_since(watching.alone_since) >= ABSENT
        {
            return Some((demo, Ended::Absent));
        }
        (now.saturating_duration_since(watching.changed_at) >= UNCHANGED)
            .then_some((demo, Ended::Unchanged))
    }
}

/// A page that watches.
pub struct Seat {
    hall: Arc<Hall>,
    demo: Demo,
}

impl Drop for Seat {
    fn drop(&mut self) {
        let mut watching = locked(&self.hall.watching);
        let pages = &mut watching.pages[self.demo.index()];
        *pages = pages.saturating_sub(1);
        watching.alone_since = Instant::now();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_run_at_a_time_and_nothing_after_the_end() {
        let hall = Hall::new();
        hall.start(Demo::Pipeline).unwrap();
        hall.start(Demo::Pipeline).unwrap();
        assert_eq!(hall.runs.load(Relaxed), 1);
        hall.start(Demo::Heartbeat).unwrap();
        let news = hall.news().borrow().clone();
        assert_eq!(news.running, Some(Demo::Heartbeat));
        assert_eq!(news.ended[Demo::Pipeline.index()], Ended::Replaced);
        assert!(news.status(Demo::Pipeline).ends_with("starting here ends it."));
        // Stopping another one does nothing.
        hall.stop(Demo::Trap, Ended::Asked);
        assert_eq!(hall.news().borrow().running, Some(Demo::Heartbeat));
        hall.stop(Demo::Heartbeat, Ended::Asked);
        assert!(locked(&hall.run).is_none());
        assert_eq!(hall.news().borrow().status(Demo::Heartbeat), "Stopped.");
        // The run's thread has let go of the hall: it has ended.
        assert_eq!(Arc::strong_count(&hall), 1);
        hall.close();
        hall.start(Demo::Trap).unwrap();
        assert_eq!(hall.news().borrow().running, None);
    }

    #[test]
    fn a_run_without_pages_or_changes_is_overdue() {
        let hall = Hall::new();
        let later = |by: Duration| Instant::now() + by + Duration::from_secs(1);
        assert_eq!(hall.overdue(later(UNCHANGED)), None);
        hall.start(Demo::Pipeline).unwrap();
        assert_eq!(hall.overdue(Instant::now()), None);
        let absent = Some((Demo::Pipeline, Ended::Absent));
        assert_eq!(hall.overdue(later(ABSENT)), absent);
        let other = hall.attend(Demo::Trap).unwrap();
        assert_eq!(hall.overdue(later(ABSENT)), absent);
        let seat = hall.attend(Demo::Pipeline).unwrap();
        assert_eq!(hall.overdue(later(ABSENT)), None);
        let unchanged = Some((Demo::Pipeline, Ended::Unchanged));
        assert_eq!(hall.overdue(later(UNCHANGED)), unchanged);
        drop((seat, other));
        assert_eq!(hall.overdue(later(ABSENT)), absent);
        hall.close();
    }

    #[test]
    fn a_value_reaches_all_pages_and_a_bad_one_nobody() {
        let hall = Hall::new();
        let news = hall.news();
        let idle = news.borrow().frames[0].clone();
        assert_eq!(hall.set(Demo::Trap, "service", "70", 5).unwrap(), "70 ms");
        {
            let now = news.borrow();
            assert_eq!(now.settings[0].get("service"), 70);
            assert_eq!(now.changed_by[0], 5);
            assert_ne!(now.frames[0].html, idle.html);
        }
        assert!(hall.set(Demo::Trap, "service", "71000", 6).is_err());
        assert_eq!(news.borrow().changed_by[0], 5);
    }

    #[test]
    fn there_are_only_so_many_seats() {
        let hall = Hall::new();
        let mut seats: Vec<_> = std::iter::from_fn(|| hall.attend(Demo::Trap)).collect();
        assert_eq!(seats.len(), MOST_PAGES);
        seats.pop();
        assert!(hall.attend(Demo::Pipeline).is_some());
    }
}
