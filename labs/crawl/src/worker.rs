//! The loop of a crawler: take, fetch, extract and classify, store, finish.
//!
//! ```text
//! queue → taken → fetch (lab05's client) → lab07's bridge → extract, classify (rayon) → store → finish
//!   ↑                                                                                     │
//!   └───────────────────────────── links that were found ────────────────────────────────┘
//! ```
//!
//! # What holds
//!
//! - **Bounded, and the bound is awaited.** There is room for so many tasks in each place; who finds no
//!   room awaits some, and the event loop goes on. A slow database slows the computing down, that
//!   slows the fetching, and that the taking: what is too much stays in the queue, which has a disk.
//! - **At least once.** A page is stored first and reported finished second, with what was found on it.
//! - **A failure is its page's.** It goes back to the queue with the reason, and the others go on. Only
//!   a queue or a database that cannot go on ends a worker.
//! - **A queue or database that is away for a moment** is asked again, for as long as the
//!   [settings](Settings::patience) say.
//! - Dropping the future stops the worker: what it had taken is handed out again, to it or to others,
//!   once the queue notices.

use std::{
    collections::BTreeMap,
    error::Error,
    fmt,
    future::Future,
    pin::pin,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::{Duration, Instant},
};

use bytes::Bytes;
use futures_util::{StreamExt, stream};
use lab_kit::{
    address::{self, ServerUrl},
    http,
};
use rayon::ThreadPool;
use reqwest::{
    Url,
    header::{HeaderValue, USER_AGENT},
};
use tokio::{
    sync::{mpsc, oneshot},
    time::sleep,
};

use super::{
    Database, DatabaseError, Page, QueueError, Taken, Task, TaskQueue,
    classify::{Model, Trainer},
    extract::{extract, normalised},
    robots::Rules,
};
use lab_parts::{
    bridge::{Bridge, ItemError, Limits},
    client::{Client, FetchError, GaveUp, Kind, Request},
};

/// The crawler's name, by which robots.txt may address it.
pub const VISITOR: &str = "lab-crawler";

/// How much may be where.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Settings {
    /// Pages being fetched. More than the client's limit, by those that wait to be tried again and by
    /// those that are to follow at once when a place becomes free.
    pub fetches: usize,
    /// Pages that wait for a thread that computes, besides one for each of them.
    pub queue: usize,
    /// Pages that wait to be stored: they are stored together.
    pub stores: usize,
    /// Tasks taken at a time.
    pub take: usize,
    /// How long the queue may wait for the first of them.
    pub wait: Duration,
    /// How often the queue hears that the tasks are still being worked on.
    pub renew: Duration,
    /// How long a queue or a database may be away.
    pub patience: Duration,
    /// Whether links are followed.
    pub follow: bool,
}

impl Settings {
    /// For a client that has so many requests in flight at most.
    pub fn for_limit(limit: usize) -> Settings {
        Settings {
            fetches: limit + limit.div_ceil(2),
            queue: 16,
            stores: 64,
            take: limit.clamp(16, 256),
            wait: Duration::from_millis(500),
            renew: Duration::from_secs(5),
            patience: Duration::from_secs(30),
            follow: true,
        }
    }
}

/// What a worker has done, for whoever watches it. Only grows.
#[derive(Debug, Default)]
pub struct Meter {
    taken: AtomicU64,
    stored: AtomicU64,
    failed: AtomicU64,
    fetched_bytes: AtomicU64,
    computing_ns: AtomicU64,
    storing_ns: AtomicU64,
}

impl Meter {
    /// Tasks taken.
    pub fn taken(&self) -> u64 {
        self.taken.load(Relaxed)
    }

    /// Pages stored and reported finished.
    pub fn stored(&self) -> u64 {
        self.stored.load(Relaxed)
    }

    /// Tasks given back with a reason.
    pub fn failed(&self) -> u64 {
        self.failed.load(Relaxed)
    }

    /// Tasks here, at whatever stage.
    pub fn under_way(&self) -> u64 {
        self.taken().saturating_sub(self.stored() + self.failed())
    }

    /// Bytes of pages fetched.
    pub fn fetched_bytes(&self) -> u64 {
        self.fetched_bytes.load(Relaxed)
    }

    /// Time spent computing, over all threads.
    pub fn computing(&self) -> Duration {
        Duration::from_nanos(self.computing_ns.load(Relaxed))
    }

    /// Time spent storing and finishing, the way to the database included.
    pub fn storing(&self) -> Duration {
        Duration::from_nanos(self.storing_ns.load(Relaxed))
    }
}

fn add(counter: &AtomicU64, time: Duration) {
    counter.fetch_add(time.as_nanos() as u64, Relaxed);
}

/// More work for each page, on the thread that computes: for experiments.
pub type Burden = Arc<dyn Fn() + Send + Sync>;

/// A crawler of one site.
#[derive(Clone)]
pub struct Crawler {
    /// Fetches; its limit is the politeness.
    pub client: Client,
    /// Extracts and classifies.
    pub pool: Arc<ThreadPool>,
    /// What the site asks of its visitors.
    pub rules: Arc<Rules>,
    /// Tells the category of a product; none leaves it open.
    pub model: Option<Arc<Model>>,
    /// How much may be where.
    pub settings: Settings,
    /// What it has done.
    pub meter: Arc<Meter>,
    /// More work for each page.
    pub burden: Option<Burden>,
}

/// Why a worker ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum WorkError {
    /// The queue cannot go on.
    Queue(QueueError),
    /// The database cannot go on.
    Database(DatabaseError),
}

impl WorkError {
    fn is_transient(&self) -> bool {
        match self {
            WorkError::Queue(e) => e.is_transient(),
            WorkError::Database(e) => e.is_transient(),
        }
    }
}

impl fmt::Display for WorkError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            WorkError::Queue(e) => write!(f, "{e}"),
            WorkError::Database(e) => write!(f, "{e}"),
        }
    }
}

impl Error for WorkError {}

impl From<QueueError> for WorkError {
    fn from(error: QueueError) -> WorkError {
        WorkError::Queue(error)
    }
}

impl From<DatabaseError> for WorkError {
    fn from(error: DatabaseError) -> WorkError {
        WorkError::Database(error)
    }
}

/// A task that could not be done.
struct Failed {
    taken: Taken,
    why: String,
    /// Whether trying again can help.
    again: bool,
}

/// A page that has come.
struct Fetched {
    taken: Taken,
    url: Url,
    body: Bytes,
}

/// A page that has been read.
struct Read {
    taken: Taken,
    page: Page,
    found: Vec<Task>,
}

/// What was taken and not reported back yet, by the order in which it was taken.
type Held = Mutex<BTreeMap<usize, Taken>>;

fn lock(held: &Held) -> std::sync::MutexGuard<'_, BTreeMap<usize, Taken>> {
    held.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Crawler {
    /// Works until the crawl is over: nothing waits, and nobody has anything in hand.
    ///
    /// # Errors
    /// When the queue or the database cannot go on. What was not finished can be taken again.
    pub async fn work(
        &self,
        queue: &dyn TaskQueue,
        database: &dyn Database,
    ) -> Result<(), WorkError> {
        let settings = self.settings;
        let limits =
            Limits { fetches: settings.fetches, queue: settings.queue, stores: settings.stores };
        let bridge = Bridge::on(self.pool.clone(), limits);
        let held = Held::default();
        let (ready, taken) = mpsc::channel::<Taken>(settings.take.max(1));
        let (to_store, read) = mpsc::channel(settings.stores.max(1));

        let source =
            stream::unfold(taken, |mut taken| async move { Some((taken.recv().await?, taken)) });
        let reader = self.clone();
        let process = move |fetched: Fetched| Ok(reader.read(fetched));
        let store = move |read: Read| {
            let to_store = to_store.clone();
            async move {
                let (stored, answer) = oneshot::channel();
                // When nobody listens the worker ends, and this with it.
                let _ = to_store.send((read, stored)).await;
                let _ = answer.await;
                Ok::<(), Failed>(())
            }
        };
        let results = bridge.run(source, |taken| self.fetch(taken), process, store);
        let reporting = async {
            let mut results = pin!(results);
            while let Some((index, result)) = results.next().await {
                let failed = match result {
                    Ok(()) => None,
                    Err(
                        ItemError::Fetch(failed)
                        | ItemError::Process(failed)
                        | ItemError::Store(failed),
                    ) => Some(failed),
                    Err(ItemError::Panicked(message)) => {
                        let taken = lock(&held).get(&index).cloned();
                        taken.map(|taken| Failed {
                            taken,
                            why: format!("panicked: {message}"),
                            again: true,
                        })
                    }
                };
                if let Some(Failed { taken, why, again }) = failed {
                    self.patiently(|| queue.fail(&taken, &why, again)).await?;
                    self.meter.failed.fetch_add(1, Relaxed);
                }
                lock(&held).remove(&index);
            }
            Ok::<(), WorkError>(())
        };
        let working = async {
            tokio::try_join!(
                self.take(queue, &held, ready),
                reporting,
                self.store(queue, database, read),
            )
        };
        tokio::select! {
            done = working => done.map(drop),
            ended = self.renew(queue, &held) => ended,
        }
    }

    /// Takes tasks as long as there are any, and waits where there is no room for them.
    async fn take(
        &self,
        queue: &dyn TaskQueue,
        held: &Held,
        ready: mpsc::Sender<Taken>,
    ) -> Result<(), WorkError> {
        let (most, wait) = (self.settings.take.max(1), self.settings.wait);
        let mut index = 0;
        loop {
            let taken = self.patiently(|| queue.take(most, wait)).await?;
            if taken.is_empty() && self.patiently(|| queue.status()).await?.over() {
                return Ok(());
            }
            for taken in taken {
                lock(held).insert(index, taken.clone());
                index += 1;
                self.meter.taken.fetch_add(1, Relaxed);
                // The bound: awaited, not blocked on.
                if ready.send(taken).await.is_err() {
                    return Ok(());
                }
            }
        }
    }

    async fn renew(&self, queue: &dyn TaskQueue, held: &Held) -> Result<(), WorkError> {
        loop {
            sleep(self.settings.renew).await;
            let taken: Vec<Taken> = lock(held).values().cloned().collect();
            self.patiently(|| queue.renew(&taken)).await?;
        }
    }

    async fn fetch(&self, taken: Taken) -> Result<Fetched, Failed> {
        let url = match Url::parse(&taken.task.url) {
            Ok(url) if self.rules.allows(path_of(&url)) => url,
            Ok(_) => return Err(refused(taken, "robots.txt says no".into())),
            Err(error) => return Err(refused(taken, format!("no address: {error}"))),
        };
        match self.client.fetch(get(url.as_str())).await {
            Ok(body) => {
                self.meter.fetched_bytes.fetch_add(body.len() as u64, Relaxed);
                Ok(Fetched { taken, url, body })
            }
            Err(error) => Err(Failed {
                again: error.gave_up != GaveUp::Permanent,
                why: reason(&error),
                taken,
            }),
        }
    }

    /// On a thread that computes.
    fn read(&self, fetched: Fetched) -> Read {
        let begun = Instant::now();
        let Fetched { taken, url, body } = fetched;
        let found = extract(&body, &url);
        let category = match (&self.model, found.price_cents) {
            (Some(model), Some(_)) => model.classify(&found.text).to_string(),
            _ => String::new(),
        };
        let page = Page {
            url: taken.task.url.clone(),
            title: found.title,
            price_cents: found.price_cents,
            category,
            text_bytes: found.text.len() as u32,
            links: found.links.len() as u32,
        };
        let depth = taken.task.depth + 1;
        let links = found.links.into_iter().filter(|_| self.settings.follow);
        let allowed = links.filter(|link| {
            let path = Url::parse(link);
            path.is_ok_and(|url| self.rules.allows(path_of(&url)))
        });
        let found = allowed.map(|url| Task { url, depth }).collect();
        if let Some(burden) = &self.burden {
            burden();
        }
        add(&self.meter.computing_ns, begun.elapsed());
        Read { taken, page, found }
    }

    /// Stores what has come since it last looked, together.
    async fn store(
        &self,
        queue: &dyn TaskQueue,
        database: &dyn Database,
        mut read: mpsc::Receiver<(Read, oneshot::Sender<()>)>,
    ) -> Result<(), WorkError> {
        let most = self.settings.stores.max(1);
        let mut together = Vec::with_capacity(most);
        while read.recv_many(&mut together, most).await > 0 {
            let begun = Instant::now();
            let (mut pages, mut done, mut found) = (Vec::new(), Vec::new(), Vec::new());
            let mut answers = Vec::new();
            for (read, answer) in together.drain(..) {
                pages.push(read.page);
                done.push(read.taken);
                found.extend(read.found);
                answers.push(answer);
            }
            // Every page links to the same few: once is enough.
            found.sort_by(|a: &Task, b| (&a.url, a.depth).cmp(&(&b.url, b.depth)));
            found.dedup_by(|a, b| a.url == b.url);
            // Stored first and finished second: whoever dies in between does it again.
            self.patiently(|| database.store(&pages)).await?;
            self.patiently(|| queue.finish(&done, &found)).await?;
            self.meter.stored.fetch_add(pages.len() as u64, Relaxed);
            add(&self.meter.storing_ns, begun.elapsed());
            for answer in answers {
                // It listens unless it was dropped.
                let _ = answer.send(());
            }
        }
        Ok(())
    }

    /// Asks again while the answer is a transient error.
    async fn patiently<T, E, F>(&self, mut attempt: impl FnMut() -> F) -> Result<T, WorkError>
    where
        E: Into<WorkError>,
        F: Future<Output = Result<T, E>>,
    {
        let until = Instant::now() + self.settings.patience;
        let mut pause = Duration::from_millis(20);
        loop {
            let error: WorkError = match attempt().await {
                Ok(answer) => return Ok(answer),
                Err(error) => error.into(),
            };
            if !error.is_transient() || Instant::now() + pause > until {
                return Err(error);
            }
            sleep(pause).await;
            pause = (2 * pause).min(Duration::from_secs(1));
        }
    }
}

fn refused(taken: Taken, why: String) -> Failed {
    Failed { taken, why, again: false }
}

fn get(url: &str) -> Request {
    Request::get(url).header(USER_AGENT, HeaderValue::from_static(VISITOR))
}

/// Path and query, as they are sent.
fn path_of(url: &Url) -> &str {
    let whole = url.as_str();
    let host = whole.find("://").map_or(0, |at| at + 3);
    let path = whole[host..].find('/').map_or(whole.len(), |at| host + at);
    &whole[path..]
}

/// Without address and times: reasons are counted.
fn reason(error: &FetchError) -> String {
    match error.kind {
        Kind::Timeout => "no answer in time".into(),
        Kind::Connect => "no connection".into(),
        Kind::Broken => "the connection broke".into(),
        Kind::Status(code) => format!("status {code}"),
        other => format!("{other:?}"),
    }
}

/// The first page of a site on which load may be put: one on this machine, or any if that is allowed.
///
/// # Errors
/// Says what is wrong with the address, or why the site is refused; `flag` is where it was written.
pub fn permitted(flag: &str, site: &ServerUrl) -> Result<Task, String> {
    http::site(flag, site)?;
    first_task(site.reveal())
}

/// The first task of a crawl: the site's first page.
///
/// # Errors
/// When it is no address of a site, or one with a password, which would be stored with every page. The
/// sentence says what would be one, and repeats no password.
pub fn first_task(site: &str) -> Result<Task, String> {
    let wrong = || {
        let site = address::shown(site);
        format!("{site} is no site: write it as http://127.0.0.1:8080")
    };
    let url = Url::parse(site).map_err(|_| wrong())?;
    if !url.username().is_empty() || url.password().is_some() {
        return Err(format!(
            "{}: the address of every page is stored, and a user and a password would be with it: leave them out",
            address::shown(site)
        ));
    }
    let url = normalised(&url, "/").ok_or_else(wrong)?;
    Ok(Task { url, depth: 0 })
}

/// Asks a site what it asks of its visitors. A site without robots.txt allows everything; one that
/// does not answer is not to be visited (RFC 9309, section 2.3.1).
///
/// # Errors
/// When there is no answer, or no good one.
pub async fn rules(client: &Client, first: &Task) -> Result<Rules, FetchError> {
    let url = format!("{}robots.txt", first.url);
    match client.fetch(get(&url)).await {
        Ok(text) => Ok(Rules::parse(&String::from_utf8_lossy(&text), VISITOR)),
        Err(error) if matches!(error.kind, Kind::Status(400..=499)) => Ok(Rules::none()),
        Err(error) => Err(error),
    }
}

/// Learns the site's categories from so many of its labelled pages; `None` when it has none.
///
/// # Errors
/// When a page cannot be fetched.
pub async fn learn(
    client: &Client,
    first: &Task,
    texts: usize,
) -> Result<Option<Model>, FetchError> {
    let Ok(base) = Url::parse(&first.url) else {
        return Ok(None);
    };
    let pages = (0..texts).map(|n| get(&format!("{base}labelled/{n}")));
    let mut trainer = Trainer::default();
    for page in client.fetch_batch(pages).await {
        let found = match page {
            Ok(page) => extract(&page, &base),
            Err(error) if error.kind == Kind::Status(404) => continue,
            Err(error) => return Err(error),
        };
        if let Some(label) = &found.label {
            trainer.learn(label, &found.text);
        }
    }
    Ok(trainer.model(1.0))
}

#[cfg(test)]
mod tests {
    use futures_util::future::BoxFuture;
    use mock_server::{Service, Site, Spec, Upstream};
    use rayon::ThreadPoolBuilder;

    use super::*;
    use crate::{
        QueueStatus,
        embedded::{Books, Embedded, Options},
    };

    fn crawler(limit: usize) -> Crawler {
        let client = Client::builder().concurrency(limit).build().unwrap();
        let pool = ThreadPoolBuilder::new().num_threads(2).build().unwrap();
        Crawler {
            client,
            pool: Arc::new(pool),
            rules: Arc::default(),
            model: None,
            settings: Settings::for_limit(limit),
            meter: Arc::default(),
            burden: None,
        }
    }

    fn run<T>(future: impl Future<Output = T>) -> T {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        runtime.unwrap().block_on(future)
    }

    fn shop(site: Site) -> Spec {
        Spec {
            site: Some(site),
            retry_after: Duration::ZERO,
            ..Spec::new(100, Service::Constant(Duration::from_millis(1)))
        }
    }

    /// An embedded queue and database that are away now and then.
    struct Flaky {
        inner: Embedded,
        calls: AtomicU64,
    }

    impl Flaky {
        fn away(&self) -> bool {
            self.calls.fetch_add(1, Relaxed) % 5 == 4
        }
    }

    impl TaskQueue for Flaky {
        fn offer<'a>(&'a self, tasks: &'a [Task]) -> BoxFuture<'a, Result<u64, QueueError>> {
            self.inner.offer(tasks)
        }
        fn take<'a>(
            &'a self,
            most: usize,
            wait: Duration,
        ) -> BoxFuture<'a, Result<Vec<Taken>, QueueError>> {
            if self.away() {
                return Box::pin(async { Err(QueueError::Transient("away".into())) });
            }
            self.inner.take(most, wait)
        }
        fn renew<'a>(&'a self, taken: &'a [Taken]) -> BoxFuture<'a, Result<(), QueueError>> {
            self.inner.renew(taken)
        }
        fn finish<'a>(
            &'a self,
            done: &'a [Taken],
            found: &'a [Task],
        ) -> BoxFuture<'a, Result<(), QueueError>> {
            let away = self.away();
            Box::pin(async move {
                // Done, and the answer lost: it will be asked again.
                self.inner.finish(done, found).await?;
                if away {
                    return Err(QueueError::Transient("away".into()));
                }
                Ok(())
            })
        }
        fn fail<'a>(
            &'a self,
            failed: &'a Taken,
            why: &'a str,
            again: bool,
        ) -> BoxFuture<'a, Result<(), QueueError>> {
            self.inner.fail(failed, why, again)
        }
        fn status<'a>(&'a self) -> BoxFuture<'a, Result<QueueStatus, QueueError>> {
            self.inner.status()
        }
    }

    impl Database for Flaky {
        fn store<'a>(&'a self, pages: &'a [Page]) -> BoxFuture<'a, Result<u64, DatabaseError>> {
            if self.away() {
                return Box::pin(async { Err(DatabaseError::Transient("away".into())) });
            }
            self.inner.store(pages)
        }
        fn count<'a>(&'a self) -> BoxFuture<'a, Result<u64, DatabaseError>> {
            self.inner.count()
        }
    }

    /// Every page within reach is there once, with its price, whatever is away, busy or broken; and
    /// nobody has been where robots.txt says no.
    #[test]
    fn a_crawl_finds_every_page_once() {
        let site = Site { page_bytes: 1000, broken: 0.1, busy: 0.02, ..Site::new(4, 400) };
        let dir = tempfile::tempdir().unwrap();
        let crawler = run(async {
            let upstream = Upstream::start(shop(site)).await.unwrap();
            let mut crawler = crawler(8);
            let first = first_task(&upstream.url()).unwrap();
            crawler.rules = Arc::new(rules(&crawler.client, &first).await.unwrap());
            crawler.model = learn(&crawler.client, &first, 64).await.unwrap().map(Arc::new);
            crawler.settings.renew = Duration::from_millis(3);
            let inner = Embedded::open(dir.path(), Options::default()).unwrap();
            let flaky = Flaky { inner, calls: AtomicU64::new(0) };
            flaky.offer(&[first]).await.unwrap();
            crawler.work(&flaky, &flaky).await.unwrap();
            crawler
        });
        let (books, census) = (Books::read(dir.path()).unwrap(), site.census());
        assert_eq!((books.pages, books.tasks.done), (census.pages, census.pages));
        assert_eq!((books.lost, books.strays), (0, 0));
        assert_eq!(books.price_cents, census.price_cents);
        assert_eq!(books.reasons, [("status 404".to_string(), census.broken)]);
        assert_eq!(crawler.meter.stored(), census.pages);
        assert_eq!((crawler.meter.failed(), crawler.meter.under_way()), (census.broken, 0));
        let mut right = 0;
        Books::pages(dir.path(), |page| {
            let path = page.url.split_once("127.0.0.1:").unwrap().1;
            let path = &path[path.find('/').unwrap()..];
            assert!(!path.starts_with("/cart"), "{path}");
            let product = site.product_at(path);
            right += u64::from(product.is_some_and(|n| site.category(n) == page.category));
        })
        .unwrap();
        assert!(right * 10 > census.products * 8, "{right} of {}", census.products);
    }

    /// A page whose reading panics becomes a dead letter, and the others are done.
    #[test]
    fn a_panic_is_its_pages() {
        let site = Site { page_bytes: 500, ..Site::new(4, 20) };
        let dir = tempfile::tempdir().unwrap();
        run(async {
            let upstream = Upstream::start(shop(site)).await.unwrap();
            let mut crawler = crawler(4);
            crawler.settings.follow = false;
            let calls = AtomicU64::new(0);
            crawler.burden = Some(Arc::new(move || {
                if calls.fetch_add(1, Relaxed) == 3 {
                    std::panic::resume_unwind(Box::new("a burden".to_string()));
                }
            }));
            let crawl = Embedded::open(dir.path(), Options::default()).unwrap();
            let tasks: Vec<Task> = (0..20)
                .map(|n| Task { url: format!("{}/p/{n}", upstream.url()), depth: 0 })
                .collect();
            crawl.offer(&tasks).await.unwrap();
            crawler.work(&crawl, &crawl).await.unwrap();
            assert_eq!(crawler.meter.failed(), 1);
        });
        let books = Books::read(dir.path()).unwrap();
        // Handed out again it did not panic.
        assert_eq!((books.pages, books.tasks.done, books.tasks.dead), (20, 20, 0));
    }

    #[test]
    fn a_queue_that_cannot_go_on_ends_the_worker() {
        let dir = tempfile::tempdir().unwrap();
        let crawl = Embedded::open(dir.path(), Options::default()).unwrap();
        struct Gone(Embedded);
        impl Database for Gone {
            fn store<'a>(&'a self, _: &'a [Page]) -> BoxFuture<'a, Result<u64, DatabaseError>> {
                Box::pin(async { Err(DatabaseError::Permanent("no room".into())) })
            }
            fn count<'a>(&'a self) -> BoxFuture<'a, Result<u64, DatabaseError>> {
                self.0.count()
            }
        }
        let gone = Gone(crawl);
        let ended = run(async {
            let upstream = Upstream::start(shop(Site::new(1, 5))).await.unwrap();
            gone.0.offer(&[first_task(&upstream.url()).unwrap()]).await.unwrap();
            crawler(2).work(&gone.0, &gone).await
        });
        assert_eq!(ended.unwrap_err().to_string(), "database: no room");
    }

    #[test]
    fn addresses() {
        let url = Url::parse("http://shop:8080/p/7?x=1").unwrap();
        assert_eq!(path_of(&url), "/p/7?x=1");
        assert_eq!(first_task("http://shop:8080").unwrap().url, "http://shop:8080/");
        assert!(first_task("shop").unwrap_err().contains("http://127.0.0.1:8080"));
        // Neither stored nor repeated.
        for site in [
            "http://anna:hunter2@shop",
            "http://hunter2@127.0.0.1",
            "anna:hunter2@shop",
            "http://anna:hunter2@shop:port",
        ] {
            let told = first_task(site).unwrap_err();
            assert!(!told.contains("hunter2"), "{told}");
        }
    }
}
