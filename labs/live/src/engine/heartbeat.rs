//! An event loop on one thread that beats, and a computation that stops it or does not.

use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use lab_kit::stop::Stop;
use lab_kit::work::Kernel;
use tokio::runtime::Builder;
use tokio::task::spawn_blocking;
use tokio::time::{sleep, sleep_until};

use super::Engine;
use crate::control::Settings;
use crate::locked;
use crate::meter::History;
use crate::text::number;

/// Seconds that are shown.
pub const SPAN: f64 = 8.0;
/// A beat that is later counts as late: well above what timers are late by themselves.
const LATE: f64 = 5e-3;
/// The runtime's timers tick in ms, and end a sleep with the tick after it.
const TIMER: f64 = 2e-3;
/// A computation looks this often whether the run is over.
const SLICE: Duration = Duration::from_millis(5);

/// The heartbeat at one instant. Times are seconds since the start.
#[derive(Clone, Debug)]
pub struct View {
    settings: Settings,
    at: f64,
    beats: History<f64>,
    pending: Option<f64>,
    computing: History<Option<f64>>,
    theory: History<f64>,
}

impl View {
    pub(super) fn idle(settings: &Settings) -> View {
        View {
            settings: *settings,
            at: 0.0,
            beats: History::of(SPAN),
            pending: None,
            computing: History::of(SPAN),
            theory: History::of(SPAN),
        }
    }

    /// True when the computation runs on the loop that beats.
    pub fn on_loop(&self) -> bool {
        on_loop(&self.settings)
    }

    /// Instants at which beats were due and how late they came; the one that has not come yet is as
    /// late as it is by now.
    fn lateness(&self) -> impl Iterator<Item = (f64, f64)> + '_ {
        let waiting = self.pending.map(|due| (due, self.at - due));
        let beats = self.beats.iter().chain(waiting.filter(|(_, late)| *late > LATE));
        beats.filter(|(due, _)| self.at - due <= SPAN)
    }

    /// How late the beat is that is due or was the latest.
    pub fn late_now_ms(&self) -> f64 {
        1e3 * self.lateness().last().map_or(0.0, |(_, late)| late)
    }

    /// The worst that is shown.
    pub fn worst_ms(&self) -> f64 {
        1e3 * self.lateness().map(|(_, late)| late).fold(0.0, f64::max)
    }

    /// The share of beats shown that were late.
    pub fn late_share(&self) -> f64 {
        let (mut late, mut all) = (0.0, 0.0);
        for (_, by) in self.lateness() {
            all += 1.0;
            late += f64::from(u8::from(by > LATE));
        }
        if all > 0.0 { late / all } else { 0.0 }
    }

    /// What theory says of the worst.
    pub fn theory_text(&self) -> String {
        if self.on_loop() {
            format!("up to {} ms", self.settings.get("busy"))
        } else {
            "up to 2 ms, the timer's".into()
        }
    }

    /// Age in seconds and the worst that theory allows, in ms.
    pub fn theory_ms(&self) -> Vec<(f64, f64)> {
        self.theory.iter().map(|(t, v)| (self.at - t, 1e3 * v)).collect()
    }

    /// Age of the instant at which a beat was due, and how late it came, in ms.
    pub fn stems_ms(&self) -> Vec<(f64, f64)> {
        self.lateness().map(|(due, late)| (self.at - due, 1e3 * late)).collect()
    }

    /// Ages of the beats as they came.
    pub fn beats(&self) -> Vec<(f64, f64)> {
        let came = self.beats.iter().map(|(due, late)| self.at - due - late);
        let mut ages: Vec<_> = came.filter(|age| *age <= SPAN).collect();
        // After a pause many come in the same instant.
        ages.dedup_by(|a, b| (*a - *b).abs() < 2e-3);
        ages.into_iter().map(|age| (age, age)).collect()
    }

    /// Ages at which the program was computing, from and to.
    pub fn computing(&self) -> Vec<(f64, f64)> {
        let spans = self.computing.iter().map(|(from, to)| {
            let to = to.unwrap_or(self.at);
            (self.at - from, self.at - to.max(from + 1e-6))
        });
        spans.filter(|(_, to)| *to < SPAN).collect()
    }

    /// How many beats came while the latest whole computation ran; `None` before there was one.
    #[cfg(test)]
    pub fn beats_during_computing(&self) -> Option<usize> {
        let mut spans = self.computing.iter().filter_map(|(from, to)| Some((from, to?)));
        let (from, to) = spans.next_back()?;
        let came = self.beats.iter().map(|(due, late)| due + late);
        Some(came.filter(|at| from < *at && *at < to).count())
    }

    /// One sentence.
    pub fn finding(&self) -> String {
        let worst = number(self.worst_ms());
        if self.beats.iter().next().is_none() {
            return "A loop with a heartbeat: what happens while it computes?".into();
        }
        if self.worst_ms() < 1e3 * LATE {
            "The loop beats on time".into()
        } else if self.on_loop() {
            format!(
                "While the loop computes nothing else happens: beats come up to {worst} ms late"
            )
        } else {
            format!(
                "The computation runs elsewhere; the worst beat of the last 8 s came {worst} ms late"
            )
        }
    }
}

fn on_loop(settings: &Settings) -> bool {
    settings.get("place") == 0
}

/// What the loop writes down.
struct Book {
    settings: Settings,
    beats: History<f64>,
    due: Option<f64>,
    computing: History<Option<f64>>,
}

struct Shared {
    began: Instant,
    book: Mutex<Book>,
    over: AtomicBool,
}

impl Shared {
    fn book(&self) -> MutexGuard<'_, Book> {
        locked(&self.book)
    }

    fn now(&self) -> f64 {
        self.began.elapsed().as_secs_f64()
    }
}

/// The thread of the loop, and what it has written down.
pub(super) struct Heartbeat {
    shared: Arc<Shared>,
    stop: Stop,
    thread: Option<JoinHandle<()>>,
    theory: History<f64>,
}

impl Engine for Heartbeat {
    async fn start(settings: Settings) -> Result<Heartbeat> {
        let kernel = Kernel::calibrate();
        let runtime =
            Builder::new_current_thread().enable_time().build().context("starting the loop")?;
        let shared = Arc::new(Shared {
            began: Instant::now(),
            book: Mutex::new(Book {
                settings,
                beats: History::of(SPAN),
                due: None,
                computing: History::of(SPAN),
            }),
            over: AtomicBool::new(false),
        });
        let stop = Stop::default();
        let (theirs, until) = (shared.clone(), stop.clone());
        let thread = std::thread::Builder::new()
            .name("heartbeat".into())
            .spawn(move || {
                runtime.block_on(async {
                    tokio::spawn(beat(theirs.clone()));
                    tokio::select! {
                        () = until.wait() => {}
                        () = compute(theirs, kernel) => {}
                    }
                });
            })
            .context("starting the loop's thread")?;
        Ok(Heartbeat { shared, stop, thread: Some(thread), theory: History::of(SPAN) })
    }

    async fn set(&mut self, settings: Settings) -> Result<()> {
        self.shared.book().settings = settings;
        Ok(())
    }

    fn look(&mut self) -> super::View {
        let at = self.shared.now();
        let book = self.shared.book();
        let worst = if on_loop(&book.settings) { book.settings.seconds("busy") } else { TIMER };
        self.theory.push(at, worst);
        super::View::Heartbeat(View {
            settings: book.settings,
            at,
            beats: book.beats.clone(),
            pending: book.due,
            computing: book.computing.clone(),
            theory: self.theory.clone(),
        })
    }

    async fn end(self) {}
}

impl Drop for Heartbeat {
    /// A computation ends within a slice; dropping the loop's runtime waits for it.
    fn drop(&mut self) {
        self.shared.over.store(true, Relaxed);
        self.stop.set();
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// Beats for ever. The next beat is due one interval after the one before was due, not after it
/// came: those that were missed come late, none is left out.
async fn beat(shared: Arc<Shared>) {
    let mut due = shared.now();
    loop {
        due += shared.book().settings.seconds("beat");
        shared.book().due = Some(due);
        sleep_until((shared.began + Duration::from_secs_f64(due)).into()).await;
        let late = (shared.now() - due).max(0.0);
        shared.book().beats.push(due, late);
    }
}

/// Computes from time to time, where the settings say.
async fn compute(shared: Arc<Shared>, kernel: Kernel) {
    loop {
        let pause = shared.book().settings.seconds("pause");
        sleep(Duration::from_secs_f64(pause)).await;
        let settings = shared.book().settings;
        let busy = Duration::from_millis(settings.get("busy").into());
        if busy.is_zero() {
            continue;
        }
        let from = shared.now();
        shared.book().computing.push(from, None);
        let theirs = shared.clone();
        let work = move || {
            for slice in kernel.slices(busy, SLICE) {
                if theirs.over.load(Relaxed) {
                    return;
                }
                kernel.work(slice);
            }
        };
        if on_loop(&settings) {
            // The wrong way: nothing else happens on this thread until it returns.
            work();
        } else {
            // The right way: another thread computes, and this one goes on beating.
            let _ = spawn_blocking(work).await;
        }
        let to = shared.now();
        shared.book().computing.amend(Some(to));
    }
}

#[cfg(test)]
pub(super) fn samples() -> [View; 2] {
    let settings = Settings::new(crate::control::Demo::Heartbeat);
    let quick = settings.with("beat", "30").unwrap();
    let view = |settings: Settings, worst: f64| {
        let mut view = View::idle(&settings);
        for i in 0..400 {
            let due = f64::from(i) * 0.03;
            let late = (worst - (due * 0.9).fract()).max(0.001);
            view.beats.push(due, late);
            if i % 4 == 0 {
                view.theory.push(due, worst);
            }
            if i % 60 == 59 {
                view.computing.push(due, Some(due + 0.3));
            }
            view.at = due + 0.02;
        }
        view.pending = Some(view.at - 0.3);
        view
    };
    [view(quick, 0.9), view(quick.with("place", "1").unwrap(), 0.0)]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_beat_that_has_not_come_yet_counts() {
        let [blocked, _] = samples();
        assert!((blocked.late_now_ms() - 300.0).abs() < 1e-6);
        assert!(blocked.worst_ms() > 850.0);
        assert!(blocked.finding().contains("nothing else happens"));
        let ages = blocked.stems_ms();
        assert!(ages.iter().all(|(age, _)| (0.0..=SPAN).contains(age)));
    }
}
