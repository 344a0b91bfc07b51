//! The wrong and the right ways as trials: what is around them.

use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};

use anyhow::anyhow;
use futures_util::{StreamExt, TryStreamExt, stream};
use lab_kit::{heap::Heap, prelude::*, session::Service};
use tokio::sync::oneshot;

use super::{
    Params,
    crawls::{client, pool},
    gauges, put_awaited, put_blocking, watch, with_bound, with_its_own, with_the_shared,
    without_bound,
};
use lab_parts::client::Request;

/// The addresses of so many products of a shop.
fn products(upstream: &Service, pages: usize) -> impl Iterator<Item = String> {
    let shop = upstream.url();
    (0..pages).map(move |n| format!("{shop}/p/{n}"))
}

/// How a page gets into a queue that is full.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Put {
    Blocks,
    Awaits,
}

/// Fetches put their pages into a queue whose reader is stuck for a while, as on a locked database.
pub(super) async fn stuck(r: &Recorder, p: &Params, put: Put) -> Result<()> {
    let pages = 2 * p.limit;
    let upstream = r.upstream(p.spec(p.calm(r.seed(), pages), p.limit)).await?;
    let (client, http) = client(p, p.limit, r.seed())?;
    r.connect(&http, &upstream, p.limit).await?;
    let urls = products(&upstream, pages);
    let start = Instant::now();
    let heart = tokio::spawn(watch::beat(r.clone(), p.beat.duration()));
    let reader = match put {
        Put::Blocks => put_blocking(p, &client, urls).await?,
        Put::Awaits => put_awaited(p, &client, urls).await?,
    };
    r.wall(start.elapsed());
    r.gauge(gauge::STARTED_S, (start - r.origin()).as_secs_f64());
    heart.abort();
    let read = reader.join().map_err(|_| anyhow!("the reader panicked"))?;
    r.gauge(gauges::PAGES, read as f64);
    Ok(())
}

/// Who has the connections.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Sessions {
    Each,
    Shared,
}

/// The same pages with a client for each request, or with one for all.
pub(super) async fn sessions(r: &Recorder, p: &Params, session: Sessions) -> Result<()> {
    let spec = Spec {
        service: ServiceTime::Constant(p.session_fetch.duration()),
        ..p.spec(p.calm(r.seed(), p.sessions), p.limit)
    };
    let upstream = r.upstream(spec).await?;
    let shared = &http::client();
    let urls = products(&upstream, p.sessions);
    let start = Instant::now();
    let bytes: usize = stream::iter(urls)
        .map(|url| async move {
            let page = match session {
                Sessions::Each => with_its_own(url).await?,
                Sessions::Shared => with_the_shared(shared, url).await?,
            };
            anyhow::Ok(page.len())
        })
        .buffer_unordered(p.limit)
        .try_fold(0, |sum, bytes| async move { Ok(sum + bytes) })
        .await?;
    r.wall(start.elapsed());
    r.gauge(gauges::PAGES, p.sessions as f64);
    r.gauge(gauges::BYTES, bytes as f64);
    Ok(())
}

/// Pages between fetches and a computation that is slower, with a bound or without one.
pub(super) async fn backlog(
    r: &Recorder,
    p: &Params,
    kernel: Kernel,
    pages: usize,
    bound: Option<usize>,
) -> Result<()> {
    let upstream = r.upstream(p.spec(p.calm(r.seed(), pages), p.limit)).await?;
    let heap = Heap::new();
    let counted = heap.enter();
    let pool = pool(1, heap)?;
    let (client, http) = client(p, p.limit, r.seed())?;
    r.connect(&http, &upstream, p.limit).await?;
    let urls = products(&upstream, pages);
    // What was fetched and not computed yet.
    let (waiting, most) = (AtomicUsize::new(0), AtomicUsize::new(0));
    let fetch = async |url: String| {
        let page = client.fetch(Request::get(url)).await?;
        most.fetch_max(waiting.fetch_add(1, SeqCst) + 1, SeqCst);
        anyhow::Ok(page)
    };
    let cost = p.compute.duration();
    let compute = async |page: Bytes| {
        let (done, result) = oneshot::channel();
        pool.spawn(move || {
            kernel.work(cost);
            let _ = done.send(page.len());
        });
        let _ = result.await;
        waiting.fetch_sub(1, SeqCst);
    };
    r.gauge(gauges::HEAP_IDLE_BYTES, heap.reset_peak() as f64);
    let start = Instant::now();
    match bound {
        None => without_bound(p, urls, fetch, compute).await?,
        Some(places) => with_bound(p, urls, fetch, compute, places).await?,
    }
    r.wall(start.elapsed());
    r.gauge(gauges::HEAP_PEAK_BYTES, heap.peak_bytes() as f64);
    r.gauge(gauges::BACKLOG_MAX, most.load(SeqCst) as f64);
    drop(counted);
    Ok(())
}
