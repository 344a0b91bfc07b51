//! Crawls as trials: of a whole shop, of a list with a limit, and of one that is killed.

use std::sync::Arc;

use anyhow::anyhow;
use lab_kit::{heap::Heap, prelude::*};
use rayon::{ThreadPool, ThreadPoolBuilder};

use super::{Params, gauges, kill, watch};
use lab_crawl::{
    Task, TaskQueue,
    embedded::{Embedded, Options},
    worker::{self, Burden, Crawler, Meter, Settings},
};
use lab_parts::client::{Client, FetchError};

/// A crawler of the shop at an address, with its manners and what it has learnt.
pub(super) async fn crawler(
    p: &Params,
    client: Client,
    pool: ThreadPool,
    first: &Task,
    limit: usize,
) -> Result<Crawler> {
    let rules = worker::rules(&client, first).await.map_err(no_site)?;
    let model = worker::learn(&client, first, p.samples).await;
    Ok(Crawler {
        client,
        pool: Arc::new(pool),
        rules: Arc::new(rules),
        model: model.map_err(no_site)?.map(Arc::new),
        settings: Settings::for_limit(limit),
        meter: Arc::new(Meter::default()),
        burden: None,
    })
}

fn no_site(error: FetchError) -> anyhow::Error {
    anyhow!("the site cannot be crawled: {error}")
}

/// One pool of connections for everybody, and the limit for the host.
pub(super) fn client(p: &Params, limit: usize, seed: u64) -> Result<(Client, reqwest::Client)> {
    let http = http::builder().build()?;
    let patience = p.fetch.duration().mul_f64(10.0 * p.slow_factor) + Duration::from_secs(5);
    let client = Client::builder()
        .pool(http.clone())
        .concurrency(limit)
        .attempt_timeout(patience)
        .deadline(patience + Duration::from_secs(60 + 6 * p.retry_after))
        .seed(seed);
    Ok((client.build()?, http))
}

pub(super) fn pool(workers: usize, heap: Heap) -> Result<ThreadPool> {
    let pool = ThreadPoolBuilder::new()
        .num_threads(workers)
        .thread_name(|i| format!("worker {}", i + 1))
        .start_handler(move |_| heap.join());
    Ok(pool.build()?)
}

/// A whole shop, from its first page to the books: one trial.
pub(super) async fn crawled(r: &Recorder, p: &Params, products: usize) -> Result<()> {
    let site = p.site(r.seed(), products);
    let upstream = Arc::new(r.upstream(p.spec(site, p.limit)).await?);
    let state = r.folder()?;
    // From here on everything is the crawler's, on whichever of its threads.
    let heap = Heap::new();
    let counted = heap.enter();
    let frontier = Embedded::open_with(state.path(), Options::default(), move || heap.join())?;
    let frontier = Arc::new(frontier);
    let (client, http) = client(p, p.limit, r.seed())?;
    r.connect(&http, &upstream, p.limit).await?;
    let first = worker::first_task(&upstream.url()).map_err(|e| anyhow!(e))?;
    let crawler = crawler(p, client, pool(p.workers, heap)?, &first, p.limit).await?;
    let before = crawler.client.stats();
    r.gauge(gauges::HEAP_IDLE_BYTES, heap.reset_peak() as f64);

    let start = Instant::now();
    frontier.offer(&[first]).await?;
    let watch = watch::Watch::new(r, &upstream, &frontier, &crawler, heap, p, &site);
    let watching = tokio::spawn(watch.clone().run());
    crawler.work(&*frontier, &*frontier).await?;
    let wall = start.elapsed();
    watching.abort();
    let _ = watching.await;

    r.wall(wall);
    r.gauge(gauges::HEAP_PEAK_BYTES, heap.peak_bytes() as f64);
    watch.gauges(r, wall, &before);
    drop((watch, crawler, frontier, counted));
    if let Some(counters) = upstream.counters() {
        r.gauge(gauge::UPSTREAM_ARRIVED, counters.arrived as f64);
        r.gauge(gauges::UPSTREAM_FAULTED, counters.faulted as f64);
    }
    watch::books(r, &site, state.path())
}

/// Pages of a list, which cost a thread more than reading them, with so many requests at a time.
pub(super) async fn limited(r: &Recorder, p: &Params, kernel: Kernel, limit: usize) -> Result<()> {
    let upstream = r.upstream(p.spec(p.calm(r.seed(), p.listed), limit)).await?;
    let state = r.folder()?;
    let frontier = Embedded::open(state.path(), Options::default())?;
    let (client, http) = client(p, limit, r.seed())?;
    r.connect(&http, &upstream, limit).await?;
    let cost = p.burden.duration();
    let burden: Burden = Arc::new(move || kernel.work(cost));
    let crawler = Crawler {
        client,
        pool: Arc::new(pool(1, Heap::new())?),
        rules: Arc::default(),
        model: None,
        settings: Settings { follow: false, ..Settings::for_limit(limit) },
        meter: Arc::default(),
        burden: Some(burden),
    };
    let list: Vec<Task> = (0..p.listed)
        .map(|n| Task { url: format!("{}/p/{n}", upstream.url()), depth: 0 })
        .collect();
    frontier.offer(&list).await?;
    let start = Instant::now();
    crawler.work(&frontier, &frontier).await?;
    let wall = start.elapsed();
    r.wall(wall);
    let waited = crawler.client.stats().attempt_time.as_secs_f64();
    let computed = crawler.meter.computing().as_secs_f64();
    r.gauge(gauges::PAGES, crawler.meter.stored() as f64);
    r.gauge(gauges::HOST_BUSY, waited / (limit as f64 * wall.as_secs_f64()));
    r.gauge(gauges::THREADS_BUSY, computed / wall.as_secs_f64());
    r.gauge(gauges::COMPUTING_S, computed / p.listed as f64);
    Ok(())
}

/// A process of its own is killed and started again until the crawl is over.
pub(super) async fn killed(r: &Recorder, p: &Params) -> Result<()> {
    let site = p.site(r.seed(), p.killed_products);
    let upstream = r.upstream(p.spec(site, p.limit)).await?;
    let state = r.folder()?;
    kill::until_done(r, p, &upstream.url(), state.path(), site.census().pages)?;
    if let Some(counters) = upstream.counters() {
        r.gauge(gauge::UPSTREAM_ARRIVED, counters.arrived as f64);
        r.gauge(gauges::UPSTREAM_FAULTED, counters.faulted as f64);
    }
    watch::books(r, &site, state.path())
}
