//! What the arms have in common: the service, the pool, and what is written down.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use lab_kit::prelude::*;
use mock_server::{Route, Slots};
use rayon::{ThreadPool, ThreadPoolBuilder};
use tokio::sync::oneshot;

use super::{gauges, plan::Job};

/// The name of a span in which a worker waits for room in a queue.
pub(super) const BLOCKED: &str = "blocked";

#[derive(Clone, Copy)]
pub(super) enum Stage {
    Fetch,
    Transform,
    Store,
}
use Stage::{Fetch, Store, Transform};

impl Stage {
    pub(super) const NAMES: [&str; 3] = ["fetch", "transform", "store"];

    pub(super) fn lane(self, worker: usize) -> String {
        format!("{} {worker}", Stage::NAMES[self as usize])
    }
}

/// What every arm works with.
#[derive(Clone)]
pub(super) struct Tools {
    pub(super) r: Recorder,
    client: reqwest::Client,
    url: String,
    pool: Arc<ThreadPool>,
    /// What computes; nothing if another machine is to be thought of.
    kernel: Option<Kernel>,
    /// How long each item takes to transform.
    pub(super) costs: Arc<[Duration]>,
    pub(super) widths: [usize; 3],
    progress: Arc<Progress>,
}

/// Items that have begun to be fetched and have not been stored.
#[derive(Default)]
struct Progress {
    now: AtomicUsize,
    most: AtomicUsize,
}

impl Progress {
    fn begun(&self) {
        let now = self.now.fetch_add(1, Ordering::Relaxed) + 1;
        self.most.fetch_max(now, Ordering::Relaxed);
    }

    fn stored(&self) {
        self.now.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Tools {
    pub(super) fn items(&self) -> Vec<usize> {
        (0..self.costs.len()).collect()
    }

    pub(super) async fn work(&self, which: Stage, worker: usize, item: usize) -> Result<()> {
        let start = Instant::now();
        let request = match which {
            Transform => return self.transform(worker, vec![item]).await,
            Fetch => {
                self.progress.begun();
                self.client.get(format!("{}/fetch", self.url))
            }
            Store => self.client.post(format!("{}/store", self.url)).body(item.to_string()),
        };
        http::expected(request.send().await?).await?;
        let (lane, name) = (which.lane(worker), (item + 1).to_string());
        self.r.span(&lane, &name, start, Instant::now());
        if let Store = which {
            self.progress.stored();
        }
        Ok(())
    }

    /// One job for the pool. Awaiting it lets the event loop turn to others.
    pub(super) async fn transform(&self, worker: usize, items: Vec<usize>) -> Result<()> {
        let (t, (done, over)) = (self.clone(), oneshot::channel());
        self.pool.spawn(move || {
            for item in items {
                let start = Instant::now();
                match t.kernel {
                    Some(kernel) => kernel.work(t.costs[item]),
                    None => std::thread::sleep(t.costs[item]),
                }
                let (lane, name) = (Transform.lane(worker), (item + 1).to_string());
                t.r.span(&lane, &name, start, Instant::now());
            }
            // Nobody waits any more when the run has failed elsewhere.
            let _ = done.send(());
        });
        Ok(over.await?)
    }

    /// Writes down how many items the queue behind a stage holds.
    pub(super) fn depth(&self, behind: usize, items: usize) {
        if let 1 | 2 = behind {
            let name = ["fetched", "transformed"][behind - 1];
            self.r.trace(name, Instant::now(), items as f64);
        }
    }
}

/// Runs one arm on an event loop of one thread. Service, pool and connections are ready before the
/// clock starts.
pub(super) fn run<F>(r: &Recorder, job: &Job, kernel: Option<Kernel>, arm: F) -> Result<()>
where
    F: AsyncFnOnce(Tools) -> Result<Vec<usize>>,
{
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let [c, w, d] = job.widths;
    let pool = ThreadPoolBuilder::new().num_threads(w).build()?;
    let own = |slots| Slots::Own { slots, queue: None };
    let route = |path: &str, service: &ServiceTime, slots| Route {
        slots: own(slots),
        ..Route::new(path, service.clone())
    };
    let mut spec = Spec::new(1, ServiceTime::Constant(Duration::ZERO));
    spec.routes = vec![route("/fetch", &job.fetch, c), route("/store", &job.store, d)];
    runtime.block_on(async {
        let service = r.upstream(spec).await?;
        let client = http::client();
        r.connect(&client, &service, c + d).await?;
        let tools = Tools {
            r: r.clone(),
            client,
            url: service.url(),
            pool: Arc::new(pool),
            kernel,
            costs: job.transform.clone().into(),
            widths: job.widths,
            progress: Arc::default(),
        };
        let progress = tools.progress.clone();
        let start = Instant::now();
        let stored = arm(tools).await?;
        r.wall(start.elapsed());
        r.gauge(gauge::STARTED_S, (start - r.origin()).as_secs_f64());
        let different: BTreeSet<usize> = stored.iter().copied().collect();
        r.gauge(gauges::STORED, stored.len() as f64);
        let most = progress.most.load(Ordering::Relaxed);
        r.gauge(gauges::IN_PROGRESS_MAX, most as f64);
        r.gauge(gauges::STORED_DIFFERENT, different.len() as f64);
        if let Some(counters) = service.counters() {
            r.gauge(gauge::UPSTREAM_ARRIVED, counters.arrived as f64);
        }
        Ok(())
    })
}
