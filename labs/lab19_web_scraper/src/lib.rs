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
//!   are still to be fetched) and the pages in SQLite, lab05's client, HTML read and products
//!   classified on rayon threads behind lab07's bridge, pages stored together.
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
    path::PathBuf,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering::SeqCst},
        mpsc as blocking,
    },
};

use anyhow::{Context, anyhow};
use futures_util::{StreamExt, TryStreamExt, stream};
use lab_kit::{heap::Heap, host, prelude::*};
use mock_server::Site;
use rayon::{ThreadPool, ThreadPoolBuilder};
use reqwest::Url;
use tokio::{
    runtime::Builder,
    sync::{mpsc, oneshot},
};

use lab_crawl::{
    Task, TaskQueue,
    classify::Trainer,
    embedded::{Embedded, Options},
    extract::extract,
    worker::{self, Burden, Crawler, Meter, Settings},
};
use lab_parts::client::{Client, FetchError, Request};

mod alone;
mod findings;
mod kill;
mod premise;
mod watch;

/// The constants of the experiment.
#[derive(Args, Clone, Debug, Serialize, Deserialize)]
pub struct Params {
    /// Products of the shops that are crawled
    #[arg(long, value_delimiter = ',', default_value = "1500,2500,4500", value_parser = count)]
    pub products: Vec<usize>,
    /// Requests that the shop allows at a time
    #[arg(long, default_value_t = 40, value_parser = level)]
    pub limit: usize,
    /// Time the shop takes for an answer
    #[arg(long, default_value = "16ms")]
    pub fetch: Time,
    /// Length of a page
    #[arg(long, default_value = "8KB")]
    pub page: Size,
    /// Share of the products that take the shop longer
    #[arg(long, default_value_t = 0.02, value_parser = share)]
    pub slow: f64,
    /// How many times as long
    #[arg(long, default_value_t = 5.0)]
    pub slow_factor: f64,
    /// Share of the products with a link that leads nowhere
    #[arg(long, default_value_t = 0.02, value_parser = share)]
    pub broken: f64,
    /// Share of the requests that are asked to come back later (429)
    #[arg(long, default_value_t = 0.002, value_parser = share)]
    pub busy: f64,
    /// After how many seconds (0: it does not say)
    #[arg(long, default_value_t = 1)]
    pub retry_after: u64,
    /// Labelled pages to learn the categories from
    #[arg(long, default_value_t = 240, value_parser = count)]
    pub samples: usize,
    /// Threads that read and classify [default: one for each processor but the event loop's]
    #[arg(long, default_value_t = (host::cores() - 1).clamp(1, 64), hide_default_value = true, value_parser = level)]
    pub workers: usize,
    /// Limits for the host, with one thread that computes
    #[arg(long, value_delimiter = ',', default_value = "1,2,3,4,6,8", value_parser = level)]
    pub limits: Vec<usize>,
    /// What a page costs that thread
    #[arg(long, default_value = "5ms")]
    pub burden: Time,
    /// Pages for each of those limits
    #[arg(long, default_value_t = 50, value_parser = level)]
    pub listed: usize,
    /// How often the crawler is killed on its way
    #[arg(long, default_value_t = 2, value_parser = level)]
    pub kills: usize,
    /// Products of the shop that it crawls meanwhile
    #[arg(long, default_value_t = 600, value_parser = count)]
    pub killed_products: usize,
    /// How long the reader of a full queue is stuck
    #[arg(long, default_value = "100ms")]
    pub stall: Time,
    /// Time between two beats on the event loop meanwhile
    #[arg(long, default_value = "10ms")]
    pub beat: Time,
    /// Places of that queue, and of the one before a slow computation
    #[arg(long, default_value_t = 8, value_parser = level)]
    pub places: usize,
    /// Pages fetched with a client for each, or with one for all
    #[arg(long, default_value_t = 800, value_parser = level)]
    pub sessions: usize,
    /// Time an answer takes there: so short that the client is what takes the time
    #[arg(long, default_value = "1ms")]
    pub session_fetch: Time,
    /// Pages fetched before a slow computation
    #[arg(long, value_delimiter = ',', default_value = "100,200,300", value_parser = level)]
    pub backlogs: Vec<usize>,
    /// What that computation takes for a page
    #[arg(long, default_value = "1ms")]
    pub compute: Time,
    /// Do no experiment: crawl the last of --products, with the state in this folder, from where it is
    #[arg(long, value_name = "DIR", value_parser = folder)]
    #[serde(skip)]
    pub state: Option<PathBuf>,
    /// With --state: crawl this site instead of one of its own
    #[arg(long, value_name = "URL", requires = "state")]
    #[serde(skip)]
    pub upstream: Option<String>,
    /// With --state: how often to say how far it is
    #[arg(long, default_value = "500ms")]
    #[serde(skip, default = "Params::every")]
    pub every: Time,
}

/// A folder, or a place where there is nothing yet.
fn folder(text: &str) -> Result<PathBuf, String> {
    let folder = PathBuf::from(text);
    let mut all = folder.ancestors();
    let there = all.find(|part| part.symlink_metadata().is_ok());
    match there.is_none_or(|part| part.is_dir()) {
        true => Ok(folder),
        false => Err("expected a folder, or the name of a new one: that is something else".into()),
    }
}

fn share(text: &str) -> Result<f64, String> {
    within(text, 0.0..=0.9, "a share from 0 to 0.9")
}

impl Params {
    fn every() -> Time {
        Time::ms(500)
    }

    /// A shop, with everything that shops have.
    pub fn site(&self, seed: u64, products: usize) -> Site {
        Site {
            page_bytes: self.page.b(),
            slow: self.slow,
            slow_factor: self.slow_factor,
            broken: self.broken,
            busy: self.busy,
            ..Site::new(seed, products as u64)
        }
    }

    /// The same without anything that goes wrong or takes longer.
    fn calm(&self, seed: u64, products: usize) -> Site {
        Site {
            slow: 0.0,
            broken: 0.0,
            busy: 0.0,
            withdrawn: 0.0,
            ..self.site(seed, products)
        }
    }

    /// The shop's server: it has room for whoever keeps to the limit.
    fn spec(&self, site: Site, limit: usize) -> Spec {
        Spec {
            seed: site.seed,
            site: Some(site),
            retry_after: Duration::from_secs(self.retry_after),
            ..Spec::new(limit, ServiceTime::Constant(self.fetch.duration()))
        }
    }
}

/// What takes a moment is repeated for its interval.
fn repeats(scale: Scale) -> usize {
    match scale {
        Scale::Smoke => 1,
        _ => 5,
    }
}

/// lab19.
pub struct WebScraper;

impl Lab for WebScraper {
    type Params = Params;

    const CARD: Card = Card {
        number: 19,
        name: "web_scraper",
        title: "The web scraper",
        question: "How fast can a crawler be without being rude, losing a page or growing?",
        predict: &[
            Question {
                key: "pages",
                ask: "A shop allows {limit} requests at a time and answers each within {fetch}: how many million pages an hour does the crawler fetch?",
                unit: "million pages/hour",
                hint: "0.1 to 20",
            },
            Question {
                key: "memory",
                ask: "Shops of {products} products: how many times as much memory does the crawler take for the largest as for the smallest?",
                unit: "times",
                hint: "1 to 50",
            },
            Question {
                key: "wrong",
                ask: "The crawler is killed on its way and started again, {kills}×: how many pages are missing at the end, or there twice?",
                unit: "pages",
                hint: "0 to 100",
            },
        ],
        next: &[
            (
                "cargo run --release --bin lab19 -- --state my-crawl --products 100000",
                "a crawl by itself: kill it (kill -9), start it again, look into the folder",
            ),
            (
                "cargo run --release --bin lab19 -- --fetch 4ms",
                "a faster host: which stage is the bottleneck now?",
            ),
            (
                "cargo run --release --bin lab19 -- --busy 0.1",
                "a host that often asks to come back later: where do those pages wait?",
            ),
            (
                "cargo run --release --bin lab19 -- --samples 16",
                "little to learn from: what becomes of the accuracy?",
            ),
            (
                "cargo run --release --bin lab19 -- --page 64KB",
                "longer pages: what becomes of memory and throughput?",
            ),
        ],
        sources: lab_kit::sources!["lib.rs"],
        answers: include_str!("../answers.md"),
        sizes: Sizes {
            smoke: &[
                "--products",
                "20,40,80",
                "--limit",
                "10",
                "--fetch",
                "5ms",
                "--retry-after",
                "0",
                "--samples",
                "16",
                "--limits",
                "2,4",
                "--burden",
                "500us",
                "--listed",
                "8",
                "--kills",
                "1",
                "--killed-products",
                "60",
                "--stall",
                "20ms",
                "--beat",
                "4ms",
                "--places",
                "4",
                "--sessions",
                "20",
                "--backlogs",
                "8,16,24",
                "--compute",
                "500us",
            ],
            full: &[
                "--products",
                "2000,10000,100000",
                "--listed",
                "400",
                "--kills",
                "5",
                "--killed-products",
                "5000",
                "--sessions",
                "2000",
                "--backlogs",
                "300,600,1000",
            ],
            trials: (1, 1),
        },
    };

    fn check(p: &Params) -> Result<(), String> {
        if !(1.0..=1000.0).contains(&p.slow_factor) {
            return Err("--slow-factor must be 1 to 1000".into());
        }
        if p.retry_after > 60 {
            return Err("--retry-after must be at most 60 seconds".into());
        }
        if p.page.b() > 1 << 20 {
            return Err("--page must be at most 1MB".into());
        }
        if let Some(site) = &p.upstream {
            worker::permitted("--upstream", &site.as_str().into())?;
        }
        if p.state.is_some() {
            // No experiment: as long as it takes.
            return Ok(());
        }
        if p.limit < p.places + 4 {
            return Err(format!(
                "--limit must be {} or more: the first pages that come must overflow the --places",
                p.places + 4
            ));
        }
        if p.stall.s() < 4.0 * p.beat.s() {
            return Err(
                "--stall is shorter than four --beat: such a gap could be a late timer".into(),
            );
        }
        Ok(())
    }

    fn needs(p: &Params, extent: &Extent) -> Needs {
        let most = |all: &[usize]| all.iter().copied().max().unwrap_or(0) as f64;
        // What was fetched and not computed yet is in memory where there is no bound.
        let waiting = most(&p.backlogs) * p.page.f();
        let labelled = p.samples as f64 * p.page.f();
        Needs {
            seconds: extent.times() * findings::takes(p, repeats(extent.scale) as f64),
            memory: 2.0 * waiting.max(labelled)
                + p.limit as f64 * (2.0 * p.page.f() + needs::CONNECTION_B),
            disk: most(&p.products).max(p.killed_products as f64) * 1000.0,
            less: "fewer --products, --samples, --listed, --kills, --sessions or --backlogs, a higher --limit, or shorter times",
        }
    }

    fn instead(p: &Params) -> Option<Result<()>> {
        p.state.as_deref().map(|dir| alone::run(p, dir))
    }

    fn measure(p: &Params, session: &mut Session) -> Result<()> {
        // Everything that waits is on one event loop; what computes, and what blocks, is elsewhere.
        let runtime = Builder::new_current_thread().enable_all().build()?;
        let (rt, kernel) = (&runtime, Kernel::calibrate());
        let repeats = repeats(session.scale);
        let limits = session.levels_that_fit(&p.limits);
        let mut plan = session.plan();
        for products in &p.products {
            plan.point("crawl", *products as f64, |r| {
                rt.block_on(crawled(r, p, *products))
            });
        }
        for limit in limits {
            plan.point("limit", limit as f64, move |r| {
                rt.block_on(limited(r, p, kernel, limit))
            });
        }
        plan.point("killed", 0.0, |r| rt.block_on(killed(r, p)));
        for _ in 0..repeats {
            plan.point("put/blocking", 0.0, |r| {
                rt.block_on(stuck(r, p, Put::Blocks))
            });
            plan.point("put/awaited", 0.0, |r| {
                rt.block_on(stuck(r, p, Put::Awaits))
            });
            plan.point("session/each", 0.0, |r| {
                rt.block_on(sessions(r, p, Sessions::Each))
            });
            plan.point("session/shared", 0.0, |r| {
                rt.block_on(sessions(r, p, Sessions::Shared))
            });
            for samples in [p.samples, MORE * p.samples] {
                plan.point("learnt", samples as f64, move |r| learnt(r, p, samples));
            }
        }
        for pages in &p.backlogs {
            plan.point("queue/unbounded", *pages as f64, |r| {
                rt.block_on(backlog(r, p, kernel, *pages, None))
            });
            plan.point("queue/bounded", *pages as f64, |r| {
                rt.block_on(backlog(r, p, kernel, *pages, Some(p.places)))
            });
        }
        plan.run()
    }

    fn premise(p: &Params, at: &Condition, trial: &Trial) -> Result<(), String> {
        premise::premise(p, at, trial)
    }

    fn explain(p: &Params, summary: &Summary) -> Findings {
        findings::explain(p, summary)
    }
}

/// A crawler of the shop at an address, with its manners and what it has learnt.
async fn crawler(
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
fn client(p: &Params, limit: usize, seed: u64) -> Result<(Client, reqwest::Client)> {
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

fn pool(workers: usize, heap: Heap) -> Result<ThreadPool> {
    let pool = ThreadPoolBuilder::new()
        .num_threads(workers)
        .thread_name(|i| format!("worker {}", i + 1))
        .start_handler(move |_| heap.join());
    Ok(pool.build()?)
}

/// How many times as many labelled pages as the crawls have, to see what is left to learn.
const MORE: usize = 4;
/// Products that what was learnt is tried on.
const HELD_OUT: u64 = 1000;

/// A shop of its own with labelled pages of its own: how well do these tell the categories of the others?
fn learnt(r: &Recorder, p: &Params, samples: usize) -> Result<()> {
    let site = p.calm(r.seed(), HELD_OUT as usize);
    let base = Url::parse("http://shop/")?;
    let read = |path: String| extract(site.page(&path).as_bytes(), &base);
    let mut trainer = Trainer::default();
    for n in 0..samples {
        let page = read(format!("/labelled/{n}"));
        let label = page.label.context("a labelled page has no label")?;
        trainer.learn(&label, &page.text);
    }
    let model = trainer.model(1.0).context("nothing was learnt")?;
    let known = |n: &u64| model.classify(&read(format!("/p/{n}")).text) == site.category(*n);
    let right = (0..HELD_OUT).filter(known).count();
    r.gauge("classified", HELD_OUT as f64);
    r.gauge("right", right as f64);
    Ok(())
}

/// A whole shop, from its first page to the books: one trial.
async fn crawled(r: &Recorder, p: &Params, products: usize) -> Result<()> {
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
    r.gauge("heap_idle_bytes", heap.reset_peak() as f64);

    let start = Instant::now();
    frontier.offer(&[first]).await?;
    let watch = watch::Watch::new(r, &upstream, &frontier, &crawler, heap, p, &site);
    let watching = tokio::spawn(watch.clone().run());
    crawler.work(&*frontier, &*frontier).await?;
    let wall = start.elapsed();
    watching.abort();
    let _ = watching.await;

    r.wall(wall);
    r.gauge("heap_peak_bytes", heap.peak_bytes() as f64);
    watch.gauges(r, wall, &before);
    drop((watch, crawler, frontier, counted));
    if let Some(counters) = upstream.counters() {
        r.gauge("upstream_arrived", counters.arrived as f64);
        r.gauge("upstream_faulted", counters.faulted as f64);
    }
    watch::books(r, &site, state.path())
}

/// Pages of a list, which cost a thread more than reading them, with so many requests at a time.
async fn limited(r: &Recorder, p: &Params, kernel: Kernel, limit: usize) -> Result<()> {
    let upstream = r
        .upstream(p.spec(p.calm(r.seed(), p.listed), limit))
        .await?;
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
        settings: Settings {
            follow: false,
            ..Settings::for_limit(limit)
        },
        meter: Arc::default(),
        burden: Some(burden),
    };
    let list: Vec<Task> = (0..p.listed)
        .map(|n| Task {
            url: format!("{}/p/{n}", upstream.url()),
            depth: 0,
        })
        .collect();
    frontier.offer(&list).await?;
    let start = Instant::now();
    crawler.work(&frontier, &frontier).await?;
    let wall = start.elapsed();
    r.wall(wall);
    let waited = crawler.client.stats().attempt_time.as_secs_f64();
    let computed = crawler.meter.computing().as_secs_f64();
    r.gauge("pages", crawler.meter.stored() as f64);
    r.gauge("host_busy", waited / (limit as f64 * wall.as_secs_f64()));
    r.gauge("threads_busy", computed / wall.as_secs_f64());
    r.gauge("computing_s", computed / p.listed as f64);
    Ok(())
}

/// A process of its own is killed and started again until the crawl is over.
async fn killed(r: &Recorder, p: &Params) -> Result<()> {
    let site = p.site(r.seed(), p.killed_products);
    let upstream = r.upstream(p.spec(site, p.limit)).await?;
    let state = r.folder()?;
    kill::until_done(r, p, &upstream.url(), state.path(), site.census().pages)?;
    if let Some(counters) = upstream.counters() {
        r.gauge("upstream_arrived", counters.arrived as f64);
        r.gauge("upstream_faulted", counters.faulted as f64);
    }
    watch::books(r, &site, state.path())
}

/// How a page gets into a queue that is full.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Put {
    Blocks,
    Awaits,
}

/// Fetches put their pages into a queue whose reader is stuck for a while, as on a locked database.
async fn stuck(r: &Recorder, p: &Params, put: Put) -> Result<()> {
    let pages = 2 * p.limit;
    let upstream = r.upstream(p.spec(p.calm(r.seed(), pages), p.limit)).await?;
    let (client, http) = client(p, p.limit, r.seed())?;
    r.connect(&http, &upstream, p.limit).await?;
    let urls = (0..pages).map(|n| format!("{}/p/{n}", upstream.url()));
    let client = &client;
    let fetch = |url: String| client.fetch(Request::get(url));
    let (stall, start) = (p.stall.duration(), Instant::now());
    let heart = tokio::spawn(watch::beat(r.clone(), p.beat.duration()));
    let reader = match put {
        // wrong(1): A call that blocks until there is room
        // The wrong way: a call that waits for room, on the thread that would have to make it.
        Put::Blocks => {
            let (queue, pages) = blocking::sync_channel(p.places);
            let reader = std::thread::spawn(move || read_stuck(stall, || pages.recv().ok()));
            let put = |page| anyhow::Ok(queue.send(page)?);
            stream::iter(urls)
                .map(|url| async move { put(fetch(url).await?) })
                .buffer_unordered(p.limit)
                .try_collect::<()>()
                .await?;
            drop(queue);
            reader
        }
        // right(1): Room is awaited
        // so(1): Both queues are bounded. On an event loop the blocking call stops the very thread
        //     that would have made room.
        // The right way: whoever finds no room waits, and the event loop goes on.
        Put::Awaits => {
            let (queue, mut pages) = mpsc::channel(p.places);
            let reader = std::thread::spawn(move || read_stuck(stall, || pages.blocking_recv()));
            let put = &queue;
            stream::iter(urls)
                .map(|url| async move { anyhow::Ok(put.send(fetch(url).await?).await?) })
                .buffer_unordered(p.limit)
                .try_collect::<()>()
                .await?;
            drop(queue);
            reader
        }
    };
    r.wall(start.elapsed());
    r.gauge("started_s", (start - r.origin()).as_secs_f64());
    heart.abort();
    let read = reader.join().map_err(|_| anyhow!("the reader panicked"))?;
    r.gauge("pages", read as f64);
    Ok(())
}

/// Reads pages, and is stuck with the first one.
fn read_stuck(stall: Duration, mut next: impl FnMut() -> Option<Bytes>) -> usize {
    let mut read = 0;
    while next().is_some() {
        if read == 0 {
            std::thread::sleep(stall);
        }
        read += 1;
    }
    read
}

/// Who has the connections.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Sessions {
    Each,
    Shared,
}

/// The same pages with a client for each request, or with one for all.
async fn sessions(r: &Recorder, p: &Params, session: Sessions) -> Result<()> {
    let spec = Spec {
        service: ServiceTime::Constant(p.session_fetch.duration()),
        ..p.spec(p.calm(r.seed(), p.sessions), p.limit)
    };
    let upstream = r.upstream(spec).await?;
    let shared = &http::client();
    let urls = (0..p.sessions).map(|n| format!("{}/p/{n}", upstream.url()));
    let start = Instant::now();
    let bytes: usize = stream::iter(urls)
        .map(|url| async move {
            let client = match session {
                // wrong(2): A client for each request
                // The wrong way: a new client has a new pool, and the pool no connection.
                Sessions::Each => http::client(),
                // right(2): One client for all
                // so(2): A client is a pool of connections. A new one has none.
                // The right way: whoever comes next finds the connection of whoever was there before.
                Sessions::Shared => shared.clone(),
            };
            anyhow::Ok(http::get(&client, url).await?.len())
        })
        .buffer_unordered(p.limit)
        .try_fold(0, |sum, bytes| async move { Ok(sum + bytes) })
        .await?;
    r.wall(start.elapsed());
    r.gauge("pages", p.sessions as f64);
    r.gauge("bytes", bytes as f64);
    Ok(())
}

/// Pages between fetches and a computation that is slower, with a bound or without one.
async fn backlog(
    r: &Recorder,
    p: &Params,
    kernel: Kernel,
    pages: usize,
    bound: Option<usize>,
) -> Result<()> {
    let upstream = r.upstream(p.spec(p.calm(r.seed(), pages), p.limit)).await?;
    let heap = Heap::new();
    let counted = heap.enter();
    let pool = &pool(1, heap)?;
    let (client, http) = client(p, p.limit, r.seed())?;
    r.connect(&http, &upstream, p.limit).await?;
    let urls = (0..pages).map(|n| format!("{}/p/{n}", upstream.url()));
    // What was fetched and not computed yet.
    let (waiting, most) = (&AtomicUsize::new(0), &AtomicUsize::new(0));
    let client = &client;
    let fetch = |url: String| async move {
        let page = client.fetch(Request::get(url)).await?;
        most.fetch_max(waiting.fetch_add(1, SeqCst) + 1, SeqCst);
        anyhow::Ok(page)
    };
    let cost = p.compute.duration();
    let compute = |page: Bytes| async move {
        let (done, result) = oneshot::channel();
        pool.spawn(move || {
            kernel.work(cost);
            let _ = done.send(page.len());
        });
        let _ = result.await;
        waiting.fetch_sub(1, SeqCst);
    };
    r.gauge("heap_idle_bytes", heap.reset_peak() as f64);
    let start = Instant::now();
    match bound {
        // The wrong way: whatever the fetches are ahead by is in memory.
        None => {
            let (queue, mut fetched) = mpsc::unbounded_channel();
            let fetching = async {
                let pages = stream::iter(urls).map(&fetch);
                let put = |page| std::future::ready(queue.send(page).context("no reader"));
                let ended = pages.buffer_unordered(p.limit).try_for_each(put).await;
                drop(queue);
                ended
            };
            let computing = async {
                while let Some(page) = fetched.recv().await {
                    compute(page).await;
                }
            };
            tokio::join!(fetching, computing).0?;
        }
        // The right way: who finds no room awaits it, and fetches nothing meanwhile.
        Some(places) => {
            let (queue, mut fetched) = mpsc::channel(places);
            let fetching = async {
                let (put, fetch) = (&queue, &fetch);
                let pages = stream::iter(urls).map(|url| async move {
                    put.send(fetch(url).await?).await.context("no reader")
                });
                let ended = pages.buffer_unordered(p.limit).try_collect::<()>().await;
                drop(queue);
                ended
            };
            let computing = async {
                while let Some(page) = fetched.recv().await {
                    compute(page).await;
                }
            };
            tokio::join!(fetching, computing).0?;
        }
    }
    r.wall(start.elapsed());
    r.gauge("heap_peak_bytes", heap.peak_bytes() as f64);
    r.gauge("backlog_max", most.load(SeqCst) as f64);
    drop(counted);
    Ok(())
}
