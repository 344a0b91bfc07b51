//! # The web scraper
//!
//! ## The question
//!
//! How fast can a crawler be without being rude, losing a page or growing?
//!
//! ## What to predict
//!
//! A shop allows {limit} requests at a time and answers each within {fetch}. How many pages an hour
//! is that at most? Shops of {products} products are crawled: by how much does the crawler's memory
//! grow? Another crawl is killed {kills} times on its way: how many pages are missing at the end,
//! and how many are there twice?
//!
//! ## The experiment
//!
//! The shop is generated: products, categories, links, broken links, slow pages, pages that ask to
//! come back later (429), and a cart without end that robots.txt asks to leave alone. From its seed
//! follows what a complete crawl finds, to the cent of the prices, so that "every page within reach is
//! stored exactly once" can be counted.
//!
//! - **Crawls** of shops of several sizes: the *frontier* (the addresses seen, and which of them
//!   are still to be fetched) and the pages in SQLite, the client of lab05 (`labs/parts`), HTML read and products
//!   classified on rayon threads behind the bridge of lab07, pages stored together.
//! - **The limit for the host**, from few to many, with pages that take a thread a while to compute:
//!   which stage holds the crawl back?
//! - **Killed**: the crawl as a process of its own, ended with SIGKILL, started again.
//! - **A full queue** whose reader is stuck: the fetches put their pages into it with a call that
//!   blocks, or with one that is awaited.
//! - **A client for each request**, or one for all.
//! - **A queue without a bound** before a computation that is slower than the fetches, and one with.
//!
//! The classifier is a naive Bayes model, learnt at the start from pages on which the shop tells
//! the category. On those that are crawled it does not, so the model is tested only on pages that
//! it has not learnt from.
//!
//! ## What the figures show
//!
//! Politeness is the bottleneck, as it should be: limit ÷ time of an answer is all that can be had from
//! a host, and the crawler uses nearly all of it. Everything else has time to spare. More threads, a
//! faster parser, a bigger machine would give nothing; only another host would, with a limit of its
//! own.
//!
//! When computing a page takes longer, throughput follows the limit only up to what the threads can
//! compute. It is lab09's law, λ = min(width ÷ time) over the stages, with the politeness as one of
//! them.
//!
//! The crawler's memory does not know how large the shop is. What it has in hand is bounded, and
//! what it has seen is in the table of the frontier, on the disk. It grows for a while
//! nevertheless: the buffers of each connection do, for its first pages (lab06), and then no more.
//! An unbounded queue holds whatever the fetches are ahead of the computation, which is a share of
//! all pages.
//!
//! Killed between storing a page and reporting it finished, the crawler fetches that page again and
//! stores it again; the address is the key, so the second time changes nothing. *At least once* with
//! an effect that can be repeated is *exactly once*.
//!
//! ## A common belief
//!
//! *A bound on the queue is enough.* Not if pages are put into it with a call that blocks until
//! there is room: the event loop then stands still until the reader is back, with every fetch,
//! timeout and retry. A bound is to be awaited. *A client for each request is simpler and as good.*
//! Each has to connect first; one for all keeps its connections. *A queue without a bound never
//! holds anybody up.* One that fills faster than it empties is a memory leak that ends with the
//! input.
//!
//! ## In production
//!
//! Be polite first: read robots.txt, say who you are, keep to a limit for each host, do as
//! `Retry-After` says, and do not ask three times for a page that is not there. Sites block those who
//! do not, and they are right. Several hosts have a limit each, and the machine's capacity is shared
//! among them.
//!
//! A page has many addresses: with a fragment, with `..`, with the parameters of a campaign.
//! Normalise before you compare, or the frontier never empties; bound the depth and the pages of a
//! host, or a calendar will lead you to the year 9999. Keep what you have seen outside the process.
//! Where a table is too slow, keep a digest of each address. Say it has 8 bytes: a hundred million
//! of them take 800 MB, and one such crawl in some 3,700 loses a page.
//!
//! Store first and report second, in batches, with a key. Dead letters need a reason, and somebody who
//! reads them. A classifier's accuracy is what it does on pages it has not learnt from, and no model
//! can be better than the pages are distinct: here that limit is known.
//!
//! With more than one worker the frontier moves to a server, and nothing else changes: `labs worker
//! --help`.
//!
//! ## Check yourself
//!
//! - The crawl gets no page for as long as `Retry-After` says, and the limit is unused. How many
//!   429s does that take? (`--busy 0.2`, and where do those wait that were asked to come back?)
//! - `--fetch 4ms`: which stage is the bottleneck now, and what does the utilisation of the host say?
//! - Finishing first and storing second would lose pages. Exactly which?
//! - Why is the frontier asked for what is new in the same transaction that finishes the page?
//! - `--samples 8`: what becomes of the accuracy, and of the best one possible?

use std::{
    sync::mpsc as blocking,
    thread::{self, JoinHandle},
};

use anyhow::Context;
use futures_util::{StreamExt, TryStreamExt, stream};
use lab_kit::prelude::*;
use lab_parts::client::{Client, Request};
use tokio::sync::mpsc;

mod alone;
mod crawls;
mod findings;
mod gauges;
mod kill;
mod learnt;
mod model;
mod plan;
mod premise;
mod watch;
mod ways;

pub use plan::{Params, WebScraper};

// wrong(1): A call that blocks until there is room
/// The wrong way: a call that waits for room, and the thread of the event loop with it.
async fn put_blocking(
    p: &Params,
    client: &Client,
    urls: impl Iterator<Item = String>,
) -> Result<Reader> {
    let (queue, pages) = blocking::sync_channel(p.places);
    let reader = read_stuck(p, move || pages.recv().ok());
    each(p, urls, async |url| {
        let page = client.fetch(Request::get(url)).await?;
        Ok(queue.send(page)?)
    })
    .await?;
    Ok(reader)
}

// right(1): Room is awaited
// so(1): Both queues are bounded. On an event loop the blocking call stops the thread on which
//     all fetches live, until the reader takes a page.
/// The right way: whoever finds no room waits, and the event loop goes on.
async fn put_awaited(
    p: &Params,
    client: &Client,
    urls: impl Iterator<Item = String>,
) -> Result<Reader> {
    let (queue, mut pages) = mpsc::channel(p.places);
    let reader = read_stuck(p, move || pages.blocking_recv());
    each(p, urls, async |url| {
        let page = client.fetch(Request::get(url)).await?;
        Ok(queue.send(page).await?)
    })
    .await?;
    Ok(reader)
}

// wrong(2): A client for each request
/// The wrong way: a new client has a new pool, and the pool no connection.
async fn with_its_own(url: String) -> Result<Bytes, http::Error> {
    let client = http::client();
    http::get(&client, url).await
}

// right(2): One client for all
// so(2): A client is a pool of connections. A new one has none.
/// The right way: whoever comes next finds the connection of whoever was there before.
async fn with_the_shared(shared: &reqwest::Client, url: String) -> Result<Bytes, http::Error> {
    let client = shared.clone();
    http::get(&client, url).await
}

/// The wrong way: whatever the fetches are ahead by is in memory.
async fn without_bound(
    p: &Params,
    urls: impl Iterator<Item = String>,
    fetch: impl AsyncFn(String) -> Result<Bytes>,
    compute: impl AsyncFn(Bytes),
) -> Result<()> {
    let (queue, mut fetched) = mpsc::unbounded_channel();
    let fetching = async {
        let put = async |url| queue.send(fetch(url).await?).context("no reader");
        let ended = each(p, urls, put).await;
        drop(queue);
        ended
    };
    let computing = async {
        while let Some(page) = fetched.recv().await {
            compute(page).await;
        }
    };
    tokio::join!(fetching, computing).0
}

/// The right way: who finds no room awaits it, and fetches nothing meanwhile.
async fn with_bound(
    p: &Params,
    urls: impl Iterator<Item = String>,
    fetch: impl AsyncFn(String) -> Result<Bytes>,
    compute: impl AsyncFn(Bytes),
    places: usize,
) -> Result<()> {
    let (queue, mut fetched) = mpsc::channel(places);
    let fetching = async {
        let put = async |url| queue.send(fetch(url).await?).await.context("no reader");
        let ended = each(p, urls, put).await;
        drop(queue);
        ended
    };
    let computing = async {
        while let Some(page) = fetched.recv().await {
            compute(page).await;
        }
    };
    tokio::join!(fetching, computing).0
}

/// Does it for every address, for as many at a time as the host allows.
async fn each(
    p: &Params,
    urls: impl Iterator<Item = String>,
    it: impl AsyncFn(String) -> Result<()>,
) -> Result<()> {
    let all = stream::iter(urls).map(|url| it(url));
    all.buffer_unordered(p.limit).try_collect().await
}

/// Reads pages, and says in the end how many.
type Reader = JoinHandle<usize>;

/// Reads pages on a thread of its own, and is stuck with the first one.
fn read_stuck(p: &Params, mut next: impl FnMut() -> Option<Bytes> + Send + 'static) -> Reader {
    let stall = p.stall.duration();
    thread::spawn(move || {
        let mut read = 0;
        while next().is_some() {
            if read == 0 {
                thread::sleep(stall);
            }
            read += 1;
        }
        read
    })
}
