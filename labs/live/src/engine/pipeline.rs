//! Three stages in a row, each with its workers, and a queue with a limit after each but the last.

use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering::Relaxed};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use anyhow::Result;
use lab_kit::theory;
use mock_server::{Sampler, Service};
use tokio::sync::Semaphore;
use tokio::task::{AbortHandle, JoinSet};
use tokio::time::sleep;

use super::Engine;
use crate::control::Settings;
use crate::locked;
use crate::meter::{Busy, History, Rates};
use crate::text::number;

/// Seconds that are shown.
pub const SPAN: f64 = 30.0;
/// The stages: name, and mean service time in ms.
pub const STAGES: [(&str, u64); COUNT] = [("fetch", 240), ("embed", 120), ("store", 40)];
const COUNT: usize = 3;
/// Shares of time and rates are those of this many seconds.
const WINDOW: f64 = 3.0;
/// Two stages whose shares differ by less are equally busy.
const EQUAL: f64 = 0.05;

/// A stage at one instant.
#[derive(Clone, Copy, Debug, Default)]
pub struct StageView {
    /// Its workers.
    pub width: usize,
    /// Those at work.
    pub busy: usize,
    /// Those that hold an item the next queue has no room for.
    pub stuck: usize,
    /// Share of the latest seconds that its workers were at work.
    pub busy_share: f64,
}

/// Items a second at one instant.
#[derive(Clone, Copy, Debug)]
pub struct Sample {
    /// Measured at the end of the line.
    pub rate: f64,
    /// Allowed by the stage with the lowest w/s.
    pub theory: f64,
}

/// The pipeline at one instant.
#[derive(Clone, Debug)]
pub struct View {
    settings: Settings,
    at: f64,
    /// First to last.
    pub stages: [StageView; COUNT],
    /// Filled and all places of the queues.
    pub queues: [(usize, usize); COUNT - 1],
    /// Items begun.
    pub entered: u64,
    /// Items finished.
    pub done: u64,
    /// Items between the two.
    pub inside: u64,
    through_s: Option<f64>,
    history: History<Sample>,
}

impl View {
    pub(super) fn idle(settings: &Settings) -> View {
        let depth = settings.get("depth") as usize;
        View {
            settings: *settings,
            at: 0.0,
            stages: widths(settings).map(|width| StageView { width, ..StageView::default() }),
            queues: [(0, depth); COUNT - 1],
            entered: 0,
            done: 0,
            inside: 0,
            through_s: None,
            history: History::of(SPAN),
        }
    }

    /// Items a second that theory allows.
    pub fn theory(&self) -> f64 {
        line(&self.settings).throughput()
    }

    /// Items a second at the end of the line.
    pub fn throughput(&self) -> f64 {
        self.history.iter().next_back().map_or(0.0, |(_, s)| s.rate)
    }

    /// Mean time from the first stage's start to the last one's end, of items finished lately.
    pub fn through_s(&self) -> Option<f64> {
        self.through_s
    }

    /// Age in seconds and rates, oldest first.
    pub fn lines(&self) -> impl Iterator<Item = (f64, Sample)> + '_ {
        self.history.iter().map(|(t, sample)| (self.at - t, sample))
    }

    /// The stage whose workers were busiest; `None` at the start, or when two are equally busy.
    pub fn bottleneck(&self) -> Option<usize> {
        let mut order: Vec<usize> = (0..COUNT).collect();
        order.sort_by(|a, b| {
            let share = |i: usize| self.stages[i].busy_share;
            share(*b).total_cmp(&share(*a))
        });
        let lead = self.stages[order[0]].busy_share - self.stages[order[1]].busy_share;
        (self.done > 0 && lead > EQUAL).then_some(order[0])
    }

    /// One sentence.
    pub fn finding(&self) -> String {
        if self.entered == 0 {
            return "Three stages in a row: which of them sets the pace?".into();
        }
        match self.bottleneck() {
            Some(i) => {
                let (name, ms) = STAGES[i];
                let width = self.stages[i].width;
                let workers = match width {
                    1 => "1 worker at".to_owned(),
                    _ => format!("{width} workers at"),
                };
                let allow = if width == 1 { "allows" } else { "allow" };
                format!(
                    "The pace is set by {name}: {workers} {ms} ms an item {allow} {} a second",
                    number(1e3 * width as f64 / ms as f64)
                )
            }
            None if self.done == 0 => "The line fills".into(),
            None => "No stage stands out: the line is in balance".into(),
        }
    }
}

fn widths(settings: &Settings) -> [usize; COUNT] {
    STAGES.map(|(name, _)| settings.get(name) as usize)
}

fn line(settings: &Settings) -> theory::Pipeline {
    let mut stages = [(0.0, 0); COUNT];
    for (stage, (width, (_, ms))) in stages.iter_mut().zip(widths(settings).into_iter().zip(STAGES))
    {
        *stage = (ms as f64 / 1e3, width);
    }
    theory::Pipeline::new(&stages)
}

/// An item carries the instant at which it was begun.
type Item = Instant;

/// A queue whose number of places can change while it is in use.
struct Queue {
    sender: async_channel::Sender<Item>,
    receiver: async_channel::Receiver<Item>,
    free: Semaphore,
    places: AtomicUsize,
    /// Places that are gone as soon as an item leaves them.
    owed: AtomicUsize,
}

impl Queue {
    fn new(places: usize) -> Queue {
        let (sender, receiver) = async_channel::unbounded();
        Queue {
            sender,
            receiver,
            free: Semaphore::new(places),
            places: AtomicUsize::new(places),
            owed: AtomicUsize::new(0),
        }
    }

    /// Waits for a place; tells `stuck` if it has to.
    async fn put(&self, item: Item, stuck: impl Fn(bool)) {
        let place = match self.free.try_acquire() {
            Ok(place) => place,
            Err(_) => {
                stuck(true);
                let place = self.free.acquire().await;
                stuck(false);
                match place {
                    Ok(place) => place,
                    Err(_) => return,
                }
            }
        };
        place.forget();
        // The receiver lives as long as the sender.
        let _ = self.sender.try_send(item);
    }

    async fn take(&self) -> Option<Item> {
        let item = self.receiver.recv().await.ok()?;
        let paid = self.owed.fetch_update(Relaxed, Relaxed, |owed| owed.checked_sub(1));
        if paid.is_err() {
            self.free.add_permits(1);
        }
        Some(item)
    }

    /// Other places from now on. Items in places that are no more stay until they are taken.
    fn resize(&self, places: usize) {
        let before = self.places.swap(places, Relaxed);
        if places > before {
            let mut more = places - before;
            let _ = self.owed.fetch_update(Relaxed, Relaxed, |owed| {
                let paid = owed.min(places - before);
                more = places - before - paid;
                Some(owed - paid)
            });
            self.free.add_permits(more);
        } else {
            let gone = self.free.forget_permits(before - places);
            self.owed.fetch_add(before - places - gone, Relaxed);
        }
    }
}

/// What happens at a stage.
struct Stage {
    meters: Mutex<(Busy, Busy)>,
    times: Mutex<Sampler>,
    width: AtomicUsize,
}

/// What the workers share.
struct Shared {
    began: Instant,
    stages: [Stage; COUNT],
    queues: [Queue; COUNT - 1],
    entered: AtomicU64,
    done: AtomicU64,
    /// Microseconds that all finished items took.
    through_us: AtomicU64,
}

impl Shared {
    fn now(&self) -> f64 {
        self.began.elapsed().as_secs_f64()
    }

    async fn work(&self, stage: usize) {
        let stage = &self.stages[stage];
        let time = locked(&stage.times).next_time();
        locked(&stage.meters).0.begin(self.now());
        sleep(time).await;
        locked(&stage.meters).0.end(self.now());
    }
}

/// A worker: takes an item, works, passes it on; leaves when there are enough without it.
async fn worker(shared: Arc<Shared>, i: usize, number: usize) {
    let stage = &shared.stages[i];
    while number < stage.width.load(Relaxed) {
        let item = if i == 0 {
            shared.entered.fetch_add(1, Relaxed);
            Instant::now()
        } else {
            match shared.queues[i - 1].take().await {
                Some(item) => item,
                None => return,
            }
        };
        shared.work(i).await;
        if let Some(queue) = shared.queues.get(i) {
            let stuck = |is: bool| {
                let stuck = &mut locked(&stage.meters).1;
                let now = shared.now();
                if is { stuck.begin(now) } else { stuck.end(now) }
            };
            queue.put(item, stuck).await;
        } else {
            let took = item.elapsed().as_micros() as u64;
            shared.through_us.fetch_add(took, Relaxed);
            shared.done.fetch_add(1, Relaxed);
        }
    }
}

/// The line at work.
pub(super) struct Pipeline {
    settings: Settings,
    shared: Arc<Shared>,
    tasks: JoinSet<()>,
    workers: [Vec<AbortHandle>; COUNT],
    rates: Rates<5>,
    history: History<Sample>,
}

impl Engine for Pipeline {
    async fn start(settings: Settings) -> Result<Pipeline> {
        let depth = settings.get("depth") as usize;
        let widths = widths(&settings);
        let stage = |i: usize| Stage {
            meters: Mutex::default(),
            times: Mutex::new(sampler(&settings, i)),
            width: AtomicUsize::new(widths[i]),
        };
        let shared = Shared {
            began: Instant::now(),
            stages: std::array::from_fn(stage),
            queues: std::array::from_fn(|_| Queue::new(depth)),
            entered: AtomicU64::new(0),
            done: AtomicU64::new(0),
            through_us: AtomicU64::new(0),
        };
        let mut pipeline = Pipeline {
            settings,
            shared: Arc::new(shared),
            tasks: JoinSet::new(),
            workers: Default::default(),
            rates: Rates::over(WINDOW),
            history: History::of(SPAN),
        };
        pipeline.fit_workers();
        Ok(pipeline)
    }

    async fn set(&mut self, settings: Settings) -> Result<()> {
        let other_times = settings.get("times") != self.settings.get("times");
        self.settings = settings;
        for (i, stage) in self.shared.stages.iter().enumerate() {
            stage.width.store(widths(&settings)[i], Relaxed);
            if other_times {
                *locked(&stage.times) = sampler(&settings, i);
            }
        }
        for queue in &self.shared.queues {
            queue.resize(settings.get("depth") as usize);
        }
        self.fit_workers();
        Ok(())
    }

    fn look(&mut self) -> super::View {
        let shared = &self.shared;
        let at = shared.now();
        let meters = std::array::from_fn::<_, COUNT, _>(|i| *locked(&shared.stages[i].meters));
        let (entered, done) = (shared.entered.load(Relaxed), shared.done.load(Relaxed));
        let busy = meters.map(|(busy, _)| busy.total(at));
        let through = shared.through_us.load(Relaxed) as f64 / 1e6;
        let rates = self.rates.at(at, [busy[0], busy[1], busy[2], done as f64, through]);
        let [.., rate, through] = rates;
        let widths = widths(&self.settings);
        let stages = std::array::from_fn(|i| StageView {
            width: widths[i],
            busy: meters[i].0.now,
            stuck: meters[i].1.now,
            busy_share: (rates[i] / widths[i] as f64).min(1.0),
        });
        let theory = line(&self.settings).throughput();
        self.history.push(at, Sample { rate, theory });
        super::View::Pipeline(View {
            settings: self.settings,
            at,
            stages,
            queues: std::array::from_fn(|i| {
                let queue = &shared.queues[i];
                (queue.receiver.len(), queue.places.load(Relaxed))
            }),
            entered,
            done,
            inside: entered - done,
            through_s: (rate > 0.0).then(|| through / rate),
            history: self.history.clone(),
        })
    }

    async fn end(mut self) {
        self.tasks.shutdown().await;
    }
}

impl Pipeline {
    /// A worker for each number below the width; those beyond leave by themselves.
    fn fit_workers(&mut self) {
        while self.tasks.try_join_next().is_some() {}
        for (i, workers) in self.workers.iter_mut().enumerate() {
            for number in 0..widths(&self.settings)[i] {
                if workers.get(number).is_some_and(|worker| !worker.is_finished()) {
                    continue;
                }
                let handle = self.tasks.spawn(worker(self.shared.clone(), i, number));
                match workers.get_mut(number) {
                    Some(gone) => *gone = handle,
                    None => workers.push(handle),
                }
            }
        }
    }
}

fn sampler(settings: &Settings, i: usize) -> Sampler {
    let mean = Duration::from_millis(STAGES[i].1);
    let service = match settings.get("times") {
        0 => Service::Constant(mean),
        _ => Service::Exponential { mean },
    };
    service.sampler(1 + i as u64)
}

#[cfg(test)]
pub(super) fn samples() -> [View; 2] {
    let settings = Settings::new(crate::control::Demo::Pipeline);
    let view = |settings: Settings, rate: f64, shares: [f64; COUNT]| {
        let mut view = View::idle(&settings);
        for i in 0..=300 {
            view.at = f64::from(i) * 0.11;
            let theory = 8.0 + f64::from(i / 9);
            let rate = rate + (view.at * 1.3).sin();
            view.history.push(view.at, Sample { rate, theory });
        }
        for (stage, share) in view.stages.iter_mut().zip(shares) {
            stage.busy_share = share;
            stage.busy = (share * stage.width as f64) as usize;
            stage.stuck = stage.width - stage.busy;
        }
        view.queues[0].0 = 8;
        (view.entered, view.done, view.inside) = (120, 100, 20);
        view
    };
    let wide = settings.with("embed", "12").unwrap();
    [view(settings, 8.1, [0.66, 0.99, 0.33]), view(wide, 12.0, [0.99, 0.2, 0.97])]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::control::Demo;
    use proptest::prelude::*;

    #[test]
    fn the_busiest_stage_is_the_bottleneck_unless_two_are() {
        let [embed, balanced] = samples();
        assert_eq!((embed.bottleneck(), balanced.bottleneck()), (Some(1), None));
        assert_eq!(
            embed.finding(),
            "The pace is set by embed: 1 worker at 120 ms an item allows 8.3 a second"
        );
        let idle = View::idle(&Settings::new(Demo::Pipeline));
        assert_eq!(idle.bottleneck(), None);
        assert!((idle.theory() - 1.0 / 0.12).abs() < 1e-9);
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]
        #[test]
        fn a_queue_has_as_many_places_as_it_was_last_told(
            steps in prop::collection::vec((0u8..3, 1usize..9), 1..60),
        ) {
            let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
            runtime.block_on(async {
                let queue = Queue::new(4);
                for (step, n) in steps {
                    let filled = queue.receiver.len();
                    match step {
                        0 => queue.resize(n),
                        1 if queue.free.available_permits() > 0 => {
                            queue.put(Instant::now(), |_| panic!("there is room")).await;
                        }
                        2 if filled > 0 => assert!(queue.take().await.is_some()),
                        _ => {}
                    }
                    let filled = queue.receiver.len();
                    let places = queue.places.load(Relaxed);
                    assert_eq!(queue.free.available_permits(), places.saturating_sub(filled));
                    assert_eq!(queue.owed.load(Relaxed), filled.saturating_sub(places));
                }
            });
        }
    }
}
