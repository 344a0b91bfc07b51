//! Who looks at a crawl while it runs, and counts it when it is over.

use std::{
    path::Path,
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use lab_kit::{heap::Heap, prelude::*, session::Service};
use mock_server::Site;
use tokio::time::sleep;

use super::{Params, gauges, model};
use lab_crawl::{
    embedded::{Books, Embedded},
    worker::{Crawler, Meter},
};
use lab_parts::client::{Client, Stats};

/// Time between two looks.
const LOOK: Duration = Duration::from_millis(2);
/// The middle of a crawl, in shares of its pages: before it there is not enough to fetch, and after it what
/// was asked to come back holds it up.
pub(super) const MIDDLE: [f64; 2] = [0.2, 0.8];
/// Looks that are kept for a chart.
const KEPT: f64 = 200.0;

/// Looks at a crawl from beside it.
#[derive(Clone)]
pub(super) struct Watch {
    r: Recorder,
    host: Arc<Service>,
    frontier: Arc<Embedded>,
    client: Client,
    meter: Arc<Meter>,
    heap: Heap,
    workers: usize,
    limit: f64,
    /// Pages there are.
    pages: f64,
    /// Between two looks that are kept.
    keep: Duration,
    seen: Arc<Mutex<Seen>>,
}

/// Sums over all looks.
#[derive(Debug, Default)]
struct Seen {
    looks: f64,
    in_flight: f64,
    under_way: f64,
    under_way_max: f64,
    heap: f64,
    /// Of those at which pages waited in the frontier.
    wanted: f64,
    used: f64,
    /// The most requests that the host had at a time, by its own books; none of one that runs elsewhere.
    host_most: Option<u64>,
    /// When a fifth of the pages had been stored, and when four fifths: with how many there were then.
    middle: [Option<(Instant, f64)>; 2],
    /// The heap at each of those.
    heaps: Vec<f64>,
}

impl Watch {
    pub fn new(
        r: &Recorder,
        host: &Arc<Service>,
        frontier: &Arc<Embedded>,
        crawler: &Crawler,
        heap: Heap,
        p: &Params,
        site: &Site,
    ) -> Watch {
        let wall = model::wall(p, site.products as usize);
        Watch {
            r: r.clone(),
            host: host.clone(),
            frontier: frontier.clone(),
            client: crawler.client.clone(),
            meter: crawler.meter.clone(),
            heap,
            workers: crawler.pool.current_num_threads(),
            limit: p.limit as f64,
            pages: site.census().pages as f64,
            keep: Duration::from_secs_f64((wall / KEPT).max(0.0)),
            seen: Arc::default(),
        }
    }

    pub async fn run(self) {
        let mut kept: Option<Instant> = None;
        loop {
            let now = Instant::now();
            let in_flight = self.client.stats().in_flight as f64;
            let under_way = self.meter.under_way() as f64;
            let tasks = self.frontier.now();
            let stored = self.meter.stored() as f64;
            // Answers that are handed over are gone, whatever the host's own time says of their slots.
            let at_host = self.host.counters().map(|c| {
                let answered = c.served + c.abandoned;
                c.admitted.saturating_sub(answered)
            });
            {
                let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
                seen.looks += 1.0;
                seen.in_flight += in_flight;
                seen.under_way += under_way;
                seen.under_way_max = seen.under_way_max.max(under_way);
                seen.host_most = seen.host_most.max(at_host);
                for (share, at) in MIDDLE.into_iter().zip(&mut seen.middle) {
                    if at.is_none() && stored >= share * self.pages {
                        *at = Some((now, stored));
                    }
                }
                let heap = self.heap.live_bytes() as f64;
                seen.heap += heap;
                if tasks.waiting > 0 {
                    seen.wanted += 1.0;
                    seen.used += in_flight / self.limit;
                    seen.heaps.push(heap);
                }
            }
            if kept.is_none_or(|at| now - at >= self.keep) {
                kept = Some(now);
                self.r.trace("stored", now, stored);
                self.r.trace("waiting", now, tasks.waiting as f64);
                self.r.trace("in_flight", now, in_flight);
                self.r.trace("under_way", now, under_way);
                self.r.trace("heap", now, self.heap.live_bytes() as f64);
            }
            sleep(LOOK).await;
        }
    }

    /// What was seen and measured, over the whole crawl.
    pub fn gauges(&self, r: &Recorder, wall: Duration, before: &Stats) {
        let seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        // By then the buffers of the connections have grown.
        let late = &seen.heaps[2 * seen.heaps.len() / 3..];
        let (stats, wall) = (self.client.stats(), wall.as_secs_f64());
        let attempts = (stats.attempts - before.attempts) as f64;
        let attempt_s = (stats.attempt_time - before.attempt_time).as_secs_f64();
        let again = |status| {
            let count = |stats: &Stats| stats.statuses.get(&status).copied().unwrap_or(0);
            (count(&stats) - count(before)) as f64
        };
        if let [Some((from, first)), Some((to, last))] = seen.middle {
            r.gauge(gauges::MIDDLE_PER_S, (last - first) / (to - from).as_secs_f64());
        }
        if let Some(most) = seen.host_most {
            r.gauge(gauges::HOST_MOST, most as f64);
        }
        for (name, value) in [
            (gauge::STARTED_S, (Instant::now() - r.origin()).as_secs_f64() - wall),
            (gauges::ATTEMPTS, attempts),
            (gauges::ATTEMPT_S, attempt_s / attempts),
            (gauges::BUSY_ANSWERS, again(429)),
            (gauges::HOST_BUSY, attempt_s / (self.limit * wall)),
            (gauges::HOST_BUSY_WANTED, seen.used / seen.wanted),
            (gauges::WANTED_SHARE, seen.wanted / seen.looks),
            (gauge::IN_FLIGHT_MEAN, seen.in_flight / seen.looks),
            (gauges::UNDER_WAY_MEAN, seen.under_way / seen.looks),
            (gauges::UNDER_WAY_MAX, seen.under_way_max),
            (gauges::HEAP_MEAN_BYTES, seen.heap / seen.looks),
            (gauges::LOOKS_WANTED, seen.wanted),
            (gauges::HEAP_WANTED_BYTES, late.iter().sum::<f64>() / late.len() as f64),
            (gauges::HEAP_LEFT_BYTES, self.heap.live_bytes() as f64),
            (gauges::FETCHED_BYTES, self.meter.fetched_bytes() as f64),
            (
                gauges::THREADS_BUSY,
                self.meter.computing().as_secs_f64() / (self.workers as f64 * wall),
            ),
            (
                gauges::COMPUTING_S,
                self.meter.computing().as_secs_f64() / self.meter.stored().max(1) as f64,
            ),
            (gauges::WRITER_BUSY, self.frontier.busy().as_secs_f64() / wall),
            (
                gauges::WRITING_S,
                self.frontier.busy().as_secs_f64() / self.meter.stored().max(1) as f64,
            ),
        ] {
            r.gauge(name, value);
        }
    }
}

/// Everybody else on the event loop, as a task that only beats.
pub(super) async fn beat(r: Recorder, every: Duration) {
    let (mut last, mut longest) = (Instant::now(), 0.0_f64);
    loop {
        sleep(every).await;
        let now = Instant::now();
        longest = longest.max((now - last).as_secs_f64());
        r.trace("beats", now, longest);
        r.gauge(gauges::LONGEST_GAP_S, longest);
        last = now;
    }
}

/// Says how far a crawl is, again and again.
pub(super) async fn say(frontier: &Embedded, crawler: &Crawler, every: Duration) {
    let mut before = 0;
    loop {
        sleep(every).await;
        let stored = crawler.meter.stored();
        tell(frontier, crawler, (stored - before) as f64 / every.as_secs_f64());
        before = stored;
    }
}

/// Says how far a crawl has come, and how fast it was in all.
pub(super) fn line(frontier: &Embedded, crawler: &Crawler, wall: Duration) {
    let rate = crawler.meter.stored() as f64 / wall.as_secs_f64().max(1e-9);
    tell(frontier, crawler, rate);
}

fn tell(frontier: &Embedded, crawler: &Crawler, rate: f64) {
    let tasks = frontier.now();
    println!(
        "{} done, {rate:.0} pages/s; {} wait in the frontier, {} under way ({} being fetched); {} dead letters",
        tasks.done,
        tasks.waiting,
        tasks.in_flight,
        crawler.client.stats().in_flight,
        tasks.dead
    );
}

/// What lies on the disk, beside what there is to find: counted by nobody who took part.
pub(super) fn books(r: &Recorder, site: &Site, state: &Path) -> Result<()> {
    let (books, census) = (Books::read(state)?, site.census());
    let (mut right, mut classified) = (0u64, 0u64);
    Books::pages(state, |page| {
        // "http://127.0.0.1:4711/p/17": the path begins at the third slash.
        let path = page.url.splitn(4, '/').nth(3).unwrap_or_default();
        if let Some(product) = site.product_at(&format!("/{path}")) {
            classified += 1;
            right += u64::from(site.category(product) == page.category);
        }
    })?;
    for (name, value) in [
        (gauges::CENSUS_PAGES, census.pages),
        (gauges::CENSUS_PRODUCTS, census.products),
        (gauges::CENSUS_CENTS, census.price_cents),
        (gauges::CENSUS_BROKEN, census.broken),
        (gauges::PAGES, books.pages),
        (gauges::PRODUCTS, books.products),
        (gauges::CENTS, books.price_cents),
        (gauges::DEAD, books.tasks.dead),
        (gauges::LOST, books.lost),
        (gauges::STRAYS, books.strays),
        (gauges::CLASSIFIED, classified),
        (gauges::RIGHT, right),
    ] {
        r.gauge(name, value as f64);
    }
    let urls = (census.pages + census.broken) as f64;
    r.gauge(gauges::CENSUS_FACTOR, census.factors / urls);
    Ok(())
}
